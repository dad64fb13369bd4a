/*
** op: the one operation. A C object with one state machine, shared by
** everything above: its states and transitions (op.c), who is told when it
** ends (watch, port), the thread that moves machines (engine, timer), the
** threads that work (pool), and the operations that are real already
** (sleep, gather, process, copy). Nothing here has seen a lua_State.
**
** Lock order, outermost first; a lock further down may be taken while one
** above is held, never the other way round, and never two of one line:
**
**   gate (engine start and stop)
**     engine (timers, inbox)
**       op (one of the stripes)
**         port
**           pool, names, owned fds, log, devices, a process's own
**
** No callback of a kind is called with any of them held.
*/
#ifndef SAROS_OP_OP_H
#define SAROS_OP_OP_H

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/base.h"
#include "op/pool.h"
#include "op/timer.h"
#include "saros.h"

typedef struct watch watch;
typedef struct port port;
typedef struct op_extra op_extra;

/* Bits of saros_op.flags; set under the op's lock, read anywhere. */
#define OP_UNWOUND 0x01u      /* terminal, and nothing of it runs any more */
#define OP_WAITED 0x02u       /* a C thread sleeps on the stripe's condition */
#define OP_POINT_PASSED 0x04u /* the point of no return */
#define OP_ENDED 0x08u        /* the work has said op_finish */
#define OP_WORKING 0x10u      /* the work holds a reference and the engine */
#define OP_OBSERVED 0x20u     /* somebody looked at how it ended */
#define OP_ABANDONED 0x40u    /* unwinding ran out of time */
#define OP_HAS_WATCHES 0x80u  /* progress watches: a hint */

/* There may be a hundred thousand of these: nothing is in here that only few
   of them need, and nothing is wider than it must be. */
struct saros_op {
  _Atomic uint32_t refs;
  _Atomic uint32_t code; /* how it ended: written before the state */
  _Atomic uint8_t state; /* saros_state */
  _Atomic uint8_t flags;
  _Atomic uint8_t percent; /* 0..99, never goes back */
  uint8_t owned;           /* on the list of `owner`, by its mark: its lock */
  uint16_t generation;     /* of the process: see fork.h */
  uint16_t self_at;        /* where behind it `self` is: see op_self */
  const saros_kind *kind;
  op_extra *_Atomic extra; /* what most operations never need */
  watch *watches;
  /* The port it was started from, while it works, and that one's list, under
     the port's lock. Of a kind that no port owns they are the kind's own. */
  port *owner;
  saros_op *owned_next;
  saros_op **owned_link;
  uint64_t begun; /* monotonic nanoseconds */
};

/* Allocated when first needed, never freed before the operation. */
struct op_extra {
  char *name;        /* in the register of names, or NULL */
  const char *phase; /* an interned or literal text */
  char *phase_text;  /* owned, when it is not a literal */
  uint64_t done, total;
  uint64_t ended; /* monotonic nanoseconds */
  error *why;     /* of a failed one */
  value *output;  /* of a succeeded one */
  value *details; /* more for status(): a map, or NULL */
  value *cleanup; /* a list of what could not be undone, or NULL */
  uint32_t win32, transport, retries; /* of a transfer */
  bool transfer_error;                /* they are valid */
  bool unwinding_armed;
  bool unwinding_waits; /* for another, which has such a deadline itself */
  bool no_estimate;
  timer unwinding; /* the deadline of the step being undone */
  saros_op *op;    /* for that timer */
};

/* ------------------------------------------------------------------
** Making and ending. The public half is in saros.h.
** ---------------------------------------------------------------- */

/* Like saros_op_new, with `trailing` bytes behind the operation, zeroed, at
   op_trailing; with no `self` these are it. *why says why NULL was returned;
   may be NULL. */
saros_op *op_create(const saros_kind *kind, void *self, size_t trailing,
                    const char *name, uint32_t *why);
