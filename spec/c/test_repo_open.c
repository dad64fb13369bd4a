/*
** A repository as a whole: made, opened, held, loaded and closed, by C alone.
** What Lua makes of it is spec/repository_spec.lua's.
**
** not under valgrind: its children are forked or killed; ASan runs it
*/
#include <sys/wait.h>

#include "gate.h"
#include "repository/call.h"
#include "repository/repo_parts.h"
#include "store_case.h"

#define PASSWORD "correct horse"

static value *options_for(const char *path, const char *password) {
  value *map = value_map();
  value_put(map, "location", value_text(path));
  value_put(map, "durable", value_bool(false));
  if (password != NULL) value_put(map, "password", value_text(password));
  return map;
}

static repo *new_with(value *options) {
  error *e;
  repo *r = repo_new(options, &e);
  CHECK(r != NULL);
  error_unref(e);
  value_free(options);
  return r;
}

static repo *new_at(const store_place *p, const char *password) {
  return new_with(options_for(store_path(p, "r"), password));
}

static repo *made(store_place *p) {
  store_place_make(p);
  repo *r = new_at(p, PASSWORD);
  CHECK_INT(store_code(repo_create(r, NULL)), 0);
  repo_lock_time.settle = 1;
  return r;
}

static void end(repo *r, store_place *p) {
  repo_unref(r);
  store_place_end(p);
}

static repo_hold *held(repo *r, repo_use use) {
  repo_hold *h;
  CHECK_INT(store_code(repo_hold_take(r, use, NULL, NULL, NULL, &h)), 0);
  return h;
}

static uint32_t ended(repo_hold *h) {
  return store_code(repo_hold_end(h, NULL, NULL, NULL));
}


/* ------------------------------------------------------------------
** Making and opening
** ---------------------------------------------------------------- */

TEST(made_and_opened) {
  store_place p;
  repo *r = made(&p);
  repo_id key = repo_key_id(r);
  CHECK_INT(repo_config_of(r)->version, 2);
  repo *other = new_at(&p, PASSWORD);
  CHECK_INT(store_code(repo_check_open(other)), SAROS_E_CLOSED);
  CHECK_INT(store_code(repo_open(other, NULL)), 0);
  CHECK_INT(store_code(repo_check_open(other)), 0);
  CHECK_TEXT(repo_config_of(other)->id, repo_config_of(r)->id);
  CHECK_INT(repo_config_of(other)->polynomial, repo_config_of(r)->polynomial);
  repo_id same = repo_key_id(other);
  CHECK(repo_id_equal(&same, &key));
  CHECK(memcmp(repo_key_of(r), repo_key_of(other), sizeof(repo_key)) == 0);
  /* Nothing is left of the password. */
  CHECK(other->password_value == NULL);
  repo_close(other);
  CHECK_INT(store_code(repo_check_open(other)), SAROS_E_CLOSED);
  repo_unref(other);
  end(r, &p);
}

TEST(wrong_password) {
  store_place p;
  repo *r = made(&p);
  repo *other = new_at(&p, "hunter2");
  error *e = repo_open(other, NULL);
  CHECK(e != NULL && strstr(e->message, "hunter2") == NULL);
  CHECK_INT(store_code(e), SAROS_E_WRONG_PASSWORD);
  CHECK_INT(store_code(repo_check_open(other)), SAROS_E_CLOSED);
  repo_unref(other);
  end(r, &p);
}

TEST(made_once) {
  store_place p;
  repo *r = made(&p), *again = new_at(&p, PASSWORD);
  CHECK_INT(store_code(repo_create(again, NULL)), SAROS_E_REFUSED);
  repo_unref(again);
  end(r, &p);
}

/* The config cannot be stored: then nothing is there, and it can be made. */
TEST(half_made) {
  store_place p;
  faulty_store f;
  store_place_make(&p);
  repo *r = new_at(&p, PASSWORD);
  repo_store *inner = r->store;
  r->store = faulty_around(&f, inner);
  f.kinds = 1u << REPO_CONFIG;
  faulty_at(&f, STORE_FAILS, STORE_SAVE, 1);
  CHECK_INT(store_number(repo_create(r, NULL)), EIO);
  CHECK_INT(store_count(inner, REPO_KEYS), 0);
  r->store = inner;
  repo_unref(r);
  r = new_at(&p, PASSWORD);
  CHECK_INT(store_code(repo_create(r, NULL)), 0);
  end(r, &p);
}

