/*
** fs_xfs: made by mkfs.xfs, whose super block says that it is being made until
** all else is written (vds_probe.unfinished).
*/
#include <stdio.h>

#include "vds/fs_parts.h"


static error *format(vds_call *c, vds_target *t, const vds_fs_options *o) {
  char block[24], uuid[GUID_TEXT + 8];
  snprintf(uuid, sizeof uuid, "uuid=%s", o->uuid);
  const char *argv[16] = {"mkfs.xfs", "-q", "-f", "-m", uuid};
  size_t n = 5;
  if (o->label != NULL) {
    argv[n++] = "-L";
    argv[n++] = o->label;
  }
  if (o->block > 0) {
    snprintf(block, sizeof block, "size=%u", o->block);
    argv[n++] = "-b";
    argv[n++] = block;
  }
  if (o->full) argv[n++] = "-K";
  argv[n++] = t->path;
  argv[n] = NULL;
  const vds_tool tool = {
      .argv = argv, .package = vds_fs_xfs.package, .lock = o->lock};
  return vds_tool_run(c, &tool, NULL);
}


const vds_fs vds_fs_xfs = {
    .name = "xfs",
    .package = "xfsprogs",
    .maker = "mkfs.xfs",
    .can = VDS_FS_GROW_MOUNTED | VDS_FS_LABEL_MOUNTED | VDS_FS_SIGNED_LAST,
    .label_most = 12,
    .least = 300 << 20,
    .block_least = 512,
    .format = format,
    .grow = vds_xfs_grow,
    .check = vds_xfs_check,
    .label = vds_xfs_label,
};
