/*
** Answers to a request for a file, fuzzed. The first bytes say what was asked
** and what is known, the rest is the header. What the judge believes is held
** against the rule, told once more and in other words: bytes are added only to
** bytes of the same representation, at the place they are from.
*/
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "bits/judge.h"
#include "http/http_parts.h"

#define REQUIRE(condition)                                            \
  do {                                                                \
    if (!(condition)) {                                               \
      fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #condition); \
      abort();                                                        \
    }                                                                 \
  } while (0)

__attribute__((weak)) const saros_api *saros_api_table;

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CANARY "canary-0123456789"
#define URL "http://h/f?b=1&token=" CANARY

typedef struct asking {
  http_ask ask;
  judge_asked asked;
  bits_known known;
  bits_terms terms;
  bits_file file;
  bits_extra extra;
  bits_range range;
} asking;

#define COUNT(a) (sizeof(a) / sizeof(a)[0])

/* Small numbers, so that they often fit. */
static void choose(asking *x, const uint8_t *b) {
  static const char *const tags[] = {NULL, "\"a\"", "\"b\"", "W/\"a\""};
  static const char *const dates[] = {NULL, "Tue, 14 Nov 2023 22:13:20 GMT"};
  static const uint64_t totals[] = {BITS_UNKNOWN, 10, 20, 30};
  memset(x, 0, sizeof *x);
  x->asked.ranged = b[0] & 1;
  x->asked.from = x->asked.ranged ? b[1] % 32 : 0;
  x->asked.last = b[0] & 2 ? x->asked.from + b[2] % 16 : HTTP_UNKNOWN;
  if (!x->asked.ranged) x->asked.last = 0;
  x->known.etag = (char *)(uintptr_t)tags[b[3] % COUNT(tags)];
  x->known.modified = (char *)(uintptr_t)dates[b[3] / 4 % COUNT(dates)];
  x->known.encoding = (char *)(uintptr_t)(b[3] & 0x80 ? "gzip" : NULL);
  x->known.total = totals[b[3] / 8 % COUNT(totals)];
  if (b[0] & 4) x->asked.known = x->file.known = &x->known;
  x->asked.conditional = x->asked.ranged && x->asked.known != NULL &&
                         (b[0] & 8) && judge_can_resume(x->asked.known);
  if (b[0] & 16) x->file.marks = BITS_FILE_BARE;
  if (b[0] & 32) {
    x->range = (bits_range){x->asked.from, BITS_UNKNOWN};
    x->extra = (bits_extra){.ranges = &x->range, .range_count = 1};
    x->file.extra = &x->extra;
  }
  x->terms.restart_changed = b[0] & 64;
  x->terms.length_required = b[0] & 128;
  x->terms.most = b[4] & 1 ? b[4] : 0;
  x->file.url = (char *)(uintptr_t)URL;
  atomic_store(&x->file.have, b[5] % 32);
  x->ask.ranged = x->asked.ranged;
  x->ask.from = x->asked.from;
  x->ask.last = x->asked.last;
}

/* ------------------------------------------------------------------
** The rule, in other words
** ---------------------------------------------------------------- */

/* How many fields of this name there are, and of them others than `like`. */
static unsigned fields(const http_answer *a, const char *name, const char *like,
                       unsigned *others) {
  const char *field, *text;
  unsigned n = 0;
  *others = 0;
  for (size_t i = 0; http_answer_at(a, i, &field, &text); i++) {
    if (strcasecmp(field, name) != 0) continue;
    n++;
    if (like == NULL || strcmp(text, like) != 0) ++*others;
  }
  return n;
}

