/*
** Disks that are cleaned and do not take what is written: with bad sectors,
** over a file that was cut off, or that has no room.
*/
#include <sys/mman.h>

#include "vds_clean_case.h"

/* A disk whose bytes go to a file past every cache, and not as holes: a loop
   device over a loop device. */
typedef struct tower {
  char below[32], above[32];
  int fds[2];
} tower;

static bool build(tower *t, const char *path) {
  vds_about about;
  t->fds[0] = volumes_attach(path, 0, 0, t->below);
  t->fds[1] = volumes_attach(t->below, LO_FLAGS_DIRECT_IO, 0, t->above);
  CHECK(t->fds[0] >= 0 && t->fds[1] >= 0);
  dev_t dev = 0;
  error *e = vds_about_named(t->above, &dev);
  if (e == NULL) e = vds_about_read(dev, &about);
  CHECK(e == NULL);
  if (e != NULL) return false;
  vds_identity_of(&about, &who);
  answer a = ask("disk", "{'path':'%s'}", t->above);
  identify(&a);
  forget(&a);
  return true;
}

static void take_down(tower *t) {
  if (t->fds[1] >= 0) close(t->fds[1]);
  if (t->fds[0] >= 0) close(t->fds[0]);
}

/* A file that has no room for what is written. */
TEST(a_full_disk_below_is_told) {
  NEED_DISKS();
  const char *dir = place("small"), *path = place("small/sparse.img");
  tower t;
  mkdir(dir, 0700);
  if (mount("small", dir, "tmpfs", 0, "size=4m") != 0)
    SKIP("no tmpfs can be mounted here");
  int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  CHECK_INT(ftruncate(fd, 16 * MIB), 0);
  close(fd);
  CHECK(build(&t, path));
  answer a = clean(",'full':true");
  if (a.code != VDS_E_IO_ERROR) CHECK_INT(a.code, 0x80070070u);
  CHECK(left_over(a.op, "of its 16777216 bytes are zero"));
  forget(&a);
  take_down(&t);
  umount2(dir, MNT_DETACH);
}

/* A disk over a file in memory that was cut off and cannot grow: what is behind
   its end takes nothing. */
static int cut_off(tower *t, off_t size, off_t left) {
  static char path[64];
  int file = memfd_create("saros-clean", MFD_CLOEXEC | MFD_ALLOW_SEALING);
  CHECK_INT(ftruncate(file, size), 0);
  snprintf(path, sizeof path, "/proc/self/fd/%d", file);
  CHECK(build(t, path));
  CHECK_INT(ftruncate(file, left), 0);
  CHECK_INT(fcntl(file, F_ADD_SEALS, F_SEAL_GROW), 0);
  return file;
}

/* The bad ones begin where a chunk does: what a loop device writes a part of it
   takes for written. */
TEST(bad_sectors_are_skipped_and_listed) {
  NEED_DISKS();
  enum { GOOD = 8 * MIB, BAD = 7 * 4096 };
  tower t;
  int file = cut_off(&t, GOOD + BAD, GOOD);
  answer a = clean(",'full':true");
  CHECK_INT(a.code, VDS_S_DISK_PARTIALLY_CLEANED);
  CHECK_INT(value_integer(value_get(a.output, "bytes"), 0), GOOD);
  const value *failed = value_get(a.output, "failed");
  CHECK(failed != NULL && failed->count == 1);
  if (failed != NULL && failed->count == 1) {
    const value *one = failed->as.items[0];
    CHECK_INT(value_integer(value_get(one, "offset"), 0), GOOD);
    CHECK_INT(value_integer(value_get(one, "size"), 0), BAD);
  }
  forget(&a);
  take_down(&t);
  close(file);
}

/* What was cut off is there again when it is zeroed: a file can grow. */
TEST(a_truncated_file_is_zeroed_all_the_same) {
  NEED_DISK(24);
  CHECK_INT(truncate(disk_path, 10 * MIB), 0);
  CHECK_ANSWER(clean(",'full':true"), 0);
  CHECK(is_zero(node, 0, 10 * MIB));
  CHECK_INT(partitions(), 0);
  end_disk();
}

/* One that cannot grow: its end is a disk that does not take anything. */
TEST(a_truncated_file_that_cannot_grow_is_an_error) {
  NEED_DISKS();
  tower t;
  int file = cut_off(&t, 16 * MIB, 8 * MIB);
  answer a = clean("");
  CHECK_INT(a.code, VDS_E_IO_ERROR);
  CHECK(left_over(a.op, "0 of its 16777216 bytes are zero"));
  forget(&a);
  a = clean(",'full':true");
  CHECK_INT(a.code, VDS_E_IO_ERROR);
  forget(&a);
  take_down(&t);
  close(file);
}

static void all(void) {
  RUN(a_full_disk_below_is_told);
  RUN(bad_sectors_are_skipped_and_listed);
  RUN(a_truncated_file_is_zeroed_all_the_same);
  RUN(a_truncated_file_that_cannot_grow_is_an_error);
}

int main(int argc, char **argv) {
  return volumes_main(argc, argv, all);
}
