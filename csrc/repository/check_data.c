/*
** check_data: what is in packs, byte by byte. A pack is read from its beginning
** to its end, some blobs at a time, its hash and theirs in one go; what is not
** as it should be, and what is too large for that, is read once more, piece by
** piece, which tells what exactly is bad, and what is good the second time.
*/
#include <errno.h>
#include <sys/random.h>

#include "repository/check_parts.h"
#include "repository/sha.h"

/* Packs that are larger are not read in one go. */
#define WHOLE_MOST ((uint64_t)192 << 20)
/* What is in memory at once, or one blob if that is larger. */
#define WINDOW ((size_t)4 << 20)

typedef struct reading {
  checking *c;
  uint32_t *packs; /* numbers of those that are read */
  size_t count;
  bool *again;  /* by number: is to be looked at closely */
  bool *failed; /* … because it did not look good */
} reading;

/* ------------------------------------------------------------------
** Which of them
** ---------------------------------------------------------------- */

static error *shuffle(reading *r) {
  for (size_t i = r->count; i > 1; i--) {
    uint64_t n;
    if (getrandom(&n, sizeof n, 0) != (ssize_t)sizeof n)
      return error_of_errno(SAROS_FACADE_SAROS, errno,
                            "cannot get random numbers", NULL);
    size_t k = (size_t)(n % i);
    uint32_t swap = r->packs[k];
    r->packs[k] = r->packs[i - 1];
    r->packs[i - 1] = swap;
  }
  return NULL;
}

static size_t as_many_bytes(const reading *r, uint64_t bytes) {
  uint64_t sum = 0;
  size_t n = 0;
  while (n < r->count && (n == 0 || sum < bytes))
    sum += r->c->pack_list[r->packs[n++]].there;
  return n;
}

static error *choose(reading *r) {
  checking *c = r->c;
  const repo_check_options *o = c->o;
  for (uint32_t n = 0; n < repo_id_map_count(c->packs); n++) {
    unsigned first = repo_id_map_at(c->packs, n)->id.bytes[0];
    if (!c->pack_list[n].is_there) continue;
    if (o->which == REPO_CHECK_PART && first % o->of_parts != o->part - 1)
      continue;
    r->packs[r->count++] = n;
  }
  if (o->which != REPO_CHECK_SHARE && o->which != REPO_CHECK_BYTES) return NULL;
  error *e = shuffle(r);
  if (o->which == REPO_CHECK_BYTES) {
    r->count = as_many_bytes(r, o->bytes);
  } else {
    size_t n = (size_t)((double)r->count * o->share);
    r->count = n == 0 && r->count > 0 ? 1 : n;
  }
  return e;
}


/* ------------------------------------------------------------------
** In one go
** ---------------------------------------------------------------- */

/* Opens a blob, to be hashed. */
static error *open_blob(repo_hand *hand, const repo_id *pack,
                        const repo_blob *blob, const char *sealed) {
  repo_half *half = repo_pair_room(&hand->pair);
  repo_place place = {*pack, *blob};
  size_t size = blob->length - REPO_SEAL, whole = blob->plain_length;
  error *e = repo_blob_check(&place);
  if (e != NULL) return e;
  repo_space *plain = whole != 0 ? &hand->sealed : &half->space;
  if (!repo_space_ensure(plain, blob->length)) return error_no_memory();
  e = repo_unseal(hand->tool->sealer, sealed, blob->length, plain->data);
  if (e == NULL && whole != 0) {
    if (!repo_space_ensure(&half->space, whole)) return error_no_memory();
    e = repo_zip_unpack(hand->tool->zip, plain->data, size, half->space.data,
                        whole);
    size = whole;
  }
  if (e == NULL) repo_pair_put(half, blob, half->space.data, size);
  return e;
}

/* Of those that are open, what has company; `alone`: all. */
static error *look_at_hashes(repo_hand *hand, bool alone) {
  repo_half *half;
  repo_id id;
  error *e = NULL;
  while ((half = repo_pair_next(&hand->pair, alone, &id)) != NULL) {
    const repo_blob *blob = half->what;
    half->what = NULL;
    if (e == NULL && !repo_id_equal(&id, &blob->id))
      e = repo_error(SAROS_E_DAMAGED,
                     "the content of a blob is not what its name says");
  }
  return e;
}

