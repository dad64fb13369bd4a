/*
** saros.client.mariadb as Lua sees it.
*/
#include "client/mariadb.h"

#include "lua/client/connection.h"
#include "lua/client/option.h"

#define NAME "saros.client.mariadb"

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
  option_check_names(L, 1, "mariadb.open", names);
  lua_settop(L, 1);
  luaL_checkstack(L, 20, "options");
  mariadb_options o = {
      .socket = connection_text(L, "socket"),
      .host = connection_text(L, "host"),
      .user = connection_text(L, "user"),
      .database = connection_text(L, "database"),
      .defaults_file = connection_text(L, "defaults_file"),
      .defaults_group = connection_text(L, "defaults_group"),
      .port = option_port(L),
      .connect_ms = connection_seconds(L, "connect_timeout", 10),
      .password = &source};
  if (o.socket != NULL && o.host != NULL)
    return luaL_error(L, "mariadb.open: 'socket' or 'host', not both");
  if (o.socket == NULL && o.host == NULL && o.defaults_file == NULL &&
      o.defaults_group == NULL)
    return luaL_error(L,
                      "mariadb.open: option 'socket' or 'host' expected, or "
                      "an option file that says so");
  option_password(L, &source);
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
