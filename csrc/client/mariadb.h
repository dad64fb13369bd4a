/*
** client: MariaDB over the functions of libmariadb that do not block. What
** waits in there all the same (names that must be looked up, an option file on
** a disk that does not move) makes a connection's own thread wait and nobody
** else.
**
** A password comes from an option file, or as password.h has it. It is never
** sent in the clear (plugins that do are refused), and no server is given a
** file of ours (LOCAL INFILE). libmariadb has no SIGPIPE changed for the
** process: one that is provoked waits on our thread, where it is blocked, and
** ends with that.
*/
#ifndef SAROS_CLIENT_MARIADB_H
#define SAROS_CLIENT_MARIADB_H

#include "client/password.h"
#include "client/talk.h"

/* What is not given may be in an option file. */
typedef struct mariadb_options {
  const char *socket;
  const char *host;
  const char *user;
  const char *database;
  const char *defaults_file;
  const char *defaults_group;
  uint32_t port; /* 0: none */
  uint32_t connect_ms;
  const password_source *password;
} mariadb_options;

/* NULL: no memory. Nothing is touched: the first question connects. */
talk *mariadb_open(const mariadb_options *options);
/* libmariadb's version, as text. */
const char *mariadb_version(void);

#endif
