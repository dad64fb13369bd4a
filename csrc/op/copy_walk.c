/*
** A walk over a tree of any size and depth, by one thread; what it finds is
** handed to the crew in batches. Everything goes by descriptors, never by
** paths. Only the nearest ancestors of where the walk is stay open: the
** others are opened again through "..", and must then be what they were.
** The memory is that of one line from the root down, and of what waits in
** the queue; no list of a directory's entries is ever made.
*/
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "op/copy_parts.h"

#define READ_BYTES 32768

bool walk_same(identity a, identity b) {
  return a.dev == b.dev && a.ino == b.ino;
}

static bool identify(int fd, identity *id) {
  struct stat st;
  if (fstat(fd, &st) != 0) return false;
  *id = (identity){st.st_dev, st.st_ino};
  return true;
}

bool walk_is_mount(int fd, const walk_dir *d) {
  struct statx sx;
  if (statx(fd, "", AT_EMPTY_PATH, 0, &sx) == 0 &&
      (sx.stx_attributes_mask & STATX_ATTR_MOUNT_ROOT) != 0)
    return (sx.stx_attributes & STATX_ATTR_MOUNT_ROOT) != 0;
  return d->parent != NULL && d->from_id.dev != d->parent->from_id.dev;
}


/* ------------------------------------------------------------------
** Directories
** ---------------------------------------------------------------- */

static walk_dir *dir_new(crew *w, walk_dir *parent, const char *name, int from,
                         const struct stat *st) {
  size_t size = strlen(name) + 1;
  walk_dir *d = mem_zero(sizeof *d + size);
  if (d == NULL) return NULL;
  memcpy(d->name, name, size);
  atomic_init(&d->refs, 1);
  atomic_init(&d->pins, 1);
  d->parent = parent;
  if (parent != NULL) atomic_fetch_add(&parent->refs, 1);
  d->from = from;
  d->to = -1;
  d->from_id = (identity){st->st_dev, st->st_ino};
  d->m = meta_of(st);
  if (parent != NULL && parent->from_id.dev == st->st_dev)
    atomic_init(&d->no_clone, atomic_load(&parent->no_clone));
  atomic_fetch_add(&w->live, 1);
  return d;
}

walk_dir *walk_root(crew *w, int from, int to, const struct stat *st) {
  walk_dir *d = dir_new(w, NULL, "", from, st);
  if (d == NULL) return NULL;
  d->root = true;
  d->to = to;
  if (to >= 0) identify(to, &d->to_id);
  return d;
}

static void unref(walk_dir *d) {
  while (d != NULL && atomic_fetch_sub(&d->refs, 1) == 1) {
    walk_dir *parent = d->parent;
    mem_free(d);
    d = parent;
  }
}

static void close_fds(crew *w, walk_dir *d) {
  if (d->from >= 0 || d->to >= 0) atomic_fetch_sub(&w->live, 1);
  if (d->from >= 0) close(d->from);
  if (d->to >= 0) close(d->to);
  d->from = d->to = -1;
}

void walk_pin(walk_dir *d) {
  atomic_fetch_add(&d->pins, 1);
}

void walk_unpin(crew *w, worker *me, walk_dir *d) {
  while (d != NULL && atomic_fetch_sub(&d->pins, 1) == 1) {
    if (d->from >= 0 && crew_goes_on(w)) w->kind->leave(w, me, d);
    close_fds(w, d);
    walk_dir *up = w->kind->bottom_up ? d->parent : NULL;
    unref(d);
    d = up;
  }
  crew_tell(w);
}


/* ------------------------------------------------------------------
** Open and not
** ---------------------------------------------------------------- */

static void give_buffer(crew *w, walk_dir *d) {
  if (d->buffer == NULL) return;
  mem_free(w->buffer);
  w->buffer = d->buffer;
  d->buffer = NULL;
  d->at = d->size = 0;
}

static void flush(crew *w, walk_dir *d) {
  batch *b = d->filling;
  d->filling = NULL;
  if (b != NULL) crew_push(w, b);
}

/* An ancestor that is too far away to stay open. */
static void set_aside(crew *w, walk_dir *d) {
  flush(w, d);
  crew_work_until(w, READY_ALONE, d);
  give_buffer(w, d);
  close_fds(w, d);
}

static void set_aside_far(crew *w) {
  walk_dir *d = w->top;
  for (unsigned i = 0; i < w->near && d != NULL; i++) d = d->parent;
  if (d != NULL && d->from >= 0) set_aside(w, d);
}

