/*
** Managers and jobs as userdata, and operations pushed. What scripts use
** stands on top of it, in Lua.
*/
#ifndef SAROS_LUA_BITS_BOX_H
#define SAROS_LUA_BITS_BOX_H

#include <lauxlib.h>
#include <lua.h>
#include <stdbool.h>

#include "bits/call.h"

#define BITS_MANAGER "saros.bits.manager"
#define BITS_JOB "saros.bits.job"

typedef struct manager_box {
  bits_manager *m; /* NULL: born closed, or closed */
  saros_op *held;  /* between its beginning and its handle */
} manager_box;

typedef struct job_box {
  bits_job *j;       /* NULL: born closed */
  bits_files *files; /* that were put, and are not added yet; or NULL */
  saros_op *held;
} job_box;

/* They raise when it cannot be used: closed, or the parent's. */
bits_manager *manager_check(lua_State *L, int index);
bits_job *job_check(lua_State *L, int index);
/* Pushes an empty one. */
manager_box *manager_new(lua_State *L);
job_box *job_new(lua_State *L);
/* Leaves the operation on the stack; no reference of ours is left. `held` is
   a place in a box that is on the stack. Raises. */
void operation_push(lua_State *L, saros_op **held, saros_op *op);
/* Begins the call whose name is at index 2 with the options at 3, and leaves
   its operation on the stack. */
int call_push(lua_State *L, saros_op **held, bits_manager *m, bits_job *j);
/* Raises. */
int begin_failed(lua_State *L, uint32_t why);
/* nil, code, message; takes over the error. */
int error_push(lua_State *L, error *e);

extern const luaL_Reg bits_manager_methods[], bits_manager_meta[];
extern const luaL_Reg bits_job_methods[], bits_job_meta[];

#endif
