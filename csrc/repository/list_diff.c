/*
** list_diff: the call diff: two versions side by side, name by name. What has
** the same tree is the same, and is not looked at.
*/
#include <string.h>

#include "repository/listing.h"

/* One of two directories that are compared; without a reader it is not there.
 */
typedef struct side {
  repo_bytes *bytes;
  repo_tree_reader *reader;
  repo_node node;
  bool has; /* there is a node, not yet told */
} side;

typedef struct pair {
  side sides[2];
  size_t path;
} pair;

typedef struct counts {
  uint64_t files, directories, others, bytes;
} counts;

typedef struct diff {
  listing l;
  bool metadata; /* is told, too */
  pair *pairs;
  size_t depth, room;
  repo_budget open; /* of the trees of these */
  buffer path;
  value *items;
  counts added, removed;
  uint64_t changed, touched;
} diff;


/* ------------------------------------------------------------------
** A pair of directories
** ---------------------------------------------------------------- */

static error *next(diff *d, side *s) {
  error *e = NULL;
  s->has = s->reader != NULL && repo_tree_reader_next(s->reader, &s->node, &e);
  if (e == NULL) return NULL;
  return repo_listing_tell(&d->l, d->path.size > 0 ? d->path.data : "/", e);
}

static error *open_side(diff *d, const repo_id *tree, side *s) {
  memset(s, 0, sizeof *s);
  if (tree == NULL) return NULL;
  error *e =
      repo_blobs_load(d->l.blobs, REPO_TREE, tree, &s->bytes, &d->l.h->stop);
  if (e != NULL &&
      (e->code == SAROS_E_CANCELLED || e->code == SAROS_E_OUTOFMEMORY))
    return e;
  if (e != NULL)
    return repo_listing_tell(&d->l, d->path.size > 0 ? d->path.data : "/", e);
  d->open.used += s->bytes->size;
  if (d->open.used > d->open.most)
    return repo_error(SAROS_E_REFUSED,
                      "directories in one another are too large to be compared "
                      "with the memory of this machine");
  s->reader = repo_tree_reader_new(s->bytes->data, s->bytes->size);
  return s->reader != NULL ? next(d, s) : error_no_memory();
}

static void close_side(diff *d, side *s) {
  repo_tree_reader_free(s->reader);
  if (s->bytes != NULL) d->open.used -= s->bytes->size;
  repo_bytes_free(d->l.blobs, s->bytes);
}

/* The path is theirs already. */
static error *push(diff *d, const repo_id *a, const repo_id *b) {
  if (d->depth > REPO_WALK_DEEP)
    return repo_listing_tell(
        &d->l, d->path.data,
        repo_error(SAROS_E_DAMAGED, "directories are nested more than %u deep",
                   REPO_WALK_DEEP));
  if (d->depth == d->room) {
    size_t room = d->room > 0 ? d->room * 2 : 16;
    pair *pairs = mem_grow(d->pairs, room * sizeof *pairs);
    if (pairs == NULL) return error_no_memory();
    d->pairs = pairs;
    d->room = room;
  }
  pair *p = &d->pairs[d->depth];
  p->path = d->path.size;
  error *e = open_side(d, a, &p->sides[0]);
  memset(&p->sides[1], 0, sizeof p->sides[1]);
  if (e == NULL) e = open_side(d, b, &p->sides[1]);
  d->depth++;
  return e;
}

static void pop(diff *d) {
  pair *p = &d->pairs[--d->depth];
  close_side(d, &p->sides[0]);
  close_side(d, &p->sides[1]);
}


/* ------------------------------------------------------------------
** A pair of names
** ---------------------------------------------------------------- */

static error *tell(diff *d, const char *change, const repo_node *n) {
  value *m = repo_node_value(d->path.data, n, false);
  if (m != NULL && !value_put(m, "change", value_text(change))) {
    value_free(m);
    m = NULL;
  }
  return repo_listing_add(&d->l, d->items, m);
}

static void count(counts *c, const repo_node *n) {
  if (n->type == REPO_NODE_DIRECTORY)
    c->directories++;
  else if (n->type == REPO_NODE_FILE)
    c->files++, c->bytes += n->size;
  else
    c->others++;
}

static bool same_attributes(const repo_node *a, const repo_node *b) {
  if (a->attribute_count != b->attribute_count) return false;
  for (size_t i = 0; i < a->attribute_count; i++) {
    const repo_attribute *x = &a->attributes[i], *y = &b->attributes[i];
    if (strcmp(x->name, y->name) != 0 || x->size != y->size ||
        memcmp(x->data, y->data, x->size) != 0)
      return false;
  }
  return true;
}

static bool same_metadata(const repo_node *a, const repo_node *b) {
  return a->mode == b->mode && a->uid == b->uid && a->gid == b->gid &&
         a->mtime.tv_sec == b->mtime.tv_sec &&
         a->mtime.tv_nsec == b->mtime.tv_nsec && same_attributes(a, b);
}

static bool same_content(const repo_node *a, const repo_node *b) {
  if (a->content_count != b->content_count || a->device != b->device ||
      a->target_size != b->target_size)
    return false;
  if (a->target_size > 0 && memcmp(a->target, b->target, a->target_size) != 0)
    return false;
  return a->content_count == 0 ||
         memcmp(a->content, b->content,
                a->content_count * sizeof *a->content) == 0;
}

static error *both(diff *d, const repo_node *a, const repo_node *b) {
  error *e = NULL;
  if (!same_content(a, b)) {
    d->changed++;
    e = tell(d, "changed", b);
  } else if (!same_metadata(a, b)) {
    d->touched++;
    if (d->metadata) e = tell(d, "metadata", b);
  }
  return e;
}

