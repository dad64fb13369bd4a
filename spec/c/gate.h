/*
** gate: operations that a test holds in its hand. A gated operation is of any
** facade; its work (on a worker, or nobody's) goes on when the test says so,
** and what happens to it is counted. Order is proved by gates, never by
** sleeping; a wait that takes too long fails the test, and a test that hangs
** in spite of that is ended by the watchdog.
*/
#ifndef SAROS_GATE_H
#define SAROS_GATE_H

#include <dirent.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "fork_rest.h"
#include "op/engine.h"
#include "op/facade.h"
#include "op/fork.h"
#include "op/op.h"
#include "op/port.h"
#include "op/start.h"
#include "op/watch.h"

#define GATE_BOUND_MS 60000u /* generous: reached only when something hangs */
#define GATE_HANG 600u       /* seconds for a whole program */

#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define GATE_TSAN 1
#elif __has_feature(address_sanitizer)
#define GATE_ASAN 1
#endif
#endif
#ifdef __SANITIZE_THREAD__
#define GATE_TSAN 1
#elif defined(__SANITIZE_ADDRESS__)
#define GATE_ASAN 1
#endif
#ifndef GATE_ASAN
#define GATE_ASAN 0
#endif
#ifndef GATE_TSAN
#define GATE_TSAN 0
#endif

static bool gate_is_quick;
static const char *gate_running = "(none)";

/* ThreadSanitizer gives up in children of a process with threads, unless
   told otherwise; read by its runtime only. */
#ifndef GATE_TSAN_OPTIONS
#define GATE_TSAN_OPTIONS "die_after_fork=0"
#endif
const char *__tsan_default_options(void);
const char *__tsan_default_options(void) {
  return GATE_TSAN_OPTIONS;
}

static inline void gate_hangs(int unused) {
  (void)unused;
  static const char text[] = "FAILED: hangs: ";
  ssize_t n = write(1, text, sizeof text - 1);
  n += write(1, gate_running, strlen(gate_running));
  n += write(1, "\n", 1);
  _exit(n > 0 ? 1 : 2);
}

static inline void *gate_nothing(void *unused) {
  return unused;
}

/* Instead of check_begin: takes --quick out of the arguments. */
static inline void gate_begin(int argc, char **argv) {
  static char *rest[64];
  int count = 0;
  const char *quick = getenv("SAROS_QUICK");
  gate_is_quick = quick != NULL && *quick != '\0' && strcmp(quick, "0") != 0;
  for (int i = 0; i < argc && count < 63; i++) {
    if (strcmp(argv[i], "--quick") == 0)
      gate_is_quick = true;
    else
      rest[count++] = argv[i];
  }
  signal(SIGALRM, gate_hangs);
  alarm(GATE_HANG);
  check_begin(count, rest);
  if (GATE_ASAN || GATE_TSAN) pthread_atfork(fork_until_rest, NULL, NULL);
  pthread_t id; /* a sanitizer starts its own thread with the first of ours */
  if (pthread_create(&id, NULL, gate_nothing, NULL) == 0)
    pthread_join(id, NULL);
}

#define GATE_RUN(name) (gate_running = #name, RUN(name))

/* How often a loop turns: less under the sanitizers. */
static inline long gate_loops(long full) {
  long few = full / 20;
  return !gate_is_quick ? full : few > 0 ? few : 1;
}

/* ------------------------------------------------------------------
** Gated operations
** ---------------------------------------------------------------- */

typedef struct gated {
  saros_kind kind; /* each has a kind of its own, to be changed at will */
  saros_op *op;
  pthread_mutex_t lock;
  pthread_cond_t moved;
  bool open;
  uint32_t code; /* what `run` returns */
  int entered, cancels, pauses, resumes, releases, asked;
  bool finish_in_cancel;
  uint32_t denied; /* what the access hook says */
} gated;

static inline void gate_pulse(gated *g, int *count) {
  pthread_mutex_lock(&g->lock);
  ++*count;
  pthread_cond_broadcast(&g->moved);
  pthread_mutex_unlock(&g->lock);
}

static inline uint32_t gated_run(saros_op *op, void *self) {
  gated *g = self;
  (void)op;
  gate_pulse(g, &g->entered);
  pthread_mutex_lock(&g->lock);
  while (!g->open) pthread_cond_wait(&g->moved, &g->lock);
  uint32_t code = g->code;
  pthread_mutex_unlock(&g->lock);
  return code;
}

static inline void gated_cancel(saros_op *op, void *self) {
  gated *g = self;
  gate_pulse(g, &g->cancels);
  if (g->finish_in_cancel) saros_op_finish(op, SAROS_E_CANCELLED, NULL);
}

static inline void gated_pause(saros_op *op, void *self) {
  (void)op;
  gate_pulse(self, &((gated *)self)->pauses);
}

