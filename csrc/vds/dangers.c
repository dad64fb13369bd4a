/*
** dangers: ended before the work, by whom they were forced. What cannot be
** ended is an error, and the work is not begun; what was ended before that
** stays so (a mount is not made again, for who forced its end may be about to
** go), and is told when the work fails, or is cancelled.
*/
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/swap.h>

#include "vds/mount.h"
#include "vds/refuse.h"
#include "vds/step.h"

typedef struct ending {
  vds_call *c;
  const vds_world *world;
  unsigned forced;
} ending;


static error *swap_off(const vds_about *a) {
  char path[80];
  snprintf(path, sizeof path, "/dev/%s", a->name);
  if (swapoff(path) == 0) return NULL;
  return vds_errno(errno, "swap cannot be switched off", path);
}


/* Told only if it is so: that there is memory to tell it is known before. */
static error *end_one(const ending *g, const vds_about *a, const vds_hold *h) {
  bool mount = h->kind == VDS_HOLD_MOUNT;
  buffer *said = &g->c->ended;
  size_t before = said->size;
  buffer_text(said, before > 0 ? "; " : "");
  if (mount)
    buffer_format(said, "%s was unmounted and is not mounted again", h->who);
  else
    buffer_format(said, "/dev/%s was switched off as swap, and not on again",
                  a->name);
  error *e = said->failed ? error_no_memory()
             : mount      ? vds_mount_end(g->world, h->who, h->dev)
                          : swap_off(a);
  if (e == NULL) return NULL;
  said->size = before;
  if (said->data != NULL) said->data[before] = '\0';
  return e;
}


/* The last mount first: it may lie in one before it. */
static error *end_all(void *context, const vds_about *a) {
  const ending *g = context;
  vds_holders h = vds_holders_of(g->world, a->dev);
  error *e = h.failed ? error_no_memory() : NULL;
  for (size_t i = h.count; e == NULL && i-- > 0;) {
    unsigned kind = (unsigned)h.items[i].kind;
    unsigned danger = kind == VDS_HOLD_MOUNT  ? VDS_DANGER_MOUNTED
                      : kind == VDS_HOLD_SWAP ? VDS_DANGER_SWAP
                                              : 0;
    if ((g->forced & danger) != 0) e = end_one(g, a, &h.items[i]);
    vds_step("dangers: one ended");
  }
  vds_holders_free(&h);
  return e;
}


error *vds_end_dangers(vds_call *c, const vds_identity *who,
                       const vds_verb *verb, unsigned forced) {
  ending g = {.c = c, .forced = forced};
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
