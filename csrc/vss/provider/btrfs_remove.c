/*
** provider btrfs: deleting a snapshot without the right to.
**
** The owner of a subvolume may make snapshots of it, but not delete them
** (without the mount option user_subvol_rm_allowed). He may make them
** writable, remove what is in them, and remove a subvolume that is empty.
*/
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vss/place.h"
#include "vss/provider/btrfs_parts.h"

enum { LOOK = 256 }; /* entries between two looks at the operation */

typedef struct removal {
  saros_op *op;
  const char *path; /* of the snapshot */
  dev_t dev;
  unsigned entries;
  unsigned depth;
  error *why;
} removal;


static void stop(removal *r, int number, const char *name) {
  if (r->why != NULL) return;
  r->why = error_at(
      vss_error(number == EACCES || number == EPERM ? SAROS_E_ACCESSDENIED
                                                    : code_of_errno(number),
                "the snapshot %s cannot be deleted by this user: \"%s\" in it "
                "cannot be removed: %s; root can, or the mount option "
                "user_subvol_rm_allowed",
                r->path, name, strerror(number)),
      r->path);
}


/* Opens a directory so that its entries can be removed. Its owner may have
   forbidden that to himself. */
static int open_down(removal *r, int dir, const char *name) {
  struct stat st;
  if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0) return -1;
  if (st.st_dev != r->dev) {
    errno = EXDEV; /* something is mounted there */
    return -1;
  }
  if ((st.st_mode & 0700) != 0700) fchmodat(dir, name, 0700, 0);
  return openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}


/* One entry: 0 it is gone, 1 it is a directory that has something in it. */
static int remove_one(removal *r, int dir, const char *name) {
  if (++r->entries % LOOK == 0 && r->why == NULL)
    r->why = cancelled_error(r->op);
  if (r->why != NULL) return -1;
  provider_step();
  if (unlinkat(dir, name, 0) == 0 || errno == ENOENT) return 0;
  if (errno != EISDIR) {
    stop(r, errno, name);
    return -1;
  }
  if (unlinkat(dir, name, AT_REMOVEDIR) == 0) return 0;
  if (errno == ENOTEMPTY || errno == EEXIST) return 1;
  stop(r, errno, name);
  return -1;
}


/* The name of an entry that has something in it, after all that have not are
   gone. Allocated; NULL: the directory is empty, or r->why. */
static char *remove_flat(removal *r, int dir) {
  int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *list = copy >= 0 ? fdopendir(copy) : NULL;
  char *full = NULL;
  if (list == NULL) {
    stop(r, errno, ".");
    if (copy >= 0) close(copy);
    return NULL;
  }
  struct dirent *entry;
  while (full == NULL && (errno = 0, entry = readdir(list)) != NULL) {
    const char *name = entry->d_name;
    if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) continue;
    int result = remove_one(r, dir, name);
    if (result < 0) break;
    if (result == 1 && (full = mem_text(name)) == NULL) {
      r->why = error_no_memory();
      break;
    }
  }
  closedir(list);
  return full;
}


/* Downwards by names, upwards by "..": any depth with one descriptor, and
   nobody else can write there. */
static void remove_tree(removal *r, int top) {
  int dir = openat(top, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  while (dir >= 0 && r->why == NULL) {
    char *full = remove_flat(r, dir);
    int next = -1;
    if (full != NULL) {
      next = open_down(r, dir, full);
      if (next < 0) stop(r, errno, full);
      r->depth++;
    } else if (r->why == NULL && r->depth > 0) {
      next = openat(dir, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
      if (next < 0) stop(r, errno, "..");
      r->depth--;
    }
    mem_free(full);
    close(dir);
    dir = next;
  }
  if (dir >= 0) close(dir);
}


error *btrfs_remove_slowly(int place, const char *name, int fd,
                           const char *path, saros_op *op) {
  struct stat st;
  uint64_t flags = 0;
  removal r = {.op = op, .path = path};
  if (fstat(fd, &st) != 0 || ioctl(fd, BTRFS_IOC_SUBVOL_GETFLAGS, &flags) < 0)
    return error_of_errno(SAROS_FACADE_VSS, errno,
                          "the snapshot cannot be deleted", path);
  r.dev = st.st_dev;
  flags &= ~(uint64_t)BTRFS_SUBVOL_RDONLY;
  if (ioctl(fd, BTRFS_IOC_SUBVOL_SETFLAGS, &flags) < 0) {
    stop(&r, errno, ".");
    return r.why;
  }
  provider_step();
  if ((st.st_mode & 0700) != 0700) fchmod(fd, 0700);
  remove_tree(&r, fd);
  if (r.why == NULL && unlinkat(place, name, AT_REMOVEDIR) != 0)
    stop(&r, errno, ".");
  return r.why;
}
