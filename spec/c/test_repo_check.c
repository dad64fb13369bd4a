/*
** Checking what restic has made, whole and with every kind of damage: each is
** found, named, and what it hits is told; nothing ever crashes.
**
** not under valgrind: it asks restic; ASan runs it
*/
#include <glob.h>

#include "care_case.h"

static repo *opened[3]; /* by the version of the format */

static bool is_long(void) {
  return getenv("SAROS_LONG") != NULL;
}

static const char *damaged_name(int version) {
  return version == 1 ? "damaged1" : "damaged2";
}

/* What a test was shown, and may have damaged. */
static char shown[32][400];
static unsigned shown_count;

/* A copy; what was shown of it is taken from the original once more. */
static repo *fresh(int version) {
  const char *from = version == 1 ? "r1" : "r2";
  size_t base = strlen(care_at(damaged_name(version)));
  if (opened[version] == NULL) care_copy(from, damaged_name(version));
  for (unsigned i = 0; i < shown_count; i++) {
    if (strncmp(shown[i], care_at(damaged_name(version)), base) != 0) continue;
    char original[800];
    snprintf(original, sizeof original, "%s%s", care_at(from), shown[i] + base);
    unlink(shown[i]);
    CHECK(link(original, shown[i]) == 0);
    memmove(shown[i], shown[--shown_count], sizeof shown[0]);
    i--;
  }
  return opened[version];
}

typedef struct ranked {
  char path[400];
  off_t size;
} ranked;

/* As `ls -S` has it. */
static int by_size(const void *a, const void *b) {
  const ranked *x = a, *y = b;
  if (x->size != y->size) return x->size > y->size ? -1 : 1;
  return strcmp(x->path, y->path);
}

/* A file of the repository that is to be damaged, by a shell's pattern: the
   n-th largest of them, or the smallest; NULL: there is none. */
static const char *file_of(int version, const char *below, unsigned n) {
  static ranked list[256];
  char pattern[400];
  size_t count = 0;
  glob_t g;
  snprintf(pattern, sizeof pattern, "%s/%s", care_at(damaged_name(version)),
           below);
  if (glob(pattern, 0, NULL, &g) != 0) return NULL;
  for (; count < g.gl_pathc && count < 256; count++) {
    struct stat st;
    CHECK(stat(g.gl_pathv[count], &st) == 0);
    snprintf(list[count].path, sizeof list[0].path, "%s", g.gl_pathv[count]);
    list[count].size = st.st_size;
  }
  globfree(&g);
  qsort(list, count, sizeof list[0], by_size);
  const char *path = list[n < count ? n : count - 1].path;
  CHECK(shown_count < sizeof shown / sizeof shown[0]);
  strcpy(shown[shown_count++], path);
  return path;
}

static size_t size_of(const char *path) {
  struct stat st;
  return stat(path, &st) == 0 ? (size_t)st.st_size : 0;
}

/* In a copy of its own. */
static void rewrite(const char *path,
                    void (*change)(char *data, size_t *size, size_t at),
                    size_t at) {
  size_t size = size_of(path);
  char *data = malloc(size + 1);
  int fd = open(path, O_RDONLY);
  CHECK(fd >= 0 && read(fd, data, size) == (ssize_t)size);
  if (fd >= 0) close(fd);
  change(data, &size, at);
  unlink(path);
  fd = open(path, O_WRONLY | O_CREAT | O_EXCL, 0600);
  CHECK(fd >= 0 && write(fd, data, size) == (ssize_t)size);
  if (fd >= 0) close(fd);
  free(data);
}

static void flip(char *data, size_t *size, size_t at) {
  (void)size;
  data[at] = (char)(data[at] ^ 1 << care_random(8));
}

static void cut(char *data, size_t *size, size_t at) {
  (void)data;
  *size = at;
}

static void append(char *data, size_t *size, size_t at) {
  (void)at;
  data[(*size)++] = 'x';
}

/* How many findings there are; the report is to be freed. */
static uint64_t found(repo *r, repo_check_which which, value **report) {
  uint64_t count;
  *report = care_check(r, which, &count);
  CHECK(*report != NULL);
  CHECK_INT(care_number(*report, "finding_count"), count);
  return count;
}

static bool finds(repo *r, repo_check_which which, const char *kind) {
  value *report;
  found(r, which, &report);
  bool does = care_first(report, kind) != NULL;
  if (!does) care_tell(report);
  value_free(report);
  return does;
}

