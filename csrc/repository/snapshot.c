/*
** snapshot: making one, and what a person or a script sees of it.
*/
#include "repository/snapshot.h"

#include <string.h>

#include "repository/go.h"

repo_snapshot *repo_snapshot_new(void) {
  return mem_zero(sizeof(repo_snapshot));
}

void repo_snapshot_free(repo_snapshot *s) {
  if (s == NULL) return;
  value_free(s->paths);
  value_free(s->tags);
  value_free(s->excludes);
  value_free(s->unknown);
  value_free(s->unknown_summary);
  mem_free(s->hostname);
  mem_free(s->username);
  mem_free(s->program);
  mem_free(s);
}


/* ------------------------------------------------------------------
** Tags
** ---------------------------------------------------------------- */

static bool same_string(const value *a, const value *b) {
  return a->type == VALUE_STRING && b->type == VALUE_STRING &&
         a->as.string.size == b->as.string.size &&
         (a->as.string.size == 0 ||
          memcmp(a->as.string.data, b->as.string.data, a->as.string.size) == 0);
}

static bool has_tag(const repo_snapshot *s, const value *tag) {
  for (uint32_t i = 0; s->tags != NULL && i < s->tags->count; i++)
    if (same_string(s->tags->as.items[i], tag)) return true;
  return false;
}

bool repo_snapshot_has_tags(const repo_snapshot *s, const value *tags) {
  bool untagged = s->tags == NULL || s->tags->count == 0;
  for (uint32_t i = 0; tags != NULL && i < tags->count; i++) {
    const value *tag = tags->as.items[i];
    bool empty = tag->type == VALUE_STRING && tag->as.string.size == 0;
    if (empty && untagged) return true;
    if (!has_tag(s, tag)) return false;
  }
  return true;
}


/* ------------------------------------------------------------------
** As a value
** ---------------------------------------------------------------- */

static bool put_time(value *map, const char *name, struct timespec t,
                     int32_t zone) {
  buffer b = BUFFER_EMPTY;
  repo_go_time(&b, t, zone);
  bool done = !b.failed && value_put_string(map, name, b.data, b.size);
  buffer_free(&b);
  return done;
}

static bool put_id(value *map, const char *name, bool is_there,
                   const repo_id *id) {
  char text[REPO_ID_TEXT];
  if (!is_there) return true;
  repo_id_format(id, text);
  return value_put_string(map, name, text, REPO_ID_TEXT - 1);
}

static bool put_text(value *map, const char *name, const char *text) {
  return text == NULL || value_put_string(map, name, text, strlen(text));
}

/* What is not there is an empty list: nobody should have to ask twice. */
static bool put_list(value *map, const char *name, const value *list) {
  return value_put(map, name, list != NULL ? value_copy(list) : value_list());
}

static bool put_count(value *map, const char *name, uint64_t n) {
  int64_t most = n > INT64_MAX ? INT64_MAX : (int64_t)n;
  return value_put_int(map, name, most);
}

static value *summary_value(const repo_summary *s) {
  value *m = value_map_of(16);
  bool done = m != NULL &&
              put_time(m, "backup_start", s->start, s->start_zone) &&
              put_time(m, "backup_end", s->end, s->end_zone) &&
              put_count(m, "files_new", s->files_new) &&
              put_count(m, "files_changed", s->files_changed) &&
              put_count(m, "files_unmodified", s->files_unmodified) &&
              put_count(m, "dirs_new", s->dirs_new) &&
              put_count(m, "dirs_changed", s->dirs_changed) &&
              put_count(m, "dirs_unmodified", s->dirs_unmodified) &&
              put_count(m, "data_blobs", s->data_blobs) &&
              put_count(m, "tree_blobs", s->tree_blobs) &&
              put_count(m, "data_added", s->data_added) &&
              put_count(m, "data_added_packed", s->data_added_packed) &&
              put_count(m, "total_files_processed", s->files) &&
              put_count(m, "total_bytes_processed", s->bytes);
  if (done) return m;
  value_free(m);
  return NULL;
}

static bool put_ids(value *m, const repo_snapshot *s) {
  static const repo_id nobody;
  bool stored = !repo_id_equal(&s->id, &nobody);
  char text[REPO_ID_TEXT];
  repo_id_format(&s->id, text);
  return put_id(m, "id", stored, &s->id) &&
         (!stored || value_put_string(m, "short_id", text, 8)) &&
         put_id(m, "parent", s->has_parent, &s->parent) &&
         put_id(m, "tree", true, &s->tree) &&
         put_id(m, "original", s->has_original, &s->original);
}

value *repo_snapshot_value(const repo_snapshot *s) {
  value *m = value_map_of(16);
  bool done =
      m != NULL && put_ids(m, s) && put_time(m, "time", s->time, s->zone) &&
      put_list(m, "paths", s->paths) && put_list(m, "tags", s->tags) &&
      put_list(m, "excludes", s->excludes) &&
      put_text(m, "hostname", s->hostname) &&
      put_text(m, "username", s->username) && put_count(m, "uid", s->uid) &&
      put_count(m, "gid", s->gid) &&
      put_text(m, "program_version", s->program) &&
      (!s->has_summary || value_put(m, "summary", summary_value(&s->summary)));
  if (done) return m;
  value_free(m);
  return NULL;
}
