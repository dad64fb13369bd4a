/*
** Patterns, fuzzed: the first line is a path, the others are a file of
** patterns. Whatever they are the answer comes, and it is the same from the
** same patterns added one by one.
*/
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "repository/exclude.h"

#define REQUIRE(condition)                                            \
  do {                                                                \
    if (!(condition)) {                                               \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
      abort();                                                        \
    }                                                                 \
  } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char *variable(void *context, const char *name) {
  (void)context;
  return *name == 'H' ? "/root" : NULL;
}

static void check_error(error *e) {
  size_t length = strlen(e->message);
  REQUIRE(e->code == SAROS_E_INVALIDARG);
  REQUIRE(text_is_utf8(e->message, length) && length < 2000);
  error_unref(e);
}

static bool ask(repo_exclude *x, const char *path, size_t size) {
  bool excluded = false;
  REQUIRE(repo_exclude_path(x, path, size, &excluded) == NULL);
  return excluded;
}

/* What is left out with one pattern alone is left out by the two lists. */
static void check_one(const char *path, size_t size, const char *pattern) {
  repo_exclude *x = repo_exclude_new(), *folded = repo_exclude_new();
  REQUIRE(x != NULL && folded != NULL);
  error *e = repo_exclude_pattern(x, pattern, false);
  error *f = repo_exclude_pattern(folded, pattern, true);
  if (e != NULL) check_error(e);
  if (f != NULL) check_error(f);
  ask(x, path, size);
  ask(folded, path, size);
  if (e == NULL && *pattern == '!') REQUIRE(!ask(x, path, size));
  repo_exclude_free(x);
  repo_exclude_free(folded);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  const char *text = (const char *)data;
  const char *end = size > 0 ? memchr(text, '\n', size) : NULL;
  size_t path_size = end != NULL ? (size_t)(end - text) : size;
  const char *rest = text + path_size + (end != NULL);
  size_t rest_size = size - path_size - (end != NULL);
  repo_exclude *x = repo_exclude_new();
  REQUIRE(x != NULL);
  for (int fold = 0; fold < 2; fold++) {
    error *e = repo_exclude_text(x, rest, rest_size, fold, variable, NULL);
    if (e != NULL) check_error(e);
  }
  bool first = ask(x, text, path_size);
  REQUIRE(ask(x, text, path_size) == first);
  repo_exclude_free(x);
  char *pattern = mem_bytes(rest, rest_size);
  REQUIRE(pattern != NULL);
  check_one(text, path_size, pattern);
  uint64_t n;
  (void)repo_exclude_read_size(pattern, &n);
  mem_free(pattern);
  return 0;
}
