/*
** A telling: several writers are told the same thing, side by side, each with a
** deadline. A part of a machine; what it waits for wakes that machine. Engine
** thread only.
*/
#ifndef SAROS_VSS_TELLING_H
#define SAROS_VSS_TELLING_H

#include "op/engine.h"
#include "op/watch.h"
#include "vss/writer.h"

/* A writer in one session. */
typedef struct seat {
  writer *w;
  writer_link *link;  /* NULL: not connected, or hung up */
  value *metadata;    /* NULL: it has not identified itself */
  writer_state state; /* as a requester may ask for it */
  writer_level level;
  uint32_t failure; /* 0, or as GatherWriterStatus reports it */
  error *why;
  double window;       /* its own freeze_timeout, seconds */
  bool selected;       /* it takes part */
  bool due;            /* it is told next */
  bool required;       /* its failure is never ignored */
  bool told_prepare;   /* prepare_backup was begun: it hears of the end */
  bool told_snapshot;  /* prepare_snapshot was begun: Abort may be due */
  bool told_freeze;    /* Thaw or Abort is due */
  bool unheard;        /* of Abort, for want of memory */
  bool held;           /* it held still in this set, from freeze to thaw */
  uint64_t window_end; /* monotonic; 0: not frozen */
  /* When freeze was told, when it held still, when it went on; 0: never. */
  uint64_t asked_at, still_at, went_at;
  value *components; /* names of the selected ones; NULL: all */
  value *succeeded;  /* names of those that went well; NULL: none */
  value *said;       /* what it said beyond yes; NULL: nothing */
} seat;

/* said.c: what a writer says beyond yes, in what an event results in. NULL, or
   why that is not fit to be kept: a veto. Nothing is fit. */
error *said_check(const value *said);
/* The same, and adds it to what was said before; that stays where it fails. */
error *said_add(value **all, const value *more);
/* As the field "said", if it said anything. False: no memory. */
bool said_put(value *v, const seat *t);

typedef struct telling telling;

/* Begins to tell every seat of the list (which is copied). `seconds` is the
   limit for each; of EVENT_FREEZE the seat's own window. `details` is what all
   are told; what is a writer's own is added. NULL: no memory, nothing was
   begun. */
telling *telling_begin(machine *m, writer_event event, seat *const *seats,
                       size_t count, const value *details, double seconds);
/* Asks every seat of the list how it fares, without telling it anything new:
   whoever does not answer within `seconds`, or hangs up, is not there any more,
   and its state says so; all others stay as they are, whatever they answer. */
telling *telling_ask(machine *m, seat *const *seats, size_t count,
                     const value *details, double seconds);
/* At each wake. True: every seat has answered, failed, or run out of time, and
   its state says so. What was given up may still run: the telling is kept until
   it is drained. */
bool telling_decided(telling *r);
bool telling_drained(telling *r);
/* Gives up those that have not answered. */
void telling_cancel(telling *r);
void telling_free(telling *r); /* drained; NULL is fine */

#endif
