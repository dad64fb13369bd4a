/*
** lvm: snapshots by LVM, of thin volumes (in their pool) and of others (in
** free space of their group, which holds what changes in the original). The
** device mapper holds the file system still by itself for that moment; a
** freeze around it would make it fail. LVM's own program does it, because what
** a volume is stands in LVM's metadata, and nobody else may write there.
*/
#include "vss/provider/lvm_parts.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "op/engine.h"

#define MAKE_SECONDS 60
#define PART 5 /* a classic snapshot is so big a part of the original */
#define LEAST ((uint64_t)32 << 20)

typedef struct lvm {
  int place, fs, lock;
  char *root;
} lvm;


/* ------------------------------------------------------------------
** Whether
** ---------------------------------------------------------------- */

static error *cannot(const origin *from, uint32_t code, const char *why) {
  return error_at(vss_error(code, "LVM cannot take a snapshot of \"%s\": %s",
                            from->path, why),
                  from->path);
}

static error *probe(const origin *from) {
  const uint32_t no = VSS_E_VOLUME_NOT_SUPPORTED_BY_PROVIDER;
  char *device = from->disk != 0 ? lvm_device(from->disk) : NULL;
  bool is_lvm = device != NULL;
  mem_free(device);
  if (!is_lvm)
    return cannot(from, no, "its file system is not on a logical volume");
  if (strcmp(from->type, "btrfs") == 0)
    return cannot(from, no,
                  "a snapshot of a whole btrfs cannot be mounted beside the "
                  "original; choose the provider btrfs");
  if (!tool_is_there("lvcreate") || !tool_is_there("lvremove") ||
      !tool_is_there("lvs"))
    return cannot(from, no, "its programs are not here; install lvm2");
  if (geteuid() != 0 || !has_capability(CAP_SYS_ADMIN))
    return cannot(from, SAROS_E_ACCESSDENIED,
                  "that needs root with CAP_SYS_ADMIN");
  return NULL;
}


/* ------------------------------------------------------------------
** Plan
** ---------------------------------------------------------------- */

static bool is_thin(const lvm_volume *v) {
  return strcmp(v->segtype, "thin") == 0;
}

/* How much may change in the original before a classic snapshot is full. */
static error *plan_size(const origin *from, const lvm_volume *v,
                        uint64_t *size) {
  *size = v->size / PART > LEAST ? v->size / PART : LEAST;
  if (*size > v->vg_free) *size = v->vg_free;
  if (*size >= LEAST / 2) return NULL;
  return error_at(
      vss_error(VSS_E_INSUFFICIENT_STORAGE,
                "the volume group %s has %llu MiB free, too little for a "
                "snapshot of \"%s\": add a disk to it (vgextend), or choose "
                "another provider",
                v->vg, (unsigned long long)(v->vg_free >> 20), from->path),
      from->path);
}

static bool keep_volume(shadow *s, const lvm_volume *v, uint64_t size) {
  char name[LVM_NAME];
  lvm_name(s->id, name);
  value *k = s->keep;
  return value_put(k, "group", value_text(v->vg)) &&
         value_put(k, "group_uuid", value_text(v->vg_uuid)) &&
         value_put(k, "origin", value_text(v->lv)) &&
         value_put(k, "origin_uuid", value_text(v->uuid)) &&
         value_put(k, "thin", value_bool(is_thin(v))) &&
         value_put(k, "size", value_int((int64_t)size)) &&
         value_put(k, "name", value_text(name)) &&
         value_put(k, "tag", value_text(name)) &&
         value_put(k, "file_system_type", value_text(s->from->type));
}

static error *plan(shadow *s) {
  lvm_volume v;
  uint64_t size = 0;
  char *device = lvm_device(s->from->disk);
  if (device == NULL)
    return cannot(s->from, VSS_E_VOLUME_NOT_SUPPORTED_BY_PROVIDER,
                  "its file system is not on a logical volume");
  error *e = lvm_ask(device, NULL, NULL, &v);
  mem_free(device);
  if (e != NULL) return e;
  if (!is_thin(&v)) e = plan_size(s->from, &v, &size);
  if (e == NULL && !keep_volume(s, &v, size)) e = error_no_memory();
  value_free(v.answer);
  char *above = e == NULL ? path_parent(s->place) : NULL;
  if (e == NULL) e = above != NULL ? place_plan(s, above) : error_no_memory();
  mem_free(above);
  return e;
}


/* ------------------------------------------------------------------
** Prepare and commit
** ---------------------------------------------------------------- */

