/*
** What cutting and hashing cost here, form by form, and the limits they are
** measured against: the chunker as its definition reads, OpenSSL's SHA-256.
** And what an index of a million blobs costs.
**   repo_floor [ROUNDS [MB [BLOBS]]]
** The forms take turns; a figure is the median of the rounds, of one thread's
** CPU time. Chunks are not looked for below their least size, so a file is cut
** faster than its bytes are scanned.
*/
#include <openssl/evp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "repository/chunker_parts.h"
#include "repository/index.h"
#include "repository/sha.h"

#define POLYNOMIAL 0x3DA3358B4DC173
#define MOST_ROUNDS 101

typedef struct work {
  const uint8_t *data;
  size_t size;
  repo_chunker *chunker;
  const repo_chunker_form *cut;
  const repo_sha_form *hash;
} work;

/* The definition: a ring of 64 bytes, and a 1 that slides out. */
static size_t literal_cut(const repo_chunker *c, const uint64_t out[256],
                          const uint8_t *data, size_t size) {
  size_t most = size < REPO_CHUNK_MOST ? size : REPO_CHUNK_MOST;
  if (most <= REPO_CHUNK_LEAST) return most;
  uint8_t window[64] = {0};
  size_t place = 1;
  uint64_t d = 1;
  window[0] = 1;
  for (size_t n = REPO_CHUNK_LEAST - 64; n < most;) {
    uint8_t b = data[n++];
    d ^= out[window[place]];
    window[place] = b;
    place = (place + 1) % 64;
    d = (d << 8 | b) ^ c->append[d >> 45];
    if (n >= REPO_CHUNK_LEAST && (d & REPO_CHUNK_MASK) == 0) return n;
  }
  return most;
}


static uint64_t outs[256];

static void make_outs(const repo_chunker *c) {
  for (uint64_t b = 0; b < 256; b++) {
    uint64_t d = b;
    for (int i = 0; i < 63; i++) d = d << 8 ^ c->append[d >> 45];
    outs[b] = d;
  }
}


static uint64_t run_literal(const work *w) {
  uint64_t sum = 0;
  for (size_t at = 0; at < w->size;) {
    at += literal_cut(w->chunker, outs, w->data + at, w->size - at);
    sum = sum * 31 + at;
  }
  return sum;
}


static uint64_t run_cut(const work *w) {
  uint64_t sum = 0;
  w->chunker->scan = w->cut->scan;
  for (size_t at = 0; at < w->size;) {
    at += repo_chunker_cut(w->chunker, w->data + at, w->size - at, true);
    sum = sum * 31 + at;
  }
  return sum;
}


static uint64_t word(const uint8_t id[REPO_ID]) {
  uint64_t w;
  memcpy(&w, id, sizeof w);
  return w;
}


static uint64_t run_openssl(const work *w) {
  uint8_t id[REPO_ID];
  unsigned size;
  if (EVP_Digest(w->data, w->size, id, &size, EVP_sha256(), NULL) != 1) abort();
  return word(id);
}


static uint64_t run_one(const work *w) {
  repo_sha s;
  repo_id id;
  repo_sha_use(w->hash);
  repo_sha_begin(&s);
  repo_sha_add(&s, w->data, w->size);
  repo_sha_end(&s, &id);
  return word(id.bytes);
}


/* Twice as much is hashed: the caller counts that. */
static uint64_t run_two(const work *w) {
  repo_sha s, t;
  repo_id id, other;
  repo_sha_use(w->hash);
  repo_sha_begin(&s);
  repo_sha_begin(&t);
  repo_sha_add_two(&s, w->data, w->size, &t, w->data, w->size);
  repo_sha_end(&s, &id);
  repo_sha_end(&t, &other);
  if (!repo_id_equal(&id, &other)) abort();
  return word(id.bytes);
}


