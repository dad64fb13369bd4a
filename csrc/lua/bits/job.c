/*
** A job as Lua sees it.
*/
#include <string.h>

#include "bits/parts.h"
#include "lua/bits/box.h"
#include "lua/value/give.h"
#include "lua/value/take.h"

static job_box *check(lua_State *L, int index) {
  return luaL_checkudata(L, index, BITS_JOB);
}

job_box *job_new(lua_State *L) {
  job_box *b = lua_newuserdatauv(L, sizeof *b, 0);
  memset(b, 0, sizeof *b);
  luaL_setmetatable(L, BITS_JOB);
  return b;
}

bits_job *job_check(lua_State *L, int index) {
  job_box *b = check(L, index);
  if (b->held != NULL) saros_op_unref(b->held);
  b->held = NULL;
  if (b->j == NULL) {
    luaL_error(L, "the job was closed");
    return NULL; /* never */
  }
  if (bits_manager_is_inherited(b->j->m))
    luaL_error(L,
               "this job is the parent's, who forked; open the queue here once "
               "more");
  return b->j;
}

/* job:call(work, options) --> op */
static int call_method(lua_State *L) {
  bits_job *j = job_check(L, 1);
  return call_push(L, &check(L, 1)->held, NULL, j);
}

static void drop_files(job_box *b) {
  bits_files *files = b->files;
  b->files = NULL;
  bits_files_free(files);
}

/* job:put(file [, first]) --> true, or nil, code, message: looked at, and kept
   here until it is added. The first of several forgets those that were put
   before it and came to nothing. */
static int put_method(lua_State *L) {
  bits_job *j = job_check(L, 1);
  job_box *b = check(L, 1);
  if (lua_toboolean(L, 3)) drop_files(b);
  value *options = options_take(L, 2);
  error *e = NULL;
  if (b->files == NULL) b->files = bits_files_new(j);
  if (b->files == NULL)
    e = error_no_memory();
  else
    e = bits_files_put(b->files, options);
  value_free(options);
  if (e != NULL) return error_push(L, e);
  lua_pushboolean(L, 1);
  return 1;
}

/* Of the table at the top; NULL: none, or one that C would cut short. It lies
   on the stack, as long as it is used. */
static const char *plain_text(lua_State *L, int table, const char *name) {
  size_t size;
  lua_pushstring(L, name);
  if (lua_rawget(L, table) != LUA_TSTRING) return NULL;
  const char *text = lua_tolstring(L, -1, &size);
  return strlen(text) == size ? text : NULL;
}

static bool has_two(lua_State *L, int table) {
  int count = 0;
  for (lua_pushnil(L); lua_next(L, table) != 0 && count <= 2; count++)
    lua_pop(L, 1);
  return count == 2;
}

/* False also when something is wrong with it: whoever asks what, puts it by
   itself. */
static bool put_plain(lua_State *L, bits_files *files, lua_Integer i) {
  if (lua_rawgeti(L, 2, i) != LUA_TTABLE || lua_getmetatable(L, -1))
    return false;
  int table = lua_gettop(L);
  const char *url = plain_text(L, table, "url");
  const char *path = plain_text(L, table, "path");
  if (url == NULL || path == NULL || *path != '/' || !has_two(L, table))
    return false;
  error *e = bits_files_put_plain(files, url, path);
  error_unref(e);
  return e == NULL;
}

/* job:put_plain(list, from) --> how many of the list, beginning with that one,
   have nothing but a url and an absolute path, and are put. In ten thousands
   that is all that takes time. */
static int put_plain_method(lua_State *L) {
  bits_job *j = job_check(L, 1);
  job_box *b = check(L, 1);
  lua_Integer from = luaL_checkinteger(L, 3), count = 0;
  luaL_checktype(L, 2, LUA_TTABLE);
  if (from == 1) drop_files(b);
  if (b->files == NULL) b->files = bits_files_new(j);
  bool goes = b->files != NULL && !lua_getmetatable(L, 2);
  lua_settop(L, 3);
  while (goes && put_plain(L, b->files, from + count)) {
    lua_settop(L, 3);
    count++;
  }
  lua_pushinteger(L, count);
  return 1;
}

