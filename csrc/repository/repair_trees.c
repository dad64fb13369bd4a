/*
** repair_trees: a version's directories, without what is lost. A file loses the
** pieces that are nowhere, a directory that cannot be read becomes an empty
** one. What is whole stays to the byte. How deep it gets is said by who wrote
** the trees, so it is on no thread's stack.
*/
#include <string.h>

#include "repository/check_parts.h"
#include "repository/repair_parts.h"
#include "repository/walk.h"

typedef struct frame {
  repo_id tree;
  repo_bytes *bytes;
  repo_tree_reader *reader;
  repo_node node; /* that was read last: lasts until the next */
  buffer text;    /* as it will be */
  size_t path;    /* how long it is, of the directory itself */
  bool changed;
} frame;

typedef struct walking {
  mending *m;
  frame *frames;
  size_t depth, room;
  /* Trees of this version that lost something, and what became of them: one
     that many paths lead to is gone through, and told, once. */
  repo_id_map *mended;
  repo_id *became;
  size_t became_room;
} walking;

/* ------------------------------------------------------------------
** What is there
** ---------------------------------------------------------------- */

bool repair_is_there(const mending *m, repo_blob_type type, const repo_id *id) {
  repo_place p;
  uint32_t n;
  for (size_t i = 0; repo_index_find(m->index, type, id, i, &p); i++)
    if (repo_id_map_find(m->packs, 0, &p.pack, &n) &&
        (uint64_t)p.blob.offset + p.blob.length <= m->sizes[n])
      return true;
  return false;
}

/* Something of what the path names is lost. */
static error *tell(mending *m, const char *type, uint64_t missing) {
  const char *path = m->path.size > 0 ? m->path.data : "/";
  if (m->lost_count++ >= REPAIR_LOST_MOST) return NULL;
  value *map = value_map();
  if (map != NULL && path_put(map, path) &&
      value_put(map, "type", value_text(type)) &&
      (missing == 0 || value_put(map, "missing", value_int((int64_t)missing))))
    return value_add(m->lost, map) ? NULL : error_no_memory();
  value_free(map);
  return error_no_memory();
}

static error *put_path(mending *m, const repo_node *n) {
  buffer_byte(&m->path, '/');
  buffer_put(&m->path, n->name, n->name_size);
  return m->path.failed ? error_no_memory() : NULL;
}

static void cut_path(mending *m, size_t size) {
  m->path.size = size;
  if (m->path.data != NULL) m->path.data[size] = '\0';
}


/* ------------------------------------------------------------------
** Nodes
** ---------------------------------------------------------------- */

static void put_comma(frame *f) {
  if (f->text.size > strlen("{\"nodes\":[")) buffer_byte(&f->text, ',');
}

static error *put_same(frame *f) {
  const char *json;
  size_t size;
  repo_tree_reader_raw(f->reader, &json, &size);
  put_comma(f);
  buffer_put(&f->text, json, size);
  return f->text.failed ? error_no_memory() : NULL;
}

static error *put_other(frame *f, const repo_node *n) {
  f->changed = true;
  put_comma(f);
  repo_node_write(&f->text, n);
  return f->text.failed ? error_no_memory() : NULL;
}

/* Of a file its pieces that are there, one after the other. */
static error *put_file(walking *w, frame *f) {
  mending *m = w->m;
  repo_node n = f->node;
  size_t left = 0;
  repo_place p;
  if (n.has_content) {
    while (left < n.content_count &&
           repair_is_there(m, REPO_DATA, &n.content[left]))
      left++;
    if (left == n.content_count) return put_same(f);
  }
  repo_id *content = mem_alloc((n.content_count + 1) * sizeof *content);
  if (content == NULL) return error_no_memory();
  n.size = 0;
  left = 0;
  for (size_t i = 0; i < n.content_count; i++) {
    if (!repair_is_there(m, REPO_DATA, &n.content[i])) continue;
    content[left++] = n.content[i];
    if (repo_index_find(m->index, REPO_DATA, &n.content[i], 0, &p))
      n.size += repo_blob_size(&p.blob);
  }
  size_t missing = n.content_count - left, before = m->path.size;
  n.content = content;
  n.content_count = left;
  n.has_content = true;
  error *e = put_path(m, &n);
  if (e == NULL) e = tell(m, "file", missing);
  cut_path(m, before);
  if (e == NULL) e = put_other(f, &n);
  mem_free(content);
  return e;
}

/* Stores a directory, unless it is a dry run; its id in any case. */
static error *store(mending *m, const char *json, size_t size, repo_id *id) {
  if (m->packer != NULL)
    return repo_packer_add(m->packer, m->tool, REPO_TREE, json, size, id);
  repo_id_of(id, json, size);
  return NULL;
}

static error *put_directory(walking *w, frame *f, repair_tree what,
                            const repo_id *id) {
  static const char empty[] = "{\"nodes\":[]}\n";
  repo_node n = f->node;
  error *e = NULL;
  if (what == REPAIR_TREE_SAME) return put_same(f);
  n.has_subtree = true;
  n.subtree = *id;
  if (what == REPAIR_TREE_LOST) {
    size_t before = w->m->path.size;
    e = store(w->m, empty, sizeof empty - 1, &n.subtree);
    if (e == NULL) e = put_path(w->m, &n);
    if (e == NULL) e = tell(w->m, "dir", 0);
    cut_path(w->m, before);
  }
  return e != NULL ? e : put_other(f, &n);
}


/* ------------------------------------------------------------------
** Directories
** ---------------------------------------------------------------- */

