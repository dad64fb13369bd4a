/*
** Watching an operation move: `for s in op:progress()`, `for line in
** op:lines()`. The iterator's userdata carries a watch that fires when the
** operation moves; what happened between two looks is conflated.
*/
#include <string.h>

#include "lua/dispatch.h"
#include "lua/handle.h"
#include "op/process.h"

static const char metatable_key = 0;

typedef struct iterator {
  mover m;
  saros_op *op; /* NULL: born closed, or finished */
  int which;    /* 0: progress; 1, 2: lines of an output */
  bool first;
} iterator;

static port *mover_fire(watch *w) {
  mover *m = (mover *)w;
  return port_push(m->port, &m->node, NODE_MOVER, NULL);
}

static const watch_way mover_way = {.fire = mover_fire, .progress = true};

static void detach(lua_State *L, iterator *it) {
  if (it->m.port != NULL) {
    watch_remove(&it->m.w);
    port_remove(it->m.port, &it->m.node);
    task *waiter = it->m.waiter;
    if (waiter != NULL) { /* closed by somebody else: it ends there */
      waiter->extra->on_mover = NULL;
      task_ready(state_get(L), waiter);
    }
    it->m.waiter = NULL;
    port_unref(it->m.port);
    it->m.port = NULL;
  }
  if (it->op != NULL) saros_op_unref(it->op);
  it->op = NULL;
}

static int iterator_gc(lua_State *L) {
  detach(L, lua_touserdata(L, 1));
  return 0;
}

static bool moved(goal *g) {
  return g->mover->moved || op_is_over(g->op);
}

static int cycle_raise(lua_State *L, state *s, saros_op *op) {
  cycle_error(L, s, op);
  return lua_error(L);
}

static int next_after(lua_State *L, int status, lua_KContext context);
static int next_step(lua_State *L, state *s, iterator *it);

/* Waits until it has moved, then steps again. */
static int await(lua_State *L, state *s, iterator *it) {
  it->m.moved = false;
  /* Between the look and this line something may have come: look again. */
  if (op_is_over(it->op)) return next_step(L, s, it);
  if (dispatch_cancelled(L, s)) task_raise_cancel(L, s->current);
  if (dispatch_cycle(s, it->op)) return cycle_raise(L, s, it->op);
  if (dispatch_mode(L, s) == WAIT_YIELD) {
    task *t = s->current;
    if (it->m.waiter != NULL)
      return luaL_error(L, "another task waits for this iterator");
    task_extra *x = task_extra_make(t);
    if (x == NULL) return luaL_error(L, "not enough memory");
    x->on_mover = &it->m;
    it->m.waiter = t;
    task_wait_for(t, it->op);
    task_flag(t, TASK_PARKED);
    return lua_yieldk(L, 0, 0, next_after);
  }
  goal g = {.reached = moved, .op = it->op, .mover = &it->m};
  wait_mode mode = dispatch_mode(L, s);
  if (mode == WAIT_HOST) mode = WAIT_ONE;
  saros_op_ref(g.op); /* whatever runs meanwhile may close the iterator */
  block_end r = dispatch_block(L, s, &g, -1, mode);
  saros_op_unref(g.op);
  switch (r) {
    case BLOCK_RAISED: return lua_error(L);
    case BLOCK_CANCELLED: task_raise_cancel(L, s->current); return 0;
    case BLOCK_CYCLE: return cycle_raise(L, s, it->op);
    default: return next_step(L, s, it);
  }
}

static int next_after(lua_State *L, int status, lua_KContext context) {
  (void)status;
  (void)context;
  state *s = state_here(L);
  task *t = s->current;
  task_unpark(t);
  if (task_is(t, TASK_CANCEL)) task_raise_cancel(L, t);
  return next_step(L, s, lua_touserdata(L, 1));
}

static int next_status(lua_State *L, state *s, iterator *it) {
  bool over = op_is_over(it->op);
  if (!over && !it->first && !it->m.moved) return await(L, s, it);
  it->first = it->m.moved = false;
  value *v = op_status(it->op);
  if (!over && op_is_over(it->op)) { /* ended meanwhile: v may say so, or not */
    value_free(v);
    v = op_status(it->op);
    over = true;
  }
  if (v == NULL) return luaL_error(L, "not enough memory");
  if (over) op_observe(it->op);
  if (over) detach(L, it);
  convert_push_and_free(L, v);
  return 1;
}

static int next_line(lua_State *L, state *s, iterator *it) {
  buffer b = BUFFER_EMPTY;
  it->m.moved = false;
  switch (process_line(it->op, it->which, &b)) {
    case LINE_LATER: return await(L, s, it);
    case LINE_END: detach(L, it); return 0;
    case LINE_READY: break;
  }
  /* A string may not be had: then the line is lost with the error. */
  convert_push_and_free_buffer(L, &b);
  return 1;
}

static int next_step(lua_State *L, state *s, iterator *it) {
  if (it->op == NULL) return 0;
  lua_settop(L, 1);
  return it->which == 0 ? next_status(L, s, it) : next_line(L, s, it);
}

/* Called by a `for` with its state, or by hand with nothing or anything: the
   iterator is its own. */
static int next(lua_State *L) {
  lua_settop(L, 0);
  lua_pushvalue(L, lua_upvalueindex(3));
  return next_step(L, state_here(L), lua_touserdata(L, 1));
}

/* Pushes what a generic `for` needs: the iterator function with the iterator
   as its state, and the iterator again to be closed. */
static int push_iterator(lua_State *L, state *s, saros_op *op, int which) {
  port *p = state_port(L, s);
  iterator *it = lua_newuserdatauv(L, sizeof *it, 0);
  memset(it, 0, sizeof *it);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &metatable_key);
  lua_setmetatable(L, -2);
  it->m.w.way = &mover_way;
  it->m.port = p;
  atomic_fetch_add(&p->refs, 1);
  it->op = saros_op_ref(op);
  it->which = which;
  it->first = true;
  watch_add(&it->m.w, op);
  lua_pushvalue(L, lua_upvalueindex(1));
  lua_pushvalue(L, lua_upvalueindex(2));
  lua_pushvalue(L, -3);
  lua_pushcclosure(L, next, 3);
  lua_insert(L, -2);
  lua_pushnil(L);
  lua_pushvalue(L, -2);
  return 4;
}

int progress_method(lua_State *L) {
  return push_iterator(L, state_here(L), handle_op(L, 1), 0);
}

int lines_method(lua_State *L) {
  static const char *const names[] = {"stdout", "stderr", NULL};
  saros_op *op = handle_op(L, 1);
  int which = luaL_checkoption(L, 2, "stdout", names) + 1;
  if (!op_is_process(op))
    return luaL_error(L, "%s has no lines: only a process has", op->kind->name);
  return push_iterator(L, state_here(L), op, which);
}

void progress_open(lua_State *L) {
  lua_createtable(L, 0, 3);
  lua_pushliteral(L, "saros.iterator");
  lua_setfield(L, -2, "__name");
  lua_pushcfunction(L, iterator_gc);
  lua_setfield(L, -2, "__gc");
  lua_pushcfunction(L, iterator_gc);
  lua_setfield(L, -2, "__close");
  lua_rawsetp(L, LUA_REGISTRYINDEX, &metatable_key);
}
