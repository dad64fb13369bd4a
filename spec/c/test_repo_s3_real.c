/*
** A bucket as a store, in a real S3 server: Ceph's. Only with SAROS_LONG=1 and
** where its packages are (spec/deps s3); spec/s3/up starts it.
**
** not under valgrind: it has a real server; ASan runs it
*/
#include <dirent.h>
#include <openssl/crypto.h>
#include <sys/stat.h>

#include "http_case.h"
#include "repository/store/s3_parts.h"

static char work[64], rgw[100];
static char access_key[64], secret_key[64];
static int port, osd;

static bool shell(const char *format, ...)
    __attribute__((format(printf, 1, 2)));
static bool shell(const char *format, ...) {
  char command[2048];
  va_list args;
  va_start(args, format);
  vsnprintf(command, sizeof command, format, args);
  va_end(args);
  int status = system(command);
  if (status != 0) printf("%d: %s\n", status, command);
  return status == 0;
}

/* Takes over `v`. */
static repo_store *open_with(const char *where, double stall,
                             const char *secret, value *v) {
  char location[300];
  error *e = NULL;
  value_put(v, "access_key", value_text(access_key));
  value_put(v, "secret_key", value_text(secret));
  value_put(v, "stall_seconds", value_real(stall));
  snprintf(location, sizeof location, "s3:http://127.0.0.1:%d/%s", port, where);
  repo_store *store = repo_store_s3(location, v, &e);
  value_free(v);
  if (store == NULL) {
    printf("%s\n", e->message);
    abort();
  }
  return store;
}

static repo_store *open_at(const char *where, double stall,
                           const char *secret) {
  return open_with(where, stall, secret, value_map());
}

#define FINE(call)                                   \
  do {                                               \
    error *fine = (call);                            \
    CHECK(fine == NULL);                             \
    if (fine != NULL) printf("%s\n", fine->message); \
    error_unref(fine);                               \
  } while (0)

static bool failed_as(error *e, uint32_t code, const char *words) {
  if (e == NULL) return false;
  bool good = e->code == code && strstr(e->message, words) != NULL &&
              strstr(e->message, secret_key) == NULL;
  if (!good) printf("0x%08x: %s\n", e->code, e->message);
  error_unref(e);
  return good;
}

static error *save(repo_store *store, repo_file kind, const void *data,
                   size_t size, repo_id *id, const repo_stop *stop) {
  repo_piece piece = {data, size};
  if (kind != REPO_CONFIG) repo_id_of(id, data, size);
  return store->way->save(store, kind, id, &piece, 1, false, stop);
}

/* ------------------------------------------------------------------
** What the store needs of a server
** ---------------------------------------------------------------- */

TEST(a_bucket_and_a_config) {
  repo_store *store = open_at("first/deep/er", 60, secret_key);
  buffer b = BUFFER_EMPTY;
  FINE(store->way->create(store));
  FINE(store->way->create(store)); /* there is a bucket, and no repository */
  FINE(save(store, REPO_CONFIG, "mine", 4, NULL, NULL));
  error *e = save(store, REPO_CONFIG, "other", 5, NULL, NULL);
  CHECK(e != NULL && e->number == EEXIST);
  error_unref(e);
  CHECK(failed_as(store->way->create(store), SAROS_E_REFUSED, "already"));
  FINE(store->way->load(store, REPO_CONFIG, NULL, 100, &b, NULL));
  CHECK_TEXT(b.data, "mine");
  buffer_free(&b);
  repo_store_close(store);
}

static _Atomic int winners, losers;

static void *race(void *context) {
  char text[32];
  snprintf(text, sizeof text, "%p", (void *)&text);
  repo_piece piece = {text, strlen(text)};
  repo_store *store = context;
  error *e = store->way->save(store, REPO_CONFIG, NULL, &piece, 1, false, NULL);
  if (e == NULL)
    winners++;
  else if (e->number == EEXIST)
    losers++;
  error_unref(e);
  return NULL;
}

