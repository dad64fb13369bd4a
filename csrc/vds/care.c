/*
** care: a volume checked, mended, and given another label.
*/
#include <string.h>
#include <unistd.h>

#include "vds/fs.h"
#include "vds/mount.h"
#include "vds/refuse.h"
#include "vds/resize.h"
#include "vds/step.h"
#include "vds/volume.h"


/* Of a raw one there is nothing to be said; of others we know nothing. */
static error *cannot(const vds_volume *v, const char *what) {
  if (v->probe.fs[0] == '\0')
    return vds_error(VDS_E_FS_NOT_DETERMINED,
                     "there is no file system on it that is known");
  return vds_error(VDS_E_NOT_SUPPORTED, "%s cannot be %s", vds_volume_kind(v),
                   what);
}


/* ------------------------------------------------------------------
** Checked
** ---------------------------------------------------------------- */

/* A file system in use changes under who looks at it. */
static const vds_verb checking = {VDS_LOSES_NOTHING, 0};


/* Which step of a repair writes first only its program knows: it cannot be
   cancelled from the beginning. */
static error *check(vds_call *c, vds_volume *v, bool repair) {
  vds_target t;
  unsigned how = VDS_OPEN_EXCLUSIVE | (repair ? VDS_OPEN_WRITE : 0);
  error *e = vds_target_open(&v->who, how, &t);
  if (e == NULL) e = vds_volume_again(v, &t);
  if (e == NULL) e = vds_target_settle(&t); /* the device is checked */
  if (e == NULL && repair && !vds_commit(c, &e)) {
    vds_target_close(&t);
    return e;
  }
  vds_step("check: open");
  c->output = value_map();
  if (e == NULL && c->output == NULL) e = error_no_memory();
  if (e == NULL) {
    vds_phase(c, repair ? "repairing" : "checking", 0, 1000);
    e = v->fs->check(c, &t, repair, c->output, -1);
  }
  vds_step("check: done");
  vds_target_close(&t);
  return e;
}


static error *permitted(vds_call *c, vds_volume *v) {
  unsigned forced = 0;
  bool go = false;
  if (v->fs == NULL || v->fs->check == NULL) return cannot(v, "checked");
  error *e = vds_permit(c, &v->who, &checking, &forced, &go);
  if (e == NULL && go) e = vds_end_dangers(c, &v->who, &checking, forced);
  return e == NULL && go ? check(c, v, vds_flag(c, "repair")) : e;
}


error *vds_work_check(vds_call *c) {
  error *e = NULL;
  vds_volume *v = vds_volume_named(c, &e);
  if (v != NULL) e = permitted(c, v);
  mem_free(v);
  return e;
}


/* ------------------------------------------------------------------
** Labelled
** ---------------------------------------------------------------- */

static error *is_called(const vds_target *t, const char *label) {
  vds_probe *now = mem_zero(sizeof *now);
  if (now == NULL) return error_no_memory();
  error *e = vds_target_settle(t);
  if (e == NULL) e = vds_probe_fd(t->fd, now);
  if (e == NULL && strcmp(now->label, label) != 0)
    e = vds_error(VDS_E_BAD_LABEL, "%s has another label than it was given",
                  t->path);
  mem_free(now);
  return e;
}


/* Some are labelled by the kernel alone, mounted where nobody sees it. When
   they write it to the disk is their business; it is true at once. */
static error *give(vds_call *c, vds_volume *v, const char *label) {
  const unsigned by_kernel = VDS_FS_LABEL_MOUNTED | VDS_FS_GROW_MOUNTED;
  vds_target t;
  int mount = -1;
  bool online = v->mounted || (v->fs->can & by_kernel) == by_kernel;
  unsigned how = VDS_OPEN_WRITE | (online ? 0 : VDS_OPEN_EXCLUSIVE);
  error *e = vds_target_open(&v->who, how, &t);
  if (e == NULL) e = vds_volume_again(v, &t);
  if (e == NULL && online) e = vds_mount_hidden(&t, v->probe.fs, &mount);
  vds_step("label: open");
  if (e == NULL && vds_commit(c, &e)) e = v->fs->label(c, &t, mount, label);
  vds_step("label: given");
  if (e == NULL && !online) e = is_called(&t, label);
  if (mount >= 0) close(mount);
  vds_target_close(&t);
  return e;
}


static error *label(vds_call *c, vds_volume *v) {
  unsigned forced = 0;
  bool go = false;
  const char *text = NULL;
  if (v->fs == NULL || v->fs->label == NULL) return cannot(v, "labelled");
  error *e = vds_fs_label(c, v->fs, &text);
  if (text == NULL)
    return e != NULL ? e
                     : vds_error(SAROS_E_INVALIDARG, "label: a text expected");
  bool online = (v->fs->can & VDS_FS_LABEL_MOUNTED) != 0;
  const vds_verb verb = {VDS_LOSES_NOTHING, online ? VDS_DANGER_MOUNTED : 0};
  if (e == NULL) e = vds_permit(c, &v->who, &verb, &forced, &go);
  if (e == NULL && go) e = vds_end_dangers(c, &v->who, &verb, forced);
  if (e == NULL && go && forced != 0) v->mounted = false;
  return e == NULL && go ? give(c, v, text) : e;
}


error *vds_work_label(vds_call *c) {
  error *e = NULL;
  vds_volume *v = vds_volume_named(c, &e);
  if (v != NULL) e = label(c, v);
  mem_free(v);
  return e;
}