TEST(not_there) {
  store_place p;
  store_place_make(&p);
  repo *r = new_at(&p, PASSWORD);
  CHECK(store_says(repo_open(r, NULL), "there is no repository in "));
  end(r, &p);
  CHECK_INT(
      store_number(error_of_errno(SAROS_FACADE_SAROS, ENOENT, NULL, NULL)),
      ENOENT);
}

TEST(options_and_environment) {
  error *e;
  store_place p;
  char path[300];
  repo *r = made(&p);
  unsetenv("RESTIC_REPOSITORY");
  unsetenv("RESTIC_REPOSITORY_FILE");
  CHECK(repo_new(NULL, &e) == NULL);
  CHECK_INT(store_code(e), SAROS_E_INVALIDARG);
  setenv("RESTIC_REPOSITORY", store_path(&p, "r"), 1);
  setenv("RESTIC_PASSWORD", PASSWORD, 1);
  repo *other = new_with(NULL);
  CHECK_INT(store_code(repo_open(other, NULL)), 0);
  repo_unref(other);
  unsetenv("RESTIC_REPOSITORY");
  snprintf(path, sizeof path, "%s", store_path(&p, "location"));
  FILE *f = fopen(path, "w");
  CHECK(f != NULL && fprintf(f, "%s\n", store_path(&p, "r")) > 0);
  if (f != NULL) fclose(f);
  setenv("RESTIC_REPOSITORY_FILE", path, 1);
  other = new_with(NULL);
  CHECK_INT(store_code(repo_open(other, NULL)), 0);
  repo_unref(other);
  unsetenv("RESTIC_REPOSITORY_FILE");
  unsetenv("RESTIC_PASSWORD");
  static const char *const bad[] = {"retry_lock", "key", "version"};
  for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
    value *v = options_for("/nowhere", PASSWORD);
    value_put(v, bad[i], i == 2 ? value_int(3) : value_text("x"));
    CHECK(repo_new(v, &e) == NULL);
    CHECK_INT(store_code(e), SAROS_E_INVALIDARG);
    value_free(v);
  }
  end(r, &p);
}

TEST(keys_of_amazon) {
  error *e;
  setenv("AWS_ACCESS_KEY_ID", "of the environment", 1);
  setenv("AWS_SECRET_ACCESS_KEY", "secret of the environment", 1);
  setenv("AWS_DEFAULT_REGION", "", 1);
  setenv("AWS_REGION", "eu-1", 1);
  value *got = repo_store_options(NULL, &e);
  CHECK_TEXT(value_chars(value_get(got, "secret_key"), NULL),
             "secret of the environment");
  CHECK_TEXT(value_chars(value_get(got, "region"), NULL), "eu-1");
  value_wipe(got);
  value *own = value_map();
  value_put(own, "access_key", value_text("mine"));
  got = repo_store_options(own, &e);
  CHECK_TEXT(value_chars(value_get(got, "access_key"), NULL), "mine");
  CHECK(value_get(got, "secret_key") == NULL);
  value_wipe(got);
  value_free(own);
  unsetenv("AWS_ACCESS_KEY_ID");
  unsetenv("AWS_SECRET_ACCESS_KEY");
  unsetenv("AWS_DEFAULT_REGION");
  unsetenv("AWS_REGION");
}


/* ------------------------------------------------------------------
** Holding
** ---------------------------------------------------------------- */

TEST(holds_share_a_lock) {
  store_place p;
  repo *r = made(&p);
  repo_hold *one = held(r, REPO_ADDS), *two = held(r, REPO_READS), *h;
  CHECK_INT(store_count(r->store, REPO_LOCKS), 1);
  error *e = repo_hold_take(r, REPO_REMOVES, NULL, NULL, NULL, &h);
  CHECK(e != NULL && e->code == SAROS_E_LOCKED);
  CHECK(store_says(e, "of this very process"));
  CHECK_INT(ended(one), 0);
  CHECK_INT(store_count(r->store, REPO_LOCKS), 1);
  CHECK_INT(ended(two), 0);
  CHECK_INT(store_count(r->store, REPO_LOCKS), 0);
  one = held(r, REPO_REMOVES);
  CHECK_INT(store_code(repo_hold_take(r, REPO_ADDS, NULL, NULL, NULL, &h)),
            SAROS_E_LOCKED);
  CHECK(h == NULL);
  CHECK_INT(ended(one), 0);
  repo_close(r);
  CHECK_INT(store_code(repo_hold_take(r, REPO_ADDS, NULL, NULL, NULL, &h)),
            SAROS_E_CLOSED);
  end(r, &p);
}

