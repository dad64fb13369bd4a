/*
** Storms: many threads start, cancel, wait for and let go of operations of
** every kind at once, and the engine starts and stops under them. What is
** counted at the end must be as it was. ThreadSanitizer reads along.
*/
#include "gate.h"

#define THREADS 4
#define MINE 8

typedef struct stormer {
  pthread_t id;
  uint64_t seed;
  long rounds;
  long bad;
  saros_op *_Atomic *shared; /* where operations are handed round */
  pthread_barrier_t *start;
} stormer;

#define SHARED 32

/* ------------------------------------------------------------------
** Operations for storms
** ---------------------------------------------------------------- */

/* Works a little and asks now and then whether it is cancelled. */
static uint32_t work(saros_op *op, void *self) {
  (void)self;
  for (uint64_t i = 0; i < 50; i++) {
    if (!saros_op_checkpoint(op)) return SAROS_E_FAIL;
    saros_op_progress(op, i, 50);
    if (i % 10 == 0) saros_op_phase(op, "working");
    if (i == 40 && !saros_op_point_of_no_return(op)) {
      saros_op_unwinding(op, "undoing");
      return SAROS_E_FAIL;
    }
  }
  return (uintptr_t)op % 7 == 0 ? SAROS_E_FAIL : 0;
}

static atomic_long born, dead;

static void died(void *self) {
  (void)self;
  atomic_fetch_add(&dead, 1);
}

static void finish_at_once(saros_op *op, void *self) {
  (void)self;
  saros_op_finish(op, SAROS_E_CANCELLED, NULL);
}

static const saros_kind cpu = {.size = sizeof(saros_kind),
                               .name = "storm.cpu",
                               .flags = SAROS_CANCELLABLE | SAROS_RUN_CPU,
                               .run = work,
                               .release = died};
static const saros_kind lane = {.size = sizeof(saros_kind),
                                .name = "storm.lane",
                                .facade = SAROS_FACADE_VDS,
                                .flags = SAROS_CANCELLABLE | SAROS_RUN_LANE,
                                .run = work,
                                .release = died};
static const saros_kind host = {.size = sizeof(saros_kind),
                                .name = "storm.host",
                                .facade = SAROS_FACADE_VSS,
                                .flags = SAROS_CANCELLABLE,
                                .cancel = finish_at_once,
                                .release = died};

static saros_op *begin(const saros_kind *kind) {
  saros_op *op = saros_op_new(kind, NULL, NULL);
  if (op == NULL) return NULL;
  atomic_fetch_add(&born, 1);
  if (saros_op_start(op) == 0) return op;
  saros_op_unref(op);
  return NULL;
}

static saros_op *any_op(stormer *s) {
  uint32_t why;
  switch (gate_below(&s->seed, 5)) {
    case 0: return sleep_start(gate_below(&s->seed, 2000) / 1e6, NULL, &why);
    case 1: return begin(&cpu);
    case 2: return begin(&lane);
    case 3: return begin(&host);
    default: return sleep_start(1000, NULL, &why);
  }
}

static saros_op *any_gather(stormer *s) {
  saros_op *members[4];
  size_t count = gate_below(&s->seed, 5);
  uint32_t why;
  for (size_t i = 0; i < count; i++) members[i] = any_op(s);
  saros_op *op =
      gather_start(members, count, (gather_mode)gate_below(&s->seed, 3), &why);
  for (size_t i = 0; i < count; i++) { /* who let go cancels nothing: I10 */
    bool ends = members[i]->kind == &cpu || members[i]->kind == &lane;
    if (!ends || gate_below(&s->seed, 2) == 0) saros_op_cancel(members[i]);
    saros_op_unref(members[i]);
  }
  return op;
}

/* Every query that there is; whatever happens meanwhile. */
static void look(stormer *s, saros_op *op) {
  uint32_t percent = 0;
  buffer b = BUFFER_EMPTY;
  switch (gate_below(&s->seed, 5)) {
    case 0: saros_op_query(op, &percent); break;
    case 1: op_describe(op, &b); break;
    case 2: value_free(op_status(op)); break;
    case 3: error_unref(op_error(op)); break;
    default: saros_op_wait(op, gate_below(&s->seed, 2));
  }
  buffer_free(&b);
}

