/*
** http: what an answer is worth. A server that does everything wrong, and what
** is made of each of its answers.
**
** not under valgrind: it has a server that waits; ASan runs it
*/
#include "http_case.h"

/* ------------------------------------------------------------------
** What is right
** ---------------------------------------------------------------- */

TEST(whole_bodies) {
  told t;
  http_request *r = go(at("ok/300000"), &(http_ask){0}, &t);
  CHECK_INT(t.end, HTTP_WHOLE);
  CHECK_INT(t.status, 200);
  CHECK(is_pattern(&t.body, 300000, 0));
  CHECK(http_answer_of(r)->proven);
  CHECK_INT(http_answer_of(r)->length, 300000);
  CHECK_INT(http_answer_of(r)->got, 300000);
  CHECK_TEXT(http_answer_field(http_answer_of(r), "etag"), "\"e\"");
  CHECK(http_answer_field(http_answer_of(r), "nothing") == NULL);
  CHECK_INT(t.heads, 1);
  CHECK_INT(t.dones, 1);
  told_free(&t, r);

  r = go(at("ok/0"), &(http_ask){0}, &t);
  CHECK_INT(t.end, HTTP_WHOLE);
  CHECK_INT(t.body.size, 0);
  told_free(&t, r);

  r = go(at("chunked/54321"), &(http_ask){0}, &t);
  CHECK_INT(t.end, HTTP_WHOLE);
  CHECK(is_pattern(&t.body, 54321, 0));
  CHECK(http_answer_of(r)->proven);
  CHECK(http_answer_of(r)->length == HTTP_UNKNOWN);
  told_free(&t, r);

  r = go(at("ok/777"), &(http_ask){.method = "HEAD"}, &t);
  CHECK_INT(t.end, HTTP_WHOLE);
  CHECK_INT(http_answer_of(r)->length, 777);
  CHECK_INT(t.body.size, 0);
  told_free(&t, r);

  r = go(at("status/404"), &(http_ask){0}, &t);
  CHECK_INT(t.end, HTTP_WHOLE);
  CHECK_INT(t.status, 404);
  uint64_t seconds = 0;
  CHECK(http_answer_retry_after(http_answer_of(r), &seconds));
  CHECK_INT(seconds, 7);
  told_free(&t, r);

  r = go(at("status/204"), &(http_ask){0}, &t);
  CHECK_INT(t.end, HTTP_WHOLE);
  CHECK_INT(t.status, 204);
  told_free(&t, r);

  r = go(at("interim"), &(http_ask){0}, &t);
  CHECK_INT(t.end, HTTP_WHOLE);
  CHECK_INT(t.status, 200);
  CHECK_TEXT(t.body.data, "late");
  told_free(&t, r);

  r = go(at("samelengths"), &(http_ask){0}, &t);
  CHECK_INT(t.end, HTTP_WHOLE);
  CHECK_TEXT(t.body.data, "abcde");
  told_free(&t, r);
}

/* To the end of the connection: it is told, but nothing proves it whole. */
TEST(without_a_length_it_is_not_proven) {
  told t;
  http_request *r = go(at("unending/5000"), &(http_ask){0}, &t);
  CHECK_INT(t.end, HTTP_WHOLE);
  CHECK(is_pattern(&t.body, 5000, 0));
  CHECK(!http_answer_of(r)->proven);
  told_free(&t, r);
}

TEST(bytes_come_as_they_are) {
  told t;
  http_request *r = go(at("gzip"), &(http_ask){0}, &t);
  CHECK_INT(t.end, HTTP_WHOLE);
  CHECK_INT(t.body.size, 5);
  CHECK_TEXT(http_answer_field(http_answer_of(r), "content-encoding"), "gzip");
  told_free(&t, r);
  r = go(at("headers"), &(http_ask){0}, &t);
  CHECK(strstr(t.body.data, "Accept-Encoding: identity") != NULL);
  told_free(&t, r);
}

