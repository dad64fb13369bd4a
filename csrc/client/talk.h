/*
** talk: a connection to a server, without blocking. It has a thread of its own
** from its first question to its end, which carries out what was asked, one
** after the other: no question waits for a worker that others keep, least of
** all the one that lets a server go on. Each is an operation.
**
** How a server is spoken to is its driver's, which works on that thread as if
** it were alone in the world, but waits only by talk_wait. So what postgres and
** mariadb have in common is written once.
*/
#ifndef SAROS_CLIENT_TALK_H
#define SAROS_CLIENT_TALK_H

#include <stdbool.h>

#include "saros.h"

typedef struct talk talk;

/* What one answer may be at most: who sends more is stopped. */
#define TALK_ANSWER_MOST ((size_t)64 << 20)
/* How long a server has to do what a cancel asks of it; then the connection is
   given up. At the end there is less patience. */
#define TALK_CANCEL_MS 5000
#define TALK_LEAVE_MS 1000

/* Why a question failed; code 0: it did not. No secret is in it. */
typedef struct talk_trouble {
  uint32_t code;
  bool retryable;
  int number;       /* the server's, or errno; 0: none */
  char sqlstate[6]; /* "": none */
  char text[1000];
  char server[600]; /* its own words, without what could upset a terminal */
} talk_trouble;

typedef struct talk_question {
  const char *sql; /* NUL-terminated */
  bool rows;       /* they are the result */
  const char *const *values;
  unsigned count; /* of values; NULL is NULL */
} talk_question;

/* Functions of a kind of server. All but `release` are called on the thread of
   the connection. */
typedef struct talk_driver {
  saros_kind query, exec, close; /* made with TALK_KIND */
  /* Connects, if that was not done; asks, and waits for the answer. A result is
     given away in *result. */
  void (*perform)(talk *t, void *self, const talk_question *q, saros_op *op,
                  saros_value **result, talk_trouble *trouble);
  /* Says goodbye, without waiting for anything. */
  void (*leave)(talk *t, void *self);
  void (*release)(void *self);
} talk_driver;

/* One reference. `label`, which is copied, says where it leads; `self` is taken
   over, also when NULL is returned: no memory, or no descriptors. */
talk *talk_new(const talk_driver *driver, void *self, const char *label);
/* Without its last reference it is closed when nothing is queued any more. */
void talk_unref(talk *t);
const char *talk_label(const talk *t);
/* Opened by the parent of a fork: it must not be touched here. */
bool talk_is_inherited(const talk *t);
/* Connected, and the server has not hung up as far as the socket tells. */
bool talk_is_open(talk *t);

/* Asks; everything is copied. The operation, working, with one reference.
   NULL: no memory. */
saros_op *talk_ask(talk *t, const talk_question *q);
/* Nothing can be asked any more; the operation ends when the connection is
   closed, which is after all that is queued, or, if that is to be cancelled,
   soon. NULL: it is closed already, or no memory. */
saros_op *talk_close(talk *t, bool cancel);

/* ------------------------------------------------------------------
** For drivers
** ---------------------------------------------------------------- */

/* Monotonic milliseconds. */
int64_t talk_now(void);

#define TALK_LATE 0
#define TALK_STOPPED (-1)
/* Waits until the socket has one of these events of poll, which are returned,
   or it is `until` (TALK_LATE), or, if that shall be heeded, the question was
   cancelled (TALK_STOPPED). An error of the socket counts as its events. */
int talk_wait(talk *t, int fd, short events, int64_t until, bool heed);
/* When a cancelled question is given up: by now, from now on. */
int64_t talk_patience(talk *t);
/* The socket that is used from now on, -1: none. Others look at it, and the
   child of a fork closes it. */
void talk_socket(talk *t, int fd);
/* Says why, for a person: "label: …". The first trouble is kept. */
void talk_fail(const talk *t, talk_trouble *trouble, uint32_t code,
               const char *format, ...) __attribute__((format(printf, 4, 5)));
/* A server's words, as they may be shown. `secret` (may be NULL) is taken out
   of them. */
void talk_words(char *to, size_t size, const char *from, const char *secret);

void talk_cancel(saros_op *op, void *self);
void talk_release(void *self);
#define TALK_KIND(name_, flags_)                                               \
  {                                                                            \
    .size = sizeof(saros_kind), .name = (name_), .facade = SAROS_FACADE_SAROS, \
    .flags = (flags_) | SAROS_NO_ESTIMATE, .cancel = talk_cancel,              \
    .release = talk_release                                                    \
  }

#endif
