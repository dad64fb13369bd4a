/*
** Trees: what restic wrote is written again with the same hash; what is
** hostile is refused, with a sentence; a tree larger than a pack is read in the
** memory of one node.
*/
#include "repository/tree.h"
#include "test_base_sweep.h"

/* Three trees that restic 0.14 wrote, and their ids. */
static const struct {
  const char *id, *json;
} real[] = {
    {"ac08ce34ba4f8123618661bef2425f7028ffb9ac740578a3ee88684d2523fee8",
     "{\"nodes\":[]}\n"},
    {"266696c50e44da4c5d3309dbb72ed3b18225ccbf719513f800df7387296399b4",
     "{\"nodes\":[{\"name\":\"hard.txt\",\"type\":\"file\",\"mode\":420,"
     "\"mtime\":\"2024-02-29T13:34:56.789012345+01:00\","
     "\"atime\":\"2024-02-29T13:34:56.789012345+01:00\","
     "\"ctime\":\"2026-11-21T10:08:03.948651802+01:00\",\"uid\":0,\"gid\":0,"
     "\"user\":\"root\",\"group\":\"root\",\"inode\":12410892,"
     "\"device_id\":65024,\"size\":12,\"links\":2,\"content\":["
     "\"378fa093c62ce97660fcadbddefcdad0ac3fb9700766f02c1045992f74351aa2\"]}]}"
     "\n"},
    {"fc16029e13ffa23dd7813eb98f663f542b0085606b46f555898997f2f03a3e7d",
     "{\"nodes\":[{\"name\":\"inner.txt\",\"type\":\"file\",\"mode\":420,"
     "\"mtime\":\"1970-01-01T00:59:58.5+01:00\","
     "\"atime\":\"1970-01-01T00:59:58.5+01:00\","
     "\"ctime\":\"2026-11-21T10:08:12.364651408+01:00\",\"uid\":0,\"gid\":0,"
     "\"user\":\"root\",\"group\":\"root\",\"inode\":12410907,"
     "\"device_id\":65024,\"size\":6,\"links\":1,\"content\":["
     "\"940a68104d3b690442453f4be394b0a14721a174127d84c1c2f834b7ad05d684\"]},"
     "{\"name\":\"sub\",\"type\":\"dir\",\"mode\":2147484141,"
     "\"mtime\":\"2024-02-29T13:34:56.789012345+01:00\","
     "\"atime\":\"2024-02-29T13:34:56.789012345+01:00\","
     "\"ctime\":\"2026-11-21T10:08:03.948651802+01:00\",\"uid\":0,\"gid\":0,"
     "\"user\":\"root\",\"group\":\"root\",\"inode\":12410888,"
     "\"device_id\":65024,\"content\":null,\"subtree\":"
     "\"266696c50e44da4c5d3309dbb72ed3b18225ccbf719513f800df7387296399b4\"}]}"
     "\n"},
};

/* Reads a tree and writes it. False, with *e: it cannot be read. */
static bool again(const char *json, size_t size, buffer *out, error **e) {
  const char *text = NULL;
  size_t length = 0;
  repo_node n;
  repo_tree_reader *r = repo_tree_reader_new(json, size);
  repo_tree_text *t = repo_tree_text_new();
  *e = r == NULL || t == NULL ? error_no_memory() : NULL;
  while (*e == NULL && repo_tree_reader_next(r, &n, e))
    *e = repo_tree_text_add(t, &n);
  if (*e == NULL) *e = repo_tree_text_end(t, &text, &length);
  if (*e == NULL) buffer_put(out, text, length);
  if (*e == NULL && out->failed) *e = error_no_memory();
  repo_tree_reader_free(r);
  repo_tree_text_free(t);
  return *e == NULL;
}

