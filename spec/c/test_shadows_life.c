/*
** The life of persistent shadows of real file systems across a restart of the
** machine, which takes mounts and loop devices and leaves files and records.
**
** not under valgrind: its children are forked or killed; ASan runs it
*/
#include "life_case.h"
#include "test_base_sweep.h"

/* ------------------------------------------------------------------
** A restart
** ---------------------------------------------------------------- */

/* Its old device has been given to somebody else meanwhile. */
TEST(image_after_a_restart) {
  real x;
  char old[40];
  if (!begin_image(&x)) SKIP(volumes_missing);
  value *r = now(&x);
  snprintf(old, sizeof old, "%s", record_text(r, "device"));
  value_free(r);
  restart(&x, "tree");
  CHECK(case_entries(x.path) == -1);
  case_put(volumes_in("other"), "something else");
  CHECK(truncate(volumes_in("other"), 1 << 20) == 0);
  int file = open(volumes_in("other"), O_RDWR | O_CLOEXEC);
  int other = open(old, O_RDWR | O_CLOEXEC);
  struct loop_config config = {.fd = (unsigned)file,
                               .info = {.lo_flags = LO_FLAGS_AUTOCLEAR}};
  CHECK(other >= 0);
  bool taken = ioctl(other, LOOP_CONFIGURE, &config) == 0;
  /* Somebody was quicker, who may let go of it at any time: nor do we keep
     his device open, which would live as long. */
  CHECK(taken || errno == EBUSY);
  if (!taken) close(other);
  close(file);
  check_reap(&x, 1, 0, 0);
  CHECK_TEXT(said(x.path), "old");
  CHECK(is_readonly(x.path));
  r = now(&x);
  if (taken) CHECK(strcmp(record_text(r, "device"), old) != 0);
  struct stat st, node;
  CHECK(stat(x.path, &st) == 0 && stat(record_text(r, "device"), &node) == 0 &&
        st.st_dev == node.st_rdev);
  value_free(r);
  CHECK_INT(mounts_on(placed(&x, "tree")), 1);
  check_reap(&x, 0, 0, 0);
  CHECK_TEXT(missing(&x, NULL), "");
  if (taken) close(other); /* lets go of it */
  unlink(volumes_in("other"));
  for (int i = 0; i < 6000 && volumes_loops(false) > loops_before + 1; i++)
    usleep(10000);
  end(&x);
}

TEST(image_listed_after_a_restart) {
  real x;
  if (!begin_image(&x)) SKIP(volumes_missing);
  restart(&x, "tree");
  CHECK_TEXT(missing(&x, NULL), "");
  CHECK_TEXT(said(x.path), "old");
  check_reap(&x, 0, 0, 0);
  end(&x);
}

TEST(exposed_after_a_restart) {
  real x;
  char at[700];
  if (!begin_image(&x)) SKIP(volumes_missing);
  snprintf(at, sizeof at, "%s", volumes_in("at-%s", x.id));
  DONE(shadows_expose(x.p, x.id, at));
  CHECK_INT(umount2(at, 0), 0);
  restart(&x, "tree");
  check_reap(&x, 1, 1, 0);
  CHECK_TEXT(said(at), "old");
  check_reap(&x, 0, 0, 0);
  /* Only its own mount goes: the device that the other has is used again. */
  CHECK_INT(umount2(placed(&x, "tree"), 0), 0);
  CHECK_INT(volumes_loops(false), loops_before + 1);
  DONE(find(&x));
  CHECK_INT(volumes_loops(false), loops_before + 1);
  DONE(shadows_unexpose(x.p, x.id));
  CHECK(case_entries(at) == -1);
  end(&x);
}

/* Read-only is what they lose. */
static void tree_after_a_restart(const provider *by, volumes_kind kind) {
  real x;
  if (!make(&x, kind, by)) SKIP(volumes_missing);
  CHECK(is_readonly(x.path));
  restart(&x, "root");
  CHECK(!is_readonly(x.path));
  check_reap(&x, 1, 0, 0);
  CHECK(is_readonly(x.path));
  CHECK_TEXT(said(x.path), "old");
  CHECK_INT(mounts_on(placed(&x, "root")), 1);
  check_reap(&x, 0, 0, 0);
  CHECK_INT(umount2(placed(&x, "root"), 0), 0);
  check_reap(&x, 0, 0, 0); /* that was somebody's will */
  CHECK(!is_readonly(x.path));
  DONE(find(&x));
  CHECK(is_readonly(x.path));
  end(&x);
}

TEST(copy_after_a_restart) {
  tree_after_a_restart(&provider_copy, EXT4);
}

TEST(reflink_after_a_restart) {
  tree_after_a_restart(&provider_reflink, XFS);
}

