/*
** Where on a device the chunks of a mounted btrfs lie, and so how small it
** could become.
*/
#ifndef SAROS_VDS_BTRFS_EXTENTS_H
#define SAROS_VDS_BTRFS_EXTENTS_H

#include "vds/vds.h"

/* Bytes of chunks beyond an offset of the device. False: not known. */
bool vds_btrfs_beyond(int mount, uint64_t device, uint64_t offset,
                      uint64_t *bytes);
/* Where its last chunk ends; 0: not known. */
uint64_t vds_btrfs_end(int mount, uint64_t device);
/* The least size of the device, as far as it can be known beforehand: chunks
   move into gaps that are large enough, from the last one on. */
error *vds_btrfs_minimum(int mount, uint64_t device, uint64_t *size);

#endif
