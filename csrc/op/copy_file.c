/*
** The data of one file: shared where file systems can do that, else moved by
** copy_file_range, else read and written; what is a hole stays one. A big
** file is copied in pieces by several workers where that is quicker.
**
** What changes while it is copied: afterwards the source is asked for its
** size again. A file that has grown gets its new end, one that has shrunk is
** copied anew; when it has changed again after that, the copy fails with
** SAROS_E_CHANGED, unless who asks for it takes what there is (`fuzzy`). Who
** writes a file anew makes it empty first: what was found shorter while it was
** read is copied anew, too. A clone needs none of this: it is of one instant.
*/
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "op/copy_parts.h"

#define SHARED_FROM (2 * COPY_PIECE)     /* smaller ones are one worker's */
#define RANGE_FROM ((off_t)COPY_SCRATCH) /* smaller ones are read, written */

typedef struct file_work {
  shared s; /* first */
  copy *c;
  walk_dir *d;
  int from, to;
  struct stat st;
  bool cloned, sparse;
  _Atomic bool cut;   /* it ended before its end while it was read */
  _Atomic int number; /* of what failed */
  char name[];
} file_work;

static bool failed(file_work *f, int number, const char *what, copy_side side) {
  atomic_store(&f->number, number);
  return copy_failed(f->c, number, what, f->d, f->name, side);
}

/* Of two files only one can be to blame. */
static bool failed_to_move(file_work *f, int number) {
  bool target = number == ENOSPC || number == EDQUOT || number == EFBIG ||
                number == EROFS || number == EPERM;
  return failed(f, number, "cannot copy data of",
                target ? COPY_TARGET : COPY_SOURCE);
}


/* ------------------------------------------------------------------
** Moving bytes
** ---------------------------------------------------------------- */

/* -1 when it is of no use here; else how much was moved, errno in *number. */
static off_t move_range(file_work *f, off_t at, off_t size, int *number) {
  off_t done = 0;
  *number = 0;
  while (done < size) {
    off_t in = at + done, out = in;
    ssize_t n =
        copy_file_range(f->from, &in, f->to, &out, (size_t)(size - done), 0);
    if (n > 0) {
      done += n;
      continue;
    }
    if (n == 0) break;
    if (errno == EINTR) continue;
    *number = errno;
    bool no_use = errno == EXDEV || errno == EINVAL || errno == ENOSYS ||
                  errno == EOPNOTSUPP || errno == ETXTBSY;
    if (!no_use) break;
    if (*number != ETXTBSY) atomic_store(&f->c->no_range, true);
    *number = 0;
    return done > 0 ? done : -1;
  }
  return done;
}

static bool write_all(file_work *f, const char *bytes, size_t size, off_t at) {
  while (size > 0) {
    ssize_t n = pwrite(f->to, bytes, size, at);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return failed(f, errno, "cannot write", COPY_TARGET);
    bytes += n;
    size -= (size_t)n;
    at += n;
  }
  return true;
}

/* How much was there; -1 when it failed. */
static off_t move_bytes(file_work *f, worker *me, off_t at, off_t size) {
  char *bytes = worker_scratch(me);
  if (bytes == NULL) {
    copy_fail(f->c, error_no_memory());
    return -1;
  }
  off_t done = 0;
  while (done < size) {
    size_t want = COPY_SCRATCH;
    if ((off_t)want > size - done) want = (size_t)(size - done);
    ssize_t n = pread(f->from, bytes, want, at + done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) {
      failed(f, errno, "cannot read", COPY_SOURCE);
      return -1;
    }
    if (n == 0) break;
    if (!write_all(f, bytes, (size_t)n, at + done)) return -1;
    done += n;
  }
  return done;
}

static off_t move_chunk(file_work *f, worker *me, off_t at, off_t size) {
  bool range = f->c->clone != CLONE_NEVER && size >= RANGE_FROM &&
               !atomic_load(&f->c->no_range);
  off_t done = -1;
  if (range) {
    int number;
    done = move_range(f, at, size, &number);
    if (number != 0) {
      failed_to_move(f, number);
      return -1;
    }
  }
  /* Nothing at once can also be a file system that cannot tell. */
  return done > 0 ? done : move_bytes(f, me, at, size);
}

/* Bytes at..end, none of them in a hole; false when it cannot go on. */
static bool move(file_work *f, worker *me, off_t at, off_t end) {
  while (at < end) {
    if (!copy_goes_on(f->c)) return false;
    off_t size = end - at < COPY_CHUNK ? end - at : COPY_CHUNK;
    off_t done = move_chunk(f, me, at, size);
    if (done < 0) return false;
    if (done == 0) {
      atomic_store(&f->cut, true);
      return true;
    }
    at += done;
    atomic_fetch_add(&f->c->n.bytes, (uint64_t)done);
    copy_progress(f->c, (uint64_t)done, f->d, f->name);
  }
  return true;
}

