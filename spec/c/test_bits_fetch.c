/*
** Fetching a file in one try: what comes, what a server can do wrong with it,
** and what the local side can.
**
** not under valgrind: it has a server that waits; ASan runs it
*/
#include "bits_fetch_case.h"

static bed b;

/* ------------------------------------------------------------------
** What is right
** ---------------------------------------------------------------- */

static void comes(const char *name, size_t size, const char *plan) {
  char query[256];
  snprintf(query, sizeof query, "size=%zu&plan=%s", size, plan);
  bed_make(&b, name, query);
  b.terms->length_required = false;
  if (!bed_comes(&b, 1, size, 0)) {
    check_bad++;
    printf("with %s\n", plan);
  }
  CHECK_INT(b.begun, 1);
  CHECK_INT(b.commits, 0);
  CHECK(b.f->size == size && atomic_load(&b.f->have) == size);
  bed_end(&b);
}

TEST(all_sizes) {
  static const size_t sizes[] = {0, 1, 4095, 4096, 4097, 70000, 3000000};
  for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
    comes("sizes", sizes[i], "ok");
}

TEST(all_ways_to_say_how_long) {
  comes("how", 100000, "length:double");
  comes("how", 100000, "chunked");
  comes("how", 100000, "chunked:trailer");
  comes("how", 100000, "close");
  comes("how", 100000, "flood:3");
  comes("how", 0, "chunked");
}

TEST(a_length_that_was_kept_is_a_proof) {
  bed_make(&b, "proof", "size=5000");
  CHECK_INT(bed_try(&b), BITS_END_WHOLE);
  CHECK(b.result.proven && b.result.moved);
  CHECK_INT(b.f->marks, BITS_FILE_VERIFIED);
  CHECK(b.f->known->etag != NULL && b.f->known->total == 5000);
  bed_end(&b);
  bed_make(&b, "none", "size=5000&all=close");
  b.terms->length_required = false;
  CHECK_INT(bed_try(&b), BITS_END_WHOLE);
  CHECK(!b.result.proven);
  CHECK_INT(b.f->marks, BITS_FILE_UNPROVEN);
  bed_end(&b);
}

TEST(no_length_where_one_is_required) {
  bed_make(&b, "length", "size=5000&all=close");
  CHECK_INT(bed_carry(&b, 3), BITS_END_FAILED);
  CHECK_INT(b.result.code, BG_E_MISSING_FILE_SIZE);
  CHECK_INT(b.result.context, BITS_CONTEXT_REMOTE);
  CHECK_INT(place_names(&b.p), 0); /* nothing was begun */
  bed_end(&b);
}

TEST(what_it_sends) {
  bed_make(&b, "sends", "size=10");
  b.terms->headers = mem_zero(sizeof *b.terms->headers);
  b.terms->header_count = 1;
  b.terms->headers[0] = (bits_header){.name = mem_text("X-Mine"),
                                      .value = mem_text("canary-7"),
                                      .secret = true};
  CHECK_INT(bed_try(&b), BITS_END_WHOLE);
  char *log = server_told("!log?of=/f/sends");
  CHECK(strstr(log, "\"x-mine\": \"canary-7\"") != NULL);
  CHECK(strstr(log, "\"accept-encoding\": \"identity\"") != NULL);
  CHECK(strstr(log, "\"range\"") == NULL);
  free(log);
  bed_end(&b);
}

/* A secret that was in memory alone. */
TEST(a_header_that_is_lost) {
  bed_make(&b, "lost", "size=10");
  b.terms->headers = mem_zero(sizeof *b.terms->headers);
  b.terms->header_count = 1;
  b.terms->headers[0] =
      (bits_header){.name = mem_text("X-Mine"), .secret = true};
  CHECK_INT(bed_try(&b), BITS_END_FAILED);
  CHECK_INT(b.result.code, BG_E_INVALID_CREDENTIALS);
  CHECK(strstr(b.result.why, "X-Mine") != NULL);
  CHECK_INT(server_count("/f/lost"), 0);
  bed_end(&b);
}

