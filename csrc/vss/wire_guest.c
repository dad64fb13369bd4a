/*
** One requester that is connected to a writer of ours. Its lines become calls
** of a link of its own; what they come to is its answer. A requester that
** dies, or does not thaw in time, must not leave the writer frozen: then it is
** told to abort.
*/
#include <string.h>

#include "op/fork.h"
#include "vss/wire_guest.h"

#define SECOND 1000000000ull
#define HELLO_NS (15 * SECOND)
#define PREPARED_NS (660 * SECOND) /* from prepare_snapshot on to freeze */
#define WINDOW_SECONDS 60.0
#define CALL_SECONDS 600.0
#define CALL_SECONDS_MOST 3600.0

enum { UNREAD_MOST = 524288 /* bytes of answers that nobody takes */ };


/* ------------------------------------------------------------------
** Listening
** ---------------------------------------------------------------- */

static error *broken(const char *what) {
  return vss_error(VSS_E_UNEXPECTED_WRITER_ERROR, "%s", what);
}

/* NULL, or why it may not be told this now. */
static error *objection(const wire_guest *g, writer_event event) {
  const wire_guest *holder = g->server->holder;
  bool elsewhere = holder != NULL && holder != g;
  if ((event == EVENT_PREPARE_SNAPSHOT || event == EVENT_FREEZE) && elsewhere)
    return vss_error(VSS_E_WRITERERROR_RETRYABLE,
                     "writer %s is in a shadow copy of another session, %s: "
                     "try again when that is done",
                     guest_writer(g)->id, holder->session);
  if (event == EVENT_THAW && g->hold == EXPIRED)
    return vss_error(VSS_E_WRITERERROR_TIMEOUT,
                     "writer %s was held for too long, and let go by itself",
                     guest_writer(g)->id);
  if (event == EVENT_THAW && g->hold != FROZEN)
    return vss_error(VSS_E_BAD_STATE, "writer %s is not frozen by this session",
                     guest_writer(g)->id);
  if (g->aborted.op != NULL || (g->asked.op != NULL && event != EVENT_ABORT))
    return vss_error(VSS_E_BAD_STATE,
                     "writer %s is not done with what it was told before",
                     guest_writer(g)->id);
  return NULL;
}

static void begin_hold(wire_guest *g, writer_event event) {
  uint64_t now = engine_clock();
  if (event == EVENT_PREPARE_BACKUP) g->begun = true;
  if (event == EVENT_PREPARE_SNAPSHOT) {
    g->hold = PREPARED;
    g->window_end = now + PREPARED_NS;
  } else if (event == EVENT_FREEZE) {
    g->hold = FROZEN;
    g->window_end = now + (uint64_t)(g->server->window * 1e9);
  } else {
    return;
  }
  g->server->holder = g;
}

static uint64_t time_for(const value *details) {
  double s = guest_number(value_get(details, "deadline"), CALL_SECONDS);
  if (!(s >= 0)) s = 0;
  return (uint64_t)((s < CALL_SECONDS_MOST ? s : CALL_SECONDS_MOST) * 1e9);
}

/* False without memory for an answer. */
static bool hear_event(wire_guest *g, const wire_message *m) {
  writer_event event =
      writer_event_of(value_chars(value_get(m->body, "event"), NULL));
  if (event == EVENTS)
    return guest_refuse(
        g, m->n, vss_error(VSS_E_NOT_SUPPORTED, "no event of that name"));
  const wire_guest *holder = g->server->holder;
  if (event == EVENT_ABORT && holder != NULL && holder != g)
    return guest_consent(g, m->n, NULL, NULL); /* what is held is another's */
  if (event == EVENT_ABORT && g->aborted.op != NULL && g->aborted.n == 0) {
    g->aborted.n = m->n; /* it is being told: that will be the answer */
    return true;
  }
  error *e = objection(g, event);
  if (e != NULL) return guest_refuse(g, m->n, e);
  if (event == EVENT_ABORT && g->asked.op != NULL) op_try_cancel(g->asked.op);
  told *t = event == EVENT_ABORT ? &g->aborted : &g->asked;
  begin_hold(g, event);
  e = guest_tell(g, t, m->n, event, m->body, time_for(m->body));
  if (e == NULL) return true;
  guest_note(g, &(told){.n = m->n, .event = event}, false);
  return guest_refuse(g, m->n, e);
}

