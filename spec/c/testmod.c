/*
** A Lua module for the specs, written against saros.h alone as a host would:
** operations whose every move the spec decides (a gate), operations that do
** nothing on a worker (for benchmarks), and what only C can see.
*/
#include <dirent.h>
#include <lauxlib.h>
#include <lua.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define SAROS_DEFINE
#include "saros.h"

#include "foreign.h"
#include "system.h"

/* What a gate's operation and the gate itself share. */
typedef struct gate {
  pthread_mutex_t lock;
  pthread_cond_t moved;
  int refs;
  int entered;   /* its run has begun */
  int opened;    /* its run may return `code` */
  int cancelled; /* its cancel callback was called so often */
  int holds;     /* a cancel does not end it: the spec calls finish */
  uint32_t code;
  uint32_t denied;
  saros_kind kind;
  char name[64];
} gate;

typedef struct holder {
  gate *g;
  saros_op *op;
} holder;

static void unref(gate *g) {
  pthread_mutex_lock(&g->lock);
  int last = --g->refs == 0;
  pthread_mutex_unlock(&g->lock);
  if (!last) return;
  pthread_mutex_destroy(&g->lock);
  pthread_cond_destroy(&g->moved);
  free(g);
}

static void released(void *self) {
  unref(self);
}

static uint32_t run(saros_op *op, void *self) {
  gate *g = self;
  (void)op;
  pthread_mutex_lock(&g->lock);
  g->entered = 1;
  pthread_cond_broadcast(&g->moved);
  while (!g->opened) pthread_cond_wait(&g->moved, &g->lock);
  uint32_t code = g->code;
  pthread_mutex_unlock(&g->lock);
  return code;
}

static void cancelled(saros_op *op, void *self) {
  gate *g = self;
  pthread_mutex_lock(&g->lock);
  g->cancelled++;
  int holds = g->holds;
  int runs = g->kind.run != NULL;
  if (runs && !holds) g->opened = 1;
  pthread_cond_broadcast(&g->moved);
  pthread_mutex_unlock(&g->lock);
  if (!runs && !holds) saros_op_finish(op, SAROS_E_CANCELLED, NULL);
}

static uint32_t may(saros_op *op, void *self) {
  (void)op;
  return ((gate *)self)->denied;
}

static holder *check(lua_State *L) {
  return luaL_checkudata(L, 1, "testmod.gate");
}

static int flag(lua_State *L, const char *name) {
  lua_getfield(L, 1, name);
  int on = lua_toboolean(L, -1);
  lua_pop(L, 1);
  return on;
}

/* gate{ facade = "vss", kind = "vss.x", run = "cpu" | "lane", fixed = true
   (not cancellable), holds = true, no_estimate, reopenable, name } */
static int new_gate(lua_State *L) {
  static const char *const facades[] = {"saros", "vss",  "wsb",
                                        "vds",   "bits", NULL};
  luaL_checktype(L, 1, LUA_TTABLE);
  lua_settop(L, 1);
  lua_getfield(L, 1, "facade");
  int facade = luaL_checkoption(L, -1, "saros", facades);
  lua_getfield(L, 1, "kind");
  const char *kind = luaL_optstring(L, -1, "test.gate");
  lua_getfield(L, 1, "run");
  const char *lane = luaL_optstring(L, -1, NULL);
  lua_getfield(L, 1, "name");
  const char *name = luaL_optstring(L, -1, NULL);
  holder *h = lua_newuserdatauv(L, sizeof *h, 0);
  h->g = NULL;
  h->op = NULL;
  luaL_setmetatable(L, "testmod.gate");
  gate *g = calloc(1, sizeof *g);
  if (g == NULL) return luaL_error(L, "not enough memory");
  pthread_mutex_init(&g->lock, NULL);
  pthread_cond_init(&g->moved, NULL);
  g->refs = 1;
  h->g = g;
  strncpy(g->name, kind, sizeof g->name - 1);
  g->holds = flag(L, "holds");
  g->kind.size = sizeof g->kind;
  g->kind.name = g->name;
  g->kind.facade = (saros_facade)facade;
  g->kind.flags = flag(L, "fixed") ? 0 : SAROS_CANCELLABLE;
  if (flag(L, "no_estimate")) g->kind.flags |= SAROS_NO_ESTIMATE;
  if (flag(L, "reopenable")) g->kind.flags |= SAROS_REOPENABLE;
  g->kind.cancel = cancelled;
  g->kind.release = released;
  g->kind.access = may;
  if (lane != NULL) {
    g->kind.run = run;
    g->kind.flags |= *lane == 'c' ? SAROS_RUN_CPU : SAROS_RUN_LANE;
  }
  g->refs++;
  h->op = saros_op_new(&g->kind, g, name);
  if (h->op == NULL) {
    g->refs--;
    lua_pushnil(L);
    return 1;
  }
  if (!flag(L, "created")) {
    uint32_t code = saros_op_start(h->op);
    if (code != 0) return luaL_error(L, "not started: %d", (int)code);
  }
  return 1;
}

