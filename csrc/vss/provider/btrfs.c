/*
** provider btrfs: a read-only snapshot of the subvolume that holds the path.
**
** btrfs commits a transaction and takes the snapshot in one step, by itself:
** nobody freezes it, and a freeze around it would make it wait for ever. With a
** syncfs just before (without it the end of a busy file was seen missing) what
** was written before, also if it was not synced, is in the snapshot; what is in
** subvolumes nested in this one is not. Of a file that somebody appends to at
** that very moment the snapshot can have a size that is ahead of its data, so
** that it ends in zeros (btrfs with no-holes): writers that hold still are
** needed here too.
**
** It costs that one commit: the place is made behind the syncfs, which finds
** nothing to commit where nobody writes, and is in the snapshot's transaction.
**
** Where it lies: <place>/shadow. The place is below the mount's root when that
** is another subvolume and we may write there, else below the subvolume
** itself. Its parent, .saros-shadows, is a subvolume of its own, so that a
** snapshot holds it as one empty directory and not as a list of other
** snapshots, and tools that stay on one file system stay out of it.
**
** Which it is: between commit and the record of what finish found nobody can
** know its id; then it is ours when it is at that name, its parent is the
** source and it was made after the plan. After that it is ours when it has that
** id and uuid.
*/
#include <errno.h>
#include <fcntl.h>
#include <linux/btrfs.h>
#include <linux/btrfs_tree.h>
#include <linux/capability.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "vss/place.h"
#include "vss/provider.h"
#include "vss/provider/btrfs_parts.h"

typedef struct btrfs_self {
  int source; /* the subvolume */
  int place;  /* made by commit, -1 before */
} btrfs_self;


/* ------------------------------------------------------------------
** Asking
** ---------------------------------------------------------------- */

int btrfs_info(int fd, struct btrfs_ioctl_get_subvol_info_args *info) {
  memset(info, 0, sizeof *info);
  /* Newer kernels answer 1, and mean well. */
  return ioctl(fd, BTRFS_IOC_GET_SUBVOL_INFO, info) < 0 ? errno : 0;
}


void btrfs_uuid_text(const uint8_t *bytes, char text[GUID_TEXT]) {
  guid id;
  memcpy(id.bytes, bytes, sizeof id.bytes);
  guid_format(&id, text);
}


static error *unsupported(const origin *from, const char *why) {
  return error_at(vss_error(VSS_E_VOLUME_NOT_SUPPORTED_BY_PROVIDER, "%s %s",
                            from->path, why),
                  from->path);
}


static error *not_owner(const char *subvolume, uid_t owner) {
  return error_at(
      vss_error(SAROS_E_ACCESSDENIED,
                "a snapshot of the subvolume %s may be taken by its owner "
                "(user %u) and by root (CAP_FOWNER): be one of them, or give "
                "the subvolume to user %u",
                subvolume, (unsigned)owner, (unsigned)geteuid()),
      subvolume);
}


/* Below the mount's root it is in nobody's snapshot; but that is not always
   ours to write to, or a subvolume. */
static const char *base_of(const origin *from) {
  struct stat st;
  bool apart = strcmp(from->root, from->subvolume) != 0 &&
               path_within(from->subvolume, from->root) &&
               stat(from->root, &st) == 0 && st.st_ino == SUBVOLUME_INODE &&
               access(from->root, W_OK) == 0;
  return apart ? from->root : from->subvolume;
}


static char *btrfs_place_of(const origin *from) {
  return from->subvolume != NULL ? place_below(base_of(from)) : NULL;
}


static error *btrfs_probe(const origin *from) {
  struct stat st;
  struct statvfs fs;
  if (strcmp(from->type, "btrfs") != 0)
    return unsupported(from, "is not on btrfs");
  if (from->subvolume == NULL)
    return unsupported(from,
                       "lies in a subvolume that is mounted in part only: "
                       "mount all of it somewhere");
  int fd = open(from->subvolume, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0 || fstat(fd, &st) != 0 || fstatvfs(fd, &fs) != 0) {
    int failed = errno;
    if (fd >= 0) close(fd);
    return error_of_errno(SAROS_FACADE_VSS, failed,
                          "the subvolume cannot be opened", from->subvolume);
  }
  close(fd);
  if ((fs.f_flag & ST_RDONLY) != 0)
    return unsupported(from, "is mounted read-only: nothing changes there");
  if (st.st_uid != geteuid() && !has_capability(CAP_FOWNER))
    return not_owner(from->subvolume, st.st_uid);
  const char *base = base_of(from);
  if (access(base, W_OK) != 0)
    return error_of_errno(SAROS_FACADE_VSS, errno,
                          "there is no place for snapshots", base);
  return NULL;
}


