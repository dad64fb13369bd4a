/*
** One PUT: whole, looked at when it has arrived, and never said to be there
** when it is not.
**
** not under valgrind: it has a server that waits; ASan runs it
*/
#include "upload_case.h"

/* What is stored is what was to be sent. */
static bool is_stored(const char *name, size_t size) {
  char what[128], want[120];
  uint8_t sha[32];
  char hex[65];
  unsigned char *data = server_content(name, size, 0);
  EVP_Digest(data, size, sha, NULL, EVP_sha256(), NULL);
  http_sign_hex(hex, sha, 32);
  free(data);
  snprintf(what, sizeof what, "!stored/%s", name);
  snprintf(want, sizeof want, "%zu %s", size, hex);
  char *there = server_told(what);
  bool same = strcmp(there, want) == 0;
  if (!same) printf("stored is %s, not %s\n", there, want);
  free(there);
  return same;
}

static void begin(tried *t, const char *name, size_t size, const char *how) {
  char path[256];
  snprintf(path, sizeof path, "u/%s%s%s", name, how[0] != '\0' ? "?" : "", how);
  upload_case(t, name, size, at(path));
}

static long puts_of(const char *name) {
  char what[200];
  snprintf(what, sizeof what, "!log?of=/u/%s", name);
  char *log = server_told(what);
  long n = 0;
  for (const char *c = log; (c = strstr(c, "\"PUT\"")) != NULL; c++) n++;
  free(log);
  return n;
}

TEST(a_file_is_stored_and_verified) {
  static const size_t sizes[] = {0, 1, 70000, 5 << 20};
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
    tried t;
    char name[32];
    snprintf(name, sizeof name, "whole%zu", i);
    begin(&t, name, sizes[i], "");
    CHECK_INT(upload_go(&t), BITS_END_WHOLE);
    CHECK(t.r.proven && t.r.verified && t.r.moved);
    CHECK_INT(t.file.marks & BITS_FILE_VERIFIED, BITS_FILE_VERIFIED);
    CHECK_INT(t.file.have, sizes[i]);
    CHECK_INT(t.file.size, sizes[i]);
    CHECK_INT(t.begins, 1);
    CHECK(is_stored(name, sizes[i]));
    CHECK_INT(puts_of(name), 1);
    upload_done(&t);
  }
}

/* Without a tag the length is looked at; that is no digest. */
TEST(a_length_that_was_kept_proves_but_verifies_nothing) {
  tried t;
  begin(&t, "notag", 5000, "plan=store:none&head=head-size:5000");
  CHECK_INT(upload_go(&t), BITS_END_WHOLE);
  CHECK(t.r.proven && !t.r.verified);
  upload_done(&t);
  /* The tag of what is there is as good as one of what came. */
  begin(&t, "latetag", 5000, "plan=store:none");
  CHECK_INT(upload_go(&t), BITS_END_WHOLE);
  CHECK(t.r.proven && t.r.verified);
  upload_done(&t);
  begin(&t, "short", 5000, "plan=store:none&head=head-size:4999");
  CHECK_INT(upload_go(&t), BITS_END_AGAIN);
  upload_done(&t);
}

TEST(who_does_not_show_it_leaves_it_unproven) {
  tried t;
  begin(&t, "blind", 5000, "plan=store:none&head=405");
  CHECK_INT(upload_go(&t), BITS_END_WHOLE);
  CHECK(!t.r.proven && !t.r.verified);
  CHECK_INT(t.file.marks, BITS_FILE_UNPROVEN);
  upload_done(&t);
}

TEST(half_of_it_is_found_whatever_the_tag_says) {
  tried t;
  begin(&t, "half", 5000, "plan=store:half");
  CHECK_INT(upload_go(&t), BITS_END_AGAIN);
  CHECK_INT(t.r.code, BG_E_VALIDATION_FAILED);
  CHECK_INT(upload_go(&t), BITS_END_AGAIN);
  CHECK_INT(upload_go(&t), BITS_END_FAILED);
  CHECK_INT(t.r.code, BG_E_VALIDATION_FAILED);
  CHECK((t.file.marks & BITS_FILE_VERIFIED) == 0);
  upload_done(&t);
  begin(&t, "other", 5000, "plan=store:etag,store:other,store:nothing,ok");
  CHECK_INT(upload_go(&t), BITS_END_AGAIN); /* another tag */
  CHECK_INT(upload_go(&t), BITS_END_AGAIN); /* other bytes, of that length */
  upload_done(&t);
}

