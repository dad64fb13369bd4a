/*
** Uploads in parts, against a server that verifies every signature and errs to
** order: whole or not at all, never twice, and nothing left behind.
**
** not under valgrind: it has a server that waits; ASan runs it
*/
#include "s3_upload_case.h"

#define SIZE (4 * PART + 1000) /* five parts */

TEST(a_file_goes_in_parts) {
  tried t;
  s3_begin(&t, "whole", SIZE);
  CHECK_INT(upload_go(&t), BITS_END_WHOLE);
  CHECK(t.r.proven && t.r.verified && t.r.moved);
  CHECK_INT(t.file.marks, BITS_FILE_VERIFIED);
  CHECK_INT(t.file.have, SIZE);
  CHECK_INT(t.file.size, SIZE);
  CHECK_INT(t.begins, 1);
  CHECK(t.file.extra->upload == NULL);
  CHECK(s3_is_stored(&t, "whole", SIZE));
  CHECK_INT(s3_parts_sent(), 5);
  CHECK(!s3_any_upload());
  /* What it is as a whole is kept with it. */
  char sha256[65];
  unsigned char *data = server_content("whole", SIZE, 0);
  http_sign_sha256(data, SIZE, sha256);
  free(data);
  char *meta = server_ask(&s, "GET", "/!meta/bucket/whole", "");
  CHECK(strstr(meta, "x-amz-meta-sha256") != NULL);
  CHECK(strstr(meta, sha256) != NULL);
  free(meta);
  upload_done(&t);
}

TEST(a_small_one_goes_at_once) {
  tried t;
  s3_begin(&t, "small", PART);
  CHECK_INT(upload_go(&t), BITS_END_SINGLE);
  t.start = bits_send_start;
  CHECK_INT(upload_go(&t), BITS_END_WHOLE);
  CHECK(t.r.verified);
  CHECK(s3_is_stored(&t, "small", PART));
  char *meta = server_ask(&s, "GET", "/!meta/bucket/small", "");
  CHECK(strstr(meta, "x-amz-meta-sha256") != NULL);
  free(meta);
  upload_done(&t);
  s3_begin(&t, "empty", 0);
  CHECK_INT(upload_go(&t), BITS_END_SINGLE);
  t.start = bits_send_start;
  CHECK_INT(upload_go(&t), BITS_END_WHOLE);
  CHECK(s3_is_stored(&t, "empty", 0));
  upload_done(&t);
}

TEST(a_server_without_parts_gets_it_at_once) {
  tried t;
  s3_begin(&t, "noparts", SIZE);
  control("/!set", "{\"parts\": false}");
  CHECK_INT(upload_go(&t), BITS_END_SINGLE);
  CHECK(t.file.extra->upload == NULL);
  upload_done(&t);
}

TEST(names_with_odd_characters) {
  static const char *const keys[] = {
      "a%20b",
      "plus+and=and:star*",
      "caf%c3%a9/%C3%BC",
      "dots/../x",
      "q%3fuery%23hash%25",
      "a%2fb//c",
      "(a)!%27$,;@~_",
      "%e2%82%ac/\"quotes\"%3C%3E&amp;",
  };
  for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
    tried t;
    char path[300];
    s3_begin(&t, "odd", SIZE);
    mem_free(t.file.url);
    snprintf(path, sizeof path, "bucket/%s", keys[i]);
    t.file.url = mem_text(at(path));
    CHECK_INT(upload_go(&t), BITS_END_WHOLE);
    if (t.r.end != BITS_END_WHOLE) printf("%s: %s\n", keys[i], t.r.why);
    CHECK(t.r.verified && !s3_any_upload());
    CHECK(s3_is_stored_at(keys[i], "odd", SIZE));
    upload_done(&t);
  }
}

TEST(tokens_and_fields_are_signed) {
  tried t;
  s3_begin(&t, "token", SIZE);
  control("/!set", "{\"token\": true}");
  CHECK_INT(upload_go(&t), BITS_END_FAILED);
  CHECK_INT(t.r.code, BG_E_INVALID_CREDENTIALS);
  CHECK(strstr(t.r.why, "token") != NULL);
  t.ask.terms->s3_token = mem_text(TOKEN);
  upload_header(&t, "X-Amz-Acl", "  public-read   please ", false);
  upload_header(&t, "X-Amz-Meta-Kind", "odd", false);
  upload_header(&t, "Cache-Control", "no-store", false);
  upload_header(&t, "Content-Type", "text/plain", false);
  CHECK_INT(upload_go(&t), BITS_END_WHOLE);
  char *meta = server_ask(&s, "GET", "/!meta/bucket/token", "");
  CHECK(strstr(meta, "x-amz-meta-kind") != NULL);
  free(meta);
  upload_done(&t);
}

