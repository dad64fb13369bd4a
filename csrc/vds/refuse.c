/*
** refuse: what would be lost, and whether it may be.
*/
#include "vds/refuse.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

typedef struct judging {
  const vds_verb *verb;
  const vds_world *world;
  unsigned dangers;
  buffer reasons; /* one sentence of all of them */
  value *partitions, *file_systems, *holders, *denied;
  unsigned forced; /* what the options allow */
  bool failed, read_only;
  dev_t dev;      /* that it is about */
  vds_seen *seen; /* what is on that one; or NULL */
  error *unseen;  /* why that is not known */
} judging;

static const struct {
  unsigned bit;
  const char *name;
  bool can;
} dangers[] = {{VDS_DANGER_SYSTEM, "system", false},
               {VDS_DANGER_HELD, "held", false},
               {VDS_DANGER_MOUNTED, "mounted", true},
               {VDS_DANGER_SWAP, "swap", true},
               {VDS_DANGER_FOREIGN, "foreign", true}};

enum { DANGERS = sizeof dangers / sizeof *dangers };


/* ------------------------------------------------------------------
** What the caller allows
** ---------------------------------------------------------------- */

static error *unknown_force(const char *name) {
  for (size_t i = 0; i < DANGERS; i++)
    if (strcmp(dangers[i].name, name) == 0)
      return vds_error(SAROS_E_INVALIDARG,
                       "force: nothing forces '%s'; end what it is about first",
                       name);
  return vds_error(SAROS_E_INVALIDARG,
                   "force: there is no danger '%s'; each is forced by its own "
                   "name: mounted, swap, foreign",
                   name);
}


static error *allow(const char *name, unsigned *forced) {
  for (size_t i = 0; i < DANGERS; i++)
    if (dangers[i].can && strcmp(dangers[i].name, name) == 0) {
      *forced |= dangers[i].bit;
      return NULL;
    }
  return unknown_force(name);
}


/* { mounted = true } or { "mounted" }. */
static error *read_force(const vds_call *c, unsigned *forced) {
  const value *force = value_get(c->options, "force");
  error *e = NULL;
  *forced = 0;
  if (force == NULL) return NULL;
  if (force->type != VALUE_MAP && force->type != VALUE_LIST)
    return vds_error(SAROS_E_INVALIDARG,
                     "force: a table of dangers expected, as in { mounted = "
                     "true }; there is no force for everything");
  for (uint32_t i = 0; e == NULL && i < force->count; i++) {
    if (force->type == VALUE_LIST)
      e = allow(value_chars(force->as.items[i], ""), forced);
    else if (value_boolean(force->as.fields[i].item, false))
      e = allow(force->as.fields[i].name, forced);
  }
  return e;
}


/* ------------------------------------------------------------------
** What there is
** ---------------------------------------------------------------- */

static void keep(judging *j, value *list, value *item) {
  if (!value_add(list, item)) j->failed = true;
}


static void danger(judging *j, unsigned bit, const char *reason) {
  size_t i = 0;
  while (dangers[i].bit != bit) i++;
  if ((j->verb->fine & bit) != 0) return;
  bool can = dangers[i].can && (j->verb->fine & VDS_TAKES_NO_FORCE) == 0;
  j->dangers |= bit;
  if ((j->forced & bit) == 0) {
    buffer_text(&j->reasons, j->reasons.size > 0 ? "; " : "");
    buffer_text(&j->reasons, reason);
    if (can)
      buffer_format(&j->reasons, " (force = { %s = true } would do it)",
                    dangers[i].name);
  }
  value *map =
      vds_with(vds_with(value_map(), "danger", value_text(dangers[i].name)),
               "reason", value_text(reason));
  map = vds_with(map, "forced", value_bool((j->forced & bit) != 0));
  if (can) map = vds_with(map, "force", value_text(dangers[i].name));
  keep(j, j->denied, map);
}


