/*
** The provider `copy` and a source that changes: between its passes, under the
** hold, all the time; also for a user who may not read all of it.
**
** not under valgrind: its children are forked or killed; ASan runs it
*/
#include <sys/mman.h>

#include "copy_pass_case.h"

TEST(what_has_not_changed_is_not_made_again) {
  VOLUMES_EACH(v) {
    make_tree(fresh_source(v));
    let_tick();
    shadow *s = shadow_counting("live", nothing);
    CHECK_INT(commit_copied, 0);
    CHECK_INT(compare(from, s->path), 0);
    case_drop(s);
  }
}

static void keep_times(const char *path, void (*change)(const char *)) {
  struct stat st;
  stat(path, &st);
  change(path);
  struct timespec t[2] = {st.st_atim, st.st_mtim};
  utimensat(AT_FDCWD, path, t, 0);
}

static void overwrite(const char *path) {
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  CHECK_INT(pwrite(fd, "overwritten", 11, 5), 11);
  close(fd);
}

static void change_everything(void) {
  char p[1000], q[1000];
  put_file(P("%s/d0/new", from), 5000, 77);
  overwrite(P("%s/d0/file-1", from));
  keep_times(P("%s/d0/file-2", from), overwrite);
  truncate(P("%s/d0/file-3", from), 10);
  unlink(P("%s/d0/file-4", from));
  chmod(P("%s/d0/file-5", from), 0600);
  setxattr(P("%s/d0/file-6", from), "user.new", "x", 1, 0);
  snprintf(q, sizeof q, "%s", P("%s/d0/file-7", from));
  rename(q, P("%s/d1/moved", from));
  /* One takes the other's name. */
  snprintf(q, sizeof q, "%s", P("%s/d1/file-31", from));
  rename(q, P("%s/d1/file-32", from));
  /* Hard links: one more, one less, one new. */
  snprintf(q, sizeof q, "%s", P("%s/linked", from));
  link(q, P("%s/d3/linked", from));
  unlink(P("%s/d2/linked", from));
  snprintf(q, sizeof q, "%s", P("%s/d3/file-100", from));
  link(q, P("%s/d4/file-100", from));
  overwrite(q);
  /* Directories: moved, gone, new, another mode, another time. */
  snprintf(q, sizeof q, "%s", P("%s/d8", from));
  rename(q, P("%s/d9/d8", from));
  rmdir(P("%s/empty", from));
  mkdir(P("%s/fresh", from), 0700);
  make_many(P("%s/fresh/more", from), 10, 5, 100);
  chmod(P("%s/d6", from), 0711);
  setxattr(P("%s/d5", from), "user.colour", "green", 5, 0);
  if (getuid() == 0) put_file(P("%s/closed/inside", from), 10, 1);
  /* Each kind becomes another. */
  unlink(P("%s/nothing", from));
  mkdir(P("%s/nothing", from), 0755);
  put_file(P("%s/nothing/inside", from), 10, 1);
  volumes_run("rm -r '%s/d2'", from);
  put_file(P("%s/d2", from), 10, 1);
  unlink(P("%s/dangling", from));
  CHECK_INT(symlink("elsewhere", P("%s/dangling", from)), 0);
  unlink(P("%s/fifo", from));
  put_file(P("%s/fifo", from), 10, 1);
  unlink(P("%s/d4/up", from));
  mkdir(P("%s/d4/up", from), 0755);
}

TEST(what_has_changed_is) {
  VOLUMES_EACH(v) {
    make_tree(fresh_source(v));
    let_tick();
    shadow *s = shadow_counting("live", change_everything);
    CHECK_INT(between_times, 1);
    CHECK_INT(compare(from, s->path), 0);
    CHECK_INT(s->warnings->count, 0);
    /* d8 has 30 files, and some 35 are named above. */
    CHECK(commit_copied > 30 && commit_copied < 90);
    case_drop(s);
  }
}

static void change_once(void) {
  tree_long = 0; /* the hook is before the look at it */
  if (between_times != 1) return;
  change_everything();
  let_tick(); /* what is as young as a pass is looked at once more */
}

/* What a long pass has missed is not left to the hold; when nothing has changed
   there is no third. */
TEST(a_pass_that_took_long_has_another) {
  const volume *v = volumes_get(EXT4);
  if (v == NULL) SKIP(volumes_missing);
  make_tree(fresh_source(v));
  let_tick();
  shadow *s = shadow_counting("live", change_once);
  CHECK_INT(between_times, 3);
  CHECK_INT(commit_copied, 0);
  CHECK_INT(compare(from, s->path), 0);
  case_drop(s);
}

