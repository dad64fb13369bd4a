/*
** restic's REST protocol as a store: locations, secrets, lists, and all that a
** store does with a server that makes no mistakes.
**
** not under valgrind: it has a server that waits; ASan runs it
*/
#include "rest_case.h"

/* ------------------------------------------------------------------
** Locations
** ---------------------------------------------------------------- */

static repo_store *at_location(const char *location, value *v) {
  error *e = NULL;
  repo_store *store = repo_store_open(location, v, &e);
  if (store == NULL) printf("%s: %s\n", location, e->message);
  CHECK(store != NULL);
  error_unref(e);
  value_free(v);
  return store;
}

static void is_shown(const char *location, const char *shown, const char *base,
                     const char *user, const char *password) {
  repo_store *store = at_location(location, NULL);
  if (store == NULL) return;
  const rest *r = (const rest *)store;
  CHECK_TEXT(store->way->name, "rest");
  CHECK_TEXT(store->location, shown);
  CHECK_TEXT(r->base, base);
  CHECK_TEXT(r->secret->user, user);
  CHECK_TEXT(r->secret->password, password);
  repo_store_close(store);
}

TEST(locations) {
  is_shown("rest:http://host:8000/", "rest:http://host:8000/",
           "http://host:8000", "", "");
  is_shown("rest:https://host", "rest:https://host/", "https://host", "", "");
  is_shown("rest:https://me:p%40ss@host:8000/a//b/./c",
           "rest:https://host:8000/a/b/c/", "https://host:8000/a/b/c", "me",
           "p@ss");
  is_shown("rest:https://me@host/x/", "rest:https://host/x/", "https://host/x",
           "me", "");
  is_shown("rest:HTTPS://me:a@b:c@[::1]:80/x y/\xC3\xA9%2F%",
           "rest:https://[::1]:80/x%20y/%C3%A9%2F%25/",
           "https://[::1]:80/x%20y/%C3%A9%2F%25", "me", "a@b:c");
}

TEST(what_is_no_location) {
  static const char *const wrong[] = {
      "rest:",
      "rest:/backup",
      "rest:ftp://me:canary@host/",
      "rest:http+unix:///run/x.sock:/canary/",
      "rest:http://",
      "rest:http://me:canary@/x",
      "rest:http://me:canary@ho st/x",
      "rest:http://me:canary@host:port/x",
      "rest:http://me:canary@host/x/../y",
      "rest:http://me:canary@host/x?y",
      "rest:http://me:canary@host/x#y",
      "rest:http://me:canary%4@host/x",
      "rest:http://me:canary%00@host/x",
      "rest:http://me:canary@host/\nx",
      "rest:http://m%3Ae:canary@host/x",
  };
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
    error *e = NULL;
    CHECK(repo_store_open(wrong[i], NULL, &e) == NULL);
    CHECK(failed_as(e, SAROS_E_INVALIDARG, NULL));
  }
  char text[2000];
  error *e = NULL;
  memset(text, 'c', sizeof text);
  text[1999] = '\0';
  value *v = value_map();
  value_put(v, "rest_password", value_text(text));
  CHECK(repo_store_open("rest:http://host/", v, &e) == NULL);
  CHECK(failed_as(e, SAROS_E_INVALIDARG, "too long"));
  value_free(v);
}

static const char *authorization(repo_store *store) {
  return ((rest *)store)->secret->authorization;
}

