/*
** Memory that runs out: the n-th request fails, for every n, in everything
** that makes, starts, asks, ends or cancels an operation. Nothing crashes,
** hangs or leaks, and what could not be had is said with E_OUTOFMEMORY.
** Then misuse that must be survived, and ports and gathers that let go.
*/
#include "gate.h"

#define REQUESTS 60 /* more than any body makes */

/* Runs `body` with the n-th request failing, for each n. Each round must end
   where it began. */
static void starve(void (*body)(void)) {
  gate_counts before = gate_count();
  for (long n = 0; n < REQUESTS; n++) {
    mem_fail_at(n);
    body();
    mem_fail_at(0);
    if (gate_back_to(before)) continue;
    printf("leaked with request %ld failing\n", n);
    check_bad++;
    return;
  }
}

static uint32_t return_at_once(saros_op *op, void *self) {
  (void)self;
  saros_op_progress(op, 1, 2);
  saros_op_phase(op, "at once");
  op_set_output(op, value_text("result"));
  return 0;
}

static const saros_kind runs = {.size = sizeof(saros_kind),
                                .name = "test.runs",
                                .facade = SAROS_FACADE_VDS,
                                .flags = SAROS_CANCELLABLE,
                                .run = return_at_once};
static const saros_kind held = {.size = sizeof(saros_kind),
                                .name = "test.held",
                                .facade = SAROS_FACADE_VSS,
                                .flags = SAROS_CANCELLABLE};

static void look(saros_op *op) {
  buffer b = BUFFER_EMPTY;
  uint32_t percent;
  op_describe(op, &b);
  buffer_free(&b);
  value_free(op_status(op));
  error_unref(op_error(op));
  saros_op_query(op, &percent);
}

static void make_unnamed(void) {
  uint32_t why = 77;
  saros_op *op = op_create(&held, NULL, 100, NULL, &why);
  CHECK_INT(why, op != NULL ? 0 : SAROS_E_OUTOFMEMORY);
  if (op == NULL) return;
  look(op);
  saros_op_unref(op);
}

static void make_named(void) {
  uint32_t why = 77;
  saros_op *op = op_create(&held, NULL, 0, "starving", &why);
  CHECK_INT(why, op != NULL ? 0 : SAROS_E_OUTOFMEMORY);
  if (op == NULL) {
    CHECK(saros_get("starving") == NULL);
    return;
  }
  uint32_t again = 0;
  saros_op *twin = op_create(&held, NULL, 0, "starving", &again);
  CHECK(twin == NULL);
  CHECK(again == SAROS_E_BUSY_NAME || again == SAROS_E_OUTOFMEMORY);
  look(op);
  op_forget_name(op);
  CHECK(saros_get("starving") == NULL);
  saros_op_unref(op);
}

static void run_one(void) {
  saros_op *op = saros_op_new(&runs, NULL, NULL);
  if (op == NULL) return;
  uint32_t code = saros_op_start(op);
  CHECK(code == 0 || code == SAROS_E_OUTOFMEMORY);
  if (code == 0) {
    CHECK(gate_wait(op));
    CHECK_INT(saros_op_code(op), 0);
    look(op);
  }
  saros_op_unref(op);
}

static void end_one(void) {
  saros_op *op = saros_op_new(&held, NULL, NULL);
  if (op == NULL) return;
  if (saros_op_start(op) == 0) {
    saros_op_progress(op, 1, 2);
    saros_op_phase(op, "a phase");
    op_phase_literal(op, "a literal");
    op_set_detail(op, "detail", value_int(1));
    op_set_output(op, value_text("one"));
    op_set_output(op, value_text("two"));
    saros_op_output_json(op, "{}", 2);
    look(op);
    saros_op_retry_wait(op, 1, 2);
    saros_op_transfer_error(op, 1, 2);
    CHECK(saros_op_end(op, SAROS_E_FAIL, "it failed"));
    saros_op_unwinding(op, "a step");
    saros_op_cleanup_failed(op, "a thing");
    look(op);
    CHECK(!saros_op_finish(op, 0, "not a word of it"));
    CHECK(gate_wait(op));
    CHECK_INT(saros_op_code(op), SAROS_E_FAIL);
    look(op);
  }
  saros_op_unref(op);
}