/* ------------------------------------------------------------------
** What is whole
** ---------------------------------------------------------------- */

TEST(what_restic_made_is_whole) {
  for (int version = 1; version <= 2; version++) {
    value *report;
    CHECK_INT(found(fresh(version), REPO_CHECK_ALL, &report), 0);
    CHECK_INT(care_number(report, "versions"), 3);
    CHECK_INT(care_number(report, "unreferenced_packs"), 1);
    CHECK_INT(care_number(report, "packs"), care_number(report, "packs_read"));
    CHECK(care_number(report, "trees") > 10);
    value_free(report);
  }
}

TEST(a_part_of_the_packs_is_read) {
  repo_check_options o = {.which = REPO_CHECK_SHARE, .share = 0.3};
  repo *r = fresh(2);
  repo_hold *h;
  value *report;
  uint64_t count, bytes = 0;
  CHECK(repo_hold_take(r, REPO_READS, NULL, NULL, NULL, &h) == NULL);
  CHECK(repo_check(h, &o, &report, &count) == NULL);
  int64_t packs = care_number(report, "packs");
  CHECK_INT(care_number(report, "packs_read"), (int64_t)((double)packs * 0.3));
  value_free(report);
  o = (repo_check_options){.which = REPO_CHECK_BYTES, .bytes = 1};
  CHECK(repo_check(h, &o, &report, &count) == NULL);
  CHECK_INT(care_number(report, "packs_read"), 1);
  value_free(report);
  int64_t sum = 0;
  for (unsigned part = 1; part <= 3; part++) {
    o = (repo_check_options){
        .which = REPO_CHECK_PART, .part = part, .of_parts = 3};
    CHECK(repo_check(h, &o, &report, &count) == NULL);
    sum += care_number(report, "packs_read");
    bytes += (uint64_t)care_number(report, "bytes_read");
    value_free(report);
  }
  CHECK_INT(sum, packs);
  CHECK(bytes > 0);
  CHECK(repo_hold_end(h, NULL, NULL, NULL) == NULL);
}

TEST(which_packs_to_read_is_understood) {
  struct {
    const char *json;
    int which; /* -1: it is refused */
  } list[] = {{"true", REPO_CHECK_ALL},
              {"false", REPO_CHECK_NONE},
              {"\"10%\"", REPO_CHECK_SHARE},
              {"\"0.5%\"", REPO_CHECK_SHARE},
              {"\"1/5\"", REPO_CHECK_PART},
              {"500", REPO_CHECK_BYTES},
              {"\"5G\"", REPO_CHECK_BYTES},
              {"\"0%\"", -1},
              {"\"101%\"", -1},
              {"\"6/5\"", -1},
              {"\"0/5\"", -1},
              {"\"1/257\"", -1},
              {"0", -1},
              {"-1", -1},
              {"\"\"", -1},
              {"\"x\"", -1},
              {"\"5GB\"", -1},
              {"[]", -1},
              {"\"nan%\"", -1},
              {"\"-1/3\"", -1}};
  for (size_t i = 0; i < sizeof list / sizeof list[0]; i++) {
    error *e = NULL;
    repo_check_options o = {.which = REPO_CHECK_NONE};
    value *v = json_read(list[i].json, strlen(list[i].json), NULL, &e);
    e = repo_check_read_which(v, &o);
    CHECK_INT(e != NULL ? -1 : (int)o.which, list[i].which);
    if (check_bad > 0) printf("  (%s)\n", list[i].json);
    error_unref(e);
    value_free(v);
  }
}


/* ------------------------------------------------------------------
** Packs
** ---------------------------------------------------------------- */

/* Every byte of a pack is a part of something; a flipped bit in any of them is
   found, and restic finds it, too. */
