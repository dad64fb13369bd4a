/*
** Mounts with a place: where they may have it, and how they lose it.
*/
#include <sys/statvfs.h>
#include <sys/swap.h>

#include "vds_mount_case.h"

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
  pid_t child = fork_at_rest();
  if (child == 0) {
    atomic_store(&vds_dies_at, step);
    answer a = ask(call, "{'object':%s,'path':'%s'}", object, at);
    _exit(a.code == 0 ? 0 : 1);
  }
  return has_died(child);
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

TEST(any_file_system_has_its_place) {
  NEED_MOUNTS();
  static const struct {
    const char *fs;
    unsigned megabytes;
  } kinds[] = {{"xfs", 320}, {"btrfs", 128}};
  for (size_t i = 0; i < 2; i++) {
    if (!new_disk(kinds[i].fs, kinds[i].megabytes)) continue;
    const char *at = new_place(kinds[i].fs);
    CHECK_ANSWER(mount_at(at, ""), 0);
    answer a = ask("volume", "{'path':'%s'}", at);
    CHECK_TEXT(text_of(a.output, "path"), node);
    CHECK_TEXT(text_of(a.output, "mounted"), at);
    forget(&a);
    CHECK_ANSWER(unmount(""), 0);
    CHECK(is_free());
    end_disk();
  }
}

TEST(a_disk_that_is_read_only_is_mounted_so) {
  NEED_EXT4();
  const char *at = new_place("ro");
  end_disk();
  answer a = ask("attach", "{'path':'%s','read_only':true}", disk_path);
  identify(&a);
  refused(at, VDS_E_MEDIA_WRITE_PROTECTED, "with read_only = true");
  CHECK_ANSWER(mount_at(at, ",'read_only':true"), 0);
  CHECK_INT(flags_of(at) & ST_RDONLY, ST_RDONLY);
  CHECK_ANSWER(unmount(""), 0);
  end_disk();
}

/* Neither ends it, so neither says that it could be forced. */
TEST(swap_in_use_is_neither_mounted_nor_unmounted) {
  NEED_EXT4();
  const char *at = new_place("swap");
  int none =
      volumes_run("wipefs -qa '%s' && mkswap '%s' >/dev/null 2>&1", node, node);
  if (none != 0 || swapon(node, 0) != 0) {
    end_disk();
    SKIP("swap cannot be switched on here");
  }
  answer tries[] = {mount_at(at, ""), mount_at(at, ",'force':['swap']"),
                    unmount(""), unmount(",'force':['swap']")};
  for (int i = 0; i < 4; i++) {
    CHECK_INT(tries[i].code, VDS_E_OPERATION_DENIED);
    CHECK(said(&tries[i], "swap that is in use"));
    CHECK(strstr(tries[i].message, "force") == NULL);
    forget(&tries[i]);
  }
  CHECK_INT(swapoff(node), 0);
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
  RUN(any_file_system_has_its_place);
  RUN(a_disk_that_is_read_only_is_mounted_so);
  RUN(swap_in_use_is_neither_mounted_nor_unmounted);
  RUN(another_mount_of_that_name_is_left_alone);
}

int main(int argc, char **argv) {
  return volumes_main(argc, argv, all);
}
