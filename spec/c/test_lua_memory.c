/*
** The Lua room when memory runs out: in Lua's allocator at the n-th request,
** in ours at the n-th, for every n until nothing fails any more; under a
** collector that never rests; and with several states and threads. After each
** round everything must be gone: blocks of both kinds, descriptors, threads.
**
** Under SAROS_QUICK every 17th n is tried.
**
** not under thread: every sweep is one thread's, and takes minutes; ASan runs
** it
*/
#include <lauxlib.h>
#include <lualib.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <time.h>
#include <unistd.h>

#include "base/memory.h"
#include "gate.h"
#include "saros.h"

int luaopen_saros_core(lua_State *L);

/* ------------------------------------------------------------------
** A state whose memory can run out
** ---------------------------------------------------------------- */

typedef struct heap {
  long blocks;
  long requests;   /* that grow, since it was armed */
  long from, upto; /* these fail */
} heap;

static void *heap_alloc(void *ud, void *block, size_t old, size_t size) {
  heap *h = ud;
  if (size == 0) {
    if (block != NULL) h->blocks--;
    free(block);
    return NULL;
  }
  if (block == NULL || size > old) { /* Lua relies on shrinking */
    h->requests++;
    if (h->requests >= h->from && h->requests <= h->upto) return NULL;
  }
  void *moved = realloc(block, size);
  if (moved != NULL && block == NULL) h->blocks++;
  return moved;
}

static void arm(heap *h, long from, long upto) {
  h->requests = 0;
  h->from = from;
  h->upto = upto;
}

static void quiet(void *ud, const char *text, int more) {
  (void)ud;
  (void)text;
  (void)more;
}

static lua_State *open_state(heap *h) {
  memset(h, 0, sizeof *h);
  lua_State *L = lua_newstate(heap_alloc, h);
  if (L == NULL) return NULL;
  luaL_openlibs(L);
  lua_setwarnf(L, quiet, NULL);
  luaL_getsubtable(L, LUA_REGISTRYINDEX, LUA_PRELOAD_TABLE);
  lua_pushcfunction(L, luaopen_saros_core);
  lua_setfield(L, -2, "saros.core");
  lua_pop(L, 1);
  if (luaL_dostring(L,
                    "package.path = 'lua/?.lua;lua/?/init.lua'\n"
                    "saros = require 'saros'") != LUA_OK) {
    printf("%s\n", lua_tostring(L, -1));
    exit(1);
  }
  return L;
}

static gate_counts base;

/* A wait is over a little before the engine has let go. */
static void settled(void) {
  GATE_UNTIL(engine_users() == 0);
  base = gate_count();
}

/* Threads may need a moment to be gone after they were told to go. */
static bool all_gone(const heap *h) {
  bool gone = gate_back_to(base);
  if (h->blocks != 0) printf("left: %ld blocks of Lua\n", h->blocks);
  return gone && h->blocks == 0;
}

/* ------------------------------------------------------------------
** What is tried
** ---------------------------------------------------------------- */

typedef struct scenario {
  const char *name, *text;
} scenario;

