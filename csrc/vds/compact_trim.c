/*
** compact_trim: a virtual disk that is attached. Its file systems say what they
** do not use; what lies between its partitions nobody uses.
*/
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/statfs.h>
#include <unistd.h>

#include "vds/blkpg.h"
#include "vds/busy.h"
#include "vds/mount.h"
#include "vds/probe.h"
#include "vds/refuse.h"
#include "vds/step.h"
#include "vds/vdisk.h"

#define RANGE ((uint64_t)1 << 30)
#define EDGE ((uint64_t)1 << 20) /* of tables and of what boots */

enum { SLOTS_MOST = 2 * VDS_PARTITIONS_MOST };

typedef struct trimming {
  vds_call *c;
  vds_target t;
  const vds_world *world;
  struct {
    int fd; /* a directory of it */
    uint64_t size;
  } mounts[SLOTS_MOST];
  size_t mount_count;
  vds_slot slots[SLOTS_MOST]; /* the kernel's and the table's partitions */
  size_t slot_count;
  uint64_t done, total;
} trimming;


/* ------------------------------------------------------------------
** What there is
** ---------------------------------------------------------------- */

static void add_mount(trimming *k, dev_t dev, uint64_t size) {
  int fd = vds_mount_visible(k->world, dev);
  if (fd < 0) return;
  k->mounts[k->mount_count].fd = fd;
  k->mounts[k->mount_count++].size = size;
  k->total += size;
}


static error *add_partition(void *context, const vds_about *a) {
  trimming *k = context;
  if (k->slot_count == VDS_PARTITIONS_MOST)
    return vds_error(VDS_E_NOT_SUPPORTED, "the disk has too many partitions");
  k->slots[k->slot_count++] = (vds_slot){a->number, a->start, a->size};
  add_mount(k, a->dev, a->size);
  return NULL;
}


static int by_start(const void *a, const void *b) {
  uint64_t x = ((const vds_slot *)a)->start;
  uint64_t y = ((const vds_slot *)b)->start;
  return (x > y) - (x < y);
}


/* An extended partition has tables of its own in what looks free. */
static bool is_extended(int fd) {
  unsigned char s[512];
  bool any = pread(fd, s, sizeof s, 0) != (ssize_t)sizeof s;
  for (int i = 0; i < 4; i++) {
    unsigned char type = s[446 + 16 * i + 4];
    any = any || type == 0x05 || type == 0x0F || type == 0x85;
  }
  return any;
}


/* Only beside a table that says all: what has none may be anything. */
static error *knows_all(const trimming *k, bool *all) {
  vds_probe *p = mem_zero(sizeof *p);
  if (p == NULL) return error_no_memory();
  error *e = vds_probe_fd(k->t.fd, p);
  *all = e == NULL && p->fs[0] == '\0' &&
         (strcmp(p->table, "gpt") == 0 ||
          (strcmp(p->table, "dos") == 0 && !is_extended(k->t.fd)));
  mem_free(p);
  return e;
}


/* ------------------------------------------------------------------
** Trimming
** ---------------------------------------------------------------- */

static error *one_more(trimming *k, uint64_t size) {
  error *e = NULL;
  k->done += size;
  vds_progress(k->c, k->done, k->total);
  vds_step("compact: range");
  vds_stopped(k->c, &e);
  return e;
}


/* What btrfs calls an address is none of the disk. */
static uint64_t range_of(int fd, uint64_t size) {
  struct statfs s;
  bool btrfs = fstatfs(fd, &s) == 0 && s.f_type == BTRFS_SUPER_MAGIC;
  return btrfs ? size : RANGE;
}


/* A file system that cannot is no failure: it stays as large as it is. */
static error *trim(trimming *k, int fd, uint64_t size) {
  uint64_t most = range_of(fd, size);
  error *e = NULL;
  syncfs(fd); /* what was deleted is not free before */
  for (uint64_t at = 0; e == NULL && at < size;) {
    uint64_t now = size - at < most ? size - at : most;
    struct fstrim_range r = {at, now == size ? UINT64_MAX : now, 0};
    if (ioctl(fd, FITRIM, &r) != 0 && errno != EINTR) {
      if (errno == EIO)
        return vds_errno(errno, "what is free cannot be given back", k->t.path);
      now = size - at; /* it cannot, or ends here */
    }
    at += now;
    e = one_more(k, now);
  }
  return e;
}


