/*
** The dispatcher: from the port to the ready list, from there into
** coroutines; and the blocking waits, which turn it as far as they may.
*/
#include "lua/dispatch.h"

#include <string.h>
#include <time.h>

#include "lua/handle.h"
#include "lua/writer.h"
#include "op/fork.h"

typedef struct blocked {
  watch w;
  port_node node;
  port *port;
} blocked;

void dispatch_collect(state *s) {
  port_taken taken[64];
  size_t count;
  if (!port_signalled(s->port)) return; /* no node, no system call */
  if (s->port->written) port_drain(s->port);
  do {
    count = port_take(s->port, taken, 64);
    for (size_t i = 0; i < count; i++) {
      char *node = (char *)taken[i].node;
      switch (taken[i].type) {
        case NODE_TASK:
        case NODE_TASK_REF:
          task_node_taken(s, (task *)(node - offsetof(task, node)),
                          taken[i].type);
          break;
        case NODE_MOVER: {
          mover *m = (mover *)(node - offsetof(mover, node));
          m->moved = true;
          if (m->waiter != NULL) task_ready(s, m->waiter);
          break;
        }
        case NODE_LOG: s->log_due = true; break;
        case NODE_EVENT: event_node_taken(s, taken[i].node); break;
        default: break; /* NODE_BLOCKED: being awake is all */
      }
    }
  } while (count == 64);
}

void dispatch_leave(state *s) {
  port_taken taken;
  port_shut(s->port);
  while (port_take(s->port, &taken, 1) > 0)
    if (taken.type == NODE_TASK_REF)
      task_node_taken(s, (task *)((char *)taken.node - offsetof(task, node)),
                      taken.type);
}

static task *take_first(state *s) {
  task *t = s->first;
  s->first = t->ready_next;
  if (s->first == NULL) s->last = &s->first;
  task_unflag(t, TASK_READY);
  return t;
}

static void take_out(state *s, task *t) {
  task **at = &s->first;
  while (*at != t) at = &(*at)->ready_next;
  *at = t->ready_next;
  if (*at == NULL) s->last = at;
  task_unflag(t, TASK_READY);
}

void dispatch_run(lua_State *L, state *s, unsigned budget) {
  if (s->log_due) log_box_deliver(L, s);
  if (s->events_due > 0) events_begin(L, s);
  /* When one forks, the rest of the list is the parent's. */
  while (budget-- > 0 && s->first != NULL && s->generation == fork_generation) {
    task *t = take_first(s);
    s->busy++;
    pool_defer(s->first != NULL);
    task_resume(L, s, t);
  }
  pool_flush();
}


/* ------------------------------------------------------------------
** Which wait
** ---------------------------------------------------------------- */

/* On the main thread nothing can ever yield, so that is no sign. What is: a
   C function between here and the bottom (sort, gsub, require, a finalizer)
   that does not expect other Lua to run now. */
static bool main_is_plain(lua_State *L, const state *s) {
  lua_Debug ar;
  for (int level = 1; lua_getstack(L, level, &ar); level++) {
    lua_getinfo(L, "nS", &ar);
    if (ar.namewhat != NULL && ar.name != NULL &&
        ((strcmp(ar.namewhat, "metamethod") == 0 &&
          strcmp(ar.name, "__gc") == 0) ||
         strcmp(ar.namewhat, "hook") == 0))
      return false;
    if (strcmp(ar.what, "C") != 0) continue;
    lua_Debug below;
    if (!lua_getstack(L, level + 1, &below)) return true; /* the host's own */
    lua_getinfo(L, "f", &ar);
    lua_CFunction f = lua_tocfunction(L, -1);
    lua_pop(L, 1);
    if (f != run_function && f != s->harmless[0] && f != s->harmless[1] &&
        f != s->harmless[2] && f != s->harmless[3])
      return false;
  }
  return true;
}

static bool in_finalizer(lua_State *L) {
  lua_Debug ar;
  for (int level = 0; lua_getstack(L, level, &ar); level++) {
    lua_getinfo(L, "n", &ar);
    if (ar.name != NULL && strcmp(ar.namewhat, "metamethod") == 0 &&
        strcmp(ar.name, "__gc") == 0)
      return true;
  }
  return false;
}

/* Also in a sort or a generator of the task; in a finalizer that just happens
   to run now the error would be lost. */
