/*
** Processes held still, against the real kernel: those that ran in between,
** those that several hold, and those that have lost their parent.
**
** not under valgrind: its children are forked or killed; ASan runs it
*/
#include "still_case.h"


/* ------------------------------------------------------------------
** Who ran in between
** ---------------------------------------------------------------- */

static void stopped_again(void (*body)(void)) {
  pid_t app = start_app(body), other = start_app(app_waits);
  saros_op *op = BEGIN("{\"pids\": [%d, %d]", other, app);
  CHECK_INT(end_of(op), SAROS_S_OK);
  kill(app, SIGCONT);
  GATE_UNTIL(runs(app));
  kill(app, SIGSTOP);
  GATE_UNTIL(is_stopped(app));
  error *e = NULL;
  saros_op *release = still_release(op, &e);
  CHECK_INT(end_of(release), SAROS_E_CHANGED);
  char who[100];
  snprintf(who, sizeof who, "process %d (test_still_agai) ran while", app);
  CHECK(says(release, who));
  CHECK(runs(app) && runs(other));
  CHECK_INT(records(NULL, 0), 0);
  saros_op_unref(release);
  saros_op_unref(op);
  end_apps();
}

TEST(one_is_continued_and_stopped_again) {
  stopped_again(app_waits);
  stopped_again(app_with_threads);
}

TEST(one_that_was_stopped_before_is_continued_and_stopped_again) {
  pid_t app = start_app(app_waits), before = start_app(app_waits);
  kill(before, SIGSTOP);
  GATE_UNTIL(is_stopped(before));
  saros_op *op = BEGIN("{\"pids\": [%d, %d]", app, before);
  CHECK_INT(end_of(op), SAROS_S_OK);
  kill(before, SIGCONT);
  GATE_UNTIL(runs(before));
  kill(before, SIGSTOP);
  GATE_UNTIL(is_stopped(before));
  CHECK_INT(release_of(op), SAROS_E_CHANGED);
  CHECK(runs(app) && is_stopped(before));
  saros_op_unref(op);
  end_apps();
}

static void *thread_is_busy(void *unused) {
  for (volatile unsigned n = 0;; n++)
    if (n % 1000 == 0 && kill(getpid(), 0) != 0) return unused;
}

static void app_is_busy(void) {
  pthread_t id;
  for (int i = 0; i < 3; i++) pthread_create(&id, NULL, thread_is_busy, NULL);
  thread_is_busy(NULL);
}

/* A processor that many want: nobody is accused who was only slow to stop. */
TEST(who_stands_is_not_accused) {
  pid_t one = start_app(app_is_busy), two = start_app(app_is_busy);
  start_app(app_is_busy); /* goes on */
  for (int i = 0; i < 15; i++) {
    saros_op *op = BEGIN("{\"pids\": [%d, %d]", one, two);
    CHECK_INT(end_of(op), SAROS_S_OK);
    CHECK_INT(release_of(op), SAROS_S_OK);
    saros_op_unref(op);
  }
  end_apps();
}


/* ------------------------------------------------------------------
** Whom several hold
** ---------------------------------------------------------------- */

TEST(two_hold_one) {
  gate_counts before = gate_count();
  for (int way = 0; way < 4; way++) {
    pid_t app = start_app(app_waits), other = start_app(app_waits);
    saros_op *first = BEGIN("{\"pids\": [%d]", app);
    CHECK_INT(end_of(first), SAROS_S_OK);
    saros_op *second = BEGIN("{\"pids\": [%d, %d]", app, other);
    CHECK_INT(end_of(second), SAROS_S_OK);
    CHECK_INT(listed(first, "pids"), 1);
    CHECK_INT(listed(second, "pids"), 2);
    CHECK_INT(listed(second, "before"), 0);
    saros_op *early = way % 2 == 0 ? first : second;
    saros_op *late = way % 2 == 0 ? second : first;
    if (way < 2) {
      CHECK_INT(release_of(early), SAROS_S_OK);
      saros_op_unref(early);
    } else { /* forgotten */
      saros_op_unref(early);
      GATE_UNTIL(records(NULL, 0) == 1);
    }
    CHECK(is_stopped(app));
    CHECK(is_stopped(other) == (late == second));
    CHECK_INT(release_of(late), SAROS_S_OK);
    CHECK(runs(app) && runs(other));
    saros_op_unref(late);
    CHECK_INT(records(NULL, 0), 0);
    end_apps();
  }
  CHECK(gate_back_to(before));
}

