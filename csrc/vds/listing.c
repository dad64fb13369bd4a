/*
** listing: what there is. One pass over /sys, with the mounts read before.
*/
#include "vds/listing.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "vds/format.h"
#include "vds/holders.h"
#include "vds/object.h"
#include "vds/probe.h"
#include "vds/table.h"

typedef struct listing {
  vds_call *c;
  const vds_world *world;
  value *disk;                /* whose partitions follow */
  value *partitions;          /* so far */
  const vds_about *last;      /* that disk, of volumes alone; or NULL */
  bool look;                  /* into each */
  vds_unfinished *unfinished; /* what somebody began to make, and did not end */
} listing;


/* ------------------------------------------------------------------
** One volume
** ---------------------------------------------------------------- */

static value *with_usage(value *map, int fd, const vds_probe *p) {
  struct statvfs v;
  vds_usage u;
  const char *where = value_chars(value_get(map, "mounted"), NULL);
  if (map == NULL) return NULL;
  if (where != NULL && statvfs(where, &v) == 0 && v.f_blocks > 0) {
    map =
        vds_with(map, "fs_size", value_int((int64_t)(v.f_blocks * v.f_frsize)));
    return vds_with(map, "free", value_int((int64_t)(v.f_bavail * v.f_frsize)));
  }
  if (!vds_probe_usage(fd, p, &u)) return map;
  map = vds_with(map, "fs_size", value_int((int64_t)u.size));
  map = vds_with(map, "free", value_int((int64_t)u.free));
  return vds_with(map, "clean", value_bool(u.clean));
}


/* A device that cannot be read is listed, with why. */
static value *volume_map(const vds_about *a, const vds_world *world,
                         const vds_unfinished *u, bool all) {
  char path[80];
  vds_probe *p = mem_zero(sizeof *p);
  if (p == NULL) return NULL;
  snprintf(path, sizeof path, "/dev/%s", a->name);
  int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  error *e = fd < 0 ? vds_errno(errno, "it cannot be opened", path)
                    : vds_probe_fd(fd, p);
  bool any = p->fs[0] != '\0' || p->ambivalent;
  bool half = e == NULL && vds_is_unfinished(u, a->dev, p);
  value *map = NULL;
  if (all || half || (any && p->table[0] == '\0')) {
    map = vds_volume_map(a, world, p);
    if (e == NULL) map = with_usage(map, fd, p);
    if (half) {
      map = vds_with(map, "health", value_text("failed"));
      map = vds_with(map, "unfinished", value_text("format"));
    }
    if (e != NULL) {
      map = vds_with(map, "health", value_text("unknown"));
      map = vds_with(map, "error", value_text(e->message));
    }
  }
  error_unref(e);
  if (fd >= 0) close(fd);
  mem_free(p);
  return map;
}


value *vds_volume_seen(const vds_about *a, const vds_world *world, int fd,
                       const vds_probe *p) {
  return with_usage(vds_volume_map(a, world, p), fd, p);
}


/* Whoever may not see the records sees what there is without them. */
static void read_unfinished(listing *l) {
  error_unref(
      vds_format_unfinished(vds_text(l->c, "state_dir"), &l->unfinished));
}


/* ------------------------------------------------------------------
** Disks
** ---------------------------------------------------------------- */

static error *flush_disk(listing *l) {
  if (l->disk == NULL) return NULL;
  value *map = vds_with(l->disk, "partitions", l->partitions);
  l->disk = l->partitions = NULL;
  return value_add(l->c->output, map) ? NULL : error_no_memory();
}


static error *list_disk(void *context, const vds_about *a) {
  listing *l = context;
  error *e = NULL;
  if (vds_stopped(l->c, &e)) return e;
  if (a->number > 0) {
    value *map = l->look ? volume_map(a, l->world, l->unfinished, true)
                         : vds_volume_map(a, l->world, NULL);
    return value_add(l->partitions, map) ? NULL : error_no_memory();
  }
  e = flush_disk(l);
  if (e != NULL) return e;
  l->disk = vds_disk_map(a, l->world);
  l->partitions = value_list();
  return l->disk != NULL && l->partitions != NULL ? NULL : error_no_memory();
}


error *vds_work_disks(vds_call *c) {
  vds_world *world = NULL;
  listing l = {.c = c};
  c->output = value_list();
  error *e = c->output == NULL ? error_no_memory() : vds_world_read(&world);
  l.world = world;
  if (e == NULL) e = vds_world_each(world, list_disk, &l);
  if (e == NULL) e = flush_disk(&l);
  value_free(l.disk);
  value_free(l.partitions);
  vds_world_free(world);
  return e;
}


/* ------------------------------------------------------------------
** Volumes
** ---------------------------------------------------------------- */

/* A disk without partitions is a volume when something is on it. */
static error *flush_volume(listing *l) {
  if (l->last == NULL) return NULL;
  value *map = volume_map(l->last, l->world, l->unfinished, false);
  l->last = NULL;
  if (map == NULL) return NULL;
  return value_add(l->c->output, map) ? NULL : error_no_memory();
}


