/*
** restore_file: one file. It is made beside its place under a name of its own,
** gets its content, then its metadata, and is moved into its place when it is
** whole: what is there under the right name never is half.
*/
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "repository/restore_parts.h"

void repo_out_temp_name(const restore *r, uint32_t i, char name[64]) {
  snprintf(name, 64, FILE_PREFIX "%s-%x", r->token, (unsigned)i);
}

static void failed(restore *r, uint32_t i, const char *what, int number) {
  repo_restore_failed(r, i, repo_place_error(what, number));
}


/* ------------------------------------------------------------------
** Writing
** ---------------------------------------------------------------- */

static int write_all(int fd, const char *data, size_t size, uint64_t offset) {
  while (size > 0) {
    ssize_t n = pwrite(fd, data, size, (off_t)offset);
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return n < 0 ? errno : EIO;
    data += n;
    offset += (uint64_t)n;
    size -= (size_t)n;
  }
  return 0;
}

#define PAGE ((size_t)4096)

static bool is_zero(const char *data, size_t size) {
  return size == 0 || (data[0] == 0 && memcmp(data, data + 1, size - 1) == 0);
}

/* What is all zeros is left out: the file is as long already, and new. */
static int write_sparse(int fd, const char *data, size_t size,
                        uint64_t offset) {
  size_t at = 0, begin = 0;
  while (at < size) {
    size_t page = PAGE - (offset + at) % PAGE;
    if (page > size - at) page = size - at;
    bool hole = is_zero(data + at, page);
    if (hole && at > begin) {
      int number = write_all(fd, data + begin, at - begin, offset + begin);
      if (number != 0) return number;
    }
    at += page;
    if (hole) begin = at;
  }
  return write_all(fd, data + begin, size - begin, offset + begin);
}

int repo_out_write(const restore *r, int fd, const char *data, size_t size,
                   uint64_t offset) {
  return r->sparse ? write_sparse(fd, data, size, offset)
                   : write_all(fd, data, size, offset);
}

/* That it cannot be is said by the figures: to try would leave nobody else any
   room while it lasts. */
static bool is_too_large(int fd, uint64_t size) {
  struct statvfs v;
  return fstatvfs(fd, &v) == 0 && v.f_blocks > 0 && v.f_frsize > 0 &&
         size / v.f_frsize > v.f_bfree;
}

/* As long as it will be, or room for it: a disk that is too small is found
   now. A file system that cannot do that finds it later. */
static int prepare(const restore *r, int fd, const item *it) {
  if (it->size == 0) return 0;
  if (r->sparse) return ftruncate(fd, (off_t)it->size) == 0 ? 0 : errno;
  if (it->uses < 2) return 0;
  if (is_too_large(fd, it->size)) return ENOSPC;
  while (fallocate(fd, 0, 0, (off_t)it->size) != 0) {
    if (errno == EINTR) continue;
    if (errno == EFBIG || errno == ENOSPC || errno == EDQUOT) return errno;
    break;
  }
  return 0;
}


/* ------------------------------------------------------------------
** Beginning and ending
** ---------------------------------------------------------------- */

static int create(restore *r, crew_mate *m, uint32_t i) {
  char name[64];
  item *it = &r->items[i];
  int dir = repo_place_open(m, it->folder);
  if (dir < 0) return -1;
  repo_out_temp_name(r, i, name);
  int fd = openat(dir, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                  0600);
  if (fd < 0) return -1;
  atomic_store(&it->made, true);
  int number = prepare(r, fd, it);
  if (number == 0) return fd;
  close(fd);
  errno = number;
  return -1;
}

static void discard(restore *r, crew_mate *m, uint32_t i) {
  char name[64];
  item *it = &r->items[i];
  if (!atomic_load(&it->made)) return;
  int dir = repo_place_open(m, it->folder);
  repo_out_temp_name(r, i, name);
  if (dir < 0 || (unlinkat(dir, name, 0) != 0 && errno != ENOENT)) {
    char *path = repo_restore_path(r, it->folder, name);
    buffer b = BUFFER_EMPTY;
    buffer_text(&b, "what is half written could not be removed: ");
    if (path != NULL) text_escape(&b, path, strlen(path));
    if (!b.failed) saros_op_cleanup_failed(r->c->op, b.data);
    buffer_free(&b);
    mem_free(path);
  }
  atomic_store(&it->made, false);
}