TEST(a_flipped_bit_in_a_pack_is_found) {
  for (int version = 1; version <= 2; version++)
    for (unsigned n = 0; n < (is_long() ? 40 : 2); n++) {
      repo *r = fresh(version);
      /* the third largest, and the smallest: with files, and with trees */
      const char *path = file_of(version, "data/*/*", n % 2 == 0 ? 2 : 8);
      size_t size = size_of(path), header = size - 4;
      /* of a blob: IV, text; of the header: IV, text, tag, length; anywhere */
      size_t at[] = {care_random(16),
                     16 + care_random(100),
                     header - 1 - care_random(16),
                     header - 17 - care_random(20),
                     header + care_random(4),
                     care_random((unsigned)size),
                     care_random((unsigned)size)};
      for (size_t i = 0; i < sizeof at / sizeof at[0]; i++) {
        rewrite(path, flip, at[i]);
        value *report;
        uint64_t count = found(r, REPO_CHECK_ALL, &report);
        CHECK(count > 0 && care_first(report, "pack_damaged") != NULL);
        if (count == 0)
          printf("  (%s: byte %lu of %lu)\n", path, (unsigned long)at[i],
                 (unsigned long)size);
        value_free(report);
        if (i == 5 && n == 0)
          CHECK(!run_shell(NULL,
                           "restic --no-cache -q -r '%s' check --read-data "
                           ">/dev/null 2>&1",
                           care_at(damaged_name(version))));
        fresh(version);
        path = file_of(version, "data/*/*", n % 2 == 0 ? 2 : 8);
      }
    }
}

TEST(what_is_hit_is_told) {
  repo *r = fresh(2);
  value *report;
  /* the newest version's largest file is in this directory */
  CHECK(unlink(file_of(2, "data/*/*", 0)) == 0);
  CHECK(found(r, REPO_CHECK_NONE, &report) > 0);
  const value *f = care_first(report, "pack_missing");
  CHECK(f != NULL);
  const value *paths = value_get(f, "paths");
  CHECK(care_number(f, "version_count") > 0 && paths != NULL);
  CHECK(value_boolean(value_get(report, "impact_is_whole"), false));
  /* Each of them cannot be restored, says restic. */
  const value *versions = value_get(f, "versions");
  for (uint32_t i = 0; versions != NULL && paths != NULL && i < 1; i++)
    CHECK(!run_shell(NULL,
                     "restic --no-cache -q -r '%s' dump %s '%s' >/dev/null "
                     "2>&1",
                     care_at("damaged2"),
                     value_chars(versions->as.items[0], ""),
                     value_chars(paths->as.items[0], "")));
  value_free(report);
}

TEST(a_missing_pack_is_found) {
  for (unsigned n = 0; n < 8; n++) {
    repo *r = fresh(2);
    CHECK(unlink(file_of(2, "data/*/*", n)) == 0);
    /* but for the one that nobody names */
    value *report;
    uint64_t count = found(r, REPO_CHECK_NONE, &report);
    CHECK(count == 0 ? care_number(report, "unreferenced_packs") == 0
                     : care_first(report, "pack_missing") != NULL);
    value_free(report);
  }
}

TEST(a_pack_of_another_size_is_found) {
  for (unsigned n = 0; n < 6; n++) {
    repo *r = fresh(2);
    const char *path = file_of(2, "data/*/*", 1);
    size_t size = size_of(path);
    if (n == 0)
      rewrite(path, append, 0);
    else
      rewrite(path, cut, n == 1 ? 0 : care_random((unsigned)size));
    CHECK(finds(r, REPO_CHECK_NONE, "pack_size"));
    CHECK(finds(r, REPO_CHECK_ALL, "pack_size"));
  }
}

/* The other pack that has it is read for every blob, so nothing is lost. */
TEST(of_two_copies_one_may_be_bad) {
  repo *r = fresh(2);
  error *e = NULL;
  const char *path = care_at("twice");
  SHELL("mkdir -p '%s'", path);
  repo *w = writer_new(path);
  repo_id a = put_blob(w, REPO_DATA, "hello", 5);
  repo_id b = put_blob(w, REPO_DATA, "hello", 5);
  CHECK(repo_id_equal(&a, &b));
  put_version(
      w,
      put_tree(w, "{'name':'f','type':'file','content':['%s']," NODE_REST "}",
               id_text(a)));
  SHELL("cd '%s/data' && rm $(ls -d */* -S | tail -n 1)", path);
  value *report;
  CHECK_INT(found(w, REPO_CHECK_ALL, &report), 1);
  const value *f = care_first(report, "pack_missing");
  CHECK(f != NULL && value_get(f, "versions") == NULL);
  value_free(report);
  repo_unref(w);
  error_unref(e);
  (void)r;
}


/* ------------------------------------------------------------------
** Small files
** ---------------------------------------------------------------- */