static error *prepare(shadow *s, saros_op *op) {
  lvm *l = mem_zero(sizeof *l);
  if (l == NULL) return error_no_memory();
  s->self = l;
  l->place = l->fs = l->lock = -1;
  l->root = path_join(s->place, LVM_ROOT);
  if (l->root == NULL) return error_no_memory();
  l->fs = open(s->from->root, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (l->fs < 0)
    return error_of_errno(SAROS_FACADE_VSS, errno, "cannot open",
                          s->from->root);
  error *e = place_make(s, false, &l->place);
  if (e == NULL && mkdirat(l->place, LVM_ROOT, 0700) != 0)
    e = error_of_errno(SAROS_FACADE_VSS, errno, "cannot make", l->root);
  provider_step();
  if (e == NULL) e = tool_lock(l->place, LVM_LOCK, 1, &l->lock);
  provider_step();
  return e != NULL ? e : presync(l->fs, -1, op);
}

static const char *keep_text(const shadow *s, const char *name) {
  return value_chars(value_get(s->keep, name), "");
}

/* Nothing that waits for the file system is done here but by lvcreate, which
   the kernel holds back while it is the one that suspends. */
static error *commit(shadow *s) {
  lvm *l = s->self;
  char original[300], size[40];
  const char *argv[20];
  size_t n = 0;
  snprintf(original, sizeof original, "%s/%s", keep_text(s, "group"),
           keep_text(s, "origin"));
  snprintf(size, sizeof size, "%lldb",
           (long long)value_integer(value_get(s->keep, "size"), 0));
  argv[n++] = "lvcreate";
  argv[n++] = "--yes";
  argv[n++] = "--quiet";
  argv[n++] = "--snapshot";
  argv[n++] = "--permission";
  argv[n++] = "r";
  argv[n++] = "--name";
  argv[n++] = keep_text(s, "name");
  argv[n++] = "--addtag";
  argv[n++] = keep_text(s, "tag");
  if (value_boolean(value_get(s->keep, "thin"), false)) {
    argv[n++] = "--setactivationskip"; /* else it is not there to be mounted */
    argv[n++] = "n";
  } else {
    argv[n++] = "--size";
    argv[n++] = size;
  }
  argv[n++] = original;
  argv[n] = NULL;
  tool_call call = {.argv = argv, .lock = l->lock, .seconds = MAKE_SECONDS};
  provider_step();
  error *e = tool_run(&call, NULL);
  provider_step();
  if (e == NULL) return NULL;
  return error_because(error_at(vss_error(VSS_E_UNEXPECTED_PROVIDER_ERROR,
                                          "LVM made no snapshot of \"%s\": %s",
                                          s->given, e->message),
                                s->given),
                       e);
}


/* ------------------------------------------------------------------
** Finish
** ---------------------------------------------------------------- */

/* Read-only and as it is: a journal is not replayed on what was held still,
   and an XFS has the uuid of the original, which is mounted. */
error *lvm_mount(const char *device, const char *root, const char *type) {
  const char *options = strcmp(type, "xfs") == 0 ? "nouuid,norecovery" : NULL;
  if (mount(device, root, type, MS_RDONLY | MS_NOSUID | MS_NODEV, options) == 0)
    return NULL;
  return error_of_errno(SAROS_FACADE_VSS, errno, "cannot mount the snapshot",
                        device);
}

static error *note_mount(shadow *s) {
  if (!value_put(s->keep, "mounted", value_bool(true)))
    return error_no_memory();
  return shadow_note(s);
}

static error *finish(shadow *s, saros_op *op) {
  lvm *l = s->self;
  lvm_volume v;
  char select[200];
  snprintf(select, sizeof select, "lv_name=\"%s\"", keep_text(s, "name"));
  error *e = cancelled_error(op);
  if (e != NULL) return e;
  e = lvm_ask(keep_text(s, "group"), select, op, &v);
  if (e != NULL) return e;
  if (v.answer == NULL)
    return vss_error(VSS_E_UNEXPECTED_PROVIDER_ERROR,
                     "LVM made a snapshot of \"%s\" and does not know it",
                     s->given);
  s->device = mem_text(v.path);
  if (!value_put(s->keep, "uuid", value_text(v.uuid)) || s->device == NULL)
    e = error_no_memory();
  value_free(v.answer);
  if (e == NULL) e = note_mount(s);
  provider_step();
  if (e == NULL) e = lvm_mount(s->device, l->root, s->from->type);
  provider_step();
  if (e != NULL) return e;
  const char *below = s->from->below;
  s->path = *below == '\0' ? mem_text(l->root) : path_join(l->root, below);
  if (s->path == NULL) return error_no_memory();
  uint64_t size = (uint64_t)value_integer(value_get(s->keep, "size"), 0);
  bool good = value_boolean(value_get(s->keep, "thin"), false) ||
              shadow_warn(s,
                          "the snapshot lasts until %llu MiB of the original "
                          "have changed: then LVM drops it",
                          (unsigned long long)(size >> 20));
  return good ? NULL : error_no_memory();
}

static void forget(shadow *s) {
  lvm *l = s->self;
  s->self = NULL;
  if (l == NULL) return;
  if (l->lock >= 0) close(l->lock);
  if (l->place >= 0) close(l->place);
  if (l->fs >= 0) close(l->fs);
  mem_free(l->root);
  mem_free(l);
}

const provider provider_lvm = {
    .name = "lvm",
    .id = "eef68e1e-daa0-49e5-8853-5b641685433d",
    .freeze = FREEZE_SELF,
    .atomic = ATOMIC_VOLUME,
    .worth = "the whole file system at one instant, by LVM",
    .rank = 60,
    .probe = probe,
    .plan = plan,
    .prepare = prepare,
    .commit = commit,
    .finish = finish,
    .destroy = lvm_destroy,
    .forget = forget,
    .verify = lvm_verify,
    .surfaced = lvm_surfaced,
    .surface = lvm_surface,
    .loosen = lvm_loosen,
    .stays = lvm_stays,
};
