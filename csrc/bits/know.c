/*
** What a try tells the manager of its file. On the I/O thread; the row is
** written with the next commit. (bits_file_commit is in keeper_wait.c,
** bits_file_marks and bits_file_has_row in file.c.)
*/
#include "bits/parts.h"

void bits_file_know(bits_file *f, bits_known *k) {
  bits_manager *m = f->job->m;
  pthread_mutex_lock(&m->lock);
  bits_known *before = f->known;
  f->known = k;
  f->stale = f->stale || (k == NULL && before != NULL);
  bits_file_touch(f);
  pthread_mutex_unlock(&m->lock);
  bits_known_free(before);
}

void bits_file_mark(bits_file *f, uint8_t set, uint8_t clear) {
  bits_manager *m = f->job->m;
  pthread_mutex_lock(&m->lock);
  f->marks = (uint8_t)((f->marks & ~clear) | set);
  bits_file_touch(f);
  pthread_mutex_unlock(&m->lock);
}

void bits_file_size(bits_file *f, uint64_t size) {
  bits_manager *m = f->job->m;
  pthread_mutex_lock(&m->lock);
  if (f->size != size) {
    f->size = size;
    bits_file_touch(f);
  }
  pthread_mutex_unlock(&m->lock);
}

void bits_file_upload(bits_file *f, char *json) {
  bits_manager *m = f->job->m;
  pthread_mutex_lock(&m->lock);
  if (f->extra == NULL && json != NULL) f->extra = mem_zero(sizeof *f->extra);
  char *before = json;
  if (f->extra != NULL) {
    before = f->extra->upload;
    f->extra->upload = json;
  }
  bits_file_touch(f);
  pthread_mutex_unlock(&m->lock);
  mem_free(before);
}
