/*
** What the files of prune share.
*/
#ifndef SAROS_REPOSITORY_PRUNE_PARTS_H
#define SAROS_REPOSITORY_PRUNE_PARTS_H

#include <pthread.h>

#include "repository/id_map.h"
#include "repository/prune.h"
#include "repository/side.h"

typedef struct prune_ids {
  repo_id *list;
  size_t count, room;
} prune_ids;

typedef struct pruning {
  repo_hold *h;
  repo *r;
  const repo_prune_options *o;
  unsigned version;
  repo_index *index;
  /* All blobs that some version needs. What the mark says: prune_used.c how
     often it is in the index, then PRUNE_… below. */
  repo_id_map *used;
  repo_id_map *packs; /* by type 0 */
  repo_prune_pack *pack_list;
  size_t pack_room;
  prune_ids unreferenced;
  prune_ids index_files; /* that were there at first */
  repo_prune_figures figures;
  pthread_mutex_t lock; /* innermost: what threads change */
  /* Blobs that are to be copied. */
  uint64_t to_copy, copied, bytes_done;
  repo_pack *open[2];   /* new packs, by type */
  repo_index_text text; /* the next index file */
  uint64_t new_packs, new_bytes, new_indexes, old_indexes;
} pruning;

/* Of a blob that is used, once the plan is made. */
enum { PRUNE_STAYS = 0, PRUNE_COPY = 1, PRUNE_COPIED = 2 };

error *prune_ids_add(prune_ids *ids, const repo_id *id);

/* What is needed, which packs there are, and what is in them. */
error *prune_look(pruning *p);
/* Marks what must be copied, by the plan. */
error *prune_mark(pruning *p);
error *prune_repack(pruning *p);
/* A pack that was stored, for the index; when the text is full it is stored,
   too. With the lock held, which is let go of meanwhile. */
error *prune_name(pruning *p, const repo_id *pack, const repo_blob *blobs,
                  size_t count);
/* Index files that name what is to go, or that are many and small, give way to
   new ones. */
error *prune_indexes(pruning *p);

#endif
