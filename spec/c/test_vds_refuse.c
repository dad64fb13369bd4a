/*
** What there is, who holds it, and what is refused: on real file systems on
** loop devices.
*/
#include "vds_judge_case.h"

#include <pthread.h>
#include <sys/swap.h>

#include "vds/probe.h"

/* The first danger of a plan. */
static const char *danger_of(const answer *a) {
  const value *denied = value_get(a->output, "denied");
  return denied != NULL && denied->count > 0
             ? text_of(denied->as.items[0], "danger")
             : "";
}

TEST(the_disk_of_the_root_is_never_touched) {
  dev_t dev = 0;
  error *e = vds_about_named("/", &dev);
  error_unref(e);
  if (e != NULL) SKIP("the root of this machine lies on no block device");
  for (int verb = 0; verb < 4; verb++)
    CHECK_REFUSED("/", verb, "{}", "of this machine lives on");
  CHECK_REFUSED("/", 3, "{'force':{'mounted':true,'foreign':true}}",
                "of this machine lives on");
  CHECK_ANSWER(judged("/", 3, "{'force':{'system':true}}"), SAROS_E_INVALIDARG);
  answer a = judged("/", 3, "{'plan':true}");
  CHECK_INT(a.code, 0);
  CHECK(!value_boolean(value_get(a.output, "allowed"), true));
  CHECK_TEXT(danger_of(&a), "system");
  CHECK(!seen_go);
  forget(&a);
}

TEST(what_is_mounted_is_refused_unless_that_is_forced) {
  const volume *v = volumes_get(EXT4);
  if (v == NULL) SKIP(volumes_missing);
  CHECK_REFUSED(v->device, 2, "{}", "is mounted at");
  CHECK_REFUSED(v->device, 3, "{'force':{'foreign':true}}",
                "force = { mounted");
  CHECK_REFUSED(v->device, 2, "{'force':{'mounted':false}}", "is mounted at");
  CHECK_ANSWER(judged(v->device, 4, "{}"), 0);
  CHECK(seen_go);
  CHECK_ANSWER(judged(v->device, 2, "{'force':['mounted']}"), 0);
  CHECK(seen_go);
  CHECK_INT(seen_forced, VDS_DANGER_MOUNTED);
  CHECK_ANSWER(judged(v->device, 2, "{'force':true}"), SAROS_E_INVALIDARG);
  CHECK_ANSWER(judged(v->device, 2, "{'force':{'all':true}}"),
               SAROS_E_INVALIDARG);
}

TEST(a_plan_says_what_would_be_lost) {
  const volume *v = volumes_get(EXT4);
  if (v == NULL) SKIP(volumes_missing);
  answer a = judged(v->device, 3, "{'plan':true}");
  CHECK_INT(a.code, 0);
  CHECK(value_boolean(value_get(a.output, "plan"), false));
  CHECK(!value_boolean(value_get(a.output, "allowed"), true));
  CHECK_TEXT(danger_of(&a), "mounted");
  const value *lost = value_get(a.output, "lost");
  const value *systems = value_get(lost, "file_systems");
  const value *holders = value_get(a.output, "holders");
  CHECK(systems != NULL && systems->count == 1);
  CHECK(holders != NULL && holders->count == 1);
  if (systems != NULL && systems->count == 1) {
    CHECK_TEXT(text_of(systems->as.items[0], "fs"), "ext4");
    CHECK_TEXT(text_of(systems->as.items[0], "path"), v->device);
  }
  if (holders != NULL && holders->count == 1)
    CHECK_TEXT(text_of(holders->as.items[0], "who"), v->path);
  forget(&a);
}

TEST(a_btrfs_is_known_by_its_members) {
  const volume *v = volumes_get(BTRFS);
  if (v == NULL) SKIP(volumes_missing);
  CHECK_REFUSED(v->device, 2, "{}", "is mounted at");
  answer a = ask("volume", "{'path':'%s'}", v->device);
  CHECK_TEXT(text_of(a.output, "mounted"), v->path);
  CHECK_TEXT(text_of(a.output, "fs"), "btrfs");
  CHECK(value_integer(value_get(a.output, "free"), 0) > 0);
  forget(&a);
}

