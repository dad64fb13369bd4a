/*
** saros.repository.core as Lua sees it: handles, and one method that begins any
** call by its name. What scripts use stands on top of it, in Lua. A module of
** its own, written against saros.h as anybody's would be.
*/
#include <fcntl.h>
#include <lauxlib.h>
#include <limits.h>
#include <lua.h>
#include <pthread.h>
#include <string.h>

#define SAROS_DEFINE
#include "lua/repository/pipe.h"
#include "lua/value/take.h"
#include "repository/call.h"
#include "repository/repo_parts.h"

#define REPOSITORY "saros.repository"

typedef struct box {
  repo *r;        /* NULL: born closed, or closed */
  saros_op *held; /* between its beginning and its handle */
} box;

static box *check(lua_State *L) {
  return luaL_checkudata(L, 1, REPOSITORY);
}

/* Raises when it cannot be used. */
static repo *check_open(lua_State *L) {
  box *b = check(L);
  if (b->held != NULL) saros_op_unref(b->held);
  b->held = NULL;
  if (b->r == NULL) luaL_error(L, "the repository was closed");
  if (repo_is_inherited(b->r))
    luaL_error(L,
               "this repository was opened by the parent, who forked; open %s "
               "here once more",
               repo_location(b->r));
  saros_fd(L); /* there is an engine, and it is ours: or this raises */
  return b->r;
}

/* Leaves the operation on the stack: owned by this state, and no reference of
   ours is left. */
static void push(lua_State *L, box *b, saros_op *op) {
  b->held = op;
  saros_own(L, op);
  saros_push(L, op);
  b->held = NULL;
  saros_op_unref(op);
}

/* Nothing is taken yet that an error could lose. */
static void check_streams(lua_State *L, int index) {
  lua_Integer count = (lua_Integer)lua_rawlen(L, index);
  for (lua_Integer i = 1; i <= count; i++) {
    lua_rawgeti(L, index, i);
    if (!lua_isinteger(L, -1) && saros_check(L, -1) == NULL)
      luaL_error(L, "a stream is an operation or a descriptor, not a %s",
                 luaL_typename(L, -1));
    lua_pop(L, 1);
  }
}

/* A list of descriptors, which stay the caller's, and processes with an output
   that is a stream. False: one of them has none. Raises nothing. */
static bool take_streams(lua_State *L, int index, repo_stream *streams,
                         size_t count) {
  bool good = true;
  for (size_t i = 0; i < count; i++) {
    lua_rawgeti(L, index, (lua_Integer)i + 1);
    streams[i] = (repo_stream){-1, NULL};
    if (lua_isinteger(L, -1)) {
      lua_Integer fd = lua_tointeger(L, -1);
      if (fd >= 0 && fd <= INT_MAX)
        streams[i].fd = fcntl((int)fd, F_DUPFD_CLOEXEC, 3);
    } else {
      streams[i].op = saros_op_ref(saros_check(L, -1));
      streams[i].fd = saros_op_stream(streams[i].op);
    }
    lua_pop(L, 1);
    good = good && streams[i].fd >= 0;
  }
  return good;
}

/* The second repository of a call that is about two; NULL: of none. */
static repo *check_other(lua_State *L, int index) {
  if (lua_isnoneornil(L, index)) return NULL;
  box *b = luaL_checkudata(L, index, REPOSITORY);
  if (b->r == NULL) luaL_error(L, "the other repository was closed");
  if (repo_is_inherited(b->r))
    luaL_error(L,
               "the other repository was opened by the parent, who forked; "
               "open %s here once more",
               repo_location(b->r));
  return b->r;
}

