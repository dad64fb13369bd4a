/*
** What is left out: patterns against a plain reading of their rules and
** against the real restic; files of patterns; marked directories; and that no
** pattern can be made to take long.
**
** not under valgrind: it asks restic; ASan runs it
** not under thread: it has one thread; ASan runs it
*/
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>

#include "cheap_case.h"
#include "repository/exclude.h"
#include "repository/exclude_match.h"
#include "test_base_sweep.h"

static unsigned long long seed = 1;
static unsigned next_random(unsigned below) {
  seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
  return (unsigned)(seed >> 33) % below;
}

/* Patterns, separated by spaces; those behind a # fold. */
static repo_exclude *compiled(const char *patterns, bool fold) {
  repo_exclude *x = repo_exclude_new();
  char one[4096];
  while (*patterns != '\0') {
    size_t n = strcspn(patterns, " ");
    snprintf(one, sizeof one, "%.*s", (int)n, patterns);
    error *e = repo_exclude_pattern(x, one, fold);
    if (e != NULL) printf("%s\n", e->message);
    CHECK(e == NULL);
    error_unref(e);
    patterns += n + (patterns[n] == ' ');
  }
  return x;
}

static bool asked(const repo_exclude *x, const char *path) {
  bool excluded = false;
  CHECK(repo_exclude_path(x, path, strlen(path), &excluded) == NULL);
  return excluded;
}

static bool out(const char *patterns, const char *path) {
  repo_exclude *x = compiled(patterns, false);
  bool excluded = asked(x, path);
  repo_exclude_free(x);
  return excluded;
}

static bool folded_out(const char *patterns, const char *path) {
  repo_exclude *x = compiled(patterns, true);
  bool excluded = asked(x, path);
  repo_exclude_free(x);
  return excluded;
}


/* ------------------------------------------------------------------
** Patterns
** ---------------------------------------------------------------- */

TEST(depth) {
  CHECK(out("foo", "/foo"));
  CHECK(out("foo", "/a/foo"));
  CHECK(out("foo", "/a/foo/b"));
  CHECK(out("foo", "foo"));
  CHECK(!out("foo", "/food"));
  CHECK(out("a/b", "/x/a/b/c"));
  CHECK(!out("a/b", "/a/x/b"));
  CHECK(out("/a/b", "/a/b/c"));
  CHECK(!out("/a/b", "/x/a/b"));
  CHECK(!out("/a/b", "a/b"));
  CHECK(!out("/a/b", "/a"));
  CHECK(out("/", "/x"));
  CHECK(!out("", "/x"));
}

TEST(wildcards) {
  CHECK(out("*.c", "/a/b.c"));
  CHECK(out("*.c", "/a/.c"));
  CHECK(!out("*.c", "/a/b.cc"));
  CHECK(out("b*", "/a/b"));
  CHECK(out("?", "/\xC3\xA9"));
  CHECK(out("?", "/\xFF"));
  CHECK(!out("?", "/ab"));
  CHECK(out("[a-c]x", "/bx"));
  CHECK(!out("[^a-c]x", "/bx"));
  CHECK(out("[^a-c]x", "/dx"));
  CHECK(out("[\xC3\xA0-\xC3\xBF]", "/\xC3\xA9"));
  CHECK(out("[\\]]", "/]"));
  CHECK(out("\\*", "/*"));
  CHECK(!out("\\*", "/a"));
  CHECK(out("a]", "/a]"));
  CHECK(out("*a*b*", "/xaxbx"));
  CHECK(!out("*a*b", "/ba"));
  CHECK(out("*", "/x"));
}

TEST(any_depth) {
  CHECK(out("/a/**/b", "/a/b"));
  CHECK(out("/a/**/b", "/a/x/y/b/c"));
  CHECK(!out("/a/**/b", "/x/a/b"));
  CHECK(out("a/**/b", "/x/a/y/b"));
  CHECK(out("**/b", "/b"));
  CHECK(out("a/**", "/a"));
  CHECK(out("**", "/x"));
  /* As restic has it, and not as it should be. */
  CHECK(!out("/a/**/b/**", "/a/x/b"));
  CHECK(out("/a/**/b/**", "/a/x/b/c"));
}

