/*
** What the tests of the provider `copy` share: a tree of every kind of file,
** and
** a hook that stands between its passes, where the test changes the source.
*/
#ifndef SAROS_COPY_PASS_CASE_H
#define SAROS_COPY_PASS_CASE_H

#include <time.h>

#include "shadow_case.h"
#include "tree_case.h"
#include "vss/provider/tree.h"
#include "vss/provider/tree_parts.h"

#define IN(...) volumes_in(__VA_ARGS__)

/* What is changed within one tick of the kernel's clock looks alike; a pass
   does not trust what is younger than that when it begins. */
static inline void let_tick(void) {
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

static inline const char *in_p(char *p, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
static inline const char *in_p(char *p, const char *format, ...) {
  va_list args;
  va_start(args, format);
  vsnprintf(p, 1000, format, args);
  va_end(args);
  return p;
}
#define P(...) in_p(p, __VA_ARGS__)

static inline void make_tree(const char *root) {
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

static inline const char *fresh_source(const volume *v) {
  static unsigned number;
  snprintf(from, sizeof from, "%s/from-%u", v->path, ++number);
  return from;
}


/* ------------------------------------------------------------------
** Between the passes
** ---------------------------------------------------------------- */

static void (*between)(void);
static const char *between_where;
static unsigned between_times;

static inline void hook(shadow *s, const char *where) {
  (void)s;
  if (between != NULL && strcmp(where, between_where) == 0) {
    between_times++;
    between();
  }
}

/* `what` is done when the pass of that name is over; of the live ones there is
   one then, however long it takes. */
static inline void set_between(const char *where, void (*what)(void)) {
  tree_long = UINT64_MAX;
  between = what;
  between_where = where;
  if (what != NULL) between_times = 0;
  atomic_store(&tree_hook, what != NULL ? hook : NULL);
}

static inline shadow *shadow_with(const char *where, void (*what)(void)) {
  set_between(where, what);
  shadow *s = case_shadow(&provider_copy, from);
  set_between(NULL, NULL);
  return s;
}

static uint64_t commit_copied;

/* case_shadow, and what its commit made. */
static inline shadow *shadow_counting(const char *where, void (*what)(void)) {
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

static inline void nothing(void) {
}

#endif
