/*
** The wheel alone, against a list that is searched from end to end; then the
** engine's timers: all fire, none early, in the order of their deadlines. What
** a timer costs with ten thousand and with a million is printed, not judged.
*/
#include "gate.h"

#define TICK (1u << WHEEL_TICK_SHIFT)

/* ------------------------------------------------------------------
** Against a naive reference
** ---------------------------------------------------------------- */

#define MANY 2000

typedef struct entry {
  timer t;       /* first */
  uint64_t tick; /* when it is due; at once if it was in the past */
  bool set;
} entry;

static entry entries[MANY];

static uint64_t due_tick(const timer *t) {
  return (t->deadline >> WHEEL_TICK_SHIFT) + 1;
}

/* A deadline as they come: soon, later, on a border between two levels, in the
   past, in a thousand years. */
static uint64_t some_deadline(uint64_t *seed, uint64_t now) {
  unsigned bits = gate_below(seed, 50);
  uint64_t away = gate_random(seed) & ((1ULL << bits) - 1);
  switch (gate_below(seed, 12)) {
    case 0: return now > away ? now - away : 0;
    case 1: return (uint64_t)INT64_MAX - away;
    case 2: return UINT64_MAX >> 1;
    case 3: { /* on a border, or one tick beside it */
      uint64_t tick = now >> WHEEL_TICK_SHIFT;
      unsigned level = gate_below(seed, WHEEL_LEVELS);
      tick = ((tick >> (WHEEL_BITS * level)) + 1) << (WHEEL_BITS * level);
      return ((tick + gate_below(seed, 3) - 1) << WHEEL_TICK_SHIFT) +
             gate_below(seed, TICK);
    }
    default: return now + away;
  }
}

static void check_wheel(uint64_t seed, long steps) {
  static wheel w;
  uint64_t now = (gate_random(&seed) >> 20) + 1;
  memset(entries, 0, sizeof entries);
  wheel_init(&w, now);
  size_t count = 0;
  long bad = 0;
  for (long step = 0; step < steps; step++) {
    entry *e = &entries[gate_below(&seed, MANY)];
    switch (gate_below(&seed, 8)) {
      case 0: { /* time goes on: a little, or a lot */
        uint64_t by =
            gate_random(&seed) & ((1ULL << gate_below(&seed, 44)) - 1);
        uint64_t next = wheel_next(&w);
        /* Never sleeps past a deadline. */
        for (size_t i = 0; i < MANY && step % 16 == 0; i++)
          if (entries[i].set && next > entries[i].tick * TICK) bad++;
        if ((count == 0) != (next == UINT64_MAX)) bad++;
        if (gate_below(&seed, 3) == 0 && next != UINT64_MAX && next > now)
          by = next - now; /* as the engine does */
        now += by;
        wheel_advance(&w, now);
        uint64_t before = 0;
        for (timer *t; (t = wheel_pop(&w)) != NULL; count--) {
          entry *fired = (entry *)(void *)t;
          if (!fired->set || t->prev != NULL) bad++;
          fired->set = false;
          if (t->deadline >= now) bad++;                    /* early */
          if (due_tick(t) > now >> WHEEL_TICK_SHIFT) bad++; /* early */
          if (fired->tick < before) bad++;                  /* out of order */
          before = fired->tick;
        }
        for (size_t i = 0; i < MANY; i++)
          if (entries[i].set &&
              due_tick(&entries[i].t) <= now >> WHEEL_TICK_SHIFT)
            bad++; /* late */
        break;
      }
      case 1:
      case 2:
        if (e->set) {
          wheel_remove(&w, &e->t);
          if (e->t.prev != NULL) bad++;
          e->set = false;
          count--;
        }
        break;
      default:
        if (!e->set) {
          e->t.deadline = some_deadline(&seed, now);
          wheel_add(&w, &e->t);
          e->tick = due_tick(&e->t);
          if (e->tick < w.now) e->tick = w.now;
          e->set = true;
          count++;
        }
    }
    if (w.count != count) bad++;
  }
  CHECK_INT(bad, 0);
}

TEST(wheel_against_reference) {
  uint64_t seed = gate_seed("wheel");
  for (int round = 0; round < 10; round++)
    check_wheel(gate_random(&seed), gate_loops(40000));
}

/* What was set for times already past comes out in order too. */
TEST(wheel_expires_in_order_however_late) {
  static wheel w;
  uint64_t seed = gate_seed("late");
  for (long round = 0; round < gate_loops(200); round++) {
    uint64_t now = gate_random(&seed) >> 24;
    wheel_init(&w, now);
    for (size_t i = 0; i < 200; i++) {
      entries[i].t.deadline = now + gate_below(&seed, 400u * 1000u * 1000u);
      wheel_add(&w, &entries[i].t);
    }
    wheel_advance(&w, now + 1000000000u);
    uint64_t before = 0;
    size_t count = 0;
    for (timer *t; (t = wheel_pop(&w)) != NULL; count++) {
      CHECK(due_tick(t) >= before);
      before = due_tick(t);
    }
    CHECK_INT(count, 200);
    CHECK(wheel_next(&w) == UINT64_MAX);
  }
}

/* ------------------------------------------------------------------
** On the engine
** ---------------------------------------------------------------- */

typedef struct alarms {
  pthread_mutex_t lock;
  pthread_cond_t moved;
  size_t fired;
  uint64_t last; /* the tick of the one that fired before */
  long early, disorder;
} alarms;

