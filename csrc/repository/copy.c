/*
** copy: versions of one repository into another one, whose key and polynomial
** are its own. Versions are taken in groups, the oldest first: what a group
** needs is stored and named by index files, and only then its versions are
** written. Whoever ends it in the middle has whole versions and nothing half,
** and the next one goes on.
*/
#include <string.h>

#include "repository/copy_parts.h"
#include "repository/version.h"

#ifdef SAROS_TEST
uint64_t repo_copy_group = (uint64_t)256 << 20;
#else
static const uint64_t repo_copy_group = (uint64_t)256 << 20;
#endif

static bool copying_stopped(const repo_stop *stop) {
  const copying *k = (const copying *)stop;
  return repo_stopped(&k->from->stop) || repo_stopped(&k->to->stop);
}


/* ------------------------------------------------------------------
** Which versions
** ---------------------------------------------------------------- */

static bool same_text(const char *a, const char *b) {
  return strcmp(a != NULL ? a : "", b != NULL ? b : "") == 0;
}

static bool same_list(const value *a, const value *b) {
  size_t n = a != NULL ? a->count : 0, m = b != NULL ? b->count : 0;
  return n == m && (n == 0 || value_equal(a, b));
}

/* All but what it is derived from. */
static bool is_like(const repo_snapshot *a, const repo_snapshot *b) {
  return a->time.tv_sec == b->time.tv_sec &&
         a->time.tv_nsec == b->time.tv_nsec &&
         repo_id_equal(&a->tree, &b->tree) && a->uid == b->uid &&
         a->gid == b->gid && same_text(a->hostname, b->hostname) &&
         same_text(a->username, b->username) && same_list(a->paths, b->paths) &&
         same_list(a->excludes, b->excludes) && same_list(a->tags, b->tags);
}

/* NULL: it is not there yet. */
static const repo_snapshot *find_there(const copying *k,
                                       const repo_snapshot *s) {
  const repo_id *id = s->has_original ? &s->original : &s->id;
  for (size_t i = 0; i < k->there_count; i++) {
    const repo_snapshot *t = k->there[i];
    bool derived = repo_id_equal(&t->id, id) ||
                   (t->has_original && repo_id_equal(&t->original, id));
    if (derived && is_like(s, t)) return t;
  }
  return NULL;
}

static value *id_value(const repo_id *id) {
  char text[REPO_ID_TEXT];
  repo_id_format(id, text);
  return value_string(text, REPO_ID_TEXT - 1);
}

/* Takes it over. */
static error *add_version(copying *k, repo_snapshot *s) {
  error *e = NULL;
  for (size_t i = 0; i < k->count; i++)
    if (repo_id_equal(&k->list[i]->id, &s->id)) {
      repo_snapshot_free(s);
      return NULL;
    }
  if (find_there(k, s) != NULL) {
    if (!value_add(k->skipped, id_value(&s->id))) e = error_no_memory();
    repo_snapshot_free(s);
    return e;
  }
  k->list[k->count++] = s;
  return NULL;
}

static error *choose_named(copying *k, const value *names) {
  k->list = mem_zero((names->count + 1) * sizeof(repo_snapshot *));
  if (k->list == NULL) return error_no_memory();
  for (uint32_t i = 0; i < names->count; i++) {
    repo_version v;
    error *e =
        repo_version_find(k->from->r, value_chars(names->as.items[i], ""),
                          k->c->options, &v, &k->stop);
    if (e == NULL && *v.folder != '\0')
      e = repo_error(SAROS_E_INVALIDARG,
                     "versions are copied whole: leave out what is behind the "
                     "colon");
    if (e == NULL) {
      e = add_version(k, v.snapshot);
      v.snapshot = NULL;
    }
    repo_version_clear(&v);
    if (e != NULL) return e;
  }
  return NULL;
}

