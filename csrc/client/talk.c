/*
** A connection, its queue and its thread. An operation that is queued has
** begun, as far as the engine is concerned; so it can be cancelled at any time,
** and a state that is closed finds it among what it has started.
*/
#include "client/talk_parts.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

/* All connections of this process, for the child of a fork. No lock within. */
static pthread_mutex_t all_lock = PTHREAD_MUTEX_INITIALIZER;
static talk *all;
static _Atomic unsigned generation;


/* ------------------------------------------------------------------
** Forks
** ---------------------------------------------------------------- */

bool talk_is_its_socket(const talk *t) {
  struct stat is;
  return t->fd >= 0 && fstat(t->fd, &is) == 0 && is.st_dev == t->device &&
         is.st_ino == t->inode;
}

static void before_fork(void) {
  pthread_mutex_lock(&all_lock);
}

static void in_parent(void) {
  pthread_mutex_unlock(&all_lock);
}

/* A socket that a child keeps would keep the session, and what it holds, when
   the parent is gone. Closing it says nothing to the server. */
static void in_child(void) {
  for (talk *t = all; t != NULL; t = t->after) {
    if (talk_is_its_socket(t)) close(t->fd);
    close(t->wake);
  }
  all = NULL;
  atomic_fetch_add(&generation, 1);
  pthread_mutex_unlock(&all_lock);
}

static void watch_forks(void) {
  pthread_atfork(before_fork, in_parent, in_child);
}


/* ------------------------------------------------------------------
** The connection
** ---------------------------------------------------------------- */

static void destroy(talk *t) {
  t->driver->release(t->self);
  if (t->wake >= 0) close(t->wake);
  pthread_mutex_destroy(&t->lock);
  free(t->label);
  free(t);
}

talk *talk_new(const talk_driver *driver, void *self, const char *label) {
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, watch_forks);
  talk *t = calloc(1, sizeof *t);
  if (t == NULL) {
    driver->release(self);
    return NULL;
  }
  atomic_init(&t->refs, 1);
  t->driver = driver;
  t->self = self;
  t->fd = -1;
  t->last = &t->first;
  pthread_mutex_init(&t->lock, NULL);
  t->label = strdup(label);
  pthread_mutex_lock(&all_lock); /* no fork between descriptor and list */
  t->generation = atomic_load(&generation);
  t->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  bool good = t->label != NULL && t->wake >= 0;
  if (good) {
    t->after = all;
    if (all != NULL) all->before = t;
    all = t;
  }
  pthread_mutex_unlock(&all_lock);
  if (good) return t;
  destroy(t);
  return NULL;
}

static talk *ref(talk *t) {
  atomic_fetch_add(&t->refs, 1);
  return t;
}

/* To close it in the child of a fork would be to say goodbye for the parent.
   Nobody looks at this list; but what a library has allocated is not lost. */
static void let_be(talk *t) {
  static talk *_Atomic inherited;
  t->after = atomic_load(&inherited);
  while (!atomic_compare_exchange_weak(&inherited, &t->after, t)) {}
}

void talk_unref(talk *t) {
  if (atomic_fetch_sub(&t->refs, 1) != 1) return;
  if (talk_is_inherited(t)) {
    let_be(t);
    return;
  }
  pthread_mutex_lock(&all_lock);
  if (t->before != NULL)
    t->before->after = t->after;
  else
    all = t->after;
  if (t->after != NULL) t->after->before = t->before;
  pthread_mutex_unlock(&all_lock);
  destroy(t);
}

const char *talk_label(const talk *t) {
  return t->label;
}

bool talk_is_inherited(const talk *t) {
  return t->generation != atomic_load(&generation);
}

bool talk_is_open(talk *t) {
  pthread_mutex_lock(&t->lock);
  struct pollfd p = {.fd = t->fd, .events = POLLRDHUP};
  bool open = talk_is_its_socket(t) && poll(&p, 1, 0) == 0;
  pthread_mutex_unlock(&t->lock);
  return open;
}

static void wake(talk *t) {
  ssize_t r = write(t->wake, &(uint64_t){1}, sizeof(uint64_t));
  (void)r; /* it is full: then it is readable all the same */
}


