/*
** The copy under load and in trouble: many files, deep trees, many at once;
** cancelled, paused, without room, without memory, without descriptors, and
** with a source that does not hold still. The sizes are full with SAROS_LONG,
** a quarter else, and small with SAROS_QUICK or under a sanitizer.
**
** not under valgrind: so many files take minutes there; ASan runs it
*/
#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#include "copy_case.h"

static bool small, quarter;

static unsigned size_of(unsigned big, unsigned little) {
  if (small || (quarter && big / 4 < little)) return little;
  return quarter ? big / 4 : big;
}

/* A wait is over a little before the worker has let go. With the engine held
   by the test. */
static void settle(void) {
  for (int i = 0; i < 60000 && engine_users() > 1; i++) usleep(1000);
}

static unsigned open_fds(void) {
  return entries_in("/proc/self/fd");
}

/* ------------------------------------------------------------------
** Much
** ---------------------------------------------------------------- */

TEST(many_small_files) {
  unsigned count = size_of(20000, 500);
  char from[700], to[700];
  EACH_PLACE(dir) {
    snprintf(from, sizeof from, "%s/from", dir);
    snprintf(to, sizeof to, "%s/to", dir);
    make_many(from, count, 200, 1000);
    saros_op *op = begin((copy_options){.from = from, .to = to});
    CHECK_INT(output(op, "files"), count);
    value *status = op_status(op);
    CHECK_INT(value_integer(value_get(status, "done"), 0), count * 1000);
    CHECK_INT(value_integer(value_get(status, "total"), 0), count * 1000);
    CHECK_INT(value_integer(value_get(status, "files"), 0), count);
    value_free(status);
    CHECK_INT(end(op, 0), 0);
    CHECK_INT(compare(from, to), 0);
  }
}

/* The names are 100 bytes long, so that no path can reach the bottom. */
static unsigned make_deep(const char *root, unsigned levels) {
  char name[101];
  mkdir(root, 0755);
  int dir = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  unsigned made = 0;
  memset(name, 'd', 100);
  name[100] = 0;
  for (; made < levels; made++) {
    if (made % 10 == 0) mknodat(dir, "file", S_IFREG | 0644, 0);
    if (made % 100 == 0 && mkdirat(dir, "beside", 0755) == 0)
      mknodat(dir, "beside/file", S_IFREG | 0644, 0);
    if (mkdirat(dir, name, 0755) != 0) break;
    int down = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    close(dir);
    dir = down;
  }
  close(dir);
  return made;
}

/* How deep it is, and how many files are on the way. */
static unsigned look_deep(const char *root, unsigned *files) {
  char name[101];
  int dir = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  unsigned depth = 0;
  *files = 0;
  memset(name, 'd', 100);
  name[100] = 0;
  while (dir >= 0) {
    if (faccessat(dir, "file", F_OK, 0) == 0) ++*files;
    if (faccessat(dir, "beside/file", F_OK, 0) == 0) ++*files;
    int down = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    close(dir);
    dir = down;
    depth += dir >= 0;
  }
  return depth;
}

TEST(deep_tree_with_few_descriptors) {
  unsigned levels = size_of(10000, 400), files, expected;
  struct rlimit old, few;
  char from[700], to[700];
  getrlimit(RLIMIT_NOFILE, &old);
  EACH_PLACE(dir) {
    snprintf(from, sizeof from, "%s/from", dir);
    snprintf(to, sizeof to, "%s/to", dir);
    CHECK_INT(make_deep(from, levels), levels);
    few = old;
    few.rlim_cur = 128;
    setrlimit(RLIMIT_NOFILE, &few);
    CHECK_INT(copy_now(from, to), 0);
    CHECK_INT(look_deep(from, &expected), levels);
    CHECK_INT(look_deep(to, &files), levels);
    CHECK_INT(files, expected);
    /* replaced: so a deep one is removed, too */
    saros_op *op =
        begin((copy_options){.from = from, .to = to, .replace = true});
    CHECK_INT(end(op, 0), 0);
    CHECK_INT(look_deep(to, &files), levels);
    CHECK_INT(entries_in(dir), 2);
    setrlimit(RLIMIT_NOFILE, &old);
  }
}

