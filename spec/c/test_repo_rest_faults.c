/*
** restic's REST protocol as a store, with a server that errs to order: what is
** tried again, what is not, and that nothing wrong is taken for right.
**
** not under valgrind: it has a server that waits; ASan runs it
*/
#include "rest_case.h"

/* ------------------------------------------------------------------
** Again, or not
** ---------------------------------------------------------------- */

TEST(what_passes_is_tried_again) {
  static const char *const faults[] = {
      "\"fault\":\"status\",\"status\":500",
      "\"fault\":\"status\",\"status\":503",
      "\"fault\":\"status\",\"status\":503,\"after\":1",
      "\"fault\":\"status\",\"status\":503,\"after\":\"nonsense\"",
      "\"fault\":\"status\",\"status\":429",
      "\"fault\":\"status\",\"status\":408",
      "\"fault\":\"status\",\"status\":502",
      "\"fault\":\"status\",\"status\":504",
      "\"fault\":\"reset\"",
      "\"fault\":\"lost\"",
  };
  repo_store *store = fresh("r", NULL);
  for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
    static const char *const methods[] = {"POST", "GET", "HEAD", "DELETE"};
    char text[40], plan[300];
    repo_id id;
    uint64_t size = 0;
    names n = {0};
    snprintf(text, sizeof text, "bytes %zu", i);
    for (int m = 0; m < 4; m++) {
      snprintf(plan, sizeof plan, "[{\"method\":\"%s\",%s,\"times\":%d}]",
               methods[m], faults[i], strstr(faults[i], ":1") ? 1 : 2);
      control("/!plan", plan);
      if (m == 0) FINE(save(store, REPO_PACKS, text, &id));
      if (m == 1) CHECK(loads(store, REPO_PACKS, &id, text));
      if (m == 1)
        FINE(store->way->list(store, REPO_PACKS, count_names, &n, NULL));
      if (m == 2) FINE(store->way->size(store, REPO_PACKS, &id, &size, NULL));
      if (m == 3) FINE(store->way->remove(store, REPO_PACKS, &id, NULL));
    }
    CHECK_INT(n.count, 1);
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
      {"\"status\":401", SAROS_E_ACCESSDENIED, "password"},
      {"\"status\":403", SAROS_E_ACCESSDENIED, "403"},
      {"\"status\":404", 0x80070002u, "not there"},
      {"\"status\":405", 0x80190195u, "is that a REST server"},
      {"\"status\":413", 0, "quota"},
      {"\"status\":507", 0x80070070u, "room"},
      {"\"status\":501", 0x801901F5u, "501"},
  };
  repo_store *store = fresh("r", NULL);
  for (size_t i = 0; i < sizeof faults / sizeof faults[0]; i++) {
    char plan[300];
    repo_id id;
    (void)requests("");
    snprintf(plan, sizeof plan,
             "[{\"method\":\"POST\",\"fault\":\"status\",%s,\"times\":9}]",
             faults[i].fault);
    control("/!plan", plan);
    uint32_t code =
        faults[i].code != 0 ? faults[i].code : code_of_errno(EDQUOT);
    CHECK(failed_as(save(store, REPO_PACKS, "x", &id), code, faults[i].words));
    CHECK_INT(requests("POST"), 1);
  }
  repo_store_close(store);
}

TEST(patience_ends) {
  value *v = value_map();
  value_put(v, "retry_seconds", value_real(0.2));
  repo_store *store = fresh("r", v);
  repo_id id;
  control("/!plan",
          "[{\"method\":\"POST\",\"fault\":\"status\",\"status\":503,"
          "\"times\":9999}]");
  error *e = save(store, REPO_PACKS, "x", &id);
  CHECK(e != NULL && e->retryable);
  CHECK(failed_as(e, 0x801901F7u, NULL));
  repo_store_close(store);
  v = value_map();
  value_put(v, "retry_seconds", value_real(600));
  store = fresh("r", v);
  /* The fourth time it would be asked again only after we have given up. */
  control("/!plan",
          "[{\"method\":\"POST\",\"fault\":\"status\",\"status\":503,"
          "\"times\":3},{\"method\":\"POST\",\"fault\":\"status\","
          "\"status\":503,\"after\":3600,\"times\":9999}]");
  e = save(store, REPO_PACKS, "x", &id);
  CHECK(failed_as(e, 0x801901F7u, "times tried"));
  CHECK_INT(requests("POST"), 4);
  repo_store_close(store);
}

