/*
** Opening a repository, and making one. The key file is found by the password;
** the master key in it opens all else, beginning with the config.
*/
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "repository/exclude.h"
#include "repository/password.h"
#include "repository/repo_parts.h"

/* ------------------------------------------------------------------
** What it is told
** ---------------------------------------------------------------- */

static error *misused(const char *what) {
  return repo_error(SAROS_E_INVALIDARG, "%s", what);
}

/* RESTIC_REPOSITORY_FILE: a path in a file. */
static error *location_in_file(const char *path, char **location) {
  char text[4096];
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  ssize_t n = fd >= 0 ? read(fd, text, sizeof text - 1) : -1;
  int number = errno;
  if (fd >= 0) close(fd);
  if (n < 0)
    return error_of_errno(SAROS_FACADE_SAROS, number,
                          "cannot read RESTIC_REPOSITORY_FILE", path);
  text[n] = '\0';
  text[strcspn(text, "\r\n")] = '\0';
  *location = mem_text(text);
  repo_wipe(text, sizeof text);
  return *location != NULL ? NULL : error_no_memory();
}

static error *find_location(const value *options, char **location) {
  const char *text = repo_option(options, "location", "RESTIC_REPOSITORY");
  const char *file = text == NULL ? getenv("RESTIC_REPOSITORY_FILE") : NULL;
  if (file != NULL && *file != '\0') return location_in_file(file, location);
  if (text == NULL)
    return misused(
        "which repository? Give its `location`: a directory, "
        "s3:https://host/bucket/prefix, or rest:https://host:8000/path/ (or "
        "set RESTIC_REPOSITORY)");
  *location = mem_text(text);
  return *location != NULL ? NULL : error_no_memory();
}

error *repo_read_retry(const value *options, uint64_t *ms) {
  const value *retry = value_get(options, "retry_lock");
  double seconds = 0;
  if (retry != NULL && retry->type == VALUE_INT)
    seconds = (double)retry->as.integer;
  else if (retry != NULL && retry->type == VALUE_REAL)
    seconds = retry->as.real;
  else if (retry != NULL)
    return misused("retry_lock: seconds expected");
  if (!(seconds >= 0 && seconds <= 1e9))
    return misused("retry_lock: seconds expected, not negative");
  if (retry != NULL) *ms = (uint64_t)(seconds * 1000);
  return NULL;
}

static error *read_numbers(repo *r, const value *options) {
  error *e = repo_read_retry(options, &r->retry_ms);
  if (e != NULL) return e;
  int64_t version = value_integer(value_get(options, "version"), 2);
  if (version != 1 && version != 2)
    return misused("version: 1 or 2 expected, the versions of the format");
  r->version = (unsigned)version;
  r->no_lock = value_boolean(value_get(options, "no_lock"), false);
  return NULL;
}

/* Bytes a second: a number, or a text such as "10M". */
static error *read_rate(const value *options, const char *name,
                        uint64_t *rate) {
  const value *v = value_get(options, name);
  const char *text = value_chars(v, NULL);
  *rate = 0;
  if (v == NULL || (text != NULL && repo_exclude_read_size(text, rate)))
    return NULL;
  if (v->type == VALUE_INT && v->as.integer >= 0) {
    *rate = (uint64_t)v->as.integer;
    return NULL;
  }
  return repo_error(SAROS_E_INVALIDARG,
                    "%s: bytes a second expected, a number or a text such as "
                    "\"10M\"",
                    name);
}

/* The stores keep to them, each in its way. */
static error *read_rates(repo *r, const value *options) {
  static const char *const names[] = {"limit_upload", "limit_download"};
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    uint64_t rate;
    error *e = read_rate(options, names[i], &rate);
    if (e != NULL) return e;
    if (!value_put(r->options, names[i], value_int((int64_t)rate)))
      return error_no_memory();
  }
  return NULL;
}

