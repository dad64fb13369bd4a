/*
** Where paths really lead, as an operation: a writer and a requester may call
** one directory by two names.
*/
#ifndef SAROS_VSS_REAL_PATHS_H
#define SAROS_VSS_REAL_PATHS_H

#include "vss/vss.h"

/* Of a list of texts (taken over, also on an error) its result is the list of
   where they lead, without links; of what is not there, or may not be looked
   at, as far as that is known. NULL and *e. */
saros_op *real_paths_start(value *paths, error **e);

#endif
