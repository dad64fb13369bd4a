/*
** The calls that list and look: they change nothing, claim nothing, and are
** cancelled between two devices.
*/
#ifndef SAROS_VDS_LISTING_H
#define SAROS_VDS_LISTING_H

#include "vds/call.h"
#include "vds/holders.h"

struct vds_probe;

/* All disks with their partitions, from /sys and the mount table alone. */
error *vds_work_disks(vds_call *c);
/* All volumes: partitions, and disks without a table that hold something; each
   looked into. */
error *vds_work_volumes(vds_call *c);
/* { path } or { object }: one, with everything. */
error *vds_work_disk(vds_call *c);
error *vds_work_volume(vds_call *c);
/* One as a script sees it, open and looked into already; for what another call
   hands out. NULL: memory ran out. */
value *vds_volume_seen(const vds_about *a, const vds_world *world, int fd,
                       const struct vds_probe *p);
/* reap.c: { state_dir? }: what dead owners left. */
error *vds_work_reap(vds_call *c);

#endif
