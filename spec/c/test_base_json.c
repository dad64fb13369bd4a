/*
** base: the JSON reader and writer.
*/
#include "base/json.h"

#include <locale.h>
#include <math.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "test_base_sweep.h"

static value *read_limited(const char *text, size_t size,
                           const json_limits *limits) {
  error *e = NULL;
  /* Of exactly its size, so that a sanitizer sees a read behind the end. */
  char *exact = malloc(size > 0 ? size : 1);
  memcpy(exact, text, size);
  value *v = json_read(exact, size, limits, &e);
  free(exact);
  CHECK((v == NULL) == (e != NULL));
  if (e != NULL) printf("%s\n", e->message);
  error_unref(e);
  return v;
}

static value *read_text(const char *text) {
  return read_limited(text, strlen(text), NULL);
}

static char *write_text(const value *v, json_style style) {
  buffer b = BUFFER_EMPTY;
  json_write(&b, v, style);
  return buffer_take(&b);
}

/* Reads, and checks what it is written as. */
static void check_written(const char *text, const char *wanted) {
  value *v = read_text(text);
  CHECK(v != NULL);
  char *written = v != NULL ? write_text(v, JSON_COMPACT) : NULL;
  CHECK_TEXT(written, wanted);
  mem_free(written);
  value_free(v);
}

static void check_same(const char *text) {
  check_written(text, text);
}

/* ------------------------------------------------------------------
** Reading
** ---------------------------------------------------------------- */

TEST(json_reads_every_type) {
  check_same("null");
  check_same("true");
  check_same("false");
  check_same("0");
  check_same("-1");
  check_same("1.5");
  check_same("\"text\"");
  check_same("\"\"");
  check_same("[]");
  check_same("{}");
  check_same("[1,[2,[3,[]]],{}]");
  check_same("{\"a\":1,\"b\":{\"a\":[true,false,null]},\"\":\"x\"}");
  check_written(" \t\r\n{ \"a\" : [ 1 , 2 ] , \"b\" : { } } \n",
                "{\"a\":[1,2],\"b\":{}}");
}

TEST(json_reads_integers_that_fit) {
  static const struct {
    const char *text;
    int64_t n;
  } whole[] = {
      {"0", 0},
      {"1", 1},
      {"-1", -1},
      {"10", 10},
      {"9007199254740993", 9007199254740993},
      {"9223372036854775807", INT64_MAX},
      {"-9223372036854775808", INT64_MIN},
      {"-9223372036854775807", INT64_MIN + 1},
  };
  for (size_t i = 0; i < sizeof whole / sizeof whole[0]; i++) {
    value *v = read_text(whole[i].text);
    CHECK(v != NULL && v->type == VALUE_INT);
    CHECK_INT(value_integer(v, 99), whole[i].n);
    char *written = write_text(v, JSON_COMPACT);
    CHECK_TEXT(written, whole[i].text);
    mem_free(written);
    value_free(v);
  }
}

TEST(json_reads_other_numbers_as_reals) {
  static const struct {
    const char *text;
    double n;
    const char *written;
  } reals[] = {
      {"1.0", 1.0, "1.0"},
      {"1e3", 1000.0, "1000.0"},
      {"1E3", 1000.0, "1000.0"},
      {"1e+3", 1000.0, "1000.0"},
      {"10e-1", 1.0, "1.0"},
      {"0.1", 0.1, "0.1"},
      {"0e0", 0.0, "0.0"},
      {"1e-400", 0.0, "0.0"},
      {"5e-324", 5e-324, "4.94065645841247e-324"},
      {"2.2250738585072014e-308", 2.2250738585072014e-308,
       "2.2250738585072014e-308"},
      {"1.7976931348623157e308", 1.7976931348623157e308,
       "1.7976931348623157e+308"},
      {"9223372036854775808", 9223372036854775808.0, "9.223372036854776e+18"},
      {"-9223372036854775809", -9223372036854775808.0,
       "-9.223372036854776e+18"},
      {"99999999999999999999999", 1e23, "1e+23"},
      {"0.30000000000000004", 0.30000000000000004, "0.30000000000000004"},
      {"3.141592653589793", 3.141592653589793, "3.141592653589793"},
      {"123456789.25", 123456789.25, "123456789.25"},
  };
  for (size_t i = 0; i < sizeof reals / sizeof reals[0]; i++) {
    value *v = read_text(reals[i].text);
    CHECK(v != NULL && v->type == VALUE_REAL);
    if (v == NULL) continue;
    CHECK(v->as.real == reals[i].n);
    char *written = write_text(v, JSON_COMPACT);
    CHECK_TEXT(written, reals[i].written);
    value *again = read_text(written);
    CHECK(value_equal(v, again));
    mem_free(written);
    value_free(again);
    value_free(v);
  }
}

