/*
** object_map: disks and volumes as a script sees them. Their fields are what
** was so when they were looked at; the methods that Lua adds compare it with
** what is.
*/
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>

#include "vds/busy.h"
#include "vds/holders.h"
#include "vds/object.h"
#include "vds/probe.h"


static value *identified(const vds_about *a, const char *class) {
  vds_identity who;
  char path[80];
  value *map = value_map();
  vds_identity_of(a, &who);
  snprintf(path, sizeof path, "/dev/%s", a->name);
  if (map != NULL && vds_identity_put(map, &who) &&
      value_put(map, VDS_CLASS_FIELD, value_text(class)) &&
      value_put(map, "path", value_text(path)) &&
      value_put(map, "read_only", value_bool(a->read_only)))
    return map;
  value_free(map);
  return NULL;
}


/* Who holds it, where it is mounted, and what works on it. */
static value *held(value *map, const vds_about *a, const vds_world *world) {
  const char *where, *work = vds_busy_with(a->whole, a->dev);
  vds_holders h = vds_holders_of(world, a->dev);
  const char *mounted = NULL;
  for (size_t i = 0; i < h.count && mounted == NULL; i++)
    if (h.items[i].kind == VDS_HOLD_MOUNT) mounted = h.items[i].who;
  map = vds_with(map, "holders", vds_holders_list(&h));
  if (mounted != NULL) map = vds_with(map, "mounted", value_text(mounted));
  vds_holders_free(&h);
  map = vds_with(map, "system",
                 value_bool(vds_world_is_system(world, a->dev, &where)));
  return vds_with(map, "transition",
                  value_text(work != NULL ? work : "stable"));
}


value *vds_disk_map(const vds_about *a, const vds_world *world) {
  value *map = held(identified(a, VDS_CLASS_DISK), a, world);
  if (a->file[0] != '\0') map = vds_with_path(map, "file", a->file);
  if (a->model[0] != '\0') map = vds_with(map, "model", value_text(a->model));
  map = vds_with(map, "removable", value_bool(a->removable));
  map = vds_with(map, "health", value_text("healthy"));
  map = vds_with(map, "status", value_text("online"));
  return vds_with(map, "partitions", value_list());
}


/* What has no file system that anybody knows is "raw", as the original says;
   what had begun to be one, or is two at once, has failed. */
static value *described(value *map, const vds_probe *p) {
  bool bad = p->unfinished || p->ambivalent;
  map = vds_with(map, "fs", value_text(p->fs[0] != '\0' ? p->fs : "raw"));
  if (p->label[0] != '\0') map = vds_with(map, "label", value_text(p->label));
  if (p->uuid[0] != '\0') map = vds_with(map, "uuid", value_text(p->uuid));
  if (p->unfinished) map = vds_with(map, "unfinished", value_text("format"));
  if (p->ambivalent) map = vds_with(map, "ambivalent", value_bool(true));
  return vds_with(map, "health", value_text(bad ? "failed" : "healthy"));
}


value *vds_volume_map(const vds_about *a, const vds_world *world,
                      const vds_probe *probe) {
  char disk[80];
  value *map = held(identified(a, VDS_CLASS_VOLUME), a, world);
  error *e = a->whole == a->dev ? vds_about_path(a, disk)
                                : vds_about_node(a->whole, disk);
  if (e == NULL) map = vds_with(map, "disk", value_text(disk));
  error_unref(e);
  return probe != NULL ? described(map, probe) : map;
}


const char *vds_hold_name(vds_hold_kind kind) {
  switch (kind) {
    case VDS_HOLD_MOUNT: return "mount";
    case VDS_HOLD_SWAP: return "swap";
    case VDS_HOLD_DEVICE: return "device";
    case VDS_HOLD_LOOP: return "loop";
    case VDS_HOLD_ELSEWHERE: return "elsewhere";
  }
  return "";
}


static value *hold_map(const vds_hold *h) {
  value *map = value_map();
  if (map != NULL &&
      value_put(map, "kind", value_text(vds_hold_name(h->kind))) &&
      value_put(map, "who", value_text(h->who)))
    return map;
  value_free(map);
  return NULL;
}


value *vds_holders_list(const vds_holders *h) {
  value *list = h->failed ? NULL : value_list();
  for (size_t i = 0; list != NULL && i < h->count; i++) {
    if (value_add(list, hold_map(&h->items[i]))) continue;
    value_free(list);
    return NULL;
  }
  return list;
}
