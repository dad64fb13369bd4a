/*
** Nodes of real files by descriptor, by path-only descriptor and by name, and
** giving them back: everything that was there is there again, nothing else is,
** and no link is ever followed.
**
** not under thread: it has one thread; ASan runs it
*/
#include <errno.h>
#include <fcntl.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "repository/node.h"
#include "test_base_sweep.h"

static char base[64];
static int dir = -1;

static bool begin(void) {
  strcpy(base, "/tmp/saros-node.XXXXXX");
  if (mkdtemp(base) == NULL) return false;
  dir = open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  return dir >= 0;
}

static void end(void) {
  char command[100];
  close(dir);
  snprintf(command, sizeof command, "rm -rf '%s'", base);
  if (system(command) != 0) check_bad++;
}

static void put_file(const char *name) {
  int fd = openat(dir, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0644);
  CHECK(fd >= 0 && write(fd, "text", 4) == 4);
  close(fd);
}

/* A copy of a node: of what it points to only attributes matter here. */
static error *look(repo_node_maker *m, repo_at at, repo_node *n) {
  error *partial = NULL;
  error *e = repo_node_of(m, at, NULL, "n", 1, REPO_NODE_ATIME, n, &partial);
  CHECK(partial == NULL);
  error_unref(partial);
  return e;
}

static bool same_attributes(const repo_node *a, const repo_node *b) {
  if (a->attribute_count != b->attribute_count) return false;
  for (size_t i = 0; i < a->attribute_count; i++) {
    const repo_attribute *x = &a->attributes[i], *y = NULL;
    for (size_t k = 0; k < b->attribute_count; k++)
      if (strcmp(x->name, b->attributes[k].name) == 0) y = &b->attributes[k];
    if (y == NULL || x->size != y->size || memcmp(x->data, y->data, x->size))
      return false;
  }
  return true;
}