static void finish_one(void) {
  saros_op *op = saros_op_new(&held, NULL, NULL);
  if (op == NULL) return;
  CHECK(saros_op_finish(op, SAROS_E_FAIL, "with a message"));
  look(op);
  saros_op_unref(op);
}

static void cancel_one(void) {
  saros_op *op = saros_op_new(&held, NULL, NULL);
  if (op == NULL) return;
  if (saros_op_start(op) == 0) {
    CHECK_INT(op_try_cancel(op), CANCEL_DONE);
    look(op);
    saros_op_finish(op, 0, NULL);
    CHECK(gate_wait(op));
  }
  saros_op_unref(op);
}

static void sleep_one(void) {
  uint32_t why = 77;
  saros_op *op = sleep_start(0, "asleep", &why);
  CHECK_INT(why, op != NULL ? 0 : SAROS_E_OUTOFMEMORY);
  if (op == NULL) return;
  CHECK(gate_wait(op));
  look(op);
  op_forget_name(op);
  saros_op_unref(op);
}

static void gather_some(void) {
  uint32_t why = 77;
  saros_op *ops[3];
  size_t count = 0;
  for (int i = 0; i < 3; i++) {
    ops[count] = sleep_start(i * 0.0001, NULL, &why);
    if (ops[count] != NULL) count++;
  }
  saros_op *all = gather_start(ops, count, GATHER_ALL, &why);
  CHECK_INT(why, all != NULL ? 0 : SAROS_E_OUTOFMEMORY);
  for (size_t i = 0; i < count; i++) CHECK(gate_wait(ops[i]));
  if (all != NULL) {
    CHECK(gate_wait(all));
    look(all);
    saros_op_unref(all);
  }
  for (size_t i = 0; i < count; i++) saros_op_unref(ops[i]);
}

static void open_a_port(void) {
  uint32_t why = 77;
  port *p = port_open(&why);
  CHECK_INT(why, p != NULL ? 0 : SAROS_E_OUTOFMEMORY);
  if (p != NULL) port_close(p);
}

TEST(a48_every_allocation_may_fail) {
  starve(make_unnamed);
  starve(make_named);
  starve(run_one);
  starve(end_one);
  starve(finish_one);
  starve(cancel_one);
  starve(sleep_one);
  starve(gather_some);
  starve(open_a_port);
}

/* ------------------------------------------------------------------
** Out of order
** ---------------------------------------------------------------- */

TEST(start_twice) {
  gated g;
  gated_start_run(&g, SAROS_FACADE_SAROS, SAROS_RUN_LANE);
  CHECK(saros_op_start(g.op) != 0); /* it has begun */
  CHECK(gated_await(&g, &g.entered, 1));
  CHECK(saros_op_start(g.op) != 0);
  gated_open(&g, 0);
  CHECK(gate_wait(g.op));
  CHECK(saros_op_start(g.op) != 0); /* it has ended */
  CHECK_INT(gated_count(&g, &g.entered), 1);
  gated_done(&g);
  GATE_UNTIL(engine_users() == 0);
}

