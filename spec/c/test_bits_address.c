/*
** URLs and local names: what is taken, what is not, and that nothing secret is
** shown of either.
*/
#include <errno.h>

#include "bits/address.h"
#include "bits/codes.h"
#include "check.h"

__attribute__((weak)) const saros_api *saros_api_table;

/* Taken; else the code, and the sentence says `why` and not "canary". */
static void check_url(const char *url, uint32_t code, const char *why) {
  error *e = bits_address_check(url);
  if ((e == NULL) != (code == 0)) printf("%s\n", url);
  CHECK((e == NULL) == (code == 0));
  if (e == NULL) return;
  CHECK_INT(e->code, code);
  CHECK(e->facade == SAROS_FACADE_BITS);
  if (strstr(e->message, why) == NULL) printf("%s\n", e->message);
  CHECK(strstr(e->message, why) != NULL);
  CHECK(strstr(e->message, "canary") == NULL);
  error_unref(e);
}

TEST(urls_that_are_taken) {
  static const char *const right[] = {
      "http://h",
      "http://h/",
      "HTTPS://H.example:8443/a/b?c=d&e=%20%7f",
      "http://127.0.0.1:1/~user/a,b;c=(1)*!$'",
      "http://[::1]:65535/x",
      "http://[fe80::1.2.3.4]/",
      "http://h:/empty-port",
      "http://h?q",
      "http://h/a#fragment",
      "http://user-not.example/a@b:c",
      "https://h/?X-Amz-Signature=canary",
  };
  for (size_t i = 0; i < sizeof right / sizeof right[0]; i++)
    check_url(right[i], 0, "");
}

TEST(urls_that_are_not) {
  static const struct {
    const char *url, *why;
  } wrong[] = {
      {"", "no URL"},
      {"h", "neither http"},
      {"/etc/passwd", "neither http"},
      {"ftp://h/", "neither http"},
      {"file:///etc/passwd", "neither http"},
      {"http:/h/", "neither http"},
      {"http//h", "neither http"},
      {" http://h/", "neither http"},
      {"http://", "no host"},
      {"http:///a", "no host"},
      {"http://:80/", "no host"},
      {"http://?a", "no host"},
      {"http://u:canary@h/", "user or a password"},
      {"http://canary@h/", "user or a password"},
      {"http://h:canary@/", "user or a password"},
      {"http://h:0/", "port"},
      {"http://h:65536/", "port"},
      {"http://h:99999999999999999999/", "port"},
      {"http://h:8a/", "port"},
      {"http://h:-1/", "port"},
      {"http://[::1/", "no address"},
      {"http://[]/", "no address"},
      {"http://[::1]x/", "no address"},
      {"http://[::g]/", "no address"},
      {"http://a b/", "in its host"},
      {"http://h\\evil/", "in its host"},
      {"http://h%41/", "in its host"},
      {"http://\xC3\xA4/", "in its host"},
      {"http://h/a b", "escaped"},
      {"http://h/a\r\nX: y", "escaped"},
      {"http://h/\x01", "escaped"},
      {"http://h/\x7F", "escaped"},
      {"http://h/\xC3\xA4", "escaped"},
      {"http://h/a\"b", "escaped"},
      {"http://h/<a>", "escaped"},
      {"http://h/a\\b", "escaped"},
      {"http://h/{a}|^`", "escaped"},
      {"http://h/[a]", "escaped"},
      {"http://h/%", "two hex"},
      {"http://h/%4", "two hex"},
      {"http://h/%4g", "two hex"},
      {"http://h/a b?token=canary", "escaped"},
  };
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
    check_url(wrong[i].url, SAROS_E_INVALIDARG, wrong[i].why);
  check_url(NULL, SAROS_E_INVALIDARG, "no URL");
}

TEST(a_url_has_a_bound) {
  char url[BITS_URL_MOST + 2];
  memset(url, 'a', sizeof url);
  memcpy(url, "http://h/", 9);
  url[BITS_URL_MOST] = '\0';
  check_url(url, 0, "");
  url[BITS_URL_MOST] = 'a';
  url[BITS_URL_MOST + 1] = '\0';
  check_url(url, BG_E_STRING_TOO_LONG, "longer than 2200");
}

