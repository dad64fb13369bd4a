/*
** { object (disk), full?, plan?, force? }: a disk without a table, signatures
** or partitions. Output { bytes, failed = { { offset, size } … } }.
**
** Steps: permit; open exclusively; commit for a quick one; signatures of the
** partitions, then of the disk, then its first and last MiB zeroed; partitions
** taken from the kernel; full: every byte, from the start.
** Quick: ends with VDS_S_DISK_PARTIALLY_CLEANED (what lay between is still
** there), VDS_E_CANCEL_TOO_LATE once it writes. Full: S_OK; percent by bytes;
** in chunks of 8 MiB by O_DIRECT (loop devices: BLKZEROOUT of 64 MiB, which
** frees the file's blocks), a look at the cancel after each. A sector that
** cannot be written is tried by itself, skipped and listed:
** VDS_S_DISK_PARTIALLY_CLEANED; more than 64, or a device that is gone:
** VDS_E_IO_ERROR, VDS_E_OBJECT_DELETED. Cancelled: VDS_E_OPERATION_CANCELED,
** and status().cleanup says how many bytes were zeroed, for they stay so.
*/
#ifndef SAROS_VDS_CLEAN_H
#define SAROS_VDS_CLEAN_H

#include "vds/call.h"
#include "vds/object.h"

error *vds_work_clean(vds_call *c);
/* For format: zeroes all of it, as a full clean does. */
error *vds_zero(vds_call *c, const vds_target *t, uint64_t from, uint64_t to,
                value *failed);

#endif
