/*
** Keeping a lock fresh: a thread of its own writes it anew every five minutes,
** since whoever holds it may be computing, or sleeping in the kernel. A lock
** that could not be refreshed for long is not to be relied on: others may have
** taken it away, and rightly so. It is saved only when it can be seen to be
** there still, before and after a new one was written; else it is lost.
*/
#include <errno.h>
#include <signal.h>
#include <string.h>

#include "repository/lock_parts.h"

static bool is_late(const repo_lock *l) {
  return repo_clock() - l->fresh > repo_lock_time.late;
}

bool repo_lock_is_lost(const repo_lock *l) {
  return l->lost;
}


/* ------------------------------------------------------------------
** Refreshing, on the thread
** ---------------------------------------------------------------- */

static error *is_there(repo_lock *l, const repo_id *id, bool *there) {
  uint64_t size;
  error *e = l->k.store->way->size(l->k.store, REPO_LOCKS, id, &size, &l->stop);
  *there = e == NULL;
  if (e == NULL || e->number != ENOENT) return e;
  error_unref(e);
  return NULL;
}

static void remove_id(repo_lock *l, const repo_id *id) {
  error *e = l->k.store->way->remove(l->k.store, REPO_LOCKS, id, &l->stop);
  if (e == NULL) return;
  /* It stays in others' way; once more the next time, and at the end. */
  l->left = *id;
  l->has_left = true;
  error_unref(e);
}

/* The new one takes its place. */
static void replace(repo_lock *l, const repo_id *fresh, uint64_t when) {
  repo_id old = l->mine.id;
  if (l->has_left) {
    repo_id left = l->left;
    l->has_left = false;
    remove_id(l, &left);
  }
  l->mine.id = *fresh;
  l->fresh = when;
  remove_id(l, &old);
}

/* A new one; what is there although storing it has failed is not forgotten. */
static error *write_new(repo_lock *l, repo_id *fresh) {
  memset(fresh, 0, sizeof *fresh);
  error *e = repo_lock_write(l, fresh, &l->stop);
  if (e == NULL || l->has_left) return e;
  l->left = *fresh;
  l->has_left = true;
  return e;
}

static error *gone(repo_lock *l) {
  l->gone = true;
  l->lost = true;
  return repo_error(SAROS_E_LOCKED,
                    "somebody has removed the lock that this operation held, "
                    "so what it does is not safe any more; start it again");
}

/* In time. If somebody has removed it all the same, he may have had the
   repository for himself since, and be done: that nobody is in its way now
   proves nothing. */
static error *refresh(repo_lock *l) {
  repo_id fresh;
  bool there;
  uint64_t when = repo_clock();
  error *e = is_there(l, &l->mine.id, &there);
  /* Twice, in case that a store has not told us all it knows. */
  if (e == NULL && !there && repo_pause(&l->stop, repo_lock_time.settle))
    e = is_there(l, &l->mine.id, &there);
  if (e == NULL && !there) e = gone(l);
  if (e == NULL) e = write_new(l, &fresh);
  if (e == NULL) replace(l, &fresh, when);
  return e;
}

/* Too late: nothing is changed meanwhile, since all that would ask waits. */
static error *save_late(repo_lock *l) {
  repo_id fresh;
  bool there;
  uint64_t when = repo_clock();
  error *e = is_there(l, &l->mine.id, &there);
  if (e == NULL && !there) e = gone(l);
  if (e == NULL) e = write_new(l, &fresh);
  if (e != NULL) {
    l->lost = true;
    return e;
  }
  if (repo_pause(&l->stop, repo_lock_time.settle))
    e = is_there(l, &l->mine.id, &there);
  if (e == NULL && !there) e = gone(l);
  if (e == NULL) {
    replace(l, &fresh, when);
    return NULL;
  }
  remove_id(l, &fresh);
  l->lost = true;
  return e;
}

