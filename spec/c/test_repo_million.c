/*
** A directory with very many names: 20000 of them, or with SAROS_LONG=1 a
** million. It is backed up, listed, checked and restored; restic finds that its
** trees are to the byte what it would have written; and each of that is done by
** a process of its own, of which it is known how much memory it had at most.
** not under valgrind: it is about memory, of which that needs its own
*/
#include <sched.h>
#include <spawn.h>
#include <sys/resource.h>

#include "backup_case.h"
#include "restore_case.h"

/* So few entries that all memory is for something else. */
#define FEW 1000l

static long count; /* of entries */

static bool is_long(void) {
  const char *text = getenv("SAROS_LONG");
  return text != NULL && *text != '\0' && strcmp(text, "0") != 0;
}


/* ------------------------------------------------------------------
** What a process of its own does
** ---------------------------------------------------------------- */

/* In kilobytes: at most, since it was begun. */
static long memory_most(void) {
  char line[200];
  long most = -1;
  FILE *f = fopen("/proc/self/status", "r");
  while (f != NULL && fgets(line, sizeof line, f) != NULL)
    if (sscanf(line, "VmHWM: %ld", &most) == 1) break;
  if (f != NULL) fclose(f);
  return most;
}

static long counted(const char *work, const value *output) {
  if (strcmp(work, "ls") == 0) {
    const value *items = value_get(output, "items");
    return items != NULL ? (long)items->count : -1;
  }
  const char *name = strcmp(work, "check") == 0 ? "trees" : "files";
  return (long)value_integer(value_get(output, name), -1);
}

/* phase WORK REPOSITORY OPTIONS: prints what came of it, and its memory. */
static int phase(char **argv) {
  repo *r = restore_open(argv[3], "x");
  if (r == NULL || check_bad > 0) return 1;
  saros_op *op = call_begin(r, argv[2], json_options("%s", argv[4]));
  if (op == NULL) return 1;
  saros_op_wait(op, GATE_HANG * 1000);
  uint32_t code = saros_op_code(op);
  if (code != 0) show_error(op);
  printf("%u %ld %ld\n", (unsigned)code, counted(argv[2], op_output(op)),
         memory_most());
  saros_op_unref(op);
  repo_unref(r);
  return 0;
}

/* Waits for its end; what it printed is in a file. */
static long ran(char *const argv[], buffer *out) {
  posix_spawn_file_actions_t actions;
  struct rusage used = {0};
  int status = -1;
  pid_t pid = -1;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_addopen(&actions, 1, at("tmp/out"),
                                   O_WRONLY | O_CREAT | O_TRUNC, 0600);
  int failed = posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ);
  posix_spawn_file_actions_destroy(&actions);
  CHECK_INT(failed, 0);
  if (failed == 0) CHECK(wait4(pid, &status, 0, &used) == pid);
  CHECK_INT(status, 0);
  int fd = open(at("tmp/out"), O_RDONLY | O_CLOEXEC);
  char text[1000];
  ssize_t size = fd >= 0 ? read(fd, text, sizeof text) : -1;
  if (size > 0 && out != NULL) buffer_put(out, text, (size_t)size);
  if (fd >= 0) close(fd);
  return used.ru_maxrss;
}

/* Its memory, and what it counted. */
static long by_itself(const char *work, const char *repository,
                      const char *options, long *got) {
  static char exe[] = "/proc/self/exe", word[] = "phase";
  char name[20], where[200], what[300];
  char *const argv[] = {exe, word, name, where, what, NULL};
  buffer b = BUFFER_EMPTY, o = BUFFER_EMPTY;
  unsigned code = 1;
  long most = -1;
  *got = -1;
  for (; *options != '\0'; options++)
    if (*options == '@')
      buffer_text(&o, place.path);
    else
      buffer_byte(&o, *options);
  snprintf(name, sizeof name, "%s", work);
  snprintf(where, sizeof where, "%s", at(repository));
  snprintf(what, sizeof what, "%s", o.data);
  (void)ran(argv, &b);
  const char *line = b.data != NULL ? b.data : "";
  bool good = sscanf(line, "%u %ld %ld", &code, got, &most) == 3 && code == 0;
  if (!good) printf("%s: %s\n", work, line);
  CHECK(good);
  buffer_free(&b);
  buffer_free(&o);
  return most;
}

/* ------------------------------------------------------------------
** The directory
** ---------------------------------------------------------------- */

/* On a tmpfs that nobody else sees, and that goes when this process does. */
static void begin_place(void) {
  place_make();
  if (geteuid() != 0) return;
  CHECK(unshare(CLONE_NEWNS) == 0);
  CHECK(mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0);
  CHECK(mount("saros", place.path, "tmpfs", 0, "size=90%,nr_inodes=0") == 0);
  static const char *const names[] = {"src", "few", "tmp", "r", "few_r"};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
    make_directory(names[i]);
}

static void end_place(void) {
  if (geteuid() == 0) CHECK(umount2(place.path, MNT_DETACH) == 0);
  place_end();
}

