/*
** Tables of options as values of the ground floor.
*/
#ifndef SAROS_LUA_VALUE_TAKE_H
#define SAROS_LUA_VALUE_TAKE_H

#include <lua.h>

#include "base/value.h"

/* The table at the index as a map, or NULL when it is nil. Raises what is wrong
   in it; nothing is lost then. The caller frees it, before anything else may
   raise. */
value *options_take(lua_State *L, int index);

#endif
