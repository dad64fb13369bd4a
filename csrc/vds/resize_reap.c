/*
** resize_reap: volumes whose resizing was ended by a death. An extension goes
** on, for both of its steps can be done once more; a shrink goes back to where
** it began, or, when its partition was being moved, on.
*/
#include <string.h>
#include <unistd.h>

#include "vds/fs_parts.h"
#include "vds/record.h"
#include "vds/resize.h"
#include "vds/resizing.h"
#include "vds/step.h"


/* ------------------------------------------------------------------
** Which volume it was
** ---------------------------------------------------------------- */

typedef struct search {
  const value *record;
  vds_identity was, found;
  size_t count;
} search;


static uint64_t number_of(const value *record, const char *name) {
  int64_t n = value_integer(value_get(record, name), 0);
  return n > 0 ? (uint64_t)n : 0;
}


static bool has_its_uuid(const search *s, const vds_identity *who) {
  vds_target t;
  const char *uuid = vds_record_text(s->record, "uuid");
  vds_probe *p = mem_zero(sizeof *p);
  if (p == NULL) return false;
  error *e = vds_target_open(who, 0, &t);
  if (e == NULL) {
    e = vds_probe_fd(t.fd, p);
    vds_target_close(&t);
  }
  bool is = e == NULL && strcmp(p->uuid, uuid) == 0;
  error_unref(e);
  mem_free(p);
  return is;
}


/* Of a partition: its disk's. What tells none may be any. */
static bool has_its_serial(const search *s, const vds_identity *who) {
  return s->was.serial[0] == '\0' || who->serial[0] == '\0' ||
         strcmp(s->was.serial, who->serial) == 0;
}


/* It may have come again under another number, as an image that is attached
   anew has. Its size is the one before or the one after. */
static error *look_at(void *context, const vds_about *a) {
  search *s = context;
  vds_identity who;
  vds_identity_of(a, &who);
  if (who.number != s->was.number || who.start != s->was.start) return NULL;
  if (who.size != number_of(s->record, "size_before") &&
      who.size != number_of(s->record, "size"))
    return NULL;
  if (!has_its_serial(s, &who) || !has_its_uuid(s, &who)) return NULL;
  s->found = who;
  s->count++;
  return NULL;
}


/* Still the very device? Numbers mean that in the boot that gave them alone. */
static bool is_there(search *s) {
  error *e = NULL;
  bool knows = s->was.seq != 0 && vds_owner_is_of_this_boot(s->record);
  vds_about *a = knows ? vds_about_new(s->was.dev, &e) : NULL;
  bool is = a != NULL && a->seq == s->was.seq && a->whole == s->was.whole &&
            a->number == s->was.number && a->start == s->was.start;
  if (is) vds_identity_of(a, &s->found);
  error_unref(e);
  mem_free(a);
  return is;
}


/* Two that look the same (somebody copied the image): neither is touched. */
static bool find(const value *record, vds_identity *who) {
  search s = {.record = record};
  if (!vds_identity_get(value_get(record, "object"), &s.was)) return false;
  bool good = is_there(&s);
  if (!good && *vds_record_text(record, "uuid") != '\0') {
    error_unref(vds_about_all(look_at, &s));
    good = s.count == 1;
  }
  *who = s.found;
  return good;
}


/* ------------------------------------------------------------------
** On, or back
** ---------------------------------------------------------------- */

static error *ready(vds_resizing *r, bool online) {
  const vds_fs *fs = r->v->fs;
  if (online) return vds_resizing_mount(r);
  return fs != NULL && fs->ready != NULL ? fs->ready(r->c, &r->t, true, r->lock)
                                         : NULL;
}


static error *extend_on(vds_resizing *r) {
  uint64_t size = 0;
  const vds_fs *fs = r->v->fs;
  bool online =
      fs != NULL && (r->v->mounted || (fs->can & VDS_FS_GROW_MOUNTED) != 0);
  error *e = vds_resizing_open(r, !online);
  if (e != NULL || r->t.is.size < r->to || fs == NULL) return e;
  e = ready(r, online);
  if (e == NULL) e = vds_resizing_fs_size(r, &size);
  if (e == NULL && size < r->to && fs->grow != NULL)
    e = fs->grow(r->c, &r->t, r->mount, r->to, r->lock);
  vds_step("reap: extended");
  if (e == NULL) return NULL;
  /* Then as it was: the partition is not left larger than what it has. */
  error *why = vds_resizing_fs_size(r, &size);
  if (why == NULL && size <= r->device)
    why = vds_resizing_partition(r, r->device);
  error_unref(why);
  return e;
}