static bool same_time(struct timespec a, struct timespec b) {
  return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static void check_same(const repo_node *a, const repo_node *b) {
  CHECK_INT(a->type, b->type);
  CHECK_INT(a->mode, b->mode);
  CHECK_INT(a->uid, b->uid);
  CHECK_INT(a->gid, b->gid);
  CHECK(same_time(a->mtime, b->mtime));
  CHECK(same_time(a->atime, b->atime));
  CHECK_INT(a->device, b->device);
  CHECK(a->target_size == b->target_size &&
        (a->target_size == 0 ||
         memcmp(a->target, b->target, a->target_size) == 0));
  CHECK(same_attributes(a, b));
}

/* The three ways to name a file say the same. */
static void check_ways(repo_users *u, const char *name) {
  repo_node_maker *m[3];
  repo_node n[3];
  struct stat st;
  CHECK(fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0);
  int path = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
  int fd = S_ISREG(st.st_mode) || S_ISDIR(st.st_mode)
               ? openat(dir, name, O_RDONLY | O_CLOEXEC)
               : dup(path);
  repo_at at[3] = {{dir, name}, {path, NULL}, {fd, NULL}};
  for (int i = 0; i < 3; i++) {
    m[i] = repo_node_maker_new(u);
    CHECK(look(m[i], at[i], &n[i]) == NULL);
    CHECK_INT(n[i].inode, st.st_ino);
    CHECK_INT(n[i].device_id, st.st_dev);
    CHECK_INT(repo_node_st_mode(&n[i]), st.st_mode);
    check_same(&n[0], &n[i]);
  }
  for (int i = 0; i < 3; i++) repo_node_maker_free(m[i]);
  close(path);
  close(fd);
}

static void put_all(void) {
  put_file("file");
  CHECK(mkdirat(dir, "folder", 0750) == 0);
  CHECK(symlinkat("target\xFF", dir, "link") == 0);
  CHECK(mkfifoat(dir, "fifo", 0640) == 0);
  CHECK(mknodat(dir, "device", S_IFCHR | 0660, makedev(1, 300)) == 0);
  char path[100];
  snprintf(path, sizeof path, "%s/file", base);
  CHECK(setxattr(path, "user.a", "1", 1, 0) == 0);
  CHECK(setxattr(path, "trusted.b", "\0\1", 2, 0) == 0);
  snprintf(path, sizeof path, "%s/link", base);
  CHECK(lsetxattr(path, "trusted.link", "l", 1, 0) == 0);
  snprintf(path, sizeof path, "%s/device", base);
  CHECK(lsetxattr(path, "trusted.device", "d", 1, 0) == 0);
}

TEST(ways_to_name_a_file) {
  static const char *const all[] = {"file", "folder", "link", "fifo", "device"};
  if (geteuid() != 0) SKIP("needs root, for devices and trusted attributes");
  CHECK(begin());
  put_all();
  repo_users *u = repo_users_new();
  /* Reading a link changes when it was read, unless that lies ahead. */
  struct timespec ahead[2] = {{4000000000, 0}, {1000000000, 0}};
  CHECK(utimensat(dir, "link", ahead, AT_SYMLINK_NOFOLLOW) == 0);
  for (size_t i = 0; i < 5; i++) check_ways(u, all[i]);
  repo_users_free(u);
  end();
}

/* Takes a node of `from` and gives it to `to`, which is then the same. */
static void check_given(const char *from, const char *to, bool by_name) {
  repo_users *u = repo_users_new();
  repo_node_maker *m = repo_node_maker_new(u), *k = repo_node_maker_new(u);
  repo_node n, now;
  unsigned lacks = 99;
  CHECK(look(m, (repo_at){dir, from}, &n) == NULL);
  if (n.type == REPO_NODE_FILE)
    put_file(to);
  else
    CHECK(repo_node_create(dir, to, &n) == NULL);
  int fd = openat(dir, to, O_PATH | O_NOFOLLOW | O_CLOEXEC);
  repo_at at = by_name ? (repo_at){dir, to} : (repo_at){fd, NULL};
  error *e = repo_node_restore(at, &n, &lacks);
  if (e != NULL) printf("%s: %s\n", to, e->message);
  CHECK(e == NULL);
  CHECK_INT(lacks, 0);
  CHECK(look(k, (repo_at){dir, to}, &now) == NULL);
  check_same(&n, &now);
  error_unref(e);
  close(fd);
  repo_node_maker_free(k);
  repo_node_maker_free(m);
  repo_users_free(u);
}

static void set_all(const char *name, mode_t mode, uid_t uid, gid_t gid) {
  struct timespec t[2] = {{1111111111, 5}, {-77777, 123456789}};
  CHECK(fchownat(dir, name, uid, gid, AT_SYMLINK_NOFOLLOW) == 0);
  if (strcmp(name, "link") != 0) CHECK(fchmodat(dir, name, mode, 0) == 0);
  CHECK(utimensat(dir, name, t, AT_SYMLINK_NOFOLLOW) == 0);
}

TEST(given_back) {
  static const char *const all[] = {"file", "folder", "link", "fifo", "device"};
  if (geteuid() != 0) SKIP("needs root, to give owners");
  CHECK(begin());
  put_all();
  for (unsigned i = 0; i < 5; i++) {
    char to[20];
    set_all(all[i], i == 1 ? 03711 : 06751, 1000 + i, 2000 + i);
    snprintf(to, sizeof to, "again-%u", i);
    check_given(all[i], to, true);
    snprintf(to, sizeof to, "more-%u", i);
    check_given(all[i], to, false);
  }
  end();
}

/* A capability goes with a change of owner, unless it is given after it. */
TEST(capabilities) {
  static const unsigned char net_raw[] = {1, 0, 0, 2, 0, 32, 0, 0, 0, 0,
                                          0, 0, 0, 0, 0, 0,  0, 0, 0, 0};
  char path[100];
  if (geteuid() != 0) SKIP("needs root, to give capabilities");
  CHECK(begin());
  put_file("file");
  set_all("file", 04755, 1000, 1000);
  snprintf(path, sizeof path, "%s/file", base);
  CHECK(setxattr(path, "security.capability", net_raw, sizeof net_raw, 0) == 0);
  check_given("file", "again", true);
  end();
}

/* What is there and should not be goes; of ACLs too. */
TEST(unexpected_attributes) {
  static const unsigned char acl[] = {
      2, 0, 0,   0,   1,   0,   6,  0, 255, 255, 255, 255, 2,   0,  4,
      0, 1, 0,   0,   0,   4,   0,  4, 0,   255, 255, 255, 255, 16, 0,
      6, 0, 255, 255, 255, 255, 32, 0, 0,   0,   255, 255, 255, 255};
  char path[100];
  if (geteuid() != 0) SKIP("needs root, for trusted attributes");
  CHECK(begin());
  put_all();
  put_file("target");
  snprintf(path, sizeof path, "%s/target", base);
  CHECK(setxattr(path, "user.old", "1", 1, 0) == 0);
  CHECK(setxattr(path, "user.a", "other", 5, 0) == 0);
  CHECK(setxattr(path, "trusted.old", "1", 1, 0) == 0);
  if (setxattr(path, "system.posix_acl_access", acl, sizeof acl, 0) != 0)
    CHECK_INT(errno, EOPNOTSUPP);
  check_given("file", "target", true);
  end();
}

/* Somebody puts a link where the file was: neither it nor what it points to is
   touched. */
TEST(links_are_not_followed) {
  CHECK(begin());
  put_file("file");
  put_file("victim");
  CHECK(fchmodat(dir, "victim", 0600, 0) == 0);
  CHECK(symlinkat("victim", dir, "planted") == 0);
  repo_users *u = repo_users_new();
  repo_node_maker *m = repo_node_maker_new(u);
  repo_node n;
  struct stat before, after;
  unsigned lacks;
  CHECK(fstatat(dir, "victim", &before, 0) == 0);
  CHECK(look(m, (repo_at){dir, "file"}, &n) == NULL);
  n.mode = 06777;
  error *e = repo_node_restore((repo_at){dir, "planted"}, &n, &lacks);
  CHECK(e != NULL && e->code == SAROS_E_CHANGED);
  error_unref(e);
  /* A link is given its own, and not what it points to. */
  CHECK(look(m, (repo_at){dir, "planted"}, &n) == NULL);
  n.mtime = n.atime = (struct timespec){42, 42};
  CHECK(repo_node_restore((repo_at){dir, "planted"}, &n, &lacks) == NULL);
  CHECK(fstatat(dir, "victim", &after, 0) == 0);
  CHECK_INT(after.st_mode, before.st_mode);
  CHECK(same_time(after.st_mtim, before.st_mtim));
  CHECK(same_time(after.st_ctim, before.st_ctim));
  CHECK(fstatat(dir, "planted", &after, AT_SYMLINK_NOFOLLOW) == 0);
  CHECK_INT(after.st_mtim.tv_sec, 42);
  e = repo_node_restore((repo_at){dir, "missing"}, &n, &lacks);
  CHECK(e != NULL && e->number == ENOENT);
  error_unref(e);
  n.target = NULL;
  n.target_size = 0;
  e = repo_node_create(dir, "victim", &n);
  CHECK(e != NULL);
  error_unref(e);
  repo_node_maker_free(m);
  repo_users_free(u);
  end();
}

/* Somebody who may not give owners: the rest is given, set-id is not. */
TEST(without_rights) {
  if (geteuid() != 0) SKIP("needs root, to be somebody else");
  CHECK(begin());
  put_file("file");
  CHECK(fchownat(dir, "file", 1, 1, 0) == 0);
  CHECK(fchmod(dir, 0755) == 0);
  repo_users *u = repo_users_new();
  repo_node_maker *m = repo_node_maker_new(u);
  repo_node n;
  struct stat st;
  unsigned lacks = 0;
  CHECK(look(m, (repo_at){dir, "file"}, &n) == NULL);
  n.uid = 0;
  n.gid = 0;
  n.mode = 06755;
  pid_t child = fork();
  if (child == 0) {
    if (setgid(1) != 0 || setuid(1) != 0) _exit(9);
    error *e = repo_node_restore((repo_at){dir, "file"}, &n, &lacks);
    _exit(e != NULL ? 8 : (int)lacks);
  }
  int status = 0;
  CHECK(waitpid(child, &status, 0) == child);
  CHECK(WIFEXITED(status));
  CHECK_INT(WEXITSTATUS(status), REPO_LACKS_OWNER);
  CHECK(fstatat(dir, "file", &st, 0) == 0);
  CHECK_INT(st.st_mode & 07777, 0755);
  repo_node_maker_free(m);
  repo_users_free(u);
  end();
}

/* What a child that is nobody in particular makes of a node: 1 when it is
   good for all but an attribute, 2 when it is whole, else 0. */
static int made_by_nobody(repo_at at, unsigned flags) {
  pid_t child = fork();
  if (child == 0) {
    repo_node n;
    error *partial = NULL;
    if (setgid(1) != 0 || setuid(1) != 0) _exit(0);
    repo_users *u = repo_users_new();
    repo_node_maker *m = repo_node_maker_new(u);
    error *e = repo_node_of(m, at, NULL, "n", 1, flags, &n, &partial);
    if (e != NULL || n.size != 4) _exit(0);
    if (partial == NULL) _exit(2);
    bool told = partial->number == EACCES && n.attribute_count == 0 &&
                strstr(partial->message, "user.a") != NULL;
    _exit(told ? 1 : 0);
  }
  int status = 0;
  CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status));
  return WEXITSTATUS(status);
}

