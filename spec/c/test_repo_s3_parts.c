/*
** A bucket as a store: what goes in parts, with a server that errs to order,
** and that nothing of it is left behind; and what is kept by object lock.
**
** not under valgrind: it has a server that waits; ASan runs it
*/
#include "s3_case.h"

#define MIB ((size_t)1 << 20)

/* First as large as S3 wants it; then all is smaller, and the server does not
   mind, for everything else is the same and takes a sixteenth of the time. */
static size_t unit = MIB;
#define SIZE (12 * unit + 345) /* three parts */

static char *bytes;
static repo_id name;

static void begin_small(void) {
  unit = MIB / 16;
  repo_id_of(&name, bytes, SIZE);
}

static repo_store *small(repo_store *store) {
  s3 *x = (s3 *)store;
  if (unit == MIB || x->multipart_size != 5 * MIB) return store;
  x->multipart_size = x->part_size = 5 * unit;
  control("/!set", "{\"least\":1}");
  return store;
}

/* A bucket with nothing in it. */
static repo_store *fresh_parts(const char *bucket_and_prefix, value *v) {
  return small(fresh(bucket_and_prefix, v));
}

static value *parted(void) {
  value *v = options();
  value_put(v, "multipart_size", value_int(5 << 20));
  return v;
}

static error *save_pieces(repo_store *store, const repo_piece *pieces,
                          size_t count, const repo_stop *stop) {
  return store->way->save(store, REPO_PACKS, &name, pieces, count, false, stop);
}

static error *save_all(repo_store *store) {
  return save_pieces(store, &(repo_piece){bytes, SIZE}, 1, NULL);
}

static bool is_there(repo_store *store) {
  buffer b = BUFFER_EMPTY;
  error *e = store->way->load(store, REPO_PACKS, &name, SIZE, &b, NULL);
  bool good = e == NULL && b.size == SIZE && memcmp(b.data, bytes, SIZE) == 0;
  if (e != NULL) printf("%s\n", e->message);
  error_unref(e);
  buffer_free(&b);
  return good;
}

static unsigned uploads(void) {
  char *list = server_ask(&s, "GET", "/!uploads", "");
  unsigned n = list[0] != '\0';
  for (const char *c = list; *c != '\0'; c++) n += *c == '\n';
  free(list);
  return n;
}

/* ------------------------------------------------------------------
** In parts
** ---------------------------------------------------------------- */

TEST(how_large) {
  static const int64_t wrong[] = {-1, 1, (5 << 20) - 1};
  error *e = NULL;
  for (size_t i = 0; i < 3; i++) {
    value *v = options();
    value_put(v, "multipart_size", value_int(wrong[i]));
    CHECK(repo_store_s3("s3:h.example/buck", v, &e) == NULL);
    CHECK(failed_as(e, SAROS_E_INVALIDARG, "5 MiB"));
    value_free(v);
  }
  repo_store *store = open_at("buck", options());
  CHECK_INT(((s3 *)store)->multipart_size, 64 * MIB);
  CHECK_INT(((s3 *)store)->part_size, 16 * MIB);
  repo_store_close(store);
}

TEST(large_packs_go_in_parts) {
  repo_store *store = fresh_parts("buck/a b", parted());
  FINE(save_all(store));
  char *log = server_ask(&s, "GET", "/!log", "");
  CHECK(strstr(log, "?uploads= 200\n") != NULL);
  CHECK(strstr(log, "?partNumber=3&uploadId=") != NULL);
  CHECK(strstr(log, "?partNumber=4&uploadId=") == NULL);
  free(log);
  CHECK(is_there(store));
  CHECK_INT(uploads(), 0);
  FINE(save_all(store)); /* again is no error */
  (void)requests("");
  repo_id id;
  FINE(save(store, REPO_PACKS, "a small one", &id));
  CHECK_INT(requests("upload"), 0);
  repo_store_close(store);
  value *v = parted();
  value_put(v, "multipart_size", value_int(0));
  store = fresh_parts("buck", v);
  FINE(save_all(store));
  CHECK_INT(requests("upload"), 0);
  CHECK(is_there(store));
  repo_store_close(store);
}

TEST(pieces_that_are_no_parts) {
  repo_piece pieces[9];
  size_t sizes[9] = {0, 1, 5 * unit - 1, 5 * unit, 0, 3, 7, unit, 0}, at = 0;
  for (size_t i = 0; i < 9; i++) {
    if (i == 8) sizes[i] = SIZE - at;
    pieces[i] = (repo_piece){bytes + at, sizes[i]};
    at += sizes[i];
  }
  repo_store *store = fresh_parts("buck", parted());
  FINE(save_pieces(store, pieces, 9, NULL));
  CHECK(is_there(store));
  repo_store_close(store);
}