TEST(many_make_a_config_and_one_does) {
  enum { N = 8 };
  for (int round = 0; round < 5; round++) {
    char where[40];
    pthread_t threads[N];
    snprintf(where, sizeof where, "first/race%d", round);
    repo_store *store = open_at(where, 60, secret_key);
    winners = losers = 0;
    for (int i = 0; i < N; i++) pthread_create(&threads[i], NULL, race, store);
    for (int i = 0; i < N; i++) pthread_join(threads[i], NULL);
    CHECK_INT(winners, 1);
    CHECK_INT(losers, N - 1);
    repo_store_close(store);
  }
}

typedef struct names {
  unsigned count;
  uint8_t sum[REPO_ID];
} names;

static error *count_names(void *context, const repo_id *id, uint64_t size) {
  names *n = context;
  if (size > 0) n->count++;
  for (int i = 0; i < REPO_ID; i++) n->sum[i] ^= id->bytes[i];
  return NULL;
}

static error *remove_one(void *context, const repo_id *id, uint64_t size) {
  repo_store *store = context;
  (void)size;
  return store->way->remove(store, REPO_PACKS, id, NULL);
}

TEST(twelve_hundred_files) {
  repo_store *store = open_at("first/a b+\xC3\xBC&", 60, secret_key);
  names put = {0}, got = {0}, left = {0};
  for (unsigned i = 0; i < 1200; i++) {
    char text[40];
    repo_id id;
    snprintf(text, sizeof text, "file %u", i);
    FINE(save(store, REPO_PACKS, text, strlen(text), &id, NULL));
    count_names(&put, &id, 1);
    if (i % 100 == 0) {
      char part[5] = "";
      uint64_t size = 0;
      FINE(store->way->read(store, REPO_PACKS, &id, 0, 4, part, NULL));
      CHECK_TEXT(part, "file");
      FINE(store->way->size(store, REPO_PACKS, &id, &size, NULL));
      CHECK_INT(size, strlen(text));
      error *e = store->way->read(store, REPO_PACKS, &id, 3, size, part, NULL);
      CHECK(failed_as(e, SAROS_E_DAMAGED, "shorter"));
    }
  }
  FINE(store->way->list(store, REPO_PACKS, count_names, &got, NULL));
  CHECK_INT(got.count, 1200);
  CHECK(memcmp(got.sum, put.sum, REPO_ID) == 0);
  FINE(store->way->list(store, REPO_PACKS, remove_one, store, NULL));
  FINE(store->way->list(store, REPO_PACKS, count_names, &left, NULL));
  CHECK_INT(left.count, 0);
  repo_store_close(store);
}

TEST(a_large_pack) {
  repo_store *store = open_at("first", 60, secret_key);
  size_t size = (size_t)40 << 20;
  char *data = malloc(size), *back = malloc(size);
  for (size_t i = 0; i < size; i++) data[i] = (char)(i * 2654435761u >> 13);
  repo_id id;
  FINE(save(store, REPO_PACKS, data, size, &id, NULL));
  FINE(store->way->read(store, REPO_PACKS, &id, 0, size, back, NULL));
  CHECK(memcmp(data, back, size) == 0);
  memset(back, 0, 1000);
  FINE(store->way->read(store, REPO_PACKS, &id, 12345678, 1000, back, NULL));
  CHECK(memcmp(data + 12345678, back, 1000) == 0);
  FINE(store->way->remove(store, REPO_PACKS, &id, NULL));
  free(data);
  free(back);
  repo_store_close(store);
}

/* How many uploads are not ended. */
static unsigned uploads(repo_store *store) {
  buffer b = BUFFER_EMPTY;
  s3_call c = {.doing = "list uploads",
               .method = "GET",
               .query = "uploads=",
               .into = &b,
               .most = 1 << 20};
  FINE(repo_s3_call((s3 *)store, &c));
  unsigned n = 0;
  for (const char *at = b.data; at != NULL && (at = strstr(at, "<UploadId>"));
       at++)
    n++;
  buffer_free(&b);
  return n;
}

/* Ends when the store has begun to send parts. */
typedef struct midway {
  repo_stop stop; /* first */
  _Atomic unsigned asks;
} midway;

static bool is_midway(const repo_stop *stop) {
  return ++((midway *)(uintptr_t)stop)->asks > 3;
}

