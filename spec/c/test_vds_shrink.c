/*
** Volumes made smaller: ext4 unmounted, with everything back after a cancel;
** btrfs mounted; and what cannot be.
*/
#include "vds_volume_case.h"

static bool have_ext4(disk_case *d, unsigned megabytes) {
  return volumes_have("mke2fs") && volumes_have("resize2fs") &&
         disk_make(d, megabytes, "mke2fs -q -F -t ext4 -b 4096");
}

TEST(a34_ext4_shrinks) {
  NEED_DISKS();
  disk_case d;
  if (!have_ext4(&d, 96)) SKIP("no e2fsprogs here");
  CHECK(fill(&d, "ext4", 8, 4));
  answer a = ask_of(&d, "query_shrink", "%s", "");
  CHECK_INT(a.code, 0);
  CHECK_INT(int_of(a.output, "size"), 96 * MB);
  int64_t minimum = int_of(a.output, "minimum");
  CHECK(minimum > 16 * MB && minimum < 80 * MB);
  CHECK(int_of(a.output, "used") >= 16 * MB);
  forget(&a);
  a = ask_of(&d, "shrink", ",'size':%lld", 16 * (long long)MB);
  if (a.code != 0) printf("it said: %s\n", a.message);
  CHECK_INT(a.code, 0);
  CHECK_INT(int_of(a.output, "vds_type"), VDS_SHRINK_VOLUME);
  CHECK_INT(int_of(a.output, "reclaimed"), 16 * MB);
  CHECK(int_of(a.output, "minimum") <= 80 * MB);
  forget(&a);
  CHECK_INT(size_by_super(&d, "ext4"), 80 * MB);
  CHECK(is_healthy(&d));
  CHECK(is_the_same(&d, "ext4"));
  CHECK_INT(unfinished(), 0);
  CHECK_INT(undo_files(), 0);
  disk_end(&d);
}

TEST(a_partition_shrinks_with_it) {
  NEED_DISKS();
  disk_case d;
  if (!volumes_have("mke2fs")) SKIP("no e2fsprogs here");
  CHECK(partition_make(&d, 96, 64, "mke2fs -q -F -t ext4 -b 4096"));
  CHECK(fill(&d, "ext4", 8, 2));
  answer a = ask_of(&d, "shrink", ",'size':%lld", 16 * (long long)MB);
  if (a.code != 0) printf("it said: %s\n", a.message);
  CHECK_INT(a.code, 0);
  CHECK_INT(int_of(a.output, "reclaimed"), 16 * MB);
  forget(&a);
  CHECK_INT(partition_size(&d), 48 * MB);
  CHECK_INT(size_by_super(&d, "ext4"), 48 * MB);
  CHECK(is_healthy(&d));
  CHECK(is_the_same(&d, "ext4"));
  CHECK_INT(unfinished(), 0);
  /* And back. */
  CHECK_ANSWER(ask_of(&d, "extend", ",'size':%lld", 16 * (long long)MB), 0);
  CHECK_INT(partition_size(&d), 64 * MB);
  CHECK(is_the_same(&d, "ext4"));
  disk_end(&d);
}

TEST(as_small_as_it_can_be) {
  NEED_DISKS();
  disk_case d;
  if (!have_ext4(&d, 96)) SKIP("no e2fsprogs here");
  CHECK(fill(&d, "ext4", 8, 4));
  answer a = ask_of(&d, "shrink", "%s", "");
  if (a.code != 0) printf("it said: %s\n", a.message);
  CHECK_INT(a.code, 0);
  int64_t reclaimed = int_of(a.output, "reclaimed");
  CHECK(reclaimed >= 16 * MB);
  CHECK_INT(size_by_super(&d, "ext4"), 96 * MB - reclaimed);
  forget(&a);
  CHECK(is_healthy(&d));
  CHECK(is_the_same(&d, "ext4"));
  disk_end(&d);
}

/* A tool that is told to keep what it overwrites damages one with so small
   blocks. What a question says can be had is what can be had. */
TEST(small_blocks_are_whole_afterwards) {
  NEED_DISKS();
  disk_case d;
  if (!volumes_have("mke2fs")) SKIP("no e2fsprogs here");
  CHECK(disk_make(&d, 256, "mke2fs -q -F -t ext4 -b 1024"));
  CHECK(fill(&d, "ext4", 8, 4));
  CHECK_ANSWER(ask_of(&d, "shrink", ",'size':%lld", 156 * (long long)MB), 0);
  CHECK_INT(volumes_run("e2fsck -fp '%s' >/dev/null", d.node), 0);
  CHECK(is_the_same(&d, "ext4"));
  answer a = ask_of(&d, "query_shrink", "%s", "");
  int64_t less = int_of(a.output, "size") - int_of(a.output, "minimum");
  forget(&a);
  CHECK_ANSWER(ask_of(&d, "shrink", ",'size':%lld", (long long)less), 0);
  CHECK_INT(size_by_super(&d, "ext4"), 100 * MB - less);
  CHECK_INT(volumes_run("e2fsck -fp '%s' >/dev/null", d.node), 0);
  CHECK_ANSWER(ask_of(&d, "extend", "%s", ""), 0);
  CHECK_INT(size_by_super(&d, "ext4"), 256 * MB);
  CHECK(is_the_same(&d, "ext4"));
  disk_end(&d);
}

