/*
** The operation as userdata: eight bytes, a pointer. It is born closed.
*/
#include "lua/handle.h"

#include <string.h>

#include "lua/dispatch.h"
#include "lua/writer.h"

handle *handle_check(lua_State *L, int index) {
  /* By the metatable in the upvalue: twice as quick as by its name. */
  handle *h = lua_touserdata(L, index);
  if (h != NULL && lua_getmetatable(L, index)) {
    bool is = lua_rawequal(L, -1, lua_upvalueindex(1));
    lua_pop(L, 1);
    if (is) return h;
  }
  luaL_typeerror(L, index, "saros.operation");
  return NULL;
}

saros_op *handle_op(lua_State *L, int index) {
  handle *h = handle_check(L, index);
  if (h->op == NULL) luaL_error(L, "the operation's handle was closed");
  return h->op;
}

saros_op *handle_test(lua_State *L, int index) {
  handle *h = lua_touserdata(L, index);
  if (h == NULL || !lua_getmetatable(L, index)) return NULL;
  state_push(L, KEEP_HANDLE_MT);
  bool is = lua_rawequal(L, -1, -2);
  lua_pop(L, 2);
  return is ? h->op : NULL;
}

handle *handle_push(lua_State *L, state *s, bool of_task) {
  (void)s;
  handle *h = lua_newuserdatauv(L, sizeof *h, of_task ? 1 : 0);
  h->op = NULL;
  state_push(L, KEEP_HANDLE_MT);
  lua_setmetatable(L, -2);
  return h;
}

void handle_push_op(lua_State *L, state *s, saros_op *op) {
  luaL_checkstack(L, 6, "an operation");
  op_extra *x = op_extra_get(op);
  if (op_is_task(op) && x != NULL && x->name != NULL) {
    state_push(L, KEEP_NAMED); /* the handle that has its results */
    lua_getfield(L, -1, x->name);
    lua_remove(L, -2);
    handle *known = lua_touserdata(L, -1);
    if (known != NULL && known->op == op) return;
    lua_pop(L, 1);
  }
  handle *h = handle_push(L, s, op_is_task(op));
  task *t = task_of(s, op);
  if (t != NULL) {
    state_push(L, KEEP_THREADS);
    lua_rawgeti(L, -1, t->slot);
    lua_setiuservalue(L, -3, 1);
    lua_pop(L, 1);
  }
  h->op = saros_op_ref(op);
  if (op_is_task(op)) ((task *)op_trailing(op))->handles++;
}

static int gc(lua_State *L) {
  handle *h = lua_touserdata(L, 1);
  saros_op *op = h->op;
  h->op = NULL;
  if (op == NULL) return 0;
  if (op_is_task(op)) {
    task *t = op_trailing(op);
    if (--t->handles == 0) task_complain(L, t);
  }
  saros_op_unref(op); /* never cancels */
  return 0;
}

static int query(lua_State *L) {
  saros_op *op = handle_op(L, 1);
  uint32_t percent = 0;
  uint32_t code = saros_op_query(op, &percent);
  if (op_is_over(op)) op_observe(op);
  lua_pushinteger(L, (lua_Integer)code);
  if (op->kind->facade == SAROS_FACADE_WSB) return 1; /* one value only */
  lua_pushinteger(L, (lua_Integer)percent);
  return 2;
}

static int status(lua_State *L) {
  saros_op *op = handle_op(L, 1);
  if (op_is_over(op)) op_observe(op);
  char where[TASK_ORIGIN_SIZE];
  value *v = op_status(op);
  if (v != NULL && task_origin(state_here(L), op, where, sizeof where))
    value_put(v, "origin", value_text(where));
  convert_push_and_free(L, v);
  const event *e = dispatch_stalled(state_here(L), op);
  if (e == NULL) return 1;
  buffer b = BUFFER_EMPTY;
  event_describe(e, &b);
  convert_push_and_free_buffer(L, &b);
  lua_setfield(L, -2, "waits");
  return 1;
}

static int done(lua_State *L) {
  lua_pushboolean(L, op_is_over(handle_op(L, 1)));
  return 1;
}

static int ok(lua_State *L) {
  saros_op *op = handle_op(L, 1);
  bool over = op_is_over(op);
  if (over) op_observe(op);
  lua_pushboolean(L, over && saros_op_state(op) == SAROS_SUCCEEDED);
  return 1;
}

