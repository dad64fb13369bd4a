/*
** origin: where a path really lies. Every answer is compared with what is
** known because the test made it so.
**
** not under valgrind: its children are forked or killed; ASan runs it
*/
#include "vss/origin.h"

#include <linux/blkpg.h>
#include <linux/btrfs.h>

#include "test_base_sweep.h"
#include "volumes.h"
#include "vss/mounts.h"
#include "vss/vss.h"

static origin *find(const char *path) {
  error *e = NULL;
  origin *s = origin_find(path, &e);
  if (e != NULL) printf("%s: %s\n", path, e->message);
  CHECK((s == NULL) == (e != NULL));
  error_unref(e);
  return s;
}

/* It is not to be found, with this code, and the message says so. */
static void refused(const char *path, uint32_t code, const char *says) {
  error *e = NULL;
  origin *s = origin_find(path, &e);
  CHECK(s == NULL && e != NULL);
  if (e != NULL) {
    CHECK_INT(e->code, code);
    CHECK(strstr(e->message, says) != NULL);
    if (strstr(e->message, says) == NULL) puts(e->message);
    CHECK_TEXT(e->path, path);
  }
  error_unref(e);
  origin_free(s);
}

static void make_dir(const char *path) {
  if (mkdir(path, 0755) != 0) printf("mkdir %s: %s\n", path, strerror(errno));
}

static void put(const char *path, const char *text) {
  int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
  close(fd);
}

static dev_t device_of(const char *node) {
  struct stat st;
  return stat(node, &st) == 0 ? st.st_rdev : 0;
}

static bool mounted_at(dev_t dev, const char *point) {
  value *list = origin_mounts(dev);
  bool found = false;
  for (uint32_t i = 0; list != NULL && i < list->count; i++)
    if (strcmp(value_chars(list->as.items[i], ""), point) == 0) found = true;
  value_free(list);
  return found;
}


/* ------------------------------------------------------------------
** The table
** ---------------------------------------------------------------- */

TEST(table_is_decoded) {
  char text[] =
      "22 27 0:21 / /proc rw,relatime - proc proc rw\n"
      "36 35 98:0 /mnt1 /with\\040blank\\011\\012\\134x\\043 rw,noatime "
      "master:1 shared:7 - ext4 /dev/root rw,errors=continue\n"
      "nonsense\n"
      "37 35 259:12 / /odd\\9 ro - tmpfs  rw\n"
      "38 35 0:5 / /b rw - fuse.a\\040b src\\040x rw\n"
      "39 35 0:6 / /cut rw - ext4 /dev";
  mount_table *t = mount_table_parse(text, sizeof text - 1);
  CHECK(t != NULL);
  CHECK_INT(t->count, 4);
  CHECK(mount_table_find(t, 39) == NULL);
  CHECK_TEXT(t->items[1].point, "/with blank\t\n\\x#");
  CHECK_TEXT(t->items[1].root, "/mnt1");
  CHECK_TEXT(t->items[1].options, "rw,noatime,rw,errors=continue");
  CHECK_INT(t->items[1].dev, makedev(98, 0));
  CHECK_TEXT(t->items[1].source, "/dev/root");
  CHECK_TEXT(t->items[2].point, "/odd\\9");
  CHECK_TEXT(t->items[2].source, "");
  CHECK_INT(t->items[2].dev, makedev(259, 12));
  CHECK_TEXT(t->items[3].type, "fuse.a b");
  CHECK_TEXT(t->items[3].source, "src x");
  CHECK(mount_table_find(t, 36) == &t->items[1]);
  mount_table_free(t);
  char empty[] = "";
  t = mount_table_parse(empty, 0);
  CHECK(t != NULL && t->count == 0);
  mount_table_free(t);
}


/* ------------------------------------------------------------------
** Plain file systems
** ---------------------------------------------------------------- */

