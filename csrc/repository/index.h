/*
** Which blob is where. In memory: at most 60 bytes a blob, any number of copies
** of one. On disk: JSON, written after the packs it names. Any thread may make
** any of these calls at any time, but for _free and the writing of a text.
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

/* The blobs of one pack, which is stored. What is known of it already is passed
   over. On failure a part of them is there; to add them again is no harm. */
error *repo_index_add(repo_index *x, const repo_id *pack,
                      const repo_blob *blobs, size_t count);
/* What an index file says; `plain` is its JSON, and may be hostile. What came
   before the damage in a SAROS_E_DAMAGED one is there then. */
error *repo_index_read(repo_index *x, const repo_id *file, const char *plain,
                       size_t size);
/* The n-th copy of it, of as many as REPO_INDEX_COPIES. False: there are not so
   many. */
#define REPO_INDEX_COPIES 256
bool repo_index_find(repo_index *x, repo_blob_type type, const repo_id *id,
                     size_t n, repo_place *place);
size_t repo_index_count(repo_index *x); /* every copy counts */
size_t repo_index_bytes(repo_index *x); /* of memory */

/* For a backup: true when nobody has it and nobody else is about to store it;
   then it is the caller's to store, until it is added or given up. (When there
   is no memory to remember that, two may store it, which is no harm.) */
bool repo_index_claim(repo_index *x, repo_blob_type type, const repo_id *id);
void repo_index_give_up(repo_index *x, repo_blob_type type, const repo_id *id);

/* Each pack that is known, with all its blobs by offset. An error of `each`
   ends it and is returned; no lock is held when it is called. Packs that are
   added meanwhile may be missing. */
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
/* Then json is whole, unless json.failed. buffer_free(&t->json) ends it. */
void repo_index_text_end(repo_index_text *t);

#endif
