/*
** index_read, index_write: the text of an index file, ours to the byte, and
** whatever else somebody may call one.
**
** not under thread: it has one thread; ASan runs it
*/
#include <stdbool.h>
#include <stdint.h>

#include "base/base.h"
#include "check.h"
#include "repository/crypto.h"
#include "repository/index_parts.h"

#define A "50bbd4ce60bb829e883dbc0ca3d7ac71e250488de76c87d76b6840668159ce0d"
#define B "378fa093c62ce97660fcadbddefcdad0ac3fb9700766f02c1045992f74351aa2"
#define C "07854d2fef297a06ba81685e660c332de36d5d18d546927d30daad6d7fda1541"
#define P "01be58a58471ad8497e461e1e6d4dc5197153ecda845d8abf4e34cc0e7d9bd04"
#define BLOB "{\"id\":\"" A "\",\"type\":\"data\",\"offset\":0,\"length\":52}"

static repo_id id_of(const char *text) {
  repo_id id;
  CHECK(repo_id_parse(&id, text, strlen(text)));
  return id;
}


static bool fine(error *e) {
  if (e != NULL) printf("%s\n", e->message);
  bool none = e == NULL;
  error_unref(e);
  return none;
}


/* From memory of exactly its size, so that a sanitizer sees its end. */
static error *read_bytes(repo_index *x, const char *text, size_t size) {
  repo_id file = id_of(P);
  char *copy = malloc(size > 0 ? size : 1);
  memcpy(copy, text, size);
  error *e = repo_index_read(x, &file, copy, size);
  free(copy);
  return e;
}


static error *read_text(repo_index *x, const char *text) {
  return read_bytes(x, text, strlen(text));
}


static const char whole[] =
    "{\"packs\":[{\"id\":\"" P
    "\",\"blobs\":["
    "{\"id\":\"" A
    "\",\"type\":\"data\",\"offset\":0,\"length\":52,"
    "\"uncompressed_length\":11},"
    "{\"id\":\"" B
    "\",\"type\":\"data\",\"offset\":52,\"length\":4294967295}]},"
    "{\"id\":\"" C
    "\",\"blobs\":["
    "{\"id\":\"" A
    "\",\"type\":\"tree\",\"offset\":4294967295,\"length\":32}]}]}\n";

static void check_whole(repo_index *x) {
  repo_place place;
  repo_id a = id_of(A), b = id_of(B), c = id_of(C), p = id_of(P);
  CHECK_INT(repo_index_count(x), 3);
  CHECK(repo_index_find(x, REPO_DATA, &a, 0, &place));
  CHECK(repo_id_equal(&place.pack, &p) && place.blob.offset == 0 &&
        place.blob.length == 52 && place.blob.plain_length == 11);
  CHECK(repo_index_find(x, REPO_DATA, &b, 0, &place));
  CHECK(repo_id_equal(&place.pack, &p) && place.blob.offset == 52 &&
        place.blob.length == UINT32_MAX && place.blob.plain_length == 0);
  CHECK(repo_index_find(x, REPO_TREE, &a, 0, &place));
  CHECK(repo_id_equal(&place.pack, &c) && place.blob.offset == UINT32_MAX &&
        place.blob.length == 32 && place.blob.type == REPO_TREE);
}


static error *write_pack(void *context, const repo_id *pack,
                         const repo_blob *blobs, size_t count) {
  repo_index_text_add(context, pack, blobs, count);
  return NULL;
}


TEST(to_the_byte) {
  repo_index *x = repo_index_new();
  repo_index_text t = {.json = BUFFER_EMPTY};
  CHECK(fine(read_text(x, whole)));
  check_whole(x);
  CHECK(fine(read_text(x, whole))); /* again: nothing new */
  check_whole(x);
  CHECK(fine(repo_index_packs(x, write_pack, &t)));
  repo_index_text_end(&t);
  CHECK_INT(t.blobs, 3);
  CHECK_TEXT(t.json.data, whole);
  buffer_free(&t.json);
  repo_index_free(x);
}


