/*
** The two tables of answers, state by facade, cell by cell, and the
** edge cases of section 5. Where a cell leaves room, the comment says how it
** was read.
*/
#include <errno.h>

#include "gate.h"

#define SENTINEL 0xDEADBEEFu
#define HR_OK_OTHER 0x0004241Au /* a success that is not S_OK */
#define HR_FAILED 0x8004231Fu

typedef enum stage {
  S0,
  S1,
  S2,
  S3,
  S4,
  S5,
  S5_OTHER,
  S6,
  S7,
  S7_UNWINDING, /* cancelled, and its work still runs */
  STAGES
} stage;

#define LAST 37u /* percent before the stage is entered */

/* Brings an operation of this facade there, over progress of 37%. */
static void reach(gated *g, saros_facade whose, stage s, uint32_t flags) {
  gated_kind(g, whose, flags);
  gated_new(g, NULL);
  if (s == S0) return;
  CHECK_INT(saros_op_start(g->op), 0);
  saros_op_progress(g->op, LAST, 100);
  switch (s) {
    case S1:
      CHECK(saros_op_pause(g->op));
      CHECK(saros_op_resume(g->op));
      break;
    case S3: CHECK(saros_op_pause(g->op)); break;
    case S4: CHECK(saros_op_retry_wait(g->op, 1225, 503)); break;
    case S5: saros_op_finish(g->op, 0, NULL); break;
    case S5_OTHER: saros_op_finish(g->op, HR_OK_OTHER, NULL); break;
    case S6:
      CHECK(saros_op_retry_wait(g->op, 1, 1));
      CHECK(saros_op_running(g->op));
      saros_op_transfer_error(g->op, 112, 0);
      saros_op_finish(g->op, HR_FAILED, NULL);
      break;
    case S7:
    case S7_UNWINDING:
      CHECK_INT(op_try_cancel(g->op), CANCEL_DONE);
      if (s == S7) saros_op_finish(g->op, 0, NULL);
      break;
    default: break;
  }
}

/* Whatever is not over yet ends; then nothing is left. */
static void leave(gated *g) {
  if (!op_is_over(g->op)) saros_op_finish(g->op, 0, NULL);
  gated_done(g);
}

static const saros_state states[STAGES] = {
    SAROS_CREATED,         SAROS_QUEUED,         SAROS_RUNNING,   SAROS_PAUSED,
    SAROS_RETRY_WAIT,      SAROS_SUCCEEDED,      SAROS_SUCCEEDED, SAROS_FAILED,
    SAROS_CANCELLED_STATE, SAROS_CANCELLED_STATE};

/* ------------------------------------------------------------------
** State by facade
** ---------------------------------------------------------------- */

#define P_VSS VSS_S_ASYNC_PENDING
#define P_WSB WSBAPP_ASYNC_IN_PROGRESS
#define P_VDS VDS_E_OPERATION_PENDING
#define P_SAROS SAROS_S_PENDING

static const struct row {
  uint32_t vss, wsb, vds, vds_percent, own, own_percent;
  uint32_t method, flags, win32, transport, retries; /* of the QMgr job */
} table[STAGES] = {
    /* An operation without progress has 0. */
    [S0] = {P_VSS, P_WSB, P_VDS, 0, P_SAROS, 0, 0, 8, 0, 0, 0},
    [S1] = {P_VSS, P_WSB, P_VDS, LAST, P_SAROS, LAST, 0, 8, 0, 0, 0},
    [S2] = {P_VSS, P_WSB, P_VDS, LAST, P_SAROS, LAST, 0, 8, 0, 0, 0},
    [S3] = {P_VSS, P_WSB, P_VDS, LAST, P_SAROS, LAST, 0, 8, 0, 0, 0},
    [S4] = {P_VSS, P_WSB, P_VDS, LAST, P_SAROS, LAST, 0, 0x18, 1225, 503, 1},
    [S5] = {VSS_S_ASYNC_FINISHED, 0, 0, 100, 0, 100, 0, 4, 0, 0, 0},
    [S5_OTHER] = {HR_OK_OTHER, HR_OK_OTHER, HR_OK_OTHER, 100, HR_OK_OTHER, 100,
                  0, 4, 0, 0, 0},
    [S6] = {HR_FAILED, HR_FAILED, HR_FAILED, 100, HR_FAILED, 100, 0, 0x10, 112,
            0, 1},
    [S7] = {VSS_S_ASYNC_CANCELLED, SAROS_E_CANCELLED, VDS_E_OPERATION_CANCELED,
            100, SAROS_E_CANCELLED, 100, QM_E_ITEM_NOT_FOUND, SENTINEL,
            SENTINEL, SENTINEL, SENTINEL},
    [S7_UNWINDING] = {VSS_S_ASYNC_CANCELLED, SAROS_E_CANCELLED,
                      VDS_E_OPERATION_CANCELED, 100, SAROS_E_CANCELLED, 100,
                      QM_E_ITEM_NOT_FOUND, SENTINEL, SENTINEL, SENTINEL,
                      SENTINEL}};

