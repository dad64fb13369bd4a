/*
** Mounts that nobody sees, and whose device a mount is of.
*/
#include "vds_mount_case.h"

static void hide(const char *fs, unsigned megabytes) {
  vds_target t;
  int directory = -1;
  if (!new_disk(fs, megabytes)) return;
  CHECK(vds_target_open(&who, VDS_OPEN_WRITE | VDS_OPEN_EXCLUSIVE, &t) == NULL);
  vds_target_share(&t);
  error *e = vds_mount_hidden(&t, fs, &directory);
  if (e != NULL) printf("%s: %s\n", fs, e->message);
  CHECK(e == NULL);
  error_unref(e);
  CHECK(directory >= 0);
  CHECK(!is_mounted());
  CHECK(!is_free());
  int fd = openat(directory, "x", O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  CHECK(fd >= 0); /* it can be written to */
  close(fd);
  close(directory);
  CHECK(vds_target_again(&t) == NULL);
  vds_target_close(&t);
  CHECK(is_free());
  /* Where it is mounted already, that is taken. */
  const char *at = place("at");
  mkdir(at, 0700);
  CHECK_INT(mount(node, at, fs, 0, NULL), 0);
  CHECK_INT(access(volumes_in("at/x"), F_OK), 0);
  CHECK(vds_target_open(&who, VDS_OPEN_WRITE, &t) == NULL);
  CHECK(vds_mount_hidden(&t, fs, &directory) == NULL);
  struct stat a, b;
  CHECK_INT(fstat(directory, &a), 0);
  CHECK_INT(stat(at, &b), 0);
  CHECK(a.st_dev == b.st_dev && a.st_ino == b.st_ino);
  CHECK(umount2(at, 0) != 0); /* by that very mount */
  close(directory);
  vds_target_close(&t);
  CHECK_INT(umount2(at, 0), 0);
  end_disk();
}

TEST(a_hidden_mount_ends_with_its_directory) {
  NEED_MOUNTS();
  hide("ext4", 16);
  hide("btrfs", 128);
  hide("xfs", 320);
}

/* A btrfs has its device's number nowhere: another one's directory is not
   taken for its own. */
TEST(one_is_not_taken_for_another) {
  NEED_MOUNTS();
  const volume *v = volumes_get(BTRFS);
  if (v == NULL) SKIP(volumes_missing);
  if (!new_disk("btrfs", 128)) SKIP("no btrfs can be made here");
  const char *at = place("other");
  mkdir(at, 0700);
  CHECK_INT(mount(node, at, "btrfs", 0, NULL), 0);
  vds_world *w = NULL;
  CHECK(vds_world_read(&w) == NULL);
  int fd = open(at, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  struct stat st;
  CHECK_INT(stat(v->device, &st), 0);
  CHECK(vds_mount_shows(w, fd, "", who.dev));
  CHECK(!vds_mount_shows(w, fd, "", st.st_rdev));
  close(fd);
  vds_world_free(w);
  CHECK_INT(umount2(at, 0), 0);
  end_disk();
}

TEST(what_cannot_be_mounted_is_told) {
  NEED_MOUNTS();
  vds_target t;
  int directory = 0;
  if (!new_disk("ext4", 16)) SKIP("no ext4 can be made here");
  CHECK(vds_target_open(&who, VDS_OPEN_WRITE, &t) == NULL);
  error *e = vds_mount_hidden(&t, "nosuchfs", &directory);
  CHECK(e != NULL && e->code == VDS_E_INCOMPATIBLE_FILE_SYSTEM);
  CHECK_INT(directory, -1);
  error_unref(e);
  /* Its root directory's number of blocks cannot be. */
  const unsigned char bad[4] = {0xFF, 0xFF, 0xFF, 0x7F};
  CHECK_INT(pwrite(t.fd, bad, sizeof bad, 1024 + 24), sizeof bad);
  CHECK_INT(fsync(t.fd), 0);
  e = vds_mount_hidden(&t, "ext4", &directory);
  CHECK(e != NULL && e->code == VDS_E_VOLUME_NOT_HEALTHY);
  CHECK_INT(directory, -1);
  error_unref(e);
  /* Somebody has it for himself. */
  int fd = open(node, O_RDONLY | O_EXCL | O_CLOEXEC);
  CHECK(fd >= 0);
  e = vds_mount_hidden(&t, "ext4", &directory);
  CHECK(e != NULL && e->code == VDS_E_DEVICE_IN_USE);
  error_unref(e);
  close(fd);
  vds_target_close(&t);
  CHECK(is_free());
  end_disk();
}

static void all(void) {
  RUN(a_hidden_mount_ends_with_its_directory);
  RUN(one_is_not_taken_for_another);
  RUN(what_cannot_be_mounted_is_told);
}

int main(int argc, char **argv) {
  return volumes_main(argc, argv, all);
}