/* ------------------------------------------------------------------
** Shown
** ---------------------------------------------------------------- */

static void check_shown(const char *url, const char *right) {
  buffer b = BUFFER_EMPTY;
  buffer_text(&b, "<");
  bits_address_show(&b, url);
  CHECK(b.data[0] == '<');
  CHECK_TEXT(b.data + 1, right);
  buffer_free(&b);
}

TEST(what_is_no_secret_is_shown) {
  check_shown("http://h/a/b.iso", "http://h/a/b.iso");
  check_shown("http://h/a?size=9&name=x.tar", "http://h/a?size=9&name=x.tar");
  check_shown("http://h/a?v=1;w=2", "http://h/a?v=1;w=2");
  check_shown("http://h/a?list", "http://h/a?list");
  check_shown("http://h/a?", "http://h/a?");
  check_shown("http://h/a?=&&b=", "http://h/a?=&&b=");
  check_shown("http://h/a?token=", "http://h/a?token=");
  check_shown("http://h/\x1b[1m\n", "http://h/\\x1b[1m\\n");
}

TEST(what_is_secret_is_not) {
  static const char *const names[] = {
      "X-Amz-Signature",
      "x-amz-security-token",
      "X-Amz-Credential",
      "X-Goog-Signature",
      "X%2DAmz%2DSignature",
      "%74oken",
      "sig",
      "Signature",
      "token",
      "access_token",
      "AWSAccessKeyId",
      "key",
      "api_key",
      "apikey",
      "password",
      "passwd",
      "pwd",
      "auth",
      "jwt",
      "Policy",
      "Key-Pair-Id",
      "hdnts",
      "hmac",
      "session",
      "md5",
      "client_secret",
  };
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    char url[200], right[200];
    snprintf(url, sizeof url, "http://h/a?b=1&%s=canary&c=2", names[i]);
    snprintf(right, sizeof right, "http://h/a?b=1&%s=…&c=2", names[i]);
    check_shown(url, right);
  }
  check_shown("http://u:canary@h/a", "http://h/a");
  check_shown("http://u@canary@h/a", "http://h/a");
  check_shown("http:/u:canary@h/a", "http:/h/a");
  check_shown("//u:canary@h/a", "//h/a");
  check_shown("http:\\\\u:canary@h/a", "http:h/a");
  check_shown("/a?token=canary://x", "/a?token=…");
  check_shown("http://h/a#access_token=canary", "http://h/a");
  check_shown("http://h/a?b=1#canary", "http://h/a?b=1");
  check_shown("http://h/a?token=canary?x=/y", "http://h/a?token=…");
  check_shown("http://h/a?canarycanarycanary", "http://h/a?…");
  check_shown("http://h/a?x=canarycanarycanarycanarycanary0123",
              "http://h/a?x=…");
}

/* ------------------------------------------------------------------
** Origins and prefixes
** ---------------------------------------------------------------- */

TEST(an_origin_is_a_scheme_a_host_and_a_port) {
  static const struct {
    const char *url, *origin;
  } rows[] = {
      {"http://H.Example/a?b", "http://h.example:80"},
      {"HTTPS://h", "https://h:443"},
      {"https://h:8443/", "https://h:8443"},
      {"http://h:0080/", "http://h:80"},
      {"http://h:/", "http://h:80"},
      {"http://[::A]:9/", "http://[::a]:9"},
      {"http://h?x@y", "http://h:80"},
  };
  for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
    char *origin = bits_address_origin(rows[i].url);
    CHECK_TEXT(origin, rows[i].origin);
    mem_free(origin);
  }
  CHECK(bits_address_origin("ftp://h/") == NULL);
  CHECK(bits_address_origin("http://a@h/") == NULL);
  CHECK(bits_address_origin(NULL) == NULL);
  mem_fail_at(1);
  CHECK(bits_address_origin("http://h/") == NULL);
  mem_fail_at(0);
}

