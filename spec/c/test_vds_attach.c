/*
** Virtual disks: made, attached, grown, detached; what a death at any step
** leaves; and who is kept off whom.
*/
#include "vds_case.h"

#include "vds/blkpg.h"
#include "vds/loop.h"

TEST(a_file_is_there_whole_or_not_at_all) {
  const char *path = place("new.img");
  answer a = ask("create_vdisk", "{'path':'%s','size':1000000}", path);
  CHECK_INT(a.code, 0);
  CHECK_INT(value_integer(value_get(a.output, "vds_type"), 0), 200);
  CHECK_INT(value_integer(value_get(a.output, "size"), 0), 1000448);
  CHECK_TEXT(text_of(a.output, "path"), path);
  forget(&a);
  a = ask("create_vdisk", "{'path':'%s','size':512}", path);
  CHECK_INT(a.code, VDS_S_ALREADY_EXISTS);
  CHECK_INT(value_integer(value_get(a.output, "size"), 0), 1000448);
  forget(&a);
  CHECK_ANSWER(ask("create_vdisk", "{'path':'%s/no/x','size':512}", path),
               VDS_E_PATH_NOT_FOUND);
  CHECK_ANSWER(ask("create_vdisk", "{'path':'x','size':512}"),
               SAROS_E_INVALIDARG);
  CHECK_ANSWER(ask("create_vdisk", "{'path':'%s','size':0}", path),
               SAROS_E_INVALIDARG);
  CHECK_ANSWER(ask("open_vdisk", "{'path':'%s'}", place("none")),
               VDS_E_PATH_NOT_FOUND);
  CHECK_ANSWER(ask("open_vdisk", "{'path':'%s'}", volumes_scratch),
               VDS_E_OPERATION_DENIED);
}

TEST(full_means_allocated) {
  const char *path = place("full.img");
  answer a =
      ask("create_vdisk", "{'path':'%s','size':8388608,'full':true}", path);
  CHECK_INT(a.code, 0);
  CHECK(value_integer(value_get(a.output, "allocated"), 0) >= 8388608);
  forget(&a);
}

TEST(a49_a_full_disk_leaves_nothing) {
  NEED_DISKS();
  const char *dir = place("small");
  mkdir(dir, 0700);
  if (mount("small", dir, "tmpfs", 0, "size=4m") != 0)
    SKIP("no tmpfs can be mounted here");
  CHECK_ANSWER(ask("create_vdisk",
                   "{'path':'%s/x.img','size':16777216,'full':true}", dir),
               0x80070070u);
  DIR *d = opendir(dir);
  for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;)
    CHECK(e->d_name[0] == '.' && strlen(e->d_name) <= 2);
  if (d != NULL) closedir(d);
  umount2(dir, MNT_DETACH);
}

static answer attach(const char *path, const char *more) {
  return ask("attach", "{'path':'%s'%s}", path, more);
}

TEST(attached_and_detached) {
  NEED_DISKS();
  const char *path = make_image(8);
  answer a = attach(path, "");
  CHECK_INT(a.code, 0);
  CHECK_INT(value_integer(value_get(a.output, "vds_type"), 0), 201);
  CHECK_INT(value_integer(value_get(a.output, "size"), 0), 8 << 20);
  CHECK_TEXT(text_of(a.output, "file"), path);
  vds_identity who;
  CHECK(vds_identity_get(a.output, &who));
  char node[80];
  snprintf(node, sizeof node, "%s", text_of(a.output, "path"));
  forget(&a);
  CHECK_INT(records_left(), 1);
  a = attach(path, "");
  CHECK_INT(a.code, VDS_E_OBJECT_EXISTS);
  CHECK(strstr(a.message, node) != NULL);
  forget(&a);
  CHECK_INT(records_left(), 1);
  /* A directory of the file's own name is not what was attached. */
  a = ask("virtual_disks", "{}");
  CHECK(a.output != NULL && a.output->count == 1);
  forget(&a);
  CHECK_ANSWER(ask("detach", "{'path':'%s'}", path), 0);
  CHECK_INT(records_left(), 0);
  CHECK_INT(volumes_loops(false), 0);
  CHECK_ANSWER(ask("detach", "{'path':'%s'}", path), VDS_E_OBJECT_NOT_FOUND);
  /* The number may be another one's now: nobody is taken for it. */
  vds_target t;
  error *e = vds_target_open(&who, VDS_OPEN_WRITE, &t);
  CHECK(e != NULL && (e->code == VDS_E_OBJECT_DELETED ||
                      e->code == VDS_E_OBJECT_OUT_OF_SYNC));
  error_unref(e);
}

