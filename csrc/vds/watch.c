/*
** watch: one thread sleeps in the kernel, the other looks after it.
*/
#include "vds/watch.h"

#include <pthread.h>
#include <signal.h>
#include <time.h>

#include "vds/step.h"

#define LOOK_NS 100000000 /* between two looks */
#define STOP_NS 5000000   /* between two attempts to stop it */

typedef struct watching {
  vds_call *c;
  const vds_watched *w;
  pthread_mutex_t lock;
  pthread_cond_t ended;
  bool over;
} watching;


/* Nobody commits while it works, so that is not asked twice. */
static long look(const watching *g, bool can_stop) {
  vds_step("watch: looks");
  if (can_stop && saros_op_cancelled(g->c->op)) {
    g->w->stop(g->w->context);
    return STOP_NS;
  }
  if (g->w->look != NULL) g->w->look(g->w->context);
  return LOOK_NS;
}


static void sleep_a_while(watching *g, long ns) {
  struct timespec until;
  clock_gettime(CLOCK_MONOTONIC, &until);
  until.tv_nsec += ns;
  if (until.tv_nsec >= 1000000000) {
    until.tv_nsec -= 1000000000;
    until.tv_sec++;
  }
  pthread_cond_timedwait(&g->ended, &g->lock, &until);
}


static void *watch(void *context) {
  watching *g = context;
  bool can_stop = g->w->stop != NULL && !g->c->committed;
  pthread_mutex_lock(&g->lock);
  while (!g->over) {
    pthread_mutex_unlock(&g->lock);
    long ns = look(g, can_stop);
    pthread_mutex_lock(&g->lock);
    if (!g->over) sleep_a_while(g, ns);
  }
  pthread_mutex_unlock(&g->lock);
  return NULL;
}


/* Signals are for the threads of the host. */
static int begin(watching *g, pthread_t *thread) {
  sigset_t all, before;
  pthread_condattr_t how;
  int number = pthread_condattr_init(&how);
  if (number != 0) return number;
  pthread_condattr_setclock(&how, CLOCK_MONOTONIC);
  number = pthread_cond_init(&g->ended, &how);
  pthread_condattr_destroy(&how);
  if (number != 0) return number;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  number = pthread_create(thread, NULL, watch, g);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  if (number != 0) pthread_cond_destroy(&g->ended);
  return number;
}


error *vds_watched_run(vds_call *c, const vds_watched *w, int *result) {
  watching g = {.c = c, .w = w, .lock = PTHREAD_MUTEX_INITIALIZER};
  pthread_t thread;
  int number = begin(&g, &thread);
  if (number != 0)
    return vds_errno(number, "nobody could watch over it, so it is not begun",
                     NULL);
  *result = w->work(w->context);
  pthread_mutex_lock(&g.lock);
  g.over = true;
  pthread_cond_signal(&g.ended);
  pthread_mutex_unlock(&g.lock);
  pthread_join(thread, NULL);
  vds_step("watch: over");
  pthread_cond_destroy(&g.ended);
  return NULL;
}
