/*
** base: the directories saros keeps things in.
*/
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/memory.h"
#include "base/path.h"
#include "check.h"
#include "test_base_sweep.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

static char scratch[64];

static void enter_scratch(void) {
  strcpy(scratch, "/tmp/saros-path-XXXXXX");
  if (mkdtemp(scratch) == NULL) abort();
}

static void leave_scratch(void) {
  char command[128];
  snprintf(command, sizeof command, "rm -rf '%s'", scratch);
  CHECK_INT(system(command), 0);
}

/* A path in the scratch directory; a few may be in use at a time. */
static const char *in(const char *format, ...)
    __attribute__((format(printf, 1, 2)));
static const char *in(const char *format, ...) {
  static char paths[4][PATH_MAX];
  static int next;
  char *path = paths[next++ % 4];
  int size = snprintf(path, PATH_MAX, "%s/", scratch);
  va_list args;
  va_start(args, format);
  vsnprintf(path + size, (size_t)(PATH_MAX - size), format, args);
  va_end(args);
  return path;
}

static int open_files(void) {
  int count = 0;
  DIR *directory = opendir("/proc/self/fd");
  if (directory == NULL) return 0;
  while (readdir(directory) != NULL) count++;
  closedir(directory);
  return count;
}

static mode_t mode_of(const char *path) {
  struct stat st;
  return lstat(path, &st) == 0 ? st.st_mode & 07777 : 0;
}

static mode_t own_mode(void) {
  return geteuid() == 0 ? 0755 : 0700;
}

static void check_directory(path_kind kind, const char *base,
                            const char *wanted) {
  error *e = NULL;
  long before = mem_blocks();
  int files = open_files();
  char *path = path_directory(kind, base, &e);
  if (e != NULL) printf("%s: %s\n", e->path ? e->path : "-", e->message);
  CHECK_TEXT(path, wanted);
  CHECK(e == NULL);
  struct stat st;
  CHECK(path != NULL && stat(path, &st) == 0 && S_ISDIR(st.st_mode));
  mem_free(path);
  error_unref(e);
  CHECK_INT(open_files(), files);
  CHECK_INT(mem_blocks(), before);
}

static void check_refused(const char *base, uint32_t code, const char *why) {
  error *e = NULL;
  long before = mem_blocks();
  int files = open_files();
  char *path = path_directory(PATH_STATE, base, &e);
  CHECK(path == NULL);
  CHECK(e != NULL);
  if (e != NULL) {
    CHECK_INT(e->code, code);
    if (strstr(e->message, why) == NULL)
      printf("\"%s\" is not in \"%s\"\n", why, e->message);
    CHECK(strstr(e->message, why) != NULL);
    CHECK(e->path != NULL && *e->path == '/');
  }
  mem_free(path);
  error_unref(e);
  CHECK_INT(open_files(), files);
  CHECK_INT(mem_blocks(), before);
}

TEST(directory_makes_what_is_missing) {
  enter_scratch();
  check_directory(PATH_STATE, in("a/b"), in("a/b/state"));
  check_directory(PATH_RUNTIME, in("a/b"), in("a/b/run"));
  check_directory(PATH_STATE, in("a/b"), in("a/b/state")); /* once more */
  CHECK_INT(mode_of(in("a")), own_mode());
  CHECK_INT(mode_of(in("a/b")), own_mode());
  CHECK_INT(mode_of(in("a/b/state")), own_mode());
  CHECK_INT(mode_of(in("a/b/run")), own_mode());
  check_directory(PATH_STATE, in("c//./d/"), in("c/d/state"));
  check_directory(PATH_STATE, in("c/../e"), in("c/../e/state"));
  CHECK_INT(mode_of(in("e/state")), own_mode());
  leave_scratch();
}

