/*
** index: what was added is found, with all its copies, by id and by pack; a
** blob is stored by one, however many want to.
**
** not under valgrind: it has a million blobs; ASan runs it
*/
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/base.h"
#include "check.h"
#include "repository/crypto.h"
#include "repository/index_parts.h"

static uint64_t seed = 0xD1B54A32D192ED03;

static uint64_t next(void) {
  seed ^= seed << 13, seed ^= seed >> 7, seed ^= seed << 17;
  return seed;
}


static bool fine(error *e) {
  if (e != NULL) printf("%s\n", e->message);
  bool none = e == NULL;
  error_unref(e);
  return none;
}


/* The id of a number, which looks like any id. */
static repo_id id_of(uint64_t n) {
  repo_id id;
  repo_id_of(&id, &n, sizeof n);
  return id;
}


static repo_blob blob_of(uint64_t n, repo_blob_type type, uint32_t offset) {
  return (repo_blob){.id = id_of(n),
                     .type = (uint8_t)type,
                     .offset = offset,
                     .length = (uint32_t)(32 + n % 100000),
                     .plain_length = n % 3 == 0 ? 0 : (uint32_t)n % 777777 + 1};
}


static bool same(const repo_blob *a, const repo_blob *b) {
  return repo_id_equal(&a->id, &b->id) && a->type == b->type &&
         a->offset == b->offset && a->length == b->length &&
         a->plain_length == b->plain_length;
}


/* Packs `first`…: `each` blobs each, numbered on from first * each. */
static void fill(repo_index *x, uint64_t first, uint64_t packs, uint64_t each) {
  repo_blob *blobs = malloc(each * sizeof *blobs);
  for (uint64_t p = first; p < first + packs; p++) {
    repo_id pack = id_of(p | (uint64_t)1 << 60);
    uint32_t offset = 0;
    for (uint64_t i = 0; i < each; i++) {
      blobs[i] =
          blob_of(p * each + i, p % 8 == 0 ? REPO_TREE : REPO_DATA, offset);
      offset += blobs[i].length;
    }
    error *e = repo_index_add(x, &pack, blobs, each);
    if (e != NULL) CHECK(fine(e));
  }
  free(blobs);
}


TEST(found_again) {
  repo_index *x = repo_index_new();
  repo_place place;
  size_t bad = 0;
  uint64_t each = 37, packs = 3000;
  fill(x, 0, packs, each);
  CHECK_INT(repo_index_count(x), packs * each);
  for (uint64_t n = 0; n < packs * each; n++) {
    uint64_t p = n / each;
    repo_blob_type type = p % 8 == 0 ? REPO_TREE : REPO_DATA;
    repo_id id = id_of(n), pack = id_of(p | (uint64_t)1 << 60);
    bool right = repo_index_find(x, type, &id, 0, &place) &&
                 repo_id_equal(&place.pack, &pack);
    repo_blob blob = blob_of(n, type, place.blob.offset);
    right = right && same(&place.blob, &blob) &&
            (n % each != 0 || place.blob.offset == 0) &&
            !repo_index_find(x, type, &id, 1, &place) &&
            !repo_index_find(x, type ^ 1, &id, 0, &place);
    bad += !right;
    id = id_of(n + packs * each);
    bad += repo_index_find(x, type, &id, 0, &place);
  }
  CHECK_INT(bad, 0);
  repo_index_free(x);
}


TEST(empty) {
  repo_index *x = repo_index_new();
  repo_place place;
  repo_id id = id_of(1);
  CHECK(!repo_index_find(x, REPO_DATA, &id, 0, &place));
  CHECK_INT(repo_index_count(x), 0);
  repo_index_free(x);
  repo_index_free(NULL);
}


/* A blob in many packs: each of its places, once. */
TEST(copies) {
  repo_index *x = repo_index_new();
  repo_place place;
  bool seen[40] = {false};
  fill(x, 0, 100, 20);
  for (uint32_t p = 0; p < 40; p++) {
    repo_blob blob = blob_of(5000000, REPO_DATA, 7 * p);
    repo_id pack = id_of(1000 + p);
    CHECK(fine(repo_index_add(x, &pack, &blob, 1)));
    for (int again = 0; again < 2; again++) /* which changes nothing */
      CHECK(fine(repo_index_add(x, &pack, &blob, 1)));
  }
  CHECK_INT(repo_index_count(x), 2040);
  repo_id id = id_of(5000000);
  for (size_t n = 0; n < 40; n++) {
    CHECK(repo_index_find(x, REPO_DATA, &id, n, &place));
    uint32_t p = place.blob.offset / 7;
    repo_id pack = id_of(1000 + p);
    CHECK(p < 40 && !seen[p] && repo_id_equal(&pack, &place.pack));
    if (p < 40) seen[p] = true;
  }
  CHECK(!repo_index_find(x, REPO_DATA, &id, 40, &place));
  CHECK(!repo_index_find(x, REPO_DATA, &id, SIZE_MAX, &place));
  CHECK(!repo_index_find(x, REPO_TREE, &id, 0, &place));
  fill(x, 100, 2000, 20); /* tables grow, links stay */
  for (size_t n = 0; n < 40; n++)
    CHECK(repo_index_find(x, REPO_DATA, &id, n, &place));
  repo_index_free(x);
}