static error *greet(wire_guest *g, const wire_message *m) {
  const char *role = value_chars(value_get(m->body, "saros"), "");
  if (g->greeted || m->kind != WIRE_HELLO || strcmp(role, "requester") != 0)
    return broken("the first line, and no other, must be a requester's hello");
  const char *session = value_chars(value_get(m->body, "session"), "");
  guid s;
  if (guid_parse(session, &s)) guid_format(&s, g->session);
  g->greeted = true;
  return NULL;
}

static void hear_cancel(wire_guest *g, int64_t n) {
  if (g->asked.op != NULL && g->asked.n == n) op_try_cancel(g->asked.op);
  if (g->aborted.op != NULL && g->aborted.n == n) op_try_cancel(g->aborted.op);
}

static error *hear(wire_guest *g, const char *line, size_t size) {
  wire_message m;
  error *e = wire_parse(line, size, &m);
  if (e != NULL) return e;
  if (!g->greeted || m.kind == WIRE_HELLO)
    e = greet(g, &m);
  else if (m.kind == WIRE_CANCEL)
    hear_cancel(g, m.n);
  else if (m.kind == WIRE_EVENT && !hear_event(g, &m))
    e = error_no_memory();
  value_free(m.body);
  if (e == NULL && g->stream.out.size - g->stream.sent > UNREAD_MOST)
    e = broken("it does not read what it is answered");
  return e;
}

static error *converse(wire_guest *g) {
  error *e = wire_turn(&g->stream);
  const char *line;
  size_t size;
  while (e == NULL && wire_line(&g->stream, &line, &size, &e))
    e = hear(g, line, size);
  return e;
}


/* ------------------------------------------------------------------
** The machine
** ---------------------------------------------------------------- */

/* Takes over `why`; NULL: it went by itself. */
static void leave(wire_guest *g, error *why) {
  if (why != NULL)
    log_write(LOG_WARNING, "vss", "writer %s: a session is sent away: %s",
              guest_writer(g)->id, why->message);
  error_unref(why);
  wire_shut(&g->stream);
  g->leaving = true;
  g->hello_end = 0;
  if (g->asked.op != NULL) op_try_cancel(g->asked.op);
  /* What another session holds must not be told to let go. */
  bool elsewhere = g->server->holder != NULL && g->server->holder != g;
  if (g->hold == PREPARED || g->hold == FROZEN || (g->begun && !elsewhere))
    guest_abort(g, "its requester hung up in the middle");
}

static void look_at_time(wire_guest *g) {
  uint64_t now = engine_clock();
  told *const both[] = {&g->asked, &g->aborted};
  for (int i = 0; i < 2; i++) {
    told *t = both[i];
    if (t->op == NULL || t->late || now < t->deadline) continue;
    t->late = true;
    op_try_cancel(t->op);
  }
  if (g->window_end != 0 && now >= g->window_end) {
    g->hold = EXPIRED;
    guest_abort(g, "it was held for longer than it allows");
  }
}

static uint64_t least(uint64_t a, uint64_t b) {
  return b != 0 && b < a ? b : a;
}

static void set_clock(wire_guest *g) {
  uint64_t when = least(UINT64_MAX, g->window_end);
  when = least(when, g->hello_end);
  if (g->asked.op != NULL && !g->asked.late)
    when = least(when, g->asked.deadline);
  if (g->aborted.op != NULL && !g->aborted.late)
    when = least(when, g->aborted.deadline);
  machine_clock_set(&g->clock, &g->m, when);
}