/* A pack that is read in one go. */
typedef struct going {
  checking *c;
  const check_pack *p;
  const repo_id *id;
  repo_hand *hand;
  repo_sha whole;
  repo_blob *blobs;
  size_t count;
} going;

static error *read_part(const going *g, uint64_t offset, size_t size) {
  repo_store *store = g->c->h->store;
  if (!repo_space_ensure(&g->hand->space, size)) return error_no_memory();
  return store->way->read(store, REPO_PACKS, g->id, offset, size,
                          g->hand->space.data, &g->hand->stop);
}

/* The end of it, which says what is in it; of a small one that is all. */
static error *read_end(going *g) {
  uint64_t there = g->p->there;
  size_t need = there < WINDOW ? (size_t)there : REPO_PACK_EAGER;
  error *e = NULL;
  if (there == 0) return repo_error(SAROS_E_DAMAGED, "a pack is empty");
  while (e == NULL && need > 0) {
    size_t size = need;
    e = read_part(g, there - size, size);
    if (e == NULL)
      e = repo_pack_read_header(g->hand->tool->sealer, g->hand->space.data,
                                size, there, &need, &g->blobs, &g->count);
  }
  if (e == NULL && check_shape(g->blobs, g->count) != g->p->shape)
    e = repo_error(SAROS_E_DAMAGED, "the index knows other blobs");
  return e;
}

/* The pack's own hash goes along with those of its blobs, which are those from
   `first` on; what waits for company has memory of its own. */
static error *hash_window(going *g, const repo_blob *first, size_t count,
                          size_t size) {
  repo_hand *hand = g->hand;
  const char *data = hand->space.data;
  size_t hashed = 0;
  error *e = NULL;
  for (size_t i = 0; e == NULL && i < count; i++) {
    size_t at = first[i].offset - first->offset, end = at + first[i].length;
    if (repo_stopped(&hand->stop))
      e = repo_error(SAROS_E_CANCELLED, "checking was cancelled");
    else
      e = open_blob(hand, g->id, &first[i], data + at);
    if (e != NULL) return e;
    hashed +=
        repo_pair_beside(&hand->pair, &g->whole, data + hashed, end - hashed);
    e = look_at_hashes(hand, false);
  }
  hashed +=
      repo_pair_beside(&hand->pair, &g->whole, data + hashed, size - hashed);
  repo_sha_add(&g->whole, data + hashed, size - hashed);
  return e;
}

/* How many blobs from this one on are read at once. A header that adds up says
   that they follow each other, from the first byte on. */
static size_t window_count(const repo_blob *first, size_t left) {
  uint64_t size = first->length;
  size_t n = 1;
  while (n < left && size + first[n].length <= WINDOW)
    size += first[n++].length;
  return n;
}

static error *hash_all_windows(going *g) {
  bool is_there = g->p->there < WINDOW; /* all of it */
  error *e = NULL;
  for (size_t i = 0; i < g->count && e == NULL;) {
    const repo_blob *first = &g->blobs[i];
    size_t n = is_there ? g->count : window_count(first, g->count - i);
    uint64_t end = i + n < g->count ? first[n].offset : g->p->there;
    size_t size = (size_t)(end - first->offset);
    if (!is_there) e = read_part(g, first->offset, size);
    if (e == NULL) e = hash_window(g, first, n, size);
    i += n;
  }
  error *last = look_at_hashes(g->hand, true);
  if (e == NULL) return last;
  error_unref(last);
  return e;
}

static error *read_whole(checking *c, const check_pack *p, const repo_id *id,
                         repo_hand *hand) {
  going g = {.c = c, .p = p, .id = id, .hand = hand};
  repo_id found;
  repo_sha_begin(&g.whole);
  error *e = read_end(&g);
  if (e == NULL) e = hash_all_windows(&g);
  mem_free(g.blobs);
  if (e != NULL) return e;
  repo_sha_end(&g.whole, &found);
  if (repo_id_equal(&found, id)) return NULL;
  return repo_error(SAROS_E_DAMAGED,
                    "the content of a pack is not what its name says");
}