bool dispatch_cancelled(lua_State *L, state *s) {
  task *t = s->current;
  return t != NULL && task_is(t, TASK_CANCEL) && !in_finalizer(L);
}

wait_mode dispatch_mode(lua_State *L, state *s) {
  if (s->current != NULL && s->current->co == L) {
    /* A task that forked goes on in the child, too, but nothing there would
       ever resume it. */
    bool ours = task_op(s->current)->generation == fork_generation;
    return ours && lua_isyieldable(L) ? WAIT_YIELD : WAIT_ONE;
  }
  if (L == s->main)
    return s->depth == 0 && main_is_plain(L, s) ? WAIT_LOOP : WAIT_ONE;
  return s->has_host ? WAIT_HOST : WAIT_ONE;
}


/* ------------------------------------------------------------------
** What an operation needs
** ---------------------------------------------------------------- */

typedef struct need {
  state *s;
  bool ends_at_ready; /* else it goes on behind a ready task */
  task *found;        /* a ready task that would bring it on */
  event *begin;       /* or an event that no task has begun yet */
} need;

#define GATHERS_DEEP 180 /* gathers of gathers; tasks may be in any number */

static bool needs_running(need *n, saros_op *op, unsigned depth);

/* Everything that writers of this state are told on behalf of `op` must end
   before `op` can. */
static bool event_needs_running(need *n, saros_op *op, unsigned depth) {
  for (event *e = n->s->events; e != NULL; e = e->next) {
    if (e->of != op) continue;
    if (e->task != NULL) {
      if (needs_running(n, e->task, depth + 1)) return true;
    } else if (n->ends_at_ready && event_waits(e)) {
      n->begin = e;
    }
    if (n->found != NULL || n->begin != NULL) return false;
  }
  return false;
}

/* Whether it cannot end because it needs a task that is on the stack of
   resumes: that one waits for it, itself or through others. */
static bool needs_running(need *n, saros_op *op, unsigned depth) {
  saros_op *at = op;
  task *t;
  bool cycle = false;
  /* From task to task in a loop, because such a chain may be long. */
  while ((t = task_of(n->s, at)) != NULL) {
    if (t->mark == n->s->mark) { /* seen, or still being looked at */
      cycle = !task_is(t, TASK_NO_CYCLE);
      break;
    }
    t->mark = n->s->mark;
    task_unflag(t, TASK_NO_CYCLE);
    if (task_is(t, TASK_RUNNING)) {
      cycle = true;
      break;
    }
    if (task_is(t, TASK_READY)) {
      if (n->ends_at_ready) n->found = t;
      break;
    }
    if (task_waits_for(t) == NULL) break;
    at = task_waits_for(t);
  }
  if (t == NULL && op_is_gather(at) && depth < GATHERS_DEEP) {
    bool all = gather_needs_all(at);
    bool each = true, some = false;
    saros_op *m;
    for (size_t i = 0; (m = gather_member(at, i)) != NULL; i++) {
      bool does = !op_is_over(m) && needs_running(n, m, depth + 1);
      if (n->found != NULL || n->begin != NULL) return false;
      each = each && does;
      some = some || does;
    }
    cycle = all ? some : each && some;
  } else if (t == NULL && n->s->events != NULL && depth < GATHERS_DEEP) {
    cycle = event_needs_running(n, at, depth);
  }
  /* A task that another branch comes upon again gives the same answer. */
  for (saros_op *o = op; !cycle && (t = task_of(n->s, o)) != NULL;) {
    if (task_is(t, TASK_NO_CYCLE)) break;
    task_flag(t, TASK_NO_CYCLE);
    if (task_waits_for(t) == NULL) break;
    o = task_waits_for(t);
  }
  return cycle;
}

/* A ready task that the goal needs, or an event to begin, or neither. */
static need look(state *s, const goal *g, bool *cycle) {
  need n = {.s = s, .ends_at_ready = true};
  s->mark++;
  if (g->op != NULL) *cycle = needs_running(&n, g->op, 0);
  if (g->group != NULL)
    for (task *t = task_first(s); t != NULL; t = task_next(t)) {
      if (n.found != NULL || n.begin != NULL) break;
      if (*task_group(t) == g->group && needs_running(&n, task_op(t), 0))
        *cycle = true;
    }
  if (n.found != NULL || n.begin != NULL) *cycle = false;
  return n;
}