/* ------------------------------------------------------------------
** What is wrong: never a file
** ---------------------------------------------------------------- */

typedef struct wrong {
  const char *plan;
  bits_end end; /* of one try */
  uint32_t code;
  uint32_t transport;
} wrong;

static const wrong wrongs[] = {
    {"drop:0", BITS_END_AGAIN, BG_E_CONNECTION_CLOSED, 0},
    {"drop:30000", BITS_END_AGAIN, BG_E_CONNECTION_CLOSED, 0},
    {"reset:30000", BITS_END_AGAIN, BG_E_CONNECTION_CLOSED, 0},
    {"drop-head:0", BITS_END_AGAIN, BG_E_CONNECTION_CLOSED, 0},
    {"drop-head:40", BITS_END_AGAIN, BG_E_CONNECTION_CLOSED, 0},
    {"chunked+drop:30000", BITS_END_AGAIN, BG_E_CONNECTION_CLOSED, 0},
    {"chunked:cut", BITS_END_AGAIN, 0, 0},
    {"chunked:bad", BITS_END_AGAIN, 0, 0},
    {"chunked:negative", BITS_END_AGAIN, 0, 0},
    {"chunked:huge", BITS_END_AGAIN, 0, 0},
    {"chunked:long", BITS_END_AGAIN, 0, 0},
    {"length:by:100", BITS_END_AGAIN, BG_E_CONNECTION_CLOSED, 0},
    {"length:conflict", BITS_END_AGAIN, BG_E_INVALID_SERVER_RESPONSE, 0},
    {"length:negative", BITS_END_AGAIN, BG_E_INVALID_SERVER_RESPONSE, 0},
    {"length:overflow", BITS_END_AGAIN, BG_E_INVALID_SERVER_RESPONSE, 0},
    {"length:garbage", BITS_END_AGAIN, BG_E_INVALID_SERVER_RESPONSE, 0},
    {"length:chunked", BITS_END_AGAIN, BG_E_INVALID_SERVER_RESPONSE, 0},
    {"range:unasked", BITS_END_AGAIN, BG_E_INVALID_SERVER_RESPONSE, 0},
    {"head:status", BITS_END_AGAIN, 0, 0},
    {"head:old", BITS_END_AGAIN, 0, 0},
    {"head:other", BITS_END_AGAIN, 0, 0},
    {"head:endless", BITS_END_AGAIN, 0, 0},
    {"head:nul", BITS_END_AGAIN, 0, 0},
    {"204", BITS_END_AGAIN, BG_E_INVALID_SERVER_RESPONSE, 204},
    {"304", BITS_END_FAILED, BG_E_HTTP(304), 304},
    {"416", BITS_END_AGAIN, 0, 0},
    {"404", BITS_END_FAILED, BG_E_HTTP(404), 404},
    {"403", BITS_END_FAILED, BG_E_HTTP(403), 403},
    {"410", BITS_END_FAILED, BG_E_HTTP(410), 410},
    {"500", BITS_END_AGAIN, BG_E_HTTP(500), 500},
    {"503:2", BITS_END_AGAIN, BG_E_HTTP(503), 503},
    {"redirect:none", BITS_END_FAILED, 0, 302},
    {"redirect:file", BITS_END_FAILED, 0, 302},
};

TEST(what_is_wrong_is_no_file) {
  for (size_t i = 0; i < sizeof wrongs / sizeof wrongs[0]; i++) {
    const wrong *w = &wrongs[i];
    char query[128];
    snprintf(query, sizeof query, "size=60000&all=%s", w->plan);
    bed_make(&b, "wrong", query);
    b.terms->length_required = false;
    bits_end end = bed_try(&b);
    if (end != w->end || (w->code != 0 && b.result.code != w->code) ||
        b.result.transport != w->transport || b.result.code == 0 ||
        strncmp(b.result.why, "http://127.0.0.1:", 17) != 0) {
      check_bad++;
      printf("%s: %d 0x%08x %u %s\n", w->plan, (int)end, b.result.code,
             b.result.transport, b.result.why);
    }
    CHECK(access(b.path, F_OK) != 0);
    bed_end(&b);
  }
}

