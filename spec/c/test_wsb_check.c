/*
** The numbered assertions of WSB on the real driver: applications whose
** asynchronous object answers by a script, and counts how often it was asked.
** See vocabulary_case.h.
*/
#include <sys/wait.h>

#include "vocabulary_case.h"

enum { OLD = 0x407A0004, NEW = 0x007A0004 };

typedef struct app {
  saros_wsb_async async;
  pthread_mutex_t lock;
  pthread_cond_t moved;
  uint32_t hr;      /* what it answers */
  uint32_t method;  /* what the call itself answers */
  int failing;      /* so many times; -1: always */
  bool silent;      /* it writes nothing */
  bool hangs;       /* in QueryStatus */
  bool deaf;        /* to Abort: it goes on */
  uint32_t refuses; /* Abort answers that */
  bool odd;         /* both numbers, in turn */
  int polls, aborts, releases, inside, most_inside;
} app;

static void enter(app *a) {
  pthread_mutex_lock(&a->lock);
  if (++a->inside > a->most_inside) a->most_inside = a->inside;
}

static void leave(app *a) {
  a->inside--;
  pthread_cond_broadcast(&a->moved);
  pthread_mutex_unlock(&a->lock);
}

static uint32_t query_status(void *self, uint32_t *hr) {
  app *a = self;
  enter(a);
  a->polls++;
  pthread_cond_broadcast(&a->moved);
  while (a->hangs) pthread_cond_wait(&a->moved, &a->lock);
  uint32_t method = a->failing != 0 ? a->method : 0;
  if (a->failing > 0) a->failing--;
  if (!a->silent)
    *hr = a->odd && a->hr == OLD && a->polls % 2 == 0 ? (uint32_t)NEW : a->hr;
  leave(a);
  return method;
}

static uint32_t abort_it(void *self) {
  app *a = self;
  enter(a);
  a->aborts++;
  uint32_t refuses = a->refuses;
  if (refuses == 0 && !a->deaf) a->hr = SAROS_E_CANCELLED;
  leave(a);
  return refuses;
}

static void released(void *self) {
  app *a = self;
  enter(a);
  a->releases++;
  leave(a);
}

static saros_op *start(app *a, uint32_t hr) {
  *a = (app){.async = {.size = sizeof a->async,
                       .query_status = query_status,
                       .abort = abort_it,
                       .release = released},
             .hr = hr};
  pthread_mutex_init(&a->lock, NULL);
  pthread_cond_init(&a->moved, NULL);
  saros_op *op = saros_wsb_check(&a->async, a, NULL);
  CHECK(op != NULL);
  return op;
}

/* Its answer, or anything else of it, from here on. */
#define CHANGE(a, field, to)             \
  do {                                   \
    pthread_mutex_lock(&(a)->lock);      \
    (a)->field = (to);                   \
    pthread_cond_broadcast(&(a)->moved); \
    pthread_mutex_unlock(&(a)->lock);    \
  } while (0)

static int polls_of(app *a) {
  pthread_mutex_lock(&a->lock);
  int n = a->polls;
  pthread_mutex_unlock(&a->lock);
  return n;
}

static void until_polled(app *a, int times) {
  pthread_mutex_lock(&a->lock);
  while (a->polls < times) pthread_cond_wait(&a->moved, &a->lock);
  pthread_mutex_unlock(&a->lock);
}

/* The work has a reference of its own, for a moment after its end. */
static void until_released(app *a) {
  pthread_mutex_lock(&a->lock);
  while (a->releases == 0) pthread_cond_wait(&a->moved, &a->lock);
  pthread_mutex_unlock(&a->lock);
}

/* Over, and let go. */
static void done(app *a, saros_op *op) {
  CHECK(gate_wait(op));
  saros_op_unref(op);
  until_released(a);
  CHECK_INT(a->releases, 1);
  CHECK_INT(a->inside, 0);
  CHECK_INT(a->most_inside, 1); /* one call at a time */
  pthread_mutex_destroy(&a->lock);
  pthread_cond_destroy(&a->moved);
}

