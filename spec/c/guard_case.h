/*
** What the tests of the guard share: owners in processes of their own, which
** come to a gate and tell whom they have armed.
*/
#ifndef SAROS_GUARD_CASE_H
#define SAROS_GUARD_CASE_H

#include <stddef.h>

#include "freeze_case.h"
#include "op/thread.h"
#include "vss/guard_parts.h"

#define LONG_MS 100000 /* no deadline in this test */

static char runtime[300];

static inline const char *records(void) {
  return in("run/frozen");
}

static inline guard *arm_all(const int *which, size_t count, uint32_t ms,
                             error **e) {
  guard_item items[VOLUMES];
  for (size_t i = 0; i < count; i++)
    items[i] = (guard_item){.action = GUARD_THAW,
                            .fd = volumes[which[i]].fd,
                            .ms = ms,
                            .path = volumes[which[i]].path};
  return guard_arm(items, count, runtime, e);
}

static inline guard *arm_one(int which, uint32_t ms) {
  error *e;
  guard *g = arm_all(&which, 1, ms, &e);
  if (g == NULL) printf("no guard: %s\n", e->message);
  error_unref(e);
  return g;
}


/* ------------------------------------------------------------------
** Owners, in processes of their own
** ---------------------------------------------------------------- */

/* What an owner tells us when it has come to its gate. */
typedef struct news {
  pid_t guard, other;
  int result;
} news;

typedef struct owner {
  pid_t pid;
  int from; /* where its news come from */
  int to;   /* closed by us: it may go on */
  news n;
} owner;

static int gate_out, gate_in; /* in the owner */

static inline void at_the_gate(guard *g, pid_t other) {
  news n = {.guard = g != NULL ? guard_pid(g) : 0, .other = other};
  char byte;
  if (write(gate_out, &n, sizeof n) != sizeof n) _exit(3);
  while (read(gate_in, &byte, 1) < 0 && errno == EINTR) {}
}

static inline owner make_owner(int (*body)(int which), int which) {
  int out[2], back[2];
  owner o = {.pid = -1};
  fflush(stdout);
  if (pipe2(out, O_CLOEXEC) != 0 || pipe2(back, O_CLOEXEC) != 0) return o;
  o.pid = fork();
  if (o.pid == 0) {
    setpgid(0, 0);
    alarm(GATE_BOUND_MS / 1000);
    close(out[0]);
    close(back[1]);
    gate_out = out[1];
    gate_in = back[0];
    check_bad = 0;
    int r = body(which);
    _exit(check_bad > 0 ? 100 : r);
  }
  setpgid(o.pid, o.pid); /* whoever comes first */
  close(out[1]);
  close(back[0]);
  o.from = out[0];
  o.to = back[1];
  return o;
}

static inline void meet(owner *o) {
  CHECK(await_fd(o->from));
  CHECK_INT(read(o->from, &o->n, sizeof o->n), sizeof o->n);
}

static inline void let_on(owner *o) {
  close(o->to);
  o->to = -1;
}

static inline int farewell(owner *o) {
  int status = await_end(o->pid);
  close(o->from);
  if (o->to >= 0) close(o->to);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

/* The guard first, so that it cannot act. */
static inline void kill_both(owner *o) {
  kill(o->n.guard, SIGSTOP);
  kill(o->n.guard, SIGKILL);
  kill(o->pid, SIGKILL);
  farewell(o);
  await_end(o->n.guard);
}

static inline int hold_and_wait(int which) {
  guard *g = arm_one(which, LONG_MS);
  if (g == NULL || !guard_mark(g, 0, true)) return 1;
  if (freeze(volumes[which].fd) != 0) return 2;
  at_the_gate(g, 0);
  return 0;
}

/* What is left when it is over: nothing. */
static inline void check_nothing_left(int which) {
  CHECK(!is_frozen(which));
  CHECK_INT(names_in(records()), 0);
}

static inline dev_t device_of(int which) {
  struct stat st;
  CHECK_INT(fstat(volumes[which].fd, &st), 0);
  return st.st_dev;
}

/* The content of a small file, or where a link points to. */
static inline const char *about(pid_t pid, const char *name) {
  static char text[256];
  char path[400];
  snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
  ssize_t n = readlink(path, text, sizeof text - 1);
  if (n < 0) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    n = fd >= 0 ? read(fd, text, sizeof text - 1) : 0;
    if (fd >= 0) close(fd);
  }
  text[n > 0 ? n : 0] = '\0';
  return text;
}

/* How long its timer still runs, in nanoseconds; 0: not set. */
static inline int64_t guard_timer(pid_t pid) {
  for (int fd = 0; fd < 16; fd++) {
    char name[64];
    long long s = 0, ns = 0;
    snprintf(name, sizeof name, "fdinfo/%d", fd);
    const char *at = strstr(about(pid, name), "it_value: (");
    if (at != NULL && sscanf(at, "it_value: (%lld, %lld)", &s, &ns) == 2)
      return s * 1000000000 + ns;
  }
  return 0;
}

static inline void guard_case_open(void) {
  snprintf(runtime, sizeof runtime, "%s", in("run"));
  mkdir(runtime, 0700);
}

#endif
