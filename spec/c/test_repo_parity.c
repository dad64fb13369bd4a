/*
** Trees, byte for byte as restic makes them: a folder with everything that a
** folder may hold is backed up by restic, and its trees are compared with ours
** of the same files. (The ids of contents are taken from restic's own trees.)
**
** not under valgrind: it asks restic; ASan runs it
** not under thread: it has one thread; ASan runs it
*/
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/xattr.h>

#include "cheap_case.h"
#include "repository/go.h"
#include "repository/node.h"

static repo_users *users;
static repo_node_maker *maker;

static void report(const char *what, error *e) {
  if (e != NULL) printf("%s: %s\n", what, e->message);
  error_unref(e);
}


/* ------------------------------------------------------------------
** Comparing
** ---------------------------------------------------------------- */

typedef struct names {
  char **at;
  size_t count, room;
} names;

static int by_bytes(const void *a, const void *b) {
  return strcmp(*(char *const *)a, *(char *const *)b);
}

static names list_folder(int fd) {
  names n = {NULL, 0, 0};
  DIR *d = fdopendir(dup(fd));
  for (struct dirent *e; d != NULL && (e = readdir(d)) != NULL;) {
    if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0) continue;
    if (n.count == n.room)
      n.at = realloc(n.at, (n.room = n.room * 2 + 64) * sizeof *n.at);
    n.at[n.count++] = strdup(e->d_name);
  }
  if (d != NULL) closedir(d);
  if (n.count > 0) qsort(n.at, n.count, sizeof *n.at, by_bytes);
  return n;
}

static void free_names(names *n) {
  for (size_t i = 0; i < n->count; i++) free(n->at[i]);
  free(n->at);
}

/* restic before 0.16 did not know this field. */
static void put_without_raw(buffer *to, const char *json, size_t size) {
  static const char field[] = ",\"linktarget_raw\":\"";
  const char *end = json + size;
  for (const char *at; (at = memmem(json, (size_t)(end - json), field,
                                    strlen(field))) != NULL;) {
    buffer_put(to, json, (size_t)(at - json));
    json = strchr(at + strlen(field), '"') + 1;
  }
  buffer_put(to, json, (size_t)(end - json));
}

static void show_difference(const char *a, size_t a_size, const char *b,
                            size_t b_size) {
  size_t i = 0;
  while (i < a_size && i < b_size && a[i] == b[i]) i++;
  size_t from = i > 120 ? i - 120 : 0;
  printf("from byte %zu:\nours:   %.*s\nrestic: %.*s\n", from,
         (int)(a_size - from < 300 ? a_size - from : 300), a + from,
         (int)(b_size - from < 300 ? b_size - from : 300), b + from);
}

typedef struct subtree {
  char *path;
  char id[REPO_ID_TEXT];
} subtree;

typedef struct found {
  subtree at[16];
  size_t count;
} found;

/* Our tree of a folder; content and subtrees as restic has them. */
static void put_folder(const char *path, repo_tree_reader *theirs,
                       repo_tree_text *ours, found *subtrees) {
  int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  names n = list_folder(fd);
  for (size_t i = 0; i < n.count; i++) {
    repo_node node, known;
    error *partial = NULL, *e = NULL;
    repo_at at = {fd, n.at[i]};
    report("node", repo_node_of(maker, at, NULL, n.at[i], strlen(n.at[i]), 0,
                                &node, &partial));
    CHECK(partial == NULL);
    report("partial", partial);
    if (node.type == REPO_NODE_SOCKET) continue;
    bool more = repo_tree_reader_next(theirs, &known, &e);
    CHECK(more);
    report("reading", e);
    if (!more) break;
    CHECK(known.name_size == node.name_size &&
          memcmp(known.name, node.name, node.name_size) == 0);
    node.has_content = known.has_content;
    node.content = known.content;
    node.content_count = known.content_count;
    node.has_subtree = known.has_subtree;
    node.subtree = known.subtree;
    if (known.has_subtree && subtrees->count < 16) {
      subtree *s = &subtrees->at[subtrees->count++];
      s->path = path_join(path, n.at[i]);
      repo_id_format(&known.subtree, s->id);
    }
    e = repo_tree_text_add(ours, &node);
    CHECK(e == NULL);
    report("adding", e);
  }
  free_names(&n);
  close(fd);
}

