/*
** What happens to jobs, for those who want to hear of it: the last events, by
** numbers, and operations that end with the next one behind a number. Any
** number of them may wait. Who asks late gets what is still kept: a gap in the
** numbers says that he has missed some.
*/
#include <string.h>

#include "bits/job_parts.h"
#include "bits/keeper.h"

#define KEPT 1024

typedef struct event {
  const char *what; /* a literal */
  int64_t file;     /* -1: none */
  char guid[37];
} event;

/* An operation that waits; its own reference is in `op`. */
typedef struct waiting {
  struct waiting *next;
  bits_manager *m; /* a reference */
  saros_op *op;
  uint64_t after;
  bool listed; /* under the manager's lock */
} waiting;

struct bits_events {
  uint64_t count; /* all that ever were: the last one's number */
  waiting *first;
  event kept[KEPT]; /* number n at n % KEPT */
};

bool bits_events_new(bits_manager *m) {
  m->events = mem_zero(sizeof *m->events);
  return m->events != NULL;
}

void bits_events_free(bits_manager *m) {
  mem_free(m->events);
  m->events = NULL;
}

/* ------------------------------------------------------------------
** Operations
** ---------------------------------------------------------------- */

static void release(void *self) {
  waiting *w = self;
  bits_manager *m = w->m;
  mem_free(w);
  bits_manager_unref(m);
}

/* With the lock. False: somebody else has done it, and ends it. */
static bool take_out(waiting *w) {
  if (!w->listed) return false;
  waiting **link = &w->m->events->first;
  while (*link != w) link = &(*link)->next;
  *link = w->next;
  w->listed = false;
  return true;
}

static void cancel(saros_op *op, void *self) {
  waiting *w = self;
  bits_manager *m = w->m;
  pthread_mutex_lock(&m->lock);
  bool ours = take_out(w);
  pthread_mutex_unlock(&m->lock);
  if (!ours) return;
  saros_op_finish(op, SAROS_E_CANCELLED, NULL);
  saros_op_unref(op);
}

static const saros_kind event_kind = {
    .size = sizeof(saros_kind),
    .name = "bits.event",
    .facade = SAROS_FACADE_BITS,
    .flags = SAROS_CANCELLABLE | SAROS_NO_ESTIMATE,
    .cancel = cancel,
    .release = release};

static saros_value *show(const event *e, uint64_t number) {
  saros_value *map = saros_value_map();
  if (map == NULL) return NULL;
  bool good =
      saros_value_put(map, "number", saros_value_integer((int64_t)number)) &&
      saros_value_put(map, "what",
                      saros_value_bytes(e->what, strlen(e->what))) &&
      saros_value_put(map, "job", saros_value_bytes(e->guid, strlen(e->guid)));
  if (good && e->file >= 0)
    good = saros_value_put(map, "file", saros_value_integer(e->file));
  if (good) return map;
  saros_value_free(map);
  return NULL;
}

/* With the lock, which is above the engine's: ended with that event. */
static void end(bits_manager *m, saros_op *op, uint64_t number) {
  saros_value *v = show(&m->events->kept[number % KEPT], number);
  if (v != NULL) saros_op_output(op, v);
  saros_op_finish(op, v != NULL ? SAROS_S_OK : SAROS_E_OUTOFMEMORY, NULL);
}

/* ------------------------------------------------------------------
** Events
** ---------------------------------------------------------------- */

/* How it ended, for now. */
static bool is_end(const char *what) {
  return strcmp(what, "transferred") == 0 || strcmp(what, "error") == 0;
}

/* Each that waits for it was made after it: all of them end. But for who has
   asked for one that is yet to come. */
void bits_event(bits_job *j, const char *what, int64_t file) {
  bits_manager *m = j->m;
  bits_events *e = m->events;
  if (m->closing) return;
  event *k = &e->kept[++e->count % KEPT];
  k->what = what;
  k->file = file;
  memcpy(k->guid, j->guid, sizeof k->guid);
  if (is_end(what)) {
    j->told = what;
    j->told_at = e->count;
  }
  for (waiting **link = &e->first, *w; (w = *link) != NULL;) {
    if (w->after >= e->count) {
      link = &w->next;
      continue;
    }
    *link = w->next;
    w->listed = false;
    end(m, w->op, e->count);
    saros_op_unref(w->op);
  }
}

uint64_t bits_job_told(bits_job *j, const char **what) {
  *what = NULL;
  if (!bits_job_lock(j)) return 0;
  uint64_t number = j->told_at;
  *what = j->told;
  bits_job_unlock(j);
  return number;
}

/* The oldest that is kept behind `after`. */
static uint64_t oldest(const bits_events *e, uint64_t after) {
  uint64_t first = e->count > KEPT ? e->count - KEPT + 1 : 1;
  return after + 1 > first ? after + 1 : first;
}

/* With the lock. */
static void begin(bits_manager *m, waiting *w, uint64_t after) {
  bits_events *e = m->events;
  w->after = after > 0 ? after : e->count;
  if (m->closing) {
    saros_op_finish(w->op, SAROS_E_CLOSED, "the queue was closed");
  } else if (w->after < e->count) {
    end(m, w->op, oldest(e, w->after));
  } else {
    w->listed = true;
    w->next = e->first;
    e->first = w;
    saros_op_ref(w->op);
  }
}

saros_op *bits_manager_event(bits_manager *m, uint64_t after, uint32_t *why) {
  *why = SAROS_E_FORKED;
  if (bits_manager_is_inherited(m)) return NULL;
  *why = SAROS_E_OUTOFMEMORY;
  waiting *w = mem_zero(sizeof *w);
  if (w == NULL) return NULL;
  w->m = bits_manager_ref(m);
  w->op = saros_op_new(&event_kind, w, NULL);
  saros_op *op = w->op;
  if (op == NULL) {
    release(w);
    return NULL;
  }
  *why = saros_op_start(op);
  if (*why != 0) {
    saros_op_unref(op);
    return NULL;
  }
  pthread_mutex_lock(&m->lock);
  begin(m, w, after);
  pthread_mutex_unlock(&m->lock);
  return op;
}

void bits_events_close(bits_manager *m) {
  waiting *w;
  while ((w = m->events->first) != NULL) {
    take_out(w);
    saros_op_finish(w->op, SAROS_E_CLOSED, "the queue was closed");
    saros_op_unref(w->op);
  }
}