/* ------------------------------------------------------------------
** Going on
** ---------------------------------------------------------------- */

/* The third part fails: what has arrived is not sent again. */
TEST(what_has_arrived_is_not_sent_twice) {
  tried t;
  s3_begin(&t, "resumed", SIZE);
  S3_PLAN(S3_WHEN("PUT", "partNumber=3&", S3_STATUS(500, "InternalError")));
  CHECK_INT(upload_go(&t), BITS_END_AGAIN);
  CHECK(t.r.moved);
  CHECK(s3_row_has(&t, "\"id\""));
  unsigned sent = s3_parts_sent();
  CHECK(sent >= 3);
  char *device = strstr(t.file.extra->upload, "\"device\":");
  CHECK(device != NULL);
  if (device != NULL) { /* the machine was booted, and numbers them anew */
    device += strcspn(device, "0123456789");
    *device = *device == '1' ? '2' : '1';
  }
  CHECK_INT(upload_go(&t), BITS_END_WHOLE);
  CHECK(t.r.verified);
  CHECK_INT(s3_parts_sent() + sent, 6);
  CHECK(s3_is_stored(&t, "resumed", SIZE));
  CHECK(!s3_any_upload());
  upload_done(&t);
}

/* Of what is not remembered the file itself says whether it is there. */
TEST(what_is_forgotten_is_found_by_its_digest) {
  tried t;
  s3_begin(&t, "forgotten", SIZE);
  control("/!set", "{\"page_parts\": 2}");
  S3_PLAN(S3_WHEN("POST", "uploadId", S3_STATUS(503, "SlowDown") S3_AFTER(7)));
  CHECK_INT(upload_go(&t), BITS_END_AGAIN);
  CHECK(t.r.gate_host && t.r.has_wait);
  CHECK_INT(t.r.wait_ms, 7000);
  CHECK_INT(s3_parts_sent(), 5);
  char *tags = strstr(t.file.extra->upload, "\"tags\":\"");
  CHECK(tags != NULL);
  if (tags != NULL) memset(tags + 8, '-', 32); /* another tag: not believed */
  CHECK_INT(upload_go(&t), BITS_END_WHOLE);
  CHECK_INT(s3_parts_sent(), 0);
  CHECK(s3_is_stored(&t, "forgotten", SIZE));
  upload_done(&t);
}

TEST(a_part_that_is_another_one_is_sent_again) {
  tried t;
  s3_begin(&t, "mended", SIZE);
  S3_PLAN(S3_WHEN("PUT", "partNumber=2&", S3_FAULT("store half")),
          S3_WHEN("PUT", "partNumber=4&", S3_FAULT("no etag")));
  CHECK_INT(upload_go(&t), BITS_END_WHOLE);
  CHECK_INT(s3_parts_sent(), 7);
  CHECK(s3_is_stored(&t, "mended", SIZE));
  upload_done(&t);
  s3_begin(&t, "unmended", SIZE);
  S3_PLAN(
      S3_WHEN("PUT", "partNumber=2&", S3_FAULT("store half") S3_TIMES(100)));
  CHECK_INT(upload_go(&t), BITS_END_AGAIN);
  CHECK_INT(t.r.code, BG_E_VALIDATION_FAILED);
  CHECK_INT(upload_go(&t), BITS_END_AGAIN);
  CHECK_INT(upload_go(&t), BITS_END_FAILED);
  CHECK_INT(t.r.code, BG_E_VALIDATION_FAILED);
  upload_done(&t);
}

/* The server has lost one in between, and nobody knows. */
TEST(a_part_that_is_lost_is_sent_again) {
  tried t;
  s3_begin(&t, "holes", SIZE);
  S3_PLAN(S3_WHEN("POST", "uploadId", S3_STATUS(400, "InvalidPart")));
  CHECK_INT(upload_go(&t), BITS_END_AGAIN);
  CHECK_INT(s3_parts_sent(), 5);
  control("/!lose/2", "");
  CHECK_INT(upload_go(&t), BITS_END_WHOLE);
  CHECK_INT(s3_parts_sent(), 1);
  CHECK(s3_is_stored(&t, "holes", SIZE));
  upload_done(&t);
}

