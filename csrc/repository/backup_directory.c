/*
** backup_directory: the walk. A directory is opened, listed, and gone through
** by one thread; its subdirectories follow, on any.
*/
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "repository/backup_parts.h"
#include "repository/walk.h"

#define ANCHOR 32 /* of so many directories in one another one stays open */
#define OPEN_FLAGS (O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)

static void close_it(directory *d) {
  if (d->fd < 0) return;
  close(d->fd);
  d->fd = -1;
  atomic_fetch_sub(&d->b->open_fds, 1);
}

void repo_backup_directory_free(directory *d) {
  close_it(d);
  repo_backup_list_free(&d->list);
  buffer_free(&d->own);
  buffer_free(&d->text);
  mem_free(d->subs);
  mem_free(d->shown);
  pthread_mutex_destroy(&d->lock);
  mem_free(d);
}


/* ------------------------------------------------------------------
** Opening
** ---------------------------------------------------------------- */

static error *failed(const char *what) {
  return error_of_errno(SAROS_FACADE_SAROS, errno, what, NULL);
}

static int open_at(int fd, const char *name, int flags) {
  int r = openat(fd, name, flags | O_NOATIME);
  if (r < 0 && errno == EPERM) r = openat(fd, name, flags);
  return r;
}

static const char *name_of(const directory *d) {
  return d->parent->list.names + d->parent->list.entries[d->at].name;
}

static const plan *plan_of(const directory *d) {
  const plan *above = d->parent != NULL ? d->parent->plan : NULL;
  return above != NULL ? above->items[d->at] : NULL;
}

/* Below what is still open, part by part, and it must be the same. */
static error *open_again(directory *d, int *fd) {
  size_t depth = 0;
  directory *top = d, *way[REPO_WALK_DEEP + 1]; /* the deepest first */
  for (; top->fd < 0 && plan_of(top) == NULL; top = top->parent)
    way[depth++] = top;
  int at = top->fd >= 0
               ? fcntl(top->fd, F_DUPFD_CLOEXEC, 3)
               : open_at(AT_FDCWD, plan_of(top)->leaf_path, OPEN_FLAGS);
  while (at >= 0 && depth > 0) {
    int below = open_at(at, name_of(way[--depth]), OPEN_FLAGS);
    int number = errno;
    close(at);
    errno = number;
    at = below;
  }
  if (at < 0) return failed("cannot open the directory once more");
  struct statx sx;
  error *e = repo_node_stat((repo_at){at, NULL}, &sx);
  if (e == NULL && (sx.stx_ino != d->inode ||
                    makedev(sx.stx_dev_major, sx.stx_dev_minor) != d->device))
    e = repo_error(SAROS_E_CHANGED,
                   "another directory has taken its place meanwhile");
  if (e != NULL) close(at);
  *fd = at;
  return e;
}

error *repo_backup_directory_fd(directory *d, int *fd) {
  *fd = d->fd;
  return d->fd >= 0 ? NULL : open_again(d, fd);
}

void repo_backup_directory_fd_done(const directory *d, int fd) {
  if (fd != d->fd && fd >= 0) close(fd);
}

static error *open_it(directory *d, int *fd) {
  const plan *p = plan_of(d);
  if (p != NULL) {
    *fd = open_at(AT_FDCWD, p->leaf_path, OPEN_FLAGS);
  } else {
    int above;
    error *e = repo_backup_directory_fd(d->parent, &above);
    if (e != NULL) return e;
    *fd = open_at(above, name_of(d), OPEN_FLAGS);
    int number = errno;
    repo_backup_directory_fd_done(d->parent, above);
    errno = number;
  }
  return *fd >= 0 ? NULL : failed("cannot open the directory");
}


/* ------------------------------------------------------------------
** Its own node
** ---------------------------------------------------------------- */

static error *make_own(directory *d, hand *h, repo_at at,
                       const struct statx *sx, unsigned flags) {
  repo_node n;
  error *partial = NULL;
  const entry *e = &d->parent->list.entries[d->at];
  error *why = repo_node_of(h->maker, at, sx, name_of(d), e->size,
                            d->b->o.node_flags | flags, &n, &partial);
  if (why != NULL) return why;
  if (partial != NULL) repo_backup_item_failed(d->parent, d->at, h, partial);
  n.has_subtree = true;
  memset(&n.subtree, 0, sizeof n.subtree);
  if (d->source != NULL && d->source->has_device &&
      n.device_id == d->source_device)
    n.device_id = d->source->device;
  repo_node_write(&d->own, &n);
  return d->own.failed ? error_no_memory() : NULL;
}

static bool is_source(const backup *b, const char *shown) {
  for (size_t i = 0; i < b->o.count; i++)
    if (strcmp(b->o.sources[i].shown, shown) == 0) return true;
  return false;
}