/* repo:_call(work, options, name, streams, other) --> op */
static int call_method(lua_State *L) {
  repo *r = check_open(L);
  repo *other = check_other(L, 6);
  const char *name = luaL_optstring(L, 4, NULL);
  const repo_work *work = repo_work_find(luaL_checkstring(L, 2));
  luaL_argcheck(L, work != NULL, 2, "there is no such call");
  uint32_t why;
  size_t count = lua_istable(L, 5) ? lua_rawlen(L, 5) : 0;
  if (count > 0) check_streams(L, 5);
  luaL_checkstack(L, 8, NULL);
  value *options = options_take(L, 3);
  repo_stream *streams = count > 0 ? mem_alloc(count * sizeof *streams) : NULL;
  if (count > 0 && (streams == NULL || !take_streams(L, 5, streams, count))) {
    value_wipe(options);
    repo_streams_free(streams, streams != NULL ? count : 0);
    return luaL_error(L,
                      "a stream cannot be read or written: a process needs "
                      "stdout = \"stream\", which nobody else reads; a "
                      "descriptor must be open");
  }
  saros_op *op =
      other != NULL
          ? repo_call_begin_both(r, other, work, options, name, &why)
          : repo_call_begin_with(r, work, options, streams, count, name, &why);
  if (op != NULL) {
    push(L, check(L), op);
    return 1;
  }
  if (why == SAROS_E_BUSY_NAME)
    return luaL_error(L, "a pending operation is called '%s' already", name);
  return luaL_error(L, "the operation cannot be begun (0x%x)", (unsigned)why);
}

/* What is asked already goes on: it has the repository itself. */
static int close_method(lua_State *L) {
  box *b = check(L);
  repo *r = b->r;
  b->r = NULL;
  if (b->held != NULL) saros_op_unref(b->held);
  b->held = NULL;
  if (r != NULL && !repo_is_inherited(r)) repo_close(r);
  repo_unref(r);
  lua_pushboolean(L, 1);
  return 1;
}

static int gc(lua_State *L) {
  box *b = lua_touserdata(L, 1);
  if (b->held != NULL) saros_op_unref(b->held);
  repo_unref(b->r);
  b->held = NULL;
  b->r = NULL;
  return 0;
}

static int location(lua_State *L) {
  lua_pushstring(L, repo_location(check_open(L)));
  return 1;
}

static int to_text(lua_State *L) {
  box *b = check(L);
  if (b->r == NULL)
    lua_pushliteral(L, REPOSITORY ": closed");
  else
    lua_pushfstring(L, REPOSITORY ": %s", repo_location(b->r));
  return 1;
}

/* new(options) --> repo, not open yet: the calls open and create do that; or
   nil, code, message */
static int new_function(lua_State *L) {
  error *e;
  luaL_checktype(L, 1, LUA_TTABLE);
  saros_fd(L);
  box *b = lua_newuserdatauv(L, sizeof *b, 0);
  memset(b, 0, sizeof *b);
  luaL_setmetatable(L, REPOSITORY);
  value *options = options_take(L, 1);
  b->r = repo_new(options, &e);
  value_wipe(options);
  if (b->r != NULL) return 1;
  lua_pushnil(L);
  lua_pushinteger(L, (lua_Integer)e->code);
  lua_pushstring(L, e->message); /* may raise, and lose it: no memory */
  error_unref(e);
  return 3;
}


/* ------------------------------------------------------------------
** The module
** ---------------------------------------------------------------- */

/* Base is here once more, with a log that nobody looks at. */
static void pass_on(void *context, const log_record *record) {
  (void)context;
  saros_log((saros_log_level)record->level, record->area, record->text);
}

static void in_child(void) {
  log_forked();
}

static void once_only(void) {
  log_attach(pass_on, NULL);
  pthread_atfork(NULL, NULL, in_child);
}

__attribute__((visibility("default"))) int luaopen_saros_repository_core(
    lua_State *L);

int luaopen_saros_repository_core(lua_State *L) {
  static const luaL_Reg methods[] = {{"_call", call_method},
                                     {"location", location},
                                     {"close", close_method},
                                     {NULL, NULL}};
  static const luaL_Reg meta[] = {{"__gc", gc},
                                  {"__close", close_method},
                                  {"__tostring", to_text},
                                  {NULL, NULL}};
  static const luaL_Reg functions[] = {{"new", new_function},
                                       {"pipe", pipe_new},
                                       {"fileno", pipe_fileno},
                                       {NULL, NULL}};
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  luaL_checkversion(L);
  lua_getglobal(L, "require");
  lua_pushliteral(L, "saros");
  lua_call(L, 1, 0);
  if (saros_api_get(L) == NULL)
    return luaL_error(L, "this saros.core is older than saros.repository");
  pthread_once(&once, once_only);
  luaL_newmetatable(L, REPOSITORY);
  luaL_setfuncs(L, meta, 0);
  luaL_newlib(L, methods);
  lua_pushvalue(L, -1);
  lua_setfield(L, -3, "__index");
  luaL_newlib(L, functions);
  lua_insert(L, -2);
  lua_setfield(L, -2, "methods");
  return 1;
}
