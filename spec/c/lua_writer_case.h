/*
** What the tests of Lua writers share. There is no session: an operation of the
** test's own tells the writers what a session would, on the engine's thread,
** and ends when all have answered. In Lua:
**
**   tell(event [, { id = , details = , deadline = , keep = }]) --> op
**   connect() / hang_up()    links to all writers, kept between two tells
**
** Order is proved by gates: operations that end when the test says so.
*/
#ifndef SAROS_LUA_WRITER_CASE_H
#define SAROS_LUA_WRITER_CASE_H

#include <lauxlib.h>
#include <lualib.h>
#include <stdatomic.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/memory.h"
#include "check.h"
#include "lua/handle.h"
#include "op/engine.h"
#include "op/fork.h"
#include "op/watch.h"
#include "vss/writer.h"

/* ------------------------------------------------------------------
** The telling
** ---------------------------------------------------------------- */

#define MOST 128

static writer_link *links[MOST];
static const writer_way *ways[MOST];
static char ids[MOST][37];
static size_t link_count;

typedef struct telling telling;

typedef struct ask {
  watch w;
  telling *t;
  saros_op *op;
} ask;

struct telling {
  machine m;
  writer_event event;
  char id[37]; /* only this one, or "" */
  value *details;
  double seconds; /* < 0: no deadline */
  timer late;
  _Atomic size_t open;
  _Atomic bool given_up, fired;
  bool begun, timed, told_to_stop;
  size_t count, failed;
  ask asks[MOST];
};

static inline void heard(watch *w) {
  telling *t = ((ask *)w)->t;
  machine *m = &t->m;
  atomic_fetch_sub(&t->open, 1);
  machine_wake(m);
}

static const watch_way heard_way = {.after = heard};

static inline void late(timer *timer_) {
  telling *t = (telling *)((char *)timer_ - offsetof(telling, late));
  atomic_store(&t->fired, true);
  atomic_store(&t->given_up, true);
  machine_wake(&t->m);
}

static inline void begin(telling *t) {
  writer_call call = {.event = t->event, .of = t->m.op, .details = t->details};
  if (t->seconds >= 0) {
    call.deadline = engine_clock() + (uint64_t)(t->seconds * 1e9);
    t->late.fire = late;
    t->timed = true;
    timer_set(&t->late, call.deadline);
  }
  atomic_store(&t->open, link_count + 1);
  for (size_t i = 0; i < link_count; i++) {
    if (t->id[0] != '\0' && strcmp(t->id, ids[i]) != 0) {
      atomic_fetch_sub(&t->open, 1);
      continue;
    }
    ask *a = &t->asks[t->count++];
    error *e = NULL;
    a->t = t;
    a->w.way = &heard_way;
    a->op = ways[i]->tell(links[i], &call, &e);
    error_unref(e);
    if (a->op == NULL || !watch_add(&a->w, a->op))
      atomic_fetch_sub(&t->open, 1);
  }
  atomic_fetch_sub(&t->open, 1);
  t->begun = true;
}

static inline step_result end(telling *t) {
  error *why = NULL;
  value *list = value_list();
  for (size_t i = 0; i < t->count; i++) {
    saros_op *op = t->asks[i].op;
    if (op == NULL) {
      t->failed++;
      continue;
    }
    if (saros_op_state(op) != SAROS_SUCCEEDED) t->failed++;
    if (why == NULL && saros_op_state(op) == SAROS_FAILED) why = op_error(op);
    if (op_output(op) != NULL) value_add(list, value_copy(op_output(op)));
    saros_op_unref(op);
  }
  op_set_output(t->m.op, list);
  uint32_t code = why != NULL     ? why->code
                  : t->failed > 0 ? VSS_E_WRITERERROR_TIMEOUT
                                  : SAROS_S_OK;
  machine_finish(&t->m, code, why);
  return STEP_END;
}

static inline step_result step(machine *m) {
  telling *t = (telling *)((char *)m - offsetof(telling, m));
  if (!t->begun) begin(t);
  if (saros_op_cancelled(m->op)) atomic_store(&t->given_up, true);
  if (atomic_load(&t->given_up) && !t->told_to_stop) {
    t->told_to_stop = true;
    for (size_t i = 0; i < t->count; i++)
      if (t->asks[i].op != NULL) op_try_cancel(t->asks[i].op);
  }
  if (atomic_load(&t->open) > 0) return STEP_WAIT;
  if (t->timed && timer_cancel(&t->late)) t->timed = false;
  if (t->timed && !atomic_load(&t->fired)) return STEP_WAIT;
  return end(t);
}

