/*
** How jobs end: completed, in whole or in part, again after something was in
** the way; cancelled, with all that is here of them; and what a process leaves
** that dies in between. Files come from the test, not from a server.
*/
#include "bits/keeper.h"
#include "bits_end_case.h"
#include "check.h"

/* ------------------------------------------------------------------
** Completed
** ---------------------------------------------------------------- */

/* The queue as it is now, opened anew by somebody. */
static void open_again(void) {
  shut_queue(m);
  m = open_queue("{'active':false}");
}

TEST(files_get_their_names_when_it_is_completed) {
  uint32_t code;
  bits_job *j = whole_job("{}", 3);
  for (uint32_t i = 0; i < 3; i++) CHECK(!has_name(j, i) && has_part(j, i));
  CHECK_INT(complete(j, &code), 0);
  CHECK_INT(code, SAROS_S_OK);
  for (uint32_t i = 0; i < 3; i++) CHECK(has_name(j, i) && !has_part(j, i));
  CHECK_INT(bits_job_state(j), BITS_ACKNOWLEDGED);
  CHECK(has_left(j));
  remove_names(j);
  bits_job_unref(j);
}

TEST(many_are_named_in_groups) {
  static const char *const options[] = {"{}", "{'durability':'none'}"};
  for (size_t k = 0; k < 2; k++) {
    uint32_t code;
    unsigned named = 0;
    bits_job *j = whole_job(options[k], 300);
    CHECK_INT(complete(j, &code), 0);
    for (uint32_t i = 0; i < 300; i++) named += has_name(j, i);
    CHECK_INT(named, 300);
    remove_names(j);
    bits_job_unref(j);
  }
}

TEST(in_part) {
  uint32_t code;
  bits_job *j = job_with("{}", 3);
  CHECK(is_fine(bits_job_resume(j)));
  fetched(j, 1, true);
  fetched(j, 2, false);
  AWAIT(has_done(j, 1));
  CHECK_INT(complete(j, &code), 0);
  CHECK_INT(code, BG_S_PARTIAL_COMPLETE);
  CHECK(!has_name(j, 0) && has_name(j, 1) && !has_name(j, 2));
  CHECK(!has_part(j, 0) && !has_part(j, 1) && !has_part(j, 2));
  CHECK(has_left(j));
  remove_names(j);
  bits_job_unref(j);
}

/* The rest have theirs, and it can be completed again. */
TEST(what_is_in_the_way) {
  uint32_t code;
  bits_job *j = whole_job("{}", 3);
  write_file(j->files[1]->path);
  CHECK_INT(complete(j, &code), WIN32_(WIN32_ALREADY_EXISTS));
  CHECK_INT(bits_job_state(j), BITS_TRANSFERRED);
  CHECK(has_name(j, 0) && has_name(j, 2) && has_part(j, 1));
  CHECK(!has_part(j, 0) && !has_part(j, 2));
  unlink(j->files[1]->path);
  CHECK_INT(complete(j, &code), 0);
  CHECK_INT(code, SAROS_S_OK);
  CHECK(has_name(j, 1) && has_left(j));
  remove_names(j);
  bits_job_unref(j);
}

/* Nobody has to find out which: somebody takes away what has its name. */
TEST(names_are_in_the_rows_of_what_stays) {
  uint32_t code;
  bits_job *j = whole_job("{'durability':'none'}", 3);
  write_file(j->files[1]->path);
  CHECK_INT(complete(j, &code), WIN32_(WIN32_ALREADY_EXISTS));
  remove_names(j);
  open_again();
  bits_job *again = bits_manager_job(m, bits_job_id(j));
  CHECK_INT(bits_job_state(again), BITS_TRANSFERRED);
  CHECK_INT(complete(again, &code), 0);
  CHECK_INT(code, SAROS_S_OK);
  CHECK(!has_name(j, 0) && has_name(j, 1) && !has_name(j, 2));
  remove_names(j);
  bits_job_unref(again);
  bits_job_unref(j);
}

TEST(what_may_be_overwritten) {
  uint32_t code;
  bits_job *j = whole_job("{'overwrite':true}", 1);
  write_file(j->files[0]->path);
  CHECK_INT(complete(j, &code), 0);
  struct stat s;
  CHECK(stat(j->files[0]->path, &s) == 0 && s.st_size == 6);
  remove_names(j);
  bits_job_unref(j);
}

