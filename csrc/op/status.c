/*
** Looking at an operation: what a person, a script or a log is told.
*/
#include "op/engine.h"
#include "op/op.h"

const char *op_state_name(saros_state state) {
  static const char *const names[] = {"created", "queued",   "running",
                                      "paused",  "retrying", "succeeded",
                                      "failed",  "cancelled"};
  return names[state];
}

saros_state saros_op_state(saros_op *op) {
  return op_is_forked(op) ? SAROS_FAILED : op_state_now(op);
}

uint32_t saros_op_code(saros_op *op) {
  if (op_is_forked(op)) return SAROS_E_FORKED;
  if (!saros_state_is_terminal(op_state_now(op))) return SAROS_S_PENDING;
  return atomic_load_explicit(&op->code, memory_order_relaxed);
}

const char *saros_op_kind(saros_op *op) {
  return op->kind->name;
}

void *saros_op_self(saros_op *op) {
  return op_self(op);
}

void op_observe(saros_op *op) {
  if ((op_flags_now(op) & OP_OBSERVED) == 0)
    atomic_fetch_or_explicit(&op->flags, OP_OBSERVED, memory_order_relaxed);
}

const value *op_output(saros_op *op) {
  op_extra *x = op_extra_get(op);
  return op_state_now(op) == SAROS_SUCCEEDED && x != NULL ? x->output : NULL;
}

static const char *text_of(const saros_op *op, uint32_t code) {
  const code_entry *known = code_find(op->kind->facade, code);
  if (known == NULL) known = code_find(SAROS_FACADE_SAROS, code);
  return known != NULL && known->text != NULL ? known->text : NULL;
}

error *op_error(saros_op *op) {
  saros_facade facade = op->kind->facade;
  if (op_is_forked(op))
    return error_make(facade, SAROS_E_FORKED,
                      "%s was begun before the fork and belongs to the parent "
                      "process; start it again here",
                      op->kind->name);
  saros_state state = op_state_now(op);
  uint32_t code = saros_op_code(op);
  if (state == SAROS_CANCELLED_STATE)
    return error_make(facade, code, "%s was cancelled", op->kind->name);
  if (state != SAROS_FAILED) return NULL;
  op_extra *x = op_extra_get(op);
  error *why = NULL;
  op_lock(op); /* a reopened one may lose it meanwhile */
  if (x != NULL && x->why != NULL) why = error_ref(x->why);
  op_unlock(op);
  if (why != NULL) return why;
  char number[11];
  const char *text = text_of(op, code);
  return error_make(facade, code, "%s failed: %s", op->kind->name,
                    text != NULL ? text : code_name(facade, code, number));
}

/* With the lock held. */
static void put_extra(value *map, op_extra *x, bool unwinding) {
  if (x->name != NULL) value_put(map, "label", value_text(x->name));
  if (unwinding)
    value_put(map, "phase", value_text("unwinding"));
  else if (x->phase != NULL)
    value_put(map, "phase", value_text(x->phase));
  if (unwinding && x->phase != NULL)
    value_put(map, "step", value_text(x->phase));
  if (x->done != 0 || x->total != 0)
    value_put(map, "done", value_int((int64_t)x->done));
  if (x->total != 0) value_put(map, "total", value_int((int64_t)x->total));
  if (x->retries != 0) value_put(map, "retries", value_int(x->retries));
  if (x->cleanup != NULL) value_put(map, "cleanup", value_copy(x->cleanup));
  const value *more = x->details;
  for (uint32_t i = 0; more != NULL && i < more->count; i++) {
    const value_field *f = &more->as.fields[i];
    value_put_bytes(map, f->name, f->size, value_copy(f->item));
  }
}

value *op_status(saros_op *op) {
  value *map = value_map();
  if (map == NULL) return NULL;
  uint32_t percent = 0, code;
  saros_state state;
  do { /* both of one instant */
    state = saros_op_state(op);
    code = saros_op_query(op, &percent);
  } while (saros_op_state(op) != state);
  bool terminal = saros_state_is_terminal(state);
  /* What VDS answers is 100 for a failed one too; a person wants to see how
     far it came. */
  percent = state == SAROS_SUCCEEDED ? 100 : atomic_load(&op->percent);
  error *why = op_error(op);
  char number[11];
  value_put(map, "kind", value_text(op->kind->name));
  value_put(map, "state",
            value_text(op_is_forked(op) ? "forked" : op_state_name(state)));
  value_put(map, "code", value_int(code));
  value_put(map, "name", value_text(code_name(op->kind->facade, code, number)));
  if (why != NULL)
    value_put(map, "message", value_text(why->message));
  else if (text_of(op, code) != NULL)
    value_put(map, "message", value_text(text_of(op, code)));
  error_unref(why);
  value_put(map, "percent", value_int(percent));
  op_extra *x = op_extra_get(op);
  uint64_t until = engine_clock();
  bool unwinding = terminal && !op_is_over(op);
  op_lock(op);
  if (x != NULL && op_is_forked(op)) { /* the rest may be torn */
    if (x->name != NULL) value_put(map, "label", value_text(x->name));
  } else if (x != NULL) {
    if (x->ended != 0) until = x->ended;
    put_extra(map, x, unwinding);
  }
  op_unlock(op);
  if (unwinding && x == NULL) value_put(map, "phase", value_text("unwinding"));
  double elapsed = (double)(until - op->begun) / 1e9;
  bool whole = value_put(map, "elapsed", value_real(elapsed)) &&
               value_get(map, "state") != NULL &&
               value_get(map, "code") != NULL;
  if (whole) return map;
  value_free(map); /* no answer is better than half of one */
  return NULL;
}

void op_describe(saros_op *op, buffer *b) {
  saros_state state = saros_op_state(op);
  op_extra *x = op_extra_get(op);
  char number[11];
  buffer_text(b, op->kind->name);
  if (op_is_forked(op)) {
    buffer_text(b, ": the parent process's");
    return;
  }
  if (!saros_state_is_terminal(state)) {
    buffer_text(b, ": pending");
    uint32_t percent = atomic_load(&op->percent);
    if (percent > 0) buffer_format(b, " %u%%", (unsigned)percent);
  } else {
    buffer_format(b, ": %s", op_state_name(state));
    if (state == SAROS_FAILED)
      buffer_format(b, " %s",
                    code_name(op->kind->facade, saros_op_code(op), number));
  }
  op_lock(op);
  const char *phase = x != NULL ? x->phase : NULL;
  if (state == SAROS_PAUSED || state == SAROS_RETRY_WAIT)
    buffer_format(b, " (%s)", op_state_name(state));
  else if (saros_state_is_terminal(state) && !op_is_over(op))
    buffer_text(b, " (unwinding)");
  else if (phase != NULL && !saros_state_is_terminal(state))
    buffer_format(b, " (%s)", phase);
  op_unlock(op);
}
