/*
** fs_btrfs_resize: a mounted btrfs gets another size, without anybody who uses
** it noticing. Growing is a number that is written; shrinking moves what lies
** beyond the new end, which lasts, is counted, and can be cancelled.
*/
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/btrfs.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "vds/btrfs.h"
#include "vds/btrfs_extents.h"
#include "vds/fs_parts.h"
#include "vds/mount.h"
#include "vds/step.h"
#include "vds/watch.h"

#define LEAST (256ull << 20) /* the kernel makes none smaller */

typedef struct resizing {
  vds_call *c;
  int mount;
  uint64_t device, size; /* its number, and the bytes that it shall have */
  uint64_t beyond;       /* bytes that lay beyond that */
} resizing;


static int ask(int mount, const char *what) {
  struct btrfs_ioctl_vol_args args = {0};
  snprintf(args.name, sizeof args.name, "%s", what);
  int result = ioctl(mount, BTRFS_IOC_RESIZE, &args);
  return result < 0 ? -errno : result;
}


static int resize(void *context) {
  const resizing *r = context;
  char what[64];
  snprintf(what, sizeof what, "%" PRIu64 ":%" PRIu64, r->device, r->size);
  return ask(r->mount, what);
}


static void look(void *context) {
  const resizing *r = context;
  uint64_t now;
  if (r->beyond == 0 || !vds_btrfs_beyond(r->mount, r->device, r->size, &now))
    return;
  vds_progress(r->c, now < r->beyond ? r->beyond - now : 0, r->beyond);
}


static void stop(void *context) {
  ask(((const resizing *)context)->mount, "cancel");
}


static error *refusal(const resizing *r, int result, bool grows) {
  if (result == -ENOSPC || (result == -EINVAL && !grows))
    return vds_error(VDS_E_SHRINK_SIZE_TOO_BIG,
                     "btrfs cannot be made as small as %" PRIu64
                     " bytes: what it holds does not fit, or it is less than "
                     "256 MiB",
                     r->size);
  if (result == -EFBIG)
    return vds_error(VDS_E_CANNOT_EXTEND,
                     "the device is smaller than %" PRIu64 " bytes", r->size);
  if (result == -ETXTBSY)
    return vds_error(VDS_E_DEVICE_IN_USE,
                     "a file that is swap lies where it would have to go; "
                     "switch that off first");
  return vds_btrfs_error(result, "btrfs cannot be resized");
}


/* It came to its end although it was told to stop: then it is told to go
   back, which moves nothing. */
static error *go_back(resizing *r, uint64_t before, error *e) {
  r->size = before;
  vds_undoing(r->c, "resizing back");
  int result = resize(r);
  if (result != 0)
    vds_left(r->c, "btrfs kept its new size: %s", strerror(-result));
  return e;
}


error *vds_btrfs_resize(vds_call *c, vds_target *t, int mount, uint64_t size) {
  vds_btrfs *b = mem_zero(sizeof *b);
  if (b == NULL) return error_no_memory();
  resizing r = {.c = c, .mount = mount, .size = size};
  uint64_t before = 0;
  b->mount = mount;
  error *e = vds_btrfs_look(b);
  const vds_btrfs_member *m = e == NULL ? vds_btrfs_find(b, t->is.dev) : NULL;
  if (e == NULL && m == NULL)
    e = vds_error(VDS_E_OBJECT_OUT_OF_SYNC,
                  "%s is in another btrfs than the one that is mounted",
                  t->path);
  if (e == NULL) e = vds_btrfs_is_idle(b);
  if (e == NULL && m != NULL) {
    r.device = m->id;
    before = m->size;
    vds_btrfs_beyond(mount, r.device, size, &r.beyond);
    const vds_watched w = {resize, look, stop, &r};
    int result = 0;
    vds_step("btrfs: resizes");
    e = vds_watched_run(c, &w, &result);
    vds_step("btrfs: resized");
    if (e == NULL && result == 0 && vds_stopped(c, &e))
      e = go_back(&r, before, e);
    else if (e == NULL && result != 0 && !vds_stopped(c, &e))
      e = refusal(&r, result, size > before);
  }
  mem_free(b);
  return e;
}


/* A question writes nothing: neither is its log played back, nor does it become
   a newer one. Where it is mounted to be written to there is no such mount, and
   none is needed. */
static error *look_at(const vds_target *t, int *directory) {
  vds_world *world = NULL;
  int mount = -1;
  error *e = vds_world_read(&world);
  if (e != NULL) return e;
  *directory = vds_mount_visible(world, t->is.dev);
  vds_world_free(world);
  if (*directory >= 0) return NULL;
  e = vds_mount_make(t, "btrfs", "rescue=nologreplay", true, &mount);
  if (e != NULL && e->code == VDS_E_DEVICE_IN_USE) {
    error_unref(e);
    return vds_mount_hidden(t, "btrfs", directory);
  }
  if (e != NULL) return e;
  *directory = openat(mount, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (*directory < 0)
    e = vds_errno(errno, "the hidden mount cannot be opened", t->path);
  close(mount);
  return e;
}


error *vds_btrfs_space(vds_call *c, vds_target *t, vds_space *s) {
  vds_btrfs *b = mem_zero(sizeof *b);
  (void)c;
  *s = (vds_space){0};
  if (b == NULL) return error_no_memory();
  b->mount = -1;
  error *e = look_at(t, &b->mount);
  if (e == NULL) e = vds_btrfs_look(b);
  const vds_btrfs_member *m = e == NULL ? vds_btrfs_find(b, t->is.dev) : NULL;
  if (m != NULL) {
    s->size = m->size;
    s->used = m->used;
    e = vds_btrfs_minimum(b->mount, m->id, &s->minimum);
    if (s->minimum < LEAST) s->minimum = LEAST;
    if (s->minimum > s->size) s->minimum = s->size;
  }
  vds_btrfs_close(b);
  mem_free(b);
  return e;
}


/* FS_IOC_SETFSLABEL takes 256 bytes, the last of which is a NUL. */
error *vds_btrfs_label(vds_call *c, vds_target *t, int mount,
                       const char *label) {
  char text[BTRFS_LABEL_SIZE] = {0};
  error *e = NULL;
  if (strlen(label) >= sizeof text)
    return vds_error(VDS_E_BAD_LABEL, "a label of btrfs has 255 bytes at most");
  memcpy(text, label, strlen(label));
  if (mount < 0)
    return vds_error(VDS_E_VOLUME_NOT_MOUNTED, "%s is not mounted", t->path);
  if (!vds_commit(c, &e)) return e;
  if (ioctl(mount, BTRFS_IOC_SET_FSLABEL, text) == 0) return NULL;
  return vds_errno(errno, "it cannot be labelled", t->path);
}