static const char *raced;

/* Somebody attaches it who asked before we had. */
static void race(const char *step) {
  if (strcmp(step, "attach: attached") != 0) return;
  CHECK_INT(volumes_run("losetup -f '%s'", raced), 0);
}

TEST(two_at_once_are_not_both_right) {
  NEED_DISKS();
  raced = make_image(8);
  atomic_store(&vds_hook, race);
  CHECK_ANSWER(attach(raced, ""), VDS_E_OBJECT_EXISTS);
  atomic_store(&vds_hook, NULL);
  CHECK(loops_become(1));
  CHECK_INT(records_left(), 0);
  volumes_loops(true);
  CHECK(loops_become(0));
}

TEST(the_same_number_with_another_medium_is_refused) {
  NEED_DISKS();
  const char *one = make_image(8), *other = make_image(8);
  vds_identity who;
  answer a = attach(one, "");
  CHECK(vds_identity_get(a.output, &who));
  forget(&a);
  CHECK_ANSWER(ask("detach", "{'path':'%s'}", one), 0);
  a = attach(other, "");
  vds_identity now;
  CHECK(vds_identity_get(a.output, &now));
  forget(&a);
  if (now.dev == who.dev) { /* as a rule: the lowest one that is free */
    vds_target t;
    error *e = vds_target_open(&who, VDS_OPEN_WRITE | VDS_OPEN_EXCLUSIVE, &t);
    CHECK(e != NULL && e->code == VDS_E_OBJECT_OUT_OF_SYNC);
    error_unref(e);
    CHECK_INT(t.fd, -1);
  }
  CHECK_ANSWER(ask("detach", "{'path':'%s'}", other), 0);
}

TEST(grown_while_attached_it_is_still_the_same) {
  NEED_DISKS();
  const char *path = make_image(8);
  vds_identity who;
  answer a = attach(path, "");
  CHECK(vds_identity_get(a.output, &who));
  forget(&a);
  CHECK_ANSWER(ask("expand", "{'path':'%s','size':16777216}", path), 0);
  vds_target t;
  error *e = vds_target_open(&who, VDS_OPEN_WRITE | VDS_OPEN_EXCLUSIVE, &t);
  CHECK(e == NULL);
  CHECK_INT(t.is.size, 16777216);
  error_unref(e);
  vds_target_close(&t);
  CHECK_ANSWER(ask("expand", "{'path':'%s','size':8388608}", path),
               VDS_E_INVALID_SPACE);
  CHECK_ANSWER(ask("detach", "{'path':'%s'}", path), 0);
}

/* Somebody else's size is somebody else's disk. */
TEST(grown_behind_our_back_it_is_another_one) {
  NEED_DISKS();
  const char *path = make_image(8);
  vds_identity who;
  error *e = NULL;
  answer a = attach(path, "");
  CHECK(vds_identity_get(a.output, &who));
  forget(&a);
  CHECK_INT(truncate(path, 12 << 20), 0);
  int file = open(path, O_RDWR | O_CLOEXEC);
  int fd = vds_attached_open(who.dev, file, &e);
  CHECK(fd >= 0);
  CHECK(vds_loop_resize(fd) == NULL);
  close(fd);
  close(file);
  vds_target t;
  e = vds_target_open(&who, VDS_OPEN_WRITE, &t);
  CHECK(e != NULL && e->code == VDS_E_OBJECT_OUT_OF_SYNC);
  error_unref(e);
  CHECK_ANSWER(ask("detach", "{'path':'%s'}", path), 0);
}

TEST(who_has_it_open_keeps_it_attached) {
  NEED_DISKS();
  const char *path = make_image(8);
  answer a = attach(path, ",'persistent':true");
  int fd = open(text_of(a.output, "path"), O_RDONLY | O_CLOEXEC);
  CHECK(fd >= 0);
  forget(&a);
  somebody_stays = true;
  CHECK_ANSWER(ask("detach", "{'path':'%s'}", path), VDS_E_DEVICE_IN_USE);
  somebody_stays = false;
  CHECK_INT(records_left(), 1);
  close(fd);
  CHECK_INT(volumes_loops(false), 1); /* it did not go with that */
  CHECK_ANSWER(ask("detach", "{'path':'%s'}", path), 0);
  CHECK_INT(volumes_loops(false), 0);
}

