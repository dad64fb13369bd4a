/*
** The engine: one background thread that moves machines on. It starts with
** the first operation or port and stops with the last. It never touches file
** data, TLS, DNS, or a path outside the runtime directory.
**
** A machine is an operation written as a `step` over an enum: the engine
** calls step when something it waits for has happened (a job came back, a
** timer, a file descriptor, a child operation, a cancel).
*/
#ifndef SAROS_OP_ENGINE_H
#define SAROS_OP_ENGINE_H

#include "op/op.h"

/* Holds the engine; starts it when it does not run. 0 or a saros code. */
uint32_t engine_acquire(void);
/* Once more, by who knows that it is held already: takes no lock. */
void engine_hold(void);
void engine_release(void);
bool engine_is_here(void);   /* on the engine's own thread */
uint64_t engine_clock(void); /* monotonic nanoseconds */
unsigned engine_users(void);

/* What a step tells the engine to do next. */
typedef enum step_result {
  STEP_AGAIN, /* it moved: call step again at once */
  STEP_WAIT,  /* something that was asked for will wake it */
  STEP_END    /* machine_finish was called: never call again */
} step_result;

typedef struct machine machine;

struct machine {
  saros_op *op;
  step_result (*step)(machine *m);
  machine *next; /* in the inbox */
  bool queued;   /* under the engine's lock, like the next */
  bool ended;
};

/* Any thread that holds the operation and the engine (the callbacks of a kind
   are called with both held); nothing after the end. */
void machine_wake(machine *m);
/* Sets the flag and wakes it, so that the machine may end as soon as it sees
   the flag: for watches that fire on other threads. */
void machine_wake_flag(machine *m, _Atomic bool *flag);
/* op_finish_error for machines: no wake can come after it. In step only; its
   jobs are back, its timers cancelled, its sources dropped. */
void machine_finish(machine *m, uint32_t code, error *why);

/* A timer of a machine or of anything. `fire` runs on the engine thread with
   no lock held; when timer_cancel returns false it has run, runs, or is about
   to, so what it touches must stay, and must not be set again before it ran.
   Who sets one holds the engine. In a forked child nobody may cancel a timer
   that was inherited: it is forgotten already. */
void timer_set(timer *t, uint64_t deadline_ns);
bool timer_cancel(timer *t);
/* The same, but `fire` runs with the engine's lock held: timer_cancel is
   exact. It may only push to a port. */
void timer_set_locked(timer *t, uint64_t deadline_ns);

/* A file descriptor of a machine. Ready events collect in `ready` and wake the
   machine; level-triggered, one-shot: arm it again after each. Engine thread
   only. */
typedef struct source {
  machine *m;
  int fd;
  uint32_t ready;
  bool added;
} source;
int source_arm(source *s, int fd, uint32_t events); /* 0 or errno */
void source_drop(source *s); /* before the fd is closed */

/* A job of a machine: run on a worker, then the machine is woken. */
typedef struct machine_job {
  job j;
  machine *m;
  void (*work)(struct machine_job *mj);
  _Atomic bool back;
} machine_job;
int machine_submit(machine *m, machine_job *mj, pool_lane lane,
                   void (*work)(machine_job *mj)); /* 0 or errno */

#endif
