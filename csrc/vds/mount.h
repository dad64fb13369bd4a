/*
** { object (volume), path, read_only?, options? } mount and { object, path? }
** unmount. libmount parses the options; the path must be an empty directory
** that nobody else can replace, and is opened before it is used. nosuid and
** nodev unless `options` says otherwise. Output of mount { path }.
** vds_mount_hidden: mounted where nobody sees it (fsopen, fsmount), for what
** must be mounted to be resized; it ends with its fd.
*/
#ifndef SAROS_VDS_MOUNT_H
#define SAROS_VDS_MOUNT_H

#include "vds/call.h"
#include "vds/object.h"

error *vds_work_mount(vds_call *c);
error *vds_work_unmount(vds_call *c);
/* An open directory of it: where it is mounted, or of a hidden mount. */
error *vds_mount_hidden(const vds_target *t, const char *fs, int *directory);
error *vds_unmount_all(vds_call *c, dev_t dev);

#endif
