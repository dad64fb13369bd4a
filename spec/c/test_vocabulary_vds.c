/*
** The numbered assertions: VDS. See vocabulary_case.h.
*/
#include "vocabulary_case.h"

TEST(a32_a33_a43_running) {
  gated g;
  gated_start(&g, SAROS_FACADE_VDS);
  for (uint64_t done = 0; done <= 120; done += 10) {
    saros_op_progress(g.op, done, 100);
    uint32_t percent = SENTINEL;
    CHECK_INT(vds_answer(g.op, &percent), 0x80042409u);
    CHECK_INT(percent, done < 100 ? done : 99);
  }
  finish(&g, 0);
  gated_done(&g);
}

TEST(a34_a35_a40_a44_finished) {
  static const uint32_t ends[] = {0, 1, 0x0004241Au, 0x00042441u};
  for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
    gated g;
    gated_start(&g, SAROS_FACADE_VDS);
    saros_op_progress(g.op, 30, 100);
    finish(&g, ends[i]);
    uint32_t percent = SENTINEL;
    CHECK_INT(vds_answer(g.op, &percent), ends[i]);
    CHECK_INT(percent, 100);
    gated_done(&g);
  }
}

TEST(a36_a37_not_estimable) {
  gated g;
  gated_kind(&g, SAROS_FACADE_VDS, SAROS_CANCELLABLE | SAROS_NO_ESTIMATE);
  gated_new(&g, NULL);
  CHECK_INT(saros_op_start(g.op), 0);
  for (uint64_t i = 0; i < 200; i++) {
    saros_op_progress(g.op, i, i % 3 == 0 ? 0 : 200);
    CHECK_INT(vds_percent(g.op), 0);
  }
  finish(&g, 0);
  CHECK_INT(vds_percent(g.op), 100);
  gated_done(&g);
  gated_start(&g, SAROS_FACADE_VDS); /* nobody ever knew the total */
  for (uint64_t i = 0; i < 200; i++) {
    saros_op_progress(g.op, i, 0);
    CHECK_INT(vds_percent(g.op), 0);
  }
  finish(&g, SAROS_E_FAIL);
  CHECK_INT(vds_percent(g.op), 100);
  gated_done(&g);
}

TEST(a38_a39_failed) {
  static const uint32_t ends[] = {SAROS_E_FAIL, VDS_E_INTERNAL_ERROR,
                                  VDS_E_OPERATION_PENDING};
  for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
    gated g;
    gated_start(&g, SAROS_FACADE_VDS);
    saros_op_progress(g.op, 7, 100);
    finish(&g, ends[i]);
    uint32_t percent = SENTINEL, hr = vds_answer(g.op, &percent);
    CHECK(hr != 0x80042409u);
    CHECK(code_failed(hr));
    if (ends[i] != VDS_E_OPERATION_PENDING) CHECK_INT(hr, ends[i]);
    CHECK_INT(percent, 100);
    gated_done(&g);
  }
}

TEST(a41_all_bytes_done_is_99) {
  gated g;
  gated_start(&g, SAROS_FACADE_VDS);
  static const uint64_t totals[] = {1, 3, 100, 4096, UINT64_MAX};
  for (size_t i = 0; i < sizeof totals / sizeof *totals; i++) {
    saros_op_progress(g.op, totals[i] - 1, totals[i]);
    CHECK(vds_percent(g.op) <= 99);
    saros_op_progress(g.op, totals[i], totals[i]);
    CHECK_INT(vds_percent(g.op), 99);
  }
  CHECK_INT(vds_answer(g.op, NULL), 0x80042409u);
  finish(&g, 0);
  CHECK_INT(vds_percent(g.op), 100);
  gated_done(&g);
}

typedef struct poller {
  saros_op *op;
  atomic_bool go;
  int bad;
  long polls;
} poller;

/* Polls until the end and a little longer. */
static void *poll_vds(void *argument) {
  poller *p = argument;
  uint32_t last = 0;
  for (int rest = 100; rest > 0;) {
    uint32_t hr = SENTINEL, percent = SENTINEL;
    if (saros_vds_query_status(p->op, &hr, &percent) != 0) p->bad++;
    if ((percent == 100) != (hr != VDS_E_OPERATION_PENDING)) p->bad++;
    if (percent < last || percent > 100) p->bad++;
    last = percent;
    p->polls++;
    atomic_store(&p->go, true);
    if (hr != VDS_E_OPERATION_PENDING) rest--;
  }
  return NULL;
}

