/*
** Copying versions from a repository of restic's into one of ours, and back:
** restic finds the target whole and takes its versions for copies, nothing is
** copied twice, nothing that is damaged arrives, and one that is ended at any
** moment leaves whole versions and goes on.
**
** not under valgrind: nothing of it is not in the suites of backup and prune
*/
#include "care_case.h"

extern uint64_t repo_copy_group;

static bool is_long(void) {
  return getenv("SAROS_LONG") != NULL;
}

/* A new repository, with a key that costs little. */
static void make_target(const char *name, int version) {
  SHELL("rm -rf '%s'", care_at(name));
  cheap_repository(care_at(name), "x", (unsigned)version);
}

static saros_op *copy_begin(repo *from, repo *to, value *options) {
  uint32_t why = 0;
  saros_op *op = repo_call_begin_both(from, to, repo_work_find("copy"), options,
                                      NULL, &why);
  CHECK_INT(why, 0);
  return op;
}

static call_result copy_now(repo *from, repo *to, const char *options) {
  return call_end(copy_begin(from, to, json_options("%s", options)));
}

static unsigned count_of(const call_result *c, const char *list) {
  const value *v = value_get(c->output, list);
  return v != NULL ? v->count : 9999;
}

static int64_t files_in(const char *name, const char *folder) {
  buffer b = BUFFER_EMPTY;
  run_shell(&b, "find '%s/%s' -type f | wc -l", care_at(name), folder);
  int64_t n = b.size > 0 ? atoll(b.data) : -1;
  buffer_free(&b);
  return n;
}

/* Everything that a version holds, by restic, as one hash. */
static void content(const char *name, const char *version, char hash[65]) {
  buffer b = BUFFER_EMPTY;
  CHECK(run_shell(&b,
                  "restic --no-cache --no-lock -q -r '%s' dump %s / | "
                  "sha256sum | cut -c-64",
                  care_at(name), version));
  snprintf(hash, 65, "%s", b.data != NULL ? b.data : "");
  buffer_free(&b);
}

static void same_versions(const call_result *c, const char *from,
                          const char *to) {
  const value *list = value_get(c->output, "copied");
  for (uint32_t i = 0; list != NULL && i < list->count; i++) {
    char a[65], b[65];
    content(from, value_chars(value_get(list->as.items[i], "version"), ""), a);
    content(to, value_chars(value_get(list->as.items[i], "id"), ""), b);
    CHECK(a[0] != '\0');
    CHECK_TEXT(a, b);
  }
}

static bool restic_is_content(const char *name) {
  return care_restic(name, "check --read-data");
}


/* ------------------------------------------------------------------
** Copying
** ---------------------------------------------------------------- */

TEST(versions_arrive_whole) {
  for (int from = 1; from <= 2; from++)
    for (int to = 1; to <= 2; to++) {
      const char *name = from == 1 ? "r1" : "r2";
      if (from == to && !is_long()) continue;
      make_target("t", to);
      repo *a = restore_open(care_at(name), "x");
      repo *b = restore_open(care_at("t"), "x");
      CHECK(repo_config_of(a)->polynomial != repo_config_of(b)->polynomial);
      call_result c = copy_now(a, b, "{'dry_run':true}");
      CHECK_INT(c.code, 0);
      CHECK_INT(count_of(&c, "copied"), 3);
      CHECK_INT(files_in("t", "data"), 0);
      CHECK_INT(files_in("t", "snapshots"), 0);
      int64_t data = call_number(&c, "data_blobs");
      int64_t trees = call_number(&c, "tree_blobs");
      CHECK(data > 0 && trees > 0);
      call_free(&c);
      c = copy_now(a, b, "{}");
      CHECK_INT(c.code, 0);
      CHECK_INT(count_of(&c, "copied"), 3);
      CHECK_INT(count_of(&c, "skipped"), 0);
      CHECK_INT(count_of(&c, "failed"), 0);
      CHECK_INT(call_number(&c, "data_blobs"), data);
      CHECK_INT(call_number(&c, "tree_blobs"), trees);
      CHECK(restic_is_content("t"));
      same_versions(&c, name, "t");
      call_free(&c);
      CHECK(care_is_whole(b));
      CHECK_INT(files_in("t", "locks"), 0);
      CHECK_INT(files_in(name, "locks"), 0);
      /* Nothing is copied twice. */
      c = copy_now(a, b, "{}");
      CHECK_INT(c.code, 0);
      CHECK_INT(count_of(&c, "copied"), 0);
      CHECK_INT(count_of(&c, "skipped"), 3);
      CHECK_INT(call_number(&c, "data_blobs"), 0);
      call_free(&c);
      repo_unref(a);
      repo_unref(b);
    }
}