TEST(what_others_attached_is_theirs) {
  NEED_DISKS();
  char device[32];
  const char *path = make_image(8);
  int fd = volumes_attach(path, 0, 0, device);
  CHECK(fd >= 0);
  CHECK_ANSWER(ask("detach", "{'path':'%s'}", path), VDS_E_OPERATION_DENIED);
  CHECK_ANSWER(attach(path, ""), VDS_E_OBJECT_EXISTS);
  close(fd);
}

TEST(partitions_come_and_go_with_it) {
  NEED_DISKS();
  if (!volumes_have("sfdisk")) SKIP("no sfdisk: apt-get install fdisk");
  const char *path = make_image(64);
  CHECK_INT(volumes_run("printf 'label: gpt\\n,16M\\n,16M\\n' | "
                        "sfdisk -q --no-tell-kernel '%s' >/dev/null 2>&1",
                        path),
            0);
  answer a = attach(path, "");
  vds_identity who;
  CHECK(vds_identity_get(a.output, &who));
  forget(&a);
  a = ask("disk",
          "{'object':{'major':%u,'minor':%u,'disk_major':%u,"
          "'disk_minor':%u,'size':%llu,'number':0}}",
          major(who.dev), minor(who.dev), major(who.dev), minor(who.dev),
          (unsigned long long)who.size);
  const value *parts = value_get(a.output, "partitions");
  CHECK(parts != NULL && parts->count == 2);
  CHECK_TEXT(text_of(a.output, "style"), "gpt");
  char node[80] = "";
  if (parts != NULL && parts->count == 2) {
    const value *first = parts->as.items[0];
    snprintf(node, sizeof node, "%s", text_of(first, "path"));
    CHECK_INT(value_integer(value_get(first, "number"), 0), 1);
    CHECK_INT(value_integer(value_get(first, "size"), 0), 16 << 20);
    CHECK_TEXT(text_of(first, "fs"), "raw");
  }
  forget(&a);
  /* A partition that is held holds its disk. */
  int fd = open(node, O_RDONLY | O_EXCL | O_CLOEXEC);
  CHECK(fd >= 0);
  somebody_stays = true;
  CHECK_ANSWER(ask("detach", "{'path':'%s'}", path), VDS_E_DEVICE_IN_USE);
  somebody_stays = false;
  CHECK_INT(access(node, F_OK), 0); /* and both are there as before */
  close(fd);
  CHECK_ANSWER(ask("detach", "{'path':'%s'}", path), 0);
  CHECK(access(node, F_OK) != 0);
}


