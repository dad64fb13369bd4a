/*
** One requester that is connected to a writer of ours. Its lines become calls
** of a link of its own; what they come to is its answer. A requester that
** dies, or does not thaw in time, must not leave the writer frozen: then it is
** told to abort.
*/
#include <string.h>

#include "op/fork.h"
#include "op/watch.h"
#include "vss/wire_parts.h"

#define SECOND 1000000000ull
#define HELLO_NS (15 * SECOND)
#define PREPARED_NS (660 * SECOND) /* from prepare_snapshot on to freeze */
#define ABORT_NS (60 * SECOND)
#define WINDOW_SECONDS 60.0
#define CALL_SECONDS 600.0
#define CALL_SECONDS_MOST 3600.0

enum { UNREAD_MOST = 524288 /* bytes of answers that nobody takes */ };

/* Something the writer was told. */
typedef struct told {
  watch w; /* first */
  wire_guest *g;
  saros_op *op; /* NULL: nothing now */
  int64_t n;    /* 0: nobody asked for it, nobody is answered */
  writer_event event;
  uint64_t deadline;
  _Atomic bool over;
  bool late;
} told;

typedef enum hold_state {
  NOT_HELD,
  PREPARED, /* from here on an abort is due if it does not come to an end */
  FROZEN,
  EXPIRED /* the window ran out, it was told to abort */
} hold_state;

struct wire_guest {
  machine m;           /* first */
  wire_server *server; /* its operation is referenced */
  wire_guest *next, **link;
  uint16_t generation;
  char session[64];
  bool greeted, leaving, ending;
  bool begun; /* a backup that is neither complete nor aborted */
  hold_state hold;
  uint64_t hello_end, window_end; /* 0: none */
  wire_stream stream;
  machine_clock clock;
  writer_link *writer;
  told asked, aborted;
};

static writer *writer_of(const wire_guest *g) {
  return g->server->w;
}


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

static error *tell(wire_guest *g, told *t, int64_t n, writer_event event,
                   const value *details, uint64_t ns) {
  error *e = NULL;
  const writer_way *way = writer_of(g)->way;
  if (g->writer == NULL) {
    g->writer = way->connect(writer_of(g), g->session, &e);
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

static void let_hold_go(wire_guest *g) {
  if (g->server->holder == g) g->server->holder = NULL;
  g->window_end = 0;
}

/* Nobody asked for it: its requester cannot, or does not. */
static void abort_writer(wire_guest *g, const char *why) {
  log_write(LOG_WARNING, "vss", "writer %s: %s: it is told to abort",
            writer_of(g)->id, why);
  g->window_end = 0;
  if (g->asked.op != NULL) op_try_cancel(g->asked.op);
  if (g->aborted.op != NULL) return; /* it is being told already */
  value *details = value_map();
  value_put(details, "event", value_text(writer_event_name(EVENT_ABORT)));
  value_put(details, "session", value_text(g->session));
  value_put(details, "reason", value_text(why));
  error *e = tell(g, &g->aborted, 0, EVENT_ABORT, details, ABORT_NS);
  value_free(details);
  if (e == NULL) return;
  log_write(LOG_ERROR, "vss", "writer %s could not be told to abort: %s",
            writer_of(g)->id, e->message);
  error_unref(e);
  let_hold_go(g);
}


/* ------------------------------------------------------------------
** Answering
** ---------------------------------------------------------------- */

static bool put_line(wire_guest *g, const value *v) {
  buffer line = BUFFER_EMPTY;
  bool good = wire_format(&line, v) && wire_put(&g->stream, &line);
  buffer_free(&line);
  return good;
}

/* Takes over `e`. False without memory: then the connection must go, because
   an answer that is missing would be waited for. */
static bool refuse(wire_guest *g, int64_t n, error *e) {
  value *v = wire_refusal(n, e);
  bool good = put_line(g, v);
  value_free(v);
  error_unref(e);
  return good;
}

static bool consent(wire_guest *g, int64_t n, const value *metadata) {
  value *v = wire_consent(n, metadata);
  bool good = put_line(g, v);
  value_free(v);
  return good;
}

static double number(const value *v, double fallback) {
  if (v == NULL) return fallback;
  if (v->type == VALUE_INT) return (double)v->as.integer;
  return v->type == VALUE_REAL ? v->as.real : fallback;
}

/* What the writer says of itself goes out only when it is right. */
static bool answer_identity(wire_guest *g, const told *t) {
  error *e = NULL;
  value *m = writer_metadata(op_output(t->op), writer_of(g)->id, &e);
  if (m == NULL) return refuse(g, t->n, e);
  g->server->window = number(value_get(m, "freeze_timeout"), g->server->window);
  if (value_get(m, "instance") == NULL)
    value_put(m, "instance", value_text(writer_of(g)->instance));
  bool good = consent(g, t->n, m);
  value_free(m);
  return good;
}

static error *why_failed(const wire_guest *g, const told *t) {
  if (t->late)
    return vss_error(VSS_E_WRITERERROR_TIMEOUT,
                     "%s: writer %s was not done in time",
                     writer_event_name(t->event), writer_of(g)->id);
  error *e = op_error(t->op);
  if (e != NULL) return e;
  return vss_error(VSS_E_UNEXPECTED_WRITER_ERROR, "%s: writer %s failed",
                   writer_event_name(t->event), writer_of(g)->id);
}

static bool answer(wire_guest *g, const told *t, bool good) {
  if (!good) return refuse(g, t->n, why_failed(g, t));
  if (t->event == EVENT_IDENTIFY) return answer_identity(g, t);
  return consent(g, t->n, NULL);
}

/* What is held now, knowing how it went. */
static void note(wire_guest *g, const told *t, bool good) {
  switch (t->event) {
    case EVENT_BACKUP_COMPLETE:
    case EVENT_BACKUP_SHUTDOWN: g->begun = !good && g->begun; break;
    case EVENT_PREPARE_SNAPSHOT:
      if (!good && g->hold == PREPARED) {
        g->hold = NOT_HELD;
        let_hold_go(g);
      }
      break;
    case EVENT_THAW:
      if (good && g->hold == FROZEN) {
        g->hold = NOT_HELD;
        let_hold_go(g);
      }
      break;
    case EVENT_ABORT:
      g->begun = false;
      /* Of an expired one a thaw that comes too late is still told why. */
      if (t->n != 0 || g->hold != EXPIRED) g->hold = NOT_HELD;
      let_hold_go(g);
      break;
    default: break;
  }
}

static bool settle(wire_guest *g, told *t) {
  if (t->op == NULL || !atomic_load(&t->over)) return true;
  bool good = saros_op_state(t->op) == SAROS_SUCCEEDED;
  note(g, t, good);
  bool told_them = g->leaving || t->n == 0 || answer(g, t, good);
  saros_op_unref(t->op);
  t->op = NULL;
  return told_them;
}


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
                     writer_of(g)->id, holder->session);
  if (event == EVENT_THAW && g->hold == EXPIRED)
    return vss_error(VSS_E_WRITERERROR_TIMEOUT,
                     "writer %s was held for too long, and let go by itself",
                     writer_of(g)->id);
  if (event == EVENT_THAW && g->hold != FROZEN)
    return vss_error(VSS_E_BAD_STATE, "writer %s is not frozen by this session",
                     writer_of(g)->id);
  if (g->aborted.op != NULL || (g->asked.op != NULL && event != EVENT_ABORT))
    return vss_error(VSS_E_BAD_STATE,
                     "writer %s is not done with what it was told before",
                     writer_of(g)->id);
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
  double s = number(value_get(details, "deadline"), CALL_SECONDS);
  if (!(s >= 0)) s = 0;
  return (uint64_t)((s < CALL_SECONDS_MOST ? s : CALL_SECONDS_MOST) * 1e9);
}

