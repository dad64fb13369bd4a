/*
** Files of virtual disks that give back what they take for nothing; what is
** read from them is the same before and after, however it ended.
*/
#include "vds_case.h"

#include "vds/vdisk.h"

enum { MIB = 1 << 20, SIZE = 24 * MIB };

static const char *disk_path;

static char *bytes_of(const char *path, off_t from, size_t size) {
  char *bytes = calloc(1, size);
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  CHECK_INT(pread(fd, bytes, size, from), size);
  close(fd);
  return bytes;
}

static bool is_same(const char *path, const char *before, size_t size) {
  char *now = bytes_of(path, 0, size);
  bool same = memcmp(before, now, size) == 0;
  free(now);
  return same;
}

static void fill(const char *path, off_t from, size_t size, int byte) {
  char *bytes = malloc(size);
  memset(bytes, byte, size);
  int fd = open(path, O_RDWR | O_CLOEXEC);
  CHECK_INT(pwrite(fd, bytes, size, from), size);
  CHECK_INT(fsync(fd), 0);
  close(fd);
  free(bytes);
}

static int64_t taken(void) {
  struct stat st = {0};
  CHECK_INT(stat(disk_path, &st), 0);
  return (int64_t)st.st_blocks * 512;
}

static answer compact(void) {
  return ask("compact", "{'path':'%s'}", disk_path);
}

static int64_t reclaimed(answer *a) {
  CHECK_INT(a->code, 0);
  if (a->code != 0) printf("it said: %s\n", a->message);
  int64_t n = value_integer(value_get(a->output, "reclaimed"), -1);
  forget(a);
  return n;
}


/* ------------------------------------------------------------------
** Detached
** ---------------------------------------------------------------- */

/* Data, zeros that were written, room that was never written, a hole. */
static void mixed_disk(void) {
  disk_path = make_image(SIZE / MIB);
  fill(disk_path, 0, 5 * MIB, 0);
  fill(disk_path, 100 * 4096, 4096, 7);
  fill(disk_path, 5 * MIB, MIB, 9);
  fill(disk_path, 6 * MIB + 512, 2 * MIB, 0);
  fill(disk_path, 9 * MIB, 32768, 0);
  int fd = open(disk_path, O_RDWR | O_CLOEXEC);
  if (fallocate(fd, 0, 12 * MIB, 4 * MIB) != 0) CHECK_INT(errno, EOPNOTSUPP);
  CHECK_INT(pwrite(fd, "end", 3, SIZE - 3), 3);
  CHECK_INT(fsync(fd), 0);
  close(fd);
}

TEST(zeros_become_holes) {
  mixed_disk();
  char *before = bytes_of(disk_path, 0, SIZE);
  int64_t room = taken();
  answer a = compact();
  CHECK_INT(value_integer(value_get(a.output, "vds_type"), 0), 202);
  CHECK_INT(value_integer(value_get(a.output, "size"), 0), SIZE);
  CHECK_TEXT(text_of(a.output, "path"), disk_path);
  int64_t less = reclaimed(&a);
  CHECK_INT(less, room - taken());
  CHECK(less >= 6 * MIB);
  CHECK(taken() < 4 * MIB);
  CHECK(is_same(disk_path, before, SIZE));
  free(before);
  a = compact(); /* there is no more to be had */
  CHECK_INT(reclaimed(&a), 0);
}

TEST(a_size_of_any_sectors) {
  disk_path = make_image(2);
  CHECK_INT(truncate(disk_path, MIB + 512 * 3), 0);
  fill(disk_path, 0, MIB + 512 * 3, 0);
  answer a = compact();
  CHECK(reclaimed(&a) >= MIB - 4096);
  struct stat st;
  CHECK_INT(stat(disk_path, &st), 0);
  CHECK_INT(st.st_size, MIB + 512 * 3);
}

TEST(what_is_no_disk_is_not_compacted) {
  CHECK_ANSWER(ask("compact", "{}"), SAROS_E_INVALIDARG);
  CHECK_ANSWER(ask("compact", "{'path':'x'}"), SAROS_E_INVALIDARG);
  CHECK_ANSWER(ask("compact", "{'path':'%s'}", place("none")),
               VDS_E_PATH_NOT_FOUND);
  CHECK_ANSWER(ask("compact", "{'path':'/dev/null'}"), VDS_E_OPERATION_DENIED);
}

