/*
** base: the limits of the JSON reader and writer, and where they must do: in
** other countries, without memory.
*/
#include <locale.h>
#include <time.h>
#include <unistd.h>

#include "json_case.h"
#include "test_base_sweep.h"

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

#define TEXTS 25

/* CPU seconds for so many texts with so many names each, all of them kept. */
static double time_of_names(int texts, int count) {
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
    value *read[TEXTS];
    for (int i = 0; i < texts; i++) {
      read[i] = json_read(b.data, b.size, NULL, &e);
      CHECK(read[i] != NULL && read[i]->count == (uint32_t)count);
    }
    for (int i = 0; i < texts; i++) value_free(read[i]);
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &end);
    double took = (double)(end.tv_sec - start.tv_sec) +
                  (double)(end.tv_nsec - start.tv_nsec) / 1e9;
    if (took < best) best = took;
  }
  buffer_free(&b);
  return best;
}

/* As many names in one text as in 25: the same work and a bit, not 25 times as
   much. Both need as much memory, so that a busy cache is the same to them. */
TEST(json_is_not_quadratic_in_names) {
  double few = time_of_names(TEXTS, 4000), many = time_of_names(1, 100000);
  if (many / few > 12) printf("%g to %g\n", few, many);
  CHECK(many / few < 12);
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
  RUN(json_depth_is_bounded);
  RUN(json_size_is_bounded);
  RUN(json_values_are_bounded);
  RUN(json_is_not_quadratic_in_names);
  RUN(json_has_points_in_a_land_of_commas);
  RUN(json_survives_without_memory);
  RUN(json_refuses_without_memory);
  return check_end();
}
