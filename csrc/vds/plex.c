/*
** plex: what is asked before a mirror is touched, and told when it was.
*/
#include "vds/plex.h"

#include <linux/btrfs_tree.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "vds/balance.h"
#include "vds/blkpg.h"
#include "vds/busy.h"
#include "vds/listing.h"
#include "vds/plex_parts.h"
#include "vds/refuse.h"
#include "vds/step.h"

static const vds_verb online = {VDS_LOSES_NOTHING, VDS_DANGER_MOUNTED};
static const vds_verb whole_disk = {VDS_LOSES_DISK, 0};
static const vds_verb partition = {VDS_LOSES_VOLUME, 0};


/* ------------------------------------------------------------------
** Copies
** ---------------------------------------------------------------- */

enum { COPIES_MOST = 4 };


static uint64_t mirrored(unsigned copies) {
  return copies == 2   ? BTRFS_BLOCK_GROUP_RAID1
         : copies == 3 ? BTRFS_BLOCK_GROUP_RAID1C3
                       : BTRFS_BLOCK_GROUP_RAID1C4;
}


unsigned vds_plex_copies(uint64_t profile) {
  if (profile == 0 || profile == BTRFS_BLOCK_GROUP_DUP ||
      profile == BTRFS_BLOCK_GROUP_RAID0)
    return 1;
  for (unsigned copies = 2; copies <= COPIES_MOST; copies++)
    if (mirrored(copies) == profile) return copies;
  return 0;
}


void vds_plex_profiles(unsigned copies, size_t devices, uint64_t *data,
                       uint64_t *meta) {
  if (copies > 1) {
    *data = *meta = mirrored(copies);
  } else {
    *data = 0;
    *meta = devices > 1 ? BTRFS_BLOCK_GROUP_RAID1 : BTRFS_BLOCK_GROUP_DUP;
  }
}


/* A chunk is as large as the kernel makes it: at most a tenth of the file
   system (and some, rounded), data 1 GiB, metadata 256 MiB, and 1 GiB beyond 50
   GiB. Needed are one of data, two of metadata (dup), two of 32 MiB. */
uint64_t vds_plex_chunks(const vds_btrfs *b, uint64_t more) {
  const uint64_t gib = 1ull << 30;
  uint64_t all = more;
  for (size_t i = 0; i < b->count; i++) all += b->members[i].size;
  uint64_t data = all / 8 < gib ? all / 8 : gib;
  uint64_t meta = all > 50 * gib ? gib : gib / 4;
  return data + 2 * (all / 8 < meta ? all / 8 : meta) + gib / 16;
}


error *vds_plex_room(const vds_btrfs *b, const vds_btrfs_member *except,
                     uint64_t more) {
  uint64_t needed = vds_plex_chunks(b, more);
  for (size_t i = 0; i < b->count; i++) {
    const vds_btrfs_member *m = &b->members[i];
    uint64_t room = m->size > m->used ? m->size - m->used : 0;
    if (m == except || m->dev == 0 || room >= needed) continue;
    return vds_error(VDS_E_NOT_ENOUGH_SPACE,
                     "device %llu of this btrfs has %llu bytes that no chunk "
                     "has, and %llu are needed to move chunks; make room first "
                     "(btrfs balance start -dusage=50)",
                     (unsigned long long)m->id, (unsigned long long)room,
                     (unsigned long long)needed);
  }
  return NULL;
}


/* ------------------------------------------------------------------
** Before
** ---------------------------------------------------------------- */

/* A plan that says no is the answer; one that says yes is asked further. */
static error *judge_object(vds_plex *p, bool *go) {
  unsigned forced = 0;
  vds_call *c = p->c;
  error *e = vds_permit(c, &p->one, &online, &forced, go);
  if (e != NULL || !vds_flag(c, "plan")) return e;
  *go = value_boolean(value_get(c->output, "allowed"), false);
  if (!*go) return NULL;
  value_free(c->output);
  c->output = NULL;
  return NULL;
}


error *vds_plex_claim(vds_call *c, const vds_btrfs *b) {
  dev_t devices[VDS_BTRFS_MOST];
  size_t count = 0;
  for (size_t i = 0; i < b->count; i++)
    if (b->members[i].dev != 0) devices[count++] = b->members[i].dev;
  return vds_busy_more(c, devices, count);
}


static error *claim(vds_plex *p) {
  error *e = vds_plex_claim(p->c, &p->fs);
  if (e == NULL) e = vds_target_open(&p->one, 0, &p->object);
  if (e == NULL) e = vds_plex_lock(&p->locks, &p->fs);
  return e != NULL ? e : vds_btrfs_is_idle(&p->fs);
}


