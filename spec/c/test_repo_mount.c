/*
** A repository that is mounted: what is read there is what was backed up, by
** any number of readers; what is damaged is an error of that file alone; and
** whatever ends it, nothing stays mounted.
**
** not under valgrind: it does not let a process read what it serves itself
*/
#include <sched.h>
#include <sys/statfs.h>

#include "backup_case.h"
#include "hostile_case.h"
#include "repository/mount_parts.h"

static char seen_at[200]; /* the version's own src, below the mount */

static bool has_fuse(void) {
  int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
  if (fd >= 0) close(fd);
  return fd >= 0 && geteuid() == 0;
}
#define NEED_FUSE                                    \
  do {                                               \
    if (!has_fuse())                                 \
      SKIP(                                          \
          "only root with /dev/fuse can mount, and " \
          "there is none of it here");               \
  } while (0)

static bool is_mounted(void) {
  char line[1000];
  FILE *f = fopen("/proc/self/mounts", "r");
  bool found = false;
  while (f != NULL && fgets(line, sizeof line, f) != NULL)
    found = found || strstr(line, place.path) != NULL;
  if (f != NULL) fclose(f);
  return found;
}

/* Until it is so; false: it never was. */
static bool comes(bool (*is)(void), bool wanted) {
  uint64_t until = repo_clock() + GATE_BOUND_MS;
  while (is() != wanted) {
    if (repo_clock() > until) return false;
    usleep(2000);
  }
  return true;
}

static bool helper_is_here(void) {
  char command[300];
  snprintf(command, sizeof command,
           "grep -lsz -- '^%s/mnt$' /proc/[0-9]*/cmdline >/dev/null",
           place.path);
  return system(command) == 0;
}

static void begin_mount_place(void) {
  place_make();
  make_directory("mnt");
  snprintf(seen_at, sizeof seen_at, "%s/mnt/snapshots/latest%s/src", place.path,
           place.path);
}

static void end_mount_place(void) {
  CHECK(!is_mounted());
  CHECK(comes(helper_is_here, false));
  if (is_mounted()) CHECK(run_shell(NULL, "umount -f -l %s", at("mnt")));
  place_end();
}

static saros_op *mount_begun(repo *r) {
  saros_op *op = call_begin(r, "mount", options_of("{\"at\":\"@/mnt\"}"));
  CHECK(comes(is_mounted, true));
  return op;
}

static void unmounted(saros_op *op) {
  saros_op_cancel(op);
  CHECK(saros_op_wait(op, GATE_BOUND_MS));
  CHECK_INT(saros_op_code(op), SAROS_E_CANCELLED);
  saros_op_unref(op);
}

static const char *seen(const char *name) {
  static char texts[4][400];
  static unsigned next;
  char *text = texts[next++ % 4];
  snprintf(text, sizeof texts[0], "%s/%s", seen_at, name);
  return text;
}


/* ------------------------------------------------------------------
** What is there
** ---------------------------------------------------------------- */

TEST(everything_is_as_it_was) {
  NEED_FUSE;
  begin_mount_place();
  put_everything();
  CHECK(unlink(at("src/socket")) == 0); /* those are in no version */
  put_random("src/huge", 5, 20 << 20);
  repo *r = repo_made("r", 2);
  saros_op_unref(backed_up(r, "{\"paths\":[\"@/src\"]}", 0));
  for (int round = 0; round < 2; round++) {
    saros_op *op = mount_begun(r);
    CHECK(same_trees(at("src"), seen_at));
    unmounted(op);
    CHECK(!is_mounted());
  }
  repo_unref(r);
  end_mount_place();
}

/* Names of directories, by their order. */
static char *names_in(const char *below) {
  buffer b = BUFFER_EMPTY;
  CHECK(run_shell(&b, "ls %s/mnt/%s | tr '\\n' ' '", place.path, below));
  return buffer_take(&b);
}

static void check_names(const char *below, const char *wanted) {
  char *names = names_in(below);
  CHECK_TEXT(names, wanted);
  mem_free(names);
}

