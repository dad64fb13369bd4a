/*
** The end of an upload in parts: they are put together, and what is there then
** is looked at. An answer that was lost is found here, too.
*/
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "bits/s3_upload.h"

#define LOOKS 3

/* Another try, once it is forgotten for good. */
static void start_over(s3_upload *s) {
  s3_memory_forget(&s->m);
  s3_remember(s);
  upload_over(&s->u,
              &(bits_result){.end = BITS_END_AT_ONCE,
                             .context = BITS_CONTEXT_REMOTE,
                             .why = "the server knows nothing of the upload "
                                    "any more"},
              false);
}

/* ------------------------------------------------------------------
** The end: what is there
** ---------------------------------------------------------------- */

/* The MD5 of the parts' MD5s, and how many; "" when they are not known. */
static void compose(const s3_upload *s, char tag[48]) {
  uint8_t md5[16], *all = mem_alloc(s->m.count * 16);
  char hex[33];
  tag[0] = '\0';
  bool good = all != NULL;
  for (unsigned i = 0; good && i < s->m.count; i++) {
    const char *text = s->m.tags[i];
    good = text != NULL && strlen(text) == 32;
    for (unsigned k = 0; good && k < 16; k++) {
      unsigned byte;
      good = sscanf(text + 2 * k, "%2x", &byte) == 1;
      all[i * 16 + k] = (uint8_t)byte;
    }
  }
  if (good && EVP_Digest(all, s->m.count * 16, md5, NULL, EVP_md5(), NULL)) {
    http_sign_hex(hex, md5, sizeof md5);
    snprintf(tag, 48, "%s-%u", hex, s->m.count);
  }
  mem_free(all);
}

/* -1: it is another object's; 0: it says nothing; 1: it is ours. */
static int tag_says(const s3_upload *s, const char *etag, bool sealed) {
  char ours[48];
  compose(s, ours);
  if (ours[0] == '\0' || sealed || strlen(etag) < 34 ||
      strspn(etag, "0123456789abcdefABCDEF") != 32 || etag[32] != '-')
    return 0;
  return strcasecmp(etag, ours) == 0 ? 1 : -1;
}

static void arrived(s3_upload *s, bool proven, bool verified) {
  upload *u = &s->u;
  u->settled = s->m.size;
  upload_progress(u);
  u->file->restarts = u->file->bad_ranges = 0;
  s3_memory_forget(&s->m);
  s3_leave_rest(s);
  bits_file_mark(u->file, proven ? BITS_FILE_VERIFIED : BITS_FILE_UNPROVEN,
                 proven ? BITS_FILE_UNPROVEN : BITS_FILE_VERIFIED);
  upload_over(u,
              &(bits_result){.end = BITS_END_WHOLE,
                             .moved = true,
                             .proven = proven,
                             .verified = verified},
              false);
}

/* It says that it has put it together, and there is something else. */
static void was_no_truth(s3_upload *s, const char *what) {
  s3_memory_forget(&s->m);
  s3_remember(s);
  s3_lied(s, what);
}

/* What is there may be ours, of a try whose answer was lost. */
static void judge_lost(s3_upload *s, const upload_call *c,
                       const http_answer *a) {
  const char *sha256 = http_answer_field(a, "x-amz-meta-sha256");
  bool there = upload_call_is_good(c, a) && a->length == s->m.size;
  int says = there ? tag_says(s, c->etag, c->etag_is_sealed) : -1;
  if (says == 0 && (s->m.sha256 == NULL || sha256 == NULL ||
                    strcasecmp(sha256, s->m.sha256) != 0))
    says = -1;
  if (says < 0)
    start_over(s);
  else
    arrived(s, true, says > 0);
}

