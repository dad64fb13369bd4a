/*
** The log function of a script (saros.config{ log = f }): records arrive on
** any thread, wait in a box, and are handed over by the dispatcher.
*/
#include <string.h>

#include "lua/dispatch.h"
#include "lua/handle.h"

#define BOX_MOST 256

typedef struct boxed {
  int64_t time;
  log_level level;
  const char *area;
  char *text;
} boxed;

struct log_box {
  pthread_mutex_t lock;
  port *port;
  port_node node;
  int sink;
  unsigned count, lost;
  boxed now; /* being delivered: the state's thread alone */
  boxed records[BOX_MOST];
};

static void log_into_box(void *context, const log_record *record) {
  log_box *box = context;
  pthread_mutex_lock(&box->lock);
  char *text = box->count < BOX_MOST ? mem_text(record->text) : NULL;
  if (text == NULL) {
    box->lost++;
  } else {
    box->records[box->count++] =
        (boxed){record->time, record->level, record->area, text};
  }
  pthread_mutex_unlock(&box->lock);
  port *p = port_push(box->port, &box->node, NODE_LOG, NULL);
  if (p != NULL) port_wake(p);
}

log_box *log_box_open(port *p) {
  log_box *box = mem_zero(sizeof *box);
  if (box == NULL) return NULL;
  pthread_mutex_init(&box->lock, NULL);
  box->port = p;
  atomic_fetch_add(&p->refs, 1);
  box->sink = log_attach(log_into_box, box);
  if (box->sink != 0) return box;
  log_box_close(box);
  return NULL;
}

void log_box_close(log_box *box) {
  if (box->sink != 0) log_detach(box->sink);
  port_remove(box->port, &box->node);
  for (unsigned i = 0; i < box->count; i++) mem_free(box->records[i].text);
  mem_free(box->now.text);
  port_unref(box->port);
  pthread_mutex_destroy(&box->lock);
  mem_free(box);
}

static void set_integer(lua_State *L, const char *field, int64_t n) {
  lua_pushinteger(L, (lua_Integer)n);
  lua_setfield(L, -2, field);
}

/* Takes the next record, or how many were lost: 0 when there is neither. */
static unsigned take_record(log_box *box) {
  unsigned lost = 0;
  pthread_mutex_lock(&box->lock);
  if (box->now.text != NULL) {
    /* The last one is still here: memory ran out in between. */
  } else if (box->count > 0) {
    box->now = box->records[0];
    memmove(box->records, box->records + 1,
            --box->count * sizeof *box->records);
  } else {
    lost = box->lost;
    box->lost = 0;
  }
  pthread_mutex_unlock(&box->lock);
  return lost;
}

static void push_record(lua_State *L, log_box *box) {
  lua_createtable(L, 0, 4);
  lua_pushstring(L, box->now.text);
  lua_setfield(L, -2, "text");
  lua_pushstring(L, box->now.area);
  lua_setfield(L, -2, "area");
  lua_pushstring(L, log_level_name(box->now.level));
  lua_setfield(L, -2, "level");
  lua_pushnumber(L, (lua_Number)box->now.time / 1e9);
  lua_setfield(L, -2, "time");
  mem_free(box->now.text);
  box->now.text = NULL;
}

/* Calls the log function with each record; protected. The function may take
   itself away: the box is looked up anew each time. */
static int deliver(lua_State *L) {
  state *s = lua_touserdata(L, 1);
  while (s->log != NULL) {
    unsigned lost = take_record(s->log);
    if (lost == 0 && s->log->now.text == NULL) break;
    lua_settop(L, 1);
    state_push(L, KEEP_LOG);
    if (lost == 0) {
      push_record(L, s->log);
    } else {
      lua_createtable(L, 0, 1);
      set_integer(L, "lost", lost);
    }
    if (lua_pcall(L, 1, 0, 0) == LUA_OK) continue;
    const char *text = luaL_tolstring(L, -1, NULL);
    lua_warning(L, "saros: error in the log function: ", 1);
    lua_warning(L, text, 0);
  }
  return 0;
}

void log_box_deliver(lua_State *L, state *s) {
  s->log_due = false;
  if (s->log == NULL || !lua_checkstack(L, 4)) return;
  lua_pushcfunction(L, deliver);
  lua_pushlightuserdata(L, s);
  if (lua_pcall(L, 1, 0, 0) == LUA_OK) return;
  lua_warning(L, "saros: error in the log function", 0);
  lua_pop(L, 1);
}
