/*
** The pieces of a hold: planning (hold_plan.c), holding (hold.c), and saying
** what went wrong (hold_why.c).
*/
#ifndef SAROS_VSS_HOLD_PARTS_H
#define SAROS_VSS_HOLD_PARTS_H

#include "vss/hold.h"

/* What becomes of a file system. The engine thread gives up what is being
   frozen, the thread that freezes says that it is frozen: whoever is first
   decides which of them has to thaw it. */
typedef enum stop_state {
  STOP_FREE,
  STOP_FREEZING,
  STOP_FROZEN,   /* its thread waits to be let go, and thaws it */
  STOP_GIVEN_UP, /* its thread thaws it as soon as it is frozen */
  STOP_THAWED
} stop_state;

/* One file system that is made to stop. */
typedef struct stop {
  machine_job job; /* first it flushes, then it freezes and thaws */
  hold *h;
  bool submitted; /* the job, and it is not known to be back */
  char *path;     /* its root */
  char *type;
  int fd;
  dev_t key; /* the same for all paths of one file system */
  unsigned depth;
  size_t item; /* of the guard */
  _Atomic int state;
  bool guard_gone;
  int freeze_errno, thaw_errno;
  /* Monotonic nanoseconds: FIFREEZE was called, and had returned; FITHAW had
     returned. 0: it did not come to that. */
  uint64_t begun, frozen_at, thawed_at;
  uint64_t rehearsed; /* nanoseconds that writes waited in the rehearsal */
} stop;

typedef enum hold_phase {
  HOLD_PLANNED,
  HOLD_REHEARSING,
  HOLD_FLUSHING,
  HOLD_FREEZING,
  HOLD_HELD,
  HOLD_BROKEN, /* it could not be done */
  HOLD_RELEASING
} hold_phase;

struct hold {
  uint16_t generation; /* of the process: see fork.h */
  stop *stops;         /* deepest first */
  size_t count;
  shadow **shadows;
  size_t *stop_of; /* of each shadow; `count`: of none */
  size_t shadow_count;
  guard *guard;     /* NULL: nothing to hold */
  unsigned threads; /* of the lane, kept for us */
  double seconds;
  uint64_t limit; /* the same, nanoseconds */
  machine *m;
  timer t, patience;
  hold_phase phase;
  int grace;               /* see grace.h */
  size_t level, level_end; /* those of one depth, being frozen */
  bool expired, was_held;
  const char *late; /* the path of who was, when it expired */
  bool watched;     /* the rehearsal's first freeze was seen */
  pthread_mutex_t lock;
  pthread_cond_t go; /* those that have frozen wait for it to thaw */
  /* Under the lock; hurry: and wait for no other either. */
  bool released, hurry;
};

/* Why it was not frozen, or could not be thawed. */
error *hold_why_not(const stop *s);
error *hold_not_thawed(const stop *s);
/* One that took too long, and what to say of it. */
const char *hold_late_one(const hold *h);
error *hold_too_late(const hold *h, const char *path);
/* What all is worth, when everything is back: the worst, or NULL. */
error *hold_judge(const hold *h);

#endif