TEST(json_keeps_the_sign_of_zero) {
  static const char *const zeros[] = {"-0", "-0.0", "-0e5", "-1e-400"};
  for (size_t i = 0; i < sizeof zeros / sizeof zeros[0]; i++) {
    value *v = read_text(zeros[i]);
    CHECK(v != NULL && v->type == VALUE_REAL);
    CHECK(v != NULL && v->as.real == 0 && signbit(v->as.real) != 0);
    value_free(v);
  }
  check_written("-0", "-0.0");
  check_same("-0.0");
}

TEST(json_reads_very_long_numbers) {
  char text[1000];
  memset(text, '1', sizeof text);
  text[1] = '.';
  value *v = read_limited(text, 900, NULL);
  CHECK(v != NULL && v->type == VALUE_REAL);
  CHECK(v != NULL && v->as.real == 1.1111111111111111);
  value_free(v);
  memset(text, '0', sizeof text);
  memcpy(text, "0.", 2);
  memcpy(text + 300, "1e299", 5);
  v = read_limited(text, 305, NULL);
  CHECK(v != NULL && v->as.real == 1.0);
  value_free(v);
  for (size_t size = 60; size < 70; size++) { /* where the small copy ends */
    memset(text, '9', size);
    text[0] = '0';
    text[1] = '.';
    v = read_limited(text, size, NULL);
    CHECK(v != NULL && v->as.real == 1.0);
    value_free(v);
  }
}

TEST(json_reads_escapes) {
  static const struct {
    const char *text, *wanted;
    size_t size;
  } strings[] = {
      {"\"\\\"\\\\\\/\\b\\f\\n\\r\\t\"", "\"\\/\b\f\n\r\t", 8},
      {"\"\\u0041\"", "A", 1},
      {"\"\\u0000\"", "\0", 1},
      {"\"a\\u0000b\"", "a\0b", 3},
      {"\"\\u00e9\\u00E9\"", "\xC3\xA9\xC3\xA9", 4},
      {"\"\\u20ac\"", "\xE2\x82\xAC", 3},
      {"\"\\u0080\\u00AA\\u00aF\\u00f9\"", "\xC2\x80\xC2\xAA\xC2\xAF\xC3\xB9",
       8},
      {"\"\\uD83D\\uDE00\"", "\xF0\x9F\x98\x80", 4},
      {"\"\\udbff\\udfff\"", "\xF4\x8F\xBF\xBF", 4},
      {"\"\\ud800\\udc00\"", "\xF0\x90\x80\x80", 4},
      {"\"\\ud7ff\\ue000\"", "\xED\x9F\xBF\xEE\x80\x80", 6},
      {"\"\\u07ff\\u0800\"", "\xDF\xBF\xE0\xA0\x80", 5},
      {"\"\\uffff\"", "\xEF\xBF\xBF", 3},
      {"\"pl\\u0061in\"", "plain", 5},
      {"\"\xF0\x9F\x98\x80\"", "\xF0\x9F\x98\x80", 4},
      {"\"\x7F\"", "\x7F", 1},
  };
  for (size_t i = 0; i < sizeof strings / sizeof strings[0]; i++) {
    value *v = read_text(strings[i].text);
    CHECK(v != NULL && v->type == VALUE_STRING);
    if (v == NULL) continue;
    CHECK_INT(v->as.string.size, strings[i].size);
    CHECK(memcmp(v->as.string.data, strings[i].wanted, strings[i].size) == 0);
    value_free(v);
  }
}

