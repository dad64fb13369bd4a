/*
** bits: what becomes of a file that cannot be had now: when it is tried again,
** what its job says meanwhile, hosts that need a rest, a network that is lost,
** and no memory for any of it. Tries, clock and neighbours are the test's.
*/
#include "mover_case.h"

/* ------------------------------------------------------------------
** Failures
** ---------------------------------------------------------------- */

TEST(a_failure_that_passes_waits_alone) {
  world_begin(NULL);
  bits_job *j = a_job(BITS_NORMAL, 8, "a");
  wake();
  ends(j->files[0], BITS_END_AGAIN);
  CHECK_INT(w.failure_count, 0); /* the others go on */
  CHECK_INT(j->running, 6);
  CHECK_INT(j->retries, 1);
  pass(1000);
  CHECK_INT(j->running, 6);
  ends(j->files[2], BITS_END_WHOLE);
  CHECK(fake_of(j->files[0]) != NULL); /* before those that follow it */
  world_end();
}

TEST(a_job_whose_files_all_wait_is_in_transient_error) {
  world_begin(NULL);
  bits_job *j = a_job(BITS_NORMAL, 2, "a");
  wake();
  ends(j->files[0], BITS_END_AGAIN);
  CHECK_INT(j->state, BITS_CONNECTING);
  ends(j->files[1], BITS_END_AGAIN);
  CHECK_INT(j->state, BITS_TRANSIENT_ERROR);
  CHECK_INT(w.failure_count, 1);
  CHECK_INT(w.failures[0].file, 1);
  CHECK(j->retry_at > w.now && j->retry_at <= w.now + 1000);
  CHECK(w.m.look_at == j->retry_at);
  pass(1000);
  CHECK_INT(j->running, 2);
  all_end(BITS_END_WHOLE);
  CHECK_INT(j->state, BITS_TRANSFERRED);
  world_end();
}

TEST(each_file_waits_for_its_own_time) {
  world_begin(NULL);
  bits_job *j = a_job(BITS_NORMAL, 6, "a");
  bits_result r = {.end = BITS_END_AGAIN, .has_wait = true, .code = 1};
  wake();
  for (unsigned i = 0; i < 6; i++) {
    r.wait_ms = 10000 * (i + 1);
    r.moved = i < 5; /* the host is well */
    fake_ends(fake_of(j->files[i]), &r);
  }
  CHECK_INT(j->state, BITS_TRANSIENT_ERROR);
  uint64_t begun = w.now;
  for (unsigned i = 0; i < 6; i++) {
    until(begun + 10000 * (i + 1) - 1);
    CHECK_INT(w.starts, 6 + i);
    pass(1);
    CHECK_INT(w.starts, 7 + i);
    CHECK(w.order[6 + i] == j->files[i]);
    ends(j->files[i], BITS_END_WHOLE);
  }
  world_end();
}

TEST(a_failure_that_stays_waits_for_the_jobs_delay) {
  world_begin(NULL);
  bits_job *j = a_job(BITS_NORMAL, 1, "a");
  wake();
  for (unsigned n = 1; n <= 8; n++) {
    ends(j->files[0], BITS_END_AGAIN);
    CHECK_INT(j->state, BITS_TRANSIENT_ERROR);
    CHECK_INT(j->retries, n);
    uint64_t wait = j->retry_at - w.now;
    if (n <= RETRY_QUICK)
      CHECK(wait <= 1000ull << (n - 1));
    else
      CHECK(wait > 600000 && wait <= 900000);
    until(j->retry_at);
    CHECK_INT(j->running, 1);
  }
  /* A byte more than ever: from the beginning. */
  bits_result r = {.end = BITS_END_AGAIN, .moved = true, .code = 1};
  w.now += 5000;
  fake_ends(w.tries, &r);
  CHECK(j->retry_at <= w.now + 1000);
  CHECK_INT(j->tries, 1);
  CHECK(j->progress_at == w.now);
  world_end();
}

TEST(a_failure_that_does_not_pass_is_the_jobs) {
  world_begin(NULL);
  bits_job *j = a_job(BITS_NORMAL, 9, "a");
  wake();
  ends(j->files[2], BITS_END_FAILED);
  CHECK_INT(j->state, BITS_ERROR);
  CHECK_INT(w.failure_count, 1);
  unsigned stopped = 0;
  for (fake *t = w.tries; t != NULL; t = t->next) stopped += t->stopped;
  CHECK_INT(stopped, 5);
  CHECK_INT(w.idles, 0);
  stopped_end();
  CHECK_INT(w.idles, 1);
  CHECK_INT(w.starts, 6);
  CHECK_INT(atomic_load(&j->refs), 1); /* it is forgotten */
  for (int i = 0; i < 9; i++) CHECK_INT(j->files[i]->state, BITS_FILE_WAITS);
  j->state = BITS_QUEUED; /* resumed */
  wake();
  all_end(BITS_END_WHOLE);
  CHECK_INT(j->state, BITS_TRANSFERRED);
  world_end();
}

