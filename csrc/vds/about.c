/*
** about: /sys, read with as few calls as will do. A listing opens each device's
** directory once and what is in it relative to that.
*/
#include "vds/about.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define SECTOR 512 /* of the numbers in /sys, whatever the disk has */


/* ------------------------------------------------------------------
** Small files
** ---------------------------------------------------------------- */

/* Without its last newline: only that one is the kernel's. */
static bool read_at(int dir, const char *name, char *text, size_t room) {
  int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
  if (fd < 0) return false;
  ssize_t n = read(fd, text, room - 1);
  close(fd);
  if (n <= 0) return false;
  if (text[n - 1] == '\n') n--;
  text[n] = '\0';
  return true;
}


static uint64_t number_at(int dir, const char *name) {
  char text[40];
  return read_at(dir, name, text, sizeof text) ? strtoull(text, NULL, 10) : 0;
}


static bool flag_at(int dir, const char *name) {
  char text[40];
  return read_at(dir, name, text, sizeof text) && text[0] == '1';
}


static dev_t device_of(const char *text) {
  unsigned a, b;
  return sscanf(text, "%u:%u", &a, &b) == 2 ? makedev(a, b) : 0;
}


static dev_t device_at(int dir, const char *name) {
  char text[40];
  return read_at(dir, name, text, sizeof text) ? device_of(text) : 0;
}


/* The text of a line "NAME=…" of a uevent; NULL: there is none. */
static const char *line_of(const char *text, const char *name) {
  size_t size = strlen(name);
  for (const char *at = text; at != NULL && *at != '\0';) {
    if (strncmp(at, name, size) == 0 && at[size] == '=') return at + size + 1;
    at = strchr(at, '\n');
    if (at != NULL) at++;
  }
  return NULL;
}


static uint64_t line_number(const char *text, const char *name) {
  const char *at = line_of(text, name);
  return at != NULL ? strtoull(at, NULL, 10) : 0;
}


static int directory_of(dev_t dev) {
  char path[64];
  snprintf(path, sizeof path, "/sys/dev/block/%u:%u", major(dev), minor(dev));
  return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}


/* ------------------------------------------------------------------
** One device
** ---------------------------------------------------------------- */

/* What a listing needs; the uevent has most of it in one file. */
static bool read_light(int dir, dev_t whole, vds_about *a) {
  char text[1024];
  memset(a, 0, offsetof(vds_about, model));
  a->model[0] = a->serial[0] = a->file[0] = '\0';
  a->block = a->physical = 512;
  if (!read_at(dir, "uevent", text, sizeof text)) return false;
  const char *name = line_of(text, "DEVNAME");
  if (name == NULL || line_of(text, "MAJOR") == NULL) return false;
  snprintf(a->name, sizeof a->name, "%.*s", (int)strcspn(name, "\n"), name);
  a->dev = makedev((unsigned)line_number(text, "MAJOR"),
                   (unsigned)line_number(text, "MINOR"));
  a->number = (unsigned)line_number(text, "PARTN");
  a->seq = line_number(text, "DISKSEQ");
  a->whole = whole != 0 ? whole : a->dev;
  a->size = number_at(dir, "size") * SECTOR;
  a->read_only = flag_at(dir, "ro");
  if (a->number > 0) a->start = number_at(dir, "start") * SECTOR;
  return true;
}


static void read_file_behind(int dir, vds_about *a) {
  if (major(a->dev) != 7 || a->number > 0) return;
  a->bound = read_at(dir, "loop/backing_file", a->file, sizeof a->file);
  if (!a->bound || a->file[0] != '/') a->file[0] = '\0';
}


/* Texts of a disk end with blanks, often. */
static void read_text(int dir, const char *name, char *text, size_t room) {
  if (!read_at(dir, name, text, room)) text[0] = '\0';
  size_t n = strlen(text);
  while (n > 0 && text[n - 1] == ' ') text[--n] = '\0';
}


