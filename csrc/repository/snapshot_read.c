/*
** snapshot_read: a version from its file. There may be ten thousand, and all
** are read to list them: what we know goes to its place as it is met, and only
** what we do not know becomes values.
*/
#include <string.h>

#include "repository/go.h"
#include "repository/scan.h"
#include "repository/snapshot.h"

/* More than any version has; it bounds what a hostile one costs. */
#define VALUES_MOST ((size_t)1000000)
#define DEPTH_MOST 32

typedef enum field {
  TIME,
  PARENT,
  TREE,
  PATHS,
  HOSTNAME,
  USERNAME,
  UID,
  GID,
  EXCLUDES,
  TAGS,
  ORIGINAL,
  PROGRAM,
  SUMMARY,
  FIELDS
} field;

typedef struct name {
  const char *text;
  size_t size;
} name;

#define NAME(text) \
  { text, sizeof text - 1 }

/* In restic's order, so that the next one is found at once. */
static const name field_names[FIELDS] = {
    [TIME] = NAME("time"),         [PARENT] = NAME("parent"),
    [TREE] = NAME("tree"),         [PATHS] = NAME("paths"),
    [HOSTNAME] = NAME("hostname"), [USERNAME] = NAME("username"),
    [UID] = NAME("uid"),           [GID] = NAME("gid"),
    [EXCLUDES] = NAME("excludes"), [TAGS] = NAME("tags"),
    [ORIGINAL] = NAME("original"), [PROGRAM] = NAME("program_version"),
    [SUMMARY] = NAME("summary"),
};

enum { BEGIN, END, COUNTS = 12, SUMMARY_FIELDS = 2 + COUNTS };

static const name summary_names[SUMMARY_FIELDS] = {
    NAME("backup_start"),
    NAME("backup_end"),
    NAME("files_new"),
    NAME("files_changed"),
    NAME("files_unmodified"),
    NAME("dirs_new"),
    NAME("dirs_changed"),
    NAME("dirs_unmodified"),
    NAME("data_blobs"),
    NAME("tree_blobs"),
    NAME("data_added"),
    NAME("data_added_packed"),
    NAME("total_files_processed"),
    NAME("total_bytes_processed")};

typedef struct reading {
  repo_scan scan;
  repo_snapshot *s;
  buffer text; /* of a string with escapes */
  const char *name;
  size_t name_size;
  size_t values;     /* of those that are kept */
  const char *where; /* the field that we are in; NULL: in none */
} reading;


/* ------------------------------------------------------------------
** Values
** ---------------------------------------------------------------- */

static bool is_well(const reading *r) {
  return repo_scan_is_well(&r->scan);
}

/* The next string, until the one after it is read. */
static const char *read_string(reading *r, size_t *size) {
  return repo_scan_text(&r->scan, &r->text, size);
}

static void read_time(reading *r, struct timespec *t, int32_t *zone) {
  size_t size;
  const char *text = read_string(r, &size);
  if (is_well(r) && !repo_go_time_read(text, size, t, zone))
    repo_scan_is_wrong(&r->scan, "a time");
}

static void read_id(reading *r, repo_id *id) {
  size_t size;
  const char *text = read_string(r, &size);
  if (is_well(r) && !repo_id_parse(id, text, size))
    repo_scan_is_wrong(&r->scan, "an id");
}

/* It need not be there. */
static bool read_other_id(reading *r, repo_id *id) {
  if (repo_scan_null(&r->scan)) return false;
  read_id(r, id);
  return true;
}

/* Most are small. */
static char *keep_text(repo_snapshot *s, const char *text, size_t size) {
  if (size >= sizeof s->small - s->small_used) return mem_bytes(text, size);
  char *to = s->small + s->small_used;
  memcpy(to, text, size);
  s->small_used += (uint32_t)size + 1; /* what is behind it is zero */
  return to;
}

