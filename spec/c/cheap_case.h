/*
** cheap_case: a key that costs nothing, for a repository that is opened a
** hundred times, by restic or by us: one that restic has made gets one, and one
** that is to be filled by restic is made with it. (A key as it should be takes
** half a second each time, on purpose. That restic takes what we make for its
** own is test_repo_restic's, and spec/repository_spec.lua's.)
*/
#ifndef SAROS_CHEAP_CASE_H
#define SAROS_CHEAP_CASE_H

#include "check.h"
#include "repository/password.h"
#include "repository/repo_parts.h"
#include "restic_case.h"
#include "store_case.h"

static inline void cheap_key_of(repo *r, const char *password) {
  repo_password typed = {0};
  repo_id id, old = repo_key_id(r);
  value *text = value_text(password);
  CHECK(repo_password_value(&typed, text, NULL) == NULL);
  CHECK(repo_key_add(r->store, r->key, &typed, &store_cheap, &id, NULL) ==
        NULL);
  CHECK(r->store->way->remove(r->store, REPO_KEYS, &old, NULL) == NULL);
  repo_password_clear(&typed);
  value_free(text);
}

/* The only key file there is gives way to it. */
static inline void cheap_key(const char *path, const char *password) {
  error *e = NULL;
  value *o = value_map();
  value_put(o, "location", value_text(path));
  value_put(o, "password", value_text(password));
  repo *r = repo_new(o, &e);
  value_free(o);
  if (r != NULL) e = repo_open(r, NULL);
  CHECK(e == NULL);
  if (e == NULL) cheap_key_of(r, password);
  error_unref(e);
  repo_unref(r);
}

/* An empty one; 1 or 2: the version of the format. From now on all keys that
   this process makes are cheap. */
static inline void cheap_repository(const char *path, const char *password,
                                    unsigned version) {
  error *e = NULL;
  value *o = value_map();
  value_put(o, "location", value_text(path));
  value_put(o, "password", value_text(password));
  value_put(o, "durable", value_bool(false));
  value_put(o, "version", value_int(version));
  repo *r = repo_new(o, &e);
  value_free(o);
  repo_cost_test = &store_cheap;
  if (r != NULL) e = repo_create(r, NULL);
  if (e != NULL) printf("cannot make %s: %s\n", path, e->message);
  CHECK(e == NULL);
  error_unref(e);
  repo_unref(r);
  for (int i = 0; i < 256; i++) { /* or each copy of it would have them all */
    char below[500];
    snprintf(below, sizeof below, "%s/data/%02x", path, (unsigned)i);
    rmdir(below);
  }
}

/* Whether restic is here; then an empty one, which the environment names. */
static inline bool cheap_restic_begin(const char *folder, unsigned version) {
  char path[100];
  if (!restic_begin(folder)) return false;
  snprintf(path, sizeof path, "%s/repository", restic_base);
  cheap_repository(path, "x", version);
  return true;
}

#endif
