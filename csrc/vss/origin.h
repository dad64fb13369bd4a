/*
** Where a path really lies: asked of the kernel, never read off the name.
*/
#ifndef SAROS_VSS_ORIGIN_H
#define SAROS_VSS_ORIGIN_H

#include <sys/types.h>

#include "base/base.h"

typedef struct origin {
  char *path;   /* absolute, every link resolved */
  char *root;   /* mount point of its file system */
  char *inside; /* `path` below `root`: "" when it is the root, else "a/b" */
  /* The same from the root of the file system itself, which is more when only
     a part of it is mounted there: a bind mount, a subvolume of btrfs. */
  char *below;
  char *type;    /* "ext4", "xfs", "btrfs", "tmpfs", … */
  char *device;  /* what is mounted: "/dev/loop0", "tmpfs" */
  char *options; /* of the mount and of the file system */
  dev_t dev;     /* st_dev of the path (of btrfs: of its subvolume) */
  dev_t disk;    /* of the block device behind it, or 0 */
  bool readonly;
  /* A block device that is a loop device over a file: */
  char *loop_file; /* its path as the kernel has it, or NULL */
  dev_t loop_dev;  /* st_dev of the file, or 0 when that cannot be told */
  /* On btrfs: the subvolume that holds the path. */
  char *subvolume; /* its path, or NULL: no mount here shows all of it */
  char *within;    /* `path` below that, like inside; or NULL */
  uint64_t subvolume_id;
} origin;

/* Blocking. NULL and *e: it is not there (VSS_E_OBJECT_NOT_FOUND with the
   path), may not be seen (SAROS_E_ACCESSDENIED), no memory. */
origin *origin_find(const char *path, error **e);
origin *origin_copy(const origin *s);
void origin_free(origin *s);
/* How many loop devices lie between this file system and a real disk: what is
   frozen first is what lies deepest. */
unsigned origin_depth(const origin *s);
/* Where every file system is mounted that lies on this device: allocated list
   of texts as a value; for telling a person what a freeze would hold. */
value *origin_mounts(dev_t dev);

#endif
