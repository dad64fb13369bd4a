/*
** The provider `lvm`, in a guest that has a device mapper (spec/vm): there this
** program is run again, with SAROS_GUEST set, and its tests are counted here
** as one.
**
** not under valgrind: its children are forked or killed; ASan runs it
*/
#include "shadow_case.h"
#include "vss/provider/lvm_parts.h"

TEST(not_on_a_logical_volume) {
  error *e = NULL;
  CHECK(case_plan(&provider_lvm, volumes_scratch, &e) == NULL);
  CHECK(case_says(e, VSS_E_VOLUME_NOT_SUPPORTED_BY_PROVIDER,
                  "not on a logical volume"));
}


/* ------------------------------------------------------------------
** In the guest: /dev/vdb is an empty disk
** ---------------------------------------------------------------- */

static char mounted[300]; /* where the original of the running test is */

/* A volume with a file system, mounted; false when it was not made. */
static bool make_volume(bool thin, const char *type) {
  static unsigned number;
  number++;
  snprintf(mounted, sizeof mounted, "%s", volumes_in("lv%u", number));
  mkdir(mounted, 0755);
  int r = thin ? volumes_run(
                     "lvcreate -q -y -V 400M -T vg/pool -n lv%u "
                     ">/dev/null",
                     number)
               : volumes_run("lvcreate -q -y -L 340M vg -n lv%u >/dev/null",
                             number);
  if (r == 0)
    r = volumes_run("mkfs.%s -q /dev/vg/lv%u && mount /dev/vg/lv%u '%s'", type,
                    number, number, mounted);
  CHECK_INT(r, 0);
  return r == 0;
}

static void drop_volume(void) {
  volumes_run("umount '%s'; lvremove -q -y vg/%s >/dev/null", mounted,
              strrchr(mounted, '/') + 1);
}

static bool any_left(void) {
  return volumes_run("lvs --noheadings -o lv_name vg | grep -q saros_") == 0;
}

static void make_data(void) {
  char p[700];
  snprintf(p, sizeof p, "%s/app", mounted);
  mkdir(p, 0755);
  snprintf(p, sizeof p, "%s/app/before", mounted);
  case_put(p, "not written out"); /* the snapshot has it all the same */
}

static void one_kind(bool thin, const char *type) {
  char p[1000], place[700];
  if (!make_volume(thin, type)) return;
  make_data();
  snprintf(p, sizeof p, "%s/app", mounted);
  shadow *s = case_shadow(&provider_lvm, p);
  CHECK(s != NULL);
  if (s == NULL) return;
  snprintf(place, sizeof place, "%s", s->place);
  snprintf(p, sizeof p, "%s/app/after", mounted);
  case_put(p, "after");
  snprintf(p, sizeof p, "%s/app/before", mounted);
  case_put(p, "changed since");
  snprintf(p, sizeof p, "%s/before", s->path);
  CHECK_TEXT(case_get(p), "not written out");
  snprintf(p, sizeof p, "%s/after", s->path);
  CHECK(access(p, F_OK) != 0);
  CHECK(open(p, O_CREAT | O_WRONLY, 0600) < 0);
  CHECK_INT(errno, EROFS);
  CHECK_INT(s->warnings->count, thin ? 0 : 1);
  CHECK_INT(value_boolean(value_get(s->keep, "thin"), !thin), thin);
  DONE(case_verify(&provider_lvm));
  case_drop(s);
  CHECK_INT(case_entries(place), -1);
  CHECK(!any_left());
  drop_volume();
}

TEST(thin_ext4) {
  one_kind(true, "ext4");
}

TEST(thin_xfs) {
  one_kind(true, "xfs");
}

TEST(classic_ext4) {
  one_kind(false, "ext4");
}

TEST(classic_xfs) {
  one_kind(false, "xfs");
}

static void take_and_drop(void) {
  engine_acquire();
  case_drop(case_shadow(&provider_lvm, mounted));
  engine_release();
}

