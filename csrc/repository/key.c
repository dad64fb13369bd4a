/*
** key: the key files of a repository, and who may open it with what.
*/
#include "repository/key.h"

#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "repository/go.h"
#include "repository/key_parts.h"


error *repo_key_random(repo_key *master) {
  do {
    error *e = repo_random(master, sizeof *master);
    if (e != NULL) return e;
  } while (!repo_key_is_valid(master));
  return NULL;
}


/* ------------------------------------------------------------------
** One file
** ---------------------------------------------------------------- */

/* The file of this name, whole: its content must have the SHA-256 that it is
   named by. A second look tells a bad read from a bad file. */
static error *load(repo_store *store, const repo_id *id, repo_key_file *file,
                   const repo_stop *stop) {
  for (int look = 0; look < 2; look++) {
    repo_id actual;
    buffer b = BUFFER_EMPTY;
    error *e =
        store->way->load(store, REPO_KEYS, id, REPO_KEY_FILE_MOST, &b, stop);
    if (e == NULL) {
      repo_id_of(&actual, b.data, b.size);
      if (repo_id_equal(&actual, id)) {
        e = repo_key_file_read(file, b.data, b.size);
        buffer_free(&b);
        return e;
      }
    }
    buffer_free(&b);
    if (e != NULL) return e;
  }
  return repo_error(SAROS_E_DAMAGED,
                    "the key file is damaged: its content is not what its "
                    "name says");
}


static error *try_one(repo_store *store, const repo_id *id,
                      const repo_password *password, repo_key *master,
                      const repo_stop *stop) {
  repo_key_file file = {0};
  error *e = load(store, id, &file, stop);
  if (e == NULL) e = repo_key_file_open(&file, master, password);
  repo_key_file_clear(&file);
  return e;
}


/* ------------------------------------------------------------------
** Opening
** ---------------------------------------------------------------- */

/* The first names of all, in their order; a hostile store may list for ever,
   and shall fill no memory by that. */
typedef struct names {
  repo_id first[REPO_KEYS_TRIED];
  size_t count, all;
} names;


static error *note_name(void *context, const repo_id *id, uint64_t size) {
  names *n = context;
  size_t at = n->count;
  (void)size;
  n->all++;
  while (at > 0 && repo_id_compare(id, &n->first[at - 1]) < 0) at--;
  if (at == REPO_KEYS_TRIED) return NULL;
  size_t behind = n->count - at;
  if (n->count == REPO_KEYS_TRIED) behind--;
  memmove(&n->first[at + 1], &n->first[at], behind * sizeof n->first[0]);
  n->first[at] = *id;
  if (n->count < REPO_KEYS_TRIED) n->count++;
  return NULL;
}


/* What another key file cannot mend. */
static bool ends_it(const error *e) {
  return e->code == SAROS_E_CANCELLED || e->code == SAROS_E_OUTOFMEMORY ||
         e->code == SAROS_E_FORKED;
}


/* What did not open so far. */
typedef struct trouble {
  bool wrong;   /* a key file is another password's */
  error *other; /* the first thing else that went wrong */
} trouble;


/* Whether that was it: NULL in *e when it is open. */
static bool try_next(trouble *t, error **e, repo_store *store,
                     const repo_id *name, const repo_password *password,
                     repo_key *master, repo_id *id, const repo_stop *stop) {
  *e = repo_stopped(stop)
           ? repo_error(SAROS_E_CANCELLED, "opening was cancelled")
           : try_one(store, name, password, master, stop);
  if (*e == NULL) *id = *name;
  if (*e == NULL || ends_it(*e)) return true;
  if ((*e)->code == SAROS_E_WRONG_PASSWORD) t->wrong = true;
  if ((*e)->code == SAROS_E_WRONG_PASSWORD || t->other != NULL)
    error_unref(*e);
  else
    t->other = *e;
  *e = NULL;
  return false;
}


