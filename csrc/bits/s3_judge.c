/*
** What S3 says of a request that it does not carry out: by the name that it
** gives it, else by the status.
*/
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

#include "bits/judge.h"
#include "bits/s3.h"

#define LESSONS 4 /* regions, clocks, hosts: more are a circle */

typedef enum fate {
  FATE_FAIL,
  FATE_AGAIN,
  FATE_REST, /* the host needs one */
  FATE_FEW   /* again, but not often: it may be our fault */
} fate;

static const struct {
  const char *name;
  fate fate;
  uint32_t code; /* 0: that of the status */
  const char *advice;
} names[] = {
    {"AccessDenied", FATE_FAIL, 0,
     "this access key may not do that, or a policy forbids it"},
    {"SignatureDoesNotMatch", FATE_FAIL, BG_E_INVALID_CREDENTIALS,
     "the secret key is not that of the access key (or a proxy changes what "
     "is sent)"},
    {"InvalidAccessKeyId", FATE_FAIL, BG_E_INVALID_CREDENTIALS,
     "the server knows no such access key"},
    {"ExpiredToken", FATE_FAIL, BG_E_INVALID_CREDENTIALS,
     "the session token has expired: give the job new credentials and resume "
     "it; what has arrived is kept"},
    {"InvalidToken", FATE_FAIL, BG_E_INVALID_CREDENTIALS,
     "the session token is none, or not of this access key"},
    {"NoSuchBucket", FATE_FAIL, BG_E_FILE_NOT_FOUND, "there is no such bucket"},
    {"NoSuchKey", FATE_FAIL, BG_E_FILE_NOT_FOUND, NULL},
    {"RequestTimeTooSkewed", FATE_FAIL, 0,
     "the clocks of this machine and of the server differ"},
    {"RequestExpired", FATE_FAIL, 0, "what was signed has expired"},
    {"ConditionalRequestConflict", FATE_AGAIN, 0, NULL},
    {"OperationAborted", FATE_AGAIN, 0, NULL},
    {"SlowDown", FATE_REST, 0, NULL},
    {"ServiceUnavailable", FATE_REST, 0, NULL},
    {"ServerBusy", FATE_REST, 0, NULL},
    {"TooManyRequests", FATE_REST, 0, NULL},
    {"RequestLimitExceeded", FATE_REST, 0, NULL},
    {"Throttling", FATE_REST, 0, NULL},
    {"InternalError", FATE_AGAIN, 0, NULL},
    {"RequestTimeout", FATE_AGAIN, 0, NULL},
    {"IncompleteBody", FATE_AGAIN, 0, NULL},
    {"BadDigest", FATE_FEW, BG_E_VALIDATION_FAILED,
     "what arrives is not what was sent"},
    {"XAmzContentSHA256Mismatch", FATE_FEW, BG_E_VALIDATION_FAILED,
     "what arrives is not what was sent"},
    {"InvalidPart", FATE_FEW, BG_E_VALIDATION_FAILED,
     "the server has lost a part, or has another one"},
    {"InvalidPartOrder", FATE_FEW, BG_E_VALIDATION_FAILED, NULL},
    {"EntityTooSmall", FATE_FAIL, 0,
     "the server wants larger parts: set part_size"},
    {"EntityTooLarge", FATE_FAIL, BG_E_TOO_LARGE, NULL},
    {"QuotaExceeded", FATE_FAIL, 0, "make room there, or raise the quota"},
    {"NotImplemented", FATE_FAIL, BG_E_INSUFFICIENT_HTTP_SUPPORT, NULL},
};

#define TELLING 12 /* characters of a secret that are too many */

static void hide(http_problem *p, const char *secret) {
  size_t size = secret != NULL ? strlen(secret) : 0;
  char piece[TELLING + 1];
  for (size_t i = 0; i < size && (i == 0 || i + TELLING <= size); i++) {
    snprintf(piece, sizeof piece, "%s", secret + i);
    if (strstr(p->message, piece) != NULL) p->message[0] = '\0';
  }
  http_wipe(piece, sizeof piece);
}

