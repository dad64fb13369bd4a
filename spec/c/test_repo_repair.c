/*
** Repairing what was damaged: whatever it was, what can be read stays, what is
** lost is told, restic finds nothing wrong afterwards; and one that is ended at
** any moment has made nothing worse.
**
** not under valgrind: its children are killed; ASan runs it
*/
#include "care_case.h"

static bool is_long(void) {
  return getenv("SAROS_LONG") != NULL;
}

static bool restic_is_content(const char *name) {
  return care_restic(name, "check --read-data");
}

static int64_t files_in(const char *name, const char *folder) {
  buffer b = BUFFER_EMPTY;
  run_shell(&b, "find '%s/%s' -type f | wc -l", care_at(name), folder);
  int64_t n = b.size > 0 ? atoll(b.data) : -1;
  buffer_free(&b);
  return n;
}

/* Names and hashes of all files. */
static char *all_files(const char *name) {
  buffer b = BUFFER_EMPTY;
  CHECK(run_shell(&b, "cd '%s' && find . -type f | sort | xargs sha256sum",
                  care_at(name)));
  return buffer_take(&b);
}

/* What the versions hold, by restic. */
static char *contents(const char *name) {
  buffer b = BUFFER_EMPTY;
  CHECK(run_shell(&b,
                  "cd '%s' && for v in $(ls snapshots); do echo $v; restic "
                  "--no-cache --no-lock -q -r . dump $v / | sha256sum; done",
                  care_at(name)));
  return buffer_take(&b);
}

/* Repairs, and expects that code. */
static call_result repaired(const char *name, const char *options,
                            uint32_t code) {
  repo *r = restore_open(care_at(name), "x");
  call_result c = call_now(r, "repair", json_options("%s", options));
  CHECK_INT(c.code, code);
  if (c.code != code) printf("  (%s: %s)\n", options, c.message);
  CHECK_INT(files_in(name, "locks"), 0);
  repo_unref(r);
  return c;
}

static void repair_it(const char *name, const char *options, uint32_t code) {
  call_result c = repaired(name, options, code);
  call_free(&c);
}

static bool is_whole(const char *name) {
  repo *r = restore_open(care_at(name), "x");
  bool whole = care_is_whole(r);
  repo_unref(r);
  return whole;
}

static unsigned count_of(const call_result *c, const char *kind) {
  const value *list = value_get(c->output, "findings");
  unsigned n = 0;
  for (uint32_t i = 0; list != NULL && i < list->count; i++)
    n += strcmp(value_chars(value_get(list->as.items[i], "kind"), ""), kind) ==
         0;
  return n;
}

/* The n-th largest pack, changed by a shell command that has it as x. */
static void change_pack(const char *name, int n, const char *command) {
  SHELL(
      "cd '%s' && f=$(ls -S data/*/* | sed -n %dp) && cp $f x && rm -f $f && "
      "{ %s; } && if [ -e x ]; then mv x $f; fi",
      care_at(name), n, command);
}


/* ------------------------------------------------------------------
** The index
** ---------------------------------------------------------------- */

/* Without the pack that nobody can read, which would be told each time. */
static void make_base(const char *from, const char *to) {
  care_copy(from, to);
  CHECK(care_restic(to, "prune --max-unused unlimited"));
}

TEST(what_is_whole_stays_as_it_is) {
  static const char *const all[] = {"{'what':'index'}",
                                    "{'what':'index','read_all_packs':true}",
                                    "{'what':'packs'}", "{'what':'versions'}",
                                    "{'what':'versions','forget':true}"};
  for (int version = 1; version <= 2; version++) {
    care_copy(version == 1 ? "b1" : "b2", "p");
    char *before = all_files("p");
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
      call_result c = repaired("p", all[i], 0);
      if (i < 3) CHECK(!value_boolean(value_get(c.output, "changed"), true));
      if (i == 2)
        CHECK_INT(call_number(&c, "packs_read"), files_in("p", "data"));
      if (i > 2) CHECK_INT(call_number(&c, "whole"), 3);
      call_free(&c);
    }
    CHECK(same_text(before, all_files("p")));
  }
}