TEST(plain_file_system) {
  const volume *v = volumes_get(EXT4);
  char path[400], link[400];
  if (v == NULL) SKIP(volumes_missing);
  snprintf(path, sizeof path, "%s/a", v->path);
  make_dir(path);
  snprintf(path, sizeof path, "%s/a/b c", v->path);
  put(path, "x");
  snprintf(link, sizeof link, "%s/link", volumes_scratch);
  CHECK(symlink(path, link) == 0);
  const char *const ways[] = {
      path, link,
      volumes_in("./../%s/link", strrchr(volumes_scratch, '/') + 1)};
  for (int i = 0; i < 3; i++) {
    origin *s = find(ways[i]);
    if (s == NULL) continue;
    CHECK_TEXT(s->path, path);
    CHECK_TEXT(s->root, v->path);
    CHECK_TEXT(s->inside, "a/b c");
    CHECK_TEXT(s->below, "a/b c");
    CHECK_TEXT(s->type, "ext4");
    CHECK_TEXT(s->device, v->device);
    CHECK_TEXT(s->loop_file, v->image);
    CHECK(!s->readonly && s->subvolume == NULL && s->subvolume_id == 0);
    CHECK_INT(s->dev, device_of(v->device));
    CHECK_INT(s->disk, device_of(v->device));
    struct stat st;
    CHECK(stat(v->image, &st) == 0 && st.st_dev == s->loop_dev);
    CHECK_INT(origin_depth(s), 1);
    CHECK(mounted_at(s->dev, v->path));
    origin *copy = origin_copy(s);
    CHECK(copy != NULL);
    CHECK_TEXT(copy->below, "a/b c");
    CHECK_TEXT(copy->loop_file, v->image);
    origin_free(copy);
    origin_free(s);
  }
  unlink(link);
  origin *root = find(v->path);
  CHECK_TEXT(root->inside, "");
  CHECK_TEXT(root->below, "");
  origin_free(root);
}

TEST(relative_paths) {
  const volume *v = volumes_get(EXT4);
  if (v == NULL) SKIP(volumes_missing);
  int here = open(".", O_RDONLY | O_CLOEXEC);
  CHECK(chdir(v->path) == 0);
  origin *s = find(".");
  CHECK(fchdir(here) == 0);
  close(here);
  CHECK_TEXT(s->path, v->path);
  CHECK_TEXT(s->inside, "");
  origin_free(s);
  s = find("/");
  CHECK_TEXT(s->path, "/");
  CHECK_TEXT(s->root, "/");
  CHECK_TEXT(s->inside, "");
  origin_free(s);
  s = find("/proc/self/fd");
  CHECK_TEXT(s->type, "proc");
  CHECK_INT(s->disk, 0);
  CHECK_INT(origin_depth(s), 0);
  origin_free(s);
}

TEST(read_only) {
  const volume *v = volumes_get(EXT4);
  if (v == NULL) SKIP(volumes_missing);
  const char *at = volumes_in("read-only");
  make_dir(at);
  CHECK(mount(v->path, at, NULL, MS_BIND, NULL) == 0);
  CHECK(mount(NULL, at, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL) == 0);
  origin *s = find(at);
  CHECK(s->readonly);
  CHECK(strncmp(s->options, "ro,", 3) == 0);
  origin_free(s);
  s = find(v->path);
  CHECK(!s->readonly);
  CHECK(mounted_at(s->dev, at) && mounted_at(s->dev, v->path));
  origin_free(s);
  umount2(at, MNT_DETACH);
  rmdir(at);
}

static const char odd[] = "odd \t\n\\040 #name\xff";