/* An empty text is none, as where restic leaves it out. */
static void read_text(reading *r, char **to) {
  size_t size;
  if (repo_scan_null(&r->scan)) return;
  const char *text = read_string(r, &size);
  if (!is_well(r) || size == 0) return;
  if (memchr(text, '\0', size) != NULL) {
    repo_scan_is_wrong(&r->scan, "no NUL in a text");
    return;
  }
  *to = keep_text(r->s, text, size);
  if (*to == NULL) r->scan.no_memory = true;
}

static void count_values(reading *r, size_t count) {
  r->values += count;
  if (r->values > VALUES_MOST)
    repo_scan_is_wrong(&r->scan, "no more than a million values");
}

static void read_list(reading *r, value **to) {
  size_t size;
  if (repo_scan_null(&r->scan)) return;
  repo_scan_expect(&r->scan, '[');
  value *list = *to = value_list();
  if (list == NULL) r->scan.no_memory = true;
  if (!is_well(r) || repo_scan_take(&r->scan, ']')) return;
  do {
    const char *text = read_string(r, &size);
    count_values(r, 1);
    if (is_well(r) && !value_add_string(list, text, size))
      r->scan.no_memory = true;
  } while (repo_scan_take(&r->scan, ','));
  repo_scan_expect(&r->scan, ']');
}


/* ------------------------------------------------------------------
** What somebody newer wrote
** ---------------------------------------------------------------- */

/* There are no more of them in it than this. */
static size_t values_in(const char *json, size_t size) {
  size_t count = 1;
  for (size_t i = 0; i < size; i++)
    count += json[i] == ',' || json[i] == '[' || json[i] == '{';
  return count;
}

/* Under the name that was read last. */
static void keep(reading *r, value **map) {
  static const json_limits limits = {DEPTH_MOST, 0, VALUES_MOST};
  const char *json = repo_scan_skip(&r->scan);
  if (!is_well(r)) return;
  size_t size = (size_t)(r->scan.at - json);
  count_values(r, values_in(json, size));
  if (*map == NULL && (*map = value_map()) == NULL) r->scan.no_memory = true;
  if (value_get_bytes(*map, r->name, r->name_size) != NULL)
    repo_scan_is_wrong(&r->scan, "each field once");
  if (!is_well(r)) return;
  error *e = NULL;
  value *item = json_read(json, size, &limits, &e);
  bool no_memory = e != NULL && e->code == SAROS_E_OUTOFMEMORY;
  error_unref(e);
  if (item == NULL && !no_memory)
    repo_scan_is_wrong(&r->scan, "JSON, and no name twice");
  else if (item == NULL || !value_put_bytes(*map, r->name, r->name_size, item))
    r->scan.no_memory = true;
}


/* ------------------------------------------------------------------
** Fields
** ---------------------------------------------------------------- */

/* Which of these names is next: looked for from behind the last one. `count`:
   none of them. */
static unsigned read_name(reading *r, const name *names, unsigned count,
                          unsigned expected, uint32_t *seen) {
  r->name = read_string(r, &r->name_size);
  repo_scan_expect(&r->scan, ':');
  for (unsigned i = 0; is_well(r) && i < count; i++) {
    unsigned f = expected + i < count ? expected + i : expected + i - count;
    if (r->name_size != names[f].size ||
        memcmp(r->name, names[f].text, r->name_size) != 0)
      continue;
    if (*seen >> f & 1) repo_scan_is_wrong(&r->scan, "each field once");
    *seen |= (uint32_t)1 << f;
    return f;
  }
  return count;
}

static void read_summary_field(reading *r, unsigned f) {
  repo_summary *s = &r->s->summary;
  uint64_t *const counts[COUNTS] = {
      &s->files_new,         &s->files_changed, &s->files_unmodified,
      &s->dirs_new,          &s->dirs_changed,  &s->dirs_unmodified,
      &s->data_blobs,        &s->tree_blobs,    &s->data_added,
      &s->data_added_packed, &s->files,         &s->bytes};
  if (f == BEGIN)
    read_time(r, &s->start, &s->start_zone);
  else if (f == END)
    read_time(r, &s->end, &s->end_zone);
  else if (f < SUMMARY_FIELDS)
    *counts[f - 2] = repo_scan_number(&r->scan, INT64_MAX);
  else
    keep(r, &r->s->unknown_summary);
}

