/*
** vdisk: files that are disks, made and given another size.
*/
#include "vds/vdisk.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "vds/attach.h"
#include "vds/loop.h"
#include "vds/object.h"
#include "vds/record.h"
#include "vds/step.h"

#define SLICE ((uint64_t)64 << 20)


/* ------------------------------------------------------------------
** Files
** ---------------------------------------------------------------- */

static error *path_of(const vds_call *c, const char **path) {
  *path = vds_text(c, "path");
  if (*path != NULL && **path == '/') return NULL;
  return vds_error(SAROS_E_INVALIDARG,
                   "a virtual disk needs an absolute path of its file");
}


static error *not_there(const char *path) {
  struct stat st;
  bool is_link = lstat(path, &st) == 0 && S_ISLNK(st.st_mode);
  return error_at(vds_error(VDS_E_PATH_NOT_FOUND, "there is no file %s%s", path,
                            is_link ? ": it is a link that leads nowhere" : ""),
                  path);
}


static error *open_file(const char *path, int flags, int *fd) {
  struct stat st;
  *fd = open(path, flags | O_NONBLOCK | O_CLOEXEC);
  if (*fd < 0 && (errno == ENOENT || errno == ENOTDIR)) return not_there(path);
  if (*fd < 0 && errno == EWOULDBLOCK) /* compact.c has a lease on it */
    return vds_error(VDS_E_ANOTHER_CALL_IN_PROGRESS,
                     "another process works on %s; try again", path);
  if (*fd < 0) return vds_errno(errno, "the file cannot be opened", path);
  if (fstat(*fd, &st) == 0 && S_ISREG(st.st_mode)) return NULL;
  close(*fd);
  *fd = -1;
  return error_at(
      vds_error(VDS_E_OPERATION_DENIED,
                "%s is no regular file, and cannot be a disk", path),
      path);
}


error *vds_vdisk_map(const char *path, int file, value **out) {
  struct stat st;
  char node[80] = "";
  bool ours;
  dev_t device;
  *out = NULL;
  if (fstat(file, &st) != 0)
    return vds_errno(errno, "the file cannot be looked at", path);
  error *e = vds_attached(file, &device, &ours);
  if (e != NULL) return e;
  if (device != 0) error_unref(vds_about_node(device, node));
  value *map =
      vds_with(value_map(), VDS_CLASS_FIELD, value_text(VDS_CLASS_VDISK));
  map = vds_with_path(map, "path", path);
  map = vds_with(map, "size", value_int(st.st_size));
  map = vds_with(map, "allocated", value_int(st.st_blocks * 512));
  map = vds_with(map, "attached", value_bool(device != 0));
  if (node[0] != '\0') map = vds_with(map, "device", value_text(node));
  *out = map;
  return map != NULL ? NULL : error_no_memory();
}


static error *put_vdisk(vds_call *c, const char *path, int file) {
  return vds_vdisk_map(path, file, &c->output);
}


/* ------------------------------------------------------------------
** Making
** ---------------------------------------------------------------- */

static error *size_of(const vds_call *c, uint64_t *size) {
  int64_t given = vds_integer(c, "size", 0);
  if (given <= 0)
    return vds_error(SAROS_E_INVALIDARG,
                     "a virtual disk needs a size in bytes, 512 at least");
  if (given > INT64_MAX - 4096)
    return vds_error(SAROS_E_INVALIDARG,
                     "size: no file has room for %lld bytes", (long long)given);
  *size = ((uint64_t)given + 511) & ~(uint64_t)511;
  return NULL;
}


static error *write_zeros(int fd, uint64_t from, uint64_t size) {
  static const char zeros[1 << 16];
  while (size > 0) {
    size_t want = size < sizeof zeros ? (size_t)size : sizeof zeros;
    ssize_t n = pwrite(fd, zeros, want, (off_t)from);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return vds_errno(errno, "the file cannot be written", NULL);
    from += (uint64_t)n;
    size -= (uint64_t)n;
  }
  return NULL;
}


static error *allocate(vds_call *c, int fd, uint64_t size) {
  error *e = NULL;
  bool can = true;
  vds_phase(c, "allocating", 0, 1000);
  for (uint64_t at = 0; e == NULL && at < size && !vds_stopped(c, &e);) {
    uint64_t part = size - at < SLICE ? size - at : SLICE;
    int r = can && fallocate(fd, 0, (off_t)at, (off_t)part) != 0 ? errno : 0;
    if (r == EINTR) continue;
    if (r == EOPNOTSUPP) can = false;
    if (!can) e = write_zeros(fd, at, part);
    if (r != 0 && can)
      e = vds_errno(r, "there is no room for the whole disk", NULL);
    at += part;
    if (e == NULL) vds_progress(c, at, size);
    vds_step("create: slice");
  }
  return e;
}


/* Without a name until it is whole; where the file system cannot do that, with
   a hidden one. *other is set then (allocated). */
