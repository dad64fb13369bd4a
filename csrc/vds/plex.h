/*
** Mirrors: btrfs of several devices, by its ioctls, while it is mounted.
** { object (a volume of it), other (a disk or volume), bad?, plan?, force? }.
** All claim every member. Output { volume, copies, members = { path … } }.
**
** A device more is a copy more, up to four, and one less a copy less as soon as
** there are too few for so many: single, raid1, raid1c3, raid1c4 (metadata of a
** single device: dup).
**
** add: what was on the device is wiped, it is added, data and metadata are
** converted (soft). Cancel: the balance is stopped, converted back, the device
** removed; it is empty then.
** remove (other: the member): converted first, then the device removed. Cancel:
** it is a member again, with its copy of everything.
** repair (other: the new device; bad: the old one, or its number in btrfs where
** nothing is left of it): device replace. Cancel: the old one stays, the new
** one is empty.
** What of an undoing fails is in status().cleanup: the file system is mixed
** then, and whole; its record stays, for reap to try again.
**
** VDS_E_VOLUME_NOT_A_MIRROR, VDS_E_VOLUME_NOT_MOUNTED,
** VDS_E_INCOMPATIBLE_FILE_SYSTEM, VDS_E_NOT_ENOUGH_SPACE (also before anything
** is done: it has to fit, and every device needs room to move chunks),
** VDS_E_ANOTHER_CALL_IN_PROGRESS (a balance, a resize … of anybody),
** VDS_E_DISK_IN_USE_BY_VOLUME (is a member already), VDS_E_OBJECT_NOT_FOUND (is
** none). Break makes no volume of its own on btrfs: VDS_E_NOT_SUPPORTED.
**
** Killed: the kernel ends a balance whose process died. The record "plex" has
** what was meant: reap undoes an add, finishes a removal, and a replacement is
** the kernel's to end.
*/
#ifndef SAROS_VDS_PLEX_H
#define SAROS_VDS_PLEX_H

#include "vds/call.h"

error *vds_work_add_plex(vds_call *c);
error *vds_work_remove_plex(vds_call *c);
error *vds_work_repair_plex(vds_call *c);
error *vds_work_break_plex(vds_call *c);
/* *mended: it is to be forgotten; else it waits: for its mount, or for the
   kernel. */
error *vds_plex_reap(vds_call *c, const char *at, const value *record,
                     bool *mended);

#endif
