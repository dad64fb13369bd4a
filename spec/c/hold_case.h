/*
** What the tests of the hold share: shadows without a provider behind them, and
** a machine that holds them as the coordinator does.
*/
#ifndef SAROS_HOLD_CASE_H
#define SAROS_HOLD_CASE_H

#include <linux/capability.h>
#include <sys/syscall.h>
#include "freeze_case.h"
#include "op/thread.h"
#include "vss/hold_parts.h"

#define LONG 60.0 /* seconds: no limit in this test */
#define SHORT 0.3 /* the limit is what is tested: see drive_until_held */

/* ------------------------------------------------------------------
** Shadows without a provider behind them
** ---------------------------------------------------------------- */

static const provider by_caller = {.name = "test", .freeze = FREEZE_CALLER};
static const provider by_itself = {.name = "test", .freeze = FREEZE_SELF};
static const provider by_nobody = {.name = "test", .freeze = FREEZE_NONE};

#define SHADOWS 4

typedef struct scene {
  shadow shadows[SHADOWS];
  shadow *list[SHADOWS];
  size_t count;
} scene;

static inline void add(scene *s, const char *path, const provider *p) {
  error *e = NULL;
  shadow *one = &s->shadows[s->count];
  one->provider = p;
  one->from = origin_find(path, &e);
  CHECK(one->from != NULL);
  if (e != NULL) printf("%s: %s\n", path, e->message);
  error_unref(e);
  s->list[s->count++] = one;
}

static inline void end_scene(scene *s) {
  for (size_t i = 0; i < s->count; i++) origin_free(s->shadows[i].from);
  s->count = 0;
}

static char runtime[300], state[300];

static inline hold *plan_with(scene *s, const hold_options *o, error **e) {
  return hold_plan(s->list, s->count, o, e);
}

static inline hold *plan(scene *s, double seconds) {
  error *e;
  hold_options o = {.runtime = runtime, .state = state, .seconds = seconds};
  hold *h = plan_with(s, &o, &e);
  if (h == NULL) printf("no hold: %s\n", e->message);
  CHECK(h != NULL);
  error_unref(e);
  return h;
}

static inline int records(void) {
  return names_in(in("run/frozen"));
}


/* ------------------------------------------------------------------
** A machine that holds: as the coordinator will
** ---------------------------------------------------------------- */

typedef struct driver {
  machine m;
  hold *h;
  int phase;
  _Atomic bool held, go_on;
  hold_result frozen, released;
  error *why_not, *why_void;
} driver;

static bool rehearsing; /* before it freezes */

static inline step_result step(machine *m) {
  driver *d = (driver *)m;
  switch (d->phase) {
    case -2: hold_rehearse(d->h, m); d->phase = -1; /* fall through */
    case -1:
      if (saros_op_cancelled(m->op)) break;
      d->frozen = hold_rehearse_step(d->h, &d->why_not);
      if (d->frozen == HOLD_WAIT) return STEP_WAIT;
      if (d->frozen == HOLD_FAILED) break;      /* fall through */
    case 0: hold_freeze(d->h, m); d->phase = 1; /* fall through */
    case 1:
      if (saros_op_cancelled(m->op)) break;
      d->frozen = hold_freeze_step(d->h, &d->why_not);
      if (d->frozen == HOLD_WAIT) return STEP_WAIT;
      if (d->frozen == HOLD_FAILED) break;
      d->phase = 2;
      atomic_store(&d->held, true); /* fall through */
    case 2:
      if (!atomic_load(&d->go_on) && !saros_op_cancelled(m->op))
        return STEP_WAIT;
      break;
    default:
      d->released = hold_release_step(d->h, &d->why_void);
      if (d->released == HOLD_WAIT) return STEP_WAIT;
      machine_finish(m, 0, NULL);
      return STEP_END;
  }
  hold_release(d->h);
  d->phase = 3;
  return STEP_AGAIN;
}

static inline void wake(saros_op *op, void *self) {
  (void)op;
  machine_wake(&((driver *)self)->m);
}

static const saros_kind kind = {.size = sizeof(saros_kind),
                                .name = "test.hold",
                                .flags = SAROS_CANCELLABLE,
                                .cancel = wake};

static inline void drive(driver *d, hold *h) {
  memset(d, 0, sizeof *d);
  d->h = h;
  d->m.step = step;
  d->phase = rehearsing ? -2 : 0;
  CHECK_INT(engine_acquire(), 0);
  d->m.op = saros_op_new(&kind, d, NULL);
  CHECK(d->m.op != NULL);
  CHECK_INT(op_begin(d->m.op, SAROS_RUNNING), 0);
  machine_wake(&d->m);
}

