/*
** bits: nobody waits for ever. Who stands in a row keeps his place in it, who
** was resumed goes on at once, and what cost a job no time of its own is no
** time
** without progress; and many jobs do not make the mover slow.
*/
#include "mover_case.h"

static unsigned count_of(const turn_list *l) {
  return (unsigned)l->count;
}

/* ------------------------------------------------------------------
** Rows
** ---------------------------------------------------------------- */

/* A higher one comes between: whoever waits at the host waits on, in order. */
TEST(who_waits_at_a_host_keeps_his_place) {
  world_begin("{\"connections_per_host\": 1}");
  bits_job *j[6];
  for (int i = 0; i < 6; i++) j[i] = a_job(BITS_LOW, 1, "a");
  wake();
  for (int i = 1; i < 6; i++) {
    bits_job *high = a_job(BITS_HIGH, 1, "b");
    wake();
    ends(j[i - 1]->files[0], BITS_END_WHOLE); /* the place is free */
    CHECK_INT(j[i]->running, 0);
    ends(high->files[0], BITS_END_WHOLE);
    for (int k = i; k < 6; k++) CHECK_INT(j[k]->running, k == i);
  }
  world_end();
}

/* Its second try is due, and others wait, too: looks do not push it back. */
TEST(whose_time_has_come_keeps_his_place) {
  world_begin("{\"connections_per_host\": 1}");
  bits_job *first = a_job(BITS_NORMAL, 1, "a");
  wake();
  bits_result r = {.end = BITS_END_AGAIN, .moved = true, .code = 1};
  fake_ends(w.tries, &r);
  bits_job *others[4];
  for (int i = 0; i < 4; i++) others[i] = a_job(BITS_NORMAL, 1, "a");
  wake();
  CHECK_INT(others[0]->running, 1);
  pass(1000); /* now it may, and waits like them */
  bits_job *last = a_job(BITS_NORMAL, 1, "a");
  wake();
  for (int i = 0; i < 4; i++) {
    wake();
    ends(others[i]->files[0], BITS_END_WHOLE);
    if (first->running > 0) break;
  }
  CHECK_INT(last->running, 0);
  if (first->running == 0) ends(w.tries->file, BITS_END_WHOLE);
  CHECK_INT(last->running, first->state == BITS_TRANSFERRED);
  CHECK(first->running == 1 || first->state == BITS_TRANSFERRED);
  world_end();
}

/* In its ring, too: a gate has opened for files of both. */
TEST(a_look_does_not_change_whose_turn_it_is) {
  world_begin("{\"connections\": 1}");
  bits_job *one = a_job(BITS_NORMAL, 40, "a");
  bits_job *two = a_job(BITS_NORMAL, 40, "a");
  wake();
  bits_result busy = {.end = BITS_END_AGAIN,
                      .code = BG_E_HTTP(503),
                      .transport = 503,
                      .gate_host = true};
  fake_ends(w.tries, &busy);
  pass(2000); /* all of them have waited for the gate */
  fake_begun(w.tries);
  pass(2000);
  unsigned turns[2] = {0, 0};
  for (int i = 0; i < 40 && w.tries != NULL; i++) {
    bits_file *f = w.tries->file;
    atomic_store(&f->have, 64 << 20); /* a slice each */
    turns[f->job == two]++;
    pthread_mutex_lock(&w.m.lock);
    bits_mover_wake(&w.m); /* all are looked at just then */
    pthread_mutex_unlock(&w.m.lock);
    ends(f, BITS_END_WHOLE);
  }
  CHECK(turns[0] >= 19 && turns[1] >= 19);
  CHECK(one->state != BITS_TRANSFERRED || two->state != BITS_QUEUED);
  world_end();
}

/* ------------------------------------------------------------------
** Time without progress
** ---------------------------------------------------------------- */

TEST(to_wait_for_its_turn_is_no_time_without_progress) {
  world_begin("{\"connections\": 1}");
  bits_job *high = a_job(BITS_HIGH, 1, "a");
  bits_job *low = a_job(BITS_LOW, 1, "b");
  low->no_progress_ms = 700000;
  wake();
  pass(86400000);
  ends(high->files[0], BITS_END_WHOLE);
  CHECK_INT(low->running, 1);
  ends(low->files[0], BITS_END_AGAIN);
  CHECK_INT(w.failure_count, 1); /* told once: not as the last */
  CHECK_INT(low->state, BITS_TRANSIENT_ERROR);
  CHECK(low->progress_at == w.now);
  /* From then on it counts. */
  uint64_t first = w.now;
  until(low->retry_at);
  ends(low->files[0], BITS_END_AGAIN);
  CHECK(low->progress_at == first);
  world_end();
}

