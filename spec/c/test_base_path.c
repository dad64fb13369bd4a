/*
** base: paths and text.
*/
#include "base/path.h"

#include "base/memory.h"
#include "check.h"
#include "test_base_sweep.h"

#define COUNT(array) (sizeof(array) / sizeof((array)[0]))

/* ------------------------------------------------------------------
** Paths
** ---------------------------------------------------------------- */

TEST(path_join_puts_one_slash) {
  static const char *const joined[][3] = {
      {"a", "b", "a/b"},   {"a/", "b", "a/b"}, {"a//", "b", "a/b"},
      {"/", "b", "/b"},    {"//", "b", "/b"},  {"/a", "b/c", "/a/b/c"},
      {"a", "/b", "/b"},   {"", "b", "b"},     {"a", "", "a"},
      {"", "", ""},        {".", "b", "./b"},  {"/a/", "../b", "/a/../b"},
      {"a", "b/", "a/b/"},
  };
  for (size_t i = 0; i < COUNT(joined); i++) {
    char *path = path_join(joined[i][0], joined[i][1]);
    CHECK_TEXT(path, joined[i][2]);
    mem_free(path);
  }
}

TEST(path_clean_leaves_out_what_says_nothing) {
  static const char *const cleaned[][2] = {
      {"/a/b", "/a/b"},
      {"/a//b/", "/a/b"},
      {"//a", "/a"},
      {"a/./b", "a/b"},
      {"./a", "a"},
      {"a/.", "a"},
      {"/.", "/"},
      {"/", "/"},
      {"///", "/"},
      {"", "."},
      {".", "."},
      {"./", "."},
      {"./.", "."},
      {"..", ".."},
      {"a/../b", "a/../b"},
      {"/../a", "/../a"},
      {"a/...", "a/..."},
      {"a/.b", "a/.b"},
      {"/./a/././/b/./", "/a/b"},
  };
  for (size_t i = 0; i < COUNT(cleaned); i++) {
    char *path = path_clean(cleaned[i][0]);
    CHECK_TEXT(path, cleaned[i][1]);
    mem_free(path);
  }
}

TEST(path_base_is_behind_the_last_slash) {
  static const char *const bases[][2] = {
      {"/a/b", "b"}, {"a", "a"}, {"a/b/", "b"}, {"a/b///", "b"}, {"/", "/"},
      {"///", "/"},  {"", ""},   {"/a", "a"},   {"..", ".."},    {"a/..", ".."},
  };
  for (size_t i = 0; i < COUNT(bases); i++) {
    size_t size = 99;
    const char *base = path_base(bases[i][0], &size);
    CHECK_INT(size, strlen(bases[i][1]));
    CHECK(strncmp(base, bases[i][1], size) == 0);
    CHECK(base >= bases[i][0] && base <= bases[i][0] + strlen(bases[i][0]));
  }
}

TEST(path_parent_is_before_it) {
  static const char *const parents[][2] = {
      {"/a/b", "/a"}, {"a", "."},       {"a/b/", "a"},  {"a//b///", "a"},
      {"/", "/"},     {"///", "/"},     {"", "."},      {"/a", "/"},
      {"//a", "/"},   {"a/b/c", "a/b"}, {"../a", ".."},
  };
  for (size_t i = 0; i < COUNT(parents); i++) {
    char *path = path_parent(parents[i][0]);
    CHECK_TEXT(path, parents[i][1]);
    mem_free(path);
  }
}

TEST(path_within_compares_parts) {
  static const struct {
    const char *path, *directory;
    bool within;
  } pairs[] = {
      {"/a", "/a", true},         {"/a/b", "/a", true},
      {"/a/b", "/a/", true},      {"/a/b/c", "/a", true},
      {"/ab", "/a", false},       {"/a", "/ab", false},
      {"/a", "/a/b", false},      {"/b", "/a", false},
      {"/a", "/", true},          {"/", "/", true},
      {"/", "/a", false},         {"//a//b", "/a", true},
      {"/a/./b", "/a/b", true},   {"/a/b", "/./a", true},
      {"a/b", "a", true},         {"a/b", "/a", false},
      {"/a/b", "a", false},       {"a", ".", true},
      {"/a", ".", false},         {"", "", true},
      {"/a/../b", "/a", false},   {"/a/b/..", "/a", false},
      {"/a/../b", "/a/..", true}, {"/a/..b", "/a", true},
      {"../a", "..", true},
  };
  for (size_t i = 0; i < COUNT(pairs); i++) {
    bool within = path_within(pairs[i].path, pairs[i].directory);
    if (within != pairs[i].within)
      printf("%s in %s\n", pairs[i].path, pairs[i].directory);
    CHECK(within == pairs[i].within);
  }
}

/* ------------------------------------------------------------------
** UTF-8, escapes, base64
** ---------------------------------------------------------------- */

