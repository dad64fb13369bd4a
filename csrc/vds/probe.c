/*
** probe: libblkid over one open device.
*/
#include "vds/probe.h"

#include <blkid/blkid.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

enum { SIGNATURES_MOST = 64 };

#define EDGE ((uint64_t)512 << 10) /* of each end, which ZFS may say it in */


static void take(blkid_probe probe, const char *name, char *text, size_t room) {
  const char *found;
  size_t size;
  text[0] = '\0';
  if (blkid_probe_lookup_value(probe, name, &found, &size) != 0) return;
  if (size > 0 && found[size - 1] == '\0') size--;
  if (size >= room) size = room - 1;
  memcpy(text, found, size);
  text[size] = '\0';
}


/* XFS says in its super block that mkfs has not come to its end: sb_inprogress,
   one byte. */
static bool in_progress(int fd, uint64_t from, const vds_probe *p) {
  unsigned char byte = 0;
  return strcmp(p->fs, "xfs") == 0 &&
         pread(fd, &byte, 1, (off_t)from + 126) == 1 && byte != 0;
}


/* How many devices a btrfs says that it has: num_devices in its super block. */
static unsigned devices_of(int fd, uint64_t from, const vds_probe *p) {
  unsigned char n[8];
  if (strcmp(p->fs, "btrfs") != 0 ||
      pread(fd, n, sizeof n, (off_t)from + 65536 + 0x88) != 8)
    return 0;
  bool many = n[1] != 0 || n[2] != 0 || n[3] != 0 || n[4] != 0 || n[5] != 0 ||
              n[6] != 0 || n[7] != 0;
  return many ? UINT8_MAX : n[0];
}


static void found(blkid_probe probe, vds_probe *p) {
  char usage[32];
  take(probe, "TYPE", p->fs, sizeof p->fs);
  take(probe, "LABEL", p->label, sizeof p->label);
  take(probe, "UUID", p->uuid, sizeof p->uuid);
  take(probe, "UUID_SUB", p->member, sizeof p->member);
  take(probe, "PTTYPE", p->table, sizeof p->table);
  take(probe, "USAGE", usage, sizeof usage);
  p->raid = strcmp(usage, "raid") == 0;
  p->crypto = strcmp(usage, "crypto") == 0;
}


/* libblkid has reading ahead turned off, and asks for a page at a time. */
static void ask_ahead(int fd, uint64_t from, uint64_t size) {
  uint64_t edge = size < EDGE ? size : EDGE;
  posix_fadvise(fd, (off_t)from, (off_t)edge, POSIX_FADV_WILLNEED);
  posix_fadvise(fd, (off_t)(from + size - edge), (off_t)edge,
                POSIX_FADV_WILLNEED);
}


void vds_probe_ahead(int fd) {
  uint64_t size;
  if (ioctl(fd, BLKGETSIZE64, &size) == 0) ask_ahead(fd, 0, size);
}


static blkid_probe begin(int fd, uint64_t from, uint64_t size, error **e) {
  blkid_probe probe = blkid_new_probe();
  errno = 0;
  if (probe != NULL && blkid_probe_set_device(probe, fd, (blkid_loff_t)from,
                                              (blkid_loff_t)size) == 0)
    return probe;
  *e = probe == NULL ? error_no_memory()
                     : vds_errno(errno != 0 ? errno : EIO,
                                 "the device cannot be looked into", NULL);
  blkid_free_probe(probe);
  return NULL;
}


static void set_look(blkid_probe probe, char *only) {
  char *names[] = {only, NULL};
  blkid_probe_enable_superblocks(probe, 1);
  if (only != NULL)
    blkid_probe_filter_superblocks_type(probe, BLKID_FLTR_ONLYIN, names);
  blkid_probe_set_superblocks_flags(
      probe, BLKID_SUBLKS_LABEL | BLKID_SUBLKS_UUID | BLKID_SUBLKS_TYPE |
                 BLKID_SUBLKS_USAGE);
  blkid_probe_enable_partitions(probe, only == NULL);
}


static error *look_with(blkid_probe probe, uint64_t from, vds_probe *p) {
  int fd = blkid_probe_get_fd(probe);
  errno = 0;
  int r = blkid_do_safeprobe(probe);
  if (r == 0) {
    found(probe, p);
    p->unfinished = in_progress(fd, from, p);
    p->devices = devices_of(fd, from, p);
  } else if (r == -2) {
    p->ambivalent = true;
  } else if (r < 0) {
    /* What it has read so far may be right; what it could not read is not. */
    return vds_errno(errno != 0 ? errno : EIO,
                     "where it would say what it is, it cannot be read", NULL);
  }
  return NULL;
}


