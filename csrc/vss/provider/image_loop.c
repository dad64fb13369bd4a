/*
** provider image: loop devices.
**
** A loop device has a number that anybody may get a moment later, so what is
** done to one is done to an open device whose file was looked at: its inode
** and the device of that, as the kernel has them.
*/
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "vss/disks.h"
#include "vss/provider/image_parts.h"

enum {
  TRIES = 64,            /* for a free device that others want too */
  PATIENCE = 100,        /* looks at a device that is being detached */
  NAP = 20 * 1000 * 1000 /* nanoseconds between them */
};


/* The kernel's encoding of a device in a loop device's status. */
static uint64_t encoded(dev_t dev) {
  uint64_t a = major(dev), b = minor(dev);
  return (b & 0xFF) | (a << 8) | ((b & ~(uint64_t)0xFF) << 12);
}


static bool is_over(const struct loop_info64 *info, const struct stat *st) {
  return info->lo_inode == st->st_ino && info->lo_device == encoded(st->st_dev);
}


/* ------------------------------------------------------------------
** The original
** ---------------------------------------------------------------- */

static error *not_supported(const origin *from, const char *why) {
  return error_at(vss_error(VSS_E_VOLUME_NOT_SUPPORTED_BY_PROVIDER,
                            "%s lies in the image %s, %s", from->path,
                            from->loop_file, why),
                  from->path);
}


static error *ask_device(const origin *from, image_source *source,
                         struct loop_info64 *info) {
  uint64_t start, size;
  int block = 512;
  dev_t whole = disk_whole(from->disk, &start, &size);
  int device = disk_open(whole, O_RDONLY | O_NONBLOCK);
  if (device < 0)
    return error_of_errno(SAROS_FACADE_VSS, errno,
                          "the loop device below it cannot be opened",
                          from->path);
  int failed = ioctl(device, LOOP_GET_STATUS64, info) != 0 ? errno : 0;
  if (ioctl(device, BLKSSZGET, &block) != 0) block = 512;
  close(device);
  if (failed != 0)
    return error_of_errno(SAROS_FACADE_VSS, failed,
                          "the loop device below it cannot be asked",
                          from->path);
  source->offset = info->lo_offset + start;
  source->limit = size != 0 ? size : info->lo_sizelimit;
  source->block = (uint32_t)block;
  return NULL;
}


error *image_open_source(const origin *from, image_source *source) {
  struct loop_info64 info = {0};
  struct stat st;
  *source = (image_source){.file = -1};
  error *e = ask_device(from, source, &info);
  if (e != NULL) return e;
  int fd =
      open(from->loop_file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0 && errno != ENOENT)
    return error_of_errno(SAROS_FACADE_VSS, errno,
                          "the image below it cannot be opened",
                          from->loop_file);
  bool same = fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
              is_over(&info, &st);
  if (same) {
    source->file = fd;
    return NULL;
  }
  if (fd >= 0) close(fd);
  return not_supported(from,
                       "which has been deleted, moved or replaced: what has no "
                       "name cannot be cloned");
}


bool image_put_source(value *keep, const image_source *source) {
  return value_put(keep, "offset", value_int((int64_t)source->offset)) &&
         value_put(keep, "limit", value_int((int64_t)source->limit)) &&
         value_put(keep, "block", value_int((int64_t)source->block));
}


void image_get_source(const value *keep, image_source *source) {
  *source = (image_source){
      .file = -1,
      .offset = (uint64_t)value_integer(value_get(keep, "offset"), 0),
      .limit = (uint64_t)value_integer(value_get(keep, "limit"), 0),
      .block = (uint32_t)value_integer(value_get(keep, "block"), 512)};
}


/* ------------------------------------------------------------------
** Attaching
** ---------------------------------------------------------------- */

static error *no_loop(int number) {
  return error_of_errno(SAROS_FACADE_VSS, number,
                        "there is no loop device for the shadow copy",
                        "/dev/loop-control");
}


