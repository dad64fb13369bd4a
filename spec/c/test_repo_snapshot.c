/*
** Versions: what restic wrote is written again byte for byte, also what we do
** not know; what is not one is refused; which belong together; which stay.
**
** not under thread: it has one thread; ASan runs it
*/
#include "repository/go.h"
#include "repository/snapshot.h"
#include "test_base_sweep.h"

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static const char *const real[] = {
    /* restic 0.14 */
    "{\"time\":\"2024-03-01T10:00:00+01:00\",\"tree\":\"" HEX
    "\",\"paths\":[\"/tmp/bk/fx/src\"],\"hostname\":\"fixture\",\"username\":"
    "\"root\",\"excludes\":[\"*.nomatch\"],\"tags\":[\"t1\",\"t2\","
    "\"x\\u003cy\"]}",
    "{\"time\":\"2024-03-02T10:00:00Z\",\"parent\":\"" HEX "\",\"tree\":\"" HEX
    "\",\"paths\":[],\"hostname\":\"h\",\"uid\":1000,\"gid\":100,\"original\":"
    "\"" HEX "\"}",
    /* 0.17 and later */
    "{\"time\":\"2024-03-02T10:00:00.123456789-03:30\",\"tree\":\"" HEX
    "\",\"paths\":null,\"program_version\":\"restic 0.17.1\",\"summary\":{"
    "\"backup_start\":\"2024-03-02T10:00:00.5-03:30\",\"backup_end\":"
    "\"2024-03-02T13:30:01Z\",\"files_new\":1,\"files_changed\":2,"
    "\"files_unmodified\":3,\"dirs_new\":4,\"dirs_changed\":5,"
    "\"dirs_unmodified\":6,\"data_blobs\":7,\"tree_blobs\":8,\"data_added\":9,"
    "\"data_added_packed\":10,\"total_files_processed\":11,"
    "\"total_bytes_processed\":9223372036854775807}}",
    /* the future */
    "{\"time\":\"2024-03-02T10:00:00Z\",\"tree\":\"" HEX
    "\",\"paths\":[\"/\"],\"summary\":{\"backup_start\":"
    "\"2024-03-02T10:00:00Z\",\"backup_end\":\"2024-03-02T13:30:01Z\","
    "\"files_new\":0,\"files_changed\":0,\"files_unmodified\":0,\"dirs_new\":0,"
    "\"dirs_changed\":0,\"dirs_unmodified\":0,\"data_blobs\":0,"
    "\"tree_blobs\":0,\"data_added\":0,\"data_added_packed\":0,"
    "\"total_files_processed\":0,\"total_bytes_processed\":0,\"errors\":[1,"
    "\"\\u003e\"]},\"moon\":{\"phase\":0.5,\"names\":[null,true,{}]},"
    "\"\\u0026\""
    ":\"\\u2028\"}",
};

/* Reads one and writes it. */
static bool again(const char *json, buffer *b, error **e) {
  repo_snapshot *s = repo_snapshot_read(json, strlen(json), e);
  if (s != NULL) *e = repo_snapshot_write(s, b);
  repo_snapshot_free(s);
  return *e == NULL;
}

TEST(what_restic_wrote) {
  for (size_t i = 0; i < sizeof real / sizeof real[0]; i++) {
    buffer b = BUFFER_EMPTY;
    error *e;
    CHECK(again(real[i], &b, &e));
    if (e != NULL) printf("%s\n", e->message);
    CHECK_TEXT(b.data, real[i]);
    error_unref(e);
    buffer_free(&b);
  }
}

static void check_refused(const char *json) {
  error *e = NULL;
  repo_snapshot *s = repo_snapshot_read(json, strlen(json), &e);
  if (s != NULL || e->code != SAROS_E_DAMAGED) {
    printf("not refused: %s\n", json);
    check_bad++;
  }
  error_unref(e);
  repo_snapshot_free(s);
}

