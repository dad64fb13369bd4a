/*
** What we ask of XFS, as its own header has it, which is not part of the
** kernel's public ones.
*/
#ifndef SAROS_VSS_XFS_H
#define SAROS_VSS_XFS_H

#include <linux/ioctl.h>
#include <stdint.h>

#define XFS_MAGIC 0x58465342

struct xfs_geometry { /* xfs_fsop_geom_v1 */
  uint32_t blocksize, rtextsize, agblocks, agcount;
  uint32_t logblocks, sectsize, inodesize, imaxpct;
  uint64_t datablocks, rtblocks, rtextents, logstart;
  unsigned char uuid[16];
  uint32_t sunit, swidth;
  int32_t version;
  uint32_t flags;
  uint32_t logsectsize, rtsectsize, dirblocksize;
};

#define XFS_GEOMETRY _IOR('X', 100, struct xfs_geometry)
#define XFS_HAS_REFLINK (1u << 20)

#endif
