/*
** The calls open, init, versions and stats.
*/
#include <string.h>

#include "repository/call.h"
#include "repository/version.h"

error *repo_work_open(repo_call *c) {
  return repo_open(c->r, &c->stop);
}

error *repo_work_create(repo_call *c) {
  return repo_create(c->r, &c->stop);
}


/* ------------------------------------------------------------------
** Versions
** ---------------------------------------------------------------- */

/* As the engine has them. */
static int put_int(void *map, const char *name, int64_t n) {
  return saros_value_put_integer(map, name, n);
}

static int put_bytes(void *map, const char *name, const void *bytes,
                     size_t size) {
  return saros_value_put_bytes(map, name, bytes, size);
}

static void *put_map(void *map, const char *name, uint32_t fields) {
  return saros_value_put_map(map, name, fields);
}

static void *put_list(void *map, const char *name, uint32_t items) {
  return saros_value_put_list(map, name, items);
}

static int add_bytes(void *list, const void *bytes, size_t size) {
  return saros_value_add_bytes(list, bytes, size);
}

/* There may be ten thousand of them, and nothing of one is there twice. */
static error *add_version(saros_value *list, const repo_snapshot *s) {
  static const repo_teller engine = {put_int, put_bytes, put_map, put_list,
                                     add_bytes};
  void *map = saros_value_add_map(list, REPO_SNAPSHOT_FIELDS);
  return map != NULL && repo_snapshot_tell(s, &engine, map) ? NULL
                                                            : error_no_memory();
}

/* Without a lock: a version is one file that is never changed, and one that is
   removed while we look is gone. */
error *repo_work_versions(repo_call *c) {
  repo_snapshot **all;
  size_t count;
  error *e = repo_check_open(c->r);
  if (e == NULL) e = repo_versions(c->r, &all, &count, &c->stop);
  if (e != NULL) return e;
  c->list = saros_value_list(); /* also of none */
  if (c->list == NULL) e = error_no_memory();
  for (size_t i = 0; i < count; i++) {
    if (e == NULL && repo_version_is_wanted(all[i], c->options))
      e = add_version(c->list, all[i]);
    repo_snapshot_free(all[i]);
  }
  mem_free(all);
  return e;
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
