/*
** loop: loop devices, by open descriptors.
*/
#include "vds/loop.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/loop.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <time.h>
#include <unistd.h>

#include "vds/about.h"
#include "vds/step.h"

enum { TRIES = 64 }; /* for a free device that others want too */


/* The kernel's encoding of a device in a loop device's status. */
static uint64_t encoded(dev_t dev) {
  uint64_t a = major(dev), b = minor(dev);
  return (b & 0xFF) | (a << 8) | ((b & ~(uint64_t)0xFF) << 12);
}


static bool has_mark(const struct loop_info64 *info, const char *mark) {
  return strncmp((const char *)info->lo_file_name, mark, VDS_LOOP_MARK - 1) ==
         0;
}


bool vds_loop_is(int fd, const struct stat *file, const char *mark) {
  struct loop_info64 info = {0};
  if (ioctl(fd, LOOP_GET_STATUS64, &info) != 0) return false;
  if (info.lo_inode != file->st_ino || info.lo_device != encoded(file->st_dev))
    return false;
  return mark == NULL || has_mark(&info, mark);
}


bool vds_loop_id(int fd, char id[GUID_TEXT]) {
  struct loop_info64 info = {0};
  guid g;
  id[0] = '\0';
  if (ioctl(fd, LOOP_GET_STATUS64, &info) != 0) return false;
  info.lo_file_name[LO_NAME_SIZE - 1] = '\0';
  const char *name = (const char *)info.lo_file_name;
  if (strncmp(name, "saros:", 6) != 0 || !guid_parse(name + 6, &g))
    return false;
  guid_format(&g, id);
  return true;
}


/* ------------------------------------------------------------------
** Attaching
** ---------------------------------------------------------------- */

static error *none(int number) {
  if (number == EACCES || number == EPERM)
    return vds_errno(number, "only root can attach a file as a disk",
                     "/dev/loop-control");
  return vds_errno(number, "there is no loop device to be had",
                   "/dev/loop-control");
}


/* In a container devtmpfs may be somebody else's. */
static int open_loop(int number, int flags) {
  char path[40];
  snprintf(path, sizeof path, "/dev/loop%d", number);
  return open(path, flags | O_CLOEXEC);
}


/* Between the question and the configuration somebody else can take it. */
error *vds_loop_attach(int file, const char *mark, bool read_only,
                       unsigned block, int *fd, dev_t *dev) {
  struct loop_config config = {
      .fd = (uint32_t)file,
      .block_size = block,
      .info = {.lo_flags = LO_FLAGS_AUTOCLEAR | LO_FLAGS_PARTSCAN |
                           (read_only ? LO_FLAGS_READ_ONLY : 0u)}};
  snprintf((char *)config.info.lo_file_name, VDS_LOOP_MARK, "%s", mark);
  *fd = -1;
  int control = open("/dev/loop-control", O_RDWR | O_CLOEXEC);
  if (control < 0) return none(errno);
  int failed = EBUSY;
  for (int i = 0; i < TRIES && failed == EBUSY; i++) {
    int number = ioctl(control, LOOP_CTL_GET_FREE);
    if (number < 0) {
      failed = errno;
      break;
    }
    int loop = open_loop(number, read_only ? O_RDONLY : O_RDWR);
    struct stat st = {0};
    failed = loop < 0 || fstat(loop, &st) != 0 ||
                     ioctl(loop, LOOP_CONFIGURE, &config) != 0
                 ? errno
                 : 0;
    if (failed == 0) {
      *fd = loop;
      *dev = st.st_rdev;
    } else if (loop >= 0) {
      close(loop);
    }
  }
  close(control);
  return failed == 0 ? NULL : none(failed);
}


error *vds_loop_keep(int fd) {
  struct loop_info64 info = {0};
  if (ioctl(fd, LOOP_GET_STATUS64, &info) == 0) {
    info.lo_flags &= ~(uint32_t)LO_FLAGS_AUTOCLEAR;
    if (ioctl(fd, LOOP_SET_STATUS64, &info) == 0) return NULL;
  }
  return vds_errno(errno, "the loop device cannot be made to stay", NULL);
}


error *vds_loop_resize(int fd) {
  if (ioctl(fd, LOOP_SET_CAPACITY) == 0) return NULL;
  return vds_errno(errno, "the loop device does not see its file's new size",
                   NULL);
}


/* ------------------------------------------------------------------
** Finding and detaching
** ---------------------------------------------------------------- */

typedef struct search {
  const struct stat *file; /* NULL: any */
  const char *mark;
  dev_t *list;
  size_t count, most;
} search;


/* Who may not open it cannot have attached it. That one has gone is no error;
   that there is no descriptor to look at it with is. */
