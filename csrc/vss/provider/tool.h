/*
** Somebody else's program, run by a provider on its lane thread: from a list of
** words to what it printed.
**
** What is begun is let finish when we die: a volume manager that is killed in
** between may leave a device suspended, and everybody who writes to it waits
** for ever. Who comes after us must not take away what such a program is still
** making, so it holds a lock that its maker gave it, and they wait for that
** (tool_lock).
*/
#ifndef SAROS_VSS_PROVIDER_TOOL_H
#define SAROS_VSS_PROVIDER_TOOL_H

#include "op/op.h"
#include "vss/vss.h"

typedef struct tool_call {
  const char *const *argv; /* the program is looked for in PATH and sbin */
  int lock;                /* from tool_lock, held by the program too; or -1 */
  unsigned seconds;        /* then it is asked to stop, and later killed */
  saros_op *op;            /* the same when this is cancelled; or NULL */
} tool_call;

/* NULL: it ended with 0. Else why not: with what it said on standard error. In
 *out what it printed (allocated; NULL on an error); `out` may be NULL. */
error *tool_run(const tool_call *call, char **out);
/* Whether there is such a program. */
bool tool_is_there(const char *name);

/* Opens (and makes) the file `name` in the directory, and locks it: waits for
   who holds it, for so many seconds. */
error *tool_lock(int directory, const char *name, unsigned seconds, int *lock);

#endif
