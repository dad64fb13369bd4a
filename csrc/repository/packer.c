/*
** packer: from a blob to its place in a pack.
**
** A thread has a pack for itself while it works on a blob of data, so that both
** hashes run side by side and what is sealed is never copied; there are as many
** of them as cores. Trees are small: they are sealed first, and then copied
** into the one pack of theirs.
*/
#include "repository/packer.h"

#include <string.h>
#include <time.h>

#include "repository/packer_parts.h"


/* ------------------------------------------------------------------
** Failures
** ---------------------------------------------------------------- */

void repo_packer_fail(packer *p, error *e) {
  pthread_mutex_lock(&p->lock);
  if (p->why == NULL)
    p->why = e;
  else
    error_unref(e);
  p->failed = true;
  pthread_cond_broadcast(&p->moved);
  pthread_mutex_unlock(&p->lock);
}

error *repo_packer_why(packer *p) {
  if (p->failed) return error_ref(p->why); /* never changed once it is there */
  if (!repo_stopped(p->stop)) return NULL;
  return repo_error(SAROS_E_CANCELLED, "the backup was cancelled");
}


/* ------------------------------------------------------------------
** Packs
** ---------------------------------------------------------------- */

static slot *new_slot(packer *p, repo_blob_type type) {
  slot *s = mem_zero(sizeof *s);
  if (s == NULL) return NULL;
  s->type = type;
  s->pack = repo_pack_new(type, p->o.pack_size);
  if (s->pack != NULL) return s;
  mem_free(s);
  return NULL;
}

static unsigned open_most(const packer *p, repo_blob_type type) {
  return type == REPO_DATA ? p->o.open : 1;
}

/* With the lock held. They must not all be full at the same time, which is when
   they take most memory: so every other one of the first is a short one. */
static slot *begin_slot(packer *p, slot *s) {
  bool is_first = s->type == REPO_DATA && p->opened < p->o.open;
  s->is_short = is_first && p->opened++ % 2 == 1;
  p->open[s->type]++;
  return s;
}

/* With the lock held: an empty one. NULL: not now, or *no_memory. Those of the
   other type have to go when there are too many. */
static slot *open_slot(packer *p, repo_blob_type type, bool *no_memory) {
  slot *s = p->spare[type];
  if (s != NULL) {
    p->spare[type] = s->next;
    return begin_slot(p, s);
  }
  slot *other = p->spare[!type];
  if (p->slots >= p->slots_most && other != NULL) {
    p->spare[!type] = other->next;
    repo_packer_slot_free(other);
    p->slots--;
  }
  if (p->slots >= p->slots_most) return NULL;
  s = new_slot(p, type);
  *no_memory = s == NULL;
  if (s == NULL) return NULL;
  p->slots++;
  return begin_slot(p, s);
}

/* Until there is a pack for this thread alone. */
static error *take(packer *p, repo_blob_type type, slot **s) {
  bool no_memory = false;
  pthread_mutex_lock(&p->lock);
  for (*s = NULL; !p->failed && !no_memory;) {
    *s = p->idle[type];
    if (*s != NULL)
      p->idle[type] = (*s)->next;
    else if (p->open[type] < open_most(p, type))
      *s = open_slot(p, type, &no_memory);
    if (*s != NULL || no_memory) break;
    p->waiting++;
    pthread_cond_wait(&p->moved, &p->lock);
    p->waiting--;
  }
  pthread_mutex_unlock(&p->lock);
  if (*s != NULL) return NULL;
  return no_memory ? error_no_memory() : repo_packer_why(p);
}

static bool is_full(const packer *p, const slot *s) {
  return repo_pack_is_full(s->pack) ||
         (s->is_short && repo_pack_bytes(s->pack) >= p->o.pack_size / 2);
}

static void put_idle(packer *p, slot *s) {
  slot **at = &p->idle[s->type];
  size_t size = repo_pack_bytes(s->pack);
  while (*at != NULL && repo_pack_bytes((*at)->pack) > size) at = &(*at)->next;
  s->next = *at;
  *at = s;
}

