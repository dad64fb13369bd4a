/*
** table_write: from the image to the disk, so that it can be taken back.
*/
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "vds/attach.h"
#include "vds/record.h"
#include "vds/step.h"
#include "vds/table_parts.h"

enum { PAGE = 4096, ROOM = 1 << 16 };

/* ------------------------------------------------------------------
** What changes
** ---------------------------------------------------------------- */

void vds_changes_free(vds_changes *all) {
  for (size_t i = 0; i < all->count; i++) mem_free(all->items[i].before);
  mem_free(all->items);
  *all = (vds_changes){0};
}


/* Behind the last one it is one with it. `after` stands behind `before`. */
static bool append(vds_change *last, size_t size, const void *before,
                   const void *after) {
  unsigned char *both = mem_alloc(2 * (last->size + size));
  if (both == NULL) return false;
  unsigned char *second = both + last->size + size;
  if (last->size > 0) {
    memcpy(both, last->before, last->size);
    memcpy(second, last->after, last->size);
  }
  memcpy(both + last->size, before, size);
  memcpy(second + last->size, after, size);
  mem_free(last->before);
  last->before = both;
  last->after = second;
  last->size += size;
  return true;
}


bool vds_changes_add(vds_changes *all, uint64_t at, size_t size,
                     const void *before, const void *after) {
  if (all->count > 0) {
    vds_change *last = &all->items[all->count - 1];
    if (last->at + last->size == at) return append(last, size, before, after);
  }
  if (all->count == all->room) {
    size_t room = all->room > 0 ? 2 * all->room : 8;
    vds_change *more = mem_grow(all->items, room * sizeof *more);
    if (more == NULL) return false;
    all->items = more;
    all->room = room;
  }
  vds_change *items = all->items;
  if (items == NULL) return false;
  size_t i = all->count; /* after all that lie before it */
  while (i > 0 && items[i - 1].at > at) i--;
  vds_change one = {.at = at};
  if (!append(&one, size, before, after)) return false;
  memmove(items + i + 1, items + i, (all->count++ - i) * sizeof *items);
  items[i] = one;
  return true;
}


static error *read_part(int fd, void *bytes, size_t size, uint64_t at) {
  for (char *to = bytes; size > 0;) {
    ssize_t n = pread(fd, to, size, (off_t)at);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0)
      return vds_errno(n < 0 ? errno : EIO, "the table cannot be read", NULL);
    to += n;
    at += (uint64_t)n;
    size -= (size_t)n;
  }
  return NULL;
}


static error *find_in(int fd, const vds_table *t, uint64_t at, size_t size,
                      vds_changes *all) {
  char is[PAGE], will[PAGE];
  error *e = read_part(fd, is, size, at);
  if (e == NULL) e = read_part(t->image, will, size, at);
  for (size_t i = 0; e == NULL && i < size; i += t->sector)
    if (memcmp(is + i, will + i, t->sector) != 0 &&
        !vds_changes_add(all, at + i, t->sector, is + i, will + i))
      e = error_no_memory();
  return e;
}


error *vds_changes_find(int fd, const vds_table *t, vds_changes *all) {
  error *e = NULL;
  for (size_t i = 0; i < t->copied; i++)
    for (uint64_t at = t->copies[i].from; e == NULL && at < t->copies[i].to;
         at += PAGE) {
      uint64_t left = t->copies[i].to - at;
      e = find_in(fd, t, at, left < PAGE ? (size_t)left : PAGE, all);
    }
  return e;
}


/* ------------------------------------------------------------------
** Writing it
** ---------------------------------------------------------------- */

/* Past the disk's own pages: of a page that a partition has, too, they may
   remember old bytes, which would be written over newer ones. A descriptor that
   writes sectors alone; where there is no such thing (a file), the same one. */
