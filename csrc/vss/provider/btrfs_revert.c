/*
** provider btrfs: rolling a subvolume back to its shadow.
**
** A writable snapshot of the shadow is made beside it and changes places with
** the original in one rename; then the original is deleted. A crash before the
** rename leaves the original where it is, a crash after it the reverted one;
** what then lies in the place as `revert` is told by its uuid, and goes with
** the shadow or with the next revert.
**
** Who has a file of the original open goes on with what was; so what is
** mounted of it, or nested in it, forbids a revert: that would go on with a
** deleted subvolume, or be deleted with it.
*/
#include <errno.h>
#include <fcntl.h>
#include <linux/btrfs_tree.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vss/mounts.h"
#include "vss/provider/btrfs_parts.h"

typedef struct reversal {
  const value *keep;
  char *path; /* of the original */
  int place;  /* where the shadow is */
  int above;  /* the directory that has the original */
  int shadow; /* the snapshot */
  int original;
  const char *name; /* of the original in that directory */
  uint64_t id;      /* of the original */
} reversal;


static error *refused(const reversal *r, uint32_t code, const char *how,
                      const char *where) {
  return error_at(
      vss_error(code, "%s cannot be reverted: %s%s", r->path, how, where),
      r->path);
}


static error *failed(const reversal *r, int number) {
  return error_of_errno(SAROS_FACADE_VSS, number,
                        "the subvolume cannot be reverted", r->path);
}


/* The original of this shadow, or what an earlier revert put in its place. */
static bool belongs(const value *keep,
                    const struct btrfs_ioctl_get_subvol_info_args *info) {
  char uuid[GUID_TEXT], parent[GUID_TEXT];
  btrfs_uuid_text(info->uuid, uuid);
  btrfs_uuid_text(info->parent_uuid, parent);
  const char *original = value_chars(value_get(keep, "parent_uuid"), "");
  const char *copied = value_chars(value_get(keep, "uuid"), "");
  return strcmp(uuid, original) == 0 || strcmp(parent, copied) == 0;
}


/* ------------------------------------------------------------------
** What an earlier one left
** ---------------------------------------------------------------- */

error *btrfs_revert_clean(const value *keep, int place, saros_op *op) {
  struct btrfs_ioctl_get_subvol_info_args info;
  struct stat st;
  char *path;
  int fd = openat(place, BTRFS_REVERT,
                  O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0) return NULL; /* what is no directory forbids the rmdir later */
  error *e = keep_path_in(keep, "place", BTRFS_REVERT, &path);
  if (e == NULL) {
    if (fstat(fd, &st) == 0 && st.st_ino == SUBVOLUME_INODE &&
        btrfs_info(fd, &info) == 0 && belongs(keep, &info))
      e = btrfs_delete(place, BTRFS_REVERT, fd, info.treeid, path, op);
    else
      e = error_at(vss_error(SAROS_E_REFUSED,
                             "%s is nothing that a revert made, and was left "
                             "alone; look at it and take it away",
                             path),
                   path);
    mem_free(path);
  }
  close(fd);
  return e;
}


/* ------------------------------------------------------------------
** Whether it may be done
** ---------------------------------------------------------------- */

