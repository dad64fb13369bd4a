/*
** Rows of a queue that somebody else has written, fuzzed: what is stored of a
** job, and of a file. The first byte says which. Whatever is read can be
** written, and reads back as the same; what a script sets is either refused,
** and nothing is changed, or is there; no reference leads anywhere.
*/
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "bits/job_parts.h"

#define REQUIRE(condition)                                            \
  do {                                                                \
    if (!(condition)) {                                               \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
      abort();                                                        \
    }                                                                 \
  } while (0)

__attribute__((weak)) const saros_api *saros_api_table;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ID "01234567-89ab-4cde-8f01-23456789abcd"

/* Only its lock and its clock are looked at. */
static bits_manager manager;

static void begin(void) {
  static bool begun;
  if (begun) return;
  begun = true;
  pthread_mutex_init(&manager.lock, NULL);
  atomic_init(&manager.refs, 1u << 30);
  manager.clock_base = 1000000;
}

static bits_job *new_job(void) {
  bits_job *j = bits_job_new(&manager, ID, 1, BITS_DOWNLOAD);
  REQUIRE(j != NULL);
  return j;
}

/* A reference would be read from a disk. */
static bool refers(const char *text) {
  return strstr(text, "file:") != NULL || strstr(text, "\\u") != NULL;
}

static value *read_text(const char *text) {
  error *e = NULL;
  value *v = json_read(text, strlen(text), NULL, &e);
  error_unref(e);
  return v;
}

/* ------------------------------------------------------------------
** Jobs
** ---------------------------------------------------------------- */

static void check_job(const bits_job *j) {
  uint64_t now = bits_now(&manager);
  REQUIRE(j->priority <= BITS_LOW && j->touched_at > 0);
  REQUIRE(j->progress_at <= now && j->touched_at <= now && j->begun_at <= now);
  REQUIRE(j->failure.code == 0 || code_failed(j->failure.code));
  REQUIRE(j->failure.context <= BITS_CONTEXT_APPLICATION);
  REQUIRE((j->marks & (BITS_JOB_BUSY | BITS_JOB_DIRTY | BITS_JOB_GONE |
                       BITS_JOB_ENDING)) == 0);
  for (uint32_t i = 0; i < j->terms->header_count; i++) {
    const bits_header *h = &j->terms->headers[i];
    REQUIRE(h->name != NULL && strpbrk(h->name, "\r\n: ") == NULL);
    REQUIRE(h->value != NULL || h->secret);
    if (h->value != NULL) REQUIRE(strpbrk(h->value, "\r\n") == NULL);
  }
  REQUIRE(j->properties != NULL && j->properties->type == VALUE_MAP);
}

static void job_row(const char *text) {
  value *v = read_text(text);
  if (v == NULL) return;
  bits_job *j = new_job(), *again = new_job();
  error_unref(bits_properties_read(j, v, true));
  value_free(v);
  check_job(j);
  char *row = bits_properties_write(j);
  REQUIRE(row != NULL);
  v = read_text(row);
  REQUIRE(v != NULL);
  REQUIRE(bits_properties_read(again, v, true) == NULL);
  value_free(v);
  check_job(again);
  char *same = bits_properties_write(again);
  if (strcmp(row, same) != 0) fprintf(stderr, "%s\n%s\n", row, same);
  REQUIRE(strcmp(row, same) == 0);
  mem_free(row);
  mem_free(same);
  bits_job_unref(j);
  bits_job_unref(again);
}

/* What a script sets. */
static void job_set(const char *text) {
  value *v = read_text(text);
  if (v == NULL) return;
  bits_job *j = new_job();
  bits_terms *before = j->terms;
  error *e = bits_properties_read(j, v, false);
  if (e != NULL) {
    REQUIRE(j->terms == before && j->properties->count == 0);
    REQUIRE(e->message[0] != '\0' && code_failed(e->code));
  } else {
    REQUIRE(bits_secret_lost(j->terms, j->properties) == NULL);
  }
  error_unref(e);
  check_job(j);
  value_free(v);
  bits_job_unref(j);
}

/* ------------------------------------------------------------------
** Files
** ---------------------------------------------------------------- */

