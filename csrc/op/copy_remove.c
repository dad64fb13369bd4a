/*
** A tree removed: files by the crew, a directory when all in it is gone.
** It enters nothing that is mounted, and goes on after a failure, so that as
** little as possible stays.
*/
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "op/copy_parts.h"
#include "op/engine.h"

/* A deadline of the unwinding is for a step that hangs: one that moves gets
   another. The coordinator is the only one who says so. */
#define STEP_NS 1000000000u

static void tell_left(copy *c, const char *sentence) {
  if (c->manner != NULL)
    c->manner->left(c, sentence);
  else
    saros_op_cleanup_failed(c->op, sentence);
}

static void lost(crew *w, int number, walk_dir *d, const char *name) {
  if (number == ENOMEM) {
    w->lacked_memory = true;
    return;
  }
  if (atomic_fetch_add(&w->failures, 1) > 8) return; /* they are many */
  buffer b = BUFFER_EMPTY;
  buffer_text(&b, "cannot remove ");
  for (const walk_dir *at = d; at != NULL && name == NULL; at = at->parent) {
    name = at->name; /* the nearest name will do */
    if (*name == 0) name = NULL;
  }
  text_escape(&b, name != NULL ? name : w->c->temp,
              strlen(name != NULL ? name : w->c->temp));
  buffer_format(&b, ": %s (left in ", strerror(number));
  copy_path(w->c, &b, NULL, NULL, COPY_TARGET);
  buffer_format(&b, "'s directory as %s)", w->c->temp);
  tell_left(w->c, b.failed ? w->c->temp : b.data);
  buffer_free(&b);
}

static int open_dir(crew *w, walk_dir *parent, const char *name) {
  int flags = O_RDONLY | O_DIRECTORY | O_NOFOLLOW;
  int fd = copy_open(w->c, parent->from, name, flags);
  if (fd >= 0 || errno != EACCES) return fd;
  if (meta_chmod_at(parent->from, name, 0700) != 0) errno = EACCES;
  return copy_open(w->c, parent->from, name, flags);
}

static bool enter(crew *w, walk_dir *d) {
  copy *c = w->c;
  d->skip = walk_is_mount(d->from, d);
  uint64_t now = engine_clock();
  if (now - w->told > STEP_NS && c->op != NULL && saros_op_cancelled(c->op)) {
    w->told = now;
    saros_op_unwinding(c->op, "removing what was copied");
  }
  return true;
}

/* In a directory that its owner may not write to he may allow it. */
static int unlink_in(walk_dir *d, const char *name, int flags) {
  if (unlinkat(d->from, name, flags) == 0) return 0;
  if (errno != EACCES) return errno;
  if (fchmod(d->from, 0700) != 0) return EACCES;
  return unlinkat(d->from, name, flags) == 0 ? 0 : errno;
}

static void entry(crew *w, worker *me, walk_dir *d, const char *name,
                  unsigned char type) {
  (void)me;
  (void)type;
  int r = unlink_in(d, name, 0);
  if (r != 0 && r != ENOENT) lost(w, r, d, name);
}

static void leave(crew *w, worker *me, walk_dir *d) {
  (void)me;
  walk_dir *up = d->parent;
  if (up == NULL) return;
  int r = unlink_in(up, d->name, AT_REMOVEDIR);
  /* What is in it has been told already. */
  bool known =
      r == ENOTEMPTY && (atomic_load(&w->failures) > 0 || w->lacked_memory);
  if (r != 0 && r != ENOENT && !known) lost(w, r, d, NULL);
}

static const walk_kind kind = {.open = open_dir,
                               .enter = enter,
                               .entry = entry,
                               .leave = leave,
                               .lost = lost,
                               .bottom_up = true,
                               .to_the_end = true};

/* One attempt; *again when only memory was missing. */
static bool remove_dir(copy *c, int dir, const char *name, bool *again) {
  crew w;
  struct stat st;
  *again = false;
  int fd = copy_open(c, dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  if (fd < 0 && errno == EACCES && meta_chmod_at(dir, name, 0700) == 0)
    fd = copy_open(c, dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW);
  crew_open(&w, c, &kind);
  int number = fd < 0 || fstat(fd, &st) != 0 ? errno : 0;
  walk_dir *root = number == 0 ? walk_root(&w, fd, -1, &st) : NULL;
  if (root != NULL) {
    walk(&w, root);
  } else {
    if (fd >= 0) close(fd);
    lost(&w, number != 0 ? number : ENOMEM, NULL, name);
  }
  crew_close(&w);
  bool gone = unlinkat(dir, name, AT_REMOVEDIR) == 0 || errno == ENOENT;
  if (!gone && atomic_load(&w.failures) == 0) {
    *again = w.lacked_memory;
    if (!*again) lost(&w, errno, NULL, name);
  }
  return gone;
}

bool remove_all(copy *c, int dir, const char *name, const char *shown) {
  if (unlinkat(dir, name, 0) == 0 || errno == ENOENT) return true;
  int number = errno;
  if (number == EISDIR || number == EPERM) {
    /* Memory that is short now may be there in a moment, and there is no
       other place for what must be kept. */
    bool again = true;
    for (int tries = 0; tries < 5 && again; tries++) {
      if (remove_dir(c, dir, name, &again)) return true;
      if (again) usleep(20000);
    }
    number = again ? ENOMEM : 0; /* or told already */
  }
  if (number == 0) return false;
  buffer b = BUFFER_EMPTY;
  buffer_format(&b, "cannot remove %s (%s): %s", name, shown, strerror(number));
  tell_left(c, b.failed ? name : b.data);
  buffer_free(&b);
  return false;
}
