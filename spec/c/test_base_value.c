/*
** base: values.
*/
#include "base/value.h"

#include <math.h>
#include <time.h>

#include "check.h"
#include "test_base_sweep.h"

TEST(value_of_every_type) {
  value *v = value_null();
  CHECK_INT(v->type, VALUE_NULL);
  value_free(v);
  v = value_bool(true);
  CHECK(v->type == VALUE_BOOL && v->as.boolean);
  value_free(v);
  v = value_int(INT64_MIN);
  CHECK(v->type == VALUE_INT && v->as.integer == INT64_MIN);
  value_free(v);
  v = value_real(0.5);
  CHECK(v->type == VALUE_REAL && v->as.real == 0.5);
  value_free(v);
  v = value_string("a\0b", 3);
  CHECK(v->type == VALUE_STRING && v->as.string.size == 3);
  CHECK(memcmp(v->as.string.data, "a\0b\0", 4) == 0);
  value_free(v);
  v = value_text("text");
  CHECK_TEXT(v->as.string.data, "text");
  CHECK_INT(v->as.string.size, 4);
  value_free(v);
  v = value_text(NULL);
  CHECK_INT(v->type, VALUE_NULL);
  value_free(v);
  v = value_list();
  CHECK(v->type == VALUE_LIST && v->count == 0);
  value_free(v);
  v = value_map();
  CHECK(v->type == VALUE_MAP && v->count == 0);
  value_free(v);
  value_free(NULL);
}

TEST(value_list_keeps_order) {
  long before = mem_blocks();
  value *list = value_list();
  for (int i = 0; i < 1000; i++) CHECK(value_add(list, value_int(i)));
  CHECK_INT(list->count, 1000);
  for (int i = 0; i < 1000; i++)
    CHECK_INT(value_integer(list->as.items[i], -1), i);
  value_free(list);
  CHECK_INT(mem_blocks(), before);
}

TEST(value_map_keeps_order_and_finds) {
  long before = mem_blocks();
  value *map = value_map();
  char name[32];
  for (int i = 0; i < 1000; i++) {
    snprintf(name, sizeof name, "name %d", i);
    CHECK(value_get(map, name) == NULL);
    CHECK(value_put(map, name, value_int(i)));
    CHECK_INT(value_integer(value_get(map, name), -1), i);
  }
  CHECK_INT(map->count, 1000);
  for (int i = 0; i < 1000; i++) {
    snprintf(name, sizeof name, "name %d", i);
    CHECK_TEXT(map->as.fields[i].name, name);
    CHECK_INT(map->as.fields[i].size, strlen(name));
    CHECK_INT(value_integer(value_get(map, name), -1), i);
  }
  CHECK(value_get(map, "name 1000") == NULL);
  CHECK(value_get(map, "") == NULL);
  CHECK(value_get(map, "name") == NULL);
  value_free(map);
  CHECK_INT(mem_blocks(), before);
}

TEST(value_map_keeps_a_name_once) {
  for (int size = 1; size <= 40; size += 3) {
    long before = mem_blocks();
    value *map = value_map();
    char name[32];
    for (int round = 0; round < 3; round++)
      for (int i = 0; i < size; i++) {
        snprintf(name, sizeof name, "n%d", i);
        CHECK(value_put(map, name, value_int(100 * round + i)));
      }
    CHECK_INT(map->count, size);
    for (int i = 0; i < size; i++) {
      snprintf(name, sizeof name, "n%d", i);
      CHECK_TEXT(map->as.fields[i].name, name); /* in its old place */
      CHECK_INT(value_integer(value_get(map, name), -1), 200 + i);
    }
    value_free(map);
    CHECK_INT(mem_blocks(), before);
  }
}

TEST(value_map_names_are_bytes) {
  value *map = value_map();
  CHECK(value_put_bytes(map, "a\0b", 3, value_int(1)));
  CHECK(value_put_bytes(map, "a\0c", 3, value_int(2)));
  CHECK(value_put_bytes(map, "a", 1, value_int(3)));
  CHECK(value_put_bytes(map, "", 0, value_int(4)));
  CHECK_INT(map->count, 4);
  CHECK_INT(value_integer(value_get_bytes(map, "a\0b", 3), 0), 1);
  CHECK_INT(value_integer(value_get_bytes(map, "a\0c", 3), 0), 2);
  CHECK_INT(value_integer(value_get(map, "a"), 0), 3);
  CHECK_INT(value_integer(value_get(map, ""), 0), 4);
  CHECK(value_get_bytes(map, "a\0d", 3) == NULL);
  value_free(map);
}

