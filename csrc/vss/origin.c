/*
** origin: where a path really lies.
**
** The path is opened once (O_PATH), and what is asked is asked of that: the
** device of fstat, the mount that it came through by its id, what is behind
** it. A name is only what comes out in the end, and is looked up again to
** prove that it leads to the same thing.
*/
#include "vss/origin.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/btrfs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "vss/disks.h"
#include "vss/mounts.h"
#include "vss/vss.h"

enum {
  SUBVOLUME_INODE = 256, /* the root directory of every subvolume */
  LOOKS = 3              /* at a table that changes meanwhile */
};


/* ------------------------------------------------------------------
** The path
** ---------------------------------------------------------------- */

static error *not_seen(int number, const char *path) {
  switch (number) {
    case ENOMEM: return error_no_memory();
    case ENOENT:
    case ENOTDIR:
    case ENAMETOOLONG:
    case ELOOP:
      return error_at(
          vss_error(VSS_E_OBJECT_NOT_FOUND, "%s: %s", path, strerror(number)),
          path);
    case EACCES:
    case EPERM:
      return error_at(
          vss_error(SAROS_E_ACCESSDENIED,
                    "%s may not be looked at by this user; a directory on the "
                    "way there forbids it",
                    path),
          path);
    default:
      return error_of_errno(SAROS_FACADE_VSS, number, "cannot be looked at",
                            path);
  }
}


/* What the kernel calls an open file. */
static char *name_of(int fd) {
  char link[64], text[PATH_MAX + 1];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t n = readlink(link, text, sizeof text);
  if (n < 0) return NULL;
  if (n == (ssize_t)sizeof text) {
    errno = ENAMETOOLONG;
    return NULL;
  }
  char *copy = mem_bytes(text, (size_t)n);
  if (copy == NULL) errno = ENOMEM;
  return copy;
}


/* Whether a name leads to what fd is, through the same mount. */
static bool leads_to(const char *path, const struct stat *st, uint64_t id) {
  struct stat other;
  uint64_t other_id = 0;
  int fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return false;
  bool same = fstat(fd, &other) == 0 && other.st_dev == st->st_dev &&
              other.st_ino == st->st_ino && mount_id_of(fd, &other_id) == 0 &&
              other_id == id;
  close(fd);
  return same;
}


static bool ends_with(const char *text, const char *end) {
  size_t n = strlen(text), m = strlen(end);
  return n >= m && strcmp(text + n - m, end) == 0;
}


static error *find_path(origin *s, int fd, const char *given, uint64_t id,
                        const struct stat *st) {
  s->path = name_of(fd);
  if (s->path == NULL) return not_seen(errno, given);
  if (leads_to(s->path, st, id)) return NULL;
  bool deleted = st->st_nlink == 0 || ends_with(s->path, " (deleted)");
  return error_at(
      vss_error(VSS_E_OBJECT_NOT_FOUND,
                deleted ? "%s has been deleted; somebody only keeps it open"
                        : "%s has no name here: another file system is mounted "
                          "over it, or it lies outside of this root directory",
                given),
      given);
}


/* ------------------------------------------------------------------
** The mount
** ---------------------------------------------------------------- */

/* What of `path` is behind `root`, without a slash before it. */
static const char *behind(const char *path, const char *root) {
  size_t n = strlen(root);
  if (strcmp(root, "/") == 0) n = 0;
  if (strncmp(path, root, n) != 0) return NULL;
  if (path[n] == '\0') return path + n;
  return path[n] == '/' ? path + n + 1 : NULL;
}


static error *take_mount(origin *s, const mount_entry *m) {
  if (ends_with(m->root, "//deleted"))
    return error_at(vss_error(VSS_E_OBJECT_NOT_FOUND,
                              "the directory that is mounted at %s has been "
                              "deleted; unmount that",
                              m->point),
                    s->path);
  const char *inside = behind(s->path, m->point);
  if (inside == NULL)
    return error_at(vss_error(VSS_E_OBJECT_NOT_FOUND,
                              "%s was moved or mounted anew while it was "
                              "looked at; try again",
                              s->path),
                    s->path);
  s->root = mem_text(m->point);
  s->inside = mem_text(inside);
  s->below = *inside == '\0' ? mem_text(m->root) : path_join(m->root, inside);
  s->type = mem_text(m->type);
  s->device = mem_text(m->source);
  s->options = mem_text(m->options);
  if (s->root == NULL || s->inside == NULL || s->below == NULL ||
      s->type == NULL || s->device == NULL || s->options == NULL)
    return error_no_memory();
  memmove(s->below, s->below + 1, strlen(s->below)); /* its first slash */
  return NULL;
}


