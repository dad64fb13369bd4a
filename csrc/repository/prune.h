/*
** Pruning: what no version needs any more is removed. First it is planned, from
** figures alone; then carried out in an order in which every moment may be the
** last: packs that nobody names go first, what is still needed is copied out of
** packs that are to go, then named by new index files, then the old index files
** go, and only then the old packs.
**
** By file: prune.c in which order, prune_used.c what is needed, prune_plan.c
** what happens to each pack, prune_repack.c copies, prune_index.c index files.
*/
#ifndef SAROS_REPOSITORY_PRUNE_H
#define SAROS_REPOSITORY_PRUNE_H

#include "repository/repo.h"

typedef struct repo_prune_options {
  /* How much of what is unused may stay: max_unused_share of what is used, or
     if that is negative max_unused bytes. */
  double max_unused_share;
  uint64_t max_unused;
  uint64_t max_repack; /* bytes that are copied at most; 0: no limit */
  uint64_t pack_size;  /* of new packs */
  bool repack_small, repack_uncompressed, trees_only, dry_run;
  void (*phase)(void *context, const char *name);
  void (*progress)(void *context, uint64_t done, uint64_t total);
  void *context; /* both may be NULL; progress is told by many threads */
} repo_prune_options;

/* As restic's: 5 % of the repository. */
#define REPO_PRUNE_OPTIONS \
  { .max_unused_share = 5.0 / 95, .pack_size = REPO_PACK_DEFAULT }

/* max_unused ("5%", "unlimited", bytes, "1G"), max_repack_size, pack_size,
   repack_small, repack_uncompressed, repack_trees_only, dry_run. */
error *repo_prune_read_options(const value *v, repo_prune_options *o);

/* Under an exclusive lock; for a dry run any does. A map of figures. */
error *repo_prune(repo_hold *h, const repo_prune_options *o, value **report);


/* ------------------------------------------------------------------
** The plan
** ---------------------------------------------------------------- */

typedef enum repo_prune_what {
  REPO_PRUNE_KEEP,
  REPO_PRUNE_REPACK, /* what is needed of it is copied, then it is removed */
  REPO_PRUNE_DELETE, /* nothing in it is needed */
  REPO_PRUNE_IGNORE  /* it is gone, and was not needed */
} repo_prune_what;

/* What is known of a pack that is in the index, and what is to be done. */
typedef struct repo_prune_pack {
  repo_id id;
  uint64_t size;                     /* by the index */
  uint64_t there;                    /* in the store */
  uint64_t used_bytes, unused_bytes; /* of blobs; duplicates are unused */
  uint32_t used, unused;
  uint8_t type; /* repo_blob_type, of the first */
  uint8_t what; /* repo_prune_what */
  bool is_there, is_mixed, is_uncompressed;
} repo_prune_pack;

typedef struct repo_prune_figures {
  uint64_t packs, kept, repacked, removed, unreferenced, ignored;
  uint64_t used_bytes, unused_bytes; /* of blobs, before */
  uint64_t used_blobs, unused_blobs, duplicate_blobs;
  uint64_t repacked_bytes; /* that are read */
  uint64_t removed_bytes;  /* of packs, without those that are repacked */
  uint64_t unreferenced_bytes;
  uint64_t freed_bytes;  /* in all */
  uint64_t unused_after; /* that stay */
} repo_prune_figures;

/* Decides each pack's `what`, from the options and the packs alone.
   SAROS_E_DAMAGED: one that is needed is missing, or has another size; nothing
   is to be done then. `version`: of the format. */
error *repo_prune_plan(const repo_prune_options *o, unsigned version,
                       repo_prune_pack *packs, size_t count,
                       repo_prune_figures *figures);

#endif