/* What makes no sense is borne three times, not for ever. */
TEST(nonsense_has_an_end) {
  bed_make(&b, "nonsense", "size=60000&all=length:conflict");
  CHECK_INT(bed_carry(&b, 10), BITS_END_FAILED);
  CHECK(strstr(b.result.why, "makes no sense: it has two lengths") != NULL);
  CHECK_INT(b.tries, 4);
  bed_end(&b);
  bed_make(&b, "nonsense", "size=60000&all=204");
  CHECK_INT(bed_carry(&b, 10), BITS_END_FAILED);
  CHECK_INT(b.tries, 4);
  bed_end(&b);
}

/* "in a row": and who resumes it bears as much again. */
TEST(nonsense_now_and_then_has_none) {
  bed_make(&b, "nonsense",
           "size=60000&plan=204,204,204,503,204,204,204,204,204,ok");
  CHECK_INT(bed_carry(&b, 20), BITS_END_FAILED);
  CHECK_INT(b.tries, 8);
  CHECK(bed_comes(&b, 2, 60000, 0));
  bed_end(&b);
}

static void connections(const char *name, int *first, int *second) {
  char what[64];
  snprintf(what, sizeof what, "!words?of=/f/%s", name);
  char *words = server_told(what);
  *first = *second = -1;
  sscanf(words, "%d %*[^\n] %d", first, second);
  free(words);
}

/* A refusal is read to its end, for that costs less than another connection;
   unless it is the connection that is refused. */
TEST(a_refusal_leaves_the_connection) {
  int first, second;
  bed_make(&b, "refusal", "size=60000&plan=503,ok");
  CHECK_INT(bed_try(&b), BITS_END_AGAIN);
  CHECK_INT(b.result.code, BG_E_HTTP(503));
  CHECK(bed_comes(&b, 1, 60000, 0));
  connections("refusal", &first, &second);
  CHECK(first > 0 && first == second);
  bed_end(&b);
  bed_make(&b, "wrongly", "size=60000&plan=421,ok");
  CHECK_INT(bed_try(&b), BITS_END_AGAIN);
  CHECK(bed_comes(&b, 1, 60000, 0));
  connections("wrongly", &first, &second);
  CHECK(first > 0 && second > 0 && first != second);
  bed_end(&b);
  bed_make(&b, "refusal", "size=60000&plan=503+drop:3");
  CHECK_INT(bed_try(&b), BITS_END_AGAIN);
  CHECK_INT(b.result.code, BG_E_HTTP(503));
  bed_end(&b);
}

TEST(a_server_that_asks_for_patience) {
  bed_make(&b, "patience", "size=60000&plan=503:7,ok");
  CHECK_INT(bed_try(&b), BITS_END_AGAIN);
  CHECK(b.result.has_wait && b.result.wait_ms == 7000 && b.result.gate_host);
  CHECK(!b.result.moved && place_names(&b.p) == 0);
  CHECK(bed_comes(&b, 1, 60000, 0));
  bed_end(&b);
}

TEST(nobody_listens) {
  bed_make(&b, "nobody", "size=1");
  mem_free(b.f->url);
  b.f->url = mem_text("http://127.0.0.1:1/");
  CHECK_INT(bed_try(&b), BITS_END_AGAIN);
  CHECK_INT(b.result.context, BITS_CONTEXT_TRANSPORT);
  CHECK_INT(b.result.win32, WIN32_CONNECTION_REFUSED);
  mem_free(b.f->url);
  b.f->url = mem_text("nothing of the kind");
  CHECK_INT(bed_try(&b), BITS_END_FAILED);
  bed_end(&b);
}

