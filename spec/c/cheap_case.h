/*
** cheap_case: a key that costs nothing, for a repository that restic has made
** and that is opened a hundred times, by restic or by us.
*/
#ifndef SAROS_CHEAP_CASE_H
#define SAROS_CHEAP_CASE_H

#include "check.h"
#include "repository/password.h"
#include "repository/repo_parts.h"
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

#endif