TEST(many_at_once) {
  enum { COPIES = 200 };
  const char *dir = own_place();
  static saros_op *ops[COPIES];
  unsigned count = size_of(COPIES, 70);
  make_many(in("own/from"), 150, 30, 100);
  for (unsigned i = 0; i < count; i++)
    ops[i] =
        begin((copy_options){.from = in("own/from"), .to = in("own/to-%u", i)});
  for (unsigned i = 0; i < count; i++) {
    CHECK_INT(output(ops[i], "files"), 150);
    CHECK_INT(end(ops[i], 0), 0);
  }
  CHECK_INT(entries_in(dir), count + 1);
  CHECK_INT(compare(in("own/from"), in("own/to-7")), 0);
  wipe(dir);
}

/* Hard links met from many sides at once. */
TEST(links_across_directories) {
  char from[700], to[700], a[1000], b[1000];
  EACH_PLACE(dir) {
    snprintf(from, sizeof from, "%s/from", dir);
    snprintf(to, sizeof to, "%s/to", dir);
    make_many(from, 600, 60, 50);
    for (unsigned i = 0; i < 300; i++)
      for (unsigned j = 0; j < 10; j++) {
        snprintf(a, sizeof a, "%s/d%u/file-%u", from, i / 60, i);
        snprintf(b, sizeof b, "%s/d%u/link-%u-%u", from, j, i, j);
        if (link(a, b) != 0) perror(b);
      }
    saros_op *op = begin((copy_options){.from = from, .to = to});
    CHECK_INT(output(op, "links"), 3000);
    CHECK_INT(output(op, "files"), 600);
    CHECK_INT(output(op, "bytes") + output(op, "cloned"), 30000);
    CHECK_INT(end(op, 0), 0);
    CHECK_INT(compare(from, to), 0);
    CHECK_INT(entries_in(dir), 2);
  }
}


/* ------------------------------------------------------------------
** Cancel and pause
** ---------------------------------------------------------------- */

TEST(cancel_leaves_nothing) {
  unsigned seed = 42, cancelled = 0, rounds = size_of(40, 6);
  char from[700], to[700], kept[700], a[1000], b[1000];
  EACH_PLACE(dir) {
    snprintf(from, sizeof from, "%s/from", dir);
    snprintf(kept, sizeof kept, "%s/kept", dir);
    snprintf(to, sizeof to, "%s/to", dir);
    make_many(from, size_of(2000, 100), 50, 3000);
    for (unsigned i = 0; i < 40; i++) {
      snprintf(a, sizeof a, "%s/d0/file-%u", from, i);
      snprintf(b, sizeof b, "%s/d1/link-%u", from, i);
      if (link(a, b) != 0) perror(b);
    }
    CHECK(engine_acquire() == 0);
    uint64_t begun = engine_clock();
    CHECK_INT(copy_now(from, kept), 0);
    unsigned took = (unsigned)((engine_clock() - begun) / 1000); /* us */
    settle();
    unsigned fds = open_fds();
    for (unsigned i = 0; i < rounds; i++) {
      saros_op *op = begin((copy_options){.from = from, .to = to});
      seed = seed * 1664525u + 1013904223u;
      if (i > 0) usleep((seed >> 8) % (took + 1)); /* the first: at once */
      uint32_t answer = saros_cancel(op);
      uint32_t code = end(op, SAROS_E_CANCELLED);
      CHECK(code == 0 || code == SAROS_E_CANCELLED);
      CHECK(answer == 0 || code == 0);
      cancelled += code != 0;
      CHECK_INT(entries_in(dir), code == 0 ? 3 : 2);
      if (code == 0) wipe(to);
    }
    settle();
    CHECK_INT(open_fds(), fds);
    engine_release();
    CHECK_INT(compare(kept, from), 0);
  }
  CHECK(cancelled > 0);
}

