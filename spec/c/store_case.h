/*
** store_case: a directory for a store, and a store that errs when it is told
** to: around any other one it counts the calls and, at the n-th of those that
** are meant, says that it failed, before or after it did what it was asked, or
** kills this very process. What a test wants to happen in between it does in
** `before`, on the thread that calls.
*/
#ifndef SAROS_STORE_CASE_H
#define SAROS_STORE_CASE_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "repository/crypto.h"
#include "repository/key.h"
#include "repository/store.h"

/* The repository has the engine through its table, as in its own module; here
   it is this program's own. First of all in main. */
const saros_api *saros_api_own(void);
static inline void store_engine(void) {
  saros_api_table = saros_api_own();
}

/* What a key costs in tests that are not about keys. */
static const repo_cost store_cheap = {16, 8, 1};


/* ------------------------------------------------------------------
** A directory
** ---------------------------------------------------------------- */

typedef struct store_place {
  char path[64];
} store_place;

static inline void store_place_make(store_place *p) {
  strcpy(p->path, "/tmp/saros-repo-XXXXXX");
  CHECK(mkdtemp(p->path) != NULL);
}

static inline void store_wipe(int parent, const char *name) {
  int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
  for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
    if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
    if (unlinkat(dirfd(d), e->d_name, 0) != 0) store_wipe(dirfd(d), e->d_name);
  }
  if (d != NULL) closedir(d);
  unlinkat(parent, name, AT_REMOVEDIR);
}

static inline void store_place_end(store_place *p) {
  store_wipe(AT_FDCWD, p->path);
}

/* A path below it; four of them at a time. */
static inline const char *store_path(const store_place *p, const char *below) {
  static char texts[4][300];
  static unsigned next;
  char *text = texts[next++ % 4];
  snprintf(text, sizeof texts[0], "%s/%s", p->path, below);
  return text;
}

static inline repo_store *store_open_at(const char *path) {
  error *e;
  repo_store *s = repo_store_local(path, NULL, &e);
  CHECK(s != NULL);
  error_unref(e);
  return s;
}

/* One that does not wait for the disk. */
static inline repo_store *store_open_hasty(const char *path) {
  error *e;
  value *options = value_map();
  value_put(options, "durable", value_bool(false));
  repo_store *s = repo_store_local(path, options, &e);
  CHECK(s != NULL);
  error_unref(e);
  value_free(options);
  return s;
}

/* How an error is to be; it is let go of. */
static inline uint32_t store_code(error *e) {
  uint32_t code = e != NULL ? e->code : 0;
  if (e != NULL && getenv("V") != NULL) printf("  (%s)\n", e->message);
  error_unref(e);
  return code;
}

static inline int store_number(error *e) {
  int number = e != NULL ? e->number : 0;
  error_unref(e);
  return number;
}

/* Whether the sentence says that; it is let go of. */
static inline bool store_says(error *e, const char *text) {
  bool says = e != NULL && strstr(e->message, text) != NULL;
  if (!says) printf("says: %s\n", e != NULL ? e->message : "nothing");
  error_unref(e);
  return says;
}

/* Stores a text under its hash. */
static inline error *store_put(repo_store *s, repo_file kind, const char *text,
                               repo_id *id) {
  repo_piece piece = {text, strlen(text)};
  repo_id_of(id, text, strlen(text));
  return s->way->save(s, kind, id, &piece, 1, false, NULL);
}

static inline error *store_count_one(void *context, const repo_id *id,
                                     uint64_t size) {
  (void)id, (void)size;
  ++*(long *)context;
  return NULL;
}

static inline long store_count(repo_store *s, repo_file kind) {
  long count = 0;
  CHECK_INT(store_code(s->way->list(s, kind, store_count_one, &count, NULL)),
            0);
  return count;
}

static inline error *store_add_one(void *context, const repo_id *id,
                                   uint64_t size) {
  (void)id;
  *(uint64_t *)context += size;
  return NULL;
}

static inline int64_t store_bytes(repo_store *s, repo_file kind) {
  uint64_t bytes = 0;
  CHECK_INT(store_code(s->way->list(s, kind, store_add_one, &bytes, NULL)), 0);
  return (int64_t)bytes;
}


/* ------------------------------------------------------------------
** A store that errs
** ---------------------------------------------------------------- */

enum {
  STORE_CREATE = 1,
  STORE_LIST = 2,
  STORE_READ = 4,
  STORE_LOAD = 8,
  STORE_SAVE = 16,
  STORE_SIZE = 32,
  STORE_REMOVE = 64,
  STORE_CHANGES = STORE_CREATE | STORE_SAVE | STORE_REMOVE,
  STORE_CALLS = 127
};

typedef enum store_fault {
  STORE_FAILS,       /* and nothing was done */
  STORE_FAILS_AFTER, /* it was done all the same: the answer was lost */
  STORE_KILLS,       /* this process, before */
  STORE_KILLS_AFTER
} store_fault;

