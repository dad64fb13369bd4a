/*
** saros.h: the public C API, the only header an embedder includes.
**
** A program that hosts Lua gets the functions from the loaded module:
**
**     #define SAROS_DEFINE          // in exactly one file
**     #include "saros.h"
**     ...
**     luaL_requiref / require "saros.core" in L, then
**     if (!saros_api_get(L)) ...    // fetches the table
**
** A program without Lua links libsaros.a and defines SAROS_STATIC before it
** includes this header; the functions are then ordinary ones.
**
** Every function may be called from any thread, unless it takes a lua_State:
** then the caller is the one who may use that state now.
*/
#ifndef SAROS_H
#define SAROS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct lua_State; /* saros.h needs no Lua header */

/* The table only ever grows at its end. SAROS_API_VERSION changes when that
   promise is broken, and then the older table is refused. */
#define SAROS_API_VERSION 1

/* Whose vocabulary an operation speaks. */
typedef enum saros_facade {
  SAROS_FACADE_SAROS, /* tasks, sleep, process, copy, repository, a host's */
  SAROS_FACADE_VSS,
  SAROS_FACADE_WSB,
  SAROS_FACADE_VDS,
  SAROS_FACADE_BITS,
  SAROS_FACADES /* how many */
} saros_facade;

/* ------------------------------------------------------------------
** Codes
** ---------------------------------------------------------------- */

#define SAROS_S_OK 0x00000000u
#define SAROS_S_FALSE 0x00000001u
#define SAROS_E_NOTIMPL 0x80004001u
#define SAROS_E_FAIL 0x80004005u
#define SAROS_E_UNEXPECTED 0x8000FFFFu
#define SAROS_E_ACCESSDENIED 0x80070005u
#define SAROS_E_OUTOFMEMORY 0x8007000Eu
#define SAROS_E_INVALIDARG 0x80070057u
#define SAROS_E_CANCELLED 0x800704C7u /* Win32 1223 */
#define SAROS_E_TIMEOUT 0x800705B4u   /* Win32 1460 */

/* The vocabulary `saros`. */
#define SAROS_S_PENDING 0x25A50001u
#define SAROS_S_PARTIAL 0x25A50002u
#define SAROS_E_FORKED 0xA5A50001u    /* begun before a fork, by the parent */
#define SAROS_E_CYCLE 0xA5A50002u     /* two waits for each other */
#define SAROS_E_BUSY_NAME 0xA5A50003u /* the name is taken by a pending one */
#define SAROS_E_EXIT 0xA5A50004u      /* a process ended with a status */
#define SAROS_E_SIGNAL 0xA5A50005u    /* a process was killed by a signal */
#define SAROS_E_STOLEN 0xA5A50006u    /* somebody else reaped our child */
#define SAROS_E_LUA 0xA5A50007u       /* a Lua function raised an error */
#define SAROS_E_CLOSED 0xA5A50008u    /* the handle was closed */
#define SAROS_E_ENGINE 0xA5A50009u    /* there is another engine here */
#define SAROS_E_WRONG_PASSWORD 0xA5A50010u
#define SAROS_E_LOCKED 0xA5A50011u
#define SAROS_E_DAMAGED 0xA5A50012u
#define SAROS_E_CHANGED 0xA5A50013u /* the source changed while it was read */
#define SAROS_E_REFUSED 0xA5A50014u /* would be dangerous */

/* VSS */
#define VSS_S_ASYNC_PENDING 0x00042309u
#define VSS_S_ASYNC_FINISHED 0x0004230Au
#define VSS_S_ASYNC_CANCELLED 0x0004230Bu
#define VSS_E_BAD_STATE 0x80042301u
#define VSS_E_UNEXPECTED 0x80042302u
#define VSS_E_INSUFFICIENT_STORAGE 0x8004231Fu
#define VSS_E_NOT_SUPPORTED 0x8004232Fu

/* WSB */
#define WSBAPP_E_COMPONENT_CONSISTENCY_CHECK_FAILED 0x807A0001u
#define WSBAPP_E_COMPONENT_PRE_RESTORE_FAILED 0x807A0002u
#define WSBAPP_E_COMPONENT_POST_RESTORE_FAILED 0x807A0003u
#define WSBAPP_ASYNC_IN_PROGRESS 0x407A0004u
/* Newer headers dropped bit 30: understood, never emitted. */
#define WSBAPP_ASYNC_IN_PROGRESS_NEW 0x007A0004u