TEST(an_index_is_made_from_the_packs) {
  for (int version = is_long() ? 1 : 2; version <= 2; version++) {
    care_copy(version == 1 ? "b1" : "b2", "p");
    char *before = contents("p");
    SHELL("rm -f '%s'/index/*", care_at("p"));
    char *files = all_files("p");
    call_result c = repaired("p", "{'what':'index','dry_run':true}", 0);
    int64_t packs = call_number(&c, "packs_added");
    CHECK_INT(packs, files_in("p", "data"));
    CHECK(value_boolean(value_get(c.output, "changed"), false));
    call_free(&c);
    CHECK(same_text(files, all_files("p")));
    c = repaired("p", "{'what':'index'}", 0);
    CHECK_INT(call_number(&c, "packs_added"), packs);
    CHECK_INT(call_number(&c, "index_files_new"), 1);
    call_free(&c);
    CHECK(restic_is_content("p"));
    CHECK(is_whole("p"));
    CHECK(same_text(before, contents("p")));
  }
}

TEST(index_files_that_are_damaged_go) {
  for (int half = 0; half < 2; half++) {
    care_copy("b2", "p");
    /* A second one, which stays in the one case. */
    CHECK(care_restic("p", "backup --force --host other '%s'",
                      care_at("r2/keys")));
    char *before = contents("p");
    CHECK_INT(files_in("p", "index"), 2);
    SHELL(
        "cd '%s/index' && for f in $(ls | head -n %d); do cp $f x && rm -f $f "
        "&& printf abcd | dd of=x bs=1 seek=40 conv=notrunc status=none && mv "
        "x $f; done",
        care_at("p"), 2 - half);
    call_result c = repaired("p", "{'what':'index'}", 0);
    CHECK_INT(call_number(&c, "index_files_damaged"), 2 - half);
    CHECK_INT(count_of(&c, "index_damaged"), 2 - half);
    call_free(&c);
    CHECK(restic_is_content("p"));
    CHECK(same_text(before, contents("p")));
  }
}

#define FILE_NODE(name, size)                                \
  "{'name':'" name "','type':'file','mode':420,'size':" size \
  ","                                                        \
  "'content':['%s']," NODE_REST "}"

/* What an index file says that is not so packs correct. */
TEST(an_index_that_lies_is_corrected) {
  for (int kind = 0; kind < 3; kind++) {
    repo_blob lie = {.type = REPO_DATA};
    SHELL("rm -rf '%s' && mkdir '%s'", care_at("w"), care_at("w"));
    repo *w = writer_new(care_at("w"));
    repo_id id;
    repo_id_of(&id, "hello", 5);
    lie.id = id;
    if (kind == 0) lie.offset = 7;
    if (kind == 1) lie.length = 100;
    if (kind == 2) lie.id.bytes[0] ^= 1; /* of the same size */
    put_blob_as(w, REPO_DATA, "hello", 5, &lie);
    put_version(w, put_tree(w, FILE_NODE("a", "5"), id_text(id)));
    repo_unref(w);
    CHECK(!is_whole("w") || kind == 0);
    call_result c = repaired("w", "{'what':'index','read_all_packs':true}", 0);
    CHECK_INT(count_of(&c, "pack_other"), 1);
    call_free(&c);
    CHECK(is_whole("w"));
    CHECK(restic_is_content("w"));
  }
}

/* A pack that is gone is not named any more; what was only there is told. */
TEST(a_pack_that_is_missing_goes_from_the_index) {
  care_copy("b2", "p");
  change_pack("p", 1, "rm x");
  call_result c = repaired("p", "{'what':'versions'}", SAROS_E_REFUSED);
  CHECK(strstr(c.message, "repair the index first") != NULL);
  call_free(&c);
  c = repaired("p", "{'what':'index'}", SAROS_S_PARTIAL);
  CHECK_INT(call_number(&c, "packs_missing"), 1);
  CHECK(call_number(&c, "blobs_lost") > 0);
  CHECK_INT(count_of(&c, "blob_lost"), call_number(&c, "blobs_lost"));
  call_free(&c);
  repair_it("p", "{'what':'versions','forget':true}", 0);
  CHECK(restic_is_content("p"));
  CHECK(is_whole("p"));
}


