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
  port *p = port_push(t->port, &t->node, NODE_TASK_REF, &queued);
  if (!queued) saros_op_unref(op);
  if (p != NULL) port_wake(p);
}

static void release(void *self) {
  task *t = self;
  if (t->port != NULL) port_unref(t->port);
  mem_free(t->time);
  mem_free(t->complaint);
}

#define TASK_KIND(name_, facade_)                                    \
  {                                                                  \
    .size = sizeof(saros_kind), .name = (name_), .facade = facade_,  \
    .flags = SAROS_CANCELLABLE, .cancel = cancel, .release = release \
  }

/* What a script calls by another name speaks that service's vocabulary. */
static const saros_kind kinds[] = {
    TASK_KIND("saros.task", SAROS_FACADE_SAROS),
    TASK_KIND("vss.shadow", SAROS_FACADE_VSS),
};
#define KINDS (sizeof kinds / sizeof kinds[0])

const saros_kind *task_kind(const char *name) {
  for (size_t i = 0; i < KINDS; i++)
    if (strcmp(kinds[i].name, name) == 0) return &kinds[i];
  return NULL;
}

bool op_is_task(const saros_op *op) {
  return op->kind->cancel == cancel; /* of all these and of no other */
}

task *task_of(state *s, saros_op *op) {
  if (!op_is_task(op)) return NULL;
  task *t = op_trailing(op);
  return t->s == s ? t : NULL;
}

group *group_new(void) {
  group *g = mem_zero(sizeof *g);
  if (g != NULL) g->refs = 1;
  return g;
}

void group_unref(group *g) {
  if (g != NULL && --g->refs == 0) mem_free(g);
}


/* ------------------------------------------------------------------
** Inside the coroutine
** ---------------------------------------------------------------- */

/* Message handler: the traceback is gone once the error has unwound. */
static int on_error(lua_State *co) {
  task *t = lua_touserdata(co, lua_upvalueindex(1));
  if (lua_type(co, 1) == LUA_TSTRING && t->complaint == NULL) {
    luaL_traceback(co, co, lua_tostring(co, 1), 1);
    t->complaint = mem_text(lua_tostring(co, -1));
  }
  lua_settop(co, 1);
  return 1;
}

/* The error at the top of the coroutine is how the task ends. */
static void failed(lua_State *co, task *t, uint32_t fallback) {
  t->flags |= TASK_FAILED;
  t->outcome = failure_code(co, -1, fallback);
  failure_wrap(co, fallback);
  if (t->complaint != NULL) return;
  t->complaint = mem_text(failure_text(co, -1));
  lua_pop(co, 1);
}

#define YIELD_TEXT                                                          \
  "yield without an operation: in a saros task only a wait may yield; use " \
  "coroutine.wrap for generators"


