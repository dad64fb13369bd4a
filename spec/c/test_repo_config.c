/*
** The config, and files that are no packs: indexes, snapshots, locks.
*/
#include "repository/config.h"

#include "repo_case.h"
#include "repository/chunker.h"
#include "repository/unpacked.h"
#include "test_base_sweep.h"

static const char known[] =
    "{\"version\":2,\"id\":\"ebe8808b5c25b59d818edbfe594c787e4b6406f01637b9f39b"
    "8cdb0e8cc4c321\",\"chunker_polynomial\":\"3ff2f8c92e3f5b\"}";

static repo_sealer *new_sealer(int seed) {
  repo_key key;
  error *e = NULL;
  memset(&key, seed, sizeof key);
  repo_sealer *s = repo_sealer_new(&key, &e);
  CHECK_GOOD(e);
  return s;
}


/* ------------------------------------------------------------------
** The config
** ---------------------------------------------------------------- */

TEST(config_as_text) {
  repo_config c;
  buffer b = BUFFER_EMPTY;
  CHECK_GOOD(repo_config_read(&c, known, strlen(known)));
  CHECK_INT(c.version, 2);
  CHECK(c.polynomial == 0x3ff2f8c92e3f5b);
  CHECK_TEXT(
      c.id, "ebe8808b5c25b59d818edbfe594c787e4b6406f01637b9f39b8cdb0e8cc4c321");
  CHECK(c.unknown == NULL);
  CHECK_GOOD(repo_config_write(&c, &b));
  CHECK_TEXT(b.data, known);
  repo_config_clear(&c);
  buffer_free(&b);
}

/* Other programs put more there, and must find it again. */
TEST(unknown_settings_are_kept) {
  char text[400], wanted[400];
  repo_config c;
  buffer b = BUFFER_EMPTY;
  snprintf(text, sizeof text, "{ \"treepack_size\": 7, %s", known + 1);
  snprintf(wanted, sizeof wanted, "%.*s,\"treepack_size\":7}",
           (int)strlen(known) - 1, known);
  CHECK_GOOD(repo_config_read(&c, text, strlen(text)));
  CHECK_GOOD(repo_config_write(&c, &b));
  CHECK_TEXT(b.data, wanted);
  repo_config_clear(&c);
  buffer_free(&b);
}

TEST(config_is_strict) {
  static const char *const bad[][2] = {
      {"", "it is no JSON"},
      {"[]", "it is no JSON object"},
      {"{}", "no version"},
      {"{\"version\":\"2\"}", "no version"},
      {"{\"version\":0}", "no version"},
      {"{\"version\":2}", "id"},
      {"{\"version\":2,\"id\":"
       "\"EBe8808b5c25b59d818edbfe594c787e4b6406f01637b9f3"
       "9b8cdb0e8cc4c321\",\"chunker_polynomial\":\"3ff2f8c92e3f5b\"}",
       "id"},
#define ID                                                                     \
  "{\"version\":1,\"id\":\"ebe8808b5c25b59d818edbfe594c787e4b6406f01637b9f39b" \
  "8cdb0e8cc4c321\",\"chunker_polynomial\":"
      {ID "17}", "polynomial"},
      {ID "\"\"}", "polynomial"},
      {ID "\"0x3ff2f8c92e3f5b\"}", "polynomial"},
      {ID "\"03ff2f8c92e3f5b\"}", "polynomial"},
      {ID "\"3FF2F8C92E3F5B\"}", "polynomial"},
      {ID "\"3ff2f8c92e3f5a\"}", "polynomial"}, /* even: reducible */
      {ID "\"3ff2f8c92e3f5b3ff2f8c92e3f5b\"}", "polynomial"},
      {ID "\"b\"}", "polynomial"}, /* irreducible, of degree 3 */
  };
  repo_config c;
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    error *e = repo_config_read(&c, bad[i][0], strlen(bad[i][0]));
    CHECK(e != NULL && strstr(e->message, bad[i][1]) != NULL);
    CHECK_ERROR(e, SAROS_E_DAMAGED);
  }
  static const char newer[] = "{\"version\":3,\"whatever\":[]}";
  CHECK_ERROR(repo_config_read(&c, newer, strlen(newer)), SAROS_E_NOTIMPL);
  CHECK_ERROR(repo_config_make(&c, 3), SAROS_E_NOTIMPL);
}

