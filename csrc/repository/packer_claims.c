/*
** packer_claims: a set of blobs. An id is as good as random to us: whoever
** could choose it could as well choose to fill our disk.
*/
#include <string.h>

#include "repository/packer_parts.h"

static size_t home_of(const claim *of, size_t room) {
  uint64_t n;
  memcpy(&n, of->id.bytes + 8, sizeof n);
  return (size_t)n & (room - 1);
}

static claim *place_of(const claims *c, repo_blob_type type,
                       const repo_id *id) {
  claim wanted = {*id, (uint8_t)type, true};
  size_t at = home_of(&wanted, c->room);
  while (c->table[at].taken && (c->table[at].type != wanted.type ||
                                memcmp(&c->table[at].id, id, sizeof *id) != 0))
    at = (at + 1) & (c->room - 1);
  return &c->table[at];
}

static bool grow(claims *c) {
  claims bigger = {.room = c->room > 0 ? 2 * c->room : 256};
  bigger.table = mem_zero(bigger.room * sizeof *bigger.table);
  if (bigger.table == NULL) return false;
  for (size_t i = 0; i < c->room; i++) {
    const claim *one = &c->table[i];
    if (one->taken)
      *place_of(&bigger, (repo_blob_type)one->type, &one->id) = *one;
  }
  mem_free(c->table);
  c->table = bigger.table;
  c->room = bigger.room;
  return true;
}

bool repo_claims_put(claims *c, repo_blob_type type, const repo_id *id,
                     bool *no_memory) {
  *no_memory = (c->count + 1) * 4 > c->room * 3 && !grow(c);
  if (*no_memory) return false;
  claim *place = place_of(c, type, id);
  if (place->taken) return false;
  *place = (claim){*id, (uint8_t)type, true};
  c->count++;
  return true;
}

/* Those behind it move up, unless they would come before where they belong. */
void repo_claims_drop(claims *c, repo_blob_type type, const repo_id *id) {
  if (c->count == 0) return;
  size_t last = c->room - 1;
  claim *place = place_of(c, type, id);
  if (!place->taken) return;
  size_t hole = (size_t)(place - c->table);
  for (size_t i = (hole + 1) & last; c->table[i].taken; i = (i + 1) & last) {
    size_t home = home_of(&c->table[i], c->room);
    if (((i - home) & last) < ((i - hole) & last)) continue;
    c->table[hole] = c->table[i];
    hole = i;
  }
  c->table[hole].taken = false;
  c->count--;
}

void repo_claims_free(claims *c) {
  mem_free(c->table);
  *c = (claims){NULL, 0, 0};
}