#define WITH(fields) \
  "{\"time\":\"2024-03-02T10:00:00Z\",\"tree\":\"" HEX "\"" fields "}"

TEST(what_is_none) {
  check_refused("");
  check_refused("[]");
  check_refused("{}");
  check_refused("{\"time\":\"2024-03-02T10:00:00Z\"}");
  check_refused("{\"tree\":\"" HEX "\"}");
  check_refused("{\"time\":\"2024-03-02T10:00:00Z\",\"tree\":null}");
  check_refused("{\"time\":\"then\",\"tree\":\"" HEX "\"}");
  check_refused(WITH(",\"tree\":\"" HEX "\""));
  check_refused(WITH(",\"parent\":\"x\""));
  check_refused(WITH(",\"parent\":\"" HEX "0\""));
  check_refused(WITH(",\"paths\":\"/\""));
  check_refused(WITH(",\"paths\":[1]"));
  check_refused(WITH(",\"tags\":{}"));
  check_refused(WITH(",\"hostname\":7"));
  check_refused(WITH(",\"hostname\":\"a\\u0000b\""));
  check_refused(WITH(",\"uid\":-1"));
  check_refused(WITH(",\"uid\":4294967296"));
  check_refused(WITH(",\"uid\":\"0\""));
  check_refused(WITH(",\"summary\":[]"));
  check_refused(WITH(",\"summary\":{\"backup_end\":0}"));
  check_refused(WITH(",\"summary\":{\"files_new\":1.5}"));
  check_refused(WITH("x"));
  check_refused(WITH("") " {}");
  check_refused(WITH(",\"moon\":1,\"moon\":2"));
  check_refused(WITH(",\"moon\":{\"a\":1,\"\\u0061\":2}"));
  check_refused(WITH(",\"summary\":{\"moon\":1,\"moon\":2}"));
  check_refused(WITH(",\"summary\":{\"files_new\":1,\"files_new\":1}"));
}

/* A million small ones in two fields, or in a list: what it costs is bounded
   for all of them together. */
static void check_many(const char *before, const char *one, const char *after,
                       size_t count, bool good) {
  buffer b = BUFFER_EMPTY;
  error *e = NULL;
  buffer_text(&b, before);
  for (size_t i = 0; i < count; i++) {
    if (i == count / 2) buffer_text(&b, after);
    if (i > 0 && i != count / 2) buffer_byte(&b, ',');
    buffer_text(&b, one);
  }
  buffer_text(&b, "]}");
  CHECK(!b.failed);
  repo_snapshot *s = repo_snapshot_read(b.data, b.size, &e);
  CHECK_INT(s != NULL, good);
  CHECK(good || e->code == SAROS_E_DAMAGED);
  error_unref(e);
  repo_snapshot_free(s);
  buffer_free(&b);
}

#define BEGIN_WITH(field) \
  "{\"time\":\"2024-03-02T10:00:00Z\",\"tree\":\"" HEX "\"," field ":["

TEST(what_is_too_much) {
  check_many(BEGIN_WITH("\"moon\""), "1", "],\"sun\":[", 990000, true);
  check_many(BEGIN_WITH("\"moon\""), "1", "],\"sun\":[", 1000100, false);
  check_many(BEGIN_WITH("\"paths\""), "\"\"", "],\"tags\":[", 1000100, false);
}

/* The field is named, and where it is. */
TEST(what_is_wrong_is_named) {
  const char *json = WITH(",\"hostname\":7");
  error *e = NULL;
  CHECK(repo_snapshot_read(json, strlen(json), &e) == NULL);
  CHECK(strstr(e->message, "its hostname is missing or not what") != NULL);
  CHECK(e->cause != NULL && strstr(e->cause->message, "at byte ") != NULL);
  error_unref(e);
}

