/*
** All of a file but its data: owner, extended attributes (ACLs are some of
** them), mode, times; in this order, because a change of owner takes away
** setuid and capabilities, and everything changes the times.
*/
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "op/copy_parts.h"

#define ACCESS_ACL "system.posix_acl_access"
#define DEFAULT_ACL "system.posix_acl_default"
#define LIST_BYTES ((size_t)XATTR_LIST_MAX)
#define VALUE_BYTES ((size_t)XATTR_SIZE_MAX)

meta meta_of(const struct stat *st) {
  return (meta){
      st->st_mode, st->st_uid, st->st_gid, {st->st_atim, st->st_mtim}};
}

void meta_strip(int fd) {
  fremovexattr(fd, ACCESS_ACL);
  fremovexattr(fd, DEFAULT_ACL);
}


/* ------------------------------------------------------------------
** Extended attributes
** ---------------------------------------------------------------- */

/* By descriptor, or by a path when there is none. */
typedef struct subject {
  int fd;
  const char *path;
} subject;

static ssize_t list(subject s, char *names) {
  return s.path != NULL ? llistxattr(s.path, names, LIST_BYTES)
                        : flistxattr(s.fd, names, LIST_BYTES);
}

static ssize_t get(subject s, const char *name, void *bytes) {
  return s.path != NULL ? lgetxattr(s.path, name, bytes, VALUE_BYTES)
                        : fgetxattr(s.fd, name, bytes, VALUE_BYTES);
}

static int set(subject s, const char *name, const void *bytes, ssize_t size) {
  return s.path != NULL ? lsetxattr(s.path, name, bytes, (size_t)size, 0)
                        : fsetxattr(s.fd, name, bytes, (size_t)size, 0);
}

/* What the target cannot have, or we may not read or give. */
static bool is_tolerated(int number) {
  return number == EOPNOTSUPP || number == EPERM || number == EACCES;
}

/* 0 or an errno, and what could not be done. */
static int copy_one(copy *c, subject from, subject to, const char *name,
                    char *bytes, const char **what) {
  ssize_t size = get(from, name, bytes);
  if (size >= 0) {
    if (set(to, name, bytes, size) == 0) return 0;
    *what = "cannot set an extended attribute of";
  } else {
    if (errno == ENODATA) return 0; /* it has just gone */
    *what = "cannot read an extended attribute of";
  }
  if (!is_tolerated(errno)) return errno;
  atomic_fetch_add(&c->n.skipped_xattrs, 1);
  return 0;
}

/* XFS shows its ACLs twice; once is enough, and elsewhere would be wrong. */
static bool is_double(const char *name) {
  return strncmp(name, "trusted.SGI_ACL_", 16) == 0;
}

static int copy_xattrs(copy *c, worker *me, subject from, subject to,
                       const char **what) {
  char *names = worker_scratch(me);
  *what = "cannot read the extended attributes of";
  if (names == NULL) return ENOMEM;
  ssize_t size = list(from, names);
  if (size < 0) return is_tolerated(errno) ? 0 : errno;
  int r = 0;
  for (ssize_t at = 0; at < size && r == 0;) {
    if (!is_double(names + at))
      r = copy_one(c, from, to, names + at, names + LIST_BYTES, what);
    at += (ssize_t)strlen(names + at) + 1;
  }
  return r;
}


/* ------------------------------------------------------------------
** Owner and mode
** ---------------------------------------------------------------- */

/* EINVAL is an owner that does not exist in our user namespace. */
static bool is_not_for_us(int number) {
  return number == EPERM || number == EINVAL || number == EOPNOTSUPP;
}

static mode_t without_owner(copy *c, mode_t mode, bool group) {
  atomic_fetch_add(&c->n.skipped_owners, 1);
  /* Setuid of somebody else must not become setuid of ours. */
  return mode & (mode_t) ~(S_ISUID | (group ? S_ISGID : 0u));
}