TEST(what_passes_is_tried_again) {
  static const char *const faults[] = {
      "\"fault\":\"status\",\"status\":500,\"code\":\"InternalError\"",
      "\"fault\":\"status\",\"status\":503,\"code\":\"SlowDown\"",
      "\"fault\":\"reset\"",
      "\"fault\":\"lost\"",
      "\"fault\":\"half\"",
  };
  static const char *const where[] = {
      "\"method\":\"POST\",\"match\":\"?uploads\"",
      "\"method\":\"PUT\",\"match\":\"partNumber=2\"",
      "\"method\":\"POST\",\"match\":\"?uploadId\""};
  repo_store *store = fresh_parts("buck", parted());
  for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++)
    for (size_t w = 0; w < 3; w++) {
      char plan[300];
      if (i == 4 && w == 1) continue; /* there is no half of nothing */
      snprintf(plan, sizeof plan, "[{%s,%s,\"times\":1}]", where[w], faults[i]);
      control("/!plan", plan);
      FINE(save_all(store));
      if (uploads() != 0) printf("%s %s\n", faults[i], where[w]);
      CHECK_INT(uploads(), 0);
      FINE(store->way->remove(store, REPO_PACKS, &name, NULL));
    }
  repo_store_close(store);
}

/* ------------------------------------------------------------------
** Nothing wrong is taken for right, and nothing stays
** ---------------------------------------------------------------- */

TEST(parts_that_are_wrong) {
  static const struct {
    const char *fault;
    const char *words; /* NULL: once more helps */
  } faults[] = {
      {"\"PUT\",\"match\":\"partNumber=2\",\"fault\":\"other etag\"", NULL},
      {"\"PUT\",\"match\":\"partNumber=2\",\"fault\":\"store half\"", NULL},
      {"\"POST\",\"match\":\"?uploadId\",\"fault\":\"late error\"", NULL},
      {"\"PUT\",\"match\":\"partNumber=2\",\"fault\":\"other etag\","
       "\"times\":9",
       "ETag is another MD5"},
      {"\"PUT\",\"match\":\"partNumber=3\",\"fault\":\"store half\","
       "\"times\":9",
       "ETag is another MD5"},
      {"\"PUT\",\"match\":\"partNumber\",\"fault\":\"no etag\"",
       "does not say what it has"},
      {"\"POST\",\"match\":\"?uploads\",\"fault\":\"no id\"",
       "does not say which"},
      {"\"POST\",\"match\":\"?uploadId\",\"fault\":\"late error\","
       "\"times\":9",
       "answers Error"},
      {"\"POST\",\"match\":\"?uploadId\",\"fault\":\"html\",\"times\":9",
       NULL}, /* it was done all the same, as a look shows */
      {"\"POST\",\"match\":\"?uploadId\",\"fault\":\"shuffle\"",
       "put together is not"},
  };
  for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
    char plan[300];
    repo_store *store = fresh_parts("buck", parted());
    snprintf(plan, sizeof plan, "[{\"method\":%s}]", faults[i].fault);
    control("/!plan", plan);
    error *e = save_all(store);
    if (faults[i].words == NULL) {
      FINE(e);
      CHECK(is_there(store));
    } else {
      CHECK(failed_as(e, SAROS_E_DAMAGED, faults[i].words));
    }
    CHECK_INT(uploads(), 0);
    repo_store_close(store);
  }
}

TEST(put_together_and_not_there) {
  repo_store *store = fresh_parts("buck", parted());
  control("/!plan",
          "[{\"method\":\"POST\",\"match\":\"?uploadId\",\"fault\":\"drop\"}]");
  error *e = save_all(store);
  CHECK(e != NULL && e->number == ENOENT);
  error_unref(e);
  repo_store_close(store);
}

