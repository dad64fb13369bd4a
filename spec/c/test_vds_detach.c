/*
** Attaching and detaching among others: who takes a number, comes, goes or
** makes a disk larger in the middle; and disks that cannot be looked at.
*/
#include "vds_left_case.h"

#include <sys/resource.h>

#include "vds/loop.h"

static answer attach(const char *path, const char *more) {
  return ask("attach", "{'path':'%s'%s}", path, more);
}

/* What happens at a step, once. */
static const char *then_at;
static void (*then_do)(void);

static void then_hook(const char *step) {
  if (then_at == NULL || strcmp(step, then_at) != 0) return;
  then_at = NULL;
  then_do();
}

static void then(const char *step, void (*what)(void)) {
  then_at = step;
  then_do = what;
  atomic_store(&vds_hook, then_hook);
}

static const char *other;
static char taken_node[32], node[80];
static int taken = -1, opened = -1;

static void take_number(void) {
  taken = volumes_attach(other, 0, 0, taken_node);
}

static void open_it(void) {
  opened = open(node, O_RDONLY | O_CLOEXEC);
}

static void close_it(void) {
  close(opened);
  opened = -1;
}


/* ------------------------------------------------------------------
** In the middle
** ---------------------------------------------------------------- */

/* The lowest number that is free is the one that has just gone. */
TEST(who_takes_its_number_is_not_taken_for_it) {
  NEED_DISKS();
  const char *path = make_image(8);
  other = make_image(8);
  for (int stays = 0; stays < 2; stays++) {
    answer a = attach(path, stays ? ",'persistent':true" : "");
    snprintf(node, sizeof node, "%s", text_of(a.output, "path"));
    forget(&a);
    then("loop: let go", take_number);
    CHECK_ANSWER(ask("detach", "{'path':'%s'}", path), 0);
    CHECK(taken >= 0);
    if (strcmp(node, taken_node) != 0) /* somebody was faster */
      printf("%s was not taken, but %s\n", node, taken_node);
    CHECK_INT(records_left(), 0);
    CHECK_INT(volumes_loops(false), 1);
    close(taken);
    CHECK(loops_become(0));
  }
}

/* It stays as it was, however short he has it: it is never on the way to going
   without us. */
TEST(who_has_it_open_for_a_while_does_not_end_it) {
  NEED_DISKS();
  const char *path = make_image(8);
  for (int stays = 0; stays < 2; stays++) {
    answer a = attach(path, stays ? ",'persistent':true" : "");
    snprintf(node, sizeof node, "%s", text_of(a.output, "path"));
    forget(&a);
    open_it();
    then("detach: detached", close_it);
    somebody_stays = true;
    CHECK_ANSWER(ask("detach", "{'path':'%s'}", path), VDS_E_DEVICE_IN_USE);
    somebody_stays = false;
    CHECK_INT(volumes_loops(false), 1);
    CHECK_INT(records_left(), 1);
    then("detach: without partitions", open_it);
    somebody_stays = true;
    CHECK_ANSWER(ask("detach", "{'path':'%s'}", path), VDS_E_DEVICE_IN_USE);
    somebody_stays = false;
    CHECK(opened >= 0);
    close_it();
    CHECK_INT(volumes_loops(false), 1);
    CHECK_ANSWER(ask("detach", "{'path':'%s'}", path), 0);
    CHECK_INT(volumes_loops(false), 0);
    CHECK_INT(records_left(), 0);
  }
}

/* Each looked at its size before. */
TEST(two_that_make_it_larger_do_not_make_it_smaller) {
  const char *path = make_image(8);
  struct stat st;
  halfway h = halfway_to("expand: prepared", NULL);
  if (h.child == 0) {
    answer a = ask("expand", "{'path':'%s','size':16777216}", path);
    _exit(a.code == 0 ? 0 : 1);
  }
  uint32_t code = VDS_E_ANOTHER_CALL_IN_PROGRESS;
  CHECK_ANSWER(ask("expand", "{'path':'%s','size':33554432}", path), code);
  halfway_end(&h, false);
  CHECK_ANSWER(ask("expand", "{'path':'%s','size':33554432}", path), 0);
  CHECK_INT(stat(path, &st), 0);
  CHECK_INT(st.st_size, 33554432);
}

static const char *raced;

static void attach_raced(void) {
  CHECK_INT(volumes_run("losetup -f '%s'", raced), 0);
}

/* A moment before it grew. */
TEST(who_attaches_it_meanwhile_sees_it_grow) {
  NEED_DISKS();
  struct stat st;
  raced = make_image(8);
  then("expand: prepared", attach_raced);
  CHECK_ANSWER(ask("expand", "{'path':'%s','size':16777216}", raced), 0);
  CHECK_INT(stat(raced, &st), 0);
  answer a = ask("open_vdisk", "{'path':'%s'}", raced);
  const char *device = text_of(a.output, "device");
  int fd = open(device, O_RDONLY | O_CLOEXEC);
  CHECK_INT(lseek(fd, 0, SEEK_END), 16777216);
  close(fd);
  forget(&a);
  volumes_loops(true);
  CHECK(loops_become(0));
}


/* ------------------------------------------------------------------
** What cannot be looked at
** ---------------------------------------------------------------- */

