/*
** Mounts: with a place and without one, on real file systems on loop devices.
*/
#include "vds_case.h"

#include <sys/statvfs.h>

#include "vds/mount.h"

/* A virtual disk with a file system on it, attached by us; its object. */
static const char *disk_path; /* of its file */
static char node[80];
static vds_identity who;
static char object[400]; /* what a call takes for it */

static bool new_disk(const char *fs, unsigned megabytes) {
  const char *path = make_image(megabytes);
  if (volumes_run("mkfs.%s -q %s '%s' >/dev/null 2>&1", fs,
                  strncmp(fs, "ext", 3) == 0 ? "-F" : "-f", path) != 0)
    return false;
  answer a = ask("attach", "{'path':'%s'}", path);
  CHECK_INT(a.code, 0);
  CHECK(vds_identity_get(a.output, &who));
  snprintf(node, sizeof node, "%s", text_of(a.output, "path"));
  snprintf(object, sizeof object,
           "{'major':%u,'minor':%u,'disk_major':%u,'disk_minor':%u,'seq':%llu,"
           "'size':%llu,'number':0}",
           major(who.dev), minor(who.dev), major(who.dev), minor(who.dev),
           (unsigned long long)who.seq, (unsigned long long)who.size);
  disk_path = path;
  forget(&a);
  return true;
}

static void end_disk(void) {
  CHECK_ANSWER(ask("detach", "{'path':'%s'}", disk_path), 0);
}

/* Whether anything is mounted from the device, in our table. */
static bool is_mounted(void) {
  vds_world *w = NULL;
  error *e = vds_world_read(&w);
  CHECK(e == NULL);
  vds_holders h = vds_holders_of(w, who.dev);
  bool is = false;
  for (size_t i = 0; i < h.count; i++)
    if (h.items[i].kind == VDS_HOLD_MOUNT) is = true;
  vds_holders_free(&h);
  vds_world_free(w);
  return is;
}

/* Whether the kernel lets somebody have the device for himself. */
static bool is_free(void) {
  int fd = open(node, O_RDONLY | O_EXCL | O_CLOEXEC);
  if (fd >= 0) close(fd);
  return fd >= 0;
}


/* ------------------------------------------------------------------
** Hidden ones
** ---------------------------------------------------------------- */

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
  NEED_DISKS();
  hide("ext4", 16);
  hide("btrfs", 128);
  hide("xfs", 320);
}

/* A btrfs has its device's number nowhere: another one's directory is not
   taken for its own. */
