/*
** States: the run of a job, which follows it; retries and times, by a clock
** that is turned by hand; and what comes too late.
*/
#include "bits_states_case.h"

/* ------------------------------------------------------------------
** The run
** ---------------------------------------------------------------- */

TEST(a_run_follows_its_job) {
  bits_job *j = job_with("{}", 1);
  CHECK(bits_job_run(j) == NULL);
  CHECK(is_fine(bits_job_resume(j)));
  saros_op *run = bits_job_run(j);
  CHECK_INT(saros_op_state(run), SAROS_QUEUED);
  CHECK_TEXT(saros_op_kind(run), "bits.job");
  move(j, BITS_CONNECTING);
  CHECK_INT(saros_op_state(run), SAROS_RUNNING);
  move(j, BITS_TRANSFERRING);
  CHECK_INT(saros_op_state(run), SAROS_RUNNING);
  CHECK(is_fine(bits_job_suspend(j)));
  CHECK_INT(saros_op_state(run), SAROS_PAUSED);
  CHECK(is_fine(bits_job_resume(j)));
  CHECK_INT(saros_op_state(run), SAROS_QUEUED);
  fails(j, BITS_END_AGAIN, BG_E_CONNECT_FAILURE, 1225, 0);
  CHECK_INT(saros_op_state(run), SAROS_RETRY_WAIT);
  uint32_t flags, win32, transport, retries;
  CHECK_INT(saros_bits_get_status(run, &flags, &win32, &transport, &retries),
            SAROS_S_OK);
  CHECK_INT(flags, 0x18);
  CHECK_INT(win32, 1225);
  CHECK_INT(retries, 1);
  CHECK_INT(saros_op_wait(run, 0), 0);
  CHECK(is_fine(bits_job_suspend(j)));
  CHECK_INT(saros_op_state(run), SAROS_PAUSED);
  CHECK(is_fine(bits_job_resume(j)));
  move(j, BITS_CONNECTING);
  move(j, BITS_QUEUED); /* its slice is over */
  CHECK_INT(saros_op_state(run), SAROS_QUEUED);
  finish_files(j);
  CHECK(await_op(run));
  CHECK_INT(saros_op_state(run), SAROS_SUCCEEDED);
  CHECK_INT(saros_op_code(run), SAROS_S_OK);
  const value *out = op_output(run);
  CHECK_INT(value_integer(value_get(out, "files"), 0), 1);
  CHECK(value_get(out, "bytes") != NULL);
  CHECK_INT(run_state(j), SAROS_SUCCEEDED);
  CHECK(is_fine(bits_job_resume(j))); /* there is nothing to do */
  saros_op *same = bits_job_run(j);
  CHECK(same == run);
  saros_op_unref(same);
  saros_op_unref(run);
  drop(j);
}

TEST(a_failed_run_says_why_and_what_to_do) {
  bits_job *j = job_with("{}", 1);
  bring(j, BITS_ERROR);
  saros_op *run = bits_job_run(j);
  CHECK(await_op(run));
  CHECK_INT(saros_op_state(run), SAROS_FAILED);
  CHECK_INT(saros_op_code(run), BG_E_HTTP(404));
  error *e = op_error(run);
  CHECK(strstr(e->message, "it did not work") != NULL);
  CHECK(strstr(e->message, world_folder) != NULL);
  CHECK(strstr(e->message, "set_url") != NULL);
  error_unref(e);
  CHECK(is_fine(bits_job_resume(j)));
  saros_op *next = bits_job_run(j);
  CHECK(next != run);
  CHECK_INT(saros_op_state(next), SAROS_QUEUED);
  CHECK_INT(saros_op_state(run), SAROS_FAILED); /* for ever */
  saros_op_unref(run);
  saros_op_unref(next);
  drop(j);
}

TEST(cancelling_a_run_cancels_its_job) {
  for (int s = 0; s < STATES; s++) {
    if (s == BITS_SUSPENDED || s == BITS_ERROR || s >= BITS_TRANSFERRED)
      continue; /* there is none that is pending */
    bits_job *j = job_with("{}", 1);
    bring(j, (bits_state)s);
    saros_op *run = bits_job_run(j);
    CHECK_INT(saros_op_cancel(run), SAROS_S_OK);
    CHECK(await_op(run));
    CHECK_INT(saros_op_state(run), SAROS_CANCELLED_STATE);
    CHECK_INT(bits_job_state(j), BITS_CANCELLED);
    AWAIT(has_left(j));
    saros_op_unref(run);
    bits_job_unref(j);
  }
}

TEST(a_suspended_run_can_be_cancelled) {
  bits_job *j = job_with("{}", 1);
  bring(j, BITS_TRANSFERRING);
  CHECK(is_fine(bits_job_suspend(j)));
  saros_op *run = bits_job_run(j);
  CHECK_INT(saros_op_cancel(run), SAROS_S_OK);
  CHECK(await_op(run));
  CHECK_INT(bits_job_state(j), BITS_CANCELLED);
  saros_op_unref(run);
  bits_job_unref(j);
}

