/*
** provider image: a clone of the file that a file system lies in.
**
** The file system (ext4, XFS) is on a loop device over a file on XFS or btrfs.
** While it is frozen its file is cloned, which copies no data, however big it
** is; after the thaw the clone gets a read-only loop device and is mounted
** read-only. So ext4 and XFS have shadows of one instant without a device
** mapper.
**
** In the place there are `image`, the clone, and `tree`, where it is mounted.
** Loop device and mount need not be named in keep: they are found by the clone,
** which is told from another file by its inode and birth. Before it is, it is
** empty. The device is there as long as the mount is (autoclear), so that a
** death in between leaves none; what a restart took is made again from the
** clone and from what keep says of it (image_mount.c).
**
** ext4 is mounted as it is, without "noload": what was frozen has nothing to
** replay, and if it had, a mount that fails is the right answer. XFS leaves
** its log dirty for the unlinked files on purpose, and is mounted with
** norecovery; and with nouuid, for the original is mounted too.
*/
#include <errno.h>
#include <fcntl.h>
#include <linux/btrfs.h>
#include <linux/capability.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/statvfs.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "vss/disks.h"
#include "vss/provider/image_parts.h"
#include "vss/xfs.h"

#define BTRFS_MAGIC 0x9123683E

#ifdef SAROS_TEST
unsigned image_pieces_most = 10000;
#else
enum { image_pieces_most = 10000 };
#endif

typedef struct image_self {
  image_source source;
  int place;
  int clone;
} image_self;


/* ------------------------------------------------------------------
** Whether it can
** ---------------------------------------------------------------- */

static error *unsupported(const origin *from, const char *why) {
  return error_at(vss_error(VSS_E_VOLUME_NOT_SUPPORTED_BY_PROVIDER, "%s %s",
                            from->path, why),
                  from->path);
}


/* Those that can be frozen, and mounted twice. A btrfs cannot: the kernel
   takes the clone for another disk of the original, for it has its id. */
static bool can_be_mounted_twice(const char *type) {
  static const char *const types[] = {"ext4", "ext3", "ext2", "xfs"};
  for (size_t i = 0; i < sizeof types / sizeof types[0]; i++)
    if (strcmp(type, types[i]) == 0) return true;
  return false;
}


static bool has_option(const char *options, const char *name) {
  size_t n = strlen(name);
  for (const char *at = options; at != NULL; at = strchr(at, ',')) {
    if (*at == ',') at++;
    if (strncmp(at, name, n) == 0) return true;
  }
  return false;
}


/* Nothing short of asking the file system's own kind tells whether it can. */
static error *can_clone(const origin *from, int file) {
  struct statfs fs;
  struct statvfs flags;
  struct xfs_geometry geometry = {0};
  if (fstatfs(file, &fs) != 0 || fstatvfs(file, &flags) != 0)
    return error_of_errno(SAROS_FACADE_VSS, errno,
                          "the image's file system cannot be asked",
                          from->loop_file);
  bool can = fs.f_type == BTRFS_MAGIC;
  if (fs.f_type == XFS_MAGIC)
    can = ioctl(file, XFS_GEOMETRY, &geometry) == 0 &&
          (geometry.flags & XFS_HAS_REFLINK) != 0;
  if (!can)
    return error_at(
        vss_error(VSS_E_VOLUME_NOT_SUPPORTED_BY_PROVIDER,
                  "%s lies in the image %s, on a file system that cannot clone "
                  "files; btrfs can, and XFS made with reflink=1",
                  from->path, from->loop_file),
        from->path);
  if ((flags.f_flag & ST_RDONLY) != 0)
    return error_at(
        vss_error(VSS_E_VOLUME_NOT_SUPPORTED_BY_PROVIDER,
                  "%s lies in the image %s, on a file system that "
                  "is mounted read-only: no clone can be made there",
                  from->path, from->loop_file),
        from->path);
  return NULL;
}


