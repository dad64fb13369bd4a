/*
** A bucket as a store, with a server that errs to order: what is tried again,
** what is not, and that nothing wrong is taken for right.
**
** not under valgrind: it has a server that waits; ASan runs it
*/
#include "s3_case.h"

/* ------------------------------------------------------------------
** Again, or not
** ---------------------------------------------------------------- */

TEST(what_passes_is_tried_again) {
  static const char *const faults[] = {
      "\"fault\":\"status\",\"status\":500,\"code\":\"InternalError\"",
      "\"fault\":\"status\",\"status\":503,\"code\":\"SlowDown\"",
      "\"fault\":\"status\",\"status\":503,\"after\":1",
      "\"fault\":\"status\",\"status\":503,\"after\":\"nonsense\"",
      "\"fault\":\"status\",\"status\":429",
      "\"fault\":\"status\",\"status\":400,\"code\":\"RequestTimeout\"",
      "\"fault\":\"status\",\"status\":409,\"code\":\"OperationAborted\"",
      "\"fault\":\"status\",\"status\":502",
      "\"fault\":\"status\",\"status\":504",
      "\"fault\":\"reset\"",
      "\"fault\":\"lost\"",
  };
  repo_store *store = fresh("buck/p", options());
  for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
    static const char *const methods[] = {"PUT", "GET", "HEAD", "DELETE"};
    char text[40], plan[300];
    repo_id id;
    uint64_t size = 0;
    snprintf(text, sizeof text, "bytes %zu", i);
    for (int m = 0; m < 4; m++) {
      snprintf(plan, sizeof plan, "[{\"method\":\"%s\",%s,\"times\":%d}]",
               methods[m], faults[i], strstr(faults[i], ":1") ? 1 : 2);
      control("/!plan", plan);
      if (m == 0) FINE(save(store, REPO_PACKS, text, &id));
      if (m == 1) CHECK(loads(store, REPO_PACKS, &id, text));
      if (m == 2) FINE(store->way->size(store, REPO_PACKS, &id, &size, NULL));
      if (m == 3) FINE(store->way->remove(store, REPO_PACKS, &id, NULL));
    }
    CHECK_INT(size, strlen(text));
  }
  repo_store_close(store);
}

TEST(what_stays_is_not) {
  static const struct {
    const char *fault;
    uint32_t code;
    const char *words;
  } faults[] = {
      {"\"status\":403,\"code\":\"AccessDenied\"", SAROS_E_ACCESSDENIED,
       "may not do that"},
      {"\"status\":403,\"code\":\"InvalidAccessKeyId\"", SAROS_E_ACCESSDENIED,
       "no such access key"},
      {"\"status\":400,\"code\":\"ExpiredToken\"", SAROS_E_ACCESSDENIED,
       "expired"},
      {"\"status\":403", SAROS_E_ACCESSDENIED, "403"},
      {"\"status\":404,\"code\":\"NoSuchBucket\"", 0x80070002u, "bucket"},
      {"\"status\":413", 0x8019019Du, "413"},
      {"\"status\":400,\"code\":\"InvalidBucketName\"", 0x80190190u,
       "InvalidBucketName"},
      {"\"status\":507", 0x80070070u, "room"},
      {"\"status\":302", 0x8019012Eu, "302"},
      {"\"status\":400,\"code\":\"X\",\"more\":\"<Message>you sent "
       "sEcReT/canary+key</Message>\"",
       0x80190190u, NULL},
  };
  repo_store *store = fresh("buck/p", options());
  for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
    char plan[300];
    repo_id id;
    free(server_ask(&s, "GET", "/!log", ""));
    snprintf(plan, sizeof plan,
             "[{\"method\":\"PUT\",\"fault\":\"status\",%s,\"times\":9}]",
             faults[i].fault);
    control("/!plan", plan);
    uint32_t code = faults[i].code;
    if (code == 0x80070002u) code = code_of_errno(ENXIO);
    CHECK(failed_as(save(store, REPO_PACKS, "x", &id), code, faults[i].words));
    CHECK_INT(requests("PUT"), 1);
  }
  repo_store_close(store);
}

TEST(patience_ends) {
  value *v = options();
  value_put(v, "retry_seconds", value_real(0.2));
  repo_store *store = fresh("buck/p", v);
  repo_id id;
  control("/!plan",
          "[{\"method\":\"PUT\",\"fault\":\"status\",\"status\":503,"
          "\"code\":\"SlowDown\",\"times\":9999}]");
  error *e = save(store, REPO_PACKS, "x", &id);
  CHECK(e != NULL && e->retryable);
  CHECK(failed_as(e, 0x801901F7u, NULL));
  repo_store_close(store);
  v = options();
  value_put(v, "retry_seconds", value_real(600));
  store = fresh("buck/p", v);
  /* The fourth time it would be asked again only after we have given up. */
  control("/!plan",
          "[{\"method\":\"PUT\",\"fault\":\"status\",\"status\":503,"
          "\"times\":3},{\"method\":\"PUT\",\"fault\":\"status\","
          "\"status\":503,\"after\":3600,\"times\":9999}]");
  e = save(store, REPO_PACKS, "x", &id);
  CHECK(failed_as(e, 0x801901F7u, "times tried"));
  CHECK_INT(requests("PUT"), 4);
  repo_store_close(store);
}

