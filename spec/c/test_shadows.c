/*
** Shadows as things that exist: looked up, deleted, and what dead owners left
** taken away, by one, by two at once, and killed at every step.
**
** not under valgrind: its children are forked or killed; ASan runs it
*/
#include "shadows_case.h"
#include "test_base_sweep.h"


/* ------------------------------------------------------------------
** Looking
** ---------------------------------------------------------------- */

TEST(query_shows_what_is_complete) {
  places *p = open_places();
  value *a = record_new(NULL), *b = record_new(NULL), *c = record_new(NULL);
  value *list = NULL;
  use_provider();
  record_put_text(b, "state", "preparing");
  record_put_text(c, "state", "deleting");
  save(p, a), save(p, b), save(p, c);
  CHECK_CODE(shadows_query(p, NULL, NULL, &list), 0);
  CHECK_INT(list->count, 1);
  const value *s = list->as.items[0];
  CHECK_TEXT(record_text(s, "id"), id_of(a));
  CHECK_TEXT(record_text(s, "snapshot_id"), id_of(a));
  CHECK_TEXT(record_text(s, "snapshot_set_id"), record_text(a, "set"));
  CHECK_TEXT(record_text(s, "path"), record_text(a, "path"));
  CHECK_TEXT(record_text(s, "original"), "/srv/data");
  CHECK_TEXT(record_text(s, "original_volume_name"), "/srv");
  CHECK_TEXT(record_text(s, "provider"), "case");
  CHECK_TEXT(record_text(s, "provider_id"), case_provider.id);
  CHECK_INT(value_integer(value_get(s, "status"), 0), SNAPSHOT_CREATED);
  CHECK(value_equal(value_get(s, "creation_timestamp"),
                    value_get(a, "created_100ns")));
  CHECK(value_get(s, "missing") == NULL && value_get(s, "keep") == NULL);
  value_free(list);
  CHECK_CODE(shadows_query(p, record_text(a, "set"), NULL, &list), 0);
  CHECK_INT(list->count, 1);
  value_free(list);
  CHECK_CODE(shadows_query(p, record_text(b, "set"), NULL, &list), 0);
  CHECK_INT(list->count, 0);
  value_free(list);
  CHECK_CODE(shadows_query(p, "x", NULL, &list), SAROS_E_INVALIDARG);
  wipe(record_text(a, "path")); /* behind our back */
  CHECK_CODE(shadows_query(p, NULL, NULL, &list), 0);
  CHECK_TEXT(record_text(list->as.items[0], "missing"),
             "somebody took it away");
  value_free(list);
  record_put_text(a, "provider", "of tomorrow");
  save(p, a);
  CHECK_CODE(shadows_query(p, NULL, NULL, &list), 0);
  CHECK(strstr(record_text(list->as.items[0], "missing"), "of tomorrow") !=
        NULL);
  value_free(list);
  value_free(a), value_free(b), value_free(c);
  places_unref(p);
}


/* ------------------------------------------------------------------
** Deleting
** ---------------------------------------------------------------- */

TEST(delete_one) {
  places *p = open_places();
  value *a = record_new(NULL), *b = record_new(NULL);
  use_provider();
  save(p, a), save(p, b);
  CHECK_INT(delete_it(p, a, false), 0);
  CHECK(!is_made(a) && !is_recorded(p, a) && is_made(b) && is_recorded(p, b));
  CHECK_INT(delete_it(p, a, false), VSS_E_OBJECT_NOT_FOUND);
  CHECK_INT(atomic_load(&seen_->destroyed), 1);
  unsigned deleted;
  char not [GUID_TEXT];
  CHECK_CODE(shadows_delete(p, "x", false, false, NULL, &deleted, not ),
             SAROS_E_INVALIDARG);
  CHECK_CODE(shadows_delete(p, nothing, true, false, NULL, &deleted, not ),
             VSS_E_OBJECT_NOT_FOUND);
  wipe(record_text(b, "path")); /* gone already: that is no error */
  CHECK_INT(delete_it(p, b, false), 0);
  value_free(a), value_free(b);
  places_unref(p);
}