static int direct_of(int fd) {
  char path[40];
  struct stat st;
  if (fstat(fd, &st) != 0 || !S_ISBLK(st.st_mode)) return -1;
  snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
  return open(path, O_RDWR | O_DIRECT | O_NONBLOCK | O_CLOEXEC);
}


static error *write_all(int fd, char *room, const unsigned char *bytes,
                        size_t size, uint64_t at) {
  while (size > 0) {
    size_t want = size < ROOM ? size : ROOM;
    memcpy(room, bytes, want);
    ssize_t n = pwrite(fd, room, want, (off_t)at);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0)
      return vds_errno(n < 0 ? errno : EIO, "the table cannot be written",
                       NULL);
    bytes += n;
    at += (uint64_t)n;
    size -= (size_t)n;
  }
  return NULL;
}


/* By the device, and not by the page cache. */
static error *has_kept(int fd, char *room, const unsigned char *bytes,
                       size_t size, uint64_t at) {
  error *e = NULL;
  while (e == NULL && size > 0) {
    size_t want = size < ROOM ? size : ROOM;
    e = read_part(fd, room, want, at);
    if (e == NULL && memcmp(room, bytes, want) != 0)
      e = vds_error(VDS_E_IO_ERROR,
                    "the table was written, and what is read of it is another "
                    "one: the disk does not keep what is written");
    bytes += want;
    at += want;
    size -= want;
  }
  return e;
}


static error *write_part(int fd, const unsigned char *bytes, size_t size,
                         uint64_t at) {
  char *block = mem_alloc(ROOM + PAGE);
  if (block == NULL) return error_no_memory();
  char *room = block + (PAGE - (uintptr_t)block % PAGE);
  int direct = direct_of(fd);
  error *e = write_all(direct >= 0 ? direct : fd, room, bytes, size, at);
  if (e == NULL && fsync(direct >= 0 ? direct : fd) != 0)
    e = vds_errno(errno, "the table cannot be written", NULL);
  if (e == NULL && direct >= 0) e = has_kept(direct, room, bytes, size, at);
  if (direct >= 0) close(direct);
  mem_free(block);
  return e;
}


error *vds_changes_write(int fd, const vds_changes *all) {
  error *e = NULL;
  for (size_t i = all->count; e == NULL && i-- > 0;) {
    const vds_change *one = &all->items[i];
    e = write_part(fd, one->after, one->size, one->at);
    vds_step("table: part written");
  }
  return e;
}


/* All parts, however many fail. */
error *vds_changes_take_back(int fd, const vds_changes *all) {
  error *e = NULL;
  for (size_t i = 0; i < all->count; i++) {
    const vds_change *one = &all->items[i];
    error *other = write_part(fd, one->before, one->size, one->at);
    vds_step("table: part taken back");
    if (e == NULL)
      e = other;
    else
      error_unref(other);
  }
  return e;
}


/* By sectors: a part may have been cut anywhere. */
static error *look_at(int fd, const vds_change *one, bool *old, bool *new,
                      bool *other) {
  char is[512];
  error *e = NULL;
  for (size_t i = 0; e == NULL && i < one->size; i += sizeof is) {
    size_t n = one->size - i < sizeof is ? one->size - i : sizeof is;
    e = read_part(fd, is, n, one->at + i);
    if (e != NULL || memcmp(one->before + i, one->after + i, n) == 0) continue;
    if (memcmp(is, one->before + i, n) == 0)
      *old = true;
    else if (memcmp(is, one->after + i, n) == 0)
      *new = true;
    else
      *other = true;
  }
  return e;
}


error *vds_changes_look(int fd, const vds_changes *all, vds_written *how) {
  bool old = false, new = false, other = false;
  error *e = NULL;
  for (size_t i = 0; e == NULL && i < all->count; i++)
    e = look_at(fd, &all->items[i], &old, &new, &other);
  *how = other        ? VDS_WRITTEN_OTHER
         : old && new ? VDS_WRITTEN_PART
         : new        ? VDS_WRITTEN_ALL
                      : VDS_WRITTEN_NONE;
  return e;
}


