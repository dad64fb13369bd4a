/*
** The backup components document: what is written is read back as it was;
** what is damaged or of another shape is refused, with where and what.
*/
#include "record_case.h"
#include "test_base_sweep.h"
#include "vss/document.h"

#define ID1 "11111111-1111-4111-8111-111111111111"
#define ID2 "22222222-2222-4222-8222-222222222222"
#define ID3 "33333333-3333-4333-8333-333333333333"
#define SET "55555555-5555-4555-8555-555555555555"

#define RECORD(id)                                                        \
  "{\"version\":1,\"id\":\"" id "\",\"set\":\"" SET                       \
  "\",\"count\":2,"                                                       \
  "\"state\":\"created\",\"provider\":\"btrfs\",\"keep\":{\"a\":[1,2]},"  \
  "\"attributes\":41,\"original\":\"/srv/a\",\"path\":\"/srv/.saros/a\"," \
  "\"created\":\"2026-11-21T14:30:49.123+01:00\","                        \
  "\"created_100ns\":134400000000000000,\"owner\":{\"pid\":7},"           \
  "\"persistent\":true,\"warnings\":[\"nested\"]}"

static const char text[] =
    "{\"format\":\"saros.backup_components\",\"version\":1,"
    "\"mode\":\"backup\",\"context\":9,\"attributes\":41,"
    "\"machine\":\"here\",\"created\":\"2026-11-21T14:30:49Z\","
    "\"set\":\"" SET "\","
    "\"backup\":{\"type\":\"full\",\"select_components\":true,"
    "\"bootable_system_state\":false,\"partial_files\":false},"
    "\"snapshots\":[" RECORD(ID1) "," RECORD(ID2) "],"
    "\"writers\":[{\"id\":\"" ID1 "\",\"instance\":\"" ID2 "\","
    "\"name\":\"postgres\",\"metadata\":{\"id\":\"" ID1 "\",\"more\":1.5,"
    "\"components\":[{\"type\":\"database\",\"name\":\"main\","
    "\"files\":[\"/srv/pg\"],\"exclude\":[\"*.tmp\"]}]},"
    "\"components\":[{\"name\":\"main\",\"logical_path\":\"a\","
    "\"type\":\"database\",\"selected\":true,\"succeeded\":null,"
    "\"options\":\"x\",\"stamp\":\"LSN 0/1\",\"restore\":{\"to\":1}},"
    "{\"name\":\"main\",\"type\":\"filegroup\",\"selected\":false}]},"
    "{\"id\":\"" ID1 "\",\"instance\":\"" ID3 "\",\"name\":\"postgres\","
    "\"components\":[],\"said\":{\"position\":\"0/1\",\"n\":[1,{}]}}]}";

static value *right(void) {
  error *e = NULL;
  value *doc = document_parse(text, sizeof text - 1, &e);
  CHECK_CODE(e, 0);
  CHECK(doc != NULL);
  return doc;
}

static value *at(value *doc, const char *name) {
  return (value *)(uintptr_t)value_get(doc, name);
}

static value *first(value *doc, const char *name) {
  return at(doc, name)->as.items[0];
}

/* Written and read back; the text is the same for the same. */
static void check_exact(const value *doc) {
  buffer a = BUFFER_EMPTY, b = BUFFER_EMPTY;
  error *e = NULL;
  buffer_text(&a, ""); /* what is there before stays */
  CHECK_CODE(document_write(doc, &a), 0);
  value *back = document_parse(a.data, a.size, &e);
  CHECK_CODE(e, 0);
  CHECK(back != NULL && value_equal(back, doc));
  if (back != NULL) CHECK_CODE(document_write(back, &b), 0);
  CHECK(a.size == b.size && memcmp(a.data, b.data, a.size) == 0);
  value_free(back);
  buffer_free(&a);
  buffer_free(&b);
}

TEST(written_and_read) {
  value *doc = right();
  check_exact(doc);
  record_put_text(first(doc, "snapshots"), "original", "/\xFF\\odd\n");
  record_put_text(first(doc, "writers"), "name", "\xC3\x28");
  record_put_text(at(first(doc, "writers"), "metadata"), "note", "\x80");
  value *files =
      at(at(first(doc, "writers"), "metadata"), "components")->as.items[0];
  value_add(at(files, "files"), value_text("/\xFE"));
  check_exact(doc);
  value_put(doc, "set", value_null()); /* nothing was taken */
  value_put(doc, "snapshots", value_list());
  value_put(doc, "writers", value_list());
  check_exact(doc);
  value_free(doc);
}