static void refresh_once(repo_lock *l) {
  bool late = is_late(l);
  error *e = late ? save_late(l) : refresh(l);
  if (e == NULL || l->ends) {
    error_unref(e);
    return;
  }
  log_write(LOG_WARNING, "repository", "the lock could not be refreshed%s: %s",
            l->lost ? ", and is lost" : "", e->message);
  error_unref(e);
}

/* From now on, on the clock that the condition knows. */
static struct timespec in(uint64_t ms) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  t.tv_sec += (time_t)(ms / 1000);
  t.tv_nsec += (long)(ms % 1000) * 1000000;
  if (t.tv_nsec >= 1000000000) {
    t.tv_nsec -= 1000000000;
    t.tv_sec++;
  }
  return t;
}

/* What failed is tried again sooner. */
static uint64_t next_in(const repo_lock *l) {
  uint64_t gone_by = repo_clock() - l->fresh, every = repo_lock_time.refresh;
  return gone_by < every ? every - gone_by : every / 10 + 1;
}

static void *keep(void *argument) {
  repo_lock *l = argument;
  pthread_mutex_lock(&l->lock);
  while (!l->ends && !l->lost) {
    struct timespec until = in(next_in(l));
    while (!l->ends && !l->asked)
      if (pthread_cond_timedwait(&l->moved, &l->lock, &until) == ETIMEDOUT)
        break;
    if (l->ends) break;
    pthread_mutex_unlock(&l->lock);
    refresh_once(l);
    pthread_mutex_lock(&l->lock);
    l->asked = false;
    pthread_cond_broadcast(&l->moved);
  }
  pthread_mutex_unlock(&l->lock);
  return NULL;
}

error *repo_lock_keep(repo_lock *l) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before); /* the host's are the host's */
  int r = pthread_create(&l->thread, NULL, keep, l);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  l->has_thread = r == 0;
  if (r == 0) return NULL;
  return repo_error(code_of_errno(r),
                    "there is no thread to be had that would keep the lock of "
                    "the repository fresh");
}

void repo_lock_leave(repo_lock *l) {
  if (!l->has_thread) return;
  pthread_mutex_lock(&l->lock);
  l->ends = true;
  pthread_cond_broadcast(&l->moved);
  pthread_mutex_unlock(&l->lock);
  pthread_join(l->thread, NULL);
  l->has_thread = false;
}


/* ------------------------------------------------------------------
** Asking
** ---------------------------------------------------------------- */

static error *lost(repo_lock *l) {
  if (l->gone) return gone(l);
  return repo_error(SAROS_E_LOCKED,
                    "the lock of the repository could not be refreshed in "
                    "time, so somebody else may have taken it: what was "
                    "stored is kept; start it again");
}

/* With the lock held: for a moment, to look whether it shall end. */
static void wait_for_it(repo_lock *l) {
  struct timespec until = in(50);
  pthread_cond_broadcast(&l->moved);
  pthread_cond_timedwait(&l->moved, &l->lock, &until);
}

static error *answer(repo_lock *l, bool stopped) {
  if (l->lost) return lost(l);
  if (!stopped) return NULL;
  return repo_error(SAROS_E_CANCELLED, "waiting for a lock was cancelled");
}

error *repo_lock_assure(repo_lock *l, const repo_stop *stop) {
  if (!l->lost && !is_late(l)) return NULL;
  bool stopped = false;
  pthread_mutex_lock(&l->lock);
  while (!l->lost && is_late(l) && !(stopped = repo_stopped(stop))) {
    l->asked = true;
    wait_for_it(l);
  }
  pthread_mutex_unlock(&l->lock);
  return answer(l, stopped);
}

/* When the store cannot be asked just now that is no proof of anything. */
error *repo_lock_prove(repo_lock *l, uint64_t most_ms, const repo_stop *stop) {
  error *e = repo_lock_assure(l, stop);
  if (e != NULL || repo_clock() - l->fresh <= most_ms) return e;
  bool stopped = false;
  pthread_mutex_lock(&l->lock);
  l->asked = true;
  while (!l->lost && l->asked && !(stopped = repo_stopped(stop)))
    wait_for_it(l);
  pthread_mutex_unlock(&l->lock);
  return answer(l, stopped);
}
