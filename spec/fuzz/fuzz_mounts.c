/*
** The reader of the mount table, fuzzed: whatever it is given, a line is an
** entry that is whole or no entry; and what it decoded it decodes no further.
*/
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "vss/mounts.h"

#define REQUIRE(condition)                                            \
  do {                                                                \
    if (!(condition)) {                                               \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
      abort();                                                        \
    }                                                                 \
  } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  /* Exactly as long as it is, so that one byte too many is seen. */
  char *text = malloc(size > 0 ? size : 1);
  size_t lines = 0;
  REQUIRE(text != NULL);
  if (size > 0) memcpy(text, data, size);
  for (size_t i = 0; i < size; i++) lines += data[i] == '\n';
  mount_table *t = mount_table_parse(text, size);
  REQUIRE(t != NULL && t->count <= lines);
  for (size_t i = 0; i < t->count; i++) {
    const mount_entry *m = &t->items[i];
    REQUIRE(m->root != NULL && m->point != NULL && m->options != NULL);
    REQUIRE(m->type != NULL && m->source != NULL);
    REQUIRE(strlen(m->point) < size && strlen(m->options) < size);
    REQUIRE(mount_table_find(t, m->id) != NULL);
  }
  mount_table_free(t);
  free(text);
  return 0;
}
