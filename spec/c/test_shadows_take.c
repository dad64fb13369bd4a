/*
** Sets that change hands: broken up into plain data, and imported.
**
** not under valgrind: its children are forked or killed; ASan runs it
*/
#include "record_case.h"
#include "test_base_sweep.h"


static uint32_t count_of(const places *p) {
  error *e = NULL;
  value *list = record_list(p, &e);
  uint32_t count = list != NULL ? list->count : 9999;
  value_free(list);
  return count;
}

/* Two of one set, persistent, saved. */
typedef struct pair {
  places *p;
  char set[GUID_TEXT];
  value *r[2];
} pair;

static pair pair_new(void) {
  pair x = {.p = open_places()};
  use_provider();
  new_id(x.set);
  for (int i = 0; i < 2; i++) {
    x.r[i] = record_new(x.set);
    struct timespec when = {.tv_sec = 1700000000 + i};
    record_stamp(x.r[i], &when);
    make_persistent(x.r[i]);
    value_put(x.r[i], "count", value_int(2));
    CHECK_CODE(record_save(x.p, x.r[i]), 0);
  }
  return x;
}

static void pair_end(pair *x) {
  value_free(x->r[0]);
  value_free(x->r[1]);
  places_unref(x->p);
}


/* ------------------------------------------------------------------
** Break
** ---------------------------------------------------------------- */

TEST(broken_up) {
  pair x = pair_new();
  value *paths = NULL;
  CHECK_CODE(shadows_break(x.p, x.set, false, &paths), 0);
  CHECK_INT(paths->count, 2);
  for (uint32_t i = 0; i < 2; i++) {
    const value *one = paths->as.items[i];
    CHECK_TEXT(record_text(one, "id"), id_of(x.r[i]));
    CHECK_TEXT(record_text(one, "path"), record_text(x.r[i], "path"));
    CHECK_TEXT(record_text(one, "original"), "/srv/data");
    CHECK(is_made(x.r[i]));
  }
  value_free(paths);
  CHECK_INT(count_of(x.p), 0);
  CHECK_INT(atomic_load(&seen_->destroyed), 0);
  CHECK_INT(atomic_load(&seen_->loosened), 0);
  CHECK_CODE(shadows_break(x.p, x.set, false, &paths), VSS_E_OBJECT_NOT_FOUND);
  CHECK_CODE(shadows_break(x.p, "x", false, &paths), SAROS_E_INVALIDARG);
  pair_end(&x);
}

TEST(broken_up_to_be_written_to) {
  pair x = pair_new();
  value *paths = NULL;
  record_put_text(x.r[1], "provider", "poor");
  CHECK_CODE(record_save(x.p, x.r[1]), 0);
  CHECK_CODE(shadows_break(x.p, x.set, true, &paths), VSS_E_NOT_SUPPORTED);
  CHECK_INT(count_of(x.p), 2); /* all of them or none */
  CHECK_INT(atomic_load(&seen_->loosened), 0);
  record_put_text(x.r[1], "provider", "case");
  CHECK_CODE(record_save(x.p, x.r[1]), 0);
  CHECK_CODE(shadows_break(x.p, x.set, true, &paths), 0);
  CHECK_INT(atomic_load(&seen_->loosened), 2);
  CHECK_INT(count_of(x.p), 0);
  value_free(paths);
  pair_end(&x);
}

static int keep_claim(void *with) {
  pair *x = with;
  error *e = NULL;
  return claim_take(x->p, id_of(x->r[1]), &e) < 0;
}

TEST(not_broken_up) {
  pair x = pair_new();
  value *paths = NULL, *r = value_copy(x.r[1]);
  stranger s = stranger_new(keep_claim, &x); /* somebody deletes one */
  CHECK_CODE(shadows_break(x.p, x.set, false, &paths), VSS_E_PROVIDER_IN_USE);
  stranger_end(&s);
  record_put_text(r, "exposed", "/mnt/x");
  CHECK_CODE(record_save(x.p, r), 0);
  CHECK_CODE(shadows_break(x.p, x.set, false, &paths), VSS_E_VOLUME_IN_USE);
  record_put_text(r, "exposed", NULL);
  record_put_text(r, "provider", "of tomorrow");
  CHECK_CODE(record_save(x.p, r), 0);
  CHECK_CODE(shadows_break(x.p, x.set, false, &paths),
             VSS_E_PROVIDER_NOT_REGISTERED);
  CHECK_CODE(record_save(x.p, x.r[1]), 0);
  wipe(record_text(r, "path")); /* behind our back */
  CHECK_CODE(shadows_break(x.p, x.set, false, &paths), VSS_E_OBJECT_NOT_FOUND);
  CHECK_INT(count_of(x.p), 2);
  value_free(r);
  pair_end(&x);
}


/* ------------------------------------------------------------------
** Import
** ---------------------------------------------------------------- */

static value *saved(const pair *x) {
  error *e = NULL;
  value *list = record_list(x->p, &e);
  CHECK(list != NULL && list->count == 2);
  return list;
}

static void check_imported(const places *p, const value *r, bool is) {
  error *e = NULL;
  value *found = record_load(p, id_of(r), &e);
  error_unref(e);
  int64_t bits = value_integer(value_get(found, "attributes"), 0);
  CHECK_INT((bits & VSS_ATTR_IMPORTED) != 0, is);
  CHECK_INT(found != NULL && owner_is_us(found), is);
  value_free(found);
}

