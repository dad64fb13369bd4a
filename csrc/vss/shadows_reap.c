/*
** shadows_reap: what dead owners left. Frozen file systems first, because
** they hold up everybody; then what was half made, what should have gone with
** its owner, and what somebody was deleting when he died. What persists is
** only made readable again, when the machine was restarted.
*/
#include <string.h>

#include "vss/guard.h"
#include "vss/record_parts.h"

typedef struct reaping {
  const places *p;
  saros_op *op;
  value *shadows, *thawed, *surfaced, *exposed, *failed;
  value *void_sets; /* by name: sets whose maker died over them */
} reaping;


static bool is_persistent(const value *record) {
  return value_boolean(value_get(record, "persistent"), false);
}


/* A set is whole or it is nothing: when its maker died over one member, then
   nobody was ever told of the others. */
static error *find_void_sets(reaping *r, const value *records) {
  for (uint32_t i = 0; i < records->count; i++) {
    const value *one = records->as.items[i];
    if (record_is(one, "preparing") && !owner_is_alive(one) &&
        !value_put(r->void_sets, record_text(one, "set"), value_bool(true)))
      return error_no_memory();
  }
  return NULL;
}


static bool is_left(const reaping *r, const value *record) {
  if (record_is(record, "deleting")) {
    const value *deleter = value_get(record, "deleter");
    if (deleter == NULL) return !owner_is_alive(record);
    value *map = value_map(); /* owner_is_… look into `owner` */
    bool left = false;
    if (map != NULL && value_put(map, "owner", value_copy(deleter)))
      left = !owner_is_alive(map) || owner_is_us(map);
    value_free(map);
    return left;
  }
  if (owner_is_alive(record)) return false;
  return !is_persistent(record) || record_is(record, "preparing") ||
         value_get(r->void_sets, record_text(record, "set")) != NULL;
}


static error *said(const reaping *r, value *list, const value *record,
                   const error *why) {
  static const char *const names[] = {"id", "set", "provider", "original",
                                      "path"};
  size_t count = sizeof names / sizeof *names - (list == r->surfaced ? 0 : 1);
  value *map = value_map();
  bool good = map != NULL;
  for (size_t i = 0; good && i < count; i++)
    good = value_put(map, names[i], value_copy(value_get(record, names[i])));
  if (good && why != NULL) good = record_put_text(map, "message", why->message);
  if (good) return value_add(list, map) ? NULL : error_no_memory();
  value_free(map);
  return error_no_memory();
}


/* With the claim: looks again, because much may have happened. NULL and no
 *why: somebody else was there first. */
static value *look_again(reaping *r, const value *seen, error **why) {
  value *record = record_load(r->p, record_text(seen, "id"), why);
  if (record == NULL && (*why)->code == VSS_E_OBJECT_NOT_FOUND) {
    error_unref(*why);
    *why = NULL;
  }
  return record;
}


/* NULL goes on: what could not be destroyed is reported, and left for the next
   time. */
static error *reap_claimed(reaping *r, const value *seen) {
  error *why = NULL, *e = NULL;
  value *record = look_again(r, seen, &why);
  bool left = record != NULL && is_left(r, record);
  if (left) why = exposure_end(record, true);
  if (left && why == NULL) why = record_destroy(r->p, record, r->op);
  if (why != NULL) {
    log_write(LOG_WARNING, "vss", "%s could not be taken away: %s",
              record_text(seen, "id"), why->message);
    e = said(r, r->failed, seen, why);
  } else if (left) {
    e = said(r, r->shadows, seen, NULL);
  }
  error_unref(why);
  value_free(record);
  return e;
}


static error *restore_claimed(reaping *r, const value *seen) {
  error *why = NULL, *e = NULL;
  bool surfaced = false, again = false;
  value *record = look_again(r, seen, &why);
  bool there = record != NULL && record_is(record, "created");
  if (there && surface_is_due(record))
    why = surface_claimed(r->p, record, r->op, &surfaced);
  if (there && why == NULL) why = exposure_again(r->p, record, &again);
  if (surfaced) e = said(r, r->surfaced, record, NULL);
  if (why != NULL && e == NULL)
    e = said(r, r->failed, seen, why);
  else if (again && e == NULL &&
           !value_add(r->exposed, value_copy(value_get(record, "exposed"))))
    e = error_no_memory();
  error_unref(why);
  value_free(record);
  return e;
}


static error *with_claim(reaping *r, const value *record,
                         error *(*act)(reaping *, const value *)) {
  error *e = NULL;
  int claim = claim_take(r->p, record_text(record, "id"), &e);
  if (claim < 0) { /* somebody is at it; all else is worth a word */
    bool busy = e->code == VSS_E_PROVIDER_IN_USE;
    error *bad = busy ? NULL : said(r, r->failed, record, e);
    error_unref(e);
    return bad;
  }
  e = act(r, record);
  claim_give(&claim);
  return e;
}


static error *reap_all(reaping *r) {
  error *e = NULL;
  value *records = record_list(r->p, &e);
  if (records == NULL) return e;
  e = find_void_sets(r, records);
  for (uint32_t i = 0; e == NULL && i < records->count; i++) {
    const value *one = records->as.items[i];
    if (shadows_stopped(r->op, &e)) break;
    if (is_left(r, one))
      e = with_claim(r, one, reap_claimed);
    else if (*record_text(one, "exposed") != '\0' || surface_is_due(one))
      e = with_claim(r, one, restore_claimed);
  }
  value_free(records);
  return e;
}


static error *thaw(reaping *r) {
  error *why = guard_recover(r->p->runtime, r->thawed);
  if (why == NULL) return NULL;
  value *map = value_map();
  bool good = map != NULL && record_put_text(map, "message", why->message);
  error_unref(why);
  if (good) return value_add(r->failed, map) ? NULL : error_no_memory();
  value_free(map);
  return error_no_memory();
}


/* A list in the report, which keeps it. */
static value *new_list(value *report, const char *name) {
  value *list = value_list();
  return value_put(report, name, list) ? list : NULL;
}


static bool begin(reaping *r, value *report) {
  r->shadows = new_list(report, "shadows");
  r->thawed = new_list(report, "thawed");
  r->surfaced = new_list(report, "surfaced");
  r->exposed = new_list(report, "exposed");
  r->failed = new_list(report, "failed");
  r->void_sets = value_map();
  return r->shadows != NULL && r->thawed != NULL && r->surfaced != NULL &&
         r->exposed != NULL && r->failed != NULL && r->void_sets != NULL;
}


error *shadows_reap(const places *p, saros_op *op, value **report) {
  reaping r = {.p = p, .op = op};
  error *e = NULL;
  *report = value_map();
  if (*report == NULL) return error_no_memory();
  if (!begin(&r, *report)) e = error_no_memory();
  /* Not behind the reaper that is at work: what is frozen cannot wait. */
  if (e == NULL) e = thaw(&r);
  int claim = e == NULL ? claim_reaper(p, op, &e) : -1;
  if (claim >= 0) {
    record_tidy(p);
    e = reap_all(&r);
    claim_give(&claim);
  }
  value_free(r.void_sets);
  return e;
}
