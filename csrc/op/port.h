/*
** A port: one Lua state's mailbox (or any other loop's). Nodes are memory of
** whoever waits; a file descriptor is readable while there are some.
*/
#ifndef SAROS_OP_PORT_H
#define SAROS_OP_PORT_H

#include "op/op.h"

typedef struct port_node port_node;

struct port_node {
  port_node *next;
  port_node **link; /* NULL when it is in no queue */
  int type;         /* the owner's; set when it is queued */
  /* The same without the lock, for its owner: when it is false, nobody but a
     push that is still to come queues it. */
  _Atomic bool queued;
};

typedef struct port_taken {
  port_node *node;
  int type;
} port_taken;

struct port {
  _Atomic uint32_t refs;
  uint16_t generation;
  int fd; /* eventfd */
  pthread_mutex_t lock;
  port_node *first, **last;
  _Atomic bool signalled; /* there are nodes */
  _Atomic bool written;   /* the fd was, or is about to be, written */
  bool awake;             /* the owner looks by itself: no need to write */
  bool shut;              /* he never looks again */
  saros_op *owned;        /* started from here and still working */
  uint8_t mark;           /* what is started now gets this: not 0 */
};

port *port_open(uint32_t *why); /* holds the engine */
/* No node may be queued any more and no watch refer to it; forgets the
   operations it owns. */
void port_close(port *p);
void port_unref(port *p);
/* Nothing is queued from here on; what is can still be taken. */
void port_shut(port *p);
/* Puts a node at the end unless it is in the queue or that is shut (*queued,
   which may be NULL, says which); returns the port, with a reference, when it
   must be woken with port_wake (no lock held). */
port *port_push(port *p, port_node *n, int type, bool *queued);
void port_wake(port *p); /* takes over the reference */
bool port_remove(port *p, port_node *n);
#define port_signalled(p) \
  atomic_load_explicit(&(p)->signalled, memory_order_acquire)
/* While its owner is awake nobody writes the descriptor. Before he sleeps, or
   leaves the descriptor to a host's loop, he says so; true: there are nodes,
   do not sleep. */
void port_awake(port *p);
bool port_doze(port *p);
/* Empties the descriptor: before port_take, never after it. The descriptor may
   be readable although there are no nodes: whoever polled it drains it. */
void port_drain(port *p);
/* Takes up to `most` nodes out, oldest first. A node that was taken may be
   pushed again at once: look at it before anything else runs. */
size_t port_take(port *p, port_taken *taken, size_t most);
/* Makes the descriptor readable without a node. */
void port_poke(port *p);
/* Sleeps in poll(2) until it is readable. 1 readable, 0 time is up, -1 a
   signal arrived. ms < 0: no limit. */
int port_poll(port *p, int64_t ns);

void port_own(port *p, saros_op *op);
#define PORT_MARK 1u      /* of most */
#define PORT_MARK_ROOT 2u /* … of what somebody wants to find again */
/* Up to `most` of those with the second mark, with a reference each; how many
   there are. */
size_t port_marked(port *p, saros_op **list, size_t most);
/* From now on they are like all others. */
void port_unmark(port *p);
/* In op_finish, with the operation's lock held. */
void port_disown(saros_op *op);
/* Cancels what was started from here, still works, and nobody else holds;
   waits at most `ms` until it is unwound; lets all of it go. */
void port_leave(port *p, uint32_t ms);
/* The same for all of it, whoever holds it. */
void port_leave_all(port *p, uint32_t ms);

#endif