TEST(directory_that_is_only_looked_for) {
  enter_scratch();
  error *e = NULL;
  int files = open_files();
  long before = mem_blocks();
  CHECK(path_directory_there(PATH_STATE, in("a/b"), &e) == NULL);
  CHECK(e == NULL);
  CHECK(access(in("a"), F_OK) != 0);
  mem_free(path_directory(PATH_STATE, in("a/b"), &e));
  CHECK(path_directory_there(PATH_RUNTIME, in("a/b"), &e) == NULL);
  CHECK(e == NULL);
  char *path = path_directory_there(PATH_STATE, in("a/b"), &e);
  CHECK_TEXT(path, in("a/b/state"));
  mem_free(path);
  chmod(in("a/b/state"), 0777);
  CHECK(path_directory_there(PATH_STATE, in("a/b"), &e) == NULL);
  CHECK(e != NULL && e->code == SAROS_E_REFUSED);
  error_unref(e);
  CHECK_INT(open_files(), files);
  CHECK_INT(mem_blocks(), before);
  leave_scratch();
}

TEST(directory_does_not_care_for_the_umask) {
  static const mode_t masks[] = {0, 0777, 0177, 022};
  enter_scratch();
  for (size_t i = 0; i < COUNT(masks); i++) {
    mode_t old = umask(masks[i]);
    error *e = NULL;
    char *path = path_directory(PATH_STATE, in("m%zu", i), &e);
    umask(old);
    if (geteuid() == 0 || i == 0 || i == 3) {
      CHECK(path != NULL);
      CHECK_INT(mode_of(in("m%zu/state", i)), own_mode());
    }
    mem_free(path);
    error_unref(e);
  }
  leave_scratch();
}

TEST(directory_may_be_relative) {
  enter_scratch();
  char before[PATH_MAX];
  CHECK(getcwd(before, sizeof before) != NULL);
  CHECK_INT(chdir(scratch), 0);
  check_directory(PATH_STATE, "rel/a", in("rel/a/state"));
  check_directory(PATH_STATE, ".", in("state"));
  /* Relative to a directory that is gone. */
  CHECK_INT(mkdir(in("gone"), 0700), 0);
  CHECK_INT(chdir(in("gone")), 0);
  CHECK_INT(rmdir(in("gone")), 0);
  error *e = NULL;
  long blocks = mem_blocks();
  CHECK(path_directory(PATH_STATE, "rel", &e) == NULL);
  CHECK_INT(e->number, ENOENT);
  error_unref(e);
  CHECK_INT(mem_blocks(), blocks);
  CHECK_INT(chdir(before), 0);
  leave_scratch();
}

TEST(directory_keeps_the_mode_it_has) {
  enter_scratch();
  CHECK_INT(mkdir(in("state"), 0711), 0);
  CHECK_INT(chmod(in("state"), 0711), 0);
  check_directory(PATH_STATE, scratch, in("state"));
  CHECK_INT(mode_of(in("state")), 0711);
  leave_scratch();
}

TEST(directory_refuses_one_that_others_write_to) {
  static const mode_t modes[] = {0777, 0702, 0720, 01777, 0770, 02775};
  enter_scratch();
  CHECK_INT(mkdir(in("state"), 0700), 0);
  for (size_t i = 0; i < COUNT(modes); i++) {
    char wanted[64];
    snprintf(wanted, sizeof wanted,
             "other users can write to the directory "
             "(mode %04o)",
             (unsigned)modes[i]);
    CHECK_INT(chmod(in("state"), modes[i]), 0);
    check_refused(scratch, SAROS_E_REFUSED, wanted);
    CHECK_INT(mode_of(in("state")), modes[i]); /* nor is it changed */
  }
  leave_scratch();
}

TEST(directory_refuses_a_way_that_others_can_change) {
  enter_scratch();
  CHECK_INT(mkdir(in("w"), 0700), 0);
  CHECK_INT(chmod(in("w"), 0777), 0);
  check_refused(in("w/x"), SAROS_E_REFUSED,
                "anybody can write to 'w' (mode 0777) on the way there");
  CHECK_INT(chmod(in("w"), 01777), 0); /* as /tmp is */
  check_directory(PATH_STATE, in("w/x"), in("w/x/state"));
  CHECK_INT(chmod(in("w"), 0775), 0); /* a group may be one's own */
  check_directory(PATH_STATE, in("w/x"), in("w/x/state"));
  leave_scratch();
}

