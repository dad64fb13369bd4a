/*
** The requester's end of the wire: a writer in another process, told by lines
** over a socket. A link is one connection and one machine that owns it; what
** it is told are operations that this machine ends. Nothing here waits: what a
** writer costs us is bounded by the deadline of each call, and by a grace
** after that, in which it may still say that it is done.
*/
#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#include "op/fork.h"
#include "vss/wire_parts.h"

#define MILLISECOND 1000000ull
#define AGAIN_NS (10 * MILLISECOND) /* its queue of connections is full */

#ifdef SAROS_TEST
extern _Atomic unsigned wire_grace_ms;
_Atomic unsigned wire_grace_ms = 5000;
#else
static const unsigned wire_grace_ms = 5000;
#endif

/* What a writer of this way is: where its socket is. */
typedef struct target {
  char *directory;
  char name[WIRE_NAME];
} target;

typedef struct call call;

struct call {
  saros_op *op;
  call *next;
  writer_link *link; /* its operation is referenced */
  int64_t n;
  writer_event event;
  uint64_t deadline; /* 0: none */
  uint64_t over;     /* of one that was given up: when its grace ends */
  buffer line;       /* until it is sent */
  bool sent;
};

typedef enum stage { ASLEEP, CONNECTING, GREETING, TALKING, BROKEN } stage;

struct writer_link {
  machine m; /* first */
  writer *w;
  uint16_t generation;
  char session[64];
  _Atomic bool hung_up;
  /* Of the engine thread: */
  stage stage;
  wire_stream stream;
  machine_clock clock;
  call *calls;
  int64_t last;  /* number given */
  unsigned idle; /* lines that said nothing new */
  uint64_t again;
  error *broken; /* why there is no connection any more */
};

static const target *target_of(const writer_link *l) {
  return l->w->self;
}


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

/* Out of the list, then over: whoever is told may tell something new. */
static void end_call(writer_link *l, call *c, error *e) {
  call **at = &l->calls;
  while (*at != c) at = &(*at)->next;
  *at = c->next;
  op_finish_error(c->op, e != NULL ? e->code : SAROS_S_OK, e);
}

/* The connection is of no use any more; what was asked over it has failed. */
static void break_off(writer_link *l, error *e) {
  wire_shut(&l->stream);
  l->stage = BROKEN;
  error_unref(l->broken);
  l->broken = e;
  while (l->calls != NULL) end_call(l, l->calls, error_ref(e));
}

/* What the other end did wrong, with the writer's name before it. */
static void break_because(writer_link *l, error *cause) {
  error *e = cause;
  if (cause->code != SAROS_E_OUTOFMEMORY)
    e = error_because(
        vss_error(cause->code, "writer %s: %s", l->w->id, cause->message),
        cause);
  log_write(LOG_WARNING, "vss", "%s", e->message);
  break_off(l, e);
}

static error *no_answer(const writer_link *l, const call *c) {
  const char *why = l->stage == TALKING    ? "has not answered to it in time"
                    : l->stage == GREETING ? "is connected, but says nothing"
                                           : "does not take the connection";
  return vss_error(VSS_E_WRITER_NOT_RESPONDING,
                   "%s: writer %s (%s/%s) %s. It was given up; look whether "
                   "its process hangs",
                   writer_event_name(c->event), l->w->id,
                   target_of(l)->directory, target_of(l)->name, why);
}

/* Nobody waits for what it says any more, but for that it is done: until then
   a handler of it may run. An identify leaves nothing behind. */
static void give_up(writer_link *l, call *c, uint64_t now) {
  value *v = value_map();
  buffer line = BUFFER_EMPTY;
  bool good = value_put(v, "cancel", value_int(c->n)) &&
              wire_format(&line, v) && wire_put(&l->stream, &line);
  value_free(v);
  buffer_free(&line);
  bool waits = good && c->event != EVENT_IDENTIFY;
  c->over = waits ? now + wire_grace_ms * MILLISECOND : now;
}

/* Cancelled ones and late ones. */
static void look_after(writer_link *l) {
  uint64_t now = engine_clock();
  for (call *c = l->calls, *next; c != NULL; c = next) {
    next = c->next;
    if (c->deadline != 0 && now >= c->deadline && !saros_op_cancelled(c->op)) {
      error *e = no_answer(l, c);
      op_end_error(c->op, e->code, e);
    }
    if (!saros_op_cancelled(c->op)) continue;
    if (!c->sent) {
      end_call(l, c, NULL); /* nothing of it was ever begun */
      continue;
    }
    if (c->over == 0) give_up(l, c, now);
    if (now < c->over) continue;
    break_because(l, no_answer(l, c));
    return; /* no call is left */
  }
}


