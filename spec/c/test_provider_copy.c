/*
** The provider `copy`, as the coordinator leads it. What happens between its
** passes is done by a hook, which stands between them.
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
  put_file(P("%s/closed/inside", from), 10, 1);
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

static void all(void) {
  engine_acquire();
  RUN(all_that_a_tree_has);
  RUN(root_cannot_write_to_it_by_accident);
  RUN(what_has_not_changed_is_not_made_again);
  RUN(what_has_changed_is);
  RUN(all_is_removed_meanwhile);
  RUN(a_directory_that_comes_back);
  engine_release();
}

int main(int argc, char **argv) {
  return volumes_main(argc, argv, all);
}