static bool same_text(const char *a, const char *b) {
  return a == b || (a != NULL && b != NULL && strcmp(a, b) == 0);
}

static void check_file(const bits_file *f) {
  const bits_known *k = f->known;
  const bits_extra *x = f->extra;
  REQUIRE(f->state <= BITS_FILE_DONE && (f->marks & BITS_FILE_DIRTY) == 0);
  if (k != NULL) {
    REQUIRE(k->total == BITS_UNKNOWN || k->durable <= k->total);
    REQUIRE(memchr(k->boot, '\0', sizeof k->boot) != NULL);
    REQUIRE(k->etag == NULL || strpbrk(k->etag, "\r\n") == NULL);
    REQUIRE(k->modified == NULL || strpbrk(k->modified, "\r\n") == NULL);
  }
  if (x == NULL) return;
  REQUIRE(x->sha256 == NULL || strlen(x->sha256) == 64);
  for (uint32_t i = 0; i < x->range_count; i++) {
    const bits_range *r = &x->ranges[i];
    REQUIRE(r->length > 0);
    REQUIRE(i + 1 == x->range_count || r->length != BITS_UNKNOWN);
    if (i > 0)
      REQUIRE(x->ranges[i - 1].offset + x->ranges[i - 1].length <= r->offset);
  }
}

static void same_file(const bits_file *a, const bits_file *b) {
  REQUIRE((a->known == NULL) == (b->known == NULL));
  REQUIRE((a->extra == NULL) == (b->extra == NULL) ||
          (a->extra->sha256 == NULL && a->extra->range_count == 0 &&
           a->extra->upload == NULL));
  if (a->known != NULL) {
    REQUIRE(same_text(a->known->etag, b->known->etag));
    REQUIRE(same_text(a->known->modified, b->known->modified));
    REQUIRE(same_text(a->known->encoding, b->known->encoding));
    REQUIRE(same_text(a->known->digest, b->known->digest));
    REQUIRE(strcmp(a->known->boot, b->known->boot) == 0);
    REQUIRE(a->known->total == b->known->total &&
            a->known->durable == b->known->durable &&
            a->known->device == b->known->device &&
            a->known->inode == b->known->inode);
  }
  if (a->extra == NULL || b->extra == NULL) return;
  REQUIRE(same_text(a->extra->sha256, b->extra->sha256));
  REQUIRE(same_text(a->extra->upload, b->extra->upload));
  REQUIRE(a->extra->range_count == b->extra->range_count);
  for (uint32_t i = 0; i < a->extra->range_count; i++)
    REQUIRE(a->extra->ranges[i].offset == b->extra->ranges[i].offset &&
            a->extra->ranges[i].length == b->extra->ranges[i].length);
}

static void file_row(const char *known, const char *extra, uint8_t bits) {
  bits_job *j = new_job();
  bits_file *f = bits_job_append(j, "http://h/x", "/x");
  bits_file *g = bits_job_append(j, "http://h/x", "/x");
  REQUIRE(f != NULL && g != NULL);
  queue_file row = {.state = (bits >> 2) % 6 - 1,
                    .marks = bits,
                    .have = (int64_t)(bits % 7) - 1,
                    .size = (int64_t)(bits % 5) - 2,
                    .known = known,
                    .extra = extra};
  error *e = bits_file_read(f, &row);
  check_file(f);
  if (e == NULL) {
    char *k, *x;
    REQUIRE(bits_file_write(f, &k, &x));
    row = (queue_file){.state = f->state, .known = k, .extra = x};
    REQUIRE(bits_file_read(g, &row) == NULL);
    check_file(g);
    same_file(f, g);
    mem_free(k);
    mem_free(x);
  }
  error_unref(e);
  bits_job_unref(j);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  if (size < 2 || size > 65536) return 0;
  begin();
  char *text = mem_bytes(data + 2, size - 2);
  REQUIRE(text != NULL);
  bool goes = !refers(text);
  switch (data[0] % 4) {
    case 0:
      if (goes) job_row(text);
      break;
    case 1:
      if (goes) job_set(text);
      break;
    case 2: file_row(text, NULL, data[1]); break;
    default: file_row(NULL, text, data[1]);
  }
  mem_free(text);
  return 0;
}
