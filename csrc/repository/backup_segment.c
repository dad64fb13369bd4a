/*
** backup_segment: large files. Their reader cuts them where the chunker says,
** and gives the chunks to threads that have nothing to do; what nobody takes it
** stores itself. A segment is as large as the largest chunk, and there is a
** fixed number of them, whatever is read.
*/
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "repository/backup_parts.h"

/* A chunk that was given away. */
typedef struct chunk {
  crew_job job;
  file *f;
  segment *s;
  size_t at, size, number;
} chunk;


/* ------------------------------------------------------------------
** Segments
** ---------------------------------------------------------------- */

static segment *new_segment(void) {
  segment *s = mem_zero(sizeof *s);
  if (s == NULL) return NULL;
  s->data = mem_alloc(SEGMENT);
  if (s->data != NULL) return s;
  mem_free(s);
  return NULL;
}

static void leave_segment(backup *b, segment *s) {
  pthread_mutex_lock(&b->lock);
  if (atomic_fetch_sub(&s->users, 1) == 1) {
    s->next = b->segments;
    b->segments = s;
  }
  pthread_cond_broadcast(&b->moved);
  pthread_mutex_unlock(&b->lock);
}

/* Another one; or the same again, when nobody but its reader has it: *s, which
   is NULL at first. Never waits for anybody who could wait for us: chunks that
   nobody has begun are done meanwhile. */
static error *other_segment(backup *b, segment **s, hand *h) {
  segment *found = NULL;
  pthread_mutex_lock(&b->lock);
  while (found == NULL) {
    if (*s != NULL && (*s)->users == 1) {
      found = *s;
    } else if (b->segments != NULL) {
      found = b->segments;
      b->segments = found->next;
      found->users = 1;
    } else if (b->segment_count < b->segment_most) {
      found = new_segment();
      if (found == NULL) break;
      found->users = 1;
      b->segment_count++;
    } else {
      pthread_mutex_unlock(&b->lock);
      bool helped = repo_crew_help(b->crew, h);
      pthread_mutex_lock(&b->lock);
      bool mine = *s != NULL && (*s)->users == 1;
      if (!helped && !mine && b->segments == NULL)
        pthread_cond_wait(&b->moved, &b->lock);
    }
  }
  pthread_mutex_unlock(&b->lock);
  *s = found;
  return found != NULL ? NULL : error_no_memory();
}

void repo_backup_segments_free(backup *b) {
  while (b->segments != NULL) {
    segment *next = b->segments->next;
    mem_free(b->segments->data);
    mem_free(b->segments);
    b->segments = next;
  }
}


/* ------------------------------------------------------------------
** Chunks
** ---------------------------------------------------------------- */

/* Under the lock: the list may move while others write into it. */
static error *number_chunk(file *f, size_t *number) {
  error *e = NULL;
  pthread_mutex_lock(&f->lock);
  if (f->count == f->room) {
    size_t room = f->room * 2 + 8;
    repo_id *ids = mem_grow(f->ids, room * sizeof *ids);
    if (ids == NULL) e = error_no_memory();
    if (ids != NULL) f->ids = ids;
    if (ids != NULL) f->room = room;
  }
  if (e == NULL) *number = f->count++;
  pthread_mutex_unlock(&f->lock);
  return e;
}

static error *store_chunk(file *f, const void *data, size_t size, size_t number,
                          hand *h) {
  repo_id id;
  error *e = repo_packer_add(h->b->packer, h->tool, REPO_DATA, data, size, &id);
  if (e != NULL) { /* no fault of this file's: nothing can be stored */
    repo_backup_fail(h->b, error_ref(e));
    return e;
  }
  pthread_mutex_lock(&f->lock);
  f->ids[number] = id;
  pthread_mutex_unlock(&f->lock);
  repo_backup_moved(f->d, f->at, size, h);
  return NULL;
}

static void chunk_job(crew_job *job, void *hand_) {
  chunk *c = (chunk *)(void *)job;
  hand *h = hand_;
  file *f = c->f;
  error *e = store_chunk(f, c->s->data + c->at, c->size, c->number, h);
  leave_segment(h->b, c->s);
  mem_free(c);
  if (e != NULL) f->failed = true;
  error_unref(e);
  repo_backup_file_leave(f, h);
}

static error *emit(file *f, segment *s, size_t at, size_t size, hand *h) {
  size_t number;
  error *e = number_chunk(f, &number);
  if (e != NULL) return e;
  f->size += size;
  chunk *c = repo_crew_has_room(h->b->crew) ? mem_alloc(sizeof *c) : NULL;
  if (c == NULL) return store_chunk(f, s->data + at, size, number, h);
  *c = (chunk){.job.run = chunk_job,
               .f = f,
               .s = s,
               .at = at,
               .size = size,
               .number = number};
  atomic_fetch_add(&f->users, 1);
  atomic_fetch_add(&s->users, 1);
  repo_crew_push(h->b->crew, &c->job, CREW_URGENT);
  return NULL;
}


/* ------------------------------------------------------------------
** Holes
** ---------------------------------------------------------------- */

