/*
** Objects: written and verified, read, measured, removed.
*/
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "repository/store/s3_parts.h"

static s3 *s3_of(repo_store *store) {
  return (s3 *)store;
}

char *repo_s3_key(const s3 *s, repo_file kind, const repo_id *id) {
  buffer b = BUFFER_EMPTY;
  char text[REPO_ID_TEXT];
  if (s->prefix[0] != '\0') buffer_format(&b, "%s/", s->prefix);
  if (kind == REPO_CONFIG) {
    buffer_text(&b, "config");
  } else {
    repo_id_format(id, text);
    buffer_format(&b, "%s/", repo_file_folder(kind));
    if (kind == REPO_PACKS) buffer_format(&b, "%.2s/", text);
    buffer_text(&b, text);
  }
  return buffer_take(&b);
}

/* What every call about one object needs. */
typedef struct s3_object {
  char *key;
  char doing[128];
} s3_object;

static error *begin(s3 *s, repo_file kind, const repo_id *id, const char *verb,
                    s3_object *o) {
  char file[96];
  o->key = NULL;
  error *e = repo_s3_forked(s);
  if (e != NULL) return e;
  repo_file_describe(kind, id, file);
  snprintf(o->doing, sizeof o->doing, "%s %s", verb, file);
  o->key = repo_s3_key(s, kind, id);
  return o->key != NULL ? NULL : error_no_memory();
}

/* ------------------------------------------------------------------
** Reading
** ---------------------------------------------------------------- */

error *repo_s3_read(repo_store *store, repo_file kind, const repo_id *id,
                    uint64_t offset, size_t size, void *into,
                    const repo_stop *stop) {
  s3_object o;
  error *e = begin(s3_of(store), kind, id, "read", &o);
  if (e != NULL || size == 0) {
    mem_free(o.key);
    return e;
  }
  s3_call c = {.doing = o.doing,
               .method = "GET",
               .key = o.key,
               .ranged = true,
               .from = offset,
               .last = offset + size - 1,
               .window = into,
               .window_size = size,
               .stop = stop};
  e = repo_s3_call(s3_of(store), &c);
  mem_free(o.key);
  return e;
}

error *repo_s3_load(repo_store *store, repo_file kind, const repo_id *id,
                    size_t most, buffer *b, const repo_stop *stop) {
  s3_object o;
  error *e = begin(s3_of(store), kind, id, "read", &o);
  if (e != NULL) return e;
  s3_call c = {.doing = o.doing,
               .method = "GET",
               .key = o.key,
               .into = b,
               .most = most,
               .stop = stop};
  e = repo_s3_call(s3_of(store), &c);
  mem_free(o.key);
  return e;
}

error *repo_s3_head(s3 *s, s3_call *c, bool *there) {
  c->method = "HEAD";
  error *e = repo_s3_call(s, c);
  *there = e == NULL;
  if (e == NULL || c->trouble.fate != S3_ABSENT) return e;
  error_unref(e);
  return NULL;
}

error *repo_s3_size(repo_store *store, repo_file kind, const repo_id *id,
                    uint64_t *size, const repo_stop *stop) {
  s3_object o;
  error *e = begin(s3_of(store), kind, id, "measure", &o);
  if (e != NULL) return e;
  s3_call c = {.doing = o.doing, .method = "HEAD", .key = o.key, .stop = stop};
  e = repo_s3_call(s3_of(store), &c);
  if (e == NULL && c.length == HTTP_UNKNOWN)
    e = repo_error(SAROS_E_FAIL,
                   "cannot measure %s: the server does not say how long it is",
                   o.doing);
  if (e == NULL) *size = c.length;
  mem_free(o.key);
  return e;
}

error *repo_s3_remove(repo_store *store, repo_file kind, const repo_id *id,
                      const repo_stop *stop) {
  s3_object o;
  error *e = begin(s3_of(store), kind, id, "remove", &o);
  if (e != NULL) return e;
  s3_call c = {
      .doing = o.doing, .method = "DELETE", .key = o.key, .stop = stop};
  e = repo_s3_call(s3_of(store), &c);
  if (e != NULL && c.trouble.fate == S3_ABSENT) {
    error_unref(e);
    e = NULL;
  }
  if (e != NULL) e = repo_s3_lock_refused(s3_of(store), &c, e);
  mem_free(o.key);
  return e;
}

/* ------------------------------------------------------------------
** Writing
** ---------------------------------------------------------------- */

static error *prepare(s3_put *p, repo_file kind, const repo_id *id) {
  uint8_t md5[16];
  for (size_t i = 0; i < p->c.piece_count; i++) p->size += p->c.pieces[i].size;
  if (kind == REPO_CONFIG) {
    if (!repo_s3_sha256(p->c.pieces, p->c.piece_count, p->payload))
      return repo_error(SAROS_E_FAIL, "OpenSSL has no SHA-256 here");
  } else {
    /* What it is called: so the server verifies its name. */
    repo_id_format(id, p->payload);
  }
  p->has_md5 = repo_s3_md5(p->c.pieces, p->c.piece_count, md5);
  if (!p->has_md5) return NULL;
  http_sign_hex(p->md5_hex, md5, sizeof md5);
  text_base64(&p->md5, md5, sizeof md5);
  if (p->md5.failed) return error_no_memory();
  p->c.content_md5 = p->md5.data;
  return NULL;
}

/* An ETag that can be one is the MD5 of what is there now: -1 it is not, 0 it
   does not say, 1 it is. */