TEST(ranges) {
  told t;
  http_ask ask = {.ranged = true, .from = 10, .last = 19};
  http_request *r = go(at("ok/100"), &ask, &t);
  CHECK_INT(t.end, HTTP_WHOLE);
  CHECK_INT(t.status, 206);
  CHECK_INT(http_answer_of(r)->from, 10);
  CHECK_INT(http_answer_of(r)->last, 19);
  CHECK_INT(http_answer_of(r)->total, 100);
  CHECK(is_pattern(&t.body, 10, 10));
  told_free(&t, r);

  ask.last = HTTP_UNKNOWN;
  r = go(at("ok/100"), &ask, &t);
  CHECK_INT(http_answer_of(r)->last, 99);
  CHECK(is_pattern(&t.body, 90, 10));
  told_free(&t, r);

  r = go(at("chunked/100"), &ask, &t); /* it knows no ranges */
  CHECK_INT(t.end, HTTP_WHOLE);
  CHECK_INT(t.status, 200);
  told_free(&t, r);

  ask.last = 19;
  r = go(at("less"), &ask, &t); /* legal: the rest is to be asked for */
  CHECK_INT(t.end, HTTP_WHOLE);
  CHECK_INT(http_answer_of(r)->last, 14);
  told_free(&t, r);

  ask.from = 100;
  ask.last = 200;
  r = go(at("ok/100"), &ask, &t);
  CHECK_INT(t.end, HTTP_WHOLE);
  CHECK_INT(t.status, 416);
  told_free(&t, r);
}

/* ------------------------------------------------------------------
** What is wrong
** ---------------------------------------------------------------- */

static const struct {
  const char *path;
  bool ranged;
  http_end end;
  bool body_seen; /* some of it was given out before it showed */
} faults[] = {
    {"short/1000", false, HTTP_CUT, true},
    {"twolengths", false, HTTP_WRONG, false},
    {"negative", false, HTTP_WRONG, false},
    {"overflow", false, HTTP_WRONG, false},
    {"words", false, HTTP_WRONG, false},
    {"both", false, HTTP_WRONG, false},
    {"tegzip", false, HTTP_WRONG, false},
    {"badchunk", false, HTTP_CUT, true},
    {"cutchunk", false, HTTP_CUT, true},
    {"cuthead", false, HTTP_CUT, false},
    {"nohead", false, HTTP_CUT, false},
    {"garbage", false, HTTP_WRONG, false},
    {"old", false, HTTP_WRONG, false},
    {"nul", false, HTTP_WRONG, false},
    {"return", false, HTTP_WRONG, false},
    {"folded", false, HTTP_WRONG, false},
    {"colonless", false, HTTP_WRONG, false},
    {"badstatus", false, HTTP_WRONG, false},
    {"bigline", false, HTTP_TOO_LARGE, false},
    {"manylines", false, HTTP_TOO_LARGE, false},
    {"manyinterim", false, HTTP_WRONG, false},
    {"endlesshead", false, HTTP_TOO_LARGE, false},
    {"unasked", false, HTTP_WRONG, false},
    {"shifted", true, HTTP_WRONG, false},
    {"earlier", true, HTTP_WRONG, false},
    {"more", true, HTTP_WRONG, false},
    {"unsaid", true, HTTP_WRONG, false},
    {"backwards", true, HTTP_WRONG, false},
    {"beyond", true, HTTP_WRONG, false},
    {"rangelength", true, HTTP_WRONG, false},
    {"rangeclose", true, HTTP_CUT, true},
    {"multipart", true, HTTP_WRONG, false},
    {"dies", false, HTTP_CUT, false},
};

TEST(wrong_answers_are_no_success) {
  for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
    told t;
    http_ask ask = {0};
    if (faults[i].ranged) {
      ask.ranged = true;
      ask.from = 10;
      ask.last = 19;
    }
    http_request *r = go(at(faults[i].path), &ask, &t);
    /* Which of its guards sees it first is libcurl's affair. */
    bool as_expected =
        t.end == faults[i].end ||
        (t.end != HTTP_WHOLE &&
         (faults[i].end == HTTP_CUT || faults[i].end == HTTP_TOO_LARGE) &&
         (t.end == HTTP_WRONG || t.end == HTTP_CUT));
    if (!as_expected)
      printf("%s: %d, not %d: %s\n", faults[i].path, t.end, faults[i].end,
             t.why);
    CHECK(as_expected);
    CHECK(t.why[0] != '\0');
    CHECK_INT(t.dones, 1);
    if (!faults[i].body_seen) {
      if (t.body.size > 0) printf("%s gave out a body\n", faults[i].path);
      CHECK_INT(t.body.size, 0);
      CHECK_INT(t.heads, 0);
    }
    told_free(&t, r);
  }
}

