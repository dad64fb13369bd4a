/*
** What is left at a server by uploads in parts: found, taken back, and never
** somebody else's. And what is secret stays so.
**
** not under valgrind: it has a server that waits; ASan runs it
*/
#include "s3_upload_case.h"

#define SIZE (2 * PART + 1000) /* three parts */

/* ------------------------------------------------------------------
** Orphans
** ---------------------------------------------------------------- */

typedef struct aborted {
  pthread_mutex_t lock;
  pthread_cond_t moved;
  bool over, gone;
  char why[400];
  const char *what;
  bits_terms *terms;
} aborted;

static void on_aborted(void *context, error *e) {
  aborted *a = context;
  pthread_mutex_lock(&a->lock);
  a->over = true;
  a->gone = e == NULL;
  if (e != NULL) snprintf(a->why, sizeof a->why, "%s", e->message);
  pthread_cond_broadcast(&a->moved);
  pthread_mutex_unlock(&a->lock);
}

static void abort_here(void *context) {
  aborted *a = context;
  bits_s3_abort(upload_lane, a->what, a->terms, on_aborted, a);
}

/* Whether it is gone, or nothing can be done. */
static bool take_back(const char *what, bits_terms *terms) {
  aborted a = {.what = what, .terms = terms};
  pthread_mutex_init(&a.lock, NULL);
  pthread_cond_init(&a.moved, NULL);
  CHECK(http_lane_call(upload_lane, abort_here, &a));
  pthread_mutex_lock(&a.lock);
  while (!a.over) pthread_cond_wait(&a.moved, &a.lock);
  pthread_mutex_unlock(&a.lock);
  pthread_cond_destroy(&a.moved);
  pthread_mutex_destroy(&a.lock);
  return a.gone;
}

/* One whose parts are there, and which is not ended. */
static void left(tried *t, const char *name) {
  s3_begin(t, name, SIZE);
  S3_PLAN(S3_NOT_COMPLETED);
  CHECK_INT(upload_go(t), BITS_END_AGAIN);
  CHECK(s3_any_upload());
}

TEST(a_cancelled_one_is_taken_back) {
  tried t;
  left(&t, "cancelled");
  CHECK(take_back(t.file.extra->upload, t.ask.terms));
  CHECK(!s3_any_upload());
  /* It is gone already: so much the better. */
  CHECK(take_back(t.file.extra->upload, t.ask.terms));
  upload_done(&t);
}

TEST(what_cannot_be_taken_back_is_tried_again) {
  tried t;
  left(&t, "later");
  S3_PLAN(S3_WHEN("DELETE", "", S3_STATUS(503, "SlowDown")),
          S3_WHEN("DELETE", "", S3_FAULT("reset") S3_TIMES(9)));
  CHECK(!take_back(t.file.extra->upload, t.ask.terms));
  CHECK(!take_back(t.file.extra->upload, t.ask.terms));
  CHECK(s3_any_upload());
  s3_no_plan();
  CHECK(take_back(t.file.extra->upload, t.ask.terms));
  CHECK(!s3_any_upload());
  upload_done(&t);
}

TEST(keys_are_found_where_the_row_says) {
  tried t;
  s3_begin(&t, "reference", SIZE);
  t.ask.terms->s3_reference = mem_text("env:SAROS_TEST_KEYS");
  S3_PLAN(S3_NOT_COMPLETED);
  CHECK_INT(upload_go(&t), BITS_END_AGAIN);
  CHECK(s3_row_has(&t, "env:SAROS_TEST_KEYS"));
  unsetenv("SAROS_TEST_KEYS");
  CHECK(!take_back(t.file.extra->upload, NULL)); /* not now */
  setenv("SAROS_TEST_KEYS", ACCESS "\n" SECRET "\n", 1);
  CHECK(take_back(t.file.extra->upload, NULL));
  CHECK(!s3_any_upload());
  unsetenv("SAROS_TEST_KEYS");
  upload_done(&t);
}

TEST(without_keys_nothing_can_be_done) {
  tried t;
  left(&t, "lost");
  CHECK(take_back(t.file.extra->upload, NULL));
  CHECK(s3_any_upload());
  CHECK(take_back("nonsense", NULL));
  CHECK(take_back("{}", NULL));
  CHECK(take_back("[1]", NULL));
  upload_done(&t);
}

/* ------------------------------------------------------------------
** What began, and nobody was told
** ---------------------------------------------------------------- */

#define LOST_CREATE S3_WHEN("POST", "uploads=", S3_FAULT("lost"))

static unsigned uploads(void) {
  char *text = server_ask(&s, "GET", "/!uploads", "");
  unsigned n = text[0] != '\0';
  for (const char *c = text; *c != '\0'; c++) n += *c == '\n';
  free(text);
  return n;
}

