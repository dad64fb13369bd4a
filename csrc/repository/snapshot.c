/*
** snapshot: making one, and what a person or a script sees of it.
*/
#include "repository/snapshot.h"

#include <string.h>

#include "repository/go.h"

repo_snapshot *repo_snapshot_new(void) {
  return mem_zero(sizeof(repo_snapshot));
}

static void free_text(const repo_snapshot *s, char *text) {
  uintptr_t at = (uintptr_t)text, small = (uintptr_t)s->small;
  if (at < small || at >= small + sizeof s->small) mem_free(text);
}

void repo_snapshot_free(repo_snapshot *s) {
  if (s == NULL) return;
  value_free(s->paths);
  value_free(s->tags);
  value_free(s->excludes);
  value_free(s->unknown);
  value_free(s->unknown_summary);
  free_text(s, s->hostname);
  free_text(s, s->username);
  free_text(s, s->program);
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
** As a script sees it
** ---------------------------------------------------------------- */

/* To whom it is told, and into what. */
typedef struct telling {
  const repo_teller *t;
  void *map;
} telling;

static bool put_time(const telling *to, const char *name, struct timespec t,
                     int32_t zone) {
  char text[REPO_GO_TIME];
  size_t size = repo_go_time_text(text, t, zone);
  return to->t->put_bytes(to->map, name, text, size) != 0;
}

static bool put_id(const telling *to, const char *name, bool is_there,
                   const repo_id *id) {
  char text[REPO_ID_TEXT];
  if (!is_there) return true;
  repo_id_format(id, text);
  return to->t->put_bytes(to->map, name, text, REPO_ID_TEXT - 1) != 0;
}

static bool put_text(const telling *to, const char *name, const char *text) {
  return text == NULL ||
         to->t->put_bytes(to->map, name, text, strlen(text)) != 0;
}

/* What is not there is an empty list: nobody should have to ask twice. */
static bool put_list(const telling *to, const char *name, const value *list) {
  uint32_t count = list != NULL ? list->count : 0;
  void *told = to->t->put_list(to->map, name, count);
  bool good = told != NULL;
  for (uint32_t i = 0; good && i < count; i++) {
    const value *text = list->as.items[i];
    good = text->type != VALUE_STRING ||
           to->t->add_bytes(told, text->as.string.data, text->as.string.size);
  }
  return good;
}

static bool put_count(const telling *to, const char *name, uint64_t n) {
  int64_t most = n > INT64_MAX ? INT64_MAX : (int64_t)n;
  return to->t->put_int(to->map, name, most) != 0;
}

static bool put_summary(const telling *around, const repo_summary *s) {
  telling in = {around->t, around->t->put_map(around->map, "summary", 16)};
  const telling *m = &in;
  return m->map != NULL &&
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
}

static bool put_ids(const telling *m, const repo_snapshot *s) {
  static const repo_id nobody;
  bool stored = !repo_id_equal(&s->id, &nobody);
  char text[REPO_ID_TEXT];
  repo_id_format(&s->id, text);
  return put_id(m, "id", stored, &s->id) &&
         (!stored || m->t->put_bytes(m->map, "short_id", text, 8)) &&
         put_id(m, "parent", s->has_parent, &s->parent) &&
         put_id(m, "tree", true, &s->tree) &&
         put_id(m, "original", s->has_original, &s->original);
}

bool repo_snapshot_tell(const repo_snapshot *s, const repo_teller *t,
                        void *map) {
  telling to = {t, map};
  const telling *m = &to;
  return put_ids(m, s) && put_time(m, "time", s->time, s->zone) &&
         put_list(m, "paths", s->paths) && put_list(m, "tags", s->tags) &&
         put_list(m, "excludes", s->excludes) &&
         put_text(m, "hostname", s->hostname) &&
         put_text(m, "username", s->username) && put_count(m, "uid", s->uid) &&
         put_count(m, "gid", s->gid) &&
         put_text(m, "program_version", s->program) &&
         (!s->has_summary || put_summary(m, &s->summary));
}


/* ------------------------------------------------------------------
** As a value
** ---------------------------------------------------------------- */

static int value_int_to(void *map, const char *name, int64_t n) {
  return value_put_int(map, name, n);
}

static int value_bytes_to(void *map, const char *name, const void *bytes,
                          size_t size) {
  return value_put_string(map, name, bytes, size);
}

static void *value_map_to(void *map, const char *name, uint32_t fields) {
  return value_put_map(map, name, fields);
}

static void *value_list_to(void *map, const char *name, uint32_t items) {
  return value_put_list(map, name, items);
}

static int value_bytes_in(void *list, const void *bytes, size_t size) {
  return value_add_string(list, bytes, size);
}

value *repo_snapshot_value(const repo_snapshot *s) {
  static const repo_teller values = {value_int_to, value_bytes_to, value_map_to,
                                     value_list_to, value_bytes_in};
  value *m = value_map_of(REPO_SNAPSHOT_FIELDS);
  if (m != NULL && repo_snapshot_tell(s, &values, m)) return m;
  value_free(m);
  return NULL;
}