/* ------------------------------------------------------------------
** Packs
** ---------------------------------------------------------------- */

static const char *const flip =
    "printf ZZZZ | dd of=x bs=1 seek=2000 conv=notrunc status=none";

/* Of one whose end is cut off the rest is saved, though it cannot say itself
   what it has. */
TEST(what_is_good_of_a_pack_is_saved) {
  static const struct {
    const char *command, *what;
    bool loses;
  } cases[] = {
      {"truncate -s -3000 x", "{'what':'index'}", true},
      {"truncate -s -3000 x", "{'what':'packs'}", true},
      {"printf ZZZZ | dd of=x bs=1 seek=$(($(stat -c %s x) - 30)) conv=notrunc "
       "status=none",
       "{'what':'packs'}", false},
      {"echo more >>x", "{'what':'index'}", false},
      {"printf ZZZZ | dd of=x bs=1 seek=2000 conv=notrunc status=none",
       "{'what':'packs'}", true},
  };
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    care_copy("b2", "p");
    change_pack("p", 1, cases[i].command);
    char *before = cases[i].loses ? NULL : contents("r2");
    CHECK(!is_whole("p"));
    call_result c =
        repaired("p", cases[i].what, cases[i].loses ? SAROS_S_PARTIAL : 0);
    CHECK_INT(call_number(&c, "packs_damaged"), 1);
    CHECK(call_number(&c, "blobs_saved") > 0);
    CHECK_INT(call_number(&c, "blobs_lost") > 0, cases[i].loses);
    CHECK_INT(call_number(&c, "packs_removed"),
              strstr(cases[i].what, "packs") != NULL);
    call_free(&c);
    if (cases[i].loses) repair_it("p", "{'what':'versions','forget':true}", 0);
    CHECK(restic_is_content("p"));
    CHECK(is_whole("p"));
    if (before != NULL) CHECK(same_text(before, contents("p")));
  }
}

TEST(the_packs_that_are_named_are_read) {
  char options[200];
  buffer b = BUFFER_EMPTY;
  care_copy("b2", "p");
  change_pack("p", 1, flip);
  CHECK(run_shell(&b,
                  "cd '%s' && basename $(ls -S data/*/* | sed -n 1p) | tr -d "
                  "'\\n'",
                  care_at("p")));
  snprintf(options, sizeof options,
           "{'what':'packs','packs':['%.64s'],'dry_run':true}", b.data);
  char *before = all_files("p");
  call_result c = repaired("p", options, SAROS_S_PARTIAL);
  CHECK_INT(call_number(&c, "packs_read"), 1);
  CHECK_INT(call_number(&c, "packs_damaged"), 1);
  CHECK_INT(call_number(&c, "blobs_lost"), 1);
  call_free(&c);
  CHECK(same_text(before, all_files("p")));
  snprintf(options, sizeof options, "{'what':'packs','packs':['%.64s']}",
           b.data);
  c = repaired("p", options, SAROS_S_PARTIAL);
  CHECK_INT(call_number(&c, "packs_removed"), 1);
  call_free(&c);
  c = repaired("p", options, SAROS_E_INVALIDARG); /* it is gone */
  call_free(&c);
  repair_it("p", "{'what':'packs','packs':['12']}", SAROS_E_INVALIDARG);
  repair_it("p", "{'what':'index','packs':[]}", SAROS_E_INVALIDARG);
  repair_it("p", "{'what':'all'}", SAROS_E_INVALIDARG);
  buffer_free(&b);
}

