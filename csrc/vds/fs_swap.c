/*
** fs_swap: made by mkswap, whose header is one page, written at once.
*/
#include "vds/fs_parts.h"


static error *format(vds_call *c, vds_target *t, const vds_fs_options *o) {
  const char *argv[10] = {"mkswap", "--lock=no", "-f", "-U", o->uuid};
  size_t n = 5;
  if (o->label != NULL) {
    argv[n++] = "-L";
    argv[n++] = o->label;
  }
  argv[n++] = t->path;
  argv[n] = NULL;
  const vds_tool tool = {
      .argv = argv, .package = vds_fs_swap.package, .lock = o->lock};
  return vds_tool_run(c, &tool, NULL);
}


const vds_fs vds_fs_swap = {
    .name = "swap",
    .package = "util-linux",
    .maker = "mkswap",
    .can = VDS_FS_SIGNED_LAST,
    .label_most = 15,
    .least = 40 << 10,
    .format = format,
    .label = vds_swap_label,
};