static const scenario scenarios[] = {
    {"sleep",
     "assert(saros.sleep(0):wait())\n"
     "local op <close> = saros.sleep(0, { name = 'memory' })\n"
     "assert(op:wait() == true)"},
    {"spawn",
     "local function f(...) saros.sleep(0):wait() return ... end\n"
     "local op = saros.spawn(f, 1, nil, 'x')\n"
     "local a, b, c = op:wait()\n"
     "if not a then error(b) end\n"
     "assert(a == 1 and b == nil and c == 'x')"},
    {"many",
     "local t = {}\n"
     "for i = 1, 20 do t[i] = saros.spawn(function() return i end) end\n"
     "for i = 1, 20 do\n"
     "  local a, b = t[i]:wait()\n"
     "  if not a then error(b) end\n"
     "  assert(a == i)\n"
     "end"},
    {"run",
     "assert(saros.run(function(x)\n"
     "  local op = saros.spawn(function() return x end)\n"
     "  local a, b = op:wait()\n"
     "  if not a then error(b) end\n"
     "  return a\n"
     "end, 7) == 7)"},
    {"failure",
     "local op = saros.spawn(function()\n"
     "  local x <close> = setmetatable({}, { __close = function()\n"
     "    saros.sleep(0):wait()\n"
     "  end })\n"
     "  error({ 'reason' })\n"
     "end)\n"
     "local no, err = op:wait()\n"
     "assert(no == nil and err)\n"
     "local s, t = op:status(), tostring(op) .. tostring(err)\n"
     "assert(s.state == 'failed')"},
    {"cancel",
     "local op = saros.spawn(function()\n"
     "  local x <close> = saros.sleep(1000)\n"
     "  x:wait()\n"
     "end)\n"
     "saros.step(0)\n"
     "op:cancel()\n"
     "local no, err = op:wait()\n"
     "assert(no == nil and op:status().state ~= 'succeeded')"},
    {"wait with a time",
     "local op <close> = saros.sleep(1000)\n"
     "local no, err = op:wait(0)\n"
     "assert(err.timeout)\n"
     "saros.run(function()\n"
     "  local no, err = op:wait(0.0001)\n"
     "  assert(err.timeout)\n"
     "end)"},
    {"blocking",
     "table.sort({ 2, 1 }, function(a, b)\n"
     "  local op = saros.spawn(function()\n"
     "    return (saros.sleep(0):wait())\n"
     "  end)\n"
     "  local x, err = op:wait()\n"
     "  if not x then error(err) end\n"
     "  return a < b\n"
     "end)"},
    {"cycle",
     "local a\n"
     "a = saros.spawn(function() return a:wait() end)\n"
     "local no, err = a:wait()\n"
     "assert(no == nil and err)"},
    {"on_done",
     "local seen\n"
     "local op = saros.spawn(function() return 1 end)\n"
     "local h = op:on_done(function(r) seen = r end)\n"
     "local a, b = h:wait()\n"
     "if not a then error(b) end\n"
     "assert(seen == 1 or op:status().state == 'failed')\n"
     "local never <close> = saros.sleep(1000)\n"
     "never:on_done(function() end):close()"},
    {"progress",
     "for s in saros.sleep(0):progress() do\n"
     "  assert(s.state)\n"
     "end\n"
     "saros.run(function()\n"
     "  for s in saros.sleep(0):progress() do assert(s.code) end\n"
     "  local op <close> = saros.sleep(1000)\n"
     "  for s in op:progress() do break end\n"
     "end)"},
    {"gather",
     "local core = require 'saros.core'\n"
     "local a, b = saros.sleep(0), saros.sleep(0)\n"
     "local r = core.gather({ a, b }, 'all'):wait()\n"
     "assert(r == true or r.index == nil or r.index == 0)\n"
     "r = core.gather({ a, b }, 'first'):wait()\n"
     "assert(r == true or r.index == nil or r.index == 1)"},
    {"all",
     "local a, b = saros.spawn(function() return 1 end), saros.sleep(0)\n"
     "local r, err = saros.all { a, b, name = 'memory' }:wait()\n"
     "saros.get('memory'):close()\n"
     "if not r then error(err) end\n"
     "assert(r[1] == 1 and r[2] == true)"},
    {"any",
     "local slow = saros.sleep(1000)\n"
     "local i, err = saros.any { slow, saros.sleep(0), cancel = true }:wait()\n"
     "slow:cancel()\n"
     "if not i then error(err) end\n"
     "assert(i == 2)"},
    {"timeout",
     "local op = saros.sleep(1000)\n"
     "local r, err = saros.timeout(op, 0):wait()\n"
     "op:cancel()\n"
     "assert(not r)\n"
     "if not err.timeout then error(err) end"},
    {"retry",
     "local n = 0\n"
     "local core = require 'saros.core'\n"
     "local r, err = saros.retry({ delay = 0 }, function()\n"
     "  n = n + 1\n"
     "  if n < 3 then return nil, core.failure('saros', 0x800700AA, 'busy') "
     "end\n"
     "  return saros.sleep(0)\n"
     "end):wait()\n"
     "if not r then error(err) end\n"
     "assert(n == 3)"},
    {"scope",
     "local r = saros.scope(function(scope)\n"
     "  scope:spawn(function() saros.sleep(0):wait() end)\n"
     "  scope:add(saros.sleep(0))\n"
     "  return 5\n"
     "end)\n"
     "assert(r == 5)"},
    {"names",
     "local op <close> = saros.sleep(1000, { name = 'memory' })\n"
     "assert(saros.get 'memory' == op)\n"
     "assert(saros.list().memory == op)\n"
     "assert(not saros.get 'memory2')"},
    {"log",
     "saros.config { log = function(r) assert(r) end }\n"
     "local op = saros.spawn(function()\n"
     "  local x <close> = setmetatable({}, { __close = function()\n"
     "    error 'in cleanup'\n"
     "  end })\n"
     "  saros.sleep(1000):wait()\n"
     "end)\n"
     "saros.step(0)\n"
     "op:cancel()\n"
     "op:wait()\n"
     "while saros.step(0) do end\n"
     "saros.config { log = false }"},
    {"unheard",
     "saros.spawn(function() error 'unheard' end)\n"
     "saros.spawn(function() return nil, 'unheard' end)\n"
     "while saros.step(0) do end\n"
     "collectgarbage()"},
    {"generator",
     "local n = 0\n"
     "saros.run(function()\n"
     "  for v in coroutine.wrap(function()\n"
     "    for i = 1, 3 do\n"
     "      local ok, err = saros.spawn(function() end):wait()\n"
     "      if not ok then error(err) end\n"
     "      coroutine.yield(i)\n"
     "    end\n"
     "  end) do n = n + v end\n"
     "end)\n"
     "assert(n == 6)"},
    {"shutdown",
     "saros.spawn(function() saros.sleep(1000):wait() end)\n"
     "saros.step(0)\n"
     "saros.shutdown()\n"
     "assert(saros.sleep(0):wait())"},
    {"left in flight",
     "saros.spawn(function() saros.sleep(1000):wait() end)\n"
     "local op = saros.sleep(1000)\n"
     "op:on_done(print)\n"
     "saros.step(0)\n"
     "for s in op:progress() do break end"},
    {"process",
     "local op = saros.process { argv = { 'true' }, name = 'memory',\n"
     "  env = { A = 'b' }, stdin = 'x' }\n"
     "local r, err = op:wait()\n"
     "op:close()\n"
     "if not r then error(err) end"},
    {"copy",
     "local op = saros.copy { from = 'csrc/saros.h', to = TO }\n"
     "local r, err = op:wait()\n"
     "os.remove(TO)\n"
     "if not r then error(err) end"},
    {"writer",
     "local w <close> = saros.vss.writer {\n"
     "  id = '5a705000-0000-4000-8000-000000000001', name = 'x',\n"
     "  components = { { type = 'database', name = 'a', files = { '/a' } } },\n"
     "  metadata = { list = { 1, 2.5, true, { deep = 'er' } } },\n"
     "  freeze = function() end }\n"
     "assert(w:is_open() and #w.instance == 36)\n"
     "local s <close> = saros.vss.components { timeouts = { hold = 3 } }\n"
     "s:initialize_for_backup()\n"
     "s:set_backup_state { type = 'copy' }\n"
     "s:disable_writer_classes { w.id }"},
};
#define SCENARIOS (sizeof scenarios / sizeof *scenarios)

