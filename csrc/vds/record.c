/*
** record: small files that are written whole.
*/
#include "vds/record.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/format.h"

enum { VERSION = 1, RECORD_MOST = 4 << 20, RECORDS_MOST = 10000 };


char *vds_records_at(const char *state_dir, error **e) {
  char *state = path_directory(PATH_STATE, state_dir, e);
  if (state == NULL) return NULL;
  char *at = path_join(state, "vds");
  mem_free(state);
  if (at == NULL) {
    *e = error_no_memory();
    return NULL;
  }
  struct stat st;
  if (mkdir(at, 0700) == 0 || errno == EEXIST) {
    if (lstat(at, &st) == 0 && S_ISDIR(st.st_mode) && st.st_uid == geteuid() &&
        (st.st_mode & (S_IWGRP | S_IWOTH)) == 0)
      return at;
    errno = EPERM;
  }
  *e = vds_errno(errno,
                 "what is under way cannot be kept there, and nothing "
                 "is begun without",
                 at);
  mem_free(at);
  return NULL;
}


value *vds_record_new(const char *kind) {
  char id[GUID_TEXT];
  guid g;
  value *map = guid_make(&g) ? value_map() : NULL;
  if (map == NULL) return NULL;
  guid_format(&g, id);
  if (format_stamp(map, VERSION) && value_put(map, "id", value_text(id)) &&
      value_put(map, "kind", value_text(kind)) && vds_owner_put(map))
    return map;
  value_free(map);
  return NULL;
}


const char *vds_record_text(const value *record, const char *name) {
  return value_chars(value_get(record, name), "");
}


/* "path" is for people; where its bytes are no text, "path_b64" has them. */
char *vds_record_path(const value *record, const char *name) {
  char other[64];
  snprintf(other, sizeof other, "%s_b64", name);
  const char *base = vds_record_text(record, other);
  if (*base == '\0') return mem_text(vds_record_text(record, name));
  buffer b = BUFFER_EMPTY;
  if (!text_unbase64(&b, base, strlen(base)) || b.data == NULL ||
      strlen(b.data) != b.size) {
    buffer_free(&b);
    return NULL;
  }
  return buffer_take(&b);
}


/* ------------------------------------------------------------------
** The file that one is about
** ---------------------------------------------------------------- */

/* Where its directory is missing, or is another file system's (a mount point
   that has nothing mounted now), it may come again. On an overlay a directory
   need not have the number that its files have. */
static bool is_gone(const char *path, int64_t device, int number) {
  struct stat st;
  struct statfs fs;
  if (number != ENOENT && number != ENOTDIR) return false;
  char *parent = path_parent(path);
  bool there = parent != NULL && stat(parent, &st) == 0 &&
               S_ISDIR(st.st_mode) && statfs(parent, &fs) == 0;
  mem_free(parent);
  return there &&
         ((int64_t)st.st_dev == device || fs.f_type == OVERLAYFS_SUPER_MAGIC);
}


error *vds_record_open(const value *record, const char *name, int how,
                       int *fd) {
  struct stat st;
  int64_t device = value_integer(value_get(record, "file_device"), -1);
  int64_t inode = value_integer(value_get(record, "file_inode"), -1);
  char *path = vds_record_path(record, name);
  error *e = NULL;
  *fd = -1;
  if (path == NULL) return error_no_memory();
  int is = open(path, how | O_NONBLOCK | O_NOFOLLOW | O_CLOEXEC);
  if (is < 0) {
    int number = errno;
    if (!is_gone(path, device, number))
      e = vds_errno(number,
                    "the file of a disk cannot be opened; when it can be "
                    "again, reap again",
                    path);
  } else if (fstat(is, &st) == 0 && S_ISREG(st.st_mode) &&
             (int64_t)st.st_dev == device && (int64_t)st.st_ino == inode) {
    *fd = is;
  } else {
    close(is);
  }
  mem_free(path);
  return e;
}


/* ------------------------------------------------------------------
** Writing
** ---------------------------------------------------------------- */

static char *file_of(const char *at, const value *record, const char *end) {
  char name[GUID_TEXT + 16];
  guid g;
  const char *id = vds_record_text(record, "id");
  if (!guid_parse(id, &g)) return NULL;
  snprintf(name, sizeof name, "%s%s", id, end);
  return path_join(at, name);
}


