/*
** One wait for everyone, right everywhere: it yields in a task that can,
** turns the loop on the main thread, lets a host's coroutine wait as the
** host does, and everywhere else blocks on this one operation.
*/
#include <math.h>

#include "lua/dispatch.h"
#include "lua/handle.h"

/* What happens when the wait is over; the operation is at index 1. */
typedef int (*after_wait)(lua_State *L, state *s, saros_op *op);

typedef struct way {
  after_wait over;
  after_wait out_of_time;
} way;


/* ------------------------------------------------------------------
** Outcomes
** ---------------------------------------------------------------- */

/* Results that were pushed from `first` on, in the form of wait: the first
   one is never nil or false. */
static int never_false(lua_State *L, int count) {
  if (count > 0 && lua_toboolean(L, -count)) return count;
  lua_pushboolean(L, 1);
  lua_insert(L, -count - 1);
  return count + 1;
}

/* Pushes the error object of a failed one, whatever it is. */
static void push_failure(lua_State *L, state *s, saros_op *op) {
  if (op_is_task(op) && op_state_now(op) == SAROS_FAILED) {
    if (task_push_results(L, 1, NULL) > 0) {
      failure_wrap(L, SAROS_E_LUA);
      lua_pushliteral(L, "op");
      if (lua_rawget(L, -2) == LUA_TNIL) { /* a task's own error */
        lua_pushvalue(L, 1);
        lua_setfield(L, -3, "op");
      }
      lua_pop(L, 1);
      return;
    }
  }
  (void)s;
  failure_of(L, op, 1);
}

/* A result of this kind shows itself as somebody has said (core.dress). */
static void dress(lua_State *L, const saros_op *op) {
  if (!lua_istable(L, -1)) return;
  state_push(L, KEEP_DRESS);
  lua_getfield(L, -1, op->kind->name);
  lua_remove(L, -2);
  if (lua_istable(L, -1))
    lua_setmetatable(L, -2);
  else
    lua_pop(L, 1);
}

/* All results of a succeeded one, exactly. */
static int push_success(lua_State *L, saros_op *op) {
  if (op_is_task(op)) return task_push_results(L, 1, NULL);
  const value *output = op_output(op);
  if (output == NULL) return 0;
  convert_push(L, output);
  dress(L, op);
  return 1;
}

static int outcome(lua_State *L, state *s, saros_op *op) {
  op_observe(op);
  if (saros_op_state(op) == SAROS_SUCCEEDED)
    return never_false(L, push_success(L, op));
  luaL_pushfail(L);
  push_failure(L, s, op);
  return 2;
}

static int out_of_time(lua_State *L, state *s, saros_op *op) {
  (void)s;
  bool unwinds = saros_state_is_terminal(saros_op_state(op));
  /* A cancelled one that is still unwinding says how it ended. */
  uint32_t code = unwinds ? saros_op_query(op, NULL) : facade_of(op)->pending;
  luaL_pushfail(L);
  failure_make(L, op->kind->facade, code, 1,
               unwinds ? "%s has ended and is still being unwound"
                       : "%s has not ended yet; it goes on",
               op->kind->name);
  lua_pushboolean(L, 1);
  lua_setfield(L, -2, "timeout");
  return 2;
}

static int closed_error(lua_State *L) {
  luaL_pushfail(L);
  failure_make(L, SAROS_FACADE_SAROS, SAROS_E_CLOSED, 0,
               "the operation was closed while it was waited for");
  return 2;
}

/* Of several that are waited for together, the one it is about. */
static saros_op *other_end(state *s, saros_op *op) {
  saros_op *m;
  for (size_t i = 0; op_is_gather(op) && (m = gather_member(op, i)); i++)
    if (!op_is_over(m) && dispatch_cycle(s, m)) return m;
  return op;
}

int cycle_error(lua_State *L, state *s, saros_op *op) {
  buffer b = BUFFER_EMPTY;
  if (s->current != NULL)
    task_describe(L, s, task_op(s->current), &b);
  else
    buffer_text(&b, "this");
  buffer_text(&b, " would wait for itself: it waits for ");
  task_describe(L, s, other_end(s, op), &b);
  buffer_text(&b, ", which waits for it");
  luaL_pushfail(L);
  convert_push_and_free_buffer(L, &b);
  failure_make(L, SAROS_FACADE_SAROS, SAROS_E_CYCLE,
               handle_test(L, 1) != NULL ? 1 : 0, "%s", lua_tostring(L, -1));
  lua_remove(L, -2);
  return 2;
}


