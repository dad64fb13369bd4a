/*
** One request of an upload: signed where there are keys, its body read from
** the file when it is wanted.
*/
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "bits/upload.h"

#define PROBLEM_MOST ((size_t)64 << 10) /* of an answer that is no success */
#define IGNORED_MOST ((uint64_t)16 << 20)

static bool is_good_status(unsigned status) {
  return status >= 200 && status < 300 && status != 206;
}

bool upload_call_is_good(const upload_call *c, const http_answer *a) {
  (void)c;
  return a->end == HTTP_WHOLE && is_good_status(a->status);
}

void upload_divide(upload *u) {
  for (upload_call *c = u->requests; c != NULL; c = c->next) {
    uint64_t up = u->up / u->request_count;
    http_limit(c->request, 0, u->up > 0 && up == 0 ? 1 : up);
  }
}

static void list_add(upload_call *c) {
  upload *u = c->u;
  c->next = u->requests;
  c->link = &u->requests;
  if (c->next != NULL) c->next->link = &c->next;
  u->requests = c;
  u->request_count++;
  if (u->up > 0) upload_divide(u);
}

static void list_drop(upload_call *c) {
  upload *u = c->u;
  *c->link = c->next;
  if (c->next != NULL) c->next->link = c->link;
  u->request_count--;
  if (u->up > 0) upload_divide(u);
}

/* ------------------------------------------------------------------
** Bytes
** ---------------------------------------------------------------- */

static http_flow on_body(void *context, const void *data, size_t size) {
  upload_call *c = context;
  if (c->most == 0 && c->answer.size + size > PROBLEM_MOST) return HTTP_GO;
  buffer_put(&c->answer, data, size);
  return c->answer.failed ? HTTP_STOP : HTTP_GO;
}

static http_flow on_give(void *context, void *room, size_t most, size_t *size) {
  upload_call *c = context;
  uint64_t left = c->size - c->at;
  if (c->u->over && c->u->stopped) return HTTP_STOP;
  *size = left < most ? (size_t)left : most;
  c->number = upload_read(&c->u->local, c->from + c->at, room, *size);
  if (c->number != 0) return HTTP_STOP;
  if (c->md5 != NULL && EVP_DigestUpdate(c->md5, room, *size) != 1) {
    EVP_MD_CTX_free(c->md5); /* there is none, then */
    c->md5 = NULL;
  }
  c->at += *size;
  upload_progress(c->u);
  return HTTP_GO;
}

static bool on_rewind(void *context) {
  upload_call *c = context;
  c->at = 0;
  EVP_MD_CTX_free(c->md5);
  c->md5 = c->hashes ? EVP_MD_CTX_new() : NULL;
  if (c->md5 != NULL && EVP_DigestInit_ex(c->md5, EVP_md5(), NULL) != 1) {
    EVP_MD_CTX_free(c->md5);
    c->md5 = NULL;
  }
  return true;
}

bool upload_call_md5(upload_call *c, char hex[33]) {
  uint8_t bytes[16];
  bool good = c->md5 != NULL && c->at == c->size &&
              EVP_DigestFinal_ex(c->md5, bytes, NULL) == 1;
  EVP_MD_CTX_free(c->md5);
  c->md5 = NULL;
  if (good) http_sign_hex(hex, bytes, sizeof bytes);
  return good;
}

/* ------------------------------------------------------------------
** What comes
** ---------------------------------------------------------------- */

/* Without quotes. One that is weak says nothing about bytes, and one of what
   is encrypted is another digest. */
static void note_etag(upload_call *c, const http_answer *a) {
  const char *etag = http_answer_field(a, "etag");
  const char *sealed = http_answer_field(a, "x-amz-server-side-encryption");
  c->etag[0] = '\0';
  c->etag_is_md5 = false;
  c->etag_is_sealed =
      (sealed != NULL && strcmp(sealed, "AES256") != 0) ||
      http_answer_field(a, "x-amz-server-side-encryption-customer-algorithm") !=
          NULL;
  if (etag == NULL || strncmp(etag, "W/", 2) == 0) return;
  size_t size = strlen(etag);
  if (size >= 2 && etag[0] == '"' && etag[size - 1] == '"') {
    etag++;
    size -= 2;
  }
  if (size >= sizeof c->etag) return;
  snprintf(c->etag, sizeof c->etag, "%.*s", (int)size, etag);
  c->etag_is_md5 = !c->etag_is_sealed && size == 32 &&
                   strspn(c->etag, "0123456789abcdefABCDEF") == 32;
}

static bool send(upload_call *c);

