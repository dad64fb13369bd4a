/*
** A directory as a store: writing. A file is written without a name, made
** durable, and then given its name (O_TMPFILE, linkat): whoever looks sees all
** of it or nothing, and nothing is left behind, whenever we die. Where the file
** system cannot do that it has a temporary name before, which everybody passes
** over.
*/
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

#include "repository/crypto.h"
#include "repository/store/local_parts.h"

#ifdef SAROS_TEST
_Atomic bool repo_local_plain;
#endif

/* One file on its way. */
typedef struct saving {
  local *l;
  int root;
  const char *name; /* below the root */
  const char *base; /* its last part */
  int folder, fd;
  char temporary[REPO_LOCAL_PATH + 16]; /* in the folder; "": it has no name */
  mode_t file_mode, folder_mode;
  bool replace; /* what is there already */
  bool durable;
} saving;


/* ------------------------------------------------------------------
** Folders
** ---------------------------------------------------------------- */

/* Opens the folder of a file, and makes it when it is not there. 0 or errno. */
static int open_folder(saving *s) {
  char path[REPO_LOCAL_PATH];
  int flags = O_RDONLY | O_DIRECTORY | O_CLOEXEC;
  const char *slash = strrchr(s->name, '/');
  s->base = slash != NULL ? slash + 1 : s->name;
  snprintf(path, sizeof path, "%.*s",
           slash != NULL ? (int)(slash - s->name) : 1,
           slash != NULL ? s->name : ".");
  s->folder = openat(s->root, path, flags);
  if (s->folder >= 0)
    return s->durable ? repo_local_be_sure(s->l, s->root, path) : 0;
  if (errno != ENOENT) return errno;
  int number =
      repo_local_make_folder(s->durable, s->root, path, s->folder_mode);
  if (number != 0) return number;
  s->folder = openat(s->root, path, flags);
  return s->folder >= 0 ? 0 : errno;
}


/* ------------------------------------------------------------------
** The bytes
** ---------------------------------------------------------------- */

