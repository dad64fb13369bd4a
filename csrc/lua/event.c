/*
** What a Lua writer is told, from the session's telling to the handler's
** answer. An event is an operation; its handler is a task, so it may wait.
** The event is over when that task is.
*/
#include <string.h>

#include "lua/dispatch.h"
#include "lua/handle.h"
#include "lua/writer.h"
#include "op/fork.h"

static const char *name_of(const writer *w) {
  return w->name != NULL ? w->name : w->id;
}

static error *closed_error(const writer *w) {
  return vss_error(SAROS_E_CLOSED,
                   "writer '%s' was closed, or its Lua state was, before it "
                   "could answer",
                   name_of(w));
}


/* ------------------------------------------------------------------
** On any thread
** ---------------------------------------------------------------- */

/* Puts it into the port of its state, with a reference. */
static port *push(event *e) {
  bool queued;
  saros_op_ref(event_op(e));
  port *p = port_push(e->port, &e->node, NODE_EVENT, &queued);
  if (!queued) saros_op_unref(event_op(e));
  return p;
}

/* Nobody needs to begin what has not begun; else the handler hears of it. */
static void cancel(saros_op *op, void *self) {
  event *e = self;
  int waiting = EVENT_WAITING;
  if (atomic_compare_exchange_strong(&e->stage, &waiting, EVENT_DEAD)) {
    if (port_remove(e->port, &e->node)) saros_op_unref(op);
    op_finish_error(op, SAROS_E_CANCELLED, NULL);
    return;
  }
  port *p = push(e);
  if (p != NULL) port_wake(p);
}

static void release(void *self) {
  event *e = self;
  if (e->port != NULL) port_unref(e->port);
  if (e->of != NULL) saros_op_unref(e->of);
  if (e->task != NULL) saros_op_unref(e->task);
  error_unref(e->why);
  value_free(e->output);
  value_free(e->details);
  writer_unref(e->w);
}

static const saros_kind kind = {.size = sizeof(saros_kind),
                                .name = "vss.writer_event",
                                .facade = SAROS_FACADE_VSS,
                                .flags = SAROS_CANCELLABLE,
                                .cancel = cancel,
                                .release = release};

/* Consent without asking Lua. */
static void answer_at_once(saros_op *op, const lua_writer *lw) {
  event *e = op_trailing(op);
  if (e->what == EVENT_IDENTIFY) {
    value *output = value_copy(lw->metadata);
    if (output == NULL) {
      op_finish_error(op, SAROS_E_OUTOFMEMORY, error_no_memory());
      return;
    }
    op_set_output(op, output);
  }
  op_finish_error(op, SAROS_S_OK, NULL);
}

/* Queues it for its state. False when that is closed. */
static bool deliver(event *e, lua_writer *lw, bool to_lua) {
  port *wake = NULL;
  pthread_mutex_lock(&lw->lock);
  bool open = lw->port != NULL;
  if (open && to_lua) {
    e->port = lw->port;
    atomic_fetch_add(&e->port->refs, 1);
    wake = push(e);
  }
  pthread_mutex_unlock(&lw->lock);
  if (wake != NULL) port_wake(wake);
  return open;
}

saros_op *event_tell(writer *w, const writer_call *call, error **e) {
  lua_writer *lw = writer_lua(w);
  uint32_t why = SAROS_E_FORKED;
  bool to_lua = (lw->events & (1u << call->event)) != 0;
  saros_op *op = NULL;
  if (w->generation == fork_generation)
    op = op_create(&kind, NULL, sizeof(event), NULL, &why);
  if (op != NULL) {
    event *ev = op_trailing(op);
    ev->w = writer_ref(w);
    ev->what = call->event;
    ev->deadline = call->deadline;
    ev->of = call->of != NULL ? saros_op_ref(call->of) : NULL;
    ev->details =
        call->details != NULL ? value_copy(call->details) : value_map();
    why =
        ev->details != NULL ? op_begin(op, SAROS_RUNNING) : SAROS_E_OUTOFMEMORY;
    if (why != 0) saros_op_unref(op);
  }
  if (op == NULL || why != 0) {
    *e = vss_error(why, "writer '%s' could not be told %s", name_of(w),
                   writer_event_name(call->event));
    return NULL;
  }
  bool open = deliver(op_trailing(op), lw, to_lua);
  /* A closed one holds nothing any more: its closing has seen to that. */
  bool good = open || call->event == EVENT_ABORT ||
              call->event == EVENT_BACKUP_SHUTDOWN;
  if (!good)
    op_finish_error(op, SAROS_E_CLOSED, closed_error(w));
  else if (!open || !to_lua)
    answer_at_once(op, lw);
  return op;
}


