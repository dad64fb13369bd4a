/*
** The numbered assertions about percentages and codes (A32 to A52), asked of
** real operations: each is held still at one of its steps, looked at, and let
** on. What is asked of the engine alone is in test_vocabulary_vds.c, A48 in
** test_vds_memory.c.
*/
#include "vds_whole_case.h"

#include <pthread.h>
#include <sched.h>

/* The one before is not needed any more: they are large. */
static const char *new_place(void) {
  static unsigned number;
  char name[40];
  snprintf(name, sizeof name, "new%u.img", number);
  unlink(place(name));
  snprintf(name, sizeof name, "new%u.img", ++number);
  return place(name);
}

/* Two slices. */
static saros_op *begin_full(const char *path) {
  return begin("create_vdisk", "{'path':'%s','size':134217728,'full':true}",
               path);
}


/* ------------------------------------------------------------------
** While it runs
** ---------------------------------------------------------------- */

TEST(a32_a33_a43_a45_running) {
  uint32_t hr;
  hold_at("create: slice");
  saros_op *op = begin_full(new_place());
  await_held();
  /* The worker sleeps in the hook; a question that waited for it would wait for
     ever. */
  for (int i = 0; i < 1000; i++) {
    CHECK_INT(percent_of(op, &hr), 50);
    CHECK_INT(hr, PENDING);
  }
  let_on();
  CHECK_ANSWER(end_of(op), 0);
}

TEST(a41_all_bytes_done_is_99) {
  uint32_t hr;
  hold_at("create: whole");
  saros_op *op = begin_full(new_place());
  await_held();
  CHECK_INT(percent_of(op, &hr), 99);
  CHECK_INT(hr, PENDING);
  let_on();
  CHECK_INT(saros_op_wait(op, VDS_CASE_BOUND), 1);
  CHECK_INT(percent_of(op, &hr), 100);
  CHECK_INT(hr, 0);
  saros_op_unref(op);
}

/* What it is at each step of one name; and is let on. */
static saros_op *watched;
static const char *watched_step;
static unsigned looked, wrong;

static void watch_hook(const char *step) {
  uint32_t hr = 0, percent = 0;
  if (strcmp(step, watched_step) != 0 || watched == NULL) return;
  looked++;
  if (saros_vds_query_status(watched, &hr, &percent) != 0 || hr != PENDING ||
      percent > 99)
    wrong++;
}

TEST(a33_clean_is_below_100_at_each_chunk) {
  NEED_DISKS();
  if (!is_here("clean")) SKIP("there is no clean in this build");
  const char *path = make_image(96);
  vds_identity who = attach_image(path);
  /* Held until `watched` is known. */
  hold_at("zero: chunk");
  watched_step = "zero: chunk";
  looked = wrong = 0;
  saros_op *op = begin_with("clean", options_on(&who, "{'full':true}"));
  await_held();
  watched = op;
  atomic_store(&vds_hook, watch_hook);
  let_on();
  CHECK_ANSWER(end_of(op), 0);
  CHECK(looked > 0);
  CHECK_INT(wrong, 0);
  watched = NULL;
  detach_image(path);
}

TEST(a36_a37_what_cannot_be_estimated_is_0) {
  NEED_DISKS();
  static const char *const steps[] = {
      "attach: record written", "attach: attached", "attach: recorded",
      "attach: surfaced",       "attach: kept",     "attach: done"};
  const char *path = make_image(8);
  uint32_t hr;
  for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
    hold_at(steps[i]);
    saros_op *op = begin("attach", "{'path':'%s'}", path);
    await_held();
    CHECK_INT(percent_of(op, &hr), 0);
    CHECK_INT(hr, PENDING);
    let_on();
    CHECK_ANSWER(end_of(op), 0);
    CHECK_ANSWER(ask("detach", "{'path':'%s'}", path), 0);
  }
}

TEST(a46_a47_bad_pointers_of_a_real_one) {
  uint32_t hr = 7, percent = 7, room[4] = {7, 7, 7, 7};
  uint32_t *askew = (uint32_t *)(void *)((char *)room + 2);
  hold_at("create: slice");
  saros_op *op = begin_full(new_place());
  await_held();
  CHECK_INT(saros_vds_query_status(op, NULL, &percent), SAROS_E_INVALIDARG);
  CHECK_INT(saros_vds_query_status(op, &hr, NULL), SAROS_E_INVALIDARG);
  CHECK_INT(saros_vds_query_status(op, askew, &percent), SAROS_E_INVALIDARG);
  CHECK_INT(saros_vds_query_status(op, &hr, askew), SAROS_E_INVALIDARG);
  CHECK(hr == 7 && percent == 7 && room[0] == 7 && room[1] == 7);
  CHECK_INT(percent_of(op, &hr), 50);
  CHECK_INT(hr, PENDING);
  let_on();
  CHECK_ANSWER(end_of(op), 0);
}


