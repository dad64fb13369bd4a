/*
** prune_used: what is needed, and where it is. Whatever is not as it should be
** ends it here, before anything is changed.
*/
#include "repository/prune_parts.h"
#include "repository/sweep.h"

error *prune_ids_add(prune_ids *ids, const repo_id *id) {
  if (ids->count == ids->room) {
    size_t room = ids->room * 2 + 64;
    repo_id *list = mem_grow(ids->list, room * sizeof *list);
    if (list == NULL) return error_no_memory();
    ids->list = list;
    ids->room = room;
  }
  ids->list[ids->count++] = *id;
  return NULL;
}


/* ------------------------------------------------------------------
** What is needed
** ---------------------------------------------------------------- */

static error *unfit(error *cause, const char *what, const repo_id *id) {
  char text[REPO_ID_TEXT];
  if (cause->code == SAROS_E_OUTOFMEMORY || cause->code == SAROS_E_CANCELLED)
    return cause;
  repo_id_format(id, text);
  return error_because(
      repo_error(cause->code,
                 "the %s %s cannot be read, so nobody knows what is needed, "
                 "and nothing was removed; find out with check what is hit",
                 what, text),
      cause);
}

static error *broken(void *context, const repo_id *tree, error *e) {
  (void)context;
  return unfit(e, "tree", tree);
}

static error *need(void *context, const repo_id *tree, const repo_node *n) {
  pruning *p = context;
  uint32_t number;
  bool fresh, good = true;
  bool bad = (n->type == REPO_NODE_FILE && !n->has_content) ||
             (n->type == REPO_NODE_DIRECTORY && !n->has_subtree);
  if (bad)
    return unfit(repo_error(SAROS_E_DAMAGED,
                            "a file in it has no content, or a directory no "
                            "tree"),
                 "tree", tree);
  if (n->content_count == 0) return NULL;
  pthread_mutex_lock(&p->lock);
  for (size_t i = 0; good && i < n->content_count; i++)
    good = repo_id_map_put(p->used, REPO_DATA, &n->content[i], &number, &fresh);
  pthread_mutex_unlock(&p->lock);
  return good ? NULL : error_no_memory();
}

static void progress(void *context, uint64_t done, uint64_t known) {
  pruning *p = context;
  if (p->o->progress != NULL) p->o->progress(p->o->context, done, known);
}

static error *sweep(pruning *p, const repo_id *roots, size_t count) {
  repo_id_map *trees = repo_id_map_new();
  uint32_t number;
  bool fresh;
  repo_sweep w = {.store = p->h->store,
                  .tools = repo_tools_of(p->r),
                  .index = p->index,
                  .stop = &p->h->stop,
                  .node = need,
                  .broken = broken,
                  .progress = progress,
                  .context = p};
  if (trees == NULL) return error_no_memory();
  error *e = repo_sweep_trees(&w, roots, count, trees);
  for (uint32_t n = 0; e == NULL && n < repo_id_map_count(trees); n++)
    if (!repo_id_map_put(p->used, REPO_TREE, &repo_id_map_at(trees, n)->id,
                         &number, &fresh))
      e = error_no_memory();
  repo_id_map_free(trees);
  return e;
}

/* Versions are listed before the index is read. */
static error *find_used(pruning *p) {
  repo_snapshot **versions;
  size_t count;
  error *e = repo_versions_of(p->h, &versions, &count);
  if (e != NULL) return e;
  repo_id *roots = mem_alloc((count + 1) * sizeof *roots);
  if (roots == NULL) e = error_no_memory();
  for (size_t i = 0; roots != NULL && i < count; i++)
    roots[i] = versions[i]->tree;
  repo_versions_free(versions);
  if (e == NULL) e = repo_index_of(p->h, &p->index);
  if (e == NULL) e = sweep(p, roots, count);
  mem_free(roots);
  return e;
}


/* ------------------------------------------------------------------
** Where it is
** ---------------------------------------------------------------- */