/* ------------------------------------------------------------------
** On the state's thread: the list
** ---------------------------------------------------------------- */

static void link_in(state *s, event *e) {
  e->s = s;
  e->next = NULL;
  e->link = s->events_last;
  *s->events_last = e;
  s->events_last = &e->next;
}

static void link_out(event *e) {
  state *s = e->s;
  *e->link = e->next;
  if (e->next != NULL)
    e->next->link = e->link;
  else
    s->events_last = e->link;
  e->s = NULL;
}

/* The list lets go of it: the last thing done with it here. */
static void let_go(event *e) {
  if (e->of != NULL) saros_op_unref(e->of);
  if (e->task != NULL) saros_op_unref(e->task);
  e->of = e->task = NULL;
  link_out(e);
  if (port_remove(e->port, &e->node)) /* a cancel that came too late */
    saros_op_unref(event_op(e));
  saros_op_unref(event_op(e));
}

static void finish(event *e, uint32_t code, error *why) {
  op_finish_error(event_op(e), code, why);
  let_go(e);
}

void event_node_taken(state *s, port_node *node) {
  event *e = (event *)((char *)node - offsetof(event, node));
  if (e->s == NULL && event_waits(e)) { /* the node's reference is the list's */
    link_in(s, e);
    s->events_due++;
    return;
  }
  if (e->task != NULL && saros_op_cancelled(event_op(e)))
    task_cancel_op(s, e->task);
  saros_op_unref(event_op(e));
}


/* ------------------------------------------------------------------
** The answer
** ---------------------------------------------------------------- */

/* What the writer says of itself, with what the handler adds. */
static void identified(lua_State *L, event *e, int index) {
  value *more = convert_take(L, index, "what identify returned");
  value *said = value_copy(writer_lua(e->w)->metadata);
  bool good = said != NULL;
  if (more->type != VALUE_MAP && more->count > 0) {
    value_free(more);
    value_free(said);
    luaL_error(L, "identify returned a list; a table with names is expected");
  }
  for (uint32_t i = 0; good && more->type == VALUE_MAP && i < more->count;
       i++) {
    value_field *f = &more->as.fields[i];
    good = value_put_bytes(said, f->name, f->size, value_copy(f->item));
  }
  value_free(more);
  if (!good) {
    value_free(said);
    luaL_error(L, "not enough memory");
  }
  e->output = said;
  e->answered = true;
}

/* Stack: the event, the handle, what the handler returned or raised. */
static int heard(lua_State *L, int status, lua_KContext context) {
  event *e = (event *)context;
  int count = lua_gettop(L) - 2;
  luaL_checkstack(L, 2, "results");
  lua_settop(L, count < 2 ? 4 : count + 2);
  bool failed = status != LUA_OK && status != LUA_YIELD;
  bool refused = (lua_isnil(L, 3) && !lua_isnil(L, 4)) ||
                 (lua_isboolean(L, 3) && !lua_toboolean(L, 3));
  if (failed || refused || failure_is(L, 3)) {
    event_veto(L, e, !refused || lua_isnil(L, 4) ? 3 : 4);
  } else if (e->what == EVENT_IDENTIFY && lua_istable(L, 3)) {
    identified(L, e, 3);
  } else if (lua_istable(L, 3)) {
    e->output = convert_take(L, 3, "what the handler returned");
    e->answered = true;
  } else if (e->what == EVENT_IDENTIFY && lua_toboolean(L, 3) &&
             !lua_isboolean(L, 3)) {
    return luaL_error(L, "identify returned a %s; a table is expected",
                      luaL_typename(L, 3));
  } else {
    if (e->what == EVENT_IDENTIFY) {
      e->output = value_copy(writer_lua(e->w)->metadata);
      if (e->output == NULL) return luaL_error(L, "not enough memory");
    }
    e->answered = true;
  }
  return 0;
}

