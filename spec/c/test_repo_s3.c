/*
** A bucket as a store, against a server that errs to order and verifies every
** signature with code of its own. What is right, what is tried again, what is
** not, and that nothing wrong is taken for right.
*/
#include <openssl/crypto.h>
#include <time.h>

#include "http_case.h"
#include "repository/store/s3_parts.h"

static server s;

#define ACCESS "AKTEST"
#define SECRET "sEcReT/canary+key"
#define TOKEN "tOkEn/canary=="

static void control(const char *path, const char *body) {
  free(server_ask(&s, "POST", path, body));
}

static unsigned requests(const char *like) {
  char *log = server_ask(&s, "GET", "/!log", "");
  unsigned n = 0;
  for (char *at = log; (at = strstr(at, like)) != NULL; at++) n++;
  free(log);
  return n;
}

static value *options(void) {
  value *v = value_map();
  value_put(v, "access_key", value_text(ACCESS));
  value_put(v, "secret_key", value_text(SECRET));
  return v;
}

/* Takes over `v`. */
static repo_store *open_at(const char *bucket_and_prefix, value *v) {
  char location[600];
  error *e = NULL;
  snprintf(location, sizeof location, "s3:http://127.0.0.1:%d/%s", s.port,
           bucket_and_prefix);
  repo_store *store = repo_store_s3(location, v, &e);
  value_free(v);
  if (store == NULL) printf("%s\n", e->message);
  return store;
}

/* A bucket with nothing in it. */
static repo_store *fresh(const char *bucket_and_prefix, value *v) {
  control("/!clear", "");
  repo_s3_backoff_ms = 20;
  repo_store *store = open_at(bucket_and_prefix, v);
  if (store == NULL) abort();
  error *e = store->way->create(store);
  if (e != NULL) printf("%s\n", e->message);
  CHECK(e == NULL);
  free(server_ask(&s, "GET", "/!log", ""));
  return store;
}

/* No error, or it is printed. */
#define FINE(call)                                   \
  do {                                               \
    error *fine = (call);                            \
    CHECK(fine == NULL);                             \
    if (fine != NULL) printf("%s\n", fine->message); \
    error_unref(fine);                               \
  } while (0)

/* An error of this code, whose sentence has these words and no secret. */
static bool failed_as(error *e, uint32_t code, const char *words) {
  if (e == NULL) {
    printf("no error, instead of 0x%08x\n", code);
    return false;
  }
  bool good = e->code == code &&
              (words == NULL || strstr(e->message, words) != NULL) &&
              strstr(e->message, "canary") == NULL;
  if (!good) printf("0x%08x: %s\n", e->code, e->message);
  error_unref(e);
  return good;
}

static void id_of(repo_id *id, const void *data, size_t size) {
  repo_id_of(id, data, size);
}

static error *save(repo_store *store, repo_file kind, const char *text,
                   repo_id *id) {
  size_t size = strlen(text);
  repo_piece pieces[2] = {{text, size / 2}, {text + size / 2, size - size / 2}};
  id_of(id, text, size);
  return store->way->save(store, kind, id, pieces, 2, false, NULL);
}

static bool loads(repo_store *store, repo_file kind, const repo_id *id,
                  const char *text) {
  buffer b = BUFFER_EMPTY;
  buffer_text(&b, "before ");
  error *e = store->way->load(store, kind, id, 1 << 20, &b, NULL);
  bool good =
      e == NULL && b.size == 7 + strlen(text) && strcmp(b.data + 7, text) == 0;
  if (e != NULL) printf("%s\n", e->message);
  error_unref(e);
  buffer_free(&b);
  return good;
}

/* ------------------------------------------------------------------
** Signatures: the examples that Amazon has published
** ---------------------------------------------------------------- */

static void check_example(const char *method, const char *path,
                          const char *query, const http_field *fields,
                          size_t count, const char *payload,
                          const char *signature) {
  uint8_t key[32];
  buffer b = BUFFER_EMPTY;
  CHECK(repo_s3_signing_key("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
                            "20130524", "us-east-1", "s3", key));
  s3_signature sign = {.method = method,
                       .path = path,
                       .query = query,
                       .fields = fields,
                       .field_count = count,
                       .payload = payload,
                       .date = "20130524T000000Z",
                       .region = "us-east-1",
                       .service = "s3",
                       .access_key = "AKIAIOSFODNN7EXAMPLE",
                       .signing = key};
  CHECK(repo_s3_sign(&sign, &b));
  const char *found = b.data != NULL ? strstr(b.data, "Signature=") : NULL;
  CHECK_TEXT(found != NULL ? found + 10 : NULL, signature);
  CHECK(strncmp(b.data,
                "AWS4-HMAC-SHA256 Credential=AKIAIOSFODNN7EXAMPLE/20130524/"
                "us-east-1/s3/aws4_request,SignedHeaders=",
                96) == 0);
  buffer_free(&b);
}

