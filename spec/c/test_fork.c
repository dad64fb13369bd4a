/*
** Fork with operations in flight. In the child everything inherited is inert
** and says so; new operations work; the parent notices nothing. A child
** reports what it found by its exit status, the number of the first check that
** failed, so that nothing is printed twice.
*/
#include <errno.h>
#include <fcntl.h>
#include <sys/wait.h>

#include "gate.h"

static int child_bad; /* line of the first check that failed in a child */

#define IN_CHILD(condition)                                           \
  do {                                                                \
    if (!(condition)) {                                               \
      child_bad = 1;                                                  \
      fprintf(stderr, "%s:%d: in the child not true: %s\n", __FILE__, \
              __LINE__, #condition);                                  \
    }                                                                 \
  } while (0)

static void child_ends(void) {
  _exit(child_bad);
}

/* Runs it in a child, which must end by itself and well. */
static void in_child(void (*body)(void *), void *argument) {
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    alarm(GATE_BOUND_MS / 1000);
    check_bad = 0;
    body(argument);
    child_ends();
  }
  CHECK(pid > 0);
  int status = -1;
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
  CHECK_INT(status, 0);
}

/* What is open, as a set of the numbers below 256. */
typedef struct open_set {
  bool is[256];
} open_set;

static open_set what_is_open(void) {
  open_set s;
  for (int fd = 0; fd < 256; fd++) s.is[fd] = fcntl(fd, F_GETFD) >= 0;
  return s;
}

/* ------------------------------------------------------------------
** Everything that may be in flight
** ---------------------------------------------------------------- */

typedef struct flight {
  open_set before; /* the engine started */
  gated run, queued, hosted, paused, done, failed, created, unwinding;
  saros_op *sleep, *gather, *named;
  port *p;
} flight;

static void take_off(flight *f) {
  uint32_t why;
  f->before = what_is_open();
  f->p = port_open(&why);
  CHECK(f->p != NULL);
  gated_start_run(&f->run, SAROS_FACADE_VSS, SAROS_RUN_LANE);
  CHECK(gated_await(&f->run, &f->run.entered, 1));
  gated_start_run(&f->queued, SAROS_FACADE_WSB, SAROS_RUN_CPU);
  gated_start(&f->hosted, SAROS_FACADE_VDS);
  gated_start(&f->paused, SAROS_FACADE_BITS);
  CHECK(saros_op_pause(f->paused.op));
  gated_start(&f->done, SAROS_FACADE_VSS);
  saros_op_finish(f->done.op, 0, NULL);
  gated_start(&f->failed, SAROS_FACADE_VDS);
  saros_op_finish(f->failed.op, SAROS_E_FAIL, "on purpose");
  gated_kind(&f->created, SAROS_FACADE_SAROS, SAROS_CANCELLABLE);
  gated_new(&f->created, NULL);
  gated_start(&f->unwinding, SAROS_FACADE_VSS);
  CHECK_INT(saros_vss_cancel(f->unwinding.op), 0);
  f->sleep = sleep_start(3600, NULL, &why);
  saros_op *both[] = {f->run.op, f->sleep};
  f->gather = gather_start(both, 2, GATHER_ALL, &why);
  f->named = sleep_start(3600, "fork.named", &why);
  CHECK(f->sleep != NULL && f->gather != NULL && f->named != NULL);
  port_own(f->p, f->sleep);
  saros_op_progress(f->hosted.op, 42, 100);
  saros_op_phase(f->hosted.op, "flying");
}

static void land(flight *f) {
  CHECK_INT(saros_op_state(f->run.op), SAROS_RUNNING);
  CHECK(!op_is_over(f->gather));
  CHECK_INT(f->run.cancels + f->hosted.cancels + f->paused.cancels, 0);
  gated_open(&f->run, 0);
  gated_open(&f->queued, 0);
  saros_op_finish(f->hosted.op, 0, NULL);
  CHECK(saros_op_resume(f->paused.op));
  saros_op_finish(f->paused.op, 0, NULL);
  saros_op_finish(f->unwinding.op, 0, NULL);
  CHECK_INT(saros_cancel(f->sleep), 0);
  CHECK_INT(saros_cancel(f->named), 0);
  gated *all[] = {&f->run,  &f->queued, &f->hosted,  &f->paused,
                  &f->done, &f->failed, &f->created, &f->unwinding};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
    if (all[i] != &f->created) CHECK(gate_wait(all[i]->op));
  }
  CHECK(gate_wait(f->gather));
  CHECK_INT(saros_op_code(f->gather), 0);
  CHECK(gate_wait(f->sleep));
  saros_op_unref(f->sleep);
  saros_op_unref(f->gather);
  op_forget_name(f->named);
  saros_op_unref(f->named);
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) gated_done(all[i]);
  port_close(f->p);
}

