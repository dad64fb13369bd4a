/*
** The calls open, init, versions and stats.
*/
#include <string.h>

#include "repository/call.h"

error *repo_work_open(repo_call *c) {
  return repo_open(c->r, &c->stop);
}

error *repo_work_create(repo_call *c) {
  return repo_create(c->r, &c->stop);
}


/* ------------------------------------------------------------------
** Versions
** ---------------------------------------------------------------- */

/* Whether every text of `wanted` is in `list`. */
static bool has_all(const value *list, const value *wanted) {
  for (uint32_t i = 0; i < wanted->count; i++) {
    const char *text = value_chars(wanted->as.items[i], "");
    bool found = false;
    for (uint32_t k = 0; list != NULL && k < list->count && !found; k++)
      found = strcmp(value_chars(list->as.items[k], ""), text) == 0;
    if (!found) return false;
  }
  return true;
}

static const value *list_in(const value *options, const char *name) {
  const value *v = value_get(options, name);
  return v != NULL && v->type == VALUE_LIST ? v : NULL;
}

static bool is_wanted(const repo_snapshot *s, const value *options) {
  const char *host = value_chars(value_get(options, "host"), NULL);
  const value *tags = list_in(options, "tags");
  const value *paths = list_in(options, "paths");
  const char *theirs = s->hostname != NULL ? s->hostname : "";
  if (host != NULL && strcmp(theirs, host) != 0) return false;
  if (tags != NULL && !repo_snapshot_has_tags(s, tags)) return false;
  return paths == NULL || has_all(s->paths, paths);
}

/* Without a lock: a version is one file that is never changed, and one that is
   removed while we look is gone. */
error *repo_work_versions(repo_call *c) {
  repo_snapshot **all;
  size_t count;
  error *e = repo_check_open(c->r);
  if (e == NULL) e = repo_versions(c->r, &all, &count, &c->stop);
  if (e != NULL) return e;
  c->output = value_list();
  bool good = c->output != NULL;
  for (size_t i = 0; good && i < count; i++)
    if (is_wanted(all[i], c->options))
      good = value_add(c->output, repo_snapshot_value(all[i]));
  repo_versions_free(all);
  return good ? NULL : error_no_memory();
}


/* ------------------------------------------------------------------
** Stats
** ---------------------------------------------------------------- */

typedef struct sums {
  uint64_t files, bytes;
} sums;

static error *add(void *context, const repo_id *id, uint64_t size) {
  sums *s = context;
  (void)id;
  s->files++;
  s->bytes += size;
  return NULL;
}

typedef struct blobs {
  uint64_t data, tree, stored, plain;
} blobs;

static error *count_pack(void *context, const repo_id *pack,
                         const repo_blob *list, size_t count) {
  blobs *b = context;
  (void)pack;
  for (size_t i = 0; i < count; i++) {
    const repo_blob *one = &list[i];
    *(one->type == REPO_TREE ? &b->tree : &b->data) += 1;
    b->stored += one->length;
    b->plain +=
        one->plain_length != 0 ? one->plain_length : one->length - REPO_SEAL;
  }
  return NULL;
}

static bool put(value *map, const char *name, uint64_t n) {
  return value_put(map, name, value_int((int64_t)n));
}

static error *tell(repo_call *c, const sums *of, const blobs *b) {
  const repo_config *config = repo_config_of(c->r);
  value *map = c->output = value_map();
  bool good =
      map != NULL && value_put(map, "id", value_text(config->id)) &&
      put(map, "format", config->version) &&
      put(map, "versions", of[REPO_SNAPSHOTS].files) &&
      put(map, "keys", of[REPO_KEYS].files) &&
      put(map, "index_files", of[REPO_INDEXES].files) &&
      put(map, "packs", of[REPO_PACKS].files) &&
      put(map, "pack_bytes", of[REPO_PACKS].bytes) &&
      put(map, "data_blobs", b->data) && put(map, "tree_blobs", b->tree) &&
      put(map, "blob_bytes", b->stored) && put(map, "plain_bytes", b->plain);
  return good ? NULL : error_no_memory();
}

static error *count_all(repo_call *c, repo_hold *h) {
  sums of[REPO_FILES] = {{0}};
  blobs b = {0};
  repo_index *index;
  error *e = NULL;
  for (int kind = REPO_KEYS; e == NULL && kind < REPO_FILES; kind++)
    e = h->store->way->list(h->store, (repo_file)kind, add, &of[kind],
                            &h->stop);
  if (e == NULL) e = repo_index_of(h, &index);
  if (e == NULL) e = repo_index_packs(index, count_pack, &b);
  return e != NULL ? e : tell(c, of, &b);
}

error *repo_work_stats(repo_call *c) {
  repo_hold *h;
  error *e = repo_call_hold(c, REPO_READS, &h);
  if (e != NULL) return e;
  return repo_call_let_go(c, h, count_all(c, h));
}
