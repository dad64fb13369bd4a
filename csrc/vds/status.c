/*
** IVdsAsync: QueryStatus with a percentage, Wait with an output, Cancel. The
** pending code has the failure bit, the cancelled one too: compare by value.
** Finished, in whatever way, is 100 percent.
*/
#include <string.h>

#include "op/facade.h"

static uint32_t answer(saros_op *op, uint32_t *percent) {
  saros_state state = saros_op_state(op);
  if (!saros_state_is_terminal(state)) {
    *percent = atomic_load(&op->percent);
    return VDS_E_OPERATION_PENDING;
  }
  *percent = 100;
  return state == SAROS_CANCELLED_STATE ? VDS_E_OPERATION_CANCELED
                                        : saros_op_code(op);
}

uint32_t saros_vds_query_status(saros_op *op, uint32_t *hr, uint32_t *percent) {
  if (!facade_can_write(hr) || !facade_can_write(percent))
    return SAROS_E_INVALIDARG;
  if (facade_access(op) != 0) return VDS_E_ACCESS_DENIED;
  if (facade_fault(op, "QueryStatus")) return VDS_E_INTERNAL_ERROR;
  *hr = answer(op, percent);
  return SAROS_S_OK;
}

static void fill(saros_op *op, saros_vds_output *output) {
  memset(output, 0, sizeof *output);
  const value *v = op_output(op);
  if (v == NULL) return;
  output->type = (uint32_t)value_integer(value_get(v, "vds_type"), 0);
  int64_t number = value_integer(value_get(v, "offset"), -1);
  if (number < 0) number = value_integer(value_get(v, "reclaimed"), 0);
  output->number = (uint64_t)number;
  const char *id = value_chars(value_get(v, "id"), "");
  strncpy(output->id, id, sizeof output->id - 1);
}

/* It has no time limit: whoever wants one asks saros_op_wait first. */
uint32_t saros_vds_wait(saros_op *op, uint32_t *hr, saros_vds_output *output) {
  if (!facade_can_write(hr) || output == NULL ||
      (uintptr_t)output % _Alignof(saros_vds_output) != 0)
    return SAROS_E_INVALIDARG;
  if (facade_access(op) != 0) return VDS_E_ACCESS_DENIED;
  if (facade_fault(op, "Wait")) return VDS_E_INTERNAL_ERROR;
  if (!saros_op_wait(op, SAROS_INFINITE)) return VDS_E_TIMEOUT;
  uint32_t percent;
  *hr = answer(op, &percent);
  fill(op, output);
  return SAROS_S_OK;
}

uint32_t saros_vds_cancel(saros_op *op) {
  if (facade_access(op) != 0) return VDS_E_ACCESS_DENIED;
  if (facade_fault(op, "Cancel")) return VDS_E_INTERNAL_ERROR;
  switch (op_try_cancel(op)) {
    case CANCEL_DONE: return SAROS_S_OK;
    case CANCEL_ALREADY: return VDS_E_OPERATION_CANCELED;
    case CANCEL_UNSUPPORTED: return VDS_E_NOT_SUPPORTED;
    case CANCEL_FORKED: return SAROS_E_FORKED;
    case CANCEL_ENDED:
    case CANCEL_TOO_LATE: break;
  }
  return VDS_E_CANCEL_TOO_LATE;
}

const facade facade_vds = {"vds", VDS_E_OPERATION_PENDING, VDS_E_INTERNAL_ERROR,
                           answer, saros_vds_cancel};