static step_result finish(wire_guest *g) {
  wire_server *s = g->server;
  machine_clock_set(&g->clock, &g->m, UINT64_MAX);
  guest_let_hold_go(g);
  *g->link = g->next;
  if (g->next != NULL) g->next->link = g->link;
  s->guest_count--;
  if (g->writer != NULL) guest_writer(g)->way->hang_up(g->writer);
  g->writer = NULL;
  machine_finish(&g->m, SAROS_S_OK, NULL);
  return STEP_END;
}

static error *serve(wire_guest *g) {
  error *e = NULL;
  if (!g->greeted && engine_clock() >= g->hello_end)
    e = broken("it has not said hello in time");
  if (e == NULL) e = converse(g);
  if (g->greeted) g->hello_end = 0;
  if (e != NULL || g->stream.ended) return e;
  e = wire_push(&g->stream);
  int r = e == NULL ? wire_arm(&g->stream, &g->m) : 0;
  if (r != 0)
    e = error_of_errno(SAROS_FACADE_VSS, r, "its socket failed", NULL);
  return e;
}

static bool is_over(const told *t) {
  return t->op != NULL && atomic_load(&t->over);
}

static step_result step(machine *m) {
  wire_guest *g = (wire_guest *)m;
  bool good = guest_settle(g, &g->asked);
  good = guest_settle(g, &g->aborted) && good;
  look_at_time(g);
  if (!g->leaving) {
    error *e = good ? serve(g) : error_no_memory();
    if (e != NULL || g->stream.ended || g->ending) leave(g, e);
  }
  if (is_over(&g->asked) || is_over(&g->aborted)) return STEP_AGAIN;
  if (g->leaving && g->asked.op == NULL && g->aborted.op == NULL)
    return finish(g);
  set_clock(g);
  return STEP_WAIT;
}

static void release(void *self) {
  wire_guest *g = self;
  if (g->generation != fork_generation) g->stream.fd = -1; /* closed already */
  g->stream.s.added = false;
  wire_shut(&g->stream);
  saros_op_unref(g->server->m.op);
  mem_free(g);
}

static const saros_kind kind = {.size = sizeof(saros_kind),
                                .name = "vss.writer_guest",
                                .facade = SAROS_FACADE_VSS,
                                .flags = SAROS_NO_ESTIMATE,
                                .release = release};


/* ------------------------------------------------------------------
** Beginning and end
** ---------------------------------------------------------------- */

static bool put_hello(wire_guest *g) {
  const writer *w = guest_writer(g);
  value *v = wire_hello("writer");
  bool good = value_put(v, "id", value_text(w->id)) &&
              value_put(v, "instance", value_text(w->instance)) &&
              value_put(v, "name", value_text(w->name)) && guest_put_line(g, v);
  value_free(v);
  return good;
}

static void join(wire_guest *g) {
  wire_server *s = g->server;
  g->next = s->guests;
  if (g->next != NULL) g->next->link = &g->next;
  g->link = &s->guests;
  s->guests = g;
  s->guest_count++;
}

bool wire_guest_begin(wire_server *server, int fd) {
  wire_guest *g = mem_zero(sizeof *g);
  if (g == NULL) return false;
  g->m.step = step;
  g->generation = fork_generation;
  g->server = server;
  g->hello_end = engine_clock() + HELLO_NS;
  wire_open(&g->stream, -1);
  saros_op *op = op_create(&kind, g, 0, NULL, NULL);
  if (op == NULL) {
    mem_free(g);
    return false;
  }
  g->m.op = op;
  saros_op_ref(server->m.op);
  if (!put_hello(g) || op_begin(op, SAROS_RUNNING) != 0) {
    saros_op_unref(op);
    return false;
  }
  g->stream.fd = fd;
  if (server->window <= 0) server->window = WINDOW_SECONDS;
  join(g);
  machine_wake(&g->m);
  saros_op_unref(op); /* the work has its own */
  return true;
}

void wire_guests_end(wire_server *server) {
  for (wire_guest *g = server->guests; g != NULL; g = g->next) {
    g->ending = true;
    machine_wake(&g->m);
  }
}
