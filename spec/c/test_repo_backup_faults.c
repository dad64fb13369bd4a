/*
** Backups that are disturbed: what changes while it is read, what cannot be
** read, stores that fail, memory that runs out, a cancel and a kill at every
** step. Whatever happens: restic finds nothing wrong, no version is there that
** is not whole, and the next backup completes.
**
** not under valgrind: its children are killed; ASan runs it
*/
#include <sys/resource.h>

#include "backup_case.h"

#define ALL "{\"paths\":[\"@/src\"]}"

/* Small, and with everything that takes another way through the code. */
static void put_some(void) {
  put_random("src/large", 11, 3000000);
  put_random("src/small", 12, 5000);
  put_text("src/zero", "");
  make_directory("src/d");
  make_directory("src/d/e");
  put_random("src/d/one", 13, 100000);
  put_random("src/d/e/two", 14, 600000);
  put_text("src/d/e/text", "text text text text text text text text");
  CHECK(symlink("x", at("src/d/link")) == 0);
}

/* It goes on as if nothing had been: by this process, and by another. */
static void completes(repo *r, const char *name) {
  saros_op *op = backed_up(r, ALL, 0);
  CHECK_INT(number_in(op, "files"), 6);
  saros_op_unref(op);
  CHECK_INT(store_count(r->store, REPO_LOCKS), 0);
  if (!has_restic()) return;
  CHECK(restic_checks(name));
  value *v = restic_backup(name, "--force $PWD");
  CHECK_INT(value_integer(value_get(v, "data_blobs"), -1), 0);
  CHECK_INT(value_integer(value_get(v, "tree_blobs"), -1), 0);
  value_free(v);
}


/* ------------------------------------------------------------------
** What changes meanwhile
** ---------------------------------------------------------------- */

static const char *wanted_what, *wanted_name;
static void (*wanted)(backup *b);
static _Atomic int times;

static void hook(backup *b, const char *what, const char *name) {
  if (wanted_what != NULL && strcmp(what, wanted_what) != 0) return;
  if (wanted_name != NULL && strcmp(name, wanted_name) != 0) return;
  if (atomic_fetch_add(&times, 1) == 0) wanted(b);
}

static void at_hook(const char *what, const char *name,
                    void (*call)(backup *b)) {
  wanted_what = what;
  wanted_name = name;
  wanted = call;
  times = 0;
  repo_backup_test = call != NULL ? hook : NULL;
}

static void vanish(backup *b) {
  (void)b;
  CHECK(unlink(at("src/small")) == 0);
  CHECK(run_shell(NULL, "rm -r %s", at("src/d/e")));
}

static void turn(backup *b) {
  (void)b;
  CHECK(unlink(at("src/small")) == 0);
  make_directory("src/small");
}

static void shrink(backup *b) {
  (void)b;
  CHECK(truncate(at("src/large"), 1000) == 0);
}

static void grow(backup *b) {
  (void)b;
  put_random("src/small", 15, 2000000);
}

TEST(vanishes) {
  place_make();
  put_some();
  repo *r = repo_made("r", 2);
  at_hook("entry", "d", vanish);
  saros_op *op = backed_up(r, ALL, 0);
  CHECK(times > 0);
  CHECK_INT(number_in(op, "failed"), 0); /* as if it had never been */
  CHECK_INT(number_in(op, "files"), 3);
  saros_op_unref(op);
  at_hook(NULL, NULL, NULL);
  CHECK(restic_checks("r"));
  repo_unref(r);
  place_end();
}

TEST(turns_into_a_directory) {
  place_make();
  put_some();
  repo *r = repo_made("r", 2);
  at_hook("file", "small", turn);
  saros_op *op = backed_up(r, ALL, SAROS_S_PARTIAL);
  at_hook(NULL, NULL, NULL);
  CHECK_INT(number_in(op, "failed"), 1);
  const value *errors = value_get(op_output(op), "errors");
  const char *path =
      errors != NULL && errors->count == 1
          ? value_chars(value_get(errors->as.items[0], "path"), "")
          : "";
  CHECK_TEXT(path, at("src/small"));
  saros_op_unref(op);
  CHECK(restic_checks("r"));
  repo_unref(r);
  place_end();
}

