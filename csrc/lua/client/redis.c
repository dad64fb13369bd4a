/*
** saros.client.redis as Lua sees it: connections, and what is asked of them. A
** module of its own, written against saros.h as anybody's would be.
*/
#include <lauxlib.h>
#include <lua.h>
#include <string.h>

#define SAROS_DEFINE
#include "client/redis.h"
#include "lua/client/option.h"

#define CONNECTION "saros.client.redis"

#define CONNECT_SECONDS 10.0
#define WORDS 1000000 /* of a command */

typedef struct box {
  redis *c;       /* NULL: born closed, or closed */
  saros_op *held; /* between its beginning and its handle */
} box;

static box *check(lua_State *L) {
  return luaL_checkudata(L, 1, CONNECTION);
}

/* Raises when it cannot be used. What waits to become a handle was left there
   by one that could not be made: memory had run out. */
static redis *check_open(lua_State *L) {
  box *b = check(L);
  if (b->held != NULL) saros_op_unref(b->held);
  b->held = NULL;
  if (b->c == NULL) luaL_error(L, "the connection was closed");
  if (redis_is_inherited(b->c))
    luaL_error(L,
               "this connection to %s is the parent's, who forked; open "
               "another one here",
               redis_place(b->c));
  saros_fd(L); /* there is an engine, and it is ours: or this raises */
  return b->c;
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

/* c:command(word, …) --> op */
static int command(lua_State *L) {
  redis *c = check_open(L);
  int count = lua_gettop(L) - 1;
  luaL_argcheck(L, count > 0, 2, "a command expected");
  luaL_argcheck(L, count <= WORDS, 2, "a command of too many words");
  luaL_checkstack(L, 4, "words");
  redis_word *words = lua_newuserdatauv(L, (size_t)count * sizeof *words, 0);
  for (int i = 0; i < count; i++)
    words[i].bytes = luaL_checklstring(L, 2 + i, &words[i].size);
  push(L, check(L), redis_ask(c, words, (unsigned)count));
  return 1;
}

/* c:is_open() */
static int is_open(lua_State *L) {
  box *b = check(L);
  lua_pushboolean(
      L, b->c != NULL && !redis_is_inherited(b->c) && redis_is_open(b->c));
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
  redis *c = b->c;
  if (c == NULL || redis_is_inherited(c)) {
    lua_pushboolean(L, 1);
    return 1;
  }
  saros_fd(L);
  b->c = NULL;
  saros_op *op = redis_close(c, true);
  redis_unref(c);
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
  redis *c = b->c;
  saros_op *held = b->held;
  b->c = NULL;
  b->held = NULL;
  if (held != NULL) saros_op_unref(held);
  if (c == NULL) return 0;
  saros_op *op = redis_is_inherited(c) ? NULL : redis_close(c, false);
  if (op != NULL) saros_own(L, op);
  if (op != NULL) saros_op_unref(op);
  redis_unref(c);
  return 0;
}

static int to_text(lua_State *L) {
  box *b = check(L);
  if (b->c == NULL)
    lua_pushliteral(L, CONNECTION ": closed");
  else
    lua_pushfstring(L, CONNECTION ": %s", redis_place(b->c));
  return 1;
}


/* ------------------------------------------------------------------
** Options
** ---------------------------------------------------------------- */

/* A field of the table at the index, left on the stack; NULL: it is not there.
 */
static const char *text(lua_State *L, int index, const char *name,
                        size_t most) {
  size_t size;
  int type = lua_getfield(L, index, name);
  if (type == LUA_TNIL) return NULL;
  if (type != LUA_TSTRING)
    luaL_error(L, "option '%s': string expected, got %s", name,
               luaL_typename(L, -1));
  const char *s = lua_tolstring(L, -1, &size);
  if (strlen(s) != size)
    luaL_error(L, "option '%s' has a NUL byte in it", name);
  if (size == 0) luaL_error(L, "option '%s' is empty", name);
  if (size > most) luaL_error(L, "option '%s' is too long", name);
  return s;
}

/* open{ socket =, host =, port =, user =, password =, connect_timeout = } */
static int open_function(lua_State *L) {
  static const char *const names[] = {
      "socket", "host", "port", "user", "password", "connect_timeout", NULL};
  redis_options o = {0};
  password_source source = {0};
  lua_settop(L, 1);
  option_check_names(L, 1, "redis.open", names);
  luaL_checkstack(L, 20, "options");
  lua_getfield(L, 1, "connect_timeout");
  if (lua_isnil(L, -1)) lua_pushnumber(L, CONNECT_SECONDS);
  double seconds = lua_isnumber(L, -1) ? lua_tonumber(L, -1) : -1;
  if (!(seconds > 0))
    luaL_error(L, "option 'connect_timeout': seconds expected");
  o.connect_ms = seconds < 4e6 ? (uint32_t)(seconds * 1e3) + 1 : 4000000000u;
  o.socket = text(L, 1, "socket", 107);
  o.host = text(L, 1, "host", 255);
  if (o.socket == NULL && o.host == NULL)
    luaL_error(L, "redis.open: option 'socket' or 'host' expected");
  if (o.socket != NULL && o.host != NULL)
    luaL_error(L, "redis.open: option 'socket' or 'host' expected, not both");
  if (o.socket != NULL && *o.socket != '/')
    luaL_error(L, "option 'socket': an absolute path expected");
  unsigned port = option_port(L);
  o.port = port == 0 ? "6379" : lua_pushfstring(L, "%d", (int)port);
  o.user = text(L, 1, "user", 500);
  option_password(L, &source);
  if (o.user != NULL && !password_is_given(&source))
    luaL_error(L, "option 'user' is of no use without option 'password'");
  o.password = &source;
  saros_fd(L);
  box *b = lua_newuserdatauv(L, sizeof *b, 0);
  memset(b, 0, sizeof *b);
  luaL_setmetatable(L, CONNECTION);
  b->c = redis_open(&o);
  return b->c != NULL ? 1 : luaL_error(L, "not enough memory, or descriptors");
}

__attribute__((visibility("default"))) int luaopen_saros_client_redis(
    lua_State *L);

int luaopen_saros_client_redis(lua_State *L) {
  static const luaL_Reg methods[] = {{"command", command},
                                     {"is_open", is_open},
                                     {"close", close_method},
                                     {NULL, NULL}};
  static const luaL_Reg meta[] = {{"__gc", gc},
                                  {"__close", close_of_block},
                                  {"__tostring", to_text},
                                  {NULL, NULL}};
  static const luaL_Reg functions[] = {{"open", open_function}, {NULL, NULL}};
  luaL_checkversion(L);
  lua_getglobal(L, "require");
  lua_pushliteral(L, "saros");
  lua_call(L, 1, 0);
  if (saros_api_get(L) == NULL)
    return luaL_error(L, "this saros.core is older than saros.client.redis");
  luaL_newmetatable(L, CONNECTION);
  luaL_setfuncs(L, meta, 0);
  luaL_newlib(L, methods);
  lua_setfield(L, -2, "__index");
  luaL_newlib(L, functions);
  return 1;
}
