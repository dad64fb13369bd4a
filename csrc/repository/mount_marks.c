/*
** mount_marks: where in a large directory one looks for a name. A tree is text,
** and its nodes are in the order of their names: of every so many of them it is
** remembered where it begins, so that a name is found by halving, and then
** among a few. Some directories are remembered, a two-thousandth of their text
** each; small ones are read from their beginning.
*/
#include <string.h>

#include "repository/mount_parts.h"

#define SMALL ((size_t)32 << 10) /* bytes */
#define EVERY 64                 /* nodes */

struct mount_marks {
  repo_id tree;
  unsigned refs;  /* under the lock: its place's, and of who looks */
  uint64_t asked; /* when, counted in askings */
  size_t count, room;
  size_t *at;
};

#ifdef SAROS_TEST
_Atomic uint64_t mount_steps;
#endif

bool mount_next_node(repo_tree_reader *r, repo_node *n, error **e) {
#ifdef SAROS_TEST
  mount_steps++;
#endif
  return repo_tree_reader_next(r, n, e);
}

static void free_marks(mount_marks *k) {
  mem_free(k->at);
  mem_free(k);
}

/* With the lock. */
static void let_go(mount_marks *k) {
  if (k != NULL && --k->refs == 0) free_marks(k);
}

static bool add(mount_marks *k, size_t at) {
  if (k->count == k->room) {
    size_t room = k->room * 2 + 64;
    size_t *list = mem_grow(k->at, room * sizeof *list);
    if (list == NULL) return false;
    k->at = list;
    k->room = room;
  }
  k->at[k->count++] = at;
  return true;
}

/* NULL: there is no memory, or it is damaged somewhere. What comes before that
   can be read all the same, from the beginning. */
static mount_marks *make(const repo_id *tree, const repo_bytes *bytes) {
  mount_marks *k = mem_zero(sizeof *k);
  repo_tree_reader *r = repo_tree_reader_new(bytes->data, bytes->size);
  repo_node n;
  error *e = NULL;
  bool good = k != NULL && r != NULL;
  for (size_t i = 0; good && mount_next_node(r, &n, &e); i++)
    if (i % EVERY == 0) good = add(k, repo_tree_reader_at(r));
  repo_tree_reader_free(r);
  good = good && e == NULL && k->count > 0;
  error_unref(e);
  if (good) {
    k->tree = *tree;
    k->refs = 1;
    return k;
  }
  if (k != NULL) free_marks(k);
  return NULL;
}

/* With the lock. */
static mount_marks *find(mounted *m, const repo_id *tree) {
  for (size_t i = 0; i < MOUNT_MARKS; i++) {
    mount_marks *k = m->marks[i];
    if (k == NULL || !repo_id_equal(&k->tree, tree)) continue;
    k->refs++;
    k->asked = ++m->marks_asked;
    return k;
  }
  return NULL;
}

/* With the lock: in the place of the one that was not asked for longest. */
static void put(mounted *m, mount_marks *k) {
  size_t oldest = 0;
  for (size_t i = 0; i < MOUNT_MARKS && m->marks[oldest] != NULL; i++)
    if (m->marks[i] == NULL || m->marks[i]->asked < m->marks[oldest]->asked)
      oldest = i;
  let_go(m->marks[oldest]);
  m->marks[oldest] = k;
  k->refs++;
  k->asked = ++m->marks_asked;
}

mount_marks *mount_marks_take(mounted *m, const repo_id *tree,
                              const repo_bytes *bytes) {
  if (bytes->size < SMALL) return NULL;
  pthread_mutex_lock(&m->lock);
  mount_marks *k = find(m, tree);
  pthread_mutex_unlock(&m->lock);
  if (k != NULL) return k;
  mount_marks *made = make(tree, bytes);
  if (made == NULL) return NULL;
  pthread_mutex_lock(&m->lock);
  k = find(m, tree); /* another thread may have been faster */
  if (k == NULL)
    put(m, k = made);
  else
    let_go(made);
  pthread_mutex_unlock(&m->lock);
  return k;
}

void mount_marks_give(mounted *m, mount_marks *k) {
  if (k == NULL) return;
  pthread_mutex_lock(&m->lock);
  let_go(k);
  pthread_mutex_unlock(&m->lock);
}

void mount_marks_free(mounted *m) {
  for (size_t i = 0; i < MOUNT_MARKS; i++) let_go(m->marks[i]);
}

error *mount_marks_go(const mount_marks *k, repo_tree_reader *r,
                      const char *name, size_t size) {
  size_t low = 0, high = k->count; /* it is behind the one, before the other */
  while (high - low > 1) {
    size_t middle = low + (high - low) / 2;
    repo_node n;
    error *e;
    repo_tree_reader_go(r, k->at[middle]);
    if (!mount_next_node(r, &n, &e)) return e;
    if (repo_node_name_compare(n.name, n.name_size, name, size) <= 0)
      low = middle;
    else
      high = middle;
  }
  repo_tree_reader_go(r, k->at[low]);
  return NULL;
}
