/*
** What the suites about uploads share: a local file, a try on a lane of its
** own, and what it said.
*/
#ifndef SAROS_SPEC_UPLOAD_CASE_H
#define SAROS_SPEC_UPLOAD_CASE_H

#include <sys/stat.h>
#include <time.h>

#include "bits/parts.h"
#include "bits/s3.h"
#include "bits/transfer.h"
#include "bits_server_case.h"
#include "gate.h"

/* ------------------------------------------------------------------
** One try
** ---------------------------------------------------------------- */

typedef struct tried {
  bits_try_ask ask;
  bits_try *(*start)(const bits_try_ask *ask, error **e);
  bits_try *try;
  bits_file file;
  bits_result r;
  char path[128];
  pthread_mutex_t lock;
  pthread_cond_t moved;
  unsigned begins, ends;
} tried;

static bits_manager upload_manager = {.lock = PTHREAD_MUTEX_INITIALIZER};
static bits_job upload_job = {.m = &upload_manager};
static char upload_folder[64];
static http_lane *upload_lane;

static void upload_ended(void *context, const bits_result *r) {
  tried *t = context;
  pthread_mutex_lock(&t->lock);
  t->r = *r;
  t->try = NULL;
  t->ends++;
  pthread_cond_broadcast(&t->moved);
  pthread_mutex_unlock(&t->lock);
}

static void upload_begun(void *context) {
  tried *t = context;
  pthread_mutex_lock(&t->lock);
  t->begins++;
  pthread_cond_broadcast(&t->moved);
  pthread_mutex_unlock(&t->lock);
}

static const bits_try_calls upload_calls = {upload_ended, upload_begun};

/* Makes a file of so many bytes (as the server's content has them). */
static inline void upload_write(const char *path, const char *name,
                                size_t size) {
  unsigned char *data = server_content(name, size, 0);
  FILE *f = fopen(path, "wb");
  CHECK(f != NULL && fwrite(data, 1, size, f) == size);
  if (f != NULL) CHECK_INT(fclose(f), 0);
  free(data);
}

static inline void upload_case(tried *t, const char *name, size_t size,
                               const char *url) {
  memset(t, 0, sizeof *t);
  pthread_mutex_init(&t->lock, NULL);
  pthread_cond_init(&t->moved, NULL);
  snprintf(t->path, sizeof t->path, "%s/%s", upload_folder, name);
  upload_write(t->path, name, size);
  t->file.url = mem_text(url);
  t->file.path = mem_text(t->path);
  t->file.size = BITS_UNKNOWN;
  t->file.job = &upload_job;
  t->ask = (bits_try_ask){.file = &t->file,
                          .terms = bits_terms_new(),
                          .lane = upload_lane,
                          .calls = &upload_calls,
                          .context = t};
  mem_free(t->ask.terms->proxy);
  t->ask.terms->proxy = mem_text("");
  t->start = bits_send_start;
}

static void upload_start_here(void *context) {
  tried *t = context;
  error *e = NULL;
  bits_try *try = t->start(&t->ask, &e);
  pthread_mutex_lock(&t->lock);
  t->try = try;
  pthread_mutex_unlock(&t->lock);
  if (try != NULL) return;
  bits_result r = {.end = BITS_END_FAILED, .code = e->code};
  snprintf(r.why, sizeof r.why, "not begun: %.300s", e->message);
  error_unref(e);
  upload_ended(t, &r);
}

static inline void upload_start(tried *t) {
  while (!http_lane_call(upload_lane, upload_start_here, t)) usleep(1000);
}

/* Waits until a counter has come so far. */
static inline bool upload_wait(tried *t, const unsigned *count,
                               unsigned least) {
  struct timespec until;
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_sec += 60;
  pthread_mutex_lock(&t->lock);
  int r = 0;
  while (*count < least && r == 0)
    r = pthread_cond_timedwait(&t->moved, &t->lock, &until);
  bool came = *count >= least;
  pthread_mutex_unlock(&t->lock);
  return came;
}

static void upload_stop_here(void *context) {
  tried *t = context;
  if (t->try != NULL) t->try->stop(t->try);
}

static inline void upload_stop(tried *t) {
  CHECK(http_lane_call(upload_lane, upload_stop_here, t));
}

/* The lane has taken what had come, and looked at its times: behind what one
   request of the test's own gets it does so, and then comes the next one. */
