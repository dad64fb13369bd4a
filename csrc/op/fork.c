/*
** What happens to saros in a child process: everything inherited becomes
** inert, descriptors are closed, and the first use starts afresh.
*/
#include "op/fork.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/devices.h"
#include "base/log.h"
#include "op/fork_parts.h"

uint16_t fork_generation;

/* One bit a descriptor. Above the last one nothing is registered: such a
   child inherits it, which costs it a descriptor and nobody a wrong answer. */
#define FDS 65536
static uint64_t owned[FDS / 64];
static unsigned owned_count;
static int owned_top; /* no bit is set at or above it */
static pthread_mutex_t fds_lock = PTHREAD_MUTEX_INITIALIZER;

static pthread_once_t once = PTHREAD_ONCE_INIT;
static int once_result;

/* In a host that has closed its 0, 1 or 2 what we open would land there, be
   written to by its next printf, and inherited by its children as theirs. */
static int above_standard(int fd) {
  int above = fcntl(fd, F_DUPFD_CLOEXEC, 3);
  int saved = errno;
  close(fd);
  errno = saved;
  return above;
}

/* With the lock held. */
static int own(int fd) {
  if (fd >= 0 && fd <= 2) fd = above_standard(fd);
  if (fd < 0 || fd >= FDS) return fd;
  owned[fd / 64] |= 1ULL << (fd % 64);
  owned_count++;
  if (fd >= owned_top) owned_top = fd + 1;
  return fd;
}

/* With the lock held. True when it was ours. */
static bool take_out(int fd) {
  if (fd >= FDS) return true;
  bool was = (owned[fd / 64] >> (fd % 64)) & 1;
  if (was) {
    owned[fd / 64] &= ~(1ULL << (fd % 64));
    owned_count--;
  }
  return was;
}

int fd_own(int fd) {
  int saved = errno;
  pthread_mutex_lock(&fds_lock);
  errno = saved;
  fd = own(fd);
  saved = errno;
  pthread_mutex_unlock(&fds_lock);
  errno = saved;
  return fd;
}

/* No fork comes between the making and the registration. */
static int make_two(int (*make)(int type, int fds[2]), int type, int fds[2]) {
  pthread_mutex_lock(&fds_lock);
  int r = make(type, fds);
  for (int i = 0; r == 0 && i < 2; i++) fds[i] = own(fds[i]);
  int saved = errno;
  pthread_mutex_unlock(&fds_lock);
  errno = saved;
  return r;
}

static int make_pipe(int unused, int fds[2]) {
  (void)unused;
  return pipe2(fds, O_CLOEXEC);
}

static int make_pair(int type, int fds[2]) {
  return socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, fds);
}

int fd_pipe(int fds[2]) {
  return make_two(make_pipe, 0, fds);
}

int fd_pair(int type, int fds[2]) {
  return make_two(make_pair, type, fds);
}

int fd_socket(int domain, int type) {
  pthread_mutex_lock(&fds_lock);
  int fd = own(socket(domain, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  int saved = errno;
  pthread_mutex_unlock(&fds_lock);
  errno = saved;
  return fd;
}

int fd_accept(int from) {
  pthread_mutex_lock(&fds_lock);
  int fd = own(accept4(from, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK));
  int saved = errno;
  pthread_mutex_unlock(&fds_lock);
  errno = saved;
  return fd;
}

void fd_disown(int fd) {
  if (fd < 0) return;
  pthread_mutex_lock(&fds_lock);
  take_out(fd);
  pthread_mutex_unlock(&fds_lock);
}

void fd_close(int *fd) {
  if (*fd < 0) return;
  pthread_mutex_lock(&fds_lock); /* no fork in between: see fd_pipe */
  if (take_out(*fd)) close(*fd);
  pthread_mutex_unlock(&fds_lock);
  *fd = -1;
}

unsigned fd_count(void) {
  pthread_mutex_lock(&fds_lock);
  unsigned n = owned_count;
  pthread_mutex_unlock(&fds_lock);
  return n;
}

/* What the child reads must be whole at the instant of the fork: the names
   and the descriptors, those of an engine that starts or stops among them.
   The rest it throws away unread. */
static void before(void) {
  engine_stand_still();
  names_hold();
  pthread_mutex_lock(&fds_lock);
}

static void in_parent(void) {
  pthread_mutex_unlock(&fds_lock);
  names_let_go();
  engine_go_on();
}

static void in_child(void) {
  fork_generation++;
  for (int fd = 0; fd < owned_top; fd++)
    if ((owned[fd / 64] >> (fd % 64)) & 1) close(fd);
  for (int i = 0; i * 64 < owned_top; i++) owned[i] = 0;
  owned_count = 0;
  owned_top = 0;
  pthread_mutex_unlock(&fds_lock);
  names_let_go();
  engine_go_on();
  op_forked();
  engine_forked();
  pool_forked();
  log_forked();
  device_forked();
}

static void prepare(void) {
  once_result = pthread_atfork(before, in_parent, in_child);
}

int fork_prepare(void) {
  pthread_once(&once, prepare);
  return once_result;
}
