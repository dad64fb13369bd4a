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

/* Two at once: what one has had when the other has had so much. */
TEST(limits_are_kept) {
  world_next();
  bits_manager *m = open_queue("{}");
  bits_job *slow =
      job_of(m, "{'limit_download':120000}", 20, 2, "size=6000000");
  bits_job *fast =
      job_of(m, "{'limit_download':480000}", 30, 2, "size=6000000");
  AWAIT(bytes_of(slow) > 20000 && bytes_of(fast) > 20000);
  uint64_t had = bytes_of(slow), other = bytes_of(fast);
  AWAIT(bytes_of(slow) > had + 300000);
  had = bytes_of(slow) - had;
  other = bytes_of(fast) - other;
  printf("%llu and %llu bytes\n", (unsigned long long)had,
         (unsigned long long)other);
  CHECK(other > had && other < had * 12); /* four times, when it is quiet */
  /* Without a limit the rest is there at once. */
  value *v = json_of("{'limit_download':0}");
  CHECK(is_fine(bits_job_set(fast, v)));
  value_free(v);
  CHECK(await_state(fast, BITS_TRANSFERRED));
  CHECK(bytes_of(slow) < 6000000);
  let_go(slow);
  let_go(fast);
  shut_queue(m);
}

TEST(small_files_have_the_limit_too) {
  world_next();
  bits_manager *m = open_queue("{}");
  bits_job *measure =
      job_of(m, "{'limit_download':100000}", 40, 1, "size=6000000");
  AWAIT(bytes_of(measure) > 0);
  uint64_t before = bytes_of(measure);
  bits_job *small =
      job_of(m, "{'limit_download':100000}", 100, 500, "size=4000");
  AWAIT(bytes_of(measure) > before + 100000);
  uint64_t bytes = bytes_of(small), other = bytes_of(measure) - before;
  printf("%llu and %llu bytes\n", (unsigned long long)bytes,
         (unsigned long long)other);
  CHECK(bytes < 6 * other); /* without: all 2000000 of them long ago */
  AWAIT(bytes_of(small) > 50000);
  let_go(small);
  let_go(measure);
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
  if (!faults_start(false)) {
    printf("there is no python3 here\n");
    return check_end();
  }
  GATE_RUN(so_many_at_once);
  GATE_RUN(a_lower_one_waits_and_the_suspended_goes_on);
  GATE_RUN(limits_are_kept);
  GATE_RUN(small_files_have_the_limit_too);
  GATE_RUN(asked_by_many);
  GATE_RUN(closed_in_the_middle);
  faults_stop();
  return check_end();
}
