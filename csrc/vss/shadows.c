/*
** shadows: those that exist, and what may be known of them.
*/
#include <string.h>

#include "vss/record_parts.h"

#ifdef SAROS_TEST
const provider *const *shadows_test_providers;
#endif


/* ------------------------------------------------------------------
** What the other files need too
** ---------------------------------------------------------------- */

static const provider *find(const char *name) {
#ifdef SAROS_TEST
  const provider *const *p = shadows_test_providers;
  for (; p != NULL && *p != NULL; p++)
    if (strcmp((*p)->name, name) == 0) return *p;
#endif
  return provider_named(name);
}


const provider *record_provider(const value *record, error **e) {
  const char *name = record_text(record, "provider");
  const provider *found = find(name);
  if (found != NULL) return found;
  buffer b = BUFFER_EMPTY;
  text_escape(&b, name, strlen(name));
  *e = vss_error(VSS_E_PROVIDER_NOT_REGISTERED,
                 "the shadow copy %s was made by the provider '%s', which this "
                 "saros does not have; use one that has it",
                 record_text(record, "id"), b.size > 0 ? b.data : "");
  buffer_free(&b);
  return NULL;
}


error *record_verify(const value *record) {
  error *e = NULL;
  const provider *p = record_provider(record, &e);
  if (p == NULL) return e;
  if (record_is_loosened(record))
    return vss_error(VSS_E_OBJECT_NOT_FOUND,
                     "the shadow copy %s may have been written to, for its set "
                     "%s was to be broken up: go on with that, or delete it",
                     record_text(record, "id"), record_text(record, "set"));
  return p->verify != NULL ? p->verify(value_get(record, "keep")) : NULL;
}


bool shadows_stopped(saros_op *op, error **e) {
  if (op == NULL || !saros_op_cancelled(op)) return false;
  *e = vss_error(SAROS_E_CANCELLED,
                 "it was cancelled; what was deleted until "
                 "then is, and the rest is untouched");
  return true;
}


/* ------------------------------------------------------------------
** Properties
** ---------------------------------------------------------------- */

/* Ours, and as the original calls it. */
static const struct {
  const char *name, *original;
} shown[] = {
    {"id", "snapshot_id"},
    {"set", "snapshot_set_id"},
    {"count", "snapshots_count"},
    {"path", NULL},
    {"original", NULL},
    {"original_volume", "original_volume_name"},
    {"device", "snapshot_device_object"},
    {"provider", NULL},
    {"attributes", "snapshot_attributes"},
    {"persistent", NULL},
    {"created", NULL},
    {"created_100ns", "creation_timestamp"},
    {"machine", "originating_machine"},
    {"exposed", "exposed_path"},
    {"consistency", NULL},
    {"worth", NULL},
    {"held", NULL},
    {"rehearsed", NULL},
    {"skew", NULL},
    {"warnings", NULL},
    {"owner", NULL},
};


/* What the copy of a tree lacks, from keep: paths, and how many in all. */
static const char *const lacking[] = {"torn", "torn_count", "unread",
                                      "unread_count"};


static bool put_copy(value *map, const char *name, const value *item) {
  return name == NULL || value_put(map, name, value_copy(item));
}


static bool put_all(value *map, const value *record) {
  for (size_t i = 0; i < sizeof shown / sizeof *shown; i++) {
    const value *item = value_get(record, shown[i].name);
    if (item == NULL || item->type == VALUE_NULL) continue;
    if (!put_copy(map, shown[i].name, item) ||
        !put_copy(map, shown[i].original, item))
      return false;
  }
  const value *keep = value_get(record, "keep");
  for (size_t i = 0; i < sizeof lacking / sizeof *lacking; i++) {
    const value *item = value_get(keep, lacking[i]);
    if (item != NULL && !put_copy(map, lacking[i], item)) return false;
  }
  const value *machine = value_get(record, "machine");
  const value *exposed = value_get(record, "exposed");
  const provider *by = find(record_text(record, "provider"));
  return (machine == NULL || put_copy(map, "service_machine", machine)) &&
         (exposed == NULL || exposed->type == VALUE_NULL ||
          put_copy(map, "exposed_name", exposed)) &&
         (by == NULL || record_put_text(map, "provider_id", by->id)) &&
         value_put(map, "status", value_int(SNAPSHOT_CREATED));
}


value *shadows_properties(const value *record) {
  value *map = value_map();
  if (map != NULL && put_all(map, record)) return map;
  value_free(map);
  return NULL;
}


/* What there is to be told of it; `hidden` is why it could not be made
   readable, or NULL. */
static error *tell(const value *record, const error *hidden,
                   value **properties) {
  *properties = shadows_properties(record);
  if (*properties == NULL) return error_no_memory();
  error *why = record_verify(record);
  bool good = why == NULL ||
              record_put_text(*properties, "missing",
                              hidden != NULL ? hidden->message : why->message);
  error_unref(why);
  if (good) return NULL;
  value_free(*properties);
  *properties = NULL;
  return error_no_memory();
}


/* Takes over the record. NULL and *properties NULL: it is not to be seen. */
static error *look_at(const places *p, value *record, bool asked, saros_op *op,
                      value **properties) {
  error *e = NULL;
  *properties = NULL;
  error *hidden = record_surface(p, &record, asked, op);
  /* One that is being made or taken away is not to be seen. */
  if (record != NULL && record_is(record, "created"))
    e = tell(record, hidden, properties);
  error_unref(hidden);
  value_free(record);
  return e;
}


error *shadows_find(const places *p, const char *given, saros_op *op,
                    value **properties) {
  char id[GUID_TEXT];
  error *e = NULL;
  *properties = NULL;
  if (!record_id(given, id))
    return vss_error(SAROS_E_INVALIDARG, "'%.40s' is not the id of a shadow",
                     given);
  value *record = record_load(p, id, &e);
  if (record == NULL) return e;
  e = look_at(p, record, true, op, properties);
  if (e == NULL && *properties == NULL)
    e = vss_error(VSS_E_OBJECT_NOT_FOUND, "there is no shadow copy %s", id);
  return e;
}


error *shadows_query(const places *p, const char *set, saros_op *op,
                     value **list) {
  char id[GUID_TEXT];
  error *e = NULL;
  if (set != NULL && !record_id(set, id))
    return vss_error(SAROS_E_INVALIDARG, "'%.40s' is not the id of a set", set);
  value *records = record_list(p, &e);
  if (records == NULL) return e;
  value *made = value_list();
  if (made == NULL) e = error_no_memory();
  for (uint32_t i = 0; e == NULL && i < records->count; i++) {
    const value *r = records->as.items[i];
    value *properties = NULL, *own;
    if (set != NULL && strcmp(record_text(r, "set"), id) != 0) continue;
    own = value_copy(r);
    e = own != NULL ? look_at(p, own, set != NULL, op, &properties)
                    : error_no_memory();
    if (e == NULL && properties != NULL && !value_add(made, properties))
      e = error_no_memory();
  }
  value_free(records);
  if (e == NULL)
    *list = made;
  else
    value_free(made);
  return e;
}
