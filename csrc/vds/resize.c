/*
** resize: a volume made larger, its partition and its file system together.
*/
#include "vds/resize.h"

#include "vds/fs_parts.h"
#include "vds/refuse.h"
#include "vds/resizing.h"
#include "vds/step.h"

/* What is mounted grows under those who use it. */
static const vds_verb growing = {VDS_LOSES_NOTHING,
                                 VDS_DANGER_MOUNTED | VDS_WRITES_TABLE};


static error *can_grow(const vds_volume *v) {
  if (v->fs != NULL ? v->fs->grow != NULL : v->probe.fs[0] == '\0') return NULL;
  return vds_error(VDS_E_CANNOT_EXTEND,
                   "what is on it (%s) cannot be made larger",
                   vds_volume_kind(v));
}


/* Bytes behind it, or those of its own that its file system leaves unused. */
static error *plan(vds_resizing *r, uint64_t more, bool *nothing) {
  uint64_t slack = r->device > r->fs_size ? r->device - r->fs_size : 0;
  if (slack < VDS_MIB) slack = 0;
  *nothing = more == 0 && r->room + slack == 0;
  if (more > r->room + slack)
    return vds_error(VDS_E_NOT_ENOUGH_SPACE,
                     "there are %llu free bytes behind %s, and %llu are asked "
                     "for",
                     (unsigned long long)(r->room + slack), r->t.path,
                     (unsigned long long)more);
  if (more > 0 && more <= slack) {
    r->to = r->fs_size + more;
    return NULL;
  }
  uint64_t want = more == 0 ? r->room : more - slack;
  want = (want + VDS_MIB - 1) & ~(VDS_MIB - 1);
  r->part = r->device + (want < r->room ? want : r->room);
  r->to = r->part;
  return NULL;
}


/* The old end, unless the file system is beyond it by now. */
static void back(vds_resizing *r) {
  uint64_t size = 0;
  vds_undoing(r->c, "taking back the partition's end");
  error *e = vds_resizing_fs_size(r, &size);
  if (e == NULL && size <= r->device) e = vds_resizing_partition(r, r->device);
  vds_step("extend: partition taken back");
  if (e != NULL)
    vds_left(r->c, "the partition of %s is larger than its file system: %s",
             r->t.path, e->message);
  error_unref(e);
}


static error *grow(vds_resizing *r) {
  if (r->v->fs == NULL || r->to <= r->fs_size) return NULL;
  vds_phase(r->c, "growing the file system", 100, 1000);
  return r->v->fs->grow(r->c, &r->t, r->mount, r->to, r->lock);
}


/* Whether there is memory for that is known before anything is changed. */
static bool report(vds_resizing *r, uint64_t fs_size, error **e) {
  vds_call *c = r->c;
  value *all = vds_with(value_map(), "size", value_int((int64_t)r->part));
  all = vds_with(all, "fs_size", value_int((int64_t)fs_size));
  all = vds_with(all, "added", value_int((int64_t)(fs_size - r->fs_size)));
  if (all == NULL) *e = error_no_memory();
  if (all == NULL) return false;
  value_free(c->output);
  c->output = all;
  return vds_give_output(c, e);
}


/* A file system has whole blocks of its own: that can be a little less than
   what was foreseen. What is done is done, also when there is no memory to say
   it better. */
static void report_again(vds_resizing *r) {
  uint64_t size = 0;
  error *e = vds_resizing_fs_size(r, &size);
  if (e == NULL && size != r->to) report(r, size, &e);
  r->c->given = true;
  error_unref(e);
}


static error *carry_out(vds_resizing *r) {
  vds_call *c = r->c;
  error *e = vds_resizing_note(r, "extend", "partition", NULL);
  vds_step("extend: recorded");
  if (e == NULL && !vds_stopped(c, &e) && report(r, r->to, &e)) {
    vds_phase(c, "moving the partition's end", 50, 100);
    e = vds_resizing_partition(r, r->part);
    vds_step("extend: partition");
    if (e == NULL && vds_commit(c, &e)) {
      vds_step("extend: committed");
      e = grow(r);
      if (e == NULL) report_again(r);
      vds_step("extend: grown");
    }
    if (e != NULL) back(r);
  }
  vds_resizing_forget(r);
  vds_step("extend: forgotten");
  return e;
}


/* A journal that is not read yet, or a check that is due, is found before
   anything is changed. */
static error *ready(vds_resizing *r) {
  const vds_fs *fs = r->v->fs;
  if (fs == NULL) return NULL;
  if (r->v->mounted || (fs->can & VDS_FS_GROW_MOUNTED) != 0)
    return vds_resizing_mount(r);
  if (fs->ready == NULL) return NULL;
  vds_phase(r->c, "checking", 0, 50);
  return fs->ready(r->c, &r->t, false, -1);
}


static error *extend(vds_resizing *r, uint64_t more) {
  bool nothing = false;
  const vds_volume *v = r->v;
  bool online =
      v->fs != NULL && (v->mounted || (v->fs->can & VDS_FS_GROW_MOUNTED) != 0);
  error *e = vds_resizing_open(r, !online);
  if (e == NULL) e = ready(r);
  vds_step("extend: ready");
  if (e == NULL) e = vds_resizing_measure(r);
  if (e == NULL) e = plan(r, more, &nothing);
  if (e == NULL && !nothing) e = carry_out(r);
  if (e == NULL && nothing) report(r, r->fs_size, &e);
  if (e == NULL && nothing) r->c->code = 1; /* S_FALSE */
  return e;
}


error *vds_work_extend(vds_call *c) {
  vds_resizing r = VDS_RESIZING_NONE;
  unsigned forced = 0;
  bool go = false;
  error *e = NULL;
  int64_t more = vds_integer(c, "size", 0);
  r.c = c;
  if (more < 0)
    return vds_error(SAROS_E_INVALIDARG,
                     "size: the bytes that it shall have more, or nothing for "
                     "all there are");
  r.v = vds_volume_named(c, &e);
  if (r.v == NULL) return e;
  e = vds_permit(c, &r.v->who, &growing, &forced, &go);
  if (e == NULL && go) e = can_grow(r.v);
  if (e == NULL && go) e = extend(&r, (uint64_t)more);
  vds_resizing_close(&r);
  return e;
}
