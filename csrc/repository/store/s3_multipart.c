/*
** A large pack goes in parts: what is lost on its way is one part, and not all
** of it. Every part is hashed, and the server says of each what it has; what
** was begun is ended, or taken back: parts of an upload that is neither cost
** money, and nobody sees them.
*/
#include <stdio.h>
#include <string.h>

#include "http/xml.h"
#include "repository/store/s3_parts.h"

#define LEAST ((uint64_t)5 << 20) /* of a part, as S3 wants it */
#define PART ((uint64_t)16 << 20)
#define TRIES 3               /* of a part that is something else there */
#define TAKE_BACK_MS 5000     /* however long the server would take */
#define ANSWER_MOST (1 << 20) /* bytes */

error *repo_s3_multipart_option(s3 *s, const value *options) {
  const value *v =
      options != NULL ? value_get(options, "multipart_size") : NULL;
  int64_t size = value_integer(v, (int64_t)64 << 20);
  if (v != NULL &&
      (v->type != VALUE_INT || size < 0 || (size > 0 && size < (int64_t)LEAST)))
    return repo_error(SAROS_E_INVALIDARG,
                      "multipart_size: how large a pack goes in parts: bytes, "
                      "from 5 MiB (5242880), or 0 for none");
  s->multipart_size = (uint64_t)size;
  s->part_size = s->multipart_size < PART ? s->multipart_size : PART;
  return NULL;
}

/* One upload. */
typedef struct upload {
  s3 *s;
  const s3_put *put;
  char *id;         /* escaped; NULL: it has not begun */
  repo_hash *whole; /* all that was sent */
  buffer tags;      /* the document that ends it */
  buffer md5s;
  unsigned parts;
  /* Where we are in the pieces. */
  size_t piece, at;
} upload;

static error *damaged(const upload *u, const char *what) {
  return repo_error(SAROS_E_DAMAGED, "cannot %s in %s: %s", u->put->c.doing,
                    u->s->location, what);
}

/* ------------------------------------------------------------------
** Answers
** ---------------------------------------------------------------- */

/* The text of a child of the root, which must be called so: mem_alloc'd, or
   NULL. `called` gets the root's name. */
static char *child(const buffer *answer, const char *root, const char *name,
                   char called[64]) {
  http_xml x;
  http_xml_event event;
  bool right = false;
  char *text = NULL;
  called[0] = '\0';
  http_xml_begin(&x, answer->data != NULL ? answer->data : "", answer->size);
  while ((event = http_xml_next(&x)) != HTTP_XML_END && event != HTTP_XML_BAD) {
    if (event == HTTP_XML_OPEN && x.depth == 1) {
      right = http_xml_is(&x, root);
      snprintf(called, 64, "%.*s", (int)(x.name.size < 60 ? x.name.size : 60),
               x.name.text);
    }
    if (event == HTTP_XML_CLOSE && x.depth == 1 && right && text == NULL &&
        http_xml_is(&x, name))
      text = mem_text(http_xml_text(&x));
  }
  http_xml_end(&x);
  if (event == HTTP_XML_END) return text;
  mem_free(text);
  return NULL;
}

/* ------------------------------------------------------------------
** What nobody will end
** ---------------------------------------------------------------- */

typedef struct brief {
  repo_stop stop; /* first */
  uint64_t until;
} brief;

static bool is_late(const repo_stop *stop) {
  return http_clock() > ((const brief *)stop)->until;
}

/* `id` is escaped. */
static error *abandon(s3 *s, const char *doing, const char *key, const char *id,
                      const repo_stop *stop, bool *gone) {
  buffer query = BUFFER_EMPTY;
  buffer_format(&query, "uploadId=%s", id);
  s3_call c = {.doing = doing,
               .method = "DELETE",
               .key = key,
               .query = query.data,
               .stop = stop};
  error *e = query.failed ? error_no_memory() : repo_s3_call(s, &c);
  *gone = e == NULL || c.trouble.fate == S3_ABSENT;
  buffer_free(&query);
  return e;
}

typedef struct leftover {
  char *key, *id;
  struct leftover *next;
} leftover;

static bool set_text(char **to, const char *text) {
  mem_free(*to);
  *to = mem_text(text);
  return *to != NULL;
}

