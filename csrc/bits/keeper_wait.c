/*
** Who waits for a commit: threads that have told something and want to know
** that it is kept, and tries that may not go on before.
*/
#include <unistd.h>

#include "bits/keeper.h"

/* With the lock. */
static void enlist(bits_manager *m, keeper_waiter *w) {
  bits_keeper *k = m->keeper;
  w->next = NULL;
  *k->waiters_end = w;
  k->waiters_end = &w->next;
  k->commit_at = 0;
  bits_keeper_wake(m);
}

/* With the lock: what was told until now is committed already. */
static bool is_kept(const bits_manager *m, bool full) {
  const bits_keeper *k = m->keeper;
  return (full ? k->committed_full : k->committed) >= m->changes;
}

static error *not_there(const bits_manager *m) {
  if (bits_manager_is_inherited(m))
    return bits_fail(SAROS_E_FORKED,
                     "the queue %s was opened by the parent of this process",
                     m->path);
  return bits_fail(SAROS_E_CLOSED, "the queue %s was closed", m->path);
}

error *bits_keeper_flush(bits_manager *m, bool full) {
  keeper_waiter w = {.full = full, .m = m};
  if (bits_manager_is_inherited(m)) return not_there(m);
  pthread_mutex_lock(&m->lock);
  /* One that has not begun yet will, or will be stopped, which says so. */
  if (m->keeper->over) {
    w.e = not_there(m);
  } else if (m->owner && !is_kept(m, full)) {
    enlist(m, &w);
    while (!w.over) pthread_cond_wait(&m->done, &m->lock);
  }
  pthread_mutex_unlock(&m->lock);
  return w.e;
}

/* ------------------------------------------------------------------
** Tries
** ---------------------------------------------------------------- */

static void on_the_lane(void *context) {
  keeper_waiter *w = context;
  w->call(w->context, w->e);
  error_unref(w->e);
  mem_free(w);
}

/* What was promised has to be kept, and there is nothing that could be done
   instead: memory comes back, or nothing here goes on anyway. */
static void *insist(size_t size) {
  void *block;
  while ((block = mem_zero(size)) == NULL) usleep(1000);
  return block;
}

void bits_keeper_post(bits_manager *m, void (*call)(void *context),
                      void *context) {
  while (!http_lane_call(m->lane, call, context)) {
    if (bits_manager_is_inherited(m)) return;
    usleep(1000);
  }
}

void bits_file_commit(bits_file *f, bits_committed call, void *context) {
  bits_manager *m = f->job->m;
  keeper_waiter *w = insist(sizeof *w);
  *w = (keeper_waiter){.full = true, .m = m, .call = call, .context = context};
  pthread_mutex_lock(&m->lock);
  bool waits = !m->keeper->over && m->owner && !is_kept(m, true);
  if (waits)
    enlist(m, w);
  else if (m->keeper->over)
    w->e = not_there(m);
  pthread_mutex_unlock(&m->lock);
  if (!waits) bits_keeper_post(m, on_the_lane, w);
}

/* ------------------------------------------------------------------
** For the keeper
** ---------------------------------------------------------------- */

keeper_waiters bits_keeper_waiters(bits_manager *m) {
  bits_keeper *k = m->keeper;
  keeper_waiters all = {k->waiters, false};
  for (const keeper_waiter *w = all.first; w != NULL; w = w->next)
    all.full |= w->full;
  k->waiters = NULL;
  k->waiters_end = &k->waiters;
  return all;
}

/* One that is over may be gone the next moment: it stands on the stack of its
   thread. */
void bits_keeper_answer(bits_manager *m, keeper_waiters *all, error *e) {
  keeper_waiter *posted = NULL;
  pthread_mutex_lock(&m->lock);
  for (keeper_waiter *w = all->first, *next; w != NULL; w = next) {
    next = w->next;
    w->e = e != NULL ? error_ref(e) : NULL;
    if (w->call != NULL) {
      w->next = posted;
      posted = w;
    } else {
      w->over = true;
    }
  }
  pthread_cond_broadcast(&m->done);
  pthread_mutex_unlock(&m->lock);
  for (keeper_waiter *w = posted, *next; w != NULL; w = next) {
    next = w->next;
    bits_keeper_post(m, on_the_lane, w);
  }
}