static error *discard(trimming *k, uint64_t from, uint64_t to) {
  error *e = NULL;
  while (e == NULL && from < to) {
    uint64_t now = to - from < RANGE ? to - from : RANGE;
    uint64_t range[2] = {from, now};
    if (ioctl(k->t.fd, BLKDISCARD, range) != 0 && errno == EIO)
      return vds_errno(errno, "what is free cannot be given back", k->t.path);
    from += now;
    e = one_more(k, now);
  }
  return e;
}


/* Gaps between the partitions; without `act` they are only counted. */
static error *each_gap(trimming *k, bool act) {
  uint64_t at = EDGE, end = k->t.is.size;
  error *e = NULL;
  end = end > 2 * EDGE ? end - EDGE : at;
  for (size_t i = 0; e == NULL && i <= k->slot_count; i++) {
    bool last = i == k->slot_count;
    uint64_t to = last || k->slots[i].start > end ? end : k->slots[i].start;
    if (to > at && !act) k->total += to - at;
    if (to > at && act) e = discard(k, at, to);
    if (last) break;
    uint64_t behind = k->slots[i].start + k->slots[i].size;
    behind = (behind + EDGE - 1) / EDGE * EDGE;
    if (behind > at) at = behind;
  }
  return e;
}


static error *trim_all(trimming *k) {
  size_t count = 0;
  bool all = false;
  error *e = vds_about_partitions(k->t.is.dev, add_partition, k);
  add_mount(k, k->t.is.dev, k->t.is.size);
  if (e == NULL) e = knows_all(k, &all);
  if (e == NULL && all)
    e = vds_blkpg_table(k->t.fd, k->slots + k->slot_count, &count);
  if (e != NULL) return e;
  k->slot_count += count;
  qsort(k->slots, k->slot_count, sizeof *k->slots, by_start);
  if (all) e = each_gap(k, false);
  vds_phase(k->c, "trimming", 0, 1000);
  for (size_t i = 0; e == NULL && i < k->mount_count; i++)
    e = trim(k, k->mounts[i].fd, k->mounts[i].size);
  if (e == NULL && all) e = each_gap(k, true);
  return e;
}


/* Whoever holds it, loses nothing. */
static const vds_verb verb = {
    VDS_LOSES_NOTHING, VDS_DANGER_MOUNTED | VDS_DANGER_SWAP | VDS_DANGER_HELD};


static error *begin(vds_call *c, dev_t device, vds_target *t, bool *go) {
  vds_identity who;
  unsigned forced = 0;
  *go = false;
  error *e = vds_busy_more(c, &device, 1);
  vds_about *a = e == NULL ? vds_about_new(device, &e) : NULL;
  if (e == NULL) {
    vds_identity_of(a, &who);
    e = vds_permit(c, &who, &verb, &forced, go);
  }
  mem_free(a);
  if (e == NULL && *go) e = vds_target_open(&who, VDS_OPEN_WRITE, t);
  return e;
}


error *vds_compact_attached(vds_call *c, dev_t device) {
  vds_world *world = NULL;
  trimming *k = mem_zero(sizeof *k);
  if (k == NULL) return error_no_memory();
  bool go = false;
  k->c = c;
  k->t = VDS_TARGET_NONE;
  error *e = begin(c, device, &k->t, &go);
  if (e == NULL) e = vds_world_read(&world);
  k->world = world;
  vds_step("compact: opened");
  if (e == NULL && go && !vds_stopped(c, &e)) e = trim_all(k);
  for (size_t i = 0; i < k->mount_count; i++) close(k->mounts[i].fd);
  vds_target_close(&k->t);
  vds_world_free(world);
  mem_free(k);
  return e;
}
