/*
** How the handler of a writer says no: with a text, an error object, a table
** that says what a writer in another process may say, or anything at all.
*/
#include "lua/handle.h"
#include "lua/writer.h"

/* The codes with which a writer may fail; all else is kept as the cause. */
static bool is_writers_code(uint32_t code) {
  return code >= VSS_E_WRITERERROR_INCONSISTENTSNAPSHOT &&
         code <= 0x800423F5u; /* …, RECOVERY_FAILED */
}

/* A table that says what a writer of any kind may: { message, code, retryable
   }. NULL: it is no such table. */
static error *plain_veto(lua_State *L, int index) {
  static const char *const names[] = {"message", "code", "retryable"};
  if (!lua_istable(L, index) || failure_is(L, index)) return NULL;
  int top = lua_gettop(L);
  for (int i = 0; i < 3; i++) {
    lua_pushstring(L, names[i]);
    lua_rawget(L, index);
  }
  size_t size = 0;
  const char *text = NULL, *name = NULL;
  if (lua_type(L, top + 1) == LUA_TSTRING)
    text = lua_tolstring(L, top + 1, &size);
  if (lua_type(L, top + 2) == LUA_TSTRING) name = lua_tostring(L, top + 2);
  bool number = lua_isinteger(L, top + 2);
  error *e = NULL;
  if (text != NULL || name != NULL || number) {
    /* From here on nothing of Lua raises. */
    value *v = value_map();
    bool good = v != NULL;
    if (good && text != NULL)
      good = value_put(v, "message", value_string(text, size));
    if (good && name != NULL) good = value_put(v, "code", value_text(name));
    if (good && number)
      good = value_put(v, "code", value_int(lua_tointeger(L, top + 2)));
    if (good && lua_isboolean(L, top + 3))
      good = value_put(v, "retryable", value_bool(lua_toboolean(L, top + 3)));
    e = good ? writer_veto(v) : error_no_memory();
    value_free(v);
  }
  lua_settop(L, top);
  return e;
}

void event_veto(lua_State *L, event *e, int index) {
  const char *no = "it was refused";
  error *why = plain_veto(L, index);
  if (why == NULL)
    why = lua_isboolean(L, index) || lua_isnil(L, index)
              ? vss_error(VSS_E_WRITERERROR_NONRETRYABLE, "%s", no)
              : failure_take(L, index, SAROS_FACADE_VSS,
                             VSS_E_WRITERERROR_NONRETRYABLE);
  uint32_t code = why->code;
  if (!is_writers_code(code) && code != VSS_E_WRITERERROR_PARTIAL_FAILURE &&
      code != SAROS_E_OUTOFMEMORY) {
    code = why->retryable ? VSS_E_WRITERERROR_RETRYABLE
                          : VSS_E_WRITERERROR_NONRETRYABLE;
    why = error_because(vss_error(code, "%s", why->message), why);
  }
  e->answered = true;
  e->code = code;
  e->why = why;
}