TEST(packs_in_parts) {
  value *v = value_map();
  value_put(v, "multipart_size", value_int(5 << 20));
  repo_store *store = open_with("first/parts", 60, secret_key, v);
  size_t size = ((size_t)17 << 20) + 11;
  char *data = malloc(size), *back = malloc(size);
  for (size_t i = 0; i < size; i++) data[i] = (char)(i * 2654435761u >> 11);
  repo_id id;
  uint64_t length = 0;
  FINE(save(store, REPO_PACKS, data, size, &id, NULL));
  FINE(store->way->size(store, REPO_PACKS, &id, &length, NULL));
  CHECK_INT(length, size);
  FINE(store->way->read(store, REPO_PACKS, &id, 0, size, back, NULL));
  CHECK(memcmp(data, back, size) == 0);
  FINE(save(store, REPO_PACKS, data, size, &id, NULL));
  CHECK_INT(uploads(store), 0);
  for (int i = 0; i < 10; i++) { /* at whatever moment that is */
    midway m = {.stop = {is_midway}};
    data[0]++;
    error *e = save(store, REPO_PACKS, data, size, &id, &m.stop);
    CHECK(e == NULL || e->code == SAROS_E_CANCELLED);
    error_unref(e);
    CHECK_INT(uploads(store), 0);
  }
  /* The bytes are not what they are called: nothing of them stays. */
  repo_piece piece = {data, size};
  repo_id_of(&id, "other", 5);
  CHECK(failed_as(
      store->way->save(store, REPO_PACKS, &id, &piece, 1, false, NULL),
      SAROS_E_DAMAGED, "what it is called"));
  CHECK_INT(uploads(store), 0);
  /* What somebody who was killed has begun. */
  buffer b = BUFFER_EMPTY;
  char *key = repo_s3_key((s3 *)store, REPO_PACKS, &id);
  s3_call begin = {.doing = "begin",
                   .method = "POST",
                   .key = key,
                   .query = "uploads=",
                   .into = &b,
                   .most = 1 << 20};
  FINE(repo_s3_call((s3 *)store, &begin));
  buffer_free(&b);
  mem_free(key);
  CHECK_INT(uploads(store), 1);
  FINE(store->way->tidy(store, NULL));
  CHECK_INT(uploads(store), 0);
  free(data);
  free(back);
  repo_store_close(store);
}

static repo_store *open_kept(const char *where, const char *mode) {
  value *v = value_map(), *lock = value_map();
  value_put(lock, "mode", value_text(mode));
  value_put(lock, "days", value_int(2));
  value_put(v, "object_lock", lock);
  value_put(v, "multipart_size", value_int(5 << 20));
  return open_with(where, 60, secret_key, v);
}

static void is_kept(repo_store *store, repo_file kind, const repo_id *id,
                    const char *mode) {
  char until[21], expected[100];
  bool there;
  char *key = repo_s3_key((s3 *)store, kind, id);
  s3_call head = {.doing = "look", .key = key};
  FINE(repo_s3_head((s3 *)store, &head, &there));
  CHECK(there);
  repo_s3_lock_until((s3 *)store, until);
  snprintf(expected, sizeof expected, "it is locked until %.10s", until);
  if (mode == NULL)
    CHECK_TEXT(head.locked, "");
  else
    CHECK(strncmp(head.locked, expected, strlen(expected)) == 0 &&
          strstr(head.locked, mode) != NULL);
  mem_free(key);
}

