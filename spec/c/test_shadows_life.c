/*
** The life of persistent shadows of real file systems: across a restart of the
** machine, which takes mounts and loop devices and leaves files and records;
** up to their end as plain data, or as the original itself.
**
** not under valgrind: its children are forked or killed; ASan runs it
*/
#include <sys/statvfs.h>

#include "real_case.h"
#include "test_base_sweep.h"

static char outer[300]; /* what the image lies on */
static int loops_before;

static bool begin_image(real *x) {
  const volume *v = volumes_get(EXT4_ON_XFS);
  if (v == NULL) return false;
  snprintf(outer, sizeof outer, "%s", volumes_get(XFS)->path);
  loops_before = volumes_loops(false);
  return make(x, EXT4_ON_XFS, &provider_image);
}

static value *now(const real *x) {
  error *e = NULL;
  value *r = record_load(x->p, x->id, &e);
  DONE(e);
  return r;
}

/* A file or directory in its place. */
static const char *placed(const real *x, const char *name) {
  static _Thread_local char ring[4][800];
  static _Thread_local int turn;
  char *path = NULL, *text = ring[turn++ % 4];
  value *r = now(x);
  DONE(keep_path_in(value_get(r, "keep"), "place", name, &path));
  snprintf(text, 800, "%s", path != NULL ? path : "");
  mem_free(path);
  value_free(r);
  return text;
}

/* How often something is mounted there. */
static int mounts_on(const char *point) {
  char line[5000], *name;
  int n = 0;
  FILE *f = fopen("/proc/self/mounts", "re");
  while (f != NULL && fgets(line, sizeof line, f) != NULL) {
    name = strchr(line, ' ') + 1;
    name[strcspn(name, " \n")] = 0;
    n += strcmp(name, point) == 0;
  }
  if (f != NULL) fclose(f);
  return n;
}

static bool is_readonly(const char *directory) {
  char path[900];
  snprintf(path, sizeof path, "%s/new", directory);
  bool made = mkdir(path, 0755) == 0;
  bool is = !made && errno == EROFS;
  if (made) rmdir(path);
  return is;
}

/* What a restart takes. */
static void take_mount(const real *x, const char *tree) {
  CHECK_INT(umount2(placed(x, tree), 0), 0);
  for (int i = 0; x->by == &provider_image && i < 500; i++) {
    if (volumes_loops(false) == loops_before) return;
    usleep(10000); /* the kernel lets go of the device behind us */
  }
}

static void restart(const real *x, const char *tree) {
  take_mount(x, tree);
  value *r = now(x);
  age(r, r);
  value_put(r, "surfaced_boot", value_null());
  if (*record_text(r, "exposed") != 0)
    record_put_text(r, "exposed_boot", "11111111-1111-4111-8111-111111111111");
  DONE(record_save(x->p, r));
  value_free(r);
}

static value *reap(const real *x) {
  value *report = NULL;
  DONE(shadows_reap(x->p, NULL, &report));
  return report;
}

static void check_reap(const real *x, unsigned surfaced, unsigned exposed,
                       unsigned failed) {
  value *report = reap(x);
  CHECK_INT(value_get(report, "surfaced")->count, surfaced);
  CHECK_INT(value_get(report, "exposed")->count, exposed);
  CHECK_INT(value_get(report, "failed")->count, failed);
  CHECK_INT(value_get(report, "shadows")->count, 0);
  if (surfaced == 1) {
    CHECK_TEXT(word(value_get(report, "surfaced"), 0, "id"), x->id);
    CHECK_TEXT(word(value_get(report, "surfaced"), 0, "path"), x->path);
  }
  value_free(report);
}

/* Why it is missing; "" when it is not. */
static const char *missing(const real *x, const char *set) {
  static char text[1000];
  value *list = NULL;
  DONE(shadows_query(x->p, set, NULL, &list));
  text[0] = 0;
  for (uint32_t i = 0; list != NULL && i < list->count; i++)
    if (strcmp(word(list, i, "id"), x->id) == 0)
      snprintf(text, sizeof text, "%s", word(list, i, "missing"));
  value_free(list);
  return text;
}

static error *find(const real *x) {
  value *properties = NULL;
  error *e = shadows_find(x->p, x->id, NULL, &properties);
  if (e == NULL && *record_text(properties, "missing") != 0)
    e = vss_error(VSS_E_OBJECT_NOT_FOUND, "%s",
                  record_text(properties, "missing"));
  value_free(properties);
  return e;
}

static void delete_it(real *x) {
  unsigned deleted = 0;
  char not [37];
  DONE(shadows_delete(x->p, x->id, false, true, NULL, &deleted, not ));
  CHECK_INT(deleted, 1);
  CHECK(case_entries(x->path) == -1);
  if (x->by == &provider_image) CHECK_INT(volumes_loops(false), loops_before);
}

