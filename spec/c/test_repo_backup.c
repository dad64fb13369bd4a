/*
** Backups: what they make is what restic makes, to the byte, and the other way
** round; what is unchanged, left out, or read from somewhere else.
**
** not under valgrind: it asks restic; ASan runs it
*/
#include "backup_case.h"
#include "repository/packer_parts.h"

/* What restic would have to add to a repository to have the same version. */
static void expect_nothing_added(const char *repository,
                                 const char *arguments) {
  value *v = restic_backup(repository, arguments);
  CHECK_INT(value_integer(value_get(v, "data_blobs"), -1), 0);
  CHECK_INT(value_integer(value_get(v, "tree_blobs"), -1), 0);
  value_free(v);
}

/* Everything as `find` and `getfattr` see it, but for what no restore gives. */
static void list_tree(buffer *b, const char *path) {
  CHECK(run_shell(b,
                  "cd %s && find . ! -type s ! -name src -printf "
                  "'%%p %%y %%m %%U %%G %%T@ %%l %%s %%n\\n' | sed "
                  "'s/^\\(\\S* d .*\\) [0-9]* [0-9]*$/\\1/' | LC_ALL=C sort && "
                  "find . -type f | LC_ALL=C sort | tr '\\n' '\\0' | "
                  "xargs -0 sha256sum 2>/dev/null; true",
                  path));
}


/* ------------------------------------------------------------------
** Parity
** ---------------------------------------------------------------- */

static void parity(unsigned version, const char *options,
                   const char *arguments) {
  if (!has_restic()) SKIP("restic is not installed");
  place_make();
  put_everything();
  repo *r = repo_made("r", version);
  saros_op *op = backed_up(r, options, 0);
  CHECK(number_in(op, "data_blobs") > 5);
  CHECK_INT(number_in(op, "failed"), 0);
  saros_op_unref(op);
  CHECK(restic_checks("r"));
  expect_nothing_added("r", arguments);
  /* Unchanged, by what restic wrote, without a look into the files. */
  op = backed_up(r, options, 0);
  CHECK_INT(number_in(op, "files_new"), 0);
  CHECK_INT(number_in(op, "files_changed"), 0);
  CHECK(number_in(op, "files_unmodified") > 2);
  CHECK_INT(number_in(op, "data_blobs"), 0);
  CHECK_INT(number_in(op, "tree_blobs"), 0);
  saros_op_unref(op);
  repo_unref(r);
  /* The other way round. */
  r = repo_made("other", version);
  value_free(restic_backup("other", arguments));
  buffer b = BUFFER_EMPTY;
  for (size_t i = 0; options[i] != '\0'; i++) {
    if (options[i] == '}' && options[i + 1] == '\0')
      buffer_text(&b, ",\"force\":true");
    buffer_byte(&b, options[i]);
  }
  op = backed_up(r, b.data, 0);
  CHECK_INT(number_in(op, "data_blobs"), 0);
  CHECK_INT(number_in(op, "tree_blobs"), 0);
  CHECK_INT(number_in(op, "files_unmodified"), 0);
  saros_op_unref(op);
  buffer_free(&b);
  repo_unref(r);
  place_end();
}

TEST(parity_absolute) {
  parity(2, "{\"paths\":[\"@/src\"]}", "--force $PWD");
}

TEST(parity_absolute_1) {
  parity(1, "{\"paths\":[\"@/src\"]}", "--force $PWD");
}

