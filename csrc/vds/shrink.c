/*
** shrink: a volume made smaller: its file system first, then its partition.
** Until the file system is smaller everything can be had back; from the
** partition on it only goes forward.
*/
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "vds/fs_parts.h"
#include "vds/record.h"
#include "vds/refuse.h"
#include "vds/resize.h"
#include "vds/resizing.h"
#include "vds/step.h"

#define UNDO_ROOM ((uint64_t)64 << 20)


static error *can_shrink(const vds_volume *v) {
  if (v->fs != NULL && v->fs->shrink != NULL && v->fs->space != NULL)
    return NULL;
  return vds_error(VDS_E_CANNOT_SHRINK,
                   "what is on it (%s) cannot be made smaller",
                   vds_volume_kind(v));
}


static vds_verb verb_for(const vds_volume *v) {
  bool online = v->fs != NULL && (v->fs->can & VDS_FS_SHRINK_MOUNTED) != 0;
  return (vds_verb){VDS_LOSES_NOTHING,
                    VDS_WRITES_TABLE | (online ? VDS_DANGER_MOUNTED : 0)};
}


/* ------------------------------------------------------------------
** How far
** ---------------------------------------------------------------- */

typedef struct wish {
  uint64_t size, least; /* bytes less; size 0: as many as there are */
  uint64_t minimum;     /* of the volume */
} wish;


static error *too_big(const vds_resizing *r, const wish *w) {
  return vds_error(VDS_E_SHRINK_SIZE_TOO_BIG,
                   "%s can be made %llu bytes small at least, which is %llu "
                   "less than it is; %llu are asked for",
                   r->t.path, (unsigned long long)w->minimum,
                   (unsigned long long)(r->part - w->minimum),
                   (unsigned long long)w->size);
}


/* Whole MiB, and rather too large than too small. */
static uint64_t whole(uint64_t bytes) {
  return (bytes + VDS_MIB - 1) & ~(VDS_MIB - 1);
}


static error *plan(vds_resizing *r, wish *w) {
  uint64_t before = r->t.is.number > 0 ? r->device : r->fs_size;
  uint64_t minimum = whole(w->minimum);
  uint64_t most = minimum < before ? before - minimum : 0;
  uint64_t less =
      w->size == 0 || (w->size > most && w->least > 0) ? most : w->size;
  r->part = before;
  w->minimum = minimum < before ? minimum : before;
  if (less > most) return too_big(r, w);
  uint64_t to = whole(before - less);
  if (to > before) to = before;
  if (before - to < w->least)
    return vds_error(VDS_E_SHRINK_SIZE_LESS_THAN_MIN,
                     "%s can give %llu bytes, and %llu is the least that was "
                     "asked for",
                     r->t.path, (unsigned long long)(before - to),
                     (unsigned long long)w->least);
  r->part = r->t.is.number > 0 ? to : r->device;
  r->to = to < r->fs_size ? to : r->fs_size;
  return NULL;
}


/* ------------------------------------------------------------------
** Back, and on
** ---------------------------------------------------------------- */

/* Its partition first, should that be smaller already: a file system never ends
   behind it. What was overwritten is written back; a file system that has no
   such record undid it itself when it was ended, or grows again. */
error *vds_shrink_back(vds_resizing *r, const char *undo) {
  uint64_t size = 0;
  error *e = r->t.is.number > 0 ? vds_target_changed(&r->t) : NULL;
  if (e == NULL && r->t.is.size < r->device)
    e = vds_resizing_partition(r, r->device);
  vds_step("shrink: partition is back");
  if (e == NULL && undo != NULL && r->v->fs->unshrink != NULL)
    return r->v->fs->unshrink(r->c, &r->t, undo, r->lock);
  if (e == NULL) e = vds_resizing_fs_size(r, &size);
  if (e == NULL && size < r->fs_size && r->v->fs->grow != NULL)
    e = r->v->fs->grow(r->c, &r->t, r->mount, r->fs_size, r->lock);
  return e;
}


