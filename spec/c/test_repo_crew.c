/*
** A crew: which job comes next, who helps, and whether another is wanted.
*/
#include "repository/crew.h"

#include "gate.h"

enum { MOST = 16 };

/* What ran, in order; and a gate that a job waits at. */
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t moved = PTHREAD_COND_INITIALIZER;
static unsigned order[MOST], ran, at_gate;
static bool is_open;

typedef struct work {
  crew_job job;
  unsigned number;
  bool waits;
} work;

static void run(crew_job *j, void *hand) {
  work *w = (work *)(void *)j;
  (void)hand;
  pthread_mutex_lock(&lock);
  if (w->waits) {
    at_gate++;
    pthread_cond_broadcast(&moved);
    while (!is_open) pthread_cond_wait(&moved, &lock);
  }
  order[ran++ % MOST] = w->number;
  pthread_cond_broadcast(&moved);
  pthread_mutex_unlock(&lock);
}

static void *begin(void *context, error **e) {
  (void)e;
  return context;
}

static void end(void *context, void *hand) {
  (void)context;
  (void)hand;
}

static const crew_way way = {begin, end};

static crew *start(unsigned threads) {
  error *e;
  ran = at_gate = 0;
  is_open = false;
  crew *c = repo_crew_new(threads, &way, &ran, &e);
  CHECK(c != NULL && e == NULL);
  return c;
}

static void give(crew *c, work *w, unsigned number, bool waits,
                 crew_rank rank) {
  *w = (work){.job.run = run, .number = number, .waits = waits};
  repo_crew_push(c, &w->job, rank);
}

static void until_at_gate(unsigned count) {
  pthread_mutex_lock(&lock);
  while (at_gate < count) pthread_cond_wait(&moved, &lock);
  pthread_mutex_unlock(&lock);
}

static void open_gate(void) {
  pthread_mutex_lock(&lock);
  is_open = true;
  pthread_cond_broadcast(&moved);
  pthread_mutex_unlock(&lock);
}

/* Urgent ones first, as they came; then plain ones; of deep ones the last. */
TEST(which_comes_next) {
  static const unsigned wanted[] = {0, 3, 6, 2, 5, 4, 1};
  static const crew_rank ranks[] = {CREW_DEEP, CREW_PLAIN, CREW_URGENT,
                                    CREW_DEEP, CREW_PLAIN, CREW_URGENT};
  work w[7];
  crew *c = start(1);
  if (c == NULL) return;
  give(c, &w[0], 0, true, CREW_PLAIN);
  until_at_gate(1);
  for (unsigned i = 0; i < 6; i++) give(c, &w[i + 1], i + 1, false, ranks[i]);
  open_gate();
  repo_crew_wait(c);
  repo_crew_free(c);
  CHECK_INT(ran, 7);
  for (unsigned i = 0; i < 7; i++) CHECK_INT(order[i], wanted[i]);
}

/* Of three threads one makes jobs: each of the others has one, and one more. */
TEST(one_more_for_each_other) {
  work w[5];
  crew *c = start(3);
  if (c == NULL) return;
  give(c, &w[0], 0, true, CREW_PLAIN); /* who makes them */
  give(c, &w[1], 1, true, CREW_URGENT);
  give(c, &w[2], 2, true, CREW_URGENT);
  until_at_gate(3);
  CHECK(!repo_crew_has_idle(c));
  CHECK(repo_crew_has_room(c));
  give(c, &w[3], 3, false, CREW_URGENT);
  CHECK(repo_crew_has_room(c));
  give(c, &w[4], 4, false, CREW_URGENT);
  CHECK(!repo_crew_has_room(c));
  CHECK(repo_crew_help(c, NULL)); /* what waits is less by one */
  CHECK(repo_crew_has_room(c));
  open_gate();
  repo_crew_wait(c);
  repo_crew_free(c);
  CHECK_INT(ran, 5);
}

/* Whoever is alone has nobody to give a job to. */
TEST(nobody_else) {
  work w;
  crew *c = start(1);
  if (c == NULL) return;
  give(c, &w, 0, true, CREW_PLAIN);
  until_at_gate(1);
  CHECK(!repo_crew_has_idle(c) && !repo_crew_has_room(c));
  open_gate();
  repo_crew_wait(c);
  repo_crew_free(c);
}

int main(int argc, char **argv) {
  check_begin(argc, argv);
  RUN(which_comes_next);
  RUN(one_more_for_each_other);
  RUN(nobody_else);
  return check_end();
}
