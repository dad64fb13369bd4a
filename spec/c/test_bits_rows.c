/*
** Rows of jobs and of files: all of it there and back, and what becomes of
** those that make no sense.
*/
#include "bits_properties_case.h"

/* ------------------------------------------------------------------
** Rows of jobs
** ---------------------------------------------------------------- */

TEST(a_row_comes_back) {
  bits_job *j = new_job();
  CHECK_INT(set(j,
                "{'name':'caf\xC3\xA9','description':'d',"
                "'priority':'low','retry_delay':7.25,"
                "'no_progress_timeout':8,'max_time':9,"
                "'limit_download':10,'limit_upload':11,'overwrite':true,"
                "'notify_command':['/bin/echo','$X'],'notify_flags':3,"
                "'kept':{'a':{'b':[1,2.5,null]}}}"),
            0);
  m.clock_base = 1000000;
  j->marks |= BITS_JOB_RESUMED | BITS_JOB_NOTIFY | BITS_JOB_BUSY;
  j->created = 1234567890;
  j->modified = 1234567891;
  j->transferred = 1234567892;
  j->retry_at = 2000000;
  j->progress_at = 500;
  j->begun_at = 400;
  j->touched_at = 300;
  j->tries = 3;
  j->retries = 4;
  j->error_count = 5;
  j->failure = (bits_failure){.code = 0x80190194u,
                              .context = BITS_CONTEXT_REMOTE,
                              .win32 = 6,
                              .transport = 404,
                              .file = 7,
                              .why = mem_text("a\\\\b\\n is not there")};
  bits_job *other = reload(j);
  CHECK(value_equal(j->properties, other->properties));
  CHECK_INT(other->priority, BITS_LOW);
  CHECK_INT(other->retry_delay_ms, 7250);
  CHECK_INT(other->no_progress_ms, 8000);
  CHECK_INT(other->max_time_ms, 9000);
  CHECK_INT(other->down, 10);
  CHECK_INT(other->up, 11);
  CHECK(other->terms->overwrite);
  CHECK_INT(other->marks, BITS_JOB_RESUMED | BITS_JOB_NOTIFY);
  CHECK_INT(other->created, 1234567890);
  CHECK_INT(other->modified, 1234567891);
  CHECK_INT(other->transferred, 1234567892);
  CHECK_INT(other->retry_at, 2000000);
  CHECK_INT(other->progress_at, 500);
  CHECK_INT(other->begun_at, 400);
  CHECK_INT(other->touched_at, 300);
  CHECK_INT(other->tries, 3);
  CHECK_INT(other->retries, 4);
  CHECK_INT(other->error_count, 5);
  CHECK_INT(other->failure.code, 0x80190194u);
  CHECK_INT(other->failure.context, BITS_CONTEXT_REMOTE);
  CHECK_INT(other->failure.win32, 6);
  CHECK_INT(other->failure.transport, 404);
  CHECK_INT(other->failure.file, 7);
  CHECK_TEXT(other->failure.why, "a\\\\b\\n is not there");
  bits_job_unref(other);
  bits_job_unref(j);
}

TEST(a_newer_row_takes_the_place_of_the_older) {
  bits_job *j = new_job(), *plain = new_job();
  CHECK_INT(set(j, "{'name':'x','overwrite':true,'max_time':5}"), 0);
  j->failure.code = 0x80200024u;
  char *row = bits_properties_write(plain);
  error *e = NULL;
  value *v = json_read(row, strlen(row), NULL, &e);
  CHECK(bits_properties_read(j, v, true) == NULL);
  CHECK(value_get(j->properties, "name") == NULL && !j->terms->overwrite);
  CHECK_INT(j->max_time_ms, plain->max_time_ms);
  CHECK_INT(j->failure.code, 0);
  value_free(v);
  mem_free(row);
  bits_job_unref(plain);
  bits_job_unref(j);
}