/* To find a name costs little, however many there are. */
TEST(names_in_a_large_directory) {
  enum { NAMES = 5000, ASKED = 200 };
  NEED_FUSE;
  begin_mount_place();
  for (int i = 0; i < NAMES; i++) {
    char name[40];
    snprintf(name, sizeof name, "src/%d", i);
    put_text(name, "");
  }
  repo *r = repo_made("r", 2);
  saros_op_unref(backed_up(r, "{\"paths\":[\"@/src\"]}", 0));
  saros_op *op = mount_begun(r);
  mount_steps = 0;
  for (int i = 0; i < ASKED; i++) {
    struct stat st;
    char name[40];
    snprintf(name, sizeof name, "%d", i * 7919 % NAMES);
    CHECK(stat(seen(name), &st) == 0);
    /* Between two, before the first and behind the last. */
    snprintf(name, sizeof name, "%d%s", i * 7919 % NAMES, i % 2 ? "!" : "zz");
    CHECK(stat(seen(name), &st) != 0 && errno == ENOENT);
  }
  struct stat st;
  CHECK(stat(seen("!"), &st) != 0 && errno == ENOENT);
  CHECK(stat(seen("zzz"), &st) != 0 && errno == ENOENT);
  for (int i = 0; i < NAMES; i += 999) {
    char name[40];
    snprintf(name, sizeof name, "%d", i);
    CHECK(stat(seen(name), &st) == 0);
  }
  /* Once through all of it, by several threads perhaps; then 64 and 7 each. */
  CHECK(mount_steps < 5 * NAMES + (2 * ASKED + 10) * 75);
  CHECK(mount_steps > NAMES);
  unmounted(op);
  repo_unref(r);
  end_mount_place();
}

TEST(versions_are_where_one_looks_for_them) {
  NEED_FUSE;
  begin_mount_place();
  put_text("src/f", "f");
  repo *r = repo_made("r", 2);
  static const char *const all[] = {
      "{\"paths\":[\"@/src\"],\"host\":\"one\",\"tags\":[\"x/y\",\"z\"],"
      "\"time\":\"2020-01-02T03:04:05.5+01:00\"}",
      "{\"paths\":[\"@/src\"],\"host\":\"one\",\"tags\":[\"..\"],"
      "\"time\":\"2020-01-02T03:04:05.7+01:00\"}",
      "{\"paths\":[\"@/src\"],\"host\":\"two\","
      "\"time\":\"2021-01-02T03:04:05Z\"}"};
  for (int i = 0; i < 3; i++) saros_op_unref(backed_up(r, all[i], 0));
  saros_op *op = mount_begun(r);
  check_names("", "hosts ids snapshots tags ");
  char *times = names_in("snapshots");
  CHECK(times != NULL && strstr(times, "-1 ") != NULL &&
        strstr(times, "latest ") != NULL);
  mem_free(times);
  check_names("hosts", "one two ");
  check_names("tags", "_ x_y z ");
  buffer b = BUFFER_EMPTY;
  CHECK(run_shell(&b,
                  "cd %s/mnt && ls ids | wc -l && ls hosts/one | wc -l && cat "
                  "ids/*%s/src/f hosts/two/latest%s/src/f tags/z/latest%s/src/f"
                  " && readlink hosts/two/latest",
                  place.path, place.path, place.path, place.path));
  CHECK(b.data != NULL && strncmp(b.data, "3\n3\nfffff2021-01-0", 18) == 0);
  buffer_free(&b);
  CHECK(access(at("mnt/ids/none"), F_OK) != 0 && errno == ENOENT);
  CHECK(open(seen("f"), O_WRONLY | O_CLOEXEC) < 0 && errno == EROFS);
  CHECK(mkdir(at("mnt/x"), 0755) != 0 && errno == EROFS);
  unmounted(op);
  repo_unref(r);
  end_mount_place();
}

TEST(many_read_at_once) {
  NEED_FUSE;
  begin_mount_place();
  for (int i = 0; i < 6; i++) {
    char name[40];
    snprintf(name, sizeof name, "src/f%d", i);
    put_random(name, 50 + (uint64_t)i, 6000000);
  }
  CHECK(run_shell(NULL, "mkdir %s/many && cd %s/many && seq 3000 | xargs touch",
                  at("src"), at("src")));
  repo *r = repo_made("r", 2);
  saros_op_unref(backed_up(r, "{\"paths\":[\"@/src\"]}", 0));
  saros_op *op = mount_begun(r);
  CHECK(run_shell(NULL,
                  "cd %s && for f in f*; do cmp $f %s/$f & p=\"$p $!\"; tac "
                  "-b %s/$f >/dev/null & p=\"$p $!\"; done; for q in $p; do "
                  "wait $q || exit 1; done",
                  at("src"), seen_at, seen_at));
  buffer b = BUFFER_EMPTY;
  CHECK(run_shell(&b, "ls -l %s/many | wc -l; ls %s/many | sort -n | tail -n 1",
                  seen_at, seen_at));
  CHECK_TEXT(b.data, "3001\n3000\n");
  buffer_free(&b);
  unmounted(op);
  repo_unref(r);
  end_mount_place();
}

