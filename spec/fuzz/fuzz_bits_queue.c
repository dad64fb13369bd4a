/*
** The queue's file, made by somebody else. The input is the database; opened,
** mended if need be, loaded, written, and then it must be sound.
*/
#include <dirent.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bits/queue.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char folder[100], path[200];

static void empty(void) {
  DIR *d = opendir(folder);
  const struct dirent *entry;
  while (d != NULL && (entry = readdir(d)) != NULL)
    if (entry->d_name[0] != '.') unlinkat(dirfd(d), entry->d_name, 0);
  if (d != NULL) closedir(d);
}

static void leave(void) {
  empty();
  rmdir(folder);
}

static void begin(void) {
  snprintf(folder, sizeof folder, "%s/saros-queue-XXXXXX",
           access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp");
  if (mkdtemp(folder) == NULL) abort();
  snprintf(path, sizeof path, "%s/queue.db", folder);
  atexit(leave);
}

static void put(const char *suffix, const void *data, size_t size) {
  char name[300];
  snprintf(name, sizeof name, "%s%s", path, suffix);
  int fd = open(name, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  if (fd < 0 || write(fd, data, size) != (ssize_t)size) abort();
  close(fd);
}

static int jobs, files;

static error *job(void *context, const queue_job *row) {
  (void)context;
  if (strlen(row->guid) != 36 || row->id <= 0 || row->properties == NULL)
    abort();
  jobs++;
  return NULL;
}

static error *file(void *context, const queue_file *row) {
  (void)context;
  if (row->url == NULL || row->path == NULL || row->have < 0 || row->size < -1)
    abort();
  files++;
  return NULL;
}

static bits_queue *open_queue(bool *damaged) {
  bool owner = true;
  error *told = NULL, *e = NULL;
  bits_queue *q = bits_queue_open(path, &owner, &told, &e);
  *damaged = told != NULL;
  if (q == NULL && e == NULL) abort();
  error_unref(told);
  error_unref(e);
  return q;
}

static void must(error *e) {
  if (e != NULL) {
    printf("%s\n", e->message);
    abort();
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static const queue_calls calls = {.job = job, .file = file};
  bool damaged;
  if (folder[0] == '\0') begin();
  empty();
  put("", data, size);
  put(".owner", "saros queue 1\n", 14);
  bits_queue *q = open_queue(&damaged);
  if (q == NULL) return 0; /* of a newer version */
  jobs = files = 0;
  must(bits_queue_load(q, &calls, NULL));
  queue_file row = {.job = 5, .url = "u", .path = "p", .size = -1};
  queue_job its = {.id = 5,
                   .guid = "00000000-0000-4000-8000-000000000005",
                   .properties = "{}"};
  must(bits_queue_begin(q, false));
  must(bits_queue_drop_job(q, 5));
  must(bits_queue_put_job(q, &its));
  must(bits_queue_put_file(q, &row));
  must(bits_queue_commit(q));
  bits_queue_close(q);
  q = open_queue(&damaged);
  if (q == NULL || damaged) abort();
  jobs = files = 0;
  must(bits_queue_load(q, &calls, NULL));
  if (jobs < 1 || files < 1) abort();
  bits_queue_close(q);
  return 0;
}
