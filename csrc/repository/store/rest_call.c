/*
** One call: sent, judged, and made again for as long as that may help.
** Whoever makes it sleeps meanwhile; http's thread does the rest.
*/
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "repository/store/rest_parts.h"

/* Servers answer a plain GET or HEAD from elsewhere at times. */
#define REDIRECTS 5

static const char accept_lists[] = "application/vnd.x.restic.rest.v2";

/* ------------------------------------------------------------------
** Judging
** ---------------------------------------------------------------- */

typedef struct meaning {
  unsigned status;
  rest_fate fate;
  int number;
  const char *advice;
} meaning;

static const meaning meanings[] = {
    {400, REST_FEW, 0, NULL},
    {403, REST_DENIED, EACCES, NULL},
    {404, REST_ABSENT, ENOENT, NULL},
    {405, REST_FAIL, 0, "is that a REST server for restic?"},
    {407, REST_FAIL, EACCES, "the proxy wants a password"},
    {408, REST_AGAIN, 0, NULL},
    {409, REST_DENIED, EEXIST, NULL},
    {410, REST_ABSENT, ENOENT, NULL},
    {413, REST_FAIL, EDQUOT,
     "the server takes no more than its quota, or nothing as large: make room, "
     "or choose a smaller pack size"},
    {416, REST_SHORT, 0, NULL},
    {423, REST_AGAIN, 0, NULL},
    {425, REST_AGAIN, 0, NULL},
    {429, REST_AGAIN, 0, NULL},
    {501, REST_FAIL, 0, "is that a REST server for restic?"},
    {505, REST_FAIL, 0, NULL},
    {507, REST_FAIL, ENOSPC,
     "make room there; what is stored already is not stored twice"},
};

static const char *why_not_known(const rest *s) {
  return s->secret->authorization[0] != '\0'
             ? "the user or the password is wrong, or that user may not use "
               "this path"
             : "it wants a user and a password: give rest_username and "
               "rest_password, or set RESTIC_REST_USERNAME and "
               "RESTIC_REST_PASSWORD";
}

/* Where it leads to: a POST that followed would become a GET on its way. */
static void note_redirect(const http_answer *a, rest_trouble *t) {
  const char *location = http_answer_field(a, "location");
  char shown[200] = "elsewhere";
  if (location != NULL) http_show_url(location, shown, sizeof shown);
  snprintf(t->message, sizeof t->message,
           "it leads to %s; give that as the location, if it is right", shown);
}

static void judge_status(const rest *s, const http_answer *a, rest_trouble *t) {
  unsigned status = a->status;
  *t = (rest_trouble){.status = status,
                      .fate = status >= 500 ? REST_AGAIN : REST_FAIL};
  for (size_t i = 0; i < sizeof meanings / sizeof meanings[0]; i++)
    if (meanings[i].status == status) {
      t->fate = meanings[i].fate;
      t->number = meanings[i].number;
      t->advice = meanings[i].advice;
    }
  if (status == 401) {
    t->number = EACCES;
    t->advice = why_not_known(s);
  }
  if (status >= 300 && status < 400) note_redirect(a, t);
  t->code = t->fate == REST_SHORT ? SAROS_E_DAMAGED
            : t->number != 0      ? code_of_errno(t->number)
                                  : 0x80190000u + (status & 0xFFFu);
  uint64_t seconds;
  if (http_answer_retry_after(a, &seconds) && seconds < 86400)
    t->retry_after = seconds * 1000;
}

static void judge_cut(const http_answer *a, rest_trouble *t) {
  static const rest_fate fates[] = {REST_FAIL, REST_AGAIN, REST_FEW};
  remote_cut cut = repo_remote_judge(a);
  *t = (rest_trouble){.fate = fates[cut.fate],
                      .code = cut.code,
                      .number = cut.number,
                      .status = a->status,
                      .advice = a->end == HTTP_WRONG
                                    ? "is that a REST server for restic?"
                                    : cut.advice};
  snprintf(t->message, sizeof t->message, "%.300s", a->why);
}

static bool is_success(const rest *s, rest_call *c, const remote_sink *k,
                       const http_answer *a) {
  rest_trouble *t = &c->trouble;
  memset(t, 0, sizeof *t);
  if (a->end == HTTP_STOPPED) { /* our own sink */
    bool memory = c->into != NULL && c->into->failed;
    *t = (rest_trouble){.code = memory ? SAROS_E_OUTOFMEMORY : SAROS_E_DAMAGED,
                        .advice = memory ? "there is not enough memory"
                                         : "it is larger than it can be"};
    return false;
  }
  if (a->end != HTTP_WHOLE) {
    judge_cut(a, t);
    return false;
  }
  if (!k->good) {
    judge_status(s, a, t);
    return false;
  }
  if (c->window != NULL && k->filled < c->window_size) {
    *t = (rest_trouble){.fate = REST_SHORT, .code = SAROS_E_DAMAGED};
    return false;
  }
  if (!a->proven && (c->into != NULL || c->window != NULL)) {
    *t = (rest_trouble){
        .fate = REST_FEW,
        .code = SAROS_E_FAIL,
        .advice = "nothing shows where the answer ends, so it may be cut"};
    return false;
  }
  return true;
}

/* ------------------------------------------------------------------
** One try
** ---------------------------------------------------------------- */

static error *cancelled(const rest_call *c) {
  return repo_error(SAROS_E_CANCELLED, "to %s was cancelled", c->doing);
}