TEST(json_reads_names_with_escapes) {
  value *v = read_text("{\"\\u0061\":1,\"b\\nc\":\"d\\n\",\"e\\u0000f\":3}");
  CHECK(v != NULL && v->count == 3);
  CHECK_INT(value_integer(value_get(v, "a"), 0), 1);
  CHECK_TEXT(value_chars(value_get(v, "b\nc"), ""), "d\n");
  CHECK_INT(value_integer(value_get_bytes(v, "e\0f", 3), 0), 3);
  value_free(v);
}

/* ------------------------------------------------------------------
** Refusing
** ---------------------------------------------------------------- */

static void check_refused(const char *text, size_t size, const char *wanted) {
  error *e = NULL;
  long before = mem_blocks();
  char *exact = text != NULL ? malloc(size > 0 ? size : 1) : NULL;
  if (size > 0) memcpy(exact, text, size);
  value *v = json_read(exact, size, NULL, &e);
  free(exact);
  CHECK(v == NULL);
  CHECK(e != NULL);
  value_free(v);
  if (e == NULL) return;
  CHECK_INT(e->code, SAROS_E_INVALIDARG);
  CHECK_TEXT(e->message, wanted);
  for (const char *c = e->message; *c != '\0'; c++)
    CHECK((unsigned char)*c >= ' ' && *c != 0x7F);
  error_unref(e);
  CHECK_INT(mem_blocks(), before);
}