static void check_row(saros_op *op, const struct row *r) {
  uint32_t a = SENTINEL, b = SENTINEL, c = SENTINEL, d = SENTINEL;
  switch (op->kind->facade) {
    case SAROS_FACADE_VSS:
      CHECK_INT(saros_vss_query_status(op, &a, NULL), 0);
      CHECK_INT(a, r->vss);
      CHECK_INT(saros_op_query(op, NULL), r->vss);
      break;
    case SAROS_FACADE_WSB:
      CHECK_INT(saros_wsb_query_status(op, &a), 0);
      CHECK_INT(a, r->wsb);
      CHECK_INT(saros_op_query(op, NULL), r->wsb);
      break;
    case SAROS_FACADE_VDS:
      CHECK_INT(saros_vds_query_status(op, &a, &b), 0);
      CHECK_INT(a, r->vds);
      CHECK_INT(b, r->vds_percent);
      CHECK_INT(saros_op_query(op, &b), r->vds);
      CHECK_INT(b, r->vds_percent);
      break;
    case SAROS_FACADE_BITS:
      /* The job that is out of the queue writes nothing. */
      CHECK_INT(saros_bits_get_status(op, &a, &b, &c, &d), r->method);
      CHECK_INT(a, r->flags);
      CHECK_INT(b, r->win32);
      CHECK_INT(c, r->transport);
      CHECK_INT(d, r->retries);
      break;
    default:
      CHECK_INT(saros_query_status(op, &a, &b), 0);
      CHECK_INT(a, r->own);
      CHECK_INT(b, r->own_percent);
  }
}

TEST(section4_state_by_facade) {
  for (int f = 0; f < SAROS_FACADES; f++) {
    for (int s = 0; s < STAGES; s++) {
      gated g;
      reach(&g, (saros_facade)f, (stage)s, SAROS_CANCELLABLE);
      CHECK_INT(saros_op_state(g.op), states[s]);
      for (int again = 0; again < 3; again++) check_row(g.op, &table[s]);
      leave(&g);
    }
  }
}

/* ------------------------------------------------------------------
** Call by state
** ---------------------------------------------------------------- */

typedef struct cell {
  stage s;
  uint32_t flags;  /* of the kind */
  uint32_t result; /* of the method */
  bool cancels;    /* it is S7 afterwards, and was not before */
} cell;

#define CAN SAROS_CANCELLABLE

static void check_calls(saros_facade whose, uint32_t (*call)(saros_op *),
                        const cell *cells, size_t count) {
  for (size_t i = 0; i < count; i++) {
    gated g;
    reach(&g, whose, cells[i].s, cells[i].flags);
    CHECK_INT(call(g.op), cells[i].result);
    CHECK_INT(saros_op_state(g.op),
              cells[i].cancels ? SAROS_CANCELLED_STATE : states[cells[i].s]);
    check_row(g.op, &table[cells[i].cancels ? S7 : cells[i].s]);
    leave(&g);
  }
}

