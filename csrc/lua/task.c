/*
** Tasks: how one is made, runs and ends. Lua's part of a task (coroutine,
** results) lives as long as its handle; C's part as long as the operation.
*/
#include "lua/task.h"

#include <stdio.h>
#include <string.h>

#include "lua/dispatch.h"
#include "lua/handle.h"
#include "op/fork.h"

static void cancel(saros_op *op, void *self) {
  task *t = self;
  bool queued;
  atomic_fetch_or(&t->events, WOKE_CANCEL);
  saros_op_ref(op);
  port *p = port_push(op->owner, &t->node, NODE_TASK_REF, &queued);
  if (!queued) saros_op_unref(op);
  if (p != NULL) port_wake(p);
}

static void release(void *self) {
  port *p = task_port((task *)self);
  if (p != NULL) port_unref(p);
}

static const saros_kind kind = {.size = sizeof(saros_kind),
                                .name = "saros.task",
                                .flags = SAROS_CANCELLABLE,
                                .cancel = cancel,
                                .release = release};

bool op_is_task(const saros_op *op) {
  return op->kind == &kind;
}

task *task_of(state *s, saros_op *op) {
  if (!op_is_task(op)) return NULL;
  /* Only a port of ours: another state's thread may be at work on it now. */
  if (s->port == NULL || op->owner != s->port) return NULL;
  task *t = op_trailing(op);
  return task_is(t, TASK_ENDED) ? NULL : t;
}

group *group_new(void) {
  group *g = mem_zero(sizeof *g);
  if (g != NULL) g->refs = 1;
  return g;
}

void group_unref(group *g) {
  if (g != NULL && --g->refs == 0) mem_free(g);
}

group **task_group(task *t) {
  return task_is(t, TASK_EXTRA) ? &t->extra->group : &t->group;
}

task_extra *task_extra_make(task *t) {
  if (task_is(t, TASK_EXTRA)) return t->extra;
  task_extra *x = mem_zero(sizeof *x);
  if (x == NULL) return NULL;
  x->owner = t;
  x->group = t->group;
  t->extra = x;
  task_flag(t, TASK_EXTRA);
  return x;
}

/* Takes it out of its group, and the extra away. */
static void extra_drop(task *t) {
  group *g = *task_group(t);
  if (task_is(t, TASK_EXTRA)) {
    if (t->extra->on_mover != NULL) t->extra->on_mover->waiter = NULL;
    mem_free(t->extra->complaint);
    mem_free(t->extra);
    task_unflag(t, TASK_EXTRA);
  }
  t->group = NULL;
  if (g == NULL) return;
  g->live--;
  group_unref(g);
}


/* ------------------------------------------------------------------
** Inside the coroutine
** ---------------------------------------------------------------- */

static const char *complaint(const task *t) {
  return task_is(t, TASK_EXTRA) ? t->extra->complaint : NULL;
}

/* The first one stays. Without memory there is none. */
static void complain(task *t, const char *text) {
  task_extra *x = complaint(t) == NULL ? task_extra_make(t) : NULL;
  if (x != NULL) x->complaint = mem_text(text);
}

/* Message handler: the traceback is gone once the error has unwound. */
static int on_error(lua_State *co) {
  task *t = state_get(co)->current;
  if (lua_type(co, 1) == LUA_TSTRING && complaint(t) == NULL) {
    luaL_traceback(co, co, lua_tostring(co, 1), 1);
    complain(t, lua_tostring(co, -1));
  }
  lua_settop(co, 1);
  return 1;
}

/* The error at the top of the coroutine is how the task ends. */
static void failed(lua_State *co, task *t, uint32_t fallback) {
  task_flag(t, TASK_FAILED);
  t->outcome = failure_code(co, -1, fallback);
  failure_wrap(co, fallback);
  if (complaint(t) != NULL) return;
  complain(t, failure_text(co, -1));
  lua_pop(co, 1);
}

#define YIELD_TEXT                                                          \
  "yield without an operation: in a saros task only a wait may yield; use " \
  "coroutine.wrap for generators"


static void poison(lua_State *co, lua_Debug *ar);

