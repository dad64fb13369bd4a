/*
** table: a new table; and another end for a partition, for who makes file
** systems larger or smaller.
*/
#include "vds/table.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "vds/blkpg.h"
#include "vds/refuse.h"
#include "vds/step.h"
#include "vds/table_parts.h"

/* ------------------------------------------------------------------
** initialize
** ---------------------------------------------------------------- */

static const vds_verb initializing = {VDS_LOSES_DISK, 0};


static error *has_one(void *context, const vds_about *a) {
  (void)a;
  *(bool *)context = true;
  return NULL;
}


/* Of a table that nobody can read the kernel may know partitions; of one that
   others can read, only an empty hybrid is known to have none. */
static error *count_unread(dev_t disk, const vds_table *t, const error *why,
                           bool *any) {
  *any = why->code == VDS_E_PARTITION_STYLE_MISMATCH &&
         (strcmp(t->style, "gpt") != 0 || !vds_table_is_empty(t));
  return vds_about_partitions(disk, has_one, any);
}


static error *refuse_used(int fd, dev_t disk) {
  bool any = false;
  vds_table *t = mem_alloc(sizeof *t);
  if (t == NULL) return error_no_memory();
  error *e = vds_table_copy(fd, t);
  error *why = e == NULL ? vds_table_read(fd, t, true) : NULL;
  if (why != NULL && why->code != VDS_E_CORRUPT_PARTITION_INFO &&
      why->code != VDS_E_PARTITION_STYLE_MISMATCH) {
    e = why;
    why = NULL;
  }
  if (e == NULL && why != NULL)
    e = count_unread(disk, t, why, &any);
  else if (e == NULL)
    any = t->style[0] != '\0' && !vds_table_is_empty(t);
  if (e == NULL && any)
    e = vds_error(VDS_E_OPERATION_DENIED,
                  "the disk has partitions%s; clean the disk first",
                  why != NULL ? ", or a table that cannot be read here" : "");
  error_unref(why);
  vds_table_free(t);
  mem_free(t);
  return e;
}


static error *initialize(vds_table_job *j, const vds_target *t,
                         const char *style) {
  error *e = vds_table_job_open(j, t);
  if (e == NULL) e = refuse_used(j->w.fd, j->disk.dev);
  if (e == NULL) e = vds_table_anew(j, style);
  if (e == NULL) e = vds_table_job_begin(j);
  if (e == NULL) e = vds_writing_do(&j->w);
  if (e == NULL) e = vds_blkpg_sync(j->w.fd, j->disk.dev);
  vds_step("initialize: told");
  return vds_writing_end(&j->w, e);
}


/* Before anything is ended for it, or a plan says that it would be done. */
static error *look_before(const vds_identity *who) {
  vds_target t = VDS_TARGET_NONE;
  error *e = vds_target_open(who, 0, &t);
  if (e == NULL) e = refuse_used(t.fd, who->dev);
  vds_target_close(&t);
  return e;
}


/* What is refused anyhow may be a disk that cannot even be read. */
static error *plan_initialize(vds_call *c, const vds_identity *who) {
  bool allowed = value_boolean(value_get(c->output, "allowed"), false);
  error *e = look_before(who);
  if (e == NULL || (allowed && e->code != VDS_E_OPERATION_DENIED)) return e;
  bool good = e->code != VDS_E_OPERATION_DENIED ||
              vds_plan_denies(c, "table", e->message);
  error_unref(e);
  return good ? NULL : error_no_memory();
}


static error *style_of(const vds_call *c, const char **style) {
  *style = vds_text(c, "style");
  if (*style == NULL) *style = "gpt";
  if (strcmp(*style, "gpt") == 0 || strcmp(*style, "mbr") == 0) return NULL;
  return vds_error(SAROS_E_INVALIDARG,
                   "style: \"gpt\" or \"mbr\" expected, not \"%.40s\"", *style);
}