TEST(one_is_not_taken_for_another) {
  NEED_DISKS();
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
  NEED_DISKS();
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


/* ------------------------------------------------------------------
** With a place
** ---------------------------------------------------------------- */

#define NEED_EXT4() \
  NEED_DISKS();     \
  if (!new_disk("ext4", 16)) SKIP("needs mkfs.ext4: e2fsprogs")

/* A new, empty directory whose path has no links in it. */
static const char *new_place(const char *name) {
  static char here[300], all[64][400];
  static unsigned next;
  char *path = all[next++ % 64];
  if (here[0] == '\0' && realpath(volumes_scratch, here) == NULL) return "";
  snprintf(path, sizeof all[0], "%s/%s", here, name);
  mkdir(path, 0700);
  return path;
}

static answer mount_at(const char *path, const char *more) {
  return ask("mount", "{'object':%s,'path':'%s'%s}", object, path, more);
}

static answer unmount(const char *more) {
  return ask("unmount", "{'object':%s%s}", object, more);
}

static unsigned long flags_of(const char *path) {
  struct statvfs v = {0};
  CHECK_INT(statvfs(path, &v), 0);
  return v.f_flag;
}

TEST(mounted_and_unmounted) {
  NEED_EXT4();
  const char *at = new_place("with space");
  answer a = mount_at(at, "");
  CHECK_INT(a.code, 0);
  CHECK_TEXT(text_of(a.output, "path"), at);
  CHECK_TEXT(text_of(a.output, "type"), "mount");
  forget(&a);
  CHECK_INT(flags_of(at) & (ST_NOSUID | ST_NODEV | ST_RDONLY),
            ST_NOSUID | ST_NODEV);
  CHECK_INT(access(volumes_in("with space/lost+found"), F_OK), 0);
  a = ask("volume", "{'path':'%s'}", node);
  CHECK_TEXT(text_of(a.output, "mounted"), at);
  forget(&a);
  CHECK_ANSWER(unmount(""), 0);
  CHECK(!is_mounted());
  CHECK(is_free());
  CHECK_ANSWER(unmount(""), VDS_E_VOLUME_NOT_MOUNTED);
  CHECK_ANSWER(
      mount_at(at,
               ",'read_only':true,'options':'suid,noatime,errors=continue'"),
      0);
  CHECK_INT(flags_of(at) & (ST_NOSUID | ST_NODEV | ST_RDONLY | ST_NOATIME),
            ST_NODEV | ST_RDONLY | ST_NOATIME);
  CHECK_ANSWER(unmount(""), 0);
  answer b = mount_at(at, ",'options':'noatime,nosuchoption=1'");
  CHECK_INT(b.code, SAROS_E_INVALIDARG);
  CHECK(strstr(b.message, "nosuchoption") != NULL);
  forget(&b);
  CHECK(is_free());
  end_disk();
}

static void refused(const char *path, uint32_t code, const char *what) {
  answer a = mount_at(path, "");
  CHECK_INT(a.code, code);
  if (strstr(a.message, what) == NULL) {
    printf("not said: '%s' in '%s'\n", what, a.message);
    check_bad++;
  }
  forget(&a);
  CHECK(!is_mounted());
  CHECK(is_free());
}

TEST(hostile_places_are_refused) {
  NEED_EXT4();
  const uint32_t denied = VDS_E_OPERATION_DENIED;
  char path[500];
  const char *real = new_place("real"), *link = place("link");
  new_place("real/inner");
  CHECK_INT(symlink(real, link), 0);
  CHECK_INT(rmdir(volumes_in("real/inner")), 0);
  refused(new_place("link"), denied, "through a link");
  new_place("real/inner");
  snprintf(path, sizeof path, "%s/inner", new_place("link"));
  refused(path, denied, "through a link");
  refused(real, denied, "not empty");
  refused(new_place("real/none/x"), VDS_E_PATH_NOT_FOUND, "no directory");
  refused(new_place("real/../real/inner"), SAROS_E_INVALIDARG, "..");
  refused("here", SAROS_E_INVALIDARG, "absolute");
  refused("/", denied, "something is mounted");
  int fd = open(place("file"), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  close(fd);
  refused(new_place("file"), denied, "is no directory");
  refused(new_place("file/x"), denied, "is no directory");
  /* Over something that is mounted. */
  const char *inner = new_place("real/inner");
  CHECK_INT(mount("over", inner, "tmpfs", 0, NULL), 0);
  refused(inner, denied, "something is mounted");
  umount2(inner, 0);
  /* Where others may write: unless it is a place as /tmp, and ours. */
  CHECK_INT(chmod(real, 0777), 0);
  refused(inner, denied, "others may put");
  CHECK_INT(chmod(real, 01777), 0);
  CHECK_INT(chown(inner, 12345, 12345), 0);
  refused(inner, denied, "others may put");
  CHECK_INT(chown(inner, 0, 0), 0);
  CHECK_ANSWER(mount_at(inner, ""), 0);
  CHECK_ANSWER(unmount(""), 0);
  CHECK_INT(chmod(real, 0755), 0);
  CHECK_INT(chown(real, 12345, 12345), 0);
  refused(inner, denied, "others may put");
  end_disk();
}

/* What is there is not a file system, or not one that can be read. */
TEST(what_is_no_file_system_is_not_mounted) {
  NEED_EXT4();
  const char *at = new_place("at2");
  static const char zeros[4096];
  int fd = open(node, O_RDWR | O_CLOEXEC);
  CHECK_INT(pwrite(fd, zeros, sizeof zeros, 0), sizeof zeros);
  CHECK_INT(fsync(fd), 0);
  refused(at, VDS_E_FS_NOT_DETERMINED, "format it");
  const unsigned char luks[] = {'L', 'U', 'K', 'S', 0xBA, 0xBE, 0, 1};
  CHECK_INT(pwrite(fd, luks, sizeof luks, 0), sizeof luks);
  CHECK_INT(fsync(fd), 0);
  refused(at, VDS_E_INCOMPATIBLE_FILE_SYSTEM, "crypto_LUKS");
  CHECK_INT(pwrite(fd, zeros, sizeof zeros, 0), sizeof zeros);
  CHECK_INT(pwrite(fd, "SWAPSPACE2", 10, 4086), 10);
  CHECK_INT(pwrite(fd, "\1", 1, 1024), 1);
  CHECK_INT(pwrite(fd, "\xff\3", 2, 1028), 2);
  CHECK_INT(fsync(fd), 0);
  refused(at, VDS_E_INCOMPATIBLE_FILE_SYSTEM, "swap");
  close(fd);
  end_disk();
}

TEST(a_truncated_file_is_an_error_that_leaves_nothing) {
  NEED_EXT4();
  const char *at = new_place("at3");
  CHECK_INT(truncate(disk_path, 0), 0);
  int fd = open(node, O_RDWR | O_CLOEXEC);
  CHECK_INT(ioctl(fd, BLKFLSBUF, 0), 0);
  close(fd);
  refused(at, VDS_E_IO_ERROR, "");
  end_disk();
}

TEST(a_cancelled_mount_leaves_nothing) {
  NEED_EXT4();
  const char *at = new_place("at4");
  static const char *const steps[] = {"mount: opened", "mount: made"};
  for (size_t i = 0; i < 2; i++) {
    hold_at(steps[i]);
    saros_op *op = begin("mount", "{'object':%s,'path':'%s'}", object, at);
    await_held();
    CHECK_INT(saros_vds_cancel(op), 0);
    let_on();
    CHECK_ANSWER(end_of(op), VDS_E_OPERATION_CANCELED);
    CHECK(!is_mounted());
    CHECK(is_free());
  }
  hold_at("mount: done");
  saros_op *op = begin("mount", "{'object':%s,'path':'%s'}", object, at);
  await_held();
  CHECK_INT(saros_vds_cancel(op), VDS_E_CANCEL_TOO_LATE);
  CHECK_ANSWER(unmount(""), VDS_E_ANOTHER_CALL_IN_PROGRESS);
  let_on();
  CHECK_ANSWER(end_of(op), 0);
  CHECK(is_mounted());
  hold_at("unmount: looked");
  op = begin("unmount", "{'object':%s}", object);
  await_held();
  CHECK_INT(saros_vds_cancel(op), 0);
  let_on();
  CHECK_ANSWER(end_of(op), VDS_E_OPERATION_CANCELED);
  CHECK(is_mounted());
  hold_at("unmount: one ended");
  op = begin("unmount", "{'object':%s}", object);
  await_held();
  CHECK_INT(saros_vds_cancel(op), VDS_E_CANCEL_TOO_LATE);
  let_on();
  CHECK_ANSWER(end_of(op), 0);
  CHECK(!is_mounted());
  end_disk();
}

static bool die(const char *call, const char *at, int step) {
  pid_t child = fork();
  if (child == 0) {
    atomic_store(&vds_dies_at, step);
    answer a = ask(call, "{'object':%s,'path':'%s'}", object, at);
    _exit(a.code == 0 ? 0 : 1);
  }
  int status = 0;
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  CHECK(WIFSIGNALED(status) || WEXITSTATUS(status) == 0);
  return WIFSIGNALED(status);
}

/* It has its place, or is not there at all. */
TEST(death_at_every_step) {
  NEED_EXT4();
  const char *at = new_place("at5");
  int step = 1, nothing = 0;
  for (bool died = true; died; step++) {
    died = die("mount", at, step);
    if (!is_mounted()) {
      nothing++;
      CHECK(is_free());
      continue;
    }
    CHECK(access(volumes_in("at5/lost+found"), F_OK) == 0);
    CHECK_ANSWER(unmount(""), 0);
    CHECK(is_free());
  }
  CHECK_INT(nothing, 2);
  CHECK_INT(step, 5); /* the third step is behind it */
  for (bool died = true; died;) {
    if (!is_mounted()) CHECK_ANSWER(mount_at(at, ""), 0);
    died = die("unmount", at, 1);
    CHECK(is_mounted() == died);
    if (died) {
      CHECK(die("unmount", at, 2));
      CHECK(!is_mounted());
      CHECK_ANSWER(mount_at(at, ""), 0);
      CHECK(!die("unmount", at, 3));
      CHECK(!is_mounted());
      break;
    }
  }
  end_disk();
}

TEST(unmounted_where_it_was_said_or_everywhere) {
  NEED_EXT4();
  const char *one = new_place("one"), *two = new_place("two");
  char text[500];
  CHECK_ANSWER(mount_at(one, ""), 0);
  CHECK_ANSWER(mount_at(two, ""), 0);
  answer a = mount_at(new_place("three"), ",'read_only':true");
  CHECK_INT(a.code, VDS_E_DEVICE_IN_USE); /* one file system, one way */
  forget(&a);
  snprintf(text, sizeof text, ",'path':'%s'", one);
  CHECK_ANSWER(unmount(text), 0);
  CHECK(access(volumes_in("one/lost+found"), F_OK) != 0);
  CHECK_ANSWER(unmount(text), VDS_E_VOLUME_NOT_MOUNTED);
  CHECK(is_mounted());
  CHECK_ANSWER(mount_at(one, ""), 0);
  CHECK_ANSWER(unmount(""), 0);
  CHECK(!is_mounted());
  /* Somebody is in it. */
  CHECK_ANSWER(mount_at(one, ""), 0);
  int fd = open(one, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  CHECK_ANSWER(unmount(""), VDS_E_DEVICE_IN_USE);
  close(fd);
  /* Something else lies over it. */
  CHECK_INT(mount("over", one, "tmpfs", 0, NULL), 0);
  CHECK_ANSWER(unmount(""), VDS_E_DEVICE_IN_USE);
  CHECK_INT(umount2(one, 0), 0);
  a = unmount(",'plan':true");
  CHECK_INT(a.code, 0);
  CHECK(value_boolean(value_get(a.output, "allowed"), false));
  forget(&a);
  CHECK(is_mounted());
  CHECK_ANSWER(unmount(""), 0);
  end_disk();
}

/* A name is changed to lead to another mount of another device. */
TEST(another_mount_of_that_name_is_left_alone) {
  NEED_EXT4();
  const char *dir = new_place("dir"), *other = new_place("other2");
  const char *at = new_place("dir/at"), *theirs = new_place("other2/at");
  vds_world *w = NULL;
  CHECK_INT(mount("theirs", theirs, "tmpfs", 0, NULL), 0);
  CHECK_ANSWER(mount_at(at, ""), 0);
  CHECK(vds_world_read(&w) == NULL);
  char away[400];
  snprintf(away, sizeof away, "%s.away", dir);
  CHECK_INT(rename(dir, away), 0);
  CHECK_INT(symlink(other, dir), 0);
  error *e = vds_mount_end(w, at, who.dev);
  CHECK(e != NULL && e->code == VDS_E_DEVICE_IN_USE);
  error_unref(e);
  CHECK(is_mounted());
  vds_world_free(w);
  CHECK_ANSWER(unmount(""), 0); /* by the name that it has now */
  CHECK(!is_mounted());
  CHECK_INT(umount2(theirs, 0), 0); /* which is there as before */
  end_disk();
}

static void all(void) {
  RUN(death_at_every_step);
  RUN(mounted_and_unmounted);
  RUN(hostile_places_are_refused);
  RUN(what_is_no_file_system_is_not_mounted);
  RUN(a_truncated_file_is_an_error_that_leaves_nothing);
  RUN(a_cancelled_mount_leaves_nothing);
  RUN(unmounted_where_it_was_said_or_everywhere);
  RUN(another_mount_of_that_name_is_left_alone);
  RUN(a_hidden_mount_ends_with_its_directory);
  RUN(one_is_not_taken_for_another);
  RUN(what_cannot_be_mounted_is_told);
}

int main(int argc, char **argv) {
  return volumes_main(argc, argv, all);
}