/* A hook of its own (a debugger's, a profiler's) is put back behind it; it is
   lost only when there is no memory to keep it in. */
static void give_poison(lua_State *co, task *t) {
  lua_Hook own = lua_gethook(co);
  bool keep = own != NULL && own != poison;
  task_extra *x = keep ? task_extra_make(t) : NULL;
  if (x != NULL) {
    x->hook = own;
    x->hook_mask = lua_gethookmask(co);
    x->hook_count = lua_gethookcount(co);
  }
  task_flag(t, TASK_POISONED);
  lua_sethook(co, poison, LUA_MASKCOUNT, 1);
}

static void antidote(lua_State *co, task *t) {
  task_extra *x = task_is(t, TASK_EXTRA) ? t->extra : NULL;
  task_unflag(t, TASK_POISONED);
  if (lua_gethook(co) != poison) return; /* somebody has set another one */
  if (x != NULL && x->hook != NULL)
    lua_sethook(co, x->hook, x->hook_mask, x->hook_count);
  else
    lua_sethook(co, NULL, 0, 0);
  if (x != NULL) x->hook = NULL;
}

/* The coroutine yielded on its own account: it raises at the yield. */
static void poison(lua_State *co, lua_Debug *ar) {
  (void)ar;
  antidote(co, state_get(co)->current);
  luaL_where(co, 0); /* a hook in C is no level of its own */
  lua_pushliteral(co, YIELD_TEXT);
  lua_concat(co, 2);
  lua_error(co);
}

/* Stack: the message handler, then the results or the error. */
static int body_end(lua_State *co, int status, lua_KContext context) {
  task *t = (task *)context;
  int count = lua_gettop(co) - 1;
  if (status != LUA_OK && status != LUA_YIELD) {
    failed(co, t, SAROS_E_LUA);
    return 1;
  }
  if (task_is(t, TASK_POISONED)) { /* it was the last thing it did */
    antidote(co, t);
    lua_settop(co, 1);
    lua_pushliteral(co, YIELD_TEXT);
    failed(co, t, SAROS_E_LUA);
    return 1;
  }
  if (count >= 2 && lua_isnil(co, 2) && !lua_isnil(co, 3)) {
    lua_settop(co, 3); /* nil, err */
    failed(co, t, SAROS_E_FAIL);
    return 1;
  }
  return count;
}

/* Arguments: the task, the function, its arguments. The message handler has
   no upvalue, because that would make it a closure for each task. */
static int body(lua_State *co) {
  task *t = lua_touserdata(co, 1);
  lua_pushcfunction(co, on_error);
  lua_replace(co, 1);
  int r = lua_pcallk(co, lua_gettop(co) - 2, LUA_MULTRET, 1, (lua_KContext)t,
                     body_end);
  return body_end(co, r, (lua_KContext)t);
}

/* ------------------------------------------------------------------
** The life of a task
** ---------------------------------------------------------------- */

/* Keeps the coroutine at the top of the stack alive; pops it. */
static int slot_take(lua_State *L, state *s) {
  state_push(L, KEEP_THREADS);
  lua_Integer slot = s->free_slot;
  if (slot != 0) {
    lua_rawgeti(L, -1, slot);
    s->free_slot = lua_tointeger(L, -1);
    lua_pop(L, 1);
  } else {
    slot = s->slots + 1;
  }
  lua_pushvalue(L, -2);
  lua_rawseti(L, -2, slot);
  if (slot > s->slots) s->slots = slot;
  lua_pop(L, 2);
  return (int)slot;
}

static void slot_give(lua_State *L, state *s, int slot) {
  state_push(L, KEEP_THREADS);
  lua_pushinteger(L, s->free_slot);
  lua_rawseti(L, -2, slot);
  lua_pop(L, 1);
  s->free_slot = slot;
}

static void link_in(state *s, saros_op *op) {
  op->owned_next = s->tasks;
  op->owned_link = &s->tasks;
  if (s->tasks != NULL) s->tasks->owned_link = &op->owned_next;
  s->tasks = op;
  s->task_count++;
}

