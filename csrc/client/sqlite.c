/*
** A connection and its queue. An operation that is queued has begun, as far as
** the engine is concerned; so it can be cancelled at any time, and a state that
** is closed finds it among what it has started.
*/
#include "client/sqlite.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "client/sqlite_parts.h"

_Atomic unsigned sqlite_generation;

static void in_child(void) {
  atomic_fetch_add(&sqlite_generation, 1);
  carry_forget();
}

static void watch_forks(void) {
  pthread_atfork(NULL, NULL, in_child);
}


/* ------------------------------------------------------------------
** The connection
** ---------------------------------------------------------------- */

sqlite *sqlite_open(const sqlite_options *o) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, watch_forks);
  sqlite *c = calloc(1, sizeof *c);
  if (c == NULL) return NULL;
  c->path = strdup(o->path);
  if (c->path == NULL) {
    free(c);
    return NULL;
  }
  atomic_init(&c->refs, 1);
  c->generation = atomic_load(&sqlite_generation);
  c->readonly = o->readonly;
  c->create = o->create;
  c->busy_ms = o->busy_ms;
  c->last = &c->first;
  pthread_condattr_t attributes;
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_mutex_init(&c->lock, NULL);
  pthread_cond_init(&c->cancelled, &attributes);
  pthread_condattr_destroy(&attributes);
  return c;
}

sqlite *sqlite_ref(sqlite *c) {
  atomic_fetch_add(&c->refs, 1);
  return c;
}

/* To close it in the child of a fork would be to write: SQLite believes that
   it has locks there, which are the parent's. Nobody looks at this list; but
   what SQLite has allocated is not lost, and so no leak. */
static void let_be(sqlite *c) {
  static sqlite *_Atomic inherited;
  c->next = atomic_load(&inherited);
  while (!atomic_compare_exchange_weak(&inherited, &c->next, c)) {}
}

void sqlite_unref(sqlite *c) {
  if (atomic_fetch_sub(&c->refs, 1) != 1) return;
  if (sqlite_is_inherited(c)) {
    let_be(c);
    return;
  }
  sqlite3_close_v2(c->db);
  pthread_cond_destroy(&c->cancelled);
  pthread_mutex_destroy(&c->lock);
  free(c->path);
  free(c);
}

const char *sqlite_path(const sqlite *c) {
  return c->path;
}

bool sqlite_is_inherited(const sqlite *c) {
  return c->generation != atomic_load(&sqlite_generation);
}

void sqlite_set_busy(sqlite *c, uint32_t ms) {
  pthread_mutex_lock(&c->lock);
  c->busy_ms = ms;
  pthread_mutex_unlock(&c->lock);
}


/* ------------------------------------------------------------------
** What was asked
** ---------------------------------------------------------------- */

static void item_free(void *self) {
  item *it = self;
  sqlite_unref(it->c);
  free(it);
}

void item_end(item *it, uint32_t code, const char *message) {
  saros_op_finish(it->op, code, message);
}

/* With the lock held. */
static bool unqueue(sqlite *c, const item *it) {
  item **at = &c->first;
  while (*at != NULL && *at != it) at = &(*at)->next;
  if (*at == NULL) return false;
  *at = it->next;
  if (c->last == &it->next) c->last = at;
  return true;
}

static void item_cancel(saros_op *op, void *self) {
  item *it = self;
  sqlite *c = it->c;
  (void)op;
  pthread_mutex_lock(&c->lock);
  bool queued = unqueue(c, it);
  if (c->current == it) {
    if (c->db != NULL) sqlite3_interrupt(c->db);
    pthread_cond_broadcast(&c->cancelled);
  }
  pthread_mutex_unlock(&c->lock);
  if (queued) item_end(it, SAROS_E_CANCELLED, NULL);
}

#define KIND(name_, flags_)                                                    \
  {                                                                            \
    .size = sizeof(saros_kind), .name = (name_), .facade = SAROS_FACADE_SAROS, \
    .flags = (flags_) | SAROS_NO_ESTIMATE, .cancel = item_cancel,              \
    .release = item_free                                                       \
  }
static const saros_kind exec_kind = KIND("sqlite.exec", SAROS_CANCELLABLE);
static const saros_kind query_kind = KIND("sqlite.query", SAROS_CANCELLABLE);
static const saros_kind close_kind = KIND("sqlite.close", 0);

