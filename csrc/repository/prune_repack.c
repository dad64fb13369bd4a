/*
** prune_repack: what is needed of packs that are to go is copied into new ones.
** Each blob is opened and its hash looked at; what is good is then copied as it
** was sealed: the same key, the same bytes. Only what must be compressed is
** sealed anew.
*/
#include <stdlib.h>
#include <string.h>

#include "repository/prune_parts.h"

/* What lies between two blobs is read along when it is no more than that. */
#define GAP_MOST ((size_t)256 << 10)
#define READ_MOST ((size_t)16 << 20)

typedef struct repacking {
  pruning *p;
  uint32_t *packs;   /* numbers */
  repo_blob **blobs; /* of each, what is to be copied, by offset */
  size_t *counts;
  size_t count;
} repacking;

/* ------------------------------------------------------------------
** New packs
** ---------------------------------------------------------------- */

/* Stores one, which is not among the open ones any more, and names it. */
static error *store_pack(pruning *p, repo_tool *tool, repo_pack *pack) {
  const void *data;
  size_t size;
  repo_id id;
  error *e = repo_pack_end(pack, tool->sealer, &data, &size, &id);
  if (e != NULL) return e;
  repo_piece piece = {data, size};
  e = p->h->store->way->save(p->h->store, REPO_PACKS, &id, &piece, 1, false,
                             &p->h->stop);
  if (e != NULL) return e;
  pthread_mutex_lock(&p->lock);
  p->new_packs++;
  p->new_bytes += size;
  e = prune_name(p, &id, repo_pack_blobs(pack), repo_pack_count(pack));
  pthread_mutex_unlock(&p->lock);
  return e;
}

/* With the lock held. `full` is to be stored then. */
static error *put(pruning *p, const repo_blob *blob, const void *sealed,
                  repo_pack **full) {
  repo_pack **open = &p->open[blob->type];
  repo_blob copy = *blob;
  *full = NULL;
  if (*open == NULL)
    *open = repo_pack_new((repo_blob_type)blob->type, (size_t)p->o->pack_size);
  if (*open == NULL) return error_no_memory();
  void *room = repo_pack_room(*open, blob->length);
  if (room == NULL) return error_no_memory();
  memcpy(room, sealed, blob->length);
  error *e = repo_pack_add(*open, &copy);
  if (e == NULL && repo_pack_is_full(*open)) {
    *full = *open;
    *open = NULL;
  }
  return e;
}

static error *add(pruning *p, repo_hand *hand, const repo_blob *blob,
                  const void *sealed) {
  repo_pack *full;
  pthread_mutex_lock(&p->lock);
  error *e = put(p, blob, sealed, &full);
  p->copied += e == NULL;
  pthread_mutex_unlock(&p->lock);
  if (full == NULL) return e;
  e = store_pack(p, hand->tool, full);
  repo_pack_free(full);
  return e;
}


/* ------------------------------------------------------------------
** One blob
** ---------------------------------------------------------------- */

static bool must_compress(const pruning *p, const repo_blob *blob) {
  return p->version >= 2 && blob->plain_length == 0 &&
         (blob->type == REPO_TREE || p->o->repack_uncompressed);
}

/* Compressed and sealed; what is plain is in the hand's `file`. */
static error *compress(repo_hand *hand, const repo_blob *old, const char *plain,
                       size_t size, repo_blob *blob) {
  size_t room = repo_zip_bound(size);
  buffer_clear(&hand->file);
  char *out = buffer_room(&hand->file, room + REPO_SEAL);
  if (out == NULL) return error_no_memory();
  error *e = repo_zip_pack(hand->tool->zip, REPO_LEVEL_AUTO, plain, size,
                           out + REPO_IV, &room);
  if (e == NULL) e = repo_seal(hand->tool->sealer, out + REPO_IV, room, out);
  *blob = *old;
  blob->length = (uint32_t)(room + REPO_SEAL);
  blob->plain_length = (uint32_t)size;
  return e;
}

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

/* Another copy of it, wherever it is. Its bytes are left in the buffer. */
static error *find_other(pruning *p, repo_hand *hand, repo_place *place,
                         buffer *b, const char **plain, size_t *size,
                         error *first) {
  repo_place other;
  for (size_t n = 0; repo_index_find(p->index, (repo_blob_type)place->blob.type,
                                     &place->blob.id, n, &other);
       n++) {
    if (repo_id_equal(&other.pack, &place->pack) &&
        other.blob.offset == place->blob.offset)
      continue;
    error *e = repo_blob_check(&other);
    buffer_clear(b);
    char *room = e == NULL ? buffer_room(b, other.blob.length) : NULL;
    if (e == NULL && room == NULL) e = error_no_memory();
    if (e == NULL && room != NULL)
      e = p->h->store->way->read(p->h->store, REPO_PACKS, &other.pack,
                                 other.blob.offset, other.blob.length, room,
                                 &p->h->stop);
    if (e == NULL && room != NULL) e = open_it(hand, &other, room, plain, size);
    if (e == NULL) {
      log_write(LOG_WARNING, "repository", "%s; another copy was taken",
                first->message);
      error_unref(first);
      *place = other;
      return NULL;
    }
    error_unref(e);
  }
  return first;
}