static error *begin_real(directory *d, hand *h) {
  backup *b = d->b;
  struct statx sx;
  error *e = open_it(d, &d->fd);
  if (e != NULL) {
    d->fd = -1;
    return e;
  }
  atomic_fetch_add(&b->open_fds, 1);
  e = repo_node_stat((repo_at){d->fd, NULL}, &sx);
  if (e != NULL) return e;
  d->device = makedev(sx.stx_dev_major, sx.stx_dev_minor);
  d->inode = sx.stx_ino;
  if (plan_of(d) != NULL) {
    d->allowed = d->source_device = d->device;
  } else {
    d->source_device = d->parent->source_device;
    d->allowed = d->parent->allowed;
    if (b->o.one_file_system && is_source(b, d->shown)) d->allowed = d->device;
  }
  e = make_own(d, h, (repo_at){d->fd, NULL}, &sx, 0);
  if (e != NULL) return e;
  error *partial = NULL;
  d->marks = repo_exclude_marks(b->o.exclude, d->fd, &partial);
  if (partial != NULL) repo_backup_item_failed(d->parent, d->at, h, partial);
  return repo_backup_list(d->fd, &d->list);
}

/* On the way to sources: it shows what it is here, if it is here. */
static error *begin_planned(directory *d, hand *h) {
  error *e = NULL;
  for (size_t i = 0; i < d->plan->count && e == NULL; i++)
    e = repo_backup_list_add(&d->list, d->plan->items[i]->name,
                             strlen(d->plan->items[i]->name), DT_UNKNOWN);
  if (e != NULL || d->parent == NULL) return e;
  int fd = d->plan->path != NULL
               ? open(d->plan->path, O_PATH | O_DIRECTORY | O_CLOEXEC)
               : -1;
  if (fd >= 0) {
    e = make_own(d, h, (repo_at){fd, NULL}, NULL, REPO_NODE_ANCESTOR);
    close(fd);
    return e;
  }
  repo_node n = {.name = name_of(d),
                 .name_size = d->parent->list.entries[d->at].size,
                 .type = REPO_NODE_DIRECTORY,
                 .mode = 0755,
                 .has_subtree = true};
  n.mtime = n.atime = n.ctime = d->b->o.time;
  repo_node_write(&d->own, &n);
  return d->own.failed ? error_no_memory() : NULL;
}


/* ------------------------------------------------------------------
** Going through it
** ---------------------------------------------------------------- */

/* By the directory it is in: what is asked of a name is asked of that. */
static void planned_leaf(directory *d, size_t at, const char *path,
                         const repo_node *was, cursor *k, hand *h) {
  const char *base = strrchr(path, '/');
  char *above = base == NULL ? mem_text(".") : path_parent(path);
  int fd = above != NULL ? open(above, O_PATH | O_DIRECTORY | O_CLOEXEC) : -1;
  if (above == NULL)
    repo_backup_node_failed(d, at, h, error_no_memory());
  else if (fd < 0)
    repo_backup_node_failed(d, at, h, failed("cannot open its directory"));
  else
    repo_backup_entry(d, at, fd, base != NULL ? base + 1 : path, was, k, h);
  if (fd >= 0) close(fd);
  mem_free(above);
}

static void planned_entry(directory *d, size_t at, const repo_node *was,
                          cursor *k, hand *h) {
  const plan *item = d->plan->items[at];
  if (item->leaf == NULL)
    repo_backup_subdirectory(d, at, was, k, h);
  else if (item->leaf->path == NULL)
    repo_backup_stream(d, at, was != NULL && was->type == REPO_NODE_FILE, h);
  else
    planned_leaf(d, at, item->leaf_path, was, k, h);
}

static void go_through(directory *d, hand *h) {
  cursor k;
  repo_backup_cursor_open(&k, h, &d->before);
  for (size_t i = 0; i < d->list.count; i++) {
    const entry *e = &d->list.entries[i];
    const char *name = d->list.names + e->name;
    if (repo_backup_ends(d->b)) {
      repo_backup_entry_done(d, i, NULL, 0, h);
      continue;
    }
    const repo_node *was = repo_backup_cursor_find(&k, name, e->size);
    if (d->plan != NULL)
      planned_entry(d, i, was, &k, h);
    else
      repo_backup_entry(d, i, d->fd, name, was, &k, h);
  }
  repo_backup_cursor_close(&k);
}

static bool is_gone(const error *e) {
  return e->number == ENOENT;
}

/* What could not be walked through again is not written, either. */
static error *too_deep(const directory *d) {
  if (d->depth <= REPO_WALK_DEEP) return NULL;
  return repo_error(SAROS_E_REFUSED, "directories are nested more than %u deep",
                    REPO_WALK_DEEP);
}

static void work(directory *d, hand *h) {
  error *e = too_deep(d);
  if (e == NULL) e = d->plan != NULL ? begin_planned(d, h) : begin_real(d, h);
  if (e != NULL) {
    repo_backup_list_free(&d->list);
    buffer_clear(&d->own);
    if (e->code == SAROS_E_OUTOFMEMORY)
      repo_backup_fail(d->b, e);
    else if (is_gone(e) && plan_of(d) == NULL)
      error_unref(e);
    else
      repo_backup_item_failed(d->parent, d->at, h, e);
  }
  buffer_text(&d->text, BACKUP_TREE_BEGIN);
  d->left = d->list.count + 1;
  go_through(d, h);
  /* When too many are open it is opened again for its subdirectories, from an
     anchor above it: the way is never longer than to the next one. */
  bool is_anchor = d->depth % ANCHOR == 0;
  bool too_many = d->b->open_fds > d->b->open_most;
  if (d->sub_count == 0 || (too_many && !is_anchor)) close_it(d);
  if (d->sub_count > 0) {
    atomic_fetch_add(&d->left, 1); /* it waits, too */
    repo_crew_push(d->b->crew, &d->job, CREW_DEEP);
  }
  repo_backup_leave(d, h);
}