/* Nothing that it says speaks against it, and something for it. */
static void require_same(const asking *x, const http_answer *a) {
  const bits_known *k = x->asked.known;
  unsigned others, tags = fields(a, "etag", k->etag, &others);
  bool strong = k->etag != NULL && k->etag[0] == '"';
  if (k->etag != NULL) REQUIRE(others == 0);
  bool proven = strong && tags > 0;
  unsigned dates = fields(a, "last-modified", k->modified, &others);
  if (k->modified != NULL) REQUIRE(others == 0);
  if (!strong && k->modified != NULL && dates > 0) proven = true;
  if (x->asked.conditional && (k->etag == NULL || tags > 0)) proven = true;
  REQUIRE(proven);
  REQUIRE(strong || k->modified != NULL);
}

static void require_part(const asking *x, const http_answer *a) {
  unsigned others;
  REQUIRE(a->end == HTTP_WHOLE && a->status == 206 && x->asked.ranged);
  REQUIRE(a->from == x->asked.from && a->from <= a->last);
  REQUIRE(x->asked.last == HTTP_UNKNOWN || a->last <= x->asked.last);
  if (a->length != HTTP_UNKNOWN) REQUIRE(a->from + a->length == a->last + 1);
  if (a->total != HTTP_UNKNOWN) REQUIRE(a->last < a->total);
  const char *type = http_answer_field(a, "content-type");
  if (type != NULL && fields(a, "content-type", type, &others) == 1)
    REQUIRE(strncasecmp(type, "multipart", 9) != 0 || type[9] != '/');
  if (x->asked.known == NULL) {
    REQUIRE(x->file.extra != NULL);
    return;
  }
  require_same(x, a);
  uint64_t total = x->known.total;
  if (total != BITS_UNKNOWN) {
    REQUIRE(a->last < total);
    REQUIRE(a->total == HTTP_UNKNOWN || a->total == total);
  }
  const char *encoding = http_answer_field(a, "content-encoding");
  if (encoding != NULL && encoding[0] != '\0' &&
      strcasecmp(encoding, "identity") != 0)
    REQUIRE(x->known.encoding != NULL &&
            strcasecmp(encoding, x->known.encoding) == 0);
}

static void require_all(const asking *x, const http_answer *a) {
  unsigned long long from, last, total;
  unsigned others;
  REQUIRE(a->end == HTTP_WHOLE && a->status == 200);
  const char *range = http_answer_field(a, "content-range");
  if (range != NULL && fields(a, "content-range", range, &others) == 1 &&
      sscanf(range, "bytes %llu-%llu/%llu", &from, &last, &total) == 3)
    REQUIRE(from == 0 && total <= last + 1);
  REQUIRE(!x->asked.ranged || x->asked.known == NULL);
  REQUIRE(!x->asked.ranged || x->file.extra == NULL);
  if (x->terms.most > 0 && a->length != HTTP_UNKNOWN)
    REQUIRE(a->length <= x->terms.most);
  if (x->terms.length_required)
    REQUIRE(a->length != HTTP_UNKNOWN ||
            http_answer_field(a, "transfer-encoding") != NULL);
}

static void require_sentence(const bits_result *r) {
  REQUIRE((r->code & 0x80000000u) != 0);
  REQUIRE(r->end == BITS_END_AGAIN || r->end == BITS_END_FAILED ||
          r->end == BITS_END_OFFLINE || r->end == BITS_END_STOPPED);
  REQUIRE(r->context != BITS_CONTEXT_NONE);
  REQUIRE(r->why[0] != '\0' && memchr(r->why, '\0', sizeof r->why) != NULL);
  REQUIRE(text_is_utf8(r->why, strlen(r->why)));
  for (const char *c = r->why; *c != '\0'; c++)
    REQUIRE((unsigned char)*c >= ' ' && *c != 0x7F);
  REQUIRE(strstr(r->why, CANARY) == NULL);
  REQUIRE(r->has_wait || r->wait_ms == 0);
  REQUIRE(r->wait_ms <= 3600000);
  REQUIRE(!r->moved && !r->proven && !r->verified);
  REQUIRE(r->transport == 0 || r->win32 == 0);
}

