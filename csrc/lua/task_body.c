/*
** Tasks from inside: the function at the bottom of the coroutine, how a task
** comes to its results or its error, and where it is.
*/
#include <stdio.h>

#include "lua/handle.h"

/* Message handler: the traceback is gone once the error has unwound. */
static int on_error(lua_State *co) {
  task *t = state_get(co)->current;
  if (lua_type(co, 1) == LUA_TSTRING && task_complaint(t) == NULL) {
    luaL_traceback(co, co, lua_tostring(co, 1), 1);
    task_note_complaint(t, lua_tostring(co, -1));
  }
  lua_settop(co, 1);
  return 1;
}

/* The error at the top of the coroutine is how the task ends. */
static void failed(lua_State *co, task *t, uint32_t fallback) {
  task_flag(t, TASK_FAILED);
  t->outcome = failure_code(co, -1, fallback);
  failure_wrap(co, fallback);
  if (task_complaint(t) != NULL) return;
  task_note_complaint(t, failure_text(co, -1));
  lua_pop(co, 1);
}

#define YIELD_TEXT                                                          \
  "yield without an operation: in a saros task only a wait may yield; use " \
  "coroutine.wrap for generators"


static void poison(lua_State *co, lua_Debug *ar);

void task_poison(lua_State *co, task *t) {
  lua_Hook own = lua_gethook(co);
  bool keep = own != NULL && own != poison;
  task_extra *x = keep ? task_extra_make(t) : NULL;
  if (x != NULL) {
    x->hook = own;
    x->hook_mask = lua_gethookmask(co);
    x->hook_count = lua_gethookcount(co);
  }
  task_flag(t, TASK_POISONED);
  lua_sethook(co, poison, LUA_MASKCOUNT, 1);
}

static void antidote(lua_State *co, task *t) {
  task_extra *x = task_is(t, TASK_EXTRA) ? t->extra : NULL;
  task_unflag(t, TASK_POISONED);
  if (lua_gethook(co) != poison) return; /* somebody has set another one */
  if (x != NULL && x->hook != NULL)
    lua_sethook(co, x->hook, x->hook_mask, x->hook_count);
  else
    lua_sethook(co, NULL, 0, 0);
  if (x != NULL) x->hook = NULL;
}

/* The coroutine yielded on its own account: it raises at the yield. */
static void poison(lua_State *co, lua_Debug *ar) {
  (void)ar;
  antidote(co, state_get(co)->current);
  luaL_where(co, 0); /* a hook in C is no level of its own */
  lua_pushliteral(co, YIELD_TEXT);
  lua_concat(co, 2);
  lua_error(co);
}

/* Stack: the message handler, then the results or the error. */
static int body_end(lua_State *co, int status, lua_KContext context) {
  task *t = (task *)context;
  int count = lua_gettop(co) - 1;
  if (status != LUA_OK && status != LUA_YIELD) {
    failed(co, t, SAROS_E_LUA);
    return 1;
  }
  if (task_is(t, TASK_POISONED)) { /* it was the last thing it did */
    antidote(co, t);
    lua_settop(co, 1);
    lua_pushliteral(co, YIELD_TEXT);
    failed(co, t, SAROS_E_LUA);
    return 1;
  }
  if (count >= 2 && lua_isnil(co, 2) && !lua_isnil(co, 3)) {
    lua_settop(co, 3); /* nil, err */
    failed(co, t, SAROS_E_FAIL);
    return 1;
  }
  return count;
}

/* Arguments: the task, the function, its arguments. The message handler has
   no upvalue, because that would make it a closure for each task. */
int task_body(lua_State *co) {
  task *t = lua_touserdata(co, 1);
  lua_pushcfunction(co, on_error);
  lua_replace(co, 1);
  int r = lua_pcallk(co, lua_gettop(co) - 2, LUA_MULTRET, 1, (lua_KContext)t,
                     body_end);
  return body_end(co, r, (lua_KContext)t);
}

bool task_origin(state *s, saros_op *op, char *text, size_t size) {
  lua_Debug ar;
  int level = 0;
  task *t = task_of(s, op);
  if (t == NULL) return false;
  lua_State *co = t->co;
  if (!task_is(t, TASK_STARTED)) {
    if (!lua_checkstack(co, 1) || !lua_isfunction(co, 3)) return false;
    lua_pushvalue(co, 3); /* body, task, function */
    lua_getinfo(co, ">S", &ar);
  } else {
    /* At the bottom is `body`, above it the function. */
    while (lua_getstack(co, level, &ar)) level++;
    if (level < 2 || !lua_getstack(co, level - 2, &ar)) return false;
    lua_getinfo(co, "S", &ar);
  }
  if (ar.linedefined <= 0) return false;
  snprintf(text, size, "%s:%d", ar.short_src, ar.linedefined);
  return true;
}

void task_describe(lua_State *L, state *s, saros_op *op, buffer *b) {
  char where[TASK_ORIGIN_SIZE];
  (void)L;
  op_describe(op, b);
  if (task_origin(s, op, where, sizeof where)) buffer_format(b, " (%s)", where);
}
