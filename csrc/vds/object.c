/*
** object: which device is meant, and opening that one and no other.
*/
#include "vds/object.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "vds/step.h"


/* ------------------------------------------------------------------
** Identities
** ---------------------------------------------------------------- */

void vds_identity_of(const vds_about *a, vds_identity *who) {
  *who = (vds_identity){.dev = a->dev,
                        .whole = a->whole,
                        .seq = a->seq,
                        .size = a->size,
                        .start = a->start,
                        .number = a->number};
  memcpy(who->serial, a->serial, sizeof who->serial);
}


bool vds_identity_put(value *map, const vds_identity *who) {
  return value_put(map, "major", value_int(major(who->dev))) &&
         value_put(map, "minor", value_int(minor(who->dev))) &&
         value_put(map, "disk_major", value_int(major(who->whole))) &&
         value_put(map, "disk_minor", value_int(minor(who->whole))) &&
         value_put(map, "seq", value_int((int64_t)who->seq)) &&
         value_put(map, "size", value_int((int64_t)who->size)) &&
         value_put(map, "start", value_int((int64_t)who->start)) &&
         value_put(map, "number", value_int(who->number)) &&
         value_put(map, "serial", value_text(who->serial));
}


static int64_t number_of(const value *map, const char *name) {
  return value_integer(value_get(map, name), -1);
}


static bool device_from(const value *map, const char *a, const char *b,
                        dev_t *dev) {
  int64_t x = number_of(map, a), y = number_of(map, b);
  if (x < 0 || x > INT32_MAX || y < 0 || y > INT32_MAX) return false;
  *dev = makedev((unsigned)x, (unsigned)y);
  return true;
}


bool vds_identity_get(const value *map, vds_identity *who) {
  *who = (vds_identity){0};
  if (!device_from(map, "major", "minor", &who->dev) ||
      !device_from(map, "disk_major", "disk_minor", &who->whole))
    return false;
  int64_t seq = number_of(map, "seq"), size = number_of(map, "size");
  int64_t start = number_of(map, "start"), number = number_of(map, "number");
  if (size < 0 || number < 0 || number > INT32_MAX) return false;
  who->seq = seq > 0 ? (uint64_t)seq : 0;
  who->size = (uint64_t)size;
  who->start = start > 0 ? (uint64_t)start : 0;
  who->number = (unsigned)number;
  snprintf(who->serial, sizeof who->serial, "%s",
           value_chars(value_get(map, "serial"), ""));
  return true;
}


/* Sizes that we changed ourselves, in the order of time. An object that a
   script has from before is still good; one whose size somebody else changed is
   not. */
static struct {
  vds_identity was;
  uint64_t size;
} resized[256];
static size_t resized_count;
static pthread_mutex_t resized_lock = PTHREAD_MUTEX_INITIALIZER;

void vds_identity_resized(const vds_identity *was, uint64_t size) {
  pthread_mutex_lock(&resized_lock);
  size_t most = sizeof resized / sizeof *resized;
  if (resized_count == most)
    memmove(resized, resized + 1, --resized_count * sizeof *resized);
  resized[resized_count].was = *was;
  resized[resized_count++].size = size;
  vds_step("resized: noted");
  pthread_mutex_unlock(&resized_lock);
}


/* What was noted is as true in the child. */
void vds_identity_forked(void) {
  resized_lock = (pthread_mutex_t)PTHREAD_MUTEX_INITIALIZER;
}


/* From what it is back to what it was: it may have had the same sizes before,
   and who made it what it was then is not known. */
static bool resized_by_us(const vds_identity *was, uint64_t size) {
  pthread_mutex_lock(&resized_lock);
  for (size_t i = resized_count; i-- > 0 && size != was->size;) {
    const vds_identity *one = &resized[i].was;
    if (one->dev == was->dev && one->seq == was->seq &&
        one->start == was->start && resized[i].size == size)
      size = one->size;
  }
  pthread_mutex_unlock(&resized_lock);
  return size == was->size;
}


