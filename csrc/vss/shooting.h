/*
** What the coordinator's files share: coordinator.c (the steps), members.c (the
** jobs of the providers), outcome.c (what is told of a set in the end).
*/
#ifndef SAROS_VSS_SHOOTING_H
#define SAROS_VSS_SHOOTING_H

#include "vss/hold.h"
#include "vss/session_parts.h"

typedef struct member_job {
  machine_job mj; /* first */
  work *w;
  shadow *m;
  error *e;
  bool out;
  /* Its record, on its way to the disk by a thread of its own. */
  machine_job noting;
  value *record;
  error *note_error;
  bool notes;
} member_job;

typedef struct shooting {
  hold *hold;
  hold_options holding;
  places *at;
  member_job jobs[VOLUMES_MOST];
  size_t job_count;
  unsigned level;      /* index into `levels` */
  timer window;        /* the first writer's freeze that runs out */
  timer again;         /* when Abort is told again */
  work *w;             /* for the timers */
  bool windowed;       /* it is set */
  bool waits;          /* for the other one */
  unsigned told;       /* how often Abort was */
  bool holds;          /* hold_rehearse or hold_freeze was called */
  bool releasing;      /* hold_release was */
  bool released;       /* and it is done: the hold is a job's from here on */
  uint64_t held_from;  /* the first writer was told to freeze */
  uint64_t shown_from; /* the same, or the file systems were, without any */
  uint64_t held_to; /* the first was told to thaw, or all file systems were */
} shooting;

/* One job for each member; shooting_back: all are back, and the first of their
   errors is the work's. */
void shooting_submit(work *w, pool_lane lane, void (*run)(machine_job *mj));
bool shooting_back(work *w);
/* The same of the records that are on their way to the disk since job_prepare,
   which must be back. Nothing that they name is made before. */
bool shooting_noted(work *w);
void job_prepare(machine_job *mj);
void job_commit(machine_job *mj);
void job_finish(machine_job *mj);
void job_destroy(machine_job *mj);
/* One for all. */
void job_places(machine_job *mj);
void job_plan(machine_job *mj);
void job_disarm(machine_job *mj);

/* Engine thread: job_plan and job_disarm, by a thread where they may block. */
void shooting_plan(work *w);
void shooting_disarm(work *w);

#ifdef SAROS_TEST
/* Called on the engine thread at the beginning of each of its stages. */
extern void (*_Atomic coordinator_hook)(int stage);
#endif

/* { set, held, skew, snapshots, writers }; NULL: no memory. */
value *shooting_outcome(const work *w);

#endif
