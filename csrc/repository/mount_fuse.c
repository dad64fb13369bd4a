/*
** mount_fuse: the kernel's questions, and what is answered. Any number of
** threads ask for the next one; none of them waits for another. What a version
** holds never changes, so the kernel may remember all it is told.
*/
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <unistd.h>

#include "repository/mount_parts.h"

#define REQUEST_ROOM ((size_t)128 << 10)
#define FOR_EVER ((uint64_t)365 * 24 * 3600)
#define NAMES_MOST 1024

/* What a thread has of its own. */
typedef struct serving {
  mounted *m;
  char *request; /* REQUEST_ROOM */
  char *answer;  /* MOUNT_READ_MOST */
} serving;

typedef struct request {
  serving *s;
  mounted *m;
  const struct fuse_in_header *in;
  const void *body;
  size_t size; /* of the body */
} request;

/* ------------------------------------------------------------------
** Answers
** ---------------------------------------------------------------- */

/* That who asked is gone is no matter. */
static void answer(const request *r, int number, const void *data,
                   size_t size) {
  struct fuse_out_header out = {
      .len = (uint32_t)(sizeof out + (number == 0 ? size : 0)),
      .error = -number,
      .unique = r->in->unique};
  struct iovec parts[2] = {{&out, sizeof out}, {NULL, 0}};
  memcpy(&parts[1].iov_base, &data, sizeof data); /* it is not written to */
  parts[1].iov_len = number == 0 ? size : 0;
  while (writev(r->m->place.fd, parts, size > 0 && number == 0 ? 2 : 1) < 0 &&
         errno == EINTR) {}
}

static mount_node *node_of(const request *r) {
  if (r->in->nodeid == FUSE_ROOT_ID) return r->m->root;
  return (mount_node *)(uintptr_t)r->in->nodeid; /* as we gave it */
}

static uint64_t id_of(const mounted *m, mount_node *n) {
  return n == m->root ? FUSE_ROOT_ID : (uint64_t)(uintptr_t)n;
}

static struct fuse_entry_out entry_of(const mounted *m, mount_node *n) {
  return (struct fuse_entry_out){.nodeid = id_of(m, n),
                                 .entry_valid = FOR_EVER,
                                 .attr_valid = FOR_EVER,
                                 .attr = n->attr};
}


/* ------------------------------------------------------------------
** Names and attributes
** ---------------------------------------------------------------- */

static void do_init(const request *r) {
  const struct fuse_init_in *in = r->body;
  const uint32_t wanted = FUSE_ASYNC_READ | FUSE_PARALLEL_DIROPS |
                          FUSE_DO_READDIRPLUS | FUSE_READDIRPLUS_AUTO |
                          FUSE_CACHE_SYMLINKS | FUSE_MAX_PAGES;
  struct fuse_init_out out = {.major = FUSE_KERNEL_VERSION,
                              .minor = FUSE_KERNEL_MINOR_VERSION};
  if (in->major < FUSE_KERNEL_VERSION) {
    answer(r, EPROTO, NULL, 0);
    return;
  }
  /* A newer one asks once more, in our words. */
  if (in->major == FUSE_KERNEL_VERSION) {
    out.max_readahead = in->max_readahead;
    out.flags = in->flags & wanted;
    out.max_background = 32;
    out.congestion_threshold = 24;
    out.max_write = 4096;
    out.time_gran = 1;
    out.max_pages = MOUNT_READ_MOST / 4096;
  }
  answer(r, 0, &out, sizeof out);
}

static void do_lookup(const request *r) {
  const char *name = r->body;
  size_t size = strnlen(name, r->size);
  mount_node *n = NULL;
  int number = size > NAMES_MOST
                   ? ENAMETOOLONG
                   : mount_look_up(r->m, node_of(r), name, size, &n);
  if (number != 0) {
    answer(r, number, NULL, 0);
    return;
  }
  struct fuse_entry_out out = entry_of(r->m, n);
  answer(r, 0, &out, sizeof out);
}

static void do_getattr(const request *r) {
  struct fuse_attr_out out = {.attr_valid = FOR_EVER, .attr = node_of(r)->attr};
  answer(r, 0, &out, sizeof out);
}

static void do_readlink(const request *r) {
  const mount_node *n = node_of(r);
  if (n->kind != MOUNT_LINK)
    answer(r, EINVAL, NULL, 0);
  else
    answer(r, 0, n->target, (size_t)n->attr.size);
}

static void do_attribute(const request *r, bool list) {
  const struct fuse_getxattr_in *in = r->body;
  const char *name = (const char *)(in + 1);
  buffer b = BUFFER_EMPTY;
  size_t most = r->size - sizeof *in;
  int number = 0;
  if (!list && (most == 0 || memchr(name, '\0', most) == NULL)) number = EINVAL;
  if (number == 0)
    number = mount_attribute(r->m, node_of(r), list ? NULL : name, &b);
  struct fuse_getxattr_out out = {.size = (uint32_t)b.size};
  if (number == 0 && in->size == 0)
    answer(r, 0, &out, sizeof out);
  else if (number == 0 && b.size > in->size)
    answer(r, ERANGE, NULL, 0);
  else
    answer(r, number, b.data, b.size);
  buffer_free(&b);
}