TEST(cancelling_a_job_cancels_its_run) {
  bits_job *j = job_with("{}", 1);
  bring(j, BITS_TRANSIENT_ERROR);
  saros_op *run = bits_job_run(j);
  uint32_t code = 99;
  CHECK(is_fine(bits_job_cancel(j, &code)));
  CHECK_INT(code, SAROS_S_OK);
  CHECK_INT(saros_op_wait(run, 0), 1);
  CHECK_INT(saros_op_state(run), SAROS_CANCELLED_STATE);
  saros_op_unref(run);
  bits_job_unref(j);
}

TEST(a_part_completed_ends_its_run) {
  bits_job *j = job_with("{}", 2);
  bring(j, BITS_TRANSFERRING);
  saros_op *run = bits_job_run(j);
  uint32_t code = 99;
  CHECK(is_fine(bits_job_complete(j, &code)));
  CHECK_INT(code, BG_S_PARTIAL_COMPLETE);
  CHECK(await_op(run));
  CHECK_INT(saros_op_state(run), SAROS_SUCCEEDED);
  CHECK_INT(saros_op_code(run), BG_S_PARTIAL_COMPLETE);
  saros_op_unref(run);
  bits_job_unref(j);
}

TEST(progress_is_told_in_bytes) {
  bits_job *j = job_with("{}", 2);
  bring(j, BITS_TRANSFERRING);
  saros_op *run = bits_job_run(j);
  uint32_t percent = 99;
  lock();
  j->files[0]->size = 100;
  atomic_store(&j->files[0]->have, 50);
  bits_job_tell(j);
  unlock();
  saros_op_query(run, &percent);
  CHECK_INT(percent, 0); /* nobody knows the other's size */
  lock();
  j->files[1]->size = 100;
  bits_job_tell(j);
  unlock();
  saros_op_query(run, &percent);
  CHECK_INT(percent, 25);
  saros_op_unref(run);
  drop(j);
}

/* ------------------------------------------------------------------
** Time
** ---------------------------------------------------------------- */

static uint64_t tick(bits_job *j) {
  lock();
  uint64_t at = bits_job_tick(j);
  unlock();
  return at;
}

/* So much later, on the queue's clock. */
static void later(uint64_t ms) {
  lock();
  *(uint64_t *)&m->clock_base += ms;
  unlock();
}

TEST(a_retry_has_its_time) {
  bits_job *j = job_with("{'retry_delay':20}", 1);
  bring(j, BITS_TRANSIENT_ERROR);
  uint64_t at = tick(j);
  CHECK_INT(bits_job_state(j), BITS_TRANSIENT_ERROR);
  CHECK(at != UINT64_MAX && at >= bits_now(m));
  later(20000);
  tick(j);
  CHECK_INT(bits_job_state(j), BITS_QUEUED);
  drop(j);
}

TEST(no_progress_for_too_long_is_an_error) {
  bits_job *j = job_with("{'retry_delay':100,'no_progress_timeout':300}", 1);
  bring(j, BITS_TRANSIENT_ERROR);
  later(150000);
  CHECK(is_fine(bits_job_resume(j))); /* the clock starts anew */
  move(j, BITS_CONNECTING);
  fails(j, BITS_END_AGAIN, BG_E_CONNECT_FAILURE, 1225, 0);
  later(100000);
  tick(j);
  CHECK_INT(bits_job_state(j), BITS_QUEUED);
  move(j, BITS_CONNECTING);
  later(200000);
  fails(j, BITS_END_AGAIN, BG_E_CONNECT_FAILURE, 1225, 0);
  CHECK_INT(bits_job_state(j), BITS_ERROR);
  check_status(j, 0x10, 1225, 0, 3);
  drop(j);
}

TEST(no_progress_is_noticed_while_it_waits) {
  bits_job *j = job_with("{'retry_delay':100,'no_progress_timeout':150}", 1);
  bring(j, BITS_TRANSIENT_ERROR);
  lock();
  j->retry_at = bits_now(m) + 900000; /* the host asked for a rest */
  unlock();
  later(150000);
  tick(j);
  CHECK_INT(bits_job_state(j), BITS_ERROR);
  drop(j);
}

TEST(a_delay_longer_than_the_time_out) {
  bits_job *j = job_with("{'retry_delay':200,'no_progress_timeout':100}", 1);
  bring(j, BITS_CONNECTING);
  fails(j, BITS_END_AGAIN, BG_E_CONNECT_FAILURE, 1225, 0);
  CHECK_INT(bits_job_state(j), BITS_ERROR);
  drop(j);
}

TEST(without_time_every_error_is_fatal) {
  bits_job *j = job_with("{'no_progress_timeout':0}", 1);
  bring(j, BITS_CONNECTING);
  fails(j, BITS_END_OFFLINE, BG_E_NETWORK_DISCONNECTED, 0, 0);
  CHECK_INT(bits_job_state(j), BITS_ERROR);
  drop(j);
}

