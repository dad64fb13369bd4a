/*
** What the files of the client share: sqlite.c queues, sqlite_carry.c lends
** threads, sqlite_perform.c speaks to SQLite.
*/
#ifndef SAROS_CLIENT_SQLITE_PARTS_H
#define SAROS_CLIENT_SQLITE_PARTS_H

#include <pthread.h>
#include <sqlite3.h>
#include <stdatomic.h>

#include "client/sqlite.h"

/* HRESULT_FROM_WIN32 of what saros.h has no name for. */
#define E_FILE_NOT_FOUND 0x80070002u
#define E_TOO_MANY_FILES 0x80070004u
#define E_WRITE_PROTECT 0x80070013u
#define E_DISK_FULL 0x80070070u

/* Something that was asked: the `self` of its operation, which frees it. */
typedef struct item item;
struct item {
  item *next;
  sqlite *c;    /* a reference */
  saros_op *op; /* none: while it is queued its work has one of its own */
  bool closes;  /* not a statement: the end */
  bool rows;
  uint32_t busy_ms;
  int64_t busy_since; /* monotonic milliseconds: of this wait for a lock */
  char *sql;
  size_t size;
  parameter *parameters;
  unsigned count;
};

struct sqlite {
  _Atomic unsigned refs;
  unsigned generation; /* of the process that opened it */
  char *path;
  bool readonly, create;
  /* Taken with no other lock held. The rest is under it, but that `db` is
     used (and only then changed) by whoever carries. */
  pthread_mutex_t lock;
  pthread_cond_t cancelled; /* what is carried out was cancelled */
  sqlite3 *db;              /* NULL: not open yet, or any more */
  item *first, **last;
  item *current;
  bool carried; /* a worker sees to it, or it stands in line for one */
  bool closing; /* nothing can be asked any more */
  bool inside;  /* a transaction is open */
  uint32_t busy_ms;
  sqlite *next; /* in line */
};

/* sqlite.c */
sqlite *sqlite_ref(sqlite *c);
/* Ends what was taken off the queue; `it` may be gone then. */
void item_end(item *it, uint32_t code, const char *message);
/* Ends all that is queued; it is not carried any more. */
void sqlite_fail_all(sqlite *c, uint32_t code, const char *message);
extern _Atomic unsigned sqlite_generation;

/* sqlite_carry.c: something was queued, and c->carried has just been set.
   `urgent`: lets go of a lock that others may be waiting for. */
void carry(sqlite *c, bool urgent);
/* It stands in line and shall not any more. */
void carry_now(sqlite *c);
void carry_forget(void); /* in the child of a fork */

/* sqlite_perform.c: on the worker that carries it. Returns the code, and says
   why in the message. */
typedef struct trouble {
  char text[1000];
} trouble;
uint32_t item_perform(item *it, trouble *t);

#endif
