/*
** provider image: the clone as something that can be read, and as an image
** like any other.
**
** Its mount and its loop device end with the machine, its file does not. What
** keep says of the file (which it is, how long, when written last) is looked at
** before anything is mounted; where in it the file system begins, and of what
** type that is, keep has too. A device that is over the clone already, because
** it is mounted elsewhere too, is used again: of two devices the kernel would
** make two file systems, and who compares them would take them for different.
*/
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "vss/disks.h"
#include "vss/provider/image_parts.h"


/* ------------------------------------------------------------------
** Mounting
** ---------------------------------------------------------------- */

static error *mount_failed(const image_copy *c, int number) {
  return error_of_errno(SAROS_FACADE_VSS, number,
                        "the clone of the file system cannot be mounted",
                        c->path);
}


static int open_tree_at(int place) {
  return openat(place, IMAGE_TREE,
                O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}


/* Other namespaces that share what is mounted there see this mount too, and
   see it go; what is mounted in it later is nobody else's. */
static int make_private(const image_copy *c) {
  char name[40];
  int root = open_tree_at(c->place);
  if (root < 0) return errno;
  int failed =
      mount(NULL, fd_name(root, name), NULL, MS_PRIVATE, NULL) != 0 ? errno : 0;
  close(root);
  return failed;
}


static error *mount_device(const image_copy *c, const char *device) {
  char name[40];
  const char *options =
      strcmp(c->type, "xfs") == 0 ? "nouuid,norecovery" : NULL;
  int at = open_tree_at(c->place);
  if (at < 0) return mount_failed(c, errno);
  int failed = mount(device, fd_name(at, name), c->type,
                     MS_RDONLY | MS_NOSUID | MS_NODEV, options) != 0
                   ? errno
                   : 0;
  close(at);
  provider_step();
  if (failed == 0) failed = make_private(c);
  return failed == 0 ? NULL : mount_failed(c, failed);
}


static error *get_device(const image_copy *c, int *device) {
  const image_remains *r = c->remains;
  *device = -1;
  for (size_t i = 0; r != NULL && i < r->count && *device < 0; i++)
    *device = image_adopt(r->loops[i], &r->st, &c->source);
  return *device >= 0 ? NULL : image_attach(c->clone, &c->source, device);
}


/* The device is looked up by what is open: its number could have been given
   to somebody else, its name to another device. */
error *image_mount(const image_copy *c, char **name) {
  struct stat st;
  int device;
  *name = NULL;
  error *e = get_device(c, &device);
  if (e != NULL) return e;
  provider_step();
  *name = fstat(device, &st) == 0 ? disk_name(st.st_rdev) : NULL;
  e = *name != NULL     ? mount_device(c, *name)
      : errno == ENOMEM ? error_no_memory()
                        : mount_failed(c, errno);
  close(device); /* the mount has it now, or nobody */
  return e;
}


/* ------------------------------------------------------------------
** After a restart
** ---------------------------------------------------------------- */

/* 0: nothing is mounted on its tree, and its device when ours is. False: it is
   something else. */
static bool mounted_device(const image_remains *r, dev_t *device) {
  struct stat st;
  int at = r->place >= 0 ? open_tree_at(r->place) : -1;
  *device = 0;
  if (at < 0) return true;
  bool mounted = fd_is_mount(at) && fstat(at, &st) == 0;
  close(at);
  if (mounted) *device = st.st_dev;
  return !mounted || image_is_loop(r, st.st_dev);
}


bool image_surfaced(const value *keep) {
  image_remains r;
  dev_t device = 0;
  error *e = image_look(keep, &r);
  bool is = e == NULL && mounted_device(&r, &device) && device != 0;
  error_unref(e);
  image_let_go(&r);
  return is;
}


static error *cannot_tell(const image_remains *r) {
  return error_at(vss_error(SAROS_E_DAMAGED,
                            "the record of the shadow copy %s does not say "
                            "what file system it is; its image is there, and "
                            "can be mounted by hand",
                            r->tree),
                  r->tree);
}


/* Who may write to the clone could make the kernel mount anything. */
static error *check_owner(const image_remains *r) {
  if (r->st.st_uid == geteuid() && (r->st.st_mode & 0222) == 0) return NULL;
  return image_changed(r,
                       "was changed behind our back: its image is not ours "
                       "alone to write to");
}


static error *mount_again(const image_remains *r, const value *keep,
                          char **device) {
  image_copy c = {.clone = r->clone,
                  .place = r->place,
                  .path = r->place_path,
                  .type = value_chars(value_get(keep, "type"), ""),
                  .remains = r};
  if (*c.type == '\0') return cannot_tell(r);
  image_get_source(keep, &c.source);
  if (mkdirat(r->place, IMAGE_TREE, 0700) != 0 && errno != EEXIST)
    return mount_failed(&c, errno);
  return image_mount(&c, device);
}


static error *surface(const image_remains *r, const value *keep,
                      char **device) {
  dev_t mounted;
  error *e = image_unchanged(r, keep);
  if (e == NULL) e = check_owner(r);
  if (e != NULL) return e;
  if (!mounted_device(r, &mounted))
    return image_changed(r, "is hidden: something else is mounted there");
  if (mounted == 0) return mount_again(r, keep, device);
  *device = disk_name(mounted);
  return *device != NULL || errno != ENOMEM ? NULL : error_no_memory();
}


error *image_surface(const value *keep, saros_op *op, char **device) {
  image_remains r;
  (void)op; /* nothing here takes long */
  *device = NULL;
  error *e = image_look(keep, &r);
  if (e != NULL && e->code == SAROS_E_REFUSED) {
    error_unref(e);
    e = image_changed(&r, "was replaced by something else behind our back");
  }
  if (e == NULL) e = place_check(keep, r.place);
  if (e == NULL) e = surface(&r, keep, device);
  image_let_go(&r);
  if (e == NULL) return NULL;
  mem_free(*device);
  *device = NULL;
  return e;
}


/* ------------------------------------------------------------------
** An image like any other
** ---------------------------------------------------------------- */

error *image_loosen(const value *keep, char **path) {
  image_remains r;
  *path = NULL;
  error *e = image_look(keep, &r);
  if (e == NULL && r.clone < 0)
    e = image_changed(&r, "was deleted behind our back");
  if (e == NULL) e = image_sink(&r);
  if (e == NULL) e = image_remove_tree(&r);
  if (e == NULL && (fchmod(r.clone, 0600) != 0 || fsync(r.clone) != 0))
    e = error_of_errno(SAROS_FACADE_VSS, errno,
                       "the image cannot be made writable", r.place_path);
  if (e == NULL) {
    *path = path_join(r.place_path, IMAGE_CLONE);
    if (*path == NULL) e = error_no_memory();
  }
  provider_step();
  image_let_go(&r);
  return e;
}


char *image_stays(const value *keep) {
  char *path = NULL;
  error_unref(keep_path_in(keep, "place", IMAGE_CLONE, &path));
  return path;
}
