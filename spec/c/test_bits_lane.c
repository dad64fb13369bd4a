/*
** http: lanes. A thread of its own that may wait for a disk: what is called on
** it, what is transferred on it, and what becomes of both while it waits.
**
** not under valgrind: it has a server that waits; ASan runs it
*/
#include <dirent.h>

#include "http_case.h"

static http_lane *lane_new(void) {
  error *e = NULL;
  http_lane *l = http_lane_new("test-lane", &e);
  CHECK(l != NULL && e == NULL);
  return l;
}

/* ------------------------------------------------------------------
** Errands
** ---------------------------------------------------------------- */

typedef struct errand {
  http_lane *lane;
  _Atomic unsigned calls, again;
  bool was_here, in_order;
  unsigned expected;
} errand;

static void note_again(void *context) {
  errand *d = context;
  atomic_fetch_add(&d->again, 1);
}

static void note(void *context) {
  errand *d = context;
  d->was_here = http_lane_is_here(d->lane);
  if (atomic_fetch_add(&d->calls, 1) == 0)
    CHECK(http_lane_call(d->lane, note_again, d));
}

static void until(_Atomic unsigned *count, unsigned wanted) {
  for (int i = 0; i < 60000 && atomic_load(count) < wanted; i++) usleep(1000);
  CHECK_INT(atomic_load(count), wanted);
}

TEST(what_is_called_on_it) {
  errand d = {.lane = lane_new()};
  CHECK(!http_lane_is_here(d.lane));
  for (int i = 0; i < 100; i++) CHECK(http_lane_call(d.lane, note, &d));
  until(&d.calls, 100);
  until(&d.again, 1);
  CHECK(d.was_here);
  http_lane_drop(d.lane);
  http_settle();
}

/* What was asked before it is dropped is called all the same. */
TEST(dropped_with_errands) {
  errand d = {.lane = lane_new()};
  for (int i = 0; i < 50; i++) http_lane_call(d.lane, note_again, &d);
  http_lane_drop(d.lane);
  http_settle();
  CHECK_INT(atomic_load(&d.again), 50);
}

/* ------------------------------------------------------------------
** Requests, and a disk that does not move
** ---------------------------------------------------------------- */

typedef struct stuck {
  told t;
  pthread_mutex_t lock;
  pthread_cond_t moved;
  bool inside, open;
} stuck;

static http_flow wait_in_body(void *context, const void *data, size_t size) {
  stuck *k = context;
  pthread_mutex_lock(&k->lock);
  k->inside = true;
  pthread_cond_broadcast(&k->moved);
  while (!k->open) pthread_cond_wait(&k->moved, &k->lock);
  pthread_mutex_unlock(&k->lock);
  return told_body(&k->t, data, size);
}

static const http_calls stuck_calls = {
    .head = told_head, .body = wait_in_body, .done = told_done};

static void stuck_begin(stuck *k) {
  memset(k, 0, sizeof *k);
  pthread_mutex_init(&k->lock, NULL);
  pthread_cond_init(&k->moved, NULL);
}

static void stuck_await(stuck *k) {
  pthread_mutex_lock(&k->lock);
  while (!k->inside) pthread_cond_wait(&k->moved, &k->lock);
  pthread_mutex_unlock(&k->lock);
}

static void stuck_open(stuck *k) {
  pthread_mutex_lock(&k->lock);
  k->open = true;
  pthread_cond_broadcast(&k->moved);
  pthread_mutex_unlock(&k->lock);
}

/* Longer than a stall would be. */
static void time_passes(void) {
  atomic_fetch_add(&http_clock_ahead, 100000);
}

/* Others go on meanwhile, and the time counts as no stall. */
TEST(a_callback_that_waits) {
  http_lane *lane = lane_new();
  stuck k;
  told other = {0}, beside = {0};
  stuck_begin(&k);
  http_request *b = launch("hold/beside", (http_ask){.lane = lane}, &beside);
  free(server_ask(&s, "GET", "/held/beside/1", ""));
  http_request *r =
      launch("ok/1000", (http_ask){.calls = &stuck_calls, .lane = lane}, &k);
  stuck_await(&k);
  http_request *o = launch("ok/5000", (http_ask){0}, &other);
  CHECK(await(o) != NULL); /* on the shared thread, while the lane waits */
  CHECK_INT(other.end, HTTP_WHOLE);
  time_passes();
  CHECK(!http_wait(r, 0));
  stuck_open(&k);
  CHECK(await(r) != NULL);
  CHECK_INT(k.t.end, HTTP_WHOLE);
  CHECK_INT(k.t.body.size, 1000);
  free(server_ask(&s, "GET", "/release/beside", ""));
  CHECK(await(b) != NULL);
  CHECK_INT(beside.end, HTTP_WHOLE);
  told_free(&k.t, r);
  told_free(&other, o);
  told_free(&beside, b);
  http_lane_drop(lane);
  http_settle();
}

/* It lives until what was begun on it is over. */
static void wait_when_done(void *context, const http_answer *a) {
  stuck *k = context;
  wait_in_body(k, "", 0);
  told_done(&k->t, a);
}

