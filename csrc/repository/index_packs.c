/*
** index_packs: the packs of an index, which entries name by a number; and its
** blobs the other way round, by pack.
*/
#include <string.h>

#include "repository/index_parts.h"

/* Under the lock, of either kind. */
static repo_id *pack_at(const repo_index *x, uint32_t n) {
  return (repo_id *)x->pack_segments[n / REPO_SEGMENT] + n % REPO_SEGMENT;
}


/* Its slot, or an empty one. */
static uint32_t slot_of(const repo_index *x, const uint32_t *slots,
                        uint32_t count, const repo_id *pack) {
  uint32_t place = repo_index_slot(repo_index_hash(x, pack), count);
  while (slots[place] != 0 &&
         memcmp(pack_at(x, slots[place] - 1), pack, REPO_ID) != 0)
    if (++place == count) place = 0;
  return place;
}


/* At most three of four slots are full. */
static bool reserve_slot(repo_index *x) {
  if (((uint64_t)x->pack_count + 1) * 4 <= (uint64_t)x->pack_slot_count * 3)
    return true;
  uint32_t old = x->pack_slot_count;
  uint32_t count = old < 16 ? 16 : old + old / 4;
  uint32_t *slots = mem_zero(count * sizeof *slots);
  if (slots == NULL) return false;
  for (uint32_t n = 0; n < x->pack_count; n++)
    slots[slot_of(x, slots, count, pack_at(x, n))] = n + 1;
  mem_free(x->pack_slots);
  x->pack_slots = slots;
  x->pack_slot_count = count;
  return true;
}


static error *number_of(repo_index *x, const repo_id *pack, uint32_t *number) {
  if (x->pack_count > REPO_ENTRY_PACK)
    return repo_error(SAROS_E_REFUSED,
                      "the repository has more packs than an index can hold: "
                      "use a second one");
  if (!repo_segments_reserve(&x->pack_segments, &x->pack_segments_room,
                             x->pack_count, sizeof(repo_id)) ||
      !reserve_slot(x))
    return error_no_memory();
  uint32_t place = slot_of(x, x->pack_slots, x->pack_slot_count, pack);
  if (x->pack_slots[place] == 0) {
    uint32_t n = x->pack_count++;
    *pack_at(x, n) = *pack;
    x->pack_slots[place] = n + 1;
  }
  *number = x->pack_slots[place] - 1;
  return NULL;
}


error *repo_index_pack(repo_index *x, const repo_id *pack, uint32_t *number) {
  pthread_rwlock_wrlock(&x->packs_lock);
  error *e = number_of(x, pack, number);
  pthread_rwlock_unlock(&x->packs_lock);
  return e;
}


void repo_index_pack_id(repo_index *x, uint32_t number, repo_id *pack) {
  pthread_rwlock_rdlock(&x->packs_lock);
  *pack = *pack_at(x, number);
  pthread_rwlock_unlock(&x->packs_lock);
}


void repo_index_packs_free(repo_index *x) {
  for (size_t i = 0; i < x->pack_segments_room; i++)
    mem_free(x->pack_segments[i]);
  mem_free(x->pack_segments);
  mem_free(x->pack_slots);
}


size_t repo_index_packs_bytes(repo_index *x) {
  pthread_rwlock_rdlock(&x->packs_lock);
  size_t segments = (x->pack_count + REPO_SEGMENT - 1) / REPO_SEGMENT;
  size_t bytes = segments * REPO_SEGMENT * sizeof(repo_id) +
                 x->pack_segments_room * sizeof *x->pack_segments +
                 x->pack_slot_count * sizeof *x->pack_slots;
  pthread_rwlock_unlock(&x->packs_lock);
  return bytes;
}


/* ------------------------------------------------------------------
** Blobs by pack
** ---------------------------------------------------------------- */

/* An entry: its shard, and its number there, which has REPO_SLOT_BITS. */
typedef uint32_t reference;