TEST(more_than_can_be_had) {
  NEED_DISKS();
  disk_case d;
  if (!have_ext4(&d, 64)) SKIP("no e2fsprogs here");
  CHECK(fill(&d, "ext4", 8, 4));
  answer a = ask_of(&d, "shrink", ",'size':%lld", 60 * (long long)MB);
  CHECK_INT(a.code, VDS_E_SHRINK_SIZE_TOO_BIG);
  forget(&a);
  CHECK_ANSWER(ask_of(&d, "shrink", ",'size':%lld,'least':%lld",
                      60 * (long long)MB, 59 * (long long)MB),
               VDS_E_SHRINK_SIZE_LESS_THAN_MIN);
  CHECK_ANSWER(ask_of(&d, "shrink", ",'size':1,'least':2"), SAROS_E_INVALIDARG);
  CHECK_INT(size_by_super(&d, "ext4"), 64 * MB);
  CHECK_INT(unfinished(), 0);
  /* So many as there are, and of those a few at least. */
  a = ask_of(&d, "shrink", ",'size':%lld,'least':%lld", 60 * (long long)MB,
             (long long)MB);
  CHECK_INT(a.code, 0);
  CHECK(int_of(a.output, "reclaimed") >= MB);
  forget(&a);
  CHECK(is_the_same(&d, "ext4"));
  disk_end(&d);
}

TEST(what_is_mounted_is_refused_or_unmounted) {
  NEED_DISKS();
  disk_case d;
  if (!have_ext4(&d, 32)) SKIP("no e2fsprogs here");
  CHECK(mount_it(&d, "ext4"));
  CHECK_ANSWER(ask_of(&d, "shrink", ",'size':1048576"), VDS_E_OPERATION_DENIED);
  CHECK_ANSWER(ask_of(&d, "shrink", ",'size':1048576,'force':['mounted']"), 0);
  CHECK_INT(umount2(d.at, 0), -1);
  CHECK_INT(size_by_super(&d, "ext4"), 31 * MB);
  disk_end(&d);
}

TEST(others_cannot_shrink) {
  NEED_DISKS();
  disk_case d;
  if (!volumes_have("mkfs.xfs")) SKIP("no mkfs.xfs: apt-get install xfsprogs");
  CHECK(disk_make(&d, 300, "mkfs.xfs -q -f"));
  CHECK_ANSWER(ask_of(&d, "shrink", "%s", ""), VDS_E_CANNOT_SHRINK);
  CHECK_ANSWER(ask_of(&d, "query_shrink", "%s", ""), VDS_E_CANNOT_SHRINK);
  disk_end(&d);
}

/* Its device's number in the super block may lag while it is mounted, and
   agrees when it is not. */
TEST(btrfs_shrinks_mounted_and_unmounted) {
  NEED_MOUNTS();
  disk_case d;
  if (!volumes_have("mkfs.btrfs"))
    SKIP("no mkfs.btrfs: apt-get install btrfs-progs");
  CHECK(disk_make(&d, 512, "mkfs.btrfs -q -f"));
  CHECK(fill(&d, "btrfs", 8, 4));
  answer a = ask_of(&d, "shrink", ",'size':%lld", 64 * (long long)MB);
  if (a.code != 0) printf("it said: %s\n", a.message);
  CHECK_INT(a.code, 0);
  CHECK_INT(int_of(a.output, "reclaimed"), 64 * MB);
  forget(&a);
  CHECK_INT(size_by_super(&d, "btrfs"), 448 * MB);
  CHECK(mount_it(&d, "btrfs"));
  CHECK_ANSWER(ask_of(&d, "shrink", ",'size':%lld", 64 * (long long)MB), 0);
  CHECK_INT(umount2(d.at, 0), 0);
  CHECK_INT(size_by_super(&d, "btrfs"), 384 * MB);
  CHECK(is_the_same(&d, "btrfs"));
  CHECK_INT(unfinished(), 0);
  disk_end(&d);
}


/* ------------------------------------------------------------------
** Cancelled
** ---------------------------------------------------------------- */

/* Wherever it is, it is as it was. At the last step all is done, and all is
   undone. */
