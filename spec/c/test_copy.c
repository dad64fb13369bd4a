/*
** The copy, feature by feature, on ext4, btrfs and XFS where they can be had
** and else where the scratch directory is. What needs many files, time or
** trouble is in test_copy_load.c.
*/
#include "copy_case.h"

/* ------------------------------------------------------------------
** Everything a tree can have
** ---------------------------------------------------------------- */

/* user::rw-, user:1000:r--, group::r--, mask::r--, other::--- */
static const unsigned char acl[] = {
    2, 0,    0,   0,   1,   0,   6,  0, 255, 255, 255, 255, 2,   0,  4,
    0, 0xE8, 3,   0,   0,   4,   0,  4, 0,   255, 255, 255, 255, 16, 0,
    4, 0,    255, 255, 255, 255, 32, 0, 0,   0,   255, 255, 255, 255};

/* cap_net_raw+ep */
static const unsigned char capability[] = {1, 0, 0, 2, 0, 0x20, 0, 0, 0, 0,
                                           0, 0, 0, 0, 0, 0,    0, 0, 0, 0};

static void set_times(const char *path, long seconds) {
  struct timespec t[2] = {{1000000000 + seconds, 123456789},
                          {1100000000 + seconds, 987654321}};
  utimensat(AT_FDCWD, path, t, AT_SYMLINK_NOFOLLOW);
}

static void put_at(const char *path, off_t at, const char *text) {
  int fd = open(path, O_WRONLY | O_CLOEXEC);
  if (pwrite(fd, text, strlen(text), at) < 0) perror(path);
  close(fd);
}

static void make_sparse(const char *path, off_t size) {
  put_file(path, 0, 0);
  if (truncate(path, size) != 0) perror(path);
}

#define P(...) (snprintf(p, sizeof p, __VA_ARGS__), p)

static void make_files(const char *root) {
  char p[1000], q[1000];
  static const size_t sizes[] = {0, 1, 4095, 4096, 4097, 70000, 300000};
  for (unsigned i = 0; i < 7; i++)
    put_file(P("%s/plain-%u", root, i), sizes[i], i);
  make_sparse(P("%s/hole", root), 9000000);
  make_sparse(P("%s/trailing", root), 9000000);
  put_at(p, 0, "begin");
  make_sparse(P("%s/leading", root), 9000000);
  put_at(p, 8999990, "at the end");
  make_sparse(P("%s/middle", root), 20000000);
  put_at(p, 10000000, "middle");
  put_file(P("%s/one/linked", root), 5000, 7);
  snprintf(q, sizeof q, "%s", p);
  if (link(q, P("%s/two/linked-again", root)) != 0) perror(p);
  if (link(q, P("%s/linked-third", root)) != 0) perror(p);
  if (symlink("plain-1", P("%s/link", root)) != 0) perror(p);
  snprintf(q, sizeof q, "%s", p);
  if (link(q, P("%s/one/link-to-link", root)) != 0) perror(p);
  if (symlink("/nowhere/at all", P("%s/dangling", root)) != 0) perror(p);
  put_file(P("%s/bad\xff\xfe utf8\n", root), 100, 9);
  mkfifo(P("%s/fifo", root), 0640);
  mknod(P("%s/socket", root), S_IFSOCK | 0600, 0);
  if (getuid() == 0) mknod(P("%s/null", root), S_IFCHR | 0666, makedev(1, 3));
}

