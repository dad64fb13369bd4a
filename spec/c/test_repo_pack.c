/*
** pack: what is written reads back; what is no header is refused, whatever it
** says.
**
** not under thread: it has one thread; ASan runs it
*/
#include <stdbool.h>
#include <stdint.h>

#include "base/base.h"
#include "check.h"
#include "repository/pack_parts.h"

static repo_sealer *sealer;
static uint64_t seed = 0x9E3779B97F4A7C15;

static uint64_t next(void) {
  seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
  return seed;
}


static bool is(error *e, uint32_t code) {
  bool same = e != NULL && e->code == code;
  if (e != NULL && !same) printf("%s\n", e->message);
  error_unref(e);
  return same;
}


static bool fine(error *e) {
  if (e != NULL) printf("%s\n", e->message);
  bool none = e == NULL;
  error_unref(e);
  return none;
}


/* A blob of so many random bytes, sealed into the pack. */
static error *add(repo_pack *p, repo_blob_type type, size_t size, bool packed,
                  repo_blob *blob) {
  uint8_t *plain = malloc(size + 1);
  for (size_t i = 0; i < size; i++) plain[i] = (uint8_t)next();
  memset(blob, 0, sizeof *blob);
  blob->type = (uint8_t)type;
  blob->length = (uint32_t)(size + REPO_SEAL);
  blob->plain_length = packed ? (uint32_t)size * 3 + 1 : 0;
  repo_pack_hash(p, plain, size, &blob->id);
  repo_id right;
  repo_id_of(&right, plain, size);
  CHECK(repo_id_equal(&right, &blob->id));
  void *room = repo_pack_room(p, size + REPO_SEAL);
  error *e =
      room != NULL ? repo_seal(sealer, plain, size, room) : error_no_memory();
  if (e == NULL) e = repo_pack_add(p, blob);
  free(plain);
  return e;
}


static error *read_end(const uint8_t *data, size_t whole, size_t size,
                       size_t *need, repo_blob **blobs, size_t *count) {
  uint8_t *end = malloc(size > 0 ? size : 1); /* a sanitizer sees its ends */
  memcpy(end, data + whole - size, size);
  error *e =
      repo_pack_read_header(sealer, end, size, whole, need, blobs, count);
  free(end);
  return e;
}


/* Reads it as a store would: the usual bit of the end, then what is needed. */
static error *read_back(const uint8_t *data, size_t whole, repo_blob **blobs,
                        size_t *count) {
  size_t size = whole < REPO_PACK_EAGER ? whole : REPO_PACK_EAGER, need;
  error *e = read_end(data, whole, size, &need, blobs, count);
  if (e != NULL || need == 0) return e;
  CHECK(need > size && need <= whole && *blobs == NULL);
  return read_end(data, whole, need, &need, blobs, count);
}


static void check_pack(repo_pack *p, repo_blob_type type, size_t blobs_wanted) {
  repo_blob *wrote = malloc(blobs_wanted * sizeof *wrote), *read;
  const void *data;
  size_t size, count, at = 0;
  repo_id id, right;
  for (size_t i = 0; i < blobs_wanted; i++) {
    CHECK(fine(add(p, type, next() % 3000, next() % 2, &wrote[i])));
    CHECK_INT(wrote[i].offset, at);
    at += wrote[i].length;
  }
  CHECK_INT(repo_pack_count(p), blobs_wanted);
  CHECK(fine(repo_pack_end(p, sealer, &data, &size, &id)));
  repo_id_of(&right, data, size);
  CHECK(repo_id_equal(&id, &right));
  CHECK_INT(size, repo_pack_size(wrote, blobs_wanted));
  CHECK_INT(size, repo_pack_size(repo_pack_blobs(p), blobs_wanted));
  CHECK(fine(read_back(data, size, &read, &count)));
  CHECK_INT(count, blobs_wanted);
  for (size_t i = 0; i < count && i < blobs_wanted; i++) {
    CHECK(repo_id_equal(&read[i].id, &wrote[i].id));
    CHECK_INT(read[i].type, wrote[i].type);
    CHECK_INT(read[i].offset, wrote[i].offset);
    CHECK_INT(read[i].length, wrote[i].length);
    CHECK_INT(read[i].plain_length, wrote[i].plain_length);
  }
  mem_free(read);
  CHECK(is(repo_pack_add(p, &wrote[0]), SAROS_E_UNEXPECTED));
  CHECK(repo_pack_room(p, 100) == NULL);
  CHECK(is(repo_pack_end(p, sealer, &data, &size, &id), SAROS_E_UNEXPECTED));
  free(wrote);
}


