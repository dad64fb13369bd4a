/*
** What a program in a cell sees: all of this machine's files, and it can write
** to none, but to its place.
**
** That everything is read-only is not enough. Who may write to a device, to a
** setting in /proc, or to the socket of a server reaches what is outside
** through it; read-only mounts stop none of these. So /dev, /proc and the
** directories for sockets are new, and whatever else somebody listens on is
** covered.
*/
#include "cell.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mount.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

/* By number, because libc learned them late (glibc 2.36). */
static int open_tree_at(const char *path, unsigned flags) {
  return (int)syscall(SYS_open_tree, AT_FDCWD, path, flags);
}

static int move_mount_to(int tree, const char *path) {
  return (int)syscall(SYS_move_mount, tree, "", AT_FDCWD, path,
                      MOVE_MOUNT_F_EMPTY_PATH);
}

static int set_attributes(const char *path, unsigned flags, uint64_t set) {
  struct mount_attr attributes = {.attr_set = set};
  return (int)syscall(SYS_mount_setattr, AT_FDCWD, path, flags, &attributes,
                      sizeof attributes);
}

static bool within(const char *path, const char *directory) {
  size_t n = strlen(directory);
  return strncmp(path, directory, n) == 0 &&
         (path[n] == '\0' || path[n] == '/' || n == 1);
}

/* Not yet of the paths' own: they may lie below what is going to be covered. */
static void take_places(const cell_plan *plan, int *trees) {
  for (int i = 0; i < plan->writable_count; i++) {
    trees[i] =
        open_tree_at(plan->writable[i], OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC);
    if (trees[i] < 0) cell_fail("take the place", plan->writable[i]);
  }
}

static void make_read_only(void) {
  if (mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0)
    cell_fail("part from the mounts of this machine", "/");
  if (set_attributes(
          "/", AT_RECURSIVE,
          MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV) != 0)
    cell_fail("make the world read-only (mount_setattr, Linux 5.12)", "/");
}

static bool is_directory(const char *path) {
  struct stat st;
  return lstat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

static void new_directory(const char *path, const char *options) {
  if (!is_directory(path)) return; /* a link into one of the others */
  if (mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV, options) != 0)
    cell_fail("mount an empty directory", path);
}

static void device(const char *name) {
  char from[64], to[64];
  snprintf(from, sizeof from, "/dev/%s", name);
  snprintf(to, sizeof to, "/tmp/dev/%s", name);
  int fd = open(to, O_WRONLY | O_CREAT | O_CLOEXEC, 0666);
  if (fd < 0) cell_fail("make a device", to);
  close(fd);
  if (mount(from, to, NULL, MS_BIND, NULL) != 0 ||
      /* It was made one without devices, with all the rest. */
      mount(NULL, to, NULL, MS_BIND | MS_REMOUNT | MS_NOSUID | MS_NOEXEC,
            NULL) != 0)
    cell_fail("mount a device", from);
}

/* Only what says nothing about this machine. The memory that processes share
   has no limit but the machine's: a server takes what it needs of it. */
static void new_devices(void) {
  static const char *const devices[] = {"null", "zero", "full", "random",
                                        "urandom"};
  static const char *const links[][2] = {
      {"/proc/self/fd", "/tmp/dev/fd"},
      {"/proc/self/fd/0", "/tmp/dev/stdin"},
      {"/proc/self/fd/1", "/tmp/dev/stdout"},
      {"/proc/self/fd/2", "/tmp/dev/stderr"}};
  if (mkdir("/tmp/dev", 0755) != 0 ||
      mount("tmpfs", "/tmp/dev", "tmpfs", MS_NOSUID | MS_NOEXEC,
            "mode=0755,size=1m") != 0)
    cell_fail("mount new devices", "/tmp/dev");
  for (size_t i = 0; i < sizeof devices / sizeof *devices; i++)
    device(devices[i]);
  for (size_t i = 0; i < sizeof links / sizeof *links; i++)
    if (symlink(links[i][0], links[i][1]) != 0)
      cell_fail("make a link", links[i][1]);
  if (mkdir("/tmp/dev/shm", 01777) != 0)
    cell_fail("make a directory", "/dev/shm");
  new_directory("/tmp/dev/shm", "mode=1777");
  if (set_attributes("/tmp/dev", 0, MOUNT_ATTR_RDONLY) != 0 ||
      mount("/tmp/dev", "/dev", NULL, MS_MOVE, NULL) != 0)
    cell_fail("put new devices in their place", "/dev");
  rmdir("/tmp/dev");
}

/* Of our processes alone, and no setting can be changed. */
static void new_processes(void) {
  if (mount("proc", "/proc", "proc",
            MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_RDONLY, NULL) != 0)
    cell_fail("mount our own processes", "/proc");
}

