/*
** clean: a disk that is empty, or at least looks so.
*/
#include "vds/clean.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "vds/blkpg.h"
#include "vds/probe.h"
#include "vds/refuse.h"
#include "vds/step.h"

#define EDGE ((uint64_t)1 << 20)

/* A table has VDS_PARTITIONS_MOST; the kernel may have been told of others. */
enum { SLOTS_MOST = 2 * VDS_PARTITIONS_MOST };

typedef struct cleaning {
  vds_call *c;
  vds_target t;
  vds_seen seen;
  bool full;
  bool touched;    /* what was on it is not all there any more */
  vds_slot *slots; /* the kernel's, then the table's */
  size_t kernels, count;
  vds_zeroed z;
} cleaning;


/* ------------------------------------------------------------------
** Partitions
** ---------------------------------------------------------------- */

static error *note(void *context, const vds_about *a) {
  cleaning *k = context;
  if (k->kernels < SLOTS_MOST - VDS_PARTITIONS_MOST)
    k->slots[k->kernels++] = (vds_slot){a->number, a->start, a->size};
  return NULL;
}


/* A table that cannot be read is one more reason to clean it. */
static error *find_partitions(cleaning *k) {
  const vds_probe *on = &k->seen.on;
  bool none = on->table[0] == '\0' && !on->ambivalent;
  size_t count = 0;
  k->slots = mem_alloc(SLOTS_MOST * sizeof *k->slots);
  if (k->slots == NULL) return error_no_memory();
  error *e = vds_about_partitions(k->t.is.dev, note, k);
  if (e == NULL && !none)
    error_unref(vds_blkpg_table(k->t.fd, k->slots + k->kernels, &count));
  k->count = k->kernels + count;
  return e;
}


static void put_back(cleaning *k, size_t count) {
  for (size_t i = 0; i < count; i++)
    error_unref(vds_blkpg_add(k->t.fd, &k->slots[i]));
}


/* First of all: one that somebody has open is an error while everything is
   still there. */
static error *take_partitions(cleaning *k) {
  error *e = NULL;
  uint64_t until = vds_clock() + vds_patience;
  for (size_t i = 0; e == NULL && i < k->kernels; i++) {
    e = vds_blkpg_take(k->t.fd, k->slots[i].number, until);
    if (e != NULL) put_back(k, i);
  }
  vds_step("clean: without partitions");
  if (e == NULL && vds_stopped(k->c, &e)) put_back(k, k->kernels);
  return e;
}


/* ------------------------------------------------------------------
** What it is known by
** ---------------------------------------------------------------- */

static error *wipe_partitions(cleaning *k) {
  error *e = NULL;
  unsigned count;
  for (size_t i = 0; e == NULL && i < k->count; i++) {
    e = vds_probe_zap(k->t.fd, k->slots[i].start, k->slots[i].size, &count);
    vds_step("clean: partition wiped");
    if (e == NULL) vds_stopped(k->c, &e);
  }
  return e;
}


/* A GPT says so in the last sector, however large that is. */
static bool has_backup(const cleaning *k) {
  unsigned char last[4096] = {0};
  uint64_t size = k->t.is.size;
  if (size < sizeof last ||
      pread(k->t.fd, last, sizeof last, (off_t)(size - sizeof last)) < 0)
    return true;
  for (size_t at = 0; at < sizeof last; at += 512)
    if (memcmp(last + at, "EFI PART", 8) == 0) return true;
  return false;
}


static error *sync_disk(const cleaning *k) {
  if (fsync(k->t.fd) == 0) return NULL;
  return vds_errno(errno, "the disk does not take what was written", k->t.path);
}


/* The backup of a table first: as long as its beginning is there it is the old
   one. One whose beginning is gone alone would be repaired by the next who
   looks, from its end: so between the two there is a sync, which what was wiped
   in the partitions has its part of, for all of it goes through the same
   descriptor. A loss of power at any other place leaves the old table, or some
   signatures of a disk without one, and who called has not been told that it
   was cleaned. What was seen between the two ends goes after them, and then
   nothing is on the device itself that could be seen. */
static error *wipe_disk(cleaning *k) {
  uint64_t size = k->t.is.size;
  uint64_t head = size < EDGE ? size : EDGE;
  uint64_t tail = size - head < EDGE ? head : size - EDGE;
  unsigned count;
  bool twice = has_backup(k);
  error *e = vds_zero_now(k->c, &k->t, tail, size, &k->z);
  vds_step("clean: end zeroed");
  if (e == NULL && twice) e = sync_disk(k);
  vds_step("clean: without backup");
  if (e == NULL) e = vds_zero_now(k->c, &k->t, 0, head, &k->z);
  vds_step("clean: beginning zeroed");
  if (e == NULL) e = vds_sight_zap(k->seen.kept, k->t.fd, head, tail, &count);
  vds_step("clean: wiped");
  if (e == NULL) e = sync_disk(k);
  if (e == NULL) e = vds_probe_wiped(k->t.fd, 0, 0);
  vds_step("clean: durable");
  return e;
}