TEST(killed_at_any_point) {
  if (!make_volume(true, "ext4")) return;
  make_data();
  bool ended = false;
  int n = 0;
  unlink(volumes_in("record.json"));
  int before = case_entries(volumes_scratch);
  while (!ended && n < 60) {
    snprintf(case_file, sizeof case_file, "%s", volumes_in("record.json"));
    ended = case_dies_at(++n, take_and_drop);
    DONE(case_destroy(&provider_lvm));
    DONE(case_destroy(&provider_lvm)); /* and again */
    unlink(case_file);
    CHECK_INT(case_entries(volumes_scratch), before);
    CHECK(!any_left());
  }
  CHECK(ended && n > 10);
  drop_volume();
}

TEST(somebody_elses_volume) {
  error *e = NULL;
  if (!make_volume(true, "ext4")) return;
  shadow *s = case_plan(&provider_lvm, mounted, &e);
  DONE(e);
  /* It has the name and not the tag. */
  CHECK_INT(volumes_run("lvcreate -q -y -V 20M -T vg/pool -n saros_%s "
                        ">/dev/null",
                        s->id),
            0);
  DONE(s->provider->prepare(s, NULL));
  CHECK(case_says(s->provider->commit(s), VSS_E_UNEXPECTED_PROVIDER_ERROR,
                  "already exists"));
  s->provider->forget(s);
  CHECK(case_says(case_destroy(&provider_lvm), SAROS_E_REFUSED,
                  "somebody else's"));
  CHECK(any_left());
  CHECK_INT(volumes_run("lvremove -q -y vg/saros_%s >/dev/null", s->id), 0);
  DONE(case_destroy(&provider_lvm));
  shadow_free(s);
  drop_volume();
}

TEST(removed_behind_our_back) {
  if (!make_volume(true, "ext4")) return;
  shadow *s = case_shadow(&provider_lvm, mounted);
  CHECK_INT(volumes_run("umount '%s/root'; lvremove -q -y vg/saros_%s "
                        ">/dev/null",
                        s->place, s->id),
            0);
  CHECK(case_says(case_verify(&provider_lvm), VSS_E_OBJECT_NOT_FOUND,
                  "was removed"));
  case_drop(s);
  drop_volume();
}

/* A restart takes the mount, and can leave the volume inactive. */
TEST(after_a_restart) {
  char p[1000], root[700], *device = NULL;
  if (!make_volume(true, "ext4")) return;
  make_data();
  shadow *s = case_shadow(&provider_lvm, mounted);
  if (s == NULL) return;
  provider_lvm.forget(s); /* its maker goes, and lets go of the lock */
  value *keep = case_keep(case_file);
  snprintf(root, sizeof root, "%s/root", s->place);
  snprintf(p, sizeof p, "%s/app/before", s->path);
  CHECK(provider_lvm.surfaced(keep));
  for (int active = 1; active >= 0; active--) {
    CHECK_INT(umount2(root, 0), 0);
    if (!active)
      CHECK_INT(volumes_run("lvchange -q -an vg/saros_%s", s->id), 0);
    CHECK(!provider_lvm.surfaced(keep) && case_get(p) == NULL);
    DONE(provider_lvm.surface(keep, NULL, &device));
    CHECK_TEXT(device, s->device);
    mem_free(device);
    CHECK(provider_lvm.surfaced(keep));
    CHECK_TEXT(case_get(p), "not written out");
    CHECK(open(p, O_RDWR | O_CLOEXEC) < 0 && errno == EROFS);
    DONE(provider_lvm.surface(keep, NULL, &device)); /* and again */
    mem_free(device);
    DONE(case_verify(&provider_lvm));
  }
  CHECK_INT(umount2(root, 0), 0);
  CHECK_INT(mount("t", root, "tmpfs", 0, NULL), 0);
  CHECK(case_says(provider_lvm.surface(keep, NULL, &device),
                  VSS_E_OBJECT_NOT_FOUND, "hidden"));
  CHECK(device == NULL);
  CHECK_INT(umount2(root, 0), 0);
  CHECK(chmod(s->place, 0755) == 0);
  CHECK(case_says(provider_lvm.surface(keep, NULL, &device), SAROS_E_REFUSED,
                  "ours alone"));
  CHECK(chmod(s->place, 0700) == 0);
  value_free(keep);
  case_drop(s);
  CHECK(!any_left());
  drop_volume();
}

