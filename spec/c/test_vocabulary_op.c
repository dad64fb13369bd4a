/*
** The numbered assertions: the object, whatever the facade. See
** vocabulary_case.h.
*/
#include "vocabulary_case.h"

TEST(a61_starter_returns_before_the_work_is_done) {
  gated g;
  for (size_t i = 0; i < STARTERS; i++) {
    gated_kind_run(&g, SAROS_FACADE_VSS, SAROS_CANCELLABLE);
    g.kind.name = starters[i];
    gated_new(&g, NULL);
    CHECK_INT(saros_op_start(g.op), 0); /* has returned: the gate is shut */
    CHECK_INT(vss_answer(g.op), VSS_S_ASYNC_PENDING);
    CHECK(gated_await(&g, &g.entered, 1));
    CHECK_INT(vss_answer(g.op), VSS_S_ASYNC_PENDING);
    gated_open(&g, 0);
    CHECK(gate_wait(g.op));
    gated_done(&g);
  }
}

typedef struct waiter {
  saros_op *op;
  pthread_t id;
  atomic_bool begun, back;
  uint32_t result, hr;
} waiter;

static void *wait_vss(void *argument) {
  waiter *w = argument;
  atomic_store(&w->begun, true);
  w->result = saros_vss_wait(w->op, SAROS_INFINITE);
  saros_vss_query_status(w->op, &w->hr, NULL);
  atomic_store(&w->back, true);
  return NULL;
}

static void *wait_vds(void *argument) {
  waiter *w = argument;
  saros_vds_output out;
  atomic_store(&w->begun, true);
  w->result = saros_vds_wait(w->op, &w->hr, &out);
  atomic_store(&w->back, true);
  return NULL;
}

static void wait_begin(waiter *w, saros_op *op, void *(*how)(void *)) {
  memset(w, 0, sizeof *w);
  w->op = op;
  w->hr = SENTINEL;
  CHECK_INT(pthread_create(&w->id, NULL, how, w), 0);
  /* It sleeps, or is so near that it cannot be told from sleeping. */
  GATE_UNTIL(atomic_load(&w->begun) && (op_flags_now(op) & OP_WAITED) != 0);
}

TEST(a62_a63_wait_and_query_meanwhile) {
  gated g;
  gated_start_run(&g, SAROS_FACADE_VSS, SAROS_RUN_LANE);
  waiter w[3];
  for (int i = 0; i < 3; i++) wait_begin(&w[i], g.op, wait_vss);
  for (int n = 0; n < 100; n++)
    CHECK_INT(vss_answer(g.op), VSS_S_ASYNC_PENDING);
  for (int i = 0; i < 3; i++) CHECK(!atomic_load(&w[i].back));
  gated_open(&g, 0);
  for (int i = 0; i < 3; i++) {
    pthread_join(w[i].id, NULL);
    CHECK_INT(w[i].result, SAROS_S_OK);
    CHECK_INT(w[i].hr, VSS_S_ASYNC_FINISHED);
  }
  gated_done(&g);
}

TEST(a62_wait_ends_when_unwound) {
  gated g;
  gated_start_run(&g, SAROS_FACADE_VDS, SAROS_RUN_LANE);
  CHECK(gated_await(&g, &g.entered, 1));
  waiter w;
  wait_begin(&w, g.op, wait_vds);
  CHECK_INT(saros_vds_cancel(g.op), 0);
  /* Terminal, but its work still runs. */
  CHECK_INT(vds_answer(g.op, NULL), VDS_E_OPERATION_CANCELED);
  CHECK_INT(saros_op_wait(g.op, 20), 0);
  CHECK(!atomic_load(&w.back));
  gated_open(&g, 0);
  pthread_join(w.id, NULL);
  CHECK_INT(w.result, SAROS_S_OK);
  CHECK_INT(w.hr, VDS_E_OPERATION_CANCELED);
  gated_done(&g);
}

