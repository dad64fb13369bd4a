/*
** What has a name must have it behind a power cut: which files and folders the
** store in a directory syncs, and before what. What is told here is the order
** of the calls; that a kernel does what it says is its own affair.
*/
#include "backup_case.h"
#include "repository/adopt.h"
#include "repository/store/local_parts.h"

#define MOST 400

static char synced[MOST][120]; /* paths below the place; "all": everything */
static _Atomic unsigned count;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void note(const char *text) {
  pthread_mutex_lock(&lock);
  if (count < MOST) snprintf(synced[count++], sizeof synced[0], "%s", text);
  pthread_mutex_unlock(&lock);
}

static void on_sync(int fd, bool all) {
  char link[40], path[300];
  snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
  ssize_t n = readlink(link, path, sizeof path - 1);
  path[n > 0 ? n : 0] = '\0';
  size_t skip = strlen(place.path);
  bool below = strncmp(path, place.path, skip) == 0;
  note(all ? "all" : !below ? "/" : path[skip] == '/' ? path + skip + 1 : ".");
}

/* The last time, from 1; 0: never. */
static unsigned when(const char *text) {
  for (unsigned i = count; i > 0; i--)
    if (strcmp(synced[i - 1], text) == 0) return i;
  return 0;
}

static void begin_notes(void) {
  count = 0;
  repo_local_synced = on_sync;
}

static repo_store *store_made(const char *below) {
  repo_store *s = store_open_at(at(below));
  CHECK_INT(store_code(s->way->create(s)), 0);
  return s;
}

/* Where a pack of this text goes: "<below>/data/xx". */
static const char *folder_of(const char *below, const char *text) {
  static char path[100];
  char name[REPO_LOCAL_PATH];
  repo_id id;
  repo_id_of(&id, text, strlen(text));
  repo_local_name(REPO_PACKS, &id, name);
  snprintf(path, sizeof path, "%s/%.7s", below, name);
  return path;
}

TEST(a_new_repository) {
  begin_notes();
  repo_store *s = store_made("new/deep/r");
  CHECK(when(".") > 0); /* has "new" */
  CHECK(when("new") > 0);
  CHECK(when("new/deep") > 0);
  CHECK(when("new/deep/r/data") > 0);
  CHECK(when("new/deep/r") > when("new/deep/r/data"));
  repo_store_close(s);
  /* A directory that its owner has just made for it. */
  CHECK(mkdir(at("given"), 0700) == 0);
  begin_notes();
  s = store_made("given");
  CHECK(when(".") > 0);
  repo_store_close(s);
}

TEST(folders_that_are_missing) {
  repo_id id;
  repo_store_close(store_made("cut"));
  store_wipe(AT_FDCWD, at("cut/data"));
  repo_store *s = store_open_at(at("cut"));
  begin_notes();
  CHECK_INT(store_code(store_put(s, REPO_PACKS, "one", &id)), 0);
  const char *folder = folder_of("cut", "one");
  CHECK(when("cut") > 0);
  CHECK(when("cut/data") > when("cut"));
  CHECK(when(folder) > when("cut/data"));
  CHECK_INT(when(folder), count); /* last of all */
  repo_store_close(s);
}

/* Another process may have made it, and not have come further. */
TEST(folders_of_others) {
  repo_id id;
  repo_store_close(store_made("cut2"));
  repo_store *s = store_open_at(at("cut2"));
  begin_notes();
  CHECK_INT(store_code(store_put(s, REPO_PACKS, "one", &id)), 0);
  CHECK(when("cut2/data") > 0);
  CHECK(when("cut2") > when("cut2/data"));
  CHECK(when(folder_of("cut2", "one")) > when("cut2"));
  /* It is asked once. */
  begin_notes();
  CHECK_INT(store_code(store_put(s, REPO_PACKS, "two", &id)), 0);
  CHECK_INT(when("cut2/data"), 0);
  CHECK_INT(when("cut2"), 0);
  CHECK_INT(count, 2); /* the file, and its folder */
  /* But one that was made since is another. */
  rmdir(at(folder_of("cut2", "three")));
  begin_notes();
  CHECK_INT(store_code(store_put(s, REPO_PACKS, "three", &id)), 0);
  CHECK(when("cut2/data") > 0);
  repo_store_close(s);
}

/* A version relies on index files, and another one's may be named this moment:
   they come first. */
