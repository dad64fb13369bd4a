/*
** Disasters on real file systems, as a user of a session sees them: members
** that stand in each other's way, a full disk, a volume that goes away, one
** that is thawed or frozen by somebody else, a directory that is not ours, no
** privileges, two requesters. Each ends with a code of the documented list, and
** afterwards everything can be written to and nothing is left.
**
** not under valgrind: its children are forked or killed; ASan runs it
*/
#include <grp.h>

#include "shoot_case.h"
#include "volumes.h"
#include "vss/hold.h"

/* ------------------------------------------------------------------
** A set without writers
** ---------------------------------------------------------------- */

static const char *state_dir; /* or the usual one of these tests */
static bool forced;

static session *opened(void) {
  error *e = NULL;
  value *o = shoot_options(NULL, 60);
  if (state_dir != NULL) value_put(o, "state_dir", value_text(state_dir));
  value_put(o, "force", value_bool(forced));
  session *s = session_open(o, &e);
  value_free(o);
  CHECK(s != NULL);
  CHECK_INT(call(s, "initialize_for_backup", NULL), 0);
  CHECK_INT(call(s, "set_context", texts("context", "file_share_backup")), 0);
  return s;
}

/* Where the first member can be added. */
static session *begun(void) {
  session *s = opened();
  CHECK_INT(call(s, "start_snapshot_set", NULL), 0);
  return s;
}

static uint32_t add_path(session *s, const char *path, const char *with) {
  value *args = texts("path", path);
  value_put(args, "provider", value_text(with));
  return call(s, "add_to_snapshot_set", args);
}

static char said[1000];  /* of the operation that failed */
static uint32_t said_by; /* the code of its cause, or 0 */

static uint32_t shoot(session *s) {
  error *e = NULL;
  said[0] = '\0';
  said_by = 0;
  saros_op *op = session_begin(s, "do_snapshot_set", NULL, &e);
  CHECK(op != NULL);
  if (op == NULL) return e->code;
  CHECK(saros_op_wait(op, GATE_BOUND_MS));
  uint32_t code = saros_op_code(op);
  e = op_error(op);
  if (e != NULL) snprintf(said, sizeof said, "%s", e->message);
  if (e != NULL && e->cause != NULL) said_by = e->cause->code;
  if (getenv("V") != NULL && e != NULL) printf("0x%08x: %s\n", code, said);
  error_unref(e);
  saros_op_unref(op);
  return code;
}

static bool mentions(const char *text) {
  if (strstr(said, text) != NULL) return true;
  printf("\"%s\" does not say \"%s\"\n", said, text);
  return false;
}

/* The list of the original for do_snapshot_set. */
static bool is_listed(uint32_t code) {
  static const uint32_t all[] = {SAROS_E_ACCESSDENIED,
                                 SAROS_E_INVALIDARG,
                                 SAROS_E_OUTOFMEMORY,
                                 VSS_E_BAD_STATE,
                                 VSS_E_UNEXPECTED,
                                 VSS_E_FLUSH_WRITES_TIMEOUT,
                                 VSS_E_HOLD_WRITES_TIMEOUT,
                                 VSS_E_NESTED_VOLUME_LIMIT,
                                 VSS_E_INSUFFICIENT_STORAGE,
                                 VSS_E_PROVIDER_VETO,
                                 VSS_E_UNEXPECTED_PROVIDER_ERROR};
  for (size_t i = 0; i < sizeof all / sizeof *all; i++)
    if (all[i] == code) return true;
  return false;
}

/* In a process of its own: it would sleep for ever on what stays frozen. */
static bool is_writable(const char *directory) {
  char path[600];
  snprintf(path, sizeof path, "%s/touched", directory);
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    int fd = open(path, O_CREAT | O_WRONLY, 0600);
    _exit(fd >= 0 && write(fd, "x", 1) == 1 ? 0 : 1);
  }
  int status = -1;
  for (int i = 0; i < 3000; i++) {
    if (waitpid(child, &status, WNOHANG) == child) return status == 0;
    gate_nap();
  }
  return false;
}

static int entries(const char *path) {
  int n = gate_entries(path);
  return n < 0 ? 0 : n;
}

static void nothing_left(void) {
  CHECK_INT(shoot_records(), 0);
  CHECK_INT(entries(shoot_path("state/state/data")), 0);
  CHECK_INT(entries(shoot_path("state/run/frozen")), 0);
}


/* ------------------------------------------------------------------
** Members in each other's way
** ---------------------------------------------------------------- */

/* ext4 in a file on XFS, in a file on XFS, in a file on btrfs. */
static volume outer, middle, inner;