TEST(cleaning) {
  CHECK(out("foo/", "/foo"));
  CHECK(out("a//b", "/a/b"));
  CHECK(out("./foo", "/x/foo"));
  CHECK(out("/a/../b", "/b"));
  CHECK(out("/../b", "/b"));
  CHECK(out("../b", "/../b"));
  CHECK(out("a/..", "/."));
}

TEST(negation) {
  CHECK(out("*.c", "/x.c"));
  CHECK(!out("*.c !x.c", "/x.c"));
  CHECK(out("*.c !x.c", "/y.c"));
  CHECK(out("!x.c *.c", "/x.c"));
  CHECK(out("*.c !x.c /x.c", "/x.c"));
  CHECK(!out("!*", "/x"));
  /* The two lists know nothing of each other. */
  repo_exclude *x = compiled("*.C", true);
  CHECK(repo_exclude_pattern(x, "!x.c", false) == NULL);
  CHECK(asked(x, "/x.c"));
  repo_exclude_free(x);
}

TEST(folding) {
  CHECK(folded_out("FOO", "/a/fOo"));
  CHECK(folded_out("\xC3\x89t\xC3\xA9", "/\xC3\xA9T\xC3\x89"));
  CHECK(folded_out("\xCE\xA3", "/\xCF\x83"));
  CHECK(folded_out("\xD0\x96*", "/\xD0\xB6x"));
  CHECK(folded_out("\xC4\xB0", "/i"));
  CHECK(folded_out("\xF0\x90\x90\x80", "/\xF0\x90\x90\xA8"));
  CHECK(folded_out("[A-Z]x", "/QX"));
  CHECK(!folded_out("\xC3\x9F", "/ss"));
  CHECK(!out("FOO", "/foo"));
}

TEST(malformed) {
  static const char *const wrong[] = {"[",    "[]",   "[a",  "[]a]",
                                      "[a-]", "[-a]", "a\\", "x/[",
                                      "[x-",  "[^]",  "!["};
  repo_exclude *x = repo_exclude_new();
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
    error *e = repo_exclude_pattern(x, wrong[i], i % 2);
    if (e == NULL) printf("taken: %s\n", wrong[i]);
    CHECK(e != NULL && e->code == SAROS_E_INVALIDARG);
    error_unref(e);
  }
  CHECK(!asked(x, "/x"));
  repo_exclude_free(x);
}


/* ------------------------------------------------------------------
** Against a plain reading
** ---------------------------------------------------------------- */

/* The rules, tried out one by one: each ** stands for as many stars as there
   is room for. */
static bool plain(const char *const *parts, size_t n, const char *const *path,
                  size_t m) {
  for (size_t i = 0; i < n; i++) {
    if (strcmp(parts[i], "**") != 0 && parts[i][0] != '\0') continue;
    for (size_t stars = 0; stars + n <= m + 1; stars++) {
      const char *more[64];
      size_t k = 0;
      for (size_t j = 0; j < i; j++) more[k++] = parts[j];
      for (size_t j = 0; j < stars; j++) more[k++] = "*";
      for (size_t j = i + 1; j < n; j++) more[k++] = parts[j];
      if (plain(more, k, path, m)) return true;
    }
    return false;
  }
  if (n == 0 || n > m) return false;
  bool rooted = strcmp(parts[0], "/") == 0;
  size_t from = !rooted && strcmp(path[0], "/") == 0;
  for (size_t to = rooted ? 0 : m - n; from <= to; from++) {
    size_t i = 0;
    while (i < n && repo_glob_match(parts[i], strlen(parts[i]), path[from + i],
                                    strlen(path[from + i])))
      i++;
    if (i == n) return true;
  }
  return false;
}

static size_t random_parts(const char *const *from, unsigned kinds,
                           const char **parts, char *text, unsigned most) {
  size_t n = 0;
  text[0] = '\0';
  if (next_random(2)) parts[n++] = "/";
  unsigned more = 1 + next_random(most);
  for (unsigned i = 0; i < more; i++) {
    const char *part = from[next_random(kinds)];
    if (i > 0 || n > 0) strcat(text, "/");
    strcat(text, part);
    parts[n++] = part;
  }
  return n;
}