static inline void cancel(saros_op *op, void *self) {
  (void)op;
  machine_wake(&((telling *)self)->m);
}

static inline void release(void *self) {
  value_free(((telling *)self)->details);
  mem_free(self);
}

static const saros_kind kind = {.size = sizeof(saros_kind),
                                .name = "test.tell",
                                .facade = SAROS_FACADE_VSS,
                                .flags = SAROS_CANCELLABLE,
                                .cancel = cancel,
                                .release = release};

static inline int hang_up(lua_State *L) {
  (void)L;
  for (size_t i = 0; i < link_count; i++) ways[i]->hang_up(links[i]);
  link_count = 0;
  return 0;
}

static inline int connect_all(lua_State *L) {
  writer_list list;
  hang_up(L);
  if (!writer_local(&list)) return luaL_error(L, "not enough memory");
  for (size_t i = 0; i < list.count && i < MOST; i++) {
    error *e = NULL;
    writer_link *l = list.items[i]->way->connect(list.items[i], "test", &e);
    error_unref(e);
    if (l == NULL) continue;
    ways[link_count] = list.items[i]->way;
    strcpy(ids[link_count], list.items[i]->id);
    links[link_count++] = l;
  }
  writer_list_free(&list);
  lua_pushinteger(L, (lua_Integer)link_count);
  return 1;
}

/* tell(event, { id, details, deadline }) --> op */
static inline int tell(lua_State *L) {
  writer_event what = writer_event_of(luaL_checkstring(L, 1));
  luaL_argcheck(L, what != EVENTS, 1, "event expected");
  lua_settop(L, 2);
  if (lua_isnil(L, 2)) {
    lua_newtable(L);
    lua_replace(L, 2);
  }
  lua_getfield(L, 2, "id");
  const char *id = luaL_optstring(L, -1, "");
  lua_getfield(L, 2, "deadline");
  double seconds = luaL_optnumber(L, -1, -1);
  lua_getfield(L, 2, "details");
  value *details = lua_isnil(L, -1) ? NULL : convert_take(L, -1, "details");
  telling *t = mem_zero(sizeof *t);
  saros_op *op = t != NULL ? op_create(&kind, t, 0, NULL, NULL) : NULL;
  if (op == NULL) {
    value_free(details);
    mem_free(t);
    return luaL_error(L, "not enough memory");
  }
  t->m.op = op;
  t->m.step = step;
  t->event = what;
  t->seconds = seconds;
  t->details = details;
  strncpy(t->id, id, 36);
  if (op_begin(op, SAROS_RUNNING) != 0) {
    saros_op_unref(op);
    return luaL_error(L, "not begun");
  }
  machine_wake(&t->m);
  saros_push(L, op);
  saros_op_unref(op);
  return 1;
}


/* ------------------------------------------------------------------
** Gates
** ---------------------------------------------------------------- */

static const saros_kind gate_kind = {.size = sizeof(saros_kind),
                                     .name = "test.gate"};

/* gate() --> op, which ends with open(op) */
static inline int new_gate(lua_State *L) {
  saros_op *op = saros_op_new(&gate_kind, NULL, NULL);
  if (op == NULL || saros_op_start(op) != 0)
    return luaL_error(L, "not enough memory");
  saros_push(L, op);
  saros_op_unref(op);
  return 1;
}

static inline int open_gate(lua_State *L) {
  saros_op_finish(saros_check(L, 1), 0, NULL);
  return 0;
}

/* clock() --> milliseconds: for a figure, not for a test. */
static inline int clock_ms(lua_State *L) {
  lua_pushnumber(L, (double)engine_clock() / 1e6);
  return 1;
}

/* fork(f) --> what f returned in the child, as an exit status */
static inline int do_fork(lua_State *L) {
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    int r = lua_pcall(L, 0, 1, 0);
    if (r != LUA_OK) {
      printf("in the child: %s\n", lua_tostring(L, -1));
      fflush(stdout);
    }
    _exit(r == LUA_OK ? (int)lua_tointeger(L, -1) : 99);
  }
  int status = 0;
  waitpid(pid, &status, 0);
  lua_pushinteger(L, WIFEXITED(status) ? WEXITSTATUS(status) : -1);
  return 1;
}