/* Refused when it is read and when it is written, in the same words. */
static void check_invalid(value *doc, const char *word) {
  buffer b = BUFFER_EMPTY, out = BUFFER_EMPTY;
  error *e = NULL;
  json_write(&b, doc, JSON_COMPACT);
  value *read = document_parse(b.data, b.size, &e);
  CHECK(read == NULL && e != NULL);
  if (e != NULL && strstr(e->message, word) == NULL)
    printf("'%s' is not in: %s\n", word, e->message);
  CHECK(e != NULL && strstr(e->message, word) != NULL);
  CHECK_CODE(e, VSS_E_INVALID_XML_DOCUMENT);
  CHECK_CODE(document_write(doc, &out), VSS_E_INVALID_XML_DOCUMENT);
  CHECK_INT(out.size, 0);
  value_free(read);
  value_free(doc);
  buffer_free(&b);
  buffer_free(&out);
}

/* A right one with a field changed, in a map on the way. */
static void check_field(const char *way, const char *name, value *item,
                        const char *word) {
  value *doc = right(), *map = doc;
  if (strcmp(way, "snapshot") == 0) map = first(doc, "snapshots");
  if (strcmp(way, "writer") == 0) map = first(doc, "writers");
  if (strcmp(way, "backup") == 0) map = at(doc, "backup");
  if (strcmp(way, "component") == 0)
    map = first(first(doc, "writers"), "components");
  if (strcmp(way, "said") == 0)
    map = first(at(first(doc, "writers"), "metadata"), "components");
  value_put(map, name, item);
  check_invalid(doc, word);
}

static value *one_text(const char *one) {
  value *list = value_list();
  value_add(list, value_text(one));
  return list;
}

TEST(of_another_shape) {
  check_field("", "format", value_text("x"), "format is 'x'");
  check_field("", "format", value_int(1), "format is not a text");
  check_field("", "version", value_int(2), "newer saros: its version is 2");
  check_field("", "version", value_int(0), "version is 0");
  check_field("", "version", value_text("1"), "version is not an integer");
  check_field("", "mode", value_text("restore"), "mode is 'restore'");
  check_field("", "context", value_int(-1), "context is -1");
  check_field("", "attributes", value_int(1LL << 40), "attributes is");
  check_field("", "set", value_text("{" SET "}"), "not a GUID");
  check_field("", "set", value_text(ID1), "of another set");
  check_field("", "set", value_null(), "of another set");
  check_field("", "machine", value_map(), "machine is not a text");
  check_field("", "created", value_text("today"), "created is 'today'");
  check_field("", "snapshots", value_map(), "snapshots is not a list");
  check_field("", "writers", value_null(), "writers is not a list");
  check_field("", "writers", one_text("x"), "writers[0] is not a map");
  check_field("backup", "type", value_text("half"), "backup.type is 'half'");
  check_field("backup", "partial_files", value_int(1),
              "backup.partial_files is neither true nor false");
  check_field("snapshot", "id", value_text("7"), "snapshots[0].id is '7'");
  check_field("snapshot", "id", value_text(ID2), "snapshots[1] is there twice");
  check_field("snapshot", "original", value_text("srv"), "an absolute path");
  check_field("snapshot", "path", value_text("../x"), "an absolute path");
  check_field("snapshot", "path", value_null(), "path is missing");
  check_field("snapshot", "count", value_int(65), "count is 65");
  check_field("snapshot", "count", value_int(0), "count is 0");
  check_field("snapshot", "keep", value_null(), "keep is not a map");
  check_field("snapshot", "state", value_text("lost"), "state is 'lost'");
  check_field("writer", "id", value_text(""), "writers[0].id is ''");
  check_field("writer", "instance", value_text(ID3),
              "writers[1] is there twice");
  check_field("writer", "name", value_text(""), "writers[0].name is empty");
  check_field("writer", "name", value_string("a\0b", 3), "NUL");
  check_field("writer", "components", value_null(), "is not a list");
  check_field("component", "name", value_int(3), "components[0].name is not");
  check_field("component", "type", value_text("thing"), "type is 'thing'");
  check_field("component", "selected", value_null(), "selected is neither");
  check_field("component", "logical_path", value_null(),
              "writers[0].components[1] is there twice");
  check_field("component", "restore", value_list(), "restore is not a map");
  check_field("writer", "said", value_int(1), "said is not a map");
  value *odd = value_map();
  value_put(odd, "__class", value_text("x"));
  check_field("writer", "said", odd, "writers[0].said: what the writer said");
  check_field("said", "files", one_text("etc"), "files[0] is 'etc'");
  check_field("said", "files", one_text("\x1B[31m/x"), "files[0] is '\\x1b");
}

TEST(no_map_at_all) {
  check_invalid(value_null(), "it is not a map");
  check_invalid(value_list(), "it is not a map");
  check_invalid(value_text("saros.backup_components"), "it is not a map");
  check_invalid(value_map(), "format is missing");
}

TEST(what_is_needed) {
  static const char *const names[] = {
      "format",  "version", "mode",   "context",   "attributes",
      "machine", "created", "backup", "snapshots", "writers"};
  for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
    value *doc = right(), *less = value_map();
    char word[64];
    for (uint32_t k = 0; k < doc->count; k++)
      if (strcmp(doc->as.fields[k].name, names[i]) != 0)
        value_put(less, doc->as.fields[k].name,
                  value_copy(doc->as.fields[k].item));
    snprintf(word, sizeof word, "%s is missing", names[i]);
    value_free(doc);
    check_invalid(less, word);
  }
}

