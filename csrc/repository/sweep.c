/*
** sweep: the list of trees that are known is the queue, too. A thread that
** finds nothing in it waits while others may still add something.
*/
#include "repository/sweep.h"

#include <errno.h>
#include <pthread.h>
#include <stddef.h>

typedef struct sweeping {
  const repo_sweep *w;
  repo_id_map *trees;
  pthread_mutex_t lock; /* innermost: for the list, and these */
  pthread_cond_t moved;
  size_t at;       /* how many were begun */
  uint64_t done;   /* … and ended */
  unsigned active; /* threads that may add some */
} sweeping;

/* ------------------------------------------------------------------
** The queue
** ---------------------------------------------------------------- */

static error *add(sweeping *s, const repo_id *tree) {
  uint32_t number;
  bool fresh = false;
  pthread_mutex_lock(&s->lock);
  bool good = repo_id_map_put(s->trees, REPO_TREE, tree, &number, &fresh);
  if (fresh) pthread_cond_signal(&s->moved);
  pthread_mutex_unlock(&s->lock);
  return good ? NULL : error_no_memory();
}

static bool next(void *context, repo_hand *hand, size_t *number) {
  sweeping *s = context;
  bool found = false;
  pthread_mutex_lock(&s->lock);
  while (!repo_stopped(&hand->stop)) {
    found = s->at < repo_id_map_count(s->trees);
    if (found || s->active == 0) break;
    pthread_cond_wait(&s->moved, &s->lock);
  }
  if (found) {
    *number = s->at++;
    s->active++;
  } else {
    pthread_cond_broadcast(&s->moved); /* it is over for the others, too */
  }
  pthread_mutex_unlock(&s->lock);
  return found;
}

static void end_one(sweeping *s) {
  pthread_mutex_lock(&s->lock);
  s->active--;
  uint64_t done = ++s->done, known = repo_id_map_count(s->trees);
  pthread_cond_broadcast(&s->moved);
  pthread_mutex_unlock(&s->lock);
  if (s->w->progress != NULL && (done % 64 == 0 || done == known))
    s->w->progress(s->w->context, done, known);
}


/* ------------------------------------------------------------------
** One tree
** ---------------------------------------------------------------- */

static bool is_ours(const error *e) {
  return e->code == SAROS_E_OUTOFMEMORY || e->code == SAROS_E_CANCELLED ||
         e->code == SAROS_E_LOCKED || e->code == SAROS_E_FORKED;
}

static error *not_known(const repo_id *tree) {
  char text[REPO_ID_TEXT];
  repo_id_format(tree, text);
  return repo_error(SAROS_E_DAMAGED,
                    "the tree %s is in no pack that the index knows", text);
}

/* From the first copy that is good. */
static error *load(sweeping *s, repo_hand *hand, const repo_id *tree,
                   const char **json, size_t *size) {
  const repo_sweep *w = s->w;
  repo_place p, bad;
  error *first = NULL;
  for (size_t n = 0; repo_index_find(w->index, REPO_TREE, tree, n, &p); n++) {
    error *e = repo_blob_read(w->store, hand->tool, &p, &hand->sealed,
                              &hand->space, json, size, &hand->stop);
    if (e != NULL && is_ours(e)) {
      error_unref(first);
      return e;
    }
    if (e == NULL && first == NULL) return NULL;
    if (e == NULL)
      return w->bad_copy != NULL ? w->bad_copy(w->context, &bad, first)
                                 : (error_unref(first), NULL);
    if (first != NULL) {
      error_unref(e);
      continue;
    }
    first = e;
    bad = p;
  }
  return first != NULL ? first : not_known(tree);
}

static error *read_nodes(sweeping *s, const repo_id *tree,
                         repo_tree_reader *reader) {
  repo_node n;
  error *e = NULL, *broken = NULL;
  while (e == NULL && repo_tree_reader_next(reader, &n, &broken)) {
    e = s->w->node(s->w->context, tree, &n);
    if (e == NULL && n.type == REPO_NODE_DIRECTORY && n.has_subtree)
      e = add(s, &n.subtree);
  }
  if (e != NULL || broken == NULL) return e;
  if (is_ours(broken)) return broken;
  return s->w->broken(s->w->context, tree, broken);
}

static error *read_tree(sweeping *s, repo_hand *hand, size_t number) {
  const char *json = "";
  size_t size = 0;
  pthread_mutex_lock(&s->lock);
  repo_id tree = repo_id_map_at(s->trees, (uint32_t)number)->id;
  pthread_mutex_unlock(&s->lock);
  error *e = load(s, hand, &tree, &json, &size);
  if (e != NULL) return is_ours(e) ? e : s->w->broken(s->w->context, &tree, e);
  repo_tree_reader *reader = repo_tree_reader_new(json, size);
  if (reader == NULL) return error_no_memory();
  e = read_nodes(s, &tree, reader);
  repo_tree_reader_free(reader);
  return e;
}

static error *each(void *context, repo_hand *hand, size_t number) {
  sweeping *s = context;
  error *e = read_tree(s, hand, number);
  end_one(s);
  return e;
}

error *repo_sweep_trees(const repo_sweep *w, const repo_id *roots, size_t count,
                        repo_id_map *trees) {
  size_t known = repo_id_map_count(trees);
  sweeping s = {.w = w, .trees = trees, .at = known, .done = known};
  error *e = NULL;
  pthread_mutex_init(&s.lock, NULL);
  pthread_cond_init(&s.moved, NULL);
  for (size_t i = 0; e == NULL && i < count; i++) e = add(&s, &roots[i]);
  repo_side side = {.store = w->store,
                    .tools = w->tools,
                    .stop = w->stop,
                    .next = next,
                    .each = each,
                    .context = &s};
  if (e == NULL) e = repo_side_by_side(&side);
  pthread_cond_destroy(&s.moved);
  pthread_mutex_destroy(&s.lock);
  return e;
}
