/*
** What the suites about restic's REST protocol share: a server that errs to
** order, and stores that use it.
*/
#ifndef SAROS_SPEC_REST_CASE_H
#define SAROS_SPEC_REST_CASE_H

#include "http_case.h"
#include "repository/store/rest_parts.h"

/* As spec/rest/server.py has them. */
#define USER "me"
#define PASSWORD_ "pass/canary@1"

static inline bool rest_server(void) {
  static const char *const command[] = {"python3", "spec/rest/server.py", NULL};
  unsetenv("http_proxy");
  unsetenv("RESTIC_REST_USERNAME");
  unsetenv("RESTIC_REST_PASSWORD");
  if (server_start(&s, command)) return true;
  printf("SKIPPED the rest: there is no python3 here to serve with\n");
  check_skipped++;
  return false;
}

static inline void control(const char *path, const char *body) {
  free(server_ask(&s, "POST", path, body));
}

/* How often something like it was asked; and then it is forgotten. */
static inline unsigned requests(const char *like) {
  char *log = server_ask(&s, "GET", "/!log", "");
  unsigned n = 0;
  for (char *at = log; (at = strstr(at, like)) != NULL && *at != 0; at++) n++;
  free(log);
  return n;
}

/* Takes over `v`. */
static inline repo_store *open_at(const char *path, value *v) {
  char location[600];
  error *e = NULL;
  snprintf(location, sizeof location, "rest:http://127.0.0.1:%d/%s", s.port,
           path);
  repo_store *store = repo_store_rest(location, v, &e);
  value_free(v);
  if (store == NULL) printf("%s\n", e->message);
  return store;
}

/* A server with nothing on it but the folders of one repository. */
static inline repo_store *fresh(const char *path, value *v) {
  control("/!clear", "");
  repo_remote_backoff_ms = 20;
  repo_store *store = open_at(path, v);
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
static inline bool failed_as(error *e, uint32_t code, const char *words) {
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

static inline error *save(repo_store *store, repo_file kind, const char *text,
                          repo_id *id) {
  size_t size = strlen(text);
  repo_piece pieces[2] = {{text, size / 2}, {text + size / 2, size - size / 2}};
  repo_id_of(id, text, size);
  return store->way->save(store, kind, id, pieces, 2, false, NULL);
}

static inline error *save_config(repo_store *store, const char *text,
                                 bool replace) {
  repo_piece piece = {text, strlen(text)};
  return store->way->save(store, REPO_CONFIG, NULL, &piece, 1, replace, NULL);
}

static inline bool loads(repo_store *store, repo_file kind, const repo_id *id,
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

typedef struct names {
  unsigned count;
  uint64_t bytes;
  unsigned stop_at;
} names;

static inline error *count_names(void *context, const repo_id *id,
                                 uint64_t size) {
  names *n = context;
  (void)id;
  if (n->stop_at > 0 && n->count == n->stop_at)
    return repo_error(SAROS_E_FAIL, "enough");
  n->count++;
  n->bytes += size;
  return NULL;
}

#endif