typedef struct three {
  http_lane *lane;
  stuck k;
  told first, last;
  http_request *r[3];
} three;

static void begin_three(void *context) {
  static const http_calls calls = {.head = told_head, .done = wait_when_done};
  three *x = context;
  http_ask ask = {.lane = x->lane, .per_host = 2};
  x->r[0] = launch("stall/three", ask, &x->first);
  x->r[2] = NULL;
  ask.calls = &calls;
  x->r[1] = launch("ok/10", ask, &x->k);
  ask.calls = NULL;
  x->r[2] = launch("ok/20", ask, &x->last);
}

/* It waits for its turn with its host, while a callback waits; the time before
   it began is not its own. */
TEST(what_begins_late_in_a_long_turn) {
  three x = {.lane = lane_new()};
  stuck_begin(&x.k);
  CHECK(http_lane_call(x.lane, begin_three, &x));
  stuck_await(&x.k);
  time_passes();
  stuck_open(&x.k);
  CHECK(await(x.r[2]) != NULL);
  CHECK_INT(x.last.end, HTTP_WHOLE);
  http_cancel(x.r[0]);
  CHECK(await(x.r[0]) != NULL && await(x.r[1]) != NULL);
  told_free(&x.first, x.r[0]);
  told_free(&x.k.t, x.r[1]);
  told_free(&x.last, x.r[2]);
  http_lane_drop(x.lane);
  http_settle();
}

TEST(dropped_while_it_transfers) {
  http_lane *lane = lane_new();
  stuck k;
  stuck_begin(&k);
  http_request *r =
      launch("ok/1000", (http_ask){.calls = &stuck_calls, .lane = lane}, &k);
  stuck_await(&k);
  http_lane_drop(lane);
  stuck_open(&k);
  CHECK(await(r) != NULL);
  CHECK_INT(k.t.end, HTTP_WHOLE);
  told_free(&k.t, r);
  http_settle();
}

TEST(many_lanes_at_once) {
  enum { N = 8 };
  http_lane *lanes[N];
  static told t[N];
  http_request *r[N];
  memset(t, 0, sizeof t);
  for (int i = 0; i < N; i++) {
    lanes[i] = lane_new();
    r[i] = launch(
        "ok/100000",
        (http_ask){.lane = lanes[i], .room = (size_t)1 << (8 + 2 * i)}, &t[i]);
  }
  CHECK_INT(http_threads(), N);
  for (int i = 0; i < N; i++) {
    CHECK(await(r[i]) != NULL);
    CHECK_INT(t[i].end, HTTP_WHOLE);
    CHECK_INT(t[i].body.size, 100000);
    told_free(&t[i], r[i]);
    http_lane_drop(lanes[i]);
  }
  http_settle();
}

/* ------------------------------------------------------------------
** Fork
** ---------------------------------------------------------------- */

static unsigned open_sockets(void) {
  unsigned n = 0;
  char path[300], target[300];
  DIR *d = opendir("/proc/self/fd");
  for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
    snprintf(path, sizeof path, "/proc/self/fd/%s", e->d_name);
    ssize_t size = readlink(path, target, sizeof target - 1);
    if (size > 0 && strncmp(target, "socket:", 7) == 0) n++;
  }
  if (d != NULL) closedir(d);
  return n;
}

/* A host that forks while a lane waits for its disk is not held up for as long,
   and its child has nothing of it. */
TEST(fork_while_it_waits) {
  http_lane *lane = lane_new();
  stuck k;
  errand d = {.lane = lane};
  stuck_begin(&k);
  http_request *r =
      launch("ok/1000", (http_ask){.calls = &stuck_calls, .lane = lane}, &k);
  stuck_await(&k);
  fflush(stdout);
  unsigned before = open_sockets();
  pid_t child = fork();
  if (child == 0) {
    error *e = NULL;
    bool inert = !http_lane_call(lane, note_again, &d) &&
                 http_start(&(http_ask){.method = "GET",
                                        .url = at("ok/1"),
                                        .calls = &told_calls,
                                        .lane = lane},
                            &e) == NULL &&
                 e->code == SAROS_E_FORKED && !http_wait(r, 0);
    http_lane_drop(lane);
    bool fewer = open_sockets() < before;
    _exit(inert && fewer ? 0 : 1);
  }
  int status = -1;
  waitpid(child, &status, 0);
  CHECK_INT(status, 0);
  stuck_open(&k);
  CHECK(await(r) != NULL);
  CHECK_INT(k.t.end, HTTP_WHOLE);
  told_free(&k.t, r);
  http_lane_drop(lane);
  http_settle();
}

int main(int argc, char **argv) {
  if (!http_suite_begin(argc, argv)) return server_missing();
  RUN(what_is_called_on_it);
  RUN(dropped_with_errands);
  RUN(a_callback_that_waits);
  RUN(what_begins_late_in_a_long_turn);
  RUN(dropped_while_it_transfers);
  RUN(many_lanes_at_once);
  RUN(fork_while_it_waits);
  return http_suite_end();
}