TEST(what_is_too_much_is_not_added) {
  told t;
  http_request *r = go(at("long/1000"), &(http_ask){0}, &t);
  CHECK(t.end == HTTP_WHOLE); /* the excess belongs to nobody */
  CHECK(is_pattern(&t.body, 1000, 0));
  told_free(&t, r);

  r = go(at("ok/5000"), &(http_ask){.most = 4999}, &t);
  CHECK_INT(t.end, HTTP_TOO_LARGE);
  CHECK_INT(t.body.size, 0);
  told_free(&t, r);
  r = go(at("chunked/5000"), &(http_ask){.most = 4999}, &t);
  CHECK_INT(t.end, HTTP_TOO_LARGE);
  CHECK(t.body.size <= 4999);
  told_free(&t, r);
  r = go(at("ok/5000"), &(http_ask){.most = 5000}, &t);
  CHECK_INT(t.end, HTTP_WHOLE);
  told_free(&t, r);
  r = go(at("endlessbody"), &(http_ask){.most = 100000}, &t);
  CHECK_INT(t.end, HTTP_TOO_LARGE);
  CHECK(t.body.size <= 100000);
  told_free(&t, r);
}

TEST(requests_that_cannot_be_made) {
  static const char *const urls[] = {
      "",
      "nonsense",
      "ftp://127.0.0.1/",
      "file:///etc/passwd",
      "http://user:secret@127.0.0.1/",
      "http://127.0.0.1/a b",
      "http://127.0.0.1/a\r\nX: y",
      "http:///",
  };
  told t;
  for (size_t i = 0; i < sizeof urls / sizeof urls[0]; i++) {
    http_request *r = go(urls[i], &(http_ask){0}, &t);
    CHECK(r == NULL);
    CHECK(strstr(t.why, "secret") == NULL);
  }
  http_field bad = {"X-A", "a\r\nX-B: b", false};
  CHECK(go(at("ok/1"), &(http_ask){.fields = &bad, .field_count = 1}, &t) ==
        NULL);
  bad = (http_field){"X-A: y\r\nX", "a", false};
  CHECK(go(at("ok/1"), &(http_ask){.fields = &bad, .field_count = 1}, &t) ==
        NULL);
  CHECK(go(at("ok/1"), &(http_ask){.method = "GET / HTTP/1.1\r\n"}, &t) ==
        NULL);
  CHECK(go(at("ok/1"), &(http_ask){.ranged = true, .from = 5, .last = 4}, &t) ==
        NULL);
  CHECK(go(at("ok/1?X-Amz-Signature=canary"), &(http_ask){.method = ""}, &t) ==
        NULL);
  CHECK(strstr(t.why, "canary") == NULL);
}

TEST(nobody_listens) {
  told t;
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  struct sockaddr_in a = {.sin_family = AF_INET};
  socklen_t size = sizeof a;
  char url[100];
  a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  CHECK(bind(fd, (struct sockaddr *)&a, size) == 0); /* and no listen */
  getsockname(fd, (struct sockaddr *)&a, &size);
  snprintf(url, sizeof url, "http://127.0.0.1:%d/?token=canary",
           ntohs(a.sin_port));
  http_request *r = go(url, &(http_ask){0}, &t);
  CHECK_INT(t.end, HTTP_UNREACHED);
  CHECK_INT(http_answer_of(r)->number, ECONNREFUSED);
  CHECK(strstr(http_answer_of(r)->url, "canary") == NULL);
  told_free(&t, r);
  close(fd);
}

int main(int argc, char **argv) {
  if (!http_suite_begin(argc, argv)) return server_missing();
  RUN(whole_bodies);
  RUN(without_a_length_it_is_not_proven);
  RUN(bytes_come_as_they_are);
  RUN(ranges);
  RUN(wrong_answers_are_no_success);
  RUN(what_is_too_much_is_not_added);
  RUN(requests_that_cannot_be_made);
  RUN(nobody_listens);
  return http_suite_end();
}
