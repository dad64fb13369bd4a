/*
** The owner's side of the guard. They speak over a socket pair and not a pipe:
** a write to it never raises SIGPIPE in somebody else's process, and it keeps
** messages apart.
*/
#include "vss/guard.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "op/fork.h"
#include "vss/guard_parts.h"

#define ANSWER_MS 30000 /* a busy machine is slow to start a process */
#define LEAVE_MS 60000
#define KILL_MS 2000 /* a process that is killed is soon gone */

struct guard {
  pid_t pid;
  uint16_t generation; /* of the process: see fork.h */
  int pidfd, socket, records;
  guard_life *life;
  size_t count;
  char name[GUARD_NAME]; /* of the record, with a dot before it */
  uint64_t acted;
};

#ifdef SAROS_TEST
_Atomic uint32_t guard_leave_ms = LEAVE_MS;

pid_t guard_pid(const guard *g) {
  return g->pid;
}
#else
enum { guard_leave_ms = LEAVE_MS };
#endif


/* ------------------------------------------------------------------
** Listening
** ---------------------------------------------------------------- */

static bool has_ended(const guard *g) {
  struct pollfd p = {.fd = g->pidfd, .events = POLLIN};
  return poll(&p, 1, 0) > 0;
}

static uint64_t monotonic_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000u + (uint64_t)t.tv_nsec / 1000000u;
}

/* Waits for this message. False: it is gone, or does not answer. */
static bool await(guard *g, uint32_t what) {
  uint64_t until = monotonic_ms() + ANSWER_MS;
  for (;;) {
    bool ended = has_ended(g); /* before, so that its last words are heard */
    guard_told t;
    ssize_t n = recv(g->socket, &t, sizeof t, MSG_DONTWAIT);
    if (n == (ssize_t)sizeof t) {
      g->acted |= t.acted;
      if (t.what == what) return t.version == GUARD_VERSION;
      continue;
    }
    if (n < 0 && errno == EINTR) continue;
    if (n >= 0 || errno != EAGAIN || ended) return false;
    uint64_t now = monotonic_ms();
    if (now >= until) return false;
    struct pollfd p[2] = {{.fd = g->socket, .events = POLLIN},
                          {.fd = g->pidfd, .events = POLLIN}};
    poll(p, 2, (int)(until - now));
  }
}

/* Ends it when it does not end by itself, and takes its status; that somebody
   else has taken it already does not matter. */
static void put_away(guard *g, bool ends) {
  if (g->pidfd < 0) return;
  struct pollfd p = {.fd = g->pidfd, .events = POLLIN};
  if (!ends || poll(&p, 1, KILL_MS) <= 0)
    pidfd_send_signal(g->pidfd, SIGKILL, NULL, 0);
  while (poll(&p, 1, KILL_MS) < 0 && errno == EINTR) {}
  siginfo_t info;
  const int how = WEXITED | (has_ended(g) ? 0 : WNOHANG);
  while (waitid(P_PIDFD, (id_t)g->pidfd, &info, how) != 0 && errno == EINTR) {}
}


/* ------------------------------------------------------------------
** Arming
** ---------------------------------------------------------------- */

static error *no_descriptors(void) {
  return error_of_errno(SAROS_FACADE_VSS, errno, "cannot make a guard", NULL);
}

static error *begin(guard *g, const guard_item *items, int theirs) {
  int fds[GUARD_FIRST + GUARD_MOST];
  error *e = NULL;
  int owner = fd_own(pidfd_open(getpid(), 0)), life = -1;
  if (owner < 0) return no_descriptors();
  g->life = guard_life_begin(&life, &e);
  fds[GUARD_SOCKET] = theirs;
  fds[GUARD_OWNER] = owner;
  fds[GUARD_LIFE] = life;
  fds[GUARD_RECORDS] = g->records;
  for (size_t i = 0; i < g->count; i++) fds[GUARD_FIRST + i] = items[i].fd;
  if (e == NULL) e = guard_run(fds, GUARD_FIRST + g->count, &g->pid, &g->pidfd);
  fd_close(&life);
  fd_close(&owner);
  return e;
}

