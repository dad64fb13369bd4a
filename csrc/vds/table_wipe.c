/*
** table_wipe: signatures that would come to light again, found without being
** touched: libblkid hides in memory what it was told to wipe.
*/
#include <blkid/blkid.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "vds/table_parts.h"

enum { SIGNATURES_MOST = 64, MAGIC_MOST = 512 };


static bool where(blkid_probe probe, const char *magic, const char *offset,
                  uint64_t *at, size_t *size) {
  const char *text;
  if (blkid_probe_lookup_value(probe, magic, NULL, size) != 0 ||
      blkid_probe_lookup_value(probe, offset, &text, NULL) != 0)
    return false;
  *at = strtoull(text, NULL, 10);
  return *size > 0 && *size <= MAGIC_MOST;
}


static bool in_image(const vds_table *t, uint64_t at) {
  for (size_t i = 0; i < t->copied; i++)
    if (at >= t->copies[i].from && at < t->copies[i].to) return true;
  return false;
}


/* The new bytes of a sector that is in the list already, or NULL. */
static unsigned char *listed(vds_changes *all, uint64_t at) {
  for (size_t i = 0; i < all->count; i++)
    if (at >= all->items[i].at && at - all->items[i].at < all->items[i].size)
      return all->items[i].after + (at - all->items[i].at);
  return NULL;
}


/* Zeros in one sector: in the image, or as a change of its own. */
static error *put_zeros(int fd, vds_table *t, uint64_t sector, size_t from,
                        size_t size, vds_changes *all) {
  unsigned char before[4096], after[4096];
  static const unsigned char zeros[4096];
  if (sector >= t->size) return NULL;
  if (in_image(t, sector)) {
    if (pwrite(t->image, zeros, size, (off_t)(sector + from)) == (ssize_t)size)
      return NULL;
    return vds_errno(errno, "there is no memory for the table", NULL);
  }
  unsigned char *there = listed(all, sector);
  if (there != NULL) {
    memset(there + from, 0, size);
    return NULL;
  }
  if (pread(fd, before, t->sector, (off_t)sector) != (ssize_t)t->sector)
    return vds_errno(EIO, "the disk cannot be read", NULL);
  memcpy(after, before, t->sector);
  memset(after + from, 0, size);
  return vds_changes_add(all, sector, t->sector, before, after)
             ? NULL
             : error_no_memory();
}


static error *take_away(int fd, vds_table *t, uint64_t at, size_t size,
                        vds_changes *all) {
  error *e = NULL;
  for (uint64_t end = at + size; e == NULL && at < end;) {
    size_t from = (size_t)(at % t->sector), n = t->sector - from;
    if (n > end - at) n = (size_t)(end - at);
    e = put_zeros(fd, t, at - from, from, n, all);
    at += n;
  }
  return e;
}


static error *next(blkid_probe probe, int fd, vds_table *t, uint64_t from,
                   vds_changes *all) {
  uint64_t at;
  size_t size;
  error *e = NULL;
  if (where(probe, "SBMAGIC", "SBMAGIC_OFFSET", &at, &size) ||
      where(probe, "PTMAGIC", "PTMAGIC_OFFSET", &at, &size))
    e = take_away(fd, t, from + at, size, all);
  if (e == NULL && blkid_do_wipe(probe, 1) != 0)
    e = vds_errno(EIO, "the signatures on the disk cannot be read", NULL);
  return e;
}


error *vds_changes_wipe(int fd, vds_table *t, uint64_t from, uint64_t size,
                        vds_changes *all) {
  error *e = NULL;
  blkid_probe probe = blkid_new_probe();
  if (probe == NULL) return error_no_memory();
  posix_fadvise(fd, (off_t)from, (off_t)size, POSIX_FADV_DONTNEED);
  errno = 0;
  if (blkid_probe_set_device(probe, fd, (blkid_loff_t)from,
                             (blkid_loff_t)size) != 0) {
    e = vds_errno(errno != 0 ? errno : EIO, "the disk cannot be looked into",
                  NULL);
    blkid_free_probe(probe);
    return e;
  }
  blkid_probe_enable_superblocks(probe, 1);
  blkid_probe_set_superblocks_flags(
      probe, BLKID_SUBLKS_MAGIC | BLKID_SUBLKS_TYPE | BLKID_SUBLKS_BADCSUM);
  blkid_probe_enable_partitions(probe, 1);
  blkid_probe_set_partitions_flags(probe,
                                   BLKID_PARTS_MAGIC | BLKID_PARTS_FORCE_GPT);
  for (int i = 0; e == NULL && i < SIGNATURES_MOST; i++) {
    if (blkid_do_probe(probe) != 0) break;
    e = next(probe, fd, t, from, all);
  }
  blkid_free_probe(probe);
  return e;
}
