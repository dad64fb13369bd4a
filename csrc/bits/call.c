/*
** A call as an operation. Errors of ours have causes; the engine takes one
** sentence, so it is made of all of them.
*/
#include "bits/call.h"

#include <string.h>

#include "base/traces.h"
#include "bits/parts.h"

/* ------------------------------------------------------------------
** The operation
** ---------------------------------------------------------------- */

/* What it happened to is told, unless the sentence says so itself. */
static void put_one(buffer *b, const error *e) {
  buffer_text(b, e->message);
  if (e->path == NULL || strstr(e->message, e->path) != NULL) return;
  buffer_text(b, " (");
  text_escape(b, e->path, strlen(e->path));
  buffer_text(b, ")");
}

static uint32_t failed(saros_op *op, error *e) {
  buffer b = BUFFER_EMPTY;
  uint32_t code = e->code;
  put_one(&b, e);
  for (const error *c = e->cause; c != NULL; c = c->cause) {
    buffer_text(&b, ": ");
    put_one(&b, c);
  }
  saros_op_finish(op, code, b.failed ? e->message : b.data);
  buffer_free(&b);
  error_unref(e);
  return code;
}

static saros_value *give(const value *v) {
  switch (v->type) {
    case VALUE_INT: return saros_value_integer(v->as.integer);
    case VALUE_STRING:
      return saros_value_bytes(v->as.string.data, v->as.string.size);
    default: return saros_value_boolean(value_boolean(v, false));
  }
}

static uint32_t carry_out(bits_call *c) {
  error *e = c->work->run(c);
  if (e != NULL) return failed(c->op, e);
  if (c->output == NULL) return SAROS_S_OK;
  saros_value *v = give(c->output);
  if (v == NULL) return SAROS_E_OUTOFMEMORY;
  saros_op_output(c->op, v);
  return SAROS_S_OK;
}

static void let_go(bits_call *c) {
  value_wipe(c->options);
  value_free(c->output);
  if (c->j != NULL) bits_job_unref(c->j);
  if (c->m != NULL) bits_manager_unref(c->m);
  c->options = c->output = NULL;
  c->j = NULL;
  c->m = NULL;
}

uint32_t bits_call_run(saros_op *op, void *self) {
  bits_call *c = self;
  c->op = op;
  bool secret = c->options != NULL;
  uint32_t code = carry_out(c);
  let_go(c);
  if (secret) traces_wipe_few();
  return code;
}

/* Who has waited for it may have been cancelled meanwhile: nobody has it then,
   and its threads would go on. */
void bits_call_release(void *self) {
  bits_call *c = self;
  bits_manager *m = atomic_exchange(&c->opened, NULL);
  saros_op *op = m != NULL ? bits_call_close(m) : NULL;
  if (op != NULL) saros_op_unref(op);
  let_go(c);
  mem_free(c);
}


/* ------------------------------------------------------------------
** Its beginning
** ---------------------------------------------------------------- */

saros_op *bits_call_begin(bits_manager *m, bits_job *j, const bits_work *work,
                          value *options, uint32_t *why) {
  bits_call *c = mem_zero(sizeof *c);
  *why = SAROS_E_OUTOFMEMORY;
  if (c == NULL) {
    value_wipe(options);
    return NULL;
  }
  atomic_init(&c->opened, NULL);
  c->work = work;
  c->m = m != NULL ? bits_manager_ref(m) : NULL;
  c->j = j != NULL ? bits_job_ref(j) : NULL;
  c->options = options;
  saros_op *op = saros_op_new(&work->kind, c, NULL);
  if (op == NULL) {
    bits_call_release(c);
    return NULL;
  }
  *why = saros_op_start(op);
  if (*why == 0) return op;
  saros_op_unref(op);
  return NULL;
}

bits_manager *bits_call_opened(saros_op *op) {
  const bits_work *open = bits_work_find("open");
  if (strcmp(saros_op_kind(op), open->kind.name) != 0 ||
      saros_op_state(op) != SAROS_SUCCEEDED)
    return NULL;
  bits_call *c = saros_op_self(op);
  return atomic_exchange(&c->opened, NULL);
}

saros_op *bits_call_close(bits_manager *m) {
  uint32_t why;
  saros_op *op = NULL;
  if (!bits_manager_is_inherited(m))
    op = bits_call_begin(m, NULL, bits_work_find("close"), NULL, &why);
  bits_manager_unref(m);
  return op;
}
