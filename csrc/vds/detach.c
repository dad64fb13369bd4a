/*
** detach: taken off again, by who is asked to, and by who finds what a dead
** process left.
*/
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "vds/attach_parts.h"
#include "vds/blkpg.h"
#include "vds/loop.h"
#include "vds/record.h"
#include "vds/refuse.h"
#include "vds/step.h"


/* ------------------------------------------------------------------
** Detaching
** ---------------------------------------------------------------- */

static error *still_open(const char *path, dev_t device) {
  char node[80];
  error *e = vds_about_node(device, node);
  if (e != NULL) snprintf(node, sizeof node, "its device");
  error_unref(e);
  return error_at(vds_error(VDS_E_DEVICE_IN_USE,
                            "%s stays attached: somebody has %s open (fuser -v "
                            "%s says who)",
                            path, node, node),
                  path);
}


static bool take_partitions(int fd, dev_t device) {
  bool good = true;
  uint64_t until = vds_clock() + vds_patience;
  for (unsigned n = 1; good && n <= VDS_PARTITIONS_MOST; n++) {
    error *e = vds_blkpg_take(fd, n, until);
    good = e == NULL;
    error_unref(e);
  }
  if (!good) error_unref(vds_blkpg_sync(fd, device));
  return good;
}


/* The kernel looks who else has it open, so it is asked by the last descriptor
   of ours. From its look on nobody else comes in; who was there before keeps
   it, and then it is as it was: it has been ours all the time. */
static error *end_device(dev_t device, int fd, const char *path) {
  bool gone = false;
  if (!take_partitions(fd, device)) {
    close(fd);
    return still_open(path, device);
  }
  vds_step("detach: without partitions");
  int held = vds_held_lend(device);
  if (held >= 0) close(held);
  error *e = vds_loop_end(&fd, device, &gone);
  vds_step("detach: detached");
  if (e == NULL && gone) {
    vds_held_drop(device);
    return NULL;
  }
  error_unref(vds_blkpg_sync(fd, device));
  vds_held_return(device, fd);
  return e != NULL ? e : still_open(path, device);
}


/* What is known of it; NULL and no *e: nothing. */
static value *record_of(const char *at, const char *id, error **e) {
  value *all = vds_record_list(at, e), *found = NULL;
  for (uint32_t i = 0; all != NULL && *e == NULL && i < all->count; i++) {
    if (strcmp(vds_record_text(all->as.items[i], "id"), id) != 0) continue;
    found = value_copy(all->as.items[i]);
    if (found == NULL) *e = error_no_memory();
    break;
  }
  value_free(all);
  return found;
}


static void forget(vds_call *c, const char *at, const value *record) {
  error *e = record != NULL ? vds_record_remove(at, record) : NULL;
  if (e != NULL) vds_left(c, "it is detached, but %s", e->message);
  error_unref(e);
}


static const vds_verb ending = {VDS_LOSES_ACCESS, 0};


static error *permit(vds_call *c, dev_t device, vds_identity *who,
                     unsigned *forced, bool *go) {
  error *e = NULL;
  vds_about *a = vds_about_new(device, &e);
  if (e == NULL) {
    vds_identity_of(a, who);
    e = vds_permit(c, who, &ending, forced, go);
  }
  mem_free(a);
  return e;
}


static error *refuse_others(dev_t device, bool ours, const char *path) {
  error *e = NULL;
  if (device == 0)
    e = vds_error(VDS_E_OBJECT_NOT_FOUND, "%s is not attached", path);
  else if (!ours)
    e = vds_error(VDS_E_OPERATION_DENIED,
                  "%s was attached by somebody else, and is his to detach "
                  "(losetup -d)",
                  path);
  return e != NULL ? error_at(e, path) : NULL;
}


typedef struct detaching {
  char *at;
  value *record;
  int fd;
  char lost[GUID_TEXT]; /* the id of one whose file was removed, or "" */
} detaching;


static bool is_of(const value *record, const char *path) {
  char *was = strcmp(vds_record_text(record, "kind"), "vdisk") == 0
                  ? vds_record_path(record, "path")
                  : NULL;
  bool is = was != NULL && strcmp(was, path) == 0;
  mem_free(was);
  return is;
}


/* The device of a file that has been removed since is known by its record. */
static error *find_lost(const vds_call *c, detaching *d, const char *path,
                        dev_t *device) {
  char mark[VDS_LOOP_MARK];
  error *e = NULL;
  *device = 0;
  d->at = vds_records_at(vds_text(c, "state_dir"), &e);
  value *all = d->at != NULL ? vds_record_list(d->at, &e) : NULL;
  for (uint32_t i = 0;
       all != NULL && e == NULL && *device == 0 && i < all->count; i++) {
    if (!is_of(all->as.items[i], path)) continue;
    snprintf(d->lost, sizeof d->lost, "%s",
             vds_record_text(all->as.items[i], "id"));
    snprintf(mark, sizeof mark, "saros:%s", d->lost);
    e = vds_loop_marked(mark, device);
  }
  value_free(all);
  return e;
}


