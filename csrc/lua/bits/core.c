/*
** saros.bits.core: a module of its own, written against saros.h as anybody's
** would be. manager.c and job.c are its handles.
*/
#include <errno.h>
#include <lua.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#define SAROS_DEFINE
#include "bits/address.h"
#include "bits/parts.h"
#include "lua/bits/box.h"
#include "lua/value/take.h"

/* open(options) --> op; behind it: opened(op) */
static int open_function(lua_State *L) {
  saros_fd(L);
  luaL_checktype(L, 1, LUA_TTABLE);
  manager_box *b = manager_new(L); /* keeps what is half made */
  uint32_t why;
  value *options = options_take(L, 1);
  saros_op *op =
      bits_call_begin(NULL, NULL, bits_work_find("open"), options, &why);
  if (op == NULL) return begin_failed(L, why);
  saros_own(L, op);
  operation_push(L, &b->held, op);
  return 1;
}

/* opened(op) --> the manager, once */
static int opened_function(lua_State *L) {
  saros_op *op = saros_check(L, 1);
  luaL_argcheck(L, op != NULL, 1, "an operation expected");
  manager_box *b = manager_new(L);
  b->m = bits_call_opened(op);
  return b->m != NULL ? 1 : 0;
}

/* absolute(path) --> the path, from here */
static int absolute_function(lua_State *L) {
  char here[4096];
  const char *given = luaL_checkstring(L, 1);
  lua_settop(L, 1);
  if (*given == '/' || *given == '\0') return 1;
  if (getcwd(here, sizeof here) == NULL)
    return luaL_error(L, "cannot tell where %s is: %s", given, strerror(errno));
  lua_pushfstring(L, "%s/%s", strcmp(here, "/") == 0 ? "" : here, given);
  return 1;
}

static int address_answer(lua_State *L, error *e) {
  if (e != NULL) return error_push(L, e);
  lua_pushboolean(L, 1);
  return 1;
}

/* check_url(url), check_path(path) --> true, or nil, code, message */
static int check_url_function(lua_State *L) {
  return address_answer(L, bits_address_check(luaL_checkstring(L, 1)));
}

static int check_path_function(lua_State *L) {
  return address_answer(L, bits_address_check_path(luaL_checkstring(L, 1)));
}

/* guid() --> a new one; guid(text) --> the same as it is usually written, or
   nil: it is none */
static int guid_function(lua_State *L) {
  char text[GUID_TEXT];
  guid g;
  const char *given = luaL_optstring(L, 1, NULL);
  if (given == NULL && !guid_make(&g))
    return luaL_error(L, "no GUID can be made: the kernel has no randomness");
  if (given != NULL && !guid_parse(given, &g)) return 0;
  guid_format(&g, text);
  lua_pushstring(L, text);
  return 1;
}


/* ------------------------------------------------------------------
** The module
** ---------------------------------------------------------------- */

/* Base is here once more, with a log that nobody looks at. */
static void pass_on(void *context, const log_record *record) {
  (void)context;
  saros_log((saros_log_level)record->level, record->area, record->text);
}

static void in_child(void) {
  log_forked();
}

static void once_only(void) {
  log_attach(pass_on, NULL);
  pthread_atfork(NULL, NULL, in_child);
}

static void class(lua_State *L, const char *name, const luaL_Reg *meta,
                  const luaL_Reg *methods) {
  luaL_newmetatable(L, name);
  luaL_setfuncs(L, meta, 0);
  lua_newtable(L);
  luaL_setfuncs(L, methods, 0);
  lua_setfield(L, -2, "__index");
  lua_pop(L, 1);
}

__attribute__((visibility("default"))) int luaopen_saros_bits_core(
    lua_State *L);

int luaopen_saros_bits_core(lua_State *L) {
  static const luaL_Reg functions[] = {{"open", open_function},
                                       {"opened", opened_function},
                                       {"guid", guid_function},
                                       {"absolute", absolute_function},
                                       {"check_url", check_url_function},
                                       {"check_path", check_path_function},
                                       {NULL, NULL}};
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  luaL_checkversion(L);
  lua_getglobal(L, "require");
  lua_pushliteral(L, "saros");
  lua_call(L, 1, 0);
  if (saros_api_get(L) == NULL)
    return luaL_error(L, "this saros.core is older than saros.bits");
  pthread_once(&once, once_only);
  class(L, BITS_MANAGER, bits_manager_meta, bits_manager_methods);
  class(L, BITS_JOB, bits_job_meta, bits_job_methods);
  luaL_newlib(L, functions);
  return 1;
}
