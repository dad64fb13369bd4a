/*
** Tries to fetch a file, one after the other, from the server with every fault:
** with a manager that only remembers what it is told. What it has committed is
** a row; a crash is to go on with that and with what is on the disk.
*/
#ifndef SAROS_SPEC_BITS_FETCH_CASE_H
#define SAROS_SPEC_BITS_FETCH_CASE_H

#include "bits/judge.h"
#include "bits/transfer.h"
#include "bits_file_case.h"
#include "bits_server_case.h"
#include "gate.h"

typedef struct row {
  bits_known *known;
  uint64_t have, size;
  uint8_t marks;
} row;

typedef struct bed {
  place p;
  bits_terms *terms;
  http_lane *lane;
  bits_file *f;
  char *path; /* of the file */
  char *part;
  pthread_mutex_t lock;
  pthread_cond_t moved;
  /* Under the lock. */
  bits_try *try;
  bits_result result;
  bool ended;
  unsigned begun, commits, devices;
  bool eager;        /* all that is told is committed at once */
  unsigned refusals; /* commits that fail */
  row row;
  _Atomic int syncs, sync_fails; /* how often; with which errno, or 0 */
  uint64_t down;
  bool lone;
  unsigned tries; /* in all */
} bed;

static bed *bed_now;

/* ------------------------------------------------------------------
** What a try tells
** ---------------------------------------------------------------- */

void __wrap_bits_file_know(bits_file *f, bits_known *k);
void __wrap_bits_file_mark(bits_file *f, uint8_t set, uint8_t clear);
void __wrap_bits_file_size(bits_file *f, uint64_t size);
void __wrap_bits_file_commit(bits_file *f, bits_committed call, void *context);
bits_device *__wrap_bits_device_enter(bits_manager *m, dev_t device, int fd,
                                      const char *path);
void __wrap_bits_device_leave(bits_manager *m, bits_device *d);

/* With the lock. */
static inline void bed_commit(bed *b) {
  bits_known_free(b->row.known);
  b->row.known = b->f->known != NULL ? bits_known_copy(b->f->known) : NULL;
  b->row.have = atomic_load(&b->f->have);
  b->row.size = b->f->size;
  b->row.marks = b->f->marks;
}

void __wrap_bits_file_know(bits_file *f, bits_known *k) {
  bed *b = bed_now;
  pthread_mutex_lock(&b->lock);
  f->stale = f->stale || (k == NULL && f->known != NULL);
  bits_known_free(f->known);
  f->known = k;
  if (b->eager && f == b->f) bed_commit(b);
  pthread_mutex_unlock(&b->lock);
}

void __wrap_bits_file_mark(bits_file *f, uint8_t set, uint8_t clear) {
  pthread_mutex_lock(&f->job->m->lock);
  f->marks = (uint8_t)((f->marks & ~clear) | set);
  pthread_mutex_unlock(&f->job->m->lock);
}

void __wrap_bits_file_size(bits_file *f, uint64_t size) {
  pthread_mutex_lock(&f->job->m->lock);
  f->size = size;
  pthread_mutex_unlock(&f->job->m->lock);
}

typedef struct bed_wish {
  bits_committed call;
  void *context;
} bed_wish;

static inline void bed_committed(void *context) {
  bed *b = bed_now;
  bed_wish w = *(bed_wish *)context;
  free(context);
  pthread_mutex_lock(&b->lock);
  b->commits++;
  bool refused = b->refusals > 0;
  if (refused)
    b->refusals--;
  else
    bed_commit(b);
  pthread_mutex_unlock(&b->lock);
  error *e = refused ? bits_fail(SAROS_E_FAIL, "the queue is gone") : NULL;
  w.call(w.context, e);
  error_unref(e);
}

void __wrap_bits_file_commit(bits_file *f, bits_committed call, void *context) {
  bed_wish *w = malloc(sizeof *w);
  (void)f;
  *w = (bed_wish){call, context};
  CHECK(http_lane_call(bed_now->lane, bed_committed, w));
}

bits_device *__wrap_bits_device_enter(bits_manager *m, dev_t device, int fd,
                                      const char *path) {
  (void)m;
  (void)path;
  CHECK(fd >= 0);
  CHECK(device != 0);
  bed_now->devices++;
  return (bits_device *)(void *)bed_now;
}

void __wrap_bits_device_leave(bits_manager *m, bits_device *d) {
  (void)m;
  if (d != NULL) bed_now->devices--;
}

