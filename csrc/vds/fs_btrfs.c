/*
** fs_btrfs: made by mkfs.btrfs, which signs it with its real magic after all
** else.
*/
#include <stdio.h>

#include "vds/fs_parts.h"


static error *format(vds_call *c, vds_target *t, const vds_fs_options *o) {
  char block[16];
  const char *argv[16] = {"mkfs.btrfs", "-q", "-f", "-U", o->uuid};
  size_t n = 5;
  if (o->label != NULL) {
    argv[n++] = "-L";
    argv[n++] = o->label;
  }
  if (o->block > 0) {
    snprintf(block, sizeof block, "%u", o->block);
    argv[n++] = "-s";
    argv[n++] = block;
  }
  if (o->full) argv[n++] = "-K";
  argv[n++] = t->path;
  argv[n] = NULL;
  const vds_tool tool = {
      .argv = argv, .package = vds_fs_btrfs.package, .lock = o->lock};
  return vds_tool_run(c, &tool, NULL);
}


static error *grow(vds_call *c, vds_target *t, int mount, uint64_t size,
                   int lock) {
  (void)lock;
  return vds_btrfs_resize(c, t, mount, size);
}


/* One that is ended in the middle has its old size again by itself. */
static error *shrink(vds_call *c, vds_target *t, int mount, uint64_t size,
                     const char *undo, int lock) {
  (void)undo;
  (void)lock;
  return vds_btrfs_resize(c, t, mount, size);
}


const vds_fs vds_fs_btrfs = {
    .name = "btrfs",
    .package = "btrfs-progs",
    .maker = "mkfs.btrfs",
    .can = VDS_FS_GROW_MOUNTED | VDS_FS_SHRINK_MOUNTED | VDS_FS_LABEL_MOUNTED |
           VDS_FS_SIGNED_LAST,
    .label_most = 255,
    .least = 114294784,
    .block_least = 4096,
    .format = format,
    .space = vds_btrfs_space,
    .grow = grow,
    .shrink = shrink,
    .check = vds_btrfs_check,
    .label = vds_btrfs_label,
};