static error *make_nameless(const char *path, int *fd, char **other) {
  char *parent = path_parent(path);
  size_t size;
  const char *base = path_base(path, &size);
  buffer b = BUFFER_EMPTY;
  guid g;
  char id[GUID_TEXT];
  struct stat st;
  *other = NULL;
  *fd = -1;
  if (parent == NULL || size == 0 || !guid_make(&g)) {
    mem_free(parent);
    return size == 0 ? vds_error(SAROS_E_INVALIDARG, "the path names no file")
                     : error_no_memory();
  }
  guid_format(&g, id);
  *fd = open(parent, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  int number = errno;
  if (*fd < 0 && (number == EOPNOTSUPP || number == EISDIR)) {
    buffer_format(&b, "%s/.%.*s.%s", parent, (int)(size < 100 ? size : 100),
                  base, id);
    *other = buffer_take(&b);
    if (*other != NULL)
      *fd = open(*other, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    number = errno;
  }
  buffer_free(&b);
  error *e = NULL;
  if (*fd < 0 && (number == ENOENT || number == ENOTDIR))
    e = error_at(vds_error(VDS_E_PATH_NOT_FOUND,
                           stat(parent, &st) == 0 && S_ISDIR(st.st_mode)
                               ? "%s is no directory for files"
                               : "there is no directory %s",
                           parent),
                 path);
  else if (*fd < 0)
    e = vds_errno(number, "no file can be made there", path);
  mem_free(parent);
  return e;
}


/* *there: a file has that name already. */
static error *give_name(int fd, const char *other, const char *path,
                        bool *there) {
  char self[40];
  snprintf(self, sizeof self, "/proc/self/fd/%d", fd);
  int r = other != NULL
              ? link(other, path)
              : linkat(AT_FDCWD, self, AT_FDCWD, path, AT_SYMLINK_FOLLOW);
  *there = r != 0 && errno == EEXIST;
  if (r == 0 || *there) return NULL;
  return vds_errno(errno, "the file cannot be given its name", path);
}


static error *make(vds_call *c, const char *path, uint64_t size, bool *there) {
  char *other = NULL;
  int fd = -1;
  *there = access(path, F_OK) == 0;
  if (*there) return NULL;
  error *e = make_nameless(path, &fd, &other);
  if (e == NULL && ftruncate(fd, (off_t)size) != 0)
    e = vds_errno(errno, "the file cannot be that large", path);
  if (e == NULL && vds_flag(c, "full")) e = allocate(c, fd, size);
  if (e == NULL && fsync(fd) != 0)
    e = vds_errno(errno, "the file cannot be written", path);
  if (e == NULL) e = put_vdisk(c, path, fd);
  vds_step("create: whole");
  if (e == NULL && vds_give_output(c, &e) && vds_commit(c, &e))
    e = give_name(fd, other, path, there);
  vds_step("create: named");
  if (other != NULL) unlink(other);
  mem_free(other);
  if (fd >= 0) close(fd);
  return e;
}


error *vds_work_create_vdisk(vds_call *c) {
  const char *path;
  uint64_t size = 0;
  bool there = false;
  error *e = path_of(c, &path);
  if (e == NULL) e = size_of(c, &size);
  if (e == NULL) e = make(c, path, size, &there);
  if (e != NULL || !there) return e;
  value_free(c->output);
  c->output = NULL;
  c->given = false;
  c->code = VDS_S_ALREADY_EXISTS;
  return vds_work_open_vdisk(c);
}


error *vds_work_open_vdisk(vds_call *c) {
  const char *path;
  int fd = -1;
  error *e = path_of(c, &path);
  if (e == NULL) e = open_file(path, O_PATH, &fd); /* disturbs nobody */
  if (e == NULL) e = put_vdisk(c, path, fd);
  if (fd >= 0) close(fd);
  return e;
}


/* ------------------------------------------------------------------
** Attaching
** ---------------------------------------------------------------- */

error *vds_work_attach(vds_call *c) {
  const char *path;
  int fd = -1;
  bool read_only = vds_flag(c, "read_only");
  struct stat st;
  error *e = path_of(c, &path);
  if (e == NULL) e = open_file(path, read_only ? O_RDONLY : O_RDWR, &fd);
  if (e == NULL && (fstat(fd, &st) != 0 || st.st_size < 512))
    e = error_at(
        vds_error(VDS_E_NO_MEDIA,
                  "%s is smaller than one sector; expand it first", path),
        path);
  if (e == NULL)
    e = vds_attach(c, fd, path, read_only, vds_flag(c, "persistent"));
  if (fd >= 0) close(fd);
  return e;
}


error *vds_work_detach(vds_call *c) {
  const char *path;
  int fd = -1;
  error *e = path_of(c, &path);
  if (e == NULL) e = open_file(path, O_RDONLY, &fd);
  bool lost = e != NULL && e->code == VDS_E_PATH_NOT_FOUND;
  error *why = e == NULL || lost ? vds_detach(c, fd, path) : NULL;
  if (lost && (why == NULL || why->code != VDS_E_OBJECT_NOT_FOUND)) {
    error_unref(e);
    e = NULL;
  }
  if (e == NULL)
    e = why;
  else
    error_unref(why);
  if (fd >= 0) close(fd);
  return e;
}


/* ------------------------------------------------------------------
** Another size
** ---------------------------------------------------------------- */

typedef struct expanding {
  const char *path;
  int file, loop; /* of the device that shows it, or -1 */
  uint64_t size;
  vds_identity who;
} expanding;


/* Two processes that make it larger would each look at its size, and the one
   that wants less cut off what the other one has added. Where files cannot be
   locked that is up to who asks. */
static error *keep_off_others(const expanding *x) {
  if (flock(x->file, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK)
    return NULL;
  return vds_error(VDS_E_ANOTHER_CALL_IN_PROGRESS,
                   "another process has locked %s; try again when it has ended",
                   x->path);
}


static error *find_device(expanding *x) {
  bool ours;
  dev_t device;
  error *e = vds_attached(x->file, &device, &ours);
  if (e != NULL || device == 0) return e;
  x->loop = vds_attached_open(device, x->file, &e);
  vds_about *a = e == NULL ? vds_about_new(device, &e) : NULL;
  if (a != NULL) vds_identity_of(a, &x->who);
  mem_free(a);
  return e;
}


/* All that can fail for want of memory, and what will be said. */
static error *prepare(vds_call *c, expanding *x) {
  struct stat st;
  error *e = keep_off_others(x);
  if (e == NULL && fstat(x->file, &st) != 0)
    e = vds_errno(errno, "the file cannot be looked at", x->path);
  if (e == NULL && x->size < (uint64_t)st.st_size)
    e = vds_error(VDS_E_INVALID_SPACE,
                  "the disk has %lld bytes, and is only ever made larger: what "
                  "is at its end would be lost",
                  (long long)st.st_size);
  if (e == NULL) e = find_device(x);
  if (e == NULL) e = put_vdisk(c, x->path, x->file);
  if (e == NULL && !value_put(c->output, "size", value_int((int64_t)x->size)))
    e = error_no_memory();
  if (e == NULL) vds_give_output(c, &e);
  vds_step("expand: prepared");
  return e;
}


/* Who has attached it meanwhile may have done so a moment before it grew. */
static error *tell_device(expanding *x) {
  error *e = x->loop < 0 ? find_device(x) : NULL;
  if (e != NULL || x->loop < 0) return e;
  e = vds_loop_resize(x->loop);
  if (e == NULL) vds_identity_resized(&x->who, x->size);
  vds_step("expand: device told");
  return e;
}


static error *grow(expanding *x) {
  if (ftruncate(x->file, (off_t)x->size) != 0)
    return vds_errno(errno, "the file cannot be that large", x->path);
  int r = fsync(x->file) != 0 ? errno : 0;
  vds_step("expand: file grown");
  error *e = tell_device(x);
  if (e != NULL || r == 0) return e;
  return vds_errno(r, "the file cannot be written", x->path);
}


error *vds_work_expand(vds_call *c) {
  expanding x = {.file = -1, .loop = -1};
  error *e = path_of(c, &x.path);
  if (e == NULL) e = size_of(c, &x.size);
  if (e == NULL) e = open_file(x.path, O_RDWR, &x.file);
  if (e == NULL) e = prepare(c, &x);
  if (e == NULL && vds_commit(c, &e)) e = grow(&x);
  if (x.loop >= 0) close(x.loop);
  if (x.file >= 0) close(x.file);
  return e;
}


/* ------------------------------------------------------------------
** Those that are attached
** ---------------------------------------------------------------- */

static error *list_one(vds_call *c, const value *record) {
  char mark[VDS_LOOP_MARK];
  snprintf(mark, sizeof mark, "saros:%s", vds_record_text(record, "id"));
  dev_t device = 0;
  error *e = vds_loop_marked(mark, &device);
  if (e != NULL) return e;
  char *path = device != 0 ? vds_record_path(record, "path") : NULL;
  if (path == NULL) return NULL;
  char node[80];
  value *map =
      vds_with(value_map(), VDS_CLASS_FIELD, value_text(VDS_CLASS_VDISK));
  map = vds_with_path(map, "path", path);
  mem_free(path);
  e = vds_about_node(device, node);
  if (e == NULL) map = vds_with(map, "device", value_text(node));
  error_unref(e);
  map = vds_with(map, "attached", value_bool(true));
  map =
      vds_with(map, "persistent", value_copy(value_get(record, "persistent")));
  map = vds_with(map, "owner_alive", value_bool(vds_owner_is_alive(record)));
  return value_add(c->output, map) ? NULL : error_no_memory();
}


error *vds_work_virtual_disks(vds_call *c) {
  error *e = NULL;
  char *at = vds_records_at(vds_text(c, "state_dir"), &e);
  value *records = at != NULL ? vds_record_list(at, &e) : NULL;
  c->output = value_list();
  if (e == NULL && c->output == NULL) e = error_no_memory();
  for (uint32_t i = 0; e == NULL && records != NULL && i < records->count;
       i++) {
    if (vds_stopped(c, &e)) break;
    if (strcmp(vds_record_text(records->as.items[i], "kind"), "vdisk") == 0)
      e = list_one(c, records->as.items[i]);
  }
  value_free(records);
  mem_free(at);
  return e;
}