TEST(directory_refuses_what_is_none) {
  enter_scratch();
  int fd = open(in("state"), O_CREAT | O_WRONLY, 0600);
  CHECK(fd >= 0);
  close(fd);
  check_refused(scratch, code_of_errno(ENOTDIR), "Not a directory");
  check_refused(in("state"), code_of_errno(ENOTDIR), "Not a directory");
  CHECK_INT(unlink(in("state")), 0);
  CHECK_INT(mkfifo(in("state"), 0600), 0); /* and does not hang on it */
  check_refused(scratch, code_of_errno(ENOTDIR), "Not a directory");
  char name[NAME_MAX + 2];
  memset(name, 'n', sizeof name - 1);
  name[sizeof name - 1] = '\0';
  check_refused(in("%s", name), code_of_errno(ENAMETOOLONG), "too long");
  name[NAME_MAX] = '\0';
  check_directory(PATH_STATE, in("%s", name), in("%s/state", name));
  leave_scratch();
}

TEST(directory_follows_its_own_links) {
  enter_scratch();
  CHECK_INT(mkdir(in("real"), 0700), 0);
  CHECK_INT(symlink("real", in("relative")), 0);
  CHECK_INT(symlink(in("real"), in("absolute")), 0);
  CHECK_INT(symlink("absolute", in("twice")), 0);
  CHECK_INT(symlink("./real/../real/", in("odd")), 0);
  CHECK_INT(symlink("not/yet", in("dangling")), 0);
  check_directory(PATH_STATE, in("relative"), in("relative/state"));
  CHECK_INT(mode_of(in("real/state")), own_mode());
  check_directory(PATH_STATE, in("absolute/x"), in("absolute/x/state"));
  CHECK_INT(mode_of(in("real/x/state")), own_mode());
  check_directory(PATH_STATE, in("twice"), in("twice/state"));
  check_directory(PATH_STATE, in("odd/y"), in("odd/y/state"));
  CHECK_INT(mode_of(in("real/y/state")), own_mode());
  check_directory(PATH_STATE, in("dangling"), in("dangling/state"));
  CHECK_INT(mode_of(in("not/yet/state")), own_mode());
  /* The last name of all may be a link too. */
  CHECK_INT(mkdir(in("last"), 0700), 0);
  CHECK_INT(symlink("../real", in("last/state")), 0);
  check_directory(PATH_STATE, in("last"), in("last/state"));
  CHECK_INT(symlink("loop", in("loop")), 0);
  check_refused(in("loop"), code_of_errno(ELOOP), "symbolic links");
  CHECK_INT(symlink("b", in("a")), 0);
  CHECK_INT(symlink("a", in("b")), 0);
  check_refused(in("a"), code_of_errno(ELOOP), "symbolic links");
  leave_scratch();
}

TEST(directory_refuses_what_belongs_to_others) {
  if (geteuid() != 0) SKIP("needs root");
  enter_scratch();
  CHECK_INT(mkdir(in("state"), 0755), 0);
  CHECK_INT(chown(in("state"), 12345, 12345), 0);
  check_refused(scratch, SAROS_E_REFUSED,
                "the directory belongs to user 12345 and not to user 0");
  CHECK_INT(chown(in("state"), 0, 12345), 0); /* the group alone is nothing */
  check_directory(PATH_STATE, scratch, in("state"));
  CHECK_INT(mkdir(in("real"), 0755), 0);
  CHECK_INT(symlink("real", in("link")), 0);
  CHECK_INT(lchown(in("link"), 12345, 12345), 0);
  check_refused(in("link"), SAROS_E_REFUSED,
                "'link' is a symbolic link of user 12345");
  CHECK_INT(mkdir(in("last"), 0755), 0);
  CHECK_INT(symlink("../real", in("last/state")), 0);
  CHECK_INT(lchown(in("last/state"), 12345, 12345), 0);
  check_refused(in("last"), SAROS_E_REFUSED,
                "'state' is a symbolic link of user 12345");
  leave_scratch();
}

