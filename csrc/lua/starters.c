/*
** What starts operations from Lua. Options are tables; a name that is not
** known is a misuse and raises, so that a slip of the pen is seen.
*/
#include <errno.h>
#include <math.h>
#include <string.h>

#include "lua/dispatch.h"
#include "lua/handle.h"
#include "op/copy.h"
#include "op/entries.h"
#include "op/process.h"

extern char **environ;

static void check_names(lua_State *L, int index, const char *what,
                        const char *const *names) {
  lua_pushnil(L);
  while (lua_next(L, index) != 0) {
    lua_pop(L, 1);
    bool known = false;
    for (int i = 0; lua_type(L, -1) == LUA_TSTRING && names[i] != NULL; i++)
      known = known || strcmp(names[i], lua_tostring(L, -1)) == 0;
    if (!known)
      luaL_error(L, "%s has no option '%s'", what, luaL_tolstring(L, -1, NULL));
  }
}

static const char *text_option(lua_State *L, int index, const char *name,
                               bool needed) {
  if (lua_getfield(L, index, name) == LUA_TNIL && !needed) return NULL;
  if (lua_type(L, -1) != LUA_TSTRING)
    luaL_error(L, "option '%s': string expected, got %s", name,
               luaL_typename(L, -1));
  size_t size;
  const char *text = lua_tolstring(L, -1, &size);
  if (strlen(text) != size)
    luaL_error(L, "option '%s' has a NUL byte in it", name);
  return text; /* it stays on the stack */
}

static bool flag_option(lua_State *L, int index, const char *name) {
  lua_getfield(L, index, name);
  bool on = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return on;
}

static double number_option(lua_State *L, int index, const char *name) {
  double n = 0;
  if (lua_getfield(L, index, name) != LUA_TNIL) {
    if (!lua_isnumber(L, -1))
      luaL_error(L, "option '%s': number expected, got %s", name,
                 luaL_typename(L, -1));
    n = lua_tonumber(L, -1);
    if (isnan(n) || n < 0)
      luaL_error(L, "option '%s' must not be negative", name);
  }
  lua_pop(L, 1);
  return n;
}

static int choice_option(lua_State *L, int index, const char *name,
                         const char *const *words) {
  if (lua_getfield(L, index, name) == LUA_TNIL) return 0;
  const char *word = lua_tostring(L, -1);
  for (int i = 0; word != NULL && words[i] != NULL; i++) {
    if (strcmp(words[i], word) != 0) continue;
    lua_pop(L, 1);
    return i;
  }
  return luaL_error(L, "option '%s': '%s' is none of its words", name,
                    word != NULL ? word : luaL_typename(L, -1));
}

/* Owns what was started and gives it to the handle at the top; raises what
   kept it from starting. */
static int started(lua_State *L, state *s, handle *h, saros_op *op, error *e) {
  if (op == NULL) {
    failure_push(L, e != NULL ? e : error_no_memory(), 0);
    return lua_error(L);
  }
  h->op = op;
  port_own(s->port, op);
  return 1;
}

static int sleep_function(lua_State *L) {
  static const char *const names[] = {"name", NULL};
  state *s = state_here(L);
  double seconds = luaL_checknumber(L, 1);
  luaL_argcheck(L, !isnan(seconds), 1, "seconds expected, got NaN");
  const char *name = NULL;
  if (!lua_isnoneornil(L, 2)) {
    luaL_checktype(L, 2, LUA_TTABLE);
    check_names(L, 2, "saros.sleep", names);
    name = text_option(L, 2, "name", false);
  }
  state_port(L, s);
  handle *h = handle_push(L, s, false);
  uint32_t why = 0;
  saros_op *op = sleep_start(seconds, name, &why);
  error *e = op == NULL ? error_make(SAROS_FACADE_SAROS, why,
                                     "saros.sleep could not be started")
                        : NULL;
  return started(L, s, h, op, e);
}

