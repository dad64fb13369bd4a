/*
** A store that asks a lock before it changes anything, so that nobody can
** forget to.
*/
#include "repository/lock.h"

typedef struct guarded {
  repo_store store;
  repo_store *inner;
  repo_lock *lock;
} guarded;

static repo_store *inner(repo_store *s) {
  return ((guarded *)s)->inner;
}

static error *assure(repo_store *s, const repo_stop *stop) {
  return repo_lock_assure(((guarded *)s)->lock, stop);
}

/* How long ago the lock was seen at most. A version relies on all that others
   could have removed; and so does what others have stored since, on files that
   are removed. */
#define SURE_MS 1000
#define SURE_OF_PACKS_MS 30000

static error *prove(repo_store *s, uint64_t most_ms, const repo_stop *stop) {
  return repo_lock_prove(((guarded *)s)->lock, most_ms, stop);
}

static error *guarded_create(repo_store *s) {
  error *e = assure(s, NULL);
  return e != NULL ? e : inner(s)->way->create(inner(s));
}

static error *guarded_list(repo_store *s, repo_file kind, repo_store_each each,
                           void *context, const repo_stop *stop) {
  return inner(s)->way->list(inner(s), kind, each, context, stop);
}

static error *guarded_read(repo_store *s, repo_file kind, const repo_id *id,
                           uint64_t offset, size_t size, void *into,
                           const repo_stop *stop) {
  return inner(s)->way->read(inner(s), kind, id, offset, size, into, stop);
}

static error *guarded_load(repo_store *s, repo_file kind, const repo_id *id,
                           size_t most, buffer *b, const repo_stop *stop) {
  return inner(s)->way->load(inner(s), kind, id, most, b, stop);
}

static error *guarded_save(repo_store *s, repo_file kind, const repo_id *id,
                           const repo_piece *pieces, size_t count, bool replace,
                           const repo_stop *stop) {
  bool is_version = kind == REPO_SNAPSHOTS;
  error *e = is_version ? prove(s, SURE_MS, stop) : assure(s, stop);
  if (e == NULL)
    e = inner(s)->way->save(inner(s), kind, id, pieces, count, replace, stop);
  if (e != NULL || (!is_version && kind != REPO_INDEXES)) return e;
  /* This process may have been stopped in the middle, for hours: what others
     would rely on must not appear when the lock is gone for long. */
  e = assure(s, stop);
  if (e != NULL) error_unref(inner(s)->way->remove(inner(s), kind, id, NULL));
  return e;
}

static error *guarded_size(repo_store *s, repo_file kind, const repo_id *id,
                           uint64_t *size, const repo_stop *stop) {
  return inner(s)->way->size(inner(s), kind, id, size, stop);
}

static error *guarded_remove(repo_store *s, repo_file kind, const repo_id *id,
                             const repo_stop *stop) {
  error *e = kind == REPO_INDEXES ? prove(s, SURE_MS, stop)
             : kind == REPO_PACKS ? prove(s, SURE_OF_PACKS_MS, stop)
                                  : assure(s, stop);
  return e != NULL ? e : inner(s)->way->remove(inner(s), kind, id, stop);
}

static void guarded_busy(repo_store *s, bool begins) {
  if (inner(s)->way->busy != NULL) inner(s)->way->busy(inner(s), begins);
}

static error *guarded_may_remove(repo_store *s, const repo_stop *stop) {
  if (inner(s)->way->may_remove == NULL) return NULL;
  return inner(s)->way->may_remove(inner(s), stop);
}

static error *guarded_tidy(repo_store *s, const repo_stop *stop) {
  error *e = inner(s)->way->tidy != NULL ? assure(s, stop) : NULL;
  if (e != NULL || inner(s)->way->tidy == NULL) return e;
  return inner(s)->way->tidy(inner(s), stop);
}

static error *guarded_settle(repo_store *s, const repo_stop *stop) {
  if (inner(s)->way->settle == NULL) return NULL;
  return inner(s)->way->settle(inner(s), stop);
}

static bool guarded_at_once(repo_store *s) {
  return inner(s)->way->at_once != NULL && inner(s)->way->at_once(inner(s));
}

static void guarded_close(repo_store *s) {
  mem_free(s);
}

static const repo_store_way way = {.name = "guarded",
                                   .create = guarded_create,
                                   .list = guarded_list,
                                   .read = guarded_read,
                                   .load = guarded_load,
                                   .save = guarded_save,
                                   .size = guarded_size,
                                   .remove = guarded_remove,
                                   .busy = guarded_busy,
                                   .may_remove = guarded_may_remove,
                                   .tidy = guarded_tidy,
                                   .settle = guarded_settle,
                                   .at_once = guarded_at_once,
                                   .close = guarded_close};

repo_store *repo_store_guard(repo_store *store, repo_lock *l) {
  guarded *g = mem_zero(sizeof *g);
  if (g == NULL) return NULL;
  g->store = *store;
  g->store.way = &way;
  g->inner = store;
  g->lock = l;
  return &g->store;
}
