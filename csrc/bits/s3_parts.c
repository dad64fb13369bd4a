/*
** The parts of an upload, some at a time: each is hashed, held against what the
** server has listed, sent if that is something else, and believed when its ETag
** says what was sent.
*/
#include <errno.h>
#include <string.h>
#include <strings.h>

#include "bits/s3_upload.h"

#define LIES 3 /* of one part, in a row */

static void next_part(s3_sender *e);

/* ------------------------------------------------------------------
** What is there
** ---------------------------------------------------------------- */

/* Few of them are remembered each, many in groups: what is forgotten is found
   again by hashing. */
static void note_progress(s3_upload *s) {
  unsigned group = s->m.count / 64;
  s->moved = true;
  s->u.file->bad_ranges = 0;
  if (++s->unsaved > group) s3_remember(s);
}

static bool is_there(s3_upload *s, unsigned i, const char *tag, bool is_md5) {
  buffer b = BUFFER_EMPTY;
  if (!is_md5) buffer_byte(&b, '!');
  buffer_text(&b, tag);
  mem_free(s->m.tags[i]);
  s->m.tags[i] = buffer_take(&b);
  buffer_free(&b);
  if (s->m.tags[i] == NULL) return false;
  s->u.settled += s3_memory_part(&s->m, i);
  return true;
}

/* What is remembered and listed alike needs no second look. */
static bool is_known(const s3_upload *s, unsigned i) {
  const char *tag = s->m.tags[i];
  const char *listed = s->listed != NULL ? s->listed[i].tag : NULL;
  if (tag == NULL || listed == NULL) return false;
  return strcmp(tag[0] == '!' ? tag + 1 : tag, listed) == 0;
}

static void believe_listing(s3_upload *s) {
  for (unsigned i = 0; i < s->m.count; i++) {
    if (is_known(s, i)) {
      s->u.settled += s3_memory_part(&s->m, i);
    } else {
      mem_free(s->m.tags[i]);
      s->m.tags[i] = NULL;
    }
  }
  upload_progress(&s->u);
}

/* ------------------------------------------------------------------
** One part
** ---------------------------------------------------------------- */

static void send_part(s3_sender *e);

static void part_lied(s3_sender *e, const char *what) {
  if (++e->tries < LIES)
    send_part(e);
  else
    s3_lied(e->s, what);
}

static void on_part(upload_call *c, const http_answer *a) {
  s3_sender *e = (s3_sender *)(void *)((char *)c - offsetof(s3_sender, call));
  s3_upload *s = e->s;
  if (upload_call_is_good(c, a) && !s->drops) {
    bool ours = c->etag_is_md5 && strcasecmp(c->etag, e->digest.md5_hex) == 0;
    /* Who makes another kind of tag has seen Content-MD5. */
    if (ours || (c->etag[0] != '\0' && !c->etag_is_md5)) {
      /* Also when the try is over: it has arrived. */
      if (is_there(s, e->part, c->etag, ours))
        note_progress(s);
      else
        upload_fail_memory(&s->u);
      e->tries = 0;
      next_part(e);
    } else if (!s->u.over) {
      part_lied(e, c->etag[0] == '\0'
                       ? "the server does not say what it has of a part"
                       : "what the server has of a part is not what was sent "
                         "(its ETag is another MD5)");
    }
    return;
  }
  if (s->u.over) return;
  if (c->number != 0) {
    s3_digest_failed(s, c->number);
  } else if (upload_is_changed(&s->u.local, s->u.file->path)) {
    s3_changed(s);
  } else if (a->status == 417 && !c->plainly) {
    s->plainly = true; /* whatever the end: libcurl has tried by itself, too */
    send_part(e);
  } else if (strcmp(c->problem.name, "NoSuchUpload") == 0) {
    upload_over(&s->u, /* somebody has taken it away: it is looked for */
                &(bits_result){.end = BITS_END_AT_ONCE,
                               .context = BITS_CONTEXT_REMOTE,
                               .why = "the server knows nothing of the upload "
                                      "any more"},
                false);
  } else {
    s3_refused(s, c, a, true);
  }
}

static void send_part(s3_sender *e) {
  s3_upload *s = e->s;
  buffer_clear(&e->query);
  buffer_format(&e->query, "partNumber=%u&uploadId=", e->part + 1);
  http_sign_escape(&e->query, s->m.id, false);
  if (e->query.failed) {
    upload_fail_memory(&s->u);
    return;
  }
  upload_call_free(&e->call);
  e->call = (upload_call){.u = &s->u,
                          .method = "PUT",
                          .query = e->query.data,
                          .fields = BITS_S3_FEW,
                          .gives = true,
                          .from = (uint64_t)e->part * s->m.part,
                          .size = s3_memory_part(&s->m, e->part),
                          .digest = &e->digest,
                          .plainly = s->plainly,
                          .done = on_part};
  upload_call_start(&e->call);
}

static void on_digest(upload *u, upload_digest *d, int number) {
  s3_sender *e = (s3_sender *)(void *)((char *)d - offsetof(s3_sender, digest));
  s3_upload *s = s3_of(u);
  if (u->over) return;
  if (number != 0) {
    s3_digest_failed(s, number);
    return;
  }
  const char *listed = s->listed != NULL ? s->listed[e->part].tag : NULL;
  if (listed == NULL || strcasecmp(listed, d->md5_hex) != 0) {
    send_part(e);
  } else if (!is_there(s, e->part, d->md5_hex, true)) {
    upload_fail_memory(u);
  } else {
    s->unsaved++;
    upload_progress(u);
    next_part(e);
  }
}

/* ------------------------------------------------------------------
** All parts
** ---------------------------------------------------------------- */

static bool any_busy(const s3_upload *s) {
  for (unsigned i = 0; i < S3_FLIGHT; i++)
    if (s->senders[i].busy) return true;
  return false;
}

/* Over plain HTTP nothing but the signature protects what is sent. */
static bool is_plain(const s3_upload *s) {
  return strncasecmp(s->u.file->url, "https:", 6) != 0;
}

static void next_part(s3_sender *e) {
  s3_upload *s = e->s;
  e->busy = false;
  if (s->u.over) return;
  while (s->next < s->m.count && s->m.tags[s->next] != NULL) s->next++;
  if (s->next == s->m.count) {
    if (any_busy(s)) return;
    s3_remember(s);
    s->then(s);
    return;
  }
  e->busy = true;
  e->part = s->next++;
  uint64_t from = (uint64_t)e->part * s->m.part;
  e->digest = (upload_digest){.u = &s->u,
                              .at = from,
                              .end = from + s3_memory_part(&s->m, e->part),
                              .wants_md5 = true,
                              .wants_sha256 = is_plain(s),
                              .done = on_digest};
  if (!upload_digest_start(&e->digest)) upload_fail_memory(&s->u);
}

void s3_parts_send(s3_upload *s) {
  unsigned most = s->u.terms->per_host;
  unsigned flight = most > 0 && most < S3_FLIGHT ? most : S3_FLIGHT;
  s->next = 0;
  s->u.settled = 0;
  believe_listing(s);
  for (unsigned i = 0; i < flight && !s->u.over; i++) {
    s->senders[i].s = s;
    s->senders[i].tries = 0;
    s->senders[i].busy = true; /* so that only the last finds nothing more */
  }
  for (unsigned i = 0; i < flight && !s->u.over; i++) next_part(&s->senders[i]);
}
