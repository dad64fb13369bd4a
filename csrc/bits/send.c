/*
** One PUT. It is not resumed, it begins again; and that the server has it is
** not believed but looked at: an ETag that can be an MD5 has to be ours, and
** what is there has to be as long as the file. (The tag alone may be of what
** came, and not of what was stored.) Where neither can be had it is marked as
** unproven.
*/
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "bits/upload.h"

#define LIES 3  /* that a server may store something else, in a row */
#define LOOKS 3 /* at what is there, when it cannot be seen */

typedef struct sending {
  upload u; /* first */
  upload_call put, head;
  upload_digest digest; /* of what is signed, or the caller knows */
  bool digested;
  bool tagged; /* the PUT's ETag is the MD5 of what was sent */
  unsigned looks;
  char md5[33]; /* of it, or "" */
} sending;

static sending *sending_of(upload *u) {
  return (sending *)u;
}

static void free_sending(upload *u) {
  sending *s = sending_of(u);
  upload_call_free(&s->put);
  upload_call_free(&s->head);
  mem_free(s);
}

/* ------------------------------------------------------------------
** Whether it has arrived
** ---------------------------------------------------------------- */

static void arrived(sending *s, bool proven, bool verified) {
  upload *u = &s->u;
  if (upload_is_changed(&u->local, u->file->path)) {
    upload_fail_changed(u);
    return;
  }
  u->settled = u->local.size;
  upload_progress(u);
  u->file->restarts = u->file->bad_ranges = 0;
  bits_file_mark(u->file, proven ? BITS_FILE_VERIFIED : BITS_FILE_UNPROVEN,
                 proven ? BITS_FILE_UNPROVEN : BITS_FILE_VERIFIED);
  upload_over(u,
              &(bits_result){.end = BITS_END_WHOLE,
                             .moved = true,
                             .proven = proven,
                             .verified = verified},
              false);
}

/* It says that it has stored it, and it has something else. */
static void lied(sending *s, const char *what) {
  upload *u = &s->u;
  if (upload_is_changed(&u->local, u->file->path)) {
    upload_fail_changed(u);
    return;
  }
  bool enough = ++u->file->restarts >= LIES;
  if (enough) u->file->restarts = 0;
  upload_fail(u, enough ? BITS_END_FAILED : BITS_END_AGAIN,
              BG_E_VALIDATION_FAILED, BITS_CONTEXT_REMOTE,
              "the server says that it has stored the file, and %s", what);
}

/* An ETag that can be an MD5 and is another one. */
static bool is_other(const sending *s, const upload_call *c) {
  return c->etag_is_md5 && s->md5[0] != '\0' &&
         strcasecmp(c->etag, s->md5) != 0;
}

static bool is_ours(const sending *s, const upload_call *c) {
  return c->etag_is_md5 && strcasecmp(c->etag, s->md5) == 0;
}

static void look(sending *s);

static void on_head(upload_call *c, const http_answer *a) {
  sending *s = sending_of(c->u);
  if (c->u->over) return;
  if (upload_call_is_good(c, a) && a->length != HTTP_UNKNOWN) {
    if (a->length != c->u->local.size)
      lied(s, "it is of another length there");
    else if (is_other(s, c))
      lied(s, "the ETag of what is there is the MD5 of something else");
    else
      arrived(s, true, s->tagged || is_ours(s, c));
    return;
  }
  bool passing = a->end == HTTP_CUT || a->end == HTTP_STALLED ||
                 a->end == HTTP_UNREACHED || a->status >= 500;
  if (passing && ++s->looks < LOOKS) {
    look(s);
    return;
  }
  /* Who says that it is not there may not show what he takes; or has lost it,
     though he had seen all of it. */
  bool gone = a->status == 404 || a->status == 410;
  arrived(s, s->tagged && !gone, s->tagged && !gone);
}

static void look(sending *s) {
  upload_call_free(&s->head);
  s->head = (upload_call){
      .u = &s->u, .method = "HEAD", .fields = BITS_S3_FEW, .done = on_head};
  upload_call_start(&s->head);
}

/* It makes what is at an address, and makes it again. */
static bool is_put(const char *method) {
  return strcmp(method, "PUT") == 0;
}

static void judge_tag(sending *s) {
  if (s->digested && s->digest.wants_md5)
    memcpy(s->md5, s->digest.md5_hex, sizeof s->md5);
  else if (!upload_call_md5(&s->put, s->md5))
    s->md5[0] = '\0';
  s->tagged = is_ours(s, &s->put);
  /* What else is done with a file need not be found at its address. */
  if (!is_put(s->put.method))
    arrived(s, s->tagged, s->tagged);
  else if (is_other(s, &s->put))
    lied(s, "its ETag is the MD5 of something else");
  else
    look(s);
}