/* Who has it open might write where only zeros were seen. */
TEST(what_somebody_has_open_is_left_alone) {
  mixed_disk();
  int64_t room = taken();
  somebody_stays = true;
  int fd = open(disk_path, O_RDWR | O_CLOEXEC);
  CHECK_ANSWER(compact(), VDS_E_DEVICE_IN_USE);
  close(fd);
  fd = open(disk_path, O_RDONLY | O_CLOEXEC); /* as a backup would */
  CHECK_ANSWER(compact(), VDS_E_DEVICE_IN_USE);
  close(fd);
  somebody_stays = false;
  CHECK_INT(taken(), room);
  answer a = compact();
  CHECK(reclaimed(&a) > 0);
}

TEST(who_opens_it_meanwhile_ends_it) {
  mixed_disk();
  char *before = bytes_of(disk_path, 0, SIZE);
  hold_at("compact: leased");
  saros_op *op = begin("compact", "{'path':'%s'}", disk_path);
  await_held();
  /* A look at it is no opening, and one operation at a time is allowed. */
  CHECK_ANSWER(ask("open_vdisk", "{'path':'%s'}", disk_path), 0);
  CHECK_ANSWER(compact(), VDS_E_ANOTHER_CALL_IN_PROGRESS);
  int fd = open(disk_path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
  CHECK(fd < 0 && errno == EWOULDBLOCK);
  let_on();
  CHECK_ANSWER(end_of(op), VDS_E_DEVICE_IN_USE);
  CHECK(is_same(disk_path, before, SIZE));
  free(before);
  fd = open(disk_path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
  CHECK(fd >= 0);
  if (fd >= 0) close(fd);
}

TEST(a_cancelled_one_has_changed_nothing_that_is_read) {
  static const char *const steps[] = {"compact: leased", "compact: block"};
  for (size_t i = 0; i < 2; i++) {
    mixed_disk();
    char *before = bytes_of(disk_path, 0, SIZE);
    hold_at(steps[i]);
    saros_op *op = begin("compact", "{'path':'%s'}", disk_path);
    await_held();
    CHECK_INT(saros_vds_cancel(op), 0);
    let_on();
    CHECK_ANSWER(end_of(op), VDS_E_OPERATION_CANCELED);
    CHECK(is_same(disk_path, before, SIZE));
    free(before);
    answer a = compact();
    CHECK(reclaimed(&a) > 0);
  }
}

static bool die_compacting(int step) {
  pid_t child = fork_at_rest();
  if (child == 0) {
    atomic_store(&vds_dies_at, step);
    answer a = compact();
    _exit(a.code == 0 ? 0 : 1);
  }
  return has_died(child);
}

TEST(death_at_every_step) {
  mixed_disk();
  char *before = bytes_of(disk_path, 0, SIZE);
  int step = 1;
  for (bool died = true; died; step++) {
    died = die_compacting(step);
    CHECK(is_same(disk_path, before, SIZE));
  }
  CHECK(step > 5);
  CHECK_INT(records_left(), 0);
  free(before);
}


/* ------------------------------------------------------------------
** Attached
** ---------------------------------------------------------------- */

static char node[80];

static void attach(const char *more) {
  answer a = ask("attach", "{'path':'%s'%s}", disk_path, more);
  CHECK_INT(a.code, 0);
  snprintf(node, sizeof node, "%s", text_of(a.output, "path"));
  forget(&a);
}

static void detach(void) {
  CHECK_ANSWER(ask("detach", "{'path':'%s'}", disk_path), 0);
}

static bool partitioned(const char *script) {
  disk_path = make_image(SIZE / MIB);
  return volumes_run(
             "printf '%s' | sfdisk -q --no-tell-kernel '%s' >/dev/null 2>&1",
             script, disk_path) == 0;
}

/* The first partition has an ext4 that is mounted at `at`, with a file that is
   there and room of one that was; the second has bytes of nobody knows whom,
   and so has what lies behind it. */
static bool lived_in(const char *at) {
  if (!partitioned("label: gpt\\n,12M\\n,2M\\n")) return false;
  attach("");
  fill(disk_path, 13 * MIB, 2 * MIB, 5);
  fill(disk_path, 18 * MIB, 2 * MIB, 6);
  mkdir(at, 0700);
  if (volumes_run("mkfs.ext4 -q -F '%sp1' && mount -t ext4 '%sp1' '%s'", node,
                  node, at) != 0)
    return false;
  return volumes_run(
             "cd '%s' && yes saros | head -c 1000000 >kept && "
             "yes saros | head -c 5000000 >gone && sync -f . && "
             "rm gone && md5sum kept >sum && sync -f .",
             at) == 0;
}

static bool lives(const char *at) {
  return volumes_run("cd '%s' && md5sum -c --quiet sum", at) == 0;
}

TEST(an_attached_one_gives_back_what_is_free) {
  NEED_DISKS();
  const char *at = place("at");
  if (!lived_in(at)) SKIP("needs sfdisk and mkfs.ext4: fdisk, e2fsprogs");
  int64_t room = taken();
  answer a = compact();
  int64_t less = reclaimed(&a);
  CHECK_INT(less, room - taken());
  CHECK(less >= 6 * MIB); /* the file, and the gap */
  CHECK(lives(at));
  umount2(at, 0);
  char *rest = bytes_of(disk_path, 13 * MIB, 2 * MIB);
  CHECK(rest[0] == 5 && memcmp(rest, rest + 1, 2 * MIB - 1) == 0);
  free(rest);
  CHECK_INT(volumes_run("e2fsck -fn '%sp1' >/dev/null 2>&1", node), 0);
  CHECK_INT(volumes_run("sfdisk -q -V '%s' >/dev/null 2>&1", disk_path), 0);
  detach();
}

TEST(cancelled_and_killed_while_attached) {
  NEED_DISKS();
  static const char *const steps[] = {"compact: opened", "compact: range"};
  const char *at = place("at2");
  if (!lived_in(at)) SKIP("needs sfdisk and mkfs.ext4: fdisk, e2fsprogs");
  for (size_t i = 0; i < 2; i++) {
    hold_at(steps[i]);
    saros_op *op = begin("compact", "{'path':'%s'}", disk_path);
    await_held();
    CHECK_INT(saros_vds_cancel(op), 0);
    let_on();
    CHECK_ANSWER(end_of(op), VDS_E_OPERATION_CANCELED);
    CHECK(lives(at));
  }
  int step = 1;
  while (die_compacting(step)) {
    CHECK(lives(at));
    step++;
  }
  CHECK(step > 3);
  CHECK_INT(umount2(at, 0), 0); /* nobody holds it */
  detach();
}

/* What is not known to be free is not given back. */
TEST(what_nobody_knows_stays) {
  NEED_DISKS();
  disk_path = make_image(8);
  fill(disk_path, 0, 8 * MIB, 3);
  attach("");
  char *before = bytes_of(disk_path, 0, 8 * MIB);
  answer a = compact();
  CHECK_INT(reclaimed(&a), 0);
  CHECK(is_same(disk_path, before, 8 * MIB));
  free(before);
  detach();
  /* Logical partitions have tables where nothing seems to be. */
  if (!partitioned(
          "label: "
          "dos\\n1:size=4M\\n2:size=16M,type=5\\n5:size=4M\\n6:size=4M\\n"))
    SKIP("needs sfdisk: fdisk");
  fill(disk_path, 22 * MIB, MIB, 4);
  before = bytes_of(disk_path, 0, SIZE);
  attach("");
  a = compact();
  CHECK_INT(reclaimed(&a), 0);
  CHECK(is_same(disk_path, before, SIZE));
  free(before);
  detach();
}

TEST(what_is_read_only_or_others_is_refused) {
  NEED_DISKS();
  char device[32];
  disk_path = make_image(8);
  attach(",'read_only':true");
  CHECK_ANSWER(compact(), VDS_E_MEDIA_WRITE_PROTECTED);
  detach();
  int fd = volumes_attach(disk_path, 0, 0, device);
  CHECK(fd >= 0);
  CHECK_ANSWER(compact(), VDS_E_OPERATION_DENIED);
  close(fd);
}

static void all(void) {
  RUN(death_at_every_step);
  RUN(zeros_become_holes);
  RUN(a_size_of_any_sectors);
  RUN(what_is_no_disk_is_not_compacted);
  RUN(what_somebody_has_open_is_left_alone);
  RUN(who_opens_it_meanwhile_ends_it);
  RUN(a_cancelled_one_has_changed_nothing_that_is_read);
  RUN(cancelled_and_killed_while_attached);
  RUN(an_attached_one_gives_back_what_is_free);
  RUN(what_nobody_knows_stays);
  RUN(what_is_read_only_or_others_is_refused);
}

int main(int argc, char **argv) {
  return volumes_main(argc, argv, all);
}
