/*
** What is on a device, by its first (and last) bytes, with libblkid. What it
** reads may be hostile or damaged: nothing found is believed further than its
** own words, texts are bytes of any kind, sizes are compared with the device's.
*/
#ifndef SAROS_VDS_PROBE_H
#define SAROS_VDS_PROBE_H

#include "vds/vds.h"

typedef struct vds_probe {
  char fs[32];     /* "ext4", "swap", "LVM2_member", …; "" */
  char label[256]; /* bytes */
  char uuid[64];
  char member[64];  /* of btrfs: the device's own id */
  unsigned devices; /* that it is one of: of btrfs; else 0 */
  char table[16];   /* "gpt", "dos", …; "" */
  bool raid;        /* a member of something that others manage: LVM, md, … */
  bool crypto;
  bool ambivalent; /* two file systems at once: which one nobody knows */
  bool unfinished; /* its maker did not come to its end (XFS) */
} vds_probe;

/* VDS_E_IO_ERROR when it cannot be read. Nothing found is no error. The offset
   of the fd is not used. */
error *vds_probe_fd(int fd, vds_probe *p);
/* What that will read, a MiB in a hundred pieces, is asked for in two: it comes
   while its caller does something else. */
void vds_probe_ahead(int fd);
/* The same, and what was read is kept, for who has the device for himself and
   wipes what he saw. NULL: an error. The fd is still its caller's, who closes
   it after vds_sight_free. */
typedef struct blkid_struct_probe vds_sight;
error *vds_probe_keep(int fd, vds_probe *p, vds_sight **kept);
void vds_sight_free(vds_sight *kept);
/* The same for that one file system alone, on what has nothing else: a few
   reads and not a hundred, of a device whose cache was thrown away just now. */
error *vds_probe_made(int fd, const char *fs, vds_probe *p);
/* The same of a part of it, as of a device of its own. size 0: to its end. */
error *vds_probe_part(int fd, uint64_t from, uint64_t size, vds_probe *p);
/* A member of something else (LVM, md, LUKS, ZFS, bcache, …): what we do not
   touch without force.foreign. */
bool vds_probe_is_foreign(const vds_probe *p);
/* Free and used bytes, and the block size, of what is on it, from its super
   block alone: of ext2 to 4, XFS, btrfs, vfat. False: not known. */
typedef struct vds_usage {
  uint64_t size, free;
  unsigned block;
  bool clean; /* no check is due: was unmounted properly, has no errors */
} vds_usage;
bool vds_probe_usage(int fd, const vds_probe *p, vds_usage *u);
/* Takes away every signature that libblkid finds, also of backups. How many;
   needs a fd that can be written to. Durable, and looked at again on the device
   itself. What cannot be read is passed over. */
error *vds_probe_wipe(int fd, unsigned *count);
/* The same of a part of it, as of a device of its own: of a partition, through
   its disk. size 0: to its end. */
error *vds_probe_wipe_part(int fd, uint64_t from, uint64_t size,
                           unsigned *count);
/* The same, not durable: its caller syncs when he has written all that he
   has to. */
error *vds_probe_zap(int fd, uint64_t from, uint64_t size, unsigned *count);
/* The same of what was seen, once; the device is not read again. Only those are
   written over that lie between `from` and `to`: the others are their caller's,
   who has. */
error *vds_sight_zap(vds_sight *kept, int fd, uint64_t from, uint64_t to,
                     unsigned *count);
/* When that is done: whether it is so on the device itself. There are such that
   take what is written and forget it. */
error *vds_probe_wiped(int fd, uint64_t from, uint64_t size);

#endif