static void judge_hold(judging *j, const char *path, const vds_hold *h) {
  char reason[400];
  value *map = vds_with(vds_with(value_map(), "path", value_text(path)), "kind",
                        value_text(vds_hold_name(h->kind)));
  keep(j, j->holders, vds_with(map, "who", value_text(h->who)));
  switch (h->kind) {
    case VDS_HOLD_MOUNT:
      snprintf(reason, sizeof reason, "%s is mounted at %.200s", path, h->who);
      danger(j, VDS_DANGER_MOUNTED, reason);
      return;
    case VDS_HOLD_SWAP:
      snprintf(reason, sizeof reason, "%s is swap that is in use", path);
      danger(j, VDS_DANGER_SWAP, reason);
      return;
    case VDS_HOLD_DEVICE:
      snprintf(reason, sizeof reason,
               "%.200s stands on %s: take that apart first", h->who, path);
      break;
    case VDS_HOLD_LOOP:
      snprintf(reason, sizeof reason,
               "%.200s is a disk whose file lies on %s: detach it first",
               h->who, path);
      break;
    case VDS_HOLD_ELSEWHERE:
      snprintf(reason, sizeof reason,
               "%s belongs to the btrfs %.40s, which is mounted where this "
               "process does not see it",
               path, h->who);
      break;
  }
  danger(j, VDS_DANGER_HELD, reason);
}


/* The device that it is about is open already, and not looked for by its name
   again. */
static error *look(judging *j, dev_t dev, const char *path, vds_probe *p) {
  if (j->seen != NULL && dev == j->dev) {
    error *e = vds_probe_keep(j->seen->fd, p, &j->seen->kept);
    j->seen->on = *p;
    j->unseen = error_ref(e);
    return e;
  }
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return vds_errno(errno, "it cannot be opened", path);
  error *e = vds_probe_fd(fd, p);
  close(fd);
  return e;
}


/* What cannot be read is no file system that could be lost; that it cannot be
   read is told by who opens it. */
static void judge_content(judging *j, const vds_about *a, const char *path) {
  vds_probe *p = mem_zero(sizeof *p);
  if (p == NULL) {
    j->failed = true;
    return;
  }
  error *e = look(j, a->dev, path, p);
  if (e == NULL && vds_probe_is_foreign(p)) {
    char reason[300];
    snprintf(reason, sizeof reason,
             "%s is a part of something else (%s), which loses it", path,
             p->fs);
    danger(j, VDS_DANGER_FOREIGN, reason);
  }
  if (e == NULL && p->devices > 1) {
    char reason[300];
    snprintf(reason, sizeof reason,
             "%s is one of the %u devices of a btrfs (%s), which would miss it",
             path, p->devices, p->uuid);
    danger(j, VDS_DANGER_FOREIGN, reason);
  }
  if (p->fs[0] != '\0') {
    value *map = vds_with(vds_with(value_map(), "path", value_text(path)), "fs",
                          value_text(p->fs));
    map = vds_with(map, "label", value_text(p->label));
    map = vds_with(map, "uuid", value_text(p->uuid));
    keep(j, j->file_systems,
         vds_with(map, "size", value_int((int64_t)a->size)));
  }
  error_unref(e);
  mem_free(p);
}


static error *judge_device(void *context, const vds_about *a) {
  judging *j = context;
  char path[80];
  const char *where;
  snprintf(path, sizeof path, "/dev/%s", a->name);
  if (vds_world_is_system(j->world, a->dev, &where)) {
    char reason[200];
    snprintf(reason, sizeof reason, "%s is what %s of this machine lives on",
             path, where);
    danger(j, VDS_DANGER_SYSTEM, reason);
  }
  vds_holders h = vds_holders_of(j->world, a->dev);
  for (size_t i = 0; i < h.count; i++) judge_hold(j, path, &h.items[i]);
  if (h.failed) j->failed = true;
  vds_holders_free(&h);
  if (j->verb->loses >= VDS_LOSES_VOLUME) judge_content(j, a, path);
  return NULL;
}