TEST(without_locks) {
  store_place p;
  repo *r = made(&p);
  value *o = options_for(store_path(&p, "r"), PASSWORD);
  value_put(o, "no_lock", value_bool(true));
  repo *other = new_with(o);
  CHECK_INT(store_code(repo_open(other, NULL)), 0);
  repo_hold *all = held(r, REPO_REMOVES);
  repo_hold *h = held(other, REPO_READS);
  CHECK_INT(store_count(r->store, REPO_LOCKS), 1);
  CHECK_INT(ended(h), 0);
  CHECK_INT(store_code(repo_hold_take(other, REPO_ADDS, NULL, NULL, NULL, &h)),
            SAROS_E_LOCKED); /* that is for reading only */
  CHECK_INT(ended(all), 0);
  repo_unref(other);
  end(r, &p);
}

/* What only reads does so also where nobody can write. */
TEST(read_only) {
  store_place p;
  faulty_store f;
  repo *r = made(&p);
  repo_hold *h;
  repo_store *inner = r->store;
  r->store = faulty_around(&f, inner);
  f.number = EROFS;
  f.lasts = true;
  faulty_at(&f, STORE_FAILS, STORE_CHANGES, 1);
  h = held(r, REPO_READS);
  CHECK(h != NULL && h->lock == NULL);
  CHECK_INT(ended(h), 0);
  CHECK_INT(store_number(repo_hold_take(r, REPO_ADDS, NULL, NULL, NULL, &h)),
            EROFS);
  f.number = EACCES; /* somebody else may write */
  CHECK_INT(store_number(repo_hold_take(r, REPO_READS, NULL, NULL, NULL, &h)),
            EACCES);
  r->store = inner;
  end(r, &p);
}

/* The lock is lost: what goes on ends, and is told why. */
TEST(a_lost_lock_ends_what_goes_on) {
  store_place p;
  repo *r = made(&p);
  repo_hold *h = held(r, REPO_ADDS);
  repo_id id;
  CHECK(!repo_stopped(&h->stop));
  uint64_t removed;
  CHECK_INT(
      store_code(repo_lock_clear(r->store, r->tools, true, NULL, &removed)), 0);
  CHECK_INT(removed, 1);
  repo_lock_times before = repo_lock_time;
  repo_lock_time.late = 0;
  gate_nap();
  gate_nap();
  CHECK_INT(store_code(store_put(h->store, REPO_PACKS, "one", &id)),
            SAROS_E_LOCKED);
  CHECK(repo_stopped(&h->stop));
  error *e =
      repo_hold_end(h, repo_error(SAROS_E_CANCELLED, "ended"), NULL, NULL);
  CHECK_INT(store_code(e), SAROS_E_LOCKED);
  repo_lock_time = before;
  h = held(r, REPO_ADDS); /* and the next one has a new lock */
  CHECK_INT(store_code(store_put(h->store, REPO_PACKS, "one", &id)), 0);
  CHECK_INT(ended(h), 0);
  end(r, &p);
}

typedef struct storm {
  repo *r;
  _Atomic int next, inside, alone, wrong;
} storm;

static void *takes_turns(void *argument) {
  storm *s = argument;
  uint64_t seed = (uint64_t)s->next++;
  for (long i = 0; i < gate_loops(60) + 2; i++) {
    repo_hold *h;
    repo_index *x;
    bool alone = gate_random(&seed) % 4 == 0;
    error *e = repo_hold_take(s->r, alone ? REPO_REMOVES : REPO_ADDS, NULL,
                              NULL, NULL, &h);
    CHECK(e == NULL);
    error_unref(e);
    if (h == NULL) continue;
    s->inside++;
    s->alone += alone;
    if (s->alone > 0 && s->inside > 1) s->wrong++;
    CHECK_INT(store_code(repo_index_of(h, &x)), 0);
    CHECK(x != NULL && repo_index_count(x) == 0);
    s->alone -= alone;
    s->inside--;
    CHECK_INT(ended(h), 0);
  }
  return NULL;
}

