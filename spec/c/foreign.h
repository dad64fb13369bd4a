/*
** An application's own asynchronous object, as a C host has it: for specs. It
** answers what it was told to, and counts how often it was asked.
**
**     local app = testmod.foreign { hr = 0x007A0004, deaf = true }
**     app:op()  app:answer(0)  app:polls()  app:aborts()  app:released()
*/
#ifndef SAROS_SPEC_FOREIGN_H
#define SAROS_SPEC_FOREIGN_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

typedef struct foreign {
  _Atomic uint32_t hr;
  _Atomic int polls, aborts, released;
  bool deaf;        /* to Abort */
  _Atomic int refs; /* the handle's and the operation's */
} foreign;

static void foreign_unref(foreign *f) {
  if (atomic_fetch_sub(&f->refs, 1) == 1) free(f);
}

static uint32_t foreign_query(void *self, uint32_t *hr) {
  foreign *f = self;
  atomic_fetch_add(&f->polls, 1);
  *hr = atomic_load(&f->hr);
  return SAROS_S_OK;
}

static uint32_t foreign_abort(void *self) {
  foreign *f = self;
  atomic_fetch_add(&f->aborts, 1);
  if (!f->deaf) atomic_store(&f->hr, SAROS_E_CANCELLED);
  return SAROS_S_OK;
}

static void foreign_release(void *self) {
  atomic_fetch_add(&((foreign *)self)->released, 1);
  foreign_unref(self);
}

static foreign *foreign_of(lua_State *L) {
  return *(foreign **)luaL_checkudata(L, 1, "testmod.foreign");
}

/* Makes the operation: once. */
static int foreign_op(lua_State *L) {
  static const saros_wsb_async async = {.size = sizeof async,
                                        .query_status = foreign_query,
                                        .abort = foreign_abort,
                                        .release = foreign_release};
  foreign *f = foreign_of(L);
  atomic_fetch_add(&f->refs, 1);
  saros_op *op = saros_wsb_check(&async, f, NULL);
  if (op == NULL) return luaL_error(L, "not started");
  saros_own(L, op);
  saros_push(L, op);
  saros_op_unref(op);
  return 1;
}

static int foreign_answer(lua_State *L) {
  atomic_store(&foreign_of(L)->hr, (uint32_t)luaL_checkinteger(L, 2));
  return 0;
}

static int foreign_polls(lua_State *L) {
  lua_pushinteger(L, atomic_load(&foreign_of(L)->polls));
  return 1;
}

static int foreign_aborts(lua_State *L) {
  lua_pushinteger(L, atomic_load(&foreign_of(L)->aborts));
  return 1;
}

static int foreign_released(lua_State *L) {
  lua_pushinteger(L, atomic_load(&foreign_of(L)->released));
  return 1;
}

static int foreign_gc(lua_State *L) {
  foreign_unref(foreign_of(L));
  return 0;
}

static int new_foreign(lua_State *L) {
  static const luaL_Reg own[] = {{"op", foreign_op},
                                 {"answer", foreign_answer},
                                 {"polls", foreign_polls},
                                 {"aborts", foreign_aborts},
                                 {"released", foreign_released},
                                 {NULL, NULL}};
  luaL_checktype(L, 1, LUA_TTABLE);
  foreign **at = lua_newuserdatauv(L, sizeof *at, 0);
  foreign *f = calloc(1, sizeof *f);
  if (f == NULL) return luaL_error(L, "not enough memory");
  atomic_init(&f->refs, 1);
  *at = f;
  if (luaL_newmetatable(L, "testmod.foreign")) {
    lua_pushcfunction(L, foreign_gc);
    lua_setfield(L, -2, "__gc");
    luaL_newlib(L, own);
    lua_setfield(L, -2, "__index");
  }
  lua_setmetatable(L, -2);
  lua_getfield(L, 1, "hr");
  atomic_init(&f->hr, (uint32_t)luaL_optinteger(L, -1, 0x407A0004));
  lua_getfield(L, 1, "deaf");
  f->deaf = lua_toboolean(L, -1);
  lua_settop(L, 2);
  return 1;
}

#endif
