/*
** record: the files. Each is written beside its place, brought to the disk,
** and renamed into it, so that whoever reads finds the old one or the new one
** whole, also after the power went. What need not last is put behind the old
** one instead (record_tail.c), for which nobody waits.
*/
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "op/fork.h"
#include "vss/bytes.h"
#include "vss/record_parts.h"

#define SUFFIX ".json"

enum { NAME_ROOM = 96, ASIDE_MOST = 100 };


/* ------------------------------------------------------------------
** Errors
** ---------------------------------------------------------------- */

/* What a person can do something about is said in words; the errno stays. */
static error *cannot(int number, const char *what, const places *p,
                     const char *id) {
  error *cause = error_of_errno(SAROS_FACADE_VSS, number, what, p->state);
  if (number == ENOSPC || number == EDQUOT)
    return error_because(
        error_at(
            vss_error(VSS_E_INSUFFICIENT_STORAGE,
                      "the record of the shadow copy %s cannot be written: "
                      "there is no space left where '%s' is; free some, "
                      "or name another state directory",
                      id, p->state),
            p->state),
        cause);
  if (number == EROFS)
    return error_because(
        error_at(
            vss_error(SAROS_E_ACCESSDENIED,
                      "the record of the shadow copy %s cannot be changed: "
                      "'%s' is on a file system that is mounted read-only; "
                      "name another state directory",
                      id, p->state),
            p->state),
        cause);
  return cause;
}


static error *no_guid(const char *text) {
  buffer b = BUFFER_EMPTY;
  text_escape(&b, text, strnlen(text, 64));
  error *e =
      vss_error(SAROS_E_INVALIDARG, "'%s' is not the id of a shadow copy",
                b.failed || b.size == 0 ? "" : b.data);
  buffer_free(&b);
  return e;
}


/* ------------------------------------------------------------------
** Writing
** ---------------------------------------------------------------- */

