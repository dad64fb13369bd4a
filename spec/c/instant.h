/*
** instant: where a process is killed. Defined here, in the program itself, some
** calls of the system are ours: those with which a store changes a directory,
** and those with which libcurl speaks to a server. They are counted, and so are
** the bytes that they carry; at the n-th call, or behind the n-th byte, this
** very process gets a SIGKILL, before the call, behind it, or in its middle.
** The same things that can be counted can be made to fail.
*/
#ifndef SAROS_SPEC_INSTANT_H
#define SAROS_SPEC_INSTANT_H

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

typedef struct instants {
  _Atomic bool armed;
  _Atomic bool reads;         /* of files count, too */
  _Atomic long calls, bytes;  /* that were seen */
  _Atomic long call, byte;    /* where it is killed; 0: nowhere */
  _Atomic int fails;          /* with this errno, instead */
  _Atomic long fails_at;      /* from this call on, … */
  _Atomic bool fails_forever; /* … or it alone */
} instants;

static instants instant;

static inline void instant_kill(void) {
  kill(getpid(), SIGKILL);
  for (;;) pause();
}

/* One call that has `size` bytes: how many of them are to be carried, and
   whether it is the last one. False: it fails, with errno. */
typedef struct instant_turn {
  size_t size;
  bool last;
} instant_turn;

static inline bool instant_begin(instant_turn *t, size_t size) {
  *t = (instant_turn){size, false};
  if (!instant.armed) return true;
  long n = atomic_fetch_add(&instant.calls, 1) + 1;
  long before = atomic_fetch_add(&instant.bytes, (long)size);
  int number = instant.fails;
  if (number != 0 && (n == instant.fails_at ||
                      (instant.fails_forever && n > instant.fails_at))) {
    errno = number;
    return false;
  }
  if (n == instant.call && n % 2 == 0) instant_kill();
  t->last = n == instant.call;
  long byte = instant.byte;
  if (byte > before && byte <= before + (long)size) {
    t->size = (size_t)(byte - before);
    t->last = true;
  }
  return true;
}

static inline void instant_end(const instant_turn *t) {
  if (t->last) instant_kill();
}

/* They must be seen by libraries, too. */
#define INSTANT __attribute__((visibility("default")))

#define INSTANT_CALL(declaration, number, ...)      \
  INSTANT int declaration {                         \
    instant_turn t;                                 \
    if (!instant_begin(&t, 0)) return -1;           \
    int result = (int)syscall(number, __VA_ARGS__); \
    instant_end(&t);                                \
    return result;                                  \
  }

INSTANT_CALL(fsync(int fd), SYS_fsync, fd)
INSTANT_CALL(fchmod(int fd, mode_t mode), SYS_fchmod, fd, mode)
INSTANT_CALL(linkat(int from, const char *name, int to, const char *other,
                    int flags),
             SYS_linkat, from, name, to, other, flags)
INSTANT_CALL(unlinkat(int fd, const char *name, int flags), SYS_unlinkat, fd,
             name, flags)
INSTANT_CALL(mkdirat(int fd, const char *name, mode_t mode), SYS_mkdirat, fd,
             name, mode)

/* As many of the pieces as are `size` bytes. */
static inline int instant_cut(struct iovec *to, const struct iovec *from,
                              int count, size_t size) {
  int n = 0;
  for (int i = 0; i < count && i < IOV_MAX && size > 0; i++) {
    to[n] = from[i];
    if (to[n].iov_len > size) to[n].iov_len = size;
    size -= to[n++].iov_len;
  }
  return n;
}

INSTANT ssize_t writev(int fd, const struct iovec *list, int count) {
  static _Thread_local struct iovec part[IOV_MAX];
  instant_turn t;
  size_t size = 0;
  for (int i = 0; i < count; i++) size += list[i].iov_len;
  if (!instant_begin(&t, size)) return -1;
  if (t.size < size) {
    count = instant_cut(part, list, count, t.size);
    list = part;
  }
  ssize_t n = syscall(SYS_writev, fd, list, count);
  instant_end(&t);
  return n;
}

INSTANT ssize_t pread(int fd, void *data, size_t size, off_t offset) {
  instant_turn t = {size, false};
  if (instant.reads && !instant_begin(&t, 0)) return -1;
  ssize_t n = syscall(SYS_pread64, fd, data, size, offset);
  instant_end(&t);
  return n;
}

INSTANT ssize_t send(int fd, const void *data, size_t size, int flags) {
  instant_turn t;
  if (!instant_begin(&t, size)) return -1;
  ssize_t n = syscall(SYS_sendto, fd, data, t.size, flags, NULL, 0);
  instant_end(&t);
  return n;
}

INSTANT ssize_t recv(int fd, void *data, size_t size, int flags) {
  instant_turn t;
  if (!instant_begin(&t, 0)) return -1;
  ssize_t n = syscall(SYS_recvfrom, fd, data, size, flags, NULL, NULL);
  instant_end(&t);
  return n;
}

#endif
