/*
** Tasks: how one is made, runs and ends. Lua's part of a task (coroutine,
** results) lives as long as its handle; C's part as long as the operation.
*/
#include "lua/task.h"

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

#define TASK_KIND(name_, facade_)                                     \
  {                                                                   \
    .size = sizeof(saros_kind), .name = (name_), .facade = (facade_), \
    .flags = SAROS_CANCELLABLE, .cancel = cancel, .release = release  \
  }

/* What a script calls by another name speaks that service's vocabulary. */
static const saros_kind kinds[] = {
    TASK_KIND("saros.task", SAROS_FACADE_SAROS),
    TASK_KIND("vss.shadow", SAROS_FACADE_VSS),
    TASK_KIND("wsb.check_consistency", SAROS_FACADE_WSB),
    TASK_KIND("wsb.order_components", SAROS_FACADE_WSB),
    TASK_KIND("wsb.pre_restore", SAROS_FACADE_WSB),
    TASK_KIND("wsb.post_restore", SAROS_FACADE_WSB),
    TASK_KIND("wsb.backup", SAROS_FACADE_SAROS),
    TASK_KIND("wsb.versions", SAROS_FACADE_SAROS),
    TASK_KIND("wsb.items", SAROS_FACADE_SAROS),
    TASK_KIND("wsb.recover", SAROS_FACADE_SAROS),
    TASK_KIND("saros.drill", SAROS_FACADE_SAROS),
    TASK_KIND("saros.hold", SAROS_FACADE_SAROS),
    TASK_KIND("saros.doctor", SAROS_FACADE_SAROS),
    TASK_KIND("repository.claim_prune", SAROS_FACADE_SAROS),
    TASK_KIND("saros.workflow", SAROS_FACADE_SAROS),
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

const char *task_complaint(const task *t) {
  return task_is(t, TASK_EXTRA) ? t->extra->complaint : NULL;
}

void task_note_complaint(task *t, const char *text) {
  task_extra *x = task_complaint(t) == NULL ? task_extra_make(t) : NULL;
  if (x != NULL) x->complaint = mem_text(text);
}

static void group_leave(task *t) {
  group **g = task_group(t);
  if (*g == NULL) return;
  (*g)->live--;
  group_unref(*g);
  *g = NULL;
}

void task_background(state *s, task *t) {
  group_leave(t);
  task_flag(t, TASK_BACKGROUND);
  s->background++;
}

/* Takes it out of its group, and the extra away. */
static void extra_drop(task *t) {
  group_leave(t);
  if (task_is(t, TASK_EXTRA)) {
    if (t->extra->on_mover != NULL) t->extra->on_mover->waiter = NULL;
    mem_free(t->extra->complaint);
    mem_free(t->extra);
    task_unflag(t, TASK_EXTRA);
  }
  t->group = NULL;
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
  if (task_is(t, TASK_BACKGROUND)) s->background--;
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
  if (s->current != NULL && task_is(s->current, TASK_ROOT))
    task_flag(t, TASK_ROOT);
  link_in(s, op);
  h->op = op;
  if (name != NULL) { /* found again by name, its results are still there */
    lua_pushvalue(L, at);
    lua_rawset(L, -3);
    lua_pop(L, 1);
  }
  lua_pushcfunction(co, task_body);
  lua_pushlightuserdata(co, t);
  lua_rotate(L, function, 1); /* the handle goes below the function */
  lua_xmove(L, co, nargs + 1);
  return t;
}

void task_root(state *s, task *t) {
  for (task *each = task_first(s); each != NULL; each = task_next(each))
    task_unflag(each, TASK_ROOT);
  port_unmark(s->port);
  task_flag(t, TASK_ROOT);
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
  op_extra *o = op_extra_get(task_op(t));
  if (o != NULL && o->unwinding_waits) op_unwinding_waits(task_op(t), false);
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
    why = error_make(
        op->kind->facade, code, "%s",
        task_complaint(t) != NULL ? task_complaint(t) : "a task failed");
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
    if (saros_op_cancelled(task_op(t)) && !task_is(t, TASK_SURELY)) {
      /* before its first line */
      task_discard(L, s, t);
      return;
    }
    task_flag(t, TASK_STARTED);
    task_unpark(t);
    saros_op_running(task_op(t));
    nargs = lua_gettop(co) - 1;
  }
  task *outer = s->current;
  port *p = s->port;
  uint8_t mark = p->mark;
  p->mark = task_is(t, TASK_ROOT) ? PORT_MARK_ROOT : PORT_MARK;
  s->current = t;
  task_flag(t, TASK_RUNNING);
  s->depth++;
  status = lua_resume(co, L, nargs, &nres);
  if (status != LUA_OK && status != LUA_YIELD) {
    /* Memory, or the C stack, ran out where nothing could catch it. */
    task_flag(t, TASK_FAILED);
    t->outcome = status == LUA_ERRMEM ? SAROS_E_OUTOFMEMORY : SAROS_E_LUA;
    if (lua_type(co, -1) == LUA_TSTRING)
      task_note_complaint(t, lua_tostring(co, -1));
    task_unpark(t); /* "C stack overflow" comes before it has run */
    lua_resetthread(co);
    lua_settop(co, 0);
  }
  s->depth--;
  if (s->port == p) p->mark = mark; /* it has not forked */
  s->current = outer;
  task_unflag(t, TASK_RUNNING);
  if (status != LUA_YIELD) {
    end(L, s, t);
  } else if (!task_is(t, TASK_PARKED)) {
    lua_pop(co, nres);
    task_poison(co, t);
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
