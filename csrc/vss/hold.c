/*
** Holding file systems still.
**
** While something is frozen nothing here asks for memory, opens or writes a
** file, or logs; errors are made when it is thawed again, or on its way. Each
** FIFREEZE is on a thread of its own, because it may sleep in the kernel for as
** long as it likes. One more thread, the keeper, is taken before the first
** freeze and does nothing but wait to thaw. They are of the pool's lane for
** this: in any other all threads may be asleep in writes to what is frozen.
**
** A hold is limited three times: here by a timer, which thaws though the
** machine may be waiting for something else; by the guard, should this whole
** process hang; and at the end what was measured decides.
*/
#include "vss/hold.h"

#include <errno.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#include "op/fork.h"
#include "vss/hold_parts.h"

#define THAW_TRIES 20
#define THAW_PAUSE 10000000 /* nanoseconds */

#ifdef SAROS_TEST
void (*_Atomic hold_hook)(const char *path, hold_moment moment);

static void moment(const stop *s, hold_moment now) {
  void (*hook)(const char *, hold_moment) = hold_hook;
  if (hook != NULL) hook(s->path, now);
}
#else
#define moment(s, now) ((void)0)
#endif


/* ------------------------------------------------------------------
** On the lane
** ---------------------------------------------------------------- */

/* EINVAL: somebody was first. Anything else is no answer. */
static void thaw_now(stop *s) {
  int r = 0;
  for (int i = 0; i < THAW_TRIES; i++) {
    r = ioctl(s->fd, FITHAW, 0) == 0 ? 0 : errno;
    if (r == 0 || r == EINVAL) break;
    struct timespec t = {.tv_nsec = THAW_PAUSE};
    nanosleep(&t, NULL);
  }
  s->thawed_at = engine_clock();
  s->thaw_errno = r;
  /* What could not be thawed is left to the guard. */
  if (r == 0 || r == EINVAL) guard_mark(s->h->guard, s->item, false);
  atomic_store(&s->state, STOP_THAWED);
}

static void thaw(stop *s) {
  moment(s, MOMENT_THAW);
  thaw_now(s);
}

/* What is dirty is written before writers have to wait for it. That it fails
   is told to who writes it. */
static void flush(machine_job *mj) {
  stop *s = (stop *)mj;
  moment(s, MOMENT_FLUSH);
  syncfs(s->fd);
}

static void freeze(machine_job *mj) {
  stop *s = (stop *)mj;
  moment(s, MOMENT_FREEZE);
  if (atomic_load(&s->state) != STOP_FREEZING) return; /* given up */
  if (!guard_mark(s->h->guard, s->item, true)) {
    s->guard_gone = true;
    return;
  }
  s->begun = engine_clock();
  s->freeze_errno = ioctl(s->fd, FIFREEZE, 0) == 0 ? 0 : errno;
  if (s->freeze_errno != 0) {
    guard_mark(s->h->guard, s->item, false);
    return;
  }
  s->frozen_at = engine_clock();
  moment(s, MOMENT_FROZEN);
  int expected = STOP_FREEZING;
  if (!atomic_compare_exchange_strong(&s->state, &expected, STOP_FROZEN))
    thaw(s); /* too late */
}

/* Whoever gives up meanwhile has nothing to do: it is thawed here in any
   case. */
static void rehearse(machine_job *mj) {
  stop *s = (stop *)mj;
  if (atomic_load(&s->state) != STOP_FREEZING) return; /* given up */
  syncfs(s->fd);
  if (!guard_mark(s->h->guard, s->item, true)) {
    s->guard_gone = true;
    return;
  }
  s->freeze_errno = ioctl(s->fd, FIFREEZE, 0) == 0 ? 0 : errno;
  if (s->freeze_errno == 0) {
    moment(s, MOMENT_REHEARSED);
    thaw_now(s);
  } else {
    guard_mark(s->h->guard, s->item, false);
  }
}

/* In reverse, one after the other. One that is not frozen yet is the business
   of the thread that freezes it. */
static void keep(machine_job *mj) {
  hold *h = (hold *)(void *)((char *)mj - offsetof(hold, keeper));
  pthread_mutex_lock(&h->lock);
  h->keeper_ready = true;
  pthread_mutex_unlock(&h->lock);
  machine_wake(h->m);
  pthread_mutex_lock(&h->lock);
  while (!h->released) pthread_cond_wait(&h->go, &h->lock);
  pthread_mutex_unlock(&h->lock);
  for (size_t i = h->count; i-- > 0;)
    if (atomic_load(&h->stops[i].state) == STOP_FROZEN) thaw(&h->stops[i]);
}


