/*
** Writers that are Lua functions. writer.c has the handle and the way by which
** a session tells one something, on the engine's thread; event.c what becomes
** of that on the thread of the state: a task that runs the handler.
*/
#ifndef SAROS_LUA_WRITER_H
#define SAROS_LUA_WRITER_H

#include "lua/task.h"
#include "vss/writer.h"

/* Of one writer. `lock` is taken with no other lock held, and a port's within
   it. */
struct lua_writer {
  writer *w; /* whose `self` this is */
  pthread_mutex_t lock;
  port *port;      /* under the lock; NULL: closed */
  unsigned events; /* bits: what must be told on the thread of the state */
  value *metadata; /* never changes */
  /* The rest is the state's thread's. */
  state *s; /* NULL: closed */
  lua_writer *next, **link;
  unsigned frozen; /* freezes begun, without thaw or abort so far */
};

/* Who may begin it, and who may end it before it has begun. */
typedef enum event_stage { EVENT_WAITING, EVENT_BEGUN, EVENT_DEAD } event_stage;

/* One thing that one writer is told: trails its operation. */
struct event {
  port_node node;
  _Atomic int stage;
  writer *w;  /* a reference */
  port *port; /* a reference, for cancels from elsewhere */
  writer_event what;
  value *details;    /* what the handler is given */
  uint64_t deadline; /* monotonic nanoseconds */
  /* The rest is the state's thread's, once it has taken the node. */
  state *s;
  event *next, **link;
  saros_op *of;   /* on whose behalf: a reference, set from the beginning */
  saros_op *task; /* that runs the handler: a reference */
  watch over;     /* of the task */
  bool answered;
  uint32_t code; /* the answer: 0 is consent */
  error *why;
  value *output;
};

#define event_op(e) op_of_trailing(e)
#define event_waits(e) (atomic_load(&(e)->stage) == EVENT_WAITING)
#define writer_lua(writer_) ((lua_writer *)(writer_)->self)

/* Tells: the operation, working. NULL and *e. Any thread. */
saros_op *event_tell(writer *w, const writer_call *call, error **e);
/* The port has given its node. Runs no Lua, allocates nothing. */
void event_node_taken(state *s, port_node *node);
/* Makes a task of it, or ends it. Raises nothing. */
void event_begin(lua_State *L, state *s, event *e);
void events_begin(lua_State *L, state *s); /* all that wait */
/* "waits for writer …; nobody turns its loop" */
void event_describe(const event *e, buffer *b);

/* What the handler raised or returned, at this index, is its refusal. May
   raise. */
void event_veto(lua_State *L, event *e, int index);

/* Not told anything any more; what has not begun ends with SAROS_E_CLOSED. */
void writer_close(lua_writer *lw);
void writers_close_all(state *s);
/* After a fork, in the child. */
void writers_forget(state *s);
/* Pushes the handle, or nil when it is gone. */
void writer_push(lua_State *L, const lua_writer *lw);
/* While it holds still its handle is kept. May raise when `on`. */
void writer_anchor(lua_State *L, const lua_writer *lw, bool on);
void writer_open(lua_State *L); /* registers the metatable */
extern const luaL_Reg writer_functions[];

/* listen.c: makes it reachable by other processes, which touches a disk: on a
   worker. *l is for listening_stop, which does not wait. */
typedef struct listening listening;
saros_op *listening_start(writer *w, const char *state_dir, listening **l,
                          error **e);
void listening_stop(listening *l);

/* vss.c */
void vss_open(lua_State *L);
extern const luaL_Reg vss_functions[];

#endif
