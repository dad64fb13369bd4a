/*
** chunker: the vectors of the format, and that all forms cut where the
** definition does.
**
** not under valgrind: it cuts hundreds of megabytes; ASan runs it
** not under thread: it has one thread; ASan runs it
*/
#include <stdbool.h>
#include <stdint.h>

#include "base/base.h"
#include "check.h"
#include "repository/chunker_parts.h"
#include "repository/id.h"

#define USUAL 0x3DA3358B4DC173
#define FIXTURE 0x3ff2f8c92e3f5b
#define MIB ((size_t)1 << 20)

/* The stream of the vectors: SHA-256 of 0, 1, 2, … as 64-bit numbers. */
static uint8_t *hash_stream(size_t size) {
  uint8_t *s = malloc(size);
  for (uint64_t i = 0; s != NULL && i < size / REPO_ID; i++) {
    repo_id id;
    repo_id_of(&id, &i, sizeof i); /* this machine is little-endian */
    memcpy(s + i * REPO_ID, id.bytes, REPO_ID);
  }
  return s;
}


static uint64_t seed = 88172645463325252u;

static uint64_t next(void) {
  seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
  return seed;
}


/* The definition: a ring of 64 bytes, reset to a 1 that slides out. Its tables
   are made here, bit by bit, from the polynomial alone. */
typedef struct literal {
  uint64_t out[256], mod[256];
} literal;

static uint64_t reduce_shift(uint64_t d, int bits, uint64_t p) {
  while (bits-- > 0) {
    d <<= 1;
    if (d >> 53 & 1) d ^= p;
  }
  return d;
}


static void literal_make(literal *l, uint64_t p) {
  for (uint64_t b = 0; b < 256; b++) {
    l->out[b] = reduce_shift(b, 8 * 63, p);
    l->mod[b] = reduce_shift(b, 53, p) | b << 53;
  }
}


/* As a scan: the first n of from..to that cuts; the chunk begins at 0. */
static size_t literal_scan(const literal *l, const uint8_t *data, size_t from,
                           size_t to) {
  uint8_t window[64] = {1};
  size_t place = 1;
  uint64_t d = 1;
  for (size_t n = from - 64; n < to;) {
    uint8_t b = data[n++];
    d ^= l->out[window[place]];
    window[place] = b;
    place = (place + 1) % 64;
    d = (d << 8 | b) ^ l->mod[d >> 45];
    if (n >= from && (d & 0xFFFFF) == 0) return n;
  }
  return 0;
}


static size_t literal_cut(const literal *l, const uint8_t *data, size_t size) {
  size_t most = size < REPO_CHUNK_MOST ? size : REPO_CHUNK_MOST;
  if (most <= REPO_CHUNK_LEAST) return most;
  size_t n = literal_scan(l, data, REPO_CHUNK_LEAST, most);
  return n > 0 ? n : most;
}


/* All cuts of the data, and those of every form. Returns how many. */
static size_t compare_cuts(uint64_t p, const uint8_t *data, size_t size) {
  literal l;
  size_t cuts = 0, forms, bad = 0;
  const repo_chunker_form *form = repo_chunker_forms(&forms);
  repo_chunker *c = repo_chunker_new(p);
  literal_make(&l, p);
  CHECK(c != NULL);
  for (size_t at = 0; c != NULL && at < size; cuts++) {
    size_t length = literal_cut(&l, data + at, size - at);
    for (size_t f = 0; f < forms; f++) {
      c->scan = form[f].scan;
      size_t found = repo_chunker_cut(c, data + at, size - at, true);
      if (found == length || bad++ > 10) continue;
      printf("%s cuts at %zu + %zu, not %zu\n", form[f].name, at, found,
             length);
    }
    at += length;
  }
  CHECK(bad == 0);
  repo_chunker_free(c);
  return cuts;
}