static alarms all = {
    PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0, 0, 0};

static void fire(timer *t) {
  uint64_t now = engine_clock();
  pthread_mutex_lock(&all.lock);
  if (now < t->deadline) all.early++;
  if (due_tick(t) < all.last) all.disorder++;
  all.last = due_tick(t);
  all.fired++;
  pthread_cond_signal(&all.moved);
  pthread_mutex_unlock(&all.lock);
}

static void await_fired(size_t count) {
  struct timespec until;
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_sec += GATE_BOUND_MS / 1000;
  pthread_mutex_lock(&all.lock);
  int r = 0;
  while (all.fired < count && r == 0)
    r = pthread_cond_timedwait(&all.moved, &all.lock, &until);
  CHECK_INT(all.fired, count);
  CHECK_INT(all.early, 0);
  CHECK_INT(all.disorder, 0);
  all.fired = 0;
  all.last = 0;
  all.early = all.disorder = 0;
  pthread_mutex_unlock(&all.lock);
}

static gated setting; /* only its lock, condition and counts */

static void hold_engine(timer *t) {
  (void)t;
  gated_run(NULL, &setting);
}

/* None is due before the last is set: until then the engine is held. */
static void set_and_fire(size_t count, uint64_t *seed) {
  timer *ts = calloc(count, sizeof *ts);
  CHECK(ts != NULL);
  CHECK_INT(engine_acquire(), 0);
  gated_kind(&setting, SAROS_FACADE_SAROS, 0);
  timer hold = {.fire = hold_engine};
  timer_set(&hold, engine_clock());
  CHECK(gated_await(&setting, &setting.entered, 1));
  uint64_t begun = engine_clock();
  uint64_t first = begun + 100000000u + count * 1500u;
  for (size_t i = 0; i < count; i++) {
    ts[i].fire = fire;
    timer_set(&ts[i], first + gate_below(seed, 50u * 1000u * 1000u));
  }
  uint64_t set = engine_clock();
  gated_open(&setting, 0);
  await_fired(count);
  for (size_t i = 0; i < count; i++) CHECK(!timer_cancel(&ts[i]));
  uint64_t after = engine_clock();
  for (size_t i = 0; i < count; i++)
    timer_set(&ts[i], after + 3600000000000u + i);
  uint64_t set_again = engine_clock();
  for (size_t i = 0; i < count; i++) CHECK(timer_cancel(&ts[i]));
  uint64_t done = engine_clock();
  printf("%zu timers: set %.0f ns, set again %.0f ns, cancel %.0f ns each\n",
         count, (double)(set - begun) / (double)count,
         (double)(set_again - after) / (double)count,
         (double)(done - set_again) / (double)count);
  engine_release();
  free(ts);
}

TEST(timers_by_the_million) {
  gate_counts before = gate_count();
  uint64_t seed = gate_seed("timers");
  set_and_fire((size_t)gate_loops(10000), &seed);
  set_and_fire((size_t)gate_loops(100000), &seed);
  set_and_fire((size_t)gate_loops(1000000), &seed);
  CHECK(gate_back_to(before));
}

/* Cancelled or fired: just one of the two, also when they meet. */
TEST(cancel_meets_fire) {
  uint64_t seed = gate_seed("cancel");
  CHECK_INT(engine_acquire(), 0);
  size_t fired = 0;
  for (long i = gate_loops(20000); i > 0; i--) {
    timer t = {.fire = fire};
    timer_set(&t, engine_clock() + gate_below(&seed, 60000));
    for (unsigned n = gate_below(&seed, 200); n > 0; n--) sched_yield();
    if (!timer_cancel(&t)) await_fired(1), fired++;
  }
  printf("%zu had fired\n", fired);
  engine_release();
}

TEST(sleeps_in_order) {
  static const double seconds[] = {0.03, 0.01, 0.02, 0, -1, 0.015, 0.005};
  enum { COUNT = sizeof seconds / sizeof *seconds };
  saros_op *ops[COUNT];
  uint32_t why;
  for (int i = 0; i < COUNT; i++) {
    ops[i] = sleep_start(seconds[i], NULL, &why);
    CHECK(ops[i] != NULL);
  }
  for (int i = 0; i < COUNT; i++) CHECK(gate_wait(ops[i]));
  for (int i = 0; i < COUNT; i++) {
    CHECK_INT(saros_op_code(ops[i]), 0);
    double took = (double)(engine_clock() - ops[i]->begun) / 1e9;
    CHECK(took >= seconds[i]);
    saros_op_unref(ops[i]);
  }
  saros_op *forever = saros_sleep(1e300), *nan = saros_sleep(0.0 / 0.0);
  CHECK(gate_wait(nan)); /* no number: no time */
  CHECK_INT(saros_op_wait(forever, 0), 0);
  CHECK_INT(saros_cancel(forever), 0);
  CHECK(saros_op_wait(forever, 0));
  saros_op_unref(forever);
  saros_op_unref(nan);
}

int main(int argc, char **argv) {
  gate_begin(argc, argv);
  GATE_RUN(wheel_against_reference);
  GATE_RUN(wheel_expires_in_order_however_late);
  GATE_RUN(timers_by_the_million);
  GATE_RUN(cancel_meets_fire);
  GATE_RUN(sleeps_in_order);
  return check_end();
}