/* ------------------------------------------------------------------
** Before the hold
** ---------------------------------------------------------------- */

static error *btrfs_plan(shadow *s) {
  struct btrfs_ioctl_get_subvol_info_args info = {0};
  char uuid[GUID_TEXT];
  int fd = open(s->from->subvolume, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  int failed = fd < 0 ? errno : btrfs_info(fd, &info);
  if (fd >= 0) close(fd);
  if (failed != 0)
    return error_of_errno(SAROS_FACADE_VSS, failed,
                          "the subvolume cannot be asked what it is",
                          s->from->subvolume);
  error *e = place_plan(s, s->from->subvolume);
  if (e != NULL) return e;
  btrfs_uuid_text(info.uuid, uuid);
  if (keep_put_path(s->keep, "subvolume", s->from->subvolume) &&
      value_put(s->keep, "parent_uuid", value_text(uuid)) &&
      value_put(s->keep, "parent_generation",
                value_int((int64_t)info.generation)))
    return NULL;
  return error_no_memory();
}


/* An active swap file would make the kernel refuse in the middle of the hold;
   then it is ETXTBSY there, and here it has its name. */
static error *find_swap(const shadow *s) {
  char line[5000];
  error *e = NULL;
  FILE *f = fopen("/proc/swaps", "re");
  while (f != NULL && e == NULL && fgets(line, sizeof line, f) != NULL) {
    struct stat st;
    line[strcspn(line, " \t\n")] = '\0';
    if (stat(line, &st) == 0 && S_ISREG(st.st_mode) &&
        st.st_dev == s->from->dev)
      e = btrfs_swap_error(s->from->subvolume, line);
  }
  if (f != NULL) fclose(f);
  return e;
}


error *btrfs_swap_error(const char *subvolume, const char *file) {
  return error_at(
      vss_error(VSS_E_VOLUME_IN_USE,
                "the subvolume %s holds an active swap file%s%s; "
                "btrfs takes no snapshot of that: swapoff it, or "
                "move it to a subvolume of its own",
                subvolume, file != NULL ? ": " : "", file != NULL ? file : ""),
      subvolume);
}


static error *btrfs_prepare(shadow *s, saros_op *op) {
  btrfs_self *self = mem_alloc(sizeof *self);
  if (self == NULL) return error_no_memory();
  *self = (btrfs_self){-1, -1};
  s->self = self;
  error *e = find_swap(s);
  if (e != NULL) return e;
  self->source = open(s->from->subvolume, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (self->source < 0)
    return error_of_errno(SAROS_FACADE_VSS, errno,
                          "the subvolume cannot be opened", s->from->subvolume);
  e = place_look(s);
  if (e == NULL) e = btrfs_warn_nested(s, self->source);
  return e != NULL ? e : presync(self->source, -1, op);
}


/* ------------------------------------------------------------------
** Under the hold, and after it
** ---------------------------------------------------------------- */

static error *commit_failed(const shadow *s, int number) {
  const char *subvolume = s->from->subvolume;
  struct stat st = {0};
  switch (number) {
    case ETXTBSY: return btrfs_swap_error(subvolume, NULL);
    case ENOSPC:
    case EDQUOT:
      return error_at(vss_error(VSS_E_INSUFFICIENT_STORAGE,
                                "there is no space for a snapshot of %s: %s",
                                subvolume, strerror(number)),
                      subvolume);
    case EPERM:
    case EACCES: stat(subvolume, &st); return not_owner(subvolume, st.st_uid);
    case EROFS:
      return error_at(vss_error(VSS_E_VOLUME_NOT_SUPPORTED_BY_PROVIDER,
                                "%s is mounted read-only, or was made so after "
                                "an error",
                                subvolume),
                      subvolume);
    default:
      return error_of_errno(SAROS_FACADE_VSS, number,
                            "btrfs took no snapshot of the subvolume",
                            subvolume);
  }
}


/* What the snapshot would have met itself is told as it tells it. */
static error *no_place(const shadow *s, error *why) {
  switch (why->number) {
    case ENOSPC:
    case EDQUOT:
    case EROFS: return error_because(commit_failed(s, why->number), why);
    default: return why;
  }
}


/* The place is made behind the syncfs: there the commit that the snapshot needs
   anyway writes it too, and no other one is needed. */
static error *btrfs_commit(shadow *s) {
  btrfs_self *self = s->self;
  struct btrfs_ioctl_vol_args_v2 args = {.fd = self->source,
                                         .flags = BTRFS_SUBVOL_RDONLY};
  memcpy(args.name, BTRFS_SHADOW, sizeof BTRFS_SHADOW);
  provider_step();
  /* The snapshot waits for what it has begun to write out itself, but can miss
     what another thread of the kernel is just about to. */
  if (syncfs(self->source) != 0) return commit_failed(s, errno);
  error *e = place_make(s, true, &self->place);
  if (e != NULL) return no_place(s, e);
  if (ioctl(self->place, BTRFS_IOC_SNAP_CREATE_V2, &args) < 0)
    return commit_failed(s, errno);
  provider_step();
  return NULL;
}


static error *keep_what_it_is(shadow *s, int fd) {
  struct btrfs_ioctl_get_subvol_info_args info;
  char uuid[GUID_TEXT];
  /* Files that were unlinked and open are cleaned out of it after it was
     made; then it stays as it is. */
  if (syncfs(fd) != 0)
    return error_of_errno(SAROS_FACADE_VSS, errno,
                          "the snapshot could not be written", s->path);
  int failed = btrfs_info(fd, &info);
  if (failed != 0)
    return error_of_errno(SAROS_FACADE_VSS, failed,
                          "the snapshot cannot be asked what it is", s->path);
  btrfs_uuid_text(info.uuid, uuid);
  if (!value_put(s->keep, "id", value_int((int64_t)info.treeid)) ||
      !value_put(s->keep, "uuid", value_text(uuid)) ||
      !value_put(s->keep, "changed", value_int((int64_t)info.ctransid)))
    return error_no_memory();
  return NULL; /* nothing is made any more before the record is written */
}


static error *btrfs_finish(shadow *s, saros_op *op) {
  const btrfs_self *self = s->self;
  (void)op; /* it is a matter of milliseconds */
  mem_free(s->device);
  mem_free(s->path);
  s->device = path_join(s->place, BTRFS_SHADOW);
  s->path = s->device == NULL          ? NULL
            : *s->from->within == '\0' ? mem_text(s->device)
                                       : path_join(s->device, s->from->within);
  if (s->path == NULL) return error_no_memory();
  int fd = openat(self->place, BTRFS_SHADOW,
                  O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0)
    return error_of_errno(SAROS_FACADE_VSS, errno,
                          "the snapshot cannot be opened", s->device);
  error *e = keep_what_it_is(s, fd);
  close(fd);
  provider_step();
  return e;
}


static void btrfs_forget(shadow *s) {
  btrfs_self *self = s->self;
  s->self = NULL;
  if (self == NULL) return;
  if (self->source >= 0) close(self->source);
  if (self->place >= 0) close(self->place);
  mem_free(self);
}


const provider provider_btrfs = {
    .name = "btrfs",
    .id = "5b0f8c4e-5a0d-4b39-9c0b-2f7b6c1d9e41",
    .freeze = FREEZE_NONE,
    .atomic = ATOMIC_SUBVOLUME,
    .worth =
        "one instant of the whole subvolume; it shares its blocks with "
        "the original and is gone with that disk",
    .rank = 100,
    .late = true,
    .probe = btrfs_probe,
    .plan = btrfs_plan,
    .prepare = btrfs_prepare,
    .commit = btrfs_commit,
    .finish = btrfs_finish,
    .destroy = btrfs_destroy,
    .forget = btrfs_forget,
    .verify = btrfs_verify,
    .revert = btrfs_revert,
    .loosen = btrfs_loosen,
    .place_of = btrfs_place_of,
};