/* From where it is: only what is below is in the tree. */
TEST(parity_relative) {
  if (!has_restic()) SKIP("restic is not installed");
  int here = open(".", O_PATH | O_CLOEXEC);
  place_make();
  put_everything();
  CHECK(chdir(at("src")) == 0);
  repo *r = repo_made("r", 2);
  saros_op_unref(backed_up(r, "{\"paths\":[\".\"]}", 0));
  expect_nothing_added("r", "--force .");
  saros_op_unref(
      backed_up(r, "{\"paths\":[\"deep/../deep/er\",\"plain\"]}", 0));
  expect_nothing_added("r", "--force deep/er plain");
  CHECK(chdir("deep") == 0);
  saros_op_unref(backed_up(r, "{\"paths\":[\"../plain\",\"er/still\"]}", 0));
  CHECK(chdir("..") == 0);
  expect_nothing_added("r",
                       "/dev/null >/dev/null; cd deep; TMPDIR=../../tmp "
                       "RESTIC_PASSWORD=x restic --no-cache -r ../../r "
                       "backup --json --force ../plain er/still");
  CHECK(fchdir(here) == 0);
  close(here);
  repo_unref(r);
  place_end();
}

TEST(parity_of_several) {
  parity(2,
         "{\"paths\":[\"@/src/deep/er\",\"@/src/plain\",\"@/src/link\","
         "\"@/src/large\",\"@/src/deep/er/still\"]}",
         "--force $PWD/deep/er $PWD/plain $PWD/link $PWD/large");
}

/* Restored by restic, it is what it was. */
TEST(restored) {
  if (!has_restic()) SKIP("restic is not installed");
  place_make();
  put_everything();
  repo *r = repo_made("r", 2);
  saros_op_unref(backed_up(r, "{\"paths\":[\"@/src\"]}", 0));
  CHECK(run_shell(NULL, RESTIC "%s restore latest --target %s 2>&1", place.path,
                  at("r"), at("out")));
  char back[200];
  snprintf(back, sizeof back, "%s%s/src", at("out"), place.path);
  buffer was = BUFFER_EMPTY, is = BUFFER_EMPTY;
  list_tree(&was, at("src"));
  list_tree(&is, back);
  CHECK(was.size > 1000 && is.size == was.size &&
        memcmp(was.data, is.data, is.size) == 0);
  if (is.size != was.size || memcmp(was.data, is.data, is.size) != 0)
    printf("%s\n---\n%s\n", was.data, is.data);
  buffer_free(&was);
  buffer_free(&is);
  repo_unref(r);
  place_end();
}


/* ------------------------------------------------------------------
** The version before
** ---------------------------------------------------------------- */

static void expect(saros_op *op, const char *name, int64_t n) {
  if (number_in(op, name) != n) printf("%s: ", name);
  CHECK_INT(number_in(op, name), n);
}

TEST(unchanged) {
  place_make();
  put_everything();
  repo *r = repo_made("r", 2);
  saros_op *first = backed_up(r, "{\"paths\":[\"@/src\"]}", 0);
  int64_t files = number_in(first, "files_new");
  int64_t dirs = number_in(first, "dirs_new");
  CHECK(files > 20 && dirs >= 5);
  saros_op *op = backed_up(r, "{\"paths\":[\"@/src\"]}", 0);
  expect(op, "files_unmodified", files);
  expect(op, "files_new", 0);
  expect(op, "files_changed", 0);
  expect(op, "data_blobs", 0);
  expect(op, "tree_blobs", 0);
  expect(op, "bytes", number_in(first, "bytes"));
  expect(op, "dirs_new", 0);
  expect(op, "dirs_unmodified", dirs);
  CHECK_TEXT(text_in(op, "tree"), text_in(first, "tree"));
  CHECK_TEXT(text_in(op, "parent"), text_in(first, "id"));
  CHECK(strcmp(text_in(op, "id"), text_in(first, "id")) != 0);
  saros_op_unref(op);
  op = backed_up(r, "{\"paths\":[\"@/src\"],\"skip_if_unchanged\":true}", 0);
  CHECK(value_boolean(value_get(op_output(op), "skipped"), false));
  CHECK_TEXT(text_in(op, "id"), "");
  CHECK_INT(store_count(r->store, REPO_SNAPSHOTS), 2);
  saros_op_unref(op);
  /* One file changes in place, one in its attributes alone, one goes. */
  put_random("src/one more", 77, 524289);
  CHECK(setxattr(at("src/zero"), "user.n", "v", 1, 0) == 0);
  CHECK(unlink(at("src/deep/z")) == 0);
  op = backed_up(r, "{\"paths\":[\"@/src\"]}", 0);
  expect(op, "files_changed", 2);
  expect(op, "files_new", 0);
  expect(op, "files_unmodified", files - 3);
  expect(op, "data_blobs", 1);
  expect(op, "tree_blobs", 3 + 1); /* deep, src, its place and the root */
  saros_op_unref(op);
  /* By force, everything is read again and nothing is stored. */
  op = backed_up(r, "{\"paths\":[\"@/src\"],\"force\":true}", 0);
  expect(op, "files_new", files - 1);
  expect(op, "data_blobs", 0);
  expect(op, "tree_blobs", 0);
  CHECK_TEXT(text_in(op, "parent"), "");
  saros_op_unref(op);
  saros_op_unref(first);
  repo_unref(r);
  place_end();
}

