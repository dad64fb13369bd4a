/*
** value_memory: what lies in a list or a map, without memory of its own: names,
** small items, and, of what is made by the thousand, whole lists and maps with
** all that is in them. All of it is in a few blocks, which are the root's: each
** is larger than the one before, and when the root goes they go. The items in
** them know the first block, which stays where it is.
*/
#include <stdalign.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/memory.h"
#include "base/value_parts.h"

/* Many maps are small. Where memory comes in pages, as it does to a thread that
   is not the first, a large block is one request of the kernel. */
#define FIRST_BLOCK ((size_t)96)
#define LARGEST ((size_t)60 << 10)

/* Names that are in the blocks already: maps by the thousand have the same,
   mostly in the same order. */
enum { NAMES = 40 };

typedef struct known_names {
  unsigned count, next;
  struct {
    const char *text;
    size_t size;
  } list[NAMES];
} known_names;

typedef struct value_block {
  struct value_block *other; /* the one before; of the first one, the last */
  size_t used, capacity;
  bool mixed;         /* of the first: not all of the items are in the blocks */
  known_names *names; /* of the first, when there are maps in it */
  max_align_t bytes[];
} value_block;


/* ------------------------------------------------------------------
** Blocks
** ---------------------------------------------------------------- */

static value_block *make_block(size_t capacity) {
  value_block *b = mem_alloc(sizeof *b + capacity);
  if (b != NULL) *b = (value_block){.capacity = capacity};
  return b;
}


static bool add_first(value *v, size_t capacity) {
  value_block *b = make_block(capacity);
  if (b == NULL) return false;
  b->mixed = v->count > 0;
  v->as.blocks = b;
  return true;
}


/* Behind this one, with room for at least so much. */
static value_block *add_next(value *v, const value_block *last, size_t size) {
  size_t capacity = 2 * last->capacity;
  if (capacity > LARGEST) capacity = LARGEST;
  value_block *first = v->as.blocks;
  value_block *b = make_block(capacity > size ? capacity : size);
  if (b == NULL) return NULL;
  b->other = first->other;
  first->other = b;
  return b;
}


void *value_keep(value *v, size_t size, size_t align) {
  if (size >= SIZE_MAX / 4) return NULL;
  size_t wanted = size > FIRST_BLOCK ? size : FIRST_BLOCK;
  if (v->as.blocks == NULL && !add_first(v, wanted)) return NULL;
  value_block *first = v->as.blocks;
  value_block *b = first->other != NULL ? first->other : first;
  size_t at = (b->used + align - 1) & ~(align - 1);
  if (at > b->capacity || b->capacity - at < size) {
    b = add_next(v, b, size);
    if (b == NULL) return NULL;
    at = 0;
  }
  b->used = at + size;
  return (char *)b->bytes + at;
}


bool value_keep_block(value *v, size_t size) {
  return add_first(v, size);
}


/* As it is there already; NULL: it is not. */
static char *known(known_names *k, const char *name, size_t size) {
  for (unsigned i = 0, at = k->next; i < k->count; i++, at++) {
    if (at >= k->count) at = 0;
    if (k->list[at].size != size || memcmp(k->list[at].text, name, size) != 0)
      continue;
    k->next = at + 1;
    return (char *)(uintptr_t)k->list[at].text;
  }
  return NULL;
}


char *value_keep_name(value *map, const char *name, size_t size) {
  known_names *k = map->as.blocks != NULL ? map->as.blocks->names : NULL;
  char *kept = k != NULL ? known(k, name, size) : NULL;
  if (kept != NULL) return kept;
  kept = value_keep(map, size + 1, 1);
  if (kept == NULL) return NULL;
  if (size > 0) memcpy(kept, name, size);
  kept[size] = '\0';
  if (k != NULL && k->count < NAMES) {
    k->list[k->count].text = kept;
    k->list[k->count].size = size;
    k->next = ++k->count;
  }
  return kept;
}


void *value_room(value *v, void *old, size_t used, size_t size) {
  if (!v->inner) return mem_grow(old, size);
  void *room = value_keep(v, size, alignof(max_align_t));
  if (room != NULL && used > 0) memcpy(room, old, used);
  return room;
}


void value_has(value *v, const value *item) {
  if (!item->inner && v->as.blocks != NULL) v->as.blocks->mixed = true;
}


bool value_is_whole(const value *v) {
  return v->as.blocks != NULL && !v->as.blocks->mixed;
}


void value_free_room(value *v) {
  if (v->inner) return;
  value_block *first = v->as.blocks;
  if (first != NULL) {
    for (value_block *b = first->other, *before; b != NULL; b = before) {
      before = b->other;
      mem_free(b);
    }
    mem_free(first);
  }
  mem_free(v->as.items);
}


/* ------------------------------------------------------------------
** Items in it
** ---------------------------------------------------------------- */

/* With so many bytes behind it. */
static value *make(value *in, value_type of, value_type type, size_t size) {
  if (in == NULL || in->type != of || size >= SIZE_MAX / 8) return NULL;
  value *v = value_keep(in, sizeof *v + size, alignof(value));
  if (v != NULL) *v = (value){.type = type, .inner = true};
  return v;
}


static value *make_string(value *in, value_type of, const char *data,
                          size_t size) {
  value *v = make(in, of, VALUE_STRING, size < SIZE_MAX ? size + 1 : size);
  if (v == NULL) return NULL;
  v->as.string.data = (char *)(v + 1);
  v->as.string.size = size;
  if (size > 0) memcpy(v->as.string.data, data, size);
  v->as.string.data[size] = '\0';
  return v;
}


static value *make_map(value *in, value_type of, uint32_t fields) {
  value *map = make(in, of, VALUE_MAP, 0);
  if (map == NULL) return NULL;
  value_block *first = map->as.blocks = in->as.blocks;
  if (of == VALUE_LIST && first->names == NULL) {
    first->names = value_keep(in, sizeof(known_names), alignof(known_names));
    if (first->names == NULL) return NULL;
    first->names->count = first->names->next = 0;
  }
  return value_map_grow(map, fields) ? map : NULL;
}


static value *make_list(value *in, value_type of, uint32_t items) {
  value *list = make(in, of, VALUE_LIST, 0);
  if (list == NULL) return NULL;
  list->as.blocks = in->as.blocks;
  if (items == 0) return list;
  list->as.items = value_room(list, NULL, 0, items * sizeof(value *));
  list->capacity = items;
  return list->as.items != NULL ? list : NULL;
}


bool value_put_int(value *map, const char *name, int64_t n) {
  value *v = make(map, VALUE_MAP, VALUE_INT, 0);
  if (v == NULL) return false;
  v->as.integer = n;
  return value_put(map, name, v);
}


bool value_put_string(value *map, const char *name, const char *data,
                      size_t size) {
  value *v = make_string(map, VALUE_MAP, data, size);
  return v != NULL && value_put(map, name, v);
}


value *value_put_map(value *map, const char *name, uint32_t fields) {
  value *v = make_map(map, VALUE_MAP, fields);
  return v != NULL && value_put(map, name, v) ? v : NULL;
}


value *value_put_list(value *map, const char *name, uint32_t items) {
  value *v = make_list(map, VALUE_MAP, items);
  return v != NULL && value_put(map, name, v) ? v : NULL;
}


bool value_add_string(value *list, const char *data, size_t size) {
  value *v = make_string(list, VALUE_LIST, data, size);
  return v != NULL && value_add(list, v);
}


value *value_add_map(value *list, uint32_t fields) {
  value *v = make_map(list, VALUE_LIST, fields);
  return v != NULL && value_add(list, v) ? v : NULL;
}