static void on_done(void *context, const http_answer *a) {
  upload_call *c = context;
  upload *u = c->u;
  bool good = upload_call_is_good(c, a);
  note_etag(c, a);
  list_drop(c);
  http_unref(c->request);
  c->request = NULL;
  memset(&c->problem, 0, sizeof c->problem);
  if (bits_s3_is_wanted(u->terms) && a->end == HTTP_WHOLE && !good) {
    if (c->answer.size <= PROBLEM_MOST && !c->answer.failed)
      bits_s3_problem(u->terms, c->answer.data, c->answer.size, &c->problem);
    if ((!u->over || c->anyway) && bits_s3_learn(&u->place, a, &c->problem) &&
        send(c)) {
      upload_leave(u); /* and one has been entered */
      return;
    }
  }
  if (c->answer.failed) upload_fail_memory(u);
  c->done(c, a);
  upload_leave(u);
}

static const http_calls calls = {
    .body = on_body, .give = on_give, .rewind = on_rewind, .done = on_done};

/* ------------------------------------------------------------------
** What goes
** ---------------------------------------------------------------- */

/* Of what is not signed: the terms' own. */
static size_t plain_fields(const upload_call *c, http_field *fields) {
  const bits_terms *t = c->u->terms;
  size_t count = 0;
  for (uint32_t i = 0; i < t->header_count; i++) {
    const bits_header *h = &t->headers[i];
    if (h->value == NULL ||
        (!c->gives && strncasecmp(h->name, "content-", 8) == 0))
      continue;
    if (count < BITS_S3_LINES)
      fields[count++] = (http_field){h->name, h->value, h->secret};
  }
  return count;
}

static const char *payload_of(upload_call *c) {
  if (c->text != NULL) {
    http_sign_sha256(c->text, strlen(c->text), c->digest_of_text);
    return c->digest_of_text;
  }
  if (!c->gives) return NULL;
  return c->digest != NULL && c->digest->wants_sha256 ? c->digest->sha256
                                                      : "UNSIGNED-PAYLOAD";
}

static bool write_letter(upload_call *c, bits_s3_letter *l) {
  buffer md5 = BUFFER_EMPTY;
  if (c->digest != NULL && c->digest->wants_md5)
    text_base64(&md5, c->digest->md5, sizeof c->digest->md5);
  bits_s3_ask ask = {.method = c->method,
                     .url = c->url != NULL ? c->url : c->u->file->url,
                     .query = c->query,
                     .payload = payload_of(c),
                     .content_md5 = md5.data,
                     .content_type = c->content_type,
                     .sha256 = c->sha256,
                     .fields = c->fields};
  bool good = !md5.failed && bits_s3_write(&c->u->place, c->u->terms, &ask, l);
  buffer_free(&md5);
  return good;
}

static void begin(upload_call *c, const char *url, const http_field *fields,
                  size_t count, error **e) {
  const upload *u = c->u;
  const bits_terms *t = u->terms;
  bool is_signed = bits_s3_is_wanted(t);
  uint64_t up = u->up / (u->request_count + 1);
  c->piece = (http_piece){c->text, c->text != NULL ? strlen(c->text) : 0};
  http_ask ask = {.method = c->method,
                  .url = url,
                  .fields = fields,
                  .field_count = count,
                  .pieces = c->text != NULL ? &c->piece : NULL,
                  .piece_count = c->text != NULL ? 1 : 0,
                  .gives = c->gives,
                  .give_size = c->size,
                  .most = c->most > 0 ? c->most : IGNORED_MOST,
                  .redirects = is_signed ? 0 : t->redirects,
                  .connect_ms = t->connect_ms,
                  .stall_ms = t->stall_ms,
                  .per_host = u->per_host,
                  .up = u->up > 0 && up == 0 ? 1 : up,
                  .cacert = t->cacert,
                  .proxy = t->proxy,
                  .proxy_login = t->proxy_login,
                  .lane = u->lane,
                  .once = c->once,
                  .plainly = c->plainly,
                  .calls = &calls,
                  .context = c};
  c->request = http_start(&ask, e);
}

static bool send(upload_call *c) {
  upload *u = c->u;
  error *e = NULL;
  buffer_free(&c->answer);
  c->number = 0;
  on_rewind(c);
  if (bits_s3_is_wanted(u->terms)) {
    bits_s3_letter l;
    if (!write_letter(c, &l)) {
      upload_fail_memory(u);
      return false;
    }
    begin(c, l.url, l.fields, l.count, &e);
    bits_s3_letter_free(&l);
  } else {
    http_field fields[BITS_S3_LINES];
    begin(c, c->url != NULL ? c->url : u->file->url, fields,
          plain_fields(c, fields), &e);
  }
  if (c->request == NULL) {
    bool passes = e->code == SAROS_E_OUTOFMEMORY;
    upload_fail(u, passes ? BITS_END_AGAIN : BITS_END_FAILED, e->code,
                BITS_CONTEXT_TRANSPORT, "%s", e->message);
    error_unref(e);
    return false;
  }
  list_add(c);
  upload_enter(u);
  return true;
}

bool upload_call_start(upload_call *c) {
  if (c->u->over && !c->anyway) return false;
  return send(c);
}

void upload_call_free(upload_call *c) {
  buffer_free(&c->answer);
  EVP_MD_CTX_free(c->md5);
  c->md5 = NULL;
}
