/*
** copy_blobs: what versions need, from the packs of one repository into those
** of another one. A blob is opened with the one key, looked at, and sealed with
** the other: what was damaged here never arrives there.
*/
#include <errno.h>
#include <string.h>

#include "repository/copy_parts.h"
#include "repository/side.h"
#include "repository/sweep.h"

/* What lies between two blobs is read along when it is no more than that. */
#define GAP_MOST ((size_t)256 << 10)
#define READ_MOST ((size_t)16 << 20)

/* ------------------------------------------------------------------
** What is wanted
** ---------------------------------------------------------------- */

static error *not_known(repo_blob_type type, const repo_id *id) {
  char text[REPO_ID_TEXT];
  repo_id_format(id, text);
  return repo_error(SAROS_E_DAMAGED,
                    "the %s blob %s is in no pack that the index knows",
                    type == REPO_TREE ? "tree" : "data", text);
}

static error *want(copying *k, repo_blob_type type, const repo_id *id) {
  repo_place p;
  uint32_t number;
  bool fresh = false;
  if (repo_index_find(k->to_index, type, id, 0, &p)) return NULL;
  if (!repo_index_find(k->from_index, type, id, 0, &p))
    return not_known(type, id);
  pthread_mutex_lock(&k->lock);
  bool good = repo_id_map_put(k->wanted, (uint8_t)type, id, &number, &fresh);
  if (fresh) {
    k->wanted_bytes += p.blob.length;
    k->bytes_total += p.blob.length;
  }
  pthread_mutex_unlock(&k->lock);
  return good ? NULL : error_no_memory();
}

static error *want_content(void *context, const repo_id *tree,
                           const repo_node *n) {
  error *e = NULL;
  (void)tree;
  for (size_t i = 0; e == NULL && i < n->content_count; i++)
    e = want(context, REPO_DATA, &n->content[i]);
  return e;
}

static error *broken(void *context, const repo_id *tree, error *e) {
  (void)context;
  (void)tree;
  return e;
}

error *copy_want(copying *k, const repo_id *tree) {
  repo_sweep w = {.store = k->from->store,
                  .tools = repo_tools_of(k->from->r),
                  .index = k->from_index,
                  .stop = &k->stop,
                  .node = want_content,
                  .broken = broken,
                  .context = k};
  size_t before = repo_id_map_count(k->trees);
  error *e = repo_sweep_trees(&w, tree, 1, k->trees);
  for (size_t i = before; e == NULL && i < repo_id_map_count(k->trees); i++)
    e = want(k, REPO_TREE, &repo_id_map_at(k->trees, (uint32_t)i)->id);
  return e;
}


/* ------------------------------------------------------------------
** One blob
** ---------------------------------------------------------------- */

typedef struct pack_part {
  repo_id id;
  repo_blob *blobs; /* that are copied, by offset */
  size_t count;
} pack_part;

typedef struct carrying {
  copying *k;
  packer *packer;
  pack_part *parts;
  size_t count, room;
} carrying;

/* Opens a copy of what was read, for opening is done in place. */
static error *open_it(repo_hand *hand, const repo_place *place,
                      const char *sealed, const char **plain, size_t *size) {
  error *e = repo_blob_check(place);
  if (e != NULL) return e;
  if (!repo_space_ensure(&hand->sealed, place->blob.length))
    return error_no_memory();
  memcpy(hand->sealed.data, sealed, place->blob.length);
  return repo_blob_open(hand->tool, place, hand->sealed.data, &hand->space,
                        plain, size);
}

static bool is_same(const repo_place *a, const repo_place *b) {
  return a->blob.offset == b->blob.offset && repo_id_equal(&a->pack, &b->pack);
}

