/*
** The header of an answer, held against what was asked and what is known. It
** is believed only where everything that it says agrees: a doubt costs one more
** request, a wrong belief a wrong file.
*/
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "bits/address.h"
#include "bits/judge.h"

/* ------------------------------------------------------------------
** What is known of a representation
** ---------------------------------------------------------------- */

#define VALIDATOR_MOST 1024u
#define STRONG_AFTER 60 /* seconds: RFC 9110, 8.8.2.2 */

/* Of a field that may come once. NULL: none, or several that differ. */
static const char *only(const http_answer *a, const char *name) {
  const char *field, *text, *found = NULL;
  if (a->fields == NULL) return NULL;
  for (size_t i = 0; http_answer_at(a, i, &field, &text); i++) {
    if (strcasecmp(field, name) != 0) continue;
    if (found != NULL && strcmp(found, text) != 0) return NULL;
    found = text;
  }
  return found;
}

static bool has_field(const http_answer *a, const char *name) {
  return a->fields != NULL && http_answer_field(a, name) != NULL;
}

/* An entity-tag that is one: W/"…" or "…". */
static bool is_tag(const char *text) {
  if (strncmp(text, "W/", 2) == 0) text += 2;
  size_t size = strlen(text);
  if (size < 2 || size > VALIDATOR_MOST) return false;
  if (text[0] != '"' || text[size - 1] != '"') return false;
  for (size_t i = 1; i + 1 < size; i++) {
    unsigned char c = (unsigned char)text[i];
    if (c <= ' ' || c == '"' || c == 0x7F) return false;
  }
  return true;
}

static const char *tag_of(const http_answer *a) {
  const char *text = only(a, "etag");
  return text != NULL && is_tag(text) ? text : NULL;
}

static bool is_strong(const char *tag) {
  return tag[0] == '"';
}

/* Last-Modified: two changes in one second have the same, so it is worth
   something only when the answer is a good deal younger. */
static const char *modified_of(const http_answer *a) {
  const char *text = only(a, "last-modified");
  int64_t then, date;
  if (text == NULL || strlen(text) > VALIDATOR_MOST) return NULL;
  if (!http_date(text, &then) || !http_answer_date(a, &date)) return NULL;
  return then <= date - STRONG_AFTER ? text : NULL;
}

static const char *encoding_of(const http_answer *a) {
  if (a->fields == NULL) return NULL;
  const char *text = http_answer_field(a, "content-encoding");
  if (text == NULL || strcasecmp(text, "identity") == 0 || text[0] == '\0')
    return NULL;
  return text;
}

/* Base64 of so many bytes, as "sha-256:<hex>". False: no memory. NULL where it
   is none. */
static bool put_digest(char **digest, const char *name, size_t bytes,
                       const char *text, size_t size) {
  buffer raw = BUFFER_EMPTY, hex = BUFFER_EMPTY;
  if (text_unbase64(&raw, text, size) && raw.size == bytes) {
    buffer_format(&hex, "%s:", name);
    for (size_t i = 0; i < raw.size; i++)
      buffer_format(&hex, "%02x", (unsigned char)raw.data[i]);
  }
  bool failed = hex.failed || raw.failed;
  buffer_free(&raw);
  if (hex.size > 0) *digest = buffer_take(&hex);
  return !failed;
}

/* "sha-256=:<base64>:", or "SHA-256=<base64>". */
static bool read_digest(char **digest, const char *text, bool colons) {
  static const char *const names[] = {"sha-256", "sha-512"};
  for (size_t i = 0; i < 2; i++) {
    if (strncasecmp(text, names[i], 7) != 0 || text[7] != '=') continue;
    text += 8;
    if (colons && *text++ != ':') return true;
    size_t size = strcspn(text, colons ? ":" : ", \t;");
    if (colons && text[size] != ':') return true;
    return put_digest(digest, names[i], i == 0 ? 32 : 64, text, size);
  }
  return true;
}