/* ------------------------------------------------------------------
** Yielding
** ---------------------------------------------------------------- */

static void time_fire(timer *t) {
  task_extra *x =
      (task_extra *)(void *)((char *)t - offsetof(task_extra, time));
  task *owner = x->owner;
  atomic_fetch_or(&owner->events, WOKE_TIME);
  port *p = port_push(task_port(owner), &owner->node, NODE_TASK, NULL);
  if (p != NULL) port_wake(p); /* a write under the engine's lock: rare */
}

static int resumed(lua_State *L, int status, lua_KContext context);

static int park(lua_State *L, state *s, task *t, saros_op *op, double seconds,
                const way *w) {
  if (dispatch_cycle(s, op)) return cycle_error(L, s, op);
  if (seconds >= 0) {
    task_extra *x = task_extra_make(t);
    if (x == NULL) return luaL_error(L, "not enough memory");
    x->time = (timer){.fire = time_fire};
    task_flag(t, TASK_TIMED);
    timer_set_locked(
        &x->time,
        engine_clock() + (uint64_t)((seconds < 9e9 ? seconds : 9e9) * 1e9));
  }
  task_wait_for(t, op);
  if (!watch_add(&t->w, op)) { /* over in this instant */
    task_unpark(t);
    return w->over(L, s, op);
  }
  task_flag(t, TASK_PARKED);
  /* What it undoes takes as long as that of the other one. */
  if (saros_state_is_terminal(op_state_now(task_op(t))) &&
      saros_state_is_terminal(op_state_now(op)))
    op_unwinding_waits(task_op(t), true);
  /* A continuation, because what wakes the task decides what the wait does:
     return results, say that time is up, or raise. */
  return lua_yieldk(L, 0, (lua_KContext)w, resumed);
}

static int resumed(lua_State *L, int status, lua_KContext context) {
  (void)status;
  const way *w = (const way *)context;
  state *s = state_here(L);
  task *t = s->current;
  saros_op *op = ((handle *)lua_touserdata(L, 1))->op;
  bool time_up = (atomic_load(&t->events) & WOKE_TIME) != 0;
  if (task_is(t, TASK_CANCEL)) {
    task_unpark(t);
    task_raise_cancel(L, t);
  }
  if (op == NULL) { /* closed meanwhile, by somebody else */
    task_unpark(t);
    return closed_error(L);
  }
  if (!op_is_over(op) && !time_up) {
    /* Woken for a reason that is gone: the watch and the timer still hang. */
    if (dispatch_cycle(s, op)) {
      task_unpark(t);
      return cycle_error(L, s, op);
    }
    task_flag(t, TASK_PARKED);
    return lua_yieldk(L, 0, context, resumed);
  }
  task_unpark(t);
  return op_is_over(op) ? w->over(L, s, op) : w->out_of_time(L, s, op);
}


/* ------------------------------------------------------------------
** Waiting
** ---------------------------------------------------------------- */

static bool op_reached(goal *g) {
  return op_is_over(g->op);
}

static int block(lua_State *L, state *s, saros_op *op, double seconds,
                 wait_mode mode, const way *w) {
  goal g = {.reached = op_reached, .op = op};
  saros_op_ref(op); /* whatever runs meanwhile may close the handle */
  block_end r = dispatch_block(L, s, &g, seconds, mode);
  saros_op_unref(op);
  if (r == BLOCK_RAISED) return lua_error(L);
  if (r == BLOCK_CANCELLED) task_raise_cancel(L, s->current);
  if (((handle *)lua_touserdata(L, 1))->op == NULL) return closed_error(L);
  switch (r) {
    case BLOCK_CYCLE: return cycle_error(L, s, op);
    case BLOCK_TIME: return w->out_of_time(L, s, op);
    default: return w->over(L, s, op);
  }
}

/* The host's function has waited, or says that it cannot here. */
static int host_waited(lua_State *L, int status, lua_KContext context) {
  (void)status;
  const way *w = (const way *)context;
  state *s = state_here(L);
  saros_op *op = handle_op(L, 1);
  double seconds = lua_isnumber(L, 2) ? lua_tonumber(L, 2) : -1;
  bool could = lua_toboolean(L, -1);
  lua_settop(L, 2);
  if (!could) return block(L, s, op, seconds, WAIT_ONE, w);
  return op_is_over(op) ? w->over(L, s, op) : w->out_of_time(L, s, op);
}

