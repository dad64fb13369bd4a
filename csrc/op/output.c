/*
** What a child writes: see output.h.
*/
#include "op/output.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "op/fork.h"

static size_t least(size_t a, size_t b) {
  return a < b ? a : b;
}


/* ------------------------------------------------------------------
** The last bytes
** ---------------------------------------------------------------- */

enum { TAIL_FIRST = 512 };

/* Only a ring that has not gone round yet grows. */
static bool tail_grow(tail *t, size_t wanted) {
  size_t capacity = t->capacity > 0 ? t->capacity : TAIL_FIRST;
  while (capacity < wanted && capacity < t->limit) capacity *= 2;
  capacity = least(capacity, t->limit);
  if (capacity == t->capacity) return true;
  char *data = mem_grow(t->data, capacity);
  if (data == NULL) return false;
  t->data = data;
  t->capacity = capacity;
  return true;
}

bool tail_put(tail *t, const char *bytes, size_t size) {
  if (t->limit == 0 || size == 0) return true;
  if (size > t->limit - t->size) t->cut = true;
  size_t wanted = least(size, t->limit - t->size) + t->size;
  if (wanted > t->capacity && !tail_grow(t, wanted)) return false;
  if (size > t->limit) {
    bytes += size - t->limit;
    size = t->limit;
  }
  while (size > 0) {
    size_t n = least(size, t->capacity - t->at);
    memcpy(t->data + t->at, bytes, n);
    t->size = least(t->size + n, t->capacity);
    t->at += n;
    if (t->at == t->limit) t->at = 0;
    bytes += n;
    size -= n;
  }
  return true;
}

void tail_copy(const tail *t, size_t most, buffer *b) {
  size_t size = least(most, t->size);
  if (size == 0) return;
  size_t before = least(size, t->at); /* of these, in front of `at` */
  size_t wrapped = size - before;
  buffer_put(b, t->data + t->size - wrapped, wrapped);
  buffer_put(b, t->data + t->at - before, before);
}


/* ------------------------------------------------------------------
** Lines
** ---------------------------------------------------------------- */

/* One byte more than the longest line: its newline. */
size_t lines_room(const lines *l) {
  size_t unread = l->bytes.size - l->start;
  size_t most = l->limit + l->slack;
  return unread > most ? 0 : most + 1 - unread;
}

bool lines_put(lines *l, const char *bytes, size_t size) {
  if (l->start > 0 && l->bytes.size + size >= l->bytes.capacity) {
    l->bytes.size -= l->start;
    memmove(l->bytes.data, l->bytes.data + l->start, l->bytes.size);
    l->start = 0;
  }
  buffer_put(&l->bytes, bytes, size);
  return !l->bytes.failed;
}

/* The bytes of the next line, which `skip` more follow; false when there is
   none yet. */
static bool lines_next(lines *l, size_t *size, size_t *skip) {
  const char *data = l->bytes.data + l->start;
  size_t unread = l->bytes.size - l->start;
  size_t look = least(unread, l->limit + 1);
  const char *newline = NULL;
  *skip = 0;
  if (look > l->scanned)
    newline = memchr(data + l->scanned, '\n', look - l->scanned);
  if (newline != NULL) {
    *size = (size_t)(newline - data);
    *skip = 1;
    return true;
  }
  l->scanned = look;
  *size = least(unread, l->limit);
  return unread > l->limit || (l->ended && unread > 0);
}

static void lines_drop(lines *l, size_t size) {
  l->start += size;
  l->scanned = 0;
  if (l->start < l->bytes.size) return;
  l->start = 0;
  if (l->ended)
    buffer_free(&l->bytes);
  else
    buffer_clear(&l->bytes);
}

line_result lines_take(lines *l, buffer *line, bool *wake) {
  size_t size, skip;
  line_result r = l->ended ? LINE_END : LINE_LATER;
  if (l->bytes.size > 0 && lines_next(l, &size, &skip)) {
    buffer_put(line, l->bytes.data + l->start, size);
    /* Without memory for it the line stays for another time. */
    if (!line->failed) lines_drop(l, size + skip);
    r = LINE_READY;
  }
  /* The engine is not woken for every line, but before anybody waits. */
  *wake = l->full && (r != LINE_READY || lines_room(l) > l->limit / 2);
  if (*wake) l->full = false;
  return r;
}


/* ------------------------------------------------------------------
** The pipe
** ---------------------------------------------------------------- */

/* Of the engine thread. */
static char scratch[65536];

static bool keep_head(output *o, const char *bytes, size_t size) {
  if (!o->keep_head) return true;
  size_t room = o->limit - o->head.size;
  if (size > room) o->truncated = true;
  if (room > 0) buffer_put(&o->head, bytes, least(size, room));
  return !o->head.failed;
}

/* What does not fit any more is dropped together with all that follows, so
   that no line is made of two halves. */
static bool keep_lines(output *o, pthread_mutex_t *lock, size_t size,
                       bool *news) {
  lines *l = &o->lines;
  if (l->limit == 0) return true;
  pthread_mutex_lock(lock);
  size_t room = l->cut ? 0 : lines_room(l);
  l->cut = size > room;
  bool kept = lines_put(l, scratch, least(size, room));
  if (room > 0) *news = size >= room || memchr(scratch, '\n', size) != NULL;
  pthread_mutex_unlock(lock);
  return kept;
}

/* How much may be read now. Lines that nobody waits for any more are read
   and dropped. */
static size_t room_for(output *o, pthread_mutex_t *lock) {
  lines *l = &o->lines;
  if (l->limit == 0 || o->drop) return sizeof scratch;
  pthread_mutex_lock(lock);
  size_t room = lines_room(l);
  l->full = room == 0;
  pthread_mutex_unlock(lock);
  return least(room, sizeof scratch);
}

output_read output_pull(output *o, pthread_mutex_t *lock, size_t *count,
                        bool *news) {
  *count = 0;
  size_t room = room_for(o, lock);
  if (room == 0) return OUTPUT_FULL;
  ssize_t n;
  do n = read(o->fd, scratch, room);
  while (n < 0 && errno == EINTR);
  if (n == 0) return OUTPUT_ENDED;
  if (n < 0) return errno == EAGAIN ? OUTPUT_LATER : OUTPUT_FAILED;
  *count = (size_t)n;
  bool kept = keep_head(o, scratch, *count) &&
              tail_put(&o->tail, scratch, *count) &&
              keep_lines(o, lock, *count, news);
  errno = ENOMEM;
  return kept ? OUTPUT_SOME : OUTPUT_FAILED;
}

void output_end(output *o, pthread_mutex_t *lock) {
  fd_close(&o->fd);
  if (o->lines.limit == 0) return;
  pthread_mutex_lock(lock);
  o->lines.ended = true;
  o->lines.full = false;
  pthread_mutex_unlock(lock);
}

void output_free(output *o) {
  fd_close(&o->fd);
  buffer_free(&o->head);
  buffer_free(&o->lines.bytes);
  mem_free(o->tail.data);
}

/* Without a copy: it may be large. */
static value *buffer_value(buffer *b) {
  size_t size = b->size;
  return value_of_bytes(buffer_take(b), size);
}

value *output_take(output *o) {
  if (o->keep_head) return buffer_value(&o->head);
  buffer b = BUFFER_EMPTY;
  tail_copy(&o->tail, o->tail.size, &b);
  return buffer_value(&b);
}

bool output_truncated(const output *o) {
  return o->keep_head ? o->truncated : o->tail.cut;
}
