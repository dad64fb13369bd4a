/*
** Several Lua states and several threads in one program that embeds Lua.
** spec/states_spec.lua builds it (with liblua) and runs it; the scripts find
** saros and testmod through LUA_PATH and LUA_CPATH.
*/
#include <dirent.h>
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <pthread.h>
#include <unistd.h>

#include "check.h"

static int entries(const char *path) {
  int count = 0;
  DIR *d = opendir(path);
  if (d == NULL) return -1;
  for (struct dirent *e; (e = readdir(d)) != NULL;)
    if (e->d_name[0] != '.') count++;
  closedir(d);
  return count;
}

static int threads(void) {
  return entries("/proc/self/task");
}

static int fds(void) {
  return entries("/proc/self/fd");
}

/* A joined thread is in /proc a moment longer. */
static int threads_settle(int wanted) {
  for (int i = 0; i < 60000 && threads() != wanted; i++) usleep(1000);
  return threads();
}

static lua_State *open_state(void) {
  lua_State *L = luaL_newstate();
  if (L != NULL) luaL_openlibs(L);
  return L;
}

/* 1 when the script raised nothing; else says what. */
static int run(lua_State *L, const char *script) {
  if (luaL_loadstring(L, script) == LUA_OK && lua_pcall(L, 0, 0, 0) == LUA_OK)
    return 1;
  printf("%s\n", luaL_tolstring(L, -1, NULL));
  lua_settop(L, 0);
  return 0;
}

/* The same, but an engine that is just stopping is given the time: the last
   one to let go of it may be a thread of its own. */
static int run_soon(lua_State *L, const char *script) {
  for (int i = 0; i < 60000; i++) {
    if (luaL_dostring(L, script) == LUA_OK) return 1;
    lua_settop(L, 0);
    usleep(1000);
  }
  return run(L, script);
}

static int rounds(int usual, int quick) {
  return getenv("SAROS_QUICK") != NULL ? quick : usual;
}

/* ---------------------------------------------------------------- */

static const char busy[] =
    "local saros = require 'saros'\n"
    "local testmod = require 'testmod'\n"
    "kept = {}\n"
    "for i = 1, 20 do\n"
    "  kept[i] = saros.sleep(i % 2 * 1000)\n"
    "  testmod.work()\n"
    "end\n"
    "local gate = testmod.gate { run = 'lane' }\n"
    "gate:entered()\n" /* a thread of ours is in it now */
    "kept.gate = gate\n"
    "kept.task = saros.spawn(function() saros.sleep(1000):wait() end)\n"
    "saros.step(0)\n"
    "assert(saros.sleep(0):wait())\n"
    "assert(saros.run(function() return saros.sleep(0.001):wait() end))\n"
    "saros.spawn(function() end)\n";

TEST(three_in_a_row) {
  for (int i = 0; i < 3; i++) {
    lua_State *L = open_state();
    CHECK(run(L, busy));
    lua_close(L);
  }
}

TEST(three_at_once_closed_out_of_order) {
  lua_State *L[3];
  for (int i = 0; i < 3; i++) CHECK(run(L[i] = open_state(), busy));
  lua_close(L[1]);
  CHECK(run(L[0], busy));
  CHECK(run(L[2], "assert(require 'saros'.sleep(0):wait())"));
  lua_close(L[0]);
  CHECK(run(L[2], busy));
  lua_close(L[2]);
}

/* ---------------------------------------------------------------- */

static const char lively[] =
    "local saros = require 'saros'\n"
    "local testmod = require 'testmod'\n"
    "local mine, heard = {}, 0\n"
    "for i = 1, 20 do\n"
    "  local task = saros.spawn(function()\n"
    "    for j = 1, 5 do\n"
    "      assert(testmod.work():wait())\n"
    "      assert(saros.sleep(0):wait())\n"
    "    end\n"
    "    mine[i] = (mine[i] or 0) + 1\n"
    "  end)\n"
    "  task:on_done(function()\n"
    "    assert(mine[i] == 1)\n"
    "    heard = heard + 1\n"
    "  end)\n"
    "end\n"
    "while heard < 20 do saros.step(1) end\n";