/* Ends whatever it is, and sees that it has ended. */
static void end(stormer *s, saros_op *op) {
  if (op_state_now(op) != SAROS_CREATED && gate_below(&s->seed, 2) == 0 &&
      op->kind == &host)
    saros_op_finish(op, 0, NULL); /* may meet a cancel */
  saros_op_resume(op); /* past its point of no return a cancel does nothing */
  saros_op_cancel(op);
  if (!gate_wait(op) && !saros_state_is_terminal(op_state_now(op))) s->bad++;
  if (!op_is_over(op) || saros_op_query(op, NULL) == SAROS_S_PENDING) s->bad++;
  uint32_t once = saros_op_code(op);
  saros_op_cancel(op);
  if (saros_op_code(op) != once) s->bad++;
}

static void *storm(void *argument) {
  stormer *s = argument;
  pthread_barrier_wait(s->start);
  for (long round = 0; round < s->rounds; round++) {
    saros_op *op = gate_below(&s->seed, 4) == 0 ? any_gather(s) : any_op(s);
    if (op == NULL) {
      s->bad++;
      continue;
    }
    for (unsigned i = gate_below(&s->seed, 4); i > 0; i--) look(s, op);
    if (gate_below(&s->seed, 8) == 0) saros_op_pause(op);
    if (gate_below(&s->seed, 3) == 0) saros_op_cancel(op);
    /* Handed to another thread, who ends it, in exchange for one of his. */
    op = atomic_exchange(&s->shared[gate_below(&s->seed, SHARED)], op);
    if (op == NULL) continue;
    look(s, op);
    end(s, op);
    saros_op_unref(op);
  }
  return NULL;
}

static void storm_all(void *(*body)(void *), long rounds, const char *what) {
  static saros_op *_Atomic shared[SHARED];
  pthread_barrier_t start;
  stormer s[THREADS];
  uint64_t seed = gate_seed(what);
  pthread_barrier_init(&start, NULL, THREADS);
  for (int i = 0; i < THREADS; i++) {
    s[i] = (stormer){.seed = gate_random(&seed),
                     .rounds = rounds,
                     .shared = shared,
                     .start = &start};
    CHECK_INT(pthread_create(&s[i].id, NULL, body, &s[i]), 0);
  }
  for (int i = 0; i < THREADS; i++) {
    pthread_join(s[i].id, NULL);
    CHECK_INT(s[i].bad, 0);
  }
  for (int i = 0; i < SHARED; i++) {
    saros_op *op = atomic_exchange(&shared[i], NULL);
    if (op == NULL) continue;
    end(&s[0], op);
    saros_op_unref(op);
  }
  CHECK_INT(s[0].bad, 0);
  pthread_barrier_destroy(&start);
}

TEST(storm_of_all_kinds) {
  gate_counts before = gate_count();
  storm_all(storm, gate_loops(40000), "storm");
  CHECK(gate_back_to(before));
  CHECK_INT(atomic_load(&born), atomic_load(&dead));
}

/* ------------------------------------------------------------------
** The engine, started and stopped thousands of times
** ---------------------------------------------------------------- */

static void *start_and_stop(void *argument) {
  stormer *s = argument;
  pthread_barrier_wait(s->start);
  for (long round = 0; round < s->rounds; round++) {
    uint32_t why;
    port *p = NULL;
    saros_op *op = NULL;
    switch (gate_below(&s->seed, 4)) {
      case 0:
        if (engine_acquire() != 0)
          s->bad++;
        else
          engine_release();
        break;
      case 1:
        p = port_open(&why);
        if (p == NULL)
          s->bad++;
        else
          port_close(p);
        break;
      case 2:
        op = sleep_start(0, NULL, &why);
        if (op == NULL || !gate_wait(op)) s->bad++;
        if (op != NULL) saros_op_unref(op);
        break;
      default:
        /* Its end stops the engine, from a worker. */
        op = begin(gate_below(&s->seed, 2) ? &lane : &cpu);
        if (op == NULL) s->bad++;
        if (op != NULL) saros_op_unref(op);
    }
  }
  return NULL;
}

TEST(engine_starts_and_stops) {
  gate_counts before = gate_count();
  storm_all(start_and_stop, gate_loops(3000), "start and stop");
  CHECK(gate_back_to(before));
}

/* Alone: whoever lets go last from outside sees all of it gone at once. */
TEST(engine_gone_when_the_last_has_let_go) {
  for (long i = gate_loops(500); i > 0; i--) {
    unsigned fds = fd_count();
    CHECK_INT(engine_acquire(), 0);
    CHECK(fd_count() > fds);
    engine_release();
    CHECK_INT(fd_count(), fds);
    CHECK_INT(engine_users(), 0);
  }
}

/* ------------------------------------------------------------------
** The deadline of an unwinding, met from all sides
** ---------------------------------------------------------------- */

