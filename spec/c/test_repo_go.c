/*
** Go's text: strings, quoted names, times and modes, to the byte; and what of
** them is read back, and what is refused.
*/
#include <sys/stat.h>

#include "repository/go.h"
#include "test_base_sweep.h"

static char shown[4096];

/* What was put into a buffer, which is freed. */
static const char *take(buffer *b) {
  snprintf(shown, sizeof shown, "%.*s", (int)b->size,
           b->data != NULL ? b->data : "");
  buffer_free(b);
  return shown;
}

static const char *string_of(const char *text, size_t size) {
  buffer b = BUFFER_EMPTY;
  repo_go_string(&b, text, size);
  return take(&b);
}

static const char *name_of(const char *text, size_t size) {
  buffer b = BUFFER_EMPTY;
  repo_go_name(&b, text, size);
  return take(&b);
}

#define STRING(text) string_of(text, sizeof(text) - 1)
#define NAME(text) name_of(text, sizeof(text) - 1)

TEST(strings) {
  CHECK_TEXT(STRING(""), "\"\"");
  CHECK_TEXT(STRING("a b"), "\"a b\"");
  CHECK_TEXT(STRING("\"\\/"), "\"\\\"\\\\/\"");
  CHECK_TEXT(STRING("\n\r\t"), "\"\\n\\r\\t\"");
  CHECK_TEXT(STRING("\b\f\x01\x1f"), "\"\\u0008\\u000c\\u0001\\u001f\"");
  CHECK_TEXT(STRING("<&>"), "\"\\u003c\\u0026\\u003e\"");
  CHECK_TEXT(STRING("\x7f\xC2\x85"), "\"\x7f\xC2\x85\"");
  CHECK_TEXT(STRING("\xE2\x80\xA8\xE2\x80\xA9"), "\"\\u2028\\u2029\"");
  CHECK_TEXT(STRING("\xFFx\xC3"), "\"\\ufffdx\\ufffd\"");
  CHECK_TEXT(STRING("\xED\xA0\x80"), "\"\\ufffd\\ufffd\\ufffd\"");
  CHECK_TEXT(STRING("\0"), "\"\\u0000\"");
}

TEST(names) {
  CHECK_TEXT(NAME("plain"), "\"plain\"");
  CHECK_TEXT(NAME("\"\\"), "\"\\\\\\\"\\\\\\\\\"");
  CHECK_TEXT(NAME("\a\b\f\n\r\t\v"), "\"\\\\a\\\\b\\\\f\\\\n\\\\r\\\\t\\\\v\"");
  CHECK_TEXT(NAME("\x01\x7f"), "\"\\\\x01\\\\x7f\"");
  CHECK_TEXT(NAME("\xFF\xC3"), "\"\\\\xff\\\\xc3\"");
  CHECK_TEXT(NAME("<"), "\"\\u003c\"");
  CHECK_TEXT(NAME("\xC3\xA9"), "\"\xC3\xA9\"");
  CHECK_TEXT(NAME("\xC2\xA0\xC2\xAD"), "\"\\\\u00a0\\\\u00ad\"");
  CHECK_TEXT(NAME("\xE2\x80\xA8"), "\"\\\\u2028\"");
  CHECK_TEXT(NAME("\xF0\x9F\x98\x80"), "\"\xF0\x9F\x98\x80\"");
  /* U+1FAE0 came with Unicode 14. */
  CHECK_TEXT(NAME("\xF0\x9F\xAB\xA0"), "\"\\\\U0001fae0\"");
}

static bool unquotes(const char *text, const char *expected, size_t size) {
  buffer b = BUFFER_EMPTY;
  bool done = repo_go_unquote(&b, text, strlen(text));
  bool same = done && b.size == size &&
              (size == 0 || memcmp(b.data, expected, size) == 0);
  buffer_free(&b);
  return same;
}

static bool refuses(const char *text) {
  buffer b = BUFFER_EMPTY;
  bool done = repo_go_unquote(&b, text, strlen(text));
  buffer_free(&b);
  return !done;
}