static inline void go_on(driver *d) {
  atomic_store(&d->go_on, true);
  machine_wake(&d->m);
}

/* The codes of both steps; 0 for what was done. */
typedef struct outcome {
  uint32_t freeze, release;
  char said[1000];
} outcome;

static inline outcome finish(driver *d, bool print) {
  outcome o = {0, 0, ""};
  CHECK(gate_wait(d->m.op));
  if (d->why_not != NULL) o.freeze = d->why_not->code;
  if (d->why_void != NULL) o.release = d->why_void->code;
  error *e = d->why_not != NULL ? d->why_not : d->why_void;
  if (e != NULL) snprintf(o.said, sizeof o.said, "%s", e->message);
  if (e != NULL && print) printf("said: %s\n", o.said);
  CHECK((d->frozen == HOLD_FAILED) == (d->why_not != NULL));
  CHECK((d->released == HOLD_FAILED) == (d->why_void != NULL));
  error_unref(d->why_not);
  error_unref(d->why_void);
  hold_times(d->h);
  saros_op_unref(d->m.op);
  hold_free(d->h);
  CHECK_INT(records(), 0);
  engine_release(); /* its threads are gone then */
  return o;
}

/* One that is to go well. */
static inline void until_held(driver *d) {
  GATE_UNTIL(atomic_load(&d->held) || op_is_over(d->m.op));
  CHECK(atomic_load(&d->held));
}

/* With a limit that will pass. It holds for bringing all to disk and for
   freezing, too: where that took longer, with twice the time. */
static inline void drive_until_held(driver *d, scene *s) {
  for (double seconds = SHORT; seconds < LONG; seconds *= 2) {
    drive(d, plan(s, seconds));
    GATE_UNTIL(atomic_load(&d->held) || op_is_over(d->m.op));
    if (atomic_load(&d->held)) return;
    CHECK_INT(finish(d, true).freeze, VSS_E_FLUSH_WRITES_TIMEOUT);
  }
  printf("not held within %g s\n", LONG);
  fflush(stdout);
  _exit(1);
}

/* The limit has passed, now: where it must not before. */
static inline void time_is_up(hold *h) {
  CHECK(timer_cancel(&h->t));
  timer_set(&h->t, engine_clock());
}

static inline void finish_well(driver *d) {
  go_on(d);
  outcome o = finish(d, true);
  CHECK_INT(o.freeze, 0);
  CHECK_INT(o.release, 0);
}

#define NO_HOOK ((void (*)(const char *, hold_moment))0)

/* Nothing may be left of any test. */
#define WHOLE(name)                                         \
  static void whole_##name(void);                           \
  TEST(name) {                                              \
    NEEDS_VOLUMES;                                          \
    gate_counts before = gate_count();                      \
    uint64_t patience = hold_patience;                      \
    whole_##name();                                         \
    hold_hook = NO_HOOK;                                    \
    rehearsing = false;                                     \
    hold_patience = patience;                               \
    for (int i = 0; i < VOLUMES; i++) CHECK(!is_frozen(i)); \
    CHECK(gate_back_to(before));                            \
    thread_join_left();                                     \
  }                                                         \
  static void whole_##name(void)

static inline int in_child(int (*body)(void)) {
  int status = -1;
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    alarm(GATE_BOUND_MS / 1000);
    check_bad = 0;
    _exit(body());
  }
  while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {}
  return status;
}

static inline bool says(const char *text, const char *part) {
  bool good = strstr(text, part) != NULL;
  if (!good) printf("\"%s\" is not in \"%s\"\n", part, text);
  return good;
}

/* What happened, in order. */
static char story[64];
static pthread_mutex_t story_lock = PTHREAD_MUTEX_INITIALIZER;

static inline void tell(const char *path, hold_moment moment) {
  static const char letters[] = "-fFt"; /* freeze, frozen, thaw */
  if (moment == MOMENT_FLUSH) return;
  pthread_mutex_lock(&story_lock);
  size_t n = strlen(story);
  story[n] = letters[moment];
  story[n + 1] = strcmp(path, volumes[XFS].path) == 0     ? 'X'
                 : strcmp(path, volumes[INNER].path) == 0 ? 'I'
                                                          : 'E';
  pthread_mutex_unlock(&story_lock);
}

static inline void hold_case_open(void) {
  snprintf(runtime, sizeof runtime, "%s", in("run"));
  snprintf(state, sizeof state, "%s", in("state"));
  mkdir(runtime, 0700);
  mkdir(state, 0700);
}

#endif
