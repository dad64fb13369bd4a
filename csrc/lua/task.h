/*
** A task: a coroutine that is an operation too. Its memory lies behind the
** operation's; what threads may touch of it is `events`, the node, the watch
** and the timer, each by its own rules.
*/
#ifndef SAROS_LUA_TASK_H
#define SAROS_LUA_TASK_H

#include "lua/state.h"

/* What woke it: set by any thread, read by the dispatcher. */
#define WOKE_OVER 1u   /* what it waited for is over, or has moved */
#define WOKE_TIME 2u   /* its time is up */
#define WOKE_CANCEL 4u /* it was cancelled */

/* What the state's thread knows of it. */
#define TASK_STARTED 0x01u
#define TASK_READY 0x02u   /* in the ready list */
#define TASK_PARKED 0x04u  /* yielded in a wait of ours */
#define TASK_RUNNING 0x08u /* on the stack of resumes */
#define TASK_CANCEL 0x10u  /* the next wait raises */
#define TASK_FAILED 0x20u  /* its results are one error */
#define TASK_ENDED 0x40u
#define TASK_POISONED 0x80u  /* it yielded on its own: raises there */
#define TASK_NO_CYCLE 0x100u /* what this mark's walk found */

/* Tasks that saros.run waits for together. */
typedef struct group {
  unsigned refs;
  unsigned live;
} group;

typedef struct wait_timer {
  timer t;
  task *owner;
} wait_timer;

/* Hears when an operation moves: what progress() and lines() wait on. */
typedef struct mover {
  watch w;
  port_node node;
  port *port; /* a reference */
  task *waiter;
  bool moved;
} mover;

struct task {
  watch w;
  port_node node;
  _Atomic unsigned events;
  unsigned flags;
  state *_Atomic s; /* NULL after the end; another state may ask */
  port *port;       /* a reference, for cancels from elsewhere */
  lua_State *co;    /* kept in KEEP_THREADS until it has ended */
  task *ready_next;
  task *next, **link;   /* in the state's list */
  saros_op *waiting_on; /* while it is parked or blocked: a reference */
  wait_timer *time;
  mover *on_mover;
  group *group;
  char *complaint;  /* the error, when nobody has looked yet */
  uint32_t outcome; /* the code it ends with */
  unsigned mark;    /* of a walk along waits */
  int slot;
  _Atomic int handles; /* in Lua, of any state */
};

#define task_op(t) op_of_trailing(t)
bool op_is_task(const saros_op *op);
/* The task, if it is one of this state and has not ended; else NULL. */
task *task_of(state *s, saros_op *op);

/* Makes a task of the function and the n arguments at the top, which it pops;
   leaves its handle there. Not started: task_ready does that. Raises. */
task *task_push(lua_State *L, state *s, int nargs, const char *name);
/* The same by another name: "vss.shadow" is a task to Lua and an operation of
   that facade to everybody. */
task *task_push_as(lua_State *L, state *s, const saros_kind *kind, int nargs,
                   const char *name);
const saros_kind *task_kind(const char *name); /* NULL: there is none */
void task_ready(state *s, task *t);
/* Runs it until it parks or ends. */
void task_resume(lua_State *L, state *s, task *t);
/* Ends it without running it: forgotten, or its state closes. */
void task_discard(lua_State *L, state *s, task *t);
/* It waits for this, until task_unpark: who else held it may let it go. */
void task_wait_for(task *t, saros_op *op);
/* Undoes parking: nothing will wake it any more. */
void task_unpark(task *t);
/* After a fork: what was inherited does not go on. */
void task_forget_all(lua_State *L, state *s);
/* Says once what nobody has looked at. */
void task_complain(lua_State *L, task *t);
/* Results: pushes them all; of a failed one the error alone. */
int task_push_results(lua_State *L, int handle, task *t);
/* Asks it to raise at its wait, once more. */
void task_cancel_again(task *t);
/* Cancels as its facade does; a task of this state is told at once. */
uint32_t task_cancel_op(state *s, saros_op *op);
/* Raises in a task that was cancelled: every wait begins with it. */
void task_raise_cancel(lua_State *L, task *t);
/* The node of a task was taken out of the port. */
void task_node_taken(state *s, task *t, int type);
/* A task that starts when an operation is over. */
bool task_start_after(task *t, saros_op *op);
port *task_fire(watch *w);

/* Like op_describe, with where the task's function is written. */
void task_describe(lua_State *L, state *s, saros_op *op, buffer *b);

group *group_new(void);
void group_unref(group *g);

#endif
