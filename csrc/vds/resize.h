/*
** Partition and file system together.
**
** { object (volume), size? (bytes more; none: all there is) } extend: partition
** first, then the file system; online where it can. Without any space behind
** it: S_FALSE for size = 0, else VDS_E_NOT_ENOUGH_SPACE. VDS_E_CANNOT_EXTEND:
** not a file system that grows. When the file system fails to grow the
** partition gets its old end back. Cancel: until the file system grows (too
** late then).
**
** { object (volume), size? (bytes less; 0 or none: as much as possible), least?
** } shrink: file system first, then the partition; output { reclaimed, minimum
** }. VDS_E_SHRINK_SIZE_TOO_BIG (with the minimum),
** VDS_E_SHRINK_SIZE_LESS_THAN_MIN (fewer than `least` can be had),
** VDS_E_CANNOT_SHRINK (XFS, vfat, swap), VDS_E_
** VOLUME_NOT_HEALTHY (a check first).
** ext4: offline; e2fsck -f before; resize2fs -z with an undo file beside the
** record when there is room for what moves (used bytes beyond the new end,
** twice over, and 64 MiB): then it can be cancelled, and is rolled back by
** e2undo and checked; else it commits before it begins. btrfs: online,
** cancelled by "cancel" of the resize, which leaves its old size.
** Record "shrink" with its step (check, file system, partition, done): reap
** rolls back up to the file system, goes forward from the partition.
*/
#ifndef SAROS_VDS_RESIZE_H
#define SAROS_VDS_RESIZE_H

#include "vds/call.h"

error *vds_work_extend(vds_call *c);
error *vds_work_shrink(vds_call *c);
/* { object }: output { size, used, minimum }: what shrink could do. */
error *vds_work_query_shrink(vds_call *c);
/* { object, repair? } and { object, label }. (care.c) */
error *vds_work_check(vds_call *c);
error *vds_work_label(vds_call *c);
error *vds_resize_reap(vds_call *c, const char *at, const value *record,
                       bool *mended);

#endif
