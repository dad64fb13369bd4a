/*
** backup_entry: what to do with one name. What the version before says of it
** is enough when nothing can have changed; then not even its text is made anew.
*/
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "repository/backup_parts.h"
#include "repository/go.h"

const char *repo_backup_shown(const directory *d, size_t at, hand *h) {
  const entry *e = &d->list.entries[at];
  buffer_clear(&h->path);
  if (d->plan != NULL) {
    buffer_text(&h->path, d->plan->items[at]->shown);
  } else {
    buffer_put(&h->path, d->shown, d->shown_size);
    if (d->shown_size > 0 && d->shown[d->shown_size - 1] != '/')
      buffer_byte(&h->path, '/');
    buffer_put(&h->path, d->list.names + e->name, e->size);
  }
  return h->path.failed ? "" : h->path.data;
}

void repo_backup_node_failed(directory *d, size_t at, hand *h, error *e) {
  if (e->code == SAROS_E_OUTOFMEMORY)
    repo_backup_fail(d->b, e);
  else if (e->number == ENOENT && d->plan == NULL)
    error_unref(e); /* gone since it was listed: so it is not there */
  else
    repo_backup_item_failed(d, at, h, e);
  repo_backup_entry_done(d, at, NULL, 0, h);
}


/* ------------------------------------------------------------------
** Nodes
** ---------------------------------------------------------------- */

static const backup_source *source_of(const directory *d, size_t at) {
  return d->plan != NULL ? d->plan->items[at]->leaf : d->source;
}

/* The device that the version shows. What is given as a file has no directory
   whose device it could be on. */
static uint64_t device_of(const directory *d, size_t at, uint64_t device) {
  const backup_source *s = source_of(d, at);
  if (s == NULL || !s->has_device) return device;
  return d->plan != NULL || device == d->source_device ? s->device : device;
}

bool repo_backup_node_of(directory *d, size_t entry_at, repo_at at,
                         const struct statx *sx, hand *h, repo_node *n) {
  const entry *e = &d->list.entries[entry_at];
  error *partial = NULL;
  error *why = repo_node_of(h->maker, at, sx, d->list.names + e->name, e->size,
                            d->b->o.node_flags, n, &partial);
  if (why != NULL) {
    repo_backup_node_failed(d, entry_at, h, why);
    return false;
  }
  if (partial != NULL) repo_backup_item_failed(d, entry_at, h, partial);
  n->device_id = device_of(d, entry_at, n->device_id);
  return true;
}

void repo_backup_node_done(directory *d, size_t at, const repo_node *n,
                           hand *h) {
  buffer_clear(&h->piece);
  repo_node_write(&h->piece, n);
  if (h->piece.failed) {
    repo_backup_node_failed(d, at, h, error_no_memory());
    return;
  }
  repo_backup_entry_done(d, at, h->piece.data, h->piece.size, h);
}


/* ------------------------------------------------------------------
** What has not changed
** ---------------------------------------------------------------- */

static bool same_name(const char *was, bool has, const buffer *b) {
  if (was == NULL || *was == '\0') return !has;
  return has && !b->failed && strcmp(was, b->data) == 0;
}

/* An id may have another name than it had. */
static bool same_owner(const repo_node *was, const struct statx *sx, hand *h) {
  if (was->uid != sx->stx_uid || was->gid != sx->stx_gid) return false;
  buffer_clear(&h->names);
  bool user = repo_users_user(h->b->users, sx->stx_uid, &h->names);
  if (!same_name(was->user, user, &h->names)) return false;
  buffer_clear(&h->names);
  bool group = repo_users_group(h->b->users, sx->stx_gid, &h->names);
  return same_name(was->group, group, &h->names);
}

static bool same_time(struct timespec was, int32_t zone,
                      struct statx_timestamp now) {
  return was.tv_sec == now.tv_sec && was.tv_nsec == now.tv_nsec &&
         zone == repo_go_zone(was.tv_sec);
}

/* All that its text says is as it was. (Attributes and a link's target cannot
   change without ctime.) */
static bool is_as_it_was(const directory *d, size_t at, const repo_node *was,
                         const struct statx *sx, hand *h) {
  bool atime = d->b->o.node_flags & REPO_NODE_ATIME;
  bool is_file = was->type == REPO_NODE_FILE;
  return d->b->trusts && was->error_text == NULL &&
         was->type == repo_node_type_of_mode(sx->stx_mode) &&
         was->mode == (sx->stx_mode & 07777u) && was->inode == sx->stx_ino &&
         (!is_file || was->size == sx->stx_size) &&
         was->links == sx->stx_nlink &&
         same_time(was->mtime, was->mtime_zone, sx->stx_mtime) &&
         same_time(was->ctime, was->ctime_zone, sx->stx_ctime) &&
         same_time(was->atime, was->atime_zone,
                   atime ? sx->stx_atime : sx->stx_mtime) &&
         was->device_id ==
             device_of(d, at, makedev(sx->stx_dev_major, sx->stx_dev_minor)) &&
         same_owner(was, sx, h);
}

static bool has_all(const backup *b, const repo_node *n) {
  repo_place place;
  if (!n->has_content) return false;
  for (size_t i = 0; i < n->content_count; i++)
    if (!repo_index_find(b->index, REPO_DATA, &n->content[i], 0, &place))
      return false;
  return true;
}

