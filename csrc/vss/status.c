/*
** IVssAsync: QueryStatus, Wait, Cancel. Two codes exist at once: what the
** method returns (did the question work) and *hr (how is the operation).
** Success is VSS_S_ASYNC_FINISHED, not S_OK.
*/
#include "op/facade.h"

static bool legacy(void) {
#ifdef SAROS_TEST
  return atomic_load(&vss_profile) == 2003;
#else
  return false;
#endif
}

static uint32_t unexpected(void) {
  return legacy() ? SAROS_E_UNEXPECTED : VSS_E_UNEXPECTED;
}

static uint32_t answer(saros_op *op) {
  uint32_t code;
  switch (saros_op_state(op)) { /* first: once it has ended the code stays */
    case SAROS_SUCCEEDED:
      code = saros_op_code(op);
      return code == SAROS_S_OK ? VSS_S_ASYNC_FINISHED : code;
    case SAROS_FAILED: return saros_op_code(op);
    case SAROS_CANCELLED_STATE: return VSS_S_ASYNC_CANCELLED;
    default: return VSS_S_ASYNC_PENDING;
  }
}

uint32_t saros_vss_query_status(saros_op *op, uint32_t *hr, int32_t *reserved) {
  (void)reserved; /* callers should pass NULL; it changes nothing */
  if (!facade_can_write(hr)) return SAROS_E_INVALIDARG;
  if (facade_access(op) != 0) return SAROS_E_ACCESSDENIED;
  if (facade_fault(op, "QueryStatus")) return unexpected();
  *hr = answer(op);
  return SAROS_S_OK;
}

uint32_t saros_vss_wait(saros_op *op, uint32_t ms) {
  if (legacy() && ms != SAROS_INFINITE) return SAROS_E_INVALIDARG;
  if (facade_access(op) != 0) return SAROS_E_ACCESSDENIED;
  if (facade_fault(op, "Wait")) return unexpected();
  saros_op_wait(op, ms); /* out of time is S_OK: the status says pending */
  if (saros_op_state(op) == SAROS_FAILED) return saros_op_code(op);
  return SAROS_S_OK;
}

uint32_t saros_vss_cancel(saros_op *op) {
  if (facade_access(op) != 0) return SAROS_E_ACCESSDENIED;
  if (facade_fault(op, "Cancel")) return unexpected();
  switch (op_try_cancel(op)) {
    case CANCEL_DONE: return SAROS_S_OK;
    case CANCEL_TOO_LATE:
    case CANCEL_UNSUPPORTED: return VSS_E_NOT_SUPPORTED;
    case CANCEL_ALREADY:
    case CANCEL_ENDED:
    case CANCEL_FORKED: break;
  }
  return answer(op);
}

static uint32_t query(saros_op *op, uint32_t *percent) {
  *percent = atomic_load(&op->percent);
  return answer(op);
}

const facade facade_vss = {"vss", VSS_S_ASYNC_PENDING, VSS_E_UNEXPECTED, query,
                           saros_vss_cancel};
