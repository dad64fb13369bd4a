/*
** The pieces of the guard's owner: starting it (guard_run.c), telling it of
** our end (guard_life.c), its record (guard_record.c), and what finds records
** of the dead (guard_recover.c).
*/
#ifndef SAROS_VSS_GUARD_PARTS_H
#define SAROS_VSS_GUARD_PARTS_H

#include <sys/types.h>

#include "vss/guard.h"

/* A thread by whose end the guard learns of ours (guard_life.c). *theirs is
   the guard's end of a pipe, ours to close. Blocking. */
typedef struct guard_life guard_life;
guard_life *guard_life_begin(int *theirs, error **e);
void guard_life_end(guard_life *l);
void guard_life_forked(guard_life *l); /* in a forked child */

/* Starts a guard with these descriptors as its 0, 1, 2 and so on. Blocking.
 *pidfd is ours. */
error *guard_run(const int *fds, size_t count, pid_t *pid, int *pidfd);

/* The directory of records below `runtime`, made when missing: a descriptor of
   ours. -1 and *e when it may not be trusted. */
int guard_records(const char *runtime, bool make, error **e);
/* A new name, as in guard_hello: without its first byte, a dot, it is that of
   a whole record. */
bool guard_record_name(char name[GUARD_NAME]);
error *guard_record_write(int records, const char *name, pid_t pid,
                          const guard_item *items, size_t count);

/* A process that its number alone does not name for ever. */
typedef struct identity {
  int64_t pid, start; /* start: since boot, in ticks; 0: cannot be told */
} identity;
identity identity_of(pid_t pid);
/* Also true when that cannot be told. */
bool identity_lives(identity who);
/* It has ended, or was killed and only waits for the kernel: none of its
   threads does anything new. */
bool identity_is_doomed(identity who);
/* The letter of its state in /proc ('T': stopped) when every thread of it is in
   that one, else that of the first which is not stopped; 0: it has ended. */
char identity_state(pid_t pid);
/* Until it has ended, or so long. Blocking. */
void identity_await(identity who, int ms);
/* This boot of the machine, and the space in which process numbers mean
   something; "" when it cannot be told. */
void identity_boot(char boot[64]);
void identity_space(char space[64]);

#endif