typedef struct row {
  char name[40];
  uint64_t (*run)(const work *w);
  work w;
  double bytes; /* MB a run */
  double speeds[MOST_ROUNDS];
  uint64_t result;
} row;

static double seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}


static int by_value(const void *a, const void *b) {
  double x = *(const double *)a, y = *(const double *)b;
  return (x > y) - (x < y);
}


/* Rows of one table agree about what comes out. */
static void measure(const char *title, row *rows, size_t count, int rounds) {
  for (int r = 0; r < rounds; r++)
    for (size_t i = 0; i < count; i++) {
      double begin = seconds();
      rows[i].result = rows[i].run(&rows[i].w);
      rows[i].speeds[r] = rows[i].bytes / (seconds() - begin);
      if (rows[i].result != rows[0].result) {
        printf("%s and %s differ\n", rows[0].name, rows[i].name);
        exit(1);
      }
    }
  printf("%s, MB/s [lowest-highest], and how many times the first\n", title);
  for (size_t i = 0; i < count; i++) {
    double *s = rows[i].speeds;
    qsort(s, (size_t)rounds, sizeof *s, by_value);
    printf("  %-24s %7.0f [%.0f-%.0f]  %.2f\n", rows[i].name, s[rounds / 2],
           s[0], s[rounds - 1], s[rounds / 2] / rows[0].speeds[rounds / 2]);
  }
}


static void cutting(const work *base, int rounds) {
  static row rows[8];
  size_t count, used = 0;
  const repo_chunker_form *forms = repo_chunker_forms(&count);
  rows[used++] = (row){.name = "as defined", .run = run_literal, .w = *base};
  for (size_t i = count; i-- > 0;) {
    row *r = &rows[used++];
    *r = (row){.run = run_cut, .w = *base};
    snprintf(r->name, sizeof r->name, "%s", forms[i].name);
    r->w.cut = &forms[i];
  }
  for (size_t i = 0; i < used; i++) rows[i].bytes = (double)base->size / 1e6;
  measure("cutting", rows, used, rounds);
}


static void hashing(const work *base, int rounds) {
  static row rows[8];
  size_t count, used = 0;
  const repo_sha_form *forms = repo_sha_forms(&count);
  rows[used++] =
      (row){.name = "OpenSSL", .run = run_openssl, .w = *base, .bytes = 1};
  for (size_t i = count; i-- > 0;)
    for (int two = 0; two < 2; two++) {
      row *r = &rows[used++];
      *r = (row){
          .run = two ? run_two : run_one, .w = *base, .bytes = two ? 2 : 1};
      snprintf(r->name, sizeof r->name, "%s, %s", forms[i].name,
               two ? "two at once" : "one");
      r->w.hash = &forms[i];
    }
  for (size_t i = 0; i < used; i++) rows[i].bytes *= (double)base->size / 1e6;
  measure("SHA-256", rows, used, rounds);
}


/* ------------------------------------------------------------------
** The index
** ---------------------------------------------------------------- */

/* The id of blob n, and of its pack: ids are known to be well mixed. */
static repo_id id_of(uint64_t n) {
  repo_id id;
  repo_id_of(&id, &n, sizeof n);
  return id;
}


/* Texts as restic writes them: 50,000 blobs each, 12 a pack. */
static size_t write_texts(buffer *texts, size_t most, size_t blobs) {
  repo_blob pack[12];
  size_t count = 0, n = 0;
  while (n < blobs && count < most) {
    repo_index_text t = {.json = BUFFER_EMPTY};
    while (t.blobs < REPO_INDEX_FULL && n < blobs) {
      repo_id id = id_of(n | (uint64_t)1 << 60);
      for (uint32_t i = 0; i < 12; i++, n++)
        pack[i] =
            (repo_blob){id_of(n), REPO_DATA, i * 1400000, 1400000, 1500000 + i};
      repo_index_text_add(&t, &id, pack, 12);
    }
    repo_index_text_end(&t);
    if (t.json.failed) exit(1);
    texts[count++] = t.json;
  }
  return count;
}