/* ------------------------------------------------------------------
** Items
** ---------------------------------------------------------------- */

void talk_release(void *self) {
  item *it = self;
  talk_unref(it->t);
  free(it);
}

/* With the lock held. */
static bool unqueue(talk *t, const item *it) {
  item **at = &t->first;
  while (*at != NULL && *at != it) at = &(*at)->next;
  if (*at == NULL) return false;
  *at = it->next;
  if (t->last == &it->next) t->last = at;
  return true;
}

void talk_cancel(saros_op *op, void *self) {
  item *it = self;
  talk *t = it->t;
  (void)op;
  pthread_mutex_lock(&t->lock);
  bool queued = unqueue(t, it);
  pthread_mutex_unlock(&t->lock);
  if (queued)
    saros_op_finish(it->op, SAROS_E_CANCELLED, NULL);
  else
    wake(t);
}

/* Begins: its caller has put it together, and gives it away. NULL: no memory,
   or no engine. */
static saros_op *begin(talk *t, item *it, const saros_kind *kind) {
  it->t = ref(t);
  it->op = saros_op_new(kind, it, NULL);
  if (it->op == NULL) {
    talk_release(it);
    return NULL;
  }
  saros_op *op = it->op;
  if (saros_op_start(op) == 0) return op;
  saros_op_unref(op);
  return NULL;
}

static size_t size_of(const char *text) {
  return text != NULL ? strlen(text) + 1 : 0;
}

static const char *put(char **at, const char *text) {
  size_t size = size_of(text);
  if (size == 0) return NULL;
  char *here = memcpy(*at, text, size);
  *at += size;
  return here;
}

/* In one piece of memory: the item, its values, all their bytes. */
static item *item_of(const talk_question *q) {
  size_t size = sizeof(item) + q->count * sizeof(char *) + size_of(q->sql);
  for (unsigned i = 0; i < q->count; i++) size += size_of(q->values[i]);
  item *it = malloc(size);
  if (it == NULL) return NULL;
  memset(it, 0, sizeof *it);
  const char **values = (const char **)(it + 1);
  char *at = (char *)(values + q->count);
  it->q = *q;
  it->q.sql = put(&at, q->sql);
  for (unsigned i = 0; i < q->count; i++) values[i] = put(&at, q->values[i]);
  it->q.values = values;
  return it;
}


/* ------------------------------------------------------------------
** The thread
** ---------------------------------------------------------------- */

static void put_text(saros_value *map, const char *name, const char *text) {
  if (*text != '\0')
    saros_value_put(map, name, saros_value_bytes(text, strlen(text)));
}

static void end(item *it, const talk_trouble *trouble) {
  if (trouble->code == 0) {
    saros_op_finish(it->op, SAROS_S_OK, NULL);
    return;
  }
  saros_value *more = saros_value_map();
  if (more != NULL) {
    saros_value_put(more, "retryable", saros_value_boolean(trouble->retryable));
    if (trouble->number != 0)
      saros_value_put(more, "errno", saros_value_integer(trouble->number));
    put_text(more, "sqlstate", trouble->sqlstate);
    put_text(more, "server", trouble->server);
  }
  saros_op_fail(it->op, trouble->code, trouble->text, more);
}

void talk_drain(talk *t) {
  uint64_t count;
  ssize_t r = read(t->wake, &count, sizeof count);
  (void)r;
}

/* The next item, waited for; NULL: there is none any more. */
static item *take(talk *t) {
  for (;;) {
    talk_drain(t);
    pthread_mutex_lock(&t->lock);
    item *it = t->first;
    bool forsaken = t->forsaken;
    if (it != NULL) {
      t->first = it->next;
      if (t->first == NULL) t->last = &t->first;
      t->current = it;
    }
    pthread_mutex_unlock(&t->lock);
    if (it != NULL || forsaken) return it;
    struct pollfd p = {.fd = t->wake, .events = POLLIN};
    poll(&p, 1, -1);
  }
}

