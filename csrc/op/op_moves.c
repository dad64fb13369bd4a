/*
** What happens to an operation between its beginning and its end: running,
** waiting to be tried again, suspended; progress, phase, results; and waiting
** for it from C.
*/
#include <errno.h>
#include <time.h>

#include "op/engine.h"
#include "op/op_parts.h"

int saros_op_cancelled(saros_op *op) {
  return !ours(op) || !pending(op);
}

/* With the lock held: from one of `from` to `to`. */
static bool go(saros_op *op, unsigned from, saros_state to) {
  bool can = ours(op) && ((1u << op_state_now(op)) & from) != 0;
  if (can) move(op, to);
  return can;
}

#define IN(state) (1u << (state))

int saros_op_running(saros_op *op) {
  /* The common way takes no lock: whoever changes the state under it at the
     same time changes that of a running one, which is as good. */
  uint8_t queued = SAROS_QUEUED;
  if (ours(op) &&
      atomic_compare_exchange_strong(&op->state, &queued, SAROS_RUNNING))
    return 1;
  op_lock(op);
  bool can = go(op,
                IN(SAROS_CREATED) | IN(SAROS_QUEUED) | IN(SAROS_RUNNING) |
                    IN(SAROS_RETRY_WAIT),
                SAROS_RUNNING);
  op_unlock(op);
  return can;
}

int saros_op_retry_wait(saros_op *op, uint32_t win32, uint32_t transport) {
  op_extra *x = op_extra_make(op);
  op_lock(op);
  bool can = go(op, IN(SAROS_RUNNING), SAROS_RETRY_WAIT);
  if (can && x != NULL) {
    x->win32 = win32;
    x->transport = transport;
    x->transfer_error = true;
    x->retries++;
  }
  op_unlock(op);
  return can;
}

void saros_op_transfer_error(saros_op *op, uint32_t win32, uint32_t transport) {
  op_extra *x = op_extra_make(op);
  if (x == NULL) return;
  op_lock(op);
  if (pending(op)) {
    x->win32 = win32;
    x->transport = transport;
    x->transfer_error = true;
  }
  op_unlock(op);
}

int saros_op_pause(saros_op *op) {
  op_lock(op);
  bool can = go(op, IN(SAROS_QUEUED) | IN(SAROS_RUNNING) | IN(SAROS_RETRY_WAIT),
                SAROS_PAUSED);
  bool held = can && op_hold_engine(op);
  op_unlock(op);
  if (can && op->kind->pause != NULL) op->kind->pause(op, op_self(op));
  if (held) engine_release();
  return can;
}

int saros_op_resume(saros_op *op) {
  op_lock(op);
  bool can = go(op, IN(SAROS_PAUSED) | IN(SAROS_RETRY_WAIT), SAROS_QUEUED);
  if (can) op_stir(op);
  bool held = can && op_hold_engine(op);
  op_unlock(op);
  if (can && op->kind->resume != NULL) op->kind->resume(op, op_self(op));
  if (held) engine_release();
  return can;
}

int saros_op_checkpoint(saros_op *op) {
  if (ours(op) && op_state_now(op) == SAROS_RUNNING) return 1;
  bool slept = false;
  op_lock(op);
  while (ours(op) && op_state_now(op) == SAROS_PAUSED) {
    op_sleep(op, NULL);
    slept = true;
  }
  if (slept) go(op, IN(SAROS_QUEUED), SAROS_RUNNING);
  bool goes_on = ours(op) && pending(op);
  op_unlock(op);
  return goes_on;
}

int saros_op_point_of_no_return(saros_op *op) {
  op_lock(op);
  bool can = ours(op) && pending(op);
  if (can) flag(op, OP_POINT_PASSED);
  op_unlock(op);
  return can;
}

/* With the lock held. */
static void tell_progress(saros_op *op, aftermath *a) {
  if (!flagged(op, OP_HAS_WATCHES)) return;
  for (watch *w = op->watches; w != NULL; w = w->next)
    if (w->way->progress) aftermath_add(a, w->way->fire(w));
}

void op_tell(saros_op *op) {
  aftermath a = {.count = 0};
  op_lock(op);
  tell_progress(op, &a);
  op_unlock(op);
  aftermath_do(&a);
}

static unsigned percent_of(uint64_t done, uint64_t total) {
  if (total == 0) return 0;
  if (done >= total) return 99;
  return (unsigned)((double)done * 100.0 / (double)total);
}

void saros_op_progress(saros_op *op, uint64_t done, uint64_t total) {
  op_extra *x = op_extra_make(op);
  if (x == NULL) return; /* only a number is lost */
  aftermath a = {.count = 0};
  op_lock(op);
  if (pending(op)) {
    if (done > x->done) x->done = done;
    x->total = total;
    unsigned percent = 0;
    if ((op->kind->flags & SAROS_NO_ESTIMATE) == 0)
      percent = percent_of(x->done, total);
    if (percent > 99) percent = 99;
    if (percent > op->percent) atomic_store(&op->percent, (uint8_t)percent);
    tell_progress(op, &a);
  }
  op_unlock(op);
  aftermath_do(&a);
}

static void set_phase(saros_op *op, const char *phase, char *owned) {
  op_extra *x = op_extra_make(op);
  if (x == NULL) {
    mem_free(owned);
    return;
  }
  aftermath a = {.count = 0};
  op_lock(op);
  char *old = x->phase_text;
  x->phase_text = owned;
  x->phase = phase;
  tell_progress(op, &a);
  op_unlock(op);
  mem_free(old);
  aftermath_do(&a);
}

void saros_op_phase(saros_op *op, const char *phase) {
  char *copy = mem_text(phase);
  set_phase(op, copy, copy);
}

void op_phase_literal(saros_op *op, const char *phase) {
  set_phase(op, phase, NULL);
}

void op_set_output(saros_op *op, value *output) {
  op_extra *x = op_extra_make(op);
  if (x == NULL) {
    value_free(output);
    return;
  }
  op_lock(op);
  value *old = pending(op) ? x->output : output;
  if (pending(op)) x->output = output;
  op_unlock(op);
  value_free(old);
}

uint32_t saros_op_output_json(saros_op *op, const char *json, size_t size) {
  error *e = NULL;
  value *v = json_read(json, size, NULL, &e);
  if (v == NULL) {
    uint32_t code = e->code;
    error_unref(e);
    return code;
  }
  op_set_output(op, v);
  return 0;
}

void op_set_detail(saros_op *op, const char *name, value *item) {
  op_extra *x = op_extra_make(op);
  if (x == NULL) {
    value_free(item);
    return;
  }
  op_lock(op);
  if (x->details == NULL) x->details = value_map();
  if (x->details == NULL)
    value_free(item);
  else
    value_put(x->details, name, item);
  op_unlock(op);
}

int saros_op_wait(saros_op *op, uint32_t ms) {
  if (op_is_over(op)) return 1;
  if (engine_is_here()) return 0; /* it would wait for itself */
  struct timespec until;
  clock_gettime(CLOCK_MONOTONIC, &until);
  until.tv_sec += (time_t)(ms / 1000);
  until.tv_nsec += (long)(ms % 1000) * 1000000;
  if (until.tv_nsec >= 1000000000) {
    until.tv_nsec -= 1000000000;
    until.tv_sec++;
  }
  int r = ms == 0 ? ETIMEDOUT : 0;
  op_lock(op);
  while (!flagged(op, OP_UNWOUND) && r == 0)
    r = op_sleep(op, ms == SAROS_INFINITE ? NULL : &until);
  bool over = flagged(op, OP_UNWOUND);
  op_unlock(op);
  return over;
}
