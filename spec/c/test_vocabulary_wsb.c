/*
** The numbered assertions: WSB. See vocabulary_case.h.
*/
#include "vocabulary_case.h"

TEST(a21_a22_a29_running_and_success) {
  gated g;
  gated_start(&g, SAROS_FACADE_WSB);
  CHECK_INT(wsb_answer(g.op), 0x407A0004u);
  finish(&g, 0);
  CHECK_INT(wsb_answer(g.op), 0);
  CHECK(wsb_answer(g.op) != 0x0004230Au);
  gated_done(&g);
}

TEST(a23_a24_failing_check) {
  gated g;
  gated_start(&g, SAROS_FACADE_WSB);
  finish(&g, 0x807A0001u);
  uint32_t hr = SENTINEL;
  CHECK_INT(saros_wsb_query_status(g.op, &hr), SAROS_S_OK);
  CHECK_INT(hr, 0x807A0001u);
  gated_done(&g);
}

TEST(a25_query_that_cannot_be_done) {
  gated g;
  gated_start(&g, SAROS_FACADE_WSB);
  CHECK(code_failed(saros_wsb_query_status(g.op, NULL)));
  CHECK_INT(saros_wsb_query_status(g.op, NULL), SAROS_E_INVALIDARG);
  CHECK_INT(wsb_answer(g.op), 0x407A0004u);
  finish(&g, 0);
  gated_done(&g);
}

TEST(a26_polling_costs_nothing) {
  gated g;
  gated_start(&g, SAROS_FACADE_WSB);
  gate_counts before = gate_count();
  for (int i = 0; i < 10000; i++) CHECK_INT(wsb_answer(g.op), 0x407A0004u);
  CHECK(gate_back_to(before));
  finish(&g, 0);
  gated_done(&g);
}

/* The type is the proof: one out value and nothing else. */
TEST(a27_one_out_value) {
  uint32_t (*query)(saros_op *, uint32_t *) = saros_wsb_query_status;
  uint32_t (*abort)(saros_op *) = saros_wsb_abort;
  CHECK(query == saros_api_own()->wsb_query_status);
  CHECK(abort == saros_api_own()->wsb_abort);
}

TEST(a28_in_progress_then_one_answer_for_ever) {
  static const uint32_t ends[] = {0, 1, 0x807A0001u, SAROS_E_FAIL, 0x407A0004u};
  for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
    gated g;
    gated_start_run(&g, SAROS_FACADE_WSB, SAROS_RUN_LANE);
    for (int n = 0; n < 100; n++) CHECK_INT(wsb_answer(g.op), 0x407A0004u);
    gated_open(&g, ends[i]);
    while (wsb_answer(g.op) == 0x407A0004u && saros_op_wait(g.op, 0) == 0) {}
    uint32_t end = wsb_answer(g.op);
    CHECK(end != 0x407A0004u);
    for (int n = 0; n < 1000; n++) CHECK_INT(wsb_answer(g.op), end);
    CHECK(gate_wait(g.op));
    CHECK_INT(wsb_answer(g.op), end);
    gated_done(&g);
  }
}

TEST(a30_in_progress_counts_as_success) {
  CHECK(!code_failed(WSBAPP_ASYNC_IN_PROGRESS));
  CHECK_INT(WSBAPP_ASYNC_IN_PROGRESS, 0x407A0004u);
}

/* Whoever polls asks by equality, and never again once it has ended. */
TEST(a30_a31_polling_stops) {
  gated g;
  gated_kind_run(&g, SAROS_FACADE_WSB, SAROS_CANCELLABLE);
  g.kind.access = gated_access; /* counts the questions */
  gated_new(&g, NULL);
  CHECK_INT(saros_op_start(g.op), 0);
  int polls = 0;
  uint32_t hr;
  do {
    if (++polls == 10) gated_open(&g, 0);
    hr = wsb_answer(g.op);
  } while (hr == WSBAPP_ASYNC_IN_PROGRESS);
  int asked = gated_count(&g, &g.asked);
  CHECK_INT(asked, polls);
  CHECK(gate_wait(g.op));
  CHECK_INT(gated_count(&g, &g.asked), polls);
  gated_done(&g);
}

int main(int argc, char **argv) {
  gate_begin(argc, argv);
  gate_counts before = gate_count();
  GATE_RUN(a21_a22_a29_running_and_success);
  GATE_RUN(a23_a24_failing_check);
  GATE_RUN(a25_query_that_cannot_be_done);
  GATE_RUN(a26_polling_costs_nothing);
  GATE_RUN(a27_one_out_value);
  GATE_RUN(a28_in_progress_then_one_answer_for_ever);
  GATE_RUN(a30_in_progress_counts_as_success);
  GATE_RUN(a30_a31_polling_stops);
  if (!gate_back_to(before)) check_failed++;
  return check_end();
}
