/*
** The smallest operation: a deadline.
*/
#include "op/engine.h"
#include "op/start.h"

static void fire(timer *t) {
  op_finish_error(op_of_trailing(t), SAROS_S_OK, NULL);
}

static void cancel(saros_op *op, void *self) {
  (void)self;
  /* Else it has just fired, and ends by itself. */
  if (timer_cancel(op_trailing(op))) op_finish_error(op, 0, NULL);
}

static const saros_kind kind = {.size = sizeof(saros_kind),
                                .name = "saros.sleep",
                                .flags = SAROS_CANCELLABLE,
                                .cancel = cancel};

saros_op *sleep_start(double seconds, const char *name, uint32_t *why) {
  saros_op *op = op_create(&kind, NULL, sizeof(timer), name, why);
  if (op == NULL) return NULL;
  *why = op_begin(op, SAROS_RUNNING);
  if (*why != 0) { /* by its name somebody may wait for it already */
    op_finish_error(op, *why, NULL);
    op_forget_name(op);
    saros_op_unref(op);
    return NULL;
  }
  timer *t = op_trailing(op);
  t->fire = fire;
  double most = 9.2e9; /* seconds: three centuries */
  double s = seconds > 0 ? (seconds < most ? seconds : most) : 0;
  timer_set(t, op->begun + (uint64_t)(s * 1e9));
  /* By its name somebody may have cancelled it before the timer was set. */
  if (saros_op_cancelled(op)) cancel(op, NULL);
  return op;
}

saros_op *saros_sleep(double seconds) {
  uint32_t why;
  return sleep_start(seconds, NULL, &why);
}
