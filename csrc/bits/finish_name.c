/*
** Durable, then named: in this order a file that is there is whole, whatever
** dies. Many files are synced together, then all named, then each directory
** synced once.
*/
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bits/finish_parts.h"
#include "bits/judge.h"

/* From so many files on one sync of their file system costs less than one of
   each (a journal's commit, and a flush of the disk). */
#define TOGETHER 16u
#define DISKS 8u

/* ------------------------------------------------------------------
** Durable
** ---------------------------------------------------------------- */

/* File systems that are to be synced as such. */
typedef struct disks {
  dev_t device[DISKS];
  int fd[DISKS];
  int number[DISKS]; /* what came of it */
  unsigned count;
} disks;

/* Where a file lies; DISKS: nowhere that there is room for. */
static unsigned disk_of(const disks *d, dev_t device) {
  unsigned i = 0;
  while (i < d->count && d->device[i] != device) i++;
  return i < d->count ? i : DISKS;
}

/* True: the disk keeps the descriptor. */
static bool put_disk(disks *d, dev_t device, int fd) {
  if (d->count == DISKS || disk_of(d, device) != DISKS) return false;
  d->device[d->count] = device;
  d->fd[d->count++] = fd;
  return true;
}

static void sync_disks(disks *d) {
  for (unsigned i = 0; i < d->count; i++) {
    d->number[i] = syncfs(d->fd[i]) == 0 ? 0 : errno;
    close(d->fd[i]);
  }
}

/* Nobody is told twice that something could not be written: none of what is
   there can be trusted any more. */
static void not_written(bits_file *f, int number, bits_result *r) {
  bits_finish_local(f, number, "it could not be made durable", r);
  atomic_store(&f->have, 0);
  bits_file_know(f, NULL);
}

/* One that needs it, alone; of many only its disk is noted. */
static void sync_one(bits_file *f, int fd, disks *together, bool *kept,
                     bits_result *r) {
  if (bits_finish_is_durable(f)) {
    int number = bits_part_check(fd);
    if (number != 0) not_written(f, number, r);
    return;
  }
  if (together != NULL) {
    *kept = put_disk(together, (dev_t)f->known->device, fd);
    if (disk_of(together, (dev_t)f->known->device) != DISKS) return;
  }
  if (fdatasync(fd) != 0) not_written(f, errno, r);
}

static void prepare(bits_file *f, mode_t mode, bool syncs, disks *together,
                    bits_result *r) {
  bool kept = false;
  if (!syncs && bits_finish_is_ready(f, mode)) {
    *r = (bits_result){.end = BITS_END_WHOLE};
    return;
  }
  int fd = bits_finish_open(f, r);
  if (fd < 0) return;
  if (fchmod(fd, mode) != 0)
    bits_finish_local(f, errno, "its mode cannot be set", r);
  else if (syncs)
    sync_one(f, fd, together, &kept, r);
  if (!kept) close(fd);
}

/* One whose disk was synced. */
static void check_one(bits_file *f, int number, bits_result *r) {
  int fd = number == 0 ? bits_finish_open(f, r) : -1;
  if (fd >= 0) {
    number = bits_part_check(fd);
    close(fd);
  }
  if (number != 0) not_written(f, number, r);
}

static void prepare_all(bits_file *const *files, const bits_terms *terms,
                        size_t count, mode_t mode, bits_result *r) {
  bool syncs = terms->durability != BITS_DURABLE_NONE;
  bool many = terms->durability == BITS_DURABLE_GROUP && count >= TOGETHER;
  disks d = {.count = 0};
  for (size_t i = 0; i < count; i++) {
    prepare(files[i], mode, syncs, many ? &d : NULL, &r[i]);
  }
  if (!many) return;
  sync_disks(&d);
  for (size_t i = 0; i < count; i++) {
    if (r[i].end != BITS_END_WHOLE || bits_finish_is_durable(files[i]))
      continue;
    unsigned n = disk_of(&d, (dev_t)files[i]->known->device);
    if (n != DISKS) check_one(files[i], d.number[n], &r[i]);
  }
}

/* ------------------------------------------------------------------
** Named
** ---------------------------------------------------------------- */

/* As if the caller's process had made it. It can be read only by being set,
   but for here. */
static mode_t mode_of_files(void) {
  char text[4096];
  unsigned mask = 077;
  int fd = open("/proc/self/status", O_RDONLY | O_CLOEXEC);
  ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
  if (fd >= 0) close(fd);
  text[n > 0 ? n : 0] = '\0';
  const char *line = strstr(text, "\nUmask:");
  if (line == NULL || sscanf(line + 7, "%o", &mask) != 1) mask = 077;
  return FINISH_MODE & ~(mode_t)mask;
}

/* Where there is no way to rename without taking a name that somebody has. */
static int link_then_unlink(int directory, const char *part, const char *name) {
  if (linkat(directory, part, directory, name, 0) != 0) return errno;
  return unlinkat(directory, part, 0) == 0 ? 0 : errno;
}

