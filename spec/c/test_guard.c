/*
** The guard, against the real kernel: how it comes and goes, what it holds, and
** owners that are killed, that hang, that leave children behind.
**
** not under valgrind: its children are forked or killed; ASan runs it
*/
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/syscall.h>

#include "guard_case.h"


/* ------------------------------------------------------------------
** Arming and sending away
** ---------------------------------------------------------------- */

TEST(it_comes_and_goes) {
  NEEDS_VOLUMES;
  gate_counts before = gate_count();
  guard *g = arm_one(EXT4, LONG_MS);
  CHECK(g != NULL);
  if (g == NULL) return;
  pid_t pid = guard_pid(g);
  CHECK_INT(kill(pid, 0), 0);
  CHECK_INT(names_in(records()), 1);
  CHECK(guard_mark(g, 0, true));
  CHECK(guard_mark(g, 0, false));
  CHECK(!guard_mark(g, 1, true));
  CHECK_INT(guard_disarm(g), 0);
  CHECK(is_gone(pid));
  CHECK_INT(names_in(records()), 0);
  CHECK(gate_back_to(before));
}

TEST(sent_away_it_does_not_act) {
  NEEDS_VOLUMES;
  guard *g = arm_one(EXT4, LONG_MS);
  if (g == NULL) return;
  CHECK(guard_mark(g, 0, true));
  CHECK_INT(freeze(volumes[EXT4].fd), 0);
  CHECK_INT(guard_disarm(g), 0);
  CHECK(is_frozen(EXT4));
  CHECK_INT(thaw(volumes[EXT4].fd), 0);
}

static void *arm_in_thread(void *g) {
  *(guard **)g = arm_one(EXT4, LONG_MS);
  return NULL;
}

TEST(it_outlives_the_thread_that_made_it) {
  NEEDS_VOLUMES;
  guard *g = NULL;
  pthread_t id;
  CHECK_INT(pthread_create(&id, NULL, arm_in_thread, (void *)&g), 0);
  pthread_join(id, NULL);
  if (g == NULL) return;
  CHECK(guard_mark(g, 0, true));
  CHECK_INT(guard_disarm(g), 0);
}

static int fds_of(pid_t pid) {
  char path[64];
  snprintf(path, sizeof path, "/proc/%d/fd", pid);
  return gate_entries(path);
}

TEST(it_holds_its_own_and_no_more) {
  NEEDS_VOLUMES;
  char path[64];
  static const int both[] = {EXT4, XFS};
  int inheritable = open("/", O_RDONLY); /* as a careless host has them */
  error *e;
  guard *g = arm_all(both, 2, LONG_MS, &e);
  CHECK(g != NULL);
  if (g == NULL) return;
  pid_t pid = guard_pid(g);
  /* The socket, the owner and its life, the records, two items, a timer. */
  CHECK_INT(fds_of(pid), 7);
  CHECK_TEXT(about(pid, "comm"), "saros-guard\n");
  CHECK_TEXT(about(pid, "cwd"), "/");
  CHECK_INT(getsid(pid), pid);
  CHECK(strncmp(about(pid, "exe"), "/memfd:saros-guard", 18) == 0);
  snprintf(path, sizeof path, "/proc/%d/exe", pid);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  CHECK_INT(fcntl(fd, F_GET_SEALS) & F_SEAL_WRITE, F_SEAL_WRITE);
  close(fd);
  CHECK_INT(guard_disarm(g), 0);
  close(inheritable);
}


/* ------------------------------------------------------------------
** Owners that end
** ---------------------------------------------------------------- */

static void killed_on(int which) {
  owner o = make_owner(hold_and_wait, which);
  meet(&o);
  CHECK(is_frozen(which));
  int guard_fd = pidfd_open(o.n.guard, 0);
  CHECK_INT(kill(o.pid, SIGKILL), 0);
  CHECK_INT(farewell(&o), 1000 + SIGKILL);
  CHECK(await_fd(guard_fd));
  close(guard_fd);
  await_end(o.n.guard);
  check_nothing_left(which);
}

