/*
** bits: which file is next, one decision after the other: order, priorities,
** slices, connections, and what a queue is set to. Tries, clock and neighbours
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
** Settings
** ---------------------------------------------------------------- */

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
  RUN(an_inactive_queue_begins_nothing);
  RUN(settings_that_make_no_sense);
  CHECK_INT(mem_blocks(), 0);
  return check_end();
}
