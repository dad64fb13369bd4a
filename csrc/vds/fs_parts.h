/*
** Inside of the file systems: who writes what. Each struct stands in
** fs_<name>.c; what is named here comes from another file and is put into the
** struct when that file is there. Until then its field is NULL: the call says
** that it cannot.
*/
#ifndef SAROS_VDS_FS_PARTS_H
#define SAROS_VDS_FS_PARTS_H

#include "vds/fs.h"

extern const vds_fs vds_fs_ext4, vds_fs_xfs, vds_fs_btrfs, vds_fs_vfat,
    vds_fs_swap;

/* fs.c: a program that wants the device for itself while it runs. What it could
   not write or read is VDS_E_IO_ERROR, and not an end of its own. */
error *vds_fs_run(vds_call *c, vds_target *t, const vds_tool *tool,
                  int *status);

/* fs_ext4_resize.c: dumpe2fs' numbers from the super block, resize2fs -P, -p
   and -z, e2undo, e2fsck. Online growth by EXT4_IOC_RESIZE_FS (EPERM without
   CAP_SYS_ RESOURCE: then the error says so, and that it can be done
   unmounted). */
error *vds_ext4_space(vds_call *c, vds_target *t, vds_space *s);
error *vds_ext4_grow(vds_call *c, vds_target *t, int mount, uint64_t size,
                     int lock);
error *vds_ext4_shrink(vds_call *c, vds_target *t, int mount, uint64_t size,
                       const char *undo, int lock);
error *vds_ext4_unshrink(vds_call *c, vds_target *t, const char *undo,
                         int lock);
/* Whether it was mounted, to be written to, since that undo file was begun. */
bool vds_ext4_was_mounted(int fd, const char *undo);
/* Whether it can be resized; with a check of all of it when that is due, or
   asked for. */
error *vds_ext4_ready(vds_call *c, vds_target *t, bool all, int lock);
error *vds_ext4_check(vds_call *c, vds_target *t, bool repair, value *found,
                      int lock);
/* fs_xfs_grow.c: XFS_IOC_FSGEOMETRY, XFS_IOC_FSGROWFSDATA on a mount. */
error *vds_xfs_grow(vds_call *c, vds_target *t, int mount, uint64_t size,
                    int lock);
/* As it is mounted. */
error *vds_xfs_size(const vds_target *t, int mount, uint64_t *size);
error *vds_xfs_check(vds_call *c, vds_target *t, bool repair, value *found,
                     int lock);
/* fs_check.c has all of these, fs_label.c the labels. */
error *vds_btrfs_check(vds_call *c, vds_target *t, bool repair, value *found,
                       int lock);
error *vds_vfat_check(vds_call *c, vds_target *t, bool repair, value *found,
                      int lock);
error *vds_ext4_label(vds_call *c, vds_target *t, int mount, const char *label);
error *vds_xfs_label(vds_call *c, vds_target *t, int mount, const char *label);
error *vds_vfat_label(vds_call *c, vds_target *t, int mount, const char *label);
error *vds_swap_label(vds_call *c, vds_target *t, int mount, const char *label);
/* fs_btrfs_resize.c: BTRFS_IOC_RESIZE ("<devid>:<bytes>", "cancel"), the
   minimum by the chunks (BTRFS_IOC_TREE_SEARCH_V2 of the device tree). A
   resize that is cancelled has its old size again, also when the cancel came a
   moment too late. VDS_E_SHRINK_SIZE_TOO_BIG: it does not fit. Space may be
   asked of one that is not mounted, and is not held exclusively. */
error *vds_btrfs_space(vds_call *c, vds_target *t, vds_space *s);
error *vds_btrfs_resize(vds_call *c, vds_target *t, int mount, uint64_t size);
error *vds_btrfs_label(vds_call *c, vds_target *t, int mount,
                       const char *label);

#endif
