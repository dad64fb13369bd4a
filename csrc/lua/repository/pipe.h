/*
** A pipe that a script holds while something is dumped into it.
*/
#ifndef SAROS_LUA_REPOSITORY_PIPE_H
#define SAROS_LUA_REPOSITORY_PIPE_H

#include <lua.h>

/* pipe() --> pipe, or nil and a message. pipe:reader(), pipe:writer(): the
   descriptors. pipe:end_writing(). pipe:close(), also to-be-closed. */
int pipe_new(lua_State *L);
/* fileno(file) --> the descriptor of an io file, or nil. */
int pipe_fileno(lua_State *L);

#endif
