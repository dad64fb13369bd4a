/*
** fs_xfs_grow: XFS grows while it is mounted, by one call, and never shrinks.
*/
#include <errno.h>
#include <string.h>
#include <sys/ioctl.h>

#include "vds/fs_parts.h"

/* As the kernel has had them since there is XFS on Linux; its header comes with
   another package. */
typedef struct geometry {
  uint32_t blocksize, rtextsize, agblocks, agcount, logblocks, sectsize;
  uint32_t inodesize, imaxpct;
  uint64_t datablocks, rtblocks, rtextents, logstart;
  unsigned char uuid[16];
  uint32_t sunit, swidth;
  int32_t version;
  uint32_t flags, logsectsize, rtsectsize, dirblocksize;
} geometry;

typedef struct growth {
  uint64_t newblocks;
  uint32_t imaxpct;
} growth;

#define GEOMETRY _IOR('X', 100, geometry) /* XFS_IOC_FSGEOMETRY_V1 */
#define GROW _IOW('X', 110, growth)       /* XFS_IOC_FSGROWFSDATA */

error *vds_xfs_grow(vds_call *c, vds_target *t, int mount, uint64_t size,
                    int lock) {
  geometry g;
  (void)c;
  (void)lock;
  if (ioctl(mount, GEOMETRY, &g) != 0)
    return vds_errno(errno, "the file system does not tell its size", t->path);
  growth want; /* with what lies behind its last field */
  memset(&want, 0, sizeof want);
  want.newblocks = size / g.blocksize;
  want.imaxpct = g.imaxpct;
  if (want.newblocks <= g.datablocks) return NULL;
  if (ioctl(mount, GROW, &want) == 0) return NULL;
  return vds_errno(errno, "the file system does not grow", t->path);
}


error *vds_xfs_size(const vds_target *t, int mount, uint64_t *size) {
  geometry g;
  if (ioctl(mount, GEOMETRY, &g) != 0)
    return vds_errno(errno, "the file system does not tell its size", t->path);
  *size = g.datablocks * g.blocksize;
  return NULL;
}
