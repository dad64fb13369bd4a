/*
** copy: the operation. Its `run` is the coordinator of a crew: it finds the
** source and the target, counts, has everything copied beside the target's
** place, lets it appear there, and removes what is left. When something fails
** the outcome is decided first, then undone, then returned.
**
** Durable: a single file is written out by fsync; a tree by one syncfs of
** the target's file system, because an fsync for each of its files would wait
** for the disk as often as there are files. Then the rename, and an fsync of
** the directory that it happened in.
*/
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "op/copy_parts.h"
#include "op/engine.h"

#define TELL_NS 20000000u /* the status moves at most so often */
#define PATH_SHOWN 4096   /* bytes of a path */

/* ------------------------------------------------------------------
** What all parts use
** ---------------------------------------------------------------- */

void copy_fail(copy *c, error *e) {
  pthread_mutex_lock(&c->lock);
  bool first = c->why == NULL;
  if (first) c->why = e;
  pthread_mutex_unlock(&c->lock);
  if (!first) error_unref(e);
  atomic_store(&c->stopped, true);
}

bool copy_goes_on(copy *c) {
  if (atomic_load(&c->stopped)) return false;
  if (c->op == NULL || saros_op_checkpoint(c->op)) return true;
  atomic_store(&c->stopped, true);
  return false;
}

/* The names from below the root to `d`, the last `room` bytes of them, into
   the end of `text`; where they begin. */
static char *put_names(char *text, size_t room, const walk_dir *d,
                       const char *name) {
  char *at = text + room;
  *--at = 0;
  for (;;) {
    if (name != NULL && *name != 0) {
      size_t size = strlen(name);
      if ((size_t)(at - text) < size + 4) {
        at -= 3; /* a very deep one: only its end */
        memcpy(at, "...", 3);
        return at;
      }
      at -= size;
      memcpy(at, name, size);
      *--at = '/';
    }
    if (d == NULL) return at;
    name = d->name;
    d = d->parent;
  }
}

static bool is_alone(const walk_dir *d) {
  return d != NULL && d->alone;
}

char *copy_raw_path(const copy *c, const walk_dir *d, const char *name,
                    copy_side side, bool *whole) {
  char *names = mem_alloc(PATH_SHOWN);
  if (whole != NULL) *whole = true;
  if (names == NULL) return NULL;
  buffer b = BUFFER_EMPTY;
  buffer_text(&b, side == COPY_SOURCE ? c->from : c->to);
  if (!is_alone(d)) {
    const char *below = put_names(names, PATH_SHOWN, d, name);
    if (whole != NULL) *whole = *below == '/' || *below == 0;
    if (*below != '/' && *below != 0) buffer_byte(&b, '/');
    if (b.size > 0 && !b.failed && b.data[b.size - 1] == '/' && *below == '/')
      below++;
    buffer_text(&b, below);
  }
  mem_free(names);
  return buffer_take(&b);
}

void copy_path(const copy *c, buffer *b, const walk_dir *d, const char *name,
               copy_side side) {
  char *path = copy_raw_path(c, d, name, side, NULL);
  if (path != NULL)
    text_escape(b, path, strlen(path));
  else
    b->failed = true;
  mem_free(path);
}

static const char *advice(int number) {
  switch (number) {
    case ENOSPC: return " (make room there, then start again)";
    case EDQUOT: return " (raise the quota or make room, then start again)";
    case EACCES:
    case EPERM: return " (another user may be allowed to)";
    case EMFILE:
    case ENFILE: return " (raise the limit of open files, ulimit -n)";
    case EROFS: return " (mount it writable)";
    default: return "";
  }
}

bool copy_failed(copy *c, int number, const char *what, const walk_dir *d,
                 const char *name, copy_side side) {
  if (c->manner != NULL && c->manner->forgive(c, number, what, side))
    return false;
  error *e = NULL;
  char *path = copy_raw_path(c, d, name, side, NULL);
  buffer b = BUFFER_EMPTY;
  buffer_format(&b, "%s \"", what);
  if (path != NULL) text_escape(&b, path, strlen(path));
  buffer_format(&b, "\"%s", advice(number));
  if (path != NULL && !b.failed && number != ENOMEM)
    e = error_of_errno(SAROS_FACADE_SAROS, number, b.data, path);
  buffer_free(&b);
  mem_free(path);
  copy_fail(c, e != NULL ? e : error_no_memory());
  return false;
}

bool copy_changed(copy *c, const char *what, const walk_dir *d,
                  const char *name) {
  if (c->manner != NULL && c->manner->forgive(c, ESTALE, what, COPY_SOURCE))
    return false;
  error *e = error_no_memory();
  buffer b = BUFFER_EMPTY;
  copy_path(c, &b, d, name, COPY_SOURCE);
  if (!b.failed)
    e = error_make(SAROS_FACADE_SAROS, SAROS_E_CHANGED,
                   "cannot copy \"%s\": %s; let its writers hold still, or "
                   "copy a snapshot",
                   b.data, what);
  buffer_free(&b);
  copy_fail(c, e);
  return false;
}

