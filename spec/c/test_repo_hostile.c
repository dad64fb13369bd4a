/*
** Trees that are made to take for ever, or all memory: forty directories with
** 2^40 paths, directories nested a hundred thousand deep, files whose inodes
** and blobs are chosen for their hashes, names that are none, sizes that lie.
** Whoever can visits each tree once; whoever cannot ends when it is told to, or
** with a sentence before the machine has no memory left.
*/
#include "care_case.h"
#include "hostile_case.h"
#include "repository/budget.h"

/* Of restore_plan_parts.h, whose other names are not for here. */
extern _Atomic uint64_t repo_plan_test_steps;

#define DEPTH 40u
#define PATHS ((int64_t)1 << DEPTH)

static store_place place;
static char out[200];
static repo *made;
static const char *bomb, *other_bomb, *nothing; /* versions */
static repo_id bomb_tree, hello;

static bool is_long(void) {
  const char *text = getenv("SAROS_LONG");
  return text != NULL && *text != '\0' && strcmp(text, "0") != 0;
}

#define FILE_NODE(name, size, more)                                        \
  "{'name':'" name "','type':'file','mode':420," NODE_REST ",'size':" size \
  "," more "'content':['%s']}"

static void begin_place(void) {
  char leaf[700];
  store_place_make(&place);
  snprintf(out, sizeof out, "%s", store_path(&place, "out"));
  made = writer_new(store_path(&place, "r"));
  repo_lock_time.settle = 0;
  hello = put_blob(made, REPO_DATA, "hello", 5);
  many m = many_begin(made);
  snprintf(leaf, sizeof leaf, FILE_NODE("f", "5", ""), id_text(hello));
  bomb_tree = many_levels(&m, many_tree(&m, leaf), DEPTH, 2);
  snprintf(leaf, sizeof leaf,
           FILE_NODE("f", "5", "'links':3,'inode':7,'device_id':1,"),
           id_text(hello));
  repo_id other = many_levels(&m, many_tree(&m, leaf), DEPTH, 2);
  many_end(&m);
  bomb = put_version(made, bomb_tree);
  other_bomb = put_version(made, other);
}

static call_result asked(const char *work, const char *options) {
  return call_now(made, work, json_options("%s", options));
}

static const char *with(const char *format, const char *a, const char *b)
    __attribute__((format(printf, 1, 0)));
static const char *with(const char *format, const char *a, const char *b) {
  static char texts[4][400];
  static unsigned next;
  char *text = texts[next++ % 4];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
  snprintf(text, sizeof texts[0], format, a, b);
#pragma GCC diagnostic pop
  return text;
}


/* ------------------------------------------------------------------
** More paths than anybody can count
** ---------------------------------------------------------------- */

TEST(each_tree_counts_once) {
  call_result c = asked("sizes", with("{'version':'%s'}%s", bomb, ""));
  CHECK_INT(c.code, 0);
  CHECK_INT(call_number(&c, "files"), PATHS);
  CHECK_INT(call_number(&c, "directories"), 2 * PATHS - 2);
  CHECK_INT(call_number(&c, "bytes"), 5 * PATHS);
  call_free(&c);
  /* All names of one file: its bytes count once in this version. */
  c = asked("sizes", with("{'version':'%s'}%s", other_bomb, ""));
  CHECK_INT(call_number(&c, "files"), PATHS);
  CHECK_INT(call_number(&c, "bytes"), 5);
  call_free(&c);
  c = asked("sizes", "{}");
  CHECK_INT(call_number(&c, "files"), 2 * PATHS);
  CHECK_INT(call_number(&c, "bytes"), 5 * PATHS + 5);
  call_free(&c);
  c = asked("sizes", "{'mode':'raw-data'}");
  CHECK_INT(call_number(&c, "tree_blobs"), 2 * (DEPTH + 1));
  CHECK_INT(call_number(&c, "data_blobs"), 1);
  call_free(&c);
}

