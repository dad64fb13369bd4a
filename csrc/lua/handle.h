/*
** The operation as userdata, its errors, its values, and waiting for it.
*/
#ifndef SAROS_LUA_HANDLE_H
#define SAROS_LUA_HANDLE_H

#include "lua/task.h"

typedef struct handle {
  saros_op *op; /* NULL: born closed, or closed */
} handle;

/* Functions with the two upvalues: the first is the handle's metatable. */
handle *handle_check(lua_State *L, int index); /* raises; may be closed */
saros_op *handle_op(lua_State *L, int index);  /* raises when closed */
/* Pushes a new, closed handle (with room for a coroutine: of a task). */
handle *handle_push(lua_State *L, state *s, bool of_task);
/* Pushes a handle of an operation, taking a reference. */
void handle_push_op(lua_State *L, state *s, saros_op *op);
int attend_function(lua_State *L);
extern const luaL_Reg handle_methods[];
extern const luaL_Reg handle_meta[];
saros_op *handle_test(lua_State *L, int index); /* without upvalues; NULL */

/* wait.c */
int wait_method(lua_State *L);
int close_method(lua_State *L);
int close_of_block(lua_State *L); /* __close */
int result_method(lua_State *L);
/* Pushes what wait would return of one that is over (at index 1). */
int outcome_push(lua_State *L, saros_op *op);
/* Waits inside for an operation at index 1 and returns its results, raising
   on failure: for functions that are not operations by their signature. */
int wait_and_raise(lua_State *L);
int run_function(lua_State *L);
/* Pushes nil and the error that names both ends; the operation at 1 or not. */
int cycle_error(lua_State *L, state *s, saros_op *op);

/* progress.c */
int progress_method(lua_State *L);
int lines_method(lua_State *L);
void progress_open(lua_State *L); /* registers the iterators' metatable */

/* failure.c: one function makes every error object. The object is pushed;
   handle (an index, or 0) becomes err.op. Takes over `e`. */
void failure_push(lua_State *L, error *e, int handle);
void failure_make(lua_State *L, saros_facade facade, uint32_t code, int handle,
                  const char *format, ...)
    __attribute__((format(printf, 5, 6)));
/* The error object of an operation that failed or was cancelled. */
void failure_of(lua_State *L, saros_op *op, int handle);
/* Makes an error object of whatever a task raised or returned, at the top. */
void failure_wrap(lua_State *L, uint32_t code);
/* Puts what was raised in the place of the object made of it, at the top. */
void failure_unwrap(lua_State *L);
/* Pushes the text of whatever was raised, also when its __tostring fails. */
const char *failure_text(lua_State *L, int index);
bool failure_is(lua_State *L, int index);
uint32_t failure_code(lua_State *L, int index, uint32_t fallback);
/* The other way: an error (with its causes) of an error object, or of the
   text of anything else. `code` is for what has none. May raise for memory. */
error *failure_take(lua_State *L, int index, saros_facade f, uint32_t code);
extern const luaL_Reg failure_meta[];

/* convert.c */
void convert_push(lua_State *L, const value *v);
/* The same, and the value is freed even when that raises; NULL (no memory)
   raises. */
void convert_push_and_free(lua_State *L, value *v);
/* The same for what comes from outside: it is nobody's object. */
void convert_push_plain_and_free(lua_State *L, value *v);
void convert_push_and_free_buffer(lua_State *L, buffer *b);
/* The other way: the value at the index, as the caller's own. A table is a
   list (keys 1 to n; an empty one too) or a map (names); what it cannot be
   raises, saying where in `what` it is. Metamethods are not asked. */
value *convert_take(lua_State *L, int index, const char *what);
/* plain.c: JSON and identities */
extern const luaL_Reg plain_functions[];

/* starters.c, module.c */
extern const luaL_Reg starter_functions[];
/* Makes a task of the arguments `[options,] f, …`; its handle is all that is
   left. Raises. */
task *task_of_arguments(lua_State *L, state *s, const char *what);
/* Makes a handle, calls start, and owns what it started. */
int luaopen_saros_core(lua_State *L);

#endif