TEST(nor_is_to_wait_for_a_network) {
  world_begin(NULL);
  bits_job *j = a_job(BITS_NORMAL, 1, "a");
  bits_result r = {.end = BITS_END_OFFLINE, .code = BG_E_NETWORK_DISCONNECTED};
  wake();
  ends(j->files[0], BITS_END_AGAIN);
  until(j->retry_at);
  uint64_t before = w.now;
  fake_ends(w.tries, &r);
  CHECK(j->progress_at == before);
  pass(31000);
  fake_ends(w.tries, &r);
  CHECK(j->progress_at == w.now);
  world_end();
}

TEST(nor_are_hours_in_which_nothing_goes) {
  world_begin("{\"limits\": [\"00:00-24:00: 0\"]}");
  bits_job *j = a_job(BITS_NORMAL, 1, "a");
  wake();
  pass(3600000);
  CHECK_INT(w.starts, 0);
  CHECK(w.now - j->progress_at <= 61000);
  world_end();
}

/* ------------------------------------------------------------------
** States
** ---------------------------------------------------------------- */

/* Something of it has failed, and then it is too late in the day. */
TEST(closed_by_the_hour_is_no_error) {
  world_begin("{\"connections_per_host\": 2}");
  bits_job *j = a_job(BITS_NORMAL, 9, "a");
  wake();
  ends(j->files[0], BITS_END_AGAIN);
  error *e = NULL;
  value *v = json_read("{\"limits\":\"00:00-24:00: 0\"}", 27, NULL, &e);
  pthread_mutex_lock(&w.m.lock);
  e = bits_mover_settings(&w.m, v);
  pthread_mutex_unlock(&w.m.lock);
  CHECK(e == NULL);
  value_free(v);
  turn();
  stopped_end();
  CHECK_INT(fakes(), 0);
  CHECK_INT(j->state, BITS_QUEUED);
  CHECK_INT(w.failure_count, 0);
  world_end();
}

/* What has failed once, and then answers, is not what the job is told of. */
TEST(what_answers_has_not_failed) {
  world_begin(NULL);
  bits_job *j = a_job(BITS_NORMAL, 2, "a");
  wake();
  ends(j->files[0], BITS_END_AGAIN);
  pass(1000);
  fake_begun(fake_of(j->files[0]));
  CHECK(j->turn.bad == NULL);
  ends(j->files[1], BITS_END_AGAIN);
  CHECK_INT(j->turn.bad_file, 1);
  world_end();
}

/* That another job owes does not say that this one is at work. */
TEST(whose_slice_is_over_waits_in_line) {
  world_begin("{\"connections\": 1}");
  bits_job *owes = a_job(BITS_NORMAL, 9, "a");
  owes->down = 10;
  wake();
  atomic_store(&owes->files[0]->have, 1 << 20);
  ends(owes->files[0], BITS_END_WHOLE);
  CHECK_INT(owes->running, 0);
  CHECK_INT(owes->state, BITS_CONNECTING); /* it goes on in a moment */
  bits_job *one = a_job(BITS_NORMAL, 9, "b");
  bits_job *two = a_job(BITS_NORMAL, 9, "b");
  wake();
  CHECK_INT(one->running, 1);
  atomic_store(&one->files[0]->have, 64 << 20);
  ends(one->files[0], BITS_END_WHOLE);
  CHECK_INT(two->running, 1);
  CHECK_INT(one->state, BITS_QUEUED);
  world_end();
}

/* Stopped because one file has failed for good; mended, and resumed, while
   another still stops. */
TEST(resumed_while_it_stops_it_goes_on_now) {
  world_begin(NULL);
  bits_job *j = a_job(BITS_NORMAL, 3, "a");
  wake();
  bits_result r = {.end = BITS_END_AGAIN, .has_wait = true, .code = 1};
  r.wait_ms = 3600000;
  r.moved = true;
  fake_ends(fake_of(j->files[0]), &r);
  ends(j->files[1], BITS_END_FAILED);
  CHECK_INT(j->state, BITS_ERROR);
  world_move(j, BITS_QUEUED);
  turn();
  CHECK_INT(j->running, 1); /* it stops */
  stopped_end();
  CHECK_INT(j->running, 3);
  world_end();
}