/* The same version again, in which a file with two names is counted anew. */
TEST(sums_of_another_version) {
  char nodes[1500];
  many m = many_begin(made);
  snprintf(
      nodes, sizeof nodes,
      FILE_NODE("f", "5", "'links':2,'inode':7,'device_id':1,") "," FILE_NODE(
          "g", "5",
          "'links':2,'inode':7,'device_id':1,") "," FILE_NODE("h", "5", ""),
      id_text(hello), id_text(hello), id_text(hello));
  repo_id sub = many_tree(&m, nodes);
  snprintf(
      nodes, sizeof nodes,
      DIRECTORY_NODE("a") "," DIRECTORY_NODE("b") "," FILE_NODE("c", "5", ""),
      id_text(sub), id_text(sub), id_text(hello));
  repo_id top = many_tree(&m, nodes);
  snprintf(nodes, sizeof nodes, DIRECTORY_NODE("x"), id_text(top));
  repo_id above = many_tree(&m, nodes);
  many_end(&m);
  const char *one = put_version(made, top), *two = put_version(made, above);
  int64_t files = 0, bytes = 0;
  for (int i = 0; i < 3; i++) {
    call_result c =
        asked("sizes", i == 0   ? with("{'version':'%s'}%s", one, "")
                       : i == 1 ? with("{'version':'%s'}%s", two, "")
                                : "{}");
    CHECK_INT(c.code, 0);
    if (i < 2) {
      CHECK_INT(call_number(&c, "files"), 7);
      CHECK_INT(call_number(&c, "bytes"), 20); /* 5, and twice 5, and 5 */
      files += 7;
      bytes += 20;
    } else {
      CHECK_INT(call_number(&c, "files"), 2 * PATHS + files);
      CHECK_INT(call_number(&c, "bytes"), 5 * PATHS + 5 + bytes);
    }
    call_free(&c);
  }
  repo_id id;
  CHECK(repo_id_parse(&id, one, 64) &&
        made->store->way->remove(made->store, REPO_SNAPSHOTS, &id, NULL) ==
            NULL);
  CHECK(repo_id_parse(&id, two, 64) &&
        made->store->way->remove(made->store, REPO_SNAPSHOTS, &id, NULL) ==
            NULL);
}

TEST(who_needs_no_paths_ends) {
  call_result c = asked("check", "{}");
  CHECK_INT(c.code, 0);
  CHECK(call_number(&c, "trees") >= 2 * (int)(DEPTH + 1));
  call_free(&c);
  c = asked("prune", "{'dry_run':true}");
  CHECK_INT(c.code, 0);
  call_free(&c);
  c = asked("prune", "{'max_unused':0}");
  CHECK_INT(c.code, 0);
  call_free(&c);
  c = asked("check", "{'read_data':true}");
  CHECK_INT(c.code, 0);
  CHECK_INT(call_number(&c, "trees"), 2 * (DEPTH + 1));
  call_free(&c);
  c = asked("diff", with("{'from':'%s','to':'%s'}", bomb, bomb));
  CHECK_INT(c.code, 0);
  call_free(&c);
  repo *to = writer_new(store_path(&place, "copy"));
  uint32_t why = 0;
  c = call_end(repo_call_begin_both(made, to, repo_work_find("copy"),
                                    json_options("{}"), NULL, &why));
  CHECK_INT(c.code, 0);
  CHECK_INT(call_number(&c, "tree_blobs"), 2 * (DEPTH + 1));
  call_free(&c);
  repo_unref(to);
}

/* What is lost at the end of all paths is told once, and mended once. */
TEST(who_mends_ends) {
  char leaf[700];
  repo *w = writer_new(store_path(&place, "mend"));
  repo_id none = {{9}};
  many m = many_begin(w);
  snprintf(leaf, sizeof leaf, FILE_NODE("f", "5", ""), id_text(none));
  repo_id tree = many_levels(&m, many_tree(&m, leaf), DEPTH, 2);
  many_end(&m);
  put_version(w, tree);
  call_result c =
      call_now(w, "repair", json_options("{'what':'versions','forget':true}"));
  CHECK_INT(c.code, 0);
  const value *versions = value_get(c.output, "versions");
  CHECK(versions != NULL && versions->count == 1);
  if (versions != NULL && versions->count == 1)
    CHECK_INT(value_integer(value_get(versions->as.items[0], "lost_count"), -1),
              1);
  call_free(&c);
  c = call_now(w, "sizes", json_options("{}"));
  CHECK_INT(call_number(&c, "files"), PATHS);
  CHECK_INT(call_number(&c, "bytes"), 0);
  call_free(&c);
  c = call_now(w, "check", json_options("{'read_data':true}"));
  CHECK_INT(c.code, 0);
  call_free(&c);
  repo_unref(w);
}

