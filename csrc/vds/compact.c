/*
** compact: the file of a virtual disk gets holes where it has only zeros. What
** is read between the look and the hole must not change: so the file is leased,
** which the kernel grants only while nobody else has it open (as a loop device
** has), and whoever opens it then waits until it is given back.
*/
#include <errno.h>
#include <fcntl.h>
#include <linux/falloc.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "vds/attach.h"
#include "vds/step.h"
#include "vds/vdisk.h"

#define BLOCK ((size_t)4 << 20) /* that is read at once */
#define GRAIN ((size_t)4096)
#define LEAST ((size_t)64 << 10) /* a smaller hole is not worth its extent */

typedef struct compacting {
  vds_call *c;
  const char *path;
  int fd;
  uint64_t size;
  char *bytes; /* BLOCK */
} compacting;


/* ------------------------------------------------------------------
** A lease
** ---------------------------------------------------------------- */

static error *in_use(const compacting *k) {
  return vds_error(VDS_E_DEVICE_IN_USE,
                   "somebody has %s open (fuser -v %s says who); what he would "
                   "write meanwhile must not be lost",
                   k->path, k->path);
}


/* Its signal is one that nobody notices: we ask instead. A device that was just
   detached may have it open for a moment more. */
static error *lease(const compacting *k) {
  uint64_t until = vds_clock() + vds_patience;
  error *e = NULL;
  int number = fcntl(k->fd, F_SETSIG, SIGURG) == 0 ? EAGAIN : errno;
  while (number == EAGAIN) {
    if (fcntl(k->fd, F_SETLEASE, F_WRLCK) == 0) return NULL;
    number = errno;
    if (number != EAGAIN || vds_stopped(k->c, &e)) break;
    if (vds_clock() > until) return in_use(k);
    nanosleep(&(struct timespec){0, 20000000}, NULL);
  }
  if (e != NULL) return e;
  if (number == EINVAL || number == ENOTTY || number == EOPNOTSUPP)
    return vds_error(VDS_E_NOT_SUPPORTED,
                     "the file system of %s cannot say whether somebody else "
                     "has it open; attach it and compact it then",
                     k->path);
  return vds_errno(number, "the file cannot be leased", k->path);
}


static bool still_ours(const compacting *k) {
  return fcntl(k->fd, F_GETLEASE) == F_WRLCK;
}


/* ------------------------------------------------------------------
** Holes
** ---------------------------------------------------------------- */

static error *make_hole(const compacting *k, uint64_t from, uint64_t to) {
  int how = FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE;
  if (!still_ours(k)) return in_use(k);
  while (fallocate(k->fd, how, (off_t)from, (off_t)(to - from)) != 0) {
    if (errno == EOPNOTSUPP)
      return vds_error(VDS_E_NOT_SUPPORTED,
                       "the file system of %s knows no holes", k->path);
    if (errno != EINTR)
      return vds_errno(errno, "a hole cannot be made", k->path);
  }
  return NULL;
}


static bool is_zero(const char *bytes, size_t size) {
  return bytes[0] == 0 && memcmp(bytes, bytes + 1, size - 1) == 0;
}


static error *end_run(const compacting *k, uint64_t at, size_t from,
                      size_t to) {
  return to >= from + LEAST ? make_hole(k, at + from, at + to) : NULL;
}


/* Runs of zeros among bytes that were read. */
static error *dig(const compacting *k, uint64_t at, size_t size) {
  error *e = NULL;
  size_t begin = 0; /* of the run */
  for (size_t i = 0; e == NULL && i < size; i += GRAIN) {
    if (is_zero(k->bytes + i, size - i < GRAIN ? size - i : GRAIN)) continue;
    e = end_run(k, at, begin, i);
    begin = i + GRAIN;
  }
  return e == NULL ? end_run(k, at, begin, size) : e;
}


static error *read_block(const compacting *k, uint64_t at, size_t want,
                         size_t *got) {
  *got = 0;
  while (*got < want) {
    ssize_t n = pread(k->fd, k->bytes + *got, want - *got, (off_t)(at + *got));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return vds_errno(errno, "the file cannot be read", k->path);
    if (n == 0) break; /* it was cut off just now */
    *got += (size_t)n;
  }
  return NULL;
}


/* What begins at `at`: bytes that were written, or not. A file system that does
   not know has only data. */
