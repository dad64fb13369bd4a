/*
** mount: a volume gets its place in the tree, and loses it. Neither trusts a
** name: what a path leads to is opened, looked at and then used by its
** descriptor.
*/
#include "vds/mount.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vds/format.h"
#include "vds/probe.h"
#include "vds/refuse.h"
#include "vds/step.h"

#define DENIED(...) vds_error(VDS_E_OPERATION_DENIED, __VA_ARGS__)


/* ------------------------------------------------------------------
** A place
** ---------------------------------------------------------------- */

static bool is_trusted(uid_t owner) {
  return owner == 0 || owner == geteuid();
}


/* Whether somebody else could put another thing in the place of `child`. */
static bool can_be_replaced(const struct stat *parent,
                            const struct stat *child) {
  if (!is_trusted(parent->st_uid)) return true;
  if ((parent->st_mode & (S_IWGRP | S_IWOTH)) == 0) return false;
  return (parent->st_mode & S_ISVTX) == 0 || !is_trusted(child->st_uid);
}


static error *cannot_go(int number, const char *path) {
  if (number == ENOENT || number == ENOTDIR)
    return vds_error(VDS_E_PATH_NOT_FOUND,
                     "there is no directory %s to mount on; make it first",
                     path);
  return vds_errno(number, "the mount point cannot be opened", path);
}