/* One thread at a time, and only when it is due. */
static bool is_due(copy *c) {
  uint64_t now = engine_clock();
  uint64_t told = atomic_load(&c->told);
  return now - told >= TELL_NS &&
         atomic_compare_exchange_strong(&c->told, &told, now);
}

static void tell_files(copy *c) {
  int64_t files = (int64_t)atomic_load(&c->n.files);
  op_set_detail(c->op, "files", value_int(files));
}

/* Where it is only a part of the operation, that counts in percent. */
static void tell_progress(copy *c, uint64_t done) {
  uint64_t total = atomic_load(&c->total);
  const copy_manner *m = c->manner;
  if (m == NULL)
    saros_op_progress(c->op, done, total);
  else if (total > 0 && m->to > m->from)
    saros_op_progress(
        c->op,
        m->from + (m->to - m->from) * (done < total ? done : total) / total,
        100);
}

void copy_progress(copy *c, uint64_t bytes, const walk_dir *d,
                   const char *name) {
  uint64_t done = atomic_fetch_add(&c->done, bytes) + bytes;
  if (c->op == NULL || !is_due(c)) return;
  buffer b = BUFFER_EMPTY;
  copy_path(c, &b, d, name, COPY_SOURCE);
  tell_files(c);
  if (!b.failed) op_set_detail(c->op, "path", value_text(b.data));
  buffer_free(&b);
  tell_progress(c, done);
}

#define SHORT_OF_FDS_MS 10
#define SHORT_OF_FDS_TRIES 300

int copy_open(copy *c, int dir, const char *name, int flags) {
  flags |= O_CLOEXEC;
  if (!atomic_load(&c->no_atime)) flags |= O_NOATIME;
  for (int tries = 0;; tries++) {
    int fd = openat(dir, name, flags);
    if (fd >= 0) return fd;
    if (errno == EPERM && (flags & O_NOATIME) != 0) {
      flags &= ~O_NOATIME; /* others' files: do not ask again */
      atomic_store(&c->no_atime, true);
    } else if ((errno == EMFILE || errno == ENFILE) &&
               tries < SHORT_OF_FDS_TRIES && !atomic_load(&c->stopped)) {
      usleep(SHORT_OF_FDS_MS * 1000);
    } else if (errno != EINTR) {
      return -1;
    }
  }
}


/* ------------------------------------------------------------------
** The order of things
** ---------------------------------------------------------------- */

static bool is_tree(const copy *c) {
  return S_ISDIR(c->source.st_mode);
}

static bool count(copy *c) {
  if (is_tree(c)) return tree_count(c);
  if (S_ISREG(c->source.st_mode))
    atomic_store(&c->total, (uint64_t)c->source.st_size);
  return true;
}

static bool remove_farm(copy *c) {
  int fd = atomic_exchange(&c->farm, -1);
  if (fd < 0) return true;
  close(fd);
  return remove_all(c, c->parent, c->farm_name, "the links beside the copy");
}

static bool write_out(copy *c) {
  if (!c->durable || !is_tree(c)) return true;
  if (syncfs(c->parent) == 0) return true;
  return copy_failed(c, errno, "cannot write out", NULL, NULL, COPY_TARGET);
}

/* It is there, but a power cut might take it back. */
static bool write_out_parent(copy *c) {
  if (!c->durable || fsync(c->parent) == 0 || errno == EINVAL ||
      errno == EBADF) /* opened without the right to read */
    return true;
  return copy_failed(c, errno,
                     "it was copied, but its directory cannot be written out",
                     NULL, NULL, COPY_TARGET);
}

static bool put(value *map, const char *name, counter *n) {
  return value_put(map, name, value_int((int64_t)atomic_load(n)));
}

static bool set_output(copy *c) {
  value *map = value_map();
  copy_counts *n = &c->n;
  double seconds = (double)(engine_clock() - c->op->begun) / 1e9;
  bool whole =
      map != NULL && put(map, "files", &n->files) &&
      put(map, "directories", &n->directories) &&
      put(map, "links", &n->links) && put(map, "symlinks", &n->symlinks) &&
      put(map, "others", &n->others) && put(map, "bytes", &n->bytes) &&
      put(map, "cloned", &n->cloned) && put(map, "holes", &n->holes) &&
      put(map, "changed", &n->changed) && put(map, "vanished", &n->vanished) &&
      put(map, "skipped_xattrs", &n->skipped_xattrs) &&
      put(map, "skipped_owners", &n->skipped_owners) &&
      value_put(map, "seconds", value_real(seconds));
  if (whole) {
    op_set_output(c->op, map);
    return true;
  }
  value_free(map);
  copy_fail(c, error_no_memory());
  return false;
}

