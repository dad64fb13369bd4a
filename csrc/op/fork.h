/*
** Fork. A child has the memory but not the threads: everything that was
** begun before belongs to the parent. `fork_generation` changes in the child;
** what carries another generation is inert there. File descriptors of ours
** are registered, so that the child can close them at once: a child that
** kept the parent's pipe open would keep the parent waiting for its end.
*/
#ifndef SAROS_OP_FORK_H
#define SAROS_OP_FORK_H

#include <stdbool.h>
#include <stdint.h>

extern uint16_t fork_generation;

/* Once per process, before the first thread. 0 or errno. */
int fork_prepare(void);

/* Registers a descriptor as ours and returns it (also -1): by another number,
   close-on-exec, when it is 0, 1 or 2; -1 and errno when there is none. */
int fd_own(int fd);
/* A pipe of ours. No fork can come between its making and its registration:
   the child would keep its other end open. 0, or -1 and errno; an end may be
   -1 all the same when no number above 2 was left. */
int fd_pipe(int fds[2]);
/* The same with two sockets (AF_UNIX) that are connected. */
int fd_pair(int type, int fds[2]);
/* A socket of ours, and one accepted from it, close-on-exec and not blocking,
   likewise. -1 and errno. */
int fd_socket(int domain, int type);
int fd_accept(int fd);
/* Not ours any more, still open: given to somebody. */
void fd_disown(int fd);
/* Closes it if it is ours, and sets it to -1. */
void fd_close(int *fd);
unsigned fd_count(void);

#endif
