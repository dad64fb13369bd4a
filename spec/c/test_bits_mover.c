/*
** bits: which file is next, one decision after the other: order, priorities,
** slices, connections, gates, failures, what stops. Tries, clock and neighbours
** are the test's.
*/
#include "mover_case.h"

/* ------------------------------------------------------------------
** Order, and how many at once
** ---------------------------------------------------------------- */

TEST(files_in_order_six_at_once) {
  world_begin(NULL);
  bits_job *j = a_job(BITS_NORMAL, 20, "a");
  wake();
  CHECK_INT(fakes(), 6);
  CHECK_INT(j->state, BITS_CONNECTING);
  fake_begun(w.tries);
  CHECK_INT(j->state, BITS_TRANSFERRING);
  ends(j->files[3], BITS_END_WHOLE);
  CHECK_INT(fakes(), 6);
  CHECK_INT(j->files[3]->state, BITS_FILE_DONE);
  CHECK((j->files[3]->marks & BITS_FILE_VERIFIED) != 0);
  all_end(BITS_END_WHOLE);
  CHECK_INT(w.starts, 20);
  for (unsigned i = 0; i < 20; i++) CHECK(w.order[i] == j->files[i]);
  CHECK_INT(j->state, BITS_TRANSFERRED);
  CHECK_INT(w.failure_count, 0);
  wake();
  CHECK(w.m.look_at == MOVER_NEVER); /* nobody is woken for nothing */
  world_end();
}

TEST(one_look_however_many_ask) {
  world_begin(NULL);
  a_job(BITS_NORMAL, 1, "a");
  pthread_mutex_lock(&w.m.lock);
  for (int i = 0; i < 100; i++) bits_mover_wake(&w.m);
  pthread_mutex_unlock(&w.m.lock);
  unsigned before = w.looks;
  turn();
  CHECK(w.looks - before <= 2); /* and one for the state that changed */
  world_end();
}

TEST(who_is_alone_is_told) {
  world_begin(NULL);
  bits_job *j = a_job(BITS_NORMAL, 1, "a");
  wake();
  CHECK(w.tries->lone);
  ends(j->files[0], BITS_END_WHOLE);
  a_job(BITS_NORMAL, 2, "a");
  wake();
  CHECK_INT(fakes(), 2);
  CHECK(!w.tries->lone && !w.tries->next->lone);
  world_end();
}

TEST(hosts_and_the_whole_have_so_many) {
  world_begin("{\"connections\": 5, \"connections_per_host\": 2}");
  a_job(BITS_NORMAL, 9, "a");
  bits_job *other = a_job(BITS_NORMAL, 9, "A:80"); /* the same */
  bits_job *third = a_job(BITS_NORMAL, 9, "c");
  bits_job *fourth = a_job(BITS_NORMAL, 9, "d");
  wake();
  CHECK_INT(fakes(), 5);
  CHECK_INT(other->running, 0);
  CHECK_INT(third->running, 2);
  CHECK_INT(fourth->running, 1);
  world_end();
}

TEST(a_job_has_its_own_number) {
  world_begin(NULL);
  bits_job *j = a_job(BITS_NORMAL, 9, "a");
  j->terms->per_host = 1;
  wake();
  CHECK_INT(fakes(), 1);
  all_end(BITS_END_WHOLE);
  CHECK_INT(j->state, BITS_TRANSFERRED);
  world_end();
}

/* ------------------------------------------------------------------
** Priorities
** ---------------------------------------------------------------- */

TEST(a_lower_one_waits) {
  world_begin(NULL);
  bits_job *low = a_job(BITS_LOW, 8, "a");
  wake();
  CHECK_INT(low->running, 6);
  bits_job *high = a_job(BITS_HIGH, 2, "b");
  wake();
  CHECK_INT(high->running, 2);
  ends(low->files[0], BITS_END_WHOLE); /* may finish */
  CHECK_INT(low->running, 5);          /* begins nothing */
  all_end(BITS_END_WHOLE);
  CHECK_INT(high->state, BITS_TRANSFERRED);
  CHECK_INT(low->state, BITS_TRANSFERRED);
  world_end();
}

TEST(what_waits_for_its_time_is_no_work) {
  world_begin(NULL);
  bits_job *high = a_job(BITS_HIGH, 1, "a");
  bits_job *low = a_job(BITS_LOW, 1, "b");
  wake();
  CHECK_INT(low->running, 0);
  ends(high->files[0], BITS_END_AGAIN);
  CHECK_INT(high->state, BITS_TRANSIENT_ERROR);
  CHECK_INT(low->running, 1);
  pass(1000);
  CHECK_INT(high->running, 1);
  world_end();
}

