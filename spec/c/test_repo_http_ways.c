/*
** http: what goes out, and where to. Bodies, redirects and the secrets that do
** not go with them, TLS.
**
** not under valgrind: it has a server that waits; ASan runs it
*/
#include <openssl/x509_vfy.h>

#include "http_case.h"

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

/* A body that is asked for again, over a connection that is gone before it is
   sent. */
typedef struct late_giver {
  giver g; /* first */
  unsigned asked;
} late_giver;

static http_flow late_give(void *context, void *room, size_t most,
                           size_t *size) {
  late_giver *l = context;
  if (++l->asked == 2) free(server_ask(&s, "GET", "/opened/late", ""));
  return giver_give(context, room, most, size);
}

/* Two connections, to be used again. */
static void warm(const char *token) {
  char path[64];
  told t[2];
  http_request *r[2];
  error *e = NULL;
  memset(t, 0, sizeof t);
  snprintf(path, sizeof path, "hold/%s", token);
  for (int i = 0; i < 2; i++) {
    http_ask ask = {.method = "GET",
                    .url = at(path),
                    .calls = &told_calls,
                    .proxy = "",
                    .context = &t[i]};
    r[i] = http_start(&ask, &e);
    if (r[i] == NULL) abort();
  }
  snprintf(path, sizeof path, "/held/%s/2", token);
  free(server_ask(&s, "GET", path, ""));
  snprintf(path, sizeof path, "/release/%s", token);
  free(server_ask(&s, "GET", path, ""));
  for (int i = 0; i < 2; i++) {
    CHECK(await(r[i]) != NULL);
    told_free(&t[i], r[i]);
  }
}

/* Two connections are gone, one after the other: libcurl 7.88 takes a third,
   and goes on behind what it was given for the second. */
TEST(bodies_whose_connections_are_gone) {
  static const http_calls calls = {.head = told_head,
                                   .body = told_body,
                                   .give = late_give,
                                   .rewind = giver_rewind,
                                   .done = told_done};
  unsigned kept = http_keep();
  late_giver l = {.asked = 0};
  http_ask ask = {.method = "PUT",
                  .gives = true,
                  .give_size = 1000,
                  .calls = &calls,
                  .context = &l};
  told other;
  warm("warm");
  http_request *r = go(at("givesup/late"), &ask, &other);
  if (l.g.t.end != HTTP_WHOLE) printf("%s\n", l.g.t.why);
  CHECK_INT(l.g.t.end, HTTP_WHOLE);
  CHECK_INT(l.g.t.dones, 1);
  CHECK_TEXT(l.g.t.body.data, "PUT 1000 c90582fbbeb1275142915b85da61ade9");
  CHECK_INT(http_answer_of(r)->sent, 1000);
  told_free(&l.g.t, r);

  /* What cannot be given again is cut: who asked may ask again. */
  http_calls once = giver_calls;
  once.rewind = NULL;
  giver g = {0};
  ask.calls = &once;
  ask.context = &g;
  warm("warmer");
  r = go(at("givesup/later"), &ask, &other);
  CHECK_INT(g.t.end, HTTP_CUT);
  told_free(&g.t, r);
  http_drop(kept);
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
** TLS
** ---------------------------------------------------------------- */

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

/* libcurl's folder of authorities, besides the file of them. */
static atomic_uint folders;

__attribute__((visibility("default"))) int X509_STORE_load_path(
    X509_STORE *store, const char *folder) {
  (void)store;
  (void)folder;
  folders++;
  return 1;
}

TEST(no_authority_counts_but_the_one_that_is_named) {
  server tls;
  char folder[64], url[100], ca[100];
  told t;
  if (!start_tls(&tls, folder, NULL)) {
    stop_tls(&tls, folder);
    SKIP("there is no openssl here to make a certificate with");
  }
  snprintf(url, sizeof url, "https://127.0.0.1:%d/ok/1", tls.port);
  snprintf(ca, sizeof ca, "%s/ca.pem", folder);
  folders = 0;
  http_request *r = go(url, &(http_ask){0}, &t);
  CHECK_INT(t.end, HTTP_UNTRUSTED);
  told_free(&t, r);
  unsigned usual = folders;
  folders = 0;
  r = go(url, &(http_ask){.cacert = ca}, &t);
  CHECK_INT(t.end, HTTP_WHOLE);
  CHECK_INT(folders, 0);
  told_free(&t, r);
  stop_tls(&tls, folder);
  if (usual == 0) SKIP("libcurl has no such folder here");
}

int main(int argc, char **argv) {
  if (!http_suite_begin(argc, argv)) return server_missing();
  RUN(bodies_are_sent);
  RUN(bodies_are_asked_for);
  RUN(bodies_whose_connections_are_gone);
  RUN(answers_that_come_early);
  RUN(redirects_are_followed);
  RUN(redirects_that_are_not_followed);
  RUN(redirects_and_methods);
  RUN(secrets_stay_with_their_origin);
  RUN(certificates_are_verified);
  RUN(no_authority_counts_but_the_one_that_is_named);
  return http_suite_end();
}
