/*
** index: blobs in memory.
*/
#include "repository/index.h"

#include <string.h>
#include <sys/random.h>

#include "repository/index_parts.h"

#define NONE UINT32_MAX

/* ------------------------------------------------------------------
** Hashing
** ---------------------------------------------------------------- */

static inline uint64_t turn(uint64_t v, int by) {
  return v << by | v >> (64 - by);
}


static inline void mix(uint64_t v[4]) {
  v[0] += v[1], v[1] = turn(v[1], 13) ^ v[0], v[0] = turn(v[0], 32);
  v[2] += v[3], v[3] = turn(v[3], 16) ^ v[2];
  v[0] += v[3], v[3] = turn(v[3], 21) ^ v[0];
  v[2] += v[1], v[1] = turn(v[1], 17) ^ v[2], v[2] = turn(v[2], 32);
}


uint64_t repo_index_hash(const repo_index *x, const repo_id *id) {
  uint64_t v[4] = {
      x->seed[0] ^ 0x736f6d6570736575, x->seed[1] ^ 0x646f72616e646f6d,
      x->seed[0] ^ 0x6c7967656e657261, x->seed[1] ^ 0x7465646279746573};
  for (size_t i = 0; i < REPO_ID; i += 8) {
    uint64_t word;
    memcpy(&word, id->bytes + i, 8);
    v[3] ^= word;
    mix(v);
    v[0] ^= word;
  }
  v[3] ^= (uint64_t)REPO_ID << 56;
  mix(v);
  v[0] ^= (uint64_t)REPO_ID << 56;
  v[2] ^= 0xFF;
  for (int i = 0; i < 3; i++) mix(v);
  return v[0] ^ v[1] ^ v[2] ^ v[3];
}


/* The bits of a hash: six on top for the shard, 32 for the place, the lowest
   eight for a slot. */
uint32_t repo_index_slot(uint64_t hash, uint32_t count) {
  return (uint32_t)((hash >> 16 & UINT32_MAX) * count >> 32);
}


static repo_shard *shard_of(repo_index *x, uint64_t hash) {
  return &x->shards[hash >> 58];
}


/* ------------------------------------------------------------------
** A shard: all under its lock
** ---------------------------------------------------------------- */

static bool is_it(const repo_entry *entry, repo_blob_type type,
                  const repo_id *id) {
  return ((entry->pack & REPO_ENTRY_TREE) != 0) == (type == REPO_TREE) &&
         memcmp(&entry->id, id, REPO_ID) == 0;
}


/* The number of the first copy, or NONE. */
static uint32_t look_up(const repo_shard *s, uint64_t hash, repo_blob_type type,
                        const repo_id *id) {
  if (s->slot_count == 0) return NONE;
  uint32_t place = repo_index_slot(hash, s->slot_count);
  for (uint32_t slot; (slot = s->slots[place]) != 0;) {
    if (slot >> REPO_SLOT_BITS == (hash & 0xFF)) {
      uint32_t n = (slot & (((uint32_t)1 << REPO_SLOT_BITS) - 1)) - 1;
      if (is_it(repo_entry_at(s, n), type, id)) return n;
    }
    if (++place == s->slot_count) place = 0;
  }
  return NONE;
}


static void put_slot(uint32_t *slots, uint32_t count, uint64_t hash,
                     uint32_t n) {
  uint32_t place = repo_index_slot(hash, count);
  while (slots[place] != 0)
    if (++place == count) place = 0;
  slots[place] = (uint32_t)(hash & 0xFF) << REPO_SLOT_BITS | (n + 1);
}


/* At most 85 of 100 slots are full. */
static bool reserve_slot(const repo_index *x, repo_shard *s) {
  if (((uint64_t)s->found + 1) * 100 <= (uint64_t)s->slot_count * 85)
    return true;
  uint32_t count = s->slot_count < 16 ? 16 : s->slot_count + s->slot_count / 4;
  uint32_t *slots = mem_zero(count * sizeof *slots);
  if (slots == NULL) return false;
  for (uint32_t n = 0; n < s->count; n++) {
    const repo_entry *entry = repo_entry_at(s, n);
    if ((entry->pack & REPO_ENTRY_COPY) == 0)
      put_slot(slots, count, repo_index_hash(x, &entry->id), n);
  }
  mem_free(s->slots);
  s->slots = slots;
  s->slot_count = count;
  return true;
}


