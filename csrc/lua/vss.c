/*
** The session as userdata. Its methods are the core's table (session.h): one
** answers at once, or is begun and waited for inside, or is an operation for
** the script. What a script calls, with its arguments by position, is made of
** `session_call` in saros/vss/session.lua.
*/
#include <string.h>

#include "lua/dispatch.h"
#include "lua/handle.h"
#include "lua/writer.h"
#include "op/fork.h"
#include "vss/real_paths.h"
#include "vss/reap.h"
#include "vss/session.h"
#include "vss/still.h"

static const char metatable_key = 0;

typedef struct session_box {
  session *s; /* NULL: born closed, or let go */
  uint16_t generation;
  bool closing;
  struct session_box *next, **link; /* of the state's; link NULL: of none */
} session_box;

static session_box *box_check(lua_State *L) {
  session_box *box = lua_touserdata(L, 1);
  if (box != NULL && lua_getmetatable(L, 1)) {
    lua_rawgetp(L, LUA_REGISTRYINDEX, &metatable_key);
    bool is = lua_rawequal(L, -1, -2);
    lua_pop(L, 2);
    if (is) return box;
  }
  luaL_typeerror(L, 1, "saros.vss.session");
  return NULL;
}

static int raise(lua_State *L, error *e) {
  failure_push(L, e != NULL ? e : error_no_memory(), 0);
  return lua_error(L);
}

static session *session_of(lua_State *L, const session_box *box) {
  if (box->s == NULL)
    raise(L, vss_error(VSS_E_BAD_STATE, "the session was closed"));
  if (box->generation != fork_generation)
    raise(L, vss_error(SAROS_E_FORKED,
                       "this session was opened before a fork, by the parent: "
                       "open one in this process"));
  return box->s;
}

/* vss_session(options) */
static int new_session(lua_State *L) {
  state *st = state_here(L);
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  state_port(L, st);
  session_box *box = lua_newuserdatauv(L, sizeof *box, 0);
  memset(box, 0, sizeof *box);
  box->generation = fork_generation;
  lua_rawgetp(L, LUA_REGISTRYINDEX, &metatable_key);
  lua_setmetatable(L, -2);
  value *options = convert_take(L, 1, "vss.components: options");
  error *e = NULL;
  box->s = session_open(options, &e);
  value_free(options);
  if (box->s == NULL) return raise(L, e);
  box->next = st->sessions;
  if (box->next != NULL) box->next->link = &box->next;
  box->link = &st->sessions;
  st->sessions = box;
  return 1;
}

static void forget_box(session_box *box) {
  if (box->link == NULL) return;
  *box->link = box->next;
  if (box->next != NULL) box->next->link = box->link;
  box->link = NULL;
}

static int call_now(lua_State *L, session *s, const char *name, value *args) {
  value *result = NULL;
  error *e = session_now(s, name, args, &result);
  value_free(args);
  if (e != NULL) {
    value_free(result);
    return raise(L, e);
  }
  if (result == NULL) return 0;
  convert_push_and_free(L, result);
  return 1;
}

/* session_call(session, name, args) --> the result, or the operation. */
static int call_function(lua_State *L) {
  session_box *box = box_check(L);
  state *st = state_here(L);
  const char *name = luaL_checkstring(L, 2);
  luaL_checktype(L, 3, LUA_TTABLE);
  lua_settop(L, 3);
  session *s = session_of(L, box);
  method_how how = session_method(name);
  if (how == METHOD_NONE)
    return luaL_error(L, "a session has no method '%s'", name);
  state_port(L, st);
  handle *h = how == METHOD_NOW ? NULL : handle_push(L, st, false);
  value *args = convert_take(L, 3, name);
  if (h == NULL) return call_now(L, s, name, args);
  error *e = NULL;
  h->op = session_begin(s, name, args, &e);
  value_free(args);
  if (h->op == NULL) return raise(L, e);
  port_own(st->port, h->op);
  if (how == METHOD_ASYNC) return 1;
  lua_replace(L, 1);
  return wait_and_raise(L);
}

/* session_close(session) --> op, or nothing when there is nothing to close. */
static int close_function(lua_State *L) {
  session_box *box = box_check(L);
  state *st = state_here(L);
  if (box->s == NULL || box->generation != fork_generation) return 0;
  state_port(L, st);
  handle *h = handle_push(L, st, false);
  error *e = NULL;
  h->op = session_close(box->s, &e);
  if (h->op == NULL) return raise(L, e);
  box->closing = true;
  port_own(st->port, h->op);
  return 1;
}

/* Nobody waits; but the closing of the state gives it a moment. */
static int box_gc(lua_State *L) {
  session_box *box = lua_touserdata(L, 1);
  state *st = state_here(L);
  session *s = box->s;
  box->s = NULL;
  forget_box(box);
  if (s == NULL) return 0;
  bool ours = box->generation == fork_generation;
  if (ours && st->port != NULL && st->generation == fork_generation) {
    error *e = NULL;
    saros_op *op = session_close(s, &e);
    if (op != NULL) {
      port_own(st->port, op);
      saros_op_unref(op);
    }
    error_unref(e);
  }
  session_drop(s);
  return 0;
}

/* It was begun, and nothing of it runs any more. */
static bool is_closed(const session_box *box) {
  error *e = NULL;
  saros_op *op = box->closing ? session_close(box->s, &e) : NULL;
  bool is = op != NULL && op_is_over(op);
  if (op != NULL) saros_op_unref(op);
  error_unref(e);
  return is;
}

