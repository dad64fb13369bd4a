/*
** Volumes made larger: the file system with its disk, unmounted and mounted.
*/
#include <pthread.h>

#include "vds_guest_case.h"
#include "vds_volume_case.h"

static bool need(const char *program) {
  return volumes_have(program);
}

TEST(a34_ext4_grows_unmounted) {
  NEED_DISKS();
  disk_case d;
  if (!need("mke2fs") || !need("resize2fs")) SKIP("no e2fsprogs here");
  CHECK(disk_make(&d, 32, "mke2fs -q -F -t ext4"));
  CHECK(fill(&d, "ext4", 4, 2));
  disk_expand(&d, 64);
  answer a = ask_of(&d, "extend", "%s", "");
  if (a.code != 0) printf("it said: %s\n", a.message);
  CHECK_INT(a.code, 0);
  CHECK_INT(int_of(a.output, "vds_type"), VDS_EXTEND_VOLUME);
  CHECK_INT(int_of(a.output, "fs_size"), 64 * MB);
  CHECK_INT(int_of(a.output, "added"), 32 * MB);
  forget(&a);
  CHECK_INT(size_by_super(&d, "ext4"), 64 * MB);
  CHECK(is_healthy(&d));
  CHECK(is_the_same(&d, "ext4"));
  CHECK_INT(unfinished(), 0);
  disk_end(&d);
}

TEST(a40_nothing_behind_it_is_told) {
  NEED_DISKS();
  disk_case d;
  if (!need("mke2fs")) SKIP("no e2fsprogs here");
  CHECK(disk_make(&d, 16, "mke2fs -q -F -t ext4"));
  CHECK_ANSWER(ask_of(&d, "extend", "%s", ""), 1);
  CHECK_ANSWER(ask_of(&d, "extend", ",'size':1048576"), VDS_E_NOT_ENOUGH_SPACE);
  CHECK_ANSWER(ask_of(&d, "extend", ",'size':-1"), SAROS_E_INVALIDARG);
  CHECK_INT(size_by_super(&d, "ext4"), 16 * MB);
  CHECK_INT(unfinished(), 0);
  disk_end(&d);
}

TEST(so_many_bytes_and_no_more) {
  NEED_DISKS();
  disk_case d;
  if (!need("mke2fs")) SKIP("no e2fsprogs here");
  CHECK(disk_make(&d, 16, "mke2fs -q -F -t ext4"));
  disk_expand(&d, 64);
  CHECK_ANSWER(ask_of(&d, "extend", ",'size':%lld", 8 * (long long)MB), 0);
  CHECK_INT(size_by_super(&d, "ext4"), 24 * MB);
  CHECK_ANSWER(ask_of(&d, "extend", ",'size':%lld", 41 * (long long)MB),
               VDS_E_NOT_ENOUGH_SPACE);
  CHECK_ANSWER(ask_of(&d, "extend", "%s", ""), 0);
  CHECK_INT(size_by_super(&d, "ext4"), 64 * MB);
  disk_end(&d);
}

/* resize2fs would not begin without. */
TEST(a_check_that_is_due_is_made_before) {
  NEED_DISKS();
  disk_case d;
  if (!need("mke2fs") || !need("debugfs")) SKIP("no e2fsprogs here");
  CHECK(disk_make(&d, 32, "mke2fs -q -F -t ext4"));
  CHECK(fill(&d, "ext4", 2, 1));
  CHECK_INT(volumes_run("tune2fs -T 20200101 '%s' >/dev/null", d.node), 0);
  disk_expand(&d, 48);
  CHECK(volumes_run("resize2fs '%s' >/dev/null 2>&1", d.node) != 0);
  CHECK_ANSWER(ask_of(&d, "extend", "%s", ""), 0);
  CHECK_INT(size_by_super(&d, "ext4"), 48 * MB);
  CHECK(is_the_same(&d, "ext4"));
  disk_end(&d);
}

/* What -p does not dare to mend is not grown. */
TEST(a_damaged_one_is_refused) {
  NEED_DISKS();
  disk_case d;
  if (!need("mke2fs") || !need("debugfs")) SKIP("no e2fsprogs here");
  CHECK(disk_make(&d, 32, "mke2fs -q -F -t ext4"));
  CHECK(fill(&d, "ext4", 2, 1));
  CHECK_INT(volumes_run("debugfs -w -R 'clri <2>' '%s' >/dev/null 2>&1 && "
                        "tune2fs -T 20200101 '%s' >/dev/null 2>&1",
                        d.node, d.node),
            0);
  disk_expand(&d, 48);
  answer a = ask_of(&d, "extend", "%s", "");
  CHECK_INT(a.code, VDS_E_VOLUME_NOT_HEALTHY);
  CHECK(strstr(a.message, "repair") != NULL);
  forget(&a);
  CHECK_INT(size_by_super(&d, "ext4"), 32 * MB);
  CHECK_INT(unfinished(), 0);
  disk_end(&d);
}