TEST(start_of_one_that_has_ended_already) {
  static const uint32_t ends[] = {0, 1, SAROS_E_FAIL};
  for (int run = 0; run < 2; run++) {
    for (int i = 0; i < 4; i++) {
      gated g;
      gated_kind(&g, SAROS_FACADE_SAROS, SAROS_CANCELLABLE);
      if (run) g.kind.run = gated_run;
      gated_new(&g, NULL);
      if (i < 3)
        CHECK(saros_op_finish(g.op, ends[i], NULL));
      else
        CHECK_INT(saros_cancel(g.op), 0);
      uint32_t code = saros_op_start(g.op);
      CHECK(code_failed(code));
      if (i == 2) CHECK_INT(code, SAROS_E_FAIL);
      if (i == 3) CHECK_INT(code, SAROS_E_CANCELLED);
      CHECK_INT(engine_users(), 0);
      CHECK_INT(g.entered, 0);
      gated_done(&g);
    }
  }
}

/* Its outcome is decided before it was started: no deadline, no engine. */
TEST(end_before_the_start) {
  gate_counts before = gate_count();
  gated g;
  gated_kind(&g, SAROS_FACADE_SAROS, SAROS_CANCELLABLE);
  gated_new(&g, NULL);
  CHECK(saros_op_end(g.op, SAROS_E_FAIL, NULL));
  CHECK_INT(saros_op_wait(g.op, 0), 0);
  CHECK_INT(engine_acquire(), 0); /* a new wheel */
  saros_op_finish(g.op, 0, NULL);
  CHECK(saros_op_wait(g.op, 0));
  engine_release();
  gated_done(&g);
  CHECK(gate_back_to(before));
}

/* While `run` runs, a finish from outside decides and no more. */
TEST(finish_of_one_that_runs) {
  gate_counts before = gate_count();
  gated g;
  gated_start_run(&g, SAROS_FACADE_VSS, SAROS_RUN_LANE);
  CHECK(gated_await(&g, &g.entered, 1));
  CHECK(saros_op_finish(g.op, SAROS_E_FAIL, "from outside"));
  CHECK(!saros_op_finish(g.op, 0, NULL));
  CHECK_INT(saros_op_state(g.op), SAROS_FAILED);
  CHECK_INT(saros_op_wait(g.op, 0), 0);
  saros_op *op = g.op;
  saros_op_unref(op);
  CHECK_INT(gated_count(&g, &g.releases), 0);
  gated_open(&g, 0);
  CHECK(gated_await(&g, &g.releases, 1));
  CHECK(gate_back_to(before));
}

TEST(finish_twice) {
  gate_counts before = gate_count();
  gated g;
  gated_start(&g, SAROS_FACADE_SAROS);
  CHECK(saros_op_finish(g.op, 1, NULL));
  CHECK(!saros_op_finish(g.op, SAROS_E_FAIL, NULL));
  CHECK(!saros_op_end(g.op, SAROS_E_FAIL, NULL));
  CHECK_INT(saros_op_code(g.op), 1);
  gated_done(&g);
  CHECK(gate_back_to(before));
}

/* A name belongs to the pending one; then to the next. */
TEST(names) {
  gate_counts before = gate_count();
  gated a, b;
  gated_kind(&a, SAROS_FACADE_SAROS, SAROS_CANCELLABLE);
  gated_kind(&b, SAROS_FACADE_SAROS, SAROS_CANCELLABLE);
  gated_new(&a, "one name");
  CHECK_INT(saros_op_start(a.op), 0);
  CHECK(saros_op_new(&b.kind, &b, "one name") == NULL);
  CHECK_INT(b.releases, 0); /* self stayed the caller's */
  saros_op *found = saros_get("one name");
  CHECK(found == a.op);
  saros_op_unref(found);
  CHECK(saros_get("another name") == NULL);
  saros_op_finish(a.op, 0, NULL);
  gated_new(&b, "one name"); /* the old one is over */
  found = saros_get("one name");
  CHECK(found == b.op);
  saros_op_unref(found);
  op_forget_name(a.op); /* is not his any more */
  found = saros_get("one name");
  CHECK(found == b.op);
  saros_op_unref(found);
  op_forget_name(b.op);
  CHECK(saros_get("one name") == NULL);
  gated_done(&a);
  gated_done(&b);
  CHECK(gate_back_to(before));
}