/* Nobody may look at it, but the tag was right. */
TEST(what_cannot_be_seen_has_its_tag) {
  tried t;
  begin(&t, "dropbox", 5000, "head=403");
  CHECK_INT(upload_go(&t), BITS_END_WHOLE);
  CHECK(t.r.proven && t.r.verified);
  upload_done(&t);
}

/* It is nowhere to be seen: who knows where it is. */
TEST(what_is_not_there_is_not_proven) {
  tried t;
  begin(&t, "hidden", 5000, "head=404");
  CHECK_INT(upload_go(&t), BITS_END_WHOLE);
  CHECK(!t.r.proven && !t.r.verified);
  upload_done(&t);
}

TEST(it_begins_again_and_is_whole) {
  tried t;
  begin(&t, "again", 300000, "plan=503:2,take:70000,take:70000:rst,ok");
  CHECK_INT(upload_go(&t), BITS_END_AGAIN);
  CHECK_INT(t.r.transport, 503);
  /* A connection that was used before may be tried once more by itself. */
  bits_end end = BITS_END_AGAIN;
  for (int i = 0; i < 3 && end == BITS_END_AGAIN; i++) end = upload_go(&t);
  CHECK_INT(end, BITS_END_WHOLE);
  CHECK(t.r.verified);
  CHECK(is_stored("again", 300000));
  upload_done(&t);
}

/* Who refuses before he has read it is not sent the rest. */
TEST(an_early_answer_stops_it) {
  static const unsigned status[] = {401, 403, 413, 503};
  for (int i = 0; i < 4; i++) {
    tried t;
    char how[64], name[32];
    snprintf(how, sizeof how, "plan=early:%u", status[i]);
    snprintf(name, sizeof name, "early%d", i);
    begin(&t, name, (size_t)24 << 20, how);
    bits_end end = upload_go(&t);
    CHECK_INT(end, status[i] == 503 ? BITS_END_AGAIN : BITS_END_FAILED);
    CHECK_INT(t.r.transport, status[i]);
    CHECK(t.file.have < (12u << 20));
    CHECK_INT(puts_of(name), 1);
    upload_done(&t);
  }
}

TEST(who_knows_no_100_continue_is_asked_without) {
  tried t;
  begin(&t, "expect", (size_t)2 << 20, "plan=early:417,ok");
  CHECK_INT(upload_go(&t), BITS_END_WHOLE);
  CHECK(t.r.verified);
  upload_done(&t);
}

TEST(redirects_are_followed_with_all_of_it) {
  static const char *const how[] = {"plan=redirect:here:307,ok",
                                    "plan=redirect:here:308,ok"};
  for (int i = 0; i < 2; i++) {
    tried t;
    char name[32];
    snprintf(name, sizeof name, "to%d", i);
    begin(&t, name, 400000, how[i]);
    CHECK_INT(upload_go(&t), BITS_END_WHOLE);
    CHECK(t.r.verified);
    CHECK(is_stored(name, 400000));
    upload_done(&t);
  }
}

/* What makes something each time is not sent twice by itself. */
TEST(a_post_is_sent_once) {
  tried t;
  begin(&t, "post", 1000, "plan=lost");
  t.ask.terms->method = mem_text("POST");
  CHECK_INT(upload_go(&t), BITS_END_AGAIN);
  CHECK_INT(server_count("/u/post"), 1);
  upload_done(&t);
}

/* What it makes of it need not be at that address. */
TEST(a_post_is_not_looked_for) {
  tried t;
  begin(&t, "posted", 1000, "head=head-size:10");
  t.ask.terms->method = mem_text("POST");
  CHECK_INT(upload_go(&t), BITS_END_WHOLE);
  CHECK_INT(server_count("/u/posted"), 1);
  upload_done(&t);
}