TEST(as_a_value) {
  error *e;
  repo_snapshot *s = repo_snapshot_read(real[2], strlen(real[2]), &e);
  CHECK(s != NULL);
  s->id.bytes[0] = 0xAB;
  value *v = repo_snapshot_value(s);
  CHECK_TEXT(value_chars(value_get(v, "short_id"), ""), "ab000000");
  CHECK_TEXT(value_chars(value_get(v, "time"), ""),
             "2024-03-02T10:00:00.123456789-03:30");
  CHECK_TEXT(value_chars(value_get(v, "tree"), ""), HEX);
  CHECK_INT(value_get(v, "paths")->count, 0);
  CHECK_INT(value_integer(value_get(value_get(v, "summary"), "tree_blobs"), 0),
            8);
  CHECK(value_get(v, "parent") == NULL);
  value_free(v);
  repo_snapshot_free(s);
}

/* A string of `size` bytes with one that is no plain letter at `at`: in each
   place of a word of memory, since they are looked at by the word. */
static void check_byte(size_t size, size_t at, const char *byte, bool good) {
  buffer b = BUFFER_EMPTY, text = BUFFER_EMPTY;
  for (size_t i = 0; i < size; i++)
    if (i == at)
      buffer_text(&text, byte);
    else
      buffer_byte(&text, 'a');
  buffer_format(&b,
                "{\"time\":\"2024-03-02T10:00:00Z\",\"tree\":\"" HEX
                "\",\"hostname\":\"%s\",\"tags\":[\"%s\"]}",
                text.data, text.data);
  error *e = NULL;
  repo_snapshot *s = repo_snapshot_read(b.data, b.size, &e);
  CHECK_INT(s != NULL, good);
  if (s != NULL) CHECK_TEXT(s->hostname, value_chars(s->tags->as.items[0], ""));
  if (s != NULL && byte[0] != '\\') CHECK_TEXT(s->hostname, text.data);
  if (s != NULL && byte[0] == '\\') CHECK_INT(strlen(s->hostname), size);
  error_unref(e);
  repo_snapshot_free(s);
  buffer_free(&b);
  buffer_free(&text);
}

TEST(bytes_of_strings) {
  for (size_t size = 1; size <= 90; size += size < 20 ? 1 : 13)
    for (size_t at = 0; at < size; at++) {
      check_byte(size, at, " ", true);
      check_byte(size, at, "!", true);
      check_byte(size, at, "#", true);
      check_byte(size, at, "]", true);
      check_byte(size, at, "\x7F", true);
      check_byte(size, at, "\xC3\xBC", true);
      check_byte(size, at, "\\n", true);
      check_byte(size, at, "\\\"", true);
      check_byte(size, at, "\\\\", true);
      check_byte(size, at, "\\u0041", true);
      check_byte(size, at, "\x01", false);
      check_byte(size, at, "\x1F", false);
      check_byte(size, at, "\x80", false);
      check_byte(size, at, "\xFF", false);
      check_byte(size, at, "\\x", false);
    }
}

/* Names are strings, too: with escapes they are the same. */
TEST(names_have_escapes) {
  const char *json =
      "{\"t\\u0069me\":\"2024-03-02T10:00:00Z\",\"tr\\u0065e\":\"" HEX
      "\",\"m\\noon\":[1]}";
  error *e = NULL;
  repo_snapshot *s = repo_snapshot_read(json, strlen(json), &e);
  CHECK(s != NULL);
  CHECK(value_get(s->unknown, "m\noon") != NULL);
  repo_snapshot_free(s);
  check_refused(WITH(",\"t\\u0072ee\":\"" HEX "\""));
}

/* Texts that fit, the first that does not, and one more that does. */
TEST(small_texts_and_large) {
  for (int size = 0; size < 140; size++) {
    char text[160], json[1000];
    memset(text, 'x', sizeof text);
    text[size] = '\0';
    snprintf(json, sizeof json,
             WITH(",\"hostname\":\"h\",\"username\":\"%s\","
                  "\"program_version\":\"p %s\""),
             text, text);
    error *e = NULL;
    repo_snapshot *s = repo_snapshot_read(json, strlen(json), &e);
    CHECK(s != NULL);
    CHECK_TEXT(s->hostname, "h");
    CHECK_TEXT(s->username != NULL ? s->username : "", text);
    CHECK(strncmp(s->program, "p ", 2) == 0);
    CHECK_TEXT(s->program + 2, text);
    repo_snapshot_free(s);
  }
}