/* Another pack has it, too: nothing is lost. */
TEST(what_is_elsewhere_is_not_lost) {
  SHELL("rm -rf '%s' && mkdir '%s'", care_at("w"), care_at("w"));
  repo *w = writer_new(care_at("w"));
  repo_id id = put_blob(w, REPO_DATA, "twice", 5);
  put_blob(w, REPO_DATA, "twice", 5);
  put_version(w, put_tree(w, FILE_NODE("a", "5"), id_text(id)));
  repo_unref(w);
  change_pack("w", 2,
              "printf ZZZZ | dd of=x bs=1 seek=20 conv=notrunc "
              "status=none");
  call_result c = repaired("w", "{'what':'packs'}", 0);
  CHECK_INT(call_number(&c, "packs_damaged"), 1);
  CHECK_INT(call_number(&c, "blobs_lost"), 0);
  CHECK_INT(call_number(&c, "packs_removed"), 1);
  call_free(&c);
  CHECK_INT(files_in("w", "data"), 2);
  CHECK(is_whole("w"));
  CHECK(restic_is_content("w"));
}

/* Neither from the store nor from the index goes what only could not be read:
   that day's versions are whole when the disk is. */
TEST(what_the_disk_does_not_give_stays) {
  static const char *const all[] = {"{'what':'index','read_all_packs':true}",
                                    "{'what':'packs'}"};
  for (int i = 0; i < 4; i++) {
    faulty_store f;
    care_copy("b2", "p");
    int64_t packs = files_in("p", "data");
    repo *r = restore_open(care_at("p"), "x");
    repo_store *inner = r->store;
    r->store = faulty_around(&f, inner);
    f.kinds = 1u << REPO_PACKS;
    f.lasts = i < 2; /* all of them, or one */
    faulty_at(&f, STORE_FAILS, STORE_READ, i < 2 ? 1 : 3);
    call_result c = call_now(r, "repair", json_options("%s", all[i % 2]));
    CHECK_INT(c.code, i < 2 ? SAROS_S_PARTIAL : 0);
    CHECK(call_number(&c, "packs_damaged") > 0);
    CHECK_INT(call_number(&c, "packs_removed"), 0);
    CHECK_INT(call_number(&c, "blobs_lost"), 0);
    if (i < 2) CHECK(call_number(&c, "blobs_unread") > 0);
    CHECK_INT(count_of(&c, "blob_unread"), call_number(&c, "blobs_unread"));
    call_free(&c);
    r->store = inner;
    repo_unref(r);
    CHECK(files_in("p", "data") >= packs);
    CHECK(is_whole("p"));
    CHECK(restic_is_content("p"));
    if (check_bad > 0) printf("  (%d)\n", i);
  }
}

/* Nobody knows what was in it: it is left for another day. */
TEST(what_nobody_can_read_is_left) {
  care_copy("r2", "p");
  int64_t packs = files_in("p", "data");
  for (int i = 0; i < 2; i++) {
    call_result c = repaired(
        "p", i == 0 ? "{'what':'index'}" : "{'what':'packs'}", SAROS_S_PARTIAL);
    CHECK_INT(call_number(&c, "packs_unreadable"), 1);
    CHECK_INT(count_of(&c, "pack_unreadable"), 1);
    call_free(&c);
  }
  CHECK_INT(files_in("p", "data"), packs);
  CHECK(restic_is_content("p"));
}


/* ------------------------------------------------------------------
** Versions
** ---------------------------------------------------------------- */

static const char *version_text(const call_result *c, unsigned n,
                                const char *name) {
  const value *list = value_get(c->output, "versions");
  return list != NULL && n < list->count
             ? value_chars(value_get(list->as.items[n], name), NULL)
             : NULL;
}

static const value *lost_of(const call_result *c, unsigned n, unsigned i) {
  const value *list = value_get(c->output, "versions");
  list = list != NULL && n < list->count ? value_get(list->as.items[n], "lost")
                                         : NULL;
  return list != NULL && i < list->count ? list->as.items[i] : NULL;
}

/* A version with a good file, one that has lost its middle, a directory that is
   nowhere, one without a subtree, and what is below another one. */
