/*
** One call: signed, sent, judged, and made again for as long as that may help.
** Whoever makes it sleeps meanwhile; http's thread does the rest.
*/
#include <stdio.h>
#include <string.h>

#include "repository/store/s3_parts.h"

#ifdef SAROS_TEST
_Atomic int repo_s3_ahead;
#endif

/* ------------------------------------------------------------------
** What goes
** ---------------------------------------------------------------- */

#define FIELDS 12

/* Owns its texts. */
typedef struct s3_letter {
  buffer host, path, url, authorization;
  char date[17], until[21];
  http_field fields[FIELDS]; /* sorted */
  size_t count;
} s3_letter;

static void letter_free(s3_letter *l) {
  buffer_free(&l->host);
  buffer_free(&l->path);
  buffer_free(&l->url);
  buffer_free(&l->authorization);
}

static void put(s3_letter *l, const char *name, const char *text) {
  if (text != NULL) l->fields[l->count++] = (http_field){name, text, true};
}

static void write_date(char date[17]) {
  struct tm tm;
  time_t now = time(NULL);
#ifdef SAROS_TEST
  now += repo_s3_ahead;
#endif
  gmtime_r(&now, &tm);
  strftime(date, 17, "%Y%m%dT%H%M%SZ", &tm);
}

/* With the lock: its key is made once a day. */
static bool signing_key(s3 *s, const char *date) {
  s3_secret *k = s->secret;
  if (strncmp(k->day, date, 8) == 0 && strcmp(k->region, s->region) == 0)
    return true;
  memcpy(k->day, date, 8);
  k->day[8] = '\0';
  memcpy(k->region, s->region, sizeof k->region);
  if (http_sign_key(k->secret_key, k->day, k->region, "s3", k->signing))
    return true;
  k->day[0] = '\0';
  return false;
}

/* With the lock. */
static bool write_letter(s3 *s, const s3_call *c, s3_letter *l) {
  const char *query = c->query != NULL ? c->query : "";
  const char *payload = c->payload != NULL ? c->payload : http_sign_empty;
  if (s->in_host) buffer_format(&l->host, "%s.", s->bucket);
  if (s->has_moved)
    buffer_format(&l->host, "s3.%s.amazonaws.com", s->region);
  else
    buffer_text(&l->host, s->endpoint);
  buffer_byte(&l->path, '/');
  if (!s->in_host) {
    http_sign_escape(&l->path, s->bucket, false);
    buffer_byte(&l->path, '/');
  }
  if (c->key != NULL) http_sign_escape(&l->path, c->key, true);
  if (l->host.failed || l->path.failed) return false;
  buffer_format(&l->url, "%s://%s%s%s%s", s->scheme, l->host.data, l->path.data,
                query[0] != '\0' ? "?" : "", query);
  write_date(l->date);
  put(l, "content-md5", c->content_md5);
  put(l, "content-type", c->content_type);
  put(l, "host", l->host.data);
  put(l, "if-none-match", c->if_none_match);
  if (c->makes_locked) put(l, "x-amz-bucket-object-lock-enabled", "true");
  put(l, "x-amz-content-sha256", payload);
  put(l, "x-amz-date", l->date);
  if (c->locks && s->lock_days > 0) {
    repo_s3_lock_until(s, l->until);
    put(l, "x-amz-object-lock-mode", s->lock_mode);
    put(l, "x-amz-object-lock-retain-until-date", l->until);
  }
  if (s->secret->token[0] != '\0')
    put(l, "x-amz-security-token", s->secret->token);
  if (!signing_key(s, l->date)) return false;
  http_signature sign = {.method = c->method,
                         .path = l->path.data,
                         .query = query,
                         .fields = l->fields,
                         .field_count = l->count,
                         .payload = payload,
                         .date = l->date,
                         .region = s->region,
                         .service = "s3",
                         .access_key = s->secret->access_key,
                         .signing = s->secret->signing};
  if (!http_sign(&sign, &l->authorization) || l->url.failed) return false;
  put(l, "authorization", l->authorization.data);
  return true;
}

/* ------------------------------------------------------------------
** One try
** ---------------------------------------------------------------- */

static void note_answer(s3 *s, s3_call *c, const http_answer *a) {
  const char *etag = http_answer_field(a, "etag");
  const char *sealed = http_answer_field(a, "x-amz-server-side-encryption");
  c->status = a->status;
  c->length = a->length;
  snprintf(c->etag, sizeof c->etag, "%.63s", etag != NULL ? etag : "");
  c->etag_is_no_md5 =
      (sealed != NULL && strcmp(sealed, "AES256") != 0) ||
      http_answer_field(a, "x-amz-server-side-encryption-customer-algorithm") !=
          NULL;
  repo_s3_lock_note(c, a);
  repo_remote_answered(&s->net);
}