/* ------------------------------------------------------------------
** Subdirectories
** ---------------------------------------------------------------- */

static char *joined(const char *path, size_t size, const char *name,
                    size_t name_size) {
  bool slash = size > 0 && path[size - 1] != '/';
  char *text = mem_alloc(size + slash + name_size + 1);
  if (text == NULL) return NULL;
  memcpy(text, path, size);
  if (slash) text[size] = '/';
  memcpy(text + size + slash, name, name_size + 1);
  return text;
}

static void next_subdirectory(crew_job *job, void *hand_);

static directory *new_directory(backup *b, directory *parent, size_t at,
                                const before *of) {
  directory *d = mem_zero(sizeof *d);
  if (d == NULL) return NULL;
  d->b = b;
  d->parent = parent;
  d->depth = parent != NULL ? parent->depth + 1 : 0;
  d->at = at;
  d->fd = -1;
  d->before = *of;
  d->job.run = next_subdirectory;
  pthread_mutex_init(&d->lock, NULL);
  return d;
}

static directory *open_subdirectory(directory *d, const subdirectory *s) {
  directory *child = new_directory(d->b, d, s->entry, &s->before);
  if (child == NULL) return NULL;
  const plan *item = plan_of(child);
  const entry *e = &d->list.entries[s->entry];
  if (item != NULL) {
    child->plan = item->leaf == NULL ? item : NULL;
    child->source = item->leaf;
    child->shown = mem_text(item->shown);
  } else {
    child->source = d->source;
    child->shown =
        joined(d->shown, d->shown_size, d->list.names + e->name, e->size);
  }
  if (child->shown != NULL) {
    child->shown_size = strlen(child->shown);
    return child;
  }
  repo_backup_directory_free(child);
  return NULL;
}

static void drop_subdirectories(directory *d, hand *h) {
  size_t count = d->sub_count;
  for (size_t i = d->sub_next; i < count; i++)
    repo_backup_entry_done(d, d->subs[i].entry, NULL, 0, h);
}

static void next_subdirectory(crew_job *job, void *hand_) {
  directory *d = (directory *)(void *)job;
  hand *h = hand_;
  if (repo_backup_ends(d->b)) {
    drop_subdirectories(d, h);
    repo_backup_leave(d, h);
    return;
  }
  const subdirectory s = d->subs[d->sub_next++];
  directory *child = open_subdirectory(d, &s);
  bool more = d->sub_next < d->sub_count;
  if (more) repo_crew_push(d->b->crew, &d->job, CREW_DEEP);
  if (child != NULL) {
    work(child, h);
  } else {
    repo_backup_fail(d->b, error_no_memory());
    repo_backup_entry_done(d, s.entry, NULL, 0, h);
  }
  if (!more) repo_backup_leave(d, h);
}

void repo_backup_subdirectory(directory *d, size_t at, const repo_node *was,
                              cursor *k, hand *h) {
  if (d->sub_count == d->sub_room) {
    size_t room = d->sub_room * 2 + 8;
    subdirectory *subs = mem_grow(d->subs, room * sizeof *subs);
    if (subs == NULL) {
      repo_backup_fail(d->b, error_no_memory());
      repo_backup_entry_done(d, at, NULL, 0, h);
      return;
    }
    d->subs = subs;
    d->sub_room = room;
  }
  subdirectory *s = &d->subs[d->sub_count++];
  *s = (subdirectory){.entry = at};
  if (was == NULL) return;
  const char *raw;
  size_t size;
  repo_tree_reader_raw(k->reader, &raw, &size);
  s->before =
      (before){.has_tree = was->type == REPO_NODE_DIRECTORY && was->has_subtree,
               .was_there = was->type == REPO_NODE_DIRECTORY,
               .tree = was->subtree,
               .sum = repo_backup_sum(raw, size)};
}

static void begin_root(crew_job *job, void *hand_) {
  directory *d = (directory *)(void *)job;
  d->job.run = next_subdirectory;
  work(d, hand_);
}

void repo_backup_directory_begin(backup *b, const plan *root,
                                 const before *of) {
  directory *d = new_directory(b, NULL, 0, of);
  if (d != NULL) d->shown = mem_text("/");
  if (d == NULL || d->shown == NULL) {
    if (d != NULL) repo_backup_directory_free(d);
    repo_backup_fail(b, error_no_memory());
    return;
  }
  d->shown_size = 1;
  d->plan = root;
  d->job.run = begin_root;
  repo_crew_push(b->crew, &d->job, CREW_DEEP);
}
