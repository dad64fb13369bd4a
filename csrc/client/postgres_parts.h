/*
** What the files of the client share: postgres.c connects and says what went
** wrong, postgres_ask.c asks.
*/
#ifndef SAROS_CLIENT_POSTGRES_PARTS_H
#define SAROS_CLIENT_POSTGRES_PARTS_H

#include <libpq-fe.h>

#include "client/postgres.h"

/* The `self` of a connection: its thread's alone. */
typedef struct postgres {
  char *conninfo;
  uint32_t connect_ms;
  PGconn *conn; /* NULL: not connected yet, or any more */
  bool lost;    /* it was; what the session held is gone */
} postgres;

/* Says why, after a libpq function failed or gave an error (NULL: see the
   connection). */
void postgres_fail(talk *t, const postgres *p, const PGresult *r,
                   talk_trouble *trouble);
/* The connection ends here. */
void postgres_drop(talk *t, postgres *p);
void postgres_perform(talk *t, void *self, const talk_question *q, saros_op *op,
                      saros_value **result, talk_trouble *trouble);
/* Connects if it was not; false: it could not. */
bool postgres_connect(talk *t, postgres *p, saros_op *op,
                      talk_trouble *trouble);

#endif
