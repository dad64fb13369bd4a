#ifndef SAROS_LUA_TERM_INTERRUPT_H
#define SAROS_LUA_TERM_INTERRUPT_H

#include <lua.h>

int interruptible_function(lua_State *L);

#endif