/* Of each kind of memory: its own, the map's first block, and a further one. */
static bool build_rows(void) {
  char name[32], text[400];
  value *map = value_map_of(5), *copy = NULL;
  memset(text, 'x', sizeof text);
  bool good = map != NULL;
  for (int i = 0; good && i < 40; i++) {
    snprintf(name, sizeof name, "number %d", i);
    good = value_put_int(map, name, i);
    snprintf(name, sizeof name, "text %d", i);
    good = good && value_put_string(map, name, text, (size_t)i * 10);
    snprintf(name, sizeof name, "list %d", i);
    good = good && value_put(map, name, value_list());
  }
  good = good && (copy = value_copy(map)) != NULL;
  for (int i = 0; good && i < 40; i++) {
    snprintf(name, sizeof name, "number %d", i);
    CHECK_INT(value_integer(value_get(map, name), -1), i);
    snprintf(name, sizeof name, "text %d", i);
    CHECK_INT(value_get(map, name)->as.string.size, (size_t)i * 10);
    CHECK_INT(strlen(value_chars(value_get(map, name), "y")), (size_t)i * 10);
  }
  CHECK(!good || value_equal(map, copy));
  /* What takes the place of another. */
  good = good && value_put_int(map, "text 3", 3) &&
         value_put(map, "number 3", value_text("three")) &&
         value_put_string(map, "list 3", "a\0b", 3);
  if (good) {
    CHECK_INT(map->count, 120);
    CHECK_INT(value_integer(value_get(map, "text 3"), 0), 3);
    CHECK_TEXT(value_chars(value_get(map, "number 3"), ""), "three");
    CHECK_INT(value_get(map, "list 3")->as.string.size, 3);
    CHECK(!value_equal(map, copy));
  }
  value_free(map);
  value_free(copy); /* in memory of its own */
  return good;
}

TEST(value_map_has_items_in_its_memory) {
  long before = mem_blocks();
  CHECK(build_rows());
  CHECK_INT(mem_blocks(), before);
  value *map = value_map_of(0), *list = value_list();
  long with = mem_blocks();
  CHECK(value_put_int(map, "a", 1));
  CHECK(value_put_string(map, "b", NULL, 0));
  CHECK_TEXT(value_chars(value_get(map, "b"), "y"), "");
  CHECK_INT(mem_blocks(), with);
  CHECK(!value_put_int(list, "a", 1));
  CHECK(!value_put_string(list, "a", "b", 1));
  CHECK(!value_put_int(NULL, "a", 1));
  value_wipe(map);
  value_free(list);
  CHECK_INT(mem_blocks(), before);
}

TEST(value_rows_survive_without_memory) {
  SWEEP(build_rows, 60);
}

/* Maps by the thousand: what `row` made of it is in its place, also where
   others have the same names in another order, or more of them than are
   remembered. */
static bool put_row(value *list, int row) {
  char name[40], text[200];
  memset(text, 'y', sizeof text);
  value *map = value_add_map(list, row % 3 == 0 ? 0 : 20);
  bool good = map != NULL;
  for (int i = 0; good && i < 30 + row % 5 * 10; i++) {
    snprintf(name, sizeof name, "field %d", (i * 7 + row) % 71);
    good = i % 2 == 0 ? value_put_int(map, name, row * 100 + i)
                      : value_put_string(map, name, text, (size_t)(row + i));
  }
  value *in = good ? value_put_map(map, "in", 2) : NULL;
  value *words = in != NULL ? value_put_list(in, "words", 1) : NULL;
  good = words != NULL && value_put_int(in, "field 0", row);
  for (int i = 0; good && i < row; i++)
    good = value_add_string(words, text, (size_t)i);
  return good;
}

static void check_row(const value *map, int row) {
  char name[40];
  int count = 30 + row % 5 * 10;
  CHECK_INT(map->count, count + 1);
  for (int i = 0; i < count; i++) {
    snprintf(name, sizeof name, "field %d", (i * 7 + row) % 71);
    const value *v = value_get(map, name);
    if (i % 2 == 0)
      CHECK_INT(value_integer(v, -1), row * 100 + i);
    else
      CHECK_INT(strlen(value_chars(v, "")), row + i);
  }
  const value *in = value_get(map, "in");
  CHECK_INT(value_integer(value_get(in, "field 0"), -1), row);
  const value *words = value_get(in, "words");
  CHECK_INT(words->count, row);
  for (int i = 0; i < row; i++)
    CHECK_INT(words->as.items[i]->as.string.size, i);
}

