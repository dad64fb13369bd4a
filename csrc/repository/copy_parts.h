/*
** What the files of the copy share.
**
** By file: copy.c is the call: which versions, group by group, and what is told
** of them; copy_blobs.c finds out what a group needs, and carries it over.
**
** Lock order: the lock here is innermost.
*/
#ifndef SAROS_REPOSITORY_COPY_PARTS_H
#define SAROS_REPOSITORY_COPY_PARTS_H

#include <pthread.h>

#include "repository/call.h"
#include "repository/id_map.h"
#include "repository/packer.h"

typedef struct copying {
  repo_stop stop; /* of both holds */
  repo_call *c;
  repo_hold *from, *to;
  repo_index *from_index, *to_index;
  packer_options pack;
  repo_snapshot **list; /* what is to be copied, the oldest first */
  size_t count;
  repo_snapshot **there; /* what the other one has */
  size_t there_count;
  /* Trees all of which is there, or wanted. */
  repo_id_map *trees;
  /* What this group needs that is not there; the mark: it was given out. */
  repo_id_map *wanted;
  pthread_mutex_t lock;  /* of wanted, and of these */
  uint64_t wanted_bytes; /* of this group, as they are stored */
  uint64_t bytes_done, bytes_total;
  packer_counts counts;
  value *copied, *skipped, *failed; /* lists */
} copying;

/* What this version needs more: into wanted. SAROS_E_DAMAGED: it is not whole
   here. */
error *copy_want(copying *k, const repo_id *tree);
/* All that is wanted: then it is there, and stays. A dry run counts it. */
error *copy_wanted(copying *k);

/* So much is copied before the versions that need it are written. */
#ifdef SAROS_TEST
extern uint64_t repo_copy_group;
#endif

#endif