static int cancel(lua_State *L) {
  saros_op *op = handle_op(L, 1);
  lua_pushinteger(L, (lua_Integer)task_cancel_op(state_here(L), op));
  return 1;
}

static int called_done(lua_State *L, int status_, lua_KContext context) {
  (void)L;
  (void)status_;
  (void)context;
  return 0;
}

/* Runs as a task: a handle of our own, the user's, the function. */
static int call_done(lua_State *L) {
  if (((handle *)lua_touserdata(L, 2))->op != NULL) lua_copy(L, 2, 1);
  lua_remove(L, 2); /* it may have been closed since */
  saros_op *op = handle_op(L, 1);
  lua_pushvalue(L, 2);
  int base = lua_gettop(L);
  bool good = saros_op_state(op) == SAROS_SUCCEEDED;
  outcome_push(L, op);
  lua_settop(L, good ? base + 1 : base + 2); /* f, result [, err] */
  if (good) lua_pushnil(L);
  lua_pushvalue(L, 1);
  lua_callk(L, 3, 0, 0, called_done);
  return 0;
}

static int begin_after(lua_State *L, bool background) {
  saros_op *op = handle_op(L, 1);
  state *s = state_here(L);
  luaL_checktype(L, 2, LUA_TFUNCTION);
  lua_settop(L, 2);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_pushvalue(L, lua_upvalueindex(2));
  lua_pushcclosure(L, call_done, 2);
  handle *own = handle_push(L, s, op_is_task(op));
  if (op_is_task(op)) {
    lua_getiuservalue(L, 1, 1);
    lua_setiuservalue(L, -2, 1);
    ((task *)op_trailing(op))->handles++;
  }
  own->op = saros_op_ref(op);
  lua_pushvalue(L, 1);
  lua_pushvalue(L, 2);
  task *t = task_push(L, s, 3, NULL);
  if (background) task_background(s, t);
  if (!task_start_after(t, op)) {
    task_ready(s, t);
    if (s->depth == 0) port_poke(s->port);
  }
  return 1;
}

static int on_done(lua_State *L) {
  return begin_after(L, false);
}

/* attend(op, f): like on_done, in the background. */
int attend_function(lua_State *L) {
  return begin_after(L, true);
}

static int do_pause(lua_State *L) {
  lua_pushboolean(L, saros_op_pause(handle_op(L, 1)));
  return 1;
}

static int do_resume(lua_State *L) {
  lua_pushboolean(L, saros_op_resume(handle_op(L, 1)));
  return 1;
}

static int to_string(lua_State *L) {
  handle *h = handle_check(L, 1);
  if (h->op == NULL) {
    lua_pushliteral(L, "saros.operation: closed");
    return 1;
  }
  buffer b = BUFFER_EMPTY;
  const event *e = dispatch_stalled(state_here(L), h->op);
  task_describe(L, state_here(L), h->op, &b);
  if (e != NULL) {
    buffer_text(&b, "; ");
    event_describe(e, &b);
  }
  convert_push_and_free_buffer(L, &b);
  return 1;
}

static int equal(lua_State *L) {
  handle *a = lua_touserdata(L, 1), *b = lua_touserdata(L, 2);
  bool same = a != NULL && b != NULL && lua_getmetatable(L, 1) &&
              lua_getmetatable(L, 2) && lua_rawequal(L, -1, -2);
  lua_pushboolean(L, same && a->op != NULL && a->op == b->op);
  return 1;
}

const luaL_Reg handle_methods[] = {{"wait", wait_method},
                                   {"query", query},
                                   {"status", status},
                                   {"done", done},
                                   {"ok", ok},
                                   {"result", result_method},
                                   {"cancel", cancel},
                                   {"on_done", on_done},
                                   {"progress", progress_method},
                                   {"lines", lines_method},
                                   {"pause", do_pause},
                                   {"resume", do_resume},
                                   {"close", close_method},
                                   {NULL, NULL}};

const luaL_Reg handle_meta[] = {{"__gc", gc},
                                {"__close", close_of_block},
                                {"__tostring", to_string},
                                {"__eq", equal},
                                {NULL, NULL}};
