/*
** How far the replacement of a device of a btrfs is: the kernel's own state,
** which outlives who asked for it.
*/
#ifndef SAROS_VDS_REPLACE_H
#define SAROS_VDS_REPLACE_H

#include "vds/vds.h"

typedef enum vds_replace_state {
  VDS_REPLACE_UNKNOWN,
  VDS_REPLACE_NONE, /* never, or cancelled */
  VDS_REPLACE_RUNS, /* or waits to go on */
  VDS_REPLACE_DONE
} vds_replace_state;

vds_replace_state vds_replace_look(int mount, uint64_t *permille);

#endif