void bits_s3_problem(const bits_terms *t, const char *body, size_t size,
                     http_problem *p) {
  http_problem_read(p, body, size);
  hide(p, t->s3_key);
  hide(p, t->s3_secret);
  hide(p, t->s3_token);
  hide(p, t->proxy_login);
  for (uint32_t i = 0; i < t->header_count; i++)
    if (t->headers[i].secret) hide(p, t->headers[i].value);
}

/* ------------------------------------------------------------------
** What is learned
** ---------------------------------------------------------------- */

static bool is_region(const char *text) {
  return text[0] != '\0' && strlen(text) < BITS_S3_REGION &&
         strspn(text,
                "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                "0123456789-_") == strlen(text);
}

static bool learn_region(bits_s3_place *p, const char *region) {
  if (region == NULL || !is_region(region) || strcmp(region, p->region) == 0)
    return false;
  snprintf(p->region, sizeof p->region, "%s", region);
  return true;
}

static bool learn_clock(bits_s3_place *p, const http_answer *a) {
  int64_t date, now = (int64_t)time(NULL);
#ifdef SAROS_TEST
  now += bits_s3_ahead;
#endif
  if (!http_answer_date(a, &date) || now - date == p->skew) return false;
  p->skew = now - date;
  return true;
}

/* A bucket that is new is elsewhere for a while. Nobody but the same host, or
   Amazon, is told what is signed. */
static bool learn_host(bits_s3_place *p, const http_answer *a) {
  const char *url = http_answer_field(a, "location");
  if (url == NULL) return false;
  return bits_s3_move(p, url);
}

bool bits_s3_learn(bits_s3_place *p, const http_answer *a,
                   const http_problem *problem) {
  if (a->end != HTTP_WHOLE || p->lessons >= LESSONS) return false;
  bool learned = false;
  if (strcmp(problem->name, "RequestTimeTooSkewed") == 0 ||
      strcmp(problem->name, "RequestExpired") == 0)
    learned = learn_clock(p, a);
  if (a->status == 301 || a->status == 302 || a->status == 307 ||
      a->status == 308 || a->status == 400) {
    const char *region = http_answer_field(a, "x-amz-bucket-region");
    learned =
        learn_region(p, region) || learn_region(p, problem->region) || learned;
    if (a->status != 400) learned = learn_host(p, a) || learned;
    if (learned && a->status == 301) bits_s3_move_region(p);
  }
  p->lessons += learned;
  return learned;
}

/* ------------------------------------------------------------------
** What it is otherwise
** ---------------------------------------------------------------- */

static void describe(const http_answer *a, const http_problem *problem,
                     const char *advice, bits_result *r) {
  buffer b = BUFFER_EMPTY;
  buffer_format(&b, "%.120s answers %u %s", a->url, a->status, problem->name);
  if (problem->message[0] != '\0') buffer_format(&b, " (%s)", problem->message);
  if (advice != NULL) buffer_format(&b, ": %s", advice);
  snprintf(r->why, sizeof r->why, "%.399s", !b.failed ? b.data : "");
  buffer_free(&b);
}

static void rest(const http_answer *a, bits_result *r) {
  uint64_t seconds;
  r->gate_host = true;
  if (!http_answer_retry_after(a, &seconds)) return;
  r->has_wait = true;
  r->wait_ms = (seconds < 3600 ? seconds : 3600) * 1000;
}

void bits_s3_judge(const http_answer *a, const http_problem *problem,
                   unsigned tries, bits_result *r) {
  judge_failure(a, tries, r);
  if (a->end != HTTP_WHOLE || problem->name[0] == '\0') return;
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
    if (strcmp(names[i].name, problem->name) != 0) continue;
    fate f = names[i].fate;
    r->end = f == FATE_FAIL || (f == FATE_FEW && tries >= 2) ? BITS_END_FAILED
                                                             : BITS_END_AGAIN;
    r->borne = f == FATE_FEW;
    r->code = names[i].code != 0 ? names[i].code
              : a->status >= 300 ? BG_E_HTTP(a->status)
                                 : BG_E_INVALID_SERVER_RESPONSE;
    r->context = BITS_CONTEXT_REMOTE;
    r->transport = a->status;
    if (f == FATE_REST) rest(a, r);
    describe(a, problem, names[i].advice, r);
    return;
  }
  describe(a, problem, NULL, r);
}