TEST(what_fails_is_taken_back) {
  repo_store *store = fresh_parts("buck", parted());
  control("/!plan",
          "[{\"method\":\"PUT\",\"match\":\"partNumber=3\",\"fault\":"
          "\"status\",\"status\":403,\"code\":\"AccessDenied\"}]");
  CHECK(failed_as(save_all(store), SAROS_E_ACCESSDENIED, "AccessDenied"));
  CHECK_INT(uploads(), 0);
  CHECK_INT(requests("DELETE"), 1);
  control("/!plan",
          "[{\"method\":\"PUT\",\"match\":\"partNumber=3\",\"fault\":"
          "\"status\",\"status\":403,\"code\":\"AccessDenied\"},"
          "{\"method\":\"DELETE\",\"fault\":\"status\",\"status\":403,"
          "\"times\":9}]");
  CHECK(failed_as(save_all(store), SAROS_E_ACCESSDENIED,
                  "stays until the next prune"));
  CHECK_INT(uploads(), 1);
  repo_store_close(store);
}

/* Memory that changes under us: each part is as it was sent. */
TEST(bytes_that_are_not_their_name) {
  repo_store *store = fresh_parts("buck", parted());
  bytes[7 * unit] ^= 1;
  error *e = save_all(store);
  bytes[7 * unit] ^= 1;
  CHECK(failed_as(e, SAROS_E_DAMAGED, "is not what it is called"));
  CHECK_INT(uploads(), 0);
  CHECK_INT(requests("POST"), 1); /* it was never ended */
  repo_store_close(store);
}

TEST(servers_that_know_no_parts) {
  repo_store *store = fresh_parts("buck", parted());
  control("/!set", "{\"parts\":false}");
  FINE(save_all(store));
  FINE(save_all(store));
  CHECK_INT(requests("?uploads"), 1); /* it is asked once */
  CHECK(is_there(store));
  repo_store_close(store);
}

typedef struct after {
  repo_stop stop; /* first */
  int asks;
} after;

static bool after_some(const repo_stop *stop) {
  after *a = (after *)(uintptr_t)stop;
  return a->asks-- <= 0;
}

TEST(stopped_at_any_moment) {
  static const char *const where[] = {
      "\"method\":\"POST\",\"match\":\"?uploads\"",
      "\"method\":\"PUT\",\"match\":\"partNumber=1\"",
      "\"method\":\"PUT\",\"match\":\"partNumber=3\"",
      "\"method\":\"POST\",\"match\":\"?uploadId\""};
  repo_store *store = fresh_parts("buck", parted());
  repo_piece all = {bytes, SIZE};
  for (size_t w = 0; w < 4; w++) {
    char plan[200];
    snprintf(plan, sizeof plan, "[{%s,\"fault\":\"stall\",\"times\":99}]",
             where[w]);
    control("/!plan", plan);
    after a = {.stop = {after_some}, .asks = 6};
    CHECK(failed_as(save_pieces(store, &all, 1, &a.stop), SAROS_E_CANCELLED,
                    "cancelled"));
    CHECK_INT(uploads(), 0);
  }
  control("/!plan", "[]");
  bool late = false;
  for (int asks = 0; asks < 8; asks++) {
    after a = {.stop = {after_some}, .asks = asks};
    (void)requests("");
    error *e = save_pieces(store, &all, 1, &a.stop);
    CHECK(e == NULL || e->code == SAROS_E_CANCELLED);
    /* While the server was asked to begin it: one that is slow may do so when
       all is over, and nobody knows of that before the next prune. */
    late = late || (e != NULL && requests("partNumber=") == 0);
    error_unref(e);
    for (int i = 0; late && uploads() > 0 && i < 6000; i++) {
      FINE(store->way->tidy(store, NULL));
      usleep(10000);
    }
    CHECK_INT(uploads(), 0);
  }
  repo_store_close(store);
}

/* What one who was killed has begun. */
TEST(leftovers_are_taken_away) {
  repo_store *store = fresh_parts("buck/r", parted());
  repo_store *other = small(open_at("buck/r2", parted()));
  static const char stays[] =
      "[{\"method\":\"PUT\",\"match\":\"partNumber=3\",\"fault\":"
      "\"status\",\"status\":403,\"times\":9},{\"method\":\"DELETE\","
      "\"fault\":\"status\",\"status\":403,\"times\":9}]";
  control("/!plan", stays);
  for (int i = 0; i < 3; i++) {
    error *e = save_all(i == 2 ? other : store);
    CHECK(e != NULL);
    error_unref(e);
  }
  CHECK_INT(uploads(), 3);
  FINE(store->way->tidy(store, NULL)); /* it cannot, and that is no harm */
  CHECK_INT(uploads(), 3);
  control("/!plan", "[]");
  FINE(store->way->tidy(store, NULL));
  CHECK_INT(uploads(), 1); /* another repository's */
  FINE(other->way->tidy(other, NULL));
  CHECK_INT(uploads(), 0);
  repo_store_close(store);
  repo_store_close(other);
}

