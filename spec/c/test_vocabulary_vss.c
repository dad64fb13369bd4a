/*
** The numbered assertions: VSS. See vocabulary_case.h.
*/
#include "vocabulary_case.h"

TEST(a01_running_says_pending) {
  gated g;
  gated_start_run(&g, SAROS_FACADE_VSS, SAROS_RUN_LANE);
  CHECK(gated_await(&g, &g.entered, 1));
  CHECK_INT(vss_answer(g.op), 0x00042309u);
  gated_open(&g, 0);
  CHECK(gate_wait(g.op));
  gated_done(&g);
}

TEST(a02_success_is_async_finished) {
  gated g;
  gated_start(&g, SAROS_FACADE_VSS);
  finish(&g, SAROS_S_OK);
  CHECK_INT(vss_answer(g.op), 0x0004230Au);
  CHECK(vss_answer(g.op) != SAROS_S_OK);
  gated_done(&g);
}

TEST(a03_cancelled_says_cancelled) {
  gated g;
  gated_start_run(&g, SAROS_FACADE_VSS, SAROS_RUN_LANE);
  CHECK(gated_await(&g, &g.entered, 1));
  CHECK_INT(saros_vss_cancel(g.op), SAROS_S_OK);
  CHECK_INT(vss_answer(g.op), 0x0004230Bu); /* while it still unwinds */
  CHECK_INT(saros_op_wait(g.op, 0), 0);
  gated_open(&g, 0);
  CHECK(gate_wait(g.op));
  CHECK_INT(vss_answer(g.op), 0x0004230Bu); /* the late result was dropped */
  gated_done(&g);
}

/* Every way to end but Cancel, the code of a cancel among them. */
TEST(a04_without_cancel_never_cancelled) {
  static const uint32_t ends[] = {0,
                                  1,
                                  SAROS_E_CANCELLED,
                                  0x8004231Fu,
                                  VSS_S_ASYNC_CANCELLED,
                                  VSS_S_ASYNC_PENDING,
                                  SAROS_E_TIMEOUT,
                                  SAROS_E_FAIL};
  for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
    gated g;
    gated_start(&g, SAROS_FACADE_VSS);
    CHECK_INT(vss_answer(g.op), VSS_S_ASYNC_PENDING);
    finish(&g, ends[i]);
    uint32_t hr = vss_answer(g.op);
    CHECK(hr != VSS_S_ASYNC_CANCELLED);
    CHECK(hr != VSS_S_ASYNC_PENDING); /* nor pending for ever */
    CHECK(saros_vss_cancel(g.op) == hr);
    gated_done(&g);
  }
}

TEST(a05_cancel_after_completion_changes_nothing) {
  gated g;
  gated_start(&g, SAROS_FACADE_VSS);
  finish(&g, 0);
  CHECK_INT(saros_vss_cancel(g.op), 0x0004230Au);
  CHECK_INT(vss_answer(g.op), 0x0004230Au);
  CHECK_INT(g.cancels, 0);
  gated_done(&g);
}

TEST(a06_three_codes_for_every_starter) {
  for (size_t i = 0; i < STARTERS; i++) {
    for (int end = 0; end < 2; end++) {
      gated g;
      gated_kind_run(&g, SAROS_FACADE_VSS, SAROS_CANCELLABLE);
      g.kind.name = starters[i];
      gated_new(&g, NULL);
      CHECK_TEXT(saros_op_kind(g.op), starters[i]);
      CHECK_INT(vss_answer(g.op), 0x00042309u); /* created */
      CHECK_INT(saros_op_start(g.op), 0);
      CHECK_INT(vss_answer(g.op), 0x00042309u);
      if (end == 1) CHECK_INT(saros_vss_cancel(g.op), 0);
      gated_open(&g, 0);
      CHECK(gate_wait(g.op));
      CHECK_INT(vss_answer(g.op), end == 0 ? 0x0004230Au : 0x0004230Bu);
      gated_done(&g);
    }
  }
}

