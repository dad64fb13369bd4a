/*
** What an S3 server answers, and what a row remembers of an upload: anything.
** Lists end, numbers stay within bounds, and what was read is written so that
** it is read again as the same.
*/
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bits/s3_upload.h"

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

static bool each(void *context, char *const *texts) {
  size_t *count = context;
  for (int i = 0; i < S3_XML_FIELDS; i++)
    if (texts[i] != NULL) REQUIRE(strlen(texts[i]) <= HTTP_XML_TEXT + 4);
  return ++*count < 100;
}

static void answer(const char *text, size_t size) {
  buffer b = {(char *)(uintptr_t)text, size, size, false};
  size_t count = 0;
  char called[64];
  s3_xml_list l = {.root = "L",
                   .record = "R",
                   .of_record = {"A", "B", "C", "D"},
                   .of_root = {"E", "F"},
                   .each = each,
                   .context = &count};
  if (s3_xml_read(&l, &b)) s3_xml_free(&l);
  REQUIRE(l.found[0] == NULL && l.found[1] == NULL && count <= size);
  mem_free(s3_xml_text(&b, "L", "A", called));
  REQUIRE(strlen(called) < sizeof called);
  http_problem p;
  http_problem_read(&p, text, size);
  REQUIRE(strlen(p.name) < sizeof p.name && strlen(p.region) < sizeof p.region);
}

static void row(const char *text) {
  bits_file f = {.url = (char *)(uintptr_t) "http://x/b/k"};
  bits_terms t = {0};
  s3_memory m, n;
  if (!s3_memory_read(&m, text)) return;
  REQUIRE(m.id == NULL || (m.count > 0 && m.count <= S3_PARTS));
  REQUIRE(m.intent_count <= S3_INTENTS && m.stale.count <= S3_OTHERS + 1);
  uint64_t all = 0;
  for (unsigned i = 0; m.id != NULL && i < m.count; i++)
    all += s3_memory_part(&m, i);
  REQUIRE(m.id == NULL || all == m.size);
  char *first = s3_memory_write(&m, &f, &t);
  REQUIRE(first != NULL && s3_memory_read(&n, first));
  char *second = s3_memory_write(&n, &f, &t);
  REQUIRE(second != NULL && strcmp(first, second) == 0);
  mem_free(first);
  mem_free(second);
  s3_memory_free(&m);
  s3_memory_free(&n);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  char *text = mem_bytes(data, size);
  if (text == NULL) return 0;
  answer(text, size);
  row(text);
  mem_free(text);
  return 0;
}