/* ------------------------------------------------------------------
** Its end
** ---------------------------------------------------------------- */

/* Three questions: the answer is the last one, and stays so. */
static void check_end_of(const char *call, saros_op *op, uint32_t code,
                         int type) {
  uint32_t hr;
  CHECK(op != NULL && saros_op_wait(op, VDS_CASE_BOUND) == 1);
  if (op == NULL) return;
  for (int i = 0; i < 3; i++) {
    CHECK_INT(percent_of(op, &hr), 100);
    if (hr != code) printf("%s:\n", call);
    CHECK_INT(hr, code);
  }
  CHECK_INT(saros_vds_cancel(op), code == VDS_E_OPERATION_CANCELED
                                      ? VDS_E_OPERATION_CANCELED
                                      : VDS_E_CANCEL_TOO_LATE);
  const value *output = op_output(op);
  if ((code & 0x80000000u) == 0 && type != 0) {
    CHECK_INT(value_integer(value_get(output, "vds_type"), -1), type);
    CHECK_TEXT(text_of(output, "type"), call);
  }
  error *e = op_error(op);
  if (e != NULL) printf("%s: %s\n", call, e->message);
  error_unref(e);
  saros_op_unref(op);
}

TEST(a34_a35_a44_virtual_disks_to_their_end) {
  NEED_DISKS();
  const char *path = new_place();
  check_end_of("create_vdisk", begin_full(path), 0, 200);
  check_end_of("attach", begin("attach", "{'path':'%s'}", path), 0, 201);
  check_end_of("expand",
               begin("expand", "{'path':'%s','size':167772160}", path), 0, 204);
  if (is_here("compact"))
    check_end_of("compact", begin("compact", "{'path':'%s'}", path), 0, 202);
  check_end_of("detach", begin("detach", "{'path':'%s'}", path), 0, 0);
}

/* One volume from its beginning to its end. */
TEST(a34_a35_a40_a44_volumes_to_their_end) {
  NEED_DISKS();
  if (!is_here("create_partition") || !is_here("format") || !is_here("clean"))
    SKIP("not all calls that it needs are in this build");
  if (!volumes_have("mke2fs")) SKIP("no mke2fs: apt-get install e2fsprogs");
  const char *path = make_image(96);
  vds_identity who = attach_image(path), part = {0};
  if (is_here("initialize"))
    check_end_of("initialize",
                 begin_with("initialize", options_on(&who, "{'style':'gpt'}")),
                 0, 0);
  saros_op *op =
      begin_with("create_partition", options_on(&who, "{'size':33554432}"));
  CHECK_INT(saros_op_wait(op, VDS_CASE_BOUND), 1);
  CHECK(vds_identity_get(value_get(op_output(op), "volume"), &part));
  check_end_of("create_partition", op, 0, 10);
  check_end_of("format",
               begin_with("format", options_on(&part, "{'fs':'ext4'}")), 0,
               101);
  if (is_here("check"))
    check_end_of("check", begin_with("check", options_on(&part, "{}")), 0, 0);
  if (is_here("label"))
    check_end_of("label",
                 begin_with("label", options_on(&part, "{'label':'x'}")), 0, 0);
  if (is_here("shrink")) {
    check_end_of("shrink",
                 begin_with("shrink", options_on(&part, "{'size':4194304}")), 0,
                 3);
    part.size -= 4194304;
  }
  if (is_here("delete_partition"))
    check_end_of("delete_partition",
                 begin_with("delete_partition", options_on(&part, "{}")), 0, 0);
  /* Not S_OK, and no failure. */
  check_end_of("clean", begin_with("clean", options_on(&who, "{}")),
               0x0004241Au, 11);
  check_end_of("clean", begin_with("clean", options_on(&who, "{'full':true}")),
               0, 11);
  detach_image(path);
}

TEST(a38_a39_a40_codes_of_ends) {
  const char *path = new_place();
  check_end_of("create_vdisk",
               begin("create_vdisk", "{'path':'%s/no/x','size':512}", path),
               VDS_E_PATH_NOT_FOUND, 200);
  check_end_of("create_vdisk",
               begin("create_vdisk", "{'path':'%s','size':512}", path), 0, 200);
  check_end_of("create_vdisk",
               begin("create_vdisk", "{'path':'%s','size':512}", path),
               VDS_S_ALREADY_EXISTS, 200);
}