static void *live(void *count) {
  int bad = 0;
  for (int i = 0; i < *(int *)count; i++) {
    lua_State *L = open_state();
    bad += !run(L, lively);
    lua_close(L);
  }
  return bad ? count : NULL;
}

TEST(two_states_on_two_threads) {
  pthread_t other;
  int count = rounds(50, 5);
  void *bad;
  pthread_create(&other, NULL, live, &count);
  CHECK(live(&count) == NULL);
  pthread_join(other, &bad);
  CHECK(bad == NULL);
}

/* An operation of one state is found by its name, and waited for, in another
   one; the first goes meanwhile. */
TEST(one_operation_in_two_states) {
  lua_State *A = open_state(), *B = open_state();
  CHECK(run(A,
            "saros, testmod = require 'saros', require 'testmod'\n"
            "gate = testmod.gate { name = 'shared' }"));
  CHECK(run(B,
            "saros = require 'saros'\n"
            "op = saros.get 'shared'\n"
            "op:on_done(function() heard = true end)\n"
            "assert(not op:done())"));
  CHECK(run(A, "gate:finish(0) assert(gate:op():wait())"));
  lua_close(A);
  CHECK(run(B, "assert(op:wait()) while not heard do saros.step(1) end"));
  lua_close(B);
}

/* ---------------------------------------------------------------- */

/* One state, entered by two threads by turns, as HAProxy does. */
typedef struct turns {
  pthread_mutex_t lock;
  pthread_cond_t moved;
  lua_State *L;
  int turn, count, bad;
} turns;

static const char entered[] =
    "local saros = require 'saros'\n"
    "count = (count or 0) + 1\n"
    /* begun on one thread, waited for and resumed on the other */
    "if task then assert(task:wait() == count - 1) end\n"
    "local mine = count\n"
    "task = saros.spawn(function()\n"
    "  saros.sleep(0):wait()\n"
    "  assert(require 'testmod'.work():wait())\n"
    "  return mine\n"
    "end)\n"
    "saros.step(0)\n";

static void take_turns(turns *t, int me) {
  for (int i = 0; i < t->count; i++) {
    pthread_mutex_lock(&t->lock);
    while (t->turn != me) pthread_cond_wait(&t->moved, &t->lock);
    t->bad += !run(t->L, entered);
    t->turn = !me;
    pthread_cond_broadcast(&t->moved);
    pthread_mutex_unlock(&t->lock);
  }
}

static void *second(void *argument) {
  take_turns(argument, 1);
  return NULL;
}

TEST(one_state_two_threads_by_turns) {
  turns t = {.lock = PTHREAD_MUTEX_INITIALIZER,
             .moved = PTHREAD_COND_INITIALIZER,
             .L = open_state(),
             .count = rounds(500, 20)};
  pthread_t other;
  pthread_create(&other, NULL, second, &t);
  take_turns(&t, 0);
  pthread_join(other, NULL);
  CHECK_INT(t.bad, 0);
  CHECK(run(t.L, "assert(task:wait())"));
  lua_close(t.L);
}

/* ---------------------------------------------------------------- */

/* A state for each request, closed after it, as Apache does. */
static const char request[] =
    "local saros = require 'saros'\n"
    "local testmod = require 'testmod'\n"
    "saros.sleep(1000)\n"
    "for i = 1, 5 do testmod.work() end\n"
    "saros.spawn(function() saros.sleep(1000):wait() end)\n"
    "saros.step(0)\n";

static void *serve(void *count) {
  int bad = 0;
  for (int i = 0; i < *(int *)count; i++) {
    lua_State *L = open_state();
    bad += !run(L, request);
    lua_close(L);
  }
  return bad ? count : NULL;
}

