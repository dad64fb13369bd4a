/*
** Worker threads. All lanes are the same code with different numbers.
*/
#include "op/pool.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <time.h>
#include <unistd.h>

#include "op/fork_parts.h"
#include "op/thread.h"

typedef struct lane {
  pthread_mutex_t lock;
  pthread_cond_t work; /* a job was put in, or `stop` was set */
  pthread_cond_t left; /* a thread has left */
  job queue;           /* head of a ring */
  _Atomic unsigned queued;
  unsigned threads;
  unsigned starting; /* of those, how many have not looked for work yet */
  unsigned idle;     /* threads that sleep in `work` */
  unsigned called;   /* of those, how many were told to wake */
  unsigned keep;     /* so many never leave */
  unsigned most;
  bool stop;
  bool lazy;         /* see backlog */
  bool guarded;      /* the guard is set */
  unsigned spinning; /* threads that look out for work without sleeping */
  unsigned taken;    /* jobs so far; wraps */
  unsigned mark;     /* `taken` when the guard was set */
} lane;

static lane lanes[POOL_LANES];
static pthread_once_t once = PTHREAD_ONCE_INIT;
static _Thread_local bool is_worker;
static _Thread_local bool deferring, deferred; /* see pool_defer */
static _Thread_local pool_staying staying;

#ifdef SAROS_TEST
_Atomic unsigned pool_idle_ms = POOL_IDLE_SECONDS * 1000;
#endif

static void lane_init(lane *l, unsigned keep, unsigned most) {
  pthread_mutex_init(&l->lock, NULL);
  pthread_condattr_t monotonic;
  pthread_condattr_init(&monotonic);
  pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
  pthread_cond_init(&l->work, &monotonic);
  pthread_cond_init(&l->left, &monotonic);
  pthread_condattr_destroy(&monotonic);
  l->queue.next = l->queue.prev = &l->queue;
  l->queued = l->threads = l->starting = l->idle = l->called = 0;
  l->keep = keep;
  l->most = most;
  l->stop = false;
  l->lazy = l == &lanes[POOL_CPU];
  l->guarded = false;
  l->spinning = l->taken = l->mark = 0;
}

unsigned pool_cores(void) {
  long n = sysconf(_SC_NPROCESSORS_ONLN);
  return n < 1 ? 1 : n > 64 ? 64 : (unsigned)n;
}

static void init(void) {
  lane_init(&lanes[POOL_CPU], 0, pool_cores());
  lane_init(&lanes[POOL_LANE], 0, POOL_LANE_MOST);
  lane_init(&lanes[POOL_HELD], 0, POOL_HELD_MOST);
}

void pool_forked(void) {
  init();
  is_worker = false;
}

bool pool_is_worker(void) {
  return is_worker;
}

unsigned pool_threads(pool_lane which) {
  pthread_once(&once, init);
  lane *l = &lanes[which];
  pthread_mutex_lock(&l->lock);
  unsigned n = l->threads;
  pthread_mutex_unlock(&l->lock);
  return n;
}

/* A job that is done in a microsecond is not worth a thread of its own, nor
   the two switches that waking one costs; but nobody knows beforehand how
   long a job takes. So on the CPU lane one awake thread is thought to be
   enough, until a guard finds, a little later, that more jobs wait than were
   taken meanwhile. */
static bool backlog(const lane *l) {
  return l->queued > l->called + l->starting + l->spinning;
}

static job *take(lane *l) {
  job *j = l->queue.next;
  l->queue.next = j->next;
  j->next->prev = &l->queue;
  j->prev = NULL;
  l->queued--;
  l->taken++;
  return j;
}

/* Where jobs come thick and fast the next one is here sooner than a sleep
   would take. One thread may look out for it, for about two microseconds. */
#define SPINS 64

static void spin(lane *l) {
  if (l->spinning > 0 || l->most == 1) return;
  l->spinning = 1;
  pthread_mutex_unlock(&l->lock);
  for (int i = 0;
       i < SPINS && atomic_load_explicit(&l->queued, memory_order_relaxed) == 0;
       i++)
    pool_relax();
  pthread_mutex_lock(&l->lock);
  l->spinning = 0;
}

pool_staying *pool_stay(void) {
  atomic_fetch_add(&staying, 1);
  return &staying;
}

/* The thread may leave, and its counter with it, at any time after this. */
void pool_go(pool_staying *of) {
  atomic_fetch_sub(of, 1);
}

/* Idle threads leave after this. */
static struct timespec idle_end(void) {
  struct timespec until;
  clock_gettime(CLOCK_MONOTONIC, &until);
#ifdef SAROS_TEST
  until.tv_sec += pool_idle_ms / 1000;
  until.tv_nsec += (long)(pool_idle_ms % 1000) * 1000000;
  until.tv_sec += until.tv_nsec / 1000000000;
  until.tv_nsec %= 1000000000;
#else
  until.tv_sec += POOL_IDLE_SECONDS;
#endif
  return until;
}

/* Sleeps until there is work; false when this thread is to leave. A thread
   of the CPU lane stays as long as the engine. */
static bool await_work(lane *l) {
  struct timespec until = {0, 0};
  if (!l->lazy) until = idle_end();
  while (l->queued == 0) {
    if (l->stop) return false;
    l->idle++;
    int r = l->lazy ? pthread_cond_wait(&l->work, &l->lock)
                    : pthread_cond_timedwait(&l->work, &l->lock, &until);
    l->idle--;
    if (l->called > 0) l->called--;
    if (r == ETIMEDOUT && l->queued == 0 && !l->stop) {
      if (l->threads > l->keep && atomic_load(&staying) == 0) return false;
      until = idle_end();
    }
  }
  return true;
}