static int gate_op(lua_State *L) {
  saros_push(L, check(L)->op);
  return 1;
}

static int gate_start(lua_State *L) {
  lua_pushinteger(L, saros_op_start(check(L)->op));
  return 1;
}

/* Work whose gate is gone can never end by itself: it is ended when the state
   closes, or it would look like a leak. */
typedef struct unended {
  struct unended *next;
  saros_op *op;
} unended;

static unended *unended_list;

static void end_at_close(saros_op *op) {
  unended *u = malloc(sizeof *u);
  if (u == NULL) return;
  u->op = op;
  u->next = unended_list;
  unended_list = u;
}

static int end_all(lua_State *L) {
  (void)L;
  while (unended_list != NULL) {
    unended *u = unended_list;
    unended_list = u->next;
    saros_op_finish(u->op, SAROS_E_FAIL, NULL);
    saros_op_unref(u->op);
    free(u);
  }
  return 0;
}

static int gate_gc(lua_State *L) {
  holder *h = lua_touserdata(L, 1);
  gate *g = h->g;
  if (g == NULL) return 0;
  h->g = NULL;
  pthread_mutex_lock(&g->lock);
  g->opened = 1; /* nobody else could */
  pthread_cond_broadcast(&g->moved);
  pthread_mutex_unlock(&g->lock);
  if (h->op != NULL && g->kind.run == NULL && !saros_op_wait(h->op, 0))
    end_at_close(h->op);
  else if (h->op != NULL)
    saros_op_unref(h->op);
  unref(g);
  return 0;
}

/* finish(code [, message]): what its run returns, or the end itself. */
static int gate_finish(lua_State *L) {
  holder *h = check(L);
  uint32_t code = (uint32_t)luaL_checkinteger(L, 2);
  const char *message = luaL_optstring(L, 3, NULL);
  if (h->g->kind.run == NULL) {
    lua_pushboolean(L, saros_op_finish(h->op, code, message));
    return 1;
  }
  pthread_mutex_lock(&h->g->lock);
  h->g->code = code;
  h->g->opened = 1;
  pthread_cond_broadcast(&h->g->moved);
  pthread_mutex_unlock(&h->g->lock);
  return 0;
}

/* fail(code, message, number, server): the end, with what a server said. */
static int gate_fail(lua_State *L) {
  holder *h = check(L);
  uint32_t code = (uint32_t)luaL_checkinteger(L, 2);
  const char *message = luaL_checkstring(L, 3);
  lua_Integer number = luaL_checkinteger(L, 4);
  size_t size;
  const char *server = luaL_checklstring(L, 5, &size);
  saros_value *more = saros_value_map();
  saros_value_put(more, "errno", saros_value_integer(number));
  saros_value_put(more, "retryable", saros_value_boolean(1));
  saros_value_put(more, "code", saros_value_integer(1)); /* is not its to say */
  saros_value_put(more, "server", saros_value_bytes(server, size));
  lua_pushboolean(L, saros_op_fail(h->op, code, message, more));
  return 1;
}

/* finish_later(code): on another thread. */
typedef struct later {
  saros_op *op;
  uint32_t code;
} later;

static void *finish_on_thread(void *argument) {
  later l = *(later *)argument;
  free(argument);
  saros_op_finish(l.op, l.code, NULL);
  saros_op_unref(l.op);
  return NULL;
}

static int gate_finish_later(lua_State *L) {
  holder *h = check(L);
  later *l = malloc(sizeof *l);
  if (l == NULL) return luaL_error(L, "not enough memory");
  l->op = saros_op_ref(h->op);
  l->code = (uint32_t)luaL_checkinteger(L, 2);
  pthread_t id;
  if (pthread_create(&id, NULL, finish_on_thread, l) != 0)
    return luaL_error(L, "no thread");
  pthread_detach(id);
  return 0;
}

