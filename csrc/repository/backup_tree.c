/*
** backup_tree: a directory's tree, node by node. When the last of what is in it
** is done, whoever did that stores the tree, and goes on with its parent.
*/
#include <string.h>

#include "repository/backup_parts.h"
#include "repository/blob.h"

#define TREE_END "]}\n"
#define SUBTREE_END 2 /* the quote and the brace behind the digits */

/* ------------------------------------------------------------------
** Its tree, node by node
** ---------------------------------------------------------------- */

/* A list that nobody could read again is not made: see repo_blob_check. */
#ifdef SAROS_TEST
size_t repo_backup_tree_test;
#define TREE_MOST \
  (repo_backup_tree_test > 0 ? repo_backup_tree_test : REPO_TREE_MOST)
#else
#define TREE_MOST REPO_TREE_MOST
#endif

static void append(directory *d, const char *piece, size_t size) {
  if (d->is_too_long) return;
  if (d->text.size + size + sizeof TREE_END > TREE_MOST) {
    d->is_too_long = true;
    buffer_free(&d->text);
    return;
  }
  if (d->text.size > sizeof BACKUP_TREE_BEGIN - 1) buffer_byte(&d->text, ',');
  buffer_put(&d->text, piece, size);
}

static void append_late(directory *d) {
  while (d->next < d->list.count && d->list.entries[d->next].done) {
    entry *e = &d->list.entries[d->next++];
    if (e->piece == NULL) continue;
    append(d, e->piece, strlen(e->piece));
    mem_free(e->piece);
    e->piece = NULL;
  }
}

/* A node's text has no NUL: whatever could be one is escaped. */
static void put(directory *d, size_t at, const char *piece, size_t size) {
  bool failed = false;
  pthread_mutex_lock(&d->lock);
  entry *e = &d->list.entries[at];
  e->done = true;
  if (at != d->next) {
    if (piece != NULL) e->piece = mem_bytes(piece, size);
    failed = piece != NULL && e->piece == NULL;
  } else {
    d->next++;
    if (piece != NULL) append(d, piece, size);
    append_late(d);
  }
  pthread_mutex_unlock(&d->lock);
  if (failed) repo_backup_fail(d->b, error_no_memory());
}

static void count_directory(directory *d) {
  backup_counts *n = &d->b->counts;
  if (d->parent == NULL) return;
  if (!d->before.was_there)
    n->dirs_new++;
  else if (d->before.sum == repo_backup_sum(d->own.data, d->own.size))
    n->dirs_unmodified++;
  else
    n->dirs_changed++;
}

/* Of the root nobody is told: there is no version then. */
static void too_long(directory *d, hand *h) {
  error *e = repo_error(SAROS_E_REFUSED,
                        "there are too many names in it: %zu of them make a "
                        "list of more than %zu MiB, which could not be read "
                        "again; divide them among several directories",
                        d->list.count, (size_t)TREE_MOST >> 20);
  if (d->parent != NULL)
    repo_backup_item_failed(d->parent, d->at, h, e);
  else
    repo_backup_fail(d->b, e);
}

/* Its tree is stored, and its own node is whole. False: there is none. */
static bool finish(directory *d, hand *h) {
  backup *b = d->b;
  repo_id id;
  char digits[REPO_ID_TEXT];
  if (b->failed || (d->parent != NULL && d->own.size == 0)) return false;
  if (d->is_too_long) {
    too_long(d, h);
    return false;
  }
  buffer_text(&d->text, TREE_END);
  error *e = d->text.failed ? error_no_memory()
                            : repo_packer_add(b->packer, h->tool, REPO_TREE,
                                              d->text.data, d->text.size, &id);
  if (e != NULL) {
    repo_backup_fail(b, e);
    return false;
  }
  if (d->parent == NULL) {
    b->tree = id;
    b->has_tree = true;
    return true;
  }
  repo_id_format(&id, digits);
  memcpy(d->own.data + d->own.size - SUBTREE_END - (REPO_ID_TEXT - 1), digits,
         REPO_ID_TEXT - 1);
  count_directory(d);
  if (d->plan == NULL) b->counts.nodes++;
  return true;
}

/* From a directory that is done to its parent, and on. */
void repo_backup_leave(directory *d, hand *h) {
  while (d != NULL && atomic_fetch_sub(&d->left, 1) == 1) {
    directory *parent = d->parent;
    bool good = finish(d, h);
    if (parent != NULL)
      put(parent, d->at, good ? d->own.data : NULL, d->own.size);
    repo_backup_directory_free(d);
    d = parent;
  }
}

void repo_backup_entry_done(directory *d, size_t at, const char *piece,
                            size_t size, hand *h) {
  if (piece != NULL) d->b->counts.nodes++;
  put(d, at, piece, size);
  repo_backup_leave(d, h);
}