bool repo_segments_reserve(void ***segments, size_t *room, size_t count,
                           size_t size) {
  if (count % REPO_SEGMENT != 0) return true;
  size_t n = count / REPO_SEGMENT;
  if (n == *room) {
    size_t more = n < 4 ? 4 : 2 * n;
    void **grown = mem_grow(*segments, more * sizeof *grown);
    if (grown == NULL) return false;
    memset(grown + n, 0, (more - n) * sizeof *grown);
    *segments = grown;
    *room = more;
  }
  if ((*segments)[n] == NULL) (*segments)[n] = mem_alloc(REPO_SEGMENT * size);
  return (*segments)[n] != NULL;
}


static void put_link(repo_link *links, uint32_t room, repo_link l) {
  uint32_t place = l.from * 2654435761u & (room - 1);
  while (links[place].from != 0 && links[place].from != l.from)
    place = (place + 1) & (room - 1);
  links[place] = l;
}


static uint32_t follow(const repo_shard *s, uint32_t n) {
  uint32_t place = (n + 1) * 2654435761u & (s->links_room - 1);
  while (s->links[place].from != n + 1)
    place = (place + 1) & (s->links_room - 1);
  return s->links[place].to - 1;
}


/* At most half of them are full. */
static bool reserve_link(repo_shard *s) {
  if ((s->link_count + 1) * 2 <= s->links_room) return true;
  uint32_t room = s->links_room == 0 ? 16 : 2 * s->links_room;
  repo_link *links = mem_zero(room * sizeof *links);
  if (links == NULL) return false;
  for (uint32_t i = 0; i < s->links_room; i++)
    if (s->links[i].from != 0) put_link(links, room, s->links[i]);
  mem_free(s->links);
  s->links = links;
  s->links_room = room;
  return true;
}


/* Whether one of the copies is this very one. Only the first are looked at, so
   that a million of them cost no square of it. */
static bool is_there(const repo_shard *s, uint32_t n, uint32_t pack,
                     const repo_blob *blob) {
  for (int i = 0; i < REPO_INDEX_COPIES; i++) {
    const repo_entry *entry = repo_entry_at(s, n);
    if ((entry->pack & REPO_ENTRY_PACK) == pack &&
        entry->offset == blob->offset && entry->length == blob->length)
      return true;
    if ((entry->pack & REPO_ENTRY_MORE) == 0) return false;
    n = follow(s, n);
  }
  return false;
}


/* Behind the first copy, before the others. */
static void chain(repo_shard *s, uint32_t first, uint32_t n) {
  repo_entry *head = repo_entry_at(s, first);
  if (head->pack & REPO_ENTRY_MORE) {
    put_link(s->links, s->links_room, (repo_link){n + 1, follow(s, first) + 1});
    repo_entry_at(s, n)->pack |= REPO_ENTRY_MORE;
    s->link_count++;
  } else {
    head->pack |= REPO_ENTRY_MORE;
    s->link_count++;
  }
  put_link(s->links, s->links_room, (repo_link){first + 1, n + 1});
  repo_entry_at(s, n)->pack |= REPO_ENTRY_COPY;
}


static error *insert(const repo_index *x, repo_shard *s, uint64_t hash,
                     uint32_t pack, const repo_blob *blob) {
  uint32_t first = look_up(s, hash, blob->type, &blob->id);
  if (first != NONE && is_there(s, first, pack, blob)) return NULL;
  if (s->count >= REPO_SHARD_MOST)
    return repo_error(SAROS_E_REFUSED,
                      "the repository has more blobs than an index can hold: "
                      "use a second one");
  if (!repo_segments_reserve(&s->segments, &s->segments_room, s->count,
                             sizeof(repo_entry)) ||
      !(first == NONE ? reserve_slot(x, s) : reserve_link(s)))
    return error_no_memory();
  uint32_t n = s->count++;
  *repo_entry_at(s, n) = (repo_entry){
      blob->id, pack | (blob->type == REPO_TREE ? REPO_ENTRY_TREE : 0),
      blob->offset, blob->length, blob->plain_length};
  if (first != NONE) {
    chain(s, first, n);
    return NULL;
  }
  put_slot(s->slots, s->slot_count, hash, n);
  s->found++;
  return NULL;
}


/* ------------------------------------------------------------------
** The index
** ---------------------------------------------------------------- */

repo_index *repo_index_new(void) {
  repo_index *x = mem_zero(sizeof *x);
  if (x == NULL) return NULL;
  if (getrandom(x->seed, sizeof x->seed, 0) != (ssize_t)sizeof x->seed) {
    mem_free(x);
    return NULL;
  }
  for (int i = 0; i < REPO_SHARDS; i++)
    pthread_mutex_init(&x->shards[i].lock, NULL);
  pthread_rwlock_init(&x->packs_lock, NULL);
  return x;
}