TEST(json_refuses_with_a_reason) {
  static const struct {
    const char *text, *message;
  } wrong[] = {
      {"", "line 1, column 1: expected a value, found the end of the text"},
      {" \n ", "line 2, column 2: expected a value, found the end of the text"},
      {"nul", "line 1, column 1: expected a value, found 'nul'"},
      {"True", "line 1, column 1: expected a value, found 'True'"},
      {"truex", "line 1, column 5: expected the end of the text, found 'x'"},
      {"NaN", "line 1, column 1: expected a value, found 'NaN'"},
      {"Infinity", "line 1, column 1: expected a value, found 'Infinity'"},
      {"-Infinity", "line 1, column 2: expected a digit, found 'Infinity'"},
      {"+1", "line 1, column 1: expected a value, found '+1'"},
      {".5", "line 1, column 1: expected a value, found '.5'"},
      {"1.", "line 1, column 3: expected a digit, found the end of the text"},
      {"1.e5", "line 1, column 3: expected a digit, found 'e5'"},
      {"1e", "line 1, column 3: expected a digit, found the end of the text"},
      {"1e+", "line 1, column 4: expected a digit, found the end of the text"},
      {"-", "line 1, column 2: expected a digit, found the end of the text"},
      {"01",
       "line 1, column 1: expected a number without leading zeros, found "
       "'01'"},
      {"-01",
       "line 1, column 1: expected a number without leading zeros, "
       "found '-01'"},
      {"[00]",
       "line 1, column 2: expected a number without leading zeros, "
       "found '00'"},
      {"0x10", "line 1, column 2: expected the end of the text, found 'x10'"},
      {"1 2", "line 1, column 3: expected the end of the text, found '2'"},
      {"1 \"a", "line 1, column 3: expected the end of the text, found '\"a'"},
      {"1 \"", "line 1, column 3: expected the end of the text, found '\"'"},
      {"[1]]", "line 1, column 4: expected the end of the text, found ']'"},
      {"{} // x", "line 1, column 4: expected the end of the text, found '/'"},
      {"1e400",
       "line 1, column 1: expected a number that fits a double, found '1e400'"},
      {"-1e400",
       "line 1, column 1: expected a number that fits a double, "
       "found '-1e400'"},
      {"[1,]", "line 1, column 4: expected a value, found ']'"},
      {"[,1]", "line 1, column 2: expected a value, found ','"},
      {"[1 2]", "line 1, column 4: expected ',' or ']', found '2'"},
      {"[1}", "line 1, column 3: expected ',' or ']', found '}'"},
      {"[", "line 1, column 2: expected a value, found the end of the text"},
      {"[1",
       "line 1, column 3: expected ',' or ']', found the end of the "
       "text"},
      {"]", "line 1, column 1: expected a value, found ']'"},
      {"{",
       "line 1, column 2: expected a name in double quotes, found the end "
       "of the text"},
      {"{a:1}",
       "line 1, column 2: expected a name in double quotes, found 'a'"},
      {"{'a':1}",
       "line 1, column 2: expected a name in double quotes, found '''"},
      {"{1:1}",
       "line 1, column 2: expected a name in double quotes, found '1'"},
      {"{\"a\"}", "line 1, column 5: expected ':' behind the name, found '}'"},
      {"{\"a\":}", "line 1, column 6: expected a value, found '}'"},
      {"{\"a\":1,}",
       "line 1, column 8: expected a name in double quotes, found '}'"},
      {"{\"a\":1]", "line 1, column 7: expected ',' or '}', found ']'"},
      {"{\"a\":1 \"b\":2}",
       "line 1, column 8: expected ',' or '}', found "
       "'\"b\"'"},
      {"{\"a\":1,\n \"b\":2,\n \"a\":3}",
       "line 3, column 2: expected a name that is not in this map yet, found "
       "'\"a\"'"},
      {"{\"a\":1,\"\\u0061\":2}",
       "line 1, column 8: expected a name that is not in this map yet, found "
       "'\"'"},
      {"[{\"x\":{}, \"x\":[]}]",
       "line 1, column 11: expected a name that is not in this map yet, found "
       "'\"x\"'"},
      {"\"a",
       "line 1, column 3: expected '\"' behind the string, found the "
       "end of the text"},
      {"\"\\",
       "line 1, column 3: expected one of \"\\/bfnrtu behind a "
       "backslash, found the end of the text"},
      {"\"\\x41\"",
       "line 1, column 3: expected one of \"\\/bfnrtu behind a "
       "backslash, found 'x41'"},
      {"\"\\u12G4\"",
       "line 1, column 6: expected four hexadecimal digits "
       "behind \\u, found 'G4'"},
      {"\"\\u123",
       "line 1, column 7: expected four hexadecimal digits behind "
       "\\u, found the end of the text"},
      {"\"\\ud800\"",
       "line 1, column 8: expected the second half of a "
       "surrogate pair, found '\"'"},
      {"\"\\ud800x\"",
       "line 1, column 8: expected the second half of a "
       "surrogate pair, found 'x'"},
      {"\"\\ud800\\n\"",
       "line 1, column 8: expected the second half of a "
       "surrogate pair, found '\\\\'"},
      {"\"\\ud800\\ud800\"",
       "line 1, column 8: expected the second half of a "
       "surrogate pair, found '\\\\'"},
      {"\"\\ud800\\u0041\"",
       "line 1, column 8: expected the second half of a "
       "surrogate pair, found '\\\\'"},
      {"\"\\udc00\"",
       "line 1, column 2: expected the first half of a "
       "surrogate pair before it, found '\\\\'"},
      {"\"a\nb\"",
       "line 1, column 3: expected control characters of a string "
       "as escapes, found '\\n'"},
      {"\"a\x01\"",
       "line 1, column 3: expected control characters of a "
       "string as escapes, found '\\x01'"},
      {"\"\x1b[31m\"",
       "line 1, column 2: expected control characters of a "
       "string as escapes, found '\\x1b'"},
      {"\x1b", "line 1, column 1: expected a value, found '\\x1b'"},
      {"[1,\f2]", "line 1, column 4: expected a value, found '\\x0c'"},
      {"\xC2\xA0", "line 1, column 1: expected a value, found '\xC2\xA0'"},
      {"\xC2\x9B", "line 1, column 1: expected a value, found '\\xc2\\x9b'"},
      {"\xEF\xBB\xBF[]",
       "line 1, column 1: expected a value, found a byte order mark"},
      {"[\"\xC3\xA9\xE2\x82\xAC\",\n\"\xC3\xA9\" x]",
       "line 2, column 5: expected ',' or ']', found 'x'"},
      {"\"\xFF\"", "line 1, column 2: expected UTF-8, found '\\xff'"},
      {"\"\xC0\x80\"", "line 1, column 2: expected UTF-8, found '\\xc0'"},
      {"\"\xED\xA0\x80\"", "line 1, column 2: expected UTF-8, found '\\xed'"},
      {"\"\xF4\x90\x80\x80\"",
       "line 1, column 2: expected UTF-8, found '\\xf4'"},
      {"\"\xE2\x82\"", "line 1, column 2: expected UTF-8, found '\\xe2'"},
      {"{\"\xFF\":1}", "line 1, column 3: expected UTF-8, found '\\xff'"},
      {"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
       "line 1, column 1: expected a value, found 'aaaaaaaaaaaaaaaaaaaaaaaa'"},
  };
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++)
    check_refused(wrong[i].text, strlen(wrong[i].text), wrong[i].message);
  check_refused("1\0", 2,
                "line 1, column 2: expected the end of the text, found "
                "'\\x00'");
  check_refused("\"\0\"", 3,
                "line 1, column 2: expected control characters of a string as "
                "escapes, found '\\x00'");
  check_refused("\"\\\0\"", 4,
                "line 1, column 3: expected one of \"\\/bfnrtu behind a "
                "backslash, found '\\x00'");
  check_refused(NULL, 0,
                "line 1, column 1: expected a value, found the end of the "
                "text");
}

