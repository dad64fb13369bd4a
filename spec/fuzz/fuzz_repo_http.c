/*
** The header of an answer, fuzzed: the first byte says what was asked, the rest
** is its lines. What is judged right keeps what a body is counted by.
*/
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/http_parts.h"

#define REQUIRE(condition)                                            \
  do {                                                                \
    if (!(condition)) {                                               \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
      abort();                                                        \
    }                                                                 \
  } while (0)

/* The module has the engine's table from Lua; nothing here uses it. */
__attribute__((weak)) const saros_api *saros_api_table;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_fields(const http_head *h) {
  http_answer a = {.fields = h};
  const char *name, *text;
  size_t n = 0;
  uint64_t seconds;
  int64_t date;
  while (http_answer_at(&a, n, &name, &text)) {
    REQUIRE(strpbrk(name, " \t\r\n:") == NULL && name[0] != '\0');
    REQUIRE(strpbrk(text, "\r\n") == NULL);
    REQUIRE(http_answer_field(&a, name) != NULL);
    n++;
  }
  REQUIRE(n <= HTTP_HEAD_FIELDS);
  http_answer_retry_after(&a, &seconds);
  http_answer_date(&a, &date);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static http_head h;
  if (size == 0) return 0;
  http_ask ask = {.ranged = data[0] & 1, .from = 10, .last = 19};
  const char *method = data[0] & 2 ? "HEAD" : "GET";
  if (data[0] & 4) ask.last = HTTP_UNKNOWN;
  const char *at = (const char *)data + 1, *end = (const char *)data + size;
  http_head_clear(&h);
  while (at < end) {
    const char *newline = memchr(at, '\n', (size_t)(end - at));
    const char *next = newline != NULL ? newline + 1 : end;
    if (http_head_line(&h, at, (size_t)(next - at)) != NULL) break;
    at = next;
    if (!h.whole) continue;
    http_frame f;
    check_fields(&h);
    if (http_head_judge(&h, method, &ask, &f) != NULL) continue;
    REQUIRE(h.status >= 200 && h.status <= 999);
    REQUIRE(f.length == HTTP_UNKNOWN || f.length <= INT64_MAX);
    REQUIRE(!(f.chunked && f.length != HTTP_UNKNOWN) || h.status == 206);
    if (h.status == 206) {
      REQUIRE(ask.ranged && f.from == 10 && f.last <= ask.last);
      REQUIRE(f.length == f.last - f.from + 1);
      REQUIRE(f.total == HTTP_UNKNOWN || f.total > f.last);
    }
  }
  char shown[80];
  char *url = mem_bytes(data + 1, size - 1);
  if (url != NULL) {
    const char *why;
    http_show_url(url, shown, sizeof shown);
    REQUIRE(text_is_utf8(shown, strlen(shown)) || strlen(shown) == 79);
    char *origin = http_origin_of(url, &why);
    if (origin != NULL) REQUIRE(strncmp(origin, "http", 4) == 0);
    mem_free(origin);
  }
  mem_free(url);
  return 0;
}
