/*
** Mirrors on btrfs: a device more, less, in the place of another one; what is
** refused, and what a cancel leaves.
**
** not under valgrind: it knows nothing of what btrfs is told; ASan runs it
*/
#include "vds_plex_case.h"

#include <linux/btrfs_tree.h>

#include "vds/balance.h"

static saros_op *begin_add(const plexes *x, int i, const char *more) {
  return begin("add_plex", "{'object':%s,'other':%s%s}", object(&x->disks[0]),
               object(&x->disks[i]), more);
}

static saros_op *begin_remove(const plexes *x, int i) {
  return begin("remove_plex", "{'object':%s,'other':%s}",
               object(&x->disks[i == 0 ? 1 : 0]), object(&x->disks[i]));
}

TEST(a34_a35_a44_a_plex_comes_and_goes) {
  NEED_DISKS();
  plexes x = make(false);
  if (x.missing != NULL) SKIP(x.missing);
  CHECK_INT(copies(&x), 1);
  answer a = end_of(begin_add(&x, 1, ""));
  if (a.code != 0) printf("%s\n", a.message);
  CHECK_INT(a.code, 0);
  CHECK_INT(value_integer(value_get(a.output, "vds_type"), 0), 4);
  CHECK_INT(value_integer(value_get(a.output, "copies"), 0), 2);
  CHECK_INT(value_get(a.output, "members")->count, 2);
  CHECK_TEXT(text_of(value_get(a.output, "volume"), "path"), x.disks[0].node);
  forget(&a);
  CHECK_INT(copies(&x), 2);
  CHECK(is_member(&x, 1));
  CHECK_ANSWER(end_of(begin_add(&x, 1, "")), VDS_E_DISK_IN_USE_BY_VOLUME);
  fill_file(x.at, "two", 2, 4);
  a = end_of(begin_remove(&x, 1));
  if (a.code != 0) printf("%s\n", a.message);
  CHECK_INT(a.code, 0);
  CHECK_INT(value_integer(value_get(a.output, "vds_type"), 0), 6);
  CHECK_INT(value_integer(value_get(a.output, "copies"), 0), 1);
  forget(&a);
  CHECK(!is_member(&x, 1));
  CHECK_TEXT(fs_on(&x.disks[1]), "");
  CHECK(is_filled(x.at, "two", 2, 4));
  CHECK_INT(records_left(), 0);
  drop(&x, 0);
}

TEST(a_third_device_is_a_third_copy) {
  NEED_DISKS();
  plexes x = make(true);
  if (x.missing != NULL) SKIP(x.missing);
  CHECK_INT(copies(&x), 2);
  CHECK_ANSWER(end_of(begin_add(&x, 2, "")), 0);
  CHECK_INT(copies(&x), 3);
  /* The first one goes: what is left is told of by another one. */
  CHECK_ANSWER(end_of(begin("remove_plex", "{'object':%s,'other':%s}",
                            object(&x.disks[0]), object(&x.disks[0]))),
               0);
  CHECK_INT(copies(&x), 2);
  CHECK(!is_member(&x, 0) && is_member(&x, 1) && is_member(&x, 2));
  drop(&x, 1);
}

TEST(a_device_takes_the_place_of_another) {
  NEED_DISKS();
  plexes x = make(true);
  if (x.missing != NULL) SKIP(x.missing);
  answer a = ask("repair_plex", "{'object':%s,'other':%s,'bad':%s}",
                 object(&x.disks[0]), object(&x.disks[2]), object(&x.disks[1]));
  if (a.code != 0) printf("%s\n", a.message);
  CHECK_INT(a.code, 0);
  CHECK_INT(value_integer(value_get(a.output, "vds_type"), 0), 7);
  forget(&a);
  CHECK_INT(copies(&x), 2);
  CHECK(is_member(&x, 2) && !is_member(&x, 1));
  CHECK_TEXT(fs_on(&x.disks[1]), "");
  /* Back again, and by its number. */
  CHECK_ANSWER(ask("repair_plex", "{'object':%s,'other':%s,'bad':2}",
                   object(&x.disks[0]), object(&x.disks[1])),
               0);
  CHECK(!is_member(&x, 2) && is_member(&x, 1));
  CHECK_INT(records_left(), 0);
  drop(&x, 0);
}

