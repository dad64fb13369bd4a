/*
** provider btrfs, on a real one.
**
** not under valgrind: its children are forked or killed; ASan runs it
*/
#include <linux/btrfs.h>
#include <sys/swap.h>
#include <sys/syscall.h>

#include "shadow_case.h"
#include "test_base_sweep.h"
#include "vss/provider/btrfs_parts.h"

#define P(...) (snprintf(path, sizeof path, __VA_ARGS__), path)

static const volume *disk;
static char top[300];  /* where it is mounted */
static char home[400]; /* a subvolume of it */

static bool subvolume(const char *path) {
  struct btrfs_ioctl_vol_args args = {0};
  char parent[900];
  snprintf(parent, sizeof parent, "%s", path);
  char *slash = strrchr(parent, '/');
  *slash = 0;
  snprintf(args.name, sizeof args.name, "%s", slash + 1);
  int fd = open(parent, O_RDONLY | O_CLOEXEC);
  bool good = ioctl(fd, BTRFS_IOC_SUBVOL_CREATE, &args) >= 0;
  close(fd);
  return good;
}

static bool unsubvolume(const char *path) {
  return volumes_run("btrfs -q subvolume delete '%s' >/dev/null", path) == 0;
}

static bool begins(const char *text, const char *with) {
  return strncmp(text, with, strlen(with)) == 0;
}

/* How many subvolumes there are in all. */
static int subvolumes(void) {
  return volumes_run("exit $(btrfs subvolume list '%s' | wc -l)", top);
}

/* A fresh one for each test, with a file. */
static bool begin(void) {
  char path[900];
  disk = volumes_get(BTRFS);
  if (disk == NULL) return false;
  if (!volumes_have("btrfs")) {
    volumes_missing = "needs the program btrfs";
    return false;
  }
  snprintf(top, sizeof top, "%s", disk->path);
  snprintf(home, sizeof home, "%s/home", top);
  CHECK_INT(subvolumes(), 0);
  CHECK(subvolume(home));
  case_put(P("%s/file", home), "as it was");
  mkdir(P("%s/dir", home), 0755);
  case_put(P("%s/dir/inner", home), "as it was inside");
  return true;
}

static void end(void) {
  CHECK(unsubvolume(home));
  CHECK_INT(subvolumes(), 0);
  CHECK_INT(case_entries(top), 0);
}


/* ------------------------------------------------------------------
** Taking one
** ---------------------------------------------------------------- */

