/*
** Virtual disks that this process attached. Each is a loop device that we hold
** open: one that is not persistent lets go of its file when we end, however
** that happens, unless it is still mounted; then its record says that it was
** ours, and reap takes it away once nothing has it mounted. A persistent one
** has no such flag, its record stays, and it ends with detach or with the
** machine.
**
** Order: the record is written, then the device is attached, then (persistent)
** made to stay. So there is no instant at which a device is attached that no
** record or descriptor knows of.
*/
#ifndef SAROS_VDS_ATTACH_H
#define SAROS_VDS_ATTACH_H

#include "vds/call.h"

/* Attaches the file (open; `path` as it was given, absolute). The partitions in
   its table are added (blkpg.h), and the output is the disk. On an error
   nothing is attached. */
error *vds_attach(vds_call *c, int file, const char *path, bool read_only,
                  bool persistent);
/* Takes it off. VDS_E_DEVICE_IN_USE: mounted, or somebody has it open, named as
   far as that can be known; nothing has changed then. `file` -1: there is none
   any more at that path. */
error *vds_detach(vds_call *c, int file, const char *path);
/* Whether the file is attached, by whoever: *device, or 0. *ours: by saros. An
   error: that cannot be told now. */
error *vds_attached(int file, dev_t *device, bool *ours);
/* The device opened, which is over that file. -1 and *e. */
int vds_attached_open(dev_t device, int file, error **e);
/* What dead owners left: their devices, records of devices that are gone.
   *report: { detached = { path … }, forgotten = n, busy = { path … } }. What
   other kinds of records left is theirs (reap.c calls each). */
error *vds_attach_reap(vds_call *c, const char *at, const value *records,
                       value *report);
void vds_attach_forked(void);

#endif