TEST(attributes_that_cannot_be_read) {
  char path[100];
  if (geteuid() != 0) SKIP("needs root, to be somebody else");
  CHECK(begin());
  put_file("file");
  put_file("plain");
  CHECK(fchmod(dir, 0755) == 0);
  CHECK(fchmodat(dir, "file", 0600, 0) == 0);
  snprintf(path, sizeof path, "%s/file", base);
  CHECK(setxattr(path, "user.a", "1", 1, 0) == 0);
  CHECK_INT(made_by_nobody((repo_at){dir, "file"}, 0), 1);
  CHECK_INT(made_by_nobody((repo_at){dir, "plain"}, 0), 2);
  int fd = openat(dir, "file", O_PATH | O_CLOEXEC);
  CHECK_INT(made_by_nobody((repo_at){fd, NULL}, 0), 1);
  close(fd);
  end();
}

/* All are listed, however long the list is. */
TEST(many_attributes) {
  char path[100], name[200];
  repo_node n;
  repo_users *u = repo_users_new();
  repo_node_maker *m = repo_node_maker_new(u);
  CHECK(begin());
  for (int more = 40; more < 50; more++) { /* all: from 251 to 260 bytes */
    put_file("file");
    snprintf(path, sizeof path, "%s/file", base);
    for (int i = 0; i < 5; i++) {
      snprintf(name, sizeof name, "user.%d%0*d", i, i == 4 ? more : 44, 0);
      CHECK(setxattr(path, name, "v", 1, 0) == 0);
      CHECK(look(m, (repo_at){dir, "file"}, &n) == NULL);
      CHECK_INT(n.attribute_count, i + 1);
      bool found = false;
      for (size_t k = 0; k < n.attribute_count; k++)
        found = found || strcmp(n.attributes[k].name, name) == 0;
      CHECK(found);
    }
    CHECK(unlinkat(dir, "file", 0) == 0);
  }
  repo_node_maker_free(m);
  repo_users_free(u);
  end();
}

