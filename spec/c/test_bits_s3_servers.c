/*
** What servers of S3 say that few of them say, or should not: and what an
** upload in parts makes of it. What it learns from them, and whom it follows.
**
** not under valgrind: it has a server that waits; ASan runs it
*/
#include "s3_upload_case.h"

#define SIZE (4 * PART + 1000) /* five parts */

/* One that cannot be now is not written into what is signed. */
TEST(a_clock_that_cannot_be_is_not_adopted) {
  static const char *const dates[] = {"Sun, 06 Nov 99999 08:49:37 GMT",
                                      "Sun, 06 Nov 2147483000 08:49:37 GMT",
                                      "Sun, 06 Nov 1600 08:49:37 GMT"};
  for (size_t i = 0; i < sizeof dates / sizeof dates[0]; i++) {
    tried t;
    char plan[300];
    s3_begin(&t, "clock", SIZE);
    snprintf(plan, sizeof plan,
             "{\"fault\": \"status\", \"status\": 403, \"code\": "
             "\"RequestTimeTooSkewed\", \"fields\": {\"Date\": \"%s\"}, "
             "\"times\": 9}",
             dates[i]);
    S3_PLAN(plan);
    CHECK_INT(upload_go(&t), BITS_END_FAILED);
    CHECK_INT(t.r.transport, 403);
    CHECK_INT(s3_asked(" 403"), 3); /* whose are there (two ways); begin */
    upload_done(&t);
  }
}

/* Somebody has taken it away while it was sent: it begins again. */
TEST(an_upload_that_is_taken_away_meanwhile) {
  tried t;
  s3_begin(&t, "away", SIZE);
  S3_PLAN(S3_WHEN("PUT", "partNumber=3&", S3_STATUS(404, "NoSuchUpload")));
  CHECK_INT(upload_go(&t), BITS_END_AT_ONCE);
  control("/!abandon", "");
  CHECK_INT(upload_go(&t), BITS_END_AT_ONCE); /* it is looked for */
  CHECK_INT(upload_go(&t), BITS_END_WHOLE);
  CHECK(s3_is_stored(&t, "away", SIZE));
  upload_done(&t);
}

TEST(who_knows_no_100_continue_gets_its_parts) {
  tried t;
  size_t size = (2u << 20) + 5;
  s3_begin(&t, "expect", size);
  t.ask.terms->part_size = 1 << 20;
  S3_PLAN(S3_WHEN("PUT", "partNumber=1&", S3_STATUS(417, "")));
  CHECK_INT(upload_go(&t), BITS_END_WHOLE);
  CHECK(t.r.verified);
  CHECK(s3_is_stored(&t, "expect", size));
  upload_done(&t);
}

/* What it says that it has made is another object, and it shows nobody. */
TEST(a_wrong_object_that_is_not_shown_is_no_success) {
  tried t;
  s3_begin(&t, "hidden", SIZE);
  S3_PLAN(S3_WHEN("POST", "uploadId", S3_FAULT("shuffle")),
          S3_WHEN("HEAD", "", S3_STATUS(403, "") S3_TIMES(99)));
  CHECK_INT(upload_go(&t), BITS_END_AGAIN);
  CHECK_INT(t.r.code, BG_E_VALIDATION_FAILED);
  CHECK_INT(upload_go(&t), BITS_END_WHOLE); /* its tag says enough now */
  CHECK(t.r.verified);
  upload_done(&t);
}

static void add_lines(tried *t, unsigned count) {
  for (unsigned i = 0; i < count; i++) {
    char name[32];
    snprintf(name, sizeof name, "X-Line-%u", i);
    upload_header(t, name, "x", false);
  }
}

TEST(as_many_lines_as_a_job_may_have) {
  tried t;
  s3_begin(&t, "lines", SIZE);
  add_lines(&t, 65);
  CHECK_INT(upload_go(&t), BITS_END_WHOLE);
  upload_done(&t);
}

/* As many connections as the job may have, or the queue to one host. */
TEST(parts_go_over_few_connections) {
  for (int whose = 0; whose < 2; whose++) {
    tried t;
    s3_begin(&t, "few", SIZE);
    if (whose == 0)
      t.ask.terms->per_host = 1;
    else
      t.ask.per_host = 1;
    S3_PLAN(S3_WHEN("PUT", "partNumber=1&", S3_FAULT("hold")));
    upload_start(&t);
    s3_await_held();
    CHECK_INT(s3_parts_sent(), 0);
    s3_let_go();
    CHECK(upload_wait(&t, &t.ends, 1));
    CHECK_INT(t.r.end, BITS_END_WHOLE);
    upload_done(&t);
  }
}

/* What cannot be taken back is left to the queue, and nobody waits for it. */
TEST(what_is_left_behind_when_it_goes_at_once) {
  tried t;
  s3_begin(&t, "shrunk", SIZE);
  S3_PLAN(S3_NOT_COMPLETED,
          S3_WHEN("DELETE", "", S3_STATUS(503, "SlowDown") S3_TIMES(9)));
  CHECK_INT(upload_go(&t), BITS_END_AGAIN);
  CHECK_INT(truncate(t.path, 1000), 0);
  CHECK_INT(upload_go(&t), BITS_END_FAILED);
  CHECK_INT(t.r.code, BG_E_LOCAL_FILE_CHANGED);
  CHECK_INT(upload_go(&t), BITS_END_SINGLE);
  CHECK(s3_any_upload());
  CHECK(upload_orphan != NULL && strstr(upload_orphan, "\"stale\"") != NULL);
  CHECK(t.file.extra->upload == NULL);
  upload_done(&t);
}

