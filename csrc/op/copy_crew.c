/*
** Who works on a copy: the coordinator, which is the operation's `run`, and
** helpers from the elastic lane when there is enough to do. A helper never
** waits: when it finds nothing to do it goes, and is called again. The
** coordinator never waits for a helper that no thread has taken: it takes it
** back. So a lane that is full of coordinators is slow and not stuck.
*/
#include <string.h>
#include <sys/resource.h>

#include "op/copy_parts.h"

#define QUEUE_MOST 32
#define LIVE_MOST 48u
#define NEAR_MOST 8u

/* Crews at work in this process: they share its descriptors. */
static _Atomic unsigned crews;

static void help(job *j);

/* Two descriptors a directory, and half of the process's for all of us. */
static unsigned live_share(unsigned among) {
  struct rlimit limit;
  unsigned most = LIVE_MOST;
  if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur / 4 < 65536) {
    unsigned share = (unsigned)limit.rlim_cur / 4 / among;
    if (share < most) most = share;
  }
  return most < 4 ? 4 : most;
}

void crew_open(crew *w, copy *c, const walk_kind *kind) {
  memset(w, 0, sizeof *w);
  w->c = c;
  w->kind = kind;
  pthread_mutex_init(&w->lock, NULL);
  pthread_cond_init(&w->moved, NULL);
  w->last = &w->first;
  unsigned among = atomic_fetch_add(&crews, 1) + 1;
  w->live_most = live_share(among);
  w->near = w->live_most / 2 < NEAR_MOST ? w->live_most / 2 : NEAR_MOST;
  w->helpers_most = pool_cores() * 2;
  if (w->helpers_most > COPY_HELPERS) w->helpers_most = COPY_HELPERS;
  for (unsigned i = 0; i < COPY_HELPERS; i++) {
    w->helpers[i].w = w;
    w->helpers[i].j.run = help;
  }
}

bool crew_goes_on(crew *w) {
  return w->kind->to_the_end || copy_goes_on(w->c);
}

char *worker_scratch(worker *me) {
  if (me->scratch == NULL) me->scratch = mem_alloc(COPY_SCRATCH);
  return me->scratch;
}


/* ------------------------------------------------------------------
** The queue
** ---------------------------------------------------------------- */

batch *crew_batch(crew *w, walk_dir *d) {
  pthread_mutex_lock(&w->lock);
  batch *b = w->spare;
  if (b != NULL) w->spare = b->next;
  pthread_mutex_unlock(&w->lock);
  if (b == NULL) b = mem_alloc(sizeof *b);
  if (b == NULL) return NULL;
  b->next = NULL;
  b->d = d;
  b->count = b->size = 0;
  walk_pin(d);
  return b;
}

/* With the lock held. */
static void call_helper(crew *w) {
  if (w->helping >= w->helpers_most) return;
  helper *h = w->helpers;
  while (h->submitted) h++;
  h->submitted = true;
  w->helping++;
  if (pool_submit(&h->j, POOL_LANE) == 0) return;
  h->submitted = false; /* then without */
  w->helping--;
}

/* A little is done sooner than somebody is called. */
#define WORTH_A_CALL 2

void crew_push(crew *w, batch *b) {
  pthread_mutex_lock(&w->lock);
  *w->last = b;
  w->last = &b->next;
  w->queued++;
  if (w->queued >= WORTH_A_CALL) call_helper(w);
  bool full = w->queued >= QUEUE_MOST;
  pthread_mutex_unlock(&w->lock);
  if (full) crew_work_until(w, READY_ROOM, NULL);
}

typedef struct task {
  batch *b;
  shared *s;
  off_t at, end;
} task;

/* With the lock held: the next piece of something shared. */
static void take_piece(crew *w, shared *s, task *t) {
  t->s = s;
  t->at = s->at;
  t->end = s->end - s->at > COPY_PIECE ? s->at + COPY_PIECE : s->end;
  s->at = t->end;
  atomic_fetch_add(&s->pins, 1);
  if (s->at < s->end) return;
  shared **link = &w->shares;
  while (*link != s) link = &(*link)->next;
  *link = s->next;
  s->listed = false;
}

/* With the lock held: the first batch of a directory that nobody works in, for
   in one directory only one at a time can make something; else the first. */
static batch *take_batch(crew *w) {
  batch **link = &w->first;
  while (*link != NULL && (*link)->d->busy > 0) link = &(*link)->next;
  if (*link == NULL) link = &w->first;
  batch *b = *link;
  *link = b->next;
  if (w->last == &b->next) w->last = link;
  b->d->busy++;
  w->queued--;
  return b;
}

/* With the lock held. Pieces first: what is begun holds descriptors. */
static bool take(crew *w, task *t) {
  t->b = NULL;
  t->s = NULL;
  if (w->shares != NULL) {
    take_piece(w, w->shares, t);
  } else if (w->first != NULL) {
    t->b = take_batch(w);
  } else {
    return false;
  }
  return true;
}

