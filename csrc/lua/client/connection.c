/*
** Connections as Lua sees them. Written against saros.h as anybody's module
** would be; it is a part of each of the modules that have connections.
*/
#include <string.h>

#define SAROS_DEFINE
#include "lua/client/connection.h"

typedef struct box {
  talk *t;        /* NULL: born closed, or closed */
  saros_op *held; /* between its beginning and its handle */
} box;

/* The methods have the name of the metatable with them. */
static box *check(lua_State *L) {
  return luaL_checkudata(L, 1, lua_tostring(L, lua_upvalueindex(1)));
}

/* Raises when it cannot be used. What waits to become a handle was left there
   by one that could not be made: memory had run out. */
static talk *check_open(lua_State *L) {
  box *b = check(L);
  if (b->held != NULL) saros_op_unref(b->held);
  b->held = NULL;
  if (b->t == NULL) luaL_error(L, "the connection was closed");
  if (talk_is_inherited(b->t))
    luaL_error(L,
               "this connection to %s is the parent's, who forked; open "
               "another one here",
               talk_label(b->t));
  saros_fd(L); /* there is an engine, and it is ours: or this raises */
  return b->t;
}

/* Leaves the operation on the stack: owned by this state, and no reference of
   ours is left. */
static void push(lua_State *L, box *b, saros_op *op) {
  if (op == NULL) luaL_error(L, "not enough memory");
  b->held = op;
  saros_own(L, op);
  saros_push(L, op);
  b->held = NULL;
  saros_op_unref(op);
}


/* ------------------------------------------------------------------
** Asking
** ---------------------------------------------------------------- */

/* The stack keeps what is returned. */
static const char *value_at(lua_State *L, int index) {
  size_t size;
  switch (lua_type(L, index)) {
    case LUA_TNIL: return NULL;
    case LUA_TBOOLEAN: return lua_toboolean(L, index) ? "true" : "false";
    case LUA_TNUMBER:
    case LUA_TSTRING: break;
    default:
      luaL_error(L,
                 "a %s is no value for a database; number, string, boolean "
                 "or nil expected",
                 luaL_typename(L, index));
  }
  const char *text = lua_tolstring(L, index, &size);
  luaL_argcheck(L, strlen(text) == size, index,
                "text has a NUL byte in it; bytes go as hexadecimal digits");
  return text;
}

static int ask(lua_State *L, bool rows) {
  talk *t = check_open(L);
  size_t size;
  talk_question q = {.rows = rows};
  q.sql = luaL_checklstring(L, 2, &size);
  luaL_argcheck(L, strlen(q.sql) == size, 2, "the SQL has a NUL byte in it");
  int count = lua_gettop(L) - 2;
  luaL_argcheck(L, count < 1000, 3, "too many values");
  const char **values =
      lua_newuserdatauv(L, (size_t)count * sizeof *values + 1, 0);
  for (int i = 0; i < count; i++) values[i] = value_at(L, 3 + i);
  q.values = values;
  q.count = (unsigned)count;
  push(L, check(L), talk_ask(t, &q));
  return 1;
}

/* c:exec(sql, …) --> op */
static int exec(lua_State *L) {
  return ask(L, false);
}

/* c:query(sql, …) --> op */
static int query(lua_State *L) {
  return ask(L, true);
}

/* c:is_open() */
static int is_open(lua_State *L) {
  box *b = check(L);
  lua_pushboolean(
      L, b->t != NULL && !talk_is_inherited(b->t) && talk_is_open(b->t));
  return 1;
}


/* ------------------------------------------------------------------
** The end of it
** ---------------------------------------------------------------- */

static int closed(lua_State *L, int status, lua_KContext context) {
  (void)status;
  (void)context;
  if (lua_isnil(L, -2)) return 2; /* not in time */
  lua_pop(L, 1);
  return 1;
}