typedef struct listing {
  repo_index *x;
  uint32_t packs;
  uint32_t limits[REPO_SHARDS]; /* what comes later is left out */
  uint64_t *starts;             /* of each pack in `all`, and an end */
  reference *all;
  repo_id pack; /* one of them, and its blobs */
  repo_blob *blobs;
  size_t blobs_room;
} listing;

/* Counts (all == NULL) or puts down the entries of a shard. */
static void walk(listing *l, uint32_t shard) {
  repo_shard *s = &l->x->shards[shard];
  pthread_mutex_lock(&s->lock);
  if (l->all == NULL) l->limits[shard] = s->count;
  for (uint32_t n = 0; n < l->limits[shard]; n++) {
    uint32_t pack = repo_entry_at(s, n)->pack & REPO_ENTRY_PACK;
    if (pack >= l->packs) continue;
    if (l->all == NULL)
      l->starts[pack + 1]++;
    else
      l->all[l->starts[pack]++] = shard << REPO_SLOT_BITS | n;
  }
  pthread_mutex_unlock(&s->lock);
}


static bool sort_by_pack(listing *l) {
  l->starts = mem_zero(((size_t)l->packs + 1) * sizeof *l->starts);
  if (l->starts == NULL) return false;
  for (uint32_t i = 0; i < REPO_SHARDS; i++) walk(l, i);
  for (uint32_t p = 0; p < l->packs; p++) l->starts[p + 1] += l->starts[p];
  l->all = mem_alloc((l->starts[l->packs] + 1) * sizeof *l->all);
  if (l->all == NULL) return false;
  for (uint32_t i = 0; i < REPO_SHARDS; i++) walk(l, i);
  /* That moved each start to its end, which is the next one's start. */
  memmove(l->starts + 1, l->starts, l->packs * sizeof *l->starts);
  l->starts[0] = 0;
  return true;
}


static void take_blob(listing *l, reference r, repo_blob *blob) {
  repo_shard *s = &l->x->shards[r >> REPO_SLOT_BITS];
  pthread_mutex_lock(&s->lock);
  const repo_entry *entry =
      repo_entry_at(s, r & (((uint32_t)1 << REPO_SLOT_BITS) - 1));
  *blob = (repo_blob){.id = entry->id,
                      .type = (entry->pack & REPO_ENTRY_TREE) != 0,
                      .offset = entry->offset,
                      .length = entry->length,
                      .plain_length = entry->plain_length};
  pthread_mutex_unlock(&s->lock);
}


static int by_offset(const void *a, const void *b) {
  const repo_blob *x = a, *y = b;
  if (x->offset != y->offset) return x->offset < y->offset ? -1 : 1;
  return memcmp(&x->id, &y->id, REPO_ID);
}


static error *tell(listing *l, uint32_t pack, repo_index_each each,
                   void *context) {
  size_t count = (size_t)(l->starts[pack + 1] - l->starts[pack]);
  if (count > l->blobs_room) {
    mem_free(l->blobs);
    l->blobs_room = 0;
    l->blobs = mem_alloc(count * sizeof *l->blobs);
    if (l->blobs == NULL) return error_no_memory();
    l->blobs_room = count;
  }
  for (size_t i = 0; i < count; i++)
    take_blob(l, l->all[l->starts[pack] + i], &l->blobs[i]);
  if (count > 0) qsort(l->blobs, count, sizeof *l->blobs, by_offset);
  repo_index_pack_id(l->x, pack, &l->pack);
  return each(context, &l->pack, l->blobs, count);
}


error *repo_index_packs(repo_index *x, repo_index_each each, void *context) {
  listing l = {.x = x};
  pthread_rwlock_rdlock(&x->packs_lock);
  l.packs = x->pack_count;
  pthread_rwlock_unlock(&x->packs_lock);
  error *e = sort_by_pack(&l) ? NULL : error_no_memory();
  for (uint32_t p = 0; e == NULL && p < l.packs; p++)
    e = tell(&l, p, each, context);
  mem_free(l.starts);
  mem_free(l.all);
  mem_free(l.blobs);
  return e;
}