/* Every beginning of a text that is whole only at its end. */
TEST(json_refuses_what_is_cut_off) {
  static const char text[] =
      "{\"a\\u00e9\\ud83d\\ude00\":[1,-2.5e+3,true,false,null,\"x\xE2\x82\xAC\""
      "],\"b\":{}}";
  for (size_t size = 0; size < sizeof text - 1; size++) {
    error *e = NULL;
    char *exact = malloc(size > 0 ? size : 1);
    memcpy(exact, text, size);
    CHECK(json_read(exact, size, NULL, &e) == NULL);
    CHECK(e != NULL);
    error_unref(e);
    free(exact);
  }
  value *v = read_text(text);
  CHECK(v != NULL);
  value_free(v);
}

/* ------------------------------------------------------------------
** Limits
** ---------------------------------------------------------------- */

static value *read_nested(int depth, const json_limits *limits, error **e) {
  buffer b = BUFFER_EMPTY;
  for (int i = 0; i < depth; i++) buffer_text(&b, i % 2 ? "{\"\":" : "[");
  buffer_byte(&b, '1');
  for (int i = depth; i-- > 0;) buffer_byte(&b, i % 2 ? '}' : ']');
  value *v = json_read(b.data, b.size, limits, e);
  buffer_free(&b);
  return v;
}

TEST(json_depth_is_bounded) {
  error *e = NULL;
  value *v = read_nested(64, NULL, &e);
  CHECK(v != NULL && e == NULL);
  value_free(v);
  CHECK(read_nested(65, NULL, &e) == NULL);
  CHECK_TEXT(e->message,
             "line 1, column 161: expected at most 64 lists and maps in each "
             "other, found '['");
  error_unref(e);
  json_limits three = {.depth = 3};
  v = read_nested(3, &three, &e);
  CHECK(v != NULL);
  value_free(v);
  e = NULL;
  CHECK(read_nested(4, &three, &e) == NULL);
  error_unref(e);
  json_limits many = {.depth = 1000000};
  e = NULL;
  v = read_nested(1000000, &many, &e); /* one that recurses would crash */
  CHECK(v != NULL);
  value_free(v);
}

TEST(json_size_is_bounded) {
  json_limits limits = {.size = 5};
  error *e = NULL;
  value *v = json_read("[1,2]", 5, &limits, &e);
  CHECK(v != NULL && e == NULL);
  value_free(v);
  CHECK(json_read("[1,2] ", 6, &limits, &e) == NULL);
  CHECK_TEXT(e->message, "the JSON text has 6 bytes, and at most 5 are read");
  CHECK_INT(e->code, SAROS_E_INVALIDARG);
  error_unref(e);
  e = NULL;
  CHECK(json_read("x", ((size_t)64 << 20) + 1, NULL, &e) == NULL);
  CHECK(e != NULL);
  error_unref(e);
}

