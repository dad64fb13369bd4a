/*
** provider btrfs, on a real one: what it refuses, and what another user than
** root may do.
**
** not under valgrind: its children are forked or killed; ASan runs it
*/
#include <sys/swap.h>

#include "btrfs_case.h"


/* ------------------------------------------------------------------
** What is refused
** ---------------------------------------------------------------- */

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

/* Between prepare and commit. */
TEST(somebody_elses_in_the_last_moment) {
  char path[900];
  error *e = NULL;
  if (!begin()) SKIP(volumes_missing);
  shadow *s = case_plan(&provider_btrfs, home, &e);
  DONE(e);
  DONE(provider_btrfs.prepare(s, NULL));
  mkdir(P("%s/.saros-shadows", top), 0700);
  CHECK(chown(path, 65534, 65534) == 0);
  CHECK(case_says(provider_btrfs.commit(s), SAROS_E_REFUSED,
                  "belongs to somebody else"));
  CHECK_INT(case_entries(path), 0);
  CHECK(rmdir(path) == 0);
  case_drop(s);
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

static void all(void) {
  RUN(refused_here);
  RUN(refused_under_way);
  RUN(swap_file);
  RUN(somebody_elses_directory);
  RUN(somebody_elses_in_the_last_moment);
  RUN(not_the_owner);
  RUN(the_owner);
}

int main(int argc, char **argv) {
  return volumes_main(argc, argv, all);
}
