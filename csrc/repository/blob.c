/*
** blob: what is at a place of a pack, and which place is good. Of a blob that
** is damaged in one pack there may be another copy in another one.
*/
#include "repository/blob.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

bool repo_space_ensure(repo_space *s, size_t size) {
  if (s->room >= size && s->data != NULL) return true;
  mem_free(s->data);
  /* The next one is a little larger, as likely as not. */
  size_t room = size < SIZE_MAX / 2 ? size + size / 4 : size;
  s->room = room > 4096 ? room : 4096;
  s->data = mem_alloc(s->room);
  if (s->data == NULL) s->room = 0;
  return s->data != NULL;
}

void repo_space_free(repo_space *s) {
  mem_free(s->data);
  s->data = NULL;
  s->room = 0;
}


/* ------------------------------------------------------------------
** One copy
** ---------------------------------------------------------------- */

size_t repo_blob_size(const repo_blob *b) {
  if (b->plain_length != 0) return b->plain_length;
  return b->length > REPO_SEAL ? b->length - REPO_SEAL : 0;
}

/* Which blob of which pack; the cause says what is the matter with it. */
static error *damaged(const repo_place *p, error *cause) {
  char blob[REPO_ID_TEXT], pack[REPO_ID_TEXT];
  if (cause != NULL && cause->code == SAROS_E_OUTOFMEMORY) return cause;
  repo_id_format(&p->blob.id, blob);
  repo_id_format(&p->pack, pack);
  error *e =
      repo_error(SAROS_E_DAMAGED, "the %s blob %s in the pack %s is damaged",
                 p->blob.type == REPO_TREE ? "tree" : "data", blob, pack);
  return cause != NULL ? error_because(e, cause) : e;
}

error *repo_blob_check(const repo_place *p) {
  size_t most = p->blob.type == REPO_TREE ? REPO_TREE_MOST : REPO_DATA_MOST;
  if (p->blob.length > REPO_SEAL && p->blob.length - REPO_SEAL <= most &&
      repo_blob_size(&p->blob) <= most)
    return NULL;
  if (p->blob.type == REPO_TREE && p->blob.length > REPO_SEAL)
    return damaged(p, repo_error(SAROS_E_DAMAGED,
                                 "the index says that the list of names of a "
                                 "directory has %lu bytes, and none of more "
                                 "than %lu MiB is read",
                                 (unsigned long)repo_blob_size(&p->blob),
                                 (unsigned long)(most >> 20)));
  return damaged(p, repo_error(SAROS_E_DAMAGED,
                               "the index says that it has %lu bytes, %lu when "
                               "it is unpacked, and no blob has so many",
                               (unsigned long)p->blob.length,
                               (unsigned long)p->blob.plain_length));
}

error *repo_blob_unpack(repo_tool *tool, const repo_place *p, void *sealed,
                        repo_space *space, const char **data, size_t *size) {
  char *plain = (char *)sealed + REPO_IV;
  size_t length = p->blob.length - REPO_SEAL;
  error *e = repo_blob_check(p);
  if (e != NULL) return e;
  e = repo_unseal(tool->sealer, sealed, p->blob.length, plain);
  if (e != NULL) return damaged(p, e);
  if (p->blob.plain_length != 0) {
    if (!repo_space_ensure(space, p->blob.plain_length))
      return error_no_memory();
    e = repo_zip_unpack(tool->zip, plain, length, space->data,
                        p->blob.plain_length);
    if (e != NULL) return damaged(p, e);
    plain = space->data;
    length = p->blob.plain_length;
  }
  *data = plain;
  *size = length;
  return NULL;
}

error *repo_blob_is(const repo_place *p, const repo_id *hash) {
  if (repo_id_equal(hash, &p->blob.id)) return NULL;
  return damaged(
      p, repo_error(SAROS_E_DAMAGED, "its content is not what its name says"));
}

error *repo_blob_open(repo_tool *tool, const repo_place *p, void *sealed,
                      repo_space *space, const char **data, size_t *size) {
  repo_id id;
  *data = "";
  *size = 0;
  error *e = repo_blob_unpack(tool, p, sealed, space, data, size);
  if (e != NULL) return e;
  repo_id_of(&id, *data, *size);
  return repo_blob_is(p, &id);
}