static int gate_end(lua_State *L) {
  uint32_t code = (uint32_t)luaL_checkinteger(L, 2);
  const char *message = luaL_optstring(L, 3, NULL);
  lua_pushboolean(L, saros_op_end(check(L)->op, code, message));
  return 1;
}

static int gate_output(lua_State *L) {
  size_t size;
  const char *json = luaL_checklstring(L, 2, &size);
  lua_pushinteger(L, saros_op_output_json(check(L)->op, json, size));
  return 1;
}

static int gate_progress(lua_State *L) {
  saros_op_progress(check(L)->op, (uint64_t)luaL_checkinteger(L, 2),
                    (uint64_t)luaL_checkinteger(L, 3));
  return 0;
}

static int gate_phase(lua_State *L) {
  saros_op_phase(check(L)->op, luaL_checkstring(L, 2));
  return 0;
}

static int gate_cleanup(lua_State *L) {
  saros_op_cleanup_failed(check(L)->op, luaL_checkstring(L, 2));
  return 0;
}

static int gate_no_return(lua_State *L) {
  lua_pushboolean(L, saros_op_point_of_no_return(check(L)->op));
  return 1;
}

static int gate_retry(lua_State *L) {
  lua_pushboolean(
      L, saros_op_retry_wait(check(L)->op, (uint32_t)luaL_checkinteger(L, 2),
                             (uint32_t)luaL_checkinteger(L, 3)));
  return 1;
}

static int gate_running(lua_State *L) {
  lua_pushboolean(L, saros_op_running(check(L)->op));
  return 1;
}

static int gate_deny(lua_State *L) {
  check(L)->g->denied = (uint32_t)luaL_checkinteger(L, 2);
  return 0;
}

/* Waits (bounded by the spec's own time limit) until its run has begun. */
static int gate_entered(lua_State *L) {
  gate *g = check(L)->g;
  pthread_mutex_lock(&g->lock);
  while (!g->entered) pthread_cond_wait(&g->moved, &g->lock);
  pthread_mutex_unlock(&g->lock);
  return 0;
}

static int gate_cancels(lua_State *L) {
  gate *g = check(L)->g;
  pthread_mutex_lock(&g->lock);
  lua_pushinteger(L, g->cancelled);
  pthread_mutex_unlock(&g->lock);
  return 1;
}

/* bits() --> method's return, flags, win32, transport, retries */
static int gate_bits(lua_State *L) {
  uint32_t a = 0, b = 0, c = 0, d = 0;
  lua_pushinteger(L, saros_bits_get_status(check(L)->op, &a, &b, &c, &d));
  lua_pushinteger(L, a);
  lua_pushinteger(L, b);
  lua_pushinteger(L, c);
  lua_pushinteger(L, d);
  return 5;
}

static uint32_t nothing(saros_op *op, void *self) {
  (void)op;
  (void)self;
  return 0;
}

static const saros_kind work_kind = {.size = sizeof(saros_kind),
                                     .name = "test.work",
                                     .flags = SAROS_CANCELLABLE | SAROS_RUN_CPU,
                                     .run = nothing};

/* work() --> op: nothing, done on the CPU pool. */
static int work(lua_State *L) {
  saros_op *op = saros_op_new(&work_kind, NULL, NULL);
  if (op == NULL) return luaL_error(L, "not enough memory");
  uint32_t code = saros_op_start(op);
  saros_push(L, op);
  saros_op_unref(op);
  if (code != 0) return luaL_error(L, "not started");
  return 1;
}

/* poll(fd, ms) --> readable: as a host's loop looks. */
static int poll_fd(lua_State *L) {
  struct pollfd ask = {.fd = (int)luaL_checkinteger(L, 1), .events = POLLIN};
  int r = poll(&ask, 1, (int)luaL_optinteger(L, 2, 0));
  lua_pushboolean(L, r > 0 && (ask.revents & POLLIN) != 0);
  return 1;
}

/* deadline(seconds, name): without a new one by then the process ends and
   says so. 0: none. */
static char deadline_text[200];

static void too_late(int signal) {
  (void)signal;
  size_t n = strlen(deadline_text);
  if (write(STDERR_FILENO, deadline_text, n) < 0) _exit(4);
  _exit(3);
}

