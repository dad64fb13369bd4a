/*
** The requester's end of the wire: a writer in another process, told by lines
** over a socket. A link is one connection (wire_link.c); what it is told are
** operations that the link's machine ends.
*/
#include <poll.h>
#include <string.h>

#include "vss/wire_client.h"


/* ------------------------------------------------------------------
** Calls
** ---------------------------------------------------------------- */

static void call_cancel(saros_op *op, void *self) {
  (void)op;
  machine_wake(&((call *)self)->link->m);
}

static void call_release(void *self) {
  call *c = self;
  saros_op_unref(c->link->m.op);
  buffer_free(&c->line);
  mem_free(c);
}

static const saros_kind call_kind = {
    .size = sizeof(saros_kind),
    .name = "vss.writer",
    .facade = SAROS_FACADE_VSS,
    .flags = SAROS_CANCELLABLE | SAROS_NO_ESTIMATE,
    .cancel = call_cancel,
    .release = call_release};


/* ------------------------------------------------------------------
** The way
** ---------------------------------------------------------------- */

static error *not_begun(uint32_t code) {
  if (code == SAROS_E_OUTOFMEMORY) return error_no_memory();
  return vss_error(code, "no engine to talk to a writer with");
}

static writer_link *way_connect(writer *w, const char *session, error **e) {
  writer_link *l = mem_zero(sizeof *l);
  if (l == NULL) {
    *e = error_no_memory();
    return NULL;
  }
  l->m.step = link_step;
  l->generation = fork_generation;
  wire_open(&l->stream, -1);
  strncpy(l->session, session != NULL ? session : "", sizeof l->session - 1);
  uint32_t why;
  saros_op *op = op_create(&link_kind, l, 0, NULL, &why);
  if (op == NULL) {
    mem_free(l);
    *e = not_begun(why);
    return NULL;
  }
  l->w = writer_ref(w);
  l->m.op = op;
  why = op_begin(op, SAROS_RUNNING);
  if (why == 0) return l;
  saros_op_unref(op);
  *e = not_begun(why);
  return NULL;
}

static error *prepare(call *c, const writer_call *given) {
  value *v = wire_event(c->n, given);
  bool good = wire_format(&c->line, v);
  bool memory = v == NULL || c->line.failed;
  value_free(v);
  if (good) return NULL;
  if (memory) return error_no_memory();
  return vss_error(SAROS_E_INVALIDARG,
                   "%s: what writer %s is to be told is longer than 128 KiB; "
                   "name fewer volumes and components",
                   writer_event_name(c->event), c->link->w->id);
}

static void append(writer_link *l, call *c) {
  call **at = &l->calls;
  while (*at != NULL) at = &(*at)->next;
  *at = c;
}

/* Once broken it stays so, because what it held is not held any more; only a
   new beginning connects anew. */
static error *check_link(writer_link *l, writer_event event) {
  if (l->generation != fork_generation)
    return vss_error(SAROS_E_FORKED,
                     "this connection to a writer was made before a fork");
  if (l->stage == ASLEEP || (l->stage == BROKEN && event == EVENT_IDENTIFY)) {
    l->stage = CONNECTING;
    l->again = 0;
    l->idle = 0;
  }
  return l->stage == BROKEN ? error_ref(l->broken) : NULL;
}

static saros_op *way_tell(writer_link *l, const writer_call *given, error **e) {
  *e = check_link(l, given->event);
  if (*e != NULL) return NULL;
  call *c = mem_zero(sizeof *c);
  if (c == NULL) {
    *e = error_no_memory();
    return NULL;
  }
  c->link = l;
  saros_op_ref(l->m.op);
  c->n = ++l->last;
  c->event = given->event;
  c->deadline = given->deadline;
  uint32_t why;
  *e = prepare(c, given);
  saros_op *op = NULL;
  if (*e == NULL) {
    op = op_create(&call_kind, c, 0, NULL, &why);
    if (op == NULL) *e = not_begun(why);
  }
  if (op == NULL) {
    call_release(c);
    return NULL;
  }
  c->op = op;
  /* What its end has to say has a place now, or never. */
  op_phase_literal(op, "asking");
  why = op_extra_get(op) != NULL ? op_begin(op, SAROS_RUNNING)
                                 : SAROS_E_OUTOFMEMORY;
  if (why != 0) {
    saros_op_unref(op);
    *e = not_begun(why);
    return NULL;
  }
  append(l, c);
  machine_wake(&l->m);
  return op;
}

static void way_hang_up(writer_link *l) {
  saros_op *op = l->m.op;
  if (l->generation == fork_generation) {
    atomic_store(&l->hung_up, true);
    machine_wake(&l->m);
  } else if (!l->m.ended) {
    saros_op_unref(op); /* the work's own, which nobody does here */
  }
  saros_op_unref(op);
}

/* Its end may have come, and have not been heard of yet. */
static bool is_ended(const writer_link *l) {
  struct pollfd p = {.fd = l->stream.fd, .events = POLLRDHUP};
  return l->stream.fd >= 0 && poll(&p, 1, 0) > 0 &&
         (p.revents & (POLLRDHUP | POLLHUP | POLLERR)) != 0;
}

static error *way_alive(writer_link *l) {
  if (l->stage == BROKEN) return error_ref(l->broken);
  if (!is_ended(l)) return NULL;
  error *why = link_has_ended(l);
  return error_because(
      vss_error(why->code, "writer %s: %s", l->w->id, why->message), why);
}

static void way_release(writer *w) {
  target *t = w->self;
  mem_free(t->directory);
  mem_free(t);
}

static const writer_way way = {.name = "socket",
                               .connect = way_connect,
                               .tell = way_tell,
                               .hang_up = way_hang_up,
                               .release = way_release,
                               .alive = way_alive,
                               .asked = true};

writer *wire_writer(const char *directory, const char *name, const char *id,
                    const char *instance, error **e) {
  target *t = mem_zero(sizeof *t);
  if (t != NULL) t->directory = mem_text(directory);
  if (t == NULL || t->directory == NULL) {
    mem_free(t);
    *e = error_no_memory();
    return NULL;
  }
  strncpy(t->name, name, sizeof t->name - 1);
  writer *w = writer_make(&way, id, instance, NULL, t, e);
  if (w != NULL) return w;
  mem_free(t->directory);
  mem_free(t);
  return NULL;
}