/* Somebody has taken its bytes away: they are fetched again. */
TEST(a_part_that_is_gone) {
  uint32_t code;
  bits_job *j = whole_job("{}", 2);
  char *part = bits_part_name(j->files[0]);
  unlink(part);
  mem_free(part);
  CHECK(complete(j, &code) != 0);
  CHECK_INT(bits_job_state(j), BITS_ERROR);
  CHECK(!has_name(j, 0) && has_name(j, 1));
  CHECK_INT(j->files[0]->state, BITS_FILE_WAITS);
  CHECK_INT(j->files_done, 1);
  CHECK(is_fine(bits_job_resume(j)));
  CHECK_INT(bits_job_state(j), BITS_QUEUED);
  fetched(j, 0, true);
  CHECK(await_state(j, BITS_TRANSFERRED));
  CHECK_INT(complete(j, &code), 0);
  CHECK(has_name(j, 0) && has_name(j, 1));
  remove_names(j);
  bits_job_unref(j);
}

TEST(another_file_in_place_of_a_part) {
  uint32_t code;
  bits_job *j = whole_job("{}", 1);
  char *part = bits_part_name(j->files[0]);
  unlink(part);
  write_file(part);
  mem_free(part);
  CHECK(complete(j, &code) != 0);
  CHECK(!has_name(j, 0)); /* that would be a wrong file */
  CHECK_INT(cancel(j, &code), 0);
  bits_job_unref(j);
}

TEST(an_upload_deletes_nothing) {
  uint32_t code;
  for (int i = 0; i < 2; i++) {
    bits_job *j = job_with("{'type':'upload'}", 1);
    write_file(j->files[0]->path);
    CHECK(is_fine(bits_job_resume(j)));
    if (i == 0) {
      pthread_mutex_lock(&m->lock);
      bits_keeper_finish(m, j->files[0]);
      pthread_mutex_unlock(&m->lock);
      CHECK(await_state(j, BITS_TRANSFERRED));
      CHECK_INT(complete(j, &code), 0);
    } else {
      CHECK_INT(cancel(j, &code), 0);
    }
    CHECK_INT(code, SAROS_S_OK);
    CHECK(has_name(j, 0));
    remove_names(j);
    bits_job_unref(j);
  }
}

/* It was sent at once in the end, and what was begun before in parts could not
   be taken back then. */
TEST(an_upload_leaves_nothing_at_its_server) {
  static const char what[] =
      "{\"url\":\"http://127.0.0.1:1/b/k\",\"stale\":[\"x\"],"
      "\"reference\":\"env:SAROS_TEST_NONE\"}";
  uint32_t code = 1;
  bits_job *j = job_with("{'type':'upload'}", 1);
  pthread_mutex_lock(&m->lock);
  bits_file *f = j->files[0];
  f->extra = mem_zero(sizeof *f->extra);
  f->extra->upload = mem_text(what);
  f->state = BITS_FILE_DONE;
  j->files_done = 1;
  j->state = BITS_TRANSFERRED;
  pthread_mutex_unlock(&m->lock);
  CHECK(is_fine(bits_job_complete(j, &code)));
  CHECK_INT(code, SAROS_S_OK);
  pthread_mutex_lock(&m->lock);
  const keeper_orphan *o = m->keeper->orphans;
  CHECK(o != NULL && strcmp(o->what, what) == 0 && o->id != 0);
  pthread_mutex_unlock(&m->lock);
  bits_job_unref(j);
}

/* ------------------------------------------------------------------
** Cancelled
** ---------------------------------------------------------------- */

TEST(all_that_is_here_goes) {
  uint32_t code;
  bits_job *j = job_with("{}", 4);
  CHECK(is_fine(bits_job_resume(j)));
  fetched(j, 0, true);
  fetched(j, 1, false);
  fetched(j, 2, true);
  AWAIT(has_done(j, 2));
  CHECK_INT(cancel(j, &code), 0);
  CHECK_INT(code, SAROS_S_OK);
  for (uint32_t i = 0; i < 4; i++) CHECK(!has_name(j, i) && !has_part(j, i));
  CHECK(has_left(j));
  CHECK_INT(cancel(j, &code), BG_E_INVALID_STATE);
  bits_job_unref(j);
}

