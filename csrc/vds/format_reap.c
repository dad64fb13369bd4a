/*
** format_reap: formats that did not come to their end. What was there before
** had been wiped, and the new one was to have a uuid that is in the record; so
** what is found now is nothing, the new one (whole, or a half of it), or what
** somebody made since, which is his.
*/
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "vds/format.h"
#include "vds/fs.h"
#include "vds/loop.h"
#include "vds/record.h"
#include "vds/step.h"

enum { LOOP_MAJOR = 7 };

typedef struct search {
  vds_identity was;
  bool other_boot; /* numbers may be others' now */
  dev_t found;
} search;


/* ------------------------------------------------------------------
** Where it is now
** ---------------------------------------------------------------- */

/* Pulled out and put in again it is another number, and the same serial. */
static bool is_it(const search *s, const vds_identity *now) {
  vds_identity was = s->was;
  if (s->other_boot && major(was.dev) == LOOP_MAJOR) return false;
  if (s->other_boot || was.serial[0] != '\0') was.seq = 0;
  if (was.serial[0] != '\0') {
    was.dev = now->dev;
    was.whole = now->whole;
  }
  return vds_identity_same(&was, now);
}


static error *compare(void *context, const vds_about *a) {
  search *s = context;
  vds_identity now;
  error *e = NULL;
  if (s->found != 0 || a->number != s->was.number || a->start != s->was.start)
    return NULL;
  vds_about *all = vds_about_new(a->dev, &e);
  if (e == NULL) {
    vds_identity_of(all, &now);
    if (is_it(s, &now)) s->found = a->dev;
  }
  error_unref(e); /* it went meanwhile */
  mem_free(all);
  return NULL;
}


static error *compare_partition(void *context, const vds_about *a) {
  search *s = context;
  if (a->number == s->was.number && a->start == s->was.start &&
      a->size == s->was.size)
    s->found = a->dev;
  return NULL;
}


/* Of a disk of ours, by its file. *here: that still is there. */
static error *find_by_file(const value *record, search *s, bool *here) {
  struct stat st;
  dev_t whole = 0;
  size_t count = 0;
  int file;
  error *e = vds_record_open(record, "file", O_PATH, &file);
  *here = file >= 0;
  if (file < 0) return e;
  if (fstat(file, &st) != 0)
    e = vds_errno(errno, "the file of a disk cannot be looked at", NULL);
  close(file);
  if (e == NULL) e = vds_loop_find(&st, NULL, &whole, 1, &count);
  if (e != NULL || count == 0) return e;
  if (s->was.number > 0)
    return vds_about_partitions(whole, compare_partition, s);
  s->found = whole;
  return NULL;
}


/* The device, or 0; then perhaps the file of the disk is there. What is neither
   here nor has a number that it would come again with is lost. */
typedef struct place {
  dev_t dev;
  bool file;
  vds_identity was;
  bool lost;
} place;

static error *find(const value *record, place *p) {
  search s = {.found = 0};
  *p = (place){.lost = true};
  if (!vds_identity_get(value_get(record, "object"), &s.was)) return NULL;
  s.other_boot = !vds_owner_is_of_this_boot(record);
  bool by_file = value_get(record, "file") != NULL;
  error *e =
      by_file ? find_by_file(record, &s, &p->file) : vds_about_all(compare, &s);
  p->dev = s.found;
  p->was = s.was;
  p->lost = s.found == 0 && !p->file && s.was.serial[0] == '\0';
  return e;
}


/* ------------------------------------------------------------------
** What it is now
** ---------------------------------------------------------------- */

static bool is_made(const value *record) {
  return strcmp(vds_record_text(record, "state"), "made") == 0;
}


static bool is_abandoned(const value *record) {
  return strcmp(vds_record_text(record, "kind"), "format") == 0 &&
         (!vds_owner_is_alive(record) ||
          strcmp(vds_record_text(record, "state"), "failed") == 0);
}


/* One that its owner could not take away is a half, however whole it looks:
   then no kind of file system speaks for it. */
static const char *fs_of(const value *record) {
  bool failed = strcmp(vds_record_text(record, "state"), "failed") == 0;
  return failed ? "" : vds_record_text(record, "fs");
}


/* It has what we gave it, and is not known to be whole. */
static bool is_half(const char *fs, const char *uuid, const vds_probe *p) {
  const vds_fs *one = vds_fs_find(fs);
  return *uuid != '\0' && strcmp(p->uuid, uuid) == 0 &&
         (p->unfinished || one == NULL || (one->can & VDS_FS_SIGNED_LAST) == 0);
}


/* Whether it is to be wiped: of one that was not known to be whole before it
   is looked at all there is. */
static error *is_left_half(const value *record, const vds_probe *p, int fd,
                           uint64_t from, bool *half) {
  const char *fs = fs_of(record);
  const vds_fs *one = vds_fs_find(fs);
  bool whole = false;
  error *e = NULL;
  *half = !is_made(record) && is_half(fs, vds_record_text(record, "uuid"), p);
  if (*half && !p->unfinished && one != NULL && one->is_whole != NULL)
    e = one->is_whole(fd, from, &whole);
  if (e != NULL || whole) *half = false;
  return e;
}