/* This valgrind does not know pidfd_open. */
static bool possible(const scenario *s) {
  const char *sanitizer = getenv("SAROS_SANITIZER");
  return sanitizer == NULL || strcmp(sanitizer, "valgrind") != 0 ||
         strcmp(s->name, "process") != 0;
}

/* The text of an error, however it looks; without memory of Lua's. */
static void describe(lua_State *L, char *text, size_t size) {
  text[0] = '\0';
  if (lua_type(L, -1) == LUA_TTABLE) {
    size_t used = 0;
    lua_pushnil(L);
    while (lua_next(L, -2) != 0) {
      if (lua_type(L, -1) == LUA_TSTRING && used < size)
        used += (size_t)snprintf(text + used, size - used, "%s ",
                                 lua_tostring(L, -1));
      lua_pop(L, 1);
    }
  } else if (lua_type(L, -1) == LUA_TSTRING) {
    snprintf(text, size, "%s", lua_tostring(L, -1));
  }
}

static int load_scenario(lua_State *L, const scenario *s) {
  lua_pushfstring(L, "/tmp/saros-memory-%d", (int)getpid());
  lua_setglobal(L, "TO");
  return luaL_loadstring(L, s->text);
}

/* Runs it once; what went wrong, or "". */
static void attempt(lua_State *L, char *text, size_t size) {
  text[0] = '\0';
  if (lua_pcall(L, 0, 0, 0) != LUA_OK) describe(L, text, size);
}