TEST(all_lines_of_its_header_go) {
  tried t;
  begin(&t, "lines", 1000, "");
  for (unsigned i = 0; i < 65; i++) {
    char name[32];
    snprintf(name, sizeof name, "X-Line-%u", i);
    upload_header(&t, name, "x", false);
  }
  CHECK_INT(upload_go(&t), BITS_END_WHOLE);
  char *log = server_told("!log?of=/u/lines");
  CHECK(strstr(log, "x-line-0\"") != NULL &&
        strstr(log, "x-line-64\"") != NULL);
  free(log);
  upload_done(&t);
}

/* Whoever resumes it has it borne three times again. */
TEST(what_is_borne_is_borne_again) {
  tried t;
  begin(&t, "borne", 1000, "plan=416");
  for (int i = 0; i < 2; i++) {
    for (int k = 0; k < 3; k++) CHECK_INT(upload_go(&t), BITS_END_AGAIN);
    CHECK_INT(upload_go(&t), BITS_END_FAILED);
  }
  upload_done(&t);
}

/* How many go to one host is the queue's to say: what one job may have counts
   for its own files. */
TEST(jobs_with_few_connections_go_side_by_side) {
  tried one, other;
  begin(&one, "one", 1000, "plan=stall-head:0,ok");
  begin(&other, "other", 1000, "");
  one.ask.terms->per_host = other.ask.terms->per_host = 1;
  one.ask.per_host = other.ask.per_host = 2;
  upload_start(&one);
  CHECK(server_stalled(1));
  CHECK_INT(upload_go(&other), BITS_END_WHOLE);
  server_release();
  CHECK(upload_wait(&one, &one.ends, 1));
  upload_done(&one);
  upload_done(&other);
}

/* ------------------------------------------------------------------
** The local file
** ---------------------------------------------------------------- */

TEST(a_file_that_is_none) {
  tried t;
  begin(&t, "gone", 10, "");
  unlink(t.path);
  CHECK_INT(upload_go(&t), BITS_END_FAILED);
  CHECK_INT(t.r.context, BITS_CONTEXT_LOCAL);
  CHECK(strstr(t.r.why, "put it there") != NULL);
  mkdir(t.path, 0700);
  CHECK_INT(upload_go(&t), BITS_END_FAILED);
  CHECK(strstr(t.r.why, "that is a directory") != NULL);
  rmdir(t.path);
  CHECK_INT(mkfifo(t.path, 0600), 0); /* would be waited for */
  CHECK_INT(upload_go(&t), BITS_END_FAILED);
  CHECK_INT(server_count("/u/gone"), 0);
  upload_done(&t);
}

TEST(a_file_that_is_too_large) {
  tried t;
  begin(&t, "large", 1000, "");
  t.ask.terms->most = 999;
  CHECK_INT(upload_go(&t), BITS_END_FAILED);
  CHECK_INT(t.r.code, BG_E_TOO_LARGE);
  CHECK_INT(server_count("/u/large"), 0);
  upload_done(&t);
}

typedef enum change { CUT_IT, TOUCH_IT, REPLACE_IT } change;

static void change_it(const char *path, change how) {
  char other[200];
  struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = 1000}};
  switch (how) {
    case CUT_IT: CHECK_INT(truncate(path, 100000), 0); break;
    case TOUCH_IT: CHECK_INT(utimensat(AT_FDCWD, path, times, 0), 0); break;
    default:
      snprintf(other, sizeof other, "%s.new", path);
      upload_write(other, "other", 3 << 20);
      CHECK_INT(rename(other, path), 0);
  }
}

/* The server takes some of it, and waits; meanwhile it becomes another one. */
TEST(a_file_that_changes_meanwhile) {
  for (int how = CUT_IT; how <= REPLACE_IT; how++) {
    tried t;
    char name[32];
    snprintf(name, sizeof name, "changes%d", how);
    begin(&t, name, (size_t)3 << 20, "plan=stall-head:0,ok");
    upload_start(&t);
    CHECK(server_stalled(1));
    change_it(t.path, (change)how);
    server_release();
    CHECK(upload_wait(&t, &t.ends, 1));
    CHECK_INT(t.r.end, BITS_END_FAILED);
    CHECK_INT(t.r.code, BG_E_LOCAL_FILE_CHANGED);
    CHECK_INT(t.r.context, BITS_CONTEXT_LOCAL);
    CHECK_INT(t.file.marks & BITS_FILE_VERIFIED, 0);
    upload_done(&t);
  }
}