TEST(the_owner_is_killed_on_ext4) {
  NEEDS_VOLUMES;
  killed_on(EXT4);
}

TEST(the_owner_is_killed_on_xfs) {
  NEEDS_VOLUMES;
  killed_on(XFS);
}

TEST(the_owner_ends_without_a_word) {
  NEEDS_VOLUMES;
  owner o = make_owner(hold_and_wait, EXT4);
  meet(&o);
  let_on(&o);
  CHECK_INT(farewell(&o), 0);
  await_end(o.n.guard);
  check_nothing_left(EXT4);
}

/* Both file systems, the image and what it lies on: the inner one cannot be
   thawed before the outer one, and it is first in the list. */
static int hold_nested(int unused) {
  (void)unused;
  static const int wrong[] = {INNER, XFS};
  error *e;
  guard *g = arm_all(wrong, 2, LONG_MS, &e);
  if (g == NULL || !guard_mark(g, 0, true)) return 1;
  if (freeze(volumes[INNER].fd) != 0) return 2;
  if (!guard_mark(g, 1, true) || freeze(volumes[XFS].fd) != 0) return 3;
  at_the_gate(g, 0);
  return 0;
}

TEST(the_order_cannot_be_wrong) {
  NEEDS_VOLUMES;
  owner o = make_owner(hold_nested, 0);
  meet(&o);
  kill(o.pid, SIGKILL);
  farewell(&o);
  await_end(o.n.guard);
  check_nothing_left(INNER);
  check_nothing_left(XFS);
}

/* Made without the handlers of fork, and so with everything still open. */
static int leave_a_child(int which) {
  guard *g = arm_one(which, LONG_MS);
  if (g == NULL || !guard_mark(g, 0, true)) return 1;
  if (freeze(volumes[which].fd) != 0) return 2;
  pid_t child = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
  if (child == 0)
    for (;;) pause();
  at_the_gate(g, child);
  return 0;
}

TEST(the_owner_leaves_a_child_with_everything_open) {
  NEEDS_VOLUMES;
  owner o = make_owner(leave_a_child, EXT4);
  meet(&o);
  CHECK(is_frozen(EXT4));
  CHECK_INT(kill(o.pid, SIGKILL), 0);
  farewell(&o);
  await_end(o.n.guard);
  CHECK_INT(kill(o.n.other, 0), 0); /* it is there, and has the socket */
  check_nothing_left(EXT4);
  kill(o.n.other, SIGKILL);
  await_end(o.n.other);
}

static const int harmless[] = {SIGTERM, SIGINT,  SIGHUP,  SIGQUIT, SIGPIPE,
                               SIGALRM, SIGUSR1, SIGUSR2, SIGTSTP, SIGTTIN,
                               SIGTTOU, SIGXCPU, SIGABRT, 34,      64};

TEST(signals_do_not_end_it) {
  NEEDS_VOLUMES;
  owner o = make_owner(hold_and_wait, EXT4);
  meet(&o);
  for (size_t i = 0; i < sizeof harmless / sizeof *harmless; i++)
    CHECK_INT(kill(o.n.guard, harmless[i]), 0);
  CHECK(is_frozen(EXT4));
  CHECK_INT(kill(o.n.guard, 0), 0);
  CHECK_INT(kill(-o.pid, SIGKILL), 0); /* the owner's whole group */
  farewell(&o);
  await_end(o.n.guard);
  check_nothing_left(EXT4);
}

static int hang_then_look(int which) {
  guard *g = arm_one(which, 100);
  if (g == NULL || !guard_mark(g, 0, true)) return 1;
  if (freeze(volumes[which].fd) != 0) return 2;
  at_the_gate(g, 0);
  if (thaw(volumes[which].fd) != EINVAL) return 4; /* the guard was first */
  guard_mark(g, 0, false);
  return guard_disarm(g) == 1 ? 0 : 5;
}

