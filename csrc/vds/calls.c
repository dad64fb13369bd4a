/*
** Everything that can be asked of disks, by name. What is not in this table is
** not there: Lua offers a method only for what it finds here.
*/
#include <string.h>

#include "vds/attach.h"
#include "vds/clean.h"
#include "vds/format.h"
#include "vds/listing.h"
#include "vds/mount.h"
#include "vds/plex.h"
#include "vds/resize.h"
#include "vds/table.h"
#include "vds/vdisk.h"

#define NO_ESTIMATE SAROS_NO_ESTIMATE
#define CANCELLABLE SAROS_CANCELLABLE
#define LISTS (SAROS_CANCELLABLE | SAROS_NO_ESTIMATE)

static const vds_work works[] = {
    {"disks", VDS_UNKNOWN, VDS_CLAIMS_NOTHING, VDS_KIND("disks", LISTS),
     vds_work_disks},
    {"volumes", VDS_UNKNOWN, VDS_CLAIMS_NOTHING, VDS_KIND("volumes", LISTS),
     vds_work_volumes},
    {"disk", VDS_UNKNOWN, VDS_CLAIMS_NOTHING, VDS_KIND("disk", LISTS),
     vds_work_disk},
    {"volume", VDS_UNKNOWN, VDS_CLAIMS_NOTHING, VDS_KIND("volume", LISTS),
     vds_work_volume},
    {"virtual_disks", VDS_UNKNOWN, VDS_CLAIMS_NOTHING,
     VDS_KIND("virtual_disks", LISTS), vds_work_virtual_disks},
    {"reap", VDS_UNKNOWN, VDS_CLAIMS_NOTHING, VDS_KIND("reap", LISTS),
     vds_work_reap},
    {"create_vdisk", VDS_CREATE_VDISK, VDS_CLAIMS_FILE,
     VDS_KIND("create_vdisk", CANCELLABLE), vds_work_create_vdisk},
    {"open_vdisk", VDS_UNKNOWN, VDS_CLAIMS_NOTHING,
     VDS_KIND("open_vdisk", LISTS), vds_work_open_vdisk},
    {"attach", VDS_ATTACH_VDISK, VDS_CLAIMS_FILE,
     VDS_KIND("attach", CANCELLABLE | NO_ESTIMATE), vds_work_attach},
    {"detach", VDS_UNKNOWN, VDS_CLAIMS_FILE,
     VDS_KIND("detach", CANCELLABLE | NO_ESTIMATE), vds_work_detach},
    {"expand", VDS_EXPAND_VDISK, VDS_CLAIMS_FILE,
     VDS_KIND("expand", CANCELLABLE | NO_ESTIMATE), vds_work_expand},
    {"format", VDS_FORMAT, VDS_CLAIMS_OBJECT, VDS_KIND("format", CANCELLABLE),
     vds_work_format},
    {"initialize", VDS_UNKNOWN, VDS_CLAIMS_OBJECT,
     VDS_KIND("initialize", CANCELLABLE | NO_ESTIMATE), vds_work_initialize},
    {"create_partition", VDS_CREATE_PARTITION, VDS_CLAIMS_OBJECT,
     VDS_KIND("create_partition", CANCELLABLE | NO_ESTIMATE),
     vds_work_create_partition},
    {"delete_partition", VDS_UNKNOWN, VDS_CLAIMS_OBJECT,
     VDS_KIND("delete_partition", CANCELLABLE | NO_ESTIMATE),
     vds_work_delete_partition},
    {"compact", VDS_COMPACT_VDISK, VDS_CLAIMS_FILE,
     VDS_KIND("compact", CANCELLABLE), vds_work_compact},
    {"mount", VDS_UNKNOWN, VDS_CLAIMS_OBJECT,
     VDS_KIND("mount", CANCELLABLE | NO_ESTIMATE), vds_work_mount},
    {"unmount", VDS_UNKNOWN, VDS_CLAIMS_OBJECT,
     VDS_KIND("unmount", CANCELLABLE | NO_ESTIMATE), vds_work_unmount},
    {"clean", VDS_CLEAN, VDS_CLAIMS_OBJECT, VDS_KIND("clean", CANCELLABLE),
     vds_work_clean},
    {"add_plex", VDS_ADD_PLEX, VDS_CLAIMS_OBJECT,
     VDS_KIND("add_plex", CANCELLABLE), vds_work_add_plex},
    {"remove_plex", VDS_REMOVE_PLEX, VDS_CLAIMS_OBJECT,
     VDS_KIND("remove_plex", CANCELLABLE), vds_work_remove_plex},
    {"repair_plex", VDS_REPAIR_PLEX, VDS_CLAIMS_OBJECT,
     VDS_KIND("repair_plex", CANCELLABLE), vds_work_repair_plex},
    {"break_plex", VDS_BREAK_PLEX, VDS_CLAIMS_NOTHING,
     VDS_KIND("break_plex", NO_ESTIMATE), vds_work_break_plex},
    {"extend", VDS_EXTEND_VOLUME, VDS_CLAIMS_OBJECT,
     VDS_KIND("extend", CANCELLABLE), vds_work_extend},
    {"query_shrink", VDS_UNKNOWN, VDS_CLAIMS_NOTHING,
     VDS_KIND("query_shrink", LISTS), vds_work_query_shrink},
    {"shrink", VDS_SHRINK_VOLUME, VDS_CLAIMS_OBJECT,
     VDS_KIND("shrink", CANCELLABLE), vds_work_shrink},
    {"check", VDS_UNKNOWN, VDS_CLAIMS_OBJECT, VDS_KIND("check", CANCELLABLE),
     vds_work_check},
    {"label", VDS_UNKNOWN, VDS_CLAIMS_OBJECT,
     VDS_KIND("label", CANCELLABLE | NO_ESTIMATE), vds_work_label},
};

const vds_work *vds_work_find(const char *name) {
  for (size_t i = 0; i < sizeof works / sizeof works[0]; i++)
    if (strcmp(works[i].name, name) == 0) return &works[i];
  return NULL;
}
