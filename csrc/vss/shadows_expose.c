/*
** shadows_expose: a shadow at a place of the user's choice, to be read. The
** mount is made read-only before it is anywhere to be seen, and put onto the
** directory that was looked at, not onto whatever has its name by then.
*/
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "op/fork.h"
#include "vss/place.h"
#include "vss/record_parts.h"


static error *cannot(const char *what, const char *path) {
  int number = errno;
  if (number == EPERM)
    return error_because(
        error_at(vss_error(SAROS_E_ACCESSDENIED,
                           "%s: only root may mount (CAP_SYS_ADMIN)", what),
                 path),
        error_of_errno(SAROS_FACADE_VSS, number, what, path));
  if (number == EBUSY)
    return error_because(
        error_at(vss_error(VSS_E_VOLUME_IN_USE,
                           "%s: somebody has a file open there, or works in "
                           "it; end that, or do it with force",
                           what),
                 path),
        error_of_errno(SAROS_FACADE_VSS, number, what, path));
  if (number == ENOSYS)
    return error_at(
        vss_error(VSS_E_NOT_SUPPORTED,
                  "%s: that needs Linux 5.12 (mount_setattr)", what),
        path);
  return error_of_errno(SAROS_FACADE_VSS, number, what, path);
}


static bool is_empty(int fd) {
  int copy = openat(fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *d = copy >= 0 ? fdopendir(copy) : NULL;
  if (d == NULL) {
    if (copy >= 0) close(copy);
    return false;
  }
  int count = 0;
  while (count < 3 && readdir(d) != NULL) count++;
  closedir(d);
  return count == 2; /* "." and ".." */
}


/* The directory to mount on, opened; -1 and *e. */
static int open_target(const char *at, bool *made, error **e) {
  *made = mkdir(at, 0755) == 0;
  int fd = -1;
  if (!*made && errno != EEXIST)
    *e = cannot("cannot make the directory", at);
  else if ((fd = fd_own(
                open(at, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC))) < 0)
    *e = cannot("cannot mount on that: it must be a directory", at);
  else if (fd_is_mount(fd))
    *e = error_at(vss_error(VSS_E_OBJECT_ALREADY_EXISTS,
                            "something is mounted at '%s' already; name "
                            "another directory",
                            at),
                  at);
  else if (!is_empty(fd))
    *e = error_at(vss_error(VSS_E_OBJECT_ALREADY_EXISTS,
                            "the directory '%s' is not empty, and a mount "
                            "would hide what is in it; name another",
                            at),
                  at);
  if (*e == NULL) return fd;
  fd_close(&fd);
  if (*made) rmdir(at);
  *made = false;
  return -1;
}


/* It passes nothing on to other mount namespaces and takes nothing from them;
   what programs lie in a shadow get no rights by lying there. */
static error *mount_on(const char *from, int target, const char *at) {
  struct mount_attr attributes = {
      .attr_set = MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV,
      .propagation = MS_PRIVATE};
  error *e = NULL;
  int tree = fd_own(
      open_tree(AT_FDCWD, from,
                OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW));
  if (tree < 0)
    e = cannot("cannot open the shadow copy to mount it", from);
  else if (mount_setattr(tree, "", AT_EMPTY_PATH, &attributes,
                         sizeof attributes) != 0)
    e = cannot("cannot make the mount read-only", from);
  else if (move_mount(tree, "", target, "",
                      MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH) != 0)
    e = cannot("cannot mount the shadow copy there", at);
  fd_close(&tree);
  return e;
}


static bool put_attribute(value *record, bool exposed) {
  int64_t bits = value_integer(value_get(record, "attributes"), 0);
  bits = exposed ? bits | VSS_ATTR_EXPOSED_LOCALLY
                 : bits & ~(int64_t)VSS_ATTR_EXPOSED_LOCALLY;
  return value_put(record, "attributes", value_int(bits));
}


static bool put_exposed(value *record, const char *at, bool made) {
  return record_put_text(record, "exposed", at) &&
         value_put(record, "exposed_made", value_bool(made)) &&
         put_attribute(record, true) && record_put_boot(record, "exposed_boot");
}


static bool put_not_exposed(value *record) {
  return value_put(record, "exposed", value_null()) &&
         value_put(record, "exposed_made", value_null()) &&
         value_put(record, "exposed_boot", value_null()) &&
         put_attribute(record, false);
}


/* Written down first: a mount that nobody knows of would stay for ever. */
static error *expose(const places *p, value *record, const char *at) {
  bool made;
  error *e = NULL;
  int target = open_target(at, &made, &e);
  if (target < 0) return e;
  /* Of one that was exposed before a restart the directory is there: ours. */
  bool ours = made || value_boolean(value_get(record, "exposed_made"), false);
  if (!put_exposed(record, at, ours)) e = error_no_memory();
  if (e == NULL) e = record_save(p, record);
  if (e == NULL) {
    e = mount_on(record_text(record, "path"), target, at);
    if (e != NULL) {
      error *more =
          put_not_exposed(record) ? record_save(p, record) : error_no_memory();
      error_unref(more); /* unexpose finds nothing mounted, and says so */
    }
  }
  fd_close(&target);
  if (e != NULL && made) rmdir(at);
  return e;
}


static error *check_kind(const value *record) {
  struct stat st;
  const char *path = record_text(record, "path");
  if (lstat(path, &st) != 0 || S_ISDIR(st.st_mode)) return NULL;
  return error_at(vss_error(VSS_E_NOT_SUPPORTED,
                            "the shadow copy %s is of a single file, and only "
                            "directories can be exposed; read it at '%s'",
                            record_text(record, "id"), path),
                  path);
}


static error *can_be_exposed(const places *p, value *record, const char *at) {
  const char *id = record_text(record, "id");
  if (!record_is(record, "created"))
    return vss_error(VSS_E_OBJECT_NOT_FOUND, "there is no shadow copy %s", id);
  if (!value_boolean(value_get(record, "persistent"), false))
    return vss_error(VSS_E_UNSUPPORTED_CONTEXT,
                     "the shadow copy %s is not persistent: it goes with its "
                     "session, so it cannot be exposed; read it at its path",
                     id);
  const char *exposed = record_text(record, "exposed");
  if (*exposed != '\0')
    return error_at(vss_error(VSS_E_OBJECT_ALREADY_EXISTS,
                              "the shadow copy %s is exposed already, at '%s'; "
                              "unexpose it first",
                              id, exposed),
                    exposed);
  if (path_within(at, record_text(record, "path")))
    return error_at(vss_error(SAROS_E_INVALIDARG,
                              "'%s' lies in the shadow copy itself", at),
                    at);
  error *e = record_ready(p, record, NULL);
  return e == NULL ? check_kind(record) : e;
}


error *shadows_expose(const places *p, const char *id, const char *at) {
  error *e = NULL;
  if (at == NULL || *at != '/')
    return vss_error(SAROS_E_INVALIDARG,
                     "to be exposed at '%s': it must be an absolute path",
                     at != NULL ? at : "");
  char *clean = path_clean(at);
  if (clean == NULL) return error_no_memory();
  int claim = claim_take(p, id, &e);
  value *record = claim >= 0 ? record_load(p, id, &e) : NULL;
  if (record != NULL) e = can_be_exposed(p, record, clean);
  if (e == NULL && record != NULL) e = expose(p, record, clean);
  value_free(record);
  claim_give(&claim);
  mem_free(clean);
  return e;
}


/* ------------------------------------------------------------------
** The end of it
** ---------------------------------------------------------------- */

/* Whether what is mounted there is what we mounted: the same directory, as
   the root of a mount. */
static bool is_ours(int fd, const char *path) {
  struct stat there, here;
  return fd_is_mount(fd) && fstat(fd, &there) == 0 && stat(path, &here) == 0 &&
         there.st_dev == here.st_dev && there.st_ino == here.st_ino;
}


error *exposure_end(value *record, bool force) {
  const char *at = record_text(record, "exposed");
  error *e = NULL;
  if (*at == '\0') return NULL;
  int fd = fd_own(open(at, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  bool mounted = fd >= 0 && fd_is_mount(fd);
  bool ours = mounted && is_ours(fd, record_text(record, "path"));
  fd_close(&fd); /* it would keep the mount busy */
  if (mounted && !ours)
    e = error_at(vss_error(VSS_E_VOLUME_IN_USE,
                           "what is mounted at '%s' is not the shadow copy %s, "
                           "so it is left alone; unmount it yourself",
                           at, record_text(record, "id")),
                 at);
  else if (ours && umount2(at, UMOUNT_NOFOLLOW | (force ? MNT_DETACH : 0)) != 0)
    e = cannot("cannot unmount the shadow copy", at);
  if (e != NULL) return e;
  if (value_boolean(value_get(record, "exposed_made"), false)) rmdir(at);
  return put_not_exposed(record) ? NULL : error_no_memory();
}


error *shadows_unexpose(const places *p, const char *id) {
  error *e = NULL;
  int claim = claim_take(p, id, &e);
  value *record = claim >= 0 ? record_load(p, id, &e) : NULL;
  if (record != NULL && *record_text(record, "exposed") == '\0')
    e = vss_error(VSS_E_OBJECT_NOT_FOUND, "the shadow copy %s is not exposed",
                  id);
  if (e == NULL && record != NULL) e = exposure_end(record, false);
  if (e == NULL && record != NULL) e = record_save(p, record);
  value_free(record);
  claim_give(&claim);
  return e;
}


error *exposure_again(const places *p, value *record, bool *again) {
  const char *at = record_text(record, "exposed");
  bool same;
  *again = false;
  if (!record_is_of_boot(record, "exposed_boot", &same))
    return error_no_memory();
  if (*at == '\0' || same) return NULL; /* who unmounted it knew why */
  error *e = record_verify(record);
  char *copy = e == NULL ? mem_text(at) : NULL; /* it changes the record */
  if (e == NULL) e = copy != NULL ? expose(p, record, copy) : error_no_memory();
  *again = e == NULL;
  mem_free(copy);
  return e;
}