static inline void gated_resume(saros_op *op, void *self) {
  (void)op;
  gate_pulse(self, &((gated *)self)->resumes);
}

static inline void gated_release(void *self) {
  gate_pulse(self, &((gated *)self)->releases);
}

static inline uint32_t gated_access(saros_op *op, void *self) {
  gated *g = self;
  (void)op;
  gate_pulse(g, &g->asked);
  return g->denied;
}

/* A kind whose work the test itself ends, with saros_op_finish. */
static inline void gated_kind(gated *g, saros_facade whose, uint32_t flags) {
  memset(g, 0, sizeof *g);
  pthread_mutex_init(&g->lock, NULL);
  pthread_cond_init(&g->moved, NULL);
  g->kind = (saros_kind){.size = sizeof(saros_kind),
                         .name = "test.gated",
                         .facade = whose,
                         .flags = flags,
                         .cancel = gated_cancel,
                         .pause = gated_pause,
                         .resume = gated_resume,
                         .release = gated_release};
}

/* The same, with work that waits at the gate on a worker. */
static inline void gated_kind_run(gated *g, saros_facade whose,
                                  uint32_t flags) {
  gated_kind(g, whose, flags);
  g->kind.run = gated_run;
}

static inline void gated_new(gated *g, const char *name) {
  g->op = saros_op_new(&g->kind, g, name);
  CHECK(g->op != NULL);
}

/* Cancellable, made and started. */
static inline void gated_start(gated *g, saros_facade whose) {
  gated_kind(g, whose, SAROS_CANCELLABLE);
  gated_new(g, NULL);
  CHECK_INT(saros_op_start(g->op), 0);
}

static inline void gated_start_run(gated *g, saros_facade whose,
                                   uint32_t lane) {
  gated_kind_run(g, whose, SAROS_CANCELLABLE | lane);
  gated_new(g, NULL);
  CHECK_INT(saros_op_start(g->op), 0);
}

/* Waits until a counter of the operation has come so far. */
static inline bool gated_await(gated *g, const int *count, int least) {
  struct timespec until;
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_sec += GATE_BOUND_MS / 1000;
  pthread_mutex_lock(&g->lock);
  int r = 0;
  while (*count < least && r == 0)
    r = pthread_cond_timedwait(&g->moved, &g->lock, &until);
  bool came = *count >= least;
  pthread_mutex_unlock(&g->lock);
  return came;
}

static inline int gated_count(gated *g, const int *count) {
  pthread_mutex_lock(&g->lock);
  int n = *count;
  pthread_mutex_unlock(&g->lock);
  return n;
}

static inline void gated_open(gated *g, uint32_t code) {
  pthread_mutex_lock(&g->lock);
  g->open = true;
  g->code = code;
  pthread_cond_broadcast(&g->moved);
  pthread_mutex_unlock(&g->lock);
}

/* Lets go; whatever still works on it must end by itself. */
static inline void gated_done(gated *g) {
  saros_op_unref(g->op);
  CHECK(gated_await(g, &g->releases, 1));
  pthread_mutex_lock(&g->lock); /* the releaser has left it */
  pthread_mutex_unlock(&g->lock);
  pthread_cond_destroy(&g->moved);
  pthread_mutex_destroy(&g->lock);
}

/* Over within the bound. */
static inline bool gate_wait(saros_op *op) {
  return saros_op_wait(op, GATE_BOUND_MS);
}

/* ------------------------------------------------------------------
** Counting
** ---------------------------------------------------------------- */

typedef struct gate_counts {
  long blocks;
  unsigned fds;   /* registered as ours */
  int open_files; /* /proc/self/fd */
  int threads;    /* those that run */
  int working;    /* of them the engine and its workers */
  unsigned users; /* of the engine */
} gate_counts;

static inline int gate_entries(const char *directory) {
  DIR *d = opendir(directory);
  int n = 0;
  if (d == NULL) return -1;
  for (struct dirent *e; (e = readdir(d)) != NULL;)
    if (e->d_name[0] != '.') n++;
  closedir(d);
  return n;
}

/* Whether this thread still runs, and whether it is the engine's. The kernel
   shows one for a moment after it was joined, but marks it before. */
static inline bool gate_runs(const char *id, bool *works) {
  enum { EXITING = 4 }; /* PF_EXITING, include/linux/sched.h */
  static const char *const names[] = {"(saros-engine)", "(saros-cpu)",
                                      "(saros-lane)", "(saros-held)"};
  char path[64], text[512];
  unsigned flags = 0;
  snprintf(path, sizeof path, "/proc/self/task/%.20s/stat", id);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
  if (fd >= 0) close(fd);
  if (n <= 0) return false; /* gone since it was listed */
  text[n] = '\0';
  const char *name = strchr(text, '('), *end = strrchr(text, ')');
  if (name == NULL || end == NULL ||
      sscanf(end + 1, " %*c %*d %*d %*d %*d %*d %u", &flags) != 1)
    return true;
  *works = false;
  for (unsigned i = 0; i < sizeof names / sizeof names[0]; i++)
    if (strncmp(name, names[i], strlen(names[i])) == 0) *works = true;
  return (flags & EXITING) == 0;
}