typedef struct slow {
  saros_op *op;
  uint64_t seed;
} slow;

static void *unwind_slowly(void *argument) {
  slow *s = argument;
  while (!saros_op_cancelled(s->op)) sched_yield();
  unsigned how = gate_below(&s->seed, 4);
  uint64_t until = engine_clock() + gate_below(&s->seed, 3000) * 1000u;
  for (int step = 0; engine_clock() < until || step == 0; step++) {
    if (how == 0) saros_op_unwinding(s->op, step % 2 ? "left" : "right");
    if (how == 1) saros_op_phase(s->op, step % 2 ? "up" : "down");
    if (how == 2) saros_op_cleanup_failed(s->op, "a thing");
    sched_yield();
  }
  saros_op_finish(s->op, 0, NULL);
  return NULL;
}

static void *deadline_storm(void *argument) {
  stormer *s = argument;
  pthread_barrier_wait(s->start);
  for (long round = 0; round < s->rounds; round++) {
    saros_kind kind = host;
    kind.cancel = NULL;
    kind.release = NULL;
    kind.flags |= SAROS_REOPENABLE;
    kind.facade = SAROS_FACADE_BITS;
    saros_op *op = saros_op_new(&kind, NULL, NULL);
    if (op == NULL || saros_op_start(op) != 0) {
      s->bad++;
      break;
    }
    slow w = {.op = op, .seed = gate_random(&s->seed)};
    pthread_t id;
    pthread_create(&id, NULL, unwind_slowly, &w);
    bool fails = gate_below(&s->seed, 2) == 0;
    if (fails)
      saros_op_end(op, SAROS_E_FAIL, "it failed");
    else
      op_try_cancel(op);
    if (!gate_wait(op)) s->bad++;
    value *v = op_status(op);
    if (v == NULL) s->bad++;
    if (op_flags_now(op) & OP_ABANDONED)
      if (value_get(v, "cleanup") == NULL) s->bad++;
    value_free(v);
    bool again = op_reopen(op);
    pthread_join(id, NULL);
    if (!again && fails && !op_reopen(op)) s->bad++;
    if (fails) { /* a second run, which is ended at once */
      if (op_begin(op, SAROS_RUNNING) != 0) s->bad++;
      saros_op_finish(op, 0, NULL);
      if (!gate_wait(op) || saros_op_code(op) != 0) s->bad++;
    }
    /* The engine thread may hold the operation a moment longer than we, and
       with it its kind, which is on our stack. */
    for (unsigned n = 0; atomic_load(&op->refs) > 1 && n < GATE_BOUND_MS; n++)
      gate_nap();
    saros_op_unref(op);
  }
  return NULL;
}

TEST(deadline_of_unwinding) {
  gate_counts before = gate_count();
  atomic_store(&op_unwinding_ms, 1);
  storm_all(deadline_storm, gate_loops(400), "deadline");
  atomic_store(&op_unwinding_ms, 0);
  CHECK(gate_back_to(before));
}

/* ------------------------------------------------------------------
** Saturation
** ---------------------------------------------------------------- */

/* Twice as many as there are threads sit in the gate; all are cancelled, those
   that run and those that are queued. */
static void saturate(uint32_t flags, pool_lane which) {
  unsigned most = which == POOL_CPU ? pool_cores() : POOL_LANE_MOST;
  unsigned count = 2 * most;
  gated *g = calloc(count, sizeof *g);
  for (unsigned i = 0; i < count; i++)
    gated_start_run(&g[i], SAROS_FACADE_SAROS, flags);
  unsigned running = 0;
  GATE_UNTIL(pool_threads(which) == most);
  for (unsigned i = 0; i < most; i++)
    CHECK(gated_await(&g[i], &g[i].entered, 1));
  for (unsigned i = 0; i < count; i++) {
    running += (unsigned)gated_count(&g[i], &g[i].entered);
    CHECK_INT(saros_cancel(g[i].op), 0);
    CHECK_INT(saros_op_code(g[i].op), SAROS_E_CANCELLED);
  }
  CHECK_INT(running, most);
  CHECK_INT(pool_threads(which), most);
  for (unsigned i = 0; i < most; i++) /* told, and still in the gate */
    CHECK_INT(gated_count(&g[i], &g[i].cancels), 1);
  for (unsigned i = most; i < count; i++) { /* never began: over at once */
    CHECK(saros_op_wait(g[i].op, 0));
    CHECK_INT(gated_count(&g[i], &g[i].entered), 0);
  }
  for (unsigned i = 0; i < most; i++) {
    CHECK_INT(saros_op_wait(g[i].op, 0), 0);
    gated_open(&g[i], 0);
    CHECK(gate_wait(g[i].op));
  }
  for (unsigned i = 0; i < count; i++) gated_done(&g[i]);
  free(g);
}