static error *open_lost(detaching *d, dev_t device) {
  char node[80], id[GUID_TEXT];
  error *e = vds_about_node(device, node);
  if (e != NULL) return e;
  d->fd = open(node, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (d->fd < 0) return vds_errno(errno, "the device cannot be opened", node);
  if (vds_loop_id(d->fd, id) && strcmp(id, d->lost) == 0) return NULL;
  return vds_error(VDS_E_OBJECT_OUT_OF_SYNC, "%s shows another file by now",
                   node);
}


/* All that can fail for want of memory, before anything is changed. */
static error *prepare(vds_call *c, detaching *d, dev_t device, int file) {
  char id[GUID_TEXT] = "";
  error *e = NULL;
  if (d->at == NULL) d->at = vds_records_at(vds_text(c, "state_dir"), &e);
  if (e == NULL && file < 0) e = open_lost(d, device);
  if (e == NULL && file >= 0) d->fd = vds_attached_open(device, file, &e);
  if (e == NULL && vds_loop_id(d->fd, id)) d->record = record_of(d->at, id, &e);
  if (e == NULL) vds_give_output(c, &e);
  return e;
}


error *vds_detach(vds_call *c, int file, const char *path) {
  bool ours = true, go = false;
  vds_identity who;
  unsigned forced = 0;
  dev_t device = 0;
  detaching d = {.fd = -1};
  error *e = file < 0 ? find_lost(c, &d, path, &device)
                      : vds_attached(file, &device, &ours);
  if (e == NULL) e = refuse_others(device, ours, path);
  if (e == NULL) e = permit(c, device, &who, &forced, &go);
  if (e == NULL && go) e = prepare(c, &d, device, file);
  if (e == NULL && go && vds_commit(c, &e)) {
    e = vds_end_dangers(c, &who, &ending, forced);
    if (e == NULL) {
      e = end_device(device, d.fd, path);
      d.fd = -1;
    }
  }
  if (e == NULL && go) forget(c, d.at, d.record);
  if (d.fd >= 0) close(d.fd);
  value_free(d.record);
  mem_free(d.at);
  return e;
}


/* ------------------------------------------------------------------
** What dead owners left
** ---------------------------------------------------------------- */

static bool add_text(value *report, const char *name, const char *text) {
  const value *list = value_get(report, name);
  value *copy = list != NULL ? value_copy(list) : value_list();
  return copy != NULL && value_add(copy, value_text(text)) &&
         value_put(report, name, copy);
}


/* It lives although its owner is dead: somebody has it mounted, or open, or it
   died while it was made to stay. */
static error *end_left(const char *id, dev_t device, bool *gone) {
  char path[80], now[GUID_TEXT];
  *gone = false;
  error *e = vds_about_node(device, path);
  if (e != NULL) return e;
  vds_step("reap: found");
  int fd = open(path, O_RDONLY | O_EXCL | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return NULL;
  if (!vds_loop_id(fd, now) || strcmp(now, id) != 0) {
    close(fd); /* it went by itself, and the number is another one's */
    *gone = true;
    return NULL;
  }
  if (take_partitions(fd, device)) return vds_loop_detach(fd, device, gone);
  close(fd);
  return NULL;
}


static error *reap_one(const char *at, const value *record, value *report) {
  const char *id = vds_record_text(record, "id");
  char mark[VDS_LOOP_MARK];
  bool persistent = value_boolean(value_get(record, "persistent"), false);
  bool made = strcmp(vds_record_text(record, "state"), "attached") == 0;
  bool gone = true;
  snprintf(mark, sizeof mark, "saros:%s", id);
  dev_t device = 0;
  error *e = vds_loop_marked(mark, &device);
  if (e != NULL || (device != 0 && persistent && made)) return e;
  if (device != 0) e = end_left(id, device, &gone);
  if (e != NULL) return e;
  if (!add_text(report,
                device == 0 ? "forgotten"
                : gone      ? "detached"
                            : "busy",
                vds_record_text(record, "path")))
    return error_no_memory();
  return gone ? vds_record_remove(at, record) : NULL;
}


error *vds_attach_reap(vds_call *c, const char *at, const value *records,
                       value *report) {
  error *e = NULL;
  for (uint32_t i = 0; e == NULL && i < records->count; i++) {
    const value *old = records->as.items[i];
    if (vds_stopped(c, &e)) break;
    if (strcmp(vds_record_text(old, "kind"), "vdisk") != 0 ||
        vds_owner_is_alive(old))
      continue;
    value *record = vds_record_again(at, old, &e);
    if (record != NULL) e = reap_one(at, record, report);
    value_free(record);
  }
  return e;
}
