/*
** Holding file systems still: what takes too long, is cancelled, or is thawed
** by
** another; rehearsals; what lies on something else that is held, too.
**
** not under valgrind: its children are forked or killed; ASan runs it
*/
#include "hold_case.h"


/* ------------------------------------------------------------------
** Limits
** ---------------------------------------------------------------- */

/* The machine does nothing about it: it waits for something else. */
WHOLE(held_for_too_long) {
  scene s = {.count = 0};
  driver d;
  add(&s, volumes[EXT4].path, &by_caller);
  add(&s, volumes[XFS].path, &by_caller);
  drive_until_held(&d, &s);
  GATE_UNTIL(!is_frozen(EXT4) && !is_frozen(XFS));
  CHECK(!op_is_over(d.m.op));
  go_on(&d);
  outcome o = finish(&d, false);
  CHECK_INT(o.freeze, 0);
  CHECK_INT(o.release, VSS_E_HOLD_WRITES_TIMEOUT);
  end_scene(&s);
}

WHOLE(thawed_by_another) {
  scene s = {.count = 0};
  driver d;
  add(&s, volumes[EXT4].path, &by_caller);
  add(&s, volumes[XFS].path, &by_caller);
  drive(&d, plan(&s, LONG));
  until_held(&d);
  CHECK_INT(thaw(volumes[EXT4].fd), 0);
  go_on(&d);
  outcome o = finish(&d, false);
  CHECK_INT(o.release, VSS_E_HOLD_WRITES_TIMEOUT);
  CHECK(says(o.said, volumes[EXT4].path));
  end_scene(&s);
}

/* It must not be thawed by a rehearsal either. */
WHOLE(frozen_by_somebody_else_when_rehearsed) {
  scene s = {.count = 0};
  driver d;
  rehearsing = true;
  add(&s, volumes[XFS].path, &by_caller);
  add(&s, volumes[EXT4].path, &by_caller);
  CHECK_INT(freeze(volumes[EXT4].fd), 0);
  drive(&d, plan(&s, LONG));
  outcome o = finish(&d, false);
  CHECK_INT(o.freeze, VSS_E_VOLUME_IN_USE);
  CHECK(says(o.said, "by somebody else"));
  CHECK_INT(o.release, 0);
  CHECK(is_frozen(EXT4));
  CHECK(!is_frozen(XFS));
  CHECK_INT(thaw(volumes[EXT4].fd), 0);
  CHECK(s.shadows[0].frozen_at == 0);
  end_scene(&s);
}

static _Atomic int rehearsed;

static void count_rehearsals(const char *path, hold_moment moment) {
  (void)path;
  if (moment == MOMENT_REHEARSED) rehearsed++;
}

/* An image and what it lies on, too. */
WHOLE(rehearsed_and_held) {
  scene s = {.count = 0};
  driver d;
  rehearsing = true;
  rehearsed = 0;
  hold_hook = count_rehearsals;
  for (int i = 0; i < VOLUMES; i++) add(&s, volumes[i].path, &by_caller);
  drive(&d, plan(&s, LONG));
  until_held(&d);
  CHECK_INT(rehearsed, VOLUMES);
  for (int i = 0; i < VOLUMES; i++) CHECK(is_frozen(i));
  finish_well(&d);
  for (int i = 0; i < VOLUMES; i++)
    CHECK(s.shadows[i].frozen_at > 0 &&
          s.shadows[i].thawed_at >= s.shadows[i].frozen_at &&
          s.shadows[i].rehearsed > 0);
  end_scene(&s);
}

/* The lane's thread is held up at this moment until the gate is opened. */
static gated late;
static hold_moment late_moment;
static int late_volume;

static void hold_up(const char *path, hold_moment moment) {
  if (moment != late_moment || strcmp(path, volumes[late_volume].path) != 0)
    return;
  gate_pulse(&late, &late.entered);
  pthread_mutex_lock(&late.lock);
  while (!late.open) pthread_cond_wait(&late.moved, &late.lock);
  pthread_mutex_unlock(&late.lock);
}

static bool has_given_up(hold *h) {
  pthread_mutex_lock(&h->lock);
  bool released = h->released;
  pthread_mutex_unlock(&h->lock);
  return released;
}

