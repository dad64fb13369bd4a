/*
** http: by way of a proxy: what it is told, what it says, and that nobody goes
** where it has led somebody else.
*/
#include "http_case.h"

static char proxy[64];

TEST(proxies) {
  told t;
  http_request *r =
      go("http://nowhere.invalid/x", &(http_ask){.proxy = proxy}, &t);
  CHECK_INT(t.end, HTTP_WHOLE);
  CHECK(t.body.data != NULL &&
        strstr(t.body.data, "proxied http://nowhere.invalid/x") != NULL);
  told_free(&t, r);
}

/* What looks like an escape in it is none. */
TEST(a_proxy_is_told_the_password_as_it_is) {
  static const char login[] = "me:50%41%25%zz%";
  told t;
  buffer b = BUFFER_EMPTY;
  text_base64(&b, login, strlen(login));
  http_request *r = go("http://nowhere.invalid/x",
                       &(http_ask){.proxy = proxy, .proxy_login = login}, &t);
  CHECK_INT(t.end, HTTP_WHOLE);
  CHECK(t.body.data != NULL && strstr(t.body.data, b.data) != NULL);
  buffer_free(&b);
  told_free(&t, r);
}

TEST(a_proxy_that_leads_nobody_there_says_why) {
  static const char *const urls[] = {"https://nowhere.invalid/x",
                                     "https://down.invalid/x"};
  static const unsigned status[] = {407, 502};
  for (int i = 0; i < 2; i++) {
    told t;
    http_request *r = go(urls[i], &(http_ask){.proxy = proxy}, &t);
    CHECK_INT(t.end, HTTP_UNREACHED);
    CHECK_INT(t.status, 0);
    CHECK_INT(http_answer_of(r)->proxy, status[i]);
    told_free(&t, r);
  }
}

/* ------------------------------------------------------------------
** Tunnels
** ---------------------------------------------------------------- */

static char ca[100], target[100];

/* The number of the connection that a request went over: the server's behind
   the proxy. */
static long tunnel_of(const char *login, const char *by) {
  told t;
  http_request *r = go(
      target, &(http_ask){.proxy = by, .proxy_login = login, .cacert = ca}, &t);
  CHECK_INT(t.end, HTTP_WHOLE);
  if (t.end != HTTP_WHOLE) printf("%s\n", t.why);
  long number = t.body.data != NULL ? strtol(t.body.data, NULL, 10) : 0;
  told_free(&t, r);
  return number;
}

/* The logins that the proxy was told, as it had them, one a tunnel. */
static bool was_told(const char *expected) {
  char *seen = server_ask(&s, "GET", "/seen/tunnels", "");
  bool same = strcmp(seen, expected) == 0;
  if (!same) printf("the proxy was told:\n%s\n", seen);
  free(seen);
  return same;
}

/* libcurl minds it since 8.19, and where CVE-2026-3784 was mended before. Where
   this fails it is that which wants to be made new. */
TEST(a_tunnel_is_its_logins) {
  server tls;
  char folder[64];
  if (!start_tls(&tls, folder, NULL)) {
    stop_tls(&tls, folder);
    SKIP("there is no openssl here to make a certificate with");
  }
  snprintf(ca, sizeof ca, "%s/ca.pem", folder);
  snprintf(target, sizeof target, "https://127.0.0.1:%d/connection", tls.port);
  unsigned kept = http_keep();
  long first = tunnel_of("me:one", proxy);
  CHECK_INT(tunnel_of("me:one", proxy), first);
  long second = tunnel_of("me:two", proxy);
  CHECK(second != first);
  long none = tunnel_of(NULL, proxy);
  CHECK(none != first && none != second);
  CHECK_INT(tunnel_of("me:one", proxy), first);
  CHECK(was_told("Basic bWU6b25l\nBasic bWU6dHdv\nnobody"));
  http_drop(kept);
  stop_tls(&tls, folder);
}

int main(int argc, char **argv) {
  if (!http_suite_begin(argc, argv)) return server_missing();
  snprintf(proxy, sizeof proxy, "http://127.0.0.1:%d", s.port);
  RUN(proxies);
  RUN(a_proxy_is_told_the_password_as_it_is);
  RUN(a_proxy_that_leads_nobody_there_says_why);
  RUN(a_tunnel_is_its_logins);
  return http_suite_end();
}