/* ------------------------------------------------------------------
** Connecting
** ---------------------------------------------------------------- */

static error *cannot_connect(const writer_link *l, int number) {
  bool gone = number == ECONNREFUSED || number == ENOENT;
  error *e = error_of_errno(SAROS_FACADE_VSS, number,
                            gone ? "its process is gone" : "no connection",
                            target_of(l)->directory);
  return error_because(vss_error(VSS_E_WRITER_NOT_RESPONDING, "%s", e->message),
                       e);
}

static error *check_peer(const writer_link *l) {
  uid_t uid;
  pid_t pid;
  int r = wire_peer(l->stream.fd, &uid, &pid);
  if (r != 0) return cannot_connect(l, r);
  if (wire_believes(uid)) return NULL;
  return vss_error(SAROS_E_ACCESSDENIED,
                   "process %ld of user %lu listens there, which is neither "
                   "root nor us: it is not believed",
                   (long)pid, (unsigned long)uid);
}

static bool put_hello(writer_link *l) {
  buffer line = BUFFER_EMPTY;
  value *v = wire_hello("requester");
  bool good = value_put(v, "session", value_text(l->session)) &&
              wire_format(&line, v) && wire_put(&l->stream, &line);
  value_free(v);
  buffer_free(&line);
  return good;
}

static void try_connect(writer_link *l) {
  uint64_t now = engine_clock();
  if (now < l->again) return;
  int fd = fd_socket(AF_UNIX, SOCK_STREAM);
  int r = fd < 0
              ? errno
              : wire_connect(target_of(l)->directory, target_of(l)->name, fd);
  wire_open(&l->stream, fd);
  if (r == EAGAIN) {
    wire_shut(&l->stream);
    l->again = now + AGAIN_NS;
    return;
  }
  error *e = r != 0 ? cannot_connect(l, r) : check_peer(l);
  if (e == NULL && !put_hello(l)) e = error_no_memory();
  if (e != NULL)
    break_because(l, e);
  else
    l->stage = GREETING;
}


/* ------------------------------------------------------------------
** Listening
** ---------------------------------------------------------------- */

static error *lie(const char *what) {
  return vss_error(VSS_E_UNEXPECTED_WRITER_ERROR, "%s", what);
}

static bool is_guid(const value *v, const char *expected) {
  const char *text = value_chars(v, NULL);
  guid a, b;
  return text != NULL && guid_parse(text, &a) && guid_parse(expected, &b) &&
         guid_equal(&a, &b);
}

static error *greet(writer_link *l, const wire_message *m) {
  const char *role = value_chars(value_get(m->body, "saros"), "");
  if (l->stage != GREETING || m->kind != WIRE_HELLO ||
      strcmp(role, "writer") != 0)
    return lie(
        "it broke the protocol: its first line, and no other, must be "
        "the hello of a writer (see PROTOCOL.md)");
  if (!is_guid(value_get(m->body, "id"), l->w->id))
    return lie("it says that it is another writer than its socket is called");
  l->stage = TALKING;
  return NULL;
}

static call *call_of(writer_link *l, int64_t n) {
  call *c = l->calls;
  while (c != NULL && (c->n != n || !c->sent)) c = c->next;
  return c;
}

/* What it says of itself, when it is fit to be believed. */
static error *take_metadata(const writer_link *l, const call *c,
                            const value *answer) {
  error *e = NULL;
  value *m = writer_metadata(value_get(answer, "metadata"), l->w->id, &e);
  if (m == NULL && e->code == SAROS_E_OUTOFMEMORY) return e;
  if (m == NULL)
    return error_because(vss_error(VSS_E_UNEXPECTED_WRITER_ERROR,
                                   "writer %s: %s", l->w->id, e->message),
                         e);
  op_set_output(c->op, m);
  return NULL;
}

static void hear_answer(writer_link *l, const wire_message *m) {
  call *c = call_of(l, m->n);
  if (c == NULL) { /* nobody asked, or it said so already, or too late */
    l->idle++;
    return;
  }
  error *e = NULL;
  if (!value_boolean(value_get(m->body, "ok"), false))
    e = wire_veto(m->body);
  else if (c->event == EVENT_IDENTIFY)
    e = take_metadata(l, c, m->body);
  end_call(l, c, e);
}