static void link_out(state *s, saros_op *op) {
  *op->owned_link = op->owned_next;
  if (op->owned_next != NULL) op->owned_next->owned_link = op->owned_link;
  s->task_count--;
}

/* It has ended, or will never go on: what is left is its operation. */
static void leave(lua_State *L, state *s, task *t) {
  slot_give(L, s, t->slot);
  link_out(s, task_op(t));
  task_flag(t, TASK_ENDED);
  t->co = NULL;
}

static port *task_fire(watch *w) {
  task *t = (task *)w;
  atomic_fetch_or(&t->events, WOKE_OVER);
  return port_push(task_port(t), &t->node, NODE_TASK, NULL);
}

static const watch_way task_way = {.fire = task_fire};

task *task_push(lua_State *L, state *s, int nargs, const char *name) {
  port *p = state_port(L, s);
  luaL_checkstack(L, 8, "too many arguments");
  int function = lua_gettop(L) - nargs;
  handle *h = handle_push(L, s, true);
  int at = lua_gettop(L);
  lua_State *co = lua_newthread(L);
  if (!lua_checkstack(co, nargs + 4)) luaL_error(L, "too many arguments");
  lua_pushvalue(L, -1);
  lua_setiuservalue(L, at, 1);
  int slot = slot_take(L, s); /* pops the coroutine */
  if (name != NULL) {         /* a place for it, so that nothing raises later */
    state_push(L, KEEP_NAMED);
    lua_pushstring(L, name);
    lua_pushvalue(L, -1);
    if (lua_rawget(L, -3) == LUA_TNIL) {
      lua_pushvalue(L, -2);
      lua_pushboolean(L, 0);
      lua_rawset(L, -5);
    }
    lua_pop(L, 1);
  }
  /* From here on nothing of Lua raises. */
  uint32_t why;
  saros_op *op = op_create(&kind, NULL, sizeof(task), name, &why);
  if (op != NULL) {
    /* By its name another thread may find and cancel it already. */
    op->owner = p;
    atomic_fetch_add(&p->refs, 1);
    why = op_begin(op, SAROS_QUEUED);
    if (why != 0) {
      op_finish_error(op, why, NULL);
      op_forget_name(op);
      saros_op_unref(op);
    }
  }
  if (op == NULL || why != 0) {
    slot_give(L, s, slot);
    failure_make(L, SAROS_FACADE_SAROS, why, 0,
                 why == SAROS_E_BUSY_NAME
                     ? "a pending operation has the name '%s' already"
                     : "a task could not be made",
                 name);
    lua_error(L);
    return NULL; /* never */
  }
  task *t = op_trailing(op);
  t->w.way = &task_way;
  t->co = co;
  t->slot = slot;
  t->handles++;
  t->group = s->current != NULL ? *task_group(s->current) : NULL;
  if (t->group != NULL) {
    t->group->refs++;
    t->group->live++;
  }
  link_in(s, op);
  h->op = op;
  if (name != NULL) { /* found again by name, its results are still there */
    lua_pushvalue(L, at);
    lua_rawset(L, -3);
    lua_pop(L, 1);
  }
  lua_pushcfunction(co, body);
  lua_pushlightuserdata(co, t);
  lua_rotate(L, function, 1); /* the handle goes below the function */
  lua_xmove(L, co, nargs + 1);
  return t;
}

void task_ready(state *s, task *t) {
  if (task_is(t, TASK_READY | TASK_RUNNING | TASK_ENDED)) return;
  task_flag(t, TASK_READY);
  t->ready_next = NULL;
  *s->last = t;
  s->last = &t->ready_next;
}

static void unready(state *s, task *t) {
  if (!task_is(t, TASK_READY)) return;
  task **at = &s->first;
  while (*at != t) at = &(*at)->ready_next;
  *at = t->ready_next;
  if (*at == NULL) s->last = at;
  task_unflag(t, TASK_READY);
}

bool task_start_after(task *t, saros_op *op) {
  task_wait_for(t, op);
  if (watch_add(&t->w, op)) return true;
  task_unpark(t);
  return false;
}