static bool is_success(s3_call *c, const remote_sink *t, const http_answer *a) {
  memset(&c->trouble, 0, sizeof c->trouble);
  if (a->end == HTTP_STOPPED) { /* our own sink */
    bool memory = c->into != NULL && c->into->failed;
    c->trouble =
        (s3_trouble){.fate = S3_FAIL,
                     .code = memory ? SAROS_E_OUTOFMEMORY : SAROS_E_DAMAGED,
                     .advice = memory ? "there is not enough memory"
                                      : "it is larger than it can be"};
    return false;
  }
  if (a->end != HTTP_WHOLE) {
    repo_s3_judge_end(a, &c->trouble);
    return false;
  }
  if (!t->good) {
    repo_s3_judge(a, t->problem.data, t->problem.size, &c->trouble);
    return false;
  }
  if (c->window != NULL && t->filled < c->window_size) {
    c->trouble = (s3_trouble){.fate = S3_SHORT, .code = SAROS_E_DAMAGED};
    return false;
  }
  if (!a->proven && (c->into != NULL || c->window != NULL)) {
    c->trouble = (s3_trouble){
        .fate = S3_FEW,
        .code = SAROS_E_FAIL,
        .advice = "nothing shows where the answer ends, so it may be cut"};
    return false;
  }
  return true;
}

static error *cancelled(const s3_call *c) {
  return repo_error(SAROS_E_CANCELLED, "to %s was cancelled", c->doing);
}

static error *send(s3 *s, s3_call *c, s3_letter *l, remote_sink *k,
                   http_request **r) {
  http_ask ask = {.method = c->method,
                  .url = l->url.data,
                  .fields = l->fields,
                  .field_count = l->count,
                  .ranged = c->ranged,
                  .from = c->from,
                  .last = c->last,
                  .once = c->once,
                  .calls = &repo_remote_calls,
                  .context = k};
  return repo_remote_send(&s->net, &ask, c->pieces, c->piece_count, c->stop, r);
}

/* An error ends it all; without one, *success says. */
static error *try(s3 *s, s3_call *c, bool *success) {
  s3_letter l = {0};
  remote_sink k = {.into = c->into,
                   .most = c->most,
                   .window = c->window,
                   .window_size = c->window_size,
                   .from = c->from};
  http_request *r = NULL;
  repo_remote_sink_begin(&k);
  c->tries.count++;
  c->status = 0;
  pthread_mutex_lock(&s->lock);
  bool written = write_letter(s, c, &l);
  pthread_mutex_unlock(&s->lock);
  error *e = written ? send(s, c, &l, &k, &r) : error_no_memory();
  letter_free(&l);
  if (e == NULL) {
    const http_answer *a = http_answer_of(r);
    *success = false;
    if (a->end == HTTP_CANCELLED) {
      e = cancelled(c);
    } else {
      if (a->end == HTTP_WHOLE) note_answer(s, c, a);
      *success = is_success(c, &k, a);
    }
  }
  if (!*success) repo_remote_sink_drop(&k);
  repo_remote_sink_end(&k);
  http_unref(r);
  return e;
}

/* ------------------------------------------------------------------
** Again
** ---------------------------------------------------------------- */

static bool is_region(const char *text) {
  size_t size = strlen(text);
  return size > 0 && size < REPO_S3_REGION &&
         strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-") == size;
}

/* It lies elsewhere, and we learn where. */
static bool adopt_region(s3 *s, const s3_trouble *t) {
  if (s->region_given || !is_region(t->region)) return false;
  pthread_mutex_lock(&s->lock);
  bool other = strcmp(s->region, t->region) != 0;
  if (other) {
    snprintf(s->region, sizeof s->region, "%s", t->region);
    s->has_moved = s->amazon;
  }
  pthread_mutex_unlock(&s->lock);
  return other;
}

/* A HEAD has no document that would say what is wrong. */
static void ask_why(s3 *s, const s3_call *head) {
  s3_call *c = (s3_call *)(uintptr_t)head;
  if (strcmp(c->method, "HEAD") != 0 || c->status < 400 || c->status == 404 ||
      c->trouble.fate == S3_AGAIN || c->trouble.name[0] != '\0')
    return;
  buffer b = BUFFER_EMPTY;
  bool success = false;
  s3_call get = {.doing = c->doing,
                 .method = "GET",
                 .key = c->key,
                 .query = c->key == NULL ? "list-type=2&max-keys=1" : NULL,
                 .ranged = c->key != NULL,
                 .into = &b,
                 .most = REPO_REMOTE_PROBLEM,
                 .stop = c->stop};
  error *e = try(s, &get, &success);
  if (e == NULL && success)
    c->trouble.fate = S3_FEW; /* it has passed */
  else if (e == NULL && get.trouble.name[0] != '\0')
    c->trouble = get.trouble;
  error_unref(e);
  buffer_free(&b);
}

