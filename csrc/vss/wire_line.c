/*
** The wire: bytes to lines, lines to messages, and back. What comes in is a
** stranger's, so every length is bounded here.
*/
#include <errno.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include "base/format.h"
#include "op/fork.h"
#include "vss/wire_parts.h"


/* ------------------------------------------------------------------
** Messages
** ---------------------------------------------------------------- */

static error *broken(const char *what) {
  return vss_error(VSS_E_UNEXPECTED_WRITER_ERROR,
                   "it broke the protocol: %s (see PROTOCOL.md)", what);
}

static bool is_number(const value *v) {
  return v != NULL && v->type == VALUE_INT && v->as.integer > 0;
}

static bool is_text(const value *v) {
  return v != NULL && v->type == VALUE_STRING;
}

/* Which kind it is; false when it is half of one. */
static bool judge(wire_message *m) {
  const value *v = m->body, *n = value_get(v, "n");
  const value *which = n;
  bool good = true;
  if (value_get(v, "saros") != NULL) {
    m->kind = WIRE_HELLO;
    which = value_get(v, "version");
    good = is_text(value_get(v, "saros"));
  } else if (value_get(v, "cancel") != NULL) {
    m->kind = WIRE_CANCEL;
    which = value_get(v, "cancel");
  } else if (value_get(v, "event") != NULL) {
    m->kind = WIRE_EVENT;
    good = is_text(value_get(v, "event"));
  } else if (value_get(v, "ok") != NULL) {
    m->kind = WIRE_ANSWER;
    good = value_get(v, "ok")->type == VALUE_BOOL;
  } else if (value_get(v, "busy") != NULL) {
    m->kind = WIRE_BUSY;
  } else {
    m->kind = WIRE_OTHER;
    return true;
  }
  if (!good || !is_number(which)) return false;
  m->n = which->as.integer;
  return true;
}

error *wire_parse(const char *line, size_t size, wire_message *m) {
  const json_limits limits = {.depth = WIRE_DEPTH_MOST,
                              .size = WIRE_LINE_MOST,
                              .values = WIRE_VALUES_MOST};
  error *e = NULL;
  *m = (wire_message){WIRE_OTHER, 0, NULL};
  m->body = json_read(line, size, &limits, &e);
  if (m->body == NULL) {
    if (e->code == SAROS_E_OUTOFMEMORY) return e;
    return error_because(broken("a line is not JSON, or too deep"), e);
  }
  if (m->body->type != VALUE_MAP)
    e = broken("a line is no JSON object");
  else if (!judge(m))
    e = broken("a field of a message has the wrong type, or is missing");
  if (e == NULL) return NULL;
  value_free(m->body);
  m->body = NULL;
  return e;
}

bool wire_format(buffer *line, const value *v) {
  if (v == NULL) return false;
  json_write(line, v, JSON_COMPACT);
  buffer_byte(line, '\n');
  return !line->failed && line->size <= WIRE_LINE_MOST;
}

value *wire_hello(const char *role) {
  value *v = value_map();
  bool good = value_put(v, "saros", value_text(role));
  good = format_stamp(v, WIRE_VERSION) && good;
  if (good) return v;
  value_free(v);
  return NULL;
}

/* With what is left of its time, because that is what counts there. */
value *wire_event(int64_t n, const writer_call *call) {
  const char *name = writer_event_name(call->event);
  value *v = call->details != NULL ? value_copy(call->details) : value_map();
  bool good = value_put(v, "n", value_int(n));
  good = value_put(v, "event", value_text(name)) && good;
  if (call->deadline != 0) {
    uint64_t now = engine_clock();
    uint64_t left = call->deadline > now ? call->deadline - now : 0;
    good = value_put(v, "deadline", value_real((double)left / 1e9)) && good;
  }
  if (good) return v;
  value_free(v);
  return NULL;
}

value *wire_consent(int64_t n, const char *what, const value *more) {
  value *v = value_map();
  bool good = value_put(v, "n", value_int(n));
  good = value_put(v, "ok", value_bool(true)) && good;
  if (more != NULL) good = value_put(v, what, value_copy(more)) && good;
  if (good) return v;
  value_free(v);
  return NULL;
}

