/*
** dump: the call that writes one file of a version, or a directory of it as
** tar, to a file or to whatever a descriptor is.
*/
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "repository/dump_parts.h"

/* ------------------------------------------------------------------
** Writing
** ---------------------------------------------------------------- */

static error *stopped(void) {
  return repo_error(SAROS_E_CANCELLED, "the dump was cancelled");
}

/* Until it can be written to. */
static error *await(dump *d) {
  struct pollfd p = {.fd = d->fd, .events = POLLOUT};
  while (!repo_stopped(&d->l.h->stop)) {
    int n = poll(&p, 1, 50);
    if (n > 0) return NULL; /* what is wrong with it the write will say */
    if (n < 0 && errno != EINTR)
      return error_of_errno(SAROS_FACADE_SAROS, errno, "cannot wait for it",
                            NULL);
  }
  return stopped();
}

error *repo_dump_write(dump *d, const void *data, size_t size) {
  const char *at = data;
  while (size > 0) {
    error *e = d->is_pipe && !d->answers ? await(d) : NULL;
    if (e == NULL && repo_stopped(&d->l.h->stop)) e = stopped();
    if (e != NULL) return e;
    /* So much a pipe that can be written to takes without making us wait. */
    size_t most = d->is_pipe && !d->answers ? PIPE_BUF : (size_t)1 << 20;
    ssize_t n = write(d->fd, at, size < most ? size : most);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) {
      if ((e = await(d)) != NULL) return e;
      continue;
    }
    if (n < 0)
      return error_of_errno(SAROS_FACADE_SAROS, errno,
                            errno == EPIPE ? "whoever reads it has gone"
                                           : "cannot write what is dumped",
                            NULL);
    at += n;
    size -= (size_t)n;
    d->done += (uint64_t)n;
  }
  return NULL;
}

error *repo_dump_content(dump *d, const repo_node *n) {
  error *e = NULL;
  for (size_t i = 0; e == NULL && i < n->content_count; i++) {
    repo_bytes *bytes;
    e = repo_blobs_load(d->l.blobs, REPO_DATA, &n->content[i], &bytes,
                        &d->l.h->stop);
    if (e != NULL) return e;
    e = repo_dump_write(d, bytes->data, bytes->size);
    repo_bytes_free(d->l.blobs, bytes);
    saros_op_progress(d->l.c->op, d->done, 0);
  }
  return e;
}

error *repo_dump_size(dump *d, const repo_node *n, uint64_t *size) {
  repo_place p;
  *size = 0;
  for (size_t i = 0; i < n->content_count; i++) {
    if (!repo_index_find(repo_blobs_index(d->l.blobs), REPO_DATA,
                         &n->content[i], 0, &p)) {
      char text[REPO_ID_TEXT];
      repo_id_format(&n->content[i], text);
      return repo_error(SAROS_E_DAMAGED,
                        "its blob %s is in no pack that the index knows", text);
    }
    *size += repo_blob_size(&p.blob);
  }
  return NULL;
}


/* ------------------------------------------------------------------
** Where to
** ---------------------------------------------------------------- */

/* A file is made beside its place, and is there when it is whole. What is no
   file (a device, a fifo, whatever /dev/stdout is) is written to itself: it is
   not ours to replace. */
typedef struct place {
  char *path; /* with no link at its end; NULL: not to be replaced */
  char *half;
} place;

/* A pipe may make a writer wait, and then nobody could cancel it. */
static error *use(dump *d, int fd) {
  struct stat st;
  d->fd = fd;
  if (fd < 0 || fstat(fd, &st) != 0)
    return error_of_errno(SAROS_FACADE_SAROS, errno,
                          "the descriptor cannot be written to", NULL);
  d->is_pipe = !S_ISREG(st.st_mode) && !S_ISBLK(st.st_mode);
  int flags = fcntl(fd, F_GETFL);
  d->answers = flags != -1 && (flags & O_NONBLOCK) != 0;
  return NULL;
}

