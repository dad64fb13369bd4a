/*
** Steps on the entries of directories. A disk may take its time: on the lane.
*/
#include "op/entries.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* What a step hands out; NULL with errno: it failed. */
typedef value *step_function(const char *path, const char *other);

static const char *type_of(mode_t mode) {
  switch (mode & S_IFMT) {
    case S_IFREG: return "file";
    case S_IFDIR: return "dir";
    case S_IFLNK: return "symlink";
    case S_IFBLK: return "dev";
    case S_IFCHR: return "chardev";
    case S_IFIFO: return "fifo";
    default: return "socket";
  }
}

static bool put_link(value *map, const char *path, const struct stat *st) {
  char target[4096];
  if (!S_ISLNK(st->st_mode)) return true;
  ssize_t size = readlink(path, target, sizeof target);
  return size < 0 ||
         value_put(map, "target", value_string(target, (size_t)size));
}

static value *described(const char *path, int flags) {
  struct stat st;
  struct statx x;
  if (fstatat(AT_FDCWD, path, &st, flags) != 0)
    return errno == ENOENT || errno == ENOTDIR ? value_bool(false) : NULL;
  /* A thing that something is mounted on cannot come to another name. */
  bool root = statx(AT_FDCWD, path, flags, 0, &x) == 0 &&
              (x.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
  char id[64];
  snprintf(id, sizeof id, "%u:%u:%llu", major(st.st_dev), minor(st.st_dev),
           (unsigned long long)st.st_ino);
  value *map = value_map();
  bool good = map != NULL && value_put(map, "id", value_text(id)) &&
              value_put(map, "type", value_text(type_of(st.st_mode))) &&
              value_put(map, "mode", value_int(st.st_mode & 07777)) &&
              value_put(map, "uid", value_int(st.st_uid)) &&
              value_put(map, "gid", value_int(st.st_gid)) &&
              value_put(map, "size", value_int(st.st_size)) &&
              value_put(map, "mounted", value_bool(root)) &&
              put_link(map, path, &st);
  if (good) return map;
  value_free(map);
  errno = ENOMEM;
  return NULL;
}

static value *look(const char *path, const char *other) {
  (void)other;
  return described(path, AT_SYMLINK_NOFOLLOW);
}

static value *follow(const char *path, const char *other) {
  (void)other;
  return described(path, 0);
}

static int by_name(const void *a, const void *b) {
  const value *const *x = a, *const *y = b;
  return strcmp((*x)->as.string.data, (*y)->as.string.data);
}

static value *names(const char *path, const char *other) {
  (void)other;
  DIR *d = opendir(path);
  if (d == NULL) return NULL;
  value *list = value_list();
  int number = list == NULL ? ENOMEM : 0;
  struct dirent *entry;
  while (number == 0) {
    errno = 0;
    entry = readdir(d);
    if (entry == NULL) {
      number = errno;
      break;
    }
    if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
      continue;
    if (!value_add(list, value_text(entry->d_name))) number = ENOMEM;
  }
  closedir(d);
  if (number != 0) {
    value_free(list);
    errno = number;
    return NULL;
  }
  if (list->count > 0)
    qsort(list->as.items, list->count, sizeof *list->as.items, by_name);
  return list;
}

static value *done(int result) {
  return result == 0 ? value_bool(true) : NULL;
}

static value *make(const char *path, const char *other) {
  (void)other;
  return done(mkdir(path, 0700));
}

static value *move(const char *from, const char *to) {
  return done(renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE));
}

static value *exchange(const char *one, const char *two) {
  return done(renameat2(AT_FDCWD, one, AT_FDCWD, two, RENAME_EXCHANGE));
}

static value *take_away(const char *path, const char *other) {
  (void)other;
  return done(rmdir(path));
}

static value *settle(const char *path, const char *other) {
  (void)other;
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return NULL;
  int r = syncfs(fd);
  int number = errno;
  close(fd);
  errno = number;
  return done(r);
}

static value *flush(const char *path, const char *other) {
  (void)other;
  int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOFOLLOW);
  if (fd < 0) return NULL;
  int r = fsync(fd);
  int number = errno;
  close(fd);
  errno = number;
  return done(r);
}