TEST(who_asks) {
  repo_store *store = at_location("rest:http://host/", NULL);
  CHECK_TEXT(authorization(store), "");
  repo_store_close(store);
  setenv("RESTIC_REST_USERNAME", "env", 1);
  setenv("RESTIC_REST_PASSWORD", "pw", 1);
  store = at_location("rest:http://host/", NULL);
  CHECK_TEXT(authorization(store), "Basic ZW52OnB3");
  repo_store_close(store);
  /* Who is in the location has his own password. */
  store = at_location("rest:http://me@host/", NULL);
  CHECK_TEXT(authorization(store), "Basic bWU6");
  repo_store_close(store);
  value *v = value_map();
  value_put(v, "rest_username", value_text("Aladdin"));
  value_put(v, "rest_password", value_text("open sesame"));
  store = at_location("rest:http://me:x@host/", v);
  CHECK_TEXT(authorization(store), "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
  repo_store_close(store);
  unsetenv("RESTIC_REST_USERNAME");
  unsetenv("RESTIC_REST_PASSWORD");
}

/* ------------------------------------------------------------------
** Lists
** ---------------------------------------------------------------- */

#define ID_A "aa00000000000000000000000000000000000000000000000000000000000000"
#define ID_B "bb00000000000000000000000000000000000000000000000000000000000000"

static bool reads(const char *json, size_t many, uint64_t first) {
  rest_found *all = NULL;
  size_t count = 0;
  error *e = repo_restful_read_list(json, strlen(json), &all, &count);
  bool good = e == NULL && count == many && (many == 0 || all[0].size == first);
  if (!good) printf("%s: %zu\n", json, count);
  error_unref(e);
  mem_free(all);
  return good;
}

TEST(what_is_a_list) {
  static const char *const wrong[] = {"",
                                      "{}",
                                      "null",
                                      "[",
                                      "[\"" ID_A "\"",
                                      "[\"" ID_A "\",]",
                                      "[\"" ID_A "\"]x",
                                      "[1]",
                                      "[null]",
                                      "[{\"name\":1}]",
                                      "[{\"name\":\"" ID_A "\",\"size\":-1}]",
                                      "[{\"name\":\"" ID_A "\",\"size\":1.5}]",
                                      "[{\"name\":\"" ID_A
                                      "\",\"size\":99999999999999999999}]",
                                      "[{\"name\":\"" ID_A "\" \"size\":1}]",
                                      "[{\"name\":\"" ID_A "\"",
                                      "<html>"};
  CHECK(reads("[]", 0, 0));
  CHECK(reads(" [ ] \n", 0, 0));
  CHECK(reads("[\"" ID_A "\",\"" ID_B "\"]", 2, HTTP_UNKNOWN));
  CHECK(reads("[{\"name\":\"" ID_A "\",\"size\":7}]", 1, 7));
  CHECK(reads("[{\"more\":[{}],\"size\":8,\"name\":\"" ID_A "\"},{}]", 1, 8));
  CHECK(reads("[{\"name\":\"" ID_A "\"}]", 1, HTTP_UNKNOWN));
  /* What is no id is somebody else's. */
  CHECK(reads("[\"x\",\"" ID_A "-tmp\",{\"name\":\"../config\",\"size\":1}]", 0,
              0));
  for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
    rest_found *all = NULL;
    size_t count = 0;
    error *e = repo_restful_read_list(wrong[i], strlen(wrong[i]), &all, &count);
    CHECK(failed_as(e, SAROS_E_DAMAGED, "list"));
    mem_free(all);
  }
}

/* ------------------------------------------------------------------
** From end to end
** ---------------------------------------------------------------- */

static void everything(repo_store *store) {
  static const repo_file kinds[] = {REPO_KEYS, REPO_LOCKS, REPO_SNAPSHOTS,
                                    REPO_INDEXES, REPO_PACKS};
  for (size_t i = 0; i < 5; i++) {
    repo_file kind = kinds[i];
    repo_id id, absent;
    names n = {0};
    uint64_t size = 0;
    char part[5] = "";
    FINE(store->way->list(store, kind, count_names, &n, NULL));
    CHECK_INT(n.count, 0);
    FINE(save(store, kind, "0123456789", &id));
    FINE(save(store, kind, "0123456789", &id)); /* it is there already */
    FINE(save(store, kind, "x", &absent));
    CHECK(loads(store, kind, &id, "0123456789"));
    FINE(store->way->read(store, kind, &id, 3, 4, part, NULL));
    CHECK_TEXT(part, "3456");
    FINE(store->way->size(store, kind, &id, &size, NULL));
    CHECK_INT(size, 10);
    FINE(store->way->list(store, kind, count_names, &n, NULL));
    CHECK_INT(n.count, 2);
    CHECK_INT(n.bytes, 11);
    n = (names){.stop_at = 1};
    CHECK(failed_as(store->way->list(store, kind, count_names, &n, NULL),
                    SAROS_E_FAIL, "enough"));
    FINE(store->way->remove(store, kind, &absent, NULL));
    FINE(store->way->remove(store, kind, &absent, NULL)); /* it is gone */
    error *e = store->way->size(store, kind, &absent, &size, NULL);
    CHECK(e != NULL && e->number == ENOENT);
    error_unref(e);
    FINE(store->way->remove(store, kind, &id, NULL));
  }
}

