/*
** chunker: tables of a polynomial, and the cut.
**
** The fingerprint of 64 bytes is a remainder modulo the polynomial, so it
** depends on nothing but them: whether it cuts at a place can be asked of any
** place first, or of many at once. The forms of the scan live on that.
*/
#include "repository/chunker.h"

#include <pthread.h>

#include "repository/chunker_parts.h"

#define DEGREE 53

/* x^8 times d, reduced. */
static uint64_t shift_byte(uint64_t d, uint64_t p) {
  for (int i = 0; i < 8; i++) {
    d <<= 1;
    if (d >> DEGREE & 1) d ^= p;
  }
  return d;
}


/* The matrix that makes byte `plane` of the sum of images[i], i the bits that
   are set in a byte; rows last to first, as the instruction wants them. */
static uint64_t matrix(const uint64_t images[8], int plane) {
  uint64_t m = 0;
  for (int out = 0; out < 8; out++)
    for (int in = 0; in < 8; in++)
      m |= (images[in] >> (8 * plane + out) & 1) << (8 * (7 - out) + in);
  return m;
}


static void make_matrices(repo_chunker *c) {
  const uint64_t low = ((uint64_t)1 << DEGREE) - 1;
  uint64_t append[8], removed[8], enter[8];
  for (int i = 0; i < 8; i++) {
    append[i] = (c->append[1 << i] & low) << 3;
    removed[i] = c->remove[1 << i] << 3;
    enter[i] = (uint64_t)1 << i << 3;
  }
  for (int plane = 0; plane < 7; plane++) {
    c->append_bits[plane] = matrix(append, plane);
    c->remove_bits[plane] = matrix(removed, plane);
    if (plane < 2) c->enter_bits[plane] = matrix(enter, plane);
  }
}


repo_chunker *repo_chunker_new(uint64_t polynomial) {
  repo_chunker *c = mem_alloc(sizeof *c);
  if (c == NULL) return NULL;
  for (uint64_t b = 0; b < 256; b++) {
    uint64_t over = b, old = b; /* of degree 7, so both are reduced */
    for (int i = 0; i < DEGREE; i++) {
      over <<= 1;
      if (over >> DEGREE & 1) over ^= polynomial;
    }
    for (size_t i = 0; i < REPO_CHUNK_WINDOW; i++)
      old = shift_byte(old, polynomial);
    c->append[b] = over | b << DEGREE;
    c->remove[b] = old;
  }
  make_matrices(c);
  size_t count;
  c->scan = repo_chunker_forms(&count)[0].scan;
  return c;
}


void repo_chunker_free(repo_chunker *c) {
  mem_free(c);
}


size_t repo_chunker_scan_one(const repo_chunker *c, const uint8_t *data,
                             size_t from, size_t to) {
  uint64_t d = 0;
  if (from > to) return 0;
  for (size_t i = from - REPO_CHUNK_WINDOW; i < from; i++)
    d = (d << 8 | data[i]) ^ c->append[d >> (DEGREE - 8)];
  for (size_t n = from;; n++) {
    if ((d & REPO_CHUNK_MASK) == 0) return n;
    if (n == to) return 0;
    d = (d << 8 | data[n]) ^ c->append[d >> (DEGREE - 8)] ^
        c->remove[data[n - REPO_CHUNK_WINDOW]];
  }
}


static repo_chunker_form forms[3];
static size_t form_count;
static pthread_once_t forms_once = PTHREAD_ONCE_INIT;

static void find_forms(void) {
  if (repo_chunker_can_slice())
    forms[form_count++] =
        (repo_chunker_form){"sliced", repo_chunker_scan_sliced};
  forms[form_count++] = (repo_chunker_form){"eight", repo_chunker_scan_eight};
  forms[form_count++] = (repo_chunker_form){"one", repo_chunker_scan_one};
}


const repo_chunker_form *repo_chunker_forms(size_t *count) {
  pthread_once(&forms_once, find_forms);
  *count = form_count;
  return forms;
}


size_t repo_chunker_cut(const repo_chunker *c, const void *data, size_t size,
                        bool whole) {
  size_t most = size < REPO_CHUNK_MOST ? size : REPO_CHUNK_MOST;
  (void)whole; /* what is not whole is REPO_CHUNK_MOST at least */
  if (most <= REPO_CHUNK_LEAST) return most;
  /* Zeros, and pages that end in them, cut as early as they may. */
  size_t n = repo_chunker_scan_one(c, data, REPO_CHUNK_LEAST, REPO_CHUNK_LEAST);
  if (n == 0) n = c->scan(c, data, REPO_CHUNK_LEAST + 1, most);
  return n > 0 ? n : most;
}