TEST(it_is_stopped_and_goes_on) {
  tried t;
  s3_begin(&t, "stopped", SIZE);
  S3_PLAN(S3_WHEN("PUT", "partNumber=5&", S3_FAULT("hold")));
  upload_start(&t);
  s3_await_held();
  upload_stop(&t);
  CHECK(upload_wait(&t, &t.ends, 1));
  CHECK_INT(t.r.end, BITS_END_STOPPED);
  s3_release();
  unsigned sent = s3_parts_sent();
  CHECK(s3_row_has(&t, "\"id\""));
  CHECK_INT(upload_go(&t), BITS_END_WHOLE);
  /* Four are sent at a time: when the fifth is begun one of them is over. */
  unsigned again = s3_parts_sent();
  CHECK_INT(sent, 5);
  CHECK(again <= 4);
  CHECK(s3_is_stored(&t, "stopped", SIZE));
  upload_done(&t);
}

TEST(it_is_stopped_wherever_it_is) {
  for (unsigned i = 0; i < 9; i++) {
    tried t;
    char plan[200];
    s3_begin(&t, "anywhere", SIZE);
    snprintf(plan, sizeof plan,
             "{\"match\": \"bucket\", \"skip\": %u, \"fault\": \"hold\"}", i);
    S3_PLAN(plan);
    upload_start(&t);
    s3_await_held();
    upload_stop(&t);
    CHECK(upload_wait(&t, &t.ends, 1));
    CHECK_INT(t.r.end, BITS_END_STOPPED);
    s3_release();
    s3_no_plan();
    s3_orphan_age = 0;
    bits_end end = upload_go(&t);
    if (end == BITS_END_AT_ONCE) end = upload_go(&t);
    CHECK_INT(end, BITS_END_WHOLE);
    CHECK(s3_is_stored(&t, "anywhere", SIZE));
    /* A Create that was cut off is found by its time. */
    CHECK(!s3_any_upload());
    upload_done(&t);
  }
}

/* ------------------------------------------------------------------
** Putting it together
** ---------------------------------------------------------------- */

TEST(what_was_put_together_and_not_told_is_found) {
  tried t;
  s3_begin(&t, "lost", SIZE);
  S3_PLAN(S3_WHEN("POST", "uploadId", S3_FAULT("lost")),
          S3_WHEN("POST", "uploadId", S3_FAULT("lost")));
  /* Over a connection that was used before it is sent again by itself. */
  bits_end end = upload_go(&t);
  if (end == BITS_END_AGAIN) end = upload_go(&t);
  CHECK_INT(end, BITS_END_WHOLE);
  CHECK(t.r.verified);
  CHECK_INT(s3_parts_sent(), 5);
  CHECK(s3_is_stored(&t, "lost", SIZE));
  upload_done(&t);
}

/* Somebody has aborted it: it begins again, once that is committed. */
TEST(what_the_server_has_forgotten_begins_again) {
  tried t;
  s3_begin(&t, "aborted", SIZE);
  S3_PLAN(S3_NOT_COMPLETED);
  CHECK_INT(upload_go(&t), BITS_END_AGAIN);
  control("/!abandon", "");
  CHECK_INT(upload_go(&t), BITS_END_AT_ONCE);
  CHECK(t.file.extra->upload == NULL);
  /* Another's object of that name and length is not taken for ours. */
  s3_put_object("aborted", "another", SIZE);
  CHECK_INT(upload_go(&t), BITS_END_WHOLE);
  CHECK_INT(s3_parts_sent(), 10);
  CHECK(s3_is_stored(&t, "aborted", SIZE));
  upload_done(&t);
}

TEST(another_object_is_not_ours) {
  tried t;
  s3_begin(&t, "theirs", SIZE);
  S3_PLAN(S3_NOT_COMPLETED);
  CHECK_INT(upload_go(&t), BITS_END_AGAIN);
  control("/!abandon", "");
  s3_put_object("theirs", "another", SIZE);
  CHECK_INT(upload_go(&t), BITS_END_AT_ONCE);
  CHECK_INT(upload_go(&t), BITS_END_WHOLE);
  CHECK(s3_is_stored(&t, "theirs", SIZE));
  upload_done(&t);
}