TEST(what_restic_wrote) {
  for (size_t i = 0; i < sizeof real / sizeof real[0]; i++) {
    buffer b = BUFFER_EMPTY;
    error *e;
    CHECK(again(real[i].json, strlen(real[i].json), &b, &e));
    CHECK_TEXT(b.data, real[i].json);
    repo_id id;
    char text[REPO_ID_TEXT];
    repo_id_of(&id, b.data, b.size);
    repo_id_format(&id, text);
    CHECK_TEXT(text, real[i].id);
    error_unref(e);
    buffer_free(&b);
  }
}

#define HEX "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

/* Everything there is, in restic's order. */
static const char everything[] =
    "{\"nodes\":[{\"name\":\"a\\\\xff\\u003c\",\"type\":\"symlink\","
    "\"mode\":134218239,\"mtime\":\"0000-01-01T00:00:00Z\","
    "\"atime\":\"9999-12-31T23:59:59.999999999-12:00\","
    "\"ctime\":\"2024-02-29T00:00:00.1+05:30\",\"uid\":4294967295,"
    "\"gid\":4294967294,\"user\":\"\\u0001\",\"group\":\"g\\\"\","
    "\"inode\":18446744073709551615,\"device_id\":18446744073709551614,"
    "\"size\":18446744073709551613,\"links\":3,\"linktarget\":\"x\\ufffd\","
    "\"linktarget_raw\":\"eP8=\",\"extended_attributes\":[{\"name\":\"user.a\","
    "\"value\":\"\"},{\"name\":\"user.b\",\"value\":\"AAE=\"}],"
    "\"generic_attributes\":{\"windows.x\":[1,{\"y\":null}]},\"device\":5,"
    "\"content\":[\"" HEX "\",\"" HEX "\"],\"subtree\":\"" HEX
    "\","
    "\"error\":\"it was\"}]}\n";

TEST(every_field) {
  buffer b = BUFFER_EMPTY;
  error *e = NULL;
  CHECK(again(everything, strlen(everything), &b, &e));
  if (e != NULL) printf("%s\n", e->message);
  CHECK_TEXT(b.data, everything);
  buffer_free(&b);
  repo_tree_reader *r = repo_tree_reader_new(everything, strlen(everything));
  repo_node n;
  CHECK(repo_tree_reader_next(r, &n, &e));
  CHECK_INT(n.name_size, 3);
  CHECK(memcmp(n.name, "a\xFF<", 4) == 0);
  CHECK_INT(n.target_size, 2);
  CHECK(memcmp(n.target, "x\xFF", 3) == 0);
  CHECK_INT(n.attribute_count, 2);
  CHECK_TEXT(n.attributes[1].name, "user.b");
  CHECK(n.attributes[1].size == 2 &&
        memcmp(n.attributes[1].data, "\0\1", 2) == 0);
  CHECK_INT(n.attributes[0].size, 0);
  CHECK_INT(n.content_count, 2);
  CHECK(n.has_content && n.has_subtree);
  CHECK_INT(n.mode, 0777);
  CHECK_INT(n.ctime_zone, 19800);
  CHECK_TEXT(n.error_text, "it was");
  CHECK(!repo_tree_reader_next(r, &n, &e) && e == NULL);
  CHECK(!repo_tree_reader_next(r, &n, &e) && e == NULL);
  repo_tree_reader_free(r);
}

/* What is passed over: unknown fields anywhere, white space, other types. */
TEST(what_is_unknown) {
  static const char json[] =
      " { \"future\" : [ [ {} , [] ] , { \"a\" : { \"nodes\" : 1e5 } } ] ,"
      "\"nodes\" : [ {\"type\":\"whiteout\",\"x\":-1.5E+3,\"name\":\"n\","
      "\"y\":{\"name\":[true,false,null,\"\\ud83d\\ude00\"]}, \"mode\":"
      "1073742244 , \"content\" : null } ] , \"more\" : \"\" } \n\t ";
  repo_tree_reader *r = repo_tree_reader_new(json, strlen(json));
  repo_node n;
  error *e;
  CHECK(repo_tree_reader_next(r, &n, &e));
  if (e != NULL) printf("%s\n", e->message);
  CHECK_TEXT(n.name, "n");
  CHECK_INT(n.type, REPO_NODE_OTHER);
  CHECK_INT(n.mode, 0644);
  CHECK(!n.has_content && !n.has_subtree);
  CHECK_INT(n.mtime.tv_sec, -62135596800);
  CHECK(!repo_tree_reader_next(r, &n, &e) && e == NULL);
  repo_tree_reader_free(r);
}