#define HOST "examplebucket.s3.amazonaws.com"

TEST(published_signatures) {
  http_field range[] = {{"host", HOST, false},
                        {"range", "bytes=0-9", false},
                        {"x-amz-content-sha256", repo_s3_empty, false},
                        {"x-amz-date", "20130524T000000Z", false}};
  check_example(
      "GET", "/test.txt", "", range, 4, repo_s3_empty,
      "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41");
  static const char hash[] =
      "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072";
  http_field put[] = {{"date", "Fri, 24 May 2013 00:00:00 GMT", false},
                      {"host", HOST, false},
                      {"x-amz-content-sha256", hash, false},
                      {"x-amz-date", "20130524T000000Z", false},
                      {"x-amz-storage-class", "REDUCED_REDUNDANCY", false}};
  check_example(
      "PUT", "/test%24file.text", "", put, 5, hash,
      "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd");
  http_field plain[] = {{"host", HOST, false},
                        {"x-amz-content-sha256", repo_s3_empty, false},
                        {"x-amz-date", "20130524T000000Z", false}};
  check_example(
      "GET", "/", "lifecycle=", plain, 3, repo_s3_empty,
      "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
  check_example(
      "GET", "/", "max-keys=2&prefix=J", plain, 3, repo_s3_empty,
      "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
  uint8_t key[32];
  char hex[REPO_S3_HEX];
  CHECK(repo_s3_signing_key("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
                            "20150830", "us-east-1", "iam", key));
  repo_s3_hex(hex, key, 32);
  CHECK_TEXT(
      hex, "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9");
}

TEST(what_is_escaped) {
  buffer b = BUFFER_EMPTY;
  repo_s3_escape(&b, "aZ09-._~/ +=%\xC3\xA9*", true);
  CHECK_TEXT(b.data, "aZ09-._~/%20%2B%3D%25%C3%A9%2A");
  buffer_clear(&b);
  repo_s3_escape(&b, "a/b", false);
  CHECK_TEXT(b.data, "a%2Fb");
  buffer_free(&b);
}

/* ------------------------------------------------------------------
** Locations
** ---------------------------------------------------------------- */

TEST(locations) {
  static const struct {
    const char *text, *shown;
  } right[] = {
      {"s3:http://127.0.0.1:9000/buck/a/b",
       "s3:http://127.0.0.1:9000/buck/a/b"},
      {"s3:https://h.example/buck", "s3:https://h.example/buck"},
      {"s3:h.example/buck//a/./b/", "s3:https://h.example/buck/a/b"},
      {"s3://h.example:443/buck/x", "s3:https://h.example/buck/x"},
      {"s3:http://[::1]:80/buck/x", "s3:http://[::1]/buck/x"},
      {"s3:https://[::1]:80/buck/x", "s3:https://[::1]:80/buck/x"},
  };
  static const char *const wrong[] = {
      "s3:",
      "s3:h.example",
      "s3:h.example/",
      "s3:h.example/ab",
      "s3:http://user:canary@h.example/buck",
      "s3:h.example/buck/../x",
      "s3:h.example:port/buck",
      "s3:h.example:/buck",
      "s3:h.example:123456/buck",
      "s3:h ost/buck",
      "s3:h.example/bu ck/x",
      "s3:h.example/buck/a\nb",
      "s3:ftp://h.example/buck",
      "s3:[::1/buck",
  };
  value *v = options();
  for (size_t i = 0; i < sizeof right / sizeof right[0]; i++) {
    error *e = NULL;
    repo_store *store = repo_store_s3(right[i].text, v, &e);
    if (store == NULL) printf("%s: %s\n", right[i].text, e->message);
    CHECK(store != NULL);
    if (store == NULL) continue;
    CHECK_TEXT(store->location, right[i].shown);
    CHECK_INT(store->connections, 8);
    repo_store_close(store);
  }
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
    error *e = NULL;
    repo_store *store = repo_store_s3(wrong[i], v, &e);
    if (store != NULL) printf("%s is taken\n", wrong[i]);
    CHECK(store == NULL);
    if (store == NULL) CHECK(failed_as(e, SAROS_E_INVALIDARG, NULL));
  }
  value_free(v);
}

TEST(keys_and_where_they_come_from) {
  error *e = NULL;
  unsetenv("AWS_ACCESS_KEY_ID");
  unsetenv("AWS_SECRET_ACCESS_KEY");
  unsetenv("AWS_SESSION_TOKEN");
  CHECK(repo_store_s3("s3:h.example/buck", NULL, &e) == NULL);
  CHECK(failed_as(e, SAROS_E_INVALIDARG, "AWS_ACCESS_KEY_ID"));
  setenv("AWS_ACCESS_KEY_ID", "from-env", 1);
  setenv("AWS_SECRET_ACCESS_KEY", "env-secret", 1);
  setenv("AWS_SESSION_TOKEN", "env-token", 1);
  setenv("AWS_DEFAULT_REGION", "mars-1", 1);
  s3 *t = (s3 *)repo_store_s3("s3:h.example/buck", NULL, &e);
  CHECK_TEXT(t->secret->access_key, "from-env");
  CHECK_TEXT(t->secret->token, "env-token");
  CHECK_TEXT(t->region, "mars-1");
  repo_store_close(&t->store);
  value *v = options(); /* the environment's token is not for this key */
  t = (s3 *)repo_store_s3("s3:h.example/buck", v, &e);
  CHECK_TEXT(t->secret->access_key, ACCESS);
  CHECK_TEXT(t->secret->token, "");
  repo_store_close(&t->store);
  value_put(v, "secret_key", value_text("can ary\n"));
  CHECK(repo_store_s3("s3:h.example/buck", v, &e) == NULL);
  CHECK(failed_as(e, SAROS_E_INVALIDARG, NULL));
  value_free(v);
  unsetenv("AWS_ACCESS_KEY_ID");
  unsetenv("AWS_SECRET_ACCESS_KEY");
  unsetenv("AWS_SESSION_TOKEN");
  unsetenv("AWS_DEFAULT_REGION");
  v = options();
  t = (s3 *)repo_store_s3("s3:s3.eu-west-3.amazonaws.com/buck", v, &e);
  CHECK_TEXT(t->region, "eu-west-3");
  CHECK(t->in_host);
  repo_store_close(&t->store);
  t = (s3 *)repo_store_s3("s3:s3.amazonaws.com/bu.ck", v, &e);
  CHECK_TEXT(t->region, "us-east-1");
  CHECK(!t->in_host); /* no certificate would fit */
  repo_store_close(&t->store);
  value_put(v, "retry_seconds", value_int(-1));
  CHECK(repo_store_s3("s3:h.example/buck", v, &e) == NULL);
  CHECK(failed_as(e, SAROS_E_INVALIDARG, "retry_seconds"));
  value_free(v);
}

/* ------------------------------------------------------------------
** A store
** ---------------------------------------------------------------- */

typedef struct names {
  unsigned count;
  uint64_t bytes;
  uint8_t sum[REPO_ID];
  unsigned stop_at;
} names;

static error *count_names(void *context, const repo_id *id, uint64_t size) {
  names *n = context;
  if (n->stop_at > 0 && n->count == n->stop_at)
    return repo_error(SAROS_E_FAIL, "enough");
  n->count++;
  n->bytes += size;
  for (int i = 0; i < REPO_ID; i++) n->sum[i] ^= id->bytes[i];
  return NULL;
}

TEST(a_store_from_end_to_end) {
  repo_store *store = fresh("buck/some/where", options());
  static const repo_file kinds[] = {REPO_KEYS, REPO_LOCKS, REPO_SNAPSHOTS,
                                    REPO_INDEXES, REPO_PACKS};
  static const char *const folders[] = {"keys", "locks", "snapshots", "index",
                                        "data"};
  repo_id id;
  for (size_t i = 0; i < 5; i++) {
    char text[32], hex[REPO_ID_TEXT], path[200];
    snprintf(text, sizeof text, "the bytes of %zu", i);
    FINE(save(store, kinds[i], text, &id));
    FINE(save(store, kinds[i], text, &id)); /* again is no error */
    CHECK(loads(store, kinds[i], &id, text));
    uint64_t size = 0;
    FINE(store->way->size(store, kinds[i], &id, &size, NULL));
    CHECK_INT(size, strlen(text));
    char part[5] = "";
    FINE(store->way->read(store, kinds[i], &id, 4, 4, part, NULL));
    CHECK_TEXT(part, "byte");
    FINE(store->way->read(store, kinds[i], &id, 4, 0, part, NULL));
    repo_id_format(&id, hex);
    if (kinds[i] == REPO_PACKS)
      snprintf(path, sizeof path, "/!object/buck/some/where/data/%.2s/%s", hex,
               hex);
    else
      snprintf(path, sizeof path, "/!object/buck/some/where/%s/%s", folders[i],
               hex);
    char *there = server_ask(&s, "GET", path, "");
    CHECK_TEXT(there, text);
    free(there);
    names n = {0};
    FINE(store->way->list(store, kinds[i], count_names, &n, NULL));
    CHECK_INT(n.count, 1);
    CHECK_INT(n.bytes, strlen(text));
    CHECK(memcmp(n.sum, id.bytes, REPO_ID) == 0);
    FINE(store->way->remove(store, kinds[i], &id, NULL));
    FINE(store->way->remove(store, kinds[i], &id, NULL));
    error *e = store->way->size(store, kinds[i], &id, &size, NULL);
    CHECK(e != NULL && e->number == ENOENT);
    error_unref(e);
    buffer b = BUFFER_EMPTY;
    e = store->way->load(store, kinds[i], &id, 100, &b, NULL);
    CHECK(e != NULL && e->number == ENOENT && b.size == 0);
    error_unref(e);
    buffer_free(&b);
    e = store->way->read(store, kinds[i], &id, 0, 4, part, NULL);
    CHECK(e != NULL && e->number == ENOENT);
    error_unref(e);
  }
  FINE(save(store, REPO_SNAPSHOTS, "", &id));
  CHECK(loads(store, REPO_SNAPSHOTS, &id, ""));
  repo_store_close(store);
}

TEST(a_config_is_made_once) {
  repo_store *store = fresh("buck", options());
  repo_piece mine = {"mine", 4}, other = {"other", 5};
  FINE(store->way->save(store, REPO_CONFIG, NULL, &mine, 1, false, NULL));
  CHECK(loads(store, REPO_CONFIG, NULL, "mine"));
  error *e = store->way->save(store, REPO_CONFIG, NULL, &other, 1, false, NULL);
  CHECK(e != NULL && e->number == EEXIST);
  error_unref(e);
  CHECK(loads(store, REPO_CONFIG, NULL, "mine"));
  CHECK(failed_as(store->way->create(store), SAROS_E_REFUSED, "already"));
  FINE(store->way->save(store, REPO_CONFIG, NULL, &other, 1, true, NULL));
  CHECK(loads(store, REPO_CONFIG, NULL, "other"));
  repo_store_close(store);
}

/* Another one makes a config between our look and our PUT. */
TEST(a_config_of_somebody_else) {
  repo_store *store = fresh("buck", options());
  repo_piece mine = {"mine", 4}, other = {"other", 5};
  free(server_ask(&s, "PUT", "/!object/buck/config", "other"));
  control("/!plan",
          "[{\"method\":\"HEAD\",\"match\":\"config\",\"fault\":"
          "\"status\",\"status\":404,\"times\":9}]");
  error *e = store->way->save(store, REPO_CONFIG, NULL, &mine, 1, false, NULL);
  CHECK(e != NULL && e->number == EEXIST);
  error_unref(e);
  /* And our own, when the answer to it was lost. */
  control("/!plan", "[{\"method\":\"PUT\",\"match\":\"config2\"}]");
  repo_store_close(store);
  store = fresh("buck/two", options());
  control("/!plan",
          "[{\"method\":\"PUT\",\"match\":\"config\",\"fault\":\"lost\"}]");
  FINE(store->way->save(store, REPO_CONFIG, NULL, &mine, 1, false, NULL));
  char *log = server_ask(&s, "GET", "/!log", "");
  CHECK(strstr(log, "PUT /buck/two/config 412") != NULL);
  free(log);
  CHECK(loads(store, REPO_CONFIG, NULL, "mine"));
  e = store->way->save(store, REPO_CONFIG, NULL, &other, 1, false, NULL);
  CHECK(e != NULL && e->number == EEXIST);
  error_unref(e);
  repo_store_close(store);
}

TEST(servers_without_conditions) {
  static const char *const how[] = {"{\"conditions\":\"501\"}",
                                    "{\"conditions\":\"ignored\"}"};
  for (int i = 0; i < 2; i++) {
    repo_store *store = fresh("buck", options());
    control("/!set", how[i]);
    repo_piece mine = {"mine", 4}, other = {"other", 5};
    repo_id id;
    FINE(store->way->save(store, REPO_CONFIG, NULL, &mine, 1, false, NULL));
    error *e =
        store->way->save(store, REPO_CONFIG, NULL, &other, 1, false, NULL);
    CHECK(e != NULL && e->number == EEXIST);
    error_unref(e);
    CHECK(loads(store, REPO_CONFIG, NULL, "mine"));
    FINE(save(store, REPO_LOCKS, "a lock", &id));
    CHECK_INT(requests("501"), i == 0 ? 1 : 0); /* it is asked once */
    repo_store_close(store);
  }
}

TEST(awkward_prefixes) {
  static const char *const prefixes[] = {
      "a b",    "\xC3\xBC",  "a+b=c&d", "100%", "a*(b)'!",      "~x_y-z.",
      "%2e%2e", "a;b:c@d,e", "#?x",     "$[]",  "a\"<>\\^`{|}",
  };
  for (size_t i = 0; i < sizeof prefixes / sizeof prefixes[0]; i++) {
    char where[100];
    snprintf(where, sizeof where, "buck/%s/deep", prefixes[i]);
    repo_store *store = fresh(where, options());
    repo_id id;
    FINE(save(store, REPO_PACKS, "bytes", &id));
    CHECK(loads(store, REPO_PACKS, &id, "bytes"));
    names n = {0};
    FINE(store->way->list(store, REPO_PACKS, count_names, &n, NULL));
    if (n.count != 1) printf("%s\n", where);
    CHECK_INT(n.count, 1);
    control("/!set", "{\"encode\":false}");
    FINE(store->way->list(store, REPO_PACKS, count_names, &n, NULL));
    CHECK_INT(n.count, 2);
    FINE(store->way->remove(store, REPO_PACKS, &id, NULL));
    repo_store_close(store);
  }
}

/* By a proxy, which needs no name server for the bucket's name. */
TEST(buckets_in_the_host_name) {
  char proxy[64];
  repo_id id;
  error *e = NULL;
  control("/!clear", "");
  snprintf(proxy, sizeof proxy, "http://127.0.0.1:%d", s.port);
  setenv("http_proxy", proxy, 1);
  value *v = options();
  value_put(v, "bucket_lookup", value_text("dns"));
  repo_store *store =
      repo_store_s3("s3:http://nowhere.invalid/inhost/p", v, &e);
  value_free(v);
  CHECK(store != NULL);
  FINE(store->way->create(store));
  FINE(save(store, REPO_PACKS, "bytes", &id));
  CHECK(loads(store, REPO_PACKS, &id, "bytes"));
  CHECK(requests("PUT http://inhost.nowhere.invalid/p/data/") == 1);
  repo_store_close(store);
  unsetenv("http_proxy");
}

/* ------------------------------------------------------------------
** Lists
** ---------------------------------------------------------------- */

static void fill(const char *bucket, const char *prefix, unsigned count,
                 uint8_t sum[REPO_ID]) {
  for (unsigned i = 0; i < count; i++) {
    char text[32], hex[REPO_ID_TEXT], path[200];
    repo_id id;
    snprintf(text, sizeof text, "%u", i);
    id_of(&id, text, strlen(text));
    repo_id_format(&id, hex);
    snprintf(path, sizeof path, "/!object/%s/%s/data/%.2s/%s", bucket, prefix,
             hex, hex);
    free(server_ask(&s, "PUT", path, text));
    for (int j = 0; j < REPO_ID; j++) sum[j] ^= id.bytes[j];
  }
}

TEST(long_lists) {
  repo_store *store = fresh("buck/p", options());
  uint8_t sum[REPO_ID] = {0};
  fill("buck", "p", 250, sum);
  control("/!set", "{\"page\":7}");
  names n = {0};
  FINE(store->way->list(store, REPO_PACKS, count_names, &n, NULL));
  CHECK_INT(n.count, 250);
  CHECK(memcmp(n.sum, sum, REPO_ID) == 0);
  CHECK_INT(requests("GET /buck/?"), 36);
  /* A page that fails is asked for again, and nothing is told twice. */
  control("/!plan",
          "[{\"method\":\"GET\",\"skip\":3,\"fault\":\"status\",\"status\":503,"
          "\"code\":\"SlowDown\"},{\"method\":\"GET\",\"skip\":4,\"fault\":"
          "\"half\"},{\"method\":\"GET\",\"skip\":6,\"fault\":\"reset\"}]");
  n = (names){0};
  FINE(store->way->list(store, REPO_PACKS, count_names, &n, NULL));
  CHECK_INT(n.count, 250);
  CHECK(memcmp(n.sum, sum, REPO_ID) == 0);
  /* An error of who is told ends it. */
  n = (names){.stop_at = 10};
  CHECK(failed_as(store->way->list(store, REPO_PACKS, count_names, &n, NULL),
                  SAROS_E_FAIL, "enough"));
  control("/!plan",
          "[{\"method\":\"GET\",\"fault\":\"same page\","
          "\"times\":99}]");
  n = (names){0};
  CHECK(failed_as(store->way->list(store, REPO_PACKS, count_names, &n, NULL),
                  SAROS_E_DAMAGED, "never ends"));
  control("/!plan", "[{\"method\":\"GET\",\"fault\":\"html\"}]");
  n = (names){0};
  CHECK(failed_as(store->way->list(store, REPO_PACKS, count_names, &n, NULL),
                  SAROS_E_DAMAGED, "S3 server"));
  CHECK_INT(n.count, 0);
  repo_store_close(store);
}

TEST(foreign_names_are_passed_over) {
  repo_store *store = fresh("buck/p", options());
  static const char *const keys[] = {
      "p/data/ab/readme",
      "p/data/ab/",
      "p/data/x",
      "p/data/",
      "p/data/ab/cd00000000000000000000000000000000000000000000000000000000000"
      "000",
      "p/data/AB/AB00000000000000000000000000000000000000000000000000000000000"
      "000",
      "p/data/0000000000000000000000000000000000000000000000000000000000000000",
      "p/data/ab/ab00000000000000000000000000000000000000000000000000000000000"
      "000-tmp-1",
      "p/data/ab/x/ab000000000000000000000000000000000000000000000000000000000"
      "00000",
      "p/data%20&%3C/x",
      "p2/data/ab/ab0000000000000000000000000000000000000000000000000000000000"
      "0000",
  };
  for (size_t i = 0; i < sizeof keys / sizeof keys[0]; i++) {
    char path[300];
    snprintf(path, sizeof path, "/!object/buck/%s", keys[i]);
    free(server_ask(&s, "PUT", path, "x"));
  }
  names n = {0};
  FINE(store->way->list(store, REPO_PACKS, count_names, &n, NULL));
  CHECK_INT(n.count, 0);
  free(server_ask(&s, "PUT",
                  "/!object/buck/p/locks/ab000000000000000000000000000000000000"
                  "00000000000000000000000000",
                  ""));
  FINE(store->way->list(store, REPO_LOCKS, count_names, &n, NULL));
  CHECK_INT(n.count, 0); /* a lock without a byte is none */
  repo_store_close(store);
}

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
  CHECK(failed_as(e, 0x801901F7u, "times tried"));
  CHECK(requests("PUT") > 2);
  /* It would be asked again only after we have given up. */
  control("/!plan",
          "[{\"method\":\"PUT\",\"fault\":\"status\",\"status\":503,"
          "\"after\":3600,\"times\":9999}]");
  CHECK(failed_as(save(store, REPO_PACKS, "x", &id), 0x801901F7u, NULL));
  CHECK_INT(requests("PUT"), 1);
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
      ((s3 *)store)->not_before = 0;
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
  usleep(100000); /* the thread puts things away */
  long blocks = mem_blocks();
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
      /* Its thread may still be putting things away. */
      for (int i = 0; i < 5000 && mem_blocks() != blocks; i++) usleep(1000);
      CHECK_INT(mem_blocks(), blocks);
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
  RUN(published_signatures);
  RUN(what_is_escaped);
  RUN(locations);
  RUN(keys_and_where_they_come_from);
  if (!server_start(&s, command)) {
    printf("SKIPPED the rest: there is no python3 here to serve with\n");
    check_skipped++;
    return check_end();
  }
  RUN(a_store_from_end_to_end);
  RUN(a_config_is_made_once);
  RUN(a_config_of_somebody_else);
  RUN(servers_without_conditions);
  RUN(awkward_prefixes);
  RUN(buckets_in_the_host_name);
  RUN(long_lists);
  RUN(foreign_names_are_passed_over);
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