value *wire_refusal(int64_t n, const error *e) {
  value *v = value_map();
  bool good = value_put(v, "n", value_int(n));
  good = value_put(v, "ok", value_bool(false)) && good;
  good = value_put(v, "code", value_int(e->code)) && good;
  good = value_put(v, "message", value_text(e->message)) && good;
  good = value_put(v, "retryable", value_bool(e->retryable)) && good;
  if (good) return v;
  value_free(v);
  return NULL;
}


/* ------------------------------------------------------------------
** The stream
** ---------------------------------------------------------------- */

static char scratch[65536]; /* of the engine thread */

void wire_open(wire_stream *s, int fd) {
  *s = (wire_stream){.fd = fd};
}

void wire_shut(wire_stream *s) {
  source_drop(&s->s);
  s->armed = false;
  fd_close(&s->fd);
  buffer_free(&s->in);
  buffer_free(&s->out);
  s->start = s->scanned = s->sent = 0;
}

bool wire_put(wire_stream *s, const buffer *line) {
  if (s->sent > 0 && s->sent == s->out.size) {
    buffer_clear(&s->out);
    s->sent = 0;
  }
  buffer_put(&s->out, line->data, line->size);
  return !s->out.failed;
}

static bool has_gone(int number) {
  return number == EPIPE || number == ECONNRESET || number == ENOTCONN;
}

static error *failed(int number) {
  return error_of_errno(SAROS_FACADE_VSS, number, "its socket failed", NULL);
}

/* Who does not listen any more may still have answered: no error here. */
error *wire_push(wire_stream *s) {
  while (s->sent < s->out.size) {
    ssize_t n = send(s->fd, s->out.data + s->sent, s->out.size - s->sent,
                     MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return NULL;
    if (n < 0 && !has_gone(errno)) return failed(errno);
    s->sent = n < 0 ? s->out.size : s->sent + (size_t)n;
  }
  buffer_free(&s->out);
  s->sent = 0;
  return NULL;
}

/* What was taken makes room first. */
static error *keep(wire_stream *s, size_t count) {
  if (s->start > 0) {
    s->in.size -= s->start;
    memmove(s->in.data, s->in.data + s->start, s->in.size);
    s->start = 0;
  }
  buffer_put(&s->in, scratch, count);
  return s->in.failed ? error_no_memory() : NULL;
}

static error *pull(wire_stream *s) {
  if (s->ended) return NULL;
  ssize_t n;
  do n = recv(s->fd, scratch, sizeof scratch, MSG_DONTWAIT);
  while (n < 0 && errno == EINTR);
  if (n > 0) return keep(s, (size_t)n);
  if (n < 0 && errno == EAGAIN) return NULL;
  if (n < 0 && !has_gone(errno)) return failed(errno);
  s->ended = true;
  return NULL;
}

error *wire_turn(wire_stream *s) {
  bool quiet = s->armed && s->s.ready == 0;
  if (!quiet) {
    s->armed = false;
    s->s.ready = 0;
  }
  error *e = wire_push(s);
  if (e == NULL && !quiet) e = pull(s);
  return e;
}

/* Nothing is kept for a connection that is idle. */
static void rest(wire_stream *s) {
  buffer_free(&s->in);
  s->start = s->scanned = 0;
}

bool wire_line(wire_stream *s, const char **line, size_t *size, error **e) {
  *e = NULL;
  if (s->in.size == s->start) {
    rest(s);
    return false;
  }
  size_t have = s->in.size - s->start;
  const char *from = s->in.data + s->start;
  const char *newline = memchr(from + s->scanned, '\n', have - s->scanned);
  size_t used = newline != NULL ? (size_t)(newline - from) + 1 : have;
  s->scanned = newline != NULL ? 0 : have;
  if (used > WIRE_LINE_MOST) {
    *e = broken("a line is longer than 128 KiB");
    return false;
  }
  if (newline == NULL) {
    if (s->ended) *e = broken("the end came in the middle of a line");
    return false;
  }
  *line = from;
  *size = used - 1;
  s->start += used;
  return true;
}

int wire_arm(wire_stream *s, machine *m) {
  s->s.m = m;
  uint32_t events = (s->ended ? 0 : (uint32_t)EPOLLIN) |
                    (s->sent < s->out.size ? (uint32_t)EPOLLOUT : 0);
  int r = source_arm(&s->s, s->fd, events);
  s->armed = r == 0;
  return r;
}