/* ------------------------------------------------------------------
** Questions at any time
** ---------------------------------------------------------------- */

typedef struct poller {
  saros_op *op;
  atomic_long polls;
  int bad;
} poller;

/* Asks until the end and a little longer. */
static void *poll_it(void *argument) {
  poller *p = argument;
  uint32_t last = 0;
  for (int rest = 100; rest > 0;) {
    uint32_t hr = 1, percent = 101;
    if (saros_vds_query_status(p->op, &hr, &percent) != 0) p->bad++;
    if ((percent == 100) != (hr != PENDING)) p->bad++;
    if (percent < last || percent > 100) p->bad++;
    last = percent;
    atomic_fetch_add(&p->polls, 1);
    if (hr != PENDING) rest--;
  }
  return NULL;
}

/* At each step it is asked as often as a seed says before it goes on, so that
   every turn of the work is seen from outside. */
static poller *asked;
static unsigned turn_seed;

static void turn_hook(const char *step) {
  (void)step;
  if (asked == NULL) return;
  long until = atomic_load(&asked->polls) + 1 + (long)(rand_r(&turn_seed) % 50);
  while (atomic_load(&asked->polls) < until) sched_yield();
}

static void polled(saros_op *op) {
  pthread_t id;
  poller p = {.op = op};
  if (op == NULL) return;
  CHECK_INT(pthread_create(&id, NULL, poll_it, &p), 0);
  asked = &p;
  atomic_store(&vds_hook, turn_hook);
  let_on();
  CHECK_INT(saros_op_wait(op, VDS_CASE_BOUND), 1);
  pthread_join(id, NULL);
  atomic_store(&vds_hook, NULL);
  asked = NULL;
  CHECK_INT(p.bad, 0);
  CHECK_ANSWER(end_of(op), 0);
}

TEST(a42_a51_a52_percent_and_code_are_one) {
  turn_seed = 20261122;
  hold_at("create: slice");
  saros_op *op =
      begin("create_vdisk", "{'path':'%s','size':201326592,'full':true}",
            new_place());
  await_held();
  polled(op);
}

TEST(a42_a51_a52_of_a_clean) {
  NEED_DISKS();
  if (!is_here("clean")) SKIP("there is no clean in this build");
  turn_seed = 20261123;
  const char *path = make_image(256);
  vds_identity who = attach_image(path);
  hold_at("zero: chunk");
  saros_op *op = begin_with("clean", options_on(&who, "{'full':true}"));
  await_held();
  polled(op);
  detach_image(path);
}


/* ------------------------------------------------------------------
** No tool
** ---------------------------------------------------------------- */

/* Of this suite's mounts alone: something that cannot be run is in its place.
 */
TEST(a50_without_a_tool_its_package_is_named) {
  NEED_DISKS();
  if (!is_here("format")) SKIP("there is no format in this build");
  if (!volumes_own_mounts) SKIP("needs mounts of its own");
  static const char *const places[] = {"/usr/sbin/mkfs.xfs", "/sbin/mkfs.xfs"};
  const char *xfs = NULL;
  for (size_t i = 0; i < 2 && xfs == NULL; i++)
    if (access(places[i], F_OK) == 0) xfs = places[i];
  if (xfs != NULL && mount("/dev/null", xfs, "none", MS_BIND, NULL) != 0)
    SKIP("mkfs.xfs cannot be hidden here");
  const char *path = make_image(400);
  vds_identity who = attach_image(path);
  answer a = end_of(begin_with("format", options_on(&who, "{'fs':'xfs'}")));
  CHECK_INT(a.code, 0x80070002u);
  CHECK(strstr(a.message, "xfsprogs") != NULL);
  forget(&a);
  CHECK_INT(records_left(), 1); /* the disk's */
  detach_image(path);
  if (xfs != NULL) CHECK_INT(umount2(xfs, 0), 0);
}

static void all(void) {
  RUN(a32_a33_a43_a45_running);
  RUN(a41_all_bytes_done_is_99);
  RUN(a33_clean_is_below_100_at_each_chunk);
  RUN(a36_a37_what_cannot_be_estimated_is_0);
  RUN(a46_a47_bad_pointers_of_a_real_one);
  RUN(a34_a35_a44_virtual_disks_to_their_end);
  RUN(a34_a35_a40_a44_volumes_to_their_end);
  RUN(a38_a39_a40_codes_of_ends);
  RUN(a42_a51_a52_percent_and_code_are_one);
  RUN(a42_a51_a52_of_a_clean);
  RUN(a50_without_a_tool_its_package_is_named);
}

int main(int argc, char **argv) {
  return volumes_main(argc, argv, all);
}
