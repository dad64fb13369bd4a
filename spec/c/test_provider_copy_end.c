/*
** The provider `copy` at its end: without room or memory, cancelled, killed, in
** trees that are made to be its end.
**
** not under valgrind: its children are forked or killed; ASan runs it
*/
#include <sys/resource.h>

#include "copy_pass_case.h"

/* ------------------------------------------------------------------
** No room
** ---------------------------------------------------------------- */

/* A shadow of `from` in a small file system. */
static shadow *small_plan(volume *small, error **e) {
  shadow *s = case_plan(&provider_copy, from, e);
  if (s == NULL || !shadow_place(s, small->path)) return s;
  *e = s->provider->plan(s);
  if (*e == NULL) *e = shadow_note(s);
  return s;
}

static void grow_much(void) {
  char p[1000];
  put_file(P("%s/d0/grown", from), 60000000, 5);
}

TEST(no_room) {
  const volume *v = volumes_get(XFS);
  volume small;
  char place[700], p[1000];
  error *e = NULL;
  if (v == NULL || !volume_make(&small, "ext4", 40, NULL, NULL))
    SKIP(volumes_missing);
  make_many(fresh_source(v), 100, 50, 600000);
  shadow *s = small_plan(&small, &e);
  DONE(e);
  snprintf(place, sizeof place, "%s", s->place);
  CHECK(case_says(s->provider->prepare(s, NULL), VSS_E_INSUFFICIENT_STORAGE,
                  small.path));
  case_drop(s);
  CHECK_INT(case_entries(place), -1);

  make_many(fresh_source(v), 100, 50, 6000);
  s = small_plan(&small, &e);
  DONE(e);
  snprintf(place, sizeof place, "%s", s->place);
  set_between("live", grow_much);
  DONE(s->provider->prepare(s, NULL));
  set_between(NULL, NULL);
  CHECK(case_says(s->provider->commit(s), VSS_E_INSUFFICIENT_STORAGE,
                  small.path));
  case_drop(s);
  CHECK_INT(case_entries(place), -1);
  CHECK_INT(case_entries(P("%s/lost+found", small.path)), 0);
  volume_drop(&small);
}


/* ------------------------------------------------------------------
** Cancelled, killed, without memory
** ---------------------------------------------------------------- */

static void cancelled(saros_op *op, void *self) {
  (void)self;
  saros_op_finish(op, SAROS_E_CANCELLED, NULL);
}

static const saros_kind op_kind = {.size = sizeof(saros_kind),
                                   .name = "test.shadow",
                                   .facade = SAROS_FACADE_VSS,
                                   .flags = SAROS_CANCELLABLE,
                                   .cancel = cancelled};
static saros_op *running;

static void cancel_it(void) {
  saros_op_cancel(running);
}

TEST(cancelled_at_any_point) {
  static const char *const where[] = {"file", "live", "commit", "held"};
  const volume *v = volumes_get(BTRFS);
  if (v == NULL) SKIP(volumes_missing);
  make_tree(fresh_source(v));
  for (unsigned i = 0; i < 4; i++) {
    error *e = NULL;
    char place[700];
    running = saros_op_new(&op_kind, NULL, NULL);
    CHECK_INT(saros_op_start(running), 0);
    shadow *s = case_plan(&provider_copy, from, &e);
    snprintf(place, sizeof place, "%s", s->place);
    set_between(where[i], cancel_it);
    e = s->provider->prepare(s, running);
    if (e == NULL) e = s->provider->commit(s);
    if (e == NULL) e = s->provider->finish(s, running);
    set_between(NULL, NULL);
    CHECK_INT(case_end(e, SAROS_E_CANCELLED), SAROS_E_CANCELLED);
    s->provider->forget(s);
    value *keep = case_keep(case_file);
    DONE(s->provider->destroy(keep, running));
    CHECK_INT(case_entries(place), -1);
    value_free(keep);
    shadow_free(s);
    saros_op_unref(running);
  }
}

static void take_and_drop(void) {
  engine_acquire();
  case_drop(case_shadow(&provider_copy, from));
  engine_release();
}

