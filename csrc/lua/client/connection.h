/*
** What the modules of clients that talk have in common: connections as Lua sees
** them, their methods and their end.
*/
#ifndef SAROS_LUA_CLIENT_CONNECTION_H
#define SAROS_LUA_CLIENT_CONNECTION_H

#include <lauxlib.h>
#include <lua.h>

#include "client/talk.h"

/* Makes the metatable of connections, which have this name. */
void connection_register(lua_State *L, const char *name);
/* Leaves a connection on the stack, closed until it is given its talk, which
   nothing can fail between. */
talk **connection_push(lua_State *L, const char *name);
/* A text of the table at 1, which keeps it; NULL when it is not there. */
const char *connection_text(lua_State *L, const char *name);
/* Seconds of the table at 1, as milliseconds. */
uint32_t connection_seconds(lua_State *L, const char *name, double usual);
/* The engine is there, or this raises. */
void connection_begin(lua_State *L, const char *name);

#endif
