/*
** client: PostgreSQL over libpq's functions that do not block. What waits in
** libpq all the same (names that must be looked up, a password file on a disk
** that does not move) makes a connection's own thread wait and nobody else.
**
** Passwords come by libpq's own means (PGPASSFILE, a service file). libpq has
** no SIGPIPE changed for the process: it sends with MSG_NOSIGNAL.
*/
#ifndef SAROS_CLIENT_POSTGRES_H
#define SAROS_CLIENT_POSTGRES_H

#include "client/talk.h"

typedef struct postgres_options {
  const char *conninfo;
  uint32_t connect_ms;
} postgres_options;

/* NULL: no memory, or *why says what is wrong with the conninfo. Nothing is
   touched: the first question connects. */
talk *postgres_open(const postgres_options *options, const char **why);
/* libpq's version, as a number. */
int postgres_version(void);

#endif
