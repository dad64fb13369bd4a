/*
** saros.vds.core: one function that begins any call by its name, and the
** classes of what calls hand out. What scripts use stands on top of it, in Lua.
** A module
** of its own, written against saros.h as anybody's would be.
*/
#include <errno.h>
#include <lauxlib.h>
#include <lua.h>
#include <pthread.h>
#include <string.h>
#include <unistd.h>

#define SAROS_DEFINE
#include "lua/value/take.h"
#include "vds/attach.h"
#include "vds/busy.h"
#include "vds/object.h"

#define HOLDER "saros.vds.begun"
#define CLASSES "saros.classes" /* in the registry: see csrc/lua/convert.c */

/* Between its beginning and its handle; collected when making that failed. */
typedef struct begun {
  saros_op *op;
} begun;

static int begun_gc(lua_State *L) {
  begun *b = lua_touserdata(L, 1);
  if (b->op != NULL) saros_op_unref(b->op);
  b->op = NULL;
  return 0;
}

/* begin(call, options, name) --> op */
static int begin_function(lua_State *L) {
  const vds_work *work = vds_work_find(luaL_checkstring(L, 1));
  const char *name = luaL_optstring(L, 3, NULL);
  uint32_t why;
  luaL_argcheck(L, work != NULL, 1, "there is no such call");
  saros_fd(L); /* there is an engine, and it is ours: or this raises */
  begun *b = lua_newuserdatauv(L, sizeof *b, 0);
  b->op = NULL;
  luaL_setmetatable(L, HOLDER);
  b->op = vds_call_begin(work, options_take(L, 2), name, &why);
  if (b->op == NULL) {
    if (why == SAROS_E_BUSY_NAME)
      return luaL_error(L, "a pending operation is called '%s' already", name);
    return luaL_error(L, "the operation cannot be begun (0x%x)", (unsigned)why);
  }
  saros_own(L, b->op);
  saros_push(L, b->op);
  saros_op_unref(b->op);
  b->op = NULL;
  return 1;
}

/* has(call) --> whether there is such a call */
static int has_function(lua_State *L) {
  lua_pushboolean(L, vds_work_find(luaL_checkstring(L, 1)) != NULL);
  return 1;
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

/* class(name, metatable): results of that name are objects with it */
static int class_function(lua_State *L) {
  luaL_checkstring(L, 1);
  luaL_checktype(L, 2, LUA_TTABLE);
  lua_settop(L, 2);
  luaL_getsubtable(L, LUA_REGISTRYINDEX, CLASSES);
  lua_insert(L, 1);
  lua_settable(L, 1);
  return 0;
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
  vds_forked();
  vds_busy_forked();
  vds_attach_forked();
  vds_identity_forked();
}

static void once_only(void) {
  log_attach(pass_on, NULL);
  pthread_atfork(NULL, NULL, in_child);
}

__attribute__((visibility("default"))) int luaopen_saros_vds_core(lua_State *L);

int luaopen_saros_vds_core(lua_State *L) {
  static const luaL_Reg functions[] = {{"begin", begin_function},
                                       {"has", has_function},
                                       {"absolute", absolute_function},
                                       {"class", class_function},
                                       {NULL, NULL}};
  static pthread_once_t once = PTHREAD_ONCE_INIT;
  luaL_checkversion(L);
  lua_getglobal(L, "require");
  lua_pushliteral(L, "saros");
  lua_call(L, 1, 0);
  if (saros_api_get(L) == NULL)
    return luaL_error(L, "this saros.core is older than saros.vds");
  pthread_once(&once, once_only);
  luaL_newmetatable(L, HOLDER);
  lua_pushcfunction(L, begun_gc);
  lua_setfield(L, -2, "__gc");
  luaL_newlib(L, functions);
  return 1;
}