TEST(too_many_volumes) {
  value *doc = right(), *list = value_list();
  for (int i = 0; i < 64; i++) {
    value *r = value_copy(first(doc, "snapshots"));
    char id[GUID_TEXT];
    new_id(id);
    record_put_text(r, "id", id);
    value_add(list, r);
  }
  value *more = value_copy(first(doc, "snapshots"));
  value_put(doc, "snapshots", list);
  check_exact(doc); /* as many as there may be */
  value_add(list, more);
  check_invalid(doc, "snapshots has 65 items");
}


/* ------------------------------------------------------------------
** Damage
** ---------------------------------------------------------------- */

static void check_corrupt(const char *damaged, size_t size) {
  error *e = NULL;
  value *doc = document_parse(damaged, size, &e);
  CHECK(doc == NULL);
  CHECK_CODE(e, VSS_E_CORRUPT_XML_DOCUMENT);
  value_free(doc);
}

TEST(damaged) {
  for (size_t i = 0; i < sizeof text - 1; i++) check_corrupt(text, i);
  check_corrupt("<?xml version=\"1.0\"?>", 21);
  check_corrupt("\xEF\xBB\xBF{}", 5);
  buffer b = BUFFER_EMPTY;
  for (int i = 0; i < 200000; i++) buffer_byte(&b, i % 2 == 0 ? '[' : ' ');
  check_corrupt(b.data, b.size);
  buffer_clear(&b);
  buffer_text(&b, "{\"format\":\"saros.backup_components\",\"x\":");
  for (int i = 0; i < 50; i++) buffer_byte(&b, '[');
  for (int i = 0; i < 50; i++) buffer_byte(&b, ']');
  buffer_byte(&b, '}');
  check_corrupt(b.data, b.size); /* deeper than it may be */
  buffer_free(&b);
}

/* Every bit of it, one by one: an error, or a right one, if another. */
TEST(flipped) {
  value *doc = right();
  char copy[sizeof text];
  unsigned corrupt = 0, invalid = 0, another = 0;
  memcpy(copy, text, sizeof text);
  for (size_t i = 0; i < sizeof text - 1; i++) {
    for (int bit = 0; bit < 8; bit++) {
      error *e = NULL;
      copy[i] = (char)(copy[i] ^ (1 << bit));
      value *read = document_parse(copy, sizeof text - 1, &e);
      if (read != NULL) {
        CHECK(e == NULL);
        check_exact(read);
        CHECK(!value_equal(read, doc));
        another++;
      } else {
        uint32_t code = e->code;
        CHECK(code == VSS_E_CORRUPT_XML_DOCUMENT ||
              code == VSS_E_INVALID_XML_DOCUMENT);
        code == VSS_E_CORRUPT_XML_DOCUMENT ? corrupt++ : invalid++;
      }
      error_unref(e);
      value_free(read);
      copy[i] = text[i];
    }
  }
  CHECK(corrupt > 1000 && invalid > 1000 && another > 100);
  value_free(doc);
}

/* Values that JSON has no words for. */
TEST(not_exact) {
  value *doc = right();
  buffer out = BUFFER_EMPTY;
  double infinite = 1e308;
  value_put(doc, "x", value_real(infinite * 10));
  error *e = document_write(doc, &out);
  CHECK(e != NULL && strstr(e->message, "exactly") != NULL);
  CHECK_CODE(e, VSS_E_INVALID_XML_DOCUMENT);
  value *deep = value_list();
  for (int i = 0; i < 100; i++) {
    value *list = value_list();
    value_add(list, deep);
    deep = list;
  }
  value_put(doc, "x", deep);
  CHECK_CODE(document_write(doc, &out), VSS_E_INVALID_XML_DOCUMENT);
  CHECK_INT(out.size, 0);
  value_free(doc);
}

static bool read_and_write(void) {
  error *e = NULL;
  buffer out = BUFFER_EMPTY;
  value *doc = document_parse(text, sizeof text - 1, &e);
  if (doc != NULL) {
    record_put_text(first(doc, "snapshots"), "original", "/\xFF");
    error_unref(e);
    e = document_write(doc, &out);
  }
  bool good = doc != NULL && e == NULL;
  CHECK(good || e->code == SAROS_E_OUTOFMEMORY);
  error_unref(e);
  value_free(doc);
  buffer_free(&out);
  return good;
}

TEST(memory_runs_out) {
  SWEEP(read_and_write, 500);
}


static void all(void) {
  RUN(written_and_read);
  RUN(of_another_shape);
  RUN(no_map_at_all);
  RUN(what_is_needed);
  RUN(too_many_volumes);
  RUN(damaged);
  RUN(flipped);
  RUN(not_exact);
  RUN(memory_runs_out);
}

int main(int argc, char **argv) {
  return record_main(argc, argv, all);
}
