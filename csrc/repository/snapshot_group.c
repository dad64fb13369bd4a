/*
** snapshot_group: versions that belong together, so that a rule is applied to
** each machine and each set of paths by itself.
*/
#include <string.h>

#include "repository/snapshot.h"

/* A version and what it is grouped by, as one string of bytes. */
typedef struct keyed {
  buffer key;
  size_t index;
} keyed;

static int compare_strings(const value *a, const value *b) {
  size_t x = a->as.string.size, y = b->as.string.size;
  size_t both = x < y ? x : y;
  int r = both > 0 ? memcmp(a->as.string.data, b->as.string.data, both) : 0;
  return r != 0 ? r : (x > y) - (x < y);
}

static int by_string(const void *a, const void *b) {
  return compare_strings(*(value *const *)a, *(value *const *)b);
}

/* Lengths are written too: two lists that differ never look the same. */
static void put_string(buffer *b, const char *data, size_t size) {
  buffer_put(b, &size, sizeof size);
  buffer_put(b, data, size);
}

static void put_list(buffer *b, const value *list) {
  size_t count = list != NULL ? list->count : 0;
  buffer_put(b, &count, sizeof count);
  if (count == 0) return;
  value **items = mem_alloc(count * sizeof(value *));
  if (items == NULL) {
    b->failed = true;
    return;
  }
  memcpy(items, list->as.items, count * sizeof(value *));
  qsort(items, count, sizeof *items, by_string);
  for (size_t i = 0; i < count; i++)
    put_string(b, items[i]->as.string.data, items[i]->as.string.size);
  mem_free(items);
}

bool repo_snapshot_is_own(const repo_snapshot *s) {
  static const char prefix[] = "/.saros-";
  if (s->paths == NULL || s->paths->count == 0) return false;
  for (uint32_t i = 0; i < s->paths->count; i++)
    if (strncmp(value_chars(s->paths->as.items[i], ""), prefix,
                sizeof prefix - 1) != 0)
      return false;
  return true;
}

static void put_key(buffer *b, const repo_snapshot *s, unsigned by) {
  if (repo_snapshot_is_own(s)) by = REPO_BY_HOST | REPO_BY_PATHS;
  if (by & REPO_BY_HOST) {
    const char *host = s->hostname != NULL ? s->hostname : "";
    put_string(b, host, strlen(host));
  }
  if (by & REPO_BY_PATHS) put_list(b, s->paths);
  if (by & REPO_BY_TAGS) put_list(b, s->tags);
}

static int compare_keys(const keyed *a, const keyed *b) {
  size_t both = a->key.size < b->key.size ? a->key.size : b->key.size;
  int r = both > 0 ? memcmp(a->key.data, b->key.data, both) : 0;
  return r != 0 ? r : (a->key.size > b->key.size) - (a->key.size < b->key.size);
}

static int by_key(const void *a, const void *b) {
  const keyed *x = a, *y = b;
  int r = compare_keys(x, y);
  return r != 0 ? r : (x->index > y->index) - (x->index < y->index);
}

/* group[i] is the first of its group; then groups are counted as they
   appear. */
static size_t number(const keyed *keys, size_t count, size_t *group) {
  size_t groups = 0, first = 0;
  for (size_t i = 0; i < count; i++) {
    if (i == 0 || compare_keys(&keys[i - 1], &keys[i]) != 0)
      first = keys[i].index;
    group[keys[i].index] = first;
  }
  for (size_t i = 0; i < count; i++)
    group[i] = group[i] == i ? groups++ : group[group[i]];
  return groups;
}

error *repo_snapshots_group(repo_snapshot *const *all, size_t count,
                            unsigned by, size_t *group, size_t *groups) {
  bool failed = false;
  *groups = 0;
  keyed *keys = mem_zero((count > 0 ? count : 1) * sizeof *keys);
  if (keys == NULL) return error_no_memory();
  for (size_t i = 0; i < count; i++) {
    keys[i].index = i;
    put_key(&keys[i].key, all[i], by);
    if (keys[i].key.failed) failed = true;
  }
  if (!failed) {
    qsort(keys, count, sizeof *keys, by_key);
    *groups = number(keys, count, group);
  }
  for (size_t i = 0; i < count; i++) buffer_free(&keys[i].key);
  mem_free(keys);
  return failed ? error_no_memory() : NULL;
}
