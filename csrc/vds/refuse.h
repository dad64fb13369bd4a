/*
** What an operation would cost, and whether it may be done: one function asked
** by every verb before anything is changed. Those that wipe a whole device
** (clean, format) ask when they have it for themselves alone, for what they are
** told then stays so; who cannot have it before something ends asks twice.
**
** Dangers, each forced by its own name or not at all (`force = { mounted = true
** }`; there is no force for everything):
**
**   system   / or /boot or /usr lives on it           never
**   held     dm, md, a loop device or an unknown      never: end that first
**            process has it
**   mounted  a file system on it is mounted here      force.mounted: unmounted
**   swap     it is swap that is in use                force.swap: swapped off
**   foreign  LVM, md, LUKS, ZFS, bcache … own it,     force.foreign
**            or a btrfs of several devices
**
** That data is lost needs no force: who calls clean or format names the thing
** and means it. `plan = true` says what it would be.
*/
#ifndef SAROS_VDS_REFUSE_H
#define SAROS_VDS_REFUSE_H

#include "vds/holders.h"
#include "vds/object.h"
#include "vds/probe.h"

#define VDS_DANGER_SYSTEM 0x01u
#define VDS_DANGER_HELD 0x02u
#define VDS_DANGER_MOUNTED 0x04u
#define VDS_DANGER_SWAP 0x08u
#define VDS_DANGER_FOREIGN 0x10u

/* What the verb does to the object. */
typedef enum vds_loses {
  VDS_LOSES_NOTHING, /* grows, adds, checks, labels */
  VDS_LOSES_ACCESS, /* nobody gets at it any more, nor its partitions: detach */
  VDS_LOSES_VOLUME, /* what is on this device: format, delete */
  VDS_LOSES_DISK    /* that of a disk and of all its partitions: clean */
} vds_loses;

/* Dangers that are none to this verb (it works on what is mounted). And whether
   it writes the table that its partition is in: one of the disk that the system
   lives on is refused, whatever partition it is about. And whether it ends none
   of them, and so takes no force. */
#define VDS_WRITES_TABLE 0x100u
#define VDS_TAKES_NO_FORCE 0x200u

typedef struct vds_verb {
  vds_loses loses;
  unsigned fine; /* VDS_DANGER_…, VDS_WRITES_TABLE, VDS_TAKES_NO_FORCE */
} vds_verb;

/* Judges. With plan = true in the options the output is set to
     { plan = true, allowed, lost = { partitions = { { number, start, size,
       fs?, label? } … }, file_systems = { { path, fs, label, uuid, size } … }
   }, holders = { { path, kind, who } … }, denied = { { danger, reason, force? }
   … } } and *go is false. Else VDS_E_OPERATION_DENIED with every reason in one
   sentence, or NULL and *go; *forced has the dangers that the caller was told
   to end (unmount, swap off), which is his to do (vds_end_dangers). */
error *vds_permit(vds_call *c, const vds_identity *who, const vds_verb *verb,
                  unsigned *forced, bool *go);
/* The plan that vds_permit made: refused for one reason more. False: no memory.
 */
bool vds_plan_denies(vds_call *c, const char *danger, const char *reason);
/* The same for who needs what was read for it, too (of VDS_LOSES_VOLUME or
   more): what is on the device, and who holds what. That it cannot be looked
   into is an error. Whatever it returns what is in it is the caller's, to be
   freed; it may be NULL. It may come again with what it had: that is freed. */
typedef struct vds_seen {
  int fd; /* the device, open: its caller's */
  vds_probe on;
  vds_sight *kept;
  vds_world *world;
} vds_seen;
void vds_seen_free(vds_seen *seen);
error *vds_permit_seen(vds_call *c, const vds_identity *who,
                       const vds_verb *verb, unsigned *forced, bool *go,
                       vds_seen *seen);
/* The same for who writes a table, whichever way he came: nobody writes that of
   the disk that the system lives on. */
error *vds_refuse_table(dev_t disk);
/* Unmounts and swaps off what is on the device (of VDS_LOSES_DISK: and on its
   partitions) as far as `forced` says so. VDS_E_DEVICE_IN_USE: somebody has a
   file open there. */
error *vds_end_dangers(vds_call *c, const vds_identity *who,
                       const vds_verb *verb, unsigned forced);

#endif