/* Online where the kernel lets us; where it does not, it says why, and nothing
   has changed. The guest has the right for it. */
TEST(ext4_grows_mounted) {
  NEED_DISKS();
  disk_case d;
  if (!need("mke2fs")) SKIP("no e2fsprogs here");
  CHECK(disk_make(&d, 32, "mke2fs -q -F -t ext4"));
  CHECK(fill(&d, "ext4", 2, 1));
  disk_expand(&d, 64);
  if (!mount_it(&d, "ext4")) SKIP("ext4 cannot be mounted here");
  answer a = ask_of(&d, "extend", "%s", "");
  if (a.code == VDS_E_ACCESS_DENIED) {
    CHECK(strstr(a.message, "CAP_SYS_RESOURCE") != NULL);
    CHECK_INT(size_by_super(&d, "ext4"), 32 * MB);
  } else {
    CHECK_INT(a.code, 0);
    CHECK_INT(size_by_super(&d, "ext4"), 64 * MB);
  }
  bool denied = a.code != 0;
  forget(&a);
  CHECK_INT(umount2(d.at, 0), 0);
  CHECK_INT(unfinished(), 0);
  CHECK(is_the_same(&d, "ext4"));
  if (denied) CHECK_ANSWER(ask_of(&d, "extend", "%s", ""), 0);
  disk_end(&d);
  if (denied) SKIP("the kernel wants CAP_SYS_RESOURCE, which is missing here");
}

/* Mounted by somebody, or by us where nobody sees it. */
static void grows_mounted(const char *type, const char *mkfs, unsigned small,
                          unsigned large) {
  disk_case d;
  CHECK(disk_make(&d, small, mkfs));
  CHECK(fill(&d, type, 2, 1));
  disk_expand(&d, large);
  CHECK_ANSWER(ask_of(&d, "extend", ",'size':%lld", 16 * (long long)MB), 0);
  CHECK(is_the_same(&d, type));
  CHECK_INT(size_by_super(&d, type), (small + 16) * MB);
  CHECK(mount_it(&d, type));
  CHECK_ANSWER(ask_of(&d, "extend", "%s", ""), 0);
  CHECK_ANSWER(ask_of(&d, "extend", "%s", ""), 1);
  CHECK_INT(umount2(d.at, 0), 0);
  CHECK_INT(size_by_super(&d, type), large * MB);
  CHECK(is_the_same(&d, type));
  CHECK_INT(unfinished(), 0);
  disk_end(&d);
}

TEST(xfs_grows_mounted_and_unmounted) {
  NEED_MOUNTS();
  if (!need("mkfs.xfs")) SKIP("no mkfs.xfs: apt-get install xfsprogs");
  grows_mounted("xfs", "mkfs.xfs -q -f", 300, 384);
}

TEST(btrfs_grows_mounted_and_unmounted) {
  NEED_MOUNTS();
  if (!need("mkfs.btrfs")) SKIP("no mkfs.btrfs: apt-get install btrfs-progs");
  grows_mounted("btrfs", "mkfs.btrfs -q -f", 300, 384);
}

TEST(what_does_not_grow_is_refused) {
  NEED_DISKS();
  disk_case d;
  if (!need("mkswap")) SKIP("no mkswap here");
  CHECK(disk_make(&d, 16, "mkswap"));
  disk_expand(&d, 32);
  CHECK_ANSWER(ask_of(&d, "extend", "%s", ""), VDS_E_CANNOT_EXTEND);
  disk_end(&d);
}

/* Until the file system grows nothing has happened that could not be taken
   back; then it is too late. */