TEST(object_lock) {
  static const char *const modes[] = {"GOVERNANCE", "COMPLIANCE"};
  size_t size = (size_t)6 << 20;
  char *data = calloc(1, size);
  for (size_t i = 0; i < 2; i++) {
    repo_id id, large;
    uint64_t length;
    repo_store *store = open_kept(i == 0 ? "kept/r" : "kept/r2", modes[i]);
    FINE(store->way->create(store));
    FINE(save(store, REPO_CONFIG, "mine", 4, NULL, NULL));
    FINE(save(store, REPO_SNAPSHOTS, "text", 4, &id, NULL));
    FINE(save(store, REPO_LOCKS, "text", 4, &id, NULL));
    FINE(save(store, REPO_PACKS, "text", 4, &id, NULL));
    FINE(save(store, REPO_PACKS, data, size, &large, NULL));
    is_kept(store, REPO_CONFIG, NULL, modes[i]);
    is_kept(store, REPO_SNAPSHOTS, &id, modes[i]);
    is_kept(store, REPO_PACKS, &id, modes[i]);
    is_kept(store, REPO_PACKS, &large, modes[i]);
    is_kept(store, REPO_LOCKS, &id, NULL);
    /* To remove hides, and the version stays. */
    FINE(store->way->remove(store, REPO_LOCKS, &id, NULL));
    FINE(store->way->remove(store, REPO_PACKS, &id, NULL));
    error *e = store->way->size(store, REPO_PACKS, &id, &length, NULL);
    CHECK(e != NULL && e->number == ENOENT);
    error_unref(e);
    repo_store_close(store);
  }
  free(data);
  repo_store *store = open_kept("first/plain", "GOVERNANCE");
  repo_id id;
  CHECK(failed_as(save(store, REPO_PACKS, "x", 1, &id, NULL), 0x80190190u,
                  "is there object lock in this bucket?"));
  repo_store_close(store);
}

TEST(what_it_refuses) {
  repo_id id;
  uint64_t size;
  repo_store *store = open_at("first", 60, "wrongwrongwrongwrong");
  CHECK(failed_as(save(store, REPO_PACKS, "x", 1, &id, NULL),
                  SAROS_E_ACCESSDENIED, "secret key"));
  CHECK(failed_as(store->way->size(store, REPO_PACKS, &id, &size, NULL),
                  SAROS_E_ACCESSDENIED, "secret key"));
  CHECK(
      failed_as(store->way->create(store), SAROS_E_ACCESSDENIED, "secret key"));
  repo_store_close(store);
  store = open_at("first", 60, secret_key);
  repo_s3_ahead = -7200;
  error *e = save(store, REPO_PACKS, "x", 1, &id, NULL);
  repo_s3_ahead = 0;
  CHECK(failed_as(e, SAROS_E_FAIL, "clock of this machine"));
  repo_id_of(&id, "never", 5);
  e = store->way->size(store, REPO_PACKS, &id, &size, NULL);
  CHECK(e != NULL && e->number == ENOENT);
  error_unref(e);
  FINE(store->way->remove(store, REPO_PACKS, &id, NULL));
  repo_piece piece = {"other", 5};
  CHECK(failed_as(
      store->way->save(store, REPO_PACKS, &id, &piece, 1, false, NULL),
      SAROS_E_DAMAGED, "not what was sent"));
  repo_store_close(store);
  store = open_at("nosuchbucket", 60, secret_key);
  CHECK(failed_as(save(store, REPO_PACKS, "x", 1, &id, NULL),
                  code_of_errno(ENXIO), "no such bucket"));
  repo_store_close(store);
}

/* ------------------------------------------------------------------
** It stands still, and goes on
** ---------------------------------------------------------------- */

typedef struct patient {
  repo_stop stop; /* first */
  _Atomic unsigned asks;
  _Atomic bool stops;
  repo_store *store;
  error *e;
} patient;

static bool count_asks(const repo_stop *stop) {
  patient *p = (patient *)(uintptr_t)stop;
  p->asks++;
  return p->stops;
}

static void *save_patiently(void *context) {
  patient *p = context;
  repo_id id;
  size_t size = (size_t)3 << 20;
  char *data = malloc(size);
  memset(data, 'p', size);
  p->e = save(p->store, REPO_PACKS, data, size, &id, &p->stop);
  free(data);
  return NULL;
}

/* It is asked every 50 ms: so many are several stalls of half a second. */
static void wait_for_stalls(patient *p) {
  while (p->asks < 60) usleep(10000);
}

