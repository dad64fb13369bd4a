/*
** The guard and the dead, against the real kernel: freezes that were under way
** when the owner was killed, guards that are killed themselves, records of the
** dead, and of liars.
**
** not under valgrind: its children are forked or killed; ASan runs it
*/
#include <linux/userfaultfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "guard_case.h"


/* ------------------------------------------------------------------
** A freeze under way
** ---------------------------------------------------------------- */

/* So many threads in the state D: not even SIGKILL ends them. */
static int waiting_in_kernel(pid_t pid) {
  char path[64];
  int count = 0;
  snprintf(path, sizeof path, "/proc/%d/task", pid);
  DIR *d = opendir(path);
  for (struct dirent *t; d != NULL && (t = readdir(d)) != NULL;) {
    char name[300];
    snprintf(name, sizeof name, "task/%.200s/stat", t->d_name);
    const char *at = strrchr(about(pid, name), ')');
    count += t->d_name[0] != '.' && at != NULL && at[2] == 'D';
  }
  if (d != NULL) closedir(d);
  return count;
}

static void *freeze_inner(void *unused) {
  (void)unused;
  freeze(volumes[INNER].fd);
  return NULL;
}

static bool begin_thread(void *(*body)(void *)) {
  pthread_t id;
  return pthread_create(&id, NULL, body, NULL) == 0;
}

/* The XFS is frozen by somebody else: so what the freeze of the ext4 in its
   image writes does not come to an end. */
static int freeze_for_ever(int also) {
  static const int which[] = {INNER, EXT4};
  error *e;
  char name[400];
  guard *g = arm_all(which, 2, 200, &e);
  if (g == NULL) return 1;
  snprintf(name, sizeof name, "%s/dirty", volumes[INNER].path);
  int fd = open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0 || write(fd, name, sizeof name) < 0) return 2;
  close(fd);
  if (freeze(volumes[XFS].fd) != 0) return 3;
  if (!guard_mark(g, 0, true)) return 4;
  if (!begin_thread(freeze_inner)) return 5;
  if (also) {
    if (!guard_mark(g, 1, true) || freeze(volumes[EXT4].fd) != 0) return 6;
  }
  GATE_UNTIL(waiting_in_kernel(getpid()) == 1);
  at_the_gate(g, 0);
  return 0;
}

static void *write_to_it(void *which) {
  char name[400];
  snprintf(name, sizeof name, "%s/blocked", volumes[*(int *)which].path);
  int fd = open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  return fd >= 0 && write(fd, name, sizeof name) > 0 ? which : NULL;
}

static int hold_and_write(int which) {
  guard *g = arm_one(which, LONG_MS);
  if (g == NULL || !guard_mark(g, 0, true)) return 1;
  if (freeze(volumes[which].fd) != 0) return 2;
  pthread_t id;
  if (pthread_create(&id, NULL, write_to_it, &which) != 0) return 3;
  GATE_UNTIL(waiting_in_kernel(getpid()) == 1);
  at_the_gate(g, 0);
  return 0;
}

/* It waits for the thaw in the kernel, and cannot die before. */
TEST(killed_while_it_writes_to_what_it_froze) {
  NEEDS_VOLUMES;
  for (int which = EXT4; which <= XFS; which++) {
    owner o = make_owner(hold_and_write, which);
    meet(&o);
    kill(o.pid, SIGKILL);
    CHECK_INT(farewell(&o), 1000 + SIGKILL);
    await_end(o.n.guard);
    check_nothing_left(which);
  }
}

/* Killed while its FIFREEZE is in the kernel: when it succeeds at last it is
   undone. */
TEST(a_freeze_that_succeeds_after_the_kill) {
  NEEDS_VOLUMES;
  owner o = make_owner(freeze_for_ever, 0);
  meet(&o);
  kill(o.pid, SIGKILL);
  CHECK_INT(thaw(volumes[XFS].fd), 0);
  farewell(&o);
  await_end(o.n.guard);
  check_nothing_left(INNER);
}

/* So often it has set its timer anew, or it has ended. */
static bool has_turned(pid_t pid, int times) {
  struct pollfd its = {.fd = pidfd_open(pid, 0), .events = POLLIN};
  int64_t before = 0;
  while (times > 0 && poll(&its, 1, 1) == 0) {
    int64_t left = guard_timer(pid);
    if (left > before) times--;
    before = left;
  }
  close(its.fd);
  return times == 0;
}

