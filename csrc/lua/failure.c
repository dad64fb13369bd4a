/*
** Error objects: tables with fields, and a tostring that tells a person what
** happened and what to do. One function makes every one of them.
*/
#include <stdarg.h>
#include <string.h>

#include "lua/handle.h"

static const char *facade_name(saros_facade f) {
  static const char *const names[SAROS_FACADES] = {"saros", "vss", "wsb", "vds",
                                                   "bits"};
  return names[f];
}

static void set_text(lua_State *L, const char *field, const char *text) {
  if (text == NULL) return;
  lua_pushstring(L, text);
  lua_setfield(L, -2, field);
}

/* Pushes the fields; a cause becomes a table of its own. */
static void push_fields(lua_State *L, const error *e, int at) {
  char number[11];
  luaL_checkstack(L, 6, "an error has too many causes");
  if (e->more != NULL)
    convert_push(L, e->more); /* and what is ours over it */
  else
    lua_createtable(L, 0, 8);
  lua_pushinteger(L, (lua_Integer)e->code);
  lua_setfield(L, -2, "code");
  set_text(L, "name", code_name(e->facade, e->code, number));
  set_text(L, "facade", facade_name(e->facade));
  set_text(L, "message", e->message);
  set_text(L, "path", e->path);
  if (e->number != 0) {
    lua_pushinteger(L, e->number);
    lua_setfield(L, -2, "errno");
  }
  lua_pushboolean(L, e->retryable);
  lua_setfield(L, -2, "retryable");
  if (e->code == SAROS_E_CANCELLED) {
    lua_pushboolean(L, 1);
    lua_setfield(L, -2, "cancelled");
  }
  if (at != 0) {
    lua_pushvalue(L, at);
    lua_setfield(L, -2, "op");
  }
  state_push(L, KEEP_FAILURE_MT);
  lua_setmetatable(L, -2);
  if (e->cause != NULL) {
    push_fields(L, e->cause, 0);
    lua_setfield(L, -2, "cause");
  }
}

static int push_protected(lua_State *L) {
  push_fields(L, lua_touserdata(L, 1), lua_isnil(L, 2) ? 0 : 2);
  return 1;
}

void failure_push(lua_State *L, error *e, int at) {
  /* `e` must go also when Lua runs out of memory meanwhile. */
  if (at != 0) at = lua_absindex(L, at);
  lua_pushcfunction(L, push_protected);
  lua_pushlightuserdata(L, e);
  if (at != 0)
    lua_pushvalue(L, at);
  else
    lua_pushnil(L);
  int r = lua_pcall(L, 2, 1, 0);
  error_unref(e);
  if (r != LUA_OK) lua_error(L);
}

void failure_make(lua_State *L, saros_facade f, uint32_t code, int at,
                  const char *format, ...) {
  va_list args;
  va_start(args, format);
  error *e = error_make_v(f, code, format, args);
  va_end(args);
  failure_push(L, e, at);
}

/* Fields of the table at the top, which goes, that the one below it lacks. */
static void adopt(lua_State *L) {
  lua_pushnil(L);
  while (lua_next(L, -2)) { /* ours, theirs, key, value */
    lua_pushvalue(L, -2);
    if (lua_rawget(L, -5) == LUA_TNIL) {
      lua_pushvalue(L, -3);
      lua_pushvalue(L, -3);
      lua_rawset(L, -7);
    }
    lua_pop(L, 2);
  }
  lua_pop(L, 1);
}

/* What a task had come to say while the cancel unwound it: somebody on the way
   may have noted in that error how far it was. */
static void adopt_unwound(lua_State *L, saros_op *op, int at) {
  if (at == 0 || !op_is_task(op) || !task_is(op_trailing(op), TASK_FAILED))
    return;
  int top = lua_gettop(L);
  luaL_checkstack(L, 8, "an error has too many fields");
  if (task_push_results(L, at, NULL) == 1 && failure_is(L, -1)) {
    lua_pushliteral(L, "cancelled");
    bool is = lua_rawget(L, -2) == LUA_TBOOLEAN && lua_toboolean(L, -1);
    lua_pop(L, 1);
    if (is) adopt(L);
  }
  lua_settop(L, top);
}