/* Whatever a record says: a partition never ends before its file system. */
error *vds_shrink_on(vds_resizing *r) {
  uint64_t size = 0;
  error *e = vds_resizing_fs_size(r, &size);
  if (e == NULL && r->t.is.number > 0 && size > r->part)
    e = vds_error(VDS_E_VOLUME_NOT_HEALTHY,
                  "the file system on %s is larger than it should be by now; "
                  "its partition stays as it is",
                  r->t.path);
  if (e == NULL) e = vds_resizing_step(r, "partition");
  vds_step("shrink: on to the partition");
  if (e == NULL) e = vds_resizing_partition(r, r->part);
  vds_step("shrink: partition");
  return e;
}


/* First of all it is written down that it goes back: who finds the record of a
   dead one would go on otherwise. One that says so is not written again: that
   may fail where the undo file has taken all the room. What could not be rolled
   back yet keeps what it can be rolled back by. */
static void back(vds_resizing *r, const char *undo) {
  static const char step[] = "file system";
  error *e = NULL;
  vds_undoing(r->c, "rolling the file system back");
  r->c->committed = true; /* what undoes a cancelled work is not cancelled */
  if (strcmp(vds_record_text(r->record, "step"), step) != 0)
    e = vds_resizing_step(r, step);
  if (e == NULL) e = vds_shrink_back(r, undo);
  if (e == NULL) return;
  vds_left(r->c,
           "%s could not be rolled back: %s. What that needs is kept: leave %s "
           "alone, and reap when the reason is gone",
           r->t.path, e->message, r->t.path);
  error_unref(e);
  vds_resizing_keep(r);
}


/* ------------------------------------------------------------------
** What is overwritten
** ---------------------------------------------------------------- */

/* What lies beyond the new end is written elsewhere, and what was there is
   kept; tables of the file system come to that. */
static bool has_room(const vds_resizing *r, uint64_t used) {
  struct statvfs v;
  uint64_t beyond = r->fs_size - r->to;
  if (used < beyond) beyond = used;
  return statvfs(r->at, &v) == 0 &&
         (uint64_t)v.f_bavail * v.f_frsize >= 2 * beyond + UNDO_ROOM;
}


/* Beside its record, with its name. Allocated; NULL: it is done without. */
static char *undo_file(const vds_resizing *r, const vds_space *s) {
  char name[GUID_TEXT + 8];
  if (!s->undo || !has_room(r, s->used)) return NULL;
  snprintf(name, sizeof name, "%s.undo", vds_record_text(r->record, "id"));
  return path_join(r->at, name);
}


/* ------------------------------------------------------------------
** The whole
** ---------------------------------------------------------------- */

static error *shrink_fs(vds_resizing *r, const char *undo) {
  const vds_fs *fs = r->v->fs;
  error *e = NULL;
  if (r->to >= r->fs_size) return NULL;
  /* Half a shrink that cannot be rolled back is worse than a late one. */
  if (undo == NULL && (fs->can & VDS_FS_SHRINK_MOUNTED) == 0 &&
      !vds_commit(r->c, &e))
    return e;
  vds_step("shrink: begun");
  vds_phase(r->c, "shrinking the file system", 200, 950);
  e = fs->shrink(r->c, &r->t, r->mount, r->to, undo, r->lock);
  vds_step("shrink: file system");
  return e;
}


/* What it will be: whether there is memory for that is known before anything is
   changed. */
static bool report(vds_resizing *r, const wish *w, error **e) {
  vds_call *c = r->c;
  uint64_t before = r->t.is.number > 0 ? r->device : r->fs_size;
  uint64_t now = r->t.is.number > 0 ? r->part : r->to;
  c->output =
      vds_with(value_map(), "reclaimed", value_int((int64_t)(before - now)));
  c->output = vds_with(c->output, "minimum", value_int((int64_t)w->minimum));
  c->output = vds_with(c->output, "size", value_int((int64_t)now));
  if (c->output != NULL) return vds_give_output(c, e);
  *e = error_no_memory();
  return false;
}