TEST(of_nothing) {
  static const char *const texts[] = {
      "{\"packs\":[]}\n",
      "{}",
      " { } ",
      "{\"packs\":null}",
      "{\"packs\":[{\"id\":\"" P "\",\"blobs\":null}]}",
      "{\"packs\":[{\"blobs\":[],\"id\":\"" P "\"}]}",
      "{\"packs\":[{\"id\":\"" P "\"}]}"};
  repo_index_text t = {.json = BUFFER_EMPTY};
  for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
    repo_index *x = repo_index_new();
    CHECK(fine(read_text(x, texts[i])));
    CHECK_INT(repo_index_count(x), 0);
    repo_index_free(x);
  }
  repo_index_text_end(&t);
  CHECK_TEXT(t.json.data, "{\"packs\":[]}\n");
  buffer_free(&t.json);
}


/* What others write, or may write one day. */
TEST(others) {
  repo_index *x = repo_index_new();
  CHECK(fine(read_text(
      x, " \t\r\n{ \"supersedes\" : [ \"" A
         "\" ] ,\"packs_to_delete\":[{\"id\":\"" B
         "\",\"time\":\"2024-01-01T00:00:00Z\",\"blobs\":[" BLOB
         "]}],\n\"new\\u00e9\\n\":{\"a\":[1,-2.5e+3,0.1E-7,0,true,false,null,"
         "\"\\\"\"],"
         "\"b\":{}},\"packs\":[ { \"size\" : 1 , \"blobs\" : [ "
         "{ \"uncompressed_length\" : 11 , \"length\" : 52 , \"more\":[[]] ,"
         "\"offset\" : 0 , \"type\" : \"data\" , \"id\" : \"" A
         "\" } , {\"id\":\"" B
         "\",\"type\":\"data\",\"offset\":52,\"length\":4294967295,"
         "\"uncompressed_length\":0}] , \"id\" : \"" P "\" },{\"id\":\"" C
         "\",\"blobs\":[{\"id\":\"" A
         "\",\"type\":\"tree\",\"offset\":4294967295,\"length\":32}]} ] }  ")));
  check_whole(x);
  repo_index_free(x);
}


#define IN_PACK(text) "{\"packs\":[{\"id\":\"" P "\"," text "}]}"
#define IN_BLOB(text) IN_PACK("\"blobs\":[{" text "}]")
#define REST ",\"type\":\"data\",\"offset\":0,\"length\":52"

