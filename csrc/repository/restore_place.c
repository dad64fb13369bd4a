/*
** restore_place: directories below the target. Each is opened from the target
** on, by a path in which the kernel follows no link and no "..": whatever
** somebody puts in the way meanwhile, what is written stays below the target.
** A kernel that does not know how (before 5.6, or behind a filter that is older
** than that) is asked name by name, which is slower, and as safe.
*/
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "repository/restore_parts.h"

#define PATH_AT_ONCE 3500 /* of 4096: deeper ones are opened in steps */

#ifdef SAROS_TEST
bool repo_place_test_in_steps;
#define IN_STEPS repo_place_test_in_steps
#else
#define IN_STEPS false
#endif

/* No name of it is "..": no tree has one. */
static int open_in_steps(int first, const char *path, int flags) {
  char name[256];
  for (int dir = first;;) {
    size_t size = strcspn(path, "/");
    bool last = path[size] == '\0';
    if (size >= sizeof name) {
      if (dir != first) close(dir);
      errno = ENAMETOOLONG;
      return -1;
    }
    memcpy(name, path, size);
    name[size] = '\0';
    int fd;
    do {
      fd = openat(
          dir, name,
          (last ? flags : O_PATH | O_DIRECTORY) | O_CLOEXEC | O_NOFOLLOW);
    } while (fd < 0 && errno == EINTR);
    int number = errno;
    if (dir != first) close(dir);
    errno = number;
    if (fd < 0 || last) return fd;
    dir = fd;
    path += size + 1;
  }
}

static int open_beneath(int dir, const char *path, int flags) {
  static _Atomic bool is_unknown; /* to this kernel */
  struct open_how how = {
      .flags = (uint64_t)(unsigned)(flags | O_CLOEXEC | O_NOFOLLOW),
      .resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS};
  while (!IN_STEPS && !is_unknown) {
    long fd = syscall(SYS_openat2, dir, path, &how, sizeof how);
    if (fd >= 0) return (int)fd;
    if (errno == ENOSYS)
      is_unknown = true;
    else if (errno != EINTR && errno != EAGAIN)
      return -1;
  }
  return open_in_steps(dir, path, flags);
}

/* Names from below the target to this one, the outermost last. */
static uint32_t ancestors(const restore *r, uint32_t f, uint32_t *list,
                          uint32_t room) {
  uint32_t count = 0;
  for (; f != 0 && count < room; f = r->folders[f].parent) list[count++] = f;
  return count;
}

#define DEEPEST (REPO_DEEPEST + 2)
#define REPO_DEEPEST 2048

int repo_place_open_once(restore *r, uint32_t f, int flags) {
  uint32_t list[DEEPEST];
  char path[PATH_AT_ONCE + 512];
  uint32_t left = ancestors(r, f, list, DEEPEST);
  int dir = r->root;
  if (left == 0) return open_beneath(dir, ".", flags);
  for (;;) {
    size_t size = 0;
    while (left > 0 && size < PATH_AT_ONCE) {
      const char *name = r->items[r->folders[list[--left]].item].name;
      size_t length = strlen(name);
      if (length > 255) {
        if (dir != r->root) close(dir);
        errno = ENAMETOOLONG;
        return -1;
      }
      if (size > 0) path[size++] = '/';
      memcpy(path + size, name, length);
      size += length;
    }
    path[size] = '\0';
    int fd = open_beneath(dir, path, left > 0 ? O_PATH | O_DIRECTORY : flags);
    int number = errno;
    if (dir != r->root) close(dir);
    errno = number;
    if (fd < 0 || left == 0) return fd;
    dir = fd;
  }
}

int repo_place_open(crew_mate *m, uint32_t f) {
  unsigned slot = f % FOLDERS_OPEN;
  if (m->open[slot].folder == f + 1) return m->open[slot].fd;
  int fd = repo_place_open_once(m->r, f, O_PATH | O_DIRECTORY);
  if (fd < 0) return -1;
  if (m->open[slot].folder != 0) close(m->open[slot].fd);
  m->open[slot].folder = f + 1;
  m->open[slot].fd = fd;
  return fd;
}

void repo_place_forget(crew_mate *m) {
  for (unsigned i = 0; i < FOLDERS_OPEN; i++) {
    if (m->open[i].folder != 0) close(m->open[i].fd);
    m->open[i].folder = 0;
  }
}


/* ------------------------------------------------------------------
** What is in the way
** ---------------------------------------------------------------- */

typedef struct removal {
  DIR *d;
  char *name;
} removal;

