/*
** Values of the ground floor to Lua and back. A JSON null inside a list or a
** map is left out of the table, as a Lua programmer would expect of nil.
**
** A result may be an object with methods: a map with a field "__class" gets the
** metatable that a module put into the registry under "saros.classes", by that
** name. Nobody but a module can put one there, so what comes from outside can
** at most name what its reader already trusts.
*/
#include <stdio.h>
#include <string.h>

#include "lua/handle.h"

#define CLASS_FIELD "__class"
#define CLASSES "saros.classes" /* in the registry */

/* The map's table is at the top. */
static void set_class(lua_State *L, const value *v) {
  const char *name = value_chars(value_get(v, CLASS_FIELD), NULL);
  if (name == NULL) return;
  int map = lua_gettop(L);
  luaL_checkstack(L, 4, "a value is nested too deeply");
  if (lua_getfield(L, LUA_REGISTRYINDEX, CLASSES) == LUA_TTABLE &&
      lua_getfield(L, -1, name) == LUA_TTABLE) {
    lua_pushliteral(L, CLASS_FIELD);
    lua_pushnil(L);
    lua_rawset(L, map);
    lua_setmetatable(L, map);
  }
  lua_settop(L, map);
}

/* What is in a long list has the same names, mostly in the same order: those
   that were met are strings of Lua's already, in the stack from `base` on. */
#define NAMES 48
#define FEW 8 /* items, for which that is not worth it */

typedef struct pushing {
  lua_State *L;
  bool classes;
  int base; /* 0: there is no such place */
  unsigned count, next;
  const value_field *met[NAMES];
} pushing;

static bool same_name(const value_field *a, const value_field *b) {
  return a->size == b->size &&
         (a->name == b->name || memcmp(a->name, b->name, a->size) == 0);
}

static void push_name(pushing *p, const value_field *f) {
  for (unsigned i = 0, at = p->next; i < p->count; i++, at++) {
    if (at >= p->count) at = 0;
    if (!same_name(p->met[at], f)) continue;
    lua_pushvalue(p->L, p->base + (int)at);
    p->next = at + 1;
    return;
  }
  lua_pushlstring(p->L, f->name, f->size);
  if (p->base == 0 || p->count == NAMES) return;
  lua_copy(p->L, -1, p->base + (int)p->count);
  p->met[p->count++] = f;
  p->next = p->count;
}

static void push(pushing *p, const value *v) {
  lua_State *L = p->L;
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
        push(p, v->as.items[i]);
        lua_rawseti(L, -2, (lua_Integer)i + 1);
      }
      break;
    case VALUE_MAP:
      lua_createtable(L, 0, (int)v->count);
      for (uint32_t i = 0; i < v->count; i++) {
        const value_field *f = &v->as.fields[i];
        push_name(p, f);
        push(p, f->item);
        lua_rawset(L, -3);
      }
      if (p->classes) set_class(L, v);
      break;
  }
}

static bool is_long(const value *v) {
  if (v == NULL) return false;
  if (v->type == VALUE_LIST) return v->count > FEW;
  for (uint32_t i = 0; v->type == VALUE_MAP && i < v->count; i++) {
    const value *item = v->as.fields[i].item;
    if (item->type == VALUE_LIST && item->count > FEW) return true;
  }
  return false;
}

static void push_all(lua_State *L, const value *v, bool classes) {
  pushing p;
  p.L = L;
  p.classes = classes;
  p.base = 0;
  p.count = p.next = 0;
  if (!is_long(v)) {
    push(&p, v);
    return;
  }
  luaL_checkstack(L, NAMES, "too much is on the stack");
  p.base = lua_gettop(L) + 1;
  lua_settop(L, p.base + NAMES - 1);
  push(&p, v);
  lua_replace(L, p.base);
  lua_settop(L, p.base);
}

void convert_push(lua_State *L, const value *v) {
  push_all(L, v, true);
}

