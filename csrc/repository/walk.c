/*
** walk: a stack of directories that are being read. How deep it gets is said by
** who wrote the trees, so it is on no thread's stack.
*/
#include "repository/walk.h"

#include <string.h>

#include "repository/budget.h"

typedef struct frame {
  repo_id tree;
  repo_bytes *bytes;
  repo_tree_reader *reader;
  size_t path; /* how long it is, of the directory itself */
  uint64_t mark;
} frame;

typedef struct walking {
  repo_blobs *blobs;
  const repo_walk *w;
  const repo_stop *stop;
  buffer path;
  frame *frames;
  size_t depth, room;
  repo_budget budget; /* of the trees that are open at a time */
} walking;

static repo_walk_at at_of(const walking *g, uint64_t parent, size_t depth) {
  const char *path = g->path.size > 0 ? g->path.data : "/";
  return (repo_walk_at){path, g->path.size > 0 ? g->path.size : 1,
                        (unsigned)depth, parent};
}

static error *tell(walking *g, error *e) {
  repo_walk_at at =
      at_of(g, g->depth > 0 ? g->frames[g->depth - 1].mark : 0, g->depth);
  if (e->code == SAROS_E_OUTOFMEMORY || e->code == SAROS_E_CANCELLED) return e;
  return g->w->damaged(g->w->context, &at, e);
}

static bool is_in_itself(const walking *g, const repo_id *tree) {
  for (size_t i = 0; i < g->depth; i++)
    if (repo_id_equal(&g->frames[i].tree, tree)) return true;
  return false;
}

static bool make_room(walking *g) {
  if (g->depth < g->room) return true;
  size_t room = g->room > 0 ? g->room * 2 : 32;
  frame *frames = mem_grow(g->frames, room * sizeof *frames);
  if (frames == NULL) return false;
  g->frames = frames;
  g->room = room;
  return true;
}

/* Its path is there already. One that cannot be entered is told, and then
 *entered is false. */
static error *push(walking *g, const repo_id *tree, uint64_t mark,
                   bool *entered) {
  frame f = {.tree = *tree, .path = g->path.size, .mark = mark};
  error *e = NULL;
  *entered = false;
  if (!make_room(g)) return error_no_memory();
  if (g->depth > REPO_WALK_DEEP)
    return tell(g, repo_error(SAROS_E_DAMAGED,
                              "directories are nested more than %u deep",
                              REPO_WALK_DEEP));
  if (is_in_itself(g, tree))
    return tell(g, repo_error(SAROS_E_DAMAGED, "a directory is in itself"));
  e = repo_blobs_load(g->blobs, REPO_TREE, tree, &f.bytes, g->stop);
  if (e != NULL) return tell(g, e);
  e = repo_budget_take(&g->budget, f.bytes->size,
                       "directories in one another are too large");
  if (e != NULL) {
    repo_bytes_free(g->blobs, f.bytes);
    return tell(g, e);
  }
  f.reader = repo_tree_reader_new(f.bytes->data, f.bytes->size);
  if (f.reader == NULL) {
    repo_bytes_free(g->blobs, f.bytes);
    return error_no_memory();
  }
  g->frames[g->depth++] = f;
  *entered = true;
  return NULL;
}

static void pop(walking *g) {
  frame *f = &g->frames[--g->depth];
  g->budget.used -= f->bytes->size;
  repo_tree_reader_free(f->reader);
  repo_bytes_free(g->blobs, f->bytes);
}

static void set_path(walking *g, size_t size) {
  g->path.size = size;
  if (g->path.data != NULL) g->path.data[size] = '\0';
}

static error *left(walking *g, uint64_t mark) {
  uint64_t parent = g->depth > 0 ? g->frames[g->depth - 1].mark : 0;
  repo_walk_at at = at_of(g, parent, g->depth > 0 ? g->depth - 1 : 0);
  return g->w->leave != NULL ? g->w->leave(g->w->context, &at, mark) : NULL;
}

static error *visit(walking *g, const repo_node *n) {
  const frame *f = &g->frames[g->depth - 1];
  bool is_directory = n->type == REPO_NODE_DIRECTORY;
  bool enter = is_directory && n->has_subtree, entered;
  uint64_t mark = 0;
  repo_id subtree = n->subtree;
  buffer_byte(&g->path, '/');
  buffer_put(&g->path, n->name, n->name_size);
  if (g->path.failed) return error_no_memory();
  repo_walk_at at = at_of(g, f->mark, g->depth - 1);
  error *e = g->w->node(g->w->context, &at, n, &enter, &mark);
  if (e == NULL && is_directory && !n->has_subtree)
    e = tell(g, repo_error(SAROS_E_DAMAGED,
                           "what is in this directory was not kept"));
  if (e != NULL || !enter) return e;
  e = push(g, &subtree, mark, &entered);
  return e != NULL || entered ? e : left(g, mark);
}

/* One step: the next node of the innermost directory, or its end. */
static error *step(walking *g) {
  repo_node n;
  error *e = NULL;
  frame *f = &g->frames[g->depth - 1];
  set_path(g, f->path);
  if (repo_tree_reader_next(f->reader, &n, &e)) return visit(g, &n);
  if (e != NULL) e = tell(g, e);
  if (e != NULL) return e;
  uint64_t mark = f->mark;
  pop(g);
  return g->depth > 0 ? left(g, mark) : NULL;
}

error *repo_walk_tree(repo_blobs *blobs, const repo_id *tree, uint64_t mark,
                      const repo_walk *w, const repo_stop *stop) {
  walking g = {.blobs = blobs,
               .w = w,
               .stop = stop,
               .path = BUFFER_EMPTY,
               .budget = repo_budget_new()};
  bool entered;
  error *e = push(&g, tree, mark, &entered);
  while (e == NULL && g.depth > 0) {
    e = repo_stopped(stop) ? repo_error(SAROS_E_CANCELLED, "it was cancelled")
                           : step(&g);
  }
  while (g.depth > 0) pop(&g);
  mem_free(g.frames);
  buffer_free(&g.path);
  return e;
}
