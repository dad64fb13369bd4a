/*
** A call as an operation. Errors of ours have causes; the engine takes one
** sentence, so it is made of all of them.
*/
#include "repository/call.h"

#include <stddef.h>
#include <string.h>
#include <unistd.h>

#include "repository/repo_parts.h"

/* Weak: the one of the module that is loaded takes its place. Programs that
   test what is below have only this one. */
__attribute__((weak)) const saros_api *saros_api_table;

/* ------------------------------------------------------------------
** Values, as the engine has them
** ---------------------------------------------------------------- */

static saros_value *give(value *v);

/* A list may be very long: what was given of it is freed at once, from its
   end, so it is turned round first. */
static saros_value *give_list(value *v) {
  saros_value *list = saros_value_list();
  value **items = v->as.items;
  for (uint32_t i = 0; i < v->count / 2; i++) {
    value *other = items[v->count - 1 - i];
    items[v->count - 1 - i] = items[i];
    items[i] = other;
  }
  while (list != NULL && v->count > 0) {
    value *item = items[--v->count];
    bool good = saros_value_add(list, give(item));
    value_free(item);
    if (good) continue;
    saros_value_free(list);
    return NULL;
  }
  return list;
}

/* True: it is there, or there is nothing of it. */
static bool give_field(saros_value *map, const value_field *f) {
  const value *v = f->item;
  if (v->type == VALUE_NULL) return true;
  if (v->type == VALUE_INT)
    return saros_value_put_integer(map, f->name, v->as.integer) != 0;
  if (v->type == VALUE_STRING)
    return saros_value_put_bytes(map, f->name, v->as.string.data,
                                 v->as.string.size) != 0;
  return saros_value_put(map, f->name, give(f->item)) != 0;
}

static saros_value *give_map(value *v) {
  saros_value *map = saros_value_map_of(v->count);
  for (uint32_t i = 0; map != NULL && i < v->count; i++) {
    if (give_field(map, &v->as.fields[i])) continue;
    saros_value_free(map);
    return NULL;
  }
  return map;
}

