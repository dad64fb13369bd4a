/*
** mount_place: mounting, and every way out. When this process ends, however, a
** helper sees the end of its line and unmounts: nobody is left with a directory
** that answers nothing.
*/
#include <errno.h>
#include <fcntl.h>
#include <linux/fuse.h>
#include <linux/magic.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "repository/mount_parts.h"

#ifdef SAROS_TEST
void (*_Atomic mount_gate)(void);
#endif

/* A first line says that it is mounted, a second one that it is not any more.
   An end in between is ours. */
static const char script[] =
    "trap '' HUP INT TERM; read -r x || exit 0; read -r x && exit 0; exec "
    "umount -f -l -- \"$1\"";

static error *spawn(mount_place *p, int theirs) {
  char name[] = "sh", dash[] = "-c", self[] = "saros-mount";
  char text[sizeof script];
  char path[] = "PATH=/usr/sbin:/usr/bin:/sbin:/bin";
  char *environment[] = {path, NULL};
  memcpy(text, script, sizeof script);
  char *arguments[] = {name, dash, text, self, p->path, NULL};
  posix_spawn_file_actions_t files;
  posix_spawnattr_t how;
  sigset_t none, all;
  sigemptyset(&none);
  sigfillset(&all);
  posix_spawn_file_actions_init(&files);
  posix_spawnattr_init(&how);
  posix_spawnattr_setflags(&how, POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK |
                                     POSIX_SPAWN_SETSIGDEF);
  posix_spawnattr_setsigmask(&how, &none);
  posix_spawnattr_setsigdefault(&how, &all);
  int failed = posix_spawn_file_actions_adddup2(&files, theirs, 0);
  for (int fd = 1; failed == 0 && fd <= 2; fd++)
    failed =
        posix_spawn_file_actions_addopen(&files, fd, "/dev/null", O_WRONLY, 0);
  if (failed == 0) failed = posix_spawn_file_actions_addchdir_np(&files, "/");
  if (failed == 0)
    failed = posix_spawn(&p->helper, "/bin/sh", &files, &how, arguments,
                         environment);
  posix_spawn_file_actions_destroy(&files);
  posix_spawnattr_destroy(&how);
  if (failed == 0) return NULL;
  p->helper = 0;
  return error_of_errno(SAROS_FACADE_SAROS, failed,
                        "the helper that unmounts cannot be started", NULL);
}

static error *start_helper(mount_place *p) {
  int line[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, line) != 0)
    return error_of_errno(SAROS_FACADE_SAROS, errno,
                          "there is no line to the helper that unmounts", NULL);
  error *e = spawn(p, line[1]);
  close(line[1]);
  p->line = line[0];
  return e;
}

static void tell_helper(const mount_place *p) {
  (void)!send(p->line, "\n", 1, MSG_NOSIGNAL);
}

static error *unusable(const char *path) {
  return error_of_errno(
      SAROS_FACADE_SAROS, errno,
      errno == ENOTDIR ? "a repository is mounted at a directory"
      : errno == ENOTCONN
          ? "what is mounted there has died, and is unmounted in a moment; "
            "where it is not: umount -l, with this directory"
          : "the directory to mount at cannot be used",
      path);
}

static error *cannot_mount(const mount_place *p, int number) {
  bool may_not = number == EPERM || number == EACCES;
  return error_of_errno(
      SAROS_FACADE_SAROS, number,
      may_not ? "only root can mount a repository" : "mounting failed",
      p->path);
}

/* By name the kernel unmounts whatever is on top: of two at one place, the
   first to leave would take the other away, and itself would stay. */
static bool is_taken(const char *path, const struct stat *st) {
  struct statfs system;
  return st->st_ino == FUSE_ROOT_ID && statfs(path, &system) == 0 &&
         system.f_type == FUSE_SUPER_MAGIC;
}

static error *taken(const mount_place *p) {
  return error_of_errno(SAROS_FACADE_SAROS, EBUSY,
                        "a repository or the like is mounted there already; "
                        "unmount it, or take another directory",
                        p->path);
}

/* Two at the same instant both find nothing mounted there: so who looks holds
   the directory until he has mounted. *held is what it is locked by, and goes
   with it. */
static error *hold(mount_place *p, int *held) {
  struct stat st, there;
  *held = open(p->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (*held < 0 || fstat(*held, &st) != 0) return unusable(p->path);
  if (is_taken(p->path, &st)) return taken(p);
#ifdef SAROS_TEST
  if (mount_gate != NULL) mount_gate();
#endif
  /* Where there are no such locks two may be as quick as each other. */
  if (flock(*held, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
    return taken(p);
  /* Who had it has mounted meanwhile: then ours is below. */
  if (stat(p->path, &there) == 0 && there.st_dev == st.st_dev &&
      there.st_ino == st.st_ino)
    return NULL;
  return taken(p);
}

static error *mount_held(mount_place *p, bool allow_other) {
  char options[200];
  p->fd = open("/dev/fuse", O_RDWR | O_CLOEXEC | O_NONBLOCK);
  if (p->fd < 0)
    return error_of_errno(SAROS_FACADE_SAROS, errno,
                          "/dev/fuse cannot be opened: load the kernel module "
                          "fuse, or give this container the device",
                          "/dev/fuse");
  snprintf(options, sizeof options,
           "fd=%d,rootmode=40000,user_id=%u,group_id=%u,default_permissions%s",
           p->fd, (unsigned)geteuid(), (unsigned)getegid(),
           allow_other ? ",allow_other" : "");
  if (mount("saros", p->path, "fuse.saros", MS_RDONLY | MS_NOSUID | MS_NODEV,
            options) != 0)
    return cannot_mount(p, errno);
  p->mounted = true;
  tell_helper(p);
  return NULL;
}

static error *mount_it(mount_place *p, bool allow_other) {
  int held = -1;
  error *e = hold(p, &held);
  if (e == NULL) e = mount_held(p, allow_other);
  if (held >= 0) close(held);
  return e;
}

error *mount_begin(mount_place *p, const char *path, bool allow_other) {
  *p = (mount_place){.fd = -1, .line = -1};
  char *real = realpath(path, NULL);
  if (real == NULL) return unusable(path);
  p->path = mem_text(real);
  free(real);
  if (p->path == NULL) return error_no_memory();
  error *e = start_helper(p);
  if (e == NULL) e = mount_it(p, allow_other);
  if (e != NULL) mount_end(p);
  return e;
}

/* One of ours that nobody answers for says so. */
static bool is_dead(const mount_place *p) {
  struct stat st;
  return stat(p->path, &st) != 0 && errno == ENOTCONN;
}

void mount_leave(mount_place *p, bool gone) {
  if (!p->mounted) return;
  if (!gone || is_dead(p)) (void)umount2(p->path, MNT_FORCE | MNT_DETACH);
  tell_helper(p);
  p->mounted = false;
}

void mount_end(mount_place *p) {
  mount_leave(p, false);
  if (p->fd >= 0) close(p->fd);
  if (p->line >= 0) close(p->line);
  while (p->helper > 0 && waitpid(p->helper, NULL, 0) < 0 && errno == EINTR) {}
  mem_free(p->path);
  *p = (mount_place){.fd = -1, .line = -1};
}
