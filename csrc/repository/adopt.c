/*
** adopt: listed, then their headers read side by side, then named by an index
** file; only when that is stored may others rely on it, and only then the index
** in memory has it.
*/
#include "repository/adopt.h"

#include <errno.h>
#include <inttypes.h>
#include <pthread.h>

#include "repository/id_map.h"
#include "repository/side.h"

typedef struct orphan {
  repo_id id;
  uint64_t size;
  repo_blob *blobs; /* NULL: it is left alone */
  size_t count;
} orphan;

typedef struct adopting {
  repo_hold *h;
  repo_index *index;
  repo_id_map *known;
  orphan *list;
  size_t count, room;
} adopting;


/* ------------------------------------------------------------------
** Which
** ---------------------------------------------------------------- */

static error *note_known(void *context, const repo_id *pack,
                         const repo_blob *blobs, size_t count) {
  adopting *a = context;
  uint32_t number;
  bool fresh;
  (void)blobs, (void)count;
  return repo_id_map_put(a->known, 0, pack, &number, &fresh)
             ? NULL
             : error_no_memory();
}

static error *note_orphan(void *context, const repo_id *id, uint64_t size) {
  adopting *a = context;
  uint32_t number;
  if (repo_id_map_find(a->known, 0, id, &number)) return NULL;
  if (a->count == a->room) {
    size_t room = a->room * 2 + 64;
    orphan *list = mem_grow(a->list, room * sizeof *list);
    if (list == NULL) return error_no_memory();
    a->list = list;
    a->room = room;
  }
  a->list[a->count++] = (orphan){.id = *id, .size = size};
  return NULL;
}


/* ------------------------------------------------------------------
** What is in them
** ---------------------------------------------------------------- */

static error *read_header(const adopting *a, repo_hand *hand, orphan *o) {
  size_t size = 0, need = 0;
  error *e = repo_pack_read_header(hand->tool->sealer, "", 0, o->size, &need,
                                   &o->blobs, &o->count);
  while (e == NULL && need > 0) {
    size = need;
    buffer_clear(&hand->file);
    char *end = buffer_room(&hand->file, size);
    if (end == NULL) return error_no_memory();
    e = a->h->store->way->read(a->h->store, REPO_PACKS, &o->id, o->size - size,
                               size, end, &hand->stop);
    if (e == NULL)
      e = repo_pack_read_header(hand->tool->sealer, end, size, o->size, &need,
                                &o->blobs, &o->count);
  }
  return e;
}

static bool is_of_use(repo_index *index, const orphan *o) {
  repo_place place;
  for (size_t i = 0; i < o->count; i++)
    if (!repo_index_find(index, (repo_blob_type)o->blobs[i].type,
                         &o->blobs[i].id, 0, &place))
      return true;
  return false;
}

static error *look_into(void *context, repo_hand *hand, size_t number) {
  adopting *a = context;
  orphan *o = &a->list[number];
  error *e = read_header(a, hand, o);
  if (e == NULL && !is_of_use(a->index, o)) {
    mem_free(o->blobs);
    o->blobs = NULL;
  }
  if (e == NULL || e->code == SAROS_E_CANCELLED ||
      e->code == SAROS_E_OUTOFMEMORY)
    return e;
  if (e->number != ENOENT)
    log_write(LOG_WARNING, "repository",
              "a pack that a backup left behind is not used: %s", e->message);
  error_unref(e);
  return NULL;
}


/* ------------------------------------------------------------------
** Named
** ---------------------------------------------------------------- */

/* Those from `from` to before `to`: as many as an index file has. */
static error *name(adopting *a, size_t from, size_t to) {
  repo_index_text text = {BUFFER_EMPTY, 0};
  repo *r = a->h->r;
  repo_id id;
  for (size_t i = from; i < to; i++)
    if (a->list[i].blobs != NULL)
      repo_index_text_add(&text, &a->list[i].id, a->list[i].blobs,
                          a->list[i].count);
  bool any = text.blobs > 0;
  repo_index_text_end(&text);
  error *e = text.json.failed ? error_no_memory() : NULL;
  if (e == NULL && any)
    e = repo_tools_save(repo_tools_of(r), a->h->store, REPO_INDEXES,
                        text.json.data, text.json.size, &id, &a->h->stop);
  buffer_free(&text.json);
  for (size_t i = from; e == NULL && i < to; i++)
    if (a->list[i].blobs != NULL)
      e = repo_index_add(a->index, &a->list[i].id, a->list[i].blobs,
                         a->list[i].count);
  return e == NULL && any ? repo_index_stored(r, &id) : e;
}

static error *name_all(adopting *a, uint64_t *packs) {
  size_t from = 0, blobs = 0;
  error *e = NULL;
  for (size_t i = 0; e == NULL && i < a->count; i++) {
    if (a->list[i].blobs == NULL) continue;
    *packs += 1;
    blobs += a->list[i].count;
    if (blobs < REPO_INDEX_FULL) continue;
    e = name(a, from, i + 1);
    from = i + 1;
    blobs = 0;
  }
  return e != NULL ? e : name(a, from, a->count);
}

/* Who has stored them may have died before they were durable. */
static error *settle(adopting *a) {
  repo_store *store = a->h->store;
  bool any = false;
  for (size_t i = 0; i < a->count; i++) any = any || a->list[i].blobs != NULL;
  if (!any || store->way->settle == NULL) return NULL;
  return store->way->settle(store, &a->h->stop);
}

static error *adopt(adopting *a, uint64_t *packs) {
  repo_store *store = a->h->store;
  error *e = repo_index_packs(a->index, note_known, a);
  if (e == NULL)
    e = store->way->list(store, REPO_PACKS, note_orphan, a, &a->h->stop);
  repo_side side = {.store = store,
                    .tools = repo_tools_of(a->h->r),
                    .stop = &a->h->stop,
                    .count = a->count,
                    .each = look_into,
                    .context = a};
  if (e == NULL && a->count > 0) e = repo_side_by_side(&side);
  if (e == NULL && a->count > 0) e = settle(a);
  if (e == NULL && a->count > 0) e = name_all(a, packs);
  if (e == NULL && *packs > 0)
    log_write(LOG_NOTICE, "repository",
              "a backup had ended before it was done: %" PRIu64
              " packs that it had stored are used",
              *packs);
  return e;
}

error *repo_adopt(repo_hold *h, repo_index *index, uint64_t *packs) {
  adopting a = {.h = h, .index = index, .known = repo_id_map_new()};
  *packs = 0;
  error *e = a.known != NULL ? adopt(&a, packs) : error_no_memory();
  for (size_t i = 0; i < a.count; i++) mem_free(a.list[i].blobs);
  mem_free(a.list);
  repo_id_map_free(a.known);
  return e;
}