/* What was open when it was unmounted with force goes, too. */
TEST(nothing_of_it_stays_in_memory) {
  NEED_FUSE;
  begin_mount_place();
  put_random("src/f", 7, 3000000);
  make_directory("src/d");
  repo *r = repo_made("r", 2);
  saros_op_unref(backed_up(r, "{\"paths\":[\"@/src\"]}", 0));
  long least = 0;
  for (int round = 0; round < 3; round++) {
    saros_op *op = mount_begun(r);
    int fd = open(seen("f"), O_RDONLY | O_CLOEXEC);
    DIR *d = opendir(seen("d"));
    char byte;
    CHECK(fd >= 0 && d != NULL && pread(fd, &byte, 1, 1000000) == 1);
    unmounted(op);
    CHECK(pread(fd, &byte, 1, 2500000) <= 0); /* it does not hang */
    if (fd >= 0) close(fd);
    if (d != NULL) closedir(d);
    /* The last of an operation is let go behind whoever waited for it. */
    if (round == 2) GATE_UNTIL(mem_blocks() <= least);
    for (int i = 0; round < 2 && i < 100; i++) {
      long now = mem_blocks();
      if (i == 0 || now < least) least = now;
      gate_nap();
    }
  }
  repo_unref(r);
  end_mount_place();
}


/* ------------------------------------------------------------------
** Damage
** ---------------------------------------------------------------- */

static int read_errno(const char *name) {
  static char bytes[100000];
  int fd = open(name, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return errno;
  ssize_t n;
  while ((n = read(fd, bytes, sizeof bytes)) > 0) {}
  int number = n < 0 ? errno : 0;
  close(fd);
  return number;
}

TEST(what_is_damaged_is_an_error_of_that_file) {
  NEED_FUSE;
  begin_mount_place();
  make_directory("src/gone");
  put_text("src/gone/x", "x");
  repo *r = repo_made("r", 2);
  put_random("src/bad", 8, 3000000);
  saros_op_unref(backed_up(r, "{\"paths\":[\"@/src/bad\"]}", 0));
  CHECK(run_shell(NULL, "ls -S %s/data/*/* | head -n 1 >%s", at("r"),
                  at("tmp/bad")));
  put_random("src/lost", 9, 500000);
  saros_op_unref(backed_up(r, "{\"paths\":[\"@/src/lost\"]}", 0));
  CHECK(run_shell(NULL, "ls -S %s/data/*/* | sed -n 2p >%s", at("r"),
                  at("tmp/lost")));
  put_random("src/good", 10, 100000);
  saros_op_unref(backed_up(r, "{\"paths\":[\"@/src\"]}", 0));
  CHECK(run_shell(NULL,
                  "f=$(cat %s) && cp $f %s/x && rm -f $f && printf ZZZZ | dd "
                  "of=%s/x bs=1 seek=1000000 conv=notrunc status=none && mv "
                  "%s/x $f && rm -f $(cat %s)",
                  at("tmp/bad"), place.path, place.path, place.path,
                  at("tmp/lost")));
  saros_op *op = mount_begun(r);
  CHECK_INT(read_errno(seen("bad")), EIO);
  CHECK_INT(read_errno(seen("lost")), EIO);
  CHECK_INT(read_errno(seen("good")), 0);
  CHECK_INT(read_errno(seen("gone/x")), 0);
  CHECK(run_shell(NULL, "cmp %s %s", seen("good"), at("src/good")));
  unmounted(op);
  repo_unref(r);
  end_mount_place();
}


/* ------------------------------------------------------------------
** Ways out
** ---------------------------------------------------------------- */

static repo *made_small(void) {
  put_random("src/f", 7, 3000000);
  repo *r = repo_made("r", 2);
  saros_op_unref(backed_up(r, "{\"paths\":[\"@/src\"]}", 0));
  return r;
}

TEST(somebody_else_may_unmount_it) {
  NEED_FUSE;
  begin_mount_place();
  repo *r = made_small();
  saros_op *op = mount_begun(r);
  CHECK_INT(read_errno(seen("f")), 0);
  CHECK(run_shell(NULL, "umount %s", at("mnt")));
  CHECK(saros_op_wait(op, GATE_BOUND_MS));
  CHECK_INT(saros_op_code(op), 0);
  saros_op_unref(op);
  CHECK_INT(store_count(r->store, REPO_LOCKS), 0);
  repo_unref(r);
  end_mount_place();
}

/* Also while somebody is in there, and one after the other. */
TEST(it_may_be_cancelled_at_any_moment) {
  NEED_FUSE;
  begin_mount_place();
  repo *r = made_small();
  uint64_t seed = gate_seed("it_may_be_cancelled_at_any_moment");
  for (long i = 0; i < gate_loops(10); i++) {
    saros_op *op = call_begin(r, "mount", options_of("{\"at\":\"@/mnt\"}"));
    if (i % 3 != 0) usleep(gate_below(&seed, 30000));
    pid_t reader = -1;
    if (i % 2 == 1) {
      CHECK(comes(is_mounted, true));
      reader = fork();
      if (reader == 0) {
        execl("/bin/sh", "sh", "-c",
              "exec >/dev/null 2>&1; cd \"$0\" && cat f; exit 0", seen_at,
              (char *)NULL);
        _exit(1);
      }
    }
    saros_op_cancel(op);
    CHECK(saros_op_wait(op, GATE_BOUND_MS));
    CHECK_INT(saros_op_code(op), SAROS_E_CANCELLED);
    saros_op_unref(op);
    if (reader > 0) CHECK(waitpid(reader, NULL, 0) == reader);
    CHECK(!is_mounted());
  }
  CHECK_INT(store_count(r->store, REPO_LOCKS), 0);
  repo_unref(r);
  end_mount_place();
}

static int be_child(const char *path) {
  strcpy(place.path, path);
  repo *r = repo_open_at("r");
  if (repo_open(r, NULL) != NULL) return 90;
  saros_op *op = call_begin(r, "mount", options_of("{\"at\":\"@/mnt\"}"));
  saros_op_wait(op, 100 * GATE_BOUND_MS);
  return 91;
}

TEST(a_kill_leaves_nothing_mounted) {
  NEED_FUSE;
  begin_mount_place();
  repo_unref(made_small());
  for (int i = 0; i < 3; i++) {
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
      execl("/proc/self/exe", "test_repo_mount", "--child", place.path,
            (char *)NULL);
      _exit(89);
    }
    CHECK(comes(is_mounted, true));
    CHECK(comes(helper_is_here, true));
    int fd = i == 1 ? open(seen("f"), O_RDONLY | O_CLOEXEC) : -1;
    if (i == 2) CHECK_INT(read_errno(seen("f")), 0);
    CHECK(kill(child, SIGKILL) == 0);
    int status;
    CHECK(waitpid(child, &status, 0) == child && WIFSIGNALED(status));
    CHECK(comes(is_mounted, false));
    char byte;
    if (fd >= 0) CHECK(read(fd, &byte, 1) <= 0); /* it does not hang */
    if (fd >= 0) close(fd);
  }
  end_mount_place();
}

