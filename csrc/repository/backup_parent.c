/*
** backup_parent: the version before, and its trees. They are read in the order
** in which they were written, more or less, so what is near a tree is read
** with it: one request to a store instead of hundreds.
*/
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "repository/backup_parts.h"

enum { WINDOWS = 4 };
#define WINDOW ((size_t)1 << 20)

/* A part of a pack. */
typedef struct window {
  repo_id pack;
  uint64_t begin, size;
  uint8_t *data; /* WINDOW bytes, or NULL */
  unsigned used; /* when it was last */
} window;

typedef struct blob_reader {
  backup *b;
  window windows[WINDOWS];
  unsigned now;
  buffer sealed;
} blob_reader;

blob_reader *repo_backup_blobs_new(backup *b) {
  blob_reader *r = mem_zero(sizeof *r);
  if (r != NULL) r->b = b;
  return r;
}

void repo_backup_blobs_free(blob_reader *r) {
  if (r == NULL) return;
  for (int i = 0; i < WINDOWS; i++) mem_free(r->windows[i].data);
  buffer_free(&r->sealed);
  mem_free(r);
}


/* ------------------------------------------------------------------
** Blobs
** ---------------------------------------------------------------- */

static window *window_with(blob_reader *r, const repo_place *at) {
  uint64_t end = (uint64_t)at->blob.offset + at->blob.length;
  for (int i = 0; i < WINDOWS; i++) {
    window *w = &r->windows[i];
    if (w->size > 0 && w->begin <= at->blob.offset &&
        end <= w->begin + w->size && repo_id_equal(&w->pack, &at->pack))
      return w;
  }
  return NULL;
}

static error *read_part(blob_reader *r, const repo_id *pack, uint64_t begin,
                        size_t size, void *into) {
  repo_store *s = r->b->h->store;
  return s->way->read(s, REPO_PACKS, pack, begin, size, into, &r->b->stop);
}

/* The one that was used longest ago gets the place around the blob. */
static error *fill_window(blob_reader *r, const repo_place *at, window **w) {
  uint64_t size;
  repo_store *s = r->b->h->store;
  window *oldest = &r->windows[0];
  for (int i = 1; i < WINDOWS; i++)
    if (r->windows[i].used < oldest->used) oldest = &r->windows[i];
  if (oldest->data == NULL) oldest->data = mem_alloc(WINDOW);
  if (oldest->data == NULL) return error_no_memory();
  oldest->size = 0;
  error *e;
  e = s->way->size(s, REPO_PACKS, &at->pack, &size, &r->b->stop);
  /* cppcheck-suppress returnDanglingLifetime ; an error keeps no number's
     address */
  if (e != NULL) return e;
  uint64_t begin = at->blob.offset - at->blob.offset % (WINDOW / 2);
  uint64_t end = begin + WINDOW < size ? begin + WINDOW : size;
  if ((uint64_t)at->blob.offset + at->blob.length > end)
    return repo_error(SAROS_E_DAMAGED, "a pack is shorter than the index says");
  e = read_part(r, &at->pack, begin, (size_t)(end - begin), oldest->data);
  if (e != NULL) return e;
  oldest->pack = at->pack;
  oldest->begin = begin;
  oldest->size = end - begin;
  *w = oldest;
  return NULL;
}

static error *get_sealed(blob_reader *r, const repo_place *at,
                         const uint8_t **sealed) {
  size_t length = at->blob.length;
  if (length > WINDOW / 2) {
    buffer_clear(&r->sealed);
    void *room = buffer_room(&r->sealed, length);
    if (room == NULL) return error_no_memory();
    *sealed = room;
    return read_part(r, &at->pack, at->blob.offset, length, room);
  }
  window *w = window_with(r, at);
  error *e = w == NULL ? fill_window(r, at, &w) : NULL;
  if (e != NULL || w == NULL) return e;
  w->used = ++r->now;
  *sealed = w->data + (at->blob.offset - w->begin);
  return NULL;
}

static error *open_blob(hand *h, const repo_place *at, const uint8_t *sealed,
                        buffer *to) {
  size_t stored = at->blob.length - REPO_SEAL;
  size_t size = at->blob.plain_length > 0 ? at->blob.plain_length : stored;
  size_t begin = to->size;
  buffer opened = BUFFER_EMPTY;
  buffer *into = at->blob.plain_length > 0 ? &opened : to;
  void *room = buffer_room(into, stored > size ? stored : size);
  if (room == NULL) return error_no_memory();
  error *e = repo_unseal(h->tool->sealer, sealed, at->blob.length, room);
  if (e == NULL && into == &opened) {
    char *plain = buffer_room(to, size);
    e = plain == NULL
            ? error_no_memory()
            : repo_zip_unpack(h->tool->zip, room, stored, plain, size);
  }
  buffer_free(&opened);
  if (e != NULL) return e;
  repo_id id;
  repo_id_of(&id, to->data + begin, size);
  if (!repo_id_equal(&id, &at->blob.id))
    return repo_error(SAROS_E_DAMAGED, "a blob is not what its name says");
  to->size += size;
  return NULL;
}

