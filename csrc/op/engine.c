/*
** The engine thread: an epoll set with an eventfd (somebody wants
** something), a timerfd (the wheel's next deadline) and the descriptors of
** machines.
*/
#include "op/engine.h"

#include <errno.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "op/fork.h"
#include "op/fork_parts.h"
#include "op/only.h"
#include "op/thread.h"

typedef enum status { ENGINE_OFF, ENGINE_ON, ENGINE_STOPPING } status;

/* Start and stop. `users` counts operations that work and ports; the way from
   and to zero goes through the gate. */
static pthread_mutex_t gate = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t gate_moved = PTHREAD_COND_INITIALIZER;
static status engine_status;
static _Atomic unsigned users;

/* The wheel and the inbox, under `lock`. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static wheel timers;
static uint64_t timer_armed; /* what the timerfd is set to */
static machine *inbox_first, **inbox_last = &inbox_first;
static bool kicked; /* the eventfd was written and not yet read */
static bool stopping;

/* Kicks under way: whoever was woken may have seen to all there is, and end the
   engine, before the descriptor is written. It stays open until then. */
static _Atomic unsigned kicks;

static int epoll_fd = -1, event_fd = -1, timer_fd = -1;
static _Thread_local bool is_engine;

uint64_t engine_clock(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

bool engine_is_here(void) {
  return is_engine;
}

unsigned engine_users(void) {
  return atomic_load(&users);
}

static void kick(void) {
  uint64_t one = 1;
  while (write(event_fd, &one, sizeof one) < 0 && errno == EINTR) {}
}


/* ------------------------------------------------------------------
** Timers
** ---------------------------------------------------------------- */

/* With the lock held: the timerfd never sleeps longer than the wheel. */
static void arm(uint64_t when) {
  if (when >= timer_armed) return;
  timer_armed = when;
  struct itimerspec spec = {
      .it_value = {.tv_sec = (time_t)(when / 1000000000u),
                   .tv_nsec = (long)(when % 1000000000u) + (when == 0)}};
  timerfd_settime(timer_fd, TFD_TIMER_ABSTIME, &spec, NULL);
}

/* The lowest bit of a deadline says that `fire` runs under the lock. */
static void set(timer *t, uint64_t deadline, uint64_t locked) {
  const uint64_t most = (uint64_t)INT64_MAX;
  if (deadline > most) deadline = most;
  t->deadline = (deadline & ~(uint64_t)1) | locked;
  pthread_mutex_lock(&lock);
  wheel_add(&timers, t);
  arm(t->deadline + (1u << WHEEL_TICK_SHIFT));
  pthread_mutex_unlock(&lock);
}

void timer_set(timer *t, uint64_t deadline) {
  set(t, deadline, 0);
}

void timer_set_locked(timer *t, uint64_t deadline) {
  set(t, deadline, 1);
}

bool timer_cancel(timer *t) {
  pthread_mutex_lock(&lock);
  bool there = t->prev != NULL;
  if (there) wheel_remove(&timers, t);
  pthread_mutex_unlock(&lock);
  return there;
}

static void run_timers(void) {
  timer *due = NULL, **last = &due;
  pthread_mutex_lock(&lock);
  wheel_advance(&timers, engine_clock());
  for (timer *t; (t = wheel_pop(&timers)) != NULL;) {
    if (t->deadline & 1) {
      t->fire(t);
    } else { /* unset as far as timer_cancel can tell; ours to call */
      t->next = NULL;
      *last = t;
      last = &t->next;
    }
  }
  timer_armed = UINT64_MAX;
  uint64_t next = wheel_next(&timers);
  if (next != UINT64_MAX) arm(next);
  pthread_mutex_unlock(&lock);
  while (due != NULL) {
    timer *t = due;
    due = t->next;
    t->next = NULL;
    t->fire(t);
  }
}


/* The pool's guard. It runs while jobs wait, which hold the engine. */
#define GUARD_NS 200000

static timer guard;

static void guard_fire(timer *t) {
  if (pool_guard()) timer_set(t, engine_clock() + GUARD_NS);
}

void pool_guard_set(void) {
  guard.fire = guard_fire;
  timer_set(&guard, engine_clock() + GUARD_NS);
}


/* ------------------------------------------------------------------
** Machines
** ---------------------------------------------------------------- */

/* A job says that it is back under the lock: the machine can end as soon as
   it sees that, but not before this has left the lock. */
static void wake(machine *m, _Atomic bool *back) {
  bool call = false;
  pthread_mutex_lock(&lock);
  if (back != NULL) atomic_store(back, true);
  if (!m->ended && !m->queued) {
    m->queued = true;
    m->next = NULL;
    *inbox_last = m;
    inbox_last = &m->next;
    call = !kicked && !is_engine;
    if (call) kicked = true;
    if (call) atomic_fetch_add(&kicks, 1);
  }
  pthread_mutex_unlock(&lock);
  if (!call) return;
  kick();
  atomic_fetch_sub(&kicks, 1);
}

void machine_wake(machine *m) {
  if (m->op->generation == fork_generation) wake(m, NULL);
}

void machine_wake_flag(machine *m, _Atomic bool *flag) {
  if (m->op->generation == fork_generation) wake(m, flag);
}

/* With the lock held. */
static machine *inbox_pop(void) {
  machine *m = inbox_first;
  if (m == NULL) return NULL;
  inbox_first = m->next;
  if (inbox_first == NULL) inbox_last = &inbox_first;
  m->queued = false;
  return m;
}

void machine_finish(machine *m, uint32_t code, error *why) {
  pthread_mutex_lock(&lock);
  m->ended = true;
  if (m->queued) {
    machine **at = &inbox_first;
    while (*at != m) at = &(*at)->next;
    *at = m->next;
    if (*at == NULL) inbox_last = at;
    m->queued = false;
  }
  pthread_mutex_unlock(&lock);
  op_finish_error(m->op, code, why);
}

static void run_machines(void) {
  for (;;) {
    pthread_mutex_lock(&lock);
    machine *m = inbox_pop();
    pthread_mutex_unlock(&lock);
    if (m == NULL) return;
    while (m->step(m) == STEP_AGAIN) {}
  }
}

static void job_back(job *j) {
  machine_job *mj = (machine_job *)j;
  machine *m = mj->m;
  mj->work(mj);
  wake(m, &mj->back);
}

int machine_submit(machine *m, machine_job *mj, pool_lane lane,
                   void (*work)(machine_job *mj)) {
  mj->j.run = job_back;
  mj->m = m;
  mj->work = work;
  atomic_store(&mj->back, false);
  return pool_submit(&mj->j, lane);
}

int source_arm(source *s, int fd, uint32_t events) {
  struct epoll_event e = {.events = events | EPOLLONESHOT, .data.ptr = s};
  s->fd = fd;
  int how = s->added ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;
  if (epoll_ctl(epoll_fd, how, fd, &e) != 0) return errno;
  s->added = true;
  return 0;
}

void source_drop(source *s) {
  if (s->added) epoll_ctl(epoll_fd, EPOLL_CTL_DEL, s->fd, NULL);
  s->added = false;
  s->ready = 0;
}


/* ------------------------------------------------------------------
** The thread
** ---------------------------------------------------------------- */

static void drain(int fd) {
  uint64_t n;
  while (read(fd, &n, sizeof n) < 0 && errno == EINTR) {}
}

static void take_events(void) {
  struct epoll_event events[64];
  int n = epoll_wait(epoll_fd, events, 64, -1);
  bool due = false;
  /* Everything is noted before any machine steps, because a step may free
     what a later event of this batch points to. */
  for (int i = 0; i < n; i++) {
    void *what = events[i].data.ptr;
    if (what == &event_fd) {
      drain(event_fd);
      pthread_mutex_lock(&lock);
      kicked = false;
      pthread_mutex_unlock(&lock);
    } else if (what == &timer_fd) {
      drain(timer_fd);
      due = true;
    } else {
      source *s = what;
      s->ready |= events[i].events;
      machine_wake(s->m);
    }
  }
  if (due) run_timers();
}

static void *engine_main(void *unused) {
  (void)unused;
  is_engine = true;
  prctl(PR_SET_NAME, "saros-engine");
  for (;;) {
    run_machines();
    pthread_mutex_lock(&lock);
    bool over = stopping;
    pthread_mutex_unlock(&lock);
    if (over) break;
    take_events();
  }
  pool_stop();
  while (atomic_load(&kicks) > 0) sched_yield();
  pthread_mutex_lock(&gate);
  fd_close(&epoll_fd);
  fd_close(&event_fd);
  fd_close(&timer_fd);
  engine_status = ENGINE_OFF;
  only_let_go();
  thread_leave(pthread_self());
  pthread_cond_broadcast(&gate_moved);
  pthread_mutex_unlock(&gate);
  return NULL;
}

static int watch_fd(int *fd) {
  struct epoll_event e = {.events = EPOLLIN, .data.ptr = fd};
  return epoll_ctl(epoll_fd, EPOLL_CTL_ADD, *fd, &e);
}

/* With the gate held. */
static uint32_t start(void) {
  if (!only_claim()) return SAROS_E_ENGINE;
  epoll_fd = fd_own(epoll_create1(EPOLL_CLOEXEC));
  event_fd = fd_own(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  timer_fd =
      fd_own(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK));
  wheel_init(&timers, engine_clock());
  guard.next = guard.prev = NULL;
  timer_armed = UINT64_MAX;
  inbox_first = NULL;
  inbox_last = &inbox_first;
  kicked = stopping = false;
  int r = 0;
  pthread_t id;
  if (epoll_fd < 0 || event_fd < 0 || timer_fd < 0 ||
      watch_fd(&event_fd) != 0 || watch_fd(&timer_fd) != 0)
    r = errno;
  if (r == 0) r = thread_start(&id, engine_main, NULL);
  if (r == 0) {
    engine_status = ENGINE_ON;
    return 0;
  }
  fd_close(&epoll_fd);
  fd_close(&event_fd);
  fd_close(&timer_fd);
  only_let_go();
  return code_of_errno(r);
}

uint32_t engine_acquire(void) {
  unsigned n = atomic_load(&users);
  while (n > 0)
    if (atomic_compare_exchange_weak(&users, &n, n + 1)) return 0;
  int prepared = fork_prepare();
  if (prepared != 0) return code_of_errno(prepared);
  uint32_t code = 0;
  pthread_mutex_lock(&gate);
  while (engine_status == ENGINE_STOPPING)
    pthread_cond_wait(&gate_moved, &gate);
  if (engine_status == ENGINE_OFF) code = start();
  if (code == 0) atomic_fetch_add(&users, 1);
  pthread_mutex_unlock(&gate);
  return code;
}

void engine_hold(void) {
  atomic_fetch_add(&users, 1);
}

void engine_release(void) {
  unsigned n = atomic_load(&users);
  while (n > 1)
    if (atomic_compare_exchange_weak(&users, &n, n - 1)) return;
  bool ours = is_engine || pool_is_worker();
  pthread_mutex_lock(&gate);
  if (atomic_fetch_sub(&users, 1) == 1 && engine_status == ENGINE_ON) {
    engine_status = ENGINE_STOPPING;
    pthread_mutex_lock(&lock);
    stopping = true;
    pthread_mutex_unlock(&lock);
    kick();
  }
  /* Whoever lets go last from outside sees the threads gone; a thread of ours
     cannot wait for itself. */
  while (!ours && engine_status == ENGINE_STOPPING)
    pthread_cond_wait(&gate_moved, &gate);
  pthread_mutex_unlock(&gate);
  if (!ours) thread_join_left();
}

/* A fork waits for a start or a stop of the engine to be done. */
void engine_stand_still(void) {
  pthread_mutex_lock(&gate);
}

void engine_go_on(void) {
  pthread_mutex_unlock(&gate);
}

void engine_forked(void) {
  pthread_mutex_init(&gate, NULL);
  pthread_cond_init(&gate_moved, NULL);
  pthread_mutex_init(&lock, NULL);
  engine_status = ENGINE_OFF;
  atomic_store(&users, 0);
  atomic_store(&kicks, 0);
  epoll_fd = event_fd = timer_fd = -1;
  is_engine = false;
  thread_forked();
  only_forked();
}
