/*
** One connection to a writer in another process, and the machine that owns it.
** What the writer is told are operations that this machine ends. Nothing here
** waits: what a writer costs us is bounded by the deadline of each call, and by
** a grace after that, in which it may still say that it is done.
*/
#include <errno.h>
#include <string.h>
#include <sys/socket.h>

#include "vss/wire_client.h"

#define MILLISECOND 1000000ull
#define AGAIN_NS (10 * MILLISECOND) /* its queue of connections is full */

#ifdef SAROS_TEST
extern _Atomic unsigned wire_grace_ms;
_Atomic unsigned wire_grace_ms = 5000;
#else
static const unsigned wire_grace_ms = 5000;
#endif


/* ------------------------------------------------------------------
** Calls
** ---------------------------------------------------------------- */

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
                   link_target(l)->directory, link_target(l)->name, why);
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
                            link_target(l)->directory);
  return error_because(vss_error(VSS_E_WRITER_NOT_RESPONDING, "%s", e->message),
                       e);
}

static error *check_peer(const writer_link *l) {
  uid_t uid;
  pid_t pid;
  int r = wire_peer(l->stream.fd, &uid, &pid);
  if (r != 0) return cannot_connect(l, r);
  if (wire_believes(uid)) return NULL;
  char who[WIRE_WHO];
  return vss_error(SAROS_E_ACCESSDENIED,
                   "%s listens there; that is neither root nor us, and is "
                   "not believed",
                   wire_who(pid, uid, who));
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
  int r = fd < 0 ? errno
                 : wire_connect(link_target(l)->directory, link_target(l)->name,
                                fd);
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
  l->theirs = m->n;
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

/* What it says beyond that; who has told it looks whether it is fit. */
static error *take_said(const call *c, const value *answer) {
  const value *said = value_get(answer, "said");
  if (said == NULL) return NULL;
  value *kept = value_copy(said);
  if (kept == NULL) return error_no_memory();
  op_set_output(c->op, kept);
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
    e = writer_veto(m->body);
  else if (c->event == EVENT_IDENTIFY)
    e = take_metadata(l, c, m->body);
  else
    e = take_said(c, m->body);
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

error *link_has_ended(const writer_link *l) {
  if (l->theirs > WIRE_VERSION)
    return vss_error(VSS_E_WRITER_NOT_RESPONDING,
                     "it hung up, and seems not to speak version %d of the "
                     "protocol any more: its own is %lld. Use a newer saros, "
                     "or an older writer",
                     WIRE_VERSION, (long long)l->theirs);
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
  if (e == NULL && l->stream.ended) e = link_has_ended(l);
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

step_result link_step(machine *m) {
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

const saros_kind link_kind = {.size = sizeof(saros_kind),
                              .name = "vss.writer_link",
                              .facade = SAROS_FACADE_VSS,
                              .flags = SAROS_NO_ESTIMATE,
                              .release = link_release};