/* One of the disks is gone, and the file system mounted without it. */
TEST(what_is_gone_is_replaced_by_its_number) {
  NEED_DISKS();
  plexes x = make(true);
  if (x.missing != NULL) SKIP(x.missing);
  check_btrfs(&x.disks[0], x.at);
  volumes_run("btrfs device scan --forget %s >/dev/null 2>&1", x.disks[1].node);
  drop_disk(&x.disks[1]);
  if (mount(x.disks[0].node, x.at, "btrfs", 0, "degraded") != 0)
    SKIP("the kernel mounts no btrfs that misses a device here");
  CHECK_ANSWER(end_of(begin_add(&x, 2, "")), VDS_E_VOLUME_NOT_HEALTHY);
  answer a = ask("repair_plex", "{'object':%s,'other':%s,'bad':2}",
                 object(&x.disks[0]), object(&x.disks[2]));
  if (a.code != 0) printf("%s\n", a.message);
  CHECK_INT(a.code, 0);
  forget(&a);
  CHECK(is_member(&x, 2));
  CHECK_INT(copies(&x), 2);
  CHECK_INT(records_left(), 0);
  drop(&x, 0);
}

static error *remove_anyhow(vds_call *c) {
  int mount = open(vds_text(c, "at"), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  error *e = vds_remove_device(c, mount, 2, NULL);
  close(mount);
  return e;
}

static const vds_work remove_call = {
    "remove_anyhow", VDS_UNKNOWN, VDS_CLAIMS_NOTHING,
    VDS_KIND("remove_anyhow", SAROS_CANCELLABLE), remove_anyhow};

/* A number above zero is no success: the kernel says so that too few devices
   would be left. It is told as it is, however it is asked for. */
TEST(a50_a_word_of_the_kernel_is_told) {
  NEED_DISKS();
  plexes x = make(true);
  uint32_t why = 0, hr = 0, percent = 0;
  if (x.missing != NULL) SKIP(x.missing);
  value *options = value_map();
  value_put(options, "at", value_text(x.at));
  saros_op *op = vds_call_begin(&remove_call, options, NULL, &why);
  answer a = end_of(op);
  CHECK_INT(a.code, VDS_E_OPERATION_DENIED);
  CHECK(strstr(a.message, "too few devices") != NULL);
  CHECK_INT(saros_vds_query_status(op, &hr, &percent), 0);
  CHECK_INT(hr, VDS_E_OPERATION_DENIED);
  forget(&a);
  CHECK(is_member(&x, 1));
  drop(&x, 0);
}


/* ------------------------------------------------------------------
** Refused
** ---------------------------------------------------------------- */

TEST(what_is_no_mirror_is_not_taken_apart) {
  NEED_DISKS();
  plexes x = make(false);
  if (x.missing != NULL) SKIP(x.missing);
  disk small = make_disk(16);
  CHECK_ANSWER(end_of(begin_remove(&x, 0)), VDS_E_INCOMPATIBLE_FILE_SYSTEM);
  CHECK_ANSWER(end_of(begin_remove(&x, 1)), VDS_E_OBJECT_NOT_FOUND);
  CHECK_ANSWER(end_of(begin("remove_plex", "{'object':%s,'other':%s}",
                            object(&x.disks[0]), object(&x.disks[0]))),
               VDS_E_VOLUME_NOT_A_MIRROR);
  CHECK_ANSWER(
      ask("repair_plex", "{'object':%s,'other':%s,'bad':%s}",
          object(&x.disks[0]), object(&x.disks[1]), object(&x.disks[0])),
      VDS_E_VOLUME_NOT_A_MIRROR);
  CHECK_ANSWER(ask("repair_plex", "{'object':%s,'other':%s,'bad':7}",
                   object(&x.disks[0]), object(&x.disks[1])),
               VDS_E_OBJECT_NOT_FOUND);
  CHECK_ANSWER(ask("add_plex", "{'object':%s}", object(&x.disks[0])),
               SAROS_E_INVALIDARG);
  CHECK_ANSWER(ask("add_plex", "{'object':%s,'other':%s}", object(&x.disks[1]),
                   object(&x.disks[2])),
               VDS_E_INCOMPATIBLE_FILE_SYSTEM);
  CHECK_ANSWER(ask("add_plex", "{'object':%s,'other':%s}", object(&x.disks[0]),
                   object(&small)),
               VDS_E_NOT_ENOUGH_SPACE);
  CHECK_ANSWER(ask("break_plex", "{'object':%s}", object(&x.disks[0])),
               VDS_E_NOT_SUPPORTED);
  CHECK_INT(umount2(x.at, 0), 0);
  CHECK_ANSWER(end_of(begin_add(&x, 1, "")), VDS_E_VOLUME_NOT_MOUNTED);
  CHECK_INT(mount(x.disks[0].node, x.at, "btrfs", MS_RDONLY, NULL), 0);
  CHECK_ANSWER(end_of(begin_add(&x, 1, "")), VDS_E_MEDIA_WRITE_PROTECTED);
  CHECK_INT(records_left(), 0);
  drop_disk(&small);
  drop(&x, 0);
}

/* A plan says what would be lost, and changes nothing. */
TEST(what_is_on_the_new_device_is_named) {
  NEED_DISKS();
  plexes x = make(false);
  if (x.missing != NULL) SKIP(x.missing);
  CHECK_INT(volumes_run("mkswap -L gone %s >/dev/null 2>&1", x.disks[1].node),
            0);
  answer a = end_of(begin_add(&x, 1, ",'plan':true"));
  CHECK_INT(a.code, 0);
  CHECK(value_boolean(value_get(a.output, "allowed"), false));
  const value *lost = value_get(value_get(a.output, "lost"), "file_systems");
  CHECK(lost != NULL && lost->count == 1);
  if (lost != NULL && lost->count == 1)
    CHECK_TEXT(text_of(lost->as.items[0], "label"), "gone");
  forget(&a);
  CHECK_TEXT(fs_on(&x.disks[1]), "swap");
  CHECK_INT(copies(&x), 1);
  drop(&x, 0);
}

/* Who would format, clean or add a member of a btrfs of several takes a part of
   it away. */
TEST(a_member_is_no_volume_of_its_own) {
  NEED_DISKS();
  plexes x = make(true), y = make(false);
  if (x.missing != NULL) SKIP(x.missing);
  if (y.missing != NULL) SKIP(y.missing);
  check_btrfs(&x.disks[0], x.at); /* unmounted */
  answer a = ask("add_plex", "{'object':%s,'other':%s}", object(&y.disks[0]),
                 object(&x.disks[1]));
  CHECK_INT(a.code, VDS_E_OPERATION_DENIED);
  CHECK(strstr(a.message, "one of the 2 devices of a btrfs") != NULL);
  CHECK(strstr(a.message, "force = { foreign") != NULL);
  forget(&a);
  CHECK_INT(mount(x.disks[0].node, x.at, "btrfs", 0, NULL), 0);
  drop(&x, 0);
  drop(&y, 0);
}

TEST(one_at_a_time_on_all_its_members) {
  NEED_DISKS();
  plexes x = make(true);
  if (x.missing != NULL) SKIP(x.missing);
  hold_at("plex: recorded");
  saros_op *op = begin_add(&x, 2, "");
  await_held();
  /* By another one of its devices. */
  CHECK_ANSWER(ask("remove_plex", "{'object':%s,'other':%s}",
                   object(&x.disks[1]), object(&x.disks[1])),
               VDS_E_ANOTHER_CALL_IN_PROGRESS);
  let_on();
  CHECK_ANSWER(end_of(op), 0);
  drop(&x, 0);
}


/* ------------------------------------------------------------------
** Cancelled
** ---------------------------------------------------------------- */

static const char *cancel_at(saros_op *(*start)(const plexes *x),
                             const plexes *x, const char *step) {
  hold_at(step);
  saros_op *op = start(x);
  await_held();
  CHECK_INT(saros_vds_cancel(op), 0);
  let_on();
  answer a = end_of(op);
  if (a.code != VDS_E_OPERATION_CANCELED) printf("%s: %s\n", step, a.message);
  CHECK_INT(a.code, VDS_E_OPERATION_CANCELED);
  const char *cleanup = cleanup_of(op);
  forget(&a);
  CHECK_INT(records_left(), 0);
  return cleanup;
}

static saros_op *adding(const plexes *x) {
  return begin_add(x, 1, "");
}

TEST(a_cancelled_add_leaves_one_copy) {
  NEED_DISKS();
  static const char *const steps[] = {"plex: recorded", "plex: wiped",
                                      "plex: added",    "balance: begins",
                                      "watch: looks",   "plex: mirrored"};
  plexes x = make(false);
  if (x.missing != NULL) SKIP(x.missing);
  for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
    volumes_run("mkswap %s >/dev/null 2>&1", x.disks[1].node);
    const char *left = cancel_at(adding, &x, steps[i]);
    CHECK_INT(copies(&x), 1);
    CHECK(!is_member(&x, 1));
    /* Until it is wiped it is what it was; then it is said. */
    CHECK_TEXT(fs_on(&x.disks[1]), i == 0 ? "swap" : "");
    CHECK((strstr(left, "swap") != NULL) == (i > 0));
  }
  CHECK_ANSWER(end_of(adding(&x)), 0); /* nothing is in the way of another */
  drop(&x, 0);
}

