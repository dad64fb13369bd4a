/*
** A client for Redis: of our own, on a socket that never blocks, with nothing
** but libc. What is asked of a connection is carried out one after the other,
** by a thread that the connection has to itself: what lets a server go that is
** held still must not stand in line for a worker.
**
** A connection that was lost is not made anew behind its owner's back. To
** cancel what the server has heard is to close the connection: Redis has no
** other way, and what it does meanwhile it does to its end.
*/
#ifndef SAROS_CLIENT_REDIS_H
#define SAROS_CLIENT_REDIS_H

#include "client/password.h"
#include "saros.h"

typedef struct redis redis;

typedef struct redis_options {
  const char *socket; /* its path; or: */
  const char *host;
  const char *port;
  const char *user; /* NULL: the default one */
  const password_source *password;
  uint32_t connect_ms; /* until it has logged in */
} redis_options;

/* One reference; NULL: no memory. Nothing is touched: what is asked first
   connects, and fails if that cannot be done. */
redis *redis_open(const redis_options *options);
/* Who opened it closes it, too, before he lets go: its thread keeps it. */
void redis_unref(redis *c);
/* "/run/redis.sock", "host:port" */
const char *redis_place(const redis *c);
/* Opened by the parent of a fork: it must not be touched here. */
bool redis_is_inherited(const redis *c);
/* It was not closed, and the server has not hung up, as far as is known. */
bool redis_is_open(redis *c);

typedef struct redis_word {
  const char *bytes;
  size_t size;
} redis_word;

/* Asks; everything is copied. The operation, working, with one reference.
   NULL: no memory. */
saros_op *redis_ask(redis *c, const redis_word *words, unsigned count);
/* Nothing can be asked any more; the operation ends when it is closed, which is
   after all that is queued, or, if that is to be cancelled, at once. NULL: it
   is closed already, or there is no memory to tell when it is. */
saros_op *redis_close(redis *c, bool cancel);

#endif
