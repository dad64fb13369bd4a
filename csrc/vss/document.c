/*
** document: the backup components document, read and written.
*/
#include "vss/document.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/format.h"
#include "vss/bytes.h"
#include "vss/record_parts.h"
#include "vss/telling.h"

#define FORMAT "saros.backup_components"

enum {
  SIZE_MOST = 64 << 20,
  VALUES_MOST = 2000000,
  DEPTH_MOST = 40, /* a record's, and what is around it */
  WRITERS_MOST = 10000,
  COMPONENTS_MOST = 100000
};


/* ------------------------------------------------------------------
** What it looks like
** ---------------------------------------------------------------- */

static const char *const formats[] = {FORMAT, NULL};
static const char *const modes[] = {"backup", NULL};
static const char *const backup_types[] = {
    "undefined", "full", "incremental", "differential",
    "log",       "copy", "other",       NULL};
static const char *const component_types[] = {"database", "filegroup", NULL};

static const shape format = {.type = SHAPE_WORD, .words = formats};
static const shape version = {.type = SHAPE_INT, .low = 1, .high = 1};
static const shape mode = {.type = SHAPE_WORD, .words = modes};
static const shape backup_type = {.type = SHAPE_WORD, .words = backup_types};
static const shape type = {.type = SHAPE_WORD, .words = component_types};
static const shape name = {.type = SHAPE_TEXT, .low = 1, .high = 4096};
static const shape paths = {
    .type = SHAPE_LIST, .high = COMPONENTS_MOST, .items = &shape_path};

static const shape_field backup_fields[] = {
    {"type", &backup_type, false},
    {"select_components", &shape_bool, false},
    {"bootable_system_state", &shape_bool, false},
    {"partial_files", &shape_bool, false},
    {NULL, NULL, false},
};
static const shape backup = {.type = SHAPE_MAP, .fields = backup_fields};

/* Of what a writer said of itself only what somebody will act upon. */
static const shape_field said_component_fields[] = {
    {"name", &name, false},
    {"type", &type, false},
    {"logical_path", &shape_text, true},
    {"files", &paths, true},
    {"exclude", &shape_texts, true},
    {NULL, NULL, false},
};
static const shape said_component = {.type = SHAPE_MAP,
                                     .fields = said_component_fields};
static const shape said_components = {
    .type = SHAPE_LIST, .high = COMPONENTS_MOST, .items = &said_component};
static const shape_field metadata_fields[] = {
    {"id", &shape_guid, true},   {"instance", &shape_guid, true},
    {"name", &shape_text, true}, {"components", &said_components, true},
    {NULL, NULL, false},
};
static const shape metadata = {.type = SHAPE_MAP, .fields = metadata_fields};

static const shape_field component_fields[] = {
    {"name", &name, false},
    {"logical_path", &shape_text, true},
    {"type", &type, false},
    {"selected", &shape_bool, false},
    {"succeeded", &shape_bool, true},
    {"options", &shape_text, true},
    {"stamp", &shape_text, true},
    {"restore", &shape_map, true},
    {NULL, NULL, false},
};
static const shape component = {.type = SHAPE_MAP, .fields = component_fields};
static const shape components = {
    .type = SHAPE_LIST, .high = COMPONENTS_MOST, .items = &component};

static const shape_field writer_fields[] = {
    {"id", &shape_guid, false},
    {"instance", &shape_guid, false},
    {"name", &name, false},
    {"metadata", &metadata, true},
    {"components", &components, false},
    {"said", &shape_map, true},
    {NULL, NULL, false},
};
static const shape a_writer = {.type = SHAPE_MAP, .fields = writer_fields};
static const shape writers = {
    .type = SHAPE_LIST, .high = WRITERS_MOST, .items = &a_writer};
static const shape snapshots = {
    .type = SHAPE_LIST, .high = VOLUMES_MOST, .items = &record_shape};

static const shape_field fields[] = {
    {"format", &format, false},
    {"version", &version, false},
    {"program", &shape_text, true},
    {"mode", &mode, false},
    {"context", &shape_bits, false},
    {"attributes", &shape_bits, false},
    {"backup", &backup, false},
    {"set", &shape_guid, true},
    {"snapshots", &snapshots, false},
    {"writers", &writers, false},
    {"machine", &shape_text, false},
    {"created", &shape_time, false},
    {NULL, NULL, false},
};
static const shape document = {.type = SHAPE_MAP, .fields = fields};


/* ------------------------------------------------------------------
** What no shape can say
** ---------------------------------------------------------------- */

/* Keys that were seen, as the names of a map. */
typedef struct seen {
  value *map;
  bool failed; /* memory */
} seen;

/* True when the two texts together are new. */
static bool is_new(seen *s, const char *a, const char *b) {
  buffer key = BUFFER_EMPTY;
  buffer_put(&key, a, strlen(a) + 1); /* no text has a NUL in it */
  buffer_text(&key, b);
  bool is = !key.failed && value_get_bytes(s->map, key.data, key.size) == NULL;
  if (key.failed ||
      (is && !value_put_bytes(s->map, key.data, key.size, value_bool(true))))
    s->failed = true;
  buffer_free(&key);
  return is && !s->failed;
}