/* ------------------------------------------------------------------
** Unwinding
** ---------------------------------------------------------------- */

TEST(unwinding_that_takes_too_long) {
  gate_counts before = gate_count();
  gated g;
  atomic_store(&op_unwinding_ms, 1);
  gated_start(&g, SAROS_FACADE_VSS);
  CHECK_INT(saros_vss_cancel(g.op), 0);
  CHECK(gate_wait(g.op)); /* given up: there was no finish */
  atomic_store(&op_unwinding_ms, 0);
  value *status = op_status(g.op);
  const value *cleanup = value_get(status, "cleanup");
  CHECK(cleanup != NULL && cleanup->count == 1);
  CHECK_TEXT(value_chars(value_get(status, "state"), ""), "cancelled");
  value_free(status);
  uint32_t hr = 0;
  saros_vss_query_status(g.op, &hr, NULL);
  CHECK_INT(hr, VSS_S_ASYNC_CANCELLED); /* never changes the code */
  CHECK(engine_users() > 0);            /* the work is not over */
  CHECK(!saros_op_finish(g.op, 0, NULL));
  gated_done(&g);
  CHECK(gate_back_to(before));
}

TEST(unwinding_that_waits_for_another) {
  gate_counts before = gate_count();
  gated g;
  atomic_store(&op_unwinding_ms, 3600000);
  gated_start(&g, SAROS_FACADE_SAROS);
  CHECK_INT(saros_op_cancel(g.op), 0);
  op_unwinding_waits(g.op, true);
  atomic_store(&op_unwinding_ms, 20);
  saros_op_unwinding(g.op, "waiting");
  CHECK(!saros_op_wait(g.op, 200)); /* many times as long */
  op_unwinding_waits(g.op, false);
  CHECK(gate_wait(g.op)); /* now it counts */
  atomic_store(&op_unwinding_ms, 0);
  CHECK(!saros_op_finish(g.op, 0, NULL));
  gated_done(&g);
  CHECK(gate_back_to(before));
}

TEST(status_while_unwinding) {
  gated g;
  gated_start(&g, SAROS_FACADE_VDS);
  CHECK_INT(saros_vds_cancel(g.op), 0);
  saros_op_unwinding(g.op, "thawing");
  value *status = op_status(g.op);
  CHECK_TEXT(value_chars(value_get(status, "phase"), ""), "unwinding");
  CHECK_TEXT(value_chars(value_get(status, "step"), ""), "thawing");
  value_free(status);
  saros_op_finish(g.op, 0, NULL);
  CHECK(saros_op_wait(g.op, 0));
  gated_done(&g);
}

/* ------------------------------------------------------------------
** Ports and gathers
** ---------------------------------------------------------------- */

/* What was started from a port and nobody holds is cancelled with it, a gather
   over the others included; what somebody holds goes on. */
TEST(port_leave_cancels_what_nobody_holds) {
  gate_counts before = gate_count();
  uint32_t why;
  port *p = port_open(&why);
  saros_op *ops[3];
  for (int i = 0; i < 3; i++) {
    ops[i] = sleep_start(3600, NULL, &why);
    port_own(p, ops[i]);
  }
  saros_op *all = gather_start(ops, 3, GATHER_ALL, &why);
  port_own(p, all);
  saros_op *mine = sleep_start(3600, NULL, &why);
  port_own(p, mine);
  for (int i = 0; i < 3; i++) saros_op_unref(ops[i]);
  saros_op_unref(all);
  port_leave(p, 2000);
  port_close(p);
  CHECK_INT(saros_op_state(mine), SAROS_RUNNING);
  CHECK_INT(engine_users(), 1);
  CHECK_INT(saros_cancel(mine), 0);
  saros_op_unref(mine);
  CHECK(gate_back_to(before));
}

