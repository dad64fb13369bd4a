/*
** listing: what ls, find, diff, dump and stats begin and end with.
*/
#include "repository/listing.h"

#include <stdio.h>
#include <string.h>

#include "repository/go.h"

#define KEPT ((size_t)64 << 20)

error *repo_listing_lock(listing *l, repo_call *c) {
  memset(l, 0, sizeof *l);
  l->c = c;
  l->budget = repo_budget_new();
  return repo_call_hold(c, REPO_READS, &l->h);
}

error *repo_listing_begin(listing *l) {
  repo_index *index;
  error *e = repo_index_of(l->h, &index);
  if (e != NULL) return e;
  l->blobs = repo_blobs_new(l->h->store, repo_tools_of(l->c->r), index, KEPT);
  l->errors = value_list();
  return l->blobs != NULL && l->errors != NULL ? NULL : error_no_memory();
}

error *repo_listing_end(listing *l, error *e) {
  repo_blobs_free(l->blobs);
  value_free(l->errors);
  return repo_call_let_go(l->c, l->h, e);
}

error *repo_listing_tell(listing *l, const char *path, error *e) {
  if (e->code == SAROS_E_OUTOFMEMORY || e->code == SAROS_E_CANCELLED)
    return e; /* that is no damage */
  buffer b = BUFFER_EMPTY;
  value *m = value_map();
  buffer_text(&b, e->message);
  for (const error *why = e->cause; why != NULL; why = why->cause)
    buffer_format(&b, ": %s", why->message);
  bool good = m != NULL && !b.failed && path_put(m, path) &&
              value_put(m, "message", value_string(b.data, b.size)) &&
              value_put(m, "code", value_int(e->code));
  buffer_free(&b);
  error_unref(e);
  if (!good) {
    value_free(m);
    return error_no_memory();
  }
  l->c->partial = true;
  return repo_listing_add(l, l->errors, m);
}

/* What malloc takes for each. */
#define A_VALUE 48
#define A_FIELD 64

static uint64_t memory_of(const value *m) {
  uint64_t size = A_VALUE + 2 * sizeof m;
  for (uint32_t i = 0; i < m->count; i++) {
    const value *v = m->as.fields[i].item;
    size += A_FIELD + A_VALUE;
    if (v->type == VALUE_STRING) size += v->as.string.size + 24;
  }
  return size;
}

error *repo_listing_add(listing *l, value *items, value *item) {
  if (item == NULL) return error_no_memory();
  error *e = repo_budget_take(&l->budget, memory_of(item),
                              "ask for a part of it, by a path or a pattern");
  if (e == NULL) return value_add(items, item) ? NULL : error_no_memory();
  value_free(item);
  return e;
}


/* ------------------------------------------------------------------
** Nodes
** ---------------------------------------------------------------- */

static bool put_number(value *m, const char *name, uint64_t n) {
  int64_t number = n > INT64_MAX ? INT64_MAX : (int64_t)n;
  return value_put(m, name, value_int(number));
}

static bool put_time(value *m, const char *name, struct timespec t,
                     int32_t zone) {
  buffer b = BUFFER_EMPTY;
  repo_go_time(&b, t, zone);
  bool good = !b.failed && value_put(m, name, value_string(b.data, b.size));
  buffer_free(&b);
  return good;
}

static bool put_text(value *m, const char *name, const char *text) {
  return text == NULL || value_put(m, name, value_text(text));
}

static bool put_full(value *m, const repo_node *n) {
  char inode[24];
  snprintf(inode, sizeof inode, "%llu", (unsigned long long)n->inode);
  bool good = put_number(m, "mode", n->mode) && put_number(m, "uid", n->uid) &&
              put_number(m, "gid", n->gid) && put_text(m, "user", n->user) &&
              put_text(m, "group", n->group) &&
              put_number(m, "inode", n->inode) &&
              put_number(m, "links", n->links) &&
              put_time(m, "mtime", n->mtime, n->mtime_zone) &&
              put_time(m, "atime", n->atime, n->atime_zone) &&
              put_time(m, "ctime", n->ctime, n->ctime_zone) &&
              put_text(m, "error", n->error_text);
  if (good && n->target != NULL)
    good = value_put(m, "target", value_string(n->target, n->target_size));
  if (good && (n->type == REPO_NODE_DEVICE || n->type == REPO_NODE_CHARACTER))
    good = put_number(m, "device", n->device);
  return good;
}

value *repo_node_value(const char *path, const repo_node *n, bool full) {
  value *m = value_map();
  bool good = m != NULL && path_put(m, path) &&
              value_put(m, "type", value_text(repo_node_type_name(n->type))) &&
              (n->type != REPO_NODE_FILE || put_number(m, "size", n->size)) &&
              (!full || put_full(m, n));
  if (good) return m;
  value_free(m);
  return NULL;
}