/* Three of a set, the second of which refuses. */
TEST(delete_stops_at_the_first_error) {
  places *p = open_places();
  char set[GUID_TEXT], not [GUID_TEXT];
  value *r[3];
  unsigned deleted;
  use_provider();
  new_id(set);
  for (int i = 0; i < 3; i++) {
    r[i] = record_new(set);
    struct timespec when = {.tv_sec = 1700000000 + i};
    record_stamp(r[i], &when);
    save(p, r[i]);
  }
  value *other = record_new(NULL);
  save(p, other);
  snprintf(refuse_destroy, sizeof refuse_destroy, "%s", id_of(r[1]));
  CHECK_CODE(shadows_delete(p, set, true, false, NULL, &deleted, not ),
             VSS_E_UNEXPECTED_PROVIDER_ERROR);
  CHECK_INT(deleted, 1);
  CHECK_TEXT(not, id_of(r[1]));
  CHECK(!is_made(r[0]) && is_made(r[1]) && is_made(r[2]));
  value *half = load(p, r[1]); /* somebody can go on with it */
  CHECK_TEXT(record_text(half, "state"), "deleting");
  value_free(half);
  CHECK_INT(delete_it(p, r[1], false), VSS_E_UNEXPECTED_PROVIDER_ERROR);
  refuse_destroy[0] = '\0';
  CHECK_CODE(shadows_delete(p, set, true, false, NULL, &deleted, not ), 0);
  CHECK_INT(deleted, 2);
  CHECK_TEXT(not, nothing);
  CHECK_INT(count_of(p), 1);
  CHECK_CODE(shadows_delete(p, set, true, false, NULL, &deleted, not ),
             VSS_E_OBJECT_NOT_FOUND);
  CHECK_TEXT(not, nothing);
  for (int i = 0; i < 3; i++) value_free(r[i]);
  value_free(other);
  places_unref(p);
}

TEST(delete_of_a_living_owner_needs_force) {
  made m = {.p = open_places(),
            .r = {record_new(NULL), record_new(NULL), record_new(NULL)}};
  use_provider();
  make_persistent(m.r[1]);
  record_put_text(m.r[2], "state", "preparing");
  stranger s = stranger_new(make_mine, &m);
  CHECK_INT(delete_it(m.p, m.r[0], false), VSS_E_VOLUME_IN_USE);
  CHECK_INT(delete_it(m.p, m.r[1], false), 0); /* an administrator may */
  CHECK_INT(delete_it(m.p, m.r[2], true), VSS_E_OBJECT_NOT_FOUND);
  CHECK(is_made(m.r[0]) && is_made(m.r[2]));
  CHECK_INT(delete_it(m.p, m.r[0], true), 0);
  stranger_end(&s);
  CHECK_INT(delete_it(m.p, m.r[2], false), 0); /* nobody makes it any more */
  CHECK_INT(count_of(m.p), 0);
  for (int i = 0; i < 3; i++) value_free(m.r[i]);
  places_unref(m.p);
}

TEST(delete_without_the_provider) {
  places *p = open_places();
  value *r = record_new(NULL);
  use_provider();
  record_put_text(r, "provider", "of tomorrow");
  save(p, r);
  CHECK_INT(delete_it(p, r, true), VSS_E_PROVIDER_NOT_REGISTERED);
  CHECK(is_made(r) && is_recorded(p, r));
  make_orphan(r);
  save(p, r);
  check_reap(p, 0, 1);
  CHECK(is_made(r) && is_recorded(p, r));
  value_free(r);
  places_unref(p);
}