/* VDS */
#define VDS_E_NOT_SUPPORTED 0x80042400u
#define VDS_E_OPERATION_PENDING 0x80042409u
#define VDS_E_CANCEL_TOO_LATE 0x8004240Cu
#define VDS_E_OPERATION_CANCELED 0x8004240Du
#define VDS_S_DISK_PARTIALLY_CLEANED 0x0004241Au
#define VDS_E_ACCESS_DENIED 0x80042427u
#define VDS_E_INTERNAL_ERROR 0x80042448u
#define VDS_E_TIMEOUT 0x8004245Fu

/* BITS and QMgr */
#define QM_STATUS_JOB_COMPLETE 0x004u
#define QM_STATUS_JOB_INCOMPLETE 0x008u
#define QM_STATUS_JOB_ERROR 0x010u
#define QM_E_INVALID_STATE 0x81001001u
#define QM_E_ITEM_NOT_FOUND 0x81001004u
#define BG_E_INVALID_STATE 0x80200002u

/* ------------------------------------------------------------------
** Operations
** ---------------------------------------------------------------- */

typedef struct saros_op saros_op;
typedef struct saros_value saros_value; /* what a result is made of */

typedef enum saros_state {
  SAROS_CREATED,
  SAROS_QUEUED,
  SAROS_RUNNING,
  SAROS_PAUSED,
  SAROS_RETRY_WAIT,
  SAROS_SUCCEEDED, /* this and what follows is terminal */
  SAROS_FAILED,
  SAROS_CANCELLED_STATE
} saros_state;

#define saros_state_is_terminal(state) ((state) >= SAROS_SUCCEEDED)

/* How a kind of operation behaves. */
#define SAROS_CANCELLABLE 0x01u /* cancel is accepted while it is pending */
#define SAROS_RUN_CPU 0x02u     /* `run` computes: the pool, one per core */
#define SAROS_RUN_LANE 0x04u    /* `run` may sleep in the kernel */
#define SAROS_REOPENABLE 0x08u  /* a failed one may be resumed (BITS) */
#define SAROS_NO_ESTIMATE 0x10u /* percent stays 0 until it is terminal */

/* One kind of operation: a constant of whoever defines it. Zero what is not
   needed. No callback is called with a lock held. It must outlive its last
   operation: a Lua module that defines one is linked with -z nodelete, because
   lua_close unloads modules while a worker may still be on its way out. */
typedef struct saros_kind {
  size_t size;      /* sizeof(saros_kind) */
  const char *name; /* "backup.verify", as a person sees it */
  saros_facade facade;
  uint32_t flags;
  /* The work, on a worker; its return is the code it ends with. Long work
     asks saros_op_cancelled now and then. Without it the one who made the
     operation calls saros_op_finish himself, from any thread. */
  uint32_t (*run)(saros_op *op, void *self);
  /* The operation is cancelled: make the work stop and unwind. Any thread;
     must not block. When nothing of it runs any more: saros_op_finish. */
  void (*cancel)(saros_op *op, void *self);
  void (*pause)(saros_op *op, void *self);
  void (*resume)(saros_op *op, void *self);
  /* The last reference is gone. */
  void (*release)(void *self);
  /* Who may ask: 0 or E_ACCESSDENIED. NULL lets everybody. */
  uint32_t (*access)(saros_op *op, void *self);
} saros_kind;

/* What an application hands out for its check: IWsbApplicationAsync. Called on
   a worker, one call at a time; none may block for long. */
typedef struct saros_wsb_async {
  size_t size; /* sizeof(saros_wsb_async) */
  /* *hr: WSBAPP_ASYNC_IN_PROGRESS, then 0 or the failure for ever. The return
     says whether it could be asked. */
  uint32_t (*query_status)(void *self, uint32_t *hr);
  uint32_t (*abort)(void *self);
  /* The operation is gone; any thread. May be NULL. */
  void (*release)(void *self);
} saros_wsb_async;

/* Output of a finished VDS operation, as IVdsAsync::Wait hands it out. */
typedef struct saros_vds_output {
  uint32_t type;   /* VDS_ASYNC_OUTPUT_TYPE, 0 when there is none */
  uint64_t number; /* offset of a partition, bytes reclaimed by a shrink */
  char id[37];     /* GUID or "" */
} saros_vds_output;

