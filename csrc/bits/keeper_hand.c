/*
** The keeper's hand: a second thread, for what may take long and shall not hold
** up commits. What tries ask for comes first, because they wait for it.
*/
#include <sys/prctl.h>
#include <time.h>

#include "bits/keeper.h"

#define GATHER_NS 2000000
#define ENOUGH 64 /* files, to go on at once */

bool bits_keeper_call(bits_manager *m, void (*work)(void *context),
                      void (*then)(void *context), void *context) {
  keeper_errand *d = mem_alloc(sizeof *d);
  if (d == NULL || bits_manager_is_inherited(m)) {
    mem_free(d);
    return false;
  }
  *d = (keeper_errand){NULL, work, then, context};
  pthread_mutex_lock(&m->lock);
  bits_keeper *k = m->keeper;
  bool runs = !k->hand_over;
  if (runs) {
    *k->errands_end = d;
    k->errands_end = &d->next;
    bits_keeper_stir(m);
  }
  pthread_mutex_unlock(&m->lock);
  if (!runs) mem_free(d);
  return runs;
}

/* With the lock, let go meanwhile. False: there is none. */
static bool run_errand(bits_manager *m) {
  bits_keeper *k = m->keeper;
  keeper_errand *d = k->errands;
  if (d == NULL) return false;
  k->errands = d->next;
  if (k->errands == NULL) k->errands_end = &k->errands;
  pthread_mutex_unlock(&m->lock);
  d->work(d->context);
  if (d->then != NULL) bits_keeper_post(m, d->then, d->context);
  mem_free(d);
  pthread_mutex_lock(&m->lock);
  return true;
}

/* With the lock, let go meanwhile: small files come by the thousand, and to be
   woken for each costs more than what is done with it. */
static void gather(bits_manager *m) {
  const bits_keeper *k = m->keeper;
  if (k->errands != NULL || k->hand_stops || k->fetched_count >= ENOUGH) return;
  pthread_mutex_unlock(&m->lock);
  nanosleep(&(struct timespec){.tv_nsec = GATHER_NS}, NULL);
  pthread_mutex_lock(&m->lock);
}

/* What is FETCHED when it stops is finished when the queue is opened again; but
   bytes that lie in memory are written. */
void *bits_keeper_hand(void *context) {
  bits_manager *m = context;
  bits_keeper *k = m->keeper;
  prctl(PR_SET_NAME, "saros-hand");
  pthread_mutex_lock(&m->lock);
  for (;;) {
    if (run_errand(m)) continue;
    if (k->hand_stops && k->small == 0) break;
    if (bits_keeper_finish_some(m)) {
      gather(m);
      continue;
    }
    bits_small_tidy(k);
    if (k->hand_stops) break;
    pthread_cond_wait(&k->hand_work, &m->lock);
  }
  k->hand_over = true;
  pthread_mutex_unlock(&m->lock);
  return NULL;
}
