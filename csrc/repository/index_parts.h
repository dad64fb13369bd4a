/*
** What the files of the index share: how it is in memory.
**
** Blobs are spread by a hash over shards, each with a lock, a list of entries
** that never move, and a table that finds them. The hash has a seed of its own
** in every index: whoever makes up ids cannot make them meet. Tables grow by a
** quarter, not to the double, so that little of them is ever empty.
**
** Lock order: none of these is held together with another.
*/
#ifndef SAROS_REPOSITORY_INDEX_PARTS_H
#define SAROS_REPOSITORY_INDEX_PARTS_H

#include <pthread.h>

#include "repository/index.h"

#define REPO_SHARDS 64
#define REPO_SEGMENT 64 /* entries that are allocated together */
/* A slot of a table: a byte of the hash, then 1 + the entry's number. */
#define REPO_SLOT_BITS 24
#define REPO_SHARD_MOST (((uint32_t)1 << REPO_SLOT_BITS) - 2)

typedef struct repo_entry {
  repo_id id;
  uint32_t pack; /* its number, and these: */
  uint32_t offset, length, plain_length;
} repo_entry;
#define REPO_ENTRY_TREE ((uint32_t)1 << 31) /* its type */
#define REPO_ENTRY_MORE ((uint32_t)1 << 30) /* a link leads to another copy */
#define REPO_ENTRY_COPY                                 \
  ((uint32_t)1 << 29) /* found by a link, not the table \
                       */
#define REPO_ENTRY_PACK (REPO_ENTRY_COPY - 1)

/* From a copy to the next: few blobs have any, so entries have no room. */
typedef struct repo_link {
  uint32_t from, to; /* 1 + an entry's number; 0: an empty one */
} repo_link;

typedef struct repo_claim {
  repo_id id;
  uint8_t type;
  bool taken;
} repo_claim;

typedef struct repo_shard {
  pthread_mutex_t lock;
  void **segments; /* of repo_entry */
  size_t segments_room;
  uint32_t count; /* entries */
  uint32_t found; /* of them, by the table */
  uint32_t *slots;
  uint32_t slot_count;
  repo_link *links; /* open addressing, a power of two */
  uint32_t link_count, links_room;
  repo_claim *claims; /* the same */
  uint32_t claim_count, claims_room;
} repo_shard;

struct repo_index {
  uint64_t seed[2];
  repo_shard shards[REPO_SHARDS];
  pthread_rwlock_t packs_lock;
  void **pack_segments; /* of repo_id */
  size_t pack_segments_room;
  uint32_t pack_count;
  uint32_t *pack_slots; /* 1 + a pack's number */
  uint32_t pack_slot_count;
};

/* SipHash-1-3 of it. */
uint64_t repo_index_hash(const repo_index *x, const repo_id *id);
/* Where in a table of `count` slots to begin. */
uint32_t repo_index_slot(uint64_t hash, uint32_t count);

/* The number of a pack. */
error *repo_index_pack(repo_index *x, const repo_id *pack, uint32_t *number);
void repo_index_pack_id(repo_index *x, uint32_t number, repo_id *pack);
void repo_index_packs_free(repo_index *x);
size_t repo_index_packs_bytes(repo_index *x);

/* Under the shard's lock. */
bool repo_claim_has(const repo_shard *s, uint64_t hash, repo_blob_type type,
                    const repo_id *id);
bool repo_claim_put(const repo_index *x, repo_shard *s, uint64_t hash,
                    repo_blob_type type, const repo_id *id);
void repo_claim_drop(const repo_index *x, repo_shard *s, uint64_t hash,
                     repo_blob_type type, const repo_id *id);

/* Room for one more in a list of segments; false: no memory. */
bool repo_segments_reserve(void ***segments, size_t *room, size_t count,
                           size_t size);

static inline repo_entry *repo_entry_at(const repo_shard *s, uint32_t n) {
  return (repo_entry *)s->segments[n / REPO_SEGMENT] + n % REPO_SEGMENT;
}

#endif