/* The strings of a list as a C array, which the stack keeps. */
static const char **string_list(lua_State *L, int index, const char *name) {
  if (lua_type(L, index) != LUA_TTABLE)
    luaL_error(L, "option '%s': list of strings expected, got %s", name,
               luaL_typename(L, index));
  lua_Unsigned n = lua_rawlen(L, index);
  if (n == 0) luaL_error(L, "option '%s' is empty", name);
  const char **list = lua_newuserdatauv(L, (n + 1) * sizeof *list, 0);
  for (lua_Unsigned i = 0; i < n; i++) {
    size_t size;
    if (lua_rawgeti(L, index, (lua_Integer)i + 1) != LUA_TSTRING)
      luaL_error(L, "%s[%d]: string expected, got %s", name, (int)i + 1,
                 luaL_typename(L, -1));
    list[i] = lua_tolstring(L, -1, &size); /* the list keeps it */
    if (strlen(list[i]) != size)
      luaL_error(L, "%s[%d] has a NUL byte in it", name, (int)i + 1);
    lua_pop(L, 1);
  }
  list[n] = NULL;
  return list;
}

/* The environment: the inherited one (unless it starts empty) with the
   table's changes; false takes a name out. */
static const char **environment(lua_State *L, int table, bool empty) {
  size_t n = 0, most = 1;
  for (char **e = environ; !empty && *e != NULL; e++) most++;
  lua_pushnil(L);
  while (lua_next(L, table) != 0) {
    most++;
    lua_pop(L, 1);
  }
  const char **list = lua_newuserdatauv(L, most * sizeof *list, 0);
  lua_newtable(L); /* keeps the new strings */
  int keeper = lua_gettop(L);
  for (char **e = environ; !empty && *e != NULL; e++) {
    const char *equals = strchr(*e, '=');
    if (equals == NULL) continue;
    lua_pushlstring(L, *e, (size_t)(equals - *e));
    lua_rawget(L, table);
    if (lua_isnil(L, -1)) list[n++] = *e;
    lua_pop(L, 1);
  }
  lua_pushnil(L);
  while (lua_next(L, table) != 0) {
    if (lua_type(L, -2) != LUA_TSTRING ||
        (lua_type(L, -1) != LUA_TSTRING && lua_toboolean(L, -1)))
      luaL_error(L, "option 'env': { NAME = \"value\" } expected");
    if (lua_type(L, -1) == LUA_TSTRING) {
      list[n++] =
          lua_pushfstring(L, "%s=%s", lua_tostring(L, -2), lua_tostring(L, -1));
      lua_rawseti(L, keeper, (lua_Integer)n);
    }
    lua_pop(L, 1);
  }
  list[n] = NULL;
  return list;
}

static void input_option(lua_State *L, process_options *o) {
  switch (lua_getfield(L, 1, "stdin")) {
    case LUA_TNIL: break;
    case LUA_TSTRING:
      if (strcmp(lua_tostring(L, -1), "inherit") == 0 && lua_rawlen(L, -1) == 7)
        o->input_inherit = true;
      else
        o->input = lua_tolstring(L, -1, &o->input_size);
      break;
    default:
      o->input_from = handle_test(L, -1);
      if (o->input_from == NULL)
        luaL_error(L,
                   "option 'stdin': a string, \"inherit\", or a process with "
                   "stdout = \"stream\" expected, got %s",
                   luaL_typename(L, -1));
  }
}