TEST(round_trips) {
  repo_pack *p = repo_pack_new(REPO_DATA, REPO_PACK_LEAST);
  CHECK(p != NULL);
  for (size_t blobs = 1; p != NULL && blobs < 40; blobs++) {
    check_pack(p, REPO_DATA, blobs);
    repo_pack_clear(p);
  }
  if (p != NULL) check_pack(p, REPO_DATA, 700);
  repo_pack_free(p);
  p = repo_pack_new(REPO_TREE, REPO_PACK_LEAST);
  if (p != NULL) check_pack(p, REPO_TREE, 15);
  repo_pack_free(p);
}


/* What was stored holds no memory that is cheap to get again. */
TEST(memory_is_let_go) {
  repo_pages p = {0};
  size_t size = (size_t)5 << 20;
  CHECK(repo_pages_grow(&p, size) && p.size >= size);
  memset(p.data, 1, size);
  CHECK(repo_pages_grow(&p, 2 * size) && p.size >= 2 * size);
  size_t ones = 0, zeros = 0;
  for (size_t i = 0; i < size; i++) ones += p.data[i] == 1;
  for (size_t i = size; i < p.size; i++) zeros += p.data[i] == 0;
  CHECK_INT(ones, size);
  CHECK_INT(zeros, p.size - size);
  repo_pages_let_go(&p, size - 65536);
  zeros = 0;
  for (size_t i = 0; i < size; i++) zeros += p.data[i] == 0;
  CHECK_INT(zeros, repo_pages_are_large() ? 65536 : 0);
  CHECK_INT(p.data[size - 65537], 1);
  CHECK(!repo_pages_grow(&p, SIZE_MAX));
  mem_fail_at(1);
  CHECK(!repo_pages_grow(&p, 4 * size));
  mem_fail_at(0);
  p.data[p.size - 1] = 1; /* it is as it was */
  repo_pages_free(&p);
  repo_pages_let_go(&p, 0);
  repo_pages_free(&p);
}


/* The smallest pack of the format's vectors, byte by byte. */
TEST(known_header) {
  static const uint8_t plain[] =
      "\x02\x34\x00\x00\x00\x0b\x00\x00\x00"
      "\x50\xbb\xd4\xce\x60\xbb\x82\x9e\x88\x3d\xbc\x0c\xa3\xd7\xac\x71"
      "\xe2\x50\x48\x8d\xe7\x6c\x87\xd7\x6b\x68\x40\x66\x81\x59\xce\x0d";
  repo_pack *p = repo_pack_new(REPO_DATA, REPO_PACK_LEAST);
  repo_blob blob = {.type = REPO_DATA, .length = 52, .plain_length = 11};
  const void *data;
  size_t size;
  repo_id id;
  uint8_t header[41];
  memcpy(blob.id.bytes, plain + 9, REPO_ID);
  memset(repo_pack_room(p, 52), 0, 52);
  CHECK(fine(repo_pack_add(p, &blob)));
  CHECK(fine(repo_pack_end(p, sealer, &data, &size, &id)));
  CHECK_INT(size, 129);
  CHECK(memcmp((const uint8_t *)data + 125, "\x49\0\0", 4) == 0);
  CHECK(fine(repo_unseal(sealer, (const uint8_t *)data + 52, 41 + 32, header)));
  CHECK(memcmp(header, plain, sizeof header) == 0);
  repo_pack_free(p);
}