TEST(hostile) {
  static const char *const texts[] = {
      "",
      " ",
      "null",
      "1",
      "\"\"",
      "[",
      "[]",
      "{",
      "}",
      "{]",
      "{\"packs\"}",
      "{\"packs\":}",
      "{\"packs\":[}",
      "{\"packs\":[{}]}",
      "{\"packs\":[],}",
      "{\"packs\":[]}}",
      "{\"packs\":[]} x",
      "{\"packs\":{}}",
      "{\"packs\":[null]}",
      "{\"packs\":[1]}",
      "{,\"packs\":[]}",
      "{\"packs\":[],\"packs\":[]}",
      "{\"packs\":nul}",
      "{\"x\":tru}",
      "{\"x\":01}",
      "{\"x\":-}",
      "{\"x\":1.}",
      "{\"x\":1e}",
      "{\"x\":+1}",
      "{\"x\":.5}",
      "{\"x\":\"\\x\"}",
      "{\"x\":\"\\u12g4\"}",
      "{\"x\":\"\\u12\"}",
      "{\"x\":\"\\",
      "{\"x\":\"\n\"}",
      "{\"x\":\"",
      "{\"x\":[1,]}",
      "{\"x\":{1:2}}",
      "{\"x\":{\"a\":1,}}",
      "{\"x\":[1 2]}",
      "{\"x\":{\"a\" 1}}",
      "{\"x\":'a'}",
      "{x:1}",
      "{\"packs\":[{\"id\":\"" A "\"},]}",
      IN_PACK("\"id\":\"" A "\""),
      IN_PACK("\"blobs\":{}"),
      IN_PACK("\"blobs\":[],\"blobs\":[]"),
      IN_PACK("\"blobs\":[null]"),
      IN_PACK("\"blobs\":[" BLOB ",]"),
      IN_PACK("\"blobs\":[,]"),
      "{\"packs\":[{\"id\":null,\"blobs\":[]}]}",
      "{\"packs\":[{\"blobs\":[" BLOB "]}]}",
      IN_BLOB(""),
      IN_BLOB("\"id\":\"" A "\"" REST ",\"id\":\"" B "\""),
      IN_BLOB("\"id\":\"" A "\"" REST ",\"offset\":0"),
      IN_BLOB("\"id\":\"" A "\",\"type\":\"data\",\"offset\":0"),
      IN_BLOB("\"id\":\"" A "\",\"type\":\"data\",\"length\":52"),
      IN_BLOB("\"id\":\"" A "\",\"offset\":0,\"length\":52"),
      IN_BLOB("\"type\":\"data\",\"offset\":0,\"length\":52"),
      IN_BLOB("\"id\":\"\"" REST),
      IN_BLOB("\"id\":1" REST),
      IN_BLOB("\"id\":\"" A "0\"" REST),
      IN_BLOB("\"id\":\"0bbd4ce60bb829e883dbc0ca3d7ac71e250488de76c87d76b68406"
              "68159ce0d\"" REST),
      IN_BLOB("\"id\":\"50BBD4ce60bb829e883dbc0ca3d7ac71e250488de76c87d76b6840"
              "668159ce0d\"" REST),
      IN_BLOB("\"id\":\"\\u0035\\u0030bbd4ce60bb829e883dbc0ca3d7ac71e250488de7"
              "6c87d76b68\"" REST),
#define WITH(type, offset, length)                                \
  IN_BLOB("\"id\":\"" A "\",\"type\":" type ",\"offset\":" offset \
          ",\"length\":" length)
      WITH("\"blob\"", "0", "52"),
      WITH("\"datas\"", "0", "52"),
      WITH("\"\"", "0", "52"),
      WITH("0", "0", "52"),
      WITH("null", "0", "52"),
      WITH("\"data\"", "-1", "52"),
      WITH("\"data\"", "4294967296", "52"),
      WITH("\"data\"", "18446744073709551616", "52"),
      WITH("\"data\"", "99999999999999999999999999999999", "52"),
      WITH("\"data\"", "1.0", "52"),
      WITH("\"data\"", "1e2", "52"),
      WITH("\"data\"", "00", "52"),
      WITH("\"data\"", "\"0\"", "52"),
      WITH("\"data\"", "null", "52"),
      WITH("\"data\"", "0", "31"),
      WITH("\"data\"", "0", "0"),
      WITH("\"data\"", "0", "4294967296"),
      WITH("\"data\"", "0", "052"),
      WITH("\"data\"", "", "52"),
      WITH("\"data\"", "0", "52,\"uncompressed_length\":4294967296"),
      WITH("\"data\"", "0", "52,\"uncompressed_length\":-1")};
  for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
    repo_index *x = repo_index_new();
    error *e = read_text(x, texts[i]);
    if (e == NULL || e->code != SAROS_E_DAMAGED) {
      printf("taken: %s\n", texts[i]);
      CHECK(false);
    } else {
      CHECK(strstr(e->message, "index 01be58a5 is damaged at byte") != NULL);
    }
    error_unref(e);
    repo_index_free(x);
  }
  repo_index *x = repo_index_new();
  error *e = read_bytes(x, "{\"x\":\"\\\0\"}", 10); /* a NUL is no escape */
  CHECK(e != NULL && e->code == SAROS_E_DAMAGED);
  error_unref(e);
  repo_index_free(x);
}


/* Each shorter text is none. */
TEST(every_prefix) {
  for (size_t size = 0; size < sizeof whole - 2; size++) {
    repo_index *x = repo_index_new();
    error *e = read_bytes(x, whole, size);
    CHECK(e != NULL && e->code == SAROS_E_DAMAGED);
    CHECK(repo_index_count(x) <= 3);
    error_unref(e);
    repo_index_free(x);
  }
}


TEST(nesting) {
  repo_index *x = repo_index_new();
  for (size_t depth = 30; depth < 100000; depth *= 3) {
    buffer b = BUFFER_EMPTY;
    buffer_text(&b, "{\"x\":");
    for (size_t i = 0; i < depth; i++) buffer_byte(&b, '[');
    for (size_t i = 0; i < depth; i++) buffer_byte(&b, ']');
    buffer_text(&b, "}");
    error *e = read_bytes(x, b.data, b.size);
    CHECK((e == NULL) == (depth <= 32));
    error_unref(e);
    buffer_free(&b);
  }
  repo_index_free(x);
}