static error *image_probe(const origin *from) {
  image_source source;
  if (from->loop_file == NULL)
    return unsupported(from, "does not lie in an image file");
  if (strcmp(from->type, "btrfs") == 0)
    return unsupported(from,
                       "is on btrfs, of which a clone must not be mounted "
                       "beside the original; the btrfs provider takes it");
  if (!can_be_mounted_twice(from->type))
    return unsupported(from,
                       "is on a file system that cannot be frozen and "
                       "mounted a second time; ext4 and XFS can");
  if (has_option(from->options, "logdev=") ||
      has_option(from->options, "rtdev="))
    return unsupported(from,
                       "is on an XFS with a part on another device, "
                       "which would not be in the clone");
  if (!has_capability(CAP_SYS_ADMIN))
    return error_at(vss_error(SAROS_E_ACCESSDENIED,
                              "freezing and mounting %s needs CAP_SYS_ADMIN, "
                              "which this process does not have",
                              from->path),
                    from->path);
  error *e = image_open_source(from, &source);
  if (e == NULL) e = can_clone(from, source.file);
  if (source.file >= 0) close(source.file);
  return e;
}


/* Beside the image: what is cloned stays on one file system, and, for older
   kernels, below one mount. */
static char *image_place_of(const origin *from) {
  char *directory =
      from->loop_file != NULL ? path_parent(from->loop_file) : NULL;
  char *place = directory != NULL ? place_below(directory) : NULL;
  mem_free(directory);
  return place;
}


static error *image_plan(shadow *s) {
  char *directory = path_parent(s->from->loop_file);
  if (directory == NULL) return error_no_memory();
  error *e = place_plan(s, directory);
  mem_free(directory);
  if (e != NULL) return e;
  if (keep_put_path(s->keep, "source", s->from->loop_file) &&
      value_put(s->keep, "type", value_text(s->from->type)))
    return NULL;
  return error_no_memory();
}


/* ------------------------------------------------------------------
** Before the hold
** ---------------------------------------------------------------- */

/* A clone costs what its extents cost, and all of that in the hold. */
static error *warn_of_pieces(shadow *s, int file) {
  struct fiemap map = {.fm_length = FIEMAP_MAX_OFFSET};
  if (ioctl(file, FS_IOC_FIEMAP, &map) != 0) return NULL;
  if (map.fm_mapped_extents <= image_pieces_most) return NULL;
  if (shadow_warn(s,
                  "the image %s is in %u pieces, and writes are held while "
                  "each is cloned: defragment it, or copy it anew",
                  s->from->loop_file, map.fm_mapped_extents))
    return NULL;
  return error_no_memory();
}


/* The clone must be what the source is, with or without checksums. */
static error *same_flags(int from, int to, const char *path) {
  int flags = 0, own = 0;
  if (ioctl(from, FS_IOC_GETFLAGS, &flags) != 0) return NULL;
  if ((flags & FS_NOCOW_FL) == 0) return NULL;
  if (ioctl(to, FS_IOC_GETFLAGS, &own) == 0) {
    own |= FS_NOCOW_FL;
    if (ioctl(to, FS_IOC_SETFLAGS, &own) == 0) return NULL;
  }
  return error_of_errno(SAROS_FACADE_VSS, errno,
                        "the clone cannot be made like the image", path);
}


static error *cannot_make(const shadow *s, int number) {
  return error_of_errno(SAROS_FACADE_VSS, number,
                        "the shadow copy's files cannot be made", s->place);
}