TEST(two_stop_one_at_the_same_time) {
  for (int i = 0; i < 10; i++) {
    pid_t app = start_app(app_with_threads);
    saros_op *first = BEGIN("{\"pids\": [%d]", app);
    saros_op *second = BEGIN("{\"pids\": [%d]", app);
    CHECK_INT(end_of(first), SAROS_S_OK);
    CHECK_INT(end_of(second), SAROS_S_OK);
    CHECK_INT(release_of(second), SAROS_S_OK);
    CHECK(is_stopped(app));
    CHECK_INT(release_of(first), SAROS_S_OK);
    CHECK(runs(app));
    saros_op_unref(first);
    saros_op_unref(second);
    end_apps();
  }
}

TEST(one_that_fails_lets_go_what_is_its_own) {
  pid_t app = start_app(app_waits), other = start_app(app_waits);
  saros_op *op = BEGIN("{\"pids\": [%d]", app);
  CHECK_INT(end_of(op), SAROS_S_OK);
  saros_op *bad = BEGIN("{\"pids\": [%d, %d, %d]", app, other, getpid());
  CHECK_INT(end_of(bad), SAROS_E_REFUSED);
  saros_op_unref(bad);
  CHECK(is_stopped(app) && runs(other));
  CHECK_INT(release_of(op), SAROS_S_OK);
  CHECK(runs(app));
  saros_op_unref(op);
  end_apps();
}

/* The time of one is over while the other goes on holding. */
TEST(one_takes_too_long_beside_another) {
  pid_t app = start_app(app_waits);
  saros_op *op = BEGIN("{\"pids\": [%d], \"seconds\": 0.1", app);
  CHECK_INT(end_of(op), SAROS_S_OK);
  saros_op *patient = BEGIN("{\"pids\": [%d]", app);
  end_of(patient); /* perhaps it came too late for that */
  GATE_UNTIL(runs(app));
  CHECK_INT(release_of(op), VSS_E_HOLD_WRITES_TIMEOUT);
  if (saros_op_code(patient) == SAROS_S_OK)
    CHECK_INT(release_of(patient), SAROS_E_CHANGED);
  CHECK(runs(app));
  saros_op_unref(op);
  saros_op_unref(patient);
  end_apps();
}

/* The owner stands still itself: its guard does not. */
TEST(the_owner_is_stopped) {
  pid_t app = start_app(app_waits), owner = start_owner(app, 0.2);
  kill(owner, SIGSTOP);
  GATE_UNTIL(runs(app));
  CHECK(is_stopped(owner));
  kill(owner, SIGKILL);
  waitpid(owner, NULL, 0);
  GATE_UNTIL(records(NULL, 0) == 0);
  CHECK(runs(app));
  end_apps();
}

/* Another program's owner dies, and its guard acts: ours has noticed. */
TEST(another_program_holds_it_too) {
  pid_t app = start_app(app_waits), owner = start_owner(app, 30);
  saros_op *op = BEGIN("{\"pids\": [%d]", app);
  CHECK_INT(end_of(op), SAROS_S_OK);
  CHECK_INT(listed(op, "before"), 1);
  kill(owner, SIGKILL);
  waitpid(owner, NULL, 0);
  GATE_UNTIL(runs(app));
  CHECK_INT(release_of(op), SAROS_E_CHANGED);
  CHECK(runs(app));
  saros_op_unref(op);
  GATE_UNTIL(records(NULL, 0) == 0);
  end_apps();
}

