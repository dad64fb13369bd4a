/*
** index_claims: blobs that somebody is about to store. There are as many as fit
** into the packs that are being written, so a small table a shard will do.
*/
#include <string.h>

#include "repository/index_parts.h"

static bool is_it(const repo_claim *c, repo_blob_type type, const repo_id *id) {
  return c->type == type && memcmp(&c->id, id, REPO_ID) == 0;
}


/* Where it is, or where it would be; there is room for it. */
static uint32_t place_of(const repo_claim *claims, uint32_t room, uint64_t hash,
                         repo_blob_type type, const repo_id *id) {
  uint32_t place = repo_index_slot(hash, room);
  while (claims[place].taken && !is_it(&claims[place], type, id))
    place = (place + 1) & (room - 1);
  return place;
}


bool repo_claim_has(const repo_shard *s, uint64_t hash, repo_blob_type type,
                    const repo_id *id) {
  return s->claim_count > 0 &&
         s->claims[place_of(s->claims, s->claims_room, hash, type, id)].taken;
}


static bool grow(const repo_index *x, repo_shard *s) {
  uint32_t room = s->claims_room == 0 ? 8 : 2 * s->claims_room;
  repo_claim *claims = mem_zero(room * sizeof *claims);
  if (claims == NULL) return false;
  for (uint32_t i = 0; i < s->claims_room; i++) {
    const repo_claim *c = &s->claims[i];
    if (c->taken)
      claims[place_of(claims, room, repo_index_hash(x, &c->id), c->type,
                      &c->id)] = *c;
  }
  mem_free(s->claims);
  s->claims = claims;
  s->claims_room = room;
  return true;
}


/* It is not there yet. */
bool repo_claim_put(const repo_index *x, repo_shard *s, uint64_t hash,
                    repo_blob_type type, const repo_id *id) {
  if ((s->claim_count + 1) * 4 > s->claims_room * 3 && !grow(x, s))
    return false;
  repo_claim *c =
      &s->claims[place_of(s->claims, s->claims_room, hash, type, id)];
  *c = (repo_claim){*id, (uint8_t)type, true};
  s->claim_count++;
  return true;
}


/* Those behind it move up, unless they would come before where they belong. */
void repo_claim_drop(const repo_index *x, repo_shard *s, uint64_t hash,
                     repo_blob_type type, const repo_id *id) {
  if (!repo_claim_has(s, hash, type, id)) return;
  uint32_t last = s->claims_room - 1;
  uint32_t hole = place_of(s->claims, s->claims_room, hash, type, id);
  for (uint32_t i = (hole + 1) & last; s->claims[i].taken; i = (i + 1) & last) {
    uint32_t home =
        repo_index_slot(repo_index_hash(x, &s->claims[i].id), s->claims_room);
    if (((i - home) & last) < ((i - hole) & last)) continue;
    s->claims[hole] = s->claims[i];
    hole = i;
  }
  s->claims[hole].taken = false;
  s->claim_count--;
}
