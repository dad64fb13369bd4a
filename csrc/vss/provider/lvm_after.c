/*
** What whoever comes later does with a snapshot of LVM: he has the record
** alone, and its maker may have died at any point, with lvcreate still running.
** A volume is removed only when it has the name and the tag of this shadow.
*/
#include "vss/provider/lvm_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#define WAIT_SECONDS 60
#define REMOVE_SECONDS 60

static const char *text_of(const value *keep, const char *name) {
  return value_chars(value_get(keep, name), "");
}

/* Names go into an expression and become arguments. */
static bool is_plain(const char *name) {
  static const char good[] =
      "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+_.-";
  return *name != '\0' && *name != '-' && strlen(name) < 128 &&
         name[strspn(name, good)] == '\0';
}

static error *check_names(const value *keep) {
  if (is_plain(text_of(keep, "group")) && is_plain(text_of(keep, "name")) &&
      is_plain(text_of(keep, "tag")))
    return NULL;
  return vss_error(SAROS_E_DAMAGED,
                   "the record of the snapshot names no volume that LVM could "
                   "have");
}

static bool has_tag(const char *tags, const char *tag) {
  size_t n = strlen(tag);
  for (const char *at = tags; (at = strstr(at, tag)) != NULL; at += n)
    if ((at == tags || at[-1] == ',') && (at[n] == ',' || at[n] == '\0'))
      return true;
  return false;
}

/* NULL and v->answer NULL: it is gone. */
static error *find(const value *keep, saros_op *op, lvm_volume *v) {
  char select[300];
  *v = (lvm_volume){0};
  error *e = check_names(keep);
  if (e != NULL) return e;
  snprintf(select, sizeof select, "lv_name=\"%s\"", text_of(keep, "name"));
  e = lvm_ask(text_of(keep, "group"), select, op, v);
  if (e != NULL || v->answer == NULL) return e;
  if (has_tag(v->tags, text_of(keep, "tag"))) return NULL;
  e = vss_error(SAROS_E_REFUSED,
                "the volume %s/%s has the name of the shadow copy and not its "
                "tag: it is somebody else's; look at it and rename it",
                v->vg, v->lv);
  value_free(v->answer);
  v->answer = NULL;
  return e;
}

