/*
** record: small files that are written whole.
*/
#include "vds/record.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

enum { RECORD_MOST = 4 << 20, RECORDS_MOST = 10000 };


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
  if (value_put(map, "version", value_int(1)) &&
      value_put(map, "id", value_text(id)) &&
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
  return fsync(fd) != 0 ? errno : 0;
}


static int sync_directory(const char *at) {
  int dir = open(at, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
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


error *vds_record_save(const char *at, const value *record) {
  buffer b = BUFFER_EMPTY;
  value *copy = as_text(record);
  char *path = file_of(at, record, ".json"), *new = file_of(at, record, ".new");
  if (copy != NULL) json_write(&b, copy, JSON_INDENTED);
  value_free(copy);
  error *e = NULL;
  if (path == NULL || new == NULL || b.failed || b.size == 0) {
    e = error_no_memory();
  } else {
    int fd =
        open(new, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW | O_CLOEXEC, 0600);
    int r = fd < 0 ? errno : write_all(fd, b.data, b.size);
    if (fd >= 0) close(fd);
    if (r == 0 && rename(new, path) != 0) r = errno;
    if (r == 0) r = sync_directory(at);
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


error *vds_record_remove(const char *at, const value *record) {
  char *path = file_of(at, record, ".json"),
       *lock = file_of(at, record, ".lock");
  error *e = NULL;
  if (path == NULL || lock == NULL) {
    e = error_no_memory();
  } else if (unlink(path) != 0 && errno != ENOENT) {
    e = not_kept(errno, path);
  } else {
    unlink(lock);
    int r = sync_directory(at);
    if (r != 0) e = not_kept(r, at);
  }
  mem_free(path);
  mem_free(lock);
  return e;
}


/* ------------------------------------------------------------------
** Reading
** ---------------------------------------------------------------- */

/* NULL and no *e: it went meanwhile. */
static value *read_record(const char *path, error **e) {
  static const json_limits limits = {.depth = 8, .size = RECORD_MOST};
  struct stat st;
  *e = NULL;
  int fd = open(path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
  if (fd < 0 && errno == ENOENT) return NULL;
  if (fd < 0 || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode) ||
      st.st_size > RECORD_MOST) {
    *e = vds_error(SAROS_E_DAMAGED, "it is no record of ours");
    if (fd >= 0) close(fd);
    return NULL;
  }
  buffer b = BUFFER_EMPTY;
  char *room = buffer_room(&b, (size_t)st.st_size + 1);
  ssize_t n = room != NULL ? read(fd, room, (size_t)st.st_size + 1) : -1;
  close(fd);
  value *v = n > 0 ? json_read(room, (size_t)n, &limits, e) : NULL;
  guid g;
  bool good = v != NULL && v->type == VALUE_MAP &&
              guid_parse(vds_record_text(v, "id"), &g) &&
              value_integer(value_get(v, "version"), 0) == 1;
  if (!good && *e == NULL)
    *e = vds_error(SAROS_E_DAMAGED, "it is no record of ours");
  if (!good) value_free(v);
  buffer_free(&b);
  return good ? v : NULL;
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


static error *read_one(const char *at, const char *name, value *list) {
  error *why = NULL;
  char *path = path_join(at, name);
  if (path == NULL) return error_no_memory();
  value *v = read_record(path, &why);
  if (v != NULL && !is_called(name, v)) {
    why = vds_error(SAROS_E_DAMAGED, "it is called otherwise than it is");
    value_free(v);
    v = NULL;
  }
  if (why != NULL) set_aside(path, why);
  error_unref(why);
  mem_free(path);
  return v == NULL || value_add(list, v) ? NULL : error_no_memory();
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
      *e = read_one(at, d->d_name, list);
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