static error *list_volume(void *context, const vds_about *a) {
  listing *l = context;
  error *e = NULL;
  if (vds_stopped(l->c, &e)) return e;
  if (a->number > 0) {
    l->last = NULL;
    value *map = volume_map(a, l->world, l->unfinished, true);
    return value_add(l->c->output, map) ? NULL : error_no_memory();
  }
  e = flush_volume(l);
  l->last = a;
  return e;
}


error *vds_work_volumes(vds_call *c) {
  vds_world *world = NULL;
  listing l = {.c = c};
  c->output = value_list();
  error *e = c->output == NULL ? error_no_memory() : vds_world_read(&world);
  l.world = world;
  read_unfinished(&l);
  if (e == NULL) e = vds_world_each(world, list_volume, &l);
  if (e == NULL) e = flush_volume(&l);
  mem_free(l.unfinished);
  vds_world_free(world);
  return e;
}


/* ------------------------------------------------------------------
** One
** ---------------------------------------------------------------- */

/* Sizes may be others. */
static bool is_another(const vds_identity *was, const vds_about *a) {
  vds_identity now;
  vds_identity_of(a, &now);
  return (was->seq != 0 && now.seq != 0 && was->seq != now.seq) ||
         was->whole != now.whole || was->number != now.number ||
         was->start != now.start;
}


/* By its path, or, of an object that a script has, by its number: what is under
   that now may be another one, which was not asked for. */
static error *find(vds_call *c, vds_about *a) {
  vds_identity who;
  dev_t dev = 0;
  error *e = NULL;
  bool given = vds_identity_get(value_get(c->options, "object"), &who);
  if (given)
    dev = who.dev;
  else
    e = vds_about_named(vds_text(c, "path"), &dev);
  if (e == NULL) e = vds_about_read(dev, a);
  if (e == NULL && given && is_another(&who, a))
    e = vds_error(VDS_E_OBJECT_OUT_OF_SYNC,
                  "what this was is gone: /dev/%s is another one now; ask for "
                  "it by its path",
                  a->name);
  return e;
}


static value *with_details(value *map, const vds_about *a) {
  vds_probe *p = mem_zero(sizeof *p);
  int fd = -1;
  char path[80];
  snprintf(path, sizeof path, "/dev/%s", a->name);
  map = vds_with(map, "block", value_int(a->block));
  map = vds_with(map, "physical_block", value_int(a->physical));
  map = vds_with(map, "rotational", value_bool(a->rotational));
  if (p != NULL) fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  error *e = fd >= 0 ? vds_probe_fd(fd, p) : NULL;
  if (fd >= 0 && e == NULL && p->table[0] != '\0' && map != NULL)
    e = vds_table_describe(fd, map);
  if (e != NULL) {
    map = vds_with(map, "health", value_text("failing"));
    map = vds_with(map, "error", value_text(e->message));
  }
  error_unref(e);
  if (fd >= 0) close(fd);
  mem_free(p);
  return map;
}


static error *one_disk(listing *l, vds_about *a) {
  l->look = true;
  l->c->output = value_list(); /* of this one, and taken out again */
  error *e = l->c->output == NULL ? error_no_memory() : list_disk(l, a);
  if (e == NULL) e = vds_about_partitions(a->dev, list_disk, l);
  if (e == NULL) l->disk = with_details(l->disk, a);
  if (e == NULL) e = flush_disk(l);
  if (e != NULL) return e;
  value *list = l->c->output;
  l->c->output = list->as.items[0];
  list->count = 0;
  value_free(list);
  return NULL;
}


error *vds_work_disk(vds_call *c) {
  vds_world *world = NULL;
  listing l = {.c = c};
  vds_about *a = mem_alloc(sizeof *a);
  if (a == NULL) return error_no_memory();
  error *e = find(c, a);
  if (e == NULL && a->number > 0) e = vds_about_read(a->whole, a);
  if (e == NULL) e = vds_world_read(&world);
  l.world = world;
  read_unfinished(&l);
  if (e == NULL) e = one_disk(&l, a);
  mem_free(l.unfinished);
  value_free(l.disk);
  value_free(l.partitions);
  vds_world_free(world);
  mem_free(a);
  return e;
}


error *vds_work_volume(vds_call *c) {
  vds_world *world = NULL;
  listing l = {.c = c};
  vds_about *a = mem_alloc(sizeof *a);
  if (a == NULL) return error_no_memory();
  error *e = find(c, a);
  if (e == NULL) e = vds_world_read(&world);
  read_unfinished(&l);
  if (e == NULL) {
    c->output = volume_map(a, world, l.unfinished, true);
    if (c->output == NULL) e = error_no_memory();
  }
  mem_free(l.unfinished);
  vds_world_free(world);
  mem_free(a);
  return e;
}