/* One whose disk cannot be found now does not hide the others. */
static void add_half(const value *record, vds_unfinished *u) {
  vds_half *half = &u->items[u->count];
  place p;
  if (!is_abandoned(record) || is_made(record)) return;
  error_unref(find(record, &p));
  half->dev = p.dev;
  snprintf(half->fs, sizeof half->fs, "%s", fs_of(record));
  snprintf(half->uuid, sizeof half->uuid, "%s",
           vds_record_text(record, "uuid"));
  if (half->dev != 0) u->count++;
}


/* An owner who lived when they were read may have ended well since. */
static error *add_again(const char *at, const value *old, vds_unfinished *u) {
  error *e = NULL;
  if (!is_abandoned(old)) return NULL;
  value *record = vds_record_again(at, old, &e);
  if (record != NULL) add_half(record, u);
  value_free(record);
  return e;
}


error *vds_format_unfinished(const char *state_dir, vds_unfinished **list) {
  error *e = NULL;
  vds_unfinished *u = mem_zero(sizeof *u);
  *list = u;
  if (u == NULL) return error_no_memory();
  char *at = vds_records_at(state_dir, &e);
  value *records = at != NULL ? vds_record_list(at, &e) : NULL;
  uint32_t count = records != NULL ? records->count : 0;
  for (uint32_t i = 0; e == NULL && i < count; i++)
    if (u->count < VDS_UNFINISHED_MOST)
      e = add_again(at, records->as.items[i], u);
  value_free(records);
  mem_free(at);
  return e;
}


bool vds_is_unfinished(const vds_unfinished *u, dev_t dev, const vds_probe *p) {
  for (unsigned i = 0; u != NULL && i < u->count; i++)
    if (u->items[i].dev == dev)
      return p->fs[0] == '\0' || is_half(u->items[i].fs, u->items[i].uuid, p);
  return false;
}


/* ------------------------------------------------------------------
** Mending
** ---------------------------------------------------------------- */

static error *identify(dev_t dev, vds_identity *who) {
  error *e = NULL;
  vds_about *a = vds_about_new(dev, &e);
  if (e == NULL) vds_identity_of(a, who);
  mem_free(a);
  return e;
}


/* What is whole may be mounted by now; it needs nobody for itself. */
static error *look(const vds_identity *who, const value *record, bool *half) {
  vds_target t;
  vds_probe p = {0};
  error *e = vds_target_open(who, 0, &t);
  if (e == NULL) e = vds_probe_fd(t.fd, &p);
  *half = false;
  if (e == NULL) e = is_left_half(record, &p, t.fd, 0, half);
  if (e == NULL && fsync(t.fd) != 0)
    e = vds_error(VDS_E_IO_ERROR, "%s does not take what was written to it",
                  t.path);
  vds_target_close(&t);
  vds_step("reap: format looked at");
  return e;
}


static error *wipe(const vds_identity *who) {
  vds_target t;
  unsigned count;
  error *e = vds_target_open(who, VDS_OPEN_WRITE | VDS_OPEN_EXCLUSIVE, &t);
  if (e == NULL) e = vds_probe_wipe(t.only, &count);
  vds_target_close(&t);
  vds_step("reap: format wiped");
  return e;
}


static error *mend(const place *p, const value *record) {
  vds_identity who;
  bool half = false;
  error *e = identify(p->dev, &who);
  if (e == NULL) e = look(&who, record, &half);
  if (e == NULL && half) e = wipe(&who);
  return e;
}


/* The disk went with its process; its file has what was on it. */
static error *mend_file(const place *p, const value *record) {
  vds_probe found;
  bool half = false;
  unsigned count;
  int fd;
  error *e = vds_record_open(record, "file", O_RDWR, &fd);
  if (fd < 0) return e; /* it went just now */
  e = vds_probe_part(fd, p->was.start, p->was.size, &found);
  if (e == NULL) e = is_left_half(record, &found, fd, p->was.start, &half);
  if (e == NULL && half)
    e = vds_probe_wipe_part(fd, p->was.start, p->was.size, &count);
  if (e == NULL && fsync(fd) != 0)
    e = vds_error(VDS_E_IO_ERROR, "the file of %s cannot be written",
                  vds_record_text(record, "path"));
  close(fd);
  vds_step("reap: format's file mended");
  return e;
}


/* A program that outlived its owner holds the lock until it has ended. A disk
   that is not here may come again, and then it is mended. */
error *vds_format_reap(vds_call *c, const char *at, const value *record,
                       bool *mended) {
  place p;
  error *e = NULL;
  (void)c;
  *mended = false;
  int lock = vds_record_lock(at, record, &e);
  if (lock < 0) return e;
  e = find(record, &p);
  if (e == NULL && p.dev != 0)
    e = mend(&p, record);
  else if (e == NULL && p.file)
    e = mend_file(&p, record);
  *mended = e == NULL && (p.dev != 0 || p.file || p.lost);
  close(lock);
  return e;
}
