/*
** stats: how large versions are: as they would be when they were restored, and
** what they take in the repository, where what they share counts once. A tree
** is gone through once, however many paths lead to it: what is in it is
** remembered as sums.
*/
#include <string.h>

#include "repository/id_map.h"
#include "repository/listing.h"

/* What is in a tree and below it. Of files with several names the first counts,
   which another version has for itself: sums with such files are this one's. */
typedef struct sums {
  uint64_t files, directories, others, bytes;
  uint64_t version;
  bool is_whole, is_own;
} sums;

typedef struct stats {
  listing l; /* first */
  bool raw;
  repo_id_map *met;   /* blobs, or names of files with several */
  repo_id_map *trees; /* each with its sums */
  sums *sums;
  size_t sum_room;
  sums all;
  uint64_t versions;
  uint64_t stored, plain, data, tree;
} stats;

#define LINK 200 /* a type that no blob has */


/* ------------------------------------------------------------------
** What was met
** ---------------------------------------------------------------- */

/* *fresh: it was not. */
static error *meet(stats *s, uint8_t type, const repo_id *id, bool *fresh) {
  uint32_t number;
  return repo_id_map_put(s->met, type, id, &number, fresh) ? NULL
                                                           : error_no_memory();
}

/* There may be more than a number can say. */
static void add(uint64_t *to, uint64_t n) {
  *to = *to > UINT64_MAX - n ? UINT64_MAX : *to + n;
}

static void add_sums(sums *to, const sums *from) {
  add(&to->files, from->files);
  add(&to->directories, from->directories);
  add(&to->others, from->others);
  add(&to->bytes, from->bytes);
  to->is_own = to->is_own || from->is_own;
}