static int write_all(int fd, const char *data, size_t size) {
  while (size > 0) {
    ssize_t n = write(fd, data, size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno;
    data += n;
    size -= (size_t)n;
  }
  return 0;
}


static int open_directory(const char *at) {
  return open(at, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}


static int sync_directory(const char *at) {
  int dir = open_directory(at);
  int r = dir < 0 || fsync(dir) != 0 ? errno : 0;
  if (dir >= 0) close(dir);
  return r;
}


static error *not_kept(int number, const char *at) {
  return vds_errno(number, "what is under way cannot be kept", at);
}


/* The bytes of paths go beside their text, where they are none. */
static value *as_text(const value *record) {
  value *copy = value_copy(record);
  for (uint32_t i = 0; copy != NULL && i < copy->count; i++) {
    value *item = copy->as.fields[i].item;
    if (item->type != VALUE_STRING ||
        text_is_utf8(item->as.string.data, item->as.string.size))
      continue;
    char name[64];
    buffer b = BUFFER_EMPTY;
    snprintf(name, sizeof name, "%.50s_b64", copy->as.fields[i].name);
    text_base64(&b, item->as.string.data, item->as.string.size);
    char *text = buffer_take(&b);
    if (text == NULL || !value_put(copy, name, value_text(text))) {
      value_free(copy);
      copy = NULL;
    }
    mem_free(text);
  }
  return copy;
}


/* Beside its name, then under it; the file is left open. */
static int write_new(const char *new, const char *path, const buffer *b,
                     bool durable, int *fd) {
  *fd = open(new, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
  int r = *fd < 0 ? errno : write_all(*fd, b->data, b->size);
  if (r == 0 && durable && fsync(*fd) != 0) r = errno;
  if (r == 0 && rename(new, path) != 0) r = errno;
  return r;
}


static error *write_record(const char *at, const value *record, bool durable,
                           int fds[2]) {
  buffer b = BUFFER_EMPTY;
  value *copy = as_text(record);
  char *path = file_of(at, record, ".json"), *new = file_of(at, record, ".new");
  if (copy != NULL) json_write(&b, copy, JSON_INDENTED);
  value_free(copy);
  error *e = NULL;
  fds[0] = fds[1] = -1;
  if (path == NULL || new == NULL || b.failed || b.size == 0) {
    e = error_no_memory();
  } else {
    fds[1] = open_directory(at);
    int r = fds[1] < 0 ? errno : write_new(new, path, &b, durable, &fds[0]);
    if (r == 0 && durable && fsync(fds[1]) != 0) r = errno;
    if (r != 0) {
      unlink(new);
      e = not_kept(r, at);
    }
  }
  mem_free(path);
  mem_free(new);
  buffer_free(&b);
  return e;
}


error *vds_record_put(const char *at, const value *record, int fds[2]) {
  return write_record(at, record, false, fds);
}


error *vds_record_save(const char *at, const value *record) {
  int fds[2];
  error *e = write_record(at, record, true, fds);
  for (int i = 0; i < 2; i++)
    if (fds[i] >= 0) close(fds[i]);
  return e;
}


static error *unlink_record(const char *at, const value *record, bool durable) {
  char *path = file_of(at, record, ".json"),
       *lock = file_of(at, record, ".lock");
  error *e = NULL;
  if (path == NULL || lock == NULL) {
    e = error_no_memory();
  } else if (unlink(path) != 0 && errno != ENOENT) {
    e = not_kept(errno, path);
  } else {
    unlink(lock);
    int r = durable ? sync_directory(at) : 0;
    if (r != 0) e = not_kept(r, at);
  }
  mem_free(path);
  mem_free(lock);
  return e;
}


error *vds_record_remove(const char *at, const value *record) {
  return unlink_record(at, record, true);
}


error *vds_record_drop(const char *at, const value *record) {
  return unlink_record(at, record, false);
}


/* ------------------------------------------------------------------
** Reading
** ---------------------------------------------------------------- */

static error *no_record(void) {
  return vds_error(SAROS_E_DAMAGED, "it is no record of ours");
}


static error *not_read(int number, const char *path) {
  return vds_errno(number, "a record cannot be read", path);
}


static error *read_to_end(int fd, const char *path, buffer *b) {
  while (b->size <= RECORD_MOST) {
    char *room = buffer_room(b, 1 << 14);
    if (room == NULL) return error_no_memory();
    ssize_t n = read(fd, room, 1 << 14);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return not_read(errno, path);
    if (n == 0) return NULL;
    b->size += (size_t)n;
  }
  return no_record();
}


/* *here: it has not gone meanwhile. What is no file was put here by somebody;
   what cannot be opened just now is a record as before. */
static error *read_file(const char *path, buffer *b, bool *here) {
  struct stat st;
  int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  int number = fd < 0 ? errno : 0;
  *here = number != ENOENT;
  if (!*here) return NULL;
  if (number == ELOOP || number == ENXIO) return no_record();
  if (number != 0) return not_read(number, path);
  error *e = NULL;
  if (fstat(fd, &st) != 0)
    e = not_read(errno, path);
  else if (!S_ISREG(st.st_mode))
    e = no_record();
  else
    e = read_to_end(fd, path, b);
  close(fd);
  return e;
}


/* NULL and no *e: it went meanwhile. */
static value *read_record(const char *path, error **e) {
  static const json_limits limits = {.depth = 8, .size = RECORD_MOST};
  buffer b = BUFFER_EMPTY;
  bool here;
  guid g;
  *e = read_file(path, &b, &here);
  value *v = *e == NULL && here ? json_read(b.data, b.size, &limits, e) : NULL;
  buffer_free(&b);
  if (v == NULL) return NULL;
  int64_t version =
      v->type == VALUE_MAP ? value_integer(value_get(v, "version"), 0) : 0;
  *e = format_newer(SAROS_FACADE_VDS, VDS_E_NOT_SUPPORTED, v, VERSION, "it");
  if (*e == NULL &&
      (version != VERSION || !guid_parse(vds_record_text(v, "id"), &g)))
    *e = no_record();
  if (*e == NULL) return v;
  value_free(v);
  return NULL;
}


/* By what is in it. That there was no memory, or no descriptor, says nothing
   about it, and an errno is never this. */
static bool is_damaged(const error *e) {
  return e->code == SAROS_E_DAMAGED ||
         (e->code == SAROS_E_INVALIDARG && e->number == 0);
}


/* Set aside, so that it is not found again; whoever wants to look can. */
static void set_aside(const char *path, const error *why) {
  char other[4200];
  int n = snprintf(other, sizeof other, "%s.damaged", path);
  bool done = n > 0 && n < (int)sizeof other && rename(path, other) == 0;
  log_write(LOG_WARNING, "vds", "%s cannot be read (%s)%s", path, why->message,
            done ? "; it was renamed to *.damaged" : "");
}


/* Its name must be its id: what somebody copied here is not taken for two. */
static bool is_called(const char *name, const value *v) {
  size_t n = strlen(vds_record_text(v, "id"));
  return strncmp(name, vds_record_text(v, "id"), n) == 0 &&
         strcmp(name + n, ".json") == 0;
}


/* NULL and no *e: there is none that could be used. */
static value *read_one(const char *at, const char *name, error **e) {
  char *path = path_join(at, name);
  if (path == NULL) {
    *e = error_no_memory();
    return NULL;
  }
  value *v = read_record(path, e);
  if (v != NULL && !is_called(name, v)) {
    *e = vds_error(SAROS_E_DAMAGED, "it is called otherwise than it is");
    value_free(v);
    v = NULL;
  }
  bool newer = *e != NULL && (*e)->code == VDS_E_NOT_SUPPORTED;
  bool damaged = *e != NULL && is_damaged(*e);
  if (newer)
    log_write(LOG_WARNING, "vds", "%s is left as it is: %s", path,
              (*e)->message);
  else if (damaged)
    set_aside(path, *e);
  if (newer || damaged) {
    error_unref(*e);
    *e = NULL;
  }
  mem_free(path);
  return v;
}


value *vds_record_again(const char *at, const value *record, error **e) {
  char name[GUID_TEXT + 16];
  *e = NULL;
  snprintf(name, sizeof name, "%.*s.json", GUID_TEXT,
           vds_record_text(record, "id"));
  return read_one(at, name, e);
}


static error *add_one(const char *at, const char *name, value *list) {
  error *e = NULL;
  value *v = read_one(at, name, &e);
  return v == NULL || value_add(list, v) ? e : error_no_memory();
}


value *vds_record_list(const char *at, error **e) {
  *e = NULL;
  DIR *all = opendir(at);
  if (all == NULL) {
    *e = not_kept(errno, at);
    return NULL;
  }
  value *list = value_list();
  if (list == NULL) {
    closedir(all);
    *e = error_no_memory();
    return NULL;
  }
  for (struct dirent *d; *e == NULL && list->count < RECORDS_MOST &&
                         (d = readdir(all)) != NULL;) {
    size_t n = strlen(d->d_name);
    if (n > 5 && strcmp(d->d_name + n - 5, ".json") == 0)
      *e = add_one(at, d->d_name, list);
  }
  closedir(all);
  if (*e == NULL) return list;
  value_free(list);
  return NULL;
}


int vds_record_lock(const char *at, const value *record, error **e) {
  char *path = file_of(at, record, ".lock");
  if (path == NULL) {
    *e = error_no_memory();
    return -1;
  }
  int fd = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600);
  if (fd < 0) {
    *e = not_kept(errno, path);
  } else if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
    *e = errno == EWOULDBLOCK
             ? vds_error(SAROS_E_LOCKED,
                         "a program that was begun for it still runs; try "
                         "again when it has ended")
             : not_kept(errno, path);
    close(fd);
    fd = -1;
  }
  mem_free(path);
  return fd;
}
