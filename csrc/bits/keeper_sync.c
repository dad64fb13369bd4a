/*
** Bytes of partial files get to the disk, for those that have their names
** later. One file by itself; those of a whole job by the file systems they are
** on, which takes little longer.
*/
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bits/keeper.h"
#include "bits/part.h"

#define FEW 8           /* files that are synced one by one */
#define MOST_SYSTEMS 16 /* file systems that are remembered */

static int open_part(const bits_file *f) {
  char *part = bits_part_name(f);
  if (part == NULL) {
    errno = ENOMEM;
    return -1;
  }
  int fd = open(part, O_RDONLY | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
  int number = errno;
  mem_free(part);
  errno = number;
  return fd;
}

/* With the lock. */
static bool is_durable(const bits_file *f) {
  const bits_known *k = f->known;
  return (f->marks & BITS_FILE_APPEARED) != 0 ||
         (k != NULL && k->durable >= atomic_load(&f->have));
}

int bits_sync_part(bits_file *f) {
  bits_manager *m = f->job->m;
  struct stat s;
  int fd = open_part(f);
  if (fd < 0) return errno;
  bool good = fdatasync(fd) == 0 && fstat(fd, &s) == 0;
  int number = errno;
  close(fd);
  if (!good) return number;
  pthread_mutex_lock(&m->lock);
  if (f->known != NULL) {
    f->known->durable = (uint64_t)s.st_size;
    f->known->device = s.st_dev;
    snprintf(f->known->boot, sizeof f->known->boot, "%s", bits_boot());
    bits_file_touch(f);
  }
  pthread_mutex_unlock(&m->lock);
  return 0;
}

/* ------------------------------------------------------------------
** All of a job: its first `count` files are whole, and nobody else's meanwhile.
** More may be added, for which the list of them is moved.
** ---------------------------------------------------------------- */

static bits_file *file_at(bits_job *j, uint32_t i) {
  pthread_mutex_lock(&j->m->lock);
  bits_file *f = j->files[i];
  pthread_mutex_unlock(&j->m->lock);
  return f;
}

typedef struct systems {
  dev_t done[MOST_SYSTEMS];
  size_t count;
  char *parent; /* of the file before: most are where that was */
} systems;

static bool is_done(const systems *s, dev_t device) {
  for (size_t i = 0; i < s->count; i++)
    if (s->done[i] == device) return true;
  return false;
}

/* Unless it is where the one before was. */
static int sync_system(systems *s, const bits_file *f) {
  struct stat about;
  char *parent = path_parent(f->path);
  if (parent == NULL) return ENOMEM;
  bool same = s->parent != NULL && strcmp(s->parent, parent) == 0;
  mem_free(s->parent);
  s->parent = parent;
  if (same) return 0;
  int fd = open(parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) return errno;
  int number = fstat(fd, &about) != 0 ? errno : 0;
  if (number == 0 && !is_done(s, about.st_dev)) {
    number = syncfs(fd) != 0 ? errno : 0;
    if (number == 0 && s->count < MOST_SYSTEMS)
      s->done[s->count++] = about.st_dev;
  }
  close(fd);
  return number;
}

static int sync_many(bits_job *j, uint32_t count) {
  systems s = {.count = 0};
  int number = 0;
  for (uint32_t i = 0; number == 0 && i < count; i++)
    number = sync_system(&s, file_at(j, i));
  mem_free(s.parent);
  return number;
}

static int sync_each(bits_job *j, uint32_t count, bits_file **failed) {
  for (uint32_t i = 0; i < count; i++) {
    *failed = file_at(j, i);
    pthread_mutex_lock(&j->m->lock);
    bool durable = is_durable(*failed);
    pthread_mutex_unlock(&j->m->lock);
    int number = durable ? 0 : bits_sync_part(*failed);
    if (number != 0) return number;
  }
  return 0;
}

/* A file system does not say which of its files has failed: then each is
   asked. */
int bits_sync_job(bits_job *j, uint32_t count, bits_file **failed) {
  bits_manager *m = j->m;
  uint32_t left = 0;
  pthread_mutex_lock(&m->lock);
  for (uint32_t i = 0; i < count && left <= FEW; i++)
    left += !is_durable(j->files[i]);
  pthread_mutex_unlock(&m->lock);
  int number = left > FEW ? sync_many(j, count) : -1;
  if (number != 0) number = sync_each(j, count, failed);
  if (number != 0) return number;
  pthread_mutex_lock(&m->lock);
  j->marks |= BITS_JOB_DURABLE;
  bits_job_touch(j);
  pthread_mutex_unlock(&m->lock);
  return 0;
}