/* Each that goes from path to path; `dry`: and has nothing to remember. */
static saros_op *begin_endless(repo *r, unsigned i, bool dry) {
  char text[800];
  switch (i) {
    case 0: snprintf(text, sizeof text, "{'version':'%s'}", bomb); break;
    case 1:
      snprintf(text, sizeof text, "{'version':'%s','pattern':'%s'}", bomb,
               dry ? "nothing has this name" : "*");
      break;
    case 2:
      snprintf(text, sizeof text, "{'from':'%s','to':'%s'}", bomb,
               dry ? other_bomb : nothing);
      break;
    default:
      snprintf(text, sizeof text, "{'version':'%s','target':'%s','dry_run':%s}",
               bomb, out, dry ? "true" : "false");
  }
  static const char *const works[] = {"ls", "find", "diff", "restore"};
  return call_begin(r, works[i], json_options("%s", text));
}

/* Cancelled when all trees there are have been read: it goes from path to path
   then. */
TEST(who_needs_paths_can_be_cancelled) {
  faulty_store f;
  repo_store *inner = made->store;
  for (unsigned i = 0; i < 4; i++) {
    made->store = faulty_around(&f, inner);
    f.calls = STORE_READ;
    f.kinds = 1u << REPO_PACKS;
    saros_op *op = begin_endless(made, i, true);
    uint64_t until = repo_clock() + GATE_BOUND_MS;
    long all = i == 2 ? 2 * (DEPTH + 1) : DEPTH + 1;
    while (atomic_load(&f.seen) < all && repo_clock() < until) usleep(1000);
    CHECK(atomic_load(&f.seen) >= all);
    saros_op_cancel(op);
    call_result c = call_end(op);
    CHECK_INT(c.code, SAROS_E_CANCELLED);
    call_free(&c);
    made->store = inner;
  }
  CHECK(access(out, F_OK) != 0);
}

/* To where nobody reads what it writes. */
TEST(a_dump_can_be_cancelled) {
  int fds[2];
  char text[200], bytes[512];
  CHECK(pipe(fds) == 0);
  snprintf(text, sizeof text, "{'version':'%s','fd':%d}", bomb, fds[1]);
  saros_op *op = call_begin(made, "dump", json_options("%s", text));
  CHECK(read(fds[0], bytes, sizeof bytes) > 0);
  saros_op_cancel(op);
  call_result c = call_end(op);
  CHECK_INT(c.code, SAROS_E_CANCELLED);
  call_free(&c);
  close(fds[0]);
  close(fds[1]);
}

/* Or it ends when what it has to remember is too much. */
TEST(who_needs_paths_has_a_budget) {
  many m = many_begin(made);
  repo_id empty = many_tree(&m, "");
  many_end(&m);
  nothing = put_version(made, empty);
  repo_budget_test = 256 << 10;
  for (unsigned i = 0; i < 4; i++) {
    call_result c = call_end(begin_endless(made, i, false));
    CHECK_INT(c.code, SAROS_E_REFUSED);
    CHECK(strstr(c.message, "memory of this machine") != NULL);
    call_free(&c);
  }
  repo_budget_test = 0;
  store_wipe(AT_FDCWD, out);
  CHECK(access(out, F_OK) != 0);
}


/* ------------------------------------------------------------------
** Deeper than any stack of calls
** ---------------------------------------------------------------- */