TEST(cancel_in_a_big_file_is_quick) {
  const char *dir = own_place();
  put_file(in("own/from"), size_of(400, 20) * 1000000u, 3);
  saros_op *op = begin((copy_options){
      .from = in("own/from"), .to = in("own/to"), .clone = CLONE_NEVER});
  value *status = NULL;
  for (int64_t done = 0; done == 0 && op_state_now(op) < SAROS_SUCCEEDED;) {
    value_free(status);
    status = op_status(op);
    done = value_integer(value_get(status, "done"), 0);
  }
  value_free(status);
  saros_cancel(op);
  saros_op_wait(op, SAROS_INFINITE);
  uint32_t code = saros_op_code(op);
  CHECK(code == 0 || code == SAROS_E_CANCELLED);
  CHECK_INT(end(op, code), code);
  CHECK_INT(entries_in(dir), code == 0 ? 2 : 1);
  wipe(dir);
}

static int64_t files_done(saros_op *op) {
  value *status = op_status(op);
  int64_t n = value_integer(value_get(status, "done"), 0);
  value_free(status);
  return n;
}

TEST(pause_and_resume) {
  const char *dir = at_place(0) != NULL ? at_place(0) : own_place();
  char from[700], to[700];
  snprintf(from, sizeof from, "%s/from", dir);
  snprintf(to, sizeof to, "%s/to", dir);
  make_many(from, size_of(4000, 200), 40, 1000);
  for (int round = 0; round < 3; round++) {
    saros_op *op = begin((copy_options){.from = from, .to = to});
    while (files_done(op) == 0 && op_state_now(op) < SAROS_SUCCEEDED)
      usleep(500);
    int paused = saros_op_pause(op);
    if (paused) {
      int64_t done; /* what was begun comes to its end */
      do {
        done = files_done(op);
        usleep(100000);
      } while (files_done(op) != done);
      CHECK_INT(saros_op_state(op), SAROS_PAUSED);
      CHECK_INT(access(to, F_OK), -1);
      if (round < 2)
        CHECK(saros_op_resume(op));
      else
        saros_cancel(op);
    }
    uint32_t code = paused && round == 2 ? SAROS_E_CANCELLED : 0;
    CHECK_INT(end(op, code), code);
    if (code == 0) CHECK_INT(compare(from, to), 0);
    wipe(to);
    CHECK_INT(entries_in(dir), 1);
  }
  wipe(dir);
}

/* What is written out pauses the operation first: here in the program itself
   the call is ours. */
static _Atomic bool pausing;
static saros_op *_Atomic pause_there; /* known a little after it has begun */

int syncfs(int fd) {
  if (atomic_exchange(&pausing, false)) {
    while (atomic_load(&pause_there) == NULL) usleep(500);
    CHECK(saros_op_pause(atomic_load(&pause_there)));
    atomic_store(&pause_there, NULL);
  }
  return (int)syscall(SYS_syncfs, fd);
}

TEST(pause_before_it_appears) {
  const char *dir = own_place();
  make_many(in("own/from"), 4, 2, 1000);
  for (int round = 0; round < 2; round++) {
    atomic_store(&pausing, true);
    saros_op *op = begin((copy_options){
        .from = in("own/from"), .to = in("own/to"), .durable = true});
    atomic_store(&pause_there, op);
    while (atomic_load(&pause_there) != NULL &&
           op_state_now(op) < SAROS_SUCCEEDED)
      usleep(500);
    CHECK(!saros_op_wait(op, 100)); /* else it went on */
    CHECK_INT(access(in("own/to"), F_OK), -1);
    if (round == 0)
      saros_cancel(op);
    else
      CHECK(saros_op_resume(op));
    uint32_t code = round == 0 ? SAROS_E_CANCELLED : 0;
    CHECK_INT(end(op, code), code);
    CHECK_INT(entries_in(dir), 1 + round);
  }
  CHECK_INT(compare(in("own/from"), in("own/to")), 0);
  wipe(dir);
}


/* ------------------------------------------------------------------
** Trouble
** ---------------------------------------------------------------- */

