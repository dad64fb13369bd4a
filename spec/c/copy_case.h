/*
** What the tests of the copy need: a scratch directory, real file systems in
** it, trees to copy, and a comparison that knows nothing of the copy's code.
**
** All runs in a child process with mounts of its own. However it ends, its
** mounts end with it, and loop devices that nobody has mounted let go of
** their files by themselves; then the parent removes the scratch directory.
*/
#ifndef SAROS_COPY_CASE_H
#define SAROS_COPY_CASE_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/loop.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "check.h"
#include "op/copy.h"
#include "op/engine.h"
#include "tree_case.h"

/* ThreadSanitizer takes a thread that had ended, but was not joined yet when
   a child was forked, for a leak of the child; read by its runtime only. */
const char *__tsan_default_options(void);
const char *__tsan_default_options(void) {
  return "report_thread_leaks=0:die_after_fork=0";
}

static char scratch[200];

/* A path in the scratch directory, good for the next few calls. */
static const char *in(const char *format, ...)
    __attribute__((format(printf, 1, 2)));
static const char *in(const char *format, ...) {
  static _Thread_local char ring[8][700];
  static _Thread_local int turn;
  char *text = ring[turn++ % 8];
  int n = snprintf(text, 200, "%s/", scratch);
  va_list args;
  va_start(args, format);
  vsnprintf(text + n, 500, format, args);
  va_end(args);
  return text;
}

