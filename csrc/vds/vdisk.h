/*
** The calls about virtual disks: files that are disks. Raw ones: a file, its
** size the disk's, sparse unless `full`.
*/
#ifndef SAROS_VDS_VDISK_H
#define SAROS_VDS_VDISK_H

#include "vds/call.h"

/* { path, size, full? }: output a vdisk. An existing file is VDS_S_ALREADY_
   EXISTS and that one, whatever its size. The file appears whole under its name
   or not at all (O_TMPFILE and link where the file system can, else a name of
   its own); cancelled: no file. full: fallocate in slices of 64 MiB, percent by
   bytes; ENOSPC leaves nothing. */
error *vds_work_create_vdisk(vds_call *c);
/* { path }: output a vdisk. VDS_E_PATH_NOT_FOUND, VDS_E_OPERATION_DENIED (no
   regular file). */
error *vds_work_open_vdisk(vds_call *c);
/* { path, read_only?, persistent? }: output a disk. VDS_E_OBJECT_EXISTS: it is
   attached already, and where. */
error *vds_work_attach(vds_call *c);
/* { path }: detached, the file untouched. */
error *vds_work_detach(vds_call *c);
/* { path, size }: detached or attached (the device grows with it; partitions do
   not: extend). Never smaller: VDS_E_INVALID_SPACE. Commits before ftruncate.
   One process at a time (a lock of the file): VDS_E_ANOTHER_CALL_IN_PROGRESS.
 */
error *vds_work_expand(vds_call *c);
/* { path }: the file gives back what it takes for nothing; what is read from it
   is the same before, after, and wherever it was cancelled or killed.
   Detached: holes where it has only zeros, or room that was never written. It
   is leased meanwhile: nobody else has it open (VDS_E_DEVICE_IN_USE), and who
   opens it ends the work. Attached: FITRIM of what is mounted, in ranges of 1
   GiB (btrfs: all at once), and discard of what no partition has. Output: the
   vdisk, with `reclaimed` bytes. (compact.c, compact_trim.c) */
error *vds_work_compact(vds_call *c);
/* Its half for one that is attached to this device. */
error *vds_compact_attached(vds_call *c, dev_t device);
/* The list of those that are attached, by the records of this state directory:
   vds_vdisk_map with { persistent, owner_alive }. */
error *vds_work_virtual_disks(vds_call *c);
/* { path, size, allocated, attached, device? } */
error *vds_vdisk_map(const char *path, int file, value **map);

#endif