static int process_function(lua_State *L) {
  static const char *const names[] = {
      "argv",    "stdin", "stdout", "stderr",     "env",  "clear_env",  "cwd",
      "timeout", "grace", "limit",  "any_status", "name", "foreground", NULL};
  static const char *const ends[] = {"capture", "lines",  "stream", "null",
                                     "inherit", "stdout", NULL};
  state *s = state_here(L);
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  luaL_checkstack(L, 32, "options");
  check_names(L, 1, "saros.process", names);
  process_options o = {0};
  lua_getfield(L, 1, "argv");
  o.argv = string_list(L, lua_gettop(L), "argv");
  bool empty = flag_option(L, 1, "clear_env");
  if (lua_getfield(L, 1, "env") != LUA_TNIL || empty) {
    if (lua_isnil(L, -1)) lua_newtable(L);
    if (!lua_istable(L, -1))
      luaL_error(L, "option 'env': table expected, got %s",
                 luaL_typename(L, -1));
    o.env = environment(L, lua_gettop(L), empty);
  }
  o.cwd = text_option(L, 1, "cwd", false);
  o.name = text_option(L, 1, "name", false);
  o.timeout = number_option(L, 1, "timeout");
  o.grace = number_option(L, 1, "grace");
  double limit = number_option(L, 1, "limit");
  o.limit = limit < 1e15 ? (size_t)limit : (size_t)1e15;
  o.any_status = flag_option(L, 1, "any_status");
  o.foreground = flag_option(L, 1, "foreground");
  o.out = (process_end)choice_option(L, 1, "stdout", ends);
  o.err = (process_end)choice_option(L, 1, "stderr", ends);
  if (o.out == PROCESS_STDOUT || o.err == PROCESS_STREAM)
    luaL_error(L, "stdout cannot go to \"stdout\", nor stderr to \"stream\"");
  input_option(L, &o);
  state_port(L, s);
  handle *h = handle_push(L, s, false);
  error *e = NULL;
  return started(L, s, h, process_start(&o, &e), e);
}

static int copy_function(lua_State *L) {
  static const char *const names[] = {
      "from",    "to",    "replace", "one_file_system",
      "durable", "clone", "name",    NULL};
  static const char *const clones[] = {"auto", "never", "always", NULL};
  state *s = state_here(L);
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  luaL_checkstack(L, 16, "options");
  check_names(L, 1, "saros.copy", names);
  copy_options o = {0};
  o.from = text_option(L, 1, "from", true);
  o.to = text_option(L, 1, "to", true);
  o.name = text_option(L, 1, "name", false);
  o.replace = flag_option(L, 1, "replace");
  o.one_system = flag_option(L, 1, "one_file_system");
  o.durable = flag_option(L, 1, "durable");
  o.clone = (copy_clone)choice_option(L, 1, "clone", clones);
  state_port(L, s);
  handle *h = handle_push(L, s, false);
  error *e = NULL;
  return started(L, s, h, copy_start(&o, &e), e);
}

/* gather({ op, … }, "all" | "failure" | "first"): what saros.all and
   saros.any are made of. */
static int gather_function(lua_State *L) {
  static const char *const modes[] = {"all", "failure", "first", NULL};
  state *s = state_here(L);
  luaL_checktype(L, 1, LUA_TTABLE);
  gather_mode mode = (gather_mode)luaL_checkoption(L, 2, "all", modes);
  lua_Unsigned n = lua_rawlen(L, 1);
  saros_op **ops = lua_newuserdatauv(L, (n + 1) * sizeof *ops, 0);
  state_port(L, s);
  handle *h = handle_push(L, s, false);
  /* From here on nothing allocates: no finalizer closes one meanwhile. */
  for (lua_Unsigned i = 0; i < n; i++) {
    lua_rawgeti(L, 1, (lua_Integer)i + 1);
    ops[i] = handle_test(L, -1);
    if (ops[i] == NULL)
      return luaL_error(L, "number %d of the list is no (open) operation",
                        (int)i + 1);
    lua_pop(L, 1);
  }
  uint32_t why;
  saros_op *op = gather_start(ops, n, mode, &why);
  error *e =
      op == NULL ? error_make(SAROS_FACADE_SAROS, why, "no memory left") : NULL;
  return started(L, s, h, op, e);
}

static bool callable(lua_State *L, int index) {
  if (lua_isfunction(L, index)) return true;
  if (luaL_getmetafield(L, index, "__call") == LUA_TNIL) return false;
  lua_pop(L, 1);
  return true;
}