TEST(killed_at_any_point) {
  const volume *v = volumes_get(EXT4);
  if (v == NULL) SKIP(volumes_missing);
  make_many(fresh_source(v), 12, 4, 100);
  unlink(volumes_in("record.json"));
  int before = case_entries(volumes_scratch);
  engine_release();
  bool ended = false;
  int n = 0;
  while (!ended && n < 200) {
    snprintf(case_file, sizeof case_file, "%s", volumes_in("record.json"));
    unlink(case_file);
    ended = case_dies_at(++n, take_and_drop);
    engine_acquire();
    DONE(case_destroy(&provider_copy));
    DONE(case_destroy(&provider_copy)); /* and again */
    engine_release();
    unlink(case_file);
    CHECK_INT(case_entries(volumes_scratch), before);
  }
  CHECK(ended && n > 20);
  engine_acquire();
}

/* Either it is whole, or it is an error, and then nothing stays. */
TEST(without_memory) {
  const volume *v = volumes_get(EXT4);
  if (v == NULL) SKIP(volumes_missing);
  make_many(fresh_source(v), 12, 4, 100);
  char place[700];
  unsigned failed = 0, whole = 0;
  error *e = NULL;
  for (int n = 1; n <= 300; n++) {
    shadow *s = case_plan(&provider_copy, from, &e);
    CHECK(s != NULL);
    if (s == NULL) return;
    snprintf(place, sizeof place, "%s", s->place);
    s->note = NULL; /* the one of the tests does not stand this */
    mem_fail_at(n);
    e = s->provider->prepare(s, NULL);
    if (e == NULL) e = s->provider->commit(s);
    if (e == NULL) e = s->provider->finish(s, NULL);
    mem_fail_at(0);
    if (e != NULL) failed++;
    if (e != NULL) CHECK_INT(case_end(e, SAROS_E_OUTOFMEMORY), 0x8007000E);
    if (e == NULL) whole++;
    if (e == NULL) CHECK_INT(compare(from, s->path), 0);
    case_drop(s);
    CHECK_INT(case_entries(place), -1);
  }
  CHECK(failed > 20 && whole > 20);
}

TEST(a_table_that_is_full) {
  const volume *v = volumes_get(EXT4);
  if (v == NULL) SKIP(volumes_missing);
  make_many(fresh_source(v), 3000, 100, 10);
  let_tick();
  atomic_store(&seen_most, 1024);
  shadow *s = shadow_counting("live", nothing);
  atomic_store(&seen_most, 0);
  CHECK(commit_copied >= 3000 - 768);
  CHECK_INT(compare(from, s->path), 0);
  case_drop(s);
}


/* ------------------------------------------------------------------
** Hostile trees
** ---------------------------------------------------------------- */

#define LEVELS 5000

static void deepen(void) {
  char name[101];
  memset(name, 'd', 100);
  name[100] = 0;
  int dir = open(from, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  for (int i = 0; i < LEVELS; i++) {
    if (mkdirat(dir, name, 0755) != 0 && errno != EEXIST) break;
    int down = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    close(dir);
    dir = down;
  }
  int fd = openat(dir, "bottom", O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
  CHECK_INT(write(fd, "bottom", 6), 6);
  close(fd);
  close(dir);
}

/* The size of the file at the bottom; -1: it is not there. */
static long bottom_of(const char *root) {
  struct stat st;
  char name[101];
  memset(name, 'd', 100);
  name[100] = 0;
  int dir = open(root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  for (int i = 0; i < LEVELS && dir >= 0; i++) {
    int down = openat(dir, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    close(dir);
    dir = down;
  }
  long size = dir >= 0 && fstatat(dir, "bottom", &st, 0) == 0 ? st.st_size : -1;
  if (dir >= 0) close(dir);
  return size;
}

TEST(five_thousand_levels) {
  const volume *v = volumes_get(XFS);
  if (v == NULL) SKIP(volumes_missing);
  mkdir(fresh_source(v), 0755);
  deepen();
  let_tick();
  shadow *s = shadow_counting("commit", deepen);
  CHECK_INT(bottom_of(s->path), 12);
  CHECK_INT(commit_copied, 1);
  case_drop(s);
}

static void all(void) {
  engine_acquire();
  RUN(no_room);
  RUN(cancelled_at_any_point);
  RUN(killed_at_any_point);
  RUN(without_memory);
  RUN(a_table_that_is_full);
  RUN(five_thousand_levels);
  engine_release();
}

int main(int argc, char **argv) {
  return volumes_main(argc, argv, all);
}
