/*
** The numbered assertions: BITS and QMgr. See vocabulary_case.h.
*/
#include "vocabulary_case.h"

TEST(a70_a71_a81_downloading_and_finished) {
  gated g;
  gated_start(&g, SAROS_FACADE_BITS);
  CHECK_JOB(g.op, 0x08, 0, 0, 0);
  saros_op_transfer_error(g.op, 1225, 0); /* noted, but it has not failed */
  CHECK_JOB(g.op, 0x08, 0, 0, 0);
  finish(&g, 0);
  CHECK_JOB(g.op, 0x04, 0, 0, 0);
  gated_done(&g);
}

TEST(a72_a78_fatal) {
  gated g;
  gated_start(&g, SAROS_FACADE_BITS);
  finish(&g, SAROS_E_FAIL);
  CHECK_JOB(g.op, 0x10, 0, 0, 0);
  gated_done(&g);
}

/* Whatever is done to it: only 0x04, 0x08 and 0x10 (bits_answer looks). */
TEST(a73_a74_no_other_flag) {
  uint64_t seed = gate_seed("a73");
  for (int round = 0; round < 50; round++) {
    gated g;
    gated_kind(&g, SAROS_FACADE_BITS, SAROS_CANCELLABLE | SAROS_REOPENABLE);
    gated_new(&g, NULL);
    CHECK_INT(saros_op_start(g.op), 0);
    for (int i = 0; i < 50; i++) {
      switch (gate_below(&seed, 5)) {
        case 0: saros_op_pause(g.op); break;
        case 1: saros_op_resume(g.op); break;
        case 2: saros_op_retry_wait(g.op, 0xFFFFFFFFu, 0xFFFFFFFFu); break;
        case 3: saros_op_running(g.op); break;
        default: saros_op_progress(g.op, (uint64_t)i, 50);
      }
      bits_answer(g.op);
    }
    finish(&g, round % 2 ? 0 : SAROS_E_FAIL);
    bits_answer(g.op);
    gated_done(&g);
  }
}

TEST(a75_transient_error) {
  gated g;
  gated_start(&g, SAROS_FACADE_BITS);
  CHECK(saros_op_retry_wait(g.op, 1225, 0));
  CHECK_JOB(g.op, 0x18, 1225, 0, 1);
  CHECK(saros_op_running(g.op));
  CHECK_JOB(g.op, 0x08, 0, 0, 0);
  finish(&g, 0);
  gated_done(&g);
}

TEST(a76_a77_a79_what_went_wrong) {
  static const struct {
    uint32_t win32, transport, code, shown_win32, shown_transport;
  } cases[] = {
      {1225, 0, 0x800704C9u, 1225, 0}, /* refused */
      {0, 404, 0x80190194u, 0, 404},   /* HTTP */
      {112, 0, 0x80070070u, 112, 0},   /* the disk is full */
      {0, 0, 0x80070070u, 112, 0},     /* nobody said more than the code */
      {0, 0, 0x801901F7u, 0, 503},     /* the same from HTTP */
      {0, 0, SAROS_E_FAIL, 0, 0},      /* neither */
  };
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    gated g;
    gated_start(&g, SAROS_FACADE_BITS);
    if (cases[i].win32 != 0 || cases[i].transport != 0)
      saros_op_transfer_error(g.op, cases[i].win32, cases[i].transport);
    finish(&g, cases[i].code);
    CHECK_JOB(g.op, 0x10, cases[i].shown_win32, cases[i].shown_transport, 0);
    gated_done(&g);
  }
}

TEST(a80_retries) {
  gated g;
  gated_start(&g, SAROS_FACADE_BITS);
  for (uint32_t n = 1; n <= 3; n++) { /* the server fails three times */
    CHECK(saros_op_retry_wait(g.op, 0, 503));
    CHECK_JOB(g.op, 0x18, 0, 503, n);
    CHECK(saros_op_running(g.op));
  }
  saros_op_transfer_error(g.op, 0, 404);
  finish(&g, 0x80190194u);
  CHECK_JOB(g.op, 0x10, 0, 404, 3);
  gated_done(&g);
}

TEST(a82_ok_in_every_queued_state) {
  gated g;
  gated_kind(&g, SAROS_FACADE_BITS, SAROS_CANCELLABLE);
  gated_new(&g, NULL);
  CHECK_JOB(g.op, 0x08, 0, 0, 0); /* created */
  CHECK_INT(saros_op_start(g.op), 0);
  CHECK_JOB(g.op, 0x08, 0, 0, 0);
  CHECK(saros_op_pause(g.op));
  CHECK_JOB(g.op, 0x08, 0, 0, 0);
  CHECK(saros_op_resume(g.op));
  CHECK_INT(saros_op_state(g.op), SAROS_QUEUED);
  CHECK_JOB(g.op, 0x08, 0, 0, 0);
  CHECK(saros_op_running(g.op));
  CHECK(saros_op_retry_wait(g.op, 5, 0));
  CHECK_JOB(g.op, 0x18, 5, 0, 1);
  finish(&g, 0x80070005u);
  bits_answer(g.op);
  gated_done(&g);
}

TEST(a83_error_then_resume_and_success) {
  gated g;
  gated_kind(&g, SAROS_FACADE_BITS, SAROS_CANCELLABLE | SAROS_REOPENABLE);
  gated_new(&g, NULL);
  CHECK_INT(saros_op_start(g.op), 0);
  CHECK(saros_op_retry_wait(g.op, 1225, 0));
  CHECK(saros_op_running(g.op));
  saros_op_transfer_error(g.op, 0, 404);
  saros_op_finish(g.op, 0x80190194u, "not found");
  CHECK_JOB(g.op, 0x10, 0, 404, 1);
  error *why = op_error(g.op);
  CHECK_TEXT(why->message, "not found");
  error_unref(why);
  CHECK(op_reopen(g.op));
  CHECK_JOB(g.op, 0x08, 0, 0, 0);
  CHECK(op_error(g.op) == NULL);
  CHECK_INT(op_begin(g.op, SAROS_RUNNING), 0);
  CHECK_JOB(g.op, 0x08, 0, 0, 0);
  CHECK_INT(saros_op_wait(g.op, 0), 0);
  finish(&g, 0);
  CHECK_JOB(g.op, 0x04, 0, 0, 0);
  CHECK(!op_reopen(g.op)); /* success has no exit */
  gated_done(&g);
}

int main(int argc, char **argv) {
  gate_begin(argc, argv);
  gate_counts before = gate_count();
  GATE_RUN(a70_a71_a81_downloading_and_finished);
  GATE_RUN(a72_a78_fatal);
  GATE_RUN(a73_a74_no_other_flag);
  GATE_RUN(a75_transient_error);
  GATE_RUN(a76_a77_a79_what_went_wrong);
  GATE_RUN(a80_retries);
  GATE_RUN(a82_ok_in_every_queued_state);
  GATE_RUN(a83_error_then_resume_and_success);
  if (!gate_back_to(before)) check_failed++;
  return check_end();
}
