/*
** snapshot_file: a version as it is stored. One that was read and is written
** again has the same bytes, also when somebody newer wrote it: then the fields
** that we do not know are at the end.
*/
#include <string.h>

#include "repository/go.h"
#include "repository/snapshot.h"

/* More than any version has; it bounds what a hostile one costs. */
static const json_limits limits = {32, (size_t)64 << 20, 1000000};


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


/* ------------------------------------------------------------------
** Reading
** ---------------------------------------------------------------- */

/* What is being read, and the first that was wrong with it. */
typedef struct reading {
  repo_snapshot *s;
  const char *wrong; /* the name of a field */
  bool no_memory;
} reading;

static bool is_null(const value *v) {
  return v->type == VALUE_NULL;
}

static void get_time(reading *r, const char *name, const value *v,
                     struct timespec *t, int32_t *zone) {
  if (v->type != VALUE_STRING ||
      !repo_go_time_read(v->as.string.data, v->as.string.size, t, zone))
    r->wrong = name;
}

static bool get_id(reading *r, const char *name, const value *v, repo_id *id) {
  if (is_null(v)) return false;
  if (v->type == VALUE_STRING &&
      repo_id_parse(id, v->as.string.data, v->as.string.size))
    return true;
  r->wrong = name;
  return false;
}

static void get_text(reading *r, const char *name, const value *v, char **to) {
  if (is_null(v)) return;
  if (v->type != VALUE_STRING ||
      memchr(v->as.string.data, '\0', v->as.string.size) != NULL) {
    r->wrong = name;
    return;
  }
  if (v->as.string.size == 0) return;
  *to = mem_text(v->as.string.data);
  if (*to == NULL) r->no_memory = true;
}

static void get_list(reading *r, const char *name, const value *v, value **to) {
  if (is_null(v)) return;
  if (v->type != VALUE_LIST) r->wrong = name;
  for (uint32_t i = 0; v->type == VALUE_LIST && i < v->count; i++)
    if (v->as.items[i]->type != VALUE_STRING) r->wrong = name;
  if (r->wrong != NULL) return;
  *to = value_copy(v);
  if (*to == NULL) r->no_memory = true;
}

static uint64_t get_number(reading *r, const char *name, const value *v,
                           uint64_t most) {
  if (v->type == VALUE_INT && v->as.integer >= 0 &&
      (uint64_t)v->as.integer <= most)
    return (uint64_t)v->as.integer;
  r->wrong = name;
  return 0;
}

static void keep(reading *r, value **map, const value_field *f) {
  if (*map == NULL) *map = value_map();
  if (*map == NULL ||
      !value_put_bytes(*map, f->name, f->size, value_copy(f->item)))
    r->no_memory = true;
}

/* Where a count of the summary is; NULL: it is none of them. */
static uint64_t *count_of(repo_summary *s, const char *name) {
  const struct {
    const char *name;
    uint64_t *at;
  } counts[] = {
      {"files_new", &s->files_new},
      {"files_changed", &s->files_changed},
      {"files_unmodified", &s->files_unmodified},
      {"dirs_new", &s->dirs_new},
      {"dirs_changed", &s->dirs_changed},
      {"dirs_unmodified", &s->dirs_unmodified},
      {"data_blobs", &s->data_blobs},
      {"tree_blobs", &s->tree_blobs},
      {"data_added", &s->data_added},
      {"data_added_packed", &s->data_added_packed},
      {"total_files_processed", &s->files},
      {"total_bytes_processed", &s->bytes},
  };
  for (size_t i = 0; i < sizeof counts / sizeof counts[0]; i++)
    if (strcmp(counts[i].name, name) == 0) return counts[i].at;
  return NULL;
}

static bool is_name(const value_field *f, const char *name) {
  return f->size == strlen(name) && memcmp(f->name, name, f->size) == 0;
}