/* job:add() --> true, or nil, code, message: all that were put, or none. Waits
   for nothing. */
static int add_method(lua_State *L) {
  job_check(L, 1);
  job_box *b = check(L, 1);
  error *e = b->files != NULL ? bits_files_enter(b->files) : NULL;
  drop_files(b);
  if (e != NULL) return error_push(L, e);
  lua_pushboolean(L, 1);
  return 1;
}

static int id_method(lua_State *L) {
  lua_pushstring(L, bits_job_id(job_check(L, 1)));
  return 1;
}

static int state_method(lua_State *L) {
  static const char *const names[] = {
      "queued",          "connecting",  "transferring", "suspended", "error",
      "transient_error", "transferred", "acknowledged", "cancelled"};
  bits_state s = bits_job_state(job_check(L, 1));
  lua_pushstring(L, names[s]);
  return 1;
}

static int status_method(lua_State *L) {
  value_give(L, bits_job_status(job_check(L, 1)));
  return 1;
}

/* files([from [, most]]): from is 1 and more */
static int files_method(lua_State *L) {
  bits_job *j = job_check(L, 1);
  lua_Integer from = luaL_optinteger(L, 2, 1);
  lua_Integer most = luaL_optinteger(L, 3, INT32_MAX);
  luaL_argcheck(L, from >= 1, 2, "files are counted from 1");
  luaL_argcheck(L, most >= 0, 3, "a count expected");
  value_give(L, bits_job_files(j, (size_t)from - 1, (size_t)most));
  return 1;
}

/* error() --> { code, context, … }, or nil, code */
static int error_method(lua_State *L) {
  uint32_t code = SAROS_E_OUTOFMEMORY;
  value *v = bits_job_error(job_check(L, 1), &code);
  if (v != NULL) {
    value_give(L, v);
    return 1;
  }
  lua_pushnil(L);
  lua_pushinteger(L, (lua_Integer)code);
  return 2;
}

/* run() --> the operation, or nil: there has been none */
static int run_method(lua_State *L) {
  bits_job *j = job_check(L, 1);
  saros_fd(L);
  saros_op *op = bits_job_run(j);
  if (op == NULL) return 0;
  operation_push(L, &check(L, 1)->held, op);
  return 1;
}

/* get_status() --> HRESULT, flags, win32, transport, retries */
static int get_status_method(lua_State *L) {
  uint32_t v[4] = {0, 0, 0, 0};
  uint32_t hr =
      bits_job_get_status(job_check(L, 1), &v[0], &v[1], &v[2], &v[3]);
  lua_pushinteger(L, (lua_Integer)hr);
  for (int i = 0; i < 4; i++) lua_pushinteger(L, (lua_Integer)v[i]);
  return 5;
}

/* told() --> the number of the last event that said how it ended, and what it
   was: "transferred" or "error"; or 0 */
static int told_method(lua_State *L) {
  const char *what;
  uint64_t number = bits_job_told(job_check(L, 1), &what);
  lua_pushinteger(L, (lua_Integer)number);
  lua_pushstring(L, what);
  return 2;
}

/* Nothing more is asked of it here; it goes on. */
static int close_method(lua_State *L) {
  job_box *b = check(L, 1);
  bits_job *j = b->j;
  b->j = NULL;
  if (b->held != NULL) saros_op_unref(b->held);
  b->held = NULL;
  drop_files(b);
  if (j != NULL) bits_job_unref(j);
  return 0;
}

const luaL_Reg bits_job_methods[] = {{"call", call_method},
                                     {"put", put_method},
                                     {"put_plain", put_plain_method},
                                     {"add", add_method},
                                     {"id", id_method},
                                     {"state", state_method},
                                     {"status", status_method},
                                     {"files", files_method},
                                     {"error", error_method},
                                     {"run", run_method},
                                     {"told", told_method},
                                     {"close", close_method},
                                     {"get_status", get_status_method},
                                     {NULL, NULL}};

const luaL_Reg bits_job_meta[] = {{"__gc", close_method}, {NULL, NULL}};
