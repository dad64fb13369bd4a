/*
** Holding file systems still, on real ones: their order, what may not be frozen
** and what cannot.
**
** not under valgrind: its children are forked or killed; ASan runs it
*/
#include "hold_case.h"

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "vss/grace.h"


/* ------------------------------------------------------------------
** All is well
** ---------------------------------------------------------------- */

WHOLE(one_is_held_and_let_go) {
  for (int which = EXT4; which <= XFS; which++) {
    scene s = {.count = 0};
    driver d;
    add(&s, volumes[which].path, &by_caller);
    drive(&d, plan(&s, LONG));
    until_held(&d);
    CHECK_INT(freeze(volumes[which].fd), EBUSY);
    CHECK_INT(records(), 1);
    uint64_t inside = engine_clock();
    finish_well(&d);
    CHECK(s.shadows[0].frozen_at != 0 && s.shadows[0].frozen_at < inside);
    CHECK(s.shadows[0].stalled_at != 0);
    CHECK(s.shadows[0].stalled_at <= s.shadows[0].frozen_at);
    CHECK(s.shadows[0].thawed_at > inside);
    end_scene(&s);
  }
}

WHOLE(nothing_to_freeze) {
  scene s = {.count = 0};
  driver d;
  add(&s, volumes[EXT4].path, &by_itself);
  add(&s, volumes[XFS].path, &by_nobody);
  hold *h = plan(&s, LONG);
  CHECK_INT(hold_count(h), 0);
  CHECK_INT(records(), 0); /* no guard for nothing */
  drive(&d, h);
  until_held(&d);
  CHECK(!is_frozen(EXT4));
  finish_well(&d);
  CHECK_INT(s.shadows[0].frozen_at, 0);
  end_scene(&s);
}

WHOLE(each_file_system_once) {
  scene s = {.count = 0};
  driver d;
  mkdir(in("ext4/a"), 0755);
  mkdir(in("bound"), 0755);
  CHECK_INT(mount(in("ext4/a"), in("bound"), NULL, MS_BIND, NULL), 0);
  add(&s, volumes[EXT4].path, &by_caller);
  add(&s, in("ext4/a"), &by_caller);
  add(&s, in("bound"), &by_caller);
  hold *h = plan(&s, LONG);
  CHECK_INT(hold_count(h), 1);
  drive(&d, h);
  until_held(&d);
  finish_well(&d);
  for (int i = 0; i < 3; i++) CHECK(s.shadows[i].frozen_at != 0);
  end_scene(&s);
  CHECK_INT(umount2(in("bound"), MNT_DETACH), 0);
}

WHOLE(deepest_first_and_thawed_in_reverse) {
  scene s = {.count = 0};
  driver d;
  memset(story, 0, sizeof story);
  hold_hook = tell;
  add(&s, volumes[XFS].path, &by_caller);
  add(&s, volumes[INNER].path, &by_caller);
  drive(&d, plan(&s, LONG));
  until_held(&d);
  CHECK_TEXT(story, "fIFIfXFX");
  finish_well(&d);
  CHECK_TEXT(story, "fIFIfXFXtXtI");
  end_scene(&s);
}

/* In a file instead of the kernel, which others here tell so, too. */
static char told[8][16], told_by[9];

static const char *grace_is(const char *path) {
  static char text[16];
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  CHECK(fd >= 0);
  ssize_t size = read(fd, text, sizeof text - 1);
  CHECK(size >= 0);
  text[size] = '\0';
  close(fd);
  return text;
}