error *repo_backup_blob_load(hand *h, repo_blob_type type, const repo_id *id,
                             buffer *to) {
  error *e = NULL;
  repo_place at;
  for (size_t n = 0; repo_index_find(h->b->index, type, id, n, &at); n++) {
    const uint8_t *sealed = NULL;
    error_unref(e);
    e = at.blob.length < REPO_SEAL
            ? repo_error(SAROS_E_DAMAGED, "a blob is too short")
            : get_sealed(h->blobs, &at, &sealed);
    if (e == NULL) e = open_blob(h, &at, sealed, to);
    if (e == NULL || e->code == SAROS_E_CANCELLED) return e;
  }
  if (e != NULL) return e;
  char text[REPO_ID_TEXT];
  repo_id_format(id, text);
  return repo_error(SAROS_E_DAMAGED, "blob %s is in no pack", text);
}


/* ------------------------------------------------------------------
** The finger
** ---------------------------------------------------------------- */

uint64_t repo_backup_sum(const void *data, size_t size) {
  const uint8_t *at = data;
  uint64_t h = 0x9E3779B97F4A7C15u ^ size;
  for (; size >= 8; at += 8, size -= 8) {
    uint64_t n;
    memcpy(&n, at, 8);
    h = (h ^ n) * 0xBF58476D1CE4E5B9u;
    h ^= h >> 29;
  }
  for (; size > 0; at++, size--) h = (h ^ *at) * 0x94D049BB133111EBu;
  return h ^ (h >> 32);
}

static void advance(cursor *k) {
  error *e;
  k->has_node = repo_tree_reader_next(k->reader, &k->node, &e);
  if (e == NULL) return;
  log_write(LOG_WARNING, "repository",
            "a directory of the version before cannot be read on (%s): what "
            "is in it is read again",
            e->message);
  error_unref(e);
}

/* One that cannot be read is as if it had not been: everything is read then. */
void repo_backup_cursor_open(cursor *k, hand *h, const before *of) {
  memset(k, 0, sizeof *k);
  if (!of->has_tree) return;
  error *e = repo_backup_blob_load(h, REPO_TREE, &of->tree, &k->json);
  if (e == NULL) k->reader = repo_tree_reader_new(k->json.data, k->json.size);
  if (k->reader != NULL)
    advance(k);
  else if (e != NULL)
    log_write(LOG_WARNING, "repository",
              "a directory of the version before cannot be read (%s): what is "
              "in it is read again",
              e->message);
  error_unref(e);
}

const repo_node *repo_backup_cursor_find(cursor *k, const char *name,
                                         size_t size) {
  while (k->has_node) {
    int r = repo_node_name_compare(k->node.name, k->node.name_size, name, size);
    if (r == 0) return &k->node;
    if (r > 0) return NULL;
    advance(k);
  }
  return NULL;
}

void repo_backup_cursor_close(cursor *k) {
  repo_tree_reader_free(k->reader);
  buffer_free(&k->json);
}


/* ------------------------------------------------------------------
** Which version
** ---------------------------------------------------------------- */

static bool has_paths(const repo_snapshot *s, const value *paths) {
  for (uint32_t i = 0; i < paths->count; i++) {
    bool found = false;
    for (uint32_t k = 0; s->paths != NULL && k < s->paths->count && !found; k++)
      found = value_equal(s->paths->as.items[k], paths->as.items[i]);
    if (!found) return false;
  }
  return true;
}

static bool is_wanted(const backup *b, const repo_snapshot *s,
                      const value *paths) {
  char id[REPO_ID_TEXT];
  if (b->o.parent != NULL) {
    repo_id_format(&s->id, id);
    return strncmp(id, b->o.parent, strlen(b->o.parent)) == 0;
  }
  const char *host = s->hostname != NULL ? s->hostname : "";
  return strcmp(host, b->o.host) == 0 && has_paths(s, paths) &&
         (s->time.tv_sec < b->o.time.tv_sec ||
          (s->time.tv_sec == b->o.time.tv_sec &&
           s->time.tv_nsec <= b->o.time.tv_nsec));
}

/* What we wrote ourselves, on this machine and as this user: an unchanged ctime
   then proves that nothing about a file has changed, attributes included. */
static bool is_ours(const backup *b, const repo_snapshot *s) {
  return s->program != NULL && strncmp(s->program, "saros ", 6) == 0 &&
         s->hostname != NULL && strcmp(s->hostname, b->o.host) == 0 &&
         s->uid == (uint32_t)getuid() &&
         !(b->o.ignore_flags & (REPO_IGNORE_CTIME | REPO_IGNORE_INODE));
}

error *repo_backup_parent_find(backup *b, const value *paths) {
  repo_snapshot **all;
  size_t count, found = 0;
  if (b->o.force) return NULL;
  error *e = repo_versions(b->c->r, &all, &count, &b->stop);
  if (e != NULL) return e;
  for (size_t i = count; i-- > 0;) {
    if (!is_wanted(b, all[i], paths)) continue;
    if (found++ == 0) {
      b->parent = all[i];
      memmove(all + i, all + i + 1, (count - i) * sizeof *all);
      count--;
    }
    if (b->o.parent == NULL) break;
  }
  repo_versions_free(all);
  if (b->parent != NULL) b->trusts = is_ours(b, b->parent);
  if (b->parent != NULL && b->parent->has_summary)
    b->total = b->parent->summary.bytes;
  if (b->o.parent == NULL || found == 1) return NULL;
  return repo_error(found == 0 ? code_of_errno(ESRCH) : SAROS_E_INVALIDARG,
                    "%s '%s': give more of its id",
                    found == 0 ? "there is no version" : "several versions are",
                    b->o.parent);
}