TEST(tables) {
  repo_chunker *c = repo_chunker_new(USUAL);
  CHECK(c != NULL);
  if (c == NULL) return;
  CHECK(c->append[1] == 0x3da3358b4dc173);
  CHECK(c->append[2] == 0x46e55e9dd64395);
  CHECK(c->append[255] == 0x1ff7ac8a5af476a7);
  literal l;
  literal_make(&l, USUAL);
  CHECK(l.out[1] == 0x17eb4232e19216);
  CHECK(l.out[2] == 0x1275b1ee8ee55f);
  CHECK(l.out[255] == 0x0b80b98cecc39a);
  for (int b = 0; b < 256; b++) { /* a byte later than those */
    uint64_t d = l.out[b];
    CHECK(c->remove[b] == (d << 8 ^ c->append[d >> 45]));
  }
  uint64_t d = 0;
  for (uint64_t b = 0; b < 64; b++) d = (d << 8 | b) ^ c->append[d >> 45];
  CHECK(d == 0x44b76cac5cee3);
  repo_chunker_free(c);
}


TEST(known_cuts) {
  static const size_t lengths[] = {
      1015968, 1087132, 693439,  2344058, 903280,  1709091, 1791277,
      1802453, 1190352, 528291,  868679,  1105126, 1847403, 1069115,
      789535,  691238,  1662910, 569729,  3507138, 2066827, 599745,
      617098,  2039634, 658998,  1328800, 1067116};
  uint8_t *s = hash_stream(32 * MIB);
  repo_chunker *c = repo_chunker_new(USUAL), *d = repo_chunker_new(FIXTURE);
  size_t at = 0;
  CHECK(s != NULL && c != NULL && d != NULL);
  if (s != NULL && c != NULL && d != NULL) {
    for (size_t i = 0; i < sizeof lengths / sizeof lengths[0]; i++) {
      CHECK_INT(repo_chunker_cut(c, s + at, 32 * MIB - at, true), lengths[i]);
      at += lengths[i];
    }
    CHECK_INT(at, 32 * MIB);
    CHECK_INT(repo_chunker_cut(d, s, 3 * MIB, true), 2033988);
    CHECK_INT(repo_chunker_cut(d, s + 2033988, 3 * MIB - 2033988, true),
              1111740);
    CHECK_INT(compare_cuts(USUAL, s, 32 * MIB), 26);
  }
  repo_chunker_free(c);
  repo_chunker_free(d);
  free(s);
}


TEST(zeros) {
  uint8_t *s = calloc(1, 2 * MIB);
  CHECK(s != NULL && compare_cuts(FIXTURE, s, 2 * MIB) == 4);
  free(s);
}


/* Bytes that never cut: the longest chunk, with and without an end. */
TEST(longest) {
  size_t size = 20 * MIB;
  uint8_t *s = malloc(size);
  repo_chunker *c = repo_chunker_new(USUAL);
  CHECK(s != NULL && c != NULL);
  if (s != NULL && c != NULL) {
    memset(s, 0x5A, size);
    CHECK_INT(repo_chunker_cut(c, s, size, false), REPO_CHUNK_MOST);
    CHECK_INT(repo_chunker_cut(c, s, REPO_CHUNK_MOST, false), REPO_CHUNK_MOST);
    CHECK_INT(repo_chunker_cut(c, s, REPO_CHUNK_MOST - 1, true),
              REPO_CHUNK_MOST - 1);
    CHECK_INT(compare_cuts(USUAL, s, size), 3);
  }
  repo_chunker_free(c);
  free(s);
}


TEST(short_files) {
  static const uint8_t none[1] = {0};
  repo_chunker *c = repo_chunker_new(USUAL);
  uint8_t *s = calloc(1, REPO_CHUNK_LEAST + 2);
  CHECK(c != NULL && s != NULL);
  if (c != NULL && s != NULL) {
    CHECK_INT(repo_chunker_cut(c, none, 0, true), 0);
    CHECK_INT(repo_chunker_cut(c, none, 1, true), 1);
    for (size_t n = REPO_CHUNK_LEAST - 2; n <= REPO_CHUNK_LEAST; n++)
      CHECK_INT(repo_chunker_cut(c, s, n, true), n);
    CHECK_INT(repo_chunker_cut(c, s, REPO_CHUNK_LEAST + 1, true),
              REPO_CHUNK_LEAST);
  }
  repo_chunker_free(c);
  free(s);
}


