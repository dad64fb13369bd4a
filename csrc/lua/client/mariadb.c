/*
** saros.client.mariadb as Lua sees it.
*/
#include "client/mariadb.h"

#include <stdlib.h>
#include <string.h>

#include "lua/client/connection.h"

#define NAME "saros.client.mariadb"

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

/* password = { file = | env = | command = }: never the password itself. */
static void password_option(lua_State *L, password_source *s) {
  static const char *const names[] = {"file", "env", "command", NULL};
  if (lua_getfield(L, 1, "password") == LUA_TNIL) return;
  if (lua_type(L, -1) != LUA_TTABLE)
    luaL_error(L,
               "option 'password': { file = … }, { env = … } or { command "
               "= … } expected: a password does not belong into a script");
  int at = lua_gettop(L);
  for (lua_pushnil(L); lua_next(L, at) != 0; lua_pop(L, 1)) {
    int i = 0;
    const char *name =
        lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "";
    while (names[i] != NULL && strcmp(names[i], name) != 0) i++;
    if (names[i] == NULL)
      luaL_error(L, "option 'password' has no '%s'",
                 luaL_tolstring(L, -2, NULL));
  }
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

static uint32_t port_option(lua_State *L) {
  lua_Integer port = 0;
  if (lua_getfield(L, 1, "port") != LUA_TNIL) {
    port = lua_isinteger(L, -1) ? lua_tointeger(L, -1) : 0;
    if (port < 1 || port > 65535)
      luaL_error(L, "option 'port': a number of a port expected");
  }
  lua_pop(L, 1);
  return (uint32_t)port;
}

/* open{ socket =, host =, user =, … } --> connection */
static int open_function(lua_State *L) {
  static const char *const names[] = {"socket",
                                      "host",
                                      "port",
                                      "user",
                                      "database",
                                      "defaults_file",
                                      "defaults_group",
                                      "password",
                                      "connect_timeout",
                                      NULL};
  password_source source = {0};
  connection_check_names(L, "mariadb.open", names);
  lua_settop(L, 1);
  luaL_checkstack(L, 20, "options");
  mariadb_options o = {
      .socket = connection_text(L, "socket"),
      .host = connection_text(L, "host"),
      .user = connection_text(L, "user"),
      .database = connection_text(L, "database"),
      .defaults_file = connection_text(L, "defaults_file"),
      .defaults_group = connection_text(L, "defaults_group"),
      .port = port_option(L),
      .connect_ms = connection_seconds(L, "connect_timeout", 10),
      .password = &source};
  if (o.socket != NULL && o.host != NULL)
    return luaL_error(L, "mariadb.open: 'socket' or 'host', not both");
  if (o.socket == NULL && o.host == NULL && o.defaults_file == NULL &&
      o.defaults_group == NULL)
    return luaL_error(L,
                      "mariadb.open: option 'socket' or 'host' expected, or "
                      "an option file that says so");
  password_option(L, &source);
  talk **t = connection_push(L, NAME);
  *t = mariadb_open(&o);
  return *t != NULL ? 1 : luaL_error(L, "not enough memory");
}

__attribute__((visibility("default"))) int luaopen_saros_client_mariadb(
    lua_State *L);

int luaopen_saros_client_mariadb(lua_State *L) {
  static const luaL_Reg functions[] = {{"open", open_function}, {NULL, NULL}};
  connection_begin(L, NAME);
  connection_register(L, NAME);
  luaL_newlib(L, functions);
  lua_pushstring(L, mariadb_version());
  lua_setfield(L, -2, "version");
  return 1;
}