TEST(as_the_rules_say) {
  static const char *const patterns[] = {"**", "**", "*", "a",    "b",
                                         "a*", "*b", "?", "[ab]", "ab"};
  static const char *const names[] = {"a", "b", "ab", "c"};
  unsigned matched = 0;
  for (int i = 0; i < 200000; i++) {
    const char *parts[32], *path[32];
    char pattern[200], name[200];
    size_t n = random_parts(patterns, 10, parts, pattern, 5);
    size_t m = random_parts(names, 4, path, name, 6);
    repo_exclude *x = repo_exclude_new();
    CHECK(repo_exclude_pattern(x, pattern, false) == NULL);
    bool expected = plain(parts, n, path, m);
    if (asked(x, name) != expected) {
      printf("%s of %s: %d expected\n", pattern, name, expected);
      check_bad++;
    }
    matched += expected;
    repo_exclude_free(x);
    if (check_bad > 5) break;
  }
  CHECK(matched > 20000 && matched < 180000);
}

/* Each of these is exponential when it is tried out. It is counted in CPU
   time only to end the test; that it ends is the test. */
TEST(hostile_patterns) {
  buffer pattern = BUFFER_EMPTY, path = BUFFER_EMPTY, stars = BUFFER_EMPTY;
  for (int i = 0; i < 60; i++) {
    buffer_text(&pattern, "/**/a");
    buffer_text(&path, "/a");
    buffer_text(&stars, "*a");
  }
  for (int i = 0; i < 500; i++) buffer_text(&path, "/a");
  buffer_text(&pattern, "/b");
  buffer_text(&stars, "b");
  CHECK(!out(pattern.data, path.data));
  CHECK(!out(pattern.data + 1, path.data));
  buffer_clear(&path);
  buffer_byte(&path, '/');
  for (int i = 0; i < 100000; i++) buffer_byte(&path, 'a');
  CHECK(!out(stars.data, path.data));
  /* More components than fit on the stack. */
  buffer_clear(&path);
  for (int i = 0; i < 3000; i++) buffer_text(&path, "/x");
  CHECK(out("/**/x/**/x", path.data));
  CHECK(!out("/**/x/**/y", path.data));
  buffer_free(&pattern);
  buffer_free(&path);
  buffer_free(&stars);
}


/* ------------------------------------------------------------------
** Files of patterns
** ---------------------------------------------------------------- */

static const char *variable(void *context, const char *name) {
  (void)context;
  if (strcmp(name, "HOME") == 0) return "/root";
  if (strcmp(name, "1") == 0) return "one";
  return NULL;
}

static repo_exclude *of_text(const char *text, size_t size) {
  repo_exclude *x = repo_exclude_new();
  error *e = repo_exclude_text(x, text, size, false, variable, NULL);
  if (e != NULL) printf("%s\n", e->message);
  CHECK(e == NULL);
  error_unref(e);
  return x;
}

#define TEXT_OUT(text, path) text_out(text, sizeof(text) - 1, path)
static bool text_out(const char *text, size_t size, const char *path) {
  repo_exclude *x = of_text(text, size);
  bool excluded = asked(x, path);
  repo_exclude_free(x);
  return excluded;
}

