/*
** require "saros.core": the functions, the sentinel, the published table.
*/
#include <dlfcn.h>
#include <math.h>
#include <string.h>

#include "api.h"
#include "lua/dispatch.h"
#include "lua/handle.h"
#include "lua/writer.h"
#include "op/fork.h"

/* The registry's key of the function table, for hosts and other modules. */
#define API_KEY "saros.api"

/* fd() --> descriptor, which one it is: numbers of descriptors come again. */
static int fd_function(lua_State *L) {
  state *s = state_here(L);
  lua_pushinteger(L, state_port(L, s)->fd);
  lua_pushinteger(L, s->ports);
  return 2;
}

static int step_function(lua_State *L) {
  state *s = state_here(L);
  double seconds = luaL_optnumber(L, 1, -1);
  luaL_argcheck(L, seconds == seconds, 1, "seconds expected, got NaN");
  if (s->depth > 0)
    return luaL_error(L, "saros.step was called inside a task; wait instead");
  lua_settop(L, 0);
  lua_pushboolean(L, dispatch_step(L, s, seconds));
  return 1;
}

static int get_function(lua_State *L) {
  const char *name = luaL_checkstring(L, 1);
  state *s = state_here(L);
  handle *h = handle_push(L, s, true);
  h->op = saros_get(name);
  if (h->op == NULL) {
    luaL_pushfail(L);
    return 1;
  }
  if (op_is_task(h->op)) ((task *)op_trailing(h->op))->handles++;
  handle_push_op(L, s, h->op);
  return 1;
}

typedef struct listing {
  lua_State *L;
  state *s;
  int failed;
} listing;

static int list_one(lua_State *L) { /* the table, the operation */
  saros_op *op = lua_touserdata(L, 2);
  handle_push_op(L, lua_touserdata(L, 3), op);
  lua_setfield(L, 1, op_extra_get(op)->name);
  return 0;
}

static void list_call(void *context, saros_op *op) {
  listing *l = context;
  if (l->failed != LUA_OK) return;
  lua_pushcfunction(l->L, list_one);
  lua_pushvalue(l->L, 1);
  lua_pushlightuserdata(l->L, op);
  lua_pushlightuserdata(l->L, l->s);
  l->failed = lua_pcall(l->L, 3, 0, 0);
}

static int list_function(lua_State *L) {
  listing l = {L, state_here(L), LUA_OK};
  luaL_checkstack(L, 6, "a list");
  lua_settop(L, 0);
  lua_newtable(L);
  op_each_named(list_call, &l);
  if (l.failed != LUA_OK) return lua_error(L);
  lua_settop(L, 1);
  return 1;
}

static int set_budget(lua_State *L) {
  lua_Integer n = luaL_checkinteger(L, 1);
  luaL_argcheck(L, n >= 1 && n <= 1000000, 1, "1 to 1000000 expected");
  state_here(L)->budget = (unsigned)n;
  return 0;
}

static int set_host(lua_State *L) {
  if (!lua_isnoneornil(L, 1)) luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_settop(L, 1);
  state_here(L)->has_host = !lua_isnil(L, 1);
  state_keep(L, KEEP_HOST);
  return 0;
}

/* dress(kind, metatable): what tables that such operations result in have. */
static int dress_function(lua_State *L) {
  luaL_checkstring(L, 1);
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 2);
  state_push(L, KEEP_DRESS);
  lua_insert(L, 1);
  lua_rawset(L, 1);
  return 0;
}

static int set_log(lua_State *L) {
  state *s = state_here(L);
  if (!lua_isnoneornil(L, 1)) luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_settop(L, 1);
  bool on = !lua_isnil(L, 1);
  state_keep(L, KEEP_LOG);
  if (on && s->log == NULL) {
    s->log = log_box_open(state_port(L, s));
    if (s->log == NULL) return luaL_error(L, "not enough memory");
  } else if (!on && s->log != NULL) {
    log_box_close(s->log);
    s->log = NULL;
  }
  return 0;
}

/* inside(): whether the dispatcher runs, so that an unknown coroutine may be
   a task's generator. */
static int inside_function(lua_State *L) {
  lua_pushboolean(L, state_here(L)->depth > 0);
  return 1;
}

/* advance(op): runs one task that it needs; for hosts. */
static int advance_function(lua_State *L) {
  saros_op *op = handle_op(L, 1);
  state *s = state_here(L);
  port_drain(state_port(L, s)); /* a host's loop may have seen it readable */
  lua_pushboolean(L, dispatch_advance(L, s, op));
  return 1;
}

/* doze(): from now on completions make the descriptor readable, also while
   the dispatcher runs; for hosts whose loop runs inside a task. */
