/*
** bits: which file is next, and how fast, with real managers, tries and a
** server: how many it is asked at once, what a priority and a limit do, and
** what becomes of jobs that many ask something of at once.
**
** not under valgrind: it waits for what limits let through; ASan runs it
*/
#include "bits/mover_parts.h"
#include "bits_case.h"
#include "bits_server_case.h"

static char *url_of(const char *format, unsigned n) {
  char path[200];
  snprintf(path, sizeof path, "f/%u?%s", n, format);
  return mem_text(at(path));
}

static bits_job *job_of(bits_manager *m, const char *options, unsigned from,
                        unsigned count, const char *query) {
  bits_job *j = make_job(m, options);
  for (unsigned i = from; i < from + count; i++) {
    char name[32], *url = url_of(query, i);
    snprintf(name, sizeof name, "%u", i);
    CHECK(add_file(j, url, name));
    mem_free(url);
  }
  CHECK(is_fine(bits_job_resume(j)));
  return j;
}

static uint64_t bytes_of(bits_job *j) {
  uint64_t sum = 0;
  for (uint32_t i = 0; i < j->file_count; i++)
    sum += atomic_load(&j->files[i]->have);
  return sum;
}

static unsigned running_of(bits_job *j) {
  pthread_mutex_lock(&j->m->lock);
  unsigned n = j->running;
  pthread_mutex_unlock(&j->m->lock);
  return n;
}

static void let_go(bits_job *j) {
  uint32_t code;
  CHECK(is_fine(bits_job_cancel(j, &code)));
  bits_job_unref(j);
}

/* ------------------------------------------------------------------
** How many, and which
** ---------------------------------------------------------------- */

TEST(so_many_at_once) {
  world_next();
  server_reset();
  bits_manager *m = open_queue("{'connections_per_host':3}");
  bits_job *j = job_of(m, "{}", 0, 9, "size=2000&plan=stall:100");
  CHECK(server_stalled(3));
  CHECK_INT(server_count("/f/"), 3);
  CHECK_INT(running_of(j), 3);
  for (int i = 0; i < 60000 && bits_job_state(j) != BITS_TRANSFERRED; i++) {
    CHECK(running_of(j) <= 3);
    server_release();
    usleep(1000);
  }
  CHECK_INT(bits_job_state(j), BITS_TRANSFERRED);
  CHECK_INT(server_count("/f/"), 9);
  let_go(j);
  shut_queue(m);
}

TEST(a_lower_one_waits_and_the_suspended_goes_on) {
  world_next();
  server_reset();
  bits_manager *m = open_queue("{}");
  bits_job *high =
      job_of(m, "{'priority':'high'}", 0, 1, "size=9000&plan=stall:5000,ok");
  CHECK(server_stalled(1));
  bits_job *low = job_of(m, "{'priority':'low'}", 10, 3, "size=9000");
  CHECK_INT(bits_job_state(low), BITS_QUEUED);
  AWAIT(bytes_of(high) == 5000);
  CHECK(is_fine(bits_job_suspend(high))); /* and now it may */
  CHECK(await_state(low, BITS_TRANSFERRED));
  CHECK(is_fine(bits_job_resume(high)));
  CHECK(await_state(high, BITS_TRANSFERRED));
  char *range = server_told("!range?of=/f/0");
  CHECK_TEXT(range, "904-"); /* behind what was there, and an overlap */
  free(range);
  server_release();
  let_go(high);
  let_go(low);
  shut_queue(m);
}

/* ------------------------------------------------------------------
** How fast
** ---------------------------------------------------------------- */

/* Never more than that since it was begun, but for what comes at once. Who is
   slow has more time, and not more bytes: so this holds on any machine. */
static bool is_kept(bits_job *j, uint64_t rate, uint64_t begun) {
  uint64_t bytes = bytes_of(j), ms = http_clock() - begun;
  if (bytes <= 300000 + rate * ms / 1000 * 3 / 2) return true;
  printf("%llu bytes in %llu ms\n", (unsigned long long)bytes,
         (unsigned long long)ms);
  return false;
}

static void set_limit(bits_job *j, unsigned limit) {
  value *v = json_of("{'limit_download':%u}", limit);
  CHECK(is_fine(bits_job_set(j, v)));
  value_free(v);
}

TEST(limits_are_kept) {
  world_next();
  bits_manager *m = open_queue("{}");
  uint64_t begun = http_clock();
  bits_job *slow =
      job_of(m, "{'limit_download':250000}", 20, 2, "size=20000000");
  bits_job *other = job_of(m, "{}", 30, 1, "size=2000000");
  bool kept = true;
  AWAIT(!(kept = kept && is_kept(slow, 250000, begun)) ||
        bytes_of(slow) > 800000);
  CHECK(kept);
  CHECK(await_state(other, BITS_TRANSFERRED));
  set_limit(slow, 0); /* else it would take minutes */
  CHECK(await_state(slow, BITS_TRANSFERRED));
  let_go(slow);
  let_go(other);
  shut_queue(m);
}

TEST(small_files_have_the_limit_too) {
  world_next();
  bits_manager *m = open_queue("{}");
  uint64_t begun = http_clock();
  bits_job *small =
      job_of(m, "{'limit_download':200000}", 100, 500, "size=4000");
  bool kept = true;
  AWAIT(!(kept = kept && is_kept(small, 200000, begun)) ||
        bytes_of(small) > 700000);
  CHECK(kept);
  let_go(small);
  shut_queue(m);
}

