#ifndef SAROS_LUA_TERM_LIMIT_H
#define SAROS_LUA_TERM_LIMIT_H

#include <lua.h>

int limited_function(lua_State *L);

#endif