/* Runs a part of a test in a process of its own, which may give up rights. */
static void in_child(void (*run)(void)) {
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    check_bad = 0;
    run();
    fflush(stdout);
    _exit(check_bad > 0);
  }
  int status = -1;
  CHECK(child > 0 && waitpid(child, &status, 0) == child);
  CHECK_INT(status, 0);
}

/* One of our own: the directory in /tmp that is named after it is nobody
   else's, though another suite run beside us. Of the ids that a container
   knows, too. */
static uid_t user;

static const char *in_tmp(const char *rest) {
  static char text[64];
  snprintf(text, sizeof text, "/tmp/saros-%u%s", (unsigned)user, rest);
  return text;
}

static void become_user(void) {
  CHECK_INT(chown(scratch, user, user), 0);
  CHECK_INT(setgid(user), 0);
  CHECK_INT(setuid(user), 0);
}

static void as_user(void) {
  become_user();
  /* Where XDG says. */
  setenv("HOME", in("home"), 1);
  setenv("XDG_STATE_HOME", in("xdg"), 1);
  setenv("XDG_RUNTIME_DIR", in("run"), 1);
  CHECK_INT(mkdir(in("home"), 0700), 0);
  CHECK_INT(mkdir(in("run"), 0700), 0);
  check_directory(PATH_STATE, NULL, in("xdg/saros"));
  CHECK_INT(mode_of(in("xdg")), 0700);
  CHECK_INT(mode_of(in("xdg/saros")), 0700);
  check_directory(PATH_RUNTIME, NULL, in("run/saros"));
  CHECK_INT(mode_of(in("run/saros")), 0700);
  check_directory(PATH_STATE, in("base"), in("base/state"));
  CHECK_INT(mode_of(in("base")), 0700);
  check_directory(PATH_STATE, "", in("xdg/saros")); /* as if not given */
  setenv("XDG_STATE_HOME", in("xdg//"), 1);
  check_directory(PATH_STATE, NULL, in("xdg/saros"));
  /* At home, when there is no variable or it is no path. */
  setenv("XDG_STATE_HOME", "relative", 1);
  check_directory(PATH_STATE, NULL, in("home/.local/state/saros"));
  unsetenv("XDG_STATE_HOME");
  check_directory(PATH_STATE, NULL, in("home/.local/state/saros"));
  CHECK_INT(mode_of(in("home/.local/state/saros")), 0700);
  CHECK_INT(mode_of(in("home/.local")), 0700);
  /* In /tmp, when there is neither. */
  setenv("HOME", in("nobody is at home"), 1);
  check_directory(PATH_STATE, NULL, in_tmp("/state"));
  unsetenv("HOME");
  check_directory(PATH_STATE, NULL, in_tmp("/state"));
  CHECK_INT(mode_of(in_tmp("")), 0700);
  setenv("XDG_RUNTIME_DIR", in("not there"), 1);
  check_directory(PATH_RUNTIME, NULL, in_tmp("/run"));
  unsetenv("XDG_RUNTIME_DIR");
  check_directory(PATH_RUNTIME, NULL, in_tmp("/run"));
  CHECK_INT(mode_of(in_tmp("/run")), 0700);
  CHECK_INT(rmdir(in_tmp("/run")), 0);
  CHECK_INT(rmdir(in_tmp("/state")), 0);
  CHECK_INT(rmdir(in_tmp("")), 0);
  /* What a user may not write to. */
  check_refused(in("of root"), SAROS_E_ACCESSDENIED, "Permission denied");
}

TEST(directory_of_a_user) {
  if (geteuid() != 0) SKIP("needs root");
  enter_scratch();
  CHECK_INT(mkdir(in("of root"), 0755), 0);
  in_child(as_user);
  leave_scratch();
}

