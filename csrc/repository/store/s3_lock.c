/*
** Object lock: what is stored may not be removed for some days, whoever asks.
** Every file is stored so but locks, which come and go. Most servers keep what
** is locked as an old version, and let it be removed for all that can be seen;
** others refuse, and then it is said until when.
*/
#include <stdio.h>
#include <string.h>

#include "repository/store/s3_parts.h"

error *repo_s3_lock_option(s3 *s, const value *options) {
  const value *v = options != NULL ? value_get(options, "object_lock") : NULL;
  if (v == NULL) return NULL;
  const char *mode = value_chars(value_get(v, "mode"), "");
  int64_t days = value_integer(value_get(v, "days"), 0);
  if (strcmp(mode, "GOVERNANCE") != 0 && strcmp(mode, "COMPLIANCE") != 0)
    return repo_error(SAROS_E_INVALIDARG,
                      "object_lock: its mode is \"GOVERNANCE\" (who may, can "
                      "end it) or \"COMPLIANCE\" (nobody can)");
  if (days < 1 || days > 36500)
    return repo_error(SAROS_E_INVALIDARG,
                      "object_lock: its days are a whole number from 1 to "
                      "36500");
  snprintf(s->lock_mode, sizeof s->lock_mode, "%s", mode);
  s->lock_days = (unsigned)days;
  return NULL;
}

void repo_s3_lock_until(const s3 *s, char until[21]) {
  struct tm tm;
  time_t then = time(NULL) + (time_t)s->lock_days * 86400;
  gmtime_r(&then, &tm);
  strftime(until, 21, "%Y-%m-%dT%H:%M:%SZ", &tm);
}

void repo_s3_lock_note(s3_call *c, const http_answer *a) {
  const char *mode = http_answer_field(a, "x-amz-object-lock-mode");
  const char *until =
      http_answer_field(a, "x-amz-object-lock-retain-until-date");
  const char *hold = http_answer_field(a, "x-amz-object-lock-legal-hold");
  buffer b = BUFFER_EMPTY;
  c->locked[0] = '\0';
  if (until != NULL) {
    buffer_text(&b, "it is locked until ");
    text_escape(&b, until, strnlen(until, 40));
    if (mode != NULL) {
      buffer_text(&b, " (object lock, ");
      text_escape(&b, mode, strnlen(mode, 20));
      buffer_byte(&b, ')');
    }
  } else if (hold != NULL && strcmp(hold, "ON") == 0) {
    buffer_text(&b, "there is a legal hold on it");
  }
  if (b.data != NULL && !b.failed)
    snprintf(c->locked, sizeof c->locked, "%s", b.data);
  buffer_free(&b);
}

error *repo_s3_lock_put(s3 *s, const s3_call *of) {
  char until[21], payload[HTTP_SIGN_HEX];
  uint8_t md5[16];
  buffer document = BUFFER_EMPTY, md5_text = BUFFER_EMPTY;
  repo_s3_lock_until(s, until);
  buffer_format(&document,
                "<Retention xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">"
                "<Mode>%s</Mode><RetainUntilDate>%s</RetainUntilDate>"
                "</Retention>",
                s->lock_mode, until);
  repo_piece piece = {document.data, document.size};
  bool good = !document.failed && repo_s3_sha256(&piece, 1, payload) &&
              repo_s3_md5(&piece, 1, md5);
  if (good) text_base64(&md5_text, md5, sizeof md5);
  s3_call c = {.doing = of->doing,
               .method = "PUT",
               .key = of->key,
               .query = "retention=",
               .content_md5 = md5_text.data,
               .content_type = "application/xml",
               .pieces = &piece,
               .piece_count = 1,
               .payload = payload,
               .stop = of->stop};
  error *e = good && !md5_text.failed ? repo_s3_call(s, &c) : error_no_memory();
  buffer_free(&document);
  buffer_free(&md5_text);
  return e;
}

error *repo_s3_lock_refused(s3 *s, s3_call *c, error *e) {
  bool there;
  if (c->trouble.status != 403) return e;
  s3_call head = {
      .doing = c->doing, .key = c->key, .stop = c->stop, .quiet = true};
  error_unref(repo_s3_head(s, &head, &there));
  if (head.locked[0] == '\0') return e;
  error *made = repo_error(SAROS_E_ACCESSDENIED,
                           "cannot %s in %s: %s; forget and prune can have it "
                           "removed after that",
                           c->doing, s->location, head.locked);
  if (made != error_no_memory()) made->number = e->number;
  return error_because(made, e);
}