static int doze_function(lua_State *L) {
  port *p = state_port(L, state_here(L));
  if (port_doze(p)) port_poke(p);
  return 0;
}

/* poke(): makes the descriptor readable; for hosts. */
static int poke_function(lua_State *L) {
  port_poke(state_port(L, state_here(L)));
  return 0;
}

typedef struct shut_goal {
  goal g;
  state *s;
} shut_goal;

/* spawn_root(f, …): a task whose descent can be asked for. */
static int root_function(lua_State *L) {
  state *s = state_here(L);
  task *t = task_of_arguments(L, s, "spawn_root");
  task_root(s, t);
  task_ready(s, t);
  if (s->depth == 0) port_poke(s->port);
  return 1;
}

/* The operations that are no tasks: closed handles first, so that nothing
   raises while there are references. */
static lua_Integer descent_of_port(lua_State *L, state *s) {
  size_t most = port_marked(s->port, NULL, 0);
  handle **handles = lua_newuserdatauv(L, (most + 1) * sizeof *handles, 0);
  saros_op **ops = lua_newuserdatauv(L, (most + 1) * sizeof *ops, 0);
  for (size_t i = 0; i < most; i++) {
    handles[i] = handle_push(L, s, false);
    lua_rawseti(L, 1, (lua_Integer)i + 1);
  }
  size_t now = port_marked(s->port, ops, most); /* fewer, if any ended */
  lua_Integer count = 0;
  for (size_t i = 0; i < most && i < now; i++, count++) handles[i]->op = ops[i];
  for (size_t i = most; i > (size_t)count; i--) {
    lua_pushnil(L);
    lua_rawseti(L, 1, (lua_Integer)i);
  }
  return count;
}

/* descent(task) --> what it has begun, itself or through others, and has not
   ended; and what it waits for. */
static int descent_function(lua_State *L) {
  saros_op *op = handle_op(L, 1);
  state *s = state_here(L);
  task *root = task_of(s, op);
  saros_op *waits = root != NULL ? task_waits_for(root) : NULL;
  if (waits != NULL)
    handle_push_op(L, s, waits);
  else
    lua_pushnil(L);
  lua_newtable(L);
  lua_insert(L, 1);
  if (s->port == NULL || s->generation != fork_generation) {
    lua_settop(L, 1);
    return 1;
  }
  lua_settop(L, 3); /* the list, the task, what it waits for */
  lua_Integer count = descent_of_port(L, s);
  for (task *t = task_first(s); t != NULL; t = task_next(t)) {
    if (!task_is(t, TASK_ROOT) || t == root) continue;
    handle_push_op(L, s, task_op(t));
    lua_rawseti(L, 1, ++count);
  }
  lua_pushvalue(L, 1);
  lua_pushvalue(L, 3);
  return 2;
}

static bool all_ended(goal *g) {
  return ((shut_goal *)g)->s->task_count == 0;
}

/* shutdown([seconds]): cancels everything that this state started, waits for
   the unwinding, lets go of the engine. */
static int shutdown_function(lua_State *L) {
  state *s = state_here(L);
  double seconds = luaL_optnumber(L, 1, 30);
  /* Less than none would be for ever, and NaN too. */
  luaL_argcheck(L, seconds >= 0, 1, "seconds expected, not negative or NaN");
  if (s->depth > 0)
    return luaL_error(L, "saros.shutdown was called inside a task");
  if (s->port == NULL || s->generation != fork_generation) return 0;
  for (task *t = task_first(s); t != NULL; t = task_next(t)) {
    op_try_cancel(task_op(t));
    task_cancel_again(s, t);
  }
  shut_goal to = {.g = {.reached = all_ended}, .s = s};
  uint64_t begun = engine_clock();
  block_end r = dispatch_block(L, s, &to.g, seconds, WAIT_LOOP);
  if (r == BLOCK_RAISED) return lua_error(L);
  double left = seconds - (double)(engine_clock() - begun) / 1e9;
  block_end closed = sessions_close_all(L, s, left > 0 ? left : 0);
  if (closed == BLOCK_RAISED) return lua_error(L);
  if (closed != BLOCK_REACHED) r = closed;
  writers_close_all(s); /* nobody would answer what is told from here on */
  while (s->tasks != NULL) task_discard(L, s, task_first(s));
  double spent = (double)(engine_clock() - begun) / 1e9;
  double rest = seconds > spent ? (seconds - spent) * 1e3 : 0;
  port_leave_all(s->port, rest < 1e9 ? (uint32_t)rest : 1000000000u);
  if (s->log != NULL) log_box_close(s->log);
  s->log = NULL;
  dispatch_leave(s);
  port_close(s->port);
  s->port = NULL;
  lua_pushboolean(L, r == BLOCK_REACHED);
  return 1;
}