/* ------------------------------------------------------------------
** What is hostile
** ---------------------------------------------------------------- */

static bool is_refused(const char *json, size_t size) {
  repo_tree_reader *r = repo_tree_reader_new(json, size);
  repo_node n;
  error *e = NULL;
  while (repo_tree_reader_next(r, &n, &e)) continue;
  bool refused = e != NULL && e->code == SAROS_E_DAMAGED &&
                 strstr(e->message, "check the repository") != NULL;
  error_unref(e);
  /* It stays so. */
  if (refused) {
    refused = !repo_tree_reader_next(r, &n, &e) && e != NULL;
    error_unref(e);
  }
  repo_tree_reader_free(r);
  return refused;
}

static void check_refused(const char *json) {
  if (is_refused(json, strlen(json))) return;
  printf("not refused: %s\n", json);
  check_bad++;
}

#define NODE(fields) \
  "{\"nodes\":[{\"name\":\"n\",\"type\":\"file\"" fields "}]}"
#define NAMED(name) "{\"nodes\":[{\"name\":\"" name "\",\"type\":\"file\"}]}"

TEST(hostile_names) {
  check_refused(NAMED(""));
  check_refused(NAMED("."));
  check_refused(NAMED(".."));
  check_refused(NAMED("/"));
  check_refused(NAMED("a/b"));
  check_refused(NAMED("../x"));
  check_refused(NAMED("a\\\\x00b"));
  check_refused(NAMED("a\\u0000b"));
  check_refused(NAMED("\\\\x2e\\\\x2e"));
  check_refused(NAMED("\\\\u002e"));
  check_refused(NAMED("a\\\\x2fb"));
  check_refused(NAMED("a\\\\057b"));
  check_refused(NAMED("\\\\q"));
  check_refused(NAMED("\\n"));
  check_refused(NAMED("\\\""));
  check_refused("{\"nodes\":[{\"type\":\"file\"}]}");
  check_refused("{\"nodes\":[{\"name\":\"n\"}]}");
  check_refused("{\"nodes\":[{\"name\":\"n\",\"type\":\"\"}]}");
  check_refused("{\"nodes\":[{}]}");
}

#define TWO(a, b)                                                  \
  "{\"nodes\":[{\"name\":\"" a "\",\"type\":\"x\"},{\"name\":\"" b \
  "\",\"type\":\"x\"}]}"

TEST(order) {
  check_refused(TWO("b", "a"));
  check_refused(TWO("a", "a"));
  check_refused(TWO("ab", "a"));
  check_refused(TWO("\\\\xff", "\xC3\xA9"));
  CHECK(!is_refused(TWO("a", "ab"), strlen(TWO("a", "ab"))));
  CHECK(!is_refused(TWO("Z", "a"), strlen(TWO("Z", "a"))));
  CHECK(!is_refused(TWO("\xC3\xA9", "\\\\xff"),
                    strlen(TWO("\xC3\xA9", "\\\\xff"))));
}