TEST(no_room) {
  const char *fs = mount_new("ext4", 16);
  if (fs == NULL) SKIP("needs root, mkfs.ext4 and loop devices");
  const char *dir = own_place();
  unsigned before = entries_in(fs);
  make_many(in("own/from"), 400, 40, 50000);
  put_file(in("own/big"), 40000000, 1);
  for (int i = 0; i < 4; i++) {
    char to[700];
    snprintf(to, sizeof to, "%s/to", fs);
    saros_op *op =
        begin((copy_options){.from = i % 2 ? in("own/big") : in("own/from"),
                             .to = to,
                             .clone = CLONE_NEVER,
                             .durable = i == 2});
    saros_op_wait(op, SAROS_INFINITE);
    error *e = op_error(op);
    CHECK(e != NULL && e->path != NULL && strstr(e->path, to) == e->path);
    CHECK(e != NULL && strstr(e->message, "make room") != NULL);
    error_unref(e);
    CHECK_INT(end(op, 0x80070070u), 0x80070070u);
    CHECK_INT(entries_in(fs), before);
  }
  wipe(dir);
  unmount(fs);
}

typedef struct unrest {
  pthread_t id;
  int fd;
  int how; /* 0: grows once, 1: grows for ever, 2: shrinks and grows */
  _Atomic bool stop;
} unrest;

static void *stir(void *argument) {
  unrest *u = argument;
  char text[512] = "more";
  for (int i = 0; !atomic_load(&u->stop); i++) {
    if (u->how == 2 && i % 2 == 0) {
      if (ftruncate(u->fd, 30000000 + i * 100) != 0) break;
    } else {
      lseek(u->fd, 0, SEEK_END);
      if (write(u->fd, text, sizeof text) < 0) break;
    }
    if (u->how != 0) usleep(50);
    if (u->how == 0) break;
  }
  return NULL;
}

TEST(a_source_that_moves) {
  const char *dir = own_place();
  for (int how = 0; how < 3; how++) {
    put_file(in("own/from"), 60000000, 1);
    unrest u = {.how = how, .fd = open(in("own/from"), O_RDWR | O_CLOEXEC)};
    saros_op *op = begin((copy_options){
        .from = in("own/from"), .to = in("own/to"), .clone = CLONE_NEVER});
    pthread_create(&u.id, NULL, stir, &u);
    saros_op_wait(op, SAROS_INFINITE);
    atomic_store(&u.stop, true);
    pthread_join(u.id, NULL);
    close(u.fd);
    uint32_t code = saros_op_code(op);
    struct stat st;
    CHECK(code == SAROS_E_CHANGED || (code == 0 && how != 1) || code == 0);
    if (code == 0) CHECK(stat(in("own/to"), &st) == 0 && st.st_size > 1000000);
    if (how == 0) CHECK_INT(code, 0);
    CHECK_INT(end(op, code), code);
    CHECK_INT(entries_in(dir), code == 0 ? 2 : 1);
    wipe(in("own/to"));
  }
  wipe(dir);
}

/* Somebody writes it anew, as an editor does: empties it, and fills it. We read
   it between the two. */
static const char *_Atomic rewritten;
static size_t rewritten_to;

ssize_t pread(int fd, void *bytes, size_t size, off_t at) {
  const char *path = NULL;
  if (atomic_load(&rewritten) != NULL) path = atomic_exchange(&rewritten, NULL);
  if (path == NULL) return syscall(SYS_pread64, fd, bytes, size, at);
  usleep(20000); /* let the clock that stamps files tick */
  CHECK_INT(truncate(path, 0), 0);
  ssize_t n = syscall(SYS_pread64, fd, bytes, size, at);
  CHECK_INT(n, 0);
  put_file(path, rewritten_to, 2);
  return n;
}

TEST(a_source_that_is_written_anew) {
  static const size_t sizes[] = {100, 70000, 200, 50, 0};
  const char *dir = own_place();
  for (int i = 0; i < 5; i++) {
    char from[600];
    snprintf(from, sizeof from, "%s/from", dir);
    put_file(from, 100, 1);
    rewritten_to = sizes[i];
    atomic_store(&rewritten, from);
    CHECK_INT(end(begin((copy_options){
                      .from = from, .to = in("own/to"), .clone = CLONE_NEVER}),
                  0),
              0);
    CHECK(atomic_load(&rewritten) == NULL);
    comparison c = {.owners = false};
    struct stat st;
    CHECK(stat(in("own/to"), &st) == 0);
    CHECK_INT(st.st_size, sizes[i]);
    compare_content(&c, in("own/to"), from, &st);
    CHECK_INT(c.differences, 0);
    wipe(in("own/to"));
  }
  wipe(dir);
}