task *task_of_arguments(lua_State *L, state *s, const char *what) {
  static const char *const names[] = {"name", NULL};
  if (callable(L, 1)) return task_push(L, s, lua_gettop(L) - 1, NULL);
  if (!lua_istable(L, 1)) luaL_typeerror(L, 1, "function");
  check_names(L, 1, what, names);
  const char *name = text_option(L, 1, "name", false);
  lua_replace(L, 1); /* the name, which stays there, or nil */
  if (!callable(L, 2)) luaL_typeerror(L, 2, "function");
  task *t = task_push(L, s, lua_gettop(L) - 2, name);
  lua_remove(L, 1);
  return t;
}

/* spawn([options,] f, …) */
static int spawn_function(lua_State *L) {
  state *s = state_here(L);
  task *t = task_of_arguments(L, s, "saros.spawn");
  task_ready(s, t);
  if (s->depth == 0) port_poke(s->port);
  return 1;
}

/* The same for who answers for what he was handed: he begins also when he was
   cancelled before, and his first wait raises then. */
static int spawn_surely_function(lua_State *L) {
  state *s = state_here(L);
  task *t = task_of_arguments(L, s, "saros.spawn");
  task_flag(t, TASK_SURELY);
  task_ready(s, t);
  if (s->depth == 0) port_poke(s->port);
  return 1;
}

/* spawn_as(kind, name or nil, f, …): what a module writes in Lua and a script
   sees as that module's operation. */
static int spawn_as_function(lua_State *L) {
  state *s = state_here(L);
  const saros_kind *kind = task_kind(luaL_checkstring(L, 1));
  luaL_argcheck(L, kind != NULL, 1, "no kind of task");
  const char *name = luaL_optstring(L, 2, NULL);
  if (!callable(L, 3)) luaL_typeerror(L, 3, "function");
  task *t = task_push_as(L, s, kind, lua_gettop(L) - 3, name);
  task_ready(s, t);
  if (s->depth == 0) port_poke(s->port);
  return 1;
}

/* report{ done =, total =, phase =, held_since =, held_until =, held = }: of
   the task that calls it. */
static int report_function(lua_State *L) {
  static const char *const names[] = {
      "done", "total", "phase", "held_since", "held_until", "held", NULL};
  const char *const *held = names + 3;
  double instants[3];
  state *s = state_here(L);
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  check_names(L, 1, "saros.report", names);
  const char *phase = text_option(L, 1, "phase", false);
  double done = number_option(L, 1, "done");
  double total = number_option(L, 1, "total");
  for (int i = 0; i < 3; i++) instants[i] = number_option(L, 1, held[i]);
  if (s->current == NULL)
    return luaL_error(L,
                      "saros.report was called outside a task: there is no "
                      "operation to report for");
  saros_op *op = task_op(s->current);
  const double most = 1e18;
  if (phase != NULL) saros_op_phase(op, phase);
  for (int i = 0; i < 3; i++)
    if (instants[i] > 0) op_set_detail(op, held[i], value_real(instants[i]));
  if (total > 0)
    saros_op_progress(op, (uint64_t)(done < most ? done : most),
                      (uint64_t)(total < most ? total : most));
  return 0;
}

/* entries{ { "look", path }, { "move", from, to }, … } --> op */
static int entries_function(lua_State *L) {
  state *s = state_here(L);
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  state_port(L, s);
  handle *h = handle_push(L, s, false);
  error *e = NULL;
  saros_op *op = entries_start(convert_take(L, 1, "entries"), &e);
  return started(L, s, h, op, e);
}

const luaL_Reg starter_functions[] = {{"sleep", sleep_function},
                                      {"process", process_function},
                                      {"copy", copy_function},
                                      {"gather", gather_function},
                                      {"spawn", spawn_function},
                                      {"spawn_as", spawn_as_function},
                                      {"spawn_surely", spawn_surely_function},
                                      {"report", report_function},
                                      {"entries", entries_function},
                                      {NULL, NULL}};
