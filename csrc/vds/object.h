/*
** Which device is meant, and proving that it still is that one. Numbers and
** names of devices come again: a loop device that was /dev/loop3 a moment ago
** may have another file now. A script's object therefore says what the device
** was when it was seen, and every operation compares all of it, once more after
** the device was opened: while it is open its number is nobody else's.
*/
#ifndef SAROS_VDS_OBJECT_H
#define SAROS_VDS_OBJECT_H

#include "vds/about.h"
#include "vds/call.h"

typedef struct vds_identity {
  dev_t dev, whole;
  uint64_t seq, size, start;
  unsigned number;
  char serial[128];
} vds_identity;

void vds_identity_of(const vds_about *a, vds_identity *who);
/* Into an object's map: "major", "minor", "disk_major", "disk_minor", "seq",
   "size", "start", "number", "serial"; and back from options.<name>, which is
   such a map (other fields are ignored). False: it is none. */
bool vds_identity_put(value *map, const vds_identity *who);
bool vds_identity_get(const value *map, vds_identity *who);
bool vds_identity_same(const vds_identity *a, const vds_identity *b);
/* An operation of ours gave it another size on purpose: who knew it with the
   old one still means the same. Any thread. */
void vds_identity_resized(const vds_identity *was, uint64_t size);
/* In a forked child: the parent may have been at it just then. */
void vds_identity_forked(void);

/* How vds_target_open opens. */
#define VDS_OPEN_WRITE 0x1u /* else for reading alone */
#define VDS_OPEN_EXCLUSIVE                                                 \
  0x2u                       /* nobody has it mounted, or open exclusively \
                              */
#define VDS_OPEN_DISK 0x4u   /* the whole disk that it is on */
#define VDS_OPEN_DIRECT 0x8u /* O_DIRECT */

typedef struct vds_target {
  vds_identity is;
  char path[80]; /* the node, checked */
  int fd;        /* pins the number; without O_EXCL */
  int only;      /* with O_EXCL, or -1 */
  int lock;      /* flock of the whole disk's node, or -1 */
  unsigned how;
} vds_target;

#define VDS_TARGET_NONE ((vds_target){.fd = -1, .only = -1, .lock = -1})

/* Opens what options.object says. Compares before and after: VDS_E_OBJECT_
   DELETED (it is gone), VDS_E_OBJECT_OUT_OF_SYNC (it is another one now; the
   sentence says what differs), VDS_E_DEVICE_IN_USE (exclusive, and somebody has
   it), VDS_E_NO_MEDIA, VDS_E_MEDIA_WRITE_PROTECTED, VDS_E_ACCESS_DENIED. For
   writing it also locks the disk's node as udev and fdisk do (flock: whole disk
   exclusively, a partition shared), with patience for udev (step.h):
   VDS_E_ANOTHER_CALL_IN_PROGRESS names another process at work. */
error *vds_target_open(const vds_identity *who, unsigned how, vds_target *t);
/* The same, exclusively, if nobody has it now: then what is to be asked about
   it is asked once, for it stays so. *got false and no error: it is not to be
   had, and why is for who asks without. */
error *vds_target_take(const vds_identity *who, unsigned how, vds_target *t,
                       bool *got);
/* Lets go of the exclusiveness alone, for a tool that opens the device
   exclusively itself; takes it back and compares once more. Without a tool in
   between nobody could have come in: with one, somebody may have, and then this
   is VDS_E_DEVICE_IN_USE. */
void vds_target_share(vds_target *t);
error *vds_target_again(vds_target *t);
/* One more descriptor of it: VDS_E_OBJECT_DELETED, VDS_E_OBJECT_OUT_OF_SYNC
   when its node is another's by now. */
error *vds_target_node(const vds_target *t, int flags, int *fd);
/* What was written is on the device, or this is an error; and what is read from
   now on is what is there, not what the page cache has of it. */
error *vds_target_settle(const vds_target *t);
/* After an operation of ours changed its size on purpose. */
error *vds_target_changed(vds_target *t);
void vds_target_close(vds_target *t);

/* object_map.c: one disk or volume as a script sees it. The light half of it
   (listings) needs no look at the device. `world` as in holders.h. */
struct vds_world;
struct vds_probe;
value *vds_disk_map(const vds_about *a, const struct vds_world *world);
value *vds_volume_map(const vds_about *a, const struct vds_world *world,
                      const struct vds_probe *probe);

#endif