TEST(hostile_values) {
  check_refused(NODE(",\"size\":18446744073709551616"));
  check_refused(NODE(",\"size\":-1"));
  check_refused(NODE(",\"size\":1.0"));
  check_refused(NODE(",\"size\":1e3"));
  check_refused(NODE(",\"size\":01"));
  check_refused(NODE(",\"size\":\"1\""));
  check_refused(NODE(",\"size\":"));
  check_refused(NODE(",\"uid\":4294967296"));
  check_refused(NODE(",\"mode\":4294967296"));
  check_refused(NODE(",\"mtime\":\"yesterday\""));
  check_refused(NODE(",\"mtime\":0"));
  check_refused(NODE(",\"content\":[\"" HEX "0\"]"));
  check_refused(NODE(",\"content\":[\"0\"]"));
  check_refused(NODE(",\"content\":[\"\"]"));
  check_refused(NODE(",\"content\":[null]"));
  check_refused(NODE(",\"content\":[\"" HEX "\",]"));
  check_refused(NODE(",\"content\":{}"));
  check_refused(NODE(",\"content\":\"" HEX "\""));
  check_refused(NODE(",\"subtree\":\"x\""));
  check_refused(NODE(",\"subtree\":[]"));
  check_refused(NODE(",\"user\":\"a\\u0000b\""));
  check_refused(NODE(",\"linktarget\":\"a\\u0000b\""));
  check_refused(NODE(",\"linktarget_raw\":\"AA==\""));
  check_refused(NODE(",\"linktarget_raw\":\"A\""));
  check_refused(NODE(",\"extended_attributes\":[{}]"));
  check_refused(NODE(",\"extended_attributes\":[{\"name\":\"\"}]"));
  check_refused(NODE(",\"extended_attributes\":[{\"name\":\"a\\u0000\"}]"));
  check_refused(
      NODE(",\"extended_attributes\":[{\"name\":\"a\",\"name\":\"b\"}]"));
  check_refused(
      NODE(",\"extended_attributes\":[{\"name\":\"a\",\"value\":\"!\"}]"));
  check_refused(NODE(",\"extended_attributes\":{}"));
  check_refused(NODE(",\"generic_attributes\":[]"));
  check_refused(NODE(",\"name\":\"m\""));
  check_refused(NODE(",\"uid\":1,\"uid\":1"));
}

TEST(hostile_text) {
  check_refused("");
  check_refused("[]");
  check_refused("{}");
  check_refused("null");
  check_refused("{\"nodes\":null}");
  check_refused("{\"nodes\":{}}");
  check_refused("{\"nodes\":[null]}");
  check_refused("{\"nodes\":[]");
  check_refused("{\"nodes\":[]}x");
  check_refused("{\"nodes\":[],\"nodes\":[]}");
  check_refused("{\"nodes\":[],}");
  check_refused("{\"nodes\":[,]}");
  check_refused("{\"x\":tru,\"nodes\":[]}");
  check_refused("{\"x\":1.,\"nodes\":[]}");
  check_refused("{\"x\":\"\\ud800\",\"nodes\":[]}");
  check_refused("{\"x\":\"\\udc00\\ud800\",\"nodes\":[]}");
  check_refused("{\"x\":\"\xFF\",\"nodes\":[]}");
  check_refused("{\"x\":\"a\nb\",\"nodes\":[]}");
  check_refused("{\"x\":[1 2],\"nodes\":[]}");
  check_refused("{\"x\":{1:2},\"nodes\":[]}");
  check_refused(NODE(",\"x\":"));
  /* Cut off anywhere. */
  for (size_t size = 0; size + 1 < strlen(everything); size++)
    if (!is_refused(everything, size)) {
      CHECK_INT(size, -1);
      break;
    }
}

TEST(deep) {
  for (int levels = 60; levels <= 200000; levels *= 10) {
    buffer b = BUFFER_EMPTY;
    buffer_text(&b, "{\"x\":");
    for (int i = 0; i < levels; i++) buffer_text(&b, i % 2 ? "[" : "{\"y\":");
    buffer_text(&b, "1");
    for (int i = levels; i-- > 0;) buffer_text(&b, i % 2 ? "]" : "}");
    buffer_text(&b, ",\"nodes\":[]}");
    CHECK_INT(is_refused(b.data, b.size), levels > 64);
    buffer_free(&b);
  }
}