static int rename_part(int directory, const char *part, const char *name,
                       bool overwrite) {
  if (overwrite)
    return renameat(directory, part, directory, name) == 0 ? 0 : errno;
  if (renameat2(directory, part, directory, name, RENAME_NOREPLACE) == 0)
    return 0;
  if (errno != EINVAL && errno != ENOSYS) return errno;
  return link_then_unlink(directory, part, name);
}

/* Where neither is possible: without RENAME_NOREPLACE, nor links. */
static bool is_no_way(int number) {
  return number == EPERM || number == EOPNOTSUPP || number == ENOSYS;
}

static int give_name(int directory, const bits_file *f, bool overwrite) {
  char *path = bits_part_name(f);
  if (path == NULL) return ENOMEM;
  const char *part = strrchr(path, '/') + 1;
  int number =
      rename_part(directory, part, strrchr(f->path, '/') + 1, overwrite);
  /* It has both names, because somebody died between the two steps. */
  if (number == EEXIST && bits_finish_is_named(f))
    number = unlinkat(directory, part, 0) == 0 ? 0 : errno;
  mem_free(path);
  return number == ENOENT && bits_finish_is_named(f) ? 0 : number;
}

static void explain(const bits_file *f, const char *what, bits_result *r) {
  snprintf(r->why, sizeof r->why, "%s: %.250s", what, f->path);
}

static void name_one(int directory, bits_file *f, const bits_terms *terms,
                     bits_result *r) {
  int number = give_name(directory, f, terms->overwrite);
  if (number == 0) return;
  bits_finish_local(f, number, "it cannot be given its name", r);
  if (number == EEXIST)
    explain(f,
            "there is a file of this name meanwhile, take it away or let the "
            "job overwrite it",
            r);
  else if (is_no_way(number) && !terms->overwrite)
    explain(f,
            "this file system cannot give a name only where nobody has it; let "
            "the job overwrite",
            r);
}

/* Files one after the other in the same directory. */
static size_t in_one_directory(bits_file *const *files, size_t count) {
  const char *first = files[0]->path;
  size_t size = (size_t)(strrchr(first, '/') + 1 - first), n = 1;
  while (n < count && strncmp(files[n]->path, first, size) == 0 &&
         strchr(files[n]->path + size, '/') == NULL)
    n++;
  return n;
}

static int open_directory(const char *path) {
  char *parent = path_parent(path);
  if (parent == NULL) {
    errno = ENOMEM;
    return -1;
  }
  int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  int number = errno;
  mem_free(parent);
  errno = number;
  return fd;
}

static void name_in_directory(bits_file *const *files, const bits_terms *terms,
                              size_t count, bits_result *r) {
  bool syncs = terms->durability != BITS_DURABLE_NONE;
  int number = 0, fd = open_directory(files[0]->path);
  if (fd < 0) number = errno;
  for (size_t i = 0; i < count && number == 0; i++)
    if (r[i].end == BITS_END_WHOLE) name_one(fd, files[i], terms, &r[i]);
  /* Some file systems have no such thing for directories. */
  if (number == 0 && syncs && fsync(fd) != 0 && errno != EINVAL) number = errno;
  if (fd >= 0) close(fd);
  for (size_t i = 0; i < count; i++) {
    if (number != 0 && r[i].end == BITS_END_WHOLE)
      bits_finish_local(files[i], number, "its directory cannot be used",
                        &r[i]);
  }
}

static void finish(bits_file *const *files, const bits_terms *terms,
                   size_t count, mode_t mode, bits_result *r) {
  prepare_all(files, terms, count, mode, r);
  for (size_t i = 0, n; i < count; i += n) {
    n = in_one_directory(files + i, count - i);
    name_in_directory(files + i, terms, n, r + i);
  }
}

/* ------------------------------------------------------------------
** By two: of many that need not be synced the time goes into looking them up
** and into their rows, and only one at a time can change a directory.
** ---------------------------------------------------------------- */

#define BY_TWO 64u

typedef struct share {
  bits_file *const *files;
  const bits_terms *terms;
  size_t count;
  mode_t mode;
  bits_result *r;
} share;

static void *finish_share(void *context) {
  const share *s = context;
  prctl(PR_SET_NAME, "saros-names");
  finish(s->files, s->terms, s->count, s->mode, s->r);
  return NULL;
}

void bits_finish_name(bits_file *const *files, const bits_terms *terms,
                      size_t count, bits_result *r) {
  pthread_t other;
  mode_t mode = mode_of_files();
  bool many = count >= BY_TWO && terms->durability == BITS_DURABLE_NONE;
  size_t own = many ? count / 2 : count;
  share rest = {files + own, terms, count - own, mode, r + own};
  bool two = many && bits_thread_begin(&other, finish_share, &rest) == 0;
  finish(files, terms, two ? own : count, mode, r);
  if (two) pthread_join(other, NULL);
}