static error *read_options(repo *r, const value *options) {
  const value *password = value_get(options, "password");
  error *e = find_location(options, &r->location);
  if (e == NULL) e = read_numbers(r, options);
  if (e == NULL) r->options = repo_store_options(options, &e);
  if (e == NULL) e = read_rates(r, options);
  if (e != NULL) return e;
  if (password != NULL && (r->password_value = value_copy(password)) == NULL)
    return error_no_memory();
  const char *hint = repo_option(options, "key", "RESTIC_KEY_HINT");
  r->has_hint = hint != NULL && repo_id_parse(&r->hint, hint, strlen(hint));
  if (hint != NULL && !r->has_hint)
    return misused("key: the whole id of a key file expected, 64 hex digits");
  r->store = repo_store_open(r->location, r->options, &e);
  /* There may be passwords in them; the store has what it needs. */
  repo_wipe(r->location, strlen(r->location));
  value_wipe(r->options);
  r->options = NULL;
  return e;
}

repo *repo_new(const value *options, error **e) {
  repo *r = mem_zero(sizeof *r);
  *e = r == NULL ? error_no_memory() : NULL;
  if (r == NULL) return NULL;
  atomic_init(&r->refs, 1);
  r->generation = repo_generation();
  pthread_condattr_t attributes;
  pthread_condattr_init(&attributes);
  pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
  pthread_mutex_init(&r->lock, NULL);
  pthread_cond_init(&r->moved, &attributes);
  pthread_condattr_destroy(&attributes);
  *e = read_options(r, options);
  if (*e == NULL) return r;
  repo_unref(r);
  return NULL;
}


/* ------------------------------------------------------------------
** Its life
** ---------------------------------------------------------------- */

repo *repo_ref(repo *r) {
  atomic_fetch_add(&r->refs, 1);
  return r;
}

void repo_unref(repo *r) {
  if (r == NULL || atomic_fetch_sub(&r->refs, 1) != 1) return;
  repo_tools_free(r->tools);
  if (r->index != NULL) repo_index_free(r->index);
  repo_config_clear(&r->config);
  if (r->key != NULL) repo_secret_free(r->key, sizeof *r->key);
  repo_store_close(r->store);
  value_wipe(r->options);
  value_wipe(r->password_value);
  mem_free(r->files);
  mem_free(r->outdated);
  if (r->location != NULL) repo_wipe(r->location, strlen(r->location));
  mem_free(r->location);
  if (!repo_is_inherited(r)) {
    pthread_cond_destroy(&r->moved);
    pthread_mutex_destroy(&r->lock);
  }
  mem_free(r);
}

bool repo_is_inherited(const repo *r) {
  return r->generation != repo_generation();
}

const char *repo_location(const repo *r) {
  return r->store != NULL ? r->store->location : "";
}

void repo_close(repo *r) {
  atomic_store(&r->state, REPO_CLOSED);
}

error *repo_check_open(repo *r) {
  if (repo_is_inherited(r))
    return repo_error(SAROS_E_FORKED,
                      "this repository was opened by the parent, who forked; "
                      "open it here once more");
  if (r->state == REPO_OPEN) return NULL;
  return repo_error(SAROS_E_CLOSED, r->state == REPO_NEW
                                        ? "the repository is not open yet"
                                        : "the repository was closed");
}

repo_store *repo_store_of(repo *r) {
  return r->store;
}

repo_tools *repo_tools_of(repo *r) {
  return r->tools;
}

const repo_config *repo_config_of(const repo *r) {
  return &r->config;
}

const repo_key *repo_key_of(const repo *r) {
  return r->key;
}

repo_id repo_key_id(repo *r) {
  pthread_mutex_lock(&r->lock);
  repo_id id = r->key_id;
  pthread_mutex_unlock(&r->lock);
  return id;
}

void repo_set_key(repo *r, const repo_id *id) {
  pthread_mutex_lock(&r->lock);
  r->key_id = *id;
  pthread_mutex_unlock(&r->lock);
}


