/*
** What the suites about a bucket share: a server that errs to order and
** verifies every signature with code of its own, and stores that use it.
*/
#ifndef SAROS_SPEC_S3_CASE_H
#define SAROS_SPEC_S3_CASE_H

#include <openssl/crypto.h>
#include <time.h>

#include "http_case.h"
#include "repository/store/s3_parts.h"

#define ACCESS "AKTEST"
#define SECRET "sEcReT/canary+key"
#define TOKEN "tOkEn/canary=="

static inline void control(const char *path, const char *body) {
  free(server_ask(&s, "POST", path, body));
}

static inline unsigned requests(const char *like) {
  char *log = server_ask(&s, "GET", "/!log", "");
  unsigned n = 0;
  for (char *at = log; (at = strstr(at, like)) != NULL && *at != 0; at++) n++;
  free(log);
  return n;
}

static inline value *options(void) {
  value *v = value_map();
  value_put(v, "access_key", value_text(ACCESS));
  value_put(v, "secret_key", value_text(SECRET));
  return v;
}

/* Takes over `v`. */
static inline repo_store *open_at(const char *bucket_and_prefix, value *v) {
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
static inline repo_store *fresh(const char *bucket_and_prefix, value *v) {
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

static inline void id_of(repo_id *id, const void *data, size_t size) {
  repo_id_of(id, data, size);
}

static inline error *save(repo_store *store, repo_file kind, const char *text,
                          repo_id *id) {
  size_t size = strlen(text);
  repo_piece pieces[2] = {{text, size / 2}, {text + size / 2, size - size / 2}};
  id_of(id, text, size);
  return store->way->save(store, kind, id, pieces, 2, false, NULL);
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
  uint8_t sum[REPO_ID];
  unsigned stop_at;
} names;

static inline error *count_names(void *context, const repo_id *id,
                                 uint64_t size) {
  names *n = context;
  if (n->stop_at > 0 && n->count == n->stop_at)
    return repo_error(SAROS_E_FAIL, "enough");
  n->count++;
  n->bytes += size;
  for (int i = 0; i < REPO_ID; i++) n->sum[i] ^= id->bytes[i];
  return NULL;
}

#endif