TEST(a07_a08_a09_insufficient_storage) {
  gated g;
  gated_kind_run(&g, SAROS_FACADE_VSS, SAROS_CANCELLABLE);
  g.kind.name = "vss.do_snapshot_set";
  gated_new(&g, NULL);
  CHECK_INT(saros_op_start(g.op), 0);
  gated_open(&g, VSS_E_INSUFFICIENT_STORAGE);
  CHECK(gate_wait(g.op));
  for (int i = 0; i < 1000; i++) {
    uint32_t hr = SENTINEL;
    CHECK_INT(saros_vss_query_status(g.op, &hr, NULL), SAROS_S_OK);
    CHECK_INT(hr, 0x8004231Fu);
  }
  CHECK_INT(saros_vss_cancel(g.op), 0x8004231Fu);
  CHECK_INT(saros_vss_wait(g.op, 0), 0x8004231Fu);
  gated_done(&g);
}

/* The list of DoSnapshotSet: each of its codes has a name and a sentence and
   arrives unchanged. */
TEST(a10_documented_codes_of_do_snapshot_set) {
  static const uint32_t listed[] = {
      0x80070057u, 0x8007000Eu, 0x80042301u, 0x80042302u,
      0x80070005u, 0x80042313u, 0x80042314u, 0x8004232Cu,
      0x80042327u, 0x80042328u, 0x80042329u, 0x8004231Fu,
      0x80042306u, 0x8004230Fu, 0x80042315u /* a veto: the set fails with it */};
  for (size_t i = 0; i < sizeof listed / sizeof *listed; i++) {
    const code_entry *known = code_find(SAROS_FACADE_VSS, listed[i]);
    CHECK(known != NULL && known->name != NULL);
    gated g;
    gated_start(&g, SAROS_FACADE_VSS);
    finish(&g, listed[i]);
    CHECK_INT(vss_answer(g.op), listed[i]);
    error *why = op_error(g.op);
    CHECK(why != NULL && why->code == listed[i]);
    error_unref(why);
    gated_done(&g);
  }
}

TEST(a11_a12_a13_bad_pointers_disturb_nothing) {
  gated g;
  gated_start(&g, SAROS_FACADE_VSS);
  uint32_t room[2] = {SENTINEL, SENTINEL};
  uint32_t *askew = (uint32_t *)(void *)((char *)room + 1);
  CHECK_INT(saros_vss_query_status(g.op, NULL, NULL), 0x80070057u);
  CHECK_INT(saros_vss_query_status(g.op, askew, NULL), 0x80070057u);
  CHECK_INT(room[0], SENTINEL);
  CHECK_INT(room[1], SENTINEL);
  CHECK_INT(vss_answer(g.op), VSS_S_ASYNC_PENDING);
  finish(&g, 0);
  CHECK_INT(saros_vss_query_status(g.op, NULL, NULL), 0x80070057u);
  CHECK_INT(vss_answer(g.op), VSS_S_ASYNC_FINISHED);
  gated_done(&g);
}

TEST(a14_a15_reserved_changes_nothing) {
  gated g;
  gated_start(&g, SAROS_FACADE_VSS);
  uint32_t hr = SENTINEL;
  int32_t reserved = 77;
  CHECK_INT(saros_vss_query_status(g.op, &hr, NULL), 0);
  CHECK_INT(saros_vss_query_status(g.op, &hr, &reserved), 0);
  CHECK_INT(hr, VSS_S_ASYNC_PENDING);
  CHECK_INT(reserved, 77);
  finish(&g, 0);
  CHECK_INT(saros_vss_query_status(g.op, &hr, &reserved), 0);
  CHECK_INT(hr, VSS_S_ASYNC_FINISHED);
  CHECK_INT(reserved, 77);
  gated_done(&g);
}