static void on_look(upload_call *c, const http_answer *a) {
  s3_upload *s = s3_of(c->u);
  if (c->u->over) return;
  int completed = tag_says(s, s->completed, false);
  if (a->end != HTTP_WHOLE || a->status >= 500) {
    if (++s->looks < LOOKS)
      s3_look(s);
    else
      s3_refused(s, c, a, false);
  } else if (!s->is_completed) {
    judge_lost(s, c, a);
  } else if (a->status == 404) {
    was_no_truth(s,
                 "the server says that it has put the file together, and it "
                 "is not there");
  } else if (completed < 0) {
    was_no_truth(s,
                 "what the server says that it has put together is not what "
                 "was sent (its ETag is another one)");
  } else if (!upload_call_is_good(c, a)) {
    arrived(s, completed > 0, completed > 0); /* it shows nobody */
  } else if (a->length != HTTP_UNKNOWN && a->length != s->m.size) {
    was_no_truth(s,
                 "the server says that it has put the file together, and it "
                 "is of another length");
  } else {
    int says = tag_says(s, c->etag, c->etag_is_sealed);
    if (says < 0)
      was_no_truth(s,
                   "what the server has put together is not what was sent "
                   "(its ETag is another one)");
    else
      arrived(s, says > 0 || a->length == s->m.size, says > 0);
  }
}

void s3_look(s3_upload *s) {
  upload_call_free(&s->call);
  s->call = (upload_call){
      .u = &s->u, .method = "HEAD", .fields = BITS_S3_FEW, .done = on_look};
  upload_call_start(&s->call);
}

/* ------------------------------------------------------------------
** Putting it together
** ---------------------------------------------------------------- */

/* 200 comes before it is known how it ends. */
static void on_complete(upload_call *c, const http_answer *a) {
  s3_upload *s = s3_of(c->u);
  char called[64];
  if (c->u->over) return;
  if (a->end == HTTP_WHOLE && a->status == 404 &&
      strcmp(c->problem.name, "NoSuchBucket") != 0) {
    s->was_lost = true;
    s3_look(s);
    return;
  }
  if (upload_call_is_good(c, a)) {
    char *etag = s3_xml_text(&c->answer, "CompleteMultipartUploadResult",
                             "ETag", called);
    if (strcmp(called, "CompleteMultipartUploadResult") == 0) {
      const char *text = etag != NULL ? etag : "";
      size_t quoted = text[0] == '"';
      snprintf(s->completed, sizeof s->completed, "%.*s",
               (int)strcspn(text + quoted, "\""), text + quoted);
      mem_free(etag);
      s->is_completed = true;
      s3_look(s);
      return;
    }
    mem_free(etag);
    bits_s3_problem(s->u.terms, c->answer.data, c->answer.size, &c->problem);
    if (c->problem.name[0] == '\0') {
      s3_lied(s,
              "the server answers nothing that can be understood when it is "
              "to put the file together");
      return;
    }
  }
  if (strncmp(c->problem.name, "InvalidPart", 11) == 0)
    for (unsigned i = 0; i < s->m.count; i++) { /* each is looked at again */
      mem_free(s->m.tags[i]);
      s->m.tags[i] = NULL;
    }
  s3_remember(s);
  s3_refused(s, c, a, false);
}

static void put_tag(buffer *b, const char *tag) {
  for (const char *c = tag[0] == '!' ? tag + 1 : tag; *c != '\0'; c++)
    if (*c != '<' && *c != '&' && *c != '"') buffer_byte(b, *c);
}

void s3_complete(s3_upload *s) {
  upload *u = &s->u;
  if (upload_is_changed(&u->local, u->file->path)) {
    s3_changed(s);
    return;
  }
  buffer_clear(&s->document);
  buffer_text(&s->document, "<CompleteMultipartUpload>");
  for (unsigned i = 0; i < s->m.count; i++) {
    buffer_format(&s->document, "<Part><PartNumber>%u</PartNumber><ETag>&quot;",
                  i + 1);
    put_tag(&s->document, s->m.tags[i]);
    buffer_text(&s->document, "&quot;</ETag></Part>");
  }
  buffer_text(&s->document, "</CompleteMultipartUpload>");
  buffer_clear(&s->query);
  buffer_text(&s->query, "uploadId=");
  http_sign_escape(&s->query, s->m.id, false);
  if (s->document.failed || s->query.failed) {
    upload_fail_memory(u);
    return;
  }
  upload_call_free(&s->call);
  s->call = (upload_call){.u = u,
                          .method = "POST",
                          .query = s->query.data,
                          .fields = BITS_S3_FEW,
                          .text = s->document.data,
                          .content_type = "application/xml",
                          .most = S3_ANSWER,
                          .done = on_complete};
  upload_call_start(&s->call);
}