static error *carry_out(vds_resizing *r, const wish *w, const vds_space *s) {
  char *undo = undo_file(r, s);
  error *e = vds_resizing_note(r, "shrink", "file system", undo);
  vds_step("shrink: recorded");
  if (e == NULL && !vds_stopped(r->c, &e) && report(r, w, &e)) {
    e = shrink_fs(r, undo);
    if (e == NULL && vds_commit(r->c, &e)) {
      vds_phase(r->c, "moving the partition's end", 950, 1000);
      e = vds_shrink_on(r);
    }
    if (e != NULL) back(r, undo);
  }
  mem_free(undo);
  return e;
}


static error *ready(vds_resizing *r) {
  const vds_fs *fs = r->v->fs;
  if ((fs->can & VDS_FS_SHRINK_MOUNTED) != 0) return vds_resizing_mount(r);
  if (fs->ready == NULL) return NULL;
  vds_phase(r->c, "checking", 0, 200);
  return fs->ready(r->c, &r->t, true, r->lock);
}


/* Its check is recorded, too: that program shall be waited for by whoever comes
   after us. */
static error *shrink(vds_resizing *r, wish *w) {
  vds_space space = {0};
  bool online = (r->v->fs->can & VDS_FS_SHRINK_MOUNTED) != 0;
  error *e = vds_resizing_open(r, !online);
  if (e == NULL) e = vds_resizing_measure(r);
  if (e == NULL) e = vds_resizing_note(r, "shrink", "check", NULL);
  vds_step("shrink: noted");
  if (e == NULL) e = ready(r);
  vds_step("shrink: ready");
  if (e == NULL) e = r->v->fs->space(r->c, &r->t, &space);
  if (e == NULL) e = vds_resizing_fs_size(r, &r->fs_size);
  w->minimum = space.minimum > 0 ? space.minimum : r->fs_size;
  if (e == NULL) e = plan(r, w);
  bool nothing = r->part == r->device && r->to == r->fs_size;
  if (e == NULL && !nothing) e = carry_out(r, w, &space);
  vds_resizing_forget(r);
  vds_step("shrink: forgotten");
  if (e == NULL && nothing) report(r, w, &e);
  return e;
}


error *vds_work_shrink(vds_call *c) {
  vds_resizing r = VDS_RESIZING_NONE;
  unsigned forced = 0;
  bool go = false;
  error *e = NULL;
  int64_t size = vds_integer(c, "size", 0), least = vds_integer(c, "least", 0);
  r.c = c;
  if (size < 0 || least < 0 || (size > 0 && least > size))
    return vds_error(SAROS_E_INVALIDARG,
                     "size and least: bytes that it shall have less, and of "
                     "those the fewest that will do");
  r.v = vds_volume_named(c, &e);
  if (r.v == NULL) return e;
  vds_verb verb = verb_for(r.v);
  e = can_shrink(r.v);
  if (e == NULL) e = vds_permit(c, &r.v->who, &verb, &forced, &go);
  if (e == NULL && go) {
    wish w = {(uint64_t)size, (uint64_t)least, 0};
    e = vds_end_dangers(c, &r.v->who, &verb, forced);
    if (e == NULL) e = shrink(&r, &w);
  }
  vds_resizing_close(&r);
  return e;
}


/* Nothing is claimed or locked for a question; what is mounted is asked as it
   is. */
error *vds_work_query_shrink(vds_call *c) {
  error *e = NULL;
  vds_space s = {0};
  vds_target t = VDS_TARGET_NONE;
  vds_volume *v = vds_volume_named(c, &e);
  if (v == NULL) return e;
  e = can_shrink(v);
  if (e == NULL) e = vds_target_open(&v->who, 0, &t);
  if (e == NULL) e = v->fs->space(c, &t, &s);
  vds_target_close(&t);
  mem_free(v);
  if (e != NULL) return e;
  uint64_t minimum = whole(s.minimum);
  if (s.minimum == 0 || minimum > s.size) minimum = s.size;
  c->output = vds_with(value_map(), "size", value_int((int64_t)s.size));
  c->output = vds_with(c->output, "used", value_int((int64_t)s.used));
  c->output = vds_with(c->output, "minimum", value_int((int64_t)minimum));
  return c->output != NULL ? NULL : error_no_memory();
}