/* ------------------------------------------------------------------
** What the child finds
** ---------------------------------------------------------------- */

static void is_inert(saros_op *op) {
  uint32_t percent = 0, hr = 0;
  saros_vds_output out;
  buffer b = BUFFER_EMPTY;
  IN_CHILD(op_is_forked(op) && op_is_over(op));
  IN_CHILD(saros_op_state(op) == SAROS_FAILED);
  IN_CHILD(saros_op_code(op) == SAROS_E_FORKED);
  IN_CHILD(saros_op_wait(op, SAROS_INFINITE) == 1);
  IN_CHILD(op_try_cancel(op) == CANCEL_FORKED);
  IN_CHILD(saros_op_start(op) == SAROS_E_FORKED);
  IN_CHILD(!saros_op_pause(op) && !saros_op_resume(op));
  IN_CHILD(!saros_op_running(op) && !saros_op_retry_wait(op, 1, 2));
  IN_CHILD(!op_reopen(op));
  IN_CHILD(!saros_op_point_of_no_return(op));
  IN_CHILD(saros_op_checkpoint(op) == 0); /* its work shall stop */
  saros_op_unwinding(op, "nothing");
  IN_CHILD(!saros_op_end(op, 0, NULL));
  IN_CHILD(!saros_op_finish(op, 0, NULL));
  IN_CHILD(!saros_op_finish(op, SAROS_E_FAIL, "text"));
  IN_CHILD(engine_users() == 0 || engine_users() < 100);
  switch (op->kind->facade) {
    case SAROS_FACADE_VSS:
      IN_CHILD(saros_vss_query_status(op, &hr, NULL) == 0);
      IN_CHILD(hr == SAROS_E_FORKED);
      IN_CHILD(saros_vss_wait(op, SAROS_INFINITE) == SAROS_E_FORKED);
      IN_CHILD(saros_vss_cancel(op) == SAROS_E_FORKED);
      break;
    case SAROS_FACADE_WSB:
      IN_CHILD(saros_wsb_query_status(op, &hr) == 0 && hr == SAROS_E_FORKED);
      IN_CHILD(saros_wsb_abort(op) == SAROS_E_FORKED);
      break;
    case SAROS_FACADE_VDS:
      IN_CHILD(saros_vds_query_status(op, &hr, &percent) == 0);
      IN_CHILD(hr == SAROS_E_FORKED && percent == 100);
      IN_CHILD(saros_vds_wait(op, &hr, &out) == 0 && hr == SAROS_E_FORKED);
      IN_CHILD(saros_vds_cancel(op) == SAROS_E_FORKED);
      break;
    case SAROS_FACADE_BITS: {
      uint32_t w, t, n;
      IN_CHILD(saros_bits_get_status(op, &hr, &w, &t, &n) == 0);
      IN_CHILD(hr == QM_STATUS_JOB_ERROR);
      break;
    }
    default:
      IN_CHILD(saros_query_status(op, &hr, &percent) == 0);
      IN_CHILD(hr == SAROS_E_FORKED && percent == 100);
      IN_CHILD(saros_wait(op, SAROS_INFINITE) == SAROS_E_FORKED);
      IN_CHILD(saros_cancel(op) == SAROS_E_FORKED);
  }
  error *why = op_error(op);
  IN_CHILD(why != NULL && why->code == SAROS_E_FORKED);
  error_unref(why);
  value *status = op_status(op);
  IN_CHILD(status != NULL);
  IN_CHILD(strcmp(value_chars(value_get(status, "state"), ""), "forked") == 0);
  value_free(status);
  op_describe(op, &b);
  IN_CHILD(b.data != NULL && strstr(b.data, "parent") != NULL);
  buffer_free(&b);
  watch w = {.way = NULL};
  IN_CHILD(!watch_add(&w, op));
}

/* A fresh engine: one operation of each sort. */
static void works_afresh(void) {
  uint32_t why;
  saros_op *sleep = sleep_start(0.001, NULL, &why);
  IN_CHILD(sleep != NULL && gate_wait(sleep) && saros_op_code(sleep) == 0);
  gated g, h;
  gated_start_run(&g, SAROS_FACADE_VSS, SAROS_RUN_LANE);
  gated_start_run(&h, SAROS_FACADE_VSS, SAROS_RUN_CPU);
  IN_CHILD(gated_await(&g, &g.entered, 1) && gated_await(&h, &h.entered, 1));
  saros_op *both[] = {g.op, h.op};
  saros_op *gather = gather_start(both, 2, GATHER_ALL, &why);
  gated_open(&g, 0);
  gated_open(&h, 0);
  IN_CHILD(gather != NULL && gate_wait(gather) && saros_op_code(gather) == 0);
  IN_CHILD(gate_wait(g.op) && gate_wait(h.op));
  saros_op_unref(sleep);
  saros_op_unref(gather);
  gated_done(&g);
  gated_done(&h);
  port *p = port_open(&why);
  IN_CHILD(p != NULL);
  port_poke(p);
  IN_CHILD(port_poll(p, 0) == 1);
  port_close(p);
  IN_CHILD(check_bad == 0);
}

