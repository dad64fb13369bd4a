/*
** What the files of check share.
*/
#ifndef SAROS_REPOSITORY_CHECK_PARTS_H
#define SAROS_REPOSITORY_CHECK_PARTS_H

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#include "repository/check.h"
#include "repository/id_map.h"
#include "repository/side.h"

/* Of each list, so many are told; all are counted. */
#define CHECK_FINDINGS_MOST 1000u
#define CHECK_ITEMS_MOST 100u
#define CHECK_PATHS_MOST 20u
/* Nodes that are looked at to find out what is hit. */
#define CHECK_IMPACT_MOST 20000000u

/* Something that is not as it should be. */
typedef struct check_finding {
  const char *kind; /* "pack_missing" */
  char *message;
  repo_id id;   /* of what it is about */
  value *blobs; /* of a pack: the bad ones */
  uint64_t blob_count;
  value *versions, *paths; /* those that are hit */
  uint64_t version_count, path_count;
  size_t last_version; /* 1 + the one that was counted last */
} check_finding;

typedef struct check_findings {
  check_finding *list;
  uint64_t count; /* the list may be shorter */
} check_findings;

/* What is known of a pack, by its number in `packs`. */
typedef struct check_pack {
  uint64_t size;    /* by the index */
  uint64_t there;   /* in the store */
  uint64_t shape;   /* a sum of its blobs: of two that differ it differs */
  uint32_t indexes; /* how many files name it */
  uint32_t finding; /* 1 + which; 0: none */
  bool is_there, is_mixed, differs, all_bad;
} check_pack;

typedef struct checking {
  repo_hold *h;
  repo *r;
  const repo_check_options *o;
  repo_index *index; /* of this check alone: what can be read */
  repo_id_map *packs;
  check_pack *pack_list;
  size_t pack_room;
  repo_snapshot **versions;
  size_t version_count, version_room;
  uint64_t index_files, unreferenced, unreferenced_bytes;
  repo_id_map *trees;
  /* Bad copies: what they are, and where; and those of which there is none that
     is good, with their findings. */
  struct bad_copy *bad;
  size_t bad_count, bad_room;
  repo_id_map *lost;
  uint32_t *lost_findings; /* 1 + which */
  size_t lost_room;
  uint64_t hit_budget; /* nodes that may still be looked at */
  bool impact_is_whole;
  _Atomic uint64_t bytes_done;
  uint64_t bytes_total, packs_read;
  pthread_mutex_t lock; /* innermost: all that threads change */
  check_findings found, hints;
} checking;

typedef struct bad_copy {
  repo_place place;
  uint32_t finding; /* 1 + which */
} bad_copy;

/* What ends the check, and is no finding: no memory, cancelled, the server is
   away. Takes over nothing. */
bool check_is_fatal(const error *e);

/* check_found.c; with the lock held, or by one thread alone. Each takes over
   `why`, whose sentences are told behind the first one. *number is 1 + which,
   0: there are too many to tell. False: no memory. */
bool check_find(checking *c, const char *kind, const repo_id *id, error *why,
                uint32_t *number, const char *format, ...)
    __attribute__((format(printf, 6, 7)));
bool check_hint(checking *c, const char *kind, const repo_id *id,
                const char *format, ...) __attribute__((format(printf, 4, 5)));
/* This copy is bad; `text` says why, or is NULL: then its finding is not about
   it alone, and it is not listed there. */
bool check_bad(checking *c, const repo_place *p, uint32_t finding,
               const char *text);
/* This blob is nowhere that is good. */
bool check_lose(checking *c, uint8_t type, const repo_id *id, uint32_t finding);
value *check_report(checking *c);
void check_found_free(check_findings *f);

/* All of an error's sentences. */
void check_sentences(buffer *b, const error *e);

/* A sum of a pack's blobs, by offset: whatever is different about them, it is
   different. */
uint64_t check_shape(const repo_blob *blobs, size_t count);

error *check_versions(checking *c);
error *check_index(checking *c);
error *check_packs(checking *c);
error *check_trees(checking *c);
error *check_data(checking *c);
error *check_impact(checking *c);

/* Of a pack by its number, with all its blobs by offset. */
typedef error *(*check_each_pack)(void *context, uint32_t number,
                                  const repo_blob *blobs, size_t count);
error *check_each(checking *c, check_each_pack each, void *context);

#endif
