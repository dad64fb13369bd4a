/*
** The keeper's thread: it sleeps until something is due, and does that. Of an
** owner: commits, the mover's time, chores. Of an observer: it looks whether
** the queue has changed, and whether its owner is dead.
*/
#include "bits/keeper.h"

#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <time.h>

#define OBSERVE_MS 250u

uint64_t bits_now(const bits_manager *m) {
  return m->clock_base + (http_clock() - m->opened_at);
}

/* A time of the queue's clock by the machine's. */
static uint64_t machine_time(const bits_manager *m, uint64_t at) {
  if (at == UINT64_MAX) return KEEPER_NEVER;
  return at > m->clock_base ? at - m->clock_base + m->opened_at : 0;
}

/* ------------------------------------------------------------------
** With the lock, from anywhere
** ---------------------------------------------------------------- */

void bits_keeper_wake(bits_manager *m) {
  m->keeper->wakes_at = 0;
  pthread_cond_signal(&m->keeper->work);
}

static void wake_before(bits_manager *m, uint64_t at) {
  if (m->keeper->wakes_at > at) bits_keeper_wake(m);
}

void bits_keeper_told(bits_manager *m) {
  bits_keeper *k = m->keeper;
  if (k == NULL) return; /* it was never begun */
  if (k->commit_at == KEEPER_NEVER)
    k->commit_at = http_clock() + KEEPER_TICK_MS;
  wake_before(m, k->commit_at);
}

void bits_keeper_look(bits_manager *m, uint64_t at) {
  m->look_at = at;
  wake_before(m, machine_time(m, at));
}

void bits_keeper_stir(bits_manager *m) {
  pthread_cond_signal(&m->keeper->hand_work);
}

/* ------------------------------------------------------------------
** The thread
** ---------------------------------------------------------------- */

/* With the lock. */
static void sleep_until(bits_manager *m, uint64_t at) {
  bits_keeper *k = m->keeper;
  k->wakes_at = at;
  if (at == KEEPER_NEVER) {
    pthread_cond_wait(&k->work, &m->lock);
  } else if (at > http_clock()) {
    struct timespec until = {.tv_sec = (time_t)(at / 1000),
                             .tv_nsec = (long)(at % 1000) * 1000000};
    pthread_cond_timedwait(&k->work, &m->lock, &until);
  }
  k->wakes_at = 0;
}

static uint64_t sooner(uint64_t a, uint64_t b) {
  return a < b ? a : b;
}

/* With the lock: one thing that is due; when there is none, when there will
   be. */
static uint64_t own(bits_manager *m) {
  bits_keeper *k = m->keeper;
  uint64_t now = http_clock(), look = machine_time(m, m->look_at);
  if (now >= k->commit_at) {
    bits_keeper_commit(m);
    bits_keeper_watch(m);
    if (k->tell_at == KEEPER_NEVER) k->tell_at = now; /* it may run now */
    return 0;
  }
  if (now >= look) {
    m->look_at = UINT64_MAX;
    if (!m->closing) bits_mover_look(m);
    return 0;
  }
  if (k->stops) return 0;
  if (k->notify) {
    k->notify = false;
    bits_notify_look(m);
    return 0;
  }
  if (now >= k->chores_at) {
    bits_keeper_chores(m);
    return 0;
  }
  if (now >= k->tell_at) {
    bits_keeper_tell(m);
    return 0;
  }
  return sooner(sooner(k->commit_at, look), sooner(k->chores_at, k->tell_at));
}

/* The owner is dead: its jobs are ours. Without the lock. */
static error *take_over(bits_manager *m) {
  bits_queue *q = m->keeper->queue;
  bool owner = false;
  error *e = m->observes ? NULL : bits_queue_take_over(q, &owner);
  if (e != NULL || !owner) return e;
  return bits_manager_own(m, q);
}

static void observed(bits_manager *m, error *e) {
  bits_keeper *k = m->keeper;
  buffer b = BUFFER_EMPTY;
  bool same = e != NULL && k->said != NULL && strcmp(k->said, e->message) == 0;
  if (e != NULL && !same) {
    buffer_format(&b, "%s cannot be read: %s", m->path, e->message);
    if (!b.failed) saros_log(SAROS_LOG_WARNING, "bits", b.data);
    buffer_free(&b);
  }
  mem_free(k->said);
  k->said = e != NULL ? mem_text(e->message) : NULL;
  error_unref(e);
}