static void decorate(const char *root) {
  char p[1000];
  setxattr(P("%s/plain-3", root), "user.colour", "deep blue", 9, 0);
  setxattr(P("%s/plain-3", root), "user.empty", "", 0, 0);
  setxattr(P("%s/one", root), "user.colour", "red", 3, 0);
  setxattr(P("%s/plain-4", root), "system.posix_acl_access", acl, sizeof acl,
           0);
  setxattr(P("%s/two", root), "system.posix_acl_default", acl, sizeof acl, 0);
  chmod(P("%s/plain-0", root), 0);
  chmod(P("%s/plain-2", root), 0444);
  if (getuid() == 0) {
    setxattr(P("%s/plain-5", root), "trusted.secret", "x", 1, 0);
    lsetxattr(P("%s/link", root), "trusted.link", "y", 1, 0);
    setxattr(P("%s/fifo", root), "trusted.fifo", "z", 1, 0);
    if (chown(P("%s/plain-1", root), 1234, 5678) != 0) perror(p);
    if (lchown(P("%s/dangling", root), 1234, 5678) != 0) perror(p);
    if (chown(P("%s/one", root), 1234, 5678) != 0) perror(p);
    if (chown(P("%s/plain-6", root), 1234, 5678) != 0) perror(p);
    setxattr(P("%s/plain-6", root), "security.capability", capability,
             sizeof capability, 0);
  }
  chmod(P("%s/plain-1", root), 06711);
  chmod(P("%s/two", root), 03777);
  chmod(P("%s/fifo", root), 0622);
  static const char *const dated[] = {"plain-0", "link",  "fifo", "hole",
                                      "one",     "two",   "deep", "socket",
                                      "",        "middle"};
  for (long i = 0; i < 10; i++) set_times(P("%s/%s", root, dated[i]), i * 1000);
}

static void make_all(const char *root) {
  char p[1000];
  mkdir(root, 0755);
  mkdir(P("%s/one", root), 0755);
  mkdir(P("%s/two", root), 0755);
  mkdir(P("%s/empty", root), 0500);
  mkdir(P("%s/deep", root), 0755);
  mkdir(P("%s/deep/deeper", root), 0755);
  put_file(P("%s/deep/deeper/f", root), 10, 1);
  make_files(root);
  decorate(root);
}

TEST(everything) {
  char from[700], to[700];
  EACH_PLACE(dir) {
    snprintf(from, sizeof from, "%s/from", dir);
    snprintf(to, sizeof to, "%s/to", dir);
    make_all(from);
    for (int clone = CLONE_AUTO; clone <= CLONE_NEVER; clone++) {
      saros_op *op = begin(
          (copy_options){.from = from, .to = to, .clone = (copy_clone)clone});
      bool can = place_i == 1 || place_i == 2;
      CHECK(clone == CLONE_NEVER || !can || output(op, "cloned") > 380000);
      CHECK(clone == CLONE_AUTO || output(op, "cloned") == 0);
      CHECK(can || output(op, "holes") > 40000000);
      CHECK_INT(output(op, "directories"), 6);
      CHECK_INT(output(op, "links"), 3);
      CHECK_INT(output(op, "symlinks"), 2);
      CHECK_INT(output(op, "files"), 14);
      CHECK_INT(output(op, "skipped_xattrs"), 0);
      CHECK_INT(end(op, 0), 0);
      CHECK_INT(compare(from, to), 0);
      CHECK_INT(entries_in(dir), 2);
      wipe(to);
    }
  }
}

TEST(to_another_file_system) {
  const char *a = at_place(0), *b = at_place(2);
  char from[700], to[700];
  if (a == NULL || b == NULL) SKIP("needs ext4 and XFS");
  snprintf(from, sizeof from, "%s/from", a);
  snprintf(to, sizeof to, "%s/to", b);
  make_all(from);
  CHECK_INT(copy_now(from, to), 0);
  CHECK_INT(compare(from, to), 0);
  saros_op *op = begin(
      (copy_options){.from = from, .to = in("never"), .clone = CLONE_ALWAYS});
  CHECK_INT(end(op, 0x80070011u), 0x80070011u);
  wipe(from);
  wipe(to);
}


/* ------------------------------------------------------------------
** One thing alone
** ---------------------------------------------------------------- */