/* What says that nothing has changed is believed; and what was said to be
   passed over is. */
TEST(ignored) {
  place_make();
  put_text("src/f", "12345");
  repo *r = repo_made("r", 2);
  saros_op_unref(backed_up(r, "{\"paths\":[\"@/src\"]}", 0));
  put_time("src/f", 1000, 0);
  saros_op_unref(backed_up(r, "{\"paths\":[\"@/src\"]}", 0));
  put_text("src/f", "54321"); /* same size, and then the same time */
  put_time("src/f", 1000, 0);
  saros_op *op =
      backed_up(r, "{\"paths\":[\"@/src\"],\"ignore_ctime\":true}", 0);
  expect(op, "files_unmodified", 1);
  expect(op, "data_blobs", 0);
  saros_op_unref(op);
  op = backed_up(r, "{\"paths\":[\"@/src\"],\"force\":true}", 0);
  expect(op, "data_blobs", 1);
  saros_op_unref(op);
  /* Another inode: a copy with the same times, but ctime. */
  CHECK(run_shell(NULL, "cp -p %s %s && mv %s %s", at("src/f"), at("src/g"),
                  at("src/g"), at("src/f")));
  op = backed_up(r,
                 "{\"paths\":[\"@/src\"],\"ignore_ctime\":true,"
                 "\"ignore_inode\":true}",
                 0);
  expect(op, "files_unmodified", 1);
  saros_op_unref(op);
  repo_unref(r);
  place_end();
}

/* Which one is compared with: the last of this host, of these paths, not after
   the time it is said to be; or the one that is asked for. */
TEST(parents) {
  place_make();
  put_text("src/f", "1");
  put_text("src/g", "2");
  repo *r = repo_made("r", 2);
  saros_op *one = backed_up(r,
                            "{\"paths\":[\"@/src\"],\"host\":\"a\","
                            "\"time\":1000}",
                            0);
  saros_op *two = backed_up(r,
                            "{\"paths\":[\"@/src\"],\"host\":\"b\","
                            "\"time\":2000}",
                            0);
  CHECK_TEXT(text_in(two, "parent"), "");
  saros_op *op = backed_up(r,
                           "{\"paths\":[\"@/src\"],\"host\":\"a\","
                           "\"time\":\"1970-01-01T02:00:00+01:00\"}",
                           0);
  CHECK_TEXT(text_in(op, "parent"), text_in(one, "id"));
  saros_op_unref(op);
  op = backed_up(r, "{\"paths\":[\"@/src\"],\"host\":\"a\",\"time\":999}", 0);
  CHECK_TEXT(text_in(op, "parent"), "");
  saros_op_unref(op);
  op = backed_up(r, "{\"paths\":[\"@/src/f\"],\"host\":\"b\"}", 0);
  CHECK_TEXT(text_in(op, "parent"), "");
  saros_op_unref(op);
  char text[200];
  snprintf(text, sizeof text, "{\"paths\":[\"@/src\"],\"parent\":\"%.12s\"}",
           text_in(two, "id"));
  op = backed_up(r, text, 0);
  CHECK_TEXT(text_in(op, "parent"), text_in(two, "id"));
  saros_op_unref(op);
  op = backed_up(r, "{\"paths\":[\"@/src\"],\"parent\":\"xyz\"}",
                 code_of_errno(ESRCH));
  CHECK(failed_says(op, "there is no version 'xyz'"));
  saros_op_unref(op);
  saros_op_unref(one);
  saros_op_unref(two);
  repo_unref(r);
  place_end();
}


