/*
** Blobs by their ids: from whatever pack has a copy that is good. What comes
** out is what was stored, to the byte, or it is an error.
*/
#ifndef SAROS_REPOSITORY_BLOB_H
#define SAROS_REPOSITORY_BLOB_H

#include "repository/index.h"
#include "repository/store.h"
#include "repository/tools.h"

/* A blob that claims to be larger is damaged: nobody makes such ones. */
#define REPO_DATA_MOST ((size_t)128 << 20)
#define REPO_TREE_MOST ((size_t)1 << 30)

/* Memory that is used again. */
typedef struct repo_space {
  char *data;
  size_t room;
} repo_space;
bool repo_space_ensure(repo_space *s,
                       size_t size); /* may lose what was there */
void repo_space_free(repo_space *s);

/* How long it is when it is open. */
size_t repo_blob_size(const repo_blob *b);
/* Whether its lengths can be those of a blob at all. */
error *repo_blob_check(const repo_place *p);
/* From what was read of its pack: opened in place, unpacked into `space` when
   it is compressed, and its hash looked at. *data points into one of them. */
error *repo_blob_open(repo_tool *tool, const repo_place *p, void *sealed,
                      repo_space *space, const char **data, size_t *size);
/* The same without a look at its hash, which is for the caller to take. */
error *repo_blob_unpack(repo_tool *tool, const repo_place *p, void *sealed,
                        repo_space *space, const char **data, size_t *size);
/* SAROS_E_DAMAGED unless this is its hash. */
error *repo_blob_is(const repo_place *p, const repo_id *hash);

/* One copy of it, read and opened: `sealed` and `space` are what for. */
error *repo_blob_read(repo_store *store, repo_tool *tool, const repo_place *p,
                      repo_space *sealed, repo_space *space, const char **data,
                      size_t *size, const repo_stop *stop);

/* Loads blobs for any number of threads, and remembers the last. */
typedef struct repo_blobs repo_blobs;
typedef struct repo_bytes {
  const char *data;
  size_t size;
} repo_bytes;

/* The store, the tools and the index stay the caller's. `most`: bytes that are
   remembered. NULL: no memory. */
repo_blobs *repo_blobs_new(repo_store *store, repo_tools *tools,
                           repo_index *index, size_t most);
void repo_blobs_free(repo_blobs *b); /* all bytes were let go */
repo_index *repo_blobs_index(repo_blobs *b);
/* From the first copy that is good. SAROS_E_DAMAGED when there is none. */
error *repo_blobs_load(repo_blobs *b, repo_blob_type type, const repo_id *id,
                       repo_bytes **bytes, const repo_stop *stop);
void repo_bytes_free(repo_blobs *b, repo_bytes *bytes);

#endif
