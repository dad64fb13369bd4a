/*
** Partition and file system together.
**
** extend { object (volume), size? }: `size` bytes more, or all there are:
** partition first, then the file system, mounted where it can. What a file
** system leaves unused of its own partition counts as space behind it. Output {
** size, fs_size, added }. No space: S_FALSE without a size, else
** VDS_E_NOT_ENOUGH_SPACE. VDS_E_CANNOT_EXTEND: not one that grows; a raw
** partition grows alone. When the file system fails to grow the partition gets
** its old end back. Cancel: until the partition's table is written, without one
** until the file system grows.
**
** shrink { object (volume), size?, least? }: `size` bytes less, or as many as
** can be had; with `least`, fewer will do, if not fewer than that. File system
** first, then the partition. Output { reclaimed, minimum, size }.
** VDS_E_SHRINK_SIZE_TOO_BIG (with the minimum); VDS_E_SHRINK_SIZE_LESS_THAN_MIN
** (fewer than `least` can be had); VDS_E_CANNOT_SHRINK (XFS, vfat, swap);
** VDS_E_VOLUME_NOT_HEALTHY (a check with repair first).
** ext4: unmounted; e2fsck -f before; resize2fs -z with an undo file beside the
** record when there is room for what moves (used bytes beyond the new end,
** twice over, and 64 MiB): then it can be cancelled, and is rolled back by
** e2undo and checked; else it commits before it begins. btrfs: mounted,
** cancelled by the kernel, which leaves its old size.
**
** Records "extend" and "shrink", the latter with its step (check, file system,
** partition): reap goes on with an extension; it rolls a shrink back up to the
** file system, and goes forward from the partition. What was made anew since,
** or mounted after a shrink of its file system, is left as it is and forgotten.
** A shrink that could not be rolled back is "failed": its record and undo file
** stay, and reap tries again. An undo file that is not whole, as after a loss
** of power, is not used: what it would write back is no content of anybody's.
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
