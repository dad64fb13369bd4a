/*
** The server with every fault, held to its word: what the other suites prove
** stands on it. Under valgrind nothing of it runs but the client.
**
** not under valgrind: it is the server that is tested
*/
#include "bits_server_case.h"
#include "gate.h"

static const http_ask plain; /* asks for all */

static long told_number(const char *what) {
  char *text = server_told(what);
  long n = strtol(text, NULL, 10);
  free(text);
  return n;
}

TEST(content_is_what_the_header_says) {
  told t;
  http_request *r = go(at("f/a?size=70000"), &plain, &t);
  CHECK_INT(t.end, HTTP_WHOLE);
  CHECK(is_content(t.body.data, t.body.size, "a", 70000, 0));
  CHECK_TEXT(http_answer_field(http_answer_of(r), "etag"), "\"a-70000-0\"");
  told_free(&t, r);
  r = go(at("f/a?size=500&plan=version:3"), &plain, &t);
  CHECK(is_content(t.body.data, t.body.size, "a", 500, 3));
  told_free(&t, r);
}

TEST(a_plan_goes_by_how_often_it_was_asked) {
  const char *path = "f/plan?size=1000&plan=drop:100,503:7,ok";
  static const http_end ends[] = {HTTP_CUT, HTTP_WHOLE, HTTP_WHOLE, HTTP_WHOLE};
  static const unsigned status[] = {200, 503, 200, 200};
  for (int i = 0; i < 4; i++) {
    told t;
    uint64_t seconds = 0;
    http_request *r = go(at(path), &plain, &t);
    CHECK_INT(t.end, ends[i]);
    CHECK_INT(t.status, status[i]);
    if (i == 0) CHECK_INT(t.body.size, 100);
    if (i == 1)
      CHECK(http_answer_retry_after(http_answer_of(r), &seconds) &&
            seconds == 7);
    told_free(&t, r);
  }
  CHECK_INT(server_count("/f/plan"), 4);
  server_reset();
  CHECK_INT(server_count(""), 0);
}

TEST(a_range_is_one_and_if_range_is_heeded) {
  http_ask ask = {.ranged = true, .from = 10, .last = 19};
  http_field field = {"If-Range", "\"r-100-0\"", false};
  told t;
  ask.fields = &field;
  ask.field_count = 1;
  http_request *r = go(at("f/r?size=100"), &ask, &t);
  unsigned char *right = server_content("r", 100, 0);
  CHECK_INT(t.status, 206);
  CHECK(t.body.size == 10 && memcmp(t.body.data, right + 10, 10) == 0);
  told_free(&t, r);
  free(right);
  field.value = "\"another\"";
  r = go(at("f/r?size=100"), &ask, &t);
  CHECK_INT(t.status, 200);
  told_free(&t, r);
  r = go(at("f/r?size=100&all=if-range:ignored"), &ask, &t);
  CHECK_INT(t.status, 206);
  told_free(&t, r);
  ask.from = 100;
  ask.last = HTTP_UNKNOWN;
  ask.field_count = 0;
  r = go(at("f/r?size=100"), &ask, &t);
  CHECK_INT(t.status, 416);
  told_free(&t, r);
}

TEST(a_stall_lasts_until_it_is_released) {
  told t;
  error *e = NULL;
  memset(&t, 0, sizeof t);
  http_ask ask = {.method = "GET",
                  .url = at("f/s?size=100&plan=stall:10"),
                  .calls = &told_calls,
                  .context = &t,
                  .proxy = ""};
  http_request *r = http_start(&ask, &e);
  CHECK(r != NULL && server_stalled(1));
  server_release();
  CHECK(await(r) != NULL);
  CHECK(t.end == HTTP_WHOLE && t.body.size == 100);
  told_free(&t, r);
  CHECK_INT(told_number("!stalled?count=0"), 0);
}

TEST(chance_is_always_the_same) {
  char first[64] = "", again[64] = "";
  for (int round = 0; round < 2; round++) {
    server_reset();
    for (int i = 0; i < 30; i++) {
      told t;
      long before = told_number("!connections");
      http_request *r = go(at("f/k?size=1&all=keep:fin:7:50"), &plain, &t);
      CHECK_INT(t.end, HTTP_WHOLE);
      told_free(&t, r);
      /* Ours for the question, and perhaps a new one for the request. */
      bool opened = told_number("!connections") - before > 1;
      strcat(round == 0 ? first : again, opened ? "1" : "0");
    }
  }
  /* What the first of a round found open depends on what was before. */
  CHECK(strchr(first + 1, '1') != NULL && strchr(first + 1, '0') != NULL);
  CHECK_TEXT(again + 1, first + 1);
}

TEST(certificates_are_right_and_wrong) {
  static const http_end ends[] = {HTTP_WHOLE, HTTP_UNTRUSTED, HTTP_UNTRUSTED,
                                  HTTP_UNTRUSTED};
  if (s.more[1] == 0) SKIP("there is no openssl");
  for (unsigned i = 0; i < 4; i++) {
    told t;
    http_ask ask = {.cacert = faults_ca};
    http_request *r =
        go(at_port((faults_port)(FAULTS_TLS + i), "f/t?size=9"), &ask, &t);
    CHECK_INT(t.end, ends[i]);
    told_free(&t, r);
  }
}

TEST(it_is_as_many_hosts_as_one_likes) {
  for (unsigned host = 0; host < 600; host += 249) {
    told t;
    http_request *r = go(at_host(host, "f/h?size=9"), &plain, &t);
    CHECK(is_content(t.body.data, t.body.size, "h", 9, 0));
    told_free(&t, r);
  }
}

TEST(what_is_put_is_stored_or_said_to_be) {
  static const char *const ways[] = {"ok", "store:half", "store:other"};
  static const long sizes[] = {1000, 500, 1000};
  unsigned char *data = server_content("put", 1000, 0);
  http_piece piece = {data, 1000};
  http_ask ask = {.method = "PUT", .pieces = &piece, .piece_count = 1};
  for (int i = 0; i < 3; i++) {
    char path[64];
    told t;
    snprintf(path, sizeof path, "u/p?plan=%s", ways[i]);
    http_request *r = go(at(path), &ask, &t);
    CHECK(t.end == HTTP_WHOLE && t.status == 201);
    told_free(&t, r);
    CHECK_INT(told_number("!stored/p"), sizes[i]);
    r = go(at("u/p"), &plain, &t);
    CHECK_INT(t.body.size, sizes[i]);
    CHECK((i == 0) == is_content(t.body.data, t.body.size, "put", 1000, 0));
    told_free(&t, r);
  }
  free(data);
}

int main(int argc, char **argv) {
  gate_begin(argc, argv);
  if (!faults_start(true)) {
    printf("0 passed, 0 failed, 1 skipped\n");
    faults_stop();
    return 0;
  }
  unsigned kept = http_keep();
  GATE_RUN(content_is_what_the_header_says);
  GATE_RUN(a_plan_goes_by_how_often_it_was_asked);
  GATE_RUN(a_range_is_one_and_if_range_is_heeded);
  GATE_RUN(a_stall_lasts_until_it_is_released);
  GATE_RUN(chance_is_always_the_same);
  GATE_RUN(certificates_are_right_and_wrong);
  GATE_RUN(it_is_as_many_hosts_as_one_likes);
  GATE_RUN(what_is_put_is_stored_or_said_to_be);
  http_drop(kept);
  http_settle();
  faults_stop();
  return check_end();
}
