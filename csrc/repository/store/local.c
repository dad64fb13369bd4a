/*
** A directory as a store: finding, reading, removing. Every call works from a
** descriptor of the directory, and sees to it that this is what is at its path
** still: a disk that was taken away must not leave us writing to the directory
** it was mounted on.
*/
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "repository/store/local_parts.h"

static local *local_of(repo_store *s) {
  return (local *)s;
}


/* ------------------------------------------------------------------
** What went wrong
** ---------------------------------------------------------------- */

/* What a person can do about it, or NULL. */
static const char *advice_for(int number) {
  switch (number) {
    case ENOSPC:
    case EDQUOT:
      return "make room there and run it again: what is stored already is "
             "not stored twice";
    case EROFS:
      return "it is mounted read-only; what only reads needs no lock there "
             "(no_lock)";
    case EIO: return "the disk fails; the kernel's log says more (dmesg)";
    case ENODEV:
    case ENXIO:
    case ENOTCONN:
    case EHOSTDOWN:
    case ESTALE:
      return "its file system is gone; is the disk still connected, is the "
             "server still there?";
    case EACCES:
    case EPERM: return "run this as somebody who may do that";
    case EMFILE:
    case ENFILE: return "too many files are open; raise the limit (ulimit -n)";
    default: return NULL;
  }
}

error *repo_local_error(const local *l, int number, const char *what,
                        repo_file kind, const repo_id *id) {
  char file[96], reason[128];
  repo_file_describe(kind, id, file);
  const char *advice = advice_for(number);
  error *e =
      repo_error(code_of_errno(number), "cannot %s %s in %s: %s%s%s", what,
                 file, l->path, strerror_r(number, reason, sizeof reason),
                 advice != NULL ? ": " : "", advice != NULL ? advice : "");
  if (e != error_no_memory()) e->number = number;
  return e;
}

/* Not of one file: of the directory itself. */
static error *root_error(const local *l, int number, const char *what) {
  char reason[128];
  const char *advice = advice_for(number);
  error *e =
      repo_error(code_of_errno(number), "%s %s: %s%s%s", what, l->path,
                 strerror_r(number, reason, sizeof reason),
                 advice != NULL ? ": " : "", advice != NULL ? advice : "");
  if (e != error_no_memory()) e->number = number;
  return e;
}

static error *moved_error(const local *l) {
  error *e = repo_error(
      SAROS_E_CHANGED,
      "%s is another directory than it was when the repository was opened: "
      "something was mounted there, or is not mounted any more; nothing was "
      "written to it. Put it back, and open the repository again",
      l->path);
  if (e != error_no_memory()) {
    e->number = ESTALE;
    e->retryable = false; /* not by itself */
  }
  return e;
}


/* ------------------------------------------------------------------
** The directory
** ---------------------------------------------------------------- */

/* Above the three that a program of ours might inherit. */
static int open_root(const char *path) {
  int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0 || fd > 2) return fd;
  int higher = fcntl(fd, F_DUPFD_CLOEXEC, 3);
  int number = errno;
  close(fd);
  errno = number;
  return higher;
}

static error *ensure_open(local *l, int *root) {
  pthread_mutex_lock(&l->lock);
  if (l->root < 0) l->root = open_root(l->path);
  int number = errno;
  *root = l->root;
  pthread_mutex_unlock(&l->lock);
  if (*root >= 0) return NULL;
  return root_error(l, number, "there is no repository to be had in");
}

error *repo_local_root(local *l, int *root) {
  error *e = ensure_open(l, root);
  if (e != NULL) return e;
  struct stat held, there;
  if (fstat(*root, &held) != 0)
    return root_error(l, errno,
                      "the directory of the repository cannot be "
                      "reached any more:");
  if (stat(l->path, &there) != 0)
    return errno == ENOENT || errno == ENOTDIR
               ? moved_error(l)
               : root_error(l, errno,
                            "the directory of the repository cannot "
                            "be reached any more:");
  if (held.st_dev == there.st_dev && held.st_ino == there.st_ino) return NULL;
  return moved_error(l);
}

void repo_local_modes(int root, mode_t *file, mode_t *folder) {
  struct stat st;
  bool group = fstatat(root, "config", &st, 0) == 0 && (st.st_mode & 0040) != 0;
  *file = group ? 0440 : 0400;
  *folder = group ? 0770 : 0700;
}

