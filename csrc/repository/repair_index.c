/*
** repair_index: what all index files say together, held against the packs that
** there are; and new index files in the place of the old ones. An index file
** that cannot be read is no loss: packs say themselves what they have.
*/
#include <errno.h>
#include <string.h>

#include "repository/check_parts.h"
#include "repository/repair_parts.h"

error *repair_ids_add(repair_ids *ids, const repo_id *id) {
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

static error *note(void *context, const repo_id *id, uint64_t size) {
  (void)size;
  return repair_ids_add(context, id);
}

error *repair_ids_list(repair_ids *ids, repo_hold *h, repo_file kind) {
  return h->store->way->list(h->store, kind, note, ids, &h->stop);
}


/* ------------------------------------------------------------------
** What the index says
** ---------------------------------------------------------------- */

/* With the lock held. NULL: no memory. */
static repair_pack *pack_of(repairing *g, const repo_id *id) {
  uint32_t n;
  bool fresh;
  if (repo_id_map_count(g->packs) >= g->room) {
    size_t room = g->room * 2 + 64;
    repair_pack *list = mem_grow(g->list, room * sizeof *list);
    if (list == NULL) return NULL;
    g->list = list;
    g->room = room;
  }
  if (!repo_id_map_put(g->packs, 0, id, &n, &fresh)) return NULL;
  if (fresh) memset(&g->list[n], 0, sizeof *g->list);
  return &g->list[n];
}

static error *take_pack(void *context, const repo_id *id,
                        const repo_blob *blobs, size_t count) {
  repairing *g = context;
  uint64_t shape = check_shape(blobs, count);
  if (count == 0) return NULL;
  pthread_mutex_lock(&g->lock);
  repair_pack *p = pack_of(g, id);
  if (p != NULL && p->indexes++ == 0) {
    p->size = repo_pack_size(blobs, count);
    p->shape = shape;
  } else if (p != NULL && p->shape != shape) {
    p->differs = true;
  }
  pthread_mutex_unlock(&g->lock);
  return p != NULL ? repo_index_add(g->old, id, blobs, count)
                   : error_no_memory();
}

static error *bad_file(repairing *g, const repo_id *id, error *why) {
  char text[REPO_ID_TEXT];
  if (check_is_fatal(why)) return why;
  repo_id_format(id, text);
  pthread_mutex_lock(&g->lock);
  g->index_damaged++;
  g->changed = true;
  pthread_mutex_unlock(&g->lock);
  return repair_find(g, "index_damaged", id, why,
                     "the index file %s is damaged, and goes", text);
}

static error *read_file(void *context, repo_hand *hand, size_t number) {
  repairing *g = context;
  const repo_id *id = &g->index_files.list[number];
  repo_index *alone = repo_index_new();
  if (alone == NULL) return error_no_memory();
  buffer_clear(&hand->file);
  error *e = repo_tools_load(repo_tools_of(g->r), g->h->store, REPO_INDEXES, id,
                             REPO_INDEX_FILE_MOST, &hand->file, &hand->stop);
  if (e == NULL && hand->file.failed) e = error_no_memory();
  if (e == NULL)
    e = repo_index_read(alone, id, hand->file.data, hand->file.size);
  if (e != NULL) e = bad_file(g, id, e);
  /* Also what stands before the damage. */
  if (e == NULL) e = repo_index_packs(alone, take_pack, g);
  repo_index_free(alone);
  return e;
}

static error *see_pack(void *context, const repo_id *id, uint64_t size) {
  repairing *g = context;
  pthread_mutex_lock(&g->lock);
  repair_pack *p = pack_of(g, id);
  if (p != NULL) {
    p->is_there = true;
    p->there = size;
  }
  pthread_mutex_unlock(&g->lock);
  return p != NULL ? NULL : error_no_memory();
}


/* ------------------------------------------------------------------
** What becomes of packs
** ---------------------------------------------------------------- */

/* By the ids that were given; each must be there. */
static error *choose_close(repairing *g) {
  for (uint32_t i = 0; g->which != NULL && i < g->which->count; i++) {
    const char *text = value_chars(g->which->as.items[i], "");
    repo_id id;
    uint32_t n;
    if (!repo_id_parse(&id, text, strlen(text)) ||
        !repo_id_map_find(g->packs, 0, &id, &n))
      return repo_error(SAROS_E_INVALIDARG,
                        "packs: there is no pack %.64s; ids of 64 digits "
                        "expected, as repo:check finds them",
                        text);
    g->list[n].close = true;
  }
  for (uint32_t n = 0;
       g->packs_too && g->which == NULL && n < repo_id_map_count(g->packs); n++)
    g->list[n].close = true;
  return NULL;
}

static error *judge(repairing *g, uint32_t n) {
  repair_pack *p = &g->list[n];
  const repo_id *id = &repo_id_map_at(g->packs, n)->id;
  char text[REPO_ID_TEXT];
  repo_id_format(id, text);
  if (!p->is_there) {
    p->fate = REPAIR_GONE;
    g->packs_missing++;
    g->changed = true;
    return repair_find(g, "pack_missing", id, NULL,
                       "the pack %s is missing, and goes from the index", text);
  }
  bool as_said = p->indexes > 0 && !p->differs && p->size == p->there;
  p->fate = as_said && !p->close && !g->read_all ? REPAIR_KEEP : REPAIR_LOOK;
  g->changed = g->changed || !as_said;
  if (p->fate == REPAIR_LOOK) g->bytes_total += p->close ? p->there : 0;
  return NULL;
}

static error *keep(void *context, const repo_id *id, const repo_blob *blobs,
                   size_t count) {
  repairing *g = context;
  uint32_t n;
  if (!repo_id_map_find(g->packs, 0, id, &n)) return NULL;
  return g->list[n].fate == REPAIR_KEEP
             ? repo_index_add(g->fresh, id, blobs, count)
             : NULL;
}

error *repair_look(repairing *g) {
  error *e = repair_ids_list(&g->index_files, g->h, REPO_INDEXES);
  repo_side side = {.store = g->h->store,
                    .tools = repo_tools_of(g->r),
                    .stop = g->stop,
                    .count = g->index_files.count,
                    .each = read_file,
                    .context = g};
  if (e == NULL && side.count > 0) e = repo_side_by_side(&side);
  if (e == NULL)
    e = g->h->store->way->list(g->h->store, REPO_PACKS, see_pack, g, g->stop);
  if (e == NULL) e = choose_close(g);
  for (uint32_t n = 0; e == NULL && n < repo_id_map_count(g->packs); n++)
    e = judge(g, n);
  return e != NULL ? e : repo_index_packs(g->old, keep, g);
}


/* ------------------------------------------------------------------
** A new index
** ---------------------------------------------------------------- */

typedef struct writing {
  repairing *g;
  repo_index_text text;
} writing;

static error *store_text(writing *w) {
  repairing *g = w->g;
  repo_id id;
  repo_index_text_end(&w->text);
  error *e = w->text.json.failed ? error_no_memory() : NULL;
  if (e == NULL)
    e = repo_tools_save(repo_tools_of(g->r), g->h->store, REPO_INDEXES,
                        w->text.json.data, w->text.json.size, &id, g->stop);
  buffer_free(&w->text.json);
  w->text = (repo_index_text){BUFFER_EMPTY, 0};
  g->index_new += e == NULL;
  return e != NULL ? e : repair_ids_add(&g->new_files, &id);
}

/* Packs that were made now are named already, by who made them. */
static error *name(void *context, const repo_id *id, const repo_blob *blobs,
                   size_t count) {
  writing *w = context;
  uint32_t n;
  if (!repo_id_map_find(w->g->packs, 0, id, &n)) return NULL;
  const repair_pack *p = &w->g->list[n];
  bool unsure = p->fate == REPAIR_BROKEN && p->unsure;
  if (p->fate != REPAIR_KEEP && p->fate != REPAIR_READ && !unsure) return NULL;
  repo_index_text_add(&w->text, id, blobs, count);
  return w->text.blobs >= REPO_INDEX_FULL ? store_text(w) : NULL;
}

static bool is_new(const repairing *g, const repo_id *id) {
  for (size_t i = 0; i < g->new_files.count; i++)
    if (repo_id_equal(&g->new_files.list[i], id)) return true;
  return false;
}

error *repair_write_index(repairing *g) {
  writing w = {.g = g, .text = {BUFFER_EMPTY, 0}};
  repo_store *store = g->h->store;
  /* What is named from now on may be of one who died while he stored it. */
  error *e =
      store->way->settle != NULL ? store->way->settle(store, g->stop) : NULL;
  if (e == NULL) e = repo_index_packs(g->fresh, name, &w);
  if (e == NULL && w.text.blobs > 0) e = store_text(&w);
  buffer_free(&w.text.json);
  /* All that they said and that is true is in files that are stored. */
  for (size_t i = 0; e == NULL && i < g->index_files.count; i++) {
    if (is_new(g, &g->index_files.list[i])) continue;
    e = store->way->remove(store, REPO_INDEXES, &g->index_files.list[i],
                           g->stop);
    g->index_removed += e == NULL;
  }
  return e;
}
