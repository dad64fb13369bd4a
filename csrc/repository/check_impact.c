/*
** check_impact: what that means: which versions and paths are hit. Only when
** there is something of which no good copy is left; then the versions are
** walked through, past what is known to be whole.
*/
#include <stdlib.h>
#include <string.h>

#include "repository/check_parts.h"
#include "repository/tree.h"

#define DEEP 2048u
#define REMEMBERED ((size_t)16 << 20)

/* ------------------------------------------------------------------
** What is lost
** ---------------------------------------------------------------- */

static int by_place(const void *a, const void *b) {
  const repo_place *x = &((const bad_copy *)a)->place;
  const repo_place *y = &((const bad_copy *)b)->place;
  int r = repo_id_compare(&x->blob.id, &y->blob.id);
  if (r == 0) r = (int)x->blob.type - (int)y->blob.type;
  if (r == 0) r = repo_id_compare(&x->pack, &y->pack);
  if (r == 0)
    r = (x->blob.offset > y->blob.offset) - (x->blob.offset < y->blob.offset);
  return r;
}

static bool has_good_copy(checking *c, const repo_blob *blob) {
  bad_copy key = {.finding = 0};
  for (size_t n = 0; repo_index_find(c->index, (repo_blob_type)blob->type,
                                     &blob->id, n, &key.place);
       n++)
    if (bsearch(&key, c->bad, c->bad_count, sizeof key, by_place) == NULL)
      return true;
  return false;
}

static bool find_lost(checking *c) {
  if (c->bad_count > 1) qsort(c->bad, c->bad_count, sizeof *c->bad, by_place);
  for (size_t i = 0; i < c->bad_count; i++) {
    const repo_blob *blob = &c->bad[i].place.blob;
    if (has_good_copy(c, blob)) continue;
    if (!check_lose(c, blob->type, &blob->id, c->bad[i].finding)) return false;
  }
  return true;
}


/* ------------------------------------------------------------------
** Who is hit
** ---------------------------------------------------------------- */

typedef struct frame {
  repo_bytes *bytes;
  repo_tree_reader *reader;
  repo_id tree;
  size_t path; /* of it: so many bytes */
  bool hit;    /* something in it is */
} frame;

typedef struct impact {
  checking *c;
  repo_blobs *blobs;
  repo_id_map *whole; /* trees in which nothing is hit */
  size_t version;
  buffer path;
  frame *frames;
  unsigned depth;
} impact;

static bool has_path(const value *list, const buffer *path) {
  for (uint32_t i = 0; i < list->count; i++) {
    const value *v = list->as.items[i];
    if (v->as.string.size == path->size &&
        memcmp(v->as.string.data, path->data, path->size) == 0)
      return true;
  }
  return false;
}

static bool hit_version(impact *m, check_finding *f) {
  char text[REPO_ID_TEXT];
  if (f->last_version == m->version + 1) return true;
  f->last_version = m->version + 1;
  f->version_count++;
  if (f->versions == NULL && (f->versions = value_list()) == NULL) return false;
  if (f->versions->count >= CHECK_ITEMS_MOST) return true;
  repo_id_format(&m->c->versions[m->version]->id, text);
  return value_add(f->versions, value_text(text));
}

/* What is at the path. */
static bool hit(impact *m, uint32_t number) {
  if (number == 0) return true;
  check_finding *f = &m->c->found.list[number - 1];
  if (m->path.failed || !hit_version(m, f)) return false;
  f->path_count++;
  if (f->paths == NULL && (f->paths = value_list()) == NULL) return false;
  if (f->paths->count >= CHECK_PATHS_MOST || has_path(f->paths, &m->path))
    return true;
  return value_add(f->paths, value_string(m->path.data, m->path.size));
}

static bool is_lost(const impact *m, repo_blob_type type, const repo_id *id,
                    uint32_t *number) {
  uint32_t n;
  if (!repo_id_map_find(m->c->lost, (uint8_t)type, id, &n)) return false;
  *number = m->c->lost_findings[n];
  return true;
}

