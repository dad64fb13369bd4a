/*
** provider image: what is refused, what is in use, and what is not ours.
**
** not under valgrind: its children are forked or killed; ASan runs it
*/
#include "image_case.h"

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

static void all(void) {
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
}

int main(int argc, char **argv) {
  return volumes_main(argc, argv, all);
}