/* *known: its sums hold for this version, too; else they begin anew. */
static error *find_sums(stats *s, const repo_id *tree, uint64_t *number,
                        bool *known) {
  uint32_t n;
  bool fresh;
  if (!repo_id_map_put(s->trees, REPO_TREE, tree, &n, &fresh))
    return error_no_memory();
  if (n >= s->sum_room) {
    size_t room = s->sum_room + s->sum_room / 2 + 64;
    sums *bigger = mem_grow(s->sums, room * sizeof *bigger);
    if (bigger == NULL) return error_no_memory();
    s->sums = bigger;
    s->sum_room = room;
  }
  sums *k = &s->sums[n];
  *known = !fresh && k->is_whole && (!k->is_own || k->version == s->versions);
  if (!*known) *k = (sums){.version = s->versions};
  *number = n;
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
static error *count_size(stats *s, sums *of, const repo_node *n) {
  repo_id key = {{0}};
  bool fresh = true;
  if (n->links < 2 || n->inode == 0) {
    add(&of->bytes, n->size);
    return NULL;
  }
  of->is_own = true;
  memcpy(key.bytes, &n->inode, sizeof n->inode);
  memcpy(key.bytes + 8, &n->device_id, sizeof n->device_id);
  memcpy(key.bytes + 16, &s->versions, sizeof s->versions);
  error *e = meet(s, LINK, &key, &fresh);
  if (fresh) add(&s->all.bytes, n->size);
  return e;
}

static error *count_content(stats *s, const char *path, const repo_node *n) {
  bool fresh = false;
  error *e = NULL;
  for (size_t i = 0; e == NULL && i < n->content_count; i++) {
    e = meet(s, REPO_DATA, &n->content[i], &fresh);
    if (e == NULL && fresh) e = count_blob(s, REPO_DATA, &n->content[i], path);
  }
  return e;
}

static error *raw_node(void *context, const repo_walk_at *at,
                       const repo_node *n, bool *enter, uint64_t *mark) {
  stats *s = context;
  bool fresh = false;
  (void)mark;
  if (n->type == REPO_NODE_FILE) return count_content(s, at->path, n);
  if (n->type != REPO_NODE_DIRECTORY || !n->has_subtree) return NULL;
  error *e = meet(s, REPO_TREE, &n->subtree, &fresh);
  if (e == NULL && fresh) e = count_blob(s, REPO_TREE, &n->subtree, at->path);
  if (!fresh) *enter = false; /* all of it was counted */
  return e;
}

static error *sum_node(void *context, const repo_walk_at *at,
                       const repo_node *n, bool *enter, uint64_t *mark) {
  stats *s = context;
  sums *in = &s->sums[at->parent];
  bool known = false;
  if (n->type == REPO_NODE_FILE) {
    add(&in->files, 1);
    return count_size(s, in, n);
  }
  add(n->type == REPO_NODE_DIRECTORY ? &in->directories : &in->others, 1);
  if (n->type != REPO_NODE_DIRECTORY || !n->has_subtree) return NULL;
  error *e = find_sums(s, &n->subtree, mark, &known);
  if (e == NULL && known) {
    add_sums(&s->sums[at->parent], &s->sums[*mark]);
    *enter = false;
  }
  return e;
}

static error *sum_leave(void *context, const repo_walk_at *at, uint64_t mark) {
  stats *s = context;
  s->sums[mark].is_whole = true;
  add_sums(&s->sums[at->parent], &s->sums[mark]);
  return NULL;
}

static error *raw_damaged(void *context, const repo_walk_at *at, error *e) {
  return repo_listing_tell(context, at->path, e);
}

/* It is told again of the next version. */
static error *sum_damaged(void *context, const repo_walk_at *at, error *e) {
  stats *s = context;
  s->sums[at->parent].is_own = true;
  return repo_listing_tell(context, at->path, e);
}

static error *count_raw(stats *s, const repo_snapshot *v) {
  repo_walk w = {raw_node, NULL, raw_damaged, s};
  bool fresh = false;
  error *e = meet(s, REPO_TREE, &v->tree, &fresh);
  if (e == NULL && fresh) e = count_blob(s, REPO_TREE, &v->tree, "/");
  if (e != NULL || !fresh) return e;
  return repo_walk_tree(s->l.blobs, &v->tree, 0, &w, &s->l.h->stop);
}

static error *count_version(stats *s, const repo_snapshot *v) {
  repo_walk w = {sum_node, sum_leave, sum_damaged, s};
  uint64_t number = 0;
  bool known = false;
  s->versions++;
  if (s->raw) return count_raw(s, v);
  error *e = find_sums(s, &v->tree, &number, &known);
  if (e == NULL && !known)
    e = repo_walk_tree(s->l.blobs, &v->tree, number, &w, &s->l.h->stop);
  if (e != NULL) return e;
  s->sums[number].is_whole = true;
  add_sums(&s->all, &s->sums[number]);
  return NULL;
}


/* ------------------------------------------------------------------
** The call
** ---------------------------------------------------------------- */

static bool put(value *m, const char *name, uint64_t n) {
  return value_put(m, name, value_int(n > INT64_MAX ? INT64_MAX : (int64_t)n));
}

static error *tell(stats *s) {
  value *m = s->l.c->output = value_map();
  bool good = m != NULL && put(m, "versions", s->versions) &&
              (s->raw ? put(m, "data_blobs", s->data) &&
                            put(m, "tree_blobs", s->tree) &&
                            put(m, "blob_bytes", s->stored) &&
                            put(m, "plain_bytes", s->plain)
                      : put(m, "files", s->all.files) &&
                            put(m, "directories", s->all.directories) &&
                            put(m, "others", s->all.others) &&
                            put(m, "bytes", s->all.bytes));
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
  s.met = repo_id_map_new();
  s.trees = repo_id_map_new();
  if (s.met == NULL || s.trees == NULL) e = error_no_memory();
  if (e == NULL) e = repo_versions(c->r, &all, &count, &s.l.h->stop);
  if (e == NULL) e = count_all(&s, all, count);
  repo_versions_free(all);
  repo_id_map_free(s.met);
  repo_id_map_free(s.trees);
  mem_free(s.sums);
  return repo_listing_end(&s.l, e);
}
