/*
** Shadows of real file systems by their records alone: made by a provider, then
** looked up, exposed, deleted, reaped, broken up and imported by who knows
** nothing but the record.
*/
#include "shadow_case.h"
#include "vss/record_parts.h"

typedef struct real {
  const volume *v;
  const provider *by;
  places *p;
  char source[600], id[37], set[37], path[700];
} real;

static const char *word(const value *list, uint32_t i, const char *name) {
  return list != NULL && i < list->count ? record_text(list->as.items[i], name)
                                         : "";
}

static error *note_nothing(shadow *s) {
  (void)s;
  return NULL;
}

/* What the coordinator writes down. */
static value *record_of(const shadow *s, const char *state) {
  value *r = value_map();
  bool good = value_put(r, "version", value_int(1)) &&
              record_put_text(r, "id", s->id) &&
              record_put_text(r, "set", s->set) &&
              value_put(r, "count", value_int(1)) &&
              record_put_text(r, "state", state) &&
              record_put_text(r, "provider", s->provider->name) &&
              value_put(r, "keep", value_copy(s->keep)) &&
              value_put(r, "attributes", value_int(VSS_ATTR_PERSISTENT)) &&
              record_put_text(r, "original", s->given) &&
              record_put_text(r, "path", s->path) &&
              record_put_text(r, "device", s->device) &&
              value_put(r, "warnings", value_copy(s->warnings)) &&
              value_put(r, "persistent", value_bool(true)) &&
              record_stamp(r, NULL) && owner_put(r);
  if (!good) abort();
  return r;
}

/* A source with one file; its shadow, and then another word in the file. */
static bool make(real *x, volumes_kind kind, const provider *by) {
  static unsigned number;
  error *e = NULL;
  x->v = volumes_get(kind);
  if (x->v == NULL) return false;
  x->by = by;
  snprintf(x->source, sizeof x->source, "%s/real%u", x->v->path, ++number);
  if (volumes_run(by == &provider_btrfs
                      ? "btrfs -q subvolume create '%s' >/dev/null"
                      : "mkdir '%s'",
                  x->source) != 0)
    return false;
  char file[700];
  snprintf(file, sizeof file, "%s/word", x->source);
  case_put(file, "old");
  x->p = places_open(volumes_in("places%u", number), &e);
  DONE(e);
  shadow *s = case_plan(by, x->source, &e);
  if (s != NULL) {
    s->note = note_nothing;
    e = case_take(s);
  }
  DONE(e);
  if (s == NULL) return false;
  case_put(file, "new");
  value *r = record_of(s, "created");
  DONE(record_save(x->p, r));
  memcpy(x->id, s->id, sizeof x->id);
  memcpy(x->set, s->set, sizeof x->set);
  snprintf(x->path, sizeof x->path, "%s", s->path);
  value_free(r);
  by->forget(s); /* the maker goes */
  shadow_free(s);
  return true;
}

static const char *said(const char *directory) {
  char file[800];
  snprintf(file, sizeof file, "%s/word", directory);
  const char *text = case_get(file);
  return text != NULL ? text : "(nothing)";
}

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
  value *owner = value_copy(value_get(r, "owner"));
  value_put(owner, "boot", value_text("00000000-0000-4000-8000-000000000000"));
  value_put(r, "owner", owner);
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