static _Atomic unsigned worker_numbers;

/* Another one each: no two packs have the same name. */
static void *worker(void *context) {
  repo_store *store = context;
  size_t cut = ++worker_numbers;
  repo_piece piece = {bytes + cut, SIZE - cut};
  repo_id id;
  uint64_t size = 0;
  repo_id_of(&id, piece.data, piece.size);
  FINE(store->way->save(store, REPO_PACKS, &id, &piece, 1, false, NULL));
  FINE(store->way->size(store, REPO_PACKS, &id, &size, NULL));
  CHECK_INT(size, piece.size);
  return NULL;
}

TEST(many_threads) {
  enum { N = 4 };
  repo_store *store = fresh_parts("buck", parted());
  control("/!plan",
          "[{\"skip\":5,\"method\":\"PUT\",\"fault\":\"reset\",\"times\":3},"
          "{\"skip\":1,\"method\":\"POST\",\"fault\":\"status\",\"status\":500,"
          "\"times\":2}]");
  pthread_t threads[N];
  for (int i = 0; i < N; i++)
    CHECK(pthread_create(&threads[i], NULL, worker, store) == 0);
  for (int i = 0; i < N; i++) pthread_join(threads[i], NULL);
  CHECK_INT(uploads(), 0);
  repo_store_close(store);
}

TEST(without_memory) {
  repo_store *store = fresh_parts("buck", parted());
  FINE(save_all(store));
  long blocks = least_blocks();
  bool reached = true;
  long step = getenv("SAROS_LONG") != NULL ? 1 : 41;
  for (long k = 1; reached; k += step) {
    CHECK(k < 2000);
    mem_fail_at(k);
    error *e = save_all(store);
    reached = mem_fail_left() == 0;
    mem_fail_at(0);
    if (!reached) CHECK(e == NULL);
    error_unref(e);
    CHECK(has_no_more_blocks(blocks));
  }
  FINE(store->way->tidy(store, NULL));
  CHECK_INT(uploads(), 0);
  repo_store_close(store);
}

/* ------------------------------------------------------------------
** Object lock
** ---------------------------------------------------------------- */

static value *kept(value *v, const char *mode, int64_t days) {
  value *map = value_map();
  value_put(map, "mode", value_text(mode));
  value_put(map, "days", value_int(days));
  value_put(v, "object_lock", map);
  return v;
}

TEST(what_is_kept) {
  repo_store *store = fresh_parts(
      "buck/r", kept(parted(), "GOVERNANCE", 30)); /* makes the bucket */
  static const repo_file kinds[] = {REPO_KEYS, REPO_SNAPSHOTS, REPO_INDEXES,
                                    REPO_PACKS};
  char text[REPO_ID_TEXT], first[21], last[21], until[21], expected[200];
  repo_id id;
  repo_s3_lock_until((s3 *)store, first);
  for (size_t i = 0; i < 4; i++) FINE(save(store, kinds[i], "bytes", &id));
  FINE(save(store, REPO_LOCKS, "bytes", &id));
  FINE(save_all(store)); /* in parts */
  repo_piece mine = {"mine", 4};
  FINE(store->way->save(store, REPO_CONFIG, NULL, &mine, 1, false, NULL));
  char *all = server_ask(&s, "GET", "/!kept", "");
  repo_id_format(&id, text);
  CHECK(strstr(all, "r/locks/") == NULL);
  static const char *const folders[] = {"keys/", "snapshots/", "index/"};
  for (size_t i = 0; i < 3; i++) {
    snprintf(expected, sizeof expected, "r/%s%s GOVERNANCE ", folders[i], text);
    CHECK(strstr(all, expected) != NULL);
  }
  repo_id_format(&name, text);
  snprintf(expected, sizeof expected, "r/data/%.2s/%s GOVERNANCE ", text, text);
  CHECK(strstr(all, expected) != NULL);
  /* Each as long as was said when it was stored. */
  repo_s3_lock_until((s3 *)store, last);
  char *day = strstr(all, "r/config GOVERNANCE ");
  CHECK(day != NULL && strncmp(first, day + 20, 20) <= 0 &&
        strncmp(day + 20, last, 20) <= 0);
  day = strstr(all, "r/index/");
  day = day != NULL ? strstr(day, "GOVERNANCE ") : NULL;
  CHECK(day != NULL);
  snprintf(until, sizeof until, "%.20s", day != NULL ? day + 11 : "");
  free(all);
  FINE(store->way->remove(store, REPO_LOCKS, &id, NULL));
  /* Most servers hide what is removed. */
  FINE(store->way->remove(store, REPO_SNAPSHOTS, &id, NULL));
  /* Others refuse. */
  control("/!set", "{\"refuse\":true}");
  snprintf(expected, sizeof expected, "it is locked until %.10s", until);
  CHECK(failed_as(store->way->remove(store, REPO_INDEXES, &id, NULL),
                  SAROS_E_ACCESSDENIED, expected));
  CHECK(failed_as(store->way->remove(store, REPO_PACKS, &name, NULL),
                  SAROS_E_ACCESSDENIED, "(object lock, GOVERNANCE)"));
  repo_store_close(store);
}