static bool is_data(const compacting *k, uint64_t at, uint64_t *end) {
  off_t data = lseek(k->fd, (off_t)at, SEEK_DATA);
  bool none = data < 0 && errno == ENXIO;
  if (none || (data >= 0 && (uint64_t)data >= at + GRAIN)) {
    *end = none ? k->size : (uint64_t)data & ~(uint64_t)(GRAIN - 1);
    return false;
  }
  off_t hole = lseek(k->fd, (off_t)at, SEEK_HOLE);
  *end =
      hole > (off_t)at && (uint64_t)hole < k->size ? (uint64_t)hole : k->size;
  /* The next part begins at a grain. */
  *end = (*end + GRAIN - 1) & ~(uint64_t)(GRAIN - 1);
  if (*end > k->size) *end = k->size;
  return true;
}


/* What was never written, but has room (fallocate), gives that back, too. */
static error *compact_all(compacting *k) {
  error *e = NULL;
  uint64_t end = 0;
  vds_phase(k->c, "digging", 0, 1000);
  for (uint64_t at = 0; e == NULL && at < k->size;) {
    bool data = is_data(k, at, &end);
    size_t got = 0, want = end - at < BLOCK ? (size_t)(end - at) : BLOCK;
    if (!data) {
      e = make_hole(k, at, end);
      at = end;
    } else {
      e = read_block(k, at, want, &got);
      if (e == NULL) e = dig(k, at, got);
      posix_fadvise(k->fd, (off_t)at, (off_t)got, POSIX_FADV_DONTNEED);
      at += got > 0 ? got : k->size;
    }
    vds_progress(k->c, at, k->size);
    vds_step("compact: block");
    if (e == NULL && !still_ours(k)) e = in_use(k);
    if (e == NULL) vds_stopped(k->c, &e);
  }
  if (e == NULL && fsync(k->fd) != 0)
    e = vds_errno(errno, "the file cannot be written", k->path);
  return e;
}


static error *compact_file(vds_call *c, const char *path, int fd) {
  struct stat st;
  compacting k = {.c = c, .path = path, .fd = fd};
  error *e = lease(&k);
  vds_step("compact: leased");
  if (e == NULL && fstat(fd, &st) != 0)
    e = vds_errno(errno, "the file cannot be looked at", path);
  if (e != NULL) return e;
  k.size = (uint64_t)st.st_size;
  k.bytes = mem_alloc(BLOCK);
  if (k.bytes == NULL) return error_no_memory();
  e = compact_all(&k);
  mem_free(k.bytes);
  fcntl(fd, F_SETLEASE, F_UNLCK);
  return e;
}


/* ------------------------------------------------------------------
** The work
** ---------------------------------------------------------------- */

static error *open_file(const char *path, int *fd) {
  struct stat st;
  *fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (*fd < 0 && (errno == ENOENT || errno == ENOTDIR))
    return vds_error(VDS_E_PATH_NOT_FOUND, "there is no file %s", path);
  if (*fd < 0 && errno == EWOULDBLOCK)
    return vds_error(VDS_E_ANOTHER_CALL_IN_PROGRESS,
                     "another process works on %s; try again", path);
  if (*fd < 0) return vds_errno(errno, "the file cannot be opened", path);
  if (fstat(*fd, &st) == 0 && S_ISREG(st.st_mode)) return NULL;
  return vds_error(VDS_E_OPERATION_DENIED,
                   "%s is no regular file, and cannot be a disk", path);
}


static int64_t taken(int fd) {
  struct stat st;
  return fstat(fd, &st) == 0 ? (int64_t)st.st_blocks * 512 : 0;
}


static error *put_result(vds_call *c, const char *path, int fd,
                         int64_t before) {
  int64_t now = taken(fd);
  value *map = NULL;
  error *e = vds_vdisk_map(path, fd, &map);
  if (e != NULL) return e;
  c->output =
      vds_with(map, "reclaimed", value_int(now < before ? before - now : 0));
  return c->output != NULL ? NULL : error_no_memory();
}


static error *compact(vds_call *c, const char *path, int fd) {
  bool ours;
  dev_t device;
  int64_t before = taken(fd);
  error *e = vds_attached(fd, &device, &ours);
  if (e != NULL) return e;
  if (device == 0)
    e = compact_file(c, path, fd);
  else if (ours)
    e = vds_compact_attached(c, device);
  else
    e = vds_error(VDS_E_OPERATION_DENIED,
                  "%s was attached by somebody else, and is his to trim "
                  "(fstrim)",
                  path);
  return e == NULL ? put_result(c, path, fd, before) : e;
}


error *vds_work_compact(vds_call *c) {
  const char *path = vds_text(c, "path");
  int fd = -1;
  if (path == NULL || *path != '/')
    return vds_error(SAROS_E_INVALIDARG,
                     "a virtual disk needs an absolute path of its file");
  error *e = open_file(path, &fd);
  if (e == NULL) e = compact(c, path, fd);
  if (fd >= 0) close(fd);
  return e != NULL ? error_at(e, path) : NULL;
}
