/*
** plex_lock: all devices of a btrfs are kept, whichever of them it is called
** by. A partition's disk is locked for others' sake, and shared with who works
** on its neighbours; so its own node is locked as well.
*/
#include <errno.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "vds/plex_parts.h"
#include "vds/step.h"


static error *lock_node(const vds_target *t) {
  uint64_t until = vds_clock() + vds_patience;
  if (t->is.dev == t->is.whole) return NULL;
  while (flock(t->fd, LOCK_EX | LOCK_NB) != 0) {
    if (errno != EWOULDBLOCK && errno != EINTR)
      return vds_errno(errno, "the partition cannot be locked", t->path);
    if (vds_clock() > until)
      return vds_error(VDS_E_ANOTHER_CALL_IN_PROGRESS,
                       "another process works on %s (it holds a lock of it); "
                       "try again when that has ended",
                       t->path);
    nanosleep(&(struct timespec){0, 20000000}, NULL);
  }
  return NULL;
}


static error *lock_one(dev_t dev, vds_target *t) {
  vds_identity who;
  error *e = NULL;
  vds_about *a = vds_about_new(dev, &e);
  if (e == NULL) {
    vds_identity_of(a, &who);
    e = vds_target_open(&who, VDS_OPEN_WRITE, t);
  }
  mem_free(a);
  if (e == NULL) e = lock_node(t);
  return e;
}


error *vds_plex_lock(vds_plex_locks *l, const vds_btrfs *b) {
  error *e = NULL;
  for (size_t i = 0; e == NULL && i < b->count; i++) {
    if (b->members[i].dev == 0) continue;
    l->items[l->count] = VDS_TARGET_NONE;
    e = lock_one(b->members[i].dev, &l->items[l->count++]);
  }
  return e;
}


void vds_plex_unlock_one(vds_plex_locks *l, dev_t dev) {
  for (size_t i = 0; i < l->count; i++)
    if (l->items[i].fd >= 0 && l->items[i].is.dev == dev)
      vds_target_close(&l->items[i]);
}


void vds_plex_unlock(vds_plex_locks *l) {
  while (l->count > 0) vds_target_close(&l->items[--l->count]);
}