TEST(a_new_config) {
  memory_store m = MEMORY_STORE;
  repo_sealer *s = new_sealer(1), *other = new_sealer(2);
  repo_config one, two, back;
  CHECK_GOOD(repo_config_make(&one, 1));
  CHECK_GOOD(repo_config_make(&two, 2));
  CHECK(one.polynomial != two.polynomial && strcmp(one.id, two.id) != 0);
  CHECK(repo_polynomial_irreducible(one.polynomial));
  CHECK_GOOD(repo_config_save(&one, &m.store, s, false, NULL));
  CHECK_INT(m.files[0].size, 155);
  CHECK_GOOD(repo_config_load(&back, &m.store, s, NULL));
  CHECK(back.version == 1 && back.polynomial == one.polynomial);
  CHECK_TEXT(back.id, one.id);
  error *e = repo_config_save(&two, &m.store, s, false, NULL);
  CHECK(e != NULL && e->number == EEXIST);
  error_unref(e);
  CHECK_GOOD(repo_config_save(&two, &m.store, s, true, NULL));
  CHECK_GOOD(repo_config_load(&back, &m.store, s, NULL));
  CHECK_TEXT(back.id, two.id);
  m.bad_loads = 1;
  CHECK_GOOD(repo_config_load(&back, &m.store, s, NULL));
  m.bad_loads = 2;
  CHECK_ERROR(repo_config_load(&back, &m.store, s, NULL), SAROS_E_DAMAGED);
  CHECK_ERROR(repo_config_load(&back, &m.store, other, NULL), SAROS_E_DAMAGED);
  memory_file *f = &m.files[0];
  for (size_t bit = 0; bit < 8 * f->size; bit++) {
    f->data[bit / 8] ^= (char)(1u << bit % 8);
    CHECK_ERROR(repo_config_load(&back, &m.store, s, NULL), SAROS_E_DAMAGED);
    f->data[bit / 8] ^= (char)(1u << bit % 8);
  }
  size_t whole = f->size;
  for (f->size = 0; f->size < whole; f->size++)
    CHECK_ERROR(repo_config_load(&back, &m.store, s, NULL), SAROS_E_DAMAGED);
  memory_clear(&m);
  e = repo_config_load(&back, &m.store, s, NULL);
  CHECK(e != NULL && e->number == ENOENT);
  error_unref(e);
  repo_sealer_free(s);
  repo_sealer_free(other);
}


/* ------------------------------------------------------------------
** Files that are no packs
** ---------------------------------------------------------------- */

typedef struct desk {
  memory_store m;
  repo_sealer *s;
  repo_zip *z;
  repo_id id;
  buffer b;
} desk;

#define DESK \
  { MEMORY_STORE, new_sealer(3), repo_zip_new(), {{0}}, BUFFER_EMPTY }

static void desk_clear(desk *d) {
  memory_clear(&d->m);
  repo_sealer_free(d->s);
  repo_zip_free(d->z);
  buffer_free(&d->b);
}

static error *save(desk *d, unsigned version, const char *text, size_t size) {
  return repo_unpacked_save(&d->m.store, REPO_SNAPSHOTS, version, d->s, d->z,
                            REPO_LEVEL_AUTO, text, size, &d->id, NULL);
}

static error *load(desk *d, size_t most) {
  buffer_clear(&d->b);
  return repo_unpacked_load(&d->m.store, REPO_SNAPSHOTS, &d->id, d->s, d->z,
                            most, &d->b, NULL);
}

TEST(both_formats) {
  desk d = DESK;
  char text[5000];
  memset(text, ' ', sizeof text);
  for (unsigned version = 1; version <= 2; version++)
    for (int start = 0; start < 2; start++)
      for (size_t n = 1; n <= sizeof text; n += 333) {
        text[0] = start == 0 ? '{' : '[';
        CHECK_GOOD(save(&d, version, text, n));
        memory_file *f = memory_find(&d.m.store, REPO_SNAPSHOTS, &d.id);
        repo_id named;
        repo_id_of(&named, f->data, f->size);
        CHECK(repo_id_equal(&named, &d.id));
        if (version == 1)
          CHECK_INT(f->size, n + REPO_SEAL);
        else if (n > 300)
          CHECK(f->size < n);
        CHECK_GOOD(load(&d, sizeof text));
        CHECK(d.b.size == n && memcmp(d.b.data, text, n) == 0);
      }
  desk_clear(&d);
}

TEST(every_flipped_bit_is_refused) {
  desk d = DESK;
  for (unsigned version = 1; version <= 2; version++) {
    CHECK_GOOD(save(&d, version, "{\"a\":7}", 7));
    memory_file *f = memory_find(&d.m.store, REPO_SNAPSHOTS, &d.id);
    repo_id right = d.id;
    for (size_t bit = 0; bit < 8 * f->size; bit++) {
      f->data[bit / 8] ^= (char)(1u << bit % 8);
      error *e = load(&d, 1000);
      CHECK(e != NULL && strstr(e->message, "snapshot") != NULL);
      CHECK_ERROR(e, SAROS_E_DAMAGED);
      repo_id_of(&f->id, f->data, f->size); /* renamed: then it is the seal */
      d.id = f->id;
      CHECK_ERROR(load(&d, 1000), SAROS_E_DAMAGED);
      d.id = f->id = right;
      f->data[bit / 8] ^= (char)(1u << bit % 8);
    }
  }
  desk_clear(&d);
}