TEST(many_threads) {
  enum { THREADS = 5 };
  pthread_t threads[THREADS];
  store_place p;
  storm s = {.r = made(&p)};
  s.r->retry_ms = GATE_BOUND_MS;
  for (int i = 0; i < THREADS; i++)
    CHECK_INT(pthread_create(&threads[i], NULL, takes_turns, &s), 0);
  for (int i = 0; i < THREADS; i++) pthread_join(threads[i], NULL);
  CHECK_INT(s.wrong, 0);
  CHECK_INT(store_count(s.r->store, REPO_LOCKS), 0);
  end(s.r, &p);
}


/* ------------------------------------------------------------------
** Loading
** ---------------------------------------------------------------- */

/* An index file of some packs with a blob each. */
static repo_id save_index(repo *r, unsigned from, unsigned count) {
  repo_index_text t = {BUFFER_EMPTY, 0};
  repo_id file;
  for (unsigned i = from; i < from + count; i++) {
    repo_id pack;
    repo_blob blob = {.type = REPO_DATA, .length = 100, .plain_length = 50};
    memset(&pack, 0x11, sizeof pack);
    memcpy(&pack, &i, sizeof i);
    memset(&blob.id, 0x22, sizeof blob.id);
    memcpy(&blob.id, &i, sizeof i);
    repo_index_text_add(&t, &pack, &blob, 1);
  }
  repo_index_text_end(&t);
  CHECK_INT(store_code(repo_tools_save(r->tools, r->store, REPO_INDEXES,
                                       t.json.data, t.json.size, &file, NULL)),
            0);
  buffer_free(&t.json);
  return file;
}

static size_t count_of(repo *r, uint32_t expected) {
  repo_index *x;
  repo_hold *h = held(r, REPO_READS);
  CHECK_INT(store_code(repo_index_of(h, &x)), expected);
  size_t count = x != NULL ? repo_index_count(x) : 0;
  CHECK_INT(ended(h), 0);
  return count;
}

TEST(index_follows_its_files) {
  store_place p;
  repo_id files[40], junk;
  repo *r = made(&p);
  CHECK_INT(count_of(r, 0), 0);
  for (unsigned i = 0; i < 40; i++) files[i] = save_index(r, i * 10, 10);
  CHECK_INT(count_of(r, 0), 400);
  save_index(r, 5000, 7);
  CHECK_INT(count_of(r, 0), 407);
  CHECK_INT(store_code(
                r->store->way->remove(r->store, REPO_INDEXES, &files[3], NULL)),
            0);
  CHECK_INT(count_of(r, 0), 397);
  CHECK_INT(store_code(store_put(r->store, REPO_INDEXES, "junk", &junk)), 0);
  CHECK_INT(count_of(r, SAROS_E_DAMAGED), 0);
  CHECK_INT(
      store_code(r->store->way->remove(r->store, REPO_INDEXES, &junk, NULL)),
      0);
  CHECK_INT(count_of(r, 0), 397);
  end(r, &p);
}

/* While somebody works with it, it grows, and nothing is taken out of it. */
TEST(index_in_use_only_grows) {
  store_place p;
  repo *r = made(&p);
  repo_index *x, *y;
  repo_id first = save_index(r, 0, 3);
  repo_hold *one = held(r, REPO_ADDS);
  CHECK_INT(store_code(repo_index_of(one, &x)), 0);
  save_index(r, 10, 3);
  CHECK_INT(
      store_code(r->store->way->remove(r->store, REPO_INDEXES, &first, NULL)),
      0);
  repo_hold *two = held(r, REPO_ADDS);
  CHECK_INT(store_code(repo_index_of(two, &y)), 0);
  CHECK(x == y);
  CHECK_INT(repo_index_count(x), 6);
  CHECK_INT(ended(one), 0);
  CHECK_INT(ended(two), 0);
  CHECK_INT(count_of(r, 0), 3);
  end(r, &p);
}

