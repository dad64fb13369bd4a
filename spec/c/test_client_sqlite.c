/*
** The queue of a SQLite connection, its workers and its end, without Lua: from
** many threads at once, with no memory, and across a fork. What SQLite answers
** is spec/sqlite_spec.lua's.
*/
#include "check.h"

#ifndef HAS_SQLITE

int main(void) {
  printf(
      "SKIPPED all: there is no sqlite3.h here\n0 passed, 0 failed, "
      "1 skipped\n");
  return 0;
}

#else

#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/value.h"
#include "client/sqlite.h"
#include "gate.h"
#include "op/engine.h"
#include "op/op.h"
#include "op/thread.h"

/* The client has the engine through the table, as in its own module. */
extern const saros_api *saros_api_table;
const saros_api *saros_api_table;

#define ENDLESS                                                      \
  "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) " \
  "SELECT count(*) FROM c"

static char directory[] = "/tmp/saros-sqlite-XXXXXX";

static const char *in_directory(const char *name) {
  static char path[300];
  snprintf(path, sizeof path, "%s/%s", directory, name);
  return path;
}

static void wipe(void) {
  DIR *d = opendir(directory);
  for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;)
    if (e->d_name[0] != '.') unlink(in_directory(e->d_name));
  if (d != NULL) closedir(d);
}

static sqlite *open_it(const char *name) {
  sqlite_options o = {
      .path = in_directory(name), .busy_ms = 600000, .create = true};
  return sqlite_open(&o);
}

static saros_op *ask(sqlite *c, const char *sql, bool rows) {
  question q = {.sql = sql, .size = strlen(sql), .rows = rows};
  return sqlite_ask(c, &q);
}

/* Waits, lets go, and says how it ended. */
static uint32_t end_of(saros_op *op) {
  if (op == NULL) return SAROS_E_OUTOFMEMORY;
  CHECK(saros_op_wait(op, GATE_BOUND_MS));
  uint32_t code = saros_op_code(op);
  saros_op_unref(op);
  return code;
}

static int64_t number(sqlite *c, const char *sql) {
  saros_op *op = ask(c, sql, true);
  CHECK(op != NULL && saros_op_wait(op, GATE_BOUND_MS));
  const value *rows = op_output(op);
  int64_t n = -1;
  if (rows != NULL && rows->count == 1 && rows->as.items[0]->count == 1)
    n = value_integer(rows->as.items[0]->as.fields[0].item, -1);
  saros_op_unref(op);
  return n;
}

static void close_it(sqlite *c) {
  CHECK_INT(end_of(sqlite_close(c, true)), SAROS_S_OK);
  sqlite_unref(c);
}

/* The engine stops with the last of them. The last to leave was a worker, so
   nobody has joined that thread yet. */
static int threads_before;

static void all_ended(void) {
  GATE_UNTIL(engine_users() == 0);
  GATE_UNTIL(gate_count().threads <= threads_before);
  thread_join_left();
}

TEST(in_order) {
  sqlite *c = open_it("order");
  saros_op *ops[200];
  CHECK_INT(end_of(ask(c, "CREATE TABLE t (n)", false)), SAROS_S_OK);
  for (int i = 0; i < 200; i++)
    ops[i] = ask(c, "INSERT INTO t SELECT count(*) FROM t", false);
  CHECK_INT(number(c, "SELECT count(*) FROM t WHERE n = rowid - 1"), 200);
  for (int i = 0; i < 200; i++) CHECK_INT(end_of(ops[i]), SAROS_S_OK);
  close_it(c);
  all_ended();
}

TEST(closed_by_the_last_reference) {
  sqlite *c = open_it("last");
  saros_op *op =
      ask(c, "CREATE TABLE t (n); BEGIN; INSERT INTO t VALUES (1)", false);
  sqlite_unref(c); /* its operation has one */
  CHECK_INT(end_of(op), SAROS_S_OK);
  all_ended();
  c = open_it("last");
  CHECK_INT(number(c, "SELECT count(*) FROM t"), 0);
  close_it(c);
  all_ended();
}

TEST(closed_is_closed) {
  sqlite *c = open_it("closed");
  saros_op *long_one = ask(c, ENDLESS, true);
  saros_op *queued = ask(c, "SELECT 1", true);
  saros_op *closing = sqlite_close(c, true);
  CHECK(sqlite_close(c, true) == NULL);
  CHECK_INT(end_of(ask(c, "SELECT 1", true)), SAROS_E_CLOSED);
  CHECK_INT(end_of(long_one), SAROS_E_CANCELLED);
  CHECK_INT(end_of(queued), SAROS_E_CANCELLED);
  saros_op_cancel(closing); /* which is not to be had */
  CHECK_INT(end_of(closing), SAROS_S_OK);
  sqlite_unref(c);
  all_ended();
}

/* Nobody cancels: what was asked before the end is done. */
TEST(closed_behind_what_was_asked) {
  sqlite *c = open_it("behind");
  saros_op *first = ask(c, "CREATE TABLE t (n)", false);
  saros_op *second = ask(c, "INSERT INTO t VALUES (1)", false);
  saros_op *closing = sqlite_close(c, false);
  sqlite_unref(c);
  CHECK_INT(end_of(closing), SAROS_S_OK);
  CHECK_INT(end_of(first), SAROS_S_OK);
  CHECK_INT(end_of(second), SAROS_S_OK);
  all_ended();
}