TEST(wrong_secrets) {
  repo_store *store = fresh("buck/p", options());
  repo_store_close(store);
  value *v = options();
  value_put(v, "secret_key", value_text("another canary"[0] ? "canary2" : ""));
  store = open_at("buck/p", v);
  repo_id id;
  uint64_t size;
  CHECK(failed_as(save(store, REPO_PACKS, "x", &id), SAROS_E_ACCESSDENIED,
                  "secret key"));
  /* A HEAD cannot say it: it is asked in another way. */
  CHECK(failed_as(store->way->size(store, REPO_PACKS, &id, &size, NULL),
                  SAROS_E_ACCESSDENIED, "secret key"));
  CHECK(
      failed_as(store->way->create(store), SAROS_E_ACCESSDENIED, "secret key"));
  names n = {0};
  CHECK(failed_as(store->way->list(store, REPO_PACKS, count_names, &n, NULL),
                  SAROS_E_ACCESSDENIED, "secret key"));
  repo_store_close(store);
}

TEST(session_tokens) {
  control("/!clear", "");
  value *v = options();
  value_put(v, "session_token", value_text(TOKEN));
  repo_store *store = fresh("buck/p", v);
  control("/!set", "{\"token\":true}");
  repo_id id;
  FINE(save(store, REPO_PACKS, "x", &id));
  control("/!plan",
          "[{\"fault\":\"status\",\"status\":400,\"code\":\"X\","
          "\"more\":\"<Message>tOkEn/canary==</Message>\"}]");
  CHECK(failed_as(save(store, REPO_PACKS, "y", &id), 0x80190190u, NULL));
  repo_store_close(store);
  store = open_at("buck/p", options());
  CHECK(failed_as(save(store, REPO_PACKS, "x", &id), SAROS_E_ACCESSDENIED,
                  "session token"));
  repo_store_close(store);
}

TEST(clocks_that_differ) {
  repo_store *store = fresh("buck/p", options());
  repo_id id;
  repo_s3_ahead = 3600;
  error *e = save(store, REPO_PACKS, "x", &id);
  repo_s3_ahead = 0;
  CHECK(failed_as(e, SAROS_E_FAIL, "clock of this machine"));
  repo_store_close(store);
}

TEST(regions) {
  repo_store *store = fresh("buck/p", options());
  repo_id id;
  control("/!set", "{\"region\":\"eu-south-9\"}");
  FINE(save(store, REPO_PACKS, "x", &id)); /* it is learned */
  CHECK(loads(store, REPO_PACKS, &id, "x"));
  CHECK_INT(requests(" 400"), 1);
  repo_store_close(store);
  value *v = options();
  value_put(v, "region", value_text("mars-1"));
  store = open_at("buck/p", v);
  CHECK(
      failed_as(save(store, REPO_PACKS, "x", &id), 0x80190190u, "eu-south-9"));
  repo_store_close(store);
}

/* ------------------------------------------------------------------
** Nothing wrong is taken for right
** ---------------------------------------------------------------- */

TEST(lies_about_what_is_stored) {
  repo_store *store = fresh("buck/p", options());
  repo_id id;
  control("/!plan",
          "[{\"method\":\"PUT\",\"fault\":\"other etag\",\"times\":1}]");
  FINE(save(store, REPO_PACKS, "once", &id)); /* sent again */
  control("/!plan",
          "[{\"method\":\"PUT\",\"fault\":\"other etag\",\"times\":9}]");
  CHECK(failed_as(save(store, REPO_PACKS, "often", &id), SAROS_E_DAMAGED,
                  "ETag"));
  control("/!plan",
          "[{\"method\":\"PUT\",\"fault\":\"store half\",\"times\":9}]");
  CHECK(failed_as(save(store, REPO_PACKS, "half of it", &id), SAROS_E_DAMAGED,
                  "ETag"));
  control("/!set",
          "{\"etag\":\"parts\"}"); /* it is no MD5: then it is looked */
  CHECK(failed_as(save(store, REPO_PACKS, "half of it", &id), SAROS_E_DAMAGED,
                  "another length"));
  control("/!plan", "[]");
  FINE(save(store, REPO_PACKS, "all of it", &id));
  repo_store_close(store);
}