static void reuse_text(directory *d, size_t at, const cursor *k, hand *h) {
  const char *raw;
  size_t size;
  repo_tree_reader_raw(k->reader, &raw, &size);
  repo_backup_entry_done(d, at, raw, size, h);
}

static void unchanged_file(directory *d, size_t at, repo_at where,
                           const struct statx *sx, const repo_node *was,
                           const cursor *k, hand *h) {
  repo_node n;
  d->b->counts.files++;
  d->b->counts.files_unmodified++;
  repo_backup_moved(d, at, sx->stx_size, h);
  if (is_as_it_was(d, at, was, sx, h)) {
    reuse_text(d, at, k, h);
    return;
  }
  if (!repo_backup_node_of(d, at, where, sx, h, &n)) return;
  n.content = was->content;
  n.content_count = was->content_count;
  n.has_content = true;
  repo_backup_node_done(d, at, &n, h);
}


/* ------------------------------------------------------------------
** One name
** ---------------------------------------------------------------- */

/* By its name alone. */
static bool is_excluded(directory *d, size_t at, hand *h) {
  const backup *b = d->b;
  bool excluded = false;
  const char *name = d->list.names + d->list.entries[at].name;
  if (d->marks != 0 && repo_exclude_marked(b->o.exclude, d->marks, name))
    return true;
  if (!b->o.has_patterns) return false;
  const char *path = repo_backup_shown(d, at, h);
  error *e = repo_exclude_path(b->o.exclude, path, strlen(path), &excluded);
  if (e != NULL) repo_backup_fail(d->b, e);
  return excluded || e != NULL;
}

/* On another file system only where it is mounted is shown, empty. */
static bool is_elsewhere(const directory *d, const struct statx *sx) {
  if (!d->b->o.one_file_system || d->plan != NULL) return false;
  uint64_t device = makedev(sx->stx_dev_major, sx->stx_dev_minor);
  if (device == d->allowed) return false;
  return !S_ISDIR(sx->stx_mode) || d->device != d->allowed;
}

static int open_file(int fd, const char *name) {
  int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOCTTY;
  int r = openat(fd, name, flags | O_NOATIME);
  if (r < 0 && errno == EPERM) r = openat(fd, name, flags);
  return r;
}

/* It is read; what it is is asked once more, now that it is open. */
static void read_file(directory *d, size_t at, repo_at where, bool was_there,
                      hand *h) {
  struct statx sx = {0};
  BACKUP_TEST(d->b, "file", where.name);
  int fd = open_file(where.fd, where.name);
  error *e = fd >= 0 ? repo_node_stat((repo_at){fd, NULL}, &sx)
                     : error_of_errno(SAROS_FACADE_SAROS, errno,
                                      "cannot open the file", NULL);
  if (e == NULL && !S_ISREG(sx.stx_mode))
    e = repo_error(SAROS_E_CHANGED, "it is no regular file any more");
  BACKUP_TEST(d->b, "opened", where.name);
  bool skipped = e == NULL && (repo_exclude_size(d->b->o.exclude, sx.stx_mode,
                                                 sx.stx_size) ||
                               is_elsewhere(d, &sx));
  if (e == NULL && !skipped) {
    repo_backup_file(d, at, fd, &sx, was_there, h);
    return;
  }
  if (fd >= 0) close(fd);
  if (skipped)
    repo_backup_entry_done(d, at, NULL, 0, h);
  else
    repo_backup_node_failed(d, at, h, e);
}

static void with_stat(directory *d, size_t at, repo_at where,
                      const struct statx *sx, const repo_node *was, cursor *k,
                      hand *h) {
  repo_node n;
  backup *b = d->b;
  if (S_ISSOCK(sx->stx_mode) || is_elsewhere(d, sx) ||
      repo_exclude_size(b->o.exclude, sx->stx_mode, sx->stx_size)) {
    repo_backup_entry_done(d, at, NULL, 0, h);
  } else if (S_ISDIR(sx->stx_mode)) {
    repo_backup_subdirectory(d, at, was, k, h);
  } else if (S_ISREG(sx->stx_mode)) {
    if (was != NULL && repo_node_is_unchanged(was, sx, b->o.ignore_flags) &&
        has_all(b, was))
      unchanged_file(d, at, where, sx, was, k, h);
    else
      read_file(d, at, where, was != NULL && was->type == REPO_NODE_FILE, h);
  } else if (was != NULL && is_as_it_was(d, at, was, sx, h)) {
    reuse_text(d, at, k, h);
  } else if (repo_backup_node_of(d, at, where, sx, h, &n)) {
    repo_backup_node_done(d, at, &n, h);
  }
}

void repo_backup_entry(directory *d, size_t at, int fd, const char *name,
                       const repo_node *was, cursor *k, hand *h) {
  uint8_t type = d->list.entries[at].type;
  repo_at where = {fd, name};
  struct statx sx;
  d->b->counts.items++;
  BACKUP_TEST(d->b, "entry", name);
  if (type == DT_SOCK || is_excluded(d, at, h)) {
    repo_backup_entry_done(d, at, NULL, 0, h);
    return;
  }
  if (!d->b->o.one_file_system && type == DT_DIR) {
    repo_backup_subdirectory(d, at, was, k, h);
    return;
  }
  if (type == DT_REG && was == NULL) {
    read_file(d, at, where, false, h);
    return;
  }
  error *e = repo_node_stat(where, &sx);
  if (e != NULL)
    repo_backup_node_failed(d, at, h, e);
  else
    with_stat(d, at, where, &sx, was, k, h);
}
