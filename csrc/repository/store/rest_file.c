/*
** Files of a REST server: written and verified, read, measured, removed. A
** server stores under a name once: what is there already it answers with 403,
** as it does what nobody may do; so that is looked into.
*/
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "repository/store/rest_parts.h"

static rest *rest_of(repo_store *store) {
  return (rest *)store;
}

/* What every call about one file needs. */
typedef struct rest_file {
  char path[96];
  char doing[128];
} rest_file;

static error *begin(const rest *s, repo_file kind, const repo_id *id,
                    const char *verb, rest_file *f) {
  char file[96], text[REPO_ID_TEXT];
  repo_file_describe(kind, id, file);
  snprintf(f->doing, sizeof f->doing, "%s %s", verb, file);
  if (kind == REPO_CONFIG) {
    snprintf(f->path, sizeof f->path, "/config");
  } else {
    repo_id_format(id, text);
    snprintf(f->path, sizeof f->path, "/%s/%s", repo_file_folder(kind), text);
  }
  return repo_restful_forked(s);
}

/* ------------------------------------------------------------------
** Reading
** ---------------------------------------------------------------- */

error *repo_restful_read(repo_store *store, repo_file kind, const repo_id *id,
                         uint64_t offset, size_t size, void *into,
                         const repo_stop *stop) {
  rest_file f = {.path = ""};
  error *e = begin(rest_of(store), kind, id, "read", &f);
  if (e != NULL || size == 0) return e;
  rest_call c = {.doing = f.doing,
                 .method = "GET",
                 .path = f.path,
                 .ranged = true,
                 .from = offset,
                 .last = offset + size - 1,
                 .window = into,
                 .window_size = size,
                 .stop = stop};
  return repo_restful_call(rest_of(store), &c);
}

error *repo_restful_load(repo_store *store, repo_file kind, const repo_id *id,
                         size_t most, buffer *b, const repo_stop *stop) {
  rest_file f = {.path = ""};
  error *e = begin(rest_of(store), kind, id, "read", &f);
  if (e != NULL) return e;
  rest_call c = {.doing = f.doing,
                 .method = "GET",
                 .path = f.path,
                 .into = b,
                 .most = most,
                 .stop = stop};
  return repo_restful_call(rest_of(store), &c);
}

static error *head(rest *s, const rest_file *f, const repo_stop *stop,
                   bool *there, uint64_t *size) {
  rest_call c = {
      .doing = f->doing, .method = "HEAD", .path = f->path, .stop = stop};
  error *e = repo_restful_call(s, &c);
  *there = e == NULL;
  *size = c.length;
  if (e == NULL || c.trouble.fate != REST_ABSENT) return e;
  error_unref(e);
  return NULL;
}

error *repo_restful_size(repo_store *store, repo_file kind, const repo_id *id,
                         uint64_t *size, const repo_stop *stop) {
  rest_file f = {.path = ""};
  error *e = begin(rest_of(store), kind, id, "measure", &f);
  if (e != NULL) return e;
  rest_call c = {
      .doing = f.doing, .method = "HEAD", .path = f.path, .stop = stop};
  e = repo_restful_call(rest_of(store), &c);
  if (e == NULL && c.length == HTTP_UNKNOWN)
    e = repo_error(SAROS_E_FAIL,
                   "cannot %s: the server does not say how long it is",
                   f.doing);
  if (e == NULL) *size = c.length;
  return e;
}

/* ------------------------------------------------------------------
** Removing
** ---------------------------------------------------------------- */

static error *remove_file(rest *s, repo_file kind, const rest_file *f,
                          const repo_stop *stop) {
  rest_call c = {
      .doing = f->doing, .method = "DELETE", .path = f->path, .stop = stop};
  error *e = repo_restful_call(s, &c);
  if (e == NULL) return NULL;
  if (c.trouble.fate == REST_ABSENT) {
    error_unref(e);
    return NULL;
  }
  if (c.trouble.status != 403 && c.trouble.status != 405) return e;
  error_unref(e);
  c.trouble.code = SAROS_E_ACCESSDENIED;
  c.trouble.number = EACCES;
  c.trouble.advice =
      kind == REPO_LOCKS
          ? "this user may not even remove a lock"
          : "it is append-only: what was stored stays. To forget and to prune, "
            "ask it where it lets things be removed (a rest-server without "
            "--append-only), or do it on the machine itself";
  return repo_restful_error(s, &c);
}

error *repo_restful_remove(repo_store *store, repo_file kind, const repo_id *id,
                           const repo_stop *stop) {
  rest_file f = {.path = ""};
  error *e = begin(rest_of(store), kind, id, "remove", &f);
  return e != NULL ? e : remove_file(rest_of(store), kind, &f, stop);
}

/* An append-only server says so of what is not there, too. */
error *repo_restful_may_remove(repo_store *store, const repo_stop *stop) {
  rest_file f = {.path = ""};
  repo_id nobody;
  error *e = repo_random(&nobody, sizeof nobody);
  if (e == NULL) e = begin(rest_of(store), REPO_PACKS, &nobody, "", &f);
  snprintf(f.doing, sizeof f.doing, "remove anything");
  return e != NULL ? e : remove_file(rest_of(store), REPO_PACKS, &f, stop);
}

/* ------------------------------------------------------------------
** Writing
** ---------------------------------------------------------------- */

/* One POST and all that belongs to it. */
typedef struct rest_put {
  rest_file file;
  const repo_piece *pieces;
  size_t count;
  uint64_t size;
  const repo_stop *stop;
  rest_trouble trouble; /* of one that failed */
} rest_put;