static error *open_all(reversal *r) {
  struct btrfs_ioctl_get_subvol_info_args info;
  const int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC;
  size_t length;
  error *e = keep_path(r->keep, "subvolume", &r->path);
  if (e == NULL) e = place_open(r->keep, &r->place);
  if (e != NULL) return e;
  char *above = path_parent(r->path);
  if (above == NULL) return error_no_memory();
  r->name = path_base(r->path, &length);
  r->above = open(above, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  mem_free(above);
  if (r->above < 0) return failed(r, errno);
  r->shadow = openat(r->place, BTRFS_SHADOW, flags);
  if (r->shadow < 0) return failed(r, errno);
  r->original = openat(r->above, r->name, flags);
  if (r->original < 0) return failed(r, errno);
  if (btrfs_info(r->original, &info) != 0 || !belongs(r->keep, &info))
    return refused(r, VSS_E_OBJECT_NOT_FOUND,
                   "it is another subvolume than the one that the shadow copy "
                   "is of",
                   "");
  r->id = info.treeid;
  return NULL;
}


static uint64_t subvolume_at(const char *point) {
  struct btrfs_ioctl_ino_lookup_args lookup = {.objectid = SUBVOLUME_INODE};
  int fd = open(point, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return 0;
  bool good = ioctl(fd, BTRFS_IOC_INO_LOOKUP, &lookup) >= 0;
  close(fd);
  return good ? lookup.treeid : 0;
}


/* Also a part of it. Of another btrfs the same number may be mounted: that is
   told by the device of its files. */
static error *find_mount(const reversal *r) {
  struct stat st, other;
  error *e = NULL;
  if (fstat(r->original, &st) != 0) return failed(r, errno);
  mount_table *t = mount_table_read(&e);
  for (size_t i = 0; t != NULL && e == NULL && i < t->count; i++) {
    const mount_entry *m = &t->items[i];
    if (strcmp(m->type, "btrfs") != 0) continue;
    if (stat(m->point, &other) == 0 && other.st_dev == st.st_dev &&
        subvolume_at(m->point) == r->id)
      e = refused(r, VSS_E_VOLUME_IN_USE, "it is mounted; unmount ", m->point);
  }
  mount_table_free(t);
  return e;
}


static error *find_nested(const reversal *r) {
  struct btrfs_ioctl_get_subvol_rootref_args *args = mem_zero(sizeof *args);
  if (args == NULL) return error_no_memory();
  int result = ioctl(r->original, BTRFS_IOC_GET_SUBVOL_ROOTREF, args);
  bool none = result >= 0 && args->num_items == 0;
  mem_free(args);
  if (none) return NULL;
  return refused(r, SAROS_E_REFUSED,
                 "it has nested subvolumes, perhaps shadow copies of it, which "
                 "would be deleted with it; move them away",
                 "");
}


/* ------------------------------------------------------------------
** Doing it
** ---------------------------------------------------------------- */

static error *change_places(const reversal *r) {
  struct btrfs_ioctl_vol_args_v2 args = {.fd = r->shadow};
  memcpy(args.name, BTRFS_REVERT, sizeof BTRFS_REVERT);
  if (ioctl(r->place, BTRFS_IOC_SNAP_CREATE_V2, &args) < 0)
    return failed(r, errno);
  provider_step();
  if (renameat2(r->place, BTRFS_REVERT, r->above, r->name, RENAME_EXCHANGE) !=
      0) {
    error *e = failed(r, errno);
    error_unref(btrfs_revert_clean(r->keep, r->place, NULL));
    return e;
  }
  provider_step();
  return syncfs(r->place) == 0 ? NULL : failed(r, errno);
}


error *btrfs_revert(const value *keep, saros_op *op) {
  reversal r = {
      .keep = keep, .place = -1, .above = -1, .shadow = -1, .original = -1};
  error *e = btrfs_verify(keep);
  if (e == NULL) e = open_all(&r);
  if (e == NULL) e = find_mount(&r);
  if (e == NULL) e = find_nested(&r);
  if (e == NULL) e = btrfs_revert_clean(keep, r.place, op);
  if (e == NULL) e = cancelled_error(op);
  if (e == NULL) e = change_places(&r);
  /* It is not cancelled any more. */
  if (e == NULL) e = btrfs_revert_clean(keep, r.place, NULL);
  if (r.original >= 0) close(r.original);
  if (r.shadow >= 0) close(r.shadow);
  if (r.above >= 0) close(r.above);
  if (r.place >= 0) close(r.place);
  mem_free(r.path);
  provider_step();
  return e;
}
