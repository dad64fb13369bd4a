/*
** Starters: each makes an operation and sets it going. NULL when that could
** not be; then *why has the code (or *e the error) and nothing has happened.
*/
#ifndef SAROS_OP_START_H
#define SAROS_OP_START_H

#include "op/op.h"

saros_op *sleep_start(double seconds, const char *name, uint32_t *why);

/* An operation over others: it ends when all are over, or as soon as one of
   them has failed or was cancelled, or as soon as one is over. Holds a
   reference to each; cancels none. */
typedef enum gather_mode {
  GATHER_ALL,
  GATHER_FAILURE,
  GATHER_FIRST
} gather_mode;
saros_op *gather_start(saros_op *const *ops, size_t count, gather_mode mode,
                       uint32_t *why);
bool op_is_gather(const saros_op *op);
/* Not GATHER_FIRST: no single member can end it. */
bool gather_needs_all(saros_op *op);
/* Which one ended it (the first that is over or failed); -1 for none. */
long gather_index(saros_op *op);
/* The n-th of them, or NULL; no reference. */
saros_op *gather_member(saros_op *op, size_t index);

#endif