error *vds_plex_begin(vds_call *c, vds_plex *p, bool *go) {
  error *e = NULL;
  *p = (vds_plex){.c = c,
                  .fs = {.mount = -1},
                  .object = VDS_TARGET_NONE,
                  .other = VDS_TARGET_NONE};
  *go = false;
  if (!vds_identity_get(value_get(c->options, "object"), &p->one))
    return vds_error(SAROS_E_INVALIDARG, "object: a volume expected");
  if (!vds_identity_get(value_get(c->options, "other"), &p->two))
    return vds_error(SAROS_E_INVALIDARG, "a disk or a volume expected");
  e = judge_object(p, go);
  if (e != NULL || !*go) return e;
  e = vds_btrfs_open(p->one.dev, &p->fs);
  if (e == NULL && !vds_flag(c, "plan")) e = claim(p);
  if (e == NULL) e = vds_btrfs_profiles(p->fs.mount, &p->data, &p->meta);
  p->copies = vds_plex_copies(p->data);
  if (e == NULL && p->copies == 0)
    e = vds_error(VDS_E_NOT_SUPPORTED,
                  "this btrfs is striped with parity or mirrored in stripes, "
                  "which has no plexes");
  return e;
}


error *vds_plex_admit(vds_plex *p, bool *go) {
  unsigned forced = 0;
  vds_call *c = p->c;
  bool disk = p->two.dev == p->two.whole;
  const vds_verb *verb = disk ? &whole_disk : &partition;
  *go = false;
  if (vds_btrfs_find(&p->fs, p->two.dev) != NULL)
    return vds_error(VDS_E_DISK_IN_USE_BY_VOLUME,
                     "it is one of the devices of this btrfs already");
  error *e = vds_permit(c, &p->two, verb, &forced, go);
  if (e == NULL && *go) e = vds_end_dangers(c, &p->two, verb, forced);
  if (e == NULL && *go)
    e = vds_target_open(&p->two, VDS_OPEN_WRITE | VDS_OPEN_EXCLUSIVE,
                        &p->other);
  if (e == NULL && *go) e = vds_probe_fd(p->other.fd, &p->had);
  return e;
}


/* From here on it is nothing, until it is a member. */
error *vds_plex_clear(vds_plex *p) {
  unsigned count;
  error *e = NULL;
  if (vds_stopped(p->c, &e)) return e;
  p->cleared = true;
  e = vds_probe_wipe(p->other.only, &count);
  vds_step("plex: wiped");
  if (e == NULL && p->two.dev == p->two.whole)
    e = vds_blkpg_sync(p->other.only, p->two.whole);
  vds_step("plex: without partitions");
  if (e == NULL && vds_stopped(p->c, &e)) return e;
  vds_target_share(&p->other);
  return e;
}


void vds_plex_lost(vds_plex *p) {
  const char *what = p->had.fs[0] != '\0'      ? p->had.fs
                     : p->had.table[0] != '\0' ? "table"
                                               : NULL;
  if (p->cleared && what != NULL)
    vds_left(p->c, "%s is empty now: the %s that was on it is gone",
             p->other.path, what);
}


/* ------------------------------------------------------------------
** The record
** ---------------------------------------------------------------- */

static value *uuids(const vds_btrfs *b) {
  value *list = value_list();
  char text[GUID_TEXT];
  for (size_t i = 0; list != NULL && i < b->count; i++) {
    guid_format(&b->members[i].uuid, text);
    if (value_add(list, value_text(text))) continue;
    value_free(list);
    return NULL;
  }
  return list;
}


static value *identity_map(const vds_identity *who) {
  value *map = value_map();
  if (map != NULL && vds_identity_put(map, who)) return map;
  value_free(map);
  return NULL;
}


static bool describe(vds_plex *p, const char *verb) {
  value *r = p->record;
  return value_put(r, "verb", value_text(verb)) &&
         value_put(r, "fs", value_text(p->fs.id)) &&
         value_put(r, "step", value_text("forward")) &&
         value_put(r, "data", value_int((int64_t)p->data)) &&
         value_put(r, "meta", value_int((int64_t)p->meta)) &&
         value_put(r, "to_data", value_int((int64_t)p->to_data)) &&
         value_put(r, "to_meta", value_int((int64_t)p->to_meta)) &&
         value_put(r, "before", uuids(&p->fs)) &&
         value_put(r, "object", identity_map(&p->one)) &&
         value_put(r, "member", identity_map(&p->two)) &&
         value_put(r, "path", value_text(p->object.path));
}


