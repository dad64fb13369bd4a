/*
** Lending locks. Operations of one process that may be at the same time share
** one lock file, so that only the first of them waits until it has settled.
** What wants the repository for itself waits for those, too.
*/
#include <errno.h>
#include <string.h>

#include "repository/repo_parts.h"

static bool hold_stopped(const repo_stop *stop) {
  const repo_hold *h = (const repo_hold *)stop;
  return repo_stopped(h->outer) ||
         (h->lock != NULL && repo_lock_is_lost(h->lock));
}


/* ------------------------------------------------------------------
** Among ourselves
** ---------------------------------------------------------------- */

static error *locked_here(const repo *r) {
  return repo_error(SAROS_E_LOCKED,
                    "the repository %s is locked by another operation of this "
                    "very process; wait for that, or let this one wait "
                    "(retry_lock)",
                    r->store->location);
}

static bool must_wait(const repo *r, bool exclusive) {
  return r->taking || r->exclusive || (exclusive && r->sharers > 0);
}

/* With the lock held: until it is ours to take, or to share. */
static error *wait_here(repo *r, bool exclusive, uint64_t retry_ms,
                        const repo_stop *stop,
                        void (*waits)(void *context, const char *why),
                        void *context) {
  uint64_t until = repo_clock() + retry_ms;
  bool told = false;
  while (must_wait(r, exclusive)) {
    /* Somebody takes one this moment: that has an end of its own. */
    bool settles = r->taking && !r->exclusive && !exclusive;
    if (repo_stopped(stop))
      return repo_error(SAROS_E_CANCELLED, "waiting for a lock was cancelled");
    if (!settles && repo_clock() >= until) return locked_here(r);
    if (!settles && !told && waits != NULL) {
      pthread_mutex_unlock(&r->lock);
      waits(context, "another operation of this process has the repository");
      pthread_mutex_lock(&r->lock);
      told = true;
      continue;
    }
    struct timespec step;
    clock_gettime(CLOCK_MONOTONIC, &step);
    step.tv_nsec += 50000000;
    if (step.tv_nsec >= 1000000000) {
      step.tv_nsec -= 1000000000;
      step.tv_sec++;
    }
    pthread_cond_timedwait(&r->moved, &r->lock, &step);
  }
  return NULL;
}

/* Nobody can write there: neither we, nor anybody else through this mount. */
static bool is_read_only(const error *e) {
  return e->number == EROFS;
}

bool repo_is_full(const error *e) {
  return e != NULL && (e->number == ENOSPC || e->number == EDQUOT);
}

static error *take(repo *r, repo_use use, uint64_t retry_ms,
                   const repo_stop *stop,
                   void (*waits)(void *context, const char *why), void *context,
                   repo_lock **lock) {
  bool exclusive = use >= REPO_REMOVES;
  pthread_mutex_lock(&r->lock);
  error *e = wait_here(r, exclusive, retry_ms, stop, waits, context);
  bool shares = e == NULL && !exclusive && r->shared != NULL &&
                !repo_lock_is_lost(r->shared);
  bool takes = e == NULL && !shares;
  if (shares) *lock = r->shared;
  /* One that was lost stays with those who have it. */
  if (takes && !exclusive && r->shared != NULL && r->sharers > 0) {
    e = repo_error(SAROS_E_LOCKED,
                   "operations of this process go on under a lock that was "
                   "lost; wait until they have ended");
    takes = false;
  }
  r->sharers += shares;
  r->taking = r->taking || takes;
  pthread_mutex_unlock(&r->lock);
  if (!takes) return e;
  repo_locker k = {.store = r->store,
                   .tools = r->tools,
                   .retry_ms = retry_ms,
                   .cleans = use != REPO_READS,
                   .waits = waits,
                   .context = context};
  e = repo_lock_take(&k, exclusive, stop, lock);
  pthread_mutex_lock(&r->lock);
  r->taking = false;
  if (e == NULL && exclusive) r->exclusive = true;
  if (e == NULL && !exclusive) {
    r->shared = *lock;
    r->sharers = 1;
  }
  pthread_cond_broadcast(&r->moved);
  pthread_mutex_unlock(&r->lock);
  return e;
}

static error *give_back(repo *r, repo_lock *lock) {
  bool last = true;
  pthread_mutex_lock(&r->lock);
  if (lock == r->shared) {
    last = --r->sharers == 0;
    if (last) r->shared = NULL;
    if (last) r->taking = true; /* until its file is gone */
  }
  pthread_mutex_unlock(&r->lock);
  if (!last) return NULL;
  bool exclusive = repo_lock_is_exclusive(lock);
  error *e = repo_lock_release(lock);
  pthread_mutex_lock(&r->lock);
  if (exclusive)
    r->exclusive = false;
  else
    r->taking = false;
  pthread_cond_broadcast(&r->moved);
  pthread_mutex_unlock(&r->lock);
  return e;
}