static void look_round(void *argument) {
  flight *f = argument;
  IN_CHILD(gate_entries("/proc/self/task") == 1 ||
           gate_entries("/proc/self/task") == 2); /* a sanitizer's own */
  IN_CHILD(fd_count() == 0);
  /* Everything of the parent's engine is closed, and nothing else. */
  open_set now = what_is_open();
  IN_CHILD(memcmp(&now, &f->before, sizeof now) == 0);
  saros_op *inert[] = {f->run.op,     f->queued.op, f->hosted.op, f->paused.op,
                       f->created.op, f->sleep,     f->gather,    f->named};
  size_t count = sizeof inert / sizeof *inert;
  for (size_t i = 0; i < count; i++) is_inert(inert[i]);
  /* What was terminal keeps its answer. */
  uint32_t hr = 0, percent = 0;
  IN_CHILD(saros_vss_query_status(f->done.op, &hr, NULL) == 0);
  IN_CHILD(hr == VSS_S_ASYNC_FINISHED);
  IN_CHILD(saros_vds_query_status(f->failed.op, &hr, &percent) == 0);
  IN_CHILD(hr == SAROS_E_FAIL && percent == 100);
  error *why = op_error(f->failed.op);
  IN_CHILD(why != NULL && strcmp(why->message, "on purpose") == 0);
  error_unref(why);
  IN_CHILD(saros_vss_query_status(f->unwinding.op, &hr, NULL) == 0);
  IN_CHILD(hr == VSS_S_ASYNC_CANCELLED);
  IN_CHILD(saros_op_wait(f->unwinding.op, SAROS_INFINITE)); /* not by us */
  IN_CHILD(!saros_op_finish(f->unwinding.op, 0, NULL));
  IN_CHILD(engine_users() == 0);
  /* The name can be found, and taken again. */
  saros_op *found = saros_get("fork.named");
  IN_CHILD(found == f->named);
  saros_op_unref(found);
  works_afresh();
  uint32_t code;
  saros_op *again = sleep_start(0, "fork.named", &code);
  IN_CHILD(again != NULL && again != f->named && gate_wait(again));
  op_forget_name(again);
  saros_op_unref(again);
  /* Letting go calls nothing of the parent's work. */
  port_poke(f->p);
  port_leave(f->p, 1000);
  port_close(f->p);
  saros_op_unref(f->sleep);
  saros_op_unref(f->gather);
  saros_op_unref(f->named);
  gated *all[] = {&f->run,  &f->queued, &f->hosted,   &f->paused,
                  &f->done, &f->failed, &f->unwinding};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
    IN_CHILD(all[i]->cancels == (all[i] == &f->unwinding ? 1 : 0));
    saros_op_unref(all[i]->op);
  }
  saros_op_unref(f->created.op);
  IN_CHILD(f->created.releases == 1);
  works_afresh();
  GATE_UNTIL(engine_users() == 0 && fd_count() == 0);
}

TEST(fork_with_operations_in_flight) {
  gate_counts before = gate_count();
  static flight f;
  take_off(&f);
  for (int i = 0; i < 5; i++) in_child(look_round, &f);
  land(&f);
  CHECK(gate_back_to(before));
}

/* ------------------------------------------------------------------
** A child's child
** ---------------------------------------------------------------- */

static void grandchild(void *argument) {
  saros_op **ops = argument;
  is_inert(ops[0]);
  is_inert(ops[1]);
  works_afresh();
}

static void child_with_child(void *argument) {
  uint32_t why;
  saros_op *ops[2] = {argument, sleep_start(3600, NULL, &why)};
  is_inert(ops[0]);
  IN_CHILD(ops[1] != NULL);
  int bad = check_bad;
  in_child(grandchild, ops);
  IN_CHILD(check_bad == bad);
  IN_CHILD(saros_op_state(ops[1]) == SAROS_RUNNING);
  IN_CHILD(saros_cancel(ops[1]) == 0 && gate_wait(ops[1]));
  saros_op_unref(ops[1]);
  works_afresh();
}