TEST(more_than_is_allowed) {
  bed_make(&b, "most", "size=60000");
  b.terms->most = 59999;
  CHECK_INT(bed_try(&b), BITS_END_FAILED);
  CHECK_INT(b.result.code, BG_E_TOO_LARGE);
  CHECK_INT(place_names(&b.p), 0);
  bed_end(&b);
  bed_make(&b, "most", "size=60000&all=chunked");
  b.terms->most = 59999;
  CHECK_INT(bed_carry(&b, 5), BITS_END_FAILED);
  CHECK_INT(b.result.code, BG_E_TOO_LARGE);
  bed_end(&b);
  bed_make(&b, "most", "size=60000&all=chunked");
  b.terms->most = 60000;
  CHECK(bed_comes(&b, 1, 60000, 0));
  bed_end(&b);
}

/* The clock is ahead of a window, again and again: one of them is empty. */
TEST(a_stall_is_noticed) {
  bed_make(&b, "stall", "size=60000&plan=stall:30000,ok");
  bed_begin(&b);
  bed_await(&b, 30000);
  while (!bed_has_ended(&b)) {
    atomic_fetch_add(&http_clock_ahead, b.terms->stall_ms);
    bed_stir(&b);
    gate_nap();
  }
  CHECK_INT(bed_wait(&b), BITS_END_AGAIN);
  CHECK_INT(b.result.code, BG_E_TIMEOUT);
  CHECK(b.result.moved);
  server_release();
  CHECK(bed_comes(&b, 1, 60000, 0));
  bed_end(&b);
}

/* ------------------------------------------------------------------
** The local side
** ---------------------------------------------------------------- */

static void is_local(uint32_t win32) {
  CHECK_INT(b.result.context, BITS_CONTEXT_LOCAL);
  CHECK_INT(b.result.win32, win32);
  CHECK_INT(b.result.code, WIN32_(win32));
  CHECK_INT(b.result.transport, 0);
}

TEST(no_directory) {
  bed_make(&b, "gone", "size=1000");
  rmdir(b.p.root);
  CHECK_INT(bed_try(&b), BITS_END_FAILED);
  CHECK(b.result.win32 == WIN32_PATH_NOT_FOUND ||
        b.result.win32 == WIN32_FILE_NOT_FOUND);
  is_local(b.result.win32);
  mkdir(b.p.root, 0700);
  CHECK(bed_comes(&b, 1, 1000, 0));
  bed_end(&b);
}

TEST(it_is_removed_meanwhile) {
  bed_make(&b, "meanwhile", "size=60000&plan=stall:30000,ok");
  bed_begin(&b);
  CHECK(server_stalled(1));
  bed_await(&b, 30000);
  place_wipe(AT_FDCWD, b.p.root);
  server_release();
  CHECK_INT(bed_wait(&b), BITS_END_WHOLE);
  CHECK_INT(bed_finish(&b), BITS_END_AT_ONCE); /* it is not there */
  mkdir(b.p.root, 0700);
  CHECK(bed_comes(&b, 1, 60000, 0));
  bed_end(&b);
}

TEST(a_claim_that_cannot_be) {
  bed_make(&b, "claim", "size=1000&all=length:by:4611686018427387904");
  CHECK_INT(bed_try(&b), BITS_END_FAILED);
  is_local(WIN32_DISK_FULL);
  bed_end(&b);
}

TEST(another_user_s_directory) {
  if (geteuid() == 0) SKIP("root may write everywhere");
  bed_make(&b, "denied", "size=1000");
  chmod(b.p.root, 0500);
  CHECK_INT(bed_try(&b), BITS_END_FAILED);
  is_local(WIN32_ACCESS_DENIED);
  chmod(b.p.root, 0700);
  bed_end(&b);
}

/* ------------------------------------------------------------------
** Stopping
** ---------------------------------------------------------------- */

TEST(it_is_stopped_before_it_begins) {
  bed_make(&b, "early", "size=1000");
  bed_begin(&b);
  bed_stop(&b);
  bits_end end = bed_wait(&b);
  CHECK(end == BITS_END_STOPPED || end == BITS_END_WHOLE);
  CHECK(bed_comes(&b, 1, 1000, 0));
  bed_end(&b);
}