TEST(a_cancel_until_it_grows) {
  NEED_DISKS();
  static const char *const steps[] = {"extend: ready", "extend: recorded",
                                      "extend: partition"};
  disk_case d;
  if (!need("mke2fs")) SKIP("no e2fsprogs here");
  CHECK(disk_make(&d, 16, "mke2fs -q -F -t ext4"));
  disk_expand(&d, 32);
  for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
    hold_at(steps[i]);
    saros_op *op = begin_of(&d, "extend", "%s", "");
    await_held();
    CHECK_INT(saros_vds_cancel(op), 0);
    let_on();
    CHECK_ANSWER(end_of(op), VDS_E_OPERATION_CANCELED);
    CHECK_INT(size_by_super(&d, "ext4"), 16 * MB);
    CHECK_INT(unfinished(), 0);
  }
  hold_at("extend: committed");
  saros_op *op = begin_of(&d, "extend", "%s", "");
  await_held();
  CHECK_INT(saros_vds_cancel(op), VDS_E_CANCEL_TOO_LATE);
  let_on();
  CHECK_ANSWER(end_of(op), 0);
  CHECK_INT(size_by_super(&d, "ext4"), 32 * MB);
  disk_end(&d);
}


/* ------------------------------------------------------------------
** With its partition
** ---------------------------------------------------------------- */

TEST(a_partition_grows_with_it) {
  NEED_DISKS();
  disk_case d;
  if (!need("mke2fs")) SKIP("no e2fsprogs here");
  CHECK(partition_make(&d, 64, 16, "mke2fs -q -F -t ext4"));
  CHECK(fill(&d, "ext4", 4, 1));
  CHECK_ANSWER(ask_of(&d, "extend", ",'size':%lld", 8 * (long long)MB), 0);
  CHECK_INT(partition_size(&d), 24 * MB);
  CHECK_INT(size_by_super(&d, "ext4"), 24 * MB);
  CHECK_ANSWER(ask_of(&d, "extend", ",'size':%lld", 60 * (long long)MB),
               VDS_E_NOT_ENOUGH_SPACE);
  /* The disk becomes larger: that is room, too. */
  disk_expand(&d, 96);
  answer a = ask_of(&d, "extend", "%s", "");
  if (a.code != 0) printf("it said: %s\n", a.message);
  CHECK_INT(a.code, 0);
  CHECK(int_of(a.output, "size") > 94 * MB);
  CHECK_INT(int_of(a.output, "size"), partition_size(&d));
  forget(&a);
  CHECK_ANSWER(ask_of(&d, "extend", "%s", ""), 1);
  CHECK(is_healthy(&d));
  CHECK(is_the_same(&d, "ext4"));
  CHECK_INT(unfinished(), 0);
  disk_end(&d);
}

TEST(a_partition_grows_mounted) {
  NEED_DISKS();
  disk_case d;
  if (!need("mkfs.xfs")) SKIP("no mkfs.xfs: apt-get install xfsprogs");
  CHECK(partition_make(&d, 400, 300, "mkfs.xfs -q -f"));
  CHECK(fill(&d, "xfs", 2, 1));
  CHECK(mount_it(&d, "xfs"));
  CHECK_ANSWER(ask_of(&d, "extend", ",'size':%lld", 32 * (long long)MB), 0);
  CHECK_INT(umount2(d.at, 0), 0);
  CHECK_INT(partition_size(&d), 332 * MB);
  CHECK_INT(size_by_super(&d, "xfs"), 332 * MB);
  CHECK(is_the_same(&d, "xfs"));
  disk_end(&d);
}

/* The file system does not grow: its partition is what it was. */
TEST(what_fails_leaves_the_old_end) {
  NEED_DISKS();
  disk_case d;
  if (!need("mke2fs")) SKIP("no e2fsprogs here");
  CHECK(partition_make(&d, 64, 16, "mke2fs -q -F -t ext4"));
  CHECK(mount_it(&d, "ext4"));
  answer a = ask_of(&d, "extend", "%s", "");
  bool denied = a.code == VDS_E_ACCESS_DENIED;
  forget(&a);
  CHECK_INT(umount2(d.at, 0), 0);
  if (denied) CHECK_INT(partition_size(&d), 16 * MB);
  CHECK_INT(unfinished(), 0);
  /* What it says of its size is wrong, and it is told before. */
  CHECK_INT(volumes_run("tune2fs -T 20200101 '%s' >/dev/null && debugfs -w -R "
                        "'clri <2>' '%s' >/dev/null 2>&1",
                        d.node, d.node),
            0);
  int64_t before = partition_size(&d);
  if (denied)
    CHECK_ANSWER(ask_of(&d, "extend", "%s", ""), VDS_E_VOLUME_NOT_HEALTHY);
  CHECK_INT(partition_size(&d), before);
  disk_end(&d);
}