TEST(rows_that_make_no_sense) {
  static const char *const rows[] = {
      "7",
      "[]",
      "{}",
      "{'set':7}",
      "{'set':{'name':7,'what':1}}",
      "{'set':{'headers':7,'s3':[1],'credentials':7,'notify_command':{}}}",
      "{'retry_at':-1,'progress_at':9e99,'begun_at':'x','tries':1e10}",
      "{'failure':7}",
      "{'failure':{'code':1}}",
      "{'failure':{'code':2149580801,'context':99,'file':-1,'why':7}}",
      "{'marks':-1}",
      "{'marks':4294967296}",
      "{'group':'x'}",
      "{'group':7}",
      "{'progress_at':9223372036854775807,'touched_at':9223372036854775807}"};
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    bits_job *j = new_job();
    value *v = json(rows[i]);
    error *e = bits_properties_read(j, v, true);
    CHECK(e == NULL);
    CHECK(j->progress_at <= bits_now(&m) && j->touched_at <= bits_now(&m));
    CHECK(j->failure.context <= BITS_CONTEXT_APPLICATION);
    CHECK(j->group == NULL);
    value_free(v);
    bits_job_unref(j);
  }
}

/* ------------------------------------------------------------------
** Rows of files
** ---------------------------------------------------------------- */

static bits_file *fresh(bits_job *j) {
  bits_file *f = bits_job_append(j, "http://h/x", "/x");
  if (f == NULL) abort();
  return f;
}

/* Written, and read into another file. */
static bits_file *reread(bits_job *j, const bits_file *f, uint32_t expected) {
  queue_file row = {.state = f->state,
                    .marks = f->marks,
                    .have = (int64_t)atomic_load(&f->have),
                    .size = f->size == BITS_UNKNOWN ? -1 : (int64_t)f->size};
  char *known, *extra;
  CHECK(bits_file_write(f, &known, &extra));
  row.known = known;
  row.extra = extra;
  bits_file *other = fresh(j);
  error *e = bits_file_read(other, &row);
  CHECK_INT(e != NULL ? e->code : 0, expected);
  error_unref(e);
  mem_free(known);
  mem_free(extra);
  return other;
}

TEST(a_file_comes_back) {
  bits_job *j = new_job();
  bits_file *f = fresh(j);
  f->state = BITS_FILE_FETCHED;
  f->marks = BITS_FILE_VERIFIED | BITS_FILE_NO_RANGE;
  f->size = 1000;
  atomic_store(&f->have, 900);
  f->known = mem_zero(sizeof *f->known);
  f->known->etag = mem_text("W/\"a \\\"b\\\" \xFF\xFE\"");
  f->known->modified = mem_text("Sun, 06 Nov 1994 08:49:37 GMT");
  f->known->encoding = mem_text("gzip");
  f->known->digest = mem_text("sha-256:00");
  f->known->total = 1000;
  f->known->durable = 800;
  f->known->device = UINT64_MAX;
  f->known->inode = 1ull << 63;
  strcpy(f->known->boot, "01234567-89ab-4cde-8f01-23456789abcd");
  f->extra = mem_zero(sizeof *f->extra);
  f->extra->sha256 = mem_text(
      "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef");
  f->extra->upload = mem_text("{\"id\":\"x\"}");
  f->extra->ranges = mem_zero(2 * sizeof *f->extra->ranges);
  f->extra->range_count = 2;
  f->extra->ranges[0] = (bits_range){5, 10};
  f->extra->ranges[1] = (bits_range){15, BITS_UNKNOWN};
  bits_file *o = reread(j, f, 0);
  CHECK_INT(o->state, BITS_FILE_FETCHED);
  CHECK_INT(o->marks, BITS_FILE_VERIFIED | BITS_FILE_NO_RANGE);
  CHECK_INT(o->size, 1000);
  CHECK_INT(atomic_load(&o->have), 900);
  CHECK_TEXT(o->known->etag, f->known->etag);
  CHECK_TEXT(o->known->modified, f->known->modified);
  CHECK_TEXT(o->known->encoding, "gzip");
  CHECK_TEXT(o->known->digest, "sha-256:00");
  CHECK_INT(o->known->total, 1000);
  CHECK_INT(o->known->durable, 800);
  CHECK(o->known->device == UINT64_MAX && o->known->inode == 1ull << 63);
  CHECK_TEXT(o->known->boot, f->known->boot);
  CHECK_TEXT(o->extra->sha256, f->extra->sha256);
  CHECK_TEXT(o->extra->upload, f->extra->upload);
  CHECK_INT(o->extra->range_count, 2);
  CHECK(memcmp(o->extra->ranges, f->extra->ranges, 2 * sizeof(bits_range)) ==
        0);
  bits_job_unref(j);
}

