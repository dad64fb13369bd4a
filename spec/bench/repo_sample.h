/*
** The beginning of each file below a directory, in memory, and the clocks.
*/
#ifndef SAROS_BENCH_REPO_SAMPLE_H
#define SAROS_BENCH_REPO_SAMPLE_H

#include <fcntl.h>
#include <ftw.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

/* Of more than this only the beginnings are taken, and figures scaled. */
#define SAMPLE_MOST ((size_t)192 << 20)
/* What small files may take of that, however many there are. */
#define SAMPLE_LEAST ((size_t)64 << 10)

typedef struct sample_file {
  size_t at, size; /* in the sample */
  char *path;
  uint64_t whole; /* its size */
} sample_file;

typedef struct sample {
  uint8_t *data;
  size_t size;
  uint64_t whole; /* bytes of all the files */
  sample_file *files;
  size_t count, room;
} sample;

static sample sample_of;

static inline double seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static inline double cpu_of(const struct rusage *u) {
  return (double)(u->ru_utime.tv_sec + u->ru_stime.tv_sec) +
         (double)(u->ru_utime.tv_usec + u->ru_stime.tv_usec) * 1e-6;
}

/* Of all threads. */
static inline double cpu(void) {
  struct rusage u;
  getrusage(RUSAGE_SELF, &u);
  return cpu_of(&u);
}

static inline void die(const char *what) {
  perror(what);
  exit(1);
}

static inline void *memory(size_t size) {
  void *p = malloc(size);
  if (p == NULL) die("memory");
  return p;
}

static inline int sample_add(const char *path, const struct stat *st, int type,
                             struct FTW *at) {
  sample *s = &sample_of;
  (void)at;
  if (type != FTW_F) return 0;
  if (s->count == s->room) {
    s->room = s->room * 2 + 64;
    s->files = realloc(s->files, s->room * sizeof *s->files);
    if (s->files == NULL) die("memory");
  }
  sample_file *f = &s->files[s->count++];
  *f = (sample_file){.path = strdup(path), .whole = (uint64_t)st->st_size};
  if (f->path == NULL) die("memory");
  s->whole += f->whole;
  return 0;
}

/* The files of a directory, and the beginning of each in memory. */
static inline const sample *sample_take(const char *dir) {
  sample *s = &sample_of;
  if (nftw(dir, sample_add, 64, FTW_PHYS) != 0 || s->count == 0) die(dir);
  double share =
      s->whole > SAMPLE_MOST ? (double)SAMPLE_MOST / (double)s->whole : 1;
  for (size_t i = 0; i < s->count; i++) {
    sample_file *f = &s->files[i];
    size_t part = (size_t)((double)f->whole * share);
    if (part < SAMPLE_LEAST) part = SAMPLE_LEAST;
    f->at = s->size;
    f->size = part < f->whole ? part : (size_t)f->whole;
    /* Of many small files the first will do. */
    if (s->size + f->size > SAMPLE_MOST + SAMPLE_LEAST) f->size = 0;
    s->size += f->size;
  }
  s->data = memory(s->size + 1);
  for (size_t i = 0; i < s->count; i++) {
    const sample_file *f = &s->files[i];
    if (f->size == 0) continue;
    int fd = open(f->path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, s->data + f->at, f->size) != (ssize_t)f->size)
      die(f->path);
    close(fd);
  }
  return s;
}

/* What the whole costs when this sample costs so much. */
static inline double sample_scale(const sample *s, double cost) {
  return cost * (double)s->whole / (double)s->size;
}

#endif