static bool nest(void) {
  static int made; /* 1: there, 2: not to be had */
  const volume *base = volumes_get(BTRFS);
  if (made == 0)
    made =
        base != NULL &&
                volume_make(&outer, "xfs", 900, base->path, "-m reflink=1") &&
                volume_make(&middle, "xfs", 400, outer.path, "-m reflink=1") &&
                volume_make(&inner, "ext4", 32, middle.path, NULL)
            ? 1
            : 2;
  return made == 1;
}

/* What both are, and that a clone on what is frozen would wait for its thaw:
   refused before anything is frozen. */
static void refused(const volume *a, const volume *b) {
  session *s = begun();
  CHECK_INT(add_path(s, a->path, "image"), 0);
  CHECK_INT(add_path(s, b->path, "image"), 0);
  CHECK_INT(shoot(s), VSS_E_PROVIDER_VETO);
  CHECK_INT(said_by, SAROS_E_REFUSED);
  CHECK(mentions(a->path) && mentions(b->path) && mentions("two sets"));
  finish(s);
  CHECK(is_writable(a->path) && is_writable(b->path));
  nothing_left();
}

static void alone(const volume *v) {
  session *s = begun();
  CHECK_INT(add_path(s, v->path, "image"), 0);
  CHECK_INT(shoot(s), 0);
  finish(s);
  CHECK(is_writable(v->path));
  nothing_left();
}

TEST(nested_images_in_one_set) {
  if (!nest()) SKIP(volumes_missing);
  refused(&inner, &middle);
  refused(&middle, &inner);
  refused(&inner, &outer); /* though what lies between is no member */
  forced = true;           /* insisting does not help */
  refused(&inner, &middle);
  forced = false;
  alone(&inner);
  alone(&middle);
  alone(&outer);
}

/* A clone of files on a file system that another member holds. */
TEST(reflinks_on_a_frozen_member) {
  if (!nest()) SKIP(volumes_missing);
  char path[400];
  snprintf(path, sizeof path, "%s/dir", outer.path);
  mkdir(path, 0755);
  session *s = begun();
  CHECK_INT(add_path(s, path, "reflink"), 0);
  CHECK_INT(add_path(s, outer.path, "image"), 0);
  CHECK_INT(shoot(s), VSS_E_PROVIDER_VETO);
  CHECK_INT(said_by, SAROS_E_REFUSED);
  finish(s);
  CHECK(is_writable(outer.path));
  nothing_left();
}

/* Side by side they are fine, and of one instant. */
TEST(neighbours_in_one_set) {
  static volume one, two;
  const volume *base = volumes_get(XFS);
  if (base == NULL || !volume_make(&one, "ext4", 32, base->path, NULL) ||
      !volume_make(&two, "ext4", 32, base->path, NULL))
    SKIP(volumes_missing);
  session *s = begun();
  CHECK_INT(add_path(s, one.path, "image"), 0);
  CHECK_INT(add_path(s, two.path, "image"), 0);
  CHECK_INT(shoot(s), 0);
  CHECK_INT(shoot_records(), 2);
  finish(s);
  CHECK(is_writable(one.path) && is_writable(two.path));
  nothing_left();
  volume_drop(&one);
  volume_drop(&two);
}


/* ------------------------------------------------------------------
** A full disk
** ---------------------------------------------------------------- */

static void fill(const char *directory) {
  volumes_run(
      "dd if=/dev/zero of='%s/full' bs=1M 2>/dev/null; "
      "dd if=/dev/zero of='%s/full2' bs=4k 2>/dev/null; "
      "i=0; while [ $i -lt 3000 ] && mkdir '%s/d'$i 2>/dev/null && "
      "echo x 2>/dev/null >'%s/d'$i/f; do i=$((i+1)); done; "
      "sync -f '%s'",
      directory, directory, directory, directory, directory);
}

static void empty(const char *directory) {
  volumes_run("rm -rf '%s/full' '%s/full2' '%s'/d[0-9]*", directory, directory,
              directory);
}

/* No room for the clone of an image. */
TEST(a07_an_image_on_a_full_xfs) {
  static volume below, v;
  if (!volume_make(&below, "xfs", 320, NULL, "-m reflink=1") ||
      !volume_make(&v, "ext4", 32, below.path, NULL))
    SKIP(volumes_missing);
  session *s = begun();
  CHECK_INT(add_path(s, v.path, "image"), 0);
  fill(below.path);
  uint32_t code = shoot(s);
  CHECK_INT(code, VSS_E_INSUFFICIENT_STORAGE);
  empty(below.path);
  finish(s);
  CHECK(is_writable(v.path));
  nothing_left();
  alone(&v); /* when there is room again */
  volume_drop(&v);
  volume_drop(&below);
}