static void end(real *x) {
  delete_it(x);
  places_unref(x->p);
}


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
  /* EBUSY: somebody was quicker, and that is as good. */
  CHECK(other >= 0 &&
        (ioctl(other, LOOP_CONFIGURE, &config) == 0 || errno == EBUSY));
  close(file);
  check_reap(&x, 1, 0, 0);
  CHECK_TEXT(said(x.path), "old");
  CHECK(is_readonly(x.path));
  r = now(&x);
  CHECK(strcmp(record_text(r, "device"), old) != 0);
  struct stat st, node;
  CHECK(stat(x.path, &st) == 0 && stat(record_text(r, "device"), &node) == 0 &&
        st.st_dev == node.st_rdev);
  value_free(r);
  CHECK_INT(mounts_on(placed(&x, "tree")), 1);
  check_reap(&x, 0, 0, 0);
  CHECK_TEXT(missing(&x, NULL), "");
  close(other); /* lets go of it, if it is ours */
  unlink(volumes_in("other"));
  for (int i = 0; i < 500 && volumes_loops(false) > loops_before + 1; i++)
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


/* ------------------------------------------------------------------
** Plain data
** ---------------------------------------------------------------- */

static bool can_write(const char *directory) {
  char file[900];
  snprintf(file, sizeof file, "%s/word", directory);
  case_put(file, "mine");
  return strcmp(said(directory), "mine") == 0;
}

static uint32_t break_up(const real *x, char path[900]) {
  value *list = NULL;
  error *e = shadows_break(x->p, x->set, true, &list);
  uint32_t code = e != NULL ? e->code : 0;
  if (e != NULL && path != NULL) printf("error: %s\n", e->message);
  if (e == NULL && path != NULL)
    snprintf(path, 900, "%s", word(list, 0, "path"));
  error_unref(e);
  value_free(list);
  return code;
}

static bool is_recorded(const real *x) {
  error *e = NULL;
  value *r = record_load(x->p, x->id, &e);
  bool is = r != NULL;
  error_unref(e);
  value_free(r);
  return is;
}

/* Of a path in the place, what is to be removed by the test. */
static void gone(real *x) {
  CHECK(!is_recorded(x));
  CHECK_TEXT(said(x->source), "new");
  places_unref(x->p);
}

TEST(broken_up_image) {
  real x;
  char path[900], at[700];
  struct stat st;
  if (!begin_image(&x)) SKIP(volumes_missing);
  restart(&x, "tree");
  CHECK_INT(break_up(&x, path), 0);
  CHECK(stat(path, &st) == 0 && S_ISREG(st.st_mode) &&
        (st.st_mode & 07777) == 0600);
  CHECK_INT(volumes_loops(false), loops_before);
  CHECK(case_entries(x.path) == -1);
  snprintf(at, sizeof at, "%s", volumes_in("at-%s", x.id));
  mkdir(at, 0755);
  CHECK_INT(volumes_run("mount -o loop '%s' '%s'", path, at), 0);
  char inside[1000];
  snprintf(inside, sizeof inside, "%s%s", at, x.source + strlen(x.v->path));
  CHECK_TEXT(said(inside), "old");
  CHECK(can_write(inside));
  CHECK_INT(umount2(at, 0), 0);
  rmdir(at);
  CHECK_INT(volumes_run("e2fsck -fn '%s' >/dev/null 2>&1", path), 0);
  unlink(path);
  path[strlen(path) - strlen("/image")] = 0;
  CHECK(rmdir(path) == 0); /* nothing else was in it */
  gone(&x);
}

/* It stays a shadow, and can be broken up later. */
TEST(broken_up_in_use) {
  real x;
  char file[900], path[900];
  if (!begin_image(&x)) SKIP(volumes_missing);
  snprintf(file, sizeof file, "%s/word", x.path);
  int fd = open(file, O_RDONLY | O_CLOEXEC);
  CHECK_INT(break_up(&x, NULL), VSS_E_VOLUME_IN_USE);
  CHECK_TEXT(said(x.path), "old");
  CHECK_TEXT(missing(&x, NULL), "");
  close(fd);
  CHECK_INT(break_up(&x, path), 0);
  volumes_run("rm '%s'", path);
  gone(&x);
}

static void broken_up_tree(const provider *by, volumes_kind kind) {
  real x;
  char path[900];
  if (!make(&x, kind, by)) SKIP(volumes_missing);
  CHECK(is_readonly(x.path));
  CHECK_INT(break_up(&x, path), 0);
  CHECK_TEXT(path, x.path);
  CHECK_TEXT(said(path), "old");
  CHECK(can_write(path));
  if (by != &provider_btrfs) volumes_run("rm -r '%s'", path);
  if (by == &provider_btrfs)
    volumes_run("btrfs -q subvolume delete '%s' >/dev/null", path);
  CHECK(case_entries(path) == -1);
  gone(&x);
}

TEST(broken_up_copy) {
  broken_up_tree(&provider_copy, EXT4);
}