/* Of a maker and of those after him, in whatever order they were killed. */
static error *unmount(const char *root) {
  struct statx sx;
  while (statx(AT_FDCWD, root, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, 0, &sx) ==
             0 &&
         (sx.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0)
    if (umount2(root, UMOUNT_NOFOLLOW) != 0 &&
        umount2(root, UMOUNT_NOFOLLOW | MNT_DETACH) != 0)
      return error_of_errno(SAROS_FACADE_VSS, errno,
                            "cannot unmount the snapshot", root);
  return NULL;
}

static error *remove_volume(const value *keep, int lock, saros_op *op) {
  lvm_volume v;
  char name[300];
  error *e = find(keep, NULL, &v);
  if (e != NULL || v.answer == NULL) return e;
  snprintf(name, sizeof name, "%s/%s", v.vg, v.lv);
  const char *argv[] = {"lvremove", "--yes", "--force", "--quiet", name, NULL};
  tool_call call = {.argv = argv, .lock = lock, .seconds = REMOVE_SECONDS};
  (void)op; /* it is the undoing: a cancel does not stop it */
  e = tool_run(&call, NULL);
  value_free(v.answer);
  return e;
}

static error *remove_entries(int place, const char *root) {
  if (unlinkat(place, LVM_ROOT, AT_REMOVEDIR) != 0 && errno != ENOENT)
    return error_of_errno(SAROS_FACADE_VSS, errno, "cannot remove", root);
  provider_step();
  if (unlinkat(place, LVM_LOCK, 0) != 0 && errno != ENOENT)
    return error_of_errno(SAROS_FACADE_VSS, errno, "cannot remove the lock of",
                          root);
  return NULL;
}

error *lvm_destroy(const value *keep, saros_op *op) {
  int place, lock = -1;
  char *root;
  if (!place_planned(keep)) return NULL;
  error *e = place_open(keep, &place);
  if (e != NULL) return e;
  e = keep_path_in(keep, "place", LVM_ROOT, &root);
  /* An lvcreate that its maker left behind ends first. */
  if (e == NULL && place >= 0)
    e = tool_lock(place, LVM_LOCK, WAIT_SECONDS, &lock);
  if (e == NULL) e = unmount(root);
  provider_step();
  if (e == NULL) e = remove_volume(keep, lock, op);
  provider_step();
  if (e == NULL && place >= 0) e = remove_entries(place, root);
  if (lock >= 0) close(lock);
  if (place >= 0) close(place);
  mem_free(root);
  return e != NULL ? e : place_remove(keep);
}

/* Of an answer, which is kept. */
static error *check_volume(const value *keep, const lvm_volume *v) {
  error *e = NULL;
  const char *name = text_of(keep, "name");
  const char *uuid = text_of(keep, "uuid");
  if (v->answer == NULL)
    e = vss_error(VSS_E_OBJECT_NOT_FOUND,
                  "LVM has no volume %s any more: the snapshot was removed",
                  name);
  else if (*uuid != '\0' && strcmp(v->uuid, uuid) != 0)
    e = vss_error(VSS_E_OBJECT_NOT_FOUND,
                  "the volume %s is another one than was made", name);
  else if (strlen(v->attr) > 4 && strchr("ISFX", v->attr[4]) != NULL)
    e = vss_error(VSS_E_OBJECT_NOT_FOUND,
                  "the snapshot %s is not valid any more: so much has changed "
                  "in the original that it was full",
                  name);
  return e;
}

error *lvm_verify(const value *keep) {
  lvm_volume v;
  error *e = find(keep, NULL, &v);
  if (e != NULL) return e;
  e = check_volume(keep, &v);
  value_free(v.answer);
  return e;
}


/* ------------------------------------------------------------------
** After a restart
** ---------------------------------------------------------------- */

static int open_root(int place) {
  return openat(place, LVM_ROOT, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

bool lvm_surfaced(const value *keep) {
  int place;
  if (!value_boolean(value_get(keep, "mounted"), false)) return true;
  error *e = place_open(keep, &place);
  error_unref(e);
  int root = e == NULL && place >= 0 ? open_root(place) : -1;
  bool is = root >= 0 && fd_is_mount(root);
  if (root >= 0) close(root);
  if (place >= 0) close(place);
  return is;
}

/* It may have been made so that a start of the machine leaves it alone. */
static error *activate(const lvm_volume *v, int lock) {
  char name[300];
  if (strlen(v->attr) > 4 && v->attr[4] == 'a') return NULL;
  snprintf(name, sizeof name, "%s/%s", v->vg, v->lv);
  const char *argv[] = {"lvchange", "--activate", "y", "--ignoreactivationskip",
                        "--quiet",  name,         NULL};
  tool_call call = {.argv = argv, .lock = lock, .seconds = REMOVE_SECONDS};
  return tool_run(&call, NULL);
}

/* What is mounted there, when it is our volume. */
static error *check_mount(int root, const lvm_volume *v) {
  struct stat st, device;
  if (fstat(root, &st) == 0 && stat(v->path, &device) == 0 &&
      st.st_dev == device.st_rdev)
    return NULL;
  return vss_error(VSS_E_OBJECT_NOT_FOUND,
                   "the snapshot %s is hidden: something else is mounted where "
                   "it was",
                   v->lv);
}

static error *mount_again(const value *keep, int place, int lock,
                          const lvm_volume *v) {
  char name[40];
  error *e = activate(v, lock);
  provider_step();
  if (e != NULL) return e;
  if (mkdirat(place, LVM_ROOT, 0700) != 0 && errno != EEXIST)
    return error_of_errno(SAROS_FACADE_VSS, errno, "cannot make", LVM_ROOT);
  int root = open_root(place);
  if (root < 0)
    return error_of_errno(SAROS_FACADE_VSS, errno, "cannot open", LVM_ROOT);
  e = fd_is_mount(root) ? check_mount(root, v)
                        : lvm_mount(v->path, fd_name(root, name),
                                    text_of(keep, "file_system_type"));
  provider_step();
  close(root);
  return e;
}

error *lvm_surface(const value *keep, saros_op *op, char **device) {
  lvm_volume v = {0};
  int place, lock = -1;
  *device = NULL;
  error *e = place_open(keep, &place);
  if (e == NULL) e = place_check(keep, place);
  if (e == NULL) e = find(keep, op, &v);
  if (e == NULL) e = check_volume(keep, &v);
  if (e == NULL) e = tool_lock(place, LVM_LOCK, WAIT_SECONDS, &lock);
  if (e == NULL) e = mount_again(keep, place, lock, &v);
  if (e == NULL && (*device = mem_text(v.path)) == NULL) e = error_no_memory();
  value_free(v.answer);
  if (lock >= 0) close(lock);
  if (place >= 0) close(place);
  return e;
}


/* ------------------------------------------------------------------
** A volume like any other
** ---------------------------------------------------------------- */

/* As the device mapper calls it: a hyphen in a name is two. */
static void put_doubled(buffer *b, const char *name) {
  for (; *name != '\0'; name++) {
    buffer_byte(b, *name);
    if (*name == '-') buffer_byte(b, '-');
  }
}

char *lvm_stays(const value *keep) {
  buffer b = BUFFER_EMPTY;
  buffer_text(&b, "/dev/mapper/");
  put_doubled(&b, text_of(keep, "group"));
  buffer_byte(&b, '-');
  put_doubled(&b, text_of(keep, "name"));
  char *path = b.failed ? NULL : buffer_take(&b);
  buffer_free(&b);
  return path;
}

/* Nobody may be in it: he would go on with what is somebody else's then. */
static error *unmount_unused(const char *root) {
  struct statx sx;
  while (statx(AT_FDCWD, root, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, 0, &sx) ==
             0 &&
         (sx.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0) {
    if (umount2(root, UMOUNT_NOFOLLOW) == 0) continue;
    if (errno == EBUSY)
      return error_at(vss_error(VSS_E_VOLUME_IN_USE,
                                "the shadow copy %s is in use: somebody has a "
                                "file open in it, or works there",
                                root),
                      root);
    return error_of_errno(SAROS_FACADE_VSS, errno,
                          "cannot unmount the snapshot", root);
  }
  return NULL;
}

static error *make_writable(const lvm_volume *v, int lock) {
  char name[300];
  error *e = activate(v, lock);
  provider_step();
  if (e != NULL || v->attr[0] == '\0' || v->attr[1] == 'w') return e;
  snprintf(name, sizeof name, "%s/%s", v->vg, v->lv);
  const char *argv[] = {"lvchange", "--permission", "rw",
                        "--quiet",  name,           NULL};
  tool_call call = {.argv = argv, .lock = lock, .seconds = REMOVE_SECONDS};
  return tool_run(&call, NULL);
}

/* Its tag stays, so that it can still be taken away while it has a record. */
error *lvm_loosen(const value *keep, char **path) {
  lvm_volume v = {0};
  int place, lock = -1;
  char *root = NULL;
  *path = NULL;
  error *e = place_open(keep, &place);
  if (e == NULL) e = keep_path_in(keep, "place", LVM_ROOT, &root);
  if (e == NULL && place >= 0)
    e = tool_lock(place, LVM_LOCK, WAIT_SECONDS, &lock);
  if (e == NULL) e = find(keep, NULL, &v);
  if (e == NULL) e = check_volume(keep, &v);
  if (e == NULL) e = unmount_unused(root);
  provider_step();
  if (e == NULL) e = make_writable(&v, lock);
  provider_step();
  if (e == NULL && (*path = mem_text(v.path)) == NULL) e = error_no_memory();
  if (e == NULL && place >= 0) e = remove_entries(place, root);
  value_free(v.answer);
  if (lock >= 0) close(lock);
  if (place >= 0) close(place);
  mem_free(root);
  if (e == NULL) e = place_remove(keep); /* there is nothing of it there */
  if (e == NULL) return NULL;
  mem_free(*path);
  *path = NULL;
  return e;
}