static int deadline(lua_State *L) {
  unsigned seconds = (unsigned)luaL_checkinteger(L, 1);
  const char *name = luaL_optstring(L, 2, "a spec");
  alarm(0);
  strcpy(deadline_text, "HANGS: ");
  strncat(deadline_text, name, sizeof deadline_text - 10);
  strcat(deadline_text, "\n");
  signal(SIGALRM, too_late);
  alarm(seconds);
  return 0;
}

/* What warn() and lua_warning say: warnings() starts to collect, and returns
   what was collected since, or nothing. */
static char warned[4096];

static void collect_warning(void *context, const char *text, int more) {
  (void)context;
  size_t used = strlen(warned);
  strncat(warned, text, sizeof warned - used - 2);
  if (!more) strcat(warned, "\n");
}

static int warnings(lua_State *L) {
  lua_setwarnf(L, collect_warning, NULL);
  lua_pushstring(L, warned);
  warned[0] = '\0';
  return 1;
}

/* How many descriptors, or threads, this process has. */
static int entries(lua_State *L, const char *path) {
  int count = 0;
  DIR *d = opendir(path);
  if (d == NULL) return luaL_error(L, "no %s", path);
  for (struct dirent *e; (e = readdir(d)) != NULL;)
    if (e->d_name[0] != '.') count++;
  closedir(d);
  lua_pushinteger(L, count);
  return 1;
}

static int fds(lua_State *L) {
  return entries(L, "/proc/self/fd");
}

static int threads(lua_State *L) {
  return entries(L, "/proc/self/task");
}

/* fork(f) --> what f returned in the child, as an exit status. */
static int do_fork(lua_State *L) {
  luaL_checktype(L, 1, LUA_TFUNCTION);
  lua_settop(L, 1);
  pid_t pid = fork();
  if (pid < 0) return luaL_error(L, "no fork");
  if (pid == 0) {
    int r = lua_pcall(L, 0, 1, 0);
    _exit(r == LUA_OK ? (int)lua_tointeger(L, -1) : 99);
  }
  int status = 0;
  waitpid(pid, &status, 0);
  lua_pushinteger(L, WIFEXITED(status) ? WEXITSTATUS(status) : -1);
  return 1;
}

static const luaL_Reg methods[] = {{"op", gate_op},
                                   {"start", gate_start},
                                   {"finish", gate_finish},
                                   {"fail", gate_fail},
                                   {"finish_later", gate_finish_later},
                                   {"end_with", gate_end},
                                   {"output", gate_output},
                                   {"progress", gate_progress},
                                   {"phase", gate_phase},
                                   {"cleanup", gate_cleanup},
                                   {"no_return", gate_no_return},
                                   {"retry", gate_retry},
                                   {"running", gate_running},
                                   {"deny", gate_deny},
                                   {"entered", gate_entered},
                                   {"cancels", gate_cancels},
                                   {"bits", gate_bits},
                                   {NULL, NULL}};

/* Monotonic seconds, for benchmarks. */
static int wall(lua_State *L) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  lua_pushnumber(L, (double)t.tv_sec + (double)t.tv_nsec / 1e9);
  return 1;
}

static const luaL_Reg functions[] = {{"gate", new_gate},
                                     {"work", work},
                                     {"poll", poll_fd},
                                     {"deadline", deadline},
                                     {"warnings", warnings},
                                     {"fds", fds},
                                     {"threads", threads},
                                     {"fork", do_fork},
                                     {"wall", wall},
                                     {"foreign", new_foreign},
                                     {NULL, NULL}};

int luaopen_testmod(lua_State *L) {
  if (saros_api_get(L) == NULL)
    return luaL_error(L, "require \"saros\" before testmod");
  lua_newuserdatauv(L, 0, 0); /* finalized after every gate */
  lua_createtable(L, 0, 1);
  lua_pushcfunction(L, end_all);
  lua_setfield(L, -2, "__gc");
  lua_setmetatable(L, -2);
  lua_setfield(L, LUA_REGISTRYINDEX, "testmod.end_all");
  luaL_newmetatable(L, "testmod.gate");
  lua_pushcfunction(L, gate_gc);
  lua_setfield(L, -2, "__gc");
  luaL_newlib(L, methods);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
  luaL_newlib(L, functions);
  luaL_newlib(L, system_functions);
  lua_setfield(L, -2, "system");
  return 1;
}