/* Writes all of it, and waits for the disk. */
static bool fill(int fd, const char *text) {
  for (size_t left = strlen(text); left > 0;) {
    ssize_t n = write(fd, text, left);
    if (n < 0) return false;
    text += n;
    left -= (size_t)n;
  }
  return fsync(fd) == 0;
}

static value *store(const char *path, const char *text) {
  int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (fd < 0) return NULL;
  bool good = fill(fd, text);
  int number = errno;
  good = close(fd) == 0 && good;
  if (good) return value_bool(true);
  unlink(path);
  errno = number;
  return NULL;
}

static const struct verb {
  const char *name;
  step_function *run;
  uint32_t paths;
  const char *cannot;
} verbs[] = {
    {"look", look, 1, "cannot look at"},
    {"follow", follow, 1, "cannot look at"},
    {"names", names, 1, "cannot list"},
    {"make", make, 1, "cannot make the directory"},
    {"move", move, 2, "cannot move"},
    {"exchange", exchange, 2, "cannot exchange"},
    {"remove", take_away, 1, "cannot remove the directory"},
    {"sync", settle, 1, "cannot wait for the disk of"},
    {"flush", flush, 1, "cannot have on the disk"},
    {"store", store, 2, "cannot write"},
};

static const struct verb *verb_of(const value *step) {
  if (step->type != VALUE_LIST || step->count == 0) return NULL;
  for (uint32_t i = 0; i < step->count; i++)
    if (step->as.items[i]->type != VALUE_STRING) return NULL;
  for (size_t i = 0; i < sizeof verbs / sizeof *verbs; i++)
    if (strcmp(verbs[i].name, step->as.items[0]->as.string.data) == 0)
      return step->count == verbs[i].paths + 1 ? &verbs[i] : NULL;
  return NULL;
}

static error *failed(const struct verb *verb, const char *path,
                     const char *other, int number) {
  buffer b = BUFFER_EMPTY;
  buffer_format(&b, "%s ", verb->cannot);
  text_escape(&b, path, strlen(path));
  if (other != NULL && verb->run != store) { /* may be a secret */
    buffer_text(&b, verb->run == move ? " to " : " with ");
    text_escape(&b, other, strlen(other));
  }
  error *e = b.failed
                 ? error_no_memory()
                 : error_of_errno(SAROS_FACADE_SAROS, number, b.data, path);
  buffer_free(&b);
  return e;
}

static uint32_t run(saros_op *op, void *self) {
  const value *steps = self;
  value *list = value_list();
  error *e = list == NULL ? error_no_memory() : NULL;
  for (uint32_t i = 0; e == NULL && i < steps->count; i++) {
    const value *step = steps->as.items[i];
    const struct verb *verb = verb_of(step);
    const char *path = value_chars(step->as.items[1], "");
    const char *other =
        step->count > 2 ? value_chars(step->as.items[2], "") : NULL;
    value *item = verb->run(path, other);
    if (item == NULL)
      e = failed(verb, path, other, errno);
    else if (!value_add(list, item))
      e = error_no_memory();
  }
  if (e == NULL) {
    op_set_output(op, list);
    return SAROS_S_OK;
  }
  value_free(list);
  uint32_t code = e->code;
  op_end_error(op, code, e);
  return code;
}

static void release(void *self) {
  value_free(self);
}

/* Not cancellable: who has begun a step has to know whether it was done. */
static const saros_kind kind = {.size = sizeof(saros_kind),
                                .name = "saros.entries",
                                .facade = SAROS_FACADE_SAROS,
                                .flags = SAROS_RUN_LANE,
                                .run = run,
                                .release = release};

saros_op *entries_start(value *steps, error **e) {
  bool good = steps != NULL && steps->type == VALUE_LIST;
  for (uint32_t i = 0; good && i < steps->count; i++)
    good = verb_of(steps->as.items[i]) != NULL;
  saros_op *op = good ? saros_op_new(&kind, steps, NULL) : NULL;
  if (op == NULL) {
    *e = good || steps == NULL
             ? error_no_memory()
             : error_make(SAROS_FACADE_SAROS, SAROS_E_INVALIDARG,
                          "a list of steps is wanted: { \"look\", path }, …");
    value_free(steps);
    return NULL;
  }
  uint32_t why = saros_op_start(op);
  if (why == 0) return op;
  *e = error_make(SAROS_FACADE_SAROS, why, "no worker could be had");
  saros_op_unref(op);
  return NULL;
}