TEST(nobody_is_there) {
  value *v = value_map();
  error *e = NULL;
  uint64_t size;
  value_put(v, "retry_seconds", value_real(0.1));
  repo_store *store = repo_store_rest("rest:http://127.0.0.1:1/", v, &e);
  value_free(v);
  CHECK(failed_as(store->way->size(store, REPO_CONFIG, NULL, &size, NULL),
                  0x80072EFDu, "is the host's name right"));
  repo_store_close(store);
}

/* ------------------------------------------------------------------
** Redirects
** ---------------------------------------------------------------- */

static void lead(const char *method, int status, const char *to) {
  char plan[400];
  snprintf(plan, sizeof plan,
           "[{\"method\":\"%s\",\"fault\":\"status\",\"status\":%d,"
           "\"to\":\"%s\",\"times\":1}]",
           method, status, to);
  control("/!plan", plan);
}

TEST(redirects) {
  static const int codes[] = {301, 302, 303, 307, 308};
  value *v = value_map();
  value_put(v, "rest_username", value_text(USER));
  value_put(v, "rest_password", value_text(PASSWORD_));
  repo_store *store = fresh("r", v);
  repo_id id, there;
  char path[200], text[REPO_ID_TEXT], to[300];
  FINE(save(store, REPO_PACKS, "elsewhere", &there));
  repo_id_format(&there, text);
  snprintf(path, sizeof path, "/r/data/%s", text);
  repo_id_of(&id, "x", 1);
  for (size_t i = 0; i < 5; i++) {
    buffer b = BUFFER_EMPTY;
    (void)requests("");
    lead("GET", codes[i], path);
    FINE(store->way->load(store, REPO_PACKS, &id, 100, &b, NULL));
    CHECK_TEXT(b.data, "elsewhere");
    buffer_free(&b);
    CHECK_INT(requests(" user"), 2); /* the same origin is told who asks */
    /* Another origin is not: and to it this one is another. */
    snprintf(to, sizeof to, "http://localhost:%d%s", s.port, path);
    lead("GET", codes[i], to);
    FINE(store->way->load(store, REPO_PACKS, &id, 100, &b, NULL));
    CHECK_TEXT(b.data, "elsewhere");
    buffer_free(&b);
    CHECK_INT(requests(" nobody"), 1);
    /* A POST would be a GET behind it, and its success none. */
    lead("POST", codes[i],
         "http://u:canary@elsewhere.example/r/data/x?token=canary");
    error *e = save(store, REPO_PACKS, "new", &id);
    CHECK(failed_as(e, 0x80190000u + (uint32_t)codes[i],
                    "leads to http://elsewhere.example/r/data/x;"));
    repo_id_of(&id, "x", 1);
    lead("DELETE", codes[i], path);
    CHECK(failed_as(store->way->remove(store, REPO_PACKS, &id, NULL),
                    0x80190000u + (uint32_t)codes[i], "give that"));
    CHECK_INT(requests("GET"), 0);
  }
  CHECK(loads(store, REPO_PACKS, &there, "elsewhere"));
  control("/!plan",
          "[{\"method\":\"GET\",\"fault\":\"status\",\"status\":302,"
          "\"to\":\"/r/data/round\",\"times\":99}]");
  buffer b = BUFFER_EMPTY;
  CHECK(failed_as(store->way->load(store, REPO_PACKS, &id, 100, &b, NULL),
                  SAROS_E_FAIL, "too many"));
  buffer_free(&b);
  repo_store_close(store);
}

/* ------------------------------------------------------------------
** Nothing wrong is taken for right
** ---------------------------------------------------------------- */

