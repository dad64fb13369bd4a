/*
** node_restore: what a node says, given to a file. First the owner, because a
** change of it takes away set-id bits and capabilities; the mode last, because
** it may take our own right to the rest away. A name is opened once, as a path,
** and all is done to what was opened: whoever puts a link in its place
** meanwhile gains nothing.
*/
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "repository/node.h"
#include "repository/node_file.h"

#define LIST_BYTES ((size_t)65536)

/* One file, and how it went. */
typedef struct giving {
  repo_at at; /* open: its name is NULL */
  const repo_node *node;
  uint32_t mode; /* that it may have */
  bool moved;    /* something was done that may have changed its mode */
  unsigned lacks;
  error *first; /* that went wrong */
} giving;

static void went_wrong(giving *g, const char *what) {
  if (g->first == NULL)
    g->first = error_of_errno(SAROS_FACADE_SAROS, errno, what, NULL);
}

/* We may not, or there is no such thing here: no reason to call a restore a
   failure. */
static bool is_tolerated(int number) {
  return number == EPERM || number == EACCES || number == EOPNOTSUPP ||
         number == EINVAL || number == ENOSYS;
}


/* ------------------------------------------------------------------
** Owner
** ---------------------------------------------------------------- */

static bool chown_to(giving *g, uid_t uid, gid_t gid) {
  int flags = AT_EMPTY_PATH | AT_SYMLINK_NOFOLLOW;
  g->moved = true;
  return fchownat(g->at.fd, "", uid, gid, flags) == 0;
}

static void give_owner(giving *g, const struct statx *now) {
  const repo_node *n = g->node;
  if (now->stx_uid == n->uid && now->stx_gid == n->gid) return;
  if (chown_to(g, n->uid, n->gid)) return;
  if (!is_tolerated(errno)) {
    went_wrong(g, "cannot set the owner of");
  } else {
    g->lacks |= REPO_LACKS_OWNER;
    /* Set-uid of somebody else must not become set-uid of ours. */
    g->mode &= ~(uint32_t)S_ISUID;
  }
  if (now->stx_gid != n->gid && !chown_to(g, (uid_t)-1, n->gid))
    g->mode &= ~(uint32_t)S_ISGID;
}


/* ------------------------------------------------------------------
** Attributes
** ---------------------------------------------------------------- */

static bool is_expected(const repo_node *n, const char *name) {
  for (size_t i = 0; i < n->attribute_count; i++)
    if (strcmp(n->attributes[i].name, name) == 0) return true;
  return false;
}

static void set_attributes(giving *g) {
  for (size_t i = 0; i < g->node->attribute_count; i++) {
    const repo_attribute *a = &g->node->attributes[i];
    if (repo_file_is_double(a->name)) continue;
    g->moved = true;
    if (repo_file_set(g->at, a->name, a->data, a->size) == 0) continue;
    if (is_tolerated(errno))
      g->lacks |= REPO_LACKS_ATTRIBUTES;
    else
      went_wrong(g, "cannot set an extended attribute of");
  }
}

static void remove_attributes(giving *g) {
  ssize_t size = repo_file_list(g->at, NULL, 0);
  if (size <= 0) return; /* almost always */
  char *names = mem_alloc(LIST_BYTES);
  if (names == NULL) {
    errno = ENOMEM;
    went_wrong(g, "cannot list the extended attributes of");
    return;
  }
  size = repo_file_list(g->at, names, LIST_BYTES);
  for (ssize_t i = 0; i < size; i += (ssize_t)strlen(names + i) + 1) {
    const char *name = names + i;
    if (repo_file_is_double(name) || is_expected(g->node, name)) continue;
    g->moved = true;
    if (repo_file_remove(g->at, name) == 0 || errno == ENODATA) continue;
    if (is_tolerated(errno))
      g->lacks |= REPO_LACKS_ATTRIBUTES;
    else
      went_wrong(g, "cannot remove an extended attribute of");
  }
  mem_free(names);
}