static int remove_one(int dir, const char *name, int *fd) {
  *fd = -1;
  if (unlinkat(dir, name, 0) == 0 || errno == ENOENT) return 0;
  if (errno != EISDIR && errno != EPERM) return errno;
  int number = errno;
  if (unlinkat(dir, name, AT_REMOVEDIR) == 0 || errno == ENOENT) return 0;
  if (errno == ENOTDIR) return number; /* a file we may not remove */
  if (errno != ENOTEMPTY && errno != EEXIST) return errno;
  *fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
  return *fd >= 0 ? 0 : errno;
}

/* A stack of open directories: what is removed may be nested deeply. */
static int remove_below(int first, const char *name) {
  removal *stack = NULL;
  size_t depth = 0, room = 0;
  int number = 0, fd = first;
  do {
    if (fd >= 0) {
      if (depth == room) {
        room = room > 0 ? room * 2 : 16;
        removal *bigger = mem_grow(stack, room * sizeof *stack);
        if (bigger == NULL) {
          number = ENOMEM;
          close(fd);
          break;
        }
        stack = bigger;
      }
      stack[depth].d = fdopendir(fd);
      stack[depth].name = mem_text(name);
      if (stack[depth].d == NULL || stack[depth].name == NULL) {
        number = ENOMEM;
        if (stack[depth].d != NULL)
          closedir(stack[depth].d);
        else
          close(fd);
        mem_free(stack[depth].name);
        break;
      }
      depth++;
      fd = -1;
    }
    removal *top = &stack[depth - 1];
    struct dirent *entry = readdir(top->d);
    if (entry != NULL) {
      name = entry->d_name;
      if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0) continue;
      number = remove_one(dirfd(top->d), name, &fd);
      continue;
    }
    closedir(top->d);
    depth--;
    if (depth > 0 &&
        unlinkat(dirfd(stack[depth - 1].d), top->name, AT_REMOVEDIR) != 0 &&
        errno != ENOENT)
      number = errno;
    mem_free(top->name);
  } while (depth > 0 && number == 0);
  while (depth > 0) {
    depth--;
    closedir(stack[depth].d);
    mem_free(stack[depth].name);
  }
  mem_free(stack);
  return number;
}

int repo_place_remove(int dir, const char *name) {
  int fd;
  int number = remove_one(dir, name, &fd);
  if (number != 0 || fd < 0) return number;
  number = remove_below(fd, name);
  if (number != 0) return number;
  return unlinkat(dir, name, AT_REMOVEDIR) == 0 || errno == ENOENT ? 0 : errno;
}

int repo_place_clear(restore *r, int dir, const char *name,
                     bool for_directory) {
  struct stat st;
  if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) != 0)
    return errno == ENOENT ? 0 : errno;
  if (r->overwrite == OVERWRITE_NEVER) return EEXIST;
  if (!S_ISDIR(st.st_mode))
    return !for_directory || unlinkat(dir, name, 0) == 0 ? 0 : errno;
  if (for_directory) return 0;
  if (r->removes) return repo_place_remove(dir, name);
  return unlinkat(dir, name, AT_REMOVEDIR) == 0 ? 0 : errno;
}


/* What a restore whose process was killed has left. Nobody else restores here:
   the target is locked. */
static void clean(int fd) {
  DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
  struct dirent *entry;
  if (d == NULL && fd >= 0) close(fd);
  if (d == NULL) return; /* whoever writes there will be told */
  while ((entry = readdir(d)) != NULL)
    if (strncmp(entry->d_name, FILE_PREFIX, sizeof FILE_PREFIX - 1) == 0)
      unlinkat(dirfd(d), entry->d_name, 0);
  closedir(d);
}


/* ------------------------------------------------------------------
** Making directories
** ---------------------------------------------------------------- */

error *repo_place_error(const char *what, int number) {
  error *e;
  char reason[128];
  const char *text = strerror_r(number, reason, sizeof reason);
  switch (number) {
    case ENOSPC:
    case EDQUOT:
      e = repo_error(code_of_errno(number),
                     "%s: %s; make room there, then restore again: what is "
                     "whole already is not written twice",
                     what, text);
      break;
    case ENOTEMPTY:
      e = repo_error(code_of_errno(number),
                     "%s: a directory with other files is in its place; move "
                     "it away, or let them be removed (delete)",
                     what);
      break;
    case EEXIST:
      e = repo_error(code_of_errno(number),
                     "%s: something else is in its place, and is not to be "
                     "overwritten",
                     what);
      break;
    case ELOOP:
    case ENOTDIR:
      e = repo_error(SAROS_E_REFUSED,
                     "%s: what should be a directory on the way is a link or "
                     "a file now: nothing was written through it",
                     what);
      break;
    default: return error_of_errno(SAROS_FACADE_SAROS, number, what, NULL);
  }
  if (e != error_no_memory()) e->number = number;
  return e;
}