static void require_verdict(const asking *x, const http_answer *a,
                            judge_verdict verdict, const bits_result *r) {
  switch (verdict) {
    case JUDGE_STORE: require_all(x, a); break;
    case JUDGE_CONTINUE: require_part(x, a); break;
    case JUDGE_HAVE_ALL:
      REQUIRE(a->status == 416 && x->asked.known != NULL);
      REQUIRE(atomic_load(&x->file.have) == x->known.total);
      REQUIRE(judge_can_resume(&x->known) && x->file.extra == NULL);
      break;
    case JUDGE_CHANGED:
      REQUIRE(x->asked.ranged && x->asked.known != NULL);
      REQUIRE(x->terms.restart_changed);
      break;
    case JUDGE_BARE: REQUIRE(x->asked.conditional && a->status == 200); break;
    case JUDGE_RESTART: REQUIRE(x->asked.ranged); break;
    case JUDGE_FAIL: require_sentence(r); return;
  }
  REQUIRE(r->code == 0 && r->transport == 0 && r->why[0] == '\0');
}

/* ------------------------------------------------------------------
** One input
** ---------------------------------------------------------------- */

static void require_known(const http_answer *a) {
  bits_known *k = judge_know(a);
  REQUIRE(k != NULL);
  const char *condition = judge_if_range(k);
  REQUIRE((condition != NULL) == judge_can_resume(k));
  if (k->etag != NULL) REQUIRE(strpbrk(k->etag, " \t\r\n") == NULL);
  if (condition != NULL) {
    REQUIRE(condition[0] != 'W' || condition[1] != '/');
    REQUIRE(condition == k->modified || condition[0] == '"');
  }
  if (k->digest != NULL)
    REQUIRE(strncmp(k->digest, "sha-256:", 8) == 0 &&
            strspn(k->digest + 8, "0123456789abcdef") == 64 &&
            strlen(k->digest) == 72);
  bits_known_free(k);
}

/* The header as http reads it; false: it is none. */
static bool read_head(const asking *x, http_head *h, http_answer *a,
                      const char *at, const char *end) {
  http_frame f;
  http_head_clear(h);
  while (at < end && !h->whole) {
    const char *newline = memchr(at, '\n', (size_t)(end - at));
    const char *next = newline != NULL ? newline + 1 : end;
    if (http_head_line(h, at, (size_t)(next - at)) != NULL) return false;
    at = next;
  }
  if (!h->begun || h->status < 200) return false;
  *a = (http_answer){.status = h->status, .fields = h, .why = "it is wrong"};
  const char *why = http_head_judge(h, "GET", &x->ask, &f);
  a->end = why != NULL ? HTTP_WRONG : HTTP_WHOLE;
  a->length = f.length;
  a->from = f.from;
  a->last = f.last;
  a->total = f.total;
  return true;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
  static http_head h;
  static asking x;
  http_answer a;
  bits_result r;
  if (size < 10) return 0;
  choose(&x, data);
  const char *text = (const char *)data;
  if (!read_head(&x, &h, &a, text + 10, text + size)) return 0;
  if (data[6] & 1) { /* what http would never let through */
    a.end = data[6] & 2 ? (http_end)(data[7] % HTTP_ENDS) : HTTP_WHOLE;
    a.from = data[7] % 32;
    a.last = data[8] % 32;
    a.total = data[9] & 1 ? HTTP_UNKNOWN : data[9] / 2 % 64;
    a.length = data[6] & 4 ? HTTP_UNKNOWN : a.last - a.from + (data[6] & 8) / 4;
  }
  memset(&r, 0xA5, sizeof r);
  judge_pretend(data[6] & 16 ? 1 : 2);
  require_verdict(&x, &a, judge_answer(&x.asked, &x.terms, &x.file, &a, &r),
                  &r);
  a.curl = data[7] % 100;
  a.number = data[8];
  a.url = "http://h/f";
  memset(&r, 0xA5, sizeof r);
  judge_failure(&a, data[9] % 6, &r);
  require_sentence(&r);
  require_known(&a);
  return 0;
}
