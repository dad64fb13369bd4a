/*
** What the files of the client share: mariadb.c connects and says what went
** wrong, mariadb_ask.c asks.
*/
#ifndef SAROS_CLIENT_MARIADB_PARTS_H
#define SAROS_CLIENT_MARIADB_PARTS_H

#include <mysql.h>

#include "client/mariadb.h"

/* The `self` of a connection: its thread's alone. */
typedef struct mariadb {
  char *socket, *host, *user, *database, *defaults_file, *defaults_group;
  uint32_t port, connect_ms;
  password_source password;
  MYSQL *conn; /* NULL: not connected yet, or any more */
  bool lost;   /* it was; what the session held is gone */
} mariadb;

/* Waits for what libmariadb waits for: what its _cont is to be given, or one of
   these two. */
#define MARIADB_LATE (-2)
#define MARIADB_STOPPED (-3)
int mariadb_wait(talk *t, MYSQL *conn, int status, int64_t until, bool heed);

/* Says why, after one of its functions failed. */
void mariadb_fail(talk *t, MYSQL *conn, talk_trouble *trouble);
/* The connection ends here. `rude`: without a word, since it may hang. */
void mariadb_drop(talk *t, mariadb *m, bool rude);
void mariadb_hang_up(MYSQL *conn, bool rude);
/* One that may connect. NULL: no memory. */
MYSQL *mariadb_new(const mariadb *m);
/* Connects if it was not; false: it could not. */
bool mariadb_log_in(talk *t, mariadb *m, saros_op *op, talk_trouble *trouble);
void mariadb_perform(talk *t, void *self, const talk_question *q, saros_op *op,
                     saros_value **result, talk_trouble *trouble);

#endif
