/*
** reflink: a second tree that shares its blocks with the first. Each file is
** cloned at one instant (FICLONE), big or small in the same time, and none of
** its data is copied; files are not of one instant together, which is for
** their writers to bring about. btrfs, and XFS made with reflink=1.
**
** How long a clone takes depends on the pieces that a file is in; of one that
** is in many the first pass warns (tree_pieces.c).
*/
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "vss/place.h"
#include "vss/provider/tree.h"
#include "vss/xfs.h"

static error *cannot(const origin *from, uint32_t code, const char *why) {
  return error_at(
      vss_error(code, "\"%s\" cannot be cloned: %s", from->path, why),
      from->path);
}


/* ------------------------------------------------------------------
** Where
** ---------------------------------------------------------------- */

static bool may_make_in(const char *path) {
  struct stat st;
  return stat(path, &st) == 0 && S_ISDIR(st.st_mode) &&
         faccessat(AT_FDCWD, path, W_OK | X_OK, AT_EACCESS) == 0;
}

/* The directory that the place's directory will lie in: the root of the file
   system; who may not make anything there: the highest directory on the way
   down to the path where he may. NULL: none, or no memory. */
static char *directory_for(const origin *from) {
  if (may_make_in(from->root)) return mem_text(from->root);
  char *at = mem_text(from->path), *best = NULL;
  while (at != NULL && path_within(at, from->root)) {
    if (may_make_in(at)) {
      mem_free(best);
      best = mem_text(at);
    }
    char *up = strcmp(at, "/") != 0 ? path_parent(at) : NULL;
    mem_free(at);
    at = up;
  }
  mem_free(at);
  return best;
}

static char *place_of(const origin *from) {
  char *directory = directory_for(from);
  char *place = directory != NULL ? place_below(directory) : NULL;
  mem_free(directory);
  return place;
}


/* ------------------------------------------------------------------
** Whether
** ---------------------------------------------------------------- */

static error *probe_xfs(const origin *from, int fd) {
  struct xfs_geometry geometry = {0};
  if (ioctl(fd, XFS_GEOMETRY, &geometry) != 0 ||
      (geometry.flags & XFS_HAS_REFLINK) != 0)
    return NULL;
  return cannot(from, VSS_E_VOLUME_NOT_SUPPORTED_BY_PROVIDER,
                "this XFS was made without reflink=1");
}

/* In words, of those that are known not to. */
static error *probe_type(const origin *from, int fd) {
  struct statfs fs;
  if (fstatfs(fd, &fs) != 0)
    return error_of_errno(SAROS_FACADE_VSS, errno, "cannot look at",
                          from->path);
  switch ((unsigned long)fs.f_type) {
    case XFS_SUPER_MAGIC: return probe_xfs(from, fd);
    case EXT4_SUPER_MAGIC: /* and its forebears */
    case TMPFS_MAGIC:
    case RAMFS_MAGIC:
    case F2FS_SUPER_MAGIC:
    case MSDOS_SUPER_MAGIC:
    case SQUASHFS_MAGIC:
    case ISOFS_SUPER_MAGIC:
      return error_at(vss_error(VSS_E_VOLUME_NOT_SUPPORTED_BY_PROVIDER,
                                "\"%s\" cannot be cloned: %s has no files that "
                                "share blocks, as btrfs and XFS have",
                                from->path, from->type),
                      from->path);
    default: return NULL;
  }
}

static int nameless(const char *directory) {
  return open(directory, O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
}

/* Asks the file system itself, with files that nobody sees. 0 or the errno of
   the clone; 0 also where it cannot be asked so. */
static int try_clone(const char *directory, int file) {
  char block[4096];
  int number = 0;
  int from = file >= 0 ? file : nameless(directory), to = nameless(directory);
  memset(block, 's', sizeof block);
  if (from >= 0 && to >= 0 &&
      (file >= 0 || write(from, block, sizeof block) == sizeof block) &&
      ioctl(to, FICLONE, from) != 0)
    number = errno;
  if (from >= 0 && from != file) close(from);
  if (to >= 0) close(to);
  return number;
}

static error *probe_clone(const origin *from, int fd) {
  struct stat st;
  char *directory = directory_for(from);
  if (directory == NULL)
    return cannot(from, SAROS_E_ACCESSDENIED,
                  "there is no directory on its file system that this user may "
                  "write to");
  bool file = fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
  int number = try_clone(directory, file ? fd : -1);
  mem_free(directory);
  switch (number) {
    case EXDEV:
      return cannot(from, VSS_E_VOLUME_NOT_SUPPORTED_BY_PROVIDER,
                    "it is not on the file system that the clone would be on");
    case EOPNOTSUPP:
    case ENOTTY:
    case ENOSYS:
    case EINVAL:
      return error_at(vss_error(VSS_E_VOLUME_NOT_SUPPORTED_BY_PROVIDER,
                                "\"%s\" cannot be cloned: this %s has no files "
                                "that share blocks, as btrfs and XFS have",
                                from->path, from->type),
                      from->path);
    case ETXTBSY:
      return cannot(from, VSS_E_VOLUME_NOT_SUPPORTED_BY_PROVIDER,
                    "the kernel swaps to it");
    default: return NULL; /* no room, say: then that is said when it matters */
  }
}

static error *probe(const origin *from) {
  error *e = tree_probe(from);
  if (e != NULL) return e;
  if (from->readonly)
    return cannot(from, VSS_E_VOLUME_NOT_SUPPORTED_BY_PROVIDER,
                  "its file system is read-only, and the clone must be on it");
  int fd = open(from->path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0)
    return error_of_errno(SAROS_FACADE_VSS, errno, "cannot read", from->path);
  e = probe_type(from, fd);
  if (e == NULL) e = probe_clone(from, fd);
  close(fd);
  return e;
}

static error *prepare(shadow *s, saros_op *op) {
  return tree_prepare(s, op, CLONE_ALWAYS);
}

const provider provider_reflink = {
    .name = "reflink",
    .id = "2be99d14-0609-4a07-8cc7-8c85c9928a25",
    .freeze = FREEZE_NONE,
    .atomic = ATOMIC_FILE,
    .worth =
        "each file is of one instant, all together only if their writers "
        "held still; shares its blocks with the original",
    .rank = 20,
    .probe = probe,
    .plan = tree_plan,
    .prepare = prepare,
    .commit = tree_commit,
    .finish = tree_finish,
    .destroy = tree_destroy,
    .forget = tree_forget,
    .verify = tree_verify,
    .surfaced = tree_surfaced,
    .surface = tree_surface,
    .loosen = tree_loosen,
    .place_of = place_of,
};
