/*
** Partitions as the kernel has them, told by us: it need not have a parser for
** tables, and a disk in use cannot be read anew (BLKRRPART). Only what differs
** is told, so partitions that are in use and stay as they are never notice.
*/
#ifndef SAROS_VDS_BLKPG_H
#define SAROS_VDS_BLKPG_H

#include "vds/vds.h"

#define VDS_PARTITIONS_MOST 128

typedef struct vds_slot {
  unsigned number;      /* from 1 */
  uint64_t start, size; /* bytes */
} vds_slot;

/* `fd` is the whole disk. EBUSY is VDS_E_DEVICE_IN_USE. */
error *vds_blkpg_add(int fd, const vds_slot *s);
error *vds_blkpg_resize(int fd, const vds_slot *s);
error *vds_blkpg_remove(int fd, unsigned number);
/* The same; who only looks at it, as udev does when somebody has written, or
   blkid at all there are, is waited for, until then (vds_clock). */
error *vds_blkpg_take(int fd, unsigned number, uint64_t until);
/* What the table on the disk says, by libblkid: at most VDS_PARTITIONS_MOST,
   inside of the disk, no extended ones. A damaged table has none. */
error *vds_blkpg_table(int fd, vds_slot *slots, size_t *count);
/* Makes the kernel's the table's: removes, resizes, adds. What is in use and
   would have to go stays, and is the error that is returned, after the rest was
   done. */
error *vds_blkpg_sync(int fd, dev_t whole);

#endif
