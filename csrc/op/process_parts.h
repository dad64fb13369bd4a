/*
** What process.c (the beginning, and what others may ask) and
** process_steps.c (the machine) share.
*/
#ifndef SAROS_OP_PROCESS_PARTS_H
#define SAROS_OP_PROCESS_PARTS_H

#include "op/engine.h"
#include "op/output.h"
#include "op/spawn.h"

/* Where it stands, and what comes next. */
typedef enum stage {
  READY,       /* nothing yet: the job is submitted, SPAWNING */
  SPAWNING,    /* the job runs. A child: RUNNING; none: the end */
  RUNNING,     /* it ends: DRAINING; the operation does: TERMINATING */
  TERMINATING, /* TERM was sent. It ends: DRAINING; grace is over: KILLING */
  KILLING,     /* KILL was sent. It ends: DRAINING */
  DRAINING     /* it was reaped. Its outputs and its group end, or have had
                  their time: the end */
} stage;

#ifdef SAROS_TEST
extern _Atomic uint64_t process_drain_ns; /* for who keeps our pipes open */
#endif

/* A descriptor the machine may be waiting for. Not listening means: try. */
typedef struct ear {
  source s;
  bool listening;
} ear;

typedef struct alarm_clock {
  timer t;
  struct process *p;
  bool due;
} alarm_clock;

/* What has three entries is indexed by the child's descriptors. */
typedef struct process {
  machine m; /* first */
  uint16_t generation;
  machine_job job;
  stage stage;
  bool any_status;
  bool captured[3], open[3];
  bool stolen;
  bool scanning;   /* the job looks for the rest of the group */
  bool group_runs; /* what it found */
  bool group_over;
  uint64_t timeout, grace; /* nanoseconds */
  double timeout_seconds;
  uint64_t grace_end;
  uint64_t group_pause;
  uint64_t done; /* bytes read */
  char *input;
  size_t input_size, fed;
  machine *listener;
  spawn child;
  siginfo_t end;
  ear ears[3], child_ear;
  alarm_clock limit; /* of the stage */
  alarm_clock again; /* to look once more */

  /* Below the locks of op and port; nothing of op is called with it held. */
  pthread_mutex_t lock;
  output outs[3];  /* of these, the lines */
  int stream;      /* not yet taken, or -1 */
  bool alive;      /* it may be sent signals: not reaped by us */
  bool input_held; /* after what is there its input is not over */
  buffer more;     /* of it */
} process;

step_result process_step(machine *m);

#endif
