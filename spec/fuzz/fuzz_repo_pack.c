/*
** A pack's header, fuzzed. The first byte says what the rest is: the end of a
** pack whose length comes first (even), or entries, which are sealed so that
** they come through (odd). What is taken adds up, and is written as the same
** bytes.
*/
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/base.h"
#include "repository/pack_parts.h"

#define REQUIRE(condition)                                            \
  do {                                                                \
    if (!(condition)) {                                               \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
      abort();                                                        \
    }                                                                 \
  } while (0)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static repo_sealer *sealer; /* of this input */

static void check(const repo_blob *blobs, size_t count, uint64_t whole) {
  uint64_t at = 0;
  REQUIRE(count > 0);
  for (size_t i = 0; i < count; i++) {
    REQUIRE(blobs[i].offset == at && blobs[i].length >= REPO_SEAL);
    REQUIRE(blobs[i].type == REPO_DATA || blobs[i].type == REPO_TREE);
    at += blobs[i].length;
  }
  REQUIRE(repo_pack_size(blobs, count) == whole);
}


static void read_end(const uint8_t *data, size_t size, uint64_t whole) {
  size_t need, count;
  repo_blob *blobs;
  error *e =
      repo_pack_read_header(sealer, data, size, whole, &need, &blobs, &count);
  if (e != NULL) {
    REQUIRE(e->code == SAROS_E_DAMAGED || e->code == SAROS_E_UNEXPECTED);
    REQUIRE(blobs == NULL && count == 0);
    error_unref(e);
  } else if (need > 0) {
    REQUIRE(need > size && need <= whole && need <= REPO_HEADER_MOST);
    REQUIRE(blobs == NULL && count == 0);
  } else {
    check(blobs, count, whole);
    mem_free(blobs);
  }
}


/* Blobs of 32 bytes each, if they are that small: then a pack is made. */
static void write_again(const repo_blob *blobs, size_t count,
                        const uint8_t *entries, size_t size) {
  repo_pack *p = repo_pack_new(blobs[0].type, REPO_PACK_LEAST);
  REQUIRE(p != NULL);
  error *e = NULL;
  for (size_t i = 0; e == NULL && i < count; i++) {
    repo_blob blob = blobs[i];
    if (blob.type != blobs[0].type || blob.length > 4096) break;
    void *room = repo_pack_room(p, blob.length);
    REQUIRE(room != NULL);
    memset(room, 0, blob.length);
    e = repo_pack_add(p, &blob);
    REQUIRE(e != NULL || blob.offset == blobs[i].offset);
  }
  REQUIRE(e == NULL);
  if (repo_pack_count(p) == count) {
    const void *data;
    size_t whole;
    repo_id id;
    uint8_t *plain = malloc(size);
    e = repo_pack_end(p, sealer, &data, &whole, &id);
    REQUIRE(plain != NULL && e == NULL);
    e = repo_unseal(sealer,
                    (const uint8_t *)data + whole - 4 - REPO_SEAL - size,
                    size + REPO_SEAL, plain);
    REQUIRE(e == NULL && memcmp(plain, entries, size) == 0);
    free(plain);
  }
  repo_pack_free(p);
}


static void read_entries(const uint8_t *entries, size_t size, uint64_t room) {
  size_t sealed = size + REPO_SEAL, need, count;
  repo_blob *blobs;
  uint8_t *end = malloc(sealed + 4);
  REQUIRE(end != NULL);
  error *e = repo_seal(sealer, entries, size, end);
  REQUIRE(e == NULL);
  for (size_t i = 0; i < 4; i++) end[sealed + i] = (uint8_t)(sealed >> 8 * i);
  uint64_t whole = room + sealed + 4;
  e = repo_pack_read_header(sealer, end, sealed + 4, whole, &need, &blobs,
                            &count);
  REQUIRE(need == 0);
  if (e == NULL) {
    check(blobs, count, whole);
    write_again(blobs, count, entries, size);
  }
  mem_free(blobs);
  error_unref(e);
  free(end);
}


/* What the entries say they are: so that more of them is taken. */
static uint64_t sum(const uint8_t *entries, size_t size) {
  uint64_t all = 0;
  for (size_t at = 0; size - at >= REPO_ENTRY_PLAIN;) {
    uint32_t length;
    size_t step = entries[at] & 2 ? REPO_ENTRY_PACKED : REPO_ENTRY_PLAIN;
    memcpy(&length, entries + at + 1, 4);
    all += length;
    if (size - at < step) break;
    at += step;
  }
  return all;
}


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const repo_key key = {{1, 2, 3}, {4, 5, 6}, {7, 8, 9}};
  uint64_t number, most = (uint64_t)1 << 62;
  error *e = NULL;
  if (size < 9) return 0;
  memcpy(&number, data + 1, 8);
  sealer = repo_sealer_new(&key, &e);
  REQUIRE(sealer != NULL);
  const uint8_t *rest = data + 9;
  size -= 9;
  if (data[0] % 2 == 0) {
    read_end(rest, size, number);
    read_end(rest, size, size);
  } else {
    read_entries(rest, size, number < most ? number : most);
    read_entries(rest, size, sum(rest, size));
  }
  repo_sealer_free(sealer);
  return 0;
}