TEST(json_values_are_bounded) {
  json_limits limits = {.values = 4};
  error *e = NULL;
  value *v = json_read("[1,{\"a\":2}]", 11, &limits, &e);
  CHECK(v != NULL && e == NULL);
  value_free(v);
  CHECK(json_read("[1,{\"a\":2},3]", 13, &limits, &e) == NULL);
  CHECK_TEXT(e->message,
             "line 1, column 12: expected at most 4 values, found '3'");
  error_unref(e);
}

static double time_of_names(int count) {
  double best = 1e9;
  buffer b = BUFFER_EMPTY;
  buffer_byte(&b, '{');
  for (int i = 0; i < count; i++)
    buffer_format(&b, "%s\"name%d\":%d", i > 0 ? "," : "", i, i);
  buffer_byte(&b, '}');
  for (int round = 0; round < 3; round++) {
    struct timespec start, end;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &start);
    error *e = NULL;
    value *v = json_read(b.data, b.size, NULL, &e);
    CHECK(v != NULL && v->count == (uint32_t)count);
    value_free(v);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
    double took = (double)(end.tv_sec - start.tv_sec) +
                  (double)(end.tv_nsec - start.tv_nsec) / 1e9;
    if (took < best) best = took;
  }
  buffer_free(&b);
  return best;
}

/* 25 times the names: 25 times the work and a bit, not 625 times. */
TEST(json_is_not_quadratic_in_names) {
  double few = time_of_names(4000), many = time_of_names(100000);
  if (many / few > 150) printf("%g to %g\n", few, many);
  CHECK(many / few < 150);
}

/* ------------------------------------------------------------------
** Writing
** ---------------------------------------------------------------- */

TEST(json_writes_indented) {
  value *v = read_text("{\"a\":[1,[],{},[2]],\"b\":{\"c\":null},\"d\":\"\"}");
  char *text = write_text(v, JSON_INDENTED);
  CHECK_TEXT(text,
             "{\n"
             "  \"a\": [\n"
             "    1,\n"
             "    [],\n"
             "    {},\n"
             "    [\n"
             "      2\n"
             "    ]\n"
             "  ],\n"
             "  \"b\": {\n"
             "    \"c\": null\n"
             "  },\n"
             "  \"d\": \"\"\n"
             "}");
  value *again = read_text(text);
  CHECK(value_equal(v, again));
  mem_free(text);
  value_free(again);
  value_free(v);
}

static void check_string(const char *data, size_t size, const char *wanted) {
  buffer b = BUFFER_EMPTY;
  json_write_string(&b, data, size);
  CHECK_TEXT(b.data, wanted);
  buffer_free(&b);
}

TEST(json_writes_strings) {
  check_string("", 0, "\"\"");
  check_string("plain", 5, "\"plain\"");
  check_string(" !#[]~", 6, "\" !#[]~\"");
  check_string("\"\\/\b\f\n\r\t", 8, "\"\\\"\\\\/\\b\\f\\n\\r\\t\"");
  check_string("a\0b", 3, "\"a\\u0000b\"");
  check_string("\x01\x1f\x7f", 3, "\"\\u0001\\u001f\\u007f\"");
  check_string("\xC2\x80\xC2\x9B\xC2\x9F\xC2\xA0", 8,
               "\"\\u0080\\u009b\\u009f\xC2\xA0\"");
  check_string("\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80", 9,
               "\"\xC3\xA9\xE2\x82\xAC\xF0\x9F\x98\x80\"");
  check_string(
      "a\xFF"
      "b",
      3,
      "\"a\xEF\xBF\xBD"
      "b\"");
  check_string("\xE2\x82", 2, "\"\xEF\xBF\xBD\xEF\xBF\xBD\"");
  check_string("\xED\xA0\x80", 3, "\"\xEF\xBF\xBD\xEF\xBF\xBD\xEF\xBF\xBD\"");
  check_string("\xC0\x80", 2, "\"\xEF\xBF\xBD\xEF\xBF\xBD\"");
}