/* Who reads without a lock keeps nobody from removing: what is stored next
   must not rely on what was removed meanwhile; and the reader goes on. */
TEST(index_of_who_has_no_lock) {
  store_place p;
  repo_index *x, *y, *z;
  repo *r = made(&p);
  repo_id first = save_index(r, 0, 3);
  r->no_lock = true;
  repo_hold *reader = held(r, REPO_READS);
  CHECK_INT(store_code(repo_index_of(reader, &x)), 0);
  save_index(r, 10, 3);
  CHECK_INT(
      store_code(r->store->way->remove(r->store, REPO_INDEXES, &first, NULL)),
      0);
  repo_hold *one = held(r, REPO_ADDS);
  CHECK_INT(store_code(repo_index_of(one, &y)), 0);
  CHECK_INT(repo_index_count(y), 3);
  repo_hold *two = held(r, REPO_ADDS);
  CHECK_INT(store_code(repo_index_of(two, &z)), 0);
  CHECK(y == z);
  CHECK_INT(ended(two), 0);
  CHECK_INT(ended(one), 0);
  CHECK(x != y && repo_index_count(x) >= 3);
  CHECK_INT(ended(reader), 0);
  CHECK_INT(count_of(r, 0), 3);
  end(r, &p);
}

static const repo_snapshot *save_version(repo *r, repo_snapshot *s,
                                         long seconds) {
  buffer b = BUFFER_EMPTY;
  s->time.tv_sec = seconds;
  CHECK_INT(store_code(repo_snapshot_write(s, &b)), 0);
  CHECK_INT(store_code(repo_tools_save(r->tools, r->store, REPO_SNAPSHOTS,
                                       b.data, b.size, &s->id, NULL)),
            0);
  buffer_free(&b);
  return s;
}

TEST(versions_by_time) {
  store_place p;
  repo_snapshot **all;
  size_t count;
  repo *r = made(&p);
  repo_snapshot *s = repo_snapshot_new();
  s->paths = value_list();
  value_add(s->paths, value_text("/srv"));
  for (long i = 0; i < 50; i++) save_version(r, s, 1000 + i * 7919 % 50);
  CHECK_INT(store_code(repo_versions(r, &all, &count, NULL)), 0);
  CHECK_INT(count, 50);
  for (size_t i = 0; i < count; i++)
    CHECK_INT(all[i]->time.tv_sec, 1000 + (long)i);
  CHECK(all[count] == NULL);
  repo_versions_free(all);
  repo_snapshot_free(s);
  end(r, &p);
}

/* One that is removed between being listed and being read. */
static void remove_first(void *context, unsigned call, repo_file kind) {
  repo *r = context;
  faulty_store *f = (faulty_store *)r->store;
  if (call != STORE_LOAD || kind != REPO_SNAPSHOTS) return;
  f->before = NULL;
  repo_snapshot **all;
  size_t count;
  CHECK_INT(store_code(repo_versions(r, &all, &count, NULL)), 0);
  for (size_t i = 0; i < count; i++)
    CHECK_INT(store_code(f->inner->way->remove(f->inner, REPO_SNAPSHOTS,
                                               &all[i]->id, NULL)),
              0);
  repo_versions_free(all);
}

TEST(versions_that_vanish) {
  store_place p;
  faulty_store f;
  repo_snapshot **all;
  size_t count;
  repo *r = made(&p);
  repo_snapshot *s = repo_snapshot_new();
  s->paths = value_list();
  for (long i = 0; i < 5; i++) save_version(r, s, 1000 + i);
  repo_store *inner = r->store;
  r->store = faulty_around(&f, inner);
  r->store->connections = 1;
  f.context = r;
  f.before = remove_first;
  CHECK_INT(store_code(repo_versions(r, &all, &count, NULL)), 0);
  CHECK(count < 5);
  repo_versions_free(all);
  r->store = inner;
  repo_snapshot_free(s);
  end(r, &p);
}