TEST(odd_names) {
  const volume *v = volumes_get(EXT4);
  char at[400], path[500];
  if (v == NULL) SKIP(volumes_missing);
  snprintf(at, sizeof at, "%s/%s", volumes_scratch, odd);
  make_dir(at);
  CHECK(mount(v->path, at, NULL, MS_BIND, NULL) == 0);
  snprintf(path, sizeof path, "%s/%s", at, odd);
  make_dir(path);
  origin *s = find(path);
  CHECK_TEXT(s->path, path);
  CHECK_TEXT(s->root, at);
  CHECK_TEXT(s->inside, odd);
  CHECK(mounted_at(s->dev, at));
  origin_free(s);
  rmdir(path);
  umount2(at, MNT_DETACH);
  rmdir(at);
}

/* The name of an image file, as /sys has it, may hold a newline too. */
TEST(odd_image) {
  volume v;
  char dir[300];
  snprintf(dir, sizeof dir, "%s/image\ndir ", volumes_scratch);
  make_dir(dir);
  bool made = volume_make(&v, "ext4", 16, dir, NULL);
  if (made) {
    origin *s = find(v.path);
    CHECK_TEXT(s->loop_file, v.image);
    origin_free(s);
    unlink(v.image);
    s = find(v.path); /* the file has no name any more, but lies somewhere */
    CHECK(s->loop_file != NULL && strstr(s->loop_file, " (deleted)") != NULL);
    struct stat st;
    CHECK(stat(dir, &st) == 0 && st.st_dev == s->loop_dev);
    CHECK_INT(origin_depth(s), 1);
    origin_free(s);
  }
  volume_drop(&v);
  rmdir(dir);
  if (!made) SKIP(volumes_missing);
}


/* ------------------------------------------------------------------
** What hides
** ---------------------------------------------------------------- */

TEST(bind_mounts) {
  const volume *v = volumes_get(EXT4);
  char sub[400], at[400], path[500];
  if (v == NULL) SKIP(volumes_missing);
  snprintf(sub, sizeof sub, "%s/sub", v->path);
  make_dir(sub);
  snprintf(path, sizeof path, "%s/in", sub);
  make_dir(path);
  snprintf(at, sizeof at, "%s", volumes_in("bound"));
  make_dir(at);
  CHECK(mount(sub, at, NULL, MS_BIND, NULL) == 0);
  snprintf(path, sizeof path, "%s/in", at);
  origin *s = find(path);
  CHECK_TEXT(s->root, at);
  CHECK_TEXT(s->inside, "in");
  CHECK_TEXT(s->below, "sub/in");
  CHECK_INT(s->dev, device_of(v->device));
  origin_free(s);
  s = find(at);
  CHECK_TEXT(s->inside, "");
  CHECK_TEXT(s->below, "sub");
  origin_free(s);
  umount2(at, MNT_DETACH);
  snprintf(path, sizeof path, "%s/file", v->path); /* a file can be bound */
  put(path, "x");
  rmdir(at);
  put(at, "");
  CHECK(mount(path, at, NULL, MS_BIND, NULL) == 0);
  s = find(at);
  CHECK_TEXT(s->root, at);
  CHECK_TEXT(s->inside, "");
  CHECK_TEXT(s->below, "file");
  origin_free(s);
  umount2(at, MNT_DETACH);
  unlink(at);
}

TEST(mounted_over) {
  const volume *v = volumes_get(EXT4), *other = volumes_get(XFS);
  char at[400];
  if (v == NULL || other == NULL) SKIP(volumes_missing);
  snprintf(at, sizeof at, "%s", volumes_in("over"));
  make_dir(at);
  CHECK(mount(v->path, at, NULL, MS_BIND, NULL) == 0);
  int here = open(".", O_RDONLY | O_CLOEXEC);
  CHECK(chdir(at) == 0);
  CHECK(mount(other->path, at, NULL, MS_BIND, NULL) == 0);
  origin *s = find(at);
  CHECK_TEXT(s->type, "xfs");
  CHECK_INT(s->dev, device_of(other->device));
  origin_free(s);
  refused(".", VSS_E_OBJECT_NOT_FOUND, "mounted over it");
  umount2(at, 0);
  s = find(".");
  CHECK_TEXT(s->type, "ext4");
  origin_free(s);
  CHECK(umount2(at, MNT_DETACH) == 0); /* unmounted below our feet */
  refused(".", VSS_E_OBJECT_NOT_FOUND, "has no name here");
  CHECK(fchdir(here) == 0);
  close(here);
  rmdir(at);
}

