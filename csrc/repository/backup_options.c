/*
** backup_options: what a script asked for, read once and checked before
** anything is locked.
*/
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "repository/backup_parts.h"
#include "repository/go.h"
#include "repository/repo_parts.h"

#define EXCLUDE_FILE_MOST ((size_t)16 << 20)
#define THREADS_MOST 64

static error *misuse(const char *name, const char *expected) {
  return repo_error(SAROS_E_INVALIDARG, "backup: %s: %s", name, expected);
}

static const value *list_of(const repo_call *c, const char *name, error **e) {
  const value *v = value_get(c->options, name);
  *e = NULL;
  /* An empty table of Lua's could be either. */
  if (v == NULL || (v->type == VALUE_MAP && v->count == 0)) return NULL;
  if (v->type == VALUE_LIST) {
    bool texts = true;
    for (uint32_t i = 0; i < v->count; i++)
      texts = texts && v->as.items[i]->type == VALUE_STRING;
    if (texts) return v;
  }
  *e = misuse(name, "a list of texts is expected");
  return NULL;
}

static bool flag(const repo_call *c, const char *name) {
  return value_boolean(value_get(c->options, name), false);
}

static unsigned cores(void) {
  long n = sysconf(_SC_NPROCESSORS_ONLN);
  return n < 1 ? 1 : n > THREADS_MOST ? THREADS_MOST : (unsigned)n;
}


/* ------------------------------------------------------------------
** Sources
** ---------------------------------------------------------------- */

static error *read_source(const repo_call *c, const value *v,
                          backup_source *s) {
  if (v->type == VALUE_STRING) {
    s->path = s->shown = value_chars(v, "");
  } else if (value_get(v, "stream") != NULL) {
    int64_t n = value_integer(value_get(v, "stream"), -1);
    s->shown = value_chars(value_get(v, "name"), "");
    if (n < 0 || (size_t)n >= c->stream_count)
      return misuse("sources", "a stream is an operation or a descriptor");
    s->stream = (int)n;
  } else {
    const value *origin = value_get(v, "origin");
    const value *device = value_get(origin, "device");
    s->path = value_chars(value_get(v, "path"), "");
    s->shown = value_chars(value_get(origin, "path"), s->path);
    s->has_device = device != NULL;
    s->device = (uint64_t)value_integer(device, 0);
    if (origin != NULL && s->shown[0] != '/')
      return misuse("sources", "the path of an origin must be absolute");
    struct stat st;
    if (origin != NULL && device == NULL && stat(s->shown, &st) == 0) {
      s->has_device = true;
      s->device = st.st_dev;
    }
  }
  if (s->shown[0] == '\0' || (s->path != NULL && s->path[0] == '\0'))
    return misuse("sources", "a source has a path, or a name and a stream");
  return NULL;
}

static error *read_sources(const repo_call *c, backup_options *o) {
  const value *v = value_get(c->options, "sources");
  error *e = NULL;
  if (v == NULL) v = list_of(c, "paths", &e);
  if (e != NULL) return e;
  if (v == NULL || v->type != VALUE_LIST || v->count == 0)
    return misuse("paths", "say what to back up: a list of paths");
  o->sources = mem_zero(v->count * sizeof *o->sources);
  if (o->sources == NULL) return error_no_memory();
  for (; o->count < v->count && e == NULL; o->count++) {
    o->sources[o->count].stream = -1;
    e = read_source(c, v->as.items[o->count], &o->sources[o->count]);
  }
  return e;
}


/* ------------------------------------------------------------------
** Excludes
** ---------------------------------------------------------------- */

static const char *variable(void *context, const char *name) {
  (void)context;
  return getenv(name);
}