/* What has a name stays for whoever may ask for it. */
static void forget_names(lua_State *L) {
  int r = luaL_dostring(L,
                        "for _, op in pairs(saros.list()) do\n"
                        "  op:close(1)\n"
                        "end");
  CHECK(r == LUA_OK);
}

static bool says_memory(const char *text) {
  return text[0] == '\0' || strstr(text, "memory") != NULL ||
         strstr(text, "OUTOFMEMORY") != NULL ||
         strstr(text, "error in error handling") != NULL;
}

static long stride(void) {
  return getenv("SAROS_QUICK") != NULL ? 17 : 1;
}

/* `width` requests fail from the n-th on: one is answered by an emergency
   collection, two are an error, many are no memory at all. */
static void lua_sweep(const scenario *s, long width) {
  char text[256];
  if (!possible(s)) return;
  for (long n = 1;; n += stride()) {
    heap h;
    lua_State *L = open_state(&h);
    CHECK(load_scenario(L, s) == LUA_OK);
    arm(&h, n, width > 1000 ? n + 1000000 : n + width - 1);
    attempt(L, text, sizeof text);
    bool failed = h.requests >= n;
    arm(&h, 0, 0);
    forget_names(L);
    if (!says_memory(text)) {
      check_bad++;
      printf("%s, Lua's request %ld x%ld: %s\n", s->name, n, width, text);
    }
    lua_close(L);
    if (!all_gone(&h)) {
      check_bad++;
      printf("%s, Lua's request %ld x%ld leaks\n", s->name, n, width);
      settled();
    }
    if (!failed) break;
  }
}

/* How many of ours there were: what is left of the count tells. */
static bool ours_failed(long n) {
  bool failed = true;
  for (long i = 0; i < n && failed; i++) {
    void *probe = mem_alloc(1);
    if (probe == NULL) failed = false;
    mem_free(probe);
  }
  mem_fail_at(0);
  return failed;
}

static void c_sweep(const scenario *s) {
  char text[256];
  if (!possible(s)) return;
  for (long n = 1;; n += stride()) {
    heap h;
    lua_State *L = open_state(&h);
    CHECK(load_scenario(L, s) == LUA_OK);
    mem_fail_at(n);
    attempt(L, text, sizeof text);
    bool failed = ours_failed(n);
    forget_names(L);
    if (!says_memory(text)) {
      check_bad++;
      printf("%s, our request %ld: %s\n", s->name, n, text);
    }
    lua_close(L);
    if (!all_gone(&h)) {
      check_bad++;
      printf("%s, our request %ld leaks\n", s->name, n);
      settled();
    }
    if (!failed) break;
  }
}

TEST(nothing_fails) {
  char text[256];
  for (size_t i = 0; i < SCENARIOS; i++) {
    if (!possible(&scenarios[i])) continue;
    heap h;
    lua_State *L = open_state(&h);
    CHECK(load_scenario(L, &scenarios[i]) == LUA_OK);
    attempt(L, text, sizeof text);
    if (text[0] != '\0') printf("%s: %s\n", scenarios[i].name, text);
    CHECK(text[0] == '\0');
    lua_close(L);
    CHECK(all_gone(&h));
  }
}

TEST(lua_has_no_memory_once) {
  for (size_t i = 0; i < SCENARIOS; i++) lua_sweep(&scenarios[i], 1);
}

TEST(lua_has_no_memory_twice) {
  for (size_t i = 0; i < SCENARIOS; i++) lua_sweep(&scenarios[i], 2);
}