static int etag_says(const s3_put *p) {
  const char *etag = p->c.etag;
  if (etag[0] == '"') etag++;
  size_t size = strspn(etag, "0123456789abcdef");
  if (size != 32 || (etag[32] != '"' && etag[32] != '\0') || !p->has_md5 ||
      p->c.etag_is_no_md5)
    return 0;
  return strncmp(etag, p->md5_hex, 32) == 0 ? 1 : -1;
}

/* It is there, and as long as it should be. */
static error *verify(s3 *s, const s3_put *p) {
  bool there;
  s3_call head = {.doing = p->c.doing, .key = p->c.key, .stop = p->c.stop};
  error *e = repo_s3_head(s, &head, &there);
  if (e != NULL || (there && head.length == p->size)) return e;
  return repo_error(SAROS_E_DAMAGED,
                    "cannot %s in %s: the server said that it was stored, and "
                    "it is %s",
                    p->c.doing, s->location,
                    there ? "of another length" : "not there");
}

/* Tries that the server accepts, and that are something else afterwards. */
#define LIES 3

static error *put_and_verify(s3 *s, s3_put *p) {
  for (unsigned lies = 0;;) {
    error *e = repo_s3_call(s, &p->c);
    if (e != NULL) return e;
    int says = etag_says(p);
    if (says > 0) return NULL;
    if (says == 0) return verify(s, p);
    if (++lies < LIES) continue;
    return repo_error(SAROS_E_DAMAGED,
                      "cannot %s in %s: what the server has stored is not what "
                      "was sent (its ETag is another MD5)",
                      p->c.doing, s->location);
  }
}

/* Somebody has made it meanwhile: perhaps ourselves, in a try whose answer was
   lost. Every config is another one, so equal bytes are ours. */
static error *is_ours(s3 *s, const s3_put *p, bool *ours) {
  buffer there = BUFFER_EMPTY;
  s3_call get = {.doing = p->c.doing,
                 .method = "GET",
                 .key = p->c.key,
                 .into = &there,
                 .most = (size_t)p->size + 1,
                 .stop = p->c.stop};
  error *e = repo_s3_call(s, &get);
  size_t at = 0;
  *ours = e == NULL && there.size == p->size;
  for (size_t i = 0; *ours && i < p->c.piece_count; i++) {
    const repo_piece *piece = &p->c.pieces[i];
    if (piece->size > 0 &&
        memcmp(there.data + at, piece->data, piece->size) != 0)
      *ours = false;
    at += piece->size;
  }
  buffer_free(&there);
  if (e != NULL && get.trouble.code == SAROS_E_DAMAGED) { /* it is larger */
    error_unref(e);
    e = NULL;
  }
  return e;
}

static error *exists(const s3 *s) {
  error *e = repo_error(code_of_errno(EEXIST),
                        "there is a config in %s already: it is a repository",
                        s->location);
  if (e != error_no_memory()) e->number = EEXIST;
  return e;
}

static bool has_conditions(s3 *s) {
  pthread_mutex_lock(&s->lock);
  bool has = !s->no_conditions;
  pthread_mutex_unlock(&s->lock);
  return has;
}

/* Only if there is none. Servers differ: some refuse the condition, and some
   do not see it; to these a look beforehand is all there is. */
static error *put_new(s3 *s, s3_put *p, bool is_config) {
  error *e = NULL;
  if (is_config) {
    bool there;
    s3_call head = {.doing = p->c.doing, .key = p->c.key, .stop = p->c.stop};
    e = repo_s3_head(s, &head, &there);
    if (e != NULL) return e;
    if (there) return exists(s);
  }
  if (!has_conditions(s)) return put_and_verify(s, p);
  p->c.if_none_match = "*";
  e = put_and_verify(s, p);
  p->c.if_none_match = NULL;
  if (e == NULL) return NULL;
  bool ours = !is_config; /* its name is what is in it */
  switch (p->c.trouble.fate) {
    case S3_UNSUPPORTED:
      error_unref(e);
      pthread_mutex_lock(&s->lock);
      s->no_conditions = true;
      pthread_mutex_unlock(&s->lock);
      return put_and_verify(s, p);
    case S3_EXISTS:
      error_unref(e);
      e = is_config ? is_ours(s, p, &ours) : NULL;
      return e != NULL ? e : ours ? NULL : exists(s);
    default: return e;
  }
}

static error *put_all(s3 *s, s3_put *p, const repo_id *id) {
  if (!repo_s3_goes_in_parts(s, p)) return put_and_verify(s, p);
  error *e = repo_s3_put_parts(s, p, id);
  if (e == NULL || repo_s3_goes_in_parts(s, p)) return e;
  error_unref(e); /* it can do no parts, as was found just now */
  return put_and_verify(s, p);
}

error *repo_s3_save(repo_store *store, repo_file kind, const repo_id *id,
                    const repo_piece *pieces, size_t count, bool replace,
                    const repo_stop *stop) {
  s3 *s = s3_of(store);
  s3_object o;
  error *e = begin(s, kind, id, "store", &o);
  if (e != NULL) return e;
  static const repo_piece nothing = {"", 0};
  s3_put p = {.c = {.doing = o.doing,
                    .method = "PUT",
                    .key = o.key,
                    .content_type = "application/octet-stream",
                    .pieces = count > 0 ? pieces : &nothing,
                    .piece_count = count,
                    .payload = p.payload,
                    .locks = kind != REPO_LOCKS,
                    .stop = stop}};
  e = prepare(&p, kind, id);
  if (e == NULL)
    e = (kind == REPO_CONFIG && !replace) || kind == REPO_LOCKS
            ? put_new(s, &p, kind == REPO_CONFIG)
        : kind == REPO_PACKS ? put_all(s, &p, id)
                             : put_and_verify(s, &p);
  buffer_free(&p.md5);
  mem_free(o.key);
  return e;
}
