/*
** format: a file system on a volume. What was there is taken away first, all of
** its signatures at once, so that a half-made one is never taken for the old
** one; and who makes the new one is told what uuid it shall have, so that what
** is found later is known for what it is.
**
** What is durable when. Who is killed leaves all that was written, in the order
** it was written: for him the order of the steps is enough. A loss of power
** takes what was not synced, any of it; against that, and no more:
**   - the wipe is synced before the program begins. Some write past the page
**     cache (mkfs.xfs), most discard first; the old signature on top of that
**     would be a file system that looks well and is not. Where nothing was
**     there to wipe nothing needs a sync.
**   - so is the record, beside the wipe, on a thread of its own: on most
**     machines both end in one journal, and are one commit of it; beside the
**     program they were two, and it waited for one of them when it synced for
**     the first time. A wipe without a record leaves what is raw, and nobody
**     takes that for anything else.
**   - what was made is synced while it is looked at. These programs do it
**     themselves, but not all versions of them; then it is quick.
**   - that the record is gone is not synced: if it comes back it is found to be
**     about one that is whole. Of FAT only it can tell, so there "made" is
**     synced before.
*/
#include "vds/format.h"

#include <errno.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vds/aside.h"
#include "vds/clean.h"
#include "vds/fs.h"
#include "vds/listing.h"
#include "vds/loop.h"
#include "vds/record.h"
#include "vds/refuse.h"
#include "vds/step.h"

typedef struct formatting {
  vds_call *c;
  const vds_fs *fs;
  vds_target t;
  vds_fs_options how;
  char uuid[GUID_TEXT];
  vds_seen before;
  vds_probe now;
  char *at; /* where records are */
  value *record;
  int files[2];    /* its own and its directory's, to be synced */
  vds_aside aside; /* what is being synced just now */
  bool saved, wiped;
} formatting;


/* ------------------------------------------------------------------
** What is asked for
** ---------------------------------------------------------------- */

static error *unknown(const char *name) {
  buffer b = BUFFER_EMPTY;
  vds_fs_names(&b);
  error *e =
      b.failed
          ? error_no_memory()
          : vds_error(VDS_E_INVALID_FS_TYPE,
                      "no '%.40s' can be made: the file systems here are %s",
                      name, b.data);
  buffer_free(&b);
  return e;
}


static error *check_block(const vds_fs *fs, int64_t block) {
  int64_t most = fs->block_most > 0 ? fs->block_most : sysconf(_SC_PAGESIZE);
  if (block == 0) return NULL;
  if (fs->block_least == 0)
    return vds_error(SAROS_E_INVALIDARG, "block: of %s it cannot be chosen",
                     fs->name);
  if (block >= fs->block_least && block <= most && (block & (block - 1)) == 0)
    return NULL;
  return vds_error(SAROS_E_INVALIDARG,
                   "block: of %s it is a power of two from %u to %lld here",
                   fs->name, fs->block_least, (long long)most);
}


static error *read_options(formatting *f, vds_identity *who) {
  const vds_call *c = f->c;
  const char *name = vds_text(c, "fs");
  int64_t block = vds_integer(c, "block", 0);
  if (!vds_identity_get(value_get(c->options, "object"), who))
    return vds_error(SAROS_E_INVALIDARG, "object: a volume or a disk expected");
  f->fs = name != NULL ? vds_fs_find(name) : NULL;
  if (f->fs == NULL || f->fs->format == NULL)
    return unknown(name != NULL ? name : "");
  error *e = vds_fs_label(c, f->fs, &f->how.label);
  if (e == NULL) e = check_block(f->fs, block);
  f->how.block = (unsigned)block;
  f->how.full = !value_boolean(value_get(c->options, "quick"), true);
  f->how.uuid = f->uuid;
  f->how.lock = -1;
  return e;
}


