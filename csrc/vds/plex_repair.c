/*
** plex_repair: a device in the place of another one, by the kernel's device
** replace. It reads the old one only where there is no other copy.
*/
#include <errno.h>
#include <linux/btrfs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>

#include "vds/plex_parts.h"
#include "vds/replace.h"
#include "vds/step.h"
#include "vds/watch.h"

typedef struct replacing {
  vds_call *c;
  int mount;
  uint64_t device;
  const char *path;
} replacing;


static int ask(int mount, struct btrfs_ioctl_dev_replace_args *args) {
  return ioctl(mount, BTRFS_IOC_DEV_REPLACE, args) != 0 ? -errno : 0;
}


vds_replace_state vds_replace_look(int mount, uint64_t *permille) {
  struct btrfs_ioctl_dev_replace_args *args = mem_zero(sizeof *args);
  vds_replace_state state = VDS_REPLACE_UNKNOWN;
  *permille = 0;
  if (args == NULL) return state;
  args->cmd = BTRFS_IOCTL_DEV_REPLACE_CMD_STATUS;
  if (ask(mount, args) == 0) {
    *permille = args->status.progress_1000;
    switch (args->status.replace_state) {
      case BTRFS_IOCTL_DEV_REPLACE_STATE_STARTED:
      case BTRFS_IOCTL_DEV_REPLACE_STATE_SUSPENDED:
        state = VDS_REPLACE_RUNS;
        break;
      case BTRFS_IOCTL_DEV_REPLACE_STATE_FINISHED:
        state = VDS_REPLACE_DONE;
        break;
      default: state = VDS_REPLACE_NONE;
    }
  }
  mem_free(args);
  return state;
}


/* It says 0 when it was cancelled, too. */
static int replace(void *context) {
  const replacing *r = context;
  uint64_t permille;
  struct btrfs_ioctl_dev_replace_args *args = mem_zero(sizeof *args);
  if (args == NULL) return -ENOMEM;
  args->cmd = BTRFS_IOCTL_DEV_REPLACE_CMD_START;
  args->start.srcdevid = r->device;
  args->start.cont_reading_from_srcdev_mode =
      BTRFS_IOCTL_DEV_REPLACE_CONT_READING_FROM_SRCDEV_MODE_AVOID;
  snprintf((char *)args->start.tgtdev_name, sizeof args->start.tgtdev_name,
           "%s", r->path);
  int result = ask(r->mount, args);
  uint64_t said = args->result;
  mem_free(args);
  if (result != 0) return result;
  if (said == BTRFS_IOCTL_DEV_REPLACE_RESULT_ALREADY_STARTED ||
      said == BTRFS_IOCTL_DEV_REPLACE_RESULT_SCRUB_INPROGRESS)
    return -EINPROGRESS;
  return vds_replace_look(r->mount, &permille) == VDS_REPLACE_DONE ? 0
                                                                   : -ECANCELED;
}


static void look(void *context) {
  const replacing *r = context;
  uint64_t permille;
  if (vds_replace_look(r->mount, &permille) == VDS_REPLACE_RUNS)
    vds_progress(r->c, permille, 1000);
}


static void stop(void *context) {
  struct btrfs_ioctl_dev_replace_args *args = mem_zero(sizeof *args);
  if (args == NULL) return;
  args->cmd = BTRFS_IOCTL_DEV_REPLACE_CMD_CANCEL;
  ask(((const replacing *)context)->mount, args);
  mem_free(args);
}


/* ------------------------------------------------------------------
** The operation
** ---------------------------------------------------------------- */

/* Of a device that is gone there is no object, but its number. */
static const vds_btrfs_member *find_bad(const vds_plex *p) {
  vds_identity who;
  const value *bad = value_get(p->c->options, "bad");
  if (vds_identity_get(bad, &who)) return vds_btrfs_find(&p->fs, who.dev);
  int64_t number = value_integer(bad, -1);
  for (size_t i = 0; i < p->fs.count; i++)
    if (number > 0 && p->fs.members[i].id == (uint64_t)number)
      return &p->fs.members[i];
  return NULL;
}


static error *can_replace(const vds_plex *p, const vds_btrfs_member *m) {
  if (m == NULL)
    return vds_error(VDS_E_OBJECT_NOT_FOUND,
                     "bad: none of the devices of this btrfs; a device that "
                     "is gone is named by its number there (btrfs filesystem "
                     "show)");
  if (p->copies < 2)
    return vds_error(VDS_E_VOLUME_NOT_A_MIRROR,
                     "this btrfs has one copy of its data: there is nothing "
                     "to repair a device from");
  if (p->two.size < m->size)
    return vds_error(VDS_E_NOT_ENOUGH_SPACE,
                     "the new device has %llu bytes, the old one has %llu",
                     (unsigned long long)p->two.size,
                     (unsigned long long)m->size);
  return vds_plex_room(&p->fs, m, 0);
}


/* Replaced back it would lie on the bad one again. */
static error *too_late(vds_plex *p, error *e) {
  vds_left(p->c,
           "%s had taken the place of the old device when the cancel came; it "
           "stays there",
           p->other.path);
  return e;
}


static error *exchange(vds_plex *p, uint64_t device, bool *done) {
  replacing r = {p->c, p->fs.mount, device, p->other.path};
  const vds_watched w = {replace, look, stop, &r};
  int result = 0;
  error *e = NULL;
  vds_step("replace: begins");
  if (vds_stopped(p->c, &e)) return e;
  vds_phase(p->c, "replacing", 10, 1000);
  e = vds_watched_run(p->c, &w, &result);
  vds_step("replace: ended");
  *done = e == NULL && result == 0;
  if (*done) return vds_commit(p->c, &e) ? NULL : too_late(p, e);
  if (e == NULL && vds_stopped(p->c, &e)) return e;
  return e != NULL ? e
                   : vds_btrfs_error(result, "the device cannot be replaced");
}


static error *repair(vds_plex *p, const vds_btrfs_member *m, bool *done) {
  uint64_t device = m->id;
  vds_phase(p->c, "preparing", 0, 10);
  error *e = vds_plex_record(p, "repair", m);
  vds_step("plex: recorded");
  if (e == NULL) e = vds_plex_clear(p);
  if (e == NULL) e = exchange(p, device, done);
  vds_step("plex: replaced");
  return e;
}


error *vds_work_repair_plex(vds_call *c) {
  bool go = false, done = false;
  vds_plex *p = mem_zero(sizeof *p);
  if (p == NULL) return error_no_memory();
  error *e = vds_plex_begin(c, p, &go);
  if (e == NULL && go) e = vds_plex_admit(p, &go);
  const vds_btrfs_member *m = e == NULL && go ? find_bad(p) : NULL;
  if (e == NULL && go) e = can_replace(p, m);
  if (e == NULL && go && m != NULL) {
    e = repair(p, m, &done);
    if (e == NULL)
      e = vds_plex_whole(p);
    else if (p->saved) {
      if (!done) vds_plex_lost(p);
      vds_plex_undone(p, NULL);
    }
  }
  vds_plex_done(p);
  mem_free(p);
  return e;
}
