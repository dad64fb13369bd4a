/*
** A writer as a handle, and the ways to one. The handle is what keeps it
** subscribed: closed or forgotten, no session finds it any more.
*/
#include "lua/writer.h"

#include <string.h>

#include "lua/dispatch.h"
#include "lua/handle.h"
#include "op/fork.h"

static const char metatable_key = 0;

typedef struct writer_box {
  writer *w; /* NULL: born closed, or closed */
  bool lua;
  listening *listens;
} writer_box;


/* ------------------------------------------------------------------
** The way "lua"
** ---------------------------------------------------------------- */

struct writer_link {
  writer *w;
  _Atomic bool froze; /* told so, and nothing after it that lets go */
};

static writer_link *way_connect(writer *w, const char *session, error **e) {
  (void)session;
  writer_link *link = mem_zero(sizeof *link);
  if (link == NULL) {
    *e = error_no_memory();
    return NULL;
  }
  link->w = writer_ref(w);
  return link;
}

static saros_op *way_tell(writer_link *link, const writer_call *call,
                          error **e) {
  if (call->event == EVENT_FREEZE) atomic_store(&link->froze, true);
  if (call->event == EVENT_THAW || call->event == EVENT_ABORT)
    atomic_store(&link->froze, false);
  return event_tell(link->w, call, e);
}

/* A session that goes without having let go: nobody waits for the answer. */
static void abort_by_itself(writer *w) {
  value *details = value_map();
  error *e = NULL;
  if (details != NULL)
    value_put(details, "reason", value_text("the session has ended"));
  writer_call call = {.event = EVENT_ABORT, .details = details};
  saros_op *op = event_tell(w, &call, &e);
  if (op != NULL) saros_op_unref(op);
  error_unref(e);
  value_free(details);
}

static void way_hang_up(writer_link *link) {
  if (link == NULL) return;
  bool ours = link->w->generation == fork_generation;
  if (ours && atomic_exchange(&link->froze, false)) abort_by_itself(link->w);
  writer_unref(link->w);
  mem_free(link);
}

static error *way_alive(writer_link *link) {
  return writer_is_gone(link->w);
}

static void lua_writer_free(lua_writer *lw, bool ours) {
  if (ours) pthread_mutex_destroy(&lw->lock);
  if (lw->port != NULL) port_unref(lw->port);
  value_free(lw->metadata);
  mem_free(lw);
}

static void way_release(writer *w) {
  lua_writer_free(w->self, w->generation == fork_generation);
}

static const writer_way way = {.name = "lua",
                               .connect = way_connect,
                               .tell = way_tell,
                               .hang_up = way_hang_up,
                               .release = way_release,
                               .alive = way_alive};


/* ------------------------------------------------------------------
** The handle
** ---------------------------------------------------------------- */

void writer_push(lua_State *L, const lua_writer *lw) {
  state_push(L, KEEP_WRITERS);
  lua_rawgetp(L, -1, lw);
  lua_remove(L, -2);
}

void writer_anchor(lua_State *L, const lua_writer *lw, bool on) {
  bool is = lua_rawgetp(L, LUA_REGISTRYINDEX, lw) != LUA_TNIL;
  lua_pop(L, 1);
  if (is == on) return;
  if (on)
    writer_push(L, lw);
  else
    lua_pushnil(L);
  lua_rawsetp(L, LUA_REGISTRYINDEX, lw);
}

static writer_box *box_push(lua_State *L) {
  writer_box *box = lua_newuserdatauv(L, sizeof *box, 1);
  memset(box, 0, sizeof *box);
  lua_rawgetp(L, LUA_REGISTRYINDEX, &metatable_key);
  lua_setmetatable(L, -2);
  return box;
}

static writer_box *box_test(lua_State *L, int index) {
  writer_box *box = lua_touserdata(L, index);
  if (box == NULL || !lua_getmetatable(L, index)) return NULL;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &metatable_key);
  bool is = lua_rawequal(L, -1, -2);
  lua_pop(L, 2);
  return is ? box : NULL;
}

static writer_box *box_check(lua_State *L, int index) {
  writer_box *box = box_test(L, index);
  if (box == NULL) luaL_typeerror(L, index, "saros.vss.writer");
  return box;
}

/* Which events must come to the state's thread: those with a handler, and
   those that end what a freeze has begun. */
static unsigned events_of(lua_State *L, int handlers) {
  unsigned bits = 0;
  for (unsigned i = 0; i < EVENTS; i++) {
    const char *name = writer_event_name((writer_event)i);
    lua_pushstring(L, name);
    if (lua_rawget(L, handlers) != LUA_TNIL) {
      if (!lua_isfunction(L, -1) &&
          luaL_getmetafield(L, -1, "__call") == LUA_TNIL)
        luaL_error(L, "vss.writer: option '%s': function expected, got %s",
                   name, luaL_typename(L, -1));
      bits |= 1u << i;
    }
    lua_settop(L, handlers);
  }
  const unsigned lets_go = 1u << EVENT_THAW | 1u << EVENT_ABORT;
  return bits & lets_go ? bits | lets_go : bits;
}