static void carry_out(talk *t, item *it) {
  talk_trouble trouble = {0};
  saros_value *result = NULL;
  if (saros_op_cancelled(it->op))
    trouble.code = SAROS_E_CANCELLED;
  else
    t->driver->perform(t, t->self, &it->q, it->op, &result, &trouble);
  pthread_mutex_lock(&t->lock);
  t->current = NULL;
  pthread_mutex_unlock(&t->lock);
  if (result != NULL && trouble.code == 0)
    saros_op_output(it->op, result);
  else if (result != NULL)
    saros_value_free(result);
  end(it, &trouble);
}

static void *serve(void *argument) {
  talk *t = argument;
  item *it;
  prctl(PR_SET_NAME, "saros-client");
  while ((it = take(t)) != NULL && !it->closes) carry_out(t, it);
  t->driver->leave(t, t->self);
  if (it != NULL) end(it, &(talk_trouble){0});
  talk_unref(t);
  return NULL;
}

/* 0 or errno. Signals are the host's; and a SIGPIPE that a library provokes is
   then nobody's. */
static int start(talk *t) {
  pthread_attr_t attributes;
  pthread_t thread;
  sigset_t every, before;
  int r = pthread_attr_init(&attributes);
  if (r != 0) return r;
  pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
  sigfillset(&every);
  pthread_sigmask(SIG_SETMASK, &every, &before);
  r = pthread_create(&thread, &attributes, serve, ref(t));
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  pthread_attr_destroy(&attributes);
  if (r != 0)
    atomic_fetch_sub(&t->refs, 1); /* never the last: who asks has it */
  return r;
}


/* ------------------------------------------------------------------
** Asking, and the end
** ---------------------------------------------------------------- */

/* With the lock held. */
static void queue(talk *t, item *it) {
  it->next = NULL;
  *t->last = it;
  t->last = &it->next;
}

saros_op *talk_ask(talk *t, const talk_question *q) {
  talk_trouble trouble = {0};
  item *it = item_of(q);
  if (it == NULL) return NULL;
  saros_op *op = begin(t, it, q->rows ? &t->driver->query : &t->driver->exec);
  if (op == NULL) return NULL;
  pthread_mutex_lock(&t->lock);
  int number = t->closing || t->served ? 0 : start(t);
  if (t->closing)
    talk_fail(t, &trouble, SAROS_E_CLOSED, "the connection was closed");
  else if (number != 0)
    talk_fail(t, &trouble, SAROS_E_OUTOFMEMORY,
              "there is no thread to be had for it: %s", strerror(number));
  if (trouble.code == 0) {
    t->served = true;
    queue(t, it);
  }
  pthread_mutex_unlock(&t->lock);
  if (trouble.code == 0)
    wake(t);
  else
    end(it, &trouble);
  return op;
}

static void cancel_all(talk *t) {
  item *next;
  pthread_mutex_lock(&t->lock);
  item *queued = t->first;
  t->first = NULL;
  t->last = &t->first;
  t->hurries = true;
  saros_op *current = t->current != NULL ? saros_op_ref(t->current->op) : NULL;
  pthread_mutex_unlock(&t->lock);
  for (item *it = queued; it != NULL; it = next) {
    next = it->next;
    saros_op_cancel(it->op); /* it is in no queue: so this does not end it */
    saros_op_finish(it->op, SAROS_E_CANCELLED, NULL);
  }
  if (current == NULL) return;
  saros_op_cancel(current);
  saros_op_unref(current);
}

saros_op *talk_close(talk *t, bool cancel) {
  pthread_mutex_lock(&t->lock);
  bool closed = t->closing;
  t->closing = true;
  pthread_mutex_unlock(&t->lock);
  if (closed) return NULL;
  if (cancel) cancel_all(t);
  saros_op *op = NULL;
  item *it = calloc(1, sizeof *it);
  if (it != NULL) {
    it->closes = true;
    op = begin(t, it, &t->driver->close);
  }
  pthread_mutex_lock(&t->lock);
  bool served = t->served;
  if (served && op != NULL) queue(t, it);
  t->forsaken = op == NULL;
  pthread_mutex_unlock(&t->lock);
  if (served)
    wake(t);
  else if (op != NULL)
    end(it, &(talk_trouble){0}); /* there was never anything */
  return op;
}