static error *judge_partition(void *context, const vds_about *a) {
  judging *j = context;
  value *map =
      vds_with(vds_with(value_map(), "number", value_int((int64_t)a->number)),
               "start", value_int((int64_t)a->start));
  keep(j, j->partitions, vds_with(map, "size", value_int((int64_t)a->size)));
  return judge_device(context, a);
}


/* Its neighbour is what the system lives on, and their table is one. */
static void judge_table(judging *j, const vds_identity *who, const char *name) {
  char reason[240];
  const char *where;
  if ((j->verb->fine & VDS_WRITES_TABLE) == 0 || who->dev == who->whole ||
      vds_world_is_system(j->world, who->dev, &where) ||
      !vds_world_is_system(j->world, who->whole, &where))
    return;
  snprintf(reason, sizeof reason,
           "/dev/%s is on the disk that %s of this machine lives on, whose "
           "table is not written",
           name, where);
  danger(j, VDS_DANGER_SYSTEM, reason);
}


static error *judge_all(judging *j, const vds_identity *who) {
  vds_about *a = mem_alloc(sizeof *a);
  if (a == NULL) return error_no_memory();
  error *e = vds_about_brief(who->dev, a);
  if (e != NULL && e->code == VDS_E_OBJECT_NOT_FOUND) {
    error_unref(e); /* it was there when it was listed */
    e = vds_error(VDS_E_OBJECT_DELETED,
                  "the device %u:%u is gone; list the disks again",
                  major(who->dev), minor(who->dev));
  } else if (e == NULL) {
    vds_identity now;
    vds_identity_of(a, &now);
    if (!vds_identity_same(who, &now))
      e = vds_error(VDS_E_OBJECT_OUT_OF_SYNC,
                    "/dev/%s is not what it was when it was listed; list the "
                    "disks again",
                    a->name);
  }
  if (e == NULL) {
    j->read_only = a->read_only;
    judge_table(j, who, a->name);
  }
  if (e == NULL) e = judge_device(j, a);
  if (e == NULL && who->dev == who->whole &&
      j->verb->loses != VDS_LOSES_NOTHING)
    e = vds_about_partitions(who->dev, judge_partition, j);
  mem_free(a);
  if (e == NULL && (j->failed || j->reasons.failed)) e = error_no_memory();
  return e;
}


/* ------------------------------------------------------------------
** The answer
** ---------------------------------------------------------------- */

/* The call itself would meet whoever has it for himself alone, and is none of
   those that can be named; a plan has to try. */
static void judge_claim(judging *j, const vds_identity *who) {
  char path[80], reason[200];
  if (j->dangers != 0 || j->verb->loses < VDS_LOSES_VOLUME) return;
  error *e = vds_about_node(who->dev, path);
  int fd =
      e == NULL ? open(path, O_RDONLY | O_EXCL | O_CLOEXEC | O_NONBLOCK) : -1;
  bool busy = e == NULL && fd < 0 && errno == EBUSY;
  error_unref(e); /* it went just now */
  if (fd >= 0) close(fd);
  if (!busy) return;
  snprintf(reason, sizeof reason,
           "somebody has %s mounted or open for himself alone, perhaps in a "
           "container",
           path);
  danger(j, VDS_DANGER_HELD, reason);
}


static bool begin(judging *j) {
  j->partitions = value_list();
  j->file_systems = value_list();
  j->holders = value_list();
  j->denied = value_list();
  return j->partitions != NULL && j->file_systems != NULL &&
         j->holders != NULL && j->denied != NULL;
}