/* How many threads of this process run; of them those of the engine. */
static inline int gate_threads(int *working) {
  DIR *d = opendir("/proc/self/task");
  int n = 0;
  *working = 0;
  if (d == NULL) return -1;
  for (struct dirent *e; (e = readdir(d)) != NULL;) {
    bool works = false;
    if (e->d_name[0] == '.' || !gate_runs(e->d_name, &works)) continue;
    n++;
    *working += works;
  }
  closedir(d);
  return n;
}

static inline gate_counts gate_look(void) {
  gate_counts now = {.blocks = mem_blocks(),
                     .fds = fd_count(),
                     .open_files = gate_entries("/proc/self/fd"),
                     .users = engine_users()};
  now.threads = gate_threads(&now.working);
  return now;
}

static inline void gate_nap(void) {
  struct timespec t = {.tv_nsec = 1000000};
  nanosleep(&t, NULL);
}

static inline bool gate_same(gate_counts a, gate_counts b) {
  return a.blocks == b.blocks && a.fds == b.fds &&
         a.open_files == b.open_files && a.threads == b.threads &&
         a.working == b.working && a.users == b.users;
}

/* What there is once the engine of an earlier test has left with the last
   that used it; when something still uses it, as soon as two looks agree. */
static inline gate_counts gate_count(void) {
  gate_counts before, now = gate_look();
  unsigned left = GATE_BOUND_MS;
  do {
    before = now;
    gate_nap();
    now = gate_look();
  } while (!gate_same(now, before) ||
           (now.users == 0 && now.working > 0 && left-- > 0));
  return now;
}

/* Nothing is there that was not. */
static inline bool gate_is_back(const gate_counts *now,
                                const gate_counts *before) {
  return now->blocks <= before->blocks && now->fds <= before->fds &&
         now->open_files <= before->open_files &&
         now->threads <= before->threads && now->users <= before->users;
}

/* Threads leave after the last wait has returned: asks until there is no more
   than there was, within the bound. (Less may be there: a thread that was
   leaving when they were counted, and had no processor for some moments.) */
static inline bool gate_back_to(gate_counts before) {
  gate_counts now;
  for (unsigned i = 0; i < GATE_BOUND_MS; i++) {
    now = gate_look();
    if (gate_is_back(&now, &before)) return true;
    gate_nap();
  }
  printf(
      "blocks %ld (%ld), fds %u (%u), open files %d (%d), threads %d (%d), "
      "users %u (%u)\n",
      now.blocks, before.blocks, now.fds, before.fds, now.open_files,
      before.open_files, now.threads, before.threads, now.users, before.users);
  return false;
}

/* Asks until it is true, within the bound; for what has no gate. What was true
   once may be over already: it is asked no second time. */
#define GATE_UNTIL(condition)                                         \
  do {                                                                \
    unsigned gate_left = GATE_BOUND_MS;                               \
    bool gate_came = false;                                           \
    while (!(gate_came = (condition)) && gate_left-- > 0) gate_nap(); \
    if (!gate_came) {                                                 \
      check_bad++;                                                    \
      printf("%s:%d: not true within %u s: %s\n", __FILE__, __LINE__, \
             GATE_BOUND_MS / 1000, #condition);                       \
    }                                                                 \
  } while (0)

/* ------------------------------------------------------------------
** Chance
** ---------------------------------------------------------------- */

/* splitmix64: the same numbers everywhere for the same seed. */
static inline uint64_t gate_random(uint64_t *state) {
  uint64_t z = (*state += 0x9E3779B97F4A7C15u);
  z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9u;
  z = (z ^ (z >> 27)) * 0x94D049BB133111EBu;
  return z ^ (z >> 31);
}

static inline unsigned gate_below(uint64_t *state, unsigned n) {
  return (unsigned)(gate_random(state) % n);
}

/* SAROS_SEED; else the same one each time, so that no suite fails once in ten
   thousand runs. A long run, which looks for just that, draws another. */
static inline uint64_t gate_seed(const char *what) {
  const char *given = getenv("SAROS_SEED");
  uint64_t seed = given != NULL ? strtoull(given, NULL, 0)
                  : getenv("SAROS_LONG") != NULL
                      ? engine_clock() ^ ((uint64_t)getpid() << 32)
                      : 20261122;
  printf("%s: SAROS_SEED=%llu\n", what, (unsigned long long)seed);
  return seed;
}

#endif
