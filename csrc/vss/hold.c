/*
** Holding file systems still.
**
** While something is frozen nothing here asks for memory, opens or writes a
** file, or logs; errors are made when it is thawed again, or on its way. Each
** FIFREEZE is on a thread of its own, because it may sleep in the kernel for as
** long as it likes. That thread stays, and does nothing but wait to thaw: what
** is frozen never waits for a thread, nor one file system for another's thaw.
** They are of the pool's lane for this: in any other all threads may be asleep
** in writes to what is frozen.
**
** Only what lies on something frozen waits, for that is thawed first: its own
** thaw writes, and would sleep in the kernel till then. It waits a moment and
** no longer, for what is thawed first may be a disk that does not answer.
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
#include "vss/grace.h"
#include "vss/hold_parts.h"

#define THAW_TRIES 20
#define THAW_PAUSE 10000000 /* nanoseconds */
#define PATIENCE 50000000   /* as the guard's */

#ifdef SAROS_TEST
_Atomic uint64_t hold_patience = PATIENCE;
void (*_Atomic hold_hook)(const char *path, hold_moment moment);

static void moment(const stop *s, hold_moment now) {
  void (*hook)(const char *, hold_moment) = hold_hook;
  if (hook != NULL) hook(s->path, now);
}
#else
enum { hold_patience = PATIENCE };
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

/* Whether something is still frozen that this one may lie on. */
static bool lies_on_frozen(const stop *s) {
  const hold *h = s->h;
  for (size_t i = h->count; i-- > 0 && h->stops[i].depth < s->depth;)
    if (atomic_load(&h->stops[i].state) == STOP_FROZEN) return true;
  return false;
}

/* Frozen: from here to the thaw. */
static void keep(stop *s) {
  hold *h = s->h;
  machine_wake(h->m); /* it does not end before this job is back */
  pthread_mutex_lock(&h->lock);
  while (!h->released || (!h->hurry && lies_on_frozen(s)))
    pthread_cond_wait(&h->go, &h->lock);
  pthread_mutex_unlock(&h->lock);
  thaw(s);
  pthread_mutex_lock(&h->lock);
  pthread_cond_broadcast(&h->go); /* those that lie on it */
  pthread_mutex_unlock(&h->lock);
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
  if (atomic_compare_exchange_strong(&s->state, &expected, STOP_FROZEN))
    keep(s);
  else
    thaw(s); /* too late */
}

/* Whether one beside it is still on its way. */
static bool is_awaited(const stop *s) {
  const hold *h = s->h;
  for (size_t i = 0; i < h->count; i++)
    if (h->stops[i].depth == s->depth &&
        atomic_load(&h->stops[i].state) == STOP_FREEZING)
      return true;
  return false;
}

/* What makes the next freeze quick is over some milliseconds after the thaw: so
   those of one depth are thawed together, when the last of them is frozen; but
   they wait for it a moment and no longer, for no writer knows of this. Whoever
   gives up meanwhile has nothing to do: it is thawed here in any case. */
static void rehearse(machine_job *mj) {
  stop *s = (stop *)mj;
  hold *h = s->h;
  if (atomic_load(&s->state) != STOP_FREEZING) return; /* given up */
  syncfs(s->fd);
  if (!guard_mark(h->guard, s->item, true)) {
    s->guard_gone = true;
  } else {
    s->begun = engine_clock();
    s->freeze_errno = ioctl(s->fd, FIFREEZE, 0) == 0 ? 0 : errno;
    if (s->freeze_errno != 0) guard_mark(h->guard, s->item, false);
  }
  bool frozen = !s->guard_gone && s->freeze_errno == 0;
  if (frozen) moment(s, MOMENT_REHEARSED);
  int expected = STOP_FREEZING;
  atomic_compare_exchange_strong(&s->state, &expected,
                                 frozen ? STOP_FROZEN : STOP_FREE);
  if (frozen) machine_wake(h->m); /* it does not end before this is back */
  pthread_mutex_lock(&h->lock);
  pthread_cond_broadcast(&h->go);
  while (frozen && !h->released && !h->hurry && is_awaited(s))
    pthread_cond_wait(&h->go, &h->lock);
  pthread_mutex_unlock(&h->lock);
  if (!frozen) return;
  moment(s, MOMENT_REHEARSAL_ENDS);
  thaw_now(s);
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
  bool out = false;
  for (size_t i = 0; i < h->count; i++)
    out |= is_out(&h->stops[i].job, &h->stops[i].submitted);
  return out;
}

/* Those that wait for others wait no longer. */
static void out_of_patience(timer *t) {
  hold *h = (hold *)(void *)((char *)t - offsetof(hold, patience));
  pthread_mutex_lock(&h->lock);
  h->hurry = true;
  pthread_cond_broadcast(&h->go);
  pthread_mutex_unlock(&h->lock);
}

static void set_timer(timer *t, void (*fire)(timer *t), uint64_t after) {
  timer_cancel(t); /* on the engine thread: exact */
  t->fire = fire;
  timer_set(t, engine_clock() + after);
}

/* Lets those go that wait to thaw. */
static void release(hold *h) {
  if (h->released) return; /* only written here */
  bool stacked = h->stops[0].depth != h->stops[h->count - 1].depth;
  timer_cancel(&h->t);
  if (stacked) set_timer(&h->patience, out_of_patience, hold_patience);
  pthread_mutex_lock(&h->lock);
  h->released = true;
  pthread_mutex_unlock(&h->lock);
  pthread_cond_broadcast(&h->go);
}

/* Thaws what is frozen, and sees to it that what will be is thawed at once.
   Engine thread; may be called again. */