TEST(a42_a51_a52_random_poll_trace) {
  uint64_t seed = gate_seed("a42");
  for (long round = 0; round < gate_loops(200); round++) {
    gated g;
    gated_start(&g, SAROS_FACADE_VDS);
    poller p = {.op = g.op};
    pthread_t id;
    CHECK_INT(pthread_create(&id, NULL, poll_vds, &p), 0);
    while (!atomic_load(&p.go)) {}
    for (unsigned i = gate_below(&seed, 300); i > 0; i--)
      saros_op_progress(g.op, gate_below(&seed, 1200), 1000);
    switch (gate_below(&seed, 4)) {
      case 0: saros_op_finish(g.op, 0, NULL); break;
      case 1: saros_op_finish(g.op, 0x0004241Au, NULL); break;
      case 2: saros_op_finish(g.op, SAROS_E_FAIL, NULL); break;
      default:
        CHECK_INT(saros_vds_cancel(g.op), 0);
        saros_op_finish(g.op, 0, NULL);
    }
    pthread_join(id, NULL);
    CHECK_INT(p.bad, 0);
    gated_done(&g);
  }
}

/* The same for the other vocabularies: a query that races with the end gives
   an answer of before or of after, never a mixture. */
static void *poll_all(void *argument) {
  poller *p = argument;
  bool over = false;
  for (int rest = 100; rest > 0;) {
    uint32_t hr = SENTINEL, percent = 0;
    bool pending;
    switch (p->op->kind->facade) {
      case SAROS_FACADE_VSS:
        saros_vss_query_status(p->op, &hr, NULL);
        pending = hr == VSS_S_ASYNC_PENDING;
        if (!pending && hr != VSS_S_ASYNC_FINISHED && hr != SAROS_E_FAIL &&
            hr != VSS_S_ASYNC_CANCELLED)
          p->bad++;
        break;
      case SAROS_FACADE_WSB:
        saros_wsb_query_status(p->op, &hr);
        pending = hr == WSBAPP_ASYNC_IN_PROGRESS;
        if (!pending && hr != 0 && hr != SAROS_E_FAIL &&
            hr != SAROS_E_CANCELLED)
          p->bad++;
        break;
      default:
        saros_query_status(p->op, &hr, &percent);
        pending = hr == SAROS_S_PENDING;
        if (!pending && hr != 0 && hr != SAROS_E_FAIL &&
            hr != SAROS_E_CANCELLED)
          p->bad++;
        if ((percent == 100) == pending) p->bad++;
    }
    if (over && pending) p->bad++;
    over = !pending;
    p->polls++;
    atomic_store(&p->go, true);
    if (over) rest--;
  }
  return NULL;
}

TEST(a09_a28_answers_are_of_one_instant) {
  static const saros_facade all_facades[] = {SAROS_FACADE_VSS, SAROS_FACADE_WSB,
                                             SAROS_FACADE_SAROS};
  uint64_t seed = gate_seed("one instant");
  for (long round = 0; round < gate_loops(3000); round++) {
    gated g;
    gated_start(&g, all_facades[round % 3]);
    poller p = {.op = g.op};
    pthread_t id;
    CHECK_INT(pthread_create(&id, NULL, poll_all, &p), 0);
    while (!atomic_load(&p.go)) {}
    unsigned how = gate_below(&seed, 3);
    if (how == 2) CHECK_INT(op_try_cancel(g.op), CANCEL_DONE);
    saros_op_finish(g.op, how == 1 ? SAROS_E_FAIL : 0, NULL);
    pthread_join(id, NULL);
    CHECK_INT(p.bad, 0);
    gated_done(&g);
  }
}

/* The worker sits in the gate, and a thousand questions are answered. */
TEST(a45_query_does_not_wait) {
  gated g;
  gated_start_run(&g, SAROS_FACADE_VDS, SAROS_RUN_CPU);
  CHECK(gated_await(&g, &g.entered, 1));
  uint64_t begun = engine_clock();
  for (int i = 0; i < 1000; i++)
    CHECK_INT(vds_answer(g.op, NULL), VDS_E_OPERATION_PENDING);
  CHECK(engine_clock() - begun < 50u * 1000000u * 1000u); /* 50 ms each */
  CHECK_INT(gated_count(&g, &g.entered), 1);
  gated_open(&g, 0);
  CHECK(gate_wait(g.op));
  gated_done(&g);
}