static int open_temporary(saving *s) {
  uint8_t random[6];
  for (int i = 0; i < 100; i++) {
    error *e = repo_random(random, sizeof random);
    if (e != NULL) {
      error_unref(e);
      return EIO;
    }
    /* As restic calls them; no reader takes that for a name. */
    snprintf(s->temporary, sizeof s->temporary,
             "%s-tmp-%02x%02x%02x%02x%02x%02x", s->base, random[0], random[1],
             random[2], random[3], random[4], random[5]);
    s->fd = openat(s->folder, s->temporary,
                   O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (s->fd >= 0 || errno != EEXIST) break;
  }
  if (s->fd >= 0) return 0;
  s->temporary[0] = '\0';
  return errno;
}

static bool has_no_unnamed(int number) {
  return number == EOPNOTSUPP || number == EISDIR || number == EINVAL ||
         number == ENOSYS;
}

static int open_file(saving *s) {
  bool plain = s->l->plain;
#ifdef SAROS_TEST
  plain = plain || repo_local_plain;
#endif
  if (!plain) {
    s->fd = openat(s->folder, ".", O_WRONLY | O_TMPFILE | O_CLOEXEC, 0600);
    if (s->fd >= 0) return 0;
    if (!has_no_unnamed(errno)) return errno;
    s->l->plain = true;
  }
  return open_temporary(s);
}

/* As many of the pieces as one call takes, from the byte `done` of the first.
 */
static int fill(struct iovec *list, const repo_piece *pieces, size_t count,
                size_t done) {
  int used = 0;
  for (size_t i = 0; i < count && used < IOV_MAX; i++) {
    /* Not written through: iovec has no const. */
    list[used].iov_base = (void *)((uintptr_t)pieces[i].data + done);
    list[used++].iov_len = pieces[i].size - done;
    done = 0;
  }
  return used;
}

static int write_pieces(int fd, const repo_piece *pieces, size_t count,
                        const repo_stop *stop) {
  struct iovec list[IOV_MAX];
  size_t done = 0; /* of the first piece */
  while (count > 0) {
    if (done == pieces->size) {
      pieces++, count--;
      done = 0;
      continue;
    }
    if (repo_stopped(stop)) return ECANCELED;
    int number = repo_local_fails();
    ssize_t n =
        number != 0 ? -1 : writev(fd, list, fill(list, pieces, count, done));
    if (n < 0 && number == 0) number = errno;
    if (number == EINTR) continue;
    if (n < 0) return number;
    for (size_t left = (size_t)n; left > 0;) {
      size_t step = pieces->size - done;
      if (step > left) step = left;
      done += step;
      left -= step;
      if (done == pieces->size && left > 0) {
        pieces++, count--;
        done = 0;
      }
    }
  }
  return 0;
}

/* Some file systems know no permissions: theirs are as they are. */
static int protect(int fd, mode_t mode) {
  if (fchmod(fd, mode) == 0) return 0;
  return errno == EPERM || errno == EOPNOTSUPP || errno == ENOSYS ? 0 : errno;
}


/* ------------------------------------------------------------------
** The name
** ---------------------------------------------------------------- */

/* Names an unnamed file. Without /proc only some may. */
static int name_unnamed(const saving *s, const char *name) {
  char link[32];
  snprintf(link, sizeof link, "/proc/self/fd/%d", s->fd);
  if (linkat(AT_FDCWD, link, s->folder, name, AT_SYMLINK_FOLLOW) == 0) return 0;
  if (errno != ENOENT) return errno;
  return linkat(s->fd, "", s->folder, name, AT_EMPTY_PATH) == 0 ? 0 : errno;
}

/* Where there are no links: what must not be replaced is looked for. */
static int move_into(const saving *s) {
  if (renameat2(s->folder, s->temporary, s->folder, s->base,
                RENAME_NOREPLACE) == 0)
    return 0;
  if (errno != EINVAL && errno != ENOSYS) return errno;
  if (faccessat(s->folder, s->base, F_OK, 0) == 0) return EEXIST;
  return renameat(s->folder, s->temporary, s->folder, s->base) == 0 ? 0 : errno;
}

static int name_temporary(saving *s) {
  int number = 0;
  if (s->replace)
    number =
        renameat(s->folder, s->temporary, s->folder, s->base) != 0 ? errno : 0;
  else
    number = move_into(s);
  if (number == 0) s->temporary[0] = '\0';
  return number;
}

/* A name can only be replaced by something that has one. */
static int give_temporary_name(saving *s) {
  uint8_t random[8];
  error *e = repo_random(random, sizeof random);
  if (e != NULL) {
    error_unref(e);
    return EIO;
  }
  uint64_t n;
  memcpy(&n, random, sizeof n);
  snprintf(s->temporary, sizeof s->temporary, "%s-tmp-%llx", s->base,
           (unsigned long long)n);
  int number = name_unnamed(s, s->temporary);
  if (number != 0) s->temporary[0] = '\0';
  return number;
}

static int publish(saving *s) {
  if (s->temporary[0] == '\0') {
    if (!s->replace) return name_unnamed(s, s->base);
    int number = give_temporary_name(s);
    if (number != 0) return number;
  }
  return name_temporary(s);
}


/* ------------------------------------------------------------------
** All of it
** ---------------------------------------------------------------- */

/* Whether the whole of it is there already; then it is made durable, because
   who has written it may not have come so far. 0 or errno; one that is there
   and is not whole was cut off when a machine failed, and is replaced. */
static int find_there(saving *s, uint64_t size, bool *there) {
  struct stat st;
  *there = false;
  int fd = openat(s->folder, s->base, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
  if (fd < 0) return errno == ENOENT ? 0 : errno;
  int number = fstat(fd, &st) != 0 ? errno : 0;
  *there = number == 0 && S_ISREG(st.st_mode) && (uint64_t)st.st_size == size;
  if (*there) number = repo_local_sync(s->durable, fd);
  if (*there && number == 0) number = repo_local_sync(s->durable, s->folder);
  if (!*there) s->replace = true;
  close(fd);
  return number;
}

static int write_and_name(saving *s, const repo_piece *pieces, size_t count,
                          const repo_stop *stop) {
  int number = open_file(s);
  if (number == 0) number = write_pieces(s->fd, pieces, count, stop);
  if (number == 0) number = protect(s->fd, s->file_mode);
  if (number == 0) number = repo_local_sync(s->durable, s->fd);
  if (number == 0) number = publish(s);
  if (number == 0) number = repo_local_sync(s->durable, s->folder);
  return number;
}

static uint64_t size_of(const repo_piece *pieces, size_t count) {
  uint64_t size = 0;
  for (size_t i = 0; i < count; i++) size += pieces[i].size;
  return size;
}

static int save(saving *s, bool named_by_content, const repo_piece *pieces,
                size_t count, const repo_stop *stop) {
  bool there = false;
  int number = open_folder(s);
  if (number == 0 && named_by_content)
    number = find_there(s, size_of(pieces, count), &there);
  if (number == 0 && !there) {
    number = write_and_name(s, pieces, count, stop);
    /* Somebody was quicker with the same bytes. */
    if (number == EEXIST && named_by_content)
      number = find_there(s, size_of(pieces, count), &there);
  }
  if (s->temporary[0] != '\0') unlinkat(s->folder, s->temporary, 0);
  if (s->fd >= 0 && close(s->fd) != 0 && number == 0 && !there)
    number = errno == EINTR ? 0 : errno;
  if (s->folder >= 0) close(s->folder);
  return number;
}

error *repo_local_save(repo_store *store, repo_file kind, const repo_id *id,
                       const repo_piece *pieces, size_t count, bool replace,
                       const repo_stop *stop) {
  local *l = (local *)store;
  char name[REPO_LOCAL_PATH];
  saving s = {.l = l,
              .name = name,
              .folder = -1,
              .fd = -1,
              /* A lock need not outlive a machine that fails: nor does who
                 holds it. Then it is empty, and so none. */
              .durable = l->durable && kind != REPO_LOCKS,
              .replace = replace && kind == REPO_CONFIG};
  error *e = repo_local_root(l, &s.root);
  if (e != NULL) return e;
  repo_local_name(kind, id, name);
  repo_local_modes(s.root, &s.file_mode, &s.folder_mode);
  /* A version relies on what others have named this moment. */
  int number = 0;
  if (s.durable && kind == REPO_SNAPSHOTS)
    number = repo_local_sync_folder(s.root, repo_file_folder(REPO_INDEXES));
  if (number == 0) number = save(&s, kind != REPO_CONFIG, pieces, count, stop);
  if (number == ECANCELED)
    return repo_error(SAROS_E_CANCELLED, "storing was cancelled");
  if (number != 0) return repo_local_error(l, number, "store", kind, id);
  return NULL;
}


/* ------------------------------------------------------------------
** A new repository
** ---------------------------------------------------------------- */

static error *found_one(void *context, const repo_id *id, uint64_t size) {
  (void)id, (void)size;
  *(bool *)context = true;
  return NULL;
}

/* Also a part of one: its config may have been lost. */
static error *is_empty(local *l, int root) {
  bool found = faccessat(root, "config", F_OK, 0) == 0;
  error *e = NULL;
  if (!found && errno != ENOENT)
    return repo_local_error(l, errno, "look for", REPO_CONFIG, NULL);
  if (!found)
    e = l->store.way->list(&l->store, REPO_KEYS, found_one, &found, NULL);
  if (e == NULL && !found)
    e = l->store.way->list(&l->store, REPO_SNAPSHOTS, found_one, &found, NULL);
  if (e != NULL || !found) return e;
  return repo_error(SAROS_E_REFUSED,
                    "there is a repository in %s already; open it, or take "
                    "another directory",
                    l->path);
}

/* All directories above it too, as mkdir -p does. */
static int make_path(const local *l) {
  char *path = mem_text(l->path);
  if (path == NULL) return ENOMEM;
  int number = 0;
  for (char *at = path + 1; number == 0; at++) {
    if (*at != '/' && *at != '\0') continue;
    char end = *at;
    *at = '\0';
    bool made = mkdir(path, 0700) == 0;
    if (!made && errno != EEXIST && errno != EISDIR) number = errno;
    /* The last may have been made for us, just before. */
    if (number == 0 && l->durable && (made || end == '\0'))
      number = repo_local_sync_parent(path);
    *at = end;
    if (end == '\0') break;
  }
  mem_free(path);
  return number;
}

static int make_folders(const local *l, int root) {
  static const repo_file kinds[] = {REPO_KEYS, REPO_LOCKS, REPO_SNAPSHOTS,
                                    REPO_INDEXES, REPO_PACKS};
  int number = 0;
  for (size_t i = 0; number == 0 && i < sizeof kinds / sizeof kinds[0]; i++)
    if (mkdirat(root, repo_file_folder(kinds[i]), 0700) != 0 && errno != EEXIST)
      number = errno;
  for (unsigned i = 0; number == 0 && i < 256; i++) {
    char name[16];
    snprintf(name, sizeof name, "data/%02x", i);
    if (mkdirat(root, name, 0700) != 0 && errno != EEXIST) number = errno;
  }
  if (number != 0) return number;
  int data = openat(root, "data", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  number = data >= 0 ? repo_local_sync(l->durable, data) : errno;
  if (data >= 0) close(data);
  return number != 0 ? number : repo_local_sync(l->durable, root);
}

error *repo_local_create(repo_store *store) {
  local *l = (local *)store;
  int root, number = make_path(l);
  error *e = NULL;
  if (number == 0) e = repo_local_root(l, &root);
  if (number == 0 && e == NULL) e = is_empty(l, root);
  if (number == 0 && e == NULL) number = make_folders(l, root);
  if (e != NULL || number == 0) return e;
  return repo_local_error(l, number, "make", REPO_CONFIG, NULL);
}