static _Atomic unsigned at_the_gate;

/* Both have seen that nothing is mounted there. */
static void both_have_looked(void) {
  uint64_t until = repo_clock() + GATE_BOUND_MS;
  at_the_gate++;
  while (at_the_gate < 2 && repo_clock() < until) usleep(1000);
}

static long mounts_here(void) {
  char line[1000];
  long count = 0;
  FILE *f = fopen("/proc/self/mounts", "r");
  while (f != NULL && fgets(line, sizeof line, f) != NULL)
    count += strstr(line, place.path) != NULL;
  if (f != NULL) fclose(f);
  return count;
}

TEST(two_at_one_place_at_once) {
  NEED_FUSE;
  begin_mount_place();
  put_text("src/file", "x");
  repo *r = repo_made("r", 2);
  saros_op_unref(backed_up(r, "{\"paths\":[\"@/src\"]}", 0));
  saros_op *op[2];
  at_the_gate = 0;
  mount_gate = both_have_looked;
  for (int i = 0; i < 2; i++)
    op[i] = call_begin(r, "mount", options_of("{\"at\":\"@/mnt\"}"));
  /* One ends by itself, and the other goes on. */
  uint64_t until = repo_clock() + GATE_BOUND_MS;
  while (!saros_op_wait(op[0], 0) && !saros_op_wait(op[1], 0) &&
         repo_clock() < until)
    usleep(2000);
  int loser = saros_op_wait(op[0], 0) ? 0 : 1;
  CHECK_INT(saros_op_code(op[loser]), code_of_errno(EBUSY));
  CHECK(comes(is_mounted, true));
  CHECK_INT(mounts_here(), 1);
  void (*no_gate)(void) = NULL; /* clang takes no bare NULL here */
  mount_gate = no_gate;
  saros_op_unref(op[loser]);
  unmounted(op[1 - loser]);
  CHECK_INT(mounts_here(), 0);
  while (is_mounted()) CHECK(run_shell(NULL, "umount -f -l %s", at("mnt")));
  repo_unref(r);
  end_mount_place();
}