/* A full disk is what deleting is for. */
TEST(delete_on_a_full_disk) {
  if (!has_mounts) SKIP("needs root and a mount namespace");
  static char block[4096];
  error *e = NULL;
  mkdir(in("full"), 0755);
  CHECK_INT(mount("t", in("full"), "tmpfs", 0, "size=64k"), 0);
  places *p = places_open(in("full/base"), &e);
  value *r = record_new(NULL);
  use_provider();
  save(p, r);
  int fd = open(in("full/rubbish"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  while (write(fd, block, sizeof block) > 0) continue;
  close(fd);
  CHECK_INT(delete_it(p, r, false), 0);
  CHECK(!is_made(r) && !is_recorded(p, r));
  value_free(r);
  places_unref(p);
  umount2(in("full"), MNT_DETACH);
}

static void *delete_in_thread(void *with) {
  deleting *d = with;
  d->code = delete_it(d->p, d->r, false);
  return NULL;
}

static int delete_in_process(void *with) {
  deleting *d = with;
  return delete_it(d->p, d->r, true) == VSS_E_PROVIDER_IN_USE ? 0 : 1;
}

/* One is in the middle of it; what do the others get? */
TEST(two_deleters) {
  deleting d = {.p = open_places(), .r = record_new(NULL)};
  pthread_t id;
  use_provider();
  save(d.p, d.r);
  atomic_store(&hold_destroy, true);
  CHECK_INT(pthread_create(&id, NULL, delete_in_thread, &d), 0);
  GATE_UNTIL(atomic_load(&inside_destroy) == 1);
  CHECK_INT(delete_it(d.p, d.r, true), VSS_E_PROVIDER_IN_USE);
  CHECK_INT(in_child(delete_in_process, &d), 0);
  check_reap(d.p, 0, 0); /* nor does the reaper interfere */
  atomic_store(&hold_destroy, false);
  pthread_join(id, NULL);
  CHECK_INT(d.code, 0);
  CHECK_INT(delete_it(d.p, d.r, true), VSS_E_OBJECT_NOT_FOUND);
  CHECK_INT(atomic_load(&seen_->destroyed), 1);
  value_free((value *)(uintptr_t)d.r);
  places_unref((places *)(uintptr_t)d.p);
}

static _Atomic int wins;

static void *race_thread(void *with) {
  deleting *d = with;
  uint32_t code = delete_it(d->p, d->r, true);
  if (code == 0) atomic_fetch_add(&wins, 1);
  CHECK(code == 0 || code == VSS_E_PROVIDER_IN_USE ||
        code == VSS_E_OBJECT_NOT_FOUND);
  return NULL;
}

TEST(many_deleters) {
  places *p = open_places();
  use_provider();
  for (long i = 0; i < gate_loops(60); i++) {
    pthread_t ids[4];
    deleting d = {.p = p, .r = record_new(NULL)};
    save(p, d.r);
    atomic_store(&wins, 0);
    for (int t = 0; t < 4; t++) pthread_create(&ids[t], NULL, race_thread, &d);
    for (int t = 0; t < 4; t++) pthread_join(ids[t], NULL);
    CHECK_INT(atomic_load(&wins), 1);
    CHECK_INT(atomic_load(&seen_->destroyed), i + 1);
    value_free((value *)(uintptr_t)d.r);
  }
  places_unref(p);
}


/* ------------------------------------------------------------------
** Without memory
** ---------------------------------------------------------------- */

static places *swept;

static bool query_all(void) {
  value *list = NULL;
  error *e = shadows_query(swept, NULL, NULL, &list);
  bool good = e == NULL;
  CHECK(good || e->code == SAROS_E_OUTOFMEMORY);
  error_unref(e);
  value_free(list);
  return good;
}

static bool reap_all(void) {
  value *report = NULL;
  error *e = shadows_reap(swept, NULL, &report);
  bool good = e == NULL && in_report(report, "failed") == 0;
  error_unref(e);
  value_free(report);
  return good && count_of(swept) == 0;
}

static bool delete_all(void) {
  unsigned deleted;
  char not [GUID_TEXT];
  error *e = NULL;
  value *list = record_list(swept, &e);
  bool good = list != NULL && list->count == 1;
  if (good) {
    char id[GUID_TEXT];
    memcpy(id, record_text(list->as.items[0], "set"), GUID_TEXT);
    e = shadows_delete(swept, id, true, false, NULL, &deleted, not );
    good = e == NULL;
  }
  error_unref(e);
  value_free(list);
  return good;
}

TEST(memory_runs_out) {
  swept = open_places();
  use_provider();
  value *r = record_new(NULL);
  save(swept, r);
  SWEEP(query_all, 200);
  SWEEP(delete_all, 0);
  CHECK(!is_made(r) && count_of(swept) == 0);
  value_free(r);
  r = record_new(NULL);
  make_orphan(r);
  save(swept, r);
  SWEEP(reap_all, 0);
  CHECK(!is_made(r) && count_of(swept) == 0);
  value_free(r);
  places_unref(swept);
}


static void all(void) {
  RUN(query_shows_what_is_complete);
  RUN(delete_one);
  RUN(delete_stops_at_the_first_error);
  RUN(delete_of_a_living_owner_needs_force);
  RUN(delete_without_the_provider);
  RUN(delete_on_a_full_disk);
  RUN(two_deleters);
  RUN(many_deleters);
  RUN(memory_runs_out);
}

int main(int argc, char **argv) {
  return record_main(argc, argv, all);
}