static void check_real(double n, const char *wanted) {
  value *v = value_real(n);
  char *text = write_text(v, JSON_COMPACT);
  CHECK_TEXT(text, wanted);
  mem_free(text);
  value_free(v);
}

TEST(json_writes_reals) {
  check_real(0.0, "0.0");
  check_real(-0.0, "-0.0");
  check_real(1.0, "1.0");
  check_real(-5.0, "-5.0");
  check_real(100.0, "100.0");
  check_real(123456789012345.0, "123456789012345.0");
  check_real(1e15, "1e+15");
  check_real(0.1, "0.1");
  check_real(0.1 + 0.2, "0.30000000000000004");
  check_real(1.0 / 3.0, "0.3333333333333333");
  check_real(1e-7, "1e-07");
  check_real(1e22, "1e+22");
  check_real((double)NAN, "null");
  check_real((double)INFINITY, "null");
  check_real(-(double)INFINITY, "null");
}

/* Doubles of every kind of bits come back the same. */
TEST(json_reads_back_what_it_wrote) {
  uint64_t seed = 0x5a305;
  for (int i = 0; i < 20000; i++) {
    seed = seed * 6364136223846793005u + 1442695040888963407u;
    uint64_t bits = seed ^ seed >> 29;
    double n;
    memcpy(&n, &bits, sizeof n);
    if (!isfinite(n)) continue;
    value *v = value_real(n);
    char *text = write_text(v, JSON_COMPACT);
    error *e = NULL;
    value *again = json_read(text, strlen(text), NULL, &e);
    if (!value_equal(v, again)) printf("%a is written as %s\n", n, text);
    CHECK(value_equal(v, again));
    mem_free(text);
    value_free(v);
    value_free(again);
  }
}

TEST(json_writes_what_was_not_made) {
  buffer b = BUFFER_EMPTY;
  json_write(&b, NULL, JSON_COMPACT);
  CHECK(b.failed);
  buffer_free(&b);
}

TEST(json_writes_behind_what_is_there) {
  buffer b = BUFFER_EMPTY;
  value *v = value_int(1);
  buffer_text(&b, "x=");
  json_write(&b, v, JSON_COMPACT);
  json_write(&b, v, JSON_INDENTED);
  CHECK_TEXT(b.data, "x=11");
  buffer_free(&b);
  value_free(v);
}

TEST(json_depth_of_writing_is_bounded) {
  for (int depth = VALUE_DEPTH; depth <= VALUE_DEPTH + 1; depth++) {
    value *v = value_list();
    for (int i = 1; i < depth; i++) {
      value *outer = i % 2 ? value_map() : value_list();
      CHECK(i % 2 ? value_put(outer, "x", v) : value_add(outer, v));
      v = outer;
    }
    buffer b = BUFFER_EMPTY;
    json_write(&b, v, JSON_COMPACT);
    /* An empty list on top of 1000 needs no place of its own. */
    CHECK(!b.failed);
    buffer_free(&b);
    value *outer = value_list();
    CHECK(value_add(outer, v));
    json_write(&b, outer, JSON_INDENTED);
    CHECK(b.failed == (depth > VALUE_DEPTH));
    buffer_free(&b);
    value_free(outer);
  }
}

/* ------------------------------------------------------------------
** Surroundings
** ---------------------------------------------------------------- */

/* A locale with a decimal comma, made if need be. */
static bool set_comma_locale(char directory[64]) {
  static const char *const names[] = {"de_DE.UTF-8", "de_DE.utf8", "de_DE",
                                      "fr_FR.UTF-8"};
  char command[256];
  *directory = '\0';
  for (int round = 0; round < 2; round++) {
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
      if (setlocale(LC_ALL, names[i]) != NULL &&
          strcmp(localeconv()->decimal_point, ",") == 0)
        return true;
    if (round > 0) break;
    strcpy(directory, "/tmp/saros-locale-XXXXXX");
    if (mkdtemp(directory) == NULL) break;
    snprintf(command, sizeof command,
             "localedef -i de_DE -f UTF-8 %s/de_DE.utf8 >/dev/null 2>&1",
             directory);
    if (system(command) != 0) break;
    setenv("LOCPATH", directory, 1);
  }
  return false;
}