TEST(shrinks) {
  place_make();
  put_some();
  repo *r = repo_made("r", 2);
  at_hook("opened", "large", shrink);
  saros_op *op = backed_up(r, ALL, 0);
  at_hook(NULL, NULL, NULL);
  saros_op_unref(op);
  CHECK(restic_checks("r"));
  repo_unref(r);
  place_end();
}

TEST(grows) {
  place_make();
  put_some();
  repo *r = repo_made("r", 2);
  at_hook("opened", "small", grow);
  saros_op *op = backed_up(r, ALL, 0);
  CHECK(number_in(op, "bytes") > 5000000);
  at_hook(NULL, NULL, NULL);
  saros_op_unref(op);
  CHECK(restic_checks("r"));
  /* What it is now is found changed. */
  op = backed_up(r, ALL, 0);
  CHECK_INT(number_in(op, "files_changed"), 1);
  saros_op_unref(op);
  repo_unref(r);
  place_end();
}

/* Our own memory at address 0 cannot be read, whoever asks. */
TEST(cannot_be_read) {
  place_make();
  put_some();
  repo *r = repo_made("r", 2);
  saros_op *op =
      backed_up(r, "{\"paths\":[\"@/src\",\"/proc/self/mem\",\"@/nowhere\"]}",
                SAROS_S_PARTIAL);
  CHECK_INT(number_in(op, "failed"), 2);
  CHECK_INT(number_in(op, "files"), 6);
  saros_op_unref(op);
  op = backed_up(r, "{\"paths\":[\"@/nowhere\"]}", SAROS_E_FAIL);
  CHECK(failed_says(op, "nothing could be read"));
  saros_op_unref(op);
  CHECK_INT(store_count(r->store, REPO_SNAPSHOTS), 1);
  CHECK(restic_checks("r"));
  repo_unref(r);
  place_end();
}


/* ------------------------------------------------------------------
** Cancelling
** ---------------------------------------------------------------- */

static saros_op *_Atomic to_cancel;

static void cancel(backup *b) {
  CHECK_INT(saros_op_cancel(b->c->op), 0);
}

TEST(cancelled_at_each_step) {
  static const char *const steps[][2] = {
      {"entry", NULL},     {"entry", "two"},     {"file", "small"},
      {"opened", "large"}, {"segment", "large"}, {"walked", NULL},
      {"version", NULL}};
  place_make();
  put_some();
  repo *r = repo_made("r", 2);
  for (size_t i = 0; i < sizeof steps / sizeof steps[0]; i++) {
    at_hook(steps[i][0], steps[i][1], cancel);
    saros_op *op = backed_up(r, ALL, SAROS_E_CANCELLED);
    CHECK(times > 0);
    saros_op_unref(op);
    at_hook(NULL, NULL, NULL);
    CHECK_INT(store_count(r->store, REPO_SNAPSHOTS), 0);
    CHECK_INT(store_count(r->store, REPO_LOCKS), 0);
  }
  completes(r, "r");
  repo_unref(r);
  place_end();
}

/* A pause holds every thread; then it goes on. */
static void pause_it(backup *b) {
  CHECK(saros_op_pause(b->c->op));
  to_cancel = b->c->op;
}

TEST(paused) {
  place_make();
  put_some();
  repo *r = repo_made("r", 2);
  to_cancel = NULL;
  at_hook("entry", "d", pause_it);
  saros_op *op = begin(r, ALL);
  GATE_UNTIL(to_cancel != NULL);
  CHECK_INT(saros_op_state(op), SAROS_PAUSED);
  CHECK(!saros_op_wait(op, 50));
  CHECK(saros_op_resume(op));
  CHECK(saros_op_wait(op, GATE_BOUND_MS));
  CHECK_INT(saros_op_code(op), 0);
  saros_op_unref(op);
  at_hook(NULL, NULL, NULL);
  repo_unref(r);
  place_end();
}

/* What was stored before it was cancelled need not be stored again. */
static void put_much(void) {
  for (int i = 0; i < 12; i++) {
    char name[30];
    snprintf(name, sizeof name, "src/much%02d", i);
    put_random(name, 100 + (uint64_t)i, 1000000);
  }
}