static inline void upload_settle(const char *path) {
  for (int i = 0; i < 2; i++) {
    told t;
    http_request *r = go(at(path), &(http_ask){.lane = upload_lane}, &t);
    CHECK_INT(t.end, HTTP_WHOLE);
    told_free(&t, r);
  }
}

/* To the end. */
static inline bits_end upload_go(tried *t) {
  if (getenv("UPLOAD_WHY")) setvbuf(stdout, NULL, _IONBF, 0);
  unsigned ends = t->ends;
  upload_start(t);
  if (!upload_wait(t, &t->ends, ends + 1)) {
    printf("a try hangs\n");
    abort();
  }
  if (getenv("UPLOAD_WHY"))
    printf("-> %d %x %s\n", (int)t->r.end, t->r.code, t->r.why);
  return t->r.end;
}

static inline void upload_done(tried *t) {
  bits_terms_unref(t->ask.terms);
  mem_free(t->file.url);
  mem_free(t->file.path);
  if (t->file.extra != NULL) {
    mem_free(t->file.extra->sha256);
    mem_free(t->file.extra->upload);
    mem_free(t->file.extra);
  }
  unlink(t->path);
  pthread_cond_destroy(&t->moved);
  pthread_mutex_destroy(&t->lock);
}

static inline void upload_header(tried *t, const char *name, const char *text,
                                 bool secret) {
  bits_terms *terms = t->ask.terms;
  terms->headers = mem_grow(terms->headers,
                            (terms->header_count + 1) * sizeof *terms->headers);
  terms->headers[terms->header_count++] =
      (bits_header){mem_text(name), mem_text(text), NULL, secret};
}

/* ------------------------------------------------------------------
** The manager's part: what is told is kept (see the Makefile)
** ---------------------------------------------------------------- */

void __wrap_bits_file_mark(bits_file *f, uint8_t set, uint8_t clear);
void __wrap_bits_file_size(bits_file *f, uint64_t size);
void __wrap_bits_file_upload(bits_file *f, char *json);
void __wrap_bits_file_commit(bits_file *f, bits_committed call, void *context);
bool __wrap_bits_keeper_orphan(bits_manager *m, const char *what,
                               bits_terms *terms);

void __wrap_bits_file_mark(bits_file *f, uint8_t set, uint8_t clear) {
  f->marks = (uint8_t)((f->marks & ~clear) | set);
}

void __wrap_bits_file_size(bits_file *f, uint64_t size) {
  f->size = size;
}

void __wrap_bits_file_upload(bits_file *f, char *json) {
  if (f->extra == NULL) f->extra = mem_zero(sizeof *f->extra);
  if (f->extra == NULL) { /* as the manager does: it is forgotten */
    mem_free(json);
    return;
  }
  mem_free(f->extra->upload);
  f->extra->upload = json;
}

typedef struct upload_commit {
  bits_committed call;
  void *context;
} upload_commit;

static unsigned upload_commits; /* the lane's */

static void upload_committed(void *context) {
  upload_commit c = *(upload_commit *)context;
  free(context);
  upload_commits++;
  c.call(c.context, NULL);
}

void __wrap_bits_file_commit(bits_file *f, bits_committed call, void *context) {
  upload_commit *c = malloc(sizeof *c);
  (void)f;
  if (c == NULL) abort();
  *c = (upload_commit){call, context};
  while (!http_lane_call(upload_lane, upload_committed, c)) usleep(1000);
}

static char *upload_orphan; /* the last that was left */

bool __wrap_bits_keeper_orphan(bits_manager *m, const char *what,
                               bits_terms *terms) {
  (void)m;
  (void)terms;
  free(upload_orphan);
  upload_orphan = strdup(what);
  return true;
}

/* ------------------------------------------------------------------
** The suite
** ---------------------------------------------------------------- */

static inline bool upload_suite_begin(void) {
  error *e = NULL;
  strcpy(upload_folder, "/tmp/saros-upload-XXXXXX");
  if (mkdtemp(upload_folder) == NULL) return false;
  upload_lane = http_lane_new("test-upload", &e);
  return upload_lane != NULL;
}

static inline void upload_suite_end(void) {
  http_lane_drop(upload_lane);
  http_settle();
  rmdir(upload_folder);
}

#endif
