/*
** What tests of the end of jobs share: files that come from the test, not from
** a server, and what has become of them. The manager, `m`, begins nothing.
*/
#ifndef SAROS_SPEC_BITS_END_CASE_H
#define SAROS_SPEC_BITS_END_CASE_H

#include "bits/job_parts.h"
#include "bits/part.h"
#include "bits_case.h"

static bits_manager *m;

static inline bits_job *job_with(const char *options, unsigned files) {
  static unsigned names;
  bits_job *j = make_job(m, options);
  for (unsigned i = 0; i < files; i++) {
    char name[40];
    snprintf(name, sizeof name, "end-%u", ++names);
    CHECK(add_file(j, "http://127.0.0.1:1/x", name));
  }
  return j;
}

/* So many bytes of it are here, and all of them were fetched if it is whole. */
static inline void fetched(bits_job *j, uint32_t number, bool whole) {
  bits_file *f = j->files[number];
  const char *what;
  bits_part p = PART_CLOSED;
  char text[20];
  int size = snprintf(text, sizeof text, "file %u", number);
  CHECK_INT(bits_part_create(&p, f, PART_MODE, &what), 0);
  CHECK_INT(bits_part_write(&p, 0, text, (size_t)size), 0);
  bits_known *k = mem_zero(sizeof *k);
  k->etag = mem_text("\"1\"");
  k->device = p.device;
  k->inode = p.inode;
  k->total = (uint64_t)size + !whole;
  snprintf(k->boot, sizeof k->boot, "%s", bits_boot());
  bits_part_close(&p);
  bits_file_know(f, k);
  bits_file_size(f, k->total);
  atomic_store(&f->have, (uint64_t)size);
  if (!whole) return;
  pthread_mutex_lock(&m->lock);
  bits_keeper_finish(m, f);
  pthread_mutex_unlock(&m->lock);
}

/* Fetched, all of it. */
static inline bits_job *whole_job(const char *options, unsigned files) {
  bits_job *j = job_with(options, files);
  CHECK(is_fine(bits_job_resume(j)));
  for (uint32_t i = 0; i < files; i++) fetched(j, i, true);
  CHECK(await_state(j, BITS_TRANSFERRED));
  return j;
}

static inline bool has_done(bits_job *j, uint32_t files) {
  pthread_mutex_lock(&m->lock);
  bool done = j->files_done == files;
  pthread_mutex_unlock(&m->lock);
  return done;
}

static inline bool has_name(const bits_job *j, uint32_t i) {
  struct stat s;
  return lstat(j->files[i]->path, &s) == 0;
}

static inline bool has_part(const bits_job *j, uint32_t i) {
  struct stat s;
  char *part = bits_part_name(j->files[i]);
  bool there = lstat(part, &s) == 0;
  mem_free(part);
  return there;
}

static inline bool has_left(bits_job *j) {
  bits_job *found = bits_manager_job(m, bits_job_id(j));
  if (found != NULL) bits_job_unref(found);
  return found == NULL;
}

static inline uint32_t complete(bits_job *j, uint32_t *code) {
  *code = 99;
  return code_of(bits_job_complete(j, code));
}

static inline uint32_t cancel(bits_job *j, uint32_t *code) {
  *code = 99;
  return code_of(bits_job_cancel(j, code));
}

static inline void remove_names(bits_job *j) {
  for (uint32_t i = 0; i < j->file_count; i++) unlink(j->files[i]->path);
}

static inline void write_file(const char *path) {
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC, 0600);
  CHECK(fd >= 0 && write(fd, "mine", 4) == 4);
  close(fd);
}

#endif
