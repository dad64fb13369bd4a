#ifndef SAROS_LUA_TERM_WARN_H
#define SAROS_LUA_TERM_WARN_H

#include <lua.h>

int warned_function(lua_State *L);

#endif