TEST(without_memory) {
  store_place p;
  repo *r = made(&p);
  repo_snapshot *s = repo_snapshot_new();
  s->paths = value_list();
  for (long i = 0; i < 3; i++) save_version(r, s, 1000 + i);
  repo_snapshot_free(s);
  save_index(r, 0, 3);
  CHECK_INT(count_of(r, 0), 3);
  int failed = 0;
  for (long n = 1; n < 300; n += 1 + n / 50) {
    repo_snapshot **all;
    size_t count;
    repo_hold *h;
    repo_index *x;
    mem_fail_at(n);
    error *e = repo_versions(r, &all, &count, NULL);
    if (e == NULL) repo_versions_free(all);
    if (e == NULL) e = repo_hold_take(r, REPO_READS, NULL, NULL, NULL, &h);
    if (e == NULL) e = repo_hold_end(h, repo_index_of(h, &x), NULL, NULL);
    mem_fail_at(0);
    failed += e != NULL;
    CHECK(e == NULL || e->code == SAROS_E_OUTOFMEMORY);
    error_unref(e);
  }
  CHECK(failed > 10);
  CHECK_INT(count_of(r, 0), 3);
  end(r, &p);
}

TEST(opened_without_memory) {
  store_place p;
  repo *good = made(&p);
  long before = mem_blocks();
  for (long n = 1; n < 200; n += 1 + n / 12) {
    error *e;
    value *o = options_for(store_path(&p, "r"), PASSWORD);
    mem_fail_at(n);
    repo *r = repo_new(o, &e);
    if (r != NULL) e = repo_open(r, NULL);
    mem_fail_at(0);
    CHECK(e == NULL || e->code == SAROS_E_OUTOFMEMORY);
    error_unref(e);
    repo_unref(r);
    value_free(o);
  }
  CHECK_INT(mem_blocks(), before);
  end(good, &p);
}


/* ------------------------------------------------------------------
** Calls
** ---------------------------------------------------------------- */

TEST(called) {
  store_place p;
  uint32_t why;
  repo *r = made(&p);
  CHECK(repo_work_find("nothing") == NULL);
  saros_op *op = repo_call_begin(r, repo_work_find("stats"), NULL, "s", &why);
  CHECK(op != NULL && saros_op_wait(op, GATE_BOUND_MS));
  CHECK_INT(saros_op_code(op), 0);
  CHECK_TEXT(saros_op_kind(op), "repository.stats");
  CHECK_INT(value_integer(value_get(op_output(op), "keys"), 0), 1);
  saros_op_unref(op);
  repo_close(r);
  op = repo_call_begin(r, repo_work_find("versions"), NULL, NULL, &why);
  CHECK(op != NULL && saros_op_wait(op, GATE_BOUND_MS));
  CHECK_INT(saros_op_code(op), SAROS_E_CLOSED);
  saros_op_unref(op);
  GATE_UNTIL(engine_users() == 0);
  end(r, &p);
}

static bool is_in(saros_op *op, const char *phase) {
  value *status = op_status(op);
  bool is = strcmp(value_chars(value_get(status, "phase"), ""), phase) == 0;
  value_free(status);
  return is;
}

/* An operation that waits for a lock is cancelled, and leaves none. */
TEST(cancelled) {
  store_place p;
  uint32_t why;
  repo *r = made(&p);
  repo_hold *h = held(r, REPO_REMOVES);
  r->retry_ms = 600000;
  saros_op *op = repo_call_begin(r, repo_work_find("stats"), NULL, NULL, &why);
  CHECK(op != NULL);
  GATE_UNTIL(is_in(op, "waiting for a lock"));
  CHECK_INT(saros_op_cancel(op), 0);
  CHECK(saros_op_wait(op, GATE_BOUND_MS));
  CHECK_INT(saros_op_code(op), SAROS_E_CANCELLED);
  saros_op_unref(op);
  CHECK_INT(ended(h), 0);
  CHECK_INT(store_count(r->store, REPO_LOCKS), 0);
  GATE_UNTIL(engine_users() == 0);
  end(r, &p);
}

