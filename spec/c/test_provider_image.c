/*
** provider image: ext4 and XFS in images on XFS and btrfs, frozen by the test
** as the coordinator would.
**
** not under valgrind: its children are forked or killed; ASan runs it
*/
#include <linux/blkpg.h>
#include <sys/statvfs.h>

#include "shadow_case.h"
#include "test_base_sweep.h"
#include "vss/disks.h"
#include "vss/provider/image_parts.h"

#define P(...) (snprintf(path, sizeof path, __VA_ARGS__), path)

static const volumes_kind kinds[] = {EXT4_ON_XFS, EXT4_ON_BTRFS};
#define KINDS 2

static const volume *disk;
static char outer[300]; /* what the image lies on */
static int loops_before;

/* The file system that the tests below work on, with a file. */
static bool begin_on(int i) {
  char path[900];
  disk = volumes_get(kinds[i]);
  if (disk == NULL) return false;
  snprintf(outer, sizeof outer, "%s",
           volumes_get(kinds[i] == EXT4_ON_XFS ? XFS : BTRFS)->path);
  loops_before = volumes_loops(false);
  case_put(P("%s/file", disk->path), "as it was");
  mkdir(P("%s/dir", disk->path), 0755);
  case_put(P("%s/dir/inner", disk->path), "as it was inside");
  return true;
}

static bool begin(void) {
  return begin_on(0);
}

/* Nothing is left of any shadow. */
static void nothing_left(void) {
  char path[900], line[5000];
  CHECK_INT(volumes_loops(false), loops_before);
  CHECK_INT(case_entries(P("%s/.saros-shadows", outer)), -1);
  FILE *f = fopen("/proc/self/mounts", "re");
  while (f != NULL && fgets(line, sizeof line, f) != NULL)
    CHECK(strstr(line, ".saros-shadows") == NULL);
  if (f != NULL) fclose(f);
}

static const char *image_of(const shadow *s) {
  static char path[900];
  return P("%s/" IMAGE_CLONE, s->place);
}

static dev_t device_of(const char *node) {
  struct stat st;
  return stat(node, &st) == 0 ? st.st_rdev : 0;
}


/* ------------------------------------------------------------------
** Taking one
** ---------------------------------------------------------------- */