static void make_torn(const char *name) {
  static const char nowhere[] =
      "0000000000000000000000000000000000000000000000000000000000000001";
  SHELL("rm -rf '%s' && mkdir '%s'", care_at(name), care_at(name));
  repo *w = writer_new(care_at(name));
  repo_id one = put_blob(w, REPO_DATA, "one ", 4);
  repo_id two = put_blob(w, REPO_DATA, "two", 3);
  repo_id inner = put_tree(w,
                           FILE_NODE("good", "4") ","
                           "{'name':'none','type':'file','mode':420,'size':3,"
                           "'content':['%s']," NODE_REST "}",
                           id_text(one), nowhere);
  repo_id whole = put_tree(w, FILE_NODE("good", "4"), id_text(one));
  repo_id top = put_tree(
      w,
      "{'name':'gone','type':'dir','mode':2147484141,'subtree':'%s',"
      "'content':null," NODE_REST
      "},"
      "{'name':'in','type':'dir','mode':2147484141,'subtree':'%s',"
      "'content':null," NODE_REST
      "},"
      "{'name':'link','type':'symlink','mode':134218239,'linktarget':'x',"
      "'content':null,'future':{'is':'kept'}," NODE_REST
      "},"
      "{'name':'torn','type':'file','mode':420,'size':10,"
      "'content':['%s','%s','%s']," NODE_REST
      "},"
      "{'name':'whole','type':'dir','mode':2147484141,'subtree':'%s',"
      "'content':null," NODE_REST "}",
      nowhere, id_text(inner), id_text(one), nowhere, id_text(two),
      id_text(whole));
  put_version(w, top);
  put_version(w, whole);
  repo_id none = one;
  none.bytes[3] ^= 1;
  put_version(w, none);
  repo_unref(w);
}

TEST(what_is_lost_is_left_out_of_versions) {
  for (int forget = 0; forget < 2; forget++) {
    make_torn("w");
    char *before = all_files("w");
    call_result c =
        repaired("w", "{'what':'versions','dry_run':true}", SAROS_S_PARTIAL);
    CHECK_INT(call_number(&c, "whole"), 1);
    call_free(&c);
    CHECK(same_text(before, all_files("w")));
    c = forget ? repaired("w", "{'what':'versions','forget':true}", 0)
               : repaired("w", "{'what':'versions'}", SAROS_S_PARTIAL);
    CHECK_INT(call_number(&c, "whole"), 1);
    const value *list = value_get(c.output, "versions");
    CHECK_INT(list != NULL ? list->count : 0, 2);
    unsigned torn = version_text(&c, 0, "id") != NULL ? 0 : 1;
    const char *id = version_text(&c, torn, "id");
    CHECK(id != NULL);
    CHECK(version_text(&c, !torn, "id") == NULL); /* nothing is left of it */
    /* gone, in/none and torn */
    CHECK_TEXT(value_chars(value_get(lost_of(&c, torn, 0), "path"), ""),
               "/gone");
    CHECK_TEXT(value_chars(value_get(lost_of(&c, torn, 0), "type"), ""), "dir");
    CHECK_TEXT(value_chars(value_get(lost_of(&c, torn, 1), "path"), ""),
               "/in/none");
    CHECK_TEXT(value_chars(value_get(lost_of(&c, torn, 2), "path"), ""),
               "/torn");
    CHECK_INT(value_integer(value_get(lost_of(&c, torn, 2), "missing"), 0), 1);
    CHECK(lost_of(&c, torn, 3) == NULL);
    CHECK_INT(files_in("w", "snapshots"), forget ? 2 : 4);
    buffer b = BUFFER_EMPTY;
    CHECK(run_shell(&b,
                    "cd '%s' && export RESTIC_REPOSITORY=. && r='restic "
                    "--no-cache -q' && $r dump %s /torn && $r dump %s /in/good "
                    "&& $r ls %s | tr '\\n' ' ' && $r snapshots --json --tag "
                    "repaired | grep -o '\"id\":\"[0-9a-f]*' | wc -l",
                    care_at("w"), id, id, id));
    CHECK_TEXT(b.data,
               forget ? "one twoone /gone /in /in/good /in/none /link /torn "
                        "/whole /whole/good 0\n"
                      : "one twoone /gone /in /in/good /in/none /link /torn "
                        "/whole /whole/good 1\n");
    buffer_free(&b);
    call_free(&c);
    if (forget) CHECK(restic_is_content("w"));
    if (forget) CHECK(is_whole("w"));
    /* Once more there is nothing to do. */
    c = repaired("w", "{'what':'versions','tags':['repaired']}", 0);
    CHECK_INT(call_number(&c, "whole"), forget ? 0 : 1);
    call_free(&c);
  }
}

