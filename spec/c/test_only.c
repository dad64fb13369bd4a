/*
** Two engines in one process: a second copy of the library, loaded as a
** module, is refused while the first one's engine runs, and the other way
** round. The copy is built here, with $CC (cc), from the sources in
** $SAROS_CSRC (csrc); without a compiler the test is skipped.
*/
#include <dlfcn.h>
#include <glob.h>
#include <sys/wait.h>

#include "gate.h"
#include "op/only.h"

/* The other copy's functions, behind its table. */
typedef struct copy {
  void *module;
  const saros_api *api;
  uint32_t (*acquire)(void);
  void (*release)(void);
  unsigned (*fds)(void);
  unsigned (*users)(void);
} copy;

static char scratch[] = "/tmp/saros-only-XXXXXX";

/* What of the library is there: everything but Lua's room. */
static bool build(const char *path) {
  const char *sources = getenv("SAROS_CSRC"), *cc = getenv("CC");
  char command[2048];
  if (sources == NULL) sources = "csrc";
  if (cc == NULL) cc = "cc";
  snprintf(command, sizeof command,
           "%s -std=c11 -D_GNU_SOURCE -DSAROS_STATIC -DSAROS_TEST -I%s -O1 "
           "-fPIC -shared -w -o %s %s/base/*.c %s/op/*.c %s/vss/status.c "
           "%s/wsb/*.c %s/vds/status.c %s/bits/status.c %s/api.c "
           "${SAROS_EXTRA:-} -Wl,-Bsymbolic -lpthread >%s.log 2>&1",
           cc, sources, path, sources, sources, sources, sources, sources,
           sources, sources, path);
  return system(command) == 0;
}

static bool load(copy *c, const char *path) {
  memset(c, 0, sizeof *c);
  c->module = dlopen(path, RTLD_NOW | RTLD_LOCAL);
  if (c->module == NULL) {
    printf("%s\n", dlerror());
    return false;
  }
  const saros_api *(*own)(void);
  *(void **)&own = dlsym(c->module, "saros_api_own");
  *(void **)&c->acquire = dlsym(c->module, "engine_acquire");
  *(void **)&c->release = dlsym(c->module, "engine_release");
  *(void **)&c->users = dlsym(c->module, "engine_users");
  *(void **)&c->fds = dlsym(c->module, "fd_count");
  c->api = own();
  return c->api != saros_api_own() && c->acquire != engine_acquire;
}

/* An operation lets go of the engine a moment after its wait has returned; and
   who starts and stops one himself then sees it gone. */
static void settle(uint32_t (*acquire)(void), void (*release)(void),
                   unsigned (*users)(void)) {
  GATE_UNTIL(users() == 0);
  if (acquire() == 0) release();
}

static void works(const saros_api *api) {
  saros_op *op = api->sleep(0);
  CHECK(op != NULL);
  if (op == NULL) return;
  CHECK(api->op_wait(op, GATE_BOUND_MS));
  CHECK_INT(api->op_code(op), 0);
  api->op_unref(op);
}

typedef struct racer {
  uint32_t (*acquire)(void);
  void (*release)(void);
  pthread_barrier_t *start;
  atomic_int *inside;
  long rounds, got;
  int bad;
} racer;

static void *race(void *argument) {
  racer *r = argument;
  pthread_barrier_wait(r->start);
  for (long i = 0; i < r->rounds; i++) {
    uint32_t code = r->acquire();
    if (code == SAROS_E_ENGINE) continue;
    if (code != 0) r->bad++;
    if (atomic_fetch_add(r->inside, 1) != 0) r->bad++;
    r->got++;
    atomic_fetch_sub(r->inside, 1);
    r->release();
  }
  return NULL;
}

TEST(a_second_engine_is_refused) {
  char path[128];
  copy other;
  if (GATE_TSAN) SKIP("the copy is not instrumented");
  if (mkdtemp(scratch) == NULL) SKIP("no scratch directory");
  snprintf(path, sizeof path, "%s/copy.so", scratch);
  if (!build(path)) SKIP("the copy could not be built");
  CHECK(load(&other, path));
  if (other.module == NULL) return;
  gate_counts before = gate_count();
  /* Ours runs: the other is refused, and has nothing left open. */
  CHECK_INT(engine_acquire(), 0);
  CHECK_INT(other.acquire(), SAROS_E_ENGINE);
  CHECK(other.api->sleep(0) == NULL);
  CHECK_INT(other.fds(), 0);
  works(saros_api_own());
  engine_release();
  settle(engine_acquire, engine_release, engine_users);
  /* Ours has stopped: the other may, and then we may not. */
  CHECK_INT(other.acquire(), 0);
  works(other.api);
  CHECK_INT(engine_acquire(), SAROS_E_ENGINE);
  CHECK(saros_sleep(0) == NULL);
  CHECK(only_claim() == false);
  /* A child has neither engine: there we may. */
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    uint32_t code = engine_acquire();
    if (code == 0) engine_release();
    _exit(code != 0 || check_bad > 0);
  }
  int status = -1;
  waitpid(pid, &status, 0);
  CHECK_INT(status, 0);
  other.release();
  settle(other.acquire, other.release, other.users);
  works(saros_api_own());
  settle(engine_acquire, engine_release, engine_users);
  CHECK(gate_back_to(before));
  /* Both at once, often: never both inside. */
  atomic_int inside = 0;
  pthread_barrier_t start;
  pthread_barrier_init(&start, NULL, 2);
  long rounds = gate_loops(2000);
  racer a = {engine_acquire, engine_release, &start, &inside, rounds, 0, 0};
  racer b = {other.acquire, other.release, &start, &inside, rounds, 0, 0};
  pthread_t id;
  CHECK_INT(pthread_create(&id, NULL, race, &a), 0);
  race(&b);
  pthread_join(id, NULL);
  CHECK_INT(a.bad, 0);
  CHECK_INT(b.bad, 0);
  printf("of %ld each, %ld and %ld started\n", rounds, a.got, b.got);
  CHECK(gate_back_to(before));
  unlink(path);
  strcat(path, ".log");
  unlink(path);
  rmdir(scratch);
}

int main(int argc, char **argv) {
  gate_begin(argc, argv);
  GATE_RUN(a_second_engine_is_refused);
  return check_end();
}
