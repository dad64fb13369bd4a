/*
** Ctrl-C where Lua computes and nobody looks at signals: the coroutine looks
** itself, now and then, and so do those that it makes.
*/
#include "lua/term/interrupt.h"

#include <lauxlib.h>
#include <lua.h>

#include "term/term.h"

enum { STEPS = 1000 /* between two looks */ };

static lua_State *main_state;

static int raised; /* since the signal came */

static void look(lua_State *L, lua_Debug *d) {
  (void)d;
  if (!term_is_pending()) {
    if (raised > 0) lua_sethook(L, look, LUA_MASKCOUNT, STEPS);
    raised = 0;
    return;
  }
  /* Who catches it, and goes on: he is met at once the next time. */
  if (raised++ > 0) lua_sethook(L, look, LUA_MASKCOUNT, 1);
  luaL_error(L, "interrupted!");
}

static void nothing(lua_State *L, lua_Debug *d) {
  (void)d;
  lua_sethook(L, NULL, 0, 0);
}

/* A wait that blocks takes a hook of the main thread, as the interpreter's
   Ctrl-C sets it, for the sign to end. */
static void on_interrupt(void) {
  lua_State *L = main_state;
  if (L != NULL)
    lua_sethook(L, nothing, LUA_MASKCALL | LUA_MASKRET | LUA_MASKCOUNT, 1);
}

/* interruptible(): what runs here, from now on and until it has ended, raises
   where it is when a signal comes that `wait` has not told. */
int interruptible_function(lua_State *L) {
  if (main_state == NULL) {
    lua_rawgeti(L, LUA_REGISTRYINDEX, LUA_RIDX_MAINTHREAD);
    main_state = lua_tothread(L, -1); /* the program's, to its end */
    lua_pop(L, 1);
    term_on_interrupt(on_interrupt);
  }
  raised = 0;
  lua_sethook(L, look, LUA_MASKCOUNT, STEPS);
  return 0;
}