TEST(full) {
  repo_pack *p = repo_pack_new(REPO_DATA, 100000);
  repo_blob blob;
  size_t blobs = 0;
  CHECK(!repo_pack_is_full(p));
  for (; !repo_pack_is_full(p) && blobs < 200; blobs++)
    CHECK(fine(add(p, REPO_DATA, 1000, false, &blob)));
  CHECK_INT(blobs, 94); /* of 1069, and 36 */
  repo_pack_free(p);
}


/* One blob that is larger than any pack should be. */
TEST(large_blob) {
  repo_pack *p = repo_pack_new(REPO_DATA, REPO_PACK_LEAST);
  repo_blob blob;
  CHECK(fine(add(p, REPO_DATA, 9 << 20, false, &blob)));
  CHECK(repo_pack_is_full(p));
  repo_pack_free(p);
}


TEST(refused) {
  repo_pack *p = repo_pack_new(REPO_DATA, REPO_PACK_LEAST);
  repo_blob blob = {.type = REPO_DATA, .length = 100};
  const void *data;
  size_t size;
  repo_id id;
  CHECK(is(repo_pack_end(p, sealer, &data, &size, &id), SAROS_E_UNEXPECTED));
  CHECK(is(repo_pack_add(p, &blob), SAROS_E_UNEXPECTED)); /* no room */
  CHECK(repo_pack_room(p, 99) != NULL);
  CHECK(is(repo_pack_add(p, &blob), SAROS_E_UNEXPECTED)); /* too little */
  blob.length = REPO_SEAL - 1;
  CHECK(is(repo_pack_add(p, &blob), SAROS_E_UNEXPECTED));
  blob.length = 99, blob.type = REPO_TREE;
  CHECK(is(repo_pack_add(p, &blob), SAROS_E_UNEXPECTED));
  CHECK(repo_pack_room(p, SIZE_MAX) == NULL);
  CHECK_INT(repo_pack_count(p), 0);
  repo_pack_free(p);
}


/* As many blobs as a header may have, and not one more. */
TEST(most_blobs) {
  repo_pack *p = repo_pack_new(REPO_DATA, REPO_PACK_MOST);
  repo_blob blob = {.type = REPO_DATA, .length = 32, .plain_length = 1}, *read;
  const void *data;
  size_t size, count = 0;
  repo_id id;
  while (!repo_pack_is_full(p) && count < 500000) {
    memset(repo_pack_room(p, 32), 0, 32);
    CHECK(repo_pack_add(p, &blob) == NULL);
    count++;
  }
  CHECK_INT(count, 409199); /* (16 MiB - 32) / 41 */
  CHECK(repo_pack_room(p, 32) != NULL);
  CHECK(is(repo_pack_add(p, &blob), SAROS_E_REFUSED));
  CHECK(fine(repo_pack_end(p, sealer, &data, &size, &id)));
  CHECK(fine(read_back(data, size, &read, &count)));
  CHECK_INT(count, 409199);
  mem_free(read);
  repo_pack_free(p);
}


/* Seals these entries behind `room` bytes, and reads them. */
static error *read_entries(const uint8_t *entries, size_t size, uint64_t room,
                           repo_blob **blobs, size_t *count) {
  size_t sealed = size + REPO_SEAL, need = 0;
  uint8_t *end = malloc(sealed + 4);
  error *e = repo_seal(sealer, entries, size, end);
  for (int i = 0; i < 4; i++)
    end[sealed + (size_t)i] = (uint8_t)(sealed >> 8 * i);
  if (e == NULL)
    e = repo_pack_read_header(sealer, end, sealed + 4, room + sealed + 4, &need,
                              blobs, count);
  CHECK_INT(need, 0);
  free(end);
  return e;
}


static void put_entry(uint8_t *to, uint8_t type, uint32_t length,
                      uint32_t plain) {
  memset(to, 0xAB, REPO_ENTRY_PACKED);
  to[0] = type;
  for (int i = 0; i < 4; i++) {
    to[1 + i] = (uint8_t)(length >> 8 * i);
    if (type & 2) to[5 + i] = (uint8_t)(plain >> 8 * i);
  }
}


