/*
** attach: virtual disks as devices.
*/
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "vds/attach_parts.h"
#include "vds/blkpg.h"
#include "vds/holders.h"
#include "vds/loop.h"
#include "vds/object.h"
#include "vds/record.h"
#include "vds/step.h"


typedef struct attaching {
  vds_call *c;
  char *at;
  value *record;
  char mark[VDS_LOOP_MARK];
  int fd;
  dev_t device;
  bool saved;
} attaching;


static error *put_device(attaching *a, const char *state) {
  char text[32];
  snprintf(text, sizeof text, "%u:%u", major(a->device), minor(a->device));
  if (!value_put(a->record, "device", value_text(text)) ||
      !value_put(a->record, "state", value_text(state)))
    return error_no_memory();
  return vds_record_save(a->at, a->record);
}


static error *write_record(attaching *a, int file, const char *path,
                           bool read_only, bool persistent) {
  struct stat st;
  if (fstat(file, &st) != 0)
    return vds_errno(errno, "the file cannot be looked at", path);
  a->record = vds_record_new("vdisk");
  value *r = a->record;
  if (r == NULL || !value_put(r, "path", value_text(path)) ||
      !value_put(r, "file_device", value_int((int64_t)st.st_dev)) ||
      !value_put(r, "file_inode", value_int((int64_t)st.st_ino)) ||
      !value_put(r, "read_only", value_bool(read_only)) ||
      !value_put(r, "persistent", value_bool(persistent)) ||
      !value_put(r, "state", value_text("attaching")))
    return error_no_memory();
  snprintf(a->mark, sizeof a->mark, "saros:%s", vds_record_text(r, "id"));
  error *e = vds_record_save(a->at, r);
  a->saved = e == NULL;
  return e;
}


/* What a table says that cannot be so (partitions one over the other) is shown
   as far as it can be. */
static void surface(attaching *a) {
  error *e = vds_blkpg_sync(a->fd, a->device);
  if (e == NULL) return;
  log_write(LOG_WARNING, "vds", "not all partitions of the disk are there: %s",
            e->message);
  vds_detail(a->c, "warning", value_text(e->message));
  error_unref(e);
}


static error *already(dev_t device, bool ours, const char *path) {
  char node[80];
  error *e = vds_about_node(device, node);
  if (e != NULL) snprintf(node, sizeof node, "another device");
  error_unref(e);
  return error_at(vds_error(VDS_E_OBJECT_EXISTS,
                            "%s is attached already, as %s%s; two devices over "
                            "one file would damage it",
                            path, node, ours ? "" : ", by somebody else"),
                  path);
}


/* Another process may have attached it since that was asked: then both see it
   now, or the later one at least, and give way. */
static error *is_alone(int file, dev_t device, const char *path) {
  struct stat st;
  dev_t both[2];
  size_t count = 0;
  if (fstat(file, &st) != 0)
    return vds_errno(errno, "the file cannot be read", path);
  error *e = vds_loop_find(&st, NULL, both, 2, &count);
  if (e != NULL || count < 2) return e;
  return already(both[both[0] == device], true, path);
}


/* Before it is committed: there may be no memory for it. */
static error *put_disk(vds_call *c, dev_t device) {
  vds_world *world = NULL;
  error *e = NULL;
  vds_about *a = vds_about_new(device, &e);
  if (e == NULL) e = vds_world_read(&world);
  if (e == NULL) {
    c->output = vds_disk_map(a, world);
    if (c->output == NULL) e = error_no_memory();
  }
  if (e == NULL) vds_give_output(c, &e);
  vds_world_free(world);
  mem_free(a);
  return e;
}


static error *attach_all(attaching *a, int file, const char *path,
                         bool read_only, bool persistent) {
  bool ours;
  dev_t other;
  error *e = vds_attached(file, &other, &ours);
  if (e != NULL) return e;
  if (other != 0) return already(other, ours, path);
  e = write_record(a, file, path, read_only, persistent);
  vds_step("attach: record written");
  if (e != NULL || vds_stopped(a->c, &e)) return e;
  e = vds_loop_attach(file, a->mark, read_only, 512, &a->fd, &a->device);
  vds_step("attach: attached");
  if (e == NULL) e = is_alone(file, a->device, path);
  if (e == NULL) e = put_device(a, "attaching");
  if (e != NULL) return e;
  vds_step("attach: recorded");
  surface(a);
  vds_step("attach: surfaced");
  if (persistent) e = vds_loop_keep(a->fd);
  vds_step("attach: kept");
  if (e == NULL) e = put_disk(a->c, a->device);
  if (e == NULL && !vds_commit(a->c, &e)) return e;
  if (e == NULL) e = put_device(a, "attached");
  vds_step("attach: done");
  if (e == NULL && !vds_held_put(a->device, a->fd)) e = error_no_memory();
  return e;
}


static void undo(attaching *a) {
  bool gone = true;
  vds_undoing(a->c, "detaching");
  if (a->fd >= 0) {
    error *e = vds_loop_detach(a->fd, a->device, &gone);
    if (e != NULL) vds_left(a->c, "%s", e->message);
    error_unref(e);
  }
  if (!gone)
    vds_left(a->c,
             "somebody has the new device %u:%u open; it goes when he "
             "closes it",
             major(a->device), minor(a->device));
  if (a->saved && gone) error_unref(vds_record_remove(a->at, a->record));
}


error *vds_attach(vds_call *c, int file, const char *path, bool read_only,
                  bool persistent) {
  attaching a = {.c = c, .fd = -1};
  error *e = NULL;
  a.at = vds_records_at(vds_text(c, "state_dir"), &e);
  if (e == NULL) e = attach_all(&a, file, path, read_only, persistent);
  if (e != NULL && a.saved) undo(&a);
  value_free(a.record);
  mem_free(a.at);
  return e;
}