static error *choose_filtered(copying *k) {
  repo_snapshot **all;
  size_t count;
  error *e = repo_versions(k->from->r, &all, &count, &k->stop);
  if (e != NULL) return e;
  k->list = mem_zero((count + 1) * sizeof(repo_snapshot *));
  if (k->list == NULL) e = error_no_memory();
  for (size_t i = 0; i < count; i++) {
    if (e == NULL && repo_version_is_wanted(all[i], k->c->options))
      e = add_version(k, all[i]);
    else
      repo_snapshot_free(all[i]);
  }
  mem_free(all);
  return e;
}

static error *choose(copying *k) {
  const value *names = value_get(k->c->options, "versions");
  error *e = repo_versions(k->to->r, &k->there, &k->there_count, &k->stop);
  if (e != NULL) return e;
  if (names == NULL) return choose_filtered(k);
  if (names->type != VALUE_LIST)
    return repo_error(SAROS_E_INVALIDARG,
                      "versions: a list of ids expected, as repo:versions has "
                      "them");
  return choose_named(k, names);
}


/* ------------------------------------------------------------------
** A group of them
** ---------------------------------------------------------------- */

static error *begin_group(copying *k, bool anew) {
  if (anew) {
    repo_id_map_free(k->trees);
    k->trees = repo_id_map_new();
  }
  repo_id_map_free(k->wanted);
  k->wanted = repo_id_map_new();
  k->wanted_bytes = 0;
  return k->trees != NULL && k->wanted != NULL ? NULL : error_no_memory();
}

static value *version_value(const repo_id *from, const repo_id *to) {
  value *map = value_map();
  if (map != NULL && value_put(map, "version", id_value(from)) &&
      (to == NULL || value_put(map, "id", id_value(to))))
    return map;
  value_free(map);
  return NULL;
}

/* As it was, but for what it is derived from. */
static error *write_version(copying *k, const repo_snapshot *s) {
  repo_snapshot copy = *s;
  repo_id id;
  buffer b = BUFFER_EMPTY;
  copy.has_parent = false;
  if (!copy.has_original) copy.original = s->id;
  copy.has_original = true;
  error *e = k->pack.dry ? NULL : repo_snapshot_write(&copy, &b);
  if (e == NULL && !k->pack.dry)
    e = repo_tools_save(repo_tools_of(k->to->r), k->to->store, REPO_SNAPSHOTS,
                        b.data, b.size, &id, &k->stop);
  buffer_free(&b);
  if (e == NULL &&
      !value_add(k->copied, version_value(&s->id, k->pack.dry ? NULL : &id)))
    e = error_no_memory();
  return e;
}

static error *end_group(copying *k, size_t first, size_t end) {
  saros_op_phase(k->c->op, "copying");
  error *e = copy_wanted(k);
  for (size_t i = first; e == NULL && i < end; i++)
    e = write_version(k, k->list[i]);
  return e;
}

/* Some of it is damaged, and it is not copied. Takes over `e`. */
static error *note_failed(copying *k, const repo_snapshot *s, error *e) {
  value *map = version_value(&s->id, NULL);
  buffer b = BUFFER_EMPTY;
  buffer_text(&b, e->message);
  for (const error *why = e->cause; why != NULL; why = why->cause)
    buffer_format(&b, ": %s", why->message);
  bool good = map != NULL && !b.failed &&
              value_put(map, "message", value_string(b.data, b.size));
  buffer_free(&b);
  error_unref(e);
  k->c->partial = true;
  if (!good) {
    value_free(map);
    return error_no_memory();
  }
  return value_add(k->failed, map) ? NULL : error_no_memory();
}

/* One of these is damaged: each by itself, so that the others arrive. */
static error *copy_singly(copying *k, size_t first, size_t end) {
  bool anew = true;
  error *e = NULL;
  for (size_t i = first; e == NULL && i < end; i++) {
    e = begin_group(k, anew);
    if (e == NULL) e = copy_want(k, &k->list[i]->tree);
    if (e == NULL) e = end_group(k, i, i + 1);
    anew = e != NULL;
    if (e != NULL && e->code == SAROS_E_DAMAGED)
      e = note_failed(k, k->list[i], e);
  }
  if (e == NULL && anew) e = begin_group(k, true);
  return e;
}

