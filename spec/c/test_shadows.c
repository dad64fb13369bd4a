/*
** Shadows as things that exist: looked up, deleted, and what dead owners left
** taken away, by one, by two at once, and killed at every step.
*/
#include "record_case.h"
#include "test_base_sweep.h"


static void save(const places *p, const value *r) {
  CHECK_CODE(record_save(p, r), 0);
}

static value *load(const places *p, const value *r) {
  error *e = NULL;
  value *found = record_load(p, id_of(r), &e);
  error_unref(e);
  return found;
}

static bool is_recorded(const places *p, const value *r) {
  value *found = load(p, r);
  value_free(found);
  return found != NULL;
}

static uint32_t count_of(const places *p) {
  error *e = NULL;
  value *list = record_list(p, &e);
  uint32_t count = list != NULL ? list->count : 9999;
  value_free(list);
  return count;
}

static const char nothing[] = "00000000-0000-0000-0000-000000000000";

/* One; the code, 0 for none. */
static uint32_t delete_it(const places *p, const value *r, bool force) {
  unsigned deleted;
  char not [GUID_TEXT];
  error *e = shadows_delete(p, id_of(r), false, force, NULL, &deleted, not );
  CHECK_INT(deleted, e == NULL);
  CHECK_TEXT(not, e == NULL ? nothing : id_of(r));
  CHECK(e == NULL || strlen(e->message) > 5);
  uint32_t code = e != NULL ? e->code : 0;
  error_unref(e);
  return code;
}

static value *reap(const places *p) {
  value *report = NULL;
  CHECK_CODE(shadows_reap(p, NULL, &report), 0);
  return report;
}

static unsigned in_report(const value *report, const char *list) {
  const value *v = value_get(report, list);
  return v != NULL ? v->count : 9999;
}

/* Reaps; how many were taken away, and how many could not be. */
static void check_reap(const places *p, unsigned taken, unsigned failed) {
  value *report = reap(p);
  CHECK_INT(in_report(report, "shadows"), taken);
  CHECK_INT(in_report(report, "failed"), failed);
  CHECK_INT(in_report(report, "thawed"), 0);
  value_free(report);
}


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
  CHECK_CODE(shadows_query(p, NULL, &list), 0);
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
  CHECK_CODE(shadows_query(p, record_text(a, "set"), &list), 0);
  CHECK_INT(list->count, 1);
  value_free(list);
  CHECK_CODE(shadows_query(p, record_text(b, "set"), &list), 0);
  CHECK_INT(list->count, 0);
  value_free(list);
  CHECK_CODE(shadows_query(p, "x", &list), SAROS_E_INVALIDARG);
  wipe(record_text(a, "path")); /* behind our back */
  CHECK_CODE(shadows_query(p, NULL, &list), 0);
  CHECK_TEXT(record_text(list->as.items[0], "missing"),
             "somebody took it away");
  value_free(list);
  record_put_text(a, "provider", "of tomorrow");
  save(p, a);
  CHECK_CODE(shadows_query(p, NULL, &list), 0);
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

typedef struct made {
  places *p;
  value *r[3];
} made;