TEST(a64_cancel_ends_anothers_wait) {
  gated g;
  gated_start(&g, SAROS_FACADE_VSS);
  g.finish_in_cancel = true;
  waiter w;
  wait_begin(&w, g.op, wait_vss);
  CHECK_INT(saros_vss_cancel(g.op), SAROS_S_OK);
  pthread_join(w.id, NULL);
  CHECK_INT(w.result, SAROS_S_OK);
  CHECK_INT(w.hr, VSS_S_ASYNC_CANCELLED);
  gated_done(&g);
}

TEST(a65_a67_references) {
  gated g;
  gated_start(&g, SAROS_FACADE_VSS);
  finish(&g, 0);
  CHECK_INT(gated_count(&g, &g.releases), 0); /* finishing releases nothing */
  for (int i = 0; i < 10; i++)
    CHECK_INT(vss_answer(g.op), VSS_S_ASYNC_FINISHED);
  CHECK(saros_op_ref(g.op) == g.op);
  saros_op_unref(g.op);
  CHECK_INT(gated_count(&g, &g.releases), 0);
  CHECK_INT(vss_answer(g.op), VSS_S_ASYNC_FINISHED);
  gated_done(&g);
  CHECK_INT(g.releases, 1);
}

/* I10: letting go cancels nothing; the work's own reference is the last. */
TEST(a66_after_release_nothing_is_left) {
  gate_counts before = gate_count();
  for (int round = 0; round < 8; round++) {
    gated g;
    gated_start_run(&g, (saros_facade)(round % SAROS_FACADES),
                    round % 2 ? SAROS_RUN_CPU : SAROS_RUN_LANE);
    CHECK(gated_await(&g, &g.entered, 1));
    saros_op_progress(g.op, 1, 2);
    saros_op_phase(g.op, "half");
    saros_op *held = g.op;
    saros_op_unref(held);
    CHECK_INT(gated_count(&g, &g.cancels), 0);
    CHECK_INT(gated_count(&g, &g.releases), 0);
    gated_open(&g, round < 4 ? 0 : SAROS_E_FAIL);
    CHECK(gated_await(&g, &g.releases, 1));
  }
  CHECK(gate_back_to(before));
}

TEST(a68_two_are_independent) {
  gated a, b;
  gated_start(&a, SAROS_FACADE_VSS);
  gated_start(&b, SAROS_FACADE_VSS);
  CHECK_INT(saros_vss_cancel(a.op), 0);
  CHECK_INT(vss_answer(b.op), VSS_S_ASYNC_PENDING);
  CHECK_INT(gated_count(&b, &b.cancels), 0);
  finish(&b, 0);
  CHECK_INT(vss_answer(a.op), VSS_S_ASYNC_CANCELLED);
  CHECK_INT(vss_answer(b.op), VSS_S_ASYNC_FINISHED);
  finish(&a, 0);
  gated_done(&a);
  gated_done(&b);
}

/* The members of the table named vss_*, and their types. */
TEST(a69_three_methods) {
  const saros_api *api = saros_api_own();
  uint32_t (*cancel)(saros_op *) = api->vss_cancel;
  uint32_t (*query)(saros_op *, uint32_t *, int32_t *) = api->vss_query_status;
  uint32_t (*wait)(saros_op *, uint32_t) = api->vss_wait;
  CHECK(cancel != NULL && query != NULL && wait != NULL);
  CHECK_INT(offsetof(saros_api, wsb_query_status) -
                offsetof(saros_api, vss_query_status),
            3 * sizeof(void (*)(void)));
}

int main(int argc, char **argv) {
  gate_begin(argc, argv);
  gate_counts before = gate_count();
  GATE_RUN(a61_starter_returns_before_the_work_is_done);
  GATE_RUN(a62_a63_wait_and_query_meanwhile);
  GATE_RUN(a62_wait_ends_when_unwound);
  GATE_RUN(a64_cancel_ends_anothers_wait);
  GATE_RUN(a65_a67_references);
  GATE_RUN(a66_after_release_nothing_is_left);
  GATE_RUN(a68_two_are_independent);
  GATE_RUN(a69_three_methods);
  if (!gate_back_to(before)) check_failed++;
  return check_end();
}
