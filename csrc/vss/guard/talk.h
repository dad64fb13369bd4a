/*
** What the guard and its owner say to each other, over a socket pair that
** keeps messages apart. Both are built together, but SAROS_GUARD may name a
** guard of another day: hence the version.
*/
#ifndef SAROS_VSS_GUARD_TALK_H
#define SAROS_VSS_GUARD_TALK_H

#include <stdint.h>

#define GUARD_VERSION 0x53475203u
#define GUARD_MOST 64 /* items; they are bits of a number */
#define GUARD_NAME 48 /* bytes, of a record's name and its NUL */

typedef enum guard_action {
  GUARD_THAW,     /* FITHAW on a directory's descriptor */
  GUARD_CONTINUE, /* SIGCONT by a pidfd */
  GUARD_CLOSE     /* nothing: that the guard's own copy is closed is it */
} guard_action;

/* The guard's descriptors, from 0 on. */
enum {
  GUARD_SOCKET,  /* to its owner */
  GUARD_OWNER,   /* the owner's pidfd */
  GUARD_LIFE,    /* a pipe that hangs up when the owner begins to die */
  GUARD_RECORDS, /* the directory of records */
  GUARD_FIRST    /* the first item's */
};

/* Owner to guard, first. */
typedef struct guard_hello {
  uint32_t version, count;
  uint32_t leave_ms; /* an owner that has closed its end and lives on: so long
                        what cannot be let go is tried again */
  char record[GUARD_NAME]; /* with a dot before it while it is written; to be
                              unlinked when all was let go */
  struct {
    uint32_t action, ms;
  } items[GUARD_MOST];
} guard_hello;

/* Owner to guard, then. */
enum { ORDER_HELD = 1, ORDER_FREE, ORDER_DISARM };
typedef struct guard_order {
  uint32_t what, item;
  uint64_t at; /* nanoseconds of CLOCK_BOOTTIME, of the mark */
} guard_order;

/* Guard to owner: ready once, acted whenever it did, bye at last. */
enum { TOLD_READY = 1, TOLD_ACTED, TOLD_BYE };
typedef struct guard_told {
  uint32_t what, version;
  uint64_t acted; /* items that it let go by itself, so far */
} guard_told;

#endif
