/*
** Real file systems for tests: ext4, XFS and btrfs on loop devices over files
** in a scratch directory, and an ext4 whose image lies on such an XFS or btrfs.
**
**     static void all(void) { RUN(something); }
**     int main(int argc, char **argv) {
**       return volumes_main(argc, argv, all);
**     }
**
** The tests run in a child, in a mount namespace that parent and child have
** for themselves. However the child ends, the parent then thaws what is
** frozen below the scratch directory, unmounts it, takes its loop devices
** off their files, and removes it; when both were killed, spec/run does. What
** cannot be had here is NULL, and volumes_missing says why.
*/
#ifndef SAROS_VOLUMES_H
#define SAROS_VOLUMES_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"

#ifndef SAROS_GATE_H /* which has its own */
/* ThreadSanitizer takes a thread that had ended, but was not joined yet when
   a child was forked, for a leak of the child; read by its runtime only. */
const char *__tsan_default_options(void);
const char *__tsan_default_options(void) {
  return "report_thread_leaks=0:die_after_fork=0";
}
#endif

typedef struct volume {
  const char *type; /* "ext4", "xfs", "btrfs" */
  char image[300];  /* the file that it is in */
  char device[32];  /* the loop device over that */
  char path[300];   /* where it is mounted */
} volume;

static char volumes_scratch[200];
static const char *volumes_missing = "";
static bool volumes_own_mounts; /* nobody else sees what is mounted */

/* A path in the scratch directory, good for the next few calls. */
static inline const char *volumes_in(const char *format, ...)
    __attribute__((format(printf, 1, 2)));
static inline const char *volumes_in(const char *format, ...) {
  static _Thread_local char ring[8][700];
  static _Thread_local int turn;
  char *text = ring[turn++ % 8];
  int n = snprintf(text, 200, "%s/", volumes_scratch);
  va_list args;
  va_start(args, format);
  vsnprintf(text + n, 500, format, args);
  va_end(args);
  return text;
}

/* Runs a shell command quietly; its status. */
static inline int volumes_run(const char *format, ...)
    __attribute__((format(printf, 1, 2)));
static inline int volumes_run(const char *format, ...) {
  char command[2000] = "PATH=$PATH:/usr/sbin:/sbin; ";
  size_t n = strlen(command);
  va_list args;
  va_start(args, format);
  vsnprintf(command + n, sizeof command - n, format, args);
  va_end(args);
  fflush(stdout);
  int status = system(command);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

static inline bool volumes_have(const char *program) {
  return volumes_run("command -v %s >/dev/null 2>&1", program) == 0;
}


/* ------------------------------------------------------------------
** One file system
** ---------------------------------------------------------------- */

/* Attaches a free loop device to a file; its fd, or -1. It lets go of the file
   by itself when nobody has it open or mounted any more. */
static inline int volumes_attach(const char *image, uint32_t flags,
                                 uint64_t offset, char device[32]) {
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
    struct loop_config config = {
        .fd = (unsigned)file,
        .info = {.lo_flags = LO_FLAGS_AUTOCLEAR | flags, .lo_offset = offset}};
    if (loop >= 0 && ioctl(loop, LOOP_CONFIGURE, &config) == 0) break;
    if (loop >= 0) close(loop); /* somebody was quicker */
    loop = -1;
    usleep(20000);
  }
  if (control >= 0) close(control);
  if (file >= 0) close(file);
  return loop;
}

/* Makes and mounts one whose image lies in `directory` (NULL: the scratch
   directory). `options` are for mkfs. */