void repo_out_tell_lacks(restore *r, uint32_t i, unsigned lacks) {
  const item *it = &r->items[i];
  /* Nobody but root gives things away: that is counted, and no more, as the
     directories above what is restored are often somebody else's. */
  if ((lacks & REPO_LACKS_OWNER) != 0 && geteuid() != 0) {
    atomic_fetch_add(&r->kept_owner, 1);
    lacks &= ~(unsigned)REPO_LACKS_OWNER;
  }
  if (lacks == 0) return;
  char *path = repo_restore_path(r, it->folder, it->name);
  repo_restore_tell(
      r, path,
      repo_error(SAROS_E_ACCESSDENIED,
                 "it was restored, but could not be given its%s%s%s: "
                 "this needs root, or a file system that has them",
                 lacks & REPO_LACKS_OWNER ? " owner" : "",
                 lacks & REPO_LACKS_ATTRIBUTES ? " extended attributes" : "",
                 lacks & REPO_LACKS_MODE ? " mode" : ""));
  mem_free(path);
}

/* Gives it its metadata and its name. */
static bool finish(restore *r, crew_mate *m, uint32_t i, int fd) {
  char name[64];
  unsigned lacks;
  item *it = &r->items[i];
  repo_node n = repo_restore_node(it);
  int dir = repo_place_open(m, it->folder);
  if (dir < 0) {
    failed(r, i, "its directory cannot be opened", errno);
    return false;
  }
  error *e = repo_node_restore((repo_at){fd, NULL}, &n, &lacks);
  int number = it->there ? repo_place_clear(r, dir, it->name, false) : 0;
  if (number != 0) {
    error_unref(e);
    failed(r, i, "it cannot be put in its place", number);
    return false;
  }
  repo_out_temp_name(r, i, name);
  if (renameat(dir, name, dir, it->name) != 0) {
    error_unref(e);
    failed(r, i, "it cannot be put in its place", errno);
    return false;
  }
  atomic_store(&it->made, false);
  atomic_store(&it->state, ITEM_DONE);
  atomic_fetch_add(&r->restored, 1);
  if (e != NULL) {
    char *path = repo_restore_path(r, it->folder, it->name);
    repo_restore_tell(r, path, e);
    mem_free(path);
  }
  repo_out_tell_lacks(r, i, lacks);
  return true;
}

void repo_out_write_whole(restore *r, crew_mate *m, uint32_t i,
                          const char *data, size_t size) {
  int fd = create(r, m, i);
  int number = fd >= 0 ? repo_out_write(r, fd, data, size, 0) : errno;
  if (number != 0)
    failed(r, i, fd >= 0 ? "it cannot be written" : "it cannot be made",
           number);
  bool good = number == 0 && finish(r, m, i, fd);
  if (fd >= 0 && close(fd) != 0 && good) {
    char *path = repo_restore_path(r, r->items[i].folder, r->items[i].name);
    repo_restore_tell(r, path, repo_place_error("it may not be whole", errno));
    mem_free(path);
  }
  if (!good) discard(r, m, i);
}


/* ------------------------------------------------------------------
** Files of many blobs: open while they are written, but not too many
** ---------------------------------------------------------------- */

/* Under `files`: one that nobody uses this moment is closed. */
static int evict(restore *r) {
  for (uint32_t k = 0; k < r->open_count; k++) {
    item *it = &r->items[r->open[k]];
    if (it->pins > 0 || it->fd < 0) continue;
    int fd = it->fd;
    it->fd = -1;
    memmove(&r->open[k], &r->open[k + 1],
            (--r->open_count - k) * sizeof *r->open);
    return fd;
  }
  return -1;
}