/* vss_writer(metadata, handlers) */
static int new_writer(lua_State *L) {
  state *s = state_here(L);
  luaL_checktype(L, 1, LUA_TTABLE);
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 2);
  unsigned events = events_of(L, 2);
  lua_getfield(L, 1, "id");
  const char *id = luaL_checkstring(L, 3);
  lua_getfield(L, 1, "instance");
  const char *instance = luaL_optstring(L, 4, NULL);
  lua_getfield(L, 1, "name");
  const char *name = luaL_checkstring(L, 5);
  port *p = state_port(L, s);
  writer_box *box = box_push(L);
  lua_pushvalue(L, 2);
  lua_setiuservalue(L, -2, 1);
  value *said = convert_take(L, 1, "vss.writer: option 'metadata'");
  error *e = NULL;
  value *metadata = writer_metadata(said, id, &e);
  value_free(said);
  lua_writer *lw = metadata != NULL ? mem_zero(sizeof *lw) : NULL;
  if (lw != NULL) {
    pthread_mutex_init(&lw->lock, NULL);
    lw->metadata = metadata;
    lw->events = events;
    lw->w = writer_make(&way, id, instance, name, lw, &e);
    if (lw->w == NULL) lua_writer_free(lw, true);
  } else if (e == NULL) {
    e = error_no_memory();
    value_free(metadata);
  }
  if (lw == NULL || e != NULL) {
    failure_push(L, e, 0);
    return lua_error(L);
  }
  box->w = lw->w; /* from here on its finalizer sees to it */
  box->lua = true;
  if (!value_put(metadata, "instance", value_text(lw->w->instance)))
    return luaL_error(L, "not enough memory");
  state_push(L, KEEP_WRITERS);
  lua_pushvalue(L, -2);
  lua_rawsetp(L, -2, lw);
  lua_pop(L, 1);
  lw->port = p;
  atomic_fetch_add(&p->refs, 1);
  lw->s = s;
  lw->next = s->writers;
  lw->link = &s->writers;
  if (lw->next != NULL) lw->next->link = &lw->next;
  s->writers = lw;
  e = writer_subscribe(lw->w);
  if (e == NULL) return 1;
  failure_push(L, e, 0);
  return lua_error(L);
}

/* Not told anything any more. Nothing in here raises or waits. */
static void box_close(writer_box *box) {
  writer *w = box->w;
  if (w == NULL) return;
  box->w = NULL;
  if (box->listens != NULL) listening_stop(box->listens);
  box->listens = NULL;
  if (box->lua)
    writer_close(writer_lua(w));
  else if (w->generation == fork_generation)
    writer_unsubscribe(w);
  writer_unref(w);
}

static int box_gc(lua_State *L) {
  box_close(lua_touserdata(L, 1));
  return 0;
}

/* The n-th task that runs a handler of this writer, but for the one that asks;
   no reference. */
static saros_op *running_handler(state *s, const writer *w, lua_Integer n) {
  for (event *e = s->events; e != NULL; e = e->next) {
    if (e->w != w || e->task == NULL) continue;
    if (s->current != NULL && task_op(s->current) == e->task) continue;
    if (--n == 0) return e->task;
  }
  return NULL;
}

/* close(handle) --> the tasks of its handlers that still run, cancelled (but
   for the one that calls this), whether it held still (then its abort is due,
   which the caller runs), its handlers. */
static int close_writer(lua_State *L) {
  writer_box *box = box_check(L, 1);
  state *s = state_here(L);
  writer *w = box->w;
  lua_settop(L, 1);
  lua_newtable(L);
  if (w == NULL || !box->lua || writer_lua(w)->s == NULL) {
    box_close(box);
    lua_pushboolean(L, 0);
    lua_getiuservalue(L, 1, 1);
    return 3;
  }
  lua_writer *lw = writer_lua(w);
  for (lua_Integer n = 1;; n++) { /* first a handle, then what it is of */
    handle *h = handle_push(L, s, true);
    saros_op *op = running_handler(s, w, n);
    if (op == NULL) break;
    task *t = op_trailing(op);
    state_push(L, KEEP_THREADS);
    lua_rawgeti(L, -1, t->slot);
    lua_setiuservalue(L, -3, 1);
    lua_pop(L, 1);
    h->op = saros_op_ref(op);
    t->handles++;
    lua_rawseti(L, 2, n);
  }
  lua_settop(L, 2);
  lua_pushboolean(L, lw->frozen > 0);
  lw->frozen = 0;
  writer_anchor(L, lw, false);
  saros_op *op;
  for (unsigned n = 1; (op = running_handler(s, w, n)) != NULL; n++)
    task_cancel_op(s, op);
  lua_getiuservalue(L, 1, 1);
  box_close(box);
  return 3;
}