static error *put_plan(vds_call *c, judging *j) {
  value *lost = vds_with(value_map(), "partitions", j->partitions);
  lost = vds_with(lost, "file_systems", j->file_systems);
  value *plan =
      vds_with(value_map(), VDS_CLASS_FIELD, value_text(VDS_CLASS_PLAN));
  plan = vds_with(plan, "plan", value_bool(true));
  plan = vds_with(plan, "allowed", value_bool((j->dangers & ~j->forced) == 0));
  plan = vds_with(plan, "lost", lost);
  plan = vds_with(plan, "holders", j->holders);
  plan = vds_with(plan, "denied", j->denied);
  j->partitions = j->file_systems = j->holders = j->denied = NULL;
  c->output = plan;
  return plan != NULL ? NULL : error_no_memory();
}


bool vds_plan_denies(vds_call *c, const char *danger, const char *reason) {
  const value *old = value_get(c->output, "denied");
  value *denied = old != NULL ? value_copy(old) : value_list();
  value *one = vds_with(value_map(), "danger", value_text(danger));
  one = vds_with(one, "reason", value_text(reason));
  if (denied == NULL || !value_add(denied, one)) {
    value_free(denied);
    return false;
  }
  return value_put(c->output, "denied", denied) &&
         value_put(c->output, "allowed", value_bool(false));
}


static error *permit(vds_call *c, const vds_identity *who, const vds_verb *verb,
                     unsigned *forced, bool *go, vds_seen *seen,
                     vds_world **world) {
  judging j = {.verb = verb, .dev = who->dev, .seen = seen};
  *go = false;
  *world = NULL;
  error *e = read_force(c, &j.forced);
  if ((verb->fine & VDS_TAKES_NO_FORCE) != 0) j.forced = 0;
  if (e == NULL && seen != NULL) vds_probe_ahead(seen->fd);
  if (e == NULL) e = vds_world_read(world);
  j.world = *world;
  if (e == NULL && !begin(&j)) e = error_no_memory();
  if (e == NULL) e = judge_all(&j, who);
  if (e == NULL && vds_flag(c, "plan")) {
    judge_claim(&j, who);
    e = j.failed ? error_no_memory() : put_plan(c, &j);
    if (e == NULL && j.read_only && verb->loses != VDS_LOSES_ACCESS &&
        !vds_plan_denies(c, "read-only", "it is read-only"))
      e = error_no_memory();
  } else if (e == NULL && (j.dangers & ~j.forced) != 0) {
    e = vds_error(VDS_E_OPERATION_DENIED, "it was not done: %s",
                  j.reasons.data);
  } else if (e == NULL) {
    *go = true;
    *forced = j.dangers & j.forced;
  }
  if (e == NULL)
    e = j.unseen;
  else
    error_unref(j.unseen);
  buffer_free(&j.reasons);
  value_free(j.partitions);
  value_free(j.file_systems);
  value_free(j.holders);
  value_free(j.denied);
  return e;
}


error *vds_permit(vds_call *c, const vds_identity *who, const vds_verb *verb,
                  unsigned *forced, bool *go) {
  vds_world *world;
  error *e = permit(c, who, verb, forced, go, NULL, &world);
  vds_world_free(world);
  return e;
}


void vds_seen_free(vds_seen *seen) {
  vds_sight_free(seen->kept);
  vds_world_free(seen->world);
  seen->kept = NULL;
  seen->world = NULL;
}


error *vds_permit_seen(vds_call *c, const vds_identity *who,
                       const vds_verb *verb, unsigned *forced, bool *go,
                       vds_seen *seen) {
  vds_seen_free(seen);
  return permit(c, who, verb, forced, go, seen, &seen->world);
}


error *vds_refuse_table(dev_t disk) {
  vds_world *world = NULL;
  const char *where;
  error *e = vds_world_read(&world);
  if (e == NULL && vds_world_is_system(world, disk, &where))
    e = vds_error(VDS_E_OPERATION_DENIED,
                  "it was not done: %s of this machine lives on that disk, "
                  "whose table is not written",
                  where);
  vds_world_free(world);
  return e;
}