void repo_local_name(repo_file kind, const repo_id *id,
                     char name[REPO_LOCAL_PATH]) {
  char text[REPO_ID_TEXT];
  if (kind == REPO_CONFIG) {
    memcpy(name, "config", sizeof "config");
    return;
  }
  repo_id_format(id, text);
  if (kind == REPO_PACKS)
    snprintf(name, REPO_LOCAL_PATH, "data/%.2s/%s", text, text);
  else
    snprintf(name, REPO_LOCAL_PATH, "%s/%s", repo_file_folder(kind), text);
}


/* ------------------------------------------------------------------
** Listing
** ---------------------------------------------------------------- */

typedef struct listing {
  local *l;
  repo_file kind;
  repo_store_each each;
  void *context;
  const repo_stop *stop;
} listing;

static error *stopped(void) {
  return repo_error(SAROS_E_CANCELLED, "listing was cancelled");
}

/* One name. What is no file of a repository is somebody else's. Where the
   directory says what is one, only those are looked at of which the size is
   asked. */
static error *list_one(listing *g, int folder, const char *prefix,
                       const struct dirent *entry) {
  repo_id id;
  struct stat st;
  const char *name = entry->d_name;
  if (!repo_id_parse(&id, name, strlen(name))) return NULL;
  if (prefix != NULL && strncmp(name, prefix, 2) != 0) return NULL;
  bool sized = g->kind == REPO_PACKS || g->kind == REPO_LOCKS;
  if (entry->d_type == DT_REG && !sized) return g->each(g->context, &id, 0);
  if (fstatat(folder, name, &st, 0) != 0) {
    if (errno == ENOENT) return NULL; /* removed, just now */
    return repo_local_error(g->l, errno, "look at", g->kind, &id);
  }
  if (!S_ISREG(st.st_mode)) return NULL;
  if (g->kind == REPO_LOCKS && st.st_size == 0) return NULL;
  return g->each(g->context, &id, (uint64_t)st.st_size);
}

static bool is_pack_folder(const char *name) {
  return strspn(name, "0123456789abcdef") == 2 && name[2] == '\0';
}

static error *list_folder(listing *g, int parent, const char *name,
                          const char *prefix);

static error *list_entries(listing *g, DIR *d, const char *prefix) {
  error *e = NULL;
  while (e == NULL) {
    errno = 0;
    const struct dirent *entry = readdir(d);
    if (entry == NULL) break;
    if (repo_stopped(g->stop)) return stopped();
    if (g->kind == REPO_PACKS && prefix == NULL) {
      if (is_pack_folder(entry->d_name))
        e = list_folder(g, dirfd(d), entry->d_name, entry->d_name);
    } else {
      e = list_one(g, dirfd(d), prefix, entry);
    }
    errno = 0;
  }
  if (e == NULL && errno != 0)
    e = root_error(g->l, errno, "cannot list what is in");
  return e;
}

/* One that is not there is empty: git, and some copying programs, keep no
   empty directories. */
static error *list_folder(listing *g, int parent, const char *name,
                          const char *prefix) {
  int fd = openat(parent, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0 && (errno == ENOENT || (errno == ENOTDIR && prefix != NULL)))
    return NULL;
  DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
  if (d == NULL) {
    error *e = root_error(g->l, errno, "cannot list what is in");
    if (fd >= 0) close(fd);
    return e;
  }
  error *e = list_entries(g, d, prefix);
  closedir(d);
  return e;
}

static error *local_list(repo_store *s, repo_file kind, repo_store_each each,
                         void *context, const repo_stop *stop) {
  int root;
  listing g = {local_of(s), kind, each, context, stop};
  error *e = repo_local_root(g.l, &root);
  if (e != NULL) return e;
  return list_folder(&g, root, repo_file_folder(kind), NULL);
}


/* ------------------------------------------------------------------
** Reading
** ---------------------------------------------------------------- */

/* Open, and what it is. A fifo with such a name must not keep us waiting. What
   was opened is where it was when the repository was opened, whatever lies over
   that now: only of what cannot be found is asked why. */