/* A chunk that begins with zeros ends as early as it may, so all of a hole is
   chunks of the same zeros: one id, which is stored once. */
static error *emit_zeros(file *f, size_t count, hand *h) {
  backup *b = h->b;
  error *e = NULL;
  if (!b->has_zeros) {
    void *zeros = mem_zero(REPO_CHUNK_LEAST);
    repo_id id;
    if (zeros == NULL) return error_no_memory();
    e = repo_packer_add(b->packer, h->tool, REPO_DATA, zeros, REPO_CHUNK_LEAST,
                        &id);
    mem_free(zeros);
    if (e != NULL) return e;
    pthread_mutex_lock(&b->lock);
    if (!b->has_zeros) b->zeros = id; /* others read it by now */
    b->has_zeros = true;
    pthread_mutex_unlock(&b->lock);
  }
  for (; count > 0 && e == NULL; count--) {
    size_t number;
    e = number_chunk(f, &number);
    if (e != NULL) break;
    pthread_mutex_lock(&f->lock);
    f->ids[number] = b->zeros;
    pthread_mutex_unlock(&f->lock);
    f->size += REPO_CHUNK_LEAST;
    repo_backup_moved(f->d, f->at, REPO_CHUNK_LEAST, h);
    if ((count & 1023) == 0 && repo_backup_ends(b))
      e = repo_error(SAROS_E_CANCELLED, "the backup was cancelled");
  }
  return e;
}

/* How many whole chunks of a hole there are at this place. */
static size_t hole_at(const file *f, uint64_t offset) {
  if (f->stream != NULL || f->sx.stx_blocks * 512 >= f->sx.stx_size) return 0;
  struct stat st;
  off_t data = lseek(f->fd, (off_t)offset, SEEK_DATA);
  if (data < 0 && errno == ENXIO) /* nothing but a hole, to the end */
    data = fstat(f->fd, &st) == 0 ? st.st_size : -1;
  if (data < 0 || (uint64_t)data <= offset) return 0;
  return (size_t)(((uint64_t)data - offset) / REPO_CHUNK_LEAST);
}


/* ------------------------------------------------------------------
** Reading
** ---------------------------------------------------------------- */

/* So much more, or what the segment has room for, or until there is nothing
   more. To fill it would be to look at few bytes twice, and
   take twice the memory: most chunks are much smaller than it. */
#define READ_AHEAD ((size_t)2 << 20)

static error *fill(file *f, backup_get get, segment *s, size_t *have, bool *end,
                   hand *h) {
  size_t room = SEGMENT - *have;
  size_t most = *have + (room < READ_AHEAD ? room : READ_AHEAD);
  while (*have < most && !*end) {
    size_t step = most - *have;
    if (step > ((size_t)1 << 20)) step = (size_t)1 << 20;
    if (repo_backup_ends(h->b))
      return repo_error(SAROS_E_CANCELLED, "the backup was cancelled");
    ssize_t n = get(f, s->data + *have, step, h);
    if (n < 0)
      return error_of_errno(SAROS_FACADE_SAROS, errno, "cannot read the file",
                            NULL);
    *end = n == 0;
    *have += (size_t)n;
  }
  return NULL;
}

/* All chunks that are certain; *at: where the next one begins. */
static error *cut(file *f, segment *s, size_t have, bool end, size_t *at,
                  hand *h) {
  error *e = NULL;
  for (*at = 0; *at < have && e == NULL;) {
    size_t left = have - *at;
    size_t n = repo_chunker_cut(h->b->chunker, s->data + *at, left, true);
    /* No cut was found, and there will be more of it. */
    if (n == left && !end && n < REPO_CHUNK_MOST) break;
    e = emit(f, s, *at, n, h);
    *at += n;
  }
  return e;
}

/* What is left goes to the beginning of another segment. */
static error *carry(backup *b, segment **s, size_t at, size_t left, hand *h) {
  segment *from = *s;
  error *e = other_segment(b, s, h);
  if (e != NULL) {
    *s = from;
    return e;
  }
  if (from == NULL) return NULL; /* there was none to carry from */
  if (*s == from) {
    memmove(from->data, from->data + at, left);
  } else {
    memcpy((*s)->data, from->data + at, left);
    leave_segment(b, from);
  }
  return NULL;
}

error *repo_backup_read_all(file *f, backup_get get, hand *h) {
  backup *b = h->b;
  segment *s = NULL;
  size_t have = 0, at = 0;
  bool end = false;
  error *e = other_segment(b, &s, h);
  while (e == NULL && !end) {
    size_t hole = hole_at(f, f->offset - have);
    if (hole > 0) { /* what was read of it is left */
      f->offset += hole * REPO_CHUNK_LEAST - have;
      have = 0;
      e = emit_zeros(f, hole, h);
    }
    if (e == NULL) e = fill(f, get, s, &have, &end, h);
    BACKUP_TEST(b, "segment",
                f->d->list.names + f->d->list.entries[f->at].name);
    if (e == NULL) e = cut(f, s, have, end, &at, h);
    have -= at;
    if (e == NULL && !end) e = carry(b, &s, at, have, h);
  }
  if (s != NULL) leave_segment(b, s);
  return e;
}
