/*
** backup_file: reading files. A small one is read at once, by the thread that
** found it; a large one in segments. What of either is given away goes to a
** thread that has nothing to do, so that no thread ever waits for another.
*/
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "repository/backup_parts.h"

static error *cannot_read(int number) {
  return error_of_errno(SAROS_FACADE_SAROS, number, "cannot read the file",
                        NULL);
}


/* ------------------------------------------------------------------
** The end of one
** ---------------------------------------------------------------- */

/* Metadata is from before it was read: what changes meanwhile is found changed
   the next time. */
void repo_backup_file_end(directory *d, size_t at, int fd,
                          const struct statx *sx, uint64_t size,
                          const repo_id *ids, size_t count, bool was_there,
                          hand *h) {
  repo_node n;
  bool good = repo_backup_node_of(d, at, (repo_at){fd, NULL}, sx, h, &n);
  close(fd);
  if (!good) return;
  d->b->counts.files++;
  *(was_there ? &d->b->counts.files_changed : &d->b->counts.files_new) += 1;
  n.size = size;
  n.content = ids;
  n.content_count = count;
  n.has_content = true;
  repo_backup_node_done(d, at, &n, h);
}

static void file_free(file *f) {
  mem_free(f->ids);
  pthread_mutex_destroy(&f->lock);
  mem_free(f);
}

file *repo_backup_file_new(directory *d, size_t at, int fd,
                           const struct statx *sx, bool was_there) {
  file *f = mem_zero(sizeof *f);
  if (f == NULL) return NULL;
  f->d = d;
  f->at = at;
  f->fd = fd;
  f->sx = *sx;
  f->was_there = was_there;
  f->users = 1;
  pthread_mutex_init(&f->lock, NULL);
  return f;
}

void repo_backup_file_leave(file *f, hand *h) {
  if (atomic_fetch_sub(&f->users, 1) != 1) return;
  if (f->failed) {
    if (f->fd >= 0) close(f->fd);
    repo_backup_entry_done(f->d, f->at, NULL, 0, h);
  } else if (f->stream != NULL) {
    repo_backup_stream_end(f, h);
  } else {
    repo_backup_file_end(f->d, f->at, f->fd, &f->sx, f->size, f->ids, f->count,
                         f->was_there, h);
  }
  file_free(f);
}

void repo_backup_file_failed(file *f, hand *h, error *e) {
  f->failed = true;
  if (f->d->b->failed) /* why is told already */
    error_unref(e);
  else if (e->code == SAROS_E_OUTOFMEMORY || e->code == SAROS_E_CANCELLED ||
           f->stream != NULL)
    repo_backup_fail(f->d->b, e);
  else
    repo_backup_item_failed(f->d, f->at, h, e);
}


/* ------------------------------------------------------------------
** Reading
** ---------------------------------------------------------------- */

/* At where it was left off; 0 at the end, -1 and errno. */
static ssize_t get(file *f, void *into, size_t size, hand *h) {
  (void)h;
  ssize_t n;
  do {
    n = pread(f->fd, into, size, (off_t)f->offset);
  } while (n < 0 && errno == EINTR);
  if (n > 0) f->offset += (uint64_t)n;
  return n;
}

/* Takes over the descriptor. */
static void read_large(directory *d, size_t at, int fd, const struct statx *sx,
                       bool was_there, hand *h) {
  file *f = repo_backup_file_new(d, at, fd, sx, was_there);
  if (f == NULL) {
    close(fd);
    repo_backup_node_failed(d, at, h, error_no_memory());
    return;
  }
  posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
  error *e = repo_backup_read_all(f, get, h);
  if (e != NULL) repo_backup_file_failed(f, h, e);
  repo_backup_file_leave(f, h);
}

/* A whole file, which fits; *grew: it does not fit any more. */
static error *read_small(int fd, hand *h, size_t wanted, size_t *size,
                         bool *grew) {
  *size = 0;
  for (;;) {
    /* One more byte than there should be: less tells that this is the end. */
    size_t room = wanted + 1 > *size ? wanted + 1 - *size : 1;
    ssize_t n = pread(fd, h->small + *size, room, (off_t)*size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return cannot_read(errno);
    *size += (size_t)n;
    *grew = *size > SMALL;
    if ((size_t)n < room || *grew) return NULL;
    wanted = SMALL;
  }
}

static void small_file(directory *d, size_t at, int fd, const struct statx *sx,
                       bool was_there, hand *h) {
  size_t size = 0;
  bool grew = false;
  repo_id id;
  error *e = read_small(fd, h, (size_t)sx->stx_size, &size, &grew);
  if (e == NULL && grew) {
    read_large(d, at, fd, sx, was_there, h);
    return;
  }
  if (e != NULL) {
    close(fd);
    repo_backup_node_failed(d, at, h, e);
    return;
  }
  if (size > 0)
    e = repo_packer_add(d->b->packer, h->tool, REPO_DATA, h->small, size, &id);
  if (e == NULL) {
    repo_backup_moved(d, at, size, h);
    repo_backup_file_end(d, at, fd, sx, size, &id, size > 0, was_there, h);
    return;
  }
  close(fd);
  repo_backup_fail(d->b, e);
  repo_backup_entry_done(d, at, NULL, 0, h);
}

static void read_it(directory *d, size_t at, int fd, const struct statx *sx,
                    bool was_there, hand *h) {
  if (sx->stx_size <= SMALL)
    small_file(d, at, fd, sx, was_there, h);
  else
    read_large(d, at, fd, sx, was_there, h);
}

/* By a thread that had nothing to do. */
static void read_job(crew_job *job, void *hand_) {
  file *f = (file *)(void *)job;
  hand *h = hand_;
  directory *d = f->d;
  size_t at = f->at;
  int fd = f->fd;
  bool was_there = f->was_there;
  struct statx sx = f->sx;
  file_free(f);
  if (repo_backup_ends(d->b)) {
    close(fd);
    repo_backup_entry_done(d, at, NULL, 0, h);
  } else {
    read_it(d, at, fd, &sx, was_there, h);
  }
}

void repo_backup_file(directory *d, size_t at, int fd, const struct statx *sx,
                      bool was_there, hand *h) {
  file *f = NULL;
  if (repo_crew_has_idle(d->b->crew))
    f = repo_backup_file_new(d, at, fd, sx, was_there);
  if (f == NULL) {
    read_it(d, at, fd, sx, was_there, h);
    return;
  }
  f->job.run = read_job;
  repo_crew_push(d->b->crew, &f->job, CREW_PLAIN);
}