/* Those that a list of uploads has. */
static leftover *read_leftovers(const buffer *answer) {
  leftover *all = NULL;
  char *key = NULL, *id = NULL;
  bool in_upload = false, good = true;
  http_xml x;
  http_xml_event event;
  http_xml_begin(&x, answer->data != NULL ? answer->data : "", answer->size);
  while (good && (event = http_xml_next(&x)) != HTTP_XML_END &&
         event != HTTP_XML_BAD) {
    if (event == HTTP_XML_OPEN && x.depth == 2)
      in_upload = http_xml_is(&x, "Upload");
    if (event != HTTP_XML_CLOSE) continue;
    if (x.depth == 2 && in_upload && http_xml_is(&x, "Key"))
      good = set_text(&key, http_xml_text(&x));
    if (x.depth == 2 && in_upload && http_xml_is(&x, "UploadId"))
      good = set_text(&id, http_xml_text(&x));
    if (x.depth != 1 || !http_xml_is(&x, "Upload") || key == NULL || id == NULL)
      continue;
    leftover *l = mem_alloc(sizeof *l);
    good = l != NULL;
    if (!good) break;
    *l = (leftover){key, id, all};
    all = l;
    key = id = NULL;
  }
  http_xml_end(&x);
  mem_free(key);
  mem_free(id);
  return all;
}

/* All below a prefix but one, as well as it goes: what stays is no harm but for
   what it costs. Several pages are read only while something goes. */
static void sweep(s3 *s, const char *prefix, const char *but,
                  const repo_stop *stop) {
  for (bool any = true; any;) {
    buffer query = BUFFER_EMPTY, answer = BUFFER_EMPTY;
    buffer_text(&query, "prefix=");
    http_sign_escape(&query, prefix, false);
    buffer_text(&query, "&uploads=");
    s3_call c = {.doing = "list incomplete uploads",
                 .method = "GET",
                 .query = query.data,
                 .into = &answer,
                 .most = (size_t)16 << 20,
                 .stop = stop};
    error *e = query.failed ? error_no_memory() : repo_s3_call(s, &c);
    leftover *all = e == NULL ? read_leftovers(&answer) : NULL;
    error_unref(e);
    buffer_free(&query);
    buffer_free(&answer);
    any = false;
    while (all != NULL) {
      leftover *l = all;
      all = l->next;
      bool gone = false;
      buffer id = BUFFER_EMPTY;
      http_sign_escape(&id, l->id, false);
      if (!id.failed && (but == NULL || strcmp(id.data, but) != 0) &&
          strncmp(l->key, prefix, strlen(prefix)) == 0)
        error_unref(
            abandon(s, "take an upload back", l->key, id.data, stop, &gone));
      any = any || gone;
      buffer_free(&id);
      mem_free(l->key);
      mem_free(l->id);
      mem_free(l);
    }
    if (repo_stopped(stop)) return;
  }
}

error *repo_s3_tidy(repo_store *store, const repo_stop *stop) {
  s3 *s = (s3 *)store;
  buffer prefix = BUFFER_EMPTY;
  error *e = repo_s3_forked(s);
  if (e != NULL) return e;
  if (s->prefix[0] != '\0') buffer_format(&prefix, "%s/", s->prefix);
  buffer_format(&prefix, "%s/", repo_file_folder(REPO_PACKS));
  if (!prefix.failed) sweep(s, prefix.data, NULL, stop);
  buffer_free(&prefix);
  return NULL;
}

/* ------------------------------------------------------------------
** Beginning, and taking back
** ---------------------------------------------------------------- */

static error *begin(upload *u) {
  buffer answer = BUFFER_EMPTY, id = BUFFER_EMPTY;
  char called[64];
  s3_call c = {.doing = u->put->c.doing,
               .method = "POST",
               .key = u->put->c.key,
               .query = "uploads=",
               .content_type = u->put->c.content_type,
               .pieces = &(repo_piece){"", 0},
               .piece_count = 1,
               .into = &answer,
               .most = ANSWER_MOST,
               .locks = u->put->c.locks,
               .once = true,
               .stop = u->put->c.stop};
  error *e = repo_s3_call(u->s, &c);
  if (e != NULL && (c.trouble.fate == S3_UNSUPPORTED || c.status == 405)) {
    /* It can do without, then. */
    pthread_mutex_lock(&u->s->lock);
    u->s->no_parts = true;
    pthread_mutex_unlock(&u->s->lock);
  }
  if (e == NULL) {
    char *text =
        child(&answer, "InitiateMultipartUploadResult", "UploadId", called);
    if (text == NULL || text[0] == '\0' || strlen(text) > 2000)
      e = damaged(u, "the server begins an upload, and does not say which");
    else
      http_sign_escape(&id, text, false);
    mem_free(text);
  }
  buffer_free(&answer);
  if (e == NULL) u->id = buffer_take(&id);
  if (e == NULL && u->id == NULL) e = error_no_memory();
  buffer_free(&id);
  /* A try whose answer was lost may have begun one that nobody knows. */
  brief b = {{is_late}, http_clock() + TAKE_BACK_MS};
  if (c.tries.count > 1 || (e != NULL && c.tries.count > 0 && c.status < 300))
    sweep(u->s, u->put->c.key, u->id, &b.stop);
  return e;
}