static const repo_id *tree_of(const repo_node *n) {
  bool is = n != NULL && n->type == REPO_NODE_DIRECTORY && n->has_subtree;
  return is ? &n->subtree : NULL;
}

/* One name; a node that is only in one of them has none beside it. What has
   become another type is removed, and added. */
static error *compare(diff *d, const repo_node *a, const repo_node *b) {
  const repo_id *x = tree_of(a), *y = tree_of(b);
  const repo_node *n = a != NULL ? a : b;
  error *e = NULL;
  if (n == NULL) return NULL; /* never: one of them there is */
  buffer_byte(&d->path, '/');
  buffer_put(&d->path, n->name, n->name_size);
  if (d->path.failed) return error_no_memory();
  if (a != NULL && b != NULL && a->type == b->type) {
    e = both(d, a, b);
  } else {
    if (a != NULL) count(&d->removed, a), e = tell(d, "removed", a);
    if (b != NULL && e == NULL) count(&d->added, b), e = tell(d, "added", b);
  }
  bool same = x != NULL && y != NULL && repo_id_equal(x, y);
  if (e != NULL || same || (x == NULL && y == NULL)) return e;
  repo_id from = x != NULL ? *x : (repo_id){{0}};
  repo_id to = y != NULL ? *y : (repo_id){{0}};
  return push(d, x != NULL ? &from : NULL, y != NULL ? &to : NULL);
}

/* The next name of the innermost pair, or its end. A node lasts until the next
   one of its reader, so that is asked for only when it was told. */
static error *step(diff *d) {
  size_t at = d->depth - 1;
  side *a = &d->pairs[at].sides[0], *b = &d->pairs[at].sides[1];
  d->path.size = d->pairs[at].path;
  if (d->path.data != NULL) d->path.data[d->path.size] = '\0';
  if (!a->has && !b->has) {
    pop(d);
    return NULL;
  }
  int order = !a->has ? 1
              : !b->has
                  ? -1
                  : repo_node_name_compare(a->node.name, a->node.name_size,
                                           b->node.name, b->node.name_size);
  error *e =
      compare(d, order <= 0 ? &a->node : NULL, order >= 0 ? &b->node : NULL);
  pair *p = &d->pairs[at]; /* they may have moved */
  if (e == NULL && order <= 0) e = next(d, &p->sides[0]);
  if (e == NULL && order >= 0) e = next(d, &p->sides[1]);
  return e;
}


/* ------------------------------------------------------------------
** The whole
** ---------------------------------------------------------------- */

static bool put_counts(value *m, const char *name, const counts *c) {
  value *v = value_map();
  bool good = v != NULL &&
              value_put(v, "files", value_int((int64_t)c->files)) &&
              value_put(v, "directories", value_int((int64_t)c->directories)) &&
              value_put(v, "others", value_int((int64_t)c->others)) &&
              value_put(v, "bytes", value_int((int64_t)c->bytes));
  if (!good) {
    value_free(v);
    v = NULL;
  }
  return value_put(m, name, v);
}

static error *tell_all(diff *d, const repo_version *v) {
  value *m = d->l.c->output = value_map();
  char from[REPO_ID_TEXT], to[REPO_ID_TEXT];
  repo_id_format(&v[0].snapshot->id, from);
  repo_id_format(&v[1].snapshot->id, to);
  if (m == NULL) return error_no_memory();
  bool good = value_put(m, "from", value_text(from)) &&
              value_put(m, "to", value_text(to)) &&
              put_counts(m, "added", &d->added) &&
              put_counts(m, "removed", &d->removed) &&
              value_put(m, "changed", value_int((int64_t)d->changed)) &&
              value_put(m, "metadata", value_int((int64_t)d->touched));
  good = value_put(m, "items", d->items) && good;
  d->items = NULL;
  good = value_put(m, "errors", d->l.errors) && good;
  d->l.errors = NULL;
  return good ? NULL : error_no_memory();
}

static error *find_version(diff *d, const char *name, repo_version *v) {
  const char *text = value_chars(value_get(d->l.c->options, name), NULL);
  if (text == NULL)
    return repo_error(SAROS_E_INVALIDARG,
                      "which versions? Give `from` and `to`");
  return repo_version_find(d->l.c->r, text, d->l.c->options, v, &d->l.h->stop);
}

static error *compare_versions(diff *d, repo_version *v) {
  error *e = repo_listing_begin(&d->l);
  for (int i = 0; e == NULL && i < 2; i++)
    e = repo_version_enter(&v[i], d->l.blobs, &d->l.h->stop);
  d->items = value_list();
  if (e == NULL && d->items == NULL) e = error_no_memory();
  if (e == NULL && !repo_id_equal(&v[0].tree, &v[1].tree))
    e = push(d, &v[0].tree, &v[1].tree);
  while (e == NULL && d->depth > 0)
    e = repo_stopped(&d->l.h->stop)
            ? repo_error(SAROS_E_CANCELLED, "comparing was cancelled")
            : step(d);
  return e != NULL ? e : tell_all(d, v);
}

error *repo_work_diff(repo_call *c) {
  diff d = {.metadata = value_boolean(value_get(c->options, "metadata"), false),
            .open = repo_budget_new(),
            .path = BUFFER_EMPTY};
  repo_version v[2] = {{0}, {0}};
  error *e = repo_listing_lock(&d.l, c);
  if (e != NULL) return e;
  e = find_version(&d, "from", &v[0]);
  if (e == NULL) e = find_version(&d, "to", &v[1]);
  if (e == NULL) e = compare_versions(&d, v);
  while (d.depth > 0) pop(&d);
  mem_free(d.pairs);
  buffer_free(&d.path);
  value_free(d.items);
  repo_version_clear(&v[0]);
  repo_version_clear(&v[1]);
  return repo_listing_end(&d.l, e);
}