static error *greet(guard *g, const guard_item *items) {
  guard_hello hello = {.version = GUARD_VERSION, .count = (uint32_t)g->count};
  hello.leave_ms = guard_leave_ms;
  memcpy(hello.record, g->name, GUARD_NAME);
  for (size_t i = 0; i < g->count; i++) {
    hello.items[i].action = (uint32_t)items[i].action;
    hello.items[i].ms = items[i].ms;
  }
  ssize_t n = send(g->socket, &hello, sizeof hello, MSG_NOSIGNAL);
  if (n == (ssize_t)sizeof hello && await(g, TOLD_READY)) return NULL;
  return vss_error(SAROS_E_REFUSED,
                   "nothing may be frozen, because the guard that would thaw "
                   "it after a crash was started and did not answer; when "
                   "SAROS_GUARD is set, it may name another program");
}

/* The kernel would hardly miss it, we would. Needs a capability. */
static void spare_it(pid_t pid) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%ld/oom_score_adj", (long)pid);
  int fd = fd_own(open(path, O_WRONLY | O_CLOEXEC));
  if (fd < 0) return;
  ssize_t n = write(fd, "-1000", 5);
  (void)n;
  fd_close(&fd);
}

static error *arm(guard *g, const guard_item *items, const char *runtime) {
  error *e = NULL;
  int pair[2];
  g->records = guard_records(runtime, true, &e);
  if (e != NULL) return e;
  if (!guard_record_name(g->name) || fd_pair(SOCK_SEQPACKET, pair) != 0)
    return no_descriptors();
  g->socket = pair[0];
  if (pair[0] < 0 || pair[1] < 0)
    e = no_descriptors();
  else
    e = begin(g, items, pair[1]);
  fd_close(&pair[1]);
  if (e == NULL) e = greet(g, items);
  if (e != NULL) return e;
  spare_it(g->pid);
  return guard_record_write(g->records, g->name, g->pid, items, g->count);
}

/* In a forked child they are closed already, and the numbers may be another's
   by now. */
static void let_go(guard *g) {
  if (g->generation == fork_generation) {
    fd_close(&g->socket);
    fd_close(&g->pidfd);
    fd_close(&g->records);
    if (g->life != NULL) guard_life_end(g->life);
  } else if (g->life != NULL) {
    guard_life_forked(g->life);
  }
  mem_free(g);
}

guard *guard_arm(const guard_item *items, size_t count, const char *runtime,
                 error **e) {
  *e = NULL;
  guard *g = NULL;
  if (count > GUARD_MOST) {
    *e = vss_error(SAROS_E_REFUSED,
                   "%zu things at once are more than one guard can watch "
                   "over (%d); make several sets",
                   count, GUARD_MOST);
    return NULL;
  }
  g = mem_zero(sizeof *g);
  if (g == NULL) {
    *e = error_no_memory();
    return NULL;
  }
  g->socket = g->pidfd = g->records = -1;
  g->generation = fork_generation;
  g->count = count;
  *e = arm(g, items, runtime);
  if (*e == NULL) return g;
  put_away(g, false);
  let_go(g);
  return NULL;
}


/* ------------------------------------------------------------------
** Afterwards
** ---------------------------------------------------------------- */

static uint64_t boot_time(void) {
  struct timespec t;
  clock_gettime(CLOCK_BOOTTIME, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static bool order(const guard *g, uint32_t what, size_t item) {
  guard_order o = {what, (uint32_t)item, boot_time()};
  ssize_t n;
  do n = send(g->socket, &o, sizeof o, MSG_DONTWAIT | MSG_NOSIGNAL);
  while (n < 0 && errno == EINTR);
  return n == (ssize_t)sizeof o;
}

bool guard_mark(guard *g, size_t item, bool held) {
  if (g->generation != fork_generation || item >= g->count) return false;
  if (has_ended(g)) return false;
  return order(g, held ? ORDER_HELD : ORDER_FREE, item);
}

uint64_t guard_disarm(guard *g) {
  if (g->generation != fork_generation) {
    guard_forget(g);
    return 0;
  }
  order(g, ORDER_DISARM, UINT32_MAX);
  bool said = await(g, TOLD_BYE);
  if (!said)
    log_write(LOG_WARNING, "vss",
              "the guard (process %ld) was gone before it was sent away",
              (long)g->pid);
  put_away(g, said);
  unlinkat(g->records, g->name + 1, 0); /* the guard has, if it could */
  uint64_t acted = g->acted;
  let_go(g);
  return acted;
}

void guard_forget(guard *g) {
  let_go(g);
}