/* With the lock held. */
static void give_locked(packer *p, slot *s) {
  if (is_full(p, s)) {
    p->open[s->type]--;
    repo_packer_store_push(p, s);
  } else {
    put_idle(p, s);
  }
  if (p->waiting > 0) pthread_cond_broadcast(&p->moved);
}

static void give(packer *p, slot *s) {
  pthread_mutex_lock(&p->lock);
  give_locked(p, s);
  pthread_mutex_unlock(&p->lock);
}


/* ------------------------------------------------------------------
** Claims
** ---------------------------------------------------------------- */

/* Whether it is ours to store. What another backup of this process has on its
   way may never arrive: then it is stored twice, which is no harm. */
static error *claim_blob(packer *p, repo_blob_type type, const repo_id *id,
                         bool *mine) {
  bool no_memory;
  repo_place place;
  pthread_mutex_lock(&p->lock);
  *mine = repo_claims_put(&p->own, type, id, &no_memory);
  pthread_mutex_unlock(&p->lock);
  if (no_memory) return error_no_memory();
  if (!*mine || repo_index_claim(p->index, type, id)) return NULL;
  if (!repo_index_find(p->index, type, id, 0, &place)) return NULL;
  pthread_mutex_lock(&p->lock);
  repo_claims_drop(&p->own, type, id);
  pthread_mutex_unlock(&p->lock);
  *mine = false;
  return NULL;
}

static void count(packer *p, const repo_blob *blob, size_t size) {
  pthread_mutex_lock(&p->lock);
  *(blob->type == REPO_TREE ? &p->counts.tree_blobs : &p->counts.data_blobs) +=
      1;
  p->counts.bytes += size;
  p->counts.packed += blob->length;
  pthread_mutex_unlock(&p->lock);
}


/* ------------------------------------------------------------------
** Blobs
** ---------------------------------------------------------------- */

/* Trees always are, where the format can: whoever prunes would do it later. */
static bool compresses(const packer *p, repo_blob_type type, const void *data,
                       size_t size) {
  if (p->version < 2) return false;
  if (type == REPO_TREE) return true;
  return p->o.level != REPO_LEVEL_OFF && !repo_zip_is_hopeless(data, size);
}

static size_t room_for(size_t size) {
  size_t bound = repo_zip_bound(size);
  return REPO_SEAL + (bound > size ? bound : size);
}

/* Into `room`, which is large enough; the blob is all but its offset. */
static error *seal(packer *p, repo_tool *tool, const void *data, size_t size,
                   uint8_t *room, repo_blob *blob) {
  uint8_t *plain = room + REPO_IV;
  size_t stored = size;
  blob->plain_length = 0;
  if (compresses(p, (repo_blob_type)blob->type, data, size)) {
    stored = room_for(size) - REPO_SEAL;
    error *e = (blob->type == REPO_DATA ? repo_zip_pack_data : repo_zip_pack)(
        tool->zip, p->o.level, data, size, plain, &stored);
    if (e != NULL) return e;
    blob->plain_length = (uint32_t)size;
    if (stored >= size && blob->type == REPO_DATA) blob->plain_length = 0;
  }
  const void *from = plain;
  if (blob->plain_length == 0) {
    stored = size;
    from = data;
  }
  blob->length = (uint32_t)(stored + REPO_SEAL);
  return repo_seal(tool->sealer, from, stored, room);
}

#ifdef SAROS_TEST
void (*repo_packer_test)(const slot *s);
#endif

