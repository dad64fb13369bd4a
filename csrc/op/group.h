/*
** A child and its process group, from the spawn to the last of them.
** Numbers of processes are used again; a pidfd is not. So wherever the kernel
** lets us, the group is meant by the pidfd of its leader.
*/
#ifndef SAROS_OP_GROUP_H
#define SAROS_OP_GROUP_H

#include <signal.h>
#include <stdbool.h>
#include <sys/types.h>

/* Sends a signal to the whole group (0: asks whether there is one). 0 or
   errno. */
int group_signal(pid_t pid, int pidfd, int signal);

typedef enum child_end {
  CHILD_LIVES,
  CHILD_ENDED, /* info says how; not reaped yet */
  CHILD_STOLEN /* somebody else has reaped it */
} child_end;
child_end child_look(int pidfd, siginfo_t *info);
void child_reap(int pidfd);

/* Whether one of the group still runs: reads /proc, so on a worker. What is
   dead and was not reaped by its parent does not count; that may be for ever
   in a container. */
bool group_lives(pid_t pid);

#ifdef SAROS_TEST
extern _Atomic int group_old_kernel; /* as before Linux 6.9 */
#endif

#endif