TEST(single_entries) {
  static const char *const names[] = {
      "plain-0",  "plain-3", "plain-4", "plain-6", "hole", "middle",
      "trailing", "link",    "fifo",    "socket",  "null", "plain-1"};
  char from[700], to[700];
  EACH_PLACE(dir) {
    snprintf(from, sizeof from, "%s/from", dir);
    make_all(from);
    /* What the parent gives to new entries must not show. */
    setxattr(dir, "system.posix_acl_default", acl, sizeof acl, 0);
    chmod(dir, 02755);
    for (unsigned i = 0; i < 12; i++) {
      if (getuid() != 0 && i == 10) continue;
      snprintf(from, sizeof from, "%s/from/%s", dir, names[i]);
      snprintf(to, sizeof to, "%s/to-%u", dir, i);
      saros_op *op =
          begin((copy_options){.from = from, .to = to, .durable = i % 2});
      CHECK_INT(end(op, 0), 0);
      comparison c = {.owners = true, .holes = true};
      compare_paths(&c, from, to);
      free(c.links_seen.at);
      CHECK_INT(c.differences, 0);
      CHECK_INT(entries_in(dir), i + 2);
      if (getuid() != 0) break;
    }
    snprintf(from, sizeof from, "%s/from", dir);
    snprintf(to, sizeof to, "%s/tree", dir);
    saros_op *op = begin((copy_options){.from = from, .to = to, .durable = 1});
    CHECK_INT(end(op, 0), 0);
    CHECK_INT(compare(from, to), 0);
  }
}

TEST(big_file_in_pieces) {
  char from[700], to[700];
  EACH_PLACE(dir) {
    snprintf(from, sizeof from, "%s/from", dir);
    snprintf(to, sizeof to, "%s/to", dir);
    put_file(from, 200000001, 5);
    if (truncate(from, 500000001) != 0) perror(from);
    put_at(from, 400000000, "there is something here");
    saros_op *op =
        begin((copy_options){.from = from, .to = to, .clone = CLONE_NEVER});
    CHECK_INT(end(op, 0), 0);
    comparison c = {.holes = true};
    compare_paths(&c, from, to);
    free(c.links_seen.at);
    CHECK_INT(c.differences, 0);
  }
}

TEST(paths) {
  const char *dir = own_place();
  char link[700];
  make_many(in("own/from"), 3, 3, 10);
  snprintf(link, sizeof link, "%s/link", dir);
  if (symlink("from", link) != 0) perror(link);
  CHECK_INT(copy_now(link, in("own/as-link")), 0);
  struct stat st;
  CHECK(lstat(in("own/as-link"), &st) == 0 && S_ISLNK(st.st_mode));
  CHECK_INT(copy_now(in("own/link/"), in("own/as-dir/")), 0);
  CHECK_INT(compare(in("own/from"), in("own/as-dir")), 0);
  CHECK_INT(copy_now(in("own/from/d0/.."), in("own/dotdot")), 0);
  CHECK_INT(compare(in("own/from"), in("own/dotdot")), 0);
  int here = open(".", O_RDONLY | O_CLOEXEC);
  CHECK(chdir(dir) == 0);
  saros_op *op = begin((copy_options){.from = "from", .to = "relative"});
  CHECK(fchdir(here) == 0);
  close(here);
  CHECK_INT(end(op, 0), 0);
  CHECK_INT(compare(in("own/from"), in("own/relative")), 0);
  uint32_t why = 1;
  op = saros_copy(in("own/from"), in("own/plain"), &why);
  CHECK_INT(why, 0);
  CHECK_INT(end(op, 0), 0);
  op = saros_copy("", "x", &why);
  CHECK(op == NULL);
  CHECK_INT(why, SAROS_E_INVALIDARG);
  wipe(dir);
}


/* ------------------------------------------------------------------
** What is refused
** ---------------------------------------------------------------- */