/* Opens `fd`/.. and makes sure that it is what it was. */
static int go_up(int fd, identity was) {
  int up = openat(fd, "..", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  identity is;
  if (up < 0) return -1;
  if (identify(up, &is) && walk_same(is, was)) return up;
  close(up);
  errno = ESTALE;
  return -1;
}

/* Opens the parent of a directory that is open. */
static bool reopen(crew *w, walk_dir *parent, walk_dir *d) {
  crew_work_until(w, READY_LIVE, NULL);
  parent->from = go_up(d->from, parent->from_id);
  if (parent->from < 0) return false;
  atomic_fetch_add(&w->live, 1);
  /* What is removed behind the walk need not be looked at again: then it
     begins afresh, which is right on every file system. */
  bool afresh = w->kind->bottom_up && atomic_load(&w->failures) == 0;
  if (lseek(parent->from, afresh ? 0 : parent->position, SEEK_SET) < 0)
    return false;
  if (d->to < 0) return true;
  parent->to = go_up(d->to, parent->to_id);
  return parent->to >= 0;
}


/* ------------------------------------------------------------------
** Walking
** ---------------------------------------------------------------- */

static void lost(crew *w, int number, walk_dir *d, const char *name) {
  w->kind->lost(w, number, d, name);
}

/* The next entry, or NULL at the end. */
static const struct dirent64 *next_entry(crew *w, walk_dir *d) {
  if (d->skip) return NULL;
  if (d->buffer == NULL) {
    d->buffer = w->buffer != NULL ? w->buffer : mem_alloc(READ_BYTES);
    w->buffer = NULL;
    d->at = d->size = 0;
    if (d->buffer == NULL) {
      lost(w, ENOMEM, d, NULL);
      return NULL;
    }
  }
  for (;;) {
    if (d->at >= d->size) {
      d->at = 0;
      d->size = (long)getdents64(d->from, d->buffer, READ_BYTES);
      if (d->size < 0) {
        int number = errno;
        d->size = 0;
        if (number != ENOENT) lost(w, number, d, NULL); /* it was removed */
      }
      if (d->size == 0) return NULL;
    }
    const struct dirent64 *e = (const void *)(d->buffer + d->at);
    d->at += e->d_reclen;
    d->position = e->d_off;
    const char *n = e->d_name;
    if (n[0] != '.' || (n[1] != 0 && (n[1] != '.' || n[2] != 0))) return e;
  }
}

static void put_entry(crew *w, walk_dir *d, const char *name, int type) {
  size_t size = strlen(name) + 2;
  batch *b = d->filling;
  if (b != NULL && (b->count == BATCH_NAMES || b->size + size > BATCH_BYTES)) {
    flush(w, d);
    b = NULL;
  }
  if (b == NULL) b = d->filling = crew_batch(w, d);
  if (b == NULL) {
    lost(w, ENOMEM, d, name);
    return;
  }
  b->data[b->size] = (char)type;
  memcpy(b->data + b->size + 1, name, size - 1);
  b->size += (unsigned)size;
  b->count++;
}

static void descend(crew *w, walk_dir *parent, const char *name) {
  crew_work_until(w, READY_LIVE, NULL);
  int fd = w->kind->open(w, parent, name);
  if (fd < 0) {
    int number = errno;
    if (number == ENOENT)
      atomic_fetch_add(&w->c->n.vanished, 1);
    else if (number == ENOTDIR || number == ELOOP) /* it is another now */
      put_entry(w, parent, name, DT_UNKNOWN);
    else
      lost(w, number, parent, name);
    return;
  }
  struct stat st;
  int number = fstat(fd, &st) != 0 ? errno : 0;
  walk_dir *d = number == 0 ? dir_new(w, parent, name, fd, &st) : NULL;
  if (d == NULL) {
    lost(w, number != 0 ? number : ENOMEM, parent, name);
    close(fd);
    return;
  }
  w->top = d;
  d->skip = !w->kind->enter(w, d) || d->skip;
  if (d->to >= 0) identify(d->to, &d->to_id);
  set_aside_far(w);
}

/* The walk is through with the top. */
static void leave_top(crew *w) {
  walk_dir *d = w->top, *parent = d->parent;
  flush(w, d);
  give_buffer(w, d);
  if (parent != NULL && parent->from < 0 && !reopen(w, parent, d)) {
    lost(w, errno, parent, NULL);
    parent->skip = true;
  }
  /* It stays in the parent until it has been removed from there. */
  if (parent != NULL && w->kind->bottom_up) walk_pin(parent);
  w->top = parent;
  walk_unpin(w, &w->own, d);
}

static int type_of(walk_dir *d, const struct dirent64 *e) {
  struct stat st;
  if (e->d_type != DT_UNKNOWN) return e->d_type;
  if (fstatat(d->from, e->d_name, &st, AT_SYMLINK_NOFOLLOW) != 0)
    return DT_UNKNOWN;
  return S_ISDIR(st.st_mode) ? DT_DIR : DT_UNKNOWN;
}

void walk(crew *w, walk_dir *root) {
  w->top = root;
  while (w->top != NULL) {
    walk_dir *d = w->top;
    const struct dirent64 *e = crew_goes_on(w) ? next_entry(w, d) : NULL;
    if (e == NULL) {
      leave_top(w);
      continue;
    }
    int type = type_of(d, e);
    if (type == DT_DIR)
      descend(w, d, e->d_name);
    else
      put_entry(w, d, e->d_name, type);
  }
}