/* Whatever became of it, also when it was cancelled: so its own time. */
static error *take_back(upload *u, error *e) {
  brief b = {{is_late}, http_clock() + TAKE_BACK_MS};
  bool gone;
  error_unref(
      abandon(u->s, u->put->c.doing, u->put->c.key, u->id, &b.stop, &gone));
  if (gone || e == error_no_memory()) return e;
  error *made =
      repo_error(e->code,
                 "%s; and the parts of it that had arrived could not "
                 "be taken back: an incomplete upload stays until the "
                 "next prune",
                 e->message);
  if (made != error_no_memory()) {
    made->number = e->number;
    made->retryable = e->retryable;
  }
  return error_because(made, e);
}

/* ------------------------------------------------------------------
** Parts
** ---------------------------------------------------------------- */

/* The pieces of the next part; at most as many as there are in all. */
static size_t slice(upload *u, uint64_t size, repo_piece *part) {
  const s3_call *c = &u->put->c;
  size_t count = 0;
  while (size > 0 && u->piece < c->piece_count) {
    const repo_piece *p = &c->pieces[u->piece];
    size_t n = p->size - u->at;
    if (n > size) n = (size_t)size;
    if (n > 0) {
      part[count++] = (repo_piece){(const char *)p->data + u->at, n};
      repo_hash_add(u->whole, part[count - 1].data, n);
    }
    size -= n;
    u->at += n;
    if (u->at < p->size) break;
    u->piece++;
    u->at = 0;
  }
  return count;
}

/* Sent until the server has what we have. */
static error *send_part(upload *u, s3_call *c, const char *md5_hex) {
  for (unsigned tries = 0;;) {
    error *e = repo_s3_call(u->s, c);
    if (e != NULL) return e;
    if (c->etag[0] == '\0')
      return damaged(u, "the server does not say what it has of a part");
    const char *etag = c->etag[0] == '"' ? c->etag + 1 : c->etag;
    size_t hex = strspn(etag, "0123456789abcdef");
    if (hex != 32 || c->etag_is_no_md5 || strncmp(etag, md5_hex, 32) == 0)
      return NULL;
    if (++tries == TRIES)
      return damaged(u,
                     "what the server has of a part is not what was sent (its "
                     "ETag is another MD5)");
  }
}

static error *next_part(upload *u, repo_piece *part) {
  uint8_t md5[16];
  char payload[HTTP_SIGN_HEX], md5_hex[33];
  buffer query = BUFFER_EMPTY, md5_text = BUFFER_EMPTY;
  size_t count = slice(u, u->s->part_size, part);
  if (!repo_s3_sha256(part, count, payload) || !repo_s3_md5(part, count, md5))
    return repo_error(SAROS_E_FAIL, "OpenSSL has no SHA-256 or MD5 here");
  http_sign_hex(md5_hex, md5, sizeof md5);
  text_base64(&md5_text, md5, sizeof md5);
  buffer_put(&u->md5s, md5, sizeof md5);
  u->parts++;
  buffer_format(&query, "partNumber=%u&uploadId=%s", u->parts, u->id);
  s3_call c = {.doing = u->put->c.doing,
               .method = "PUT",
               .key = u->put->c.key,
               .query = query.data,
               .content_md5 = md5_text.data,
               .pieces = part,
               .piece_count = count,
               .payload = payload,
               .stop = u->put->c.stop};
  error *e = query.failed || md5_text.failed || u->md5s.failed
                 ? error_no_memory()
                 : send_part(u, &c, md5_hex);
  if (e == NULL) {
    buffer_format(&u->tags, "<Part><PartNumber>%u</PartNumber><ETag>",
                  u->parts);
    for (const char *t = c.etag; *t != '\0'; t++) /* it is quoted */
      if (*t == '"')
        buffer_text(&u->tags, "&quot;");
      else if (*t != '<' && *t != '&')
        buffer_byte(&u->tags, *t);
    buffer_text(&u->tags, "</ETag></Part>");
  }
  buffer_free(&query);
  buffer_free(&md5_text);
  return e;
}

static error *send_parts(upload *u, const repo_id *id) {
  repo_piece *part = mem_alloc((u->put->c.piece_count + 1) * sizeof *part);
  repo_id sent;
  if (part == NULL) return error_no_memory();
  error *e = NULL;
  buffer_text(&u->tags, "<CompleteMultipartUpload>");
  for (uint64_t at = 0; e == NULL && at < u->put->size; at += u->s->part_size)
    e = next_part(u, part);
  buffer_text(&u->tags, "</CompleteMultipartUpload>");
  mem_free(part);
  if (e != NULL) return e;
  /* The server verifies parts; that they are what they are called, we do. */
  repo_hash_end(u->whole, &sent);
  if (!repo_id_equal(&sent, id))
    return damaged(u,
                   "what was to be sent is not what it is called: the memory "
                   "of this machine changes it");
  return u->tags.failed ? error_no_memory() : NULL;
}

