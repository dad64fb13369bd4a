/*
** check_index: versions and index files, each by itself, so that one which is
** damaged does not hide the others.
*/
#include <errno.h>
#include <string.h>

#include "repository/check_parts.h"

typedef struct listing {
  checking *c;
  repo_file kind;
  repo_id *list;
  size_t count, room;
} listing;

static error *note(void *context, const repo_id *id, uint64_t size) {
  listing *l = context;
  (void)size;
  if (l->count == l->room) {
    size_t room = l->room * 2 + 64;
    repo_id *list = mem_grow(l->list, room * sizeof *list);
    if (list == NULL) return error_no_memory();
    l->list = list;
    l->room = room;
  }
  l->list[l->count++] = *id;
  return NULL;
}

/* What is in a file of that kind; *gone when it was removed since. */
static error *load(checking *c, repo_hand *hand, repo_file kind,
                   const repo_id *id, size_t most, bool *gone) {
  buffer_clear(&hand->file);
  error *e = repo_tools_load(repo_tools_of(c->r), c->h->store, kind, id, most,
                             &hand->file, &hand->stop);
  *gone = e != NULL && e->number == ENOENT;
  if (*gone) {
    error_unref(e);
    return NULL;
  }
  if (e == NULL && hand->file.failed) return error_no_memory();
  return e;
}

static error *all_of(checking *c, repo_file kind,
                     error *(*each)(void *context, repo_hand *hand,
                                    size_t number)) {
  listing l = {.c = c, .kind = kind};
  error *e = c->h->store->way->list(c->h->store, kind, note, &l, &c->h->stop);
  repo_side side = {.store = c->h->store,
                    .tools = repo_tools_of(c->r),
                    .stop = &c->h->stop,
                    .count = l.count,
                    .each = each,
                    .context = &l};
  if (e == NULL && l.count > 0) e = repo_side_by_side(&side);
  mem_free(l.list);
  return e;
}

/* A file that cannot be read. Takes over `why`. */
static error *find_file(checking *c, const char *kind, const char *what,
                        const repo_id *id, error *why) {
  char text[REPO_ID_TEXT];
  if (check_is_fatal(why)) return why;
  repo_id_format(id, text);
  pthread_mutex_lock(&c->lock);
  bool good =
      check_find(c, kind, id, why, NULL, "%s %s is damaged", what, text);
  pthread_mutex_unlock(&c->lock);
  return good ? NULL : error_no_memory();
}


/* ------------------------------------------------------------------
** Versions
** ---------------------------------------------------------------- */

static error *keep_version(checking *c, repo_snapshot *s) {
  if (c->version_count == c->version_room) {
    size_t room = c->version_room * 2 + 64;
    repo_snapshot **list = mem_grow(c->versions, room * sizeof *list);
    if (list == NULL) return error_no_memory();
    c->versions = list;
    c->version_room = room;
  }
  c->versions[c->version_count++] = s;
  return NULL;
}

static error *read_version(void *context, repo_hand *hand, size_t number) {
  listing *l = context;
  const repo_id *id = &l->list[number];
  repo_snapshot *s = NULL;
  bool gone;
  error *e =
      load(l->c, hand, REPO_SNAPSHOTS, id, REPO_SNAPSHOT_FILE_MOST, &gone);
  if (e == NULL && gone) return NULL;
  if (e == NULL) s = repo_snapshot_read(hand->file.data, hand->file.size, &e);
  if (e != NULL) return find_file(l->c, "version_damaged", "version", id, e);
  s->id = *id;
  pthread_mutex_lock(&l->c->lock);
  e = keep_version(l->c, s);
  pthread_mutex_unlock(&l->c->lock);
  if (e != NULL) repo_snapshot_free(s);
  return e;
}

error *check_versions(checking *c) {
  return all_of(c, REPO_SNAPSHOTS, read_version);
}


/* ------------------------------------------------------------------
** Index files
** ---------------------------------------------------------------- */