/* A disk may take longer than any patience with an owner that has only left. */
TEST(a_guard_stays_while_its_owner_dies) {
  NEEDS_VOLUMES;
  guard_leave_ms = 1;
  owner o = make_owner(freeze_for_ever, 0);
  guard_leave_ms = 60000;
  meet(&o);
  kill(o.pid, SIGKILL);
  CHECK(has_turned(o.n.guard, 5));
  CHECK_INT(thaw(volumes[XFS].fd), 0);
  farewell(&o);
  await_end(o.n.guard);
  check_nothing_left(INNER);
}

static pid_t child_of(pid_t pid) {
  char name[64];
  snprintf(name, sizeof name, "task/%d/children", pid);
  return (pid_t)strtol(about(pid, name), NULL, 10);
}

/* Whoever thaws is a process, too, and may be killed. */
TEST(one_that_thaws_is_killed) {
  NEEDS_VOLUMES;
  pid_t child = 0;
  owner o = make_owner(freeze_for_ever, 0);
  meet(&o);
  kill(o.pid, SIGKILL);
  GATE_UNTIL((child = child_of(o.n.guard)) > 0 &&
             waiting_in_kernel(child) == 1);
  CHECK_INT(child > 0 ? kill(child, SIGKILL) : -1, 0);
  CHECK_INT(thaw(volumes[XFS].fd), 0);
  farewell(&o);
  await_end(o.n.guard);
  check_nothing_left(INNER);
}

/* A write that is held up in the kernel because the page that it writes from
   is missing, until somebody puts it there: a freeze waits for its end, and a
   thaw is told meanwhile that nothing is frozen. */
static char *missing_page;

static void *write_from_it(void *unused) {
  char name[400];
  snprintf(name, sizeof name, "%s/held up", volumes[XFS].path);
  int fd = open(name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0 || write(fd, missing_page, 4096) < 0) _exit(90);
  close(fd);
  return unused;
}

static void *freeze_xfs(void *unused) {
  freeze(volumes[XFS].fd);
  return unused;
}

