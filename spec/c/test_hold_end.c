/*
** Holding file systems still: without a guard, in a forked child, killed at
** every
** moment, without memory.
**
** not under valgrind: its children are forked or killed; ASan runs it
*/
#include "hold_case.h"


/* ------------------------------------------------------------------
** Guards, forks, kills, memory
** ---------------------------------------------------------------- */

static void without_guard(bool rehearsal) {
  scene s = {.count = 0};
  driver d;
  CHECK_INT(engine_acquire(), 0);
  rehearsing = rehearsal;
  add(&s, volumes[EXT4].path, &by_caller);
  hold *h = plan(&s, LONG);
  int fd = pidfd_open(guard_pid(h->guard), 0);
  CHECK_INT(kill(guard_pid(h->guard), SIGKILL), 0);
  CHECK(await_fd(fd));
  close(fd);
  drive(&d, h);
  outcome o = finish(&d, false);
  CHECK_INT(o.freeze, SAROS_E_REFUSED);
  CHECK(says(o.said, "guard"));
  CHECK_INT(o.release, 0);
  CHECK(s.shadows[0].frozen_at == 0);
  engine_release();
  end_scene(&s);
}

WHOLE(without_its_guard_nothing_is_frozen) {
  without_guard(false);
}

WHOLE(without_its_guard_nothing_is_rehearsed) {
  without_guard(true);
}

/* It hangs as a whole: now it is the guard that thaws. */
static int hang(void) {
  scene s = {.count = 0};
  driver d;
  add(&s, volumes[EXT4].path, &by_caller);
  drive_until_held(&d, &s);
  raise(SIGSTOP);
  go_on(&d);
  outcome o = finish(&d, false);
  end_scene(&s);
  return o.release == VSS_E_HOLD_WRITES_TIMEOUT && check_bad == 0 ? 0 : 3;
}

WHOLE(the_whole_process_hangs) {
  int status;
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    alarm(GATE_BOUND_MS / 1000);
    check_bad = 0;
    _exit(hang());
  }
  CHECK_INT(waitpid(pid, &status, WUNTRACED), pid);
  CHECK(WIFSTOPPED(status));
  GATE_UNTIL(!is_frozen(EXT4));
  kill(pid, SIGCONT);
  CHECK_INT(waitpid(pid, &status, 0), pid);
  CHECK_INT(status, 0);
}

WHOLE(in_a_forked_child_it_is_the_parents) {
  scene s = {.count = 0};
  driver d;
  add(&s, volumes[EXT4].path, &by_caller);
  hold *h = plan(&s, LONG);
  drive(&d, h);
  until_held(&d);
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    hold_free(h);
    _exit(fd_count() == 0 ? 0 : 1);
  }
  int status = -1;
  CHECK_INT(waitpid(pid, &status, 0), pid);
  CHECK_INT(status, 0);
  CHECK_INT(freeze(volumes[EXT4].fd), EBUSY);
  finish_well(&d);
  end_scene(&s);
}

/* SIGKILL at every moment, of each file system. */
static hold_moment fatal_moment;
static int fatal_volume;

static void die_there(const char *path, hold_moment moment) {
  if (moment == fatal_moment && strcmp(path, volumes[fatal_volume].path) == 0)
    raise(SIGKILL);
}

static int hold_till_death(void) {
  scene s = {.count = 0};
  driver d;
  hold_hook = die_there;
  add(&s, volumes[INNER].path, &by_caller);
  add(&s, volumes[XFS].path, &by_caller);
  add(&s, volumes[EXT4].path, &by_caller);
  drive(&d, plan(&s, LONG));
  until_held(&d);
  finish_well(&d);
  return 9; /* it should not have come to that */
}

static void await_no_records(void) {
  GATE_UNTIL(records() == 0); /* the guard has done all it had to do */
  GATE_UNTIL(no_children());
}

WHOLE(killed_at_every_moment) {
  rehearsing = true;
  for (int which = 0; which < VOLUMES; which++) {
    for (int moment = MOMENT_FLUSH; moment <= MOMENT_REHEARSAL_ENDS; moment++) {
      fatal_volume = which;
      fatal_moment = (hold_moment)moment;
      CHECK_INT(in_child(hold_till_death), SIGKILL);
      await_no_records();
      for (int i = 0; i < VOLUMES; i++) {
        if (!is_frozen(i)) continue;
        printf("volume %d, moment %d: %d stays frozen\n", which, moment, i);
        check_bad++;
        thaw_all();
      }
    }
  }
}

/* And at any other time. */
static int hold_for_ever(void) {
  for (;;) {
    scene s = {.count = 0};
    driver d;
    add(&s, volumes[XFS].path, &by_caller);
    add(&s, volumes[EXT4].path, &by_caller);
    drive(&d, plan(&s, LONG));
    until_held(&d);
    finish_well(&d);
    end_scene(&s);
    if (check_bad > 0) _exit(3);
  }
}

WHOLE(killed_at_any_time) {
  rehearsing = true;
  uint64_t seed = gate_seed("killed_at_any_time");
  for (long i = gate_loops(20); i > 0; i--) {
    fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) _exit(hold_for_ever());
    struct timespec t = {.tv_nsec = (long)gate_below(&seed, 150000000)};
    nanosleep(&t, NULL);
    kill(pid, SIGKILL);
    int status = 0;
    CHECK_INT(waitpid(pid, &status, 0), pid);
    CHECK_INT(status, SIGKILL);
    await_no_records();
    for (int v = EXT4; v <= XFS; v++) CHECK(!is_frozen(v));
  }
}

TEST(memory_may_run_out_anywhere) {
  NEEDS_VOLUMES;
  scene s = {.count = 0};
  hold_options o = {.runtime = runtime, .state = state, .seconds = LONG};
  CHECK_INT(engine_acquire(), 0);
  add(&s, volumes[INNER].path, &by_caller);
  add(&s, volumes[XFS].path, &by_caller);
  add(&s, volumes[XFS].path, &by_nobody);
  hold *h = plan(&s, LONG); /* the threads stay */
  if (h != NULL) hold_free(h);
  gate_counts before = gate_count();
  bool done = false;
  long n = 0;
  for (; n < 3000 && !done; n++) {
    error *e;
    mem_fail_at(n);
    h = plan_with(&s, &o, &e);
    mem_fail_at(0);
    done = h != NULL && n > 0;
    if (h != NULL) hold_free(h);
    if (h == NULL && e->code != SAROS_E_OUTOFMEMORY)
      printf("request %ld: %s\n", n, e->message);
    if (h == NULL) CHECK_INT(e->code, SAROS_E_OUTOFMEMORY);
    error_unref(e);
    CHECK_INT(records(), 0);
    CHECK(gate_back_to(before));
    CHECK(waitpid(-1, NULL, WNOHANG) < 0);
    if (check_bad > 0) break;
  }
  CHECK(done);
  printf("%ld requests for memory\n", n - 1);
  engine_release();
  end_scene(&s);
}

static void all(void) {
  hold_case_open();
  GATE_RUN(without_its_guard_nothing_is_frozen);
  GATE_RUN(without_its_guard_nothing_is_rehearsed);
  GATE_RUN(the_whole_process_hangs);
  GATE_RUN(in_a_forked_child_it_is_the_parents);
  GATE_RUN(killed_at_every_moment);
  GATE_RUN(killed_at_any_time);
  GATE_RUN(memory_may_run_out_anywhere);
}

int main(int argc, char **argv) {
  return freeze_case(argc, argv, all);
}