TEST(broken_up_reflink) {
  broken_up_tree(&provider_reflink, XFS);
}

TEST(broken_up_btrfs) {
  broken_up_tree(&provider_btrfs, BTRFS);
}

/* Stands for the death between loosening and the end of the record. */
static void loosen_and_die(real *x) {
  char *path = NULL;
  value *r = now(x);
  value_put(r, "loosening", value_bool(true));
  DONE(record_save(x->p, r));
  DONE(x->by->loosen(value_get(r, "keep"), &path));
  mem_free(path);
  value_free(r);
}

/* Neither believed nor mounted again; broken up again, it is; or deleted. */
static void half_broken(real *x) {
  char path[900];
  value *list = NULL;
  loosen_and_die(x);
  CHECK(strstr(missing(x, NULL), "broken up") != NULL);
  CHECK(strstr(missing(x, x->set), "broken up") != NULL);
  value *r = now(x);
  age(r, r);
  DONE(record_save(x->p, r));
  value_free(r);
  check_reap(x, 0, 0, 0);
  CHECK_INT(case_end(shadows_expose(x->p, x->id, volumes_in("nowhere")),
                     VSS_E_OBJECT_NOT_FOUND),
            VSS_E_OBJECT_NOT_FOUND);
  if (x->by == &provider_image) CHECK_INT(volumes_loops(false), loops_before);
  DONE(shadows_break(x->p, x->set, false, &list)); /* also when asked so */
  snprintf(path, sizeof path, "%s", word(list, 0, "path"));
  CHECK(access(path, W_OK) == 0);
  value_free(list);
  gone(x);
}

TEST(half_broken_image) {
  real x;
  if (!begin_image(&x)) SKIP(volumes_missing);
  half_broken(&x);
  if (!begin_image(&x)) return;
  loosen_and_die(&x);
  end(&x);
}

TEST(half_broken_btrfs) {
  real x;
  if (!make(&x, BTRFS, &provider_btrfs)) SKIP(volumes_missing);
  half_broken(&x);
  if (!make(&x, BTRFS, &provider_btrfs)) return;
  loosen_and_die(&x);
  end(&x);
}


/* ------------------------------------------------------------------
** The original
** ---------------------------------------------------------------- */

static uint32_t revert(const real *x, uint32_t expected) {
  return case_end(shadows_revert(x->p, x->id, NULL), expected);
}

TEST(reverted_btrfs) {
  real x;
  error *e = NULL;
  if (!make(&x, BTRFS, &provider_btrfs)) SKIP(volumes_missing);
  set_lock *l = set_lock_take(x.p, &e);
  DONE(e);
  CHECK_INT(revert(&x, VSS_E_SNAPSHOT_SET_IN_PROGRESS),
            VSS_E_SNAPSHOT_SET_IN_PROGRESS);
  set_lock_give(l);
  CHECK_TEXT(said(x.source), "new");
  int claim = claim_take(x.p, x.id, &e);
  DONE(e);
  CHECK_INT(revert(&x, VSS_E_PROVIDER_IN_USE), VSS_E_PROVIDER_IN_USE);
  claim_give(&claim);
  CHECK_INT(revert(&x, 0), 0);
  CHECK_TEXT(said(x.source), "old");
  CHECK(can_write(x.source));
  CHECK_TEXT(said(x.path), "old");
  CHECK_INT(revert(&x, 0), 0); /* and once more */
  CHECK_TEXT(said(x.source), "old");
  CHECK_TEXT(missing(&x, NULL), "");
  value *r = now(&x);
  value_put(r, "persistent", value_bool(false));
  DONE(record_save(x.p, r));
  value_free(r);
  CHECK_INT(revert(&x, VSS_E_UNSUPPORTED_CONTEXT), VSS_E_UNSUPPORTED_CONTEXT);
  end(&x);
}

TEST(not_reverted) {
  real x;
  if (!make(&x, EXT4, &provider_copy)) SKIP(volumes_missing);
  CHECK_INT(revert(&x, SAROS_E_NOTIMPL), SAROS_E_NOTIMPL);
  CHECK_TEXT(said(x.source), "new");
  delete_it(&x);
  CHECK_INT(revert(&x, VSS_E_OBJECT_NOT_FOUND), VSS_E_OBJECT_NOT_FOUND);
  CHECK_INT(case_end(shadows_revert(x.p, "x", NULL), SAROS_E_INVALIDARG),
            SAROS_E_INVALIDARG);
  places_unref(x.p);
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
  RUN(broken_up_image);
  RUN(broken_up_in_use);
  RUN(broken_up_copy);
  RUN(broken_up_reflink);
  RUN(broken_up_btrfs);
  RUN(half_broken_image);
  RUN(half_broken_btrfs);
  RUN(reverted_btrfs);
  RUN(not_reverted);
}

int main(int argc, char **argv) {
  return volumes_main(argc, argv, all);
}
