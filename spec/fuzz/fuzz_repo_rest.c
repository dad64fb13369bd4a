/*
** What a REST server says is in a folder, fuzzed: it ends, what it takes for
** well is JSON to the strict reader, too, and it finds no more than there is
** room for. And the same bytes as a location: what is shown of it has no
** password.
*/
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "repository/store/rest_parts.h"

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

static void as_list(const char *text, size_t size) {
  rest_found *all = NULL;
  size_t count = 0;
  error *e = repo_restful_read_list(text, size, &all, &count);
  REQUIRE(count <= size / 64); /* an id each */
  if (e == NULL) {
    error *strict = NULL;
    json_limits deep = {.depth = 1000};
    value *v = json_read(text, size, &deep, &strict);
    /* What is not needed is passed over, also when its name comes twice, or
       when it is a number that no double holds. */
    if (v != NULL)
      REQUIRE(v->type == VALUE_LIST && v->count >= count);
    else
      REQUIRE(strstr(strict->message, "not in this map yet") != NULL ||
              strstr(strict->message, "that fits a double") != NULL ||
              strict->code == SAROS_E_OUTOFMEMORY);
    error_unref(strict);
    value_free(v);
  }
  error_unref(e);
  mem_free(all);
}

static void as_location(const char *text, size_t size) {
  char location[300];
  error *e = NULL;
  snprintf(location, sizeof location, "rest:http://u:canary%.*s",
           (int)(size < 200 ? size : 200), text);
  repo_store *store = repo_store_rest(location, NULL, &e);
  bool echoed = strstr(location + 14 + 6, "canary") != NULL;
  const char *shown = store != NULL ? store->location : e->message;
  /* An @ behind the first slash is no user's any more. */
  if (!echoed && strcspn(location + 12, "@") < strcspn(location + 12, "/?#"))
    REQUIRE(strstr(shown, "canary") == NULL);
  error_unref(e);
  repo_store_close(store);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  char *text = malloc(size + 1);
  if (text == NULL) return 0;
  memcpy(text, data, size);
  text[size] = '\0';
  as_list(text, size);
  as_location(text, size);
  free(text);
  return 0;
}
