/*
** A connection and its queue. An operation that is queued has begun, as far as
** the engine is concerned; so it can be cancelled at any time, and a state that
** is closed finds it among what it has started.
*/
#include "client/redis.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "client/redis_parts.h"

#define STACK ((size_t)256 << 10)

static _Atomic unsigned generation;

static void in_child(void) {
  atomic_fetch_add(&generation, 1);
}

static void watch_forks(void) {
  pthread_atfork(NULL, NULL, in_child);
}


/* ------------------------------------------------------------------
** The connection
** ---------------------------------------------------------------- */

static char *copy(const char *text, bool *good) {
  char *own = text != NULL ? strdup(text) : NULL;
  *good = *good && (text == NULL || own != NULL);
  return own;
}

static void forget(redis *c) {
  if (c->wake >= 0) close(c->wake);
  if (c->fd >= 0) close(c->fd); /* a child's: its own copy */
  resp_free(&c->reader);
  password_source_free(&c->password);
  free(c->socket);
  free(c->host);
  free(c->port);
  free(c->user);
  free(c->place);
  pthread_mutex_destroy(&c->lock);
  free(c);
}

redis *redis_open(const redis_options *o) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, watch_forks);
  redis *c = calloc(1, sizeof *c);
  if (c == NULL) return NULL;
  bool good = true;
  char place[600];
  if (o->socket != NULL)
    snprintf(place, sizeof place, "%s", o->socket);
  else
    snprintf(place, sizeof place, "%s:%s", o->host, o->port);
  atomic_init(&c->refs, 1);
  c->generation = atomic_load(&generation);
  c->fd = -1;
  c->last = &c->first;
  c->connect_ms = o->connect_ms;
  pthread_mutex_init(&c->lock, NULL);
  c->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  c->place = copy(place, &good);
  c->socket = copy(o->socket, &good);
  c->host = copy(o->host, &good);
  c->port = copy(o->port, &good);
  c->user = copy(o->user, &good);
  if (o->password != NULL)
    good = password_source_copy(&c->password, o->password) && good;
  if (good && c->wake >= 0) return c;
  forget(c);
  return NULL;
}

static redis *redis_ref(redis *c) {
  atomic_fetch_add(&c->refs, 1);
  return c;
}

void redis_unref(redis *c) {
  if (atomic_fetch_sub(&c->refs, 1) == 1) forget(c);
}

const char *redis_place(const redis *c) {
  return c->place;
}

bool redis_is_inherited(const redis *c) {
  return c->generation != atomic_load(&generation);
}

bool redis_is_open(redis *c) {
  pthread_mutex_lock(&c->lock);
  bool is = !c->closing && !c->over;
  pthread_mutex_unlock(&c->lock);
  return is;
}

static void wake(const redis *c) {
  uint64_t one = 1;
  ssize_t n = write(c->wake, &one, sizeof one);
  (void)n; /* full: it is awake */
}


/* ------------------------------------------------------------------
** What was asked
** ---------------------------------------------------------------- */

static void item_free(void *self) {
  item *it = self;
  redis_unref(it->c);
  free(it);
}

static void item_end(item *it, const trouble *t) {
  saros_value *more = NULL;
  if (t->code == SAROS_S_OK || t->code == SAROS_E_CANCELLED) {
    saros_op_finish(it->op, t->code, NULL);
    return;
  }
  more = saros_value_map();
  if (more != NULL) {
    if (t->server[0] != '\0')
      saros_value_put(more, "server",
                      saros_value_bytes(t->server, strlen(t->server)));
    if (t->number != 0)
      saros_value_put(more, "errno", saros_value_integer(t->number));
    saros_value_put(more, "retryable", saros_value_boolean(t->retryable));
  }
  saros_op_fail(it->op, t->code, t->text, more);
}

static void item_fail(item *it, uint32_t code, const char *message) {
  trouble t = {.code = code};
  if (message != NULL) snprintf(t.text, sizeof t.text, "%s", message);
  item_end(it, &t);
}

/* With the lock held. */
static bool unqueue(redis *c, const item *it) {
  item **at = &c->first;
  while (*at != NULL && *at != it) at = &(*at)->next;
  if (*at == NULL) return false;
  *at = it->next;
  if (c->last == &it->next) c->last = at;
  return true;
}

static void item_cancel(saros_op *op, void *self) {
  item *it = self;
  redis *c = it->c;
  (void)op;
  pthread_mutex_lock(&c->lock);
  bool mine = unqueue(c, it);
  if (c->current == it && c->resolving) {
    c->current = NULL;
    mine = true;
  } else if (c->current == it) {
    wake(c);
  }
  pthread_mutex_unlock(&c->lock);
  if (mine) item_fail(it, SAROS_E_CANCELLED, NULL);
}

#define KIND(name_, flags_)                                                    \
  {                                                                            \
    .size = sizeof(saros_kind), .name = (name_), .facade = SAROS_FACADE_SAROS, \
    .flags = (flags_) | SAROS_NO_ESTIMATE, .cancel = item_cancel,              \
    .release = item_free                                                       \
  }
static const saros_kind command_kind = KIND("redis.command", SAROS_CANCELLABLE);
static const saros_kind close_kind = KIND("redis.close", 0);

/* Begins: its caller has put it together, and gives it away. NULL: no memory,
   or no engine. */
static saros_op *item_begin(redis *c, item *it, const saros_kind *kind) {
  it->c = redis_ref(c);
  it->op = saros_op_new(kind, it, NULL);
  if (it->op == NULL) {
    item_free(it);
    return NULL;
  }
  saros_op *op = it->op;
  if (saros_op_start(op) == 0) return op;
  saros_op_unref(op);
  return NULL;
}

