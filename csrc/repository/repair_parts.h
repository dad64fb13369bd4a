/*
** What the files of the repair share.
**
** By file: repair.c is the call, and what is told; repair_index.c finds out
** what
** becomes of each pack, and writes index files anew; repair_packs.c looks into
** packs, and saves what is good of the bad ones; repair_versions.c leaves out
** of
** versions what is lost, and repair_trees.c of their directories.
*/
#ifndef SAROS_REPOSITORY_REPAIR_PARTS_H
#define SAROS_REPOSITORY_REPAIR_PARTS_H

#include <pthread.h>
#include <stdatomic.h>

#include "repository/call.h"
#include "repository/id_map.h"
#include "repository/packer.h"
#include "repository/side.h"

#define REPAIR_FINDINGS_MOST 1000u

typedef struct repair_ids {
  repo_id *list;
  size_t count, room;
} repair_ids;
error *repair_ids_add(repair_ids *ids, const repo_id *id);
error *repair_ids_list(repair_ids *ids, repo_hold *h, repo_file kind);

/* What becomes of a pack. */
typedef enum repair_fate {
  REPAIR_KEEP,   /* as the index has it */
  REPAIR_LOOK,   /* its own header is to be asked, then: */
  REPAIR_READ,   /* … as that has it, or */
  REPAIR_BROKEN, /* what is good of it is saved elsewhere */
  REPAIR_GONE    /* the index has it, the store has not */
} repair_fate;

/* By its number in `packs`. */
typedef struct repair_pack {
  uint64_t size;    /* by the index; 0: it does not know it */
  uint64_t there;   /* in the store */
  uint64_t shape;   /* a sum of its blobs */
  uint32_t indexes; /* how many files name it */
  uint8_t fate;     /* repair_fate */
  bool is_there, differs;
  bool close;       /* all that is in it is to be read */
  bool unsure;      /* it could not be read: another day it may */
  repo_blob *blobs; /* of a broken one by its header; NULL: by the index */
  size_t count;
} repair_pack;

typedef struct repairing {
  repo_call *c;
  repo_hold *h;
  repo *r;
  const repo_stop *stop;
  bool dry_run;
  bool packs_too;     /* what is in packs, not only where */
  bool read_all;      /* all headers */
  const value *which; /* ids of the packs to read; NULL: all */
  repo_index *old, *fresh;
  repo_id_map *packs; /* by type 0 */
  repair_pack *list;
  size_t room;
  repo_id_map *saved; /* blobs of broken packs: REPAIR_IS_SAVED, or lost */
  repair_ids index_files, new_files;
  bool changed;
  pthread_mutex_t lock; /* innermost: what threads change */
  uint64_t bytes_done, bytes_total;
  uint64_t index_damaged, packs_added, packs_missing, packs_damaged,
      packs_unreadable, packs_removed, blobs_saved, blobs_lost, blobs_unread,
      packs_read, index_new, index_removed;
  value *findings;
  uint64_t finding_count;
} repairing;

enum { REPAIR_IS_LOST = 0, REPAIR_IS_SAVED = 1 };

/* repair.c: something that was found. May be called by any thread. Takes over
   `why`, which may be NULL. */
error *repair_find(repairing *g, const char *kind, const repo_id *id,
                   error *why, const char *format, ...)
    __attribute__((format(printf, 5, 6)));

/* repair_index.c: which packs there are, and what the index says of them. */
error *repair_look(repairing *g);
/* New index files, then the old ones go. */
error *repair_write_index(repairing *g);

/* repair_packs.c: packs that must be asked themselves. */
error *repair_read_packs(repairing *g);
/* What is good of broken ones. */
error *repair_salvage(repairing *g);
/* And then they go. */
error *repair_remove_packs(repairing *g);

/* repair_versions.c */
error *repair_versions(repo_call *c);

/* repair_trees.c: a version's tree without what is lost. */
typedef struct mending {
  repo_call *c;
  repo_hold *h;
  const repo_stop *stop;
  repo_index *index;
  repo_blobs *blobs;
  packer *packer;
  repo_tool *tool;
  bool dry_run;
  repo_id_map *packs; /* that there are, by type 0 */
  uint64_t *sizes;    /* of them */
  size_t room;
  repo_id_map *whole; /* trees of which nothing is lost */
  /* Of the version that is being mended: */
  buffer path;
  value *lost;
  uint64_t lost_count;
} mending;
#define REPAIR_LOST_MOST 100u

/* Whether a good copy may be somewhere: a pack that is there has it. */
bool repair_is_there(const mending *m, repo_blob_type type, const repo_id *id);
typedef enum repair_tree {
  REPAIR_TREE_SAME,
  REPAIR_TREE_NEW, /* it has another id */
  REPAIR_TREE_LOST /* it cannot be read at all */
} repair_tree;
error *repair_mend(mending *m, repo_id *tree, repair_tree *what);

#endif