static int push_protected(lua_State *L) {
  push_all(L, lua_touserdata(L, 1), lua_toboolean(L, 2));
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

static void push_and_free(lua_State *L, value *v, bool classes) {
  if (v == NULL) luaL_error(L, "not enough memory");
  lua_pushcfunction(L, push_protected);
  lua_pushlightuserdata(L, v);
  lua_pushboolean(L, classes);
  int r = lua_pcall(L, 2, 1, 0);
  value_free(v);
  if (r != LUA_OK) lua_error(L);
}

void convert_push_and_free(lua_State *L, value *v) {
  push_and_free(L, v, true);
}

void convert_push_plain_and_free(lua_State *L, value *v) {
  push_and_free(L, v, false);
}


/* ------------------------------------------------------------------
** From Lua
** ---------------------------------------------------------------- */

#define TAKE_DEPTH 64
#define TAKE_VALUES 1000000 /* a table that is in many places counts there */

/* The tables around the one that is read. */
typedef struct around {
  const struct around *outer;
  const void *table;
} around;

typedef struct taking {
  lua_State *L;
  const char *wrong; /* what is, once something is; NULL: no memory */
  bool failed;
  unsigned left;
  char at[160]; /* where: grows to the left */
  size_t from;
} taking;

/* Nothing in here raises, so that nothing that was made is lost: tables are
   read raw, and no string is made. */
static value *fail(taking *k, const char *wrong) {
  k->failed = true;
  k->wrong = wrong;
  return NULL;
}

static void put_before(taking *k, const char *text) {
  size_t size = strlen(text);
  if (size > k->from) return; /* far enough for a person */
  k->from -= size;
  memcpy(k->at + k->from, text, size);
}

/* The key is at the top but one. */
static void say_where(taking *k) {
  char text[100];
  if (lua_type(k->L, -2) == LUA_TSTRING)
    snprintf(text, sizeof text, ".%.80s", lua_tostring(k->L, -2));
  else
    snprintf(text, sizeof text, "[%lld]", (long long)lua_tointeger(k->L, -2));
  put_before(k, text);
}

static value *take(taking *k, int index, const around *outer);

static value *take_list(taking *k, int table, const around *here) {
  lua_Unsigned n = lua_rawlen(k->L, table);
  value *list = value_list();
  for (lua_Unsigned i = 1; list != NULL && i <= n; i++) {
    lua_pushinteger(k->L, (lua_Integer)i);
    lua_rawgeti(k->L, table, (lua_Integer)i);
    value *item = take(k, lua_gettop(k->L), here);
    if (item == NULL) say_where(k);
    bool added = value_add(list, item);
    lua_pop(k->L, 2);
    if (added) continue;
    value_free(list);
    return k->failed ? NULL : fail(k, NULL);
  }
  return list != NULL ? list : fail(k, NULL);
}

static value *take_map(taking *k, int table, const around *here) {
  value *map = value_map();
  lua_pushnil(k->L);
  while (map != NULL && lua_next(k->L, table) != 0) {
    value *item;
    if (lua_type(k->L, -2) != LUA_TSTRING) {
      item = fail(k, "has other keys than names, or than 1 to n");
    } else {
      item = take(k, lua_gettop(k->L), here);
      if (item == NULL) say_where(k);
    }
    size_t size = 0;
    const char *name = item != NULL ? lua_tolstring(k->L, -2, &size) : NULL;
    if (name != NULL && value_put_bytes(map, name, size, item)) {
      lua_pop(k->L, 1);
      continue;
    }
    lua_pop(k->L, 2);
    value_free(map);
    return k->failed ? NULL : fail(k, NULL);
  }
  return map != NULL ? map : fail(k, NULL);
}

/* Keys 1 to n and no other. */
static bool is_list(lua_State *L, int table) {
  lua_Unsigned n = lua_rawlen(L, table), keys = 0;
  lua_pushnil(L);
  while (lua_next(L, table) != 0) {
    lua_pop(L, 1);
    lua_Integer at = lua_isinteger(L, -1) ? lua_tointeger(L, -1) : 0;
    if (at < 1 || (lua_Unsigned)at > n) {
      lua_pop(L, 1);
      return false;
    }
    keys++;
  }
  return keys == n;
}

static value *take_table(taking *k, int index, const around *outer) {
  around here = {outer, lua_topointer(k->L, index)};
  unsigned depth = 0;
  for (const around *a = outer; a != NULL; a = a->outer, depth++)
    if (a->table == here.table) return fail(k, "contains itself");
  if (depth >= TAKE_DEPTH || !lua_checkstack(k->L, 6))
    return fail(k, "is nested too deeply");
  return is_list(k->L, index) ? take_list(k, index, &here)
                              : take_map(k, index, &here);
}

static value *take(taking *k, int index, const around *outer) {
  lua_State *L = k->L;
  value *v = NULL;
  if (k->left == 0) return fail(k, "holds too much");
  k->left--;
  switch (lua_type(L, index)) {
    case LUA_TNIL: v = value_null(); break;
    case LUA_TBOOLEAN: v = value_bool(lua_toboolean(L, index)); break;
    case LUA_TNUMBER:
      v = lua_isinteger(L, index) ? value_int(lua_tointeger(L, index))
                                  : value_real(lua_tonumber(L, index));
      break;
    case LUA_TSTRING: {
      size_t size;
      const char *data = lua_tolstring(L, index, &size);
      v = value_string(data, size);
      break;
    }
    case LUA_TTABLE: return take_table(k, index, outer);
    case LUA_TFUNCTION: return fail(k, "is a function, which is no plain data");
    case LUA_TTHREAD: return fail(k, "is a coroutine, which is no plain data");
    default: return fail(k, "is a userdata, which is no plain data");
  }
  return v != NULL ? v : fail(k, NULL);
}

value *convert_take(lua_State *L, int index, const char *what) {
  taking k = {.L = L, .left = TAKE_VALUES};
  k.from = sizeof k.at - 1;
  int top = lua_gettop(L);
  value *v = take(&k, lua_absindex(L, index), NULL);
  lua_settop(L, top);
  if (v != NULL) return v;
  if (k.wrong == NULL) luaL_error(L, "not enough memory");
  const char *at = k.at + k.from;
  luaL_error(L, "%s%s %s", what, at, k.wrong);
  return NULL; /* never */
}