/* Its answer is lost; the next try takes it back, once it is old enough to be
   nobody's who has just begun. */
TEST(a_lost_beginning_is_taken_back) {
  for (int old = 0; old < 2; old++) {
    tried t;
    s3_begin(&t, "begun", SIZE);
    S3_PLAN(LOST_CREATE);
    CHECK_INT(upload_go(&t), BITS_END_AGAIN);
    CHECK_INT(uploads(), 1);
    CHECK(s3_row_has(&t, "\"intents\""));
    if (old) s3_orphan_age = 0;
    CHECK_INT(upload_go(&t), BITS_END_WHOLE);
    CHECK(t.file.extra->upload == NULL);
    if (old) {
      CHECK_INT(uploads(), 0);
      CHECK(upload_orphan == NULL);
    } else { /* it is left to the queue, and done when its time has come */
      CHECK_INT(uploads(), 1);
      CHECK(upload_orphan != NULL);
      CHECK(!take_back(upload_orphan, t.ask.terms));
      CHECK_INT(uploads(), 1);
      s3_orphan_age = 0;
      CHECK(take_back(upload_orphan, t.ask.terms));
      CHECK_INT(uploads(), 0);
    }
    upload_done(&t);
  }
}

/* One that was there before, one of another key, one with a part, and more
   than can be ours. */
TEST(somebody_elses_is_left_alone) {
  tried t;
  s3_begin(&t, "shared", SIZE);
  s3_orphan_age = 0;
  control("/!begin/bucket/shared", "");
  S3_PLAN(LOST_CREATE);
  CHECK_INT(upload_go(&t), BITS_END_AGAIN);
  control("/!begin/bucket/shared2", "");
  CHECK_INT(uploads(), 3);
  CHECK_INT(upload_go(&t), BITS_END_WHOLE);
  CHECK_INT(uploads(), 2); /* ours is gone */
  upload_done(&t);

  s3_begin(&t, "ambiguous", SIZE);
  s3_orphan_age = 0;
  S3_PLAN(LOST_CREATE);
  CHECK_INT(upload_go(&t), BITS_END_AGAIN);
  control("/!begin/bucket/ambiguous", "");
  CHECK_INT(uploads(), 2);
  CHECK_INT(upload_go(&t), BITS_END_WHOLE);
  CHECK_INT(uploads(), 2); /* which is whose? */
  CHECK(upload_orphan == NULL);
  upload_done(&t);

  /* Ours never began, theirs did, and is at work. */
  s3_begin(&t, "working", SIZE);
  s3_orphan_age = 0;
  S3_PLAN(S3_WHEN("POST", "uploads=", S3_FAULT("reset")));
  CHECK_INT(upload_go(&t), BITS_END_AGAIN);
  control("/!begin/bucket/working", "");
  control("/!give/1", "");
  CHECK_INT(upload_go(&t), BITS_END_WHOLE);
  CHECK_INT(uploads(), 1);
  upload_done(&t);

  /* Who may not list them aborts none. */
  s3_begin(&t, "unlisted", SIZE);
  s3_orphan_age = 0;
  control("/!set", "{\"list_uploads\": false}");
  S3_PLAN(LOST_CREATE);
  CHECK_INT(upload_go(&t), BITS_END_AGAIN);
  CHECK_INT(upload_go(&t), BITS_END_WHOLE);
  CHECK_INT(uploads(), 1);
  upload_done(&t);

  /* Long before, or long after. */
  s3_begin(&t, "old", SIZE);
  s3_orphan_age = 0;
  S3_PLAN(S3_WHEN("POST", "uploads=", S3_FAULT("reset")));
  CHECK_INT(upload_go(&t), BITS_END_AGAIN);
  control("/!set", "{\"age\": 100}");
  control("/!begin/bucket/old", "");
  CHECK_INT(upload_go(&t), BITS_END_WHOLE);
  CHECK_INT(uploads(), 1);
  upload_done(&t);
}

/* A beginning that was refused for certain leaves nothing to look for. */
TEST(a_refused_beginning_is_none) {
  tried t;
  s3_begin(&t, "refused", SIZE);
  S3_PLAN(S3_WHEN("POST", "uploads=", S3_STATUS(403, "AccessDenied")));
  CHECK_INT(upload_go(&t), BITS_END_FAILED);
  CHECK(t.file.extra->upload == NULL);
  upload_done(&t);
}

/* ------------------------------------------------------------------
** Rows
** ---------------------------------------------------------------- */