static void check_one(void) {
  char path[900];
  struct statvfs fs;
  struct stat st;
  int late = open(P("%s/late", disk->path), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  CHECK_INT(write(late, "not synced", 10), 10);
  shadow *s = case_shadow(&provider_image, disk->path);
  if (s == NULL) return;
  CHECK_INT(write(late, " and more", 9), 9);
  case_put(P("%s/file", disk->path), "changed");
  unlink(P("%s/dir/inner", disk->path));
  CHECK_TEXT(case_get(P("%s/file", s->path)), "as it was");
  CHECK_TEXT(case_get(P("%s/dir/inner", s->path)), "as it was inside");
  CHECK_TEXT(case_get(P("%s/late", s->path)), "not synced");
  CHECK_INT(open(P("%s/file", s->path), O_RDWR | O_CLOEXEC), -1);
  CHECK_INT(errno, EROFS);
  CHECK_INT(mkdir(P("%s/new", s->path), 0755), -1);
  CHECK_INT(errno, EROFS);
  int device = open(s->device, O_RDWR | O_CLOEXEC);
  CHECK(device < 0 || write(device, "x", 1) < 0);
  if (device >= 0) close(device);
  CHECK(statvfs(s->path, &fs) == 0);
  CHECK((fs.f_flag & ST_RDONLY) != 0 && (fs.f_flag & ST_NOSUID) != 0 &&
        (fs.f_flag & ST_NODEV) != 0);
  CHECK(stat(s->path, &st) == 0 && st.st_dev == device_of(s->device));
  CHECK(stat(s->place, &st) == 0 && (st.st_mode & 07777) == 0700);
  CHECK_INT(volumes_run("e2fsck -fn '%s' >/dev/null 2>&1", s->device), 0);
  DONE(case_verify(&provider_image));
  close(late);
  case_drop(s);
  DONE(case_destroy(&provider_image)); /* again */
  CHECK(case_says(case_verify(&provider_image), VSS_E_OBJECT_NOT_FOUND,
                  "deleted behind our back"));
  nothing_left();
}

TEST(whole_volume) {
  for (int i = 0; i < KINDS; i++) {
    if (!begin_on(i)) SKIP(volumes_missing);
    check_one();
  }
}

TEST(counterpart_of_what_was_given) {
  char path[900], at[300], link[300];
  if (!begin()) SKIP(volumes_missing);
  snprintf(at, sizeof at, "%s", volumes_in("bound"));
  mkdir(at, 0755);
  CHECK(mount(P("%s/dir", disk->path), at, NULL, MS_BIND, NULL) == 0);
  snprintf(link, sizeof link, "%s", volumes_in("link"));
  CHECK(symlink(P("%s/inner", at), link) == 0);
  shadow *s = case_shadow(&provider_image, link);
  case_put(P("%s/dir/inner", disk->path), "changed");
  CHECK_TEXT(case_get(s->path), "as it was inside");
  case_drop(s);
  unlink(link);
  umount2(at, 0);
  rmdir(at);
  nothing_left();
}

TEST(two_at_once) {
  char path[900], first[700];
  if (!begin()) SKIP(volumes_missing);
  shadow *a = case_shadow(&provider_image, disk->path);
  value *keep = case_keep(case_file);
  case_put(P("%s/file", disk->path), "later");
  shadow *b = case_shadow(&provider_image, disk->path);
  snprintf(first, sizeof first, "%s/file", a->path);
  CHECK_TEXT(case_get(first), "as it was");
  CHECK_TEXT(case_get(P("%s/file", b->path)), "later");
  DONE(provider_image.destroy(keep, NULL));
  CHECK_TEXT(case_get(P("%s/file", b->path)), "later");
  DONE(case_verify(&provider_image));
  value_free(keep);
  shadow_free(a);
  case_drop(b);
  nothing_left();
}

/* A clone of a clone is nothing special. */
TEST(xfs_in_an_image) {
  char path[900];
  volume v;
  if (!begin()) SKIP(volumes_missing);
  if (!volume_make(&v, "xfs", 320, outer, NULL)) {
    volume_drop(&v);
    SKIP(volumes_missing);
  }
  loops_before = volumes_loops(false);
  case_put(P("%s/file", v.path), "as it was");
  int gone = open(P("%s/gone", v.path), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  CHECK_INT(write(gone, "x", 1), 1);
  unlink(path); /* leaves something for the log to do */
  shadow *s = case_shadow(&provider_image, v.path);
  case_put(P("%s/file", v.path), "changed");
  CHECK_TEXT(case_get(P("%s/file", s->path)), "as it was");
  CHECK(case_get(P("%s/gone", s->path)) == NULL);
  DONE(case_verify(&provider_image));
  case_drop(s);
  close(gone);
  nothing_left();
  volume_drop(&v);
}

TEST(partition_of_an_image) {
  char path[900], device[32], part[48], image[400], at[300];
  if (!begin()) SKIP(volumes_missing);
  snprintf(image, sizeof image, "%s/disk.img", outer);
  snprintf(at, sizeof at, "%s", volumes_in("part"));
  case_put(image, "");
  CHECK(truncate(image, 64 << 20) == 0);
  int loop = volumes_attach(image, LO_FLAGS_PARTSCAN, 0, device);
  struct blkpg_partition p = {.start = 5 << 20, .length = 32 << 20, .pno = 1};
  struct blkpg_ioctl_arg arg = {
      .op = BLKPG_ADD_PARTITION, .datalen = sizeof p, .data = &p};
  bool made = loop >= 0 && ioctl(loop, BLKPG, &arg) == 0;
  snprintf(part, sizeof part, "%sp1", device);
  for (int i = 0; made && access(part, F_OK) != 0 && i < 1000; i++)
    usleep(1000);
  made = made && volumes_run("mkfs.ext4 -q -F %s", part) == 0;
  mkdir(at, 0755);
  if (made && mount(part, at, "ext4", 0, NULL) == 0) {
    loops_before = volumes_loops(false);
    case_put(P("%s/file", at), "as it was");
    shadow *s = case_shadow(&provider_image, at);
    case_put(P("%s/file", at), "changed");
    CHECK_TEXT(case_get(P("%s/file", s->path)), "as it was");
    case_drop(s);
    nothing_left();
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

/* An image at an offset of its file, with sectors of 4096 bytes. */
TEST(offset_and_big_sectors) {
  char path[900], device[32], image[400], at[300];
  if (!begin()) SKIP(volumes_missing);
  snprintf(image, sizeof image, "%s/offset.img", outer);
  snprintf(at, sizeof at, "%s", volumes_in("offset"));
  case_put(image, "");
  CHECK(truncate(image, 64 << 20) == 0);
  int loop = volumes_attach(image, 0, 3 << 20, device);
  CHECK(loop >= 0 && ioctl(loop, LOOP_SET_BLOCK_SIZE, 4096) == 0);
  CHECK_INT(volumes_run("mkfs.ext4 -q -F %s", device), 0);
  mkdir(at, 0755);
  CHECK(mount(device, at, "ext4", 0, NULL) == 0);
  close(loop);
  loops_before = volumes_loops(false);
  case_put(P("%s/file", at), "as it was");
  shadow *s = case_shadow(&provider_image, at);
  case_put(P("%s/file", at), "changed");
  CHECK_TEXT(case_get(P("%s/file", s->path)), "as it was");
  int sector = 0, fd = open(s->device, O_RDONLY | O_CLOEXEC);
  CHECK(ioctl(fd, BLKSSZGET, &sector) == 0 && sector == 4096);
  close(fd);
  case_drop(s);
  nothing_left();
  umount2(at, 0);
  rmdir(at);
  unlink(image);
}

/* Of btrfs a file without checksums: the clone must be one too. */
TEST(image_without_checksums) {
  char path[900], directory[400];
  volume v;
  if (!begin_on(1)) SKIP(volumes_missing);
  snprintf(directory, sizeof directory, "%s/nocow", outer);
  mkdir(directory, 0755);
  CHECK_INT(volumes_run("chattr +C '%s'", directory), 0);
  CHECK(volume_make(&v, "ext4", 64, directory, NULL));
  loops_before = volumes_loops(false);
  case_put(P("%s/file", v.path), "as it was");
  shadow *s = case_shadow(&provider_image, v.path);
  case_put(P("%s/file", v.path), "changed");
  CHECK_TEXT(case_get(P("%s/file", s->path)), "as it was");
  case_drop(s);
  CHECK_INT(case_entries(P("%s/.saros-shadows", directory)), -1);
  nothing_left();
  volume_drop(&v);
  rmdir(directory);
}

TEST(odd_names) {
  char path[900], directory[400];
  volume v;
  if (!begin()) SKIP(volumes_missing);
  snprintf(directory, sizeof directory, "%s/odd \t\n\\040 #\xff", outer);
  mkdir(directory, 0755);
  CHECK(volume_make(&v, "ext4", 64, directory, NULL));
  loops_before = volumes_loops(false);
  case_put(P("%s/file", v.path), "as it was");
  shadow *s = case_shadow(&provider_image, v.path);
  CHECK(strncmp(s->path, directory, strlen(directory)) == 0);
  CHECK_TEXT(case_get(P("%s/file", s->path)), "as it was");
  DONE(case_verify(&provider_image));
  case_drop(s);
  nothing_left();
  CHECK_INT(case_entries(directory), 1);
  volume_drop(&v);
  rmdir(directory);
}

TEST(in_pieces) {
  if (!begin()) SKIP(volumes_missing);
#ifdef SAROS_TEST
  shadow *s = case_shadow(&provider_image, disk->path);
  CHECK_INT(s->warnings->count, 0);
  case_drop(s);
  image_pieces_most = 1;
  s = case_shadow(&provider_image, disk->path);
  CHECK_INT(case_warned(s, "pieces"), 1);
  image_pieces_most = 10000;
  case_drop(s);
  nothing_left();
#else
  SKIP("needs -DSAROS_TEST");
#endif
}


/* ------------------------------------------------------------------
** Under a writer
** ---------------------------------------------------------------- */

static atomic_int writing; /* lines that are written, and one */
static atomic_bool stop;

static void *append(void *context) {
  int fd =
      open(context, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
  char line[64], name[900];
  for (unsigned i = 0; !stop; i++) {
    snprintf(line, sizeof line, "%08u\n", i);
    if (write(fd, line, 9) != 9) break;
    snprintf(name, sizeof name, "%s.%u", (const char *)context, i % 50);
    if (i % 100 < 50)
      case_put(name, line);
    else
      unlink(name);
    writing = (int)i + 2;
  }
  close(fd);
  return NULL;
}

static void check_log(const char *name) {
  FILE *f = fopen(name, "re");
  char line[64];
  unsigned n = 0, bad = 0;
  while (f != NULL && fgets(line, sizeof line, f) != NULL)
    if (strlen(line) != 9 || strtoul(line, NULL, 10) != n++) bad++;
  if (f != NULL) fclose(f);
  CHECK(f != NULL && n > 0);
  CHECK_INT(bad, 0);
}

/* What is in the shadow is what was there while it was frozen: the writer
   stands still then, and goes on after. */
TEST(under_a_writer) {
  char path[900], file[400];
  pthread_t thread;
  for (int i = 0; i < KINDS; i++) {
    if (!begin_on(i)) SKIP(volumes_missing);
    snprintf(file, sizeof file, "%s/log", disk->path);
    writing = 1;
    stop = false;
    CHECK(pthread_create(&thread, NULL, append, file) == 0);
    while (writing < 100) sched_yield();
    for (int round = 0; round < 3; round++) {
      error *e = NULL;
      struct stat frozen, shadowed;
      shadow *s = case_plan(&provider_image, disk->path, &e);
      DONE(e);
      DONE(provider_image.prepare(s, NULL));
      CHECK_INT(case_freeze(s, true), 0);
      CHECK(stat(file, &frozen) == 0);
      DONE(provider_image.commit(s));
      CHECK_INT(case_freeze(s, false), 0);
      int then = writing;
      for (int left = 30000; writing <= then + 1 && left > 0; left--)
        usleep(1000);
      CHECK(writing > then + 1);
      DONE(provider_image.finish(s, NULL));
      DONE(shadow_note(s));
      CHECK(stat(P("%s/log", s->path), &shadowed) == 0);
      CHECK_INT(shadowed.st_size, frozen.st_size);
      CHECK(shadowed.st_mtim.tv_sec == frozen.st_mtim.tv_sec &&
            shadowed.st_mtim.tv_nsec == frozen.st_mtim.tv_nsec);
      check_log(path);
      CHECK_INT(volumes_run("e2fsck -fn '%s' >/dev/null 2>&1", s->device), 0);
      DONE(case_verify(&provider_image));
      case_drop(s);
    }
    stop = true;
    pthread_join(thread, NULL);
    volumes_run("rm -f '%s' '%s'.*", file, file);
    nothing_left();
  }
}

/* Without the freeze the clone has a journal to replay, on a device that
   cannot be written: the mount fails, and nothing false is handed out. */
TEST(not_frozen) {
  char path[900];
  error *e = NULL;
  if (!begin()) SKIP(volumes_missing);
  shadow *s = case_plan(&provider_image, disk->path, &e);
  DONE(e);
  DONE(provider_image.prepare(s, NULL));
  case_put(P("%s/file", disk->path), "in the journal");
  volumes_run("sync '%s/file'", disk->path);
  DONE(provider_image.commit(s));
  e = provider_image.finish(s, NULL);
  CHECK(e != NULL && strstr(e->message, "cannot be mounted") != NULL);
  error_unref(e);
  case_drop(s);
  nothing_left();
}


/* ------------------------------------------------------------------
** What is refused
** ---------------------------------------------------------------- */

static error *probe(const char *path) {
  error *e = NULL;
  origin *from = origin_find(path, &e);
  if (from != NULL) e = provider_image.probe(from);
  origin_free(from);
  return e;
}

static void no_privilege(void) {
  CHECK(case_says(probe(disk->path), SAROS_E_ACCESSDENIED, "CAP_SYS_ADMIN"));
}

#define UNSUPPORTED VSS_E_VOLUME_NOT_SUPPORTED_BY_PROVIDER

TEST(refused_here) {
  volume v;
  const volume *plain = volumes_get(EXT4);
  if (!begin()) SKIP(volumes_missing);
  CHECK(case_says(probe("/proc"), UNSUPPORTED, "does not lie in an image"));
  CHECK(case_says(probe(plain->path), UNSUPPORTED, "cannot clone files"));
  CHECK(case_says(probe(volumes_get(BTRFS)->path), UNSUPPORTED,
                  "the btrfs provider takes it"));
  if (volumes_have("mkfs.vfat") && volume_make(&v, "vfat", 16, outer, NULL)) {
    CHECK(case_says(probe(v.path), UNSUPPORTED, "cannot be frozen"));
    volume_drop(&v);
  }
  chmod(volumes_scratch, 0755);
  case_as_user(65534, no_privilege);
  DONE(probe(disk->path));
}

/* Its image lies where nothing can be made beside it. */
TEST(read_only_below) {
  char path[900], image[400];
  volume below;
  if (!begin()) SKIP(volumes_missing);
  if (!volume_make(&below, "btrfs", 128, NULL, NULL)) {
    volume_drop(&below);
    SKIP(volumes_missing);
  }
  snprintf(image, sizeof image, "%s/image", below.path);
  case_put(image, "");
  CHECK(truncate(image, 16 << 20) == 0);
  CHECK_INT(volumes_run("mkfs.ext4 -q -F '%s'", image), 0);
  CHECK(mount(NULL, below.path, NULL, MS_REMOUNT | MS_RDONLY, NULL) == 0);
  mkdir(P("%s", volumes_in("inner")), 0755);
  CHECK_INT(volumes_run("mount -o ro,loop '%s' '%s'", image, path), 0);
  CHECK(case_says(probe(path), UNSUPPORTED, "mounted read-only"));
  umount2(path, 0);
  rmdir(path);
  volume_drop(&below);
}

TEST(image_gone) {
  char path[900], aside[400];
  volume v;
  if (!begin()) SKIP(volumes_missing);
  CHECK(volume_make(&v, "ext4", 64, outer, NULL));
  DONE(probe(v.path));
  snprintf(aside, sizeof aside, "%s/aside.img", outer);
  CHECK(rename(v.image, aside) == 0);
  DONE(probe(v.path)); /* the kernel knows its new name */
  CHECK(unlink(aside) == 0);
  CHECK(case_says(probe(v.path), UNSUPPORTED, "deleted, moved or replaced"));
  case_put(P("%s (deleted)", aside), "another file of that very name");
  CHECK(case_says(probe(v.path), UNSUPPORTED, "deleted, moved or replaced"));
  unlink(P("%s (deleted)", aside));
  volume_drop(&v);
}

TEST(no_space) {
  char path[900], image[900];
  volume small, v;
  if (!begin()) SKIP(volumes_missing);
  if (!volume_make(&small, "btrfs", 128, NULL, "-m single")) {
    volume_drop(&small);
    SKIP(volumes_missing);
  }
  CHECK(volume_make(&v, "ext4", 32, small.path, NULL));
  error *e = NULL;
  shadow *s = case_plan(&provider_image, v.path, &e);
  DONE(e);
  DONE(provider_image.prepare(s, NULL));
  /* No clone may be bigger than a limit that this thread has: that is the one
     way to be sure that there is no space for it. */
  snprintf(image, sizeof image, "%s", image_of(s));
  int fd = open(image, O_RDWR | O_CLOEXEC);
  struct stat st;
  CHECK(fstat(fd, &st) == 0 && st.st_size == 0);
  close(fd);
  int fill =
      open(P("%s/fill", small.path), O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  static char block[65536];
  memset(block, 'x', sizeof block);
  ssize_t n = 1;
  while (n > 0) n = write(fill, block, sizeof block);
  CHECK_INT(errno, ENOSPC);
  fsync(fill);
  for (int i = 0; i < 100000; i++) { /* and its metadata, too */
    int file = open(P("%s/fill-%d", small.path, i),
                    O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (file < 0) break;
    n = write(file, block, 2000);
    close(file);
    if (n < 0) break;
  }
  e = provider_image.commit(s);
  bool full = e != NULL;
  if (full)
    CHECK(case_says(e, VSS_E_INSUFFICIENT_STORAGE, "no space for a clone"));
  close(fill);
  case_drop(s);
  CHECK_INT(case_entries(P("%s/.saros-shadows", small.path)), -1);
  volume_drop(&v);
  volume_drop(&small);
  if (!full) SKIP("this btrfs had space for a clone when it was full");
}


/* ------------------------------------------------------------------
** What is in use, and what is not ours
** ---------------------------------------------------------------- */

TEST(in_use) {
  char path[900], at[300];
  if (!begin()) SKIP(volumes_missing);
  shadow *s = case_shadow(&provider_image, disk->path);
  provider_image.forget(s);
  int fd = open(P("%s/file", s->path), O_RDONLY | O_CLOEXEC);
  CHECK(case_says(case_destroy(&provider_image), VSS_E_VOLUME_IN_USE,
                  "file open in it"));
  CHECK_TEXT(case_get(path), "as it was");
  DONE(case_verify(&provider_image));
  close(fd);
  snprintf(at, sizeof at, "%s", volumes_in("exposed"));
  mkdir(at, 0755);
  CHECK(mount(s->path, at, NULL, MS_BIND, NULL) == 0);
  CHECK(case_says(case_destroy(&provider_image), VSS_E_VOLUME_IN_USE, at));
  DONE(case_verify(&provider_image));
  umount2(at, 0);
  fd = open(s->device, O_RDONLY | O_CLOEXEC);
  CHECK(mount("none", P("%s/dir", s->path), "tmpfs", 0, NULL) == 0);
  CHECK(case_says(case_destroy(&provider_image), VSS_E_VOLUME_IN_USE,
                  "something mounted in it"));
  umount2(path, 0);
  CHECK(case_says(case_destroy(&provider_image), VSS_E_VOLUME_IN_USE,
                  "still open or mounted"));
  close(fd);
  DONE(case_destroy(&provider_image));
  shadow_free(s);
  rmdir(at);
  nothing_left();
}

TEST(what_took_its_name) {
  char path[900], aside[900], clone[900];
  if (!begin()) SKIP(volumes_missing);
  shadow *s = case_shadow(&provider_image, disk->path);
  provider_image.forget(s);
  snprintf(clone, sizeof clone, "%s", image_of(s));
  snprintf(aside, sizeof aside, "%s/aside", outer);
  CHECK(rename(clone, aside) == 0);
  CHECK(case_says(case_verify(&provider_image), VSS_E_OBJECT_NOT_FOUND,
                  "deleted"));
  case_put(clone, "another one");
  CHECK(
      case_says(case_destroy(&provider_image), SAROS_E_REFUSED, "left alone"));
  CHECK(case_says(case_verify(&provider_image), VSS_E_OBJECT_NOT_FOUND,
                  "replaced"));
  CHECK_TEXT(case_get(clone), "another one");
  CHECK(unlink(clone) == 0 && rename(aside, clone) == 0);
  DONE(case_verify(&provider_image));
  CHECK(mount("none", P("%s/" IMAGE_TREE, s->place), "tmpfs", 0, NULL) == 0);
  CHECK(
      case_says(case_destroy(&provider_image), SAROS_E_REFUSED, "left alone"));
  CHECK(case_says(case_verify(&provider_image), VSS_E_OBJECT_NOT_FOUND,
                  "something else is mounted"));
  umount2(path, 0);
  umount2(path, 0);
  CHECK(case_says(case_verify(&provider_image), VSS_E_OBJECT_NOT_FOUND,
                  "not mounted any more"));
  case_put(P("%s/" IMAGE_TREE "/mine", s->place), "mine");
  CHECK(
      case_says(case_destroy(&provider_image), SAROS_E_REFUSED, "left alone"));
  CHECK(unlink(path) == 0);
  CHECK(rmdir(P("%s/" IMAGE_TREE, s->place)) == 0);
  DONE(case_destroy(&provider_image));
  shadow_free(s);
  nothing_left();
}

TEST(changed_behind_our_back) {
  if (!begin()) SKIP(volumes_missing);
  shadow *s = case_shadow(&provider_image, disk->path);
  int fd = open(image_of(s), O_WRONLY | O_CLOEXEC);
  CHECK(pwrite(fd, "x", 1, 0) == 1);
  close(fd);
  CHECK(case_says(case_verify(&provider_image), VSS_E_OBJECT_NOT_FOUND,
                  "changed behind our back"));
  case_drop(s);
  nothing_left();
}

TEST(not_mounted_now) {
  if (!begin()) SKIP(volumes_missing);
  char at[300];
  shadow *s = case_shadow(&provider_image, disk->path);
  provider_image.forget(s);
  snprintf(at, sizeof at, "%s", volumes_in("gone"));
  mkdir(at, 0755);
  CHECK(mount(outer, at, NULL, MS_MOVE, NULL) == 0);
  CHECK(case_says(case_destroy(&provider_image),
                  VSS_E_UNEXPECTED_PROVIDER_ERROR, "is not mounted there"));
  CHECK(mount(at, outer, NULL, MS_MOVE, NULL) == 0);
  rmdir(at);
  case_drop(s);
  nothing_left();
}

/* Where what is mounted is shared, what is mounted in a shadow is not. */
TEST(mounts_are_private) {
  char line[5000];
  if (!begin()) SKIP(volumes_missing);
  CHECK(mount(NULL, outer, NULL, MS_SHARED, NULL) == 0);
  shadow *s = case_shadow(&provider_image, disk->path);
  FILE *f = fopen("/proc/self/mountinfo", "re");
  int seen = 0;
  while (f != NULL && fgets(line, sizeof line, f) != NULL) {
    if (strstr(line, s->path) == NULL) continue;
    seen++;
    CHECK(strstr(line, "shared:") == NULL);
  }
  if (f != NULL) fclose(f);
  CHECK_INT(seen, 1);
  case_drop(s);
  CHECK(mount(NULL, outer, NULL, MS_PRIVATE, NULL) == 0);
  nothing_left();
}

static int go[2], gone[2];

/* Another namespace has the mount; its copy keeps the device. */
TEST(mounted_in_another_namespace) {
  if (!begin()) SKIP(volumes_missing);
  shadow *s = case_shadow(&provider_image, disk->path);
  provider_image.forget(s);
  CHECK(pipe2(go, O_CLOEXEC) == 0 && pipe2(gone, O_CLOEXEC) == 0);
  char byte = 0;
  fflush(stdout);
  pid_t pid = fork();
  if (pid == 0) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (unshare(CLONE_NEWNS) != 0) _exit(1);
    close(go[1]);
    if (write(gone[1], "x", 1) != 1) _exit(2);
    while (read(go[0], &byte, 1) > 0) continue;
    _exit(0);
  }
  CHECK_INT(read(gone[0], &byte, 1), 1);
  CHECK(case_says(case_destroy(&provider_image), VSS_E_VOLUME_IN_USE,
                  "container"));
  for (int i = 0; i < 2; i++) {
    close(go[i]);
    close(gone[i]);
  }
  int status = 1;
  CHECK(waitpid(pid, &status, 0) == pid && status == 0);
  DONE(case_destroy(&provider_image));
  shadow_free(s);
  nothing_left();
}


/* ------------------------------------------------------------------
** Deaths, memory, a cancel
** ---------------------------------------------------------------- */

static void take(void) {
  shadow *s = case_shadow(&provider_image, disk->path);
  shadow_free(s);
}

static void take_away(void) {
  DONE(case_destroy(&provider_image));
}

/* A dead process leaves its file system frozen: what the guard is for. */
static void thaw(void) {
  int fd = open(disk->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  ioctl(fd, FITHAW, 0);
  close(fd);
}

TEST(dies_while_it_is_made) {
  for (int i = 0; i < KINDS; i++) {
    int n = 1;
    if (!begin_on(i)) SKIP(volumes_missing);
    volumes_run("rm -f '%s'", volumes_in("record.json"));
    snprintf(case_file, sizeof case_file, "%s", volumes_in("record.json"));
    for (; n < 50; n++) {
      bool whole = case_dies_at(n, take);
      thaw();
      DONE(case_destroy(&provider_image));
      DONE(case_destroy(&provider_image));
      nothing_left();
      if (whole) break;
    }
#ifdef SAROS_TEST
    CHECK(n >= 10);
#endif
  }
}

TEST(dies_while_it_is_taken_away) {
  int n = 1;
  if (!begin()) SKIP(volumes_missing);
  for (; n < 50; n++) {
    take();
    bool whole = case_dies_at(n, take_away);
    DONE(case_destroy(&provider_image));
    nothing_left();
    if (whole) break;
  }
#ifdef SAROS_TEST
  CHECK(n >= 5);
#endif
}

static bool take_once(void) {
  error *e = NULL;
  shadow *s = case_plan(&provider_image, disk->path, &e);
  if (s != NULL) e = case_take(s);
  if (e == NULL) e = case_verify(&provider_image);
  bool good = e == NULL;
  if (!good && e->code != SAROS_E_OUTOFMEMORY)
    CHECK_INT(case_end(e, SAROS_E_OUTOFMEMORY), SAROS_E_OUTOFMEMORY);
  else
    error_unref(e);
  if (s != NULL) {
    provider_image.forget(s);
    mem_fail_at(0);
    DONE(provider_image.destroy(s->keep, NULL));
  }
  shadow_free(s);
  return good;
}

TEST(memory_runs_out) {
  if (!begin()) SKIP(volumes_missing);
  SWEEP(take_once, 120);
  nothing_left();
}

static const saros_kind kind = {
    .size = sizeof kind, .name = "test.shadow", .flags = SAROS_CANCELLABLE};

TEST(cancelled) {
  error *e = NULL;
  if (!begin()) SKIP(volumes_missing);
  saros_op *op = saros_op_new(&kind, NULL, NULL);
  CHECK(op != NULL);
  shadow *s = case_plan(&provider_image, disk->path, &e);
  DONE(e);
  CHECK(op_begin(op, SAROS_RUNNING) == 0);
  CHECK_INT(op_try_cancel(op), CANCEL_DONE);
  CHECK_INT(case_end(provider_image.prepare(s, op), SAROS_E_CANCELLED),
            SAROS_E_CANCELLED);
  case_drop(s);
  saros_op_finish(op, SAROS_E_CANCELLED, NULL);
  saros_op_unref(op);
  nothing_left();
}

TEST(chosen) {
  error *e = NULL;
  if (!begin()) SKIP(volumes_missing);
  origin *from = origin_find(disk->path, &e);
  CHECK(provider_choose(from, &e) == &provider_image);
  CHECK(e == NULL);
  origin_free(from);
}

static void all(void) {
  RUN(chosen);
  RUN(whole_volume);
  RUN(counterpart_of_what_was_given);
  RUN(two_at_once);
  RUN(xfs_in_an_image);
  RUN(partition_of_an_image);
  RUN(offset_and_big_sectors);
  RUN(image_without_checksums);
  RUN(odd_names);
  RUN(in_pieces);
  RUN(under_a_writer);
  RUN(not_frozen);
  RUN(refused_here);
  RUN(read_only_below);
  RUN(image_gone);
  RUN(no_space);
  RUN(in_use);
  RUN(what_took_its_name);
  RUN(changed_behind_our_back);
  RUN(not_mounted_now);
  RUN(mounts_are_private);
  RUN(mounted_in_another_namespace);
  RUN(dies_while_it_is_made);
  RUN(dies_while_it_is_taken_away);
  RUN(memory_runs_out);
  RUN(cancelled);
}

int main(int argc, char **argv) {
  return volumes_main(argc, argv, all);
}
