/*
** What the tests of the guard and of the hold need: real file systems that
** may be frozen, and certainty that none stays so.
**
** Everything runs in a child with mounts of its own. Before the first test a
** watchdog is forked off that holds a directory of each file system: when the
** tests end, in whatever way, or take too long, it thaws them all, again and
** again until nothing of them is left.
*/
#ifndef SAROS_FREEZE_CASE_H
#define SAROS_FREEZE_CASE_H

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <poll.h>
#include <sched.h>
#include <stdarg.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/pidfd.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/swap.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>

#include "gate.h"

#define FREEZE_HANG 150 /* seconds, then the watchdog thaws and goes on so */

static char scratch[200];

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


/* ------------------------------------------------------------------
** File systems
** ---------------------------------------------------------------- */

/* A small ext4, an XFS, and an ext4 whose image lies on that XFS. */
enum { EXT4, XFS, INNER, VOLUMES };

typedef struct volume {
  const char *type;
  unsigned megabytes;
  char path[300];
  int fd; /* its root directory, or -1 */
} volume;

static volume volumes[VOLUMES] = {
    {"ext4", 64, "", -1}, {"xfs", 400, "", -1}, {"ext4", 64, "", -1}};
static const char *no_volumes; /* why */

static inline int attach_loop(const char *image, char device[32]) {
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

static inline bool make_image(const char *image, const char *type,
                              unsigned megabytes) {
  char command[900];
  int fd = open(image, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  bool good = fd >= 0 && ftruncate(fd, (off_t)megabytes << 20) == 0;
  if (fd >= 0) close(fd);
  snprintf(command, sizeof command,
           "PATH=$PATH:/usr/sbin:/sbin mkfs.%s %s '%s' >/dev/null 2>&1", type,
           strcmp(type, "ext4") == 0 ? "-q -F" : "-q -f", image);
  return good && system(command) == 0;
}

static inline bool mount_volume(volume *v, const char *image, const char *at) {
  char device[32];
  if (!make_image(image, v->type, v->megabytes)) return false;
  int loop = attach_loop(image, device);
  if (loop < 0) return false;
  mkdir(at, 0755);
  int r = mount(device, at, v->type, 0, NULL);
  close(loop); /* the mount holds it now, or nobody */
  if (r != 0) return false;
  snprintf(v->path, sizeof v->path, "%s", at);
  v->fd = open(at, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  return v->fd >= 0;
}

static inline void mount_volumes(void) {
  int fd = pidfd_open(getpid(), 0);
  if (fd >= 0) close(fd);
  if (fd < 0)
    no_volumes = "no pidfd_open here (valgrind, or a kernel before 5.3)";
  else if (getuid() != 0)
    no_volumes = "only root can mount and freeze file systems";
  else if (!mount_volume(&volumes[EXT4], in("ext4.img"), in("ext4")) ||
           !mount_volume(&volumes[XFS], in("xfs.img"), in("xfs")) ||
           !mount_volume(&volumes[INNER], in("xfs/inner.img"), in("inner")))
    no_volumes = "no ext4 or XFS on a loop device can be had here";
}

static inline int freeze(int fd) {
  return ioctl(fd, FIFREEZE, 0) == 0 ? 0 : errno;
}

static inline int thaw(int fd) {
  return ioctl(fd, FITHAW, 0) == 0 ? 0 : errno;
}

/* To ask is to freeze, for a moment (in which a guard may come by). Not to be
   asked of what is being frozen: that sleeps until it is. */
static inline bool is_frozen(int which) {
  int r = freeze(volumes[which].fd);
  if (r == 0) thaw(volumes[which].fd);
  return r == EBUSY;
}

/* From the outside in: nothing is asked, so nothing can wait for a freeze. */
static inline void thaw_all(void) {
  static const int order[] = {EXT4, XFS, INNER};
  for (int i = 0; i < VOLUMES; i++)
    if (volumes[order[i]].fd >= 0) thaw(volumes[order[i]].fd);
}

#define NEEDS_VOLUMES \
  if (no_volumes != NULL) SKIP(no_volumes)


/* ------------------------------------------------------------------
** The frame
** ---------------------------------------------------------------- */

static inline void remove_scratch(void) {
  char command[300];
  snprintf(command, sizeof command, "rm -rf --one-file-system '%s'", scratch);
  if (system(command) != 0) printf("cannot remove %s\n", scratch);
}

/* Thaws until the tests are gone, and twice more; and takes back a swap file
   that a test may have left. */
static inline _Noreturn void watchdog(int gate) {
  struct pollfd p = {.fd = gate, .events = POLLIN};
  int r = poll(&p, 1, FREEZE_HANG * 1000);
  for (int i = 0; i < 2 || r == 0; i++) {
    thaw_all();
    r = poll(&p, 1, 200); /* end of file: they are gone */
  }
  swapoff(in("ext4/swap file"));
  _exit(0);
}

static inline int freeze_case(int argc, char **argv, void (*all)(void)) {
  const char *tmp = getenv("TMPDIR");
  snprintf(scratch, sizeof scratch, "%.150s/saros-freeze-test-XXXXXX",
           tmp != NULL ? tmp : "/tmp");
  if (mkdtemp(scratch) == NULL) return 2;
  fflush(stdout);
  prctl(PR_SET_CHILD_SUBREAPER, 1); /* the watchdog becomes ours */
  pid_t child = fork();
  if (child == 0) {
    int gate[2];
    if (unshare(CLONE_NEWNS) == 0)
      mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL);
    mount_volumes();
    if (pipe2(gate, O_CLOEXEC) != 0) _exit(2);
    pid_t between = fork(); /* so that the watchdog is no child of the tests */
    if (between == 0) {
      setsid();
      close(gate[1]);
      if (fork() == 0) watchdog(gate[0]);
      _exit(0);
    }
    waitpid(between, NULL, 0);
    close(gate[0]);
    prctl(PR_SET_CHILD_SUBREAPER, 1); /* guards of the dead become ours */
    gate_begin(argc, argv);
    all();
    thaw_all();
    int r = check_end();
    for (int i = VOLUMES - 1; i >= 0; i--)
      if (volumes[i].path[0] != '\0') umount2(volumes[i].path, MNT_DETACH);
    exit(r);
  }
  int status = 1;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  while (waitpid(-1, NULL, 0) > 0 || errno == EINTR) continue;
  remove_scratch();
  if (WIFEXITED(status)) return WEXITSTATUS(status);
  printf("the tests died of signal %d\n", WTERMSIG(status));
  return 1;
}


/* ------------------------------------------------------------------
** Other processes
** ---------------------------------------------------------------- */

static inline bool await_byte(int fd, char *byte) {
  struct pollfd p = {.fd = fd, .events = POLLIN};
  return poll(&p, 1, (int)GATE_BOUND_MS) > 0 && read(fd, byte, 1) == 1;
}

static inline bool await_fd(int fd) {
  struct pollfd p = {.fd = fd, .events = POLLIN};
  int r;
  do r = poll(&p, 1, (int)GATE_BOUND_MS);
  while (r < 0 && errno == EINTR);
  return r > 0;
}

/* Until a process is gone; takes its status when it is ours. */
static inline int await_end(pid_t pid) {
  int fd = pidfd_open(pid, 0), status = 0;
  if (fd >= 0) {
    CHECK(await_fd(fd));
    close(fd);
  }
  return waitpid(pid, &status, WNOHANG) == pid ? status : -1;
}

static inline bool is_gone(pid_t pid) {
  return kill(pid, 0) != 0 && errno == ESRCH;
}

/* Takes the status of those that have ended, orphans of the dead among them. */
static inline bool no_children(void) {
  int r;
  do r = waitpid(-1, NULL, WNOHANG);
  while (r > 0);
  return r < 0 && errno == ECHILD;
}

/* Names in a directory but . and .. */
static inline int names_in(const char *path) {
  DIR *d = opendir(path);
  int n = 0;
  for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;)
    n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
  if (d != NULL) closedir(d);
  return n;
}

#endif