enum { FEW_ROWS = 12, ROWS = 60 };

/* `mixed`: there are also items that have memory of their own, in each of them,
   before and after. */
static bool build_table(int rows, bool mixed) {
  value *list = value_list(), *copy = NULL;
  bool good = list != NULL && (!mixed || value_add(list, value_text("first")));
  for (int row = 0; good && row < rows; row++) {
    good = put_row(list, row);
    if (!good || !mixed) continue;
    value *map = list->as.items[list->count - 1];
    good = value_put(map, "field 0", value_text("its own")) &&
           value_put(map, "in", value_list()) && value_add(list, value_map());
  }
  for (int row = 0; good && !mixed && row < rows; row++)
    check_row(list->as.items[row], row);
  if (good && rows > FEW_ROWS) CHECK((copy = value_copy(list)) != NULL);
  if (copy != NULL) CHECK(value_equal(list, copy));
  if (mixed)
    value_wipe(list);
  else
    value_free(list);
  value_free(copy);
  return good;
}

static bool build_few_mixed(void) {
  return build_table(FEW_ROWS, true);
}

static bool build_few(void) {
  return build_table(FEW_ROWS, false);
}

TEST(value_list_has_maps_in_its_memory) {
  long before = mem_blocks();
  CHECK(build_table(ROWS, false));
  CHECK_INT(mem_blocks(), before);
  CHECK(build_table(ROWS, true));
  CHECK_INT(mem_blocks(), before);
  value *list = value_list(), *number = value_int(1);
  for (int i = 0; i < 1000; i++) CHECK(put_row(list, 1));
  const value *one = list->as.items[10], *other = list->as.items[900];
  CHECK(one->as.fields[0].name == other->as.fields[0].name);
  CHECK(mem_blocks() - before < 200); /* and not a few for each */
  CHECK(value_add_map(number, 1) == NULL);
  CHECK(value_add_map(NULL, 1) == NULL);
  CHECK(!value_add_string(number, "a", 1));
  CHECK(value_put_map(list, "a", 1) == NULL);
  CHECK(value_put_list(list, "a", 1) == NULL);
  value_free(list);
  value_free(number);
  CHECK_INT(mem_blocks(), before);
}

TEST(value_table_survives_without_memory) {
  SWEEP(build_few, 30);
  SWEEP(build_few_mixed, 100);
}

TEST(value_takes_bytes_over) {
  long before = mem_blocks();
  value *v = value_of_bytes(mem_bytes("a\0b", 3), 3);
  value *same = value_string("a\0b", 3);
  CHECK(value_equal(v, same));
  CHECK(value_of_bytes(NULL, 0) == NULL);
  value_wipe(v);
  value_free(same);
  CHECK_INT(mem_blocks(), before);
}

TEST(value_refuses_what_does_not_fit) {
  long before = mem_blocks();
  value *list = value_list(), *map = value_map(), *number = value_int(1);
  CHECK(!value_add(map, value_int(1))); /* each of these frees its item */
  CHECK(!value_add(number, value_int(1)));
  CHECK(!value_add(NULL, value_int(1)));
  CHECK(!value_add(list, NULL));
  CHECK(!value_put(list, "a", value_int(1)));
  CHECK(!value_put(NULL, "a", value_int(1)));
  CHECK(!value_put(map, "a", NULL));
  CHECK_INT(list->count, 0);
  CHECK_INT(map->count, 0);
  CHECK(value_put(map, "a", value_int(1)));
  CHECK(!value_put(map, "a", NULL)); /* and the old one stays */
  CHECK_INT(value_integer(value_get(map, "a"), 0), 1);
  CHECK(value_get(list, "a") == NULL);
  CHECK(value_get(NULL, "a") == NULL);
  value_free(list);
  value_free(map);
  value_free(number);
  CHECK_INT(mem_blocks(), before);
}

