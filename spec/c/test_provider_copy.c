/*
** The provider `copy`, as the coordinator leads it. What happens between its
** passes is done by a hook, which stands between them.
**
** not under valgrind: its children are forked or killed; ASan runs it
*/
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>

#include "shadow_case.h"
#include "tree_case.h"
#include "vss/provider/tree.h"
#include "vss/provider/tree_parts.h"

#define IN(...) volumes_in(__VA_ARGS__)

/* What is changed within one tick of the kernel's clock looks alike; a pass
   does not trust what is younger than that when it begins. */
static void let_tick(void) {
  struct timespec begun, now;
  clock_gettime(CLOCK_REALTIME_COARSE, &begun);
  do {
    usleep(1000);
    clock_gettime(CLOCK_REALTIME_COARSE, &now);
  } while ((now.tv_sec - begun.tv_sec) * 1000000000L + now.tv_nsec -
               begun.tv_nsec <
           40000000L);
}

static char from[700]; /* of the running test */

static const char *in_p(char *p, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static const char *in_p(char *p, const char *format, ...) {
  va_list args;
  va_start(args, format);
  vsnprintf(p, 1000, format, args);
  va_end(args);
  return p;
}
#define P(...) in_p(p, __VA_ARGS__)

static void make_tree(const char *root) {
  char p[1000], q[1000];
  make_many(root, 300, 30, 3000);
  mkdir(P("%s/empty", root), 0751);
  mkdir(P("%s/closed", root), 0500);
  put_file(P("%s/d0/big", root), 3000000, 5);
  put_file(P("%s/bad\xff\xfe utf8\n", root), 100, 9);
  put_file(P("%s/nothing", root), 0, 0);
  put_file(P("%s/linked", root), 5000, 7);
  snprintf(q, sizeof q, "%s", p);
  CHECK_INT(link(q, P("%s/d1/linked", root)), 0);
  CHECK_INT(link(q, P("%s/d2/linked", root)), 0);
  CHECK_INT(symlink("/nowhere/at all", P("%s/dangling", root)), 0);
  CHECK_INT(symlink("../d3", P("%s/d4/up", root)), 0);
  mkfifo(P("%s/fifo", root), 0640);
  mknod(P("%s/socket", root), S_IFSOCK | 0600, 0);
  setxattr(P("%s/d5", root), "user.colour", "deep blue", 9, 0);
  setxattr(P("%s/nothing", root), "user.colour", "red", 3, 0);
  if (getuid() == 0) {
    mknod(P("%s/null", root), S_IFCHR | 0666, makedev(1, 3));
    chown(P("%s/d6/file-185", root), 1234, 5678);
    chmod(p, 04755);
  }
  int fd = open(P("%s/holes", root), O_WRONLY | O_CREAT | O_CLOEXEC, 0444);
  CHECK_INT(pwrite(fd, "x", 1, 20000000), 1);
  close(fd);
  struct timespec t[2] = {{1000000000, 123}, {1100000000, 987654321}};
  utimensat(AT_FDCWD, P("%s/d7", root), t, 0);
  utimensat(AT_FDCWD, P("%s/dangling", root), t, AT_SYMLINK_NOFOLLOW);
}

#define VOLUMES_EACH(v)                                                 \
  for (int v##_i = 0; v##_i <= BTRFS; v##_i++)                          \
    for (const volume *v = volumes_get((volumes_kind)v##_i); v != NULL; \
         v = NULL)

static const char *fresh_source(const volume *v) {
  static unsigned number;
  snprintf(from, sizeof from, "%s/from-%u", v->path, ++number);
  return from;
}


/* ------------------------------------------------------------------
** All of it
** ---------------------------------------------------------------- */

TEST(all_that_a_tree_has) {
  unsigned volumes = 0;
  VOLUMES_EACH(v) {
    volumes++;
    make_tree(fresh_source(v));
    shadow *s = case_shadow(&provider_copy, from);
    if (s == NULL) continue;
    CHECK_INT(compare(from, s->path), 0);
    CHECK_INT(s->warnings->count, 0);
    DONE(case_verify(&provider_copy));
    char place[700];
    snprintf(place, sizeof place, "%s", s->place);
    CHECK_INT(case_entries(place), 1); /* nothing of ours beside it */
    case_drop(s);
    CHECK_INT(case_entries(place), -1);
  }
  if (volumes == 0) SKIP(volumes_missing);
}

TEST(root_cannot_write_to_it_by_accident) {
  const volume *v = volumes_get(EXT4);
  if (v == NULL) SKIP(volumes_missing);
  make_tree(fresh_source(v));
  shadow *s = case_shadow(&provider_copy, from);
  int fd = open(IN("%s/new", s->id), O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
  CHECK(fd >= 0); /* the place is ours */
  close(fd);
  unlink(IN("%s/new", s->id));
  CHECK(open(IN("%s/root/new", s->id), O_CREAT | O_WRONLY, 0600) < 0);
  CHECK_INT(errno, EROFS);
  CHECK(open(IN("%s/root/nothing", s->id), O_WRONLY) < 0);
  CHECK_INT(errno, EROFS);
  struct stat st;
  CHECK_INT(stat(IN("%s", s->id), &st), 0);
  CHECK_INT(st.st_mode & 07777, 0700);
  case_drop(s);
}


/* ------------------------------------------------------------------
** Between the passes
** ---------------------------------------------------------------- */

static void (*between)(void);
static const char *between_where;
static unsigned between_times;

static void hook(shadow *s, const char *where) {
  (void)s;
  if (between != NULL && strcmp(where, between_where) == 0) {
    between_times++;
    between();
  }
}

/* `what` is done when the pass of that name is over. */
static void set_between(const char *where, void (*what)(void)) {
  between = what;
  between_where = where;
  if (what != NULL) between_times = 0;
  atomic_store(&tree_hook, what != NULL ? hook : NULL);
}

static shadow *shadow_with(const char *where, void (*what)(void)) {
  set_between(where, what);
  shadow *s = case_shadow(&provider_copy, from);
  set_between(NULL, NULL);
  return s;
}

static uint64_t commit_copied;

/* case_shadow, and what its commit made. */
static shadow *shadow_counting(const char *where, void (*what)(void)) {
  error *e = NULL;
  set_between(where, what);
  shadow *s = case_plan(&provider_copy, from, &e);
  CHECK(s != NULL);
  DONE(s->provider->prepare(s, NULL));
  DONE(s->provider->commit(s));
  commit_copied = tree_copied(s);
  DONE(s->provider->finish(s, NULL));
  set_between(NULL, NULL);
  return s;
}

static void nothing(void) {
}

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
    CHECK(torn != NULL && torn->count == 1 &&
          strstr(value_chars(torn->as.items[0], ""), "/d0/big") != NULL);
    CHECK_INT(case_warned(s, "was written to while it was copied"), 1);
    CHECK_INT(s->warnings->count, 1);
    case_drop(s);
  }
}


/* ------------------------------------------------------------------
** What is not copied, and said so
** ---------------------------------------------------------------- */

TEST(mounts_are_not_entered) {
  const volume *v = volumes_get(XFS);
  if (v == NULL) SKIP(volumes_missing);
  char p[1000];
  make_tree(fresh_source(v));
  CHECK_INT(mount("none", P("%s/empty", from), "tmpfs", 0, NULL), 0);
  put_file(P("%s/empty/elsewhere", from), 10, 1);
  shadow *s = case_shadow(&provider_copy, from);
  CHECK_INT(case_entries(P("%s/empty", s->path)), 0);
  CHECK_INT(case_warned(s, "mounted"), 1);
  CHECK_INT(case_warned(s, "/empty"), 1);
  case_drop(s);
  umount2(P("%s/empty", from), MNT_DETACH);
}

/* Its place, and another shadow beside it, lie in what is copied. */
TEST(not_into_itself) {
  const volume *v = volumes_get(EXT4);
  if (v == NULL) SKIP(volumes_missing);
  error *e = NULL;
  char p[1000], other[200];
  make_tree(fresh_source(v));
  snprintf(other, sizeof other, "%s",
           P("%s/empty/44444444-2222-4333-8444-555555555555", from));
  mkdir(other, 0700);
  shadow *s = case_plan(&provider_copy, from, &e);
  CHECK(s != NULL && shadow_place(s, P("%s/empty", from)));
  DONE(s->provider->plan(s));
  DONE(shadow_note(s));
  DONE(case_take(s));
  CHECK_INT(case_entries(P("%s/empty", s->path)), 0);
  CHECK_INT(case_entries(P("%s/d0", s->path)), 31);
  case_drop(s);
  CHECK_INT(case_entries(P("%s/empty", from)), 1);
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


/* ------------------------------------------------------------------
** A single file
** ---------------------------------------------------------------- */

static void rewrite_single(void) {
  put_file(from, 70000, 99);
}

static void remove_single(void) {
  unlink(from);
}

TEST(a_single_file) {
  VOLUMES_EACH(v) {
    char p[1000];
    make_tree(fresh_source(v));
    size_t n = strlen(from);
    snprintf(from + n, sizeof from - n, "/linked");
    shadow *s = shadow_with("live", rewrite_single);
    CHECK_INT(s->warnings->count, 0);
    CHECK_TEXT(strrchr(s->path, '/'), "/linked");
    CHECK(volumes_run("cmp '%s' '%s'", from, s->path) == 0);
    CHECK_INT(case_entries(P("%s/root", s->place)), 1);
    case_drop(s);
    error *e = NULL;
    s = case_plan(&provider_copy, from, &e);
    set_between("live", remove_single);
    DONE(s->provider->prepare(s, NULL));
    CHECK(case_says(s->provider->commit(s), SAROS_E_CHANGED, from));
    set_between(NULL, NULL);
    case_drop(s);
  }
}


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


/* ------------------------------------------------------------------
** Probe, verify, destroy
** ---------------------------------------------------------------- */

TEST(what_cannot_be_copied) {
  error *e = NULL;
  CHECK(case_plan(&provider_copy, "/proc/self", &e) == NULL);
  CHECK(case_says(e, VSS_E_VOLUME_NOT_SUPPORTED_BY_PROVIDER, "no data"));
  CHECK(case_plan(&provider_copy, "/dev/null", &e) == NULL);
  CHECK(case_says(e, VSS_E_VOLUME_NOT_SUPPORTED_BY_PROVIDER, "/dev/null"));
}

TEST(what_came_in_its_place) {
  const volume *v = volumes_get(EXT4);
  if (v == NULL) SKIP(volumes_missing);
  make_many(fresh_source(v), 12, 4, 100);
  shadow *s = case_shadow(&provider_copy, from);
  char place[700], root[800];
  snprintf(place, sizeof place, "%s", s->place);
  snprintf(root, sizeof root, "%s/root", place);
  DONE(case_verify(&provider_copy));
  s->provider->forget(s);
  umount2(root, MNT_DETACH);
  CHECK_INT(rename(root, volumes_in("aside")), 0);
  CHECK(case_says(case_verify(&provider_copy), VSS_E_OBJECT_NOT_FOUND, place));
  mkdir(root, 0700);
  CHECK(case_says(case_verify(&provider_copy), VSS_E_OBJECT_NOT_FOUND, place));
  CHECK_INT(rmdir(root), 0);
  CHECK_INT(rename(volumes_in("aside"), root), 0);
  /* Somebody else's is not touched, and neither is what a link points to. */
  CHECK_INT(chown(place, 1234, 1234), 0);
  CHECK(case_says(case_destroy(&provider_copy), SAROS_E_REFUSED, place));
  CHECK_INT(case_entries(root), 3);
  CHECK_INT(chown(place, 0, 0), 0);
  CHECK_INT(rename(place, volumes_in("aside")), 0);
  CHECK_INT(symlink(volumes_in("aside"), place), 0);
  error *e = case_destroy(&provider_copy);
  CHECK(e != NULL);
  error_unref(e);
  CHECK_INT(case_entries(volumes_in("aside/root")), 3);
  unlink(place);
  CHECK_INT(rename(volumes_in("aside"), place), 0);
  /* What is not ours in it stays, and is named. */
  put_file(volumes_in("%s/other", s->id), 10, 1);
  CHECK(case_says(case_destroy(&provider_copy), SAROS_E_REFUSED, place));
  unlink(volumes_in("%s/other", s->id));
  DONE(case_destroy(&provider_copy));
  CHECK_INT(case_entries(place), -1);
  shadow_free(s);
}

static void replace_source(void) {
  char p[1000];
  snprintf(p, sizeof p, "%s-old", from);
  rename(from, p);
  mkdir(from, 0755);
}

TEST(another_directory_in_its_place) {
  const volume *v = volumes_get(EXT4);
  if (v == NULL) SKIP(volumes_missing);
  error *e = NULL;
  make_many(fresh_source(v), 12, 4, 100);
  shadow *s = case_plan(&provider_copy, from, &e);
  set_between("live", replace_source);
  DONE(s->provider->prepare(s, NULL));
  set_between(NULL, NULL);
  CHECK(case_says(s->provider->commit(s), SAROS_E_CHANGED, from));
  case_drop(s);
}

static void all(void) {
  engine_acquire();
  RUN(all_that_a_tree_has);
  RUN(root_cannot_write_to_it_by_accident);
  RUN(what_has_not_changed_is_not_made_again);
  RUN(what_has_changed_is);
  RUN(all_is_removed_meanwhile);
  RUN(a_directory_that_comes_back);
  RUN(stores_through_a_mapping);
  RUN(stores_through_a_mapping_on_tmpfs);
  RUN(a_source_in_motion);
  RUN(links_that_are_swapped_for_directories);
  RUN(written_to_under_the_hold);
  RUN(mounts_are_not_entered);
  RUN(not_into_itself);
  RUN(for_a_user);
  RUN(a_single_file);
  RUN(no_room);
  RUN(cancelled_at_any_point);
  RUN(killed_at_any_point);
  RUN(without_memory);
  RUN(a_table_that_is_full);
  RUN(five_thousand_levels);
  RUN(what_cannot_be_copied);
  RUN(what_came_in_its_place);
  RUN(another_directory_in_its_place);
  engine_release();
}

int main(int argc, char **argv) {
  return volumes_main(argc, argv, all);
}