TEST(unchanged) {
  CHECK(begin());
  put_file("file");
  repo_users *u = repo_users_new();
  repo_node_maker *m = repo_node_maker_new(u);
  repo_node n;
  struct statx sx;
  CHECK(look(m, (repo_at){dir, "file"}, &n) == NULL);
  CHECK(repo_node_stat((repo_at){dir, "file"}, &sx) == NULL);
  CHECK(repo_node_is_unchanged(&n, &sx, 0));
  repo_node other = n;
  other.size++;
  CHECK(!repo_node_is_unchanged(&other, &sx, 3));
  other = n;
  other.mtime.tv_nsec ^= 1;
  CHECK(!repo_node_is_unchanged(&other, &sx, 3));
  other = n;
  other.ctime.tv_nsec ^= 1;
  CHECK(!repo_node_is_unchanged(&other, &sx, REPO_IGNORE_INODE));
  CHECK(repo_node_is_unchanged(&other, &sx, REPO_IGNORE_CTIME));
  other = n;
  other.inode ^= 1;
  CHECK(!repo_node_is_unchanged(&other, &sx, REPO_IGNORE_CTIME));
  CHECK(repo_node_is_unchanged(&other, &sx, REPO_IGNORE_INODE));
  other = n;
  other.type = REPO_NODE_SYMLINK;
  CHECK(!repo_node_is_unchanged(&other, &sx, 3));
  repo_node_maker_free(m);
  repo_users_free(u);
  end();
}

