/*
** fs_ext4: made by mke2fs, which writes its super block after all else.
*/
#include <stdio.h>

#include "vds/fs_parts.h"

typedef struct making {
  vds_call *c;
  vds_saying saying;
} making;


static void said(void *context, int which, const char *text, size_t size) {
  making *m = context;
  int at = which == 1 ? vds_saying_mke2fs(&m->saying, text, size) : -1;
  if (at >= 0) vds_progress(m->c, (uint64_t)at, 1000);
}


/* A full one leaves nothing for the kernel to write later, and keeps the zeros
   it was given. */
static error *format(vds_call *c, vds_target *t, const vds_fs_options *o) {
  char block[16];
  making m = {.c = c};
  const char *argv[16] = {"mke2fs", "-F", "-t", "ext4", "-U", o->uuid};
  size_t n = 6;
  if (o->label != NULL) {
    argv[n++] = "-L";
    argv[n++] = o->label;
  }
  if (o->block > 0) {
    snprintf(block, sizeof block, "%u", o->block);
    argv[n++] = "-b";
    argv[n++] = block;
  }
  if (o->full) {
    argv[n++] = "-E";
    argv[n++] = "nodiscard,lazy_itable_init=0,lazy_journal_init=0";
  }
  argv[n++] = t->path;
  argv[n] = NULL;
  const vds_tool tool = {.argv = argv,
                         .package = vds_fs_ext4.package,
                         .lock = o->lock,
                         .said = said,
                         .context = &m};
  return vds_tool_run(c, &tool, NULL);
}


const vds_fs vds_fs_ext4 = {
    .name = "ext4",
    .package = "e2fsprogs",
    .maker = "mke2fs",
    .can = VDS_FS_GROW_EITHER | VDS_FS_SHRINK_OFFLINE | VDS_FS_LABEL_MOUNTED |
           VDS_FS_SIGNED_LAST,
    .label_most = 16,
    .least = 256 << 10,
    .block_least = 1024,
    .format = format,
    .space = vds_ext4_space,
    .grow = vds_ext4_grow,
    .shrink = vds_ext4_shrink,
    .unshrink = vds_ext4_unshrink,
    .ready = vds_ext4_ready,
    .check = vds_ext4_check,
    .label = vds_ext4_label,
};