/* Also one that cannot even be begun. */
static uint32_t attach_now(const char *path) {
  value *options = value_map();
  uint32_t code = 0, percent = 0;
  value_put(options, "path", value_text(path));
  value_put(options, "state_dir", value_text(state_place()));
  saros_op *op = vds_call_begin(vds_work_find("attach"), options, NULL, &code);
  if (op == NULL) return code;
  CHECK_INT(saros_op_wait(op, VDS_CASE_BOUND), 1);
  CHECK_INT(saros_vds_query_status(op, &code, &percent), 0);
  saros_op_unref(op);
  return code;
}

/* With so few descriptors that some device cannot be asked for its file nobody
   can tell whether it is attached already. */
TEST(without_descriptors_no_second_device_is_made) {
  NEED_DISKS();
  struct rlimit whole, few;
  uint32_t code = 0;
  const char *path = make_image(8);
  CHECK_ANSWER(attach(path, ""), 0);
  CHECK_INT(getrlimit(RLIMIT_NOFILE, &whole), 0);
  few = whole;
  for (few.rlim_cur = 3; few.rlim_cur < 100; few.rlim_cur++) {
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &few), 0);
    code = attach_now(path);
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &whole), 0);
    if (code == 0) printf("%u descriptors\n", (unsigned)few.rlim_cur);
    CHECK(code != 0);
    CHECK_INT(volumes_loops(false), 1);
    CHECK_INT(records_left(), 1);
    if (code == VDS_E_OBJECT_EXISTS) break;
  }
  CHECK_INT(code, VDS_E_OBJECT_EXISTS);
  CHECK_ANSWER(ask("detach", "{'path':'%s'}", path), 0);
}

/* Nor does one that names its file otherwise escape: from inside of a root that
   its file is not in. */
TEST(a_file_out_of_reach_is_attached_all_the_same) {
  NEED_DISKS();
  char name[300];
  const char *dir = place("root"), *path = make_image(8);
  mkdir(dir, 0700);
  snprintf(name, sizeof name, "%s", path);
  int file = open(name, O_RDWR | O_CLOEXEC);
  CHECK_ANSWER(attach(path, ""), 0);
  for (size_t i = 0; i < 3; i++) {
    static const char *const needed[] = {"dev", "sys", "proc"};
    char from[20], to[400];
    snprintf(from, sizeof from, "/%s", needed[i]);
    snprintf(to, sizeof to, "%s/%s", dir, needed[i]);
    mkdir(to, 0700);
    CHECK_INT(mount(from, to, "none", MS_BIND | MS_REC, NULL), 0);
  }
  pid_t child = fork_at_rest();
  if (child == 0) {
    bool ours = false;
    dev_t device = 0;
    if (chroot(dir) != 0 || chdir("/") != 0) _exit(3);
    error *e = vds_attached(file, &device, &ours);
    _exit(e == NULL && device != 0 && ours ? 0 : 1);
  }
  CHECK_INT(status_of(child), 0);
  volumes_run("umount -R '%s/dev' '%s/sys' '%s/proc'", dir, dir, dir);
  close(file);
  CHECK_ANSWER(ask("detach", "{'path':'%s'}", path), 0);
}

/* Its device is known all the same, by its record. */
TEST(one_whose_file_was_removed_is_detached) {
  NEED_DISKS();
  const char *path = make_image(4);
  answer a = attach(path, ",'persistent':true");
  CHECK_INT(a.code, 0);
  snprintf(node, sizeof node, "%s", text_of(a.output, "path"));
  forget(&a);
  char id[GUID_TEXT] = "", now[GUID_TEXT];
  int fd = open(node, O_RDONLY | O_CLOEXEC);
  CHECK(fd >= 0 && vds_loop_id(fd, id));
  if (fd >= 0) close(fd);
  CHECK_INT(unlink(path), 0);
  a = ask("detach", "{'path':'%s','plan':true}", path);
  CHECK_INT(a.code, 0);
  forget(&a);
  CHECK_ANSWER(ask("detach", "{'path':'%s.other'}", path),
               VDS_E_PATH_NOT_FOUND);
  CHECK_ANSWER(ask("detach", "{'path':'%s'}", path), 0);
  fd = open(node, O_RDONLY | O_CLOEXEC);
  CHECK(fd < 0 || !vds_loop_id(fd, now) || strcmp(now, id) != 0);
  if (fd >= 0) close(fd);
  CHECK_INT(records_left(), 0);
  CHECK_ANSWER(ask("detach", "{'path':'%s'}", path), VDS_E_PATH_NOT_FOUND);
}

static void all(void) {
  RUN(two_that_make_it_larger_do_not_make_it_smaller);
  RUN(who_takes_its_number_is_not_taken_for_it);
  RUN(who_has_it_open_for_a_while_does_not_end_it);
  RUN(who_attaches_it_meanwhile_sees_it_grow);
  RUN(without_descriptors_no_second_device_is_made);
  RUN(a_file_out_of_reach_is_attached_all_the_same);
  RUN(one_whose_file_was_removed_is_detached);
}

int main(int argc, char **argv) {
  return volumes_main(argc, argv, all);
}