/* Many copies of a few blobs, as a hostile index may have. */
TEST(far_too_many_copies) {
  repo_index *x = repo_index_new();
  repo_place place;
  enum { EACH = 1000, PACKS = 300 };
  static repo_blob blobs[EACH];
  for (uint32_t p = 0; p < PACKS; p++) {
    repo_id pack = id_of(p);
    for (uint32_t i = 0; i < EACH; i++) blobs[i] = blob_of(i % 2, REPO_TREE, i);
    CHECK(fine(repo_index_add(x, &pack, blobs, EACH)));
  }
  CHECK_INT(repo_index_count(x), EACH * PACKS);
  repo_id id = id_of(1);
  CHECK(repo_index_find(x, REPO_TREE, &id, REPO_INDEX_COPIES - 1, &place));
  CHECK(!repo_index_find(x, REPO_TREE, &id, REPO_INDEX_COPIES, &place));
  repo_index_free(x);
}


/* Two indexes do not put the same ids into the same order. */
TEST(seeded) {
  repo_index *x = repo_index_new(), *y = repo_index_new();
  repo_id id = id_of(1);
  CHECK(repo_index_hash(x, &id) != repo_index_hash(y, &id));
  /* Ids that differ in little, or only in places a lazy hash leaves out. */
  size_t shards[REPO_SHARDS] = {0};
  for (uint32_t i = 0; i < 64000; i++) {
    repo_id low = {{0}};
    memcpy(low.bytes + 28 * (i % 2), &i, 4);
    shards[repo_index_hash(x, &low) >> 58]++;
  }
  for (int i = 0; i < REPO_SHARDS; i++)
    CHECK(shards[i] > 750 && shards[i] < 1250);
  /* SipHash-1-3 of 0..31 with the key 0..15, computed apart from this. */
  for (int i = 0; i < 16; i++) ((uint8_t *)x->seed)[i] = (uint8_t)i;
  for (int i = 0; i < REPO_ID; i++) id.bytes[i] = (uint8_t)i;
  CHECK(repo_index_hash(x, &id) == 0x81157b6c16a7b60d);
  repo_index_free(x);
  repo_index_free(y);
}


/* ------------------------------------------------------------------
** By pack
** ---------------------------------------------------------------- */

typedef struct tally {
  size_t packs, blobs, bad, stop_at;
} tally;

static error *count_pack(void *context, const repo_id *pack,
                         const repo_blob *blobs, size_t count) {
  tally *t = context;
  (void)pack;
  for (size_t i = 1; i < count; i++)
    t->bad += blobs[i].offset < blobs[i - 1].offset;
  t->packs++;
  t->blobs += count;
  if (t->packs == t->stop_at) return repo_error(SAROS_E_FAIL, "enough");
  return NULL;
}


TEST(by_pack) {
  repo_index *x = repo_index_new();
  tally t = {0};
  CHECK(fine(repo_index_packs(x, count_pack, &t)));
  CHECK_INT(t.packs, 0);
  fill(x, 0, 500, 33);
  repo_id pack = id_of(77);
  CHECK(fine(repo_index_add(x, &pack, NULL, 0))); /* one of no blobs */
  repo_blob blobs[3];
  for (uint32_t i = 0; i < 3; i++) blobs[i] = blob_of(i, REPO_DATA, 300 - i);
  pack = id_of(78);
  CHECK(fine(repo_index_add(x, &pack, blobs, 3))); /* copies, out of order */
  CHECK(fine(repo_index_packs(x, count_pack, &t)));
  CHECK_INT(t.packs, 502);
  CHECK_INT(t.blobs, 500 * 33 + 3);
  CHECK_INT(t.bad, 0);
  t = (tally){.stop_at = 7};
  error *e = repo_index_packs(x, count_pack, &t);
  CHECK(e != NULL && e->code == SAROS_E_FAIL);
  CHECK_INT(t.packs, 7);
  error_unref(e);
  repo_index_free(x);
}


static error *add_more(void *context, const repo_id *pack,
                       const repo_blob *blobs, size_t count) {
  (void)pack, (void)blobs, (void)count;
  fill(context, 500 + next() % 500, 1, 33);
  return NULL;
}