TEST(port_close_forgets_what_it_owns) {
  gate_counts before = gate_count();
  uint32_t why;
  port *p = port_open(&why);
  saros_op *op = sleep_start(3600, NULL, &why);
  port_own(p, op);
  port_close(p); /* without leave */
  CHECK_INT(saros_op_state(op), SAROS_RUNNING);
  CHECK_INT(saros_cancel(op), 0);
  saros_op_unref(op);
  CHECK(gate_back_to(before));
}

TEST(gather_modes) {
  gate_counts before = gate_count();
  for (int mode = 0; mode < 3; mode++) {
    for (int fails = 0; fails < 3; fails++) {
      gated g[3];
      saros_op *ops[3];
      for (int i = 0; i < 3; i++) {
        gated_start(&g[i], SAROS_FACADE_VDS);
        ops[i] = g[i].op;
      }
      uint32_t why;
      saros_op *all = gather_start(ops, 3, (gather_mode)mode, &why);
      CHECK(op_is_gather(all));
      CHECK(gather_member(all, 2) == ops[2] && gather_member(all, 3) == NULL);
      CHECK_INT(gather_index(all), -1);
      if (fails == 2) { /* a cancelled one has failed as soon as it is over */
        CHECK_INT(saros_vds_cancel(g[1].op), 0);
        CHECK(!op_is_over(all));
      }
      saros_op_finish(g[1].op, fails == 1 ? SAROS_E_FAIL : 0, NULL);
      bool ends = mode == GATHER_FIRST || (mode == GATHER_FAILURE && fails);
      CHECK_INT(op_is_over(all), ends);
      CHECK_INT(gather_index(all), ends ? 1 : -1);
      saros_op_finish(g[0].op, 0, NULL);
      CHECK_INT(op_is_over(all), ends);
      saros_op_finish(g[2].op, 0, NULL);
      CHECK(op_is_over(all));
      CHECK_INT(saros_op_code(all), 0);
      CHECK_INT(gather_index(all), ends ? 1 : -1);
      saros_op_unref(all);
      for (int i = 0; i < 3; i++) gated_done(&g[i]);
    }
  }
  uint32_t why;
  saros_op *none = gather_start(NULL, 0, GATHER_FIRST, &why);
  CHECK(op_is_over(none));
  CHECK_INT(saros_op_code(none), 0);
  saros_op_unref(none);
  CHECK(gate_back_to(before));
}

TEST(gather_cancelled) {
  gate_counts before = gate_count();
  gated g;
  gated_start(&g, SAROS_FACADE_VSS);
  saros_op *twice[] = {g.op, g.op};
  uint32_t why;
  saros_op *all = gather_start(twice, 2, GATHER_ALL, &why);
  CHECK_INT(saros_cancel(all), 0);
  CHECK(op_is_over(all));
  CHECK_INT(saros_op_code(all), SAROS_E_CANCELLED);
  CHECK_INT(saros_op_state(g.op), SAROS_RUNNING); /* cancels no member */
  CHECK_INT(g.cancels, 0);
  saros_op_unref(all);
  saros_op_finish(g.op, 0, NULL);
  gated_done(&g);
  CHECK(gate_back_to(before));
}

int main(int argc, char **argv) {
  gate_begin(argc, argv);
  GATE_RUN(a48_every_allocation_may_fail);
  GATE_RUN(start_twice);
  GATE_RUN(start_of_one_that_has_ended_already);
  GATE_RUN(end_before_the_start);
  GATE_RUN(finish_of_one_that_runs);
  GATE_RUN(finish_twice);
  GATE_RUN(names);
  GATE_RUN(unwinding_that_takes_too_long);
  GATE_RUN(unwinding_that_waits_for_another);
  GATE_RUN(status_while_unwinding);
  GATE_RUN(port_leave_cancels_what_nobody_holds);
  GATE_RUN(port_close_forgets_what_it_owns);
  GATE_RUN(gather_modes);
  GATE_RUN(gather_cancelled);
  return check_end();
}
