/*
** Where a tree's shadow is made, and how it is taken away: all of it lies in
** the shadow's place (vss/place.h), so whoever has the record can remove it,
** make it read-only again after a restart, or give it up.
*/
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "vss/place.h"
#include "vss/provider/tree_parts.h"

#define ENTRY_BYTES 1024 /* an inode and a name, about */

static error *of_errno(int number, const char *what, const char *path) {
  return error_of_errno(SAROS_FACADE_VSS, number, what, path);
}

static identity identity_of(const struct stat *st) {
  return (identity){st->st_dev, st->st_ino};
}


/* ------------------------------------------------------------------
** The source
** ---------------------------------------------------------------- */

error *tree_open(tree *t) {
  const char *path = t->s->from->path;
  struct stat st;
  size_t size;
  if (lstat(path, &st) != 0)
    return of_errno(errno, "cannot find what the shadow is of", path);
  if (S_ISDIR(st.st_mode)) {
    t->source_path = mem_text(path);
  } else {
    const char *base = path_base(path, &size);
    t->source_path = path_parent(path);
    t->single = mem_bytes(base, size);
    if (t->single == NULL) return error_no_memory();
  }
  if (t->source_path == NULL) return error_no_memory();
  t->c.from = mem_text(t->source_path);
  if (t->c.from == NULL) return error_no_memory();
  int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  t->source = open(t->source_path, flags);
  /* Of a file's directory only what is below it must be reached. */
  if (t->source < 0 && errno == EACCES && t->single != NULL)
    t->source = open(t->source_path, (flags & ~O_RDONLY) | O_PATH);
  if (t->source < 0 || fstat(t->source, &st) != 0)
    return of_errno(errno, "cannot read what the shadow is of", t->source_path);
  t->source_id = identity_of(&st);
  return NULL;
}


/* ------------------------------------------------------------------
** The place
** ---------------------------------------------------------------- */

/* Our own shadows, of which no shadow is made. */
static void know_place(tree *t) {
  struct stat st;
  if (fstat(t->c.parent, &st) == 0) t->place_id = identity_of(&st);
  if (fstatat(t->c.parent, "..", &st, 0) == 0) t->above_id = identity_of(&st);
}

