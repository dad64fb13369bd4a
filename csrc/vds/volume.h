/*
** A volume that is to be resized, checked or labelled: what is on it, which of
** our file systems that is, and whether it is mounted.
*/
#ifndef SAROS_VDS_VOLUME_H
#define SAROS_VDS_VOLUME_H

#include "vds/fs.h"

typedef struct vds_volume {
  vds_identity who;
  vds_probe probe;
  vds_usage usage;  /* all 0 where the super block does not say it */
  const vds_fs *fs; /* NULL: none of ours, or nothing */
  bool mounted;     /* where this process sees it */
} vds_volume;

/* options.object, looked at and let go of again. Allocated; NULL and *e:
   VDS_E_FS_NOT_DETERMINED when there are two file systems at once on it. */
vds_volume *vds_volume_named(const vds_call *c, error **e);
/* The same of a device that is known by its identity. */
vds_volume *vds_volume_of(const vds_identity *who, error **e);
/* Once more, with the device open: what is on it now, and whether that is the
   file system that was there before. Nobody could change it since. */
error *vds_volume_again(vds_volume *v, const vds_target *t);
/* What is on it in a word, for a sentence: "ext4", or "nothing that is known".
 */
const char *vds_volume_kind(const vds_volume *v);

#endif
