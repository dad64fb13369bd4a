/*
** stats: how large versions are: as they would be when they were restored, and
** what they take in the repository, where what they share counts once.
*/
#include <string.h>

#include "repository/listing.h"

/* Ids that were met. */
typedef struct set {
  repo_id *at;
  bool *used;
  size_t count, room;
} set;

typedef struct stats {
  listing l; /* first */
  bool raw;
  set trees, blobs, links;
  uint64_t versions, files, directories, others, bytes;
  uint64_t stored, plain, data, tree;
} stats;


/* ------------------------------------------------------------------
** Sets
** ---------------------------------------------------------------- */

static size_t slot(const set *s, const repo_id *id) {
  uint64_t h;
  memcpy(&h, id->bytes, sizeof h);
  size_t at = (size_t)h & (s->room - 1);
  while (s->used[at] && !repo_id_equal(&s->at[at], id))
    at = (at + 1) & (s->room - 1);
  return at;
}

static bool grow(set *s) {
  set bigger = {.room = s->room > 0 ? s->room * 2 : 1024, .count = s->count};
  bigger.at = mem_alloc(bigger.room * sizeof *bigger.at);
  bigger.used = mem_zero(bigger.room);
  if (bigger.at == NULL || bigger.used == NULL) {
    mem_free(bigger.at);
    mem_free(bigger.used);
    return false;
  }
  for (size_t i = 0; i < s->room; i++) {
    if (!s->used[i]) continue;
    size_t at = slot(&bigger, &s->at[i]);
    bigger.at[at] = s->at[i];
    bigger.used[at] = true;
  }
  mem_free(s->at);
  mem_free(s->used);
  *s = bigger;
  return true;
}

static void set_free(set *s) {
  mem_free(s->at);
  mem_free(s->used);
}

/* *fresh: it was not in it. */
static error *meet(set *s, const repo_id *id, bool *fresh) {
  if (s->count >= s->room / 2 && !grow(s)) return error_no_memory();
  size_t at = slot(s, id);
  *fresh = !s->used[at];
  if (!*fresh) return NULL;
  s->used[at] = true;
  s->at[at] = *id;
  s->count++;
  return NULL;
}


/* ------------------------------------------------------------------
** Counting
** ---------------------------------------------------------------- */

static error *count_blob(stats *s, repo_blob_type type, const repo_id *id,
                         const char *path) {
  repo_place p;
  if (!repo_index_find(repo_blobs_index(s->l.blobs), type, id, 0, &p))
    return repo_listing_tell(
        &s->l, path,
        repo_error(SAROS_E_DAMAGED,
                   "a blob of it is in no pack that the index knows"));
  *(type == REPO_TREE ? &s->tree : &s->data) += 1;
  s->stored += p.blob.length;
  s->plain += repo_blob_size(&p.blob);
  return NULL;
}

/* Of several names of one file in a version the first counts. */
static error *is_counted(stats *s, const repo_node *n, bool *fresh) {
  repo_id key = {{0}};
  *fresh = true;
  if (n->links < 2 || n->inode == 0) return NULL;
  memcpy(key.bytes, &n->inode, sizeof n->inode);
  memcpy(key.bytes + 8, &n->device_id, sizeof n->device_id);
  memcpy(key.bytes + 16, &s->versions, sizeof s->versions);
  return meet(&s->links, &key, fresh);
}

static error *count_file(stats *s, const char *path, const repo_node *n) {
  bool fresh;
  error *e = is_counted(s, n, &fresh);
  s->files++;
  if (fresh) s->bytes += n->size;
  for (size_t i = 0; s->raw && e == NULL && i < n->content_count; i++) {
    e = meet(&s->blobs, &n->content[i], &fresh);
    if (e == NULL && fresh) e = count_blob(s, REPO_DATA, &n->content[i], path);
  }
  return e;
}

