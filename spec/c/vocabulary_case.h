/*
** What the suites about the numbered assertions share. Those need no real
** service but gated operations of each facade; a test's name carries its
** assertion's number. What is proved, and what waits for a service, is in
** assertions.txt; a summary is at the end of this file.
*/
#ifndef SAROS_VOCABULARY_CASE_H
#define SAROS_VOCABULARY_CASE_H

#include <errno.h>

#include "gate.h"

static const char *const starters[] = {
    "vss.backup_complete",        "vss.do_snapshot_set",
    "vss.gather_writer_metadata", "vss.gather_writer_status",
    "vss.import_snapshots",       "vss.post_restore",
    "vss.prepare_for_backup",     "vss.pre_restore"};
#define STARTERS (sizeof starters / sizeof *starters)

#define SENTINEL 0xDEADBEEFu

static inline uint32_t vss_answer(saros_op *op) {
  uint32_t hr = SENTINEL;
  CHECK_INT(saros_vss_query_status(op, &hr, NULL), SAROS_S_OK);
  return hr;
}

static inline uint32_t wsb_answer(saros_op *op) {
  uint32_t hr = SENTINEL;
  CHECK_INT(saros_wsb_query_status(op, &hr), SAROS_S_OK);
  return hr;
}

static inline uint32_t vds_answer(saros_op *op, uint32_t *percent) {
  uint32_t hr = SENTINEL, p = SENTINEL;
  CHECK_INT(saros_vds_query_status(op, &hr, &p), SAROS_S_OK);
  if (percent != NULL) *percent = p;
  return hr;
}

static inline uint32_t vds_percent(saros_op *op) {
  uint32_t percent;
  vds_answer(op, &percent);
  return percent;
}

typedef struct job_answer {
  uint32_t flags, win32, transport, retries;
} job_answer;

static inline job_answer bits_answer(saros_op *op) {
  job_answer a = {SENTINEL, SENTINEL, SENTINEL, SENTINEL};
  CHECK_INT(
      saros_bits_get_status(op, &a.flags, &a.win32, &a.transport, &a.retries),
      SAROS_S_OK);
  CHECK((a.flags & ~0x1Cu) == 0);
  return a;
}

#define CHECK_JOB(op, f, w, t, r)     \
  do {                                \
    job_answer got = bits_answer(op); \
    CHECK_INT(got.flags, f);          \
    CHECK_INT(got.win32, w);          \
    CHECK_INT(got.transport, t);      \
    CHECK_INT(got.retries, r);        \
  } while (0)

/* Ends it as it is to end, and waits for that. */
static inline void finish(gated *g, uint32_t code) {
  saros_op_finish(g->op, code, NULL);
  CHECK(gate_wait(g->op));
}

/*
** Proved, over gated operations: A01 to A30, A32 to A52, A61 to A83. A06
** and A61 loop over kinds named after the eight starters; A10 shows that each
** code of DoSnapshotSet's list has a name and arrives; A16 uses the access
** hook; A48 is proved for what makes an operation (a query needs no memory);
** A76 to A80 take the errors from saros_op_transfer_error and retry_wait.
**
** A21 to A31 are once more, on the driver that polls an application's own
** object, in test_wsb_check.c and wsb_spec.lua.
**
** Due later, with a service: A53 to A60 (the eight starters), and once more,
*for
** real, A07 (a full disk), A10 and A16. A70 to A83 are once more, for real,
*with transfers
** in bits_group_spec.lua.
**
** Read where the text leaves room: Cancel of VSS also asks the access hook
** (section 5, "op unaffected", over the shorter list in vss.md 1.2). A code
** that says "pending" in the facade's own vocabulary, or VSS's "cancelled",
** is no outcome: such an end is reported as the facade's unexpected error, so
** that A04, A28 and A38 hold whatever the work returns (A50 yields). Suspend
** is taken in RETRY_WAIT too (bits.md 2.1), and work that ends while it is
** paused or waits to retry has ended (section 2 names only S2 -> S5).
*/

#endif