static void advance(checking *c, uint64_t bytes) {
  uint64_t done = atomic_fetch_add(&c->bytes_done, bytes) + bytes;
  if (c->o->progress != NULL)
    c->o->progress(c->o->context, done, c->bytes_total);
}

static error *read_pack(void *context, repo_hand *hand, size_t number) {
  reading *r = context;
  checking *c = r->c;
  uint32_t n = r->packs[number];
  const check_pack *p = &c->pack_list[n];
  error *e = NULL;
  bool closely = p->there > WHOLE_MOST || p->there != p->size || p->differs;
  if (!closely) e = read_whole(c, p, &repo_id_map_at(c->packs, n)->id, hand);
  if (e != NULL && check_is_fatal(e) && e->number != ENOENT) return e;
  r->again[n] = closely || e != NULL;
  r->failed[n] = e != NULL;
  error_unref(e);
  if (!r->again[n]) advance(c, p->there);
  return NULL;
}


/* ------------------------------------------------------------------
** Closely
** ---------------------------------------------------------------- */

/* A pack that is looked at closely, and what is wrong with it. */
typedef struct closely {
  checking *c;
  const repo_stop *stop;
  check_pack *p;
  const repo_id *id;
  repo_hand *hand;
  buffer why; /* of the pack as a whole */
} closely;

static void put_why(closely *k, error *e) {
  if (k->why.size > 0) buffer_text(&k->why, "; ");
  check_sentences(&k->why, e);
  error_unref(e);
}

/* Fatal, or a reason. */
static error *note_why(closely *k, error *e) {
  if (e == NULL) return NULL;
  if (check_is_fatal(e) && e->number != ENOENT) return e;
  put_why(k, e);
  return NULL;
}

static error *hash_all(closely *k) {
  repo_store *store = k->c->h->store;
  repo_sha whole;
  repo_id found;
  if (!repo_space_ensure(&k->hand->sealed, WINDOW)) return error_no_memory();
  repo_sha_begin(&whole);
  for (uint64_t at = 0; at < k->p->there;) {
    uint64_t left = k->p->there - at;
    size_t size = left < WINDOW ? (size_t)left : WINDOW;
    error *e = store->way->read(store, REPO_PACKS, k->id, at, size,
                                k->hand->sealed.data, k->stop);
    if (e != NULL) return e;
    repo_sha_add(&whole, k->hand->sealed.data, size);
    at += size;
  }
  repo_sha_end(&whole, &found);
  if (repo_id_equal(&found, k->id)) return NULL;
  return repo_error(SAROS_E_DAMAGED, "its content is not what its name says");
}

static error *read_header(closely *k, repo_blob **blobs, size_t *count) {
  repo_store *store = k->c->h->store;
  uint64_t whole = k->p->there;
  size_t need = whole < REPO_PACK_EAGER ? (size_t)whole : REPO_PACK_EAGER;
  error *e = NULL;
  while (e == NULL && need > 0) {
    size_t size = need;
    if (!repo_space_ensure(&k->hand->sealed, size)) return error_no_memory();
    e = store->way->read(store, REPO_PACKS, k->id, whole - size, size,
                         k->hand->sealed.data, k->stop);
    if (e == NULL)
      e = repo_pack_read_header(k->hand->tool->sealer, k->hand->sealed.data,
                                size, whole, &need, blobs, count);
  }
  return e;
}

static error *look_at_header(closely *k) {
  repo_blob *blobs = NULL;
  size_t count = 0;
  if (k->p->there == 0) return repo_error(SAROS_E_DAMAGED, "it is empty");
  error *e = read_header(k, &blobs, &count);
  if (e == NULL && check_shape(blobs, count) != k->p->shape)
    e = repo_error(SAROS_E_DAMAGED,
                   "its header lists other blobs than the index: repair the "
                   "index");
  mem_free(blobs);
  return e;
}

/* Its finding, which there is from the first thing on that is wrong. */
static bool find_pack(closely *k) {
  char text[REPO_ID_TEXT];
  if (k->p->finding != 0) return true;
  repo_id_format(k->id, text);
  return check_find(k->c, "pack_damaged", k->id, NULL, &k->p->finding,
                    k->why.size > 0 ? "the pack %s is damaged: %s"
                                    : "the pack %s is damaged%s",
                    text, k->why.size > 0 ? k->why.data : "");
}