TEST(a46_a47_bad_pointers) {
  gated g;
  gated_start(&g, SAROS_FACADE_VDS);
  uint32_t hr = SENTINEL, percent = SENTINEL;
  uint32_t room[4] = {SENTINEL, SENTINEL, SENTINEL, SENTINEL};
  uint32_t *askew = (uint32_t *)(void *)((char *)room + 2);
  CHECK_INT(saros_vds_query_status(g.op, NULL, &percent), 0x80070057u);
  CHECK_INT(saros_vds_query_status(g.op, &hr, NULL), 0x80070057u);
  CHECK_INT(saros_vds_query_status(g.op, askew, &percent), 0x80070057u);
  CHECK_INT(saros_vds_query_status(g.op, &hr, askew), 0x80070057u);
  CHECK_INT(hr, SENTINEL);
  CHECK_INT(percent, SENTINEL);
  CHECK_INT(vds_answer(g.op, NULL), VDS_E_OPERATION_PENDING);
  finish(&g, 0);
  /* Wait has an output of its own alignment. */
  static _Alignas(16) char space[sizeof(saros_vds_output) + 16];
  memset(space, 'x', sizeof space);
  saros_vds_output *off = (saros_vds_output *)(void *)(space + 4);
  CHECK_INT(saros_vds_wait(g.op, &hr, off), 0x80070057u);
  CHECK_INT(saros_vds_wait(g.op, &hr, NULL), 0x80070057u);
  CHECK_INT(saros_vds_wait(g.op, NULL, (saros_vds_output *)(void *)space),
            0x80070057u);
  CHECK_INT(hr, SENTINEL);
  CHECK(space[0] == 'x' && space[4] == 'x' && space[8] == 'x');
  gated_done(&g);
}

/* Making one fails for want of memory: the starter's code. A query needs no
   memory and so cannot fail for want of it. */
TEST(a48_out_of_memory) {
  gated g;
  gated_kind(&g, SAROS_FACADE_VDS, SAROS_CANCELLABLE);
  uint32_t why = 0;
  mem_fail_at(1);
  saros_op *op = op_create(&g.kind, &g, 0, NULL, &why);
  mem_fail_at(0);
  CHECK(op == NULL);
  CHECK_INT(why, 0x8007000Eu);
  gated_new(&g, NULL);
  CHECK_INT(saros_op_start(g.op), 0);
  mem_fail_at(1);
  CHECK_INT(vds_answer(g.op, NULL), VDS_E_OPERATION_PENDING);
  mem_fail_at(0);
  finish(&g, SAROS_E_OUTOFMEMORY);
  CHECK_INT(vds_answer(g.op, NULL), 0x8007000Eu);
  gated_done(&g);
}

TEST(a49_a50_codes_pass_unchanged) {
  CHECK_INT(code_of_errno(ENOSPC), 0x80070070u);
  static const uint32_t ends[] = {0x80070070u, 0x80042425u, 0xC0000001u,
                                  0xDEADBEEFu};
  for (size_t i = 0; i < sizeof ends / sizeof *ends; i++) {
    gated g;
    gated_start(&g, SAROS_FACADE_VDS);
    finish(&g, ends[i]);
    CHECK_INT(vds_answer(g.op, NULL), ends[i]);
    gated_done(&g);
  }
}

int main(int argc, char **argv) {
  gate_begin(argc, argv);
  gate_counts before = gate_count();
  GATE_RUN(a32_a33_a43_running);
  GATE_RUN(a34_a35_a40_a44_finished);
  GATE_RUN(a36_a37_not_estimable);
  GATE_RUN(a38_a39_failed);
  GATE_RUN(a41_all_bytes_done_is_99);
  GATE_RUN(a42_a51_a52_random_poll_trace);
  GATE_RUN(a09_a28_answers_are_of_one_instant);
  GATE_RUN(a45_query_does_not_wait);
  GATE_RUN(a46_a47_bad_pointers);
  GATE_RUN(a48_out_of_memory);
  GATE_RUN(a49_a50_codes_pass_unchanged);
  if (!gate_back_to(before)) check_failed++;
  return check_end();
}
