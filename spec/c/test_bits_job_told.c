/*
** Jobs: what is told of them and of their files, another address; and that all
** of it is there again when the queue is opened. Nothing is transferred.
*/
#include "bits_job_case.h"

static uint32_t set_url(bits_job *j, const char *options) {
  value *v = json_of("%s", options);
  uint32_t code = code_of(bits_job_set_url(j, v));
  value_free(v);
  return code;
}

static int64_t number_of(const value *map, const char *name) {
  return value_integer(value_get(map, name), -1);
}

/* ------------------------------------------------------------------
** What is told
** ---------------------------------------------------------------- */

TEST(a_status_says_what_there_is) {
  bits_job *j = make_job(m,
                         "{'name':'n','description':'d','kept':{'x':1},"
                         "'credentials':{'user':'u','password':'c4n4ry'},"
                         "'limit_download':1000}");
  CHECK_INT(add(j, "{'url':'http://h/a','path':'$/a'}"), 0);
  CHECK_INT(add(j, "{'url':'http://h/b','path':'$/b'}"), 0);
  value *v = bits_job_status(j);
  CHECK_TEXT(text_of(v, "id"), bits_job_id(j));
  CHECK_TEXT(text_of(v, "name"), "n");
  CHECK_TEXT(text_of(v, "description"), "d");
  CHECK_TEXT(text_of(v, "type"), "download");
  CHECK_TEXT(text_of(v, "state"), "suspended");
  CHECK_TEXT(text_of(v, "priority"), "normal");
  CHECK_INT(number_of(v, "files"), 2);
  CHECK_INT(number_of(v, "files_done"), 0);
  CHECK_INT(number_of(v, "files_unknown"), 2);
  CHECK_INT(number_of(v, "bytes"), 0);
  CHECK(value_get(v, "total") == NULL && value_get(v, "error") == NULL);
  CHECK_INT(number_of(v, "retry_delay"), 600);
  CHECK_INT(number_of(v, "no_progress_timeout"), 1209600);
  CHECK_INT(number_of(v, "limit_download"), 1000);
  CHECK(number_of(v, "created") > 1600000000);
  CHECK_INT(number_of(value_get(v, "kept"), "x"), 1);
  buffer b = BUFFER_EMPTY;
  json_write(&b, v, JSON_COMPACT);
  CHECK(strstr(b.data, "c4n4ry") == NULL);
  buffer_free(&b);
  value_free(v);
  drop(j);
}

TEST(files_are_told) {
  bits_job *j = make_job(m, "{}");
  CHECK_INT(add(j, "{'url':'http://h/a?token=c4n4ry','path':'$/a'}"), 0);
  CHECK_INT(add(j, "{'url':'http://h/b','path':'$/b','sha256':'" HEX32 HEX32
                   "','ranges':[{'offset':7,'length':8}]}"),
            0);
  CHECK_INT(add(j, "{'url':'http://h/c','path':'$/c'}"), 0);
  value *v = bits_job_files(j, 0, 100);
  CHECK_INT(v->count, 3);
  const value *f = v->as.items[0];
  CHECK_INT(number_of(f, "number"), 0);
  CHECK(strstr(text_of(f, "url"), "http://h/a?") != NULL);
  CHECK(strstr(text_of(f, "url"), "c4n4ry") == NULL);
  CHECK_TEXT(text_of(f, "path"), in_world("a"));
  CHECK_TEXT(text_of(f, "state"), "waiting");
  CHECK(value_get(f, "total") == NULL && value_get(f, "temporary") == NULL);
  f = v->as.items[1];
  CHECK(value_get(f, "sha256") != NULL);
  CHECK_INT(number_of(value_get(f, "ranges")->as.items[0], "offset"), 7);
  CHECK_INT(number_of(value_get(f, "ranges")->as.items[0], "length"), 8);
  value_free(v);
  v = bits_job_files(j, 1, 1);
  CHECK_INT(v->count, 1);
  CHECK_INT(number_of(v->as.items[0], "number"), 1);
  value_free(v);
  v = bits_job_files(j, 3, 1);
  CHECK_INT(v->count, 0);
  value_free(v);
  drop(j);
}

/* ------------------------------------------------------------------
** Another address
** ---------------------------------------------------------------- */