/* What goes along paths says where they become too long; the rest ends. */
TEST(very_deep) {
  unsigned depth = is_long() ? 100000 : gate_is_quick ? 2200 : 6000;
  char leaf[700];
  repo *w = writer_new(store_path(&place, "deep"));
  many m = many_begin(w);
  repo_id blob = put_blob(w, REPO_DATA, "hello", 5);
  snprintf(leaf, sizeof leaf, FILE_NODE("f", "5", ""), id_text(blob));
  repo_id bottom = many_tree(&m, leaf);
  repo_id empty = many_tree(&m, "");
  repo_id tree = many_levels(&m, bottom, depth, 1);
  many_end(&m);
  char version[REPO_ID_TEXT], text[400];
  snprintf(version, sizeof version, "%s", put_version(w, tree));
  const char *none = put_version(w, empty);
  static const struct {
    const char *work, *options;
    uint32_t code;
  } calls[] = {
      {"ls", "", SAROS_S_PARTIAL},
      {"find", ",'pattern':'f'", SAROS_S_PARTIAL},
      {"sizes", "", SAROS_S_PARTIAL},
      {"sizes", ",'mode':'raw-data'", SAROS_S_PARTIAL},
      {"dump", ",'target':'@/tar'", SAROS_S_PARTIAL},
      {"restore", ",'target':'@/out','dry_run':true", SAROS_S_PARTIAL},
      {"diff", "", SAROS_S_PARTIAL},
      {"check", "", 0},
      {"prune", "", 0},
  };
  for (size_t i = 0; i < sizeof calls / sizeof calls[0]; i++) {
    bool has_no_version = strcmp(calls[i].work, "check") == 0 ||
                          strcmp(calls[i].work, "prune") == 0 ||
                          strstr(calls[i].options, "raw-data") != NULL;
    if (strcmp(calls[i].work, "diff") == 0)
      snprintf(text, sizeof text, "{'from':'%s','to':'%s'}", none, version);
    else if (has_no_version)
      snprintf(text, sizeof text, "{%s}",
               *calls[i].options != '\0' ? calls[i].options + 1 : "");
    else
      snprintf(text, sizeof text, "{'version':'%s'%s}", version,
               calls[i].options);
    buffer b = BUFFER_EMPTY;
    for (const char *c = text; *c != '\0'; c++)
      if (*c == '@')
        buffer_text(&b, place.path);
      else
        buffer_byte(&b, *c);
    call_result c = call_now(w, calls[i].work, json_options("%s", b.data));
    CHECK_INT(c.code, calls[i].code);
    if (c.code != calls[i].code) printf("%s: %s\n", calls[i].work, c.message);
    if (c.code == SAROS_S_PARTIAL) CHECK_INT(call_errors(&c), 1);
    call_free(&c);
    buffer_free(&b);
  }
  repo_unref(w);
}


/* ------------------------------------------------------------------
** What is chosen for its hash
** ---------------------------------------------------------------- */

/* A few places of its tables are looked at for each item (which has up to 15
   blobs); when they meet there are hundreds of millions. */
static void linear(repo *w, repo_id tree, long items) {
  char text[300];
  snprintf(text, sizeof text, "{'version':'%s','target':'%s','dry_run':true}",
           put_version(w, tree), out);
  repo_plan_test_steps = 0;
  call_result c = call_now(w, "restore", json_options("%s", text));
  CHECK_INT(c.code, 0);
  CHECK_INT(call_number(&c, "files"), items);
  uint64_t steps = repo_plan_test_steps;
  if (getenv("V") != NULL) printf("  %llu steps\n", (unsigned long long)steps);
  CHECK(steps > 0 && steps < 20 * (uint64_t)items);
  call_free(&c);
}

#define NODE_OF_MANY                                    \
  "{'name':'%06ld','type':'file','mode':420," NODE_REST \
  ",'size':%d,"                                         \
  "'links':3,'inode':%llu,'device_id':1,'content':["

/* Of one inode all, and each with a content of its own; and inodes that fall
   on one place when they are multiplied with what many multiply with. */
TEST(many_names_of_many_files) {
  long items = gate_loops(20000);
  repo *w = writer_new(store_path(&place, "links"));
  repo_id two[2] = {put_blob(w, REPO_DATA, "0", 1),
                    put_blob(w, REPO_DATA, "1", 1)};
  uint64_t inverse = 1; /* of 0x9E3779B97F4A7C15, modulo 2^64 */
  for (int i = 0; i < 6; i++) inverse *= 2 - 0x9E3779B97F4A7C15u * inverse;
  for (int kind = 0; kind < 2; kind++) {
    buffer b = BUFFER_EMPTY;
    many m = many_begin(w);
    for (long i = 0; i < items; i++) {
      unsigned long long inode = kind == 0 ? 7 : inverse * (uint64_t)(i + 1);
      buffer_format(&b, "%s" NODE_OF_MANY, i > 0 ? "," : "", i, 15, inode);
      for (int k = 0; k < 15; k++)
        buffer_format(&b, "%s'%s'", k > 0 ? "," : "",
                      id_text(two[(i >> k) & 1]));
      buffer_text(&b, "]}");
    }
    repo_id tree = many_tree(&m, b.data);
    many_end(&m);
    buffer_free(&b);
    linear(w, tree, items);
  }
  repo_unref(w);
}