/* Neither the delay nor the time counts: it is no failure of anybody's. */
TEST(a_lost_network_is_waited_for) {
  bits_job *j = job_with("{'retry_delay':200,'no_progress_timeout':100}", 1);
  bring(j, BITS_CONNECTING);
  later(150000);
  fails(j, BITS_END_OFFLINE, BG_E_NETWORK_DISCONNECTED, 1231, 0);
  CHECK_INT(bits_job_state(j), BITS_TRANSIENT_ERROR);
  later(150000);
  tick(j);
  CHECK_INT(bits_job_state(j), BITS_TRANSIENT_ERROR);
  later(50000);
  tick(j);
  CHECK_INT(bits_job_state(j), BITS_QUEUED);
  drop(j);
}

TEST(it_may_take_so_long) {
  bits_job *j = job_with("{'max_time':50}", 1);
  bring(j, BITS_TRANSFERRING);
  tick(j);
  CHECK_INT(bits_job_state(j), BITS_TRANSFERRING);
  later(50000);
  tick(j);
  CHECK_INT(bits_job_state(j), BITS_ERROR);
  CHECK_INT(j->failure.code, BG_E_MAXDOWNLOAD_TIMEOUT);
  CHECK(is_fine(bits_job_resume(j)));
  tick(j);
  CHECK_INT(bits_job_state(j), BITS_QUEUED);
  drop(j);
}

TEST(ninety_days_of_nothing) {
  bits_job *j = job_with("{}", 1), *touched = job_with("{}", 1);
  later(89ull * 86400000u);
  set_of(touched);
  tick(j);
  CHECK_INT(bits_job_state(j), BITS_SUSPENDED);
  later(1ull * 86400000u);
  tick(j);
  tick(touched);
  CHECK_INT(bits_job_state(j), BITS_CANCELLED);
  CHECK_INT(bits_job_state(touched), BITS_SUSPENDED);
  AWAIT(has_left(j));
  bits_job_unref(j);
  drop(touched);
}

/* ------------------------------------------------------------------
** Too late
** ---------------------------------------------------------------- */

TEST(what_a_try_says_of_a_suspended_job) {
  bits_job *j = job_with("{}", 2);
  bring(j, BITS_TRANSFERRING);
  CHECK(is_fine(bits_job_suspend(j)));
  fails(j, BITS_END_FAILED, BG_E_HTTP(404), 0, 404);
  CHECK_INT(bits_job_state(j), BITS_SUSPENDED);
  move(j, BITS_TRANSFERRING);
  CHECK_INT(bits_job_state(j), BITS_SUSPENDED);
  finish_files(j); /* they were on their way */
  CHECK_INT(bits_job_state(j), BITS_SUSPENDED);
  CHECK(is_fine(bits_job_resume(j)));
  CHECK_INT(bits_job_state(j), BITS_TRANSFERRED);
  CHECK_INT(run_state(j), SAROS_SUCCEEDED);
  drop(j);
}

TEST(a_file_that_the_disk_has_lost) {
  bits_job *j = job_with("{}", 1);
  bring(j, BITS_TRANSFERRED);
  fails(j, BITS_END_FAILED, BG_E_LOCAL_FILE_CHANGED, 0, 0);
  CHECK_INT(bits_job_state(j), BITS_ERROR);
  CHECK_INT(j->files_done, 0);
  CHECK_INT(j->files[0]->state, BITS_FILE_WAITS);
  CHECK(is_fine(bits_job_resume(j)));
  CHECK_INT(bits_job_state(j), BITS_QUEUED);
  drop(j);
}

TEST(idle_jobs_wait_in_line) {
  bits_job *j = job_with("{}", 2);
  bring(j, BITS_TRANSFERRING);
  lock();
  j->files[0]->state = BITS_FILE_FETCHED;
  bits_job_idle(j);
  unlock();
  CHECK_INT(bits_job_state(j), BITS_TRANSFERRING);
  lock();
  j->files[0]->state = BITS_FILE_WAITS;
  bits_job_idle(j);
  unlock();
  CHECK_INT(bits_job_state(j), BITS_QUEUED);
  drop(j);
}

int main(int argc, char **argv) {
  check_begin(argc, argv);
  world_make();
  m = open_queue("{'active':false}");
  RUN(a_run_follows_its_job);
  RUN(a_failed_run_says_why_and_what_to_do);
  RUN(cancelling_a_run_cancels_its_job);
  RUN(a_suspended_run_can_be_cancelled);
  RUN(cancelling_a_job_cancels_its_run);
  RUN(a_part_completed_ends_its_run);
  RUN(progress_is_told_in_bytes);
  RUN(a_retry_has_its_time);
  RUN(no_progress_for_too_long_is_an_error);
  RUN(no_progress_is_noticed_while_it_waits);
  RUN(a_delay_longer_than_the_time_out);
  RUN(without_time_every_error_is_fatal);
  RUN(a_lost_network_is_waited_for);
  RUN(it_may_take_so_long);
  RUN(ninety_days_of_nothing);
  RUN(what_a_try_says_of_a_suspended_job);
  RUN(a_file_that_the_disk_has_lost);
  RUN(idle_jobs_wait_in_line);
  shut_queue(m);
  return check_end();
}