/* A fifo that nobody reads is refused, not waited for. */
static error *use_path(dump *d, const char *path) {
  int fd = open(path, O_WRONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
  if (fd < 0)
    return error_of_errno(
        SAROS_FACADE_SAROS, errno,
        errno == ENXIO ? "nobody reads from the fifo" : "cannot write to",
        path);
  return use(d, fd);
}

static error *make_half(dump *d, place *to) {
  buffer b = BUFFER_EMPTY;
  uint8_t random[6];
  error *e = repo_random(random, sizeof random);
  buffer_text(&b, to->path);
  buffer_text(&b, ".saros-");
  for (size_t i = 0; i < sizeof random; i++)
    buffer_format(&b, "%02x", random[i]);
  to->half = buffer_take(&b);
  if (e != NULL) return e;
  if (to->half == NULL) return error_no_memory();
  d->fd = open(to->half, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
  if (d->fd >= 0) return NULL;
  mem_free(to->half);
  to->half = NULL;
  return error_of_errno(SAROS_FACADE_SAROS, errno, "cannot make", to->path);
}

static error *open_path(dump *d, place *to, const char *path) {
  struct stat st;
  bool there = stat(path, &st) == 0;
  if (there && S_ISDIR(st.st_mode))
    return error_of_errno(SAROS_FACADE_SAROS, EISDIR,
                          "a file is dumped to, and this is a directory", path);
  if (there && !S_ISREG(st.st_mode)) return use_path(d, path);
  char *real = there ? realpath(path, NULL) : NULL;
  to->path = mem_text(real != NULL ? real : path);
  free(real);
  return to->path != NULL ? make_half(d, to) : error_no_memory();
}

static error *open_place(dump *d, place *to) {
  const repo_call *c = d->l.c;
  const char *path = value_chars(value_get(c->options, "target"), NULL);
  int64_t fd = c->stream_count > 0
                   ? c->streams[0].fd
                   : value_integer(value_get(c->options, "fd"), -1);
  if ((path != NULL && *path != '\0') == (fd >= 0))
    return repo_error(SAROS_E_INVALIDARG,
                      "where to? Give a path, a descriptor, an open file or a "
                      "function as `to`");
  return path != NULL ? open_path(d, to, path)
                      : use(d, fcntl((int)fd, F_DUPFD_CLOEXEC, 3));
}

static error *close_place(dump *d, place *to, error *e) {
  if (d->fd >= 0 && close(d->fd) != 0 && e == NULL && to->path != NULL)
    e = error_of_errno(SAROS_FACADE_SAROS, errno, "cannot write", to->path);
  if (to->half != NULL && e == NULL && rename(to->half, to->path) != 0)
    e = error_of_errno(SAROS_FACADE_SAROS, errno, "cannot make", to->path);
  if (to->half != NULL && e != NULL && unlink(to->half) != 0 && errno != ENOENT)
    saros_op_cleanup_failed(d->l.c->op, to->half);
  mem_free(to->half);
  mem_free(to->path);
  return e;
}


/* ------------------------------------------------------------------
** The call
** ---------------------------------------------------------------- */

typedef struct dumping {
  dump *d;
  bool is_tree;
  repo_id tree;
} dumping;

static error *dump_node(void *context, const repo_node *n) {
  dumping *g = context;
  if (n->type == REPO_NODE_FILE && n->has_content)
    return repo_dump_content(g->d, n);
  g->is_tree = n->type == REPO_NODE_DIRECTORY && n->has_subtree;
  if (g->is_tree) g->tree = n->subtree;
  if (g->is_tree) return NULL;
  return repo_error(SAROS_E_INVALIDARG, "a %s has no content to be dumped",
                    repo_node_type_name(n->type));
}

static error *dump_version(dump *d, repo_version *v) {
  const char *path = value_chars(value_get(d->l.c->options, "path"), "/");
  bool whole = strspn(path, "/.") == strlen(path), is_there = whole;
  dumping g = {d, whole, {{0}}};
  error *e = repo_listing_begin(&d->l);
  if (e == NULL) e = repo_version_enter(v, d->l.blobs, &d->l.h->stop);
  g.tree = v->tree;
  saros_op_phase(d->l.c->op, "dumping");
  if (e == NULL && !whole)
    e = repo_tree_look_up(d->l.blobs, &v->tree, path, dump_node, &g, &is_there,
                          &d->l.h->stop);
  if (e == NULL && !is_there)
    e = repo_error(code_of_errno(ESRCH), "there is no %.1000s in this version",
                   path);
  return e == NULL && g.is_tree ? repo_dump_tar(d, &g.tree) : e;
}

static error *tell(dump *d) {
  value *m = d->l.c->output = value_map();
  bool good = m != NULL && value_put(m, "bytes", value_int((int64_t)d->done));
  good = value_put(m, "errors", d->l.errors) && good;
  d->l.errors = NULL;
  return good ? NULL : error_no_memory();
}

error *repo_work_dump(repo_call *c) {
  dump d = {.fd = -1};
  place to = {0};
  repo_version v = {0};
  error *e = repo_listing_lock(&d.l, c);
  if (e != NULL) return e;
  e = repo_version_find(c->r,
                        value_chars(value_get(c->options, "version"), NULL),
                        c->options, &v, &d.l.h->stop);
  if (e == NULL) e = open_place(&d, &to);
  if (e == NULL) e = dump_version(&d, &v);
  e = close_place(&d, &to, e);
  if (e == NULL) e = tell(&d);
  repo_version_clear(&v);
  return repo_listing_end(&d.l, e);
}