static void do_forget_many(const request *r) {
  const struct fuse_batch_forget_in *in = r->body;
  const struct fuse_forget_one *one = (const void *)(in + 1);
  size_t most = (r->size - sizeof *in) / sizeof *one;
  for (size_t i = 0; i < in->count && i < most; i++)
    if (one[i].nodeid != FUSE_ROOT_ID)
      mount_forget(r->m, (mount_node *)(uintptr_t)one[i].nodeid,
                   one[i].nlookup);
}

static void do_statfs(const request *r) {
  struct fuse_statfs_out out = {
      .st = {.bsize = 128 << 10, .frsize = 128 << 10, .namelen = 255}};
  answer(r, 0, &out, sizeof out);
}


/* ------------------------------------------------------------------
** Directories
** ---------------------------------------------------------------- */

static void do_opendir(const request *r) {
  mount_listing *l = NULL;
  int number = mount_list_open(r->m, node_of(r), &l);
  struct fuse_open_out out = {.fh = (uint64_t)(uintptr_t)l,
                              .open_flags = FOPEN_KEEP_CACHE | FOPEN_CACHE_DIR};
  answer(r, number, &out, sizeof out);
}

/* One entry more; 0: there is no room. `plus`: with the node. */
static size_t put_entry(char *to, size_t room, uint64_t next,
                        const mount_entry *e,
                        const struct fuse_entry_out *plus) {
  struct fuse_dirent d = {.ino = e->ino,
                          .off = next,
                          .namelen = (uint32_t)e->size,
                          .type = (e->mode & S_IFMT) >> 12};
  size_t before = plus != NULL ? sizeof *plus : 0;
  size_t size = before + FUSE_NAME_OFFSET + e->size;
  size_t whole = FUSE_DIRENT_ALIGN(size);
  if (whole > room) return 0;
  if (plus != NULL) memcpy(to, plus, sizeof *plus);
  memcpy(to + before, &d, FUSE_NAME_OFFSET);
  memcpy(to + before + FUSE_NAME_OFFSET, e->name, e->size);
  memset(to + size, 0, whole - size);
  return whole;
}

/* "." and ".." have no node of their own here. */
static size_t put_dots(const mount_node *n, uint64_t at, char *to, size_t room,
                       bool plus) {
  const mount_node *up = n->parent != NULL ? n->parent : n;
  mount_entry e = {at == 0 ? "." : "..", at == 0 ? 1 : 2,
                   at == 0 ? n->attr.ino : up->attr.ino, S_IFDIR};
  struct fuse_entry_out none = {.nodeid = 0};
  return put_entry(to, room, at + 1, &e, plus ? &none : NULL);
}

/* 0 in *put: no room. */
static int put_next(const request *r, mount_listing *l, uint64_t at, char *to,
                    size_t room, bool plus, size_t *put) {
  mount_entry e;
  int number = mount_list_at(r->m, l, at - 2, &e);
  *put = 0;
  if (number != 0 ||
      FUSE_DIRENT_ALIGN((plus ? sizeof(struct fuse_entry_out) : 0) +
                        FUSE_NAME_OFFSET + e.size) > room)
    return number;
  if (!plus) {
    *put = put_entry(to, room, at + 1, &e, NULL);
    return 0;
  }
  mount_node *n;
  number = mount_list_enter(r->m, l, at - 2, &n);
  if (number != 0) return number;
  struct fuse_entry_out out = entry_of(r->m, n);
  *put = put_entry(to, room, at + 1, &e, &out);
  return 0;
}

/* An error behind entries is told the next time. */
static void do_readdir(const request *r, bool plus) {
  const struct fuse_read_in *in = r->body;
  mount_listing *l = (mount_listing *)(uintptr_t)in->fh;
  size_t room = in->size < MOUNT_READ_MOST ? in->size : MOUNT_READ_MOST;
  size_t done = 0, put = 1;
  int number = 0;
  pthread_mutex_lock(&l->lock);
  for (uint64_t at = in->offset; put > 0 && number == 0; at++) {
    char *to = r->s->answer + done;
    if (at < 2)
      put = put_dots(l->of, at, to, room - done, plus);
    else
      number = put_next(r, l, at, to, room - done, plus, &put);
    if (number == 0) done += put;
  }
  pthread_mutex_unlock(&l->lock);
  if (number == ENOENT || done > 0) number = 0;
  answer(r, number, r->s->answer, done);
}


/* ------------------------------------------------------------------
** Files
** ---------------------------------------------------------------- */