/* No room where copies are kept. */
TEST(a07_copies_on_a_full_disk) {
  static volume v;
  char state[400];
  if (!volume_make(&v, "ext4", 24, NULL, NULL)) SKIP(volumes_missing);
  snprintf(state, sizeof state, "%s/state", v.path);
  volumes_run(
      "mkdir -p '%s' && dd if=/dev/urandom of='%s/data' bs=1M count=40 "
      "2>/dev/null",
      shoot_path("big"), shoot_path("big"));
  state_dir = state;
  session *s = begun();
  CHECK_INT(add_path(s, shoot_path("big"), "copy"), 0);
  CHECK_INT(shoot(s), VSS_E_INSUFFICIENT_STORAGE);
  finish(s);
  char data[500];
  snprintf(data, sizeof data, "%s/state/data", state);
  CHECK_INT(entries(data), 0);
  snprintf(data, sizeof data, "%s/state/shadows", state);
  CHECK_INT(entries(data), 0);
  state_dir = NULL;
  volume_drop(&v);
}


/* ------------------------------------------------------------------
** Somebody else
** ---------------------------------------------------------------- */

TEST(unmounted_between_add_and_do) {
  static volume v;
  const volume *base = volumes_get(XFS);
  if (base == NULL || !volume_make(&v, "ext4", 32, base->path, NULL))
    SKIP(volumes_missing);
  static const char *const with[] = {"copy", "image"};
  for (int i = 0; i < 2; i++) { /* an empty copy would be worst */
    session *s = begun();
    CHECK_INT(add_path(s, v.path, with[i]), 0);
    CHECK_INT(umount2(v.path, 0), 0);
    uint32_t code = shoot(s);
    CHECK(is_listed(code));
    CHECK_INT(code, VSS_E_PROVIDER_VETO);
    CHECK_INT(said_by, SAROS_E_CHANGED);
    CHECK(mentions(v.path));
    finish(s);
    nothing_left();
    int loop = volumes_attach(v.image, 0, 0, v.device);
    CHECK_INT(mount(v.device, v.path, "ext4", 0, NULL), 0);
    close(loop);
  }
  volume_drop(&v);
}

static int other_fd = -1;
static _Atomic int thawed_by_other;

static void thaw_first(const char *path, hold_moment moment) {
  (void)path;
  if (moment == MOMENT_THAW && ioctl(other_fd, FITHAW, 0) == 0)
    atomic_fetch_add(&thawed_by_other, 1);
}