TEST(lies_about_what_is_stored) {
  repo_store *store = fresh("r", NULL);
  repo_id id;
  control("/!plan", "[{\"method\":\"POST\",\"fault\":\"store half\"}]");
  CHECK(failed_as(save(store, REPO_PACKS, "half of it", &id), SAROS_E_DAMAGED,
                  "another length"));
  /* It is not replaced, and that is said. */
  CHECK(failed_as(save(store, REPO_PACKS, "half of it", &id), SAROS_E_DAMAGED,
                  "remove it there"));
  control("/!plan", "[{\"method\":\"POST\",\"fault\":\"store nothing\"}]");
  CHECK(failed_as(save(store, REPO_PACKS, "gone", &id), SAROS_E_DAMAGED,
                  "it is not there"));
  FINE(save(store, REPO_PACKS, "gone", &id));
  repo_store_close(store);
}

/* Memory that changes under us, or a wrong name: the server sees it. */
TEST(bytes_that_are_not_their_name) {
  repo_store *store = fresh("r", NULL);
  repo_id id;
  repo_piece piece = {"other bytes", 11};
  repo_id_of(&id, "bytes", 5);
  CHECK(failed_as(
      store->way->save(store, REPO_PACKS, &id, &piece, 1, false, NULL),
      SAROS_E_DAMAGED, "not what was sent"));
  CHECK_INT(requests("POST"), 3);
  repo_store_close(store);
}

TEST(reading_what_is_wrong) {
  repo_store *store = fresh("r", NULL);
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
  /* More than was announced is not a part of it. */
  control("/!plan", "[{\"method\":\"GET\",\"fault\":\"long\",\"times\":1}]");
  CHECK(loads(store, REPO_PACKS, &id, "0123456789"));
  /* A server that knows no ranges sends all of it. */
  control("/!set", "{\"ranges\":false}");
  memset(part, 0, sizeof part);
  FINE(store->way->read(store, REPO_PACKS, &id, 3, 4, part, NULL));
  CHECK_TEXT(part, "3456");
  CHECK(failed_as(store->way->read(store, REPO_PACKS, &id, 8, 4, part, NULL),
                  SAROS_E_DAMAGED, "shorter"));
  repo_store_close(store);
}

TEST(lists_that_are_wrong) {
  repo_store *store = fresh("r", NULL);
  repo_id id;
  names n = {0};
  FINE(save(store, REPO_PACKS, "0123456789", &id));
  control("/!plan", "[{\"method\":\"GET\",\"fault\":\"half\",\"times\":2}]");
  FINE(store->way->list(store, REPO_PACKS, count_names, &n, NULL));
  CHECK_INT(n.count, 1);
  control("/!plan", "[{\"method\":\"GET\",\"fault\":\"html\"}]");
  CHECK(failed_as(store->way->list(store, REPO_PACKS, count_names, &n, NULL),
                  SAROS_E_DAMAGED, "is that a REST server"));
  control("/!plan",
          "[{\"method\":\"GET\",\"fault\":\"unending\",\"times\":9}]");
  CHECK(failed_as(store->way->list(store, REPO_PACKS, count_names, &n, NULL),
                  SAROS_E_FAIL, "cut"));
  control("/!plan",
          "[{\"method\":\"GET\",\"fault\":\"body\",\"body\":\"[{\\\"name\\\":"
          "\\\"ab00000000000000000000000000000000000000000000000000000000000000"
          "\\\",\\\"size\\\":5},\"}]");
  CHECK(failed_as(store->way->list(store, REPO_PACKS, count_names, &n, NULL),
                  SAROS_E_DAMAGED, "cannot be understood"));
  CHECK_INT(n.count, 1); /* none of them was told of */
  repo_store_close(store);
}

/* ------------------------------------------------------------------
** Stalls, stopping, forks, threads, limits, memory
** ---------------------------------------------------------------- */

TEST(stalls_are_tried_again) {
  value *v = value_map();
  value_put(v, "stall_seconds", value_real(0.2));
  repo_store *store = fresh("r", v);
  repo_id id;
  control("/!plan", "[{\"method\":\"POST\",\"fault\":\"stall\",\"times\":2}]");
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
  repo_store *store = fresh("r", NULL);
  repo_id id;
  repo_piece piece = {"x", 1};
  repo_id_of(&id, "x", 1);
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
      ((rest *)store)->net.not_before = 0;
    }
  repo_store_close(store);
}