static void *come_and_go(void *argument) {
  unrest *u = argument;
  for (unsigned i = 0; !atomic_load(&u->stop); i++) {
    const char *path = in("own/from/d%u/come-%u", i % 10, i % 100);
    put_file(path, 10, i);
    unlink(path);
  }
  return NULL;
}

TEST(entries_that_come_and_go) {
  const char *dir = own_place();
  make_many(in("own/from"), size_of(2000, 200), size_of(200, 20), 10);
  unrest u = {.fd = -1};
  pthread_create(&u.id, NULL, come_and_go, &u);
  for (int i = 0; i < 5; i++) {
    char to[600];
    snprintf(to, sizeof to, "%s/to", dir);
    CHECK_INT(copy_now(in("own/from"), to), 0);
    wipe(to);
  }
  atomic_store(&u.stop, true);
  pthread_join(u.id, NULL);
  CHECK_INT(entries_in(dir), 1);
  wipe(dir);
}

#ifdef SAROS_TEST
static uint32_t sweep_once(const char *from, const char *to, long n,
                           bool replace) {
  error *e;
  copy_options o = {
      .from = from, .to = to, .name = "sweep", .replace = replace};
  mem_fail_at(n);
  saros_op *op = copy_start(&o, &e);
  uint32_t code = op != NULL ? 0 : e->code;
  if (op != NULL) saros_op_wait(op, SAROS_INFINITE);
  mem_fail_at(0);
  if (op == NULL) {
    error_unref(e);
    return code;
  }
  e = op_error(op);
  if (e != NULL) CHECK_INT(e->code, SAROS_E_OUTOFMEMORY);
  error_unref(e);
  op_forget_name(op); /* the register would keep it */
  return end(op, SAROS_E_OUTOFMEMORY);
}

TEST(without_memory) {
  const char *dir = own_place();
  char from[600], to[600];
  snprintf(from, sizeof from, "%s/from", dir);
  snprintf(to, sizeof to, "%s/to", dir);
  make_many(from, 150, 30, 100);
  if (link(in("own/from/d0/file-3"), in("own/from/d1/link")) != 0) perror("");
  setxattr(in("own/from/d0/file-3"), "user.x", "y", 1, 0);
  CHECK(engine_acquire() == 0); /* so that its memory is no part of this */
  CHECK_INT(sweep_once(from, to, 0, false), 0);
  wipe(to);
  settle();
  unsigned failed = 0, fds = open_fds();
  long blocks = mem_blocks();
  for (long n = 1; n < 400; n++) {
    bool replace = n % 2 == 0;
    if (replace) make_many(to, 3, 1, 10);
    uint32_t code = sweep_once(from, to, n, replace);
    CHECK(code == 0 || code == SAROS_E_OUTOFMEMORY);
    CHECK_INT(entries_in(dir), code == 0 || replace ? 2 : 1);
    if (code == 0 && n % 20 == 0) CHECK_INT(compare(from, to), 0);
    failed += code != 0;
    settle();
    CHECK_INT(mem_blocks(), blocks);
    CHECK_INT(open_fds(), fds);
    wipe(to);
    if (check_bad > 0) {
      printf("in request %ld\n", n);
      break;
    }
  }
  CHECK(failed > 20);
  engine_release();
  wipe(dir);
}
#endif

static void all(void) {
  quarter = getenv("SAROS_LONG") == NULL;
  small = getenv("SAROS_QUICK") != NULL ||
          (quarter && getenv("SAROS_SANITIZER") != NULL);
  RUN(many_small_files);
  RUN(deep_tree_with_few_descriptors);
  RUN(many_at_once);
  RUN(links_across_directories);
  RUN(cancel_leaves_nothing);
  RUN(cancel_in_a_big_file_is_quick);
  RUN(pause_and_resume);
  RUN(pause_before_it_appears);
  RUN(no_room);
  RUN(a_source_that_moves);
  RUN(a_source_that_is_written_anew);
  RUN(entries_that_come_and_go);
#ifdef SAROS_TEST
  RUN(without_memory);
#endif
}

int main(int argc, char **argv) {
  return case_main(argc, argv, all);
}
