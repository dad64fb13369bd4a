/*
** saros.client.sqlite as Lua sees it: connections, and what is asked of them.
** A module of its own, written against saros.h as anybody's would be.
*/
#include <dlfcn.h>
#include <errno.h>
#include <lauxlib.h>
#include <lua.h>
#include <math.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SAROS_DEFINE
#include "client/sqlite.h"

#define CONNECTION "saros.client.sqlite"
#define BLOB "saros.client.sqlite.blob"

/* As SQLite's own tools have it, some seconds are no surprise. */
#define BUSY_SECONDS 5.0

typedef struct box {
  sqlite *c;      /* NULL: born closed, or closed */
  saros_op *held; /* between its beginning and its handle */
} box;

static box *check(lua_State *L) {
  return luaL_checkudata(L, 1, CONNECTION);
}

/* Raises when it cannot be used. What waits to become a handle was left there
   by one that could not be made: memory had run out. */
static sqlite *check_open(lua_State *L) {
  box *b = check(L);
  if (b->held != NULL) saros_op_unref(b->held);
  b->held = NULL;
  if (b->c == NULL) luaL_error(L, "the connection was closed");
  if (sqlite_is_inherited(b->c))
    luaL_error(L,
               "this connection to %s is the parent's, who forked; open "
               "another one here",
               sqlite_path(b->c));
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

static parameter value_at(lua_State *L, int index) {
  parameter p = {.type = PARAMETER_NULL};
  switch (lua_type(L, index)) {
    case LUA_TNIL: break;
    case LUA_TBOOLEAN:
      p.type = PARAMETER_INTEGER;
      p.integer = lua_toboolean(L, index);
      break;
    case LUA_TNUMBER:
      p.type = lua_isinteger(L, index) ? PARAMETER_INTEGER : PARAMETER_REAL;
      p.integer = lua_tointeger(L, index);
      p.real = lua_tonumber(L, index);
      break;
    case LUA_TSTRING:
      p.type = PARAMETER_TEXT;
      p.bytes = lua_tolstring(L, index, &p.size);
      break;
    default:
      if (luaL_testudata(L, index, BLOB) == NULL)
        luaL_error(L,
                   "a %s is no value for a database; number, string, "
                   "boolean, nil or sqlite.blob(bytes) expected",
                   luaL_typename(L, index));
      lua_getiuservalue(L, index, 1);
      p.type = PARAMETER_BLOB;
      p.bytes = lua_tolstring(L, -1, &p.size);
      lua_pop(L, 1); /* its userdata keeps it */
  }
  return p;
}

/* Values in order behind the SQL; the stack keeps what they point to. */
static void in_order(lua_State *L, question *q) {
  int count = lua_gettop(L) - 2;
  parameter *list = lua_newuserdatauv(L, (size_t)count * sizeof *list + 1, 0);
  for (int i = 0; i < count; i++) list[i] = value_at(L, 3 + i);
  q->parameters = list;
  q->count = (unsigned)count;
}

/* { name = value, … }; the table keeps them. */
static void by_name(lua_State *L, question *q) {
  unsigned count = 0, at = 0;
  luaL_argcheck(L, lua_gettop(L) == 3, 4, "nothing expected after a table");
  for (lua_pushnil(L); lua_next(L, 3) != 0; lua_pop(L, 1)) {
    if (lua_type(L, -2) != LUA_TSTRING)
      luaL_error(L,
                 "{ name = value, … } expected; values in order are "
                 "arguments, not a list");
    count++;
  }
  parameter *list = lua_newuserdatauv(L, count * sizeof *list + 1, 0);
  for (lua_pushnil(L); lua_next(L, 3) != 0; lua_pop(L, 1)) {
    list[at] = value_at(L, lua_gettop(L));
    list[at++].name = lua_tostring(L, -2);
  }
  q->parameters = list;
  q->count = count;
}

static int ask(lua_State *L, bool rows) {
  sqlite *c = check_open(L);
  question q = {.rows = rows};
  q.sql = luaL_checklstring(L, 2, &q.size);
  luaL_argcheck(L, strlen(q.sql) == q.size, 2, "the SQL has a NUL byte in it");
  luaL_checkstack(L, 8, "values");
  if (lua_type(L, 3) == LUA_TTABLE)
    by_name(L, &q);
  else if (lua_gettop(L) > 2)
    in_order(L, &q);
  push(L, check(L), sqlite_ask(c, &q));
  return 1;
}

/* db:exec(sql, …) --> op */
static int exec(lua_State *L) {
  return ask(L, false);
}

/* db:query(sql, …) --> op */
static int query(lua_State *L) {
  return ask(L, true);
}

static uint32_t milliseconds(lua_State *L, int index) {
  double seconds = luaL_checknumber(L, index);
  luaL_argcheck(L, seconds >= 0, index, "seconds expected, not negative");
  return seconds < 4e6 ? (uint32_t)(seconds * 1e3) : 4000000000u;
}

/* db:set_busy_timeout(seconds) */
static int set_busy_timeout(lua_State *L) {
  sqlite *c = check_open(L);
  sqlite_set_busy(c, milliseconds(L, 2));
  return 0;
}

/* db:path() */
static int path(lua_State *L) {
  lua_pushstring(L, sqlite_path(check_open(L)));
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
  sqlite *c = b->c;
  if (c == NULL || sqlite_is_inherited(c)) {
    lua_pushboolean(L, 1);
    return 1;
  }
  saros_fd(L);
  b->c = NULL;
  saros_op *op = sqlite_close(c, true);
  sqlite_unref(c);
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

/* Never cancels: what was asked is done, then the file is closed. At the end
   of the state that is cancelled like all else, and closing is waited for. */
static int gc(lua_State *L) {
  box *b = lua_touserdata(L, 1);
  sqlite *c = b->c;
  saros_op *held = b->held;
  b->c = NULL;
  b->held = NULL;
  if (held != NULL) saros_op_unref(held);
  if (c == NULL) return 0;
  saros_op *op = sqlite_is_inherited(c) ? NULL : sqlite_close(c, false);
  if (op != NULL) saros_own(L, op);
  if (op != NULL) saros_op_unref(op);
  sqlite_unref(c);
  return 0;
}

static int to_text(lua_State *L) {
  box *b = check(L);
  if (b->c == NULL)
    lua_pushliteral(L, CONNECTION ": closed");
  else
    lua_pushfstring(L, CONNECTION ": %s", sqlite_path(b->c));
  return 1;
}


/* ------------------------------------------------------------------
** The module
** ---------------------------------------------------------------- */

static void check_names(lua_State *L) {
  static const char *const names[] = {"path", "busy_timeout", "readonly",
                                      "create", NULL};
  for (lua_pushnil(L); lua_next(L, 1) != 0; lua_pop(L, 1)) {
    int i = 0;
    const char *name =
        lua_type(L, -2) == LUA_TSTRING ? lua_tostring(L, -2) : "";
    while (names[i] != NULL && strcmp(names[i], name) != 0) i++;
    if (names[i] == NULL)
      luaL_error(L, "sqlite.open has no option '%s'",
                 luaL_tolstring(L, -2, NULL));
  }
}

/* The path at the top, in its place an absolute one: the file is opened later,
   and elsewhere. That also keeps SQLite from taking it for a URI. */
static const char *absolute(lua_State *L) {
  size_t size;
  const char *given = lua_tolstring(L, -1, &size);
  if (strlen(given) != size)
    luaL_error(L, "option 'path' has a NUL byte in it");
  if (*given == '\0') luaL_error(L, "option 'path' is empty");
  if (*given == '/' || strcmp(given, ":memory:") == 0) return given;
  char here[4096];
  if (getcwd(here, sizeof here) == NULL)
    luaL_error(L, "cannot tell where %s is: %s", given, strerror(errno));
  lua_pushfstring(L, "%s/%s", here, given);
  lua_remove(L, -2);
  return lua_tostring(L, -1);
}

/* open{ path =, busy_timeout = 5, readonly =, create = } --> db */
static int open_function(lua_State *L) {
  sqlite_options o = {0};
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  check_names(L);
  lua_getfield(L, 1, "busy_timeout");
  if (lua_isnil(L, -1)) lua_pushnumber(L, BUSY_SECONDS);
  if (!lua_isnumber(L, -1) || !(lua_tonumber(L, -1) >= 0))
    luaL_error(L, "option 'busy_timeout': seconds expected");
  o.busy_ms = milliseconds(L, lua_gettop(L));
  lua_getfield(L, 1, "readonly");
  o.readonly = lua_toboolean(L, -1);
  lua_getfield(L, 1, "create");
  o.create = lua_toboolean(L, -1);
  if (lua_getfield(L, 1, "path") != LUA_TSTRING)
    luaL_error(L, "option 'path': string expected, got %s",
               luaL_typename(L, -1));
  o.path = absolute(L);
  saros_fd(L);
  box *b = lua_newuserdatauv(L, sizeof *b, 0);
  memset(b, 0, sizeof *b);
  luaL_setmetatable(L, CONNECTION);
  b->c = sqlite_open(&o);
  return b->c != NULL ? 1 : luaL_error(L, "not enough memory");
}

/* blob(bytes) --> a value that is stored as bytes, not as text */
static int blob(lua_State *L) {
  luaL_checktype(L, 1, LUA_TSTRING);
  lua_newuserdatauv(L, 0, 1);
  lua_pushvalue(L, 1);
  lua_setiuservalue(L, -2, 1);
  luaL_setmetatable(L, BLOB);
  return 1;
}

/* Where the program that holds databases still is: beside this module. */
static void push_holder(lua_State *L) {
  Dl_info info;
  char *real = NULL;
  if (dladdr((void *)(uintptr_t)&push_holder, &info) && info.dli_fname != NULL)
    real = realpath(info.dli_fname, NULL);
  if (real == NULL) {
    lua_pushliteral(L, "sqlite-hold");
    return;
  }
  char place[4096];
  strncpy(place, real, sizeof place - 1);
  place[sizeof place - 1] = '\0';
  free(real);
  char *slash = strrchr(place, '/');
  *slash = '\0';
  lua_pushfstring(L, "%s/sqlite-hold", place);
}

__attribute__((visibility("default"))) int luaopen_saros_client_sqlite(
    lua_State *L);

int luaopen_saros_client_sqlite(lua_State *L) {
  static const luaL_Reg methods[] = {{"exec", exec},
                                     {"query", query},
                                     {"set_busy_timeout", set_busy_timeout},
                                     {"path", path},
                                     {"close", close_method},
                                     {NULL, NULL}};
  static const luaL_Reg meta[] = {{"__gc", gc},
                                  {"__close", close_of_block},
                                  {"__tostring", to_text},
                                  {NULL, NULL}};
  static const luaL_Reg functions[] = {
      {"open", open_function}, {"blob", blob}, {NULL, NULL}};
  luaL_checkversion(L);
  lua_getglobal(L, "require");
  lua_pushliteral(L, "saros");
  lua_call(L, 1, 0);
  if (saros_api_get(L) == NULL)
    return luaL_error(L, "this saros.core is older than saros.client.sqlite");
  luaL_newmetatable(L, BLOB);
  luaL_newmetatable(L, CONNECTION);
  luaL_setfuncs(L, meta, 0);
  luaL_newlib(L, methods);
  lua_setfield(L, -2, "__index");
  luaL_newlib(L, functions);
  lua_pushstring(L, sqlite3_libversion());
  lua_setfield(L, -2, "version");
  push_holder(L);
  lua_setfield(L, -2, "_holder");
  return 1;
}
