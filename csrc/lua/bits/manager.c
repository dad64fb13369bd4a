/*
** A manager as Lua sees it.
*/
#include <string.h>

#include "lua/bits/box.h"
#include "lua/value/give.h"
#include "lua/value/take.h"

static manager_box *check(lua_State *L, int index) {
  return luaL_checkudata(L, index, BITS_MANAGER);
}

manager_box *manager_new(lua_State *L) {
  manager_box *b = lua_newuserdatauv(L, sizeof *b, 0);
  memset(b, 0, sizeof *b);
  luaL_setmetatable(L, BITS_MANAGER);
  return b;
}

bits_manager *manager_check(lua_State *L, int index) {
  manager_box *b = check(L, index);
  if (b->held != NULL) saros_op_unref(b->held);
  b->held = NULL;
  if (b->m == NULL) luaL_error(L, "the queue was closed");
  if (bits_manager_is_inherited(b->m))
    luaL_error(L,
               "this queue was opened by the parent, who forked; open %s "
               "here once more",
               bits_manager_path(b->m));
  saros_fd(L); /* there is an engine, and it is ours: or this raises */
  return b->m;
}

void operation_push(lua_State *L, saros_op **held, saros_op *op) {
  *held = op;
  saros_push(L, op);
  *held = NULL;
  saros_op_unref(op);
}

int begin_failed(lua_State *L, uint32_t why) {
  return luaL_error(L, "the operation cannot be begun (0x%x)", (unsigned)why);
}

int call_push(lua_State *L, saros_op **held, bits_manager *m, bits_job *j) {
  const bits_work *work = bits_work_find(luaL_checkstring(L, 2));
  luaL_argcheck(L, work != NULL, 2, "there is no such call");
  uint32_t why;
  luaL_checkstack(L, 8, NULL);
  value *options = options_take(L, 3);
  saros_op *op = bits_call_begin(m, j, work, options, &why);
  if (op == NULL) return begin_failed(L, why);
  saros_own(L, op);
  operation_push(L, held, op);
  return 1;
}

int error_push(lua_State *L, error *e) {
  lua_pushnil(L);
  lua_pushinteger(L, (lua_Integer)e->code);
  lua_pushstring(L, e->message); /* may raise, and lose it: no memory */
  error_unref(e);
  return 3;
}

/* manager:call(work, options) --> op */
static int call_method(lua_State *L) {
  bits_manager *m = manager_check(L, 1);
  return call_push(L, &check(L, 1)->held, m, NULL);
}

/* manager:event(after) --> op, which ends with the next event behind that */
static int event_method(lua_State *L) {
  bits_manager *m = manager_check(L, 1);
  uint32_t why = SAROS_E_OUTOFMEMORY;
  saros_op *op = bits_manager_event(m, (uint64_t)luaL_checkinteger(L, 2), &why);
  if (op == NULL) return begin_failed(L, why);
  saros_own(L, op);
  operation_push(L, &check(L, 1)->held, op);
  return 1;
}

static int status_method(lua_State *L) {
  value_give(L, bits_manager_status(manager_check(L, 1)));
  return 1;
}

/* jobs() --> a list of jobs, in the order they were made */
static int jobs_method(lua_State *L) {
  bits_manager *m = manager_check(L, 1);
  size_t count = 0;
  lua_newtable(L);
  /* Boxes first: what raises then leaves only garbage. */
  for (;;) {
    size_t there = 0;
    bits_job **jobs = bits_manager_jobs(m, &there);
    if (jobs == NULL) return luaL_error(L, "not enough memory");
    if (there <= count) { /* there is a box for each */
      for (size_t i = 0; i < there; i++) {
        lua_rawgeti(L, -1, (lua_Integer)i + 1);
        ((job_box *)lua_touserdata(L, -1))->j = jobs[i];
        lua_pop(L, 1);
      }
      mem_free(jobs);
      for (size_t i = count; i > there; i--) {
        lua_pushnil(L);
        lua_rawseti(L, -2, (lua_Integer)i);
      }
      return 1;
    }
    for (size_t i = 0; i < there; i++) bits_job_unref(jobs[i]);
    mem_free(jobs);
    while (count < there) {
      job_new(L);
      lua_rawseti(L, -2, (lua_Integer)++count);
    }
  }
}

/* job(guid) --> job, or nil */
static int job_method(lua_State *L) {
  bits_manager *m = manager_check(L, 1);
  const char *id = luaL_checkstring(L, 2);
  job_box *b = job_new(L);
  b->j = bits_manager_job(m, id);
  if (b->j == NULL) lua_pushnil(L);
  return 1;
}

static int path_method(lua_State *L) {
  lua_pushstring(L, bits_manager_path(manager_check(L, 1)));
  return 1;
}

static int is_owner_method(lua_State *L) {
  lua_pushboolean(L, bits_manager_is_owner(manager_check(L, 1)));
  return 1;
}

/* Whether anything can be asked of it. */
static int is_open_method(lua_State *L) {
  manager_box *b = check(L, 1);
  lua_pushboolean(L, b->m != NULL && !bits_manager_is_inherited(b->m) &&
                         !bits_manager_is_closed(b->m));
  return 1;
}

/* close() --> op, or nil when there is nothing to wait for */
static int close_method(lua_State *L) {
  manager_box *b = check(L, 1);
  bits_manager *m = b->m;
  if (m == NULL) return 0;
  if (bits_manager_is_inherited(m)) {
    b->m = NULL;
    bits_manager_unref(m);
    return 0;
  }
  saros_fd(L);
  b->m = NULL;
  saros_op *op = bits_call_close(m);
  if (op == NULL) return luaL_error(L, "not enough memory");
  saros_own(L, op);
  operation_push(L, &b->held, op);
  return 1;
}

/* Lets go, and never cancels: what was told is committed on a worker. At the
   end of the state that is waited for. */
static int gc(lua_State *L) {
  manager_box *b = lua_touserdata(L, 1);
  bits_manager *m = b->m;
  b->m = NULL;
  if (b->held != NULL) saros_op_unref(b->held);
  b->held = NULL;
  if (m == NULL) return 0;
  saros_op *op = bits_call_close(m);
  if (op == NULL) return 0;
  saros_own(L, op);
  saros_op_unref(op);
  return 0;
}

const luaL_Reg bits_manager_methods[] = {
    {"call", call_method},         {"event", event_method},
    {"status", status_method},     {"jobs", jobs_method},
    {"job", job_method},           {"path", path_method},
    {"is_owner", is_owner_method}, {"is_open", is_open_method},
    {"close", close_method},       {NULL, NULL}};

const luaL_Reg bits_manager_meta[] = {{"__gc", gc}, {NULL, NULL}};
