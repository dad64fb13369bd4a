/*
** node: a node of a real file. What is asked of the file is what restic asks,
** in the order it is told in.
*/
#include "repository/node.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "repository/go.h"
#include "repository/node_file.h"

#define LIST_BYTES ((size_t)65536)  /* the kernel's limit of all names */
#define LIST_FIRST ((size_t)256)    /* most have none, or few */
#define VALUE_BYTES ((size_t)65536) /* and of one value */

/* Where an attribute is in the text. */
typedef struct piece {
  size_t name, data, size;
} piece;

struct repo_node_maker {
  repo_users *users;
  buffer text; /* user, group, target, attributes */
  char *names, *value;
  piece *pieces;
  repo_attribute *attributes;
  size_t count, room; /* of both */
};

repo_node_maker *repo_node_maker_new(repo_users *users) {
  repo_node_maker *m = mem_zero(sizeof *m);
  if (m == NULL) return NULL;
  m->users = users;
  m->names = mem_alloc(LIST_BYTES);
  m->value = mem_alloc(VALUE_BYTES);
  if (m->names == NULL || m->value == NULL) {
    repo_node_maker_free(m);
    return NULL;
  }
  return m;
}

void repo_node_maker_free(repo_node_maker *m) {
  if (m == NULL) return;
  buffer_free(&m->text);
  mem_free(m->names);
  mem_free(m->value);
  mem_free(m->pieces);
  mem_free(m->attributes);
  mem_free(m);
}

static error *failed(const char *what) {
  return error_of_errno(SAROS_FACADE_SAROS, errno, what, NULL);
}


/* ------------------------------------------------------------------
** What statx says
** ---------------------------------------------------------------- */

error *repo_node_stat(repo_at at, struct statx *sx) {
  int flags = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT;
  if (at.name == NULL) flags |= AT_EMPTY_PATH;
  if (statx(at.fd, at.name != NULL ? at.name : "", flags, REPO_NODE_STATX,
            sx) == 0)
    return NULL;
  return failed("cannot stat");
}

repo_node_type repo_node_type_of_mode(uint32_t st_mode) {
  switch (st_mode & S_IFMT) {
    case S_IFREG: return REPO_NODE_FILE;
    case S_IFDIR: return REPO_NODE_DIRECTORY;
    case S_IFLNK: return REPO_NODE_SYMLINK;
    case S_IFBLK: return REPO_NODE_DEVICE;
    case S_IFCHR: return REPO_NODE_CHARACTER;
    case S_IFIFO: return REPO_NODE_FIFO;
    case S_IFSOCK: return REPO_NODE_SOCKET;
    default: return REPO_NODE_OTHER;
  }
}

static struct timespec time_of(struct statx_timestamp t) {
  return (struct timespec){t.tv_sec, t.tv_nsec};
}

static bool has_links(repo_node_type type) {
  return type == REPO_NODE_FILE || type == REPO_NODE_SYMLINK ||
         type == REPO_NODE_DEVICE || type == REPO_NODE_CHARACTER;
}

static void put_stat(repo_node *n, const struct statx *sx, unsigned flags) {
  n->type = repo_node_type_of_mode(sx->stx_mode);
  n->mode = sx->stx_mode & 07777u;
  n->mtime = time_of(sx->stx_mtime);
  n->mtime_zone = repo_go_zone(n->mtime.tv_sec);
  n->ctime = time_of(sx->stx_ctime);
  n->ctime_zone = repo_go_zone(n->ctime.tv_sec);
  n->atime = n->mtime;
  n->atime_zone = n->mtime_zone;
  if (flags & REPO_NODE_ATIME) {
    n->atime = time_of(sx->stx_atime);
    n->atime_zone = repo_go_zone(n->atime.tv_sec);
  }
  n->uid = sx->stx_uid;
  n->gid = sx->stx_gid;
  n->inode = sx->stx_ino;
  n->device_id = makedev(sx->stx_dev_major, sx->stx_dev_minor);
  if (n->type == REPO_NODE_FILE) n->size = sx->stx_size;
  if (has_links(n->type)) n->links = sx->stx_nlink;
  if (n->type == REPO_NODE_DEVICE || n->type == REPO_NODE_CHARACTER)
    n->device = makedev(sx->stx_rdev_major, sx->stx_rdev_minor);
}

bool repo_node_is_unchanged(const repo_node *was, const struct statx *now,
                            unsigned flags) {
  if (was->type != REPO_NODE_FILE || !S_ISREG(now->stx_mode)) return false;
  if (was->size != now->stx_size) return false;
  if (was->mtime.tv_sec != now->stx_mtime.tv_sec ||
      was->mtime.tv_nsec != now->stx_mtime.tv_nsec)
    return false;
  if (!(flags & REPO_IGNORE_CTIME) &&
      (was->ctime.tv_sec != now->stx_ctime.tv_sec ||
       was->ctime.tv_nsec != now->stx_ctime.tv_nsec))
    return false;
  return (flags & REPO_IGNORE_INODE) || was->inode == now->stx_ino;
}


/* ------------------------------------------------------------------
** The target of a link
** ---------------------------------------------------------------- */