TEST(hostile_entries) {
  static const struct {
    uint8_t type;
    uint32_t length, plain;
    size_t size;
    uint64_t room;
  } bad[] = {{4, 100, 0, 37, 100},
             {255, 100, 0, 37, 100},
             {0, 100, 0, 37, 99},
             {0, 100, 0, 37, 101},
             {0, 31, 0, 37, 31},
             {0, 0, 0, 37, 0},
             {2, 100, 0, 41, 100},
             {2, 100, 5, 40, 100},
             {2, 100, 5, 37, 100},
             {0, 100, 0, 36, 100},
             {0, 100, 0, 38, 100},
             {0, 100, 0, 41, 100},
             {0, UINT32_MAX, 0, 37, 100},
             {0, 100, 0, 37, (uint64_t)UINT32_MAX + 101},
             {0, 100, 0, 37, UINT64_MAX / 2}};
  repo_blob *blobs;
  size_t count;
  uint8_t entry[REPO_ENTRY_PACKED];
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    put_entry(entry, bad[i].type, bad[i].length, bad[i].plain);
    error *e = read_entries(entry, bad[i].size, bad[i].room, &blobs, &count);
    if (e == NULL) printf("entry %zu is taken\n", i);
    CHECK(is(e, SAROS_E_DAMAGED));
    CHECK(blobs == NULL && count == 0);
  }
  put_entry(entry, 3, 100, 7);
  CHECK(fine(read_entries(entry, 41, 100, &blobs, &count)));
  CHECK(count == 1 && blobs[0].type == REPO_TREE && blobs[0].length == 100 &&
        blobs[0].plain_length == 7);
  mem_free(blobs);
}


/* Lengths whose sum is right only when 32 or 64 bits overflow. */
TEST(overflowing_sums) {
  size_t n = 5;
  uint8_t entries[5 * REPO_ENTRY_PACKED];
  repo_blob *blobs;
  size_t count;
  for (size_t i = 0; i < n; i++)
    put_entry(entries + i * 37, 0, UINT32_C(0x80000000), 0);
  CHECK(is(read_entries(entries, 4 * 37, 0, &blobs, &count), SAROS_E_DAMAGED));
  CHECK(is(read_entries(entries, n * 37, (uint64_t)n << 31, &blobs, &count),
           SAROS_E_DAMAGED)); /* the third begins beyond 4 GiB */
  CHECK(fine(read_entries(entries, 2 * 37, (uint64_t)1 << 32, &blobs, &count)));
  CHECK(count == 2 && blobs[1].offset == UINT32_C(0x80000000));
  mem_free(blobs);
}


TEST(hostile_lengths) {
  static const uint32_t lengths[] = {
      0,   1,          31,         32,         68,        200,
      197, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x1000001, 0xFFFFFFFC};
  uint8_t end[200] = {0};
  repo_blob *blobs;
  size_t count, need;
  for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
    for (int k = 0; k < 4; k++) end[196 + k] = (uint8_t)(lengths[i] >> 8 * k);
    CHECK(is(read_end(end, 200, 200, &need, &blobs, &count), SAROS_E_DAMAGED));
    CHECK(is(read_end(end, 200, 4, &need, &blobs, &count), SAROS_E_DAMAGED));
  }
  /* As long as it may be: then that much is asked for. */
  memcpy(end + 196, "\x00\x00\x00\x01", 4);
  error *e = repo_pack_read_header(sealer, end, 200, (uint64_t)1 << 30, &need,
                                   &blobs, &count);
  CHECK(fine(e));
  CHECK_INT(need, REPO_HEADER_MOST);
  CHECK(
      fine(repo_pack_read_header(sealer, end, 3, 5000, &need, &blobs, &count)));
  CHECK_INT(need, REPO_PACK_EAGER);
  CHECK(is(repo_pack_read_header(sealer, end, 0, 104, &need, &blobs, &count),
           SAROS_E_DAMAGED));
  CHECK(is(repo_pack_read_header(sealer, end, 200, 199, &need, &blobs, &count),
           SAROS_E_UNEXPECTED));
}