TEST(a21_a22_a29_running_and_success) {
  app a;
  saros_op *op = start(&a, OLD);
  for (int n = 1; n < 5; n++) {
    until_polled(&a, n);
    CHECK_INT(wsb_answer(op), 0x407A0004u);
  }
  CHANGE(&a, hr, 0);
  CHECK(gate_wait(op));
  CHECK_INT(wsb_answer(op), 0);
  CHECK(wsb_answer(op) != 0x0004230Au);
  done(&a, op);
}

/* Ours is always the one that the reference says. */
TEST(a21_both_numbers_of_in_progress) {
  app a;
  saros_op *op = start(&a, NEW);
  until_polled(&a, 3);
  CHECK_INT(wsb_answer(op), 0x407A0004u);
  CHANGE(&a, odd, true);
  CHANGE(&a, hr, OLD);
  until_polled(&a, 6);
  CHECK_INT(wsb_answer(op), 0x407A0004u);
  CHANGE(&a, hr, 0);
  CHECK(gate_wait(op));
  CHECK_INT(wsb_answer(op), 0);
  done(&a, op);
}

TEST(a23_a24_failing_check) {
  static const uint32_t codes[] = {0x807A0001u, 0x807A0002u, SAROS_E_FAIL,
                                   0x80070070u, 0x80042409u};
  for (size_t i = 0; i < sizeof codes / sizeof *codes; i++) {
    app a;
    uint32_t hr = SENTINEL;
    saros_op *op = start(&a, codes[i]);
    CHECK(gate_wait(op));
    CHECK_INT(saros_wsb_query_status(op, &hr), SAROS_S_OK);
    CHECK_INT(hr, codes[i]);
    error *e = op_error(op);
    CHECK(e != NULL && e->code == codes[i] && e->message[0] != '\0');
    error_unref(e);
    done(&a, op);
  }
}

TEST(a25_query_that_cannot_be_done) {
  app a;
  saros_op *op = start(&a, OLD);
  CHECK(code_failed(saros_wsb_query_status(op, NULL)));
  CHECK_INT(wsb_answer(op), 0x407A0004u);
  CHANGE(&a, hr, 0);
  done(&a, op);
}

TEST(a26_polling_costs_nothing) {
  app a;
  saros_op *op = start(&a, OLD);
  until_polled(&a, 1);
  gate_counts before = gate_count();
  for (int i = 0; i < 10000; i++) CHECK_INT(wsb_answer(op), 0x407A0004u);
  until_polled(&a, 4);
  CHECK(gate_back_to(before));
  CHANGE(&a, hr, 0);
  done(&a, op);
}

TEST(a27_no_output) {
  app a;
  saros_op *op = start(&a, 0);
  CHECK(gate_wait(op));
  CHECK(op_output(op) == NULL);
  done(&a, op);
}

TEST(a28_in_progress_then_one_answer_for_ever) {
  static const uint32_t ends[] = {0, 0x807A0001u};
  for (size_t i = 0; i < 2; i++) {
    app a;
    saros_op *op = start(&a, OLD);
    uint32_t hr;
    int n = 0;
    while ((hr = wsb_answer(op)) == 0x407A0004u)
      if (++n == 1000) CHANGE(&a, hr, ends[i]);
    CHECK_INT(hr, ends[i]);
    CHANGE(&a, hr, OLD); /* nobody listens any more */
    for (int k = 0; k < 1000; k++) CHECK_INT(wsb_answer(op), ends[i]);
    done(&a, op);
  }
}

/* It tests as success, and does not end the polling; other codes that test as
   success are none. */
TEST(a30_compared_by_equality) {
  CHECK(!code_failed(WSBAPP_ASYNC_IN_PROGRESS));
  static const uint32_t odd[] = {1, 0x0004230Au, 0x0004230Bu, 0x00042309u,
                                 0x407A0003u};
  for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
    app a;
    saros_op *op = start(&a, odd[i]);
    CHECK(gate_wait(op));
    CHECK_INT(wsb_answer(op), SAROS_E_FAIL);
    done(&a, op);
  }
}

