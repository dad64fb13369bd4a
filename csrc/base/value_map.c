/*
** value_map: the fields of a map. They are kept in the order they were put; a
** map with many of them has, behind the fields in the same block, a hash table
** of their indexes, so that neither a look-up nor a hostile document with a
** hundred thousand names takes long. The hash is keyed with a secret of this
** process (SipHash-1-3): nobody outside can make names collide. Their names,
** and small items, are in a few blocks, each larger than the one before.
*/
#include <stdatomic.h>
#include <stddef.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>

#include "base/memory.h"
#include "base/value_parts.h"

enum {
  FIRST_FIELDS = 4,
  FIRST_BLOCK = 96,
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
  value_field *fields = mem_grow(map->as.fields, size + table);
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


typedef struct value_block {
  struct value_block *before;
  size_t used, capacity;
  max_align_t bytes[];
} value_block;


static bool add_block(value *map, size_t capacity) {
  value_block *b = mem_alloc(sizeof *b + capacity);
  if (b == NULL) return false;
  *b = (value_block){map->as.blocks, 0, capacity};
  map->as.blocks = b;
  return true;
}


/* Memory that goes with the map. `align` is a power of two. */
static void *keep(value *map, size_t size, size_t align) {
  if (size >= SIZE_MAX / 4) return NULL;
  value_block *b = map->as.blocks;
  size_t at = b != NULL ? (b->used + align - 1) & ~(align - 1) : 0;
  if (b == NULL || at > b->capacity || b->capacity - at < size) {
    size_t capacity = b != NULL ? 2 * b->capacity : FIRST_BLOCK;
    while (capacity < size) capacity *= 2;
    if (!add_block(map, capacity)) return NULL;
    b = map->as.blocks;
    at = 0;
  }
  b->used = at + size;
  return (char *)b->bytes + at;
}


void value_free_fields(value *map) {
  for (value_block *b = map->as.blocks, *before; b != NULL; b = before) {
    before = b->before;
    mem_free(b);
  }
  mem_free(map->as.fields);
}


static bool append(value *map, const char *name, size_t size, value *item) {
  if (map->count == map->capacity && !grow_twice(map)) return false;
  char *copy = keep(map, size + 1, 1);
  if (copy == NULL) return false;
  if (size > 0) memcpy(copy, name, size);
  copy[size] = '\0';
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
    return true;
  }
  if (fits && append(map, name, size, item)) return true;
  value_free(item);
  return false;
}


bool value_put(value *map, const char *name, value *item) {
  return value_put_bytes(map, name, strlen(name), item);
}


value *value_map_of(uint32_t fields) {
  value *map = value_map();
  uint32_t capacity = FIRST_FIELDS;
  while (capacity < fields && capacity <= UINT32_MAX / 64) capacity *= 2;
  if (map == NULL) return NULL;
  if (grow(map, capacity) && add_block(map, (size_t)capacity * A_FIELD))
    return map;
  value_free(map);
  return NULL;
}


/* An item in the map's own memory, with so many bytes behind it. */
static value *make_inner(value *map, value_type type, size_t size) {
  if (map == NULL || map->type != VALUE_MAP || size >= SIZE_MAX / 8)
    return NULL;
  value *v = keep(map, sizeof *v + size, _Alignof(value));
  if (v != NULL) *v = (value){.type = type, .inner = true};
  return v;
}


bool value_put_int(value *map, const char *name, int64_t n) {
  value *v = make_inner(map, VALUE_INT, 0);
  if (v == NULL) return false;
  v->as.integer = n;
  return value_put(map, name, v);
}


bool value_put_string(value *map, const char *name, const char *data,
                      size_t size) {
  value *v = make_inner(map, VALUE_STRING, size + 1);
  if (v == NULL) return false;
  v->as.string.data = (char *)(v + 1);
  v->as.string.size = size;
  if (size > 0) memcpy(v->as.string.data, data, size);
  v->as.string.data[size] = '\0';
  return value_put(map, name, v);
}


const value *value_get_bytes(const value *map, const char *name, size_t size) {
  if (map == NULL || map->type != VALUE_MAP) return NULL;
  const value_field *field = find(map, name, size);
  return field != NULL ? field->item : NULL;
}


const value *value_get(const value *map, const char *name) {
  return value_get_bytes(map, name, strlen(name));
}
