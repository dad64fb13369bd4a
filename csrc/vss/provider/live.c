/*
** live: no shadow at all. The counterpart of the path is the path itself, for
** those who want the writers told and their data read in place. It is never
** chosen, only asked for by name.
*/
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "vss/place.h"

static error *probe(const origin *from) {
  int fd = open(from->path, O_PATH | O_CLOEXEC);
  if (fd < 0)
    return error_of_errno(SAROS_FACADE_VSS, errno, "cannot find", from->path);
  close(fd);
  return NULL;
}

/* What it is remembered by, so that another one in its place is noticed. */
static error *plan(shadow *s) {
  int fd = open(s->from->path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0)
    return error_of_errno(SAROS_FACADE_VSS, errno, "cannot find",
                          s->from->path);
  bool good = keep_put_path(s->keep, "path", s->from->path) &&
              keep_put_file(s->keep, "file", fd);
  close(fd);
  return good ? NULL : error_no_memory();
}

static error *is_there(const value *keep) {
  char *path;
  error *e = keep_path(keep, "path", &path);
  if (e != NULL) return e;
  int fd = open(path, O_PATH | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0 || !keep_is_file(keep, "file", fd))
    e = error_at(vss_error(VSS_E_OBJECT_NOT_FOUND,
                           "\"%s\" is not what it was any more: it was removed "
                           "or replaced",
                           path),
                 path);
  if (fd >= 0) close(fd);
  mem_free(path);
  return e;
}

static error *prepare(shadow *s, saros_op *op) {
  error *e = cancelled_error(op);
  return e != NULL ? e : is_there(s->keep);
}

static error *commit(shadow *s) {
  return is_there(s->keep);
}

static error *finish(shadow *s, saros_op *op) {
  (void)op;
  s->path = mem_text(s->from->path);
  s->device = mem_text(s->from->path);
  if (s->path == NULL || s->device == NULL) return error_no_memory();
  bool good = shadow_warn(s,
                          "this is no shadow but the original, which goes "
                          "on changing as soon as its writers go on");
  return good ? NULL : error_no_memory();
}

/* Nothing was made. */
static error *destroy(const value *keep, saros_op *op) {
  (void)keep;
  (void)op;
  return NULL;
}

static void forget(shadow *s) {
  s->self = NULL;
}

const provider provider_live = {
    .name = "live",
    .id = "28fdcd2c-97f4-447c-9ad3-3ec9ec357e8b",
    .freeze = FREEZE_NONE,
    .atomic = ATOMIC_NOTHING,
    .worth =
        "the original itself: only what is read while the writers hold "
        "still is consistent",
    .rank = -1,
    .probe = probe,
    .plan = plan,
    .prepare = prepare,
    .commit = commit,
    .finish = finish,
    .destroy = destroy,
    .forget = forget,
    .verify = is_there,
};
