/*
** fs_vfat: made by mkfs.vfat, which writes its signature first: one whose maker
** was killed looks whole, and is not believed.
*/
#include <stdio.h>
#include <string.h>

#include "vds/fs_parts.h"


/* A block is what FAT calls a cluster. */
static error *format(vds_call *c, vds_target *t, const vds_fs_options *o) {
  char sectors[16], id[GUID_TEXT];
  size_t size = 0;
  for (const char *s = o->uuid; *s != '\0'; s++)
    if (*s != '-') id[size++] = *s;
  id[size] = '\0';
  const char *argv[16] = {"mkfs.vfat", "-I", "-i", id};
  size_t n = 4;
  if (o->label != NULL && *o->label != '\0') {
    argv[n++] = "-n";
    argv[n++] = o->label;
  }
  if (o->block > 0) {
    snprintf(sectors, sizeof sectors, "%u", o->block / 512);
    argv[n++] = "-s";
    argv[n++] = sectors;
  }
  argv[n++] = t->path;
  argv[n] = NULL;
  const vds_tool tool = {
      .argv = argv, .package = vds_fs_vfat.package, .lock = o->lock};
  return vds_tool_run(c, &tool, NULL);
}


const vds_fs vds_fs_vfat = {
    .name = "vfat",
    .package = "dosfstools",
    .maker = "mkfs.vfat",
    .label_most = 11,
    .label_not = "*?.,;:/\\|+=<>[]\"",
    .least = 64 << 10,
    .most = (UINT64_C(2) << 40) - 512,
    .block_least = 512,
    .block_most = 64 << 10,
    .format = format,
    .check = vds_vfat_check,
    .label = vds_vfat_label,
};