/* ------------------------------------------------------------------
** What is left out
** ---------------------------------------------------------------- */

static void left_out(repo *r, const char *options, int64_t files) {
  saros_op *op = backed_up(r, options, 0);
  if (number_in(op, "files") != files) printf("%s\n", options);
  expect(op, "files", files);
  saros_op_unref(op);
}

TEST(excluded) {
  place_make();
  repo *r = repo_made("r", 2);
  put_text("src/a.tmp", "1");
  put_text("src/b.TMP", "12");
  put_text("src/keep", "123456");
  make_directory("src/d");
  put_text("src/d/x", "1");
  put_text("src/d/.nobackup", "");
  make_directory("src/cache");
  put_text("src/cache/CACHEDIR.TAG",
           "Signature: 8a477f597d28d172789f06886806bc55\n");
  put_text("src/cache/y", "1");
  put_text("patterns", "# none\n*.tmp\n\ncache\n");
  left_out(r, "{\"paths\":[\"@/src\"]}", 7);
  left_out(r, "{\"paths\":[\"@/src\"],\"exclude\":[\"*.tmp\"]}", 6);
  left_out(r, "{\"paths\":[\"@/src\"],\"iexclude\":[\"*.tmp\"]}", 5);
  left_out(r, "{\"paths\":[\"@/src\"],\"exclude\":[\"@/src/d\"]}", 5);
  left_out(r, "{\"paths\":[\"@/src\"],\"exclude_file\":[\"@/patterns\"]}", 4);
  left_out(r,
           "{\"paths\":[\"@/src\"],\"exclude_if_present\":"
           "[\".nobackup\"]}",
           6);
  left_out(r, "{\"paths\":[\"@/src\"],\"exclude_caches\":true}", 6);
  left_out(r, "{\"paths\":[\"@/src\"],\"exclude_larger_than\":5}", 5);
  left_out(r, "{\"paths\":[\"@/src\"],\"exclude_larger_than\":\"1K\"}", 7);
  repo_unref(r);
  place_end();
}

TEST(one_file_system) {
  if (geteuid() != 0) SKIP("needs root, to mount");
  place_make();
  repo *r = repo_made("r", 2);
  put_text("src/f", "1");
  make_directory("src/m");
  CHECK(mount("none", at("src/m"), "tmpfs", 0, "size=1m") == 0);
  put_text("src/m/g", "1");
  make_directory("src/m/d");
  left_out(r, "{\"paths\":[\"@/src\"]}", 2);
  saros_op *op =
      backed_up(r, "{\"paths\":[\"@/src\"],\"one_file_system\":true}", 0);
  expect(op, "files", 1);
  expect(op, "dirs_changed", 3); /* m is there, empty */
  saros_op_unref(op);
  if (has_restic()) expect_nothing_added("r", "--force -x $PWD");
  CHECK(umount2(at("src/m"), MNT_DETACH) == 0);
  repo_unref(r);
  place_end();
}


/* ------------------------------------------------------------------
** Shadows and streams
** ---------------------------------------------------------------- */

/* The same files, seen through a mount somewhere else, are the same version:
   not a tree of it is stored again. */