#define CALLS(whose, call, cells) \
  check_calls(whose, call, cells, sizeof(cells) / sizeof *(cells))

TEST(section4_vss_cancel) {
  static const cell cells[] = {
      {S0, CAN, 0, true},
      {S1, CAN, 0, true},
      {S2, CAN, 0, true},
      {S3, CAN, 0, true},
      {S4, CAN, 0, true},
      {S5, CAN, VSS_S_ASYNC_FINISHED, false},
      {S5_OTHER, CAN, HR_OK_OTHER, false}, /* as QueryStatus has it */
      {S6, CAN, HR_FAILED, false},
      {S7, CAN, VSS_S_ASYNC_CANCELLED, false},
      {S7_UNWINDING, CAN, VSS_S_ASYNC_CANCELLED, false},
      {S2, 0, VSS_E_NOT_SUPPORTED, false}, /* a revert */
      {S5, 0, VSS_S_ASYNC_FINISHED, false},
      {S6, 0, HR_FAILED, false}};
  CALLS(SAROS_FACADE_VSS, saros_vss_cancel, cells);
}

static uint32_t vss_poll(saros_op *op) {
  return saros_vss_wait(op, 0);
}

TEST(section4_vss_wait) {
  static const cell cells[] = {
      {S0, CAN, 0, false},       {S1, CAN, 0, false},
      {S2, CAN, 0, false},       {S3, CAN, 0, false},
      {S4, CAN, 0, false},       {S5, CAN, 0, false},
      {S5_OTHER, CAN, 0, false}, {S6, CAN, HR_FAILED, false},
      {S7, CAN, 0, false},       {S7_UNWINDING, CAN, 0, false}};
  CALLS(SAROS_FACADE_VSS, vss_poll, cells);
}

TEST(section4_wsb_abort) {
  static const cell cells[] = {
      {S0, CAN, 0, true},          {S1, CAN, 0, true},
      {S2, CAN, 0, true},          {S3, CAN, 0, true},
      {S4, CAN, 0, true},          {S5, CAN, 0, false},
      {S5_OTHER, CAN, 0, false},   {S6, CAN, 0, false},
      {S7, CAN, 0, false},         {S7_UNWINDING, CAN, 0, false},
      {S2, 0, SAROS_E_FAIL, false}};
  CALLS(SAROS_FACADE_WSB, saros_wsb_abort, cells);
}

TEST(section4_vds_cancel) {
  static const cell cells[] = {
      {S0, CAN, 0, true},
      {S1, CAN, 0, true},
      {S2, CAN, 0, true},
      {S3, CAN, 0, true},
      {S4, CAN, 0, true},
      {S5, CAN, VDS_E_CANCEL_TOO_LATE, false},
      {S5_OTHER, CAN, VDS_E_CANCEL_TOO_LATE, false},
      {S6, CAN, VDS_E_CANCEL_TOO_LATE, false},
      {S7, CAN, VDS_E_OPERATION_CANCELED, false},
      {S7_UNWINDING, CAN, VDS_E_OPERATION_CANCELED, false},
      {S0, 0, VDS_E_NOT_SUPPORTED, false},
      {S2, 0, VDS_E_NOT_SUPPORTED, false},
      {S4, 0, VDS_E_NOT_SUPPORTED, false},
      {S5, 0, VDS_E_CANCEL_TOO_LATE, false}};
  CALLS(SAROS_FACADE_VDS, saros_vds_cancel, cells);
}

/* Design 3.2: 0 when accepted or already cancelled, else the final code. One
   that cannot be has none: ERROR_NOT_SUPPORTED. */
TEST(section4_own_cancel) {
  static const cell cells[] = {{S0, CAN, 0, true},
                               {S2, CAN, 0, true},
                               {S4, CAN, 0, true},
                               {S5, CAN, 0, false},
                               {S5_OTHER, CAN, HR_OK_OTHER, false},
                               {S6, CAN, HR_FAILED, false},
                               {S7, CAN, 0, false},
                               {S7_UNWINDING, CAN, 0, false},
                               {S2, 0, 0x80070032u, false}};
  CALLS(SAROS_FACADE_SAROS, saros_cancel, cells);
}