/* By restic ours are copies, and by us restic's. */
TEST(restic_and_we_take_copies_for_copies) {
  make_target("t", 2);
  repo *a = restore_open(care_at("r2"), "x");
  repo *b = restore_open(care_at("t"), "x");
  call_result c = copy_now(a, b, "{}");
  CHECK_INT(c.code, 0);
  call_free(&c);
  setenv("RESTIC_PASSWORD2", "x", 1);
  setenv("RESTIC_FROM_PASSWORD", "x", 1);
  int64_t packs = files_in("t", "data");
  CHECK(care_restic("t", "copy --from-repo '%s'", care_at("r2")));
  CHECK_INT(files_in("t", "snapshots"), 3);
  CHECK_INT(files_in("t", "data"), packs);
  /* The copy of a copy is one, too. */
  make_target("u", 2);
  CHECK(care_restic("u", "copy --from-repo '%s'", care_at("t")));
  repo *u = restore_open(care_at("u"), "x");
  c = copy_now(a, u, "{}");
  CHECK_INT(c.code, 0);
  CHECK_INT(count_of(&c, "skipped"), 3);
  call_free(&c);
  c = copy_now(u, b, "{}");
  CHECK_INT(count_of(&c, "skipped"), 3);
  call_free(&c);
  /* And back to where they are from. */
  c = copy_now(u, a, "{}");
  CHECK_INT(count_of(&c, "skipped"), 3);
  CHECK_INT(files_in("r2", "snapshots"), 3);
  call_free(&c);
  repo_unref(u);
  repo_unref(a);
  repo_unref(b);
}

TEST(some_of_them_are_copied) {
  make_target("t", 2);
  repo *a = restore_open(care_at("r2"), "x");
  repo *b = restore_open(care_at("t"), "x");
  call_result c = copy_now(a, b, "{'host':'nobody'}");
  CHECK_INT(c.code, 0);
  CHECK_INT(count_of(&c, "copied"), 0);
  call_free(&c);
  c = copy_now(a, b, "{'versions':['latest','latest']}");
  CHECK_INT(c.code, 0);
  CHECK_INT(count_of(&c, "copied"), 1);
  int64_t first = call_number(&c, "data_blobs");
  same_versions(&c, "r2", "t");
  call_free(&c);
  CHECK(restic_is_content("t"));
  /* What the first one brought the others need not bring. */
  c = copy_now(a, b, "{}");
  CHECK_INT(count_of(&c, "copied"), 2);
  CHECK_INT(count_of(&c, "skipped"), 1);
  int64_t rest = call_number(&c, "data_blobs");
  call_free(&c);
  make_target("u", 2);
  repo *u = restore_open(care_at("u"), "x");
  c = copy_now(a, u, "{}");
  CHECK_INT(call_number(&c, "data_blobs"), first + rest);
  call_free(&c);
  CHECK(restic_is_content("t"));
  repo_unref(u);
  repo_unref(a);
  repo_unref(b);
}