/* What a row says may be anything. */
TEST(rows_that_make_no_sense) {
  static const char *const rows[] = {
      "",
      "{",
      "[]",
      "{\"id\": 7}",
      "{\"id\": \"x\"}",
      "{\"id\": \"x\", \"part\": 0, \"size\": 10}",
      "{\"id\": \"x\", \"part\": 1, \"size\": 1000000000}",
      "{\"id\": \"x\", \"part\": -1, \"size\": -5, \"tags\": 5}",
      "{\"id\": \"x\", \"part\": -5, \"size\": 12, \"tags\": \"a\"}",
      "{\"id\": \"x\", \"part\": 5, \"size\": 20, \"tags\": \" - a  b\"}",
      ("{\"stale\": [1, \"\", null], \"intents\": [\"x\", 5], "
       "\"others\": {}}")};
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    s3_memory m;
    long blocks = mem_blocks();
    if (s3_memory_read(&m, rows[i])) {
      CHECK(m.id == NULL || (m.count > 0 && m.count <= S3_PARTS));
      s3_memory_free(&m);
    }
    CHECK_INT(mem_blocks(), blocks);
  }
}

TEST(a_row_is_read_as_it_was_written) {
  tried t;
  s3_memory m = {0}, n;
  upload_local l = {-1, 5, UINT64_MAX, 1000, INT64_MIN};
  s3_begin(&t, "row", 10);
  m.id = mem_text("an \"id\" + more");
  m.sha256 = mem_text(http_sign_empty);
  CHECK(s3_memory_split(&m, &l, 300));
  CHECK_INT(m.count, 4);
  CHECK_INT(s3_memory_part(&m, 3), 100);
  m.tags[0] = mem_text("0123");
  m.tags[2] = mem_text("!other");
  s3_texts_add(&m.stale, "old");
  s3_texts_add(&m.others, "theirs");
  m.intents[m.intent_count++] = 1234567890123;
  char *text = s3_memory_write(&m, &t.file, t.ask.terms);
  CHECK(text != NULL && s3_memory_read(&n, text));
  CHECK_TEXT(n.id, m.id);
  CHECK_TEXT(n.sha256, m.sha256);
  CHECK_INT(n.count, 4);
  CHECK(n.device == 5 && n.inode == UINT64_MAX && n.changed == INT64_MIN);
  CHECK_TEXT(n.tags[0], "0123");
  CHECK(n.tags[1] == NULL && n.tags[3] == NULL);
  CHECK_TEXT(n.tags[2], "!other");
  CHECK(s3_texts_have(&n.stale, "old") && s3_texts_have(&n.others, "theirs"));
  CHECK_INT(n.intents[0], 1234567890123);
  mem_free(text);
  s3_memory_free(&m);
  s3_memory_free(&n);
  upload_done(&t);
}

/* ------------------------------------------------------------------
** Secrets
** ---------------------------------------------------------------- */

static bool tells(const char *text) {
  return text != NULL &&
         (strstr(text, ACCESS) != NULL || strstr(text, "canary") != NULL);
}

/* A server that says what it was sent, in all that it says. */
TEST(what_is_secret_is_told_nobody) {
  static const char line[] = "hEaDeR/canary/line", login[] = "me:canary%proxy";
  static const char *const echoes[] = {ACCESS, SECRET, TOKEN, line, login};
  for (int i = 0; i < 5; i++) {
    tried t;
    char plan[400];
    s3_begin(&t, "secret", SIZE);
    t.ask.terms->s3_token = mem_text(TOKEN);
    t.ask.terms->proxy_login = mem_text(login);
    upload_header(&t, "X-Key", line, true);
    snprintf(plan, sizeof plan,
             S3_WHEN("PUT", "",
                     S3_STATUS(403, "AccessDenied")
                         S3_MORE("<Message>you said %s to us</Message>")),
             echoes[i]);
    S3_PLAN(plan);
    CHECK_INT(upload_go(&t), BITS_END_FAILED);
    CHECK(strstr(t.r.why, "AccessDenied") != NULL);
    CHECK(!tells(t.r.why));
    CHECK(s3_row_has(&t, "\"id\""));
    CHECK(!tells(t.file.extra->upload));
    CHECK(take_back(t.file.extra->upload, t.ask.terms));
    upload_done(&t);
  }
}

int main(int argc, char **argv) {
  check_begin(argc, argv);
  /* Before there are threads that put things away behind us. */
  RUN(rows_that_make_no_sense);
  RUN(a_row_is_read_as_it_was_written);
  if (!s3_suite_begin()) return server_missing();
  RUN(a_cancelled_one_is_taken_back);
  RUN(what_cannot_be_taken_back_is_tried_again);
  RUN(keys_are_found_where_the_row_says);
  RUN(without_keys_nothing_can_be_done);
  RUN(a_lost_beginning_is_taken_back);
  RUN(somebody_elses_is_left_alone);
  RUN(a_refused_beginning_is_none);
  RUN(what_is_secret_is_told_nobody);
  s3_suite_end();
  return check_end();
}
