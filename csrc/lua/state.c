/*
** What saros keeps for one Lua state: a userdata in the registry whose
** finalizer is the sentinel. It is made by `require`, before any operation,
** so it is finalized after all of them.
*/
#include "lua/state.h"

#include <string.h>

#include "lua/dispatch.h"
#include "lua/handle.h"
#include "lua/writer.h"
#include "op/fork.h"

static const char key = 0; /* its address is the registry's key */

/* At lua_close unheld work of this state is cancelled and given this long. */
#define LEAVE_MS 2000

state *state_get(lua_State *L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &key);
  state *s = lua_touserdata(L, -1);
  lua_pop(L, 1);
  return s != NULL && s->open ? s : NULL;
}

void state_push(lua_State *L, int keep) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &key);
  lua_getiuservalue(L, -1, keep);
  lua_remove(L, -2);
}

void state_keep(lua_State *L, int keep) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &key);
  lua_insert(L, -2);
  lua_setiuservalue(L, -2, keep);
  lua_pop(L, 1);
}

void state_functions(lua_State *L, const luaL_Reg *functions) {
  state_push(L, KEEP_HANDLE_MT);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &key);
  luaL_setfuncs(L, functions, 2);
}

port *state_port(lua_State *L, state *s) {
  if (s->port != NULL && s->generation == fork_generation) return s->port;
  if (s->port != NULL) { /* we are the child of a fork */
    task_forget_all(L, s);
    writers_forget(s);
    if (s->log != NULL) log_box_close(s->log);
    s->log = NULL;
    port_close(s->port);
    s->port = NULL;
  }
  uint32_t why;
  port *p = port_open(&why);
  if (p == NULL) {
    failure_make(L, SAROS_FACADE_SAROS, why, 0,
                 why == SAROS_E_ENGINE
                     ? "another copy of saros runs in this process; use its "
                       "functions (saros_api_get) instead of a second engine"
                     : "the engine could not be started");
    lua_error(L);
  }
  s->port = p;
  s->ports++;
  s->generation = fork_generation;
  return p;
}

/* The sentinel. Runs no Lua and raises nothing: everything of this state that
   is still to be finalized is ours and safe, what was finalized is not
   touched. */
static int sentinel(lua_State *L) {
  state *s = lua_touserdata(L, 1);
  bool ours = s->port != NULL && s->generation == fork_generation;
  if (ours) writers_close_all(s);
  if (ours)
    while (s->tasks != NULL) task_discard(L, s, task_first(s));
  if (!ours) writers_forget(s);
  if (s->log != NULL) log_box_close(s->log);
  s->log = NULL;
  if (s->port == NULL) return 0;
  if (ours) port_leave(s->port, LEAVE_MS);
  if (ours) dispatch_leave(s);
  port_close(s->port);
  s->port = NULL;
  return 0;
}

/* A new table as metatable: {__name, __gc …}, with `methods` as __index. */
static void metatable(lua_State *L, const char *name, const luaL_Reg *meta) {
  lua_newtable(L);
  lua_pushstring(L, name);
  lua_setfield(L, -2, "__name");
  /* Finalizers must be there before the first lua_setmetatable. */
  for (const luaL_Reg *m = meta; m->name != NULL; m++) {
    lua_pushcfunction(L, m->func);
    lua_setfield(L, -2, m->name);
  }
}

state *state_open(lua_State *L) {
  static const luaL_Reg sentinel_meta[] = {{"__gc", sentinel}, {NULL, NULL}};
  state *s = lua_newuserdatauv(L, sizeof *s, KEEP_COUNT);
  memset(s, 0, sizeof *s);
  s->last = &s->first;
  s->events_last = &s->events;
  s->budget = BUDGET_DEFAULT;
  lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_MAINTHREAD);
  s->main = lua_tothread(L, -1);
  lua_pop(L, 1);
  static const char *const harmless[] = {"pcall", "xpcall", "dofile", "pairs"};
  for (int i = 0; i < 4; i++) {
    lua_getglobal(L, harmless[i]);
    s->harmless[i] = lua_tocfunction(L, -1);
    lua_pop(L, 1);
  }
  metatable(L, "saros.state", sentinel_meta);
  lua_setmetatable(L, -2);
  lua_newtable(L);
  lua_setiuservalue(L, -2, KEEP_THREADS);
  lua_newtable(L);
  lua_setiuservalue(L, -2, KEEP_NAMED);
  lua_newtable(L);
  lua_createtable(L, 0, 1);
  lua_pushliteral(L, "v");
  lua_setfield(L, -2, "__mode");
  lua_setmetatable(L, -2);
  lua_setiuservalue(L, -2, KEEP_WRITERS);
  lua_newtable(L);
  lua_setiuservalue(L, -2, KEEP_DRESS);
  luaL_loadstring(L, "return");
  lua_setiuservalue(L, -2, KEEP_NOTHING);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &key);
  /* With the state in its place its functions can have it as upvalue. */
  lua_newtable(L);
  lua_pushliteral(L, "saros.operation");
  lua_setfield(L, -2, "__name");
  lua_pushvalue(L, -1);
  state_keep(L, KEEP_HANDLE_MT);
  state_functions(L, handle_meta);
  lua_newtable(L);
  state_functions(L, handle_methods);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
  lua_newtable(L);
  lua_pushliteral(L, "saros.error");
  lua_setfield(L, -2, "__name");
  lua_pushvalue(L, -1);
  state_keep(L, KEEP_FAILURE_MT);
  state_functions(L, failure_meta);
  lua_pop(L, 1);
  progress_open(L);
  writer_open(L);
  vss_open(L);
  s->open = true;
  return s;
}