static void do_open(const request *r) {
  const struct fuse_open_in *in = r->body;
  mount_file *f = NULL;
  int number = (in->flags & O_ACCMODE) != O_RDONLY
                   ? EROFS
                   : mount_file_open(r->m, node_of(r), &f);
  struct fuse_open_out out = {.fh = (uint64_t)(uintptr_t)f,
                              .open_flags = FOPEN_KEEP_CACHE};
  answer(r, number, &out, sizeof out);
}

static void do_read(const request *r) {
  const struct fuse_read_in *in = r->body;
  const mount_file *f = (const mount_file *)(uintptr_t)in->fh;
  size_t size = in->size < MOUNT_READ_MOST ? in->size : MOUNT_READ_MOST;
  ssize_t n = mount_file_read(r->m, f, in->offset, r->s->answer, size);
  answer(r, n < 0 ? (int)-n : 0, r->s->answer, n > 0 ? (size_t)n : 0);
}


/* ------------------------------------------------------------------
** Questions
** ---------------------------------------------------------------- */

static void do_release(const request *r) {
  const struct fuse_release_in *in = r->body;
  mount_handle_close(r->m, (mount_handle *)(uintptr_t)in->fh);
  answer(r, 0, NULL, 0);
}

/* How long the body of a question is at least. */
static size_t least_of(uint32_t opcode) {
  switch (opcode) {
    case FUSE_INIT: return 16;
    case FUSE_LOOKUP: return 1;
    case FUSE_FORGET: return sizeof(struct fuse_forget_in);
    case FUSE_BATCH_FORGET: return sizeof(struct fuse_batch_forget_in);
    case FUSE_GETXATTR:
    case FUSE_LISTXATTR: return sizeof(struct fuse_getxattr_in);
    case FUSE_OPEN: return sizeof(struct fuse_open_in);
    case FUSE_READ:
    case FUSE_READDIR:
    case FUSE_READDIRPLUS: return sizeof(struct fuse_read_in);
    case FUSE_RELEASE:
    case FUSE_RELEASEDIR: return sizeof(struct fuse_release_in);
    default: return 0;
  }
}

static void serve(const request *r) {
  if (r->size < least_of(r->in->opcode)) {
    answer(r, EIO, NULL, 0);
    return;
  }
  switch (r->in->opcode) {
    case FUSE_INIT: do_init(r); break;
    case FUSE_LOOKUP: do_lookup(r); break;
    case FUSE_FORGET: /* no answer */
      mount_forget(r->m, node_of(r),
                   ((const struct fuse_forget_in *)r->body)->nlookup);
      break;
    case FUSE_BATCH_FORGET: do_forget_many(r); break; /* no answer */
    case FUSE_INTERRUPT: break;                       /* it comes soon enough */
    case FUSE_GETATTR: do_getattr(r); break;
    case FUSE_READLINK: do_readlink(r); break;
    case FUSE_GETXATTR: do_attribute(r, false); break;
    case FUSE_LISTXATTR: do_attribute(r, true); break;
    case FUSE_STATFS: do_statfs(r); break;
    case FUSE_OPENDIR: do_opendir(r); break;
    case FUSE_READDIR: do_readdir(r, false); break;
    case FUSE_READDIRPLUS: do_readdir(r, true); break;
    case FUSE_RELEASEDIR: do_release(r); break;
    case FUSE_OPEN: do_open(r); break;
    case FUSE_READ: do_read(r); break;
    case FUSE_RELEASE: do_release(r); break;
    case FUSE_DESTROY: answer(r, 0, NULL, 0); break;
    default: answer(r, ENOSYS, NULL, 0); /* then it is not asked again */
  }
}

/* False: nobody is mounted there any more. */
static bool serve_next(serving *s) {
  mounted *m = s->m;
  ssize_t n = read(m->place.fd, s->request, REQUEST_ROOM);
  if (n < 0) return errno != ENODEV && errno != EBADF;
  if ((size_t)n < sizeof(struct fuse_in_header)) return n != 0;
  request r = {s, m, (const void *)s->request,
               s->request + sizeof(struct fuse_in_header),
               (size_t)n - sizeof(struct fuse_in_header)};
  serve(&r);
  return true;
}

void *mount_serve(void *argument) {
  mounted *m = argument;
  serving s = {m, mem_alloc(REQUEST_ROOM), mem_alloc(MOUNT_READ_MOST)};
  bool good = s.request != NULL && s.answer != NULL;
  while (good && !m->gone) {
    struct pollfd wait[2] = {{.fd = m->place.fd, .events = POLLIN},
                             {.fd = m->bell[0], .events = POLLIN}};
    if (poll(wait, 2, -1) < 0 && errno != EINTR) break;
    if (wait[1].revents != 0) break;
    if (wait[0].revents != 0 && !serve_next(&s)) m->gone = true;
  }
  mem_free(s.request);
  mem_free(s.answer);
  return NULL;
}
