/*
** What a mounted btrfs says of itself: its devices, what is kept on them and
** how often. Read by ioctls of a directory of it; nothing here changes it.
*/
#ifndef SAROS_VDS_BTRFS_H
#define SAROS_VDS_BTRFS_H

#include "vds/object.h"

enum { VDS_BTRFS_MOST = 32 }; /* devices */

typedef struct vds_btrfs_member {
  uint64_t id;   /* its number in the file system; may come again */
  guid uuid;     /* its own, for good */
  uint64_t size; /* bytes that the file system may use */
  uint64_t used; /* bytes that chunks take */
  dev_t dev;     /* 0: it is missing */
} vds_btrfs_member;

typedef struct vds_btrfs {
  int mount; /* an open directory of it, or -1 */
  char id[GUID_TEXT];
  vds_btrfs_member members[VDS_BTRFS_MOST];
  size_t count;
} vds_btrfs;

/* Bytes of one profile (BTRFS_BLOCK_GROUP_…, 0: single) or of all others. */
typedef struct vds_btrfs_amount {
  uint64_t used, total;
} vds_btrfs_amount;

/* Where the btrfs that this device is in is mounted: a directory of it that can
   be written to. VDS_E_VOLUME_NOT_MOUNTED; VDS_E_INCOMPATIBLE_FILE_SYSTEM: it
   is no btrfs. */
error *vds_btrfs_open(dev_t dev, vds_btrfs *b);
/* Its devices anew. */
error *vds_btrfs_look(vds_btrfs *b);
void vds_btrfs_close(vds_btrfs *b);
const vds_btrfs_member *vds_btrfs_find(const vds_btrfs *b, dev_t dev);

/* Profiles of data and of metadata: those that most bytes have. */
error *vds_btrfs_profiles(int mount, uint64_t *data, uint64_t *meta);
/* *in: bytes that have these profiles (system's are metadata's); *all: all. */
error *vds_btrfs_bytes(int mount, uint64_t data, uint64_t meta,
                       vds_btrfs_amount *in, vds_btrfs_amount *all);
/* VDS_E_ANOTHER_CALL_IN_PROGRESS: a balance, a resize … of anybody. */
error *vds_btrfs_is_idle(const vds_btrfs *b);
/* What an ioctl returned: > 0 is a word of btrfs' own, < 0 is -errno. */
error *vds_btrfs_error(int result, const char *what);

#endif