/* ------------------------------------------------------------------
** The work
** ---------------------------------------------------------------- */

static error *fill(cleaning *k) {
  error *e = NULL;
  if (vds_stopped(k->c, &e)) return e;
  value_free(k->z.failed);
  k->z = (vds_zeroed){.failed = value_list()};
  if (k->z.failed == NULL) return error_no_memory();
  vds_phase(k->c, "zeroing", 0, 1000);
  return vds_zero_more(k->c, &k->t, 0, k->t.is.size, &k->z);
}


static error *clean_it(cleaning *k) {
  error *e = find_partitions(k);
  if (e == NULL && !k->full) vds_commit(k->c, &e);
  if (e == NULL) saros_op_phase(k->c->op, "wiping");
  if (e == NULL) e = take_partitions(k);
  if (e != NULL) return e;
  k->touched = true;
  e = wipe_partitions(k);
  if (e == NULL) e = wipe_disk(k);
  if (e == NULL && k->full) e = fill(k);
  return e;
}


static error *put_result(cleaning *k) {
  bool all = k->z.sectors == 0 && k->z.bytes >= k->t.is.size;
  value *map = vds_with(value_map(), "bytes", value_int((int64_t)k->z.bytes));
  k->c->output = vds_with(map, "failed", k->z.failed);
  k->z.failed = NULL;
  if (k->c->output == NULL) return error_no_memory();
  if (!all) k->c->code = VDS_S_DISK_PARTIALLY_CLEANED;
  return NULL;
}


static void tell_rest(const cleaning *k) {
  vds_left(k->c,
           "the signatures of %s and what else it was known by are gone or "
           "going, and %llu of its %llu bytes are zero",
           k->t.path, (unsigned long long)k->z.bytes,
           (unsigned long long)k->t.is.size);
}


static const vds_verb verb = {VDS_LOSES_DISK, 0};


static error *ask(cleaning *k, const vds_identity *who, unsigned *forced,
                  bool *go) {
  k->seen.fd = k->t.fd;
  if (k->t.only < 0) return vds_permit(k->c, who, &verb, forced, go);
  return vds_permit_seen(k->c, who, &verb, forced, go, &k->seen);
}


static error *make_free(cleaning *k, const vds_identity *who, unsigned forced) {
  error *e = NULL;
  bool go;
  if (k->t.only >= 0) return NULL;
  vds_step("clean: permitted");
  if (forced != 0 && !k->full && !vds_commit(k->c, &e)) return e;
  if (forced != 0) e = vds_end_dangers(k->c, who, &verb, forced);
  if (e == NULL)
    e = vds_target_open(who, VDS_OPEN_WRITE | VDS_OPEN_EXCLUSIVE, &k->t);
  vds_step("clean: taken");
  if (e == NULL) e = ask(k, who, &forced, &go);
  return e;
}


/* Who can have it at once asks once. */
static error *permit(cleaning *k, const vds_identity *who, unsigned *forced,
                     bool *go) {
  error *e = NULL;
  bool ours = false;
  if (!vds_flag(k->c, "plan"))
    e = vds_target_take(who, VDS_OPEN_WRITE, &k->t, &ours);
  if (ours) vds_step("clean: taken");
  return e == NULL ? ask(k, who, forced, go) : e;
}


error *vds_work_clean(vds_call *c) {
  vds_identity who;
  unsigned forced = 0;
  bool go = false;
  cleaning k = {.c = c, .t = VDS_TARGET_NONE, .full = vds_flag(c, "full")};
  if (!vds_identity_get(value_get(c->options, "object"), &who))
    return vds_error(SAROS_E_INVALIDARG, "clean needs a disk");
  if (who.number != 0 || who.dev != who.whole)
    return vds_error(SAROS_E_INVALIDARG,
                     "only a whole disk is cleaned; a partition is formatted, "
                     "or deleted");
  k.z.failed = value_list();
  error *e =
      k.z.failed != NULL ? permit(&k, &who, &forced, &go) : error_no_memory();
  if (e == NULL && go) e = make_free(&k, &who, forced);
  vds_step("clean: opened");
  if (e == NULL && go) vds_stopped(c, &e);
  if (e == NULL && go) e = clean_it(&k);
  if (e == NULL && go) e = put_result(&k);
  if (e != NULL && k.touched) tell_rest(&k);
  vds_seen_free(&k.seen);
  vds_target_close(&k.t);
  mem_free(k.slots);
  value_free(k.z.failed);
  return e;
}
