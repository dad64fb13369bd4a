/*
** A program with a loop of its own and scripts in Lua. The scripts wait for
** long operations, the program never does: its heart goes on beating.
**
**     cc -std=c11 -Icsrc examples/host/host.c -o host \
**        $(pkg-config --cflags --libs lua5.4)
**     LUA_PATH='lua/?.lua;lua/?/init.lua;;' LUA_CPATH='build/?.so;;' \
**        ./host examples/host/script.lua FILE
**
** What a host does, in the order of this file:
**
**  1. It defines operations of its own: a saros_kind each.
**  2. It hands them to its scripts: saros_push.
**  3. It starts the script as a task, so that it can wait.
**  4. It watches saros_fd in its loop, and calls saros_step(L, 0) when that is
**     readable. Nothing else is needed, and neither ever blocks.
*/
#define _POSIX_C_SOURCE 200809L

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <lauxlib.h>
#include <lua.h>
#include <lualib.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* In exactly one file of a program: here are the definitions. */
#define SAROS_DEFINE
#include "saros.h"

/* ------------------------------------------------------------------
** 1. An operation that computes: the checksum of a file
** ---------------------------------------------------------------- */

typedef struct checksum {
  char path[1]; /* as long as it is */
} checksum;

/* HRESULT_FROM_WIN32 of what a script may want to tell apart. */
static uint32_t code_of(int number) {
  switch (number) {
    case ENOENT: return 0x80070002u;
    case EACCES: return SAROS_E_ACCESSDENIED;
    default: return SAROS_E_FAIL;
  }
}

static uint32_t failed(saros_op *op, const char *path) {
  char message[512];
  uint32_t code = code_of(errno);
  snprintf(message, sizeof message, "cannot read %s: %s", path,
           strerror(errno));
  saros_op_finish(op, code, message); /* the message; the end is the return */
  return code;
}

/* Adler-32 */
static uint32_t add(uint32_t sum, const unsigned char *bytes, size_t count) {
  uint32_t a = sum & 0xFFFF, b = sum >> 16;
  for (size_t i = 0; i < count; i++) {
    a = (a + bytes[i]) % 65521;
    b = (b + a) % 65521;
  }
  return b << 16 | a;
}

/* On a worker thread, where it may take its time. It has no lua_State. */
static uint32_t checksum_run(saros_op *op, void *self) {
  const checksum *c = self;
  unsigned char bytes[65536];
  char result[80];
  uint64_t done = 0;
  uint32_t sum = 1;
  struct stat st;
  int fd = open(c->path, O_RDONLY | O_CLOEXEC);
  if (fd < 0 || fstat(fd, &st) != 0) return failed(op, c->path);
  uint64_t total = S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
  ssize_t n;
  saros_op_phase(op, "reading");
  while ((n = read(fd, bytes, sizeof bytes)) > 0) {
    sum = add(sum, bytes, (size_t)n);
    done += (uint64_t)n;
    saros_op_progress(op, done, total);
    if (!saros_op_checkpoint(op)) { /* paused: waits here; cancelled: 0 */
      close(fd);
      return SAROS_E_CANCELLED;
    }
  }
  if (n < 0) {
    uint32_t code = failed(op, c->path);
    close(fd);
    return code;
  }
  close(fd);
  int size = snprintf(result, sizeof result,
                      "{\"adler32\":\"%08" PRIx32 "\",\"bytes\":%" PRIu64 "}",
                      sum, done);
  saros_op_output_json(op, result, (size_t)size);
  return SAROS_S_OK;
}

static const saros_kind checksum_kind = {
    .size = sizeof(saros_kind),
    .name = "host.checksum",
    .facade = SAROS_FACADE_SAROS,
    .flags = SAROS_CANCELLABLE | SAROS_RUN_CPU,
    .run = checksum_run,
    .release = free /* when nobody knows the operation any more */
};

/* ------------------------------------------------------------------
** … and one that the program itself ends: the next beat of its heart
** ---------------------------------------------------------------- */

static saros_op *next_beat; /* what scripts wait for now, or NULL */
static unsigned long beats;

static const saros_kind beat_kind = {.size = sizeof(saros_kind),
                                     .name = "host.heartbeat",
                                     .facade = SAROS_FACADE_SAROS};

static void beat(void) {
  saros_op *op = next_beat;
  beats++;
  next_beat = NULL;
  if (op == NULL) return;
  saros_op_finish(op, SAROS_S_OK, NULL);
  saros_op_unref(op);
}

/* ------------------------------------------------------------------
** 2. What the scripts see of it
** ---------------------------------------------------------------- */

/* Starts the operation and leaves it on the stack; gives up our reference. */
static int started(lua_State *L, saros_op *op) {
  uint32_t code = saros_op_start(op);
  saros_push(L, op);
  saros_op_unref(op);
  if (code != 0) return luaL_error(L, "not started: code %d", (int)code);
  return 1;
}

