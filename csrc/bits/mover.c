/*
** mover: what goes next, how fast, and when again. It decides on the manager's
** I/O thread, in looks: somebody says that something has changed, and that
** thread looks soon, once for however many have said so. A try that ends is
** followed by the next in the same breath.
*/
#include <string.h>
#include <unistd.h>

#include "bits/mover_parts.h"

#define ROOM_MS 1000u /* how often it is looked who has had his slice */
#define NET_MS 1000u
#define LEAST_MS 10u

#ifdef SAROS_TEST
mover_hooks mover_hook;
#endif

/* ------------------------------------------------------------------
** The look
** ---------------------------------------------------------------- */

/* With the lock, which is let go for each: what runs is stopped, or limited
   otherwise. It may end meanwhile, and so may others. */
static void give_orders(bits_mover *v) {
  mover_run *next;
  for (mover_run *run = v->runs; run != NULL; run = next) {
    bits_try *try = run->try;
    bool stop = run->stop && !run->stop_sent;
    uint64_t down = run->down, up = run->up;
    next = run->next;
    /* One that is not begun yet, or commits first, is looked at then. */
    if (try == NULL || (!stop && !run->relimit)) continue;
    if (stop) v->stops--;
    if (run->relimit) v->relimits--;
    run->stop_sent |= stop;
    run->relimit = false;
    pthread_mutex_unlock(&v->m->lock);
    if (stop)
      try->stop(try);
    else
      try->limit(try, down, up);
    pthread_mutex_lock(&v->m->lock);
    next = v->runs;
  }
}

/* Somebody waits for a place, and not only for one more. */
static bool is_crowded(const bits_mover *v) {
  if (v->active == 0) return false;
  for (unsigned l = 0; l < MOVER_LEVELS; l++) {
    const turn_list *ring = &v->ring[l];
    if (v->host_waits[l] > 0) return true;
    if (v->active >= v->connections &&
        (ring->count > 1 || (ring->count == 1 && ring->first->running == 0)))
      return true;
  }
  return false;
}

static uint64_t sooner(uint64_t a, uint64_t b) {
  return a < b ? a : b;
}

/* When to look again, whatever happens until then. */
static void set_alarm(bits_mover *v, uint64_t now) {
  uint64_t at = v->due > v->rest ? v->due : v->rest;
  if (v->due == MOVER_NEVER) at = MOVER_NEVER;
  if (v->active > 0 || v->owing) at = sooner(at, v->tick_at);
  if (v->owing) at = sooner(at, now + SHARE_TICK_MS);
  if (!is_crowded(v))
    v->crowd_at = MOVER_NEVER;
  else if (v->crowd_at == MOVER_NEVER)
    v->crowd_at = now + ROOM_MS;
  at = sooner(at, v->crowd_at);
  if (v->active > 0) at = sooner(at, v->hours_at);
  if (v->netlink < 0)
    v->net_at = MOVER_NEVER;
  else if (v->net_at == MOVER_NEVER)
    v->net_at = now + NET_MS;
  at = sooner(at, v->net_at);
  /* Never a loop of looks, whatever somebody says of his time. */
  if (at < now + LEAST_MS) at = now + LEAST_MS;
  if (v->ending || v->m->closing) at = MOVER_NEVER;
  if (v->m->look_at != at) mover_look_at(v->m, at);
}

static void let_go(bits_job *leaving) {
  while (leaving != NULL) {
    bits_job *j = leaving;
    leaving = j->turn.next;
    j->turn.next = NULL;
    j->turn.leaving = false;
    mover_unref(j);
  }
}

void mover_go(bits_mover *v) {
  mover_run *begin[MOVER_BATCH];
  bits_result r; /* of the last that could not be begun: they fail alike */
  bits_manager *m = v->m;
  v->inside++;
  for (;;) {
    uint64_t now = mover_now(m);
    size_t failed = 0, n = mover_pick(v, begin, MOVER_BATCH, now);
    mover_check(v, now);
    share_tick(v, now);
    if (v->stops > 0 || v->relimits > 0) give_orders(v);
    set_alarm(v, now);
    bits_job *leaving = v->leaving;
    v->leaving = NULL;
    bool more = n == MOVER_BATCH || (n > 0 && v->stops > 0);
    if (!more) v->inside--;
    if (n == 0 && v->ending && v->active == 0) pthread_cond_broadcast(&v->idle);
    pthread_mutex_unlock(&m->lock);
    let_go(leaving);
    /* Those that begin are active already: the mover stays while they do. */
    for (size_t i = 0; i < n; i++)
      if (!run_start(begin[i], &r)) begin[failed++] = begin[i];
    if (!more && failed == 0) return;
    pthread_mutex_lock(&m->lock);
    if (!more) v->inside++;
    for (size_t i = 0; i < failed; i++) run_settle(begin[i], &r);
  }
}

