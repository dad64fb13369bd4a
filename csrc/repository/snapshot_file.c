/*
** snapshot_file: a version as it is stored. One that was read (snapshot_read.c)
** and is written again has the same bytes, also when somebody newer wrote it:
** then the fields that we do not know are at the end.
*/
#include <string.h>

#include "repository/go.h"
#include "repository/snapshot.h"

/* ------------------------------------------------------------------
** Writing
** ---------------------------------------------------------------- */

/* `what` is the comma, the name and the colon. */
static void put_text(buffer *b, const char *what, const char *text) {
  if (text == NULL || *text == '\0') return;
  buffer_text(b, what);
  repo_go_string(b, text, strlen(text));
}

static void put_time(buffer *b, const char *what, struct timespec t,
                     int32_t zone) {
  buffer_text(b, what);
  buffer_byte(b, '"');
  repo_go_time(b, t, zone);
  buffer_byte(b, '"');
}

static void put_id(buffer *b, const char *what, const repo_id *id) {
  char text[REPO_ID_TEXT];
  repo_id_format(id, text);
  buffer_text(b, what);
  buffer_format(b, "\"%s\"", text);
}

static void put_number(buffer *b, const char *what, uint64_t n) {
  buffer_format(b, "%s%llu", what, (unsigned long long)n);
}

/* Any value, with Go's strings. `depth` is bounded by what was read. */
static void put_value(buffer *b, const value *v, unsigned depth) {
  if (depth > 64) { /* not from a file */
    b->failed = true;
    return;
  }
  switch (v->type) {
    case VALUE_STRING:
      repo_go_string(b, v->as.string.data, v->as.string.size);
      break;
    case VALUE_LIST:
      buffer_byte(b, '[');
      for (uint32_t i = 0; i < v->count; i++) {
        if (i > 0) buffer_byte(b, ',');
        put_value(b, v->as.items[i], depth + 1);
      }
      buffer_byte(b, ']');
      break;
    case VALUE_MAP:
      buffer_byte(b, '{');
      for (uint32_t i = 0; i < v->count; i++) {
        if (i > 0) buffer_byte(b, ',');
        repo_go_string(b, v->as.fields[i].name, v->as.fields[i].size);
        buffer_byte(b, ':');
        put_value(b, v->as.fields[i].item, depth + 1);
      }
      buffer_byte(b, '}');
      break;
    case VALUE_NULL:
    case VALUE_BOOL:
    case VALUE_INT:
    case VALUE_REAL: json_write(b, v, JSON_COMPACT); break;
  }
}

static void put_list(buffer *b, const char *what, const value *list) {
  if (list == NULL || list->count == 0) return;
  buffer_text(b, what);
  put_value(b, list, 0);
}

/* Behind fields that are there already. */
static void put_unknown(buffer *b, const value *map) {
  for (uint32_t i = 0; map != NULL && i < map->count; i++) {
    buffer_byte(b, ',');
    repo_go_string(b, map->as.fields[i].name, map->as.fields[i].size);
    buffer_byte(b, ':');
    put_value(b, map->as.fields[i].item, 1);
  }
}

static void put_summary(buffer *b, const repo_snapshot *snapshot) {
  const repo_summary *s = &snapshot->summary;
  put_time(b, ",\"summary\":{\"backup_start\":", s->start, s->start_zone);
  put_time(b, ",\"backup_end\":", s->end, s->end_zone);
  put_number(b, ",\"files_new\":", s->files_new);
  put_number(b, ",\"files_changed\":", s->files_changed);
  put_number(b, ",\"files_unmodified\":", s->files_unmodified);
  put_number(b, ",\"dirs_new\":", s->dirs_new);
  put_number(b, ",\"dirs_changed\":", s->dirs_changed);
  put_number(b, ",\"dirs_unmodified\":", s->dirs_unmodified);
  put_number(b, ",\"data_blobs\":", s->data_blobs);
  put_number(b, ",\"tree_blobs\":", s->tree_blobs);
  put_number(b, ",\"data_added\":", s->data_added);
  put_number(b, ",\"data_added_packed\":", s->data_added_packed);
  put_number(b, ",\"total_files_processed\":", s->files);
  put_number(b, ",\"total_bytes_processed\":", s->bytes);
  put_unknown(b, snapshot->unknown_summary);
  buffer_byte(b, '}');
}

error *repo_snapshot_write(const repo_snapshot *s, buffer *b) {
  put_time(b, "{\"time\":", s->time, s->zone);
  if (s->has_parent) put_id(b, ",\"parent\":", &s->parent);
  put_id(b, ",\"tree\":", &s->tree);
  buffer_text(b, ",\"paths\":");
  if (s->paths != NULL)
    put_value(b, s->paths, 0);
  else
    buffer_text(b, "null");
  put_text(b, ",\"hostname\":", s->hostname);
  put_text(b, ",\"username\":", s->username);
  if (s->uid != 0) put_number(b, ",\"uid\":", s->uid);
  if (s->gid != 0) put_number(b, ",\"gid\":", s->gid);
  put_list(b, ",\"excludes\":", s->excludes);
  put_list(b, ",\"tags\":", s->tags);
  if (s->has_original) put_id(b, ",\"original\":", &s->original);
  put_text(b, ",\"program_version\":", s->program);
  if (s->has_summary) put_summary(b, s);
  put_unknown(b, s->unknown);
  buffer_byte(b, '}');
  return b->failed ? error_no_memory() : NULL;
}
