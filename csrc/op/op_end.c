/*
** Every end of an operation: by its work, by a decision, by a cancel; and the
** unwinding behind it. The first terminal transition wins; a wait is over
** when nothing of the work runs any more, or its time for that is up.
*/
#include <errno.h>
#include <string.h>

#include "op/engine.h"
#include "op/facade.h"
#include "op/op_parts.h"

void aftermath_add(aftermath *a, port *p) {
  if (p == NULL) return;
  if (a->count < 8)
    a->ports[a->count++] = p;
  else
    port_wake(p); /* many states wait for one operation: rare */
}

void aftermath_do(aftermath *a) {
  for (int i = 0; i < a->count; i++) port_wake(a->ports[i]);
  while (a->calls != NULL) {
    watch *w = a->calls;
    a->calls = w->next;
    w->way->after(w);
  }
}

/* With the lock held: it is terminal, and nothing of it runs any more. */
static void unwound(saros_op *op, aftermath *a) {
  /* The flag first: whom a watch wakes looks at it at once, without the lock.
     Taking a watch out takes the lock, and so waits until all have fired. */
  flag(op, op->watches != NULL ? OP_UNWOUND | OP_OBSERVED : OP_UNWOUND);
  while (op->watches != NULL) {
    watch *w = op->watches;
    op->watches = w->next;
    if (w->next != NULL) w->next->link = &op->watches;
    w->link = NULL;
    if (w->way->after != NULL) {
      w->next = a->calls;
      a->calls = w;
    } else {
      aftermath_add(a, w->way->fire(w));
    }
  }
  port_disown(op);
  op_stir(op);
}

/* With the lock held. True when this is the transition that counts. */
static bool end(saros_op *op, saros_state state, uint32_t code, error *why) {
  if (!pending(op)) return false;
  op_extra *x = why != NULL ? op_extra_make(op) : op_extra_get(op);
  if (x != NULL) {
    x->ended = engine_clock();
    if (why != NULL) x->why = error_ref(why);
  }
  atomic_store_explicit(&op->code, code, memory_order_relaxed);
  move(op, state);
  return true;
}

static saros_state state_of_code(uint32_t code) {
  return code_failed(code) ? SAROS_FAILED : SAROS_SUCCEEDED;
}

/* "Pending" is no outcome, nor is VSS's "cancelled" of what nobody cancelled:
   whoever polls would never see the end, or a wrong one. */
static uint32_t outcome(const saros_op *op, uint32_t code) {
  const facade *f = facade_of(op);
  if (code != f->pending && (code != VSS_S_ASYNC_CANCELLED || f != &facade_vss))
    return code;
  log_write(LOG_ERROR, "op", "%s ended with 0x%08X, which is no outcome",
            op->kind->name, (unsigned)code);
  return f->unexpected;
}

/* Deadline of a step that is being undone. */
static uint64_t unwinding_ns(void) {
#ifdef SAROS_TEST
  unsigned ms = atomic_load(&op_unwinding_ms);
  if (ms != 0) return (uint64_t)ms * 1000000u;
#endif
  return 30000000000u;
}

/* With the lock held. */
static void add_cleanup(op_extra *x, const char *what) {
  if (x->cleanup == NULL) x->cleanup = value_list();
  if (x->cleanup != NULL) value_add(x->cleanup, value_text(what));
}

static void log_cleanup(const saros_op *op, const char *what) {
  log_write(LOG_ERROR, "op", "%s: not undone: %s", op->kind->name, what);
}

void saros_op_cleanup_failed(saros_op *op, const char *what) {
  log_cleanup(op, what);
  op_extra *x = op_extra_make(op);
  if (x == NULL) return;
  op_lock(op);
  add_cleanup(x, what);
  op_unlock(op);
}

static void set_unwinding(saros_op *op, op_extra *x);

