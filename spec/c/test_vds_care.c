/*
** Volumes checked, mended and labelled; damaged ones, and hostile labels.
*/
#include "vds_volume_case.h"

static bool make(disk_case *d, unsigned megabytes, const char *mkfs) {
  char program[40];
  snprintf(program, sizeof program, "%.*s", (int)strcspn(mkfs, " "), mkfs);
  if (!volumes_have(program)) return false;
  bool good = disk_make(d, megabytes, mkfs);
  CHECK(good);
  return good;
}

/* -1: it has none of that name. */
static int flag_of(const value *map, const char *name) {
  const value *v = value_get(map, name);
  return v == NULL ? -1 : value_boolean(v, false);
}

/* Looked at, it is left as it is, byte by byte. */
static void checks_clean(const char *mkfs, unsigned megabytes) {
  disk_case d;
  if (!make(&d, megabytes, mkfs)) return;
  CHECK_INT(volumes_run("cksum < '%s' > '%s.before'", d.image, d.image), 0);
  answer a = ask_of(&d, "check", "%s", "");
  if (a.code != 0) printf("it said: %s\n", a.message);
  CHECK_INT(a.code, 0);
  CHECK_INT(flag_of(a.output, "clean"), 1);
  CHECK_INT(flag_of(a.output, "repaired"), 0);
  forget(&a);
  CHECK_INT(
      volumes_run("cksum < '%s' | cmp -s - '%s.before'", d.image, d.image), 0);
  disk_end(&d);
}

TEST(a34_what_is_well_is_clean) {
  NEED_DISKS();
  checks_clean("mke2fs -q -F -t ext4", 16);
  checks_clean("mkfs.xfs -q -f", 300);
  checks_clean("mkfs.btrfs -q -f", 128);
  checks_clean("mkfs.vfat", 16);
}

/* However a program's words come, they are told as lines. */
TEST(what_it_says_is_told_in_lines) {
  NEED_DISKS();
  disk_case d;
  if (!make(&d, 16, "mke2fs -q -F -t ext4")) SKIP("no mke2fs here");
  answer a = ask_of(&d, "check", "%s", "");
  const value *messages = value_get(a.output, "messages");
  unsigned passes = 0;
  for (uint32_t i = 0; messages != NULL && i < messages->count; i++)
    passes += strcmp(value_chars(messages->as.items[i], ""),
                     "Pass 1: Checking inodes, blocks, and sizes") == 0 ||
              strcmp(value_chars(messages->as.items[i], ""),
                     "Pass 5: Checking group summary information") == 0;
  CHECK_INT(passes, 2);
  forget(&a);
  disk_end(&d);
}

/* Found, and told; mended, and told; then clean. */
TEST(damage_is_found_and_mended) {
  NEED_DISKS();
  disk_case d;
  if (!make(&d, 16, "mke2fs -q -F -t ext4")) SKIP("no mke2fs here");
  CHECK(fill(&d, "ext4", 2, 1));
  CHECK_INT(volumes_run("debugfs -w -R 'clri <12>' '%s' >/dev/null 2>&1 && "
                        "debugfs -w -R 'freeb 100 5' '%s' >/dev/null 2>&1",
                        d.node, d.node),
            0);
  answer a = ask_of(&d, "check", "%s", "");
  CHECK_INT(a.code, 0);
  CHECK_INT(flag_of(a.output, "clean"), 0);
  CHECK_INT(flag_of(a.output, "repaired"), 0);
  const value *messages = value_get(a.output, "messages");
  CHECK(messages != NULL && messages->count > 0);
  forget(&a);
  a = ask_of(&d, "check", ",'repair':true");
  CHECK_INT(a.code, 0);
  CHECK_INT(flag_of(a.output, "clean"), 1);
  CHECK_INT(flag_of(a.output, "repaired"), 1);
  forget(&a);
  CHECK(is_healthy(&d));
  disk_end(&d);
}