TEST(what_it_should_be_is_known_before_it_is_sent) {
  tried t;
  begin(&t, "known", 3 << 20, "");
  t.file.extra = mem_zero(sizeof *t.file.extra);
  t.file.extra->sha256 = mem_text(http_sign_empty);
  CHECK_INT(upload_go(&t), BITS_END_FAILED);
  CHECK_INT(t.r.code, BG_E_VALIDATION_FAILED);
  CHECK_INT(server_count("/u/known"), 0);
  unsigned char *data = server_content("known", 3 << 20, 0);
  http_sign_sha256(data, 3 << 20, t.file.extra->sha256);
  free(data);
  CHECK_INT(upload_go(&t), BITS_END_WHOLE);
  CHECK(t.r.verified);
  upload_done(&t);
}

/* ------------------------------------------------------------------
** Stopping, limits, secrets
** ---------------------------------------------------------------- */

static void start_and_stop(void *context) {
  upload_start_here(context);
  upload_stop_here(context);
}

TEST(it_is_stopped_at_once) {
  tried t;
  begin(&t, "stopped", 1000, "plan=stall-head:0,ok");
  upload_start(&t);
  CHECK(server_stalled(1));
  upload_stop(&t);
  CHECK(upload_wait(&t, &t.ends, 1));
  CHECK_INT(t.r.end, BITS_END_STOPPED);
  server_release();
  /* And before it has begun. */
  CHECK(http_lane_call(upload_lane, start_and_stop, &t));
  CHECK(upload_wait(&t, &t.ends, 2));
  CHECK_INT(t.r.end, BITS_END_STOPPED);
  upload_done(&t);
}

TEST(what_is_secret_goes_to_nobody_else) {
  tried t;
  begin(&t, "secret", 1000, "plan=redirect:away:307,ok");
  upload_header(&t, "Authorization", "Bearer cAnArY", true);
  upload_header(&t, "X-Kind", "test", false);
  CHECK_INT(upload_go(&t), BITS_END_WHOLE);
  char *log = server_told("!log?of=/u/secret");
  const char *second = strstr(log, "\"n\": 2");
  if (second == NULL) second = strstr(log, "redirect");
  CHECK(strstr(log, "Bearer cAnArY") != NULL);
  long n = 0;
  for (const char *c = log; (c = strstr(c, "cAnArY")) != NULL; c++) n++;
  CHECK_INT(n, 2); /* the first PUT, the HEAD's first */
  CHECK(strstr(log, "x-kind") != NULL);
  free(log);
  CHECK(strstr(t.r.why, "cAnArY") == NULL);
  upload_done(&t);
}

int main(int argc, char **argv) {
  check_begin(argc, argv);
  if (!faults_start(false) || !upload_suite_begin()) return server_missing();
  RUN(a_file_is_stored_and_verified);
  RUN(a_length_that_was_kept_proves_but_verifies_nothing);
  RUN(who_does_not_show_it_leaves_it_unproven);
  RUN(half_of_it_is_found_whatever_the_tag_says);
  RUN(what_cannot_be_seen_has_its_tag);
  RUN(what_is_not_there_is_not_proven);
  RUN(it_begins_again_and_is_whole);
  RUN(an_early_answer_stops_it);
  RUN(who_knows_no_100_continue_is_asked_without);
  RUN(redirects_are_followed_with_all_of_it);
  RUN(a_post_is_sent_once);
  RUN(a_post_is_not_looked_for);
  RUN(all_lines_of_its_header_go);
  RUN(what_is_borne_is_borne_again);
  RUN(jobs_with_few_connections_go_side_by_side);
  RUN(a_file_that_is_none);
  RUN(a_file_that_is_too_large);
  RUN(a_file_that_changes_meanwhile);
  RUN(what_it_should_be_is_known_before_it_is_sent);
  RUN(it_is_stopped_at_once);
  RUN(what_is_secret_goes_to_nobody_else);
  upload_suite_end();
  faults_stop();
  return check_end();
}