TEST(nothing_known_is_no_text) {
  bits_job *j = new_job();
  char *known, *extra;
  CHECK(bits_file_write(fresh(j), &known, &extra));
  CHECK(known == NULL && extra == NULL);
  bits_job_unref(j);
}

static bits_file *read_row(bits_job *j, const char *known, const char *extra,
                           uint32_t *code) {
  bits_file *f = fresh(j);
  queue_file row = {.state = BITS_FILE_FETCHED,
                    .have = 10,
                    .size = 10,
                    .known = known,
                    .extra = extra};
  error *e = bits_file_read(f, &row);
  *code = e != NULL ? e->code : 0;
  error_unref(e);
  return f;
}

/* What is known of bytes and makes no sense: they are nobody's, and the file
   begins again. */
TEST(what_is_known_and_wrong_is_not_known) {
  static const char *const rows[] = {
      "",
      "{",
      "7",
      "[]",
      "{}",
      "{\"durable\":-1,\"device\":1,\"inode\":1}",
      "{\"durable\":1,\"device\":1}",
      "{\"durable\":1.5,\"device\":1,"
      "\"inode\":1}",
      "{\"durable\":9,\"total\":5,\"device\":1,\"inode\":1}",
      "{\"durable\":0,\"device\":1,\"inode\":1,\"etag\":7}",
      "{\"durable\":0,\"device\":1,\"inode\":1,\"etag\":\"a\\nb\"}",
      "{\"durable\":0,\"device\":1,\"inode\":1,\"etag\":\"a\\u0000b\"}",
      "{\"durable\":0,\"device\":1,\"inode\":1,\"etag\":[\"*\"]}",
      "{\"durable\":0,\"device\":1,\"inode\":1,\"etag\":[]}",
      "{\"durable\":0,\"device\":1,\"inode\":1,\"boot\":"
      "\"01234567-89ab-4cde-8f01-23456789abcdef\"}"};
  bits_job *j = new_job();
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    uint32_t code;
    bits_file *f = read_row(j, rows[i], NULL, &code);
    if (f->known != NULL) printf("%s\n", rows[i]);
    CHECK_INT(code, 0);
    CHECK(f->known == NULL);
    CHECK_INT(f->state, BITS_FILE_WAITS);
    CHECK_INT(atomic_load(&f->have), 0);
  }
  bits_job_unref(j);
}

/* What the caller wanted of a file is never left out. */
TEST(what_was_wanted_and_is_wrong_is_refused) {
  static const char *const rows[] = {"",
                                     "7",
                                     "[]",
                                     "{\"sha256\":\"00\"}",
                                     "{\"ranges\":7}",
                                     "{\"ranges\":[]}",
                                     "{\"ranges\":[[1]]}",
                                     "{\"ranges\":[[1,0]]}",
                                     "{\"ranges\":[[-1,2]]}",
                                     "{\"ranges\":[[1,5],[5,1]]}",
                                     "{\"ranges\":[[1,-1],[5,1]]}",
                                     "{\"ranges\":[[5,1],[1,1]]}",
                                     "{\"ranges\":[[9223372036854775807,1]]}",
                                     "{\"upload\":7}"};
  bits_job *j = new_job();
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    uint32_t code;
    read_row(j, NULL, rows[i], &code);
    if (code == 0) printf("%s\n", rows[i]);
    CHECK(code != 0);
  }
  bits_job_unref(j);
}

TEST(numbers_of_a_file) {
  bits_job *j = new_job();
  static const queue_file rows[] = {
      {.state = -1}, {.state = 4}, {.have = -1}, {.size = -2}};
  for (size_t i = 0; i < 4; i++) {
    error *e = bits_file_read(fresh(j), &rows[i]);
    CHECK(e != NULL && e->code == SAROS_E_DAMAGED);
    error_unref(e);
  }
  bits_job_unref(j);
}

int main(int argc, char **argv) {
  properties_begin(argc, argv);
  RUN(a_row_comes_back);
  RUN(a_newer_row_takes_the_place_of_the_older);
  RUN(rows_that_make_no_sense);
  RUN(a_file_comes_back);
  RUN(nothing_known_is_no_text);
  RUN(what_is_known_and_wrong_is_not_known);
  RUN(what_was_wanted_and_is_wrong_is_refused);
  RUN(numbers_of_a_file);
  return check_end();
}