TEST(a_priority_may_change) {
  world_begin("{\"connections\": 1}");
  bits_job *one = a_job(BITS_NORMAL, 3, "a");
  bits_job *two = a_job(BITS_NORMAL, 3, "a");
  wake();
  two->priority = BITS_FOREGROUND;
  wake();
  ends(one->files[0], BITS_END_WHOLE);
  CHECK_INT(two->running, 1);
  two->priority = BITS_LOW;
  wake();
  ends(two->files[0], BITS_END_WHOLE);
  CHECK_INT(one->running, 1);
  world_end();
}

TEST(foreground_jobs_run_beside_each_other) {
  world_begin("{\"connections\": 4}");
  bits_job *one = a_job(BITS_FOREGROUND, 20, "a");
  bits_job *two = a_job(BITS_FOREGROUND, 20, "a");
  wake();
  CHECK_INT(one->running, 2);
  CHECK_INT(two->running, 2);
  for (int i = 0; i < 5; i++) {
    ends(one->files[i], BITS_END_WHOLE);
    ends(two->files[i], BITS_END_WHOLE);
    CHECK_INT(one->running, 2);
    CHECK_INT(two->running, 2);
  }
  world_end();
}

/* ------------------------------------------------------------------
** Slices
** ---------------------------------------------------------------- */

static void carry(bits_file *f, uint64_t bytes) {
  atomic_store(&f->have, bytes);
}

TEST(jobs_of_a_level_take_turns_by_bytes) {
  world_begin("{\"connections\": 1}");
  bits_job *j[3];
  for (int i = 0; i < 3; i++) j[i] = a_job(BITS_NORMAL, 12, "a");
  wake();
  /* 16 MiB a file: four of them are a slice. */
  for (unsigned n = 0; n < 36; n++) {
    bits_job *now = j[n / 4 % 3];
    CHECK_INT(now->running, 1);
    CHECK_INT(now->state, BITS_CONNECTING);
    for (int i = 0; i < 3; i++)
      if (j[i] != now && j[i]->state != BITS_TRANSFERRED)
        CHECK_INT(j[i]->state, BITS_QUEUED);
    carry(w.tries->file, 16 << 20);
    ends(w.tries->file, BITS_END_WHOLE);
  }
  for (int i = 0; i < 3; i++) CHECK_INT(j[i]->state, BITS_TRANSFERRED);
  world_end();
}

TEST(jobs_of_a_level_take_turns_by_time) {
  world_begin("{\"connections_per_host\": 1}");
  bits_job *one = a_job(BITS_NORMAL, 4, "a");
  bits_job *two = a_job(BITS_NORMAL, 4, "a");
  wake();
  ends(one->files[0], BITS_END_WHOLE);
  CHECK_INT(one->running, 1);
  w.now += MOVER_SLICE_MS;
  ends(one->files[1], BITS_END_WHOLE);
  CHECK_INT(two->running, 1);
  ends(two->files[0], BITS_END_WHOLE);
  CHECK_INT(two->running, 1);
  world_end();
}

TEST(a_large_file_makes_room_when_it_can_be_resumed) {
  world_begin("{\"connections\": 1}");
  bits_job *large = a_job(BITS_NORMAL, 1, "a");
  bits_job *other = a_job(BITS_NORMAL, 1, "a");
  wake();
  carry(large->files[0], 100 << 20);
  pass(5000);
  CHECK(!w.tries->stopped); /* it would begin anew */
  bits_known *k = mem_zero(sizeof *k);
  k->etag = mem_text("\"1\"");
  large->files[0]->known = k;
  pass(2000);
  CHECK(w.tries->stopped);
  ends(large->files[0], BITS_END_STOPPED);
  CHECK_INT(other->running, 1);
  CHECK_INT(large->state, BITS_QUEUED);
  CHECK_INT(w.idles, 0);
  ends(other->files[0], BITS_END_WHOLE);
  CHECK_INT(large->running, 1);
  pass(5000);
  CHECK(!w.tries->stopped); /* nobody waits */
  CHECK(w.m.look_at == MOVER_NEVER);
  world_end();
}

TEST(places_that_one_cannot_fill_the_next_has) {
  world_begin(NULL);
  bits_job *one = a_job(BITS_NORMAL, 1, "a");
  bits_job *two = a_job(BITS_NORMAL, 9, "a");
  wake();
  CHECK_INT(one->running, 1);
  CHECK_INT(two->running, 5);
  world_end();
}

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
** Once more, at once
** ---------------------------------------------------------------- */

static void committed(error *e) {
  bits_committed call = w.commit;
  CHECK(call != NULL);
  w.commit = NULL;
  if (call != NULL) call(w.commit_context, e);
  turn();
}