TEST(a_store_from_end_to_end) {
  repo_store *store = fresh("some/repo", NULL);
  everything(store);
  repo_store_close(store);
  store = fresh("", NULL); /* a server with one repository */
  everything(store);
  repo_store_close(store);
}

TEST(a_server_of_version_1) {
  repo_store *store = fresh("r", NULL);
  control("/!set", "{\"version\":1}");
  everything(store);
  repo_id id;
  names n = {0};
  FINE(save(store, REPO_PACKS, "a pack", &id));
  /* It goes between the list and the question how long it is. */
  control("/!plan",
          "[{\"method\":\"HEAD\",\"fault\":\"status\",\"status\":404}]");
  FINE(store->way->list(store, REPO_PACKS, count_names, &n, NULL));
  CHECK_INT(n.count, 0);
  FINE(store->way->list(store, REPO_PACKS, count_names, &n, NULL));
  CHECK_INT(n.bytes, 6);
  repo_store_close(store);
}

/* A folder that is not there is empty; rclone means something else. */
TEST(folders_that_are_not_there) {
  control("/!clear", "");
  repo_store *store = open_at("never/made", NULL);
  names n = {0};
  FINE(store->way->list(store, REPO_PACKS, count_names, &n, NULL));
  control("/!set", "{\"server\":\"rclone/v1.60\"}");
  error *e = store->way->list(store, REPO_PACKS, count_names, &n, NULL);
  CHECK(e != NULL && e->number == ENOENT);
  error_unref(e);
  CHECK_INT(n.count, 0);
  repo_store_close(store);
}

TEST(a_config_is_made_once) {
  repo_store *store = fresh("r", NULL);
  FINE(save_config(store, "mine", false));
  error *e = save_config(store, "other", false);
  CHECK(e != NULL && e->number == EEXIST);
  error_unref(e);
  CHECK(loads(store, REPO_CONFIG, NULL, "mine"));
  CHECK(failed_as(store->way->create(store), SAROS_E_REFUSED, "already"));
  CHECK_INT(requests("create=true"), 0);
  FINE(save_config(store, "another", true));
  CHECK(loads(store, REPO_CONFIG, NULL, "another"));
  FINE(save_config(store, "another", true)); /* it is that already */
  repo_store_close(store);
}

/* The look beforehand sees nothing, and then there is one. */
TEST(a_config_of_somebody_else) {
  static const char blind[] =
      "[{\"method\":\"HEAD\",\"match\":\"config\",\"fault\":\"status\","
      "\"status\":404}]";
  repo_store *store = fresh("r", NULL);
  FINE(save_config(store, "mine", false));
  control("/!plan", blind);
  error *e = save_config(store, "other", false);
  CHECK(e != NULL && e->number == EEXIST);
  error_unref(e);
  control("/!plan", blind);
  FINE(save_config(store, "mine", false)); /* it was ourselves */
  control("/!clear", "");
  control("/!plan", "[{\"method\":\"POST\",\"fault\":\"lost\"}]");
  FINE(save_config(store, "mine", false));
  control("/!clear", "");
  /* Neither there nor allowed. */
  control("/!plan",
          "[{\"method\":\"POST\",\"fault\":\"status\",\"status\":403}]");
  CHECK(failed_as(save_config(store, "mine", false), SAROS_E_ACCESSDENIED,
                  "403"));
  repo_store_close(store);
}