static error *why_not(trouble *t, const names *n) {
  if (!t->wrong && t->other != NULL) return t->other;
  if (!t->wrong)
    return repo_error(SAROS_E_DAMAGED,
                      "there is no key file; without one nobody can open the "
                      "repository");
  error *e = n->all > n->count
                 ? repo_error(SAROS_E_WRONG_PASSWORD,
                              "the password opens none of the %zu key files "
                              "that were tried, of %zu; name the one it is "
                              "for",
                              n->count, n->all)
                 : repo_error(SAROS_E_WRONG_PASSWORD,
                              "the password is wrong: it opens no key file "
                              "of the repository");
  return t->other != NULL ? error_because(e, t->other) : e;
}


error *repo_key_open(repo_store *store, const repo_password *password,
                     const repo_id *hint, repo_key *master, repo_id *id,
                     const repo_stop *stop) {
  names n = {0};
  trouble t = {0};
  error *e = NULL;
  bool over =
      hint != NULL && try_next(&t, &e, store, hint, password, master, id, stop);
  if (!over) {
    e = store->way->list(store, REPO_KEYS, note_name, &n, stop);
    over = e != NULL;
  }
  for (size_t i = 0; i < n.count && !over; i++)
    if (hint == NULL || !repo_id_equal(hint, &n.first[i]))
      over = try_next(&t, &e, store, &n.first[i], password, master, id, stop);
  if (!over) return why_not(&t, &n);
  error_unref(t.other);
  return e;
}


/* ------------------------------------------------------------------
** Adding
** ---------------------------------------------------------------- */

static char *user_name(void) {
  char room[4096];
  struct passwd entry, *found = NULL;
  if (getpwuid_r(geteuid(), &entry, room, sizeof room, &found) == 0 &&
      found != NULL)
    return mem_text(found->pw_name);
  return mem_text("");
}


static char *host_name(void) {
  char room[256] = "";
  if (gethostname(room, sizeof room - 1) != 0) room[0] = '\0';
  return mem_text(room);
}


static char *now_text(void) {
  struct timespec now;
  buffer b = BUFFER_EMPTY;
  clock_gettime(CLOCK_REALTIME, &now);
  repo_go_time(&b, now, repo_go_zone(now.tv_sec));
  return buffer_take(&b);
}


/* Who, when, where, and at what cost. */
static error *fill(repo_key_file *file, const repo_cost *cost) {
  error *e = NULL;
  file->created = now_text();
  file->username = user_name();
  file->hostname = host_name();
  if (file->created == NULL || file->username == NULL || file->hostname == NULL)
    return error_no_memory();
  if (cost != NULL)
    file->cost = *cost;
  else
    e = repo_cost_calibrate(&file->cost);
  return e != NULL ? e : repo_random(file->salt, sizeof file->salt);
}


error *repo_key_add(repo_store *store, const repo_key *master,
                    const repo_password *password, const repo_cost *cost,
                    repo_id *id, const repo_stop *stop) {
  repo_key_file file = {0};
  buffer json = BUFFER_EMPTY;
  error *e = fill(&file, cost);
  if (e == NULL) e = repo_key_file_seal(&file, master, password);
  if (e == NULL) e = repo_key_file_write(&file, &json);
  if (e == NULL) {
    repo_piece piece = {json.data, json.size};
    repo_id_of(id, json.data, json.size);
    e = store->way->save(store, REPO_KEYS, id, &piece, 1, false, stop);
  }
  buffer_free(&json);
  repo_key_file_clear(&file);
  return e;
}


/* ------------------------------------------------------------------
** Removing, changing
** ---------------------------------------------------------------- */

error *repo_key_remove(repo_store *store, const repo_id *id,
                       const repo_id *in_use, const repo_stop *stop) {
  uint64_t size;
  if (repo_id_equal(id, in_use))
    return repo_error(SAROS_E_REFUSED,
                      "this key file is the one in use; open the repository "
                      "with another password to remove it");
  /* A store does not mind what is not there; who removes a key does. */
  error *e = store->way->size(store, REPO_KEYS, id, &size, stop);
  return e != NULL ? e : store->way->remove(store, REPO_KEYS, id, stop);
}