TEST(without_time_every_failure_is_told_at_once) {
  world_begin(NULL);
  bits_job *j = a_job(BITS_NORMAL, 3, "a");
  j->no_progress_ms = 0;
  wake();
  ends(j->files[0], BITS_END_AGAIN);
  CHECK_INT(j->state, BITS_ERROR);
  stopped_end();
  world_end();
}

TEST(resumed_while_it_waits_it_goes_on_now) {
  world_begin(NULL);
  bits_job *j = a_job(BITS_NORMAL, 1, "a");
  wake();
  bits_result r = {.end = BITS_END_AGAIN,
                   .has_wait = true,
                   .wait_ms = 1800000,
                   .gate_host = true,
                   .transport = 503,
                   .code = 1};
  fake_ends(w.tries, &r);
  CHECK_INT(j->state, BITS_TRANSIENT_ERROR);
  CHECK(j->retry_at >= w.now + 1800000);
  pass(5000);
  CHECK_INT(j->running, 0);
  world_move(j, BITS_QUEUED);
  turn();
  CHECK_INT(j->running, 1);
  world_end();
}

TEST(what_cannot_be_begun_is_tried_again) {
  world_begin(NULL);
  bits_job *j = a_job(BITS_NORMAL, 40, "a");
  w.no_start = true;
  wake();
  CHECK_INT(j->state, BITS_TRANSIENT_ERROR);
  CHECK_INT(w.starts, 40);
  CHECK_INT(w.failures[0].code, SAROS_E_OUTOFMEMORY);
  w.no_start = false;
  pass(1000);
  CHECK_INT(j->running, 6);
  all_end(BITS_END_WHOLE);
  pass(1000);
  all_end(BITS_END_WHOLE);
  CHECK_INT(j->state, BITS_TRANSFERRED);
  world_end();
}

/* ------------------------------------------------------------------
** Gates
** ---------------------------------------------------------------- */

static const bits_result busy = {.end = BITS_END_AGAIN,
                                 .code = BG_E_HTTP(503),
                                 .transport = 503,
                                 .gate_host = true,
                                 .has_wait = true,
                                 .wait_ms = 30000,
                                 .context = BITS_CONTEXT_REMOTE};

TEST(a_host_that_needs_a_rest_has_one) {
  world_begin(NULL);
  bits_job *one = a_job(BITS_NORMAL, 50, "a");
  bits_job *two = a_job(BITS_NORMAL, 50, "a");
  bits_job *other = a_job(BITS_NORMAL, 1, "b");
  wake();
  CHECK_INT(w.starts, 7);
  for (int i = 0; i < 6; i++) fake_ends(fake_of(one->files[i]), &busy);
  CHECK_INT(w.starts, 7); /* six have asked, and nobody else does */
  CHECK_INT(one->state, BITS_TRANSIENT_ERROR);
  CHECK_INT(two->state, BITS_QUEUED); /* nothing of it has failed */
  CHECK_INT(other->running, 1);
  pass(29999);
  CHECK_INT(w.starts, 7);
  pass(1000 + 301000);
  CHECK_INT(w.starts, 8); /* one asks for all */
  bits_file *asked = w.order[7];
  fake_ends(fake_of(asked), &busy);
  CHECK_INT(w.starts, 8);
  pass(29999);
  CHECK_INT(w.starts, 8);
  pass(302000);
  CHECK_INT(w.starts, 9);
  fake_begun(fake_of(w.order[8])); /* it answers */
  pass(1001);
  CHECK_INT(one->running + two->running, 6);
  world_end();
}

TEST(a_host_that_is_not_there_is_not_asked_by_all) {
  world_begin(NULL);
  bits_job *j = a_job(BITS_NORMAL, 10000, "a");
  bits_result r = {.end = BITS_END_AGAIN, .code = BG_E_CONNECT_FAILURE};
  wake();
  for (int i = 0; i < 6; i++) fake_ends(w.tries, &r);
  CHECK_INT(w.starts, 6);
  for (int n = 0; n < 10; n++) {
    CHECK_INT(j->state, BITS_TRANSIENT_ERROR);
    until(j->retry_at);
    pass(1000);
    CHECK_INT(w.starts, 7 + n); /* one at a time finds out */
    fake_ends(w.tries, &r);
  }
  uint64_t before = w.now;
  for (int n = 0; n < 20; n++) {
    until(j->retry_at);
    pass(1000);
    if (w.tries != NULL) fake_ends(w.tries, &r);
  }
  CHECK(w.now - before > 120000); /* and seldom */
  until(j->retry_at);
  pass(1000);
  all_end(BITS_END_WHOLE);
  pass(1000000);
  all_end(BITS_END_WHOLE);
  CHECK_INT(j->state, BITS_TRANSFERRED);
  world_end();
}

