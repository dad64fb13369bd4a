/*
** volume: what is on a volume, before anything is done to it.
*/
#include "vds/volume.h"

#include <string.h>

#include "vds/holders.h"


static error *is_mounted(vds_volume *v) {
  vds_world *world = NULL;
  error *e = vds_world_read(&world);
  if (e != NULL) return e;
  vds_holders h = vds_holders_of(world, v->who.dev);
  v->mounted = false;
  for (size_t i = 0; i < h.count; i++)
    if (h.items[i].kind == VDS_HOLD_MOUNT) v->mounted = true;
  if (h.failed) e = error_no_memory();
  vds_holders_free(&h);
  vds_world_free(world);
  return e;
}


/* ext2 and ext3 are what ext4's tools and its driver take, too. */
static const vds_fs *fs_of(const char *name) {
  if (strcmp(name, "ext2") == 0 || strcmp(name, "ext3") == 0) name = "ext4";
  return *name != '\0' ? vds_fs_find(name) : NULL;
}


static error *look(vds_volume *v, const vds_target *t) {
  error *e = vds_probe_fd(t->fd, &v->probe);
  if (e == NULL && v->probe.ambivalent)
    e = vds_error(VDS_E_FS_NOT_DETERMINED,
                  "%s shows two file systems at once; which one is meant "
                  "nobody can know. Format it anew, or wipe one of them",
                  t->path);
  if (e != NULL) return e;
  v->fs = fs_of(v->probe.fs);
  if (!vds_probe_usage(t->fd, &v->probe, &v->usage)) v->usage = (vds_usage){0};
  return is_mounted(v);
}


vds_volume *vds_volume_of(const vds_identity *who, error **e) {
  vds_target t;
  vds_volume *v = mem_zero(sizeof *v);
  if (v == NULL) {
    *e = error_no_memory();
    return NULL;
  }
  *e = vds_target_open(who, 0, &t);
  if (*e == NULL) {
    v->who = t.is;
    *e = look(v, &t);
  }
  vds_target_close(&t);
  if (*e == NULL) return v;
  mem_free(v);
  return NULL;
}


vds_volume *vds_volume_named(const vds_call *c, error **e) {
  vds_identity who;
  if (vds_identity_get(value_get(c->options, "object"), &who))
    return vds_volume_of(&who, e);
  *e = vds_error(SAROS_E_INVALIDARG, "object: a volume expected");
  return NULL;
}


error *vds_volume_again(vds_volume *v, const vds_target *t) {
  vds_volume now = {.who = t->is};
  error *e = look(&now, t);
  if (e != NULL) return e;
  if (now.fs != v->fs || strcmp(now.probe.uuid, v->probe.uuid) != 0)
    return vds_error(VDS_E_OBJECT_OUT_OF_SYNC,
                     "something else was put on %s just now; nothing was done "
                     "to it",
                     t->path);
  *v = now;
  return NULL;
}


const char *vds_volume_kind(const vds_volume *v) {
  return v->probe.fs[0] != '\0' ? v->probe.fs : "nothing that is known";
}
