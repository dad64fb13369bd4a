/*
** Watches: see watch.h.
*/
#include "op/watch.h"

#include "op/fork.h"

bool watch_add(watch *w, saros_op *op) {
  op_lock(op);
  bool pending = !op_is_over(op);
  if (pending) {
    if (w->op != op) w->op = op; /* set already: another may read it */
    w->next = op->watches;
    if (w->next != NULL) w->next->link = &w->next;
    w->link = &op->watches;
    op->watches = w;
    if (w->way->progress)
      atomic_fetch_or_explicit(&op->flags, OP_HAS_WATCHES,
                               memory_order_relaxed);
  }
  op_unlock(op);
  return pending;
}

bool watch_remove(watch *w) {
  saros_op *op = w->op;
  if (op == NULL) return false;            /* never hung anywhere */
  if (op->generation != fork_generation) { /* a list that may be torn */
    bool was = w->link != NULL;
    w->link = NULL;
    return was;
  }
  op_lock(op);
  bool there = w->link != NULL;
  if (there) {
    *w->link = w->next;
    if (w->next != NULL) w->next->link = w->link;
    w->link = NULL;
  }
  op_unlock(op);
  return there;
}