static error *look_at_blob(closely *k, const repo_blob *blob) {
  repo_place place = {*k->id, *blob};
  const char *data;
  size_t size;
  if ((uint64_t)blob->offset + blob->length > k->p->there)
    return NULL; /* that was found when it was too short */
  error *e =
      repo_blob_read(k->c->h->store, k->hand->tool, &place, &k->hand->sealed,
                     &k->hand->space, &data, &size, k->stop);
  if (e == NULL || (check_is_fatal(e) && e->number != ENOENT)) return e;
  buffer b = BUFFER_EMPTY;
  check_sentences(&b, e->cause != NULL ? e->cause : e);
  error_unref(e);
  bool good = !b.failed && find_pack(k) &&
              check_bad(k->c, &place, k->p->finding, b.data);
  buffer_free(&b);
  return good ? NULL : error_no_memory();
}

static error *look(closely *k, const repo_blob *blobs, size_t count) {
  error *e = note_why(k, hash_all(k));
  if (e == NULL) e = note_why(k, look_at_header(k));
  if (e == NULL && k->why.failed) e = error_no_memory();
  if (e == NULL && k->why.size > 0 && !find_pack(k)) e = error_no_memory();
  for (size_t i = 0; e == NULL && i < count; i++) {
    if (repo_stopped(k->stop))
      return repo_error(SAROS_E_CANCELLED, "checking was cancelled");
    e = look_at_blob(k, &blobs[i]);
  }
  return e;
}

static error *look_again(void *context, uint32_t n, const repo_blob *blobs,
                         size_t count) {
  reading *r = context;
  checking *c = r->c;
  repo_hand hand = {.tool = NULL};
  char text[REPO_ID_TEXT];
  if (!r->again[n]) return NULL;
  closely k = {.c = c,
               .stop = &c->h->stop,
               .p = &c->pack_list[n],
               .id = &repo_id_map_at(c->packs, n)->id,
               .hand = &hand};
  uint64_t before = c->found.count;
  uint32_t finding = k.p->finding;
  error *e = repo_tools_take(repo_tools_of(c->r), &hand.tool);
  if (e == NULL) e = look(&k, blobs, count);
  repo_tools_give(repo_tools_of(c->r), hand.tool);
  repo_space_free(&hand.sealed);
  repo_space_free(&hand.space);
  buffer_free(&k.why);
  if (e != NULL) return e;
  advance(c, k.p->there);
  repo_id_format(k.id, text);
  if (!r->failed[n] || finding != 0 || c->found.count != before) return NULL;
  return check_hint(c, "pack_unsteady", k.id,
                    "the pack %s was damaged when it was read first, and good "
                    "the second time: look at the disk, the memory, the wire",
                    text)
             ? NULL
             : error_no_memory();
}


/* ------------------------------------------------------------------
** All of them
** ---------------------------------------------------------------- */

static error *read_all(reading *r) {
  checking *c = r->c;
  repo_side side = {.store = c->h->store,
                    .tools = repo_tools_of(c->r),
                    .stop = &c->h->stop,
                    .count = r->count,
                    .each = read_pack,
                    .context = r};
  error *e = choose(r);
  if (e != NULL || r->count == 0) return e;
  for (size_t i = 0; i < r->count; i++)
    c->bytes_total += c->pack_list[r->packs[i]].there;
  c->packs_read = side.count = r->count;
  e = repo_side_by_side(&side);
  for (size_t i = 0; e == NULL && i < r->count; i++)
    if (r->again[r->packs[i]]) return check_each(c, look_again, r);
  return e;
}

error *check_data(checking *c) {
  size_t count = repo_id_map_count(c->packs) + 1;
  reading r = {.c = c,
               .packs = mem_alloc(count * sizeof *r.packs),
               .again = mem_zero(count * sizeof *r.again),
               .failed = mem_zero(count * sizeof *r.failed)};
  bool good = r.packs != NULL && r.again != NULL && r.failed != NULL;
  error *e = good ? read_all(&r) : error_no_memory();
  mem_free(r.packs);
  mem_free(r.again);
  mem_free(r.failed);
  return e;
}
