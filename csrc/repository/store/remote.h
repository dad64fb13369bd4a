/*
** What stores share whose files are behind HTTP: one request that is waited
** for, where the bytes of its answer go, how long one is patient with a server,
** and what all calls together may send and receive.
**
** Its lock is held for moments; http's is taken inside it, and nothing else.
*/
#ifndef SAROS_REPOSITORY_STORE_REMOTE_H
#define SAROS_REPOSITORY_STORE_REMOTE_H

#include <pthread.h>

#include "http/http.h"
#include "repository/store.h"

typedef struct remote_sending remote_sending;

typedef struct remote {
  unsigned kept; /* of http */
  unsigned connections, stall_ms;
  uint64_t retry_ms;
  uint64_t up, down; /* bytes a second, of all calls together; 0: any */
  char *cacert;
  pthread_mutex_t lock;
  /* Under the lock. */
  bool has_answered;   /* somebody is there */
  uint64_t not_before; /* it asked to be left alone until then */
  remote_sending *first;
  unsigned active;
} remote;

/* ------------------------------------------------------------------
** Options: connections (8), retry_seconds (900), stall_seconds (120), cacert,
** limit_upload, limit_download (bytes a second)
** ---------------------------------------------------------------- */

void repo_remote_begin(remote *m);
error *repo_remote_options(remote *m, const value *options, const char *store);
void repo_remote_end(remote *m);
/* An option, or what the environment says (`variable` may be NULL); NULL when
   it is empty. */
const char *repo_remote_text(const value *options, const char *name,
                             const char *variable);
/* host, host:port, [::1]:port */
bool repo_remote_is_host(const char *text, size_t size);
/* Without empty and "." parts; mem_alloc'd. NULL and *why when there is a
   "..", and without *why when there is no memory. */
char *repo_remote_clean_path(const char *text, const char **why);

/* ------------------------------------------------------------------
** One request
** ---------------------------------------------------------------- */

#define REPO_REMOTE_PROBLEM ((size_t)64 << 10)

/* Where the body of an answer goes. */
typedef struct remote_sink {
  /* A good one: to the end of a buffer, which holds `most` of it, or into
     `window`, which is what begins at `from`. Neither: nowhere. */
  buffer *into;
  size_t most;
  char *window;
  size_t window_size;
  uint64_t from;
  /* What came. */
  unsigned status;
  bool good;       /* 2xx */
  buffer problem;  /* the body of one that is not */
  uint64_t passed; /* bytes of the body, of a window's answer */
  size_t filled;   /* of the window */
  size_t start;    /* of the buffer */
} remote_sink;

/* For `calls` of a request, whose context the sink is. */
extern const http_calls repo_remote_calls;
void repo_remote_sink_begin(remote_sink *k);
/* What a call that failed put into the buffer goes. */
void repo_remote_sink_drop(remote_sink *k);
void repo_remote_sink_end(remote_sink *k);

/* Sends it, with what `m` says of limits, and waits until it is over; when it
   is asked to stop, the answer's end says HTTP_CANCELLED. The request is the
   caller's then. */
error *repo_remote_send(remote *m, http_ask *ask, const repo_piece *pieces,
                        size_t count, const repo_stop *stop, http_request **r);

/* ------------------------------------------------------------------
** Whether once more
** ---------------------------------------------------------------- */

typedef enum remote_fate {
  REMOTE_FAIL,  /* it would be the same again */
  REMOTE_AGAIN, /* later, for as long as one may */
  REMOTE_FEW    /* again, but not often: it may be our fault */
} remote_fate;

/* Of an answer that did not come whole. */
typedef struct remote_cut {
  remote_fate fate;
  uint32_t code;
  int number;
  const char *advice; /* or NULL */
} remote_cut;
remote_cut repo_remote_judge(const http_answer *a);

/* Of one call, through all its tries. */
typedef struct remote_tries {
  unsigned count, few;
  uint64_t first_failure;
} remote_tries;

typedef enum remote_next {
  REMOTE_ONCE_MORE,
  REMOTE_GIVES_UP,
  REMOTE_STOPPED
} remote_next;

/* Before a try. False: it was asked to stop. */
bool repo_remote_enter(remote *m, const repo_stop *stop);
/* After one that failed so, with this status: sleeps, if that may help. */
remote_next repo_remote_again(remote *m, remote_tries *t, remote_fate fate,
                              unsigned status, uint64_t retry_after_ms,
                              const repo_stop *stop);
/* An answer came. */
void repo_remote_answered(remote *m);

#ifdef SAROS_TEST
extern _Atomic unsigned repo_remote_backoff_ms; /* at most, between tries */
#endif

#endif
