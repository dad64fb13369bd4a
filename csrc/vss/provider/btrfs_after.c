/*
** provider btrfs: what its record alone can do: delete the snapshot, see
** whether it is still what was made, and make it writable.
*/
#include <errno.h>
#include <fcntl.h>
#include <linux/btrfs_tree.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vss/provider/btrfs_parts.h"

/* Whether the subvolume is what we made; *why_not is a part of a sentence. */
static bool is_ours(const value *keep,
                    const struct btrfs_ioctl_get_subvol_info_args *info,
                    const char **why_not) {
  char uuid[GUID_TEXT], parent[GUID_TEXT];
  btrfs_uuid_text(info->uuid, uuid);
  btrfs_uuid_text(info->parent_uuid, parent);
  const char *kept = value_chars(value_get(keep, "uuid"), NULL);
  const char *source = value_chars(value_get(keep, "parent_uuid"), "");
  int64_t id = value_integer(value_get(keep, "id"), -1);
  int64_t since = value_integer(value_get(keep, "parent_generation"), 0);
  *why_not = "is a snapshot of something else";
  if (strcmp(parent, source) != 0) return false;
  *why_not = "is older than the shadow copy";
  if ((int64_t)info->otransid < since) return false;
  *why_not = "is another snapshot than the one that was made";
  return kept == NULL ||
         (strcmp(kept, uuid) == 0 && id == (int64_t)info->treeid);
}


static error *not_ours(const char *path, const char *why) {
  return error_at(
      vss_error(SAROS_E_REFUSED,
                "%s %s, and was left alone; look at it and take it away", path,
                why),
      path);
}


/* ------------------------------------------------------------------
** Destroying
** ---------------------------------------------------------------- */

static error *destroy_failed(const char *path, int number) {
  if (number == ENOTEMPTY)
    return error_at(vss_error(VSS_E_VOLUME_IN_USE,
                              "a subvolume was made in the snapshot %s; delete "
                              "that first",
                              path),
                    path);
  return error_of_errno(SAROS_FACADE_VSS, number,
                        "the snapshot cannot be deleted", path);
}


error *btrfs_delete(int place, const char *name, int fd, uint64_t id,
                    const char *path, saros_op *op) {
  struct btrfs_ioctl_vol_args_v2 by_id = {.flags = BTRFS_SUBVOL_SPEC_BY_ID,
                                          .subvolid = id};
  if (ioctl(place, BTRFS_IOC_SNAP_DESTROY_V2, &by_id) >= 0) return NULL;
  if (errno == ENOTEMPTY || errno == ENOENT) return destroy_failed(path, errno);
  struct btrfs_ioctl_vol_args by_name = {0};
  memcpy(by_name.name, name, strlen(name) + 1);
  if (ioctl(place, BTRFS_IOC_SNAP_DESTROY, &by_name) >= 0) return NULL;
  /* Only who may not do it at all has to do it file by file: of others EPERM
     means that it is being sent. */
  if (errno == EPERM && !has_capability(CAP_SYS_ADMIN))
    return btrfs_remove_slowly(place, name, fd, path, op);
  return destroy_failed(path, errno);
}


static error *delete_shadow(const value *keep, int place, int fd,
                            const char *path, saros_op *op) {
  struct btrfs_ioctl_get_subvol_info_args info;
  const char *why;
  struct stat st;
  if (fstat(fd, &st) != 0 || st.st_ino != SUBVOLUME_INODE)
    return not_ours(path, "is no snapshot");
  int failed = btrfs_info(fd, &info);
  if (failed != 0) return destroy_failed(path, failed);
  if (!is_ours(keep, &info, &why)) return not_ours(path, why);
  provider_step();
  return btrfs_delete(place, BTRFS_SHADOW, fd, info.treeid, path, op);
}