void failure_of(lua_State *L, saros_op *op, int at) {
  error *e = op_error(op);
  uint32_t code = saros_op_query(op, NULL);
  failure_push(L, e != NULL ? e : error_no_memory(), at);
  /* The code is what the facade answers: a cancelled VDS operation has
     another one than a cancelled task. */
  saros_state st = saros_op_state(op);
  if (st == SAROS_CANCELLED_STATE) {
    char number[11];
    lua_pushinteger(L, (lua_Integer)code);
    lua_setfield(L, -2, "code");
    set_text(L, "name", code_name(op->kind->facade, code, number));
    lua_pushboolean(L, 1);
    lua_setfield(L, -2, "cancelled");
    adopt_unwound(L, op, at);
  }
}

bool failure_is(lua_State *L, int index) {
  if (!lua_istable(L, index) || !lua_getmetatable(L, index)) return false;
  state_push(L, KEEP_FAILURE_MT);
  bool is = lua_rawequal(L, -1, -2);
  lua_pop(L, 2);
  return is;
}

uint32_t failure_code(lua_State *L, int index, uint32_t fallback) {
  if (!failure_is(L, index)) return fallback;
  index = lua_absindex(L, index);
  lua_pushliteral(L, "code");
  lua_rawget(L, index);
  lua_Integer code = lua_isinteger(L, -1) ? lua_tointeger(L, -1) : 0;
  lua_pop(L, 1);
  return code_failed((uint32_t)code) ? (uint32_t)code : fallback;
}

static int to_text(lua_State *L) {
  luaL_tolstring(L, 1, NULL);
  return 1;
}

const char *failure_text(lua_State *L, int index) {
  const char *kind = luaL_typename(L, index);
  index = lua_absindex(L, index);
  lua_pushcfunction(L, to_text);
  lua_pushvalue(L, index);
  if (lua_pcall(L, 1, 1, 0) == LUA_OK) return lua_tostring(L, -1);
  lua_pop(L, 1);
  return lua_pushfstring(L, "(error object is a %s value)", kind);
}

void failure_unwrap(lua_State *L) {
  if (!failure_is(L, -1)) return;
  if (lua_getfield(L, -1, "value") == LUA_TNIL)
    lua_pop(L, 1);
  else
    lua_remove(L, -2);
}

void failure_wrap(lua_State *L, uint32_t code) {
  if (failure_is(L, -1)) return;
  const char *text = failure_text(L, -1); /* value, text */
  failure_make(L, SAROS_FACADE_SAROS, code, 0, "%s", text);
  lua_pushvalue(L, -3);
  lua_setfield(L, -2, "value"); /* what was raised, as it was */
  lua_replace(L, -3);
  lua_pop(L, 1);
}

static saros_facade facade_named(const char *name) {
  int f = SAROS_FACADES - 1;
  while (f > 0 && strcmp(facade_name((saros_facade)f), name) != 0) f--;
  return (saros_facade)f;
}

/* A field as text, which stays on the stack; NULL when it is none. */
static const char *text_kept(lua_State *L, int index, const char *name) {
  lua_pushstring(L, name);
  lua_rawget(L, index);
  return lua_tostring(L, -1);
}

/* What an error has besides its code and message, taken before any memory that
   is not Lua's: the texts stay on the stack. */
typedef struct extras {
  const char *sqlstate, *server;
  int64_t number;
  bool has_number, retryable;
} extras;

static extras extras_kept(lua_State *L, int index) {
  extras x = {.sqlstate = text_kept(L, index, "sqlstate"),
              .server = text_kept(L, index, "server")};
  lua_pushliteral(L, "errno");
  x.has_number = lua_rawget(L, index) == LUA_TNUMBER;
  x.number = lua_tointeger(L, -1);
  lua_pushliteral(L, "retryable");
  lua_rawget(L, index);
  x.retryable = lua_toboolean(L, -1);
  return x;
}

/* NULL: no memory, and then it is said without. */
static value *extras_map(const extras *x) {
  value *more = value_map();
  if (more == NULL) return NULL;
  value_put(more, "retryable", value_bool(x->retryable));
  if (x->has_number) value_put(more, "errno", value_int(x->number));
  if (x->sqlstate != NULL) value_put(more, "sqlstate", value_text(x->sqlstate));
  if (x->server != NULL) value_put(more, "server", value_text(x->server));
  return more;
}

#define CAUSES_MOST 20 /* a script can make a ring of them */

