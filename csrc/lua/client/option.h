/*
** Options that the modules of clients have in common. All of them are in the
** table at 1.
*/
#ifndef SAROS_LUA_CLIENT_OPTION_H
#define SAROS_LUA_CLIENT_OPTION_H

#include <lua.h>

#include "client/password.h"

/* Raises unless the table at the index, which is positive, has only these
   names in it. */
void option_check_names(lua_State *L, int index, const char *what,
                        const char *const names[]);
/* The number of a port; 0: none is given. */
unsigned option_port(lua_State *L);
/* password = { file = | env = | command = }: never the password itself. The
   stack keeps what it points to, but what is in the environment, which Lua
   never has. */
void option_password(lua_State *L, password_source *s);

#endif