static error *check_size(const formatting *f) {
  uint64_t size = f->t.is.size;
  if (size < f->fs->least)
    return vds_error(VDS_E_VOLUME_TOO_SMALL,
                     "%s has %llu bytes, and %s needs %llu", f->t.path,
                     (unsigned long long)size, f->fs->name,
                     (unsigned long long)f->fs->least);
  if (f->fs->most > 0 && size > f->fs->most)
    return vds_error(VDS_E_VOLUME_TOO_BIG,
                     "%s has %llu bytes, and %s can have %llu", f->t.path,
                     (unsigned long long)size, f->fs->name,
                     (unsigned long long)f->fs->most);
  return NULL;
}


/* ------------------------------------------------------------------
** Whether it may be
** ---------------------------------------------------------------- */

static const vds_verb verb = {VDS_LOSES_VOLUME, 0};

static bool has_table(const formatting *f) {
  return f->t.is.dev == f->t.is.whole && f->before.on.table[0] != '\0';
}


static const char table_reason[] =
    "it has a partition table: format a partition of it, or clean the disk "
    "first";

static error *can_be_made(const formatting *f) {
  error *e = check_size(f);
  return e == NULL ? vds_tool_missing(f->fs->maker, f->fs->package) : e;
}


/* Why it would fail all the same. */
static error *plan_on(const formatting *f) {
  bool good = !has_table(f) || vds_plan_denies(f->c, "table", table_reason);
  error *e = can_be_made(f);
  if (e != NULL && good) good = vds_plan_denies(f->c, "impossible", e->message);
  error_unref(e);
  return good ? NULL : error_no_memory();
}


static error *permit(formatting *f, unsigned *forced, bool *go) {
  f->before.fd = f->t.fd;
  error *e = vds_permit_seen(f->c, &f->t.is, &verb, forced, go, &f->before);
  if (e == NULL && !*go) e = plan_on(f);
  if (e == NULL && *go && has_table(f))
    e = vds_error(VDS_E_OPERATION_DENIED, "%s was not formatted: %s", f->t.path,
                  table_reason);
  return e;
}


/* ------------------------------------------------------------------
** Its record
** ---------------------------------------------------------------- */

/* A disk of ours is also known by its file, for it may be attached as another
   device when this is looked at again. */
static bool put_file(const formatting *f, value *record) {
  char id[GUID_TEXT];
  struct stat st;
  if (!vds_loop_id(f->t.lock, id)) return true;
  const vds_about *a = vds_world_about(f->before.world, f->t.is.whole);
  bool known =
      a != NULL && stat(a->file, &st) == 0 && vds_loop_is(f->t.lock, &st, NULL);
  return !known ||
         (value_put(record, "file", value_text(a->file)) &&
          value_put(record, "file_device", value_int((int64_t)st.st_dev)) &&
          value_put(record, "file_inode", value_int((int64_t)st.st_ino)));
}


static void close_files(formatting *f) {
  vds_aside_end(&f->aside);
  for (int i = 0; i < 2; i++) {
    if (f->files[i] >= 0) close(f->files[i]);
    f->files[i] = -1;
  }
}


static error *put_record(formatting *f) {
  close_files(f);
  return vds_record_put(f->at, f->record, f->files);
}


static void sync_record(formatting *f) {
  vds_aside_sync(&f->aside, f->files[0], f->files[1]);
}


static error *write_record(formatting *f) {
  guid g;
  error *e = NULL;
  value *object = value_map();
  f->at = vds_records_at(vds_text(f->c, "state_dir"), &e);
  f->record = e == NULL ? vds_record_new("format") : NULL;
  if (e == NULL && (f->record == NULL || object == NULL ||
                    !vds_identity_put(object, &f->t.is) || !guid_make(&g)))
    e = error_no_memory();
  if (e != NULL) {
    value_free(object);
    return e;
  }
  vds_fs_uuid(f->fs, &g, f->uuid);
  if (!value_put(f->record, "object", object) ||
      !value_put(f->record, "path", value_text(f->t.path)) ||
      !value_put(f->record, "fs", value_text(f->fs->name)) ||
      !value_put(f->record, "uuid", value_text(f->uuid)) ||
      !value_put(f->record, "state", value_text("formatting")) ||
      !put_file(f, f->record))
    return error_no_memory();
  f->how.lock = vds_record_lock(f->at, f->record, &e);
  if (e == NULL) e = put_record(f);
  f->saved = true; /* its lock is there, at least */
  return e;
}


