/*
** A round: several writers are told the same thing, side by side, each with a
** deadline. A part of a machine; what it waits for wakes that machine. Engine
** thread only.
*/
#ifndef SAROS_VSS_ROUND_H
#define SAROS_VSS_ROUND_H

#include "op/engine.h"
#include "op/watch.h"
#include "vss/writer.h"

/* A writer in one session. */
typedef struct seat {
  writer *w;
  writer_link *link; /* NULL: not connected, or hung up */
  value *metadata;   /* NULL: it failed to identify itself */
  uint16_t state;    /* writer_state */
  writer_level level;
  uint32_t failure; /* 0, or as GatherWriterStatus reports it */
  error *why;
  double window; /* its own freeze_timeout, seconds */
  bool selected; /* it takes part */
  bool required;
  bool told_snapshot; /* prepare_snapshot was begun: Abort is due if it fails */
  bool told_freeze;   /* and Thaw or Abort is due */
  uint64_t window_end; /* monotonic; 0: not frozen */
  value *components;   /* names of the selected ones, or NULL: all */
} seat;

typedef struct round round;
typedef void (*round_heard)(round *r, seat *s, saros_op *op);

typedef struct ask {
  watch w;
  timer t;
  round *r;
  seat *s;
  saros_op *op;
  _Atomic bool over, late;
  bool timed, heard, gave_up;
} ask;

struct round {
  machine *m;
  writer_event event;
  ask *asks;
  size_t count, open; /* not heard yet */
  size_t failed;
  _Atomic unsigned hung; /* watches and timers that may still fire */
};

/* Begins to tell every seat of the list. `seconds` is the limit for each; at
   EVENT_FREEZE the seat's own window is (or what is smaller). `details` is
   completed for each writer. False: no memory, nothing was begun. */
bool round_begin(round *r, machine *m, saros_op *of, writer_event event,
                 seat *const *seats, size_t count, value *details,
                 double seconds);
/* True when all have answered, failed or run out of time, and nothing of it
   runs any more; then round_end. Sets each seat's state and failure. */
bool round_step(round *r);
/* Gives up those that have not answered. */
void round_cancel(round *r);
void round_end(round *r); /* frees; after round_step said true */

#endif