TEST(an_error_behind_200_is_one) {
  static const char *const faults[] = {"late error", "html", "unending",
                                       "half"};
  for (int i = 0; i < 4; i++) {
    tried t;
    char plan[200];
    s3_begin(&t, "late", SIZE);
    snprintf(plan, sizeof plan, S3_WHEN("POST", "uploadId", S3_FAULT("%s")),
             faults[i]);
    S3_PLAN(plan);
    bits_end end = upload_go(&t);
    CHECK(end == BITS_END_AGAIN || (i == 2 && end == BITS_END_WHOLE));
    if (end == BITS_END_AGAIN) CHECK_INT(upload_go(&t), BITS_END_WHOLE);
    CHECK_INT(s3_parts_sent(), 5);
    CHECK(s3_is_stored(&t, "late", SIZE));
    CHECK(!s3_any_upload());
    upload_done(&t);
  }
}

/* It is less than the time without a byte that would be a stall, each time. */
TEST(an_answer_may_be_long_in_coming) {
  tried t;
  s3_begin(&t, "spaces", SIZE);
  S3_PLAN(S3_WHEN("POST", "uploadId", S3_FAULT("spaces")));
  upload_start(&t);
  for (int i = 0; i < 3; i++) {
    s3_await_held();
    upload_settle("!log"); /* it has the space */
    atomic_fetch_add(&http_clock_ahead, t.ask.terms->stall_ms);
    upload_settle("!log"); /* and waits for the next */
    s3_let_go();
  }
  CHECK(upload_wait(&t, &t.ends, 1));
  CHECK_INT(t.r.end, BITS_END_WHOLE);
  CHECK(t.r.verified);
  upload_done(&t);
}

/* It says that all is well, and has something else. */
TEST(a_wrong_object_is_no_success) {
  static const char *const faults[] = {"shuffle", "drop"};
  for (int i = 0; i < 2; i++) {
    tried t;
    char plan[200];
    s3_begin(&t, "wrong", SIZE);
    snprintf(plan, sizeof plan,
             S3_WHEN("POST", "uploadId", S3_FAULT("%s") S3_TIMES(3)),
             faults[i]);
    S3_PLAN(plan);
    CHECK_INT(upload_go(&t), BITS_END_AGAIN);
    CHECK_INT(t.r.code, BG_E_VALIDATION_FAILED);
    CHECK_INT(upload_go(&t), BITS_END_AGAIN);
    CHECK_INT(upload_go(&t), BITS_END_FAILED);
    CHECK_INT(t.file.marks & BITS_FILE_VERIFIED, 0);
    CHECK_INT(upload_go(&t), BITS_END_WHOLE); /* resumed: it is mended */
    CHECK(s3_is_stored(&t, "wrong", SIZE));
    upload_done(&t);
  }
}

/* Tags of what the server has encrypted are no digests of what was sent. */
TEST(what_is_encrypted_there_is_told_by_what_it_says) {
  tried t;
  s3_begin(&t, "sealed", SIZE);
  control("/!set", "{\"sealed\": true}");
  S3_PLAN(S3_WHEN("PUT", "partNumber=3&", S3_FAULT("reset")),
          S3_WHEN("PUT", "partNumber=3&", S3_FAULT("reset")),
          S3_WHEN("POST", "uploadId", S3_FAULT("lost")),
          S3_WHEN("POST", "uploadId", S3_FAULT("lost")));
  bits_end end = BITS_END_AGAIN;
  for (int i = 0; i < 5 && end == BITS_END_AGAIN; i++) end = upload_go(&t);
  CHECK_INT(end, BITS_END_WHOLE);
  CHECK(t.r.proven && !t.r.verified);
  CHECK_INT(s3_parts_sent(), 5);
  CHECK(s3_is_stored(&t, "sealed", SIZE));
  upload_done(&t);
}

/* ------------------------------------------------------------------
** The local file
** ---------------------------------------------------------------- */