static void each_damage(const char *below, const char *kind) {
  for (int version = 1; version <= 2; version++)
    for (unsigned n = 0; n < (is_long() ? 60 : 4); n++) {
      repo *r = fresh(version);
      const char *path = file_of(version, below, n % 2);
      size_t size = size_of(path);
      if (n % 4 == 3)
        rewrite(path, cut, care_random((unsigned)size));
      else
        rewrite(path, flip, care_random((unsigned)size));
      CHECK(finds(r, REPO_CHECK_NONE, kind));
    }
}

TEST(a_damaged_index_is_found) {
  each_damage("index/*", "index_damaged");
}

TEST(a_damaged_version_is_found) {
  each_damage("snapshots/*", "version_damaged");
}

TEST(a_damaged_key_is_found) {
  each_damage("keys/*", "key_damaged");
}

TEST(a_damaged_config_is_found) {
  each_damage("config", "config_damaged");
}

TEST(a_missing_index_is_found) {
  repo *r = fresh(2);
  CHECK(unlink(file_of(2, "index/*", 0)) == 0);
  CHECK(finds(r, REPO_CHECK_NONE, "blob_missing"));
  fresh(2);
  for (const char *path; (path = file_of(2, "index/*", 0)) != NULL;)
    CHECK(unlink(path) == 0);
  value *report;
  CHECK(found(r, REPO_CHECK_ALL, &report) > 0);
  CHECK_INT(care_number(report, "index_files"), 0);
  value_free(report);
}


/* ------------------------------------------------------------------
** What nobody honest would write
** ---------------------------------------------------------------- */

static repo *hostile;

static uint64_t hostile_count(value **report) {
  return found(hostile, REPO_CHECK_ALL, report);
}

static void hostile_begin(void) {
  SHELL("rm -rf '%s' && mkdir '%s'", care_at("hostile"), care_at("hostile"));
  hostile = writer_new(care_at("hostile"));
}

static void hostile_end(void) {
  repo_unref(hostile);
}

TEST(trees_that_lack_something_are_found) {
  static const char *const nodes[] = {
      "{'name':'f','type':'file','content':null," NODE_REST "}",
      "{'name':'d','type':'dir','content':null," NODE_REST "}",
      "{'name':'..','type':'file','content':[]," NODE_REST "}",
      "{'name':'a/b','type':'file','content':[]," NODE_REST "}",
      "{'name':'b','type':'file','content':[]," NODE_REST
      "},{'name':'a','type':'file','content':[]," NODE_REST "}",
      "{'name':'x'",
  };
  for (size_t i = 0; i < sizeof nodes / sizeof nodes[0]; i++) {
    value *report;
    hostile_begin();
    repo_id sub = put_tree(hostile, "%s", nodes[i]);
    repo_id tree = put_tree(hostile,
                            "{'name':'sub','type':'dir','content':null,"
                            "'subtree':'%s'," NODE_REST "}",
                            id_text(sub));
    put_version(hostile, tree);
    CHECK_INT(hostile_count(&report), 1);
    const value *f = care_first(report, "tree_damaged");
    CHECK(f != NULL);
    const value *paths = value_get(f, "paths");
    CHECK(paths != NULL && paths->count == 1 &&
          strcmp(value_chars(paths->as.items[0], ""), "/sub") == 0);
    value_free(report);
    hostile_end();
  }
}

TEST(what_is_named_and_is_not_there_is_found) {
  repo_id none = {{1}}, other = {{2}};
  value *report;
  hostile_begin();
  put_version(
      hostile,
      put_tree(
          hostile,
          "{'name':'d','type':'dir','content':null,'subtree':'%s'," NODE_REST
          "},{'name':'f','type':'file','content':"
          "['%s','%s','%s']," NODE_REST "}",
          id_text(none), id_text(other), id_text(none), id_text(other)));
  put_version(hostile, none);
  CHECK_INT(hostile_count(&report), 3);
  const value *f = care_first(report, "blob_missing");
  CHECK(f != NULL);
  value_free(report);
  hostile_end();
}

/* A directory with a thousand names for the next one, thirty times: more paths
   than anybody can count, and a few trees. */