static void grace_be(const char *text) {
  int fd = open(grace_path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
  CHECK(fd >= 0);
  CHECK_INT(write(fd, text, strlen(text)), strlen(text));
  close(fd);
}

static void note_grace(const char *path, hold_moment moment) {
  (void)path;
  size_t n = strlen(told_by);
  CHECK(n < 8);
  told_by[n] = "FXXTRE"[moment];
  snprintf(told[n], sizeof told[n], "%s", grace_is(grace_path));
}

WHOLE(the_kernel_is_hurried_for_as_long_as_it_freezes) {
  /* What it was, and whether it is ours to change. */
  static const struct {
    const char *before, *meanwhile, *after;
  } cases[] = {{"0\n", "1935\n", "0000\n"},
               {"1\n", "1\n", "1\n"},
               {"1935\n", "1935\n", "0000\n"}}; /* of who was killed */
  const char *was = grace_path;
  char at[1000];
  snprintf(at, sizeof at, "%s", in("grace"));
  grace_path = at;
  for (size_t i = 0; i < sizeof cases / sizeof *cases; i++) {
    scene s = {.count = 0};
    driver d;
    grace_be(cases[i].before);
    memset(told_by, 0, sizeof told_by);
    add(&s, volumes[EXT4].path, &by_caller);
    hold_hook = note_grace;
    rehearsing = true;
    drive(&d, plan(&s, LONG));
    until_held(&d);
    CHECK_TEXT(grace_is(at), cases[i].meanwhile);
    finish_well(&d);
    /* Rehearsed, flushed, frozen, thawed: nobody hurries while it flushes. */
    CHECK_TEXT(told_by, "REFXXT");
    for (size_t n = 0; n < 6; n++)
      CHECK_TEXT(told[n], n == 2 ? cases[i].after : cases[i].meanwhile);
    CHECK_TEXT(grace_is(at), cases[i].after);
    end_scene(&s);
  }
  grace_be("1935\n");
  CHECK(grace_heal());
  CHECK_TEXT(grace_is(at), "0000\n");
  CHECK(!grace_heal());
  grace_path = in("no/such/place");
  CHECK(!grace_heal());
  grace_path = was;
}

/* Neither comes out of this before the other is in it. */
static _Atomic int arrived;
static hold_moment meeting;

static void meet(const char *path, hold_moment moment) {
  (void)path;
  if (moment != meeting) return;
  atomic_fetch_add(&arrived, 1);
  GATE_UNTIL(atomic_load(&arrived) >= 2);
}

static void meet_at(hold_moment moment) {
  scene s = {.count = 0};
  driver d;
  arrived = 0;
  meeting = moment;
  hold_hook = meet;
  add(&s, volumes[XFS].path, &by_caller);
  add(&s, volumes[EXT4].path, &by_caller);
  drive(&d, plan(&s, LONG));
  until_held(&d);
  finish_well(&d);
  CHECK_INT(arrived, 2);
  end_scene(&s);
}

WHOLE(those_of_one_depth_side_by_side) {
  meet_at(MOMENT_FREEZE);
}

WHOLE(thawed_side_by_side) {
  meet_at(MOMENT_THAW);
}

/* Every thread of the lane sleeps, as in a write to what is frozen: thawed it
   is all the same. */
typedef struct sleeper {
  job j;
} sleeper;

static gated bed;

static void sleep_there(job *j) {
  (void)j;
  gate_pulse(&bed, &bed.entered);
  pthread_mutex_lock(&bed.lock);
  while (!bed.open) pthread_cond_wait(&bed.moved, &bed.lock);
  pthread_mutex_unlock(&bed.lock);
  gate_pulse(&bed, &bed.releases);
}

/* Those that are frozen keep theirs, and none has to be made meanwhile. */
WHOLE(there_is_a_thread_for_each_commit) {
  static sleeper sleepers[SHADOWS];
  scene s = {.count = 0};
  driver d;
  gated_kind(&bed, SAROS_FACADE_VSS, 0);
  CHECK_INT(engine_acquire(), 0);
  for (int i = 0; i < VOLUMES; i++) add(&s, volumes[i].path, &by_caller);
  add(&s, volumes[EXT4].path, &by_nobody);
  CHECK_INT(pool_ready(POOL_HELD, SHADOWS), 0); /* as the coordinator does */
  hold *h = plan(&s, LONG);
  unsigned threads = pool_threads(POOL_HELD);
  CHECK_INT(threads, SHADOWS + VOLUMES); /* each its own, not one for both */
  drive(&d, h);
  until_held(&d);
  for (int i = 0; i < SHADOWS; i++) {
    sleepers[i].j.run = sleep_there;
    CHECK_INT(pool_submit(&sleepers[i].j, POOL_HELD), 0);
  }
  CHECK(gated_await(&bed, &bed.entered, SHADOWS));
  CHECK_INT(pool_threads(POOL_HELD), threads);
  finish_well(&d); /* they sleep on, and it is thawed all the same */
  gated_open(&bed, 0);
  CHECK(gated_await(&bed, &bed.releases, SHADOWS));
  pool_dismiss(POOL_HELD, SHADOWS);
  engine_release();
  end_scene(&s);
}

WHOLE(a_lane_that_is_full_cannot_keep_it) {
  enum { MANY = POOL_LANE_MOST + 10 };
  static sleeper sleepers[MANY];
  scene s = {.count = 0};
  driver d;
  gated_kind(&bed, SAROS_FACADE_VSS, 0);
  add(&s, volumes[EXT4].path, &by_caller);
  drive(&d, plan(&s, LONG));
  until_held(&d);
  for (int i = 0; i < MANY; i++) {
    sleepers[i].j.run = sleep_there;
    CHECK_INT(pool_submit(&sleepers[i].j, POOL_LANE), 0);
  }
  CHECK(gated_await(&bed, &bed.entered, POOL_LANE_MOST - 1));
  CHECK_INT(engine_acquire(), 0); /* for the sleepers */
  finish_well(&d);
  CHECK(!is_frozen(EXT4));
  gated_open(&bed, 0);
  CHECK(gated_await(&bed, &bed.releases, MANY));
  engine_release();
  end_scene(&s);
}


/* ------------------------------------------------------------------
** What may not be frozen
** ---------------------------------------------------------------- */

/* The sentence, when it is refused; "" when it is not. Nothing is frozen. */
static const char *refusal(const char *path, const char *own_state,
                           const char *own_runtime, bool force) {
  static char said[1000];
  scene s = {.count = 0};
  error *e;
  hold_options o = {.runtime = own_runtime,
                    .state = own_state,
                    .seconds = LONG,
                    .force = force};
  add(&s, path, &by_caller);
  hold *h = plan_with(&s, &o, &e);
  said[0] = '\0';
  if (h != NULL) hold_free(h);
  if (e != NULL) {
    CHECK_INT(e->code, SAROS_E_REFUSED);
    snprintf(said, sizeof said, "%s", e->message);
  }
  error_unref(e);
  end_scene(&s);
  return said;
}

WHOLE(what_we_need_ourselves_is_refused) {
  char there[400];
  CHECK_INT(engine_acquire(), 0);
  snprintf(there, sizeof there, "%s/saros", volumes[EXT4].path);
  mkdir(there, 0700);
  const char *path = volumes[EXT4].path;
  CHECK(says(refusal(path, there, runtime, false), "saros writes to"));
  CHECK(says(refusal(path, state, there, false), "saros writes to"));
  CHECK(says(refusal(path, there, runtime, false), "force"));
  CHECK_TEXT(refusal(path, there, runtime, true), "");
  CHECK_TEXT(refusal(path, state, runtime, false), "");
  CHECK(says(refusal("/", state, runtime, false),
             "the running system writes to /"));
  /* It is not on the XFS, but in an image that is. */
  snprintf(there, sizeof there, "%s/saros", volumes[INNER].path);
  mkdir(there, 0700);
  CHECK(says(refusal(volumes[XFS].path, there, runtime, false),
             "on a loop device whose file is"));
  CHECK_TEXT(refusal(path, there, runtime, false), "");
  engine_release();
}

WHOLE(what_is_registered_is_refused) {
  CHECK_INT(engine_acquire(), 0);
  char file[400];
  snprintf(file, sizeof file, "%s/queue.db", volumes[INNER].path);
  int fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  device_hold *queue = device_hold_fd(fd, "the transfer queue", file);
  CHECK(queue != NULL);
  CHECK(says(refusal(volumes[INNER].path, state, runtime, false),
             "the transfer queue writes to"));
  CHECK(says(refusal(volumes[XFS].path, state, runtime, false),
             "the transfer queue writes to"));
  CHECK_TEXT(refusal(volumes[EXT4].path, state, runtime, false), "");
  device_release(queue);
  CHECK_TEXT(refusal(volumes[XFS].path, state, runtime, false), "");
  close(fd);
  engine_release();
}

TEST(what_is_swapped_to_is_refused) {
  NEEDS_VOLUMES;
  char command[2000], file[400];
  snprintf(file, sizeof file, "%s/swap file", volumes[EXT4].path);
  snprintf(command, sizeof command,
           "PATH=$PATH:/usr/sbin:/sbin; dd if=/dev/zero of='%s' bs=64k "
           "count=64 2>/dev/null && chmod 600 '%s' && mkswap '%s' >/dev/null",
           file, file, file);
  if (system(command) != 0) SKIP("no mkswap here");
  if (swapon(file, 0) != 0) SKIP("this machine permits no swap");
  CHECK_INT(engine_acquire(), 0);
  CHECK(says(refusal(volumes[EXT4].path, state, runtime, false),
             "the swap of this machine"));
  engine_release();
  CHECK_INT(swapoff(file), 0);
  unlink(file);
}


/* ------------------------------------------------------------------
** What cannot be frozen
** ---------------------------------------------------------------- */

WHOLE(frozen_by_somebody_else_stays_so) {
  scene s = {.count = 0};
  driver d;
  add(&s, volumes[XFS].path, &by_caller);
  add(&s, volumes[EXT4].path, &by_caller);
  CHECK_INT(freeze(volumes[EXT4].fd), 0);
  drive(&d, plan(&s, LONG));
  outcome o = finish(&d, false);
  CHECK_INT(o.freeze, VSS_E_VOLUME_IN_USE);
  CHECK(says(o.said, "by somebody else"));
  CHECK_INT(o.release, 0);
  CHECK(is_frozen(EXT4)); /* still theirs */
  CHECK(!is_frozen(XFS));
  CHECK_INT(thaw(volumes[EXT4].fd), 0);
  end_scene(&s);
}

WHOLE(one_that_cannot_freeze) {
  scene s = {.count = 0};
  driver d;
  mkdir(in("memory"), 0755);
  CHECK_INT(mount("none", in("memory"), "tmpfs", 0, NULL), 0);
  add(&s, in("memory"), &by_caller);
  drive(&d, plan(&s, LONG));
  outcome o = finish(&d, false);
  CHECK_INT(o.freeze, VSS_E_VOLUME_NOT_SUPPORTED);
  CHECK(says(o.said, "tmpfs"));
  CHECK_INT(o.release, 0);
  end_scene(&s);
  CHECK_INT(umount2(in("memory"), MNT_DETACH), 0);
}

static bool give_up_right(int right) {
  struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
  struct __user_cap_data_struct data[2];
  if (syscall(SYS_capget, &header, data) != 0) return false;
  data[right / 32].effective &= ~(1u << (right % 32));
  return syscall(SYS_capset, &header, data) == 0;
}

static int without_right(void) {
  scene s = {.count = 0};
  driver d;
  if (!give_up_right(CAP_SYS_ADMIN)) return 2;
  add(&s, volumes[EXT4].path, &by_caller);
  drive(&d, plan(&s, LONG));
  outcome o = finish(&d, false);
  bool good = o.freeze == SAROS_E_ACCESSDENIED && o.release == 0 &&
              says(o.said, "CAP_SYS_ADMIN");
  return good && check_bad == 0 ? 0 : 3;
}

WHOLE(one_who_may_not) {
  CHECK_INT(in_child(without_right), 0);
}

WHOLE(one_that_is_not_there_any_more) {
  scene s = {.count = 0};
  error *e;
  hold_options o = {.runtime = runtime, .state = state, .seconds = LONG};
  CHECK_INT(engine_acquire(), 0);
  add(&s, volumes[EXT4].path, &by_caller);
  /* Another file system over it, meanwhile. */
  CHECK_INT(mount("none", volumes[EXT4].path, "tmpfs", 0, NULL), 0);
  CHECK(plan_with(&s, &o, &e) == NULL);
  CHECK_INT(e->code, SAROS_E_CHANGED);
  error_unref(e);
  CHECK_INT(umount2(volumes[EXT4].path, MNT_DETACH), 0);
  engine_release();
  end_scene(&s);
}

static void all(void) {
  hold_case_open();
  GATE_RUN(one_is_held_and_let_go);
  GATE_RUN(nothing_to_freeze);
  GATE_RUN(each_file_system_once);
  GATE_RUN(deepest_first_and_thawed_in_reverse);
  GATE_RUN(the_kernel_is_hurried_for_as_long_as_it_freezes);
  GATE_RUN(those_of_one_depth_side_by_side);
  GATE_RUN(thawed_side_by_side);
  GATE_RUN(there_is_a_thread_for_each_commit);
  GATE_RUN(a_lane_that_is_full_cannot_keep_it);
  GATE_RUN(what_we_need_ourselves_is_refused);
  GATE_RUN(what_is_registered_is_refused);
  GATE_RUN(what_is_swapped_to_is_refused);
  GATE_RUN(frozen_by_somebody_else_stays_so);
  GATE_RUN(one_that_cannot_freeze);
  GATE_RUN(one_who_may_not);
  GATE_RUN(one_that_is_not_there_any_more);
}

int main(int argc, char **argv) {
  return freeze_case(argc, argv, all);
}