static error *post(rest *s, rest_put *p) {
  static const repo_piece nothing = {"", 0};
  rest_call c = {.doing = p->file.doing,
                 .method = "POST",
                 .path = p->file.path,
                 .pieces = p->count > 0 ? p->pieces : &nothing,
                 .piece_count = p->count > 0 ? p->count : 1,
                 .stop = p->stop};
  error *e = repo_restful_call(s, &c);
  p->trouble = c.trouble;
  if (e == NULL || c.trouble.status != 400) return e;
  error_unref(e);
  c.trouble.code = SAROS_E_DAMAGED;
  c.trouble.advice =
      "what arrives is not what was sent: a proxy, the network or the memory "
      "of this machine changes it";
  return repo_restful_error(s, &c);
}

/* Servers may store what was cut on its way, and say nothing. */
static error *verify(rest *s, const rest_put *p) {
  bool there;
  uint64_t size;
  error *e = head(s, &p->file, p->stop, &there, &size);
  if (e != NULL || (there && size == p->size)) return e;
  return repo_error(SAROS_E_DAMAGED,
                    "cannot %s in %s: the server said that it was stored, and "
                    "it is %s",
                    p->file.doing, s->location,
                    there ? "of another length" : "not there");
}

/* Its name is what is in it: perhaps it was ourselves, in a try whose answer
   was lost. */
static error *is_there_already(rest *s, const rest_put *p, error *denied) {
  bool there;
  uint64_t size;
  error *e = head(s, &p->file, p->stop, &there, &size);
  if (e != NULL || !there) { /* then we may not */
    error_unref(e);
    return denied;
  }
  error_unref(denied);
  if (size == p->size) return NULL;
  return repo_error(SAROS_E_DAMAGED,
                    "cannot %s in %s: there is one already, of another length; "
                    "a REST server does not replace it: remove it there",
                    p->file.doing, s->location);
}

/* Every config is another one, so equal bytes are ours. */
static error *is_ours(rest *s, const rest_put *p, bool *there, bool *ours) {
  buffer b = BUFFER_EMPTY;
  rest_call c = {.doing = p->file.doing,
                 .method = "GET",
                 .path = p->file.path,
                 .into = &b,
                 .most = 1 << 20,
                 .stop = p->stop};
  error *e = repo_restful_call(s, &c);
  size_t at = 0;
  *there = e == NULL;
  *ours = e == NULL && b.size == p->size;
  for (size_t i = 0; *ours && i < p->count; i++) {
    const repo_piece *piece = &p->pieces[i];
    if (piece->size > 0 && memcmp(b.data + at, piece->data, piece->size) != 0)
      *ours = false;
    at += piece->size;
  }
  buffer_free(&b);
  if (e != NULL && c.trouble.fate == REST_ABSENT) {
    error_unref(e);
    e = NULL;
  }
  return e;
}

static error *exists(const rest *s) {
  error *e = repo_error(code_of_errno(EEXIST),
                        "there is a config in %s already: it is a repository",
                        s->location);
  if (e != error_no_memory()) e->number = EEXIST;
  return e;
}

/* Some servers overwrite: a look beforehand is all there is to that. */
static error *save_new_config(rest *s, rest_put *p) {
  bool there, ours;
  uint64_t size;
  error *e = head(s, &p->file, p->stop, &there, &size);
  if (e != NULL) return e;
  if (there) return exists(s);
  e = post(s, p);
  if (e == NULL) return verify(s, p);
  if (p->trouble.fate != REST_DENIED) return e;
  error *why = is_ours(s, p, &there, &ours);
  if (why != NULL || !there) {
    error_unref(why);
    return e;
  }
  error_unref(e);
  return ours ? NULL : exists(s);
}

/* It has to go before another can come. Between the two there is none: what
   fails then is not to be cancelled. */
static error *replace_config(rest *s, rest_put *p) {
  bool there, ours;
  error *e = is_ours(s, p, &there, &ours);
  if (e != NULL || ours) return e;
  if (there) e = repo_restful_remove(&s->store, REPO_CONFIG, NULL, p->stop);
  if (e != NULL) return e;
  p->stop = NULL;
  e = post(s, p);
  if (e == NULL) return verify(s, p);
  if (p->trouble.fate == REST_DENIED) {
    error *why = is_ours(s, p, &there, &ours);
    error_unref(why);
    if (ours) {
      error_unref(e);
      return NULL;
    }
  }
  return e;
}

error *repo_restful_save(repo_store *store, repo_file kind, const repo_id *id,
                         const repo_piece *pieces, size_t count, bool replace,
                         const repo_stop *stop) {
  rest *s = rest_of(store);
  rest_put p = {.pieces = pieces, .count = count, .stop = stop};
  error *e = begin(s, kind, id, "store", &p.file);
  if (e != NULL) return e;
  for (size_t i = 0; i < count; i++) p.size += pieces[i].size;
  if (kind == REPO_CONFIG)
    return replace ? replace_config(s, &p) : save_new_config(s, &p);
  e = post(s, &p);
  if (e == NULL) return verify(s, &p);
  return p.trouble.fate == REST_DENIED ? is_there_already(s, &p, e) : e;
}

error *repo_restful_create(repo_store *store) {
  rest *s = rest_of(store);
  rest_file f = {.path = ""};
  bool there;
  uint64_t size;
  error *e = begin(s, REPO_CONFIG, NULL, "look for", &f);
  if (e == NULL) e = head(s, &f, NULL, &there, &size);
  if (e != NULL) return e;
  if (there)
    return repo_error(
        SAROS_E_REFUSED,
        "there is a repository in %s already: nothing was changed",
        s->location);
  static const repo_piece nothing = {"", 0};
  rest_call c = {.doing = "make the repository's folders",
                 .method = "POST",
                 .path = "/?create=true",
                 .pieces = &nothing,
                 .piece_count = 1};
  return repo_restful_call(s, &c);
}