/* As Ceph is: what an upload in parts says when it begins is forgotten. */
TEST(parts_that_would_not_be_kept) {
  repo_store *store = fresh_parts("buck/r", kept(parted(), "COMPLIANCE", 3));
  control("/!set", "{\"parts_keep\":false}");
  FINE(save_all(store));
  char *all = server_ask(&s, "GET", "/!kept", ""), text[REPO_ID_TEXT];
  repo_id_format(&name, text);
  char *there = strstr(all, text);
  CHECK(there != NULL && strstr(there, "COMPLIANCE 20") != NULL);
  free(all);
  CHECK_INT(requests("?retention= 200"), 1);
  FINE(store->way->remove(store, REPO_PACKS, &name, NULL));
  control("/!plan",
          "[{\"method\":\"PUT\",\"match\":\"?retention\",\"fault\":\"status\","
          "\"status\":403,\"code\":\"AccessDenied\"}]");
  free(server_ask(&s, "POST", "/!forget", ""));
  CHECK(failed_as(save_all(store), SAROS_E_ACCESSDENIED, "AccessDenied"));
  CHECK_INT(uploads(), 0);
  repo_store_close(store);
}

TEST(buckets_that_keep_nothing) {
  repo_store *store = fresh_parts("buck/r", options());
  repo_store_close(store);
  store = open_at("buck/r", kept(options(), "COMPLIANCE", 1));
  repo_id id;
  CHECK(failed_as(save(store, REPO_PACKS, "x", &id), 0x80190190u,
                  "is there object lock in this bucket?"));
  FINE(save(store, REPO_LOCKS, "x", &id));
  repo_store_close(store);
}

TEST(what_is_no_object_lock) {
  static const struct {
    const char *mode;
    int64_t days;
  } wrong[] = {{"governance", 1},
               {"", 1},
               {"GOVERNANCE", 0},
               {"COMPLIANCE", -1},
               {"COMPLIANCE", 40000}};
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
    error *e = NULL;
    value *v = kept(options(), wrong[i].mode, wrong[i].days);
    CHECK(repo_store_s3("s3:h.example/buck", v, &e) == NULL);
    CHECK(failed_as(e, SAROS_E_INVALIDARG, "object_lock"));
    value_free(v);
  }
}

int main(int argc, char **argv) {
  static const char *const command[] = {"python3", "spec/s3/server.py", NULL};
  check_begin(argc, argv);
  unsetenv("http_proxy");
  unsetenv("AWS_REGION");
  unsetenv("AWS_DEFAULT_REGION");
  bytes = malloc(SIZE);
  for (size_t i = 0; i < SIZE; i++) bytes[i] = (char)(i * 2654435761u >> 13);
  repo_id_of(&name, bytes, SIZE);
  RUN(how_large);
  RUN(what_is_no_object_lock);
  if (server_start(&s, command)) {
    RUN(large_packs_go_in_parts);
    begin_small();
    RUN(pieces_that_are_no_parts);
    RUN(what_passes_is_tried_again);
    RUN(parts_that_are_wrong);
    RUN(put_together_and_not_there);
    RUN(what_fails_is_taken_back);
    RUN(bytes_that_are_not_their_name);
    RUN(servers_that_know_no_parts);
    RUN(stopped_at_any_moment);
    RUN(leftovers_are_taken_away);
    RUN(many_threads);
    RUN(without_memory);
    RUN(what_is_kept);
    RUN(parts_that_would_not_be_kept);
    RUN(buckets_that_keep_nothing);
  } else {
    printf("SKIPPED the rest: there is no python3 here to serve with\n");
    check_skipped++;
  }
  server_stop(&s);
  http_settle();
  free(bytes);
  return check_end();
}