TEST(section4_point_of_no_return) {
  static const uint32_t results[SAROS_FACADES] = {
      [SAROS_FACADE_SAROS] = 0x80070032u,
      [SAROS_FACADE_VSS] = VSS_E_NOT_SUPPORTED,
      [SAROS_FACADE_WSB] = SAROS_E_FAIL,
      [SAROS_FACADE_VDS] = VDS_E_CANCEL_TOO_LATE,
      [SAROS_FACADE_BITS] = BG_E_INVALID_STATE};
  for (int f = 0; f < SAROS_FACADES; f++) {
    gated g;
    reach(&g, (saros_facade)f, S2, CAN);
    CHECK(saros_op_point_of_no_return(g.op));
    CHECK_INT(saros_op_cancel(g.op), results[f]);
    check_row(g.op, &table[S2]);
    CHECK_INT(g.cancels, 0);
    saros_op_finish(g.op, 0, NULL);
    check_row(g.op, &table[S5]);
    leave(&g);
    reach(&g, (saros_facade)f, S7_UNWINDING, CAN);
    CHECK(!saros_op_point_of_no_return(g.op)); /* it is cancelled */
    leave(&g);
  }
}

/* Wait of VDS has no limit, so only of what is over. */
TEST(section4_vds_wait) {
  static const stage over[] = {S5, S5_OTHER, S6, S7};
  for (size_t i = 0; i < sizeof over / sizeof *over; i++) {
    gated g;
    gated_kind(&g, SAROS_FACADE_VDS, CAN);
    gated_new(&g, NULL);
    CHECK_INT(saros_op_start(g.op), 0);
    value *out = value_map();
    value_put(out, "vds_type", value_int(1));
    value_put(out, "offset", value_int(1048576));
    value_put(out, "id", value_text("11111111-2222-3333-4444-555555555555"));
    op_set_output(g.op, out);
    CHECK(op_output(g.op) == NULL); /* I3: not before it has succeeded */
    switch (over[i]) {
      case S5: saros_op_finish(g.op, 0, NULL); break;
      case S5_OTHER: saros_op_finish(g.op, HR_OK_OTHER, NULL); break;
      case S6: saros_op_finish(g.op, HR_FAILED, NULL); break;
      default:
        CHECK_INT(saros_vds_cancel(g.op), 0);
        saros_op_finish(g.op, 0, NULL);
    }
    for (int again = 0; again < 2; again++) {
      saros_vds_output output;
      memset(&output, 0x77, sizeof output);
      uint32_t hr = SENTINEL;
      CHECK_INT(saros_vds_wait(g.op, &hr, &output), 0);
      CHECK_INT(hr, table[over[i]].vds);
      bool good = over[i] == S5 || over[i] == S5_OTHER;
      CHECK_INT(output.type, good ? 1 : 0);
      CHECK_INT(output.number, good ? 1048576 : 0);
      CHECK_TEXT(output.id, good ? "11111111-2222-3333-4444-555555555555" : "");
    }
    leave(&g);
  }
}

/* ------------------------------------------------------------------
** Section 5
** ---------------------------------------------------------------- */