TEST(names_of_users) {
  repo_users *u = repo_users_new();
  for (int i = 0; i < 3; i++) {
    buffer b = BUFFER_EMPTY;
    CHECK(repo_users_user(u, 0, &b));
    CHECK(repo_users_group(u, 0, &b));
    CHECK_TEXT(b.data, "rootroot");
    CHECK(!repo_users_user(u, 3999999999u, &b));
    CHECK(!repo_users_group(u, 3999999999u, &b));
    CHECK_INT(b.size, 8);
    /* One that has the same place takes it. */
    CHECK(!repo_users_user(u, 512u * 7000000u, &b));
    buffer_free(&b);
  }
  long before = mem_blocks();
  for (uint32_t i = 0; i < 5000; i++) {
    buffer b = BUFFER_EMPTY;
    repo_users_user(u, 3000000000u + i, &b);
    buffer_free(&b);
  }
  CHECK(mem_blocks() - before <= 512);
  repo_users_free(u);
}

static bool go_through(void) {
  repo_users *u = repo_users_new();
  repo_node_maker *m = u != NULL ? repo_node_maker_new(u) : NULL;
  bool whole = m != NULL;
  repo_node n;
  error *partial = NULL, *e = NULL;
  unsigned lacks;
  if (whole)
    e = repo_node_of(m, (repo_at){dir, "link"}, NULL, "n", 1, 0, &n, &partial);
  if (whole && e == NULL) {
    whole = n.target_size == 7 && n.user != NULL && n.group != NULL;
    e = repo_node_of(m, (repo_at){dir, "file"}, NULL, "n", 1, 0, &n, &partial);
  }
  if (whole && e == NULL) {
    whole = whole && n.attribute_count == 2 && n.user != NULL;
    e = repo_node_restore((repo_at){dir, "file"}, &n, &lacks);
  }
  whole = whole && e == NULL && partial == NULL;
  error_unref(e);
  error_unref(partial);
  repo_node_maker_free(m);
  repo_users_free(u);
  return whole;
}

TEST(memory) {
  if (geteuid() != 0) SKIP("needs root, for devices and trusted attributes");
  CHECK(begin());
  put_all();
  SWEEP(go_through, 20);
  end();
}

int main(int argc, char **argv) {
  check_begin(argc, argv);
  RUN(ways_to_name_a_file);
  RUN(given_back);
  RUN(capabilities);
  RUN(unexpected_attributes);
  RUN(links_are_not_followed);
  RUN(without_rights);
  RUN(attributes_that_cannot_be_read);
  RUN(many_attributes);
  RUN(unchanged);
  RUN(names_of_users);
  RUN(memory);
  return check_end();
}
