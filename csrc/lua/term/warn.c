/*
** Warnings of Lua, kept for whoever shows them: what writes them itself writes
** into what is drawn, and writes everything.
*/
#include "lua/term/warn.h"

#include <lauxlib.h>
#include <lua.h>
#include <string.h>

static struct {
  char text[4096]; /* what does not fit is lost */
  size_t size;
} kept;

static void keep(void *context, const char *text, int continues) {
  (void)context;
  size_t room = sizeof kept.text - 1 - kept.size, size = strlen(text);
  if (!continues && kept.size == 0 && text[0] == '@') return; /* "@on" */
  if (size > room) size = room;
  memcpy(kept.text + kept.size, text, size);
  kept.size += size;
  if (!continues && kept.size < sizeof kept.text - 1)
    kept.text[kept.size++] = '\n';
}

/* warned() --> the warnings since it was called last, a line each, or nil.
   From the first call on nobody else gets them. */
int warned_function(lua_State *L) {
  lua_setwarnf(L, keep, NULL);
  if (kept.size == 0) return 0;
  lua_pushlstring(L, kept.text, kept.size);
  kept.size = 0;
  return 1;
}