TEST(unquoting) {
  CHECK(unquotes("", "", 0));
  CHECK(unquotes("abc", "abc", 3));
  CHECK(unquotes("\\a\\b\\f\\n\\r\\t\\v\\\\\\\"", "\a\b\f\n\r\t\v\\\"", 9));
  CHECK(unquotes("\\xff\\xC3\\x00", "\xFF\xC3\0", 3));
  CHECK(unquotes("\\101\\377", "A\xFF", 2));
  CHECK(unquotes("\\u00e9\\u2028", "\xC3\xA9\xE2\x80\xA8", 5));
  CHECK(unquotes("\\U0001F600", "\xF0\x9F\x98\x80", 4));
  CHECK(unquotes("\xC3\xA9", "\xC3\xA9", 2));
  const char *const wrong[] = {
      "\\",          "\\q",   "\\x",  "\\x1", "\\xg0", "\\u12", "\\ud800",
      "\\U00110000", "\\400", "\\08", "\\'",  "a\"b",  "a\nb",  "\\U0001F60"};
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
    if (!refuses(wrong[i])) printf("not refused: %s\n", wrong[i]);
    CHECK(refuses(wrong[i]));
  }
}

static const char *time_of(long long seconds, long nano, int zone) {
  buffer b = BUFFER_EMPTY;
  repo_go_time(&b, (struct timespec){(time_t)seconds, nano}, zone);
  return take(&b);
}

TEST(times) {
  CHECK_TEXT(time_of(0, 0, 0), "1970-01-01T00:00:00Z");
  CHECK_TEXT(time_of(-1, 999999999, 0), "1969-12-31T23:59:59.999999999Z");
  CHECK_TEXT(time_of(1709210096, 789012000, 3600),
             "2024-02-29T13:34:56.789012+01:00");
  CHECK_TEXT(time_of(0, 500000000, -12600), "1969-12-31T20:30:00.5-03:30");
  CHECK_TEXT(time_of(-62135596800, 0, 0), "0001-01-01T00:00:00Z");
  CHECK_TEXT(time_of(253402300799, 1, 0), "9999-12-31T23:59:59.000000001Z");
  /* Years that have no four digits. */
  CHECK_TEXT(time_of(253402300800, 0, 0), "9999-01-01T00:00:00Z");
  CHECK_TEXT(time_of(253407398400 + 86400 * 366, 0, 0), "9999-03-01T00:00:00Z");
  CHECK_TEXT(time_of(-62167219201, 0, 0), "0000-12-31T23:59:59Z");
  CHECK(strlen(time_of(INT64_MAX, 0, 3600)) == 25);
  CHECK(strlen(time_of(INT64_MIN, 0, -3600)) == 25);
  /* A zone with seconds, as all were before there were trains. */
  CHECK_TEXT(time_of(-3786825600, 0, 3208), "1850-01-01T00:53:28+00:53");
  CHECK_TEXT(time_of(0, 0, -30), "1969-12-31T23:59:30+00:00");
}

static bool reads(const char *text, long long seconds, long nano, int zone) {
  struct timespec t;
  int32_t z;
  return repo_go_time_read(text, strlen(text), &t, &z) &&
         t.tv_sec == (time_t)seconds && t.tv_nsec == nano && z == zone;
}

TEST(reading_times) {
  CHECK(reads("1970-01-01T00:00:00Z", 0, 0, 0));
  CHECK(reads("2024-02-29T13:34:56.789012+01:00", 1709210096, 789012000, 3600));
  CHECK(reads("1969-12-31T20:30:00.5-03:30", 0, 500000000, -12600));
  CHECK(reads("0001-01-01T00:00:00Z", -62135596800, 0, 0));
  CHECK(reads("1970-01-01T00:00:00.1234567899Z", 0, 123456789, 0));
  const char *const wrong[] = {
      "",
      "1970-01-01T00:00:00",
      "1970-01-01 00:00:00Z",
      "1970-13-01T00:00:00Z",
      "1970-00-01T00:00:00Z",
      "1970-02-29T00:00:00Z",
      "1970-01-32T00:00:00Z",
      "1970-01-01T24:00:00Z",
      "1970-01-01T00:60:00Z",
      "1970-01-01T00:00:60Z",
      "1970-01-01T00:00:00.Z",
      "1970-01-01T00:00:00z",
      "1970-01-01T00:00:00+0100",
      "1970-01-01T00:00:00+24:00",
      "1970-01-01T00:00:00+01:00x",
      "19700-01-01T00:00:00Z",
      "-970-01-01T00:00:00Z",
  };
  struct timespec t;
  int32_t zone;
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
    if (repo_go_time_read(wrong[i], strlen(wrong[i]), &t, &zone)) {
      printf("read: %s\n", wrong[i]);
      check_bad++;
    }
}

