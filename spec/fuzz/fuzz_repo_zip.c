/*
** zstd and what is sealed in small files, fuzzed: no more comes out than may,
** both ways to unpack agree, and what is packed comes back.
*/
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "repository/unpacked.h"

#define REQUIRE(condition)                                            \
  do {                                                                \
    if (!(condition)) {                                               \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
      abort();                                                        \
    }                                                                 \
  } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const size_t most = (size_t)1 << 20;

static void unpack_it(repo_zip *z, const uint8_t *data, size_t size) {
  buffer b = BUFFER_EMPTY;
  error *e = repo_zip_unpack_all(z, data, size, most, &b);
  REQUIRE(b.capacity <= 4 * most);
  if (e == NULL) {
    char *out = malloc(b.size + 1);
    REQUIRE(b.size <= most);
    error *exact = repo_zip_unpack(z, data, size, out, b.size);
    REQUIRE(exact == NULL && memcmp(out, b.data, b.size) == 0);
    exact = repo_zip_unpack(z, data, size, out, b.size + 1);
    REQUIRE(exact != NULL && exact->code == SAROS_E_DAMAGED);
    error_unref(exact);
    free(out);
  } else {
    REQUIRE(e->code == SAROS_E_DAMAGED && b.size == 0);
    error_unref(e);
  }
  buffer_clear(&b);
  e = repo_unpacked_decode(z, data, size, most, &b);
  REQUIRE(e == NULL || e->code == SAROS_E_DAMAGED);
  error_unref(e);
  buffer_free(&b);
}

static void pack_it(repo_zip *z, const uint8_t *data, size_t size) {
  size_t used = repo_zip_bound(size);
  char *out = malloc(used), *back = malloc(size + 1);
  REQUIRE(repo_zip_pack(z, (repo_level)(size % 5), data, size, out, &used) ==
          NULL);
  REQUIRE(repo_zip_unpack(z, out, used, back, size) == NULL);
  REQUIRE(size == 0 || memcmp(back, data, size) == 0);
  free(out);
  free(back);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static repo_zip *z; /* used again, as it is by who has many files */
  if (z == NULL) z = repo_zip_new();
  REQUIRE(z != NULL);
  unpack_it(z, data, size);
  pack_it(z, data, size);
  return 0;
}