/* ------------------------------------------------------------------
** Writing
** ---------------------------------------------------------------- */

static repo_node node_named(const char *name) {
  return (repo_node){.name = name,
                     .name_size = strlen(name),
                     .type = REPO_NODE_FILE,
                     .has_content = true};
}

static void check_unexpected(repo_tree_text *t, repo_node n) {
  error *e = repo_tree_text_add(t, &n);
  CHECK(e != NULL && e->code == SAROS_E_UNEXPECTED);
  error_unref(e);
}

TEST(what_is_not_written) {
  repo_tree_text *t = repo_tree_text_new();
  const char *json, *before = NULL;
  size_t size;
  repo_node n = node_named("b");
  CHECK(repo_tree_text_add(t, &n) == NULL);
  check_unexpected(t, node_named("b"));
  check_unexpected(t, node_named("a"));
  check_unexpected(t, node_named(""));
  check_unexpected(t, node_named(".."));
  check_unexpected(t, node_named("c/d"));
  n = node_named("c");
  n.has_content = false;
  check_unexpected(t, n);
  n.type = REPO_NODE_DIRECTORY;
  check_unexpected(t, n);
  n = node_named("c");
  CHECK(repo_tree_text_add(t, &n) == NULL);
  CHECK(repo_tree_text_end(t, &json, &size) == NULL);
  before = json;
  CHECK_INT(size, strlen(json));
  CHECK(strstr(json, "{\"nodes\":[{\"name\":\"b\",") == json);
  CHECK(strstr(json, "},{\"name\":\"c\",") != NULL);
  /* It is as new: the order begins anew. */
  n = node_named("a");
  CHECK(repo_tree_text_add(t, &n) == NULL);
  CHECK(repo_tree_text_end(t, &json, &size) == NULL);
  CHECK(strstr(json, "{\"nodes\":[{\"name\":\"a\",") == json);
  CHECK(repo_tree_text_end(t, &json, &size) == NULL);
  CHECK_TEXT(json, "{\"nodes\":[]}\n");
  (void)before;
  repo_tree_text_free(t);
}

/* More than 16 MiB, in the memory of a node. */
TEST(large) {
  repo_tree_text *t = repo_tree_text_new();
  const char *json;
  size_t size, count = 0;
  char name[32];
  repo_id content[3] = {{{1}}, {{2}}, {{3}}};
  for (int i = 0; i < 60000; i++) {
    snprintf(name, sizeof name, "file-%06d", i);
    repo_node n = node_named(name);
    n.user = n.group = "somebody";
    n.content = content;
    n.content_count = 3;
    if (repo_tree_text_add(t, &n) != NULL) check_bad++;
  }
  CHECK(repo_tree_text_end(t, &json, &size) == NULL);
  CHECK(size > 16 << 20);
  repo_tree_reader *r = repo_tree_reader_new(json, size);
  repo_node n;
  error *e;
  while (repo_tree_reader_next(r, &n, &e)) count += n.content_count == 3;
  CHECK(e == NULL);
  CHECK_INT(count, 60000);
  repo_tree_reader_free(r);
  repo_tree_text_free(t);
}

static bool go_through(void) {
  buffer b = BUFFER_EMPTY;
  error *e;
  bool whole = again(everything, strlen(everything), &b, &e);
  if (e != NULL) CHECK_INT(e->code, SAROS_E_OUTOFMEMORY);
  error_unref(e);
  buffer_free(&b);
  return whole;
}

TEST(memory) {
  SWEEP(go_through, 12);
}

int main(int argc, char **argv) {
  check_begin(argc, argv);
  RUN(what_restic_wrote);
  RUN(every_field);
  RUN(what_is_unknown);
  RUN(hostile_names);
  RUN(order);
  RUN(hostile_values);
  RUN(hostile_text);
  RUN(deep);
  RUN(what_is_not_written);
  RUN(large);
  RUN(memory);
  return check_end();
}