/* Each bit of a small pack's end turned over, and each length of it. */
TEST(every_bit) {
  repo_pack *p = repo_pack_new(REPO_TREE, REPO_PACK_LEAST);
  const void *data;
  size_t size, count, need;
  repo_id id;
  repo_blob blob, *blobs;
  CHECK(fine(add(p, REPO_TREE, 20, true, &blob)));
  CHECK(fine(add(p, REPO_TREE, 30, false, &blob)));
  CHECK(fine(repo_pack_end(p, sealer, &data, &size, &id)));
  uint8_t *copy = malloc(size);
  memcpy(copy, data, size);
  size_t header = 52 + 62; /* where it begins: blobs are not looked at */
  for (size_t bit = header * 8; bit < size * 8; bit++) {
    copy[bit / 8] ^= (uint8_t)(1 << bit % 8);
    error *e = read_back(copy, size, &blobs, &count);
    CHECK(is(e, SAROS_E_DAMAGED));
    copy[bit / 8] ^= (uint8_t)(1 << bit % 8);
  }
  for (size_t cut = 1; cut < size; cut++) { /* it lost its end */
    error *e = read_back(copy, size - cut, &blobs, &count);
    CHECK(is(e, SAROS_E_DAMAGED));
  }
  for (size_t part = 0; part <= size; part++) {
    CHECK(fine(read_end(copy, size, part, &need, &blobs, &count)));
    CHECK((need == 0) == (count == 2));
    CHECK(need == 0 || (need > part && need <= size));
    mem_free(blobs);
  }
  free(copy);
  repo_pack_free(p);
}


/* Every request for memory fails once: an error, no leak, and it goes on. */
TEST(no_memory) {
  long before = mem_blocks();
  long left = 0;
  for (long n = 1; left == 0 && n < 100; n++) {
    const void *data;
    size_t size, count, need;
    repo_id id;
    repo_blob blob = {.length = 40}, *blobs = NULL;
    mem_fail_at(n);
    repo_pack *p = repo_pack_new(REPO_DATA, 500);
    error *e = p == NULL ? error_no_memory() : NULL;
    for (int i = 0; e == NULL && i < 70; i++) {
      void *room = repo_pack_room(p, 40);
      if (room == NULL)
        e = error_no_memory();
      else
        memset(room, 0, 40);
      if (e == NULL) e = repo_pack_add(p, &blob);
    }
    if (e == NULL) e = repo_pack_end(p, sealer, &data, &size, &id);
    if (e == NULL)
      e = repo_pack_read_header(sealer, data, size, size, &need, &blobs,
                                &count);
    left = mem_fail_left();
    mem_fail_at(0);
    if (left == 0) {
      CHECK(is(e, SAROS_E_OUTOFMEMORY));
      CHECK(blobs == NULL);
    } else {
      CHECK(fine(e));
      CHECK_INT(count, 70);
      CHECK(n > 5);
    }
    mem_free(blobs);
    repo_pack_free(p);
  }
  CHECK(left > 0);
  CHECK_INT(mem_blocks(), before);
}


int main(int argc, char **argv) {
  repo_key key;
  error *e = NULL;
  check_begin(argc, argv);
  for (size_t i = 0; i < sizeof key; i++)
    ((uint8_t *)&key)[i] = (uint8_t)next();
  sealer = repo_sealer_new(&key, &e);
  if (sealer == NULL) {
    printf("no sealer: %s\n", e->message);
    return 1;
  }
  RUN(round_trips);
  RUN(memory_is_let_go);
  RUN(known_header);
  RUN(full);
  RUN(large_blob);
  RUN(refused);
  RUN(most_blobs);
  RUN(hostile_entries);
  RUN(overflowing_sums);
  RUN(hostile_lengths);
  RUN(every_bit);
  RUN(no_memory);
  repo_sealer_free(sealer);
  return check_end();
}
