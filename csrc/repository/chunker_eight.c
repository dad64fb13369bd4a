/*
** chunker_eight: the scan at eight places at once, in plain C. A single one
** waits for its table after each byte; eight do not wait for each other.
*/
#include "repository/chunker_parts.h"

#define WAYS 8
#define STRIDE ((size_t)4096) /* how many places each of the eight looks at */

/* Where each of them is, in order of place: the first that finds ends those
   behind it, not those before it. Returns like a scan. */
static size_t eight(const repo_chunker *c, const uint8_t *data, size_t from,
                    size_t stride) {
  const uint64_t *append = c->append, *removed = c->remove;
  const uint8_t *at = data + from - REPO_CHUNK_WINDOW;
  uint64_t d[WAYS] = {0};
  size_t found = 0, ways = WAYS;
  for (size_t i = 0; i < REPO_CHUNK_WINDOW; i++)
    for (size_t w = 0; w < WAYS; w++)
      d[w] = (d[w] << 8 | at[w * stride + i]) ^ append[d[w] >> 45];
  for (size_t i = 0;; i++) {
    uint64_t none = 1; /* 0 only when one of them has all its bits zero */
#pragma GCC unroll 8
    for (size_t w = 0; w < WAYS; w++)
      none &= ((d[w] & REPO_CHUNK_MASK) + REPO_CHUNK_MASK) >> 20;
    if (none == 0)
      for (size_t w = 0; w < ways; w++)
        if ((d[w] & REPO_CHUNK_MASK) == 0) {
          found = from + w * stride + i;
          ways = w;
        }
    if (ways == 0 || i == stride - 1) return found;
#pragma GCC unroll 8
    for (size_t w = 0; w < WAYS; w++) {
      const uint8_t *p = at + w * stride + i;
      d[w] = (d[w] << 8 | p[REPO_CHUNK_WINDOW]) ^ append[d[w] >> 45] ^
             removed[p[0]];
    }
  }
}


size_t repo_chunker_scan_eight(const repo_chunker *c, const uint8_t *data,
                               size_t from, size_t to) {
  while (from <= to) {
    size_t stride = (to - from + 1) / WAYS;
    if (stride > STRIDE) stride = STRIDE;
    if (stride < REPO_CHUNK_WINDOW)
      return repo_chunker_scan_one(c, data, from, to);
    size_t n = eight(c, data, from, stride);
    if (n > 0) return n;
    from += WAYS * stride;
  }
  return 0;
}
