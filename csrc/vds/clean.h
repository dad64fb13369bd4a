/*
** { object (disk), full?, plan?, force? }: a disk without a table, signatures
** or partitions. Output { bytes, failed = { { offset, size } … } }: how many
** bytes are zero now, and which could not be written.
**
** Steps: open exclusively and permit, as a format; commit for a quick one;
** partitions taken from the kernel, all or (somebody has one open) none;
** signatures in the partitions, then the disk's last and first MiB zeroed, then
** what is left of signatures elsewhere; full: every byte, from the start. The
** beginning goes after the end, so that a table is there whole or not at all:
** also when power is lost, and so a table that has a backup at the end has that
** synced away first. All else is synced once, before it is told.
** Quick: ends with VDS_S_DISK_PARTIALLY_CLEANED (what lay between is still
** there), VDS_E_CANCEL_TOO_LATE once it has begun. Full: S_OK; percent by
** bytes; in chunks of 8 MiB by O_DIRECT (loop devices over a file: holes of
** 64 MiB in the file), a look at the cancel after each. A sector that cannot be
** written is tried by itself, skipped and listed: VDS_S_DISK_PARTIALLY_CLEANED;
** more than 64, or a device that is gone: VDS_E_IO_ERROR, VDS_E_OBJECT_DELETED.
** Cancelled: VDS_E_OPERATION_CANCELED, and status().cleanup says how many bytes
** were zeroed, for they stay so.
*/
#ifndef SAROS_VDS_CLEAN_H
#define SAROS_VDS_CLEAN_H

#include "vds/call.h"
#include "vds/object.h"

error *vds_work_clean(vds_call *c);

/* zero.c: what has been zeroed so far, also when it ends with an error. */
typedef struct vds_zeroed {
  uint64_t bytes;
  value *failed; /* a list of { offset, size }, or NULL: then the first sector
                    that cannot be written is an error */
  unsigned sectors; /* that could not be written */
} vds_zeroed;

/* For format: zeroes a part of it, as a full clean does: percent of this phase
   by its bytes, VDS_E_OPERATION_CANCELED between two chunks. */
error *vds_zero(vds_call *c, const vds_target *t, uint64_t from, uint64_t to,
                value *failed);
error *vds_zero_more(vds_call *c, const vds_target *t, uint64_t from,
                     uint64_t to, vds_zeroed *z);
/* A small part, at once: without percent and cancel, and not synced. */
error *vds_zero_now(vds_call *c, const vds_target *t, uint64_t from,
                    uint64_t to, vds_zeroed *z);

#endif