TEST(lua_has_no_memory_any_more) {
  for (size_t i = 0; i < SCENARIOS; i++) lua_sweep(&scenarios[i], 1000000);
}

TEST(we_have_no_memory) {
  for (size_t i = 0; i < SCENARIOS; i++) c_sweep(&scenarios[i]);
}

static int load_core(lua_State *L) {
  luaL_requiref(L, "saros.core", luaopen_saros_core, 0);
  return 0;
}

TEST(require_without_memory) {
  for (long width = 1; width <= 2; width++) {
    for (long n = 1;; n++) {
      heap h = {0};
      lua_State *L = lua_newstate(heap_alloc, &h);
      luaL_openlibs(L);
      lua_pushcfunction(L, load_core);
      arm(&h, n, n + width - 1);
      int r = lua_pcall(L, 0, 0, 0);
      bool failed = h.requests >= n;
      arm(&h, 0, 0);
      if (r != LUA_OK) { /* it may be tried again */
        CHECK(says_memory(lua_tostring(L, -1)));
        lua_pushcfunction(L, load_core);
        CHECK(lua_pcall(L, 0, 0, 0) == LUA_OK);
      }
      CHECK(luaL_dostring(L,
                          "package.path = 'lua/?.lua;lua/?/init.lua'\n"
                          "local saros = require 'saros'\n"
                          "assert(saros.sleep(0):wait())") == LUA_OK);
      lua_close(L);
      CHECK(all_gone(&h));
      if (!failed) break;
    }
  }
}


/* ------------------------------------------------------------------
** A collector that never rests
** ---------------------------------------------------------------- */

static void collect(lua_State *L, lua_Debug *ar) {
  (void)ar;
  lua_gc(L, LUA_GCCOLLECT);
}

static void torture(int kind) {
  char text[256];
  for (size_t i = 0; i < SCENARIOS; i++) {
    if (!possible(&scenarios[i])) continue;
    heap h;
    lua_State *L = open_state(&h);
    CHECK(load_scenario(L, &scenarios[i]) == LUA_OK);
    switch (kind) {
      case 0: lua_sethook(L, collect, LUA_MASKCOUNT, 1); break;
      case 1: lua_gc(L, LUA_GCGEN, 1, 1); break;
      default: lua_gc(L, LUA_GCINC, 1, 1000, 1); break;
    }
    attempt(L, text, sizeof text);
    if (text[0] != '\0') printf("%s: %s\n", scenarios[i].name, text);
    CHECK(text[0] == '\0');
    lua_close(L);
    CHECK(all_gone(&h));
  }
}

TEST(collected_at_every_instruction) {
  torture(0);
}
TEST(collected_by_generations) {
  torture(1);
}
TEST(collected_without_pause) {
  torture(2);
}


/* ------------------------------------------------------------------
** Several states, several threads
** ---------------------------------------------------------------- */

TEST(three_states_in_a_row) {
  for (int i = 0; i < 3; i++) {
    heap h;
    lua_State *L = open_state(&h);
    CHECK(luaL_dostring(L,
                        "saros.spawn(function() end)\n"
                        "saros.sleep(1000)\n"
                        "assert(saros.sleep(0):wait())") == LUA_OK);
    lua_close(L);
    CHECK(all_gone(&h));
  }
}

static void *mixed(void *argument) {
  atomic_int *bad = argument;
  char text[256];
  for (int round = 0; round < 3; round++) {
    for (size_t i = 0; i < SCENARIOS; i++) {
      /* These have a name, which is the process's. */
      if (strstr(scenarios[i].text, "'memory'") != NULL ||
          strstr(scenarios[i].text, "TO") != NULL || !possible(&scenarios[i]))
        continue;
      heap h;
      lua_State *L = open_state(&h);
      load_scenario(L, &scenarios[i]);
      attempt(L, text, sizeof text);
      if (text[0] != '\0') {
        printf("%s: %s\n", scenarios[i].name, text);
        atomic_fetch_add(bad, 1);
      }
      lua_close(L);
      if (h.blocks != 0) atomic_fetch_add(bad, 1);
    }
  }
  return NULL;
}