/* ------------------------------------------------------------------
** Times and mode
** ---------------------------------------------------------------- */

static void give_times(giving *g) {
  struct timespec times[2] = {g->node->atime, g->node->mtime};
  if (utimensat(g->at.fd, "", times, AT_EMPTY_PATH) == 0) return;
  if (errno == EINVAL || errno == ENOENT) { /* before Linux 5.8 */
    repo_proc_path p = repo_proc_path_of(g->at);
    if (utimensat(AT_FDCWD, p.text, times, 0) == 0) return;
  }
  went_wrong(g, "cannot set the times of");
}

static void give_mode(giving *g, const struct statx *now) {
  struct statx then;
  if (g->node->type == REPO_NODE_SYMLINK) return; /* it has none */
  /* What ACL and owner have made of it decides, not what it was. */
  if (!g->moved || statx(g->at.fd, "", AT_EMPTY_PATH, STATX_MODE, &then) != 0)
    then = *now;
  if ((then.stx_mode & 07777u) == g->mode) return;
  repo_proc_path p = repo_proc_path_of(g->at);
  if (fchmod(g->at.fd, g->mode) == 0) return;
  if (errno == EBADF && chmod(p.text, g->mode) == 0) return;
  if (errno == EPERM || errno == EOPNOTSUPP)
    g->lacks |= REPO_LACKS_MODE;
  else
    went_wrong(g, "cannot set the mode of");
}


/* ------------------------------------------------------------------
** The whole
** ---------------------------------------------------------------- */

static error *wrong_type(const repo_node *n) {
  return repo_error(SAROS_E_CHANGED,
                    "it should be a %s and is not any more; what it is now "
                    "was left alone, restore it again",
                    repo_node_type_name(n->type));
}

static error *restore(int fd, const repo_node *node, unsigned *lacks) {
  giving g = {{fd, NULL}, node, node->mode & 07777u, false, 0, NULL};
  struct statx now;
  error *e = repo_node_stat(g.at, &now);
  if (e != NULL) return e;
  if (repo_node_type_of_mode(now.stx_mode) != node->type)
    return wrong_type(node);
  give_owner(&g, &now);
  set_attributes(&g);
  remove_attributes(&g);
  give_times(&g);
  give_mode(&g, &now);
  *lacks = g.lacks;
  return g.first;
}

error *repo_node_restore(repo_at at, const repo_node *node, unsigned *lacks) {
  *lacks = 0;
  if (at.name == NULL) return restore(at.fd, node, lacks);
  int fd = openat(at.fd, at.name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
  if (fd < 0)
    return error_of_errno(SAROS_FACADE_SAROS, errno, "cannot open", at.name);
  error *e = restore(fd, node, lacks);
  close(fd);
  return e;
}

error *repo_node_create(int directory, const char *name,
                        const repo_node *node) {
  int r = -1;
  switch (node->type) {
    case REPO_NODE_DIRECTORY: r = mkdirat(directory, name, 0700); break;
    case REPO_NODE_SYMLINK:
      /* An empty target is none, and the kernel says so: ENOENT. */
      r = symlinkat(node->target != NULL ? node->target : "", directory, name);
      break;
    case REPO_NODE_DEVICE:
      r = mknodat(directory, name, S_IFBLK | 0600, node->device);
      break;
    case REPO_NODE_CHARACTER:
      r = mknodat(directory, name, S_IFCHR | 0600, node->device);
      break;
    case REPO_NODE_FIFO: r = mknodat(directory, name, S_IFIFO | 0600, 0); break;
    case REPO_NODE_FILE:
    case REPO_NODE_SOCKET:
    case REPO_NODE_OTHER:
      return repo_error(SAROS_E_INVALIDARG, "a node of the type %s is not made",
                        repo_node_type_name(node->type));
  }
  if (r == 0) return NULL;
  return error_of_errno(SAROS_FACADE_SAROS, errno, "cannot make", name);
}
