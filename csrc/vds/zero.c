/*
** zero: every byte of a part of a device. Of a loop device over a file the file
** gets holes, which is quick and gives its blocks back; all else is written,
** past the page cache, so that neither memory nor processor are spent on it.
*/
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "vds/clean.h"
#include "vds/step.h"

#define CHUNK ((size_t)8 << 20)
#define HOLE ((uint64_t)64 << 20)
#define PIECE ((size_t)64 << 10) /* of a chunk with a bad sector in it */
#define EDGE ((uint64_t)4096)
#define HUGE ((size_t)2 << 20)

enum { BAD_MOST = 64 };

typedef struct zeroing {
  vds_call *c;
  const vds_target *t;
  vds_zeroed *z;
  int fd;       /* O_DIRECT */
  bool holes;   /* it is a file's, and can have them */
  bool quietly; /* no percent, no cancel, no sync */
  size_t sector;
  char *map;                  /* where they are; NULL: not needed yet */
  const unsigned char *zeros; /* CHUNK of them, which take no memory */
} zeroing;


/* ------------------------------------------------------------------
** What cannot be written
** ---------------------------------------------------------------- */

/* The medium's own, and not the bus' or the driver's. */
static bool is_medium(int number) {
  return number == EIO || number == ENODATA || number == EILSEQ ||
         number == EREMOTEIO;
}


static error *cannot_write(const zeroing *w, int number, uint64_t at) {
  error *e = NULL;
  vds_about *a = vds_about_new(w->t->is.dev, &e);
  bool gone = e != NULL || number == ENXIO || number == ENODEV;
  error_unref(e);
  mem_free(a);
  if (gone)
    return vds_error(VDS_E_OBJECT_DELETED,
                     "%s has gone while it was written to, at byte %llu",
                     w->t->path, (unsigned long long)at);
  if (!is_medium(number))
    return vds_errno(number, "the device cannot be written", w->t->path);
  return vds_error(VDS_E_IO_ERROR,
                   w->z->failed != NULL
                       ? "%s has too many sectors that cannot be written, the "
                         "last at byte %llu"
                       : "%s has a sector that cannot be written, at byte %llu",
                   w->t->path, (unsigned long long)at);
}


/* The one before, when it goes on. */
static bool grows(const value *failed, uint64_t at, uint64_t size) {
  if (failed->count == 0) return false;
  value *last = failed->as.items[failed->count - 1];
  int64_t offset = value_integer(value_get(last, "offset"), 0);
  int64_t had = value_integer(value_get(last, "size"), 0);
  return (uint64_t)(offset + had) == at &&
         value_put(last, "size", value_int(had + (int64_t)size));
}


static error *skip(zeroing *w, int number, uint64_t at, uint64_t size) {
  value *failed = w->z->failed;
  if (!is_medium(number) || failed == NULL || w->z->sectors == BAD_MOST)
    return cannot_write(w, number, at);
  w->z->sectors++;
  vds_step("zero: skipped");
  if (grows(failed, at, size)) return NULL;
  value *map = vds_with(vds_with(value_map(), "offset", value_int((int64_t)at)),
                        "size", value_int((int64_t)size));
  return value_add(failed, map) ? NULL : error_no_memory();
}


/* ------------------------------------------------------------------
** Writing
** ---------------------------------------------------------------- */

/* Read only, they are one page of the kernel's, again and again: a huge one
   where it has such, and then a chunk is a few pieces to it and not thousands.
   False: no room. */