/* ------------------------------------------------------------------
** Jobs
** ---------------------------------------------------------------- */

static bool is_out(machine_job *mj, bool *submitted) {
  if (*submitted && atomic_load(&mj->back)) *submitted = false;
  return *submitted;
}

/* No thread has taken it yet, and none shall. */
static void take_back(machine_job *mj, bool *submitted) {
  if (is_out(mj, submitted) && pool_withdraw(&mj->j)) *submitted = false;
}

static int send(hold *h, stop *s, void (*work)(machine_job *mj)) {
  int r = machine_submit(h->m, &s->job, POOL_HELD, work);
  s->submitted = r == 0;
  return r;
}

static bool any_out(hold *h) {
  bool out = is_out(&h->keeper, &h->keeper_submitted);
  for (size_t i = 0; i < h->count; i++)
    out |= is_out(&h->stops[i].job, &h->stops[i].submitted);
  return out;
}

/* Thaws what is frozen, and sees to it that what will be is thawed at once.
   Engine thread; may be called again. */
static void give_up(hold *h) {
  for (size_t i = 0; i < h->count; i++) {
    stop *s = &h->stops[i];
    int expected = STOP_FREEZING;
    atomic_compare_exchange_strong(&s->state, &expected, STOP_GIVEN_UP);
  }
  pthread_mutex_lock(&h->lock);
  h->released = true;
  pthread_cond_signal(&h->go);
  pthread_mutex_unlock(&h->lock);
  for (size_t i = 0; i < h->count; i++)
    take_back(&h->stops[i].job, &h->stops[i].submitted);
  take_back(&h->keeper, &h->keeper_submitted);
}

static void out_of_time(timer *t) {
  hold *h = (hold *)(void *)((char *)t - offsetof(hold, t));
  h->expired = true;
  give_up(h);
  machine_wake(h->m);
}

static void limit(hold *h) {
  timer_cancel(&h->t); /* on the engine thread: exact */
  h->t.fire = out_of_time;
  timer_set(&h->t, engine_clock() + h->limit);
}


/* ------------------------------------------------------------------
** What went wrong
** ---------------------------------------------------------------- */

static error *why_not(const stop *s) {
  if (s->guard_gone)
    return vss_error(SAROS_E_REFUSED,
                     "%s was not frozen, because the guard that would thaw it "
                     "after a crash has been killed; try again",
                     s->path);
  switch (s->freeze_errno) {
    case EBUSY:
      return vss_error(VSS_E_VOLUME_IN_USE,
                       "%s is frozen already, by somebody else; when nobody "
                       "needs that any more, fsfreeze --unfreeze %s thaws it",
                       s->path, s->path);
    case EOPNOTSUPP:
    case ENOTTY:
      return vss_error(VSS_E_VOLUME_NOT_SUPPORTED,
                       "%s cannot be frozen, because its file system (%s) "
                       "does not know how; take another provider for it",
                       s->path, s->type);
    case EPERM:
    case EACCES:
      return vss_error(SAROS_E_ACCESSDENIED,
                       "%s may not be frozen by this process; that needs root, "
                       "or CAP_SYS_ADMIN",
                       s->path);
    default:
      return error_of_errno(SAROS_FACADE_VSS, s->freeze_errno,
                            "cannot be frozen", s->path);
  }
}

static error *not_thawed(const stop *s) {
  return error_of_errno(SAROS_FACADE_VSS, s->thaw_errno,
                        "cannot be thawed; its guard goes on trying, and "
                        "fsfreeze --unfreeze may help",
                        s->path);
}

static hold_result fail(hold *h, error **e, error *why) {
  h->phase = HOLD_BROKEN;
  *e = why;
  return HOLD_FAILED;
}

static hold_result fail_at(hold *h, error **e, const stop *s) {
  give_up(h); /* before memory is asked for */
  error *why = why_not(s);
  return fail(h, e, why->path == NULL ? error_at(why, s->path) : why);
}

static hold_result fail_errno(hold *h, error **e, int number) {
  give_up(h);
  return fail(
      h, e,
      error_of_errno(SAROS_FACADE_VSS, number,
                     "cannot get the threads that a freeze needs", NULL));
}

