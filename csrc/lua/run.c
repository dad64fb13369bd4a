/*
** run: a function as a task, and the wait for it and for all that it spawns.
*/
#include "lua/dispatch.h"
#include "lua/handle.h"

static bool group_reached(goal *g) {
  return g->group->live == 0;
}

static int raise_or_results(lua_State *L) {
  handle *h = lua_touserdata(L, 1);
  saros_op *op = h->op;
  op_observe(op);
  if (saros_op_state(op) == SAROS_SUCCEEDED)
    return task_push_results(L, 1, NULL);
  /* The error is raised again as it was. */
  if (saros_op_state(op) == SAROS_FAILED && task_push_results(L, 1, NULL) > 0) {
    failure_unwrap(L);
    return lua_error(L);
  }
  failure_of(L, op, 1);
  return lua_error(L);
}

/* The task of the handle at index 1, and all it spawns. */
static int run_group(lua_State *L, state *s, task *t, wait_mode mode) {
  group *g = group_new();
  if (g == NULL) {
    task_discard(L, s, t);
    return luaL_error(L, "not enough memory");
  }
  group **of = task_group(t);
  if (*of != NULL) { /* it is this run that waits for it */
    (*of)->live--;
    group_unref(*of);
  }
  g->refs++;
  g->live++;
  *of = g;
  task_ready(s, t);
  goal to = {.reached = group_reached, .group = g};
  block_end r = dispatch_block(L, s, &to, -1, mode);
  group_unref(g);
  if (r == BLOCK_RAISED) return lua_error(L);
  if (r == BLOCK_CANCELLED) task_raise_cancel(L, s->current);
  if (r == BLOCK_CYCLE)
    return luaL_error(L, "saros.run would wait for its own caller");
  return raise_or_results(L);
}

/* The host has waited for the task at index 1, or says that it cannot here
   (and then nothing has run yet). */
static int run_hosted(lua_State *L, int status, lua_KContext context) {
  (void)status;
  (void)context;
  saros_op *op = handle_op(L, 1);
  bool could = lua_toboolean(L, -1);
  lua_settop(L, 1);
  if (could && op_is_over(op)) return raise_or_results(L);
  return run_group(L, state_here(L), op_trailing(op), WAIT_ONE);
}

static void push_function(lua_State *L, lua_CFunction f) {
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_pushvalue(L, lua_upvalueindex(2));
  lua_pushcclosure(L, f, 2);
}

/* Inside a task: at index 1 the handle, at 2 how it waits. */
static int run_inside(lua_State *L) {
  state *s = state_here(L);
  task *t = op_trailing(handle_op(L, 1));
  wait_mode mode = (wait_mode)lua_tointeger(L, 2);
  if (mode != WAIT_YIELD) return run_group(L, s, t, mode);
  task_ready(s, t);
  return wait_and_raise(L);
}

/* The error is on top, and goes on its way. */
static int run_closed(lua_State *L, int status, lua_KContext context) {
  (void)status;
  (void)context;
  lua_settop(L, 2);
  return lua_error(L);
}

/* Who was cancelled while f ran has cancelled that, and waits until it is
   unwound: it would be nobody's else. */
static int run_over(lua_State *L, int status, lua_KContext context) {
  (void)context;
  if (status == LUA_OK || status == LUA_YIELD) return lua_gettop(L) - 1;
  saros_op *op = ((handle *)lua_touserdata(L, 1))->op;
  task *us = state_here(L)->current;
  bool cancelled = us != NULL && saros_op_cancelled(task_op(us));
  if (op == NULL || op_is_over(op) || !cancelled) return lua_error(L);
  push_function(L, close_of_block);
  lua_pushvalue(L, 1);
  lua_callk(L, 1, 0, 0, run_closed);
  return run_closed(L, LUA_OK, 0);
}

/* run([options,] f, …): f as a task, and the loop until it and all it spawned
   ended. In a task or a host's coroutine somebody else turns the loop: spawn
   and wait. */
int run_function(lua_State *L) {
  state *s = state_here(L);
  wait_mode mode = dispatch_mode(L, s);
  task *t = task_of_arguments(L, s, "saros.run");
  if (s->current != NULL && mode != WAIT_HOST) {
    push_function(L, run_inside);
    lua_pushvalue(L, 1);
    lua_pushinteger(L, (lua_Integer)mode);
    return run_over(L, lua_pcallk(L, 2, LUA_MULTRET, 0, 0, run_over), 0);
  }
  if (mode != WAIT_HOST) return run_group(L, s, t, mode);
  task_ready(s, t);
  if (s->depth == 0) port_poke(s->port);
  state_push(L, KEEP_HOST);
  lua_pushvalue(L, 1);
  lua_callk(L, 1, 1, 0, run_hosted);
  return run_hosted(L, LUA_OK, 0);
}