/* The descriptor that fills the page; -1. */
static int hold_up_a_write(void) {
  int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
  struct uffdio_api api = {.api = UFFD_API};
  missing_page = mmap(NULL, 4096, PROT_READ | PROT_WRITE,
                      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  struct uffdio_register range = {
      .range = {.start = (uintptr_t)missing_page, .len = 4096},
      .mode = UFFDIO_REGISTER_MODE_MISSING};
  struct uffd_msg message;
  if (fd < 0 || ioctl(fd, UFFDIO_API, &api) != 0 ||
      ioctl(fd, UFFDIO_REGISTER, &range) != 0)
    return -1;
  if (!begin_thread(write_from_it) || !await_fd(fd)) return -1;
  return read(fd, &message, sizeof message) == sizeof message ? fd : -1;
}

static int freeze_behind_a_write(int unused) {
  (void)unused;
  static const int which[] = {XFS, EXT4};
  error *e;
  guard *g = arm_all(which, 2, 200, &e);
  int fd = hold_up_a_write();
  if (g == NULL || fd < 0) return 1;
  int before = waiting_in_kernel(getpid());
  if (!guard_mark(g, 0, true) || !begin_thread(freeze_xfs)) return 2;
  GATE_UNTIL(waiting_in_kernel(getpid()) > before);
  if (!guard_mark(g, 1, true) || freeze(volumes[EXT4].fd) != 0) return 3;
  at_the_gate(g, 0);
  struct uffdio_zeropage fill = {
      .range = {.start = (uintptr_t)missing_page, .len = 4096}};
  if (ioctl(fd, UFFDIO_ZEROPAGE, &fill) != 0) return 4;
  for (;;) pause();
}

/* "Not frozen" was no answer: it is frozen after that, by an owner that lives
   or by one that was killed. */
static void frozen_after_the_answer(bool killed) {
  owner o = make_owner(freeze_behind_a_write, 0);
  meet(&o);
  GATE_UNTIL(!is_frozen(EXT4)); /* so the guard has asked for both by now */
  CHECK_INT(thaw(volumes[XFS].fd), EINVAL);
  if (killed)
    kill(o.pid, SIGKILL);
  else
    let_on(&o);
  GATE_UNTIL(!is_frozen(XFS));
  kill(o.pid, SIGKILL);
  CHECK_INT(farewell(&o), 1000 + SIGKILL);
  await_end(o.n.guard);
  check_nothing_left(XFS);
}

TEST(a_freeze_that_succeeds_after_the_guard_was_told_no) {
  NEEDS_VOLUMES;
  int fd = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
  if (fd < 0) SKIP("no userfaultfd here, which holds up a write");
  close(fd);
  frozen_after_the_answer(false);
  frozen_after_the_answer(true);
}

/* One that cannot be thawed holds up no other, though it comes before it. */
TEST(a_bad_disk_holds_up_no_other) {
  NEEDS_VOLUMES;
  owner o = make_owner(freeze_for_ever, 1);
  meet(&o);
  CHECK_INT(kill(o.pid, SIGSTOP), 0);
  GATE_UNTIL(!is_frozen(EXT4)); /* while the other one hangs */
  CHECK(is_frozen(XFS));
  CHECK_INT(thaw(volumes[XFS].fd), 0);
  GATE_UNTIL(!is_frozen(INNER));
  kill(o.pid, SIGKILL);
  farewell(&o);
  await_end(o.n.guard);
  check_nothing_left(INNER);
}


/* ------------------------------------------------------------------
** Guards that end
** ---------------------------------------------------------------- */

TEST(a_dead_guard_is_noticed_before_the_freeze) {
  NEEDS_VOLUMES;
  gate_counts before = gate_count();
  for (int taken = 0; taken < 2; taken++) {
    guard *g = arm_one(EXT4, LONG_MS);
    if (g == NULL) return;
    pid_t pid = guard_pid(g);
    int fd = pidfd_open(pid, 0);
    CHECK_INT(kill(pid, SIGKILL), 0);
    CHECK(await_fd(fd));
    close(fd);
    /* The host may have taken its status. */
    if (taken) CHECK_INT(waitpid(pid, NULL, 0), pid);
    CHECK(!guard_mark(g, 0, true));
    CHECK_INT(guard_disarm(g), 0);
    CHECK(is_gone(pid));
    CHECK_INT(names_in(records()), 0);
  }
  CHECK(gate_back_to(before));
}

TEST(both_are_killed_and_the_record_tells) {
  NEEDS_VOLUMES;
  for (int which = EXT4; which <= XFS; which++) {
    owner o = make_owner(hold_and_wait, which);
    meet(&o);
    value *report = value_list();
    CHECK(guard_recover(runtime, report) == NULL);
    CHECK_INT(report->count, 0); /* they live: it is not ours to touch */
    CHECK(is_frozen(which));
    kill_both(&o);
    CHECK(is_frozen(which));
    CHECK_INT(names_in(records()), 1);
    CHECK(guard_recover(runtime, report) == NULL);
    CHECK_INT(report->count, 1);
    check_nothing_left(which);
    CHECK(guard_recover(runtime, report) == NULL);
    CHECK_INT(report->count, 1);
    value_free(report);
  }
}

/* The guard, which cannot act; its owner is not waited for. */
static void kill_guard_first(owner *o) {
  kill(o->n.guard, SIGSTOP);
  kill(o->n.guard, SIGKILL);
  await_end(o->n.guard);
  kill(o->pid, SIGKILL);
}

/* As a service manager does it that kills all of a service: nobody is left
   for whom the owner, asleep in its own write, could wait. */
TEST(both_are_killed_and_it_writes_to_what_it_froze) {
  NEEDS_VOLUMES;
  for (int which = EXT4; which <= XFS; which++) {
    owner o = make_owner(hold_and_write, which);
    meet(&o);
    identity who = identity_of(o.pid);
    CHECK(!identity_is_doomed(who));
    value *report = value_list();
    kill_guard_first(&o);
    GATE_UNTIL(identity_is_doomed(who));
    CHECK(identity_lives(who));
    CHECK(is_frozen(which));
    if (which == EXT4) {
      CHECK(guard_recover(runtime, report) == NULL);
      CHECK_INT(report->count, 1);
    } else { /* or somebody wants to freeze it */
      dev_t device = device_of(which);
      CHECK(guard_await_others(runtime, &device, 1) == NULL);
    }
    CHECK_INT(farewell(&o), 1000 + SIGKILL);
    check_nothing_left(which);
    value_free(report);
  }
}

static void *recover_all(void *report) {
  error *e = guard_recover(runtime, report);
  CHECK(e == NULL);
  error_unref(e);
  return NULL;
}

/* Its FIFREEZE succeeds while we look what it has left. */
TEST(both_are_killed_and_a_freeze_is_under_way) {
  NEEDS_VOLUMES;
  owner o = make_owner(freeze_for_ever, 0);
  meet(&o);
  value *report = value_list();
  pthread_t id;
  kill_guard_first(&o);
  CHECK_INT(pthread_create(&id, NULL, recover_all, report), 0);
  GATE_UNTIL(waiting_in_kernel(getpid()) == 1);
  CHECK_INT(names_in(records()), 1);
  CHECK_INT(thaw(volumes[XFS].fd), 0);
  CHECK_INT(pthread_join(id, NULL), 0);
  CHECK_INT(farewell(&o), 1000 + SIGKILL);
  check_nothing_left(INNER);
  value_free(report);
}

/* Its path leads elsewhere now, and it is mounted at another one. */
TEST(what_moved_is_found) {
  NEEDS_VOLUMES;
  owner o = make_owner(hold_and_wait, EXT4);
  meet(&o);
  kill_both(&o);
  mkdir(in("else where"), 0755);
  CHECK_INT(mount(volumes[EXT4].path, in("else where"), NULL, MS_MOVE, NULL),
            0);
  CHECK(guard_recover(runtime, NULL) == NULL);
  CHECK_INT(mount(in("else where"), volumes[EXT4].path, NULL, MS_MOVE, NULL),
            0);
  check_nothing_left(EXT4);
}


/* ------------------------------------------------------------------
** Records that nobody should believe
** ---------------------------------------------------------------- */

static void put_record(const char *name, const char *text) {
  int fd = open(in("run/frozen/%s", name),
                O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  CHECK(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
  close(fd);
}

static bool record_is_there(const char *name) {
  return access(in("run/frozen/%s", name), F_OK) == 0;
}

/* As a dead owner left it, of that boot, naming that path and device. */
static const char *claim(const char *boot, const char *path, dev_t device) {
  static char text[2000];
  buffer exact = BUFFER_EMPTY;
  text_base64(&exact, path, strlen(path));
  snprintf(text, sizeof text,
           "{\"version\":1,\"boot\":\"%s\",\"space\":\"\","
           "\"owner\":{\"pid\":2147483646,\"start\":1},"
           "\"guard\":{\"pid\":2147483645,\"start\":1},"
           "\"items\":[{\"path\":\"x\",\"path_b64\":\"%s\","
           "\"device\":\"%u:%u\"}]}",
           boot, exact.data, major(device), minor(device));
  buffer_free(&exact);
  return text;
}

TEST(records_that_are_not_believed) {
  NEEDS_VOLUMES;
  char boot[64];
  identity_boot(boot);
  mkdir(in("run/frozen"), 0700);
  const char *true_one = claim(boot, volumes[EXT4].path, device_of(EXT4));
  CHECK_INT(freeze(volumes[EXT4].fd), 0);
  put_record("no-json.json", "{ this is none");
  put_record("empty.json", "");
  put_record("version.json", "{\"version\":2}");
  put_record("list.json", "[[[[[[[[[[[[1]]]]]]]]]]]]");
  put_record("note.txt", true_one);
  put_record("theirs.json", true_one);
  CHECK_INT(chown(in("run/frozen/theirs.json"), 1234, 1234), 0);
  put_record("open.json", true_one);
  CHECK_INT(chmod(in("run/frozen/open.json"), 0666), 0);
  put_record("big.json", true_one);
  CHECK_INT(truncate(in("run/frozen/big.json"), 2 << 20), 0);
  int fd = open(in("true"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  CHECK(write(fd, true_one, strlen(true_one)) > 0);
  close(fd);
  CHECK_INT(symlink(in("true"), in("run/frozen/link.json")), 0);
  CHECK_INT(mkfifo(in("run/frozen/fifo.json"), 0600), 0);
  CHECK_INT(mkdir(in("run/frozen/directory.json"), 0700), 0);
  value *report = value_list();
  error *e = guard_recover(runtime, report);
  CHECK(e == NULL);
  error_unref(e);
  CHECK(is_frozen(EXT4));
  CHECK_INT(report->count, 10); /* all but the one that is no .json */
  value_free(report);
  char command[400];
  snprintf(command, sizeof command, "rm -r '%s'", records());
  CHECK_INT(system(command), 0);
  CHECK_INT(thaw(volumes[EXT4].fd), 0);
}

TEST(records_that_do_not_fit) {
  NEEDS_VOLUMES;
  char boot[64];
  identity_boot(boot);
  mkdir(in("run/frozen"), 0700);
  CHECK_INT(freeze(volumes[EXT4].fd), 0);
  /* Of another boot: of no use any more. */
  put_record("old.json", claim("another", volumes[EXT4].path, device_of(EXT4)));
  CHECK(guard_recover(runtime, NULL) == NULL);
  CHECK(!record_is_there("old.json"));
  CHECK(is_frozen(EXT4));
  /* A device that is nowhere: kept until it is mounted again. */
  put_record("gone.json", claim(boot, volumes[EXT4].path, makedev(4000, 1)));
  value *report = value_list();
  CHECK(guard_recover(runtime, report) == NULL);
  CHECK(record_is_there("gone.json"));
  CHECK_INT(report->count, 1);
  value_free(report);
  CHECK(is_frozen(EXT4));
  CHECK_INT(unlink(in("run/frozen/gone.json")), 0);
  /* A path that is none. */
  put_record("path.json", claim(boot, "relative", device_of(EXT4)));
  CHECK(guard_recover(runtime, NULL) == NULL);
  CHECK(is_frozen(EXT4));
  CHECK(!record_is_there("path.json")); /* it will never make sense */
  /* And the right one, for comparison. */
  put_record("right.json", claim(boot, volumes[EXT4].path, device_of(EXT4)));
  CHECK(guard_recover(runtime, NULL) == NULL);
  CHECK(!record_is_there("right.json"));
  CHECK(!is_frozen(EXT4));
}

TEST(a_directory_that_is_not_trusted) {
  NEEDS_VOLUMES;
  gate_counts before = gate_count();
  mkdir(in("run/frozen"), 0700);
  CHECK_INT(chmod(records(), 0777), 0);
  error *e = guard_recover(runtime, NULL);
  CHECK_INT(e != NULL ? e->code : 0, SAROS_E_REFUSED);
  error_unref(e);
  int which = EXT4;
  CHECK(arm_all(&which, 1, LONG_MS, &e) == NULL);
  CHECK_INT(e != NULL ? e->code : 0, SAROS_E_REFUSED);
  error_unref(e);
  CHECK_INT(rmdir(records()), 0);
  CHECK(guard_recover(runtime, NULL) == NULL); /* there is none */
  CHECK(gate_back_to(before));
}

static void all(void) {
  guard_case_open();
  GATE_RUN(killed_while_it_writes_to_what_it_froze);
  GATE_RUN(a_freeze_that_succeeds_after_the_kill);
  GATE_RUN(a_guard_stays_while_its_owner_dies);
  GATE_RUN(one_that_thaws_is_killed);
  GATE_RUN(a_freeze_that_succeeds_after_the_guard_was_told_no);
  GATE_RUN(a_bad_disk_holds_up_no_other);
  GATE_RUN(a_dead_guard_is_noticed_before_the_freeze);
  GATE_RUN(both_are_killed_and_the_record_tells);
  GATE_RUN(both_are_killed_and_it_writes_to_what_it_froze);
  GATE_RUN(both_are_killed_and_a_freeze_is_under_way);
  GATE_RUN(what_moved_is_found);
  GATE_RUN(records_that_are_not_believed);
  GATE_RUN(records_that_do_not_fit);
  GATE_RUN(a_directory_that_is_not_trusted);
}

int main(int argc, char **argv) {
  return freeze_case(argc, argv, all);
}