TEST(a16_a17_access_denied) {
  gated g;
  gated_kind(&g, SAROS_FACADE_VSS, SAROS_CANCELLABLE);
  g.kind.access = gated_access;
  g.denied = SAROS_E_ACCESSDENIED;
  gated_new(&g, NULL);
  CHECK_INT(saros_op_start(g.op), 0);
  uint32_t hr = SENTINEL;
  CHECK_INT(saros_vss_query_status(g.op, &hr, NULL), 0x80070005u);
  CHECK_INT(hr, SENTINEL);
  CHECK_INT(saros_vss_wait(g.op, 0), 0x80070005u);
  /* Who may not ask may not stop it either: section 5, "op unaffected". */
  CHECK_INT(saros_vss_cancel(g.op), 0x80070005u);
  CHECK_INT(saros_op_state(g.op), SAROS_RUNNING);
  g.denied = 0;
  CHECK_INT(vss_answer(g.op), VSS_S_ASYNC_PENDING);
  finish(&g, 0);
  CHECK_INT(vss_answer(g.op), VSS_S_ASYNC_FINISHED);
  gated_done(&g);
}

static void look_for_fault(void *found, const log_record *record) {
  if (strstr(record->text, "vss.broken") != NULL &&
      strstr(record->text, "fault") != NULL)
    ++*(int *)found;
}

TEST(a18_a19_a20_fault) {
  gated g;
  gated_kind(&g, SAROS_FACADE_VSS, SAROS_CANCELLABLE);
  g.kind.name = "vss.broken";
  gated_new(&g, NULL);
  CHECK_INT(saros_op_start(g.op), 0);
  uint32_t hr = SENTINEL;
  int before = 0, after = 0;
  log_replay(look_for_fault, &before);
  atomic_store(&op_fault, 1);
  CHECK_INT(saros_vss_query_status(g.op, &hr, NULL), 0x80042302u);
  CHECK_INT(hr, SENTINEL);
  log_replay(look_for_fault, &after);
  CHECK_INT(after, before + 1);
  CHECK_INT(vss_answer(g.op), VSS_S_ASYNC_PENDING); /* it goes on */
  atomic_store(&op_fault, 1);
  CHECK_INT(saros_vss_wait(g.op, 0), 0x80042302u);
  atomic_store(&op_fault, 1);
  CHECK_INT(saros_vss_cancel(g.op), 0x80042302u);
  CHECK_INT(vss_answer(g.op), VSS_S_ASYNC_PENDING);
  atomic_store(&vss_profile, 2003);
  atomic_store(&op_fault, 1);
  CHECK_INT(saros_vss_query_status(g.op, &hr, NULL), 0x8000FFFFu);
  CHECK_INT(hr, SENTINEL);
  /* Section 5: then Wait takes INFINITE and nothing else. */
  CHECK_INT(saros_vss_wait(g.op, 0), 0x80070057u);
  CHECK_INT(saros_vss_wait(g.op, 1000), 0x80070057u);
  finish(&g, 0);
  CHECK_INT(saros_vss_wait(g.op, SAROS_INFINITE), SAROS_S_OK);
  atomic_store(&vss_profile, 0);
  gated_done(&g);
}

int main(int argc, char **argv) {
  gate_begin(argc, argv);
  gate_counts before = gate_count();
  GATE_RUN(a01_running_says_pending);
  GATE_RUN(a02_success_is_async_finished);
  GATE_RUN(a03_cancelled_says_cancelled);
  GATE_RUN(a04_without_cancel_never_cancelled);
  GATE_RUN(a05_cancel_after_completion_changes_nothing);
  GATE_RUN(a06_three_codes_for_every_starter);
  GATE_RUN(a07_a08_a09_insufficient_storage);
  GATE_RUN(a10_documented_codes_of_do_snapshot_set);
  GATE_RUN(a11_a12_a13_bad_pointers_disturb_nothing);
  GATE_RUN(a14_a15_reserved_changes_nothing);
  GATE_RUN(a16_a17_access_denied);
  GATE_RUN(a18_a19_a20_fault);
  if (!gate_back_to(before)) check_failed++;
  return check_end();
}