static error *make_files(shadow *s, image_self *self) {
  self->clone =
      openat(self->place, IMAGE_CLONE,
             O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (self->clone < 0) return cannot_make(s, errno);
  provider_step();
  if (!keep_put_file(s->keep, "clone", self->clone)) return error_no_memory();
  error *e = shadow_note(s);
  if (e != NULL) return e;
  provider_step();
  if (mkdirat(self->place, IMAGE_TREE, 0700) != 0) return cannot_make(s, errno);
  provider_step();
  return same_flags(self->source.file, self->clone, s->place);
}


static error *image_prepare(shadow *s, saros_op *op) {
  image_self *self = mem_alloc(sizeof *self);
  if (self == NULL) return error_no_memory();
  *self = (image_self){.source = {.file = -1}, .place = -1, .clone = -1};
  s->self = self;
  error *e = image_open_source(s->from, &self->source);
  if (e == NULL && !image_put_source(s->keep, &self->source))
    e = error_no_memory();
  if (e == NULL) e = place_make(s, false, &self->place);
  if (e == NULL) e = make_files(s, self);
  if (e == NULL) e = warn_of_pieces(s, self->source.file);
  if (e != NULL) return e;
  int inner = open(s->from->root, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (inner < 0)
    return error_of_errno(SAROS_FACADE_VSS, errno,
                          "the file system cannot be opened", s->from->root);
  e = presync(inner, self->source.file, op);
  close(inner);
  return e;
}


/* ------------------------------------------------------------------
** Under the hold
** ---------------------------------------------------------------- */

static error *commit_failed(const shadow *s, int number) {
  const char *image = s->from->loop_file;
  if (number == ENOSPC || number == EDQUOT)
    return error_at(vss_error(VSS_E_INSUFFICIENT_STORAGE,
                              "there is no space for a clone of the image %s: "
                              "%s; free some there",
                              image, strerror(number)),
                    image);
  return error_of_errno(SAROS_FACADE_VSS, number, "the image cannot be cloned",
                        image);
}


static error *image_commit(shadow *s) {
  const image_self *self = s->self;
  provider_step();
  if (ioctl(self->clone, FICLONE, self->source.file) != 0)
    return commit_failed(s, errno);
  provider_step();
  return NULL;
}


/* ------------------------------------------------------------------
** After it
** ---------------------------------------------------------------- */

static error *set_path(shadow *s) {
  char *tree = path_join(s->place, IMAGE_TREE);
  mem_free(s->path);
  s->path = NULL;
  if (tree != NULL)
    s->path = *s->from->below == '\0' ? mem_text(tree)
                                      : path_join(tree, s->from->below);
  mem_free(tree);
  return s->path != NULL ? NULL : error_no_memory();
}


static error *image_finish(shadow *s, saros_op *op) {
  image_self *self = s->self;
  error *e = set_path(s);
  if (e == NULL) e = cancelled_error(op);
  if (e != NULL) return e;
  if (fchmod(self->clone, 0400) != 0 || fsync(self->clone) != 0)
    return error_of_errno(SAROS_FACADE_VSS, errno,
                          "the clone could not be written", s->place);
  if (!image_put_state(s->keep, self->clone)) return error_no_memory();
  provider_step();
  int clone =
      openat(self->place, IMAGE_CLONE, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
  if (clone < 0 || !keep_is_file(s->keep, "clone", clone))
    e = error_at(
        vss_error(VSS_E_OBJECT_NOT_FOUND,
                  "the clone in %s was taken away behind our back", s->place),
        s->place);
  mem_free(s->device);
  s->device = NULL;
  if (e == NULL) {
    const image_copy copy = {.clone = clone,
                             .place = self->place,
                             .path = s->place,
                             .type = s->from->type,
                             .source = self->source};
    e = image_mount(&copy, &s->device);
  }
  if (clone >= 0) close(clone);
  return e;
}


static void image_forget(shadow *s) {
  image_self *self = s->self;
  s->self = NULL;
  if (self == NULL) return;
  if (self->source.file >= 0) close(self->source.file);
  if (self->place >= 0) close(self->place);
  if (self->clone >= 0) close(self->clone);
  mem_free(self);
}


const provider provider_image = {
    .name = "image",
    .id = "0d3c8a57-41f6-4c36-8b5e-7c1a9d0e6f28",
    .freeze = FREEZE_CALLER,
    .atomic = ATOMIC_VOLUME,
    .worth =
        "one instant of the whole file system; its image shares its "
        "blocks with the original and is gone with that disk",
    .rank = 80,
    .probe = image_probe,
    .plan = image_plan,
    .prepare = image_prepare,
    .commit = image_commit,
    .finish = image_finish,
    .destroy = image_destroy,
    .forget = image_forget,
    .verify = image_verify,
    .surfaced = image_surfaced,
    .surface = image_surface,
    .revert = NULL,
    .loosen = image_loosen,
    .stays = image_stays,
    .place_of = image_place_of,
};