static error *open_file(local *l, repo_file kind, const repo_id *id, int *fd,
                        struct stat *st) {
  char name[REPO_LOCAL_PATH];
  int root;
  error *e = ensure_open(l, &root);
  if (e != NULL) return e;
  repo_local_name(kind, id, name);
  *fd = openat(root, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  int number = *fd < 0 ? errno : 0;
  if (*fd < 0 && (e = repo_local_root(l, &root)) != NULL) return e;
  if (*fd < 0) return repo_local_error(l, number, "read", kind, id);
  number = fstat(*fd, st) != 0 ? errno : 0;
  if (number == 0 && S_ISREG(st->st_mode)) return NULL;
  close(*fd);
  if (number != 0) return repo_local_error(l, number, "read", kind, id);
  char file[96];
  repo_file_describe(kind, id, file);
  return repo_error(SAROS_E_DAMAGED, "%s in %s is not a file", file, l->path);
}

static error *too_short(const local *l, repo_file kind, const repo_id *id,
                        uint64_t size, uint64_t wanted) {
  char file[96];
  repo_file_describe(kind, id, file);
  return repo_error(SAROS_E_DAMAGED,
                    "%s in %s ends after %llu bytes, and %llu are needed: it "
                    "is damaged",
                    file, l->path, (unsigned long long)size,
                    (unsigned long long)wanted);
}

/* Reads so many bytes; *got is less at the end of the file. 0 or an errno. */
static int read_all(int fd, uint64_t offset, char *into, size_t size,
                    size_t *got) {
  *got = 0;
  while (*got < size) {
    ssize_t n = pread(fd, into + *got, size - *got, (off_t)(offset + *got));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return errno;
    if (n == 0) break;
    *got += (size_t)n;
  }
  return 0;
}

static error *local_read(repo_store *s, repo_file kind, const repo_id *id,
                         uint64_t offset, size_t size, void *into,
                         const repo_stop *stop) {
  local *l = local_of(s);
  struct stat st = {0};
  size_t got;
  int fd = -1;
  (void)stop;
  error *e = open_file(l, kind, id, &fd, &st);
  if (e != NULL) return e;
  int number = read_all(fd, offset, into, size, &got);
  close(fd);
  if (number != 0) return repo_local_error(l, number, "read", kind, id);
  if (got == size) return NULL;
  return too_short(l, kind, id, (uint64_t)st.st_size, offset + size);
}

static error *too_long(const local *l, repo_file kind, const repo_id *id,
                       size_t most) {
  char file[96];
  repo_file_describe(kind, id, file);
  return repo_error(SAROS_E_DAMAGED,
                    "%s in %s is longer than the %zu bytes that one may have: "
                    "it is damaged",
                    file, l->path, most);
}

static error *local_load(repo_store *s, repo_file kind, const repo_id *id,
                         size_t most, buffer *b, const repo_stop *stop) {
  local *l = local_of(s);
  struct stat st = {0};
  size_t got = 0;
  int fd = -1;
  (void)stop;
  error *e = open_file(l, kind, id, &fd, &st);
  if (e != NULL) return e;
  size_t size = (size_t)st.st_size;
  char *room = NULL;
  if ((uint64_t)st.st_size > most)
    e = too_long(l, kind, id, most);
  else if ((room = buffer_room(b, size)) == NULL)
    e = error_no_memory();
  int number = e == NULL ? read_all(fd, 0, room, size, &got) : 0;
  close(fd);
  if (number != 0) e = repo_local_error(l, number, "read", kind, id);
  if (e != NULL) return e;
  if (got != size) return too_short(l, kind, id, got, size);
  b->size += size;
  b->data[b->size] = '\0';
  return NULL;
}

static error *local_size(repo_store *s, repo_file kind, const repo_id *id,
                         uint64_t *size, const repo_stop *stop) {
  local *l = local_of(s);
  char name[REPO_LOCAL_PATH];
  struct stat st;
  int root;
  (void)stop;
  error *e = repo_local_root(l, &root);
  if (e != NULL) return e;
  repo_local_name(kind, id, name);
  if (fstatat(root, name, &st, 0) != 0)
    return repo_local_error(l, errno, "look at", kind, id);
  *size = (uint64_t)st.st_size;
  return NULL;
}


/* ------------------------------------------------------------------
** Removing
** ---------------------------------------------------------------- */

/* What is removed afterwards may be what these have named: they must be gone
   for good first. Of a pack or a lock nobody minds if it comes back. */
static bool must_stay_gone(repo_file kind) {
  return kind == REPO_INDEXES || kind == REPO_SNAPSHOTS || kind == REPO_KEYS ||
         kind == REPO_CONFIG;
}

static error *local_remove(repo_store *s, repo_file kind, const repo_id *id,
                           const repo_stop *stop) {
  local *l = local_of(s);
  char name[REPO_LOCAL_PATH];
  int root;
  (void)stop;
  error *e = repo_local_root(l, &root);
  if (e != NULL) return e;
  repo_local_name(kind, id, name);
  if (unlinkat(root, name, 0) != 0)
    return errno == ENOENT ? NULL
                           : repo_local_error(l, errno, "remove", kind, id);
  if (!l->durable || !must_stay_gone(kind)) return NULL;
  int number = repo_local_sync_folder(
      root, kind == REPO_CONFIG ? "." : repo_file_folder(kind));
  return number == 0 ? NULL : repo_local_error(l, number, "remove", kind, id);
}


/* ------------------------------------------------------------------
** Opening
** ---------------------------------------------------------------- */

/* While something writes there the file system is not to be frozen. */
static void local_busy(repo_store *s, bool begins) {
  local *l = local_of(s);
  int root;
  if (begins) error_unref(ensure_open(l, &root));
  pthread_mutex_lock(&l->lock);
  if (begins && l->busy++ == 0 && l->root >= 0)
    l->hold = saros_device_hold(l->root, "a backup", l->path);
  if (!begins && --l->busy == 0) {
    saros_device_release(l->hold);
    l->hold = NULL;
  }
  pthread_mutex_unlock(&l->lock);
}

/* Of the kernel's own: what lies behind a network has caches. */
static bool local_at_once(repo_store *s) {
  static const unsigned long own[] = {EXT4_SUPER_MAGIC,      XFS_SUPER_MAGIC,
                                      BTRFS_SUPER_MAGIC,     TMPFS_MAGIC,
                                      OVERLAYFS_SUPER_MAGIC, F2FS_SUPER_MAGIC};
  struct statfs fs;
  int root;
  error *e = repo_local_root(local_of(s), &root);
  if (e != NULL) {
    error_unref(e);
    return false;
  }
  if (fstatfs(root, &fs) != 0) return false;
  for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
    if ((unsigned long)fs.f_type == own[i]) return true;
  return false;
}

static void local_close(repo_store *s) {
  local *l = local_of(s);
  saros_device_release(l->hold);
  if (l->root >= 0) close(l->root);
  pthread_mutex_destroy(&l->lock);
  mem_free(l->location);
  mem_free(l->path);
  mem_free(l);
}

static const repo_store_way way = {.name = "local",
                                   .create = repo_local_create,
                                   .list = local_list,
                                   .read = local_read,
                                   .load = local_load,
                                   .save = repo_local_save,
                                   .size = local_size,
                                   .remove = local_remove,
                                   .busy = local_busy,
                                   .settle = repo_local_settle,
                                   .at_once = local_at_once,
                                   .close = local_close};

/* It may be used when the process is elsewhere. */
static char *absolute(const char *path, error **e) {
  char here[4096];
  char *joined = NULL;
  if (*path == '/') {
    joined = mem_text(path);
  } else if (getcwd(here, sizeof here) == NULL) {
    *e = repo_error(code_of_errno(errno),
                    "cannot tell where %s is: the directory this process is "
                    "in cannot be had",
                    path);
    return NULL;
  } else {
    joined = path_join(here, path);
  }
  char *clean = joined != NULL ? path_clean(joined) : NULL;
  mem_free(joined);
  if (clean == NULL) *e = error_no_memory();
  return clean;
}

repo_store *repo_store_local(const char *path, const value *options,
                             error **e) {
  *e = NULL;
  local *l = mem_zero(sizeof *l);
  if (l == NULL) {
    *e = error_no_memory();
    return NULL;
  }
  l->root = -1;
  pthread_mutex_init(&l->lock, NULL);
  l->durable = value_boolean(value_get(options, "durable"), true);
  int64_t connections = value_integer(value_get(options, "connections"), 2);
  l->store.connections =
      connections > 0 && connections <= 64 ? (unsigned)connections : 2;
  l->store.way = &way;
  l->location = mem_text(path);
  l->path = absolute(path, e);
  l->store.location = l->location;
  if (*e == NULL && l->location == NULL) *e = error_no_memory();
  if (*e == NULL) return &l->store;
  local_close(&l->store);
  return NULL;
}