static error *send(rest *s, rest_call *c, remote_sink *k, http_request **r) {
  bool asks = strcmp(c->method, "GET") == 0 || strcmp(c->method, "HEAD") == 0;
  http_field fields[3];
  size_t count = 0;
  buffer url = BUFFER_EMPTY;
  fields[count++] = (http_field){"Accept", accept_lists, false};
  if (c->pieces != NULL)
    fields[count++] =
        (http_field){"Content-Type", "application/octet-stream", false};
  if (s->secret->authorization[0] != '\0')
    fields[count++] =
        (http_field){"Authorization", s->secret->authorization, true};
  buffer_format(&url, "%s%s", s->base, c->path);
  http_ask ask = {.method = c->method,
                  .url = url.data,
                  .fields = fields,
                  .field_count = count,
                  .ranged = c->ranged,
                  .from = c->from,
                  .last = c->last,
                  .redirects = asks ? REDIRECTS : 0,
                  .calls = &repo_remote_calls,
                  .context = k};
  error *e = url.failed ? error_no_memory()
                        : repo_remote_send(&s->net, &ask, c->pieces,
                                           c->piece_count, c->stop, r);
  buffer_free(&url);
  return e;
}

static void note_answer(rest *s, rest_call *c, const http_answer *a) {
  const char *server = http_answer_field(a, "server");
  c->status = a->status;
  c->length = a->length;
  c->is_rclone = server != NULL && strncasecmp(server, "rclone/", 7) == 0;
  repo_remote_answered(&s->net);
}

/* An error ends it all; without one, *success says. */
static error *try(rest *s, rest_call *c, bool *success) {
  remote_sink k = {.into = c->into,
                   .most = c->most,
                   .window = c->window,
                   .window_size = c->window_size,
                   .from = c->from};
  http_request *r = NULL;
  repo_remote_sink_begin(&k);
  c->tries.count++;
  c->status = 0;
  error *e = send(s, c, &k, &r);
  if (e == NULL) {
    const http_answer *a = http_answer_of(r);
    if (a->end == HTTP_CANCELLED) {
      e = cancelled(c);
    } else {
      if (a->end == HTTP_WHOLE) note_answer(s, c, a);
      *success = is_success(s, c, &k, a);
    }
  }
  if (!*success) repo_remote_sink_drop(&k);
  repo_remote_sink_end(&k);
  http_unref(r);
  return e;
}

error *repo_restful_call(rest *s, rest_call *c) {
  c->tries = (remote_tries){0};
  for (;;) {
    bool success = false;
    if (!repo_remote_enter(&s->net, c->stop)) return cancelled(c);
    error *e = try(s, c, &success);
    if (e != NULL || success) return e;
    const rest_trouble *t = &c->trouble;
    remote_fate fate = t->fate == REST_AGAIN ? REMOTE_AGAIN
                       : t->fate == REST_FEW ? REMOTE_FEW
                                             : REMOTE_FAIL;
    switch (repo_remote_again(&s->net, &c->tries, fate, t->status,
                              t->retry_after, c->stop)) {
      case REMOTE_ONCE_MORE: break;
      case REMOTE_GIVES_UP: return repo_restful_error(s, c);
      case REMOTE_STOPPED: return cancelled(c);
    }
  }
}

/* ------------------------------------------------------------------
** What it was
** ---------------------------------------------------------------- */

error *repo_restful_forked(const rest *s) {
  if (!http_is_inherited(s->net.kept)) return NULL;
  return repo_error(SAROS_E_FORKED,
                    "the store %s was opened by the parent process; open it "
                    "again here",
                    s->location);
}

/* A server may repeat what it was sent, in where it leads to. */
static bool holds_secret(const rest *s, const char *text) {
  const rest_secret *k = s->secret;
  return (k->password[0] != '\0' && strstr(text, k->password) != NULL) ||
         (k->authorization[0] != '\0' &&
          strstr(text, k->authorization + strlen("Basic ")) != NULL);
}

static void put_what(const rest *s, const rest_call *c, buffer *b) {
  const rest_trouble *t = &c->trouble;
  if (t->fate == REST_ABSENT) {
    buffer_text(b, "it is not there");
    return;
  }
  if (t->fate == REST_SHORT) {
    buffer_text(b, "it is shorter than it should be");
    return;
  }
  if (t->status != 0) buffer_format(b, "the server answers %u", t->status);
  if (t->message[0] != '\0' && !holds_secret(s, t->message))
    buffer_format(b, "%s%s", b->size > 0 ? ": " : "", t->message);
  if (t->advice != NULL)
    buffer_format(b, "%s%s", b->size > 0 ? "; " : "", t->advice);
}

error *repo_restful_error(const rest *s, const rest_call *c) {
  const rest_trouble *t = &c->trouble;
  buffer b = BUFFER_EMPTY;
  char tries[40] = "";
  put_what(s, c, &b);
  if (c->tries.count > 1)
    snprintf(tries, sizeof tries, " (%u times tried)", c->tries.count);
  error *e = repo_error(
      t->code != 0 ? t->code : SAROS_E_FAIL, "cannot %s in %s: %s%s", c->doing,
      s->location, b.data != NULL && !b.failed ? b.data : "it failed", tries);
  buffer_free(&b);
  if (e == error_no_memory()) return e;
  e->number = t->number;
  e->retryable = t->fate == REST_AGAIN;
  return e;
}
