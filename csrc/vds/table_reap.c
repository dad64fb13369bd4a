/*
** table_reap: what a write that died has left. The disk is known by what is on
** it: of the sectors that were to be written some are new and the others old,
** as no other disk has them. So it is found again under another number, and a
** virtual disk that nothing shows any more is mended in its file.
*/
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "vds/attach.h"
#include "vds/blkpg.h"
#include "vds/loop.h"
#include "vds/record.h"
#include "vds/step.h"
#include "vds/table_parts.h"


/* ------------------------------------------------------------------
** Changes as they are in a record
** ---------------------------------------------------------------- */

static value *base64(const void *bytes, size_t size) {
  buffer b = BUFFER_EMPTY;
  text_base64(&b, bytes, size);
  char *text = buffer_take(&b);
  value *v = text != NULL ? value_text(text) : NULL;
  mem_free(text);
  return v;
}


value *vds_changes_value(const vds_changes *all) {
  value *list = value_list();
  for (size_t i = 0; list != NULL && i < all->count; i++) {
    const vds_change *one = &all->items[i];
    value *map = vds_with(value_map(), "at", value_int((int64_t)one->at));
    map = vds_with(map, "before", base64(one->before, one->size));
    map = vds_with(map, "after", base64(one->after, one->size));
    if (value_add(list, map)) continue;
    value_free(list);
    return NULL;
  }
  return list;
}


static error *one_from(const value *map, vds_changes *all) {
  buffer before = BUFFER_EMPTY, after = BUFFER_EMPTY;
  const char *old = vds_record_text(map, "before");
  const char *new = vds_record_text(map, "after");
  int64_t at = value_integer(value_get(map, "at"), -1);
  error *e = NULL;
  if (at < 0 || !text_unbase64(&before, old, strlen(old)) ||
      !text_unbase64(&after, new, strlen(new)) || before.size == 0 ||
      before.size != after.size)
    e = before.failed || after.failed
            ? error_no_memory()
            : vds_error(SAROS_E_DAMAGED, "the record of a table is damaged");
  if (e == NULL &&
      !vds_changes_add(all, (uint64_t)at, before.size, before.data, after.data))
    e = error_no_memory();
  buffer_free(&before);
  buffer_free(&after);
  return e;
}


error *vds_changes_from(const value *list, vds_changes *all) {
  error *e = NULL;
  if (list == NULL || list->type != VALUE_LIST)
    return vds_error(SAROS_E_DAMAGED, "the record of a table is damaged");
  for (uint32_t i = 0; e == NULL && i < list->count; i++)
    e = one_from(list->as.items[i], all);
  return e;
}


/* ------------------------------------------------------------------
** One disk, or its file
** ---------------------------------------------------------------- */

typedef struct mending {
  vds_changes changes;
  uint64_t size;
  const char *serial;
  bool file;    /* it lies in a file */
  bool settled; /* nothing is half any more, or nothing can be done */
  bool busy;
} mending;


/* Old or new, or neither of them: only a half is touched. `fd` can be written
   to, and has the lock. */
static error *mend(mending *m, int fd, const char *path) {
  vds_written how;
  error *e = vds_changes_look(fd, &m->changes, &how);
  if (e != NULL) return e;
  if (how == VDS_WRITTEN_PART) {
    e = vds_changes_take_back(fd, &m->changes);
    if (e == NULL)
      log_write(LOG_WARNING, "vds",
                "the table of %s was half written by a process that died; it "
                "is what it was before",
                path);
  } else if (how == VDS_WRITTEN_OTHER) {
    log_write(LOG_WARNING, "vds",
              "a table of %s was half written by a process that died, and "
              "somebody has written there since; it is left as it is",
              path);
  }
  return e;
}


static error *mend_device(mending *m, dev_t dev) {
  char path[80];
  error *e = vds_about_node(dev, path);
  if (e != NULL) return e;
  int fd = open(path, O_RDWR | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return vds_errno(errno, "the disk cannot be opened", path);
  e = vds_table_lock(fd, path);
  if (e != NULL && e->code == VDS_E_ANOTHER_CALL_IN_PROGRESS) {
    m->busy = true;
    error_unref(e);
    close(fd);
    return NULL;
  }
  if (e == NULL) e = mend(m, fd, path);
  vds_step("table: mended");
  /* What is in use and not in the table stays: it is told nobody. */
  if (e == NULL) error_unref(vds_blkpg_sync(fd, dev));
  close(fd);
  return e;
}


/* What no other disk has; one that cannot be read proves nothing. */
static bool is_half(int fd, const vds_changes *all) {
  vds_written how = VDS_WRITTEN_OTHER;
  error *e = vds_changes_look(fd, all, &how);
  bool half = e == NULL && how == VDS_WRITTEN_PART;
  error_unref(e);
  return half;
}


/* A disk that could be the one: of its size, with a part of it written. */
static error *try_one(void *context, const vds_about *a) {
  mending *m = context;
  char path[80];
  if (m->settled || m->busy || a->number > 0 || a->size != m->size) return NULL;
  snprintf(path, sizeof path, "/dev/%s", a->name);
  int fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0) return NULL;
  bool half = is_half(fd, &m->changes);
  close(fd);
  if (!half) return NULL;
  error *e = mend_device(m, a->dev);
  if (e == NULL && !m->busy) m->settled = true;
  return e;
}


