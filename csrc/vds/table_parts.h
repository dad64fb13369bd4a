/*
** Inside of the tables. libfdisk never gets the disk: it works on an image in
** memory, of the disk's size and sectors, that has what the disk has where
** tables are, and holes elsewhere. What it changed there is compared with the
** disk. So each sector that a write will touch is known, with its old and its
** new bytes, before the first one is written, and all that is read of a hostile
** disk is read from memory.
*/
#ifndef SAROS_VDS_TABLE_PARTS_H
#define SAROS_VDS_TABLE_PARTS_H

#include <libfdisk/libfdisk.h>

#include "vds/probe.h"
#include "vds/table.h"

/* ------------------------------------------------------------------
** The image (table_image.c)
** ---------------------------------------------------------------- */

enum { VDS_COPIES_MOST = 160 };

typedef struct vds_table {
  int image;
  uint64_t size; /* bytes */
  unsigned sector;
  struct {
    uint64_t from, to;
  } copies[VDS_COPIES_MOST]; /* what the image has of the disk */
  size_t copied;
  struct fdisk_context *fdisk; /* NULL: not read */
  char style[16];              /* "gpt", "mbr", or ""; any other: not ours */
  char said[400];              /* what libfdisk first complained of */
} vds_table;

#define VDS_TABLE_NONE ((vds_table){.image = -1})

/* `fd`: a whole disk, or a file that is one. Copies what there is. */
error *vds_table_copy(int fd, vds_table *t);
/* Reads the image with libfdisk. What it finds is compared with what libblkid
   says of the disk: VDS_E_CORRUPT_PARTITION_INFO, VDS_E_PARTITION_STYLE_
   MISMATCH when it is a table, but none that can be worked with. */
error *vds_table_read(int fd, vds_table *t, bool read_only);
/* A new, empty one ("gpt", "mbr") instead of what is in the image; its id may
   be NULL. */
error *vds_table_make(vds_table *t, const char *style, const char *id);
/* libfdisk's changes go into the image. */
error *vds_table_store(vds_table *t);
void vds_table_free(vds_table *t);
/* An error of libfdisk's: a negative errno, and what it complained of. */
error *vds_table_error(const vds_table *t, uint32_t code, const char *what,
                       int number);


/* ------------------------------------------------------------------
** Places (table_room.c), in bytes
** ---------------------------------------------------------------- */

typedef struct vds_extent {
  uint64_t at, size;
} vds_extent;

enum { VDS_EXTENTS_MOST = 256 };

/* What no partition has, in order; how many. 0 of a table that has too many. */
size_t vds_table_free_extents(const vds_table *t, vds_extent *list,
                              size_t most);
/* Partitions of it, containers included, by their number from 1; NULL. To be
   given back with fdisk_unref_partition. */
struct fdisk_partition *vds_table_find(const vds_table *t, unsigned number);
/* Whether it has any; whether more than VDS_EXTENTS_MOST. */
bool vds_table_is_empty(const vds_table *t);
bool vds_table_has_too_many(const vds_table *t);
/* The free bytes right behind a partition. */
uint64_t vds_table_behind(const vds_table *t, unsigned number);
/* Where a new partition comes: options size, offset, align. */
error *vds_table_place(const vds_call *c, const vds_table *t, vds_extent *e);


/* ------------------------------------------------------------------
** Writing (table_write.c)
** ---------------------------------------------------------------- */

typedef struct vds_change {
  uint64_t at;
  size_t size;
  unsigned char *before, *after;
} vds_change;

typedef struct vds_changes {
  vds_change *items; /* by their place */
  size_t count, room;
} vds_changes;

/* What the image has otherwise than the disk. */
error *vds_changes_find(int fd, const vds_table *t, vds_changes *all);
/* The signatures that libblkid finds in a part of the disk, to become zeros: in
   the image where it has them, else in the list. (table_wipe.c) */
error *vds_changes_wipe(int fd, vds_table *t, uint64_t from, uint64_t size,
                        vds_changes *all);
bool vds_changes_add(vds_changes *all, uint64_t at, size_t size,
                     const void *before, const void *after);
void vds_changes_free(vds_changes *all);

/* From the end of the disk to its beginning, each part synced: what a reader
   sees in between is one table or the other. And the other way round. */
error *vds_changes_write(int fd, const vds_changes *all);
error *vds_changes_take_back(int fd, const vds_changes *all);

/* How much of it is on the disk. */
typedef enum vds_written {
  VDS_WRITTEN_NONE,
  VDS_WRITTEN_ALL,
  VDS_WRITTEN_PART,
  VDS_WRITTEN_OTHER /* somebody wrote something else there */
} vds_written;
error *vds_changes_look(int fd, const vds_changes *all, vds_written *how);

/* One write, with its record. */
typedef struct vds_writing {
  vds_call *c;
  int fd; /* the disk, for writing */
  vds_changes changes;
  char *at; /* where records are */
  value *record;
  bool saved, begun;
} vds_writing;

#define VDS_WRITING_NONE ((vds_writing){.fd = -1})

/* Recorded, then committed: nothing has changed yet. */
error *vds_writing_begin(vds_writing *w, const vds_identity *disk);
error *vds_writing_do(vds_writing *w);
/* `e`: what went wrong since, or NULL: then it is forgotten, else taken back.
   Frees all but the descriptor, and hands `e` on. */
error *vds_writing_end(vds_writing *w, error *e);

/* Of all writers of this table, in all processes, one: with the descriptor's
   end. Waits two seconds for another one. */
error *vds_table_lock(int fd, const char *path);

/* What a write that died, or could not be taken back, left on this disk is
   mended before it is read. */
error *vds_table_mend(vds_call *c, int fd, const vds_identity *disk);
/* Record and list. (table_reap.c) */
value *vds_changes_value(const vds_changes *all);
error *vds_changes_from(const value *list, vds_changes *all);


/* ------------------------------------------------------------------
** All of it, for one call (table_job.c)
** ---------------------------------------------------------------- */

typedef struct vds_table_job {
  vds_call *c;
  vds_identity disk;
  vds_table table;
  vds_writing w; /* its fd: the disk's, for this job alone */
  vds_probe probe;
} vds_table_job;

vds_table_job *vds_table_job_new(vds_call *c, const vds_identity *disk);
void vds_table_job_free(vds_table_job *j);
/* The disk that is open as `t`, once more: for writing, and locked against
   every other writer of its table. What died in it is mended before it is
   copied; and read. VDS_E_OPERATION_DENIED: the system lives on it. */
error *vds_table_job_open(vds_table_job *j, const vds_target *t);
error *vds_table_job_read(vds_table_job *j, const vds_target *t);
/* A new table instead of what is there, whose signatures go. */
error *vds_table_anew(vds_table_job *j, const char *style);
/* Everything up to the first change of the disk. */
error *vds_table_job_begin(vds_table_job *j);
/* What is damaged is not made larger: VDS_E_CORRUPT_PARTITION_INFO. Nor what
   has more partitions than can be looked at: VDS_E_NOT_SUPPORTED. */
error *vds_table_sound(vds_table_job *j);
/* options.object; of a disk. */
error *vds_table_object(const vds_call *c, vds_identity *who);
error *vds_table_disk(const vds_call *c, vds_identity *who);
/* What the kernel has under this number. *is: something. */
error *vds_table_partition(dev_t disk, unsigned number, vds_about *a, bool *is);

#endif
