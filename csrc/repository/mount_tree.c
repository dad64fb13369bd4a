/*
** mount_tree: what is where. A node lasts as long as the kernel knows it; of
** all else only blobs are remembered, so many bytes of them.
*/
#include <errno.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#include "repository/mount_parts.h"

int mount_errno(mounted *m, error *e) {
  int number = e->code == SAROS_E_OUTOFMEMORY ? ENOMEM : EIO;
  m->failures++;
  log_write(LOG_WARNING, "repository", "mounted at %s: %s", m->place.path,
            e->message);
  error_unref(e);
  return number;
}


/* ------------------------------------------------------------------
** Attributes
** ---------------------------------------------------------------- */

static uint64_t mix(uint64_t h, const void *data, size_t size) {
  for (size_t i = 0; i < size; i++)
    h = (h ^ ((const uint8_t *)data)[i]) * 1099511628211u;
  return h ^ h >> 31;
}

/* Two names of one file have one number; else it is that of the path. */
static uint64_t number_of(const mount_node *in, const char *name, size_t size,
                          const repo_node *n, size_t version) {
  uint64_t h = mix(1469598103934665603u, &version, sizeof version);
  if (n != NULL && n->type != REPO_NODE_DIRECTORY && n->links > 1) {
    h = mix(h, &n->inode, sizeof n->inode);
    h = mix(h, &n->device_id, sizeof n->device_id);
  } else {
    h = mix(mix(h, &in->attr.ino, sizeof in->attr.ino), name, size);
  }
  return h > FUSE_ROOT_ID ? h : h + 2;
}

static void put_time(uint64_t *seconds, uint32_t *nanos, struct timespec t) {
  *seconds = (uint64_t)t.tv_sec;
  *nanos = (uint32_t)t.tv_nsec;
}

static struct fuse_attr directory_attr(uint64_t ino, struct timespec time) {
  struct fuse_attr a = {.ino = ino, .mode = S_IFDIR | 0555, .nlink = 2};
  put_time(&a.mtime, &a.mtimensec, time);
  put_time(&a.atime, &a.atimensec, time);
  put_time(&a.ctime, &a.ctimensec, time);
  return a;
}

static uint32_t device_number(uint64_t device) {
  unsigned high = major((dev_t)device), low = minor((dev_t)device);
  return (low & 0xFF) | high << 8 | (low & ~0xFFu) << 12;
}

static struct fuse_attr node_attr(const repo_node *n, uint64_t ino) {
  struct fuse_attr a = {.ino = ino,
                        .mode = repo_node_st_mode(n),
                        .uid = n->uid,
                        .gid = n->gid,
                        .blksize = 128 << 10};
  bool is_directory = n->type == REPO_NODE_DIRECTORY;
  a.size = n->type == REPO_NODE_SYMLINK ? n->target_size : n->size;
  a.blocks = (a.size + 511) / 512;
  a.nlink = is_directory          ? 2
            : n->links > 0xFFFFFF ? 0xFFFFFF
            : n->links > 0        ? (uint32_t)n->links
                                  : 1;
  if (n->type == REPO_NODE_DEVICE || n->type == REPO_NODE_CHARACTER)
    a.rdev = device_number(n->device);
  put_time(&a.mtime, &a.mtimensec, n->mtime);
  put_time(&a.atime, &a.atimensec, n->atime);
  put_time(&a.ctime, &a.ctimensec, n->ctime);
  return a;
}


/* ------------------------------------------------------------------
** Nodes
** ---------------------------------------------------------------- */

static mount_node **chain_of(mounted *m, const mount_node *in, const char *name,
                             size_t size) {
  uint64_t h = mix(mix(1, &in, sizeof(mount_node *)), name, size);
  return &m->chains[h % MOUNT_CHAINS];
}

/* With the lock held; one more reference. */
static mount_node *find_node(mounted *m, const mount_node *in, const char *name,
                             size_t size) {
  mount_node *n = *chain_of(m, in, name, size);
  while (n != NULL && (n->parent != in || n->name_size != size ||
                       memcmp(n->name, name, size) != 0))
    n = n->chain;
  if (n != NULL) n->refs++;
  return n;
}

static void free_node(mount_node *n) {
  mem_free(n->content);
  mem_free(n->target);
  mem_free(n);
}