int __wrap_bits_part_sync(bits_part *part);
int __real_bits_part_sync(bits_part *part);

/* Other disks fail now and then. */
int __wrap_bits_part_sync(bits_part *part) {
  int number = atomic_load(&bed_now->sync_fails);
  atomic_fetch_add(&bed_now->syncs, 1);
  return number != 0 ? number : __real_bits_part_sync(part);
}

/* ------------------------------------------------------------------
** One try
** ---------------------------------------------------------------- */

static inline void bed_begun(void *context) {
  bed *b = context;
  pthread_mutex_lock(&b->lock);
  b->begun++;
  pthread_cond_broadcast(&b->moved);
  pthread_mutex_unlock(&b->lock);
}

static inline void bed_ended(void *context, const bits_result *r) {
  bed *b = context;
  pthread_mutex_lock(&b->lock);
  b->result = *r;
  b->ended = true;
  b->try = NULL;
  pthread_cond_broadcast(&b->moved);
  pthread_mutex_unlock(&b->lock);
}

static inline void bed_go(void *context) {
  static const bits_try_calls calls = {bed_ended, bed_begun};
  bed *b = context;
  error *e = NULL;
  bits_try_ask ask = {.file = b->f,
                      .terms = b->terms,
                      .lane = b->lane,
                      .down = b->down,
                      .lone = b->lone,
                      .calls = &calls,
                      .context = b};
  bits_try *t = bits_fetch_start(&ask, &e);
  pthread_mutex_lock(&b->lock);
  CHECK(t != NULL && !b->ended); /* never from within */
  b->try = t;
  pthread_cond_broadcast(&b->moved);
  pthread_mutex_unlock(&b->lock);
}

static inline void bed_begin(bed *b) {
  pthread_mutex_lock(&b->lock);
  b->ended = false;
  b->begun = 0;
  b->tries++;
  pthread_mutex_unlock(&b->lock);
  CHECK(http_lane_call(b->lane, bed_go, b));
}

static inline bits_end bed_wait(bed *b) {
  struct timespec until;
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_sec += GATE_BOUND_MS / 1000;
  pthread_mutex_lock(&b->lock);
  while (!b->ended)
    if (pthread_cond_timedwait(&b->moved, &b->lock, &until) != 0) abort();
  pthread_mutex_unlock(&b->lock);
  return b->result.end;
}

/* Waits until so much is here. */
static inline void bed_await(bed *b, uint64_t have) {
  for (unsigned i = 0; i < GATE_BOUND_MS; i++) {
    if (atomic_load(&b->f->have) >= have) return;
    gate_nap();
  }
  abort();
}

/* On the lane: the try may be over by then. */
static inline void bed_stop_now(void *context) {
  bed *b = context;
  if (b->try != NULL) b->try->stop(b->try);
}

static inline void bed_stop(bed *b) {
  CHECK(http_lane_call(b->lane, bed_stop_now, b));
}

static inline bool bed_has_ended(bed *b) {
  pthread_mutex_lock(&b->lock);
  bool ended = b->ended;
  pthread_mutex_unlock(&b->lock);
  return ended;
}

static inline void bed_nothing(void *context) {
  (void)context;
}

/* The lane looks around. */
static inline void bed_stir(bed *b) {
  CHECK(http_lane_call(b->lane, bed_nothing, b));
}

static inline bits_end bed_try(bed *b) {
  bed_begin(b);
  return bed_wait(b);
}

/* One after the other, as long as that makes sense, so often at most. */
static inline bits_end bed_carry(bed *b, unsigned most) {
  bits_end end;
  unsigned at_once = 0;
  do {
    end = bed_try(b);
    at_once = end == BITS_END_AT_ONCE ? at_once + 1 : 0;
    CHECK(at_once < 4); /* else it never ends */
  } while ((end == BITS_END_AT_ONCE || end == BITS_END_AGAIN) && most-- > 1);
  return end;
}

static inline bits_end bed_finish(bed *b) {
  bits_result r;
  bits_finish_verify(b->f, b->terms, &r);
  if (r.end == BITS_END_WHOLE) bits_finish_name(&b->f, b->terms, 1, &r);
  b->result = r;
  return r.end;
}

/* ------------------------------------------------------------------
** The bed
** ---------------------------------------------------------------- */