TEST(a_server_that_stands_still) {
  pthread_t thread;
  repo_s3_backoff_ms = 100;
  patient p = {.stop = {count_asks},
               .store = open_at("first/still", 0.5, secret_key)};
  CHECK(kill(osd, SIGSTOP) == 0);
  CHECK(pthread_create(&thread, NULL, save_patiently, &p) == 0);
  wait_for_stalls(&p);
  CHECK(kill(osd, SIGCONT) == 0);
  pthread_join(thread, NULL);
  FINE(p.e);
  names n = {0};
  FINE(p.store->way->list(p.store, REPO_PACKS, count_names, &n, NULL));
  CHECK_INT(n.count, 1);

  CHECK(kill(osd, SIGSTOP) == 0);
  p.asks = 0;
  CHECK(pthread_create(&thread, NULL, save_patiently, &p) == 0);
  wait_for_stalls(&p);
  p.stops = true;
  pthread_join(thread, NULL); /* while it stands still */
  CHECK(kill(osd, SIGCONT) == 0);
  CHECK(failed_as(p.e, SAROS_E_CANCELLED, "cancelled"));
  repo_store_close(p.store);
  repo_s3_backoff_ms = 0;
}

/* ------------------------------------------------------------------
** Next to restic
** ---------------------------------------------------------------- */

static bool slurp(const char *path, buffer *b) {
  FILE *f = fopen(path, "rb");
  char part[65536];
  size_t n;
  buffer_clear(b);
  buffer_text(b, "");
  while (f != NULL && (n = fread(part, 1, sizeof part, f)) > 0)
    buffer_put(b, part, n);
  if (f != NULL) fclose(f);
  return f != NULL;
}

/* Every file of a folder of a repository on disk; of data, of each in it. */
static unsigned store_folder(repo_store *store, repo_file kind,
                             const char *folder) {
  unsigned count = 0;
  DIR *d = opendir(folder);
  buffer b = BUFFER_EMPTY;
  for (struct dirent *f; d != NULL && (f = readdir(d)) != NULL;) {
    char path[600];
    repo_id id;
    if (f->d_name[0] == '.') continue;
    snprintf(path, sizeof path, "%s/%s", folder, f->d_name);
    if (strlen(f->d_name) == 2) {
      count += store_folder(store, kind, path);
    } else if (repo_id_parse(&id, f->d_name, strlen(f->d_name)) &&
               slurp(path, &b)) {
      repo_piece piece = {b.data, b.size};
      FINE(store->way->save(store, kind, &id, &piece, 1, false, NULL));
      count++;
    }
  }
  if (d != NULL) closedir(d);
  buffer_free(&b);
  return count;
}

static error *verify_name(void *context, const repo_id *id, uint64_t size) {
  void **of = context;
  repo_store *store = of[0];
  buffer b = BUFFER_EMPTY;
  repo_id is;
  error *e = store->way->load(store, *(repo_file *)of[1], id, (size_t)1 << 30,
                              &b, NULL);
  if (e == NULL) {
    repo_id_of(&is, b.data, b.size);
    CHECK_INT(b.size, size);
    CHECK(repo_id_equal(&is, id));
    ++*(unsigned *)of[2];
  }
  buffer_free(&b);
  return e;
}

TEST(restic_reads_what_we_store) {
  if (system("command -v restic >/dev/null") != 0)
    SKIP("there is no restic here");
  char folder[200];
  setenv("RESTIC_PASSWORD", "test", 1);
  /* What lies beside it restic takes for its own, and leaves out. */
  snprintf(folder, sizeof folder, "%s/cache", work);
  setenv("RESTIC_CACHE_DIR", folder, 1);
  setenv("AWS_ACCESS_KEY_ID", access_key, 1);
  setenv("AWS_SECRET_ACCESS_KEY", secret_key, 1);
  CHECK(
      shell("mkdir -p %s/src/deep && cp -r csrc spec/c %s/src/deep && "
            "head -c 20000000 /dev/urandom >%s/src/random",
            work, work, work));
  CHECK(
      shell("restic -q -r %s/local init && restic -q -r %s/local backup "
            "%s/src",
            work, work, work));
  repo_store *store = open_at("ours/repo", 60, secret_key);
  FINE(store->way->create(store));
  static const repo_file kinds[] = {REPO_KEYS, REPO_PACKS, REPO_INDEXES,
                                    REPO_SNAPSHOTS};
  unsigned stored = 0;
  for (int i = 0; i < 4; i++) {
    snprintf(folder, sizeof folder, "%s/local/%s", work,
             repo_file_folder(kinds[i]));
    stored += store_folder(store, kinds[i], folder);
  }
  CHECK(stored >= 5);
  buffer b = BUFFER_EMPTY;
  snprintf(folder, sizeof folder, "%s/local/config", work);
  CHECK(slurp(folder, &b));
  repo_piece piece = {b.data, b.size};
  FINE(store->way->save(store, REPO_CONFIG, NULL, &piece, 1, false, NULL));
  buffer_free(&b);
  repo_store_close(store);
  CHECK(
      shell("restic -q -r s3:http://127.0.0.1:%d/ours/repo check --read-data "
            ">%s/check.log 2>&1 || { cat %s/check.log; false; }",
            port, work, work));
  CHECK(
      shell("restic -q -r s3:http://127.0.0.1:%d/ours/repo restore latest "
            "--target %s/back && diff -r %s/src \"$(find %s/back -type d -name "
            "src -print -quit)\"",
            port, work, work, work));
  unsetenv("AWS_ACCESS_KEY_ID");
  unsetenv("AWS_SECRET_ACCESS_KEY");
}

