/*
** Where a file is cut: after a byte where the Rabin fingerprint of the last 64
** has twenty zero bits, not before 512 KiB and not after 8 MiB.
*/
#ifndef SAROS_REPOSITORY_CHUNKER_H
#define SAROS_REPOSITORY_CHUNKER_H

#include "repository/repository.h"

#define REPO_CHUNK_LEAST ((size_t)512 << 10)
#define REPO_CHUNK_MOST ((size_t)8 << 20)

/* The tables of a polynomial: constant, for any number of threads. */
typedef struct repo_chunker repo_chunker;
repo_chunker *repo_chunker_new(uint64_t polynomial); /* NULL: no memory */
void repo_chunker_free(repo_chunker *c);

/* How long the first chunk of these bytes is. They are a file's to its end
   (`whole`), or at least REPO_CHUNK_MOST of it. */
size_t repo_chunker_cut(const repo_chunker *c, const void *data, size_t size,
                        bool whole);

/* Degree 53. */
bool repo_polynomial_irreducible(uint64_t p);
error *repo_polynomial_random(uint64_t *p);

#endif