TEST(one_file_or_a_prefix) {
  bits_job *j = make_job(m, "{}");
  CHECK_INT(add(j, "{'url':'http://old/a','path':'$/a'}"), 0);
  CHECK_INT(add(j, "{'url':'http://old/b','path':'$/b'}"), 0);
  CHECK_INT(add(j, "{'url':'http://other/c','path':'$/c'}"), 0);
  CHECK_INT(set_url(j, "{'number':1,'url':'http://new/x'}"), 0);
  CHECK_TEXT(j->files[1]->url, "http://new/x");
  CHECK_INT(set_url(j, "{'number':3,'url':'http://new/x'}"),
            BG_E_FILE_NOT_FOUND);
  CHECK_INT(set_url(j, "{'number':1,'url':'file:///x'}"), SAROS_E_INVALIDARG);
  CHECK_INT(set_url(j, "{'number':1}"), SAROS_E_INVALIDARG);
  CHECK_INT(set_url(j, "{'from':'http://old/','to':'https://mirror/z/'}"), 0);
  CHECK_TEXT(j->files[0]->url, "https://mirror/z/a");
  CHECK_TEXT(j->files[1]->url, "http://new/x");
  CHECK_TEXT(j->files[2]->url, "http://other/c");
  CHECK_INT(set_url(j, "{'from':'http://old/','to':'https://mirror/z/'}"),
            BG_E_FILE_NOT_FOUND);
  /* One that would be none: then none is changed. */
  CHECK_INT(set_url(j, "{'from':'http','to':'ftp'}"), SAROS_E_INVALIDARG);
  CHECK_TEXT(j->files[2]->url, "http://other/c");
  drop(j);
}

TEST(what_is_here_of_it_stays) {
  bits_job *j = make_job(m, "{}");
  CHECK_INT(add(j, "{'url':'http://old/a','path':'$/a'}"), 0);
  bits_file *f = j->files[0];
  bits_known *k = mem_zero(sizeof *k);
  k->etag = mem_text("\"1\"");
  k->total = 100;
  bits_file_know(f, k);
  bits_file_mark(f, BITS_FILE_NO_RANGE | BITS_FILE_BARE, 0);
  atomic_store(&f->have, 50);
  CHECK_INT(set_url(j, "{'number':0,'url':'http://new/a'}"), 0);
  CHECK(f->known == k);
  CHECK_INT(atomic_load(&f->have), 50);
  CHECK_INT(f->marks & (BITS_FILE_NO_RANGE | BITS_FILE_BARE), 0);
  drop(j);
}

/* ------------------------------------------------------------------
** Again
** ---------------------------------------------------------------- */

TEST(all_of_it_is_there_again) {
  world_next();
  bits_manager *q = open_queue("{'active':false}");
  bits_job *j = make_job(q,
                         "{'name':'n','priority':'high','retry_delay':20,"
                         "'headers':[{'name':'X','value':'1'}],"
                         "'group':'ABCDEF01-0000-4000-8000-000000000002'}");
  bits_job *lost = make_job(q, "{'name':'l','credentials':{'token':'secret'}}");
  CHECK_INT(
      add(j, "{'url':'http://h/a','path':'$/a','sha256':'" HEX32 HEX32 "'}"),
      0);
  CHECK_INT(add(j, "{'url':'http://h/b','path':'$/b','ranges':[{'offset':1}]}"),
            0);
  CHECK_INT(add(lost, "{'url':'http://h/c','path':'$/c'}"), 0);
  CHECK(is_fine(bits_job_resume(j)));
  CHECK(is_fine(bits_job_resume(lost)));
  saros_op *run = bits_job_run(j);
  char id[37], other[37];
  strcpy(id, bits_job_id(j));
  strcpy(other, bits_job_id(lost));
  shut_queue(q);
  CHECK_INT(saros_op_wait(run, 0), 1);
  CHECK_INT(saros_op_code(run), SAROS_E_CLOSED);
  saros_op_unref(run);
  CHECK_INT(code_of(bits_job_suspend(j)), SAROS_E_CLOSED);
  bits_job_unref(j);
  bits_job_unref(lost);

  q = open_queue("{}");
  j = bits_manager_job(q, id);
  lost = bits_manager_job(q, other);
  CHECK(j != NULL && lost != NULL);
  CHECK_INT(bits_job_state(j), BITS_QUEUED);
  CHECK_INT(j->priority, BITS_HIGH);
  CHECK_INT(j->retry_delay_ms, 20000);
  CHECK_INT(j->file_count, 2);
  CHECK(j->files[0]->extra->sha256 != NULL);
  CHECK_INT(j->files[1]->extra->range_count, 1);
  CHECK_INT(j->terms->header_count, 1);
  CHECK((j->marks & BITS_JOB_GROUP) != 0);
  CHECK_TEXT(j->group, "abcdef01-0000-4000-8000-000000000002");
  run = bits_job_run(j);
  CHECK(run != NULL && saros_op_state(run) == SAROS_QUEUED);
  saros_op_unref(run);
  uint32_t code;
  CHECK_INT(bits_job_state(lost), BITS_ERROR);
  value *v = bits_job_error(lost, &code);
  CHECK_INT(number_of(v, "code"), BG_E_INVALID_CREDENTIALS);
  value_free(v);
  run = bits_job_run(lost);
  CHECK_INT(saros_op_state(run), SAROS_FAILED);
  saros_op_unref(run);
  drop(j);
  drop(lost);
  shut_queue(q);
}

