/*
** { object (volume), path, read_only?, options?, plan? } mount and { object,
** path?, plan? } unmount.
**
** mount: libmount takes the options apart; the path must be an empty directory
** that nobody else can put something in the place of, and is opened before it
** is used: what is mounted is mounted on that directory, whatever its name
** leads to by then. nosuid and nodev unless `options` says otherwise ("suid",
** "dev"). It is made without a place first (fsopen, fsmount), so that a kill or
** a cancel before its last step leaves nothing. Output { path }.
** VDS_E_PATH_NOT_FOUND; VDS_E_OPERATION_DENIED (a link, no directory, not
** empty, something mounted there, others may replace it);
** VDS_E_FS_NOT_DETERMINED (raw, or two at once);
** VDS_E_INCOMPATIBLE_FILE_SYSTEM (swap, a member of something, one that this
** kernel has not); VDS_E_VOLUME_NOT_HEALTHY (damaged).
**
** unmount: there, or wherever it is mounted. VDS_E_VOLUME_NOT_MOUNTED;
** VDS_E_DEVICE_IN_USE: somebody has a file open there.
*/
#ifndef SAROS_VDS_MOUNT_H
#define SAROS_VDS_MOUNT_H

#include "vds/call.h"
#include "vds/holders.h"
#include "vds/object.h"

error *vds_work_mount(vds_call *c);
error *vds_work_unmount(vds_call *c);

/* An open directory of it that can be written to (an ioctl that resizes needs
   no more): where it is mounted, or of a mount that nobody sees and that ends
   when the fd is closed. The target must not be held exclusively
   (vds_target_share), for the kernel holds it so itself while it is mounted. */
error *vds_mount_hidden(const vds_target *t, const char *fs, int *directory);
/* An open directory where it is mounted for everybody to see, and not
   read-only; -1: nowhere. */
int vds_mount_visible(const vds_world *w, dev_t dev);
/* A mount without a place, as fsmount returns it: for move_mount. `options` as
   in a fstab, or NULL. */
error *vds_mount_make(const vds_target *t, const char *fs, const char *options,
                      bool read_only, int *mount);
/* Whether what one finds in the open directory `at` under this name ("": it
   itself) is the root of a mount of this device. */
bool vds_mount_shows(const vds_world *w, int at, const char *name, dev_t dev);
/* Takes one mount away: exactly this one, or an error. The name leads to it
   only as far as nobody has put another one in its place. */
error *vds_mount_end(const vds_world *w, const char *where, dev_t dev);

#endif
