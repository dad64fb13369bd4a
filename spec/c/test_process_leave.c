/*
** Processes: the host ends, and nothing of theirs goes on; a thread of it
** ends, and nothing happens to them.
**
** not under valgrind: its children are forked or killed; ASan runs it
*/
#include <poll.h>
#include <sys/prctl.h>

#include "op/spawn.h"
#include "process_case.h"

/* A child and three more of its group, and it ignores what can be ignored. */
#define FAMILY                                                          \
  "trap '' HUP INT TERM PIPE; (sleep 1000 & sleep 1000) & echo ready; " \
  "while :; do sleep 1000; done"

/* ------------------------------------------------------------------
** Threads
** ---------------------------------------------------------------- */

static void *start_one(void *op) {
  *(saros_op **)op =
      START(.argv = SH(FAMILY), .out = PROCESS_LINES, .grace = -1);
  CHECK_TEXT(next_line(*(saros_op **)op, 1), "ready");
  return NULL;
}

WHOLE(who_started_it_may_end) {
  saros_op *op;
  pthread_t id;
  CHECK_INT(pthread_create(&id, NULL, start_one, &op), 0);
  pthread_join(id, NULL);
  CHECK(is_running((long)detail_int(op, "pid")));
  CHECK_INT(saros_op_state(op), SAROS_RUNNING);
  saros_op_cancel(op);
  CHECK_INT(end_of(op), SAROS_E_CANCELLED);
  saros_op_unref(op);
}

/* All others leave around the workers that have a child. */
WHOLE(its_worker_stays_as_long_as_it_lives) {
  enum { BUSY = 6, OURS = 3 };
  static gated busy[BUSY], holds;
  saros_op *ops[OURS];
  pool_idle_ms = 10;
  gated_start(&holds, SAROS_FACADE_SAROS); /* the engine goes on */
  for (int i = 0; i < BUSY; i++) {
    gated_start_run(&busy[i], SAROS_FACADE_SAROS, SAROS_RUN_LANE);
    CHECK(gated_await(&busy[i], &busy[i].entered, 1));
    if (i % 2 == 0) start_one(&ops[i / 2]);
  }
  for (int i = 0; i < BUSY; i++) {
    gated_open(&busy[i], 0);
    CHECK(gate_wait(busy[i].op));
    gated_done(&busy[i]);
  }
  GATE_UNTIL(pool_threads(POOL_LANE) <= OURS);
  for (unsigned i = 0; i < 50; i++) gate_nap(); /* some idle ends more */
  CHECK(pool_threads(POOL_LANE) > 0);
  for (int i = 0; i < OURS; i++) {
    CHECK(is_running((long)detail_int(ops[i], "pid")));
    CHECK_INT(saros_op_state(ops[i]), SAROS_RUNNING);
  }
  for (int i = 0; i < OURS; i++) {
    saros_op_cancel(ops[i]);
    CHECK_INT(end_of(ops[i]), SAROS_E_CANCELLED);
    CHECK_INT(detail_int(ops[i], "signal"), SIGKILL);
    saros_op_unref(ops[i]);
    for (int more = i + 1; more < OURS; more++)
      CHECK_INT(saros_op_state(ops[more]), SAROS_RUNNING);
  }
  GATE_UNTIL(pool_threads(POOL_LANE) == 0);
  /* One that did not start keeps nobody. */
  saros_op *op = START(.argv = ARGV("/no/such/program"));
  CHECK_INT(end_of(op), code_of_errno(ENOENT));
  saros_op_unref(op);
  GATE_UNTIL(pool_threads(POOL_LANE) == 0);
  saros_op_finish(holds.op, 0, NULL);
  gated_done(&holds);
  pool_idle_ms = POOL_IDLE_SECONDS * 1000;
}


/* ------------------------------------------------------------------
** The end of the host
** ---------------------------------------------------------------- */

static void *exit_elsewhere(void *unused) {
  (void)unused;
  _exit(0);
}

/* In every way in which nothing of ours runs any more. */
static void leave(int way) {
  pthread_t id;
  switch (way) {
    case 0: _exit(0);
    case 1: kill(getpid(), SIGKILL); break;
    case 2: kill(getpid(), SIGTERM); break;
    case 3: execl("/bin/true", "true", (char *)NULL); break;
    case 4: pthread_create(&id, NULL, exit_elsewhere, NULL); break;
    default: _exit(98);
  }
  for (;;) pause();
}
enum { WAYS = 5 };

/* What a host of ours begins with. */
static pid_t host_fork(void) {
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) signal(SIGTERM, SIG_DFL);
  return pid;
}

/* What it ends with: it tells whether all went well until then. */
static _Noreturn void host_end(int tell, int way) {
  if (write(tell, check_bad == 0 ? "y" : "n", 1) == 1) leave(way);
  _exit(99);
}

/* We adopt what the dead leave behind; this buries those that have ended. How
   many live, and one of them. */