/* The function of the task: the event, the handle, the handler, its table. */
static int run_handler(lua_State *L) {
  event *e = lua_touserdata(L, 1);
  int status = lua_pcallk(L, 1, LUA_MULTRET, 0, (lua_KContext)e, heard);
  return heard(L, status, (lua_KContext)e);
}

/* The task has ended, in whatever way. */
static void task_over(watch *w) {
  event *e = (event *)((char *)w - offsetof(event, over));
  error *why = e->why;
  uint32_t code = e->code;
  e->why = NULL;
  if (e->answered) {
    if (e->output != NULL) op_set_output(event_op(e), e->output);
    e->output = NULL;
  } else if (saros_op_state(e->task) == SAROS_FAILED) {
    error *cause = op_error(e->task);
    code = VSS_E_WRITERERROR_NONRETRYABLE;
    why = vss_error(code, "%s", cause != NULL ? cause->message : "no memory");
    error_unref(cause);
  } else { /* it was thrown away by the closing of its state */
    code = SAROS_E_CLOSED;
    why = closed_error(e->w);
  }
  finish(e, code, why);
}


/* ------------------------------------------------------------------
** The beginning
** ---------------------------------------------------------------- */

/* Pushes the handler of the table at the top, or nil. What has only a thaw is
   thawed by an abort, too. */
static void push_handler(lua_State *L, writer_event what) {
  lua_pushstring(L, writer_event_name(what));
  if (lua_rawget(L, -2) == LUA_TNIL && what == EVENT_ABORT) {
    lua_pop(L, 1);
    lua_pushstring(L, writer_event_name(EVENT_THAW));
    lua_rawget(L, -2);
  }
}

static void push_details(lua_State *L, const event *e) {
  uint64_t now = engine_clock();
  double left = e->deadline > now ? (double)(e->deadline - now) / 1e9 : 0;
  convert_push(L, e->details);
  lua_pushstring(L, writer_event_name(e->what));
  lua_setfield(L, -2, "event");
  if (e->deadline == 0) return;
  lua_pushnumber(L, left);
  lua_setfield(L, -2, "deadline");
}

static const watch_way task_way = {.after = task_over};

/* The event; true when it needs no task or has one. */
static int begin(lua_State *L) {
  event *e = lua_touserdata(L, 1);
  lua_writer *lw = writer_lua(e->w);
  state *s = e->s;
  writer_push(L, lw);
  if (lw->s != s || lua_isnil(L, 2)) return 0; /* closed */
  lua_getiuservalue(L, 2, 1);
  push_handler(L, e->what); /* 3: the table, 4: the handler */
  lua_pushcfunction(L, run_handler);
  lua_pushvalue(L, 1);
  lua_pushvalue(L, 2);
  lua_pushvalue(L, 4);
  push_details(L, e);
  if (e->what == EVENT_FREEZE) writer_anchor(L, lw, true);
  task *t = lua_isnil(L, 4) ? NULL : task_push(L, s, 4, NULL);
  /* From here on nothing raises. */
  if (e->what == EVENT_FREEZE) lw->frozen++;
  if ((e->what == EVENT_THAW || e->what == EVENT_ABORT) && lw->frozen > 0)
    lw->frozen--;
  if (lw->frozen == 0) writer_anchor(L, lw, false);
  if (t == NULL) {
    e->answered = true; /* only its count was wanted */
  } else {
    e->task = saros_op_ref(task_op(t));
    e->over.way = &task_way;
    watch_add(&e->over, e->task);
    task_ready(s, t);
  }
  lua_pushboolean(L, 1);
  return 1;
}