/* host.checksum(path [, name]) --> op; its result: { adler32, bytes } */
static int host_checksum(lua_State *L) {
  size_t size;
  const char *path = luaL_checklstring(L, 1, &size);
  const char *name = luaL_optstring(L, 2, NULL);
  checksum *c = malloc(sizeof *c + size);
  if (c == NULL) return luaL_error(L, "not enough memory");
  memcpy(c->path, path, size + 1);
  saros_op *op = saros_op_new(&checksum_kind, c, name);
  if (op == NULL) {
    free(c);
    return luaL_error(L, "the name is taken, or memory has run out");
  }
  return started(L, op);
}

/* host.heartbeat() --> op: over at the next beat */
static int host_heartbeat(lua_State *L) {
  if (next_beat == NULL) {
    next_beat = saros_op_new(&beat_kind, NULL, NULL);
    if (next_beat == NULL) return luaL_error(L, "not enough memory");
    return started(L, saros_op_ref(next_beat));
  }
  saros_push(L, next_beat);
  return 1;
}

static const luaL_Reg host_functions[] = {
    {"checksum", host_checksum}, {"heartbeat", host_heartbeat}, {NULL, NULL}};

/* ------------------------------------------------------------------
** 3. The script, as a task
** ---------------------------------------------------------------- */

/* Protected: argv, argc. Returns the task's operation. */
static int start_script(lua_State *L) {
  char **argv = lua_touserdata(L, 1);
  int argc = (int)lua_tointeger(L, 2);
  luaL_openlibs(L);
  luaL_newlib(L, host_functions);
  lua_setglobal(L, "host");
  lua_getglobal(L, "require");
  lua_pushliteral(L, "saros");
  lua_call(L, 1, 1);
  if (saros_api_get(L) == NULL)
    return luaL_error(L, "this saros is older than the host");
  lua_getfield(L, -1, "spawn");
  if (luaL_loadfile(L, argv[1]) != LUA_OK) return lua_error(L);
  for (int i = 2; i < argc; i++) lua_pushstring(L, argv[i]);
  lua_call(L, argc - 1, 1); /* saros.spawn(script, …) */
  return 1;
}

/* Protected: op:wait() of the script, which is over. */
static int tell_result(lua_State *L) {
  lua_getfield(L, 1, "wait");
  lua_pushvalue(L, 1);
  lua_call(L, 1, 2);
  if (lua_toboolean(L, -2)) return 0;
  return lua_error(L); /* the error object is at the top */
}

static int complain(lua_State *L) {
  fprintf(stderr, "host: %s\n", luaL_tolstring(L, -1, NULL));
  return EXIT_FAILURE;
}

/* ------------------------------------------------------------------
** 4. The loop
** ---------------------------------------------------------------- */

#define BEAT_MS 5

static int signals[2]; /* a pipe: what came, one byte each */

static void on_signal(int number) {
  char byte = (char)number;
  int saved = errno;
  if (write(signals[1], &byte, 1) < 0) { /* full: one is there already */
  }
  errno = saved;
}

static int64_t now_ms(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

/* Until the script has ended, also after a Ctrl-C: it is cancelled then, and
   gets to close what it has open. */
static void loop(lua_State *L, saros_op *script) {
  int64_t next = now_ms() + BEAT_MS;
  while (!saros_state_is_terminal(saros_op_state(script)) ||
         !saros_op_wait(script, 0)) {
    struct pollfd ask[2] = {
        {.fd = saros_fd(L), .events = POLLIN}, /* asked anew: cheap */
        {.fd = signals[0], .events = POLLIN}};
    int64_t rest = next - now_ms();
    if (poll(ask, 2, rest > 0 ? (int)rest : 0) > 0) {
      char byte;
      if (ask[0].revents) saros_step(L, 0); /* runs Lua, waits for nothing */
      if (ask[1].revents && read(signals[0], &byte, 1) == 1)
        saros_op_cancel(script);
    }
    if (now_ms() >= next) {
      beat();
      next += BEAT_MS;
    }
  }
}

static int run(lua_State *L, int argc, char **argv) {
  lua_pushcfunction(L, start_script);
  lua_pushlightuserdata(L, argv);
  lua_pushinteger(L, argc);
  if (lua_pcall(L, 2, 1, 0) != LUA_OK) return complain(L);
  loop(L, saros_check(L, -1));
  printf("%lu heartbeats\n", beats);
  if (next_beat != NULL) beat();
  lua_pushcfunction(L, tell_result);
  lua_insert(L, -2);
  if (lua_pcall(L, 1, 0, 0) != LUA_OK) return complain(L);
  return EXIT_SUCCESS;
}

int main(int argc, char **argv) {
  if (argc < 2) {
    fprintf(stderr, "usage: %s script.lua [argument …]\n", argv[0]);
    return EXIT_FAILURE;
  }
  struct sigaction act = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
  lua_State *L = luaL_newstate();
  if (L == NULL || pipe(signals) != 0) return EXIT_FAILURE;
  sigaction(SIGINT, &act, NULL);
  sigaction(SIGTERM, &act, NULL);
  int code = run(L, argc, argv);
  lua_close(L); /* cancels what the script has left, and waits for that */
  return code;
}