TEST(json_has_points_in_a_land_of_commas) {
  char directory[64], command[128];
  bool set = set_comma_locale(directory);
  if (set) {
    char text[32];
    snprintf(text, sizeof text, "%.1f", 1.5);
    CHECK_TEXT(text, "1,5"); /* this locale is what it should be */
    check_same("1.5");
    check_same("[0.1,-2.25e-30,1e+22,0.30000000000000004]");
    check_written("1.0", "1.0");
    check_refused("1,5", 3,
                  "line 1, column 2: expected the end of the text, found ','");
    check_refused("[1.5.2]", 7,
                  "line 1, column 5: expected ',' or ']', found '.2'");
    snprintf(text, sizeof text, "%.1f", 1.5);
    CHECK_TEXT(text, "1,5"); /* and it is still the host's */
  }
  setlocale(LC_ALL, "C");
  unsetenv("LOCPATH");
  if (*directory != '\0') {
    snprintf(command, sizeof command, "rm -rf %s", directory);
    CHECK_INT(system(command), 0);
  }
  if (!set) SKIP("there is no locale with a comma");
}

static bool read_and_write(void) {
  static const char text[] =
      "{\"a\\n\":[1,2.5,0.3333333333333333333333333333333333333333333333333333"
      "333333333333333,\"x\\u00e9\",[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]],\"y\""
      "],\"b\":{\"a\":1,\"b\":2,\"c\":3,\"d\":4,\"e\":5,\"f\":6,\"g\":7,\"h\":8"
      ",\"i\":9},\"z\":null}";
  error *e = NULL;
  value *v = json_read(text, sizeof text - 1, NULL, &e);
  CHECK((v == NULL) == (e != NULL));
  if (e != NULL) {
    CHECK(e == error_no_memory());
    error_unref(e);
    return false;
  }
  buffer b = BUFFER_EMPTY;
  json_write(&b, v, JSON_INDENTED);
  bool whole = !b.failed;
  buffer_free(&b);
  value_free(v);
  return whole;
}

TEST(json_survives_without_memory) {
  SWEEP(read_and_write, 70);
}

static bool refuse(void) {
  static const char *const wrong[] = {"[1,{\"a\":1,\"a\\u0020\":}]",
                                      "{\"a\":1,\"a\":2}", "[\"\\ud800\"]"};
  bool whole = true;
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
    error *e = NULL;
    CHECK(json_read(wrong[i], strlen(wrong[i]), NULL, &e) == NULL);
    CHECK(e != NULL);
    whole = whole && e->code == SAROS_E_INVALIDARG;
    error_unref(e);
  }
  json_limits limits = {.values = 1};
  error *e = NULL;
  CHECK(json_read("[1]", 3, &limits, &e) == NULL);
  CHECK(e != NULL);
  whole = whole && e->code == SAROS_E_INVALIDARG;
  error_unref(e);
  return whole;
}

TEST(json_refuses_without_memory) {
  SWEEP(refuse, 30);
}

int main(int argc, char **argv) {
  check_begin(argc, argv);
  RUN(json_reads_every_type);
  RUN(json_reads_integers_that_fit);
  RUN(json_reads_other_numbers_as_reals);
  RUN(json_keeps_the_sign_of_zero);
  RUN(json_reads_very_long_numbers);
  RUN(json_reads_escapes);
  RUN(json_reads_names_with_escapes);
  RUN(json_refuses_with_a_reason);
  RUN(json_refuses_what_is_cut_off);
  RUN(json_depth_is_bounded);
  RUN(json_size_is_bounded);
  RUN(json_values_are_bounded);
  RUN(json_is_not_quadratic_in_names);
  RUN(json_writes_indented);
  RUN(json_writes_strings);
  RUN(json_writes_reals);
  RUN(json_reads_back_what_it_wrote);
  RUN(json_writes_what_was_not_made);
  RUN(json_writes_behind_what_is_there);
  RUN(json_depth_of_writing_is_bounded);
  RUN(json_has_points_in_a_land_of_commas);
  RUN(json_survives_without_memory);
  RUN(json_refuses_without_memory);
  return check_end();
}
