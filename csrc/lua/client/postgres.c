/*
** saros.client.postgres as Lua sees it.
*/
#include "client/postgres.h"

#include "lua/client/connection.h"
#include "lua/client/option.h"

#define NAME "saros.client.postgres"

/* open{ conninfo =, connect_timeout = 10 } --> connection */
static int open_function(lua_State *L) {
  static const char *const names[] = {"conninfo", "connect_timeout", NULL};
  const char *why;
  option_check_names(L, 1, "postgres.open", names);
  lua_settop(L, 1);
  postgres_options o = {
      .conninfo = connection_text(L, "conninfo"),
      .connect_ms = connection_seconds(L, "connect_timeout", 10)};
  if (o.conninfo == NULL)
    return luaL_error(L, "option 'conninfo': string expected, got nil");
  talk **t = connection_push(L, NAME);
  *t = postgres_open(&o, &why);
  if (*t != NULL) return 1;
  if (why != NULL) return luaL_error(L, "option 'conninfo': %s", why);
  return luaL_error(L, "not enough memory");
}

__attribute__((visibility("default"))) int luaopen_saros_client_postgres(
    lua_State *L);

int luaopen_saros_client_postgres(lua_State *L) {
  static const luaL_Reg functions[] = {{"open", open_function}, {NULL, NULL}};
  connection_begin(L, NAME);
  connection_register(L, NAME);
  luaL_newlib(L, functions);
  lua_pushinteger(L, postgres_version());
  lua_setfield(L, -2, "version");
  return 1;
}