static void as_victim(void) {
  become_user();
  unsetenv("XDG_STATE_HOME");
  unsetenv("HOME");
  error *e = NULL;
  CHECK(path_directory(PATH_STATE, NULL, &e) == NULL);
  CHECK_INT(e->code, SAROS_E_REFUSED);
  CHECK(strstr(e->message, "symbolic link of user 23456") != NULL);
  CHECK_TEXT(e->path, in_tmp("/state"));
  error_unref(e);
}

/* Somebody else was there first. */
TEST(directory_in_tmp_may_be_a_trap) {
  if (geteuid() != 0) SKIP("needs root");
  enter_scratch();
  CHECK_INT(symlink(scratch, in_tmp("")), 0);
  CHECK_INT(lchown(in_tmp(""), 23456, 23456), 0);
  in_child(as_victim);
  CHECK_INT(unlink(in_tmp("")), 0);
  leave_scratch();
}

static void as_root_of_a_system(void) {
  CHECK_INT(chroot(scratch), 0);
  CHECK_INT(chdir("/"), 0);
  setenv("XDG_STATE_HOME", "/xdg", 1); /* is a user's */
  check_directory(PATH_STATE, NULL, "/var/lib/saros");
  check_directory(PATH_RUNTIME, NULL, "/run/saros");
  CHECK_INT(mode_of("/var/lib/saros"), 0755);
  CHECK_INT(mode_of("/run/saros"), 0755);
}

TEST(directory_of_the_system) {
  if (geteuid() != 0) SKIP("needs root");
  enter_scratch();
  in_child(as_root_of_a_system);
  leave_scratch();
}

static char swept_base[PATH_MAX];

static bool make_directory(void) {
  error *e = NULL;
  int files = open_files();
  char *path = path_directory(PATH_STATE, swept_base, &e);
  CHECK((path == NULL) == (e != NULL));
  if (e != NULL) CHECK_INT(e->code, SAROS_E_OUTOFMEMORY);
  CHECK_INT(open_files(), files);
  bool whole = path != NULL;
  mem_free(path);
  error_unref(e);
  return whole;
}

TEST(directory_survives_without_memory) {
  enter_scratch();
  CHECK_INT(symlink("real", in("link")), 0);
  strcpy(swept_base, in("link/a"));
  SWEEP(make_directory, 12);
  leave_scratch();
}

static bool refuse_directory(void) {
  error *e = NULL;
  CHECK(path_directory(PATH_STATE, scratch, &e) == NULL);
  bool whole = e != NULL && e->code == SAROS_E_REFUSED;
  CHECK(whole || (e != NULL && e->code == SAROS_E_OUTOFMEMORY));
  error_unref(e);
  return whole;
}

TEST(directory_refuses_without_memory) {
  enter_scratch();
  CHECK_INT(mkdir(in("state"), 0700), 0);
  CHECK_INT(chmod(in("state"), 0777), 0);
  SWEEP(refuse_directory, 8);
  leave_scratch();
}

int main(int argc, char **argv) {
  check_begin(argc, argv);
  user = 24000 + (uid_t)getpid() % 40000;
  RUN(directory_makes_what_is_missing);
  RUN(directory_that_is_only_looked_for);
  RUN(directory_does_not_care_for_the_umask);
  RUN(directory_may_be_relative);
  RUN(directory_keeps_the_mode_it_has);
  RUN(directory_refuses_one_that_others_write_to);
  RUN(directory_refuses_a_way_that_others_can_change);
  RUN(directory_refuses_what_is_none);
  RUN(directory_follows_its_own_links);
  RUN(directory_refuses_what_belongs_to_others);
  RUN(directory_of_a_user);
  RUN(directory_in_tmp_may_be_a_trap);
  RUN(directory_of_the_system);
  RUN(directory_survives_without_memory);
  RUN(directory_refuses_without_memory);
  return check_end();
}
