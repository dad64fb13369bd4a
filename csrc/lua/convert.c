/*
** Values of the ground floor to Lua and back. A JSON null inside a list or a
** map is left out of the table, as a Lua programmer would expect of nil.
*/
#include "lua/handle.h"

void convert_push(lua_State *L, const value *v) {
  luaL_checkstack(L, 4, "a value is nested too deeply");
  if (v == NULL) {
    lua_pushnil(L);
    return;
  }
  switch (v->type) {
    case VALUE_NULL: lua_pushnil(L); break;
    case VALUE_BOOL: lua_pushboolean(L, v->as.boolean); break;
    case VALUE_INT: lua_pushinteger(L, (lua_Integer)v->as.integer); break;
    case VALUE_REAL: lua_pushnumber(L, v->as.real); break;
    case VALUE_STRING:
      lua_pushlstring(L, v->as.string.data, v->as.string.size);
      break;
    case VALUE_LIST:
      lua_createtable(L, (int)v->count, 0);
      for (uint32_t i = 0; i < v->count; i++) {
        convert_push(L, v->as.items[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
      }
      break;
    case VALUE_MAP:
      lua_createtable(L, 0, (int)v->count);
      for (uint32_t i = 0; i < v->count; i++) {
        const value_field *f = &v->as.fields[i];
        lua_pushlstring(L, f->name, f->size);
        convert_push(L, f->item);
        lua_rawset(L, -3);
      }
      break;
  }
}

static int push_protected(lua_State *L) {
  convert_push(L, lua_touserdata(L, 1));
  return 1;
}

static int push_bytes_protected(lua_State *L) {
  buffer *b = lua_touserdata(L, 1);
  lua_pushlstring(L, b->data != NULL ? b->data : "", b->size);
  return 1;
}

void convert_push_and_free_buffer(lua_State *L, buffer *b) {
  int r = LUA_ERRMEM;
  if (!b->failed) {
    lua_pushcfunction(L, push_bytes_protected);
    lua_pushlightuserdata(L, b);
    r = lua_pcall(L, 1, 1, 0);
  }
  bool failed = b->failed;
  buffer_free(b);
  if (failed) luaL_error(L, "not enough memory");
  if (r != LUA_OK) lua_error(L);
}

void convert_push_and_free(lua_State *L, value *v) {
  if (v == NULL) luaL_error(L, "not enough memory");
  lua_pushcfunction(L, push_protected);
  lua_pushlightuserdata(L, v);
  int r = lua_pcall(L, 1, 1, 0);
  value_free(v);
  if (r != LUA_OK) lua_error(L);
}
