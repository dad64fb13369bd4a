/*
** What the three files of the operation share: op.c (references, locks, the
** beginning), op_end.c (every end and its unwinding), op_moves.c (what is in
** between, and waiting from C). Nobody else includes this.
*/
#ifndef SAROS_OP_OP_PARTS_H
#define SAROS_OP_OP_PARTS_H

#include "op/fork.h"
#include "op/op.h"
#include "op/port.h"
#include "op/watch.h"

static inline void flag(saros_op *op, unsigned bits) {
  atomic_fetch_or_explicit(&op->flags, (uint8_t)bits, memory_order_release);
}

static inline void unflag(saros_op *op, unsigned bits) {
  atomic_fetch_and_explicit(&op->flags, (uint8_t)~bits, memory_order_release);
}

static inline bool flagged(const saros_op *op, unsigned bits) {
  return (op_flags_now(op) & bits) != 0;
}

static inline bool pending(const saros_op *op) {
  return !saros_state_is_terminal(op_state_now(op));
}

static inline void move(saros_op *op, saros_state state) {
  atomic_store_explicit(&op->state, (uint8_t)state, memory_order_release);
}

/* In a forked child an inherited operation is inert: nothing moves it, and
   no callback of its kind but `release` is called. */
static inline bool ours(const saros_op *op) {
  return op->generation == fork_generation;
}

/* The extra, made when there is none; with or without the lock. NULL without
   memory. */
op_extra *op_extra_make(saros_op *op);
/* With the lock held: sleeps until op_stir (`until` NULL: no limit); 0 or
   ETIMEDOUT. Wakes also for others of the same stripe. */
int op_sleep(saros_op *op, const struct timespec *until);
/* With the lock held: wakes the C threads that sleep. */
void op_stir(saros_op *op);
/* With the lock held: true when the engine cannot stop until engine_release,
   even if the work ends as soon as the lock is let go. */
bool op_hold_engine(const saros_op *op);

/* What a change has collected under the lock and does after it: ports to
   wake, watches to call. */
typedef struct aftermath {
  port *ports[8];
  int count;
  watch *calls;
} aftermath;

void aftermath_add(aftermath *a, port *p); /* NULL is nothing */
void aftermath_do(aftermath *a);

#endif