static error *gone(const char *path) {
  return error_at(
      vss_error(VSS_E_OBJECT_NOT_FOUND,
                "%s is on a file system that is not mounted here any more, or "
                "not below this root directory",
                path),
      path);
}


/* The table is read in pieces: while others mount and unmount a line can be
   missed. */
static error *find_mount(origin *s, mount_table **table, uint64_t id) {
  const mount_entry *m = NULL;
  for (int look = 0; m == NULL && look < LOOKS; look++) {
    error *e = NULL;
    mount_table_free(*table);
    *table = mount_table_read(&e);
    if (*table == NULL) return e;
    m = mount_table_find(*table, id);
  }
  return m != NULL ? take_mount(s, m) : gone(s->path);
}


/* ------------------------------------------------------------------
** btrfs
** ---------------------------------------------------------------- */

static bool is_subvolume(const char *path, dev_t dev) {
  struct stat st;
  return lstat(path, &st) == 0 && S_ISDIR(st.st_mode) &&
         st.st_ino == SUBVOLUME_INODE && st.st_dev == dev;
}


/* Cuts the last name off; "/" stays. */
static void cut(char *path) {
  char *slash = strrchr(path, '/');
  if (slash == path) slash++;
  *slash = '\0';
}


/* Upwards from `path`, no further than `root`. */
static bool climb(char *path, const char *root, dev_t dev) {
  for (;;) {
    if (is_subvolume(path, dev)) return true;
    if (strcmp(path, root) == 0 || strcmp(path, "/") == 0) return false;
    cut(path);
  }
}


/* The subvolume's directory: above the path; or, when this mount begins
   further down, where another mount of the same file system shows it. */
static error *find_subvolume(origin *s, const mount_table *table,
                             dev_t superblock) {
  char *path = mem_text(s->path);
  if (path == NULL) return error_no_memory();
  if (climb(path, s->root, s->dev)) {
    s->subvolume = path;
    s->within = mem_text(behind(s->path, path));
    return s->within != NULL ? NULL : error_no_memory();
  }
  mem_free(path);
  buffer below = BUFFER_EMPTY;
  buffer_format(&below, "/%s", s->below);
  error *e = below.failed ? error_no_memory() : NULL;
  for (size_t i = 0; e == NULL && i < table->count; i++) {
    const mount_entry *m = &table->items[i];
    if (m->dev != superblock || strcmp(m->type, "btrfs") != 0) continue;
    const char *rest = behind(below.data, m->root);
    if (rest == NULL) continue;
    path = *rest == '\0' ? mem_text(m->point) : path_join(m->point, rest);
    char *whole = mem_text(path);
    if (whole == NULL) {
      e = error_no_memory();
    } else if (climb(path, m->point, s->dev)) {
      s->subvolume = path;
      s->within = mem_text(behind(whole, path));
      if (s->within == NULL) e = error_no_memory();
      path = NULL;
    }
    mem_free(whole);
    mem_free(path);
    if (s->subvolume != NULL) break;
  }
  buffer_free(&below);
  return e;
}