static inline void bed_begin_file(bed *b, const char *name, const char *query) {
  char url[1024];
  snprintf(url, sizeof url, "f/%s?%s", name, query);
  b->f = file_make(&b->p, 0, name);
  b->f->url = mem_text(at(url));
  b->path = place_path(&b->p, name);
  b->part = bits_part_name(b->f);
  b->tries = b->commits = 0;
}

/* "f/NAME?QUERY" shall come to a file of that name. */
static inline void bed_make(bed *b, const char *name, const char *query) {
  error *e = NULL;
  memset(b, 0, sizeof *b);
  bed_now = b;
  place_make(&b->p, NULL);
  pthread_mutex_init(&b->lock, NULL);
  pthread_cond_init(&b->moved, NULL);
  b->eager = true;
  b->terms = bits_terms_new();
  b->terms->proxy = mem_text("");
  b->terms->durability = BITS_DURABLE_NONE;
  b->lane = http_lane_new("bed", &e);
  if (b->lane == NULL) abort();
  bed_begin_file(b, name, query);
}

static inline void bed_end(bed *b) {
  http_lane_drop(b->lane);
  CHECK_INT(b->devices, 0);
  file_end(b->f);
  bits_known_free(b->row.known);
  bits_terms_unref(b->terms);
  pthread_cond_destroy(&b->moved);
  pthread_mutex_destroy(&b->lock);
  place_end(&b->p);
  free(b->path);
  mem_free(b->part);
}

/* The process is killed: what is left are the row and the disk. */
static inline void bed_crash(bed *b) {
  bits_file *f = b->f;
  bits_known_free(f->known);
  f->known = b->row.known != NULL ? bits_known_copy(b->row.known) : NULL;
  atomic_store(&f->have, b->row.have);
  f->size = b->row.size;
  f->marks = b->row.marks;
  f->best = 0;
  f->stale = false;
  f->bad_ranges = f->restarts = f->wrongs = 0;
}

/* The machine is: what was not durable is zeros. */
static inline void bed_power_cut(bed *b) {
  struct stat about;
  if (b->row.known != NULL) {
    b->row.known->boot[0] ^= 1;
    int fd = open(b->part, O_RDWR | O_CLOEXEC);
    if (fd >= 0 && fstat(fd, &about) == 0) {
      if (ftruncate(fd, (off_t)b->row.known->durable) != 0) abort();
      if (ftruncate(fd, about.st_size) != 0) abort();
    }
    if (fd >= 0) close(fd);
  }
  bed_crash(b);
}

static inline bool bed_has(bed *b, size_t size, unsigned version) {
  return is_content_file(b->path, strrchr(b->path, '/') + 1, size, version);
}

/* To its end, which is well. */
static inline bool bed_comes(bed *b, unsigned tries, size_t size,
                             unsigned version) {
  bits_end end = bed_carry(b, tries);
  if (end == BITS_END_WHOLE) end = bed_finish(b);
  if (end != BITS_END_WHOLE)
    printf("%d 0x%08x %s\n", (int)end, b->result.code, b->result.why);
  return end == BITS_END_WHOLE && bed_has(b, size, version) &&
         place_names(&b->p) == 1;
}

/* ------------------------------------------------------------------
** What was asked of the server
** ---------------------------------------------------------------- */

/* How many of the requests for it had a range. */
static inline int ranges_asked(const char *name) {
  char what[128];
  snprintf(what, sizeof what, "!log?of=/f/%s", name);
  char *log = server_told(what);
  int n = 0;
  for (char *at = log; (at = strstr(at, "\"range\"")) != NULL; at++) n++;
  free(log);
  return n;
}

static inline bool log_has(const char *name, const char *text) {
  char what[128];
  snprintf(what, sizeof what, "!log?of=/f/%s", name);
  char *log = server_told(what);
  bool has = strstr(log, text) != NULL;
  free(log);
  return has;
}

/* ------------------------------------------------------------------
** A suite
** ---------------------------------------------------------------- */

static long bed_blocks;

/* Before the first test, when the server is there. */
static inline void bed_suite_count(void) {
  http_settle();
  bed_blocks = least_blocks();
}

/* With the server that has every fault; false: there is none. */
static inline bool bed_suite_begin(int argc, char **argv) {
  gate_begin(argc, argv);
  if (!faults_start(false)) return false;
  bed_suite_count();
  return true;
}

/* Nothing is left. */
static inline int bed_suite_end(void) {
  http_settle();
  CHECK(has_no_more_blocks(bed_blocks));
  faults_stop();
  return check_end();
}

#endif
