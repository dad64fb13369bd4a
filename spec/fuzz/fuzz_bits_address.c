/*
** URLs and local names, fuzzed: what is taken is what libcurl, too, takes for
** it, and nothing secret is ever shown.
*/
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bits/address.h"
#include "http/http_parts.h"

#define REQUIRE(condition)                                            \
  do {                                                                \
    if (!(condition)) {                                               \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
      abort();                                                        \
    }                                                                 \
  } while (0)

__attribute__((weak)) const saros_api *saros_api_table;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CANARY "cAnArY"

static void require_showable(const char *text) {
  REQUIRE(text_is_utf8(text, strlen(text)));
  for (; *text != '\0'; text++)
    REQUIRE((unsigned char)*text >= ' ' && *text != 0x7F);
}

static char *show(const char *url) {
  buffer b = BUFFER_EMPTY;
  buffer_text(&b, "");
  bits_address_show(&b, url);
  char *shown = buffer_take(&b);
  REQUIRE(shown != NULL);
  require_showable(shown);
  return shown;
}

/* Also an error's sentence. */
static void require_hidden(const char *url) {
  char *shown = show(url);
  REQUIRE(strstr(shown, CANARY) == NULL);
  mem_free(shown);
  error *e = bits_address_check(url);
  if (e != NULL) REQUIRE(strstr(e->message, CANARY) == NULL);
  error_unref(e);
}

/* ------------------------------------------------------------------
** A URL as it comes
** ---------------------------------------------------------------- */

/* An address in numbers, which libcurl writes in its own way. */
static bool is_numeric(const char *origin) {
  const char *host = strstr(origin, "://") + 3;
  return *host == '[' || host[strspn(host, "0123456789abcdefx.")] == ':';
}

static void require_taken(const char *url) {
  const char *why;
  char *ours = bits_address_origin(url), *theirs = http_origin_of(url, &why);
  REQUIRE(strlen(url) <= BITS_URL_MOST && ours != NULL);
  REQUIRE(strchr(ours, '@') == NULL &&
          strpbrk(ours, "/?#") == ours + 5 + (ours[4] == 's'));
  /* Brackets around what is no address are for libcurl to find out. */
  if (!is_numeric(ours)) REQUIRE(theirs != NULL && strcmp(ours, theirs) == 0);
  mem_free(ours);
  mem_free(theirs);
}

static void require_replaced(const char *url) {
  size_t half = strlen(url) / 2;
  char *from = mem_bytes(url, half);
  bool no_memory;
  char *there = bits_address_replace(url, from, "http://x/", &no_memory);
  REQUIRE((there != NULL) == (half > 0) && !no_memory);
  if (there != NULL) {
    char *back = bits_address_replace(there, "http://x/", from, &no_memory);
    REQUIRE(back != NULL && strcmp(back, url) == 0);
    mem_free(back);
  }
  mem_free(there);
  mem_free(from);
}

static void one_url(const char *url) {
  error *e = bits_address_check(url);
  if (e == NULL) {
    require_taken(url);
  } else {
    require_showable(e->message);
  }
  error_unref(e);
  mem_free(show(url));
  require_replaced(url);
}

/* ------------------------------------------------------------------
** A secret in it
** ---------------------------------------------------------------- */

static void one_secret(uint8_t which, const char *text) {
  static const char *const before[] = {
      "X-Amz-Signature=", "sig=",    "access_token=",
      "api_key=",         "Policy=", "X%2damz%2DCredential=",
      "PASSWORD=",        "%6Bey="};
  buffer b = BUFFER_EMPTY;
  size_t at = strcspn(text, "|");
  if (strstr(text, CANARY) != NULL) return;
  if (which & 1) { /* behind a name, wherever that is in the query */
    buffer_text(&b, "http://h/p?");
    for (size_t i = 0; i < at; i++)
      buffer_byte(&b, strchr("&;#=", text[i]) != NULL ? '.' : text[i]);
    buffer_format(&b, "&%s%s", before[which / 2 % 8], CANARY);
  } else { /* before an @ of the authority */
    buffer_text(&b, which & 2 ? "https://" : "http://");
    for (size_t i = 0; i < at; i++)
      buffer_byte(&b, strchr("/?#", text[i]) != NULL ? '.' : text[i]);
    buffer_format(&b, "%s@h/", CANARY);
  }
  if (text[at] != '\0') {
    if (which & 1) buffer_byte(&b, '&');
    buffer_text(&b, text + at + 1);
  }
  REQUIRE(!b.failed);
  require_hidden(b.data);
  buffer_free(&b);
}

/* ------------------------------------------------------------------
** A local name
** ---------------------------------------------------------------- */

static void one_path(const char *path) {
  error *e = bits_address_check_path(path);
  if (e == NULL) {
    REQUIRE(path[0] == '/' && path[strlen(path) - 1] != '/');
    REQUIRE(strstr(path, "/../") == NULL);
    size_t size;
    const char *base = path_base(path, &size);
    REQUIRE(size > 0 && size <= 255 && strcmp(base, "..") != 0);
  } else {
    require_showable(e->message);
  }
  error_unref(e);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 2) return 0;
  char *text = mem_bytes(data + 2, size - 2);
  if (text == NULL) return 0;
  switch (data[0] % 3) {
    case 0: one_url(text); break;
    case 1: one_secret(data[1], text); break;
    default: one_path(text);
  }
  mem_free(text);
  return 0;
}