/* A field that we do not know stays, where nothing had to be changed. */
TEST(nodes_that_are_whole_stay_to_the_byte) {
  make_torn("w");
  call_result c = repaired("w", "{'what':'versions','forget':true}", 0);
  unsigned torn = version_text(&c, 0, "id") != NULL ? 0 : 1;
  buffer b = BUFFER_EMPTY;
  CHECK(run_shell(&b,
                  "cd '%s' && restic --no-cache -q -r . cat blob $(restic "
                  "--no-cache -q -r . cat snapshot %s | grep -o '\"tree\": "
                  "*\"[0-9a-f]*' | grep -o '[0-9a-f]*$')",
                  care_at("w"), version_text(&c, torn, "id")));
  CHECK(b.data != NULL && strstr(b.data, "\"future\":{\"is\":\"kept\"}"));
  CHECK(b.data != NULL && strstr(b.data, "\"name\":\"torn\"") != NULL &&
        strstr(b.data, "\"size\":7") != NULL);
  buffer_free(&b);
  call_free(&c);
}

TEST(versions_that_cannot_be_read_are_told) {
  care_copy("b2", "p");
  SHELL("cd '%s/snapshots' && f=$(ls | head -n 1) && rm -f $f && echo >$f",
        care_at("p"));
  call_result c = repaired("p", "{'what':'versions'}", SAROS_S_PARTIAL);
  const value *list = value_get(c.output, "unreadable");
  CHECK_INT(list != NULL ? list->count : 0, 1);
  CHECK_INT(call_number(&c, "whole"), 2);
  call_free(&c);
  repair_it("p", "{'what':'versions','versions':'x'}", SAROS_E_INVALIDARG);
}


/* ------------------------------------------------------------------
** Others, and ends
** ---------------------------------------------------------------- */

TEST(nobody_else_may_use_it) {
  static const char *const all[] = {"index", "packs", "versions"};
  care_copy("b2", "p");
  repo *other = restore_open(care_at("p"), "x");
  repo_hold *h;
  CHECK(repo_hold_take(other, REPO_READS, NULL, NULL, NULL, &h) == NULL);
  repo *r = restore_open(care_at("p"), "x");
  for (int i = 0; i < 3; i++) {
    call_result c =
        call_now(r, "repair", json_options("{'what':'%s'}", all[i]));
    CHECK_INT(c.code, SAROS_E_LOCKED);
    call_free(&c);
    c = call_now(r, "repair",
                 json_options("{'what':'%s','dry_run':true}", all[i]));
    CHECK_INT(c.code, 0);
    call_free(&c);
  }
  CHECK(repo_hold_end(h, NULL, NULL, NULL) == NULL);
  repo_unref(r);
  repo_unref(other);
}

/* All of it, one after the other; then nothing is wrong. */
static bool heals(const char *name, bool ask_restic) {
  static const char *const all[] = {"{'what':'packs'}",
                                    "{'what':'versions','forget':true}"};
  bool good = true;
  for (int i = 0; good && i < 2; i++) {
    repo *r = restore_open(care_at(name), "x");
    call_result c = call_now(r, "repair", json_options("%s", all[i]));
    good = c.code == 0 || c.code == SAROS_S_PARTIAL;
    if (!good) printf("  %s: 0x%x %s\n", all[i], c.code, c.message);
    call_free(&c);
    repo_unref(r);
  }
  return good && is_whole(name) && (!ask_restic || restic_is_content(name));
}