TEST(origin) {
  if (geteuid() != 0) SKIP("needs root, to mount");
  place_make();
  put_everything();
  repo *r = repo_made("r", 2);
  saros_op *first = backed_up(r, "{\"paths\":[\"@/src\"]}", 0);
  CHECK(mount(at("src"), at("shadow"), NULL, MS_BIND, NULL) == 0);
  saros_op *op = backed_up(r,
                           "{\"sources\":[{\"path\":\"@/shadow\","
                           "\"origin\":{\"path\":\"@/src\"}}]}",
                           0);
  expect(op, "files_unmodified", number_in(first, "files"));
  CHECK_TEXT(text_in(op, "parent"), text_in(first, "id"));
  saros_op_unref(op);
  /* Of a device that has another number. */
  op = backed_up(r,
                 "{\"sources\":[{\"path\":\"@/shadow\",\"origin\":"
                 "{\"path\":\"@/src\",\"device\":424242}}]}",
                 0);
  expect(op, "data_blobs", 0);
  CHECK(number_in(op, "tree_blobs") >= 5);
  saros_op *again = backed_up(r,
                              "{\"sources\":[{\"path\":\"@/shadow\",\"origin\":"
                              "{\"path\":\"@/src\",\"device\":424242}}]}",
                              0);
  expect(again, "tree_blobs", 0);
  CHECK_TEXT(text_in(again, "tree"), text_in(op, "tree"));
  saros_op_unref(again);
  saros_op_unref(op);
  /* One that overlaps another, and is not the same, is refused. */
  op = backed_up(r,
                 "{\"sources\":[\"@/src\",{\"path\":\"@/shadow/deep\","
                 "\"origin\":{\"path\":\"@/src/deep\"}}]}",
                 SAROS_E_INVALIDARG);
  CHECK(failed_says(op, "is given twice"));
  saros_op_unref(op);
  CHECK(umount2(at("shadow"), MNT_DETACH) == 0);
  saros_op_unref(first);
  repo_unref(r);
  place_end();
}

static saros_op *stream_backup(repo *r, int fd, saros_op *of) {
  repo_stream *s = mem_alloc(sizeof *s);
  uint32_t why;
  *s = (repo_stream){fd, of != NULL ? saros_op_ref(of) : NULL};
  saros_op *op = repo_call_begin_with(
      r, repo_work_find("backup"),
      options_of("{\"sources\":[\"@/src\",{\"name\":\"db/dump.sql\","
                 "\"stream\":0}]}"),
      s, 1, NULL, &why);
  CHECK(op != NULL);
  return op;
}

static void write_all(int fd, size_t size) {
  char bytes[4096];
  memset(bytes, 'd', sizeof bytes);
  for (; size > 0; size -= sizeof bytes)
    CHECK(write(fd, bytes, sizeof bytes) == (ssize_t)sizeof bytes);
}

TEST(streams) {
  int ends[2];
  place_make();
  put_text("src/f", "1");
  repo *r = repo_made("r", 2);
  CHECK(pipe2(ends, O_CLOEXEC) == 0);
  saros_op *op = stream_backup(r, ends[0], NULL);
  write_all(ends[1], 4096 * 300);
  close(ends[1]);
  CHECK(saros_op_wait(op, GATE_BOUND_MS));
  CHECK_INT(saros_op_code(op), 0);
  expect(op, "files", 2);
  expect(op, "bytes", 4096 * 300 + 1);
  saros_op_unref(op);
  if (has_restic()) {
    buffer b = BUFFER_EMPTY;
    CHECK(run_shell(&b, RESTIC "%s dump latest /db/dump.sql | wc -c",
                    place.path, at("r")));
    CHECK_INT(atol(b.data), 4096 * 300);
    buffer_free(&b);
  }
  repo_unref(r);
  place_end();
}

/* Its output has ended well, but then it fails; and one that is cancelled while
   nothing comes. */
