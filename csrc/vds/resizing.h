/*
** What extending and shrinking share: the open volume and its disk, the record
** of what is done to them, and the end of the partition.
*/
#ifndef SAROS_VDS_RESIZING_H
#define SAROS_VDS_RESIZING_H

#include "vds/volume.h"

#define VDS_MIB ((uint64_t)1 << 20)

typedef struct vds_resizing {
  vds_call *c;
  vds_volume *v;
  vds_target t, disk;       /* disk: of a partition, for its table */
  int mount;                /* an open directory of it, or -1 */
  char *at;                 /* where records are */
  value *record;            /* NULL: there is none */
  int lock;                 /* of that */
  uint64_t device, fs_size; /* before */
  uint64_t part, to;        /* after: the partition, the file system */
  uint64_t room;            /* free bytes behind the partition */
} vds_resizing;

#define VDS_RESIZING_NONE \
  ((vds_resizing){        \
      .t = VDS_TARGET_NONE, .disk = VDS_TARGET_NONE, .mount = -1, .lock = -1})

/* Opens what v says (alone: nobody else has it), and the disk that it is on;
   looks once more what is on it. */
error *vds_resizing_open(vds_resizing *r, bool alone);
/* Mounted where nobody sees it, unless it is mounted. */
error *vds_resizing_mount(vds_resizing *r);
/* Sizes before, and the room behind it. */
error *vds_resizing_measure(vds_resizing *r);
void vds_resizing_close(vds_resizing *r);

/* The record: made with what is known by now, and locked; its next step. */
error *vds_resizing_note(vds_resizing *r, const char *kind, const char *step,
                         const char *undo);
error *vds_resizing_step(vds_resizing *r, const char *step);
void vds_resizing_forget(vds_resizing *r);
/* It could not be mended now: record and undo file stay, and reap takes them up
   although we live. There is nothing to forget then. */
void vds_resizing_keep(vds_resizing *r);
/* The partition's end, in the table and in the kernel; nothing where there is
   no partition, or it has that size. */
error *vds_resizing_partition(vds_resizing *r, uint64_t size);
/* How large the file system is now, by itself. */
error *vds_resizing_fs_size(const vds_resizing *r, uint64_t *size);
/* shrink.c, also for reap: the partition follows its file system, or both are
   as they were. */
error *vds_shrink_back(vds_resizing *r, const char *undo);
error *vds_shrink_on(vds_resizing *r);

#endif