void task_node_taken(state *s, task *t, int type) {
  if (!task_is(t, TASK_ENDED)) {
    if (atomic_load(&t->events) & WOKE_CANCEL) task_flag(t, TASK_CANCEL);
    task_ready(s, t);
  }
  if (type == NODE_TASK_REF) saros_op_unref(task_op(t));
}

void task_cancel_again(state *s, task *t) {
  if (task_is(t, TASK_ENDED)) return;
  task_flag(t, TASK_CANCEL);
  task_ready(s, t);
}

uint32_t task_cancel_op(state *s, saros_op *op) {
  bool again = op_state_now(op) == SAROS_CANCELLED_STATE;
  uint32_t answer = saros_op_cancel(op);
  task *t = task_of(s, op);
  if (t != NULL && op_state_now(op) == SAROS_CANCELLED_STATE) {
    /* On this thread there is no need to go through the port. */
    if (again || !task_is(t, TASK_CANCEL)) task_cancel_again(s, t);
    if (s->depth == 0) port_poke(s->port);
  }
  return answer;
}

void task_raise_cancel(lua_State *L, task *t) {
  task_unflag(t, TASK_CANCEL);
  atomic_fetch_and(&t->events, (uint8_t)~WOKE_CANCEL);
  failure_make(L, SAROS_FACADE_SAROS, SAROS_E_CANCELLED, 0,
               "the task was cancelled");
  lua_error(L);
}

void task_wait_for(task *t, saros_op *op) {
  t->w.op = saros_op_ref(op);
}

void task_unpark(task *t) {
  task_extra *x = task_is(t, TASK_EXTRA) ? t->extra : NULL;
  if (x != NULL && x->on_mover != NULL) {
    x->on_mover->waiter = NULL;
    x->on_mover = NULL;
  }
  /* With the lock also when it has fired: behind it the firing is complete,
     and the node is queued or it is not. */
  watch_remove(&t->w);
  /* In a forked child the wheel it hangs in is the parent's. */
  if (task_is(t, TASK_TIMED) && task_op(t)->generation == fork_generation)
    timer_cancel(&x->time);
  /* A cancel that comes now queues it anew, which is right. */
  if (port_remove(task_port(t), &t->node)) {
    if (atomic_load(&t->events) & WOKE_CANCEL) task_flag(t, TASK_CANCEL);
    if (t->node.type == NODE_TASK_REF) saros_op_unref(task_op(t));
  }
  atomic_fetch_and(&t->events, (uint8_t) ~(WOKE_OVER | WOKE_TIME));
  if (t->w.op != NULL) saros_op_unref(t->w.op);
  t->w.op = NULL;
  task_unflag(t, TASK_PARKED | TASK_TIMED);
}

void task_complain(lua_State *L, task *t) {
  saros_op *op = task_op(t);
  if (op_state_now(op) != SAROS_FAILED) return;
  if (op_flags_now(op) & OP_OBSERVED) return;
  op_observe(op); /* once */
  error *why = op_error(op);
  lua_warning(L, "saros: error in a task nobody waited for: ", 1);
  lua_warning(L, why->message, 0);
  error_unref(why);
}

/* The operation's end; the last thing done with `t`. */
static void end(lua_State *L, state *s, task *t) {
  saros_op *op = task_op(t);
  uint32_t code = SAROS_S_OK;
  error *why = NULL;
  if (task_is(t, TASK_FAILED)) {
    code = t->outcome;
    why = error_make(SAROS_FACADE_SAROS, code, "%s",
                     complaint(t) != NULL ? complaint(t) : "a task failed");
  }
  leave(L, s, t);
  extra_drop(t);
  /* An error while it was being undone is told, but is not the outcome. */
  if (why != NULL && code != SAROS_E_CANCELLED &&
      op_state_now(op) == SAROS_CANCELLED_STATE)
    saros_op_cleanup_failed(op, why->message);
  saros_op_ref(op);
  op_finish_error(op, code, why);
  if (t->handles == 0) task_complain(L, t);
  saros_op_unref(op);
}