TEST(trees_that_are_used_again_and_again_end) {
  static char nodes[60000];
  value *report;
  repo_id none = {{7}}, tree;
  hostile_begin();
  tree = put_tree(hostile,
                  "{'name':'f','type':'file','content':['%s']," NODE_REST "}",
                  id_text(none));
  for (int level = 0; level < 30; level++) {
    size_t n = 0;
    for (int i = 0; i < 100; i++)
      n += (size_t)snprintf(nodes + n, sizeof nodes - n,
                            "%s{'name':'%03d','type':'dir','content':null,"
                            "'subtree':'%s'," NODE_REST "}",
                            i > 0 ? "," : "", i, id_text(tree));
    tree = put_tree(hostile, "%s", nodes);
  }
  put_version(hostile, tree);
  uint64_t most = repo_check_impact_test;
  if (!is_long()) repo_check_impact_test = 300000;
  CHECK_INT(hostile_count(&report), 1);
  repo_check_impact_test = most;
  CHECK_INT(care_number(report, "trees"), 31);
  CHECK(!value_boolean(value_get(report, "impact_is_whole"), true));
  const value *paths = value_get(care_first(report, "blob_missing"), "paths");
  CHECK(paths != NULL && paths->count == 20);
  value_free(report);
  hostile_end();
}

/* Deeper than any stack of calls. */
TEST(trees_that_are_very_deep_end) {
  value *report;
  hostile_begin();
  repo_id none = {{7}};
  repo_id tree = put_tree(
      hostile, "{'name':'f','type':'file','content':['%s']," NODE_REST "}",
      id_text(none));
  put_version(hostile, put_deep(hostile, tree, 2100));
  CHECK_INT(hostile_count(&report), 1);
  CHECK_INT(care_number(report, "trees"), 2101);
  value_free(report);
  hostile_end();
}

/* An index that lies about lengths, offsets and types. */
TEST(an_index_that_lies_is_found) {
  const repo_blob lies[] = {
      {.type = REPO_DATA, .length = 4000000000u},
      {.type = REPO_DATA, .length = 40, .plain_length = 4000000000u},
      {.type = REPO_DATA, .offset = 4000000000u},
      {.type = REPO_TREE},
      {.type = REPO_DATA, .length = 33, .plain_length = 5},
  };
  for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
    value *report;
    repo_blob claim = lies[i];
    hostile_begin();
    repo_id_of(&claim.id, "hello", 5);
    put_blob_as(hostile, REPO_DATA, "hello", 5, &claim);
    put_version(
        hostile,
        put_tree(hostile,
                 "{'name':'f','type':'file','content':['%s']," NODE_REST "}",
                 id_text(claim.id)));
    CHECK(hostile_count(&report) > 0);
    value_free(report);
    hostile_end();
  }
}

/* Every finding is counted, the first thousand are told. */
TEST(there_may_be_more_than_can_be_told) {
  static char text[200000];
  value *report;
  size_t n = 0;
  hostile_begin();
  n += (size_t)snprintf(text, sizeof text,
                        "{\"nodes\":[{\"name\":\"f\",\"type\":\"file\",");
  n += (size_t)snprintf(text + n, sizeof text - n,
                        "\"mtime\":\"2020-01-02T03:04:05Z\",\"atime\":"
                        "\"2020-01-02T03:04:05Z\",\"ctime\":"
                        "\"2020-01-02T03:04:05Z\",\"uid\":0,\"gid\":0,"
                        "\"content\":[");
  for (int i = 0; i < 1500; i++) {
    repo_id id = {{1, (uint8_t)i, (uint8_t)(i >> 8)}};
    n += (size_t)snprintf(text + n, sizeof text - n, "%s\"%s\"",
                          i > 0 ? "," : "", id_text(id));
  }
  n += (size_t)snprintf(text + n, sizeof text - n, "]}]}\n");
  put_version(hostile, put_blob(hostile, REPO_TREE, text, n));
  CHECK_INT(hostile_count(&report), 1500);
  CHECK_INT(value_get(report, "findings")->count, 1000);
  value_free(report);
  hostile_end();
}

/* What fails once is no damage, but it is told. What is read first are trees:
   as often as by a check that reads nothing else. */
