/*
** A function of Lua's that may take only so much memory, so many steps, and so
** much time of the processor, since a step may be a text of megabytes: of a
** configuration, which may be anybody's mistake.
*/
#include "lua/term/limit.h"

#include <lauxlib.h>
#include <lua.h>
#include <stdint.h>
#include <time.h>

enum { STEPS = 100 /* between two looks */ };

/* One at a time in a state, and the command line has one state. */
static struct {
  lua_Alloc real;
  void *context;
  size_t used, most;
  lua_Integer steps;
  double until;       /* by the clock of the processor */
  const char *source; /* of the function: lines of others say nothing */
  int line;
} limit;

static void *alloc(void *context, void *block, size_t before, size_t after) {
  (void)context;
  size_t had = block != NULL ? before : 0;
  if (after > had && after - had > limit.most - limit.used) return NULL;
  void *p = limit.real(limit.context, block, before, after);
  if (p == NULL && after > 0) return NULL;
  /* What was there before may go meanwhile. */
  size_t grown = limit.used + after;
  limit.used = grown > had ? grown - had : 0;
  return p;
}

static double seconds(void) {
  struct timespec now = {0};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static void watch(lua_State *L, lua_Debug *d) {
  if (d->event == LUA_HOOKLINE) {
    if (lua_getinfo(L, "S", d) && d->source == limit.source)
      limit.line = d->currentline;
    return;
  }
  limit.steps -= STEPS;
  if (limit.steps > 0 && seconds() < limit.until) return;
  lua_sethook(L, watch, LUA_MASKCOUNT, 1); /* whoever catches it */
  luaL_error(L, "it takes too long: is there a loop that does not end?");
}

/* limited(f, bytes, steps, seconds, …) --> true, results; or false, error,
   line */
int limited_function(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_Integer bytes = luaL_checkinteger(L, 2);
  limit.steps = luaL_checkinteger(L, 3);
  luaL_argcheck(L, bytes > 0, 2, "bytes expected");
  limit.until = seconds() + luaL_checknumber(L, 4);
  lua_remove(L, 4);
  lua_remove(L, 3);
  lua_remove(L, 2);
  lua_checkstack(L, LUA_MINSTACK);
  lua_Debug d;
  lua_pushvalue(L, 1);
  lua_getinfo(L, ">S", &d);
  limit.source = d.source;
  limit.line = 0;
  limit.used = 0;
  limit.most = (size_t)bytes;
  limit.real = lua_getallocf(L, &limit.context);
  lua_setallocf(L, alloc, NULL);
  lua_sethook(L, watch, LUA_MASKCOUNT | LUA_MASKLINE, STEPS);
  int status = lua_pcall(L, lua_gettop(L) - 1, LUA_MULTRET, 0);
  lua_sethook(L, NULL, 0, 0);
  lua_setallocf(L, limit.real, limit.context);
  if (status == LUA_OK) {
    lua_pushboolean(L, 1);
    lua_insert(L, 1);
    return lua_gettop(L);
  }
  lua_pushboolean(L, 0);
  lua_insert(L, -2);
  if (status == LUA_ERRMEM) {
    lua_pop(L, 1);
    lua_pushliteral(L, "it takes too much memory");
  }
  lua_pushinteger(L, limit.line);
  return 3;
}
