/*
** http: what an answer is worth. A server that does everything wrong, and what
** is made of each of its answers; redirects, bodies, TLS, proxies.
*/
#include "http_case.h"

static server s;

static const char *at(const char *path) {
  static char url[4096];
  snprintf(url, sizeof url, "http://127.0.0.1:%d/%s", s.port, path);
  return url;
}

static void told_free(told *t, http_request *r) {
  buffer_free(&t->body);
  http_unref(r);
}

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

/* ------------------------------------------------------------------
** Bodies of ours
** ---------------------------------------------------------------- */

typedef struct giver {
  told t; /* first */
  size_t at, size;
  unsigned rewinds;
  size_t lies; /* ends after so many; 0: does not */
} giver;

static http_flow giver_give(void *context, void *room, size_t most,
                            size_t *size) {
  giver *g = context;
  if (most > 1000) most = 1000;
  if (g->lies > 0 && g->at >= g->lies) most = 0;
  for (size_t i = 0; i < most; i++)
    ((unsigned char *)room)[i] = (unsigned char)(((g->at + i) * 7 + 3) % 251);
  g->at += most;
  *size = most;
  return HTTP_GO;
}

static bool giver_rewind(void *context) {
  giver *g = context;
  g->at = 0;
  g->rewinds++;
  return true;
}

static const http_calls giver_calls = {.head = told_head,
                                       .body = told_body,
                                       .give = giver_give,
                                       .rewind = giver_rewind,
                                       .done = told_done};

TEST(bodies_are_sent) {
  told t;
  http_piece pieces[] = {{"ab", 2}, {"", 0}, {NULL, 0}, {"cde", 3}};
  http_ask ask = {.method = "PUT", .pieces = pieces, .piece_count = 4};
  http_request *r = go(at("echo"), &ask, &t);
  CHECK_INT(t.end, HTTP_WHOLE);
  CHECK_TEXT(t.body.data, "PUT 5 ab56b4d92b40713acc5af89985d4b786");
  CHECK_INT(http_answer_of(r)->sent, 5);
  told_free(&t, r);

  ask.method = "POST";
  r = go(at("echo"), &ask, &t);
  CHECK_TEXT(t.body.data, "POST 5 ab56b4d92b40713acc5af89985d4b786");
  told_free(&t, r);

  ask = (http_ask){.method = "PUT", .pieces = pieces};
  r = go(at("echo"), &ask, &t);
  CHECK_TEXT(t.body.data, "PUT 0 d41d8cd98f00b204e9800998ecf8427e");
  told_free(&t, r);

  ask = (http_ask){.method = "DELETE"};
  r = go(at("echo"), &ask, &t);
  CHECK_TEXT(t.body.data, "DELETE 0 d41d8cd98f00b204e9800998ecf8427e");
  told_free(&t, r);

  size_t large = (size_t)5 << 20; /* with "Expect: 100-continue" */
  char *zeros = calloc(1, large);
  http_piece piece = {zeros, large};
  ask = (http_ask){.method = "PUT", .pieces = &piece, .piece_count = 1};
  r = go(at("echo"), &ask, &t);
  CHECK_TEXT(t.body.data, "PUT 5242880 5f363e0e58a95f06cbe9bbc662c5dfb6");
  told_free(&t, r);
  free(zeros);
}

TEST(bodies_are_asked_for) {
  giver g = {0};
  http_ask ask = {.method = "PUT",
                  .gives = true,
                  .give_size = 123456,
                  .calls = &giver_calls,
                  .context = &g};
  told other;
  http_request *r = go(at("echo"), &ask, &other);
  CHECK_INT(g.t.end, HTTP_WHOLE);
  CHECK_TEXT(g.t.body.data, "PUT 123456 17e8c143552f3dbdb58d51780a776a26");
  told_free(&g.t, r);

  g = (giver){.lies = 5000};
  r = go(at("echo"), &ask, &other);
  CHECK_INT(g.t.end, HTTP_FAILED);
  told_free(&g.t, r);
}

TEST(answers_that_come_early) {
  told t;
  size_t large = (size_t)8 << 20;
  char *zeros = calloc(1, large);
  http_piece piece = {zeros, large};
  http_field expect = {"Expect", "", false};
  http_ask ask = {.method = "PUT",
                  .pieces = &piece,
                  .piece_count = 1,
                  .fields = &expect,
                  .field_count = 1};
  http_request *r = go(at("early/403"), &ask, &t);
  /* It stops sending; whether the answer survives the reset is the kernel's
     affair, but it is no success. */
  CHECK(t.end == HTTP_WHOLE ? t.status == 403 : t.end == HTTP_CUT);
  told_free(&t, r);
  r = go(at("early/200"), &ask, &t);
  CHECK(t.end != HTTP_WHOLE);
  told_free(&t, r);
  free(zeros);
}

/* ------------------------------------------------------------------
** Redirects
** ---------------------------------------------------------------- */