/* Also those that had their names when the completing was not whole; but not
   what is somebody else's meanwhile. */
TEST(names_that_were_given_go_too) {
  uint32_t code;
  bits_job *j = whole_job("{}", 3);
  write_file(j->files[1]->path);
  CHECK(complete(j, &code) != 0);
  CHECK(has_name(j, 0) && has_name(j, 2));
  unlink(j->files[2]->path);
  write_file(j->files[2]->path);
  CHECK_INT(cancel(j, &code), 0);
  CHECK_INT(code, BG_S_UNABLE_TO_DELETE_FILES);
  CHECK(!has_name(j, 0) && has_name(j, 1) && has_name(j, 2));
  CHECK(!has_part(j, 1) && has_left(j));
  remove_names(j);
  bits_job_unref(j);
}

TEST(what_cannot_be_deleted) {
  uint32_t code;
  bits_job *j = job_with("{}", 1);
  CHECK(is_fine(bits_job_resume(j)));
  char *part = bits_part_name(j->files[0]);
  CHECK(mkdir(part, 0700) == 0); /* that is no file */
  CHECK_INT(cancel(j, &code), 0);
  CHECK_INT(code, BG_S_UNABLE_TO_DELETE_FILES);
  CHECK(has_left(j));
  rmdir(part);
  mem_free(part);
  bits_job_unref(j);
}

TEST(a_group_keeps_what_it_has) {
  uint32_t code;
  bits_job *j = job_with("{'group':'ABCDEF01-0000-4000-8000-000000000002'}", 2);
  CHECK(is_fine(bits_job_resume(j)));
  fetched(j, 0, true);
  AWAIT(has_done(j, 1));
  CHECK(has_name(j, 0)); /* at once */
  fetched(j, 1, false);
  CHECK_INT(cancel(j, &code), 0);
  CHECK(has_name(j, 0) && !has_name(j, 1) && !has_part(j, 1));
  remove_names(j);
  bits_job_unref(j);
}

TEST(many_at_once) {
  uint32_t code;
  bits_job *j = whole_job("{}", 300);
  CHECK_INT(cancel(j, &code), 0);
  unsigned left = 0;
  for (uint32_t i = 0; i < 300; i++) left += has_part(j, i);
  CHECK_INT(left, 0);
  bits_job_unref(j);
}

/* ------------------------------------------------------------------
** Two at once: one of them wins, and says so
** ---------------------------------------------------------------- */

typedef struct racer {
  bits_job *j;
  bool cancels;
  uint32_t result, code;
} racer;

static void *race(void *context) {
  racer *r = context;
  r->result = r->cancels ? cancel(r->j, &r->code) : complete(r->j, &r->code);
  return NULL;
}

TEST(completed_and_cancelled) {
  for (int n = 0; n < 8; n++) {
    bits_job *j = whole_job("{}", 5);
    racer a = {.j = j, .cancels = true}, b = {.j = j};
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, race, &a) == 0);
    race(&b);
    pthread_join(thread, NULL);
    unsigned named = 0, parts = 0;
    for (uint32_t i = 0; i < 5; i++) {
      named += has_name(j, i);
      parts += has_part(j, i);
    }
    CHECK_INT((a.result == 0) + (b.result == 0), 1);
    CHECK_INT(a.result == 0 ? b.result : a.result, BG_E_INVALID_STATE);
    CHECK_INT(named, b.result == 0 ? 5 : 0);
    CHECK_INT(parts, 0);
    CHECK(has_left(j));
    remove_names(j);
    bits_job_unref(j);
  }
}

TEST(a_run_cancelled_while_it_is_completed) {
  for (int n = 0; n < 8; n++) {
    bits_job *j = job_with("{}", 5);
    CHECK(is_fine(bits_job_resume(j)));
    for (uint32_t i = 0; i < 4; i++) fetched(j, i, true);
    AWAIT(has_done(j, 4));
    saros_op *run = bits_job_run(j);
    racer r = {.j = j};
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, race, &r) == 0);
    saros_op_cancel(run);
    pthread_join(thread, NULL);
    CHECK(await_op(run));
    AWAIT(has_left(j));
    unsigned named = 0;
    for (uint32_t i = 0; i < 5; i++) named += has_name(j, i);
    CHECK_INT(named, r.result == 0 ? 4 : 0);
    if (r.result != 0) CHECK_INT(r.result, BG_E_INVALID_STATE);
    if (r.result != 0) CHECK_INT(saros_op_state(run), SAROS_CANCELLED_STATE);
    remove_names(j);
    saros_op_unref(run);
    bits_job_unref(j);
  }
}

