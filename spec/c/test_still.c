/*
** Processes held still, against the real kernel: who is meant, who is refused,
** what happens to them meanwhile, and whoever dies.
**
** not under valgrind: its children are forked or killed; ASan runs it
*/
#include <linux/sched.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>

#include "still_case.h"


/* ------------------------------------------------------------------
** Stopping, and going on
** ---------------------------------------------------------------- */

static void app_with_children(void) {
  for (int i = 0; i < 2; i++)
    if (fork() == 0) {
      if (i == 1 && fork() == 0) app_waits();
      app_with_threads();
    }
  app_waits();
}

/* Of the last result, the n-th. */
static pid_t held_pid(saros_op *op, uint32_t n) {
  const value *list = value_get(op_output(op), "pids");
  return list != NULL && n < list->count
             ? (pid_t)value_integer(list->as.items[n], 0)
             : 0;
}

TEST(it_stops_with_its_children_and_goes_on) {
  pid_t app = start_app(app_with_children);
  gate_counts before = gate_count();
  pid_t found[8] = {0};
  for (bool whole = false; !whole;) { /* they need a moment to be there */
    saros_op *op = BEGIN("{\"pids\": [%d]", app);
    CHECK_INT(end_of(op), SAROS_S_OK);
    whole = listed(op, "pids") == 4;
    for (uint32_t i = 0; i < listed(op, "pids") && i < 8; i++) {
      found[i] = held_pid(op, i);
      CHECK(is_stopped(found[i]));
    }
    CHECK(records(NULL, 0) >= 1); /* who came late may have one of his own */
    CHECK_INT(release_of(op), SAROS_S_OK);
    CHECK_INT(release_of(op), SAROS_S_OK); /* once more is no harm */
    saros_op_unref(op);
    gate_nap();
  }
  for (int i = 0; i < 4; i++) CHECK(runs(found[i]));
  CHECK_INT(records(NULL, 0), 0);
  CHECK(gate_back_to(before));
  for (int i = 1; i < 4; i++) kill(found[i], SIGKILL);
  end_apps();
}

TEST(more_than_one_guard_can_watch) {
  enum { MANY = 70 };
  char text[1500] = "{\"pids\": [1000000000";
  gate_counts before = gate_count();
  for (int i = 0; i < MANY; i++) {
    size_t n = strlen(text);
    snprintf(text + n, sizeof text - n, ",%d", start_app(app_waits));
  }
  saros_op *op = BEGIN("%s]", text);
  CHECK_INT(end_of(op), SAROS_S_OK);
  CHECK_INT(listed(op, "pids"), MANY);
  CHECK_INT(records(NULL, 0), 2);
  for (int i = 0; i < MANY; i++) CHECK(is_stopped(apps[i]));
  CHECK_INT(release_of(op), SAROS_S_OK);
  for (int i = 0; i < MANY; i++) CHECK(runs(apps[i]));
  saros_op_unref(op);
  CHECK_INT(records(NULL, 0), 0);
  end_apps();
  CHECK(gate_back_to(before));
}

TEST(who_was_stopped_before_stays_stopped) {
  pid_t app = start_app(app_waits), other = start_app(app_waits);
  kill(app, SIGSTOP);
  GATE_UNTIL(is_stopped(app));
  saros_op *op = BEGIN("{\"pids\": [%d, %d]", app, other);
  CHECK_INT(end_of(op), SAROS_S_OK);
  CHECK_INT(listed(op, "pids"), 1);
  CHECK_INT(listed(op, "before"), 1);
  CHECK_INT(release_of(op), SAROS_S_OK);
  CHECK(is_stopped(app));
  CHECK(runs(other));
  saros_op_unref(op);
  end_apps();
}

/* Each forks the next one and ends: there is no moment in which all of them
   are known. */
static void app_that_forks(void) {
  for (;;) {
    pid_t pid = fork();
    if (pid == 0) {
      if (fork() == 0) app_waits();
      _exit(0);
    }
    if (pid < 0) pause();
    waitpid(pid, NULL, 0);
    struct timespec t = {.tv_nsec = 20000000};
    nanosleep(&t, NULL);
  }
}

