/*
** compress_probe: whether data is worth compressing, from 8 KiB of it. It is
** hopeless only when three signs agree: no byte is much more frequent than
** another in all that was looked at, nor in any one place, and nothing of four
** bytes comes twice. Text, tables and programs fail the first by far; what is
** compressed or encrypted already passes all.
*/
#include <string.h>

#include "repository/compress.h"

enum {
  PIECES = 32, /* places, evenly spread */
  PIECE = 256, /* bytes of each */
  ALL = PIECES * PIECE,
  SLOTS = 1 << 12 /* to remember four bytes */
};

/* Of less zstd itself says as quickly that there is nothing to gain. */
#define WORTH ((size_t)256 << 10)

/* How far from even the bytes may be, as chi-square. Even ones come to 255 and
   vary by 23, whatever the number of bytes is. */
#define PLACE_MOST 700
/* Of all: another 1/10 a byte, which is about what compressing by one percent
   would need. */
#define WHOLE_MOST (400 + ALL / 10)
/* Of random bytes four come twice by chance once in thirty times. */
#define REPEATS_MOST 8


/* 256·Σc²/n − n: chi-square of these counts of bytes against even ones. */
static uint64_t unevenness(const uint32_t counts[256], uint64_t n) {
  uint64_t sum = 0;
  for (int i = 0; i < 256; i++) sum += (uint64_t)counts[i] * counts[i];
  return 256 * sum / n - n;
}


/* Four tables, since a counter that was just written is slow to read. */
static void count(uint32_t counts[256], const uint8_t *at) {
  uint16_t four[4][256] = {{0}};
  for (int i = 0; i < PIECE; i += 4)
    for (int j = 0; j < 4; j++) four[j][at[i + j]]++;
  for (int i = 0; i < 256; i++)
    counts[i] = (uint32_t)four[0][i] + four[1][i] + four[2][i] + four[3][i];
}


/* How often four bytes were seen before: what was last seen with the same hash.
   No branch depends on the data, since nothing would predict it. */
static unsigned repeats(uint32_t seen[SLOTS], const uint8_t *at) {
  unsigned found = 0;
  for (unsigned i = 0; i + 4 <= PIECE; i++) {
    uint32_t now;
    memcpy(&now, at + i, 4);
    uint32_t *slot = &seen[(now * 2654435761u) >> 20];
    found += *slot == now;
    *slot = now;
  }
  return found;
}


bool repo_zip_is_hopeless(const void *data, size_t size) {
  const uint8_t *places[PIECES];
  uint32_t counts[256], all[256] = {0};
  uint32_t seen[SLOTS];
  if (size < WORTH) return false;
  for (unsigned i = 0; i < PIECES; i++) {
    /* In the middle of each part, for headers are no measure; where pages
       begin, so that what comes again page by page is seen. */
    size_t at = size / PIECES * i + size / PIECES / 2;
    at -= at % 4096;
    places[i] = (const uint8_t *)data + at;
    count(counts, places[i]);
    if (unevenness(counts, PIECE) > PLACE_MOST) return false;
    for (int b = 0; b < 256; b++) all[b] += counts[b];
  }
  if (unevenness(all, ALL) > WHOLE_MOST) return false;
  unsigned found = 0;
  memset(seen, 0, sizeof seen);
  seen[0] = 1; /* zeros are no repetition of nothing */
  for (unsigned i = 0; i < PIECES; i++) {
    found += repeats(seen, places[i]);
    if (found > REPEATS_MOST) return false;
  }
  return true;
}