TEST(what_makes_no_sense_is_refused) {
  static const struct {
    const char *options;
    uint32_t code;
  } cases[] = {{"{'versions':['latest:srv']}", SAROS_E_INVALIDARG},
               {"{'versions':['ffffffffffffffffff']}", 0x80070490u},
               {"{'versions':'latest'}", SAROS_E_INVALIDARG},
               {"{'pack_size':1}", SAROS_E_INVALIDARG},
               {"{'compression':'none'}", SAROS_E_INVALIDARG}};
  make_target("t", 2);
  repo *a = restore_open(care_at("r2"), "x");
  repo *b = restore_open(care_at("t"), "x");
  for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
    call_result c = copy_now(a, b, cases[i].options);
    CHECK_INT(c.code, cases[i].code);
    call_free(&c);
  }
  repo *again = restore_open(care_at("r2"), "x");
  call_result c = copy_now(a, again, "{}");
  CHECK_INT(c.code, SAROS_E_REFUSED);
  call_free(&c);
  c = copy_now(a, a, "{}");
  CHECK_INT(c.code, SAROS_E_REFUSED);
  call_free(&c);
  c = call_now(a, "copy", json_options("{}"));
  CHECK_INT(c.code, SAROS_E_INVALIDARG);
  call_free(&c);
  CHECK_INT(files_in("t", "snapshots"), 0);
  repo_unref(again);
  repo_unref(a);
  repo_unref(b);
}


/* ------------------------------------------------------------------
** Damage
** ---------------------------------------------------------------- */

#define FILE_NODE(name, size)                                \
  "{'name':'" name "','type':'file','mode':420,'size':" size \
  ","                                                        \
  "'content':['%s']," NODE_REST "}"

/* The pack that was stored last: one byte of its first blob is another. */
static void damage(const char *name, const char *text) {
  SHELL(
      "cd '%s' && f=$(grep -lr . data | while read f; do echo \"$(stat -c %%s "
      "$f) $f\"; done | sort -n | grep '^%s ' | head -n 1 | cut -d' ' -f2) && "
      "cp $f x && rm -f $f && printf ZZZZ | dd of=x bs=1 seek=18 conv=notrunc "
      "status=none && mv x $f",
      care_at(name), text);
}

TEST(what_is_damaged_does_not_arrive) {
  SHELL("rm -rf '%s' && mkdir '%s'", care_at("w"), care_at("w"));
  repo *w = writer_new(care_at("w"));
  repo_id good = put_blob(w, REPO_DATA, "hello", 5);
  repo_id bad = put_blob(w, REPO_DATA, "this one is bad", 15);
  char text[3][REPO_ID_TEXT];
  put_version(w, put_tree(w, FILE_NODE("a", "5"), id_text(good)));
  snprintf(text[0], REPO_ID_TEXT, "%s",
           put_version(w, put_tree(w, FILE_NODE("b", "15"), id_text(bad))));
  put_version(w, put_tree(w, FILE_NODE("c", "5"), id_text(good)));
  /* Its tree is nowhere. */
  repo_id nowhere = good;
  snprintf(text[1], REPO_ID_TEXT, "%s", put_version(w, nowhere));
  /* A blob of it is nowhere. */
  snprintf(text[2], REPO_ID_TEXT, "%s",
           put_version(w, put_tree(w, FILE_NODE("d", "5"),
                                   "00000000000000000000000000000000"
                                   "00000000000000000000000000000001")));
  damage("w", "120"); /* 15 + 32 and a header of 37 + 32 + 4 */
  for (int group = 0; group < 2; group++) {
    repo_copy_group = group == 0 ? (uint64_t)256 << 20 : 1;
    make_target("t", 2);
    repo *b = restore_open(care_at("t"), "x");
    call_result c = copy_now(w, b, "{}");
    CHECK_INT(c.code, SAROS_S_PARTIAL);
    CHECK_INT(count_of(&c, "copied"), 2);
    CHECK_INT(count_of(&c, "failed"), 3);
    const value *failed = value_get(c.output, "failed");
    for (uint32_t i = 0; failed != NULL && i < failed->count; i++) {
      const char *id =
          value_chars(value_get(failed->as.items[i], "version"), "");
      CHECK(strcmp(id, text[0]) == 0 || strcmp(id, text[1]) == 0 ||
            strcmp(id, text[2]) == 0);
    }
    call_free(&c);
    CHECK(restic_is_content("t"));
    CHECK_INT(files_in("t", "snapshots"), 2);
    repo_unref(b);
  }
  repo_copy_group = (uint64_t)256 << 20;
  repo_unref(w);
}

