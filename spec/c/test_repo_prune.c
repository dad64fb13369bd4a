/*
** Pruning and forgetting in repositories of restic's: what is left is whole,
** says restic, every version that was kept can be restored, and that stays so
** when it is killed, or fails, at any moment.
**
** not under valgrind: its children are killed; ASan runs it
*/
#include "care_case.h"

static bool is_long(void) {
  return getenv("SAROS_LONG") != NULL;
}

static repo_prune_options thorough(void) {
  repo_prune_options o = REPO_PRUNE_OPTIONS;
  o.max_unused_share = -1;
  o.pack_size = REPO_PACK_LEAST;
  return o;
}

/* What restic lists of all versions: names, sizes, times. */
static char *contents(const char *name) {
  buffer b = BUFFER_EMPTY;
  CHECK(run_shell(&b,
                  "cd '%s' && for v in $(ls snapshots); do echo $v; restic "
                  "--no-cache --no-lock -q -r . dump $v / | sha256sum; done",
                  care_at(name)));
  return buffer_take(&b);
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

/* Those that have their names: restic writes a lock under another one, and
   nobody else sees it until it is renamed. */
static int64_t locks_in(const char *name) {
  buffer b = BUFFER_EMPTY;
  run_shell(&b, "ls '%s/locks' | grep -vc -- -tmp- || true", care_at(name));
  int64_t n = b.size > 0 ? atoll(b.data) : -1;
  buffer_free(&b);
  return n;
}


/* ------------------------------------------------------------------
** Pruning
** ---------------------------------------------------------------- */

TEST(what_is_left_is_whole_and_all_that_is_needed) {
  for (int version = 1; version <= 2; version++) {
    const char *name = version == 1 ? "r1" : "r2";
    care_copy(name, "p");
    char *before = contents("p");
    repo *r = restore_open(care_at("p"), "x");
    repo_prune_options o = thorough();
    value *report;
    int64_t packs = files_in("p", "data");
    o.dry_run = true;
    CHECK_INT(store_code(care_prune(r, &o, &report)), 0);
    CHECK(care_number(report, "packs_repacked") > 0);
    CHECK(care_number(report, "packs_removed") > 0);
    CHECK_INT(care_number(report, "packs_unreferenced"), 1);
    CHECK(care_number(report, "blobs_duplicate") > 0);
    CHECK_INT(files_in("p", "data"), packs);
    value_free(report);
    o.dry_run = false;
    CHECK_INT(store_code(care_prune(r, &o, &report)), 0);
    CHECK_INT(care_number(report, "bytes_unused_after"), 0);
    CHECK_INT(files_in("p", "data"), care_number(report, "packs_kept") +
                                         care_number(report, "packs_new"));
    CHECK_INT(files_in("p", "index"), 1);
    value_free(report);
    CHECK(restic_is_content("p"));
    CHECK(care_is_whole(r));
    char *after = contents("p");
    CHECK(same_text(before, after));
    /* Restic finds nothing more to do, and neither do we. */
    packs = files_in("p", "data");
    CHECK(care_restic("p", "prune --max-unused 0"));
    CHECK_INT(files_in("p", "data"), packs);
    CHECK_INT(store_code(care_prune(r, &o, &report)), 0);
    CHECK_INT(care_number(report, "packs_repacked"), 0);
    CHECK_INT(care_number(report, "packs_removed"), 0);
    CHECK_INT(care_number(report, "index_files_new"), 0);
    value_free(report);
    repo_unref(r);
  }
}

/* As much as restic, by the same rules. */
TEST(restic_would_have_kept_the_same_packs) {
  value *report;
  repo_prune_options o = REPO_PRUNE_OPTIONS;
  care_copy("r2", "p");
  care_copy("r2", "q");
  repo *r = restore_open(care_at("p"), "x");
  CHECK_INT(store_code(care_prune(r, &o, &report)), 0);
  value_free(report);
  CHECK(care_restic("q", "prune"));
  buffer b = BUFFER_EMPTY;
  /* Those that are in both, and were there before. */
  CHECK(run_shell(&b,
                  "cd '%s' && for d in p q; do ls $d/data/* | sort >$d.list; "
                  "ls r2/data/* | sort | comm -12 - $d.list >$d.old; done; "
                  "cmp p.old q.old && echo same",
                  care_base));
  CHECK_TEXT(b.data, "same\n");
  buffer_free(&b);
  repo_unref(r);
}

/* The same open repository is used again: what it knows is new. */
TEST(the_index_is_renewed) {
  care_copy("r2", "p");
  repo *r = restore_open(care_at("p"), "x");
  repo_hold *h;
  repo_index *x;
  value *report;
  repo_place place;
  repo_prune_options o = thorough();
  CHECK(repo_hold_take(r, REPO_READS, NULL, NULL, NULL, &h) == NULL);
  CHECK(repo_index_of(h, &x) == NULL);
  size_t before = repo_index_count(x);
  CHECK(repo_hold_end(h, NULL, NULL, NULL) == NULL);
  CHECK_INT(store_code(care_prune(r, &o, &report)), 0);
  CHECK(repo_hold_take(r, REPO_READS, NULL, NULL, NULL, &h) == NULL);
  CHECK(repo_index_of(h, &x) == NULL);
  CHECK_INT(repo_index_count(x), care_number(report, "blobs_used"));
  CHECK(repo_index_count(x) < before);
  CHECK(repo_hold_end(h, NULL, NULL, NULL) == NULL);
  value_free(report);
  (void)place;
  repo_unref(r);
}

/* A backup that failed may leave packs in the memory of this process that no
   index file names: they are not what keeps a blob alive. */
static error *keep_first(void *context, const repo_id *pack,
                         const repo_blob *blobs, size_t count) {
  repo_index *x = context;
  repo_id ghost = *pack;
  ghost.bytes[0] ^= 0xFF;
  return repo_index_add(x, &ghost, blobs, count);
}

TEST(what_only_this_process_knows_does_not_count) {
  care_copy("r2", "p");
  repo *r = restore_open(care_at("p"), "x");
  repo_hold *h;
  repo_index *x;
  value *report;
  repo_prune_options o = thorough();
  CHECK(repo_hold_take(r, REPO_ADDS, NULL, NULL, NULL, &h) == NULL);
  CHECK(repo_index_of(h, &x) == NULL);
  CHECK(repo_index_packs(x, keep_first, x) == NULL);
  CHECK(repo_hold_end(h, NULL, NULL, NULL) == NULL);
  CHECK_INT(store_code(care_prune(r, &o, &report)), 0);
  value_free(report);
  CHECK(restic_is_content("p"));
  repo_unref(r);
}

TEST(trees_are_compressed_and_data_when_asked) {
  value *report;
  repo_prune_options o = thorough();
  SHELL("mkdir -p '%s' && rm -rf '%s'/*", care_at("w"), care_at("w"));
  repo *w = writer_new(care_at("w"));
  static char zeros[100000];
  repo_id data = put_blob(w, REPO_DATA, zeros, sizeof zeros);
  put_version(w, put_tree(w,
                          "{'name':'f','type':'file','mode':420,'size':100000,"
                          "'content':['%s']," NODE_REST "}",
                          id_text(data)));
  CHECK_INT(store_code(care_prune(w, &o, &report)), 0);
  CHECK_INT(care_number(report, "packs_repacked"), 1);
  value_free(report);
  o.repack_uncompressed = true;
  CHECK_INT(store_code(care_prune(w, &o, &report)), 0);
  CHECK_INT(care_number(report, "packs_repacked"), 1);
  CHECK(care_number(report, "bytes_new") < 1000);
  value_free(report);
  CHECK_INT(store_code(care_prune(w, &o, &report)), 0);
  CHECK_INT(care_number(report, "packs_repacked"), 0);
  value_free(report);
  CHECK(restic_is_content("w"));
  repo_unref(w);
}


/* ------------------------------------------------------------------
** What must not be touched
** ---------------------------------------------------------------- */

/* Nothing at all was removed. */
static void refused(repo *r, uint32_t code) {
  value *report;
  repo_prune_options o = thorough();
  int64_t packs = files_in("p", "data"), indexes = files_in("p", "index");
  CHECK_INT(store_code(care_prune(r, &o, &report)), code);
  CHECK(report == NULL);
  CHECK_INT(files_in("p", "data"), packs);
  CHECK_INT(files_in("p", "index"), indexes);
}

static void remove_one(const char *pattern) {
  SHELL("cd '%s' && f=$(ls -S %s | head -n 1) && rm \"$f\"", care_at("p"),
        pattern);
}

TEST(what_is_damaged_is_left_alone) {
  static const char *const patterns[] = {"data/*/*", "index/*"};
  for (int i = 0; i < 2; i++) {
    care_copy("r2", "p");
    repo *r = restore_open(care_at("p"), "x");
    /* so that every pack is needed */
    repo_prune_options o = thorough();
    value *report;
    CHECK_INT(store_code(care_prune(r, &o, &report)), 0);
    value_free(report);
    remove_one(patterns[i]);
    refused(r, SAROS_E_DAMAGED);
    repo_unref(r);
  }
  static const char *const flips[] = {"snapshots/*", "index/*"};
  for (int i = 0; i < 2; i++) {
    care_copy("r2", "p");
    repo *r = restore_open(care_at("p"), "x");
    SHELL(
        "cd '%s' && f=$(ls %s | head -n 1) && cp $f x && rm -f $f && printf "
        "abcd | dd of=x bs=1 seek=40 conv=notrunc status=none && mv x $f",
        care_at("p"), flips[i]);
    refused(r, SAROS_E_DAMAGED);
    repo_unref(r);
  }
}

/* A store that lists what it cannot find: what that one needs would go. */
TEST(what_is_listed_must_be_there) {
  static const repo_file kinds[] = {REPO_SNAPSHOTS, REPO_INDEXES};
  for (int i = 0; i < 2; i++) {
    care_copy("r2", "p");
    repo *r = restore_open(care_at("p"), "x");
    repo_store *inner = r->store;
    faulty_store f;
    r->store = faulty_around(&f, inner);
    f.kinds = 1u << kinds[i];
    f.number = ENOENT;
    faulty_at(&f, STORE_FAILS, STORE_LOAD, 1);
    refused(r, SAROS_E_DAMAGED);
    CHECK(atomic_load(&f.left) <= 0);
    r->store = inner;
    repo_unref(r);
  }
}

/* Another copy of what it has is there: then it can go. */
TEST(a_bad_pack_with_nothing_of_its_own_goes) {
  value *report;
  repo_prune_options o = thorough();
  SHELL("mkdir -p '%s' && rm -rf '%s'/*", care_at("w"), care_at("w"));
  repo *w = writer_new(care_at("w"));
  put_blob(w, REPO_DATA, "hello", 5);
  repo_id data = put_blob(w, REPO_DATA, "hello", 5);
  put_version(w, put_tree(w,
                          "{'name':'f','type':'file','mode':420,'size':5,"
                          "'content':['%s']," NODE_REST "}",
                          id_text(data)));
  SHELL("cd '%s/data' && rm $(ls -d */* -S | tail -n 1)", care_at("w"));
  CHECK_INT(store_code(care_prune(w, &o, &report)), 0);
  CHECK_INT(care_number(report, "packs_missing"), 1);
  value_free(report);
  CHECK(care_is_whole(w));
  CHECK(restic_is_content("w"));
  repo_unref(w);
}

/* A byte of every sixteen, but for the header, which pruning does not read. */
static void spoil(const char *path) {
  struct stat st;
  uint64_t header = 0;
  uint8_t end[4], bad = 0xA5;
  int fd = open(path, O_RDWR | O_CLOEXEC);
  CHECK(fd >= 0 && fstat(fd, &st) == 0);
  CHECK(pread(fd, end, sizeof end, st.st_size - 4) == 4);
  for (int i = 3; i >= 0; i--) header = header << 8 | end[i];
  for (off_t at = 20; at + (off_t)header + 4 < st.st_size; at += 16)
    CHECK(pwrite(fd, &bad, 1, at) == 1);
  close(fd);
}

/* A blob that is bad in a pack that is to be copied, and nowhere else: it ends
   there, and nothing that is needed was removed. */
TEST(what_cannot_be_copied_stays_where_it_is) {
  care_copy("r2", "p");
  repo *r = restore_open(care_at("p"), "x");
  value *report;
  buffer b = BUFFER_EMPTY;
  repo_prune_options o = thorough();
  /* every pack of files */
  CHECK(run_shell(&b,
                  "cd '%s/data' && for f in $(ls -d */* -S | head -n 6); do cp "
                  "$f x && mv -f x $f && realpath $f; done",
                  care_at("p")));
  for (char *next, *path = b.data; path != NULL && *path != '\0'; path = next) {
    next = path + strcspn(path, "\n");
    if (*next != '\0') *next++ = '\0';
    CHECK(chmod(path, 0600) == 0);
    spoil(path);
  }
  buffer_free(&b);
  int64_t indexes = files_in("p", "index");
  uint32_t code = store_code(care_prune(r, &o, &report));
  CHECK_INT(code, SAROS_E_DAMAGED);
  CHECK(files_in("p", "index") >= indexes);
  value_free(report);
  repo_unref(r);
}


/* ------------------------------------------------------------------
** Others
** ---------------------------------------------------------------- */

TEST(nobody_else_may_use_it) {
  care_copy("r2", "p");
  repo *r = restore_open(care_at("p"), "x");
  repo_prune_options o = thorough();
  value *report;
  /* Both ends are open here, so that the shell is not kept. */
  CHECK(mkfifo(care_at("fifo"), 0600) == 0);
  int fd = open(care_at("fifo"), O_RDWR | O_CLOEXEC);
  SHELL(
      "restic --no-cache -q -r '%s' backup --stdin >/dev/null <'%s' & echo "
      "$! >'%s'",
      care_at("p"), care_at("fifo"), care_at("pid"));
  CHECK(fd >= 0);
  /* Under its name: before, it is nobody's. */
  while (store_count(r->store, REPO_LOCKS) == 0) usleep(10000);
  buffer b = BUFFER_EMPTY;
  CHECK(run_shell(&b, "cat '%s'", care_at("pid")));
  b.data[strcspn(b.data, "\n")] = '\0';
  error *e = care_prune(r, &o, &report);
  CHECK(e != NULL && e->code == SAROS_E_LOCKED);
  CHECK(store_says(e, b.data)); /* who holds it */
  buffer_free(&b);
  CHECK(write(fd, "x", 1) == 1);
  close(fd);
  while (locks_in("p") != 0) usleep(10000);
  CHECK_INT(store_code(care_prune(r, &o, &report)), 0);
  value_free(report);
  /* And the other way round. */
  repo_hold *h;
  CHECK(repo_hold_take(r, REPO_REMOVES, NULL, NULL, NULL, &h) == NULL);
  CHECK(!run_shell(NULL, "restic --no-cache -q -r '%s' prune >/dev/null 2>&1",
                   care_at("p")));
  CHECK(repo_hold_end(h, NULL, NULL, NULL) == NULL);
  CHECK(care_restic("p", "check --read-data"));
  repo_unref(r);
}


/* ------------------------------------------------------------------
** Killed, and failing
** ---------------------------------------------------------------- */

typedef enum doing { PRUNES, FORGETS } doing;

static error *do_it(repo *r, doing what, value **report) {
  repo_prune_options o = thorough();
  if (what == FORGETS)
    return care_forget(r, "{'keep_last':1,'group_by':['host']}", report);
  return care_prune(r, &o, report);
}

/* In a child, which has a repository of its own. 0: it came to its end. */
static int child(doing what, store_fault fault, long n) {
  pid_t pid = fork();
  if (pid == 0) {
    faulty_store f;
    value *report;
    repo *r = restore_open(care_at("k"), "x");
    if (r == NULL) _exit(90);
    repo_store *inner = r->store;
    r->store = faulty_around(&f, inner);
    faulty_at(&f, fault, STORE_CHANGES, n);
    error *e = do_it(r, what, &report);
    _exit(e != NULL ? 91 : 0);
  }
  int status = 0;
  CHECK(waitpid(pid, &status, 0) == pid);
  return status;
}

/* All versions that are there are whole; then it comes to its end, and they
   are still. */
static bool survives(repo *r, doing what, bool ask_restic) {
  value *report;
  SHELL("rm -f '%s'/locks/*", care_at("k"));
  if (!care_is_whole(r)) return false;
  if (ask_restic && !restic_is_content("k")) return false;
  error *e = do_it(r, what, &report);
  value_free(report);
  if (e != NULL) printf("again: %s\n", e->message);
  bool good = e == NULL && care_is_whole(r);
  error_unref(e);
  if (good && what == PRUNES) good = files_in("k", "index") == 1;
  if (good && what == FORGETS) good = files_in("k", "snapshots") == 1;
  return good && (!ask_restic || restic_is_content("k"));
}

static void storm(doing what, store_fault fault, bool ends_by_signal) {
  care_copy("r2", "k");
  repo *r = restore_open(care_at("k"), "x");
  int ended = 0, hit = 0;
  /* Of each three one, from another one on each time. */
  long step = is_long() ? 1 : 3;
  for (long n = 1 + (long)getpid() % step; !ended && r != NULL; n += step) {
    care_copy("r2", "k");
    int status = child(what, fault, n);
    ended = WIFEXITED(status) && WEXITSTATUS(status) == 0;
    CHECK(ended ||
          (ends_by_signal ? WIFSIGNALED(status) : WEXITSTATUS(status) == 91));
    /* That it fails at an end that is not needed any more is possible. */
    if (!ends_by_signal && WIFEXITED(status) && WEXITSTATUS(status) == 90)
      break;
    CHECK(survives(r, what, is_long() || hit == 1));
    hit++;
    if (check_bad > 0) {
      printf("  (at call %ld)\n", n);
      break;
    }
  }
  printf("%s: %d instants\n", what == PRUNES ? "prune" : "forget", hit);
  CHECK(hit > (what == PRUNES ? 8 : 3) / step);
  repo_unref(r);
}

TEST(a_prune_may_be_killed_before_any_change) {
  storm(PRUNES, STORE_KILLS, true);
}

TEST(a_prune_may_be_killed_after_any_change) {
  storm(PRUNES, STORE_KILLS_AFTER, true);
}

TEST(a_forget_may_be_killed_at_any_change) {
  storm(FORGETS, STORE_KILLS, true);
  storm(FORGETS, STORE_KILLS_AFTER, true);
}

/* Wherever it is, at seeded moments: also in the middle of a write. */
TEST(a_prune_may_be_killed_at_any_moment) {
  care_copy("r2", "k");
  repo *r = restore_open(care_at("k"), "x");
  int rounds = is_long() ? 250 : 4, ended = 0;
  for (int i = 0; i < rounds && check_bad == 0; i++) {
    care_copy("r2", "k");
    pid_t pid = fork();
    if (pid == 0) {
      value *report;
      repo *own = restore_open(care_at("k"), "x");
      error *e = own != NULL ? do_it(own, PRUNES, &report) : NULL;
      _exit(own == NULL || e != NULL);
    }
    usleep(care_random(120000));
    kill(pid, SIGKILL);
    int status;
    CHECK(waitpid(pid, &status, 0) == pid);
    ended += WIFEXITED(status);
    CHECK(survives(r, PRUNES, i % 10 == 0));
  }
  printf("killed %d times, %d had come to their end\n", rounds - ended, ended);
  repo_unref(r);
}

/* Every change fails once, then all that follow: what there is stays whole. */
static void fail_at_each(int number, bool lasts) {
  care_copy("r2", "k");
  repo *r = restore_open(care_at("k"), "x");
  repo_store *inner = r->store;
  for (long n = 1; check_bad == 0; n += is_long() ? 1 : 5) {
    faulty_store f;
    value *report;
    care_copy("r2", "k");
    r->store = faulty_around(&f, inner);
    f.number = number;
    f.lasts = lasts;
    f.kinds = ~(1u << REPO_LOCKS);
    faulty_at(&f, STORE_FAILS, STORE_CHANGES, n);
    error *e = do_it(r, PRUNES, &report);
    bool failed = e != NULL;
    CHECK(!failed || e->number == number ||
          (e->cause != NULL && e->cause->number == number));
    error_unref(e);
    value_free(report);
    r->store = inner;
    CHECK(survives(r, PRUNES, false));
    if (!failed) break;
  }
  r->store = inner;
  repo_unref(r);
}

TEST(a_prune_may_fail_anywhere) {
  fail_at_each(EIO, false);
  fail_at_each(ENOSPC, true);
}

TEST(a_prune_may_be_cancelled) {
  care_copy("r2", "k");
  repo *r = restore_open(care_at("k"), "x");
  saros_op *op = call_begin(r, "prune", json_options("{'max_unused':0}"));
  saros_op_cancel(op);
  call_result c = call_end(op);
  CHECK(c.code == SAROS_E_CANCELLED || c.code == 0);
  call_free(&c);
  CHECK(survives(r, PRUNES, false));
  CHECK_INT(files_in("k", "locks"), 0);
  repo_unref(r);
}

TEST(memory_may_run_out_in_a_prune) {
  care_copy("r2", "k");
  repo *r = restore_open(care_at("k"), "x");
  for (long n = 1; check_bad == 0; n += is_long() ? 7 : 101) {
    value *report;
    if (n % 2 == 1) care_copy("r2", "k");
    mem_fail_at(n);
    error *e = do_it(r, PRUNES, &report);
    bool failed = mem_fail_left() == 0;
    mem_fail_at(0);
    CHECK(e == NULL || e->code == SAROS_E_OUTOFMEMORY);
    bool ended = e == NULL;
    error_unref(e);
    value_free(report);
    SHELL("rm -f '%s'/locks/*", care_at("k"));
    if (ended || n % 5 == 0) CHECK(care_is_whole(r));
    if (!failed) break;
  }
  repo_unref(r);
}


/* ------------------------------------------------------------------
** Forgetting
** ---------------------------------------------------------------- */

static void many_versions(const char *name) {
  cheap_repository(care_at(name), "x", 2);
  SHELL("mkdir -p '%s/t' && echo x >'%s/t/f'", care_base, care_base);
  for (int i = 0; i < (is_long() ? 24 : 12); i++)
    CHECK(care_restic(name,
                      "backup --force --time '20%02u-%02u-%02u %02u:%02u:00' "
                      "--host h%u --tag %s '%s/t'",
                      20 + care_random(3), 1 + care_random(12),
                      1 + care_random(28), care_random(24), care_random(60),
                      care_random(2), care_random(2) ? "a" : "b,c", care_base));
  SHELL("find '%s/data' -type d -empty -delete", care_at(name));
}

/* What is left, in both. */
TEST(restic_would_have_forgotten_the_same) {
  many_versions("f");
  for (int i = 0; i < (is_long() ? 60 : 3); i++) {
    unsigned daily = care_random(6), monthly = care_random(4),
             yearly = care_random(3), weekly = care_random(5),
             within = care_random(3);
    char ours[300], theirs[300];
    care_copy("f", "f1");
    care_copy("f", "f2");
    snprintf(ours, sizeof ours,
             "{'keep_last':1,'keep_daily':%u,'keep_weekly':%u,"
             "'keep_monthly':%u,'keep_yearly':%u%s%s%s}",
             daily, weekly, monthly, yearly,
             within > 0 ? ",'keep_within':'3m5d'" : "",
             i % 3 == 0 ? ",'keep_tags':[['b','c']]" : "",
             i % 2 == 0 ? ",'group_by':['host','tags']" : "");
    snprintf(theirs, sizeof theirs,
             "forget --keep-last 1 --keep-daily %u --keep-weekly %u "
             "--keep-monthly %u --keep-yearly %u %s %s %s",
             daily, weekly, monthly, yearly,
             within > 0 ? "--keep-within 3m5d" : "",
             i % 3 == 0 ? "--keep-tag b,c" : "",
             i % 2 == 0 ? "--group-by host,tags" : "");
    repo *r = restore_open(care_at("f1"), "x");
    value *report;
    CHECK_INT(store_code(care_forget(r, ours, &report)), 0);
    CHECK(care_restic("f2", "%s", theirs));
    /* Ours may keep the oldest of a group, which restic 0.14 does not. */
    buffer b = BUFFER_EMPTY;
    CHECK(run_shell(&b,
                    "cd '%s' && ls f1/snapshots | sort >1.list; ls "
                    "f2/snapshots | sort >2.list; comm -13 1.list 2.list",
                    care_base));
    CHECK_INT(b.size, 0); /* restic keeps nothing that we do not */
    buffer_clear(&b);
    CHECK(run_shell(&b, "cd '%s' && comm -23 1.list 2.list", care_base));
    const value *groups = value_get(report, "groups");
    buffer_put(&b, "", 0);
    for (char *id = strtok(b.data, "\n"); id != NULL; id = strtok(NULL, "\n")) {
      bool oldest = false;
      for (uint32_t g = 0; groups != NULL && g < groups->count; g++) {
        const value *keep = value_get(groups->as.items[g], "keep");
        const value *gone = value_get(groups->as.items[g], "remove");
        const value *last =
            keep->count > 0 ? keep->as.items[keep->count - 1] : NULL;
        if (last == NULL || strcmp(value_chars(value_get(last, "id"), ""), id))
          continue;
        oldest = true;
        for (uint32_t k = 0; k < gone->count; k++)
          oldest = oldest &&
                   strcmp(value_chars(value_get(gone->as.items[k], "time"), ""),
                          value_chars(value_get(last, "time"), "")) >= 0;
      }
      CHECK(oldest);
    }
    if (check_bad > 0) printf("  (%s)\n  (%s)\n", ours, theirs);
    buffer_free(&b);
    value_free(report);
    repo_unref(r);
  }
}

TEST(all_are_not_removed_by_accident) {
  care_copy("f", "f1");
  repo *r = restore_open(care_at("f1"), "x");
  value *report;
  int64_t count = files_in("f1", "snapshots");
  CHECK_INT(store_code(care_forget(r, "{}", &report)), 0);
  CHECK_INT(care_number(report, "kept"), count);
  value_free(report);
  CHECK_INT(
      store_code(care_forget(r, "{'keep_tags':['nobody has it']}", &report)),
      SAROS_E_REFUSED);
  CHECK_INT(
      store_code(care_forget(r, "{'unsafe_allow_remove_all':true}", &report)),
      SAROS_E_REFUSED);
  CHECK_INT(files_in("f1", "snapshots"), count);
  CHECK_INT(store_code(care_forget(r,
                                   "{'keep_last':1,'dry_run':true,"
                                   "'host':'h0'}",
                                   &report)),
            0);
  const value *removed = value_get(report, "removed");
  CHECK(removed != NULL && removed->count > 0);
  CHECK_INT(files_in("f1", "snapshots"), count);
  value_free(report);
  CHECK_INT(store_code(care_forget(r,
                                   "{'unsafe_allow_remove_all':true,"
                                   "'host':'h0'}",
                                   &report)),
            0);
  removed = value_get(report, "removed");
  CHECK(removed != NULL);
  CHECK_INT(files_in("f1", "snapshots"),
            count - (removed != NULL ? (int64_t)removed->count : 0));
  value_free(report);
  repo_unref(r);
}

static void first_id(const char *name, char id[REPO_ID_TEXT]) {
  buffer b = BUFFER_EMPTY;
  CHECK(run_shell(&b, "ls '%s'/snapshots | head -n 1 | tr -d '\\n'",
                  care_at(name)));
  snprintf(id, REPO_ID_TEXT, "%s", b.data != NULL ? b.data : "");
  buffer_free(&b);
}

TEST(versions_are_removed_by_their_ids) {
  char id[REPO_ID_TEXT], options[200];
  value *report;
  care_copy("f", "f1");
  repo *r = restore_open(care_at("f1"), "x");
  int64_t count = files_in("f1", "snapshots");
  first_id("f1", id);
  snprintf(options, sizeof options, "{'ids':['%.12s','%.12s']}", id, id);
  CHECK_INT(store_code(care_forget(r, options, &report)), 0);
  value_free(report);
  CHECK_INT(files_in("f1", "snapshots"), count - 1);
  CHECK_INT(store_code(care_forget(r, options, &report)), SAROS_E_INVALIDARG);
  CHECK_INT(store_code(care_forget(r, "{'ids':['']}", &report)),
            SAROS_E_INVALIDARG);
  snprintf(options, sizeof options, "{'ids':['%.12s'],'keep_last':3}", id);
  CHECK_INT(store_code(care_forget(r, options, &report)), SAROS_E_INVALIDARG);
  /* One that nobody can read any more. */
  first_id("f1", id);
  SHELL("cd '%s/snapshots' && rm -f %s && echo >%s", care_at("f1"), id, id);
  CHECK_INT(store_code(care_forget(r, "{'keep_last':100}", &report)),
            SAROS_E_DAMAGED);
  snprintf(options, sizeof options, "{'ids':['%s']}", id);
  CHECK_INT(store_code(care_forget(r, options, &report)), 0);
  value_free(report);
  CHECK_INT(store_code(care_forget(r, "{'keep_last':100}", &report)), 0);
  value_free(report);
  repo_unref(r);
}

TEST(rules_are_read) {
  static const char *const bad[] = {"{'keep_last':-2}",
                                    "{'keep_last':'x'}",
                                    "{'keep_within':'5x'}",
                                    "{'keep_within':''}",
                                    "{'keep_tags':'a'}",
                                    "{'keep_tags':[1]}",
                                    "{'keep_tags':[[]]}",
                                    "{'group_by':['x']}",
                                    "{'ids':[1]}",
                                    "{'tags':'a'}",
                                    "{'paths':[2]}",
                                    "{'group_by':'host'}",
                                    "{'keep_daily':3000000000}"};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    repo_forget_options o;
    value *v = json_options("%s", bad[i]);
    error *e = repo_forget_read_options(v, &o);
    CHECK_INT(store_code(e), SAROS_E_INVALIDARG);
    value_free(v);
  }
}

