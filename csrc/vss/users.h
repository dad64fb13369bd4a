/*
** Who uses a file system: the processes that have a file of it open or mapped,
** work in it, or run a program of it.
*/
#ifndef SAROS_VSS_USERS_H
#define SAROS_VSS_USERS_H

#include <sys/types.h>

#include "base/base.h"

/* How many, and "12 (bash), 13 (postgres)" of the first few. `dev` is what
   stat says of its files: of a subvolume of btrfs its own. Blocking. */
unsigned users_of(dev_t dev, buffer *who);

#endif
