/*
** What value.c needs of value_map.c.
*/
#ifndef SAROS_BASE_VALUE_PARTS_H
#define SAROS_BASE_VALUE_PARTS_H

#include "base/value.h"

/* All that a map has but the items that are not in its own memory. */
void value_free_fields(value *map);

#endif