/* ------------------------------------------------------------------
** A process that dies in between
** ---------------------------------------------------------------- */

TEST(what_was_being_cancelled_is_cancelled) {
  char id[37];
  bits_job *j = whole_job("{}", 2);
  strcpy(id, bits_job_id(j));
  pthread_mutex_lock(&m->lock);
  bits_job_move(j, BITS_CANCELLED); /* and then it dies */
  pthread_mutex_unlock(&m->lock);
  CHECK(is_fine(bits_keeper_flush(m, true)));
  CHECK(has_part(j, 0) && has_part(j, 1));
  open_again();
  AWAIT(!has_part(j, 0) && !has_part(j, 1));
  AWAIT(has_left(j));
  bits_job_unref(j);
}

TEST(what_was_being_completed_can_be) {
  uint32_t code;
  bits_job *j = whole_job("{}", 3);
  char *part = bits_part_name(j->files[1]);
  CHECK(is_fine(bits_keeper_flush(m, true)));
  CHECK(rename(part, j->files[1]->path) == 0); /* its row does not know */
  mem_free(part);
  open_again();
  bits_job *again = bits_manager_job(m, bits_job_id(j));
  CHECK(again != NULL);
  CHECK_INT(bits_job_state(again), BITS_TRANSFERRED);
  CHECK_INT(complete(again, &code), 0);
  CHECK_INT(code, SAROS_S_OK);
  for (uint32_t i = 0; i < 3; i++) CHECK(has_name(j, i) && !has_part(j, i));
  remove_names(j);
  bits_job_unref(again);
  bits_job_unref(j);
}

/* A machine that was booted since has only what was durable. */
TEST(what_a_machine_has_lost) {
  bits_job *j = whole_job("{'durability':'none'}", 2);
  pthread_mutex_lock(&m->lock);
  for (uint32_t i = 0; i < 2; i++) {
    bits_known *k = j->files[i]->known;
    strcpy(k->boot, "01234567-89ab-4cde-8f01-23456789abcd");
    k->durable = i == 0 ? 3 : atomic_load(&j->files[i]->have);
    bits_file_touch(j->files[i]);
  }
  j->marks &= (uint8_t)~BITS_JOB_DURABLE;
  bits_job_touch(j);
  pthread_mutex_unlock(&m->lock);
  open_again();
  bits_job *again = bits_manager_job(m, bits_job_id(j));
  CHECK_INT(bits_job_state(again), BITS_QUEUED);
  CHECK_INT(again->files[0]->state, BITS_FILE_WAITS);
  CHECK_INT(atomic_load(&again->files[0]->have), 3);
  CHECK_INT(again->files[1]->state, BITS_FILE_DONE);
  uint32_t code;
  CHECK_INT(cancel(again, &code), 0);
  bits_job_unref(again);
  bits_job_unref(j);
}

int main(int argc, char **argv) {
  check_begin(argc, argv);
  world_make();
  m = open_queue("{'active':false}");
  RUN(files_get_their_names_when_it_is_completed);
  RUN(many_are_named_in_groups);
  RUN(in_part);
  RUN(what_is_in_the_way);
  RUN(names_are_in_the_rows_of_what_stays);
  RUN(what_may_be_overwritten);
  RUN(a_part_that_is_gone);
  RUN(another_file_in_place_of_a_part);
  RUN(an_upload_deletes_nothing);
  RUN(an_upload_leaves_nothing_at_its_server);
  RUN(all_that_is_here_goes);
  RUN(names_that_were_given_go_too);
  RUN(what_cannot_be_deleted);
  RUN(a_group_keeps_what_it_has);
  RUN(many_at_once);
  RUN(completed_and_cancelled);
  RUN(a_run_cancelled_while_it_is_completed);
  RUN(what_was_being_cancelled_is_cancelled);
  RUN(what_was_being_completed_can_be);
  RUN(what_a_machine_has_lost);
  shut_queue(m);
  return check_end();
}
