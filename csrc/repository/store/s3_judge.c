/*
** What an answer that is no success means: whether to try again, and what a
** person can do about it. By the name that S3 gives it, else by its status.
*/
#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "http/xml.h"
#include "repository/store/s3_parts.h"

#define OF_STATUS 0 /* 0x80190000 + the status */

static const struct {
  const char *name;
  s3_fate fate;
  uint32_t code;
  int number;
  const char *advice;
} names[] = {
    {"AccessDenied", S3_FAIL, SAROS_E_ACCESSDENIED, EACCES,
     "this access key may not do that; or a policy, or a retention, forbids "
     "it"},
    {"AllAccessDisabled", S3_FAIL, SAROS_E_ACCESSDENIED, EACCES, NULL},
    {"SignatureDoesNotMatch", S3_FAIL, SAROS_E_ACCESSDENIED, EACCES,
     "the secret key is not that of the access key (or a proxy changes what "
     "is sent)"},
    {"InvalidAccessKeyId", S3_FAIL, SAROS_E_ACCESSDENIED, EACCES,
     "the server knows no such access key"},
    {"ExpiredToken", S3_FAIL, SAROS_E_ACCESSDENIED, EACCES,
     "the session token has expired; get a new one"},
    {"InvalidToken", S3_FAIL, SAROS_E_ACCESSDENIED, EACCES,
     "the session token is none, or not of this access key"},
    {"RequestTimeTooSkewed", S3_SKEW, SAROS_E_FAIL, 0, NULL},
    {"RequestExpired", S3_SKEW, SAROS_E_FAIL, 0, NULL},
    {"NoSuchKey", S3_ABSENT, OF_STATUS, ENOENT, NULL},
    {"NoSuchBucket", S3_FAIL, OF_STATUS, ENXIO,
     "there is no such bucket; to make a repository makes it"},
    {"InvalidRange", S3_SHORT, SAROS_E_DAMAGED, 0, NULL},
    {"PreconditionFailed", S3_EXISTS, OF_STATUS, EEXIST, NULL},
    {"ConditionalRequestConflict", S3_AGAIN, OF_STATUS, 0, NULL},
    {"OperationAborted", S3_AGAIN, OF_STATUS, 0, NULL},
    {"BucketAlreadyOwnedByYou", S3_EXISTS, OF_STATUS, EEXIST, NULL},
    {"BucketAlreadyExists", S3_FAIL, SAROS_E_ACCESSDENIED, EACCES,
     "there is a bucket of that name, and it is somebody else's"},
    {"SlowDown", S3_AGAIN, OF_STATUS, 0, NULL},
    {"ServiceUnavailable", S3_AGAIN, OF_STATUS, 0, NULL},
    {"InternalError", S3_AGAIN, OF_STATUS, 0, NULL},
    {"ServerBusy", S3_AGAIN, OF_STATUS, 0, NULL},
    {"TooManyRequests", S3_AGAIN, OF_STATUS, 0, NULL},
    {"RequestLimitExceeded", S3_AGAIN, OF_STATUS, 0, NULL},
    {"Throttling", S3_AGAIN, OF_STATUS, 0, NULL},
    {"RequestTimeout", S3_AGAIN, OF_STATUS, 0, NULL},
    {"IncompleteBody", S3_AGAIN, OF_STATUS, 0, NULL},
    {"BadDigest", S3_FEW, SAROS_E_DAMAGED, 0,
     "what arrives is not what was sent: a proxy, the network or the memory "
     "of this machine changes it"},
    {"XAmzContentSHA256Mismatch", S3_FEW, SAROS_E_DAMAGED, 0,
     "what arrives is not what was sent: a proxy, the network or the memory "
     "of this machine changes it"},
    {"AuthorizationHeaderMalformed", S3_REGION, OF_STATUS, 0, NULL},
    {"PermanentRedirect", S3_REGION, OF_STATUS, 0, NULL},
    {"TemporaryRedirect", S3_AGAIN, OF_STATUS, 0, NULL},
    {"IllegalLocationConstraintException", S3_REGION, OF_STATUS, 0, NULL},
    {"QuotaExceeded", S3_FAIL, OF_STATUS, EDQUOT,
     "make room there, or raise the quota; what is stored already is not "
     "stored twice"},
    {"EntityTooLarge", S3_FAIL, OF_STATUS, EFBIG, "choose a smaller pack size"},
    {"InvalidObjectState", S3_FAIL, OF_STATUS, EIO,
     "it was moved to an archive; have it restored first"},
    {"NotImplemented", S3_UNSUPPORTED, OF_STATUS, 0, NULL},
};

static s3_fate fate_of(unsigned status) {
  switch (status) {
    case 404: return S3_ABSENT;
    case 412: return S3_EXISTS;
    case 416: return S3_SHORT;
    case 501: return S3_UNSUPPORTED;
    case 301:
    case 302:
    case 307:
    case 308: return S3_REGION;
    case 408:
    case 409:
    case 425:
    case 429: return S3_AGAIN;
    case 505:
    case 507: return S3_FAIL;
    default: return status >= 500 ? S3_AGAIN : S3_FAIL;
  }
}

static int number_of(unsigned status) {
  switch (status) {
    case 401:
    case 403: return EACCES;
    case 404: return ENOENT;
    case 412: return EEXIST;
    case 507: return ENOSPC;
    default: return 0;
  }
}

static const char *advice_of(unsigned status) {
  switch (status) {
    case 401:
    case 403: return "this access key may not do that";
    case 407: return "the proxy wants a password";
    case 507: return "make room there";
    default: return NULL;
  }
}

void repo_s3_judge(const http_answer *a, const char *body, size_t size,
                   s3_trouble *t) {
  memset(t, 0, sizeof *t);
  t->status = a->status;
  t->fate = fate_of(a->status);
  t->number = number_of(a->status);
  t->advice = advice_of(a->status);
  http_problem problem;
  http_problem_read(&problem, body, size);
  snprintf(t->name, sizeof t->name, "%s", problem.name);
  snprintf(t->message, sizeof t->message, "%s", problem.message);
  snprintf(t->region, sizeof t->region, "%s", problem.region);
  for (size_t i = 0; i < sizeof names / sizeof names[0]; i++)
    if (strcmp(names[i].name, t->name) == 0) {
      t->fate = names[i].fate;
      t->code = names[i].code;
      t->number = names[i].number;
      t->advice = names[i].advice;
    }
  if (t->code == OF_STATUS)
    t->code = t->number != 0 ? code_of_errno(t->number)
                             : 0x80190000u + (t->status & 0xFFFu);
  const char *region = http_answer_field(a, "x-amz-bucket-region");
  if (region != NULL) snprintf(t->region, sizeof t->region, "%.63s", region);
  uint64_t seconds;
  if (http_answer_retry_after(a, &seconds) && seconds < 86400)
    t->retry_after = seconds * 1000;
  int64_t date;
  if (t->fate == S3_SKEW && http_answer_date(a, &date))
    t->skew = (int64_t)time(NULL) - date;
}

void repo_s3_judge_end(const http_answer *a, s3_trouble *t) {
  static const s3_fate fates[] = {S3_FAIL, S3_AGAIN, S3_FEW};
  remote_cut cut = repo_remote_judge(a);
  memset(t, 0, sizeof *t);
  t->status = a->status;
  t->fate = fates[cut.fate];
  t->code = cut.code;
  t->number = cut.number;
  t->advice = a->end == HTTP_WRONG ? "is that an S3 server?" : cut.advice;
  snprintf(t->message, sizeof t->message, "%.250s", a->why);
}