/* Its disk fails, but nothing is written yet that it would be needed for. */
static error *await_record(formatting *f) {
  int number = vds_aside_end(&f->aside);
  vds_step("format: record durable");
  return number == 0
             ? NULL
             : vds_errno(number, "what is under way cannot be kept", f->at);
}


/* ------------------------------------------------------------------
** Making
** ---------------------------------------------------------------- */

static error *wipe(formatting *f) {
  unsigned count;
  f->wiped = true;
  error *e = vds_sight_zap(f->before.kept, f->t.only, 0, UINT64_MAX, &count);
  vds_step("format: wiped");
  sync_record(f);
  if (e == NULL && count > 0 && fsync(f->t.only) != 0)
    e = vds_errno(errno, "the device does not take what was written",
                  f->t.path);
  vds_step("format: wiped for good");
  return e == NULL ? await_record(f) : e;
}


/* A full one ends at the first place that cannot be written. */
static error *zero(formatting *f) {
  vds_phase(f->c, "zeroing", 0, 900);
  error *e = vds_zero(f->c, &f->t, 0, f->t.is.size, NULL);
  vds_step("format: zeroed");
  return e;
}


/* It says that it was made; whether it is there the device says, and not what
   is remembered of it. All else that was there had been wiped. */
static error *look(formatting *f) {
  const vds_probe *now = &f->now;
  ioctl(f->t.fd, BLKFLSBUF, 0);
  error *e = vds_probe_made(f->t.fd, f->fs->name, &f->now);
  vds_step("format: looked at");
  if (e == NULL && (strcmp(now->fs, f->fs->name) != 0 ||
                    strcmp(now->uuid, f->uuid) != 0 || now->unfinished))
    e = vds_error(VDS_E_IO_ERROR,
                  "%s was written, but what is read of it is no %s with the "
                  "uuid %s",
                  f->t.path, f->fs->name, f->uuid);
  return e;
}


/* Who held what before it was taken does so still, as far as this is about. */
static error *put_volume(formatting *f) {
  vds_about *a = mem_alloc(sizeof *a);
  error *e = a != NULL ? vds_about_brief(f->t.is.dev, a) : error_no_memory();
  if (e == NULL) {
    value *volume = vds_volume_seen(a, f->before.world, f->t.fd, &f->now);
    volume = vds_with(volume, "transition", value_text("stable"));
    f->c->output = vds_with(value_map(), "volume", volume);
    if (f->c->output == NULL) e = error_no_memory();
  }
  mem_free(a);
  return e;
}


static error *look_and_sync(formatting *f) {
  vds_aside_sync(&f->aside, f->t.fd, -1);
  error *e = look(f);
  if (e == NULL) e = put_volume(f);
  int number = vds_aside_end(&f->aside);
  if (e == NULL && number != 0)
    e = vds_errno(number, "the device does not take what was written",
                  f->t.path);
  vds_step("format: durable");
  return e;
}


/* Of one that looks whole before it is, only its record can tell; a record that
   could not be removed must not be taken for that of a half. */
static error *keep_as_made(formatting *f) {
  if ((f->fs->can & VDS_FS_SIGNED_LAST) != 0) return NULL;
  error *e = value_put(f->record, "state", value_text("made"))
                 ? put_record(f)
                 : error_no_memory();
  vds_step("format: kept as made");
  if (e == NULL) sync_record(f);
  if (e == NULL) e = await_record(f);
  return e;
}


static error *make(formatting *f) {
  unsigned from = f->how.full ? 900 : 0;
  vds_phase(f->c, "wiping", 0, 0);
  error *e = wipe(f);
  if (e == NULL && f->how.full) e = zero(f);
  if (e != NULL || vds_stopped(f->c, &e)) return e;
  vds_phase(f->c, "making", from, 990);
  vds_target_share(&f->t);
  e = vds_format_explain(&f->t, f->fs->format(f->c, &f->t, &f->how));
  vds_step("format: made");
  if (e == NULL) e = vds_target_again(&f->t);
  if (e == NULL) e = look_and_sync(f);
  if (e == NULL) e = keep_as_made(f);
  if (e == NULL && vds_give_output(f->c, &e)) vds_commit(f->c, &e);
  return e;
}