TEST(who_fails_at_one_host_does_not_hold_up_another) {
  world_begin(NULL);
  bits_job *j = a_job(BITS_NORMAL, 40, "a");
  for (int i = 0; i < 40; i += 2)
    memcpy(strstr(j->files[i]->url, "//") + 2, "b", 1);
  bits_result dead = {.end = BITS_END_AGAIN, .code = BG_E_CONNECT_FAILURE};
  wake();
  for (int n = 0; n < 200 && w.tries != NULL; n++) {
    fake *t = w.tries;
    if (strstr(t->file->url, "//b") != NULL)
      fake_ends(t, &dead);
    else
      ends(t->file, BITS_END_WHOLE);
  }
  for (int i = 1; i < 40; i += 2) CHECK_INT(j->files[i]->state, BITS_FILE_DONE);
  CHECK_INT(j->state, BITS_TRANSIENT_ERROR);
  CHECK(w.starts < 20 + 7);
  world_end();
}

TEST(failures_in_a_row_close_it_too) {
  world_begin(NULL);
  bits_job *j = a_job(BITS_NORMAL, 1000, "a");
  wake();
  for (int i = 0; i < 200 && w.tries != NULL; i++)
    ends(w.tries->file, BITS_END_AGAIN);
  CHECK(w.starts < 20);
  CHECK_INT(j->state, BITS_TRANSIENT_ERROR);
  world_end();
}

/* ------------------------------------------------------------------
** No network
** ---------------------------------------------------------------- */

TEST(without_a_network_it_waits_and_counts_nothing) {
  world_begin(NULL);
  bits_job *j = a_job(BITS_NORMAL, 3, "a");
  bits_result r = {.end = BITS_END_OFFLINE, .code = BG_E_NETWORK_DISCONNECTED};
  wake();
  while (w.tries != NULL) fake_ends(w.tries, &r);
  CHECK_INT(j->state, BITS_TRANSIENT_ERROR);
  CHECK_INT(w.failures[0].end, BITS_END_OFFLINE);
  CHECK_INT(j->retries, 0);
  CHECK_INT(w.starts, 3);
  pass(29000);
  CHECK_INT(w.starts, 3);
  pass(2000); /* one asks whether there is one */
  CHECK_INT(w.starts, 4);
  fake_ends(w.tries, &r);
  pass(5000);
  pthread_mutex_lock(&w.m.lock);
  mover_online(w.m.mover, w.now);
  bits_mover_wake(&w.m);
  pthread_mutex_unlock(&w.m.lock);
  turn();
  CHECK_INT(w.starts, 5);
  fake_begun(w.tries);
  pass(1000);
  CHECK_INT(w.starts, 7);
  all_end(BITS_END_WHOLE);
  CHECK_INT(j->state, BITS_TRANSFERRED);
  CHECK_INT(w.m.mover->netlink, -1);
  CHECK(w.m.look_at == MOVER_NEVER);
  world_end();
}

/* ------------------------------------------------------------------
** Without memory
** ---------------------------------------------------------------- */

TEST(no_memory_at_any_point) {
  for (long n = 1;; n++) {
    world_begin(NULL);
    bits_job *one = a_job(BITS_NORMAL, 4, "a");
    bits_job *two = a_job(BITS_NORMAL, 4, "b");
    mem_fail_at(n);
    wake();
    for (int i = 0; i < 60; i++) {
      if (w.tries != NULL && i == 1) fake_ends(w.tries, &busy);
      if (w.tries != NULL)
        ends(w.tries->file, i % 3 == 0 ? BITS_END_AGAIN : BITS_END_WHOLE);
      else
        pass(100000);
    }
    bool over = mem_fail_left() != 0;
    mem_fail_at(0);
    for (int i = 0; i < 60; i++) {
      all_end(BITS_END_WHOLE);
      pass(400000);
    }
    CHECK_INT(one->state, BITS_TRANSFERRED);
    CHECK_INT(two->state, BITS_TRANSFERRED);
    world_end();
    if (over || check_bad > 0) break;
  }
}

int main(int argc, char **argv) {
  check_begin(argc, argv);
  RUN(a_failure_that_passes_waits_alone);
  RUN(a_job_whose_files_all_wait_is_in_transient_error);
  RUN(each_file_waits_for_its_own_time);
  RUN(a_failure_that_stays_waits_for_the_jobs_delay);
  RUN(a_failure_that_does_not_pass_is_the_jobs);
  RUN(without_time_every_failure_is_told_at_once);
  RUN(resumed_while_it_waits_it_goes_on_now);
  RUN(what_cannot_be_begun_is_tried_again);
  RUN(a_host_that_needs_a_rest_has_one);
  RUN(a_host_that_is_not_there_is_not_asked_by_all);
  RUN(who_fails_at_one_host_does_not_hold_up_another);
  RUN(failures_in_a_row_close_it_too);
  RUN(without_a_network_it_waits_and_counts_nothing);
  RUN(no_memory_at_any_point);
  CHECK_INT(mem_blocks(), 0);
  return check_end();
}