static void refused(copy_options o, uint32_t code, const char *says) {
  saros_op *op = begin(o);
  saros_op_wait(op, SAROS_INFINITE);
  error *e = op_error(op);
  CHECK_INT(saros_op_code(op), code);
  CHECK(e != NULL && strstr(e->message, says) != NULL);
  if (e != NULL && strstr(e->message, says) == NULL) puts(e->message);
  error_unref(e);
  saros_op_unref(op);
}

TEST(refusals) {
  const char *dir = own_place();
  make_many(in("own/from"), 20, 5, 10);
  put_file(in("own/file"), 10, 1);
  unsigned before = entries_in(dir);
#define FT(f, t, r) ((copy_options){.from = in(f), .to = in(t), .replace = r})
  refused(FT("own/none", "own/to", false), 0x80070002u, "cannot find");
  refused(FT("own/from", "own/no/to", false), 0x80070002u, "make it first");
  refused(FT("own/from", "own/file", false), 0x800700B7u, "the target exists");
  refused(FT("own/file", "own/from", false), 0x800700B7u, "the target exists");
  refused(FT("own/from", "own/from/d1/x", false), SAROS_E_REFUSED,
          "into itself");
  refused(FT("own/from", "own/from/x", false), SAROS_E_REFUSED, "into itself");
  refused(FT("own/file", "own/file", true), 0x800700B7u, "same file");
  refused(FT("own/from", "own/from", true), 0x800700B7u, "same file");
  refused(FT("own/from/d1", "own/from", true), SAROS_E_REFUSED,
          "contains the source");
  refused(FT("own/from/d1/", "own/from", true), SAROS_E_REFUSED,
          "contains the source");
  refused(FT("own/from/d1/file-7", "own/from", true), SAROS_E_REFUSED,
          "contains the source");
  refused(FT("own/from", "own/.", false), SAROS_E_INVALIDARG,
          "a name of its own");
  refused(FT("own/from", "own/file/x", false), 0x8007010Bu, "own/file/x");
  refused(FT("own/file/", "own/to", false), 0x8007010Bu, "own/file");
  CHECK_INT(entries_in(dir), before);
  CHECK_INT(entries_in(in("own/from")), 4);
  wipe(dir);
}

/* When the worker has let go, and the engine has left with it, which whoever
   needs one waits for: else that is taken for a leak. */
static void leave_child(bool good) {
  for (int i = 0; i < 60000 && engine_users() > 0; i++) usleep(1000);
  if (engine_acquire() == 0) engine_release();
  fflush(stdout);
  _exit(good ? 0 : 1);
}

TEST(error_has_the_path) {
  const char *dir = own_place();
  if (getuid() == 0) {
    mkdir(in("own/from"), 0755);
    put_file(in("own/from/a\nb\xff"), 10, 1);
    pid_t child = fork(); /* somebody who may not read it */
    if (child == 0) {
      chmod(in("own/from/a\nb\xff"), 0600);
      chmod(dir, 0777);
      chmod(scratch, 0755);
      if (setgid(65534) != 0 || setuid(65534) != 0) _exit(3);
      saros_op *op =
          begin((copy_options){.from = in("own/from"), .to = in("own/to")});
      saros_op_wait(op, SAROS_INFINITE);
      error *e = op_error(op);
      bool good = saros_op_code(op) == SAROS_E_ACCESSDENIED && e != NULL &&
                  strstr(e->message, "/own/from/a\\nb\\xff\"") != NULL &&
                  e->path != NULL &&
                  strcmp(e->path, in("own/from/a\nb\xff")) == 0;
      if (!good && e != NULL) puts(e->message);
      error_unref(e);
      saros_op_unref(op);
      leave_child(good);
    }
    int status = 1;
    waitpid(child, &status, 0);
    CHECK_INT(status, 0);
    CHECK_INT(entries_in(dir), 1);
  }
  wipe(dir);
  if (getuid() != 0) SKIP("needs root");
}


/* ------------------------------------------------------------------
** Replace
** ---------------------------------------------------------------- */

