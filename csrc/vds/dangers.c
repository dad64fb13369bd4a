/*
** dangers: ended before the work, by whom they were forced. What cannot be
** ended is an error, and the work is not begun; what was ended before that
** stays so (a mount is not made again, for who forced its end may be about to
** go).
*/
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/swap.h>

#include "vds/mount.h"
#include "vds/refuse.h"
#include "vds/step.h"

typedef struct ending {
  const vds_world *world;
  unsigned forced;
} ending;


static error *swap_off(const vds_about *a) {
  char path[80];
  snprintf(path, sizeof path, "/dev/%s", a->name);
  if (swapoff(path) == 0) return NULL;
  return vds_errno(errno, "swap cannot be switched off", path);
}


/* The last mount first: it may lie in one before it. */
static error *end_all(void *context, const vds_about *a) {
  const ending *g = context;
  vds_holders h = vds_holders_of(g->world, a->dev);
  error *e = h.failed ? error_no_memory() : NULL;
  for (size_t i = h.count; e == NULL && i-- > 0;) {
    unsigned kind = (unsigned)h.items[i].kind;
    if (kind == VDS_HOLD_MOUNT && (g->forced & VDS_DANGER_MOUNTED) != 0)
      e = vds_mount_end(g->world, h.items[i].who, h.items[i].dev);
    else if (kind == VDS_HOLD_SWAP && (g->forced & VDS_DANGER_SWAP) != 0)
      e = swap_off(a);
    vds_step("dangers: one ended");
  }
  vds_holders_free(&h);
  return e;
}


error *vds_end_dangers(vds_call *c, const vds_identity *who,
                       const vds_verb *verb, unsigned forced) {
  ending g = {.forced = forced};
  vds_world *world = NULL;
  if ((forced & (VDS_DANGER_MOUNTED | VDS_DANGER_SWAP)) == 0) return NULL;
  saros_op_phase(c->op, "unmounting");
  error *e = NULL;
  vds_about *a = vds_about_new(who->dev, &e);
  if (e == NULL) e = vds_world_read(&world);
  g.world = world;
  if (e == NULL && who->dev == who->whole && verb->loses != VDS_LOSES_NOTHING)
    e = vds_about_partitions(who->dev, end_all, &g);
  if (e == NULL) e = end_all(&g, a);
  vds_world_free(world);
  mem_free(a);
  return e;
}
