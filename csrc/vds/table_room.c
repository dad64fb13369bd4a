/*
** table_room: what is free, and where a new partition comes.
*/
#include <stdlib.h>

#include "vds/table_parts.h"

#define ALIGN_DEFAULT ((uint64_t)1 << 20)


/* ------------------------------------------------------------------
** What there is
** ---------------------------------------------------------------- */

struct fdisk_partition *vds_table_find(const vds_table *t, unsigned number) {
  struct fdisk_partition *p = NULL;
  if (number == 0 || number > fdisk_get_npartitions(t->fdisk) ||
      fdisk_get_partition(t->fdisk, number - 1, &p) != 0)
    return NULL;
  if (fdisk_partition_is_used(p) && fdisk_partition_has_start(p) &&
      fdisk_partition_has_size(p))
    return p;
  fdisk_unref_partition(p);
  return NULL;
}


static vds_extent extent_of(const vds_table *t, struct fdisk_partition *p) {
  uint64_t most = UINT64_MAX / t->sector;
  uint64_t start = fdisk_partition_get_start(p);
  uint64_t size = fdisk_partition_get_size(p);
  if (start > most) start = most;
  if (size > most - start) size = most - start;
  return (vds_extent){start * t->sector, size * t->sector};
}


bool vds_table_is_empty(const vds_table *t) {
  size_t n = fdisk_get_npartitions(t->fdisk);
  for (size_t i = 0; i < n; i++)
    if (fdisk_is_partition_used(t->fdisk, i)) return false;
  return true;
}


/* First and past the last byte that partitions may have. */
static vds_extent usable(const vds_table *t) {
  uint64_t from = fdisk_get_first_lba(t->fdisk);
  uint64_t to = fdisk_get_last_lba(t->fdisk);
  uint64_t sectors = t->size / t->sector;
  to = to < sectors ? to + 1 : sectors;
  if (from > to) from = to;
  return (vds_extent){from * t->sector, (to - from) * t->sector};
}


static int by_place(const void *a, const void *b) {
  uint64_t x = ((const vds_extent *)a)->at, y = ((const vds_extent *)b)->at;
  return (x > y) - (x < y);
}


/* All that are no logical ones: those lie in one that is here. How many there
   are, of which at most `most` are in the list. */
static size_t taken(const vds_table *t, vds_extent *list, size_t most) {
  size_t count = 0, n = fdisk_get_npartitions(t->fdisk);
  for (size_t i = 0; i < n; i++) {
    struct fdisk_partition *p = vds_table_find(t, (unsigned)i + 1);
    if (p != NULL && !fdisk_partition_is_nested(p) && count++ < most)
      list[count - 1] = extent_of(t, p);
    fdisk_unref_partition(p);
  }
  if (count > 0 && count <= most) qsort(list, count, sizeof *list, by_place);
  return count;
}


bool vds_table_has_too_many(const vds_table *t) {
  vds_extent have[VDS_EXTENTS_MOST];
  return taken(t, have, VDS_EXTENTS_MOST) > VDS_EXTENTS_MOST;
}


/* Partitions that lie over each other leave free what none of them has. Of more
   than can be listed nobody knows what they leave. */
size_t vds_table_free_extents(const vds_table *t, vds_extent *list,
                              size_t most) {
  vds_extent have[VDS_EXTENTS_MOST], all = usable(t);
  size_t count = taken(t, have, VDS_EXTENTS_MOST), found = 0;
  if (count > VDS_EXTENTS_MOST) return 0;
  uint64_t at = all.at, end = all.at + all.size;
  for (size_t i = 0; i <= count && found < most; i++) {
    uint64_t next = i < count && have[i].at < end ? have[i].at : end;
    if (next > at) list[found++] = (vds_extent){at, next - at};
    if (i < count && have[i].at + have[i].size > at)
      at = have[i].at + have[i].size;
  }
  return found;
}