TEST(replace) {
  char from[700], to[700];
  EACH_PLACE(dir) {
    snprintf(to, sizeof to, "%s/to", dir);
    for (int what = 0; what < 6; what++) {
      snprintf(from, sizeof from, "%s/from%d", dir, what);
      if (what % 2 == 0) /* tree, file, tree, file; then what is there */
        make_many(from, 200, 20, 100);
      else
        put_file(from, 1000, (unsigned)what);
      if (what == 4) make_many(to, 100, 10, 10);
      saros_op *op =
          begin((copy_options){.from = from, .to = to, .replace = true});
      CHECK_INT(end(op, 0), 0);
      comparison c = {.owners = true};
      compare_paths(&c, from, to);
      free(c.links_seen.at);
      CHECK_INT(c.differences, 0);
      wipe(from);
      CHECK_INT(entries_in(dir), 1);
      if (what == 3) wipe(to);
    }
  }
}

TEST(what_cannot_be_removed_is_told) {
  const char *dir = at_place(0);
  char from[700], to[700], stuck[800];
  if (dir == NULL) SKIP("needs ext4");
  snprintf(from, sizeof from, "%s/from", dir);
  snprintf(to, sizeof to, "%s/to", dir);
  make_many(from, 10, 5, 10);
  make_many(to, 10, 5, 10);
  snprintf(stuck, sizeof stuck, "%s/d1/file-7", to);
  int fd = open(stuck, O_RDONLY | O_CLOEXEC);
  long flags = 0x10; /* immutable; valgrind knows it as a long */
  bool can = ioctl(fd, _IOW('f', 2, long), &flags) == 0;
  saros_op *op = begin((copy_options){.from = from, .to = to, .replace = true});
  saros_op_wait(op, SAROS_INFINITE);
  CHECK_INT(saros_op_code(op), 0);
  value *status = op_status(op);
  const value *cleanup = value_get(status, "cleanup");
  if (can) {
    CHECK(cleanup != NULL && cleanup->count == 1 &&
          strstr(cleanup->as.items[0]->as.string.data, "file-7") != NULL);
    CHECK_INT(entries_in(dir), 3);
  }
  value_free(status);
  saros_op_unref(op);
  flags = 0;
  ioctl(fd, _IOW('f', 2, long), &flags);
  close(fd);
  CHECK_INT(compare(from, to), 0);
  wipe(dir);
}


/* ------------------------------------------------------------------
** Other file systems, other users
** ---------------------------------------------------------------- */

TEST(one_system) {
  const char *dir = at_place(0);
  char from[700], to[1100], inner[1200];

  if (dir == NULL) SKIP("needs root and mounts");
  snprintf(from, sizeof from, "%s/from", dir);
  make_many(from, 10, 5, 10);
  snprintf(inner, sizeof inner, "%s/d1/mounted", from);
  mkdir(inner, 0700);
  CHECK(mount("tmpfs", inner, "tmpfs", 0, NULL) == 0);
  chmod(inner, 0751);
  put_file(in("%s/file", inner + strlen(scratch) + 1), 10, 1);
  snprintf(inner, sizeof inner, "%s/d0/bound", from);
  mkdir(inner, 0755);
  snprintf(to, sizeof to, "%s/d1", from);
  CHECK(mount(to, inner, "none", MS_BIND, NULL) == 0);
  snprintf(to, sizeof to, "%s/to", dir);
  saros_op *op =
      begin((copy_options){.from = from, .to = to, .one_system = true});
  CHECK_INT(output(op, "files"), 10);
  CHECK_INT(end(op, 0), 0);
  struct stat st;
  snprintf(inner, sizeof inner, "%s/d1/mounted", to);
  CHECK(stat(inner, &st) == 0 && (st.st_mode & 07777) == 0751);
  CHECK_INT(entries_in(inner), 0);
  wipe(to);
  CHECK_INT(copy_now(from, to), 0);
  CHECK_INT(entries_in(inner), 1);
  snprintf(inner, sizeof inner, "%s/d0/bound", from);
  unmount(inner);
  snprintf(inner, sizeof inner, "%s/d1/mounted", from);
  unmount(inner);
  wipe(dir);
}

