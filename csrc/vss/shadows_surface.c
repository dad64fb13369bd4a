/*
** shadows_surface: persistent shadows outlive the machine's restart, but not
** all of them can be read after it: a mount and a loop device are gone. What is
** listed or reaped is made readable again once after a restart: who unmounted
** it later knew why, or lives in another mount namespace, and it is none of
** our business to hold it here. What somebody names, to use it, is made
** readable whenever it is not.
*/
#include <string.h>
#include <time.h>

#include "vss/record_parts.h"

enum { TURNS = 250, TURN_MS = 20 }; /* for the claim of somebody else */


bool record_put_boot(value *record, const char *name) {
  value *us = value_map();
  bool good = us != NULL && owner_put(us) &&
              record_put_text(record, name,
                              record_text(value_get(us, "owner"), "boot"));
  value_free(us);
  return good;
}


bool record_is_of_boot(const value *record, const char *name, bool *same) {
  value *now = value_map();
  const char *boot = record_text(record, name);
  if (*boot == '\0') boot = record_text(value_get(record, "owner"), "boot");
  bool good = now != NULL && record_put_boot(now, name);
  *same = good && strcmp(record_text(now, name), boot) == 0;
  value_free(now);
  return good;
}


bool record_is_loosened(const value *record) {
  return value_boolean(value_get(record, "loosening"), false);
}


/* The provider of one that can need it; NULL: it cannot. One that is being
   broken up is not ours to mount any more. */
static const provider *surfacer(const value *record) {
  error *e = NULL;
  if (!record_is(record, "created") || record_is_loosened(record) ||
      !value_boolean(value_get(record, "persistent"), false))
    return NULL;
  const provider *by = record_provider(record, &e);
  error_unref(e); /* whoever wants to use it is told */
  return by != NULL && by->surface != NULL ? by : NULL;
}


bool surface_is_due(const value *record) {
  bool same;
  return surfacer(record) != NULL &&
         record_is_of_boot(record, "surfaced_boot", &same) && !same;
}


error *surface_in_memory(value *record, saros_op *op, bool *again,
                         bool *changed) {
  const provider *by = surfacer(record);
  const value *keep = value_get(record, "keep");
  char *device = NULL;
  *again = *changed = false;
  if (by == NULL) return NULL;
  bool hidden = !by->surfaced(keep);
  if (!hidden && !surface_is_due(record)) return NULL;
  error *e = by->surface(keep, op, &device);
  bool good = e != NULL ||
              (record_put_boot(record, "surfaced_boot") &&
               (device == NULL || record_put_text(record, "device", device)));
  mem_free(device);
  if (!good) return error_no_memory();
  *again = hidden && e == NULL;
  *changed = e == NULL;
  /* cppcheck-suppress returnDanglingLifetime ; it points to no local */
  return e;
}


error *surface_claimed(const places *p, value *record, saros_op *op,
                       bool *again) {
  bool changed;
  error *e = surface_in_memory(record, op, again, &changed);
  return e == NULL && changed ? record_save(p, record) : e;
}


error *record_ready(const places *p, value *record, saros_op *op) {
  bool again;
  error *why = surface_claimed(p, record, op, &again);
  error *e = record_verify(record);
  if (e == NULL || why == NULL) {
    error_unref(why);
    return e;
  }
  error_unref(e); /* what made it impossible says more */
  return why;
}


/* Whoever has it does something quick with it, or deletes it. */
static int claim_in_turn(const places *p, const char *id, saros_op *op,
                         error **e) {
  for (int i = 0;; i++) {
    int claim = claim_take(p, id, e);
    if (claim >= 0 || (*e)->code != VSS_E_PROVIDER_IN_USE || i == TURNS)
      return claim;
    error *stopped = NULL;
    if (shadows_stopped(op, &stopped)) {
      error_unref(stopped);
      return claim;
    }
    struct timespec turn = {.tv_nsec = TURN_MS * 1000000L};
    error_unref(*e);
    *e = NULL;
    nanosleep(&turn, NULL);
  }
}


error *record_surface(const places *p, value **record, bool asked,
                      saros_op *op) {
  const provider *by = surfacer(*record);
  bool again;
  error *e = NULL;
  if (by == NULL) return NULL;
  if (!surface_is_due(*record) &&
      !(asked && !by->surfaced(value_get(*record, "keep"))))
    return NULL;
  const char *id = record_text(*record, "id");
  int claim = claim_in_turn(p, id, op, &e);
  if (claim < 0) return e;
  value *now = record_load(p, id, &e);
  if (now != NULL) e = surface_claimed(p, now, op, &again);
  claim_give(&claim);
  bool gone = now == NULL && e->code == VSS_E_OBJECT_NOT_FOUND;
  if (now == NULL && !gone) return e;
  if (gone) error_unref(e);
  value_free(*record);
  *record = now;
  return gone ? NULL : e;
}