static int open_again(restore *r, crew_mate *m, uint32_t i) {
  char name[64];
  struct stat st;
  if (!atomic_load(&r->items[i].made)) return create(r, m, i);
  int dir = repo_place_open(m, r->items[i].folder);
  if (dir < 0) return -1;
  repo_out_temp_name(r, i, name);
  int fd = openat(dir, name, O_RDWR | O_NOFOLLOW | O_CLOEXEC | O_NONBLOCK);
  /* Nobody knows its name, but it can be read: it must be ours still. */
  if (fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
      st.st_nlink == 1 && st.st_uid == geteuid())
    return fd;
  if (fd >= 0) {
    close(fd);
    errno = ESTALE;
  }
  return -1;
}

int repo_out_pin(restore *r, crew_mate *m, uint32_t i) {
  item *it = &r->items[i];
  pthread_mutex_lock(&r->files);
  while (it->opening) pthread_cond_wait(&r->opened, &r->files);
  if (it->fd >= 0) {
    it->pins++;
    int fd = it->fd;
    pthread_mutex_unlock(&r->files);
    return fd;
  }
  it->opening = true;
  int old = r->open_count == r->open_most ? evict(r) : -1;
  pthread_mutex_unlock(&r->files);
  if (old >= 0) close(old);
  int fd = open_again(r, m, i);
  int number = errno;
  pthread_mutex_lock(&r->files);
  it->opening = false;
  if (fd >= 0) {
    it->fd = fd;
    it->pins++;
    if (r->open_count < r->open_most + 64) r->open[r->open_count++] = i;
  }
  pthread_cond_broadcast(&r->opened);
  pthread_mutex_unlock(&r->files);
  errno = number;
  return fd;
}

void repo_out_unpin(restore *r, uint32_t i) {
  pthread_mutex_lock(&r->files);
  r->items[i].pins--;
  pthread_mutex_unlock(&r->files);
}

/* Nobody else uses it any more: it leaves the list. */
static int take_out(restore *r, uint32_t i) {
  pthread_mutex_lock(&r->files);
  int fd = r->items[i].fd;
  r->items[i].fd = -1;
  for (uint32_t k = 0; k < r->open_count; k++) {
    if (r->open[k] != i) continue;
    memmove(&r->open[k], &r->open[k + 1],
            (--r->open_count - k) * sizeof *r->open);
    break;
  }
  pthread_mutex_unlock(&r->files);
  return fd;
}

static void part_done(restore *r, crew_mate *m, uint32_t i) {
  item *it = &r->items[i];
  if (atomic_fetch_sub(&it->left, 1) != 1) return;
  bool good = atomic_load(&it->state) == ITEM_PLANNED;
  if (good) {
    int fd = repo_out_pin(r, m, i);
    if (fd >= 0) repo_out_unpin(r, i);
    if (fd < 0)
      failed(r, i, "it cannot be opened", errno);
    else if (finish(r, m, i, fd))
      repo_restore_progress(r, 0, i);
  }
  int fd = take_out(r, i);
  if (fd >= 0) close(fd);
  discard(r, m, i);
}

void repo_out_write_part(restore *r, crew_mate *m, uint32_t i, uint64_t offset,
                         const char *data, size_t size) {
  if (atomic_load(&r->items[i].state) == ITEM_PLANNED) {
    int fd = repo_out_pin(r, m, i);
    int number = fd >= 0 ? repo_out_write(r, fd, data, size, offset) : errno;
    if (fd >= 0) repo_out_unpin(r, i);
    if (number != 0)
      failed(r, i, fd >= 0 ? "it cannot be written" : "it cannot be made",
             number);
  }
  part_done(r, m, i);
}

void repo_out_give_up_part(restore *r, crew_mate *m, uint32_t i) {
  part_done(r, m, i);
}

void repo_out_clean(restore *r) {
  crew_mate m = {.r = r};
  for (uint32_t i = 0; i < r->item_count; i++) {
    item *it = &r->items[i];
    if (it->fd >= 0) close(it->fd);
    it->fd = -1;
    discard(r, &m, i);
  }
  repo_place_forget(&m);
}