/* Between the question and the configuration somebody else can take it. */
error *image_attach(int clone, const image_source *source, int *device) {
  struct loop_config config = {
      .fd = (uint32_t)clone,
      .block_size = source->block,
      .info = {.lo_flags = LO_FLAGS_READ_ONLY | LO_FLAGS_AUTOCLEAR,
               .lo_offset = source->offset,
               .lo_sizelimit = source->limit}};
  *device = -1;
  int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
  if (control < 0) return no_loop(errno);
  int failed = EBUSY;
  for (int i = 0; i < TRIES && failed == EBUSY; i++) {
    char path[40];
    int number = ioctl(control, LOOP_CTL_GET_FREE);
    if (number < 0) {
      failed = errno;
      break;
    }
    snprintf(path, sizeof path, "/dev/loop%d", number);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    failed = fd < 0 || ioctl(fd, LOOP_CONFIGURE, &config) != 0 ? errno : 0;
    if (failed == 0)
      *device = fd;
    else if (fd >= 0)
      close(fd);
  }
  close(control);
  return failed == 0 ? NULL : no_loop(failed);
}


/* ------------------------------------------------------------------
** Finding and detaching
** ---------------------------------------------------------------- */

size_t image_loops(const struct stat *clone, const char *word, dev_t *loops,
                   size_t most) {
  char name[300], text[PATH_MAX];
  size_t count = 0;
  DIR *all = opendir("/sys/block");
  for (struct dirent *entry;
       all != NULL && count < most && (entry = readdir(all)) != NULL;) {
    unsigned number;
    struct loop_info64 info;
    if (sscanf(entry->d_name, "loop%u", &number) != 1) continue;
    snprintf(name, sizeof name, "/sys/block/%s/dev", entry->d_name);
    FILE *f = fopen(name, "re");
    unsigned a = 0, b = 0;
    bool read = f != NULL && fscanf(f, "%u:%u", &a, &b) == 2;
    if (f != NULL) fclose(f);
    dev_t loop = makedev(a, b);
    if (!read || !disk_loop_file(loop, text) || strstr(text, word) == NULL)
      continue;
    int fd = disk_open(loop, O_RDONLY | O_NONBLOCK);
    if (fd < 0) continue;
    if (ioctl(fd, LOOP_GET_STATUS64, &info) == 0 && is_over(&info, clone))
      loops[count++] = loop;
    close(fd);
  }
  if (all != NULL) closedir(all);
  return count;
}


/* As long as it is open nobody can take it off its file. */
int image_adopt(dev_t loop, const struct stat *clone,
                const image_source *source) {
  struct loop_info64 info;
  int fd = disk_open(loop, O_RDONLY | O_NONBLOCK);
  if (fd >= 0 && ioctl(fd, LOOP_GET_STATUS64, &info) == 0 &&
      is_over(&info, clone) && (info.lo_flags & LO_FLAGS_READ_ONLY) != 0 &&
      info.lo_offset == source->offset && info.lo_sizelimit == source->limit)
    return fd;
  if (fd >= 0) close(fd);
  return -1;
}


/* A device that somebody else has open lets go at the last close; one that is
   mounted in another namespace does not for a long time. */
error *image_detach(dev_t loop, const struct stat *clone, const char *path) {
  struct loop_info64 info;
  const struct timespec nap = {0, NAP};
  for (int i = 0; i < PATIENCE; i++) {
    int fd = disk_open(loop, O_RDONLY | O_NONBLOCK);
    bool ours = fd >= 0 && ioctl(fd, LOOP_GET_STATUS64, &info) == 0 &&
                is_over(&info, clone);
    if (ours && i == 0) ioctl(fd, LOOP_CLR_FD, 0);
    if (fd >= 0) close(fd);
    if (!ours) return NULL;
    if (i > 0) nanosleep(&nap, NULL);
  }
  return error_at(vss_error(VSS_E_VOLUME_IN_USE,
                            "the shadow copy %s is still open or mounted "
                            "somewhere, perhaps in a container; its device is "
                            "%u:%u",
                            path, major(loop), minor(loop)),
                  path);
}
