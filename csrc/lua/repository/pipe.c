/*
** pipe: two descriptors in a box, closed with it.
*/
#include "lua/repository/pipe.h"

#include <errno.h>
#include <fcntl.h>
#include <lauxlib.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define PIPE "saros.repository.pipe"

typedef struct box {
  int fds[2];
} box;

static void close_one(int *fd) {
  if (*fd >= 0) close(*fd);
  *fd = -1;
}

static int close_both(lua_State *L) {
  box *b = luaL_checkudata(L, 1, PIPE);
  close_one(&b->fds[0]);
  close_one(&b->fds[1]);
  return 0;
}

static int end_writing(lua_State *L) {
  box *b = luaL_checkudata(L, 1, PIPE);
  close_one(&b->fds[1]);
  return 0;
}

static int reader(lua_State *L) {
  box *b = luaL_checkudata(L, 1, PIPE);
  lua_pushinteger(L, b->fds[0]);
  return 1;
}

static int writer(lua_State *L) {
  box *b = luaL_checkudata(L, 1, PIPE);
  lua_pushinteger(L, b->fds[1]);
  return 1;
}

int pipe_new(lua_State *L) {
  static const luaL_Reg methods[] = {
      {"reader", reader},    {"writer", writer},   {"end_writing", end_writing},
      {"close", close_both}, {"__gc", close_both}, {"__close", close_both},
      {NULL, NULL}};
  box *b = lua_newuserdatauv(L, sizeof *b, 0);
  b->fds[0] = b->fds[1] = -1;
  if (luaL_newmetatable(L, PIPE)) {
    luaL_setfuncs(L, methods, 0);
    lua_pushvalue(L, -1);
    lua_setfield(L, -2, "__index");
  }
  lua_setmetatable(L, -2);
  if (pipe2(b->fds, O_CLOEXEC | O_NONBLOCK) == 0) {
    fcntl(b->fds[1], F_SETPIPE_SZ, 1 << 20); /* as it is will do, too */
    return 1;
  }
  lua_pushnil(L);
  lua_pushfstring(L, "there can be no pipe: %s", strerror(errno));
  return 2;
}

int pipe_fileno(lua_State *L) {
  luaL_Stream *s = luaL_testudata(L, 1, LUA_FILEHANDLE);
  if (s == NULL || s->closef == NULL) return 0;
  fflush(s->f); /* what the script wrote comes before */
  lua_pushinteger(L, fileno(s->f));
  return 1;
}