/* The first of the field that is known here. */
static bool find_digest(char **digest, const http_answer *a, const char *name,
                        bool colons) {
  const char *text = *digest == NULL ? only(a, name) : NULL;
  bool good = true;
  for (; good && text != NULL && *digest == NULL; text = strchr(text, ',')) {
    text += strspn(text, ", \t");
    good = read_digest(digest, text, colons);
  }
  return good;
}

/* Of all of it. What is said of the content is that where all is sent; and
   what S3 says of one that was uploaded in parts is none of its bytes. */
static bool find_digests(char **digest, const http_answer *a) {
  bool all = a->status == 200;
  bool good = find_digest(digest, a, "repr-digest", true);
  if (good && all) good = find_digest(digest, a, "content-digest", true);
  if (good) good = find_digest(digest, a, "digest", false);
  const char *text =
      all && *digest == NULL ? only(a, "x-amz-checksum-sha256") : NULL;
  if (good && text != NULL)
    good = put_digest(digest, "sha-256", 32, text, strlen(text));
  return good;
}

static bool keep(char **to, const char *text) {
  if (text == NULL) return true;
  *to = mem_text(text);
  return *to != NULL;
}

bits_known *judge_know(const http_answer *a) {
  bits_known *k = mem_zero(sizeof *k);
  if (k == NULL) return NULL;
  k->total = a->status == 206 ? a->total : a->length;
  if (keep(&k->etag, tag_of(a)) && keep(&k->modified, modified_of(a)) &&
      keep(&k->encoding, encoding_of(a)) && find_digests(&k->digest, a))
    return k;
  bits_known_free(k);
  return NULL;
}

const char *judge_if_range(const bits_known *k) {
  if (k == NULL) return NULL;
  if (k->etag != NULL && is_strong(k->etag)) return k->etag;
  return k->modified;
}

bool judge_can_resume(const bits_known *k) {
  return judge_if_range(k) != NULL;
}

/* ------------------------------------------------------------------
** Whether it is still the same
** ---------------------------------------------------------------- */

typedef enum likeness {
  SAME,     /* what identifies it is there, and is the same */
  SILENT,   /* it is not there */
  DIFFERENT /* something is there, and is another */
} likeness;

static likeness compare(const bits_known *k, const http_answer *a) {
  const char *tag = only(a, "etag"), *modified = only(a, "last-modified");
  bool proven = false;
  /* Twice and not the same: whoever says so says nothing. */
  if (tag == NULL && has_field(a, "etag")) return DIFFERENT;
  if (modified == NULL && has_field(a, "last-modified")) return DIFFERENT;
  if (k->etag != NULL && tag != NULL) {
    if (strcmp(k->etag, tag) != 0) return DIFFERENT;
    proven = is_strong(tag);
  }
  if (k->modified != NULL && modified != NULL) {
    if (strcmp(k->modified, modified) != 0) return DIFFERENT;
    proven = proven || k->etag == NULL || !is_strong(k->etag);
  }
  return proven ? SAME : SILENT;
}

/* A part need not say it again: then it is as the whole was. */
static bool same_encoding(const bits_known *k, const http_answer *a) {
  const char *encoding = encoding_of(a);
  if (encoding == NULL) return k->encoding == NULL || a->status == 206;
  return k->encoding != NULL && strcasecmp(encoding, k->encoding) == 0;
}

/* ------------------------------------------------------------------
** The table
** ---------------------------------------------------------------- */

typedef struct question {
  const judge_asked *asked;
  const bits_terms *terms;
  const bits_file *file;
  const http_answer *a;
  bits_result *r;
} question;

__attribute__((format(printf, 5, 6))) static judge_verdict fail(
    const question *q, bits_end end, uint32_t code, unsigned transport,
    const char *format, ...) {
  bits_result *r = q->r;
  r->end = end;
  r->code = code;
  r->context = BITS_CONTEXT_REMOTE;
  r->transport = transport;
  va_list args;
  va_start(args, format);
  judge_say(r, q->a, format, args);
  va_end(args);
  return JUDGE_FAIL;
}

static bool wants_ranges(const bits_file *f) {
  return f->extra != NULL && f->extra->range_count > 0;
}

