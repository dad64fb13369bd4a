/*
** Mirrors: btrfs of several devices, by its ioctls. { object (a mounted
** volume), other (a disk or volume) }. All claim every member. Preflight: one
** chunk (1 GiB, or a tenth) free per device, else VDS_E_NOT_ENOUGH_SPACE.
**
** add: device added, data and metadata converted to raid1 (soft). Cancel: the
** balance is stopped, converted back, the device removed (phase unwinding);
** what of that fails is in status().cleanup and the file system is mixed and
** usable. remove: converted to single (dup metadata), device removed: 1 from
** RM_DEV is "too few devices", an error. Cancel: stopped; raid1 again.
** repair: device replace; permille; cancel leaves the old one.
** VDS_E_VOLUME_NOT_A_MIRROR, VDS_E_VOLUME_NOT_MOUNTED, VDS_E_ANOTHER_CALL_IN_
** PROGRESS (another exclusive operation of this btrfs, of anybody).
** Break makes no volume of its own on btrfs: VDS_E_NOT_SUPPORTED.
** Killed: the kernel cancels a balance whose process died and goes on with a
** replace; the record "plex" says what was meant: reap undoes an add, finishes
** a removal, and waits for a replace.
*/
#ifndef SAROS_VDS_PLEX_H
#define SAROS_VDS_PLEX_H

#include "vds/call.h"

error *vds_work_add_plex(vds_call *c);
error *vds_work_remove_plex(vds_call *c);
error *vds_work_repair_plex(vds_call *c);
error *vds_plex_reap(vds_call *c, const char *at, const value *record,
                     bool *mended);

/* balance.c: a conversion with progress (bytes of the new profile, since chunks
   are few and their number grows) and cancel. `profile` as in
   linux/btrfs_tree.h; metadata gets `meta`. */
error *vds_balance(vds_call *c, int mount, uint64_t profile, uint64_t meta);

#endif
