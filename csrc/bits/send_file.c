/*
** The file that is sent: opened once, and looked at again before anybody is
** told that it has arrived.
*/
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bits/upload.h"

static int64_t changed_at(const struct stat *s) {
  /* Only compared: it may wrap. */
  return (int64_t)((uint64_t)s->st_mtim.tv_sec * 1000000000u +
                   (uint64_t)s->st_mtim.tv_nsec);
}

int upload_open(upload_local *l, const char *path, const char **what) {
  struct stat s;
  *what = "open";
  /* What is no file might not be opened for ever. */
  l->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (l->fd < 0) return errno;
  int number = fstat(l->fd, &s) != 0 ? errno
               : S_ISDIR(s.st_mode)  ? EISDIR
               : !S_ISREG(s.st_mode) ? EINVAL
                                     : 0;
  if (number != 0) {
    upload_close(l);
    return number;
  }
  l->device = s.st_dev;
  l->inode = s.st_ino;
  l->size = (uint64_t)s.st_size;
  l->changed = changed_at(&s);
  return 0;
}

void upload_close(upload_local *l) {
  if (l->fd >= 0) close(l->fd);
  l->fd = -1;
}

int upload_read(const upload_local *l, uint64_t at, void *room, size_t size) {
  char *to = room;
  while (size > 0) {
    ssize_t n = pread(l->fd, to, size, (off_t)at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno;
    if (n == 0) return ESTALE;
    to += n;
    at += (uint64_t)n;
    size -= (size_t)n;
  }
  return 0;
}

bool upload_is_changed(const upload_local *l, const char *path) {
  struct stat s;
  if (fstat(l->fd, &s) != 0 || (uint64_t)s.st_size != l->size ||
      changed_at(&s) != l->changed)
    return true;
  /* Without its name it is still what it was. */
  return stat(path, &s) == 0 && (s.st_dev != l->device || s.st_ino != l->inode);
}