static int write_all(int fd, const char *data, size_t size) {
  while (size > 0) {
    ssize_t n = write(fd, data, size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno;
    data += n;
    size -= (size_t)n;
  }
  return fsync(fd) == 0 ? 0 : errno;
}


/* While it is written it is locked: what is not locked has no writer left. */
static int make_temporary(int dir, const char *id, char temporary[NAME_ROOM]) {
  for (;;) {
    uint64_t chance = 0;
    if (getrandom(&chance, sizeof chance, 0) != (ssize_t)sizeof chance)
      return -1;
    snprintf(temporary, NAME_ROOM, ".%s.%016llx.tmp", id,
             (unsigned long long)chance);
    int fd = fd_own(openat(dir, temporary,
                           O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                           0600));
    if (fd < 0 && errno == EEXIST) continue;
    if (fd < 0) return -1;
    struct stat st;
    /* Some file systems have no locks; they get no tidying either. */
    (void)!flock(fd, LOCK_EX | LOCK_NB);
    if (fstat(fd, &st) == 0 && st.st_nlink > 0) return fd;
    fd_close(&fd); /* taken for a dead one's in that instant */
  }
}


static error *replace(const places *p, const char *id, const char *text,
                      size_t size) {
  char temporary[NAME_ROOM], file[NAME_ROOM];
  error *e = NULL;
  int dir = places_shadows(p, &e);
  if (dir < 0) return e;
  snprintf(file, sizeof file, "%s" SUFFIX, id);
  int fd = make_temporary(dir, id, temporary);
  if (fd < 0) {
    e = cannot(errno, "cannot make the record's file", p, id);
    fd_close(&dir);
    return e;
  }
  int number = write_all(fd, text, size);
  const char *what = "cannot write the record";
  if (number == 0 && renameat(dir, temporary, dir, file) != 0) {
    number = errno;
    what = "cannot put the record in its place";
  }
  if (number != 0) {
    unlinkat(dir, temporary, 0);
  } else if (fsync(dir) != 0) {
    number = errno;
    what = "cannot bring the record's directory to the disk";
  }
  fd_close(&fd);
  fd_close(&dir);
  return number == 0 ? NULL : cannot(number, what, p, id);
}


static bool append(const places *p, const char *id, const buffer *text) {
  char file[NAME_ROOM];
  error *e = NULL;
  int dir = places_shadows(p, &e);
  error_unref(e); /* it comes again */
  if (dir < 0) return false;
  snprintf(file, sizeof file, "%s" SUFFIX, id);
  bool done = record_append(dir, file, text->data, text->size);
  fd_close(&dir);
  return done;
}


static error *save(const places *p, const value *record, bool loose) {
  buffer why = BUFFER_EMPTY, text = BUFFER_EMPTY;
  error *e = NULL;
  fork_prepare();
  bool deep = false;
  const value *outside = bytes_out(record, &deep);
  if (!record_fits(record, NULL, &why))
    e = why.failed ? error_no_memory()
                   : vss_error(VSS_E_UNEXPECTED,
                               "that is not a record that could be kept: %s",
                               why.data);
  else if (deep)
    e = vss_error(VSS_E_UNEXPECTED, "the record is nested too deeply");
  else if (outside == NULL)
    e = error_no_memory();
  if (e == NULL) {
    buffer_byte(&text, RECORD_MARK);
    json_write(&text, outside, JSON_INDENTED);
    buffer_byte(&text, '\n');
    if (text.failed) e = error_no_memory();
  }
  if (e == NULL) { /* what could not be read again must not be written */
    value *again = record_parse(text.data + 1, text.size - 1, NULL, &e);
    value_free(again);
  }
  const char *id = record_text(record, "id");
  if (e == NULL && !(loose && append(p, id, &text)))
    e = replace(p, id, text.data + 1, text.size - 1);
  if (outside != record) value_free((value *)(uintptr_t)outside);
  buffer_free(&why);
  buffer_free(&text);
  return e;
}


error *record_save(const places *p, const value *record) {
  return save(p, record, false);
}


error *record_save_loose(const places *p, const value *record) {
  return save(p, record, true);
}


static error *remove_file(const places *p, const char *given, bool loose) {
  char id[GUID_TEXT], file[NAME_ROOM];
  error *e = NULL;
  fork_prepare();
  if (!record_id(given, id)) return no_guid(given);
  int dir = places_shadows(p, &e);
  if (dir < 0) return e;
  snprintf(file, sizeof file, "%s" SUFFIX, id);
  if (unlinkat(dir, file, 0) != 0)
    e = errno == ENOENT ? vss_error(VSS_E_OBJECT_NOT_FOUND,
                                    "there is no shadow copy %s (any more)", id)
                        : cannot(errno, "cannot take the record away", p, id);
  else if (!loose && fsync(dir) != 0)
    e = cannot(errno, "cannot bring the record's directory to the disk", p, id);
  fd_close(&dir);
  return e;
}


error *record_remove(const places *p, const char *given) {
  return remove_file(p, given, false);
}


error *record_remove_loose(const places *p, const char *given) {
  return remove_file(p, given, true);
}


/* ------------------------------------------------------------------
** Reading
** ---------------------------------------------------------------- */

static error *strange(const char *id, const char *what) {
  return vss_error(SAROS_E_DAMAGED,
                   "the record %s is not one of ours: %s; look into it, and "
                   "put it right or take it away",
                   id, what);
}


/* The file's content; NULL and *e. The directory is ours, but what is in it
   may come from anywhere: a backup, another program, another user's hands. */
static char *read_file(const places *p, int fd, const char *id, size_t *size,
                       error **e) {
  struct stat st;
  error *why = NULL;
  if (fstat(fd, &st) != 0)
    why = cannot(errno, "cannot look at the record", p, id);
  else if (!S_ISREG(st.st_mode))
    why = strange(id, "it is not a file");
  else if (st.st_uid != geteuid() && st.st_uid != 0)
    why = strange(id, "it belongs to another user");
  else if ((st.st_mode & (S_IWGRP | S_IWOTH)) != 0)
    why = strange(id, "other users can write to it");
  else if (st.st_size > (off_t)RECORD_SIZE_MOST)
    why = strange(id, "it is too large");
  if (why != NULL) {
    *e = why;
    return NULL;
  }
  size_t room = (size_t)st.st_size + 1; /* one more: it may grow */
  char *text = mem_alloc(room);
  if (text == NULL) {
    *e = error_no_memory();
    return NULL;
  }
  *size = 0;
  while (*size < room) {
    ssize_t n = read(fd, text + *size, room - *size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      *e = cannot(errno, "cannot read the record", p, id);
      mem_free(text);
      return NULL;
    }
    if (n == 0) break;
    *size += (size_t)n;
  }
  return text;
}


static value *load(const places *p, int dir, const char *id, error **e) {
  char file[NAME_ROOM];
  snprintf(file, sizeof file, "%s" SUFFIX, id);
  int fd =
      fd_own(openat(dir, file, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (fd < 0) {
    if (errno == ENOENT)
      *e = vss_error(VSS_E_OBJECT_NOT_FOUND, "there is no shadow copy %s", id);
    else if (errno == ELOOP || errno == ENXIO)
      *e = strange(id, "it is not a file");
    else
      *e = cannot(errno, "cannot open the record", p, id);
    return NULL;
  }
  size_t size = 0;
  char *text = read_file(p, fd, id, &size, e);
  fd_close(&fd);
  value *record = text != NULL ? record_parse_last(text, size, id, e) : NULL;
  mem_free(text);
  return record;
}


value *record_load(const places *p, const char *given, error **e) {
  char id[GUID_TEXT];
  fork_prepare();
  if (!record_id(given, id)) {
    *e = no_guid(given);
    return NULL;
  }
  int dir = places_shadows(p, e);
  if (dir < 0) return NULL;
  value *record = load(p, dir, id, e);
  fd_close(&dir);
  return record;
}


/* ------------------------------------------------------------------
** All of them
** ---------------------------------------------------------------- */

/* "<guid>.json", and the guid as it is written here. */
static bool names_record(const char *file, char id[GUID_TEXT]) {
  char text[GUID_TEXT];
  if (strlen(file) != GUID_TEXT - 1 + sizeof SUFFIX - 1) return false;
  memcpy(text, file, GUID_TEXT - 1);
  text[GUID_TEXT - 1] = '\0';
  return strcmp(file + GUID_TEXT - 1, SUFFIX) == 0 && record_id(text, id) &&
         strcmp(text, id) == 0;
}


/* Out of the way, but not gone: what it was about may still be there. */
static void set_aside(const places *p, int dir, const char *id,
                      const error *why) {
  char from[NAME_ROOM], to[NAME_ROOM];
  int r = -1;
  snprintf(from, sizeof from, "%s" SUFFIX, id);
  for (int i = 0; r != 0 && i < ASIDE_MOST; i++) {
    snprintf(to, sizeof to,
             i == 0 ? "%s" SUFFIX ".damaged" : "%s" SUFFIX ".%d.damaged", id,
             i);
    r = renameat2(dir, from, dir, to, RENAME_NOREPLACE);
    if (r != 0 && errno != EEXIST) break;
  }
  if (r == 0)
    log_write(LOG_WARNING, "vss", "%s; it is now %s/shadows/%s", why->message,
              p->state, to);
  else
    log_write(LOG_WARNING, "vss", "%s; it cannot be set aside: %s",
              why->message, strerror(errno));
}


static int earlier(const void *a, const void *b) {
  const value *x = *(value *const *)a, *y = *(value *const *)b;
  int64_t s = value_integer(value_get(x, "created_100ns"), 0);
  int64_t t = value_integer(value_get(y, "created_100ns"), 0);
  if (s != t) return s < t ? -1 : 1;
  return strcmp(record_text(x, "id"), record_text(y, "id"));
}


/* NULL: goes on. */
static error *add(const places *p, int dir, const char *id, value *list) {
  error *why = NULL;
  value *record = load(p, dir, id, &why);
  if (record != NULL) return value_add(list, record) ? NULL : error_no_memory();
  if (why->code == SAROS_E_OUTOFMEMORY) return why;
  if (why->code == SAROS_E_DAMAGED)
    set_aside(p, dir, id, why);
  else if (why->code != VSS_E_OBJECT_NOT_FOUND) /* gone meanwhile */
    log_write(LOG_WARNING, "vss", "%s: %s", id, why->message);
  error_unref(why);
  return NULL;
}


/* The directory's entries; NULL and errno. */
static DIR *entries(int dir) {
  int copy = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  DIR *d = copy >= 0 ? fdopendir(copy) : NULL;
  if (d == NULL && copy >= 0) close(copy);
  return d;
}


value *record_list(const places *p, error **e) {
  fork_prepare();
  int dir = places_shadows(p, e);
  if (dir < 0) return NULL;
  error *why = NULL;
  value *list = value_list();
  DIR *d = list != NULL ? entries(dir) : NULL;
  if (list == NULL)
    why = error_no_memory();
  else if (d == NULL)
    why = error_of_errno(SAROS_FACADE_VSS, errno, "cannot read the records",
                         p->state);
  errno = 0;
  for (struct dirent *f; why == NULL && d != NULL && (f = readdir(d)) != NULL;
       errno = 0) {
    char id[GUID_TEXT];
    if (names_record(f->d_name, id)) why = add(p, dir, id, list);
  }
  if (why == NULL && errno != 0)
    why = error_of_errno(SAROS_FACADE_VSS, errno, "cannot read the records",
                         p->state);
  if (d != NULL) closedir(d);
  fd_close(&dir);
  if (list != NULL && why == NULL) {
    if (list->count > 1)
      qsort(list->as.items, list->count, sizeof *list->as.items, earlier);
    return list;
  }
  value_free(list);
  *e = why;
  return NULL;
}


void record_tidy(const places *p) {
  error *e = NULL;
  int dir = places_shadows(p, &e);
  DIR *d = dir >= 0 ? entries(dir) : NULL;
  for (struct dirent *f; d != NULL && (f = readdir(d)) != NULL;) {
    size_t size = strlen(f->d_name);
    if (f->d_name[0] != '.' || size < 5 ||
        strcmp(f->d_name + size - 4, ".tmp") != 0)
      continue;
    int fd = fd_own(
        openat(dir, f->d_name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
    if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
      unlinkat(dir, f->d_name, 0);
    fd_close(&fd);
  }
  if (d != NULL) closedir(d);
  fd_close(&dir);
  error_unref(e);
}