/* Another copy of it, wherever it is. Takes over `first`. */
static error *find_other(copying *k, repo_hand *hand, const repo_place *bad,
                         const char **plain, size_t *size, error *first) {
  repo_place p;
  for (size_t n = 0; repo_index_find(
           k->from_index, (repo_blob_type)bad->blob.type, &bad->blob.id, n, &p);
       n++) {
    if (is_same(&p, bad)) continue;
    error *e = repo_blob_read(k->from->store, hand->tool, &p, &hand->sealed,
                              &hand->space, plain, size, &hand->stop);
    if (e == NULL) {
      log_write(LOG_WARNING, "repository", "%s; another copy was taken",
                first->message);
      error_unref(first);
      return NULL;
    }
    if (e->code == SAROS_E_DAMAGED) {
      error_unref(e);
      continue;
    }
    error_unref(first);
    return e;
  }
  return first;
}

static error *carry(carrying *y, repo_hand *hand, repo_tool *theirs,
                    const repo_place *p, const char *sealed) {
  const char *plain = NULL;
  size_t size = 0;
  repo_id id;
  error *e = sealed != NULL ? open_it(hand, p, sealed, &plain, &size)
                            : repo_blob_read(y->k->from->store, hand->tool, p,
                                             &hand->sealed, &hand->space,
                                             &plain, &size, &hand->stop);
  if (e != NULL && e->code == SAROS_E_DAMAGED)
    e = find_other(y->k, hand, p, &plain, &size, e);
  if (e == NULL)
    e = repo_packer_add(y->packer, theirs, (repo_blob_type)p->blob.type, plain,
                        size, &id);
  if (e != NULL) return e;
  pthread_mutex_lock(&y->k->lock);
  uint64_t done = y->k->bytes_done += p->blob.length;
  uint64_t total = y->k->bytes_total;
  pthread_mutex_unlock(&y->k->lock);
  saros_op_progress(y->k->c->op, done, total);
  return NULL;
}


/* ------------------------------------------------------------------
** One pack
** ---------------------------------------------------------------- */

/* How many of them are read together, and to where. */
static size_t run_of(const repo_blob *blobs, size_t count, uint64_t *end) {
  size_t n = 1;
  uint64_t from = blobs[0].offset;
  *end = from + blobs[0].length;
  for (; n < count; n++) {
    uint64_t next = (uint64_t)blobs[n].offset + blobs[n].length;
    if (blobs[n].offset < *end || blobs[n].offset > *end + GAP_MOST ||
        next - from > READ_MOST)
      break;
    *end = next;
  }
  return n;
}

/* NULL in *sealed: the pack is gone, or too short, or a blob so large by the
   index that no memory is asked for it. Then each is looked for by itself. */
static error *read_run(carrying *y, repo_hand *hand, const pack_part *part,
                       const repo_blob *blobs, size_t size, repo_space *space,
                       const char **sealed) {
  repo_place first = {part->id, blobs[0]};
  repo_store *store = y->k->from->store;
  *sealed = NULL;
  error *e = repo_blob_check(&first);
  if (e == NULL && !repo_space_ensure(space, size)) return error_no_memory();
  if (e == NULL)
    e = store->way->read(store, REPO_PACKS, &part->id, blobs[0].offset, size,
                         space->data, &hand->stop);
  if (e == NULL) {
    *sealed = space->data;
    return NULL;
  }
  if (e->code != SAROS_E_DAMAGED && e->number != ENOENT) return e;
  log_write(LOG_WARNING, "repository", "%s", e->message);
  error_unref(e);
  return NULL;
}

static error *carry_pack(void *context, repo_hand *hand, size_t number) {
  carrying *y = context;
  const pack_part *part = &y->parts[number];
  repo_space space = {NULL, 0};
  repo_tools *tools = repo_tools_of(y->k->to->r);
  repo_tool *theirs;
  error *e = repo_tools_take(tools, &theirs);
  if (e != NULL) return e;
  for (size_t i = 0; e == NULL && i < part->count;) {
    const repo_blob *blobs = &part->blobs[i];
    const char *sealed;
    uint64_t end;
    size_t n = run_of(blobs, part->count - i, &end);
    e = read_run(y, hand, part, blobs, (size_t)(end - blobs->offset), &space,
                 &sealed);
    for (size_t j = 0; e == NULL && j < n; j++) {
      repo_place p = {part->id, blobs[j]};
      e = repo_stopped(&hand->stop)
              ? repo_error(SAROS_E_CANCELLED, "copying was cancelled")
              : carry(y, hand, theirs, &p,
                      sealed != NULL
                          ? sealed + (blobs[j].offset - blobs[0].offset)
                          : NULL);
    }
    i += n;
  }
  repo_tools_give(tools, theirs);
  repo_space_free(&space);
  return e;
}