/* ------------------------------------------------------------------
** A hold
** ---------------------------------------------------------------- */

static void busy(repo_hold *h, bool begins) {
  repo_store *s = h->r->store;
  if (h->use != REPO_READS && s->way->busy != NULL) s->way->busy(s, begins);
}

/* With its lock, if it has one. */
static error *guard(repo_hold *h) {
  if (h->lock == NULL) return NULL;
  repo_store *guarded = repo_store_guard(h->r->store, h->lock);
  if (guarded != NULL) {
    h->store = guarded;
    return NULL;
  }
  error_unref(give_back(h->r, h->lock));
  h->lock = NULL;
  return error_no_memory();
}

/* Everything that changes something begins with a lock, and so would what makes
   room: so it is said what does not. */
static error *no_room(const repo *r, repo_use use, error *e) {
  error *made = repo_error(
      e->code, "there is no room in %s, not even for the lock: %s",
      r->store->location,
      use == REPO_READS
          ? "what only reads needs none while nobody prunes (no_lock, "
            "--no-lock)"
          : "forget needs none to remove versions, and with `prune` what only "
            "they needed; or remove something else from that disk, and run "
            "this again");
  if (made != error_no_memory()) made->number = e->number;
  return error_because(made, e);
}

/* Who may read it, and not write: a lock is all that he lacks. */
static error *no_right(const repo *r, error *e) {
  error *made = repo_error(e->code,
                           "no lock can be written in %s: what only reads "
                           "needs none while nobody prunes (no_lock, "
                           "--no-lock); or run "
                           "this as somebody who may write there",
                           r->store->location);
  if (made != error_no_memory()) made->number = e->number;
  return error_because(made, e);
}

error *repo_hold_catch_up(repo_hold *h) {
  if (!h->owes) return NULL;
  error *e =
      take(h->r, REPO_REMOVES, h->retry_ms, h->outer, NULL, NULL, &h->lock);
  if (e == NULL) e = guard(h);
  if (e == NULL) h->owes = false;
  return repo_is_full(e) ? no_room(h->r, REPO_REMOVES, e) : e;
}

error *repo_hold_take(repo *r, repo_use use, const repo_stop *stop,
                      void (*waits)(void *context, const char *why),
                      void *context, repo_hold **hold) {
  return repo_hold_take_within(r, use, r->retry_ms, stop, waits, context, hold);
}

error *repo_hold_take_within(repo *r, repo_use use, uint64_t retry_ms,
                             const repo_stop *stop,
                             void (*waits)(void *context, const char *why),
                             void *context, repo_hold **hold) {
  *hold = NULL;
  error *e = repo_check_open(r);
  if (e != NULL) return e;
  repo_hold *h = mem_zero(sizeof *h);
  if (h == NULL) return error_no_memory();
  h->stop.asked = hold_stopped;
  h->outer = stop;
  h->use = use;
  h->retry_ms = retry_ms;
  h->r = repo_ref(r);
  h->store = r->store;
  if (use != REPO_READS || !r->no_lock)
    e = take(r, use, retry_ms, stop, waits, context, &h->lock);
  if (e != NULL && use == REPO_READS && is_read_only(e)) {
    log_write(LOG_NOTICE, "repository",
              "%s is read-only: it is read without a lock", r->store->location);
    error_unref(e);
    e = NULL;
  }
  if (use == REPO_MAKES_ROOM && repo_is_full(e)) {
    /* Nobody was in the way, and nobody else can write there now. */
    log_write(LOG_NOTICE, "repository",
              "%s has no room for a lock: something is removed first",
              r->store->location);
    h->owes = true;
    error_unref(e);
    e = NULL;
  }
  if (repo_is_full(e)) e = no_room(r, use, e);
  if (e != NULL && use == REPO_READS &&
      (e->number == EACCES || e->number == EPERM))
    e = no_right(r, e);
  if (e == NULL) e = guard(h);
  if (e != NULL) {
    repo_unref(r);
    mem_free(h);
    return e;
  }
  h->inherits = h->lock != NULL && repo_lock_inherits(h->lock);
  busy(h, true);
  *hold = h;
  return NULL;
}

error *repo_hold_end(repo_hold *h, error *e,
                     void (*cleanup)(void *context, const char *what),
                     void *context) {
  if (h == NULL) return e;
  repo *r = h->r;
  bool lost = h->lock != NULL && repo_lock_is_lost(h->lock);
  if (lost && e != NULL && e->code == SAROS_E_CANCELLED &&
      !repo_stopped(h->outer)) {
    error_unref(e);
    e = repo_lock_assure(h->lock, NULL);
  }
  busy(h, false);
  repo_index_end(h);
  if (h->lock != NULL) {
    repo_store_close(h->store);
    error *why = give_back(r, h->lock);
    if (why != NULL && cleanup != NULL) cleanup(context, why->message);
    error_unref(why);
  }
  mem_free(h);
  repo_unref(r);
  return e;
}