static error *stats_node(void *context, const repo_walk_at *at,
                         const repo_node *n, bool *enter, uint64_t *mark) {
  stats *s = context;
  bool fresh = true;
  error *e = NULL;
  (void)mark;
  if (n->type == REPO_NODE_FILE) return count_file(s, at->path, n);
  if (n->type != REPO_NODE_DIRECTORY) {
    s->others++;
    return NULL;
  }
  s->directories++;
  if (!s->raw || !n->has_subtree) return NULL;
  e = meet(&s->trees, &n->subtree, &fresh);
  if (e == NULL && fresh) e = count_blob(s, REPO_TREE, &n->subtree, at->path);
  if (!fresh) *enter = false; /* all of it was counted */
  return e;
}

static error *stats_damaged(void *context, const repo_walk_at *at, error *e) {
  return repo_listing_tell(context, at->path, e);
}

static error *count_version(stats *s, const repo_snapshot *v) {
  repo_walk w = {stats_node, NULL, stats_damaged, s};
  bool fresh = true;
  error *e = NULL;
  s->versions++;
  if (s->raw) e = meet(&s->trees, &v->tree, &fresh);
  if (s->raw && e == NULL && fresh) e = count_blob(s, REPO_TREE, &v->tree, "/");
  if (e != NULL || !fresh) return e;
  return repo_walk_tree(s->l.blobs, &v->tree, 0, &w, &s->l.h->stop);
}


/* ------------------------------------------------------------------
** The call
** ---------------------------------------------------------------- */

static bool put(value *m, const char *name, uint64_t n) {
  return value_put(m, name, value_int((int64_t)n));
}

static error *tell(stats *s) {
  value *m = s->l.c->output = value_map();
  bool good =
      m != NULL && put(m, "versions", s->versions) &&
      (s->raw
           ? put(m, "data_blobs", s->data) && put(m, "tree_blobs", s->tree) &&
                 put(m, "blob_bytes", s->stored) &&
                 put(m, "plain_bytes", s->plain)
           : put(m, "files", s->files) &&
                 put(m, "directories", s->directories) &&
                 put(m, "others", s->others) && put(m, "bytes", s->bytes));
  good = value_put(m, "errors", s->l.errors) && good;
  s->l.errors = NULL;
  return good ? NULL : error_no_memory();
}

static error *count_all(stats *s, repo_snapshot **all, size_t count) {
  const value *o = s->l.c->options;
  const char *version = value_chars(value_get(o, "version"), "");
  bool latest = strcmp(version, "latest") == 0;
  error *e = repo_listing_begin(&s->l);
  for (size_t i = count; e == NULL && i-- > 0;) {
    char id[REPO_ID_TEXT];
    repo_id_format(&all[i]->id, id);
    bool is =
        latest ? s->versions == 0 : strncmp(id, version, strlen(version)) == 0;
    if (is && repo_version_is_wanted(all[i], o)) e = count_version(s, all[i]);
  }
  if (e == NULL && s->versions == 0 && *version != '\0')
    e = repo_error(SAROS_E_INVALIDARG, "there is no version %.100s", version);
  return e != NULL ? e : tell(s);
}

error *repo_work_sizes(repo_call *c) {
  const char *mode = value_chars(value_get(c->options, "mode"), "restore-size");
  stats s = {.raw = strcmp(mode, "raw-data") == 0};
  repo_snapshot **all = NULL;
  size_t count = 0;
  if (!s.raw && strcmp(mode, "restore-size") != 0)
    return repo_error(SAROS_E_INVALIDARG,
                      "mode: \"restore-size\" or \"raw-data\" expected");
  error *e = repo_listing_lock(&s.l, c);
  if (e != NULL) return e;
  e = repo_versions(c->r, &all, &count, &s.l.h->stop);
  if (e == NULL) e = count_all(&s, all, count);
  repo_versions_free(all);
  set_free(&s.trees);
  set_free(&s.blobs);
  set_free(&s.links);
  return repo_listing_end(&s.l, e);
}