TEST(no_new_one_gets_away) {
  pid_t app = start_app(app_that_forks);
  char name[64];
  saros_op *op = BEGIN("{\"pids\": [%d]", app);
  CHECK_INT(end_of(op), SAROS_S_OK);
  CHECK(is_stopped(app));
  snprintf(name, sizeof name, "/proc/%d/task/%d/children", app, app);
  FILE *f = fopen(name, "re");
  for (int child; f != NULL && fscanf(f, "%d", &child) == 1;)
    CHECK(identity_state(child) == 'T' || identity_state(child) == 0);
  if (f != NULL) fclose(f);
  CHECK_INT(release_of(op), SAROS_S_OK);
  saros_op_unref(op);
  kill(app, SIGKILL);
  end_apps();
  /* What it left is ours now, by the subreaper. */
  snprintf(name, sizeof name, "/proc/self/task/%d/children", getpid());
  f = fopen(name, "re");
  for (int child; f != NULL && fscanf(f, "%d", &child) == 1;) {
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
  }
  if (f != NULL) fclose(f);
}

static void write_number(const char *path, int n) {
  FILE *f = fopen(path, "we");
  CHECK(f != NULL);
  if (f == NULL) return;
  fprintf(f, "%d\n", n);
  fclose(f);
}

/* A tree like cgroupfs has it. */
TEST(a_cgroup_is_all_that_is_below) {
  char path[400], file[500];
  pid_t one = start_app(app_waits), two = start_app(app_waits);
  pid_t three = start_app(app_waits);
  snprintf(path, sizeof path, "%s/cgroup", state_dir);
  mkdir(path, 0700);
  snprintf(file, sizeof file, "%s/cgroup.procs", path);
  write_number(file, one);
  snprintf(file, sizeof file, "%s/worker", path);
  mkdir(file, 0700);
  snprintf(file, sizeof file, "%s/worker/cgroup.procs", path);
  write_number(file, two);
  saros_op *op = BEGIN("{\"cgroup\": \"%s\"", path);
  CHECK_INT(end_of(op), SAROS_S_OK);
  CHECK(is_stopped(one) && is_stopped(two) && runs(three));
  CHECK_INT(release_of(op), SAROS_S_OK);
  saros_op_unref(op);
  write_number(file, 0);
  op = BEGIN("{\"cgroup\": \"%s\"", path);
  CHECK_INT(end_of(op), SAROS_E_REFUSED);
  CHECK(runs(one) && says(op, "not seen from this container"));
  saros_op_unref(op);
  op = BEGIN("{\"cgroup\": \"%s/none\"", path);
  CHECK(end_of(op) != SAROS_S_OK);
  saros_op_unref(op);
  end_apps();
}


/* ------------------------------------------------------------------
** Who is refused
** ---------------------------------------------------------------- */

static void refused_beside(pid_t app, long pid, const char *why) {
  saros_op *op = BEGIN("{\"pids\": [%d, %ld]", app, pid);
  uint32_t code = end_of(op);
  CHECK(code == SAROS_E_REFUSED || code == SAROS_E_ACCESSDENIED);
  CHECK(says(op, why));
  CHECK(runs(app));
  CHECK_INT(release_of(op), SAROS_S_OK);
  saros_op_unref(op);
}

TEST(some_must_not_be_stopped) {
  pid_t app = start_app(app_waits);
  still_look kernel;
  refused_beside(app, getpid(), "it is this one");
  /* Whichever is found first: that we are its child, or ourselves. */
  refused_beside(app, getppid(), "is not stopped, because");
  refused_beside(app, 1, "it is init");
  if (still_look_at(2, &kernel) && kernel.kernel)
    refused_beside(app, 2, "thread of the kernel");
  CHECK_INT(records(NULL, 0), 0);
  end_apps();
}

