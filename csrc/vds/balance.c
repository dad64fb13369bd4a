/*
** balance: BTRFS_IOC_BALANCE_V2, and devices that come and go.
*/
#include "vds/balance.h"

#include <errno.h>
#include <linux/btrfs.h>
#include <linux/btrfs_tree.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "vds/btrfs.h"
#include "vds/btrfs_extents.h"
#include "vds/step.h"
#include "vds/watch.h"

typedef struct moving {
  vds_call *c;
  int mount;
  const char *undoing;
  uint64_t data, meta;  /* of a conversion */
  uint64_t device, was; /* its number, the bytes that chunks took on it */
  uint64_t seen;        /* how far it was */
} moving;


static int answer(int result) {
  return result < 0 ? -errno : result;
}


/* What is being undone may take as long as it goes on. */
static void moved(moving *m, uint64_t done, uint64_t total) {
  if (m->undoing == NULL)
    vds_progress(m->c, done, total);
  else if (done != m->seen)
    vds_undoing(m->c, m->undoing);
  m->seen = done;
}


static error *run(moving *m, const vds_watched *w, const char *what) {
  int result = 0;
  error *e = vds_watched_run(m->c, w, &result);
  if (e == NULL && m->undoing == NULL && vds_stopped(m->c, &e)) return e;
  return e != NULL ? e : vds_btrfs_error(result, what);
}


/* ------------------------------------------------------------------
** Conversions
** ---------------------------------------------------------------- */

static struct btrfs_balance_args to(uint64_t profile) {
  return (struct btrfs_balance_args){
      .flags = BTRFS_BALANCE_ARGS_CONVERT | BTRFS_BALANCE_ARGS_SOFT,
      .target = profile != 0 ? profile : BTRFS_AVAIL_ALLOC_BIT_SINGLE};
}


static int resize(int mount, uint64_t device, uint64_t size) {
  struct btrfs_ioctl_vol_args args = {0};
  snprintf(args.name, sizeof args.name, "%llu:%llu", (unsigned long long)device,
           (unsigned long long)size);
  return answer(ioctl(mount, BTRFS_IOC_RESIZE, &args));
}


static void left_smaller(vds_call *c, uint64_t device, int result) {
  vds_left(c,
           "device %llu of this btrfs is used up to its last chunk alone, and "
           "could not be given back the rest: %s (btrfs filesystem resize "
           "%llu:max does that)",
           (unsigned long long)device,
           result > 0 ? "btrfs is at work" : strerror(-result),
           (unsigned long long)device);
}


/* A stop that comes when the last chunk has moved is kept by the kernel for the
   next one that moves, and every balance is invalid until then. So one chunk is
   told to move; if it does all the same, no harm is done. */
static bool spend_stop(const moving *m) {
  vds_btrfs *b = mem_zero(sizeof *b);
  if (b == NULL) return false;
  b->mount = m->mount;
  error *e = vds_btrfs_look(b);
  bool good = e == NULL && b->count > 0;
  if (good) {
    const vds_btrfs_member *one = &b->members[0];
    uint64_t end = vds_btrfs_end(m->mount, one->id);
    good = end > 1 << 20;
    int result = good ? resize(m->mount, one->id, end - (1 << 20)) : -ECANCELED;
    vds_step("balance: stop spent");
    result = result == 0 ? resize(m->mount, one->id, one->size) : 0;
    if (result != 0) left_smaller(m->c, one->id, result);
    good = good && result == 0;
  }
  error_unref(e);
  mem_free(b);
  return good;
}


/* FORCE: fewer copies than before are what is wanted. */
static int try_convert(const moving *m) {
  struct btrfs_ioctl_balance_args args = {
      .flags = BTRFS_BALANCE_DATA | BTRFS_BALANCE_METADATA |
               BTRFS_BALANCE_SYSTEM | BTRFS_BALANCE_FORCE,
      .data = to(m->data),
      .meta = to(m->meta),
      .sys = to(m->meta)};
  return answer(ioctl(m->mount, BTRFS_IOC_BALANCE_V2, &args));
}


static int convert(void *context) {
  const moving *m = context;
  int result = try_convert(m);
  if (result != -EINVAL || !spend_stop(m)) return result;
  return try_convert(m);
}