TEST(streams_that_fail) {
  int ends[2];
  gated g;
  place_make();
  put_text("src/f", "1");
  repo *r = repo_made("r", 2);
  gated_start(&g, SAROS_FACADE_SAROS);
  CHECK(pipe2(ends, O_CLOEXEC) == 0);
  saros_op *op = stream_backup(r, ends[0], g.op);
  write_all(ends[1], 4096);
  close(ends[1]);
  saros_op_finish(g.op, SAROS_E_EXIT, "status 1");
  CHECK(saros_op_wait(op, GATE_BOUND_MS));
  CHECK_INT(saros_op_code(op), SAROS_E_EXIT);
  CHECK(failed_says(op, "the stream db/dump.sql failed"));
  saros_op_unref(op);
  gated_done(&g);
  CHECK(pipe2(ends, O_CLOEXEC) == 0);
  op = stream_backup(r, ends[0], NULL);
  GATE_UNTIL(saros_op_state(op) == SAROS_RUNNING);
  CHECK_INT(saros_op_cancel(op), 0);
  CHECK(saros_op_wait(op, GATE_BOUND_MS));
  CHECK_INT(saros_op_code(op), SAROS_E_CANCELLED);
  close(ends[1]);
  saros_op_unref(op);
  CHECK_INT(store_count(r->store, REPO_SNAPSHOTS), 0);
  CHECK_INT(store_count(r->store, REPO_LOCKS), 0);
  repo_unref(r);
  place_end();
}


/* ------------------------------------------------------------------
** Options
** ---------------------------------------------------------------- */

TEST(misused) {
  static const char *const wrong[] = {
      "{}",
      "{\"paths\":[]}",
      "{\"paths\":[1]}",
      "{\"paths\":[\"\"]}",
      "{\"paths\":[\"/x\"],\"compression\":\"zip\"}",
      "{\"paths\":[\"/x\"],\"pack_size\":1}",
      "{\"paths\":[\"/x\"],\"read_concurrency\":0}",
      "{\"paths\":[\"/x\"],\"time\":\"yesterday\"}",
      "{\"paths\":[\"/x\"],\"exclude\":[\"[\"]}",
      "{\"paths\":[\"/x\"],\"tags\":[{}]}",
      "{\"paths\":[\"/x\"],\"exclude_larger_than\":\"big\"}",
      "{\"sources\":[{\"name\":\"x\",\"stream\":0}]}",
      "{\"sources\":[{\"path\":\"/x\",\"origin\":{\"path\":\"y\"}}]}"};
  place_make();
  repo *r = repo_made("r", 2);
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
    saros_op *op = backed_up(r, wrong[i], SAROS_E_INVALIDARG);
    saros_op_unref(op);
  }
  CHECK_INT(store_count(r->store, REPO_SNAPSHOTS), 0);
  repo_unref(r);
  place_end();
}

/* Each level, the sizes of packs, and nothing but counting. */
TEST(stored_as_asked) {
  static const char *const ways[] = {
      "{\"paths\":[\"@/src\"],\"compression\":\"off\"}",
      "{\"paths\":[\"@/src\"],\"compression\":\"fastest\"}",
      "{\"paths\":[\"@/src\"],\"compression\":\"better\"}",
      "{\"paths\":[\"@/src\"],\"compression\":\"max\",\"pack_size\":\"4M\"}",
      "{\"paths\":[\"@/src\"],\"limit_upload\":\"1G\",\"tags\":[\"t\"]}"};
  if (!has_restic()) SKIP("restic is not installed");
  place_make();
  put_everything();
  /* Twenty megabytes in pieces that nobody cuts: where a large file is cut is
     another place in each repository. */
  CHECK(unlink(at("src/large")) == 0);
  for (uint64_t i = 0; i < 40; i++) {
    char name[20];
    snprintf(name, sizeof name, "src/piece%02u", (unsigned)i);
    put_random(name, 200 + i, 500000);
  }
  int64_t tree_blobs = 0, data_blobs = 0;
  for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
    char name[20];
    snprintf(name, sizeof name, "r%zu", i);
    repo *r = repo_made(name, 2);
    saros_op *op = backed_up(r, "{\"paths\":[\"@/src\"],\"dry_run\":true}", 0);
    tree_blobs = number_in(op, "tree_blobs");
    data_blobs = number_in(op, "data_blobs");
    CHECK_TEXT(text_in(op, "id"), "");
    CHECK_INT(store_count(r->store, REPO_SNAPSHOTS), 0);
    CHECK_INT(store_count(r->store, REPO_PACKS), 0);
    CHECK_INT(store_count(r->store, REPO_INDEXES), 0);
    saros_op_unref(op);
    op = backed_up(r, ways[i], 0);
    expect(op, "tree_blobs", tree_blobs);
    expect(op, "data_blobs", data_blobs);
    saros_op_unref(op);
    CHECK(restic_checks(name));
    /* 21 MB that cannot be compressed: in few packs, or in as many as are asked
       for, of which each core fills one. */
    long packs = store_count(r->store, REPO_PACKS);
    CHECK(i == 3 ? packs >= 6 && packs <= 8 : packs >= 3 && packs <= 4);
    repo_unref(r);
  }
  place_end();
}

