/*
** table_delete: a partition is taken from the kernel, who knows whether it is
** in use, and then from the table.
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

typedef struct removing {
  vds_table_job *j;
  unsigned number;
  vds_identity part;
  bool is;           /* the kernel has it, as `part` */
  vds_target target; /* of the partition; its lock stays while its descriptors
                        go: the kernel would take them for users of it */
} removing;


static error *what_to_remove(vds_call *c, removing *r, vds_identity *disk) {
  error *e = vds_table_object(c, disk);
  if (e != NULL) return e;
  vds_about *a = mem_zero(sizeof *a);
  if (a == NULL) return error_no_memory();
  if (disk->dev != disk->whole) {
    r->part = *disk;
    r->number = disk->number;
    r->is = true;
    e = vds_about_read(disk->whole, a);
    if (e == NULL) vds_identity_of(a, disk);
  } else {
    int64_t number = vds_integer(c, "number", 0);
    if (number < 1 || number > 1024)
      e = vds_error(
          SAROS_E_INVALIDARG,
          "number: which partition of the disk, from 1; a volume that "
          "is a whole disk has none");
    r->number = (unsigned)number;
    if (e == NULL) e = vds_table_partition(disk->dev, r->number, a, &r->is);
    if (e == NULL && r->is) vds_identity_of(a, &r->part);
  }
  mem_free(a);
  return e;
}


/* Logical ones have the numbers of their places: those behind would get other
   ones, in use or not. */
static error *removable(const vds_table *t, struct fdisk_partition *p,
                        unsigned number) {
  bool nested = fdisk_partition_is_nested(p);
  if (!nested && !fdisk_partition_is_container(p)) return NULL;
  size_t n = fdisk_get_npartitions(t->fdisk);
  for (size_t i = nested ? number : 4; i < n; i++)
    if (fdisk_is_partition_used(t->fdisk, i))
      return vds_error(VDS_E_NOT_SUPPORTED,
                       nested ? "logical partitions behind it would get other "
                                "numbers; the last one is deleted first"
                              : "it holds logical partitions; those are "
                                "deleted first");
  return NULL;
}


static error *find_in(const vds_table *t, unsigned number,
                      struct fdisk_partition **p) {
  if (t->style[0] == '\0')
    return vds_error(VDS_E_DISK_NOT_INITIALIZED, "the disk has no table");
  *p = vds_table_find(t, number);
  if (*p != NULL) return NULL;
  return vds_error(VDS_E_OBJECT_NOT_FOUND, "the table has no partition %u",
                   number);
}


/* The table must mean the same partition as the kernel. */
static error *take_from_table(removing *r) {
  vds_table *t = &r->j->table;
  struct fdisk_partition *p = NULL;
  error *e = find_in(t, r->number, &p);
  if (e != NULL) return e;
  e = removable(t, p, r->number);
  uint64_t start = fdisk_partition_get_start(p) * t->sector;
  fdisk_unref_partition(p);
  if (e != NULL) return e;
  if (r->is && start != r->part.start)
    return vds_error(VDS_E_OBJECT_OUT_OF_SYNC,
                     "the table and the kernel have different partitions %u; "
                     "attach the disk anew, or run partprobe",
                     r->number);
  t->said[0] = '\0';
  int n = fdisk_delete_partition(t->fdisk, r->number - 1);
  return n == 0 ? NULL
                : vds_table_error(t, VDS_E_CORRUPT_PARTITION_INFO,
                                  "the partition cannot be taken out", n);
}


/* Who only looks at it (udev does, when somebody has written) is waited for. */
static error *take_from_kernel(const removing *r) {
  error *e = vds_blkpg_remove(r->j->w.fd, r->number);
  uint64_t until = vds_clock() + vds_patience;
  while (e != NULL && e->code == VDS_E_DEVICE_IN_USE && vds_clock() < until) {
    error_unref(e);
    nanosleep(&(struct timespec){0, 20000000}, NULL);
    e = vds_blkpg_remove(r->j->w.fd, r->number);
  }
  vds_step("delete partition: told");
  return e;
}


