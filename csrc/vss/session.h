/*
** The session: what IVssBackupComponents is. It is used for one backup, one
** restore, or to look after shadows; its methods are a table that says what
** may be called when (methods.c), everything else is VSS_E_BAD_STATE and the
** session unharmed.
*/
#ifndef SAROS_VSS_SESSION_H
#define SAROS_VSS_SESSION_H

#include "vss/record.h"
#include "vss/writer.h"

typedef struct session session;

/* Options, a map: state_dir, timeouts = { identify, prepare, freeze, hold,
   post, complete } (seconds), on_veto = "fail" | "ignore", force. Does not
   block; nothing is touched yet. NULL and *e. */
session *session_open(const value *options, error **e);

/* How a method is called. */
typedef enum method_how {
  METHOD_NONE,   /* there is none of that name */
  METHOD_NOW,    /* session_now: answers at once */
  METHOD_INSIDE, /* session_begin; the caller waits for it inside */
  METHOD_ASYNC   /* session_begin; an operation for the script */
} method_how;
method_how session_method(const char *name);
/* The n-th name, or NULL. */
const char *session_method_name(size_t n);

/* `args` is a map of named arguments (NULL: none). NULL is good; *result may
   stay NULL. Never blocks. */
error *session_now(session *s, const char *name, const value *args,
                   value **result);
/* The operation (the caller's reference), or NULL and *e. Copies `args`. */
saros_op *session_begin(session *s, const char *name, const value *args,
                        error **e);
/* Closing is an operation too: cancels what runs and waits for its unwinding,
   aborts a backup that is due, sends BackupShutdown, deletes auto-release
   shadows. Called again: the same one. The session's memory goes when it was
   dropped and closed. */
saros_op *session_close(session *s, error **e);
/* The handle is gone: closes without anybody waiting. */
void session_drop(session *s);

#endif