static error *unreadable(const repo_place *p, error *cause) {
  char blob[REPO_ID_TEXT], pack[REPO_ID_TEXT];
  bool gone = cause->number == ENOENT;
  if (cause->code == SAROS_E_OUTOFMEMORY || cause->code == SAROS_E_CANCELLED)
    return cause;
  uint32_t code = gone ? SAROS_E_DAMAGED : cause->code;
  repo_id_format(&p->blob.id, blob);
  repo_id_format(&p->pack, pack);
  return error_because(
      repo_error(code,
                 gone ? "the pack %s, which has the blob %s, is missing"
                      : "the pack %s, which has the blob %s, cannot be "
                        "read",
                 pack, blob),
      cause);
}

error *repo_blob_read(repo_store *store, repo_tool *tool, const repo_place *p,
                      repo_space *sealed, repo_space *space, const char **data,
                      size_t *size, const repo_stop *stop) {
  error *e = repo_blob_check(p);
  if (e != NULL) return e;
  if (!repo_space_ensure(sealed, p->blob.length)) return error_no_memory();
  e = store->way->read(store, REPO_PACKS, &p->pack, p->blob.offset,
                       p->blob.length, sealed->data, stop);
  if (e != NULL) return unreadable(p, e);
  return repo_blob_open(tool, p, sealed->data, space, data, size);
}


/* ------------------------------------------------------------------
** Those that are remembered
** ---------------------------------------------------------------- */

#define CHAINS 4096u

typedef struct kept {
  repo_bytes bytes; /* first */
  repo_id id;
  uint8_t type;
  bool is_known;      /* in a chain, and in the order of use */
  unsigned users;     /* under the lock */
  struct kept *chain; /* of the same hash */
  struct kept *newer, *older;
  char data[];
} kept;

struct repo_blobs {
  repo_store *store;
  repo_tools *tools;
  repo_index *index;
  size_t most;
  pthread_mutex_t lock; /* innermost */
  size_t size;          /* of what is known */
  kept *newest, *oldest;
  kept *chains[CHAINS];
};

repo_blobs *repo_blobs_new(repo_store *store, repo_tools *tools,
                           repo_index *index, size_t most) {
  repo_blobs *b = mem_zero(sizeof *b);
  if (b == NULL) return NULL;
  b->store = store;
  b->tools = tools;
  b->index = index;
  b->most = most;
  pthread_mutex_init(&b->lock, NULL);
  return b;
}

static kept **chain_of(repo_blobs *b, const repo_id *id) {
  unsigned hash = id->bytes[0] | (unsigned)id->bytes[1] << 8;
  return &b->chains[hash % CHAINS];
}

static void unlink_kept(repo_blobs *b, kept *k) {
  kept **at = chain_of(b, &k->id);
  while (*at != k) at = &(*at)->chain;
  *at = k->chain;
  *(k->newer != NULL ? &k->newer->older : &b->newest) = k->older;
  *(k->older != NULL ? &k->older->newer : &b->oldest) = k->newer;
  b->size -= k->bytes.size;
  k->is_known = false;
}

static void put_first(repo_blobs *b, kept *k) {
  k->newer = NULL;
  k->older = b->newest;
  *(b->newest != NULL ? &b->newest->newer : &b->oldest) = k;
  b->newest = k;
}

static void forget(repo_blobs *b, kept *k) {
  unlink_kept(b, k);
  if (k->users == 0) mem_free(k);
}

void repo_blobs_free(repo_blobs *b) {
  if (b == NULL) return;
  while (b->oldest != NULL) forget(b, b->oldest);
  pthread_mutex_destroy(&b->lock);
  mem_free(b);
}

repo_index *repo_blobs_index(repo_blobs *b) {
  return b->index;
}

static kept *find(repo_blobs *b, repo_blob_type type, const repo_id *id) {
  pthread_mutex_lock(&b->lock);
  kept *k = *chain_of(b, id);
  while (k != NULL && (k->type != type || !repo_id_equal(&k->id, id)))
    k = k->chain;
  if (k != NULL) {
    k->users++;
    if (b->newest != k) {
      k->newer->older = k->older;
      *(k->older != NULL ? &k->older->newer : &b->oldest) = k->newer;
      put_first(b, k);
    }
  }
  pthread_mutex_unlock(&b->lock);
  return k;
}