TEST(the_owner_hangs) {
  NEEDS_VOLUMES;
  for (int which = EXT4; which <= XFS; which++) {
    owner o = make_owner(hang_then_look, which);
    meet(&o);
    CHECK_INT(kill(o.pid, SIGSTOP), 0);
    GATE_UNTIL(!is_frozen(which));
    CHECK_INT(kill(o.n.guard, 0), 0); /* it waits to tell */
    CHECK_INT(names_in(records()), 1);
    kill(o.pid, SIGCONT);
    let_on(&o);
    CHECK_INT(farewell(&o), 0);
    CHECK_INT(names_in(records()), 0);
  }
}


/* ------------------------------------------------------------------
** Where no program may be run from memory
** ---------------------------------------------------------------- */

static bool forbid_memory_files(void) {
  struct sock_filter rules[] = {
      BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
      BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_memfd_create, 0, 1),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
      BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)};
  struct sock_fprog program = {.len = 4, .filter = rules};
  return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0;
}

static int refused_with(const char *part) {
  error *e;
  int which = EXT4;
  guard *g = arm_all(&which, 1, LONG_MS, &e);
  if (g != NULL) return 1;
  bool good = e->code == SAROS_E_REFUSED && strstr(e->message, part) != NULL;
  if (!good) printf("%08x %s\n", e->code, e->message);
  error_unref(e);
  return good && names_in(records()) == 0 ? 0 : 2;
}

static int without_memory_files(int unused) {
  (void)unused;
  char own[600];
  ssize_t n = readlink("/proc/self/exe", own, 500);
  if (n <= 0 || !forbid_memory_files()) return 90;
  own[n] = '\0';
  *strrchr(own, '/') = '\0';
  strcat(own, "/../saros-guard");
  unsetenv("SAROS_GUARD");
  if (refused_with("SAROS_GUARD name a copy") != 0) return 10;
  setenv("SAROS_GUARD", "/nowhere/saros-guard", 1);
  if (refused_with("No such file") != 0) return 11;
  setenv("SAROS_GUARD", "/bin/true", 1);
  if (refused_with("did not answer") != 0) return 12;
  setenv("SAROS_GUARD", own, 1);
  guard *g = arm_one(EXT4, LONG_MS);
  if (g == NULL || !guard_mark(g, 0, true)) return 13;
  if (freeze(volumes[EXT4].fd) != 0) return 14;
  at_the_gate(g, 0);
  return 0;
}

TEST(without_memory_files_a_copy_on_disk_will_do) {
  NEEDS_VOLUMES;
  owner o = make_owner(without_memory_files, 0);
  meet(&o);
  CHECK(is_frozen(EXT4));
  CHECK(strstr(about(o.n.guard, "exe"), "/saros-guard") != NULL);
  kill(o.pid, SIGKILL);
  CHECK_INT(farewell(&o), 1000 + SIGKILL);
  await_end(o.n.guard);
  check_nothing_left(EXT4);
}


/* ------------------------------------------------------------------
** Its other actions, forks, and memory
** ---------------------------------------------------------------- */

static int sleeper_fd, pipe_end;

static int stop_and_keep_open(int unused) {
  (void)unused;
  guard_item items[] = {
      {.action = GUARD_CONTINUE, .fd = sleeper_fd, .ms = LONG_MS},
      {.action = GUARD_CLOSE, .fd = pipe_end, .ms = LONG_MS}};
  error *e;
  guard *g = guard_arm(items, 2, runtime, &e);
  if (g == NULL || !guard_mark(g, 0, true) || !guard_mark(g, 1, true)) return 1;
  pidfd_send_signal(sleeper_fd, SIGSTOP, NULL, 0);
  at_the_gate(g, 0);
  return 0;
}