/* Whoever has used it since took it as it was then, and what he wrote would be
   lost. */
static error *shrink_back(vds_resizing *r, const char *undo, bool online) {
  error *e = NULL;
  if (undo != NULL && vds_ext4_was_mounted(r->t.fd, undo)) {
    log_write(LOG_WARNING, "vds",
              "%s was being shrunk when somebody died, and was mounted since; "
              "it is not rolled back",
              r->t.path);
    return NULL;
  }
  if (undo == NULL) e = ready(r, online);
  return e != NULL ? e : vds_shrink_back(r, undo);
}


static error *shrink_back_or_on(vds_resizing *r, const char *step) {
  const vds_fs *fs = r->v->fs;
  char *undo = vds_record_path(r->record, "undo");
  bool online = fs != NULL && (fs->can & VDS_FS_SHRINK_MOUNTED) != 0;
  bool undone = undo != NULL && *undo != '\0';
  error *e = NULL;
  if (fs == NULL)
    e = vds_error(VDS_E_VOLUME_NOT_HEALTHY,
                  "no file system is found where one was being shrunk");
  if (e == NULL) e = vds_resizing_open(r, !online);
  if (e == NULL && strcmp(step, "partition") == 0)
    e = vds_shrink_on(r);
  else if (e == NULL && strcmp(step, "file system") == 0)
    e = shrink_back(r, undone ? undo : NULL, online);
  vds_step("reap: shrunk");
  mem_free(undo);
  return e;
}


static bool is_at_work(const error *e) {
  return e != NULL &&
         (e->code == SAROS_E_LOCKED || e->code == VDS_E_DEVICE_IN_USE ||
          e->code == VDS_E_ANOTHER_CALL_IN_PROGRESS);
}


static error *go(vds_resizing *r) {
  const char *step = vds_record_text(r->record, "step");
  if (strcmp(vds_record_text(r->record, "kind"), "extend") == 0)
    return extend_on(r);
  if (strcmp(step, "check") == 0) return NULL;
  return shrink_back_or_on(r, step);
}


/* Something was made on it since: it is not ours to change. What was being
   resized keeps its uuid all the while; where nothing is to be seen by now, its
   super block may be half-written. */
static bool is_another(const vds_resizing *r) {
  const vds_probe *p = &r->v->probe;
  const char *uuid = vds_record_text(r->record, "uuid");
  const char *fs = vds_record_text(r->record, "fs");
  if (p->fs[0] == '\0' ||
      (strcmp(p->uuid, uuid) == 0 && (*uuid != '\0' || strcmp(p->fs, fs) == 0)))
    return false;
  log_write(LOG_WARNING, "vds",
            "%s was being resized when somebody died, and has another %s by "
            "now; nothing is done to it",
            vds_record_text(r->record, "path"), p->fs);
  return true;
}


static error *mend(vds_resizing *r, bool *mended) {
  error *e = NULL;
  vds_identity who;
  r->lock = vds_record_lock(r->at, r->record, &e);
  if (e == NULL && !find(r->record, &who)) {
    log_write(LOG_WARNING, "vds",
              "%s is not there, and its resizing was ended by a death; reap "
              "again when it is back",
              vds_record_text(r->record, "path"));
    return NULL;
  }
  if (e == NULL) r->v = vds_volume_of(&who, &e);
  if (e == NULL && !is_another(r)) e = go(r);
  *mended = e == NULL;
  return e;
}


/* Whom somebody still works on is left for another time. What cannot be mended
   is told in the log and kept: with its undo file all may be had back yet. */
error *vds_resize_reap(vds_call *c, const char *at, const value *record,
                       bool *mended) {
  vds_resizing r = VDS_RESIZING_NONE;
  *mended = false;
  r.c = c;
  r.at = mem_text(at);
  r.record = value_copy(record);
  r.device = number_of(record, "size_before");
  r.part = number_of(record, "size");
  r.fs_size = number_of(record, "fs_before");
  r.to = number_of(record, "fs_size");
  error *e =
      r.at == NULL || r.record == NULL ? error_no_memory() : mend(&r, mended);
  if (e != NULL && !is_at_work(e))
    log_write(LOG_WARNING, "vds", "the resizing of %s is not mended: %s",
              vds_record_text(record, "path"), e->message);
  error_unref(e);
  if (*mended) vds_resizing_forget(&r);
  vds_resizing_close(&r);
  return NULL;
}