/* Memory that changes under us, or a wrong name: the server sees it. */
TEST(bytes_that_are_not_their_name) {
  repo_store *store = fresh("buck/p", options());
  repo_id id;
  repo_piece piece = {"other bytes", 11};
  id_of(&id, "bytes", 5);
  CHECK(failed_as(
      store->way->save(store, REPO_PACKS, &id, &piece, 1, false, NULL),
      SAROS_E_DAMAGED, "not what was sent"));
  CHECK_INT(requests("PUT"), 3);
  repo_store_close(store);
}

TEST(reading_what_is_wrong) {
  repo_store *store = fresh("buck/p", options());
  repo_id id;
  char part[11] = "";
  FINE(save(store, REPO_PACKS, "0123456789", &id));
  CHECK(failed_as(store->way->read(store, REPO_PACKS, &id, 5, 6, part, NULL),
                  SAROS_E_DAMAGED, "shorter"));
  CHECK(failed_as(store->way->read(store, REPO_PACKS, &id, 10, 1, part, NULL),
                  SAROS_E_DAMAGED, "shorter"));
  control("/!plan", "[{\"method\":\"GET\",\"fault\":\"shift\",\"times\":9}]");
  CHECK(failed_as(store->way->read(store, REPO_PACKS, &id, 2, 3, part, NULL),
                  SAROS_E_FAIL, "another part"));
  control("/!plan", "[{\"method\":\"GET\",\"fault\":\"shift\",\"times\":1}]");
  memset(part, 0, sizeof part);
  FINE(store->way->read(store, REPO_PACKS, &id, 2, 3, part, NULL));
  CHECK_TEXT(part, "234");
  control("/!plan", "[{\"method\":\"GET\",\"fault\":\"half\",\"times\":2}]");
  CHECK(loads(store, REPO_PACKS, &id, "0123456789"));
  control("/!plan",
          "[{\"method\":\"GET\",\"fault\":\"unending\",\"times\":9}]");
  buffer b = BUFFER_EMPTY;
  buffer_text(&b, "before");
  CHECK(failed_as(store->way->load(store, REPO_PACKS, &id, 100, &b, NULL),
                  SAROS_E_FAIL, "cut"));
  CHECK_TEXT(b.data, "before");
  control("/!plan", "[]");
  CHECK(failed_as(store->way->load(store, REPO_PACKS, &id, 9, &b, NULL),
                  SAROS_E_DAMAGED, "larger"));
  CHECK_TEXT(b.data, "before");
  FINE(store->way->load(store, REPO_PACKS, &id, 10, &b, NULL));
  CHECK_TEXT(b.data, "before0123456789");
  buffer_free(&b);
  /* A server that knows no ranges sends all of it. */
  control("/!set", "{\"ranges\":false}");
  memset(part, 0, sizeof part);
  FINE(store->way->read(store, REPO_PACKS, &id, 3, 4, part, NULL));
  CHECK_TEXT(part, "3456");
  CHECK(failed_as(store->way->read(store, REPO_PACKS, &id, 8, 4, part, NULL),
                  SAROS_E_DAMAGED, "shorter"));
  repo_store_close(store);
}

/* ------------------------------------------------------------------
** Stalls, stopping, forks, threads, memory
** ---------------------------------------------------------------- */

TEST(stalls_are_tried_again) {
  value *v = options();
  value_put(v, "stall_seconds", value_real(0.2));
  repo_store *store = fresh("buck/p", v);
  repo_id id;
  control("/!plan", "[{\"method\":\"PUT\",\"fault\":\"stall\",\"times\":2}]");
  FINE(save(store, REPO_PACKS, "x", &id));
  control("/!plan", "[{\"method\":\"GET\",\"fault\":\"stall\",\"times\":2}]");
  CHECK(loads(store, REPO_PACKS, &id, "x"));
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
  repo_store *store = fresh("buck/p", options());
  repo_id id;
  repo_piece piece = {"x", 1};
  id_of(&id, "x", 1);
  static const char *const plans[] = {
      "[{\"fault\":\"stall\",\"times\":99}]",
      "[{\"fault\":\"status\",\"status\":503,\"times\":9999}]",
      "[{\"fault\":\"status\",\"status\":503,\"after\":600,\"times\":9999}]",
  };
  for (int i = 0; i < 3; i++)
    for (int asks = 0; asks < 6; asks++) {
      control("/!plan", plans[i]);
      after a = {.stop = {after_some}, .asks = asks};
      CHECK(failed_as(
          store->way->save(store, REPO_PACKS, &id, &piece, 1, false, &a.stop),
          SAROS_E_CANCELLED, "cancelled"));
      ((s3 *)store)->net.not_before = 0;
    }
  repo_store_close(store);
}