static void nothing_left(void) {
  volumes_run("rm -r '%s'/* '%s'/.??* 2>/dev/null", from, from);
}

TEST(all_is_removed_meanwhile) {
  const volume *v = volumes_get(EXT4);
  if (v == NULL) SKIP(volumes_missing);
  make_tree(fresh_source(v));
  shadow *s = shadow_with("live", nothing_left);
  CHECK_INT(case_entries(s->path), 0);
  CHECK_INT(compare(from, s->path), 0);
  case_drop(s);
}

/* Out and in again: each time its entries look as they did before. */
static void move_out(void) {
  char p[1000], q[1000];
  const char *a = P("%s/d3", from);
  snprintf(q, sizeof q, "%s-away", from);
  CHECK_INT(
      rename(between_times % 2 == 1 ? a : q, between_times % 2 == 1 ? q : a),
      0);
}

TEST(a_directory_that_comes_back) {
  const volume *v = volumes_get(XFS);
  if (v == NULL) SKIP(volumes_missing);
  make_tree(fresh_source(v));
  let_tick();
  error *e = NULL;
  shadow *s = case_plan(&provider_copy, from, &e);
  set_between("live", move_out);
  DONE(s->provider->prepare(s, NULL));
  /* A second live pass, without it; then it is back. */
  tree *t = s->self;
  DONE(pass_run(t, false));
  between_times++;
  move_out();
  set_between(NULL, NULL);
  DONE(s->provider->commit(s));
  DONE(s->provider->finish(s, NULL));
  CHECK_INT(compare(from, s->path), 0);
  case_drop(s);
}


/* ------------------------------------------------------------------
** What hides from a look at times
** ---------------------------------------------------------------- */

static char *mapped;

static void store_again(void) {
  strcpy(mapped + 100, "second store");
}

/* The page is dirty before the shadow begins; a second store to it leaves no
   mark on the file but the data. */