static void pop(walking *w) {
  frame *f = &w->frames[--w->depth];
  repo_tree_reader_free(f->reader);
  if (f->bytes != NULL) repo_bytes_free(w->m->blobs, f->bytes);
  buffer_free(&f->text);
}

static bool make_room(walking *w) {
  if (w->depth < w->room) return true;
  size_t room = w->room * 2 + 32;
  frame *frames = mem_grow(w->frames, room * sizeof *frames);
  if (frames == NULL) return false;
  w->frames = frames;
  w->room = room;
  return true;
}

/* Its path is there already. *lost: it cannot be read. */
static error *push(walking *w, const repo_id *tree, bool *lost) {
  frame f = {.tree = *tree, .path = w->m->path.size};
  *lost = w->depth >= REPO_WALK_DEEP;
  if (*lost) return NULL;
  if (repo_stopped(w->m->stop))
    return repo_error(SAROS_E_CANCELLED, "the repair was cancelled");
  if (!make_room(w)) return error_no_memory();
  error *e =
      repo_blobs_load(w->m->blobs, REPO_TREE, tree, &f.bytes, w->m->stop);
  if (e != NULL && !check_is_fatal(e)) {
    log_write(LOG_NOTICE, "repository", "%s", e->message);
    error_unref(e);
    *lost = true;
    return NULL;
  }
  if (e != NULL) return e;
  f.reader = repo_tree_reader_new(f.bytes->data, f.bytes->size);
  buffer_text(&f.text, "{\"nodes\":[");
  w->frames[w->depth++] = f;
  return f.reader != NULL && !f.text.failed ? NULL : error_no_memory();
}

static error *remember(walking *w, const repo_id *tree, const repo_id *id) {
  uint32_t number;
  bool fresh;
  if (w->mended == NULL) w->mended = repo_id_map_new();
  if (w->mended == NULL ||
      !repo_id_map_put(w->mended, REPO_TREE, tree, &number, &fresh))
    return error_no_memory();
  if (number >= w->became_room) {
    size_t room = w->became_room + w->became_room / 2 + 64;
    repo_id *became = mem_grow(w->became, room * sizeof *became);
    if (became == NULL) return error_no_memory();
    w->became = became;
    w->became_room = room;
  }
  w->became[number] = *id;
  return NULL;
}

/* The one on top is through; *id is as it is now. */
static error *finish(walking *w, repair_tree *what, repo_id *id) {
  frame *f = &w->frames[w->depth - 1];
  uint32_t number;
  bool fresh;
  *id = f->tree;
  *what = f->changed ? REPAIR_TREE_NEW : REPAIR_TREE_SAME;
  if (!f->changed)
    return repo_id_map_put(w->m->whole, REPO_TREE, id, &number, &fresh)
               ? NULL
               : error_no_memory();
  buffer_text(&f->text, "]}\n");
  if (f->text.failed) return error_no_memory();
  error *e = store(w->m, f->text.data, f->text.size, id);
  return e != NULL ? e : remember(w, &f->tree, id);
}

static error *enter(walking *w) {
  size_t at = w->depth - 1, before = w->m->path.size;
  frame *f = &w->frames[at];
  repo_id subtree = f->node.subtree;
  uint32_t number;
  bool lost = true;
  error *e = NULL;
  if (f->node.has_subtree &&
      repo_id_map_find(w->m->whole, REPO_TREE, &subtree, &number))
    return put_same(f);
  if (f->node.has_subtree && w->mended != NULL &&
      repo_id_map_find(w->mended, REPO_TREE, &subtree, &number))
    return put_directory(w, f, REPAIR_TREE_NEW, &w->became[number]);
  if (f->node.has_subtree) {
    e = put_path(w->m, &f->node);
    if (e == NULL) e = push(w, &subtree, &lost);
    if (e != NULL || !lost) return e;
    cut_path(w->m, before);
  }
  return put_directory(w, &w->frames[at], REPAIR_TREE_LOST, &subtree);
}

/* What is behind a place that cannot be understood is lost. */
static error *cut_off(walking *w, error *broken) {
  if (broken == NULL || check_is_fatal(broken)) return broken;
  error_unref(broken);
  w->frames[w->depth - 1].changed = true;
  return tell(w->m, "dir", 0);
}

static error *step(walking *w, repair_tree *what, repo_id *id) {
  frame *f = &w->frames[w->depth - 1];
  error *broken = NULL;
  if (repo_tree_reader_next(f->reader, &f->node, &broken)) {
    if (f->node.type == REPO_NODE_FILE) return put_file(w, f);
    return f->node.type == REPO_NODE_DIRECTORY ? enter(w) : put_same(f);
  }
  error *e = cut_off(w, broken);
  if (e == NULL) e = finish(w, what, id);
  if (e != NULL) return e;
  pop(w);
  if (w->depth == 0) return NULL;
  f = &w->frames[w->depth - 1];
  cut_path(w->m, f->path);
  return put_directory(w, f, *what, id);
}

error *repair_mend(mending *m, repo_id *tree, repair_tree *what) {
  walking w = {.m = m};
  bool lost;
  uint32_t number;
  *what = REPAIR_TREE_SAME;
  cut_path(m, 0);
  if (repo_id_map_find(m->whole, REPO_TREE, tree, &number)) return NULL;
  error *e = push(&w, tree, &lost);
  if (e == NULL && lost) {
    *what = REPAIR_TREE_LOST;
    e = tell(m, "dir", 0);
  }
  while (e == NULL && w.depth > 0) e = step(&w, what, tree);
  while (w.depth > 0) pop(&w);
  mem_free(w.frames);
  mem_free(w.became);
  repo_id_map_free(w.mended);
  return e;
}