TEST(fat_that_is_damaged) {
  NEED_DISKS();
  disk_case d;
  if (!make(&d, 16, "mkfs.vfat")) SKIP("no mkfs.vfat: install dosfstools");
  if (!volumes_have("fsck.vfat")) SKIP("no fsck.vfat: install dosfstools");
  /* A chain of clusters that belongs to no file. */
  int fd = open(d.node, O_RDWR | O_CLOEXEC);
  unsigned char boot[512], *s = boot;
  CHECK(fd >= 0 && pread(fd, boot, 512, 0) == 512);
  off_t fat = (off_t)(s[14] | s[15] << 8) * (s[11] | s[12] << 8);
  static const unsigned char end[2] = {0xFF, 0xFF};
  CHECK(pwrite(fd, end, 2, fat + 100) == 2 && fsync(fd) == 0);
  if (fd >= 0) close(fd);
  answer a = ask_of(&d, "check", "%s", "");
  CHECK_INT(a.code, 0);
  CHECK_INT(flag_of(a.output, "clean"), 0);
  forget(&a);
  a = ask_of(&d, "check", ",'repair':true");
  if (a.code != 0) printf("it said: %s\n", a.message);
  CHECK_INT(a.code, 0);
  CHECK_INT(flag_of(a.output, "repaired"), 1);
  forget(&a);
  a = ask_of(&d, "check", "%s", "");
  CHECK_INT(flag_of(a.output, "clean"), 1);
  forget(&a);
  disk_end(&d);
}

TEST(xfs_that_is_damaged) {
  NEED_DISKS();
  disk_case d;
  if (!make(&d, 300, "mkfs.xfs -q -f")) SKIP("no mkfs.xfs: install xfsprogs");
  if (!volumes_have("xfs_db")) SKIP("no xfs_db: install xfsprogs");
  CHECK_INT(volumes_run("xfs_db -x -c 'agf 0' -c 'write -d freeblks 7' '%s' "
                        ">/dev/null 2>&1",
                        d.node),
            0);
  answer a = ask_of(&d, "check", "%s", "");
  CHECK_INT(a.code, 0);
  CHECK_INT(flag_of(a.output, "clean"), 0);
  forget(&a);
  CHECK_ANSWER(ask_of(&d, "check", ",'repair':true"), 0);
  a = ask_of(&d, "check", "%s", "");
  CHECK_INT(a.code, 0);
  CHECK_INT(flag_of(a.output, "clean"), 1);
  forget(&a);
  disk_end(&d);
}

TEST(what_cannot_be_checked_is_said) {
  NEED_DISKS();
  disk_case d;
  CHECK(disk_make(&d, 8, ":"));
  CHECK_ANSWER(ask_of(&d, "check", "%s", ""), VDS_E_FS_NOT_DETERMINED);
  CHECK_ANSWER(ask_of(&d, "label", ",'label':'x'"), VDS_E_FS_NOT_DETERMINED);
  disk_end(&d);
  if (!make(&d, 128, "mkfs.btrfs -q -f")) return;
  CHECK_ANSWER(ask_of(&d, "check", ",'repair':true"), VDS_E_NOT_SUPPORTED);
  disk_end(&d);
}

TEST(what_is_mounted_is_not_checked) {
  NEED_DISKS();
  disk_case d;
  if (!make(&d, 16, "mke2fs -q -F -t ext4")) SKIP("no mke2fs here");
  CHECK(mount_it(&d, "ext4"));
  CHECK_ANSWER(ask_of(&d, "check", "%s", ""), VDS_E_OPERATION_DENIED);
  CHECK_INT(umount2(d.at, 0), 0);
  disk_end(&d);
}

/* A super block that is not one: an error, or damage that is told, or it is
   well again afterwards. */
