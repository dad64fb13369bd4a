/*
** Running what is due, and the ways of waiting for it.
*/
#ifndef SAROS_LUA_DISPATCH_H
#define SAROS_LUA_DISPATCH_H

#include "lua/task.h"

/* What a node in the port belongs to. A NODE_TASK_REF carries a reference,
   because a cancel from elsewhere may come after the task's end. */
enum {
  NODE_TASK = 1,
  NODE_TASK_REF,
  NODE_MOVER,
  NODE_BLOCKED,
  NODE_LOG,
  NODE_EVENT /* carries a reference, too */
};

/* Empties the port into the ready list. Runs no Lua, allocates nothing. */
void dispatch_collect(state *s);
/* The same for the last time, when all tasks are over: a cancel from elsewhere
   may have ended one, and tell its state only now. */
void dispatch_leave(state *s);
/* Resumes at most `budget` ready tasks. Raises nothing. */
void dispatch_run(lua_State *L, state *s, unsigned budget);

/* How a wait may wait here. */
typedef enum wait_mode {
  WAIT_YIELD, /* a task, and it can */
  WAIT_HOST,  /* a host's coroutine, and it may be able to */
  WAIT_LOOP,  /* the main thread, outside everything: all may run */
  WAIT_ONE    /* only what the awaited thing needs */
} wait_mode;
wait_mode dispatch_mode(lua_State *L, state *s);

/* What a blocking wait waits for. */
typedef struct goal {
  bool (*reached)(struct goal *g);
  saros_op *op; /* what it needs is what this needs */
  group *group; /* or the tasks of this group */
  mover *mover;
} goal;

typedef enum block_end {
  BLOCK_REACHED,
  BLOCK_TIME,
  BLOCK_CYCLE,
  BLOCK_CANCELLED, /* the running task was: task_raise_cancel */
  BLOCK_RAISED     /* an interrupt; its error is at the top */
} block_end;
/* Blocks; seconds < 0: no limit. */
block_end dispatch_block(lua_State *L, state *s, goal *g, double seconds,
                         wait_mode mode);
/* vss.c: begins to close all sessions of this state, and waits for that. */
block_end sessions_close_all(lua_State *L, state *s, double seconds);
/* Runs one task that `op` needs, if one is ready: for hosts that wait in their
   own way. */
bool dispatch_advance(lua_State *L, state *s, saros_op *op);
/* Whether the running task has been cancelled and is to hear of it here. */
bool dispatch_cancelled(lua_State *L, state *s);
/* Whether a wait of the running task for `op` would wait for itself. */
bool dispatch_cycle(state *s, saros_op *op);
/* What a pending operation waits for that only this state can bring on, when
   nothing turns its loop just now: a writer's event, or NULL. */
event *dispatch_stalled(state *s, saros_op *op);

/* step(): 1 when more is ready now. */
int dispatch_step(lua_State *L, state *s, double max_seconds);

log_box *log_box_open(port *p);
void log_box_close(log_box *box);
/* Calls the script's function with what is in the box; raises nothing. */
void log_box_deliver(lua_State *L, state *s);

#endif