TEST(a_prefix_is_replaced) {
  bool no_memory = true;
  char *url = bits_address_replace("http://a/x/y", "http://a/", "https://b/",
                                   &no_memory);
  CHECK_TEXT(url, "https://b/x/y");
  CHECK(!no_memory);
  mem_free(url);
  url = bits_address_replace("http://a", "http://a", "", &no_memory);
  CHECK_TEXT(url != NULL ? url : "", "");
  mem_free(url);
  CHECK(bits_address_replace("http://a/", "http://b/", "x", &no_memory) ==
        NULL);
  CHECK(!no_memory);
  CHECK(bits_address_replace("http://a", "http://a/", "x", &no_memory) == NULL);
  CHECK(bits_address_replace("http://a", "", "x", &no_memory) == NULL);
  CHECK(!no_memory);
  mem_fail_at(1);
  CHECK(bits_address_replace("http://a/", "http://", "x", &no_memory) == NULL);
  CHECK(no_memory);
  mem_fail_at(0);
}

/* ------------------------------------------------------------------
** Local names
** ---------------------------------------------------------------- */

static void check_name(const char *path, uint32_t code, const char *why) {
  error *e = bits_address_check_path(path);
  if ((e == NULL) != (code == 0)) printf("%s\n", path);
  CHECK((e == NULL) == (code == 0));
  if (e == NULL) return;
  CHECK_INT(e->code, code);
  if (strstr(e->message, why) == NULL) printf("%s\n", e->message);
  CHECK(strstr(e->message, why) != NULL);
  CHECK(strchr(e->message, '\033') == NULL);
  error_unref(e);
}

TEST(local_names) {
  check_name("/a", 0, "");
  check_name("/a/b..c/..d/e..", 0, "");
  check_name("/a//b/./c", 0, "");
  check_name("/tmp/\xFF\xFE\n", 0, "");
  check_name(NULL, SAROS_E_INVALIDARG, "no local name");
  check_name("", SAROS_E_INVALIDARG, "no local name");
  check_name("a", SAROS_E_INVALIDARG, "at the root");
  check_name("./a", SAROS_E_INVALIDARG, "at the root");
  check_name("~/a", SAROS_E_INVALIDARG, "at the root");
  check_name("/", SAROS_E_INVALIDARG, "ends with a slash");
  check_name("/a/", SAROS_E_INVALIDARG, "ends with a slash");
  check_name("/a/.", SAROS_E_INVALIDARG, "a directory");
  check_name("/..", SAROS_E_INVALIDARG, "\"..\"");
  check_name("/a/../b", SAROS_E_INVALIDARG, "\"..\"");
  check_name("/a/..", SAROS_E_INVALIDARG, "\"..\"");
  check_name("/\033[31m/../a", SAROS_E_INVALIDARG, "\"..\"");
}

TEST(local_names_have_bounds) {
  char path[5000] = "/";
  memset(path + 1, 'a', 255);
  path[256] = '\0';
  check_name(path, 0, "");
  path[256] = 'a';
  path[257] = '\0';
  check_name(path, BG_E_STRING_TOO_LONG, "last part is too long");
  strcpy(path + 257, "/b");
  check_name(path, BG_E_STRING_TOO_LONG, "part of it is too long");
  for (size_t i = 0; i < sizeof path - 1; i++) path[i] = i % 100 ? 'a' : '/';
  path[4095] = '\0';
  check_name(path, 0, "");
  path[4095] = 'a';
  path[4096] = '\0';
  check_name(path, BG_E_STRING_TOO_LONG, "too long");
}

TEST(no_memory_is_said) {
  for (long n = 1; n < 20; n++) {
    long before = mem_blocks();
    mem_fail_at(n);
    error *e = n % 2 ? bits_address_check("http://h/a b")
                     : bits_address_check_path("/..");
    CHECK(e != NULL);
    error_unref(e);
    mem_fail_at(0);
    CHECK_INT(mem_blocks(), before);
  }
}

int main(int argc, char **argv) {
  check_begin(argc, argv);
  RUN(urls_that_are_taken);
  RUN(urls_that_are_not);
  RUN(a_url_has_a_bound);
  RUN(what_is_no_secret_is_shown);
  RUN(what_is_secret_is_not);
  RUN(an_origin_is_a_scheme_a_host_and_a_port);
  RUN(a_prefix_is_replaced);
  RUN(local_names);
  RUN(local_names_have_bounds);
  RUN(no_memory_is_said);
  return check_end();
}