/* With a pack of our own. */
static error *add_data(packer *p, repo_tool *tool, const void *data,
                       size_t size, repo_id *id) {
  slot *s;
  bool mine = false;
  error *e = take(p, REPO_DATA, &s);
  if (s == NULL) return e;
#ifdef SAROS_TEST
  if (repo_packer_test != NULL) repo_packer_test(s);
#endif
  repo_blob blob = {.type = REPO_DATA};
  repo_pack_hash(s->pack, data, size, id);
  blob.id = *id;
  e = claim_blob(p, REPO_DATA, id, &mine);
  if (e == NULL && mine) {
    uint8_t *room = repo_pack_room(s->pack, room_for(size));
    e = room == NULL ? error_no_memory()
                     : seal(p, tool, data, size, room, &blob);
    if (e == NULL) e = repo_pack_add(s->pack, &blob);
    if (e == NULL) count(p, &blob, size);
  }
  give(p, s);
  return e;
}

static error *put_tree(packer *p, const uint8_t *sealed, repo_blob *blob) {
  slot *s;
  error *e = take(p, REPO_TREE, &s);
  if (s == NULL) return e;
  void *room = repo_pack_room(s->pack, blob->length);
  if (room == NULL) {
    e = error_no_memory();
  } else {
    memcpy(room, sealed, blob->length);
    e = repo_pack_add(s->pack, blob);
  }
  give(p, s);
  return e;
}

static error *add_tree(packer *p, repo_tool *tool, const void *data,
                       size_t size, repo_id *id) {
  bool mine;
  repo_blob blob = {.type = REPO_TREE};
  repo_pack_hash(NULL, data, size, id);
  blob.id = *id;
  error *e = claim_blob(p, REPO_TREE, id, &mine);
  if (e != NULL || !mine) return e;
  uint8_t *room = mem_alloc(room_for(size));
  if (room == NULL) return error_no_memory();
  e = seal(p, tool, data, size, room, &blob);
  if (e == NULL) e = put_tree(p, room, &blob);
  if (e == NULL) count(p, &blob, size);
  mem_free(room);
  return e;
}

static error *add_dry(packer *p, repo_blob_type type, const void *data,
                      size_t size, repo_id *id) {
  bool mine;
  repo_pack_hash(NULL, data, size, id);
  error *e = claim_blob(p, type, id, &mine);
  repo_blob blob = {.type = (uint8_t)type};
  if (e == NULL && mine) count(p, &blob, size);
  return e;
}

error *repo_packer_add(packer *p, repo_tool *tool, repo_blob_type type,
                       const void *data, size_t size, repo_id *id) {
  error *e = repo_packer_why(p);
  if (e != NULL) return e;
  if (size > UINT32_MAX - (1u << 26))
    return repo_error(SAROS_E_REFUSED,
                      "a directory has too many names: its list would be %zu "
                      "bytes, more than the format knows",
                      size);
  if (p->o.dry)
    e = add_dry(p, type, data, size, id);
  else if (type == REPO_DATA)
    e = add_data(p, tool, data, size, id);
  else
    e = add_tree(p, tool, data, size, id);
  if (e != NULL) repo_packer_fail(p, error_ref(e));
  return e;
}


/* ------------------------------------------------------------------
** From begin to end
** ---------------------------------------------------------------- */

packer *repo_packer_new(repo_hold *h, repo_index *index,
                        const packer_options *o, const repo_stop *stop,
                        error **e) {
  packer *p = mem_zero(sizeof *p);
  *e = NULL;
  if (p == NULL) {
    *e = error_no_memory();
    return NULL;
  }
  p->h = h;
  p->index = index;
  p->o = *o;
  p->stop = stop;
  p->version = repo_config_of(h->r)->version;
  pthread_mutex_init(&p->lock, NULL);
  pthread_cond_init(&p->moved, NULL);
  pthread_condattr_t monotonic;
  pthread_condattr_init(&monotonic);
  pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
  pthread_cond_init(&p->work, &monotonic);
  pthread_condattr_destroy(&monotonic);
  if (!o->dry) repo_packer_store_start(p);
  /* Of 17 MB each. Not one for all that may be filled or stored at once: that
     of the trees is seldom full while data comes, and shares theirs. */
  p->slots_most = o->open + (p->thread_count > 1 ? p->thread_count : 2);
  if (o->dry || p->thread_count > 0) return p;
  *e = repo_error(SAROS_E_OUTOFMEMORY,
                  "no thread can be started: there are too many already");
  repo_packer_free(p);
  return NULL;
}

