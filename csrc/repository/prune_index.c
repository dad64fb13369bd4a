/*
** prune_index: index files, after packs were copied and before they go. Files
** that name a pack that is to go, or one that another file names as well, or
** that are small, give way; what else they say is written down anew first.
*/
#include "repository/prune_parts.h"

/* ------------------------------------------------------------------
** Writing
** ---------------------------------------------------------------- */

/* With the lock held, which is let go of meanwhile. Two threads never store
   the same text: who takes it leaves an empty one. */
static error *store_text(pruning *p) {
  repo_index_text text = p->text;
  repo_id id;
  p->text = (repo_index_text){.json = BUFFER_EMPTY};
  pthread_mutex_unlock(&p->lock);
  repo_index_text_end(&text);
  error *e = text.json.failed ? error_no_memory() : NULL;
  if (e == NULL)
    e = repo_tools_save(repo_tools_of(p->r), p->h->store, REPO_INDEXES,
                        text.json.data, text.json.size, &id, &p->h->stop);
  buffer_free(&text.json);
  pthread_mutex_lock(&p->lock);
  p->new_indexes += e == NULL;
  return e;
}

error *prune_name(pruning *p, const repo_id *pack, const repo_blob *blobs,
                  size_t count) {
  repo_index_text_add(&p->text, pack, blobs, count);
  return p->text.blobs >= REPO_INDEX_FULL ? store_text(p) : NULL;
}


/* ------------------------------------------------------------------
** One file
** ---------------------------------------------------------------- */

typedef struct rewriting {
  pruning *p;
  repo_id_map *named; /* packs that a file that stays names */
  prune_ids old;      /* files that give way */
  prune_ids small;    /* … if there are several of them */
  bool gives_way, has_any;
  size_t blobs;
} rewriting;

static bool stays(const pruning *p, const repo_id *pack) {
  uint32_t n;
  if (!repo_id_map_find(p->packs, 0, pack, &n)) return false;
  return p->pack_list[n].what == REPO_PRUNE_KEEP;
}

static error *look_at(void *context, const repo_id *pack,
                      const repo_blob *blobs, size_t count) {
  rewriting *w = context;
  uint32_t n;
  (void)blobs;
  w->blobs += count;
  if (count == 0) return NULL;
  if (!stays(w->p, pack) || repo_id_map_find(w->named, 0, pack, &n))
    w->gives_way = true;
  return NULL;
}

static error *remember(void *context, const repo_id *pack,
                       const repo_blob *blobs, size_t count) {
  rewriting *w = context;
  uint32_t n;
  bool fresh;
  (void)blobs;
  if (count == 0) return NULL;
  return repo_id_map_put(w->named, 0, pack, &n, &fresh) ? NULL
                                                        : error_no_memory();
}

static error *name_again(void *context, const repo_id *pack,
                         const repo_blob *blobs, size_t count) {
  rewriting *w = context;
  uint32_t n;
  bool fresh;
  if (count == 0 || !stays(w->p, pack)) return NULL;
  if (!repo_id_map_put(w->named, 0, pack, &n, &fresh)) return error_no_memory();
  if (!fresh) return NULL;
  pthread_mutex_lock(&w->p->lock);
  error *e = prune_name(w->p, pack, blobs, count);
  pthread_mutex_unlock(&w->p->lock);
  return e;
}

static error *with_file(rewriting *w, const repo_id *id,
                        error *(*then)(rewriting *w, const repo_id *id,
                                       repo_index *x)) {
  pruning *p = w->p;
  buffer b = BUFFER_EMPTY;
  repo_index *x = repo_index_new();
  error *e = x != NULL ? NULL : error_no_memory();
  if (e == NULL)
    e = repo_tools_load(repo_tools_of(p->r), p->h->store, REPO_INDEXES, id,
                        REPO_INDEX_FILE_MOST, &b, &p->h->stop);
  if (e == NULL && b.failed) e = error_no_memory();
  if (e == NULL) e = repo_index_read(x, id, b.data, b.size);
  buffer_free(&b);
  if (e == NULL) e = then(w, id, x);
  repo_index_free(x);
  return e;
}

/* Whether it stays. What stays is known before anything is written. */
static error *judge(rewriting *w, const repo_id *id, repo_index *x) {
  w->gives_way = false;
  w->blobs = 0;
  error *e = repo_index_packs(x, look_at, w);
  if (e != NULL) return e;
  if (w->gives_way || w->blobs == 0) return prune_ids_add(&w->old, id);
  if (w->blobs < REPO_INDEX_FULL / 2) return prune_ids_add(&w->small, id);
  return repo_index_packs(x, remember, w);
}

static error *rewrite(rewriting *w, const repo_id *id, repo_index *x) {
  (void)id;
  return repo_index_packs(x, name_again, w);
}


/* ------------------------------------------------------------------
** All files
** ---------------------------------------------------------------- */

static error *flush(pruning *p) {
  error *e = NULL;
  pthread_mutex_lock(&p->lock);
  if (p->text.blobs > 0) e = store_text(p);
  pthread_mutex_unlock(&p->lock);
  return e;
}

/* One small file is as many as there must be; it stays as it is, unless it
   would be written anyway. */
static bool merges(const rewriting *w) {
  return w->small.count > 1 || w->old.count > 0 || w->p->text.blobs > 0;
}

static error *replace(rewriting *w) {
  pruning *p = w->p;
  error *e = NULL;
  for (size_t i = 0; e == NULL && i < p->index_files.count; i++)
    e = with_file(w, &p->index_files.list[i], judge);
  bool merge = merges(w);
  for (size_t i = 0; e == NULL && merge && i < w->small.count; i++)
    e = prune_ids_add(&w->old, &w->small.list[i]);
  for (size_t i = 0; e == NULL && i < w->old.count; i++)
    e = with_file(w, &w->old.list[i], rewrite);
  if (e == NULL) e = flush(p);
  /* From here on what is removed is named by others, or not needed. */
  for (size_t i = 0; e == NULL && i < w->old.count; i++) {
    e = p->h->store->way->remove(p->h->store, REPO_INDEXES, &w->old.list[i],
                                 &p->h->stop);
    p->old_indexes += e == NULL;
  }
  return e;
}

error *prune_indexes(pruning *p) {
  rewriting w = {.p = p, .named = repo_id_map_new()};
  error *e = w.named != NULL ? replace(&w) : error_no_memory();
  repo_id_map_free(w.named);
  mem_free(w.old.list);
  mem_free(w.small.list);
  return e;
}
