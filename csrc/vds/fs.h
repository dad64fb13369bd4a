/*
** File systems, one struct each (fs_ext4.c, fs_xfs.c, fs_btrfs.c, fs_vfat.c,
** fs_swap.c). A function that is NULL is something that it cannot do: the call
** answers with the code that is named here. All block on the lane; `t` is open
** and identified; who needs a tool that opens exclusively calls
** vds_target_share and vds_target_again around it.
*/
#ifndef SAROS_VDS_FS_H
#define SAROS_VDS_FS_H

#include "vds/object.h"
#include "vds/probe.h"
#include "vds/tool.h"

typedef struct vds_fs_options {
  const char *label; /* bytes, checked against label_most; or NULL */
  const char *uuid;  /* ours: what a format that came to its end is known by */
  unsigned block;    /* 0: as it likes */
  bool full;         /* it was zeroed, and nothing is left for later */
  int lock;
} vds_fs_options;

typedef struct vds_space {
  uint64_t size, used, minimum; /* bytes; minimum 0: not known */
  bool undo; /* what a shrink overwrites can be written back */
} vds_space;

#define VDS_FS_GROW_MOUNTED                                                  \
  0x01u                          /* needs a mount (XFS, btrfs): a hidden one \
                                    is made where it is not mounted */
#define VDS_FS_GROW_EITHER 0x02u /* mounted or not (ext4) */
#define VDS_FS_SHRINK_MOUNTED 0x04u /* btrfs */
#define VDS_FS_SHRINK_OFFLINE 0x08u /* ext4 */
#define VDS_FS_LABEL_MOUNTED 0x20u
/* Whoever makes it writes its signature last, so one that shows it is whole. */
#define VDS_FS_SIGNED_LAST 0x40u

typedef struct vds_fs {
  const char *name, *package;
  const char *maker; /* the program that formats, of that package */
  unsigned can;
  size_t label_most;     /* bytes */
  const char *label_not; /* characters that none has, and then ASCII alone */
  uint64_t least, most;  /* VDS_E_VOLUME_TOO_SMALL, _TOO_BIG; 0: no limit */
  unsigned block_least;  /* of the blocks that can be chosen; 0: none can */
  unsigned block_most;   /* 0: a page */
  /* `t` is shared meanwhile, and was wiped. */
  error *(*format)(vds_call *c, vds_target *t, const vds_fs_options *o);
  error *(*space)(vds_call *c, vds_target *t, vds_space *s);
  /* `mount`: an open directory of it, or -1; `size`: bytes it shall have. NULL:
     VDS_E_CANNOT_EXTEND, VDS_E_CANNOT_SHRINK, VDS_E_NOT_SUPPORTED. */
  error *(*grow)(vds_call *c, vds_target *t, int mount, uint64_t size,
                 int lock);
  error *(*shrink)(vds_call *c, vds_target *t, int mount, uint64_t size,
                   const char *undo, int lock);
  error *(*unshrink)(vds_call *c, vds_target *t, const char *undo, int lock);
  /* Before it is resized unmounted: checked when that is due, or `all` is set.
     VDS_E_VOLUME_NOT_HEALTHY. NULL: needs none. */
  error *(*ready)(vds_call *c, vds_target *t, bool all, int lock);
  /* repair: mends. *found: a map { clean, repaired, messages }. */
  error *(*check)(vds_call *c, vds_target *t, bool repair, value *found,
                  int lock);
  error *(*label)(vds_call *c, vds_target *t, int mount, const char *label);
  /* Of one that is not signed last, at `from`, and that is not known to have
     come to its end: whether it has, or was used since. NULL: nobody knows. */
  error *(*is_whole)(int fd, uint64_t from, bool *whole);
} vds_fs;

/* NULL: not one of ours. By what the probe calls it, or a script. */
const vds_fs *vds_fs_find(const char *name);
/* Its names, for a sentence. */
void vds_fs_names(buffer *b);
/* BAD_LABEL: too long, a control character, or not to be said in it. */
error *vds_fs_check_label(const vds_fs *fs, const char *label);
/* options.label, checked; NULL when there is none. */
error *vds_fs_label(const vds_call *c, const vds_fs *fs, const char **label);
/* The uuid of a file system that is to be made, as the probe will show it. */
void vds_fs_uuid(const vds_fs *fs, const guid *g, char uuid[GUID_TEXT]);

#endif