static mount_node *new_node(const char *name, size_t size) {
  mount_node *n = mem_alloc(sizeof *n + size + 1);
  if (n == NULL) return NULL;
  memset(n, 0, sizeof *n);
  memcpy(n->name, name, size);
  n->name[size] = '\0';
  n->name_size = size;
  n->refs = 1;
  return n;
}

/* Another thread may have been faster: then that one's is taken. */
static mount_node *keep_node(mounted *m, mount_node *in, mount_node *n) {
  pthread_mutex_lock(&m->lock);
  mount_node *there = find_node(m, in, n->name, n->name_size);
  if (there == NULL) {
    mount_node **chain = chain_of(m, in, n->name, n->name_size);
    n->parent = in;
    n->chain = *chain;
    *chain = n;
    in->refs++;
  }
  pthread_mutex_unlock(&m->lock);
  if (there == NULL) return n;
  free_node(n);
  return there;
}

void mount_forget(mounted *m, mount_node *n, uint64_t count) {
  pthread_mutex_lock(&m->lock);
  while (n != NULL && n != m->root) {
    n->refs = n->refs > count ? n->refs - count : 0;
    if (n->refs > 0) break;
    mount_node **at = chain_of(m, n->parent, n->name, n->name_size);
    while (*at != n) at = &(*at)->chain;
    *at = n->chain;
    mount_node *parent = n->parent;
    free_node(n);
    n = parent;
    count = 1;
  }
  pthread_mutex_unlock(&m->lock);
}

error *mount_root_make(mounted *m) {
  struct timespec now;
  clock_gettime(CLOCK_REALTIME, &now);
  m->chains = mem_zero(MOUNT_CHAINS * sizeof(mount_node *));
  m->root = new_node("", 0);
  if (m->chains == NULL || m->root == NULL) return error_no_memory();
  m->root->kind = MOUNT_NAMES;
  m->root->attr = directory_attr(FUSE_ROOT_ID, now);
  return NULL;
}

void mount_nodes_free(mounted *m) {
  for (size_t i = 0; m->chains != NULL && i < MOUNT_CHAINS; i++)
    while (m->chains[i] != NULL) {
      mount_node *next = m->chains[i]->chain;
      free_node(m->chains[i]);
      m->chains[i] = next;
    }
  mem_free(m->chains);
  mount_marks_free(m);
  if (m->root != NULL) free_node(m->root);
}


/* ------------------------------------------------------------------
** What is in a directory
** ---------------------------------------------------------------- */

static mount_node *node_of_name(const mounted *m, const mount_node *in,
                                const mount_name *name) {
  size_t size = strlen(name->name);
  mount_node *n = new_node(name->name, size);
  if (n == NULL) return NULL;
  uint64_t ino = number_of(in, name->name, size, NULL, 0);
  struct timespec time = {(time_t)in->attr.mtime, 0};
  n->number = name->number;
  n->kind = MOUNT_NAMES;
  if (name->kind == MOUNT_NAME_VERSION) {
    n->kind = MOUNT_TREE;
    n->tree = m->versions[name->number]->tree;
    time = m->versions[name->number]->time;
  }
  n->attr = directory_attr(ino, time);
  if (name->kind != MOUNT_NAME_LINK) return n;
  n->kind = MOUNT_LINK;
  n->attr.mode = S_IFLNK | 0777;
  n->attr.nlink = 1;
  n->attr.size = strlen(name->target);
  n->target = mem_text(name->target);
  if (n->target != NULL) return n;
  free_node(n);
  return NULL;
}

/* NULL: no memory. */
static mount_node *node_of_node(const mount_node *in, const repo_node *from) {
  mount_node *n = new_node(from->name, from->name_size);
  bool good = n != NULL;
  if (!good) return NULL;
  n->number = in->number;
  n->attr = node_attr(
      from, number_of(in, from->name, from->name_size, from, in->number));
  n->kind = from->type == REPO_NODE_FILE        ? MOUNT_FILE
            : from->type == REPO_NODE_DIRECTORY ? MOUNT_TREE
            : from->type == REPO_NODE_SYMLINK   ? MOUNT_LINK
                                                : MOUNT_OTHER;
  n->has_attributes = from->attribute_count > 0;
  n->tree = from->subtree; /* without one it is all zero, and nowhere */
  if (!from->has_subtree) memset(&n->tree, 0, sizeof n->tree);
  if (n->kind == MOUNT_FILE && from->content_count > 0) {
    n->content = mem_alloc(from->content_count * sizeof *n->content);
    good = n->content != NULL;
    if (good)
      memcpy(n->content, from->content,
             from->content_count * sizeof *n->content);
    n->content_count = from->content_count;
  }
  if (n->kind == MOUNT_LINK) {
    n->target =
        mem_bytes(from->target_size > 0 ? from->target : "", from->target_size);
    good = n->target != NULL;
  }
  if (good) return n;
  free_node(n);
  return NULL;
}