static bool go_through(void) {
  bool whole = true;
  for (size_t i = 0; i < sizeof real / sizeof real[0] && whole; i++) {
    error *e;
    buffer b = BUFFER_EMPTY;
    value *v = NULL;
    repo_snapshot *s = repo_snapshot_read(real[i], strlen(real[i]), &e);
    if (s != NULL) e = repo_snapshot_write(s, &b);
    if (s != NULL) v = repo_snapshot_value(s);
    whole = e == NULL && v != NULL;
    if (e != NULL) CHECK_INT(e->code, SAROS_E_OUTOFMEMORY);
    error_unref(e);
    value_free(v);
    buffer_free(&b);
    repo_snapshot_free(s);
  }
  return whole;
}

TEST(memory) {
  SWEEP(go_through, 100);
}


/* ------------------------------------------------------------------
** Groups and tags
** ---------------------------------------------------------------- */

/* A list of the words of a text; NULL for NULL. */
static value *words(const char *text) {
  if (text == NULL) return NULL;
  value *list = value_list();
  while (*text != '\0') {
    size_t n = strcspn(text, " ");
    value_add(list, value_string(text, n));
    text += n + (text[n] == ' ');
  }
  return list;
}

static repo_snapshot *made(const char *time, const char *host,
                           const char *paths, const char *tags) {
  repo_snapshot *s = repo_snapshot_new();
  if (!repo_go_time_read(time, strlen(time), &s->time, &s->zone)) {
    printf("no time: %s\n", time);
    check_bad++;
  }
  s->hostname = mem_text(host);
  s->paths = words(paths);
  s->tags = words(tags);
  return s;
}

#define T "2024-01-01T00:00:00Z"

static repo_snapshot *all[64];
static size_t count;

static void add(const char *time, const char *host, const char *paths,
                const char *tags) {
  all[count++] = made(time, host, paths, tags);
}

static void free_all(void) {
  while (count > 0) repo_snapshot_free(all[--count]);
}

static void check_groups(unsigned by, const char *expected) {
  size_t group[64], groups;
  char text[65] = "";
  CHECK(repo_snapshots_group(all, count, by, group, &groups) == NULL);
  for (size_t i = 0; i < count; i++) text[i] = (char)('a' + group[i]);
  CHECK_TEXT(text, expected);
  char last = 'a' - 1;
  for (size_t i = 0; i < count; i++)
    if (text[i] > last) last = text[i];
  CHECK_INT(groups, last - 'a' + 1);
}

static bool group_all(void) {
  size_t group[64], groups;
  error *e = repo_snapshots_group(all, count, 7, group, &groups);
  error_unref(e);
  return e == NULL;
}

TEST(groups) {
  check_groups(0, "");
  add(T, "h", "/a /b", "x y");
  add(T, "g", "/a /b", NULL);
  add(T, "h", "/b /a", "y x");
  add(T, "h", "/a", "x y");
  add(T, "h", "/a/b", "xy");
  add(T, NULL, NULL, NULL);
  add(T, "h", "/a /b", "x");
  check_groups(0, "aaaaaaa");
  check_groups(REPO_BY_HOST, "abaaaca");
  check_groups(REPO_BY_PATHS, "aaabcda");
  check_groups(REPO_BY_HOST | REPO_BY_PATHS, "abacdea");
  check_groups(REPO_BY_TAGS, "abaacbd");
  check_groups(7, "abacdef");
  SWEEP(group_all, 8);
  free_all();
}