/* What comes before it is more than three packs: one is stored for certain. */
static void cancel_with_packs(backup *b) {
  GATE_UNTIL(store_count(b->h->store, REPO_PACKS) > 0);
  cancel(b);
}

TEST(cancelled_loses_nothing) {
  place_make();
  put_some();
  put_much();
  repo *r = repo_made("r", 2);
  at_hook("entry", "small", cancel_with_packs);
  saros_op_unref(backed_up(r,
                           "{\"paths\":[\"@/src\"],\"pack_size\":\"4M\","
                           "\"read_concurrency\":1}",
                           SAROS_E_CANCELLED));
  at_hook(NULL, NULL, NULL);
  int64_t stored = store_bytes(r->store, REPO_PACKS);
  CHECK(stored > 0);
  CHECK_INT(store_count(r->store, REPO_INDEXES), 1);
  repo_unref(r);
  r = repo_open_at("r"); /* another process would see no more than this */
  CHECK_INT(store_code(repo_open(r, NULL)), 0);
  saros_op *op = backed_up(r, ALL, 0);
  /* 15.7 million in all, and what the packs need for themselves. */
  CHECK(number_in(op, "bytes_added") < 15900000 - stored);
  saros_op_unref(op);
  CHECK(restic_checks("r"));
  repo_unref(r);
  place_end();
}


/* ------------------------------------------------------------------
** Two at once
** ---------------------------------------------------------------- */

static saros_op *other;

/* The other one, of the same files, has everything claimed this moment, and
   will never store it. */
static void second(backup *b) {
  repo_backup_test = NULL;
  other = backed_up(b->c->r, ALL, 0);
  CHECK_INT(number_in(other, "files"), 6);
  CHECK_INT(saros_op_cancel(b->c->op), 0);
}

TEST(two_at_once) {
  place_make();
  put_some();
  repo *r = repo_made("r", 2);
  at_hook("walked", NULL, second);
  saros_op_unref(backed_up(r, ALL, SAROS_E_CANCELLED));
  saros_op_unref(other);
  CHECK_INT(store_count(r->store, REPO_SNAPSHOTS), 1);
  completes(r, "r");
  repo_unref(r);
  place_end();
}


/* ------------------------------------------------------------------
** Stores that fail
** ---------------------------------------------------------------- */

static long count_saves(void) {
  faulty_store f;
  repo *r = repo_made("other", 2);
  repo_store *real = r->store;
  r->store = faulty_around(&f, real);
  f.calls = STORE_CHANGES;
  f.kinds = 0xFF;
  saros_op_unref(backed_up(r, ALL, 0));
  r->store = real;
  repo_unref(r);
  return f.seen;
}

TEST(full_disk) {
  place_make();
  put_some();
  long saves = count_saves();
  CHECK(saves >= 5); /* a lock and back, two packs, an index, the version */
  repo *r = repo_made("r", 2);
  repo_store *real = r->store;
  for (long n = 1; n <= saves; n++) {
    faulty_store f;
    put_random("src/small", 500 + (uint64_t)n, 5000); /* what is not there */
    r->store = faulty_around(&f, real);
    f.calls = STORE_CHANGES;
    f.kinds = 0xFF;
    f.number = ENOSPC;
    f.left = n;
    saros_op *op = begin(r, ALL);
    CHECK(saros_op_wait(op, GATE_BOUND_MS));
    bool stored = saros_op_code(op) == 0;
    CHECK(stored == (n == saves)); /* only the lock's removal may fail */
    CHECK_INT(store_count(real, REPO_SNAPSHOTS), stored);
    saros_op_unref(op);
  }
  r->store = real;
  CHECK(run_shell(NULL, "rm -f %s/*", at("r/locks")));
  completes(r, "r");
  repo_unref(r);
  place_end();
}


/* ------------------------------------------------------------------
** Killed
** ---------------------------------------------------------------- */

static void die(backup *b) {
  (void)b;
  raise(SIGKILL);
}

/* In a child: at the n-th change of the store, or at a step. */
static void killed_child(long n, bool after) {
  faulty_store f;
  repo *r = repo_open_at("r");
  if (repo_open(r, NULL) != NULL) _exit(3);
  r->store = faulty_around(&f, r->store);
  f.calls = STORE_CHANGES;
  f.kinds = 0xFF;
  f.fault = after ? STORE_KILLS_AFTER : STORE_KILLS;
  f.left = n;
  saros_op *op = begin(r, ALL);
  saros_op_wait(op, GATE_BOUND_MS);
  _exit(saros_op_code(op) == 0 ? 0 : 4);
}