TEST(versions_come_last) {
  repo_id id;
  repo_store *s = store_made("r2");
  begin_notes();
  CHECK_INT(store_code(store_put(s, REPO_SNAPSHOTS, "version", &id)), 0);
  CHECK(when("r2/index") > 0);
  CHECK(when("r2/snapshots") > when("r2/index"));
  CHECK_INT(when("r2/snapshots"), count);
  /* One that was there already is made durable all the same. */
  begin_notes();
  CHECK_INT(store_code(store_put(s, REPO_SNAPSHOTS, "version", &id)), 0);
  CHECK(when("r2/snapshots") > 0);
  repo_store_close(s);
}

TEST(locks_are_not_worth_it) {
  repo_id id;
  repo_store *s = store_made("r3");
  begin_notes();
  CHECK_INT(store_code(store_put(s, REPO_LOCKS, "lock", &id)), 0);
  CHECK_INT(count, 0);
  repo_store_close(s);
  s = store_open_hasty(at("r3"));
  CHECK_INT(store_code(store_put(s, REPO_SNAPSHOTS, "version", &id)), 0);
  CHECK_INT(store_code(s->way->settle(s, NULL)), 0);
  CHECK_INT(count, 0);
  repo_store_close(s);
}

/* Packs that nobody has named: they are durable before an index names them. */
static void unname(const char *below) {
  char path[100];
  snprintf(path, sizeof path, "%s/index", below);
  store_wipe(AT_FDCWD, at(path));
  CHECK(mkdir(at(path), 0700) == 0);
}

static repo *left_behind(const char *below) {
  char path[100];
  snprintf(path, sizeof path, "src/%s", below);
  put_random(path, 7, 100000);
  repo *r = repo_made(below, 2);
  char options[200];
  snprintf(options, sizeof options, "{\"paths\":[\"%s\"]}", at("src"));
  saros_op_unref(backed_up(r, options, 0));
  unname(below);
  ((local *)r->store)->durable = true;
  return r;
}

TEST(packs_that_are_adopted) {
  repo *r = left_behind("adopt");
  repo_hold *h = NULL;
  repo_index *index = NULL;
  uint64_t packs = 0;
  repo_index_forget(r);
  CHECK_INT(store_code(repo_hold_take(r, REPO_ADDS, NULL, NULL, NULL, &h)), 0);
  CHECK_INT(store_code(repo_index_of(h, &index)), 0);
  begin_notes();
  CHECK_INT(store_code(repo_adopt(h, index, &packs)), 0);
  CHECK_INT(packs, 2);
  CHECK(when("all") > 0);
  CHECK(when("adopt/index") > when("all"));
  /* Nothing is named when that cannot be had. */
  unname("adopt");
  CHECK_INT(store_code(repo_hold_end(h, NULL, NULL, NULL)), 0);
  repo_index_forget(r);
  CHECK_INT(store_code(repo_hold_take(r, REPO_ADDS, NULL, NULL, NULL, &h)), 0);
  CHECK_INT(store_code(repo_index_of(h, &index)), 0);
  repo_local_fault = EIO;
  CHECK_INT(store_number(repo_adopt(h, index, &packs)), EIO);
  CHECK_INT(repo_local_fault, 0);
  repo_local_fault = 0;
  CHECK_INT(store_count(r->store, REPO_INDEXES), 0);
  CHECK_INT(store_code(repo_hold_end(h, NULL, NULL, NULL)), 0);
  repo_unref(r);
}

TEST(an_index_that_is_made_anew) {
  repo *r = left_behind("repair");
  uint32_t why = 0;
  begin_notes();
  saros_op *op =
      repo_call_begin(r, repo_work_find("repair"),
                      options_of("{\"what\":\"index\"}"), NULL, &why);
  CHECK(op != NULL);
  CHECK(saros_op_wait(op, GATE_BOUND_MS * 10));
  CHECK_INT(saros_op_code(op), 0);
  if (saros_op_code(op) != 0) show_error(op);
  CHECK_INT(store_count(r->store, REPO_INDEXES), 1);
  unsigned all = when("all"), first = 0;
  for (unsigned i = count; i > 0; i--)
    if (strcmp(synced[i - 1], "repair/index") == 0) first = i;
  CHECK(all > 0);
  CHECK(first > all);
  saros_op_unref(op);
  repo_unref(r);
}

int main(int argc, char **argv) {
  gate_begin(argc, argv);
  store_engine();
  place_make();
  GATE_RUN(a_new_repository);
  GATE_RUN(folders_that_are_missing);
  GATE_RUN(folders_of_others);
  GATE_RUN(versions_come_last);
  GATE_RUN(locks_are_not_worth_it);
  GATE_RUN(packs_that_are_adopted);
  GATE_RUN(an_index_that_is_made_anew);
  void (*nobody)(int, bool) = NULL; /* clang takes no bare NULL here */
  repo_local_synced = nobody;
  place_end();
  return check_end();
}
