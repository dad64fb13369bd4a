/*
** The partial file. What is written to is the file that was made or found here,
** whatever becomes of its name meanwhile.
*/
#include "bits/part.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <unistd.h>

/* ------------------------------------------------------------------
** The boot
** ---------------------------------------------------------------- */

static char boot[37];
static pthread_once_t boot_once = PTHREAD_ONCE_INIT;

static void read_boot(void) {
  int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
  if (fd < 0) return;
  if (read(fd, boot, 36) != 36) boot[0] = '\0';
  close(fd);
}

const char *bits_boot(void) {
  pthread_once(&boot_once, read_boot);
  return boot;
}

bool bits_part_is_known(const bits_known *k, uint64_t device, uint64_t inode) {
  return k->inode == inode &&
         (k->device == device || strcmp(k->boot, bits_boot()) != 0);
}

uint64_t bits_part_trusted(const bits_file *f) {
  const bits_known *k = f->known;
  if (k == NULL) return 0;
  if (bits_boot()[0] != '\0' && strcmp(k->boot, boot) == 0) return BITS_UNKNOWN;
  return k->durable;
}

/* ------------------------------------------------------------------
** Opening
** ---------------------------------------------------------------- */

#define FLAGS (O_RDWR | O_NOFOLLOW | O_NOCTTY | O_NONBLOCK | O_CLOEXEC)

/* The host may have closed its own: 0, 1 and 2 are not our place. */
static int open_above(const char *path, int flags, mode_t mode) {
  int fd = open(path, flags, mode);
  if (fd < 0 || fd > 2) return fd;
  int above = fcntl(fd, F_DUPFD_CLOEXEC, 3), number = errno;
  close(fd);
  errno = number;
  return above;
}

/* Whatever else is there under its name is not the part: it begins again. */
static bool is_none(int number) {
  return number == ENOENT || number == ELOOP || number == ENXIO ||
         number == EISDIR || number == EACCES || number == EPERM ||
         number == ETXTBSY;
}

static int look(bits_part *p) {
  struct stat s;
  if (fstat(p->fd, &s) != 0) return errno;
  p->device = s.st_dev;
  p->inode = s.st_ino;
  p->size = (uint64_t)s.st_size;
  p->reserved = p->size;
  /* A second name is somebody's copy. */
  return S_ISREG(s.st_mode) && s.st_nlink == 1 ? 0 : ESTALE;
}

int bits_part_open(bits_part *p, const bits_file *f, uint64_t keep,
                   const char **what) {
  const bits_known *k = f->known;
  *p = PART_CLOSED;
  *what = "the partial file cannot be opened";
  char *path = bits_part_name(f);
  if (path == NULL) return ENOMEM;
  p->fd = open_above(path, FLAGS, 0);
  int number = p->fd < 0 ? errno : 0;
  mem_free(path);
  if (number != 0) return is_none(number) ? 0 : number;
  number = look(p);
  if (number == ESTALE || !bits_part_is_known(k, p->device, p->inode)) {
    bits_part_close(p);
    return 0;
  }
  if (number == 0 && p->size > keep) {
    *what = "the partial file cannot be cut";
    if (ftruncate(p->fd, (off_t)keep) != 0) number = errno;
    p->size = p->reserved = keep;
  }
  if (number != 0) bits_part_close(p);
  return number;
}

int bits_part_create(bits_part *p, const bits_file *f, mode_t mode,
                     const char **what) {
  *p = PART_CLOSED;
  *what = "the partial file cannot be made";
  char *path = bits_part_name(f);
  if (path == NULL) return ENOMEM;
  p->fd = open_above(path, FLAGS | O_CREAT | O_EXCL, mode);
  int number = p->fd < 0 ? errno : 0;
  if (number == EEXIST) {
    number = unlink(path) == 0 ? 0 : errno;
    if (number == 0) p->fd = open_above(path, FLAGS | O_CREAT | O_EXCL, mode);
    if (number == 0 && p->fd < 0) number = errno;
  }
  mem_free(path);
  if (number == 0) number = look(p);
  if (number != 0) bits_part_close(p);
  return number;
}

int bits_part_close(bits_part *p) {
  int fd = p->fd;
  p->fd = -1;
  return fd < 0 || close(fd) == 0 || errno == EINTR ? 0 : errno;
}

/* ------------------------------------------------------------------
** Room
** ---------------------------------------------------------------- */

/* What lies further ahead is not taken from others yet; but what can never be
   there need not be begun. (As root also what is left for root.) */
static int has_room(const bits_part *p, uint64_t total) {
  struct statfs fs;
  struct stat s;
  if (total > INT64_MAX) return ENOSPC;
  if (fstatfs(p->fd, &fs) != 0 || fstat(p->fd, &s) != 0) return errno;
  if (fs.f_blocks == 0 || fs.f_bsize <= 0) return 0; /* it does not say */
  uint64_t block = (uint64_t)fs.f_bsize;
  uint64_t taken = (uint64_t)s.st_blocks * 512;
  uint64_t missing = total > taken ? total - taken : 0;
  return missing / block > (uint64_t)fs.f_bfree ? ENOSPC : 0;
}

int bits_part_reserve(bits_part *p, uint64_t at, uint64_t total) {
  if (p->reserved >= total) return 0;
  int number = has_room(p, total);
  if (number != 0) return number;
  uint64_t to = total - at > PART_AHEAD ? at + PART_AHEAD : total;
  if (to <= p->reserved) return 0;
  do
    number = fallocate(p->fd, FALLOC_FL_KEEP_SIZE, (off_t)p->reserved,
                       (off_t)(to - p->reserved)) == 0
                 ? 0
                 : errno;
  while (number == EINTR);
  if (number == EOPNOTSUPP || number == ENOSYS || number == EINVAL ||
      number == ENODEV) {
    p->reserved = BITS_UNKNOWN; /* there is no such promise here */
    return 0;
  }
  if (number == 0) p->reserved = to;
  return number;
}

/* ------------------------------------------------------------------
** Bytes
** ---------------------------------------------------------------- */

int bits_part_write(bits_part *p, uint64_t at, const void *data, size_t size) {
  const char *bytes = data;
  while (size > 0) {
    ssize_t n = pwrite(p->fd, bytes, size, (off_t)at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno;
    if (n == 0) return ENOSPC;
    bytes += n;
    at += (uint64_t)n;
    size -= (size_t)n;
    if (at > p->size) p->size = at;
  }
  return 0;
}

int bits_part_same(bits_part *p, uint64_t at, const void *data, size_t size) {
  const char *bytes = data;
  char here[PART_OVERLAP];
  while (size > 0) {
    ssize_t n =
        pread(p->fd, here, size < sizeof here ? size : sizeof here, (off_t)at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno;
    if (n == 0 || memcmp(here, bytes, (size_t)n) != 0) return EBADMSG;
    bytes += n;
    at += (uint64_t)n;
    size -= (size_t)n;
  }
  return 0;
}

int bits_part_sync(bits_part *p) {
  int r;
  do r = fdatasync(p->fd);
  while (r != 0 && errno == EINTR);
  return r == 0 ? 0 : errno;
}

int bits_part_check(int fd) {
  if (sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WAIT_BEFORE) == 0) return 0;
  bool is_lost = errno == EIO || errno == ENOSPC || errno == EDQUOT;
  return is_lost ? errno : 0;
}
