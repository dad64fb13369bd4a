/*
** A call as an operation. Errors of ours have causes; the engine takes one
** sentence, so it is made of all of them.
*/
#include "vds/call.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "vds/busy.h"
#include "vds/object.h"

/* Weak: the one of the module that is loaded takes its place. Programs that
   test what is below have only this one. */
__attribute__((weak)) const saros_api *saros_api_table;


/* ------------------------------------------------------------------
** Values, as the engine has them
** ---------------------------------------------------------------- */

static saros_value *give(const value *v);


static saros_value *give_list(const value *v) {
  saros_value *list = saros_value_list();
  for (uint32_t i = 0; list != NULL && i < v->count; i++) {
    if (saros_value_add(list, give(v->as.items[i]))) continue;
    saros_value_free(list);
    return NULL;
  }
  return list;
}


static saros_value *give_map(const value *v) {
  saros_value *map = saros_value_map();
  for (uint32_t i = 0; map != NULL && i < v->count; i++) {
    const value_field *f = &v->as.fields[i];
    if (f->item->type == VALUE_NULL) continue;
    if (saros_value_put(map, f->name, give(f->item))) continue;
    saros_value_free(map);
    return NULL;
  }
  return map;
}


static saros_value *give(const value *v) {
  switch (v->type) {
    case VALUE_BOOL: return saros_value_boolean(v->as.boolean);
    case VALUE_INT: return saros_value_integer(v->as.integer);
    case VALUE_REAL: return saros_value_real(v->as.real);
    case VALUE_STRING:
      return saros_value_bytes(v->as.string.data, v->as.string.size);
    case VALUE_LIST: return give_list(v);
    case VALUE_MAP: return give_map(v);
    default: return saros_value_boolean(0);
  }
}


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


/* A list is what was asked for, as it is; a map says what kind it is of. */
static bool finish_output(vds_call *c) {
  if (c->output == NULL) c->output = value_map();
  if (c->output == NULL) return false;
  if (c->output->type != VALUE_MAP) return true;
  if (!value_put(c->output, "type", value_text(c->work->name))) return false;
  return c->work->type == VDS_UNKNOWN ||
         value_put(c->output, "vds_type", value_int(c->work->type));
}


/* What happens to be said of a disk that was pulled out (no such node, no room,
   damaged) is not the reason. */
static error *perhaps_gone(const vds_call *c, error *e) {
  vds_identity who;
  error *gone = NULL;
  if (e == NULL || e->code == VDS_E_OPERATION_CANCELED ||
      e->code == VDS_E_OBJECT_DELETED ||
      !vds_identity_get(value_get(c->options, "object"), &who))
    return e;
  mem_free(vds_about_new(who.whole, &gone));
  if (gone == NULL || gone->code != VDS_E_OBJECT_NOT_FOUND) {
    error_unref(gone);
    return e;
  }
  error_unref(gone);
  gone = vds_error(VDS_E_OBJECT_DELETED, "the disk %u:%u has gone meanwhile",
                   major(who.whole), minor(who.whole));
  return error_because(gone, e);
}


static uint32_t carry_out(vds_call *c) {
  error *e = c->refused;
  c->refused = NULL;
  if (e == NULL) e = perhaps_gone(c, c->work->run(c));
  if (e == NULL && !c->given) vds_give_output(c, &e);
  if (e == NULL) return c->code;
  if (c->ended.size > 0) saros_op_cleanup_failed(c->op, c->ended.data);
  return failed(c->op, e);
}


/* An operation that has a name is kept, in case that somebody asks for it; its
   claim shall not be kept with it. */
static void let_go(vds_call *c) {
  vds_busy_give(c->claim);
  value_wipe(c->options);
  value_free(c->output);
  buffer_free(&c->ended);
  error_unref(c->refused);
  c->claim = NULL;
  c->options = c->output = NULL;
  c->refused = NULL;
}


uint32_t vds_call_run(saros_op *op, void *self) {
  vds_call *c = self;
  c->op = op;
  c->from = 0;
  c->to = 1000;
  uint32_t code = carry_out(c);
  let_go(c);
  return code;
}