static bool finish(copy *c) {
  bool old;
  op_phase_literal(c->op, "finishing");
  tell_files(c);
  saros_op_progress(c->op, atomic_load(&c->done), atomic_load(&c->total));
  if (!remove_farm(c) || !write_out(c) || !set_output(c)) return false;
  /* The last pause that holds it up: nothing has appeared yet. */
  if (!copy_goes_on(c) || !saros_op_point_of_no_return(c->op)) return false;
  if (!place_appear(c, &old)) return false;
  bool kept = write_out_parent(c);
  if (old) {
    c->made = false;
    remove_all(c, c->parent, c->temp, "what was replaced");
  }
  return kept;
}

static bool do_copy(copy *c) {
  if (!place_source(c) || !place_target(c) || !count(c) || !claim_make(c))
    return false;
  op_phase_literal(c->op, "copying");
  saros_op_progress(c->op, 0, atomic_load(&c->total));
  return (is_tree(c) ? tree_copy(c) : single_copy(c)) && finish(c);
}

static void undo(copy *c) {
  if (!c->made && atomic_load(&c->farm) < 0) return;
  saros_op_unwinding(c->op, "removing what was copied");
  remove_farm(c);
  if (c->made) remove_all(c, c->parent, c->temp, "an unfinished copy");
}

static uint32_t run(saros_op *op, void *self) {
  copy *c = self;
  c->op = op;
  uint32_t code = SAROS_S_OK;
  if (!do_copy(c)) {
    code = c->why != NULL ? c->why->code : SAROS_E_CANCELLED;
    if (c->why != NULL) op_end_error(op, code, error_ref(c->why));
    undo(c);
  }
  place_close(c);
  return code;
}


/* ------------------------------------------------------------------
** Starting
** ---------------------------------------------------------------- */

static void release(void *self) {
  copy *c = self;
  error_unref(c->why);
  mem_free(c->from);
  mem_free(c->to);
  mem_free(c->base);
  mem_free(c->source_name);
  pthread_mutex_destroy(&c->lock);
  mem_free(c);
}

static const saros_kind kind = {.size = sizeof(saros_kind),
                                .name = "saros.copy",
                                .facade = SAROS_FACADE_SAROS,
                                .flags = SAROS_CANCELLABLE | SAROS_RUN_LANE,
                                .run = run,
                                .release = release};

/* The caller may change its directory before a worker comes to it. */
static char *absolute(const char *path) {
  char *here = *path == '/' ? NULL : getcwd(NULL, 0);
  char *whole = here != NULL ? path_join(here, path) : mem_text(path);
  free(here);
  return whole;
}

static copy *copy_new(const copy_options *o) {
  copy *c = mem_zero(sizeof *c);
  if (c == NULL) return NULL;
  pthread_mutex_init(&c->lock, NULL);
  c->source_dir = c->parent = c->claim = c->file = -1;
  atomic_init(&c->farm, -1);
  c->replace = o->replace;
  c->one_system = o->one_system;
  c->durable = o->durable;
  c->clone = o->clone;
  c->from = absolute(o->from);
  c->to = absolute(o->to);
  if (c->from != NULL && c->to != NULL) return c;
  release(c);
  return NULL;
}

static bool is_path(const char *path) {
  return path != NULL && *path != 0;
}

static saros_op *refused(error **e, uint32_t code, const char *text) {
  *e = text == NULL && code == SAROS_E_OUTOFMEMORY
           ? error_no_memory()
           : error_make(SAROS_FACADE_SAROS, code, "cannot start a copy%s%s",
                        text != NULL ? ": " : "", text != NULL ? text : "");
  return NULL;
}

saros_op *copy_start(const copy_options *options, error **e) {
  *e = NULL;
  if (options == NULL || !is_path(options->from) || !is_path(options->to))
    return refused(e, SAROS_E_INVALIDARG,
                   "`from` and `to` must be paths that are not empty");
  uint32_t why;
  copy *c = copy_new(options);
  if (c == NULL) return refused(e, SAROS_E_OUTOFMEMORY, NULL);
  saros_op *op = op_create(&kind, c, sizeof(job), options->name, &why);
  if (op == NULL) {
    release(c);
    return refused(e, why,
                   why == SAROS_E_BUSY_NAME
                       ? "a pending operation has this name; choose another"
                       : NULL);
  }
  why = saros_op_start(op);
  if (why == 0) return op;
  op_forget_name(op);
  saros_op_unref(op);
  return refused(e, why, NULL);
}

saros_op *saros_copy(const char *from, const char *to, uint32_t *why) {
  error *e;
  copy_options options = {.from = from, .to = to};
  saros_op *op = copy_start(&options, &e);
  if (why != NULL) *why = op != NULL ? SAROS_S_OK : e->code;
  error_unref(e);
  return op;
}