#define op_trailing(op) ((void *)((saros_op *)(op) + 1))
#define op_of_trailing(memory) (((saros_op *)(void *)(memory)) - 1)
/* What its kind's callbacks get. */
void *op_self(saros_op *op);

/* The work begins: takes the work's own reference and the engine. 0, or the
   reason why not (nothing has happened then). Ends with op_finish_error. */
uint32_t op_begin(saros_op *op, saros_state state);
/* saros_op_finish with an error object (taken over; NULL for none). The last
   thing the work does with `op`: its reference goes with it. */
bool op_finish_error(saros_op *op, uint32_t code, error *why);
bool op_end_error(saros_op *op, uint32_t code, error *why);
/* The step that is being undone waits for another operation's unwinding (which
   has deadlines of its own, or a grace that somebody asked for), or no more:
   then its own time begins anew. */
void op_unwinding_waits(saros_op *op, bool waits);
/* The result; taken over. Before op_finish. */
void op_set_output(saros_op *op, value *output);
/* One more field of status(); takes over `item`. */
void op_set_detail(saros_op *op, const char *name, value *item);
/* A literal, cheaper than saros_op_phase. */
void op_phase_literal(saros_op *op, const char *phase);

/* It has moved: its progress watches fire. */
void op_tell(saros_op *op);

/* Cancels: CANCEL_DONE when this call did it. No facade's code. */
typedef enum cancel_result {
  CANCEL_DONE,
  CANCEL_ALREADY,     /* cancelled earlier */
  CANCEL_ENDED,       /* succeeded or failed before */
  CANCEL_TOO_LATE,    /* past its point of no return */
  CANCEL_UNSUPPORTED, /* not this kind */
  CANCEL_FORKED       /* the parent's */
} cancel_result;
cancel_result op_try_cancel(saros_op *op);

/* S6 -> S1, for kinds that are reopenable. */
bool op_reopen(saros_op *op);

/* ------------------------------------------------------------------
** Looking
** ---------------------------------------------------------------- */

#define op_state_now(op) \
  ((saros_state)atomic_load_explicit(&(op)->state, memory_order_acquire))
#define op_flags_now(op) \
  atomic_load_explicit(&(op)->flags, memory_order_acquire)
/* Terminal and unwound, or another process's: a wait is over. */
bool op_is_over(const saros_op *op);
/* Pending in a process that is not ours any more. */
bool op_is_forked(const saros_op *op);
op_extra *op_extra_get(saros_op *op); /* NULL when there is none yet */
void op_observe(saros_op *op);
void op_lock(saros_op *op);
void op_unlock(saros_op *op);

/* The final error of a failed or cancelled one, with a reference; NULL when
   it has none (pending or succeeded). Made up from the code when the work
   gave none. */
error *op_error(saros_op *op);
/* Everything status() shows but Lua's own part. NULL without memory. */
value *op_status(saros_op *op);
/* The output; lives as long as the operation. NULL when there is none. */
const value *op_output(saros_op *op);
/* "vss.do_snapshot_set: pending 42% (freeze)". */
void op_describe(saros_op *op, buffer *b);
const char *op_state_name(saros_state state);

/* ------------------------------------------------------------------
** Names: operations that can be found again.
** ---------------------------------------------------------------- */

/* Takes the operation's name out of the register, if it is in it. */
void op_forget_name(saros_op *op);
/* Calls with every named operation, a reference held meanwhile. */
void op_each_named(void (*call)(void *context, saros_op *op), void *context);

/* ------------------------------------------------------------------
** Test hooks, in test builds only
** ---------------------------------------------------------------- */
#ifdef SAROS_TEST
extern _Atomic int op_fault;    /* the next query finds something broken */
extern _Atomic int vss_profile; /* 2003: the legacy answers; 0: today's */
extern _Atomic unsigned op_unwinding_ms; /* the deadline instead of 30 s */
#endif

#endif