TEST(a31_polling_stops_with_the_end) {
  static const uint32_t ends[] = {0, 0x807A0001u, 1};
  for (size_t i = 0; i < 3; i++) {
    app a, later;
    saros_op *op = start(&a, OLD);
    until_polled(&a, 3);
    CHANGE(&a, hr, ends[i]);
    CHECK(gate_wait(op));
    int polls = polls_of(&a);
    /* While another one is polled many times, this one is not once more. */
    saros_op *other = start(&later, OLD);
    until_polled(&later, 5);
    CHANGE(&later, hr, 0);
    done(&later, other);
    CHECK_INT(polls_of(&a), polls);
    done(&a, op);
    CHECK_INT(a.polls, polls);
    CHECK_INT(a.aborts, 0);
  }
}

TEST(abort_is_passed_on) {
  app a;
  saros_op *op = start(&a, OLD);
  until_polled(&a, 2);
  CHECK_INT(saros_wsb_abort(op), SAROS_S_OK);
  CHECK_INT(wsb_answer(op), 0x800704C7u);
  CHECK_INT(saros_wsb_abort(op), SAROS_S_OK);
  CHECK(gate_wait(op));
  CHECK_INT(wsb_answer(op), 0x800704C7u);
  CHECK_INT(a.aborts, 1);
  CHECK_INT(saros_wsb_abort(op), SAROS_S_OK);
  done(&a, op);
  CHECK_INT(a.aborts, 1);
}

/* Over is over only when it has ended there. */
TEST(abort_that_takes_its_time) {
  app a;
  saros_op *op = start(&a, OLD);
  CHANGE(&a, deaf, true);
  saros_wsb_abort(op);
  until_polled(&a, polls_of(&a) + 3);
  CHECK_INT(saros_op_wait(op, 0), 0);
  CHANGE(&a, hr, 0); /* it was through after all: that is dropped */
  CHECK(gate_wait(op));
  CHECK_INT(wsb_answer(op), 0x800704C7u);
  done(&a, op);
}

TEST(abort_that_is_refused) {
  app a;
  saros_op *op = start(&a, OLD);
  CHANGE(&a, refuses, SAROS_E_FAIL);
  saros_wsb_abort(op);
  CHANGE(&a, hr, 0);
  CHECK(gate_wait(op));
  value *status = op_status(op);
  CHECK_INT(value_get(status, "cleanup")->count, 1);
  value_free(status);
  done(&a, op);
}

/* Nobody waits for ever: the unwinding has its deadline, and so has it. */
TEST(one_that_never_ends_and_ignores_abort) {
  app a;
  atomic_store(&op_unwinding_ms, 50);
  saros_op *op = start(&a, OLD);
  CHANGE(&a, deaf, true);
  until_polled(&a, 1);
  saros_wsb_abort(op);
  CHECK(gate_wait(op));
  CHECK((op_flags_now(op) & OP_ABANDONED) != 0);
  CHECK_INT(wsb_answer(op), 0x800704C7u);
  saros_op_unref(op);
  until_released(&a);
  atomic_store(&op_unwinding_ms, 0);
  CHECK_INT(a.aborts, 1);
}

/* In its own code: who waits is let go, others go on, and it is left alone. */
TEST(one_that_hangs_in_a_query) {
  app a, b;
  atomic_store(&op_unwinding_ms, 50);
  saros_op *op = start(&a, OLD);
  CHANGE(&a, hangs, true);
  until_polled(&a, polls_of(&a) + 1);
  saros_op *other = start(&b, OLD);
  until_polled(&b, 3);
  CHANGE(&b, hr, 0);
  done(&b, other);
  saros_wsb_abort(op);
  CHECK(gate_wait(op));
  CHECK_INT(a.releases, 0);
  CHANGE(&a, hangs, false);
  saros_op_unref(op);
  until_released(&a);
  atomic_store(&op_unwinding_ms, 0);
}

