/*
** disks: block devices, by number.
*/
#include "vss/disks.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/btrfs.h>
#include <linux/loop.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <unistd.h>

#define BTRFS_MAGIC 0x9123683E

enum { MOST_BELOW = 16 }; /* storeys of devices on devices */


/* ------------------------------------------------------------------
** What /sys says
** ---------------------------------------------------------------- */

static bool read_text(const char *path, char text[PATH_MAX]) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  ssize_t size = read(fd, text, PATH_MAX - 1);
  close(fd);
  if (size <= 0) return false;
  /* Only the last newline is the kernel's: a file may have some in its
     name. */
  if (text[size - 1] == '\n') size--;
  text[size] = '\0';
  return true;
}


bool disk_about(dev_t disk, const char *name, char text[PATH_MAX]) {
  char path[300];
  int n = snprintf(path, sizeof path, "/sys/dev/block/%u:%u/%s", major(disk),
                   minor(disk), name);
  return n > 0 && n < (int)sizeof path && read_text(path, text);
}


static dev_t parse_device(const char *text) {
  unsigned a, b;
  return sscanf(text, "%u:%u", &a, &b) == 2 ? makedev(a, b) : 0;
}


dev_t disk_whole(dev_t device, uint64_t *start, uint64_t *size) {
  char text[PATH_MAX];
  *start = *size = 0;
  if (!disk_about(device, "partition", text)) return device;
  /* In sectors of 512 bytes, whatever the disk has. */
  if (disk_about(device, "start", text))
    *start = strtoull(text, NULL, 10) * 512;
  if (disk_about(device, "size", text)) *size = strtoull(text, NULL, 10) * 512;
  dev_t whole = disk_about(device, "../dev", text) ? parse_device(text) : 0;
  return whole != 0 ? whole : device;
}


bool disk_loop_file(dev_t disk, char path[PATH_MAX]) {
  return disk_about(disk, "loop/backing_file", path) && path[0] == '/';
}


/* ------------------------------------------------------------------
** Device nodes
** ---------------------------------------------------------------- */

char *disk_name(dev_t disk) {
  char text[PATH_MAX], path[300];
  struct stat st;
  const char *name = NULL;
  if (disk_about(disk, "uevent", text)) name = strstr(text, "DEVNAME=");
  if (name == NULL) {
    errno = ENODEV;
    return NULL;
  }
  name += strlen("DEVNAME=");
  int length = (int)strcspn(name, "\n");
  int n = snprintf(path, sizeof path, "/dev/%.*s", length, name);
  if (n < 0 || n >= (int)sizeof path) {
    errno = ENAMETOOLONG;
    return NULL;
  }
  if (stat(path, &st) != 0) return NULL;
  if (!S_ISBLK(st.st_mode) || st.st_rdev != disk) {
    errno = ENODEV;
    return NULL;
  }
  char *copy = mem_text(path);
  if (copy == NULL) errno = ENOMEM;
  return copy;
}


int disk_open(dev_t disk, int flags) {
  char *name = disk_name(disk);
  if (name == NULL) return -1;
  int fd = open(name, flags | O_CLOEXEC);
  int failed = errno;
  mem_free(name);
  struct stat st;
  if (fd >= 0 && (fstat(fd, &st) != 0 || st.st_rdev != disk)) {
    close(fd);
    fd = -1;
    failed = ENODEV; /* the node was another one in between */
  }
  errno = failed;
  return fd;
}


/* ------------------------------------------------------------------
** What is below
** ---------------------------------------------------------------- */

/* Its devices stand in /sys under its id, each with its number; the paths
   that the kernel also knows are what somebody once called them. */