static judge_verdict changed(const question *q) {
  if (q->terms->restart_changed) return JUDGE_CHANGED;
  return fail(q, BITS_END_FAILED, BG_E_HTTP(412), 0,
              "it has changed on the server since its first part came, and "
              "the job does not allow to begin again; set restart_changed, or "
              "make a new job");
}

static judge_verdict contradicts(const question *q, const char *what) {
  return fail(q, BITS_END_AGAIN, BG_E_INVALID_SERVER_RESPONSE, 0,
              "%s; what is already here is kept, and it is tried again", what);
}

/* A Content-Range that means less than all. There should be none; but there
   are caches that have kept a part of it, and give it away as all. Who errs in
   that may err in how it is written. */
static bool names_part(const http_answer *a) {
  const char *field = only(a, "content-range");
  char *end;
  if (field == NULL || strncasecmp(field, "bytes", 5) != 0) return false;
  field += 5;
  field += strspn(field, " \t=");
  unsigned long long from = strtoull(field, &end, 10);
  if (end == field || *end != '-') return false;
  unsigned long long last = strtoull(end + 1, &end, 10);
  if (from > 0) return true;
  return *end == '/' && end[1] != '*' && strtoull(end + 1, NULL, 10) > last + 1;
}

static judge_verdict makes_no_sense(const question *q, const char *why) {
  http_answer wrong = *q->a;
  wrong.end = HTTP_WRONG;
  wrong.why = why;
  judge_failure(&wrong, q->file->wrongs, q->r);
  return JUDGE_FAIL;
}

/* All of it: from the beginning. */
static judge_verdict judge_all(const question *q) {
  const http_answer *a = q->a;
  if (names_part(a))
    return makes_no_sense(q, "it is to be all of it, and names a part");
  const char *coding =
      a->fields == NULL ? NULL : http_answer_field(a, "transfer-encoding");
  if (a->length == HTTP_UNKNOWN && coding == NULL && q->terms->length_required)
    return fail(q, BITS_END_FAILED, BG_E_MISSING_FILE_SIZE, 0,
                "the server does not say how long it is, so that nobody can "
                "tell whether it is whole; set length_required = false to "
                "take it all the same");
  if (a->length != HTTP_UNKNOWN && q->terms->most > 0 &&
      a->length > q->terms->most)
    return fail(q, BITS_END_FAILED, BG_E_TOO_LARGE, 0,
                "it is %llu bytes long, and the job allows %llu",
                (unsigned long long)a->length,
                (unsigned long long)q->terms->most);
  return JUDGE_STORE;
}

/* All of it, where a part had been asked for. */
static judge_verdict judge_instead(const question *q) {
  const bits_known *k = q->asked->known;
  const http_answer *a = q->a;
  if (wants_ranges(q->file) && (k == NULL || !q->asked->conditional))
    return fail(q, BITS_END_FAILED, BG_E_INSUFFICIENT_RANGE_SUPPORT, 0,
                "parts of it are wanted, and the server gives only all of it");
  if (k == NULL) return judge_all(q);
  likeness like = compare(k, a);
  if (like == DIFFERENT || !same_encoding(k, a)) return changed(q);
  if (like == SILENT)
    return judge_can_resume(k)
               ? contradicts(q,
                             "the answer does not say any more which "
                             "version of it this is")
               : changed(q);
  if (k->total != BITS_UNKNOWN && a->length != HTTP_UNKNOWN &&
      k->total != a->length)
    return contradicts(q,
                       "the server says that it is the same as before, "
                       "and of another length");
  return q->asked->conditional ? JUDGE_BARE : JUDGE_RESTART;
}

/* Whether the part that came is the one that was asked for. */
static bool is_part(const question *q) {
  const judge_asked *asked = q->asked;
  const http_answer *a = q->a;
  const char *type = a->fields == NULL ? NULL : only(a, "content-type");
  if (type != NULL && strncasecmp(type, "multipart/", 10) == 0) return false;
  if (has_field(a, "content-range") && only(a, "content-range") == NULL)
    return false;
  if (a->from != asked->from || a->last < a->from || a->last > asked->last)
    return false;
  if (a->total != HTTP_UNKNOWN && a->total <= a->last) return false;
  return a->length == HTTP_UNKNOWN || a->length == a->last - a->from + 1;
}