TEST(at_once_is_behind_a_commit) {
  world_begin(NULL);
  bits_job *j = a_job(BITS_NORMAL, 1, "a");
  wake();
  ends(j->files[0], BITS_END_AT_ONCE);
  CHECK_INT(w.commits, 1);
  CHECK_INT(w.starts, 1);
  CHECK_INT(j->running, 1);
  committed(NULL);
  CHECK_INT(w.starts, 2);
  ends(j->files[0], BITS_END_WHOLE);
  CHECK_INT(j->state, BITS_TRANSFERRED);
  CHECK_INT(j->retries, 0);
  world_end();
}

TEST(at_once_is_not_for_ever) {
  world_begin(NULL);
  bits_job *j = a_job(BITS_NORMAL, 1, "a");
  wake();
  for (int i = 0; i < MOVER_AT_ONCE; i++) {
    ends(j->files[0], BITS_END_AT_ONCE);
    committed(NULL);
  }
  ends(j->files[0], BITS_END_AT_ONCE);
  CHECK(w.commit == NULL);
  CHECK_INT(j->state, BITS_TRANSIENT_ERROR);
  CHECK_INT(w.failures[0].code, BG_E_INVALID_SERVER_RESPONSE);
  CHECK_INT(j->retries, 1);
  world_end();
}

TEST(at_once_not_when_it_cannot_be_committed) {
  world_begin(NULL);
  bits_job *j = a_job(BITS_NORMAL, 1, "a");
  wake();
  ends(j->files[0], BITS_END_AT_ONCE);
  error *e = bits_fail(SAROS_E_FAIL, "the queue is broken");
  committed(e);
  error_unref(e);
  CHECK_INT(w.starts, 1);
  CHECK_INT(j->state, BITS_TRANSIENT_ERROR);
  world_end();
}

TEST(stopped_while_it_commits) {
  world_begin(NULL);
  bits_job *j = a_job(BITS_NORMAL, 1, "a");
  bool none = true;
  wake();
  ends(j->files[0], BITS_END_AT_ONCE);
  pthread_mutex_lock(&w.m.lock);
  j->state = BITS_SUSPENDED;
  bits_mover_stop(j, &none);
  pthread_mutex_unlock(&w.m.lock);
  turn();
  CHECK(!none);
  CHECK_INT(w.idles, 0);
  committed(NULL);
  CHECK_INT(w.idles, 1);
  CHECK_INT(w.starts, 1);
  world_end();
}

/* ------------------------------------------------------------------
** Uploads
** ---------------------------------------------------------------- */

TEST(an_upload_in_parts_may_turn_out_to_be_one) {
  world_begin(NULL);
  bits_job *j = a_job(BITS_NORMAL, 1, "a");
  j->type = BITS_UPLOAD;
  j->terms->s3_key = mem_text("key");
  wake();
  CHECK_INT(w.tries->way, MOVER_S3);
  ends(j->files[0], BITS_END_SINGLE);
  CHECK_INT(w.tries->way, MOVER_SEND);
  CHECK_INT(w.commits, 0);
  ends(j->files[0], BITS_END_WHOLE);
  CHECK_INT(j->state, BITS_TRANSFERRED);
  world_end();
}

/* ------------------------------------------------------------------
** What stops
** ---------------------------------------------------------------- */

TEST(a_suspended_job_stops_and_goes_on) {
  world_begin(NULL);
  bits_job *j = a_job(BITS_NORMAL, 9, "a");
  bool none = true;
  wake();
  pthread_mutex_lock(&w.m.lock);
  j->state = BITS_SUSPENDED;
  bits_mover_stop(j, &none);
  pthread_mutex_unlock(&w.m.lock);
  CHECK(!none);
  CHECK(!w.tries->stopped); /* on the other thread, soon */
  turn();
  for (fake *t = w.tries; t != NULL; t = t->next) CHECK(t->stopped);
  ends(j->files[0], BITS_END_WHOLE); /* it was over already */
  CHECK_INT(w.idles, 0);
  stopped_end();
  CHECK_INT(w.idles, 1);
  CHECK_INT(w.starts, 6);
  pthread_mutex_lock(&w.m.lock);
  bits_mover_stop(j, &none);
  pthread_mutex_unlock(&w.m.lock);
  CHECK(none);
  world_move(j, BITS_QUEUED);
  turn();
  CHECK_INT(j->running, 6);
  CHECK(w.order[6] == j->files[1]);
  world_end();
}