static http_request *follow(unsigned code, const char *where, http_ask ask,
                            told *t) {
  char path[1024];
  snprintf(path, sizeof path, "redirect/%u?%s", code, where);
  if (ask.redirects == 0) ask.redirects = 5;
  return go(at(path), &ask, t);
}

TEST(redirects_are_followed) {
  static const unsigned codes[] = {301, 302, 303, 307, 308};
  told t;
  http_request *r;
  for (size_t i = 0; i < 5; i++) {
    r = follow(codes[i], "/ok/500", (http_ask){0}, &t);
    if (t.end != HTTP_WHOLE) printf("%u: %s\n", codes[i], t.why);
    CHECK_INT(t.end, HTTP_WHOLE);
    CHECK(is_pattern(&t.body, 500, 0)); /* and nothing of the first body */
    CHECK_INT(t.heads, 1);
    CHECK_INT(http_answer_of(r)->redirects, 1);
    CHECK(strstr(http_answer_of(r)->url, "/ok/500") != NULL);
    told_free(&t, r);
  }
  r = follow(302, "../ok/9", (http_ask){0}, &t);
  CHECK(is_pattern(&t.body, 9, 0));
  told_free(&t, r);
  /* Not asked to follow: an answer like others. */
  r = go(at("redirect/302?/ok/5"), &(http_ask){0}, &t);
  CHECK_INT(t.status, 302);
  CHECK_TEXT(t.body.data, "elsewhere");
  told_free(&t, r);
  r = go(at("round/0"), &(http_ask){.redirects = 5}, &t);
  CHECK_INT(t.end, HTTP_ASTRAY);
  told_free(&t, r);
}

TEST(redirects_that_are_not_followed) {
  static const char *const targets[] = {
      "file:///etc/passwd", "ftp://127.0.0.1/", "http://a:canary@127.0.0.1/",
      "http://", "javascript:alert(1)"};
  told t;
  for (size_t i = 0; i < sizeof targets / sizeof targets[0]; i++) {
    http_request *r = follow(302, targets[i], (http_ask){0}, &t);
    CHECK_INT(t.end, HTTP_ASTRAY);
    CHECK(strstr(t.why, "canary") == NULL);
    CHECK_INT(t.heads, 0);
    told_free(&t, r);
  }
}

TEST(redirects_and_methods) {
  told t;
  http_piece piece = {"abcde", 5};
  http_ask ask = {.method = "PUT", .pieces = &piece, .piece_count = 1};
  http_request *r = follow(307, "/echo", ask, &t);
  CHECK_TEXT(t.body.data, "PUT 5 ab56b4d92b40713acc5af89985d4b786");
  told_free(&t, r);
  r = follow(303, "/echo", ask, &t);
  CHECK_TEXT(t.body.data, "GET 0 d41d8cd98f00b204e9800998ecf8427e");
  told_free(&t, r);
  ask.method = "POST";
  r = follow(302, "/echo", ask, &t);
  CHECK_TEXT(t.body.data, "GET 0 d41d8cd98f00b204e9800998ecf8427e");
  told_free(&t, r);
  ask.once = true;
  r = follow(308, "/echo", ask, &t);
  CHECK_INT(t.end, HTTP_ASTRAY);
  told_free(&t, r);

  giver g = {0};
  ask = (http_ask){.method = "PUT",
                   .gives = true,
                   .give_size = 123456,
                   .calls = &giver_calls,
                   .context = &g};
  r = follow(307, "/echo", ask, &t);
  CHECK_TEXT(g.t.body.data, "PUT 123456 17e8c143552f3dbdb58d51780a776a26");
  CHECK(g.rewinds >= 1);
  told_free(&g.t, r);
}

/* The other origin is the same server by another name. */
TEST(secrets_stay_with_their_origin) {
  static const http_field fields[] = {
      {"Authorization", "canary1", false},
      {"Cookie", "canary2", false},
      {"X-Amz-Security-Token", "canary3", false},
      {"X-Api-Key", "canary4", true},
      {"X-Open", "open", false},
  };
  told t;
  char where[100];
  http_ask ask = {.fields = fields, .field_count = 5};
  http_request *r = follow(302, "/headers/same", ask, &t);
  for (int i = 1; i <= 4; i++) {
    char canary[8] = "canary1";
    canary[6] = (char)('0' + i);
    CHECK(strstr(t.body.data, canary) != NULL);
  }
  told_free(&t, r);
  snprintf(where, sizeof where, "http://localhost:%d/headers/other", s.port);
  r = follow(302, where, ask, &t);
  CHECK_INT(t.end, HTTP_WHOLE);
  CHECK(t.body.data != NULL && strstr(t.body.data, "canary") == NULL);
  CHECK(t.body.data != NULL && strstr(t.body.data, "X-Open: open") != NULL);
  told_free(&t, r);
  /* Nor do they come back with the way back. */
  char back[200];
  snprintf(back, sizeof back,
           "http://localhost:%d/redirect/302?http://127.0.0.1:%d/headers/back",
           s.port, s.port);
  r = follow(302, back, ask, &t);
  CHECK_INT(http_answer_of(r)->redirects, 2);
  CHECK(t.body.data != NULL && strstr(t.body.data, "canary") == NULL);
  told_free(&t, r);
}