static void hear_busy(writer_link *l, const wire_message *m) {
  call *c = call_of(l, m->n);
  const value *what = value_get(m->body, "busy");
  l->idle++;
  if (c == NULL || what->type != VALUE_STRING || what->as.string.size > 80 ||
      saros_op_cancelled(c->op))
    return;
  buffer b = BUFFER_EMPTY;
  text_escape(&b, what->as.string.data, what->as.string.size);
  if (!b.failed && b.size > 0) saros_op_phase(c->op, b.data);
  buffer_free(&b);
}

static error *hear(writer_link *l, const char *line, size_t size) {
  wire_message m;
  error *e = wire_parse(line, size, &m);
  if (e != NULL) return e;
  if (l->stage != TALKING || m.kind == WIRE_HELLO)
    e = greet(l, &m);
  else if (m.kind == WIRE_ANSWER)
    hear_answer(l, &m);
  else if (m.kind == WIRE_BUSY)
    hear_busy(l, &m);
  else
    l->idle++;
  value_free(m.body);
  if (e == NULL && l->idle > WIRE_IDLE_MOST)
    e = lie("it keeps talking without having been asked");
  return e;
}

static error *hung_up_on_us(const writer_link *l) {
  return vss_error(VSS_E_WRITER_NOT_RESPONDING,
                   "it hung up%s: its process has ended, or closed the "
                   "connection",
                   l->calls != NULL ? " before it had answered" : "");
}

static bool send_calls(writer_link *l) {
  for (call *c = l->calls; l->stage == TALKING && c != NULL; c = c->next) {
    if (c->sent) continue;
    if (!wire_put(&l->stream, &c->line)) return false;
    buffer_free(&c->line);
    c->sent = true;
  }
  return true;
}

/* One turn: NULL, or why the connection must be broken off. */
static error *converse(writer_link *l) {
  error *e = wire_turn(&l->stream);
  const char *line;
  size_t size;
  while (e == NULL && wire_line(&l->stream, &line, &size, &e))
    e = hear(l, line, size);
  if (e == NULL && l->stream.ended) e = hung_up_on_us(l);
  if (e == NULL && !send_calls(l)) e = error_no_memory();
  return e;
}


/* ------------------------------------------------------------------
** The machine
** ---------------------------------------------------------------- */

static uint64_t least(uint64_t a, uint64_t b) {
  return a < b ? a : b;
}

static void set_clock(writer_link *l) {
  uint64_t when = l->stage == CONNECTING ? l->again : UINT64_MAX;
  for (call *c = l->calls; c != NULL; c = c->next) {
    if (c->over != 0)
      when = least(when, c->over);
    else if (c->deadline != 0)
      when = least(when, c->deadline);
  }
  machine_clock_set(&l->clock, &l->m, when);
}

static step_result close_link(writer_link *l) {
  break_off(l, vss_error(SAROS_E_CLOSED, "the session hung up on writer %s",
                         l->w->id));
  machine_clock_set(&l->clock, &l->m, UINT64_MAX);
  machine_finish(&l->m, SAROS_S_OK, NULL);
  return STEP_END;
}

static step_result step(machine *m) {
  writer_link *l = (writer_link *)m;
  if (atomic_load(&l->hung_up)) return close_link(l);
  look_after(l);
  if (l->stage == CONNECTING && l->calls != NULL) try_connect(l);
  if (l->stage == GREETING || l->stage == TALKING) {
    error *e = converse(l);
    if (e == NULL && l->stream.sent < l->stream.out.size)
      e = wire_push(&l->stream); /* what has just been put there */
    int r = e == NULL ? wire_arm(&l->stream, m) : 0;
    if (r != 0) e = cannot_connect(l, r);
    if (e != NULL) break_because(l, e);
  }
  set_clock(l);
  return STEP_WAIT;
}

static void link_release(void *self) {
  writer_link *l = self;
  if (l->generation != fork_generation) l->stream.fd = -1; /* closed already */
  l->stream.s.added = false;
  wire_shut(&l->stream);
  writer_unref(l->w);
  error_unref(l->broken);
  mem_free(l);
}

static const saros_kind link_kind = {.size = sizeof(saros_kind),
                                     .name = "vss.writer_link",
                                     .facade = SAROS_FACADE_VSS,
                                     .flags = SAROS_NO_ESTIMATE,
                                     .release = link_release};


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
  l->m.step = step;
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
  error *why = hung_up_on_us(l);
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