TEST(what_cannot_be_is_said) {
  begin_mount_place();
  repo *r = made_small();
  static const struct {
    const char *options;
    uint32_t code;
  } cases[] = {{"{}", SAROS_E_INVALIDARG},
               {"{\"at\":\"@/none\"}", 0},
               {"{\"at\":\"@/src/f\"}", 0}};
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    call_result c = call_now(r, "mount", options_of(cases[i].options));
    CHECK(cases[i].code != 0 ? c.code == cases[i].code : c.code >= 0x80000000u);
    call_free(&c);
  }
  CHECK_INT(store_count(r->store, REPO_LOCKS), 0);
  repo_unref(r);
  end_mount_place();
}

/* Forty directories with 2^40 paths: what is asked for is there, and no more. A
   name that is none is an error of the directory that has it. */
TEST(more_paths_than_anybody_can_count) {
  NEED_FUSE;
  char nodes[1000], path[200];
  begin_mount_place();
  repo *r = repo_made("r", 2);
  repo_id hello = put_blob(r, REPO_DATA, "hello", 5);
  many m = many_begin(r);
  snprintf(nodes, sizeof nodes,
           "{'name':'f','type':'file','mode':420," NODE_REST
           ",'size':5,'content':['%s']}",
           id_text(hello));
  repo_id tree = many_levels(&m, many_tree(&m, nodes), 40, 2);
  snprintf(nodes, sizeof nodes,
           "{'name':'../x','type':'file','mode':420," NODE_REST
           ",'size':5,'content':['%s']}",
           id_text(hello));
  repo_id bad = many_tree(&m, nodes);
  snprintf(nodes, sizeof nodes, DIRECTORY_NODE("a") "," DIRECTORY_NODE("d"),
           id_text(tree), id_text(bad));
  repo_id top = many_tree(&m, nodes);
  many_end(&m);
  put_version(r, top);
  saros_op *op = mount_begun(r);
  uint64_t seed = 1;
  for (int i = 0; i < 20; i++) {
    size_t n = (size_t)snprintf(path, sizeof path, "mnt/snapshots/latest/a");
    for (int level = 0; level < 40; level++)
      n += (size_t)snprintf(path + n, sizeof path - n, "/%c",
                            gate_random(&seed) & 1 ? 'a' : 'b');
    snprintf(path + n, sizeof path - n, "/f");
    char bytes[10];
    int fd = open(at(path), O_RDONLY | O_CLOEXEC);
    CHECK(fd >= 0 && read(fd, bytes, sizeof bytes) == 5 &&
          memcmp(bytes, "hello", 5) == 0);
    if (fd >= 0) close(fd);
  }
  check_names("snapshots/latest/a/b/a", "a b ");
  DIR *d = opendir(at("mnt/snapshots/latest/d"));
  errno = 0;
  CHECK(d != NULL);
  for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;)
    CHECK(strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0);
  CHECK_INT(errno, EIO);
  if (d != NULL) closedir(d);
  unmounted(op);
  repo_unref(r);
  end_mount_place();
}

int main(int argc, char **argv) {
  store_engine();
  if (argc == 3 && strcmp(argv[1], "--child") == 0) return be_child(argv[2]);
  gate_begin(argc, argv);
  /* Nobody else's: who gets a namespace of his own while something is mounted
     here would have it for as long as he lives, and keep it from its end. */
  if (geteuid() == 0 && unshare(CLONE_NEWNS) == 0)
    mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL);
  GATE_RUN(everything_is_as_it_was);
  GATE_RUN(names_in_a_large_directory);
  GATE_RUN(versions_are_where_one_looks_for_them);
  GATE_RUN(many_read_at_once);
  GATE_RUN(nothing_of_it_stays_in_memory);
  GATE_RUN(what_is_damaged_is_an_error_of_that_file);
  GATE_RUN(somebody_else_may_unmount_it);
  GATE_RUN(it_may_be_cancelled_at_any_moment);
  GATE_RUN(a_kill_leaves_nothing_mounted);
  GATE_RUN(two_at_one_place_at_once);
  GATE_RUN(what_cannot_be_is_said);
  GATE_RUN(more_paths_than_anybody_can_count);
  return check_end();
}