TEST(another_copy_of_it_is_taken) {
  SHELL("rm -rf '%s' && mkdir '%s'", care_at("w"), care_at("w"));
  repo *w = writer_new(care_at("w"));
  repo_id id = put_blob(w, REPO_DATA, "twice here", 10);
  put_blob(w, REPO_DATA, "twice here", 10);
  put_version(w, put_tree(w, FILE_NODE("a", "10"), id_text(id)));
  for (int kind = 0; kind < 2; kind++) {
    make_target("t", 2);
    damage("w", "115");
    if (kind == 1) /* and that one is gone now */
      SHELL(
          "cd '%s' && rm -f $(find data -type f -size -116c -size +114c | "
          "while read f; do [ $(sha256sum $f | cut -c-64) = ${f##*/} ] || "
          "echo $f; done)",
          care_at("w"));
    CHECK_INT(files_in("w", "data"), 3 - kind);
    repo *again = restore_open(care_at("w"), "x");
    repo *b = restore_open(care_at("t"), "x");
    call_result c = copy_now(again, b, "{}");
    CHECK_INT(c.code, 0);
    CHECK_INT(count_of(&c, "copied"), 1);
    call_free(&c);
    CHECK(restic_is_content("t"));
    repo_unref(b);
    repo_unref(again);
  }
  repo_unref(w);
}


/* ------------------------------------------------------------------
** Ended in the middle
** ---------------------------------------------------------------- */

/* What is there is whole, and a copy comes to its end. */
static bool survives(repo *from, bool ask_restic) {
  SHELL("rm -f '%s'/locks/* '%s'/locks/*", care_at("k"), care_at("r2"));
  repo *to = restore_open(care_at("k"), "x");
  bool good = to != NULL && care_is_whole(to);
  if (good && ask_restic) good = restic_is_content("k");
  if (good) {
    call_result c = copy_now(from, to, "{'pack_size':'4M'}");
    good = c.code == 0 && count_of(&c, "copied") + count_of(&c, "skipped") == 3;
    if (!good)
      printf("  (0x%x %s; %u copied, %u skipped)\n", c.code, c.message,
             count_of(&c, "copied"), count_of(&c, "skipped"));
    call_free(&c);
  }
  if (good && files_in("k", "snapshots") != 3) {
    printf("  (%d versions, not 3)\n", (int)files_in("k", "snapshots"));
    good = false;
  }
  if (good) good = care_is_whole(to);
  if (good && ask_restic) good = restic_is_content("k");
  repo_unref(to);
  return good;
}

/* In a program of its own, for a fork alone would inherit what the threads of
   this one hold. 0: it came to its end. */
static int child(store_fault fault, long n) {
  char fault_text[8], number[24];
  snprintf(fault_text, sizeof fault_text, "%d", (int)fault);
  snprintf(number, sizeof number, "%ld", n);
  pid_t pid = fork();
  if (pid == 0) {
    execl("/proc/self/exe", "test_repo_copy", "--child", care_at("r2"),
          care_at("k"), fault_text, number, (char *)NULL);
    _exit(89);
  }
  int status = 0;
  CHECK(waitpid(pid, &status, 0) == pid);
  return status;
}

static int be_child(char **argv) {
  faulty_store f;
  repo *from = restore_open(argv[2], "x");
  repo *to = restore_open(argv[3], "x");
  if (from == NULL || to == NULL) return 90;
  repo_copy_group = 1; /* a version a group: there are more moments */
  to->store = faulty_around(&f, to->store);
  faulty_at(&f, (store_fault)atoi(argv[4]), STORE_CHANGES, atol(argv[5]));
  call_result c = copy_now(from, to, "{'pack_size':'4M'}");
  _exit(c.code != 0 ? 91 : 0);
}

static void storm(store_fault fault) {
  make_target("k0", 2);
  repo *from = restore_open(care_at("r2"), "x");
  int ended = 0, hit = 0;
  /* Of each three one, from another one on each time. */
  long step = is_long() ? 1 : 3;
  for (long n = 1 + (long)getpid() % step; !ended && from != NULL; n += step) {
    care_copy("k0", "k");
    int status = child(fault, n);
    ended = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    CHECK(ended || WIFSIGNALED(status));
    CHECK(survives(from, is_long() || hit == 2));
    hit++;
    if (check_bad == 0) continue;
    printf("  (at call %ld)\n", n);
    break;
  }
  printf("copy: %d instants\n", hit);
  CHECK(hit > 8 / step);
  repo_unref(from);
}