/* Stack: the message handler, then the results or the error. */
static int body_end(lua_State *co, int status, lua_KContext context) {
  task *t = (task *)context;
  int count = lua_gettop(co) - 1;
  if (status != LUA_OK && status != LUA_YIELD) {
    failed(co, t, SAROS_E_LUA);
    return 1;
  }
  if (t->flags & TASK_POISONED) { /* it was the last thing it did */
    lua_sethook(co, NULL, 0, 0);
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

/* Arguments: the task, the function, its arguments. */
static int body(lua_State *co) {
  task *t = lua_touserdata(co, 1);
  lua_pushlightuserdata(co, t);
  lua_pushcclosure(co, on_error, 1);
  lua_replace(co, 1);
  int r = lua_pcallk(co, lua_gettop(co) - 2, LUA_MULTRET, 1, (lua_KContext)t,
                     body_end);
  return body_end(co, r, (lua_KContext)t);
}

/* The coroutine yielded on its own account: it raises at the yield. */
static void poison(lua_State *co, lua_Debug *ar) {
  (void)ar;
  lua_sethook(co, NULL, 0, 0);
  state_get(co)->current->flags &= ~TASK_POISONED;
  luaL_where(co, 0); /* a hook in C is no level of its own */
  lua_pushliteral(co, YIELD_TEXT);
  lua_concat(co, 2);
  lua_error(co);
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

static void link_in(state *s, task *t) {
  t->next = s->tasks;
  t->link = &s->tasks;
  if (t->next != NULL) t->next->link = &t->next;
  s->tasks = t;
  s->task_count++;
}

static void link_out(state *s, task *t) {
  *t->link = t->next;
  if (t->next != NULL) t->next->link = t->link;
  s->task_count--;
}

task *task_push(lua_State *L, state *s, int nargs, const char *name) {
  return task_push_as(L, s, &kinds[0], nargs, name);
}

task *task_push_as(lua_State *L, state *s, const saros_kind *kind, int nargs,
                   const char *name) {
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
  saros_op *op = op_create(kind, NULL, sizeof(task), name, &why);
  if (op != NULL) {
    why = op_begin(op, SAROS_QUEUED);
    if (why != 0) saros_op_unref(op);
  }
  if (op == NULL || why != 0) {
    slot_give(L, s, slot);
    failure_make(L, SAROS_FACADE_SAROS, why, 0, "a task could not be made");
    lua_error(L);
    return NULL; /* never */
  }
  task *t = op_trailing(op);
  op->self = t;
  t->w.fire = task_fire;
  t->s = s;
  t->port = p;
  atomic_fetch_add(&p->refs, 1);
  t->co = co;
  t->slot = slot;
  t->handles = 1;
  t->group = s->current != NULL ? s->current->group : NULL;
  if (t->group != NULL) {
    t->group->refs++;
    t->group->live++;
  }
  link_in(s, t);
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
  if (t->flags & (TASK_READY | TASK_RUNNING | TASK_ENDED)) return;
  t->flags |= TASK_READY;
  t->ready_next = NULL;
  *s->last = t;
  s->last = &t->ready_next;
}

static void unready(state *s, task *t) {
  if (!(t->flags & TASK_READY)) return;
  task **at = &s->first;
  while (*at != t) at = &(*at)->ready_next;
  *at = t->ready_next;
  if (*at == NULL) s->last = at;
  t->flags &= ~TASK_READY;
}

port *task_fire(watch *w) {
  task *t = (task *)w;
  atomic_fetch_or(&t->events, WOKE_OVER);
  return port_push(t->port, &t->node, NODE_TASK, NULL);
}

bool task_start_after(task *t, saros_op *op) {
  task_wait_for(t, op);
  if (watch_add(&t->w, op)) return true;
  task_unpark(t);
  return false;
}

void task_node_taken(state *s, task *t, int type) {
  if (!(t->flags & TASK_ENDED)) {
    if (atomic_load(&t->events) & WOKE_CANCEL) t->flags |= TASK_CANCEL;
    task_ready(s, t);
  }
  if (type == NODE_TASK_REF) saros_op_unref(task_op(t));
}

void task_cancel_again(task *t) {
  if (t->flags & TASK_ENDED) return;
  t->flags |= TASK_CANCEL;
  task_ready(t->s, t);
}

uint32_t task_cancel_op(state *s, saros_op *op) {
  bool again = op_state_now(op) == SAROS_CANCELLED_STATE;
  uint32_t answer = saros_op_cancel(op);
  task *t = task_of(s, op);
  if (t != NULL && op_state_now(op) == SAROS_CANCELLED_STATE) {
    /* On this thread there is no need to go through the port. */
    if (again || !(t->flags & TASK_CANCEL)) task_cancel_again(t);
    if (s->depth == 0) port_poke(t->port);
  }
  return answer;
}

void task_raise_cancel(lua_State *L, task *t) {
  t->flags &= ~TASK_CANCEL;
  atomic_fetch_and(&t->events, ~WOKE_CANCEL);
  failure_make(L, SAROS_FACADE_SAROS, SAROS_E_CANCELLED, 0,
               "the task was cancelled");
  lua_error(L);
}

void task_wait_for(task *t, saros_op *op) {
  t->waiting_on = saros_op_ref(op);
}

void task_unpark(task *t) {
  if (t->on_mover != NULL) {
    t->on_mover->waiter = NULL;
    t->on_mover = NULL;
  }
  /* With the lock also when it has fired: behind it the firing is complete,
     and the node is queued or it is not. */
  watch_remove(&t->w);
  t->w.op = NULL; /* it may be freed before the next wait */
  if (t->time != NULL) {
    /* In a forked child the wheel it hangs in is the parent's. */
    if (task_op(t)->generation == fork_generation) timer_cancel(&t->time->t);
    mem_free(t->time);
    t->time = NULL;
  }
  /* A cancel that comes now queues it anew, which is right. */
  if (port_remove(t->port, &t->node)) {
    if (atomic_load(&t->events) & WOKE_CANCEL) t->flags |= TASK_CANCEL;
    if (t->node.type == NODE_TASK_REF) saros_op_unref(task_op(t));
  }
  atomic_fetch_and(&t->events, ~(WOKE_OVER | WOKE_TIME));
  if (t->waiting_on != NULL) saros_op_unref(t->waiting_on);
  t->waiting_on = NULL;
  t->flags &= ~TASK_PARKED;
}

void task_complain(lua_State *L, task *t) {
  saros_op *op = task_op(t);
  if (t->complaint == NULL || op_state_now(op) != SAROS_FAILED) return;
  if (op_flags_now(op) & OP_OBSERVED) return;
  op_observe(op); /* once */
  lua_warning(L, "saros: error in a task nobody waited for: ", 1);
  lua_warning(L, t->complaint, 0);
}

/* The operation's end; the last thing done with `t`. */
static void end(lua_State *L, state *s, task *t) {
  saros_op *op = task_op(t);
  group *g = t->group;
  slot_give(L, s, t->slot);
  link_out(s, t);
  t->flags |= TASK_ENDED;
  t->s = NULL;
  t->co = NULL;
  t->group = NULL;
  if (g != NULL) {
    g->live--;
    group_unref(g);
  }
  error *why = NULL;
  if (t->flags & TASK_FAILED)
    why = error_make(op->kind->facade, t->outcome, "%s",
                     t->complaint != NULL ? t->complaint : "a task failed");
  /* An error while it was being undone is told, but is not the outcome. */
  if ((t->flags & TASK_FAILED) && t->outcome != SAROS_E_CANCELLED &&
      op_state_now(op) == SAROS_CANCELLED_STATE)
    saros_op_cleanup_failed(op, why->message);
  saros_op_ref(op);
  op_finish_error(op, t->flags & TASK_FAILED ? t->outcome : SAROS_S_OK, why);
  if (t->handles == 0) task_complain(L, t);
  saros_op_unref(op);
}

void task_resume(lua_State *L, state *s, task *t) {
  lua_State *co = t->co;
  int nargs = 0, nres = 0, status;
  if (!(t->flags & TASK_STARTED)) {
    if (saros_op_cancelled(task_op(t))) { /* before its first line */
      task_discard(L, s, t);
      return;
    }
    t->flags |= TASK_STARTED;
    task_unpark(t);
    saros_op_running(task_op(t));
    nargs = lua_gettop(co) - 1;
  }
  task *outer = s->current;
  s->current = t;
  t->flags |= TASK_RUNNING;
  s->depth++;
  status = lua_resume(co, L, nargs, &nres);
  if (status != LUA_OK && status != LUA_YIELD) {
    /* Memory, or the C stack, ran out where nothing could catch it. */
    t->flags |= TASK_FAILED;
    t->outcome = status == LUA_ERRMEM ? SAROS_E_OUTOFMEMORY : SAROS_E_LUA;
    if (t->complaint == NULL && lua_type(co, -1) == LUA_TSTRING)
      t->complaint = mem_text(lua_tostring(co, -1));
    task_unpark(t); /* "C stack overflow" comes before it has run */
    lua_resetthread(co);
    lua_settop(co, 0);
  }
  s->depth--;
  s->current = outer;
  t->flags &= ~TASK_RUNNING;
  if (status != LUA_YIELD) {
    end(L, s, t);
  } else if (!(t->flags & TASK_PARKED)) {
    lua_pop(co, nres);
    t->flags |= TASK_POISONED;
    lua_sethook(co, poison, LUA_MASKCOUNT, 1);
    task_ready(s, t);
  } else if (t->flags & TASK_CANCEL) {
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
  for (task *t = s->tasks; t != NULL; t = next) {
    next = t->next;
    t->flags &= ~TASK_READY;
    if (t->flags & TASK_RUNNING) continue;
    slot_give(L, s, t->slot);
    link_out(s, t);
    t->flags |= TASK_ENDED;
    t->s = NULL;
    t->co = NULL;
    if (t->group != NULL) t->group->live--;
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

/* "file.lua:12" of the function it runs; "" when that cannot be told. */
static void origin(lua_State *co, task *t, char *text, size_t size) {
  lua_Debug ar;
  int level = 0;
  text[0] = '\0';
  if (!(t->flags & TASK_STARTED)) {
    if (!lua_checkstack(co, 1) || !lua_isfunction(co, 3)) return;
    lua_pushvalue(co, 3); /* body, task, function */
    lua_getinfo(co, ">S", &ar);
  } else {
    /* At the bottom is `body`, above it the function. */
    while (lua_getstack(co, level, &ar)) level++;
    if (level < 2 || !lua_getstack(co, level - 2, &ar)) return;
    lua_getinfo(co, "S", &ar);
  }
  if (ar.linedefined > 0)
    snprintf(text, size, "%s:%d", ar.short_src, ar.linedefined);
}

void task_describe(lua_State *L, state *s, saros_op *op, buffer *b) {
  char where[LUA_IDSIZE + 16];
  task *t = task_of(s, op);
  (void)L;
  op_describe(op, b);
  if (t == NULL || (t->flags & TASK_ENDED)) return;
  origin(t->co, t, where, sizeof where);
  if (where[0] != '\0') buffer_format(b, " (%s)", where);
}
