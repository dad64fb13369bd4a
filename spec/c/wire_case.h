/*
** What the tests of writers share: a writer in C whose every step the test
** holds in its hand, telling on the engine's thread, and the other end of a
** socket, played by the test itself.
*/
#ifndef SAROS_WIRE_CASE_H
#define SAROS_WIRE_CASE_H

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "gate.h"
#include "op/thread.h"
#include "vss/wire_parts.h"

#define ID "6b0c9d5a-7b1f-4a59-9d53-5d6a0d6c1f01"
#define SESSION "11111111-2222-4333-8444-555555555555"
#define FOR_EVER 0u

extern _Atomic unsigned wire_grace_ms;

/* ------------------------------------------------------------------
** On the engine's thread
** ---------------------------------------------------------------- */

/* The n-th request for memory from here on fails; 0: none. */
static long tell_fail_at;

typedef struct teller {
  machine m; /* first */
  const writer_way *way;
  writer_link *link;
  writer_call call;
  saros_op *op; /* what came of it */
  error *e;
} teller;

static inline step_result teller_step(machine *m) {
  teller *t = (teller *)m;
  if (t->call.deadline != 0) t->call.deadline += engine_clock();
  if (tell_fail_at != 0) mem_fail_at(tell_fail_at);
  t->op = t->way->tell(t->link, &t->call, &t->e);
  machine_finish(m, SAROS_S_OK, NULL);
  return STEP_END;
}

/* Tells a link something; the operation, or NULL and *e. */
static inline saros_op *tell_or(writer *w, writer_link *link,
                                writer_event event, unsigned ms, error **e) {
  static const saros_kind kind = {.size = sizeof(saros_kind),
                                  .name = "test.teller"};
  value *details = value_map();
  CHECK(value_put(details, "event", value_text(writer_event_name(event))));
  CHECK(value_put(details, "session", value_text(SESSION)));
  teller t = {.m = {.step = teller_step},
              .way = w->way,
              .link = link,
              .call = {.event = event,
                       .details = details,
                       .deadline = (uint64_t)ms * 1000000u}};
  t.m.op = op_create(&kind, &t, 0, NULL, NULL);
  CHECK_INT(op_begin(t.m.op, SAROS_RUNNING), 0);
  machine_wake(&t.m);
  CHECK(gate_wait(t.m.op));
  saros_op_unref(t.m.op);
  value_free(details);
  *e = t.e;
  return t.op;
}

static inline saros_op *tell(writer *w, writer_link *link, writer_event event,
                             unsigned ms) {
  error *e = NULL;
  saros_op *op = tell_or(w, link, event, ms, &e);
  CHECK(op != NULL);
  if (e != NULL) printf("not told: %s\n", e->message);
  error_unref(e);
  return op;
}

/* How it ended, by itself and within the bound. */
static inline uint32_t ended(saros_op *op) {
  if (op == NULL) return 1;
  CHECK(gate_wait(op));
  CHECK((op_flags_now(op) & OP_ABANDONED) == 0);
  return saros_op_code(op);
}

/* Its message holds this; lets go of the operation. */
static inline void ends_with(saros_op *op, uint32_t code, const char *says) {
  CHECK_INT(ended(op), code);
  if (op == NULL) return;
  error *e = op_error(op);
  if (says != NULL && (e == NULL || strstr(e->message, says) == NULL)) {
    printf("\"%s\" does not say \"%s\"\n", e != NULL ? e->message : "(none)",
           says);
    CHECK(false);
  }
  error_unref(e);
  saros_op_unref(op);
}

static inline void check_error(error *e, uint32_t code, const char *says) {
  CHECK(e != NULL);
  if (e == NULL) return;
  CHECK_INT(e->code, code);
  if (strstr(e->message, says) == NULL) {
    printf("\"%s\" does not say \"%s\"\n", e->message, says);
    CHECK(false);
  }
  error_unref(e);
}

/* ------------------------------------------------------------------
** A directory of sockets
** ---------------------------------------------------------------- */

static inline const char *place(void) {
  static char path[64];
  if (path[0] == '\0') {
    strcpy(path, "/tmp/wire-case-XXXXXX");
    CHECK(mkdtemp(path) != NULL);
  }
  return path;
}

static inline void place_gone(void) {
  CHECK_INT(gate_entries(place()), 0);
  CHECK_INT(rmdir(place()), 0);
}

static inline void raw_address(struct sockaddr_un *at, const char *name) {
  *at = (struct sockaddr_un){.sun_family = AF_UNIX};
  int n = snprintf(at->sun_path, sizeof at->sun_path, "%s/%s", place(), name);
  CHECK(n > 0 && (size_t)n < sizeof at->sun_path);
}

/* ------------------------------------------------------------------
** The other end
** ---------------------------------------------------------------- */

static inline int raw_listen(const char *name, int type) {
  struct sockaddr_un at;
  raw_address(&at, name);
  int fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
  CHECK_INT(bind(fd, (const struct sockaddr *)&at, sizeof at), 0);
  if (type == SOCK_STREAM) CHECK_INT(listen(fd, 8), 0);
  return fd;
}

