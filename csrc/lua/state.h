/*
** lua: the only room that includes lua.h. state.c is what saros keeps for one
** Lua state; handle.c the operation as userdata; wait.c the one wait that is
** right everywhere; task.c and task_body.c coroutines that are operations;
** dispatch.c what runs them; failure.c every error object; convert.c values;
** writer.c the writers that are Lua functions; vss.c the session; starters.c
** and module.c what `require "saros.core"` returns. No thread but the state's
** own ever comes in here, but for the part of writer.c that says so.
*/
#ifndef SAROS_LUA_STATE_H
#define SAROS_LUA_STATE_H

#include <lauxlib.h>
#include <lua.h>

#include "op/engine.h"
#include "op/facade.h"
#include "op/port.h"
#include "op/start.h"
#include "op/watch.h"

typedef struct task task;
typedef struct state state;
typedef struct log_box log_box;
typedef struct lua_writer lua_writer;
typedef struct event event;

/* User values of the state's userdata: what Lua must keep for us. */
enum {
  KEEP_HANDLE_MT = 1, /* metatables */
  KEEP_FAILURE_MT,
  KEEP_THREADS, /* [slot] = coroutine of a task that has not ended */
  KEEP_NAMED,   /* [name] = handle of a named task */
  KEEP_LOG,     /* saros.config.log */
  KEEP_HOST,    /* how a host's own coroutine waits */
  KEEP_NOTHING, /* a Lua function that does nothing: lets hooks run */
  KEEP_WRITERS, /* [lua_writer] = its handle, weakly */
  KEEP_DRESS,   /* [kind's name] = metatable of its results */
  KEEP_COUNT = KEEP_DRESS
};

struct state {
  lua_State *main;
  port *port; /* opened when first needed */
  uint16_t generation;
  unsigned ports;      /* opened so far: tells one descriptor from the next */
  task *current;       /* the one that runs, innermost */
  unsigned depth;      /* dispatches inside each other */
  task *first, **last; /* ready to be resumed */
  saros_op *tasks;     /* all that have not ended */
  unsigned task_count;
  unsigned background;   /* of them: nobody waits for their end */
  lua_Integer free_slot; /* in KEEP_THREADS: head of the free slots */
  lua_Integer slots;
  unsigned budget;
  unsigned busy; /* resumptions since the last sleep */
  unsigned mark; /* of the last walk along waits */
  bool open;     /* wholly made: memory may run out in between */
  bool has_host, log_due;
  lua_CFunction harmless[4]; /* pcall, xpcall, dofile, pairs */
  log_box *log;
  struct session_box *sessions; /* of this state (vss.c) */
  lua_writer *writers;          /* of this state, not closed */
  event *events, **events_last; /* that writers were told and have not ended */
  unsigned events_due;          /* that no task has begun yet */
};

#define BUDGET_DEFAULT 256

/* The state's part of this Lua state. Functions that were registered with
   state_functions have it at hand as their second upvalue. */
state *state_get(lua_State *L); /* NULL when saros.core is not loaded */
#define state_here(L) ((state *)lua_touserdata(L, lua_upvalueindex(2)))
/* Registers functions into the table at the top, with the two upvalues. */
void state_functions(lua_State *L, const luaL_Reg *functions);
/* Pushes what is kept under KEEP_…. */
void state_push(lua_State *L, int keep);
/* Takes the value at the top. */
void state_keep(lua_State *L, int keep);
/* The port, opened when needed and renewed after a fork; raises. */
port *state_port(lua_State *L, state *s);
/* Makes the userdata, the metatables and the upvalues: pushes the two. */
state *state_open(lua_State *L);

#endif