event *dispatch_stalled(state *s, saros_op *op) {
  task *t;
  if (s->port == NULL || s->generation != fork_generation || s->depth > 0)
    return NULL;
  dispatch_collect(s);
  while ((t = task_of(s, op)) != NULL && task_waits_for(t) != NULL)
    op = task_waits_for(t);
  event *e = s->events;
  while (e != NULL && (e->of != op || (e->task == NULL && !event_waits(e))))
    e = e->next;
  return e;
}

bool dispatch_cycle(state *s, saros_op *op) {
  if (!op_is_task(op) && !op_is_gather(op) && s->events == NULL) return false;
  need n = {.s = s};
  s->mark++;
  return needs_running(&n, op, 0);
}


/* ------------------------------------------------------------------
** Blocking
** ---------------------------------------------------------------- */

static port *blocked_fire(watch *w) {
  blocked *b = (blocked *)w;
  return port_push(b->port, &b->node, NODE_BLOCKED, NULL);
}

static const watch_way blocked_way = {.fire = blocked_fire};

/* Lets a pending hook (Ctrl-C of lua.c is one) run; it may raise. */
static int let_hooks_run(lua_State *L) {
  if (lua_gethookmask(L) == 0) return LUA_OK;
  state_push(L, KEEP_NOTHING);
  return lua_pcall(L, 0, 0, 0);
}

/* A signal arrived. On the main thread its hook may raise here. A task has no
   part in the main thread's hook: if that is new, the wait is over for the
   task too, and the main thread raises when it is its turn. */
static int interrupted(lua_State *L, state *s, lua_Hook before) {
  if (L == s->main) return let_hooks_run(L);
  lua_Hook now = lua_gethook(s->main);
  if (now == NULL) return LUA_OK;
  /* One that was there before is a debugger's; but the signal may have come
     just before this wait. A hook for everything is how lua.c takes Ctrl-C. */
  const int all = LUA_MASKCALL | LUA_MASKRET | LUA_MASKCOUNT;
  bool at_once =
      (lua_gethookmask(s->main) & all) == all && lua_gethookcount(s->main) == 1;
  if (now == before && !at_once) return LUA_OK;
  lua_pushliteral(L, "interrupted!");
  return LUA_ERRRUN;
}

/* Where completions come thick and fast the next one is here sooner than a
   sleep would take. */
static bool look_out(port *p) {
  for (int i = 0; i < 64; i++) {
    if (port_signalled(p)) return true;
    pool_relax();
  }
  return false;
}

/* One turn without sleeping: true when something ran. */
static bool turn(lua_State *L, state *s, goal *g, wait_mode mode, bool *cycle) {
  if (mode == WAIT_LOOP) {
    if (s->first == NULL && !s->log_due && s->events_due == 0) return false;
    dispatch_run(L, s, s->budget);
    return true;
  }
  need n = look(s, g, cycle);
  if (n.begin != NULL) {
    event_begin(L, s, n.begin);
    return true;
  }
  if (n.found == NULL) return false;
  take_out(s, n.found);
  task_resume(L, s, n.found);
  return true;
}

static int64_t rest_of(uint64_t until) {
  if (until == UINT64_MAX) return -1;
  uint64_t now = engine_clock();
  return now < until ? (int64_t)(until - now) : 0;
}

bool dispatch_advance(lua_State *L, state *s, saros_op *op) {
  goal g = {.op = op};
  bool cycle = false;
  dispatch_collect(s);
  return turn(L, s, &g, WAIT_ONE, &cycle);
}

/* The port to wait at. While this one waited, a task may have forked or a hook
   may have shut saros down: then it is another one. */
static port *blocked_port(lua_State *L, state *s, blocked *b, saros_op *op) {
  if (b->port != NULL && b->port == s->port && s->generation == fork_generation)
    return b->port;
  if (b->port != NULL) {
    watch_remove(&b->w);
    port_remove(b->port, &b->node);
    port_unref(b->port);
    b->port = NULL;
  }
  b->port = state_port(L, s);
  atomic_fetch_add(&b->port->refs, 1);
  if (op != NULL) watch_add(&b->w, op);
  port_awake(b->port);
  return b->port;
}

