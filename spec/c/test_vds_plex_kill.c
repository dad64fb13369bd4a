/*
** Mirrors, and a process that dies at any step of making, ending or mending
** one: what it leaves is whole, and reap brings it to one end or the other.
**
** not under valgrind: it knows nothing of what btrfs is told; ASan runs it
*/
#include "vds_left_case.h"
#include "vds_plex_case.h"

/* What a child begins. */
typedef saros_op *begins(const plexes *x);

static saros_op *adding(const plexes *x) {
  return begin("add_plex", "{'object':%s,'other':%s}", object(&x->disks[0]),
               object(&x->disks[1]));
}

static saros_op *removing(const plexes *x) {
  return begin("remove_plex", "{'object':%s,'other':%s}", object(&x->disks[0]),
               object(&x->disks[1]));
}

/* Which of the two is in, goes. */
static saros_op *repairing(const plexes *x) {
  int bad = is_member(x, 1) ? 1 : 2;
  return begin("repair_plex", "{'object':%s,'other':%s,'bad':%s}",
               object(&x->disks[0]), object(&x->disks[3 - bad]),
               object(&x->disks[bad]));
}

static saros_op *reaping(const plexes *x) {
  (void)x;
  return begin("reap", "{}");
}

/* Its code. Everything is done in children, so that there are no threads where
   one forks. */
static uint32_t done(begins *what, const plexes *x) {
  int ends[2];
  uint32_t code = 0xFFFFFFFFu;
  CHECK_INT(pipe2(ends, O_CLOEXEC), 0);
  pid_t child = fork_at_rest();
  if (child == 0) {
    answer a = end_of(what(x));
    if (a.code != 0) printf("it said: %s\n", a.message);
    fflush(stdout);
    _exit(write(ends[1], &a.code, sizeof a.code) == sizeof a.code ? 0 : 1);
  }
  close(ends[1]);
  CHECK_INT(read(ends[0], &code, sizeof code), sizeof code);
  close(ends[0]);
  CHECK(!has_died(child));
  return code;
}

/* A process that dies at the n-th step. Whether it came to that one. */
static bool die(begins *what, const plexes *x, int step) {
  pid_t child = fork_at_rest();
  if (child == 0) {
    atomic_store(&vds_dies_at, step);
    answer a = end_of(what(x));
    _exit(a.code == 0 ? 0 : 1);
  }
  return has_died(child);
}

/* The same, at the n-th step after a cancel that came at `at`. */
static bool die_undoing(begins *what, const plexes *x, const char *at,
                        int step) {
  pid_t child = fork_at_rest();
  if (child == 0) {
    hold_at(at);
    saros_op *op = what(x);
    await_held();
    saros_vds_cancel(op);
    atomic_store(&vds_dies_at, step);
    let_on();
    answer a = end_of(op);
    _exit(a.code == VDS_E_OPERATION_CANCELED ? 0 : 1);
  }
  return has_died(child);
}

/* Sound on the devices themselves, not only in memory. */
static void check_now(const plexes *x) {
  CHECK(is_filled(x->at, "one", 1, FILLED));
  check_btrfs(&x->disks[0], x->at);
  CHECK_INT(mount(x->disks[0].node, x->at, "btrfs", 0, NULL), 0);
  CHECK(is_filled(x->at, "one", 1, FILLED));
}

static void reap(void) {
  CHECK_INT(done(reaping, NULL), 0);
  CHECK_INT(records_left(), 0);
}

/* The step that the record is written at which says "back": the first one is
   that which it was held at. */
enum { GOING_BACK = 3 };

/* A whole mirror, or none. */
static bool is_mirror(const plexes *x) {
  bool member = is_member(x, 1);
  CHECK_INT(copies(x), member ? 2 : 1);
  if (!member) CHECK(strcmp(fs_on(&x->disks[1]), "btrfs") != 0);
  return member;
}

TEST(an_add_that_died_is_undone) {
  NEED_DISKS();
  plexes x = make(false);
  if (x.missing != NULL) SKIP(x.missing);
  int step = 1, whole = 0;
  for (; die(adding, &x, step); step += next_step()) {
    CHECK(is_filled(x.at, "one", 1, FILLED));
    reap();
    if (is_mirror(&x)) {
      whole++; /* it was done */
      CHECK_INT(done(removing, &x), 0);
    }
    if (step % 4 == 0) check_now(&x);
  }
  CHECK(step > 8 && whole >= 1 / next_step() && whole < step - 4);
  CHECK(is_mirror(&x)); /* it lived on */
  check_now(&x);
  drop(&x, 0);
}

TEST(a_removal_that_died_is_finished) {
  NEED_DISKS();
  plexes x = make(true);
  if (x.missing != NULL) SKIP(x.missing);
  int step = 1;
  for (; die(removing, &x, step); step += next_step()) {
    CHECK(is_filled(x.at, "one", 1, FILLED));
    reap();
    CHECK(!is_mirror(&x));
    CHECK_INT(done(adding, &x), 0);
    if (step % 4 == 0) check_now(&x);
  }
  CHECK(step > 6);
  CHECK(!is_mirror(&x));
  check_now(&x);
  drop(&x, 0);
}

