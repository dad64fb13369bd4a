/*
** attach: virtual disks as devices. What this process attached is kept in a
** list, with the descriptor that keeps it.
*/
#include "vds/attach.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "vds/blkpg.h"
#include "vds/loop.h"
#include "vds/record.h"
#include "vds/refuse.h"
#include "vds/step.h"

typedef struct attached {
  struct attached *next;
  dev_t device;
  int fd;
} attached;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static attached *all;


/* ------------------------------------------------------------------
** What we hold
** ---------------------------------------------------------------- */

static bool hold(dev_t device, int fd) {
  attached *a = mem_alloc(sizeof *a);
  if (a == NULL) return false;
  pthread_mutex_lock(&lock);
  *a = (attached){all, device, fd};
  all = a;
  pthread_mutex_unlock(&lock);
  return true;
}


/* Its descriptor, which is the caller's now; -1: it is not ours. */
static int let_go(dev_t device) {
  int fd = -1;
  pthread_mutex_lock(&lock);
  for (attached **at = &all; *at != NULL; at = &(*at)->next)
    if ((*at)->device == device) {
      attached *a = *at;
      *at = a->next;
      fd = a->fd;
      mem_free(a);
      break;
    }
  pthread_mutex_unlock(&lock);
  return fd;
}


/* A child that was forked would keep devices attached that the parent lets go
   of. */
void vds_attach_forked(void) {
  lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
  for (attached *a = all; a != NULL; a = a->next)
    if (a->fd >= 0) close(a->fd);
  all = NULL;
}


dev_t vds_attached(int file, bool *ours) {
  struct stat st;
  dev_t device = 0;
  char id[GUID_TEXT];
  *ours = false;
  if (fstat(file, &st) != 0) return 0;
  if (vds_loop_find(&st, NULL, &device, 1) == 0) return 0;
  int fd = -1;
  char path[80];
  error *e = vds_about_node(device, path);
  if (e == NULL) fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  error_unref(e);
  *ours = fd >= 0 && vds_loop_id(fd, id);
  if (fd >= 0) close(fd);
  return device;
}


int vds_attached_open(dev_t device, int file, error **e) {
  struct stat st;
  char path[80];
  int fd = -1;
  *e = vds_about_node(device, path);
  if (*e != NULL) return -1;
  fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (fd >= 0 && fstat(file, &st) == 0 && vds_loop_is(fd, &st, NULL)) return fd;
  *e = fd < 0 ? vds_errno(errno, "the device cannot be opened", path)
              : vds_error(VDS_E_OBJECT_OUT_OF_SYNC,
                          "%s shows another file by now", path);
  if (fd >= 0) close(fd);
  return -1;
}


/* ------------------------------------------------------------------
** Attaching
** ---------------------------------------------------------------- */

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
  if (fstat(file, &st) != 0)
    return vds_errno(errno, "the file cannot be read", path);
  if (vds_loop_find(&st, NULL, both, 2) < 2) return NULL;
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
  error *e = NULL;
  dev_t other = vds_attached(file, &ours);
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
  if (e == NULL && !hold(a->device, a->fd)) e = error_no_memory();
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


/* It was told to go, and somebody keeps it: it stays as it was. */
static error *keep_after_all(dev_t device, int file, bool persistent) {
  error *e = NULL;
  int fd = vds_attached_open(device, file, &e);
  if (fd < 0) return e; /* it did go */
  if (persistent) e = vds_loop_keep(fd);
  error_unref(vds_blkpg_sync(fd, device));
  if (!hold(device, fd)) close(fd);
  return e;
}


static bool is_persistent(dev_t device) {
  error *e = NULL;
  vds_about *a = vds_about_new(device, &e);
  bool stays = e == NULL && !a->autoclear;
  error_unref(e);
  mem_free(a);
  return stays;
}


/* The kernel looks who else has it open, so it is asked by the last descriptor
   of ours. */
static error *end_device(dev_t device, int file, const char *path) {
  bool persistent = is_persistent(device), gone = false;
  error *e = NULL;
  int fd = vds_attached_open(device, file, &e);
  if (fd < 0) return e;
  if (!take_partitions(fd, device)) {
    close(fd);
    return still_open(path, device);
  }
  vds_step("detach: without partitions");
  int held = let_go(device);
  if (held >= 0) close(held);
  e = vds_loop_detach(fd, device, &gone);
  vds_step("detach: detached");
  if (e == NULL && gone) return NULL;
  error_unref(keep_after_all(device, file, persistent));
  return e != NULL ? e : still_open(path, device);
}


static void forget(const char *at, const char *mark_id) {
  error *e = NULL;
  value *records = vds_record_list(at, &e);
  for (uint32_t i = 0; records != NULL && i < records->count; i++)
    if (strcmp(vds_record_text(records->as.items[i], "id"), mark_id) == 0)
      error_unref(vds_record_remove(at, records->as.items[i]));
  error_unref(e);
  value_free(records);
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


error *vds_detach(vds_call *c, int file, const char *path) {
  bool ours, go = false;
  char id[GUID_TEXT] = "";
  vds_identity who;
  unsigned forced = 0;
  dev_t device = vds_attached(file, &ours);
  error *e = refuse_others(device, ours, path);
  if (e == NULL) e = permit(c, device, &who, &forced, &go);
  if (e != NULL || !go) return e;
  char *at = vds_records_at(vds_text(c, "state_dir"), &e);
  if (at == NULL) return e;
  int fd = vds_attached_open(device, file, &e);
  if (fd >= 0) {
    vds_loop_id(fd, id);
    close(fd);
  }
  if (e == NULL && vds_commit(c, &e)) {
    e = vds_end_dangers(c, &who, &ending, forced);
    if (e == NULL) e = end_device(device, file, path);
  }
  if (e == NULL) forget(at, id);
  mem_free(at);
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
  dev_t device = vds_loop_marked(mark);
  if (device != 0 && persistent && made) return NULL;
  error *e = device != 0 ? end_left(id, device, &gone) : NULL;
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