TEST(section5_bad_pointers_everywhere) {
  for (int s = 0; s < STAGES; s++) {
    gated g;
    uint32_t a = SENTINEL, b = SENTINEL, c = SENTINEL, d = SENTINEL;
    uint32_t *ok[4] = {&a, &b, &c, &d};
    _Alignas(8) char room[8];
    uint32_t *askew = (uint32_t *)(void *)(room + 1);
    reach(&g, SAROS_FACADE_BITS, (stage)s, CAN);
    for (int i = 0; i < 8; i++) {
      uint32_t *p[4] = {ok[0], ok[1], ok[2], ok[3]};
      p[i % 4] = i < 4 ? NULL : askew;
      CHECK_INT(saros_bits_get_status(g.op, p[0], p[1], p[2], p[3]),
                SAROS_E_INVALIDARG);
    }
    CHECK(a == SENTINEL && b == SENTINEL && c == SENTINEL && d == SENTINEL);
    check_row(g.op, &table[s]);
    leave(&g);
    reach(&g, SAROS_FACADE_WSB, (stage)s, CAN);
    CHECK_INT(saros_wsb_query_status(g.op, askew), SAROS_E_INVALIDARG);
    check_row(g.op, &table[s]);
    leave(&g);
    reach(&g, SAROS_FACADE_SAROS, (stage)s, CAN);
    CHECK_INT(saros_query_status(g.op, NULL, &b), SAROS_E_INVALIDARG);
    CHECK_INT(saros_query_status(g.op, &a, NULL), SAROS_E_INVALIDARG);
    CHECK(a == SENTINEL && b == SENTINEL);
    check_row(g.op, &table[s]);
    leave(&g);
  }
}

/* What is denied touches neither the operation nor the sinks. */
TEST(section5_access_denied_everywhere) {
  static const uint32_t denied[SAROS_FACADES] = {
      [SAROS_FACADE_SAROS] = SAROS_E_ACCESSDENIED,
      [SAROS_FACADE_VSS] = SAROS_E_ACCESSDENIED,
      [SAROS_FACADE_WSB] = SAROS_E_ACCESSDENIED,
      [SAROS_FACADE_VDS] = VDS_E_ACCESS_DENIED,
      [SAROS_FACADE_BITS] = SAROS_E_ACCESSDENIED};
  for (int f = 0; f < SAROS_FACADES; f++) {
    gated g;
    uint32_t a = SENTINEL, b = SENTINEL, c = SENTINEL, d = SENTINEL;
    saros_vds_output out;
    memset(&out, 0x77, sizeof out);
    reach(&g, (saros_facade)f, S2, CAN);
    g.kind.access = gated_access;
    g.denied = SAROS_E_ACCESSDENIED;
    switch (f) {
      case SAROS_FACADE_VSS:
        CHECK_INT(saros_vss_query_status(g.op, &a, NULL), denied[f]);
        CHECK_INT(saros_vss_wait(g.op, SAROS_INFINITE), denied[f]);
        break;
      case SAROS_FACADE_WSB:
        CHECK_INT(saros_wsb_query_status(g.op, &a), denied[f]);
        break;
      case SAROS_FACADE_VDS:
        CHECK_INT(saros_vds_query_status(g.op, &a, &b), denied[f]);
        CHECK_INT(saros_vds_wait(g.op, &a, &out), denied[f]);
        break;
      case SAROS_FACADE_BITS:
        CHECK_INT(saros_bits_get_status(g.op, &a, &b, &c, &d), denied[f]);
        break;
      default:
        CHECK_INT(saros_query_status(g.op, &a, &b), denied[f]);
        CHECK_INT(saros_wait(g.op, SAROS_INFINITE), denied[f]);
    }
    CHECK_INT(saros_op_cancel(g.op), denied[f]);
    CHECK(a == SENTINEL && b == SENTINEL && c == SENTINEL && d == SENTINEL);
    CHECK_INT(out.type, 0x77777777u);
    CHECK_INT(g.cancels, 0);
    g.denied = 0;
    check_row(g.op, &table[S2]);
    leave(&g);
  }
}

