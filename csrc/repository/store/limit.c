/*
** A store that takes its time: so many bytes a second are written, and so many
** read, by all threads and calls together. What is due is waited for before the
** next piece, so it is an average: a piece itself goes as fast as it can.
*/
#include <pthread.h>

#include "repository/store.h"

/* When the bytes that were moved until now will have been paid for. */
typedef struct account {
  uint64_t rate; /* bytes a second; 0: no limit */
  uint64_t paid_until;
} account;

typedef struct limited {
  repo_store store;
  repo_store *inner;
  pthread_mutex_t lock; /* of the accounts; nothing is called under it */
  account up, down;
} limited;

static limited *limited_of(repo_store *s) {
  return (limited *)s;
}

static repo_store *inner(repo_store *s) {
  return limited_of(s)->inner;
}

/* Milliseconds until it is our turn, when `size` bytes more are ordered. */
static uint64_t order(limited *l, account *a, size_t size) {
  if (a->rate == 0) return 0;
  uint64_t now = repo_clock();
  pthread_mutex_lock(&l->lock);
  uint64_t from = a->paid_until > now ? a->paid_until : now;
  a->paid_until = from + (uint64_t)((double)size * 1000.0 / (double)a->rate);
  pthread_mutex_unlock(&l->lock);
  return from - now;
}

static error *pay(limited *l, account *a, size_t size, const repo_stop *stop) {
  uint64_t ms = order(l, a, size);
  if (ms == 0 || repo_pause(stop, ms)) return NULL;
  return repo_error(SAROS_E_CANCELLED,
                    "it was cancelled while it waited for "
                    "the rate limit");
}

static error *limited_create(repo_store *s) {
  return inner(s)->way->create(inner(s));
}

static error *limited_list(repo_store *s, repo_file kind, repo_store_each each,
                           void *context, const repo_stop *stop) {
  return inner(s)->way->list(inner(s), kind, each, context, stop);
}

static error *limited_read(repo_store *s, repo_file kind, const repo_id *id,
                           uint64_t offset, size_t size, void *into,
                           const repo_stop *stop) {
  limited *l = limited_of(s);
  error *e = pay(l, &l->down, size, stop);
  if (e != NULL) return e;
  return inner(s)->way->read(inner(s), kind, id, offset, size, into, stop);
}

/* How much it is is known afterwards: then it is the next one's to wait. */
static error *limited_load(repo_store *s, repo_file kind, const repo_id *id,
                           size_t most, buffer *b, const repo_stop *stop) {
  limited *l = limited_of(s);
  size_t before = b->size;
  error *e = pay(l, &l->down, 0, stop);
  if (e != NULL) return e;
  e = inner(s)->way->load(inner(s), kind, id, most, b, stop);
  order(l, &l->down, b->size - before);
  return e;
}

static error *limited_save(repo_store *s, repo_file kind, const repo_id *id,
                           const repo_piece *pieces, size_t count, bool replace,
                           const repo_stop *stop) {
  limited *l = limited_of(s);
  size_t size = 0;
  for (size_t i = 0; i < count; i++) size += pieces[i].size;
  /* Packs are nearly all there is, so they alone wait. A lock is refreshed in
     time, and an index names what was stored also when it was cancelled: who
     undoes that would wait for what all packs before it owe. */
  if (kind != REPO_PACKS)
    order(l, &l->up, size);
  else {
    error *e = pay(l, &l->up, size, stop);
    if (e != NULL) return e;
  }
  return inner(s)->way->save(inner(s), kind, id, pieces, count, replace, stop);
}

static error *limited_size(repo_store *s, repo_file kind, const repo_id *id,
                           uint64_t *size, const repo_stop *stop) {
  return inner(s)->way->size(inner(s), kind, id, size, stop);
}

static error *limited_remove(repo_store *s, repo_file kind, const repo_id *id,
                             const repo_stop *stop) {
  return inner(s)->way->remove(inner(s), kind, id, stop);
}

static void limited_busy(repo_store *s, bool begins) {
  if (inner(s)->way->busy != NULL) inner(s)->way->busy(inner(s), begins);
}

static error *limited_may_remove(repo_store *s, const repo_stop *stop) {
  if (inner(s)->way->may_remove == NULL) return NULL;
  return inner(s)->way->may_remove(inner(s), stop);
}

static error *limited_tidy(repo_store *s, const repo_stop *stop) {
  if (inner(s)->way->tidy == NULL) return NULL;
  return inner(s)->way->tidy(inner(s), stop);
}

static error *limited_settle(repo_store *s, const repo_stop *stop) {
  if (inner(s)->way->settle == NULL) return NULL;
  return inner(s)->way->settle(inner(s), stop);
}

static bool limited_at_once(repo_store *s) {
  return inner(s)->way->at_once != NULL && inner(s)->way->at_once(inner(s));
}

static void limited_close(repo_store *s) {
  repo_store_close(inner(s));
  pthread_mutex_destroy(&limited_of(s)->lock);
  mem_free(s);
}

static const repo_store_way way = {.name = "limited",
                                   .create = limited_create,
                                   .list = limited_list,
                                   .read = limited_read,
                                   .load = limited_load,
                                   .save = limited_save,
                                   .size = limited_size,
                                   .remove = limited_remove,
                                   .busy = limited_busy,
                                   .may_remove = limited_may_remove,
                                   .tidy = limited_tidy,
                                   .settle = limited_settle,
                                   .at_once = limited_at_once,
                                   .close = limited_close};

repo_store *repo_store_limit(repo_store *store, uint64_t upload,
                             uint64_t download) {
  if (upload == 0 && download == 0) return store;
  limited *l = mem_zero(sizeof *l);
  if (l == NULL) return NULL;
  l->store = *store;
  l->store.way = &way;
  l->inner = store;
  l->up.rate = upload;
  l->down.rate = download;
  pthread_mutex_init(&l->lock, NULL);
  return &l->store;
}