TEST(cancel_of_a_saturated_pool) {
  gate_counts before = gate_count();
  saturate(SAROS_RUN_CPU, POOL_CPU);
  saturate(SAROS_RUN_LANE, POOL_LANE);
  CHECK(gate_back_to(before));
}

/* A thousand jobs sit in the gate: timers fire, host operations end, the other
   lane works, and a queued one is not run before its turn. */
TEST(a_thousand_slow_ones_starve_nobody) {
  enum { MANY = 1000 };
  gate_counts before = gate_count();
  static gated g[MANY];
  for (int i = 0; i < MANY; i++)
    gated_start_run(&g[i], SAROS_FACADE_SAROS, SAROS_RUN_LANE);
  uint32_t why;
  saros_op *sleep = sleep_start(0.001, NULL, &why);
  CHECK(gate_wait(sleep));
  saros_op_unref(sleep);
  gated quick;
  gated_start_run(&quick, SAROS_FACADE_SAROS, SAROS_RUN_CPU);
  CHECK(gated_await(&quick, &quick.entered, 1));
  gated_open(&quick, 0);
  CHECK(gate_wait(quick.op));
  gated_done(&quick);
  CHECK(pool_threads(POOL_LANE) <= POOL_LANE_MOST);
  for (int i = 0; i < MANY; i++) CHECK_INT(saros_op_wait(g[i].op, 0), 0);
  for (int i = 0; i < MANY; i++) gated_open(&g[i], 0);
  for (int i = 0; i < MANY; i++) {
    CHECK(gate_wait(g[i].op));
    gated_done(&g[i]);
  }
  CHECK(gate_back_to(before));
}

TEST(a_hundred_thousand_sleeps) {
  size_t many = (size_t)gate_loops(100000);
  gate_counts before = gate_count();
  saros_op **ops = malloc(many * sizeof *ops);
  uint32_t why;
  for (size_t i = 0; i < many; i++) {
    ops[i] = sleep_start(3600.0 + (double)i, NULL, &why);
    CHECK(ops[i] != NULL);
  }
  saros_op *quick = sleep_start(0.001, NULL, &why);
  CHECK(gate_wait(quick));
  saros_op_unref(quick);
  gate_counts full = gate_count();
  CHECK_INT(full.threads, before.threads + 1);
  CHECK_INT(full.fds, before.fds + 3);
  for (size_t i = 0; i < many; i++) {
    CHECK_INT(saros_op_state(ops[i]), SAROS_RUNNING);
    CHECK_INT(saros_cancel(ops[i]), 0);
    CHECK(saros_op_wait(ops[i], 0));
    saros_op_unref(ops[i]);
  }
  free(ops);
  CHECK(gate_back_to(before));
}

/* A cancel that comes between op_start's first and last step. */
static void *cancel_it(void *argument) {
  saros_op *op = argument;
  while (op_try_cancel(op) == CANCEL_TOO_LATE) {}
  return NULL;
}

TEST(cancel_while_it_starts) {
  gate_counts before = gate_count();
  for (long round = gate_loops(5000); round > 0; round--) {
    saros_op *op = saros_op_new(round % 2 ? &lane : &cpu, NULL, NULL);
    atomic_fetch_add(&born, 1);
    pthread_t id;
    pthread_create(&id, NULL, cancel_it, op);
    uint32_t code = saros_op_start(op);
    CHECK(code == 0 || code == SAROS_E_CANCELLED);
    pthread_join(id, NULL);
    saros_op_cancel(op);
    CHECK(gate_wait(op));
    saros_op_unref(op);
  }
  CHECK(gate_back_to(before));
  CHECK_INT(atomic_load(&born), atomic_load(&dead));
}

int main(int argc, char **argv) {
  gate_begin(argc, argv);
  GATE_RUN(storm_of_all_kinds);
  GATE_RUN(engine_starts_and_stops);
  GATE_RUN(engine_gone_when_the_last_has_let_go);
  GATE_RUN(deadline_of_unwinding);
  GATE_RUN(cancel_of_a_saturated_pool);
  GATE_RUN(a_thousand_slow_ones_starve_nobody);
  GATE_RUN(a_hundred_thousand_sleeps);
  GATE_RUN(cancel_while_it_starts);
  return check_end();
}