static error *take(lua_State *L, int index, saros_facade f, uint32_t code,
                   int depth) {
  luaL_checkstack(L, 12, "an error has too many causes");
  index = lua_absindex(L, index);
  int top = lua_gettop(L);
  if (!failure_is(L, index)) {
    error *e = error_make(f, code, "%s", failure_text(L, index));
    lua_settop(L, top);
    return e;
  }
  const char *message = text_kept(L, index, "message");
  const char *path = text_kept(L, index, "path");
  const char *name = text_kept(L, index, "facade");
  const extras more = extras_kept(L, index);
  code = failure_code(L, index, code);
  lua_pushliteral(L, "cause");
  error *cause = NULL;
  if (lua_rawget(L, index) != LUA_TNIL && depth < CAUSES_MOST)
    cause = take(L, -1, f, code, depth + 1);
  /* From here on nothing of Lua raises. */
  error *e = error_make(name != NULL ? facade_named(name) : f, code, "%s",
                        message != NULL ? message : "it says nothing more");
  if (path != NULL) e = error_at(e, path);
  e = error_with(e, extras_map(&more));
  if (cause != NULL) e = error_because(e, cause);
  lua_settop(L, top);
  return e;
}

error *failure_take(lua_State *L, int index, saros_facade f, uint32_t code) {
  return take(L, index, f, code, 0);
}

static const char *text_field(lua_State *L, int index, const char *name) {
  lua_pushstring(L, name);
  lua_rawget(L, index);
  const char *text = lua_tostring(L, -1);
  lua_pop(L, 1); /* the table keeps it */
  return text;
}

/* Whether the message has that of this cause in it: told once more it would
   say nothing new. */
static bool is_said(lua_State *L, int cause, const char *message) {
  const char *its = text_field(L, lua_absindex(L, cause), "message");
  return its != NULL && message != NULL && strstr(message, its) != NULL;
}

/* The path that it is about, where the message does not say so; "" else. */
static const char *unsaid_path(lua_State *L, const char *message) {
  const char *path = text_field(L, 1, "path");
  if (path == NULL || message == NULL || strstr(message, path) != NULL)
    return "";
  for (const char *at = path; *at != '\0'; at++)
    if ((unsigned char)*at < ' ' || *at == 0x7f) return "";
  return path;
}

/* "message (path) [NAME 0x8007…]", and the cause behind it. */
static int failure_tostring(lua_State *L) {
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  const char *message = text_field(L, 1, "message");
  const char *name = text_field(L, 1, "name");
  lua_pushliteral(L, "code");
  lua_rawget(L, 1);
  unsigned long code = (unsigned long)lua_tointeger(L, -1);
  char number[16];
  snprintf(number, sizeof number, "0x%08lX", code & 0xFFFFFFFFul);
  const char *path = unsaid_path(L, message);
  const char *open = *path != '\0' ? " (" : "",
             *shut = *open != '\0' ? ")" : "";
  const char *first = message != NULL ? message : "?";
  if (name == NULL || strcmp(name, number) == 0)
    lua_pushfstring(L, "%s%s%s%s [%s]", first, open, path, shut, number);
  else
    lua_pushfstring(L, "%s%s%s%s [%s %s]", first, open, path, shut, name,
                    number);
  lua_pushliteral(L, "cause");
  lua_rawget(L, 1);
  for (int i = 0;
       i < CAUSES_MOST && failure_is(L, -1) && is_said(L, -1, message); i++) {
    lua_pushliteral(L, "cause");
    lua_rawget(L, -2);
    lua_remove(L, -2);
  }
  if (!failure_is(L, -1)) {
    lua_pop(L, 1);
    return 1;
  }
  luaL_tolstring(L, -1, NULL);
  lua_remove(L, -2);
  lua_pushliteral(L, ", because: ");
  lua_insert(L, -2);
  lua_concat(L, 3);
  return 1;
}

/* err .. "text", because people do that in messages. */
static int failure_concat(lua_State *L) {
  luaL_tolstring(L, 1, NULL);
  luaL_tolstring(L, 2, NULL);
  lua_concat(L, 2);
  return 1;
}

const luaL_Reg failure_meta[] = {{"__tostring", failure_tostring},
                                 {"__concat", failure_concat},
                                 {NULL, NULL}};