/* Nothing of it went. */
TEST(btrfs_after_a_restart) {
  real x;
  if (!make(&x, BTRFS, &provider_btrfs)) SKIP(volumes_missing);
  value *r = now(&x);
  age(r, r);
  DONE(record_save(x.p, r));
  value_free(r);
  check_reap(&x, 0, 0, 0);
  CHECK_TEXT(said(x.path), "old");
  CHECK_TEXT(missing(&x, NULL), "");
  end(&x);
}


/* ------------------------------------------------------------------
** Without one
** ---------------------------------------------------------------- */

/* Who unmounted it knew why; who names it wants it. */
TEST(unmounted_and_wanted) {
  real x;
  char at[700], tree[800];
  error *e = NULL;
  value *list = NULL;
  uint32_t code = 7;
  if (!begin_image(&x)) SKIP(volumes_missing);
  snprintf(tree, sizeof tree, "%s", placed(&x, "tree"));
  snprintf(at, sizeof at, "%s", volumes_in("at-%s", x.id));
  take_mount(&x, "tree");
  check_reap(&x, 0, 0, 0);
  CHECK(strstr(missing(&x, NULL), "not mounted any more") != NULL);
  CHECK(case_entries(x.path) == -1);
  DONE(find(&x));
  CHECK_TEXT(said(x.path), "old");
  take_mount(&x, "tree");
  CHECK_TEXT(missing(&x, x.set), "");
  CHECK_TEXT(said(x.path), "old");
  take_mount(&x, "tree");
  DONE(shadows_expose(x.p, x.id, at));
  CHECK_TEXT(said(at), "old");
  DONE(shadows_unexpose(x.p, x.id));
  take_mount(&x, "tree");
  value *records = record_list(x.p, &e);
  DONE(e);
  DONE(shadows_import(x.p, records, &code)); /* of what is known here */
  CHECK_TEXT(said(x.path), "old");
  take_mount(&x, "tree");
  DONE(shadows_break(x.p, x.set, false, &list));
  CHECK_TEXT(said(x.path), "old");
  value_free(list);
  /* Nobody knows of it any more; but its document does. */
  CHECK_INT(umount2(tree, 0), 0);
  DONE(shadows_import(x.p, records, &code));
  CHECK_TEXT(said(x.path), "old");
  value_free(records);
  delete_it(&x);
  places_unref(x.p);
}

static int find_or_fail(void *with) {
  error *e = find(with);
  bool failed = e != NULL;
  if (failed) printf("%s\n", e->message);
  error_unref(e);
  return failed;
}

TEST(wanted_by_several_at_once) {
  enum { COUNT = 6 };
  real x;
  pid_t child[COUNT];
  int begin[2], status;
  char byte;
  if (!begin_image(&x)) SKIP(volumes_missing);
  restart(&x, "tree");
  CHECK(pipe2(begin, O_CLOEXEC) == 0);
  fflush(stdout);
  for (int i = 0; i < COUNT; i++) {
    child[i] = fork();
    if (child[i] != 0) continue;
    close(begin[1]);
    while (read(begin[0], &byte, 1) < 0) continue;
    int r = find_or_fail(&x);
    fflush(stdout);
    _exit(r);
  }
  close(begin[0]);
  close(begin[1]);
  for (int i = 0; i < COUNT; i++) {
    CHECK(waitpid(child[i], &status, 0) == child[i]);
    CHECK_INT(status, 0);
  }
  CHECK_TEXT(said(x.path), "old");
  CHECK_INT(mounts_on(placed(&x, "tree")), 1);
  CHECK_INT(volumes_loops(false), loops_before + 1);
  end(&x);
}


/* ------------------------------------------------------------------
** What is not what we made
** ---------------------------------------------------------------- */