TEST(a_cancel_has_everything_back) {
  NEED_DISKS();
  static const char *const steps[] = {"shrink: noted", "shrink: ready",
                                      "shrink: recorded", "shrink: begun",
                                      "shrink: file system"};
  disk_case d;
  if (!have_ext4(&d, 96)) SKIP("no e2fsprogs here");
  CHECK(fill(&d, "ext4", 12, 4));
  for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
    hold_at(steps[i]);
    saros_op *op = begin_of(&d, "shrink", ",'size':%lld", 40 * (long long)MB);
    await_held();
    CHECK_INT(saros_vds_cancel(op), 0);
    let_on();
    answer a = end_of(op);
    CHECK_INT(a.code, VDS_E_OPERATION_CANCELED);
    forget(&a);
    CHECK_INT(size_by_super(&d, "ext4"), 96 * MB);
    CHECK(is_healthy(&d));
    CHECK(is_the_same(&d, "ext4"));
    CHECK_INT(unfinished(), 0);
    CHECK_INT(undo_files(), 0);
  }
  disk_end(&d);
}

/* resize2fs itself, at any of its looks: what it has overwritten is written
   back. */
TEST(a_cancel_in_the_middle_of_it) {
  NEED_DISKS();
  disk_case d;
  if (!have_ext4(&d, 96)) SKIP("no e2fsprogs here");
  CHECK(fill(&d, "ext4", 12, 4));
  for (int looks = 0; looks < 4; looks++) {
    hold_tool("shrink: begun", "shrink: file system", looks);
    saros_op *op = begin_of(&d, "shrink", ",'size':%lld", 40 * (long long)MB);
    await_held();
    CHECK_INT(saros_vds_cancel(op), 0);
    let_on();
    CHECK_ANSWER(end_of(op), VDS_E_OPERATION_CANCELED);
    CHECK_INT(size_by_super(&d, "ext4"), 96 * MB);
    CHECK(is_healthy(&d));
    CHECK(is_the_same(&d, "ext4"));
    CHECK_INT(unfinished(), 0);
    CHECK_INT(undo_files(), 0);
  }
  disk_end(&d);
}

/* The kernel undoes what it was told to end; what it had ended is grown back.
 */
TEST(btrfs_has_its_old_size_after_a_cancel) {
  NEED_MOUNTS();
  static const char *const steps[] = {"shrink: ready", "shrink: begun",
                                      "btrfs: resizes", "btrfs: resized",
                                      "shrink: file system"};
  disk_case d;
  if (!volumes_have("mkfs.btrfs"))
    SKIP("no mkfs.btrfs: apt-get install btrfs-progs");
  CHECK(disk_make(&d, 512, "mkfs.btrfs -q -f"));
  CHECK(fill(&d, "btrfs", 4, 2));
  for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
    hold_at(steps[i]);
    saros_op *op = begin_of(&d, "shrink", ",'size':%lld", 64 * (long long)MB);
    await_held();
    CHECK_INT(saros_vds_cancel(op), 0);
    let_on();
    CHECK_ANSWER(end_of(op), VDS_E_OPERATION_CANCELED);
    CHECK_INT(size_by_super(&d, "btrfs"), 512 * MB);
    CHECK(is_the_same(&d, "btrfs"));
    CHECK_INT(unfinished(), 0);
  }
  disk_end(&d);
}

/* Without room for an undo file it is too late from the first byte on, and
   said so. */
TEST(without_room_it_cannot_be_cancelled) {
  NEED_DISKS();
  disk_case d;
  const char *small = place("small");
  mkdir(small, 0700);
  if (!have_ext4(&d, 96)) SKIP("no e2fsprogs here");
  CHECK(fill(&d, "ext4", 12, 4));
  if (mount("small", small, "tmpfs", 0, "size=1m,mode=0700") != 0)
    SKIP("no tmpfs can be mounted here");
  hold_at("shrink: begun");
  saros_op *op = begin_of(&d, "shrink", ",'size':%lld,'state_dir':'%s'",
                          40 * (long long)MB, small);
  await_held();
  CHECK_INT(saros_vds_cancel(op), VDS_E_CANCEL_TOO_LATE);
  let_on();
  CHECK_ANSWER(end_of(op), 0);
  CHECK_INT(size_by_super(&d, "ext4"), 56 * MB);
  CHECK(is_the_same(&d, "ext4"));
  CHECK_INT(umount2(small, 0), 0);
  disk_end(&d);
}


/* ------------------------------------------------------------------
** What fails
** ---------------------------------------------------------------- */