static void get_summary(reading *r, const value *v) {
  repo_summary *s = &r->s->summary;
  if (is_null(v)) return;
  if (v->type != VALUE_MAP) {
    r->wrong = "summary";
    return;
  }
  r->s->has_summary = true;
  s->start.tv_sec = s->end.tv_sec = -62135596800; /* what Go has for none */
  for (uint32_t i = 0; i < v->count && r->wrong == NULL; i++) {
    const value_field *f = &v->as.fields[i];
    uint64_t *count = strlen(f->name) == f->size ? count_of(s, f->name) : NULL;
    if (is_name(f, "backup_start"))
      get_time(r, "backup_start", f->item, &s->start, &s->start_zone);
    else if (is_name(f, "backup_end"))
      get_time(r, "backup_end", f->item, &s->end, &s->end_zone);
    else if (count != NULL)
      *count = get_number(r, "summary", f->item, INT64_MAX);
    else
      keep(r, &r->s->unknown_summary, f);
  }
}

static void get_field(reading *r, const value_field *f) {
  repo_snapshot *s = r->s;
  const value *v = f->item;
  if (is_name(f, "time"))
    get_time(r, "time", v, &s->time, &s->zone);
  else if (is_name(f, "parent"))
    s->has_parent = get_id(r, "parent", v, &s->parent);
  else if (is_name(f, "tree"))
    (void)get_id(r, "tree", v, &s->tree);
  else if (is_name(f, "paths"))
    get_list(r, "paths", v, &s->paths);
  else if (is_name(f, "hostname"))
    get_text(r, "hostname", v, &s->hostname);
  else if (is_name(f, "username"))
    get_text(r, "username", v, &s->username);
  else if (is_name(f, "uid"))
    s->uid = (uint32_t)get_number(r, "uid", v, UINT32_MAX);
  else if (is_name(f, "gid"))
    s->gid = (uint32_t)get_number(r, "gid", v, UINT32_MAX);
  else if (is_name(f, "excludes"))
    get_list(r, "excludes", v, &s->excludes);
  else if (is_name(f, "tags"))
    get_list(r, "tags", v, &s->tags);
  else if (is_name(f, "original"))
    s->has_original = get_id(r, "original", v, &s->original);
  else if (is_name(f, "program_version"))
    get_text(r, "program_version", v, &s->program);
  else if (is_name(f, "summary"))
    get_summary(r, v);
  else
    keep(r, &s->unknown, f);
}

static void get_fields(reading *r, const value *map) {
  if (map->type != VALUE_MAP) {
    r->wrong = "object";
    return;
  }
  for (uint32_t i = 0; i < map->count && r->wrong == NULL && !r->no_memory; i++)
    get_field(r, &map->as.fields[i]);
  if (r->wrong != NULL || r->no_memory) return;
  const value *tree = value_get(map, "tree");
  if (value_get(map, "time") == NULL) r->wrong = "time";
  if (tree == NULL || is_null(tree)) r->wrong = "tree";
}

static error *damaged(const char *what) {
  return repo_error(SAROS_E_DAMAGED,
                    "a version is damaged: its %s is missing or not what it "
                    "should be; check the repository",
                    what);
}

repo_snapshot *repo_snapshot_read(const char *json, size_t size, error **e) {
  error *cause = NULL;
  *e = NULL;
  value *map = json_read(json, size, &limits, &cause);
  if (map == NULL) {
    *e = cause->code == SAROS_E_OUTOFMEMORY
             ? cause
             : error_because(damaged("JSON"), cause);
    return NULL;
  }
  reading r = {repo_snapshot_new(), NULL, false};
  if (r.s == NULL)
    r.no_memory = true;
  else
    get_fields(&r, map);
  value_free(map);
  if (r.wrong != NULL) *e = damaged(r.wrong);
  if (r.no_memory && *e == NULL) *e = error_no_memory();
  if (*e == NULL) return r.s;
  repo_snapshot_free(r.s);
  return NULL;
}