TEST(text_knows_utf8) {
  static const char *const good[] = {
      "",
      "plain",
      "\x7F",
      "\xC2\x80",
      "\xDF\xBF",
      "\xE0\xA0\x80",
      "\xED\x9F\xBF",
      "\xEE\x80\x80",
      "\xEF\xBF\xBF",
      "\xF0\x90\x80\x80",
      "\xF4\x8F\xBF\xBF",
      "Gr\xC3\xBC\xC3\x9F \xE2\x82\xAC \xF0\x9F\x98\x80",
  };
  static const char *const bad[] = {
      "\x80",
      "\xBF",
      "\xC0\x80",
      "\xC1\xBF",
      "\xC2",
      "\xC2z",
      "\xC2\xC2",
      "\xE0\x9F\xBF",
      "\xE0\xA0",
      "\xE0\xA0z",
      "\xE1z\x80",
      "\xED\xA0\x80",
      "\xED\xBF\xBF",
      "\xF0\x8F\xBF\xBF",
      "\xF0\x90\x80",
      "\xF1\x80\x80z",
      "\xF1\x80z\x80",
      "\xF1z\x80\x80",
      "\xF4\x90\x80\x80",
      "\xF5\x80\x80\x80",
      "\xFE",
      "\xFF",
      "plain\xFF",
      "\xFFplain",
  };
  for (size_t i = 0; i < COUNT(good); i++)
    CHECK(text_is_utf8(good[i], strlen(good[i])));
  for (size_t i = 0; i < COUNT(bad); i++) {
    if (text_is_utf8(bad[i], strlen(bad[i]))) printf("bad[%zu]\n", i);
    CHECK(!text_is_utf8(bad[i], strlen(bad[i])));
  }
  CHECK(text_is_utf8("\0a", 2));
  CHECK_INT(text_utf8("a", 1), 1);
  CHECK_INT(text_utf8("\0", 1), 1);
  CHECK_INT(text_utf8("\xC3\xA9x", 3), 2);
  CHECK_INT(text_utf8("\xE2\x82\xACx", 4), 3);
  CHECK_INT(text_utf8("\xF0\x9F\x98\x80x", 5), 4);
  CHECK_INT(text_utf8("\xFFx", 2), 0);
  CHECK_INT(text_utf8("", 0), 0);
}

/* All characters there are, and everything between them. */
TEST(text_knows_every_character) {
  int wrong = 0;
  for (unsigned c = 0; c <= 0x110000; c++) {
    char s[4];
    size_t size = c < 0x80 ? 1 : c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    static const unsigned char first[] = {0, 0, 0xC0, 0xE0, 0xF0};
    for (size_t i = size; i-- > 1;)
      s[i] = (char)(0x80 | (c >> 6 * (size - 1 - i) & 0x3F));
    s[0] = (char)(first[size] | c >> 6 * (size - 1));
    bool good = c <= 0x10FFFF && (c < 0xD800 || c > 0xDFFF);
    if (text_utf8(s, size) != (good ? size : 0)) wrong++;
    if (size > 1 && text_utf8(s, size - 1) != 0) wrong++;
  }
  CHECK_INT(wrong, 0);
}

static void check_escaped(const char *data, size_t size, const char *wanted) {
  buffer b = BUFFER_EMPTY;
  text_escape(&b, data, size);
  CHECK_TEXT(b.data, wanted);
  buffer_free(&b);
}

TEST(text_escape_shows_what_is_hidden) {
  check_escaped("", 0, "");
  check_escaped("plain text", 10, "plain text");
  check_escaped("a\nb\tc\\d", 7, "a\\nb\\tc\\\\d");
  check_escaped("\r\x1b[31m\x7f\0", 8, "\\x0d\\x1b[31m\\x7f\\x00");
  check_escaped(
      "Gr\xC3\xBC\xC3\x9F"
      "e",
      7,
      "Gr\xC3\xBC\xC3\x9F"
      "e");
  check_escaped("\xC2\x80\xC2\x9F\xC2\xA0", 6, "\\xc2\\x80\\xc2\\x9f\xC2\xA0");
  check_escaped(
      "a\xFF"
      "b\xE2\x82",
      5, "a\\xffb\\xe2\\x82");
  check_escaped("\xED\xA0\x80", 3, "\\xed\\xa0\\x80");
}

static void check_base64(const char *data, size_t size, const char *wanted) {
  buffer b = BUFFER_EMPTY;
  text_base64(&b, data, size);
  CHECK_TEXT(size > 0 ? b.data : "", wanted);
  buffer back = BUFFER_EMPTY;
  CHECK(text_unbase64(&back, wanted, strlen(wanted)));
  CHECK_INT(back.size, size);
  CHECK(size == 0 || memcmp(back.data, data, size) == 0);
  buffer_free(&b);
  buffer_free(&back);
}