/* Whoever waits for the unwinding has waited long enough. */
static void unwinding_over(timer *t) {
  op_extra *x = (op_extra *)((char *)t - offsetof(op_extra, unwinding));
  saros_op *op = x->op;
  aftermath a = {.count = 0};
  buffer b = BUFFER_EMPTY;
  op_lock(op);
  bool left = !pending(op) && !flagged(op, OP_UNWOUND | OP_ENDED);
  if (left && x->unwinding_waits) {
    op_unlock(op);
    set_unwinding(op, x);
    return;
  }
  x->unwinding_armed = false;
  if (left) { /* noted before anybody's wait is over */
    buffer_text(&b, "did not end in time: ");
    buffer_text(&b, x->phase != NULL ? x->phase : op->kind->name);
    add_cleanup(x, b.failed ? op->kind->name : b.data);
    flag(op, OP_ABANDONED);
    unwound(op, &a);
  }
  op_unlock(op);
  if (left) log_cleanup(op, b.failed ? op->kind->name : b.data);
  buffer_free(&b);
  aftermath_do(&a);
  saros_op_unref(op);
}

/* The timer holds a reference while it is set. No lock held; the engine is. */
static void disarm_unwinding(saros_op *op, op_extra *x) {
  if (!timer_cancel(&x->unwinding)) return; /* it fires: it sees to itself */
  op_lock(op);
  x->unwinding_armed = false;
  op_unlock(op);
  saros_op_unref(op);
}

static void set_unwinding(saros_op *op, op_extra *x) {
  timer_set(&x->unwinding, engine_clock() + unwinding_ns());
  /* It may have ended before the timer was there to be cancelled. */
  if (flagged(op, OP_ENDED)) disarm_unwinding(op, x);
}

/* No lock held. The work still runs after a terminal transition. */
static void arm_unwinding(saros_op *op) {
  op_extra *x = op_extra_make(op);
  if (x == NULL) {
    log_write(LOG_ERROR, "op", "%s: no memory for the unwinding's deadline",
              op->kind->name);
    return;
  }
  op_lock(op);
  bool first = !flagged(op, OP_UNWOUND | OP_ENDED) && !x->unwinding_armed &&
               op_hold_engine(op);
  if (first) {
    x->unwinding_armed = true;
    x->unwinding.fire = unwinding_over;
  }
  op_unlock(op);
  if (!first) return;
  saros_op_ref(op);
  set_unwinding(op, x);
  engine_release();
}

static void begin_anew(saros_op *op, op_extra *x) {
  op_lock(op);
  bool armed = !pending(op) && x->unwinding_armed && op_hold_engine(op);
  op_unlock(op);
  if (!armed) return;
  if (timer_cancel(&x->unwinding)) set_unwinding(op, x);
  engine_release();
}

void saros_op_unwinding(saros_op *op, const char *step) {
  if (!ours(op)) return;
  saros_op_phase(op, step);
  op_extra *x = op_extra_get(op);
  if (x != NULL) begin_anew(op, x);
}

void op_unwinding_waits(saros_op *op, bool waits) {
  op_extra *x = ours(op) ? op_extra_get(op) : NULL;
  if (x == NULL) return;
  if (!waits) begin_anew(op, x); /* before: it may be about to fire */
  op_lock(op);
  x->unwinding_waits = waits;
  op_unlock(op);
}

bool op_end_error(saros_op *op, uint32_t code, error *why) {
  if (!ours(op)) {
    error_unref(why);
    return false;
  }
  code = outcome(op, code);
  op_lock(op);
  bool won = end(op, state_of_code(code), code, why);
  op_unlock(op);
  error_unref(why);
  if (won) arm_unwinding(op);
  return won;
}

