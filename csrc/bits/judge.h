/*
** What an answer is worth, and what a failure is. Nothing here does anything:
** it looks at what was asked, what is known and what came, and decides. One
** table (facts: RFC 9110, and six ways in which libcurl says that a wrong body
** is right) that a test and a fuzzer can hold every answer against.
*/
#ifndef SAROS_BITS_JUDGE_H
#define SAROS_BITS_JUDGE_H

#include <stdarg.h>

#include "bits/transfer.h"

/* What was asked for. */
typedef struct judge_asked {
  bool ranged;
  uint64_t from, last;     /* last: or HTTP_UNKNOWN */
  bool conditional;        /* with If-Range */
  const bits_known *known; /* NULL: nothing */
} judge_asked;

typedef enum judge_verdict {
  JUDGE_STORE,    /* from the beginning: this is all of it */
  JUDGE_CONTINUE, /* from asked.from, once the overlap is the same */
  JUDGE_HAVE_ALL, /* 416, and what is here is as long as it should be */
  JUDGE_CHANGED,  /* another representation: nothing that is here counts */
  JUDGE_BARE,     /* the server does not know If-Range: ask without */
  JUDGE_RESTART,  /* this range is wrong: once more, without a range */
  JUDGE_FAIL      /* as the result says */
} judge_verdict;

/* The header of an answer to a GET. A failure fills *r (but `why` is made with
   the URL shown). Also of one that http found wrong (HTTP_WRONG): where a part
   was asked for and a 206 names another, or none, that is JUDGE_RESTART. */
judge_verdict judge_answer(const judge_asked *asked, const bits_terms *terms,
                           const bits_file *f, const http_answer *a,
                           bits_result *r);
/* What shall be known of the representation that this answer begins. NULL: no
   memory. */
bits_known *judge_know(const http_answer *a);
/* Whether it can be continued at all: it has a validator. */
bool judge_can_resume(const bits_known *k);
/* What is sent as If-Range; NULL: nothing is strong enough. */
const char *judge_if_range(const bits_known *k);

/* A request that is over, and not well: every http_end and every status.
   Fills *r: AGAIN, OFFLINE or FAILED (STOPPED, when it was us). `tries`: how
   often the same has happened in a row before, for what is borne three times.
 */
void judge_failure(const http_answer *a, unsigned tries, bits_result *r);
/* Whether this is what is borne three times: who counts tries counts it. */
bool judge_is_borne(const bits_result *r);
/* The same of an errno of a local file: FAILED, context local. */
void judge_local(int number, const char *what, const char *path,
                 bits_result *r);
/* The same of one that is to be sent. */
void judge_source(int number, const char *what, const char *path,
                  bits_result *r);
/* The sentence alone: whose URL (a->url), and what. */
void judge_say(bits_result *r, const http_answer *a, const char *format,
               va_list args) __attribute__((format(printf, 3, 0)));
/* Whether this machine has any network but itself: who is OFFLINE waits for
   it. */
bool judge_has_network(void);

#ifdef SAROS_TEST
void judge_pretend(int network); /* 1: there is one, 2: there is none, 0 */
#endif

#endif