static void loosened(bool thin) {
  char p[1000], root[700], *device = NULL, *stays;
  if (!make_volume(thin, "ext4")) return;
  make_data();
  shadow *s = case_shadow(&provider_lvm, mounted);
  if (s == NULL) return;
  provider_lvm.forget(s);
  value *keep = case_keep(case_file);
  snprintf(root, sizeof root, "%s/root", s->place);
  stays = provider_lvm.stays(keep);
  CHECK_TEXT(stays, s->device);
  mem_free(stays);
  snprintf(p, sizeof p, "%s/app/before", s->path);
  int fd = open(p, O_RDONLY | O_CLOEXEC);
  CHECK(case_says(provider_lvm.loosen(keep, &device), VSS_E_VOLUME_IN_USE,
                  "in use"));
  CHECK(device == NULL);
  DONE(case_verify(&provider_lvm));
  CHECK_TEXT(case_get(p), "not written out");
  close(fd);
  for (int again = 0; again < 2; again++) {
    DONE(provider_lvm.loosen(keep, &device));
    CHECK_TEXT(device, s->device);
    mem_free(device);
    CHECK_INT(case_entries(s->place), -1);
  }
  snprintf(p, sizeof p, "%s", volumes_in("loose"));
  mkdir(p, 0755);
  CHECK_INT(volumes_run("mount '%s' '%s'", s->device, p), 0);
  snprintf(p, sizeof p, "%s", volumes_in("loose/app/before"));
  CHECK_TEXT(case_get(p), "not written out");
  case_put(p, "written to");
  CHECK_TEXT(case_get(p), "written to");
  CHECK_INT(volumes_run("umount '%s'", volumes_in("loose")), 0);
  rmdir(volumes_in("loose"));
  CHECK(any_left());
  DONE(case_destroy(&provider_lvm)); /* its record is still there */
  CHECK(!any_left());
  CHECK(case_says(provider_lvm.loosen(keep, &device), VSS_E_OBJECT_NOT_FOUND,
                  "was removed"));
  value_free(keep);
  shadow_free(s);
  drop_volume();
}

TEST(loosened_thin) {
  loosened(true);
}

TEST(loosened_classic) {
  loosened(false);
}

static void loosen_it(void) {
  char *device = NULL;
  value *keep = case_keep(case_file);
  engine_acquire();
  DONE(provider_lvm.loosen(keep, &device));
  engine_release();
  mem_free(device);
  value_free(keep);
}

/* Whatever it left, the next one goes on. */
TEST(killed_while_it_loosens) {
  if (!make_volume(true, "ext4")) return;
  make_data();
  bool ended = false;
  int n = 0;
  while (!ended && n < 20) {
    engine_acquire();
    shadow *s = case_shadow(&provider_lvm, mounted);
    provider_lvm.forget(s);
    engine_release();
    ended = case_dies_at(++n, loosen_it);
    case_dies_at(1000, loosen_it);
    CHECK_INT(volumes_run("lvs --noheadings -o lv_attr vg/saros_%s | grep -q "
                          "' .w'",
                          s->id),
              0);
    CHECK_INT(case_entries(s->place), -1);
    DONE(case_destroy(&provider_lvm));
    CHECK(!any_left());
    shadow_free(s);
  }
  CHECK(ended && n > 3);
  drop_volume();
}

TEST(more_changed_than_fits) {
  if (!make_volume(false, "ext4")) return;
  char p[700];
  snprintf(p, sizeof p, "%s/fill", mounted);
  CHECK_INT(volumes_run("head -c 200M /dev/urandom >'%s'; sync", p), 0);
  shadow *s = case_shadow(&provider_lvm, mounted);
  CHECK_INT(volumes_run("head -c 200M /dev/urandom | dd of='%s' bs=1M "
                        "conv=notrunc,fsync iflag=fullblock 2>/dev/null",
                        p),
            0);
  CHECK(case_says(case_verify(&provider_lvm), VSS_E_OBJECT_NOT_FOUND,
                  "it was full"));
  case_drop(s);
  CHECK(!any_left());
  drop_volume();
}