TEST(one_that_cannot_be_asked) {
  app a;
  saros_op *op = start(&a, OLD);
  CHANGE(&a, method, SAROS_E_ACCESSDENIED);
  CHANGE(&a, failing, -1);
  CHECK(gate_wait(op));
  CHECK_INT(wsb_answer(op), SAROS_E_ACCESSDENIED);
  done(&a, op);
}

/* Once in a while it may be so. */
TEST(one_that_cannot_be_asked_now_and_then) {
  app a;
  saros_op *op = start(&a, OLD);
  CHANGE(&a, method, SAROS_E_FAIL);
  for (int n = 0; n < 2; n++) {
    int before = polls_of(&a);
    CHANGE(&a, failing, 2);
    until_polled(&a, before + 4);
  }
  CHECK_INT(wsb_answer(op), 0x407A0004u);
  CHANGE(&a, hr, 0);
  CHECK(gate_wait(op));
  CHECK_INT(wsb_answer(op), 0);
  done(&a, op);
}

TEST(one_that_writes_nothing) {
  app a;
  saros_op *op = start(&a, OLD);
  CHANGE(&a, silent, true);
  CHECK(gate_wait(op));
  CHECK_INT(wsb_answer(op), SAROS_E_FAIL);
  done(&a, op);
}

/* In the child it is neither asked nor aborted, and its object is not let go:
   that is the parent's. */
TEST(after_a_fork_it_is_the_parents) {
  app a;
  saros_op *op = start(&a, OLD);
  until_polled(&a, 2);
  pid_t child = fork();
  if (child == 0) {
    uint32_t hr = SENTINEL;
    bool good = saros_wsb_query_status(op, &hr) == 0 && hr == SAROS_E_FORKED;
    good = saros_wsb_abort(op) == SAROS_E_FORKED && good;
    saros_op_unref(op);
    _exit(good && a.aborts == 0 && a.releases == 0 ? 0 : 1);
  }
  int status = -1;
  CHECK_INT(waitpid(child, &status, 0), child);
  CHECK_INT(status, 0);
  CHANGE(&a, hr, 0);
  done(&a, op);
}

TEST(what_is_no_object) {
  app a;
  saros_op *op = start(&a, 0);
  saros_wsb_async half = a.async;
  half.abort = NULL;
  CHECK(saros_wsb_check(NULL, NULL, NULL) == NULL);
  CHECK(saros_wsb_check(&half, NULL, NULL) == NULL);
  saros_wsb_async small = a.async;
  small.size = 0;
  CHECK(saros_wsb_check(&small, NULL, NULL) == NULL);
  done(&a, op);
}

int main(int argc, char **argv) {
  gate_begin(argc, argv);
  gate_counts before = gate_count();
  GATE_RUN(a21_a22_a29_running_and_success);
  GATE_RUN(a21_both_numbers_of_in_progress);
  GATE_RUN(a23_a24_failing_check);
  GATE_RUN(a25_query_that_cannot_be_done);
  GATE_RUN(a26_polling_costs_nothing);
  GATE_RUN(a27_no_output);
  GATE_RUN(a28_in_progress_then_one_answer_for_ever);
  GATE_RUN(a30_compared_by_equality);
  GATE_RUN(a31_polling_stops_with_the_end);
  GATE_RUN(abort_is_passed_on);
  GATE_RUN(abort_that_takes_its_time);
  GATE_RUN(abort_that_is_refused);
  GATE_RUN(one_that_never_ends_and_ignores_abort);
  GATE_RUN(one_that_hangs_in_a_query);
  GATE_RUN(one_that_cannot_be_asked);
  GATE_RUN(one_that_cannot_be_asked_now_and_then);
  GATE_RUN(one_that_writes_nothing);
  GATE_RUN(after_a_fork_it_is_the_parents);
  GATE_RUN(what_is_no_object);
  if (!gate_back_to(before)) check_failed++;
  return check_end();
}