static void *worker(void *argument) {
  lane *l = argument;
  is_worker = true;
  static const char *const names[] = {"saros-cpu", "saros-lane", "saros-held"};
  prctl(PR_SET_NAME, names[l - lanes]);
  pthread_mutex_lock(&l->lock);
  l->starting--;
  while (await_work(l)) {
    unsigned jobs = 0;
    do {
      job *j = take(l);
      pthread_mutex_unlock(&l->lock);
      j->run(j);
      pthread_mutex_lock(&l->lock);
      if (l->queued == 0 && ++jobs > 1 && l->lazy) spin(l);
    } while (l->queued > 0);
  }
  l->threads--;
  pthread_cond_broadcast(&l->left);
  thread_leave(pthread_self());
  pthread_mutex_unlock(&l->lock);
  return NULL;
}

/* With the lane's lock held. */
static int grow(lane *l) {
  pthread_t id;
  int r = thread_start(&id, worker, l);
  if (r == 0) {
    l->threads++;
    l->starting++;
  }
  return r;
}

/* One more thread for the queue, with the lock held: one that sleeps and was
   not called yet (true: signal it), else a new one when all are busy. One
   that cannot be had is no failure: those that are there will come to it. */
static bool more_hands(lane *l) {
  bool call = l->idle > l->called;
  if (call)
    l->called++;
  else if (backlog(l) && l->threads < l->most)
    (void)grow(l);
  return call;
}

int pool_ready(pool_lane which, unsigned threads) {
  pthread_once(&once, init);
  lane *l = &lanes[which];
  pthread_mutex_lock(&l->lock);
  int r = threads > l->most - l->keep ? EAGAIN : 0;
  while (r == 0 && l->threads < l->keep + threads) r = grow(l);
  if (r == 0) l->keep += threads;
  pthread_mutex_unlock(&l->lock);
  return r;
}

void pool_dismiss(pool_lane which, unsigned threads) {
  pthread_once(&once, init);
  lane *l = &lanes[which];
  pthread_mutex_lock(&l->lock);
  l->keep -= threads < l->keep ? threads : l->keep;
  pthread_mutex_unlock(&l->lock);
}

int pool_submit(job *j, pool_lane which) {
  pthread_once(&once, init);
  lane *l = &lanes[which];
  /* Where it is set already it may be read now, by a withdraw. */
  if (j->lane != (uint8_t)which) j->lane = (uint8_t)which;
  pthread_mutex_lock(&l->lock);
  if (l->threads == 0) {
    int r = grow(l);
    if (r != 0) {
      pthread_mutex_unlock(&l->lock);
      return r;
    }
  }
  j->next = &l->queue;
  j->prev = l->queue.prev;
  j->prev->next = j;
  l->queue.prev = j;
  l->queued++;
  bool call = false, watch_it = false;
  bool awake = l->threads > l->idle;
  if (l->lazy && (awake || (deferring && l->called == 0))) {
    deferred = deferred || !awake;
    watch_it = !l->guarded && backlog(l);
    if (watch_it) {
      l->guarded = true;
      l->mark = l->taken;
    }
  } else {
    call = more_hands(l);
  }
  pthread_mutex_unlock(&l->lock);
  if (call) pthread_cond_signal(&l->work);
  if (watch_it) pool_guard_set();
  return 0;
}

void pool_defer(bool on) {
  deferring = on;
}

void pool_flush(void) {
  lane *l = &lanes[POOL_CPU];
  deferring = false;
  if (!deferred) return;
  deferred = false;
  pthread_mutex_lock(&l->lock);
  bool call = l->threads == l->idle && backlog(l) && more_hands(l);
  pthread_mutex_unlock(&l->lock);
  if (call) pthread_cond_signal(&l->work);
}

bool pool_guard(void) {
  lane *l = &lanes[POOL_CPU];
  pthread_mutex_lock(&l->lock);
  bool call = false;
  if (l->queued > l->taken - l->mark) call = more_hands(l);
  l->mark = l->taken;
  l->guarded = l->queued > 0;
  bool again = l->guarded;
  pthread_mutex_unlock(&l->lock);
  if (call) pthread_cond_signal(&l->work);
  return again;
}

bool pool_withdraw(job *j) {
  pthread_once(&once, init);
  lane *l = &lanes[j->lane];
  pthread_mutex_lock(&l->lock);
  bool there = j->prev != NULL;
  if (there) {
    j->prev->next = j->next;
    j->next->prev = j->prev;
    j->prev = NULL;
    l->queued--;
  }
  pthread_mutex_unlock(&l->lock);
  return there;
}

void pool_stop(void) {
  pthread_once(&once, init);
  for (int which = 0; which < POOL_LANES; which++) {
    lane *l = &lanes[which];
    pthread_mutex_lock(&l->lock);
    l->stop = true;
    l->keep = 0;
    pthread_cond_broadcast(&l->work);
    while (l->threads > 0) pthread_cond_wait(&l->left, &l->lock);
    l->stop = l->guarded = false;
    l->called = 0;
    pthread_mutex_unlock(&l->lock);
  }
  thread_join_left();
}