/* The mode that it may have then; *number is 0 or an errno. */
static mode_t copy_owner(copy *c, int dir, const char *name, const meta *m,
                         const struct stat *now, int *number) {
  int flags = AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW;
  *number = 0;
  mode_t mode = m->mode & 07777;
  if (now->st_uid == m->uid && now->st_gid == m->gid) return mode;
  if (fchownat(dir, name, m->uid, m->gid, flags) == 0) return mode;
  if (!is_not_for_us(errno)) {
    *number = errno;
    return mode;
  }
  bool group = now->st_gid == m->gid ||
               fchownat(dir, name, (uid_t)-1, m->gid, flags) == 0;
  return without_owner(c, mode, !group);
}

/* File systems without modes say so in one of these ways. */
static bool has_no_modes(int number) {
  return number == EPERM || number == EOPNOTSUPP;
}

/* 0, or an errno and what could not be done. */
static int copy_meta(copy *c, worker *me, int from, int to, const meta *m,
                     const char **what) {
  struct stat now;
  int r;
  *what = "cannot stat the copy of";
  if (fstat(to, &now) != 0) return errno;
  *what = "cannot set the owner of";
  mode_t mode = copy_owner(c, to, "", m, &now, &r);
  if (r != 0) return r;
  r = copy_xattrs(c, me, (subject){from, NULL}, (subject){to, NULL}, what);
  if (r != 0) return r;
  *what = "cannot set the mode of";
  bool owned = now.st_uid == m->uid && now.st_gid == m->gid;
  if (!owned || (now.st_mode & 07777) != mode)
    if (fchmod(to, mode) != 0) {
      if (!has_no_modes(errno)) return errno;
      atomic_fetch_add(&c->n.skipped_owners, 1);
    }
  *what = "cannot set the times of";
  return futimens(to, m->times) == 0 ? 0 : errno;
}

bool meta_copy(copy *c, worker *me, int from, int to, const meta *m,
               const walk_dir *d, const char *name) {
  const char *what;
  int r = copy_meta(c, me, from, to, m, &what);
  return r == 0 || copy_failed(c, r, what, d, name, COPY_TARGET);
}


/* ------------------------------------------------------------------
** What cannot be opened
** ---------------------------------------------------------------- */

void meta_strip_at(int dir, const char *name) {
  char path[300];
  snprintf(path, sizeof path, "/proc/self/fd/%d/%s", dir, name);
  lremovexattr(path, ACCESS_ACL);
}

int meta_chmod_at(int dir, const char *name, mode_t mode) {
  int fd = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return errno;
  char path[40];
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  int r = chmod(path, mode) == 0 ? 0 : errno;
  close(fd);
  return r;
}

static int copy_meta_at(copy *c, worker *me, walk_dir *d, const char *name,
                        const char *to_name, const meta *m, const char **what) {
  struct stat now;
  int r;
  *what = "cannot stat the copy of";
  if (fstatat(d->to, to_name, &now, AT_SYMLINK_NOFOLLOW) != 0) return errno;
  *what = "cannot set the owner of";
  mode_t mode = copy_owner(c, d->to, to_name, m, &now, &r);
  if (r != 0) return r;
  /* There are no calls for these relative to a directory on most kernels;
     this path has no limit but the name's. */
  char from[300], to[300];
  snprintf(from, sizeof from, "/proc/self/fd/%d/%s", d->from, name);
  snprintf(to, sizeof to, "/proc/self/fd/%d/%s", d->to, to_name);
  if (d->from >= 0)
    r = copy_xattrs(c, me, (subject){-1, from}, (subject){-1, to}, what);
  if (r == ENOENT) r = 0; /* no /proc, or it has just gone */
  if (r != 0) return r;
  *what = "cannot set the mode of";
  if (!S_ISLNK(m->mode)) r = meta_chmod_at(d->to, to_name, mode);
  if (r != 0) return r;
  *what = "cannot set the times of";
  if (utimensat(d->to, to_name, m->times, AT_SYMLINK_NOFOLLOW) != 0)
    return errno;
  return 0;
}

bool meta_copy_at(copy *c, worker *me, walk_dir *d, const char *name,
                  const char *to_name, const meta *m) {
  const char *what;
  int r = copy_meta_at(c, me, d, name, to_name, m, &what);
  return r == 0 || copy_failed(c, r, what, d, name, COPY_TARGET);
}