typedef struct faulty_store {
  repo_store store; /* first */
  repo_store *inner;
  unsigned calls, kinds; /* which count: STORE_…, 1 << REPO_… */
  store_fault fault;
  int number;         /* the errno it fails with; 0: EIO */
  _Atomic bool lasts; /* all that come after it fail, too */
  _Atomic long left;  /* the n-th from now; 0: never */
  _Atomic long seen;  /* calls that counted */
  void (*before)(void *context, unsigned call, repo_file kind);
  void *context;
} faulty_store;

static inline bool faulty_turn(faulty_store *f, unsigned call, repo_file kind) {
  if (f->before != NULL) f->before(f->context, call, kind);
  if ((f->calls & call) == 0 || (f->kinds & 1u << kind) == 0) return false;
  atomic_fetch_add(&f->seen, 1);
  long left = atomic_load(&f->left);
  while (left > 0)
    if (atomic_compare_exchange_weak(&f->left, &left, left - 1)) {
      if (left > 1) return false;
      if (f->lasts) atomic_store(&f->left, 1);
      if (f->fault == STORE_KILLS) raise(SIGKILL);
      return true;
    }
  return false;
}

static inline error *faulty_error(faulty_store *f) {
  int number = f->number != 0 ? f->number : EIO;
  if (f->fault == STORE_KILLS_AFTER) raise(SIGKILL);
  return error_of_errno(SAROS_FACADE_SAROS, number, "as the test wants it",
                        NULL);
}

#define FAULTY_CALL(call, kind, action)                        \
  faulty_store *f = (faulty_store *)s;                         \
  repo_store *i = f->inner;                                    \
  bool turn = faulty_turn(f, call, kind);                      \
  if (turn && f->fault == STORE_FAILS) return faulty_error(f); \
  error *e = i->way->action;                                   \
  if (!turn) return e;                                         \
  error_unref(e);                                              \
  return faulty_error(f)

static inline error *faulty_create(repo_store *s) {
  FAULTY_CALL(STORE_CREATE, REPO_CONFIG, create(i));
}
static inline error *faulty_list(repo_store *s, repo_file kind,
                                 repo_store_each each, void *context,
                                 const repo_stop *stop) {
  FAULTY_CALL(STORE_LIST, kind, list(i, kind, each, context, stop));
}
static inline error *faulty_read(repo_store *s, repo_file kind,
                                 const repo_id *id, uint64_t offset,
                                 size_t size, void *into,
                                 const repo_stop *stop) {
  FAULTY_CALL(STORE_READ, kind, read(i, kind, id, offset, size, into, stop));
}
static inline error *faulty_load(repo_store *s, repo_file kind,
                                 const repo_id *id, size_t most, buffer *b,
                                 const repo_stop *stop) {
  FAULTY_CALL(STORE_LOAD, kind, load(i, kind, id, most, b, stop));
}
static inline error *faulty_save(repo_store *s, repo_file kind,
                                 const repo_id *id, const repo_piece *pieces,
                                 size_t count, bool replace,
                                 const repo_stop *stop) {
  FAULTY_CALL(STORE_SAVE, kind,
              save(i, kind, id, pieces, count, replace, stop));
}
static inline error *faulty_size(repo_store *s, repo_file kind,
                                 const repo_id *id, uint64_t *size,
                                 const repo_stop *stop) {
  FAULTY_CALL(STORE_SIZE, kind, size(i, kind, id, size, stop));
}
static inline error *faulty_remove(repo_store *s, repo_file kind,
                                   const repo_id *id, const repo_stop *stop) {
  FAULTY_CALL(STORE_REMOVE, kind, remove(i, kind, id, stop));
}
static inline void faulty_busy(repo_store *s, bool begins) {
  repo_store *i = ((faulty_store *)s)->inner;
  if (i->way->busy != NULL) i->way->busy(i, begins);
}
/* It is the test's own, and so is what is inside. */
static inline void faulty_close(repo_store *s) {
  (void)s;
}

static const repo_store_way faulty_way = {.name = "faulty",
                                          .create = faulty_create,
                                          .list = faulty_list,
                                          .read = faulty_read,
                                          .load = faulty_load,
                                          .save = faulty_save,
                                          .size = faulty_size,
                                          .remove = faulty_remove,
                                          .busy = faulty_busy,
                                          .close = faulty_close};

/* Everything counts, nothing fails yet. */
static inline repo_store *faulty_around(faulty_store *f, repo_store *inner) {
  memset(f, 0, sizeof *f);
  f->store = *inner;
  f->store.way = &faulty_way;
  f->inner = inner;
  f->calls = STORE_CALLS;
  f->kinds = ~0u;
  return &f->store;
}

/* From now on the n-th of these calls. */
static inline void faulty_at(faulty_store *f, store_fault fault, unsigned calls,
                             long n) {
  f->fault = fault;
  f->calls = calls;
  atomic_store(&f->left, n);
}

#endif
