/*
** What dead owners left, taken away: by one, by several at once, and by those
** who are killed over it at every step.
**
** not under valgrind: its children are forked or killed; ASan runs it
*/
#include "shadows_case.h"


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


/* What is frozen comes first; here only a record of it that is none. */
TEST(reap_looks_for_the_frozen) {
  places *p = open_places();
  char path[900];
  use_provider();
  snprintf(path, sizeof path, "%s/frozen", p->runtime);
  CHECK_INT(mkdir(path, 0700), 0);
  snprintf(path, sizeof path, "%s/frozen/1.json", p->runtime);
  put_file(path, "{}", 2);
  value *report = reap(p);
  const value *thawed = value_get(report, "thawed");
  CHECK_INT(in_report(report, "thawed"), 1);
  if (thawed != NULL && thawed->count == 1)
    CHECK(strstr(value_chars(thawed->as.items[0], ""), "1.json") != NULL);
  value_free(report);
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
      CHECK(there(in("%s/content", id_of(r))));
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


static void all(void) {
  RUN(reap_takes_what_is_left);
  RUN(reap_leaves_the_living);
  RUN(reap_of_half_a_set);
  RUN(reap_goes_on_after_a_failure);
  RUN(reapers_take_turns);
  RUN(reap_looks_for_the_frozen);
  RUN(dies_while_it_destroys);
  RUN(killed_while_it_deletes);
  RUN(killed_while_it_reaps);
}

int main(int argc, char **argv) {
  return record_main(argc, argv, all);
}