/* ------------------------------------------------------------------
** TLS, proxies
** ---------------------------------------------------------------- */

static bool start_tls(server *tls, char folder[64], const char *name) {
  snprintf(folder, 64, "/tmp/saros-spec-http-XXXXXX");
  if (mkdtemp(folder) == NULL) return false;
  const char *argv[] = {"python3", "spec/http/server.py",          "--tls",
                        folder,    name != NULL ? "--name" : NULL, name,
                        NULL};
  return server_start(tls, argv);
}

static void stop_tls(server *tls, const char *folder) {
  char path[100];
  server_stop(tls);
  snprintf(path, sizeof path, "%s/ca.pem", folder);
  unlink(path);
  snprintf(path, sizeof path, "%s/key.pem", folder);
  unlink(path);
  rmdir(folder);
}

TEST(certificates_are_verified) {
  server tls;
  char folder[64], url[100], ca[100];
  told t;
  if (!start_tls(&tls, folder, NULL)) {
    stop_tls(&tls, folder);
    SKIP("there is no openssl here to make a certificate with");
  }
  snprintf(url, sizeof url, "https://127.0.0.1:%d/ok/70000", tls.port);
  snprintf(ca, sizeof ca, "%s/ca.pem", folder);
  http_request *r = go(url, &(http_ask){0}, &t);
  CHECK_INT(t.end, HTTP_UNTRUSTED);
  told_free(&t, r);
  r = go(url, &(http_ask){.cacert = ca}, &t);
  CHECK_INT(t.end, HTTP_WHOLE);
  CHECK(is_pattern(&t.body, 70000, 0));
  told_free(&t, r);
  /* A connection that was trusted is not lent to who does not trust it. */
  r = go(url, &(http_ask){0}, &t);
  CHECK_INT(t.end, HTTP_UNTRUSTED);
  told_free(&t, r);
  snprintf(url, sizeof url, "https://localhost:%d/ok/1", tls.port);
  r = go(url, &(http_ask){.cacert = ca}, &t);
  CHECK_INT(t.end, HTTP_UNTRUSTED); /* another name than the certificate's */
  told_free(&t, r);
  r = go(at("ok/1"), &(http_ask){.cacert = "/nonexistent/ca.pem"}, &t);
  CHECK_INT(t.end, HTTP_WHOLE);
  told_free(&t, r);
  snprintf(url, sizeof url, "https://127.0.0.1:%d/ok/1", tls.port);
  r = go(url, &(http_ask){.cacert = "/nonexistent/ca.pem"}, &t);
  CHECK_INT(t.end, HTTP_UNTRUSTED);
  told_free(&t, r);
  /* From https to http nobody is led. */
  char path[200];
  snprintf(path, sizeof path,
           "https://127.0.0.1:%d/redirect/302?http://127.0.0.1:%d/ok/1",
           tls.port, s.port);
  r = go(path, &(http_ask){.cacert = ca, .redirects = 3}, &t);
  CHECK_INT(t.end, HTTP_ASTRAY);
  told_free(&t, r);
  /* Not TLS at all. */
  snprintf(url, sizeof url, "https://127.0.0.1:%d/ok/1", s.port);
  r = go(url, &(http_ask){.cacert = ca}, &t);
  CHECK_INT(t.end, HTTP_UNREACHED);
  told_free(&t, r);
  stop_tls(&tls, folder);
}

TEST(proxies) {
  told t;
  char proxy[64];
  snprintf(proxy, sizeof proxy, "http://127.0.0.1:%d", s.port);
  http_request *r =
      go("http://nowhere.invalid/x", &(http_ask){.proxy = proxy}, &t);
  CHECK_INT(t.end, HTTP_WHOLE);
  CHECK(t.body.data != NULL &&
        strstr(t.body.data, "proxied http://nowhere.invalid/x") != NULL);
  told_free(&t, r);
}

int main(int argc, char **argv) {
  static const char *const command[] = {"python3", "spec/http/server.py", NULL};
  check_begin(argc, argv);
  if (!server_start(&s, command)) {
    printf("SKIPPED all: there is no python3 here to serve with\n");
    printf("0 passed, 0 failed, 1 skipped\n");
    return 0;
  }
  RUN(whole_bodies);
  RUN(without_a_length_it_is_not_proven);
  RUN(bytes_come_as_they_are);
  RUN(ranges);
  RUN(wrong_answers_are_no_success);
  RUN(what_is_too_much_is_not_added);
  RUN(requests_that_cannot_be_made);
  RUN(nobody_listens);
  RUN(bodies_are_sent);
  RUN(bodies_are_asked_for);
  RUN(answers_that_come_early);
  RUN(redirects_are_followed);
  RUN(redirects_that_are_not_followed);
  RUN(redirects_and_methods);
  RUN(secrets_stay_with_their_origin);
  RUN(certificates_are_verified);
  RUN(proxies);
  server_stop(&s);
  http_settle();
  return check_end();
}