/* What is saros' own is in no group of anybody's, however it is grouped. */
TEST(groups_of_our_own) {
  add(T, "h", "/a", "x");
  add(T, "h", "/.saros-prune-owner", "saros-prune-owner");
  add(T, "h", "/a /.saros", "x");
  add(T, "h", "/.saros-late/1", "saros-late:1");
  add(T, "h", "/.saros-late/1", "saros-late:2");
  add(T, "saros", "/.saros-learned", "saros-learned");
  add(T, "h", "/.saros-late/1 /a", NULL);
  check_groups(0, "abaccda");
  check_groups(REPO_BY_HOST, "abaccda");
  check_groups(REPO_BY_HOST | REPO_BY_PATHS, "abcddef");
  check_groups(REPO_BY_TAGS, "abaccde");
  CHECK(!repo_snapshot_is_own(all[0]) && repo_snapshot_is_own(all[3]));
  CHECK(!repo_snapshot_is_own(all[2]) && !repo_snapshot_is_own(all[6]));
  free_all();
}

TEST(tags) {
  repo_snapshot *s = made(T, "h", "/", "x y"), *none = made(T, "h", "/", NULL);
  static const struct {
    const char *asked;
    bool has, none_has;
  } list[] = {{"x", true, false},  {"x y", true, false},  {"y x", true, false},
              {"z", false, false}, {"x z", false, false}, {"", true, true}};
  for (size_t i = 0; i < sizeof list / sizeof list[0]; i++) {
    value *asked = words(list[i].asked);
    CHECK_INT(repo_snapshot_has_tags(s, asked), list[i].has);
    CHECK_INT(repo_snapshot_has_tags(none, asked), list[i].none_has);
    value_free(asked);
  }
  value *empty = value_list();
  value_add(empty, value_text(""));
  CHECK(!repo_snapshot_has_tags(s, empty));
  CHECK(repo_snapshot_has_tags(none, empty));
  value_free(empty);
  repo_snapshot_free(s);
  repo_snapshot_free(none);
}


/* ------------------------------------------------------------------
** Which stay
** ---------------------------------------------------------------- */

static const struct timespec now = {1767225600, 0}; /* 2026 */

/* A letter for each version: 'k' stays, '-' goes. */
static const char *kept(const repo_policy *p) {
  static char text[65];
  bool keep[64];
  value *reasons[64];
  error *e = repo_policy_apply(p, all, count, now, keep, reasons);
  CHECK(e == NULL);
  error_unref(e);
  for (size_t i = 0; i < count; i++) {
    text[i] = keep[i] ? 'k' : '-';
    CHECK((reasons[i] != NULL && reasons[i]->count > 0) == keep[i]);
    value_free(reasons[i]);
  }
  text[count] = '\0';
  return text;
}

static const char *kept_by(repo_rule rule, int n) {
  repo_policy p = {.keep = {0}};
  p.keep[rule] = n;
  return kept(&p);
}

static const char *kept_within(repo_rule rule, const char *span) {
  repo_policy p = {.keep = {0}};
  p.has_within[rule] = true;
  CHECK(repo_span_read(span, &p.within[rule]));
  return kept(&p);
}

static void add_times(const char *const *times, size_t n) {
  for (size_t i = 0; i < n; i++) add(times[i], "h", "/", NULL);
}
#define ADD(...)                                   \
  do {                                             \
    const char *const list[] = {__VA_ARGS__};      \
    add_times(list, sizeof list / sizeof list[0]); \
  } while (0)