TEST(empty_locks_are_passed_over) {
  repo_store *store = fresh("r", NULL);
  names n = {0};
  free(server_ask(&s, "PUT", "/!file/r/locks/" ID_A, ""));
  free(server_ask(&s, "PUT", "/!file/r/locks/junk", "x"));
  FINE(store->way->list(store, REPO_LOCKS, count_names, &n, NULL));
  CHECK_INT(n.count, 0);
  free(server_ask(&s, "PUT", "/!file/r/index/" ID_A, ""));
  FINE(store->way->list(store, REPO_INDEXES, count_names, &n, NULL));
  CHECK_INT(n.count, 1);
  repo_store_close(store);
}

/* ------------------------------------------------------------------
** Who may, and what
** ---------------------------------------------------------------- */

TEST(users) {
  repo_store *store = fresh("r", NULL);
  repo_id id;
  uint64_t size;
  control("/!set", "{\"auth\":true}");
  CHECK(failed_as(save(store, REPO_PACKS, "x", &id), SAROS_E_ACCESSDENIED,
                  "RESTIC_REST_USERNAME"));
  CHECK_INT(requests("POST"), 1);
  repo_store_close(store);
  char location[100];
  snprintf(location, sizeof location,
           "rest:http://me:pass%%2Fcanary%%401@127.0.0.1:%d/r/", s.port);
  store = at_location(location, NULL);
  CHECK(strstr(store->location, "canary") == NULL);
  FINE(save(store, REPO_PACKS, "x", &id));
  CHECK(loads(store, REPO_PACKS, &id, "x"));
  repo_store_close(store);
  value *v = value_map();
  value_put(v, "rest_username", value_text(USER));
  value_put(v, "rest_password", value_text(PASSWORD_ "no"));
  store = open_at("r", v);
  CHECK(failed_as(store->way->size(store, REPO_PACKS, &id, &size, NULL),
                  SAROS_E_ACCESSDENIED, "the password is wrong"));
  repo_store_close(store);
}

TEST(append_only) {
  static const repo_file kinds[] = {REPO_KEYS, REPO_SNAPSHOTS, REPO_INDEXES,
                                    REPO_PACKS};
  repo_store *store = fresh("r", NULL);
  repo_id id;
  control("/!set", "{\"append_only\":true}");
  for (size_t i = 0; i < 4; i++) {
    FINE(save(store, kinds[i], "kept", &id));
    CHECK(failed_as(store->way->remove(store, kinds[i], &id, NULL),
                    SAROS_E_ACCESSDENIED, "append-only"));
    CHECK_INT(requests("DELETE"), 1);
    CHECK(loads(store, kinds[i], &id, "kept"));
  }
  FINE(save(store, REPO_LOCKS, "a lock", &id));
  FINE(store->way->remove(store, REPO_LOCKS, &id, NULL));
  FINE(save_config(store, "mine", false));
  CHECK(failed_as(save_config(store, "another", true), SAROS_E_ACCESSDENIED,
                  "append-only"));
  CHECK(loads(store, REPO_CONFIG, NULL, "mine"));
  repo_store_close(store);
}

int main(int argc, char **argv) {
  check_begin(argc, argv);
  RUN(locations);
  RUN(what_is_no_location);
  RUN(who_asks);
  RUN(what_is_a_list);
  if (rest_server()) {
    RUN(a_store_from_end_to_end);
    RUN(a_server_of_version_1);
    RUN(folders_that_are_not_there);
    RUN(a_config_is_made_once);
    RUN(a_config_of_somebody_else);
    RUN(empty_locks_are_passed_over);
    RUN(users);
    RUN(append_only);
  }
  server_stop(&s);
  http_settle();
  return check_end();
}
