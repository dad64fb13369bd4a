/*
** restore_number: what a plan is kept in, and ids as small numbers: by these a
** file wants its blobs, and a blob its pack.
*/
#include <string.h>

#include "repository/restore_plan_parts.h"

/* ------------------------------------------------------------------
** Memory
** ---------------------------------------------------------------- */

#define BLOCK ((size_t)256 << 10)

struct arena_block {
  arena_block *next;
  size_t used, size;
  char data[];
};

void *repo_restore_keep(restore *r, const void *data, size_t size) {
  size_t need = (size + 7) & ~(size_t)7;
  arena_block *b = r->arena;
  if (b == NULL || b->size - b->used < need) {
    size_t room = need > BLOCK / 4 ? need : BLOCK;
    b = mem_alloc(sizeof *b + room);
    if (b == NULL) return NULL;
    b->size = room;
    b->used = 0;
    b->next = r->arena;
    r->arena = b;
  }
  char *to = b->data + b->used;
  b->used += need;
  if (data != NULL && size > 0) memcpy(to, data, size);
  return to;
}

char *repo_plan_text(restore *r, const char *text, size_t size) {
  char *to = repo_restore_keep(r, NULL, size + 1);
  if (to == NULL) return NULL;
  memcpy(to, text, size);
  to[size] = '\0';
  return to;
}

/* One more: the array, which may move, has room for it. */
bool repo_plan_more(void *array, uint32_t count, uint32_t *room, size_t size) {
  if (count < *room) return true;
  if (*room >= UINT32_MAX / 2) return false;
  uint32_t bigger = *room > 0 ? *room + *room / 2 + 16 : 256;
  void *data = mem_grow(*(void **)array, bigger * size);
  if (data == NULL) return false;
  *(void **)array = data;
  *room = bigger;
  return true;
}


/* ------------------------------------------------------------------
** Numbers by their ids
** ---------------------------------------------------------------- */

#ifdef SAROS_TEST
_Atomic uint64_t repo_plan_test_steps;
#endif

uint64_t repo_plan_mix(uint64_t hash, uint64_t word) {
  hash ^= word;
  hash = (hash ^ hash >> 32) * 0xD6E8FEB86659FD93u;
  hash = (hash ^ hash >> 32) * 0xD6E8FEB86659FD93u;
  return hash ^ hash >> 32;
}

/* All of the id: which part of it is by chance its writer chooses. */
static uint32_t hash_of(const restore *r, const repo_id *id) {
  uint64_t words[4], hash = r->secret;
  memcpy(words, id->bytes, sizeof words);
  for (unsigned i = 0; i < 4; i++) hash = repo_plan_mix(hash, words[i]);
  return (uint32_t)hash;
}

/* A table of indexes + 1 into an array of `stride`, each item beginning with
   its id. */
static bool table_room(const restore *r, uint32_t **table, uint32_t *room,
                       uint32_t count, const void *items, size_t stride) {
  if (*table != NULL && count < *room / 2) return true;
  uint32_t bigger = *room > 0 ? *room * 2 : 1024;
  if (bigger < *room) return false;
  uint32_t *fresh = mem_zero(bigger * sizeof *fresh);
  if (fresh == NULL) return false;
  for (uint32_t i = 0; i < count; i++) {
    const repo_id *id = (const void *)((const char *)items + i * stride);
    uint32_t at = hash_of(r, id) & (bigger - 1);
    while (fresh[at] != 0) at = (at + 1) & (bigger - 1);
    fresh[at] = i + 1;
  }
  mem_free(*table);
  *table = fresh;
  *room = bigger;
  return true;
}

/* Where it is, or where it belongs. */
static uint32_t *table_find(const restore *r, uint32_t *table, uint32_t room,
                            const repo_id *id, const void *items,
                            size_t stride) {
  uint32_t at = hash_of(r, id) & (room - 1);
  for (; table[at] != 0; at = (at + 1) & (room - 1)) {
    const char *one = (const char *)items + (table[at] - 1) * stride;
    PLAN_STEP();
    if (memcmp(one, id->bytes, REPO_ID) == 0) break;
  }
  return &table[at];
}

static error *number_pack(restore *r, const repo_id *id, uint32_t *number) {
  if (!table_room(r, &r->pack_table, &r->pack_table_room, r->pack_count,
                  r->packs, sizeof *r->packs) ||
      !repo_plan_more(&r->packs, r->pack_count, &r->pack_room,
                      sizeof *r->packs))
    return error_no_memory();
  uint32_t *at = table_find(r, r->pack_table, r->pack_table_room, id, r->packs,
                            sizeof *r->packs);
  if (*at == 0) {
    r->packs[r->pack_count] = *id;
    *at = ++r->pack_count;
  }
  *number = *at - 1;
  return NULL;
}

static error *add_blob(restore *r, const repo_id *id, uint32_t *at) {
  repo_place p;
  uint32_t pack = 0;
  if (!repo_index_find(repo_blobs_index(r->blobs), REPO_DATA, id, 0, &p)) {
    char text[REPO_ID_TEXT];
    repo_id_format(id, text);
    return repo_error(SAROS_E_DAMAGED,
                      "its blob %s is in no pack that the index knows", text);
  }
  error *e = repo_blob_check(&p);
  if (e == NULL) e = number_pack(r, &p.pack, &pack);
  if (e == NULL && !repo_plan_more(&r->blobs_of, r->blob_count, &r->blob_room,
                                   sizeof *r->blobs_of))
    e = error_no_memory();
  if (e != NULL) return e;
  r->blobs_of[r->blob_count] = (plan_blob){
      *id, pack, p.blob.offset, p.blob.length, p.blob.plain_length, 0, 0};
  *at = ++r->blob_count;
  return NULL;
}

error *repo_plan_blob(restore *r, const repo_id *id, uint32_t *number) {
  if (!table_room(r, &r->table, &r->table_room, r->blob_count, r->blobs_of,
                  sizeof *r->blobs_of))
    return error_no_memory();
  uint32_t *at = table_find(r, r->table, r->table_room, id, r->blobs_of,
                            sizeof *r->blobs_of);
  error *e = *at == 0 ? add_blob(r, id, at) : NULL;
  if (e == NULL) *number = *at - 1;
  return e;
}

uint64_t repo_plan_blob_size(const plan_blob *b) {
  return b->plain_length != 0 ? b->plain_length : b->length - REPO_SEAL;
}

void repo_plan_arena_free(restore *r) {
  while (r->arena != NULL) {
    arena_block *next = r->arena->next;
    mem_free(r->arena);
    r->arena = next;
  }
}