static void read_summary(reading *r) {
  uint32_t seen = 0;
  if (repo_scan_null(&r->scan)) return;
  repo_scan_expect(&r->scan, '{');
  r->s->has_summary = true;
  /* What Go has for a time that is not there. */
  r->s->summary.start.tv_sec = r->s->summary.end.tv_sec = -62135596800;
  if (repo_scan_take(&r->scan, '}')) return;
  unsigned f = 0;
  do {
    f = read_name(r, summary_names, SUMMARY_FIELDS, f, &seen);
    if (is_well(r)) read_summary_field(r, f);
    f = f < SUMMARY_FIELDS ? f + 1 : 0;
  } while (repo_scan_take(&r->scan, ','));
  repo_scan_expect(&r->scan, '}');
}

static void read_field(reading *r, field f) {
  repo_snapshot *s = r->s;
  switch (f) {
    case TIME: read_time(r, &s->time, &s->zone); break;
    case PARENT: s->has_parent = read_other_id(r, &s->parent); break;
    case TREE: read_id(r, &s->tree); break;
    case PATHS: read_list(r, &s->paths); break;
    case HOSTNAME: read_text(r, &s->hostname); break;
    case USERNAME: read_text(r, &s->username); break;
    case UID: s->uid = (uint32_t)repo_scan_number(&r->scan, UINT32_MAX); break;
    case GID: s->gid = (uint32_t)repo_scan_number(&r->scan, UINT32_MAX); break;
    case EXCLUDES: read_list(r, &s->excludes); break;
    case TAGS: read_list(r, &s->tags); break;
    case ORIGINAL: s->has_original = read_other_id(r, &s->original); break;
    case PROGRAM: read_text(r, &s->program); break;
    case SUMMARY: read_summary(r); break;
    case FIELDS: keep(r, &s->unknown); break;
  }
}

static void read_fields(reading *r, uint32_t *seen) {
  unsigned f = 0;
  do {
    f = read_name(r, field_names, FIELDS, f, seen);
    if (!is_well(r)) return;
    r->where = f < FIELDS ? field_names[f].text : NULL;
    read_field(r, (field)f);
    if (!is_well(r)) return;
    r->where = NULL;
    f = f < FIELDS ? f + 1 : 0;
  } while (repo_scan_take(&r->scan, ','));
}

static void read_all(reading *r) {
  uint32_t seen = 0;
  repo_scan_expect(&r->scan, '{');
  if (!repo_scan_take(&r->scan, '}')) {
    read_fields(r, &seen);
    repo_scan_expect(&r->scan, '}');
  }
  repo_scan_finish(&r->scan);
  if (!is_well(r)) return;
  if (!(seen >> TIME & 1)) r->where = "time";
  if (!(seen >> TREE & 1)) r->where = "tree";
  if (r->where != NULL) repo_scan_is_wrong(&r->scan, "more fields");
}

static error *damaged(const reading *r) {
  error *e = repo_scan_error(&r->scan, "it");
  if (r->scan.no_memory) return e;
  return error_because(
      repo_error(SAROS_E_DAMAGED,
                 "a version is damaged: its %s is missing or not what it "
                 "should be; check the repository",
                 r->where != NULL ? r->where : "JSON"),
      e);
}

repo_snapshot *repo_snapshot_read(const char *json, size_t size, error **e) {
  reading r = {.scan = repo_scan_of(json, size), .s = repo_snapshot_new()};
  if (r.s == NULL)
    r.scan.no_memory = true;
  else
    read_all(&r);
  *e = is_well(&r) ? NULL : damaged(&r);
  buffer_free(&r.text);
  if (*e == NULL) return r.s;
  repo_snapshot_free(r.s);
  return NULL;
}
