/*
** What Lua has not got and every part of the workflow needs: JSON, exactly, and
** identities that are nobody else's.
*/
#include "base/json.h"
#include "lua/handle.h"
#include "vss/bytes.h"

/* json_read(text) --> value, or nil and an error. A null is left out. */
static int json_read_function(lua_State *L) {
  size_t size;
  const char *text = luaL_checklstring(L, 1, &size);
  error *e = NULL;
  value *v = json_read(text, size, NULL, &e);
  if (v == NULL) {
    luaL_pushfail(L);
    failure_push(L, e, 0);
    return 2;
  }
  convert_push_plain_and_free(L, bytes_in(v));
  return 1;
}

/* json_write(value [, indented]) --> text. What is no UTF-8 goes beside its
   text as base64, and json_read joins the two. */
static int json_write_function(lua_State *L) {
  luaL_checkany(L, 1);
  json_style style = lua_toboolean(L, 2) ? JSON_INDENTED : JSON_COMPACT;
  value *v = convert_take(L, 1, "json_write");
  buffer text = BUFFER_EMPTY;
  bool deep = false;
  const value *outside = bytes_out(v, &deep);
  if (outside != NULL)
    json_write(&text, outside, style);
  else
    text.failed = true;
  if (outside != v) value_free((value *)(uintptr_t)outside);
  value_free(v);
  if (deep) {
    buffer_free(&text);
    return luaL_error(L, "json_write is nested too deeply");
  }
  convert_push_and_free_buffer(L, &text);
  return 1;
}

/* guid() --> a new one */
static int guid_function(lua_State *L) {
  guid g;
  char text[GUID_TEXT];
  if (!guid_make(&g)) return luaL_error(L, "the kernel has no random bytes");
  guid_format(&g, text);
  lua_pushstring(L, text);
  return 1;
}

/* is_operation(value): of any facade, open. */
static int is_operation_function(lua_State *L) {
  lua_pushboolean(L, handle_test(L, 1) != NULL);
  return 1;
}

/* is_failure(value): an error object, as a failed operation has one. */
static int is_failure_function(lua_State *L) {
  lua_pushboolean(L, failure_is(L, 1));
  return 1;
}

const luaL_Reg plain_functions[] = {{"json_read", json_read_function},
                                    {"json_write", json_write_function},
                                    {"guid", guid_function},
                                    {"is_operation", is_operation_function},
                                    {"is_failure", is_failure_function},
                                    {NULL, NULL}};