TEST(we_read_what_restic_stores) {
  if (system("command -v restic >/dev/null") != 0)
    SKIP("there is no restic here");
  setenv("AWS_ACCESS_KEY_ID", access_key, 1);
  setenv("AWS_SECRET_ACCESS_KEY", secret_key, 1);
  CHECK(
      shell("restic -q -r s3:http://127.0.0.1:%d/theirs/repo init && restic "
            "-q -r s3:http://127.0.0.1:%d/theirs/repo backup csrc",
            port, port));
  repo_store *store = open_at("theirs/repo", 60, secret_key);
  CHECK(failed_as(store->way->create(store), SAROS_E_REFUSED, "already"));
  for (repo_file kind = REPO_KEYS; kind < REPO_FILES; kind++) {
    unsigned count = 0;
    void *of[] = {store, &kind, &count};
    FINE(store->way->list(store, kind, verify_name, of, NULL));
    CHECK(kind == REPO_LOCKS ? count == 0 : count > 0);
  }
  repo_store_close(store);
  unsetenv("AWS_ACCESS_KEY_ID");
  unsetenv("AWS_SECRET_ACCESS_KEY");
}

/* ------------------------------------------------------------------ */

static int skip_all(const char *why) {
  printf("SKIPPED all: %s\n0 passed, 0 failed, 1 skipped\n", why);
  return 0;
}

/* The end of its up script: 0, or 77 and why. */
static int start(void) {
  char command[200], line[200] = "";
  snprintf(command, sizeof command, "spec/s3/up %s", rgw);
  FILE *f = popen(command, "r");
  if (f == NULL) return -1;
  bool read =
      fgets(line, sizeof line, f) != NULL &&
      sscanf(line, "%d %63s %63s %d", &port, access_key, secret_key, &osd) == 4;
  int status = pclose(f);
  return WIFEXITED(status) && WEXITSTATUS(status) != 0 ? WEXITSTATUS(status)
         : read                                        ? 0
                                                       : -1;
}

int main(int argc, char **argv) {
  check_begin(argc, argv);
  if (getenv("SAROS_LONG") == NULL)
    return skip_all("a real S3 server takes its time (SAROS_LONG=1)");
  snprintf(work, sizeof work, "/tmp/saros-spec-s3-XXXXXX");
  if (mkdtemp(work) == NULL) return 1;
  snprintf(rgw, sizeof rgw, "%s/rgw", work);
  int status = start();
  if (status == 0) {
    RUN(a_bucket_and_a_config);
    RUN(many_make_a_config_and_one_does);
    RUN(twelve_hundred_files);
    RUN(a_large_pack);
    RUN(packs_in_parts);
    RUN(object_lock);
    RUN(what_it_refuses);
    RUN(a_server_that_stands_still);
    RUN(restic_reads_what_we_store);
    RUN(we_read_what_restic_stores);
  }
  http_settle();
  shell("spec/s3/down %s; chmod -R u+w %s; rm -rf %s", rgw, work, work);
  if (status == 77)
    return skip_all(
        "there is no Ceph here, or you are not root "
        "(spec/deps s3 installs it)");
  if (status != 0) {
    printf("FAILED: the S3 server did not start\n");
    check_failed++;
  }
  return check_end();
}