void vds_call_release(void *self) {
  let_go(self);
  mem_free(self);
}


static bool is_pending(const char *name) {
  saros_op *other = saros_get(name);
  if (other == NULL) return false;
  bool pending = !saros_state_is_terminal(saros_op_state(other));
  saros_op_unref(other);
  return pending;
}


saros_op *vds_call_begin(const vds_work *work, value *options, const char *name,
                         uint32_t *why) {
  vds_call *c = mem_zero(sizeof *c);
  if (options == NULL) options = value_map();
  *why = SAROS_E_OUTOFMEMORY;
  if (c == NULL || options == NULL) {
    value_wipe(options);
    mem_free(c);
    return NULL;
  }
  c->work = work;
  c->options = options;
  saros_op *op = saros_op_new(&work->kind, c, name);
  if (op == NULL) {
    if (name != NULL && is_pending(name)) *why = SAROS_E_BUSY_NAME;
    vds_call_release(c);
    return NULL;
  }
  c->claim = vds_busy_take(c, op, &c->refused);
  *why = saros_op_start(op);
  if (*why == 0) return op;
  saros_op_unref(op);
  return NULL;
}


/* ------------------------------------------------------------------
** For the work
** ---------------------------------------------------------------- */

bool vds_stopped(vds_call *c, error **e) {
  if (c->committed || !saros_op_cancelled(c->op)) return false;
  *e = vds_error(VDS_E_OPERATION_CANCELED, "it was cancelled");
  return true;
}


bool vds_commit(vds_call *c, error **e) {
  if (c->committed) return true;
  c->committed = saros_op_point_of_no_return(c->op) != 0;
  if (!c->committed)
    *e = vds_error(VDS_E_OPERATION_CANCELED, "it was cancelled");
  return c->committed;
}


bool vds_give_output(vds_call *c, error **e) {
  saros_value *v = finish_output(c) ? give(c->output) : NULL;
  c->given = v != NULL;
  if (c->given)
    saros_op_output(c->op, v);
  else
    *e = error_no_memory();
  return c->given;
}


void vds_phase(vds_call *c, const char *name, unsigned from, unsigned to) {
  c->from = from;
  c->to = to;
  saros_op_phase(c->op, name);
  if (from > 0) saros_op_progress(c->op, from, 1000);
}


void vds_progress(vds_call *c, uint64_t done, uint64_t total) {
  if (total == 0) return;
  if (c->from == 0 && c->to == 1000) { /* its own units are worth more */
    saros_op_progress(c->op, done, total);
    return;
  }
  double part = done < total ? (double)done / (double)total : 1.0;
  uint64_t at = c->from + (uint64_t)(part * (double)(c->to - c->from));
  saros_op_progress(c->op, at, 1000);
}


void vds_undoing(vds_call *c, const char *step) {
  saros_op_unwinding(c->op, step);
}


void vds_left(vds_call *c, const char *format, ...) {
  char text[600];
  va_list args;
  va_start(args, format);
  vsnprintf(text, sizeof text, format, args);
  va_end(args);
  saros_op_cleanup_failed(c->op, text);
}


void vds_detail(vds_call *c, const char *name, value *item) {
  if (item == NULL) return;
  saros_value *v = give(item);
  if (v != NULL) saros_op_detail(c->op, name, v);
  value_free(item);
}


int64_t vds_integer(const vds_call *c, const char *name, int64_t fallback) {
  return value_integer(value_get(c->options, name), fallback);
}


bool vds_flag(const vds_call *c, const char *name) {
  return value_boolean(value_get(c->options, name), false);
}


const char *vds_text(const vds_call *c, const char *name) {
  return value_chars(value_get(c->options, name), NULL);
}


value *vds_with(value *map, const char *name, value *item) {
  if (map == NULL) {
    value_free(item);
    return NULL;
  }
  if (value_put(map, name, item)) return map;
  value_free(map);
  return NULL;
}


/* To Lua bytes go as they are; a record has them as text, too (record.c). */
value *vds_with_path(value *map, const char *name, const char *path) {
  return vds_with(map, name, value_text(path));
}
