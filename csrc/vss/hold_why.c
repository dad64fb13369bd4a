/*
** What went wrong with a hold, in sentences. All of it is said when nothing is
** frozen any more, or on its way.
*/
#include <errno.h>

#include "vss/hold_parts.h"

error *hold_why_not(const stop *s) {
  if (s->guard_gone)
    return vss_error(SAROS_E_REFUSED,
                     "%s was not frozen, because the guard that would thaw it "
                     "after a crash has been killed; try again",
                     s->path);
  switch (s->freeze_errno) {
    case EBUSY:
      return vss_error(VSS_E_VOLUME_IN_USE,
                       "%s is frozen already, by somebody else; when nobody "
                       "needs that any more, fsfreeze --unfreeze %s thaws it",
                       s->path, s->path);
    case EOPNOTSUPP:
    case ENOTTY:
      return vss_error(VSS_E_VOLUME_NOT_SUPPORTED,
                       "%s cannot be frozen, because its file system (%s) "
                       "does not know how; take another provider for it",
                       s->path, s->type);
    case EPERM:
    case EACCES:
      return vss_error(SAROS_E_ACCESSDENIED,
                       "%s may not be frozen by this process; that needs root, "
                       "or CAP_SYS_ADMIN",
                       s->path);
    default:
      return error_of_errno(SAROS_FACADE_VSS, s->freeze_errno,
                            "cannot be frozen", s->path);
  }
}

error *hold_not_thawed(const stop *s) {
  return error_of_errno(SAROS_FACADE_VSS, s->thaw_errno,
                        "cannot be thawed; its guard goes on trying, and "
                        "fsfreeze --unfreeze may help",
                        s->path);
}

static error *guard_was_first(const stop *s) {
  return error_at(
      vss_error(VSS_E_HOLD_WRITES_TIMEOUT,
                "%s was thawed before its shadow copy was safe, by the guard "
                "or by somebody else; nothing of this set can be relied on",
                s->path),
      s->path);
}

static error *too_long(const hold *h, const stop *s) {
  uint64_t held = s->thawed_at - s->begun;
  return error_at(
      vss_error(VSS_E_HOLD_WRITES_TIMEOUT,
                "writes to %s would have been held longer than %g s (it was "
                "let go after %.3f s); try again when the machine is less "
                "busy, or allow it more time (timeouts.hold)",
                s->path, h->seconds, (double)held / 1e9),
      s->path);
}

error *hold_judge(const hold *h) {
  for (size_t i = 0; i < h->count; i++) {
    const stop *s = &h->stops[i];
    if (s->thawed_at != 0 && s->thaw_errno != 0 && s->thaw_errno != EINVAL)
      return hold_not_thawed(s);
  }
  if (!h->was_held) return NULL; /* it has failed already, and said why */
  for (size_t i = 0; i < h->count; i++)
    if (h->stops[i].thaw_errno == EINVAL) return guard_was_first(&h->stops[i]);
  for (size_t i = 0; i < h->count; i++) {
    const stop *s = &h->stops[i];
    if (h->expired || s->thawed_at - s->begun > h->limit) return too_long(h, s);
  }
  return NULL;
}

const char *hold_late_one(const hold *h) {
  const char *path = h->stops[0].path;
  for (size_t i = 0; i < h->count; i++) {
    const stop *s = &h->stops[i];
    int state = atomic_load(&s->state);
    bool out = s->submitted && !atomic_load(&s->job.back);
    if (out && state != STOP_FROZEN && state != STOP_THAWED) path = s->path;
  }
  return path;
}

error *hold_too_late(const hold *h, const char *path) {
  return error_at(
      vss_error(VSS_E_FLUSH_WRITES_TIMEOUT,
                "what was written to %s could not be brought to disk and held "
                "there within %g s; try again when less is written, or allow "
                "it more time (timeouts.hold)",
                path, h->seconds),
      path);
}