/* Two threads have a pack each, before either goes on; later as it comes. */
static struct {
  pthread_mutex_t lock;
  pthread_cond_t moved;
  int taken, shorts, over, others;
} turns = {PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, 0, 0, 0, 0};

static void pack_taken(const slot *s) {
  struct timespec until;
  clock_gettime(CLOCK_REALTIME, &until);
  until.tv_sec += GATE_BOUND_MS / 1000;
  pthread_mutex_lock(&turns.lock);
  turns.taken++;
  turns.shorts += s->is_short;
  turns.over += s->is_short && repo_pack_bytes(s->pack) >= 2 << 20;
  turns.others += !s->is_short && repo_pack_bytes(s->pack) >= 2 << 20;
  pthread_cond_broadcast(&turns.moved);
  while (turns.taken < 2 &&
         pthread_cond_timedwait(&turns.moved, &turns.lock, &until) == 0)
    ;
  pthread_mutex_unlock(&turns.lock);
}

/* Of two packs that are begun at the same time one is stored when it is half
   full: they are never both full, which is when they take most memory. */
TEST(packs_take_turns) {
  char name[40];
  long cores = sysconf(_SC_NPROCESSORS_ONLN);
  if (cores < 2) SKIP("one core has one pack at a time");
  place_make();
  for (int i = 0; i < 40; i++) {
    snprintf(name, sizeof name, "src/much%02d", i);
    put_random(name, 100 + (uint64_t)i, 500000);
  }
  repo *r = repo_made("r", 2);
  repo_packer_test = pack_taken;
  saros_op *op = backed_up(r,
                           "{\"paths\":[\"@/src\"],\"pack_size\":\"4M\","
                           "\"read_concurrency\":2}",
                           0);
  repo_packer_test = NULL;
  saros_op_unref(op);
  CHECK_INT(turns.taken, 40);
  /* Each once, up to two megabytes. */
  CHECK(turns.shorts > 0 && turns.shorts <= 5 * (cores / 2));
  CHECK_INT(turns.over, 0);
  CHECK(cores > 4 || turns.others > 0);
  repo_unref(r);
  place_end();
}

int main(int argc, char **argv) {
  store_engine();
  gate_begin(argc, argv);
  GATE_RUN(parity_absolute);
  GATE_RUN(parity_absolute_1);
  GATE_RUN(parity_of_several);
  GATE_RUN(parity_relative);
  GATE_RUN(restored);
  GATE_RUN(unchanged);
  GATE_RUN(ignored);
  GATE_RUN(parents);
  GATE_RUN(excluded);
  GATE_RUN(one_file_system);
  GATE_RUN(origin);
  GATE_RUN(streams);
  GATE_RUN(streams_that_fail);
  GATE_RUN(misused);
  GATE_RUN(stored_as_asked);
  GATE_RUN(packs_take_turns);
  return check_end();
}
