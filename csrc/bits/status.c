/*
** IBackgroundCopyJob1::GetStatus: flags, and what went wrong where the error
** flag is set. A job that is being tried again is incomplete and in error at
** once; a cancelled one has left the queue.
*/
#include "op/facade.h"

/* The number of an HRESULT_FROM_WIN32, else 0. */
static uint32_t win32_of(uint32_t code) {
  return (code & 0xFFFF0000u) == 0x80070000u ? code & 0xFFFFu : 0;
}

/* The status of a BG_E_HTTP_ERROR, else 0. */
static uint32_t http_of(uint32_t code) {
  return (code & 0xFFFF0000u) == 0x80190000u ? code & 0xFFFFu : 0;
}

typedef struct job_status {
  uint32_t flags, win32, transport, retries;
} job_status;

/* With the lock held, because a failed job may be resumed while we look.
   False when it is out of the queue. */
static int read_locked(saros_op *o, job_status *s) {
  *s = (job_status){0, 0, 0, 0};
  saros_state state = saros_op_state(o);
  switch (state) {
    case SAROS_CANCELLED_STATE: return 0;
    case SAROS_SUCCEEDED: s->flags = QM_STATUS_JOB_COMPLETE; return 1;
    case SAROS_FAILED: s->flags = QM_STATUS_JOB_ERROR; break;
    case SAROS_RETRY_WAIT:
      s->flags = QM_STATUS_JOB_INCOMPLETE | QM_STATUS_JOB_ERROR;
      break;
    default: s->flags = QM_STATUS_JOB_INCOMPLETE; return 1;
  }
  op_extra *x = op_extra_get(o);
  uint32_t code = saros_op_code(o);
  if (x != NULL) {
    s->retries = x->retries;
    if (x->transfer_error) {
      s->win32 = x->win32;
      s->transport = x->transport;
    }
  }
  if (state == SAROS_FAILED && s->win32 == 0 && s->transport == 0) {
    s->win32 = win32_of(code);
    s->transport = http_of(code);
  }
  return 1;
}

static int read_status(saros_op *o, job_status *s) {
  op_lock(o);
  int there = read_locked(o, s);
  op_unlock(o);
  return there;
}

uint32_t saros_bits_get_status(saros_op *o, uint32_t *status, uint32_t *win32,
                               uint32_t *transport, uint32_t *retries) {
  if (!facade_can_write(status) || !facade_can_write(win32) ||
      !facade_can_write(transport) || !facade_can_write(retries))
    return SAROS_E_INVALIDARG;
  if (facade_access(o) != 0) return SAROS_E_ACCESSDENIED;
  if (facade_fault(o, "GetStatus")) return SAROS_E_FAIL;
  job_status s;
  if (!read_status(o, &s)) return QM_E_ITEM_NOT_FOUND;
  *status = s.flags;
  *win32 = s.win32;
  *transport = s.transport;
  *retries = s.retries;
  return SAROS_S_OK;
}

/* As a script asks: the flags of a job that is there, else why it is not. */
static uint32_t query(saros_op *op, uint32_t *percent) {
  *percent = atomic_load(&op->percent);
  job_status s;
  return read_status(op, &s) ? s.flags : QM_E_ITEM_NOT_FOUND;
}

/* A modern job's Cancel; a QMgr job has none, its group does it. */
static uint32_t cancel(saros_op *op) {
  if (facade_access(op) != 0) return SAROS_E_ACCESSDENIED;
  switch (op_try_cancel(op)) {
    case CANCEL_DONE: return SAROS_S_OK;
    case CANCEL_FORKED: return SAROS_E_FORKED;
    default: return BG_E_INVALID_STATE;
  }
}

#define BG_E_PENDING 0x80200032u

const facade facade_bits = {"bits", BG_E_PENDING, SAROS_E_FAIL, query, cancel};