/* No lock is held meanwhile, and what is added does not disturb. */
TEST(adding_while_listing) {
  repo_index *x = repo_index_new();
  fill(x, 0, 300, 33);
  CHECK(fine(repo_index_packs(x, add_more, x)));
  CHECK(repo_index_count(x) > 300 * 33);
  repo_index_free(x);
}


/* ------------------------------------------------------------------
** Claims
** ---------------------------------------------------------------- */

TEST(claims) {
  repo_index *x = repo_index_new();
  repo_id id = id_of(1);
  CHECK(repo_index_claim(x, REPO_DATA, &id));
  CHECK(!repo_index_claim(x, REPO_DATA, &id));
  CHECK(repo_index_claim(x, REPO_TREE, &id));
  repo_place place;
  CHECK(!repo_index_find(x, REPO_DATA, &id, 0, &place));
  repo_index_give_up(x, REPO_DATA, &id);
  repo_index_give_up(x, REPO_DATA, &id); /* nothing any more */
  CHECK(!repo_index_claim(x, REPO_TREE, &id));
  CHECK(repo_index_claim(x, REPO_DATA, &id));
  repo_blob blob = blob_of(1, REPO_DATA, 0);
  repo_id pack = id_of(2);
  CHECK(fine(repo_index_add(x, &pack, &blob, 1)));
  CHECK(!repo_index_claim(x, REPO_DATA, &id));
  repo_index_give_up(x, REPO_DATA, &id); /* what is stored stays */
  CHECK(!repo_index_claim(x, REPO_DATA, &id));
  CHECK(repo_index_find(x, REPO_DATA, &id, 0, &place));
  repo_index_free(x);
}


/* A model that is too simple to be wrong, and many claims given up. */
TEST(claims_like_a_model) {
  enum { IDS = 4000 };
  static bool claimed[IDS], stored[IDS];
  repo_index *x = repo_index_new();
  size_t bad = 0;
  memset(claimed, 0, sizeof claimed);
  memset(stored, 0, sizeof stored);
  for (int i = 0; i < 300000; i++) {
    uint64_t n = next() % IDS;
    repo_id id = id_of(n), pack = id_of(n | (uint64_t)1 << 40);
    repo_blob blob = blob_of(n, REPO_DATA, 0);
    uint64_t what = next() % 1000;
    if (what < 500) {
      bad += repo_index_claim(x, REPO_DATA, &id) != (!claimed[n] && !stored[n]);
      claimed[n] = !stored[n];
    } else if (what < 998 || stored[n]) {
      repo_index_give_up(x, REPO_DATA, &id);
      claimed[n] = false;
    } else {
      error *e = repo_index_add(x, &pack, &blob, 1);
      bad += e != NULL;
      stored[n] = true, claimed[n] = false;
    }
  }
  CHECK_INT(bad, 0);
  repo_index_free(x);
}


typedef struct crew {
  repo_index *x;
  uint64_t ids, number;
  pthread_barrier_t *start;
  uint64_t stored, given_up, wrong;
} crew;

/* Wants everything, stores what it gets; now and then it gives one up, and is
   asked for it again. */
static void *want_all(void *context) {
  crew *c = context;
  uint64_t state = c->number * 7919 + 1;
  pthread_barrier_wait(c->start);
  for (uint64_t i = 0; i < c->ids; i++) {
    uint64_t n = (i * 31 + c->number * 17) % c->ids;
    repo_id id = id_of(n), pack = id_of(n << 8 | c->number | (uint64_t)1 << 50);
    repo_blob blob = blob_of(n, REPO_DATA, (uint32_t)n);
    repo_place place;
    if (!repo_index_claim(c->x, REPO_DATA, &id)) {
      if (repo_index_find(c->x, REPO_DATA, &id, 0, &place) &&
          (place.blob.offset != n ||
           repo_index_find(c->x, REPO_DATA, &id, 1, &place)))
        c->wrong++;
      continue;
    }
    state = state * 6364136223846793005u + 1442695040888963407u;
    if (state >> 60 == 0) {
      repo_index_give_up(c->x, REPO_DATA, &id);
      c->given_up++;
      i--;
      continue;
    }
    error *e = repo_index_add(c->x, &pack, &blob, 1);
    if (e != NULL) c->wrong++;
    error_unref(e);
    c->stored++;
  }
  return NULL;
}