TEST(deleted) {
  const volume *v = volumes_get(EXT4);
  char dir[400], at[400], proc[64];
  if (v == NULL) SKIP(volumes_missing);
  snprintf(dir, sizeof dir, "%s/gone", v->path);
  make_dir(dir);
  int fd = open(dir, O_RDONLY | O_CLOEXEC);
  snprintf(proc, sizeof proc, "/proc/self/fd/%d", fd);
  origin *s = find(proc);
  CHECK_TEXT(s->path, dir);
  origin_free(s);
  CHECK(rmdir(dir) == 0);
  refused(proc, VSS_E_OBJECT_NOT_FOUND, "deleted");
  make_dir(dir); /* another one of that name is another one */
  refused(proc, VSS_E_OBJECT_NOT_FOUND, "deleted");
  close(fd);
  /* One that is really called so is not deleted. */
  snprintf(at, sizeof at, "%s/x (deleted)", v->path);
  make_dir(at);
  s = find(at);
  CHECK_TEXT(s->inside, "x (deleted)");
  origin_free(s);
  rmdir(at);
  snprintf(at, sizeof at, "%s", volumes_in("bound"));
  make_dir(at);
  CHECK(mount(dir, at, NULL, MS_BIND, NULL) == 0);
  CHECK(rmdir(dir) == 0 || errno == EBUSY);
  if (access(dir, F_OK) != 0) refused(at, VSS_E_OBJECT_NOT_FOUND, "deleted");
  umount2(at, MNT_DETACH);
  rmdir(at);
  rmdir(dir);
}

TEST(not_there) {
  refused("/does/not/exist", VSS_E_OBJECT_NOT_FOUND, "No such file");
  refused("", VSS_E_OBJECT_NOT_FOUND, "No such file");
  refused("/dev/null/x", VSS_E_OBJECT_NOT_FOUND, "Not a directory");
  CHECK(symlink("loop", volumes_in("loop")) == 0);
  refused(volumes_in("loop"), VSS_E_OBJECT_NOT_FOUND, "symbolic links");
}

TEST(not_to_be_seen) {
  if (getuid() != 0) SKIP("needs root, to become somebody else");
  const char *dir = volumes_in("secret"), *path = volumes_in("secret/x");
  make_dir(dir);
  make_dir(path);
  chmod(volumes_scratch, 0755);
  chmod(dir, 0700);
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    check_bad = 0;
    if (setgid(65534) != 0 || setuid(65534) != 0) _exit(2);
    refused(path, SAROS_E_ACCESSDENIED, "may not be looked at");
    fflush(stdout);
    _exit(check_bad > 0);
  }
  int status = 1;
  CHECK(waitpid(pid, &status, 0) == pid && status == 0);
  rmdir(path);
  rmdir(dir);
}


/* ------------------------------------------------------------------
** Loop devices and their parts
** ---------------------------------------------------------------- */

TEST(stacked) {
  static const volumes_kind kinds[] = {EXT4_ON_XFS, EXT4_ON_BTRFS};
  static const volumes_kind below[] = {XFS, BTRFS};
  for (int i = 0; i < 2; i++) {
    const volume *v = volumes_get(kinds[i]);
    if (v == NULL) SKIP(volumes_missing);
    struct stat st;
    origin *s = find(v->path);
    CHECK_TEXT(s->loop_file, v->image);
    CHECK(stat(v->image, &st) == 0 && st.st_dev == s->loop_dev);
    CHECK_INT(origin_depth(s), 2);
    origin *file = find(s->loop_file);
    CHECK_TEXT(file->type, volumes_get(below[i])->type);
    CHECK_INT(origin_depth(file), 1);
    origin_free(file);
    origin_free(s);
  }
}