static int living(pid_t *one) {
  char path[64], word[32];
  int count = 0;
  while (waitpid(-1, NULL, WNOHANG) > 0) {}
  snprintf(path, sizeof path, "/proc/self/task/%d/children", getpid());
  FILE *f = fopen(path, "re");
  while (f != NULL && fscanf(f, "%31s", word) == 1) {
    *one = (pid_t)atol(word);
    count++;
  }
  if (f != NULL) fclose(f);
  return count;
}

/* Of all our descendants only this one goes on (0: none). Others are ended. */
static bool only_is_left(pid_t this) {
  pid_t one = 0;
  int count = -1;
  for (unsigned i = 0; i < GATE_BOUND_MS / 4; i++) {
    count = living(&one);
    if (count == (this != 0) && (this == 0 || one == this)) break;
    gate_nap();
  }
  bool alone = count == (this != 0) && (this == 0 || one == this);
  CHECK(alone);
  for (unsigned i = 0; i < GATE_BOUND_MS && living(&one) > 0; i++) {
    kill(one, SIGKILL); /* it dies when it is its turn */
    gate_nap();
  }
  return alone;
}

static void await_host(int told) {
  struct pollfd p = {.fd = told, .events = POLLIN};
  char c = 0;
  CHECK_INT(poll(&p, 1, GATE_BOUND_MS), 1);
  CHECK_INT(read(told, &c, 1), 1);
  CHECK_INT(c, 'y');
}

WHOLE(nobody_outlives_the_host) {
  int ends[2];
  saros_op *op;
  CHECK_INT(pipe2(ends, O_CLOEXEC), 0);
  for (int way = 0; way < WAYS; way++) {
    if (host_fork() == 0) {
      for (int i = 0; i < 3; i++) start_one(&op);
      host_end(ends[1], way);
    }
    await_host(ends[0]);
    only_is_left(0);
  }
  close(ends[0]);
  close(ends[1]);
}

/* Without a lifeline that is true of the child alone. */
WHOLE(a_child_is_bound_without_a_lifeline_too) {
  int ends[2];
  CHECK_INT(pipe2(ends, O_CLOEXEC), 0);
  for (int way = 0; way < WAYS; way++) {
    if (host_fork() == 0) {
      lifeline_refused = 1;
      saros_op *op = START(.argv = SH("echo ready; exec sleep 1000"),
                           .out = PROCESS_LINES);
      CHECK_TEXT(next_line(op, 1), "ready");
      host_end(ends[1], way);
    }
    await_host(ends[0]);
    only_is_left(0);
  }
  close(ends[0]);
  close(ends[1]);
}

/* It dies while they are born. */
WHOLE(nobody_outlives_a_host_that_dies_at_any_moment) {
  uint64_t seed = gate_seed("dies_at_any_moment");
  bool good = true;
  for (long i = 0; good && i < gate_loops(200); i++) {
    pid_t host = host_fork();
    if (host == 0) {
      error *e = NULL;
      process_options o = {.argv = SH("sleep 1000 & wait")};
      for (int n = 0; n < 8; n++) process_start(&o, &e);
      for (;;) pause();
    }
    struct timespec t = {.tv_nsec = (long)gate_below(&seed, 6000000)};
    nanosleep(&t, NULL); /* no order: a different moment each time */
    kill(host, SIGKILL);
    good = only_is_left(0);
  }
}

/* The end of a child of its own does nothing to a host's processes, and one
   that lives on does not hold their lifelines. */
static void fork_twice(pid_t *second) {
  saros_op *op;
  start_one(&op);
  pid_t first = fork();
  if (first == 0) _exit(0);
  waitpid(first, NULL, 0);
  for (int i = 0; i < 20; i++) gate_nap();
  CHECK_INT(saros_op_state(op), SAROS_RUNNING);
  CHECK(is_running((long)detail_int(op, "pid")));
  *second = fork();
  while (*second == 0) pause();
}

WHOLE(a_fork_of_the_host_changes_nothing) {
  int ends[2];
  pid_t second = 0;
  CHECK_INT(pipe2(ends, O_CLOEXEC), 0);
  pid_t host = host_fork();
  if (host == 0) {
    fork_twice(&second);
    if (write(ends[1], &second, sizeof second) > 0) host_end(ends[1], 1);
  }
  CHECK_INT(read(ends[0], &second, sizeof second), sizeof second);
  await_host(ends[0]);
  CHECK_INT(waitpid(host, NULL, 0), host);
  only_is_left(second);
  close(ends[0]);
  close(ends[1]);
}

int main(int argc, char **argv) {
  gate_begin(argc, argv);
  if (!can_hold_processes()) return check_end();
  signal(SIGPIPE, SIG_DFL);
  GATE_RUN(who_started_it_may_end);
  GATE_RUN(its_worker_stays_as_long_as_it_lives);
  prctl(PR_SET_CHILD_SUBREAPER, 1);
  GATE_RUN(nobody_outlives_the_host);
  GATE_RUN(a_child_is_bound_without_a_lifeline_too);
  GATE_RUN(nobody_outlives_a_host_that_dies_at_any_moment);
  GATE_RUN(a_fork_of_the_host_changes_nothing);
  return check_end();
}