/* False without memory for an answer. */
static bool hear_event(wire_guest *g, const wire_message *m) {
  writer_event event =
      writer_event_of(value_chars(value_get(m->body, "event"), NULL));
  if (event == EVENTS)
    return refuse(g, m->n,
                  vss_error(VSS_E_NOT_SUPPORTED, "no event of that name"));
  const wire_guest *holder = g->server->holder;
  if (event == EVENT_ABORT && holder != NULL && holder != g)
    return consent(g, m->n, NULL); /* what is held is another's */
  if (event == EVENT_ABORT && g->aborted.op != NULL && g->aborted.n == 0) {
    g->aborted.n = m->n; /* it is being told: that will be the answer */
    return true;
  }
  error *e = objection(g, event);
  if (e != NULL) return refuse(g, m->n, e);
  if (event == EVENT_ABORT && g->asked.op != NULL) op_try_cancel(g->asked.op);
  told *t = event == EVENT_ABORT ? &g->aborted : &g->asked;
  begin_hold(g, event);
  e = tell(g, t, m->n, event, m->body, time_for(m->body));
  if (e == NULL) return true;
  note(g, &(told){.n = m->n, .event = event}, false);
  return refuse(g, m->n, e);
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
              writer_of(g)->id, why->message);
  error_unref(why);
  wire_shut(&g->stream);
  g->leaving = true;
  g->hello_end = 0;
  if (g->asked.op != NULL) op_try_cancel(g->asked.op);
  /* What another session holds must not be told to let go. */
  bool elsewhere = g->server->holder != NULL && g->server->holder != g;
  if (g->hold == PREPARED || g->hold == FROZEN || (g->begun && !elsewhere))
    abort_writer(g, "its requester hung up in the middle");
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
    abort_writer(g, "it was held for longer than it allows");
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
  let_hold_go(g);
  *g->link = g->next;
  if (g->next != NULL) g->next->link = g->link;
  s->guest_count--;
  if (g->writer != NULL) writer_of(g)->way->hang_up(g->writer);
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
  bool good = settle(g, &g->asked);
  good = settle(g, &g->aborted) && good;
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
  const writer *w = writer_of(g);
  value *v = wire_hello("writer");
  bool good = value_put(v, "id", value_text(w->id)) &&
              value_put(v, "instance", value_text(w->instance)) &&
              value_put(v, "name", value_text(w->name)) && put_line(g, v);
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
