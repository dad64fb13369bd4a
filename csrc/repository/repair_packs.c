/*
** repair_packs: what packs say themselves, and what is good of those that are
** damaged. A blob counts as good when it can be opened and is what its name
** says. Those that are nowhere else are stored anew, in packs of their own.
*/
#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "repository/check_parts.h"
#include "repository/repair_parts.h"
#include "repository/sha.h"

#define WINDOW ((size_t)4 << 20)

/* ------------------------------------------------------------------
** One pack
** ---------------------------------------------------------------- */

/* NULL in *e, or what ends all of it. Else it is a reason, which is taken
   over by *why, the first of them. */
static bool goes_on(error **e, error **why, repair_pack *p) {
  if (*e == NULL) return true;
  if (check_is_fatal(*e) && (*e)->number != ENOENT) return false;
  if ((*e)->code != SAROS_E_DAMAGED) p->unsure = true;
  if (*why == NULL)
    *why = *e;
  else
    error_unref(*e);
  *e = NULL;
  return true;
}

static error *read_header(repairing *g, repo_hand *hand, const repo_id *id,
                          uint64_t whole, repo_blob **blobs, size_t *count) {
  repo_store *store = g->h->store;
  size_t need = whole < REPO_PACK_EAGER ? (size_t)whole : REPO_PACK_EAGER;
  error *e = NULL;
  *blobs = NULL;
  while (e == NULL && *blobs == NULL) {
    size_t size = need;
    if (!repo_space_ensure(&hand->sealed, size + 1)) return error_no_memory();
    if (size > 0)
      e = store->way->read(store, REPO_PACKS, id, whole - size, size,
                           hand->sealed.data, &hand->stop);
    if (e == NULL)
      e = repo_pack_read_header(hand->tool->sealer, hand->sealed.data, size,
                                whole, &need, blobs, count);
  }
  return e;
}

static error *hash_all(repairing *g, repo_hand *hand, const repo_id *id,
                       uint64_t whole) {
  repo_store *store = g->h->store;
  repo_sha sha;
  repo_id found;
  error *e = NULL;
  repo_sha_begin(&sha);
  if (!repo_space_ensure(&hand->sealed, WINDOW)) return error_no_memory();
  for (uint64_t at = 0; e == NULL && at < whole; at += WINDOW) {
    size_t size = whole - at < WINDOW ? (size_t)(whole - at) : WINDOW;
    e = store->way->read(store, REPO_PACKS, id, at, size, hand->sealed.data,
                         &hand->stop);
    if (e == NULL) repo_sha_add(&sha, hand->sealed.data, size);
  }
  if (e != NULL) return e;
  repo_sha_end(&sha, &found);
  if (repo_id_equal(&found, id)) return NULL;
  return repo_error(SAROS_E_DAMAGED, "its content is not what its name says");
}

static error *read_blobs(repairing *g, repo_hand *hand, const repo_id *id,
                         const repo_blob *blobs, size_t count, repair_pack *p,
                         error **why) {
  for (size_t i = 0; i < count; i++) {
    repo_place place = {*id, blobs[i]};
    const char *plain;
    size_t size;
    error *e = repo_blob_read(g->h->store, hand->tool, &place, &hand->sealed,
                              &hand->space, &plain, &size, &hand->stop);
    if (!goes_on(&e, why, p)) return e;
    if (*why != NULL) break;
  }
  return NULL;
}

static error *look_closely(repairing *g, repo_hand *hand, const repo_id *id,
                           repair_pack *p, const repo_blob *blobs, size_t count,
                           error **why) {
  error *e = hash_all(g, hand, id, p->there);
  if (!goes_on(&e, why, p)) return e;
  if (*why == NULL) e = read_blobs(g, hand, id, blobs, count, p, why);
  pthread_mutex_lock(&g->lock);
  uint64_t done = g->bytes_done += p->there, total = g->bytes_total;
  g->packs_read++;
  pthread_mutex_unlock(&g->lock);
  saros_op_progress(g->c->op, done, total);
  return e;
}

/* It is as its header says. */
static error *take_header(repairing *g, const repo_id *id, repair_pack *p,
                          const repo_blob *blobs, size_t count) {
  char text[REPO_ID_TEXT];
  bool is_new = p->indexes == 0;
  bool other = !is_new && (p->differs || p->shape != check_shape(blobs, count));
  error *e = repo_index_add(g->fresh, id, blobs, count);
  p->fate = REPAIR_READ;
  if (e != NULL || (!is_new && !other)) return e;
  repo_id_format(id, text);
  pthread_mutex_lock(&g->lock);
  g->changed = true;
  g->packs_added += is_new;
  pthread_mutex_unlock(&g->lock);
  return repair_find(g, is_new ? "pack_added" : "pack_other", id, NULL,
                     is_new ? "no index file named the pack %s: now one does"
                            : "the pack %s has other pieces than the index "
                              "said: now that says so, too",
                     text);
}