/* The stack is { handle, seconds or nil }. */
static int wait_in(lua_State *L, state *s, saros_op *op, double seconds,
                   const way *w) {
  wait_mode mode = dispatch_mode(L, s);
  switch (mode) {
    case WAIT_YIELD: return park(L, s, s->current, op, seconds, w);
    case WAIT_HOST:
      state_push(L, KEEP_HOST);
      lua_pushvalue(L, 1);
      lua_pushvalue(L, 2);
      lua_callk(L, 2, 1, (lua_KContext)w, host_waited);
      return host_waited(L, LUA_OK, (lua_KContext)w);
    case WAIT_LOOP:
    case WAIT_ONE: break;
  }
  return block(L, s, op, seconds, mode, w);
}

static double seconds_at(lua_State *L, int index) {
  if (lua_isnoneornil(L, index)) return -1;
  double seconds = luaL_checknumber(L, index);
  luaL_argcheck(L, !isnan(seconds), index, "seconds expected, got NaN");
  return seconds > 0 ? seconds : 0;
}

int wait_method(lua_State *L) {
  static const way w = {outcome, out_of_time};
  saros_op *op = handle_op(L, 1);
  state *s = state_here(L);
  double seconds = seconds_at(L, 2);
  if (dispatch_cancelled(L, s)) task_raise_cancel(L, s->current);
  if (op_is_over(op)) return outcome(L, s, op);
  lua_settop(L, 2);
  return wait_in(L, s, op, seconds, &w);
}

int outcome_push(lua_State *L, saros_op *op) {
  return outcome(L, state_here(L), op);
}

int result_method(lua_State *L) {
  saros_op *op = handle_op(L, 1);
  state *s = state_here(L);
  lua_settop(L, 1);
  if (!op_is_over(op)) return out_of_time(L, s, op);
  op_observe(op);
  if (saros_op_state(op) == SAROS_SUCCEEDED) return push_success(L, op);
  luaL_pushfail(L);
  push_failure(L, s, op);
  return 2;
}


/* ------------------------------------------------------------------
** Waiting inside
** ---------------------------------------------------------------- */

static int outcome_or_raise(lua_State *L, state *s, saros_op *op) {
  op_observe(op);
  if (saros_op_state(op) == SAROS_SUCCEEDED) return push_success(L, op);
  push_failure(L, s, op);
  failure_unwrap(L);
  return lua_error(L);
}

int wait_and_raise(lua_State *L) {
  static const way w = {outcome_or_raise, out_of_time};
  saros_op *op = handle_op(L, 1);
  state *s = state_here(L);
  lua_settop(L, 1);
  lua_pushnil(L); /* no seconds */
  if (op_is_over(op)) return outcome_or_raise(L, s, op);
  return wait_in(L, s, op, -1, &w);
}


/* ------------------------------------------------------------------
** Closing
** ---------------------------------------------------------------- */

static int let_go(lua_State *L, state *s, saros_op *op) {
  handle *h = lua_touserdata(L, 1);
  task *t = op_is_task(op) ? op_trailing(op) : NULL;
  op_extra *x = op_extra_get(op);
  (void)s;
  if (t != NULL && x != NULL && x->name != NULL) {
    state_push(L, KEEP_NAMED);
    lua_pushstring(L, x->name);
    lua_pushvalue(L, -1);
    lua_rawget(L, -3);
    handle *known = lua_touserdata(L, -1);
    bool ours = known != NULL && known->op == op; /* not a later one's */
    lua_pop(L, 1);
    lua_pushnil(L);
    if (ours) lua_rawset(L, -3);
  }
  /* From here on nothing of Lua raises. */
  h->op = NULL;
  if (lua_getiuservalue(L, 1, 1) != LUA_TNONE) {
    lua_pushnil(L);
    lua_setiuservalue(L, 1, 1); /* the results go */
  }
  if (t != NULL && --t->handles == 0) task_complain(L, t);
  op_forget_name(op);
  saros_op_unref(op);
  return 0;
}

int close_method(lua_State *L) {
  static const way w = {let_go, let_go};
  handle *h = handle_check(L, 1);
  state *s = state_here(L);
  saros_op *op = h->op;
  double seconds = seconds_at(L, 2);
  lua_settop(L, 2);
  if (op == NULL) return 0;
  if (op_is_over(op)) return let_go(L, s, op);
  if (s->current != NULL && task_op(s->current) == op)
    return luaL_error(L, "a task cannot close itself; let it return");
  task_cancel_op(s, op);
  if (op_is_over(op)) return let_go(L, s, op);
  return wait_in(L, s, op, seconds, &w);
}

/* It gets (handle, error): an error that is a number is no time. */
int close_of_block(lua_State *L) {
  lua_settop(L, 1);
  return close_method(L);
}