static error *look(int fd, uint64_t from, uint64_t size, char *only,
                   vds_probe *p) {
  error *e = NULL;
  *p = (vds_probe){0};
  blkid_probe probe = begin(fd, from, size, &e);
  if (probe == NULL) return e;
  set_look(probe, only);
  if (only == NULL) ask_ahead(fd, from, (uint64_t)blkid_probe_get_size(probe));
  e = look_with(probe, from, p);
  blkid_free_probe(probe);
  return e;
}


error *vds_probe_keep(int fd, vds_probe *p, vds_sight **kept) {
  error *e = NULL;
  *p = (vds_probe){0};
  *kept = begin(fd, 0, 0, &e);
  if (*kept == NULL) return e;
  set_look(*kept, NULL);
  e = look_with(*kept, 0, p);
  if (e == NULL) return NULL;
  blkid_free_probe(*kept);
  *kept = NULL;
  return e;
}


void vds_sight_free(vds_sight *kept) {
  blkid_free_probe(kept); /* may be NULL */
}


error *vds_probe_part(int fd, uint64_t from, uint64_t size, vds_probe *p) {
  return look(fd, from, size, NULL, p);
}


error *vds_probe_fd(int fd, vds_probe *p) {
  return look(fd, 0, 0, NULL, p);
}


error *vds_probe_made(int fd, const char *fs, vds_probe *p) {
  char name[sizeof p->fs];
  snprintf(name, sizeof name, "%s", fs);
  return look(fd, 0, 0, name, p);
}


bool vds_probe_is_foreign(const vds_probe *p) {
  static const char *const others[] = {"bcache",         "zfs_member",
                                       "drbd",           "VMFS_volume_member",
                                       "ceph_bluestore", "mpath_member"};
  for (size_t i = 0; i < sizeof others / sizeof *others; i++)
    if (strcmp(p->fs, others[i]) == 0) return true;
  return p->raid || p->crypto;
}


static size_t where(blkid_probe probe, const char *magic, const char *offset,
                    off_t *at) {
  const char *text;
  size_t size;
  if (blkid_probe_lookup_value(probe, magic, NULL, &size) != 0 ||
      blkid_probe_lookup_value(probe, offset, &text, NULL) != 0)
    return 0;
  *at = (off_t)strtoull(text, NULL, 10);
  return size;
}


/* Of a device, and what of it is written over. */
typedef struct wiping {
  int fd;
  uint64_t start, from, to;
} wiping;

static bool write_zeros(const wiping *w, uint64_t at, size_t size) {
  static const unsigned char zeros[1024];
  if (size == 0 || size > sizeof zeros) return false;
  if (at < w->from || at + size > w->to) return true;
  return pwrite(w->fd, zeros, size, (off_t)(w->start + at)) == (ssize_t)size;
}


/* libblkid would sync after each of them; so it is told to hide it from its own
   eyes alone, and what is there is written here. What is none of that (zones)
   is its own affair. */
static bool wipe_one(blkid_probe probe, const wiping *w) {
  off_t at = 0;
  size_t size = where(probe, "SBMAGIC", "SBMAGIC_OFFSET", &at);
  if (size == 0) size = where(probe, "PTMAGIC", "PTMAGIC_OFFSET", &at);
  bool ours = write_zeros(w, (uint64_t)at, size);
  return blkid_do_wipe(probe, ours) == 0;
}


static void set_magics(blkid_probe probe) {
  blkid_probe_enable_superblocks(probe, 1);
  blkid_probe_set_superblocks_flags(
      probe, BLKID_SUBLKS_MAGIC | BLKID_SUBLKS_TYPE | BLKID_SUBLKS_BADCSUM);
  blkid_probe_enable_partitions(probe, 1);
  blkid_probe_set_partitions_flags(probe,
                                   BLKID_PARTS_MAGIC | BLKID_PARTS_FORCE_GPT);
}


static blkid_probe begin_magics(int fd, uint64_t from, uint64_t size,
                                error **e) {
  blkid_probe probe = begin(fd, from, size, e);
  if (probe == NULL) return NULL;
  ask_ahead(fd, from, (uint64_t)blkid_probe_get_size(probe));
  set_magics(probe);
  return probe;
}


/* One signature after the other: after each was wiped the probe begins where it
   was, so that what lay below it is found, too. */
static error *wipe_all(blkid_probe probe, const wiping *w, unsigned *count) {
  error *e = NULL;
  *count = 0;
  while (e == NULL && *count < SIGNATURES_MOST && blkid_do_probe(probe) == 0) {
    errno = 0;
    if (!wipe_one(probe, w))
      e = vds_errno(errno != 0 ? errno : EIO,
                    "a signature on the device cannot be taken away", NULL);
    else
      ++*count;
  }
  return e;
}