TEST(a_thousand_short_states) {
  pthread_t workers[4];
  int count = rounds(250, 10);
  for (int i = 0; i < 4; i++) pthread_create(&workers[i], NULL, serve, &count);
  for (int i = 0; i < 4; i++) {
    void *bad;
    pthread_join(workers[i], &bad);
    CHECK(bad == NULL);
  }
}

/* ---------------------------------------------------------------- */

static void *close_here(void *L) {
  lua_close(L);
  return NULL;
}

TEST(closed_on_another_thread) {
  for (int i = 0; i < 10; i++) {
    lua_State *L = open_state();
    pthread_t other;
    CHECK(run(L, busy));
    pthread_create(&other, NULL, close_here, L);
    pthread_join(other, NULL);
  }
}

static void *make_here(void *unused) {
  (void)unused;
  lua_State *L = open_state();
  return run(L, busy) ? L : NULL;
}

TEST(made_on_a_thread_that_is_gone) {
  pthread_t other;
  void *L;
  pthread_create(&other, NULL, make_here, NULL);
  pthread_join(other, &L);
  CHECK(L != NULL);
  if (L == NULL) return;
  CHECK(run(L,
            "assert(kept.task:cancel() == 0) kept.task:wait()\n"
            "kept.gate:finish(0) assert(kept.gate:op():wait())"));
  lua_close(L);
}

/* ---------------------------------------------------------------- */

/* Two copies of the module: the second engine is refused while the first one
   runs, and says so; it is no use of either that breaks. */
TEST(two_copies_of_the_module) {
  const char *copies = getenv("SAROS_COPY_CPATH");
  if (copies == NULL) SKIP("SAROS_COPY_CPATH does not say where the copy is");
  lua_State *A = open_state(), *B = open_state();
  CHECK(run(A, "saros = require 'saros' op = saros.sleep(1000)"));
  CHECK(run(B,
            "package.cpath = os.getenv 'SAROS_COPY_CPATH'\n"
            "saros = require 'saros'\n"
            "local ok, err = pcall(saros.sleep, 0)\n"
            "assert(not ok)\n"
            "assert(err.name == 'SAROS_E_ENGINE', tostring(err))\n"
            "assert(tostring(err):find('another copy', 1, true))\n"
            "ok, err = pcall(saros.run, function() end)\n"
            "assert(not ok and err.name == 'SAROS_E_ENGINE')\n"
            "assert(not pcall(saros.fd))\n"));
  CHECK(run(A, "assert(saros.sleep(0):wait()) op:cancel() op:wait()"));
  lua_close(A);
  CHECK(run_soon(B, "assert(saros.sleep(0):wait())")); /* there is room now */
  A = open_state();
  CHECK(run(A, "assert(not pcall(require 'saros'.sleep, 0))"));
  lua_close(B);
  CHECK(run_soon(A, "assert(require 'saros'.sleep(0):wait())"));
  lua_close(A);
}

int main(int argc, char **argv) {
  check_begin(argc, argv);
  alarm(getenv("SAROS_SANITIZER") != NULL ? 600 : 120);
  int fds_before = fds(), threads_before = threads();
#define ALONE(name)                                              \
  RUN(name);                                                     \
  if (threads_settle(threads_before) != threads_before ||        \
      fds() != fds_before) {                                     \
    check_failed++;                                              \
    printf("after " #name ": %d threads, %d descriptors left\n", \
           threads() - threads_before, fds() - fds_before);      \
  }
  ALONE(three_in_a_row)
  ALONE(three_at_once_closed_out_of_order)
  ALONE(two_states_on_two_threads)
  ALONE(one_operation_in_two_states)
  ALONE(one_state_two_threads_by_turns)
  ALONE(a_thousand_short_states)
  ALONE(closed_on_another_thread)
  ALONE(made_on_a_thread_that_is_gone)
  ALONE(two_copies_of_the_module)
  return check_end();
}