/* Waits by the one rule for all waits: at most the seconds at 2, if any. */
static int close_and_wait(lua_State *L) {
  box *b = check(L);
  talk *t = b->t;
  if (t == NULL || talk_is_inherited(t)) {
    lua_pushboolean(L, 1);
    return 1;
  }
  saros_fd(L);
  b->t = NULL;
  saros_op *op = talk_close(t, true);
  talk_unref(t);
  push(L, b, op);
  lua_getfield(L, -1, "wait");
  lua_insert(L, -2);
  lua_pushvalue(L, 2);
  lua_callk(L, 2, 2, 0, closed);
  return closed(L, LUA_OK, 0);
}

static int close_method(lua_State *L) {
  lua_settop(L, 2);
  return close_and_wait(L);
}

static int close_of_block(lua_State *L) {
  lua_settop(L, 1); /* without the error of the block */
  lua_pushnil(L);
  return close_and_wait(L);
}

/* Never cancels: what was asked is done, then it is closed. At the end of the
   state that is cancelled like all else, and closing is waited for. */
static int gc(lua_State *L) {
  box *b = lua_touserdata(L, 1);
  talk *t = b->t;
  saros_op *held = b->held;
  b->t = NULL;
  b->held = NULL;
  if (held != NULL) saros_op_unref(held);
  if (t == NULL) return 0;
  saros_op *op = talk_is_inherited(t) ? NULL : talk_close(t, false);
  if (op != NULL) saros_own(L, op);
  if (op != NULL) saros_op_unref(op);
  talk_unref(t);
  return 0;
}

static int to_text(lua_State *L) {
  box *b = check(L);
  lua_pushfstring(L, "%s: %s", lua_tostring(L, lua_upvalueindex(1)),
                  b->t == NULL ? "closed" : talk_label(b->t));
  return 1;
}


/* ------------------------------------------------------------------
** For the modules
** ---------------------------------------------------------------- */

void connection_register(lua_State *L, const char *name) {
  static const luaL_Reg methods[] = {{"exec", exec},
                                     {"query", query},
                                     {"is_open", is_open},
                                     {"close", close_method},
                                     {NULL, NULL}};
  static const luaL_Reg meta[] = {{"__gc", gc},
                                  {"__close", close_of_block},
                                  {"__tostring", to_text},
                                  {NULL, NULL}};
  luaL_newmetatable(L, name);
  lua_pushstring(L, name);
  luaL_setfuncs(L, meta, 1);
  luaL_newlibtable(L, methods);
  lua_pushstring(L, name);
  luaL_setfuncs(L, methods, 1);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
}

void connection_begin(lua_State *L, const char *name) {
  luaL_checkversion(L);
  lua_getglobal(L, "require");
  lua_pushliteral(L, "saros");
  lua_call(L, 1, 0);
  if (saros_api_get(L) == NULL)
    luaL_error(L, "this saros.core is older than %s", name);
}

talk **connection_push(lua_State *L, const char *name) {
  saros_fd(L);
  box *b = lua_newuserdatauv(L, sizeof *b, 0);
  memset(b, 0, sizeof *b);
  luaL_setmetatable(L, name);
  return &b->t;
}

const char *connection_text(lua_State *L, const char *name) {
  size_t size = 0;
  int type = lua_getfield(L, 1, name);
  if (type != LUA_TNIL && type != LUA_TSTRING)
    luaL_error(L, "option '%s': string expected, got %s", name,
               luaL_typename(L, -1));
  const char *text = lua_tolstring(L, -1, &size);
  if (text != NULL && strlen(text) != size)
    luaL_error(L, "option '%s' has a NUL byte in it", name);
  lua_pop(L, 1);
  return text;
}

uint32_t connection_seconds(lua_State *L, const char *name, double usual) {
  double seconds = usual;
  if (lua_getfield(L, 1, name) != LUA_TNIL) {
    if (lua_type(L, -1) != LUA_TNUMBER || !(lua_tonumber(L, -1) > 0))
      luaL_error(L, "option '%s': seconds expected", name);
    seconds = lua_tonumber(L, -1);
  }
  lua_pop(L, 1);
  return seconds < 4e6 ? (uint32_t)(seconds * 1e3) : 4000000000u;
}