TEST(value_content_or_fallback) {
  value *number = value_int(42), *yes = value_bool(true),
        *no = value_bool(false);
  value *text = value_text("x"), *real = value_real(3.0);
  CHECK_INT(value_integer(number, 7), 42);
  CHECK_INT(value_integer(real, 7), 7);
  CHECK_INT(value_integer(text, 7), 7);
  CHECK_INT(value_integer(NULL, 7), 7);
  CHECK(value_boolean(yes, false));
  CHECK(!value_boolean(no, true));
  CHECK(value_boolean(number, true));
  CHECK(!value_boolean(NULL, false));
  CHECK_TEXT(value_chars(text, "y"), "x");
  CHECK_TEXT(value_chars(number, "y"), "y");
  CHECK(value_chars(NULL, NULL) == NULL);
  value_free(number);
  value_free(yes);
  value_free(no);
  value_free(text);
  value_free(real);
}

/* { "list": [1, 2.5, "x", null, true], "map": { "a": [], ... } } */
static value *tree(void) {
  value *list = value_list(), *inner = value_map(), *map = value_map();
  bool good = value_add(list, value_int(1));
  good = value_add(list, value_real(2.5)) && good;
  good = value_add(list, value_string("x\0y", 3)) && good;
  good = value_add(list, value_null()) && good;
  good = value_add(list, value_bool(true)) && good;
  good = value_put(inner, "a", value_list()) && good;
  char name[16];
  for (int i = 0; i < 20; i++) {
    snprintf(name, sizeof name, "%d", i);
    good = value_put(inner, name, value_int(i)) && good;
  }
  good = value_put(map, "list", list) && good;
  good = value_put(map, "map", inner) && good;
  if (good) return map;
  value_free(map);
  return NULL;
}

static bool build_and_copy(void) {
  value *map = tree();
  value *copy = map != NULL ? value_copy(map) : NULL;
  bool whole = copy != NULL;
  if (whole) {
    CHECK(value_equal(map, copy));
    CHECK(copy != map);
    CHECK_TEXT(copy->as.fields[0].name, "list");
    CHECK_TEXT(copy->as.fields[1].item->as.fields[20].name, "19");
  }
  value_free(copy);
  value_free(map);
  return whole;
}

TEST(value_copy_is_equal) {
  long before = mem_blocks();
  CHECK(build_and_copy());
  CHECK_INT(mem_blocks(), before);
  CHECK(value_copy(NULL) == NULL);
  value *text = value_text("alone");
  value *copy = value_copy(text);
  CHECK(value_equal(text, copy));
  CHECK(text->as.string.data != copy->as.string.data);
  value_free(text);
  value_free(copy);
}

TEST(value_survives_without_memory) {
  SWEEP(build_and_copy, 60);
}

TEST(value_equal_looks_at_type_and_content) {
  value *all[] = {
      value_null(),
      value_bool(false),
      value_bool(true),
      value_int(0),
      value_int(1),
      value_int(-1),
      value_real(0.0),
      value_real(-0.0),
      value_real(1.0),
      value_real((double)NAN),
      value_real((double)INFINITY),
      value_text(""),
      value_text("a"),
      value_text("b"),
      value_string("a\0", 2),
      value_string("a\1", 2),
      value_list(),
      value_map(),
      value_list(),
      value_list(),
      value_map(),
      value_map(),
      value_map(),
  };
  enum { COUNT = sizeof all / sizeof all[0] };
  CHECK(value_add(all[18], value_int(1)));
  CHECK(value_add(all[19], value_int(2)));
  CHECK(value_put(all[20], "a", value_int(1)));
  CHECK(value_put(all[21], "b", value_int(1)));
  CHECK(value_put(all[22], "a", value_int(2)));
  for (int i = 0; i < COUNT; i++)
    for (int j = 0; j < COUNT; j++) {
      if (value_equal(all[i], all[j]) != (i == j)) printf("%d, %d\n", i, j);
      CHECK(value_equal(all[i], all[j]) == (i == j));
    }
  CHECK(!value_equal(all[0], NULL));
  CHECK(!value_equal(NULL, all[0]));
  CHECK(value_equal(NULL, NULL));
  for (int i = 0; i < COUNT; i++) value_free(all[i]);
}

