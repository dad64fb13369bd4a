/*
** To Lua. A null in a list or a map is left out, as one expects of nil.
*/
#include "lua/value/give.h"

#include <lauxlib.h>

static void push(lua_State *L, const value *v);

static void push_list(lua_State *L, const value *v) {
  lua_createtable(L, (int)v->count, 0);
  for (uint32_t i = 0; i < v->count; i++) {
    push(L, v->as.items[i]);
    lua_rawseti(L, -2, (lua_Integer)i + 1);
  }
}

static void push_map(lua_State *L, const value *v) {
  lua_createtable(L, 0, (int)v->count);
  for (uint32_t i = 0; i < v->count; i++) {
    const value_field *f = &v->as.fields[i];
    lua_pushlstring(L, f->name, f->size);
    push(L, f->item);
    lua_rawset(L, -3);
  }
}

static void push(lua_State *L, const value *v) {
  luaL_checkstack(L, 4, "a value is nested too deeply");
  switch (v->type) {
    case VALUE_NULL: lua_pushnil(L); break;
    case VALUE_BOOL: lua_pushboolean(L, v->as.boolean); break;
    case VALUE_INT: lua_pushinteger(L, (lua_Integer)v->as.integer); break;
    case VALUE_REAL: lua_pushnumber(L, v->as.real); break;
    case VALUE_STRING:
      lua_pushlstring(L, v->as.string.data, v->as.string.size);
      break;
    case VALUE_LIST: push_list(L, v); break;
    case VALUE_MAP: push_map(L, v); break;
  }
}

static int push_protected(lua_State *L) {
  push(L, lua_touserdata(L, 1));
  return 1;
}

void value_give(lua_State *L, value *v) {
  if (v == NULL) luaL_error(L, "not enough memory");
  lua_pushcfunction(L, push_protected);
  lua_pushlightuserdata(L, v);
  int r = lua_pcall(L, 1, 1, 0);
  value_free(v);
  if (r != LUA_OK) lua_error(L);
}