static void free_shard(repo_shard *s) {
  for (size_t i = 0; i < s->segments_room; i++) mem_free(s->segments[i]);
  mem_free(s->segments);
  mem_free(s->slots);
  mem_free(s->links);
  mem_free(s->claims);
  pthread_mutex_destroy(&s->lock);
}


void repo_index_free(repo_index *x) {
  if (x == NULL) return;
  for (int i = 0; i < REPO_SHARDS; i++) free_shard(&x->shards[i]);
  repo_index_packs_free(x);
  pthread_rwlock_destroy(&x->packs_lock);
  mem_free(x);
}


error *repo_index_add(repo_index *x, const repo_id *pack,
                      const repo_blob *blobs, size_t count) {
  uint32_t number;
  error *e = repo_index_pack(x, pack, &number);
  for (size_t i = 0; e == NULL && i < count; i++) {
    uint64_t hash = repo_index_hash(x, &blobs[i].id);
    repo_shard *s = shard_of(x, hash);
    pthread_mutex_lock(&s->lock);
    e = insert(x, s, hash, number, &blobs[i]);
    if (e == NULL) repo_claim_drop(x, s, hash, blobs[i].type, &blobs[i].id);
    pthread_mutex_unlock(&s->lock);
  }
  return e;
}


bool repo_index_find(repo_index *x, repo_blob_type type, const repo_id *id,
                     size_t n, repo_place *place) {
  uint64_t hash = repo_index_hash(x, id);
  repo_shard *s = shard_of(x, hash);
  repo_entry entry = {.pack = 0};
  if (n >= REPO_INDEX_COPIES) return false;
  pthread_mutex_lock(&s->lock);
  uint32_t at = look_up(s, hash, type, id);
  for (; at != NONE; n--) {
    entry = *repo_entry_at(s, at);
    if (n == 0) break;
    at = entry.pack & REPO_ENTRY_MORE ? follow(s, at) : NONE;
  }
  pthread_mutex_unlock(&s->lock);
  if (at == NONE) return false;
  repo_index_pack_id(x, entry.pack & REPO_ENTRY_PACK, &place->pack);
  place->blob = (repo_blob){.id = *id,
                            .type = (uint8_t)type,
                            .offset = entry.offset,
                            .length = entry.length,
                            .plain_length = entry.plain_length};
  return true;
}


bool repo_index_claim(repo_index *x, repo_blob_type type, const repo_id *id) {
  uint64_t hash = repo_index_hash(x, id);
  repo_shard *s = shard_of(x, hash);
  pthread_mutex_lock(&s->lock);
  bool mine =
      look_up(s, hash, type, id) == NONE && !repo_claim_has(s, hash, type, id);
  if (mine) (void)repo_claim_put(x, s, hash, type, id); /* see the header */
  pthread_mutex_unlock(&s->lock);
  return mine;
}


void repo_index_give_up(repo_index *x, repo_blob_type type, const repo_id *id) {
  uint64_t hash = repo_index_hash(x, id);
  repo_shard *s = shard_of(x, hash);
  pthread_mutex_lock(&s->lock);
  repo_claim_drop(x, s, hash, type, id);
  pthread_mutex_unlock(&s->lock);
}


size_t repo_index_count(repo_index *x) {
  size_t count = 0;
  for (int i = 0; i < REPO_SHARDS; i++) {
    pthread_mutex_lock(&x->shards[i].lock);
    count += x->shards[i].count;
    pthread_mutex_unlock(&x->shards[i].lock);
  }
  return count;
}


static size_t shard_bytes(const repo_shard *s) {
  size_t segments = (s->count + REPO_SEGMENT - 1) / REPO_SEGMENT;
  return segments * REPO_SEGMENT * sizeof(repo_entry) +
         s->segments_room * sizeof *s->segments +
         s->slot_count * sizeof *s->slots + s->links_room * sizeof *s->links +
         s->claims_room * sizeof *s->claims;
}


size_t repo_index_bytes(repo_index *x) {
  size_t bytes = sizeof *x + repo_index_packs_bytes(x);
  for (int i = 0; i < REPO_SHARDS; i++) {
    pthread_mutex_lock(&x->shards[i].lock);
    bytes += shard_bytes(&x->shards[i]);
    pthread_mutex_unlock(&x->shards[i].lock);
  }
  return bytes;
}