TEST(it_continues_and_closes) {
  NEEDS_VOLUMES;
  int ends[2], status;
  char byte;
  CHECK_INT(pipe2(ends, O_CLOEXEC), 0);
  fflush(stdout);
  pid_t sleeper = fork();
  if (sleeper == 0) {
    close(ends[1]);
    for (;;) pause();
  }
  sleeper_fd = pidfd_open(sleeper, 0);
  pipe_end = ends[1];
  owner o = make_owner(stop_and_keep_open, 0);
  meet(&o);
  close(ends[1]);
  CHECK_INT(waitpid(sleeper, &status, WUNTRACED), sleeper);
  CHECK(WIFSTOPPED(status));
  kill(o.pid, SIGKILL);
  farewell(&o);
  CHECK(await_fd(ends[0]));
  CHECK_INT(read(ends[0], &byte, 1), 0); /* end of file: nobody has it */
  CHECK_INT(waitpid(sleeper, &status, WCONTINUED), sleeper);
  CHECK(WIFCONTINUED(status));
  await_end(o.n.guard);
  kill(sleeper, SIGKILL);
  await_end(sleeper);
  close(sleeper_fd);
  close(ends[0]);
}

TEST(in_a_forked_child_it_is_the_parents) {
  NEEDS_VOLUMES;
  CHECK_INT(fork_prepare(), 0);
  guard *g = arm_one(EXT4, LONG_MS);
  if (g == NULL) return;
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    long blocks = mem_blocks();
    bool good = !guard_mark(g, 0, true);
    guard_forget(g);
    _exit(good && mem_blocks() == blocks - 2 && fd_count() == 0 ? 0 : 1);
  }
  int status = -1;
  CHECK_INT(waitpid(pid, &status, 0), pid);
  CHECK_INT(status, 0);
  CHECK(guard_mark(g, 0, true)); /* here it goes on */
  CHECK(guard_mark(g, 0, false));
  CHECK_INT(guard_disarm(g), 0);
}

TEST(memory_may_run_out_anywhere) {
  NEEDS_VOLUMES;
  static const int both[] = {EXT4, XFS};
  gate_counts before = gate_count();
  bool done = false;
  GATE_UNTIL(no_children());
  for (long n = 0; n < 300 && !done; n++) {
    error *e;
    mem_fail_at(n);
    guard *g = arm_all(both, 2, LONG_MS, &e);
    mem_fail_at(0);
    done = g != NULL && n > 0;
    if (g != NULL) CHECK_INT(guard_disarm(g), 0);
    if (g == NULL) CHECK_INT(e->code, SAROS_E_OUTOFMEMORY);
    error_unref(e);
    CHECK_INT(names_in(records()), 0);
    CHECK(gate_back_to(before));
    CHECK(waitpid(-1, NULL, WNOHANG) < 0);
  }
  CHECK(done);
}

TEST(too_many_are_refused) {
  static guard_item items[GUARD_MOST + 1];
  error *e;
  CHECK(guard_arm(items, GUARD_MOST + 1, runtime, &e) == NULL);
  CHECK_INT(e->code, SAROS_E_REFUSED);
  error_unref(e);
}

static void all(void) {
  guard_case_open();
  GATE_RUN(it_comes_and_goes);
  GATE_RUN(sent_away_it_does_not_act);
  GATE_RUN(it_outlives_the_thread_that_made_it);
  GATE_RUN(it_holds_its_own_and_no_more);
  GATE_RUN(the_owner_is_killed_on_ext4);
  GATE_RUN(the_owner_is_killed_on_xfs);
  GATE_RUN(the_owner_ends_without_a_word);
  GATE_RUN(the_order_cannot_be_wrong);
  GATE_RUN(the_owner_leaves_a_child_with_everything_open);
  GATE_RUN(signals_do_not_end_it);
  GATE_RUN(the_owner_hangs);
  GATE_RUN(without_memory_files_a_copy_on_disk_will_do);
  GATE_RUN(it_continues_and_closes);
  GATE_RUN(in_a_forked_child_it_is_the_parents);
  GATE_RUN(memory_may_run_out_anywhere);
  GATE_RUN(too_many_are_refused);
}

int main(int argc, char **argv) {
  return freeze_case(argc, argv, all);
}
