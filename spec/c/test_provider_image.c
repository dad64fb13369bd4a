/*
** provider image: ext4 and XFS in images on XFS and btrfs, frozen by the test
** as the coordinator would.
**
** not under valgrind: its children are forked or killed; ASan runs it
*/
#include <linux/blkpg.h>

#include "image_case.h"

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
}

int main(int argc, char **argv) {
  return volumes_main(argc, argv, all);
}