/* It was pulled out and is here again, and nothing on it is half. */
static error *try_serial(void *context, const vds_about *a) {
  mending *m = context;
  vds_written how;
  char path[80];
  error *e = NULL;
  if (m->settled || a->number > 0 || a->size != m->size) return NULL;
  vds_about *all = vds_about_new(a->dev, &e);
  bool is = e == NULL && strcmp(all->serial, m->serial) == 0;
  mem_free(all);
  error_unref(e);
  snprintf(path, sizeof path, "/dev/%s", a->name);
  int fd = is ? open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC) : -1;
  if (fd < 0) return NULL;
  e = vds_changes_look(fd, &m->changes, &how);
  m->settled = e == NULL;
  error_unref(e);
  close(fd);
  return NULL;
}


static error *find_serial(mending *m, const char *serial) {
  if (*serial == '\0') return NULL;
  m->serial = serial;
  error *e = vds_about_all(try_serial, m);
  m->serial = NULL;
  return e;
}


static error *mend_file(mending *m, const value *record) {
  struct stat st;
  bool ours;
  int fd;
  error *e = vds_record_open(record, "path", O_RDWR, &fd);
  dev_t dev = 0;
  m->file = true;
  if (fd >= 0) e = vds_attached(fd, &dev, &ours);
  if (e == NULL && dev != 0)
    e = mend_device(m, dev);
  else if (e == NULL && fd >= 0 && fstat(fd, &st) == 0 &&
           (uint64_t)st.st_size >= m->size)
    e = mend(m, fd, vds_record_text(record, "path"));
  if (e == NULL && !m->busy) m->settled = true; /* also when it is gone */
  if (fd >= 0) close(fd);
  return e;
}


static error *mend_disk(mending *m, const value *record) {
  vds_identity who, is;
  error *e = NULL;
  if (!vds_identity_get(value_get(record, "object"), &who))
    return vds_error(SAROS_E_DAMAGED, "the record of a table is damaged");
  m->size = who.size;
  if (vds_record_text(record, "path")[0] != '\0') return mend_file(m, record);
  vds_about *a = vds_about_new(who.dev, &e);
  if (e == NULL) vds_identity_of(a, &is);
  bool same = e == NULL && who.seq != 0 && vds_identity_same(&who, &is);
  mem_free(a);
  error_unref(e);
  e = NULL;
  if (!same) e = vds_about_all(try_one, m);
  if (!same && e == NULL && !m->settled && !m->busy)
    e = find_serial(m, who.serial);
  if (!same) return e;
  e = mend_device(m, who.dev);
  m->settled = e == NULL && !m->busy;
  return e;
}


/* A disk that is not here is not waited for when another boot has come: its
   record stays, so that it is mended when it comes back. */
error *vds_table_reap(vds_call *c, const value *record, bool *mended) {
  mending m = {0};
  (void)c;
  *mended = false;
  error *e = vds_changes_from(value_get(record, "changes"), &m.changes);
  if (e == NULL) e = mend_disk(&m, record);
  vds_changes_free(&m.changes);
  *mended = e == NULL && m.settled;
  return e;
}


/* ------------------------------------------------------------------
** Before a table is read
** ---------------------------------------------------------------- */

typedef enum about { OTHER, PERHAPS, SAME } about;

/* A number alone says nothing: another disk has it when one was taken out. */
static about is_about(const value *record, int fd, const vds_identity *disk) {
  vds_identity who;
  struct stat st = {0};
  char *path = vds_record_path(record, "path");
  bool file =
      path != NULL && *path != '\0' && stat(path, &st) == 0 &&
      (int64_t)st.st_dev ==
          value_integer(value_get(record, "file_device"), -1) &&
      (int64_t)st.st_ino == value_integer(value_get(record, "file_inode"), -1);
  mem_free(path);
  if (file) return vds_loop_is(fd, &st, NULL) ? SAME : OTHER;
  if (!vds_identity_get(value_get(record, "object"), &who)) return OTHER;
  if (who.seq != 0 && vds_owner_is_of_this_boot(record) &&
      vds_identity_same(&who, disk))
    return SAME;
  return who.size == disk->size ? PERHAPS : OTHER;
}


/* Of one that perhaps is the disk's only what is on the disk tells; when that
   is no half, the record is kept for another one. */
static error *mend_by(const char *at, const value *record, int fd, about how) {
  mending m = {0};
  error *e = vds_changes_from(value_get(record, "changes"), &m.changes);
  if (e == NULL && (how == SAME || is_half(fd, &m.changes))) {
    e = mend(&m, fd, "the disk");
    if (e == NULL) e = vds_record_remove(at, record);
  } else if (e != NULL && e->code == SAROS_E_DAMAGED) {
    log_write(LOG_WARNING, "vds", "%s", e->message);
    error_unref(e);
    e = NULL;
  }
  vds_changes_free(&m.changes);
  return e;
}


static bool is_left(const value *record) {
  return strcmp(vds_record_text(record, "kind"), "table") == 0 &&
         (strcmp(vds_record_text(record, "state"), "failed") == 0 ||
          !vds_owner_is_alive(record));
}


error *vds_table_mend(vds_call *c, int fd, const vds_identity *disk) {
  error *e = NULL;
  char *at = vds_records_at(vds_text(c, "state_dir"), &e);
  value *all = at != NULL ? vds_record_list(at, &e) : NULL;
  for (uint32_t i = 0; e == NULL && all != NULL && i < all->count; i++) {
    const value *record = all->as.items[i];
    about how = is_left(record) ? is_about(record, fd, disk) : OTHER;
    if (how != OTHER) e = mend_by(at, record, fd, how);
  }
  value_free(all);
  mem_free(at);
  return e;
}
