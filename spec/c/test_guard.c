/*
** The guard, against the real kernel: owners that are killed, that hang, that
** leave children behind; guards that are killed themselves; records of the
** dead, and of liars.
**
** not under valgrind: its children are forked or killed; ASan runs it
*/
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <linux/userfaultfd.h>
#include <stddef.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "freeze_case.h"
#include "op/thread.h"
#include "vss/guard_parts.h"

#define LONG_MS 100000 /* no deadline in this test */

static char runtime[300];

static const char *records(void) {
  return in("run/frozen");
}

static guard *arm_all(const int *which, size_t count, uint32_t ms, error **e) {
  guard_item items[VOLUMES];
  for (size_t i = 0; i < count; i++)
    items[i] = (guard_item){.action = GUARD_THAW,
                            .fd = volumes[which[i]].fd,
                            .ms = ms,
                            .path = volumes[which[i]].path};
  return guard_arm(items, count, runtime, e);
}

static guard *arm_one(int which, uint32_t ms) {
  error *e;
  guard *g = arm_all(&which, 1, ms, &e);
  if (g == NULL) printf("no guard: %s\n", e->message);
  error_unref(e);
  return g;
}


/* ------------------------------------------------------------------
** Owners, in processes of their own
** ---------------------------------------------------------------- */

/* What an owner tells us when it has come to its gate. */
typedef struct news {
  pid_t guard, other;
  int result;
} news;

typedef struct owner {
  pid_t pid;
  int from; /* where its news come from */
  int to;   /* closed by us: it may go on */
  news n;
} owner;

static int gate_out, gate_in; /* in the owner */

static void at_the_gate(guard *g, pid_t other) {
  news n = {.guard = g != NULL ? guard_pid(g) : 0, .other = other};
  char byte;
  if (write(gate_out, &n, sizeof n) != sizeof n) _exit(3);
  while (read(gate_in, &byte, 1) < 0 && errno == EINTR) {}
}

static owner make_owner(int (*body)(int which), int which) {
  int out[2], back[2];
  owner o = {.pid = -1};
  fflush(stdout);
  if (pipe2(out, O_CLOEXEC) != 0 || pipe2(back, O_CLOEXEC) != 0) return o;
  o.pid = fork();
  if (o.pid == 0) {
    setpgid(0, 0);
    alarm(GATE_BOUND_MS / 1000);
    close(out[0]);
    close(back[1]);
    gate_out = out[1];
    gate_in = back[0];
    check_bad = 0;
    int r = body(which);
    _exit(check_bad > 0 ? 100 : r);
  }
  setpgid(o.pid, o.pid); /* whoever comes first */
  close(out[1]);
  close(back[0]);
  o.from = out[0];
  o.to = back[1];
  return o;
}

static void meet(owner *o) {
  CHECK(await_fd(o->from));
  CHECK_INT(read(o->from, &o->n, sizeof o->n), sizeof o->n);
}

static void let_on(owner *o) {
  close(o->to);
  o->to = -1;
}

static int farewell(owner *o) {
  int status = await_end(o->pid);
  close(o->from);
  if (o->to >= 0) close(o->to);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 1000 + WTERMSIG(status);
}

static int hold_and_wait(int which) {
  guard *g = arm_one(which, LONG_MS);
  if (g == NULL || !guard_mark(g, 0, true)) return 1;
  if (freeze(volumes[which].fd) != 0) return 2;
  at_the_gate(g, 0);
  return 0;
}

/* What is left when it is over: nothing. */
static void check_nothing_left(int which) {
  CHECK(!is_frozen(which));
  CHECK_INT(names_in(records()), 0);
}


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

/* The content of a small file, or where a link points to. */
static const char *about(pid_t pid, const char *name) {
  static char text[256];
  char path[128];
  snprintf(path, sizeof path, "/proc/%d/%s", pid, name);
  ssize_t n = readlink(path, text, sizeof text - 1);
  if (n < 0) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    n = fd >= 0 ? read(fd, text, sizeof text - 1) : 0;
    if (fd >= 0) close(fd);
  }
  text[n > 0 ? n : 0] = '\0';
  return text;
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
  /* The socket, the owner, the records, two items, and a timer. */
  CHECK_INT(fds_of(pid), 6);
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
    kill(o.n.guard, SIGSTOP);
    kill(o.n.guard, SIGKILL);
    kill(o.pid, SIGKILL);
    farewell(&o);
    await_end(o.n.guard);
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

/* Its path leads elsewhere now, and it is mounted at another one. */
TEST(what_moved_is_found) {
  NEEDS_VOLUMES;
  owner o = make_owner(hold_and_wait, EXT4);
  meet(&o);
  kill(o.n.guard, SIGSTOP);
  kill(o.n.guard, SIGKILL);
  kill(o.pid, SIGKILL);
  farewell(&o);
  await_end(o.n.guard);
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

static dev_t device_of(int which) {
  struct stat st;
  CHECK_INT(fstat(volumes[which].fd, &st), 0);
  return st.st_dev;
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
    _exit(good && mem_blocks() == blocks - 1 && fd_count() == 0 ? 0 : 1);
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
  snprintf(runtime, sizeof runtime, "%s", in("run"));
  mkdir(runtime, 0700);
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
  GATE_RUN(a_freeze_that_succeeds_after_the_kill);
  GATE_RUN(a_freeze_that_succeeds_after_the_guard_was_told_no);
  GATE_RUN(a_bad_disk_holds_up_no_other);
  GATE_RUN(a_dead_guard_is_noticed_before_the_freeze);
  GATE_RUN(both_are_killed_and_the_record_tells);
  GATE_RUN(what_moved_is_found);
  GATE_RUN(records_that_are_not_believed);
  GATE_RUN(records_that_do_not_fit);
  GATE_RUN(a_directory_that_is_not_trusted);
  GATE_RUN(without_memory_files_a_copy_on_disk_will_do);
  GATE_RUN(it_continues_and_closes);
  GATE_RUN(in_a_forked_child_it_is_the_parents);
  GATE_RUN(memory_may_run_out_anywhere);
  GATE_RUN(too_many_are_refused);
}

int main(int argc, char **argv) {
  return freeze_case(argc, argv, all);
}