TEST(a_raw_partition_grows_alone) {
  NEED_DISKS();
  disk_case d;
  CHECK(partition_make(&d, 64, 16, ":"));
  CHECK_ANSWER(ask_of(&d, "extend", ",'size':%lld", 16 * (long long)MB), 0);
  CHECK_INT(partition_size(&d), 32 * MB);
  disk_end(&d);
}

/* Said with its package, and the partition has its old end again. */
TEST(a50_a_missing_tool_names_its_package) {
  NEED_DISKS();
  if (!volumes_own_mounts) SKIP("needs mounts of its own");
  disk_case d;
  const char *tool = "/usr/sbin/resize2fs";
  if (!need("mke2fs") || access(tool, X_OK) != 0) SKIP("no e2fsprogs here");
  CHECK(partition_make(&d, 64, 16, "mke2fs -q -F -t ext4"));
  /* In this suite's own mount namespace alone. */
  if (mount("/dev/null", tool, "none", MS_BIND, NULL) != 0)
    SKIP("nothing can be mounted over a program here");
  answer a = ask_of(&d, "extend", "%s", "");
  CHECK_INT(umount2(tool, 0), 0);
  CHECK_INT(a.code, 0x80070002u);
  CHECK(strstr(a.message, "resize2fs") != NULL);
  CHECK(strstr(a.message, "e2fsprogs") != NULL);
  forget(&a);
  CHECK_INT(partition_size(&d), 16 * MB);
  CHECK_INT(unfinished(), 0);
  CHECK_ANSWER(ask_of(&d, "extend", "%s", ""), 0);
  disk_end(&d);
}

TEST(what_is_gone_is_said_to_be_gone) {
  NEED_DISKS();
  static const char *const calls[] = {"extend", "shrink", "query_shrink",
                                      "check", "label"};
  disk_case d;
  CHECK(partition_make(&d, 64, 16, ":"));
  disk_end(&d);
  for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
    CHECK(says_gone(ask_of(&d, calls[i], ",'label':'x'")));
}

/* Made anew by somebody else with the size that it had when we had it first. */
TEST(sizes_that_come_again) {
  vds_identity was = {.dev = 1, .whole = 1, .seq = 7, .size = 320 * MB}, is;
  for (int again = 0; again < 2; again++)
    for (int i = 0; i < 2; i++) {
      is = was;
      is.size = (uint64_t)(320 + i * 96) * MB;
      vds_identity_resized(&is, is.size + 96 * MB);
      is.size += 96 * MB;
      CHECK(vds_identity_same(&was, &is));
    }
  is.size += MB;
  CHECK(!vds_identity_same(&was, &is));
}

/* Where nothing is missing: in the guest. */
TEST(a_partition_with_ext4_grows_mounted) {
  NEED_DISKS();
  disk_case d;
  CHECK(partition_make(&d, 96, 32, "mke2fs -q -F -t ext4"));
  CHECK(fill(&d, "ext4", 4, 2));
  CHECK(mount_it(&d, "ext4"));
  answer a = ask_of(&d, "extend", ",'size':%lld", 32 * (long long)MB);
  if (a.code != 0) printf("it said: %s\n", a.message);
  CHECK_INT(a.code, 0);
  CHECK_INT(int_of(a.output, "fs_size"), 64 * MB);
  forget(&a);
  CHECK_INT(umount2(d.at, 0), 0);
  CHECK_INT(partition_size(&d), 64 * MB);
  CHECK_INT(size_by_super(&d, "ext4"), 64 * MB);
  CHECK(is_healthy(&d));
  CHECK(is_the_same(&d, "ext4"));
  CHECK_INT(unfinished(), 0);
  disk_end(&d);
}

/* Somebody who writes all the while: the same files again and again. */
enum { LOAD_FILES = 24 };

typedef struct load {
  disk_case *d;
  atomic_int done; /* files, from 100 on */
  atomic_bool stop, bad;
} load;

static void *write_on(void *self) {
  load *l = self;
  char name[400];
  for (unsigned i = 0; !atomic_load(&l->stop); i++) {
    snprintf(name, sizeof name, "%s/f%u", l->d->at, 100 + i % LOAD_FILES);
    unlink(name);
    if (!pass_file(l->d, 100 + i % LOAD_FILES, 1, false)) {
      atomic_store(&l->bad, true);
      break;
    }
    atomic_fetch_add(&l->done, 1);
  }
  return NULL;
}