TEST(section5_fault_everywhere) {
  static const uint32_t faults[SAROS_FACADES] = {
      [SAROS_FACADE_SAROS] = SAROS_E_FAIL,
      [SAROS_FACADE_VSS] = VSS_E_UNEXPECTED,
      [SAROS_FACADE_WSB] = SAROS_E_FAIL,
      [SAROS_FACADE_VDS] = VDS_E_INTERNAL_ERROR,
      [SAROS_FACADE_BITS] = SAROS_E_FAIL};
  for (int f = 0; f < SAROS_FACADES; f++) {
    gated g;
    uint32_t a = SENTINEL, b = SENTINEL, c = SENTINEL, d = SENTINEL, r = 0;
    reach(&g, (saros_facade)f, S2, CAN);
    atomic_store(&op_fault, 1);
    switch (f) {
      case SAROS_FACADE_VSS: r = saros_vss_query_status(g.op, &a, NULL); break;
      case SAROS_FACADE_WSB: r = saros_wsb_query_status(g.op, &a); break;
      case SAROS_FACADE_VDS: r = saros_vds_query_status(g.op, &a, &b); break;
      case SAROS_FACADE_BITS:
        r = saros_bits_get_status(g.op, &a, &b, &c, &d);
        break;
      default: r = saros_query_status(g.op, &a, &b);
    }
    CHECK_INT(r, faults[f]);
    CHECK_INT(atomic_load(&op_fault), 0);
    CHECK(a == SENTINEL && b == SENTINEL && c == SENTINEL && d == SENTINEL);
    check_row(g.op, &table[S2]);
    leave(&g);
  }
}

/* One winner, and Cancel's answer agrees with the next QueryStatus. */
typedef struct race {
  saros_op *op;
  atomic_bool go;
  uint32_t cancel, next;
} race;

static void *cancel_vss(void *argument) {
  race *r = argument;
  while (!atomic_load(&r->go)) {}
  r->cancel = saros_vss_cancel(r->op);
  saros_vss_query_status(r->op, &r->next, NULL);
  return NULL;
}

TEST(section5_cancel_and_finish_race) {
  long cancelled = 0, rounds = gate_loops(3000);
  for (long i = 0; i < rounds; i++) {
    gated g;
    gated_start(&g, SAROS_FACADE_VSS);
    race r = {.op = g.op};
    pthread_t id;
    CHECK_INT(pthread_create(&id, NULL, cancel_vss, &r), 0);
    atomic_store(&r.go, true);
    for (long n = i % 300; n > 0; n--) atomic_load(&r.go);
    uint32_t code = i % 2 ? 0 : SAROS_E_FAIL;
    int won = saros_op_finish(g.op, code, NULL);
    pthread_join(id, NULL);
    uint32_t end = code == 0 ? VSS_S_ASYNC_FINISHED : code;
    CHECK_INT(r.next, won ? end : VSS_S_ASYNC_CANCELLED);
    CHECK_INT(r.cancel, won ? end : SAROS_S_OK);
    cancelled += !won;
    leave(&g);
  }
  printf("of %ld races %ld were won by the cancel\n", rounds, cancelled);
}

TEST(section5_errno) {
  static const struct {
    int number;
    uint32_t code;
  } pairs[] = {{ENOENT, 0x80070002u},    {EACCES, 0x80070005u},
               {ENOSPC, 0x80070070u},    {EBUSY, 0x800700AAu},
               {ETIMEDOUT, 0x800705B4u}, {ECONNREFUSED, 0x800704C9u},
               {ENOMEM, 0x8007000Eu},    {0, 0}};
  for (size_t i = 0; i < sizeof pairs / sizeof *pairs; i++)
    CHECK_INT(code_of_errno(pairs[i].number), pairs[i].code);
}

int main(int argc, char **argv) {
  gate_begin(argc, argv);
  gate_counts before = gate_count();
  GATE_RUN(section4_state_by_facade);
  GATE_RUN(section4_vss_cancel);
  GATE_RUN(section4_vss_wait);
  GATE_RUN(section4_wsb_abort);
  GATE_RUN(section4_vds_cancel);
  GATE_RUN(section4_own_cancel);
  GATE_RUN(section4_point_of_no_return);
  GATE_RUN(section4_vds_wait);
  GATE_RUN(section5_bad_pointers_everywhere);
  GATE_RUN(section5_access_denied_everywhere);
  GATE_RUN(section5_fault_everywhere);
  GATE_RUN(section5_cancel_and_finish_race);
  GATE_RUN(section5_errno);
  if (!gate_back_to(before)) check_failed++;
  return check_end();
}