uint64_t check_shape(const repo_blob *blobs, size_t count) {
  uint64_t sum = 1469598103934665603u ^ count;
  for (size_t i = 0; i < count; i++) {
    uint64_t word;
    memcpy(&word, blobs[i].id.bytes, sizeof word);
    word ^= (uint64_t)blobs[i].length << 32 | blobs[i].offset;
    sum = (sum ^ word) * 1099511628211u;
    sum = (sum ^ ((uint64_t)blobs[i].type << 32 | blobs[i].plain_length)) *
          1099511628211u;
    sum ^= sum >> 29;
  }
  return sum;
}

static bool is_mixed(const repo_blob *blobs, size_t count) {
  for (size_t i = 1; i < count; i++)
    if (blobs[i].type != blobs[0].type) return true;
  return false;
}

/* With the lock held. */
static check_pack *pack_of(checking *c, const repo_id *id) {
  uint32_t n;
  bool fresh;
  if (!repo_id_map_put(c->packs, 0, id, &n, &fresh)) return NULL;
  if (n >= c->pack_room) {
    size_t room = c->pack_room + c->pack_room / 2 + 64;
    check_pack *list = mem_grow(c->pack_list, room * sizeof *list);
    if (list == NULL) return NULL;
    c->pack_list = list;
    c->pack_room = room;
  }
  if (fresh) memset(&c->pack_list[n], 0, sizeof *c->pack_list);
  return &c->pack_list[n];
}

static error *take_pack(void *context, const repo_id *id,
                        const repo_blob *blobs, size_t count) {
  checking *c = context;
  uint64_t shape = check_shape(blobs, count);
  if (count == 0) return NULL; /* an empty one says nothing */
  pthread_mutex_lock(&c->lock);
  check_pack *p = pack_of(c, id);
  if (p != NULL && p->indexes++ == 0) {
    p->size = repo_pack_size(blobs, count);
    p->shape = shape;
    p->is_mixed = is_mixed(blobs, count);
  } else if (p != NULL && p->shape != shape) {
    p->differs = true;
  }
  pthread_mutex_unlock(&c->lock);
  return p != NULL ? repo_index_add(c->index, id, blobs, count)
                   : error_no_memory();
}

static error *read_index(void *context, repo_hand *hand, size_t number) {
  listing *l = context;
  checking *c = l->c;
  const repo_id *id = &l->list[number];
  bool gone;
  error *e = load(c, hand, REPO_INDEXES, id, REPO_INDEX_FILE_MOST, &gone);
  if (e == NULL && gone) return NULL;
  repo_index *alone = repo_index_new();
  if (alone == NULL) {
    error_unref(e);
    return error_no_memory();
  }
  if (e == NULL)
    e = repo_index_read(alone, id, hand->file.data, hand->file.size);
  if (e != NULL) e = find_file(c, "index_damaged", "the index file", id, e);
  /* Also what stands before the damage: the more is known, the less looks as
     if it were lost. */
  if (e == NULL) e = repo_index_packs(alone, take_pack, c);
  repo_index_free(alone);
  pthread_mutex_lock(&c->lock);
  c->index_files++;
  pthread_mutex_unlock(&c->lock);
  return e;
}

static bool find_lies(checking *c, const repo_id *id, const check_pack *p) {
  char text[REPO_ID_TEXT];
  repo_id_format(id, text);
  if (p->differs &&
      !check_find(c, "index_contradicts", id, NULL, NULL,
                  "index files say different things about the pack %s: repair "
                  "the index",
                  text))
    return false;
  if (p->indexes > 1 && !p->differs &&
      !check_hint(c, "pack_in_several_indexes", id,
                  "%u index files name the pack %s; prune tidies them up",
                  p->indexes, text))
    return false;
  return !p->is_mixed ||
         check_hint(c, "pack_mixed", id,
                    "the pack %s has pieces of files and directories; prune "
                    "sorts them",
                    text);
}

error *check_index(checking *c) {
  error *e = all_of(c, REPO_INDEXES, read_index);
  for (uint32_t n = 0; e == NULL && n < repo_id_map_count(c->packs); n++)
    if (!find_lies(c, &repo_id_map_at(c->packs, n)->id, &c->pack_list[n]))
      e = error_no_memory();
  return e;
}