/* ------------------------------------------------------------------
** Sending
** ---------------------------------------------------------------- */

static void put(sending *s, bool plainly);

static void on_put(upload_call *c, const http_answer *a) {
  upload *u = c->u;
  sending *s = sending_of(u);
  bits_result r = {0};
  if (u->over) return;
  if (c->number != 0) {
    upload_fail_local(u, c->number, "read");
  } else if (upload_call_is_good(c, a)) {
    judge_tag(s);
  } else if (upload_is_changed(&u->local, u->file->path)) {
    upload_fail_changed(u);
  } else if (a->status == 417 && !c->plainly && !c->once) {
    put(s, true); /* whatever the end: libcurl has tried by itself, too */
  } else {
    unsigned tries = u->file->bad_ranges;
    if (bits_s3_is_wanted(u->terms))
      bits_s3_judge(a, &c->problem, tries, &r);
    else
      judge_failure(a, tries, &r);
    upload_count(u, &r);
    upload_over(u, &r, false);
  }
}

static void put(sending *s, bool plainly) {
  upload *u = &s->u;
  const char *method = u->terms->method != NULL ? u->terms->method : "PUT";
  upload_call_free(&s->put);
  s->put = (upload_call){.u = u,
                         .method = method,
                         .fields = BITS_S3_ALL,
                         .gives = true,
                         .size = u->local.size,
                         .digest = s->digested ? &s->digest : NULL,
                         .sha256 = s->digested && bits_s3_is_wanted(u->terms)
                                       ? s->digest.sha256
                                       : NULL,
                         .once = !is_put(method),
                         .plainly = plainly,
                         .hashes = !s->digested || !s->digest.wants_md5,
                         .done = on_put};
  upload_call_start(&s->put);
}

static const char *known_sha256(const bits_file *f) {
  return f->extra != NULL ? f->extra->sha256 : NULL;
}

static void on_digest(upload *u, upload_digest *d, int number) {
  sending *s = sending_of(u);
  const char *known = known_sha256(u->file);
  if (u->over) return;
  if (number == ENOSYS) {
    upload_fail(u, BITS_END_FAILED, SAROS_E_FAIL, BITS_CONTEXT_LOCAL,
                "OpenSSL has no MD5 or no SHA-256 here");
  } else if (number == ENOMEM) {
    upload_fail_memory(u);
  } else if (number != 0) {
    upload_fail_local(u, number, "read");
  } else if (known != NULL && strcasecmp(known, d->sha256) != 0) {
    upload_fail(u, BITS_END_FAILED, BG_E_VALIDATION_FAILED, BITS_CONTEXT_LOCAL,
                "the file is not what it should be: its SHA-256 is another one "
                "than the job says, and nothing was sent");
  } else {
    s->digested = true;
    put(s, false);
  }
}

static void first(upload *u) {
  sending *s = sending_of(u);
  const char *what;
  int number = upload_open(&u->local, u->file->path, &what);
  if (number != 0) {
    upload_fail_local(u, number, what);
    return;
  }
  bits_s3_place_begin(&u->place, u->terms, u->file->url);
  bits_file_size(u->file, u->local.size);
  if (u->terms->most > 0 && u->local.size > u->terms->most) {
    upload_fail(u, BITS_END_FAILED, BG_E_TOO_LARGE, BITS_CONTEXT_LOCAL,
                "the file has %llu bytes, and at most %llu are to be sent",
                (unsigned long long)u->local.size,
                (unsigned long long)u->terms->most);
    return;
  }
  bool is_signed = bits_s3_is_wanted(u->terms);
  if (!is_signed && known_sha256(u->file) == NULL) {
    put(s, false);
    return;
  }
  s->digest = (upload_digest){.u = u,
                              .end = u->local.size,
                              .wants_md5 = is_signed,
                              .wants_sha256 = true,
                              .done = on_digest};
  if (!upload_digest_start(&s->digest)) upload_fail_memory(u);
}

bits_try *bits_send_start(const bits_try_ask *ask, error **e) {
  sending *s = mem_zero(sizeof *s);
  *e = NULL;
  if (s == NULL) {
    *e = error_no_memory();
    return NULL;
  }
  s->u.frees = free_sending;
  if (upload_begin(&s->u, ask, first, e)) return &s->u.try;
  mem_free(s);
  return NULL;
}