static void unpin_shared(crew *w, worker *me, shared *s) {
  if (atomic_fetch_sub(&s->pins, 1) == 1) s->finish(w, me, s);
}

static void run_batch(crew *w, worker *me, batch *b) {
  const char *at = b->data;
  for (unsigned i = 0; i < b->count && crew_goes_on(w); i++) {
    w->kind->entry(w, me, b->d, at + 1, (unsigned char)*at);
    at += strlen(at + 1) + 2;
  }
  walk_dir *d = b->d;
  pthread_mutex_lock(&w->lock);
  d->busy--;
  b->next = w->spare;
  w->spare = b;
  pthread_mutex_unlock(&w->lock);
  walk_unpin(w, me, d);
}

static void run_task(crew *w, worker *me, task *t) {
  if (t->b != NULL) {
    run_batch(w, me, t->b);
  } else if (t->s != NULL) {
    t->s->piece(w, me, t->s, t->at, t->end);
    unpin_shared(w, me, t->s);
  }
}

void crew_share(crew *w, worker *me, shared *s) {
  task t = {.s = s};
  atomic_init(&s->pins, 1);
  pthread_mutex_lock(&w->lock);
  s->next = w->shares;
  w->shares = s;
  s->listed = true;
  if (w->waiting) pthread_cond_signal(&w->moved);
  off_t pieces = (s->end - s->at) / COPY_PIECE;
  for (off_t i = 0; i < pieces && i < COPY_HELPERS; i++) call_helper(w);
  while (s->listed) {
    take_piece(w, s, &t);
    pthread_mutex_unlock(&w->lock);
    run_task(w, me, &t);
    pthread_mutex_lock(&w->lock);
  }
  pthread_mutex_unlock(&w->lock);
  unpin_shared(w, me, s);
}


/* ------------------------------------------------------------------
** Working
** ---------------------------------------------------------------- */

/* With the lock held, after something that the coordinator may wait for. */
static void tell(crew *w) {
  if (w->waiting) pthread_cond_signal(&w->moved);
}

void crew_tell(crew *w) {
  pthread_mutex_lock(&w->lock);
  tell(w);
  pthread_mutex_unlock(&w->lock);
}

/* A helper, on its thread. */
static void help(job *j) {
  helper *h = (helper *)j;
  crew *w = h->w;
  task t;
  pthread_mutex_lock(&w->lock);
  while (take(w, &t)) {
    tell(w);
    pthread_mutex_unlock(&w->lock);
    run_task(w, &h->me, &t);
    pthread_mutex_lock(&w->lock);
  }
  h->submitted = false;
  w->helping--;
  tell(w);
  pthread_mutex_unlock(&w->lock); /* the last that is touched of it */
}

/* With the lock held. */
static bool is_ready(crew *w, crew_ready ready, walk_dir *d) {
  switch (ready) {
    case READY_ROOM: return w->queued < QUEUE_MOST;
    case READY_LIVE: return atomic_load(&w->live) < w->live_most;
    case READY_ALONE: return atomic_load(&d->pins) == 1;
    default: return w->first == NULL && w->shares == NULL && w->helping == 0;
  }
}

/* With the lock held: helpers whom no thread has taken yet. */
static void take_back(crew *w) {
  for (unsigned i = 0; i < COPY_HELPERS; i++) {
    helper *h = &w->helpers[i];
    if (!h->submitted || !pool_withdraw(&h->j)) continue;
    h->submitted = false;
    w->helping--;
  }
}

void crew_work_until(crew *w, crew_ready ready, walk_dir *d) {
  task t;
  pthread_mutex_lock(&w->lock);
  while (!is_ready(w, ready, d)) {
    if (take(w, &t)) {
      pthread_mutex_unlock(&w->lock);
      run_task(w, &w->own, &t);
      pthread_mutex_lock(&w->lock);
      continue;
    }
    take_back(w); /* there is nothing left for them */
    if (is_ready(w, ready, d)) break;
    w->waiting = true;
    pthread_cond_wait(&w->moved, &w->lock);
    w->waiting = false;
  }
  pthread_mutex_unlock(&w->lock);
}

void crew_close(crew *w) {
  crew_work_until(w, READY_FINISHED, NULL);
  while (w->spare != NULL) {
    batch *b = w->spare;
    w->spare = b->next;
    mem_free(b);
  }
  for (unsigned i = 0; i < COPY_HELPERS; i++)
    mem_free(w->helpers[i].me.scratch);
  mem_free(w->own.scratch);
  mem_free(w->buffer);
  pthread_cond_destroy(&w->moved);
  pthread_mutex_destroy(&w->lock);
  atomic_fetch_sub(&crews, 1);
}
