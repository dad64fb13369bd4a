/*
** btrfs: by its ioctls, and by /sys.
*/
#include "vds/btrfs.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/btrfs.h>
#include <linux/btrfs_tree.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "vds/holders.h"
#include "vds/probe.h"

enum { SPACES_MOST = 64 };


/* ------------------------------------------------------------------
** Errors
** ---------------------------------------------------------------- */

static const char *word(int result) {
  switch (result) {
    case BTRFS_ERROR_DEV_RAID1_MIN_NOT_MET:
    case BTRFS_ERROR_DEV_RAID10_MIN_NOT_MET:
    case BTRFS_ERROR_DEV_RAID5_MIN_NOT_MET:
    case BTRFS_ERROR_DEV_RAID6_MIN_NOT_MET:
    case BTRFS_ERROR_DEV_RAID1C3_MIN_NOT_MET:
    case BTRFS_ERROR_DEV_RAID1C4_MIN_NOT_MET:
      return "too few devices would be left for how its data is kept";
    case BTRFS_ERROR_DEV_TGT_REPLACE:
      return "the device is just replacing another one";
    case BTRFS_ERROR_DEV_MISSING_NOT_FOUND: return "no device is missing";
    case BTRFS_ERROR_DEV_ONLY_WRITABLE:
      return "it is the only device that can be written to";
    default: return "btrfs refuses it";
  }
}


error *vds_btrfs_error(int result, const char *what) {
  if (result == 0) return NULL;
  if (result == BTRFS_ERROR_DEV_EXCL_RUN_IN_PROGRESS || result == -EINPROGRESS)
    return vds_error(VDS_E_ANOTHER_CALL_IN_PROGRESS,
                     "%s: btrfs does one such thing at a time, and another one "
                     "is under way; try again when that has ended",
                     what);
  if (result > 0)
    return vds_error(VDS_E_OPERATION_DENIED, "%s: %s", what, word(result));
  if (result == -ECANCELED)
    return vds_error(VDS_E_OPERATION_CANCELED, "%s: it was cancelled", what);
  if (result == -ENOSPC)
    return vds_error(VDS_E_NOT_ENOUGH_SPACE,
                     "%s: there is not enough space that no chunk has; make "
                     "room, or add a larger device",
                     what);
  return vds_errno(-result, what, NULL);
}


error *vds_btrfs_is_idle(const vds_btrfs *b) {
  char path[100], text[64] = "none";
  snprintf(path, sizeof path, "/sys/fs/btrfs/%s/exclusive_operation", b->id);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return NULL; /* then the kernel says it when it is asked */
  ssize_t n = read(fd, text, sizeof text - 1);
  close(fd);
  if (n > 0) text[n] = '\0';
  text[strcspn(text, "\n")] = '\0';
  if (n <= 0 || strcmp(text, "none") == 0) return NULL;
  return vds_error(VDS_E_ANOTHER_CALL_IN_PROGRESS,
                   "btrfs is at work already (%s); try again when that has "
                   "ended",
                   text);
}


/* ------------------------------------------------------------------
** Devices
** ---------------------------------------------------------------- */

/* What it calls the device may be an old name: then nothing is there, and it is
   as good as missing. */
static dev_t device_of(const struct btrfs_ioctl_dev_info_args *info) {
  char path[BTRFS_DEVICE_PATH_NAME_MAX + 1];
  struct stat st;
  memcpy(path, info->path, BTRFS_DEVICE_PATH_NAME_MAX);
  path[BTRFS_DEVICE_PATH_NAME_MAX] = '\0';
  if (path[0] != '/' || stat(path, &st) != 0 || !S_ISBLK(st.st_mode)) return 0;
  return st.st_rdev;
}


static error *look_at(vds_btrfs *b, uint64_t id,
                      struct btrfs_ioctl_dev_info_args *info) {
  *info = (struct btrfs_ioctl_dev_info_args){.devid = id};
  if (ioctl(b->mount, BTRFS_IOC_DEV_INFO, info) != 0)
    return errno == ENODEV
               ? NULL
               : vds_errno(errno, "btrfs does not tell its devices", NULL);
  if (b->count == VDS_BTRFS_MOST)
    return vds_error(VDS_E_NOT_SUPPORTED, "this btrfs has more than %d devices",
                     VDS_BTRFS_MOST);
  vds_btrfs_member *m = &b->members[b->count++];
  *m = (vds_btrfs_member){.id = id,
                          .size = info->total_bytes,
                          .used = info->bytes_used,
                          .dev = device_of(info)};
  memcpy(&m->uuid, info->uuid, sizeof m->uuid);
  return NULL;
}


/* Numbers are not given anew while one is higher, so there may be gaps; 0 is
   the new one while another one is being replaced. */
error *vds_btrfs_look(vds_btrfs *b) {
  struct btrfs_ioctl_fs_info_args fs = {0};
  guid g;
  b->count = 0;
  if (ioctl(b->mount, BTRFS_IOC_FS_INFO, &fs) != 0)
    return vds_errno(errno, "btrfs does not answer", NULL);
  memcpy(&g, fs.fsid, sizeof g);
  guid_format(&g, b->id);
  struct btrfs_ioctl_dev_info_args *info = mem_alloc(sizeof *info);
  if (info == NULL) return error_no_memory();
  error *e = NULL;
  for (uint64_t id = 1; e == NULL && id <= fs.max_id; id++)
    e = look_at(b, id, info);
  mem_free(info);
  return e;
}


const vds_btrfs_member *vds_btrfs_find(const vds_btrfs *b, dev_t dev) {
  for (size_t i = 0; dev != 0 && i < b->count; i++)
    if (b->members[i].dev == dev) return &b->members[i];
  return NULL;
}