/* Takes over what its parent made, and saves it. */
static int make_mine(void *with) {
  made *m = with;
  for (int i = 0; i < 3 && m->r[i] != NULL; i++) {
    owner_put(m->r[i]);
    error *e = record_save(m->p, m->r[i]);
    if (e != NULL) return 1;
  }
  return 0;
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

typedef struct deleting {
  const places *p;
  const value *r;
  uint32_t code;
} deleting;

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
** Reaping
** ---------------------------------------------------------------- */

TEST(reap_takes_what_is_left) {
  places *p = open_places();
  value *r[8];
  static const bool left[8] = {true,  false, true,  true,
                               false, true,  false, false};
  use_provider();
  for (int i = 0; i < 8; i++) r[i] = record_new(NULL);
  make_orphan(r[0]);                        /* auto-release */
  make_orphan(r[1]), make_persistent(r[1]); /* stays */
  make_orphan(r[2]), make_persistent(r[2]); /* half made */
  record_put_text(r[2], "state", "preparing");
  make_orphan(r[3]), make_persistent(r[3]); /* half deleted */
  record_put_text(r[3], "state", "deleting");
  /* r[4] is ours */
  make_orphan(r[5]);
  record_put_text(r[5], "state", "preparing");
  record_put_text(r[6], "state", "preparing"); /* ours, being made */
  record_put_text(r[7], "state", "deleting");  /* ours, being deleted */
  for (int i = 0; i < 8; i++) save(p, r[i]);
  check_reap(p, 4, 0);
  for (int i = 0; i < 8; i++) {
    if (is_made(r[i]) == left[i]) printf("of %d:\n", i);
    CHECK_INT(is_made(r[i]), !left[i]);
    CHECK_INT(is_recorded(p, r[i]), !left[i]);
  }
  check_reap(p, 0, 0);
  for (int i = 0; i < 8; i++) value_free(r[i]);
  places_unref(p);
}

TEST(reap_leaves_the_living) {
  made m = {.p = open_places(), .r = {record_new(NULL), record_new(NULL)}};
  use_provider();
  record_put_text(m.r[1], "state", "preparing");
  stranger s = stranger_new(make_mine, &m);
  check_reap(m.p, 0, 0);
  CHECK(is_made(m.r[0]) && is_made(m.r[1]));
  stranger_end(&s);
  check_reap(m.p, 2, 0);
  CHECK(!is_made(m.r[0]) && !is_made(m.r[1]));
  value_free(m.r[0]), value_free(m.r[1]);
  places_unref(m.p);
}

/* Its maker died between two members: the set was never whole. */
TEST(reap_of_half_a_set) {
  places *p = open_places();
  char set[GUID_TEXT];
  value *r[3];
  use_provider();
  new_id(set);
  for (int i = 0; i < 3; i++) {
    r[i] = record_new(i < 2 ? set : NULL);
    make_orphan(r[i]), make_persistent(r[i]);
    if (i == 1) record_put_text(r[i], "state", "preparing");
    save(p, r[i]);
  }
  check_reap(p, 2, 0);
  CHECK(!is_made(r[0]) && !is_made(r[1]) && is_made(r[2]));
  for (int i = 0; i < 3; i++) value_free(r[i]);
  places_unref(p);
}

/* One that cannot be taken away does not keep the others. */
TEST(reap_goes_on_after_a_failure) {
  places *p = open_places();
  value *r[3];
  use_provider();
  for (int i = 0; i < 3; i++) {
    r[i] = record_new(NULL);
    make_orphan(r[i]);
    save(p, r[i]);
  }
  snprintf(refuse_destroy, sizeof refuse_destroy, "%s", id_of(r[1]));
  value *report = reap(p);
  CHECK_INT(in_report(report, "shadows"), 2);
  CHECK_INT(in_report(report, "failed"), 1);
  const value *failed = value_get(report, "failed");
  CHECK_TEXT(record_text(failed->as.items[0], "id"), id_of(r[1]));
  CHECK_TEXT(record_text(failed->as.items[0], "message"), "it refuses");
  value_free(report);
  refuse_destroy[0] = '\0';
  check_reap(p, 1, 0);
  for (int i = 0; i < 3; i++) value_free(r[i]);
  places_unref(p);
}

static void *reap_in_thread(void *p) {
  value_free(reap(p));
  return NULL;
}

static uint32_t reap_cancelled(const places *p) {
  gated g;
  value *report = NULL;
  gated_start(&g, SAROS_FACADE_VSS);
  saros_op_cancel(g.op);
  error *e = shadows_reap(p, g.op, &report);
  uint32_t code = e != NULL ? e->code : 0;
  CHECK(report != NULL);
  value_free(report);
  error_unref(e);
  saros_op_finish(g.op, SAROS_E_CANCELLED, NULL);
  gated_done(&g);
  return code;
}

/* One is at work; another waits its turn, and can be called off. */
TEST(reapers_take_turns) {
  places *p = open_places();
  value *r = record_new(NULL);
  pthread_t ids[3];
  use_provider();
  make_orphan(r);
  save(p, r);
  atomic_store(&hold_destroy, true);
  CHECK_INT(pthread_create(&ids[0], NULL, reap_in_thread, p), 0);
  GATE_UNTIL(atomic_load(&inside_destroy) == 1);
  CHECK_INT(reap_cancelled(p), SAROS_E_CANCELLED);
  for (int i = 1; i < 3; i++)
    CHECK_INT(pthread_create(&ids[i], NULL, reap_in_thread, p), 0);
  atomic_store(&hold_destroy, false);
  for (int i = 0; i < 3; i++) pthread_join(ids[i], NULL);
  CHECK_INT(atomic_load(&seen_->destroyed), 1);
  CHECK_INT(count_of(p), 0);
  save(p, r);
  CHECK_INT(reap_cancelled(p), SAROS_E_CANCELLED); /* before anything */
  CHECK(is_recorded(p, r));
  value_free(r);
  places_unref(p);
}


/* ------------------------------------------------------------------
** Sudden ends
** ---------------------------------------------------------------- */

static int delete_or_fail(void *with) {
  deleting *d = with;
  return delete_it(d->p, d->r, false) != 0;
}

static int delete_and_die(void *with) {
  atomic_store(&seen_->kill_in_destroy, 1);
  return delete_or_fail(with);
}

/* In the middle of destroying: the next one goes on with it. */
TEST(dies_while_it_destroys) {
  deleting d = {.p = open_places(), .r = record_new(NULL)};
  use_provider();
  make_persistent((value *)(uintptr_t)d.r);
  save(d.p, d.r);
  CHECK_INT(in_child(delete_and_die, &d), 1000 + SIGKILL);
  atomic_store(&seen_->kill_in_destroy, 0);
  CHECK(is_made(d.r));
  value *half = load(d.p, d.r);
  CHECK_TEXT(record_text(half, "state"), "deleting");
  value_free(half);
  check_reap(d.p, 1, 0); /* although its owner, this process, lives */
  CHECK(!is_made(d.r) && !is_recorded(d.p, d.r));
  value_free((value *)(uintptr_t)d.r);
  places_unref((places *)(uintptr_t)d.p);
}

/* Killed between any two system calls: it is there and known, or it is known
   to be half gone, or it is gone and not known. */
TEST(killed_while_it_deletes) {
  if (!can_step()) SKIP("valgrind's children cannot be stepped");
  deleting d = {.p = open_places()};
  unsigned n = 1, whole = 0, half = 0, gone = 0;
  use_provider();
  for (bool ended = false; !ended && n < 5000; n++) {
    value *r = record_new(NULL);
    d.r = r;
    make_persistent(r);
    save(d.p, r);
    ended = killed_at(n, delete_or_fail, &d);
    value *found = load(d.p, r);
    if (found == NULL) {
      gone++;
      CHECK(!is_made(r));
    } else if (record_is(found, "created")) {
      whole++;
      CHECK(there(in("shadow-%s/content", id_of(r))));
      check_reap(d.p, 0, 0);
      CHECK(is_made(r));
      CHECK_INT(delete_it(d.p, r, false), 0);
    } else {
      half++;
      CHECK_TEXT(record_text(found, "state"), "deleting");
      check_reap(d.p, 1, 0);
    }
    CHECK(!is_made(r) && !is_recorded(d.p, r));
    value_free(found);
    value_free(r);
  }
  CHECK(whole > 10 && half > 5 && gone > 2);
  places_unref((places *)(uintptr_t)d.p);
}

static int reap_or_fail(void *with) {
  deleting *d = with;
  value *report = NULL;
  return shadows_reap(d->p, NULL, &report) != NULL;
}

TEST(killed_while_it_reaps) {
  if (!can_step()) SKIP("valgrind's children cannot be stepped");
  deleting d = {.p = open_places()};
  unsigned n = 1;
  use_provider();
  for (bool ended = false; !ended && n < 5000; n += 3) {
    value *r = record_new(NULL), *other = record_new(NULL);
    make_orphan(r);
    save(d.p, r), save(d.p, other);
    ended = killed_at(n, reap_or_fail, &d);
    value_free(reap(d.p));
    CHECK(!is_made(r) && !is_recorded(d.p, r));
    CHECK(is_made(other) && is_recorded(d.p, other));
    CHECK_INT(delete_it(d.p, other, false), 0);
    value_free(r), value_free(other);
  }
  CHECK(n > 100);
  places_unref((places *)(uintptr_t)d.p);
}


/* ------------------------------------------------------------------
** Without memory
** ---------------------------------------------------------------- */

static places *swept;

static bool query_all(void) {
  value *list = NULL;
  error *e = shadows_query(swept, NULL, &list);
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
  RUN(reap_takes_what_is_left);
  RUN(reap_leaves_the_living);
  RUN(reap_of_half_a_set);
  RUN(reap_goes_on_after_a_failure);
  RUN(reapers_take_turns);
  RUN(dies_while_it_destroys);
  RUN(killed_while_it_deletes);
  RUN(killed_while_it_reaps);
  RUN(memory_runs_out);
}

int main(int argc, char **argv) {
  return record_main(argc, argv, all);
}