TEST(read_twice_before_it_is_bad) {
  desk d = DESK;
  CHECK_GOOD(save(&d, 2, "{}", 2));
  d.m.loads = 0;
  d.m.bad_loads = 1;
  CHECK_GOOD(load(&d, 1000));
  CHECK_INT(d.m.loads, 2);
  CHECK_TEXT(d.b.data, "{}");
  d.m.bad_loads = 2;
  CHECK_ERROR(load(&d, 1000), SAROS_E_DAMAGED);
  CHECK_INT(d.m.loads, 4);
  d.m.fail_loads = 1; /* the store's own error is the store's to repeat */
  error *e = load(&d, 1000);
  CHECK(e != NULL && e->number == EIO);
  error_unref(e);
  CHECK_INT(d.m.loads, 5);
  d.m.fail_saves = 1;
  e = save(&d, 2, "{ }", 3);
  CHECK(e != NULL && e->number == ENOSPC);
  error_unref(e);
  desk_clear(&d);
}

/* Sealed with the right key, and yet nothing that can be read. */
TEST(payloads) {
  static const struct {
    const char *bytes;
    size_t size;
    const char *text; /* NULL: refused */
  } all[] = {
      {"{}", 2, "{}"},
      {"[1]", 3, "[1]"},
      {"", 0, NULL},
      {" {}", 3, NULL},
      {"\x01{}", 3, NULL},
      {"\x02", 1, NULL},
      {"\x02{}", 3, NULL},
      {"\x03{}", 3, NULL},
      {"\x02\x28\xb5\x2f\xfd\x00\x00\x11\x00\x00{}", 12, "{}"},
      {"\x02\x28\xb5\x2f\xfd\x00\x00\x11\x00\x00{", 11, NULL},
  };
  repo_zip *z = repo_zip_new();
  for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
    buffer b = BUFFER_EMPTY;
    uint8_t *exact = malloc(all[i].size + 1);
    memcpy(exact, all[i].bytes, all[i].size);
    error *e = repo_unpacked_decode(z, exact, all[i].size, 100, &b);
    if (all[i].text != NULL) {
      CHECK_GOOD(e);
      CHECK_TEXT(b.data, all[i].text);
    } else {
      CHECK_ERROR(e, SAROS_E_DAMAGED);
    }
    free(exact);
    buffer_free(&b);
  }
  repo_zip_free(z);
}

TEST(bounded) {
  desk d = DESK;
  size_t size = (size_t)1 << 20;
  char *text = malloc(size);
  memset(text, '{', size);
  CHECK_GOOD(save(&d, 2, text, size)); /* some hundred bytes in the store */
  CHECK_GOOD(load(&d, size));
  CHECK_ERROR(load(&d, size - 1), SAROS_E_DAMAGED);
  CHECK_ERROR(load(&d, 10000), SAROS_E_DAMAGED);
  CHECK_INT(d.b.size, 0);
  free(text);
  desk_clear(&d);
}

#ifdef SAROS_TEST
static bool whole_life(void) {
  memory_store m = MEMORY_STORE;
  repo_key key;
  error *e = NULL;
  buffer b = BUFFER_EMPTY;
  repo_id id;
  repo_config c = {.version = 2, .polynomial = 0x3ff2f8c92e3f5b}, back = {0};
  memset(c.id, 'a', 64);
  c.unknown = value_map();
  memset(&key, 4, sizeof key);
  repo_sealer *s = repo_sealer_new(&key, &e);
  repo_zip *z = repo_zip_new();
  if (c.unknown == NULL || z == NULL ||
      !value_put(c.unknown, "more", value_int(1))) {
    error_unref(e);
    e = error_no_memory();
  }
  if (e == NULL) e = repo_config_save(&c, &m.store, s, false, NULL);
  if (e == NULL) e = repo_config_load(&back, &m.store, s, NULL);
  if (e == NULL)
    e = repo_unpacked_save(&m.store, REPO_INDEXES, 2, s, z, REPO_LEVEL_MAX,
                           "{}", 2, &id, NULL);
  if (e == NULL)
    e = repo_unpacked_load(&m.store, REPO_INDEXES, &id, s, z, 100, &b, NULL);
  bool whole = e == NULL;
  CHECK(whole || e->code == SAROS_E_OUTOFMEMORY);
  CHECK(!whole || (b.size == 2 && back.unknown != NULL));
  error_unref(e);
  buffer_free(&b);
  repo_config_clear(&c);
  repo_config_clear(&back);
  repo_zip_free(z);
  repo_sealer_free(s);
  memory_clear(&m);
  return whole;
}
#endif

TEST(without_memory) {
#ifdef SAROS_TEST
  SWEEP(whole_life, 20);
#else
  SKIP("needs -DSAROS_TEST");
#endif
}

int main(int argc, char **argv) {
  check_begin(argc, argv);
  RUN(config_as_text);
  RUN(unknown_settings_are_kept);
  RUN(config_is_strict);
  RUN(a_new_config);
  RUN(both_formats);
  RUN(every_flipped_bit_is_refused);
  RUN(read_twice_before_it_is_bad);
  RUN(payloads);
  RUN(bounded);
  RUN(without_memory);
  return check_end();
}