TEST(a_pack_that_is_bad_once_is_a_hint) {
  faulty_store f;
  repo *r = fresh(2);
  repo_store *inner = r->store;
  value *report;
  r->store = faulty_around(&f, inner);
  f.kinds = 1u << REPO_PACKS;
  faulty_at(&f, STORE_FAILS, STORE_READ, 0);
  CHECK_INT(found(r, REPO_CHECK_NONE, &report), 0);
  value_free(report);
  long trees = atomic_load(&f.seen);
  CHECK(trees > 0);
  faulty_at(&f, STORE_FAILS, STORE_READ, trees + 2);
  CHECK_INT(found(r, REPO_CHECK_ALL, &report), 0);
  const value *hints = value_get(report, "hints");
  bool told = false;
  for (uint32_t i = 0; i < hints->count; i++)
    told =
        told || strcmp(value_chars(value_get(hints->as.items[i], "kind"), ""),
                       "pack_unsteady") == 0;
  CHECK(told);
  value_free(report);
  /* A server that is away is no damage. */
  repo_check_options o = {.which = REPO_CHECK_NONE};
  repo_hold *h;
  uint64_t count;
  f.number = EACCES;
  f.lasts = true;
  CHECK(repo_hold_take(r, REPO_READS, NULL, NULL, NULL, &h) == NULL);
  faulty_at(&f, STORE_FAILS, STORE_READ, 1);
  CHECK_INT(store_code(repo_check(h, &o, &report, &count)),
            SAROS_E_ACCESSDENIED);
  CHECK(report == NULL);
  faulty_at(&f, STORE_FAILS, 0, 0);
  CHECK(repo_hold_end(h, NULL, NULL, NULL) == NULL);
  r->store = inner;
}

/* Memory that runs out anywhere ends it, and nothing is left behind. */
TEST(memory_may_run_out) {
  repo *r = fresh(2);
  CHECK(unlink(file_of(2, "data/*/*", 0)) == 0);
  repo_check_options o = {.which = REPO_CHECK_ALL};
  repo_hold *h;
  CHECK(repo_hold_take(r, REPO_READS, NULL, NULL, NULL, &h) == NULL);
  long step = is_long() ? 1 : 23;
  for (long n = 1;; n += step) {
    value *report = NULL;
    uint64_t count;
    mem_fail_at(n);
    error *e = repo_check(h, &o, &report, &count);
    bool failed = mem_fail_left() == 0;
    mem_fail_at(0);
    if (!failed) {
      CHECK(e == NULL && count > 0);
      value_free(report);
      error_unref(e);
      break;
    }
    /* A cache may do without. */
    CHECK(e == NULL || e->code == SAROS_E_OUTOFMEMORY);
    error_unref(e);
    value_free(report);
  }
  CHECK(repo_hold_end(h, NULL, NULL, NULL) == NULL);
}

static int run(void) {
  for (int version = 1; version <= 2; version++) {
    care_fill(version == 1 ? "r1" : "r2", version);
    fresh(version);
    opened[version] = restore_open(care_at(damaged_name(version)), "x");
    if (opened[version] == NULL) return check_failed = 1;
  }
  RUN(what_restic_made_is_whole);
  RUN(a_part_of_the_packs_is_read);
  RUN(a_flipped_bit_in_a_pack_is_found);
  RUN(what_is_hit_is_told);
  RUN(a_missing_pack_is_found);
  RUN(a_pack_of_another_size_is_found);
  RUN(of_two_copies_one_may_be_bad);
  RUN(a_damaged_index_is_found);
  RUN(a_damaged_version_is_found);
  RUN(a_damaged_key_is_found);
  RUN(a_damaged_config_is_found);
  RUN(a_missing_index_is_found);
  RUN(a_pack_that_is_bad_once_is_a_hint);
  RUN(memory_may_run_out);
  for (int version = 1; version <= 2; version++) repo_unref(opened[version]);
  return 0;
}

TEST(without_restic) {
  SKIP("restic is not installed: what it makes cannot be checked");
}

int main(int argc, char **argv) {
  check_begin(argc, argv);
  store_engine();
  RUN(which_packs_to_read_is_understood);
  if (care_begin()) {
    run();
    RUN(trees_that_lack_something_are_found);
    RUN(what_is_named_and_is_not_there_is_found);
    RUN(trees_that_are_used_again_and_again_end);
    RUN(trees_that_are_very_deep_end);
    RUN(an_index_that_lies_is_found);
    RUN(there_may_be_more_than_can_be_told);
  } else {
    RUN(without_restic);
  }
  care_end();
  return check_end();
}
