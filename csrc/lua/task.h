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
#define TASK_TIMED 0x200u    /* its timer is set */
#define TASK_EXTRA 0x400u    /* it has an extra, which has the group then */
#define TASK_BACKGROUND 0x800u
#define TASK_SURELY 0x1000u /* begins also when it was cancelled before */
#define TASK_ROOT 0x2000u   /* what it starts is found again: see descent */

/* Tasks that saros.run waits for together. */
typedef struct group {
  unsigned refs;
  unsigned live;
} group;

/* Hears when an operation moves: what progress() and lines() wait on. */
typedef struct mover {
  watch w;
  port_node node;
  port *port; /* a reference */
  task *waiter;
  bool moved;
} mover;

/* What most tasks never need: from when it is needed to the task's end. */
typedef struct task_extra {
  group *group;
  task *owner; /* for the timer */
  timer time;  /* of a wait with seconds */
  mover *on_mover;
  char *complaint; /* how it failed, with a traceback if there is one */
  lua_Hook hook;   /* the coroutine's own, while a yield is poisoned */
  int hook_mask, hook_count;
} task_extra;

/* Of the operation in front of it `owner` is the port (with a reference, for
   cancels from elsewhere), and the list is the state's: see task_first. */
struct task {
  watch w; /* w.op: what it waits for, parked or blocked: a reference */
  port_node node;
  _Atomic uint8_t events;
  uint16_t flags;
  int slot;
  _Atomic int handles; /* in Lua, of any state */
  unsigned mark;       /* of a walk along waits */
  lua_State *co;       /* kept in KEEP_THREADS until it has ended */
  union {
    task *ready_next;
    uint32_t outcome; /* when it has run to its end: the code of that */
  };
  union {
    group *group;
    task_extra *extra; /* with TASK_EXTRA */
  };
};

#define task_op(t) op_of_trailing(t)
#define task_port(t) (task_op(t)->owner)
/* What it waits for, or NULL. */
#define task_waits_for(t) ((t)->w.op)

static inline bool task_is(const task *t, unsigned flags) {
  return (t->flags & flags) != 0;
}

static inline void task_flag(task *t, unsigned flags) {
  t->flags = (uint16_t)(t->flags | flags);
}

static inline void task_unflag(task *t, unsigned flags) {
  t->flags = (uint16_t)(t->flags & ~flags);
}

/* The tasks of a state that have not ended. */
static inline task *task_of_link(saros_op *op) {
  return op != NULL ? op_trailing(op) : NULL;
}
#define task_first(s) task_of_link((s)->tasks)
#define task_next(t) task_of_link(task_op(t)->owned_next)

/* Where its group is. */
group **task_group(task *t);
/* The extra, made when there is none. NULL without memory. */
task_extra *task_extra_make(task *t);

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
/* From now on what it begins, and what is begun by that, can be listed, and
   nothing else. */
void task_root(state *s, task *t);
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
void task_cancel_again(state *s, task *t);
/* Cancels as its facade does; a task of this state is told at once. */
uint32_t task_cancel_op(state *s, saros_op *op);
/* Raises in a task that was cancelled: every wait begins with it. */
void task_raise_cancel(lua_State *L, task *t);
/* The node of a task was taken out of the port. */
void task_node_taken(state *s, task *t, int type);
/* Nobody's child: no run waits for its end, and no step() that has no limit.
   What it spawns is nobody's child, too, and waited for as usual. */
void task_background(state *s, task *t);
/* A task that starts when an operation is over. */
bool task_start_after(task *t, saros_op *op);

/* How it failed, as far as is known; the first that is noted stays. Without
   memory there is none. */
const char *task_complaint(const task *t);
void task_note_complaint(task *t, const char *text);

/* task_body.c: what a task's coroutine runs; its arguments are the task, the
   function, and that one's arguments. */
int task_body(lua_State *co);
/* It yielded on its own account: when it goes on it raises at the yield. A
   hook of its own (a debugger's, a profiler's) is put back behind that; it is
   lost only when there is no memory to keep it in. */
void task_poison(lua_State *co, task *t);

#define TASK_ORIGIN_SIZE (LUA_IDSIZE + 16)
/* "file.lua:12" of the function that a task of this state runs. False when it
   has ended, or that cannot be told. */
bool task_origin(state *s, saros_op *op, char *text, size_t size);
/* Like op_describe, with where the task's function is written. */
void task_describe(lua_State *L, state *s, saros_op *op, buffer *b);

group *group_new(void);
void group_unref(group *g);

#endif