TEST(a_repair_that_died_leaves_one_or_the_other) {
  NEED_DISKS();
  plexes x = make(true);
  if (x.missing != NULL) SKIP(x.missing);
  int step = 1;
  for (; die(repairing, &x, step); step += next_step()) {
    CHECK(is_filled(x.at, "one", 1, FILLED));
    reap();
    CHECK_INT(copies(&x), 2);
    CHECK(is_member(&x, 1) != is_member(&x, 2));
    if (step % 4 == 0) check_now(&x);
  }
  CHECK(step > 6);
  CHECK(is_member(&x, 1) != is_member(&x, 2));
  check_now(&x);
  drop(&x, 0);
}

/* It was told to go back, and had begun to. */
TEST(an_undoing_that_died_is_undone) {
  NEED_DISKS();
  plexes x = make(false);
  if (x.missing != NULL) SKIP(x.missing);
  int step = 1;
  for (; die_undoing(adding, &x, "plex: mirrored", step); step += next_step()) {
    reap();
    if (is_mirror(&x)) { /* it had not begun to go back */
      CHECK(step <= 2);
      CHECK_INT(done(removing, &x), 0);
    }
  }
  CHECK(step > 4);
  CHECK(!is_mirror(&x));
  check_now(&x);
  drop(&x, 0);
}

/* A removal that was being taken back: the device is a member again, whole, or
   it is none. */
TEST(a_removal_taken_back_that_died_is_one_or_the_other) {
  NEED_DISKS();
  plexes x = make(true);
  if (x.missing != NULL) SKIP(x.missing);
  int step = 1;
  for (; die_undoing(removing, &x, "device: removed", step);
       step += next_step()) {
    reap();
    if (!is_mirror(&x)) CHECK_INT(done(adding, &x), 0);
  }
  CHECK(step > 4);
  CHECK(is_mirror(&x));
  check_now(&x);
  drop(&x, 0);
}

TEST(a_reap_that_died_is_done_by_the_next_one) {
  NEED_DISKS();
  plexes x = make(false);
  if (x.missing != NULL) SKIP(x.missing);
  int step = 1;
  bool again = true;
  for (; again; step += next_step()) {
    CHECK(die_undoing(adding, &x, "plex: mirrored", GOING_BACK));
    CHECK_INT(records_left(), 1);
    again = die(reaping, &x, step);
    reap();
    CHECK(!is_mirror(&x));
  }
  CHECK(step > 4);
  check_now(&x);
  drop(&x, 0);
}

/* While it is reaped nobody else begins, here or elsewhere, by whichever of its
   devices he calls it; nor is it reaped twice at once. */
static saros_op *adding_a_third(const plexes *x) {
  return begin("add_plex", "{'object':%s,'other':%s}", object(&x->disks[1]),
               object(&x->disks[2]));
}

static saros_op *adding_while_reaped(const plexes *x) {
  hold_at("reap: plex is ours");
  saros_op *op = reaping(x);
  await_held();
  CHECK_ANSWER(end_of(adding_a_third(x)), VDS_E_ANOTHER_CALL_IN_PROGRESS);
  let_on();
  return op;
}

TEST(who_reaps_has_it_for_himself) {
  NEED_DISKS();
  plexes x = make(false);
  if (x.missing != NULL) SKIP(x.missing);
  CHECK(die_undoing(adding, &x, "plex: mirrored", GOING_BACK));
  CHECK_INT(done(adding_while_reaped, &x), 0);
  CHECK_INT(records_left(), 0);
  CHECK(!is_mirror(&x));
  CHECK(die_undoing(adding, &x, "plex: mirrored", GOING_BACK));
  halfway h = halfway_to("reap: plex is ours", NULL);
  if (h.child == 0) {
    answer a = end_of(reaping(&x));
    _exit(a.code == 0 ? 0 : 1);
  }
  somebody_stays = true;
  CHECK_INT(done(adding_a_third, &x), VDS_E_ANOTHER_CALL_IN_PROGRESS);
  somebody_stays = false;
  CHECK_INT(done(reaping, &x), 0);
  CHECK_INT(records_left(), 1);
  CHECK(is_member(&x, 1));
  halfway_end(&h, false);
  CHECK_INT(records_left(), 0);
  CHECK(!is_mirror(&x));
  drop(&x, 0);
}

/* What it needs to be mounted for waits until it is. */
TEST(what_is_not_mounted_waits) {
  NEED_DISKS();
  plexes x = make(false);
  if (x.missing != NULL) SKIP(x.missing);
  CHECK(die_undoing(adding, &x, "plex: mirrored", GOING_BACK));
  check_btrfs(&x.disks[0], x.at);
  CHECK_INT(done(reaping, &x), 0);
  CHECK_INT(records_left(), 1);
  CHECK_INT(mount(x.disks[0].node, x.at, "btrfs", 0, NULL), 0);
  reap();
  CHECK(!is_mirror(&x));
  drop(&x, 0);
}

static void all(void) {
  RUN(an_add_that_died_is_undone);
  RUN(a_removal_that_died_is_finished);
  RUN(a_repair_that_died_leaves_one_or_the_other);
  RUN(an_undoing_that_died_is_undone);
  RUN(a_removal_taken_back_that_died_is_one_or_the_other);
  RUN(a_reap_that_died_is_done_by_the_next_one);
  RUN(who_reaps_has_it_for_himself);
  RUN(what_is_not_mounted_waits);
}

int main(int argc, char **argv) {
  return volumes_main(argc, argv, all);
}
