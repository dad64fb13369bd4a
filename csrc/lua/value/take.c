/*
** From Lua: strings, numbers, booleans, lists and maps of them. Tables are read
** raw, and nothing is raised while a value is half made.
*/
#include "lua/value/take.h"

#include <lauxlib.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/memory.h"

#define DEPTH 16
#define ITEMS 1000000u

typedef struct taking {
  lua_State *L;
  unsigned left;
  char wrong[200]; /* "": no memory */
  bool failed;
} taking;

static value *take(taking *t, int index, unsigned depth);

static value *fail(taking *t, const char *what, const char *kind) {
  if (!t->failed) snprintf(t->wrong, sizeof t->wrong, "%s%s", what, kind);
  t->failed = true;
  return NULL;
}

static value *take_list(taking *t, int index, unsigned depth) {
  value *list = value_list();
  lua_Unsigned count = lua_rawlen(t->L, index);
  for (lua_Unsigned i = 1; list != NULL && i <= count; i++) {
    lua_rawgeti(t->L, index, (lua_Integer)i);
    bool good = value_add(list, take(t, lua_gettop(t->L), depth + 1));
    lua_pop(t->L, 1);
    if (good) continue;
    value_wipe(list); /* there may be a password in it */
    return NULL;
  }
  return list;
}

static value *take_map(taking *t, int index, unsigned depth) {
  value *map = value_map();
  lua_pushnil(t->L);
  while (map != NULL && lua_next(t->L, index) != 0) {
    size_t size = 0;
    const char *name = NULL;
    if (lua_type(t->L, -2) == LUA_TSTRING)
      name = lua_tolstring(t->L, -2, &size);
    else
      fail(t, "a list and a map at once are no option", "");
    bool good =
        name != NULL &&
        value_put_bytes(map, name, size, take(t, lua_gettop(t->L), depth + 1));
    lua_pop(t->L, 1);
    if (good) continue;
    lua_pop(t->L, 1);
    value_wipe(map);
    return NULL;
  }
  return map;
}

/* `index` is absolute. */
static value *take(taking *t, int index, unsigned depth) {
  size_t size;
  const char *text;
  if (depth > DEPTH || t->left-- == 0 || !lua_checkstack(t->L, 6))
    return fail(t, "the options are nested too deeply, or too many", "");
  switch (lua_type(t->L, index)) {
    case LUA_TBOOLEAN: return value_bool(lua_toboolean(t->L, index));
    case LUA_TNUMBER:
      return lua_isinteger(t->L, index) ? value_int(lua_tointeger(t->L, index))
                                        : value_real(lua_tonumber(t->L, index));
    case LUA_TSTRING:
      text = lua_tolstring(t->L, index, &size);
      return value_string(text, size);
    case LUA_TTABLE:
      return lua_rawlen(t->L, index) > 0 ? take_list(t, index, depth)
                                         : take_map(t, index, depth);
    default: return fail(t, "no option can be a ", luaL_typename(t->L, index));
  }
}

value *options_take(lua_State *L, int index) {
  if (lua_isnoneornil(L, index)) return NULL;
  luaL_checktype(L, index, LUA_TTABLE);
  taking t = {.L = L, .left = ITEMS};
  value *v = take_map(&t, lua_absindex(L, index), 0);
  if (v == NULL) luaL_error(L, "%s", t.failed ? t.wrong : "not enough memory");
  return v;
}