static void say_so(void *context) {
  atomic_store((_Atomic bool *)context, true);
}

static bool is_told(bits_manager *m, uint64_t limit) {
  pthread_mutex_lock(&m->lock);
  const mover_run *run = m->mover->runs;
  bool is = run != NULL && run->down > 0 && run->down <= limit && !run->relimit;
  pthread_mutex_unlock(&m->lock);
  return is;
}

/* What runs is told of a limit, and so is libcurl. */
static void await_limit(bits_manager *m, uint64_t limit) {
  AWAIT(is_told(m, limit));
  for (int i = 0; i < 3; i++) {
    _Atomic bool turned = false;
    CHECK(http_lane_call(m->lane, say_so, &turned));
    AWAIT(atomic_load(&turned));
  }
}

/* libcurl would wait for eight minutes because of what came before: much longer
   than it is awaited here, and the machine may well stand still for a while. */
TEST(a_limit_that_is_lowered_stalls_nothing) {
  world_next();
  bits_manager *m = open_queue("{}");
  bits_job *j = job_of(m, "{'stall_timeout':600,'limit_download':8000000}", 50,
                       1, "size=100000000");
  AWAIT(bytes_of(j) > 10000000);
  set_limit(j, 20000);
  await_limit(m, 25000);
  uint64_t had = bytes_of(j);
  AWAIT(bytes_of(j) > had);
  pthread_mutex_lock(&m->lock);
  CHECK_INT(j->error_count, 0);
  CHECK_INT(j->retries, 0);
  CHECK(j->running == 1);
  pthread_mutex_unlock(&m->lock);
  let_go(j);
  shut_queue(m);
}

/* ------------------------------------------------------------------
** Asked by many
** ---------------------------------------------------------------- */

#define JOBS 6

static unsigned any(uint64_t *seed, unsigned below) {
  return (unsigned)(retry_random(seed) % below);
}

typedef struct asker {
  bits_manager *m;
  bits_job **jobs;
  uint64_t seed;
  pthread_t thread;
} asker;

static void *ask(void *context) {
  asker *a = context;
  long loops = gate_loops(60);
  for (long i = 0; i < loops; i++) {
    bits_job *j = a->jobs[any(&a->seed, JOBS)];
    value *v = NULL;
    switch (any(&a->seed, 6)) {
      case 0: error_unref(bits_job_suspend(j)); break;
      case 1:
      case 2: error_unref(bits_job_resume(j)); break;
      case 3:
        v = json_of("{'priority':'%s'}",
                    any(&a->seed, 2) ? "low" : "foreground");
        error_unref(bits_job_set(j, v));
        break;
      case 4:
        v = json_of("{'connections':%u,'limit_download':%u}",
                    1 + any(&a->seed, 9), any(&a->seed, 3) * 500000);
        error_unref(bits_manager_set(a->m, v));
        break;
      default: v = bits_manager_status(a->m); break;
    }
    value_free(v);
  }
  return NULL;
}

TEST(asked_by_many) {
  world_next();
  bits_manager *m = open_queue("{}");
  bits_job *jobs[JOBS];
  asker askers[4];
  for (unsigned i = 0; i < JOBS; i++)
    jobs[i] = job_of(m, "{}", 1000 + 100 * i, 20,
                     i % 2 ? "size=3000" : "size=20000&plan=drop:9000,ok");
  for (unsigned i = 0; i < 4; i++) {
    askers[i] = (asker){.m = m, .jobs = jobs, .seed = i + 1};
    pthread_create(&askers[i].thread, NULL, ask, &askers[i]);
  }
  for (unsigned i = 0; i < 4; i++) pthread_join(askers[i].thread, NULL);
  value *v = json_of("{'limit_download':0}");
  CHECK(is_fine(bits_manager_set(m, v)));
  value_free(v);
  for (unsigned i = 0; i < JOBS; i++) {
    error_unref(bits_job_resume(jobs[i]));
    CHECK(await_state(jobs[i], BITS_TRANSFERRED));
    CHECK_INT(running_of(jobs[i]), 0);
  }
  for (unsigned i = 0; i < JOBS; i++) let_go(jobs[i]);
  shut_queue(m);
}

TEST(closed_in_the_middle) {
  for (unsigned i = 0; i < 5; i++) {
    world_next();
    bits_manager *m = open_queue("{}");
    bits_job *j = job_of(m, "{}", 2000, 60, "size=3000");
    AWAIT(bytes_of(j) > i * 20000);
    bits_manager_close(m);
    CHECK_INT(j->running, 0);
    CHECK(m->mover == NULL);
    bits_job_unref(j);
    bits_manager_unref(m);
  }
}

int main(int argc, char **argv) {
  gate_begin(argc, argv);
  world_make();
  if (!faults_start(false)) return server_missing();
  GATE_RUN(so_many_at_once);
  GATE_RUN(a_lower_one_waits_and_the_suspended_goes_on);
  GATE_RUN(limits_are_kept);
  GATE_RUN(small_files_have_the_limit_too);
  GATE_RUN(a_limit_that_is_lowered_stalls_nothing);
  GATE_RUN(asked_by_many);
  GATE_RUN(closed_in_the_middle);
  faults_stop();
  return check_end();
}
