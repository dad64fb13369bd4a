/*
** base: the JSON writer.
*/
#include <math.h>

#include "json_case.h"

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

int main(int argc, char **argv) {
  check_begin(argc, argv);
  RUN(json_writes_indented);
  RUN(json_writes_strings);
  RUN(json_writes_reals);
  RUN(json_reads_back_what_it_wrote);
  RUN(json_writes_what_was_not_made);
  RUN(json_writes_behind_what_is_there);
  RUN(json_depth_of_writing_is_bounded);
  return check_end();
}
