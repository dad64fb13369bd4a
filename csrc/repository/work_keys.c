/*
** The calls about key files and locks.
*/
#include <string.h>

#include "repository/call.h"
#include "repository/password.h"

/* ------------------------------------------------------------------
** Keys
** ---------------------------------------------------------------- */

error *repo_work_keys(repo_call *c) {
  error *e = repo_check_open(c->r);
  if (e != NULL) return e;
  repo_id id = repo_key_id(c->r);
  c->output = repo_key_list(repo_store_of(c->r), &id, &c->stop, &e);
  return e;
}

static error *tell_id(repo_call *c, const repo_id *id) {
  char text[REPO_ID_TEXT];
  repo_id_format(id, text);
  c->output = value_text(text);
  return c->output != NULL ? NULL : error_no_memory();
}

/* The new password is asked for before anything is locked: a program that
   tells it may wait for a person. */
static error *new_password(repo_call *c, repo_password *p) {
  const value *v = value_get(c->options, "password");
  if (v == NULL)
    return repo_error(SAROS_E_INVALIDARG, "the new `password` is missing");
  return repo_password_value(p, v, &c->stop);
}

error *repo_work_add_key(repo_call *c) {
  repo_password password = {0};
  repo_hold *h = NULL;
  repo_id id;
  error *e = repo_check_open(c->r);
  if (e == NULL) e = new_password(c, &password);
  if (e == NULL) e = repo_call_hold(c, REPO_ADDS, &h);
  if (e == NULL)
    e = repo_key_add(h->store, repo_key_of(c->r), &password, NULL, &id,
                     &h->stop);
  repo_password_clear(&password);
  e = repo_call_let_go(c, h, e);
  return e != NULL ? e : tell_id(c, &id);
}

typedef struct search {
  const char *prefix;
  repo_id found;
  unsigned count;
} search;

static error *match(void *context, const repo_id *id, uint64_t size) {
  search *s = context;
  char text[REPO_ID_TEXT];
  (void)size;
  repo_id_format(id, text);
  if (strncmp(text, s->prefix, strlen(s->prefix)) != 0) return NULL;
  s->found = *id;
  s->count++;
  return NULL;
}

/* A key by the beginning of its name. */
static error *find_key(repo_call *c, repo_hold *h, repo_id *id) {
  search s = {.prefix = value_chars(value_get(c->options, "id"), "")};
  if (*s.prefix == '\0')
    return repo_error(SAROS_E_INVALIDARG, "the `id` of the key is missing");
  error *e = h->store->way->list(h->store, REPO_KEYS, match, &s, &h->stop);
  if (e != NULL) return e;
  *id = s.found;
  if (s.count == 1) return NULL;
  return repo_error(SAROS_E_INVALIDARG,
                    s.count == 0 ? "there is no key whose id begins with %.64s"
                                 : "there are several keys whose ids begin "
                                   "with %.64s; give more of it",
                    s.prefix);
}

error *repo_work_remove_key(repo_call *c) {
  repo_hold *h;
  repo_id id, in_use;
  error *e = repo_call_hold(c, REPO_REMOVES, &h);
  if (e != NULL) return e;
  in_use = repo_key_id(c->r);
  e = find_key(c, h, &id);
  if (e == NULL) e = repo_key_remove(h->store, &id, &in_use, &h->stop);
  return repo_call_let_go(c, h, e);
}

error *repo_work_change_password(repo_call *c) {
  repo_password password = {0};
  repo_hold *h = NULL;
  repo_id id = {{0}};
  error *e = repo_check_open(c->r);
  if (e == NULL) e = new_password(c, &password);
  if (e == NULL) e = repo_call_hold(c, REPO_REMOVES, &h);
  if (e == NULL) {
    id = repo_key_id(c->r);
    e = repo_key_change(h->store, repo_key_of(c->r), &password, NULL, &id,
                        &h->stop);
    if (e == NULL) repo_set_key(c->r, &id);
  }
  repo_password_clear(&password);
  e = repo_call_let_go(c, h, e);
  return e != NULL ? e : tell_id(c, &id);
}


/* ------------------------------------------------------------------
** Locks
** ---------------------------------------------------------------- */

error *repo_work_locks(repo_call *c) {
  error *e = repo_check_open(c->r);
  if (e != NULL) return e;
  c->output =
      repo_lock_list(repo_store_of(c->r), repo_tools_of(c->r), &c->stop, &e);
  return e;
}

error *repo_work_unlock(repo_call *c) {
  bool all = value_boolean(value_get(c->options, "all"), false);
  uint64_t removed = 0;
  error *e = repo_check_open(c->r);
  if (e == NULL)
    e = repo_lock_clear(repo_store_of(c->r), repo_tools_of(c->r), all, &c->stop,
                        &removed);
  if (e != NULL) return e;
  c->output = value_int((int64_t)removed);
  return c->output != NULL ? NULL : error_no_memory();
}