/* Names that are not in order; one of a hundred has something in it. */
static void fill(const char *below, long entries) {
  int dir = open(at(below), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  bool good = dir >= 0;
  for (long i = 0; good && i < entries; i++) {
    char name[64];
    int n = snprintf(name, sizeof name, "%08lx of a million",
                     (unsigned long)i * 2654435761u & 0xFFFFFFFFu);
    int fd = openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC,
                    i % 3 ? 0644 : 0600);
    struct timespec times[2] = {{i, i}, {1600000000 + i, i % 1000000}};
    good = fd >= 0 && (i % 100 != 0 || write(fd, name, (size_t)n) == n) &&
           futimens(fd, times) == 0;
    if (fd >= 0) close(fd);
  }
  if (dir >= 0) close(dir);
  CHECK(good);
}

/* Everything that is in it is there, as it is. */
static long same_entries(const char *below, const char *restored) {
  int a = open(at(below), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  int b = open(at(restored), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *d = a >= 0 ? fdopendir(a) : NULL;
  long same = 0;
  for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
    struct stat x, y;
    if (e->d_name[0] == '.') continue;
    if (fstatat(a, e->d_name, &x, 0) == 0 && fstatat(b, e->d_name, &y, 0) == 0)
      same += x.st_size == y.st_size && x.st_mode == y.st_mode &&
              x.st_mtim.tv_sec == y.st_mtim.tv_sec &&
              x.st_mtim.tv_nsec == y.st_mtim.tv_nsec;
  }
  if (d != NULL) closedir(d);
  if (b >= 0) close(b);
  return same;
}


/* ------------------------------------------------------------------
** Memory
** ---------------------------------------------------------------- */

/* Bytes an entry, beyond what a few of them take. */
static long an_entry(long most, long few) {
  return (most - few) * 1024 / (count - FEW);
}

/* Of 20000 a tenth of a megabyte more or less is already something. */
static void bounded(const char *what, long most, long few, long bound) {
  if (!is_long()) bound += bound / 2;
  long bytes = an_entry(most, few);
  if (getenv("SAROS_SANITIZER") != NULL || GATE_ASAN || GATE_TSAN) {
    printf("  %s: how much memory is the sanitizer's, not looked at\n", what);
    return;
  }
  printf("  %s: %ld MiB, %ld bytes an entry (at most %ld)\n", what, most >> 10,
         bytes, bound);
  if (bytes > bound) CHECK_INT(bytes, bound);
}

/* The same of both; their difference is what the entries take. */
static void measured(const char *work, const char *options, const char *few_of,
                     long expected, long expected_few, long bound) {
  long got, few = by_itself(work, "few_r", few_of, &got);
  CHECK_INT(got, expected_few);
  long most = by_itself(work, "r", options, &got);
  CHECK_INT(got, expected);
  bounded(work, most, few, bound);
}

static void restic_measured(const char *what, const char *arguments) {
  static char sh[] = "sh", c[] = "-c";
  char command[1000];
  char *const argv[] = {sh, c, command, NULL};
  snprintf(command, sizeof command,
           "cd %s && TMPDIR=%s/tmp RESTIC_PASSWORD=x exec restic --no-cache -q "
           "-r %s %s",
           at("src"), place.path, at("r"), arguments);
  printf("  restic %s: %ld MiB\n", what, ran(argv, NULL) >> 10);
}

static void one_repository(const char *below) {
  repo *r = repo_made(below, 2);
  repo_unref(r);
}

TEST(very_many_names) {
  begin_place();
  fill("src", count);
  fill("few", FEW);
  one_repository("r");
  one_repository("few_r");
  for (int again = 0; again < 2; again++)
    measured("backup", "{'paths':['@/src']}", "{'paths':['@/few']}", count, FEW,
             again ? 900 : 500);
  measured("ls", "{}", "{}", count + 2, FEW + 2, 880);
  measured("check", "{'read_data':true}", "{'read_data':true}", 3, 3, 450);
  measured("restore", "{'target':'@/tmp/all'}", "{'target':'@/tmp/some'}",
           count, FEW, 520);
  char restored[100];
  snprintf(restored, sizeof restored, "tmp/all%s/src", place.path);
  CHECK_INT(same_entries("src", restored), count);
  if (has_restic()) {
    value *v = restic_backup("r", "--force $PWD");
    CHECK_INT(value_integer(value_get(v, "data_blobs"), -1), 0);
    CHECK_INT(value_integer(value_get(v, "tree_blobs"), -1), 0);
    value_free(v);
  }
  if (has_restic() && is_long()) { /* for who reads it */
    restic_measured("backup", "backup --force $PWD");
    restic_measured("ls", "ls latest");
    restic_measured("check", "check --read-data");
    restic_measured("restore", "restore latest -t ../tmp/restored");
  }
  end_place();
}

int main(int argc, char **argv) {
  store_engine();
  if (argc == 5 && strcmp(argv[1], "phase") == 0) return phase(argv);
  gate_begin(argc, argv);
  if (is_long()) alarm(6 * GATE_HANG);
  count = is_long() ? 1000000 : gate_is_quick ? 4000 : 20000;
  GATE_RUN(very_many_names);
  return check_end();
}