uint64_t vds_table_behind(const vds_table *t, unsigned number) {
  vds_extent list[VDS_EXTENTS_MOST];
  struct fdisk_partition *p = vds_table_find(t, number);
  if (p == NULL) return 0;
  vds_extent own = extent_of(t, p);
  bool nested = fdisk_partition_is_nested(p);
  fdisk_unref_partition(p);
  size_t n = nested ? 0 : vds_table_free_extents(t, list, VDS_EXTENTS_MOST);
  for (size_t i = 0; i < n; i++)
    if (list[i].at == own.at + own.size) return list[i].size;
  return 0;
}


/* ------------------------------------------------------------------
** A place
** ---------------------------------------------------------------- */

typedef struct wish {
  uint64_t size, offset, align; /* 0: as it likes */
} wish;


static error *read_wish(const vds_call *c, const vds_table *t, wish *w) {
  int64_t size = vds_integer(c, "size", 0);
  int64_t offset = vds_integer(c, "offset", 0);
  int64_t align = vds_integer(c, "align", (int64_t)ALIGN_DEFAULT);
  if (size < 0 || offset < 0)
    return vds_error(SAROS_E_INVALIDARG,
                     "size and offset of a partition are bytes, and not "
                     "negative");
  if (size == 0 && value_get(c->options, "size") != NULL)
    return vds_error(SAROS_E_INVALIDARG,
                     "size: bytes, not 0; left out, it is all there is room "
                     "for");
  if (align == 0) return vds_error(VDS_E_ALIGN_IS_ZERO, "align: bytes, not 0");
  if (align < (int64_t)t->sector || (align & (align - 1)) != 0)
    return vds_error(VDS_E_ALIGN_NOT_A_POWER_OF_TWO,
                     "align: a power of two, and not less than a sector (%u)",
                     t->sector);
  *w = (wish){(uint64_t)size, (uint64_t)offset, (uint64_t)align};
  return NULL;
}


static uint64_t up(uint64_t n, uint64_t to) {
  return n > UINT64_MAX - to ? UINT64_MAX - UINT64_MAX % to
                             : (n + to - 1) / to * to;
}


/* Of a free extent, what a partition can have, and whether that is enough. The
   rounded size where it goes in, else all there is when that will do. */
static bool fits(const vds_table *t, const wish *w, vds_extent *e) {
  uint64_t end = e->at + e->size;
  uint64_t at = up(w->offset > e->at ? w->offset : e->at, w->align);
  if (at >= end) return false;
  uint64_t least = up(w->size, t->sector), size = up(w->size, w->align);
  if (w->size == 0) size = (end - at) / w->align * w->align;
  if (size > end - at) size = end - at;
  *e = (vds_extent){at, size};
  return size >= least && size > 0;
}


static error *no_place(const vds_table *t, const wish *w) {
  vds_extent list[VDS_EXTENTS_MOST];
  uint64_t best = 0;
  size_t n = vds_table_free_extents(t, list, VDS_EXTENTS_MOST);
  for (size_t i = 0; i < n; i++)
    if (list[i].size > best) best = list[i].size;
  if (w->offset > 0)
    return vds_error(VDS_E_INVALID_SPACE,
                     "there is no such room at %llu: somebody has that, or it "
                     "is too near to the end of the disk",
                     (unsigned long long)w->offset);
  return vds_error(VDS_E_NOT_ENOUGH_SPACE,
                   "there is no room for it: the largest free part of the "
                   "disk has %llu bytes",
                   (unsigned long long)best);
}


/* With a size: the first that is large enough; else the largest. */
error *vds_table_place(const vds_call *c, const vds_table *t, vds_extent *e) {
  vds_extent list[VDS_EXTENTS_MOST], found = {0, 0};
  wish w = {0, 0, ALIGN_DEFAULT};
  error *bad = read_wish(c, t, &w);
  if (bad != NULL) return bad;
  size_t n = vds_table_free_extents(t, list, VDS_EXTENTS_MOST);
  for (size_t i = 0; i < n; i++) {
    vds_extent one = list[i];
    if (!fits(t, &w, &one)) continue;
    if (w.offset > 0 && one.at != up(w.offset, w.align)) continue;
    if (one.size > found.size && (found.size == 0 || w.size == 0)) found = one;
  }
  if (found.size == 0) return no_place(t, &w);
  *e = found;
  return NULL;
}