TEST(text_base64_of_the_rfc) {
  check_base64("", 0, "");
  check_base64("f", 1, "Zg==");
  check_base64("fo", 2, "Zm8=");
  check_base64("foo", 3, "Zm9v");
  check_base64("foob", 4, "Zm9vYg==");
  check_base64("fooba", 5, "Zm9vYmE=");
  check_base64("foobar", 6, "Zm9vYmFy");
  check_base64("\xFB\xFF\xBF\0", 4, "+/+/AA==");
}

TEST(text_base64_comes_back) {
  unsigned char data[256];
  for (size_t i = 0; i < sizeof data; i++) data[i] = (unsigned char)(i * 37);
  for (size_t size = 0; size <= sizeof data; size++) {
    buffer b = BUFFER_EMPTY, back = BUFFER_EMPTY;
    text_base64(&b, data, size);
    CHECK_INT(b.size, (size + 2) / 3 * 4);
    buffer_text(&back, "before");
    CHECK(text_unbase64(&back, b.data, b.size));
    CHECK_INT(back.size, 6 + size);
    CHECK(memcmp(back.data + 6, data, size) == 0);
    buffer_free(&b);
    buffer_free(&back);
  }
}

TEST(text_unbase64_is_strict) {
  static const char *const wrong[] = {
      "Z",       "Zg",   "Zg=",  "Zg===",    "Zm9vZg=",  "====",  "=m9v",
      "Z===",    "Zg=v", "Zm=v", "Zg==Zm9v", "Zm9v\n",   "Zm 9",  "Zm-_",
      "Zm9\xFF", "Zh==", "Zm9=", "Zm9v====", "Zm9vZh==", "Zm\0v",
  };
  for (size_t i = 0; i < COUNT(wrong); i++) {
    size_t size = i == COUNT(wrong) - 1 ? 4 : strlen(wrong[i]);
    buffer b = BUFFER_EMPTY;
    buffer_text(&b, "kept");
    if (text_unbase64(&b, wrong[i], size)) printf("'%s'\n", wrong[i]);
    buffer_clear(&b);
    buffer_text(&b, "kept");
    CHECK(!text_unbase64(&b, wrong[i], size));
    CHECK_TEXT(b.data, "kept");
    CHECK_INT(b.size, 4);
    CHECK(!b.failed);
    buffer_free(&b);
  }
}

TEST(path_put_has_both_forms) {
  value *map = value_map();
  CHECK(path_put(map, "/srv/data"));
  CHECK_TEXT(value_chars(value_get(map, "path"), ""), "/srv/data");
  CHECK(value_get(map, "path_b64") == NULL);
  value_free(map);
  map = value_map();
  CHECK(path_put(map, "/srv/\xFF\n"));
  CHECK_TEXT(value_chars(value_get(map, "path"), ""), "/srv/\\xff\\n");
  CHECK_TEXT(value_chars(value_get(map, "path_b64"), ""), "L3Nydi//Cg==");
  value_free(map);
  map = value_map();
  CHECK(path_put(map, "/a\nb")); /* is UTF-8 */
  CHECK_TEXT(value_chars(value_get(map, "path"), ""), "/a\\nb");
  CHECK(value_get(map, "path_b64") == NULL);
  value_free(map);
  map = value_map();
  CHECK(path_put(map, ""));
  CHECK_TEXT(value_chars(value_get(map, "path"), "x"), "");
  CHECK(path_put(map, NULL));
  CHECK_INT(value_get(map, "path")->type, VALUE_NULL);
  value_free(map);
}

static bool use_paths(void) {
  value *map = value_map();
  char *joined = path_join("/a", "b"), *clean = path_clean("/a//b");
  char *parent = path_parent("/a/b");
  bool whole = map != NULL && joined && clean && parent;
  whole = map != NULL && path_put(map, "/\xFF/some longer name") && whole;
  buffer b = BUFFER_EMPTY;
  bool read = text_unbase64(&b, "Zm9vYmFy", 8);
  CHECK(read != b.failed);
  whole = whole && read;
  buffer_free(&b);
  mem_free(joined);
  mem_free(clean);
  mem_free(parent);
  value_free(map);
  return whole;
}

TEST(path_survives_without_memory) {
  SWEEP(use_paths, 20);
}

int main(int argc, char **argv) {
  check_begin(argc, argv);
  RUN(path_join_puts_one_slash);
  RUN(path_clean_leaves_out_what_says_nothing);
  RUN(path_base_is_behind_the_last_slash);
  RUN(path_parent_is_before_it);
  RUN(path_within_compares_parts);
  RUN(text_knows_utf8);
  RUN(text_knows_every_character);
  RUN(text_escape_shows_what_is_hidden);
  RUN(text_base64_of_the_rfc);
  RUN(text_base64_comes_back);
  RUN(text_unbase64_is_strict);
  RUN(path_put_has_both_forms);
  RUN(path_survives_without_memory);
  return check_end();
}
