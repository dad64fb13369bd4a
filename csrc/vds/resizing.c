/*
** resizing: the volume, its disk and its record, while it gets another size.
*/
#include "vds/resizing.h"

#include <errno.h>
#include <linux/btrfs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "vds/fs_parts.h"
#include "vds/mount.h"
#include "vds/record.h"
#include "vds/step.h"
#include "vds/table.h"


/* ------------------------------------------------------------------
** Open
** ---------------------------------------------------------------- */

/* The disk is only named: who changes its table opens and locks it by himself
   (table.h). */
error *vds_resizing_open(vds_resizing *r, bool alone) {
  const vds_identity *who = &r->v->who;
  unsigned how = VDS_OPEN_WRITE | (alone ? VDS_OPEN_EXCLUSIVE : 0);
  error *e = vds_target_open(who, how, &r->t);
  if (e == NULL && who->number > 0)
    e = vds_target_open(who, VDS_OPEN_DISK, &r->disk);
  if (e == NULL) e = vds_volume_again(r->v, &r->t);
  return e;
}


error *vds_resizing_mount(vds_resizing *r) {
  return vds_mount_hidden(&r->t, r->v->probe.fs, &r->mount);
}


void vds_resizing_close(vds_resizing *r) {
  if (r->mount >= 0) close(r->mount);
  vds_target_close(&r->t);
  vds_target_close(&r->disk);
  if (r->lock >= 0) close(r->lock);
  value_free(r->record);
  mem_free(r->at);
  mem_free(r->v);
  *r = VDS_RESIZING_NONE;
}


/* ------------------------------------------------------------------
** Sizes
** ---------------------------------------------------------------- */

/* btrfs has a size for each of its devices; this one's is in its own super
   block. */
static error *btrfs_size(const vds_resizing *r, uint64_t *size) {
  unsigned char id[8], total[8];
  struct btrfs_ioctl_dev_info_args info = {0};
  if (pread(r->t.fd, id, 8, 65536 + 0xC9) != 8 ||
      pread(r->t.fd, total, 8, 65536 + 0xD1) != 8)
    return vds_errno(errno, "the super block cannot be read", r->t.path);
  *size = 0;
  for (int i = 8; i-- > 0;) {
    info.devid = info.devid << 8 | id[i];
    *size = *size << 8 | total[i];
  }
  if (r->mount < 0) return NULL;
  if (ioctl(r->mount, BTRFS_IOC_DEV_INFO, &info) != 0)
    return vds_errno(errno, "the file system does not tell its size",
                     r->t.path);
  *size = info.total_bytes;
  return NULL;
}


/* What is mounted is asked itself: its super block on the disk is written when
   it likes. */
error *vds_resizing_fs_size(const vds_resizing *r, uint64_t *size) {
  vds_usage u;
  if (r->v->fs == NULL) {
    *size = r->t.is.size;
    return NULL;
  }
  if (strcmp(r->v->fs->name, "btrfs") == 0) return btrfs_size(r, size);
  if (strcmp(r->v->fs->name, "xfs") == 0 && r->mount >= 0)
    return vds_xfs_size(&r->t, r->mount, size);
  if (!vds_probe_usage(r->t.fd, &r->v->probe, &u))
    return vds_error(VDS_E_VOLUME_NOT_HEALTHY,
                     "the super block of %s does not tell a size that could "
                     "be; check it first",
                     r->t.path);
  *size = u.size;
  return NULL;
}


error *vds_resizing_measure(vds_resizing *r) {
  r->device = r->t.is.size;
  r->room = 0;
  error *e = vds_resizing_fs_size(r, &r->fs_size);
  if (e == NULL && r->fs_size > r->device)
    e = vds_error(VDS_E_VOLUME_NOT_HEALTHY,
                  "the file system on %s says that it is larger than what it "
                  "lies on; check it first",
                  r->t.path);
  if (e == NULL && r->t.is.number > 0)
    e = vds_table_room(&r->disk, r->t.is.number, &r->room);
  r->part = r->device;
  r->to = r->fs_size;
  return e;
}


error *vds_resizing_partition(vds_resizing *r, uint64_t size) {
  if (r->t.is.number == 0 || size == r->t.is.size) return NULL;
  error *e = vds_table_resize(r->c, &r->disk, r->t.is.number, size);
  if (e == NULL) e = vds_target_changed(&r->t);
  return e;
}


/* ------------------------------------------------------------------
** The record
** ---------------------------------------------------------------- */

static bool describe(const vds_resizing *r, value *record, const char *undo) {
  value *object = value_map();
  if (object == NULL || !vds_identity_put(object, &r->t.is)) {
    value_free(object);
    return false;
  }
  return value_put(record, "object", object) &&
         value_put(record, "path", value_text(r->t.path)) &&
         value_put(record, "fs", value_text(r->v->probe.fs)) &&
         value_put(record, "uuid", value_text(r->v->probe.uuid)) &&
         value_put(record, "size_before", value_int((int64_t)r->device)) &&
         value_put(record, "size", value_int((int64_t)r->part)) &&
         value_put(record, "fs_before", value_int((int64_t)r->fs_size)) &&
         value_put(record, "fs_size", value_int((int64_t)r->to)) &&
         (undo == NULL || value_put(record, "undo", value_text(undo)));
}


error *vds_resizing_note(vds_resizing *r, const char *kind, const char *step,
                         const char *undo) {
  error *e = NULL;
  if (r->at == NULL) r->at = vds_records_at(vds_text(r->c, "state_dir"), &e);
  if (r->at == NULL) return e;
  if (r->record == NULL) r->record = vds_record_new(kind);
  if (r->record == NULL || !describe(r, r->record, undo) ||
      !value_put(r->record, "step", value_text(step)))
    return error_no_memory();
  e = vds_record_save(r->at, r->record);
  if (e == NULL && r->lock < 0) r->lock = vds_record_lock(r->at, r->record, &e);
  return e;
}


error *vds_resizing_step(vds_resizing *r, const char *step) {
  if (!value_put(r->record, "step", value_text(step))) return error_no_memory();
  return vds_record_save(r->at, r->record);
}


void vds_resizing_keep(vds_resizing *r) {
  error *e = value_put(r->record, "state", value_text("failed"))
                 ? vds_record_save(r->at, r->record)
                 : error_no_memory();
  if (e != NULL)
    vds_left(r->c, "it can be reaped when this process has ended (%s)",
             e->message);
  error_unref(e);
  value_free(r->record);
  r->record = NULL;
}


/* What it could be undone by goes first: without its record nobody would know
   of it. */
void vds_resizing_forget(vds_resizing *r) {
  if (r->record == NULL) return;
  const char *undo = vds_record_text(r->record, "undo");
  if (*undo != '\0') unlink(undo);
  vds_step("resize: undo file removed");
  error *e = vds_record_remove(r->at, r->record);
  if (e != NULL) vds_left(r->c, "%s", e->message);
  error_unref(e);
  value_free(r->record);
  r->record = NULL;
}