static error *read_whole(const char *path, buffer *b) {
  int fd = open(path, O_RDONLY | O_CLOEXEC);
  if (fd < 0)
    return error_of_errno(SAROS_FACADE_SAROS, errno,
                          "cannot open the file of patterns", path);
  ssize_t n = 1;
  while (n > 0 && b->size <= EXCLUDE_FILE_MOST) {
    char *room = buffer_room(b, 65536);
    n = room != NULL ? read(fd, room, 65536) : 0;
    if (n > 0) b->size += (size_t)n;
  }
  int number = errno;
  close(fd);
  if (b->failed) return error_no_memory();
  if (n < 0)
    return error_of_errno(SAROS_FACADE_SAROS, number,
                          "cannot read the file of patterns", path);
  if (n == 0) return NULL;
  return repo_error(SAROS_E_INVALIDARG,
                    "%s is too large for a file of patterns", path);
}

static error *add_file(backup_options *o, const char *path, bool fold) {
  buffer b = BUFFER_EMPTY;
  error *e = read_whole(path, &b);
  if (e == NULL)
    e = repo_exclude_text(o->exclude, b.data != NULL ? b.data : "", b.size,
                          fold, variable, NULL);
  buffer_free(&b);
  return e;
}

static error *add_patterns(const repo_call *c, backup_options *o) {
  static const struct {
    const char *name;
    bool file, fold;
  } kinds[] = {{"exclude", false, false},
               {"iexclude", false, true},
               {"exclude_file", true, false},
               {"iexclude_file", true, true}};
  error *e = NULL;
  for (size_t k = 0; k < sizeof kinds / sizeof kinds[0] && e == NULL; k++) {
    const value *v = list_of(c, kinds[k].name, &e);
    for (uint32_t i = 0; v != NULL && i < v->count && e == NULL; i++) {
      const char *text = value_chars(v->as.items[i], "");
      o->has_patterns = true;
      e = kinds[k].file ? add_file(o, text, kinds[k].fold)
                        : repo_exclude_pattern(o->exclude, text, kinds[k].fold);
    }
  }
  if (e == NULL) o->patterns = list_of(c, "exclude", &e);
  return e;
}

/* A number of bytes, or a text such as "10M". */
static error *read_size(const repo_call *c, const char *name, uint64_t *size,
                        bool *given) {
  const value *v = value_get(c->options, name);
  const char *text = value_chars(v, NULL);
  *given = v != NULL;
  if (v == NULL) return NULL;
  if (text != NULL && repo_exclude_read_size(text, size)) return NULL;
  if (v->type == VALUE_INT && v->as.integer >= 0) {
    *size = (uint64_t)v->as.integer;
    return NULL;
  }
  return misuse(name, "a number of bytes is expected, or a text as \"10M\"");
}

static error *read_excludes(const repo_call *c, backup_options *o) {
  uint64_t size = 0;
  bool given = false;
  o->exclude = repo_exclude_new();
  if (o->exclude == NULL) return error_no_memory();
  error *e = add_patterns(c, o);
  const value *v = NULL;
  if (e == NULL) v = list_of(c, "exclude_if_present", &e);
  for (uint32_t i = 0; v != NULL && i < v->count && e == NULL; i++)
    e = repo_exclude_if_present(o->exclude, value_chars(v->as.items[i], ""));
  if (e == NULL && flag(c, "exclude_caches"))
    e = repo_exclude_caches(o->exclude);
  if (e == NULL) e = read_size(c, "exclude_larger_than", &size, &given);
  if (e == NULL && given) repo_exclude_larger_than(o->exclude, size);
  return e;
}


/* ------------------------------------------------------------------
** The rest
** ---------------------------------------------------------------- */

static error *read_level(const repo_call *c, backup_options *o) {
  static const char *const names[] = {"off", "fastest", "auto", "better",
                                      "max"};
  const char *text =
      repo_option(c->options, "compression", "RESTIC_COMPRESSION");
  o->pack.level = REPO_LEVEL_AUTO;
  if (text == NULL) return NULL;
  for (int i = 0; i < 5; i++) {
    o->pack.level = (repo_level)i;
    if (strcmp(text, names[i]) == 0) return NULL;
  }
  return misuse("compression",
                "\"auto\", \"off\", \"fastest\", \"better\" or \"max\"");
}