/* ------------------------------------------------------------------
** Where it is mounted
** ---------------------------------------------------------------- */

static bool open_there(const char *where, dev_t dev, vds_btrfs *b) {
  b->mount = open(where, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (b->mount < 0) return false;
  error *e = vds_btrfs_look(b);
  bool good = e == NULL && vds_btrfs_find(b, dev) != NULL;
  error_unref(e);
  if (!good) vds_btrfs_close(b);
  return good;
}


static bool can_write(const vds_btrfs *b) {
  struct statvfs v;
  return fstatvfs(b->mount, &v) == 0 && (v.f_flag & ST_RDONLY) == 0;
}


static error *not_mounted(dev_t dev) {
  char path[80];
  vds_probe *p = mem_zero(sizeof *p);
  if (p == NULL) return error_no_memory();
  error *e = vds_about_node(dev, path);
  int fd = e == NULL ? open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK) : -1;
  if (fd >= 0) e = vds_probe_fd(fd, p);
  if (fd >= 0) close(fd);
  if (e == NULL && strcmp(p->fs, "btrfs") == 0)
    e = vds_error(VDS_E_VOLUME_NOT_MOUNTED,
                  "%s is not mounted where it can be written to; mount it, for "
                  "btrfs does this while it is mounted",
                  path);
  else if (e == NULL)
    e = vds_error(VDS_E_INCOMPATIBLE_FILE_SYSTEM, "%s is no btrfs", path);
  mem_free(p);
  return e;
}


static void search(const vds_world *w, dev_t dev, vds_btrfs *b,
                   bool *read_only) {
  vds_holders h = vds_holders_of(w, dev);
  for (size_t i = 0; b->mount < 0 && i < h.count; i++) {
    if (h.items[i].kind != VDS_HOLD_MOUNT ||
        !open_there(h.items[i].who, dev, b))
      continue;
    if (can_write(b)) break;
    *read_only = true;
    vds_btrfs_close(b);
  }
  vds_holders_free(&h);
}


error *vds_btrfs_open(dev_t dev, vds_btrfs *b) {
  vds_world *w = NULL;
  bool read_only = false;
  *b = (vds_btrfs){.mount = -1};
  error *e = vds_world_read(&w);
  if (e != NULL) return e;
  search(w, dev, b, &read_only);
  vds_world_free(w);
  if (b->mount >= 0) return NULL;
  if (read_only)
    return vds_error(VDS_E_MEDIA_WRITE_PROTECTED,
                     "this btrfs is mounted read-only; mount it anew, to be "
                     "written to");
  return not_mounted(dev);
}


void vds_btrfs_close(vds_btrfs *b) {
  if (b->mount >= 0) close(b->mount);
  b->mount = -1;
}


/* ------------------------------------------------------------------
** Space
** ---------------------------------------------------------------- */

static struct btrfs_ioctl_space_args *read_spaces(int mount, error **e) {
  struct btrfs_ioctl_space_args *s =
      mem_zero(sizeof *s + SPACES_MOST * sizeof(struct btrfs_ioctl_space_info));
  *e = s == NULL ? error_no_memory() : NULL;
  if (s == NULL) return NULL;
  s->space_slots = SPACES_MOST;
  if (ioctl(mount, BTRFS_IOC_SPACE_INFO, s) != 0) {
    *e = vds_errno(errno, "btrfs does not tell its space", NULL);
    mem_free(s);
    return NULL;
  }
  if (s->total_spaces > SPACES_MOST) s->total_spaces = SPACES_MOST;
  return s;
}


/* What it has set aside for itself is no space on a device. */
static bool is_real(const struct btrfs_ioctl_space_info *i) {
  return (i->flags & BTRFS_SPACE_INFO_GLOBAL_RSV) == 0 && i->total_bytes > 0;
}


static uint64_t most(const struct btrfs_ioctl_space_args *s, uint64_t kind) {
  uint64_t profile = 0, bytes = 0;
  for (size_t i = 0; i < s->total_spaces; i++) {
    const struct btrfs_ioctl_space_info *one = &s->spaces[i];
    if (!is_real(one) || (one->flags & kind) == 0) continue;
    if (one->used_bytes + 1 <= bytes) continue;
    bytes = one->used_bytes + 1;
    profile = one->flags & BTRFS_BLOCK_GROUP_PROFILE_MASK;
  }
  return profile;
}


error *vds_btrfs_profiles(int mount, uint64_t *data, uint64_t *meta) {
  error *e = NULL;
  struct btrfs_ioctl_space_args *s = read_spaces(mount, &e);
  *data = e == NULL ? most(s, BTRFS_BLOCK_GROUP_DATA) : 0;
  *meta = e == NULL ? most(s, BTRFS_BLOCK_GROUP_METADATA) : 0;
  mem_free(s);
  return e;
}


error *vds_btrfs_bytes(int mount, uint64_t data, uint64_t meta,
                       vds_btrfs_amount *in, vds_btrfs_amount *all) {
  error *e = NULL;
  *in = *all = (vds_btrfs_amount){0};
  struct btrfs_ioctl_space_args *s = read_spaces(mount, &e);
  for (size_t i = 0; e == NULL && i < s->total_spaces; i++) {
    const struct btrfs_ioctl_space_info *one = &s->spaces[i];
    bool is_data = (one->flags & BTRFS_BLOCK_GROUP_DATA) != 0;
    if (!is_real(one)) continue;
    all->used += one->used_bytes;
    all->total += one->total_bytes;
    if ((one->flags & BTRFS_BLOCK_GROUP_PROFILE_MASK) !=
        (is_data ? data : meta))
      continue;
    in->used += one->used_bytes;
    in->total += one->total_bytes;
  }
  mem_free(s);
  return e;
}