static void fill_random(uint8_t *s, size_t size) {
  for (size_t i = 0; i + 8 <= size; i += 8) {
    uint64_t x = next();
    memcpy(s + i, &x, 8);
  }
}


static void fill_text(uint8_t *s, size_t size) {
  static const char *const words[] = {"the ",  "shadow ", "of\n",   "Moon, ",
                                      "a ",    "saros ",  "ends; ", "again ",
                                      "light", "0x1f "};
  size_t at = 0;
  while (at < size) {
    const char *w = words[next() % 10];
    size_t length = strlen(w);
    if (length > size - at) length = size - at;
    memcpy(s + at, w, length);
    at += length;
  }
}


/* Pages of 8 KiB, filled from the front: runs of zeros, often aligned. */
static void fill_pages(uint8_t *s, size_t size) {
  memset(s, 0, size);
  for (size_t at = 0; at + 8192 <= size; at += 8192)
    fill_random(s + at, next() % 8192);
}


/* Small blocks of nothing, noise and text: many cuts close together. */
static void fill_patches(uint8_t *s, size_t size) {
  memset(s, 0, size);
  for (size_t at = 0; at < size;) {
    size_t length = 1 + next() % 200000;
    if (length > size - at) length = size - at;
    uint64_t kind = next() % 3;
    if (kind == 0) fill_random(s + at, length);
    if (kind == 1) fill_text(s + at, length);
    at += length;
  }
}


/* More than 64 MiB of each kind of data, beginning at any alignment. */
TEST(all_forms_cut_alike) {
  static void (*const fills[])(uint8_t *, size_t) = {fill_random, fill_text,
                                                     fill_pages, fill_patches};
  size_t size = (getenv("SAROS_QUICK") != NULL ? 6 : 24) * MIB;
  uint8_t *s = malloc(size);
  CHECK(s != NULL);
  for (size_t k = 0; s != NULL && k < 4; k++) {
    uint64_t p = k % 2 == 0 ? USUAL : FIXTURE;
    fills[k](s, size);
    size_t skip = next() % 64, cut = next() % 5000;
    CHECK(compare_cuts(p, s + skip, size - skip - cut) > 2);
  }
  free(s);
}


/* Every form as a scan, over all alignments and ends of a small area that cuts
   here and there: it must find the first place, and read nothing beyond. */
TEST(all_ends_and_alignments) {
  size_t forms, area = 40000, bad = 0;
  const repo_chunker_form *form = repo_chunker_forms(&forms);
  repo_chunker *c = repo_chunker_new(USUAL);
  literal l;
  literal_make(&l, USUAL);
  CHECK(c != NULL);
  for (int round = 0; c != NULL && round < 1500; round++) {
    size_t from = 64 + next() % 65, to = from + next() % area;
    if (round < 300) to = from + (size_t)round;
    uint8_t *s = malloc(to + 1); /* of exactly its size, for a sanitizer */
    if (s == NULL) break;
    memset(s, 0, to);
    for (size_t i = 0; i < to; i++) s[i] = (uint8_t)next();
    if (to - from > 100) /* 64 zeros cut; a few of them, anywhere */
      for (uint64_t holes = next() % 4; holes > 0; holes--)
        memset(s + next() % (to - 63), 0, 64);
    size_t first = literal_scan(&l, s, from, to);
    for (size_t f = 0; f < forms; f++)
      if (form[f].scan(c, s, from, to) != first && bad++ < 10)
        printf("%s: %zu..%zu has %zu, not %zu\n", form[f].name, from, to,
               form[f].scan(c, s, from, to), first);
    free(s);
  }
  CHECK(bad == 0);
  repo_chunker_free(c);
}