TEST(inherited_by_a_child) {
  repo_store *store = fresh("r", NULL);
  repo_id id;
  FINE(save(store, REPO_PACKS, "x", &id));
  pid_t child = fork();
  if (child == 0) {
    check_bad = 0;
    CHECK(failed_as(save(store, REPO_PACKS, "x", &id), SAROS_E_FORKED, NULL));
    CHECK(failed_as(store->way->create(store), SAROS_E_FORKED, NULL));
    repo_store_close(store);
    store = open_at("r", NULL);
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
  int rounds = getenv("SAROS_QUICK") != NULL ? 3 : 20;
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

static void many(repo_store *store) {
  enum { N = 12 };
  control("/!plan",
          "[{\"skip\":9,\"fault\":\"status\",\"status\":503,\"times\":5},"
          "{\"skip\":30,\"fault\":\"reset\",\"times\":9},{\"method\":\"GET\","
          "\"skip\":5,\"fault\":\"half\",\"times\":9}]");
  pthread_t threads[N];
  for (int i = 0; i < N; i++)
    CHECK(pthread_create(&threads[i], NULL, worker, store) == 0);
  for (int i = 0; i < N; i++) pthread_join(threads[i], NULL);
  repo_store_close(store);
}

TEST(many_threads) {
  value *v = value_map();
  value_put(v, "connections", value_int(5));
  many(fresh("r", v));
}

TEST(many_threads_that_share_a_limit) {
  value *v = value_map();
  value_put(v, "limit_upload", value_int(4 << 20));
  value_put(v, "limit_download", value_int(4 << 20));
  many(fresh("r", v));
}

/* What each of several has is a part of it, and all of it when it is alone. */
TEST(a_limit_is_of_all_together) {
  value *v = value_map();
  value_put(v, "limit_upload", value_int(-1));
  error *e = NULL;
  CHECK(repo_store_rest("rest:http://host/", v, &e) == NULL);
  CHECK(failed_as(e, SAROS_E_INVALIDARG, "limit_upload"));
  value_put(v, "limit_upload", value_int(1000000));
  repo_store *store = fresh("r", v);
  CHECK_INT(((rest *)store)->net.up, 1000000);
  CHECK_INT(((rest *)store)->net.down, 0);
  repo_id id;
  FINE(save(store, REPO_PACKS, "x", &id));
  CHECK_INT(((rest *)store)->net.active, 0);
  CHECK(((rest *)store)->net.first == NULL);
  repo_store_close(store);
}

TEST(without_memory) {
  repo_store *store = fresh("r", NULL);
  repo_id id;
  names n = {0};
  char location[100];
  snprintf(location, sizeof location, "rest:http://me:x@127.0.0.1:%d/q",
           s.port);
  FINE(save(store, REPO_PACKS, "bytes", &id));
  long blocks = least_blocks();
  for (int what = 0; what < 6; what++) {
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
      if (what == 4) other = repo_store_rest(location, NULL, &e);
      if (what == 5) e = store->way->remove(store, REPO_INDEXES, &id, NULL);
      reached = mem_fail_left() == 0;
      mem_fail_at(0);
      if (!reached) CHECK(e == NULL);
      error_unref(e);
      if (other != NULL) repo_store_close(other);
      buffer_free(&b);
      CHECK(has_no_more_blocks(blocks));
    }
  }
  repo_store_close(store);
}

int main(int argc, char **argv) {
  check_begin(argc, argv);
  if (rest_server()) {
    RUN(what_passes_is_tried_again);
    RUN(what_stays_is_not);
    RUN(patience_ends);
    RUN(nobody_is_there);
    RUN(redirects);
    RUN(lies_about_what_is_stored);
    RUN(bytes_that_are_not_their_name);
    RUN(reading_what_is_wrong);
    RUN(lists_that_are_wrong);
    RUN(stalls_are_tried_again);
    RUN(stopped_at_any_moment);
    RUN(inherited_by_a_child);
    RUN(many_threads);
    RUN(many_threads_that_share_a_limit);
    RUN(a_limit_is_of_all_together);
    RUN(without_memory);
  }
  server_stop(&s);
  http_settle();
  return check_end();
}