static judge_verdict judge_part(const question *q) {
  const bits_known *k = q->asked->known;
  const http_answer *a = q->a;
  if (!q->asked->ranged)
    return contradicts(q, "the server sent a part of it unasked");
  if (k == NULL)
    return is_part(q) && wants_ranges(q->file) ? JUDGE_CONTINUE : JUDGE_RESTART;
  likeness like = compare(k, a);
  if (like == DIFFERENT) return changed(q);
  if (!is_part(q) || !same_encoding(k, a)) return JUDGE_RESTART;
  /* With If-Range the part itself says that it is the same, and need not say
     when that was changed; but its ETag it has to (RFC 9110, 15.3.7): who does
     not may not know If-Range either, and have another version. */
  bool is_said = k->etag == NULL || has_field(a, "etag");
  if (like == SILENT &&
      !(is_said && q->asked->conditional && judge_can_resume(k)))
    return JUDGE_RESTART;
  if (k->total != BITS_UNKNOWN &&
      (a->last >= k->total ||
       (a->total != HTTP_UNKNOWN && a->total != k->total)))
    return JUDGE_RESTART;
  return JUDGE_CONTINUE;
}

/* "bytes" and a star, a slash and a number. */
static bool says_total(const http_answer *a, uint64_t total) {
  char text[40];
  const char *field = only(a, "content-range");
  if (field == NULL) return !has_field(a, "content-range");
  snprintf(text, sizeof text, "bytes */%llu", (unsigned long long)total);
  return strcasecmp(field, text) == 0;
}

static judge_verdict lies_beyond(const question *q) {
  return fail(q, BITS_END_FAILED, BG_E_INVALID_RANGE, 416,
              "the part of it that is wanted lies beyond its end");
}

static judge_verdict judge_beyond(const question *q) {
  const bits_known *k = q->asked->known;
  if (!q->asked->ranged)
    return contradicts(q, "the server refuses a range, and none was asked for");
  if (k == NULL) {
    return wants_ranges(q->file) ? lies_beyond(q) : JUDGE_RESTART;
  }
  if (compare(k, q->a) == DIFFERENT) return changed(q);
  if (wants_ranges(q->file) && k->total != BITS_UNKNOWN &&
      q->asked->from >= k->total && says_total(q->a, k->total))
    return lies_beyond(q);
  if (k->total != BITS_UNKNOWN && judge_can_resume(k) &&
      !wants_ranges(q->file) && atomic_load(&q->file->have) == k->total &&
      says_total(q->a, k->total))
    return JUDGE_HAVE_ALL;
  return JUDGE_RESTART;
}

judge_verdict judge_answer(const judge_asked *asked, const bits_terms *terms,
                           const bits_file *f, const http_answer *a,
                           bits_result *r) {
  buffer url = BUFFER_EMPTY;
  http_answer shown = *a;
  if ((a->url == NULL || a->url[0] == '\0') && f->url != NULL) {
    bits_address_show(&url, f->url);
    shown.url = url.failed ? NULL : url.data;
  }
  const question q = {asked, terms, f, &shown, r};
  memset(r, 0, sizeof *r);
  judge_verdict verdict = JUDGE_FAIL;
  if (a->end == HTTP_WRONG && a->status == 206 && asked->ranged) {
    verdict = JUDGE_RESTART; /* its header names no part, or another */
  } else if (a->end == HTTP_WHOLE && a->status == 200) {
    verdict = asked->ranged ? judge_instead(&q) : judge_all(&q);
  } else if (a->end == HTTP_WHOLE && a->status == 206) {
    verdict = judge_part(&q);
  } else if (a->end == HTTP_WHOLE && a->status == 416) {
    verdict = judge_beyond(&q);
  } else if (a->end == HTTP_WHOLE && a->status == 412 && asked->ranged &&
             asked->known != NULL) {
    verdict = changed(&q);
  } else {
    judge_failure(&shown, f->wrongs, r);
  }
  buffer_free(&url);
  return verdict;
}