error *vds_work_initialize(vds_call *c) {
  const char *style;
  vds_identity who;
  vds_target t = VDS_TARGET_NONE;
  unsigned forced = 0;
  bool go = false;
  error *e = vds_table_disk(c, &who);
  if (e == NULL) e = style_of(c, &style);
  if (e == NULL) e = vds_permit(c, &who, &initializing, &forced, &go);
  if (e == NULL && !go) return plan_initialize(c, &who);
  if (e == NULL) e = look_before(&who);
  if (e != NULL) return e;
  if (forced == 0 || vds_commit(c, &e))
    e = vds_end_dangers(c, &who, &initializing, forced);
  if (e == NULL)
    e = vds_target_open(&who, VDS_OPEN_WRITE | VDS_OPEN_EXCLUSIVE, &t);
  vds_table_job *j = e == NULL ? vds_table_job_new(c, &who) : NULL;
  if (e == NULL) e = j != NULL ? initialize(j, &t, style) : error_no_memory();
  vds_table_job_free(j);
  vds_target_close(&t);
  return e;
}


/* ------------------------------------------------------------------
** For who makes file systems larger or smaller
** ---------------------------------------------------------------- */

error *vds_table_room(const vds_target *disk, unsigned number, uint64_t *room) {
  vds_table *t = mem_alloc(sizeof *t);
  *room = 0;
  if (t == NULL) return error_no_memory();
  error *e = vds_table_copy(disk->fd, t);
  if (e == NULL) e = vds_table_read(disk->fd, t, false);
  if (e == NULL && t->style[0] != '\0') *room = vds_table_behind(t, number);
  vds_table_free(t);
  mem_free(t);
  return e;
}


static error *other_end(vds_table_job *j, unsigned number, uint64_t size,
                        vds_slot *slot) {
  vds_table *t = &j->table;
  struct fdisk_partition *p =
      t->style[0] != '\0' ? vds_table_find(t, number) : NULL;
  if (p == NULL)
    return vds_error(VDS_E_OBJECT_NOT_FOUND, "the table has no partition %u",
                     number);
  uint64_t is = fdisk_partition_get_size(p) * t->sector;
  *slot = (vds_slot){number, fdisk_partition_get_start(p) * t->sector, size};
  bool nested = fdisk_partition_is_nested(p) || fdisk_partition_is_container(p);
  fdisk_unref_partition(p);
  if (nested)
    return vds_error(VDS_E_NOT_SUPPORTED,
                     "partition %u is a logical or an extended one, whose end "
                     "is not moved",
                     number);
  if (size > is && size - is > vds_table_behind(t, number))
    return vds_error(VDS_E_NOT_ENOUGH_SPACE,
                     "there is no room behind partition %u", number);
  p = fdisk_new_partition();
  if (p == NULL) return error_no_memory();
  int r = fdisk_partition_set_size(p, size / t->sector);
  if (r == 0) r = fdisk_partition_size_explicit(p, 1);
  t->said[0] = '\0';
  if (r == 0) r = fdisk_set_partition(t->fdisk, number - 1, p);
  fdisk_unref_partition(p);
  return r == 0 ? NULL
                : vds_table_error(t, VDS_E_INVALID_SPACE,
                                  "the partition cannot have that end", r);
}


static error *resize(vds_table_job *j, const vds_target *disk, unsigned number,
                     uint64_t size) {
  vds_slot slot;
  error *e = vds_table_job_read(j, disk);
  if (e == NULL) e = vds_table_sound(j);
  if (e == NULL && (size == 0 || size % j->table.sector != 0))
    e = vds_error(SAROS_E_INVALIDARG, "a partition has whole sectors of %u",
                  j->table.sector);
  if (e == NULL) e = other_end(j, number, size, &slot);
  if (e == NULL) e = vds_table_job_begin(j);
  if (e == NULL) e = vds_writing_do(&j->w);
  if (e == NULL) e = vds_blkpg_resize(j->w.fd, &slot);
  vds_step("resize partition: told");
  return vds_writing_end(&j->w, e);
}


error *vds_table_resize(vds_call *c, const vds_target *disk, unsigned number,
                        uint64_t size) {
  vds_table_job *j = vds_table_job_new(c, &disk->is);
  error *e = j != NULL ? resize(j, disk, number, size) : error_no_memory();
  vds_table_job_free(j);
  return e;
}