/* A disk whose file lies in it, and a disk over it, hold it. */
TEST(what_stands_on_it_holds_it) {
  const volume *v = volumes_get(EXT4);
  char inner[32], over[32];
  if (v == NULL) SKIP(volumes_missing);
  const char *file = place("inside.img");
  file = volumes_in("%s/inside.img", strrchr(v->path, '/') + 1);
  int fd = open(file, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  CHECK(fd >= 0 && ftruncate(fd, 1 << 20) == 0);
  close(fd);
  int loop = volumes_attach(file, 0, 0, inner);
  CHECK(loop >= 0);
  CHECK_REFUSED(v->device, 2, "{'force':['mounted']}", "detach it first");
  CHECK_REFUSED(v->device, 2, "{'force':['mounted']}", inner);
  int second = volumes_attach(inner, 0, 0, over);
  CHECK(second >= 0);
  CHECK_REFUSED(inner, 2, "{}", over);
  close(second);
  close(loop);
  unlink(file);
}

static int attach_image(unsigned megabytes, char device[32]) {
  return volumes_attach(make_image(megabytes), 0, 0, device);
}

TEST(what_is_foreign_is_refused_unless_that_is_forced) {
  NEED_DISKS();
  char device[32];
  int fd = attach_image(8, device);
  CHECK(fd >= 0);
  const unsigned char luks[] = {'L', 'U', 'K', 'S', 0xBA, 0xBE, 0, 1};
  CHECK_INT(pwrite(fd, luks, sizeof luks, 0), sizeof luks);
  CHECK_INT(fsync(fd), 0);
  CHECK_REFUSED(device, 2, "{}", "crypto_LUKS");
  CHECK_ANSWER(judged(device, 2, "{'force':{'foreign':true}}"), 0);
  CHECK_INT(seen_forced, VDS_DANGER_FOREIGN);
  unsigned count = 0;
  CHECK(vds_probe_wipe(fd, &count) == NULL);
  CHECK(count >= 1);
  CHECK_ANSWER(judged(device, 2, "{}"), 0);
  CHECK_INT(seen_forced, 0);
  close(fd);
}

TEST(swap_in_use_is_refused) {
  NEED_DISKS();
  char device[32];
  int fd = attach_image(16, device);
  CHECK(fd >= 0);
  CHECK_INT(volumes_run("mkswap '%s' >/dev/null 2>&1", device), 0);
  if (swapon(device, 0) != 0) {
    close(fd);
    SKIP("swap cannot be switched on here");
  }
  CHECK_REFUSED(device, 2, "{}", "swap that is in use");
  CHECK_ANSWER(judged(device, 2, "{'force':['swap']}"), 0);
  swapoff(device);
  CHECK_ANSWER(judged(device, 2, "{}"), 0);
  close(fd);
}

/* The same thing seen twice, by another medium in between. */
TEST(another_medium_is_refused_before_all_else) {
  NEED_DISKS();
  char device[32];
  int fd = attach_image(8, device);
  CHECK(fd >= 0);
  value *object = object_of(device);
  value_put(object, "seq", value_int(1)); /* there was one, once */
  value *options = value_map();
  value_put(options, "object", object);
  value_put(options, "verb", value_int(2));
  uint32_t why = 0;
  CHECK_ANSWER(end_of(vds_call_begin(&work, options, NULL, &why)),
               VDS_E_OBJECT_OUT_OF_SYNC);
  CHECK(!seen_go);
  /* Nor is it looked at instead. */
  object = object_of(device);
  value_put(object, "seq", value_int(1));
  options = value_map();
  value_put(options, "object", object);
  CHECK_ANSWER(end_of(begin_with("disk", options)), VDS_E_OBJECT_OUT_OF_SYNC);
  close(fd);
}

TEST(names_and_labels_of_any_bytes) {
  NEED_DISKS();
  char device[32];
  static const char label[] = "a\n\x1b[31m\xff\"z";
  int fd = attach_image(16, device);
  CHECK(fd >= 0);
  CHECK_INT(volumes_run("mke2fs -q -F -t ext4 '%s' >/dev/null 2>&1", device),
            0);
  CHECK_INT(pwrite(fd, label, sizeof label, 1024 + 120), sizeof label);
  CHECK_INT(fsync(fd), 0);
  vds_probe p;
  CHECK(vds_probe_fd(fd, &p) == NULL);
  CHECK_TEXT(p.fs, "ext4");
  answer a = ask("volume", "{'path':'%s'}", device);
  CHECK_INT(a.code, 0);
  CHECK_TEXT(text_of(a.output, "fs"), "ext4");
  forget(&a);
  close(fd);
}

/* Whatever its first bytes say, reading them ends, and believes nothing that
   cannot be. */
TEST(damaged_super_blocks_are_only_read) {
  NEED_DISKS();
  static const char *const types[] = {"ext4", "xfs", "btrfs"};
  unsigned seed = 20260;
  for (size_t k = 0; k < 3; k++) {
    const char *path = make_image(k == 0 ? 16 : 320);
    if (volumes_run("mkfs.%s -q %s '%s' >/dev/null 2>&1", types[k],
                    k == 0 ? "-F" : "-f", path) != 0)
      continue;
    int fd = open(path, O_RDWR | O_CLOEXEC);
    for (int i = 0; fd >= 0 && i < 300; i++) {
      off_t base = k == 0 ? 1024 : k == 1 ? 0 : 65536;
      unsigned char byte = (unsigned char)rand_r(&seed);
      CHECK_INT(pwrite(fd, &byte, 1, base + rand_r(&seed) % 1024), 1);
      vds_probe p;
      vds_usage u;
      error *e = vds_probe_fd(fd, &p);
      if (e == NULL && vds_probe_usage(fd, &p, &u)) CHECK(u.free <= u.size);
      error_unref(e);
    }
    if (fd >= 0) close(fd);
  }
}


/* ------------------------------------------------------------------
** What happens meanwhile
** ---------------------------------------------------------------- */

static saros_op *begin_at(const char *call, const char *device,
                          const char *options) {
  value *v = value_map();
  value_put(v, "object", object_of(device));
  if (*options != '\0') value_put(v, "fs", value_text(options));
  return begin_with(call, v);
}

/* It became a part of something else behind the question. */
static void becomes_foreign(const char *call, const char *fs, const char *step,
                            bool had) {
  char device[32], now[8] = "";
  const unsigned char luks[] = {'L', 'U', 'K', 'S', 0xBA, 0xBE, 0, 1};
  int fd = attach_image(16, device);
  CHECK(fd >= 0);
  int only = had ? open(device, O_RDONLY | O_EXCL | O_CLOEXEC) : -1;
  CHECK((only >= 0) == had);
  hold_at(step);
  saros_op *op = begin_at(call, device, fs);
  await_held();
  if (only >= 0) close(only);
  CHECK_INT(pwrite(fd, luks, sizeof luks, 0), sizeof luks);
  CHECK_INT(fsync(fd), 0);
  let_on();
  answer a = end_of(op);
  CHECK_INT(a.code, VDS_E_OPERATION_DENIED);
  CHECK(said(&a, "crypto_LUKS"));
  forget(&a);
  CHECK_INT(pread(fd, now, sizeof now, 0), sizeof now);
  CHECK(memcmp(now, luks, sizeof now) == 0);
  CHECK_INT(records_left(), 0);
  close(fd);
}

TEST(who_wipes_a_device_asks_when_he_has_it) {
  NEED_DISKS();
  becomes_foreign("clean", "", "clean: taken", false);
  if (!volumes_have("mkswap")) SKIP("no mkswap: apt-get install util-linux");
  becomes_foreign("format", "swap", "format: taken", false);
}

/* Who did not get it at first was told nothing against it, and has it now. */
TEST(who_gets_it_later_asks_again) {
  NEED_DISKS();
  becomes_foreign("clean", "", "clean: permitted", true);
  if (!volumes_have("mkswap")) SKIP("no mkswap: apt-get install util-linux");
  becomes_foreign("format", "swap", "format: permitted", true);
}

/* Cancelled behind it, it says so. */
TEST(what_was_unmounted_for_nothing_is_told) {
  NEED_DISKS();
  volume v;
  if (!volumes_have("mkswap")) SKIP("no mkswap: apt-get install util-linux");
  if (!volume_make(&v, "ext4", 16, NULL, NULL)) SKIP(volumes_missing);
  int fd = open(v.device, O_RDONLY | O_CLOEXEC); /* it stays attached */
  value *options = value_map();
  error *bad = NULL;
  const char *force = "[\"mounted\"]";
  value_put(options, "object", object_of(v.device));
  value_put(options, "fs", value_text("swap"));
  value_put(options, "force", json_read(force, strlen(force), NULL, &bad));
  hold_at("dangers: one ended");
  saros_op *op = begin_with("format", options);
  await_held();
  CHECK_INT(saros_vds_cancel(op), 0);
  let_on();
  answer a = end_of(op);
  CHECK_INT(a.code, VDS_E_OPERATION_CANCELED);
  CHECK(strstr(cleanup_of(a.op), v.path) != NULL);
  CHECK(strstr(cleanup_of(a.op), "is not mounted again") != NULL);
  forget(&a);
  CHECK_INT(mount(v.device, v.path, "ext4", 0, NULL), 0);
  CHECK_INT(umount2(v.path, 0), 0);
  close(fd);
  volume_drop(&v);
}

static void *note_a_size(void *context) {
  vds_identity_resized(context, 1);
  return NULL;
}

/* It was forked while another thread noted a size. */
TEST(a_child_does_not_wait_for_a_thread_of_its_parent) {
  vds_identity who = {.dev = 1, .size = 2};
  pthread_t thread;
  hold_at("resized: noted");
  CHECK_INT(pthread_create(&thread, NULL, note_a_size, &who), 0);
  await_held();
  pid_t child = fork_at_rest();
  if (child == 0) {
    alarm(VDS_CASE_BOUND / 1000);
    vds_identity_forked();
    vds_identity_resized(&who, 1);
    _exit(0);
  }
  CHECK_INT(status_of(child), 0);
  let_on();
  pthread_join(thread, NULL);
}

static void all(void) {
  RUN(the_disk_of_the_root_is_never_touched);
  RUN(what_is_mounted_is_refused_unless_that_is_forced);
  RUN(a_plan_says_what_would_be_lost);
  RUN(a_btrfs_is_known_by_its_members);
  RUN(what_stands_on_it_holds_it);
  RUN(what_is_foreign_is_refused_unless_that_is_forced);
  RUN(swap_in_use_is_refused);
  RUN(another_medium_is_refused_before_all_else);
  RUN(names_and_labels_of_any_bytes);
  RUN(damaged_super_blocks_are_only_read);
  RUN(who_wipes_a_device_asks_when_he_has_it);
  RUN(who_gets_it_later_asks_again);
  RUN(what_was_unmounted_for_nothing_is_told);
  RUN(a_child_does_not_wait_for_a_thread_of_its_parent);
}

int main(int argc, char **argv) {
  return volumes_main(argc, argv, all);
}