static error *copy_one(pruning *p, repo_hand *hand, const repo_id *pack,
                       const repo_blob *blob, const char *sealed) {
  repo_place place = {*pack, *blob};
  buffer b = BUFFER_EMPTY;
  const char *plain = NULL;
  size_t size = 0;
  error *e = open_it(hand, &place, sealed, &plain, &size);
  if (e != NULL && e->code == SAROS_E_DAMAGED) {
    e = find_other(p, hand, &place, &b, &plain, &size, e);
    sealed = b.data;
  }
  repo_blob again = {.length = 0};
  if (e == NULL && must_compress(p, &place.blob)) {
    e = compress(hand, &place.blob, plain, size, &again);
    if (e == NULL) e = add(p, hand, &again, hand->file.data);
  } else if (e == NULL) {
    e = add(p, hand, &place.blob, sealed);
  }
  buffer_free(&b);
  return e;
}


/* ------------------------------------------------------------------
** One pack
** ---------------------------------------------------------------- */

/* How many of them are read together, and from where to where. */
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

static error *copy_run(pruning *p, repo_hand *hand, const repo_id *pack,
                       const repo_blob *blobs, size_t count, uint64_t end,
                       repo_space *read) {
  uint64_t from = blobs[0].offset;
  error *e = NULL;
  if (!repo_space_ensure(read, (size_t)(end - from))) return error_no_memory();
  e = p->h->store->way->read(p->h->store, REPO_PACKS, pack, from,
                             (size_t)(end - from), read->data, &p->h->stop);
  for (size_t i = 0; e == NULL && i < count; i++) {
    if (repo_stopped(&hand->stop))
      return repo_error(SAROS_E_CANCELLED, "pruning was cancelled");
    e = copy_one(p, hand, pack, &blobs[i],
                 read->data + (blobs[i].offset - from));
  }
  return e;
}

static error *copy_pack(void *context, repo_hand *hand, size_t number) {
  repacking *r = context;
  pruning *p = r->p;
  const repo_id id = p->pack_list[r->packs[number]].id;
  const repo_blob *blobs = r->blobs[number];
  size_t left = r->counts[number];
  repo_space read = {NULL, 0};
  error *e = NULL;
  while (e == NULL && left > 0) {
    uint64_t end;
    size_t n = run_of(blobs, left, &end);
    e = copy_run(p, hand, &id, blobs, n, end, &read);
    blobs += n;
    left -= n;
  }
  repo_space_free(&read);
  if (e != NULL) return e;
  pthread_mutex_lock(&p->lock);
  p->bytes_done += p->pack_list[r->packs[number]].size;
  uint64_t done = p->bytes_done;
  pthread_mutex_unlock(&p->lock);
  if (p->o->progress != NULL)
    p->o->progress(p->o->context, done, p->figures.repacked_bytes);
  return NULL;
}


/* ------------------------------------------------------------------
** All packs
** ---------------------------------------------------------------- */

/* Each blob is copied from the first pack that has it. */
static error *choose(void *context, const repo_id *id, const repo_blob *blobs,
                     size_t count) {
  repacking *r = context;
  pruning *p = r->p;
  uint32_t pack, n;
  size_t kept = 0;
  if (!repo_id_map_find(p->packs, 0, id, &pack) ||
      p->pack_list[pack].what != REPO_PRUNE_REPACK)
    return NULL;
  repo_blob *list = mem_alloc(count * sizeof *list);
  if (list == NULL) return error_no_memory();
  for (size_t i = 0; i < count; i++) {
    if (!repo_id_map_find(p->used, blobs[i].type, &blobs[i].id, &n)) continue;
    repo_known *k = repo_id_map_at(p->used, n);
    if (k->mark != PRUNE_COPY) continue;
    k->mark = PRUNE_COPIED;
    list[kept++] = blobs[i];
  }
  r->packs[r->count] = pack;
  r->blobs[r->count] = list;
  r->counts[r->count++] = kept;
  return NULL;
}

static error *end_open(pruning *p) {
  repo_tool *tool;
  error *e = repo_tools_take(repo_tools_of(p->r), &tool);
  for (int type = 0; e == NULL && type < 2; type++)
    if (p->open[type] != NULL) e = store_pack(p, tool, p->open[type]);
  repo_tools_give(repo_tools_of(p->r), tool);
  return e;
}

static error *repack(repacking *r) {
  pruning *p = r->p;
  error *e = repo_index_packs(p->index, choose, r);
  repo_side side = {.store = p->h->store,
                    .tools = repo_tools_of(p->r),
                    .stop = &p->h->stop,
                    .count = r->count,
                    .each = copy_pack,
                    .context = r};
  if (e == NULL && r->count > 0) e = repo_side_by_side(&side);
  if (e == NULL) e = end_open(p);
  if (e == NULL && p->copied != p->to_copy)
    e = repo_error(SAROS_E_UNEXPECTED,
                   "%lu pieces were to be copied, and %lu were: nothing is "
                   "removed",
                   (unsigned long)p->to_copy, (unsigned long)p->copied);
  return e;
}

error *prune_repack(pruning *p) {
  size_t most = (size_t)p->figures.repacked + 1;
  repacking r = {.p = p,
                 .packs = mem_alloc(most * sizeof *r.packs),
                 .blobs = mem_zero(most * sizeof(repo_blob *)),
                 .counts = mem_alloc(most * sizeof *r.counts)};
  bool good = r.packs != NULL && r.blobs != NULL && r.counts != NULL;
  error *e = good ? repack(&r) : error_no_memory();
  for (size_t i = 0; i < r.count; i++) mem_free(r.blobs[i]);
  mem_free(r.packs);
  mem_free(r.blobs);
  mem_free(r.counts);
  return e;
}