TEST(two_states_on_two_threads) {
  pthread_t ids[2];
  atomic_int bad = 0;
  heap none = {0};
  for (int i = 0; i < 2; i++) pthread_create(&ids[i], NULL, mixed, &bad);
  for (int i = 0; i < 2; i++) pthread_join(ids[i], NULL);
  CHECK_INT(bad, 0);
  CHECK(all_gone(&none));
}

static void *step_there(void *L) {
  return (void *)(intptr_t)luaL_dostring(
      L,
      "for _ = 1, 10 do saros.step(0) end\n"
      "assert(saros.spawn(function() return 1 end):wait() == 1)\n"
      "coroutine.wrap(function() assert(saros.sleep(0):wait()) end)()");
}

TEST(one_state_from_two_threads_in_turn) {
  heap h;
  lua_State *L = open_state(&h);
  CHECK(luaL_dostring(L,
                      "T = saros.spawn(function()\n"
                      "  for _ = 1, 100 do saros.sleep(0):wait() end\n"
                      "  return 'end'\n"
                      "end)") == LUA_OK);
  for (int i = 0; i < 20; i++) {
    pthread_t id;
    void *result = NULL;
    pthread_create(&id, NULL, step_there, L);
    pthread_join(id, &result);
    CHECK_INT((intptr_t)result, LUA_OK);
    CHECK(step_there(L) == NULL);
  }
  CHECK(luaL_dostring(L, "assert(T:wait() == 'end')") == LUA_OK);
  lua_close(L);
  CHECK(all_gone(&h));
}

static const saros_kind host_kind = {.size = sizeof(saros_kind),
                                     .name = "host.work",
                                     .flags = SAROS_CANCELLABLE};

/* `op` becomes the global OP, and the text is run. */
typedef struct runner {
  saros_op *op;
  const char *text;
  heap h;
  int result;
} runner;

static void *run_with_op(void *argument) {
  runner *r = argument;
  lua_State *L = open_state(&r->h);
  if (r->op != NULL) {
    saros_api_own()->push(L, r->op);
    lua_setglobal(L, "OP");
  }
  r->result = luaL_dostring(L, r->text);
  if (r->result != LUA_OK) printf("%s\n", luaL_tolstring(L, -1, NULL));
  lua_close(L);
  return NULL;
}

TEST(an_operation_in_two_states) {
  for (int cancels = 0; cancels < 2; cancels++) {
    saros_op *op = saros_op_new(&host_kind, NULL, NULL);
    CHECK_INT(saros_op_start(op), 0);
    runner r[2];
    pthread_t ids[2];
    for (int i = 0; i < 2; i++) {
      r[i].op = op;
      r[i].text = cancels
                      ? "local x = OP:on_done(function() end)\n"
                        "local no, err = saros.run(function()\n"
                        "  return { OP:wait() }\n"
                        "end)\n"
                        "assert(OP:status().state == 'cancelled')\n"
                        "x:wait()"
                      : "local r = saros.run(function() return OP:wait() end)\n"
                        "assert(r.id == 7)\n"
                        "assert(OP:result() ~= r)";
      pthread_create(&ids[i], NULL, run_with_op, &r[i]);
    }
    if (cancels) {
      saros_op_cancel(op);
      saros_op_finish(op, 0, NULL);
    } else {
      CHECK_INT(saros_op_output_json(op, "{\"id\":7}", 8), 0);
      saros_op_finish(op, 0, NULL);
    }
    for (int i = 0; i < 2; i++) {
      pthread_join(ids[i], NULL);
      CHECK_INT(r[i].result, LUA_OK);
      CHECK_INT(r[i].h.blocks, 0);
    }
    saros_op_unref(op);
  }
  heap none = {0};
  CHECK(all_gone(&none));
}

