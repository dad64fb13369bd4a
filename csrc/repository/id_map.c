/*
** id_map: a list, and a table that finds what is in it. The hash has a seed of
** its own in every map, so that whoever makes up ids cannot make them meet.
*/
#include "repository/id_map.h"

#include <string.h>
#include <sys/random.h>

struct repo_id_map {
  uint32_t seed[9];
  uint64_t turn; /* odd */
  repo_known *list;
  uint32_t count, room;
  uint32_t *slots; /* 1 + a number; 0: empty */
  unsigned bits;   /* 2^bits slots */
};

repo_id_map *repo_id_map_new(void) {
  repo_id_map *m = mem_zero(sizeof *m);
  if (m == NULL) return NULL;
  if (getrandom(m->seed, sizeof m->seed, 0) != (ssize_t)sizeof m->seed ||
      getrandom(&m->turn, sizeof m->turn, 0) != (ssize_t)sizeof m->turn) {
    mem_free(m);
    return NULL;
  }
  m->turn |= 1;
  return m;
}

void repo_id_map_free(repo_id_map *m) {
  if (m == NULL) return;
  mem_free(m->list);
  mem_free(m->slots);
  mem_free(m);
}

size_t repo_id_map_count(const repo_id_map *m) {
  return m->count;
}

/* Pairs of words, keyed, multiplied and added up: whoever does not know the
   seed cannot do better than chance. */
static uint32_t place_of(const repo_id_map *m, uint8_t type,
                         const repo_id *id) {
  uint32_t words[8];
  uint64_t sum = m->seed[8] + type;
  memcpy(words, id->bytes, sizeof words);
  for (int i = 0; i < 8; i += 2)
    sum += (uint64_t)(words[i] + m->seed[i]) * (words[i + 1] + m->seed[i + 1]);
  return (uint32_t)(sum * m->turn >> (64 - m->bits));
}

/* Its slot, or an empty one. */
static uint32_t slot_of(const repo_id_map *m, uint8_t type, const repo_id *id) {
  uint32_t mask = (uint32_t)(((uint64_t)1 << m->bits) - 1);
  uint32_t at = place_of(m, type, id);
  for (; m->slots[at] != 0; at = (at + 1) & mask) {
    const repo_known *k = &m->list[m->slots[at] - 1];
    if (k->type == type && repo_id_equal(&k->id, id)) break;
  }
  return at;
}

static bool grow_slots(repo_id_map *m) {
  if (m->bits > 0 && (uint64_t)m->count * 4 < ((uint64_t)3 << m->bits))
    return true;
  unsigned bits = m->bits == 0 ? 8 : m->bits + 1;
  if (bits > 32) return false;
  uint32_t *slots = mem_zero(((size_t)1 << bits) * sizeof *slots);
  if (slots == NULL) return false;
  mem_free(m->slots);
  m->slots = slots;
  m->bits = bits;
  for (uint32_t n = 0; n < m->count; n++)
    m->slots[slot_of(m, m->list[n].type, &m->list[n].id)] = n + 1;
  return true;
}

static bool grow_list(repo_id_map *m) {
  if (m->count < m->room) return true;
  if (m->count >= UINT32_MAX - 1) return false;
  uint64_t room = m->room < 64 ? 128 : (uint64_t)m->room + m->room / 2;
  if (room > UINT32_MAX - 1) room = UINT32_MAX - 1;
  repo_known *list = mem_grow(m->list, (size_t)room * sizeof *list);
  if (list == NULL) return false;
  m->list = list;
  m->room = (uint32_t)room;
  return true;
}

bool repo_id_map_put(repo_id_map *m, uint8_t type, const repo_id *id,
                     uint32_t *number, bool *fresh) {
  if (!grow_slots(m)) return false;
  uint32_t at = slot_of(m, type, id);
  *fresh = m->slots[at] == 0;
  if (*fresh) {
    if (!grow_list(m)) return false;
    m->list[m->count] = (repo_known){*id, type, 0};
    m->slots[at] = ++m->count;
  }
  *number = m->slots[at] - 1;
  return true;
}

bool repo_id_map_find(const repo_id_map *m, uint8_t type, const repo_id *id,
                      uint32_t *number) {
  if (m->count == 0) return false;
  uint32_t at = slot_of(m, type, id);
  if (m->slots[at] == 0) return false;
  *number = m->slots[at] - 1;
  return true;
}

repo_known *repo_id_map_at(const repo_id_map *m, uint32_t number) {
  return &m->list[number];
}
