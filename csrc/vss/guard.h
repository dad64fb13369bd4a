/*
** The guard: a small process of its own that lets go what we hold, when we
** cannot any more. It exists, and has said so, before anything is frozen; it
** waits for our end (a pipe, and our pidfd, because a forked child may keep
** the pipe), or for the deadline of each thing held; it opens nothing and
** writes nothing. A record on tmpfs names what may be frozen or stopped, for
** the case that guard and owner are killed together.
*/
#ifndef SAROS_VSS_GUARD_H
#define SAROS_VSS_GUARD_H

#include <sys/types.h>

#include "vss/guard/talk.h"
#include "vss/vss.h"

typedef struct guard_item {
  guard_action action;
  int fd;           /* the guard gets its own copy */
  uint32_t ms;      /* from the mark on: then it acts */
  const char *path; /* for the record and the log */
  /* Of GUARD_CONTINUE: whose pidfd it is, for the record. Since boot, in
     ticks; 0: cannot be told. */
  int64_t pid, start;
} guard_item;

typedef struct guard guard;

/* Blocking: for a worker. `runtime` is the runtime directory. Returns when the
   guard has answered; NULL and *e (SAROS_E_REFUSED and why) when there can be
   none: then nothing may be frozen. Items are acted upon in the order given.*/
guard *guard_arm(const guard_item *items, size_t count, const char *runtime,
                 error **e);
/* From here the item may be held by us (true), or surely is not (false). Any
   thread; does not block; allocates nothing. False: the guard is gone. */
bool guard_mark(guard *g, size_t item, bool held);
/* Sends it away without acting, takes its record away, frees. Blocking. What
   it did by itself meanwhile is returned as bits by item. */
uint64_t guard_disarm(guard *g);
/* In a forked child: closes our ends, frees; the parent's guard goes on. */
void guard_forget(guard *g);
/* Thaws and continues what records of dead guards and dead owners name.
   Blocking. `report` (may be NULL) gets a list of sentences. */
error *guard_recover(const char *runtime, value *report);

/* Waits, ten seconds at most, for guards of the dead that may still thaw one
   of these file systems: a freeze has no owner, and ours would be undone. Then
   recovers what is on them. Blocking. The error (SAROS_E_REFUSED) names one
   that cannot be waited for. */
error *guard_await_others(const char *runtime, const dev_t *devices,
                          size_t count);

#ifdef SAROS_TEST
pid_t guard_pid(const guard *g);
extern _Atomic uint32_t guard_leave_ms; /* as in talk.h */
#endif

#endif