TEST(nested_fork) {
  gate_counts before = gate_count();
  uint32_t why;
  saros_op *op = sleep_start(3600, NULL, &why);
  in_child(child_with_child, op);
  CHECK_INT(saros_op_state(op), SAROS_RUNNING);
  CHECK_INT(saros_cancel(op), 0);
  CHECK(gate_wait(op));
  saros_op_unref(op);
  CHECK(gate_back_to(before));
}

/* ------------------------------------------------------------------
** From several threads, while others work
** ---------------------------------------------------------------- */

static atomic_bool stop;

static void *busy(void *argument) {
  uint64_t seed = *(uint64_t *)argument;
  uint32_t why;
  while (!atomic_load(&stop)) {
    char name[32];
    snprintf(name, sizeof name, "busy.%u", gate_below(&seed, 8));
    saros_op *op = gate_below(&seed, 2)
                       ? sleep_start(0.00001 * gate_below(&seed, 9), NULL, &why)
                       : sleep_start(gate_below(&seed, 2), name, &why);
    if (op == NULL) continue; /* the name is taken */
    saros_op_phase(op, "busy");
    value_free(op_status(op));
    saros_cancel(op);
    saros_op_unref(op);
    if (gate_below(&seed, 4) == 0) {
      saros_op *found = saros_get(name);
      if (found != NULL) op_forget_name(found), saros_op_unref(found);
    }
  }
  return NULL;
}

static void quick_look(void *argument) {
  saros_op *op = argument;
  IN_CHILD(saros_op_code(op) == SAROS_E_FORKED);
  value_free(op_status(op));
  uint32_t why;
  saros_op *sleep = sleep_start(0, "quick", &why);
  IN_CHILD(sleep != NULL && gate_wait(sleep) && saros_op_code(sleep) == 0);
  op_forget_name(sleep);
  saros_op_unref(sleep);
}

static atomic_int children_bad;

static void *forker(void *argument) {
  for (long i = gate_loops(100); i > 0; i--) {
    pid_t pid = fork();
    if (pid == 0) {
      alarm(GATE_BOUND_MS / 1000);
      quick_look(argument);
      child_ends();
    }
    int status = -1;
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
    if (status != 0) atomic_fetch_add(&children_bad, 1);
  }
  return NULL;
}

TEST(fork_from_several_threads) {
  /* A child inherits the locked locks of its allocator. */
  if (GATE_ASAN) SKIP("AddressSanitizer does not survive such a fork");
  gate_counts before = gate_count();
  uint32_t why;
  saros_op *op = sleep_start(3600, NULL, &why);
  pthread_t busies[3], forkers[2];
  uint64_t seeds[3], seed = gate_seed("fork");
  atomic_store(&stop, false);
  for (int i = 0; i < 3; i++) {
    seeds[i] = gate_random(&seed);
    pthread_create(&busies[i], NULL, busy, &seeds[i]);
  }
  for (int i = 0; i < 2; i++) pthread_create(&forkers[i], NULL, forker, op);
  for (int i = 0; i < 2; i++) pthread_join(forkers[i], NULL);
  atomic_store(&stop, true);
  for (int i = 0; i < 3; i++) pthread_join(busies[i], NULL);
  CHECK_INT(atomic_load(&children_bad), 0);
  for (unsigned i = 0; i < 8; i++) {
    char name[32];
    snprintf(name, sizeof name, "busy.%u", i);
    saros_op *found = saros_get(name);
    if (found != NULL) op_forget_name(found), saros_op_unref(found);
  }
  CHECK_INT(saros_cancel(op), 0);
  saros_op_unref(op);
  CHECK(gate_back_to(before));
}

/* The child leaves through exit, not _exit: nothing of ours runs there. */
static void exits(void *argument) {
  is_inert(argument);
  fclose(stdout);
  exit(child_bad);
}

TEST(child_exits_cleanly) {
  uint32_t why;
  saros_op *op = sleep_start(3600, NULL, &why);
  in_child(exits, op);
  CHECK_INT(saros_cancel(op), 0);
  saros_op_unref(op);
}

int main(int argc, char **argv) {
  gate_begin(argc, argv);
  const char *tool = getenv("SAROS_SANITIZER");
  const char *why = NULL;
  if (GATE_TSAN) why = "ThreadSanitizer starts no thread in a child";
  if (tool != NULL && strcmp(tool, "valgrind") == 0)
    why = "valgrind takes what the parent's threads held for the child's leaks";
  if (why != NULL) {
    printf("SKIPPED all: %s\n", why);
    check_skipped = 4;
    return check_end();
  }
  GATE_RUN(fork_with_operations_in_flight);
  GATE_RUN(nested_fork);
  GATE_RUN(fork_from_several_threads);
  GATE_RUN(child_exits_cleanly);
  return check_end();
}
