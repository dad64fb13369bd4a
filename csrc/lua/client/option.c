/*
** Options that the modules of clients have in common.
*/
#include "lua/client/option.h"

#include <lauxlib.h>
#include <stdlib.h>
#include <string.h>

void option_check_names(lua_State *L, int index, const char *what,
                        const char *const names[]) {
  luaL_checktype(L, index, LUA_TTABLE);
  for (lua_pushnil(L); lua_next(L, index) != 0; lua_pop(L, 1)) {
    int i = 0;
    const char *name =
        lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "";
    while (names[i] != NULL && strcmp(names[i], name) != 0) i++;
    if (names[i] == NULL)
      luaL_error(L, "%s has no option '%s'", what, luaL_tolstring(L, -2, NULL));
  }
}

unsigned option_port(lua_State *L) {
  lua_Integer port = 0;
  if (lua_getfield(L, 1, "port") != LUA_TNIL) {
    port = lua_isinteger(L, -1) ? lua_tointeger(L, -1) : 0;
    if (port < 1 || port > 65535)
      luaL_error(L, "option 'port': a number of a port expected");
  }
  lua_pop(L, 1);
  return (unsigned)port;
}

/* A text of the table at the index; the table keeps it. */
static const char *text_at(lua_State *L, int index, const char *name) {
  size_t size = 0;
  int type = lua_getfield(L, index, name);
  if (type != LUA_TNIL && type != LUA_TSTRING)
    luaL_error(L, "option 'password': '%s': string expected, got %s", name,
               luaL_typename(L, -1));
  const char *text = lua_tolstring(L, -1, &size);
  if (text != NULL && (strlen(text) != size || size == 0))
    luaL_error(L, "option 'password': '%s' is empty, or has a NUL byte", name);
  lua_pop(L, 1);
  return text;
}

/* A program: a list of words, or a line for the shell. Its memory is left on
   the stack. */
static char **words_at(lua_State *L, int index) {
  int type = lua_getfield(L, index, "command");
  if (type == LUA_TNIL) {
    lua_pop(L, 1);
    return NULL;
  }
  if (type == LUA_TSTRING) {
    lua_createtable(L, 3, 0);
    lua_pushliteral(L, "/bin/sh");
    lua_rawseti(L, -2, 1);
    lua_pushliteral(L, "-c");
    lua_rawseti(L, -2, 2);
    lua_pushvalue(L, -2);
    lua_rawseti(L, -2, 3);
  } else if (type != LUA_TTABLE) {
    luaL_error(L, "option 'password': 'command': string or table expected");
  }
  int list = lua_gettop(L);
  lua_Integer count = luaL_len(L, list);
  if (count < 1 || count > 1000)
    luaL_error(L, "option 'password': 'command': a list of words expected");
  char **words = lua_newuserdatauv(L, ((size_t)count + 1) * sizeof *words, 0);
  for (lua_Integer i = 0; i < count; i++) {
    if (lua_geti(L, list, i + 1) != LUA_TSTRING)
      luaL_error(L, "option 'password': 'command': a list of strings expected");
    words[i] = (char *)(uintptr_t)lua_tostring(L, -1);
    lua_pop(L, 1); /* the list keeps it */
  }
  words[count] = NULL;
  return words;
}

void option_password(lua_State *L, password_source *s) {
  static const char *const names[] = {"file", "env", "command", NULL};
  if (lua_getfield(L, 1, "password") == LUA_TNIL) return;
  if (lua_type(L, -1) != LUA_TTABLE)
    luaL_error(L,
               "option 'password': { file = … }, { env = … } or { command "
               "= … } expected: a password does not belong into a script");
  int at = lua_gettop(L);
  option_check_names(L, at, "option 'password'", names);
  s->file = (char *)(uintptr_t)text_at(L, at, "file");
  const char *env = text_at(L, at, "env");
  s->command = words_at(L, at);
  if ((s->file != NULL) + (env != NULL) + (s->command != NULL) != 1)
    luaL_error(L, "option 'password': one of file, env, command expected");
  if (env == NULL) return;
  s->text = getenv(env);
  if (s->text == NULL)
    luaL_error(L, "option 'password': there is no %s in the environment", env);
}