static saros_op *removing(const plexes *x) {
  return begin_remove(x, 1);
}

TEST(a_cancelled_removal_leaves_both_copies) {
  NEED_DISKS();
  static const char *const steps[] = {"plex: recorded",     "balance: begins",
                                      "watch: looks",       "plex: converted",
                                      "device: is emptied", "device: removed"};
  plexes x = make(true);
  if (x.missing != NULL) SKIP(x.missing);
  for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
    CHECK_TEXT(cancel_at(removing, &x, steps[i]), "");
    CHECK_INT(copies(&x), 2);
    CHECK(is_member(&x, 1));
  }
  CHECK_ANSWER(end_of(removing(&x)), 0);
  drop(&x, 0);
}

static saros_op *repairing(const plexes *x) {
  return begin("repair_plex", "{'object':%s,'other':%s,'bad':%s}",
               object(&x->disks[0]), object(&x->disks[2]),
               object(&x->disks[1]));
}

TEST(a_cancelled_repair_leaves_the_old_one) {
  NEED_DISKS();
  static const char *const steps[] = {"plex: recorded", "plex: wiped",
                                      "replace: begins"};
  plexes x = make(true);
  if (x.missing != NULL) SKIP(x.missing);
  for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
    CHECK_TEXT(cancel_at(repairing, &x, steps[i]), "");
    CHECK(is_member(&x, 1) && !is_member(&x, 2));
    CHECK_TEXT(fs_on(&x.disks[2]), "");
  }
  /* While it runs it may be done before it hears of it: that is said. */
  const char *left = cancel_at(repairing, &x, "watch: looks");
  bool came = is_member(&x, 2);
  CHECK(came != is_member(&x, 1));
  CHECK(came == (strstr(left, "it stays there") != NULL));
  CHECK_INT(copies(&x), 2);
  drop(&x, 0);
}