TEST(counted) {
  ADD("2024-01-01T10:00:00Z", "2024-01-01T10:59:59Z", "2024-01-01T11:00:00Z",
      "2024-01-02T11:00:00Z", "2024-02-01T11:00:00Z", "2025-02-01T11:00:00Z");
  CHECK_TEXT(kept_by(REPO_KEEP_LAST, 1), "-----k");
  CHECK_TEXT(kept_by(REPO_KEEP_LAST, 3), "---kkk");
  CHECK_TEXT(kept_by(REPO_KEEP_LAST, -1), "kkkkkk");
  CHECK_TEXT(kept_by(REPO_KEEP_HOURLY, 3), "---kkk");
  CHECK_TEXT(kept_by(REPO_KEEP_HOURLY, 5), "-kkkkk");
  /* The oldest stays while there is something left. */
  CHECK_TEXT(kept_by(REPO_KEEP_HOURLY, 6), "kkkkkk");
  CHECK_TEXT(kept_by(REPO_KEEP_DAILY, 4), "--kkkk");
  CHECK_TEXT(kept_by(REPO_KEEP_DAILY, 5), "k-kkkk");
  CHECK_TEXT(kept_by(REPO_KEEP_MONTHLY, 2), "----kk");
  CHECK_TEXT(kept_by(REPO_KEEP_YEARLY, 2), "----kk");
  CHECK_TEXT(kept_by(REPO_KEEP_YEARLY, -1), "k---kk");
  repo_policy none = {.keep = {0}};
  CHECK(repo_policy_is_empty(&none));
  CHECK_TEXT(kept(&none), "kkkkkk");
  free_all();
}

TEST(weeks) {
  /* A week of ISO 8601 may begin in the year before. */
  ADD("2020-12-27T12:00:00Z", "2020-12-28T12:00:00Z", "2021-01-03T12:00:00Z",
      "2021-01-04T12:00:00Z", "2023-01-01T12:00:00Z", "2023-01-02T12:00:00Z");
  CHECK_TEXT(kept_by(REPO_KEEP_WEEKLY, 5), "k-kkkk");
  CHECK_TEXT(kept_by(REPO_KEEP_WEEKLY, 3), "---kkk");
  free_all();
}

TEST(own_offset) {
  /* The same hour and day there, another one in UTC; and the other way. */
  ADD("2024-01-01T23:30:00+05:30", "2024-01-01T00:10:00+05:30",
      "2024-06-01T23:50:00Z", "2024-06-02T01:50:00+01:00");
  CHECK_TEXT(kept_by(REPO_KEEP_DAILY, 3), "k-kk");
  free_all();
}

TEST(within) {
  ADD("2024-03-31T12:00:00Z", "2024-03-02T12:00:00Z", "2024-03-02T12:00:01Z",
      "2024-02-29T12:00:01Z", "2023-03-31T12:00:01Z");
  /* A month before 31 March is 31 February, which is 2 March. */
  CHECK_TEXT(kept_within(REPO_KEEP_LAST, "1m"), "k-k--");
  CHECK_TEXT(kept_within(REPO_KEEP_LAST, "1y"), "kkkkk");
  CHECK_TEXT(kept_within(REPO_KEEP_LAST, "31d"), "kkkk-");
  CHECK_TEXT(kept_within(REPO_KEEP_LAST, "720h"), "kkk--");
  CHECK_TEXT(kept_within(REPO_KEEP_DAILY, "1y"), "k-kkk");
  CHECK_TEXT(kept_within(REPO_KEEP_MONTHLY, "1y"), "k--kk");
  CHECK_TEXT(kept_within(REPO_KEEP_YEARLY, "5y"), "k---k");
  /* What is in the future does not say when now is. */
  ADD("2094-01-01T00:00:00Z");
  CHECK_TEXT(kept_within(REPO_KEEP_LAST, "1h"), "k----k");
  free_all();
  ADD("2094-01-01T00:00:00Z", "2093-01-01T00:00:00Z");
  CHECK_TEXT(kept_within(REPO_KEEP_LAST, "1h"), "kk");
  free_all();
}