/* How restic ends, and whether it said that. */
static bool restic_says(const store_place *p, const char *what, bool good,
                        const char *says) {
  char command[600], text[8192];
  snprintf(command, sizeof command,
           "RESTIC_PASSWORD='" PASSWORD "' restic --no-cache -r %s %s 2>&1",
           store_path(p, "r"), what);
  FILE *f = popen(command, "r");
  if (f == NULL) return false;
  size_t n = fread(text, 1, sizeof text - 1, f);
  text[n] = '\0';
  bool is = (pclose(f) == 0) == good && strstr(text, says) != NULL;
  if (!is) printf("restic %s: %s\n", what, text);
  return is;
}

/* It asks for a process of its own host with a signal that ends ours: so ours
   is of another one, except when that does no harm. */
static void restic_keeps_off(const char *apart) {
  store_place p;
  char who[400], host[256] = "";
  repo *r = made(&p);
  gethostname(host, sizeof host - 1);
  repo_hold *h = held(r, REPO_REMOVES);
  snprintf(who, sizeof who, "already locked exclusively by PID %ld on %s%s by ",
           (long)getpid(), host, apart);
  CHECK(restic_says(&p, "snapshots", false, who));
  CHECK(restic_says(&p, "unlock", true, ""));
  CHECK_INT(store_count(r->store, REPO_LOCKS), 1); /* not stale to restic */
  error *e;
  value *list = repo_lock_list(r->store, r->tools, NULL, &e);
  CHECK(list != NULL && list->count == 1);
  if (list != NULL)
    CHECK_TEXT(value_chars(value_get(list->as.items[0], "hostname"), NULL),
               host);
  value_free(list);
  CHECK_INT(ended(h), 0);
  h = held(r, REPO_ADDS);
  snprintf(who, sizeof who, "already locked by PID %ld on %s%s by ",
           (long)getpid(), host, apart);
  CHECK(restic_says(&p, "check", false, who));
  CHECK(restic_says(&p, "snapshots", true, ""));
  CHECK(restic_says(&p, "backup /proc/version", true, "snapshot "));
  CHECK_INT(ended(h), 0);
  CHECK(restic_says(&p, "check --read-data", true, "no errors were found"));
  end(r, &p);
}

TEST(restic_keeps_off) {
  if (system("command -v restic >/dev/null 2>&1") != 0)
    SKIP("there is no restic here (Debian: restic)");
  void (*ours)(int) = signal(SIGHUP, SIG_DFL); /* nohup may have started us */
  restic_keeps_off(" (saros)");
  signal(SIGHUP, SIG_IGN);
  restic_keeps_off("");
  signal(SIGHUP, ours);
}

TEST(a_child_has_its_own) {
  store_place p;
  repo *r = made(&p);
  repo_hold *h = held(r, REPO_ADDS);
  fflush(stdout);
  pid_t child = fork();
  if (child == 0) {
    repo_hold *mine;
    int bad = store_code(repo_hold_take(r, REPO_ADDS, NULL, NULL, NULL,
                                        &mine)) != SAROS_E_FORKED;
    repo_unref(r);
    _exit(bad);
  }
  int status = -1;
  waitpid(child, &status, 0);
  CHECK_INT(status, 0);
  CHECK_INT(store_count(r->store, REPO_LOCKS), 1);
  CHECK_INT(ended(h), 0);
  end(r, &p);
}

int main(int argc, char **argv) {
  repo_cost_test = &store_cheap;
  gate_begin(argc, argv);
  store_engine();
  GATE_RUN(made_and_opened);
  GATE_RUN(wrong_password);
  GATE_RUN(made_once);
  GATE_RUN(half_made);
  GATE_RUN(not_there);
  GATE_RUN(options_and_environment);
  GATE_RUN(keys_of_amazon);
  GATE_RUN(holds_share_a_lock);
  GATE_RUN(without_locks);
  GATE_RUN(read_only);
  GATE_RUN(a_lost_lock_ends_what_goes_on);
  GATE_RUN(many_threads);
  GATE_RUN(index_follows_its_files);
  GATE_RUN(index_in_use_only_grows);
  GATE_RUN(index_of_who_has_no_lock);
  GATE_RUN(versions_by_time);
  GATE_RUN(versions_that_vanish);
  GATE_RUN(without_memory);
  GATE_RUN(opened_without_memory);
  GATE_RUN(called);
  GATE_RUN(cancelled);
  GATE_RUN(restic_keeps_off);
  GATE_RUN(a_child_has_its_own);
  return check_end();
}