TEST(who_observes_changes_nothing) {
  world_next();
  bits_manager *owner = open_queue("{'active':false}");
  bits_job *j = make_job(owner, "{'name':'n'}");
  CHECK_INT(add(j, "{'url':'http://h/a','path':'$/a'}"), 0);
  CHECK(is_fine(bits_job_resume(j)));
  bits_manager *q = open_queue("{'observe':true}");
  bits_job *seen = bits_manager_job(q, bits_job_id(j));
  CHECK(seen != NULL);
  CHECK_INT(bits_job_state(seen), BITS_QUEUED);
  uint32_t code;
  value *v = json_of("{'name':'x'}");
  error *e = NULL;
  CHECK(bits_job_create(q, v, &e) == NULL);
  CHECK_INT(code_of(e), SAROS_E_LOCKED);
  CHECK_INT(code_of(bits_job_set(seen, v)), SAROS_E_LOCKED);
  value_free(v);
  CHECK_INT(add(seen, "{'url':'http://h/b','path':'$/b'}"), SAROS_E_LOCKED);
  CHECK_INT(set_url(seen, "{'number':0,'url':'http://h/b'}"), SAROS_E_LOCKED);
  CHECK_INT(code_of(bits_job_resume(seen)), SAROS_E_LOCKED);
  CHECK_INT(code_of(bits_job_suspend(seen)), SAROS_E_LOCKED);
  CHECK_INT(code_of(bits_job_complete(seen, &code)), SAROS_E_LOCKED);
  CHECK_INT(code_of(bits_job_cancel(seen, &code)), SAROS_E_LOCKED);
  CHECK_INT(bits_job_state(seen), BITS_QUEUED);
  CHECK(bits_job_run(seen) == NULL);
  bits_job_unref(seen);
  shut_queue(q);
  drop(j);
  shut_queue(owner);
}

/* ------------------------------------------------------------------
** A child
** ---------------------------------------------------------------- */

static int in_child(bits_job *j, saros_op *run) {
  uint32_t a, b, c, d;
  value *v = json_of("{'name':'x'}");
  int wrong = 0;
  wrong += code_of(bits_job_resume(j)) != SAROS_E_FORKED;
  wrong += code_of(bits_job_suspend(j)) != SAROS_E_FORKED;
  wrong += code_of(bits_job_set(j, v)) != SAROS_E_FORKED;
  wrong += add(j, "{'url':'http://h/b','path':'$/b'}") != SAROS_E_FORKED;
  wrong += code_of(bits_job_complete(j, &a)) != SAROS_E_FORKED;
  wrong += code_of(bits_job_cancel(j, &a)) != SAROS_E_FORKED;
  wrong += bits_job_get_status(j, &a, &b, &c, &d) != SAROS_E_FORKED;
  wrong += bits_job_state(j) != BITS_QUEUED;
  value *status = bits_job_status(j);
  wrong += status == NULL;
  value_free(status);
  value_free(v);
  saros_op_unref(run);
  bits_job_unref(j);
  return wrong;
}

TEST(a_child_leaves_it_alone) {
  bits_job *j = make_job(m, "{}");
  CHECK_INT(add(j, "{'url':'http://h/a','path':'$/a'}"), 0);
  CHECK(is_fine(bits_job_resume(j)));
  saros_op *run = bits_job_run(j);
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) _exit(in_child(j, run));
  int status = -1;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  CHECK(WIFEXITED(status));
  CHECK_INT(WEXITSTATUS(status), 0);
  CHECK_INT(bits_job_state(j), BITS_QUEUED);
  saros_op_unref(run);
  drop(j);
}

int main(int argc, char **argv) {
  check_begin(argc, argv);
  world_make();
  m = open_queue("{'active':false}");
  RUN(a_status_says_what_there_is);
  RUN(files_are_told);
  RUN(one_file_or_a_prefix);
  RUN(what_is_here_of_it_stays);
  RUN(all_of_it_is_there_again);
  RUN(who_observes_changes_nothing);
  RUN(a_child_leaves_it_alone);
  shut_queue(m);
  return check_end();
}