TEST(files_of_patterns) {
  CHECK(TEXT_OUT("a\n\n  b\t\r\nc", "/b"));
  CHECK(TEXT_OUT("a\nb\nc", "/c"));
  CHECK(TEXT_OUT("\xC2\xA0 a\xE2\x80\x83\n", "/a"));
  CHECK(!TEXT_OUT("# b\n  #b", "/#b"));
  CHECK(TEXT_OUT("$HOME/x", "/root/x"));
  CHECK(TEXT_OUT("${HOME}x", "/rootx"));
  CHECK(TEXT_OUT("a$1b", "/aoneb"));
  CHECK(TEXT_OUT("a$$b", "/a$b"));
  CHECK(TEXT_OUT("a$NONE", "/a"));
  CHECK(!TEXT_OUT("$NONE", "/"));
  CHECK(TEXT_OUT("a$", "/a$"));
  CHECK(TEXT_OUT("a$.b", "/a$.b"));
  CHECK(TEXT_OUT("a${}b", "/ab"));
  CHECK(TEXT_OUT("a${b", "/ab"));
  CHECK(TEXT_OUT("\xEF\xBB\xBFx", "/x"));
  CHECK(TEXT_OUT("\xFF\xFEx\0\n\0\xE9\0", "/\xC3\xA9"));
  CHECK(TEXT_OUT("\xFE\xFF\0x\0\n\xD8\x3D\xDE\0", "/\xF0\x9F\x98\x80"));
  repo_exclude *x = repo_exclude_new();
  error *e = repo_exclude_text(x, "a\n[\n", 4, false, NULL, NULL);
  CHECK(e != NULL && e->code == SAROS_E_INVALIDARG);
  error_unref(e);
  e = repo_exclude_text(x, "a\0b", 3, false, NULL, NULL);
  CHECK(e != NULL && e->code == SAROS_E_INVALIDARG);
  error_unref(e);
  repo_exclude_free(x);
}


/* ------------------------------------------------------------------
** Marked directories, and sizes
** ---------------------------------------------------------------- */