TEST(a_guard_is_never_stopped) {
  pid_t app = start_app(app_waits);
  saros_op *op = BEGIN("{\"pids\": [%d]", app);
  CHECK_INT(end_of(op), SAROS_S_OK);
  pid_t keeper = guard_in_record();
  saros_op *again = BEGIN("{\"pids\": [%d]", keeper);
  CHECK_INT(end_of(again), SAROS_E_REFUSED);
  CHECK(says(again, "it is a guard"));
  CHECK(runs(keeper));
  saros_op_unref(again);
  CHECK_INT(release_of(op), SAROS_S_OK);
  saros_op_unref(op);
  end_apps();
}

static int told_out;

/* As nobody, of somebody else's process: its exit says how that went. */
static void app_of_nobody(void) {
  char dir[] = "/tmp/saros-still-XXXXXX";
  if (setgid(65534) != 0 || setuid(65534) != 0) _exit(3);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  if (mkdtemp(dir) == NULL) _exit(4);
  snprintf(state_dir, sizeof state_dir, "%s", dir);
  pid_t mine = fork();
  if (mine == 0) app_waits();
  saros_op *op = BEGIN("{\"pids\": [%d, %d]", mine, told_out);
  uint32_t code = end_of(op);
  bool good = code == SAROS_E_ACCESSDENIED && runs(mine) && runs(told_out);
  saros_op_unref(op);
  kill(mine, SIGKILL);
  still_case_close();
  _exit(good ? 0 : 1);
}

TEST(others_processes_need_permission) {
  if (geteuid() != 0) SKIP("needs root to be somebody else");
  int status = 0;
  told_out = start_app(app_waits);
  pid_t nobody = start_app(app_of_nobody);
  app_count--;
  CHECK_INT(waitpid(nobody, &status, 0), nobody);
  CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
  end_apps();
}

TEST(one_that_is_traced) {
  pid_t app = start_app(app_waits);
  if (ptrace(PTRACE_SEIZE, app, NULL, NULL) != 0) {
    end_apps();
    SKIP("nobody may be traced here");
  }
  saros_op *op = BEGIN("{\"pids\": [%d]", app);
  CHECK_INT(end_of(op), SAROS_E_REFUSED);
  CHECK(says(op, "is being traced"));
  saros_op_unref(op);
  end_apps();
}

static void refused_options(const char *options) {
  error *e = NULL;
  saros_op *op = hold_begin(&e, "%s", options);
  CHECK(op == NULL && e != NULL && e->code == SAROS_E_INVALIDARG);
  if (op != NULL) saros_op_unref(op);
  error_unref(e);
}

TEST(options_that_make_no_sense) {
  refused_options("{\"seconds\": 1");
  refused_options("{\"command\": \"((\"");
  refused_options("{\"command\": \"\"");
  refused_options("{\"cgroup\": \"relative\"");
  refused_options("{\"cgroup\": \"/x\", \"pids\": [5]");
  error *e = NULL;
  saros_op *sleep = saros_sleep(0);
  CHECK(still_release(sleep, &e) == NULL && e->code == SAROS_E_INVALIDARG);
  error_unref(e);
  CHECK(gate_wait(sleep));
  saros_op_unref(sleep);
}

TEST(nobody_is_there) {
  saros_op *op = BEGIN("{\"pids\": [1000000000]");
  CHECK_INT(end_of(op), SAROS_E_REFUSED);
  CHECK(says(op, "no such process"));
  saros_op_unref(op);
  op = BEGIN("{\"pids\": [1000000000], \"allow_none\": true");
  CHECK_INT(end_of(op), SAROS_S_OK);
  CHECK_INT(release_of(op), SAROS_S_OK);
  saros_op_unref(op);
}


/* ------------------------------------------------------------------
** Those that do not stop
** ---------------------------------------------------------------- */

/* Who waits for his vfork waits in the kernel, and does not stop there. */
static void app_in_kernel(void) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
  if (vfork() == 0)
    for (;;) pause();
#pragma GCC diagnostic pop
}

