/*
** An index file, fuzzed. What is taken of it is written, and reads back as an
** index of the same blobs, which is written as the same text.
*/
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "repository/crypto.h"
#include "repository/index.h"

#define REQUIRE(condition)                                            \
  do {                                                                \
    if (!(condition)) {                                               \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
      abort();                                                        \
    }                                                                 \
  } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

typedef struct copy {
  repo_index *x;
  repo_index_text text;
} copy;

static error *write_pack(void *context, const repo_id *pack,
                         const repo_blob *blobs, size_t count) {
  copy *c = context;
  repo_place place;
  for (size_t i = 0; i < count; i++) {
    REQUIRE(blobs[i].length >= REPO_SEAL);
    REQUIRE(i == 0 || blobs[i].offset >= blobs[i - 1].offset);
    REQUIRE(repo_index_find(c->x, blobs[i].type, &blobs[i].id, 0, &place));
    REQUIRE(!repo_index_claim(c->x, blobs[i].type, &blobs[i].id));
  }
  repo_index_text_add(&c->text, pack, blobs, count);
  return NULL;
}


static size_t write_all(repo_index *x, buffer *json) {
  copy c = {.x = x, .text = {.json = BUFFER_EMPTY}};
  REQUIRE(repo_index_packs(x, write_pack, &c) == NULL);
  repo_index_text_end(&c.text);
  REQUIRE(!c.text.json.failed);
  REQUIRE(c.text.blobs == repo_index_count(x));
  *json = c.text.json;
  return c.text.blobs;
}


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const repo_id file = {{0xAB}};
  repo_index *x = repo_index_new(), *y = repo_index_new();
  REQUIRE(x != NULL && y != NULL);
  error *e = repo_index_read(x, &file, (const char *)data, size);
  if (e != NULL) {
    REQUIRE(e->code == SAROS_E_DAMAGED);
    REQUIRE(strlen(e->message) < 200);
    error_unref(e);
  }
  buffer once, again;
  size_t blobs = write_all(x, &once);
  /* A blob cannot stand in the text in less than that. */
  REQUIRE(blobs <= size / 100);
  e = repo_index_read(y, &file, once.data, once.size);
  REQUIRE(e == NULL);
  REQUIRE(write_all(y, &again) == blobs);
  REQUIRE(again.size == once.size);
  REQUIRE(memcmp(again.data, once.data, once.size) == 0);
  buffer_free(&once);
  buffer_free(&again);
  repo_index_free(x);
  repo_index_free(y);
  return 0;
}