TEST(partition_of_a_loop) {
  if (getuid() != 0) SKIP("needs root, for mounting");
  char device[32], part[48];
  const char *image = volumes_in("disk.img"), *at = volumes_in("part");
  put(image, "");
  CHECK(truncate(image, 64 << 20) == 0);
  int loop = volumes_attach(image, LO_FLAGS_PARTSCAN, 0, device);
  if (loop < 0) SKIP("there is no loop device to be had");
  struct blkpg_partition p = {.start = 1 << 20, .length = 32 << 20, .pno = 1};
  struct blkpg_ioctl_arg arg = {
      .op = BLKPG_ADD_PARTITION, .datalen = sizeof p, .data = &p};
  bool made = ioctl(loop, BLKPG, &arg) == 0;
  snprintf(part, sizeof part, "%sp1", device);
  for (int i = 0; made && access(part, F_OK) != 0 && i < 1000; i++)
    usleep(1000);
  made = made && volumes_run("mkfs.ext4 -q -F %s", part) == 0;
  make_dir(at);
  if (made && mount(part, at, "ext4", 0, NULL) == 0) {
    origin *s = find(at);
    CHECK_TEXT(s->loop_file, image);
    CHECK_INT(s->disk, device_of(part));
    CHECK(s->disk != device_of(device));
    CHECK_INT(origin_depth(s), 1);
    origin_free(s);
    umount2(at, 0);
  } else {
    made = false;
  }
  arg.op = BLKPG_DEL_PARTITION;
  ioctl(loop, BLKPG, &arg);
  close(loop);
  rmdir(at);
  unlink(image);
  if (!made) SKIP("this kernel gives loop devices no partitions");
}


/* ------------------------------------------------------------------
** btrfs
** ---------------------------------------------------------------- */

static void make_subvolume(const char *path) {
  CHECK_INT(volumes_run("btrfs -q subvolume create '%s' >/dev/null", path), 0);
}

TEST(subvolumes) {
  const volume *v = volumes_get(BTRFS);
  char path[500], sub[400], nested[400], at[400], data[100];
  if (v == NULL) SKIP(volumes_missing);
  if (!volumes_have("btrfs")) SKIP("needs the program btrfs");
  snprintf(sub, sizeof sub, "%s/@sub", v->path);
  make_subvolume(sub);
  snprintf(nested, sizeof nested, "%s/@sub/nested", v->path);
  make_subvolume(nested);
  snprintf(path, sizeof path, "%s/d", nested);
  make_dir(path);
  origin *s = find(v->path), *t = find(sub), *u = find(path);
  CHECK_TEXT(s->subvolume, v->path);
  CHECK_INT(s->subvolume_id, 5);
  CHECK_INT(s->disk, device_of(v->device));
  CHECK_TEXT(s->loop_file, v->image);
  CHECK_INT(origin_depth(s), 1);
  CHECK_TEXT(t->subvolume, sub);
  CHECK(t->subvolume_id >= 256);
  CHECK_TEXT(t->inside, "@sub");
  CHECK_TEXT(u->subvolume, nested);
  CHECK(u->subvolume_id > t->subvolume_id);
  CHECK_TEXT(u->inside, "@sub/nested/d");
  CHECK_TEXT(u->within, "d");
  CHECK_TEXT(t->within, "");
  CHECK_INT(u->disk, s->disk);
  CHECK(s->dev != t->dev && t->dev != u->dev);
  CHECK(mounted_at(u->disk, v->path) && mounted_at(s->dev, v->path));
  uint64_t nested_id = u->subvolume_id, sub_id = t->subvolume_id;
  origin_free(s);
  origin_free(t);
  origin_free(u);

  /* Mounted as a subvolume, and a directory of it bound elsewhere: its root
     is found where it shows. */
  snprintf(at, sizeof at, "%s", volumes_in("subvolume"));
  make_dir(at);
  CHECK(mount(v->device, at, "btrfs", 0, "subvol=@sub") == 0);
  s = find(at);
  CHECK_TEXT(s->subvolume, at);
  CHECK_INT(s->subvolume_id, sub_id);
  CHECK_TEXT(s->inside, "");
  CHECK_TEXT(s->below, "@sub");
  origin_free(s);
  umount2(at, 0);
  CHECK(mount(path, at, NULL, MS_BIND, NULL) == 0);
  s = find(at);
  CHECK_TEXT(s->subvolume, nested);
  CHECK_INT(s->subvolume_id, nested_id);
  CHECK_TEXT(s->below, "@sub/nested/d");
  CHECK_TEXT(s->within, "d");
  origin_free(s);
  umount2(at, 0);
  snprintf(data, sizeof data, "subvolid=%llu", (unsigned long long)nested_id);
  CHECK(mount(v->device, at, "btrfs", 0, data) == 0);
  s = find(volumes_in("subvolume/d"));
  CHECK_TEXT(s->subvolume, at);
  CHECK_TEXT(s->below, "@sub/nested/d");
  origin_free(s);
  umount2(at, 0);
  rmdir(at);
  volumes_run("btrfs -q subvolume delete '%s' '%s' >/dev/null", nested, sub);
}

