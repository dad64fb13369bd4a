/*
** A line from us to a child's process group: when it is cut, the kernel kills
** the whole group. Whoever ends us cuts it (nobody else has our end), and so
** the group does not outlive us: not after _exit, a signal, or execve, when
** nothing of ours runs any more.
**
** It is a pair of sockets. The end that is theirs has a signal for its events
** (F_SETSIG: KILL) and the group for its owner (F_SETOWN), and the one event it
** can have is the end of ours. Nobody holds it: it lies, as a message that is
** never received, in the queue of ours. The kernel tells a socket that its peer
** has closed before it empties that one's queue, so whatever order the
** descriptors of a dying process are closed in, the line outlives us by that
** moment.
**
** What it costs: a descriptor and two sockets for each child. Who has left the
** group, as a daemon does, is not meant, here as everywhere. The group is meant
** and not its number, so a line that is cut too late hits nobody else.
*/
#ifndef SAROS_OP_LIFELINE_H
#define SAROS_OP_LIFELINE_H

typedef struct lifeline {
  int ours;
  int theirs; /* for the child, which makes its group the owner */
} lifeline;

#define LIFELINE_NONE ((lifeline){-1, -1})

/* 0, or the errno of a want of descriptors or memory. Where the system will
   not have it otherwise (a sandbox, say), there is none: the child alone is
   bound to us then. */
int lifeline_make(lifeline *l);
/* The child has its end, or there is no child. */
void lifeline_given(lifeline *l);
void lifeline_cut(lifeline *l);

#ifdef SAROS_TEST
extern _Atomic int lifeline_refused; /* as in such a sandbox */
#endif

#endif