static bool put_member(value *r, const vds_btrfs_member *m) {
  char uuid[GUID_TEXT];
  guid_format(&m->uuid, uuid);
  return value_put(r, "device", value_int((int64_t)m->id)) &&
         value_put(r, "uuid", value_text(uuid));
}


error *vds_plex_record(vds_plex *p, const char *verb,
                       const vds_btrfs_member *member) {
  error *e = NULL;
  if (p->record == NULL) {
    p->at = vds_records_at(vds_text(p->c, "state_dir"), &e);
    if (e != NULL) return e;
    p->record = vds_record_new("plex");
    if (p->record == NULL || !describe(p, verb)) return error_no_memory();
  }
  if (member != NULL && !put_member(p->record, member))
    return error_no_memory();
  e = vds_record_save(p->at, p->record);
  if (e == NULL) p->saved = true;
  return e;
}


error *vds_plex_newcomer(vds_plex *p) {
  if (!value_put(p->record, "before", uuids(&p->fs)) ||
      !value_put(p->record, "uuid", value_text("")))
    return error_no_memory();
  return vds_record_save(p->at, p->record);
}


error *vds_plex_going(const char *at, value *record, const char *step) {
  if (!value_put(record, "step", value_text(step))) return error_no_memory();
  return vds_record_save(at, record);
}


uint64_t vds_plex_number(const value *record, const char *name) {
  int64_t n = value_integer(value_get(record, name), 0);
  return n > 0 ? (uint64_t)n : 0;
}


static bool was_there(const value *record, const char *uuid) {
  const value *list = value_get(record, "before");
  for (uint32_t i = 0; list != NULL && i < list->count; i++)
    if (strcmp(value_chars(list->as.items[i], ""), uuid) == 0) return true;
  return false;
}


/* By its own id. One that was added a moment before a death is not known by
   that: then it is the only one that was not there before. */
const vds_btrfs_member *vds_plex_member(const vds_btrfs *b,
                                        const value *record) {
  const char *known = vds_record_text(record, "uuid");
  const vds_btrfs_member *found = NULL;
  size_t count = 0;
  for (size_t i = 0; i < b->count; i++) {
    char uuid[GUID_TEXT];
    guid_format(&b->members[i].uuid, uuid);
    if (*known != '\0' ? strcmp(uuid, known) != 0 : was_there(record, uuid))
      continue;
    found = &b->members[i];
    count++;
  }
  return count == 1 ? found : NULL;
}


/* ------------------------------------------------------------------
** After
** ---------------------------------------------------------------- */

static value *paths(const vds_btrfs *b) {
  value *list = value_list();
  for (size_t i = 0; list != NULL && i < b->count; i++) {
    char path[80] = "";
    error *e = vds_about_node(b->members[i].dev, path);
    if (e != NULL) snprintf(path, sizeof path, "missing");
    error_unref(e);
    if (value_add(list, value_text(path))) continue;
    value_free(list);
    return NULL;
  }
  return list;
}


error *vds_plex_whole(vds_plex *p) {
  vds_call *c = p->c;
  uint64_t data, meta;
  error *e = vds_record_remove(p->at, p->record);
  vds_step("plex: forgotten");
  if (e == NULL) e = vds_btrfs_look(&p->fs);
  if (e == NULL) e = vds_btrfs_profiles(p->fs.mount, &data, &meta);
  if (e == NULL) e = vds_work_volume(c);
  if (e != NULL) return e;
  value *volume = c->output;
  c->output = vds_with(value_map(), "volume", volume);
  c->output = vds_with(c->output, "copies", value_int(vds_plex_copies(data)));
  c->output = vds_with(c->output, "members", paths(&p->fs));
  return c->output != NULL ? NULL : error_no_memory();
}


void vds_plex_undone(vds_plex *p, error *e) {
  if (e == NULL && p->saved) e = vds_record_remove(p->at, p->record);
  vds_step("plex: undone");
  if (e != NULL)
    vds_left(p->c,
             "the file system is whole, but not all is as it was: %s; "
             "vds.reap will try it again when this process has ended",
             e->message);
  error_unref(e);
}


void vds_plex_done(vds_plex *p) {
  vds_btrfs_close(&p->fs);
  vds_target_close(&p->other);
  vds_target_close(&p->object);
  vds_plex_unlock(&p->locks);
  value_free(p->record);
  mem_free(p->at);
}


error *vds_work_break_plex(vds_call *c) {
  (void)c;
  return vds_error(VDS_E_NOT_SUPPORTED,
                   "a device that is taken from a btrfs is no file system of "
                   "its own; make a snapshot and copy it (btrfs send), or "
                   "remove the plex");
}
