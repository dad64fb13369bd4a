/*
** lvm_parts: what the parts of the provider `lvm` know of each other. Private
** to lvm*.c.
**
**   lvm.c         a snapshot's life: probe, plan, prepare, commit, finish
**   lvm_after.c   what whoever comes later does with it: destroy, verify,
**                 surface, loosen
**   lvm_ask.c     questions to LVM and their answers
*/
#ifndef SAROS_VSS_PROVIDER_LVM_PARTS_H
#define SAROS_VSS_PROVIDER_LVM_PARTS_H

#include "vss/place.h"
#include "vss/provider/tool.h"

#define LVM_ROOT "root" /* in the place: where it is mounted */
#define LVM_LOCK "lock" /* held while lvcreate or lvremove runs */
#define LVM_NAME 64

/* What LVM says of one logical volume; texts of the answer. */
typedef struct lvm_volume {
  value *answer; /* all of it; freed by the caller */
  const char *vg, *vg_uuid, *lv, *uuid, *tags, *origin, *segtype, *attr, *path;
  uint64_t size, vg_free;
} lvm_volume;

/* What `what` names: a path of a device, or a group when `select` is an
   expression that chooses in it. NULL and out->answer NULL: there is none that
   the expression chooses. */
error *lvm_ask(const char *what, const char *select, saros_op *op,
               lvm_volume *out);
/* "/dev/mapper/<name>" of a device-mapper device that LVM made. Allocated;
   NULL when it is none, or without memory. */
char *lvm_device(dev_t disk);

/* The name and the tag of what belongs to this shadow. */
void lvm_name(const char *id, char name[LVM_NAME]);

/* What keep names, with the place's lock: NULL and lock -1: place and volume
   are gone. out->answer NULL: the volume is. */
error *lvm_destroy(const value *keep, saros_op *op);
error *lvm_verify(const value *keep);
bool lvm_surfaced(const value *keep);
error *lvm_surface(const value *keep, saros_op *op, char **device);
error *lvm_loosen(const value *keep, char **path);
char *lvm_stays(const value *keep);
/* Mounts the volume at <place>/root. */
error *lvm_mount(const char *device, const char *root, const char *type);

#endif
