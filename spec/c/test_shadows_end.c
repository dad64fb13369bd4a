/*
** The end of persistent shadows of real file systems: as plain data, or as the
** original itself.
**
** not under valgrind: its children are forked or killed; ASan runs it
*/
#include <sys/mman.h>

#include "life_case.h"

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

/* Not to be written to: its path is as before. What a restart leaves is said.
 */
static void as_it_is(real *x, const char *file) {
  value *list = NULL;
  char stays[900] = "";
  if (file != NULL) snprintf(stays, sizeof stays, "%s", placed(x, file));
  DONE(shadows_break(x->p, x->set, false, &list));
  CHECK_TEXT(word(list, 0, "path"), x->path);
  CHECK_TEXT(word(list, 0, "stays"), stays);
  CHECK_TEXT(said(x->path), "old");
  CHECK(!is_recorded(x));
  value_free(list);
}

TEST(broken_up_as_it_is) {
  real x;
  char at[700], inside[1000], clone[900];
  if (!begin_image(&x)) SKIP(volumes_missing);
  char tree[800];
  snprintf(tree, sizeof tree, "%s", placed(&x, "tree"));
  snprintf(clone, sizeof clone, "%s", placed(&x, "image"));
  as_it_is(&x, "image");
  CHECK_INT(umount2(tree, 0), 0); /* as a restart does */
  CHECK(case_entries(x.path) == -1);
  snprintf(at, sizeof at, "%s", volumes_in("at-%s", x.id));
  mkdir(at, 0755);
  CHECK_INT(volumes_run("mount -o loop,ro '%s' '%s'", clone, at), 0);
  snprintf(inside, sizeof inside, "%s%s", at, x.source + strlen(x.v->path));
  CHECK_TEXT(said(inside), "old");
  CHECK_INT(umount2(at, 0), 0);
  rmdir(at);
  clone[strlen(clone) - strlen("/image")] = 0;
  CHECK_INT(volumes_run("rm -r '%s'", clone), 0);
  places_unref(x.p);
  if (!make(&x, BTRFS, &provider_btrfs)) return;
  as_it_is(&x, NULL);
  volumes_run("btrfs -q subvolume delete '%s' >/dev/null", x.path);
  places_unref(x.p);
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
  return case_end(shadows_revert(x->p, x->id, false, NULL), expected);
}

/* Refused with these words, by whoever uses it; done with force, and whoever
   does goes on with what was. */
static void forced(real *x, const char *who) {
  error *e = shadows_revert(x->p, x->id, false, NULL);
  CHECK(case_says(e, VSS_E_VOLUME_IN_USE, who));
  CHECK_TEXT(said(x->source), "new");
  DONE(shadows_revert(x->p, x->id, true, NULL));
  CHECK_TEXT(said(x->source), "old");
}

static void write_new(const real *x) {
  char file[800];
  snprintf(file, sizeof file, "%s/word", x->source);
  case_put(file, "new");
}

TEST(reverted_in_use) {
  real x;
  char file[800], me[80], byte = 0;
  if (!make(&x, BTRFS, &provider_btrfs)) SKIP(volumes_missing);
  snprintf(file, sizeof file, "%s/word", x.source);
  snprintf(me, sizeof me, "in use by process %d (", (int)getpid());
  int fd = open(file, O_RDONLY | O_CLOEXEC);
  forced(&x, me);
  CHECK(pread(fd, &byte, 1, 0) == 1 && byte == 'n'); /* of "new" */
  close(fd);
  /* What is mapped, though it is not open any more. */
  write_new(&x);
  fd = open(file, O_RDONLY | O_CLOEXEC);
  void *map = mmap(NULL, 3, PROT_READ, MAP_SHARED, fd, 0);
  close(fd);
  CHECK(map != MAP_FAILED);
  forced(&x, me);
  CHECK_INT(memcmp(map, "new", 3), 0);
  munmap(map, 3);
  /* Who works there. */
  write_new(&x);
  int gate[2];
  CHECK_INT(pipe2(gate, O_CLOEXEC), 0);
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    bool good = chdir(x.source) == 0 && write(gate[1], "x", 1) == 1;
    while (good) pause();
    _exit(1);
  }
  CHECK_INT(read(gate[0], &byte, 1), 1);
  snprintf(me, sizeof me, "in use by process %d (", (int)child);
  forced(&x, me);
  kill(child, SIGKILL);
  waitpid(child, NULL, 0);
  close(gate[0]);
  close(gate[1]);
  write_new(&x);
  CHECK_INT(revert(&x, 0), 0); /* nobody is there any more */
  end(&x);
}

/* A mount would go on with a deleted subvolume. */
TEST(not_reverted_by_any_force) {
  real x;
  char at[700];
  if (!make(&x, BTRFS, &provider_btrfs)) SKIP(volumes_missing);
  snprintf(at, sizeof at, "%s", volumes_in("at-%s", x.id));
  mkdir(at, 0755);
  CHECK_INT(volumes_run("mount -o subvol='%s' '%s' '%s'",
                        x.source + strlen(x.v->path), x.v->device, at),
            0);
  CHECK(case_says(shadows_revert(x.p, x.id, true, NULL), VSS_E_VOLUME_IN_USE,
                  "it is mounted"));
  CHECK_INT(umount2(at, 0), 0);
  rmdir(at);
  CHECK_TEXT(said(x.source), "new");
  end(&x);
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
  CHECK_INT(case_end(shadows_revert(x.p, "x", false, NULL), SAROS_E_INVALIDARG),
            SAROS_E_INVALIDARG);
  places_unref(x.p);
}


static void all(void) {
  RUN(broken_up_image);
  RUN(broken_up_as_it_is);
  RUN(broken_up_in_use);
  RUN(broken_up_copy);
  RUN(broken_up_reflink);
  RUN(broken_up_btrfs);
  RUN(half_broken_image);
  RUN(half_broken_btrfs);
  RUN(reverted_btrfs);
  RUN(reverted_in_use);
  RUN(not_reverted_by_any_force);
  RUN(not_reverted);
}

int main(int argc, char **argv) {
  return volumes_main(argc, argv, all);
}