/* Honest ones: very many names of one file, which are found to be that. */
TEST(many_names_of_one_file) {
  long items = gate_loops(20000);
  repo *w = writer_new(store_path(&place, "names"));
  repo_id id = put_blob(w, REPO_DATA, "0", 1);
  buffer b = BUFFER_EMPTY;
  many m = many_begin(w);
  for (long i = 0; i < items; i++)
    buffer_format(&b, "%s" NODE_OF_MANY "'%s']}", i > 0 ? "," : "", i, 1, 7ull,
                  id_text(id));
  repo_id tree = many_tree(&m, b.data);
  many_end(&m);
  buffer_free(&b);
  linear(w, tree, items);
  repo_unref(w);
}

/* Blobs whose ids are the same but for their ends. */
TEST(ids_that_are_alike) {
  long items = gate_loops(20000);
  repo *w = writer_new(store_path(&place, "ids"));
  repo_blob *blobs = mem_zero((size_t)items * sizeof *blobs);
  repo_id pack = {{3}};
  buffer b = BUFFER_EMPTY;
  many m = many_begin(w);
  for (long i = 0; i < items; i++) {
    blobs[i] = (repo_blob){
        .type = REPO_DATA, .offset = (uint32_t)i * 33, .length = 33};
    memset(blobs[i].id.bytes, 5, REPO_ID);
    memcpy(blobs[i].id.bytes + REPO_ID - 4, &i, 4);
    buffer_format(&b, "%s" NODE_OF_MANY "'%s']}", i > 0 ? "," : "", i, 1,
                  100ull + (unsigned long long)i, id_text(blobs[i].id));
  }
  repo_id tree = many_tree(&m, b.data);
  many_end(&m);
  many_save(w, &pack, blobs, (size_t)items);
  buffer_free(&b);
  mem_free(blobs);
  linear(w, tree, items);
  repo_unref(w);
}


/* ------------------------------------------------------------------
** Names, and sizes
** ---------------------------------------------------------------- */

/* Nobody ever shows them, or writes them anywhere. */
TEST(names_that_are_none) {
  static const char *const nodes[] = {
      FILE_NODE("..", "5", ""),        FILE_NODE(".", "5", ""),
      FILE_NODE("", "5", ""),          FILE_NODE("a/b", "5", ""),
      FILE_NODE("/etc/x", "5", ""),    FILE_NODE("../x", "5", ""),
      FILE_NODE("a\\\\x00b", "5", ""), FILE_NODE("a\\u0000b", "5", "")};
  for (size_t i = 0; i < sizeof nodes / sizeof nodes[0]; i++) {
    char text[1500];
    many m = many_begin(made);
    snprintf(text, sizeof text, "%s", nodes[i]);
    char *digits = strstr(text, "%s");
    memmove(digits + 64, digits + 2, strlen(digits + 2) + 1);
    memcpy(digits, id_text(hello), 64);
    repo_id sub = many_tree(&m, text), empty = many_tree(&m, "");
    snprintf(text, sizeof text, DIRECTORY_NODE("d"), id_text(sub));
    repo_id top = many_tree(&m, text);
    many_end(&m);
    char version[REPO_ID_TEXT], none[REPO_ID_TEXT];
    snprintf(version, sizeof version, "%s", put_version(made, top));
    snprintf(none, sizeof none, "%s", put_version(made, empty));
    const char *const options[] = {
        with("{'version':'%s'}%s", version, ""),
        with("{'version':'%s','pattern':'*'}%s", version, ""),
        with("{'from':'%s','to':'%s'}", none, version),
        with("{'version':'%s','target':'%s'}", version,
             store_path(&place, "tar"))};
    static const char *const works[] = {"ls", "find", "diff", "dump"};
    for (unsigned k = 0; k < 4; k++) {
      call_result c = asked(works[k], options[k]);
      CHECK_INT(c.code, SAROS_S_PARTIAL);
      CHECK_INT(call_errors(&c), 1);
      const value *items = value_get(c.output, "items");
      if (k < 3) CHECK(items != NULL && items->count == 1); /* d alone */
      call_free(&c);
    }
    CHECK(run_shell(NULL, "test \"$(tar tf '%s')\" = d/",
                    store_path(&place, "tar")));
  }
}