/* Appends it. stx_size is only a hint: in /proc it is 0. */
static error *put_target(repo_node_maker *m, repo_at at, size_t *size) {
  for (size_t room = 4096; room <= (1u << 20); room *= 4) {
    char *to = buffer_room(&m->text, room);
    if (to == NULL) return error_no_memory();
    ssize_t n = readlinkat(at.fd, at.name != NULL ? at.name : "", to, room);
    if (n < 0) return failed("cannot read the symbolic link");
    if ((size_t)n == room) continue; /* it may be longer */
    *size = (size_t)n;
    m->text.size += (size_t)n;
    buffer_byte(&m->text, '\0');
    return m->text.failed ? error_no_memory() : NULL;
  }
  errno = ENAMETOOLONG;
  return failed("cannot read the symbolic link");
}


/* ------------------------------------------------------------------
** Attributes
** ---------------------------------------------------------------- */

static bool make_room(repo_node_maker *m) {
  if (m->count < m->room) return true;
  size_t room = m->room > 0 ? m->room * 2 : 16;
  piece *pieces = mem_grow(m->pieces, room * sizeof *pieces);
  if (pieces == NULL) return false;
  m->pieces = pieces;
  repo_attribute *a = mem_grow(m->attributes, room * sizeof *a);
  if (a == NULL) return false;
  m->attributes = a;
  m->room = room;
  return true;
}

/* The first of them is told; one is enough to make a person look. */
static void tell(error **partial, error *e) {
  if (*partial == NULL)
    *partial = e;
  else
    error_unref(e);
}

static error *put_attribute(repo_node_maker *m, repo_at at, const char *name,
                            error **partial) {
  ssize_t size = repo_file_get(at, name, m->value, VALUE_BYTES);
  if (size < 0) {
    char what[400];
    if (errno == ENODATA) return NULL; /* it has just gone */
    snprintf(what, sizeof what, "cannot read the extended attribute %s of",
             name);
    tell(partial, failed(what));
    return NULL;
  }
  if (!make_room(m)) return error_no_memory();
  piece *p = &m->pieces[m->count++];
  p->name = m->text.size;
  buffer_put(&m->text, name, strlen(name) + 1);
  p->data = m->text.size;
  p->size = (size_t)size;
  buffer_put(&m->text, m->value, (size_t)size);
  return m->text.failed ? error_no_memory() : NULL;
}

static error *put_attributes(repo_node_maker *m, repo_at at, unsigned flags,
                             error **partial) {
  /* The kernel takes memory for as many as it is asked for. */
  ssize_t size = repo_file_list(at, m->names, LIST_FIRST);
  if (size < 0 && errno == ERANGE)
    size = repo_file_list(at, m->names, LIST_BYTES);
  if (size < 0) {
    bool denied = errno == EPERM || errno == EACCES;
    if (errno == EOPNOTSUPP || errno == ENODATA) return NULL;
    if (!denied || !(flags & REPO_NODE_ANCESTOR))
      tell(partial, failed("cannot list the extended attributes of"));
    return NULL;
  }
  error *e = NULL;
  for (ssize_t i = 0; i < size && e == NULL;
       i += (ssize_t)strlen(m->names + i) + 1)
    e = put_attribute(m, at, m->names + i, partial);
  return e;
}


/* ------------------------------------------------------------------
** The whole
** ---------------------------------------------------------------- */

/* Nothing moves any more: where things are becomes pointers. */
static void point(repo_node_maker *m, repo_node *n, bool user, bool group,
                  size_t group_at, size_t target_at) {
  const char *text = m->text.data;
  if (user) n->user = text;
  if (group) n->group = text + group_at;
  if (n->target_size > 0) n->target = text + target_at;
  for (size_t i = 0; i < m->count; i++) {
    const piece *p = &m->pieces[i];
    m->attributes[i] =
        (repo_attribute){text + p->name, text + p->data, p->size};
  }
  n->attributes = m->attributes;
  n->attribute_count = m->count;
}

static error *fill(repo_node_maker *m, repo_at at, unsigned flags, repo_node *n,
                   error **partial) {
  error *e = NULL;
  buffer_clear(&m->text);
  m->count = 0;
  bool user = repo_users_user(m->users, n->uid, &m->text);
  buffer_byte(&m->text, '\0');
  size_t group_at = m->text.size;
  bool group = repo_users_group(m->users, n->gid, &m->text);
  buffer_byte(&m->text, '\0');
  size_t target_at = m->text.size;
  if (m->text.failed) return error_no_memory();
  if (n->type == REPO_NODE_SYMLINK) e = put_target(m, at, &n->target_size);
  if (e == NULL) e = put_attributes(m, at, flags, partial);
  if (e == NULL) point(m, n, user, group, group_at, target_at);
  return e;
}

error *repo_node_of(repo_node_maker *m, repo_at at, const struct statx *sx,
                    const char *name, size_t name_size, unsigned flags,
                    repo_node *n, error **partial) {
  struct statx asked;
  error *e = NULL;
  *partial = NULL;
  *n = (repo_node){.name = name, .name_size = name_size};
  if (sx == NULL) {
    e = repo_node_stat(at, &asked);
    sx = &asked;
  }
  if (e == NULL) {
    put_stat(n, sx, flags);
    e = fill(m, at, flags, n, partial);
  }
  if (e != NULL && *partial != NULL) {
    error_unref(*partial);
    *partial = NULL;
  }
  return e;
}