static void give_up(hold *h) {
  for (size_t i = 0; i < h->count; i++) {
    stop *s = &h->stops[i];
    int expected = STOP_FREEZING;
    atomic_compare_exchange_strong(&s->state, &expected, STOP_GIVEN_UP);
  }
  release(h);
  for (size_t i = 0; i < h->count; i++)
    take_back(&h->stops[i].job, &h->stops[i].submitted);
}

static void out_of_time(timer *t) {
  hold *h = (hold *)(void *)((char *)t - offsetof(hold, t));
  h->expired = true;
  h->late = hold_late_one(h); /* as it is before all are let go */
  give_up(h);
  machine_wake(h->m);
}

static void limit(hold *h) {
  set_timer(&h->t, out_of_time, h->limit);
}


/* ------------------------------------------------------------------
** What went wrong
** ---------------------------------------------------------------- */

static hold_result fail(hold *h, error **e, error *why) {
  h->phase = HOLD_BROKEN;
  grace_end(&h->grace);
  *e = why;
  return HOLD_FAILED;
}

static hold_result fail_at(hold *h, error **e, const stop *s) {
  give_up(h); /* before memory is asked for */
  error *why = hold_why_not(s);
  return fail(h, e, why->path == NULL ? error_at(why, s->path) : why);
}

static hold_result fail_errno(hold *h, error **e, int number) {
  static const char what[] = "cannot get the threads that a freeze needs";
  give_up(h);
  return fail(h, e, error_of_errno(SAROS_FACADE_VSS, number, what, NULL));
}

static hold_result fail_late(hold *h, error **e) {
  give_up(h);
  return fail(h, e, hold_too_late(h, h->late));
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
  for (size_t i = h->level; i < h->level_end; i++)
    atomic_store(&h->stops[i].state, STOP_FREEZING); /* all: they look */
  for (size_t i = h->level; i < h->level_end; i++) {
    int r = send(h, &h->stops[i], rehearse);
    if (r == 0) continue;
    h->stops[i].freeze_errno = r;
    atomic_store(&h->stops[i].state, STOP_FREE);
    machine_wake(h->m); /* perhaps nothing else will */
  }
}

void hold_rehearse(hold *h, machine *m) {
  h->m = m;
  h->phase = HOLD_REHEARSING;
  if (h->count == 0) return;
  limit(h);
  grace_begin(&h->grace);
  rehearse_level(h);
}

static void rehearsed(hold *h) {
  for (size_t i = 0; i < h->count; i++) {
    stop *s = &h->stops[i];
    atomic_store(&s->state, STOP_FREE);
    s->rehearsed = s->thawed_at - s->begun;
    s->thaw_errno = 0;
    s->begun = s->thawed_at = 0;
  }
  h->level = h->level_end = 0;
  grace_end(&h->grace);
  h->phase = HOLD_PLANNED;
}

/* From the first that is frozen on, the others have a moment. */
static void watch_the_first(hold *h) {
  if (h->watched) return;
  for (size_t i = 0; i < h->count; i++)
    if (atomic_load(&h->stops[i].state) == STOP_FROZEN) h->watched = true;
  if (h->watched) set_timer(&h->patience, out_of_patience, hold_patience);
}

hold_result hold_rehearse_step(hold *h, error **e) {
  bool out = any_out(h);
  *e = NULL;
  if (h->phase == HOLD_BROKEN) return HOLD_FAILED;
  if (h->expired) return fail_late(h, e);
  if (out) {
    watch_the_first(h);
    return HOLD_WAIT;
  }
  timer_cancel(&h->patience);
  h->watched = h->hurry = false; /* nobody else looks at it now */
  for (size_t i = 0; i < h->level_end; i++) {
    stop *s = &h->stops[i];
    if (s->guard_gone || s->freeze_errno != 0) return fail_at(h, e, s);
    if (s->thaw_errno != 0 && s->thaw_errno != EINVAL)
      return fail(h, e, hold_not_thawed(s));
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
  for (size_t i = 0; i < h->count; i++) send(h, &h->stops[i], flush);
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
  for (size_t i = 0; i < h->count; i++)
    if (is_out(&h->stops[i].job, &h->stops[i].submitted)) return HOLD_WAIT;
  h->phase = HOLD_FREEZING;
  limit(h);
  grace_begin(&h->grace);
  int r = begin_level(h);
  return r == 0 ? HOLD_WAIT : fail_errno(h, e, r);
}

static hold_result step_freezing(hold *h, error **e) {
  bool out = false;
  for (size_t i = h->level; i < h->level_end; i++) {
    stop *s = &h->stops[i];
    if (is_out(&s->job, &s->submitted))
      out = out || atomic_load(&s->state) != STOP_FROZEN;
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
  give_up(h);
}

hold_result hold_release_step(hold *h, error **e) {
  *e = NULL;
  if (any_out(h)) return HOLD_WAIT;
  timer_cancel(&h->patience);
  grace_end(&h->grace);
  *e = hold_judge(h);
  return *e == NULL ? HOLD_DONE : HOLD_FAILED;
}

void hold_times(const hold *h) {
  for (size_t i = 0; i < h->shadow_count; i++) {
    if (h->stop_of[i] >= h->count) continue;
    const stop *s = &h->stops[h->stop_of[i]];
    h->shadows[i]->stalled_at = s->begun;
    h->shadows[i]->frozen_at = s->frozen_at;
    h->shadows[i]->thawed_at = s->thawed_at;
    h->shadows[i]->rehearsed = s->rehearsed;
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
  grace_end(&h->grace);
  pool_dismiss(POOL_HELD, h->threads);
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