/* A size of nothing is also what files have whose content is made when they are
   read: in /proc, and on some file systems of FUSE. They are read to their end,
   from the front, because not all of them can seek. It is opened without
   blocking: what would be waited for is not there. */
static bool move_unsized(file_work *f, worker *me) {
  char *bytes = worker_scratch(me);
  if (bytes == NULL) {
    copy_fail(f->c, error_no_memory());
    return false;
  }
  for (off_t at = 0; copy_goes_on(f->c);) {
    ssize_t n = read(f->from, bytes, COPY_SCRATCH);
    if (n < 0 && errno == EINTR) continue;
    if (n == 0 || (n < 0 && errno == EAGAIN)) return true;
    if (n < 0) return failed(f, errno, "cannot read", COPY_SOURCE);
    if (!write_all(f, bytes, (size_t)n, at)) return false;
    at += n;
    atomic_fetch_add(&f->c->n.bytes, (uint64_t)n);
    copy_progress(f->c, (uint64_t)n, f->d, f->name);
  }
  return false;
}

/* Bytes at..end but what is in holes. lseek is used only for its answers, so
   that several may ask. */
static bool move_data(file_work *f, worker *me, off_t at, off_t end) {
  if (!f->sparse) return move(f, me, at, end);
  while (at < end) {
    off_t data = lseek(f->from, at, SEEK_DATA);
    if (data < 0 && errno == ENXIO) data = end;
    if (data < 0) return move(f, me, at, end); /* it cannot tell */
    if (data > end) data = end;
    if (data > at) {
      uint64_t hole = (uint64_t)(data - at);
      atomic_fetch_add(&f->c->n.holes, hole);
      copy_progress(f->c, hole, f->d, f->name);
    }
    if (data == end) break;
    off_t hole = lseek(f->from, data, SEEK_HOLE);
    if (hole < 0 || hole > end) hole = end;
    if (!move(f, me, data, hole)) return false;
    at = hole;
  }
  return true;
}


/* ------------------------------------------------------------------
** The whole
** ---------------------------------------------------------------- */