static error *look(void *context, const vds_about *a) {
  search *s = context;
  char path[80];
  if (!a->bound || s->count == s->most) return NULL;
  snprintf(path, sizeof path, "/dev/%s", a->name);
  int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0 && (errno == EMFILE || errno == ENFILE || errno == ENOMEM))
    return vds_errno(errno, "not all loop devices can be looked at", path);
  if (fd < 0) return NULL;
  struct stat st;
  struct loop_info64 info = {0};
  bool ours = fstat(fd, &st) == 0 && st.st_rdev == a->dev;
  if (ours && s->file != NULL)
    ours = vds_loop_is(fd, s->file, s->mark);
  else if (ours)
    ours = ioctl(fd, LOOP_GET_STATUS64, &info) == 0 && has_mark(&info, s->mark);
  if (ours) s->list[s->count++] = a->dev;
  close(fd);
  return NULL;
}


error *vds_loop_find(const struct stat *file, const char *mark, dev_t *list,
                     size_t most, size_t *count) {
  search s = {file, mark, list, 0, most};
  error *e = vds_about_all(look, &s);
  *count = s.count;
  return e;
}


error *vds_loop_marked(const char *mark, dev_t *dev) {
  search s = {NULL, mark, dev, 0, 1};
  *dev = 0;
  return vds_about_all(look, &s);
}


/* Media are counted; 0: by no such kernel. */
static uint64_t medium_of(int fd) {
  uint64_t seq = 0;
  return ioctl(fd, BLKGETDISKSEQ, &seq) == 0 ? seq : 0;
}


/* With that medium: the number may be another one's by now. Needs no memory,
   the want of which would look like its end. */
static bool is_bound(dev_t dev, uint64_t medium) {
  char path[80], text[32] = "";
  snprintf(path, sizeof path, "/sys/dev/block/%u:%u/loop/backing_file",
           major(dev), minor(dev));
  if (access(path, F_OK) != 0) return false;
  snprintf(path, sizeof path, "/sys/dev/block/%u:%u/diskseq", major(dev),
           minor(dev));
  int fd = medium != 0 ? open(path, O_RDONLY | O_CLOEXEC) : -1;
  bool other = fd >= 0 && read(fd, text, sizeof text - 1) > 0 &&
               strtoull(text, NULL, 10) != medium;
  if (fd >= 0) close(fd);
  return !other;
}


static void wait_a_little(void) {
  nanosleep(&(struct timespec){0, 5000000}, NULL);
}


static bool is_gone(dev_t dev, uint64_t medium, uint64_t until) {
  bool gone;
  vds_step("loop: let go");
  while (!(gone = !is_bound(dev, medium)) && vds_clock() < until)
    wait_a_little();
  return gone;
}


static error *cannot_end(int number) {
  return vds_errno(number, "the loop device cannot be taken off its file",
                   NULL);
}


/* While it is open, by us or others, the kernel only notes that it is to go. */
error *vds_loop_detach(int fd, dev_t dev, bool *gone) {
  uint64_t medium = medium_of(fd);
  int r = ioctl(fd, LOOP_CLR_FD, 0) != 0 ? errno : 0;
  close(fd);
  *gone = false;
  if (r != 0 && r != ENXIO) return cannot_end(r);
  *gone = is_gone(dev, medium, vds_clock() + vds_patience);
  return NULL;
}


/* The kernel ends it for whoever is the last one, in one step: then it tells no
   status any more, and nobody comes in. For anybody else it only notes that it
   is to go, which is taken back as long as we have it open. */
static error *try_end(int fd, bool *ends) {
  struct loop_info64 was = {0}, now = {0};
  *ends = ioctl(fd, LOOP_GET_STATUS64, &was) != 0;
  if (*ends) return NULL;
  if (ioctl(fd, LOOP_CLR_FD, 0) != 0 && errno != ENXIO)
    return cannot_end(errno);
  *ends = ioctl(fd, LOOP_GET_STATUS64, &now) != 0;
  bool stays = (was.lo_flags & LO_FLAGS_AUTOCLEAR) == 0;
  return *ends || !stays ? NULL : vds_loop_keep(fd);
}


error *vds_loop_end(int *fd, dev_t dev, bool *gone) {
  uint64_t medium = medium_of(*fd), until = vds_clock() + vds_patience;
  bool ends = false;
  *gone = false;
  error *e = try_end(*fd, &ends);
  while (e == NULL && !ends && vds_clock() < until) {
    wait_a_little();
    e = try_end(*fd, &ends);
  }
  if (e != NULL || !ends) return e;
  close(*fd);
  *fd = -1;
  is_gone(dev, medium, vds_clock() + vds_patience);
  *gone = true;
  return NULL;
}