static void compare_folder(const char *path, const char *id, found *subtrees) {
  buffer theirs = BUFFER_EMPTY, ours = BUFFER_EMPTY;
  const char *json = "";
  size_t size = 0;
  repo_node extra;
  error *e = NULL;
  CHECK(restic_blob(id, &theirs));
  repo_tree_reader *r = repo_tree_reader_new(theirs.data, theirs.size);
  repo_tree_text *t = repo_tree_text_new();
  put_folder(path, r, t, subtrees);
  CHECK(!repo_tree_reader_next(r, &extra, &e) && e == NULL);
  report("at the end", e);
  CHECK(repo_tree_text_end(t, &json, &size) == NULL);
  put_without_raw(&ours, json, size);
  bool same = ours.size == theirs.size &&
              memcmp(ours.data, theirs.data, ours.size) == 0;
  CHECK(same);
  if (!same) show_difference(ours.data, ours.size, theirs.data, theirs.size);
  repo_id sum;
  char text[REPO_ID_TEXT];
  repo_id_of(&sum, ours.data, ours.size);
  repo_id_format(&sum, text);
  CHECK_TEXT(text, id);
  repo_tree_text_free(t);
  repo_tree_reader_free(r);
  buffer_free(&ours);
  buffer_free(&theirs);
}

/* Backs a folder of the base up and compares its trees, the first `most`. */
static void compare_all(const char *name, const char *tag, size_t most) {
  char command[500], path[200], root[REPO_ID_TEXT] = "";
  CHECK(run_shell(NULL,
                  "cd %s && restic --no-cache -q backup --tag %s ./%s "
                  ">/dev/null",
                  restic_base, tag, name));
  snprintf(command, sizeof command,
           "restic --no-cache --no-lock snapshots --json --tag %s", tag);
  value *v = restic_json(command);
  CHECK(v != NULL && v->type == VALUE_LIST && v->count == 1);
  if (v != NULL && v->type == VALUE_LIST && v->count == 1)
    snprintf(root, sizeof root, "%s",
             value_chars(value_get(v->as.items[0], "tree"), ""));
  value_free(v);
  found all = {.count = 0};
  /* The root has the folder alone, its parent has more. */
  buffer b = BUFFER_EMPTY;
  CHECK(restic_blob(root, &b));
  repo_tree_reader *r = repo_tree_reader_new(b.data, b.size);
  repo_node n;
  error *e = NULL;
  CHECK(repo_tree_reader_next(r, &n, &e) && n.has_subtree);
  report("root", e);
  snprintf(path, sizeof path, "%s/%s", restic_base, name);
  all.at[0].path = mem_text(path);
  repo_id_format(&n.subtree, all.at[0].id);
  all.count = 1;
  repo_tree_reader_free(r);
  buffer_free(&b);
  for (size_t i = 0; i < all.count; i++) {
    if (i < most) compare_folder(all.at[i].path, all.at[i].id, &all);
    mem_free(all.at[i].path);
  }
  CHECK(all.count > 0);
}

static bool begin(const char *folder) {
  if (!cheap_restic_begin(folder, 2)) return false;
  users = repo_users_new();
  maker = repo_node_maker_new(users);
  return true;
}

static void end(void) {
  repo_node_maker_free(maker);
  repo_users_free(users);
  restic_end();
}


/* ------------------------------------------------------------------
** Everything
** ---------------------------------------------------------------- */