static void end_vfork(pid_t app, pid_t child) {
  kill(child, SIGKILL);
  kill(app, SIGKILL);
  end_apps();
}

static pid_t child_of(pid_t app) {
  char name[64];
  int child = 0;
  snprintf(name, sizeof name, "/proc/%d/task/%d/children", app, app);
  FILE *f = fopen(name, "re");
  if (f != NULL && fscanf(f, "%d", &child) != 1) child = 0;
  if (f != NULL) fclose(f);
  return child;
}

#define NEEDS_VFORK \
  if (GATE_TSAN) SKIP("this sanitizer makes a fork of it")

TEST(one_that_does_not_stop) {
  NEEDS_VFORK;
  pid_t app = start_app(app_in_kernel), other = start_app(app_waits);
  GATE_UNTIL(child_of(app) > 0);
  pid_t child = child_of(app);
  saros_op *op = BEGIN("{\"pids\": [%d, %d], \"patience\": 0.1", app, other);
  CHECK_INT(end_of(op), VSS_E_FLUSH_WRITES_TIMEOUT);
  CHECK(says(op, "waits in the kernel"));
  GATE_UNTIL(runs(child) && runs(other));
  CHECK_INT(records(NULL, 0), 0);
  saros_op_unref(op);
  end_vfork(app, child);
}

TEST(cancelled_and_released_while_one_does_not_stop) {
  NEEDS_VFORK;
  for (int way = 0; way < 2; way++) {
    pid_t app = start_app(app_in_kernel), other = start_app(app_waits);
    GATE_UNTIL(child_of(app) > 0);
    pid_t child = child_of(app);
    saros_op *op = BEGIN("{\"pids\": [%d, %d], \"patience\": 1000", app, other);
    GATE_UNTIL(is_stopped(other));
    if (way == 0)
      CHECK_INT(saros_op_cancel(op), SAROS_S_OK);
    else
      CHECK_INT(release_of(op), SAROS_S_OK);
    CHECK_INT(end_of(op), SAROS_E_CANCELLED);
    GATE_UNTIL(runs(other) && runs(child));
    CHECK_INT(release_of(op), SAROS_S_OK);
    CHECK_INT(records(NULL, 0), 0);
    saros_op_unref(op);
    end_vfork(app, child);
  }
}


/* ------------------------------------------------------------------
** What happens meanwhile
** ---------------------------------------------------------------- */

TEST(one_dies_meanwhile) {
  pid_t app = start_app(app_waits), other = start_app(app_waits);
  saros_op *op = BEGIN("{\"pids\": [%d, %d]", app, other);
  CHECK_INT(end_of(op), SAROS_S_OK);
  kill(app, SIGKILL);
  CHECK_INT(waitpid(app, NULL, 0), app);
  /* What it did before it died, nobody knows. */
  CHECK_INT(release_of(op), SAROS_E_CHANGED);
  CHECK(runs(other));
  saros_op_unref(op);
  end_apps();
}

TEST(somebody_else_continues_one) {
  pid_t app = start_app(app_waits);
  saros_op *op = BEGIN("{\"pids\": [%d]", app);
  CHECK_INT(end_of(op), SAROS_S_OK);
  kill(app, SIGCONT);
  GATE_UNTIL(runs(app));
  CHECK_INT(release_of(op), SAROS_E_CHANGED);
  saros_op_unref(op);
  CHECK_INT(records(NULL, 0), 0);
  end_apps();
}

static void app_by_name(void) {
  execl("/bin/sh", "sh", "-c", "while :; do sleep 1000; done", "still-test-app",
        (char *)NULL);
}

static pid_t start_by_name(void) {
  pid_t app = start_app(app_by_name);
  GATE_UNTIL(child_of(app) > 0);
  return app;
}

static void end_by_name(void) {
  for (int i = 0; i < app_count; i++) {
    pid_t child = child_of(apps[i]);
    kill(apps[i], SIGKILL);
    if (child > 0) kill(child, SIGKILL);
    if (child > 0) await_gone(child);
  }
  end_apps();
}