TEST(imported_once) {
  pair x = pair_new();
  uint32_t code = 7;
  for (int i = 0; i < 2; i++) {
    make_orphan(x.r[i]);
    CHECK_CODE(record_save(x.p, x.r[i]), 0);
  }
  value *list = saved(&x);
  CHECK_CODE(shadows_import(x.p, list, &code), 0);
  CHECK_INT(code, 0);
  check_imported(x.p, x.r[0], true);
  check_imported(x.p, x.r[1], true);
  CHECK_CODE(shadows_import(x.p, list, &code), VSS_E_NO_SNAPSHOTS_IMPORTED);
  value_free(list);
  list = saved(&x); /* nor as it is now */
  CHECK_CODE(shadows_import(x.p, list, &code), VSS_E_NO_SNAPSHOTS_IMPORTED);
  value_free(list);
  list = value_list();
  CHECK_CODE(shadows_import(x.p, list, &code), VSS_E_NO_SNAPSHOTS_IMPORTED);
  CHECK_CODE(shadows_import(x.p, NULL, &code), VSS_E_NO_SNAPSHOTS_IMPORTED);
  value_free(list);
  pair_end(&x);
}

TEST(imported_in_part) {
  pair x = pair_new();
  uint32_t code = 0;
  for (int i = 0; i < 2; i++) make_orphan(x.r[i]);
  CHECK_CODE(record_save(x.p, x.r[0]), 0);
  value *list = saved(&x);
  wipe(record_text(x.r[1], "path"));
  value_add(list, value_text("nonsense"));
  CHECK_CODE(shadows_import(x.p, list, &code), 0);
  CHECK_INT(code, VSS_S_SOME_SNAPSHOTS_NOT_IMPORTED);
  check_imported(x.p, x.r[0], true);
  value_free(list);
  pair_end(&x);
}

/* It has one already. */
static int own_it(void *with) {
  pair *x = with;
  for (int i = 0; i < 2; i++) {
    owner_put(x->r[i]);
    error *e = record_save(x->p, x->r[i]);
    if (e != NULL) return 1;
  }
  return 0;
}

TEST(not_imported_from_the_living) {
  pair x = pair_new();
  uint32_t code = 0;
  stranger s = stranger_new(own_it, &x);
  value *list = saved(&x);
  CHECK_CODE(shadows_import(x.p, list, &code), VSS_E_NO_SNAPSHOTS_IMPORTED);
  stranger_end(&s);
  CHECK_CODE(shadows_import(x.p, list, &code), 0);
  CHECK_INT(code, 0);
  value_free(list);
  pair_end(&x);
}

/* The records are gone, or the document lies: the provider is asked. */
TEST(imported_without_a_record) {
  pair x = pair_new();
  uint32_t code = 0;
  value *list = saved(&x);
  places *other = open_places();
  value *forged = value_copy(list), *keep = value_map();
  record_put_text(keep, "dir", "/etc");
  value_put(keep, "ino", value_int(1));
  value_put(forged->as.items[0], "keep", keep);
  record_put_text(forged->as.items[1], "provider", "poor"); /* cannot tell */
  CHECK_CODE(shadows_import(other, forged, &code), VSS_E_NO_SNAPSHOTS_IMPORTED);
  CHECK_INT(count_of(other), 0);
  value_put(list->as.items[0], "exposed", value_text("/mnt/there"));
  CHECK_CODE(shadows_import(other, list, &code), 0);
  CHECK_INT(code, 0);
  check_imported(other, x.r[0], true);
  check_imported(other, x.r[1], true);
  value *now = NULL;
  CHECK_CODE(shadows_query(other, NULL, NULL, &now), 0);
  CHECK(value_get(now->as.items[0], "exposed") == NULL);
  value_free(now);
  CHECK_CODE(shadows_import(other, list, &code), VSS_E_NO_SNAPSHOTS_IMPORTED);
  value_free(forged);
  value_free(list);
  places_unref(other);
  pair_end(&x);
}


/* ------------------------------------------------------------------
** Without memory
** ---------------------------------------------------------------- */

static pair swept;
static value *swept_list;

/* What was imported when memory ran out stays so; the rest comes later. */
static bool import_the_rest(void) {
  uint32_t code = 0;
  error *e = shadows_import(swept.p, swept_list, &code);
  error_unref(e);
  for (int i = 0; i < 2; i++) {
    value *r = record_load(swept.p, id_of(swept.r[i]), &e);
    bool is = r != NULL && owner_is_us(r);
    value_free(r);
    if (r == NULL) error_unref(e);
    if (!is) return false;
  }
  return true;
}

static bool break_all(void) {
  value *paths = NULL;
  error *e = shadows_break(swept.p, swept.set, true, &paths);
  bool good = e == NULL;
  error_unref(e);
  value_free(paths);
  return good;
}

TEST(memory_runs_out) {
  swept = pair_new();
  for (int i = 0; i < 2; i++) {
    make_orphan(swept.r[i]);
    CHECK_CODE(record_save(swept.p, swept.r[i]), 0);
  }
  swept_list = saved(&swept);
  SWEEP(import_the_rest, 0);
  value_free(swept_list);
  SWEEP(break_all, 0);
  CHECK(is_made(swept.r[0]) && is_made(swept.r[1]));
  pair_end(&swept);
}


static void all(void) {
  RUN(broken_up);
  RUN(broken_up_to_be_written_to);
  RUN(not_broken_up);
  RUN(imported_once);
  RUN(imported_in_part);
  RUN(not_imported_from_the_living);
  RUN(imported_without_a_record);
  RUN(memory_runs_out);
}

int main(int argc, char **argv) {
  return record_main(argc, argv, all);
}
