/*
** node_file: extended attributes of what is open, open as a path only, or a
** name. There is no call for all three before Linux 6.13.
*/
#include "repository/node_file.h"

#include <errno.h>
#include <string.h>
#include <sys/xattr.h>

/* Whether the call for descriptors did not want this one: it is O_PATH. */
static bool is_path_only(repo_at at, ssize_t r) {
  return at.name == NULL && r < 0 && errno == EBADF;
}

static bool has_path(repo_at at, repo_proc_path *p) {
  *p = repo_proc_path_of(at);
  if (!p->is_good) errno = ENAMETOOLONG;
  return p->is_good;
}

ssize_t repo_file_list(repo_at at, char *names, size_t size) {
  repo_proc_path p;
  ssize_t r = -1;
  if (at.name == NULL) {
    r = flistxattr(at.fd, names, size);
    if (!is_path_only(at, r)) return r;
  }
  if (!has_path(at, &p)) return -1;
  return at.name != NULL ? llistxattr(p.text, names, size)
                         : listxattr(p.text, names, size);
}

ssize_t repo_file_get(repo_at at, const char *name, void *data, size_t size) {
  repo_proc_path p;
  ssize_t r = -1;
  if (at.name == NULL) {
    r = fgetxattr(at.fd, name, data, size);
    if (!is_path_only(at, r)) return r;
  }
  if (!has_path(at, &p)) return -1;
  return at.name != NULL ? lgetxattr(p.text, name, data, size)
                         : getxattr(p.text, name, data, size);
}

int repo_file_set(repo_at at, const char *name, const void *data, size_t size) {
  repo_proc_path p;
  int r = -1;
  if (at.name == NULL) {
    r = fsetxattr(at.fd, name, data, size, 0);
    if (!is_path_only(at, r)) return r;
  }
  if (!has_path(at, &p)) return -1;
  return at.name != NULL ? lsetxattr(p.text, name, data, size, 0)
                         : setxattr(p.text, name, data, size, 0);
}

int repo_file_remove(repo_at at, const char *name) {
  repo_proc_path p;
  int r = -1;
  if (at.name == NULL) {
    r = fremovexattr(at.fd, name);
    if (!is_path_only(at, r)) return r;
  }
  if (!has_path(at, &p)) return -1;
  return at.name != NULL ? lremovexattr(p.text, name)
                         : removexattr(p.text, name);
}

bool repo_file_is_double(const char *name) {
  return strncmp(name, "trusted.SGI_ACL_", 16) == 0;
}
