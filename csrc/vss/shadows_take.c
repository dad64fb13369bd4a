/*
** shadows_take: sets that are broken up: what was made stays, and nobody knows
** of it any more.
*/
#include <string.h>

#include "vss/record_parts.h"

/* A set with the claims of all its members. */
typedef struct members {
  value *records; /* a list, as they are now */
  int claims[VOLUMES_MOST];
  unsigned count;
} members;


static void let_go(members *m) {
  while (m->count > 0) claim_give(&m->claims[--m->count]);
  value_free(m->records);
}


static error *take_member(const places *p, members *m, const char *id) {
  error *e = NULL;
  if (m->count == VOLUMES_MOST)
    return vss_error(SAROS_E_DAMAGED,
                     "the set has more members than a set can have; delete "
                     "them one by one");
  int claim = claim_take(p, id, &e);
  if (claim < 0) return e;
  m->claims[m->count++] = claim;
  value *record = record_load(p, id, &e);
  if (record == NULL) return e;
  return value_add(m->records, record) ? NULL : error_no_memory();
}


static error *take_set(const places *p, const char *set, members *m) {
  error *e = NULL;
  *m = (members){.records = value_list()};
  value *all = m->records != NULL ? record_list(p, &e) : NULL;
  if (m->records == NULL) e = error_no_memory();
  for (uint32_t i = 0; e == NULL && all != NULL && i < all->count; i++) {
    const value *r = all->as.items[i];
    if (record_is(r, "created") && strcmp(record_text(r, "set"), set) == 0)
      e = take_member(p, m, record_text(r, "id"));
  }
  value_free(all);
  if (e == NULL && m->count == 0)
    e = vss_error(VSS_E_OBJECT_NOT_FOUND, "there is no set %s", set);
  return e;
}


/* ------------------------------------------------------------------
** Break
** ---------------------------------------------------------------- */

/* One that somebody died over may be loosened, whatever is asked now. */
static bool to_be_loosened(const value *record, bool writable) {
  return writable || record_is_loosened(record);
}


static error *can_break(const places *p, value *record, bool writable) {
  const char *id = record_text(record, "id");
  error *e = NULL;
  if (!record_is(record, "created"))
    return vss_error(VSS_E_PROVIDER_IN_USE,
                     "the shadow copy %s is being deleted", id);
  if (*record_text(record, "exposed") != '\0')
    return vss_error(VSS_E_VOLUME_IN_USE,
                     "the shadow copy %s is exposed; unexpose it first", id);
  if (!value_boolean(value_get(record, "persistent"), false) &&
      owner_is_alive(record) && !owner_is_us(record))
    return vss_error(VSS_E_VOLUME_IN_USE,
                     "the process that made the shadow copy %s still uses it; "
                     "end that first",
                     id);
  const provider *by = record_provider(record, &e);
  if (by == NULL) return e;
  if (to_be_loosened(record, writable) && by->loosen == NULL)
    return vss_error(VSS_E_NOT_SUPPORTED,
                     "what the provider %s made cannot be made writable; break "
                     "the set without that",
                     by->name);
  return record_is_loosened(record) ? NULL : record_ready(p, record, NULL);
}


/* Of one that is mounted nobody will mount it again after a restart: what it is
   then must be known before the record goes. */
static bool say_what_stays(const value *record, value *map) {
  error *e = NULL;
  const provider *by = record_provider(record, &e);
  error_unref(e);
  if (by == NULL || by->stays == NULL) return true;
  char *stays = by->stays(value_get(record, "keep"));
  bool good = stays != NULL && record_put_text(map, "stays", stays);
  mem_free(stays);
  return good;
}


/* `path` is where it lies now, or NULL: where the record says. */
static error *say_where(const value *record, const char *path, value *list) {
  static const char *const names[] = {"id", "original", "path", "device"};
  value *map = value_map();
  bool good = map != NULL;
  if (good && path == NULL) good = say_what_stays(record, map);
  for (size_t i = 0; good && i < sizeof names / sizeof *names; i++) {
    const value *item = value_get(record, names[i]);
    if (path != NULL && strcmp(names[i], "device") == 0) continue;
    if (item != NULL && item->type != VALUE_NULL)
      good = value_put(map, names[i], value_copy(item));
  }
  if (good && path != NULL) good = record_put_text(map, "path", path);
  if (good) return value_add(list, map) ? NULL : error_no_memory();
  value_free(map);
  return error_no_memory();
}


/* Written down first: what may be written to is nobody's shadow any more, and
   is neither mounted again nor believed. */
static error *mark_loosened(const places *p, value *record) {
  if (!value_put(record, "loosening", value_bool(true)))
    return error_no_memory();
  return record_save(p, record);
}


/* What could not be loosened is a shadow as before, when it still is one. */
static void put_back(const places *p, value *record) {
  bool again, changed;
  error *e = NULL;
  if (!value_put(record, "loosening", value_null())) return;
  error_unref(surface_in_memory(record, NULL, &again, &changed));
  e = record_verify(record);
  if (e == NULL) e = record_save(p, record);
  if (e != NULL)
    log_write(LOG_WARNING, "vss", "%s is neither broken up nor as it was: %s",
              record_text(record, "id"), e->message);
  error_unref(e);
}


static error *loosen(const places *p, value *record, value *where) {
  char *path = NULL;
  bool anew = !record_is_loosened(record);
  error *e = NULL;
  const provider *by = record_provider(record, &e);
  if (by == NULL) return e;
  if (anew) e = mark_loosened(p, record);
  if (e != NULL) return e;
  e = by->loosen(value_get(record, "keep"), &path);
  if (e == NULL) e = say_where(record, path, where);
  mem_free(path);
  if (e != NULL && anew) put_back(p, record);
  /* cppcheck-suppress returnDanglingLifetime ; it points to no local */
  return e;
}


/* First everything that can fail for a reason; where the disk fails us among
   the removals, the rest of the set is still there to be broken. */
static error *break_all(const places *p, const members *m, bool writable,
                        value *where) {
  error *e = NULL;
  for (uint32_t i = 0; e == NULL && i < m->records->count; i++)
    e = can_break(p, m->records->as.items[i], writable);
  for (uint32_t i = 0; e == NULL && i < m->records->count; i++) {
    value *r = m->records->as.items[i];
    e = to_be_loosened(r, writable) ? loosen(p, r, where)
                                    : say_where(r, NULL, where);
  }
  for (uint32_t i = 0; e == NULL && i < m->records->count; i++)
    e = record_remove(p, record_text(m->records->as.items[i], "id"));
  return e;
}


error *shadows_break(const places *p, const char *given, bool writable,
                     value **paths) {
  char set[GUID_TEXT];
  members m;
  if (!record_id(given, set))
    return vss_error(SAROS_E_INVALIDARG, "'%.40s' is not the id of a set",
                     given);
  value *where = value_list();
  error *e = take_set(p, set, &m);
  if (where == NULL && e == NULL) e = error_no_memory();
  if (e == NULL) e = break_all(p, &m, writable, where);
  let_go(&m);
  if (e == NULL)
    *paths = where;
  else
    value_free(where);
  return e;
}
