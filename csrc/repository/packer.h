/*
** What is stored: blobs are hashed, asked of the index, compressed and sealed
** into packs on the thread that has them; threads of the packer's own store
** full packs, and after them the index files that name them. What is in no
** index file yet is nobody else's: only when that is stored may others rely on
** it, because only then it outlives us.
**
** By file: packer.c takes blobs, packer_store.c stores packs and index files,
** packer_claims.c knows what is on its way.
*/
#ifndef SAROS_REPOSITORY_PACKER_H
#define SAROS_REPOSITORY_PACKER_H

#include "repository/repo.h"

typedef struct packer packer;

typedef struct packer_options {
  repo_level level;
  size_t pack_size; /* REPO_PACK_LEAST … REPO_PACK_MOST */
  uint64_t rate;    /* bytes a second that are stored; 0: no limit */
  unsigned open;    /* how many packs of data at once: one for each core */
  bool dry;         /* nothing is stored, all is counted */
} packer_options;

typedef struct packer_counts {
  uint64_t data_blobs, tree_blobs, bytes, packed; /* that were not there */
} packer_counts;

/* `h` and `index` stay until it is freed. NULL sets *e. */
packer *repo_packer_new(repo_hold *h, repo_index *index,
                        const packer_options *o, const repo_stop *stop,
                        error **e);
/* On any thread, with a tool of its own. The id, also of one that was there
   already. What fails once fails ever after. */
error *repo_packer_add(packer *p, repo_tool *tool, repo_blob_type type,
                       const void *data, size_t size, repo_id *id);
/* Stores what is left, and the index. Nobody adds any more. With `give_up` what
   is in packs that are not full is forgotten; what was stored is in the index
   all the same. To be called once, also after a failure, whose error it
   returns. */
error *repo_packer_end(packer *p, bool give_up);
void repo_packer_count(packer *p, packer_counts *counts);
void repo_packer_free(packer *p);

#endif
