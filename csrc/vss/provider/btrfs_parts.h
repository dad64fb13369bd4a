/*
** The parts of the btrfs provider, for each other.
*/
#ifndef SAROS_VSS_PROVIDER_BTRFS_PARTS_H
#define SAROS_VSS_PROVIDER_BTRFS_PARTS_H

#include <linux/btrfs.h>

#include "vss/provider.h"

enum { SUBVOLUME_INODE = 256 }; /* the root directory of every subvolume */

/* 0 or an errno. */
int btrfs_info(int fd, struct btrfs_ioctl_get_subvol_info_args *info);
/* `file` may be NULL: not known. */
error *btrfs_swap_error(const char *subvolume, const char *file);

/* btrfs_nested.c: a warning for each subvolume below the path. */
error *btrfs_warn_nested(shadow *s, int source);

/* btrfs_remove.c: makes it writable and removes what is in it, one file after
   the other. */
error *btrfs_remove_slowly(int place, const char *name, int fd,
                           const char *path, saros_op *op);

#endif