/* As e2undo ends when somebody has the device, and when it cannot write all. */
TEST(what_cannot_be_rolled_back_yet_can_be_later) {
  NEED_DISKS();
  static const char *const ends[] = {
      "echo 'e2undo: Device or resource busy while opening' >&2; exit 1",
      "echo 'IO error during replay; run e2fsck NOW!' >&2; exit 0"};
  const char *tool = "/usr/sbin/e2undo";
  disk_case d;
  if (!have_ext4(&d, 96) || access(tool, X_OK) != 0) SKIP("no e2fsprogs here");
  CHECK(fill(&d, "ext4", 12, 4));
  for (size_t i = 0; i < 2; i++) {
    hold_at("shrink: file system");
    saros_op *op = begin_of(&d, "shrink", ",'size':%lld", 40 * (long long)MB);
    await_held();
    bool replaced = replace_tool(tool, ends[i]);
    CHECK_INT(saros_vds_cancel(op), 0);
    let_on();
    answer a = end_of(op);
    if (replaced) CHECK_INT(umount2(tool, 0), 0);
    CHECK_INT(a.code, VDS_E_OPERATION_CANCELED);
    if (!replaced) SKIP("nothing can be mounted over a program here");
    CHECK(strstr(cleanup_of(a.op), "could not be rolled back") != NULL);
    forget(&a);
    CHECK_INT(unfinished(), 1);
    CHECK_INT(undo_files(), 1);
    /* By the process that failed, too. */
    CHECK_ANSWER(ask("reap", "{}"), 0);
    CHECK_INT(unfinished(), 0);
    CHECK_INT(undo_files(), 0);
    CHECK_INT(size_by_super(&d, "ext4"), 96 * MB);
    CHECK(is_healthy(&d));
    CHECK(is_the_same(&d, "ext4"));
  }
  disk_end(&d);
}

/* Its end is moved already when memory runs out: it goes back before its file
   system does. */
TEST(a_partition_goes_back_before_its_file_system) {
  NEED_DISKS();
  disk_case d;
  if (!volumes_have("mke2fs")) SKIP("no e2fsprogs here");
  CHECK(partition_make(&d, 96, 64, "mke2fs -q -F -t ext4 -b 4096"));
  CHECK(fill(&d, "ext4", 8, 2));
  deny_behind("table: forgotten", 1);
  CHECK_ANSWER(ask_of(&d, "shrink", ",'size':%lld", 16 * (long long)MB),
               0x8007000Eu);
  mem_fail_at(0);
  CHECK_INT(partition_size(&d), 64 * MB);
  CHECK_INT(size_by_super(&d, "ext4"), 64 * MB);
  CHECK(is_healthy(&d));
  CHECK(is_the_same(&d, "ext4"));
  CHECK_INT(unfinished(), 0);
  disk_end(&d);
}

TEST(what_is_done_needs_no_more_memory) {
  NEED_DISKS();
  disk_case d;
  if (!have_ext4(&d, 32)) SKIP("no e2fsprogs here");
  deny_behind("shrink: forgotten", 1);
  answer a = ask_of(&d, "shrink", ",'size':%lld", 8 * (long long)MB);
  mem_fail_at(0);
  CHECK_INT(a.code, 0);
  CHECK_INT(int_of(a.output, "size"), 24 * MB);
  forget(&a);
  deny_behind("extend: forgotten", 1);
  a = ask_of(&d, "extend", "%s", "");
  mem_fail_at(0);
  CHECK_INT(a.code, 0);
  CHECK_INT(int_of(a.output, "fs_size"), 32 * MB);
  forget(&a);
  disk_end(&d);
}

TEST(a_question_writes_nothing) {
  NEED_MOUNTS();
  disk_case d;
  if (!volumes_have("mkfs.btrfs"))
    SKIP("no mkfs.btrfs: apt-get install btrfs-progs");
  CHECK(disk_make(&d, 300, "mkfs.btrfs -q -f"));
  CHECK(keep_bytes(&d, "asked"));
  CHECK_ANSWER(ask_of(&d, "query_shrink", "%s", ""), 0);
  CHECK(has_bytes(&d, "asked"));
  disk_end(&d);
}

static void all(void) {
  RUN(a34_ext4_shrinks);
  RUN(a_partition_shrinks_with_it);
  RUN(as_small_as_it_can_be);
  RUN(small_blocks_are_whole_afterwards);
  RUN(more_than_can_be_had);
  RUN(what_is_mounted_is_refused_or_unmounted);
  RUN(others_cannot_shrink);
  RUN(btrfs_shrinks_mounted_and_unmounted);
  RUN(a_cancel_has_everything_back);
  RUN(a_cancel_in_the_middle_of_it);
  RUN(btrfs_has_its_old_size_after_a_cancel);
  RUN(without_room_it_cannot_be_cancelled);
  RUN(what_cannot_be_rolled_back_yet_can_be_later);
  RUN(a_partition_goes_back_before_its_file_system);
  RUN(what_is_done_needs_no_more_memory);
  RUN(a_question_writes_nothing);
}

int main(int argc, char **argv) {
  return volumes_main(argc, argv, all);
}
