/*
** What the suites about JSON share.
*/
#ifndef SAROS_JSON_CASE_H
#define SAROS_JSON_CASE_H

#include "base/json.h"
#include "base/memory.h"
#include "check.h"

static inline value *read_limited(const char *text, size_t size,
                                  const json_limits *limits) {
  error *e = NULL;
  /* Of exactly its size, so that a sanitizer sees a read behind the end. */
  char *exact = malloc(size > 0 ? size : 1);
  memcpy(exact, text, size);
  value *v = json_read(exact, size, limits, &e);
  free(exact);
  CHECK((v == NULL) == (e != NULL));
  if (e != NULL) printf("%s\n", e->message);
  error_unref(e);
  return v;
}

static inline value *read_text(const char *text) {
  return read_limited(text, strlen(text), NULL);
}

static inline char *write_text(const value *v, json_style style) {
  buffer b = BUFFER_EMPTY;
  json_write(&b, v, style);
  return buffer_take(&b);
}

/* Reads, and checks what it is written as. */
static inline void check_written(const char *text, const char *wanted) {
  value *v = read_text(text);
  CHECK(v != NULL);
  char *written = v != NULL ? write_text(v, JSON_COMPACT) : NULL;
  CHECK_TEXT(written, wanted);
  mem_free(written);
  value_free(v);
}

static inline void check_same(const char *text) {
  check_written(text, text);
}

static inline void check_refused(const char *text, size_t size,
                                 const char *wanted) {
  error *e = NULL;
  long before = mem_blocks();
  char *exact = text != NULL ? malloc(size > 0 ? size : 1) : NULL;
  if (size > 0) memcpy(exact, text, size);
  value *v = json_read(exact, size, NULL, &e);
  free(exact);
  CHECK(v == NULL);
  CHECK(e != NULL);
  value_free(v);
  if (e == NULL) return;
  CHECK_INT(e->code, SAROS_E_INVALIDARG);
  CHECK_TEXT(e->message, wanted);
  for (const char *c = e->message; *c != '\0'; c++)
    CHECK((unsigned char)*c >= ' ' && *c != 0x7F);
  error_unref(e);
  CHECK_INT(mem_blocks(), before);
}

#endif