TEST(whole_subvolume) {
  char path[900];
  if (!begin()) SKIP(volumes_missing);
  int open_file = open(P("%s/late", home), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  CHECK_INT(write(open_file, "not synced", 10), 10);
  shadow *s = case_shadow(&provider_btrfs, home);
  CHECK_INT(write(open_file, " and more", 9), 9);
  case_put(P("%s/file", home), "changed");
  unlink(P("%s/dir/inner", home));
  CHECK_TEXT(case_get(P("%s/file", s->path)), "as it was");
  CHECK_TEXT(case_get(P("%s/dir/inner", s->path)), "as it was inside");
  CHECK_TEXT(case_get(P("%s/late", s->path)), "not synced");
  CHECK_INT(open(P("%s/file", s->path), O_RDWR | O_CLOEXEC), -1);
  CHECK_INT(errno, EROFS);
  CHECK(begins(s->path, P("%s/.saros-shadows/", top)));
  CHECK_TEXT(s->device, s->path);
  CHECK_INT(s->warnings->count, 0);
  struct stat st;
  CHECK(stat(P("%s/.saros-shadows", top), &st) == 0);
  CHECK_INT(st.st_mode & 07777, 0700);
  CHECK_INT(st.st_ino, 256);
  DONE(case_verify(&provider_btrfs));
  close(open_file);
  case_drop(s);
  DONE(case_destroy(&provider_btrfs)); /* again: it is gone, that is all */
  CHECK(case_says(case_verify(&provider_btrfs), VSS_E_OBJECT_NOT_FOUND,
                  "deleted behind our back"));
  end();
}

TEST(counterpart_of_what_was_given) {
  char path[900], link[300];
  if (!begin()) SKIP(volumes_missing);
  snprintf(link, sizeof link, "%s", volumes_in("to-inner"));
  CHECK(symlink(P("%s/dir/inner", home), link) == 0);
  shadow *s = case_shadow(&provider_btrfs, link);
  case_put(P("%s/dir/inner", home), "changed");
  CHECK_TEXT(case_get(s->path), "as it was inside");
  CHECK(strlen(s->path) > 10 &&
        strcmp(s->path + strlen(s->path) - 10, "/dir/inner") == 0);
  unlink(link);
  case_drop(s);
  end();
}

/* Where the subvolume is what is mounted its shadows lie in it; and a second
   one does not hold the first. */
TEST(of_the_mounted_subvolume) {
  char path[900], at[300];
  if (!begin()) SKIP(volumes_missing);
  snprintf(at, sizeof at, "%s", volumes_in("at"));
  mkdir(at, 0755);
  CHECK(mount(disk->device, at, "btrfs", 0, "subvol=home") == 0);
  shadow *a = case_shadow(&provider_btrfs, at);
  char first[700];
  snprintf(first, sizeof first, "%s", case_file);
  CHECK(begins(a->path, P("%s/.saros-shadows/", at)));
  value *keep = case_keep(case_file);
  shadow *b = case_shadow(&provider_btrfs, P("%s/dir", at));
  CHECK_INT(b->warnings->count, 0);
  CHECK_TEXT(case_get(P("%s/inner", b->path)), "as it was inside");
  CHECK_INT(case_entries(P("%s/../.saros-shadows", b->path)), 0);
  DONE(provider_btrfs.destroy(keep, NULL));
  DONE(case_verify(&provider_btrfs));
  CHECK_INT(case_entries(P("%s/.saros-shadows", at)), 1);
  value_free(keep);
  shadow_free(a);
  case_drop(b);
  CHECK_INT(case_entries(P("%s/.saros-shadows", at)), -1);
  umount2(at, 0);
  rmdir(at);
  end();
}

TEST(nested_are_named) {
  char path[900], nested[500], deep[600];
  if (!begin()) SKIP(volumes_missing);
  snprintf(nested, sizeof nested, "%s/dir/nested", home);
  CHECK(subvolume(nested));
  snprintf(deep, sizeof deep, "%s/dir/nested/deep", home);
  CHECK(subvolume(deep));
  mkdir(P("%s/other", home), 0755);
  case_put(P("%s/x", nested), "x");
  shadow *s = case_shadow(&provider_btrfs, home);
  CHECK_INT(s->warnings->count, 1);
  CHECK_INT(
      case_warned(s, P("nested subvolume %s is not in the shadow", nested)), 1);
  CHECK_INT(case_entries(P("%s/dir/nested", s->path)), 0);
  case_drop(s);
  s = case_shadow(&provider_btrfs, P("%s/other", home));
  CHECK_INT(s->warnings->count, 0); /* it was not asked for */
  case_drop(s);
  s = case_shadow(&provider_btrfs, nested);
  CHECK_TEXT(case_get(P("%s/x", s->path)), "x");
  CHECK_INT(case_warned(s, deep), 1);
  case_drop(s);
  for (int i = 0; i < 600; i++) CHECK(subvolume(P("%s/other/%d", home, i)));
  s = case_shadow(&provider_btrfs, home);
  CHECK_INT(s->warnings->count, 601);
  case_drop(s);
  for (int i = 0; i < 600; i += 100)
    CHECK_INT(volumes_run("btrfs -q subvolume delete %s/other/%d? "
                          "%s/other/%d?? >/dev/null 2>&1; true",
                          home, i / 100, home, i / 100),
              0);
  volumes_run(
      "for i in %s/other/*; do btrfs -q subvolume delete $i "
      ">/dev/null; done",
      home);
  CHECK(unsubvolume(deep) && unsubvolume(nested));
  end();
}

static atomic_int writing; /* lines that are written, and one */
static atomic_bool stop;

static void *append(void *context) {
  int fd = open(context, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  char line[64];
  for (unsigned i = 0; !stop; i++) {
    snprintf(line, sizeof line, "%08u\n", i);
    if (write(fd, line, 9) != 9) break;
    writing = (int)i + 2;
  }
  close(fd);
  return NULL;
}

/* Lines in their order, `least` at least. After those there may be a part of
   one, and zeros: of a file that grows while it is taken btrfs can have a size
   that is ahead of what it has written. */
static void check_log(const char *name, unsigned least) {
  FILE *f = fopen(name, "re");
  char line[9], wanted[64];
  unsigned n = 0, bad = 0;
  bool whole = true;
  size_t size;
  while (f != NULL && (size = fread(line, 1, sizeof line, f)) > 0) {
    size_t same = 0, zeros = 0;
    snprintf(wanted, sizeof wanted, "%08u\n", n);
    while (whole && same < size && line[same] == wanted[same]) same++;
    while (same + zeros < size && line[same + zeros] == 0) zeros++;
    if (same + zeros != size) bad++;
    whole = whole && same == sizeof line;
    if (whole) n++;
  }
  if (f != NULL) fclose(f);
  if (n < least)
    printf("%u lines are whole, of %u that were written before\n", n, least);
  CHECK(f != NULL && n >= least);
  CHECK_INT(bad, 0);
}

/* What was written before is whole in it, to the last line; nobody freezes,
   so of what is written meanwhile nothing is promised but that it is not
   something else. */
TEST(under_a_writer) {
  char path[900], file[500];
  pthread_t thread;
  if (!begin()) SKIP(volumes_missing);
  snprintf(file, sizeof file, "%s/log", home);
  writing = 1;
  stop = false;
  CHECK(pthread_create(&thread, NULL, append, file) == 0);
  while (writing < 2) sched_yield();
  for (int i = 0; i < 10; i++) {
    error *e = NULL;
    shadow *s = case_plan(&provider_btrfs, home, &e);
    DONE(e);
    DONE(provider_btrfs.prepare(s, NULL));
    int written = writing;
    DONE(provider_btrfs.commit(s));
    DONE(provider_btrfs.finish(s, NULL));
    DONE(shadow_note(s));
    check_log(P("%s/log", s->path), (unsigned)written - 1);
    DONE(case_verify(&provider_btrfs));
    case_drop(s);
  }
  stop = true;
  pthread_join(thread, NULL);
  end();
}

/* Cleaning up what was unlinked and open does not count as a change. */
TEST(unlinked_and_open) {
  char path[900];
  if (!begin()) SKIP(volumes_missing);
  int fd = open(P("%s/tmp", home), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  CHECK_INT(write(fd, "x", 1), 1);
  unlink(path);
  shadow *s = case_shadow(&provider_btrfs, home);
  CHECK(access(P("%s/tmp", s->path), F_OK) != 0);
  DONE(case_verify(&provider_btrfs));
  volumes_run("sync -f '%s'", top);
  DONE(case_verify(&provider_btrfs));
  close(fd);
  case_drop(s);
  end();
}


/* ------------------------------------------------------------------
** What is refused
** ---------------------------------------------------------------- */

static error *probe(const char *path) {
  error *e = NULL;
  origin *from = origin_find(path, &e);
  if (from != NULL) e = provider_btrfs.probe(from);
  origin_free(from);
  return e;
}

TEST(refused_here) {
  char path[900];
  const volume *other = volumes_get(EXT4);
  if (!begin()) SKIP(volumes_missing);
  if (other != NULL)
    CHECK(case_says(probe(other->path), VSS_E_VOLUME_NOT_SUPPORTED_BY_PROVIDER,
                    "is not on btrfs"));
  const char *at = volumes_in("ro");
  mkdir(at, 0755);
  CHECK(mount(home, at, NULL, MS_BIND, NULL) == 0);
  CHECK(mount(NULL, at, NULL, MS_BIND | MS_REMOUNT | MS_RDONLY, NULL) == 0);
  CHECK(case_says(probe(at), VSS_E_VOLUME_NOT_SUPPORTED_BY_PROVIDER,
                  "read-only"));
  umount2(at, 0);
  DONE(probe(home));
  DONE(probe(P("%s/dir/inner", home)));
  CHECK(mount(NULL, top, NULL, MS_REMOUNT | MS_RDONLY, NULL) == 0);
  CHECK(case_says(probe(home), VSS_E_VOLUME_NOT_SUPPORTED_BY_PROVIDER,
                  "read-only"));
  CHECK(mount(NULL, top, NULL, MS_REMOUNT, NULL) == 0);
  rmdir(at);
  end();
}

/* Made read-only in the last moment. */
TEST(refused_under_way) {
  error *e = NULL;
  if (!begin()) SKIP(volumes_missing);
  shadow *s = case_plan(&provider_btrfs, home, &e);
  DONE(e);
  DONE(provider_btrfs.prepare(s, NULL));
  CHECK(mount(NULL, top, NULL, MS_REMOUNT | MS_RDONLY, NULL) == 0);
  CHECK(case_says(provider_btrfs.commit(s),
                  VSS_E_VOLUME_NOT_SUPPORTED_BY_PROVIDER,
                  "is mounted read-only"));
  CHECK(mount(NULL, top, NULL, MS_REMOUNT, NULL) == 0);
  case_drop(s);
  end();
}

TEST(swap_file) {
  char path[900], file[500];
  error *e = NULL;
  if (!begin()) SKIP(volumes_missing);
  snprintf(file, sizeof file, "%s/swap", home);
  bool on = volumes_run(
                "touch %s && chattr +C %s && fallocate -l 16M %s && "
                "chmod 600 %s && mkswap %s >/dev/null 2>&1",
                file, file, file, file, file) == 0 &&
            swapon(file, 0) == 0;
  if (on) {
    shadow *s = case_plan(&provider_btrfs, home, &e);
    DONE(e);
    CHECK(
        case_says(provider_btrfs.prepare(s, NULL), VSS_E_VOLUME_IN_USE, file));
    case_drop(s);
    s = case_plan(&provider_btrfs, home, &e);
    CHECK(swapoff(file) == 0);
    DONE(provider_btrfs.prepare(s, NULL));
    CHECK(swapon(file, 0) == 0); /* in the last moment */
    CHECK(case_says(provider_btrfs.commit(s), VSS_E_VOLUME_IN_USE,
                    "active swap file"));
    CHECK(swapoff(file) == 0);
    case_drop(s);
  }
  unlink(P("%s", file));
  end();
  if (!on) SKIP("no swap file can be made active here");
}

TEST(somebody_elses_directory) {
  char path[900];
  error *e = NULL;
  if (!begin()) SKIP(volumes_missing);
  mkdir(P("%s/.saros-shadows", top), 0777);
  CHECK(chown(path, 65534, 65534) == 0);
  shadow *s = case_plan(&provider_btrfs, home, &e);
  CHECK(case_says(provider_btrfs.prepare(s, NULL), SAROS_E_REFUSED,
                  "belongs to somebody else"));
  CHECK(rmdir(P("%s/.saros-shadows", top)) == 0);
  CHECK(symlink("home", P("%s/.saros-shadows", top)) == 0);
  provider_btrfs.forget(s);
  e = provider_btrfs.prepare(s, NULL);
  CHECK(e != NULL);
  error_unref(e);
  unlink(P("%s/.saros-shadows", top));
  case_drop(s);
  end();
}


/* ------------------------------------------------------------------
** What is not ours is not deleted, and what changed is told
** ---------------------------------------------------------------- */

static void snapshot(const char *of, const char *to) {
  CHECK_INT(volumes_run("btrfs -q subvolume snapshot -r '%s' '%s' >/dev/null",
                        of, to),
            0);
}

TEST(what_took_its_name) {
  char at[600], aside[700];
  if (!begin()) SKIP(volumes_missing);
  shadow *s = case_shadow(&provider_btrfs, home);
  snprintf(at, sizeof at, "%s", s->path);
  snprintf(aside, sizeof aside, "%s-aside", s->path);
  CHECK(rename(at, aside) == 0);
  /* A directory, a file, a subvolume, a snapshot of another one, and a later
     one of the same. */
  CHECK(mkdir(at, 0755) == 0);
  CHECK(
      case_says(case_destroy(&provider_btrfs), SAROS_E_REFUSED, "left alone"));
  CHECK(rmdir(at) == 0);
  case_put(at, "mine");
  CHECK(
      case_says(case_destroy(&provider_btrfs), SAROS_E_REFUSED, "left alone"));
  CHECK(unlink(at) == 0);
  CHECK(subvolume(at));
  CHECK(case_says(case_destroy(&provider_btrfs), SAROS_E_REFUSED,
                  "something else"));
  CHECK(case_says(case_verify(&provider_btrfs), VSS_E_OBJECT_NOT_FOUND,
                  "replaced"));
  CHECK(unsubvolume(at));
  snapshot(top, at);
  CHECK(case_says(case_destroy(&provider_btrfs), SAROS_E_REFUSED,
                  "something else"));
  CHECK(unsubvolume(at));
  snapshot(home, at);
  CHECK(case_says(case_destroy(&provider_btrfs), SAROS_E_REFUSED,
                  "another snapshot"));
  CHECK(unsubvolume(at));
  /* Nothing has its name now, but its place is not empty. */
  CHECK(case_says(case_destroy(&provider_btrfs), SAROS_E_REFUSED,
                  "no shadow copy put"));
  CHECK(rename(aside, at) == 0);
  DONE(case_verify(&provider_btrfs));
  case_drop(s);
  end();
}

TEST(changed_behind_our_back) {
  char path[900];
  if (!begin()) SKIP(volumes_missing);
  shadow *s = case_shadow(&provider_btrfs, home);
  uint64_t flags = 0;
  int fd = open(s->path, O_RDONLY | O_CLOEXEC);
  CHECK(ioctl(fd, BTRFS_IOC_SUBVOL_SETFLAGS, &flags) >= 0);
  CHECK(case_says(case_verify(&provider_btrfs), VSS_E_OBJECT_NOT_FOUND,
                  "made writable"));
  case_put(P("%s/file", s->path), "forged");
  flags = BTRFS_SUBVOL_RDONLY;
  CHECK(ioctl(fd, BTRFS_IOC_SUBVOL_SETFLAGS, &flags) >= 0);
  volumes_run("sync -f '%s'", top);
  CHECK(case_says(case_verify(&provider_btrfs), VSS_E_OBJECT_NOT_FOUND,
                  "changed behind our back"));
  flags = 0;
  CHECK(ioctl(fd, BTRFS_IOC_SUBVOL_SETFLAGS, &flags) >= 0);
  close(fd);
  CHECK(subvolume(P("%s/nested", s->path)));
  CHECK(case_says(case_destroy(&provider_btrfs), VSS_E_VOLUME_IN_USE,
                  "a subvolume was made in"));
  CHECK(unsubvolume(P("%s/nested", s->path)));
  case_drop(s);
  end();
}

TEST(not_mounted_now) {
  if (!begin()) SKIP(volumes_missing);
  shadow *s = case_shadow(&provider_btrfs, home);
  provider_btrfs.forget(s);
  char at[300];
  snprintf(at, sizeof at, "%s", volumes_in("gone"));
  mkdir(at, 0755);
  CHECK(mount(top, at, NULL, MS_MOVE, NULL) == 0);
  CHECK(case_says(case_destroy(&provider_btrfs),
                  VSS_E_UNEXPECTED_PROVIDER_ERROR, "is not mounted there"));
  CHECK(mount(at, top, NULL, MS_MOVE, NULL) == 0);
  rmdir(at);
  case_drop(s);
  end();
}


/* ------------------------------------------------------------------
** Back to it
** ---------------------------------------------------------------- */

static error *revert(void) {
  value *keep = case_keep(case_file);
  error *e = provider_btrfs.revert(keep, NULL);
  value_free(keep);
  return e;
}

TEST(reverted) {
  char path[900], log[500];
  struct stat before, after;
  if (!begin()) SKIP(volumes_missing);
  snprintf(log, sizeof log, "%s/log", home);
  shadow *s = case_shadow(&provider_btrfs, home);
  for (int round = 0; round < 2; round++) {
    case_put(P("%s/file", home), "changed");
    case_put(log, "new");
    CHECK(stat(home, &before) == 0);
    int old = open(P("%s/file", home), O_RDONLY | O_CLOEXEC);
    DONE(revert());
    CHECK(stat(home, &after) == 0 && before.st_dev != after.st_dev);
    CHECK_TEXT(case_get(P("%s/file", home)), "as it was");
    CHECK_TEXT(case_get(P("%s/dir/inner", home)), "as it was inside");
    CHECK(access(log, F_OK) != 0);
    case_put(log, "it can be written to");
    CHECK(unlink(log) == 0);
    char text[8];
    CHECK(read(old, text, 7) == 7 && memcmp(text, "changed", 7) == 0);
    close(old);
    DONE(case_verify(&provider_btrfs));
    CHECK_INT(subvolumes(), 3); /* home, .saros-shadows, the shadow */
  }
  case_drop(s);
  end();
}

TEST(not_reverted) {
  char path[900], at[300], aside[500];
  if (!begin()) SKIP(volumes_missing);
  shadow *s = case_shadow(&provider_btrfs, home);
  case_put(P("%s/file", home), "changed");
  snprintf(at, sizeof at, "%s", volumes_in("at"));
  mkdir(at, 0755);
  CHECK(mount(P("%s/dir", home), at, NULL, MS_BIND, NULL) == 0);
  CHECK(case_says(revert(), VSS_E_VOLUME_IN_USE, at));
  umount2(at, 0);
  CHECK(mount(disk->device, at, "btrfs", 0, "subvol=home") == 0);
  CHECK(case_says(revert(), VSS_E_VOLUME_IN_USE, at));
  umount2(at, 0);
  rmdir(at);
  CHECK(subvolume(P("%s/nested", home)));
  CHECK(case_says(revert(), SAROS_E_REFUSED, "nested subvolumes"));
  CHECK(unsubvolume(P("%s/nested", home)));
  snprintf(aside, sizeof aside, "%s/aside", top);
  CHECK(rename(home, aside) == 0);
  CHECK(subvolume(home));
  CHECK(case_says(revert(), VSS_E_OBJECT_NOT_FOUND, "another subvolume"));
  CHECK(unsubvolume(home));
  CHECK(rename(aside, home) == 0);
  mkdir(P("%s/" BTRFS_REVERT, s->place), 0755);
  CHECK(case_says(revert(), SAROS_E_REFUSED, "left alone"));
  CHECK(
      case_says(case_destroy(&provider_btrfs), SAROS_E_REFUSED, "left alone"));
  CHECK(rmdir(P("%s/" BTRFS_REVERT, s->place)) == 0);
  CHECK_TEXT(case_get(P("%s/file", home)), "changed");
  CHECK_INT(subvolumes(), 3);
  case_drop(s);
  end();
}

static void do_revert(void) {
  DONE(revert());
}

TEST(dies_while_it_is_reverted) {
  char path[900];
  int n = 1;
  if (!begin()) SKIP(volumes_missing);
  for (; n < 20; n++) {
    shadow *s = case_shadow(&provider_btrfs, home);
    case_put(P("%s/file", home), "changed");
    bool whole = case_dies_at(n, do_revert);
    const char *now = case_get(P("%s/file", home));
    CHECK(now != NULL &&
          (strcmp(now, "changed") == 0 || strcmp(now, "as it was") == 0));
    if (n % 2 == 0) DONE(revert()); /* again, or only the end */
    case_drop(s);
    CHECK_INT(subvolumes(), 1);
    case_put(P("%s/file", home), "as it was");
    if (whole) break;
  }
#ifdef SAROS_TEST
  CHECK(n >= 3);
#endif
  end();
}


/* ------------------------------------------------------------------
** Another user
** ---------------------------------------------------------------- */

static void not_root(void) {
  CHECK(case_says(probe(home), SAROS_E_ACCESSDENIED, "CAP_FOWNER"));
}

TEST(not_the_owner) {
  if (!begin()) SKIP(volumes_missing);
  chmod(volumes_scratch, 0755);
  case_as_user(65534, not_root);
  end();
}

static void own_shadow(void) {
  char path[900];
  shadow *s = case_shadow(&provider_btrfs, home);
  if (s == NULL) return;
  CHECK(begins(s->path, P("%s/.saros-shadows-65534/", home)));
  CHECK_TEXT(case_get(P("%s/dir/inner", s->path)), "as it was inside");
  CHECK_INT(case_entries(P("%s/full", s->path)), 100);
  DONE(case_verify(&provider_btrfs));
  case_drop(s);
  CHECK_INT(case_entries(P("%s/.saros-shadows-65534", home)), -1);
}

static void fill(void) {
  char path[900], deep[900];
  mkdir(P("%s/full", home), 0755);
  for (int i = 0; i < 99; i++) case_put(P("%s/full/%d", home, i), "x");
  mkdir(P("%s/full/locked", home), 0700);
  case_put(P("%s/full/locked/x", home), "x");
  chmod(P("%s/full/locked", home), 0500);
  snprintf(deep, sizeof deep, "%s/deep", home);
  for (int i = 0; i < 50; i++) {
    mkdir(deep, 0755);
    strcat(deep, "/deeper");
  }
  CHECK(symlink("/etc/passwd", P("%s/link", home)) == 0);
}

/* Snapshot and delete without any privilege. */
TEST(the_owner) {
  char path[900];
  if (!begin()) SKIP(volumes_missing);
  chmod(volumes_scratch, 0777);
  volumes_run("chown -R 65534:65534 '%s'", home);
  volumes_run("rm -f '%s'", volumes_in("record.json"));
  case_as_user(65534, fill);
  case_as_user(65534, own_shadow);
  chmod(P("%s/full/locked", home), 0700);
  volumes_run("rm -f '%s'", volumes_in("record.json"));
  chmod(volumes_scratch, 0700);
  end();
}


/* ------------------------------------------------------------------
** Deaths, and memory
** ---------------------------------------------------------------- */

static void take(void) {
  shadow *s = case_shadow(&provider_btrfs, home);
  shadow_free(s);
}

static void take_away(void) {
  DONE(case_destroy(&provider_btrfs));
}

TEST(dies_while_it_is_made) {
  int n = 1;
  if (!begin()) SKIP(volumes_missing);
  volumes_run("rm -f '%s'", volumes_in("record.json"));
  snprintf(case_file, sizeof case_file, "%s", volumes_in("record.json"));
  for (; n < 50; n++) {
    bool whole = case_dies_at(n, take);
    DONE(case_destroy(&provider_btrfs));
    DONE(case_destroy(&provider_btrfs));
    CHECK_INT(subvolumes(), 1);
    CHECK_INT(case_entries(top), 1);
    if (whole) break;
  }
#ifdef SAROS_TEST
  CHECK(n >= 6);
#endif
  end();
}

TEST(dies_while_it_is_taken_away) {
  int n = 1;
  if (!begin()) SKIP(volumes_missing);
  for (; n < 50; n++) {
    take();
    bool whole = case_dies_at(n, take_away);
    DONE(case_destroy(&provider_btrfs));
    CHECK_INT(subvolumes(), 1);
    if (whole) break;
  }
#ifdef SAROS_TEST
  CHECK(n >= 4);
#endif
  end();
}

static bool take_once(void) {
  error *e = NULL;
  shadow *s = case_plan(&provider_btrfs, home, &e);
  if (s != NULL) e = case_take(s);
  if (e == NULL) e = case_verify(&provider_btrfs);
  bool good = e == NULL;
  if (!good && e->code != SAROS_E_OUTOFMEMORY)
    CHECK_INT(case_end(e, SAROS_E_OUTOFMEMORY), SAROS_E_OUTOFMEMORY);
  else
    error_unref(e);
  if (s != NULL) {
    s->provider->forget(s);
    mem_fail_at(0);
    DONE(provider_btrfs.destroy(s->keep, NULL));
  }
  shadow_free(s);
  return good;
}

TEST(memory_runs_out) {
  char path[900];
  if (!begin()) SKIP(volumes_missing);
  CHECK(subvolume(P("%s/nested", home)));
  SWEEP(take_once, 120);
  CHECK(unsubvolume(P("%s/nested", home)));
  end();
}


/* ------------------------------------------------------------------
** The register
** ---------------------------------------------------------------- */

TEST(nothing_was_planned) {
  value *keep = value_map();
  DONE(provider_btrfs.destroy(keep, NULL));
  DONE(provider_image.destroy(keep, NULL));
  value_free(keep);
}

TEST(by_name) {
  for (size_t i = 0; providers[i] != NULL; i++) {
    const provider *p = providers[i];
    guid id;
    CHECK(guid_parse(p->id, &id));
    CHECK(provider_named(p->name) == p);
    CHECK(provider_named(p->id) == p);
    CHECK(p->worth != NULL && p->commit != NULL && p->destroy != NULL);
    if (i > 0) CHECK(providers[i - 1]->rank >= p->rank);
  }
  CHECK(provider_named("nobody") == NULL);
  CHECK(provider_named("{5B0F8C4E-5A0D-4B39-9C0B-2F7B6C1D9E41}") ==
        &provider_btrfs);
  CHECK_TEXT(provider_atomic_name(ATOMIC_SUBVOLUME), "subvolume");
}

TEST(chosen) {
  error *e = NULL;
  if (!begin()) SKIP(volumes_missing);
  origin *from = origin_find(home, &e);
  CHECK(provider_choose(from, &e) == &provider_btrfs);
  CHECK(e == NULL);
  origin_free(from);
  from = origin_find("/proc", &e);
  CHECK(provider_choose(from, &e) == NULL);
  CHECK(case_says(e, VSS_E_VOLUME_NOT_SUPPORTED, "btrfs: /proc is not on"));
  origin_free(from);
  end();
}

static void all(void) {
  RUN(by_name);
  RUN(nothing_was_planned);
  RUN(chosen);
  RUN(whole_subvolume);
  RUN(counterpart_of_what_was_given);
  RUN(of_the_mounted_subvolume);
  RUN(nested_are_named);
  RUN(under_a_writer);
  RUN(unlinked_and_open);
  RUN(refused_here);
  RUN(refused_under_way);
  RUN(swap_file);
  RUN(somebody_elses_directory);
  RUN(what_took_its_name);
  RUN(changed_behind_our_back);
  RUN(not_mounted_now);
  RUN(reverted);
  RUN(not_reverted);
  RUN(dies_while_it_is_reverted);
  RUN(not_the_owner);
  RUN(the_owner);
  RUN(dies_while_it_is_made);
  RUN(dies_while_it_is_taken_away);
  RUN(memory_runs_out);
}

int main(int argc, char **argv) {
  return volumes_main(argc, argv, all);
}