/* What was in its lists is not there any more. */
static saros_value *give(value *v) {
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

static bool call_stopped(const repo_stop *stop) {
  return saros_op_cancelled(((const repo_call *)stop)->op) != 0;
}

/* What it happened to is told, unless the sentence says so itself. */
static void put_one(buffer *b, const error *e) {
  buffer_text(b, e->message);
  if (e->path == NULL || strstr(e->message, e->path) != NULL) return;
  buffer_text(b, " (");
  text_escape(b, e->path, strlen(e->path));
  buffer_text(b, ")");
}

static void put_sentence(buffer *b, const error *e) {
  put_one(b, e);
  for (e = e->cause; e != NULL; e = e->cause) {
    buffer_text(b, ": ");
    put_one(b, e);
  }
}

static uint32_t failed(saros_op *op, error *e) {
  buffer b = BUFFER_EMPTY;
  uint32_t code = e->code;
  put_sentence(&b, e);
  saros_op_finish(op, code, b.failed ? e->message : b.data);
  buffer_free(&b);
  error_unref(e);
  return code;
}

/* What memory is too short for is left out. */
static void tell_details(repo_call *c) {
  for (uint32_t i = 0; c->details != NULL && i < c->details->count; i++) {
    const value_field *f = &c->details->as.fields[i];
    saros_op_detail(c->op, f->name, give(f->item));
  }
}

static uint32_t carry_out(repo_call *c) {
  error *e = c->work->run(c);
  tell_details(c);
  if (e != NULL) return failed(c->op, e);
  if (c->output != NULL && (c->list = give(c->output)) == NULL)
    return SAROS_E_OUTOFMEMORY;
  if (c->list != NULL) saros_op_output(c->op, c->list);
  c->list = NULL;
  return c->partial ? SAROS_S_PARTIAL : SAROS_S_OK;
}

/* An operation that has a name is kept, in case that somebody asks for it; the
   repository and its key shall not be kept with it. */
static void let_go(repo_call *c) {
  value_wipe(c->options);
  repo_streams_free(c->streams, c->stream_count);
  value_free(c->output);
  if (c->list != NULL) saros_value_free(c->list);
  value_free(c->details);
  repo_unref(c->r);
  repo_unref(c->other);
  c->options = c->output = c->details = NULL;
  c->list = NULL;
  c->streams = NULL;
  c->stream_count = 0;
  c->r = c->other = NULL;
}

uint32_t repo_call_run(saros_op *op, void *self) {
  repo_call *c = self;
  c->op = op;
  uint32_t code = carry_out(c);
  let_go(c);
  return code;
}

void repo_call_release(void *self) {
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

void repo_streams_free(repo_stream *streams, size_t count) {
  for (size_t i = 0; i < count; i++) {
    if (streams[i].fd >= 0) close(streams[i].fd);
    if (streams[i].op != NULL) saros_op_unref(streams[i].op);
  }
  mem_free(streams);
}

saros_op *repo_call_begin(repo *r, const repo_work *work, value *options,
                          const char *name, uint32_t *why) {
  return repo_call_begin_with(r, work, options, NULL, 0, name, why);
}

static saros_op *begin(repo *r, repo *other, const repo_work *work,
                       value *options, repo_stream *streams,
                       size_t stream_count, const char *name, uint32_t *why) {
  repo_call *c = mem_zero(sizeof *c);
  if (c == NULL) {
    value_wipe(options);
    repo_streams_free(streams, stream_count);
    *why = SAROS_E_OUTOFMEMORY;
    return NULL;
  }
  c->stop.asked = call_stopped;
  c->work = work;
  c->r = repo_ref(r);
  c->other = other != NULL ? repo_ref(other) : NULL;
  c->options = options;
  c->streams = streams;
  c->stream_count = stream_count;
  saros_op *op = saros_op_new(&work->kind, c, name);
  if (op == NULL) {
    *why = name != NULL && is_pending(name) ? SAROS_E_BUSY_NAME
                                            : SAROS_E_OUTOFMEMORY;
    repo_call_release(c);
    return NULL;
  }
  *why = saros_op_start(op);
  if (*why == 0) return op;
  saros_op_unref(op);
  return NULL;
}

saros_op *repo_call_begin_with(repo *r, const repo_work *work, value *options,
                               repo_stream *streams, size_t stream_count,
                               const char *name, uint32_t *why) {
  return begin(r, NULL, work, options, streams, stream_count, name, why);
}

saros_op *repo_call_begin_both(repo *r, repo *other, const repo_work *work,
                               value *options, const char *name,
                               uint32_t *why) {
  return begin(r, other, work, options, NULL, 0, name, why);
}


/* ------------------------------------------------------------------
** For the work
** ---------------------------------------------------------------- */

static void waits(void *context, const char *why) {
  repo_call *c = context;
  saros_op_phase(c->op, "waiting for a lock");
  saros_op_detail(c->op, "waits_for", saros_value_bytes(why, strlen(why)));
  log_write(LOG_NOTICE, "repository", "%s waits: %s", c->work->kind.name, why);
}

static void cleanup(void *context, const char *what) {
  saros_op_cleanup_failed(((repo_call *)context)->op, what);
}

error *repo_call_hold(repo_call *c, repo_use use, repo_hold **h) {
  return repo_call_hold_of(c, c->r, use, h);
}

error *repo_call_hold_of(repo_call *c, repo *r, repo_use use, repo_hold **h) {
  uint64_t retry_ms = r->retry_ms;
  error *e = repo_read_retry(c->options, &retry_ms);
  if (e != NULL) return e;
  saros_op_phase(c->op, "locking");
  e = repo_hold_take_within(r, use, retry_ms, &c->stop, waits, c, h);
  if (e == NULL) saros_op_phase(c->op, "working");
  return e;
}

error *repo_call_let_go(repo_call *c, repo_hold *h, error *e) {
  return repo_hold_end(h, e, cleanup, c);
}