/* Takes over `why`, and the blobs, if there are any. */
static error *is_broken(repairing *g, const repo_id *id, repair_pack *p,
                        repo_blob *blobs, size_t count, error *why) {
  char text[REPO_ID_TEXT];
  repo_id_format(id, text);
  p->fate = REPAIR_BROKEN;
  p->blobs = blobs;
  p->count = count;
  bool nothing = blobs == NULL && p->indexes == 0;
  pthread_mutex_lock(&g->lock);
  g->packs_damaged += !nothing;
  g->packs_unreadable += nothing;
  /* Of a pack that nobody names nothing changes, unless something is saved. */
  g->changed = g->changed || !nothing;
  pthread_mutex_unlock(&g->lock);
  return repair_find(g, nothing ? "pack_unreadable" : "pack_damaged", id, why,
                     nothing ? "nobody can say what was in the pack %s; it "
                               "stays as it is"
                             : "the pack %s is damaged",
                     text);
}

/* The shape of a list is that of its blobs by offset; headers are so. */
static error *look(repairing *g, repo_hand *hand, uint32_t n) {
  repo_id id = repo_id_map_at(g->packs, n)->id;
  repair_pack *p = &g->list[n];
  repo_blob *blobs = NULL;
  size_t count = 0;
  error *why = NULL;
  error *e = read_header(g, hand, &id, p->there, &blobs, &count);
  if (!goes_on(&e, &why, p)) return e;
  if (e == NULL && p->close)
    e = look_closely(g, hand, &id, p, blobs, count, &why);
  if (e == NULL && why != NULL) return is_broken(g, &id, p, blobs, count, why);
  if (e == NULL) e = take_header(g, &id, p, blobs, count);
  error_unref(why);
  mem_free(blobs);
  return e;
}


/* ------------------------------------------------------------------
** All that must be asked
** ---------------------------------------------------------------- */

typedef struct asking {
  repairing *g;
  uint32_t *numbers;
  size_t count;
} asking;

static error *ask(void *context, repo_hand *hand, size_t number) {
  asking *a = context;
  return look(a->g, hand, a->numbers[number]);
}

static error *side_by_side(repairing *g, uint8_t fate,
                           error *(*each)(void *context, repo_hand *hand,
                                          size_t number),
                           asking *a) {
  size_t count = repo_id_map_count(g->packs);
  a->numbers = mem_alloc((count + 1) * sizeof *a->numbers);
  if (a->numbers == NULL) return error_no_memory();
  for (uint32_t n = 0; n < count; n++)
    if (g->list[n].fate == fate) a->numbers[a->count++] = n;
  repo_side side = {.store = g->h->store,
                    .tools = repo_tools_of(g->r),
                    .stop = g->stop,
                    .count = a->count,
                    .each = each,
                    .context = a};
  error *e = a->count > 0 ? repo_side_by_side(&side) : NULL;
  mem_free(a->numbers);
  return e;
}

error *repair_read_packs(repairing *g) {
  asking a = {.g = g};
  return side_by_side(g, REPAIR_LOOK, ask, &a);
}


/* ------------------------------------------------------------------
** What is good of broken ones
** ---------------------------------------------------------------- */

typedef struct salvaging {
  asking a; /* first */
  packer *packer;
} salvaging;

static error *mark(repairing *g, const repo_blob *b, uint8_t what) {
  uint32_t number;
  bool fresh;
  pthread_mutex_lock(&g->lock);
  bool good = repo_id_map_put(g->saved, b->type, &b->id, &number, &fresh);
  if (good && what == REPAIR_IS_SAVED)
    repo_id_map_at(g->saved, number)->mark = what;
  pthread_mutex_unlock(&g->lock);
  return good ? NULL : error_no_memory();
}

static error *save_blob(salvaging *s, repo_hand *hand, const repo_id *pack,
                        repair_pack *p, const repo_blob *b) {
  repairing *g = s->a.g;
  repo_place place = {*pack, *b};
  const char *plain;
  size_t size;
  repo_id id;
  error *why = NULL;
  if (repo_index_find(g->fresh, (repo_blob_type)b->type, &b->id, 0, &place))
    return mark(g, b, REPAIR_IS_SAVED);
  place = (repo_place){*pack, *b};
  error *e = repo_blob_read(g->h->store, hand->tool, &place, &hand->sealed,
                            &hand->space, &plain, &size, &hand->stop);
  bool read = e == NULL;
  if (!goes_on(&e, &why, p)) return e;
  error_unref(why);
  if (read)
    e = repo_packer_add(s->packer, hand->tool, (repo_blob_type)b->type, plain,
                        size, &id);
  return e != NULL ? e : mark(g, b, read ? REPAIR_IS_SAVED : REPAIR_IS_LOST);
}