static error *begin_error(lua_State *L, const event *e, int r) {
  if (r == LUA_OK) return closed_error(e->w);
  const char *why = lua_type(L, -1) == LUA_TSTRING ? lua_tostring(L, -1)
                                                   : "no task could be made";
  return vss_error(VSS_E_WRITERERROR_OUTOFRESOURCES,
                   "the handler of writer '%s' could not be started: %s",
                   name_of(e->w), why);
}

void event_begin(lua_State *L, state *s, event *e) {
  int waiting = EVENT_WAITING;
  bool room = lua_checkstack(L, 8);
  s->events_due--;
  if (!atomic_compare_exchange_strong(&e->stage, &waiting, EVENT_BEGUN)) {
    let_go(e); /* cancelled, and over */
    return;
  }
  task *outer = s->current; /* a handler is nobody's child */
  s->current = NULL;
  int r = LUA_ERRMEM;
  if (room) {
    lua_pushcfunction(L, begin);
    lua_pushlightuserdata(L, e);
    r = lua_pcall(L, 1, 1, 0);
  }
  s->current = outer;
  bool begun = r == LUA_OK && lua_toboolean(L, -1);
  if (!room)
    finish(e, SAROS_E_OUTOFMEMORY, error_no_memory());
  else if (!begun) {
    error *why = begin_error(L, e, r);
    finish(e, why->code, why);
  } else if (e->task == NULL) {
    finish(e, SAROS_S_OK, NULL);
  } else if (saros_op_cancelled(event_op(e))) { /* just now */
    task_cancel_op(s, e->task);
  }
  if (room) lua_pop(L, 1);
}

/* Nobody has begun it; it may be cancelled already, and only lie there. */
static bool is_due(const event *e) {
  return atomic_load(&e->stage) != EVENT_BEGUN;
}

void events_begin(lua_State *L, state *s) {
  /* From the start each time: whatever Lua collects meanwhile may take others
     off the list. */
  while (s->events_due > 0 && s->generation == fork_generation) {
    event *e = s->events;
    while (e != NULL && !is_due(e)) e = e->next;
    if (e == NULL) return;
    event_begin(L, s, e);
  }
}

void event_describe(const event *e, buffer *b) {
  buffer_format(b,
                "waits for writer '%s' of this process (%s); nobody turns "
                "its loop",
                name_of(e->w), writer_event_name(e->what));
}


/* ------------------------------------------------------------------
** Closing
** ---------------------------------------------------------------- */

/* Those that no task has begun yet. */
static void drop_waiting(state *s, const lua_writer *lw) {
  event *next;
  for (event *e = s->events; e != NULL; e = next) {
    int waiting = EVENT_WAITING;
    next = e->next;
    if (!is_due(e) || writer_lua(e->w) != lw) continue;
    s->events_due--;
    if (atomic_compare_exchange_strong(&e->stage, &waiting, EVENT_BEGUN))
      finish(e, SAROS_E_CLOSED, closed_error(e->w));
    else
      let_go(e);
  }
}

void writer_close(lua_writer *lw) {
  state *s = lw->s;
  if (s == NULL) return;
  *lw->link = lw->next;
  if (lw->next != NULL) lw->next->link = lw->link;
  lw->s = NULL;
  if (lw->w->generation != fork_generation) return; /* the parent's */
  pthread_mutex_lock(&lw->lock);
  port *p = lw->port;
  lw->port = NULL;
  pthread_mutex_unlock(&lw->lock);
  if (p != NULL) port_unref(p);
  writer_unsubscribe(lw->w);
  /* Nothing new can come; what is in the port already: */
  dispatch_collect(s);
  drop_waiting(s, lw);
}

void writers_close_all(state *s) {
  while (s->writers != NULL) writer_close(s->writers);
}

void writers_forget(state *s) {
  while (s->writers != NULL) {
    lua_writer *lw = s->writers;
    s->writers = lw->next;
    lw->s = NULL; /* its lock and its port are the parent's */
  }
  while (s->events != NULL) {
    event *e = s->events;
    bool runs = e->task != NULL && op_is_task(e->task) &&
                (((task *)op_trailing(e->task))->flags & TASK_RUNNING) != 0;
    if (runs) e->over.link = NULL; /* the one that forked goes on here */
    let_go(e);
  }
  s->events_due = 0;
}
