/*
** What the files of the client share: redis.c queues, redis_talk.c is the
** thread that connects and talks, redis_resp.c reads what is answered.
*/
#ifndef SAROS_CLIENT_REDIS_PARTS_H
#define SAROS_CLIENT_REDIS_PARTS_H

#include <pthread.h>
#include <stdatomic.h>

#include "client/redis.h"
#include "client/redis_resp.h"

/* Something that was asked: the `self` of its operation, which frees it. */
typedef struct item item;
struct item {
  item *next;
  redis *c;     /* a reference */
  saros_op *op; /* none: while it is queued its work has one of its own */
  bool closes;  /* not a command: the end */
  char *bytes;  /* as they are sent */
  size_t size;
};

struct redis {
  _Atomic unsigned refs;
  unsigned generation; /* of the process that opened it */
  char *socket, *host, *port, *user, *place;
  password_source password;
  uint32_t connect_ms;
  int wake; /* an eventfd: something was queued, cancelled, closed */
  /* The thread's own. */
  int fd; /* -1: not connected */
  resp reader;
  /* The rest is under the lock, which is taken with no other one held. */
  pthread_mutex_t lock;
  item *first, **last;
  item *current;
  bool running;   /* it has its thread */
  bool closing;   /* nothing can be asked any more */
  bool hurry;     /* and what is asked is cancelled */
  bool over;      /* the connection was lost */
  bool resolving; /* asks for a host's address: nothing can stop that */
};

typedef struct trouble {
  uint32_t code;
  bool retryable;
  int number;       /* errno */
  char text[1000];  /* what happened, and what to do */
  char server[600]; /* what the server said */
} trouble;

/* redis.c */
/* Takes what is next; NULL: nothing is asked. */
item *redis_take(redis *c);
/* It is not worked on any more, and ends. */
void redis_end(redis *c, item *it, const trouble *t);
/* The thread leaves, if there is nothing to do for it; false: there is. */
bool redis_leave(redis *c);
/* While the thread cannot be woken, what it works on may be cancelled without
   it: false when that happened, and the item is gone. */
void redis_resolves(redis *c);
bool redis_resolved(redis *c);

/* redis_talk.c: the thread; takes over a reference. */
void *redis_live(void *connection);

#endif
