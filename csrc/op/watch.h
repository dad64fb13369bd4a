/*
** Who is told when an operation ends, or moves. A watch is memory of the one
** who waits; it hangs in the operation's list until it fires or is taken out.
*/
#ifndef SAROS_OP_WATCH_H
#define SAROS_OP_WATCH_H

#include "op/op.h"

/* How a watch of one sort tells its owner. */
typedef struct watch_way {
  /* Fires with the operation's lock held: puts a node into a port, no more.
     Returns the port that must be woken (a reference comes with it). */
  port *(*fire)(watch *w);
  /* Or fires with no lock held, once, after which the memory is the owner's
     again. Then watch_remove may come too late, and says so. */
  void (*after)(watch *w);
  bool progress; /* fires also when the operation moves, and stays */
} watch_way;

struct watch {
  watch *next;
  watch **link; /* NULL when it hangs nowhere */
  saros_op *op;
  const watch_way *way;
};

/* False when the operation is over already: the watch does not fire. */
bool watch_add(watch *w, saros_op *op);
/* False when it has fired (or, with `after`, is about to). */
bool watch_remove(watch *w);

#endif