TEST(forgetting_and_pruning_are_one_operation) {
  care_copy("r2", "p");
  repo *r = restore_open(care_at("p"), "x");
  int64_t packs = files_in("p", "data");
  call_result c = call_now(
      r, "forget", json_options("{'keep_last':1,'prune':{'max_unused':0}}"));
  CHECK_INT(c.code, 0);
  CHECK(value_get(value_get(c.output, "prune"), "packs_removed") != NULL);
  call_free(&c);
  CHECK(files_in("p", "data") < packs);
  CHECK_INT(files_in("p", "snapshots"), 1);
  CHECK(restic_is_content("p"));
  c = call_now(r, "check", json_options("{'read_data':true}"));
  CHECK_INT(c.code, 0);
  call_free(&c);
  remove_one("data/*/*");
  saros_op *op = call_begin(r, "check", json_options("{}"));
  saros_op_ref(op);
  c = call_end(op);
  CHECK_INT(c.code, SAROS_E_DAMAGED);
  value *status = op_status(op);
  CHECK(care_number(status, "finding_count") > 0);
  CHECK(care_first(status, "pack_missing") != NULL);
  value_free(status);
  saros_op_unref(op);
  call_free(&c);
  repo_unref(r);
}

static void run(void) {
  RUN(what_is_left_is_whole_and_all_that_is_needed);
  RUN(restic_would_have_kept_the_same_packs);
  RUN(the_index_is_renewed);
  RUN(what_only_this_process_knows_does_not_count);
  RUN(trees_are_compressed_and_data_when_asked);
  RUN(what_is_damaged_is_left_alone);
  RUN(what_is_listed_must_be_there);
  RUN(a_bad_pack_with_nothing_of_its_own_goes);
  RUN(what_cannot_be_copied_stays_where_it_is);
  RUN(nobody_else_may_use_it);
  RUN(a_prune_may_be_killed_before_any_change);
  RUN(a_prune_may_be_killed_after_any_change);
  RUN(a_prune_may_be_killed_at_any_moment);
  RUN(a_forget_may_be_killed_at_any_change);
  RUN(a_prune_may_fail_anywhere);
  RUN(a_prune_may_be_cancelled);
  RUN(memory_may_run_out_in_a_prune);
  RUN(restic_would_have_forgotten_the_same);
  RUN(all_are_not_removed_by_accident);
  RUN(versions_are_removed_by_their_ids);
  RUN(forgetting_and_pruning_are_one_operation);
}

TEST(without_restic) {
  SKIP("restic is not installed: what it makes cannot be pruned");
}

int main(int argc, char **argv) {
  check_begin(argc, argv);
  store_engine();
  RUN(rules_are_read);
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