/* From one directory to the next; `at` is closed, and is the next then. */
static error *go_down(int *at, const char *name, const char *path) {
  struct stat parent, child;
  int next = openat(*at, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
  int number = errno;
  error *e = NULL;
  if (next < 0) return cannot_go(number, path);
  if (fstat(*at, &parent) != 0 || fstat(next, &child) != 0)
    e = cannot_go(errno, path);
  else if (S_ISLNK(child.st_mode))
    e = DENIED("%s leads through a link, '%s': give the path it leads to", path,
               name);
  else if (!S_ISDIR(child.st_mode))
    e = DENIED("%s is no directory", path);
  else if (can_be_replaced(&parent, &child))
    e = DENIED(
        "others may put something else in the place of '%s' in %s: mount "
        "where only root can write",
        name, path);
  close(*at);
  *at = next;
  return e;
}


static error *walk(int *at, char *rest, const char *path) {
  error *e = NULL;
  char *more = NULL;
  for (char *name = strtok_r(rest, "/", &more); e == NULL && name != NULL;
       name = strtok_r(NULL, "/", &more)) {
    if (strcmp(name, ".") == 0) continue;
    if (strcmp(name, "..") == 0)
      e = vds_error(SAROS_E_INVALIDARG, "a mount point has no '..' in it");
    else
      e = go_down(at, name, path);
  }
  return e;
}


static bool is_empty(int at) {
  int fd = openat(at, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
  bool empty = d != NULL;
  if (d == NULL && fd >= 0) close(fd);
  for (struct dirent *i; empty && (i = readdir(d)) != NULL;)
    empty = strcmp(i->d_name, ".") == 0 || strcmp(i->d_name, "..") == 0;
  if (d != NULL) closedir(d);
  return empty;
}


static error *open_place(const char *path, int *place) {
  struct statx s = {0};
  char *rest = mem_text(path);
  *place = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
  error *e = NULL;
  if (rest == NULL)
    e = error_no_memory();
  else if (*place < 0)
    e = cannot_go(errno, "/");
  else
    e = walk(place, rest, path);
  mem_free(rest);
  if (e != NULL) return error_at(e, path);
  if (statx(*place, "", AT_EMPTY_PATH, STATX_BASIC_STATS, &s) != 0)
    e = cannot_go(errno, path);
  else if ((s.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0)
    e = DENIED("something is mounted at %s already", path);
  else if (!is_empty(*place))
    e = DENIED("%s is not empty, and what is in it would be hidden", path);
  return e != NULL ? error_at(e, path) : NULL;
}


/* ------------------------------------------------------------------
** Mounting
** ---------------------------------------------------------------- */

/* One that looks whole before it is: only its record says that it is a half.
   Whoever may not see the records mounts without them. */
static bool was_begun(const vds_call *c, const vds_target *t,
                      const vds_probe *p) {
  vds_unfinished *u = NULL;
  error_unref(vds_format_unfinished(vds_text(c, "state_dir"), &u));
  bool is = vds_is_unfinished(u, t->is.dev, p);
  mem_free(u);
  return is;
}


static error *find_fs(const vds_call *c, const vds_target *t, vds_probe *p) {
  error *e = vds_probe_fd(t->fd, p);
  if (e != NULL) return e;
  if (p->ambivalent)
    return vds_error(VDS_E_FS_NOT_DETERMINED,
                     "%s has the signatures of several file systems, and "
                     "nobody knows which of them it is",
                     t->path);
  if (p->fs[0] == '\0')
    return vds_error(VDS_E_FS_NOT_DETERMINED,
                     "%s has no file system that is known here; format it",
                     t->path);
  if (p->unfinished || was_begun(c, t, p))
    return vds_error(VDS_E_VOLUME_NOT_HEALTHY,
                     "the making of the file system of %s did not come to its "
                     "end; format it anew (vds.reap takes away what there is)",
                     t->path);
  if (vds_probe_is_foreign(p) || strcmp(p->fs, "swap") == 0)
    return vds_error(VDS_E_INCOMPATIBLE_FILE_SYSTEM,
                     "%s holds %s, which is nothing to mount", t->path, p->fs);
  return NULL;
}


static error *put_path(vds_call *c, const char *path) {
  c->output = vds_with_path(value_map(), "path", path);
  return c->output != NULL ? NULL : error_no_memory();
}


/* The mount is whole before it has a place, and goes with its descriptor. */
static error *mount_at(vds_call *c, const vds_target *t, int place,
                       const char *path) {
  int made = -1;
  vds_probe *p = mem_zero(sizeof *p);
  if (p == NULL) return error_no_memory();
  error *e = find_fs(c, t, p);
  if (e == NULL)
    e = vds_mount_make(t, p->fs, vds_text(c, "options"),
                       vds_flag(c, "read_only"), &made);
  mem_free(p);
  if (e == NULL) e = put_path(c, path);
  if (e == NULL) vds_give_output(c, &e);
  vds_step("mount: made");
  if (e == NULL && vds_commit(c, &e) &&
      move_mount(made, "", place, "",
                 MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) != 0)
    e = vds_errno(errno, "it cannot be mounted there", path);
  vds_step("mount: done");
  if (made >= 0) close(made);
  return e;
}


static const vds_verb mounting = {VDS_LOSES_NOTHING,
                                  VDS_DANGER_MOUNTED | VDS_TAKES_NO_FORCE};


static error *open_to_mount(const vds_call *c, const vds_identity *who,
                            vds_target *t) {
  bool read_only = vds_flag(c, "read_only");
  error *e = vds_target_open(who, read_only ? 0 : VDS_OPEN_WRITE, t);
  if (e == NULL || e->code != VDS_E_MEDIA_WRITE_PROTECTED) return e;
  return error_because(
      vds_error(e->code, "it can only be mounted with read_only = true"), e);
}


error *vds_work_mount(vds_call *c) {
  vds_identity who;
  vds_target t = VDS_TARGET_NONE;
  unsigned forced = 0;
  int place = -1;
  bool go = false;
  const char *path = vds_text(c, "path");
  if (!vds_identity_get(value_get(c->options, "object"), &who))
    return vds_error(SAROS_E_INVALIDARG, "mount needs a volume");
  if (path == NULL || *path != '/')
    return vds_error(SAROS_E_INVALIDARG,
                     "a volume is mounted at an absolute path");
  error *e = vds_permit(c, &who, &mounting, &forced, &go);
  if (e != NULL || !go) return e;
  e = open_place(path, &place);
  if (e == NULL) e = open_to_mount(c, &who, &t);
  vds_step("mount: opened");
  if (e == NULL && !vds_stopped(c, &e)) e = mount_at(c, &t, place, path);
  vds_target_close(&t);
  if (place >= 0) close(place);
  return e;
}


/* ------------------------------------------------------------------
** Unmounting
** ---------------------------------------------------------------- */

static error *cannot_end(int number, const char *where) {
  if (number == EBUSY)
    return vds_error(VDS_E_DEVICE_IN_USE,
                     "%s cannot be unmounted: somebody has a file open there "
                     "(fuser -vm %s says who)",
                     where, where);
  return vds_errno(number, "it cannot be unmounted", where);
}


/* The directory that it is in is held open, so that nobody can put another one
   in its place; what has something mounted on it cannot be renamed. */
error *vds_mount_end(const vds_world *w, const char *where, dev_t dev) {
  char self[300];
  const char *name = strrchr(where, '/');
  char *parent = path_parent(where);
  error *e = NULL;
  int at = parent != NULL ? open(parent, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
  if (parent == NULL)
    e = error_no_memory();
  else if (at < 0)
    e = vds_errno(errno, "the mount point cannot be found", where);
  mem_free(parent);
  if (e != NULL) return e;
  name = name != NULL && name[1] != '\0' ? name + 1 : ".";
  snprintf(self, sizeof self, "/proc/self/fd/%d/%s", at, name);
  if (!vds_mount_shows(w, at, name, dev))
    e = vds_error(VDS_E_DEVICE_IN_USE,
                  "something else was mounted over %s; unmount that first",
                  where);
  else if (umount2(self, UMOUNT_NOFOLLOW) != 0)
    e = cannot_end(errno, where);
  close(at);
  return e;
}


static error *end_at(vds_call *c, const vds_world *w, dev_t dev,
                     const char *path) {
  vds_holders h = vds_holders_of(w, dev);
  error *e = h.failed ? error_no_memory() : NULL;
  const char *last = NULL; /* that was unmounted */
  bool any = false;
  for (size_t i = h.count; e == NULL && i-- > 0;) {
    const char *where = h.items[i].who;
    if (h.items[i].kind != VDS_HOLD_MOUNT ||
        (path != NULL && strcmp(path, where) != 0))
      continue;
    any = true;
    if (!c->given && !vds_give_output(c, &e)) break;
    if (!vds_commit(c, &e)) break;
    e = vds_mount_end(w, where, dev);
    if (e == NULL) last = where;
    vds_step("unmount: one ended");
    if (path != NULL) break; /* twice at one place: the upper one */
  }
  if (e != NULL && last != NULL)
    vds_left(c, "it is not mounted at %.400s any more", last);
  if (e == NULL && !any)
    e = vds_error(VDS_E_VOLUME_NOT_MOUNTED, "it is not mounted%s%s",
                  path != NULL ? " at " : "", path != NULL ? path : "");
  vds_holders_free(&h);
  return e;
}


static const vds_verb unmounting = {VDS_LOSES_ACCESS,
                                    VDS_DANGER_MOUNTED | VDS_TAKES_NO_FORCE};


error *vds_work_unmount(vds_call *c) {
  vds_identity who;
  vds_world *world = NULL;
  unsigned forced = 0;
  bool go = false;
  if (!vds_identity_get(value_get(c->options, "object"), &who))
    return vds_error(SAROS_E_INVALIDARG, "unmount needs a volume");
  error *e = vds_permit(c, &who, &unmounting, &forced, &go);
  if (e != NULL || !go) return e;
  e = vds_world_read(&world);
  vds_step("unmount: looked");
  if (e == NULL) e = end_at(c, world, who.dev, vds_text(c, "path"));
  vds_world_free(world);
  return e;
}
