/*
** Shadows of real file systems by their records alone: made by a provider, then
** looked up, exposed, deleted, reaped, broken up and imported by who knows
** nothing but the record.
**
** not under valgrind: its children are forked or killed; ASan runs it
*/
#include "real_case.h"

static void all_of(real *x) {
  value *list = NULL, *report = NULL, *records;
  error *e = NULL;
  char at[700];
  uint32_t code = 7;
  unsigned deleted = 0;
  char not [37];
  CHECK_TEXT(said(x->path), "old");
  DONE(shadows_query(x->p, x->set, NULL, &list));
  CHECK_INT(list->count, 1);
  CHECK_TEXT(word(list, 0, "path"), x->path);
  CHECK_TEXT(word(list, 0, "provider_id"), x->by->id);
  CHECK_TEXT(word(list, 0, "missing"), "");
  value_free(list);
  snprintf(at, sizeof at, "%s", volumes_in("at-%s", x->id));
  DONE(shadows_expose(x->p, x->id, at));
  CHECK_TEXT(said(at), "old");
  DONE(shadows_unexpose(x->p, x->id));
  CHECK(case_entries(at) == -1);
  DONE(shadows_reap(x->p, NULL, &report)); /* it is persistent */
  CHECK_INT(value_get(report, "shadows")->count, 0);
  value_free(report);
  CHECK_TEXT(said(x->path), "old");
  records = record_list(x->p, &e);
  DONE(shadows_break(x->p, x->set, false, &list));
  CHECK_TEXT(word(list, 0, "path"), x->path);
  CHECK_TEXT(said(x->path), "old");
  value_free(list);
  DONE(shadows_import(x->p, records, &code)); /* and back */
  CHECK_INT(code, 0);
  DONE(shadows_expose(x->p, x->id, at));
  CHECK_INT(
      case_end(shadows_delete(x->p, x->id, false, false, NULL, &deleted, not ),
               VSS_E_VOLUME_IN_USE),
      VSS_E_VOLUME_IN_USE);
  DONE(shadows_delete(x->p, x->set, true, true, NULL, &deleted, not ));
  CHECK_INT(deleted, 1);
  CHECK(case_entries(at) == -1 && case_entries(x->path) == -1);
  /* What is not there any more cannot be taken over. */
  CHECK_INT(case_end(shadows_import(x->p, records, &code),
                     VSS_E_NO_SNAPSHOTS_IMPORTED),
            VSS_E_NO_SNAPSHOTS_IMPORTED);
  CHECK_TEXT(said(x->source), "new");
  value_free(records);
  places_unref(x->p);
}

/* Its owner is dead, and it was to go with him. */
static void reaped(real *x) {
  error *e = NULL;
  value *report = NULL;
  value *r = record_load(x->p, x->id, &e);
  age(r, r);
  value_put(r, "persistent", value_bool(false));
  DONE(record_save(x->p, r));
  DONE(shadows_reap(x->p, NULL, &report));
  CHECK_INT(value_get(report, "shadows")->count, 1);
  CHECK_INT(value_get(report, "failed")->count, 0);
  CHECK(case_entries(x->path) == -1);
  CHECK_TEXT(said(x->source), "new");
  value_free(report);
  value_free(r);
  places_unref(x->p);
}

TEST(of_btrfs) {
  real x;
  if (!make(&x, BTRFS, &provider_btrfs)) SKIP(volumes_missing);
  all_of(&x);
  if (make(&x, BTRFS, &provider_btrfs)) reaped(&x);
}

TEST(of_an_image) {
  real x;
  if (!make(&x, EXT4_ON_XFS, &provider_image)) SKIP(volumes_missing);
  all_of(&x);
  if (make(&x, EXT4_ON_XFS, &provider_image)) reaped(&x);
}

static void all(void) {
  RUN(of_btrfs);
  RUN(of_an_image);
}

int main(int argc, char **argv) {
  return volumes_main(argc, argv, all);
}
