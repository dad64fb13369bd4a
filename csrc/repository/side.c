/*
** side: the threads, and how they end.
*/
#include "repository/side.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <unistd.h>

#define THREADS_MOST 16u

typedef struct siding {
  const repo_side *s;
  _Atomic size_t next;
  _Atomic bool failed;
  pthread_mutex_t lock; /* innermost */
  error *why;
} siding;

typedef struct side_hand {
  repo_hand hand; /* first */
  siding *of;
} side_hand;

static bool hand_stopped(const repo_stop *stop) {
  const siding *of = ((const side_hand *)stop)->of;
  return of->failed || repo_stopped(of->s->stop);
}

static void fail(siding *of, error *e) {
  pthread_mutex_lock(&of->lock);
  if (of->why == NULL)
    of->why = e;
  else
    error_unref(e);
  of->failed = true;
  pthread_mutex_unlock(&of->lock);
}

static bool next(siding *of, repo_hand *hand, size_t *number) {
  const repo_side *s = of->s;
  if (s->next != NULL) return s->next(s->context, hand, number);
  if (repo_stopped(&hand->stop)) return false;
  *number = atomic_fetch_add(&of->next, 1);
  return *number < s->count;
}

static void *work(void *argument) {
  siding *of = argument;
  side_hand h = {.hand = {.stop = {hand_stopped}}, .of = of};
  size_t number;
  error *e = repo_tools_take(of->s->tools, &h.hand.tool);
  if (e != NULL) fail(of, e);
  while (e == NULL && next(of, &h.hand, &number)) {
    error *wrong = of->s->each(of->s->context, &h.hand, number);
    if (wrong != NULL) fail(of, wrong);
  }
  repo_tools_give(of->s->tools, h.hand.tool);
  repo_space_free(&h.hand.sealed);
  repo_space_free(&h.hand.space);
  repo_pair_free(&h.hand.pair);
  buffer_free(&h.hand.file);
  return NULL;
}

static unsigned threads_for(const repo_side *s) {
  long cores = sysconf(_SC_NPROCESSORS_ONLN);
  unsigned wanted = s->store->connections;
  if (cores > 0 && wanted < (unsigned long)cores) wanted = (unsigned)cores;
  if (wanted > THREADS_MOST) wanted = THREADS_MOST;
  if (s->next == NULL && wanted > s->count) wanted = (unsigned)s->count;
  return wanted;
}

error *repo_side_by_side(const repo_side *s) {
  pthread_t threads[THREADS_MOST];
  sigset_t all, before;
  siding of = {.s = s};
  unsigned wanted = threads_for(s), count = 0;
  pthread_mutex_init(&of.lock, NULL);
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before); /* signals are the host's */
  while (count + 1 < wanted &&
         pthread_create(&threads[count], NULL, work, &of) == 0)
    count++;
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  work(&of);
  while (count > 0) pthread_join(threads[--count], NULL);
  pthread_mutex_destroy(&of.lock);
  if (of.why == NULL && repo_stopped(s->stop))
    return repo_error(SAROS_E_CANCELLED, "the work was cancelled");
  return of.why;
}
