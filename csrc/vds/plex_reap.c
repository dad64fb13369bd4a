/*
** plex_reap: an add is undone, a removal finished, a replacement waited for.
*/
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "vds/balance.h"
#include "vds/holders.h"
#include "vds/mount.h"
#include "vds/plex_parts.h"
#include "vds/replace.h"
#include "vds/step.h"

typedef struct search {
  const char *id;
  dev_t found;
} search;


static void look_for(void *context, const char *id, dev_t member) {
  search *s = context;
  if (strcmp(id, s->id) == 0) s->found = member;
}


/* Mounted it stands in /sys with its members. */
static error *open_mounted(const char *id, vds_btrfs *b) {
  search s = {id, 0};
  *b = (vds_btrfs){.mount = -1};
  vds_about_btrfs(look_for, &s);
  if (s.found == 0)
    return vds_error(VDS_E_VOLUME_NOT_MOUNTED,
                     "the btrfs %s is not mounted; mount it, then reap again",
                     id);
  return vds_btrfs_open(s.found, b);
}


/* It had come to its end, and nobody had taken it back. */
static bool is_whole(const vds_btrfs *b, const value *record) {
  vds_btrfs_amount in, all;
  if (strcmp(vds_record_text(record, "step"), "back") == 0 ||
      vds_plex_member(b, record) == NULL)
    return false;
  error *e = vds_btrfs_bytes(b->mount, vds_plex_number(record, "to_data"),
                             vds_plex_number(record, "to_meta"), &in, &all);
  bool whole = e == NULL && in.used == all.used;
  error_unref(e);
  return whole;
}


/* A removal that was being taken back is taken back: its device is a member, or
   it is finished, for who shall become one again would lose what he got since
   then. */
static error *end_removal(vds_call *c, vds_btrfs *b, const value *record) {
  bool back = strcmp(vds_record_text(record, "step"), "back") == 0;
  vds_balance_end(b->mount);
  if (back && vds_plex_member(b, record) != NULL)
    return vds_balance(c, b->mount, vds_plex_number(record, "data"),
                       vds_plex_number(record, "meta"), "mirroring again");
  return vds_plex_remove(c, b, record, "removing the device");
}


error *vds_plex_reap(vds_call *c, const char *at, const value *record,
                     bool *mended) {
  const char *verb = vds_record_text(record, "verb");
  uint64_t permille;
  (void)at;
  *mended = false;
  vds_btrfs *b = mem_alloc(sizeof *b);
  if (b == NULL) return error_no_memory();
  error *e = open_mounted(vds_record_text(record, "fs"), b);
  if (e == NULL && strcmp(verb, "repair") == 0) {
    *mended = vds_replace_look(b->mount, &permille) != VDS_REPLACE_RUNS;
  } else if (e == NULL) {
    if (strcmp(verb, "remove") == 0)
      e = end_removal(c, b, record);
    else if (!is_whole(b, record))
      e = vds_plex_undo_add(c, b, record);
    *mended = e == NULL;
  }
  vds_step("plex: reaped");
  vds_btrfs_close(b);
  mem_free(b);
  return e;
}
