/*
** http: requests, many at a time, on one thread of their own. It appears with
** the first that needs it and leaves when nothing is left; libcurl carries the
** bytes, but what an answer is worth is judged here. By file: http.c is the
** door (any thread), thread.c the threads and forks, lane.c those that somebody
** has for himself, loop.c what a thread does, gate.c how many go to one host at
** once, carry.c the libcurl part of one request, head.c reads an answer's
** header and holds it against what was asked, redirect.c says where to go
** next, verdict.c what came of it, wipe.c what is left in libcurl's memory. For
** who speaks to S3 there are sign.h and xml.h.
**
** HTTP/1.1. Nothing is retried here but what was sent into a connection that
** the server had already given up. No time limit but for stalls: bytes in a
** window of time. What a server sends is bounded, whatever it claims.
**
** It knows libcurl and base, and neither operations nor what it is used for.
** libcurl is initialised once, and never cleaned up: the process may be
** somebody else's, who counts too. In a forked child all that was begun before
** is inert, and what is begun there has a thread of its own.
**
** Locks: the register's of threads, then turns (each thread's, while it does
** anything), then the door's. None is held by who asks; the turn is, when a
** callback is called: one that waits for a thread that forks waits for itself
** (for two seconds, if it is a lane's that waits for a disk).
*/
#ifndef SAROS_HTTP_H
#define SAROS_HTTP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/base.h"

#define HTTP_UNKNOWN UINT64_MAX

/* What became of a request. */
typedef enum http_end {
  HTTP_WHOLE,     /* an answer came, whole as far as can be known; any status */
  HTTP_CANCELLED, /* by http_cancel */
  HTTP_STOPPED,   /* by a callback */
  HTTP_UNREACHED, /* there is no such name, or nobody listens */
  HTTP_CUT,       /* the connection was lost */
  HTTP_STALLED,   /* too little came or went for too long */
  HTTP_WRONG,     /* it contradicts itself, or what was asked */
  HTTP_TOO_LARGE, /* more than was allowed */
  HTTP_UNTRUSTED, /* TLS: not who it should be */
  HTTP_ASTRAY,    /* a redirect that is not followed */
  HTTP_MISUSED,   /* such a request cannot be made */
  HTTP_FAILED,    /* on our side: memory, descriptors */
  HTTP_ENDS
} http_end;

typedef enum http_flow {
  HTTP_GO,
  HTTP_PAUSE, /* nothing was taken or given; once more after http_resume */
  HTTP_STOP
} http_flow;

/* One line of a header. A secret one goes to no other origin than the first,
   and is wiped (within libcurl, too, unless the host initialised it before);
   Authorization, Cookie and x-amz-* always are. */
typedef struct http_field {
  const char *name, *value;
  bool secret;
} http_field;

typedef struct http_piece {
  const void *data;
  size_t size;
} http_piece;

typedef struct http_answer {
  http_end end;
  unsigned status;            /* 0: there was none */
  uint64_t length;            /* of the body, as announced; or HTTP_UNKNOWN */
  uint64_t got;               /* of the body */
  uint64_t sent;              /* of ours */
  uint64_t from, last, total; /* of a 206; a total may be HTTP_UNKNOWN */
  bool proven; /* the body's end was marked: nothing is missing */
  bool reused; /* the connection had been used before */
  unsigned redirects;
  const char *url; /* the last one, without its query */
  const char *why; /* a sentence, when it is not whole */
  int number;      /* errno of a connection that failed, or 0 */
  unsigned proxy;  /* what a proxy says that does not lead there, or 0 */
  bool by_proxy;   /* the request names one */
  int curl;        /* CURLcode */
  const struct http_head *fields;
} http_answer;

/* The first field of this name, or NULL; and the i-th, false behind the last.
   A value is bytes of somebody else's. */
const char *http_answer_field(const http_answer *a, const char *name);
bool http_answer_at(const http_answer *a, size_t i, const char **name,
                    const char **text);
/* Seconds from now; false when there is none, or it is nonsense. */
bool http_answer_retry_after(const http_answer *a, uint64_t *seconds);
/* The server's clock: seconds since 1970. */
bool http_answer_date(const http_answer *a, int64_t *date);
/* Any date of a header. */
bool http_date(const char *text, int64_t *date);

/* On the I/O thread, one after the other, and never again after `done`, which
   comes once. They must not block. NULL: not needed. */