/* Its closing, begun when it was not; NULL: there is none. */
static saros_op *closing_of(state *st, session_box *box) {
  error *e = NULL;
  if (box->s == NULL || box->generation != fork_generation) return NULL;
  saros_op *op = session_close(box->s, &e);
  error_unref(e);
  if (op == NULL) return NULL;
  if (!box->closing) port_own(st->port, op);
  box->closing = true;
  return op;
}

static bool closing_is_over(goal *g) {
  return op_is_over(g->op);
}

/* Any of them may be garbage meanwhile: each time it begins at the first. */
static saros_op *next_closing(state *st) {
  for (session_box *box = st->sessions; box != NULL; box = box->next) {
    saros_op *op = closing_of(st, box);
    if (op != NULL && !op_is_over(op)) return op;
    if (op != NULL) saros_op_unref(op);
  }
  return NULL;
}

block_end sessions_close_all(lua_State *L, state *s, double seconds) {
  uint64_t until =
      engine_clock() + (uint64_t)((seconds < 9e9 ? seconds : 9e9) * 1e9);
  block_end r = BLOCK_REACHED;
  saros_op *op;
  for (session_box *box = s->sessions; box != NULL; box = box->next)
    if ((op = closing_of(s, box)) != NULL) saros_op_unref(op);
  while (r == BLOCK_REACHED && (op = next_closing(s)) != NULL) {
    goal g = {.reached = closing_is_over, .op = op};
    uint64_t now = engine_clock();
    double rest = now < until ? (double)(until - now) / 1e9 : 0;
    r = dispatch_block(L, s, &g, rest, WAIT_LOOP);
    saros_op_unref(op);
  }
  return r;
}

/* session_state(session) --> "open", "closing", "closed" or "forked" */
static int state_function(lua_State *L) {
  const session_box *box = box_check(L);
  lua_pushstring(L, box->s == NULL                       ? "closed"
                    : box->generation != fork_generation ? "forked"
                    : is_closed(box)                     ? "closed"
                    : box->closing                       ? "closing"
                                                         : "open");
  return 1;
}

/* session_methods() --> { name, … }: the core's own list. */
static int methods_function(lua_State *L) {
  const char *name;
  lua_newtable(L);
  for (size_t n = 0; (name = session_method_name(n)) != NULL; n++) {
    lua_pushstring(L, name);
    lua_rawseti(L, -2, (lua_Integer)n + 1);
  }
  return 1;
}

/* session_class() --> the metatable, for saros.vss.session to complete. */
static int class_function(lua_State *L) {
  lua_rawgetp(L, LUA_REGISTRYINDEX, &metatable_key);
  return 1;
}

/* vss_reap(state_dir or nil) --> op */
static int reap_function(lua_State *L) {
  state *st = state_here(L);
  const char *state_dir = luaL_optstring(L, 1, NULL);
  state_port(L, st);
  handle *h = handle_push(L, st, false);
  error *e = NULL;
  h->op = reap_start(state_dir, &e);
  if (h->op == NULL) return raise(L, e);
  port_own(st->port, h->op);
  return 1;
}

/* real_paths(list) --> op, whose result is where each of them leads */
static int real_paths_function(lua_State *L) {
  state *st = state_here(L);
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  state_port(L, st);
  handle *h = handle_push(L, st, false);
  error *e = NULL;
  h->op = real_paths_start(convert_take(L, 1, "real_paths"), &e);
  if (h->op == NULL) return raise(L, e);
  port_own(st->port, h->op);
  return 1;
}

/* still(options) --> op: the processes are stopped when it succeeds */
static int still_function(lua_State *L) {
  state *st = state_here(L);
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  state_port(L, st);
  handle *h = handle_push(L, st, false);
  value *options = convert_take(L, 1, "still");
  error *e = NULL;
  h->op = still_begin(options, &e);
  value_free(options);
  if (h->op == NULL) return raise(L, e);
  port_own(st->port, h->op);
  return 1;
}

/* still_release(op of still) --> op: they go on */
static int still_release_function(lua_State *L) {
  state *st = state_here(L);
  saros_op *held = handle_op(L, 1);
  state_port(L, st);
  handle *h = handle_push(L, st, false);
  error *e = NULL;
  h->op = still_release(held, &e);
  if (h->op == NULL) return raise(L, e);
  port_own(st->port, h->op);
  return 1;
}

void vss_open(lua_State *L) {
  static const luaL_Reg meta[] = {{"__gc", box_gc}, {NULL, NULL}};
  lua_createtable(L, 0, 6);
  lua_pushliteral(L, "saros.vss.session");
  lua_setfield(L, -2, "__name");
  state_functions(L, meta);
  lua_rawsetp(L, LUA_REGISTRYINDEX, &metatable_key);
}

const luaL_Reg vss_functions[] = {{"vss_session", new_session},
                                  {"session_call", call_function},
                                  {"session_close", close_function},
                                  {"session_state", state_function},
                                  {"session_methods", methods_function},
                                  {"session_class", class_function},
                                  {"vss_reap", reap_function},
                                  {"real_paths", real_paths_function},
                                  {"still", still_function},
                                  {"still_release", still_release_function},
                                  {NULL, NULL}};
