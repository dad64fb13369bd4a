/*
** about_named: which device a person means.
*/
#include <errno.h>
#include <fcntl.h>
#include <linux/btrfs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "vds/about.h"


/* Members have numbers, not all of them one after the other; other file systems
   do not know the question. */
static dev_t first_member(int dir) {
  struct btrfs_ioctl_fs_info_args all = {0};
  struct stat st;
  if (ioctl(dir, BTRFS_IOC_FS_INFO, &all) != 0) return 0;
  for (uint64_t id = 1; id <= all.max_id && id <= 1024; id++) {
    struct btrfs_ioctl_dev_info_args one = {.devid = id};
    if (ioctl(dir, BTRFS_IOC_DEV_INFO, &one) != 0) continue;
    one.path[sizeof one.path - 1] = '\0';
    if (stat((const char *)one.path, &st) == 0 && S_ISBLK(st.st_mode))
      return st.st_rdev;
  }
  return 0;
}


/* A btrfs has several devices, and its directories another number: of it the
   first member is meant. */
static dev_t device_below(const char *path) {
  struct stat st;
  int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (dir < 0) return 0;
  dev_t dev = fstat(dir, &st) == 0 ? st.st_dev : 0;
  if (major(dev) == 0) dev = first_member(dir);
  close(dir);
  return dev;
}


error *vds_about_named(const char *path, dev_t *dev) {
  struct stat st;
  *dev = 0;
  if (path == NULL || *path == '\0')
    return vds_error(SAROS_E_INVALIDARG, "a disk needs a name: its path");
  if (stat(path, &st) != 0) {
    if (errno == ENOENT || errno == ENOTDIR)
      return vds_error(VDS_E_OBJECT_NOT_FOUND, "there is no %s", path);
    return vds_errno(errno, "it cannot be looked at", path);
  }
  if (S_ISBLK(st.st_mode)) *dev = st.st_rdev;
  if (S_ISDIR(st.st_mode)) *dev = device_below(path);
  if (*dev != 0) return NULL;
  return error_at(vds_error(VDS_E_OBJECT_NOT_FOUND,
                            "%s is neither a block device nor a directory of a "
                            "file system on one; a file that is to be a disk "
                            "is attached first",
                            path),
                  path);
}