typedef struct http_calls {
  /* The header has come and is not wrong. */
  http_flow (*head)(void *context, const http_answer *a);
  http_flow (*body)(void *context, const void *data, size_t size);
  /* At most `most` bytes of ours into `room`: what pieces do not give. */
  http_flow (*give)(void *context, void *room, size_t most, size_t *size);
  /* They are wanted from the start again. False: impossible. */
  bool (*rewind)(void *context);
  void (*done)(void *context, const http_answer *a);
} http_calls;

typedef struct http_lane http_lane;

/* Zero what is not needed. Texts are copied, pieces are not: they stay until
   it is done. */
typedef struct http_ask {
  const char *method; /* "GET" */
  const char *url;    /* absolute, escaped, without user and password */
  const http_field *fields;
  size_t field_count;
  const http_piece *pieces; /* the body: these, or give_size from `give` */
  size_t piece_count;
  bool gives;
  uint64_t give_size;
  bool ranged;             /* from … last, which may be HTTP_UNKNOWN */
  uint64_t from, last;     /* a 200 may answer all the same: all of it */
  uint64_t most;           /* of the answer's body; 0: any */
  unsigned redirects;      /* followed at most; 0: a redirect is an answer */
  unsigned connect_ms;     /* 0: 30 s */
  unsigned stall_ms;       /* 0: 60 s; in which at least … */
  uint64_t stall_bytes;    /* 0: one byte must come or go */
  unsigned per_host;       /* at once, counting all to it; 0: 8 */
  uint64_t down, up;       /* bytes a second; 0: any */
  const char *cacert;      /* a file, instead of the system's */
  const char *proxy;       /* NULL: as the environment says; "": none */
  const char *proxy_login; /* "user:password" for it, or NULL */
  http_lane *lane;         /* NULL: the thread that all share */
  size_t room;             /* to receive into; 0: as usual (128 KiB) */
  bool once;               /* must not be sent twice, whatever happened */
  bool plainly;            /* a large body goes without Expect: 100-continue */
  const http_calls *calls;
  void *context;
} http_ask;

typedef struct http_request http_request;

/* A thread of its own, with connections of its own: whose callbacks may wait
   for a disk (what somebody else does meanwhile is not held up; the time that
   a callback took counts as no stall). It lives until it is dropped, and until
   what was begun on it is over. NULL: *e. In a forked child it is inert. */
http_lane *http_lane_new(const char *name, error **e);
void http_lane_drop(http_lane *lane);
/* Calls on the lane's thread, soon, in the order asked; also from a callback
   (then: behind it). False, and nothing is called: it is inherited, or there is
   no memory. */
bool http_lane_call(http_lane *lane, void (*call)(void *context),
                    void *context);
bool http_lane_is_here(const http_lane *lane); /* this is its thread */

/* Any thread. The caller's reference; NULL sets *e (SAROS_E_INVALIDARG when
   such a request cannot be made). `done` may have been called already. */
http_request *http_start(const http_ask *ask, error **e);
/* Any thread, at any moment, also from a callback, also when it is over. The
   truth comes with `done`. */
void http_cancel(http_request *r);
void http_resume(http_request *r);
void http_limit(http_request *r, uint64_t down, uint64_t up);
/* Whether `done` has returned within so many milliseconds. Not from a callback.
   In a child that has forked meanwhile: never. */
bool http_wait(http_request *r, unsigned ms);
/* Once it is over. */
const http_answer *http_answer_of(const http_request *r);
void http_unref(http_request *r);

/* Who makes one request after the other keeps the thread, and with it the
   connections. The answer is for http_drop and http_is_inherited. */
unsigned http_keep(void);
void http_drop(unsigned kept);
/* It was kept by the parent. */
bool http_is_inherited(unsigned kept);

/* A URL for a person: no user, no query. */
void http_show_url(const char *url, char *text, size_t size);
/* Monotonic milliseconds. */
uint64_t http_clock(void);
/* Compilers leave a memset out of what is freed. */
void http_wipe(void *bytes, size_t size);

#ifdef SAROS_TEST
unsigned http_threads(void); /* that run, or are on their way out */
void http_settle(void);      /* waits until there is none */
extern _Atomic uint64_t http_clock_ahead; /* ms that are said to have passed */
#endif

#endif
