/*
** What the forms of the chunker share. All find the same places; a machine
** takes the fastest that it can run, and the tests compare them all.
*/
#ifndef SAROS_REPOSITORY_CHUNKER_PARTS_H
#define SAROS_REPOSITORY_CHUNKER_PARTS_H

#include "repository/chunker.h"

#define REPO_CHUNK_WINDOW ((size_t)64)
#define REPO_CHUNK_MASK (((uint64_t)1 << 20) - 1)

/* The smallest n of from <= n <= to at which the 64 bytes before data[n] have a
   fingerprint that cuts, or 0. At least 64 bytes are before data[from]. */
typedef size_t (*repo_chunker_scan)(const repo_chunker *c, const uint8_t *data,
                                    size_t from, size_t to);

struct repo_chunker {
  uint64_t append[256]; /* clears the eight bits on top, and reduces them */
  uint64_t remove[256]; /* what a byte is worth 64 bytes later */
  /* The same as bit matrices, one for each byte of a fingerprint that is
     shifted up by three bits, so that its top byte is what overflows. */
  uint64_t append_bits[7], remove_bits[7], enter_bits[2];
  repo_chunker_scan scan;
};

typedef struct repo_chunker_form {
  const char *name;
  repo_chunker_scan scan;
} repo_chunker_form;

/* Those that this processor can run, the fastest first; *count of them. */
const repo_chunker_form *repo_chunker_forms(size_t *count);

size_t repo_chunker_scan_one(const repo_chunker *c, const uint8_t *data,
                             size_t from, size_t to);
size_t repo_chunker_scan_eight(const repo_chunker *c, const uint8_t *data,
                               size_t from, size_t to);
bool repo_chunker_can_slice(void);
size_t repo_chunker_scan_sliced(const repo_chunker *c, const uint8_t *data,
                                size_t from, size_t to);

#endif