static void damage_it(off_t at, const unsigned char bytes[4]) {
  static const char *const calls[] = {"query_shrink", "label", "check",
                                      "extend", "shrink"};
  disk_case d;
  if (!make(&d, 8, "mke2fs -q -F -t ext4")) return;
  int fd = open(d.node, O_RDWR | O_CLOEXEC);
  CHECK(fd >= 0 && pwrite(fd, bytes, 4, at) == 4 && fsync(fd) == 0);
  if (fd >= 0) close(fd);
  for (size_t k = 0; k < sizeof calls / sizeof *calls; k++) {
    answer a = ask_of(&d, calls[k], ",'label':'x'");
    bool told = (a.code & 0x80000000u) != 0 || flag_of(a.output, "clean") == 0;
    bool touched = strcmp(calls[k], "query_shrink") != 0 &&
                   strcmp(calls[k], "label") != 0 && a.code != 1;
    CHECK(told || !touched || is_healthy(&d));
    forget(&a);
  }
  CHECK_INT(unfinished(), 0);
  disk_end(&d);
}

TEST(damaged_super_blocks) {
  NEED_DISKS();
  static const struct {
    off_t at;
    unsigned char bytes[4];
  } damage[] = {{1024 + 4, {0xFF, 0xFF, 0xFF, 0xFF}},
                {1024 + 24, {0x40, 0, 0, 0}},
                {1024 + 32, {0, 0, 0, 0}},
                {1024 + 40, {0, 0, 0, 0}},
                {1024 + 0x58, {0xFF, 0xFF, 0, 0}}};
  if (!volumes_have("mke2fs")) SKIP("no mke2fs here");
  for (size_t i = 0; i < sizeof damage / sizeof *damage; i++)
    damage_it(damage[i].at, damage[i].bytes);
}


/* The file ends before the disk does: what lies behind is told as an error, and
   nothing hangs. */
TEST(a_truncated_file) {
  NEED_DISKS();
  static const char *const calls[] = {"check", "shrink"};
  disk_case d;
  if (!make(&d, 32, "mke2fs -q -F -t ext4")) SKIP("no mke2fs here");
  CHECK(fill(&d, "ext4", 8, 2));
  CHECK_INT(truncate(d.image, 12 << 20), 0);
  int fd = open(d.node, O_RDONLY | O_CLOEXEC);
  if (fd >= 0) {
    ioctl(fd, BLKFLSBUF, 0); /* nothing of it is remembered */
    close(fd);
  }
  for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
    answer a = ask_of(&d, calls[i], "%s", "");
    bool told = (a.code & 0x80000000u) != 0 || flag_of(a.output, "clean") == 0;
    CHECK(told);
    forget(&a);
  }
  CHECK_INT(unfinished(), 0);
  CHECK_INT(undo_files(), 0);
  disk_end(&d);
}

/* Where what is under way cannot be written down, nothing is begun. */
TEST(no_room_for_a_record) {
  NEED_DISKS();
  static const char *const calls[] = {"extend", "shrink"};
  disk_case d;
  const char *small = place("full");
  mkdir(small, 0700);
  if (!make(&d, 32, "mke2fs -q -F -t ext4")) SKIP("no mke2fs here");
  disk_expand(&d, 48);
  if (mount("full", small, "tmpfs", 0, "size=64k,mode=0700") != 0)
    SKIP("no tmpfs can be mounted here");
  CHECK_INT(mkdir(place("full/vds"), 0700), 0);
  volumes_run("head -c 1M /dev/zero > '%s/all' 2>/dev/null", small);
  for (size_t i = 0; i < sizeof calls / sizeof *calls; i++)
    CHECK_ANSWER(ask_of(&d, calls[i], ",'state_dir':'%s'", small), 0x80070070);
  CHECK_INT(size_by_super(&d, "ext4"), 32 * MB);
  CHECK_INT(umount2(small, 0), 0);
  disk_end(&d);
}


/* ------------------------------------------------------------------
** Labels
** ---------------------------------------------------------------- */

static void is_called(const disk_case *d, const char *label) {
  static vds_probe p;
  int fd = open(d->node, O_RDONLY | O_CLOEXEC);
  CHECK(fd >= 0 && vds_probe_fd(fd, &p) == NULL);
  if (fd >= 0) close(fd);
  CHECK_TEXT(p.label, label);
}