static remote_fate fate_of(const s3_call *c) {
  if (c->quiet) return REMOTE_FAIL;
  return c->trouble.fate == S3_AGAIN ? REMOTE_AGAIN
         : c->trouble.fate == S3_FEW ? REMOTE_FEW
                                     : REMOTE_FAIL;
}

error *repo_s3_call(s3 *s, s3_call *c) {
  unsigned regions = 0;
  c->tries = (remote_tries){0};
  for (;;) {
    bool success = false;
    if (!repo_remote_enter(&s->net, c->stop)) return cancelled(c);
    error *e = try(s, c, &success);
    if (e != NULL || success) return e;
    ask_why(s, c);
    s3_trouble *t = &c->trouble;
    if (t->fate == S3_REGION && regions++ < 3 && adopt_region(s, t)) continue;
    switch (repo_remote_again(&s->net, &c->tries, fate_of(c), t->status,
                              t->retry_after, c->stop)) {
      case REMOTE_ONCE_MORE: break;
      case REMOTE_GIVES_UP: return repo_s3_error(s, c);
      case REMOTE_STOPPED: return cancelled(c);
    }
  }
}

/* ------------------------------------------------------------------
** What it was
** ---------------------------------------------------------------- */

error *repo_s3_forked(const s3 *s) {
  if (!http_is_inherited(s->net.kept)) return NULL;
  return repo_error(SAROS_E_FORKED,
                    "the store %s was opened by the parent process; open it "
                    "again here",
                    s->location);
}

/* A server may repeat what it was sent. */
static bool holds_secret(const s3 *s, const char *text) {
  const s3_secret *k = s->secret;
  return strstr(text, k->secret_key) != NULL ||
         (k->token[0] != '\0' && strstr(text, k->token) != NULL);
}

static void put_what(const s3 *s, const s3_call *c, buffer *b) {
  const s3_trouble *t = &c->trouble;
  if (t->fate == S3_ABSENT && t->status == 404) {
    buffer_text(b, "it is not there");
    return;
  }
  if (t->fate == S3_SHORT) {
    buffer_text(b, "it is shorter than it should be");
    return;
  }
  if (t->fate == S3_SKEW) {
    long long minutes = (long long)t->skew / 60;
    buffer_format(b,
                  "the server refuses it because of its time: the clock of "
                  "this machine is %lld minutes %s the server's; set it right",
                  minutes < 0 ? -minutes : minutes,
                  minutes < 0 ? "behind" : "ahead of");
    return;
  }
  if (t->status != 0 && t->name[0] != '\0')
    buffer_format(b, "the server answers %u %s", t->status, t->name);
  else if (t->status != 0)
    buffer_format(b, "the server answers %u", t->status);
  if (t->fate == S3_REGION && t->region[0] != '\0' && is_region(t->region))
    buffer_format(b, ": it is in the region %s (region)", t->region);
  if (t->message[0] != '\0' && !holds_secret(s, t->message))
    buffer_format(b, "%s%s", b->size > 0 ? ": " : "", t->message);
  const char *advice = t->advice;
  if (advice == NULL && c->locks && s->lock_days > 0 && t->status == 400)
    advice =
        "is there object lock in this bucket? It is made with it, or "
        "never has it";
  if (advice != NULL) buffer_format(b, "%s%s", b->size > 0 ? "; " : "", advice);
}

error *repo_s3_error(s3 *s, const s3_call *c) {
  const s3_trouble *t = &c->trouble;
  buffer b = BUFFER_EMPTY;
  put_what(s, c, &b);
  char tries[40] = "";
  if (c->tries.count > 1)
    snprintf(tries, sizeof tries, " (%u times tried)", c->tries.count);
  error *e = repo_error(
      t->code != 0 ? t->code : SAROS_E_FAIL, "cannot %s in %s: %s%s", c->doing,
      s->location, b.data != NULL && !b.failed ? b.data : "it failed", tries);
  buffer_free(&b);
  if (e == error_no_memory()) return e;
  e->number = t->number;
  e->retryable = t->fate == S3_AGAIN;
  return e;
}