static void put(int dir, const char *name, const char *text) {
  int fd = openat(dir, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
  close(fd);
}

static uint64_t marks_of(const repo_exclude *x, int dir) {
  error *partial = NULL;
  uint64_t marks = repo_exclude_marks(x, dir, &partial);
  CHECK(partial == NULL);
  error_unref(partial);
  return marks;
}

TEST(marked_directories) {
  char base[] = "/tmp/saros-exclude.XXXXXX", command[100];
  CHECK(mkdtemp(base) != NULL);
  int dir = open(base, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  repo_exclude *x = repo_exclude_new();
  CHECK(repo_exclude_if_present(x, ".nobackup") == NULL);
  CHECK(repo_exclude_if_present(x, "tag:head:er") == NULL);
  CHECK(repo_exclude_caches(x) == NULL);
  CHECK_INT(marks_of(x, dir), 0);
  put(dir, "tag", "hea");
  CHECK_INT(marks_of(x, dir), 0);
  put(dir, "tag", "head:er and more");
  CHECK_INT(marks_of(x, dir), 2);
  put(dir, "tag", "Head:er");
  CHECK_INT(marks_of(x, dir), 0);
  put(dir, ".nobackup", "");
  CHECK_INT(marks_of(x, dir), 1);
  put(dir, "CACHEDIR.TAG", "Signature: 8a477f597d28d172789f06886806bc55\n#");
  CHECK_INT(marks_of(x, dir), 5);
  CHECK(repo_exclude_marked(x, 1, "x"));
  CHECK(!repo_exclude_marked(x, 1, ".nobackup"));
  CHECK(repo_exclude_marked(x, 5, ".nobackup"));
  CHECK(!repo_exclude_marked(x, 4, "CACHEDIR.TAG"));
  CHECK(!repo_exclude_marked(x, 0, "x"));
  /* A fifo is not opened: nobody will ever write to it. */
  CHECK(unlinkat(dir, "tag", 0) == 0 && mkfifoat(dir, "tag", 0600) == 0);
  CHECK_INT(marks_of(x, dir), 5);
  CHECK(unlinkat(dir, ".nobackup", 0) == 0);
  CHECK(symlinkat("nowhere", dir, ".nobackup") == 0);
  CHECK_INT(marks_of(x, dir), 5);
  error *e = repo_exclude_if_present(x, ":x");
  CHECK(e != NULL && e->code == SAROS_E_INVALIDARG);
  error_unref(e);
  for (int i = 3; i < 64; i++)
    CHECK(repo_exclude_if_present(x, "another") == NULL);
  e = repo_exclude_if_present(x, "one too many");
  CHECK(e != NULL && e->code == SAROS_E_INVALIDARG);
  error_unref(e);
  repo_exclude_free(x);
  close(dir);
  snprintf(command, sizeof command, "rm -rf %s", base);
  CHECK(system(command) == 0);
}

TEST(sizes) {
  uint64_t n;
  repo_exclude *x = repo_exclude_new();
  CHECK(!repo_exclude_size(x, S_IFREG, UINT64_MAX));
  repo_exclude_larger_than(x, 100);
  CHECK(!repo_exclude_size(x, S_IFREG, 100));
  CHECK(repo_exclude_size(x, S_IFREG, 101));
  CHECK(!repo_exclude_size(x, S_IFDIR, 4096));
  repo_exclude_free(x);
  CHECK(repo_exclude_read_size("0", &n) && n == 0);
  CHECK(repo_exclude_read_size("12b", &n) && n == 12);
  CHECK(repo_exclude_read_size("3K", &n) && n == 3072);
  CHECK(repo_exclude_read_size("2m", &n) && n == 2 << 20);
  CHECK(repo_exclude_read_size("1T", &n) && n == (uint64_t)1 << 40);
  const char *const wrong[] = {
      "",           "k", "-1", "1x", "1kb", "1 ", "1.5", "99999999999999999999",
      "9999999999T"};
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
    CHECK(!repo_exclude_read_size(wrong[i], &n));
}


/* ------------------------------------------------------------------
** Against restic
** ---------------------------------------------------------------- */

static const char *const folders[] = {"a", "ab", "B", "\xC3\xA9", "[x"};

/* Some hundred files, to a depth of three. */
static void make_tree(char *path, int depth) {
  size_t size = strlen(path);
  for (size_t i = 0; i < 5; i++) {
    sprintf(path + size, "/%s.c", folders[i]);
    put(AT_FDCWD, path, "x");
    if (depth == 0) continue;
    sprintf(path + size, "/%s", folders[i]);
    CHECK(mkdir(path, 0755) == 0);
    make_tree(path, depth - 1);
  }
  path[size] = '\0';
}

/* One of ours, with a part of the real path in front now and then. */
static void make_pattern(char *to, const char *root, bool may_negate) {
  static const char *const parts[] = {
      "**", "*",      "a",    "ab",   "B",   "a.c",       "*.c", "a*",
      "?",  "[a-c]*", "[^a]", "\\[x", "*b*", "\xC3\xA9*", "b.c", "**"};
  to[0] = '\0';
  if (may_negate && next_random(3) == 0) strcat(to, "!");
  if (next_random(2)) strcat(strcat(to, root), "/");
  unsigned more = 1 + next_random(4);
  for (unsigned i = 0; i < more; i++) {
    if (i > 0) strcat(to, "/");
    strcat(to, parts[next_random(16)]);
  }
}

/* The paths of a walk, each with a newline behind. */
static void walk(const repo_exclude *x, char *path, buffer *b) {
  size_t size = strlen(path);
  for (size_t i = 0; i < 10; i++) {
    struct stat st;
    sprintf(path + size, "/%s%s", folders[i % 5], i < 5 ? ".c" : "");
    if (stat(path, &st) != 0 || asked(x, path)) continue;
    buffer_format(b, "%s%s\n", path, S_ISDIR(st.st_mode) ? "/" : "");
    if (S_ISDIR(st.st_mode)) walk(x, path, b);
  }
  path[size] = '\0';
}

static int by_text(const void *a, const void *b) {
  return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The lines of a text in order; how many. */
static size_t sorted_lines(buffer *b, char **lines, size_t most) {
  size_t n = 0;
  for (char *line = b->data != NULL ? strtok(b->data, "\n") : NULL;
       line != NULL && n < most; line = strtok(NULL, "\n"))
    lines[n++] = line;
  qsort(lines, n, sizeof *lines, by_text);
  return n;
}

/* What restic would store below the root. */
static void ask_restic(const char *args, const char *root, buffer *b) {
  buffer out = BUFFER_EMPTY;
  CHECK(run_shell(&out,
                  "restic --no-cache --no-lock backup --dry-run -v -v "
                  "--json%s %s",
                  args, root));
  char *rest = NULL;
  for (char *line = out.data != NULL ? strtok_r(out.data, "\n", &rest) : NULL;
       line != NULL; line = strtok_r(NULL, "\n", &rest)) {
    error *e = NULL;
    value *v = json_read(line, strlen(line), NULL, &e);
    const char *item = value_chars(value_get(v, "item"), "");
    const char *action = value_chars(value_get(v, "action"), "");
    bool below = strncmp(item, root, strlen(root)) == 0 &&
                 item[strlen(root)] == '/' && item[strlen(root) + 1] != '\0';
    if (strcmp(action, "new") == 0 && below) buffer_format(b, "%s\n", item);
    value_free(v);
    error_unref(e);
  }
  buffer_free(&out);
}

static void compare(const repo_exclude *x, const char *args, char *root) {
  enum { MOST = 4000 };
  static char *mine[MOST], *theirs[MOST];
  buffer ours = BUFFER_EMPTY, other = BUFFER_EMPTY;
  if (!asked(x, root)) walk(x, root, &ours);
  ask_restic(args, root, &other);
  size_t n = sorted_lines(&ours, mine, MOST);
  size_t m = sorted_lines(&other, theirs, MOST);
  CHECK_INT(n, m);
  for (size_t i = 0, k = 0; i < n || k < m; i++, k++) {
    int r = i == n ? 1 : k == m ? -1 : strcmp(mine[i], theirs[k]);
    if (r == 0) continue;
    printf("only %s: %s, with%s\n", r < 0 ? "ours" : "restic's",
           r < 0 ? mine[i] : theirs[k], args);
    check_bad++;
    break;
  }
  buffer_free(&ours);
  buffer_free(&other);
}

TEST(as_restic_does) {
  char root[3000], args[1000], pattern[300];
  int rounds = getenv("SAROS_LONG") != NULL ? 200 : 12;
  if (getenv("SAROS_QUICK") != NULL) rounds = 2;
  if (!cheap_restic_begin("/tmp", 2)) SKIP("restic is not installed");
  snprintf(root, sizeof root, "%s/root", restic_base);
  CHECK(mkdir(root, 0755) == 0);
  make_tree(root, 3);
  seed = 77;
  for (int i = 0; i < rounds && check_bad == 0; i++) {
    repo_exclude *x = repo_exclude_new();
    size_t at = 0;
    unsigned patterns = 1 + next_random(4);
    for (unsigned k = 0; k < patterns; k++) {
      bool fold = next_random(4) == 0;
      make_pattern(pattern, root, k > 0);
      CHECK(repo_exclude_pattern(x, pattern, fold) == NULL);
      at += (size_t)snprintf(args + at, sizeof args - at, " --%sexclude '%s'",
                             fold ? "i" : "", pattern);
    }
    compare(x, args, root);
    repo_exclude_free(x);
  }
  restic_end();
}


/* ------------------------------------------------------------------
** Memory
** ---------------------------------------------------------------- */

static bool go_through(void) {
  static const char text[] = "a/**/b\n!${HOME}/x\n";
  static char path[20001];
  bool excluded = false;
  error *e = NULL;
  repo_exclude *x = repo_exclude_new();
  if (x == NULL) return false;
  for (int i = 0; i < 10000; i++) memcpy(path + (size_t)i * 2, "/a", 2);
  e = repo_exclude_text(x, text, strlen(text), false, variable, NULL);
  if (e == NULL)
    e = repo_exclude_text(x, text, strlen(text), true, variable, NULL);
  if (e == NULL) e = repo_exclude_caches(x);
  if (e == NULL) e = repo_exclude_path(x, path, strlen(path), &excluded);
  if (e != NULL) CHECK_INT(e->code, SAROS_E_OUTOFMEMORY);
  bool whole = e == NULL;
  error_unref(e);
  repo_exclude_free(x);
  return whole;
}

TEST(memory) {
  SWEEP(go_through, 25);
}

int main(int argc, char **argv) {
  store_engine();
  check_begin(argc, argv);
  RUN(depth);
  RUN(wildcards);
  RUN(any_depth);
  RUN(cleaning);
  RUN(negation);
  RUN(folding);
  RUN(malformed);
  RUN(as_the_rules_say);
  RUN(hostile_patterns);
  RUN(files_of_patterns);
  RUN(marked_directories);
  RUN(sizes);
  RUN(as_restic_does);
  RUN(memory);
  return check_end();
}
