/*
** The vocabulary `saros`, for operations that belong to none of the four
** services, and what all five share.
*/
#include "op/facade.h"

#ifdef SAROS_TEST
_Atomic int op_fault;
_Atomic int vss_profile;
_Atomic unsigned op_unwinding_ms;
#endif

const facade *facade_of(const saros_op *op) {
  return facades[op->kind->facade];
}

uint32_t facade_access(saros_op *op) {
  return op->kind->access != NULL ? op->kind->access(op, op_self(op)) : 0;
}

bool facade_fault(saros_op *op, const char *where) {
#ifdef SAROS_TEST
  int armed = 1;
  if (atomic_compare_exchange_strong(&op_fault, &armed, 0)) {
    log_write(LOG_ERROR, "op", "%s: unexpected fault in %s", op->kind->name,
              where);
    return true;
  }
#else
  (void)op;
  (void)where;
#endif
  return false;
}

static uint32_t query(saros_op *op, uint32_t *percent) {
  uint32_t p = atomic_load(&op->percent);
  uint32_t code = saros_op_code(op); /* both answers follow from this one */
  *percent = code == SAROS_S_PENDING ? p : 100;
  return code;
}

uint32_t saros_query_status(saros_op *op, uint32_t *code, uint32_t *percent) {
  if (!facade_can_write(code) || !facade_can_write(percent))
    return SAROS_E_INVALIDARG;
  uint32_t denied = facade_access(op);
  if (denied != 0) return denied;
  if (facade_fault(op, "query_status")) return SAROS_E_FAIL;
  *code = query(op, percent);
  return SAROS_S_OK;
}

uint32_t saros_wait(saros_op *op, uint32_t ms) {
  uint32_t denied = facade_access(op);
  if (denied != 0) return denied;
  if (!saros_op_wait(op, ms)) return SAROS_S_PENDING;
  return saros_op_code(op);
}

uint32_t saros_cancel(saros_op *op) {
  uint32_t denied = facade_access(op);
  if (denied != 0) return denied;
  switch (op_try_cancel(op)) {
    case CANCEL_DONE:
    case CANCEL_ALREADY: return SAROS_S_OK;
    case CANCEL_TOO_LATE:
    case CANCEL_UNSUPPORTED: return code_of_win32(50); /* not supported */
    case CANCEL_ENDED:
    case CANCEL_FORKED: break;
  }
  return saros_op_code(op);
}

const facade facade_saros = {"saros", SAROS_S_PENDING, SAROS_E_UNEXPECTED,
                             query, saros_cancel};

uint32_t saros_op_query(saros_op *op, uint32_t *percent) {
  uint32_t ignored;
  return facade_of(op)->query(op, percent != NULL ? percent : &ignored);
}

uint32_t saros_op_cancel(saros_op *op) {
  return facade_of(op)->cancel(op);
}