/* Names one that it took too long. */
static hold_result fail_late(hold *h, error **e) {
  give_up(h);
  const char *path = h->stops[0].path;
  for (size_t i = 0; i < h->count; i++)
    if (h->stops[i].submitted) path = h->stops[i].path;
  return fail(h, e,
              error_at(vss_error(VSS_E_FLUSH_WRITES_TIMEOUT,
                                 "what was written to %s could not be brought "
                                 "to disk and held there within %g s; try "
                                 "again when less is written, or allow it more "
                                 "time (timeouts.hold)",
                                 path, h->seconds),
                       path));
}


/* ------------------------------------------------------------------
** Rehearsing
** ---------------------------------------------------------------- */

static void next_level(hold *h) {
  h->level = h->level_end;
  unsigned depth = h->stops[h->level].depth;
  while (h->level_end < h->count && h->stops[h->level_end].depth == depth)
    h->level_end++;
}

/* What lies deeper must be thawed before that on which it lies is frozen: its
   own freeze writes. */
static void rehearse_level(hold *h) {
  next_level(h);
  for (size_t i = h->level; i < h->level_end; i++) {
    atomic_store(&h->stops[i].state, STOP_FREEZING);
    int r = send(h, &h->stops[i], rehearse);
    if (r != 0) h->stops[i].freeze_errno = r;
  }
}

void hold_rehearse(hold *h, machine *m) {
  h->m = m;
  h->phase = HOLD_REHEARSING;
  if (h->count == 0) return;
  limit(h);
  rehearse_level(h);
}

static void rehearsed(hold *h) {
  for (size_t i = 0; i < h->count; i++) {
    stop *s = &h->stops[i];
    atomic_store(&s->state, STOP_FREE);
    s->thaw_errno = 0;
    s->thawed_at = 0;
  }
  h->level = h->level_end = 0;
  h->phase = HOLD_PLANNED;
}

hold_result hold_rehearse_step(hold *h, error **e) {
  bool out = false;
  *e = NULL;
  for (size_t i = 0; i < h->count; i++)
    out |= is_out(&h->stops[i].job, &h->stops[i].submitted);
  if (h->phase == HOLD_BROKEN) return HOLD_FAILED;
  if (h->expired) return fail_late(h, e);
  if (out) return HOLD_WAIT;
  for (size_t i = 0; i < h->level_end; i++) {
    stop *s = &h->stops[i];
    if (s->guard_gone || s->freeze_errno != 0) return fail_at(h, e, s);
    if (s->thaw_errno != 0 && s->thaw_errno != EINVAL)
      return fail(h, e, not_thawed(s));
  }
  if (h->level_end < h->count) {
    rehearse_level(h);
    return HOLD_WAIT;
  }
  timer_cancel(&h->t); /* on the engine thread: exact */
  rehearsed(h);
  return HOLD_DONE;
}


/* ------------------------------------------------------------------
** Freezing
** ---------------------------------------------------------------- */

void hold_freeze(hold *h, machine *m) {
  h->m = m;
  h->phase = HOLD_FLUSHING;
  if (h->count == 0) return;
  limit(h);
  h->keeper_submitted = machine_submit(m, &h->keeper, POOL_HELD, keep) == 0;
  for (size_t i = 0; i < h->count; i++) send(h, &h->stops[i], flush);
}

static bool keeper_is_ready(hold *h) {
  pthread_mutex_lock(&h->lock);
  bool ready = h->keeper_ready;
  pthread_mutex_unlock(&h->lock);
  return ready;
}

/* All of the next depth. 0 or errno. */
static int begin_level(hold *h) {
  next_level(h);
  int r = 0;
  for (size_t i = h->level; i < h->level_end && r == 0; i++) {
    atomic_store(&h->stops[i].state, STOP_FREEZING);
    r = send(h, &h->stops[i], freeze);
  }
  return r;
}

static hold_result step_flushing(hold *h, error **e) {
  if (h->expired) return fail_late(h, e);
  if (!h->keeper_submitted) return fail_errno(h, e, EAGAIN);
  for (size_t i = 0; i < h->count; i++)
    if (is_out(&h->stops[i].job, &h->stops[i].submitted)) return HOLD_WAIT;
  if (!keeper_is_ready(h)) return HOLD_WAIT;
  h->phase = HOLD_FREEZING;
  limit(h);
  int r = begin_level(h);
  return r == 0 ? HOLD_WAIT : fail_errno(h, e, r);
}

static hold_result step_freezing(hold *h, error **e) {
  bool out = false;
  for (size_t i = h->level; i < h->level_end; i++) {
    stop *s = &h->stops[i];
    if (is_out(&s->job, &s->submitted))
      out = true;
    else if (s->guard_gone || s->freeze_errno != 0)
      return fail_at(h, e, s);
  }
  if (h->expired) return fail_late(h, e);
  if (out) return HOLD_WAIT;
  if (h->level_end == h->count) {
    h->phase = HOLD_HELD;
    h->was_held = true;
    return HOLD_DONE;
  }
  int r = begin_level(h);
  return r == 0 ? HOLD_WAIT : fail_errno(h, e, r);
}