/* ------------------------------------------------------------------
** The end
** ---------------------------------------------------------------- */

/* An ETag that can be one is the MD5 of the parts' MD5s, and how many. */
static bool is_other(const upload *u, const s3_call *head) {
  uint8_t md5[16];
  char hex[33], expected[48];
  const char *etag = head->etag[0] == '"' ? head->etag + 1 : head->etag;
  size_t size = strspn(etag, "0123456789abcdef");
  repo_piece all = {u->md5s.data, u->md5s.size};
  if (head->etag_is_no_md5 || size != 32 || etag[32] != '-') return false;
  if (!repo_s3_md5(&all, 1, md5)) return false;
  http_sign_hex(hex, md5, sizeof md5);
  int n = snprintf(expected, sizeof expected, "%s-%u", hex, u->parts);
  return strncmp(etag, expected, (size_t)n) != 0;
}

static error *verify(upload *u, bool *there) {
  s3_call head = {
      .doing = u->put->c.doing, .key = u->put->c.key, .stop = u->put->c.stop};
  error *e = repo_s3_head(u->s, &head, there);
  if (e != NULL || !*there) return e;
  if (head.length != u->put->size)
    return damaged(u,
                   "the server said that it was stored, and it is of another "
                   "length");
  if (is_other(u, &head))
    return damaged(u,
                   "what the server has put together is not what was sent (its "
                   "ETag is another one)");
  /* Ceph takes what an upload that begins says of it, and forgets it. */
  if (u->s->lock_days > 0 && head.locked[0] == '\0')
    return repo_s3_lock_put(u->s, &u->put->c);
  return NULL;
}

/* Servers answer 200 before they know how it ends. */
static error *end(upload *u) {
  buffer query = BUFFER_EMPTY, answer = BUFFER_EMPTY;
  char payload[HTTP_SIGN_HEX], called[64] = "";
  repo_piece document = {u->tags.data, u->tags.size};
  bool there = false;
  buffer_format(&query, "uploadId=%s", u->id);
  error *e = query.failed || !repo_s3_sha256(&document, 1, payload)
                 ? error_no_memory()
                 : NULL;
  for (unsigned tries = 0; e == NULL && !there && tries < TRIES; tries++) {
    buffer_clear(&answer);
    s3_call c = {.doing = u->put->c.doing,
                 .method = "POST",
                 .key = u->put->c.key,
                 .query = query.data,
                 .content_type = "application/xml",
                 .pieces = &document,
                 .piece_count = 1,
                 .payload = payload,
                 .into = &answer,
                 .most = ANSWER_MOST,
                 .stop = u->put->c.stop};
    e = repo_s3_call(u->s, &c);
    /* It was ended already, in a try whose answer was lost? */
    bool lost = e != NULL && c.trouble.fate == S3_ABSENT;
    error *absent = e;
    if (lost) e = NULL;
    if (e == NULL)
      mem_free(child(&answer, "CompleteMultipartUploadResult", "ETag", called));
    if (e == NULL) e = verify(u, &there);
    if (lost && e == NULL && !there) {
      e = absent;
      absent = NULL;
    }
    if (lost) error_unref(absent);
  }
  buffer_free(&query);
  buffer_free(&answer);
  if (e != NULL || there) return e;
  char what[200];
  snprintf(what, sizeof what,
           "the server does not put its parts together, and answers %s",
           called[0] != '\0' ? called : "nothing that can be understood");
  return damaged(u, what);
}

bool repo_s3_goes_in_parts(s3 *s, const s3_put *p) {
  pthread_mutex_lock(&s->lock);
  bool can = !s->no_parts;
  pthread_mutex_unlock(&s->lock);
  return can && p->has_md5 && s->multipart_size > 0 &&
         p->size >= s->multipart_size && p->size > s->part_size;
}

error *repo_s3_put_parts(s3 *s, const s3_put *p, const repo_id *id) {
  upload u = {.s = s, .put = p, .whole = repo_hash_new()};
  error *e = u.whole == NULL ? error_no_memory() : begin(&u);
  if (e == NULL) {
    e = send_parts(&u, id);
    if (e == NULL) e = end(&u);
    if (e != NULL) e = take_back(&u, e);
  }
  repo_hash_free(u.whole);
  buffer_free(&u.tags);
  buffer_free(&u.md5s);
  mem_free(u.id);
  return e;
}