TEST(tagged) {
  repo_policy p = {.keep = {0}};
  add(T, "h", "/", "x y");
  add(T, "h", "/", "x");
  add(T, "h", "/", NULL);
  add(T, "h", "/", "z");
  p.tags = value_list();
  CHECK(repo_policy_is_empty(&p));
  value_add(p.tags, words("x y"));
  value_add(p.tags, words("z"));
  CHECK(!repo_policy_is_empty(&p));
  CHECK_TEXT(kept(&p), "k--k");
  value_free(p.tags);
  free_all();
}

TEST(reasons) {
  repo_policy p = {.keep = {2, 0, 1, 0, 0, -1}};
  bool keep[3];
  value *reasons[3];
  ADD("2024-01-01T10:00:00Z", "2024-01-01T10:59:59Z", "2024-01-02T11:00:00Z");
  p.tags = value_list();
  value_add(p.tags, words("a b"));
  all[2]->tags = words("b a");
  p.has_within[REPO_KEEP_LAST] = p.has_within[REPO_KEEP_HOURLY] = true;
  CHECK(repo_span_read("2h", &p.within[REPO_KEEP_LAST]));
  CHECK(repo_span_read("1y2m3d4h", &p.within[REPO_KEEP_HOURLY]));
  CHECK(repo_policy_apply(&p, all, 3, now, keep, reasons) == NULL);
  static const char newest[] =
      "[\"has tags [a, b]\",\"within 2h\",\"last snapshot\",\"daily snapshot\","
      "\"yearly snapshot\",\"hourly within 1y2m3d4h\"]";
  static const char *const expected[] = {
      "[\"oldest yearly snapshot\",\"oldest hourly within 1y2m3d4h\"]",
      "[\"last snapshot\",\"hourly within 1y2m3d4h\"]", newest};
  for (int i = 0; i < 3; i++) {
    buffer b = BUFFER_EMPTY;
    json_write(&b, reasons[i], JSON_COMPACT);
    CHECK_TEXT(b.data, expected[i]);
    buffer_free(&b);
    value_free(reasons[i]);
  }
  value_free(p.tags);
  free_all();
}

TEST(spans) {
  repo_span s;
  CHECK(repo_span_read("1y5m7d2h", &s));
  CHECK(s.years == 1 && s.months == 5 && s.days == 7 && s.hours == 2);
  CHECK(repo_span_read("2h1y", &s));
  CHECK(s.years == 1 && s.months == 0 && s.days == 0 && s.hours == 2);
  const char *const wrong[] = {
      "", "1", "y", "1x", "-1d", "1y ", "1 y", "1.5d", "99999999999999999999d"};
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
    CHECK(!repo_span_read(wrong[i], &s));
}

/* Whatever runs out, nothing is to be removed that was not judged. */
static bool apply_all(void) {
  repo_policy p = {.keep = {1, 1, 1, 1, 1, 1}};
  bool keep[64];
  value *reasons[64];
  error *e = repo_policy_apply(&p, all, count, now, keep, reasons);
  for (size_t i = 0; i < count; i++) {
    if (e != NULL) CHECK(keep[i] && reasons[i] == NULL);
    value_free(reasons[i]);
  }
  bool whole = e == NULL;
  error_unref(e);
  return whole;
}

TEST(policy_memory) {
  ADD("2024-01-01T10:00:00Z", "2024-01-01T10:59:59Z", "2024-01-02T11:00:00Z");
  SWEEP(apply_all, 10);
  free_all();
}

int main(int argc, char **argv) {
  check_begin(argc, argv);
  RUN(what_restic_wrote);
  RUN(what_is_none);
  RUN(what_is_too_much);
  RUN(what_is_wrong_is_named);
  RUN(bytes_of_strings);
  RUN(names_have_escapes);
  RUN(small_texts_and_large);
  RUN(as_a_value);
  RUN(memory);
  RUN(groups);
  RUN(groups_of_our_own);
  RUN(tags);
  RUN(counted);
  RUN(weeks);
  RUN(own_offset);
  RUN(within);
  RUN(tagged);
  RUN(reasons);
  RUN(spans);
  RUN(policy_memory);
  return check_end();
}