TEST(many_threads_store_once) {
  enum { THREADS = 6 };
  pthread_t threads[THREADS];
  pthread_barrier_t start;
  crew crews[THREADS];
  uint64_t ids = getenv("SAROS_QUICK") != NULL ? 3000 : 20000, stored = 0;
  repo_index *x = repo_index_new();
  pthread_barrier_init(&start, NULL, THREADS + 1);
  for (uint64_t t = 0; t < THREADS; t++) {
    crews[t] = (crew){.x = x, .ids = ids, .number = t, .start = &start};
    CHECK(pthread_create(&threads[t], NULL, want_all, &crews[t]) == 0);
  }
  pthread_barrier_wait(&start);
  for (int i = 0; i < 5; i++) { /* somebody else looks on */
    tally seen = {0};
    CHECK(fine(repo_index_packs(x, count_pack, &seen)));
    CHECK(repo_index_bytes(x) > 0 && repo_index_count(x) >= seen.blobs);
  }
  for (int t = 0; t < THREADS; t++) {
    pthread_join(threads[t], NULL);
    stored += crews[t].stored;
    CHECK_INT(crews[t].wrong, 0);
  }
  pthread_barrier_destroy(&start);
  CHECK_INT(stored, ids);
  CHECK_INT(repo_index_count(x), ids);
  repo_index_free(x);
}


/* ------------------------------------------------------------------
** Memory
** ---------------------------------------------------------------- */

TEST(bytes_a_blob) {
  static const uint64_t counts[] = {50000,  61000,  78000, 100000,
                                    123456, 200000, 250000};
  for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++) {
    repo_index *x = repo_index_new();
    fill(x, 0, counts[i] / 12, 12); /* chunks of 1.4 MiB, packs of 16 */
    double each = (double)repo_index_bytes(x) / (double)repo_index_count(x);
    if (each > 60)
      printf("%zu blobs take %.2f each\n", repo_index_count(x), each);
    CHECK(each <= 60);
    repo_index_free(x);
  }
}


static error *add_some(repo_index *x, uint32_t p) {
  repo_blob blobs[40];
  repo_id pack = id_of(p + 1000);
  for (uint32_t i = 0; i < 40; i++) /* half of them copies */
    blobs[i] = blob_of(i % 2 ? i : p * 40 + i, REPO_DATA, i * 9);
  return repo_index_add(x, &pack, blobs, 40);
}


/* Each request fails once. What was refused is added again, and all is there
   once. */
TEST(no_memory) {
  long before = mem_blocks(), left = 0;
  for (long n = 1; left == 0 && n < 3000; n++) {
    mem_fail_at(n);
    repo_index *x = repo_index_new();
    repo_id id = id_of(99999);
    tally t = {0};
    bool failed = x == NULL;
    if (failed) x = repo_index_new();
    for (uint32_t p = 0; p < 12; p++) {
      error *e = add_some(x, p);
      if (e == NULL) continue;
      CHECK(e->code == SAROS_E_OUTOFMEMORY && !failed);
      error_unref(e);
      failed = true;
      CHECK(fine(add_some(x, p)));
    }
    failed |= mem_fail_left() == 0;
    CHECK(repo_index_claim(x, REPO_DATA, &id));
    if (mem_fail_left() > 0) CHECK(!repo_index_claim(x, REPO_DATA, &id));
    error *e = repo_index_packs(x, count_pack, &t);
    left = mem_fail_left();
    mem_fail_at(0);
    CHECK(e == NULL || e->code == SAROS_E_OUTOFMEMORY);
    if (e != NULL) {
      error_unref(e);
      t = (tally){0};
      CHECK(fine(repo_index_packs(x, count_pack, &t)));
    }
    CHECK_INT(t.packs, 12);
    CHECK_INT(t.blobs, 12 * 40);
    CHECK_INT(repo_index_count(x), 12 * 40);
    repo_index_free(x);
  }
  CHECK(left > 0);
  CHECK_INT(mem_blocks(), before);
}


/* Two index files that name the same packs, read at the same time. */
typedef struct reader {
  repo_index *x;
  pthread_barrier_t *start;
} reader;


static void *read_them(void *argument) {
  reader *r = argument;
  pthread_barrier_wait(r->start);
  fill(r->x, 0, 4, 2000);
  return NULL;
}


TEST(what_two_threads_read_is_there_once) {
  for (int round = 0; round < 20; round++) {
    pthread_t threads[2];
    pthread_barrier_t start;
    repo_index *x = repo_index_new();
    reader r = {x, &start};
    pthread_barrier_init(&start, NULL, 2);
    for (int t = 0; t < 2; t++)
      CHECK(pthread_create(&threads[t], NULL, read_them, &r) == 0);
    for (int t = 0; t < 2; t++) pthread_join(threads[t], NULL);
    pthread_barrier_destroy(&start);
    CHECK_INT(repo_index_count(x), 4 * 2000);
    repo_index_free(x);
  }
}


int main(int argc, char **argv) {
  check_begin(argc, argv);
  RUN(found_again);
  RUN(empty);
  RUN(copies);
  RUN(far_too_many_copies);
  RUN(seeded);
  RUN(by_pack);
  RUN(adding_while_listing);
  RUN(claims);
  RUN(claims_like_a_model);
  RUN(many_threads_store_once);
  RUN(what_two_threads_read_is_there_once);
  RUN(bytes_a_blob);
  RUN(no_memory);
  return check_end();
}