/* ------------------------------------------------------------------
** What is learned, and what is not believed
** ---------------------------------------------------------------- */

TEST(clocks_and_regions_are_learned) {
  tried t;
  s3_begin(&t, "learned", SIZE);
  control("/!set", "{\"region\": \"eu-test-7\"}");
  bits_s3_ahead = 5000;
  CHECK_INT(upload_go(&t), BITS_END_WHOLE);
  bits_s3_ahead = 0;
  CHECK(t.r.verified);
  upload_done(&t);
}

TEST(another_host_is_followed_only_if_it_is_the_same) {
  static const bool follows[] = {true, false};
  for (int i = 0; i < 2; i++) {
    tried t;
    char plan[300];
    s3_begin(&t, "moved", SIZE);
    snprintf(plan, sizeof plan,
             "{\"match\": \"bucket/moved\", \"fault\": \"status\", "
             "\"status\": 307, \"fields\": {\"Location\": "
             "\"http://%s:%d/bucket/moved?uploads=\"}}",
             follows[i] ? "127.0.0.1" : "127.0.0.2", s.port);
    mem_free(t.file.url);
    /* It is named otherwise: the port is said twice. */
    char url[100];
    snprintf(url, sizeof url, "http://127.0.0.1:0%d/bucket/moved", s.port);
    t.file.url = mem_text(url);
    S3_PLAN(plan);
    CHECK_INT(upload_go(&t), follows[i] ? BITS_END_WHOLE : BITS_END_FAILED);
    upload_done(&t);
  }
}

TEST(what_is_refused_says_what_to_do) {
  tried t;
  s3_begin(&t, "expired", SIZE);
  S3_PLAN(S3_WHEN("PUT", "partNumber=4&", S3_STATUS(400, "ExpiredToken")));
  CHECK_INT(upload_go(&t), BITS_END_FAILED);
  CHECK_INT(t.r.code, BG_E_INVALID_CREDENTIALS);
  CHECK_INT(t.r.transport, 400);
  CHECK(strstr(t.r.why, "new credentials") != NULL);
  CHECK_INT(upload_go(&t), BITS_END_WHOLE); /* with what is kept */
  CHECK(s3_parts_sent() <= 8);
  upload_done(&t);
  s3_begin(&t, "wrongkey", SIZE);
  mem_free(t.ask.terms->s3_secret);
  t.ask.terms->s3_secret = mem_text("wrong");
  CHECK_INT(upload_go(&t), BITS_END_FAILED);
  CHECK_INT(t.r.code, BG_E_INVALID_CREDENTIALS);
  CHECK(strstr(t.r.why, "SignatureDoesNotMatch") != NULL);
  upload_done(&t);
}

/* Over TLS a body need not be hashed before it goes: its MD5 and its tag say
   what arrived. */
TEST(over_tls) {
  tried t;
  server plain = s;
  char folder[] = "/tmp/saros-upload-tls-XXXXXX", ca[64], path[64];
  if (mkdtemp(folder) == NULL) abort();
  const char *argv[] = {"python3", "spec/s3/server.py", "--tls", folder, NULL};
  s3_begin(&t, "tls", SIZE);
  CHECK(server_start(&s, argv));
  snprintf(path, sizeof path, "https://127.0.0.1:%d/secure/tls", s.port);
  snprintf(ca, sizeof ca, "%s/ca.pem", folder);
  mem_free(t.file.url);
  t.file.url = mem_text(path);
  CHECK_INT(upload_go(&t), BITS_END_FAILED); /* who is that? */
  CHECK_INT(t.r.code, BG_E_TRUST_FAILURE);
  t.ask.terms->cacert = mem_text(ca);
  CHECK_INT(upload_go(&t), BITS_END_WHOLE);
  CHECK(t.r.verified);
  t.start = bits_send_start;
  CHECK_INT(upload_go(&t), BITS_END_WHOLE);
  CHECK(t.r.verified);
  server_stop(&s);
  s = plain;
  unlink(ca);
  snprintf(ca, sizeof ca, "%s/key.pem", folder);
  unlink(ca);
  rmdir(folder);
  upload_done(&t);
}

int main(int argc, char **argv) {
  check_begin(argc, argv);
  if (!s3_suite_begin()) return server_missing();
  RUN(a_clock_that_cannot_be_is_not_adopted);
  RUN(an_upload_that_is_taken_away_meanwhile);
  RUN(who_knows_no_100_continue_gets_its_parts);
  RUN(a_wrong_object_that_is_not_shown_is_no_success);
  RUN(as_many_lines_as_a_job_may_have);
  RUN(parts_go_over_few_connections);
  RUN(what_is_left_behind_when_it_goes_at_once);
  RUN(clocks_and_regions_are_learned);
  RUN(another_host_is_followed_only_if_it_is_the_same);
  RUN(what_is_refused_says_what_to_do);
  RUN(over_tls);
  s3_suite_end();
  return check_end();
}