/* is_open(handle) */
static int is_open(lua_State *L) {
  writer_box *box = box_check(L, 1);
  bool open = box->w != NULL && box->w->generation == fork_generation;
  if (open && box->lua) open = writer_lua(box->w)->s != NULL;
  lua_pushboolean(L, open);
  return 1;
}

/* instance(handle) */
static int instance_of(lua_State *L) {
  writer_box *box = box_check(L, 1);
  if (box->w == NULL) return 0;
  lua_pushstring(L, box->w->instance);
  return 1;
}
/* id(handle) */
static int id_of(lua_State *L) {
  writer_box *box = box_check(L, 1);
  if (box->w == NULL) return 0;
  lua_pushstring(L, box->w->id);
  return 1;
}

/* name(handle) */
static int name_of(lua_State *L) {
  writer_box *box = box_check(L, 1);
  if (box->w == NULL || box->w->name == NULL) return 0;
  lua_pushstring(L, box->w->name);
  return 1;
}


/* ------------------------------------------------------------------
** Executables
** ---------------------------------------------------------------- */

/* The strings of the list at `index`, ended by NULL; the stack keeps it. */
static const char *const *strings(lua_State *L, int index) {
  if (lua_isnil(L, index)) return NULL;
  luaL_checktype(L, index, LUA_TTABLE);
  lua_Unsigned n = lua_rawlen(L, index);
  const char **list = lua_newuserdatauv(L, (n + 1) * sizeof *list, 0);
  for (lua_Unsigned i = 0; i < n; i++) {
    if (lua_rawgeti(L, index, (lua_Integer)i + 1) != LUA_TSTRING)
      luaL_error(L, "number %d of a list is no string", (int)i + 1);
    list[i] = lua_tostring(L, -1); /* the list keeps it */
    lua_pop(L, 1);
  }
  list[n] = NULL;
  return list;
}

/* command_writer(id, name, argv, env or nil, cwd or nil, metadata or nil) */
static int new_command(lua_State *L) {
  state *s = state_here(L);
  command_options o = {0};
  lua_settop(L, 6);
  o.id = luaL_checkstring(L, 1);
  o.name = luaL_checkstring(L, 2);
  o.argv = strings(L, 3);
  o.env = strings(L, 4);
  o.cwd = luaL_optstring(L, 5, NULL);
  state_port(L, s);
  writer_box *box = box_push(L);
  value *metadata = NULL;
  if (!lua_isnil(L, 6))
    metadata = convert_take(L, 6, "vss.command_writer: option 'metadata'");
  o.metadata = metadata;
  error *e = NULL;
  box->w = command_writer(&o, &e);
  value_free(metadata);
  if (box->w != NULL) e = writer_subscribe(box->w);
  if (e == NULL) return 1;
  failure_push(L, e, 0);
  return lua_error(L);
}


/* listen(handle, state_dir or nil) --> op: other processes can find it. */
static int listen(lua_State *L) {
  state *s = state_here(L);
  writer_box *box = box_check(L, 1);
  const char *state_dir = luaL_optstring(L, 2, NULL);
  state_port(L, s);
  handle *h = handle_push(L, s, false);
  luaL_argcheck(L, box->w != NULL && box->listens == NULL, 1,
                "an open writer that does not listen yet expected");
  error *e = NULL;
  h->op = listening_start(box->w, state_dir, &box->listens, &e);
  if (h->op != NULL) {
    port_own(s->port, h->op);
    return 1;
  }
  failure_push(L, e, 0);
  return lua_error(L);
}

/* writer_class() --> the metatable, for vss.lua to complete. */
static int class_function(lua_State *L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &metatable_key);
  return 1;
}

void writer_open(lua_State *L) {
  lua_createtable(L, 0, 6);
  lua_pushliteral(L, "saros.vss.writer");
  lua_setfield(L, -2, "__name");
  lua_pushcfunction(L, box_gc);
  lua_setfield(L, -2, "__gc");
  lua_rawsetp(L, LUA_REGISTRYINDEX, &metatable_key);
}

const luaL_Reg writer_functions[] = {{"vss_writer", new_writer},
                                     {"command_writer", new_command},
                                     {"writer_listen", listen},
                                     {"writer_close", close_writer},
                                     {"writer_is_open", is_open},
                                     {"writer_instance", instance_of},
                                     {"writer_id", id_of},
                                     {"writer_name", name_of},
                                     {"writer_class", class_function},
                                     {NULL, NULL}};