static int in_child(long n, bool after) {
  int status = -1;
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) killed_child(n, after);
  waitpid(child, &status, 0);
  return status;
}

/* A child made by a program that has threads cannot have a sanitizer's. */
TEST(killed_at_each_change) {
  if (GATE_TSAN) SKIP("ThreadSanitizer does not survive the fork");
  if (!has_restic()) SKIP("restic is not installed");
  place_make();
  put_text("src/first", "first");
  repo *r = repo_made("r", 2);
  saros_op_unref(backed_up(r, ALL, 0));
  repo_unref(r);
  CHECK(unlink(at("src/first")) == 0);
  put_some();
  for (long n = 1; n <= 12; n++) {
    int status = in_child((n + 1) / 2, n % 2);
    CHECK(WIFSIGNALED(status) || status == 0);
    CHECK(run_shell(NULL, "rm -f %s/*", at("r/locks")));
    CHECK(restic_checks("r"));
    put_random("src/small", 1000 + (uint64_t)n, 5000);
  }
  r = repo_open_at("r");
  CHECK_INT(store_code(repo_open(r, NULL)), 0);
  completes(r, "r");
  repo_unref(r);
  place_end();
}

static void kill_at_chance(uint64_t *seed) {
  long n = 1 + gate_below(seed, 40);
  int status = -1;
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    at_hook(NULL, NULL, die);
    times = (int)-n;
    killed_child(0, false);
  }
  waitpid(child, &status, 0);
  CHECK(WIFSIGNALED(status) || status == 0);
}

TEST(killed_by_chance) {
  if (GATE_TSAN) SKIP("ThreadSanitizer does not survive the fork");
  if (!has_restic()) SKIP("restic is not installed");
  uint64_t seed = gate_seed("killed_by_chance");
  place_make();
  put_some();
  put_much();
  repo_unref(repo_made("r", 2));
  for (long i = 0; i < gate_loops(10); i++) {
    kill_at_chance(&seed);
    CHECK(run_shell(NULL, "rm -f %s/*", at("r/locks")));
    if (i % 5 == 4) CHECK(restic_checks("r"));
    if (i % 5 == 4) put_random("src/much03", gate_random(&seed), 1000000);
  }
  repo *r = repo_open_at("r");
  CHECK_INT(store_code(repo_open(r, NULL)), 0);
  saros_op_unref(backed_up(r, ALL, 0));
  CHECK(restic_checks("r"));
  repo_unref(r);
  place_end();
}


/* ------------------------------------------------------------------
** Memory
** ---------------------------------------------------------------- */

/* The n-th request fails: then so does the backup, or it did not matter. */
TEST(no_memory) {
  place_make();
  put_some();
  repo *r = repo_made("r", 2);
  saros_op_unref(backed_up(r, ALL, 0));
  long failures = 0;
  bool reached = true;
  for (long n = 1; reached && n < 4000; n += n < 200 ? 1 : 7) {
    value *options = options_of("{\"paths\":[\"@/src\"],\"force\":true}");
    uint32_t why;
    long snapshots = store_count(r->store, REPO_SNAPSHOTS);
    mem_fail_at(n);
    saros_op *op =
        repo_call_begin(r, repo_work_find("backup"), options, NULL, &why);
    if (op == NULL) {
      mem_fail_at(0);
      continue;
    }
    CHECK(saros_op_wait(op, GATE_BOUND_MS));
    reached = mem_fail_left() == 0;
    mem_fail_at(0);
    uint32_t code = saros_op_code(op);
    failures += code != 0;
    if (code != 0 && code != SAROS_E_OUTOFMEMORY) {
      printf("at %ld: ", n);
      show_error(op);
    }
    CHECK(code == 0 || code == SAROS_E_OUTOFMEMORY);
    if (code != 0)
      CHECK(store_count(r->store, REPO_SNAPSHOTS) <= snapshots + 1);
    saros_op_unref(op);
  }
  CHECK(failures > 100);
  CHECK(!reached);
  CHECK(run_shell(NULL, "rm -f %s/*", at("r/locks")));
  completes(r, "r");
  repo_unref(r);
  place_end();
}