/* Of two threads that loaded the same the second keeps its own for itself. */
static void remember(repo_blobs *b, kept *k) {
  pthread_mutex_lock(&b->lock);
  kept **at = chain_of(b, &k->id), *other = *at;
  while (other != NULL &&
         (other->type != k->type || !repo_id_equal(&other->id, &k->id)))
    other = other->chain;
  if (other == NULL && k->bytes.size <= b->most / 2) {
    k->chain = *at;
    *at = k;
    put_first(b, k);
    b->size += k->bytes.size;
    k->is_known = true;
    while (b->size > b->most && b->oldest != k) forget(b, b->oldest);
  }
  pthread_mutex_unlock(&b->lock);
}

void repo_bytes_free(repo_blobs *b, repo_bytes *bytes) {
  kept *k = (kept *)bytes;
  if (k == NULL) return;
  pthread_mutex_lock(&b->lock);
  bool last = --k->users == 0 && !k->is_known;
  pthread_mutex_unlock(&b->lock);
  if (last) mem_free(k);
}


/* ------------------------------------------------------------------
** From any copy
** ---------------------------------------------------------------- */

static error *not_known(repo_blob_type type, const repo_id *id) {
  char text[REPO_ID_TEXT];
  repo_id_format(id, text);
  return repo_error(SAROS_E_DAMAGED,
                    "the %s blob %s is in no pack that the index knows",
                    type == REPO_TREE ? "tree" : "data", text);
}

static kept *new_kept(size_t size) {
  kept *k = mem_alloc(sizeof *k + size + 1);
  if (k != NULL) memset(k, 0, sizeof *k);
  return k;
}

/* One copy. What is unpacked is unpacked where it stays: the list of a million
   names is not there twice. */
static error *load_one(repo_blobs *b, repo_tool *tool, const repo_place *p,
                       repo_space *sealed, kept **loaded,
                       const repo_stop *stop) {
  const char *data = "";
  size_t size = 0;
  repo_space space = {0};
  kept *k = NULL;
  error *e = repo_blob_check(p);
  if (e == NULL && p->blob.plain_length != 0) {
    k = new_kept(p->blob.plain_length);
    if (k == NULL) return error_no_memory();
    space = (repo_space){k->data, p->blob.plain_length}; /* to the byte */
  }
  if (e == NULL)
    e = repo_blob_read(b->store, tool, p, sealed, &space, &data, &size, stop);
  if (e == NULL && k == NULL) {
    k = new_kept(size);
    if (k == NULL) return error_no_memory();
    memcpy(k->data, data, size);
  }
  if (e != NULL) {
    mem_free(k);
    return e;
  }
  k->data[size] = '\0';
  k->bytes = (repo_bytes){k->data, size};
  k->id = p->blob.id;
  k->type = p->blob.type;
  k->users = 1;
  *loaded = k;
  return NULL;
}

static error *load(repo_blobs *b, repo_tool *tool, repo_blob_type type,
                   const repo_id *id, repo_space *sealed, kept **k,
                   const repo_stop *stop) {
  error *first = NULL;
  repo_place p;
  for (size_t n = 0; repo_index_find(b->index, type, id, n, &p); n++) {
    if (repo_stopped(stop)) {
      error_unref(first);
      return repo_error(SAROS_E_CANCELLED, "reading was cancelled");
    }
    error *e = load_one(b, tool, &p, sealed, k, stop);
    if (e == NULL) {
      if (first != NULL)
        log_write(LOG_WARNING, "repository", "%s; another copy was taken",
                  first->message);
      error_unref(first);
      return NULL;
    }
    if (first == NULL)
      first = e;
    else
      error_unref(e);
  }
  return first != NULL ? first : not_known(type, id);
}

error *repo_blobs_load(repo_blobs *b, repo_blob_type type, const repo_id *id,
                       repo_bytes **bytes, const repo_stop *stop) {
  kept *k = find(b, type, id);
  *bytes = k != NULL ? &k->bytes : NULL;
  if (k != NULL) return NULL;
  repo_space sealed = {0};
  repo_tool *tool;
  error *e = repo_tools_take(b->tools, &tool);
  if (e != NULL) return e;
  e = load(b, tool, type, id, &sealed, &k, stop);
  repo_tools_give(b->tools, tool);
  repo_space_free(&sealed);
  if (e != NULL) return e;
  remember(b, k);
  *bytes = &k->bytes;
  return NULL;
}