static bool map_zeros(zeroing *w) {
  if (w->map != NULL) return true;
  void *map =
      mmap(NULL, CHUNK + HUGE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (map == MAP_FAILED) return false;
  madvise(map, CHUNK + HUGE, MADV_HUGEPAGE);
  size_t over = (uintptr_t)map % HUGE;
  w->map = map;
  w->zeros = (const unsigned char *)map + (over > 0 ? HUGE - over : 0);
  return true;
}


/* 0, or the errno; *done is what was written before. */
static int write_some(const zeroing *w, uint64_t at, size_t size,
                      size_t *done) {
  *done = 0;
  while (*done < size) {
    ssize_t n = pwrite(w->fd, w->zeros, size - *done, (off_t)(at + *done));
    if (n > 0)
      *done += (size_t)n;
    else if (n == 0)
      return ENOSPC; /* behind its end */
    else if (errno != EINTR)
      return errno;
  }
  return 0;
}


/* One size after the other: a chunk, the pieces of a chunk that has something
   bad in it, the sectors of such a piece. */
static error *write_in(zeroing *w, uint64_t at, size_t size, size_t part) {
  error *e = NULL;
  while (e == NULL && size > 0) {
    size_t now = size < part ? size : part, done;
    if (!w->quietly && part != CHUNK && vds_stopped(w->c, &e)) break;
    int number = write_some(w, at, now, &done);
    w->z->bytes += done;
    if (number != 0 && part == CHUNK)
      e = write_in(w, at + done, now - done, PIECE);
    else if (number != 0 && part > w->sector)
      e = write_in(w, at + done, now - done, w->sector);
    else if (number != 0)
      e = skip(w, number, at + done, now - done);
    at += now;
    size -= now;
  }
  return e;
}


/* ------------------------------------------------------------------
** Holes
** ---------------------------------------------------------------- */

static bool is_over_a_file(int fd) {
  struct loop_info64 info = {0};
  return ioctl(fd, LOOP_GET_STATUS64, &info) == 0 && info.lo_rdevice == 0;
}


/* Zeros are what a hole of this kind is by its definition, unlike what was
   discarded; who cannot make it says so. Then it is written. */
static bool make_hole(const zeroing *w, uint64_t at, uint64_t size) {
  if (size < EDGE || at % EDGE != 0 || size % EDGE != 0) return false;
  return fallocate(w->fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, (off_t)at,
                   (off_t)size) == 0;
}


/* ------------------------------------------------------------------
** All of it
** ---------------------------------------------------------------- */

static error *zero_all(zeroing *w, uint64_t from, uint64_t to) {
  error *e = NULL;
  for (uint64_t at = from; e == NULL && at < to;) {
    uint64_t most = w->holes ? HOLE : CHUNK;
    uint64_t size = to - at < most ? to - at : most;
    if (w->holes && size > EDGE) size -= size % EDGE;
    if (w->holes && make_hole(w, at, size)) {
      w->z->bytes += size;
    } else {
      if (size > CHUNK) size = CHUNK;
      e = map_zeros(w) ? write_in(w, at, (size_t)size, CHUNK)
                       : error_no_memory();
    }
    at += size;
    if (w->quietly || e != NULL) continue;
    vds_progress(w->c, at - from, to - from);
    vds_step("zero: chunk");
    vds_stopped(w->c, &e);
  }
  /* A disk's own memory of what was written. */
  if (!w->quietly && fsync(w->fd) != 0 && e == NULL)
    e = cannot_write(w, errno, to);
  return e;
}


static size_t sector_of(int fd) {
  int logical = 0;
  unsigned physical = 0;
  if (ioctl(fd, BLKSSZGET, &logical) != 0 || logical < 512) logical = 512;
  if (ioctl(fd, BLKPBSZGET, &physical) != 0 || physical > PIECE) physical = 0;
  return physical > (unsigned)logical ? physical : (size_t)logical;
}


static error *zero(vds_call *c, const vds_target *t, uint64_t from, uint64_t to,
                   bool quietly, vds_zeroed *z) {
  zeroing w = {.c = c, .t = t, .z = z, .fd = -1, .quietly = quietly};
  error *e = vds_target_node(t, O_RDWR | O_DIRECT, &w.fd);
  if (e == NULL) {
    w.sector = sector_of(w.fd);
    w.holes = is_over_a_file(w.fd);
    e = zero_all(&w, from, to);
  }
  if (w.fd >= 0) close(w.fd);
  if (w.map != NULL) munmap(w.map, CHUNK + HUGE);
  return e;
}


error *vds_zero_more(vds_call *c, const vds_target *t, uint64_t from,
                     uint64_t to, vds_zeroed *z) {
  return zero(c, t, from, to, false, z);
}


error *vds_zero_now(vds_call *c, const vds_target *t, uint64_t from,
                    uint64_t to, vds_zeroed *z) {
  return zero(c, t, from, to, true, z);
}


error *vds_zero(vds_call *c, const vds_target *t, uint64_t from, uint64_t to,
                value *failed) {
  vds_zeroed z = {.failed = failed};
  return zero(c, t, from, to, false, &z);
}