static error *ask_btrfs(origin *s, const mount_table *table, dev_t superblock) {
  error *e = find_subvolume(s, table, superblock);
  if (e != NULL) return e;
  const char *dir = s->subvolume != NULL ? s->subvolume : s->root;
  int fd = open(dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return NULL; /* not ours to see: the provider will say so */
  struct btrfs_ioctl_ino_lookup_args lookup = {.objectid = SUBVOLUME_INODE};
  if (s->subvolume != NULL && ioctl(fd, BTRFS_IOC_INO_LOOKUP, &lookup) >= 0)
    s->subvolume_id = lookup.treeid;
  unsigned count;
  s->disk = disk_of_btrfs(fd, &count);
  close(fd);
  return NULL;
}


/* ------------------------------------------------------------------
** The disk
** ---------------------------------------------------------------- */

static error *ask_disk(origin *s) {
  char file[PATH_MAX];
  struct stat st;
  uint64_t start, size;
  if (s->disk == 0 && major(s->dev) != 0) s->disk = s->dev;
  if (s->disk == 0) return NULL;
  dev_t whole = disk_whole(s->disk, &start, &size);
  if (!disk_loop_file(whole, file)) return NULL;
  bool found = stat(file, &st) == 0;
  if (found && S_ISBLK(st.st_mode)) return NULL; /* a device over a device */
  s->loop_file = mem_text(file);
  if (s->loop_file == NULL) return error_no_memory();
  s->loop_dev = disk_loop_origin(whole);
  if (s->loop_dev == 0 && found) s->loop_dev = st.st_dev;
  return NULL;
}


/* ------------------------------------------------------------------
** All of it
** ---------------------------------------------------------------- */

static error *ask(origin *s, int fd, const char *path) {
  struct stat st;
  struct statvfs fs;
  uint64_t id = 0;
  mount_table *table = NULL;
  if (fstat(fd, &st) != 0 || fstatvfs(fd, &fs) != 0)
    return not_seen(errno, path);
  int failed = mount_id_of(fd, &id);
  if (failed != 0) return not_seen(failed, path);
  s->dev = st.st_dev;
  s->readonly = (fs.f_flag & ST_RDONLY) != 0;
  error *e = find_path(s, fd, path, id, &st);
  if (e == NULL) e = find_mount(s, &table, id);
  if (e == NULL && strcmp(s->type, "btrfs") == 0)
    e = ask_btrfs(s, table, mount_table_find(table, id)->dev);
  mount_table_free(table);
  return e != NULL ? e : ask_disk(s);
}


origin *origin_find(const char *path, error **e) {
  *e = NULL;
  int fd = open(path, O_PATH | O_CLOEXEC);
  if (fd < 0) {
    *e = not_seen(errno, path);
    return NULL;
  }
  origin *s = mem_zero(sizeof *s);
  *e = s != NULL ? ask(s, fd, path) : error_no_memory();
  close(fd);
  if (*e == NULL) return s;
  origin_free(s);
  return NULL;
}


void origin_free(origin *s) {
  if (s == NULL) return;
  mem_free(s->path);
  mem_free(s->root);
  mem_free(s->inside);
  mem_free(s->below);
  mem_free(s->type);
  mem_free(s->device);
  mem_free(s->options);
  mem_free(s->loop_file);
  mem_free(s->subvolume);
  mem_free(s->within);
  mem_free(s);
}


origin *origin_copy(const origin *s) {
  origin *to = mem_alloc(sizeof *to);
  if (to == NULL) return NULL;
  *to = *s;
  to->path = mem_text(s->path);
  to->root = mem_text(s->root);
  to->inside = mem_text(s->inside);
  to->below = mem_text(s->below);
  to->type = mem_text(s->type);
  to->device = mem_text(s->device);
  to->options = mem_text(s->options);
  to->loop_file = mem_text(s->loop_file);
  to->subvolume = mem_text(s->subvolume);
  to->within = mem_text(s->within);
  if (to->path != NULL && to->root != NULL && to->inside != NULL &&
      to->below != NULL && to->type != NULL && to->device != NULL &&
      to->options != NULL &&
      (to->loop_file != NULL) == (s->loop_file != NULL) &&
      (to->subvolume != NULL) == (s->subvolume != NULL) &&
      (to->within != NULL) == (s->within != NULL))
    return to;
  origin_free(to);
  return NULL;
}


unsigned origin_depth(const origin *s) {
  return disk_loops_below(s->disk);
}


/* Of btrfs the table has the number of the superblock; a path's own is that of
   its subvolume, and the disk's is a third. */
static bool is_on(const mount_entry *m, dev_t dev) {
  struct stat st;
  uint64_t id = 0;
  unsigned count;
  if (m->dev == dev) return true;
  if (strcmp(m->type, "btrfs") != 0) return false;
  int fd = open(m->point, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return false;
  bool found = mount_id_of(fd, &id) == 0 && id == m->id &&
               fstat(fd, &st) == 0 &&
               (st.st_dev == dev || disk_of_btrfs(fd, &count) == dev);
  close(fd);
  return found;
}


value *origin_mounts(dev_t dev) {
  error *e = NULL;
  value *list = value_list();
  mount_table *table = mount_table_read(&e);
  error_unref(e);
  for (size_t i = 0; table != NULL && list != NULL && i < table->count; i++) {
    const mount_entry *m = &table->items[i];
    if (is_on(m, dev) && !value_add(list, value_text(m->point))) {
      value_free(list);
      list = NULL;
    }
  }
  mount_table_free(table);
  return list;
}