/* What a listing did not read is no difference. */
static const char *differs(const vds_identity *was, const vds_identity *is) {
  if (was->dev != is->dev || was->whole != is->whole) return "number";
  if (was->seq != 0 && is->seq != 0 && was->seq != is->seq)
    return "medium (it was changed, or attached anew)";
  if (was->number != is->number) return "number on its disk";
  if (was->start != is->start) return "beginning";
  if (was->size != is->size && !resized_by_us(was, is->size)) return "size";
  if (was->serial[0] != '\0' && strcmp(was->serial, is->serial) != 0)
    return "serial number";
  return NULL;
}


bool vds_identity_same(const vds_identity *a, const vds_identity *b) {
  return differs(a, b) == NULL;
}


static error *compare_with(const vds_about *a, const vds_identity *was,
                           vds_identity *is, const char *path) {
  vds_identity_of(a, is);
  const char *what = differs(was, is);
  if (what == NULL) return NULL;
  return vds_error(VDS_E_OBJECT_OUT_OF_SYNC,
                   "%s is not what it was when it was listed: it has another "
                   "%s. Nothing was done; list the disks again",
                   *path != '\0' ? path : "the device", what);
}


/* As it is now; to be freed, also after an error. */
static error *read_now(const vds_identity *was, vds_about **a) {
  *a = mem_alloc(sizeof **a);
  if (*a == NULL) return error_no_memory();
  error *e = vds_about_brief(was->dev, *a);
  if (e == NULL) return NULL;
  error_unref(e);
  return vds_error(VDS_E_OBJECT_DELETED,
                   "the device %u:%u is gone; list the disks again",
                   major(was->dev), minor(was->dev));
}


static error *compare(const vds_identity *was, vds_identity *is,
                      const char *path) {
  vds_about *a;
  error *e = read_now(was, &a);
  if (e == NULL) e = compare_with(a, was, is, path);
  mem_free(a);
  return e;
}


/* ------------------------------------------------------------------
** Opening
** ---------------------------------------------------------------- */

static error *cannot_open(int number, const vds_target *t) {
  if (number == EBUSY)
    return vds_error(VDS_E_DEVICE_IN_USE,
                     "somebody has %s mounted or open for himself alone, "
                     "perhaps in a container",
                     t->path);
  if (number == ENOENT)
    return vds_error(VDS_E_OBJECT_DELETED, "%s is gone; list the disks again",
                     t->path);
  return vds_errno(number, "the device cannot be opened", t->path);
}


/* The node may have become another one between its check and its opening. */
error *vds_target_node(const vds_target *t, int flags, int *fd) {
  struct stat st;
  *fd = open(t->path, flags | O_CLOEXEC | O_NONBLOCK);
  if (*fd < 0) return cannot_open(errno, t);
  if (fstat(*fd, &st) == 0 && S_ISBLK(st.st_mode) && st.st_rdev == t->is.dev)
    return NULL;
  close(*fd);
  *fd = -1;
  return vds_error(VDS_E_OBJECT_OUT_OF_SYNC, "%s was replaced just now",
                   t->path);
}


static error *lock_disk(vds_target *t) {
  char path[80];
  error *e = NULL;
  if (t->is.dev == t->is.whole)
    memcpy(path, t->path, sizeof path);
  else
    e = vds_about_node(t->is.whole, path);
  if (e != NULL) return e;
  t->lock = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (t->lock < 0) return vds_errno(errno, "the disk cannot be opened", path);
  int how = (t->is.dev == t->is.whole ? LOCK_EX : LOCK_SH) | LOCK_NB;
  uint64_t until = vds_clock() + vds_patience;
  while (flock(t->lock, how) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR)
      return vds_errno(errno, "the disk cannot be locked", path);
    if (vds_clock() > until)
      return vds_error(VDS_E_ANOTHER_CALL_IN_PROGRESS,
                       "another process works on %s (it holds a lock of it); "
                       "try again when that has ended",
                       path);
    nanosleep(&(struct timespec){0, 20000000}, NULL);
  }
  return NULL;
}


static error *writable(const vds_target *t) {
  int read_only = 0;
  if (ioctl(t->fd, BLKROGET, &read_only) == 0 && read_only)
    return vds_error(VDS_E_MEDIA_WRITE_PROTECTED, "%s is read-only", t->path);
  return NULL;
}