/* ------------------------------------------------------------------
** Opening
** ---------------------------------------------------------------- */

static error *get_password(repo *r, repo_password *p, const repo_stop *stop) {
  error *e = repo_password_value(p, r->password_value, stop);
  value_wipe(r->password_value);
  r->password_value = NULL;
  return e;
}

static error *is_there(repo *r, const repo_stop *stop) {
  uint64_t size;
  error *e = r->store->way->size(r->store, REPO_CONFIG, NULL, &size, stop);
  if (e == NULL || (e->number != ENOENT && e->number != ENOTDIR)) return e;
  error *made = repo_error(code_of_errno(ENOENT),
                           "there is no repository in %s; repository.init, "
                           "or saros init --repo, makes one",
                           r->store->location);
  if (made != error_no_memory()) made->number = ENOENT;
  error_unref(e);
  return made;
}

static error *make_room(repo *r) {
  r->key = repo_secret_new(sizeof *r->key);
  return r->key != NULL ? NULL : error_no_memory();
}

/* What all else is sealed with. */
static error *make_tools(repo *r, unsigned version) {
  r->tools = repo_tools_new(r->key, version);
  return r->tools != NULL ? NULL : error_no_memory();
}

static error *load_config(repo *r, const repo_stop *stop) {
  error *e;
  repo_sealer *s = repo_sealer_new(r->key, &e);
  if (s == NULL) return e;
  e = repo_config_load(&r->config, r->store, s, stop);
  repo_sealer_free(s);
  return e;
}

error *repo_open(repo *r, const repo_stop *stop) {
  repo_password password = {0};
  error *e = is_there(r, stop);
  if (e == NULL) e = get_password(r, &password, stop);
  if (e == NULL) e = make_room(r);
  if (e == NULL)
    e = repo_key_open(r->store, &password, r->has_hint ? &r->hint : NULL,
                      r->key, &r->key_id, stop);
  repo_password_clear(&password);
  if (e == NULL) e = load_config(r, stop);
  if (e == NULL) e = make_tools(r, r->config.version);
  int fresh = REPO_NEW; /* it may have been closed meanwhile */
  if (e == NULL) atomic_compare_exchange_strong(&r->state, &fresh, REPO_OPEN);
  return e;
}


/* ------------------------------------------------------------------
** Making
** ---------------------------------------------------------------- */

static error *save_config(repo *r, const repo_stop *stop) {
  error *e;
  repo_sealer *s = repo_sealer_new(r->key, &e);
  if (s == NULL) return e;
  e = repo_config_save(&r->config, r->store, s, false, stop);
  repo_sealer_free(s);
  return e;
}

/* The key first: a config that nobody has a key to would be a repository that
   nobody can open. */
static error *store_both(repo *r, const repo_password *password,
                         const repo_stop *stop) {
  error *e = repo_key_add(r->store, r->key, password, NULL, &r->key_id, stop);
  if (e != NULL) return e;
  e = save_config(r, stop);
  /* Else the next one would be told that there is something already. */
  if (e != NULL)
    error_unref(r->store->way->remove(r->store, REPO_KEYS, &r->key_id, NULL));
  return e;
}

error *repo_create(repo *r, const repo_stop *stop) {
  repo_password password = {0};
  error *e = get_password(r, &password, stop);
  if (e == NULL) e = make_room(r);
  if (e == NULL) e = repo_key_random(r->key);
  if (e == NULL) e = repo_config_make(&r->config, r->version);
  if (e == NULL) e = r->store->way->create(r->store);
  if (e == NULL) e = store_both(r, &password, stop);
  repo_password_clear(&password);
  if (e == NULL) e = make_tools(r, r->config.version);
  int fresh = REPO_NEW;
  if (e == NULL) atomic_compare_exchange_strong(&r->state, &fresh, REPO_OPEN);
  return e;
}