TEST(subvolume_that_shows_nowhere) {
  volume v;
  char path[400], at[400];
  if (!volumes_have("btrfs")) SKIP("needs the program btrfs");
  if (!volume_make(&v, "btrfs", 128, NULL, NULL)) {
    volume_drop(&v);
    SKIP(volumes_missing);
  }
  snprintf(path, sizeof path, "%s/d", v.path);
  make_dir(path);
  snprintf(at, sizeof at, "%s", volumes_in("only"));
  make_dir(at);
  CHECK(mount(path, at, NULL, MS_BIND, NULL) == 0);
  CHECK(umount2(v.path, 0) == 0);
  origin *s = find(at);
  CHECK(s->subvolume == NULL);
  CHECK_INT(s->subvolume_id, 0);
  CHECK_INT(s->disk, device_of(v.device));
  origin_free(s);
  umount2(at, MNT_DETACH);
  rmdir(at);
  volume_drop(&v);
}


/* ------------------------------------------------------------------
** Memory
** ---------------------------------------------------------------- */

static char swept[400];

static bool find_once(void) {
  error *e = NULL;
  origin *s = origin_find(swept, &e);
  bool found = s != NULL;
  if (!found) CHECK_INT(e->code, SAROS_E_OUTOFMEMORY);
  origin *copy = found ? origin_copy(s) : NULL;
  value *mounts = copy != NULL ? origin_mounts(s->dev) : NULL;
  found = mounts != NULL && mounts->count > 0;
  value_free(mounts);
  origin_free(copy);
  origin_free(s);
  error_unref(e);
  return found;
}

TEST(memory_runs_out) {
  const volume *v = volumes_get(EXT4_ON_BTRFS);
  if (v == NULL) SKIP(volumes_missing);
  snprintf(swept, sizeof swept, "%s", v->path);
  SWEEP(find_once, 150);
  snprintf(swept, sizeof swept, "%s", volumes_get(BTRFS)->path);
  SWEEP(find_once, 150);
}

static void all(void) {
  RUN(table_is_decoded);
  RUN(plain_file_system);
  RUN(relative_paths);
  RUN(read_only);
  RUN(odd_names);
  RUN(odd_image);
  RUN(bind_mounts);
  RUN(mounted_over);
  RUN(deleted);
  RUN(not_there);
  RUN(not_to_be_seen);
  RUN(stacked);
  RUN(partition_of_a_loop);
  RUN(subvolumes);
  RUN(subvolume_that_shows_nowhere);
  RUN(memory_runs_out);
}

int main(int argc, char **argv) {
  return volumes_main(argc, argv, all);
}