static void too_late_at(hold_moment moment, bool cancelled) {
  scene s = {.count = 0};
  driver d;
  gated_kind(&late, SAROS_FACADE_VSS, 0);
  late_moment = moment;
  late_volume = EXT4;
  hold_hook = hold_up;
  add(&s, volumes[EXT4].path, &by_caller);
  add(&s, volumes[XFS].path, &by_caller);
  drive(&d, plan(&s, LONG));
  CHECK(gated_await(&late, &late.entered, 1));
  if (cancelled)
    saros_cancel(d.m.op);
  else
    time_is_up(d.h);
  /* The other one is let go, though this one is not back. */
  GATE_UNTIL(has_given_up(d.h));
  GATE_UNTIL(!is_frozen(XFS));
  GATE_UNTIL(atomic_load(&d.h->stops[0].state) != STOP_FREEZING);
  CHECK(!op_is_over(d.m.op)); /* it waits for what is in the kernel */
  if (moment == MOMENT_FROZEN) CHECK(is_frozen(EXT4));
  gated_open(&late, 0);
  outcome o = finish(&d, false);
  CHECK_INT(o.freeze, cancelled ? 0 : VSS_E_FLUSH_WRITES_TIMEOUT);
  CHECK_INT(o.release, 0);
  end_scene(&s);
}

WHOLE(a_flush_that_takes_too_long) {
  too_late_at(MOMENT_FLUSH, false);
}

WHOLE(a_freeze_that_begins_too_late) {
  too_late_at(MOMENT_FREEZE, false);
}

WHOLE(a_freeze_that_comes_back_too_late) {
  too_late_at(MOMENT_FROZEN, false);
}

WHOLE(cancelled_while_it_flushes) {
  too_late_at(MOMENT_FLUSH, true);
}

WHOLE(cancelled_while_it_freezes) {
  too_late_at(MOMENT_FROZEN, true);
}

/* Rehearsed, those of one depth are thawed when all of them are frozen. */
static driver together;
static _Atomic int thawed_early;

static int state_of(size_t i) {
  return atomic_load(&together.h->stops[i].state);
}

static void meet_in_rehearsal(const char *path, hold_moment moment) {
  bool first = strcmp(path, together.h->stops[0].path) == 0;
  if (moment == MOMENT_REHEARSED && first)
    GATE_UNTIL(state_of(1) == STOP_FROZEN);
  if (moment != MOMENT_REHEARSAL_ENDS) return;
  if (state_of(first ? 1 : 0) == STOP_FREEZING) thawed_early++;
}

WHOLE(a_rehearsal_ends_together) {
  scene s = {.count = 0};
  rehearsing = true;
  thawed_early = 0;
  hold_hook = meet_in_rehearsal;
  hold_patience = UINT64_MAX / 4;
  add(&s, volumes[EXT4].path, &by_caller);
  add(&s, volumes[XFS].path, &by_caller);
  hold *h = plan(&s, LONG);
  together.h = h; /* before any thread looks */
  drive(&together, h);
  until_held(&together);
  CHECK_INT(thawed_early, 0);
  finish_well(&together);
  end_scene(&s);
}

WHOLE(a_rehearsal_waits_for_none_for_ever) {
  scene s = {.count = 0};
  driver d;
  gated_kind(&late, SAROS_FACADE_VSS, 0);
  rehearsing = true;
  late_moment = MOMENT_REHEARSED;
  late_volume = EXT4;
  hold_hook = hold_up;
  hold_patience = 1000000;
  for (int i = 0; i < VOLUMES; i++) add(&s, volumes[i].path, &by_caller);
  hold *h = plan(&s, LONG);
  drive(&d, h);
  CHECK(gated_await(&late, &late.entered, 1));
  for (size_t i = 0; i < h->count; i++)
    if (strcmp(h->stops[i].path, volumes[EXT4].path) != 0)
      GATE_UNTIL(atomic_load(&h->stops[i].state) == STOP_THAWED);
  CHECK(!atomic_load(&d.held));
  CHECK_INT(freeze(volumes[EXT4].fd), EBUSY);
  gated_open(&late, 0);
  until_held(&d);
  finish_well(&d);
  end_scene(&s);
}

WHOLE(a_rehearsal_that_takes_too_long) {
  rehearsing = true;
  too_late_at(MOMENT_REHEARSED, false);
}

WHOLE(cancelled_while_it_rehearses) {
  rehearsing = true;
  too_late_at(MOMENT_REHEARSED, true);
}

/* What is still being frozen, and may be for long, is not waited for by what
   lies on it and is frozen already. */
