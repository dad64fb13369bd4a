/*
** over: runs a program for which shadows lie over their originals, so that a
** backup tool reads them by the names it has always read.
**
**     over --cwd=DIR [--lay SHADOW ORIGINAL] … -- PROGRAM ARGUMENT …
**
** The mounts are in a namespace of the program's own: nobody else sees them,
** and they end with it, however it ends. All shadows are taken hold of before
** the first is laid, because it may cover where another one lies; an original
** that lies in another one is named behind it. The working directory is entered
** when all of them lie there: one that was entered before would lead below.
**
** What cannot be done is an error with the name of the step, and status 125; no
** program runs over a part of them.
*/
#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <stdnoreturn.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { MOST = 64, CANNOT = 125, CANNOT_EXECUTE = 126, NO_PROGRAM = 127 };

typedef struct lay {
  const char *shadow, *original;
  int tree;
} lay;

static noreturn void fail(const char *step, const char *detail) {
  int number = errno;
  fprintf(stderr, "over: cannot %s: %s: %s\n", step, detail, strerror(number));
  _exit(CANNOT);
}

static noreturn void refuse(const char *why) {
  fprintf(stderr, "over: %s\n", why);
  _exit(CANNOT);
}

/* By number, because libc learned them late (glibc 2.36). A shadow has no
   mounts of its own that would count. */
static void take(lay *l) {
  l->tree = (int)syscall(SYS_open_tree, AT_FDCWD, l->shadow,
                         OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
  if (l->tree < 0) fail("take hold of the shadow (Linux 5.2)", l->shadow);
}

static void put(const lay *l) {
  if (syscall(SYS_move_mount, l->tree, "", AT_FDCWD, l->original,
              MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_SYMLINKS) != 0)
    fail("lay a shadow over", l->original);
  close(l->tree);
}

/* Returns the program's words. */
static char **read_options(char **at, lay *lays, int *count, const char **cwd) {
  for (; *at != NULL; at++) {
    if (strcmp(*at, "--") == 0) return at + 1;
    if (strncmp(*at, "--cwd=", 6) == 0) {
      *cwd = *at + 6;
    } else if (strcmp(*at, "--lay") == 0 && at[1] != NULL && at[2] != NULL) {
      if (*count == MOST) refuse("there are more shadows than it can lay");
      lays[*count].shadow = at[1];
      lays[(*count)++].original = at[2];
      at += 2;
    } else {
      refuse("--cwd=DIR, --lay SHADOW ORIGINAL or -- expected");
    }
  }
  refuse("no program was named");
}

int main(int argc, char **argv) {
  static lay lays[MOST];
  const char *cwd = "/";
  int count = 0;
  (void)argc;
  char **words = read_options(argv + 1, lays, &count, &cwd);
  if (words[0] == NULL) refuse("no program was named");
  if (unshare(CLONE_NEWNS) != 0)
    fail("have mounts of its own (it needs CAP_SYS_ADMIN)", "unshare");
  if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
    fail("part from the mounts of this machine", "/");
  for (int i = 0; i < count; i++) take(&lays[i]);
  for (int i = 0; i < count; i++) put(&lays[i]);
  if (chdir(cwd) != 0) fail("enter the directory", cwd);
  execvp(words[0], words);
  int number = errno;
  fprintf(stderr, "over: cannot start %s: %s\n", words[0], strerror(number));
  _exit(number == ENOENT ? NO_PROGRAM : CANNOT_EXECUTE);
}