TEST(value_equal_maps_regardless_of_order) {
  for (int size = 1; size < 40; size++) {
    value *a = value_map(), *b = value_map();
    char name[16];
    for (int i = 0; i < size; i++) {
      snprintf(name, sizeof name, "%d", i);
      value_put(a, name, value_int(i));
      snprintf(name, sizeof name, "%d", size - 1 - i);
      value_put(b, name, value_int(size - 1 - i));
    }
    CHECK(value_equal(a, b));
    value_put(b, "0", value_int(-1));
    CHECK(!value_equal(a, b));
    value_put(b, "0", value_int(0));
    CHECK(value_equal(a, b));
    value_put(a, "only here", value_null());
    CHECK(!value_equal(a, b));
    value_put(b, "only there", value_null());
    CHECK(!value_equal(a, b));
    value_free(a);
    value_free(b);
  }
}

/* Nested `depth` times, by turns a list and a map. */
static value *nested(int depth) {
  value *v = value_int(1);
  for (int i = 0; i < depth; i++) {
    value *outer = i % 2 ? value_map() : value_list();
    if (i % 2)
      value_put(outer, "x", v);
    else
      value_add(outer, v);
    v = outer;
  }
  return v;
}

TEST(value_free_does_not_recurse) {
  long before = mem_blocks();
  value *deep = nested(1000000);
  value_free(deep); /* a recursive one would overflow the stack */
  CHECK_INT(mem_blocks(), before);
}

TEST(value_free_frees_wide_and_deep) {
  long before = mem_blocks();
  value *v = value_list();
  for (int i = 0; i < 300; i++) {
    value *outer = value_list();
    for (int j = 0; j < i % 5; j++) value_add(outer, tree());
    value_add(outer, v);
    for (int j = 0; j < i % 3; j++) value_add(outer, value_text("after"));
    v = outer;
  }
  value_free(v);
  CHECK_INT(mem_blocks(), before);
}

TEST(value_depth_is_bounded) {
  long before = mem_blocks();
  value *most = nested(VALUE_DEPTH), *more = nested(VALUE_DEPTH + 1);
  value *copy = value_copy(most);
  CHECK(copy != NULL);
  CHECK(value_equal(most, copy));
  CHECK(value_copy(more) == NULL);
  CHECK(!value_equal(more, more)); /* it cannot tell */
  CHECK(!value_equal(more, most));
  value_free(copy);
  value_free(most);
  value_free(more);
  CHECK_INT(mem_blocks(), before);
}

static double cpu_seconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
  return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

#define MAPS 16

/* For so many maps with so many names each, all of them kept. */
static double time_of_maps(int maps, int size) {
  double best = 1e9;
  for (int round = 0; round < 3; round++) {
    double start = cpu_seconds();
    value *map[MAPS];
    char name[32];
    for (int m = 0; m < maps; m++) {
      map[m] = value_map();
      for (int i = 0; i < size; i++) {
        snprintf(name, sizeof name, "a rather long name %d", i);
        value_put(map[m], name, value_null());
      }
      CHECK_INT(map[m]->count, size);
    }
    for (int m = 0; m < maps; m++) value_free(map[m]);
    double took = cpu_seconds() - start;
    if (took < best) best = took;
  }
  return best;
}

/* As many names in one map as in sixteen take as long, and some for the
   caches; quadratic would be sixteen times as long. */
TEST(value_map_is_not_quadratic) {
  double few = time_of_maps(MAPS, 8000), many = time_of_maps(1, MAPS * 8000);
  if (many / few > 8) printf("%g to %g\n", few, many);
  CHECK(many / few < 8);
}

int main(int argc, char **argv) {
  check_begin(argc, argv);
  RUN(value_of_every_type);
  RUN(value_list_keeps_order);
  RUN(value_map_keeps_order_and_finds);
  RUN(value_map_keeps_a_name_once);
  RUN(value_map_names_are_bytes);
  RUN(value_map_has_items_in_its_memory);
  RUN(value_rows_survive_without_memory);
  RUN(value_list_has_maps_in_its_memory);
  RUN(value_table_survives_without_memory);
  RUN(value_takes_bytes_over);
  RUN(value_refuses_what_does_not_fit);
  RUN(value_content_or_fallback);
  RUN(value_copy_is_equal);
  RUN(value_survives_without_memory);
  RUN(value_equal_looks_at_type_and_content);
  RUN(value_equal_maps_regardless_of_order);
  RUN(value_free_does_not_recurse);
  RUN(value_free_frees_wide_and_deep);
  RUN(value_depth_is_bounded);
  RUN(value_map_is_not_quadratic);
  return check_end();
}