static void read_rest(int dir, vds_about *a) {
  a->block = (unsigned)number_at(dir, "queue/logical_block_size");
  a->physical = (unsigned)number_at(dir, "queue/physical_block_size");
  if (a->block < 512) a->block = 512;
  if (a->physical < a->block) a->physical = a->block;
  a->rotational = flag_at(dir, "queue/rotational");
  a->removable = flag_at(dir, "removable");
  a->autoclear = flag_at(dir, "loop/autoclear");
  read_text(dir, "device/model", a->model, sizeof a->model);
}


static void read_serial(int dir, vds_about *a) {
  read_text(dir, "serial", a->serial, sizeof a->serial); /* virtio, nvme */
  if (a->serial[0] == '\0')
    read_text(dir, "device/serial", a->serial, sizeof a->serial);
  if (a->serial[0] == '\0') read_text(dir, "wwid", a->serial, sizeof a->serial);
  if (a->serial[0] == '\0')
    read_text(dir, "device/wwid", a->serial, sizeof a->serial);
}


static error *not_there(dev_t dev) {
  return vds_error(VDS_E_OBJECT_NOT_FOUND,
                   "there is no block device %u:%u any more; list the disks "
                   "again",
                   major(dev), minor(dev));
}


static bool read_partition(int dir, bool all, vds_about *a) {
  a->whole = device_at(dir, "../dev");
  a->seq = 0;
  int disk = openat(dir, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (disk < 0) return false;
  read_serial(disk, a);
  if (all) read_rest(disk, a);
  a->seq = number_at(disk, "diskseq");
  close(disk);
  return a->whole != 0;
}


static error *read_one(dev_t dev, bool all, vds_about *a) {
  int dir = directory_of(dev);
  if (dir < 0) return not_there(dev);
  bool good = read_light(dir, 0, a) && a->dev == dev;
  if (good && a->number > 0) {
    good = read_partition(dir, all, a);
  } else if (good) {
    read_serial(dir, a);
    if (all) read_file_behind(dir, a);
    if (all) read_rest(dir, a);
    if (a->seq == 0) a->seq = number_at(dir, "diskseq");
  }
  close(dir);
  return good ? NULL : not_there(dev);
}


error *vds_about_read(dev_t dev, vds_about *a) {
  return read_one(dev, true, a);
}


error *vds_about_brief(dev_t dev, vds_about *a) {
  return read_one(dev, false, a);
}


vds_about *vds_about_new(dev_t dev, error **e) {
  vds_about *a = mem_alloc(sizeof *a);
  *e = a != NULL ? vds_about_read(dev, a) : error_no_memory();
  if (*e == NULL) return a;
  mem_free(a);
  return NULL;
}


/* ------------------------------------------------------------------
** Many
** ---------------------------------------------------------------- */

typedef error *(*each_one)(void *context, const vds_about *a);


/* One that has gone is left out. One that cannot be looked at for want of a
   descriptor is there all the same, and may be what somebody stands on. */
static error *is_lost(int number) {
  if (number != EMFILE && number != ENFILE && number != ENOMEM) return NULL;
  return vds_errno(number, "not all disks can be looked at",
                   "/sys/class/block");
}


static int by_number(const void *a, const void *b) {
  unsigned x = *(const unsigned *)a, y = *(const unsigned *)b;
  return (x > y) - (x < y);
}


/* Partitions are directories in that of their disk, named after it. Sorted by
   their numbers, for the kernel gives them in any order. */
static error *walk_partitions(int dir, const vds_about *disk, vds_about *one,
                              each_one each, void *context) {
  unsigned numbers[256];
  size_t count = 0;
  const char *last = strrchr(disk->name, '/');
  const char *name = last != NULL ? last + 1 : disk->name;
  size_t base = strlen(name);
  DIR *all = fdopendir(openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (all == NULL) return is_lost(errno);
  bool letter = base > 0 && name[base - 1] >= '0' && name[base - 1] <= '9';
  for (struct dirent *e; (e = readdir(all)) != NULL && count < 256;) {
    if (e->d_type != DT_DIR || strncmp(e->d_name, name, base) != 0) continue;
    const char *rest = e->d_name + base;
    if (letter && *rest++ != 'p') continue;
    char *end;
    unsigned long n = strtoul(rest, &end, 10);
    if (end != rest && *end == '\0' && n > 0 && n < 1u << 20)
      numbers[count++] = (unsigned)n;
  }
  closedir(all);
  qsort(numbers, count, sizeof *numbers, by_number);
  error *err = NULL;
  for (size_t i = 0; err == NULL && i < count; i++) {
    char path[NAME_MAX];
    snprintf(path, sizeof path, "%s%s%u", name, letter ? "p" : "", numbers[i]);
    int part = openat(dir, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (part < 0) err = is_lost(errno);
    if (part < 0) continue;
    if (read_light(part, disk->dev, one) && one->number > 0) {
      one->seq = disk->seq;
      err = each(context, one);
    }
    close(part);
  }
  return err;
}


/* All that have a medium stand in one file; their order there is that of their
   arrival. */
static int by_name(const void *a, const void *b) {
  return strverscmp(*(char *const *)a, *(char *const *)b);
}


static char *read_list(size_t *count, char ***lines) {
  buffer b = BUFFER_EMPTY;
  int fd = open("/proc/partitions", O_RDONLY | O_CLOEXEC);
  ssize_t n = 1;
  *count = 0;
  *lines = NULL;
  while (fd >= 0 && n > 0) {
    char *room = buffer_room(&b, 16384);
    n = room != NULL ? read(fd, room, 16383) : -1;
    if (n > 0) b.size += (size_t)n;
  }
  if (fd >= 0) close(fd);
  buffer_byte(&b, '\0');
  bool lost = b.failed;
  char *text = buffer_take(&b);
  if (text == NULL || n != 0) {
    mem_free(text);
    if (lost) errno = ENOMEM;
    return NULL;
  }
  size_t most = 1;
  for (const char *at = text; *at != '\0'; at++) most += *at == '\n';
  *lines = mem_alloc(most * sizeof **lines);
  char *rest = text, *line;
  while (*lines != NULL && (line = strsep(&rest, "\n")) != NULL) {
    char *name = strrchr(line, ' '); /* "   7        0   16384 loop0" */
    if (name != NULL && strchr(line, '#') == NULL)
      (*lines)[(*count)++] = ++name;
  }
  if (*count > 0) qsort(*lines, *count, sizeof **lines, by_name);
  return text;
}


/* `some` is where most devices of a machine with many of them are (loop, dm),
   and a shorter way to them than the links that lie in `all`. */
static bool read_named(int all, int some, const char *name, dev_t whole,
                       vds_about *a) {
  errno = 0;
  int dir = openat(some, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (dir < 0) dir = openat(all, name, O_PATH | O_DIRECTORY | O_CLOEXEC);
  if (dir < 0) return false;
  errno = 0;
  bool good = read_light(dir, whole, a);
  if (good) read_file_behind(dir, a);
  int number = errno;
  close(dir);
  errno = number;
  return good && a->size > 0;
}


static bool belongs(const vds_about *disk, const char *name) {
  return disk->dev != 0 && strncmp(name, disk->name, strlen(disk->name)) == 0;
}


/* Partitions come behind their disk: their names begin with its. */
error *vds_about_all(each_one each, void *context) {
  size_t count = 0;
  char **names = NULL, *text = read_list(&count, &names);
  int all = open("/sys/class/block", O_PATH | O_DIRECTORY | O_CLOEXEC);
  int some =
      open("/sys/devices/virtual/block", O_PATH | O_DIRECTORY | O_CLOEXEC);
  vds_about *two = mem_zero(2 * sizeof *two);
  error *e = NULL;
  if (text == NULL || all < 0)
    e = vds_errno(errno,
                  "the disks cannot be listed; are /proc and /sys "
                  "mounted?",
                  all < 0 ? "/sys/class/block" : "/proc/partitions");
  else if (two == NULL || names == NULL)
    e = error_no_memory();
  for (size_t i = 0; e == NULL && two != NULL && names != NULL && i < count;
       i++) {
    bool part = belongs(&two[0], names[i]);
    vds_about *a = &two[part];
    bool good = read_named(all, some, names[i], part ? two[0].dev : 0, a);
    e = is_lost(errno);
    if (e != NULL) break;
    if (!good) continue;
    if (a->number > 0 && !part) continue; /* its disk went meanwhile */
    if (a->number > 0) a->seq = two[0].seq;
    if (a->number == 0 && part) { /* a disk whose name begins like another's */
      a->whole = a->dev;
      two[0] = *a;
    }
    e = each(context, a);
  }
  mem_free(text);
  mem_free(names);
  mem_free(two);
  if (all >= 0) close(all);
  if (some >= 0) close(some);
  return e;
}


error *vds_about_partitions(dev_t whole, each_one each, void *context) {
  int dir = directory_of(whole);
  if (dir < 0) return not_there(whole);
  vds_about *two = mem_alloc(2 * sizeof *two);
  if (two == NULL) {
    close(dir);
    return error_no_memory();
  }
  error *e = read_light(dir, 0, &two[0]) ? NULL : not_there(whole);
  if (e == NULL) e = walk_partitions(dir, &two[0], &two[1], each, context);
  mem_free(two);
  close(dir);
  return e;
}


/* ------------------------------------------------------------------
** What stands on what
** ---------------------------------------------------------------- */

size_t vds_about_slaves(dev_t dev, dev_t *list, size_t most) {
  char path[NAME_MAX + 16];
  size_t count = 0;
  int dir = directory_of(dev);
  if (dir < 0) return 0;
  int in = openat(dir, "slaves", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *all = in >= 0 ? fdopendir(in) : NULL;
  for (struct dirent *e;
       all != NULL && count < most && (e = readdir(all)) != NULL;) {
    if (e->d_name[0] == '.') continue;
    snprintf(path, sizeof path, "%s/dev", e->d_name);
    dev_t other = device_at(dirfd(all), path);
    if (other != 0) list[count++] = other;
  }
  if (all != NULL) closedir(all);
  close(dir);
  return count;
}


static void btrfs_members(int all, const char *id,
                          void (*each)(void *, const char *, dev_t),
                          void *context) {
  char path[NAME_MAX + 16];
  snprintf(path, sizeof path, "%s/devices", id);
  int in = openat(all, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *d = in >= 0 ? fdopendir(in) : NULL;
  for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
    if (e->d_name[0] == '.') continue;
    snprintf(path, sizeof path, "%s/dev", e->d_name);
    dev_t dev = device_at(dirfd(d), path);
    if (dev != 0) each(context, id, dev);
  }
  if (d != NULL) closedir(d);
}


void vds_about_btrfs(void (*each)(void *, const char *, dev_t), void *context) {
  int all = open("/sys/fs/btrfs", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *d = all >= 0 ? fdopendir(all) : NULL;
  for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;)
    if (strlen(e->d_name) == GUID_TEXT - 1)
      btrfs_members(dirfd(d), e->d_name, each, context);
  if (d != NULL) closedir(d);
}


/* ------------------------------------------------------------------
** Nodes
** ---------------------------------------------------------------- */

static error *check_node(dev_t dev, const char *path) {
  struct stat st;
  if (stat(path, &st) != 0)
    return vds_errno(errno,
                     "the kernel has this device, but its node cannot "
                     "be looked at",
                     path);
  if (S_ISBLK(st.st_mode) && st.st_rdev == dev) return NULL;
  return vds_error(VDS_E_OBJECT_OUT_OF_SYNC,
                   "%s is not the device %u:%u that the kernel calls so; "
                   "nothing was done to it",
                   path, major(dev), minor(dev));
}


error *vds_about_path(const vds_about *a, char path[80]) {
  snprintf(path, 80, "/dev/%s", a->name);
  return check_node(a->dev, path);
}


error *vds_about_node(dev_t dev, char path[80]) {
  char text[1024];
  int dir = directory_of(dev);
  if (dir < 0) return not_there(dev);
  const char *name = NULL;
  if (read_at(dir, "uevent", text, sizeof text))
    name = line_of(text, "DEVNAME");
  close(dir);
  if (name == NULL) return not_there(dev);
  int n = snprintf(path, 80, "/dev/%.*s", (int)strcspn(name, "\n"), name);
  return n < 0 || n >= 80 ? not_there(dev) : check_node(dev, path);
}