/* A hole at each place in turn, with a later one behind it. */
TEST(every_place_is_looked_at) {
  size_t forms, bad = 0, size = 64 * 64 * 17 + 9000;
  const repo_chunker_form *form = repo_chunker_forms(&forms);
  repo_chunker *c = repo_chunker_new(USUAL);
  uint8_t *s = malloc(size), *noise = malloc(size);
  CHECK(c != NULL && s != NULL && noise != NULL);
  if (c != NULL && s != NULL && noise != NULL) {
    for (size_t i = 0; i < size; i++) noise[i] = (uint8_t)(next() | 1);
    memcpy(s, noise, size);
    for (size_t at = 64; at + 128 <= size; at += 1 + next() % 60) {
      memset(s + at, 0, 64);
      memset(s + size - 64, 0, 64);
      for (size_t f = 0; f < forms; f++) {
        size_t found = form[f].scan(c, s, 64, size);
        if (found != at + 64 && bad++ < 10)
          printf("%s: %zu, not %zu\n", form[f].name, found, at + 64);
      }
      memcpy(s + at, noise + at, 64);
    }
    CHECK(bad == 0);
  }
  repo_chunker_free(c);
  free(s);
  free(noise);
}


TEST(forms_of_this_machine) {
  size_t forms;
  const repo_chunker_form *form = repo_chunker_forms(&forms);
  CHECK_TEXT(form[forms - 1].name, "one");
  if (strcmp(form[0].name, "sliced") != 0)
    SKIP("this processor lacks GFNI or AVX-512: the sliced form is not tested");
}


TEST(polynomials) {
  CHECK(repo_polynomial_irreducible(USUAL));
  CHECK(repo_polynomial_irreducible(FIXTURE));
  CHECK(!repo_polynomial_irreducible(0));
  CHECK(!repo_polynomial_irreducible(1));
  CHECK(!repo_polynomial_irreducible((uint64_t)1 << 53));
  CHECK(!repo_polynomial_irreducible(USUAL ^ 1));
  CHECK(!repo_polynomial_irreducible(USUAL | (uint64_t)1 << 54));
  CHECK(!repo_polynomial_irreducible(USUAL & ~((uint64_t)1 << 53)));
  CHECK(!repo_polynomial_irreducible(UINT64_MAX));
  /* A product of two of degrees 26 and 27, the hardest to tell. */
  uint64_t product = 0, a = ((uint64_t)1 << 26) + 71,
           b = ((uint64_t)1 << 27) + 39;
  for (int i = 0; i < 28; i++)
    if (b >> i & 1) product ^= a << i;
  CHECK(product >> 53 == 1);
  CHECK(!repo_polynomial_irreducible(product));
  /* About one in 53 is irreducible, one in 27 of those with a constant. */
  int found = 0;
  for (int i = 0; i < 5300; i++)
    found += repo_polynomial_irreducible((next() & (((uint64_t)1 << 54) - 1)) |
                                         (uint64_t)1 << 53 | 1);
  CHECK(found > 100 && found < 320);
}


TEST(random_polynomial) {
  uint64_t p = 0, q = 0;
  CHECK(repo_polynomial_random(&p) == NULL);
  CHECK(repo_polynomial_random(&q) == NULL);
  CHECK(p != q);
  CHECK(repo_polynomial_irreducible(p) && repo_polynomial_irreducible(q));
}


TEST(no_memory) {
  long before = mem_blocks();
  mem_fail_at(1);
  CHECK(repo_chunker_new(USUAL) == NULL);
  mem_fail_at(0);
  repo_chunker_free(NULL);
  CHECK_INT(mem_blocks(), before);
}


int main(int argc, char **argv) {
  check_begin(argc, argv);
  RUN(tables);
  RUN(known_cuts);
  RUN(zeros);
  RUN(longest);
  RUN(short_files);
  RUN(all_forms_cut_alike);
  RUN(all_ends_and_alignments);
  RUN(every_place_is_looked_at);
  RUN(forms_of_this_machine);
  RUN(polynomials);
  RUN(random_polynomial);
  RUN(no_memory);
  return check_end();
}