/* Its try still ends, on its new level, and what has waited for a connection on
   the old one does so no more. */
TEST(who_is_stopped_keeps_nobody_waiting) {
  world_begin("{\"connections_per_host\": 1}");
  bits_job *high = a_job(BITS_HIGH, 2, "a"), *low = a_job(BITS_LOW, 1, "b");
  wake();
  CHECK_INT(high->running, 1);
  CHECK_INT(low->running, 0);
  bool none;
  high->priority = BITS_LOW;
  world_move(high, BITS_SUSPENDED);
  bits_mover_stop(high, &none);
  wake();
  CHECK_INT(high->running, 1);
  CHECK_INT(low->running, 1);
  stopped_end();
  world_move(high, BITS_QUEUED);
  wake();
  CHECK_INT(high->running, 1);
  world_end();
}

/* ------------------------------------------------------------------
** Many
** ---------------------------------------------------------------- */

#define MANY 3000

/* A limit for all: who waits at a host waits there on, and is not looked at
   each time. */
TEST(who_cannot_begin_is_left_where_he_is) {
  world_begin(NULL);
  for (int i = 0; i < MANY; i++) a_job(BITS_NORMAL, 2, "a");
  wake(); /* all but the first wait there */
  w.m.mover->limit_down = 4000;
  wake();
  const turn_list *ring = &w.m.mover->ring[BITS_NORMAL];
  for (int i = 0; i < 40; i++) {
    pass(10000);
    while (w.tries != NULL) {
      atomic_store(&w.tries->file->have, 4000);
      ends(w.tries->file, BITS_END_WHOLE);
    }
    CHECK(count_of(ring) <= MOVER_PER_HOST + 1);
  }
  CHECK(w.starts > 40);
  world_end();
}

/* Each has its own moment: not all are looked at for each. */
TEST(so_many_times_are_not_so_many_looks) {
  world_begin(NULL);
  bits_job *j[MANY];
  char host[20];
  bits_result r = {.end = BITS_END_AGAIN, .has_wait = true, .code = 1};
  for (int i = 0; i < MANY; i++) {
    snprintf(host, sizeof host, "h%d", i);
    j[i] = a_job(BITS_NORMAL, 1, host);
  }
  wake();
  for (int i = 0; i < MANY; i++) {
    r.wait_ms = 600000 + 20u * (unsigned)i;
    if (w.tries != NULL) fake_ends(w.tries, &r);
  }
  CHECK_INT(fakes(), 0);
  w.m.job_count = 100 * MANY; /* so dear is a look */
  until(w.now + 599000);
  uint32_t before = w.m.mover->scan;
  for (uint64_t end = w.now + 20u * MANY + 10000; w.now < end;) {
    pass(100);
    while (w.tries != NULL) ends(w.tries->file, BITS_END_WHOLE);
  }
  CHECK(w.m.mover->scan - before < 60);
  for (int i = 0; i < MANY; i++) CHECK_INT(j[i]->state, BITS_TRANSFERRED);
  w.m.job_count = 0;
  world_end();
}

int main(int argc, char **argv) {
  check_begin(argc, argv);
  RUN(who_waits_at_a_host_keeps_his_place);
  RUN(whose_time_has_come_keeps_his_place);
  RUN(a_look_does_not_change_whose_turn_it_is);
  RUN(to_wait_for_its_turn_is_no_time_without_progress);
  RUN(nor_is_to_wait_for_a_network);
  RUN(nor_are_hours_in_which_nothing_goes);
  RUN(closed_by_the_hour_is_no_error);
  RUN(what_answers_has_not_failed);
  RUN(whose_slice_is_over_waits_in_line);
  RUN(resumed_while_it_stops_it_goes_on_now);
  RUN(who_is_stopped_keeps_nobody_waiting);
  RUN(who_cannot_begin_is_left_where_he_is);
  RUN(so_many_times_are_not_so_many_looks);
  CHECK_INT(mem_blocks(), 0);
  return check_end();
}