TEST(inherited_by_a_child) {
  repo_store *store = fresh("buck/p", options());
  repo_id id;
  FINE(save(store, REPO_PACKS, "x", &id));
  pid_t child = fork();
  if (child == 0) {
    check_bad = 0;
    CHECK(failed_as(save(store, REPO_PACKS, "x", &id), SAROS_E_FORKED, NULL));
    CHECK(failed_as(store->way->create(store), SAROS_E_FORKED, NULL));
    repo_store_close(store);
    store = open_at("buck/p", options());
    CHECK(loads(store, REPO_PACKS, &id, "x"));
    repo_store_close(store);
    http_settle();
    _exit(check_bad > 0);
  }
  int status = -1;
  waitpid(child, &status, 0);
  CHECK_INT(status, 0);
  CHECK(loads(store, REPO_PACKS, &id, "x"));
  repo_store_close(store);
}

static _Atomic unsigned worker_numbers;

static void *worker(void *context) {
  repo_store *store = context;
  unsigned me = atomic_fetch_add(&worker_numbers, 1);
  int rounds = getenv("SAROS_QUICK") != NULL ? 3 : 25;
  for (int i = 0; i < rounds; i++) {
    char text[40];
    repo_id id;
    uint64_t size = 0;
    snprintf(text, sizeof text, "of %u: %d", me, i);
    FINE(save(store, REPO_PACKS, text, &id));
    CHECK(loads(store, REPO_PACKS, &id, text));
    FINE(store->way->size(store, REPO_PACKS, &id, &size, NULL));
    CHECK_INT(size, strlen(text));
    if (i % 2 == 0) FINE(store->way->remove(store, REPO_PACKS, &id, NULL));
  }
  return NULL;
}

TEST(many_threads) {
  enum { N = 12 };
  value *v = options();
  value_put(v, "connections", value_int(5));
  repo_store *store = fresh("buck/p", v);
  control("/!plan",
          "[{\"skip\":9,\"fault\":\"status\",\"status\":503,\"code\":"
          "\"SlowDown\",\"times\":5},{\"skip\":30,\"fault\":\"reset\","
          "\"times\":9},{\"method\":\"GET\",\"skip\":5,\"fault\":"
          "\"half\",\"times\":9}]");
  pthread_t threads[N];
  for (int i = 0; i < N; i++)
    CHECK(pthread_create(&threads[i], NULL, worker, store) == 0);
  for (int i = 0; i < N; i++) pthread_join(threads[i], NULL);
  repo_store_close(store);
}

TEST(without_memory) {
  repo_store *store = fresh("buck/p", options());
  repo_id id;
  names n = {0};
  value *v = options();
  char location[100];
  snprintf(location, sizeof location, "s3:http://127.0.0.1:%d/buck/q", s.port);
  FINE(save(store, REPO_PACKS, "bytes", &id));
  long blocks = least_blocks();
  for (int what = 0; what < 5; what++) {
    bool reached = true;
    for (long k = 1; reached; k++) {
      CHECK(k < 500);
      buffer b = BUFFER_EMPTY;
      error *e = NULL;
      repo_store *other = NULL;
      mem_fail_at(k);
      if (what == 0) e = save(store, REPO_LOCKS, "bytes", &id);
      if (what == 1)
        e = store->way->list(store, REPO_PACKS, count_names, &n, NULL);
      if (what == 2)
        e = store->way->load(store, REPO_PACKS, &id, 100, &b, NULL);
      if (what == 3) e = store->way->create(store);
      if (what == 4) other = repo_store_s3(location, v, &e);
      reached = mem_fail_left() == 0;
      mem_fail_at(0);
      if (!reached) CHECK(e == NULL);
      error_unref(e);
      if (other != NULL) repo_store_close(other);
      buffer_free(&b);
      CHECK(has_no_more_blocks(blocks));
    }
  }
  value_free(v);
  repo_store_close(store);
}

int main(int argc, char **argv) {
  static const char *const command[] = {"python3", "spec/s3/server.py", NULL};
  check_begin(argc, argv);
  unsetenv("http_proxy");
  unsetenv("AWS_REGION");
  unsetenv("AWS_DEFAULT_REGION");
  if (!server_start(&s, command)) return server_missing();
  RUN(what_passes_is_tried_again);
  RUN(what_stays_is_not);
  RUN(patience_ends);
  RUN(wrong_secrets);
  RUN(session_tokens);
  RUN(clocks_that_differ);
  RUN(regions);
  RUN(lies_about_what_is_stored);
  RUN(bytes_that_are_not_their_name);
  RUN(reading_what_is_wrong);
  RUN(stalls_are_tried_again);
  RUN(stopped_at_any_moment);
  RUN(inherited_by_a_child);
  RUN(many_threads);
  RUN(without_memory);
  server_stop(&s);
  http_settle();
  return check_end();
}
