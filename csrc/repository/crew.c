/*
** crew: threads and three queues.
*/
#include "repository/crew.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>

#define THREADS_MOST 64

typedef struct queue {
  crew_job *first, *last;
} queue;

struct crew {
  const crew_way *way;
  void *context;
  pthread_mutex_t lock; /* no other is taken inside it */
  pthread_cond_t work, rest;
  queue queues[CREW_DEEP + 1];
  unsigned jobs;    /* that wait */
  _Atomic int idle; /* threads without a job, less jobs that wait for one */
  unsigned busy, ready, failed, count;
  bool ends;
  error *why; /* why a thread could not begin */
  pthread_t threads[THREADS_MOST];
};


/* ------------------------------------------------------------------
** Queues, with the lock held
** ---------------------------------------------------------------- */

static void put(crew *c, crew_job *job, crew_rank rank) {
  queue *q = &c->queues[rank];
  job->next = NULL;
  if (q->first == NULL) {
    q->first = q->last = job;
  } else if (rank == CREW_DEEP) {
    job->next = q->first;
    q->first = job;
  } else {
    q->last->next = job;
    q->last = job;
  }
  c->jobs++;
}

static crew_job *take(crew *c, crew_rank least) {
  for (int rank = 0; rank <= (int)least; rank++) {
    queue *q = &c->queues[rank];
    crew_job *job = q->first;
    if (job == NULL) continue;
    q->first = job->next;
    if (q->first == NULL) q->last = NULL;
    c->jobs--;
    return job;
  }
  return NULL;
}


/* ------------------------------------------------------------------
** Threads
** ---------------------------------------------------------------- */

static void turn(crew *c, void *hand) {
  pthread_mutex_lock(&c->lock);
  atomic_fetch_add(&c->idle, 1);
  for (;;) {
    crew_job *job = take(c, CREW_DEEP);
    if (job != NULL) {
      c->busy++;
      pthread_mutex_unlock(&c->lock);
      job->run(job, hand);
      pthread_mutex_lock(&c->lock);
      atomic_fetch_add(&c->idle, 1);
      if (--c->busy == 0 && c->jobs == 0) pthread_cond_broadcast(&c->rest);
    } else if (c->ends) {
      break;
    } else {
      pthread_cond_wait(&c->work, &c->lock);
    }
  }
  pthread_mutex_unlock(&c->lock);
}

static void *work(void *argument) {
  crew *c = argument;
  error *e = NULL;
  void *hand = c->way->begin(c->context, &e);
  pthread_mutex_lock(&c->lock);
  if (hand != NULL)
    c->ready++;
  else
    c->failed++;
  if (c->why == NULL)
    c->why = e;
  else
    error_unref(e);
  pthread_cond_broadcast(&c->rest);
  pthread_mutex_unlock(&c->lock);
  if (hand == NULL) return NULL;
  turn(c, hand);
  c->way->end(c->context, hand);
  return NULL;
}

static void start(crew *c, unsigned threads) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the host's */
  while (c->count < threads && c->count < THREADS_MOST &&
         pthread_create(&c->threads[c->count], NULL, work, c) == 0)
    c->count++;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  pthread_mutex_lock(&c->lock);
  while (c->ready + c->failed < c->count) pthread_cond_wait(&c->rest, &c->lock);
  pthread_mutex_unlock(&c->lock);
}

crew *repo_crew_new(unsigned threads, const crew_way *way, void *context,
                    error **e) {
  crew *c = mem_zero(sizeof *c);
  *e = NULL;
  if (c == NULL) {
    *e = error_no_memory();
    return NULL;
  }
  c->way = way;
  c->context = context;
  pthread_mutex_init(&c->lock, NULL);
  pthread_cond_init(&c->work, NULL);
  pthread_cond_init(&c->rest, NULL);
  start(c, threads);
  if (c->ready > 0) return c;
  *e = c->why != NULL ? error_ref(c->why)
                      : repo_error(SAROS_E_OUTOFMEMORY,
                                   "no thread can be started: there are too "
                                   "many already");
  repo_crew_free(c);
  return NULL;
}

void repo_crew_push(crew *c, crew_job *job, crew_rank rank) {
  pthread_mutex_lock(&c->lock);
  put(c, job, rank);
  atomic_fetch_sub(&c->idle, 1);
  pthread_cond_signal(&c->work);
  pthread_mutex_unlock(&c->lock);
}

bool repo_crew_has_idle(const crew *c) {
  return atomic_load_explicit(&c->idle, memory_order_relaxed) > 0;
}

bool repo_crew_has_room(const crew *c) {
  int waiting = -atomic_load_explicit(&c->idle, memory_order_relaxed);
  return waiting + 1 < (int)c->ready;
}

bool repo_crew_help(crew *c, void *hand) {
  pthread_mutex_lock(&c->lock);
  crew_job *job = take(c, CREW_URGENT);
  pthread_mutex_unlock(&c->lock);
  if (job == NULL) return false;
  atomic_fetch_add(&c->idle, 1); /* the thread it was meant for has none */
  job->run(job, hand);
  return true;
}

void repo_crew_wait(crew *c) {
  pthread_mutex_lock(&c->lock);
  while (c->busy > 0 || c->jobs > 0) pthread_cond_wait(&c->rest, &c->lock);
  pthread_mutex_unlock(&c->lock);
}

void repo_crew_free(crew *c) {
  pthread_mutex_lock(&c->lock);
  c->ends = true;
  pthread_cond_broadcast(&c->work);
  pthread_mutex_unlock(&c->lock);
  while (c->count > 0) pthread_join(c->threads[--c->count], NULL);
  error_unref(c->why);
  pthread_cond_destroy(&c->rest);
  pthread_cond_destroy(&c->work);
  pthread_mutex_destroy(&c->lock);
  mem_free(c);
}