static bool is_same_time(struct timespec a, struct timespec b) {
  return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

static bool is_touched(const struct stat *before, const struct stat *now) {
  return !is_same_time(before->st_mtim, now->st_mtim) ||
         !is_same_time(before->st_ctim, now->st_ctim);
}

/* Afterwards: what has changed meanwhile is made good once. Some files always
   have less than their size, as those in /sys: nobody has touched them. */
static bool make_good(file_work *f, worker *me) {
  struct stat now, before = f->st;
  off_t had = f->st.st_size;
  for (int tries = 0;; tries++, before = now) {
    if (fstat(f->from, &now) != 0)
      return failed(f, errno, "cannot stat", COPY_SOURCE);
    bool cut = atomic_exchange(&f->cut, false) && is_touched(&before, &now);
    if (now.st_size == had && !cut) break;
    if (tries > 0 && f->c->manner != NULL && f->c->manner->fuzzy) {
      if (now.st_size < had) had = now.st_size;
      f->sparse = true; /* so that it gets this size */
      break;
    }
    if (tries > 0) {
      atomic_store(&f->number, ESTALE);
      return copy_changed(f->c, "its size changed while it was copied", f->d,
                          f->name);
    }
    off_t good = now.st_size > had && !cut ? had : 0;
    if (ftruncate(f->to, good) != 0)
      return failed(f, errno, "cannot truncate", COPY_TARGET);
    f->sparse = true;
    if (!move_data(f, me, good, now.st_size)) return false;
    had = now.st_size;
  }
  if (!is_same_time(now.st_mtim, f->st.st_mtim))
    atomic_fetch_add(&f->c->n.changed, 1);
  if (f->sparse && ftruncate(f->to, had) != 0)
    return failed(f, errno, "cannot set the size of", COPY_TARGET);
  return true;
}

static void finish(crew *w, worker *me, shared *s) {
  file_work *f = (file_work *)s;
  copy *c = f->c;
  meta m = meta_of(&f->st);
  bool data = crew_goes_on(w) && atomic_load(&f->number) == 0 &&
              (f->cloned || make_good(f, me)) && atomic_load(&f->number) == 0;
  bool whole = data && meta_copy(c, me, f->from, f->to, &m, f->d, f->name);
  if (whole) {
    /* A tree is written out at its end, all at once. */
    if (c->durable && f->d->alone && fsync(f->to) != 0)
      failed(f, errno, "cannot write out", COPY_TARGET);
    atomic_fetch_add(&c->n.files, 1);
    copy_progress(c, 0, f->d, f->name);
  }
  if (c->manner != NULL) {
    int number = atomic_load(&f->number);
    if (!data && number == 0) number = ECANCELED;
    file_end end = {f->d,   f->name, f->from, f->to,
                    &f->st, number,  whole,   f->cloned};
    c->manner->file_done(c, &end);
  }
  close(f->from);
  if (close(f->to) != 0 && errno != EINTR)
    failed(f, errno, "cannot write", COPY_TARGET);
  walk_unpin(w, me, f->d);
  mem_free(f);
}

static void piece(crew *w, worker *me, shared *s, off_t at, off_t end) {
  (void)w;
  move_data((file_work *)s, me, at, end);
}

/* These let one writer at a time into a file: measured on ext4, a second
   worker costs half again the processor time and saves nothing. Elsewhere, on
   a network above all, it is waiting that is shared. */
static bool is_worth_sharing(int fd) {
#ifdef SAROS_TEST
  (void)fd;
  return true; /* so that it is tested where the tests are run */
#else
  struct statfs fs;
  if (fstatfs(fd, &fs) != 0) return false;
  switch ((unsigned long)fs.f_type) {
    case EXT4_SUPER_MAGIC:
    case XFS_SUPER_MAGIC:
    case BTRFS_SUPER_MAGIC:
    case F2FS_SUPER_MAGIC:
    case TMPFS_MAGIC: return false;
    default: return true;
  }
#endif
}

/* It can never work between these two places, as opposed to for this file. */
static bool is_hopeless(int number) {
  return number == EOPNOTSUPP || number == EXDEV || number == ENOTTY ||
         number == ENOSYS;
}

/* btrfs shares no blocks between a file that is copied on write and one that
   is not: an empty file can still be made like the other. */
static bool match_cow(const file_work *f) {
  int from = 0, to = 0;
  if (ioctl(f->from, FS_IOC_GETFLAGS, &from) != 0 ||
      ioctl(f->to, FS_IOC_GETFLAGS, &to) != 0 ||
      ((from ^ to) & FS_NOCOW_FL) == 0)
    return false;
  to ^= FS_NOCOW_FL;
  return ioctl(f->to, FS_IOC_SETFLAGS, &to) == 0;
}

static int share_all(const file_work *f) {
  int r;
  do r = ioctl(f->to, FICLONE, f->from);
  while (r != 0 && errno == EINTR);
  return r == 0 ? 0 : errno;
}

/* False when it failed; f->cloned says whether it was done. */
static bool try_clone(file_work *f) {
  copy *c = f->c;
  if (c->clone == CLONE_NEVER || f->st.st_size == 0) return true;
  int number = EOPNOTSUPP;
  if (!atomic_load(&f->d->no_clone)) {
    number = share_all(f);
    if (number == EINVAL && match_cow(f)) number = share_all(f);
  }
  if (number == 0) {
    f->cloned = true;
    atomic_fetch_add(&c->n.cloned, (uint64_t)f->st.st_size);
    copy_progress(c, (uint64_t)f->st.st_size, f->d, f->name);
    return true;
  }
  if (c->clone == CLONE_ALWAYS)
    return failed(f, number,
                  "cannot clone (the two places must be on one "
                  "file system that shares blocks, as btrfs and XFS do)",
                  COPY_SOURCE);
  if (is_hopeless(number)) atomic_store(&f->d->no_clone, true);
  return true;
}

/* Before bytes are moved. What is written behind the end makes some file
   systems (XFS) allocate more, which then stays in the holes: so the end is
   set first, unless all is written from the beginning to the end. */
static bool make_room(file_work *f) {
  off_t size = f->st.st_size;
  if (size > COPY_CHUNK) posix_fadvise(f->from, 0, 0, POSIX_FADV_SEQUENTIAL);
  if ((f->sparse || size > SHARED_FROM) && ftruncate(f->to, size) != 0)
    return failed(f, errno, "cannot set the size of", COPY_TARGET);
  return true;
}

void file_copy(crew *w, worker *me, walk_dir *d, const char *name, int from,
               int to, const struct stat *st) {
  size_t size = strlen(name) + 1;
  file_work *f = mem_zero(sizeof *f + size);
  if (f == NULL) {
    copy_fail(w->c, error_no_memory());
    close(from);
    close(to);
    return;
  }
  memcpy(f->name, name, size);
  f->c = w->c;
  f->d = d;
  f->from = from;
  f->to = to;
  f->st = *st;
  f->sparse = st->st_blocks < st->st_size / 512;
  f->s.piece = piece;
  f->s.finish = finish;
  f->s.end = st->st_size;
  walk_pin(d); /* it may outlive the batch it was in */
  bool shares = false;
  if (try_clone(f) && !f->cloned && make_room(f)) {
    shares = st->st_size > SHARED_FROM && is_worth_sharing(to);
    if (st->st_size == 0)
      move_unsized(f, me);
    else if (!shares)
      move_data(f, me, 0, st->st_size);
  }
  if (shares)
    crew_share(w, me, &f->s);
  else
    finish(w, me, &f->s);
}