/* When it was done it is too late; and it says so. */
TEST(done_it_is_too_late_to_cancel) {
  NEED_DISKS();
  plexes x = make(false);
  if (x.missing != NULL) SKIP(x.missing);
  hold_at("plex: committed");
  saros_op *op = begin_add(&x, 1, "");
  await_held();
  CHECK_INT(saros_vds_cancel(op), VDS_E_CANCEL_TOO_LATE);
  uint32_t hr = 0, percent = 100;
  CHECK_INT(saros_vds_query_status(op, &hr, &percent), 0);
  CHECK_INT(hr, 0x80042409u);
  CHECK(percent <= 99);
  let_on();
  CHECK_ANSWER(end_of(op), 0);
  drop(&x, 0);
}

/* What no kernel does: then a stop may be in the way, which is spent. */
static error *convert_to_nothing(vds_call *c) {
  vds_identity who;
  vds_btrfs *b = mem_alloc(sizeof *b);
  CHECK(vds_identity_get(value_get(c->options, "object"), &who));
  error *e = vds_btrfs_open(who.dev, b);
  if (e == NULL)
    e = vds_balance(c, b->mount, BTRFS_BLOCK_GROUP_RAID1C4,
                    BTRFS_BLOCK_GROUP_RAID1C4, NULL);
  vds_btrfs_close(b);
  mem_free(b);
  return e;
}