static void outer_too_late_at(hold_moment moment, bool cancelled) {
  scene s = {.count = 0};
  driver d;
  gated_kind(&late, SAROS_FACADE_VSS, 0);
  late_moment = moment;
  late_volume = XFS;
  hold_hook = hold_up;
  hold_patience = UINT64_MAX / 4;
  add(&s, volumes[INNER].path, &by_caller);
  add(&s, volumes[XFS].path, &by_caller);
  drive(&d, plan(&s, LONG));
  CHECK(gated_await(&late, &late.entered, 1));
  if (cancelled)
    saros_cancel(d.m.op);
  else
    time_is_up(d.h);
  GATE_UNTIL(has_given_up(d.h));
  if (moment == MOMENT_FREEZE) /* else it sleeps in the kernel: see below */
    GATE_UNTIL(atomic_load(&d.h->stops[0].state) == STOP_THAWED);
  CHECK(!op_is_over(d.m.op));
  gated_open(&late, 0);
  outcome o = finish(&d, false);
  CHECK_INT(o.freeze, cancelled ? 0 : VSS_E_FLUSH_WRITES_TIMEOUT);
  if (!cancelled) CHECK(says(o.said, volumes[XFS].path));
  CHECK_INT(o.release, 0);
  end_scene(&s);
}

WHOLE(what_lies_below_freezes_too_late) {
  outer_too_late_at(MOMENT_FREEZE, false);
}

WHOLE(what_lies_below_comes_back_too_late) {
  outer_too_late_at(MOMENT_FROZEN, false);
}

WHOLE(cancelled_while_what_lies_below_freezes) {
  outer_too_late_at(MOMENT_FREEZE, true);
}

WHOLE(cancelled_while_what_lies_below_comes_back) {
  outer_too_late_at(MOMENT_FROZEN, true);
}

/* All three are held; the thaw of one sleeps. */
static driver held_up;

static void hold_up_the_thaw_of(int which, scene *s) {
  gated_kind(&late, SAROS_FACADE_VSS, 0);
  late_moment = MOMENT_THAW;
  late_volume = which;
  for (int i = 0; i < VOLUMES; i++) add(s, volumes[i].path, &by_caller);
  drive(&held_up, plan(s, LONG));
  until_held(&held_up);
  go_on(&held_up);
  CHECK(gated_await(&late, &late.entered, 1));
}

static stop *of_hold(const hold *h, int which) {
  for (size_t i = 0; i < h->count; i++)
    if (strcmp(h->stops[i].path, volumes[which].path) == 0) return &h->stops[i];
  CHECK(false);
  return &h->stops[0];
}

static stop *stop_at(int which) {
  return of_hold(held_up.h, which);
}

static void finish_held_up(scene *s) {
  CHECK(!op_is_over(held_up.m.op));
  gated_open(&late, 0);
  outcome o = finish(&held_up, true);
  CHECK_INT(o.freeze, 0);
  CHECK_INT(o.release, 0);
  end_scene(s);
}

WHOLE(a_thaw_that_sleeps_holds_up_none_beside_it) {
  scene s = {.count = 0};
  hold_hook = hold_up;
  hold_patience = UINT64_MAX / 4;
  hold_up_the_thaw_of(EXT4, &s);
  GATE_UNTIL(atomic_load(&stop_at(XFS)->state) == STOP_THAWED);
  CHECK_INT(freeze(volumes[EXT4].fd), EBUSY);
  finish_held_up(&s);
}

/* The deepest begins when nothing that it may lie on is frozen. */
static _Atomic int begun_well, begun_early;

static void look_below(const char *path, hold_moment moment) {
  hold_up(path, moment);
  if (moment != MOMENT_THAW || strcmp(path, volumes[INNER].path) != 0) return;
  bool all = atomic_load(&stop_at(XFS)->state) == STOP_THAWED &&
             atomic_load(&stop_at(EXT4)->state) == STOP_THAWED;
  atomic_fetch_add(all ? &begun_well : &begun_early, 1);
}

WHOLE(what_lies_below_is_thawed_first) {
  scene s = {.count = 0};
  begun_well = begun_early = 0;
  hold_hook = look_below;
  hold_patience = UINT64_MAX / 4;
  hold_up_the_thaw_of(XFS, &s);
  GATE_UNTIL(atomic_load(&stop_at(EXT4)->state) == STOP_THAWED);
  CHECK_INT(atomic_load(&stop_at(INNER)->state), STOP_FROZEN);
  finish_held_up(&s);
  CHECK_INT(begun_well, 1);
  CHECK_INT(begun_early, 0);
}