dev_t disk_of_btrfs(int fd, unsigned *count) {
  struct btrfs_ioctl_fs_info_args info = {0};
  char path[128], dev[PATH_MAX], text[PATH_MAX];
  *count = 0;
  if (ioctl(fd, BTRFS_IOC_FS_INFO, &info) < 0) return 0;
  char *at = path + snprintf(path, sizeof path, "/sys/fs/btrfs/");
  for (unsigned i = 0; i < 16; i++) {
    const char *dash = i == 4 || i == 6 || i == 8 || i == 10 ? "-" : "";
    at += snprintf(at, 4, "%s%02x", dash, info.fsid[i]);
  }
  snprintf(at, 16, "/devices");
  DIR *devices = opendir(path);
  if (devices == NULL) return 0;
  dev_t first = 0;
  for (struct dirent *entry; (entry = readdir(devices)) != NULL;) {
    if (entry->d_name[0] == '.') continue;
    int n = snprintf(dev, sizeof dev, "%s/%s/dev", path, entry->d_name);
    if (n < 0 || n >= (int)sizeof dev || !read_text(dev, text)) continue;
    dev_t found = parse_device(text);
    if (found == 0) continue;
    ++*count;
    if (first == 0 || found < first) first = found;
  }
  closedir(devices);
  return first;
}


dev_t disk_loop_origin(dev_t disk) {
  struct loop_info64 info;
  int fd = disk_open(disk, O_RDONLY | O_NONBLOCK);
  if (fd < 0) return 0;
  bool asked = ioctl(fd, LOOP_GET_STATUS64, &info) == 0;
  close(fd);
  if (!asked) return 0;
  /* The kernel's encoding of a big device number. */
  uint64_t d = info.lo_device;
  return makedev((unsigned)((d >> 8) & 0xFFF),
                 (unsigned)((d & 0xFF) | ((d >> 12) & 0xFFF00)));
}


static unsigned loops_below(dev_t device, unsigned storeys);


/* What a loop device's file lies on. */
static dev_t disk_of_file(const char *path) {
  struct stat st;
  struct statfs fs;
  int fd = open(path, O_PATH | O_CLOEXEC);
  if (fd < 0) return 0;
  dev_t found = 0;
  if (fstat(fd, &st) == 0) {
    found = S_ISBLK(st.st_mode) ? st.st_rdev : st.st_dev;
    if (!S_ISBLK(st.st_mode) && fstatfs(fd, &fs) == 0 &&
        fs.f_type == BTRFS_MAGIC) {
      char *parent = path_parent(path);
      int dir = parent != NULL ? open(parent, O_RDONLY | O_CLOEXEC) : -1;
      unsigned count;
      if (dir >= 0) {
        found = disk_of_btrfs(dir, &count);
        close(dir);
      }
      mem_free(parent);
    }
  }
  close(fd);
  return found;
}


static unsigned below_slaves(dev_t device, unsigned storeys) {
  char path[128], name[NAME_MAX + 16], text[PATH_MAX];
  snprintf(path, sizeof path, "/sys/dev/block/%u:%u/slaves", major(device),
           minor(device));
  DIR *slaves = opendir(path);
  unsigned most = 0;
  if (slaves == NULL) return 0;
  for (struct dirent *entry; (entry = readdir(slaves)) != NULL;) {
    if (entry->d_name[0] == '.') continue;
    snprintf(name, sizeof name, "slaves/%s/dev", entry->d_name);
    if (!disk_about(device, name, text)) continue;
    unsigned n = loops_below(parse_device(text), storeys - 1);
    if (n > most) most = n;
  }
  closedir(slaves);
  return most;
}


static unsigned loops_below(dev_t device, unsigned storeys) {
  char path[PATH_MAX];
  uint64_t start, size;
  if (device == 0 || storeys == 0) return 0;
  dev_t whole = disk_whole(device, &start, &size);
  if (!disk_loop_file(whole, path)) return below_slaves(whole, storeys);
  dev_t next = disk_of_file(path);
  /* A file that has no name here any more still lies on a device. */
  if (next == 0) next = disk_loop_origin(whole);
  return 1 + loops_below(next, storeys - 1);
}


unsigned disk_loops_below(dev_t device) {
  return loops_below(device, MOST_BELOW);
}
