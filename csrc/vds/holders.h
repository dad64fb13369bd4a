/*
** Who holds a device: mounts, swap, devices that stand on it, loop devices over
** it or over a file in it. Read once for all devices (a world), then asked.
** Mounts are compared by device number; btrfs, whose mounts have numbers of
** their own, by the members of its file system.
*/
#ifndef SAROS_VDS_HOLDERS_H
#define SAROS_VDS_HOLDERS_H

#include "vds/about.h"

typedef enum vds_hold_kind {
  VDS_HOLD_MOUNT,    /* who: where */
  VDS_HOLD_SWAP,     /* who: "swap" */
  VDS_HOLD_DEVICE,   /* who: "dm-0", "md0": stands on it */
  VDS_HOLD_LOOP,     /* who: "/dev/loop3": shows a file in it, or it itself */
  VDS_HOLD_ELSEWHERE /* a btrfs that is mounted where we cannot see it */
} vds_hold_kind;

typedef struct vds_hold {
  vds_hold_kind kind;
  dev_t dev; /* what is held: the device asked for, or one on it */
  char *who;
} vds_hold;

typedef struct vds_holders {
  vds_hold *items;
  size_t count;
  bool failed; /* memory ran out */
} vds_holders;

typedef struct vds_world vds_world;

error *vds_world_read(vds_world **w);
void vds_world_free(vds_world *w);
/* What vds_about_all told when it was read: disks, each with its partitions
   behind it. They live as long as the world. */
error *vds_world_each(const vds_world *w,
                      error *(*each)(void *context, const vds_about *a),
                      void *context);
/* One of these, or NULL; what is only read for one device is not in it, but the
   name of a disk's file is. */
const vds_about *vds_world_about(const vds_world *w, dev_t dev);
/* The members of the mounted btrfs that this device is in: how many of them,
   at most `most`; 0: it is in none. */
size_t vds_world_btrfs(const vds_world *w, dev_t dev, dev_t *list, size_t most);
/* Whether /, /boot, /usr or /efi live on this disk (or on this partition),
   however many storeys up: through dm, md and loop devices. *where: which. */
bool vds_world_is_system(const vds_world *w, dev_t dev, const char **where);
/* The direct holders of this very device: to be freed. Of a disk ask for each
   of its partitions, too. */
vds_holders vds_holders_of(const vds_world *w, dev_t dev);
void vds_holders_free(vds_holders *h);
/* As a list of { kind, who }, and what a kind is called. (object_map.c) */
value *vds_holders_list(const vds_holders *h);
const char *vds_hold_name(vds_hold_kind kind);

#endif