/* Whether the new one leads to the same master key. */
static error *prove(repo_store *store, const repo_id *id,
                    const repo_key *master, const repo_password *password,
                    const repo_stop *stop) {
  repo_key *found = repo_secret_new(sizeof *found);
  if (found == NULL) return error_no_memory();
  error *e = try_one(store, id, password, found, stop);
  if (e == NULL && memcmp(found->encrypt, master->encrypt, 32) != 0)
    e = repo_error(SAROS_E_DAMAGED,
                   "the new key file holds another key than it was given");
  repo_secret_free(found, sizeof *found);
  return e;
}


error *repo_key_change(repo_store *store, const repo_key *master,
                       const repo_password *password, const repo_cost *cost,
                       repo_id *in_use, const repo_stop *stop) {
  repo_id new_one, old_one = *in_use;
  error *e = repo_key_add(store, master, password, cost, &new_one, stop);
  if (e != NULL) return e;
  e = prove(store, &new_one, master, password, stop);
  if (e != NULL) {
    error_unref(store->way->remove(store, REPO_KEYS, &new_one, NULL));
    return e;
  }
  *in_use = new_one;
  return store->way->remove(store, REPO_KEYS, &old_one, stop);
}


/* ------------------------------------------------------------------
** Listing
** ---------------------------------------------------------------- */

typedef struct ids {
  repo_id *all;
  size_t count, room;
} ids;


static error *note_id(void *context, const repo_id *id, uint64_t size) {
  ids *n = context;
  (void)size;
  if (n->count == n->room) {
    size_t room = n->room > 0 ? 2 * n->room : 16;
    repo_id *all = mem_grow(n->all, room * sizeof *all);
    if (all == NULL) return error_no_memory();
    n->all = all;
    n->room = room;
  }
  n->all[n->count++] = *id;
  return NULL;
}


static int by_name(const void *a, const void *b) {
  return repo_id_compare(a, b);
}


static value *describe(const repo_key_file *file) {
  value *v = value_map();
  if (v != NULL && value_put(v, "created", value_text(file->created)) &&
      value_put(v, "username", value_text(file->username)) &&
      value_put(v, "hostname", value_text(file->hostname)) &&
      value_put(v, "N", value_int((int64_t)file->cost.n)) &&
      value_put(v, "r", value_int((int64_t)file->cost.r)) &&
      value_put(v, "p", value_int((int64_t)file->cost.p)))
    return v;
  value_free(v);
  return NULL;
}


static error *add_one(value *list, repo_store *store, const repo_id *id,
                      const repo_id *in_use, const repo_stop *stop) {
  char text[REPO_ID_TEXT];
  repo_key_file file = {0};
  value *v = NULL;
  error *e = load(store, id, &file, stop);
  if (e != NULL && ends_it(e)) return e;
  if (e == NULL) {
    v = describe(&file);
  } else {
    v = value_map();
    if (v != NULL && !value_put(v, "error", value_text(e->message))) {
      value_free(v);
      v = NULL;
    }
    error_unref(e);
  }
  repo_key_file_clear(&file);
  repo_id_format(id, text);
  bool current = in_use != NULL && repo_id_equal(id, in_use);
  if (v != NULL && value_put(v, "id", value_text(text)) &&
      value_put(v, "current", value_bool(current)))
    return value_add(list, v) ? NULL : error_no_memory();
  value_free(v);
  return error_no_memory();
}


value *repo_key_list(repo_store *store, const repo_id *in_use,
                     const repo_stop *stop, error **e) {
  ids n = {0};
  value *list = value_list();
  *e = list == NULL ? error_no_memory()
                    : store->way->list(store, REPO_KEYS, note_id, &n, stop);
  if (*e == NULL && n.count > 0)
    qsort(n.all, n.count, sizeof n.all[0], by_name);
  for (size_t i = 0; i < n.count && *e == NULL; i++)
    *e = add_one(list, store, &n.all[i], in_use, stop);
  mem_free(n.all);
  if (*e == NULL) return list;
  value_free(list);
  return NULL;
}