static error *open_exclusive(vds_target *t) {
  int flags = (t->how & VDS_OPEN_WRITE ? O_RDWR : O_RDONLY) | O_EXCL;
  if (t->how & VDS_OPEN_DIRECT) flags |= O_DIRECT;
  return vds_target_node(t, flags, &t->only);
}


static error *find_it(const vds_identity *was, vds_target *t) {
  vds_about *a;
  error *e = read_now(was, &a);
  if (e == NULL) e = compare_with(a, was, &t->is, "");
  if (e == NULL) e = vds_about_path(a, t->path);
  mem_free(a);
  return e;
}


/* Whose path is known. */
static error *open_it(const vds_identity *was, vds_target *t) {
  int flags = t->how & VDS_OPEN_WRITE ? O_RDWR : O_RDONLY;
  error *e = vds_target_node(t, flags, &t->fd);
  if (e == NULL && t->how & VDS_OPEN_WRITE) e = lock_disk(t);
  if (e == NULL && t->how & VDS_OPEN_WRITE) e = writable(t);
  if (e == NULL && t->how & VDS_OPEN_EXCLUSIVE) e = open_exclusive(t);
  /* While it is open its number is nobody else's: what is so now stays so. */
  if (e == NULL) e = compare(was, &t->is, t->path);
  return e;
}


/* The disk of a partition has no identity of its own in an object, but what
   they share. */
static error *disk_of(const vds_identity *who, vds_identity *disk) {
  vds_identity now;
  error *e = compare(who, &now, "");
  vds_about *a = e == NULL ? vds_about_new(who->whole, &e) : NULL;
  if (e == NULL) vds_identity_of(a, disk);
  mem_free(a);
  return e;
}


error *vds_target_open(const vds_identity *who, unsigned how, vds_target *t) {
  vds_identity disk = *who;
  *t = VDS_TARGET_NONE;
  t->how = how;
  error *e = NULL;
  if (how & VDS_OPEN_DISK && who->dev != who->whole) e = disk_of(who, &disk);
  if (e == NULL) e = find_it(&disk, t);
  if (e == NULL) e = open_it(&disk, t);
  if (e != NULL) vds_target_close(t);
  return e;
}


/* First for reading alone: who opened a device to write to it has udev look at
   it again when he closes it, and one that is not to be had is not touched. */
error *vds_target_take(const vds_identity *who, unsigned how, vds_target *t,
                       bool *got) {
  *got = false;
  *t = VDS_TARGET_NONE;
  t->how = how | VDS_OPEN_EXCLUSIVE;
  error *e = find_it(who, t);
  int fd = -1;
  if (e == NULL) fd = open(t->path, O_RDONLY | O_EXCL | O_CLOEXEC | O_NONBLOCK);
  error_unref(e);
  if (fd < 0) return NULL;
  close(fd);
  e = open_it(who, t);
  *got = e == NULL;
  if (e != NULL) vds_target_close(t);
  if (e == NULL || e->code != VDS_E_DEVICE_IN_USE) return e;
  error_unref(e);
  return NULL;
}


void vds_target_share(vds_target *t) {
  if (t->only >= 0) close(t->only);
  t->only = -1;
}


error *vds_target_again(vds_target *t) {
  vds_identity is;
  if (t->only >= 0) return NULL;
  error *e = open_exclusive(t);
  if (e == NULL) e = compare(&t->is, &is, t->path);
  return e;
}


error *vds_target_settle(const vds_target *t) {
  if (fsync(t->fd) != 0)
    return vds_errno(errno, "the device does not take what was written",
                     t->path);
  ioctl(t->fd, BLKFLSBUF, 0);
  return NULL;
}


error *vds_target_changed(vds_target *t) {
  error *e = NULL;
  vds_about *a = vds_about_new(t->is.dev, &e);
  if (e == NULL && a->size != t->is.size) vds_identity_resized(&t->is, a->size);
  if (e == NULL) vds_identity_of(a, &t->is);
  mem_free(a);
  return e;
}


void vds_target_close(vds_target *t) {
  if (t->only >= 0) close(t->only);
  if (t->fd >= 0) close(t->fd);
  if (t->lock >= 0) close(t->lock);
  *t = VDS_TARGET_NONE;
}