static inline bool volume_make(volume *v, const char *type, unsigned megabytes,
                               const char *directory, const char *options) {
  static unsigned number;
  *v = (volume){.type = type};
  if (getuid() != 0) {
    volumes_missing = "needs root, for mounting";
    return false;
  }
  snprintf(v->path, sizeof v->path, "%s", volumes_in("v%u", ++number));
  snprintf(v->image, sizeof v->image, "%s/v%u.img",
           directory != NULL ? directory : volumes_scratch, number);
  int fd = open(v->image, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  bool good = fd >= 0 && ftruncate(fd, (off_t)megabytes << 20) == 0;
  if (fd >= 0) close(fd);
  volumes_missing = "cannot make a file for a file system";
  if (!good) return false;
  volumes_missing = "mkfs did not make this file system";
  if (volumes_run("mkfs.%s %s %s '%s' >/dev/null 2>&1", type,
                  strcmp(type, "ext4") == 0 ? "-q -F" : "-q -f",
                  options != NULL ? options : "", v->image) != 0)
    return false;
  volumes_missing = "there is no loop device to be had";
  int loop = volumes_attach(v->image, 0, 0, v->device);
  if (loop < 0) return false;
  mkdir(v->path, 0755);
  int r = mount(v->device, v->path, type, 0, NULL);
  close(loop); /* the mount holds it now, or nobody */
  volumes_missing = "the kernel does not mount this file system here";
  return r == 0;
}

/* Unmounts it; its loop device and its file go too. */
static inline void volume_drop(volume *v) {
  if (v->path[0] != 0) {
    umount2(v->path, MNT_DETACH);
    rmdir(v->path);
  }
  if (v->image[0] != 0) unlink(v->image);
  *v = (volume){0};
}

typedef enum volumes_kind {
  EXT4,
  XFS, /* with reflinks */
  BTRFS,
  EXT4_ON_XFS,
  EXT4_ON_BTRFS,
  VOLUMES_KINDS
} volumes_kind;

/* One of each, made when it is first asked for, and shared by the tests; NULL
   when it cannot be had. */
static inline const volume *volumes_get(volumes_kind kind) {
  static volume all[VOLUMES_KINDS];
  static int tried[VOLUMES_KINDS]; /* 1: there, 2: not to be had */
  volume *v = &all[kind];
  bool good = tried[kind] == 1;
  if (tried[kind] == 0) {
    const volume *below = kind == EXT4_ON_XFS     ? volumes_get(XFS)
                          : kind == EXT4_ON_BTRFS ? volumes_get(BTRFS)
                                                  : NULL;
    switch (kind) {
      case EXT4: good = volume_make(v, "ext4", 400, NULL, NULL); break;
      case XFS: good = volume_make(v, "xfs", 1500, NULL, "-m reflink=1"); break;
      case BTRFS: good = volume_make(v, "btrfs", 1500, NULL, NULL); break;
      default:
        good = below != NULL && volume_make(v, "ext4", 300, below->path, NULL);
    }
    tried[kind] = good ? 1 : 2;
  }
  return good ? v : NULL;
}


/* ------------------------------------------------------------------
** Cleaning up, and the main program
** ---------------------------------------------------------------- */

/* rm -rf; nothing is mounted below it any more. */
static inline void volumes_wipe(const char *path) {
  volumes_run("chattr -R -i '%s' 2>/dev/null; rm -rf --one-file-system '%s'",
              path, path);
}

/* Mount points below the scratch directory, the last one first: thawed and
   taken away until there are none. */
static inline void volumes_unmount_all(void) {
  char line[5000], point[5000];
  for (int round = 0; round < 200; round++) {
    FILE *f = fopen("/proc/self/mounts", "re");
    point[0] = 0;
    while (f != NULL && fgets(line, sizeof line, f) != NULL) {
      char *name = strchr(line, ' ');
      if (name == NULL) continue;
      name++;
      name[strcspn(name, " \n")] = 0;
      if (strncmp(name, volumes_scratch, strlen(volumes_scratch)) == 0)
        snprintf(point, sizeof point, "%s", name);
    }
    if (f != NULL) fclose(f);
    if (point[0] == 0) return;
    char *to = point;
    for (char *at = point; *at != 0; to++) {
      unsigned byte;
      if (*at == '\\' && sscanf(at + 1, "%3o", &byte) == 1) {
        *to = (char)byte;
        at += 4;
      } else {
        *to = *at++;
      }
    }
    *to = 0;
    int fd = open(point, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int nothing = 0;
    if (fd >= 0) ioctl(fd, FITHAW, &nothing); /* EINVAL is what is expected */
    if (fd >= 0) close(fd);
    umount2(point, MNT_DETACH);
  }
}

/* Loop devices over files below the scratch directory; how many. */
static inline int volumes_loops(bool detach) {
  char path[300], file[5000];
  int n = 0;
  DIR *d = opendir("/sys/block");
  for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
    if (strncmp(e->d_name, "loop", 4) != 0) continue;
    snprintf(path, sizeof path, "/sys/block/%s/loop/backing_file", e->d_name);
    FILE *f = fopen(path, "re");
    bool ours = f != NULL && fgets(file, sizeof file, f) != NULL &&
                strncmp(file, volumes_scratch, strlen(volumes_scratch)) == 0;
    if (f != NULL) fclose(f);
    if (!ours) continue;
    n++;
    snprintf(path, sizeof path, "/dev/%s", e->d_name);
    if (detach)
      volumes_run("swapoff %s $(ls %sp* 2>/dev/null) >/dev/null 2>&1", path,
                  path);
    int fd = detach ? open(path, O_RDONLY | O_CLOEXEC) : -1;
    if (fd >= 0) ioctl(fd, LOOP_CLR_FD, 0);
    if (fd >= 0) close(fd);
  }
  if (d != NULL) closedir(d);
  return n;
}

static inline int volumes_main(int argc, char **argv, void (*all)(void)) {
  const char *tmp = getenv("TMPDIR"), *mark = getenv("SAROS_SUITE");
  snprintf(volumes_scratch, sizeof volumes_scratch, "%.150s/saros-%.30s-XXXXXX",
           tmp != NULL ? tmp : "/tmp", mark != NULL ? mark : "volumes");
  if (mkdtemp(volumes_scratch) == NULL) return 2;
  volumes_own_mounts =
      unshare(CLONE_NEWNS) == 0 &&
      mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) == 0;
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    check_begin(argc, argv);
    umask(022);
    all();
    exit(check_end());
  }
  int status = 1;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  volumes_unmount_all();
  volumes_loops(true);
  volumes_wipe(volumes_scratch);
  if (WIFEXITED(status)) return WEXITSTATUS(status);
  printf("the tests died of signal %d\n", WTERMSIG(status));
  return 1;
}

#endif