/* Makes one directory, whose parent is there; 0 or an errno. */
static int make_one(restore *r, uint32_t f) {
  folder *o = &r->folders[f];
  const item *it = &r->items[o->item];
  struct stat st;
  if (r->root < 0 || (r->dry_run && r->folders[o->parent].fresh)) {
    o->fresh = true;
    return 0;
  }
  int parent = repo_place_open_once(r, o->parent, O_PATH | O_DIRECTORY);
  if (parent < 0) return errno;
  int number = 0;
  if (r->dry_run) {
    o->fresh = fstatat(parent, it->name, &st, AT_SYMLINK_NOFOLLOW) != 0 ||
               !S_ISDIR(st.st_mode);
  } else if (mkdirat(parent, it->name, 0700) == 0) {
    o->fresh = true;
  } else if (errno != EEXIST ||
             fstatat(parent, it->name, &st, AT_SYMLINK_NOFOLLOW) != 0) {
    number = errno;
  } else if (!S_ISDIR(st.st_mode)) {
    number = repo_place_clear(r, parent, it->name, true);
    if (number == 0 && mkdirat(parent, it->name, 0700) != 0) number = errno;
    o->fresh = number == 0;
  } else {
    clean(openat(parent, it->name,
                 O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  }
  close(parent);
  return number;
}

bool repo_place_make(restore *r, uint32_t f) {
  uint32_t list[DEEPEST];
  uint32_t count = ancestors(r, f, list, DEEPEST);
  while (count > 0) {
    folder *o = &r->folders[list[--count]];
    if (o->failed) return false;
    if (o->made) continue;
    int number = make_one(r, list[count]);
    o->made = number == 0;
    o->failed = number != 0;
    if (number != 0) {
      repo_restore_failed(
          r, o->item,
          repo_place_error("this directory cannot be made, so that "
                           "nothing in it was restored",
                           number));
      return false;
    }
    if (!o->fresh) continue;
    atomic_fetch_add(&r->directories, 1);
    repo_restore_list(r, o->item, "create");
  }
  return true;
}


/* ------------------------------------------------------------------
** The target
** ---------------------------------------------------------------- */

static error *target_error(const restore *r, int number, const char *what) {
  buffer b = BUFFER_EMPTY;
  buffer_text(&b, what);
  buffer_byte(&b, ' ');
  text_escape(&b, r->target, strlen(r->target));
  error *e = b.failed ? error_no_memory() : repo_place_error(b.data, number);
  buffer_free(&b);
  return e;
}

/* With all that is missing on the way; 0 or an errno. */
static int make_target(restore *r) {
  char *path = mem_text(r->target);
  int number = path != NULL ? 0 : ENOMEM;
  for (char *at = path; number == 0 && at != NULL;) {
    at = strchr(at + 1, '/');
    if (at != NULL) *at = '\0';
    if (*path != '\0' && mkdir(path, 0700) == 0)
      r->is_new = at == NULL;
    else if (errno != EEXIST && *path != '\0')
      number = errno;
    /* It may be there, and we may not be allowed to make one. */
    if (number != 0 && number != ENOENT && access(path, F_OK) == 0) number = 0;
    if (at != NULL) *at = '/';
  }
  mem_free(path);
  return number;
}

error *repo_place_target(restore *r) {
  int number = 0;
  if (!r->dry_run) number = make_target(r);
  if (number != 0) return target_error(r, number, "cannot make the directory");
  r->root = open(r->target, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (r->root < 0 && errno == ENOENT && r->dry_run) {
    r->is_new = true;
    return NULL;
  }
  if (r->root < 0) return target_error(r, errno, "cannot open the directory");
  if (r->dry_run) return NULL;
  if (flock(r->root, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
    return repo_error(SAROS_E_LOCKED,
                      "another restore writes to the same directory; wait for "
                      "it, or take another one");
  if (!r->is_new)
    clean(openat(r->root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  r->device = saros_device_hold(r->root, "a restore", r->target);
  return NULL;
}

void repo_place_end(restore *r) {
  if (r->device != NULL) saros_device_release(r->device);
  if (r->root >= 0) close(r->root);
  r->device = NULL;
  r->root = -1;
}