TEST(a_file_that_changes_is_taken_back) {
  tried t;
  s3_begin(&t, "changes", SIZE);
  S3_PLAN(S3_NOT_COMPLETED);
  CHECK_INT(upload_go(&t), BITS_END_AGAIN);
  upload_write(t.path, "other", SIZE);
  CHECK_INT(upload_go(&t), BITS_END_FAILED);
  CHECK_INT(t.r.code, BG_E_LOCAL_FILE_CHANGED);
  CHECK(!s3_any_upload());
  CHECK(t.file.extra->upload == NULL);
  CHECK_INT(upload_go(&t), BITS_END_WHOLE); /* resumed: as it is now */
  CHECK(s3_is_stored_at("changes", "other", SIZE));
  upload_done(&t);
  /* While it is sent. */
  s3_begin(&t, "meanwhile", SIZE);
  S3_PLAN(S3_WHEN("PUT", "partNumber=5&", S3_FAULT("hold")),
          S3_WHEN("DELETE", "uploadId", S3_STATUS(500, "InternalError")));
  upload_start(&t);
  s3_await_held();
  CHECK_INT(truncate(t.path, 1000), 0);
  s3_let_go();
  CHECK(upload_wait(&t, &t.ends, 1));
  CHECK_INT(t.r.end, BITS_END_FAILED);
  CHECK_INT(t.r.code, BG_E_LOCAL_FILE_CHANGED);
  /* It could not be taken back: that is remembered, and done later. */
  CHECK(s3_any_upload());
  CHECK(s3_row_has(&t, "\"stale\""));
  CHECK_INT(upload_go(&t), BITS_END_SINGLE);
  CHECK(!s3_any_upload());
  CHECK(t.file.extra->upload == NULL);
  upload_done(&t);
}

TEST(what_it_should_be_is_known_before) {
  tried t;
  s3_begin(&t, "known", SIZE);
  t.file.extra = mem_zero(sizeof *t.file.extra);
  t.file.extra->sha256 = mem_text(http_sign_empty);
  CHECK_INT(upload_go(&t), BITS_END_FAILED);
  CHECK_INT(t.r.code, BG_E_VALIDATION_FAILED);
  CHECK(!s3_any_upload());
  upload_done(&t);
}

/* ------------------------------------------------------------------
** No memory
** ---------------------------------------------------------------- */

/* Whatever request for memory fails: no wrong success, nothing lost but time.
 */
TEST(memory_runs_out) {
  uint64_t random = gate_seed("memory");
  unsigned rounds = getenv("SAROS_LONG") != NULL ? 300 : 12, hits = 0;
  for (unsigned i = 0; i < rounds; i++) {
    tried t;
    s3_begin(&t, "memory", SIZE);
    mem_fail_at(1 + (long)gate_below(&random, 900));
    bits_end end = upload_go(&t);
    hits += mem_fail_left() == 0;
    mem_fail_at(0);
    CHECK(end == BITS_END_WHOLE || end == BITS_END_AGAIN ||
          strncmp(t.r.why, "not begun", 9) == 0);
    s3_orphan_age = 0;
    for (int n = 0; n < 5 && end != BITS_END_WHOLE; n++) end = upload_go(&t);
    CHECK_INT(end, BITS_END_WHOLE);
    CHECK(s3_is_stored(&t, "memory", SIZE));
    upload_done(&t);
  }
  CHECK(hits > 0);
}

int main(int argc, char **argv) {
  check_begin(argc, argv);
  if (!s3_suite_begin()) return server_missing();
  RUN(a_file_goes_in_parts);
  RUN(a_small_one_goes_at_once);
  RUN(a_server_without_parts_gets_it_at_once);
  RUN(names_with_odd_characters);
  RUN(tokens_and_fields_are_signed);
  RUN(what_has_arrived_is_not_sent_twice);
  RUN(what_is_forgotten_is_found_by_its_digest);
  RUN(a_part_that_is_another_one_is_sent_again);
  RUN(a_part_that_is_lost_is_sent_again);
  RUN(it_is_stopped_and_goes_on);
  RUN(it_is_stopped_wherever_it_is);
  RUN(what_was_put_together_and_not_told_is_found);
  RUN(what_the_server_has_forgotten_begins_again);
  RUN(another_object_is_not_ours);
  RUN(an_error_behind_200_is_one);
  RUN(an_answer_may_be_long_in_coming);
  RUN(a_wrong_object_is_no_success);
  RUN(what_is_encrypted_there_is_told_by_what_it_says);
  RUN(a_file_that_changes_is_taken_back);
  RUN(what_it_should_be_is_known_before);
  RUN(memory_runs_out);
  s3_suite_end();
  return check_end();
}