TEST(it_may_be_killed_before_any_change) {
  storm(STORE_KILLS);
}

TEST(it_may_be_killed_after_any_change) {
  storm(STORE_KILLS_AFTER);
}

TEST(it_may_fail_anywhere) {
  make_target("k0", 2);
  repo *from = restore_open(care_at("r2"), "x");
  for (long n = 1; check_bad == 0; n += is_long() ? 1 : 3) {
    faulty_store f;
    care_copy("k0", "k");
    repo *to = restore_open(care_at("k"), "x");
    repo_store *inner = to->store;
    to->store = faulty_around(&f, inner);
    f.number = n % 2 == 0 ? ENOSPC : EIO;
    f.lasts = n % 2 == 0;
    f.kinds = ~(1u << REPO_LOCKS);
    faulty_at(&f, STORE_FAILS, STORE_CHANGES, n);
    call_result c = copy_now(from, to, "{'pack_size':'4M'}");
    bool failed = c.code != 0;
    CHECK_INT(count_of(&c, "copied") == 9999, failed);
    call_free(&c);
    to->store = inner;
    repo_unref(to);
    CHECK(survives(from, false));
    if (!failed) break;
  }
  repo_unref(from);
}

TEST(it_may_be_cancelled) {
  make_target("k", 2);
  repo *from = restore_open(care_at("r2"), "x");
  repo *to = restore_open(care_at("k"), "x");
  saros_op *op = copy_begin(from, to, json_options("{}"));
  saros_op_cancel(op);
  call_result c = call_end(op);
  CHECK(c.code == SAROS_E_CANCELLED || c.code == 0);
  call_free(&c);
  CHECK_INT(files_in("k", "locks"), 0);
  CHECK_INT(files_in("r2", "locks"), 0);
  CHECK(survives(from, true));
  repo_unref(from);
  repo_unref(to);
}

TEST(memory_may_run_out) {
  make_target("k0", 2);
  care_copy("k0", "k");
  repo *from = restore_open(care_at("r2"), "x");
  for (long n = 1; check_bad == 0; n += is_long() ? 7 : 997) {
    repo *to = restore_open(care_at("k"), "x");
    saros_op *op = copy_begin(from, to, json_options("{'pack_size':'4M'}"));
    mem_fail_at(n);
    call_result c = call_end(op);
    bool failed = mem_fail_left() == 0;
    mem_fail_at(0);
    CHECK(c.code == 0 || c.code == SAROS_E_OUTOFMEMORY);
    bool ended = c.code == 0;
    call_free(&c);
    repo_unref(to);
    SHELL("rm -f '%s'/locks/*", care_at("k"));
    if (ended) care_copy("k0", "k");
    if (!failed) break;
  }
  CHECK(survives(from, false));
  repo_unref(from);
}

static void run(void) {
  RUN(versions_arrive_whole);
  RUN(restic_and_we_take_copies_for_copies);
  RUN(some_of_them_are_copied);
  RUN(what_makes_no_sense_is_refused);
  RUN(what_is_damaged_does_not_arrive);
  RUN(another_copy_of_it_is_taken);
  RUN(it_may_be_killed_before_any_change);
  RUN(it_may_be_killed_after_any_change);
  RUN(it_may_fail_anywhere);
  RUN(it_may_be_cancelled);
  RUN(memory_may_run_out);
}

TEST(without_restic) {
  SKIP("restic is not installed: what it makes cannot be copied");
}

int main(int argc, char **argv) {
  store_engine();
  if (argc == 6 && strcmp(argv[1], "--child") == 0) return be_child(argv);
  check_begin(argc, argv);
  if (care_begin()) {
    care_fill("r1", 1);
    care_fill("r2", 2);
    run();
  } else {
    RUN(without_restic);
  }
  care_end();
  return check_end();
}