static error *copy_all(copying *k) {
  error *e = NULL;
  for (size_t first = 0, end; e == NULL && first < k->count; first = end) {
    saros_op_phase(k->c->op, "finding what is not there");
    e = begin_group(k, first == 0);
    for (end = first; e == NULL && end < k->count; end++) {
      if (!k->pack.dry && end > first && k->wanted_bytes >= repo_copy_group)
        break;
      e = copy_want(k, &k->list[end]->tree);
    }
    if (e == NULL) e = end_group(k, first, end);
    if (e != NULL && e->code == SAROS_E_DAMAGED) {
      error_unref(e);
      e = copy_singly(k, first, end);
    }
  }
  return e;
}


/* ------------------------------------------------------------------
** The call
** ---------------------------------------------------------------- */

static bool put(value *map, const char *name, uint64_t n) {
  return value_put(map, name, value_int((int64_t)n));
}

/* A list goes to the map, whatever comes of it. */
static bool put_list(value *map, const char *name, value **list) {
  value *item = *list;
  *list = NULL;
  return value_put(map, name, item);
}

static value *report(copying *k) {
  value *map = value_map();
  bool good = map != NULL && put_list(map, "copied", &k->copied) &&
              put_list(map, "skipped", &k->skipped) &&
              put_list(map, "failed", &k->failed) &&
              put(map, "data_blobs", k->counts.data_blobs) &&
              put(map, "tree_blobs", k->counts.tree_blobs) &&
              put(map, "bytes_added", k->counts.bytes) &&
              put(map, "bytes_packed", k->counts.packed);
  if (good) return map;
  value_free(map);
  return NULL;
}

/* Versions before the index, in both: then the index knows all of them. */
static error *run(copying *k) {
  saros_op_phase(k->c->op, "looking for versions");
  error *e = choose(k);
  if (e == NULL) e = repo_index_of(k->from, &k->from_index);
  if (e == NULL) e = repo_index_of(k->to, &k->to_index);
  return e != NULL ? e : copy_all(k);
}

static error *lock_both(copying *k) {
  repo_call *c = k->c;
  error *e = repo_call_hold(c, REPO_READS, &k->from);
  if (e != NULL) return e;
  e = repo_call_hold_of(c, c->other, k->pack.dry ? REPO_READS : REPO_ADDS,
                        &k->to);
  if (e == NULL) e = repo_call_let_go(c, k->to, run(k));
  return repo_call_let_go(c, k->from, e);
}

static error *check_both(const repo_call *c) {
  if (c->other == NULL)
    return repo_error(SAROS_E_INVALIDARG,
                      "to: the repository to copy to expected, which is open");
  error *e = repo_check_open(c->r);
  if (e == NULL) e = repo_check_open(c->other);
  if (e != NULL) return e;
  if (c->r != c->other &&
      strcmp(repo_config_of(c->r)->id, repo_config_of(c->other)->id) != 0)
    return NULL;
  return repo_error(SAROS_E_REFUSED,
                    "%s and %s are the same repository: there is nothing to "
                    "copy",
                    repo_location(c->r), repo_location(c->other));
}

error *repo_work_copy(repo_call *c) {
  copying k = {.stop = {copying_stopped}, .c = c};
  error *e = check_both(c);
  if (e == NULL) e = repo_call_pack_options(c, &k.pack);
  if (e != NULL) return e;
  pthread_mutex_init(&k.lock, NULL);
  k.copied = value_list();
  k.skipped = value_list();
  k.failed = value_list();
  e = k.copied != NULL && k.skipped != NULL && k.failed != NULL
          ? lock_both(&k)
          : error_no_memory();
  value **to = e == NULL ? &c->output : &c->details;
  *to = report(&k);
  if (e == NULL && *to == NULL) e = error_no_memory();
  for (size_t i = 0; i < k.count; i++) repo_snapshot_free(k.list[i]);
  mem_free(k.list);
  repo_versions_free(k.there);
  repo_id_map_free(k.trees);
  repo_id_map_free(k.wanted);
  value_free(k.copied);
  value_free(k.skipped);
  value_free(k.failed);
  pthread_mutex_destroy(&k.lock);
  return e;
}