static void look(void *context) {
  bits_mover *v = context;
  pthread_mutex_lock(&v->m->lock);
  uint64_t now = mover_now(v->m);
  v->posted = false;
  if (now >= v->net_at) {
    v->net_at = MOVER_NEVER;
    if (net_changed(v)) mover_online(v, now);
  }
  share_rates(v);
  v->tick_at = v->tick_at == MOVER_NEVER ? now : v->tick_at;
  if (now >= v->crowd_at) {
    v->crowd_at = MOVER_NEVER;
    mover_make_room(v, now);
  }
  mover_go(v);
}

static void post(bits_mover *v) {
  if (!v->posted) v->posted = mover_call(v->m->lane, look, v);
}

void bits_mover_wake(bits_manager *m) {
  bits_mover *v = m->mover;
  if (v == NULL) return;
  v->rescan = true;
  post(v);
}

void bits_mover_look(bits_manager *m) {
  if (m->mover != NULL) post(m->mover);
}

void bits_mover_touch(bits_job *j) {
  bits_mover *v = j->m->mover;
  if (v == NULL) return;
  mover_note(v, j);
  post(v);
}

/* ------------------------------------------------------------------
** Its life
** ---------------------------------------------------------------- */

static void make_lists(bits_mover *v) {
  v->connections = MOVER_CONNECTIONS;
  v->per_host = MOVER_PER_HOST;
  v->on = true;
  v->rescan = true;
  v->netlink = -1;
  v->due = v->tick_at = v->crowd_at = v->net_at = v->hours_at = MOVER_NEVER;
  v->down.rate = v->up.rate = SHARE_ANY;
  v->mean = (uint64_t)16 << 10;
}

error *bits_mover_new(bits_manager *m) {
  bits_mover *v = mem_zero(sizeof *v);
  if (v == NULL) return error_no_memory();
  v->m = m;
  make_lists(v);
  pthread_cond_init(&v->idle, NULL);
  struct timespec t;
  clock_gettime(CLOCK_REALTIME, &t);
  v->seed =
      (uint64_t)t.tv_nsec << 32 ^ (uint64_t)t.tv_sec ^ (uint64_t)getpid() << 17;
#ifdef SAROS_TEST
  if (mover_hook.seed != 0) v->seed = mover_hook.seed;
#endif
  m->mover = v;
  return NULL;
}

static void forget_list(bits_mover *v, turn_list *l) {
  while (l->first != NULL) mover_forget(v, l->first);
}

static void forget_all(bits_mover *v) {
  for (unsigned l = 0; l < MOVER_LEVELS; l++) forget_list(v, &v->ring[l]);
  forget_list(v, &v->parked);
  for (size_t i = 0; i < MOVER_HOST_BUCKETS; i++)
    for (mover_host *h = v->hosts[i]; h != NULL; h = h->next)
      for (unsigned l = 0; l < MOVER_LEVELS; l++)
        forget_list(v, &h->waiting[l]);
}

static void forget_touched(bits_mover *v) {
  while (v->touched != NULL) {
    bits_job *j = v->touched;
    v->touched = j->turn.next_touched;
    j->turn.touched = false;
    if (!j->turn.known)
      mover_let_leave(v, j);
    else
      atomic_fetch_sub(&j->refs, 1);
  }
}

static void free_runs(mover_run *run) {
  while (run != NULL) {
    mover_run *next = run->next;
    mem_free(run);
    run = next;
  }
}

void bits_mover_free(bits_manager *m) {
  bool inherited = m->lane != NULL && bits_manager_is_inherited(m);
  if (!inherited) pthread_mutex_lock(&m->lock);
  bits_mover *v = m->mover;
  if (v != NULL && !inherited) {
    v->ending = true;
    bits_mover_wake(m);
    while (v->active > 0 || v->posted || v->inside > 0)
      pthread_cond_wait(&v->idle, &m->lock);
  }
  m->mover = NULL;
  bits_job *leaving = NULL;
  if (v != NULL) {
    forget_touched(v);
    forget_all(v);
    leaving = v->leaving;
  }
  if (!inherited) pthread_mutex_unlock(&m->lock);
  let_go(leaving);
  if (v == NULL) return;
  net_unwatch(v);
  host_free_all(v);
  free_runs(v->runs); /* a child's: they are its parent's */
  free_runs(v->spare);
  hours_free(&v->hours);
  pthread_cond_destroy(&v->idle);
  mem_free(v);
}

void bits_mover_stop(bits_job *j, bool *none) {
  bits_mover *v = j->m->mover;
  *none = j->running == 0;
  if (v == NULL || *none) return;
  j->turn.stopping = true;
  /* If it goes on, then because somebody wants it now: what has failed before
     that does not count. */
  later_all_at(j, mover_now(j->m));
  mem_free(j->turn.bad);
  j->turn.bad = NULL;
  for (mover_run *run = v->runs; run != NULL; run = run->next)
    if (run->job == j && !run->stop) {
      run->stop = true;
      v->stops++;
    }
  bits_mover_touch(j);
}

void bits_mover_limits(bits_manager *m) {
  bits_mover_wake(m); /* each look asks what counts */
}