static void damage_once(const char *name) {
  static const char *const ways[] = {
      ("printf abcdefgh | dd of=x bs=1 seek=$((r % ($(stat -c %s x) + 1))) "
       "conv=notrunc status=none"),
      "truncate -s $((r % ($(stat -c %s x) + 1))) x",
      "head -c $((r % 5000 + 1)) /dev/urandom >>x", "rm x", ": >x"};
  const char *kind = care_random(3) == 0 ? "index/*" : "data/*/*";
  const char *way = ways[care_random(5)];
  unsigned which = care_random(1000), number = care_random(100000000);
  SHELL(
      "cd '%s' && r=%u && n=$(ls %s 2>/dev/null | wc -l) && { [ $n = 0 ] || { "
      "f=$(ls %s | sed -n $((%u %% n + 1))p) && cp $f x && rm -f $f && { %s; } "
      "&& if [ -e x ]; then mv x $f; fi; }; }",
      care_at(name), number, kind, kind, which, way);
}

TEST(whatever_is_damaged_it_heals) {
  int rounds = is_long() ? 200 : 4;
  for (int i = 0; i < rounds && check_bad == 0; i++) {
    unsigned long long seed = care_seed;
    care_copy(i % 2 == 0 ? "b2" : "b1", "p");
    for (unsigned n = 1 + care_random(3); n > 0; n--) damage_once("p");
    CHECK(heals("p", is_long() || i % 4 == 0));
    if (check_bad > 0) printf("  (round %d, seed %llu)\n", i, seed);
  }
}

/* In a program of its own, for a fork alone would inherit what the threads of
   this one hold. 0: it came to its end. */
static int child(const char *options, store_fault fault, long n) {
  char fault_text[8], number[24];
  snprintf(fault_text, sizeof fault_text, "%d", (int)fault);
  snprintf(number, sizeof number, "%ld", n);
  pid_t pid = fork();
  if (pid == 0) {
    execl("/proc/self/exe", "test_repo_repair", "--child", care_at("k"),
          options, fault_text, number, (char *)NULL);
    _exit(89);
  }
  int status = 0;
  CHECK(waitpid(pid, &status, 0) == pid);
  return status;
}

static int be_child(char **argv) {
  faulty_store f;
  repo *r = restore_open(argv[2], "x");
  if (r == NULL) return 90;
  r->store = faulty_around(&f, r->store);
  faulty_at(&f, (store_fault)atoi(argv[4]), STORE_CHANGES, atol(argv[5]));
  call_result c = call_now(r, "repair", json_options("%s", argv[3]));
  _exit(c.code != 0 && c.code != SAROS_S_PARTIAL ? 91 : 0);
}

/* What was saved once is never lost: the contents are the same in the end,
   wherever it was killed. */
static void storm(store_fault fault) {
  static const char *const all[] = {"{'what':'index'}", "{'what':'packs'}",
                                    "{'what':'versions','forget':true}"};
  int hit = 0;
  /* Of each three one, from another one on each time. */
  long step = is_long() ? 1 : 3;
  care_copy("b2", "k0");
  change_pack("k0", 1, "truncate -s -3000 x");
  change_pack("k0", 2, flip);
  SHELL("cd '%s/index' && f=$(ls | head -n 1) && rm -f $f && echo >$f",
        care_at("k0"));
  care_copy("k0", "k");
  CHECK(heals("k", true));
  SHELL("cd '%s' && restic --no-cache -q -r . dump latest / | sha256sum >'%s'",
        care_at("k"), care_at("wanted"));
  for (int i = 0; i < 3 && check_bad == 0; i++) {
    bool ended = false;
    for (long n = 1 + (long)getpid() % step; !ended && check_bad == 0;
         n += step) {
      care_copy("k0", "k");
      if (i == 2) repair_it("k", all[1], SAROS_S_PARTIAL);
      int status = child(all[i], fault, n);
      ended = WIFEXITED(status) && WEXITSTATUS(status) == 0;
      CHECK(ended || WIFSIGNALED(status));
      SHELL("rm -f '%s'/locks/*", care_at("k"));
      CHECK(heals("k", is_long() || hit == 2));
      if (is_long() || hit % 2 == 0)
        SHELL(
            "cd '%s' && restic --no-cache -q -r . dump latest / | sha256sum | "
            "cmp - '%s'",
            care_at("k"), care_at("wanted"));
      hit++;
      if (check_bad > 0) printf("  (%s at call %ld)\n", all[i], n);
    }
  }
  printf("repair: %d instants\n", hit);
  CHECK(hit > 12 / step);
}