/* With the lock, let go meanwhile. */
static uint64_t observe(bits_manager *m) {
  bits_keeper *k = m->keeper;
  uint64_t now = http_clock();
  if (k->stops) return 0;
  if (now < k->chores_at) return k->chores_at;
  k->chores_at = now + OBSERVE_MS;
  pthread_mutex_unlock(&m->lock);
  bool changed = false;
  error *e = bits_queue_changed(k->queue, &changed);
  k->unread |= e == NULL && changed;
  if (e == NULL && k->unread) {
    e = bits_load(m, k->queue, true, false);
    if (e == NULL) e = bits_manager_read(m, k->queue, false);
    k->unread = e != NULL;
  }
  if (e == NULL) e = take_over(m);
  bits_manager_note_owner(m, k->queue);
  observed(m, e);
  pthread_mutex_lock(&m->lock);
  return 0;
}

static void *run(void *context) {
  bits_manager *m = context;
  bits_keeper *k = m->keeper;
  prctl(PR_SET_NAME, "saros-keeper");
  pthread_mutex_lock(&m->lock);
  while (!k->stops) {
    uint64_t next = m->owner ? own(m) : observe(m);
    if (next > 0 && !k->stops) sleep_until(m, next);
  }
  pthread_mutex_unlock(&m->lock);
  return NULL;
}

/* ------------------------------------------------------------------
** Its life
** ---------------------------------------------------------------- */

static void condition(pthread_cond_t *c) {
  pthread_condattr_t attributes;
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_cond_init(c, &attributes);
  pthread_condattr_destroy(&attributes);
}

error *bits_keeper_new(bits_manager *m, bits_queue *queue) {
  bits_keeper *k = mem_zero(sizeof *k);
  if (k == NULL) return error_no_memory();
  condition(&k->work);
  condition(&k->hand_work);
  k->queue = queue;
  k->commit_at = k->tell_at = KEEPER_NEVER;
  k->waiters_end = &k->waiters;
  k->errands_end = &k->errands;
  m->keeper = k;
  return NULL;
}

int bits_thread_begin(pthread_t *thread, void *(*work)(void *), void *context) {
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  int r = pthread_create(thread, NULL, work, context);
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return r;
}

error *bits_keeper_start(bits_manager *m) {
  bits_keeper *k = m->keeper;
  pthread_mutex_lock(&m->lock);
  int r = bits_thread_begin(&k->thread, run, m);
  k->runs = r == 0;
  if (r == 0) r = bits_thread_begin(&k->hand, bits_keeper_hand, m);
  k->hand_runs = r == 0 && k->runs;
  pthread_mutex_unlock(&m->lock);
  if (r == 0) return NULL;
  bits_keeper_stop(m);
  return error_of_errno(SAROS_FACADE_BITS, r,
                        "no thread can be started for the queue", m->path);
}

/* What the hand has done is told, and what was told is committed. */
void bits_keeper_stop(bits_manager *m) {
  bits_keeper *k = m->keeper;
  pthread_mutex_lock(&m->lock);
  bool hand = k->hand_runs; /* it says so itself when it leaves */
  k->hand_stops = true;
  bits_keeper_stir(m);
  pthread_mutex_unlock(&m->lock);
  if (hand) pthread_join(k->hand, NULL);
  bool runs = k->runs;
  pthread_mutex_lock(&m->lock);
  bits_notify_end(m);
  pthread_mutex_unlock(&m->lock);
  if (runs) error_unref(bits_keeper_flush(m, true)); /* it is in the log */
  pthread_mutex_lock(&m->lock);
  k->stops = true;
  bits_keeper_wake(m);
  pthread_mutex_unlock(&m->lock);
  if (runs) pthread_join(k->thread, NULL);
  pthread_mutex_lock(&m->lock);
  k->runs = false;
  k->over = k->hand_over = true;
  keeper_waiters late = bits_keeper_waiters(m);
  bits_file **fetched = k->fetched;
  size_t count = k->fetched_count;
  k->fetched = NULL;
  k->fetched_count = k->fetched_room = 0;
  pthread_mutex_unlock(&m->lock);
  /* What is not finished is when the queue is opened again. Their jobs hold
     the manager: they would stay for ever. */
  for (size_t i = 0; i < count; i++) bits_job_unref(fetched[i]->job);
  mem_free(fetched);
  error *e = bits_fail(SAROS_E_CLOSED, "the queue %s was closed", m->path);
  bits_keeper_answer(m, &late, e);
  error_unref(e);
}

void bits_keeper_free(bits_manager *m) {
  bits_keeper *k = m->keeper;
  if (k == NULL) return;
  for (size_t i = 0; i < k->fetched_count; i++)
    bits_job_unref(k->fetched[i]->job);
  for (keeper_errand *d = k->errands, *next; d != NULL; d = next) {
    next = d->next;
    mem_free(d);
  }
  bits_orphans_free(m);
  bits_small_tidy(k);
  mem_free(k->said);
  mem_free(k->fetched);
  if (!bits_manager_is_inherited(m)) { /* else the parent's threads wait */
    pthread_cond_destroy(&k->work);
    pthread_cond_destroy(&k->hand_work);
  }
  mem_free(k);
  m->keeper = NULL;
}