hold_result hold_freeze_step(hold *h, error **e) {
  *e = NULL;
  if (h->count == 0) h->phase = HOLD_HELD;
  switch (h->phase) {
    case HOLD_FLUSHING: return step_flushing(h, e);
    case HOLD_FREEZING: return step_freezing(h, e);
    case HOLD_HELD: return HOLD_DONE;
    default: return HOLD_FAILED;
  }
}


/* ------------------------------------------------------------------
** Releasing
** ---------------------------------------------------------------- */

void hold_release(hold *h) {
  h->phase = HOLD_RELEASING;
  if (h->count == 0 || h->m == NULL) return;
  timer_cancel(&h->t);
  give_up(h);
}

static error *guard_was_first(const stop *s) {
  return error_at(
      vss_error(VSS_E_HOLD_WRITES_TIMEOUT,
                "%s was thawed before its shadow copy was safe, by the guard "
                "or by somebody else; nothing of this set can be relied on",
                s->path),
      s->path);
}

static error *too_long(const hold *h, const stop *s) {
  uint64_t held = s->thawed_at - s->begun;
  return error_at(
      vss_error(VSS_E_HOLD_WRITES_TIMEOUT,
                "writes to %s would have been held longer than %g s (it was "
                "let go after %.3f s); try again when the machine is less "
                "busy, or allow it more time (timeouts.hold)",
                s->path, h->seconds, (double)held / 1e9),
      s->path);
}

/* What is worst comes first. */
static error *judge(const hold *h) {
  for (size_t i = 0; i < h->count; i++) {
    const stop *s = &h->stops[i];
    if (s->thawed_at != 0 && s->thaw_errno != 0 && s->thaw_errno != EINVAL)
      return not_thawed(s);
  }
  if (!h->was_held) return NULL; /* it has failed already, and said why */
  for (size_t i = 0; i < h->count; i++)
    if (h->stops[i].thaw_errno == EINVAL) return guard_was_first(&h->stops[i]);
  for (size_t i = 0; i < h->count; i++) {
    const stop *s = &h->stops[i];
    if (h->expired || s->thawed_at - s->begun > h->limit) return too_long(h, s);
  }
  return NULL;
}

hold_result hold_release_step(hold *h, error **e) {
  *e = NULL;
  if (any_out(h)) return HOLD_WAIT;
  *e = judge(h);
  return *e == NULL ? HOLD_DONE : HOLD_FAILED;
}

void hold_times(const hold *h) {
  for (size_t i = 0; i < h->shadow_count; i++) {
    if (h->stop_of[i] >= h->count) continue;
    const stop *s = &h->stops[h->stop_of[i]];
    h->shadows[i]->stalled_at = s->begun;
    h->shadows[i]->frozen_at = s->frozen_at;
    h->shadows[i]->thawed_at = s->thawed_at;
  }
}


/* ------------------------------------------------------------------
** The end
** ---------------------------------------------------------------- */

/* A guard that still has something to do is left alone: that our end is closed
   is what it acts on. */
static void part_from_guard(hold *h) {
  bool all_free = true;
  for (size_t i = 0; i < h->count; i++)
    all_free &= h->stops[i].thaw_errno == 0 || h->stops[i].thaw_errno == EINVAL;
  if (all_free)
    guard_disarm(h->guard);
  else
    guard_forget(h->guard);
}

static void free_memory(hold *h) {
  for (size_t i = 0; h->stops != NULL && i < h->count; i++) {
    mem_free(h->stops[i].path);
    mem_free(h->stops[i].type);
  }
  mem_free(h->stops);
  mem_free(h->shadows);
  mem_free(h->stop_of);
  mem_free(h);
}

void hold_free(hold *h) {
  if (h->generation != fork_generation) {
    hold_forked(h);
    return;
  }
  if (h->guard != NULL) part_from_guard(h);
  for (size_t i = 0; h->stops != NULL && i < h->count; i++)
    fd_close(&h->stops[i].fd);
  pthread_cond_destroy(&h->go);
  pthread_mutex_destroy(&h->lock);
  free_memory(h);
}

void hold_forked(hold *h) {
  if (h->guard != NULL) guard_forget(h->guard);
  free_memory(h);
}
