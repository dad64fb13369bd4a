/*
** A place for files of a job, with a job and a manager that do nothing: for
** what works on one file.
*/
#ifndef SAROS_SPEC_BITS_FILE_CASE_H
#define SAROS_SPEC_BITS_FILE_CASE_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bits/part.h"
#include "bits/parts.h"
#include "check.h"

typedef struct place {
  char root[128];
  bits_manager m;
  bits_job job;
} place;

/* Below `base`; NULL: where temporary files are. */
static inline void place_make(place *p, const char *base) {
  memset(p, 0, sizeof *p);
  int n = snprintf(p->root, sizeof p->root, "%s/saros-bits-XXXXXX",
                   base != NULL ? base : "/tmp");
  if (n >= (int)sizeof p->root || mkdtemp(p->root) == NULL) abort();
  pthread_mutex_init(&p->m.lock, NULL);
  p->job.m = &p->m;
  strcpy(p->job.guid, "0badcafe-0000-4000-8000-000000000000");
}

static inline void place_wipe(int parent, const char *name) {
  int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
  if (d == NULL) {
    unlinkat(parent, name, 0);
    return;
  }
  for (struct dirent *e; (e = readdir(d)) != NULL;)
    if (strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0)
      place_wipe(fd, e->d_name);
  closedir(d);
  unlinkat(parent, name, AT_REMOVEDIR);
}

static inline void place_end(place *p) {
  pthread_mutex_destroy(&p->m.lock);
  place_wipe(AT_FDCWD, p->root);
}

static inline char *place_path(const place *p, const char *name) {
  char *path = malloc(strlen(p->root) + strlen(name) + 2);
  sprintf(path, "%s/%s", p->root, name);
  return path;
}

/* How many names are in it. */
static inline int place_names(const place *p) {
  DIR *d = opendir(p->root);
  int n = 0;
  for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;)
    n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
  if (d != NULL) closedir(d);
  return n;
}

static inline bits_file *file_make(place *p, uint32_t number,
                                   const char *name) {
  bits_file *f = mem_zero(sizeof *f);
  char *path = place_path(p, name);
  f->job = &p->job;
  f->number = number;
  f->path = mem_text(path);
  f->size = BITS_UNKNOWN;
  free(path);
  return f;
}

static inline void file_end(bits_file *f) {
  bits_known_free(f->known);
  bits_extra_free(f->extra);
  mem_free(f->url);
  mem_free(f->path);
  mem_free(f);
}

/* As if this part were the one that is known. */
static inline void file_know(bits_file *f, const bits_part *part,
                             uint64_t total) {
  bits_known_free(f->known);
  f->known = mem_zero(sizeof *f->known);
  f->known->etag = mem_text("\"a\"");
  f->known->total = total;
  f->known->device = part->device;
  f->known->inode = part->inode;
  strcpy(f->known->boot, bits_boot());
}

static inline void file_put(const char *path, const void *data, size_t size) {
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (fd < 0 || write(fd, data, size) != (ssize_t)size) abort();
  close(fd);
}

static inline bool file_has(const char *path, const void *data, size_t size) {
  char *room = malloc(size + 1);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  bool same = fd >= 0 && read(fd, room, size + 1) == (ssize_t)size &&
              memcmp(room, data, size) == 0;
  if (fd >= 0) close(fd);
  free(room);
  return same;
}

#endif