/* ------------------------------------------------------------------
** With its record
** ---------------------------------------------------------------- */

error *vds_table_lock(int fd, const char *path) {
  struct flock all = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
  uint64_t until = vds_clock() + vds_patience;
  while (fcntl(fd, F_OFD_SETLK, &all) != 0) {
    if (errno != EAGAIN && errno != EACCES && errno != EINTR)
      return vds_errno(errno, "the table cannot be locked", path);
    if (vds_clock() > until)
      return vds_error(VDS_E_ANOTHER_CALL_IN_PROGRESS,
                       "the table of %s is being written; try again when that "
                       "has ended",
                       path);
    nanosleep(&(struct timespec){0, 20000000}, NULL);
  }
  return NULL;
}


/* The device may be gone when it is looked for; its file is still there. */
static value *with_file(value *record, const vds_identity *disk) {
  error *e = NULL;
  struct stat st;
  vds_about *a = vds_about_new(disk->whole, &e);
  if (a != NULL && e == NULL && a->file[0] == '/' && stat(a->file, &st) == 0 &&
      S_ISREG(st.st_mode)) {
    record = vds_with_path(record, "path", a->file);
    record = vds_with(record, "file_device", value_int((int64_t)st.st_dev));
    record = vds_with(record, "file_inode", value_int((int64_t)st.st_ino));
  }
  error_unref(e);
  mem_free(a);
  return record;
}


static error *save(vds_writing *w, const vds_identity *disk) {
  error *e = NULL;
  w->at = vds_records_at(vds_text(w->c, "state_dir"), &e);
  if (w->at == NULL) return e;
  value *object = value_map();
  if (object != NULL && !vds_identity_put(object, disk)) {
    value_free(object);
    object = NULL;
  }
  w->record = with_file(vds_record_new("table"), disk);
  w->record = vds_with(w->record, "object", object);
  w->record = vds_with(w->record, "changes", vds_changes_value(&w->changes));
  if (w->record == NULL) return error_no_memory();
  e = vds_record_save(w->at, w->record);
  w->saved = e == NULL;
  return e;
}


error *vds_writing_begin(vds_writing *w, const vds_identity *disk) {
  error *e = save(w, disk);
  vds_step("table: recorded");
  if (e == NULL) vds_commit(w->c, &e);
  if (e == NULL) vds_step("table: committed");
  return e;
}


error *vds_writing_do(vds_writing *w) {
  w->begun = true;
  error *e = vds_changes_write(w->fd, &w->changes);
  vds_step("table: written");
  return e;
}


static error *forget(vds_writing *w) {
  error *e = w->saved ? vds_record_remove(w->at, w->record) : NULL;
  vds_step("table: forgotten");
  return e;
}


/* From now on it is known for a half, although we live. */
static error *keep_as_failed(vds_writing *w) {
  w->record = vds_with(w->record, "state", value_text("failed"));
  return w->record != NULL ? vds_record_save(w->at, w->record)
                           : error_no_memory();
}


static error *take_back(vds_writing *w) {
  vds_undoing(w->c, "taking the table back");
  error *e = vds_changes_take_back(w->fd, &w->changes);
  if (e == NULL) return NULL;
  vds_left(w->c,
           "the table may be half written (%s); reap takes it back, or the "
           "next change of it",
           e->message);
  error *other = keep_as_failed(w);
  return other != NULL ? error_because(other, e) : e;
}


error *vds_writing_end(vds_writing *w, error *e) {
  error *other = e != NULL && w->begun ? take_back(w) : NULL;
  if (other == NULL) other = forget(w);
  if (other != NULL)
    log_write(LOG_WARNING, "vds", "of the table: %s", other->message);
  error_unref(other);
  vds_changes_free(&w->changes);
  value_free(w->record);
  mem_free(w->at);
  w->record = NULL;
  w->at = NULL;
  return e;
}