/* A disk that never thaws must not keep what lies on another one. */
WHOLE(what_lies_below_is_not_waited_for_for_ever) {
  scene s = {.count = 0};
  begun_well = begun_early = 0;
  hold_hook = look_below;
  hold_patience = 1000000;
  hold_up_the_thaw_of(EXT4, &s);
  GATE_UNTIL(atomic_load(&stop_at(INNER)->state) == STOP_THAWED);
  CHECK_INT(freeze(volumes[EXT4].fd), EBUSY);
  CHECK_INT(begun_well, 0);
  CHECK_INT(begun_early, 1);
  finish_held_up(&s);
}

/* The machine does nothing about it here either. */
WHOLE(stacked_and_held_for_too_long) {
  scene s = {.count = 0};
  driver d;
  memset(story, 0, sizeof story);
  hold_hook = tell;
  hold_patience = UINT64_MAX / 4;
  add(&s, volumes[INNER].path, &by_caller);
  add(&s, volumes[XFS].path, &by_caller);
  drive(&d, plan(&s, LONG));
  until_held(&d);
  time_is_up(d.h);
  GATE_UNTIL(atomic_load(&d.h->stops[0].state) == STOP_THAWED);
  CHECK(!op_is_over(d.m.op));
  CHECK_TEXT(story, "fIFIfXFXtXtI");
  go_on(&d);
  outcome o = finish(&d, false);
  CHECK_INT(o.freeze, 0);
  CHECK_INT(o.release, VSS_E_HOLD_WRITES_TIMEOUT);
  end_scene(&s);
}

WHOLE(cancelled_while_it_holds) {
  scene s = {.count = 0};
  driver d;
  add(&s, volumes[INNER].path, &by_caller);
  add(&s, volumes[XFS].path, &by_caller);
  drive(&d, plan(&s, LONG));
  until_held(&d);
  saros_cancel(d.m.op);
  outcome o = finish(&d, true);
  CHECK_INT(o.release, 0);
  end_scene(&s);
}

/* What lies below was frozen by somebody, so that the kernel itself does not
   come back. */
WHOLE(a_disk_that_does_not_answer) {
  scene s = {.count = 0};
  driver d;
  char name[400];
  snprintf(name, sizeof name, "%s/dirty", volumes[INNER].path);
  int fd = open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  CHECK(write(fd, name, sizeof name) > 0);
  close(fd);
  CHECK_INT(freeze(volumes[XFS].fd), 0);
  add(&s, volumes[INNER].path, &by_caller);
  add(&s, volumes[EXT4].path, &by_caller);
  drive(&d, plan(&s, LONG));
  GATE_UNTIL(atomic_load(&of_hold(d.h, EXT4)->job.back)); /* it answers */
  time_is_up(d.h);
  GATE_UNTIL(has_given_up(d.h));
  CHECK(!is_frozen(EXT4));
  CHECK_INT(thaw(volumes[XFS].fd), 0);
  outcome o = finish(&d, false);
  CHECK_INT(o.freeze, VSS_E_FLUSH_WRITES_TIMEOUT);
  CHECK(says(o.said, volumes[INNER].path));
  CHECK_INT(o.release, 0);
  end_scene(&s);
}

static void all(void) {
  hold_case_open();
  GATE_RUN(frozen_by_somebody_else_when_rehearsed);
  GATE_RUN(rehearsed_and_held);
  GATE_RUN(a_rehearsal_ends_together);
  GATE_RUN(a_rehearsal_waits_for_none_for_ever);
  GATE_RUN(a_rehearsal_that_takes_too_long);
  GATE_RUN(cancelled_while_it_rehearses);
  GATE_RUN(held_for_too_long);
  GATE_RUN(thawed_by_another);
  GATE_RUN(a_flush_that_takes_too_long);
  GATE_RUN(a_freeze_that_begins_too_late);
  GATE_RUN(a_freeze_that_comes_back_too_late);
  GATE_RUN(cancelled_while_it_flushes);
  GATE_RUN(cancelled_while_it_freezes);
  GATE_RUN(what_lies_below_freezes_too_late);
  GATE_RUN(what_lies_below_comes_back_too_late);
  GATE_RUN(cancelled_while_what_lies_below_freezes);
  GATE_RUN(cancelled_while_what_lies_below_comes_back);
  GATE_RUN(a_thaw_that_sleeps_holds_up_none_beside_it);
  GATE_RUN(what_lies_below_is_thawed_first);
  GATE_RUN(what_lies_below_is_not_waited_for_for_ever);
  GATE_RUN(stacked_and_held_for_too_long);
  GATE_RUN(cancelled_while_it_holds);
  GATE_RUN(a_disk_that_does_not_answer);
}

int main(int argc, char **argv) {
  return freeze_case(argc, argv, all);
}