/* There is not even the memory to say what could not be read. */
TEST(no_memory_to_tell) {
  place_make();
  repo *r = repo_made("r", 2);
  bool reached = true;
  for (long n = 1; reached && n < 4000; n++) {
    value *options = options_of("{\"paths\":[\"@/nowhere\"]}");
    uint32_t why;
    mem_fail_at(n);
    saros_op *op =
        repo_call_begin(r, repo_work_find("backup"), options, NULL, &why);
    if (op != NULL) CHECK(saros_op_wait(op, GATE_BOUND_MS));
    reached = mem_fail_left() == 0;
    mem_fail_at(0);
    uint32_t code = op != NULL ? saros_op_code(op) : SAROS_E_OUTOFMEMORY;
    CHECK(code == SAROS_E_FAIL || code == SAROS_E_OUTOFMEMORY);
    if (op != NULL) saros_op_unref(op);
  }
  CHECK(!reached);
  CHECK_INT(store_count(r->store, REPO_SNAPSHOTS), 0);
  repo_unref(r);
  place_end();
}

/* Nobody uses it any more, and its thread has closed what it had. */
static void engine_has_gone(void) {
  GATE_UNTIL(engine_users() == 0 && fd_count() == 0);
}

/* Nothing is left of it: no memory, no descriptor, no thread. */
TEST(leaves_nothing) {
  place_make();
  put_some();
  repo *r = repo_made("r", 2);
  saros_op_unref(backed_up(r, ALL, 0));
  repo_unref(r);
  engine_has_gone();
  gate_counts was = gate_count();
  r = repo_open_at("r");
  CHECK_INT(store_code(repo_open(r, NULL)), 0);
  saros_op_unref(backed_up(r, ALL, 0));
  at_hook("segment", "large", cancel);
  saros_op_unref(backed_up(r, "{\"paths\":[\"@/src\"],\"force\":true}",
                           SAROS_E_CANCELLED));
  at_hook(NULL, NULL, NULL);
  repo_unref(r);
  engine_has_gone();
  CHECK(gate_back_to(was));
  place_end();
}


/* ------------------------------------------------------------------
** Large trees
** ---------------------------------------------------------------- */

