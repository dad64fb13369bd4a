/*
** Where a copy shall be, and how it appears there: it is made beside its
** place (see copy_claim.c), and then comes there by one rename. The directory
** of the target is opened first, and all goes relative to that.
*/
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "op/copy_parts.h"

static bool refuse(copy *c, uint32_t code, const char *text) {
  buffer b = BUFFER_EMPTY;
  buffer_text(&b, "cannot copy \"");
  text_escape(&b, c->from, strlen(c->from));
  buffer_text(&b, "\" to \"");
  text_escape(&b, c->to, strlen(c->to));
  buffer_format(&b, "\": %s", text);
  error *e = b.failed ? error_no_memory()
                      : error_make(SAROS_FACADE_SAROS, code, "%s", b.data);
  buffer_free(&b);
  copy_fail(c, e);
  return false;
}

static bool no_memory(copy *c) {
  copy_fail(c, error_no_memory());
  return false;
}

/* The last part of a path; NULL without memory. */
static char *base_of(const char *path) {
  size_t size;
  const char *base = path_base(path, &size);
  return mem_bytes(base, size);
}

/* "/", "." and "..": names that are no entry of a directory. */
static bool is_no_name(const char *name) {
  return *name == 0 || strcmp(name, "/") == 0 || strcmp(name, ".") == 0 ||
         strcmp(name, "..") == 0;
}

static int open_parent(const char *path, int flags) {
  char *parent = path_parent(path);
  if (parent == NULL) {
    errno = ENOMEM;
    return -1;
  }
  int fd = open(parent, flags | O_DIRECTORY | O_CLOEXEC);
  int number = errno;
  mem_free(parent);
  errno = number;
  return fd;
}


/* ------------------------------------------------------------------
** The source
** ---------------------------------------------------------------- */

/* "link/" and "dir/.." can only be directories: found by the whole path. */
static bool is_directory_path(const char *path, const char *base) {
  return path[strlen(path) - 1] == '/' || is_no_name(base);
}

bool place_source(copy *c) {
  c->source_name = base_of(c->from);
  if (c->source_name == NULL) return no_memory(c);
  c->source_flags = O_NOFOLLOW;
  int flags = AT_SYMLINK_NOFOLLOW;
  if (is_directory_path(c->from, c->source_name)) {
    char *whole = mem_text(c->from);
    if (whole == NULL) return no_memory(c);
    mem_free(c->source_name);
    c->source_name = whole;
    c->source_flags = flags = 0;
    c->source_dir = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
  } else {
    c->source_dir = open_parent(c->from, O_PATH);
  }
  if (c->source_dir < 0 ||
      fstatat(c->source_dir, c->source_name, &c->source, flags) != 0)
    return copy_failed(c, errno, "cannot find what is to be copied,", NULL,
                       NULL, COPY_SOURCE);
  if (flags == 0 && !S_ISDIR(c->source.st_mode))
    return copy_failed(c, ENOTDIR, "cannot copy", NULL, NULL, COPY_SOURCE);
  return true;
}


/* ------------------------------------------------------------------
** The target
** ---------------------------------------------------------------- */

static identity identity_of(const struct stat *st) {
  return (identity){st->st_dev, st->st_ino};
}

/* Whether the directory `fd` (taken over) is `above` or lies in it. -1 with
   errno. */
static int lies_in(int fd, identity above) {
  struct stat st;
  identity last = {0, 0};
  for (;;) {
    if (fd < 0) return -1;
    if (fstat(fd, &st) != 0) break;
    identity here = identity_of(&st);
    bool in = walk_same(here, above);
    if (in || walk_same(here, last)) { /* the root is its own parent */
      close(fd);
      return in;
    }
    last = here;
    int up = openat(fd, "..", O_PATH | O_DIRECTORY | O_CLOEXEC);
    int number = errno;
    close(fd);
    fd = up;
    errno = number;
  }
  close(fd);
  return -1;
}

static bool refuse_overlap(copy *c) {
  int in = 0;
  if (S_ISDIR(c->source.st_mode))
    in = lies_in(openat(c->parent, ".", O_PATH | O_DIRECTORY | O_CLOEXEC),
                 identity_of(&c->source));
  if (in < 0)
    return copy_failed(c, errno, "cannot look above", NULL, NULL, COPY_TARGET);
  if (in == 0) return true;
  return refuse(c, SAROS_E_REFUSED,
                "a directory cannot be copied into itself; choose a target "
                "outside of it");
}

/* What is there already. */
static bool refuse_existing(copy *c) {
  struct stat st;
  if (fstatat(c->parent, c->base, &st, AT_SYMLINK_NOFOLLOW) != 0) {
    if (errno == ENOENT) return true;
    return copy_failed(c, errno, "cannot look for", NULL, NULL, COPY_TARGET);
  }
  identity there = identity_of(&st);
  if (walk_same(there, identity_of(&c->source)))
    return refuse(c, code_of_errno(EEXIST),
                  "they are the same file; choose another target");
  if (!c->replace)
    return refuse(c, code_of_errno(EEXIST),
                  "the target exists; remove it, choose another, or ask for "
                  "it to be replaced");
  if (!S_ISDIR(st.st_mode)) return true;
  /* A source that is a directory itself, or the one that it is in. */
  bool tree = S_ISDIR(c->source.st_mode);
  int flags = O_PATH | O_DIRECTORY | O_CLOEXEC | (tree ? c->source_flags : 0);
  int in =
      lies_in(openat(c->source_dir, tree ? c->source_name : ".", flags), there);
  if (in == 0) return true;
  if (in < 0)
    return copy_failed(c, errno, "cannot look above", NULL, NULL, COPY_SOURCE);
  return refuse(c, SAROS_E_REFUSED,
                "the target contains the source, and would be removed; choose "
                "another target");
}