TEST(a_task_of_another_state) {
  /* One state runs a named task; the other finds, watches and cancels it. */
  for (int round = 0; round < 20; round++) {
    runner r[2] = {
        {.text = "local core = require 'saros.core'\n"
                 "local t = saros.spawn({ name = 'memory.task' }, function()\n"
                 "  saros.sleep(1000):wait()\n"
                 "end)\n"
                 "local no, err = t:wait()\n"
                 "assert(no == nil and err.cancelled)\n"
                 "t:close()"},
        {.text = "local t\n"
                 "repeat t = saros.get 'memory.task'\n"
                 "until t and t:status().state ~= 'created'\n"
                 "local again = saros.get 'memory.task'\n"
                 "local h = t:on_done(function() end)\n"
                 "t:status() tostring(t) saros.list()\n"
                 "t:cancel()\n"
                 "local no, err = t:wait()\n"
                 "assert(no == nil and err.cancelled, tostring(err))\n"
                 "h:wait()"}};
    pthread_t ids[2];
    for (int i = 0; i < 2; i++)
      pthread_create(&ids[i], NULL, run_with_op, &r[i]);
    for (int i = 0; i < 2; i++) {
      pthread_join(ids[i], NULL);
      CHECK_INT(r[i].result, LUA_OK);
      CHECK_INT(r[i].h.blocks, 0);
    }
  }
  heap none = {0};
  CHECK(all_gone(&none));
}

/* Whoever cancels a task has ended it before he tells its state, which may be
   closed meanwhile: here he tells it once more. */
TEST(a_task_whose_cancel_is_late) {
  heap h;
  lua_State *L = open_state(&h);
  CHECK(luaL_dostring(L,
                      "saros.spawn({ name = 'memory.late' }, function()\n"
                      "  saros.sleep(1000):wait()\n"
                      "end)\n"
                      "saros.step(0)") == LUA_OK);
  saros_op *op = saros_get("memory.late");
  CHECK(op != NULL);
  op_forget_name(op);
  CHECK_INT(saros_op_cancel(op), 0);
  lua_close(L);
  op->kind->cancel(op, op_self(op));
  saros_op_unref(op);
  CHECK(all_gone(&h));
}

TEST(the_api_in_a_state) {
  heap h;
  lua_State *L = open_state(&h);
  CHECK(saros_api_own()->fd(L) >= 0);
  CHECK_INT(saros_api_own()->step(L, 0), 0);
  saros_api_own()->push(L, NULL);
  CHECK(lua_isnil(L, -1));
  CHECK(saros_api_own()->check(L, -1) == NULL);
  saros_op *op = saros_op_new(&host_kind, NULL, NULL);
  saros_op_start(op);
  saros_api_own()->push(L, op);
  CHECK(saros_api_own()->check(L, -1) == op);
  lua_setglobal(L, "OP");
  CHECK(luaL_dostring(L, "T = saros.spawn(function() return OP:wait() end)") ==
        LUA_OK);
  while (saros_api_own()->step(L, 0)) {}
  saros_op_finish(op, 0, NULL);
  CHECK_INT(saros_api_own()->step(L, 10), 0);
  CHECK(luaL_dostring(L, "assert(T:done() and T:wait())") == LUA_OK);
  CHECK(luaL_dostring(L, "OP:close()") == LUA_OK);
  lua_pushinteger(L, 1);
  CHECK(saros_api_own()->check(L, -1) == NULL);
  saros_op_unref(op);
  lua_close(L);
  CHECK(all_gone(&h));
}

int main(int argc, char **argv) {
  check_begin(argc, argv);
  alarm(1500); /* nothing here may hang */
  heap h;
  lua_State *L = open_state(&h); /* what stays for ever is there: */
  CHECK(luaL_dostring(L, "saros.sleep(0):wait()") == LUA_OK);
  lua_close(L); /* a sanitizer's own thread, for one */
  settled();
  RUN(nothing_fails);
  RUN(the_api_in_a_state);
  RUN(three_states_in_a_row);
  RUN(two_states_on_two_threads);
  RUN(one_state_from_two_threads_in_turn);
  RUN(an_operation_in_two_states);
  RUN(a_task_of_another_state);
  RUN(a_task_whose_cancel_is_late);
  RUN(require_without_memory);
  RUN(collected_at_every_instruction);
  RUN(collected_by_generations);
  RUN(collected_without_pause);
  RUN(lua_has_no_memory_once);
  RUN(lua_has_no_memory_twice);
  RUN(lua_has_no_memory_any_more);
  RUN(we_have_no_memory);
  return check_end();
}