static error *join(repo_pack *into, repo_pack *from, const uint8_t *bytes) {
  size_t n = repo_pack_count(from);
  for (size_t i = 0; i < n; i++) {
    repo_blob blob = repo_pack_blobs(from)[i];
    void *room = repo_pack_room(into, blob.length);
    if (room == NULL) return error_no_memory();
    memcpy(room, bytes + blob.offset, blob.length);
    error *e = repo_pack_add(into, &blob);
    if (e != NULL) return e;
  }
  return NULL;
}

/* What is left in several packs goes into as few as it fits in: nobody adds
   any more. */
static error *join_rest(packer *p) {
  slot *list = p->idle[REPO_DATA], *next;
  p->idle[REPO_DATA] = NULL;
  for (slot *into = NULL; list != NULL; list = next) {
    next = list->next;
    error *e = NULL;
    bool moved = into != NULL &&
                 repo_pack_bytes(into->pack) + repo_pack_bytes(list->pack) <=
                     p->o.pack_size;
    if (moved) e = join(into->pack, list->pack, repo_pack_data(list->pack));
    if (e == NULL && moved) repo_pack_clear(list->pack);
    list->next = p->idle[REPO_DATA];
    p->idle[REPO_DATA] = list;
    if (e != NULL) return e;
    if (!moved) into = list;
  }
  return NULL;
}

static void push_rest(packer *p) {
  for (int type = 0; type < 2; type++) {
    slot *s;
    while ((s = p->idle[type]) != NULL) {
      p->idle[type] = s->next;
      p->open[type]--;
      if (repo_pack_count(s->pack) > 0) {
        repo_packer_store_push(p, s);
      } else {
        repo_packer_slot_free(s);
        p->slots--;
      }
    }
  }
  pthread_cond_broadcast(&p->moved);
}

/* What never came into the index may be claimed by others again. */
static void give_up_rest(packer *p) {
  for (size_t i = 0; i < p->own.room; i++) {
    const claim *c = &p->own.table[i];
    if (c->taken) repo_index_give_up(p->index, (repo_blob_type)c->type, &c->id);
  }
  repo_claims_free(&p->own);
}

error *repo_packer_end(packer *p, bool give_up) {
  error *e = repo_packer_why(p);
  if (e == NULL && !give_up && !p->o.dry) {
    pthread_mutex_lock(&p->lock);
    e = join_rest(p);
    if (e == NULL) push_rest(p);
    pthread_mutex_unlock(&p->lock);
  }
  repo_packer_store_end(p);
  if (e == NULL) e = repo_packer_why(p);
  /* Also now: what is stored is to be found the next time. */
  error *why = repo_packer_store_index(p, 1);
  if (e == NULL)
    e = why;
  else
    error_unref(why);
  give_up_rest(p);
  return e;
}

void repo_packer_count(packer *p, packer_counts *counts) {
  pthread_mutex_lock(&p->lock);
  *counts = p->counts;
  pthread_mutex_unlock(&p->lock);
}

static void free_slots(slot *s) {
  while (s != NULL) {
    slot *next = s->next;
    repo_packer_slot_free(s);
    s = next;
  }
}

void repo_packer_free(packer *p) {
  if (p == NULL) return;
  for (int type = 0; type < 2; type++) {
    free_slots(p->idle[type]);
    free_slots(p->spare[type]);
  }
  free_slots(p->full);
  repo_claims_free(&p->own);
  while (p->named != NULL) {
    named *next = p->named->next;
    mem_free(p->named);
    p->named = next;
  }
  error_unref(p->why);
  pthread_cond_destroy(&p->work);
  pthread_cond_destroy(&p->moved);
  pthread_mutex_destroy(&p->lock);
  mem_free(p);
}
