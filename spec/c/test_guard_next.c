/*
** The guard of a dead owner, and whoever wants to freeze the same next.
**
** not under valgrind: its children are forked or killed; ASan runs it
*/
#include <sys/syscall.h>

#include "guard_case.h"

/* It has said "held", and died before it came to freeze. */
static int say_held(int which) {
  guard *g = arm_one(which, LONG_MS);
  if (g == NULL || !guard_mark(g, 0, true)) return 1;
  at_the_gate(g, 0);
  return 0;
}

/* A freeze has no owner: each further try could undo another's. It may look
   more than once whether the one try is over. */
TEST(what_was_not_frozen_is_asked_once) {
  NEEDS_VOLUMES;
  owner o = make_owner(say_held, EXT4);
  meet(&o);
  struct pollfd its = {.fd = pidfd_open(o.n.guard, 0), .events = POLLIN};
  kill(o.n.guard, SIGSTOP);
  kill(o.pid, SIGKILL);
  farewell(&o);
  kill(o.n.guard, SIGCONT);
  int armed = 0;
  for (int64_t before = 0; poll(&its, 1, 1) == 0;) {
    int64_t left = guard_timer(o.n.guard);
    bool soon = left > 0 && left < (int64_t)10 * 1000000000;
    if (soon && (before == 0 || left > before)) armed++;
    before = soon ? left : 0;
  }
  CHECK(armed < 4);
  close(its.fd);
  await_end(o.n.guard);
  check_nothing_left(EXT4);
}

static bool is_polling(pid_t thread) {
  char name[64];
  snprintf(name, sizeof name, "task/%d/syscall", thread);
  long n = strtol(about(getpid(), name), NULL, 10);
#ifdef SYS_poll
  if (n == SYS_poll) return true;
#endif
  return n == SYS_ppoll;
}

static dev_t awaited;
static _Atomic pid_t awaiting; /* its thread */

static void *await_others(void *unused) {
  (void)unused;
  awaiting = gettid();
  return guard_await_others(runtime, &awaited, 1);
}

TEST(the_guard_of_the_dead_is_waited_for) {
  NEEDS_VOLUMES;
  pthread_t id;
  void *e = NULL;
  owner o = make_owner(hold_and_wait, EXT4);
  meet(&o);
  kill(o.n.guard, SIGSTOP);
  kill(o.pid, SIGKILL);
  farewell(&o);
  awaited = device_of(XFS); /* another: nothing to wait for */
  CHECK(await_others(NULL) == NULL);
  CHECK(is_frozen(EXT4));
  awaited = device_of(EXT4);
  awaiting = 0;
  CHECK_INT(pthread_create(&id, NULL, await_others, NULL), 0);
  GATE_UNTIL(awaiting != 0 && is_polling(awaiting));
  CHECK(is_frozen(EXT4));
  kill(o.n.guard, SIGCONT);
  pthread_join(id, &e);
  CHECK(e == NULL);
  error_unref(e);
  await_end(o.n.guard);
  check_nothing_left(EXT4);
}

TEST(the_guard_of_the_living_is_not) {
  NEEDS_VOLUMES;
  owner o = make_owner(hold_and_wait, EXT4);
  meet(&o);
  awaited = device_of(EXT4);
  CHECK(await_others(NULL) == NULL);
  CHECK(is_frozen(EXT4)); /* whoever freezes now is told so */
  let_on(&o);
  farewell(&o);
  await_end(o.n.guard);
  check_nothing_left(EXT4);
}

TEST(what_the_dead_left_is_thawed_first) {
  NEEDS_VOLUMES;
  owner o = make_owner(hold_and_wait, XFS);
  meet(&o);
  kill_both(&o);
  awaited = device_of(EXT4);
  CHECK(await_others(NULL) == NULL);
  CHECK(is_frozen(XFS));
  awaited = device_of(XFS);
  CHECK(await_others(NULL) == NULL);
  check_nothing_left(XFS);
}

static void all(void) {
  guard_case_open();
  GATE_RUN(what_was_not_frozen_is_asked_once);
  GATE_RUN(the_guard_of_the_dead_is_waited_for);
  GATE_RUN(the_guard_of_the_living_is_not);
  GATE_RUN(what_the_dead_left_is_thawed_first);
}

int main(int argc, char **argv) {
  return freeze_case(argc, argv, all);
}