static double find_all(repo_index *x, const repo_id *ids, size_t count,
                       bool there) {
  repo_place place;
  double begin = seconds();
  for (size_t i = 0; i < count; i++)
    if (repo_index_find(x, REPO_DATA, &ids[i], 0, &place) != there) exit(1);
  return (double)count / (seconds() - begin) / 1e6;
}


static void indexing(size_t blobs, int rounds) {
  static double load[MOST_ROUNDS], hit[MOST_ROUNDS], miss[MOST_ROUNDS];
  static buffer texts[1024];
  const size_t asked = 1000000;
  size_t count = write_texts(texts, 1024, blobs), size = 0, found = 0;
  repo_id *ids = malloc(asked * sizeof *ids),
          *none = malloc(asked * sizeof *ids);
  double each = 0;
  if (ids == NULL || none == NULL) exit(1);
  for (size_t i = 0; i < asked; i++) {
    ids[i] = id_of(i * 7919 % blobs);
    none[i] = id_of(i | (uint64_t)1 << 61);
  }
  for (size_t i = 0; i < count; i++) size += texts[i].size;
  for (int r = 0; r < rounds; r++) {
    repo_index *x = repo_index_new();
    double begin = seconds();
    for (size_t i = 0; i < count; i++)
      if (repo_index_read(x, &ids[0], texts[i].data, texts[i].size) != NULL)
        exit(1);
    load[r] = seconds() - begin;
    hit[r] = find_all(x, ids, asked, true);
    miss[r] = find_all(x, none, asked, false);
    found = repo_index_count(x);
    each = (double)repo_index_bytes(x) / (double)found;
    repo_index_free(x);
  }
  qsort(load, (size_t)rounds, sizeof *load, by_value);
  qsort(hit, (size_t)rounds, sizeof *hit, by_value);
  qsort(miss, (size_t)rounds, sizeof *miss, by_value);
  printf("index of %zu blobs, %.0f MB of text, medians\n", found,
         (double)size / 1e6);
  printf("  %-24s %7.2f s [%.2f-%.2f], %.0f MB/s\n", "load", load[rounds / 2],
         load[0], load[rounds - 1], (double)size / 1e6 / load[rounds / 2]);
  printf("  %-24s %7.2f million/s [%.2f-%.2f]\n", "found", hit[rounds / 2],
         hit[0], hit[rounds - 1]);
  printf("  %-24s %7.2f million/s [%.2f-%.2f]\n", "not found", miss[rounds / 2],
         miss[0], miss[rounds - 1]);
  printf("  %-24s %7.2f bytes\n", "a blob", each);
  for (size_t i = 0; i < count; i++) buffer_free(&texts[i]);
  free(ids);
  free(none);
}


int main(int argc, char **argv) {
  int rounds = argc > 1 ? atoi(argv[1]) : 7;
  size_t size = (argc > 2 ? strtoul(argv[2], NULL, 10) : 64) * 1000000;
  uint8_t *data = malloc(size + 8);
  work w = {data, size, repo_chunker_new(POLYNOMIAL), NULL, NULL};
  if (data == NULL || w.chunker == NULL || size == 0) return 1;
  if (rounds < 1 || rounds > MOST_ROUNDS) return 2;
  uint64_t x = 88172645463325252u; /* random enough to cut like random data */
  for (size_t i = 0; i < size; i += 8) {
    x ^= x << 13, x ^= x >> 7, x ^= x << 17;
    memcpy(data + i, &x, 8);
  }
  make_outs(w.chunker);
  cutting(&w, rounds);
  hashing(&w, rounds);
  indexing(argc > 3 ? strtoul(argv[3], NULL, 10) : 1000000, rounds);
  repo_chunker_free(w.chunker);
  free(data);
  return 0;
}