TEST(stores_through_a_mapping) {
  VOLUMES_EACH(v) {
    char p[1000];
    mkdir(fresh_source(v), 0755);
    put_file(P("%s/mapped", from), 20000, 3);
    int fd = open(p, O_RDWR | O_CLOEXEC);
    mapped = mmap(NULL, 20000, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    close(fd);
    strcpy(mapped + 100, "first store");
    let_tick();
    shadow *s = shadow_with("live", store_again);
    CHECK_INT(compare(from, s->path), 0);
    munmap(mapped, 20000);
    case_drop(s);
  }
}

/* A store after the first pass has begun, and before it came to the file: the
   gate is the file before it. */
static void store_twice(void) {
  strcpy(mapped + 200, between_times == 1 ? "early" : "later");
}

TEST(stores_through_a_mapping_on_tmpfs) {
  char p[1000];
  snprintf(from, sizeof from, "%s", volumes_in("memory"));
  mkdir(from, 0755);
  if (mount("none", from, "tmpfs", 0, NULL) != 0) SKIP("cannot mount tmpfs");
  put_file(P("%s/mapped", from), 20000, 3);
  int fd = open(p, O_RDWR | O_CLOEXEC);
  mapped = mmap(NULL, 20000, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
  close(fd);
  store_again();
  let_tick();
  shadow *s = shadow_with("live", store_twice);
  CHECK_INT(compare(from, s->path), 0);
  munmap(mapped, 20000);
  case_drop(s);
  umount2(from, MNT_DETACH);
}


/* ------------------------------------------------------------------
** A source that never holds still
** ---------------------------------------------------------------- */

static _Atomic bool mutating;
static unsigned mutation_seed;

static unsigned dice(unsigned n) {
  static unsigned state;
  if (mutation_seed != 0) state = mutation_seed;
  mutation_seed = 0;
  state = state * 1664525u + 1013904223u;
  return (state >> 8) % n;
}

/* One of some 600 names, in a directory that may be a moved one. */
static const char *any_name(char *p) {
  unsigned d = dice(10), below = dice(8), file = dice(40);
  if (below < 4) return P("%s/d%u/sub-%u/file-%u", from, d, below, file);
  return P("%s/d%u/file-%u", from, d, d * 40 + file);
}

static const char *any_directory(char *p) {
  return P("%s/d%u/sub-%u", from, dice(10), dice(4));
}

static void mutate_once(void) {
  char p[1000], q[1000];
  any_name(p);
  any_name(q);
  int fd;
  switch (dice(12)) {
    case 0: unlink(p); break;
    case 1:
    case 2:
    case 3:
      fd = open(p, O_WRONLY | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0644);
      if (fd >= 0 && pwrite(fd, q, 50, dice(9000)) < 0) perror(p);
      if (fd >= 0) close(fd);
      break;
    case 4: rename(p, q); break;
    case 5:
      if (link(p, q) != 0) unlink(q);
      break;
    case 6:
      fd = open(p, O_WRONLY | O_NOFOLLOW | O_CLOEXEC);
      if (fd >= 0 && ftruncate(fd, dice(20000)) != 0) perror(p);
      if (fd >= 0) close(fd);
      break;
    case 7:
      if (fchmodat(AT_FDCWD, p, 0600 + dice(64), 0) != 0) unlink(q);
      break;
    case 8:
    case 9: rename(any_directory(p), any_directory(q)); break;
    case 10:
      unlink(p);
      if (symlink("nowhere", p) != 0) rmdir(p);
      break;
    default: mkdir(any_directory(p), 0700 + dice(64));
  }
}

static void *mutator(void *none) {
  (void)none;
  while (atomic_load(&mutating)) mutate_once();
  return NULL;
}

static pthread_t mutator_thread;

/* The writers hold still from here on. */
static void hold_still(void) {
  atomic_store(&mutating, false);
  pthread_join(mutator_thread, NULL);
}

TEST(a_source_in_motion) {
  unsigned rounds = getenv("SAROS_LONG") != NULL ? 60 : 6;
  if (getenv("SAROS_QUICK") != NULL) rounds = 1;
  VOLUMES_EACH(v) {
    for (unsigned i = 0; i < rounds; i++) {
      make_many(fresh_source(v), 400, 40, 2000);
      mutation_seed = i * 77 + 1;
      atomic_store(&mutating, true);
      pthread_create(&mutator_thread, NULL, mutator, NULL);
      shadow *s = shadow_with("commit", hold_still);
      unsigned differences = compare(from, s->path);
      CHECK_INT(differences, 0);
      if (differences > 0) printf("%s, round %u\n", v->type, i);
      case_drop(s);
      volumes_wipe(from);
    }
  }
}

/* A directory that is sometimes a link to where we must not go. */
static void *swapper(void *none) {
  char p[1000], q[1000], r[1000];
  (void)none;
  snprintf(p, sizeof p, "%s/swapped", from);
  snprintf(q, sizeof q, "%s/swapped.real", from);
  snprintf(r, sizeof r, "%s/swapped.link", from);
  while (atomic_load(&mutating)) {
    rename(p, q);
    rename(r, p);
    rename(p, r);
    rename(q, p);
  }
  return NULL;
}

TEST(links_that_are_swapped_for_directories) {
  const volume *v = volumes_get(EXT4);
  if (v == NULL) SKIP(volumes_missing);
  char p[1000];
  mkdir(volumes_in("secret"), 0700);
  put_file(volumes_in("secret/secret"), 100, 1);
  mkdir(fresh_source(v), 0755);
  make_many(P("%s/swapped", from), 200, 20, 100);
  CHECK_INT(symlink(volumes_in("secret"), P("%s/swapped.link", from)), 0);
  for (int i = 0; i < 10; i++) {
    atomic_store(&mutating, true);
    pthread_create(&mutator_thread, NULL, swapper, NULL);
    shadow *s = shadow_with("commit", hold_still);
    CHECK_INT(compare(from, s->path), 0);
    CHECK(volumes_run("find '%s' -name secret | grep -q .", s->path) != 0);
    case_drop(s);
  }
}

static void write_at_end(void) {
  char p[1000];
  overwrite(P("%s/d0/big", from));
}

static void touch_big(void) {
  char p[1000];
  overwrite(P("%s/d0/big", from));
  between = write_at_end; /* and again while it is copied */
  between_where = "file";
}

TEST(written_to_under_the_hold) {
  VOLUMES_EACH(v) {
    make_tree(fresh_source(v));
    let_tick();
    shadow *s = shadow_with("commit", touch_big);
    CHECK_INT(value_integer(value_get(s->keep, "torn_count"), 0), 1);
    const value *torn = value_get(s->keep, "torn");
    char p[1000];
    CHECK(torn != NULL && torn->count == 1);
    CHECK_TEXT(value_chars(torn->as.items[0], ""), P("%s/d0/big", from));
    CHECK_INT(case_warned(s, "was written to while it was copied"), 1);
    CHECK_INT(s->warnings->count, 1);
    case_drop(s);
  }
}

static void other_mode(void) {
  char p[1000];
  chmod(P("%s/d0/big", from), 0640);
}

static void touch_and_mode(void) {
  touch_big();
  between = other_mode;
}

TEST(another_mode_is_no_write) {
  const volume *v = volumes_get(EXT4);
  if (v == NULL) SKIP(volumes_missing);
  make_tree(fresh_source(v));
  let_tick();
  shadow *s = shadow_with("commit", touch_and_mode);
  CHECK(value_get(s->keep, "torn_count") == NULL);
  CHECK_INT(case_warned(s, "was written to while it was copied"), 0);
  case_drop(s);
}

/* A log that grows all the time, whatever anybody asks of it. */
static void *grower(void *none) {
  static const char more[512];
  char p[1000];
  int fd = open(P("%s/d0/big", from), O_WRONLY | O_APPEND | O_CLOEXEC);
  (void)none;
  for (int i = 0; atomic_load(&mutating) && i < 100000; i++)
    if (write(fd, more, sizeof more) < 0) break;
  close(fd);
  return NULL;
}

TEST(what_grows_under_the_hold_is_there) {
  char p[1000];
  VOLUMES_EACH(v) {
    make_tree(fresh_source(v));
    for (int i = 0; i < 5; i++) {
      atomic_store(&mutating, true);
      pthread_create(&mutator_thread, NULL, grower, NULL);
      shadow *s = shadow_with("commit", nothing);
      atomic_store(&mutating, false);
      pthread_join(mutator_thread, NULL);
      CHECK_INT(access(P("%s/d0/big", s->path), F_OK), 0);
      case_drop(s);
    }
  }
}


static const volume *user_volume;

/* As a user: what of his own he may not read, and what he may not keep. */
static void as_user(void) {
  char p[1000];
  snprintf(volumes_scratch, sizeof volumes_scratch, "%.150s/user",
           user_volume->path);
  mkdir(volumes_scratch, 0700);
  make_tree(P("%s/tree", volumes_scratch));
  snprintf(from, sizeof from, "%.600s", p);
  chmod(P("%s/d1/file-40", from), 0);
  chmod(P("%s/d2/file-70", from), 0);
  mkdir(P("%s/shut", from), 0);
  error *e = NULL;
  engine_acquire();
  let_tick();
  shadow *s = shadow_with("live", nothing);
  CHECK_INT(case_warned(s, "could not be read and so are not in the shadow"),
            1);
  CHECK_INT(case_warned(s, "file-40"), 1);
  CHECK_INT(case_warned(s, "/shut"), 1);
  CHECK_INT(case_warned(s, "not read-only"), 1);
  CHECK_INT(value_integer(value_get(s->keep, "unread_count"), 0), 3);
  CHECK(access(P("%s/d1/file-40", s->path), F_OK) != 0);
  CHECK_INT(case_entries(P("%s/d1", s->path)), 30);
  struct stat st;
  CHECK(stat(P("%s/closed", s->path), &st) == 0 &&
        (st.st_mode & 07777) == 0500);
  /* In the second pass such a directory is written to. */
  case_drop(s);
  chmod(P("%s/closed", from), 0700);
  put_file(P("%s/closed/inside", from), 10, 1);
  chmod(P("%s/closed", from), 0500);
  chmod(P("%s/closed/inside", from), 0400);
  s = shadow_with("live", change_everything);
  CHECK(access(P("%s/closed/inside", s->path), R_OK) == 0);
  case_drop(s);
  engine_release();
  error_unref(e);
}

TEST(for_a_user) {
  user_volume = volumes_get(EXT4);
  if (user_volume == NULL) SKIP(volumes_missing);
  chmod(volumes_scratch, 0711);
  chmod(user_volume->path, 0777);
  engine_release(); /* threads do not survive a fork */
  case_as_user(65534, as_user);
  engine_acquire();
}

static void all(void) {
  engine_acquire();
  RUN(what_has_not_changed_is_not_made_again);
  RUN(what_has_changed_is);
  RUN(a_pass_that_took_long_has_another);
  RUN(all_is_removed_meanwhile);
  RUN(a_directory_that_comes_back);
  RUN(stores_through_a_mapping);
  RUN(stores_through_a_mapping_on_tmpfs);
  RUN(a_source_in_motion);
  RUN(links_that_are_swapped_for_directories);
  RUN(written_to_under_the_hold);
  RUN(another_mode_is_no_write);
  RUN(what_grows_under_the_hold_is_there);
  RUN(for_a_user);
  engine_release();
}

int main(int argc, char **argv) {
  return volumes_main(argc, argv, all);
}