/* A directory: hit itself, known to be whole, or to be looked into. */
static error *enter(impact *m, const repo_id *tree, bool *was_hit) {
  uint32_t number;
  *was_hit = is_lost(m, REPO_TREE, tree, &number);
  if (*was_hit) return hit(m, number) ? NULL : error_no_memory();
  if (repo_id_map_find(m->whole, REPO_TREE, tree, &number)) return NULL;
  if (m->depth == DEEP) {
    m->c->impact_is_whole = false;
    return NULL;
  }
  frame *f = &m->frames[m->depth];
  *f = (frame){.tree = *tree, .path = m->path.size};
  error *e =
      repo_blobs_load(m->blobs, REPO_TREE, tree, &f->bytes, &m->c->h->stop);
  if (e != NULL && check_is_fatal(e)) return e;
  error_unref(e);
  if (e != NULL) return NULL; /* it was found, and is told */
  f->reader = repo_tree_reader_new(f->bytes->data, f->bytes->size);
  m->depth++;
  return f->reader != NULL ? NULL : error_no_memory();
}

static error *leave(impact *m) {
  frame *f = &m->frames[--m->depth];
  uint32_t number;
  bool fresh;
  repo_tree_reader_free(f->reader);
  repo_bytes_free(m->blobs, f->bytes);
  if (m->depth > 0 && f->hit) m->frames[m->depth - 1].hit = true;
  if (f->hit) return NULL;
  return repo_id_map_put(m->whole, REPO_TREE, &f->tree, &number, &fresh)
             ? NULL
             : error_no_memory();
}

static error *see_file(impact *m, frame *f, const repo_node *n) {
  uint32_t number, last = UINT32_MAX;
  for (size_t i = 0; i < n->content_count; i++) {
    if (!is_lost(m, REPO_DATA, &n->content[i], &number)) continue;
    f->hit = true;
    if (number == last) continue;
    last = number;
    if (!hit(m, number)) return error_no_memory();
  }
  return NULL;
}

static error *see(impact *m, frame *f, const repo_node *n) {
  error *e = NULL;
  bool was_hit = false;
  m->path.size = f->path;
  buffer_byte(&m->path, '/');
  buffer_put(&m->path, n->name, n->name_size);
  if (n->type == REPO_NODE_FILE) e = see_file(m, f, n);
  if (n->type == REPO_NODE_DIRECTORY && n->has_subtree)
    e = enter(m, &n->subtree, &was_hit);
  if (was_hit) f->hit = true;
  return e;
}

static error *walk(impact *m) {
  bool was_hit;
  m->path.size = 0;
  buffer_put(&m->path, "", 0);
  error *e = enter(m, &m->c->versions[m->version]->tree, &was_hit);
  while (e == NULL && m->depth > 0) {
    frame *f = &m->frames[m->depth - 1];
    repo_node n;
    error *broken = NULL;
    if (m->c->hit_budget == 0) {
      m->c->impact_is_whole = false;
      break;
    }
    m->c->hit_budget--;
    if (repo_stopped(&m->c->h->stop))
      e = repo_error(SAROS_E_CANCELLED, "checking was cancelled");
    else if (repo_tree_reader_next(f->reader, &n, &broken))
      e = see(m, f, &n);
    else
      e = leave(m);
    error_unref(broken);
  }
  while (m->depth > 0) {
    frame *f = &m->frames[--m->depth];
    repo_tree_reader_free(f->reader);
    repo_bytes_free(m->blobs, f->bytes);
  }
  return e;
}

static error *walk_all(impact *m) {
  error *e = NULL;
  for (; e == NULL && m->version < m->c->version_count; m->version++)
    e = walk(m);
  return e;
}

#ifdef SAROS_TEST
uint64_t repo_check_impact_test = CHECK_IMPACT_MOST;
#endif

static uint64_t impact_most(void) {
#ifdef SAROS_TEST
  return repo_check_impact_test;
#else
  return CHECK_IMPACT_MOST;
#endif
}

error *check_impact(checking *c) {
  c->impact_is_whole = true;
  c->hit_budget = impact_most();
  if (!find_lost(c)) return error_no_memory();
  if (repo_id_map_count(c->lost) == 0) return NULL;
  impact m = {.c = c,
              .whole = repo_id_map_new(),
              .blobs = repo_blobs_new(c->h->store, repo_tools_of(c->r),
                                      c->index, REMEMBERED),
              .frames = mem_alloc(DEEP * sizeof(frame))};
  bool good = m.whole != NULL && m.blobs != NULL && m.frames != NULL;
  error *e = good ? walk_all(&m) : error_no_memory();
  mem_free(m.frames);
  repo_id_map_free(m.whole);
  repo_blobs_free(m.blobs);
  buffer_free(&m.path);
  return e;
}