static void put_file(int dir, const char *name, const char *text, mode_t mode) {
  int fd = openat(dir, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
  CHECK(fd >= 0);
  CHECK(write(fd, text, strlen(text)) == (ssize_t)strlen(text));
  CHECK(fchmod(fd, mode) == 0);
  close(fd);
}

static void set_time(int dir, const char *name, long long seconds, long nano) {
  struct timespec t[2] = {{(time_t)seconds, nano}, {(time_t)seconds, nano}};
  CHECK(utimensat(dir, name, t, AT_SYMLINK_NOFOLLOW) == 0);
}

static void put_names(int dir) {
  static const char *const list[] = {
      "plain",
      "with space",
      "-dash",
      "quote\"s",
      "back\\slash",
      "<html>&",
      "tab\there",
      "new\nline",
      "bell\a\b\f\v\r",
      "escape\x1b",
      "del\x7f",
      "caf\xC3\xA9",
      "bad\xFF\xFE",
      "half\xC3",
      "\xED\xA0\x80 surrogate",
      "sep\xE2\x80\xA8 and \xE2\x80\xA9",
      "nbsp\xC2\xA0",
      "soft\xC2\xAD",
      "zwj\xE2\x80\x8D",
      "\xF0\x9F\x98\x80 emoji",
      "\xF0\x9F\xAB\xA0 of 14",
      "\xEF\xBF\xBD replacement",
      "\xEE\x80\x80 private",
      "c1\xC2\x85",
      "$(x)",
      "...",
      ".hidden",
      "\xF4\x8F\xBF\xBF last",
  };
  for (size_t i = 0; i < sizeof list / sizeof list[0]; i++)
    put_file(dir, list[i], i % 3 == 0 ? "" : "some text\n", 0644);
}

static void put_times(int dir) {
  static const struct {
    const char *name;
    long long seconds;
    long nano;
  } list[] = {
      {"t-1901", -2147483648LL, 0},
      {"t-1969", -1, 999999999},
      {"t-1970", 0, 0},
      {"t-winter", 1704067200, 100000000},
      {"t-summer", 1719792000, 120000},
      {"t-2038", 2147483648LL, 1},
      {"t-2100", 4102444800LL, 7},
      {"t-2446", 15032385535LL, 0},
      {"t-1850", -3786825600LL, 5000},
      {"t-year1", -62135596800LL, 0},
      {"t-9999", 253402300799LL, 990},
      {"t-12000", 316521302400LL, 0},
      {"t-before", -70000000000LL, 0},
  };
  for (size_t i = 0; i < sizeof list / sizeof list[0]; i++) {
    put_file(dir, list[i].name, "t", 0600);
    set_time(dir, list[i].name, list[i].seconds, list[i].nano);
  }
}

/* Two users and a group may do something: a real POSIX ACL. */
static const unsigned char acl[] = {
    2, 0, 0,   0,   1,   0,   6,  0, 255, 255, 255, 255, 2,   0,  4,
    0, 1, 0,   0,   0,   4,   0,  4, 0,   255, 255, 255, 255, 16, 0,
    6, 0, 255, 255, 255, 255, 32, 0, 0,   0,   255, 255, 255, 255};

static void put_attributes(int dir) {
  int fd = openat(dir, "plain", O_RDONLY | O_CLOEXEC);
  char large[3000];
  memset(large, 'x', sizeof large);
  CHECK(fsetxattr(fd, "user.b", "two", 3, 0) == 0);
  CHECK(fsetxattr(fd, "user.a", "\0\1\377", 3, 0) == 0);
  CHECK(fsetxattr(fd, "user.empty", "", 0, 0) == 0);
  CHECK(fsetxattr(fd, "user.large", large, sizeof large, 0) == 0);
  CHECK(fsetxattr(fd, "user.<&>\xC3\xA9", "v", 1, 0) == 0);
  CHECK(fsetxattr(fd, "trusted.t", "root", 4, 0) == 0);
  if (fsetxattr(fd, "system.posix_acl_access", acl, sizeof acl, 0) != 0)
    CHECK_INT(errno, EOPNOTSUPP);
  close(fd);
}

static void put_kinds(int dir, const char *path) {
  CHECK(symlinkat("plain", dir, "link") == 0);
  CHECK(symlinkat("nowhere\xFF/\xC3\xA9<", dir, "bad link") == 0);
  CHECK(mkfifoat(dir, "fifo", 0640) == 0);
  CHECK(mknodat(dir, "block", S_IFBLK | 0660, makedev(7, 300)) == 0);
  CHECK(mknodat(dir, "character", S_IFCHR | 0620, makedev(1, 3)) == 0);
  CHECK(mknodat(dir, "zero", S_IFCHR | 0620, 0) == 0);
  put_file(dir, "set-uid", "x", 04755);
  put_file(dir, "set-gid", "x", 02711);
  put_file(dir, "sticky", "x", 01644);
  put_file(dir, "no mode", "x", 0);
  put_file(dir, "somebody's", "x", 0644);
  CHECK(fchownat(dir, "somebody's", 12345, 54321, 0) == 0);
  put_file(dir, "daemon's", "x", 0644);
  CHECK(fchownat(dir, "daemon's", 1, 1, 0) == 0);
  CHECK(linkat(dir, "plain", dir, "second name", 0) == 0);
  put_file(dir, "holes", "x", 0644);
  int fd = openat(dir, "holes", O_WRONLY | O_CLOEXEC);
  CHECK(ftruncate(fd, 3 << 20) == 0);
  close(fd);
  struct sockaddr_un a = {.sun_family = AF_UNIX};
  CHECK(strlen(path) + 8 < sizeof a.sun_path);
  strcat(strcpy(a.sun_path, path), "/socket");
  fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  CHECK(bind(fd, (struct sockaddr *)&a, sizeof a) == 0);
  close(fd);
}

static void put_folders(int dir) {
  CHECK(mkdirat(dir, "empty", 0755) == 0);
  CHECK(mkdirat(dir, "sticky folder", 0755) == 0);
  CHECK(fchmodat(dir, "sticky folder", 01777, 0) == 0);
  CHECK(mkdirat(dir, "group folder", 0755) == 0);
  CHECK(fchmodat(dir, "group folder", 02750, 0) == 0);
  int fd = openat(dir, "group folder", O_RDONLY | O_CLOEXEC);
  if (fsetxattr(fd, "system.posix_acl_default", acl, sizeof acl, 0) != 0)
    CHECK_INT(errno, EOPNOTSUPP);
  put_file(fd, "inside", "y", 0600);
  close(fd);
  set_time(dir, "group folder", -5, 5);
}

static void make_everything(const char *name) {
  char path[200];
  snprintf(path, sizeof path, "%s/%s", restic_base, name);
  CHECK(mkdir(path, 0755) == 0);
  int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  put_names(dir);
  put_times(dir);
  put_attributes(dir);
  put_kinds(dir, path);
  put_folders(dir);
  close(dir);
}

TEST(everything) {
  static const char *const zones[] = {"UTC",
                                      "Europe/Berlin",
                                      "America/St_Johns",
                                      "Australia/Lord_Howe",
                                      "Africa/Monrovia",
                                      "Asia/Kathmandu",
                                      "EST5EDT"};
  if (geteuid() != 0) SKIP("needs root, for devices and owners");
  /* A file system that has all times there are, if there is one. */
  if (!begin(access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp"))
    SKIP("restic is not installed");
  make_everything("all");
  size_t count = sizeof zones / sizeof zones[0];
  if (getenv("SAROS_LONG") == NULL) count = 4;
  for (size_t i = 0; i < count; i++) {
    setenv("TZ", zones[i], 1);
    tzset();
    int bad = check_bad;
    compare_all("all", zones[i], i == 0 ? 16 : 1);
    if (check_bad != bad) printf("in the zone %s\n", zones[i]);
  }
  unsetenv("TZ");
  tzset();
  end();
}


/* ------------------------------------------------------------------
** All characters
** ---------------------------------------------------------------- */

/* Every character that may be in a name, in some 18000 names: the tree is
   larger than a pack. Of those above U+FFFF it is but each 64th, if there is
   not the time for it. */
static void make_characters(const char *name, bool all) {
  char path[200], text[256];
  size_t size = 0;
  unsigned files = 0;
  snprintf(path, sizeof path, "%s/%s", restic_base, name);
  CHECK(mkdir(path, 0755) == 0);
  int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  for (uint32_t c = 1; c <= 0x110000; c++) {
    char one[5] = {0};
    size_t n = 0;
    if (c == '/' || c == '.' || (c >= 0xD800 && c <= 0xDFFF)) continue;
    if (!all && c > 0x10000 && c < 0x110000 && c % 64 != 63) continue;
    if (c < 0x80) {
      one[n++] = (char)c;
    } else if (c < 0x800) {
      one[n++] = (char)(0xC0 | c >> 6);
      one[n++] = (char)(0x80 | (c & 0x3F));
    } else if (c < 0x10000) {
      one[n++] = (char)(0xE0 | c >> 12);
      one[n++] = (char)(0x80 | (c >> 6 & 0x3F));
      one[n++] = (char)(0x80 | (c & 0x3F));
    } else {
      one[n++] = (char)(0xF0 | c >> 18);
      one[n++] = (char)(0x80 | (c >> 12 & 0x3F));
      one[n++] = (char)(0x80 | (c >> 6 & 0x3F));
      one[n++] = (char)(0x80 | (c & 0x3F));
    }
    if (size + n > 250 || c == 0x110000) {
      text[size] = '\0';
      int fd = openat(dir, text, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
      if (fd < 0) printf("file %u: %s\n", files, strerror(errno));
      CHECK(fd >= 0);
      close(fd);
      files++;
      size = 0;
    }
    memcpy(text + size, one, n);
    size += n;
  }
  CHECK(files > (all ? 17000 : 1000));
  close(dir);
}

TEST(all_characters) {
  if (!begin("/tmp")) SKIP("restic is not installed");
  make_characters("characters", getenv("SAROS_LONG") != NULL);
  compare_all("characters", "x", 1);
  end();
}

int main(int argc, char **argv) {
  check_begin(argc, argv);
  store_engine();
  RUN(everything);
  RUN(all_characters);
  return check_end();
}