TEST(it_may_be_killed_before_any_change) {
  storm(STORE_KILLS);
}

TEST(it_may_be_killed_after_any_change) {
  storm(STORE_KILLS_AFTER);
}

TEST(it_may_be_cancelled) {
  care_copy("b2", "p");
  change_pack("p", 1, flip);
  repo *r = restore_open(care_at("p"), "x");
  saros_op *op = call_begin(r, "repair", json_options("{'what':'packs'}"));
  saros_op_cancel(op);
  call_result c = call_end(op);
  CHECK(c.code == SAROS_E_CANCELLED || c.code == SAROS_S_PARTIAL);
  call_free(&c);
  CHECK_INT(files_in("p", "locks"), 0);
  repo_unref(r);
  CHECK(heals("p", false));
}

TEST(memory_may_run_out) {
  static const char *const all[] = {"{'what':'packs'}",
                                    "{'what':'versions','forget':true}"};
  for (int i = 0; i < 2; i++) {
    care_copy("b2", "p");
    change_pack("p", 1, flip);
    if (i == 1) repair_it("p", all[0], SAROS_S_PARTIAL);
    care_copy("p", "q");
    for (long n = 1; check_bad == 0; n += is_long() ? 3 : 457) {
      repo *r = restore_open(care_at("q"), "x");
      saros_op *op = call_begin(r, "repair", json_options("%s", all[i]));
      mem_fail_at(n);
      call_result c = call_end(op);
      bool failed = mem_fail_left() == 0;
      mem_fail_at(0);
      CHECK(c.code == 0 || c.code == SAROS_S_PARTIAL ||
            c.code == SAROS_E_OUTOFMEMORY);
      bool ended = c.code != SAROS_E_OUTOFMEMORY;
      call_free(&c);
      repo_unref(r);
      SHELL("rm -f '%s'/locks/*", care_at("q"));
      if (ended) care_copy("p", "q");
      if (!failed) break;
    }
    CHECK(heals("q", false));
  }
}

static void run(void) {
  RUN(what_is_whole_stays_as_it_is);
  RUN(an_index_is_made_from_the_packs);
  RUN(index_files_that_are_damaged_go);
  RUN(an_index_that_lies_is_corrected);
  RUN(a_pack_that_is_missing_goes_from_the_index);
  RUN(what_is_good_of_a_pack_is_saved);
  RUN(the_packs_that_are_named_are_read);
  RUN(what_is_elsewhere_is_not_lost);
  RUN(what_the_disk_does_not_give_stays);
  RUN(what_nobody_can_read_is_left);
  RUN(what_is_lost_is_left_out_of_versions);
  RUN(nodes_that_are_whole_stay_to_the_byte);
  RUN(versions_that_cannot_be_read_are_told);
  RUN(nobody_else_may_use_it);
  RUN(whatever_is_damaged_it_heals);
  RUN(it_may_be_killed_before_any_change);
  RUN(it_may_be_killed_after_any_change);
  RUN(it_may_be_cancelled);
  RUN(memory_may_run_out);
}

TEST(without_restic) {
  SKIP("restic is not installed: there is nothing of its making to repair");
}

int main(int argc, char **argv) {
  store_engine();
  if (argc == 6 && strcmp(argv[1], "--child") == 0) return be_child(argv);
  check_begin(argc, argv);
  if (care_begin()) {
    care_fill("r1", 1);
    care_fill("r2", 2);
    make_base("r1", "b1");
    make_base("r2", "b2");
    run();
  } else {
    RUN(without_restic);
  }
  care_end();
  return check_end();
}