static error *read_pack(const repo_call *c, backup_options *o) {
  uint64_t size = REPO_PACK_DEFAULT;
  bool given;
  error *e = read_size(c, "pack_size", &size, &given);
  if (e != NULL) return e;
  if (size < REPO_PACK_LEAST || size > REPO_PACK_MOST)
    return misuse("pack_size", "from 4 MiB to 128 MiB");
  o->pack.pack_size = (size_t)size;
  o->pack.open = cores();
  o->pack.dry = o->dry_run;
  return read_size(c, "limit_upload", &o->pack.rate, &given);
}

error *repo_call_pack_options(const repo_call *c, packer_options *pack) {
  backup_options o = {.dry_run = flag(c, "dry_run")};
  error *e = read_level(c, &o);
  if (e == NULL) e = read_pack(c, &o);
  *pack = o.pack;
  return e;
}

static error *read_time(const repo_call *c, backup_options *o) {
  const value *v = value_get(c->options, "time");
  int32_t zone;
  if (v == NULL) return NULL;
  o->has_time = true;
  if (v->type == VALUE_INT) {
    o->time = (struct timespec){.tv_sec = (time_t)v->as.integer};
    return NULL;
  }
  if (v->type == VALUE_REAL && fabs(v->as.real) < 1e15) {
    double whole = floor(v->as.real);
    o->time.tv_sec = (time_t)whole;
    o->time.tv_nsec = (long)((v->as.real - whole) * 1e9);
    return NULL;
  }
  if (v->type == VALUE_STRING &&
      repo_go_time_read(v->as.string.data, v->as.string.size, &o->time, &zone))
    return NULL;
  return misuse("time",
                "seconds since 1970, or a text as "
                "\"2026-01-31T12:00:00+01:00\"");
}

static error *read_threads(const repo_call *c, backup_options *o) {
  const value *v = value_get(c->options, "read_concurrency");
  int64_t n = value_integer(v, 2);
  if (n < 1 || n > THREADS_MOST)
    return misuse("read_concurrency", "from 1 to 64");
  o->threads = (unsigned)n > cores() ? (unsigned)n : cores();
  return NULL;
}

static void read_flags(const repo_call *c, backup_options *o) {
  o->host = repo_option(c->options, "host", "RESTIC_HOST");
  o->parent = value_chars(value_get(c->options, "parent"), NULL);
  o->force = flag(c, "force");
  o->one_file_system = flag(c, "one_file_system");
  o->skip_if_unchanged = flag(c, "skip_if_unchanged");
  o->dry_run = flag(c, "dry_run");
  if (flag(c, "with_atime")) o->node_flags |= REPO_NODE_ATIME;
  if (flag(c, "ignore_ctime")) o->ignore_flags |= REPO_IGNORE_CTIME;
  if (flag(c, "ignore_inode")) o->ignore_flags |= REPO_IGNORE_INODE;
}

error *repo_backup_options_read(const repo_call *c, backup_options *o) {
  memset(o, 0, sizeof *o);
  read_flags(c, o);
  error *e = read_sources(c, o);
  if (e == NULL) o->tags = list_of(c, "tags", &e);
  if (e == NULL) o->whole = list_of(c, "whole", &e);
  if (e == NULL) e = read_excludes(c, o);
  if (e == NULL) e = read_level(c, o);
  if (e == NULL) e = read_pack(c, o);
  if (e == NULL) e = read_time(c, o);
  if (e == NULL) e = read_threads(c, o);
  return e;
}

void repo_backup_options_free(backup_options *o) {
  repo_exclude_free(o->exclude);
  mem_free(o->sources);
  memset(o, 0, sizeof *o);
}
