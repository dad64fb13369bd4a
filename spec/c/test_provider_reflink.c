/*
** The provider `reflink`, on XFS and btrfs. What it has in common with `copy`
** is proved there (test_provider_copy.c).
**
** not under valgrind: its children are forked or killed; ASan runs it
*/
#include <linux/fiemap.h>

#include "shadow_case.h"
#include "tree_case.h"
#include "vss/provider/tree.h"
#include "vss/provider/tree_parts.h"

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

static const char *fresh_source(const volume *v) {
  static unsigned number;
  snprintf(from, sizeof from, "%s/source-%u", v->path, ++number);
  return from;
}

/* Those that share blocks. */
#define SHARING_EACH(v)                                                 \
  for (int v##_i = XFS; v##_i <= BTRFS; v##_i++)                        \
    for (const volume *v = volumes_get((volumes_kind)v##_i); v != NULL; \
         v = NULL)

/* Whether all of its data is shared with another file. */
static bool is_shared(const char *path) {
  static char room[sizeof(struct fiemap) + 64 * sizeof(struct fiemap_extent)]
      __attribute__((aligned(8)));
  struct fiemap *f = (void *)room;
  memset(room, 0, sizeof room);
  f->fm_length = FIEMAP_MAX_OFFSET;
  f->fm_flags = FIEMAP_FLAG_SYNC;
  f->fm_extent_count = 64;
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  int r = fd >= 0 ? ioctl(fd, FS_IOC_FIEMAP, f) : -1;
  if (fd >= 0) close(fd);
  for (unsigned i = 0; r == 0 && i < f->fm_mapped_extents; i++)
    if ((f->fm_extents[i].fe_flags & FIEMAP_EXTENT_SHARED) == 0) return false;
  return r == 0 && f->fm_mapped_extents > 0;
}

static void make_tree(const char *root) {
  char p[1000], q[1000];
  make_many(root, 300, 30, 5000);
  put_file(P("%s/d0/big", root), 30000000, 5);
  put_file(P("%s/empty", root), 0, 0);
  put_file(P("%s/linked", root), 50000, 7);
  snprintf(q, sizeof q, "%s", p);
  CHECK_INT(link(q, P("%s/d1/linked", root)), 0);
  CHECK_INT(symlink("/nowhere/at all", P("%s/dangling", root)), 0);
  mkfifo(P("%s/fifo", root), 0640);
}

TEST(shares_its_blocks) {
  unsigned volumes = 0;
  SHARING_EACH(v) {
    char p[1000];
    volumes++;
    make_tree(fresh_source(v));
    shadow *s = case_shadow(&provider_reflink, from);
    if (s == NULL) continue;
    CHECK_INT(compare(from, s->path), 0);
    CHECK_INT(s->warnings->count, 0);
    CHECK(is_shared(P("%s/d0/big", s->path)));
    CHECK(is_shared(P("%s/d3/file-100", s->path)));
    /* On the same file system, out of everybody's reach. */
    CHECK(strncmp(s->path, v->path, strlen(v->path)) == 0);
    CHECK(strstr(s->path, "/.saros-shadows/") != NULL);
    DONE(case_verify(&provider_reflink));
    case_drop(s);
    CHECK_INT(case_entries(P("%s/.saros-shadows", v->path)), -1);
  }
  if (volumes == 0) SKIP(volumes_missing);
}

static uint64_t committed;

static void change(shadow *s, const char *where) {
  char p[1000];
  (void)s;
  if (strcmp(where, "commit") != 0) return;
  put_file(P("%s/d0/big", from), 20000000, 6);
  put_file(P("%s/d1/new", from), 5000, 6);
  unlink(P("%s/d2/file-70", from));
}

TEST(only_what_has_changed) {
  SHARING_EACH(v) {
    error *e = NULL;
    make_tree(fresh_source(v));
    usleep(50000); /* let the clock that stamps files tick */
    shadow *s = case_plan(&provider_reflink, from, &e);
    DONE(e);
    atomic_store(&tree_hook, change);
    DONE(s->provider->prepare(s, NULL));
    DONE(s->provider->commit(s));
    committed = tree_copied(s);
    atomic_store(&tree_hook, NULL);
    DONE(s->provider->finish(s, NULL));
    CHECK_INT(committed, 2);
    CHECK_INT(compare(from, s->path), 0);
    case_drop(s);
  }
}

/* The whole file system, with our place in it. */
TEST(all_of_a_file_system) {
  SHARING_EACH(v) {
    char p[1000];
    make_many(fresh_source(v), 30, 10, 5000);
    shadow *s = case_shadow(&provider_reflink, v->path);
    size_t n = strlen(v->path);
    CHECK_INT(compare(from, P("%s%s", s->path, from + n)), 0);
    CHECK_INT(case_entries(P("%s/.saros-shadows", s->path)), 0);
    case_drop(s);
  }
}

TEST(a_single_file) {
  SHARING_EACH(v) {
    put_file(fresh_source(v), 20000000, 3);
    shadow *s = case_shadow(&provider_reflink, from);
    CHECK(is_shared(s->path));
    CHECK(volumes_run("cmp '%s' '%s'", from, s->path) == 0);
    case_drop(s);
  }
}

/* btrfs clones no file that is not copied on write into one that is. */
TEST(not_copied_on_write) {
  const volume *v = volumes_get(BTRFS);
  if (v == NULL) SKIP(volumes_missing);
  char p[1000];
  mkdir(fresh_source(v), 0755);
  int fd = open(P("%s/database", from), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
  int flags = FS_NOCOW_FL;
  CHECK_INT(ioctl(fd, FS_IOC_SETFLAGS, &flags), 0);
  for (int i = 0; i < 1000; i++) CHECK_INT(write(fd, p, 1000), 1000);
  close(fd);
  shadow *s = case_shadow(&provider_reflink, from);
  CHECK_INT(s->warnings->count, 0);
  CHECK_INT(compare(from, s->path), 0);
  CHECK(is_shared(P("%s/database", s->path)));
  case_drop(s);
}

TEST(many_pieces) {
  SHARING_EACH(v) {
    char p[1000];
    mkdir(fresh_source(v), 0755);
    int fd = open(P("%s/pieces", from), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    for (off_t at = 0; at < (64 << 20); at += 128 << 10)
      CHECK_INT(pwrite(fd, p, 1000, at), 1000);
    CHECK_INT(ftruncate(fd, 64 << 20), 0);
    close(fd);
    atomic_store(&pieces_many, 100);
    shadow *s = case_shadow(&provider_reflink, from);
    atomic_store(&pieces_many, 0);
    CHECK_INT(case_warned(s, " pieces: to clone it takes"), 1);
    CHECK_INT(case_warned(s, "/pieces"), 1);
    CHECK_INT(compare(from, s->path), 0);
    case_drop(s);
  }
}

TEST(what_cannot_be_cloned) {
  volume plain;
  error *e = NULL;
  const volume *v = volumes_get(EXT4);
  if (v == NULL) SKIP(volumes_missing);
  CHECK(case_plan(&provider_reflink, v->path, &e) == NULL);
  CHECK(case_says(e, VSS_E_VOLUME_NOT_SUPPORTED_BY_PROVIDER, "ext4"));
  CHECK(case_plan(&provider_reflink, "/proc/self", &e) == NULL);
  CHECK(case_says(e, VSS_E_VOLUME_NOT_SUPPORTED_BY_PROVIDER, "no data"));
  if (volume_make(&plain, "xfs", 300, NULL, "-m reflink=0")) {
    CHECK(case_plan(&provider_reflink, plain.path, &e) == NULL);
    CHECK(case_says(e, VSS_E_VOLUME_NOT_SUPPORTED_BY_PROVIDER, "reflink=1"));
  }
  volume_drop(&plain);
  v = volumes_get(BTRFS);
  if (v == NULL) SKIP(volumes_missing);
  const char *readonly = volumes_in("readonly");
  mkdir(readonly, 0755);
  CHECK_INT(mount(v->path, readonly, NULL, MS_BIND, NULL), 0);
  CHECK_INT(mount(NULL, readonly, NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL),
            0);
  CHECK(case_plan(&provider_reflink, readonly, &e) == NULL);
  CHECK(case_says(e, VSS_E_VOLUME_NOT_SUPPORTED_BY_PROVIDER, "read-only"));
  umount2(readonly, MNT_DETACH);
}

/* Where he may write: the highest directory that is his. */
static void as_user(void) {
  char p[1000];
  snprintf(volumes_scratch, sizeof volumes_scratch, "%.150s", from);
  mkdir(P("%s/home/below", from), 0700);
  make_tree(P("%s/home/below/tree", from));
  engine_acquire();
  shadow *s = case_shadow(&provider_reflink, p);
  CHECK(s != NULL);
  if (s == NULL) return;
  CHECK(strncmp(s->place, P("%s/home/.saros-shadows-65534/", from),
                strlen(from) + 6) == 0);
  CHECK_INT(compare(P("%s/home/below/tree", from), s->path), 0);
  CHECK_INT(case_warned(s, "not read-only"), 1);
  case_drop(s);
  /* His whole home, in which the place is. */
  s = case_shadow(&provider_reflink, P("%s/home", from));
  CHECK_INT(compare(P("%s/home/below", from), P("%s/below", s->path)), 0);
  case_drop(s);
  engine_release();
}

TEST(for_a_user) {
  SHARING_EACH(v) {
    char p[1000];
    mkdir(fresh_source(v), 0755);
    mkdir(P("%s/home", from), 0700);
    CHECK_INT(chown(p, 65534, 65534), 0);
    /* For the record of the test. */
    put_file(P("%s/record.json", from), 0, 0);
    chmod(p, 0666);
    chmod(volumes_scratch, 0711);
    engine_release();
    case_as_user(65534, as_user);
    engine_acquire();
  }
}

static void all(void) {
  engine_acquire();
  RUN(shares_its_blocks);
  RUN(only_what_has_changed);
  RUN(all_of_a_file_system);
  RUN(a_single_file);
  RUN(not_copied_on_write);
  RUN(many_pieces);
  RUN(what_cannot_be_cloned);
  RUN(for_a_user);
  engine_release();
}

int main(int argc, char **argv) {
  return volumes_main(argc, argv, all);
}
