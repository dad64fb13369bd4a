/*
** Values of the ground floor as tables.
*/
#ifndef SAROS_LUA_VALUE_GIVE_H
#define SAROS_LUA_VALUE_GIVE_H

#include <lua.h>

#include "base/value.h"

/* Pushes it, and frees it even when that raises. NULL (no memory) raises. */
void value_give(lua_State *L, value *v);

#endif