static repo_prune_pack *pack_of(pruning *p, const repo_id *id) {
  uint32_t n;
  bool fresh;
  if (!repo_id_map_put(p->packs, 0, id, &n, &fresh)) return NULL;
  if (n >= p->pack_room) {
    size_t room = p->pack_room + p->pack_room / 2 + 64;
    repo_prune_pack *list = mem_grow(p->pack_list, room * sizeof *list);
    if (list == NULL) return NULL;
    p->pack_list = list;
    p->pack_room = room;
  }
  if (fresh) p->pack_list[n] = (repo_prune_pack){.id = *id};
  return &p->pack_list[n];
}

static error *add_pack(void *context, const repo_id *id, const repo_blob *blobs,
                       size_t count) {
  repo_prune_pack *pack = count > 0 ? pack_of(context, id) : NULL;
  if (count == 0) return NULL;
  if (pack == NULL) return error_no_memory();
  pack->type = blobs[0].type;
  pack->size = repo_pack_size(blobs, count);
  return NULL;
}

/* What is in a pack that is missing, or cut, does not count as a copy. */
static bool is_good(const repo_prune_pack *pack) {
  return pack->is_there && pack->there == pack->size;
}

/* How often each is there, up to 255 times. */
static error *count_copies(void *context, const repo_id *id,
                           const repo_blob *blobs, size_t count) {
  pruning *p = context;
  uint32_t n;
  if (!repo_id_map_find(p->packs, 0, id, &n) || !is_good(&p->pack_list[n]))
    return NULL;
  for (size_t i = 0; i < count; i++)
    if (repo_id_map_find(p->used, blobs[i].type, &blobs[i].id, &n)) {
      repo_known *k = repo_id_map_at(p->used, n);
      if (k->mark < UINT8_MAX) k->mark++;
    }
  return NULL;
}

static void add_blob(pruning *p, repo_prune_pack *pack, const repo_blob *b) {
  uint32_t n;
  uint8_t copies = 0;
  if (is_good(pack) && repo_id_map_find(p->used, b->type, &b->id, &n))
    copies = repo_id_map_at(p->used, n)->mark;
  if (copies == 1) {
    pack->used++;
    pack->used_bytes += b->length;
    p->figures.used_blobs++;
  } else { /* of duplicates one is chosen below */
    pack->unused++;
    pack->unused_bytes += b->length;
    *(copies == 0 ? &p->figures.unused_blobs : &p->figures.duplicate_blobs) +=
        1;
  }
  if (b->plain_length == 0) pack->is_uncompressed = true;
  if (b->type != pack->type) pack->is_mixed = true;
}

static error *add_blobs(void *context, const repo_id *id,
                        const repo_blob *blobs, size_t count) {
  pruning *p = context;
  uint32_t n;
  if (!repo_id_map_find(p->packs, 0, id, &n)) return NULL;
  for (size_t i = 0; i < count; i++) add_blob(p, &p->pack_list[n], &blobs[i]);
  return NULL;
}

/* Of each blob that is there several times one copy counts as used: one in a
   pack that is needed anyway, or else the last that comes by. */
static error *choose_copies(void *context, const repo_id *id,
                            const repo_blob *blobs, size_t count) {
  pruning *p = context;
  uint32_t n;
  if (!repo_id_map_find(p->packs, 0, id, &n)) return NULL;
  repo_prune_pack *pack = &p->pack_list[n];
  if (!is_good(pack)) return NULL;
  for (size_t i = 0; i < count; i++) {
    if (!repo_id_map_find(p->used, blobs[i].type, &blobs[i].id, &n)) continue;
    repo_known *k = repo_id_map_at(p->used, n);
    if (k->mark == 1) continue; /* chosen, or there never were several */
    if (pack->used == 0 && k->mark != 0) {
      /* 0: but one is left. Of more than can be counted the last ones are not
         waited for. */
      if (--k->mark == 1) k->mark = 0;
      continue;
    }
    pack->used++;
    pack->used_bytes += blobs[i].length;
    pack->unused--;
    pack->unused_bytes -= blobs[i].length;
    p->figures.used_blobs++;
    p->figures.duplicate_blobs--;
    k->mark = 1;
  }
  return NULL;
}