static item *item_of(const redis_word *words, unsigned count) {
  size_t size = 32;
  for (unsigned i = 0; i < count; i++) size += words[i].size + 32;
  item *it = malloc(sizeof *it + size);
  if (it == NULL) return NULL;
  memset(it, 0, sizeof *it);
  it->bytes = (char *)(it + 1);
  char *at = it->bytes;
  at += sprintf(at, "*%u\r\n", count);
  for (unsigned i = 0; i < count; i++) {
    at += sprintf(at, "$%zu\r\n", words[i].size);
    if (words[i].size > 0) memcpy(at, words[i].bytes, words[i].size);
    at += words[i].size;
    memcpy(at, "\r\n", 2);
    at += 2;
  }
  it->size = (size_t)(at - it->bytes);
  return it;
}


/* ------------------------------------------------------------------
** Its thread
** ---------------------------------------------------------------- */

/* The host's signals are not for it. */
static bool start_thread(redis *c) {
  pthread_t thread;
  pthread_attr_t attributes;
  sigset_t all, before;
  pthread_attr_init(&attributes);
  pthread_attr_setstacksize(&attributes, STACK);
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  sigfillset(&all);
  pthread_sigmask(SIG_BLOCK, &all, &before);
  bool good =
      pthread_create(&thread, &attributes, redis_live, redis_ref(c)) == 0;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  pthread_attr_destroy(&attributes);
  if (!good) atomic_fetch_sub(&c->refs, 1); /* our caller's is left */
  return good;
}

static const char no_thread[] = "there is no thread to be had for it";

/* With the lock held. */
static item *take_all(redis *c) {
  item *all = c->first;
  c->first = NULL;
  c->last = &c->first;
  return all;
}

/* Queues it, and sees to it that there is somebody who takes it; what cannot be
   taken ends. false: it is too late for anything but the end. */
static bool queue(redis *c, item *it) {
  item *next;
  pthread_mutex_lock(&c->lock);
  if (!it->closes && (c->closing || c->over)) {
    pthread_mutex_unlock(&c->lock);
    return false;
  }
  bool start = !c->running;
  it->next = NULL;
  *c->last = it;
  c->last = &it->next;
  c->running = true;
  wake(c);
  pthread_mutex_unlock(&c->lock);
  if (!start || start_thread(c)) return true;
  pthread_mutex_lock(&c->lock);
  c->running = false;
  item *all = take_all(c); /* others have relied on us */
  pthread_mutex_unlock(&c->lock);
  for (it = all; it != NULL; it = next) {
    next = it->next;
    item_fail(it, it->closes ? SAROS_S_OK : SAROS_E_OUTOFMEMORY, no_thread);
  }
  return true;
}

item *redis_take(redis *c) {
  pthread_mutex_lock(&c->lock);
  item *it = c->first;
  if (it != NULL) {
    c->first = it->next;
    if (c->first == NULL) c->last = &c->first;
  }
  c->current = it;
  pthread_mutex_unlock(&c->lock);
  return it;
}

void redis_end(redis *c, item *it, const trouble *t) {
  pthread_mutex_lock(&c->lock);
  c->current = NULL;
  pthread_mutex_unlock(&c->lock);
  item_end(it, t);
}

bool redis_leave(redis *c) {
  pthread_mutex_lock(&c->lock);
  bool leaves = c->first == NULL && (c->closing || c->over || c->fd < 0);
  if (leaves) {
    c->running = false;
    if (c->fd >= 0) close(c->fd);
    c->fd = -1;
  }
  pthread_mutex_unlock(&c->lock);
  return leaves;
}

void redis_resolves(redis *c) {
  pthread_mutex_lock(&c->lock);
  c->resolving = true;
  pthread_mutex_unlock(&c->lock);
}

bool redis_resolved(redis *c) {
  pthread_mutex_lock(&c->lock);
  c->resolving = false;
  bool still = c->current != NULL;
  pthread_mutex_unlock(&c->lock);
  return still;
}


/* ------------------------------------------------------------------
** Asking, and the end
** ---------------------------------------------------------------- */

saros_op *redis_ask(redis *c, const redis_word *words, unsigned count) {
  item *it = item_of(words, count);
  if (it == NULL) return NULL;
  saros_op *op = item_begin(c, it, &command_kind);
  if (op == NULL) return NULL;
  if (!queue(c, it))
    item_fail(it, SAROS_E_CLOSED,
              "the connection was closed, or lost; open another one");
  return op;
}

static void cancel_all(redis *c) {
  item *next;
  pthread_mutex_lock(&c->lock);
  item *all = take_all(c);
  saros_op *current = c->current != NULL ? saros_op_ref(c->current->op) : NULL;
  pthread_mutex_unlock(&c->lock);
  for (item *it = all; it != NULL; it = next) {
    next = it->next;
    saros_op_cancel(it->op); /* it is in no queue: so this does not end it */
    item_fail(it, SAROS_E_CANCELLED, NULL);
  }
  if (current == NULL) return;
  saros_op_cancel(current);
  saros_op_unref(current);
}

saros_op *redis_close(redis *c, bool cancel) {
  pthread_mutex_lock(&c->lock);
  bool closed = c->closing;
  c->closing = true;
  wake(c);
  pthread_mutex_unlock(&c->lock);
  if (closed) return NULL;
  if (cancel) cancel_all(c);
  item *it = calloc(1, sizeof *it);
  if (it == NULL) return NULL;
  it->closes = true;
  saros_op *op = item_begin(c, it, &close_kind);
  if (op == NULL) return NULL;
  pthread_mutex_lock(&c->lock);
  bool now = !c->running || (cancel && c->resolving);
  pthread_mutex_unlock(&c->lock);
  if (now)
    item_fail(it, SAROS_S_OK, NULL);
  else
    queue(c, it);
  return op;
}
