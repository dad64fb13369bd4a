/*
** Taking away what dead owners left (shadows_reap), as an operation.
*/
#ifndef SAROS_VSS_REAP_H
#define SAROS_VSS_REAP_H

#include "vss/vss.h"

/* `state_dir` may be NULL: the system's or the user's. Its result is the
   report of shadows_reap. NULL and *e. */
saros_op *reap_start(const char *state_dir, error **e);

#endif