TEST(no_room_in_the_group) {
  error *e = NULL;
  if (!make_volume(false, "ext4")) return;
  CHECK_INT(volumes_run("lvcreate -q -y -l 100%%FREE vg -n rest >/dev/null"),
            0);
  CHECK(case_plan(&provider_lvm, mounted, &e) == NULL);
  CHECK(case_says(e, VSS_E_INSUFFICIENT_STORAGE, "vg has 0 MiB free"));
  volumes_run("lvremove -q -y vg/rest >/dev/null");
  drop_volume();
}

static void as_user(void) {
  error *e = NULL;
  CHECK(case_plan(&provider_lvm, mounted, &e) == NULL);
  CHECK(case_says(e, SAROS_E_ACCESSDENIED, "CAP_SYS_ADMIN"));
}

TEST(for_a_user) {
  if (!make_volume(true, "ext4")) return;
  chmod(volumes_scratch, 0711);
  case_as_user(65534, as_user);
  drop_volume();
}

static void guest(void) {
  CHECK_INT(volumes_run("vgcreate -q vg /dev/vdb >/dev/null && "
                        "lvcreate -q -y -L 1500M -T vg/pool >/dev/null 2>&1"),
            0);
  engine_acquire();
  RUN(thin_ext4);
  RUN(thin_xfs);
  RUN(classic_ext4);
  RUN(classic_xfs);
  RUN(somebody_elses_volume);
  RUN(removed_behind_our_back);
  RUN(after_a_restart);
  RUN(loosened_thin);
  RUN(loosened_classic);
  RUN(more_changed_than_fits);
  RUN(no_room_in_the_group);
  engine_release(); /* these fork */
  RUN(killed_at_any_point);
  RUN(killed_while_it_loosens);
  RUN(for_a_user);
}


/* ------------------------------------------------------------------
** On the host
** ---------------------------------------------------------------- */

static char last_line[500];

/* Its output is ours, each line marked; its status. */
static int run_and_show(const char *command) {
  char line[500];
  FILE *f = popen(command, "r");
  while (f != NULL && fgets(line, sizeof line, f) != NULL) {
    line[strcspn(line, "\n")] = 0;
    printf("  guest: %s\n", line);
    snprintf(last_line, sizeof last_line, "%s", line);
  }
  int status = f != NULL ? pclose(f) : -1;
  return WIFEXITED(status) ? WEXITSTATUS(status) : 255;
}

TEST(in_a_guest) {
  static char reason[600];
  char command[1500], self[500];
  const char *build = getenv("SAROS_BUILD");
  if (getenv("SAROS_LONG") == NULL)
    SKIP("LVM needs a guest, which takes minutes: make test-long");
  if (getenv("SAROS_SANITIZER") != NULL)
    SKIP("under a sanitizer or valgrind no guest is started");
  ssize_t n = readlink("/proc/self/exe", self, sizeof self - 1);
  self[n > 0 ? n : 0] = 0;
  snprintf(command, sizeof command, "spec/vm/build '%s/vm' 2>&1",
           build != NULL ? build : "build");
  int r = run_and_show(command);
  if (r == 0) {
    snprintf(command, sizeof command,
             "spec/vm/run -d 4G -e SAROS_GUEST=1 -t 900 '%s/vm' '%s' 2>&1",
             build != NULL ? build : "build", self);
    r = run_and_show(command);
  }
  if (r == 77) {
    snprintf(reason, sizeof reason, "no guest here: %s", last_line);
    SKIP(reason);
  }
  CHECK_INT(r, 0);
  CHECK(strstr(last_line, " passed, 0 failed, 0 skipped") != NULL);
}

static void host(void) {
  RUN(not_on_a_logical_volume);
  RUN(in_a_guest);
}

int main(int argc, char **argv) {
  return volumes_main(argc, argv, getenv("SAROS_GUEST") != NULL ? guest : host);
}