TEST(it_is_stopped_in_the_middle) {
  bed_make(&b, "middle", "size=200000&plan=stall:100000,ok");
  bed_begin(&b);
  CHECK(server_stalled(1));
  bed_stop(&b);
  CHECK_INT(bed_wait(&b), BITS_END_STOPPED);
  server_release();
  uint64_t had = atomic_load(&b.f->have);
  CHECK(had <= 100000);
  CHECK(bed_comes(&b, 1, 200000, 0));
  bed_end(&b);
}

TEST(it_is_stopped_at_any_moment) {
  bed_make(&b, "any", "size=300000&all=slow:3000:1");
  for (unsigned i = 0; i < 20; i++) {
    bed_begin(&b);
    usleep(i * 1000); /* any */
    bed_stop(&b);
    bits_end end = bed_wait(&b);
    if (end == BITS_END_WHOLE) break;
    CHECK(end == BITS_END_STOPPED || end == BITS_END_AT_ONCE);
  }
  CHECK(bed_comes(&b, 20, 300000, 0));
  bed_end(&b);
}

/* Bytes go where they belong as they come: nothing of it grows with the file.
 */
TEST(a_try_is_small) {
  bed_make(&b, "small", "size=30000000&plan=stall:29000000,ok");
  b.lone = true;
  bed_begin(&b);
  CHECK(server_stalled(1));
  bed_await(&b, 29000000);
  long blocks = mem_blocks();
  struct stat st;
  CHECK(stat(b.part, &st) == 0 && st.st_size == 29000000);
  server_release();
  CHECK_INT(bed_wait(&b), BITS_END_WHOLE);
  CHECK(blocks < 100);
  CHECK_INT(bed_finish(&b), BITS_END_WHOLE);
  CHECK(bed_has(&b, 30000000, 0));
  bed_end(&b);
}

TEST(a_limit_counts_at_once) {
  bed_make(&b, "limit", "size=300000");
  b.down = 100; /* it would take an hour */
  bed_begin(&b);
  pthread_mutex_lock(&b.lock);
  while (b.begun == 0) pthread_cond_wait(&b.moved, &b.lock);
  bits_try *t = b.try;
  pthread_mutex_unlock(&b.lock);
  CHECK(t != NULL);
  t->limit(t, 0, 0);
  CHECK_INT(bed_wait(&b), BITS_END_WHOLE);
  bed_end(&b);
}

int main(int argc, char **argv) {
  if (!bed_suite_begin(argc, argv)) return server_missing();
  GATE_RUN(all_sizes);
  GATE_RUN(all_ways_to_say_how_long);
  GATE_RUN(a_length_that_was_kept_is_a_proof);
  GATE_RUN(no_length_where_one_is_required);
  GATE_RUN(what_it_sends);
  GATE_RUN(a_header_that_is_lost);
  GATE_RUN(what_is_wrong_is_no_file);
  GATE_RUN(nonsense_has_an_end);
  GATE_RUN(nonsense_now_and_then_has_none);
  GATE_RUN(a_refusal_leaves_the_connection);
  GATE_RUN(a_server_that_asks_for_patience);
  GATE_RUN(nobody_listens);
  GATE_RUN(more_than_is_allowed);
  GATE_RUN(a_stall_is_noticed);
  GATE_RUN(no_directory);
  GATE_RUN(it_is_removed_meanwhile);
  GATE_RUN(a_claim_that_cannot_be);
  GATE_RUN(another_user_s_directory);
  GATE_RUN(it_is_stopped_before_it_begins);
  GATE_RUN(it_is_stopped_in_the_middle);
  GATE_RUN(it_is_stopped_at_any_moment);
  GATE_RUN(a_try_is_small);
  GATE_RUN(a_limit_counts_at_once);
  return bed_suite_end();
}