/* Deeper than there may be open files. */
TEST(deep) {
  struct rlimit was, few;
  place_make();
  int fd = open(at("src"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  for (int i = 0; i < 300; i++) {
    CHECK(mkdirat(fd, "d", 0755) == 0 && mkdirat(fd, "e", 0755) == 0);
    int below = openat(fd, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    close(fd);
    fd = below;
  }
  close(fd);
  repo *r = repo_made("r", 2);
  getrlimit(RLIMIT_NOFILE, &was);
  few = was;
  few.rlim_cur = 120;
  setrlimit(RLIMIT_NOFILE, &few);
  saros_op *op = backed_up(r, ALL, 0);
  CHECK_INT(number_in(op, "dirs_new"), 602);
  CHECK_INT(number_in(op, "failed"), 0);
  saros_op_unref(op);
  op = backed_up(r, ALL, 0);
  CHECK_INT(number_in(op, "dirs_unmodified"), 602);
  CHECK_INT(number_in(op, "tree_blobs"), 0);
  saros_op_unref(op);
  setrlimit(RLIMIT_NOFILE, &was);
  if (has_restic()) CHECK(restic_checks("r"));
  repo_unref(r);
  place_end();
}

/* Deeper than anybody could walk through it again: it is told, and the rest is
   there, and restored. */
TEST(too_deep) {
  place_make();
  put_text("src/beside", "beside");
  int fd = open(at("src"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  for (int i = 0; i < 2100; i++) {
    CHECK(mkdirat(fd, "d", 0755) == 0);
    int below = openat(fd, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    close(fd);
    fd = below;
  }
  close(fd);
  repo *r = repo_made("r", 2);
  saros_op *op = backed_up(r, ALL, SAROS_S_PARTIAL);
  CHECK_INT(number_in(op, "failed"), 1);
  CHECK_INT(number_in(op, "dirs_new"), 2048);
  const value *errors = value_get(op_output(op), "errors");
  CHECK(errors != NULL && errors->count == 1);
  const char *says = value_chars(
      value_get(
          errors != NULL && errors->count > 0 ? errors->as.items[0] : NULL,
          "message"),
      "");
  CHECK(strstr(says, "nested more than") != NULL);
  saros_op_unref(op);
  value *o = options_of("{\"target\":\"@/tmp/out\",\"dry_run\":true}");
  uint32_t why = 0;
  op = repo_call_begin(r, repo_work_find("restore"), o, NULL, &why);
  CHECK(saros_op_wait(op, GATE_BOUND_MS));
  CHECK_INT(saros_op_code(op), 0);
  saros_op_unref(op);
  repo_unref(r);
  CHECK(run_shell(NULL, "rm -rf %s", at("src/d"))); /* not with an fd each */
  place_end();
}

/* Of a directory whose list of names is too long to be read again it is told
   that it is not there; what is beside it is. */
TEST(too_wide) {
  place_make();
  make_directory("src/wide");
  make_directory("src/wide/below");
  put_text("src/beside", "beside");
  for (int i = 0; i < 100; i++) {
    char name[40];
    snprintf(name, sizeof name, "src/wide/%d", i);
    put_text(name, name);
  }
  repo *r = repo_made("r", 2);
  repo_backup_tree_test = 20000;
  for (int again = 0; again < 2; again++) {
    saros_op *op = backed_up(r, ALL, SAROS_S_PARTIAL);
    CHECK_INT(number_in(op, "failed"), 1);
    const value *errors = value_get(op_output(op), "errors");
    CHECK(errors != NULL && errors->count == 1);
    const value *first =
        errors != NULL && errors->count > 0 ? errors->as.items[0] : NULL;
    CHECK_TEXT(value_chars(value_get(first, "path"), ""), at("src/wide"));
    CHECK(strstr(value_chars(value_get(first, "message"), ""),
                 "too many names in it: 101") != NULL);
    saros_op_unref(op);
  }
  repo_backup_tree_test = 0;
  saros_op *op = backed_up(r, ALL, 0);
  CHECK_INT(number_in(op, "data_blobs"), 0);
  saros_op_unref(op);
  if (has_restic()) CHECK(restic_checks("r"));
  repo_unref(r);
  place_end();
}

TEST(wide) {
  place_make();
  int fd = open(at("src"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  int count = (int)gate_loops(5000);
  for (int i = 0; i < count; i++) {
    char name[40];
    snprintf(name, sizeof name, "a name that is not short %d", i);
    int one = openat(fd, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
    if (i % 2) CHECK(write(one, name, strlen(name)) > 0);
    close(one);
  }
  close(fd);
  repo *r = repo_made("r", 2);
  saros_op *op = backed_up(r, ALL, 0);
  CHECK_INT(number_in(op, "files"), count);
  CHECK_INT(number_in(op, "data_blobs"), count / 2);
  saros_op_unref(op);
  op = backed_up(r, ALL, 0);
  CHECK_INT(number_in(op, "files_unmodified"), count);
  CHECK_INT(number_in(op, "tree_blobs"), 0);
  saros_op_unref(op);
  if (has_restic()) CHECK(restic_checks("r"));
  repo_unref(r);
  place_end();
}

int main(int argc, char **argv) {
  store_engine();
  gate_begin(argc, argv);
  GATE_RUN(vanishes);
  GATE_RUN(turns_into_a_directory);
  GATE_RUN(shrinks);
  GATE_RUN(grows);
  GATE_RUN(cannot_be_read);
  GATE_RUN(cancelled_at_each_step);
  GATE_RUN(paused);
  GATE_RUN(cancelled_loses_nothing);
  GATE_RUN(two_at_once);
  GATE_RUN(full_disk);
  GATE_RUN(killed_at_each_change);
  GATE_RUN(killed_by_chance);
  GATE_RUN(no_memory);
  GATE_RUN(no_memory_to_tell);
  GATE_RUN(leaves_nothing);
  GATE_RUN(deep);
  GATE_RUN(too_deep);
  GATE_RUN(too_wide);
  GATE_RUN(wide);
  return check_end();
}