static const vds_work impossible = {
    "impossible", VDS_UNKNOWN, VDS_CLAIMS_OBJECT,
    VDS_KIND("impossible", SAROS_CANCELLABLE), convert_to_nothing};

static const char *read_only_at;

static void make_read_only(const char *step) {
  if (strcmp(step, "balance: stop spent") == 0)
    CHECK_INT(mount("none", read_only_at, "none", MS_REMOUNT | MS_RDONLY, NULL),
              0);
}

__attribute__((format(printf, 1, 2))) static value *options_of(
    const char *format, ...) {
  va_list args;
  va_start(args, format);
  value *options = vds_json(format, args);
  va_end(args);
  return options;
}

static answer convert_impossibly(const plexes *x) {
  uint32_t why = 0;
  value *options = options_of("{'object':%s}", object(&x->disks[0]));
  saros_api_table = saros_api_own();
  return end_of(vds_call_begin(&impossible, options, NULL, &why));
}

static uint64_t size_of_first(const plexes *x) {
  vds_btrfs *b = mem_zero(sizeof *b);
  b->mount = open(x->at, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  CHECK(vds_btrfs_look(b) == NULL);
  uint64_t size = b->members[0].size;
  vds_btrfs_close(b);
  mem_free(b);
  return size;
}

/* One chunk is told to move for that; what cannot be had back then is said. */
TEST(a_device_that_stays_smaller_is_told) {
  NEED_DISKS();
  plexes x = make(false);
  if (x.missing != NULL) SKIP(x.missing);
  /* There is a gap then that the last chunk can move to. */
  volumes_run("btrfs balance start --full-balance '%s' >/dev/null 2>&1", x.at);
  uint64_t before = size_of_first(&x);
  answer a = convert_impossibly(&x);
  CHECK(a.code != 0);
  CHECK_TEXT(cleanup_of(a.op), "");
  forget(&a);
  CHECK_INT(size_of_first(&x), before);
  read_only_at = x.at;
  atomic_store(&vds_hook, make_read_only);
  a = convert_impossibly(&x);
  atomic_store(&vds_hook, NULL);
  CHECK(a.code != 0);
  CHECK((size_of_first(&x) < before) ==
        (strstr(cleanup_of(a.op), "resize 1:max") != NULL));
  CHECK(size_of_first(&x) < before);
  forget(&a);
  drop(&x, 0);
}

static void all(void) {
  RUN(a34_a35_a44_a_plex_comes_and_goes);
  RUN(a_third_device_is_a_third_copy);
  RUN(a_device_takes_the_place_of_another);
  RUN(what_is_gone_is_replaced_by_its_number);
  RUN(a50_a_word_of_the_kernel_is_told);
  RUN(what_is_no_mirror_is_not_taken_apart);
  RUN(what_is_on_the_new_device_is_named);
  RUN(a_member_is_no_volume_of_its_own);
  RUN(one_at_a_time_on_all_its_members);
  RUN(a_cancelled_add_leaves_one_copy);
  RUN(a_cancelled_removal_leaves_both_copies);
  RUN(a_cancelled_repair_leaves_the_old_one);
  RUN(done_it_is_too_late_to_cancel);
  RUN(a_device_that_stays_smaller_is_told);
}

int main(int argc, char **argv) {
  return volumes_main(argc, argv, all);
}