/* Mounted and not; none at all; one that is too long. */
static void labels(const char *type, const char *mkfs, unsigned megabytes,
                   bool mounted) {
  disk_case d;
  if (!make(&d, megabytes, mkfs)) return;
  CHECK_ANSWER(ask_of(&d, "label", ",'label':'FIRST'"), 0);
  is_called(&d, "FIRST");
  if (mounted) {
    CHECK(mount_it(&d, type));
    CHECK_ANSWER(ask_of(&d, "label", ",'label':'-x second'"), 0);
    CHECK_INT(umount2(d.at, 0), 0);
    is_called(&d, "-x second");
  }
  CHECK_ANSWER(ask_of(&d, "label", ",'label':'-L'"), 0);
  is_called(&d, "-L");
  CHECK_ANSWER(ask_of(&d, "label", ",'label':'%0300d'", 1), VDS_E_BAD_LABEL);
  CHECK_ANSWER(ask_of(&d, "label", ",'label':'a\\nb'"), VDS_E_BAD_LABEL);
  CHECK_ANSWER(ask_of(&d, "label", ",'label':'a\\u0000b'"), VDS_E_BAD_LABEL);
  CHECK_ANSWER(ask_of(&d, "label", "%s", ""), SAROS_E_INVALIDARG);
  is_called(&d, "-L");
  CHECK_ANSWER(ask_of(&d, "label", ",'label':''"), 0);
  is_called(&d, "");
  disk_end(&d);
}

TEST(labels_of_ext4) {
  NEED_DISKS();
  labels("ext4", "mke2fs -q -F -t ext4", 16, true);
}

TEST(labels_of_xfs) {
  NEED_MOUNTS();
  labels("xfs", "mkfs.xfs -q -f", 300, true);
}

TEST(labels_of_btrfs) {
  NEED_MOUNTS();
  labels("btrfs", "mkfs.btrfs -q -f", 128, true);
}

TEST(labels_of_fat_and_swap) {
  NEED_DISKS();
  labels("vfat", "mkfs.vfat", 16, false);
  labels("swap", "mkswap", 16, false);
}

/* A check can be cancelled, a repair cannot: which step of it writes first only
   its program knows. */
TEST(a_check_is_cancelled_a_repair_is_not) {
  NEED_DISKS();
  disk_case d;
  if (!make(&d, 16, "mke2fs -q -F -t ext4")) SKIP("no mke2fs here");
  hold_at("check: open");
  saros_op *op = begin_of(&d, "check", "%s", "");
  await_held();
  CHECK_INT(saros_vds_cancel(op), 0);
  let_on();
  CHECK_ANSWER(end_of(op), VDS_E_OPERATION_CANCELED);
  hold_at("check: open");
  op = begin_of(&d, "check", ",'repair':true");
  await_held();
  CHECK_INT(saros_vds_cancel(op), VDS_E_CANCEL_TOO_LATE);
  let_on();
  CHECK_ANSWER(end_of(op), 0);
  disk_end(&d);
}

static void all(void) {
  RUN(a34_what_is_well_is_clean);
  RUN(what_it_says_is_told_in_lines);
  RUN(damage_is_found_and_mended);
  RUN(fat_that_is_damaged);
  RUN(xfs_that_is_damaged);
  RUN(what_cannot_be_checked_is_said);
  RUN(what_is_mounted_is_not_checked);
  RUN(damaged_super_blocks);
  RUN(a_truncated_file);
  RUN(no_room_for_a_record);
  RUN(labels_of_ext4);
  RUN(labels_of_xfs);
  RUN(labels_of_btrfs);
  RUN(labels_of_fat_and_swap);
  RUN(a_check_is_cancelled_a_repair_is_not);
}

int main(int argc, char **argv) {
  return volumes_main(argc, argv, all);
}