error *btrfs_destroy(const value *keep, saros_op *op) {
  int place, fd = -1;
  char *path = NULL;
  if (!place_planned(keep)) return NULL;
  error *e = place_open(keep, &place);
  if (e == NULL) e = keep_path_in(keep, "place", BTRFS_SHADOW, &path);
  if (e == NULL && place >= 0) e = btrfs_revert_clean(keep, place, op);
  if (e == NULL && place >= 0) {
    fd = openat(place, BTRFS_SHADOW,
                O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0)
      e = delete_shadow(keep, place, fd, path, op);
    else if (errno == ENOTDIR || errno == ELOOP)
      e = not_ours(path, "is no snapshot");
    else if (errno != ENOENT)
      e = destroy_failed(path, errno);
  }
  if (fd >= 0) close(fd);
  if (place >= 0) close(place);
  mem_free(path);
  provider_step();
  return e != NULL ? e : place_remove(keep);
}


/* ------------------------------------------------------------------
** Verifying
** ---------------------------------------------------------------- */

static error *changed(const char *path, const char *how) {
  return error_at(
      vss_error(VSS_E_OBJECT_NOT_FOUND, "the shadow copy %s %s", path, how),
      path);
}


static error *check(const value *keep, int fd, const char *path) {
  struct btrfs_ioctl_get_subvol_info_args info;
  const char *why;
  uint64_t flags = 0;
  if (btrfs_info(fd, &info) != 0 || !is_ours(keep, &info, &why))
    return changed(path, "was replaced by something else behind our back");
  if (ioctl(fd, BTRFS_IOC_SUBVOL_GETFLAGS, &flags) < 0 ||
      (flags & BTRFS_SUBVOL_RDONLY) == 0)
    return changed(path, "was made writable behind our back");
  /* The transaction in which a file of it was changed last; its generation
     also grows when somebody takes a snapshot of it. */
  if ((int64_t)info.ctransid != value_integer(value_get(keep, "changed"), -1))
    return changed(path, "was changed behind our back");
  return NULL;
}


error *btrfs_verify(const value *keep) {
  int place;
  char *path = NULL;
  error *e = place_open(keep, &place);
  if (e == NULL) e = keep_path_in(keep, "place", BTRFS_SHADOW, &path);
  if (e == NULL) {
    int fd = place >= 0
                 ? openat(place, BTRFS_SHADOW,
                          O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
                 : -1;
    e = fd >= 0 ? check(keep, fd, path)
                : changed(path, "was deleted behind our back");
    if (fd >= 0) close(fd);
  }
  if (place >= 0) close(place);
  mem_free(path);
  return e;
}


/* ------------------------------------------------------------------
** Loosening
** ---------------------------------------------------------------- */

static error *make_writable(const value *keep, int fd, const char *path) {
  struct btrfs_ioctl_get_subvol_info_args info;
  const char *why;
  struct stat st;
  uint64_t flags = 0;
  if (fstat(fd, &st) != 0 || st.st_ino != SUBVOLUME_INODE)
    return not_ours(path, "is no snapshot");
  if (btrfs_info(fd, &info) != 0 || !is_ours(keep, &info, &why))
    return changed(path, "was replaced by something else behind our back");
  int failed = 0;
  if (ioctl(fd, BTRFS_IOC_SUBVOL_GETFLAGS, &flags) < 0) failed = errno;
  flags &= ~(uint64_t)BTRFS_SUBVOL_RDONLY;
  if (failed == 0 && ioctl(fd, BTRFS_IOC_SUBVOL_SETFLAGS, &flags) < 0)
    failed = errno;
  if (failed == 0 && syncfs(fd) != 0) failed = errno;
  if (failed == 0) return NULL;
  return error_of_errno(SAROS_FACADE_VSS, failed,
                        "the snapshot cannot be made writable", path);
}


error *btrfs_loosen(const value *keep, char **where) {
  int place;
  char *path = NULL;
  *where = NULL;
  error *e = place_open(keep, &place);
  if (e == NULL) e = keep_path_in(keep, "place", BTRFS_SHADOW, &path);
  if (e == NULL) {
    int fd = place >= 0
                 ? openat(place, BTRFS_SHADOW,
                          O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
                 : -1;
    e = fd >= 0 ? make_writable(keep, fd, path)
                : changed(path, "was deleted behind our back");
    if (fd >= 0) close(fd);
  }
  provider_step();
  if (place >= 0) close(place);
  mem_free(path);
  return e;
}
