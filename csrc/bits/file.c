/*
** Files of a job: what they own, and what their partial files are called.
*/
#include <stdio.h>
#include <string.h>

#include "bits/parts.h"

void bits_known_free(bits_known *k) {
  if (k == NULL) return;
  mem_free(k->etag);
  mem_free(k->modified);
  mem_free(k->encoding);
  mem_free(k->digest);
  mem_free(k);
}

/* An upload's memory has no secrets: it names parts and digests. */
void bits_extra_free(bits_extra *x) {
  if (x == NULL) return;
  mem_free(x->sha256);
  mem_free(x->ranges);
  mem_free(x->upload);
  mem_free(x);
}

static bool copy(char **to, const char *from) {
  *to = mem_text(from);
  return *to != NULL || from == NULL;
}

bits_known *bits_known_copy(const bits_known *k) {
  bits_known *other = mem_zero(sizeof *other);
  if (other == NULL) return NULL;
  *other = *k;
  bool whole = copy(&other->etag, k->etag);
  whole &= copy(&other->modified, k->modified);
  whole &= copy(&other->encoding, k->encoding);
  whole &= copy(&other->digest, k->digest);
  if (whole) return other;
  bits_known_free(other);
  return NULL;
}

uint64_t bits_file_length(const bits_file *f) {
  const bits_extra *x = f->extra;
  uint64_t total = f->known != NULL ? f->known->total : BITS_UNKNOWN, sum = 0;
  if (x == NULL || x->ranges == NULL) return total;
  for (uint32_t i = 0; i < x->range_count; i++) {
    const bits_range *r = &x->ranges[i];
    uint64_t length = r->length;
    if (length == BITS_UNKNOWN) {
      if (total == BITS_UNKNOWN) return BITS_UNKNOWN;
      length = total > r->offset ? total - r->offset : 0;
    }
    sum += length;
  }
  return sum;
}

uint8_t bits_file_marks(bits_file *f) {
  pthread_mutex_lock(&f->job->m->lock);
  uint8_t marks = f->marks;
  pthread_mutex_unlock(&f->job->m->lock);
  return marks;
}

bool bits_file_has_row(bits_file *f) {
  pthread_mutex_lock(&f->job->m->lock);
  bool has = !f->rowless;
  pthread_mutex_unlock(&f->job->m->lock);
  return has;
}

#define NAME_MOST 255u /* bytes, of a name: NAME_MAX everywhere */

/* A name that is cut is cut between two characters. */
static size_t cut(const char *name, size_t size, size_t most) {
  if (size <= most) return size;
  while (most > 0 && ((unsigned char)name[most] & 0xC0) == 0x80) most--;
  return most;
}

char *bits_part_name(const bits_file *f) {
  const char *slash = strrchr(f->path, '/');
  const char *name = slash != NULL ? slash + 1 : f->path;
  char tail[48];
  int n = snprintf(tail, sizeof tail, ".%.8s-%lu.part", f->job->guid,
                   (unsigned long)f->number);
  int before = (int)(name - f->path);
  size_t behind = (size_t)n;
  size_t kept = cut(name, strlen(name), NAME_MOST - 1 - behind);
  size_t size = (size_t)before + 1 + kept + behind + 1;
  char *path = mem_alloc(size);
  if (path != NULL)
    snprintf(path, size, "%.*s.%.*s%s", before, f->path, (int)kept, name, tail);
  return path;
}