void task_resume(lua_State *L, state *s, task *t) {
  lua_State *co = t->co;
  int nargs = 0, nres = 0, status;
  if (!task_is(t, TASK_STARTED)) {
    if (saros_op_cancelled(task_op(t))) { /* before its first line */
      task_discard(L, s, t);
      return;
    }
    task_flag(t, TASK_STARTED);
    task_unpark(t);
    saros_op_running(task_op(t));
    nargs = lua_gettop(co) - 1;
  }
  task *outer = s->current;
  s->current = t;
  task_flag(t, TASK_RUNNING);
  s->depth++;
  status = lua_resume(co, L, nargs, &nres);
  if (status != LUA_OK && status != LUA_YIELD) {
    /* Memory, or the C stack, ran out where nothing could catch it. */
    task_flag(t, TASK_FAILED);
    t->outcome = status == LUA_ERRMEM ? SAROS_E_OUTOFMEMORY : SAROS_E_LUA;
    if (lua_type(co, -1) == LUA_TSTRING) complain(t, lua_tostring(co, -1));
    task_unpark(t); /* "C stack overflow" comes before it has run */
    lua_resetthread(co);
    lua_settop(co, 0);
  }
  s->depth--;
  s->current = outer;
  task_unflag(t, TASK_RUNNING);
  if (status != LUA_YIELD) {
    end(L, s, t);
  } else if (!task_is(t, TASK_PARKED)) {
    lua_pop(co, nres);
    give_poison(co, t);
    task_ready(s, t);
  } else if (task_is(t, TASK_CANCEL)) {
    task_ready(s, t); /* it was cancelled while it ran */
  }
}

void task_discard(lua_State *L, state *s, task *t) {
  unready(s, t);
  task_unpark(t);
  saros_op_ref(task_op(t));
  op_try_cancel(task_op(t)); /* may queue it once more */
  task_unpark(t);
  saros_op *op = task_op(t);
  end(L, s, t);
  saros_op_unref(op);
}

void task_forget_all(lua_State *L, state *s) {
  task *next;
  s->first = NULL;
  s->last = &s->first;
  for (task *t = task_first(s); t != NULL; t = next) {
    next = task_next(t);
    task_unflag(t, TASK_READY);
    if (task_is(t, TASK_RUNNING)) continue;
    leave(L, s, t);
    extra_drop(t);
  }
}

int task_push_results(lua_State *L, int index, task *t) {
  (void)t;
  index = lua_absindex(L, index);
  lua_getiuservalue(L, index, 1);
  lua_State *co = lua_tothread(L, -1);
  lua_pop(L, 1);
  if (co == NULL) return 0;
  int count = lua_gettop(co);
  luaL_checkstack(L, count + 1, "too many results");
  if (!lua_checkstack(co, count)) luaL_error(L, "too many results");
  for (int i = 1; i <= count; i++) lua_pushvalue(co, i);
  lua_xmove(co, L, count);
  return count;
}

bool task_origin(state *s, saros_op *op, char *text, size_t size) {
  lua_Debug ar;
  int level = 0;
  task *t = task_of(s, op);
  if (t == NULL) return false;
  lua_State *co = t->co;
  if (!task_is(t, TASK_STARTED)) {
    if (!lua_checkstack(co, 1) || !lua_isfunction(co, 3)) return false;
    lua_pushvalue(co, 3); /* body, task, function */
    lua_getinfo(co, ">S", &ar);
  } else {
    /* At the bottom is `body`, above it the function. */
    while (lua_getstack(co, level, &ar)) level++;
    if (level < 2 || !lua_getstack(co, level - 2, &ar)) return false;
    lua_getinfo(co, "S", &ar);
  }
  if (ar.linedefined <= 0) return false;
  snprintf(text, size, "%s:%d", ar.short_src, ar.linedefined);
  return true;
}

void task_describe(lua_State *L, state *s, saros_op *op, buffer *b) {
  char where[TASK_ORIGIN_SIZE];
  (void)L;
  op_describe(op, b);
  if (task_origin(s, op, where, sizeof where)) buffer_format(b, " (%s)", where);
}
