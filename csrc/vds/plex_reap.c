/*
** plex_reap: an add is undone, a removal finished, a replacement waited for.
*/
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "vds/balance.h"
#include "vds/busy.h"
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


/* What the kernel goes on with by itself when it was mounted anew is what the
   record is about, and is ended; anybody else's is his. */
static bool is_ours(const vds_btrfs *b, const value *record) {
  return vds_balance_is(b->mount, vds_plex_number(record, "to_data"),
                        vds_plex_number(record, "to_meta")) ||
         vds_balance_is(b->mount, vds_plex_number(record, "data"),
                        vds_plex_number(record, "meta"));
}


/* In this process, and in others. */
static error *keep_off_others(vds_call *c, const vds_btrfs *b,
                              const value *record, vds_plex_locks *locks) {
  error *e = vds_plex_claim(c, b);
  if (e == NULL) e = vds_plex_lock(locks, b);
  if (e != NULL || is_ours(b, record)) return e;
  return vds_btrfs_is_idle(b);
}


static error *mend(vds_call *c, vds_btrfs *b, const value *record,
                   vds_plex_locks *locks, bool *mended) {
  const char *verb = vds_record_text(record, "verb");
  uint64_t permille;
  error *e = open_mounted(vds_record_text(record, "fs"), b);
  if (e == NULL && strcmp(verb, "repair") == 0) {
    *mended = vds_replace_look(b->mount, &permille) != VDS_REPLACE_RUNS;
    return NULL;
  }
  if (e == NULL) e = keep_off_others(c, b, record, locks);
  vds_step("reap: plex is ours");
  if (e == NULL && strcmp(verb, "remove") == 0)
    e = end_removal(c, b, record);
  else if (e == NULL && !is_whole(b, record))
    e = vds_plex_undo_add(c, b, record);
  *mended = e == NULL;
  vds_step("plex: reaped");
  return e;
}


/* Another reap may have done it since the record was read, and a mirror that
   was made after that is none of its business. */
error *vds_plex_reap(vds_call *c, const char *at, const value *record,
                     bool *mended) {
  error *e = NULL;
  vds_btrfs *b = mem_zero(sizeof *b);
  vds_plex_locks *locks = mem_zero(sizeof *locks);
  int lock = vds_record_lock(at, record, &e);
  value *now = lock >= 0 ? vds_record_again(at, record, &e) : NULL;
  *mended = lock >= 0 && e == NULL && now == NULL;
  if (e == NULL && (b == NULL || locks == NULL)) {
    e = error_no_memory();
  } else if (now != NULL) {
    b->mount = -1;
    e = mend(c, b, now, locks, mended);
    vds_btrfs_close(b);
    vds_plex_unlock(locks);
    vds_busy_give(c->claim);
    c->claim = NULL;
  }
  value_free(now);
  mem_free(b);
  mem_free(locks);
  if (lock >= 0) close(lock);
  return e;
}