TEST(one_is_started_meanwhile) {
  pid_t app = start_by_name();
  saros_op *op = BEGIN("{\"command\": \"^sh -c .* still-test-app$\"");
  CHECK_INT(end_of(op), SAROS_S_OK);
  CHECK_INT(listed(op, "pids"), 2);
  CHECK(is_stopped(app) && is_stopped(child_of(app)));
  pid_t late = start_by_name();
  CHECK_INT(release_of(op), SAROS_E_CHANGED);
  CHECK(runs(app) && runs(late));
  saros_op_unref(op);
  /* A number that is somebody else's by now is none of ours. */
  op = BEGIN("{\"pids\": [%d], \"command\": \"another-app\"", app);
  CHECK_INT(end_of(op), SAROS_E_REFUSED);
  CHECK(runs(app));
  saros_op_unref(op);
  end_by_name();
}

TEST(it_takes_too_long) {
  pid_t app = start_app(app_waits);
  saros_op *op = BEGIN("{\"pids\": [%d], \"seconds\": 0.1", app);
  CHECK_INT(end_of(op), SAROS_S_OK);
  GATE_UNTIL(runs(app)); /* nobody released it */
  CHECK_INT(release_of(op), VSS_E_HOLD_WRITES_TIMEOUT);
  saros_op_unref(op);
  CHECK_INT(records(NULL, 0), 0);
  end_apps();
}

TEST(forgotten_they_go_on) {
  pid_t app = start_app(app_waits);
  gate_counts before = gate_count();
  saros_op *op = BEGIN("{\"pids\": [%d]", app);
  CHECK_INT(end_of(op), SAROS_S_OK);
  CHECK(is_stopped(app));
  saros_op_unref(op);
  GATE_UNTIL(runs(app));
  GATE_UNTIL(records(NULL, 0) == 0);
  CHECK(gate_back_to(before));
  end_apps();
}

/* Whichever request for memory fails: they go on, and nothing is left. */
TEST(memory_runs_out) {
  pid_t app = start_app(app_waits);
  gate_counts before = gate_count();
  bool whole = false;
  for (long n = 1; n < 2000 && !whole; n++) {
    error *e = NULL;
    mem_fail_at(0);
    char text[300];
    snprintf(text, sizeof text,
             "{\"pids\": [%d], \"command\": \"still\", \"state_dir\": \"%s\"}",
             app, state_dir);
    value *options = json_read(text, strlen(text), NULL, &e);
    mem_fail_at(n);
    saros_op *op = still_begin(options, &e);
    if (op != NULL) {
      CHECK(gate_wait(op));
      saros_op *release = still_release(op, &e);
      if (release != NULL) CHECK(gate_wait(release));
      if (release != NULL) saros_op_unref(release);
      saros_op_unref(op);
    }
    whole = mem_fail_left() > 0;
    mem_fail_at(0);
    error_unref(e);
    value_free(options);
    GATE_UNTIL(runs(app) && records(NULL, 0) == 0);
  }
  CHECK(whole);
  CHECK(gate_back_to(before));
  end_apps();
}


/* ------------------------------------------------------------------
** Whoever dies
** ---------------------------------------------------------------- */

TEST(the_guard_dies) {
  pid_t app = start_app(app_waits);
  saros_op *op = BEGIN("{\"pids\": [%d]", app);
  CHECK_INT(end_of(op), SAROS_S_OK);
  kill(guard_in_record(), SIGKILL);
  CHECK(is_stopped(app));
  CHECK_INT(release_of(op), SAROS_S_OK);
  CHECK(runs(app));
  CHECK_INT(records(NULL, 0), 0);
  saros_op_unref(op);
  end_apps();
}

