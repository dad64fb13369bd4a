/*
** Blobs that are open and whose hash is to be looked at, two at a time: where
** the processor has instructions for it, two hashes cost little more than one.
** The one that is done first makes room for the next, so that the other has
** company to its end, however long each is.
*/
#ifndef SAROS_REPOSITORY_PAIR_H
#define SAROS_REPOSITORY_PAIR_H

#include "repository/blob.h"
#include "repository/sha.h"

typedef struct repo_half {
  const void *what; /* the caller's; NULL: nothing is here */
  repo_space space; /* for what is to be hashed, if it is not elsewhere */
  const char *data;
  size_t size, hashed;
  repo_sha sha;
} repo_half;

/* Starts as {0}. */
typedef struct repo_pair {
  repo_half of[2];
} repo_pair;

void repo_pair_free(repo_pair *p);
/* One to be filled; NULL: both are. */
repo_half *repo_pair_room(repo_pair *p);
void repo_pair_put(repo_half *h, const void *what, const char *data,
                   size_t size);
/* Something else beside them, as far as they go: how much of it was added. */
size_t repo_pair_beside(repo_pair *p, repo_sha *other, const void *data,
                        size_t size);
/* The next that is hashed to its end, which is its id then; NULL: there are
   not two, and with `alone` there is none. The caller empties it (what). */
repo_half *repo_pair_next(repo_pair *p, bool alone, repo_id *id);

#endif
