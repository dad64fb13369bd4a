/*
** devices: the register of devices we write to.
**
** A write to a loop device becomes a write to the file system its file is
** on, and one to a logical volume becomes one to the disks below. What is
** below a device is found out when it is registered, not when it is asked
** for: the question comes just before a freeze, when it should touch no file
** system any more, and what is below an open file does not change.
*/
#include "base/devices.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/buffer.h"
#include "base/memory.h"
#include "base/path.h"

enum { MOST_BELOW = 16 };

/* One device that a write reaches. */
typedef struct below {
  dev_t device;
  char *file; /* of the loop device above, or NULL */
} below;

struct device_hold {
  device_hold *next;
  char *why, *path;
  below stack[MOST_BELOW]; /* the first is the one that was registered */
  size_t count;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static device_hold *holds;

#ifdef SAROS_TEST
const char *device_sysfs = "/sys";
#else
static const char *const device_sysfs = "/sys";
#endif


/* ------------------------------------------------------------------
** What is below a device
** ---------------------------------------------------------------- */

/* The first line of a file about a device. False when there is none. */
static bool read_about(dev_t device, const char *name, char line[PATH_MAX]) {
  char path[PATH_MAX];
  int length = snprintf(path, sizeof path, "%s/dev/block/%u:%u/%s",
                        device_sysfs, major(device), minor(device), name);
  if (length < 0 || length >= (int)sizeof path) return false;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  ssize_t size = read(fd, line, PATH_MAX - 1);
  close(fd);
  if (size <= 0) return false;
  line[size] = '\0';
  line[strcspn(line, "\n")] = '\0';
  return true;
}


static bool parse_device(const char *text, dev_t *device) {
  unsigned a, b;
  char rest;
  if (sscanf(text, "%u:%u%c", &a, &b, &rest) != 2) return false;
  *device = makedev(a, b);
  return true;
}


/* Puts it on the stack, unless it is there or there is no room. False when
   memory ran out. */
static bool add_below(device_hold *hold, dev_t device, const char *file) {
  for (size_t i = 0; i < hold->count; i++)
    if (hold->stack[i].device == device) return true;
  if (hold->count == MOST_BELOW) return true;
  char *copy = mem_text(file);
  if (file != NULL && copy == NULL) return false;
  hold->stack[hold->count++] = (below){device, copy};
  return true;
}


/* The devices that a logical volume, a mirror or the like is made of. */
static bool add_slaves(device_hold *hold, below above) {
  char path[PATH_MAX], line[PATH_MAX];
  int length = snprintf(path, sizeof path, "%s/dev/block/%u:%u/slaves",
                        device_sysfs, major(above.device), minor(above.device));
  if (length < 0 || length >= (int)sizeof path) return true;
  DIR *directory = opendir(path);
  if (directory == NULL) return true;
  bool good = true;
  struct dirent *entry;
  while (good && (entry = readdir(directory)) != NULL) {
    char name[sizeof "slaves/" + NAME_MAX + sizeof "/dev"];
    dev_t slave;
    if (entry->d_name[0] == '.') continue;
    snprintf(name, sizeof name, "slaves/%s/dev", entry->d_name);
    if (read_about(above.device, name, line) && parse_device(line, &slave))
      good = add_below(hold, slave, above.file);
  }
  closedir(directory);
  return good;
}


/* What is one step below a device on the stack. */
static bool add_one_below(device_hold *hold, below above) {
  char line[PATH_MAX];
  struct stat st;
  dev_t disk;
  if (read_about(above.device, "partition", line)) {
    if (read_about(above.device, "../dev", line) && parse_device(line, &disk))
      return add_below(hold, disk, above.file);
    return true;
  }
  if (read_about(above.device, "loop/backing_file", line)) {
    if (stat(line, &st) != 0) return true; /* deleted, or not ours to see */
    bool block = S_ISBLK(st.st_mode);
    return add_below(hold, block ? st.st_rdev : st.st_dev, line);
  }
  return add_slaves(hold, above);
}


/* ------------------------------------------------------------------
** Holds
** ---------------------------------------------------------------- */

static void free_hold(device_hold *hold) {
  for (size_t i = 0; i < hold->count; i++) mem_free(hold->stack[i].file);
  mem_free(hold->why);
  mem_free(hold->path);
  mem_free(hold);
}


device_hold *device_hold_dev(dev_t device, const char *why, const char *path) {
  device_hold *hold = mem_zero(sizeof *hold);
  bool good = hold != NULL;
  if (good) {
    hold->why = mem_text(why);
    hold->path = mem_text(path);
    good = hold->why != NULL && hold->path != NULL;
  }
  good = good && add_below(hold, device, NULL);
  for (size_t i = 0; good && i < hold->count; i++)
    good = add_one_below(hold, hold->stack[i]);
  if (!good) {
    if (hold != NULL) free_hold(hold);
    errno = ENOMEM;
    return NULL;
  }
  pthread_mutex_lock(&lock);
  hold->next = holds;
  holds = hold;
  pthread_mutex_unlock(&lock);
  return hold;
}


/* A file that is a device itself is written to itself, not where its name
   happens to be kept. */
device_hold *device_hold_fd(int fd, const char *why, const char *path) {
  struct stat st;
  if (fstat(fd, &st) != 0) return NULL;
  dev_t device = S_ISBLK(st.st_mode) ? st.st_rdev : st.st_dev;
  return device_hold_dev(device, why, path);
}


/* One that is not in the list is a hold of the parent's, in its child. */
void device_release(device_hold *hold) {
  if (hold == NULL) return;
  pthread_mutex_lock(&lock);
  device_hold **at = &holds;
  while (*at != NULL && *at != hold) at = &(*at)->next;
  if (*at != NULL) *at = hold->next;
  pthread_mutex_unlock(&lock);
  free_hold(hold);
}


static char *sentence(const device_hold *hold, const below *found) {
  buffer b = BUFFER_EMPTY;
  buffer_text(&b, hold->why);
  buffer_text(&b, " writes to ");
  text_escape(&b, hold->path, strlen(hold->path));
  if (found->file != NULL) {
    buffer_text(&b, ", which is on a loop device whose file is ");
    text_escape(&b, found->file, strlen(found->file));
  } else if (found != hold->stack) {
    buffer_format(&b, ", whose device %u:%u lies on this one",
                  major(hold->stack[0].device), minor(hold->stack[0].device));
  }
  return buffer_take(&b);
}


bool device_is_held(dev_t device, char **why) {
  bool held = false;
  pthread_mutex_lock(&lock);
  for (device_hold *hold = holds; hold != NULL && !held; hold = hold->next) {
    for (size_t i = 0; i < hold->count && !held; i++) {
      held = hold->stack[i].device == device;
      if (held && why != NULL) *why = sentence(hold, &hold->stack[i]);
    }
  }
  pthread_mutex_unlock(&lock);
  return held;
}


bool device_hold_has(const device_hold *hold, dev_t device) {
  for (size_t i = 0; i < hold->count; i++)
    if (hold->stack[i].device == device) return true;
  return false;
}


static value *describe(const device_hold *hold) {
  value *map = value_map();
  char name[32];
  dev_t device = hold->stack[0].device;
  snprintf(name, sizeof name, "%u:%u", major(device), minor(device));
  if (value_put(map, "device", value_text(name)) &&
      value_put(map, "why", value_text(hold->why)) && path_put(map, hold->path))
    return map;
  value_free(map);
  return NULL;
}


value *device_list(void) {
  value *list = value_list();
  bool good = list != NULL;
  pthread_mutex_lock(&lock);
  for (device_hold *hold = holds; hold != NULL && good; hold = hold->next)
    good = value_add(list, describe(hold));
  pthread_mutex_unlock(&lock);
  if (good) return list;
  value_free(list);
  return NULL;
}


/* The list may be half changed, and the lock held by nobody. */
void device_forked(void) {
  pthread_mutex_init(&lock, NULL);
  holds = NULL;
}
