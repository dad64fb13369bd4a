/*
** shadows_delete: taking shadows away, one after the other. What is about to
** be taken away is written down as such before, so that somebody can go on
** with it when we cannot.
*/
#include <errno.h>
#include <string.h>

#include "vss/record_parts.h"

#define NOTHING "00000000-0000-0000-0000-000000000000"


/* On a full disk nothing can be written down; but this is what makes room. */
static bool is_full(const error *e) {
  return e->code == VSS_E_INSUFFICIENT_STORAGE;
}


static bool stays(const value *record) {
  return value_boolean(value_get(record, "persistent"), false);
}


static error *mark(const places *p, value *record) {
  value *us = value_map();
  const value *owner = NULL;
  bool good = us != NULL && owner_put(us);
  if (good) owner = value_get(us, "owner");
  good = good && value_put(record, "deleter", value_copy(owner)) &&
         record_put_text(record, "state", "deleting");
  value_free(us);
  if (!good) return error_no_memory();
  error *e =
      stays(record) ? record_save(p, record) : record_save_loose(p, record);
  if (e != NULL && is_full(e)) {
    log_write(LOG_WARNING, "vss",
              "%s is deleted although that could not be written down first: %s",
              record_text(record, "id"), e->message);
    error_unref(e);
    e = NULL;
  }
  return e;
}


error *record_destroy(const places *p, value *record, saros_op *op) {
  error *e = NULL;
  const provider *by = record_provider(record, &e);
  if (by == NULL) return e;
  e = mark(p, record);
  if (e == NULL) e = by->destroy(value_get(record, "keep"), op);
  const char *id = record_text(record, "id");
  if (e == NULL)
    e = stays(record) ? record_remove(p, id) : record_remove_loose(p, id);
  return e;
}


/* Whether it may be deleted by whoever asks. */
static error *allowed(const value *record, bool force) {
  const char *id = record_text(record, "id");
  bool alive = owner_is_alive(record);
  if (record_is(record, "preparing"))
    return alive ? vss_error(VSS_E_OBJECT_NOT_FOUND,
                             "the shadow copy %s is still being made", id)
                 : NULL;
  if (force) return NULL;
  if (*record_text(record, "exposed") != '\0')
    return error_at(vss_error(VSS_E_VOLUME_IN_USE,
                              "the shadow copy %s is exposed; unexpose it "
                              "first, or delete it with force",
                              id),
                    record_text(record, "exposed"));
  if (record_is(record, "created") && alive && !owner_is_us(record) &&
      !value_boolean(value_get(record, "persistent"), false)) {
    int64_t pid =
        value_integer(value_get(value_get(record, "owner"), "pid"), 0);
    return vss_error(VSS_E_VOLUME_IN_USE,
                     "process %lld, which made the shadow copy %s, still uses "
                     "it; end that, or delete it with force",
                     (long long)pid, id);
  }
  return NULL;
}


/* With the claim. */
static error *delete_claimed(const places *p, const char *id, bool force,
                             saros_op *op) {
  error *e = NULL;
  value *record = record_load(p, id, &e);
  if (record == NULL) return e;
  e = allowed(record, force);
  if (e == NULL) e = exposure_end(record, force);
  if (e == NULL) e = record_destroy(p, record, op);
  value_free(record);
  return e;
}


static error *delete_one(const places *p, const char *id, bool force,
                         saros_op *op) {
  error *e = NULL;
  int claim = claim_take(p, id, &e);
  if (claim < 0) return e;
  e = delete_claimed(p, id, force, op);
  claim_give(&claim);
  return e;
}


static bool is_member(const value *record, const char *set) {
  return strcmp(record_text(record, "set"), set) == 0 &&
         !(record_is(record, "preparing") && owner_is_alive(record));
}


static error *delete_set(const places *p, const char *set, bool force,
                         saros_op *op, unsigned *deleted,
                         char not_deleted[GUID_TEXT]) {
  error *e = NULL;
  value *records = record_list(p, &e);
  if (records == NULL) return e;
  for (uint32_t i = 0; e == NULL && i < records->count; i++) {
    const value *r = records->as.items[i];
    if (!is_member(r, set)) continue;
    const char *id = record_text(r, "id");
    if (!shadows_stopped(op, &e)) e = delete_one(p, id, force, op);
    if (e == NULL) {
      ++*deleted;
    } else if (e->code == VSS_E_OBJECT_NOT_FOUND && e->cause == NULL) {
      error *gone = NULL; /* by somebody else, since we looked? */
      value_free(record_load(p, id, &gone));
      if (gone != NULL && gone->code == VSS_E_OBJECT_NOT_FOUND) {
        error_unref(e);
        e = NULL;
      }
      error_unref(gone);
    }
    if (e != NULL) memcpy(not_deleted, id, GUID_TEXT);
  }
  value_free(records);
  if (e == NULL && *deleted == 0)
    e = vss_error(VSS_E_OBJECT_NOT_FOUND, "there is no set %s (any more)", set);
  return e;
}


error *shadows_delete(const places *p, const char *given, bool whole_set,
                      bool force, saros_op *op, unsigned *deleted,
                      char not_deleted[37]) {
  char id[GUID_TEXT];
  *deleted = 0;
  memcpy(not_deleted, NOTHING, GUID_TEXT);
  if (!record_id(given, id))
    return vss_error(SAROS_E_INVALIDARG, "'%.40s' is not the id of a %s", given,
                     whole_set ? "set" : "shadow copy");
  if (whole_set) return delete_set(p, id, force, op, deleted, not_deleted);
  error *e = NULL;
  if (!shadows_stopped(op, &e)) e = delete_one(p, id, force, op);
  if (e == NULL)
    *deleted = 1;
  else
    memcpy(not_deleted, id, GUID_TEXT);
  return e;
}
