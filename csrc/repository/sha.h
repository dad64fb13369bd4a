/*
** SHA-256 that runs along, of one stream or of two at once: where the processor
** has instructions for it, they leave half of it idle with one. What is stored
** is hashed twice, as a blob and as a part of its pack, so there often are two.
*/
#ifndef SAROS_REPOSITORY_SHA_H
#define SAROS_REPOSITORY_SHA_H

#include "repository/id.h"

/* Needs no memory and no end; may be copied. */
typedef struct repo_sha {
  uint32_t state[8];
  uint64_t size;
  uint8_t rest[64]; /* of the last block: size % 64 bytes */
} repo_sha;

void repo_sha_begin(repo_sha *s);
void repo_sha_add(repo_sha *s, const void *data, size_t size);
/* The same as adding to one, then to the other. */
void repo_sha_add_two(repo_sha *s, const void *data, size_t size,
                      repo_sha *other, const void *other_data,
                      size_t other_size);
void repo_sha_end(repo_sha *s, repo_id *id);

/* Hashes whole blocks. `two` does so to both, `count` of each. */
typedef struct repo_sha_form {
  const char *name;
  void (*one)(uint32_t state[8], const uint8_t *data, size_t count);
  void (*two)(uint32_t state[8], const uint8_t *data, uint32_t other[8],
              const uint8_t *other_data, size_t count);
} repo_sha_form;

/* Those that this processor can run, the fastest first, which is used. A test
   may order another one (NULL: the fastest again). */
const repo_sha_form *repo_sha_forms(size_t *count);
void repo_sha_use(const repo_sha_form *form);

#endif
