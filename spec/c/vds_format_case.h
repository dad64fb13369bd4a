/*
** What the suites about formatting share: a scratch device, and a format of it.
*/
#ifndef SAROS_SPEC_VDS_FORMAT_CASE_H
#define SAROS_SPEC_VDS_FORMAT_CASE_H

#include "vds_whole_case.h"

#include "vds/fs.h"
#include "vds/probe.h"

typedef struct scratch {
  int fd; /* keeps it attached */
  char device[32];
  const char *image;
} scratch;

static inline scratch scratch_of(unsigned megabytes) {
  scratch s = {.image = make_image(megabytes)};
  s.fd = volumes_attach(s.image, 0, 0, s.device);
  CHECK(s.fd >= 0);
  return s;
}

static inline void drop(scratch *s) {
  if (s->fd >= 0) close(s->fd);
  unlink(s->image);
  s->fd = -1;
}

__attribute__((format(printf, 2, 3))) static inline saros_op *start(
    const char *path, const char *format, ...) {
  va_list args;
  va_start(args, format);
  value *options = vds_json(format, args), *object = value_map();
  va_end(args);
  vds_identity who = identity_at(path);
  vds_identity_put(object, &who);
  value_put(options, "object", object);
  return begin_with("format", options);
}
#define format_it(path, ...) end_of(start(path, __VA_ARGS__))

static inline vds_probe seen(int fd) {
  vds_probe p = {0};
  error *e = vds_probe_fd(fd, &p);
  CHECK(e == NULL);
  error_unref(e);
  return p;
}

/* Whether one can be made and looked at here; else why not. */
static inline const char *missing(const char *fs) {
  static char why[120];
  const vds_fs *one = vds_fs_find(fs);
  if (vds_missing() != NULL) return vds_missing();
  if (one != NULL && vds_tool_is_here(one->maker)) return NULL;
  snprintf(why, sizeof why, "no maker of %s: apt-get install %s", fs,
           one != NULL ? one->package : "?");
  return why;
}
#define NEED(fs) \
  if (missing(fs) != NULL) SKIP(missing(fs))

/* Its own checker finds nothing wrong with it. */
static inline void check_is_good(const char *fs, const char *device) {
  static const struct {
    const char *fs, *command;
  } checks[] = {{"ext4", "e2fsck -fn"},
                {"xfs", "xfs_repair -n"},
                {"btrfs", "btrfs check"},
                {"vfat", "fsck.vfat -n"}};
  for (size_t i = 0; i < sizeof checks / sizeof *checks; i++)
    if (strcmp(checks[i].fs, fs) == 0)
      CHECK_INT(
          volumes_run("%s '%s' >/dev/null 2>&1", checks[i].command, device), 0);
}

#endif