bool place_target(copy *c) {
  c->base = base_of(c->to);
  if (c->base == NULL) return no_memory(c);
  if (is_no_name(c->base))
    return refuse(c, SAROS_E_INVALIDARG,
                  "the target needs a name of its own; add one");
  c->parent = open_parent(c->to, O_RDONLY);
  if (c->parent < 0 && errno == EACCES) c->parent = open_parent(c->to, O_PATH);
  if (c->parent < 0 && errno == ENOENT)
    return refuse(c, code_of_errno(ENOENT),
                  "the directory that it shall be in does not exist; make it "
                  "first");
  if (c->parent < 0)
    return copy_failed(c, errno, "cannot open the directory of", NULL, NULL,
                       COPY_TARGET);
  if (!refuse_existing(c) || !refuse_overlap(c)) return false;
  c->hold = device_hold_fd(c->parent, "a copy", c->to);
  return c->hold != NULL ||
         copy_failed(c, errno, "cannot register", NULL, NULL, COPY_TARGET);
}

void place_close(copy *c) {
  if (c->source_dir >= 0) close(c->source_dir);
  if (c->parent >= 0) close(c->parent);
  int farm = atomic_exchange(&c->farm, -1);
  if (farm >= 0) close(farm);
  if (c->file >= 0) close(c->file);
  c->file = -1;
  claim_let_go(c);
  c->source_dir = c->parent = -1;
  if (c->hold != NULL) device_release(c->hold);
  c->hold = NULL;
}


/* ------------------------------------------------------------------
** Appearing
** ---------------------------------------------------------------- */

static int rename_with(copy *c, unsigned flags) {
  return renameat2(c->parent, c->temp, c->parent, c->base, flags) == 0 ? 0
                                                                       : errno;
}

/* The file system, or the kernel, does not know the flag. */
static bool is_unknown(int number) {
  return number == EINVAL || number == ENOSYS || number == EOPNOTSUPP;
}

static int appear_new(copy *c) {
  struct stat st;
  int r = rename_with(c, RENAME_NOREPLACE);
  if (!is_unknown(r)) return r;
  if (!S_ISDIR(c->source.st_mode)) {
    if (linkat(c->parent, c->temp, c->parent, c->base, 0) == 0) {
      unlinkat(c->parent, c->temp, 0);
      return 0;
    }
    if (errno == EEXIST) return EEXIST;
  }
  /* All that is left is to look first; rename over a directory works only
     when that is empty. */
  if (fstatat(c->parent, c->base, &st, AT_SYMLINK_NOFOLLOW) == 0) return EEXIST;
  return errno == ENOENT ? rename_with(c, 0) : errno;
}

/* Without an exchange: a file goes over a file; else the old one steps aside
   first, and comes back when the new one cannot take its place. */
static int replace_in_two(copy *c, bool *old) {
  struct stat st;
  char aside[80];
  int r = 0;
  if (!S_ISDIR(c->source.st_mode)) r = rename_with(c, 0);
  if (!S_ISDIR(c->source.st_mode) && r != EISDIR) return r;
  if (fstatat(c->parent, c->base, &st, AT_SYMLINK_NOFOLLOW) != 0)
    return errno == ENOENT ? rename_with(c, 0) : errno;
  snprintf(aside, sizeof aside, "%s.old", c->temp);
  if (renameat(c->parent, c->base, c->parent, aside) != 0) return errno;
  r = rename_with(c, 0);
  if (r != 0) {
    if (renameat(c->parent, aside, c->parent, c->base) != 0)
      saros_op_cleanup_failed(c->op, aside);
    return r;
  }
  *old = renameat(c->parent, aside, c->parent, c->temp) == 0;
  if (!*old) saros_op_cleanup_failed(c->op, aside);
  return 0;
}

static int appear_over(copy *c, bool *old) {
  /* It may go or come while we look: then once more. */
  for (int tries = 0; tries < 100; tries++) {
    int r = rename_with(c, RENAME_EXCHANGE);
    if (r == 0) *old = true;
    if (is_unknown(r)) return replace_in_two(c, old);
    if (r != ENOENT) return r;
    r = appear_new(c);
    if (r != EEXIST) return r;
  }
  return EBUSY;
}

bool place_appear(copy *c, bool *old) {
  *old = false;
  int r = c->replace ? appear_over(c, old) : appear_new(c);
  /* At once: from here on it is somebody else's, who may lock it. */
  if (r == 0) claim_let_go(c);
  if (r == 0) {
    c->made = *old;
    return true;
  }
  if (r == EEXIST)
    return refuse(c, code_of_errno(EEXIST),
                  "the target has appeared meanwhile; remove it or choose "
                  "another");
  return copy_failed(c, r, "cannot rename the finished copy to", NULL, NULL,
                     COPY_TARGET);
}