static error *delete_it(removing *r, const vds_target *disk) {
  vds_table_job *j = r->j;
  const vds_slot slot = {r->number, r->part.start, r->part.size};
  bool taken = false;
  error *e = vds_table_job_read(j, disk);
  if (e == NULL) e = take_from_table(r);
  if (e == NULL) e = vds_table_job_begin(j);
  if (e == NULL && r->is) {
    e = take_from_kernel(r);
    taken = e == NULL;
  }
  if (e == NULL) e = vds_writing_do(&j->w);
  e = vds_writing_end(&j->w, e);
  if (e != NULL && taken) error_unref(vds_blkpg_add(j->w.fd, &slot));
  return e;
}


static const vds_verb removing_verb = {VDS_LOSES_VOLUME, VDS_WRITES_TABLE};

/* What the kernel has not got, nobody has: it is only taken from the table. */
static const vds_verb striking = {VDS_LOSES_NOTHING,
                                  VDS_DANGER_MOUNTED | VDS_DANGER_SWAP};


/* A plan of what cannot be found is none. */
static error *look_for(const vds_identity *disk, unsigned number) {
  vds_target d = VDS_TARGET_NONE;
  struct fdisk_partition *p = NULL;
  vds_table *t = mem_alloc(sizeof *t);
  if (t == NULL) return error_no_memory();
  *t = VDS_TABLE_NONE;
  error *e = vds_target_open(disk, 0, &d);
  if (e == NULL) e = vds_table_copy(d.fd, t);
  if (e == NULL) e = vds_table_read(d.fd, t, true);
  if (e == NULL) e = find_in(t, number, &p);
  fdisk_unref_partition(p);
  vds_table_free(t);
  mem_free(t);
  vds_target_close(&d);
  return e;
}


static error *permit_strike(vds_call *c, const removing *r,
                            const vds_identity *disk, bool *go) {
  unsigned forced = 0;
  error *e = vds_permit(c, disk, &striking, &forced, go);
  return e == NULL && !*go ? look_for(disk, r->number) : e;
}


/* Nobody has it, and nobody shall: then it is let go of but for its lock. */
static error *seize(vds_call *c, removing *r, const vds_identity *disk,
                    bool *go) {
  unsigned forced = 0;
  *go = false;
  if (!r->is) return permit_strike(c, r, disk, go);
  error *e = vds_permit(c, &r->part, &removing_verb, &forced, go);
  if (e != NULL || !*go) return e;
  if (forced == 0 || vds_commit(c, &e))
    e = vds_end_dangers(c, &r->part, &removing_verb, forced);
  if (e == NULL)
    e = vds_target_open(&r->part, VDS_OPEN_WRITE | VDS_OPEN_EXCLUSIVE,
                        &r->target);
  if (e != NULL) return e;
  vds_target_share(&r->target);
  close(r->target.fd);
  r->target.fd = -1;
  return NULL;
}


error *vds_work_delete_partition(vds_call *c) {
  vds_identity disk;
  vds_target t = VDS_TARGET_NONE;
  removing r = {.target = VDS_TARGET_NONE};
  bool go = false;
  error *e = what_to_remove(c, &r, &disk);
  if (e == NULL) e = seize(c, &r, &disk, &go);
  if (e == NULL && go) {
    /* The lock of a partition is a lock of its disk. */
    e = vds_target_open(&disk, r.is ? 0 : VDS_OPEN_WRITE, &t);
    r.j = e == NULL ? vds_table_job_new(c, &disk) : NULL;
    if (e == NULL) e = r.j != NULL ? delete_it(&r, &t) : error_no_memory();
  }
  vds_table_job_free(r.j);
  vds_target_close(&t);
  vds_target_close(&r.target);
  return e;
}