static bool has_written(load *l, int count) {
  for (int i = 0; i < VDS_CASE_BOUND && !atomic_load(&l->bad); i++) {
    if (atomic_load(&l->done) >= count) return true;
    nanosleep(&(struct timespec){0, 1000000}, NULL);
  }
  return false;
}

/* A partition of a real disk, that the kernel has found by itself, and its file
   system, mounted: twice larger while somebody writes. */
static void grows_under_load(const char *type, const char *mkfs) {
  static unsigned number;
  char name[40];
  disk_case d = {.node = "/dev/vdb1"};
  load l = {.d = &d};
  pthread_t thread;
  snprintf(name, sizeof name, "load%u", ++number);
  snprintf(d.at, sizeof d.at, "%s", place(name));
  mkdir(d.at, 0700);
  CHECK_INT(volumes_run("wipefs -qaf /dev/vdb; printf 'label: gpt\n,320M\n' | "
                        "sfdisk -qf /dev/vdb && %s /dev/vdb1 >/dev/null",
                        mkfs),
            0);
  look_again(&d);
  CHECK(fill(&d, type, 4, 2));
  CHECK(mount_it(&d, type));
  CHECK_INT(pthread_create(&thread, NULL, write_on, &l), 0);
  for (int i = 1; i <= 2; i++) {
    CHECK(has_written(&l, i));
    answer a = ask_of(&d, "extend", ",'size':%lld", 96 * (long long)MB);
    if (a.code != 0) printf("it said: %s\n", a.message);
    CHECK_INT(a.code, 0);
    forget(&a);
    CHECK_INT(partition_size(&d), (320 + i * 96) * MB);
    CHECK(has_written(&l, atomic_load(&l.done) + 1));
  }
  atomic_store(&l.stop, true);
  pthread_join(thread, NULL);
  CHECK(!atomic_load(&l.bad));
  CHECK_INT(syncfs_of(d.at), 0);
  CHECK_INT(umount2(d.at, 0), 0);
  CHECK_INT(size_by_super(&d, type), (320 + 192) * MB);
  CHECK(is_the_same(&d, type));
  CHECK(mount_it(&d, type));
  for (int i = 0; i < atomic_load(&l.done) && i < LOAD_FILES; i++)
    CHECK(pass_file(&d, 100 + (unsigned)i, 1, true));
  CHECK_INT(umount2(d.at, 0), 0);
  look_again(&d);
  CHECK_ANSWER(ask_of(&d, "check", "%s", ""), 0);
  CHECK_INT(unfinished(), 0);
  printf("  %s grew twice while %d files were written\n", type,
         atomic_load(&l.done));
}

TEST(ext4_grows_under_load) {
  grows_under_load("ext4", "mke2fs -q -F -t ext4");
}

TEST(xfs_grows_under_load) {
  grows_under_load("xfs", "mkfs.xfs -q -f");
}

TEST(btrfs_grows_under_load) {
  grows_under_load("btrfs", "mkfs.btrfs -q -f");
}

TEST(in_a_guest) {
  const char *why = guest_run("-d 600M");
  if (why != NULL) SKIP(why);
}

static void guest(void) {
  RUN(ext4_grows_mounted);
  RUN(a_partition_with_ext4_grows_mounted);
  RUN(ext4_grows_under_load);
  RUN(xfs_grows_under_load);
  RUN(btrfs_grows_under_load);
}

static void all(void) {
  RUN(a34_ext4_grows_unmounted);
  RUN(a40_nothing_behind_it_is_told);
  RUN(so_many_bytes_and_no_more);
  RUN(a_check_that_is_due_is_made_before);
  RUN(a_damaged_one_is_refused);
  RUN(ext4_grows_mounted);
  RUN(xfs_grows_mounted_and_unmounted);
  RUN(btrfs_grows_mounted_and_unmounted);
  RUN(what_does_not_grow_is_refused);
  RUN(a_cancel_until_it_grows);
  RUN(a_partition_grows_with_it);
  RUN(a_partition_grows_mounted);
  RUN(what_fails_leaves_the_old_end);
  RUN(a_raw_partition_grows_alone);
  RUN(a50_a_missing_tool_names_its_package);
  RUN(what_is_gone_is_said_to_be_gone);
  RUN(sizes_that_come_again);
  RUN(in_a_guest);
}

int main(int argc, char **argv) {
  return volumes_main(argc, argv, in_the_guest() ? guest : all);
}