static void look_at_conversion(void *context) {
  moving *m = context;
  vds_btrfs_amount in, all;
  error *e = vds_btrfs_bytes(m->mount, m->data, m->meta, &in, &all);
  if (e == NULL) moved(m, in.used, all.used);
  error_unref(e);
}


void vds_balance_end(int mount) {
  ioctl(mount, BTRFS_IOC_BALANCE_CTL, BTRFS_BALANCE_CTL_CANCEL);
}


bool vds_balance_is(int mount, uint64_t data, uint64_t meta) {
  struct btrfs_balance_args want_data = to(data), want_meta = to(meta);
  struct btrfs_ioctl_balance_args args = {0};
  return ioctl(mount, BTRFS_IOC_BALANCE_PROGRESS, &args) == 0 &&
         (args.data.flags & args.meta.flags & BTRFS_BALANCE_ARGS_CONVERT) !=
             0 &&
         args.data.target == want_data.target &&
         args.meta.target == want_meta.target;
}


static void stop_conversion(void *context) {
  vds_balance_end(((const moving *)context)->mount);
}


/* It says that it has ended well also when chunks came meanwhile that are not
   as they should be. */
static error *is_all(const moving *m) {
  vds_btrfs_amount in, all;
  error *e = vds_btrfs_bytes(m->mount, m->data, m->meta, &in, &all);
  if (e == NULL && in.used < all.used)
    e = vds_error(VDS_E_NOT_ENOUGH_SPACE,
                  "not all of it could be converted: %llu bytes are as they "
                  "were",
                  (unsigned long long)(all.used - in.used));
  return e;
}


error *vds_balance(vds_call *c, int mount, uint64_t data, uint64_t meta,
                   const char *undoing) {
  moving m = {c, mount, undoing, data, meta, 0, 0, 0};
  const vds_watched w = {convert, look_at_conversion,
                         undoing == NULL ? stop_conversion : NULL, &m};
  vds_step("balance: begins");
  error *e = run(&m, &w, "btrfs cannot be converted");
  vds_step("balance: ended");
  return e != NULL ? e : is_all(&m);
}


/* ------------------------------------------------------------------
** Devices
** ---------------------------------------------------------------- */

static int empty(void *context) {
  const moving *m = context;
  struct btrfs_ioctl_vol_args_v2 args = {.flags = BTRFS_DEVICE_SPEC_BY_ID,
                                         .devid = m->device};
  return answer(ioctl(m->mount, BTRFS_IOC_RM_DEV_V2, &args));
}


static void look_at_device(void *context) {
  moving *m = context;
  struct btrfs_ioctl_dev_info_args *info = mem_zero(sizeof *info);
  if (info == NULL) return;
  info->devid = m->device;
  if (ioctl(m->mount, BTRFS_IOC_DEV_INFO, info) == 0 &&
      info->bytes_used <= m->was)
    moved(m, m->was - info->bytes_used, m->was);
  mem_free(info);
}


static void stop_emptying(void *context) {
  const moving *m = context;
  struct btrfs_ioctl_vol_args_v2 args = {0};
  snprintf(args.name, sizeof args.name, "cancel");
  ioctl(m->mount, BTRFS_IOC_RM_DEV_V2, &args);
}


error *vds_remove_device(vds_call *c, int mount, uint64_t device,
                         const char *undoing) {
  moving m = {c, mount, undoing, 0, 0, device, UINT64_MAX, 0};
  struct btrfs_ioctl_dev_info_args *info = mem_zero(sizeof *info);
  if (info == NULL) return error_no_memory();
  info->devid = device;
  if (ioctl(mount, BTRFS_IOC_DEV_INFO, info) == 0) m.was = info->bytes_used;
  mem_free(info);
  const vds_watched w = {empty, look_at_device,
                         undoing == NULL ? stop_emptying : NULL, &m};
  vds_step("device: is emptied");
  error *e = run(&m, &w, "the device cannot be removed");
  vds_step("device: removed");
  return e;
}


error *vds_add_device(int mount, const char *path) {
  struct btrfs_ioctl_vol_args args = {0};
  snprintf(args.name, sizeof args.name, "%s", path);
  return vds_btrfs_error(answer(ioctl(mount, BTRFS_IOC_ADD_DEV, &args)),
                         "the device cannot be added");
}
