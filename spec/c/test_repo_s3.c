/*
** A bucket as a store: signatures, locations, keys, and all that a store does
** with a server that makes no mistakes, or only those that its kind makes.
**
** not under valgrind: it has a server that waits; ASan runs it
*/
#include "s3_case.h"

/* ------------------------------------------------------------------
** Signatures: the examples that Amazon has published
** ---------------------------------------------------------------- */

static void check_example(const char *method, const char *path,
                          const char *query, const http_field *fields,
                          size_t count, const char *payload,
                          const char *signature) {
  uint8_t key[32];
  buffer b = BUFFER_EMPTY;
  CHECK(http_sign_key("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", "20130524",
                      "us-east-1", "s3", key));
  http_signature sign = {.method = method,
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
  CHECK(http_sign(&sign, &b));
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
                        {"x-amz-content-sha256", http_sign_empty, false},
                        {"x-amz-date", "20130524T000000Z", false}};
  check_example(
      "GET", "/test.txt", "", range, 4, http_sign_empty,
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
                        {"x-amz-content-sha256", http_sign_empty, false},
                        {"x-amz-date", "20130524T000000Z", false}};
  check_example(
      "GET", "/", "lifecycle=", plain, 3, http_sign_empty,
      "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543");
  check_example(
      "GET", "/", "max-keys=2&prefix=J", plain, 3, http_sign_empty,
      "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7");
  uint8_t key[32];
  char hex[HTTP_SIGN_HEX];
  CHECK(http_sign_key("wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "20150830",
                      "us-east-1", "iam", key));
  http_sign_hex(hex, key, 32);
  CHECK_TEXT(
      hex, "c4afb1cc5771d871763a393e44b703571b55cc28424d1a5e86da6ed3c154a4b9");
}

TEST(what_is_escaped) {
  buffer b = BUFFER_EMPTY;
  http_sign_escape(&b, "aZ09-._~/ +=%\xC3\xA9*", true);
  CHECK_TEXT(b.data, "aZ09-._~/%20%2B%3D%25%C3%A9%2A");
  buffer_clear(&b);
  http_sign_escape(&b, "a/b", false);
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
  setenv("AWS_SHARED_CREDENTIALS_FILE", "/nowhere", 1);
  setenv("AWS_CONFIG_FILE", "/nowhere", 1);
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
  server_stop(&s);
  http_settle();
  return check_end();
}
