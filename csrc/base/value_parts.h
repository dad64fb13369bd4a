/*
** What the files of values share: value_memory.c has what lies in a list or a
** map, value_map.c the fields of a map.
*/
#ifndef SAROS_BASE_VALUE_PARTS_H
#define SAROS_BASE_VALUE_PARTS_H

#include "base/value.h"

/* Memory that goes with a list or a map; `align` is a power of two. */
void *value_keep(value *v, size_t size, size_t align);
/* A copy of a name, which others in there may have, too. */
char *value_keep_name(value *map, const char *name, size_t size);
/* So much of it at once. */
bool value_keep_block(value *v, size_t size);
/* More room for what it has: `used` bytes of `old`. It is in the memory of what
   it is in, or, of a root, a block of its own. */
void *value_room(value *v, void *old, size_t used, size_t size);
/* It has got an item now: of which the memory may be its own. */
void value_has(value *v, const value *item);
/* Nothing in it has memory of its own. */
bool value_is_whole(const value *v);
/* All that a list or a map has but items that have memory of their own. */
void value_free_room(value *v);

/* Room for so many fields, which it has not. */
bool value_map_grow(value *map, uint32_t fields);

#endif