/* A legacy index has a message of its own. */
TEST(legacy) {
  repo_index *x = repo_index_new();
  error *e = read_text(x, "[{\"id\":\"" P "\",\"blobs\":[]}]");
  CHECK(e != NULL && strstr(e->message, "restic before 0.2") != NULL);
  error_unref(e);
  repo_index_free(x);
}


/* What came before the damage is there. */
TEST(until_the_damage) {
  repo_index *x = repo_index_new();
  repo_id a = id_of(A);
  repo_place place;
  error *e = read_text(x, "{\"packs\":[{\"id\":\"" P "\",\"blobs\":[" BLOB
                          "]},{\"id\":\"" C "\",\"blobs\":[" BLOB ",");
  CHECK(e != NULL && e->code == SAROS_E_DAMAGED);
  CHECK_INT(repo_index_count(x), 1);
  CHECK(repo_index_find(x, REPO_DATA, &a, 0, &place));
  error_unref(e);
  repo_index_free(x);
}


/* A text of many packs, and back. */
TEST(many) {
  repo_index *x = repo_index_new(), *y = repo_index_new();
  repo_index_text t = {.json = BUFFER_EMPTY}, u = {.json = BUFFER_EMPTY};
  repo_blob blobs[20];
  for (uint64_t p = 0; t.blobs < REPO_INDEX_FULL; p++) {
    repo_id pack;
    for (uint64_t i = 0; i < 20; i++) {
      uint64_t n = p * 20 + i;
      blobs[i] = (repo_blob){.type = p % 5 == 0,
                             .offset = (uint32_t)(i * 1000000007),
                             .length = (uint32_t)(n % 1000 * 4293 + 32),
                             .plain_length = (uint32_t)(n % 4 * 99999)};
      repo_id_of(&blobs[i].id, &n, sizeof n);
    }
    repo_id_of(&pack, &p, sizeof p);
    repo_index_text_add(&t, &pack, blobs, 20);
  }
  repo_index_text_end(&t);
  CHECK(!t.json.failed);
  CHECK(fine(read_bytes(x, t.json.data, t.json.size)));
  CHECK_INT(repo_index_count(x), REPO_INDEX_FULL);
  CHECK(fine(repo_index_packs(x, write_pack, &u)));
  repo_index_text_end(&u);
  CHECK(fine(read_bytes(y, u.json.data, u.json.size)));
  CHECK_INT(repo_index_count(y), REPO_INDEX_FULL);
  CHECK_INT(t.json.size, u.json.size);
  buffer_free(&t.json);
  buffer_free(&u.json);
  repo_index_free(x);
  repo_index_free(y);
}


TEST(no_memory) {
  long before = mem_blocks(), left = 0;
  for (long n = 1; left == 0 && n < 1000; n++) {
    repo_index *x = repo_index_new();
    mem_fail_at(n);
    error *e = read_text(x, whole);
    left = mem_fail_left();
    mem_fail_at(0);
    CHECK((e == NULL) == (left > 0));
    CHECK(e == NULL || e->code == SAROS_E_OUTOFMEMORY);
    error_unref(e);
    CHECK(fine(read_text(x, whole)));
    check_whole(x);
    repo_index_free(x);
  }
  CHECK(left > 0);
  for (long n = 1; n < 4; n++) {
    repo_index_text t = {.json = BUFFER_EMPTY};
    repo_id pack = id_of(P);
    repo_blob blob = {.length = 40};
    mem_fail_at(n);
    for (int i = 0; i < 100; i++) repo_index_text_add(&t, &pack, &blob, 1);
    repo_index_text_end(&t);
    CHECK(t.json.failed);
    mem_fail_at(0);
    buffer_free(&t.json);
  }
  CHECK_INT(mem_blocks(), before);
}


int main(int argc, char **argv) {
  check_begin(argc, argv);
  RUN(to_the_byte);
  RUN(of_nothing);
  RUN(others);
  RUN(hostile);
  RUN(every_prefix);
  RUN(nesting);
  RUN(legacy);
  RUN(until_the_damage);
  RUN(many);
  RUN(no_memory);
  return check_end();
}
