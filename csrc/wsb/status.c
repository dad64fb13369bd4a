/*
** IWsbApplicationAsync: QueryStatus and Abort. The application has it, the
** backup polls it; success is plain S_OK, and the code of a running one has
** bit 31 clear: it is compared, never tested.
*/
#include "op/facade.h"

static uint32_t answer(saros_op *op) {
  return saros_state_is_terminal(saros_op_state(op)) ? saros_op_code(op)
                                                     : WSBAPP_ASYNC_IN_PROGRESS;
}

uint32_t saros_wsb_query_status(saros_op *op, uint32_t *hr) {
  if (!facade_can_write(hr)) return SAROS_E_INVALIDARG;
  if (facade_access(op) != 0) return SAROS_E_ACCESSDENIED;
  if (facade_fault(op, "QueryStatus")) return SAROS_E_FAIL;
  *hr = answer(op);
  return SAROS_S_OK;
}

/* Without effect on what has ended, and no error then. */
uint32_t saros_wsb_abort(saros_op *op) {
  if (facade_access(op) != 0) return SAROS_E_ACCESSDENIED;
  if (facade_fault(op, "Abort")) return SAROS_E_FAIL;
  switch (op_try_cancel(op)) {
    case CANCEL_TOO_LATE:
    case CANCEL_UNSUPPORTED: return SAROS_E_FAIL; /* it goes on */
    case CANCEL_FORKED: return SAROS_E_FORKED;
    case CANCEL_DONE:
    case CANCEL_ALREADY:
    case CANCEL_ENDED: break;
  }
  return SAROS_S_OK;
}

static uint32_t query(saros_op *op, uint32_t *percent) {
  *percent = atomic_load(&op->percent);
  return answer(op);
}

const facade facade_wsb = {"wsb", WSBAPP_ASYNC_IN_PROGRESS, SAROS_E_FAIL, query,
                           saros_wsb_abort};