/* A name twice: what comes first is shown, and nothing after it. */
TEST(a_name_twice) {
  char nodes[1500];
  many m = many_begin(made);
  snprintf(nodes, sizeof nodes,
           FILE_NODE("f", "5", "") "," FILE_NODE("f", "5", ""), id_text(hello),
           id_text(hello));
  repo_id tree = many_tree(&m, nodes);
  many_end(&m);
  const char *version = put_version(made, tree);
  call_result c = asked("ls", with("{'version':'%s'}%s", version, ""));
  CHECK_INT(c.code, SAROS_S_PARTIAL);
  const value *items = value_get(c.output, "items");
  CHECK(items != NULL && items->count == 1);
  call_free(&c);
}

/* The size that a node claims is not that of its content: the archive has what
   there is, and it is told. */
TEST(a_size_that_lies) {
  for (int i = 0; i < 2; i++) {
    char nodes[1500];
    many m = many_begin(made);
    if (i == 0)
      snprintf(nodes, sizeof nodes,
               FILE_NODE("f", "4000", "") "," FILE_NODE("g", "5", ""),
               id_text(hello), id_text(hello));
    else
      snprintf(nodes, sizeof nodes,
               FILE_NODE("f", "1", "") "," FILE_NODE("g", "5", ""),
               id_text(hello), id_text(hello));
    repo_id tree = many_tree(&m, nodes);
    many_end(&m);
    char version[REPO_ID_TEXT];
    snprintf(version, sizeof version, "%s", put_version(made, tree));
    char tar[300];
    snprintf(tar, sizeof tar, "%s", store_path(&place, "tar"));
    call_result c =
        asked("dump", with("{'version':'%s','target':'%s'}", version, tar));
    CHECK_INT(c.code, SAROS_S_PARTIAL);
    CHECK(call_tells(&c, "/f", i == 0 ? "4000 bytes" : "1 bytes"));
    CHECK(run_shell(NULL,
                    "test \"$(tar xOf '%s' f)$(tar xOf '%s' g)\" = hellohello",
                    tar, tar));
    call_free(&c);
  }
}

/* What the index says of it is not so: there is no archive. */
TEST(an_index_that_lies_about_sizes) {
  static const repo_blob lies[] = {
      {.type = REPO_DATA, .length = 5 + REPO_SEAL, .plain_length = 600},
      {.type = REPO_DATA, .length = 34}};
  for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
    char word[20], nodes[1500], tar[300];
    repo_blob claim = lies[i];
    snprintf(word, sizeof word, "word%zu", i);
    repo_id_of(&claim.id, word, 5);
    put_blob_as(made, REPO_DATA, word, 5, &claim);
    many m = many_begin(made);
    snprintf(nodes, sizeof nodes,
             FILE_NODE("f", "5", "") "," FILE_NODE("g", "5", ""),
             id_text(claim.id), id_text(hello));
    repo_id tree = many_tree(&m, nodes);
    many_end(&m);
    const char *version = put_version(made, tree);
    snprintf(tar, sizeof tar, "%s", store_path(&place, "no.tar"));
    call_result c =
        asked("dump", with("{'version':'%s','target':'%s'}", version, tar));
    CHECK_INT(c.code, SAROS_E_DAMAGED);
    CHECK(access(tar, F_OK) != 0);
    call_free(&c);
  }
}

int main(int argc, char **argv) {
  gate_begin(argc, argv);
  store_engine();
  begin_place();
  GATE_RUN(each_tree_counts_once);
  GATE_RUN(sums_of_another_version);
  GATE_RUN(who_needs_no_paths_ends);
  GATE_RUN(who_mends_ends);
  GATE_RUN(who_needs_paths_can_be_cancelled);
  GATE_RUN(a_dump_can_be_cancelled);
  GATE_RUN(who_needs_paths_has_a_budget);
  GATE_RUN(very_deep);
  GATE_RUN(many_names_of_many_files);
  GATE_RUN(many_names_of_one_file);
  GATE_RUN(ids_that_are_alike);
  GATE_RUN(names_that_are_none);
  GATE_RUN(a_name_twice);
  GATE_RUN(a_size_that_lies);
  GATE_RUN(an_index_that_lies_about_sizes);
  repo_unref(made);
  store_place_end(&place);
  return check_end();
}
