/*
** Which blob is where. In memory: sorted, at most 60 bytes a blob, any number
** of copies of one. On disk: JSON, written after the packs it names.
*/
#ifndef SAROS_REPOSITORY_INDEX_H
#define SAROS_REPOSITORY_INDEX_H

#include "repository/pack.h"

typedef struct repo_index repo_index;

typedef struct repo_place {
  repo_id pack;
  repo_blob blob;
} repo_place;

repo_index *repo_index_new(void); /* NULL: no memory */
void repo_index_free(repo_index *x);

/* Any thread. The blobs of one pack, which is stored. */
error *repo_index_add(repo_index *x, const repo_id *pack,
                      const repo_blob *blobs, size_t count);
/* What an index file says; `plain` is its JSON, and may be hostile. */
error *repo_index_read(repo_index *x, const repo_id *file, const char *plain,
                       size_t size);
/* The n-th copy of it. False: there are not so many. */
bool repo_index_find(repo_index *x, repo_blob_type type, const repo_id *id,
                     size_t n, repo_place *place);
size_t repo_index_count(repo_index *x);
size_t repo_index_bytes(repo_index *x); /* of memory */

/* For a backup: true when nobody has it and nobody else is about to store it;
   then it is the caller's to store, until it is added or given up. */
bool repo_index_claim(repo_index *x, repo_blob_type type, const repo_id *id);
void repo_index_give_up(repo_index *x, repo_blob_type type, const repo_id *id);

/* Each pack that is known, with all its blobs by offset. An error of `each`
   ends it and is returned. */
typedef error *(*repo_index_each)(void *context, const repo_id *pack,
                                  const repo_blob *blobs, size_t count);
error *repo_index_packs(repo_index *x, repo_index_each each, void *context);

/* Writing: packs are added to a text until it is full. */
typedef struct repo_index_text {
  buffer json;
  size_t blobs;
} repo_index_text;
#define REPO_INDEX_FULL 50000
void repo_index_text_add(repo_index_text *t, const repo_id *pack,
                         const repo_blob *blobs, size_t count);
void repo_index_text_end(repo_index_text *t); /* then json is whole */

#endif