block_end dispatch_block(lua_State *L, state *s, goal *g, double seconds,
                         wait_mode mode) {
  blocked b = {.w.way = &blocked_way};
  uint64_t until = UINT64_MAX;
  block_end r = BLOCK_REACHED;
  int failed = LUA_OK;
  lua_Hook hook = lua_gethook(s->main);
  luaL_checkstack(L, 8, "waiting");
  if (seconds >= 0)
    until = engine_clock() + (uint64_t)((seconds < 9e9 ? seconds : 9e9) * 1e9);
  port *p = blocked_port(L, s, &b, g->op);
  task *waiter = s->current; /* it is on the stack of resumes: for cycles */
  saros_op *outer = waiter != NULL ? waiter->w.op : NULL;
  if (waiter != NULL) waiter->w.op = g->op != NULL ? saros_op_ref(g->op) : NULL;
  while (!g->reached(g)) {
    bool cycle = false;
    p = blocked_port(L, s, &b, g->op);
    dispatch_collect(s);
    if (g->reached(g)) break;
    if (dispatch_cancelled(L, s)) {
      r = BLOCK_CANCELLED;
      break;
    }
    if (turn(L, s, g, mode, &cycle)) {
      if (mode == WAIT_LOOP && (failed = let_hooks_run(L)) != LUA_OK) break;
      continue;
    }
    if (cycle) {
      r = BLOCK_CYCLE;
      break;
    }
    int64_t rest = rest_of(until);
    if (rest == 0) {
      r = BLOCK_TIME;
      break;
    }
    if (s->busy > 1 && look_out(p)) continue;
    s->busy = 0;
    /* A signal that came since the last look would not end the sleep. */
    if ((failed = interrupted(L, s, hook)) != LUA_OK) break;
    if (port_doze(p)) {
      port_awake(p);
      continue;
    }
    int polled = port_poll(p, rest);
    port_awake(p);
    if (polled > 0) port_drain(p);
    if (polled < 0 && (failed = interrupted(L, s, hook)) != LUA_OK) break;
  }
  watch_remove(&b.w);
  port_remove(p, &b.node);
  if (waiter != NULL) {
    if (g->op != NULL) saros_op_unref(g->op);
    waiter->w.op = outer;
  }
  /* What is left for later: hosts look at the descriptor. */
  if (s->depth == 0 && p == s->port && s->generation == fork_generation &&
      (port_doze(p) || s->first != NULL || s->events_due > 0))
    port_poke(p);
  port_unref(p);
  return failed != LUA_OK ? BLOCK_RAISED : r;
}

/* Waits until something is ready; what let_hooks_run says. */
static int await_ready(lua_State *L, state *s, double max_seconds) {
  uint64_t until = UINT64_MAX;
  if (max_seconds > 0)
    until = engine_clock() +
            (uint64_t)((max_seconds < 9e9 ? max_seconds : 9e9) * 1e9);
  while (s->first == NULL && !s->log_due && s->events_due == 0 &&
         (max_seconds > 0 || s->task_count > s->background)) {
    int64_t rest = rest_of(until);
    if (rest == 0) break;
    int r = let_hooks_run(L); /* of a signal that came just now */
    if (r == LUA_OK && !port_doze(s->port)) {
      int polled = port_poll(s->port, rest);
      if (polled > 0) port_drain(s->port);
      if (polled < 0) r = let_hooks_run(L);
    }
    if (r != LUA_OK) return r;
    port_awake(s->port);
    dispatch_collect(s);
  }
  return LUA_OK;
}

int dispatch_step(lua_State *L, state *s, double max_seconds) {
  port *p = state_port(L, s);
  port_drain(p); /* a host's loop has seen it readable */
  if (max_seconds == 0 && s->first == NULL && !port_signalled(p) &&
      !s->log_due && s->events_due == 0)
    return 0;
  port_awake(p);
  dispatch_collect(s);
  if (s->first == NULL && s->events_due == 0 && max_seconds != 0 &&
      await_ready(L, s, max_seconds) != LUA_OK) {
    port_doze(p);
    lua_error(L);
  }
  dispatch_run(L, s, s->budget);
  if (s->port != p || s->generation != fork_generation)
    p = state_port(L, s); /* a task has forked, and this is the child */
  bool more = port_doze(p) || s->first != NULL;
  if (more) port_poke(p);
  return more;
}