/* What the parent holds is none of the child's. */
TEST(a_forked_child_shares_nothing) {
  pid_t app = start_app(app_waits);
  saros_op *op = BEGIN("{\"pids\": [%d]", app);
  CHECK_INT(end_of(op), SAROS_S_OK);
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    alarm(GATE_BOUND_MS / 1000);
    saros_op *mine = BEGIN("{\"pids\": [%d]", app);
    bool good = end_of(mine) == SAROS_S_OK && listed(mine, "before") == 1 &&
                release_of(mine) == SAROS_S_OK && is_stopped(app);
    saros_op_unref(mine);
    _exit(good ? 0 : 1);
  }
  int status = 1;
  CHECK_INT(waitpid(child, &status, 0), child);
  CHECK_INT(status, 0);
  CHECK(is_stopped(app));
  CHECK_INT(release_of(op), SAROS_S_OK);
  CHECK(runs(app));
  saros_op_unref(op);
  end_apps();
}


/* ------------------------------------------------------------------
** Who has lost his parent
** ---------------------------------------------------------------- */

static int orphan_pipe[2];

static void begin_orphan(void) {
  pid_t middle = fork();
  if (middle == 0) {
    pid_t orphan = fork();
    if (orphan == 0) app_waits();
    _exit(write(orphan_pipe[1], &orphan, sizeof orphan) == sizeof orphan ? 0
                                                                         : 1);
  }
  waitpid(middle, NULL, 0);
  char byte = 0; /* it is one by now */
  if (write(orphan_pipe[1], &byte, 1) != 1) _exit(1);
  app_waits();
}

static void app_of_its_own_session(void) {
  setsid();
  begin_orphan();
}

static pid_t await_orphan(void) {
  pid_t orphan = 0;
  char byte;
  CHECK_INT(read(orphan_pipe[0], &orphan, sizeof orphan), sizeof orphan);
  CHECK_INT(read(orphan_pipe[0], &byte, 1), 1);
  return orphan;
}

TEST(an_orphan_is_known_by_its_session) {
  if (pipe2(orphan_pipe, O_CLOEXEC) != 0) abort();
  for (int leads = 0; leads < 2; leads++) {
    pid_t app = start_app(leads ? app_of_its_own_session : begin_orphan);
    pid_t orphan = await_orphan();
    still_look l;
    CHECK(still_look_at(orphan, &l) && l.parent != app);
    saros_op *op = BEGIN("{\"pids\": [%d]", app);
    CHECK_INT(end_of(op), SAROS_S_OK);
    CHECK(is_stopped(app));
    /* Else nothing says whose it is: a cgroup does. */
    CHECK(leads ? is_stopped(orphan) : runs(orphan));
    CHECK_INT(release_of(op), SAROS_S_OK);
    CHECK(runs(app) && runs(orphan));
    saros_op_unref(op);
    kill(orphan, SIGKILL);
    end_apps();
    await_gone(orphan);
  }
  close(orphan_pipe[0]);
  close(orphan_pipe[1]);
}

int main(int argc, char **argv) {
  gate_begin(argc, argv);
  still_case_open();
  GATE_RUN(one_is_continued_and_stopped_again);
  GATE_RUN(one_that_was_stopped_before_is_continued_and_stopped_again);
  GATE_RUN(who_stands_is_not_accused);
  GATE_RUN(two_hold_one);
  GATE_RUN(two_stop_one_at_the_same_time);
  GATE_RUN(one_that_fails_lets_go_what_is_its_own);
  GATE_RUN(one_takes_too_long_beside_another);
  GATE_RUN(the_owner_is_stopped);
  GATE_RUN(another_program_holds_it_too);
  GATE_RUN(a_forked_child_shares_nothing);
  GATE_RUN(an_orphan_is_known_by_its_session);
  still_case_close();
  return check_end();
}