TEST(the_owner_dies) {
  pid_t app = start_app(app_with_threads), before = start_app(app_waits);
  kill(before, SIGSTOP);
  GATE_UNTIL(is_stopped(before));
  pid_t owner = start_owner(app, 30);
  CHECK(is_stopped(app));
  pid_t keeper = guard_in_record();
  kill(owner, SIGKILL);
  waitpid(owner, NULL, 0);
  await_gone(keeper);
  CHECK(runs(app) && is_stopped(before));
  CHECK_INT(records(NULL, 0), 0);
  end_apps();
}

TEST(both_die_and_the_record_tells) {
  pid_t app = start_app(app_waits);
  value *report = value_list();
  pid_t owner = start_owner(app, 30);
  CHECK(guard_recover(runtime, report) == NULL);
  CHECK(is_stopped(app)); /* its owner lives */
  kill_both(owner);
  CHECK(is_stopped(app));
  CHECK_INT(records(NULL, 0), 1);
  CHECK(guard_recover(runtime, report) == NULL);
  CHECK(runs(app));
  CHECK_INT(report->count, 1);
  CHECK_INT(records(NULL, 0), 0);
  value_free(report);
  end_apps();
}

/* A child with this number; -1 and errno. */
static pid_t start_with_number(pid_t number) {
  struct clone_args args = {
      .exit_signal = SIGCHLD, .set_tid = (uintptr_t)&number, .set_tid_size = 1};
  fflush(stdout);
  pid_t pid = (pid_t)syscall(SYS_clone3, &args, sizeof args);
  if (pid == 0) {
    syscall(SYS_prctl, PR_SET_PDEATHSIG, SIGKILL);
    for (;;) pause();
  }
  return pid;
}

/* The number is somebody else's by now, who was stopped by somebody else. */
TEST(a_number_that_was_given_again) {
  pid_t app = start_app(app_waits);
  pid_t owner = start_owner(app, 30);
  kill_both(owner);
  identity was = identity_of(app);
  end_apps();
  while (identity_of(getpid()).start == was.start) gate_nap();
  struct timespec t = {.tv_nsec = 20000000}; /* starts are told in ticks */
  nanosleep(&t, NULL);
  pid_t other = start_with_number(app);
  bool known = other == app && identity_of(other).start != was.start;
  if (known) {
    kill(other, SIGSTOP);
    GATE_UNTIL(is_stopped(other));
  }
  value *report = value_list();
  CHECK(guard_recover(runtime, report) == NULL);
  if (known) CHECK(is_stopped(other));
  CHECK_INT(report->count, 0);
  CHECK_INT(records(NULL, 0), 0);
  value_free(report);
  if (other > 0) kill(other, SIGKILL);
  if (other > 0) waitpid(other, NULL, 0);
  if (!known) SKIP("no process can be given a number here");
}

int main(int argc, char **argv) {
  gate_begin(argc, argv);
  still_case_open();
  GATE_RUN(it_stops_with_its_children_and_goes_on);
  GATE_RUN(more_than_one_guard_can_watch);
  GATE_RUN(who_was_stopped_before_stays_stopped);
  GATE_RUN(no_new_one_gets_away);
  GATE_RUN(a_cgroup_is_all_that_is_below);
  GATE_RUN(some_must_not_be_stopped);
  GATE_RUN(a_guard_is_never_stopped);
  GATE_RUN(others_processes_need_permission);
  GATE_RUN(one_that_is_traced);
  GATE_RUN(options_that_make_no_sense);
  GATE_RUN(nobody_is_there);
  GATE_RUN(one_that_does_not_stop);
  GATE_RUN(cancelled_and_released_while_one_does_not_stop);
  GATE_RUN(one_dies_meanwhile);
  GATE_RUN(somebody_else_continues_one);
  GATE_RUN(one_is_started_meanwhile);
  GATE_RUN(it_takes_too_long);
  GATE_RUN(forgotten_they_go_on);
  GATE_RUN(memory_runs_out);
  GATE_RUN(the_guard_dies);
  GATE_RUN(the_owner_dies);
  GATE_RUN(both_die_and_the_record_tells);
  GATE_RUN(a_number_that_was_given_again);
  still_case_close();
  return check_end();
}