/* Every item of a list, by two of its fields. */
static bool all_differ(const value *list, const char *where, const char *a,
                       const char *b, buffer *why) {
  seen s = {.map = value_map()};
  s.failed = s.map == NULL;
  bool good = !s.failed;
  for (uint32_t i = 0; good && i < list->count; i++) {
    const value *item = list->as.items[i];
    good =
        is_new(&s, record_text(item, a), b != NULL ? record_text(item, b) : "");
    if (!good && !s.failed)
      buffer_format(why, "%s[%u] is there twice", where, (unsigned)i);
  }
  if (s.failed) why->failed = true;
  value_free(s.map);
  return good;
}


static bool snapshots_fit(const value *doc, buffer *why) {
  const value *list = value_get(doc, "snapshots");
  const char *set = record_text(doc, "set");
  for (uint32_t i = 0; i < list->count; i++) {
    const value *r = list->as.items[i];
    buffer_format(why, "snapshots[%u]: ", (unsigned)i);
    if (!record_fits(r, NULL, why)) return false;
    if (strcmp(record_text(r, "set"), set) != 0) {
      buffer_text(why, "it is of another set");
      return false;
    }
    buffer_clear(why);
  }
  return all_differ(list, "snapshots", "id", NULL, why);
}


/* As it was when he said it, or it is not what he said. */
static bool said_fits(const value *w, const char *where, buffer *why) {
  error *e = said_check(value_get(w, "said"));
  if (e == NULL) return true;
  if (e->code == SAROS_E_OUTOFMEMORY)
    why->failed = true;
  else
    buffer_format(why, "%s.said: %s", where, e->message);
  error_unref(e);
  return false;
}

static bool writers_fit(const value *doc, buffer *why) {
  const value *list = value_get(doc, "writers");
  if (!all_differ(list, "writers", "id", "instance", why)) return false;
  for (uint32_t i = 0; i < list->count; i++) {
    char where[64];
    const value *w = list->as.items[i];
    snprintf(where, sizeof where, "writers[%u]", (unsigned)i);
    if (!said_fits(w, where, why)) return false;
    snprintf(where, sizeof where, "writers[%u].components", (unsigned)i);
    if (!all_differ(value_get(w, "components"), where, "logical_path", "name",
                    why))
      return false;
  }
  return true;
}


static error *check(const value *doc) {
  buffer why = BUFFER_EMPTY;
  error *e = NULL;
  if (strcmp(record_text(doc, "format"), FORMAT) == 0)
    e = format_newer(SAROS_FACADE_VSS, VSS_E_INVALID_XML_DOCUMENT, doc, 1,
                     "the backup document");
  if (e == NULL && (!shape_fits(doc, &document, &why) ||
                    !snapshots_fit(doc, &why) || !writers_fit(doc, &why)))
    e = why.failed ? error_no_memory()
                   : vss_error(VSS_E_INVALID_XML_DOCUMENT,
                               "that is not a backup document: %s", why.data);
  buffer_free(&why);
  return e;
}


/* ------------------------------------------------------------------
** Reading and writing
** ---------------------------------------------------------------- */

value *document_parse(const char *text, size_t size, error **e) {
  static const json_limits limits = {
      .depth = DEPTH_MOST, .size = SIZE_MOST, .values = VALUES_MOST};
  error *why = NULL;
  value *doc = json_read(text, size, &limits, &why);
  if (doc == NULL) {
    if (why->code == SAROS_E_OUTOFMEMORY)
      *e = why;
    else
      *e = error_because(
          vss_error(VSS_E_CORRUPT_XML_DOCUMENT,
                    "the backup document is damaged: %s", why->message),
          why);
    return NULL;
  }
  doc = bytes_in(doc);
  why = doc != NULL ? check(doc) : error_no_memory();
  if (why == NULL) return doc;
  value_free(doc);
  *e = why;
  return NULL;
}


/* What is too large or too deep to be read again is found by reading it. */
static error *reads_back(const buffer *text, const value *doc) {
  error *e = NULL;
  value *again = document_parse(text->data, text->size, &e);
  if (again == NULL) return e;
  if (!value_equal(again, doc))
    e = vss_error(VSS_E_INVALID_XML_DOCUMENT,
                  "the backup document cannot be written exactly: it has "
                  "numbers that are none, or pairs that look like coded names");
  value_free(again);
  return e;
}


error *document_write(const value *doc, buffer *out) {
  buffer text = BUFFER_EMPTY;
  error *e = check(doc);
  bool deep = false;
  const value *outside = e == NULL ? bytes_out(doc, &deep) : NULL;
  if (deep)
    e = vss_error(VSS_E_INVALID_XML_DOCUMENT,
                  "the backup document is nested too deeply");
  else if (e == NULL && outside == NULL)
    e = error_no_memory();
  if (e == NULL) {
    json_write(&text, outside, JSON_INDENTED);
    buffer_byte(&text, '\n');
    e = text.failed ? error_no_memory() : reads_back(&text, doc);
  }
  if (e == NULL) {
    buffer_put(out, text.data, text.size);
    if (out->failed) e = error_no_memory();
  }
  if (outside != doc) value_free((value *)(uintptr_t)outside);
  buffer_free(&text);
  return e;
}
