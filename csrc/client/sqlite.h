/*
** client: databases without blocking. SQLite has no such thing as an answer
** that comes later, so a connection's statements are carried out by a worker
** of the lane, one after the other, in the order in which they were asked for.
** Each is an operation: it can be waited for, and cancelled, which interrupts
** it.
**
** This is a module of its own, since saros.core needs libc alone: it has the
** engine through saros.h, as anybody's module would.
*/
#ifndef SAROS_CLIENT_SQLITE_H
#define SAROS_CLIENT_SQLITE_H

#include <stdbool.h>

#include "saros.h"

typedef struct sqlite sqlite; /* a connection */

typedef struct sqlite_options {
  const char *path;
  uint32_t busy_ms; /* how long a statement waits for others' locks */
  bool readonly;
  bool create; /* a file that is not there becomes an empty database */
} sqlite_options;

/* One reference; NULL: no memory. Nothing is touched: its first statement
   opens the file, and fails if that cannot be opened. */
sqlite *sqlite_open(const sqlite_options *options);
/* Without its last reference it is closed when nothing is queued any more. */
void sqlite_unref(sqlite *c);
const char *sqlite_path(const sqlite *c);
/* Opened by the parent of a fork: it must not be touched here. */
bool sqlite_is_inherited(const sqlite *c);
/* For the statements that are asked for from now on. */
void sqlite_set_busy(sqlite *c, uint32_t ms);

typedef enum parameter_type {
  PARAMETER_NULL,
  PARAMETER_INTEGER,
  PARAMETER_REAL,
  PARAMETER_TEXT,
  PARAMETER_BLOB
} parameter_type;

typedef struct parameter {
  parameter_type type;
  const char *name; /* without its : @ $; NULL: the next in order */
  int64_t integer;
  double real;
  const char *bytes;
  size_t size;
} parameter;

typedef struct question {
  const char *sql;
  size_t size;
  bool rows; /* of one statement: its rows are the result */
  const parameter *parameters;
  unsigned count; /* of parameters: then, too, it is one statement */
} question;

/* Asks; everything is copied. The operation, working, with one reference: its
   result is a list of rows, or { changes, last_id }. NULL: no memory. */
saros_op *sqlite_ask(sqlite *c, const question *q);
/* Nothing can be asked any more; the operation ends when the file is closed,
   which is after all that is queued, or, if that is to be cancelled, soon. A
   transaction that is open is rolled back. NULL: it is closed already, or no
   memory; then the last reference closes it. */
saros_op *sqlite_close(sqlite *c, bool cancel);

#endif
