/*
** provider btrfs, on a real one: what is not ours, the way back to a shadow,
** deaths at every step, and no memory.
**
** not under valgrind: its children are forked or killed; ASan runs it
*/
#include "btrfs_case.h"
#include "test_base_sweep.h"


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

static void all(void) {
  RUN(what_took_its_name);
  RUN(changed_behind_our_back);
  RUN(not_mounted_now);
  RUN(reverted);
  RUN(not_reverted);
  RUN(dies_while_it_is_reverted);
  RUN(dies_while_it_is_made);
  RUN(dies_while_it_is_taken_away);
  RUN(memory_runs_out);
}

int main(int argc, char **argv) {
  return volumes_main(argc, argv, all);
}