#define SAROS_INFINITE 0xFFFFFFFFu

typedef enum saros_log_level {
  SAROS_LOG_ERROR,
  SAROS_LOG_WARNING,
  SAROS_LOG_NOTICE,
  SAROS_LOG_DEBUG
} saros_log_level;

typedef struct saros_device saros_device; /* a file system written to */

typedef struct saros_process_options {
  size_t size;             /* sizeof(saros_process_options) */
  const char *const *argv; /* NULL-terminated */
  const char *const *env;  /* NULL-terminated "A=b", or NULL: inherited */
  const char *cwd;         /* or NULL */
  const char *input;       /* bytes for standard input, or NULL */
  size_t input_size;
  double timeout; /* seconds; 0: none */
  size_t limit;   /* bytes kept of each output; 0: 1 MiB */
} saros_process_options;

/* ------------------------------------------------------------------
** The functions, as a table
** ---------------------------------------------------------------- */

typedef struct saros_api {
  uint32_t version; /* SAROS_API_VERSION */
  uint32_t size;    /* of this table: a longer one is newer */

  /* A new operation of the host's own, created, with one reference, which is
     the caller's. NULL when memory or threads ran out. `name` may be NULL;
     a name that a pending operation has is refused (NULL). */
  saros_op *(*op_new)(const saros_kind *kind, void *self, const char *name);
  /* Sets it going: queued for a worker when the kind has `run`, else
     running. Returns 0 or the reason why not. */
  uint32_t (*op_start)(saros_op *op);
  saros_op *(*op_ref)(saros_op *op);
  void (*op_unref)(saros_op *op); /* never cancels */

  /* The work has ended and nothing of it runs any more. The code counts if
     the operation was still pending (1 is returned), else only the unwinding
     is over (0). `message` may be NULL. */
  int (*op_finish)(saros_op *op, uint32_t code, const char *message);
  /* The outcome is decided, but the work must still unwind: op_finish
     follows. 1 if this code won. */
  int (*op_end)(saros_op *op, uint32_t code, const char *message);
  /* Names what is being undone and gives it a deadline of its own. */
  void (*op_unwinding)(saros_op *op, const char *step);
  /* What could not be undone: kept in status().cleanup and in the log. */
  void (*op_cleanup_failed)(saros_op *op, const char *what);
  /* The result as JSON, before op_finish. 0 or E_INVALIDARG. */
  uint32_t (*op_output_json)(saros_op *op, const char *json, size_t size);
  void (*op_progress)(saros_op *op, uint64_t done, uint64_t total);
  void (*op_phase)(saros_op *op, const char *phase);
  int (*op_cancelled)(saros_op *op);
  /* Waits out a pause; 0 when the operation was cancelled meanwhile. */
  int (*op_checkpoint)(saros_op *op);
  /* From here on it cannot be cancelled; 0 when it already was. */
  int (*op_point_of_no_return)(saros_op *op);
  /* A transient error is stored and the operation waits to be tried again,
     until op_running. */
  int (*op_retry_wait)(saros_op *op, uint32_t win32, uint32_t transport);
  int (*op_running)(saros_op *op);
  /* The error of a transfer, as BITS tells it, before it fails. */
  void (*op_transfer_error)(saros_op *op, uint32_t win32, uint32_t transport);
  int (*op_pause)(saros_op *op);
  int (*op_resume)(saros_op *op);

  saros_state (*op_state)(saros_op *op);
  uint32_t (*op_code)(saros_op *op); /* of a terminal one, else pending */
  const char *(*op_kind)(saros_op *op);
  void *(*op_self)(saros_op *op);
  /* Cancel and query as the operation's own facade answers. */
  uint32_t (*op_cancel)(saros_op *op);
  uint32_t (*op_query)(saros_op *op, uint32_t *percent);
  /* 1 when it is terminal and unwound within `ms`. Not from a worker. */
  int (*op_wait)(saros_op *op, uint32_t ms);
  saros_op *(*get)(const char *name); /* a new reference, or NULL */

  /* The five vocabularies, exact to the letter. */
  uint32_t (*query_status)(saros_op *op, uint32_t *code, uint32_t *percent);
  uint32_t (*wait)(saros_op *op, uint32_t ms);
  uint32_t (*cancel)(saros_op *op);
  uint32_t (*vss_query_status)(saros_op *op, uint32_t *hr, int32_t *reserved);
  uint32_t (*vss_wait)(saros_op *op, uint32_t ms);
  uint32_t (*vss_cancel)(saros_op *op);
  uint32_t (*wsb_query_status)(saros_op *op, uint32_t *hr);
  uint32_t (*wsb_abort)(saros_op *op);
  uint32_t (*vds_query_status)(saros_op *op, uint32_t *hr, uint32_t *percent);
  uint32_t (*vds_wait)(saros_op *op, uint32_t *hr, saros_vds_output *output);
  uint32_t (*vds_cancel)(saros_op *op);
  uint32_t (*bits_get_status)(saros_op *job, uint32_t *status, uint32_t *win32,
                              uint32_t *transport, uint32_t *retries);

  /* Operations that are there already. NULL with *why set on refusal. */
  saros_op *(*sleep)(double seconds);
  saros_op *(*process)(const saros_process_options *options, uint32_t *why);
  saros_op *(*copy)(const char *from, const char *to, uint32_t *why);

  /* Lua. push leaves the operation on the stack (or nil for NULL) and takes
     a reference of its own; check gives it back, NULL when the value is no
     operation. fd becomes readable when step has work; step runs what is
     due, waiting at most `max_seconds`, and returns 1 when there is more. */
  void (*push)(struct lua_State *L, saros_op *op);
  saros_op *(*check)(struct lua_State *L, int index);
  int (*fd)(struct lua_State *L);
  int (*step)(struct lua_State *L, double max_seconds);

  /* A result that JSON cannot say (bytes, infinities) or that would be long.
     A value is built by one thread and freed whole, unless it was given away.
     Each returns NULL when memory ran out; add and put take over `item`, also
     when they fail (a NULL item fails), so that calls nest. */
  saros_value *(*value_integer)(int64_t n);
  saros_value *(*value_real)(double n);
  saros_value *(*value_bytes)(const void *bytes, size_t size);
  saros_value *(*value_list)(void);
  saros_value *(*value_map)(void);
  int (*value_add)(saros_value *list, saros_value *item);
  int (*value_put)(saros_value *map, const char *name, saros_value *item);
  void (*value_free)(saros_value *v);
  /* The result, before op_finish; takes it over. */
  void (*op_output)(saros_op *op, saros_value *v);

  /* A working operation becomes this state's own, as those are that a script
     starts: lua_close cancels it if nobody else holds it, and waits for that
     for a moment. One that is not owned goes on. Raises nothing. */
  void (*own)(struct lua_State *L, saros_op *op);

  saros_value *(*value_boolean)(int b);
  /* A line of the log; `area` says whose ("repository"): a literal, since
     records are kept. */
  void (*log)(saros_log_level level, const char *area, const char *text);
  /* The file system behind this file is written to: a freeze that would hold
     it is refused, with this reason ("a repository") and path. NULL when it
     cannot be kept in mind. */
  saros_device *(*device_hold)(int fd, const char *why, const char *path);
  void (*device_release)(saros_device *hold); /* NULL is let go, too */

  /* One more field of status(): "path", what is worked on now. Takes over
     `item`. */
  void (*op_detail)(saros_op *op, const char *name, saros_value *item);
  /* The standard output of a process that was started with "stream": the
     caller's to read and close. -1: it is none, or was taken already. */
  int (*op_stream)(saros_op *op);

  /* As op_finish, and what else is known of the failure: `more` is a map (taken
     over; may be NULL) whose fields the error has in Lua: "errno" (a number of
     the system's or a server's), "retryable", "path", and any of your own. */
  int (*op_fail)(saros_op *op, uint32_t code, const char *message,
                 saros_value *more);

  /* An application's own asynchronous object as an operation: it is polled
     until it has ended, and aborted when the operation is cancelled. S_OK is
     its one success. NULL: no memory, or a name that is taken; then nothing
     was called. */
  saros_op *(*wsb_check)(const saros_wsb_async *async, void *self,
                         const char *name);

  /* For maps by the thousand: one with room for so many fields at once, and
     items that lie in what they are put into, and go with it. NULL, and 0: no
     memory. */
  saros_value *(*value_map_of)(uint32_t fields);
  int (*value_put_integer)(saros_value *map, const char *name, int64_t n);
  int (*value_put_bytes)(saros_value *map, const char *name, const void *bytes,
                         size_t size);
  saros_value *(*value_put_map)(saros_value *map, const char *name,
                                uint32_t fields);
  saros_value *(*value_put_list)(saros_value *map, const char *name,
                                 uint32_t items);
  int (*value_add_bytes)(saros_value *list, const void *bytes, size_t size);
  saros_value *(*value_add_map)(saros_value *list, uint32_t fields);
} saros_api;