/* What is forced is done first; what is not is not done at all. */
TEST(forced_it_is_unmounted_first) {
  NEED_DISKS();
  const char *path = make_image(16), *at = place("at");
  mkdir(at, 0700);
  if (volumes_run("mke2fs -q -F '%s' >/dev/null 2>&1", path) != 0)
    SKIP("no ext2 can be made here");
  answer a = attach(path, "");
  char node[80];
  snprintf(node, sizeof node, "%s", text_of(a.output, "path"));
  forget(&a);
  CHECK_INT(mount(node, at, "ext4", 0, NULL), 0);
  CHECK_ANSWER(ask("detach", "{'path':'%s','force':['swap']}", path),
               VDS_E_OPERATION_DENIED);
  /* Somebody is in it. */
  int fd = open(at, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  CHECK_ANSWER(ask("detach", "{'path':'%s','force':['mounted']}", path),
               VDS_E_DEVICE_IN_USE);
  close(fd);
  CHECK_INT(volumes_loops(false), 1);
  /* Something else is mounted over it: that is not ours to unmount. */
  CHECK_INT(mount("over", at, "tmpfs", 0, NULL), 0);
  CHECK_ANSWER(ask("detach", "{'path':'%s','force':['mounted']}", path),
               VDS_E_DEVICE_IN_USE);
  CHECK_INT(umount2(at, 0), 0);
  CHECK_ANSWER(ask("detach", "{'path':'%s','force':['mounted']}", path), 0);
  CHECK_INT(volumes_loops(false), 0);
  CHECK_INT(umount2(at, 0), -1); /* nothing is mounted there any more */
}


/* ------------------------------------------------------------------
** One at a time
** ---------------------------------------------------------------- */

TEST(one_operation_per_object) {
  const char *path = place("busy.img");
  hold_at("create: whole");
  saros_op *first = begin("create_vdisk", "{'path':'%s','size':512}", path);
  await_held();
  answer b = ask("create_vdisk", "{'path':'%s','size':512}", path);
  CHECK_INT(b.code, VDS_E_ANOTHER_CALL_IN_PROGRESS);
  CHECK(strstr(b.message, "vds.create_vdisk") != NULL);
  forget(&b);
  let_on();
  CHECK_ANSWER(end_of(first), 0);
  CHECK_ANSWER(ask("create_vdisk", "{'path':'%s','size':512}", path),
               VDS_S_ALREADY_EXISTS);
}

/* What was cancelled holds it until it is unwound, and then no longer. */
TEST(cancelled_it_was_never_there) {
  static const char *const steps[] = {"create: slice", "create: whole"};
  const char *path = place("cancelled.img");
  for (size_t i = 0; i < 2; i++) {
    hold_at(steps[i]);
    saros_op *op = begin("create_vdisk",
                         "{'path':'%s','size':268435456,'full':true}", path);
    await_held();
    CHECK_INT(saros_vds_cancel(op), 0);
    CHECK_INT(saros_vds_cancel(op), VDS_E_OPERATION_CANCELED);
    uint32_t hr = 0, percent = 0;
    CHECK_INT(saros_vds_query_status(op, &hr, &percent), 0);
    CHECK_INT(hr, VDS_E_OPERATION_CANCELED);
    CHECK_INT(saros_op_wait(op, 0), 0); /* it is not unwound */
    CHECK_ANSWER(ask("create_vdisk", "{'path':'%s','size':512}", path),
                 VDS_E_ANOTHER_CALL_IN_PROGRESS);
    let_on();
    CHECK_ANSWER(end_of(op), VDS_E_OPERATION_CANCELED);
    CHECK(access(path, F_OK) != 0);
  }
  hold_at("create: named");
  saros_op *op = begin("create_vdisk", "{'path':'%s','size':512}", path);
  await_held();
  CHECK_INT(saros_vds_cancel(op), VDS_E_CANCEL_TOO_LATE);
  let_on();
  CHECK_ANSWER(end_of(op), 0);
  CHECK_INT(access(path, F_OK), 0);
}

TEST(a_cancelled_attach_leaves_no_device) {
  NEED_DISKS();
  static const char *const steps[] = {"attach: record written",
                                      "attach: attached", "attach: recorded",
                                      "attach: surfaced", "attach: kept"};
  const char *path = make_image(8);
  for (size_t i = 0; i < sizeof steps / sizeof *steps; i++) {
    hold_at(steps[i]);
    saros_op *op = begin("attach", "{'path':'%s','persistent':true}", path);
    await_held();
    CHECK_INT(saros_vds_cancel(op), 0);
    let_on();
    CHECK_ANSWER(end_of(op), VDS_E_OPERATION_CANCELED);
    CHECK_INT(volumes_loops(false), 0);
    CHECK_INT(records_left(), 0);
  }
}


/* ------------------------------------------------------------------
** Death
** ---------------------------------------------------------------- */

/* A process that attaches, and dies at the n-th step. Whether it came to that
   step. */
static bool die_attaching(const char *path, bool persistent, int step) {
  pid_t child = fork_at_rest();
  if (child == 0) {
    atomic_store(&vds_dies_at, step);
    answer a = attach(path, persistent ? ",'persistent':true" : "");
    _exit(a.code == 0 ? 0 : 1);
  }
  return has_died(child);
}

/* Nothing is attached that nobody knows of: what is not there for good is gone
   with its process; what is there for good has its record; and reap leaves
   neither a device nor a record of a half. */
static void death(bool persistent) {
  const char *path = make_image(8);
  int step = 1;
  while (die_attaching(path, persistent, step)) {
    size_t left = (size_t)volumes_loops(false);
    CHECK(left <= records_left());
    if (!persistent) CHECK(loops_become(0));
    answer a = ask("reap", "{}");
    CHECK_INT(a.code, 0);
    forget(&a);
    left = (size_t)volumes_loops(false);
    CHECK_INT(left, records_left());
    if (left > 0) CHECK_ANSWER(ask("detach", "{'path':'%s'}", path), 0);
    CHECK_INT(volumes_loops(false), 0);
    CHECK_INT(records_left(), 0);
    step++;
  }
  CHECK(step > 5);
  /* It lived on: then a persistent one does, too, and another process detaches
     it. */
  CHECK(loops_become(persistent ? 1 : 0));
  CHECK_ANSWER(ask("reap", "{}"), 0);
  CHECK_INT(records_left(), persistent ? 1 : 0);
  if (persistent) CHECK_ANSWER(ask("detach", "{'path':'%s'}", path), 0);
  CHECK_INT(volumes_loops(false), 0);
  CHECK_INT(records_left(), 0);
}

TEST(death_at_every_step) {
  NEED_DISKS();
  death(false);
}

TEST(death_at_every_step_of_what_stays) {
  NEED_DISKS();
  death(true);
}

/* A device that goes by itself while it is reaped: its number may be another
   one's when it is opened. */
TEST(a_number_that_was_taken_meanwhile_is_not_reaped) {
  NEED_DISKS();
  const char *path = make_image(8), *other = make_image(8);
  pid_t child = fork_at_rest();
  if (child == 0) {
    dies_behind = "attach: kept";
    atomic_store(&vds_hook, die_hook);
    attach(path, ",'persistent':true");
    _exit(1);
  }
  int status = 0, file = open(path, O_RDWR | O_CLOEXEC);
  while (waitpid(child, &status, 0) < 0 && errno == EINTR) continue;
  CHECK(WIFSIGNALED(status));
  CHECK_INT(volumes_loops(false), 1);
  hold_at("reap: found");
  saros_op *op = begin("reap", "{}");
  await_held();
  bool ours, gone;
  char device[32] = "";
  error *e = NULL;
  dev_t dev;
  CHECK(vds_attached(file, &dev, &ours) == NULL);
  int fd = vds_attached_open(dev, file, &e);
  CHECK(fd >= 0 && ours);
  CHECK(vds_loop_detach(fd, dev, &gone) == NULL && gone);
  int taken = volumes_attach(other, 0, 0, device); /* as a rule the same */
  CHECK(taken >= 0);
  let_on();
  CHECK_ANSWER(end_of(op), 0);
  CHECK_INT(volumes_loops(false), 1);
  CHECK_INT(records_left(), 0);
  close(taken);
  close(file);
  CHECK(loops_become(0));
}

TEST(a_damaged_record_is_set_aside) {
  const char *dir = place("damaged");
  error *e = NULL;
  mkdir(dir, 0700);
  char *at = vds_records_at(dir, &e);
  CHECK(at != NULL);
  static const char *const texts[] = {
      "",
      "{",
      "[]",
      "{\"version\":1}",
      "{\"version\":2,\"id\":\"x\"}",
      "{\"version\":1,\"id\":\"00000000-0000-4000-8000-000000000000\"}"};
  for (unsigned i = 0; i < sizeof texts / sizeof *texts; i++) {
    char name[5000];
    snprintf(name, sizeof name, "%s/%u.json", at, i);
    FILE *f = fopen(name, "w");
    if (f != NULL) fputs(texts[i], f);
    if (f != NULL) fclose(f);
  }
  value *list = vds_record_list(at, &e);
  CHECK(list != NULL && list->count == 0);
  value_free(list);
  answer a = ask("reap", "{'state_dir':'%s'}", dir);
  CHECK_INT(a.code, 0);
  forget(&a);
  mem_free(at);
}

static void all(void) {
  RUN(a_file_is_there_whole_or_not_at_all);
  RUN(full_means_allocated);
  RUN(a49_a_full_disk_leaves_nothing);
  RUN(death_at_every_step);
  RUN(death_at_every_step_of_what_stays);
  RUN(attached_and_detached);
  RUN(two_at_once_are_not_both_right);
  RUN(the_same_number_with_another_medium_is_refused);
  RUN(grown_while_attached_it_is_still_the_same);
  RUN(grown_behind_our_back_it_is_another_one);
  RUN(who_has_it_open_keeps_it_attached);
  RUN(what_others_attached_is_theirs);
  RUN(partitions_come_and_go_with_it);
  RUN(forced_it_is_unmounted_first);
  RUN(one_operation_per_object);
  RUN(cancelled_it_was_never_there);
  RUN(a_cancelled_attach_leaves_no_device);
  RUN(a_number_that_was_taken_meanwhile_is_not_reaped);
  RUN(a_damaged_record_is_set_aside);
}

int main(int argc, char **argv) {
  return volumes_main(argc, argv, all);
}