/* ------------------------------------------------------------------
** All packs
** ---------------------------------------------------------------- */

static pack_part *new_part(carrying *y) {
  if (y->count == y->room) {
    size_t room = y->room * 2 + 64;
    pack_part *parts = mem_grow(y->parts, room * sizeof *parts);
    if (parts == NULL) return NULL;
    y->parts = parts;
    y->room = room;
  }
  return &y->parts[y->count];
}

/* Each blob is taken from the first pack that has it. */
static error *choose(void *context, const repo_id *id, const repo_blob *blobs,
                     size_t count) {
  carrying *y = context;
  uint32_t number;
  size_t kept = 0;
  repo_blob *list = NULL;
  for (size_t i = 0; i < count; i++) {
    if (!repo_id_map_find(y->k->wanted, blobs[i].type, &blobs[i].id, &number))
      continue;
    repo_known *known = repo_id_map_at(y->k->wanted, number);
    if (known->mark != 0) continue;
    if (list == NULL) list = mem_alloc((count - i) * sizeof *list);
    if (list == NULL) return error_no_memory();
    known->mark = 1;
    list[kept++] = blobs[i];
  }
  if (kept == 0) return NULL;
  pack_part *part = new_part(y);
  if (part == NULL) {
    mem_free(list);
    return error_no_memory();
  }
  *part = (pack_part){*id, list, kept};
  y->count++;
  return NULL;
}

static error *carry_all(carrying *y) {
  copying *k = y->k;
  repo_side side = {.store = k->from->store,
                    .tools = repo_tools_of(k->from->r),
                    .stop = &k->stop,
                    .each = carry_pack,
                    .context = y};
  error *e = repo_index_packs(k->from_index, choose, y);
  side.count = y->count;
  return e == NULL && y->count > 0 ? repo_side_by_side(&side) : e;
}

static void count_wanted(copying *k) {
  for (size_t i = 0; i < repo_id_map_count(k->wanted); i++) {
    const repo_known *known = repo_id_map_at(k->wanted, (uint32_t)i);
    repo_place p;
    if (!repo_index_find(k->from_index, (repo_blob_type)known->type, &known->id,
                         0, &p))
      continue;
    *(known->type == REPO_TREE ? &k->counts.tree_blobs
                               : &k->counts.data_blobs) += 1;
    k->counts.bytes += repo_blob_size(&p.blob);
  }
}

error *copy_wanted(copying *k) {
  carrying y = {.k = k};
  packer_counts counts;
  error *e = NULL;
  if (k->pack.dry) count_wanted(k);
  if (k->pack.dry || repo_id_map_count(k->wanted) == 0) return NULL;
  y.packer = repo_packer_new(k->to, k->to_index, &k->pack, &k->stop, &e);
  if (y.packer == NULL) return e;
  e = carry_all(&y);
  /* What was stored stays, also after a failure: the next one finds it. */
  error *why = repo_packer_end(y.packer, e != NULL);
  if (e == NULL)
    e = why;
  else
    error_unref(why);
  repo_packer_count(y.packer, &counts);
  k->counts.data_blobs += counts.data_blobs;
  k->counts.tree_blobs += counts.tree_blobs;
  k->counts.bytes += counts.bytes;
  k->counts.packed += counts.packed;
  repo_packer_free(y.packer);
  for (size_t i = 0; i < y.count; i++) mem_free(y.parts[i].blobs);
  mem_free(y.parts);
  return e;
}