static int keep(mounted *m, mount_node *in, mount_node *n, mount_node **found) {
  if (n == NULL) return ENOMEM;
  *found = keep_node(m, in, n);
  return 0;
}

static int look_in_names(mounted *m, mount_node *in, const char *name,
                         mount_node **found) {
  const mount_names *d = &m->layout.list[in->number];
  for (size_t i = 0; i < d->count; i++)
    if (strcmp(d->list[i].name, name) == 0)
      return keep(m, in, node_of_name(m, in, &d->list[i]), found);
  return ENOENT;
}

typedef int (*use_node)(mounted *m, mount_node *in, const repo_node *n,
                        void *context);

/* Calls with what has that name in a tree; ENOENT: nothing has. */
static int with_node(mounted *m, mount_node *in, const char *name, size_t size,
                     use_node use, void *context) {
  repo_bytes *bytes;
  repo_node n;
  int order = -1, number = ENOENT;
  error *e = repo_blobs_load(m->blobs, REPO_TREE, &in->tree, &bytes, &m->stop);
  if (e != NULL) return mount_errno(m, e);
  repo_tree_reader *r = repo_tree_reader_new(bytes->data, bytes->size);
  if (r == NULL) e = error_no_memory();
  mount_marks *marks = e == NULL ? mount_marks_take(m, &in->tree, bytes) : NULL;
  if (marks != NULL) e = mount_marks_go(marks, r, name, size);
  mount_marks_give(m, marks);
  while (e == NULL && order < 0 && mount_next_node(r, &n, &e))
    order = repo_node_name_compare(n.name, n.name_size, name, size);
  if (e != NULL)
    number = mount_errno(m, e);
  else if (order == 0 && n.type != REPO_NODE_OTHER)
    number = use(m, in, &n, context);
  repo_tree_reader_free(r);
  repo_bytes_free(m->blobs, bytes);
  return number;
}

static int take_node(mounted *m, mount_node *in, const repo_node *n,
                     void *found) {
  return keep(m, in, node_of_node(in, n), found);
}

int mount_look_up(mounted *m, mount_node *in, const char *name, size_t size,
                  mount_node **found) {
  if (in->kind != MOUNT_NAMES && in->kind != MOUNT_TREE) return ENOTDIR;
  pthread_mutex_lock(&m->lock);
  *found = find_node(m, in, name, size);
  pthread_mutex_unlock(&m->lock);
  if (*found != NULL) return 0;
  return in->kind == MOUNT_NAMES
             ? look_in_names(m, in, name, found)
             : with_node(m, in, name, size, take_node, found);
}

typedef struct attribute_wanted {
  const char *name;
  buffer *b;
} attribute_wanted;

static int take_attribute(mounted *m, mount_node *in, const repo_node *n,
                          void *context) {
  const attribute_wanted *w = context;
  (void)m;
  (void)in;
  for (size_t i = 0; i < n->attribute_count; i++) {
    const repo_attribute *a = &n->attributes[i];
    if (w->name == NULL) {
      buffer_put(w->b, a->name, strlen(a->name) + 1);
    } else if (strcmp(a->name, w->name) == 0) {
      buffer_put(w->b, a->data, a->size);
      return w->b->failed ? ENOMEM : 0;
    }
  }
  if (w->b->failed) return ENOMEM;
  return w->name == NULL ? 0 : ENODATA;
}

int mount_attribute(mounted *m, const mount_node *n, const char *wanted,
                    buffer *b) {
  attribute_wanted w = {wanted, b};
  if (!n->has_attributes || n->parent == NULL)
    return wanted == NULL ? 0 : ENODATA;
  return with_node(m, n->parent, n->name, n->name_size, take_attribute, &w);
}


