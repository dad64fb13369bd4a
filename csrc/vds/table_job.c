/*
** table_job: the disk, its table, and the write, together: what every call that
** changes a table begins with.
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

vds_table_job *vds_table_job_new(vds_call *c, const vds_identity *disk) {
  vds_table_job *j = mem_zero(sizeof *j);
  if (j == NULL) return NULL;
  j->c = c;
  j->disk = *disk;
  j->table = VDS_TABLE_NONE;
  j->w = VDS_WRITING_NONE;
  j->w.c = c;
  return j;
}


void vds_table_job_free(vds_table_job *j) {
  if (j == NULL) return;
  vds_table_free(&j->table);
  vds_changes_free(&j->w.changes);
  if (j->w.fd >= 0) close(j->w.fd);
  mem_free(j);
}


/* The disk that is open as `t`, once more: for writing, and locked against
   every other writer of its table; of the system's disk not at all. What died
   in it is mended before it is read. */
error *vds_table_job_open(vds_table_job *j, const vds_target *t) {
  error *e = vds_refuse_table(j->disk.dev);
  if (e == NULL) e = vds_target_node(t, O_RDWR, &j->w.fd);
  if (e == NULL) e = vds_table_lock(j->w.fd, t->path);
  if (e == NULL) e = vds_table_mend(j->c, j->w.fd, &j->disk);
  if (e == NULL) e = vds_probe_fd(j->w.fd, &j->probe);
  if (e == NULL) e = vds_table_copy(j->w.fd, &j->table);
  return e;
}


error *vds_table_job_read(vds_table_job *j, const vds_target *t) {
  error *e = vds_table_job_open(j, t);
  return e == NULL ? vds_table_read(j->w.fd, &j->table, false) : e;
}


/* Everything up to the first change of the disk. */
error *vds_table_job_begin(vds_table_job *j) {
  error *e = vds_table_store(&j->table);
  if (e == NULL) e = vds_changes_find(j->w.fd, &j->table, &j->w.changes);
  if (e == NULL) e = vds_writing_begin(&j->w, &j->disk);
  return e;
}


/* What is damaged is not made larger, nor what is larger than we can see. */
error *vds_table_sound(vds_table_job *j) {
  if (vds_table_has_too_many(&j->table))
    return vds_error(VDS_E_NOT_SUPPORTED,
                     "the table has more than %d partitions; nothing is added "
                     "to it, and none of them made larger or smaller",
                     VDS_EXTENTS_MOST);
  j->table.said[0] = '\0';
  int r = fdisk_verify_disklabel(j->table.fdisk);
  if (r <= 0) return NULL;
  return vds_table_error(&j->table, VDS_E_CORRUPT_PARTITION_INFO,
                         "the table is damaged, and nothing is added to it", r);
}


error *vds_table_object(const vds_call *c, vds_identity *who) {
  if (vds_identity_get(value_get(c->options, "object"), who)) return NULL;
  return vds_error(SAROS_E_INVALIDARG, "object: a disk or a volume expected");
}


error *vds_table_disk(const vds_call *c, vds_identity *who) {
  error *e = vds_table_object(c, who);
  if (e == NULL && who->dev != who->whole)
    e = vds_error(SAROS_E_INVALIDARG,
                  "object: a disk expected, and this is one of its partitions");
  return e;
}


error *vds_table_anew(vds_table_job *j, const char *style) {
  error *e =
      vds_changes_wipe(j->w.fd, &j->table, 0, j->table.size, &j->w.changes);
  if (e == NULL)
    e = vds_table_make(&j->table, style, vds_text(j->c, "table_uuid"));
  return e;
}


typedef struct seeking {
  unsigned number;
  vds_about *found;
  bool is;
} seeking;


static error *compare_number(void *context, const vds_about *a) {
  seeking *s = context;
  if (a->number != s->number) return NULL;
  s->is = true;
  s->found->dev = a->dev;
  return NULL;
}


/* What the kernel has under this number. False: nothing. */
error *vds_table_partition(dev_t disk, unsigned number, vds_about *a,
                           bool *is) {
  seeking s = {number, a, false};
  error *e = vds_about_partitions(disk, compare_number, &s);
  *is = e == NULL && s.is;
  return *is ? vds_about_read(a->dev, a) : e;
}