/* Every hour of a century, and days far from it, by libc's calendar. */
TEST(calendar) {
  for (int64_t s = -2208988800; s < 4102444800; s += 86399 * 7 + 3600) {
    struct tm tm;
    time_t t = (time_t)s;
    repo_civil c;
    gmtime_r(&t, &tm);
    repo_go_civil(s, &c);
    bool same = c.year == tm.tm_year + 1900 && c.month == tm.tm_mon + 1 &&
                c.day == tm.tm_mday && c.hour == tm.tm_hour &&
                c.minute == tm.tm_min && c.second == tm.tm_sec &&
                c.weekday == tm.tm_wday;
    int64_t day = s / 86400 - (s % 86400 < 0);
    if (!same || repo_go_days(c.year, c.month, c.day) != day) {
      CHECK_INT(s, 0);
      break;
    }
  }
  CHECK_INT(repo_go_days(1970, 1, 1), 0);
  CHECK_INT(repo_go_days(2024, 2, 30), repo_go_days(2024, 3, 1));
  CHECK_INT(repo_go_days(2024, 14, 1), repo_go_days(2025, 2, 1));
  CHECK_INT(repo_go_days(2024, -1, 1), repo_go_days(2023, 11, 1));
  CHECK_INT(repo_go_days(2024, 0, 0), repo_go_days(2023, 11, 30));
  CHECK_INT(repo_go_days(2024, -24, 15), repo_go_days(2021, 12, 15));
}

TEST(zones) {
  const char *before = getenv("TZ");
  char *kept = before != NULL ? strdup(before) : NULL;
  setenv("TZ", "Europe/Berlin", 1);
  tzset();
  CHECK_INT(repo_go_zone(1704067200), 3600);
  CHECK_INT(repo_go_zone(1719792000), 7200);
  setenv("TZ", "UTC", 1);
  tzset();
  CHECK_INT(repo_go_zone(1719792000), 0);
  if (kept != NULL)
    setenv("TZ", kept, 1);
  else
    unsetenv("TZ");
  tzset();
  free(kept);
}

TEST(modes) {
  static const struct {
    uint32_t here, go;
  } list[] = {
      {S_IFREG | 0644, 420},
      {S_IFDIR | 0755, 2147484141u},
      {S_IFDIR | 01777, 2148532735u},
      {S_IFDIR | 02750, 2151678440u},
      {S_IFREG | 04755, 8389101},
      {S_IFLNK | 0777, 134218239},
      {S_IFCHR | 0660, 69206448},
      {S_IFBLK | 0660, 67109296},
      {S_IFIFO | 0640, 33554848},
      {S_IFSOCK | 0755, 16777709},
      {S_IFREG, 0},
  };
  bool known;
  for (size_t i = 0; i < sizeof list / sizeof list[0]; i++) {
    CHECK_INT(repo_go_mode(list[i].here), list[i].go);
    CHECK_INT(repo_go_mode_read(list[i].go, &known), list[i].here);
    CHECK(known);
  }
  CHECK_INT(repo_go_mode_read(1u << 30 | 0644, &known), 0644);
  CHECK(!known);
  repo_go_mode_read(1u << 21, &known);
  CHECK(!known);
}

static bool put_all(void) {
  buffer b = BUFFER_EMPTY;
  for (int i = 0; i < 50; i++) {
    repo_go_string(&b, "a\n\xFF", 3);
    repo_go_name(&b, "a\n\xFF\xC2\xA0", 5);
    repo_go_time(&b, (struct timespec){i, i}, 3600);
    repo_go_unquote(&b, "a\\n\\xff", 7);
  }
  bool whole = !b.failed;
  buffer_free(&b);
  return whole;
}

TEST(memory) {
  SWEEP(put_all, 5);
}

int main(int argc, char **argv) {
  check_begin(argc, argv);
  RUN(strings);
  RUN(names);
  RUN(unquoting);
  RUN(times);
  RUN(reading_times);
  RUN(calendar);
  RUN(zones);
  RUN(modes);
  RUN(memory);
  return check_end();
}