error *vds_probe_zap(int fd, uint64_t from, uint64_t size, unsigned *count) {
  error *e = NULL;
  *count = 0;
  /* What was written to a partition is not what its disk remembers of it. */
  if (size > 0) ioctl(fd, BLKFLSBUF, 0);
  blkid_probe probe = begin_magics(fd, from, size, &e);
  if (probe == NULL) return e;
  e = wipe_all(probe, &(wiping){fd, from, 0, UINT64_MAX}, count);
  blkid_free_probe(probe);
  return e;
}


error *vds_sight_zap(vds_sight *kept, int fd, uint64_t from, uint64_t to,
                     unsigned *count) {
  blkid_reset_probe(kept);
  set_magics(kept);
  return wipe_all(kept, &(wiping){fd, 0, from, to}, count);
}


error *vds_probe_wiped(int fd, uint64_t from, uint64_t size) {
  error *e = NULL;
  ioctl(fd, BLKFLSBUF, 0);
  blkid_probe probe = begin_magics(fd, from, size, &e);
  if (probe == NULL) return e;
  bool still = blkid_do_probe(probe) == 0;
  blkid_free_probe(probe);
  if (!still) return NULL;
  return vds_error(VDS_E_IO_ERROR,
                   "a signature on the device was taken away and is there "
                   "again: it does not keep what is written");
}


error *vds_probe_wipe_part(int fd, uint64_t from, uint64_t size,
                           unsigned *count) {
  error *e = vds_probe_zap(fd, from, size, count);
  if (e == NULL && fsync(fd) != 0)
    e = vds_errno(errno, "the device does not take what was written", NULL);
  if (e == NULL && *count > 0) e = vds_probe_wiped(fd, from, size);
  return e;
}


error *vds_probe_wipe(int fd, unsigned *count) {
  return vds_probe_wipe_part(fd, 0, 0, count);
}


/* ------------------------------------------------------------------
** Space
** ---------------------------------------------------------------- */

static uint64_t le(const unsigned char *at, unsigned bytes) {
  uint64_t n = 0;
  while (bytes-- > 0) n = n << 8 | at[bytes];
  return n;
}


static uint64_t be(const unsigned char *at, unsigned bytes) {
  uint64_t n = 0;
  while (bytes-- > 0) n = n << 8 | *at++;
  return n;
}


/* Blocks that are more than the free ones, and not absurd: what a damaged super
   block says is not shown. */
static bool sensible(vds_usage *u, uint64_t blocks, uint64_t available,
                     uint64_t block) {
  if (block < 512 || block > 65536 || (block & (block - 1)) != 0 ||
      available > blocks || blocks > UINT64_MAX / block)
    return false;
  u->size = blocks * block;
  u->free = available * block;
  u->block = (unsigned)block;
  return true;
}


static bool usage_ext(const unsigned char *s, vds_usage *u) {
  unsigned shift = (unsigned)le(s + 24, 4);
  bool wide = (le(s + 0x60, 4) & 0x80) != 0;
  uint64_t blocks = le(s + 4, 4) | (wide ? le(s + 0x150, 4) << 32 : 0);
  uint64_t available = le(s + 12, 4) | (wide ? le(s + 0x158, 4) << 32 : 0);
  u->clean = (le(s + 0x3A, 2) & 3) == 1;
  return shift <= 6 && sensible(u, blocks, available, 1024u << shift);
}


static bool usage_xfs(const unsigned char *s, vds_usage *u) {
  u->clean = true; /* its log is read when it is mounted */
  return sensible(u, be(s + 8, 8), be(s + 144, 8), be(s + 4, 4));
}


static bool usage_btrfs(const unsigned char *s, vds_usage *u) {
  uint64_t size = le(s + 0x70, 8), used = le(s + 0x78, 8);
  u->clean = true;
  u->block = (unsigned)le(s + 0x90, 4);
  u->size = size;
  u->free = size - used;
  return used <= size && u->block >= 512 && u->block <= 65536;
}


bool vds_probe_usage(int fd, const vds_probe *p, vds_usage *u) {
  unsigned char s[1024];
  *u = (vds_usage){0};
  bool ext = strncmp(p->fs, "ext", 3) == 0, xfs = strcmp(p->fs, "xfs") == 0;
  bool btrfs = strcmp(p->fs, "btrfs") == 0;
  off_t at = ext ? 1024 : xfs ? 0 : 65536;
  if (!ext && !xfs && !btrfs) return false;
  if (pread(fd, s, sizeof s, at) != (ssize_t)sizeof s) return false;
  return ext ? usage_ext(s, u) : xfs ? usage_xfs(s, u) : usage_btrfs(s, u);
}