/* ------------------------------------------------------------------
** Through a directory
** ---------------------------------------------------------------- */

static int rewind_list(mounted *m, mount_listing *l) {
  repo_tree_reader_free(l->reader);
  l->reader = repo_tree_reader_new(l->bytes->data, l->bytes->size);
  l->next = 0;
  l->has_node = false;
  return l->reader != NULL ? 0 : mount_errno(m, error_no_memory());
}

static void free_listing(mounted *m, mount_listing *l) {
  repo_tree_reader_free(l->reader);
  if (l->bytes != NULL) repo_bytes_free(m->blobs, l->bytes);
  pthread_mutex_destroy(&l->lock);
  mem_free(l);
}

void mount_handle_keep(mounted *m, mount_handle *h) {
  pthread_mutex_lock(&m->lock);
  h->next = m->open;
  h->link = &m->open;
  if (m->open != NULL) m->open->link = &h->next;
  m->open = h;
  pthread_mutex_unlock(&m->lock);
}

void mount_handle_close(mounted *m, mount_handle *h) {
  pthread_mutex_lock(&m->lock);
  *h->link = h->next;
  if (h->next != NULL) h->next->link = h->link;
  pthread_mutex_unlock(&m->lock);
  if (h->is_listing)
    free_listing(m, (mount_listing *)h);
  else
    mem_free(h);
}

int mount_list_open(mounted *m, mount_node *n, mount_listing **list) {
  if (n->kind != MOUNT_NAMES && n->kind != MOUNT_TREE) return ENOTDIR;
  mount_listing *l = mem_zero(sizeof *l);
  int number = 0;
  if (l == NULL) return ENOMEM;
  pthread_mutex_init(&l->lock, NULL);
  l->of = n;
  if (n->kind == MOUNT_TREE) {
    error *e =
        repo_blobs_load(m->blobs, REPO_TREE, &n->tree, &l->bytes, &m->stop);
    number = e != NULL ? mount_errno(m, e) : rewind_list(m, l);
  }
  if (number == 0) {
    l->handle.is_listing = true;
    mount_handle_keep(m, &l->handle);
    *list = l;
  } else {
    free_listing(m, l);
  }
  return number;
}

/* Until l->node is that one. */
static int go_to(mounted *m, mount_listing *l, uint64_t number) {
  error *e = NULL;
  if (l->has_node && l->next == number + 1) return 0;
  if (l->next > number) {
    int failed = rewind_list(m, l);
    if (failed != 0) return failed;
  }
  do {
    l->has_node = mount_next_node(l->reader, &l->node, &e);
    if (e != NULL) return mount_errno(m, e);
    if (!l->has_node) return ENOENT;
    if (l->node.type != REPO_NODE_OTHER) l->next++;
  } while (l->next <= number);
  return 0;
}

static const mount_name *name_at(const mounted *m, const mount_listing *l,
                                 uint64_t number) {
  const mount_names *d = &m->layout.list[l->of->number];
  return number < d->count ? &d->list[number] : NULL;
}

int mount_list_at(mounted *m, mount_listing *l, uint64_t number,
                  mount_entry *entry) {
  if (l->of->kind == MOUNT_NAMES) {
    const mount_name *name = name_at(m, l, number);
    if (name == NULL) return ENOENT;
    size_t size = strlen(name->name);
    *entry = (mount_entry){name->name, size,
                           number_of(l->of, name->name, size, NULL, 0),
                           name->kind == MOUNT_NAME_LINK ? S_IFLNK : S_IFDIR};
    return 0;
  }
  int failed = go_to(m, l, number);
  if (failed != 0) return failed;
  const repo_node *n = &l->node;
  *entry =
      (mount_entry){n->name, n->name_size,
                    number_of(l->of, n->name, n->name_size, n, l->of->number),
                    repo_node_st_mode(n)};
  return 0;
}

int mount_list_enter(mounted *m, mount_listing *l, uint64_t number,
                     mount_node **n) {
  if (l->of->kind == MOUNT_NAMES)
    return keep(m, l->of, node_of_name(m, l->of, name_at(m, l, number)), n);
  return keep(m, l->of, node_of_node(l->of, &l->node), n);
}