/* Fatal, and nothing was changed. */
static error *missing(pruning *p, const repo_known *k) {
  const char *what = k->type == REPO_TREE ? "tree" : "piece";
  char text[REPO_ID_TEXT], pack[REPO_ID_TEXT];
  repo_place place;
  repo_id_format(&k->id, text);
  if (!repo_index_find(p->index, (repo_blob_type)k->type, &k->id, 0, &place))
    return repo_error(SAROS_E_DAMAGED,
                      "versions need the %s %s, and no index file knows where "
                      "it is; nothing was removed. Find out with check what "
                      "is hit",
                      what, text);
  repo_id_format(&place.pack, pack);
  return repo_error(SAROS_E_DAMAGED,
                    "versions need the %s %s, and the pack %s, which has it, "
                    "is missing or has another size than by the index; "
                    "nothing was removed. Find out with check what is hit",
                    what, text, pack);
}

static error *find_missing(pruning *p) {
  for (uint32_t n = 0; n < repo_id_map_count(p->used); n++) {
    const repo_known *k = repo_id_map_at(p->used, n);
    if (k->mark == 0) return missing(p, k);
  }
  return NULL;
}


/* ------------------------------------------------------------------
** What is stored
** ---------------------------------------------------------------- */

static error *see_pack(void *context, const repo_id *id, uint64_t size) {
  pruning *p = context;
  uint32_t n;
  if (repo_id_map_find(p->packs, 0, id, &n)) {
    p->pack_list[n].is_there = true;
    p->pack_list[n].there = size;
    return NULL;
  }
  p->figures.unreferenced++;
  p->figures.unreferenced_bytes += size;
  return prune_ids_add(&p->unreferenced, id);
}

static error *see_index(void *context, const repo_id *id, uint64_t size) {
  (void)size;
  return prune_ids_add(&((pruning *)context)->index_files, id);
}

error *prune_look(pruning *p) {
  repo_store *store = p->h->store;
  error *e = find_used(p);
  if (e == NULL)
    e = store->way->list(store, REPO_INDEXES, see_index, p, &p->h->stop);
  if (e == NULL) e = repo_index_packs(p->index, add_pack, p);
  if (e == NULL)
    e = store->way->list(store, REPO_PACKS, see_pack, p, &p->h->stop);
  if (e == NULL) e = repo_index_packs(p->index, count_copies, p);
  if (e == NULL) e = find_missing(p);
  if (e == NULL) e = repo_index_packs(p->index, add_blobs, p);
  if (e == NULL && p->figures.duplicate_blobs > 0)
    e = repo_index_packs(p->index, choose_copies, p);
  return e;
}


/* ------------------------------------------------------------------
** What is to be copied
** ---------------------------------------------------------------- */

/* All that is used is to be copied, but for what is in a pack that stays. */
static error *mark_pack(void *context, const repo_id *id,
                        const repo_blob *blobs, size_t count) {
  pruning *p = context;
  uint32_t n;
  if (!repo_id_map_find(p->packs, 0, id, &n) ||
      p->pack_list[n].what != REPO_PRUNE_KEEP)
    return NULL;
  for (size_t i = 0; i < count; i++)
    if (repo_id_map_find(p->used, blobs[i].type, &blobs[i].id, &n))
      repo_id_map_at(p->used, n)->mark = PRUNE_STAYS;
  return NULL;
}

error *prune_mark(pruning *p) {
  for (uint32_t n = 0; n < repo_id_map_count(p->used); n++)
    repo_id_map_at(p->used, n)->mark = PRUNE_COPY;
  error *e = repo_index_packs(p->index, mark_pack, p);
  for (uint32_t n = 0; n < repo_id_map_count(p->used); n++)
    p->to_copy += repo_id_map_at(p->used, n)->mark == PRUNE_COPY;
  return e;
}
