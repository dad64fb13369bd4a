/*
** The parts of the btrfs provider, for each other.
*/
#ifndef SAROS_VSS_PROVIDER_BTRFS_PARTS_H
#define SAROS_VSS_PROVIDER_BTRFS_PARTS_H

#include <linux/btrfs.h>

#include "vss/place.h"

enum { SUBVOLUME_INODE = 256 }; /* the root directory of every subvolume */

#define BTRFS_SHADOW "shadow" /* in the place: the snapshot */
#define BTRFS_REVERT "revert" /* in the place, while a revert is going on */

/* 0 or an errno. */
int btrfs_info(int fd, struct btrfs_ioctl_get_subvol_info_args *info);
void btrfs_uuid_text(const uint8_t *bytes, char text[37]);
/* `file` may be NULL: not known. */
error *btrfs_swap_error(const char *subvolume, const char *file);

/* btrfs_nested.c: a warning for each subvolume below the path. */
error *btrfs_warn_nested(shadow *s, int source);

/* btrfs_after.c: what the record alone can do. */
error *btrfs_destroy(const value *keep, saros_op *op);
error *btrfs_verify(const value *keep);
error *btrfs_loosen(const value *keep, char **where);
/* Deletes the subvolume that fd is, which was looked at: by its id, which
   nobody can put something else in place of; else by its name in `place`. */
error *btrfs_delete(int place, const char *name, int fd, uint64_t id,
                    const char *path, saros_op *op);

/* btrfs_revert.c */
error *btrfs_revert(const value *keep, saros_op *op);
/* What a revert left that died. */
error *btrfs_revert_clean(const value *keep, int place, saros_op *op);

/* btrfs_remove.c: makes it writable and removes what is in it, one file after
   the other. */
error *btrfs_remove_slowly(int place, const char *name, int fd,
                           const char *path, saros_op *op);

#endif
