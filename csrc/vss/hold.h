/*
** Holding file systems still: FIFREEZE, deepest first, those of one depth side
** by side; FITHAW in reverse, as much side by side. A part of the coordinator's
** machine: what it waits for wakes that machine.
*/
#ifndef SAROS_VSS_HOLD_H
#define SAROS_VSS_HOLD_H

#include "op/engine.h"
#include "vss/guard.h"
#include "vss/provider.h"

typedef struct hold hold;

typedef struct hold_options {
  const char *runtime; /* directory */
  const char *state;
  double seconds; /* how long at most; 10 */
  bool force;     /* also what holds our own state, log or / */
} hold_options;

/* Blocking. Looks what must be frozen for these shadows (FREEZE_CALLER), each
   file system once; refuses with the reason what holds /, our own state or
   runtime directory, or anything in the register of devices; opens what the
   freeze needs; arms the guard; makes the threads ready. With nothing to
   freeze it makes a hold that does nothing. NULL and *e. */
hold *hold_plan(shadow *const *shadows, size_t count,
                const hold_options *options, error **e);
size_t hold_count(const hold *h); /* how many file systems */

typedef enum hold_step_result { HOLD_WAIT, HOLD_DONE, HOLD_FAILED } hold_result;

/* Engine thread. Each is frozen once and thawed again, as soon as those beside
   it are frozen too, before any writer holds still. What cannot be frozen is
   found then; and for a moment after a freeze the next one need not wait for
   the kernel's grace periods, which is most of what it takes: writers that are
   quick hold still for a fraction of the time. A failure is one as of
   hold_freeze_step. */
void hold_rehearse(hold *h, machine *m);
hold_result hold_rehearse_step(hold *h, error **e);
/* Engine thread. Begins to freeze; then hold_freeze_step at each wake. Of what
   failed *e says why: frozen by somebody else (VSS_E_VOLUME_IN_USE, and it is
   not thawed), out of time (VSS_E_FLUSH_WRITES_TIMEOUT), … A FIFREEZE that
   comes back after that is thawed at once. */
void hold_freeze(hold *h, machine *m);
hold_result hold_freeze_step(hold *h, error **e);
/* Thaws what was frozen, those of one depth side by side, the deepest last;
   also after a failure, and when nothing was. HOLD_FAILED: the guard was first
   (FITHAW said EINVAL), or the hold took too long: VSS_E_HOLD_WRITES_TIMEOUT,
   the set is void. */
void hold_release(hold *h);
hold_result hold_release_step(hold *h, error **e);
/* Since when each shadow's file system is frozen, and till when: into the
   shadows. After the release. */
void hold_times(const hold *h);
/* Blocking: disarms the guard. The FIFREEZEs are back (release waits). */
void hold_free(hold *h);
void hold_forked(hold *h); /* in a forked child: frees, touches nothing */

#ifdef SAROS_TEST
/* Called on the thread that does it; FROZEN before the engine knows, REHEARSED
   when it is frozen for that, REHEARSAL_ENDS before it is thawed again. */
typedef enum hold_moment {
  MOMENT_FLUSH,
  MOMENT_FREEZE,
  MOMENT_FROZEN,
  MOMENT_THAW,
  MOMENT_REHEARSED,
  MOMENT_REHEARSAL_ENDS
} hold_moment;
extern void (*_Atomic hold_hook)(const char *path, hold_moment moment);
/* Nanoseconds: how long one that lies on another waits for that one's thaw. */
extern _Atomic uint64_t hold_patience;
#endif

#endif