bool op_finish_error(saros_op *op, uint32_t code, error *why) {
  if (!ours(op)) {
    error_unref(why);
    return false;
  }
  aftermath a = {.count = 0};
  code = outcome(op, code);
  op_lock(op);
  bool won = end(op, state_of_code(code), code, why);
  flag(op, OP_ENDED); /* from here on no deadline is set any more */
  op_extra *x = op_extra_get(op);
  if (x != NULL && x->unwinding_armed) {
    /* It goes before anybody is told that it is over: he may begin anew. */
    op_unlock(op);
    disarm_unwinding(op, x);
    op_lock(op);
  }
  bool working = flagged(op, OP_WORKING);
  unflag(op, OP_WORKING);
  if (!flagged(op, OP_UNWOUND)) unwound(op, &a);
  op_unlock(op);
  error_unref(why);
  aftermath_do(&a);
  if (working) { /* the last thing: the engine may stop now */
    saros_op_unref(op);
    engine_release();
  }
  return won;
}

static error *message_error(saros_op *op, uint32_t code, const char *message) {
  if (message == NULL || !code_failed(code)) return NULL;
  return error_make(op->kind->facade, code, "%s", message);
}

int saros_op_finish(saros_op *op, uint32_t code, const char *message) {
  /* While `run` runs only its return is the end: this decides the outcome. */
  if (op->kind->run != NULL && flagged(op, OP_WORKING))
    return saros_op_end(op, code, message);
  return op_finish_error(op, code, message_error(op, code, message));
}

int saros_op_fail(saros_op *op, uint32_t code, const char *message,
                  saros_value *more) {
  error *e = message_error(op, code, message != NULL ? message : "it failed");
  e = error_with(e, (value *)(void *)more);
  if (op->kind->run != NULL && flagged(op, OP_WORKING))
    return op_end_error(op, code, e);
  return op_finish_error(op, code, e);
}

int saros_op_end(saros_op *op, uint32_t code, const char *message) {
  return op_end_error(op, code, message_error(op, code, message));
}

cancel_result op_try_cancel(saros_op *op) {
  const saros_kind *kind = op->kind;
  if (op_is_forked(op)) return CANCEL_FORKED;
  cancel_result r = CANCEL_DONE;
  op_lock(op);
  if (op_state_now(op) == SAROS_CANCELLED_STATE)
    r = CANCEL_ALREADY;
  else if (!pending(op))
    r = CANCEL_ENDED;
  else if ((kind->flags & SAROS_CANCELLABLE) == 0)
    r = CANCEL_UNSUPPORTED;
  else if (flagged(op, OP_POINT_PASSED))
    r = CANCEL_TOO_LATE;
  else
    end(op, SAROS_CANCELLED_STATE, SAROS_E_CANCELLED, NULL);
  bool working = r == CANCEL_DONE && op_hold_engine(op);
  if (r == CANCEL_DONE) op_stir(op); /* a paused worker */
  op_unlock(op);
  if (r != CANCEL_DONE) return r;
  if (!working || (kind->run != NULL && pool_withdraw(op_trailing(op)))) {
    op_finish_error(op, SAROS_E_CANCELLED, NULL);
  } else {
    saros_op_ref(op); /* the callback may end it */
    if (kind->cancel != NULL) kind->cancel(op, op_self(op));
    if (!flagged(op, OP_ENDED)) arm_unwinding(op);
    saros_op_unref(op);
  }
  if (working) engine_release();
  return r;
}

bool op_reopen(saros_op *op) {
  if ((op->kind->flags & SAROS_REOPENABLE) == 0) return false;
  if (!ours(op)) return false;
  op_lock(op);
  op_extra *x = op_extra_get(op);
  bool can = op_state_now(op) == SAROS_FAILED && flagged(op, OP_ENDED) &&
             flagged(op, OP_UNWOUND) && !flagged(op, OP_WORKING);
  if (can) {
    unflag(op, OP_UNWOUND | OP_ENDED | OP_POINT_PASSED | OP_OBSERVED |
                   OP_ABANDONED);
    if (x != NULL) {
      error_unref(x->why);
      x->why = NULL;
      x->transfer_error = false;
      x->win32 = x->transport = x->retries = 0;
      x->ended = 0;
    }
    atomic_store(&op->code, 0);
    move(op, SAROS_QUEUED);
  }
  op_unlock(op);
  return can;
}
