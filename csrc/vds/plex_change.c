/*
** plex_change: a device more, a device less.
*/
#include <linux/btrfs_tree.h>
#include <stdio.h>
#include <string.h>

#include "vds/balance.h"
#include "vds/plex_parts.h"
#include "vds/refuse.h"
#include "vds/step.h"

static const vds_verb online = {VDS_LOSES_NOTHING, VDS_DANGER_MOUNTED};


/* ------------------------------------------------------------------
** A device more
** ---------------------------------------------------------------- */

static error *has_room_for_another(const vds_plex *p) {
  vds_btrfs_amount in, all;
  uint64_t size = p->two.size;
  error *e = vds_plex_room(&p->fs, NULL, size);
  if (e == NULL) e = vds_btrfs_bytes(p->fs.mount, p->data, p->meta, &in, &all);
  if (e == NULL && size < all.used + vds_plex_chunks(&p->fs, size))
    e = vds_error(VDS_E_NOT_ENOUGH_SPACE,
                  "the new device has %llu bytes; a copy of all takes %llu, "
                  "and chunks to move them another %llu",
                  (unsigned long long)size, (unsigned long long)all.used,
                  (unsigned long long)vds_plex_chunks(&p->fs, size));
  return e;
}


static error *is_complete(const vds_plex *p) {
  for (size_t i = 0; i < p->fs.count; i++)
    if (p->fs.members[i].dev == 0)
      return vds_error(VDS_E_VOLUME_NOT_HEALTHY,
                       "device %llu of this btrfs is missing: replace it first "
                       "(repair_plex takes that number)",
                       (unsigned long long)p->fs.members[i].id);
  return NULL;
}


static error *wants_another(vds_plex *p) {
  if (p->copies == 4)
    return vds_error(VDS_E_NOT_SUPPORTED, "btrfs has four copies at most");
  error *e = is_complete(p);
  if (e != NULL) return e;
  vds_plex_profiles(p->copies + 1, p->fs.count + 1, &p->to_data, &p->to_meta);
  return has_room_for_another(p);
}


static error *join(vds_plex *p) {
  error *e = vds_add_device(p->fs.mount, p->other.path);
  vds_step("plex: added");
  if (e == NULL) e = vds_btrfs_look(&p->fs);
  const vds_btrfs_member *m =
      e == NULL ? vds_btrfs_find(&p->fs, p->two.dev) : NULL;
  if (e == NULL && m == NULL)
    e = vds_error(VDS_E_OBJECT_OUT_OF_SYNC, "btrfs took another device than %s",
                  p->other.path);
  if (e == NULL) e = vds_plex_record(p, "add", m);
  vds_step("plex: member recorded");
  return e;
}


static error *add(vds_plex *p) {
  vds_call *c = p->c;
  vds_phase(c, "adding", 0, 10);
  error *e = vds_plex_record(p, "add", NULL);
  vds_step("plex: recorded");
  if (e == NULL) e = vds_plex_clear(p);
  if (e == NULL) e = join(p);
  if (e != NULL) return e;
  vds_phase(c, "mirroring", 10, 1000);
  e = vds_balance(c, p->fs.mount, p->to_data, p->to_meta, NULL);
  vds_step("plex: mirrored");
  if (e == NULL) vds_commit(c, &e);
  vds_step("plex: committed");
  return e;
}


error *vds_plex_undo_add(vds_call *c, vds_btrfs *b, const value *record) {
  vds_balance_end(b->mount);
  error *e = vds_btrfs_look(b);
  const vds_btrfs_member *m = e == NULL ? vds_plex_member(b, record) : NULL;
  if (m == NULL) return e;
  vds_undoing(c, "converting back");
  e = vds_balance(c, b->mount, vds_plex_number(record, "data"),
                  vds_plex_number(record, "meta"), "converting back");
  vds_undoing(c, "removing the device");
  if (e == NULL)
    e = vds_remove_device(c, b->mount, m->id, "removing the device");
  return e;
}


static void take_back(vds_plex *p) {
  vds_undoing(p->c, "taking it back");
  error *e = vds_plex_going(p->at, p->record, "back");
  vds_step("plex: going back");
  if (e == NULL) e = vds_plex_undo_add(p->c, &p->fs, p->record);
  vds_plex_lost(p);
  vds_plex_undone(p, e);
}


error *vds_work_add_plex(vds_call *c) {
  bool go = false;
  vds_plex *p = mem_zero(sizeof *p);
  if (p == NULL) return error_no_memory();
  error *e = vds_plex_begin(c, p, &go);
  if (e == NULL && go) e = vds_plex_admit(p, &go);
  if (e == NULL && go) e = wants_another(p);
  if (e == NULL && go) {
    e = add(p);
    if (e == NULL)
      e = vds_plex_whole(p);
    else if (p->saved)
      take_back(p);
  }
  vds_plex_done(p);
  mem_free(p);
  return e;
}


