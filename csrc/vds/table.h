/*
** Partition tables: GPT and MBR, with libfdisk (no dialogs; blkpg tells the
** kernel). It works on an image in memory (table_parts.h).
**
** A write of a table is many sectors at several places. Before it the sectors
** that it will change are in the record "table"; it is committed before the
** first write, and reap puts them back when we died in between and what is on
** the disk is neither the old nor the new table (sector by sector, both are in
** the record). So there is the old one or the new one, never a
** half.
*/
#ifndef SAROS_VDS_TABLE_H
#define SAROS_VDS_TABLE_H

#include "vds/call.h"
#include "vds/object.h"

/* { object (disk), style = "gpt" (or none) | "mbr", table_uuid?, plan?, force?
   }: a new, empty table; signatures of what was there are wiped. vds_type 0.
   VDS_E_OPERATION_DENIED when there is one that has partitions: clean it first.
   Not cancellable once it writes. */
error *vds_work_initialize(vds_call *c);
/* { object (disk), size?, offset?, align?, type?, label?, number?, uuid? }:
   output { offset, size, number, volume }. Without a table it makes a GPT,
   unless the whole disk is a file system (VDS_E_OPERATION_DENIED). No size: the
   largest free extent. Sizes and offsets are rounded up to the alignment (1
   MiB). Errors: VDS_E_NOT_ENOUGH_SPACE, VDS_E_INVALID_SPACE (not free),
   VDS_E_PARTITION_LIMIT_REACHED, VDS_E_BAD_LABEL (MBR has none; GPT 36 UTF-16
   units), VDS_E_INVALID_PARTITION_TYPE, VDS_E_CORRUPT_PARTITION_INFO. What the
   new partition would show of an old file system is wiped, so that it does not
   come back. The volume's node is there when it ends (devtmpfs; else
   VDS_S_NO_NOTIFICATION). */
error *vds_work_create_partition(vds_call *c);
/* { object (volume), plan?, force? }, or { object (disk), number, … }, which
   also takes one that the kernel does not have. Of logical partitions the last
   one, else VDS_E_NOT_SUPPORTED. */
error *vds_work_delete_partition(vds_call *c);

/* For resize.c: the free bytes behind a partition, and another end for it, in
   the table and the kernel. The caller has committed, or can undo by the same
   function. `disk` need not be open for writing, nor locked: it may be opened
   with 0 while a partition of it is open for writing (whose lock is one of the
   disk, and would be in the way). A GPT's other copy comes to the end of a disk
   that has grown. Identities are the caller's: vds_target_changed. */
error *vds_table_room(const vds_target *disk, unsigned number, uint64_t *room);
error *vds_table_resize(vds_call *c, const vds_target *disk, unsigned number,
                        uint64_t size);
/* Into a disk's map: style, table_uuid, table = { { number, offset, size, type,
   type_name, label?, uuid? } … }, free = { { offset, size } … } and what is
   wrong with it (health, error). Read only; for hostile tables. */
error *vds_table_describe(int fd, value *disk);
/* Reap's part: NULL or what could not be mended. *mended: to be forgotten. */
error *vds_table_reap(vds_call *c, const value *record, bool *mended);

#endif