/* ------------------------------------------------------------------
** Codes
** ---------------------------------------------------------------- */

static const char *const facade_names[] = {"saros", "vss",  "wsb",
                                           "vds",   "bits", NULL};

/* code_name(facade, code) */
static int code_name_function(lua_State *L) {
  saros_facade f = (saros_facade)luaL_checkoption(L, 1, NULL, facade_names);
  uint32_t code = (uint32_t)luaL_checkinteger(L, 2);
  const code_entry *e = code_find(f, code);
  char number[11];
  lua_pushstring(L, code_name(f, code, number));
  if (e == NULL || e->text == NULL) return 1;
  lua_pushstring(L, e->text);
  return 2;
}

static int code_value_function(lua_State *L) {
  uint32_t code;
  if (!code_value(luaL_checkstring(L, 1), &code)) return 0;
  lua_pushinteger(L, (lua_Integer)code);
  return 1;
}

/* failure(facade, code, message): an error object of a script's own. */
static int failure_function(lua_State *L) {
  saros_facade f = (saros_facade)luaL_checkoption(L, 1, NULL, facade_names);
  uint32_t code = (uint32_t)luaL_checkinteger(L, 2);
  failure_make(L, f, code, 0, "%s", luaL_checkstring(L, 3));
  return 1;
}

/* counts(): what a test counts. */
static int counts_function(lua_State *L) {
  state *s = state_here(L);
  lua_createtable(L, 0, 4);
  lua_pushinteger(L, engine_users());
  lua_setfield(L, -2, "users");
  lua_pushinteger(L, fd_count());
  lua_setfield(L, -2, "fds");
  lua_pushinteger(L, s->task_count);
  lua_setfield(L, -2, "tasks");
  lua_pushinteger(L, pool_threads(POOL_CPU) + pool_threads(POOL_LANE));
  lua_setfield(L, -2, "workers");
  return 1;
}


/* ------------------------------------------------------------------
** The published table
** ---------------------------------------------------------------- */

void saros_push(lua_State *L, saros_op *op) {
  state *s = state_get(L);
  if (op == NULL || s == NULL)
    lua_pushnil(L);
  else
    handle_push_op(L, s, op);
}

saros_op *saros_check(lua_State *L, int index) {
  return handle_test(L, index);
}

int saros_fd(lua_State *L) {
  state *s = state_get(L);
  return s != NULL ? state_port(L, s)->fd : -1;
}

int saros_step(lua_State *L, double max_seconds) {
  state *s = state_get(L);
  return s != NULL && s->depth == 0 ? dispatch_step(L, s, max_seconds) : 0;
}

void saros_own(lua_State *L, saros_op *op) {
  state *s = state_get(L);
  if (s != NULL && s->port != NULL && s->generation == fork_generation)
    port_own(s->port, op);
}

/* lua_close unloads C modules while their threads still run: this one asks
   to stay. */
static void pin(void) {
  Dl_info info;
  if (dladdr((void *)(uintptr_t)&pin, &info) && info.dli_fname != NULL)
    dlopen(info.dli_fname, RTLD_LAZY | RTLD_NOLOAD | RTLD_NODELETE);
}

static const luaL_Reg module_functions[] = {{"run", run_function},
                                            {"fd", fd_function},
                                            {"step", step_function},
                                            {"get", get_function},
                                            {"list", list_function},
                                            {"advance", advance_function},
                                            {"inside", inside_function},
                                            {"doze", doze_function},
                                            {"spawn_root", root_function},
                                            {"descent", descent_function},
                                            {"poke", poke_function},
                                            {"attend", attend_function},
                                            {"set_budget", set_budget},
                                            {"set_host", set_host},
                                            {"set_log", set_log},
                                            {"dress", dress_function},
                                            {"shutdown", shutdown_function},
                                            {"code_name", code_name_function},
                                            {"code_value", code_value_function},
                                            {"failure", failure_function},
                                            {"counts", counts_function},
                                            {NULL, NULL}};

static void publish(void) {
  api_table.push = saros_push;
  api_table.check = saros_check;
  api_table.fd = saros_fd;
  api_table.step = saros_step;
  api_table.own = saros_own;
}

__attribute__((visibility("default"))) int luaopen_saros_core(lua_State *L) {
  luaL_checkversion(L);
  pin();
  if (state_get(L) == NULL) state_open(L);
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  pthread_once(&once, publish); /* a host may open states on many threads */
  lua_pushlightuserdata(L, &api_table);
  lua_setfield(L, LUA_REGISTRYINDEX, API_KEY);
  lua_newtable(L);
  state_functions(L, starter_functions);
  state_functions(L, plain_functions);
  state_functions(L, module_functions);
  state_functions(L, writer_functions);
  state_functions(L, vss_functions);
  return 1;
}