TEST(not_made_readable) {
  real x;
  char image[800], aside[800], tree[800], place[800];
  if (!begin_image(&x)) SKIP(volumes_missing);
  snprintf(image, sizeof image, "%s", placed(&x, "image"));
  snprintf(aside, sizeof aside, "%s", volumes_in("aside"));
  snprintf(tree, sizeof tree, "%s", placed(&x, "tree"));
  snprintf(place, sizeof place, "%.*s", (int)(strlen(tree) - 5), tree);
  restart(&x, "tree");

  /* Another file in its place, which looks the same. */
  snprintf(aside, sizeof aside, "%s/aside", outer);
  CHECK(rename(image, aside) == 0);
  CHECK_INT(volumes_run("cp -p --reflink=auto '%s' '%s'", aside, image), 0);
  CHECK(case_says(find(&x), VSS_E_OBJECT_NOT_FOUND, "replaced"));
  check_reap(&x, 0, 0, 1);
  unlink(image);
  CHECK(case_says(find(&x), VSS_E_OBJECT_NOT_FOUND, "deleted"));
  CHECK(symlink(aside, image) == 0);
  CHECK(case_says(find(&x), VSS_E_OBJECT_NOT_FOUND, "replaced"));
  unlink(image);
  CHECK(rename(aside, image) == 0);

  /* Where others could write. */
  CHECK(chmod(place, 0755) == 0);
  CHECK(case_says(find(&x), VSS_E_OBJECT_NOT_FOUND, "ours alone"));
  CHECK(chmod(place, 0700) == 0 && chown(place, 65534, 65534) == 0);
  CHECK(case_says(find(&x), VSS_E_OBJECT_NOT_FOUND, "ours alone"));
  CHECK(chown(place, 0, 0) == 0 && chown(image, 65534, 65534) == 0);
  CHECK(case_says(find(&x), VSS_E_OBJECT_NOT_FOUND, "ours"));
  CHECK(chown(image, 0, 0) == 0);

  /* Something else is mounted there. */
  CHECK(mount("t", tree, "tmpfs", 0, NULL) == 0);
  CHECK(case_says(find(&x), VSS_E_OBJECT_NOT_FOUND, "hidden"));
  CHECK_INT(mounts_on(tree), 1);
  CHECK(umount2(tree, 0) == 0);

  /* A link instead of the directory. */
  CHECK(rmdir(tree) == 0 && symlink(outer, tree) == 0);
  CHECK(find_or_fail(&x) == 1);
  CHECK(unlink(tree) == 0);
  CHECK_INT(volumes_loops(false), loops_before);

  /* It is made again, when somebody was too tidy. */
  DONE(find(&x));
  CHECK_TEXT(said(x.path), "old");
  take_mount(&x, "tree");

  /* Somebody has written to it. */
  CHECK_INT(volumes_run("touch '%s'", image), 0);
  CHECK(case_says(find(&x), VSS_E_OBJECT_NOT_FOUND, "changed"));
  CHECK_INT(volumes_loops(false), loops_before);
  check_reap(&x, 0, 0, 0);
  end(&x);
}

static real *dying;

static void surface_it(void) {
  value *r = now(dying);
  char *device = NULL;
  DONE(dying->by->surface(value_get(r, "keep"), NULL, &device));
  mem_free(device);
  value_free(r);
}

/* A death at any point is mended by the next one, or taken away with it. */
static void dies(real *x, const char *tree) {
#ifdef SAROS_TEST
  dying = x;
  bool whole = false;
  int n = 1;
  for (; !whole && n < 50; n++) {
    take_mount(x, tree);
    whole = case_dies_at(n, surface_it);
    DONE(find(x));
    CHECK_TEXT(said(x->path), "old");
    CHECK(is_readonly(x->path));
    CHECK_INT(mounts_on(placed(x, tree)), 1);
  }
  CHECK(whole && n > 2);
  take_mount(x, tree);
  CHECK(!case_dies_at(n - 2, surface_it));
  end(x);
#else
  (void)x;
  (void)tree;
  (void)surface_it;
  SKIP("needs -DSAROS_TEST");
#endif
}

TEST(dies_while_it_surfaces_an_image) {
  real x;
  if (!begin_image(&x)) SKIP(volumes_missing);
  dies(&x, "tree");
}

TEST(dies_while_it_surfaces_a_copy) {
  real x;
  if (!make(&x, EXT4, &provider_copy)) SKIP(volumes_missing);
  dies(&x, "root");
}


static char swept[800]; /* its tree */

static bool find_anew(void) {
  umount2(swept, 0);
  error *e = find(dying);
  bool good = e == NULL;
  error_unref(e);
  return good;
}

TEST(memory_runs_out) {
  real x;
  if (!begin_image(&x)) SKIP(volumes_missing);
  dying = &x;
  snprintf(swept, sizeof swept, "%s", placed(&x, "tree"));
  SWEEP(find_anew, 0);
  CHECK_TEXT(said(x.path), "old");
  CHECK_INT(mounts_on(placed(&x, "tree")), 1);
  end(&x);
}


static void all(void) {
  RUN(image_after_a_restart);
  RUN(image_listed_after_a_restart);
  RUN(exposed_after_a_restart);
  RUN(copy_after_a_restart);
  RUN(reflink_after_a_restart);
  RUN(btrfs_after_a_restart);
  RUN(unmounted_and_wanted);
  RUN(wanted_by_several_at_once);
  RUN(not_made_readable);
  RUN(dies_while_it_surfaces_an_image);
  RUN(dies_while_it_surfaces_a_copy);
  RUN(memory_runs_out);
}

int main(int argc, char **argv) {
  return volumes_main(argc, argv, all);
}