/* ------------------------------------------------------------------
** Running scripts
** ---------------------------------------------------------------- */

static char warned[4096];

static inline void collect_warning(void *ud, const char *text, int more) {
  (void)ud;
  (void)more;
  strncat(warned, text, sizeof warned - strlen(warned) - 1);
}

static const char prelude[] =
    "package.path = 'lua/?.lua;lua/?/init.lua'\n"
    "saros = require 'saros'\n"
    "vss = require 'saros.vss'\n"
    "function id(n) return ('00000000-0000-4000-8000-%012d'):format(n) end\n"
    "function must_fail(f, ...)\n"
    "  local ok, err = pcall(f, ...)\n"
    "  assert(not ok, 'did not raise')\n"
    "  return tostring(err)\n"
    "end\n"
    "function has(text, part)\n"
    "  if not text:find(part, 1, true) then\n"
    "    error(('%q is not in %q'):format(part, text), 2)\n"
    "  end\n"
    "end\n"
    "W = 'VSS_E_WRITERERROR_'\n"
    "function code(name) return saros.code[W .. name] end\n";

static inline lua_State *open_state(void) {
  static const luaL_Reg functions[] = {
      {"tell", tell},       {"connect", connect_all},
      {"hang_up", hang_up}, {"gate", new_gate},
      {"open", open_gate},  {"fork", do_fork},
      {"clock", clock_ms},  {NULL, NULL}};
  lua_State *L = luaL_newstate();
  luaL_openlibs(L);
  warned[0] = '\0';
  lua_setwarnf(L, collect_warning, NULL);
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  lua_pushcfunction(L, luaopen_saros_core);
  lua_setfield(L, -2, "saros.core");
  lua_pop(L, 1);
  lua_pushglobaltable(L);
  luaL_setfuncs(L, functions, 0);
  lua_pop(L, 1);
  if (luaL_dostring(L, prelude) != LUA_OK) {
    printf("%s\n", lua_tostring(L, -1));
    exit(1);
  }
  return L;
}

/* Runs a script in a state of its own, which is closed. */
static inline bool script(const char *text) {
  long before = mem_blocks();
  lua_State *L = open_state();
  bool good = luaL_dostring(L, text) == LUA_OK;
  if (!good) printf("%s\n", lua_tostring(L, -1));
  lua_close(L);
  hang_up(NULL);
  /* The engine may still be letting go. */
  for (int i = 0; i < 30000 && (engine_users() > 0 || mem_blocks() > before);
       i++)
    nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
  if (engine_users() > 0) printf("%u users of the engine\n", engine_users());
  if (mem_blocks() > before)
    printf("%ld blocks are left\n", mem_blocks() - before);
  return good && engine_users() == 0 && mem_blocks() <= before;
}

#define SCRIPT(name, text) \
  TEST(name) {             \
    CHECK(script(text));   \
  }

/* A writer that notes what it hears. */
#define NOTING                                                   \
  "heard = {}\n"                                                 \
  "local function note(e) heard[#heard + 1] = e.event end\n"     \
  "function noting(n, more)\n"                                   \
  "  local o = { id = id(n), name = 'app' .. n }\n"              \
  "  for _, name in ipairs { 'identify', 'prepare_backup',\n"    \
  "    'prepare_snapshot', 'freeze', 'thaw', 'post_snapshot',\n" \
  "    'abort', 'backup_complete', 'backup_shutdown',\n"         \
  "    'pre_restore', 'post_restore' } do o[name] = note end\n"  \
  "  for k, v in pairs(more or {}) do o[k] = v or nil end\n"     \
  "  return vss.writer(o)\n"                                     \
  "end\n"

/* Runs the tests. */
static inline int lua_writer_main(int argc, char **argv, void (*all)(void)) {
  check_begin(argc, argv);
  { /* what is made once and stays */
    lua_State *L = open_state();
    if (luaL_dostring(L, "saros.sleep(0):wait()") != LUA_OK) return 1;
    lua_close(L);
    while (engine_users() > 0) nanosleep(&(struct timespec){0, 1000000}, NULL);
  }
  all();
  return check_end();
}

#endif