/* ------------------------------------------------------------------
** The functions, by name
** ---------------------------------------------------------------- */

#ifdef SAROS_STATIC

#define SAROS_FN(result, name, params, args) result saros_##name params;
#define SAROS_PROC(name, params, args) void saros_##name params;
/* The table of this program's own engine. */
const saros_api *saros_api_own(void);

#else

extern const saros_api *saros_api_table;

/* Fetches the table of the engine that `require "saros.core"` loaded into
   this state. NULL when that was not required yet, or is too old. */
const saros_api *saros_api_get(struct lua_State *L);

#ifdef SAROS_DEFINE /* with lua.h included before */
const saros_api *saros_api_table;
const saros_api *saros_api_get(struct lua_State *L) {
  lua_getfield(L, LUA_REGISTRYINDEX, "saros.api");
  const saros_api *table = (const saros_api *)lua_touserdata(L, -1);
  lua_pop(L, 1);
  if (table == NULL || table->version != SAROS_API_VERSION ||
      table->size < sizeof *table)
    return NULL;
  return saros_api_table = table;
}
#endif

#define SAROS_FN(result, name, params, args) \
  static inline result saros_##name params { \
    return saros_api_table->name args;       \
  }
#define SAROS_PROC(name, params, args)     \
  static inline void saros_##name params { \
    saros_api_table->name args;            \
  }

