/*
** value_map: the fields of a map. They are kept in the order they were put; a
** map with many of them has, behind the fields in the same block, a hash table
** of their indexes, so that neither a look-up nor a hostile document with a
** hundred thousand names takes long. The hash is keyed with a secret of this
** process (SipHash-1-3): nobody outside can make names collide.
*/
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "base/value_parts.h"

enum {
  FIRST_FIELDS = 4,
  A_FIELD = 56, /* most have no more in the blocks */
  SEARCHED = 16 /* a map of no more fields than this is searched one by one */
};


/* ------------------------------------------------------------------
** The hash
** ---------------------------------------------------------------- */

static _Atomic uint64_t secret[2];


/* One half of the secret, made when first asked for. Whoever is first wins,
   and no lock is held that a fork could leave behind. */
static uint64_t secret_half(int half) {
  uint64_t key = atomic_load_explicit(&secret[half], memory_order_relaxed);
  if (key != 0) return key;
  uint64_t made = 0;
  if (getrandom(&made, sizeof made, GRND_NONBLOCK) != (ssize_t)sizeof made) {
    /* A kernel without, or just booted: better than a constant. */
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    made = (uint64_t)now.tv_nsec << 32 ^ (uint64_t)(uintptr_t)&now;
  }
  made |= 1; /* not 0, which means not made yet */
  if (atomic_compare_exchange_strong(&secret[half], &key, made)) return made;
  return key;
}


static uint64_t rotate(uint64_t x, int by) {
  return x << by | x >> (64 - by);
}


static void sip_round(uint64_t v[4]) {
  v[0] += v[1];
  v[2] += v[3];
  v[1] = rotate(v[1], 13) ^ v[0];
  v[3] = rotate(v[3], 16) ^ v[2];
  v[0] = rotate(v[0], 32);
  v[2] += v[1];
  v[0] += v[3];
  v[1] = rotate(v[1], 17) ^ v[2];
  v[3] = rotate(v[3], 21) ^ v[0];
  v[2] = rotate(v[2], 32);
}


static void sip_word(uint64_t v[4], uint64_t word) {
  v[3] ^= word;
  sip_round(v);
  v[0] ^= word;
}


/* Words are read in the machine's own order: the hash leaves no process. */
static uint64_t hash(const char *name, size_t size) {
  uint64_t key0 = secret_half(0), key1 = secret_half(1);
  uint64_t v[4] = {key0 ^ 0x736f6d6570736575u, key1 ^ 0x646f72616e646f6du,
                   key0 ^ 0x6c7967656e657261u, key1 ^ 0x7465646279746573u};
  uint64_t word, last = (uint64_t)size << 56;
  for (; size >= sizeof word; size -= sizeof word, name += sizeof word) {
    memcpy(&word, name, sizeof word);
    sip_word(v, word);
  }
  for (size_t i = 0; i < size; i++)
    last |= (uint64_t)(unsigned char)name[i] << (8 * i);
  sip_word(v, last);
  v[2] ^= 0xff;
  for (int i = 0; i < 3; i++) sip_round(v);
  return v[0] ^ v[1] ^ v[2] ^ v[3];
}


/* ------------------------------------------------------------------
** The fields
** ---------------------------------------------------------------- */

/* The table behind the fields: index + 1 of a field, 0 where none is. It has
   twice as many places as there is room for fields, a power of two. */
static uint32_t *places(const value *map) {
  return (uint32_t *)(void *)(map->as.fields + map->capacity);
}


/* The place of this name, or the free one where it would go. */
static uint32_t *place_of(const value *map, const char *name, size_t size) {
  uint32_t *table = places(map);
  size_t mask = 2 * (size_t)map->capacity - 1;
  size_t at = (size_t)hash(name, size) & mask;
  for (; table[at] != 0; at = (at + 1) & mask) {
    const value_field *field = &map->as.fields[table[at] - 1];
    if (field->size == size && memcmp(field->name, name, size) == 0) break;
  }
  return &table[at];
}


static value_field *find(const value *map, const char *name, size_t size) {
  if (map->capacity > SEARCHED) {
    uint32_t place = *place_of(map, name, size);
    return place != 0 ? &map->as.fields[place - 1] : NULL;
  }
  for (uint32_t i = 0; i < map->count; i++) {
    value_field *field = &map->as.fields[i];
    if (field->size == size && memcmp(field->name, name, size) == 0)
      return field;
  }
  return NULL;
}


/* More room. The table moves with its fields and is made anew. */
static bool grow(value *map, uint32_t capacity) {
  size_t size = capacity * sizeof(value_field);
  size_t table = capacity > SEARCHED ? 2 * capacity * sizeof(uint32_t) : 0;
  value_field *fields = value_room(map, map->as.fields,
                                   map->count * sizeof *fields, size + table);
  if (fields == NULL) return false;
  map->as.fields = fields;
  map->capacity = capacity;
  if (table == 0) return true;
  memset(places(map), 0, table);
  for (uint32_t i = 0; i < map->count; i++)
    *place_of(map, fields[i].name, fields[i].size) = i + 1;
  return true;
}


static bool grow_twice(value *map) {
  if (map->capacity > UINT32_MAX / 64) return false;
  return grow(map, map->capacity > 0 ? 2 * map->capacity : FIRST_FIELDS);
}


static bool append(value *map, const char *name, size_t size, value *item) {
  if (map->count == map->capacity && !grow_twice(map)) return false;
  char *copy = value_keep_name(map, name, size);
  if (copy == NULL) return false;
  map->as.fields[map->count++] = (value_field){copy, size, item};
  if (map->capacity > SEARCHED) *place_of(map, name, size) = map->count;
  return true;
}


bool value_put_bytes(value *map, const char *name, size_t size, value *item) {
  bool fits = map != NULL && map->type == VALUE_MAP && item != NULL;
  value_field *field = fits ? find(map, name, size) : NULL;
  if (field != NULL) {
    value_free(field->item);
    field->item = item;
  } else if (!fits || !append(map, name, size, item)) {
    value_free(item);
    return false;
  }
  value_has(map, item);
  return true;
}


bool value_put(value *map, const char *name, value *item) {
  return value_put_bytes(map, name, strlen(name), item);
}


bool value_map_grow(value *map, uint32_t fields) {
  uint32_t capacity = FIRST_FIELDS;
  while (capacity < fields && capacity <= UINT32_MAX / 64) capacity *= 2;
  return grow(map, capacity);
}


value *value_map_of(uint32_t fields) {
  value *map = value_map();
  if (map == NULL) return NULL;
  if (value_map_grow(map, fields) &&
      value_keep_block(map, (size_t)map->capacity * A_FIELD))
    return map;
  value_free(map);
  return NULL;
}


const value *value_get_bytes(const value *map, const char *name, size_t size) {
  if (map == NULL || map->type != VALUE_MAP) return NULL;
  const value_field *field = find(map, name, size);
  return field != NULL ? field->item : NULL;
}


const value *value_get(const value *map, const char *name) {
  return value_get_bytes(map, name, strlen(name));
}