static bool is_place(const cell_plan *plan, const char *path) {
  for (int i = 0; i < plan->writable_count; i++)
    if (within(path, plan->writable[i])) return true;
  return false;
}

/* What has gone with a directory above it is hidden already. */
static void hide(const cell_plan *plan) {
  for (int i = 0; i < plan->hidden_count; i++) {
    const char *path = plan->hidden[i];
    struct stat st;
    if (is_place(plan, path) || lstat(path, &st) != 0) continue;
    bool good = S_ISDIR(st.st_mode)
                    ? mount("tmpfs", path, "tmpfs", MS_NOSUID | MS_NODEV,
                            "mode=0755,size=64k") == 0
                    : mount("/dev/null", path, NULL, MS_BIND, NULL) == 0;
    /* Sockets come and go: one that went needs no cover. */
    if (!good && errno != ENOENT) cell_fail("hide", path);
  }
}

/* Below what was covered there is nothing: their directories are made. */
static void make_parents(const char *path) {
  char part[4096];
  size_t n = strlen(path);
  if (n >= sizeof part) cell_refuse(path, "the path of the place is too long");
  for (size_t i = 1; i <= n; i++) {
    if (path[i] != '/' && path[i] != '\0') continue;
    memcpy(part, path, i);
    part[i] = '\0';
    if (mkdir(part, 0755) != 0 && errno != EEXIST && errno != EROFS)
      cell_fail("make a directory", part);
  }
}

static void put_places(const cell_plan *plan, const int *trees) {
  for (int i = 0; i < plan->writable_count; i++) {
    make_parents(plan->writable[i]);
    if (move_mount_to(trees[i], plan->writable[i]) != 0 ||
        set_attributes(plan->writable[i], 0,
                       MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV) != 0)
      cell_fail("mount the place", plan->writable[i]);
    close(trees[i]);
  }
}

static void close_hidden(const cell_plan *plan) {
  for (int i = 0; i < plan->hidden_count; i++) {
    const char *path = plan->hidden[i];
    /* EINVAL: it lies in one that is hidden, and is no mount of its own. */
    if (is_directory(path) && !is_place(plan, path) &&
        set_attributes(path, 0, MOUNT_ATTR_RDONLY) != 0 && errno != EINVAL)
      cell_fail("close what is hidden", path);
  }
}

void world_make(const cell_plan *plan) {
  int trees[CELL_MOST];
  char run[64];
  /* Its owner comes through what is made here, whoever calls us. */
  umask(022);
  take_places(plan, trees);
  make_read_only();
  snprintf(run, sizeof run, "mode=0755,size=64m,uid=%u,gid=%u",
           (unsigned)plan->uid, (unsigned)plan->gid);
  new_directory("/tmp", "mode=1777,size=25%");
  new_directory("/var/tmp", "mode=1777,size=25%");
  new_directory("/run", run);
  new_directory("/var/run", run);
  new_directory("/var/lock", run);
  new_devices();
  new_processes();
  hide(plan);
  put_places(plan, trees);
  close_hidden(plan);
}

/* Whether nothing that is there now is there in a cell. */
static bool is_new(const char *path) {
  static const char *const all[] = {"/tmp", "/var/tmp", "/run", "/dev"};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++)
    if (within(path, all[i])) return true;
  return false;
}

static bool is_known(const cell_plan *plan, const char *path) {
  for (int i = 0; i < plan->hidden_count; i++)
    if (within(path, plan->hidden[i])) return true;
  return is_new(path) || is_place(plan, path);
}

/* A socket that is a file is reached through the file, whatever network one is
   in, and also where it is read-only. */
void world_note_sockets(cell_plan *plan) {
  FILE *list = fopen("/proc/self/net/unix", "re");
  if (list == NULL) cell_fail("see who listens", "/proc/self/net/unix");
  char *line = NULL;
  size_t room = 0;
  while (getline(&line, &room, list) > 0) {
    line[strcspn(line, "\n")] = '\0';
    /* Num RefCount Protocol Flags Type St Inode Path */
    int at = 0;
    if (sscanf(line, "%*s %*s %*s %*s %*s %*s %*s %n", &at) < 0 || at == 0)
      continue;
    const char *path = line + at;
    struct stat st;
    char *real;
    if (*path != '/' || lstat(path, &st) != 0 || !S_ISSOCK(st.st_mode) ||
        (real = realpath(path, NULL)) == NULL)
      continue;
    if (is_known(plan, real))
      free(real);
    else if (plan->hidden_count == CELL_MOST)
      cell_refuse("hide the sockets", "there are too many");
    else
      plan->hidden[plan->hidden_count++] = real;
  }
  free(line);
  fclose(list);
}