/* rm -rf of any depth, without a mercy for what is mounted: nothing is. */
static void remove_below(int dir) {
  unsigned depth = 0;
  for (;;) {
    int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *list = copy >= 0 ? fdopendir(copy) : NULL;
    if (list == NULL) break;
    int down = -1;
    for (struct dirent *e; down < 0 && (e = readdir(list)) != NULL;) {
      if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
      if (unlinkat(dir, e->d_name, 0) == 0) continue;
      if (unlinkat(dir, e->d_name, AT_REMOVEDIR) == 0) continue;
      down = openat(dir, e->d_name,
                    O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    }
    closedir(list);
    int next = down;
    if (down < 0) {
      if (depth == 0) break;
      next = openat(dir, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    }
    depth += down < 0 ? -1u : 1u;
    close(dir);
    dir = next;
    if (dir < 0) return;
  }
  close(dir);
}

static void wipe(const char *path) {
  int dir = open(path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (dir >= 0) remove_below(dir);
  if (rmdir(path) != 0) unlink(path);
}


/* ------------------------------------------------------------------
** File systems
** ---------------------------------------------------------------- */

static int attach_loop(const char *image, char device[32]) {
  int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
  int file = open(image, O_RDWR | O_CLOEXEC);
  int loop = -1;
  for (int tries = 0; control >= 0 && file >= 0 && tries < 50; tries++) {
    int n = ioctl(control, LOOP_CTL_GET_FREE);
    if (n < 0) break;
    snprintf(device, 32, "/dev/loop%d", n);
    if (access(device, F_OK) != 0)
      mknod(device, S_IFBLK | 0600, makedev(7, (unsigned)n));
    loop = open(device, O_RDWR | O_CLOEXEC);
    struct loop_config config = {.fd = (unsigned)file,
                                 .info = {.lo_flags = LO_FLAGS_AUTOCLEAR}};
    if (loop >= 0 && ioctl(loop, LOOP_CONFIGURE, &config) == 0) break;
    if (loop >= 0) close(loop); /* somebody was quicker */
    loop = -1;
    usleep(20000);
  }
  if (control >= 0) close(control);
  if (file >= 0) close(file);
  return loop;
}

/* Makes and mounts one; its directory, or NULL. */
static const char *mount_new(const char *type, unsigned megabytes) {
  static unsigned number;
  static char where[600];
  char device[32], command[900];
  const char *image = in("fs%u.img", ++number);
  if (getuid() != 0) return NULL;
  int fd = open(image, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0 || ftruncate(fd, (off_t)megabytes << 20) != 0) return NULL;
  close(fd);
  snprintf(command, sizeof command,
           "PATH=$PATH:/usr/sbin:/sbin mkfs.%s %s '%s' >/dev/null 2>&1", type,
           strcmp(type, "ext4") == 0 ? "-q -F" : "-q -f", image);
  if (system(command) != 0) return NULL;
  int loop = attach_loop(image, device);
  if (loop < 0) return NULL;
  snprintf(where, sizeof where, "%s", in("fs%u", number));
  mkdir(where, 0755);
  int r = mount(device, where, type, 0, NULL);
  close(loop); /* the mount holds it now, or nobody */
  return r == 0 ? where : NULL;
}

static void unmount(const char *where) {
  umount2(where, MNT_DETACH);
}

/* Mounted once for all tests that only need one. */
typedef struct place {
  const char *type;
  unsigned megabytes;
  bool tried;
  char path[600];
} place;

static place places[] = {{"ext4", 1500, false, ""},
                         {"btrfs", 1500, false, ""},
                         {"xfs", 1500, false, ""}};
#define PLACES 3

/* A fresh directory there; NULL when there is no such file system. */
static const char *at_place(int i) {
  static char dirs[PLACES][640];
  static unsigned number;
  place *p = &places[i];
  if (!p->tried) {
    p->tried = true;
    const char *path = mount_new(p->type, p->megabytes);
    if (path != NULL) snprintf(p->path, sizeof p->path, "%s", path);
    if (path == NULL)
      printf("NO %s HERE: NOT ROOT, NO mkfs.%s, OR NO LOOP DEVICE\n", p->type,
             p->type);
  }
  if (p->path[0] == 0) return NULL;
  snprintf(dirs[i], sizeof dirs[i], "%s/t%u", p->path, ++number);
  mkdir(dirs[i], 0755);
  return dirs[i];
}

/* For each file system that is here; else the scratch directory, once. */
#define EACH_PLACE(dir)                                            \
  for (int place_i = 0, place_n = 0; place_i <= PLACES; place_i++) \
    for (const char *dir = place_i < PLACES ? at_place(place_i)    \
                           : place_n == 0   ? own_place()          \
                                            : NULL;                  \
         dir != NULL; place_n++, wipe(dir), dir = NULL)

static const char *own_place(void) {
  static char dir[300];
  snprintf(dir, sizeof dir, "%s/own", scratch);
  mkdir(dir, 0755);
  return dir;
}

/* Nothing here has a reason to complain, but where it is told so. */
static void print_log(void *context, const log_record *record) {
  (void)context;
  printf("log: %s: %s\n", log_level_name(record->level), record->text);
}

static int case_main(int argc, char **argv, void (*all)(void)) {
  const char *tmp = getenv("TMPDIR");
  snprintf(scratch, sizeof scratch, "%.150s/saros-copy-test-XXXXXX",
           tmp != NULL ? tmp : "/tmp");
  if (mkdtemp(scratch) == NULL) return 2;
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* its mounts go with it */
    if (unshare(CLONE_NEWNS) == 0)
      mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL);
    check_begin(argc, argv);
    umask(022);
    all();
    if (getenv("SAROS_COPY_LOG") != NULL) log_replay(print_log, NULL);
    int r = check_end();
    for (int i = 0; i < PLACES; i++)
      if (places[i].path[0] != 0) umount2(places[i].path, MNT_DETACH);
    exit(r);
  }
  int status = 1;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  wipe(scratch);
  if (WIFEXITED(status)) return WEXITSTATUS(status);
  printf("the tests died of signal %d\n", WTERMSIG(status));
  return 1;
}


static unsigned entries_in(const char *path) {
  unsigned n = 0;
  DIR *d = opendir(path);
  while (d != NULL && readdir(d) != NULL) n++;
  if (d != NULL) closedir(d);
  return n - 2;
}


/* ------------------------------------------------------------------
** Copying
** ---------------------------------------------------------------- */

static saros_op *begin(copy_options o) {
  error *e;
  saros_op *op = copy_start(&o, &e);
  if (op == NULL) {
    printf("not started: %s\n", e->message);
    error_unref(e);
  }
  return op;
}

/* Waits, prints an error that was not expected, lets go. */
static uint32_t end(saros_op *op, uint32_t expected) {
  if (op == NULL) return SAROS_E_UNEXPECTED;
  saros_op_wait(op, SAROS_INFINITE);
  uint32_t code = saros_op_code(op);
  error *e = op_error(op);
  if (e != NULL && code != expected) printf("error: %s\n", e->message);
  error_unref(e);
  saros_op_unref(op);
  return code;
}

static uint32_t copy_now(const char *from, const char *to) {
  return end(begin((copy_options){.from = from, .to = to}), 0);
}

static int64_t output(saros_op *op, const char *name) {
  saros_op_wait(op, SAROS_INFINITE);
  return value_integer(value_get(op_output(op), name), -1);
}

#endif
