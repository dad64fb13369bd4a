/*
** base: the JSON reader.
*/
#include <math.h>

#include "json_case.h"

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
  return check_end();
}