#endif

/* clang-format off */
SAROS_FN(saros_op *, op_new, (const saros_kind *kind, void *self, const char *name), (kind, self, name))
SAROS_FN(uint32_t, op_start, (saros_op *op), (op))
SAROS_FN(saros_op *, op_ref, (saros_op *op), (op))
SAROS_PROC(op_unref, (saros_op *op), (op))
SAROS_FN(int, op_finish, (saros_op *op, uint32_t code, const char *message), (op, code, message))
SAROS_FN(int, op_end, (saros_op *op, uint32_t code, const char *message), (op, code, message))
SAROS_PROC(op_unwinding, (saros_op *op, const char *step), (op, step))
SAROS_PROC(op_cleanup_failed, (saros_op *op, const char *what), (op, what))
SAROS_FN(uint32_t, op_output_json, (saros_op *op, const char *json, size_t size), (op, json, size))
SAROS_PROC(op_progress, (saros_op *op, uint64_t done, uint64_t total), (op, done, total))
SAROS_PROC(op_phase, (saros_op *op, const char *phase), (op, phase))
SAROS_FN(int, op_cancelled, (saros_op *op), (op))
SAROS_FN(int, op_checkpoint, (saros_op *op), (op))
SAROS_FN(int, op_point_of_no_return, (saros_op *op), (op))
SAROS_FN(int, op_retry_wait, (saros_op *op, uint32_t win32, uint32_t transport), (op, win32, transport))
SAROS_FN(int, op_running, (saros_op *op), (op))
SAROS_PROC(op_transfer_error, (saros_op *op, uint32_t win32, uint32_t transport), (op, win32, transport))
SAROS_FN(int, op_pause, (saros_op *op), (op))
SAROS_FN(int, op_resume, (saros_op *op), (op))
SAROS_FN(saros_state, op_state, (saros_op *op), (op))
SAROS_FN(uint32_t, op_code, (saros_op *op), (op))
SAROS_FN(const char *, op_kind, (saros_op *op), (op))
SAROS_FN(void *, op_self, (saros_op *op), (op))
SAROS_FN(uint32_t, op_cancel, (saros_op *op), (op))
SAROS_FN(uint32_t, op_query, (saros_op *op, uint32_t *percent), (op, percent))
SAROS_FN(int, op_wait, (saros_op *op, uint32_t ms), (op, ms))
SAROS_FN(saros_op *, get, (const char *name), (name))
SAROS_FN(uint32_t, query_status, (saros_op *op, uint32_t *code, uint32_t *percent), (op, code, percent))
SAROS_FN(uint32_t, wait, (saros_op *op, uint32_t ms), (op, ms))
SAROS_FN(uint32_t, cancel, (saros_op *op), (op))
SAROS_FN(uint32_t, vss_query_status, (saros_op *op, uint32_t *hr, int32_t *reserved), (op, hr, reserved))
SAROS_FN(uint32_t, vss_wait, (saros_op *op, uint32_t ms), (op, ms))
SAROS_FN(uint32_t, vss_cancel, (saros_op *op), (op))
SAROS_FN(uint32_t, wsb_query_status, (saros_op *op, uint32_t *hr), (op, hr))
SAROS_FN(uint32_t, wsb_abort, (saros_op *op), (op))
SAROS_FN(uint32_t, vds_query_status, (saros_op *op, uint32_t *hr, uint32_t *percent), (op, hr, percent))
SAROS_FN(uint32_t, vds_wait, (saros_op *op, uint32_t *hr, saros_vds_output *output), (op, hr, output))
SAROS_FN(uint32_t, vds_cancel, (saros_op *op), (op))
SAROS_FN(uint32_t, bits_get_status, (saros_op *job, uint32_t *status, uint32_t *win32, uint32_t *transport, uint32_t *retries), (job, status, win32, transport, retries))
SAROS_FN(saros_op *, sleep, (double seconds), (seconds))
SAROS_FN(saros_op *, process, (const saros_process_options *options, uint32_t *why), (options, why))
SAROS_FN(saros_op *, copy, (const char *from, const char *to, uint32_t *why), (from, to, why))
SAROS_PROC(push, (struct lua_State *L, saros_op *op), (L, op))
SAROS_FN(saros_op *, check, (struct lua_State *L, int index), (L, index))
SAROS_FN(int, fd, (struct lua_State *L), (L))
SAROS_FN(int, step, (struct lua_State *L, double max_seconds), (L, max_seconds))
SAROS_FN(saros_value *, value_integer, (int64_t n), (n))
SAROS_FN(saros_value *, value_real, (double n), (n))
SAROS_FN(saros_value *, value_bytes, (const void *bytes, size_t size), (bytes, size))
SAROS_FN(saros_value *, value_list, (void), ())
SAROS_FN(saros_value *, value_map, (void), ())
SAROS_FN(int, value_add, (saros_value *list, saros_value *item), (list, item))
SAROS_FN(int, value_put, (saros_value *map, const char *name, saros_value *item), (map, name, item))
SAROS_PROC(value_free, (saros_value *v), (v))
SAROS_PROC(op_output, (saros_op *op, saros_value *v), (op, v))
SAROS_PROC(own, (struct lua_State *L, saros_op *op), (L, op))
SAROS_FN(saros_value *, value_boolean, (int b), (b))
SAROS_PROC(log, (saros_log_level level, const char *area, const char *text), (level, area, text))
SAROS_FN(saros_device *, device_hold, (int fd, const char *why, const char *path), (fd, why, path))
SAROS_PROC(device_release, (saros_device *hold), (hold))
SAROS_PROC(op_detail, (saros_op *op, const char *name, saros_value *item), (op, name, item))
SAROS_FN(int, op_stream, (saros_op *op), (op))
SAROS_FN(int, op_fail, (saros_op *op, uint32_t code, const char *message, saros_value *more), (op, code, message, more))
SAROS_FN(saros_op *, wsb_check, (const saros_wsb_async *async, void *self, const char *name), (async, self, name))
SAROS_FN(saros_value *, value_map_of, (uint32_t fields), (fields))
SAROS_FN(int, value_put_integer, (saros_value *map, const char *name, int64_t n), (map, name, n))
SAROS_FN(int, value_put_bytes, (saros_value *map, const char *name, const void *bytes, size_t size), (map, name, bytes, size))
SAROS_FN(saros_value *, value_put_map, (saros_value *map, const char *name, uint32_t fields), (map, name, fields))
SAROS_FN(saros_value *, value_put_list, (saros_value *map, const char *name, uint32_t items), (map, name, items))
SAROS_FN(int, value_add_bytes, (saros_value *list, const void *bytes, size_t size), (list, bytes, size))
SAROS_FN(saros_value *, value_add_map, (saros_value *list, uint32_t fields), (list, fields))
/* clang-format on */

#undef SAROS_FN
#undef SAROS_PROC

#ifdef __cplusplus
}
#endif

#endif
