/*
** What servers of S3 say that few of them say, or should not: and what an
** upload in parts makes of it.
**
** not under valgrind: it has a server that waits; ASan runs it
*/
#include "s3_upload_case.h"

#define PART 65536u
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
             "[{\"fault\": \"status\", \"status\": 403, \"code\": "
             "\"RequestTimeTooSkewed\", \"fields\": {\"Date\": \"%s\"}, "
             "\"times\": 9}]",
             dates[i]);
    s3_plan(plan);
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
  s3_plan(
      "[{\"method\": \"PUT\", \"match\": \"partNumber=3&\", \"fault\": "
      "\"status\", \"status\": 404, \"code\": \"NoSuchUpload\"}]");
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
  s3_plan(
      "[{\"method\": \"PUT\", \"match\": \"partNumber=1&\", \"fault\": "
      "\"status\", \"status\": 417}]");
  CHECK_INT(upload_go(&t), BITS_END_WHOLE);
  CHECK(t.r.verified);
  CHECK(s3_is_stored(&t, "expect", size));
  upload_done(&t);
}

/* What it says that it has made is another object, and it shows nobody. */
TEST(a_wrong_object_that_is_not_shown_is_no_success) {
  tried t;
  s3_begin(&t, "hidden", SIZE);
  s3_plan(
      "[{\"method\": \"POST\", \"match\": \"uploadId\", \"fault\": "
      "\"shuffle\"}, {\"method\": \"HEAD\", \"fault\": \"status\", "
      "\"status\": 403, \"times\": 99}]");
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
    s3_plan(
        "[{\"method\": \"PUT\", \"match\": \"partNumber=1&\", "
        "\"fault\": \"hold\"}]");
    upload_start(&t);
    free(server_ask(&s, "GET", "/!held", ""));
    CHECK_INT(s3_parts_sent(), 0);
    free(server_ask(&s, "GET", "/!release", ""));
    CHECK(upload_wait(&t, &t.ends, 1));
    CHECK_INT(t.r.end, BITS_END_WHOLE);
    upload_done(&t);
  }
}

/* What cannot be taken back is left to the queue, and nobody waits for it. */
TEST(what_is_left_behind_when_it_goes_at_once) {
  tried t;
  s3_begin(&t, "shrunk", SIZE);
  s3_plan(
      "[{\"method\": \"POST\", \"match\": \"uploadId\", \"fault\": "
      "\"status\", \"status\": 500, \"code\": \"InternalError\"}, "
      "{\"method\": \"DELETE\", \"fault\": \"status\", \"status\": 503, "
      "\"code\": \"SlowDown\", \"times\": 9}]");
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

int main(int argc, char **argv) {
  check_begin(argc, argv);
  if (!s3_suite_begin()) {
    printf("SKIPPED: no python3 here\n0 passed, 0 failed, 1 skipped\n");
    return 0;
  }
  RUN(a_clock_that_cannot_be_is_not_adopted);
  RUN(an_upload_that_is_taken_away_meanwhile);
  RUN(who_knows_no_100_continue_gets_its_parts);
  RUN(a_wrong_object_that_is_not_shown_is_no_success);
  RUN(as_many_lines_as_a_job_may_have);
  RUN(parts_go_over_few_connections);
  RUN(what_is_left_behind_when_it_goes_at_once);
  s3_suite_end();
  return check_end();
}