static error *save_pack(void *context, repo_hand *hand, size_t number) {
  salvaging *s = context;
  uint32_t n = s->a.numbers[number];
  repair_pack *p = &s->a.g->list[n];
  repo_id id = repo_id_map_at(s->a.g->packs, n)->id;
  error *e = NULL;
  for (size_t i = 0; e == NULL && i < p->count; i++)
    e = save_blob(s, hand, &id, p, &p->blobs[i]);
  return e;
}

/* Of a broken pack that could not say what it has the index says it; and what
   was in one that is gone must be elsewhere. */
static error *fill_in(void *context, const repo_id *id, const repo_blob *blobs,
                      size_t count) {
  repairing *g = context;
  uint32_t n;
  repo_place place;
  error *e = NULL;
  if (!repo_id_map_find(g->packs, 0, id, &n)) return NULL;
  repair_pack *p = &g->list[n];
  if (p->fate == REPAIR_BROKEN && p->blobs == NULL) {
    p->blobs = mem_alloc(count * sizeof *p->blobs);
    if (p->blobs == NULL) return error_no_memory();
    memcpy(p->blobs, blobs, count * sizeof *p->blobs);
    p->count = count;
  }
  for (size_t i = 0; e == NULL && p->fate == REPAIR_GONE && i < count; i++)
    if (!repo_index_find(g->fresh, (repo_blob_type)blobs[i].type, &blobs[i].id,
                         0, &place))
      e = mark(g, &blobs[i], REPAIR_IS_LOST);
  return e;
}

/* What could not be read this time is not lost: the index goes on naming it, or
   the versions would be repaired without it, and it would be pruned. */
static error *keep_unsure(repairing *g) {
  error *e = NULL;
  for (uint32_t n = 0; e == NULL && n < repo_id_map_count(g->packs); n++) {
    const repair_pack *p = &g->list[n];
    if (p->fate == REPAIR_BROKEN && p->unsure && p->count > 0)
      e = repo_index_add(g->fresh, &repo_id_map_at(g->packs, n)->id, p->blobs,
                         p->count);
  }
  return e;
}

static error *count_lost(repairing *g) {
  error *e = NULL;
  for (uint32_t n = 0; e == NULL && n < repo_id_map_count(g->saved); n++) {
    const repo_known *known = repo_id_map_at(g->saved, n);
    char text[REPO_ID_TEXT];
    if (known->mark == REPAIR_IS_SAVED) {
      g->blobs_saved++;
      continue;
    }
    repo_id_format(&known->id, text);
    repo_place place;
    const char *type = known->type == REPO_TREE ? "tree" : "data";
    if (repo_index_find(g->fresh, (repo_blob_type)known->type, &known->id, 0,
                        &place)) {
      g->blobs_unread++;
      e = repair_find(g, "blob_unread", &known->id, NULL,
                      "the %s blob %s could not be read; its pack and what the "
                      "index says of it stay: see to the disk, and repair "
                      "again",
                      type, text);
      continue;
    }
    g->blobs_lost++;
    e = repair_find(g, "blob_lost", &known->id, NULL,
                    "the %s blob %s is lost; if a version needs it, back up "
                    "again what it is of, or repair the versions",
                    type, text);
  }
  return e;
}

error *repair_salvage(repairing *g) {
  salvaging s = {.a = {.g = g}};
  packer_options o;
  error *e = repo_index_packs(g->old, fill_in, g);
  if (e == NULL) e = repo_call_pack_options(g->c, &o);
  if (e != NULL) return e;
  if (g->packs_damaged > 0) {
    s.packer = repo_packer_new(g->h, g->fresh, &o, g->stop, &e);
    if (s.packer == NULL) return e;
    e = side_by_side(g, REPAIR_BROKEN, save_pack, &s.a);
    error *why = repo_packer_end(s.packer, e != NULL);
    if (e == NULL)
      e = why;
    else
      error_unref(why);
    repo_packer_free(s.packer);
  }
  if (e == NULL) e = keep_unsure(g);
  return e != NULL ? e : count_lost(g);
}


/* ------------------------------------------------------------------
** And then they go
** ---------------------------------------------------------------- */

/* But for those of which something could not be read this time, and those of
   which nobody knows anything. */
error *repair_remove_packs(repairing *g) {
  repo_store *store = g->h->store;
  error *e = NULL;
  for (uint32_t n = 0; e == NULL && n < repo_id_map_count(g->packs); n++) {
    const repair_pack *p = &g->list[n];
    if (p->fate != REPAIR_BROKEN || p->unsure || p->count == 0) continue;
    e = store->way->remove(store, REPO_PACKS, &repo_id_map_at(g->packs, n)->id,
                           g->stop);
    g->packs_removed += e == NULL;
  }
  return e;
}