static inline void raw_unlink(const char *name) {
  struct sockaddr_un at;
  raw_address(&at, name);
  CHECK_INT(unlink(at.sun_path), 0);
}

static inline bool raw_ready(int fd, short events) {
  struct pollfd p = {.fd = fd, .events = events};
  int r;
  do r = poll(&p, 1, (int)GATE_BOUND_MS);
  while (r < 0 && errno == EINTR);
  return r == 1;
}

static inline int raw_accept(int from) {
  CHECK(raw_ready(from, POLLIN));
  return accept4(from, NULL, NULL, SOCK_CLOEXEC);
}

static inline int raw_connect(const char *name) {
  struct sockaddr_un at;
  raw_address(&at, name);
  int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  CHECK_INT(connect(fd, (const struct sockaddr *)&at, sizeof at), 0);
  return fd;
}

static inline bool raw_send(int fd, const char *bytes, size_t size) {
  while (size > 0) {
    ssize_t n = send(fd, bytes, size, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    bytes += n;
    size -= (size_t)n;
  }
  return true;
}

static inline void say(int fd, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static inline void say(int fd, const char *format, ...) {
  char text[4096];
  va_list args;
  va_start(args, format);
  int n = vsnprintf(text, sizeof text, format, args);
  va_end(args);
  CHECK(raw_send(fd, text, (size_t)n));
}

/* The next line, "(end)" or "(never)"; lives until the next call. */
static inline const char *hear(int fd) {
  static char text[WIRE_LINE_MOST + 1];
  size_t n = 0;
  while (n < sizeof text - 1) {
    if (!raw_ready(fd, POLLIN)) return "(never)";
    ssize_t r = recv(fd, text + n, 1, 0);
    if (r < 0 && errno == EINTR) continue;
    if (r <= 0) return n == 0 ? "(end)" : "(end within a line)";
    if (text[n] == '\n') break;
    n++;
  }
  text[n] = '\0';
  return text;
}

/* The next line as a value; NULL when there is none. */
static inline value *hear_value(int fd) {
  const char *line = hear(fd);
  error *e = NULL;
  value *v = json_read(line, strlen(line), NULL, &e);
  if (v == NULL) printf("no line, but %s\n", line);
  CHECK(v != NULL);
  error_unref(e);
  return v;
}

/* The next line has these. */
static inline int64_t hear_event(int fd, const char *event) {
  value *v = hear_value(fd);
  CHECK_TEXT(value_chars(value_get(v, "event"), NULL), event);
  int64_t n = value_integer(value_get(v, "n"), -1);
  value_free(v);
  return n;
}

static inline void hear_hello(int fd, const char *role) {
  value *v = hear_value(fd);
  CHECK_TEXT(value_chars(value_get(v, "saros"), NULL), role);
  CHECK_INT(value_integer(value_get(v, "version"), 0), 1);
  value_free(v);
}

static inline void hear_consent(int fd, int64_t n) {
  value *v = hear_value(fd);
  CHECK_INT(value_integer(value_get(v, "n"), -1), n);
  CHECK(value_boolean(value_get(v, "ok"), false));
  if (!value_boolean(value_get(v, "ok"), false))
    printf("%s\n", value_chars(value_get(v, "message"), "?"));
  value_free(v);
}

static inline void hear_refusal(int fd, int64_t n, uint32_t code,
                                bool retryable) {
  value *v = hear_value(fd);
  CHECK_INT(value_integer(value_get(v, "n"), -1), n);
  CHECK(!value_boolean(value_get(v, "ok"), true));
  CHECK_INT(value_integer(value_get(v, "code"), 0), code);
  CHECK_INT(value_boolean(value_get(v, "retryable"), !retryable), retryable);
  value_free(v);
}

static inline void hear_end(int fd) {
  CHECK_TEXT(hear(fd), "(end)");
  close(fd);
}

/* ------------------------------------------------------------------
** A writer of this process
** ---------------------------------------------------------------- */

typedef enum local_mode { SAYS_YES, SAYS_NO, IS_ASKED, HAS_NONE } local_mode;

typedef struct local {
  writer *w;
  pthread_mutex_t lock;
  local_mode mode[EVENTS];
  saros_op *held[EVENTS]; /* of those that are asked: the last one */
  int told[EVENTS], cancelled, links, releases;
  value *metadata;
  bool ends_when_cancelled;
} local;

typedef struct local_link {
  local *l;
} local_link;

static inline void local_cancel(saros_op *op, void *self) {
  local *l = self;
  pthread_mutex_lock(&l->lock);
  l->cancelled++;
  bool ends = l->ends_when_cancelled;
  pthread_mutex_unlock(&l->lock);
  if (ends) saros_op_finish(op, SAROS_E_CANCELLED, NULL);
}

static inline writer_link *local_connect(writer *w, const char *session,
                                         error **e) {
  (void)session;
  local *l = w->self;
  local_link *link = mem_zero(sizeof *link);
  if (link == NULL) {
    *e = error_no_memory();
    return NULL;
  }
  link->l = l;
  pthread_mutex_lock(&l->lock);
  l->links++;
  pthread_mutex_unlock(&l->lock);
  return (writer_link *)(void *)link;
}

static inline saros_op *local_tell(writer_link *link, const writer_call *call,
                                   error **e) {
  static const saros_kind kind = {.size = sizeof(saros_kind),
                                  .name = "test.local",
                                  .facade = SAROS_FACADE_VSS,
                                  .flags = SAROS_CANCELLABLE,
                                  .cancel = local_cancel};
  local *l = ((local_link *)(void *)link)->l;
  writer_event event = call->event;
  /* Without memory the details may be missing. */
  const char *said = value_chars(value_get(call->details, "event"), NULL);
  if (said != NULL) CHECK_TEXT(said, writer_event_name(event));
  pthread_mutex_lock(&l->lock);
  l->told[event]++;
  local_mode mode = l->mode[event];
  pthread_mutex_unlock(&l->lock);
  if (mode == HAS_NONE) {
    *e = vss_error(VSS_E_WRITERERROR_OUTOFRESOURCES, "nobody is there");
    return NULL;
  }
  saros_op *op = saros_op_new(&kind, l, NULL);
  if (op == NULL) {
    *e = error_no_memory();
    return NULL;
  }
  CHECK_INT(saros_op_start(op), 0);
  if (mode == IS_ASKED) {
    pthread_mutex_lock(&l->lock);
    CHECK(l->held[event] == NULL);
    l->held[event] = saros_op_ref(op);
    pthread_mutex_unlock(&l->lock);
  } else if (mode == SAYS_NO) {
    op_finish_error(op, VSS_E_WRITERERROR_RETRYABLE,
                    vss_error(VSS_E_WRITERERROR_RETRYABLE, "not \"now\""));
  } else {
    if (event == EVENT_IDENTIFY) op_set_output(op, value_copy(l->metadata));
    op_finish_error(op, SAROS_S_OK, NULL);
  }
  return op;
}

static inline void local_hang_up(writer_link *link) {
  local *l = ((local_link *)(void *)link)->l;
  mem_free(link);
  pthread_mutex_lock(&l->lock);
  l->links--;
  pthread_mutex_unlock(&l->lock);
}

static inline void local_release(writer *w) {
  local *l = w->self;
  pthread_mutex_lock(&l->lock);
  l->releases++;
  pthread_mutex_unlock(&l->lock);
}

static inline void local_open_as(local *l, const char *id,
                                 const char *instance) {
  static const writer_way way = {.name = "test",
                                 .connect = local_connect,
                                 .tell = local_tell,
                                 .hang_up = local_hang_up,
                                 .release = local_release};
  error *e = NULL;
  memset(l, 0, sizeof *l);
  pthread_mutex_init(&l->lock, NULL);
  l->ends_when_cancelled = true;
  l->w = writer_make(&way, id, instance, "local", l, &e);
  CHECK(l->w != NULL);
  l->metadata = value_map();
  CHECK(value_put(l->metadata, "name", value_text("local")));
}

static inline void local_open(local *l) {
  local_open_as(l, ID, ID);
}

static inline int local_count(local *l, const int *what) {
  pthread_mutex_lock(&l->lock);
  int n = *what;
  pthread_mutex_unlock(&l->lock);
  return n;
}

#define local_told(l, event) local_count(l, &(l)->told[event])

/* The operation of an event that is asked, when it is there. */
static inline saros_op *local_held(local *l, writer_event event) {
  for (unsigned i = 0; i < GATE_BOUND_MS; i++) {
    pthread_mutex_lock(&l->lock);
    saros_op *op = l->held[event];
    l->held[event] = NULL;
    pthread_mutex_unlock(&l->lock);
    if (op != NULL) return op;
    gate_nap();
  }
  CHECK(false);
  return NULL;
}

static inline void local_answer(local *l, writer_event event) {
  saros_op *op = local_held(l, event);
  if (op == NULL) return;
  op_finish_error(op, SAROS_S_OK, NULL);
  saros_op_unref(op);
}

static inline void local_close(local *l) {
  GATE_UNTIL(atomic_load(&l->w->refs) == 1);
  CHECK_INT(local_count(l, &l->links), 0);
  writer_unref(l->w);
  CHECK_INT(l->releases, 1);
  value_free(l->metadata);
  pthread_mutex_destroy(&l->lock);
}

/* Each test leaves all as it found it. */
#define WHOLE(name)                    \
  static void whole_##name(void);      \
  TEST(name) {                         \
    gate_counts before = gate_count(); \
    whole_##name();                    \
    CHECK(gate_back_to(before));       \
    thread_join_left();                \
  }                                    \
  static void whole_##name(void)

#endif