/* Nobody knows what was written meanwhile: the set is void. */
TEST(thawed_by_somebody_else) {
  const volume *v = volumes_get(EXT4_ON_XFS);
  if (v == NULL) SKIP(volumes_missing);
  session *s = begun();
  CHECK_INT(add_path(s, v->path, "image"), 0);
  other_fd = open(v->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  atomic_store(&thawed_by_other, 0);
  hold_hook = thaw_first;
  CHECK_INT(shoot(s), VSS_E_HOLD_WRITES_TIMEOUT);
  hold_hook = (void (*)(const char *, hold_moment))0;
  CHECK_INT(atomic_load(&thawed_by_other), 1);
  CHECK(mentions(v->path));
  close(other_fd);
  finish(s);
  CHECK(is_writable(v->path));
  nothing_left();
}

/* It is told, and he keeps what he froze. */
TEST(frozen_by_somebody_else) {
  const volume *v = volumes_get(EXT4_ON_XFS);
  if (v == NULL) SKIP(volumes_missing);
  session *s = begun();
  CHECK_INT(add_path(s, v->path, "image"), 0);
  int fd = open(v->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  CHECK_INT(ioctl(fd, FIFREEZE, 0), 0);
  CHECK_INT(shoot(s), VSS_E_PROVIDER_VETO);
  CHECK_INT(said_by, VSS_E_VOLUME_IN_USE);
  CHECK(mentions("frozen already"));
  CHECK_INT(ioctl(fd, FITHAW, 0), 0); /* it still was */
  close(fd);
  finish(s);
  CHECK(is_writable(v->path));
  nothing_left();
}

TEST(a_directory_that_is_not_ours) {
  mkdir(shoot_path("theirs"), 0755);
  mkdir(shoot_path("theirs/state"), 0700);
  CHECK_INT(chown(shoot_path("theirs/state"), 65534, 65534), 0);
  state_dir = shoot_path("theirs");
  session *s = opened();
  CHECK_INT(call(s, "start_snapshot_set", NULL), SAROS_E_ACCESSDENIED);
  CHECK_INT(call(s, "query", NULL), SAROS_E_ACCESSDENIED);
  finish(s);
  CHECK_INT(entries(shoot_path("theirs/state")), 0);
  state_dir = NULL;
}


/* ------------------------------------------------------------------
** Without privileges
** ---------------------------------------------------------------- */

static int in_a_child(int (*what)(void)) {
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    alarm(120);
    check_bad = 0;
    int r = what();
    fflush(stdout);
    _exit(r != 0 || check_bad != 0);
  }
  int status = -1;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  return status;
}

static const volume *on_btrfs, *on_image;

/* What the method answers at once, and what it says. */
static void denied(session *s, const char *path, const char *with) {
  error *e = NULL;
  value *args = texts("path", path);
  value_put(args, "provider", value_text(with));
  saros_op *op = session_begin(s, "add_to_snapshot_set", args, &e);
  value_free(args);
  CHECK(op != NULL && saros_op_wait(op, GATE_BOUND_MS));
  if (op == NULL) return;
  CHECK_INT(saros_op_code(op), SAROS_E_ACCESSDENIED);
  e = op_error(op);
  CHECK(e != NULL && strstr(e->message, "CAP_") != NULL);
  if (e != NULL && strstr(e->message, "CAP_") == NULL)
    printf("%s\n", e->message);
  error_unref(e);
  saros_op_unref(op);
}

static int as_nobody(void) {
  if (setgroups(0, NULL) != 0 || setgid(65534) != 0 || setuid(65534) != 0)
    return 2;
  prctl(PR_SET_DUMPABLE, 1);
  state_dir = shoot_path("nobody");
  session *s = begun();
  if (on_btrfs != NULL) denied(s, volumes_in("sub"), "btrfs");
  if (on_image != NULL) denied(s, on_image->path, "image");
  CHECK_INT(add_path(s, shoot_path("public"), "copy"), 0); /* unharmed */
  CHECK_INT(shoot(s), 0);
  finish(s);
  return 0;
}

TEST(a16_an_unprivileged_caller) {
  char path[400];
  on_btrfs = volumes_get(BTRFS);
  on_image = volumes_get(EXT4_ON_XFS);
  if (on_btrfs != NULL) {
    snprintf(path, sizeof path, "%s/sub", on_btrfs->path);
    volumes_run("btrfs subvolume create '%s' >/dev/null", path);
    if (symlink(path, volumes_in("sub")) != 0) on_btrfs = NULL;
  }
  mkdir(shoot_path("nobody"), 0700);
  CHECK_INT(chown(shoot_path("nobody"), 65534, 65534), 0);
  mkdir(shoot_path("public"), 0755);
  volumes_run("echo hello >'%s/file'; chmod 755 '%s' '%s'",
              shoot_path("public"), shoot_dir, volumes_scratch);
  CHECK_INT(in_a_child(as_nobody), 0);
  if (on_btrfs == NULL || on_image == NULL) SKIP(volumes_missing);
}


/* ------------------------------------------------------------------
** Two requesters
** ---------------------------------------------------------------- */

static int tell_pipe[2], go_pipe[2];

/* Begins a set, says so, and is killed over it. */
static int first_requester(void) {
  session *s = begun();
  CHECK_INT(add_path(s, shoot_path("a"), "copy"), 0);
  CHECK_INT(shoot(s), 0);
  session *next = opened();
  CHECK_INT(call(next, "start_snapshot_set", NULL), 0);
  char c = 'x';
  CHECK(write(tell_pipe[1], &c, 1) == 1);
  CHECK(read(go_pipe[0], &c, 1) == 1);
  kill(getpid(), SIGKILL);
  return 1;
}

TEST(two_requesters) {
  char c = 0;
  CHECK_INT(pipe(tell_pipe) + pipe(go_pipe), 0);
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    alarm(120);
    _exit(first_requester());
  }
  CHECK(read(tell_pipe[0], &c, 1) == 1);
  CHECK_INT(shoot_records(), 1);
  session *s = opened();
  CHECK_INT(call(s, "start_snapshot_set", NULL),
            VSS_E_SNAPSHOT_SET_IN_PROGRESS);
  CHECK(write(go_pipe[1], &c, 1) == 1);
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
  CHECK_INT(call(s, "start_snapshot_set", NULL), 0);
  nothing_left(); /* what the dead one left went with that */
  CHECK_INT(add_path(s, shoot_path("a"), "copy"), 0);
  CHECK_INT(shoot(s), 0);
  finish(s);
  nothing_left();
}


static void all(void) {
  if (getuid() != 0) {
    printf("SKIPPED all: freezing and mounting need root\n");
    check_skipped++;
    return;
  }
  shoot_open();
  volumes_run("echo a >'%s/file'", shoot_path("a"));
  RUN(nested_images_in_one_set);
  RUN(reflinks_on_a_frozen_member);
  RUN(neighbours_in_one_set);
  RUN(a07_an_image_on_a_full_xfs);
  RUN(a07_copies_on_a_full_disk);
  RUN(unmounted_between_add_and_do);
  RUN(thawed_by_somebody_else);
  RUN(frozen_by_somebody_else);
  RUN(a_directory_that_is_not_ours);
  RUN(a16_an_unprivileged_caller);
  RUN(two_requesters);
}

int main(int argc, char **argv) {
  return volumes_main(argc, argv, all);
}
