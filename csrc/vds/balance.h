/*
** What a btrfs keeps on which devices, and how often, changed while it is
** mounted. Progress goes by bytes: chunks are few and their number grows.
*/
#ifndef SAROS_VDS_BALANCE_H
#define SAROS_VDS_BALANCE_H

#include "vds/call.h"

/* Everything gets these profiles (BTRFS_BLOCK_GROUP_…, 0: single), unless it
   has them. With `undoing`, the name of a step, it cannot be cancelled, for it
   undoes what was. Stopped by somebody else it fails. */
error *vds_balance(vds_call *c, int mount, uint64_t data, uint64_t meta,
                   const char *undoing);
/* Ends one that is under way, or that waits to be taken up again. */
void vds_balance_end(int mount);
/* Whether one is under way, or waits, that converts to these profiles. */
bool vds_balance_is(int mount, uint64_t data, uint64_t meta);
/* The device is emptied and is no member any more. */
error *vds_remove_device(vds_call *c, int mount, uint64_t device,
                         const char *undoing);
/* It becomes one; what was on it is gone. Nobody may hold it exclusively. */
error *vds_add_device(int mount, const char *path);

#endif