TEST(suspended_and_resumed_before_it_has_stopped) {
  world_begin(NULL);
  bits_job *j = a_job(BITS_NORMAL, 3, "a");
  bool none;
  wake();
  pthread_mutex_lock(&w.m.lock);
  j->state = BITS_SUSPENDED;
  bits_mover_stop(j, &none);
  j->state = BITS_QUEUED;
  bits_mover_wake(&w.m);
  pthread_mutex_unlock(&w.m.lock);
  turn();
  stopped_end();
  CHECK_INT(j->running, 3);
  all_end(BITS_END_WHOLE);
  CHECK_INT(j->state, BITS_TRANSFERRED);
  world_end();
}

TEST(who_has_its_files_has_them_alone) {
  world_begin(NULL);
  bits_job *j = a_job(BITS_NORMAL, 3, "a");
  j->marks |= BITS_JOB_BUSY;
  wake();
  CHECK_INT(w.starts, 0);
  j->finishing = true; /* only with some that are here */
  wake();
  CHECK_INT(j->running, 3);
  j->finishing = false;
  j->marks = 0;
  wake();
  CHECK_INT(j->running, 3);
  world_end();
}

TEST(an_inactive_queue_begins_nothing) {
  world_begin("{\"active\": false}");
  a_job(BITS_NORMAL, 3, "a");
  wake();
  CHECK_INT(w.starts, 0);
  world_end();
  world_begin(NULL);
  w.m.broken = error_no_memory();
  a_job(BITS_NORMAL, 3, "a");
  wake();
  CHECK_INT(w.starts, 0);
  world_end();
}

TEST(a_job_that_left_is_forgotten) {
  world_begin("{\"connections\": 1}");
  bits_job *one = a_job(BITS_NORMAL, 2, "a");
  bits_job *two = a_job(BITS_NORMAL, 2, "a");
  wake();
  CHECK_INT(atomic_load(&two->refs), 2);
  w.m.first = w.m.last = one; /* nobody says so */
  one->next = NULL;
  two->previous = NULL;
  two->state = BITS_CANCELLED;
  wake();
  CHECK_INT(atomic_load(&two->refs), 1);
  all_end(BITS_END_WHOLE);
  CHECK_INT(w.starts, 2);
  job_free(two);
  world_end();
}

TEST(settings_that_make_no_sense) {
  static const char *const bad[] = {"{\"connections\": 0}",
                                    "{\"connections\": \"x\"}",
                                    "{\"limit_download\": -1}",
                                    "{\"limit_upload\": \"fast\"}",
                                    "{\"limits\": [\"always\"]}",
                                    "{\"active\": 1}",
                                    "{\"connections_per_host\": 1000}"};
  world_begin("{\"connections\": 3, \"limit_download\": \"1.5M\"}");
  for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
    error *e = NULL;
    value *v = json_read(bad[i], strlen(bad[i]), NULL, &e);
    e = bits_mover_settings(&w.m, v);
    CHECK(e != NULL && e->code == SAROS_E_INVALIDARG);
    error_unref(e);
    value_free(v);
  }
  CHECK_INT(w.m.mover->connections, 3);
  CHECK_INT(w.m.mover->limit_down, 3 << 19);
  value *s = bits_mover_status(&w.m);
  CHECK_INT(value_integer(value_get(s, "active"), -1), 0);
  CHECK_INT(value_integer(value_get(s, "down"), -1), 3 << 19);
  CHECK(value_get(s, "up")->type == VALUE_NULL);
  CHECK(value_get(s, "gates")->type == VALUE_LIST);
  value_free(s);
  world_end();
}

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
  RUN(files_in_order_six_at_once);
  RUN(one_look_however_many_ask);
  RUN(who_is_alone_is_told);
  RUN(hosts_and_the_whole_have_so_many);
  RUN(a_job_has_its_own_number);
  RUN(a_lower_one_waits);
  RUN(what_waits_for_its_time_is_no_work);
  RUN(a_priority_may_change);
  RUN(foreground_jobs_run_beside_each_other);
  RUN(jobs_of_a_level_take_turns_by_bytes);
  RUN(jobs_of_a_level_take_turns_by_time);
  RUN(a_large_file_makes_room_when_it_can_be_resumed);
  RUN(places_that_one_cannot_fill_the_next_has);
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
  RUN(at_once_is_behind_a_commit);
  RUN(at_once_is_not_for_ever);
  RUN(at_once_not_when_it_cannot_be_committed);
  RUN(stopped_while_it_commits);
  RUN(an_upload_in_parts_may_turn_out_to_be_one);
  RUN(a_suspended_job_stops_and_goes_on);
  RUN(suspended_and_resumed_before_it_has_stopped);
  RUN(who_has_its_files_has_them_alone);
  RUN(an_inactive_queue_begins_nothing);
  RUN(a_job_that_left_is_forgotten);
  RUN(settings_that_make_no_sense);
  RUN(no_memory_at_any_point);
  CHECK_INT(mem_blocks(), 0);
  return check_end();
}