/* ------------------------------------------------------------------
** A device less
** ---------------------------------------------------------------- */

static error *can_lose(vds_plex *p, const vds_btrfs_member *m) {
  if (m == NULL)
    return vds_error(VDS_E_OBJECT_NOT_FOUND,
                     "it is none of the devices of this btrfs");
  if (p->copies < 2)
    return vds_error(VDS_E_VOLUME_NOT_A_MIRROR,
                     "this btrfs has one copy of its data, so no plex can be "
                     "removed");
  error *e = is_complete(p);
  if (e != NULL) return e;
  size_t left = p->fs.count - 1;
  p->to_data = p->data;
  p->to_meta = p->meta;
  if (left < p->copies)
    vds_plex_profiles(p->copies - 1, left, &p->to_data, &p->to_meta);
  return vds_plex_room(&p->fs, m, 0);
}


error *vds_plex_remove(vds_call *c, vds_btrfs *b, const value *record,
                       const char *undoing) {
  error *e = vds_balance(c, b->mount, vds_plex_number(record, "to_data"),
                         vds_plex_number(record, "to_meta"), undoing);
  vds_step("plex: converted");
  if (e == NULL) e = vds_btrfs_look(b);
  const vds_btrfs_member *m = e == NULL ? vds_plex_member(b, record) : NULL;
  if (m == NULL) return e;
  if (undoing == NULL) vds_phase(c, "emptying", 600, 1000);
  return vds_remove_device(c, b->mount, m->id, undoing);
}


/* It may have gone already: then it is taken in again. */
static error *rejoin(vds_plex *p) {
  error *e = vds_btrfs_look(&p->fs);
  if (e != NULL || vds_plex_member(&p->fs, p->record) != NULL) return e;
  vds_plex_unlock_one(&p->locks, p->two.dev);
  e = vds_target_open(&p->two, VDS_OPEN_WRITE | VDS_OPEN_EXCLUSIVE, &p->other);
  if (e != NULL) return e;
  vds_target_share(&p->other);
  e = vds_plex_newcomer(p);
  vds_step("plex: newcomer expected");
  if (e == NULL) e = vds_add_device(p->fs.mount, p->other.path);
  return e;
}


static void mirror_again(vds_plex *p) {
  vds_undoing(p->c, "mirroring again");
  error *e = vds_plex_going(p->at, p->record, "back");
  vds_step("plex: going back");
  if (e == NULL) e = rejoin(p);
  vds_step("plex: a member again");
  if (e == NULL)
    e = vds_balance(p->c, p->fs.mount, p->data, p->meta, "mirroring again");
  vds_plex_undone(p, e);
}


static error *take_off(vds_plex *p, const vds_btrfs_member *m) {
  vds_call *c = p->c;
  error *e = vds_plex_record(p, "remove", m);
  vds_step("plex: recorded");
  if (e != NULL || vds_stopped(c, &e)) return e;
  vds_phase(c, "converting", 0, 600);
  e = vds_plex_remove(c, &p->fs, p->record, NULL);
  if (e == NULL) vds_commit(c, &e);
  vds_step("plex: committed");
  return e;
}


/* If the volume is called by the device that goes, it is another one's then. */
static error *told_by(vds_plex *p) {
  for (size_t i = 0; p->one.dev == p->two.dev && i < p->fs.count; i++) {
    const vds_btrfs_member *m = &p->fs.members[i];
    if (m->dev == 0 || m->dev == p->two.dev) continue;
    error *e = NULL;
    vds_about *a = vds_about_new(m->dev, &e);
    value *map = value_map();
    if (e == NULL) vds_identity_of(a, &p->one);
    mem_free(a);
    if (e == NULL && (map == NULL || !vds_identity_put(map, &p->one)))
      e = error_no_memory();
    if (e == NULL && !value_put(p->c->options, "object", map))
      return error_no_memory();
    if (e != NULL) value_free(map);
    return e;
  }
  return NULL;
}


error *vds_work_remove_plex(vds_call *c) {
  bool go = false;
  unsigned forced = 0;
  vds_plex *p = mem_zero(sizeof *p);
  if (p == NULL) return error_no_memory();
  error *e = vds_plex_begin(c, p, &go);
  const vds_btrfs_member *m =
      e == NULL && go ? vds_btrfs_find(&p->fs, p->two.dev) : NULL;
  if (e == NULL && go) e = can_lose(p, m);
  if (e == NULL && go) e = vds_permit(c, &p->two, &online, &forced, &go);
  if (e == NULL && go) e = told_by(p);
  if (e == NULL && go) {
    e = take_off(p, m);
    if (e == NULL)
      e = vds_plex_whole(p);
    else if (p->saved)
      mirror_again(p);
  }
  vds_plex_done(p);
  mem_free(p);
  return e;
}