/* ------------------------------------------------------------------
** Undoing
** ---------------------------------------------------------------- */

static void say_lost(const formatting *f) {
  const vds_probe *p = &f->before.on;
  if (p->fs[0] == '\0') return;
  vds_left(f->c, "the %s%s%s that was on %s is gone; it is raw now", p->fs,
           p->label[0] != '\0' ? " " : "", p->label, f->t.path);
}


/* One that stays would be found whole, or raw, by reap. */
static void forget(formatting *f) {
  error *e = vds_record_drop(f->at, f->record);
  if (e != NULL) error_unref(vds_record_drop(f->at, f->record));
  error_unref(e);
}


/* Behind what cannot be read there may be more than was wiped. */
static error *wipe_again(formatting *f) {
  unsigned count;
  error *e = vds_target_again(&f->t);
  if (e == NULL) e = vds_probe_wipe(f->t.only, &count);
  if (e == NULL) e = vds_probe_fd(f->t.only, &f->now);
  return e;
}


/* What cannot be wiped now stays known as failed, and is reap's. */
static void undo(formatting *f) {
  if (!f->saved) return;
  error *e = NULL;
  close_files(f);
  if (f->wiped) {
    vds_undoing(f->c, "wiping");
    e = wipe_again(f);
    if (e != NULL) {
      error_unref(e);
      e = wipe_again(f);
    }
    vds_step("format: undone");
    say_lost(f);
  }
  if (e == NULL) {
    forget(f);
    return;
  }
  vds_left(f->c, "what was begun could not be taken away again: %s",
           e->message);
  error_unref(e);
  if (value_put(f->record, "state", value_text("failed")))
    error_unref(vds_record_save(f->at, f->record));
}


/* ------------------------------------------------------------------
** The call
** ---------------------------------------------------------------- */

/* What is in its way ends first; and what came meanwhile is seen. */
static error *take(formatting *f, unsigned forced) {
  bool go;
  vds_step("format: permitted");
  error *e = can_be_made(f);
  if (e == NULL) e = vds_end_dangers(f->c, &f->t.is, &verb, forced);
  f->t.how |= VDS_OPEN_EXCLUSIVE;
  if (e == NULL) e = vds_target_again(&f->t);
  vds_step("format: taken");
  if (e == NULL) e = permit(f, &forced, &go);
  return e;
}


static error *go_on(formatting *f) {
  error *e = can_be_made(f);
  if (e == NULL) e = write_record(f);
  vds_step("format: record written");
  if (e == NULL && !vds_stopped(f->c, &e)) e = make(f);
  if (e != NULL) {
    undo(f);
    return e;
  }
  vds_step("format: committed");
  forget(f);
  vds_step("format: done");
  return NULL;
}


error *vds_work_format(vds_call *c) {
  vds_identity who;
  unsigned forced = 0;
  bool go = false;
  formatting *f = mem_zero(sizeof *f);
  if (f == NULL) return error_no_memory();
  *f = (formatting){
      .c = c, .t = VDS_TARGET_NONE, .files = {-1, -1}, .aside = VDS_ASIDE_NONE};
  bool plan = vds_flag(c, "plan"), ours = false;
  error *e = read_options(f, &who);
  if (e == NULL && !plan)
    e = vds_target_take(&who, VDS_OPEN_WRITE, &f->t, &ours);
  if (e == NULL && !ours)
    e = vds_target_open(&who, plan ? 0 : VDS_OPEN_WRITE, &f->t);
  if (ours) vds_step("format: taken");
  if (e == NULL) e = permit(f, &forced, &go);
  if (e == NULL && go && !ours) e = take(f, forced);
  if (e == NULL && go) e = go_on(f);
  close_files(f);
  vds_seen_free(&f->before);
  if (f->how.lock >= 0) close(f->how.lock);
  vds_target_close(&f->t);
  value_free(f->record);
  mem_free(f->at);
  mem_free(f);
  return e;
}
