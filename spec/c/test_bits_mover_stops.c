/*
** bits: files that begin once more behind a commit, or in another way, and jobs
** that stop: suspended, busy, gone. Tries, clock and neighbours are the test's.
*/
#include "mover_case.h"

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

int main(int argc, char **argv) {
  check_begin(argc, argv);
  RUN(at_once_is_behind_a_commit);
  RUN(at_once_is_not_for_ever);
  RUN(at_once_not_when_it_cannot_be_committed);
  RUN(stopped_while_it_commits);
  RUN(an_upload_in_parts_may_turn_out_to_be_one);
  RUN(a_suspended_job_stops_and_goes_on);
  RUN(suspended_and_resumed_before_it_has_stopped);
  RUN(who_has_its_files_has_them_alone);
  RUN(a_job_that_left_is_forgotten);
  CHECK_INT(mem_blocks(), 0);
  return check_end();
}