TEST(target_without_attributes) {
  const char *dir = at_place(0);
  char from[700], to[700];
  if (dir == NULL) SKIP("needs root and mounts");
  snprintf(from, sizeof from, "%s/from", dir);
  make_all(from);
  snprintf(to, sizeof to, "%s/ram", dir);
  mkdir(to, 0755);
  CHECK(mount("ramfs", to, "ramfs", 0, NULL) == 0);
  snprintf(to, sizeof to, "%s/ram/to", dir);
  saros_op *op = begin((copy_options){.from = from, .to = to});
  CHECK(output(op, "skipped_xattrs") >= 4);
  CHECK_INT(end(op, 0), 0);
  snprintf(to, sizeof to, "%s/ram", dir);
  CHECK_INT(entries_in(to), 1);
  unmount(to);
  wipe(dir);
}

TEST(another_user) {
  if (getuid() != 0) SKIP("needs root");
  const char *dir = own_place();
  make_all(in("own/from"));
  chmod(in("own/from/plain-0"), 0444);
  chmod(in("own/from/plain-1"), 06755);
  chmod(in("own/from/plain-4"), 0644);
  chmod(in("own/from/empty"), 0555);
  unlink(in("own/from/null"));
  mkdir(in("own/from/shut"), 0755);
  put_file(in("own/from/shut/f"), 10, 1);
  chmod(in("own/from/shut"), 0555);
  chmod(in("own/from"), 0555);
  chmod(dir, 0777);
  chmod(scratch, 0755);
  pid_t child = fork();
  if (child == 0) {
    if (setgid(65534) != 0 || setuid(65534) != 0) _exit(3);
    saros_op *op =
        begin((copy_options){.from = in("own/from"), .to = in("own/to")});
    bool skipped = output(op, "skipped_owners") > 5;
    uint32_t code = end(op, 0);
    struct stat st;
    bool plain = stat(in("own/to/plain-1"), &st) == 0 &&
                 (st.st_mode & 07777) == 0755 && st.st_uid == 65534;
    bool dirs =
        stat(in("own/to/shut"), &st) == 0 && (st.st_mode & 07777) == 0555;
    /* and a replaced one with directories that may not be written to */
    op = begin((copy_options){
        .from = in("own/from"), .to = in("own/to"), .replace = true});
    uint32_t again = end(op, 0);
    printf("%s", skipped && code == 0 && plain && dirs && again == 0
                     ? ""
                     : "another user: not right\n");
    leave_child(skipped && code == 0 && plain && dirs && again == 0);
  }
  int status = 1;
  waitpid(child, &status, 0);
  CHECK_INT(status, 0);
  CHECK_INT(entries_in(dir), 2);
  wipe(dir);
}

TEST(holds_the_device) {
  const char *dir = own_place();
  struct stat st;
  make_many(in("own/from"), 100, 10, 10);
  stat(dir, &st);
  saros_op *op =
      begin((copy_options){.from = in("own/from"), .to = in("own/to")});
  saros_op_wait(op, SAROS_INFINITE);
  CHECK(!device_is_held(st.st_dev, NULL));
  CHECK_INT(end(op, 0), 0);
  wipe(dir);
}

static void all(void) {
  RUN(everything);
  RUN(to_another_file_system);
  RUN(single_entries);
  RUN(big_file_in_pieces);
  RUN(paths);
  RUN(refusals);
  RUN(error_has_the_path);
  RUN(replace);
  RUN(what_cannot_be_removed_is_told);
  RUN(one_system);
  RUN(target_without_attributes);
  RUN(another_user);
  RUN(holds_the_device);
}

int main(int argc, char **argv) {
  return case_main(argc, argv, all);
}