/* Begins: its caller has put it together, and gives it away. NULL: no memory,
   or no engine. */
static saros_op *item_begin(sqlite *c, item *it, const saros_kind *kind) {
  it->c = sqlite_ref(c);
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

/* With the lock held; true: somebody must be found who carries it. */
static bool queue(sqlite *c, item *it) {
  bool idle = !c->carried;
  it->busy_ms = c->busy_ms;
  it->next = NULL;
  *c->last = it;
  c->last = &it->next;
  c->carried = true;
  return idle;
}

static char *put(char **at, const char *bytes, size_t size) {
  char *here = *at;
  if (size > 0) memcpy(here, bytes, size);
  here[size] = '\0';
  *at += size + 1;
  return here;
}

/* In one piece of memory: the item, its parameters, all their bytes. */
static item *item_of(const question *q) {
  size_t size = sizeof(item) + q->count * sizeof(parameter) + q->size + 1;
  for (unsigned i = 0; i < q->count; i++) {
    const parameter *p = &q->parameters[i];
    size += p->size + 1 + (p->name != NULL ? strlen(p->name) + 1 : 0);
  }
  item *it = malloc(size);
  if (it == NULL) return NULL;
  memset(it, 0, sizeof *it);
  it->parameters = (parameter *)(it + 1);
  char *at = (char *)(it->parameters + q->count);
  it->rows = q->rows;
  it->count = q->count;
  it->size = q->size;
  it->sql = put(&at, q->sql, q->size);
  for (unsigned i = 0; i < q->count; i++) {
    const parameter *from = &q->parameters[i];
    parameter *to = &it->parameters[i];
    *to = *from;
    to->bytes = put(&at, from->bytes, from->size);
    if (from->name != NULL) to->name = put(&at, from->name, strlen(from->name));
  }
  return it;
}

saros_op *sqlite_ask(sqlite *c, const question *q) {
  item *it = item_of(q);
  if (it == NULL) return NULL;
  saros_op *op = item_begin(c, it, q->rows ? &query_kind : &exec_kind);
  if (op == NULL) return NULL;
  pthread_mutex_lock(&c->lock);
  bool closing = c->closing;
  bool idle = !closing && queue(c, it);
  bool inside = c->inside;
  pthread_mutex_unlock(&c->lock);
  if (closing) item_end(it, SAROS_E_CLOSED, "the connection was closed");
  if (idle) carry(c, inside);
  return op;
}


/* ------------------------------------------------------------------
** The end
** ---------------------------------------------------------------- */

/* With the lock held: all that is queued, off the queue. */
static item *take_all(sqlite *c) {
  item *all = c->first;
  c->first = NULL;
  c->last = &c->first;
  return all;
}

void sqlite_fail_all(sqlite *c, uint32_t code, const char *message) {
  pthread_mutex_lock(&c->lock);
  item *all = take_all(c), *next;
  c->carried = false;
  pthread_mutex_unlock(&c->lock);
  for (item *it = all; it != NULL; it = next) {
    next = it->next;
    item_end(it, code, message);
  }
}

static void cancel_all(sqlite *c) {
  item *next;
  pthread_mutex_lock(&c->lock);
  item *all = take_all(c);
  saros_op *current = c->current != NULL ? saros_op_ref(c->current->op) : NULL;
  pthread_mutex_unlock(&c->lock);
  for (item *it = all; it != NULL; it = next) {
    next = it->next;
    saros_op_cancel(it->op); /* it is in no queue: so this does not end it */
    item_end(it, SAROS_E_CANCELLED, NULL);
  }
  if (current == NULL) return;
  saros_op_cancel(current);
  saros_op_unref(current);
}

saros_op *sqlite_close(sqlite *c, bool cancel) {
  pthread_mutex_lock(&c->lock);
  bool closed = c->closing;
  c->closing = true;
  pthread_mutex_unlock(&c->lock);
  if (closed) return NULL;
  if (cancel) cancel_all(c);
  item *it = calloc(1, sizeof *it);
  if (it == NULL) return NULL;
  it->closes = true;
  saros_op *op = item_begin(c, it, &close_kind);
  if (op == NULL) return NULL;
  pthread_mutex_lock(&c->lock);
  bool idle = queue(c, it);
  pthread_mutex_unlock(&c->lock);
  if (idle)
    carry(c, true);
  else
    carry_now(c);
  return op;
}