#ifdef SAROS_TEST
TEST(without_memory) {
  sqlite *c = open_it("memory");
  CHECK_INT(end_of(ask(c,
                       "CREATE TABLE t (a, b, c); INSERT INTO t VALUES "
                       "(1, 2.5, 'x'), (2, NULL, x'00'), (3, '', 9e999)",
                       false)),
            SAROS_S_OK);
  int without = 0, good = 0;
  for (long n = 1; good < 20 && n < 1000; n++) {
    mem_fail_at(n);
    uint32_t code = end_of(ask(c, "SELECT * FROM t", n % 2));
    mem_fail_at(0);
    CHECK(code == SAROS_S_OK || code == SAROS_E_OUTOFMEMORY);
    without += code != SAROS_S_OK;
    good = code == SAROS_S_OK ? good + 1 : 0;
  }
  CHECK(without > 5);
  CHECK_INT(good, 20);
  for (long n = 1; n < 12; n++) {
    sqlite *other = open_it("memory");
    CHECK_INT(number(other, "SELECT count(*) FROM t"), 3);
    mem_fail_at(n);
    saros_op *op = sqlite_close(other, true);
    if (op != NULL) end_of(op);
    mem_fail_at(0);
    sqlite_unref(other);
  }
  close_it(c);
  all_ended();
}
#endif

/* ------------------------------------------------------------------
** From many threads
** ---------------------------------------------------------------- */

enum { THREADS = 6, CONNECTIONS = 4 };

typedef struct storm {
  sqlite *_Atomic connections[CONNECTIONS];
  pthread_mutex_t lock; /* to exchange one */
  _Atomic int64_t inserted;
  _Atomic unsigned seed; /* of the next thread */
  int rounds;
} storm;

static sqlite *borrow(storm *s, unsigned i) {
  /* A closing operation would do for a reference, a statement does, too: who
     has the lock may ask. */
  pthread_mutex_lock(&s->lock);
  return s->connections[i];
}

static void *rage(void *argument) {
  storm *s = argument;
  unsigned seed = atomic_fetch_add(&s->seed, 1);
  for (int i = 0; i < s->rounds; i++) {
    unsigned which = (unsigned)rand_r(&seed) % CONNECTIONS;
    int what = rand_r(&seed) % 16;
    sqlite *c = borrow(s, which);
    if (what == 0) {
      saros_op *op = sqlite_close(c, rand_r(&seed) % 2);
      sqlite_unref(c);
      s->connections[which] = open_it("storm");
      pthread_mutex_unlock(&s->lock);
      if (op != NULL) CHECK_INT(end_of(op), SAROS_S_OK);
      continue;
    }
    saros_op *op = what < 4 ? ask(c, ENDLESS, true)
                            : ask(c, "INSERT INTO t VALUES (1)", false);
    pthread_mutex_unlock(&s->lock);
    if (op == NULL) continue;
    if (what < 8) saros_op_cancel(op);
    uint32_t code = end_of(op);
    CHECK(code == SAROS_S_OK || code == SAROS_E_CANCELLED);
    /* A cancel that came too late has lost. */
    if (what >= 4 && code == SAROS_S_OK) s->inserted++;
  }
  return NULL;
}

TEST(storm) {
  const char *quick = getenv("SAROS_QUICK"), *lasting = getenv("SAROS_LONG");
  storm s = {.rounds = lasting != NULL ? 3000 : quick != NULL ? 15 : 100};
  pthread_mutex_init(&s.lock, NULL);
  s.seed = (unsigned)gate_seed("storm");
  sqlite *c = open_it("storm");
  CHECK_INT(end_of(ask(c,
                       "PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; "
                       "CREATE TABLE t (n)",
                       false)),
            SAROS_S_OK);
  for (int i = 0; i < CONNECTIONS; i++) s.connections[i] = open_it("storm");
  pthread_t threads[THREADS];
  for (int i = 0; i < THREADS; i++) pthread_create(&threads[i], NULL, rage, &s);
  for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
  for (int i = 0; i < CONNECTIONS; i++) close_it(s.connections[i]);
  /* What was cancelled may have been done; what was done is there. */
  CHECK(number(c, "SELECT count(*) FROM t") >= s.inserted);
  CHECK(s.inserted > 0);
  close_it(c);
  pthread_mutex_destroy(&s.lock);
  all_ended();
}

TEST(in_the_child_of_a_fork) {
  sqlite *c = open_it("fork");
  CHECK_INT(end_of(ask(c, "CREATE TABLE t (n); BEGIN; INSERT INTO t VALUES (1)",
                       false)),
            SAROS_S_OK);
  all_ended();
  CHECK(!sqlite_is_inherited(c));
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    bool inherited = sqlite_is_inherited(c);
    sqlite_unref(c); /* frees; does not touch the file */
    _exit(inherited ? 0 : 1);
  }
  int status = -1;
  CHECK_INT(waitpid(pid, &status, 0), pid);
  CHECK_INT(status, 0);
  CHECK_INT(end_of(ask(c, "COMMIT", false)), SAROS_S_OK);
  CHECK_INT(number(c, "SELECT count(*) FROM t"), 1);
  close_it(c);
  all_ended();
}

int main(int argc, char **argv) {
  saros_api_table = saros_api_own();
  if (mkdtemp(directory) == NULL) return 2;
  gate_begin(argc, argv);
  threads_before = gate_count().threads;
  RUN(in_order);
  RUN(closed_by_the_last_reference);
  RUN(closed_is_closed);
  RUN(closed_behind_what_was_asked);
#ifdef SAROS_TEST
  RUN(without_memory);
#endif
  RUN(storm);
  RUN(in_the_child_of_a_fork);
  wipe();
  rmdir(directory);
  return check_end();
}

#endif