error *tree_make(tree *t) {
  const char *place = t->s->place;
  error *e = place_make(t->s, false, &t->c.parent);
  if (e != NULL) return e;
  know_place(t);
  snprintf(t->c.temp, sizeof t->c.temp, TREE_ROOT);
  snprintf(t->c.farm_name, sizeof t->c.farm_name, TREE_LINKS);
  t->c.to = path_join(place, TREE_ROOT);
  if (t->c.to == NULL) return error_no_memory();
  if (mkdirat(t->c.parent, TREE_ROOT, 0700) != 0)
    return of_errno(errno, "cannot make the directory of the shadow", place);
  provider_step();
  t->target = openat(t->c.parent, TREE_ROOT,
                     O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (t->target < 0)
    return of_errno(errno, "cannot open the directory of the shadow", place);
  meta_strip(t->target);
  fchmod(t->target, 0700);
  t->hold = device_hold_fd(t->target, "a shadow copy", place);
  return t->hold != NULL ? NULL : of_errno(errno, "cannot register", t->c.to);
}

error *tree_room(tree *t) {
  struct statvfs fs;
  if (fstatvfs(t->target, &fs) != 0)
    return of_errno(errno, "cannot see how much room there is", t->c.to);
  unsigned long long entries = atomic_load(&t->entries);
  unsigned long long need = entries * ENTRY_BYTES + atomic_load(&t->need);
  unsigned long long free = (unsigned long long)fs.f_bavail * fs.f_frsize;
  if (geteuid() == 0) free = (unsigned long long)fs.f_bfree * fs.f_frsize;
  bool names = fs.f_files == 0 || fs.f_favail >= entries;
  if (need <= free && names) return NULL;
  buffer b = BUFFER_EMPTY;
  if (names)
    buffer_format(&b, "%llu MiB are needed and %llu MiB are free", need >> 20,
                  free >> 20);
  else
    buffer_format(&b, "%llu files are needed and %llu can be made", entries,
                  (unsigned long long)fs.f_favail);
  error *e = b.failed
                 ? error_no_memory()
                 : error_at(vss_error(VSS_E_INSUFFICIENT_STORAGE,
                                      "there is no room for the shadow of "
                                      "\"%s\" in %s: %s; make room there, or "
                                      "choose another provider",
                                      t->s->given, t->s->place, b.data),
                            t->s->place);
  buffer_free(&b);
  return e;
}

error *tree_clean(tree *t) {
  int farm = atomic_exchange(&t->c.farm, -1);
  if (farm < 0) return NULL;
  close(farm);
  remove_all(&t->c, t->c.parent, TREE_LINKS, "links beside the shadow");
  return t->c.why != NULL ? error_ref(t->c.why) : NULL;
}


/* ------------------------------------------------------------------
** Read-only
** ---------------------------------------------------------------- */

static bool note_lock(tree *t, error **e) {
  if (!value_put(t->s->keep, "mounted", value_bool(true))) {
    *e = error_no_memory();
    return false;
  }
  *e = t->s->note != NULL ? t->s->note(t->s) : NULL;
  return *e == NULL;
}

static int open_root(int place) {
  return openat(place, TREE_ROOT,
                O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

/* What forbids more than we ask for stays. */
static int remount_readonly(int root) {
  char name[40];
  struct statvfs fs;
  unsigned long flags = MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV;
  if (fstatvfs(root, &fs) == 0) {
    if (fs.f_flag & ST_NOEXEC) flags |= MS_NOEXEC;
    if (fs.f_flag & ST_NOATIME) flags |= MS_NOATIME;
    if (fs.f_flag & ST_NODIRATIME) flags |= MS_NODIRATIME;
    if (fs.f_flag & ST_RELATIME) flags |= MS_RELATIME;
  }
  return mount(NULL, fd_name(root, name), NULL, flags, NULL) == 0 ? 0 : errno;
}

/* A mount of the root on itself. It is opened again for the second step: what
   was open before is below the mount. Also of what somebody died over. */
static int mount_readonly(int place) {
  char name[40];
  int number = 0, root = open_root(place);
  if (root < 0) return errno;
  if (!fd_is_mount(root)) {
    fd_name(root, name);
    if (mount(name, name, NULL, MS_BIND, NULL) != 0) number = errno;
    close(root);
    provider_step();
    if (number != 0) return number;
    root = open_root(place);
    if (root < 0) return errno;
  }
  number = remount_readonly(root);
  if (number != 0) umount2(fd_name(root, name), MNT_DETACH);
  close(root);
  return number;
}

error *tree_lock(tree *t) {
  error *e = NULL;
  int number = EPERM;
  if (has_capability(CAP_SYS_ADMIN)) {
    if (!note_lock(t, &e)) return e;
    number = mount_readonly(t->c.parent);
    provider_step();
  }
  if (number == 0) return NULL;
  value_put(t->s->keep, "mounted", value_bool(false));
  bool good = shadow_warn(t->s,
                          "the shadow is not read-only for user %u, who made "
                          "it (%s); nobody else can reach it",
                          (unsigned)geteuid(), strerror(number));
  return good ? NULL : error_no_memory();
}


/* ------------------------------------------------------------------
** Taking it away
** ---------------------------------------------------------------- */

static bool forgive_none(copy *c, int number, const char *what,
                         copy_side side) {
  (void)c;
  (void)number;
  (void)what;
  (void)side;
  return false;
}

static void left(copy *c, const char *sentence) {
  copy_fail(c, vss_error(VSS_E_UNEXPECTED_PROVIDER_ERROR, "%s", sentence));
}

static const copy_manner removing = {.forgive = forgive_none, .left = left};

static error *remove_in(int place, const char *path, saros_op *op) {
  copy *c = mem_zero(sizeof *c);
  if (c == NULL) return error_no_memory();
  pthread_mutex_init(&c->lock, NULL);
  c->manner = &removing;
  c->op = op;
  c->from = c->to = (char *)(uintptr_t)path; /* only to be shown */
  atomic_init(&c->farm, -1);
  snprintf(c->temp, sizeof c->temp, TREE_ROOT);
  if (remove_all(c, place, TREE_LINKS, path)) {
    provider_step();
    remove_all(c, place, TREE_ROOT, path);
    provider_step();
  }
  error *e = c->why;
  pthread_mutex_destroy(&c->lock);
  mem_free(c);
  return e;
}

static bool is_mounted(const char *path) {
  struct statx sx;
  return statx(AT_FDCWD, path, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, 0, &sx) ==
             0 &&
         (sx.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
}

/* What was mounted may have been so more than once, by a maker that was killed
   and one that came after it. */
static error *unmount_root(const char *root) {
  while (is_mounted(root))
    if (umount2(root, MNT_DETACH | UMOUNT_NOFOLLOW) != 0)
      return of_errno(errno, "cannot unmount the shadow", root);
  return NULL;
}

/* Its owner is who made it: anything else has come in its place. */
static error *check_owner(const value *keep, int place, const char *path) {
  struct stat st;
  if (fstat(place, &st) != 0)
    return of_errno(errno, "cannot look at the shadow", path);
  int64_t user = value_integer(value_get(keep, "user"), -1);
  if (S_ISDIR(st.st_mode) && (int64_t)st.st_uid == user) return NULL;
  return error_at(
      vss_error(SAROS_E_REFUSED,
                "%s is not what was made there for the shadow copy; look at "
                "it and take it away",
                path),
      path);
}

error *tree_destroy(const value *keep, saros_op *op) {
  char *path, *root = NULL;
  int place;
  if (!place_planned(keep)) return NULL;
  error *e = place_open(keep, &place);
  if (e != NULL) return e;
  e = keep_path(keep, "place", &path);
  if (e == NULL && place >= 0) {
    e = check_owner(keep, place, path);
    if (e == NULL) e = keep_path_in(keep, "place", TREE_ROOT, &root);
    if (e == NULL) e = unmount_root(root);
    if (e == NULL) e = remove_in(place, root, op);
  }
  if (place >= 0) close(place);
  mem_free(path);
  mem_free(root);
  return e != NULL ? e : place_remove(keep);
}

error *tree_verify(const value *keep) {
  int place;
  char *path;
  error *e = place_open(keep, &place);
  if (e != NULL) return e;
  e = keep_path(keep, "place", &path);
  int root = place >= 0 ? open_root(place) : -1;
  if (e == NULL && (root < 0 || !keep_is_file(keep, "root", root)))
    e = error_at(vss_error(VSS_E_OBJECT_NOT_FOUND,
                           "the shadow copy in %s is not there any more; "
                           "delete it, and make another",
                           path),
                 path);
  if (root >= 0) close(root);
  if (place >= 0) close(place);
  mem_free(path);
  return e;
}


/* ------------------------------------------------------------------
** After a restart, and at the end
** ---------------------------------------------------------------- */

/* Read-only is all that a restart takes from it; who could not make it so has
   nothing to lose. */
static bool was_mounted(const value *keep) {
  return value_boolean(value_get(keep, "mounted"), false);
}

bool tree_surfaced(const value *keep) {
  struct statvfs fs;
  int place;
  if (!was_mounted(keep)) return true;
  error *e = place_open(keep, &place);
  error_unref(e);
  int root = e == NULL && place >= 0 ? open_root(place) : -1;
  bool is = root >= 0 && fd_is_mount(root) && fstatvfs(root, &fs) == 0 &&
            (fs.f_flag & ST_RDONLY) != 0;
  if (root >= 0) close(root);
  if (place >= 0) close(place);
  return is;
}

error *tree_surface(const value *keep, saros_op *op, char **device) {
  char *path = NULL;
  int place;
  (void)op;
  *device = NULL;
  if (tree_surfaced(keep)) return NULL;
  error *e = tree_verify(keep); /* also that nothing else is mounted there */
  if (e != NULL) return e;
  e = place_open(keep, &place);
  if (e == NULL) e = place_check(keep, place);
  if (e == NULL) e = keep_path_in(keep, "place", TREE_ROOT, &path);
  if (e == NULL) {
    int number = mount_readonly(place);
    provider_step();
    if (number != 0)
      e = of_errno(number, "the shadow cannot be made read-only again", path);
  }
  if (place >= 0) close(place);
  mem_free(path);
  return e;
}

error *tree_loosen(const value *keep, char **where) {
  char *path, *root = NULL;
  int place = -1;
  *where = NULL;
  error *e = tree_verify(keep);
  if (e != NULL) return e;
  e = keep_path(keep, "place", &path);
  if (e == NULL) e = place_open(keep, &place);
  if (e == NULL) e = check_owner(keep, place, path);
  if (e == NULL) e = keep_path_in(keep, "place", TREE_ROOT, &root);
  if (e == NULL) e = unmount_root(root);
  provider_step();
  if (place >= 0) close(place);
  mem_free(path);
  mem_free(root);
  return e;
}
