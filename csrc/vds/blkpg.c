/*
** blkpg: the kernel is told what the table says.
*/
#include "vds/blkpg.h"

#include <blkid/blkid.h>
#include <errno.h>
#include <linux/blkpg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <time.h>

#include "vds/about.h"
#include "vds/step.h"


static int tell(int fd, int what, const vds_slot *s) {
  struct blkpg_partition p = {.start = (long long)s->start,
                              .length = (long long)s->size,
                              .pno = (int)s->number};
  struct blkpg_ioctl_arg a = {.op = what, .datalen = (int)sizeof p, .data = &p};
  return ioctl(fd, BLKPG, &a) == 0 ? 0 : errno;
}


static error *refused(int number, const vds_slot *s, const char *what) {
  char text[120];
  if (number == EBUSY)
    return vds_error(VDS_E_DEVICE_IN_USE,
                     "partition %u is in use and cannot be %s", s->number,
                     what);
  snprintf(text, sizeof text, "partition %u cannot be %s", s->number, what);
  return vds_errno(number, text, NULL);
}


error *vds_blkpg_add(int fd, const vds_slot *s) {
  int r = tell(fd, BLKPG_ADD_PARTITION, s);
  return r == 0 ? NULL : refused(r, s, "added");
}


error *vds_blkpg_resize(int fd, const vds_slot *s) {
  int r = tell(fd, BLKPG_RESIZE_PARTITION, s);
  return r == 0 ? NULL : refused(r, s, "given another size");
}


error *vds_blkpg_remove(int fd, unsigned number) {
  vds_slot s = {.number = number};
  int r = tell(fd, BLKPG_DEL_PARTITION, &s);
  return r == 0 || r == ENXIO ? NULL : refused(r, &s, "taken away");
}


error *vds_blkpg_take(int fd, unsigned number, uint64_t until) {
  error *e = vds_blkpg_remove(fd, number);
  while (e != NULL && e->code == VDS_E_DEVICE_IN_USE && vds_clock() < until) {
    error_unref(e);
    vds_step("partition: in use");
    nanosleep(&(struct timespec){0, 20000000}, NULL);
    e = vds_blkpg_remove(fd, number);
  }
  return e;
}


/* ------------------------------------------------------------------
** What the table says
** ---------------------------------------------------------------- */

static int by_number(const void *a, const void *b) {
  unsigned x = ((const vds_slot *)a)->number;
  unsigned y = ((const vds_slot *)b)->number;
  return (x > y) - (x < y);
}


static void take(blkid_partlist all, uint64_t size, vds_slot *slots,
                 size_t *count) {
  int n = blkid_partlist_numof_partitions(all);
  for (int i = 0; i < n && *count < VDS_PARTITIONS_MOST; i++) {
    blkid_partition p = blkid_partlist_get_partition(all, i);
    if (p == NULL || blkid_partition_is_extended(p)) continue;
    int number = blkid_partition_get_partno(p);
    int64_t start = blkid_partition_get_start(p);
    int64_t length = blkid_partition_get_size(p);
    if (number < 1 || number > 1024 || start < 0 || length < 1) continue;
    if ((uint64_t)start > size / 512 ||
        (uint64_t)length > size / 512 - (uint64_t)start)
      continue;
    slots[(*count)++] = (vds_slot){(unsigned)number, (uint64_t)start * 512,
                                   (uint64_t)length * 512};
  }
  qsort(slots, *count, sizeof *slots, by_number);
}


error *vds_blkpg_table(int fd, vds_slot *slots, size_t *count) {
  *count = 0;
  blkid_probe probe = blkid_new_probe();
  if (probe == NULL) return error_no_memory();
  errno = 0;
  if (blkid_probe_set_device(probe, fd, 0, 0) != 0) {
    int number = errno != 0 ? errno : EIO;
    blkid_free_probe(probe);
    return vds_errno(number, "the table cannot be read", NULL);
  }
  blkid_probe_enable_superblocks(probe, 1); /* a file system is no table */
  blkid_probe_enable_partitions(probe, 1);
  blkid_probe_set_partitions_flags(probe, BLKID_PARTS_ENTRY_DETAILS);
  blkid_loff_t size = blkid_probe_get_size(probe);
  const char *table = NULL;
  if (blkid_do_fullprobe(probe) == 0 &&
      blkid_probe_lookup_value(probe, "PTTYPE", &table, NULL) == 0) {
    blkid_partlist all = blkid_probe_get_partitions(probe);
    if (all != NULL && size > 0) take(all, (uint64_t)size, slots, count);
  }
  blkid_free_probe(probe);
  return NULL;
}


/* ------------------------------------------------------------------
** Making both the same
** ---------------------------------------------------------------- */

typedef struct known {
  vds_slot slots[256];
  size_t count;
} known;


static error *note(void *context, const vds_about *a) {
  known *k = context;
  if (k->count < 256)
    k->slots[k->count++] = (vds_slot){a->number, a->start, a->size};
  return NULL;
}


static const vds_slot *find(const vds_slot *slots, size_t count,
                            unsigned number) {
  for (size_t i = 0; i < count; i++)
    if (slots[i].number == number) return &slots[i];
  return NULL;
}


static void first(error **e, error *other) {
  if (*e == NULL)
    *e = other;
  else
    error_unref(other);
}


static error *sync_all(int fd, const known *k, const vds_slot *want,
                       size_t count) {
  error *e = NULL;
  uint64_t until = vds_clock() + vds_patience;
  for (size_t i = 0; i < k->count; i++) {
    const vds_slot *is = &k->slots[i];
    const vds_slot *to = find(want, count, is->number);
    if (to == NULL || to->start != is->start)
      first(&e, vds_blkpg_take(fd, is->number, until));
    else if (to->size < is->size)
      first(&e, vds_blkpg_resize(fd, to));
  }
  for (size_t i = 0; i < count; i++) {
    const vds_slot *is = find(k->slots, k->count, want[i].number);
    if (is != NULL && is->start == want[i].start) {
      if (is->size < want[i].size) first(&e, vds_blkpg_resize(fd, &want[i]));
    } else {
      first(&e, vds_blkpg_add(fd, &want[i]));
    }
  }
  return e;
}


error *vds_blkpg_sync(int fd, dev_t whole) {
  vds_slot *want = mem_alloc(VDS_PARTITIONS_MOST * sizeof *want);
  known *k = mem_zero(sizeof *k);
  size_t count = 0;
  if (want == NULL || k == NULL) {
    mem_free(want);
    mem_free(k);
    return error_no_memory();
  }
  error *e = vds_blkpg_table(fd, want, &count);
  if (e == NULL) e = vds_about_partitions(whole, note, k);
  if (e == NULL) e = sync_all(fd, k, want, count);
  mem_free(want);
  mem_free(k);
  return e;
}
