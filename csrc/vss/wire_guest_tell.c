/*
** How a writer of ours is told what a requester says, over a link of the
** requester's own, and how the requester is answered.
*/
#include "vss/telling.h"
#include "vss/wire_guest.h"

#define SECOND 1000000000ull
#define ABORT_NS (60 * SECOND)


/* ------------------------------------------------------------------
** Telling the writer
** ---------------------------------------------------------------- */

/* On any thread. Its reference keeps the guest until it has been woken. */
static void told_over(watch *w) {
  told *t = (told *)w;
  machine *m = &t->g->m;
  saros_op *op = m->op;
  atomic_store(&t->over, true);
  machine_wake(m);
  saros_op_unref(op);
}

static const watch_way told_way = {.after = told_over};

error *guest_tell(wire_guest *g, told *t, int64_t n, writer_event event,
                  const value *details, uint64_t ns) {
  error *e = NULL;
  const writer_way *way = guest_writer(g)->way;
  if (g->writer == NULL) {
    g->writer = way->connect(guest_writer(g), g->session, &e);
    if (g->writer == NULL) return e;
  }
  writer_call call = {
      .event = event, .details = details, .deadline = engine_clock() + ns};
  saros_op *op = way->tell(g->writer, &call, &e);
  if (op == NULL) return e;
  *t = (told){.w = {.way = &told_way, .op = op},
              .g = g,
              .op = op,
              .n = n,
              .event = event,
              .deadline = call.deadline};
  saros_op_ref(g->m.op);
  if (!watch_add(&t->w, op)) {
    atomic_store(&t->over, true);
    saros_op_unref(g->m.op);
  }
  return NULL;
}

void guest_let_hold_go(wire_guest *g) {
  if (g->server->holder == g) g->server->holder = NULL;
  g->window_end = 0;
}

void guest_abort(wire_guest *g, const char *why) {
  log_write(LOG_WARNING, "vss", "writer %s: %s: it is told to abort",
            guest_writer(g)->id, why);
  g->window_end = 0;
  if (g->asked.op != NULL) op_try_cancel(g->asked.op);
  if (g->aborted.op != NULL) return; /* it is being told already */
  value *details = value_map();
  value_put(details, "event", value_text(writer_event_name(EVENT_ABORT)));
  value_put(details, "session", value_text(g->session));
  value_put(details, "reason", value_text(why));
  error *e = guest_tell(g, &g->aborted, 0, EVENT_ABORT, details, ABORT_NS);
  value_free(details);
  if (e == NULL) return;
  log_write(LOG_ERROR, "vss", "writer %s could not be told to abort: %s",
            guest_writer(g)->id, e->message);
  error_unref(e);
  guest_let_hold_go(g);
}


/* ------------------------------------------------------------------
** Answering
** ---------------------------------------------------------------- */

bool guest_put_line(wire_guest *g, const value *v) {
  buffer line = BUFFER_EMPTY;
  bool good = wire_format(&line, v) && wire_put(&g->stream, &line);
  buffer_free(&line);
  return good;
}

bool guest_refuse(wire_guest *g, int64_t n, error *e) {
  value *v = wire_refusal(n, e);
  bool good = guest_put_line(g, v);
  value_free(v);
  error_unref(e);
  return good;
}

bool guest_consent(wire_guest *g, int64_t n, const char *what,
                   const value *more) {
  value *v = wire_consent(n, what, more);
  bool good = guest_put_line(g, v);
  value_free(v);
  return good;
}

double guest_number(const value *v, double fallback) {
  if (v == NULL) return fallback;
  if (v->type == VALUE_INT) return (double)v->as.integer;
  return v->type == VALUE_REAL ? v->as.real : fallback;
}

/* What the writer says of itself goes out only when it is right. */
static bool answer_identity(wire_guest *g, const told *t) {
  error *e = NULL;
  value *m = writer_metadata(op_output(t->op), guest_writer(g)->id, &e);
  if (m == NULL) return guest_refuse(g, t->n, e);
  g->server->window =
      guest_number(value_get(m, "freeze_timeout"), g->server->window);
  if (value_get(m, "instance") == NULL)
    value_put(m, "instance", value_text(guest_writer(g)->instance));
  bool good = guest_consent(g, t->n, "metadata", m);
  value_free(m);
  return good;
}

static error *why_failed(const wire_guest *g, const told *t) {
  if (t->late)
    return vss_error(VSS_E_WRITERERROR_TIMEOUT,
                     "%s: writer %s was not done in time",
                     writer_event_name(t->event), guest_writer(g)->id);
  error *e = op_error(t->op);
  if (e != NULL) return e;
  return vss_error(VSS_E_UNEXPECTED_WRITER_ERROR, "%s: writer %s failed",
                   writer_event_name(t->event), guest_writer(g)->id);
}

static bool answer(wire_guest *g, const told *t, bool good) {
  if (!good) return guest_refuse(g, t->n, why_failed(g, t));
  if (t->event == EVENT_IDENTIFY) return answer_identity(g, t);
  const value *said = op_output(t->op);
  error *e = said_check(said);
  if (e != NULL) return guest_refuse(g, t->n, e);
  return guest_consent(g, t->n, "said", said);
}

void guest_note(wire_guest *g, const told *t, bool good) {
  switch (t->event) {
    case EVENT_BACKUP_COMPLETE:
    case EVENT_BACKUP_SHUTDOWN: g->begun = !good && g->begun; break;
    case EVENT_PREPARE_SNAPSHOT:
      if (!good && g->hold == PREPARED) {
        g->hold = NOT_HELD;
        guest_let_hold_go(g);
      }
      break;
    case EVENT_THAW:
      if (good && g->hold == FROZEN) {
        g->hold = NOT_HELD;
        guest_let_hold_go(g);
      }
      break;
    case EVENT_ABORT:
      g->begun = false;
      /* Of an expired one a thaw that comes too late is still told why. */
      if (t->n != 0 || g->hold != EXPIRED) g->hold = NOT_HELD;
      guest_let_hold_go(g);
      break;
    default: break;
  }
}

bool guest_settle(wire_guest *g, told *t) {
  if (t->op == NULL || !atomic_load(&t->over)) return true;
  bool good = saros_op_state(t->op) == SAROS_SUCCEEDED;
  guest_note(g, t, good);
  bool told_them = g->leaving || t->n == 0 || answer(g, t, good);
  saros_op_unref(t->op);
  t->op = NULL;
  return told_them;
}
